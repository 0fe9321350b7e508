/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two address spaces of devices: ports and MMIO.  Each is a sorted array of regions; a lookup
 * holds the reader lock only until the region is found, so that a handler may map and unmap.
 */
#include "core.h"

#include <inttypes.h>

#define UNASSIGNED_MAX 256 /* addresses remembered for --verbose: a guest cannot make us grow */

struct space {
    GPtrArray *regions; /* by base */
    uint64_t end;       /* first address beyond the space, 0 for 2^64 */
};

struct address_space {
    GRWLock lock;
    struct space kind[2];
    GMutex log_lock;
    GHashTable *logged;
};

struct address_space *space_new(void)
{
    struct address_space *s = g_new0(struct address_space, 1);

    g_rw_lock_init(&s->lock);
    g_mutex_init(&s->log_lock);
    s->logged = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(s->kind); i++)
        s->kind[i].regions = g_ptr_array_new();
    s->kind[SPACE_PIO].end = 0x10000;
    return s;
}

void space_free(struct address_space *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(s->kind); i++)
        g_ptr_array_free(s->kind[i].regions, TRUE);
    g_hash_table_destroy(s->logged);
    g_mutex_clear(&s->log_lock);
    g_rw_lock_clear(&s->lock);
    g_free(s);
}

/* Index of the first region whose base is above ADDRESS. */
static unsigned upper_bound(const struct space *s, uint64_t address)
{
    unsigned low = 0, high = s->regions->len;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct region *r = g_ptr_array_index(s->regions, middle);

        if (r->base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct region *at(const struct space *s, unsigned index)
{
    return g_ptr_array_index(s->regions, index);
}

/* Whether [base, last] lies in the space and clear of the regions beside place I. */
static bool is_free(const struct space *s, unsigned i, uint64_t base, uint64_t last)
{
    if (last < base || (s->end && last >= s->end))
        return false;
    if (i > 0 && base - at(s, i - 1)->base < at(s, i - 1)->size)
        return false;
    return i == s->regions->len || last < at(s, i)->base;
}

bool space_map(struct machine *m, enum space_kind kind, struct region *r, uint64_t base)
{
    struct address_space *a = m->space;
    struct space *s = &a->kind[kind];

    g_rw_lock_writer_lock(&a->lock);
    g_ptr_array_remove(s->regions, r);
    unsigned i = upper_bound(s, base);
    bool good = r->size && is_free(s, i, base, base + r->size - 1);
    if (good) {
        r->base = base;
        g_ptr_array_insert(s->regions, (int)i, r);
    }
    g_rw_lock_writer_unlock(&a->lock);
    return good;
}

void space_unmap(struct machine *m, enum space_kind kind, struct region *r)
{
    struct address_space *a = m->space;

    g_rw_lock_writer_lock(&a->lock);
    g_ptr_array_remove(a->kind[kind].regions, r);
    g_rw_lock_writer_unlock(&a->lock);
}

/* A lookup's result: the region, the offset in it and how many of the bytes asked for it has.
 * Without a region, PART is how many bytes belong to nobody. */
struct found {
    struct region *region;
    uint64_t offset;
    unsigned part;
};

static struct found find(struct machine *m, enum space_kind kind, uint64_t address, unsigned size)
{
    struct address_space *a = m->space;
    struct space *s = &a->kind[kind];
    struct found f = {.part = size};

    g_rw_lock_reader_lock(&a->lock);
    unsigned i = upper_bound(s, address);
    if (i > 0) {
        struct region *r = g_ptr_array_index(s->regions, i - 1);

        if (address - r->base < r->size) {
            f.region = r;
            f.offset = address - r->base;
            f.part = (unsigned)MIN(size, r->size - f.offset);
        }
    }
    if (!f.region && i < s->regions->len)
        f.part = (unsigned)MIN(size, at(s, i)->base - address);
    g_rw_lock_reader_unlock(&a->lock);
    /* Register handlers see powers of two only. */
    while (f.part & (f.part - 1))
        f.part &= f.part - 1;
    return f;
}

/* Says under --verbose, once an address, that the guest reached for nothing. */
static void log_unassigned(struct machine *m, enum space_kind kind, uint64_t address, bool write)
{
    struct address_space *a = m->space;
    gint64 key = (gint64)(address << 1 | (uint64_t)kind);
    bool new = false;

    if (!m->config->verbose)
        return;
    g_mutex_lock(&a->log_lock);
    if (g_hash_table_size(a->logged) < UNASSIGNED_MAX)
        new = g_hash_table_add(a->logged, g_memdup2(&key, sizeof key));
    g_mutex_unlock(&a->log_lock);
    if (new)
        machine_log(m, false, "guest %s %s 0x%" PRIx64 ", where nothing is",
                    write ? "writes" : "reads", kind == SPACE_PIO ? "port" : "address", address);
}

static uint64_t value_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : BIT(size * 8) - 1;
}

uint64_t space_read(struct machine *m, enum space_kind kind, uint64_t address, unsigned size)
{
    uint64_t value = 0;

    for (unsigned done = 0; done < size;) {
        struct found f = find(m, kind, address + done, size - done);
        uint64_t part = UINT64_MAX;

        if (f.region) {
            struct device *d = f.region->device;

            g_mutex_lock(&d->lock);
            part = f.region->ops->read(d, f.offset, f.part);
            g_mutex_unlock(&d->lock);
        } else {
            log_unassigned(m, kind, address + done, false);
        }
        value |= (part & value_mask(f.part)) << (done * 8);
        done += f.part;
    }
    return value;
}

void space_write(struct machine *m, enum space_kind kind, uint64_t address, uint64_t value,
                 unsigned size)
{
    for (unsigned done = 0; done < size;) {
        struct found f = find(m, kind, address + done, size - done);

        if (f.region) {
            struct device *d = f.region->device;

            g_mutex_lock(&d->lock);
            f.region->ops->write(d, f.offset, value >> (done * 8) & value_mask(f.part), f.part);
            g_mutex_unlock(&d->lock);
        } else {
            log_unassigned(m, kind, address + done, true);
        }
        done += f.part;
    }
}
