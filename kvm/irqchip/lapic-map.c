/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who gets an interrupt message: destinations, and the table of LAPICs by id. */
#include "lapic-internal.h"

#include <errno.h>

#define BROADCAST_8BIT  0xffu
#define BROADCAST_32BIT 0xffffffffu

bool lapic_effective_id(struct lapic *l, uint32_t *id)
{
    if (!lapic_enabled(l))
        return false;
    /* As in KVM, a CPU whose id does not fit xAPIC's register is found by its wide id even before
     * it enters x2APIC mode: there is no other way to start it. */
    if (lapic_is_x2apic(l) || l->id > 0xff)
        *id = l->id;
    else
        *id = reg_get(l, APIC_ID) >> 24;
    return true;
}

static bool matches_logical(const struct lapic *l, uint32_t destination, bool x2apic)
{
    uint32_t ldr = reg_get(l, APIC_LDR);

    if (x2apic)
        return ldr >> 16 == destination >> 16 && (ldr & destination & 0xffff);
    if (destination > 0xff)
        return false;
    ldr >>= 24;
    if (reg_get(l, APIC_DFR) >> 28 == 0xf) /* flat */
        return ldr & destination;
    return ldr >> 4 == destination >> 4 && (ldr & destination & 0xf);
}

bool lapic_matches(struct lapic *l, const struct apic_message *m)
{
    bool x2apic = lapic_is_x2apic(l);
    uint32_t destination = m->destination, id;

    if (!lapic_effective_id(l, &id))
        return false;
    switch (m->shorthand) {
    case SHORTHAND_SELF:
        return l == m->source;
    case SHORTHAND_ALL:
        return true;
    case SHORTHAND_OTHERS:
        return l != m->source;
    case SHORTHAND_NONE:
        break;
    }
    /* MSIs and IOAPICs have 8 bits of destination: unless user space said that it knows better, all
     * ones means everyone there, in x2APIC mode too. */
    if (x2apic && !m->source && destination == BROADCAST_8BIT &&
        !(l->chip->x2apic_api & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
        destination = BROADCAST_32BIT;
    if (destination == (x2apic ? BROADCAST_32BIT : BROADCAST_8BIT))
        return true;
    if (m->logical)
        return matches_logical(l, destination, x2apic);
    return id == destination;
}

/* The only LAPIC that M can reach, for the common case of a physical destination that is one id.
 * Returns false when all LAPICs must be asked. */
static bool find_unicast(struct irqchip *chip, const struct apic_message *m, struct lapic **out)
{
    if (m->shorthand == SHORTHAND_SELF) {
        *out = m->source;
        return true;
    }
    if (m->shorthand != SHORTHAND_NONE || m->logical || m->destination == BROADCAST_8BIT ||
        m->destination == BROADCAST_32BIT || atomic_load(&chip->aliased))
        return false;
    *out = m->destination < LAPIC_IDS_MAX ? atomic_load(&chip->by_id[m->destination]) : NULL;
    return true;
}

/* Lowest-priority arbitration (SDM volume 3, 11.6.2.4): the least busy of the destinations, and in
 * turn among equals. */
static int deliver_lowest(struct irqchip *chip, const struct apic_message *m)
{
    unsigned count = atomic_load(&chip->lapic_count);
    unsigned start = count ? atomic_fetch_add(&chip->rotation, 1) % count : 0;
    struct lapic *best = NULL;
    int best_priority = 0;

    for (unsigned n = 0; n < count; n++) {
        struct lapic *l = atomic_load(&chip->lapic[(start + n) % count]);
        int priority;
        if (!l || !lapic_matches(l, m))
            continue;
        priority = lapic_arbitration_priority(l);
        if (priority >= 0 && (!best || priority < best_priority)) {
            best = l;
            best_priority = priority;
        }
    }
    return best ? lapic_receive(best, m) : 0;
}

int apic_deliver(struct irqchip *chip, const struct apic_message *m)
{
    struct lapic *l;
    int reached = 0;

    if (find_unicast(chip, m, &l))
        return l && lapic_matches(l, m) && lapic_receive(l, m);
    if (m->lowest)
        return deliver_lowest(chip, m);
    unsigned count = atomic_load(&chip->lapic_count);
    for (unsigned n = 0; n < count; n++) {
        l = atomic_load(&chip->lapic[n]);
        if (l && lapic_matches(l, m))
            reached += lapic_receive(l, m);
    }
    return reached;
}

static struct lapic *find_id(struct irqchip *chip, uint64_t wanted)
{
    uint32_t id;
    if (wanted >= LAPIC_IDS_MAX)
        return NULL;
    struct lapic *l = atomic_load(&chip->by_id[wanted]);
    if (l || !atomic_load(&chip->aliased))
        return l;
    unsigned count = atomic_load(&chip->lapic_count);
    for (unsigned n = 0; n < count; n++) {
        l = atomic_load(&chip->lapic[n]);
        if (l && lapic_effective_id(l, &id) && id == wanted)
            return l;
    }
    return NULL;
}

int irqchip_send_ipis(struct irqchip *chip, const uint64_t bits[2], unsigned width, uint64_t first,
                      uint64_t icr)
{
    struct apic_message m = {
        .mode = (enum delivery_mode)(icr >> 8 & 7),
        .vector = (uint8_t)icr,
        .level = icr >> 15 & 1,
    };
    int reached = 0;

    if (icr & (1u << 11 | 3u << 18))
        return -EINVAL;
    if (first >= LAPIC_IDS_MAX)
        return 0;
    for (unsigned word = 0; word < 2; word++)
        for (uint64_t left = bits[word]; left; left &= left - 1) {
            unsigned n = word * width + (unsigned)__builtin_ctzll(left);
            struct lapic *l = find_id(chip, first + n);
            if (l)
                reached += lapic_receive(l, &m);
        }
    return reached;
}

/* With lapic_lock held: enters L, or notes that its id is taken. */
static void map_insert(struct irqchip *chip, struct lapic *l)
{
    uint32_t id;

    l->mapped = lapic_effective_id(l, &id);
    if (!l->mapped)
        return;
    l->mapped_id = id; /* below LAPIC_IDS_MAX: both kinds of id are */
    if (atomic_load(&chip->by_id[id]))
        atomic_store(&chip->aliased, true);
    else
        atomic_store(&chip->by_id[id], l);
}

static void map_rebuild(struct irqchip *chip)
{
    unsigned count = atomic_load(&chip->lapic_count);

    atomic_store(&chip->aliased, true); /* senders ask every LAPIC in the meantime */
    for (unsigned id = 0; id < LAPIC_IDS_MAX; id++)
        atomic_store_explicit(&chip->by_id[id], NULL, memory_order_relaxed);
    bool aliased = false;
    for (unsigned n = 0; n < count; n++) {
        struct lapic *l = atomic_load(&chip->lapic[n]);
        if (!l)
            continue;
        if (lapic_effective_id(l, &l->mapped_id) && atomic_load(&chip->by_id[l->mapped_id]))
            aliased = true;
        map_insert(chip, l);
    }
    atomic_store(&chip->aliased, aliased);
}

static void map_change(struct irqchip *chip, struct lapic *l, bool remove)
{
    if (atomic_load(&chip->aliased)) {
        map_rebuild(chip);
        return;
    }
    if (l->mapped)
        atomic_store(&chip->by_id[l->mapped_id], NULL);
    l->mapped = false;
    if (!remove)
        map_insert(chip, l);
}

void apic_map_update(struct irqchip *chip, struct lapic *l)
{
    pthread_mutex_lock(&chip->lapic_lock);
    map_change(chip, l, false);
    pthread_mutex_unlock(&chip->lapic_lock);
}

int apic_map_add(struct irqchip *chip, struct lapic *l)
{
    int error = -ENOMEM;
    unsigned slot = LAPICS_MAX, count;

    pthread_mutex_lock(&chip->lapic_lock);
    count = atomic_load(&chip->lapic_count);
    for (unsigned n = 0; n < count; n++) {
        struct lapic *other = atomic_load(&chip->lapic[n]);
        if (!other)
            slot = n;
        else if (other->id == l->id)
            error = -EEXIST;
    }
    if (slot == LAPICS_MAX && count < LAPICS_MAX)
        slot = count;
    if (error != -EEXIST && slot < LAPICS_MAX) {
        atomic_store(&chip->lapic[slot], l);
        if (slot == count)
            atomic_store(&chip->lapic_count, count + 1);
        map_change(chip, l, false);
        error = 0;
    }
    pthread_mutex_unlock(&chip->lapic_lock);
    return error;
}

void apic_map_remove(struct irqchip *chip, struct lapic *l)
{
    unsigned count;

    pthread_mutex_lock(&chip->lapic_lock);
    count = atomic_load(&chip->lapic_count);
    for (unsigned n = 0; n < count; n++)
        if (atomic_load(&chip->lapic[n]) == l)
            atomic_store(&chip->lapic[n], NULL);
    map_change(chip, l, true);
    l->next = chip->freed;
    chip->freed = l;
    pthread_mutex_unlock(&chip->lapic_lock);
}
