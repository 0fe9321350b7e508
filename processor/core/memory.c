/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest-physical memory: the slot table, its dirty logs, and how processors are told of changes. */
#include "internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

struct memory *memory_new(void)
{
    struct memory *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    struct slot_table *empty = calloc(1, sizeof(*empty));
    if (!empty) {
        free(m);
        return NULL;
    }
    atomic_store(&m->table, empty);
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->drops_lock, NULL);
    pthread_mutex_init(&m->exclusive_lock, NULL);
    pthread_rwlock_init(&m->readers, NULL);
    return m;
}

static void slot_free(struct slot *s)
{
    if (s) {
        free((void *)s->dirty);
        free((void *)s->present[0]);
        free((void *)s->present[1]);
    }
    free(s);
}

void memory_free(struct memory *m)
{
    if (!m)
        return;
    struct slot_table *table = atomic_load(&m->table);
    for (unsigned i = 0; i < table->count; i++)
        slot_free(table->slot[i]);
    free(table);
    for (unsigned i = 0; i < CODE_BUCKETS; i++) {
        struct code_page *c = atomic_load(&m->code_bucket[i]);
        while (c) {
            struct code_page *next = c->next;
            pthread_mutex_destroy(&c->lock);
            free(c);
            c = next;
        }
    }
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->drops_lock);
    pthread_mutex_destroy(&m->exclusive_lock);
    pthread_rwlock_destroy(&m->readers);
    free(m);
}

/* Index of the first slot of T that ends after GPA. */
static unsigned table_position(const struct slot_table *t, uint64_t gpa)
{
    unsigned low = 0, high = t->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct memory_slot *s = &t->slot[middle]->info;
        if (gpa - s->gpa < s->size || gpa < s->gpa)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct slot *memory_slot_at(struct memory *m, uint64_t gpa)
{
    struct slot_table *t = atomic_load_explicit(&m->table, memory_order_acquire);
    unsigned i = table_position(t, gpa);
    if (i < t->count && gpa - t->slot[i]->info.gpa < t->slot[i]->info.size)
        return t->slot[i];
    return NULL;
}

static struct slot *table_by_id(const struct slot_table *t, uint32_t id)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (t->slot[i]->info.id == id)
            return t->slot[i];
    }
    return NULL;
}

/* One bit a page: those of OLD, if it is not NULL, else all INITIAL. */
static _Atomic uint64_t *bitmap_new(uint64_t size, const _Atomic uint64_t *old, uint64_t initial)
{
    size_t words = bitmap_words(size);
    _Atomic uint64_t *bits = calloc(words, sizeof(*bits));
    for (size_t i = 0; bits && (old || initial) && i < words; i++)
        bits[i] = old ? old[i] : initial;
    return bits;
}

static struct slot *slot_new(const struct memory_slot *info, const struct slot *old)
{
    struct slot *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->info = *info;
    /* A slot that changes only its flags or address keeps what is known of its pages. */
    bool same = old && old->info.size == info->size && old->info.hva == info->hva;
    for (unsigned i = 0; i < ARRAY_SIZE(s->present); i++)
        s->present[i] = bitmap_new(info->size, same ? old->present[i] : NULL, 0);
    bool log = info->flags & MEMORY_LOG_DIRTY;
    if (log)
        s->dirty = bitmap_new(info->size, same ? old->dirty : NULL,
                              info->flags & MEMORY_ALL_DIRTY ? ~0ull : 0);
    if (!s->present[0] || !s->present[1] || (log && !s->dirty)) {
        slot_free(s);
        return NULL;
    }
    return s;
}

/* A copy of OLD without REMOVED and with ADDED (either may be NULL). */
static struct slot_table *table_with(const struct slot_table *old, const struct slot *removed,
                                     struct slot *added)
{
    struct slot_table *t = malloc(sizeof(*t) + (old->count + 1) * sizeof(t->slot[0]));
    if (!t)
        return NULL;
    t->count = 0;
    bool placed = added == NULL;
    for (unsigned i = 0; i < old->count; i++) {
        if (old->slot[i] == removed)
            continue;
        if (!placed && added->info.gpa < old->slot[i]->info.gpa) {
            t->slot[t->count++] = added;
            placed = true;
        }
        t->slot[t->count++] = old->slot[i];
    }
    if (!placed)
        t->slot[t->count++] = added;
    return t;
}

static bool overlaps_another(const struct slot_table *t, const struct slot *self,
                             const struct memory_slot *info)
{
    for (unsigned i = table_position(t, info->gpa); i < t->count; i++) {
        const struct memory_slot *s = &t->slot[i]->info;
        if (s->gpa >= info->gpa + info->size)
            return false;
        if (t->slot[i] != self)
            return true;
    }
    return false;
}

int memory_set_slot(struct memory *m, const struct memory_slot *info)
{
    uint64_t bits = info->gpa | info->size | (uintptr_t)info->hva;
    if ((bits & PAGE_OFFSET_MASK) || info->gpa + info->size < info->gpa)
        return -EINVAL;

    pthread_mutex_lock(&m->lock);
    struct slot_table *old_table = atomic_load(&m->table);
    struct slot *old = table_by_id(old_table, info->id), *added = NULL;
    int error = 0;
    if (!info->size && !old)
        error = -ENOENT;
    else if (info->size && overlaps_another(old_table, old, info))
        error = -EEXIST;
    else if (info->size && !(added = slot_new(info, old)))
        error = -ENOMEM;
    if (error) {
        pthread_mutex_unlock(&m->lock);
        return error;
    }
    struct slot_table *table = table_with(old_table, old, added);
    if (!table) {
        slot_free(added);
        pthread_mutex_unlock(&m->lock);
        return -ENOMEM;
    }
    atomic_store(&m->table, table);
    pthread_mutex_unlock(&m->lock);

    memory_synchronize(m);
    /* Once the lock was had for writing, no reader from outside is on the old table either. */
    pthread_rwlock_wrlock(&m->readers);
    pthread_rwlock_unlock(&m->readers);
    free(old_table);
    slot_free(old);
    return 0;
}

bool memory_get_slot(struct memory *m, uint32_t id, struct memory_slot *out)
{
    pthread_mutex_lock(&m->lock);
    struct slot *s = table_by_id(atomic_load(&m->table), id);
    if (s)
        *out = s->info;
    pthread_mutex_unlock(&m->lock);
    return s != NULL;
}

uint8_t *memory_hva(struct memory *m, uint64_t gpa, uint64_t *left)
{
    uint8_t *hva = NULL;
    pthread_rwlock_rdlock(&m->readers);
    struct slot *s = memory_slot_at(m, gpa);
    if (s) {
        hva = s->info.hva + (gpa - s->info.gpa);
        if (left)
            *left = s->info.size - (gpa - s->info.gpa);
    }
    pthread_rwlock_unlock(&m->readers);
    return hva;
}

/* ---- copies and reports ---- */

/* Calls STEP for each piece of [gpa, gpa + length) that lies in one page of one slot.  -EFAULT,
 * with nothing done, when a byte has no (writable) slot. */
static int walk_pieces(struct memory *m, uint64_t gpa, uint64_t length, bool for_write,
                       void (*step)(struct memory *, struct slot *, uint64_t gpa, unsigned size,
                                    void *opaque),
                       void *opaque)
{
    while (length) {
        uint64_t size = PAGE_BYTES - (gpa & PAGE_OFFSET_MASK);
        if (size > length)
            size = length;
        struct slot *s = memory_slot_at(m, gpa);
        uint8_t *hva;
        if (!s || (for_write && s->info.flags & MEMORY_READONLY) ||
            slot_host(m, s, gpa, for_write, &hva) != PRESENT_YES)
            return -EFAULT;
        if (step)
            step(m, s, gpa, (unsigned)size, opaque);
        gpa += size;
        length -= size;
    }
    return 0;
}

static int for_each_piece(struct memory *m, uint64_t gpa, uint64_t length, bool for_write,
                          void (*step)(struct memory *, struct slot *, uint64_t gpa, unsigned size,
                                       void *opaque),
                          void *opaque)
{
    if (gpa + length < gpa)
        return -EFAULT;
    pthread_rwlock_rdlock(&m->readers);
    int error = walk_pieces(m, gpa, length, for_write, NULL, NULL);
    if (!error)
        error = walk_pieces(m, gpa, length, for_write, step, opaque);
    pthread_rwlock_unlock(&m->readers);
    return error;
}

static void step_read(struct memory *m, struct slot *s, uint64_t gpa, unsigned size, void *opaque)
{
    (void)m;
    uint8_t **to = opaque;
    guest_copy(*to, s->info.hva + (gpa - s->info.gpa), size);
    *to += size;
}

int memory_read(struct memory *m, uint64_t gpa, void *to, uint64_t length)
{
    uint8_t *next = to;
    return for_each_piece(m, gpa, length, false, step_read, &next);
}

static void step_write(struct memory *m, struct slot *s, uint64_t gpa, unsigned size, void *opaque)
{
    const uint8_t **from = opaque;
    uint8_t *hva = s->info.hva + (gpa - s->info.gpa);
    guest_copy(hva, *from, size);
    *from += size;
    slot_mark_dirty(m, s, NULL, gpa);
    code_written(m, NULL, hva, size);
}

int memory_write(struct memory *m, uint64_t gpa, const void *from, uint64_t length)
{
    const uint8_t *next = from;
    return for_each_piece(m, gpa, length, true, step_write, &next);
}

void memory_writes_reported(struct memory *m)
{
    atomic_store(&m->reported, true);
}

void memory_written(struct memory *m, uint64_t gpa, uint64_t length)
{
    pthread_rwlock_rdlock(&m->readers);
    while (length) {
        uint64_t size = PAGE_BYTES - (gpa & PAGE_OFFSET_MASK);
        if (size > length)
            size = length;
        struct slot *s = memory_slot_at(m, gpa);
        if (s) {
            slot_mark_dirty(m, s, NULL, gpa);
            code_written(m, NULL, s->info.hva + (gpa - s->info.gpa), (unsigned)size);
        }
        gpa += size;
        length -= size;
        if (!gpa)
            break; /* past the top of the address space */
    }
    pthread_rwlock_unlock(&m->readers);
}

/* ---- dirty logs ---- */

void slot_mark_dirty(struct memory *m, struct slot *slot, struct processor *by, uint64_t gpa)
{
    if (!slot->dirty)
        return;
    uint64_t page = (gpa - slot->info.gpa) >> PAGE_BITS;
    _Atomic uint64_t *word = &slot->dirty[page / 64];
    if (*word & BIT(page % 64))
        return;
    uint64_t before = atomic_fetch_or(word, BIT(page % 64));
    if (!(before & BIT(page % 64)) && m->dirty_hook)
        m->dirty_hook(m->dirty_opaque, by, slot->info.id, page);
}

void memory_set_dirty_hook(struct memory *m,
                           void (*hook)(void *, struct processor *, uint32_t, uint64_t),
                           void *opaque)
{
    m->dirty_hook = hook;
    m->dirty_opaque = opaque;
}

int memory_get_dirty(struct memory *m, uint32_t id, uint64_t *bitmap, bool clear)
{
    pthread_mutex_lock(&m->lock);
    struct slot *s = table_by_id(atomic_load(&m->table), id);
    if (!s || !s->dirty) {
        pthread_mutex_unlock(&m->lock);
        return -ENOENT;
    }
    size_t words = bitmap_words(s->info.size);
    for (size_t i = 0; i < words; i++)
        bitmap[i] = clear ? atomic_exchange(&s->dirty[i], 0) : s->dirty[i];
    pthread_mutex_unlock(&m->lock);
    if (clear)
        memory_synchronize(m);
    return 0;
}

int memory_clear_dirty(struct memory *m, uint32_t id, uint64_t first, uint64_t count,
                       const uint64_t *bitmap)
{
    pthread_mutex_lock(&m->lock);
    struct slot *s = table_by_id(atomic_load(&m->table), id);
    int error = 0;
    if (!s || !s->dirty)
        error = -ENOENT;
    else if (first % 64 || !range_inside(first, count, s->info.size >> PAGE_BITS))
        error = -EINVAL;
    if (error) {
        pthread_mutex_unlock(&m->lock);
        return error;
    }
    for (uint64_t i = 0; i < count; i += 64) {
        uint64_t bits = bitmap[i / 64];
        if (count - i < 64)
            bits &= BIT(count - i) - 1;
        atomic_fetch_and(&s->dirty[(first + i) / 64], ~bits);
    }
    pthread_mutex_unlock(&m->lock);
    memory_synchronize(m);
    return 0;
}

void memory_clear_dirty_page(struct memory *m, uint32_t id, uint64_t page)
{
    pthread_mutex_lock(&m->lock);
    struct slot *s = table_by_id(atomic_load(&m->table), id);
    if (s && s->dirty && page < s->info.size >> PAGE_BITS)
        atomic_fetch_and(&s->dirty[page / 64], ~BIT(page % 64));
    pthread_mutex_unlock(&m->lock);
}

/* ---- processors ---- */

void memory_add_processor(struct memory *m, struct processor *p)
{
    pthread_mutex_lock(&m->lock);
    p->next = m->processors;
    p->index = m->processor_count++;
    m->processors = p;
    pthread_mutex_unlock(&m->lock);
}

void memory_remove_processor(struct memory *m, struct processor *p)
{
    pthread_mutex_lock(&m->lock);
    for (struct processor **link = &m->processors; *link; link = &(*link)->next) {
        if (*link == p) {
            *link = p->next;
            break;
        }
    }
    pthread_mutex_unlock(&m->lock);
}

void memory_poll_others(struct memory *m, struct processor *except, uint32_t bits)
{
    pthread_mutex_lock(&m->lock);
    for (struct processor *p = m->processors; p; p = p->next) {
        if (p != except)
            atomic_fetch_or(&p->poll, bits);
    }
    pthread_mutex_unlock(&m->lock);
}

uint64_t memory_synchronizations(struct memory *m)
{
    return atomic_load(&m->synchronizations);
}

void memory_synchronize(struct memory *m)
{
    atomic_fetch_add(&m->synchronizations, 1);
    uint64_t epoch = atomic_fetch_add(&m->epoch, 1) + 1;
    memory_poll_others(m, NULL, POLL_FLUSH_TLB);
    /* A processor that enters from here on sees the request before it runs anything. */
    for (bool waiting = true; waiting;) {
        waiting = false;
        pthread_mutex_lock(&m->lock);
        for (struct processor *p = m->processors; p; p = p->next) {
            if (atomic_load(&p->inside) && atomic_load(&p->acknowledged) < epoch)
                waiting = true;
        }
        pthread_mutex_unlock(&m->lock);
        if (waiting)
            sched_yield();
    }
}

/* ---- exclusive sections ---- */

void exclusive_begin(struct processor *p)
{
    struct memory *m = p->memory;
    atomic_store(&p->parked, 1);
    pthread_mutex_lock(&m->exclusive_lock);
    atomic_store(&m->exclusive, true);
    memory_poll_others(m, p, POLL_EXCLUSIVE);
    for (bool waiting = true; waiting;) {
        waiting = false;
        pthread_mutex_lock(&m->lock);
        for (struct processor *q = m->processors; q; q = q->next) {
            if (q != p && atomic_load(&q->inside) && !atomic_load(&q->parked))
                waiting = true;
        }
        pthread_mutex_unlock(&m->lock);
        if (waiting)
            sched_yield();
    }
    atomic_store(&p->parked, 0);
    p->exclusive = true;
}

void exclusive_end(struct processor *p)
{
    p->exclusive = false;
    atomic_store(&p->memory->exclusive, false);
    pthread_mutex_unlock(&p->memory->exclusive_lock);
}
