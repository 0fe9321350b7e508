/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Coalesced writes: guest writes to registered zones go into a ring that user space empties later,
 * instead of ending KVM_RUN one by one.  User space is the ring's reader and may scribble on it.
 */
#include "ioctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RING_ENTRIES                                                                               \
    ((PAGE_BYTES - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

long coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
    if (zone->pio > 1)
        return -EINVAL;
    struct coalesced_zone *z = malloc(sizeof(*z));
    if (!z)
        return -ENOMEM;
    *z = (struct coalesced_zone){.start = zone->addr, .size = zone->size, .pio = zone->pio};
    pthread_mutex_lock(&vm->coalesced_lock);
    z->next = vm->zones;
    vm->zones = z;
    pthread_mutex_unlock(&vm->coalesced_lock);
    return 0;
}

/* Drops every zone that lies inside the given one; none at all is no error. */
long coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
    if (zone->pio > 1)
        return -EINVAL;
    pthread_mutex_lock(&vm->coalesced_lock);
    for (struct coalesced_zone **link = &vm->zones; *link;) {
        struct coalesced_zone *z = *link;
        if (z->pio == zone->pio && z->start >= zone->addr &&
            range_inside(z->start - zone->addr, z->size, zone->size)) {
            *link = z->next;
            free(z);
        } else {
            link = &z->next;
        }
    }
    pthread_mutex_unlock(&vm->coalesced_lock);
    return 0;
}

static bool covered(const struct vm *vm, bool pio, uint64_t address, unsigned size)
{
    for (const struct coalesced_zone *z = vm->zones; z; z = z->next)
        if (z->pio == pio && address >= z->start && range_inside(address - z->start, size, z->size))
            return true;
    return false;
}

bool coalesced_write(struct vm *vm, bool pio, uint64_t address, unsigned size, const void *data)
{
    struct kvm_coalesced_mmio_ring *ring = vm->ring;
    bool taken = false;
    if (!__atomic_load_n(&vm->zones, __ATOMIC_RELAXED))
        return false;
    pthread_mutex_lock(&vm->coalesced_lock);
    if (ring && covered(vm, pio, address, size)) {
        uint32_t last = __atomic_load_n(&ring->last, __ATOMIC_RELAXED);
        uint32_t first = __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE);
        uint32_t next = (last + 1) % RING_ENTRIES;
        if (last < RING_ENTRIES && next != first) {
            struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[last];
            e->phys_addr = address;
            e->len = size;
            e->pio = pio;
            memcpy(e->data, data, size);
            __atomic_store_n(&ring->last, next, __ATOMIC_RELEASE);
            taken = true;
        }
    }
    pthread_mutex_unlock(&vm->coalesced_lock);
    return taken;
}
