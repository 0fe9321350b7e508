/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "eventfd.h"
#include "irqchip.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct ioeventfd {
    struct eventfd_ref event;
    enum ioeventfd_bus bus;
    uint64_t address;
    uint32_t length; /* 0: a write of any length */
    bool any_data;
    uint64_t data;
};

struct ioeventfd_set {
    pthread_rwlock_t lock;
    _Atomic uint32_t count; /* so that an empty set costs no lock */
    uint32_t room;
    struct ioeventfd *sorted; /* by bus, address */
};

struct ioeventfd_set *ioeventfd_set_new(void)
{
    struct ioeventfd_set *s = calloc(1, sizeof(*s));

    if (s)
        pthread_rwlock_init(&s->lock, NULL);
    return s;
}

void ioeventfd_set_free(struct ioeventfd_set *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->count; i++)
        eventfd_release(&s->sorted[i].event);
    pthread_rwlock_destroy(&s->lock);
    free(s->sorted);
    free(s);
}

/* The index of the first entry not before BUS, ADDRESS. */
static uint32_t lower_bound(const struct ioeventfd_set *s, enum ioeventfd_bus bus, uint64_t address)
{
    uint32_t low = 0, high = s->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct ioeventfd *e = &s->sorted[middle];
        if (e->bus < bus || (e->bus == bus && e->address < address))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct ioeventfd_set *s, uint32_t index, enum ioeventfd_bus bus,
                  uint64_t address)
{
    return index < s->count && s->sorted[index].bus == bus && s->sorted[index].address == address;
}

/* True when some write would match both; they have the same bus and address. */
static bool collides(const struct ioeventfd *a, const struct ioeventfd *b)
{
    if (!a->length || !b->length)
        return true;
    return a->length == b->length && (a->any_data || b->any_data || a->data == b->data);
}

static int insert(struct ioeventfd_set *s, const struct ioeventfd *e)
{
    uint32_t index = lower_bound(s, e->bus, e->address);

    for (uint32_t i = index; is_at(s, i, e->bus, e->address); i++)
        if (collides(&s->sorted[i], e))
            return -EEXIST;
    if (s->count == s->room) {
        uint32_t room = s->room ? 2 * s->room : 16;
        struct ioeventfd *sorted = realloc(s->sorted, room * sizeof(*sorted));
        if (!sorted)
            return -ENOMEM;
        s->sorted = sorted;
        s->room = room;
    }
    memmove(&s->sorted[index + 1], &s->sorted[index], (s->count - index) * sizeof(*e));
    s->sorted[index] = *e;
    s->count++;
    return 0;
}

static int take_out(struct ioeventfd_set *s, const struct ioeventfd *e)
{
    for (uint32_t i = lower_bound(s, e->bus, e->address); is_at(s, i, e->bus, e->address); i++) {
        struct ioeventfd *o = &s->sorted[i];
        if (o->length != e->length || o->any_data != e->any_data || o->data != e->data ||
            !eventfd_same(&o->event, &e->event))
            continue;
        eventfd_release(&o->event);
        s->count--;
        memmove(o, o + 1, (s->count - i) * sizeof(*o));
        return 0;
    }
    return -ENOENT;
}

/* What Linux checks when one is assigned; on removal a wrong argument just names none. */
static int check(const struct kvm_ioeventfd *args)
{
    const uint32_t known =
        KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN;

    switch (args->len) {
    case 0:
    case 1:
    case 2:
    case 4:
    case 8:
        break;
    default:
        return -EINVAL;
    }
    if (args->addr + args->len < args->addr || (args->flags & ~known))
        return -EINVAL;
    if (!args->len && (args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH))
        return -EINVAL;
    return 0;
}

int ioeventfd_assign(struct ioeventfd_set *s, const struct kvm_ioeventfd *args)
{
    struct ioeventfd e = {
        .bus = args->flags & KVM_IOEVENTFD_FLAG_PIO ? IOEVENTFD_PIO : IOEVENTFD_MMIO,
        .address = args->addr,
        .length = args->len,
        .any_data = !(args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH),
    };
    int error = args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? 0 : check(args);

    if (error)
        return error;
    if (!e.any_data)
        e.data = args->datamatch;
    error = eventfd_hold(&e.event, args->fd);
    if (error)
        return error;
    pthread_rwlock_wrlock(&s->lock);
    if (args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
        error = take_out(s, &e);
    else
        error = insert(s, &e);
    pthread_rwlock_unlock(&s->lock);
    if (error || (args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN))
        eventfd_release(&e.event);
    return error;
}

bool ioeventfd_signal(struct ioeventfd_set *s, enum ioeventfd_bus bus, uint64_t address,
                      unsigned size, const uint8_t *data)
{
    uint64_t value = 0;
    bool found = false;

    if (!atomic_load_explicit(&s->count, memory_order_relaxed))
        return false;
    memcpy(&value, data, size < sizeof(value) ? size : sizeof(value));
    pthread_rwlock_rdlock(&s->lock);
    for (uint32_t i = lower_bound(s, bus, address); is_at(s, i, bus, address) && !found; i++) {
        const struct ioeventfd *e = &s->sorted[i];
        if (e->length && (e->length != size || (!e->any_data && e->data != value)))
            continue;
        eventfd_signal(&e->event);
        found = true;
    }
    pthread_rwlock_unlock(&s->lock);
    return found;
}
