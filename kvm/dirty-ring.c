/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dirty rings (api.rst 8.29): pages become known to user space one by one, in a ring of each vCPU,
 * instead of a bitmap of each slot.
 *
 * The slot's bitmap stays underneath, as what has been put into a ring and not been reset.  User
 * space can write to the rings, so what stands in an entry is checked before it is used, and where
 * the ring begins and ends is kept here.
 */
#include "ioctl.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* KVM_RUN returns when no more than so many entries are free: for what an instruction that has
 * begun, and the VM's own writes, may still dirty. */
#define RING_RESERVED 64u
#define ENTRY_BYTES   sizeof(struct kvm_dirty_gfn)

static uint64_t ring_position(const struct vm *vm, unsigned index)
{
    return (1 + 2 * (uint64_t)VM_VCPUS_MAX) * PAGE_BYTES +
           (uint64_t)index * vm->dirty_ring_entries * ENTRY_BYTES;
}

/* ---------------------------------------------------------------- filling */

static void push(struct vcpu *v, uint32_t slot, uint64_t page)
{
    struct dirty_ring *r = &v->dirty_ring;
    uint32_t entries = v->vm->dirty_ring_entries;
    pthread_mutex_lock(&r->lock);
    uint32_t next = atomic_load_explicit(&r->dirty, memory_order_relaxed);
    if (next - r->reset < entries) {
        struct kvm_dirty_gfn *e = &r->entry[next & (entries - 1)];
        e->slot = slot;
        e->offset = page;
        __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
        atomic_store(&r->dirty, next + 1);
    }
    pthread_mutex_unlock(&r->lock);
    if (dirty_ring_is_full(v))
        vcpu_request(v, VCPU_REQUEST_EVENT);
}

/* The vCPU of BY; the first for writes that no vCPU made. */
static struct vcpu *writer(struct vm *vm, const struct processor *by)
{
    unsigned count = vm_vcpu_count(vm);
    if (by && by->index < count && vm->vcpu[by->index]->processor == by)
        return vm->vcpu[by->index];
    for (unsigned i = 0; by && i < count; i++)
        if (vm->vcpu[i]->processor == by)
            return vm->vcpu[i];
    return count ? vm->vcpu[0] : NULL;
}

static void on_dirty(void *opaque, struct processor *by, uint32_t slot, uint64_t page)
{
    struct vcpu *v = writer(opaque, by);
    if (v)
        push(v, slot, page);
}

bool dirty_ring_is_full(const struct vcpu *v)
{
    const struct dirty_ring *r = &v->dirty_ring;
    return r->entry && atomic_load(&r->dirty) - atomic_load(&r->reset) >=
                           v->vm->dirty_ring_entries - RING_RESERVED;
}

/* ---------------------------------------------------------------- emptying */

/* Takes the entries that user space has harvested out of V's ring; how many. */
static long reset(struct vcpu *v)
{
    struct dirty_ring *r = &v->dirty_ring;
    uint32_t mask = v->vm->dirty_ring_entries - 1;
    long count = 0;
    pthread_mutex_lock(&r->lock);
    uint32_t at = atomic_load(&r->reset);
    for (; at != atomic_load(&r->dirty); at++, count++) {
        struct kvm_dirty_gfn *e = &r->entry[at & mask];
        if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_RESET))
            break;
        uint32_t slot = __atomic_load_n(&e->slot, __ATOMIC_RELAXED);
        uint64_t page = __atomic_load_n(&e->offset, __ATOMIC_RELAXED);
        __atomic_store_n(&e->flags, 0, __ATOMIC_RELEASE);
        memory_clear_dirty_page(v->vm->memory, slot, page);
    }
    atomic_store(&r->reset, at);
    pthread_mutex_unlock(&r->lock);
    return count;
}

long dirty_rings_reset(struct vm *vm)
{
    if (!vm->dirty_ring_entries)
        return -EINVAL;
    unsigned count = vm_vcpu_count(vm);
    long pages = 0;
    for (unsigned i = 0; i < count; i++)
        pages += reset(vm->vcpu[i]);
    if (pages)
        memory_synchronize(vm->memory);
    return pages;
}

/* ---------------------------------------------------------------- life */

long dirty_rings_enable(struct vm *vm, uint64_t bytes)
{
    if (!bytes || bytes & (bytes - 1) || bytes < PAGE_BYTES || bytes < RING_RESERVED * ENTRY_BYTES)
        return -EINVAL;
    if (bytes > DIRTY_RING_BYTES_MAX)
        return -E2BIG;
    if (vm->dirty_ring_entries || vm_vcpu_count(vm))
        return -EINVAL;
    vm->dirty_ring_entries = (uint32_t)(bytes / ENTRY_BYTES);
    if (ftruncate(vm->run_fd, (off_t)ring_position(vm, VM_VCPUS_MAX)) < 0) {
        vm->dirty_ring_entries = 0;
        return -errno;
    }
    memory_set_dirty_hook(vm->memory, on_dirty, vm);
    return 0;
}

int dirty_ring_new(struct vcpu *v)
{
    struct vm *vm = v->vm;
    pthread_mutex_init(&v->dirty_ring.lock, NULL);
    if (!vm->dirty_ring_entries)
        return 0;
    void *at = mmap(NULL, dirty_ring_bytes(vm), PROT_READ | PROT_WRITE, MAP_SHARED, vm->run_fd,
                    (off_t)ring_position(vm, v->index));
    if (at == MAP_FAILED)
        return -errno;
    v->dirty_ring.entry = at;
    return 0;
}

void dirty_ring_free(struct vcpu *v)
{
    if (v->dirty_ring.entry)
        munmap(v->dirty_ring.entry, dirty_ring_bytes(v->vm));
    pthread_mutex_destroy(&v->dirty_ring.lock);
}

size_t dirty_ring_bytes(const struct vm *vm)
{
    return vm->dirty_ring_entries * ENTRY_BYTES;
}

uint64_t dirty_ring_position(const struct vcpu *v)
{
    return ring_position(v->vm, v->index);
}
