/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host pages that hold decoded code: who has decoded from them, and what drops it. */
#include "internal.h"

#include <stdlib.h>

/* Writes that hit decoded code before a page is taken for one that modifies itself, and writes that
 * hit none before it is taken back. */
#define HEAT_HOT 16

static unsigned bucket_of(const uint8_t *page)
{
    uint64_t n = (uint64_t)(uintptr_t)page >> PAGE_BITS;
    return (unsigned)((n * 0x9e3779b97f4a7c15ull) >> 50) % CODE_BUCKETS;
}

static uint8_t *page_of(const uint8_t *hva)
{
    return (uint8_t *)((uintptr_t)hva & ~(uintptr_t)PAGE_OFFSET_MASK);
}

static uint64_t lines_of(unsigned offset, unsigned size)
{
    unsigned first = offset >> CODE_LINE_BITS, last = (offset + size - 1) >> CODE_LINE_BITS;
    return (~0ull >> (63 - (last - first))) << first;
}

struct code_page *code_page_find(struct memory *m, const uint8_t *hva)
{
    uint8_t *page = page_of(hva);
    struct code_page *c =
        atomic_load_explicit(&m->code_bucket[bucket_of(page)], memory_order_acquire);
    while (c && c->hva != page)
        c = c->next;
    return c;
}

bool code_page_holds_code(struct memory *m, const uint8_t *hva)
{
    struct code_page *c = code_page_find(m, hva);
    return c && atomic_load(&c->mask);
}

static _Atomic bool *granule_of(struct memory *m, uintptr_t hva)
{
    return &m->code_granule[(hva >> CODE_GRANULE_BITS) % CODE_GRANULES];
}

bool code_may_be_in(struct memory *m, const uint8_t *hva, size_t size)
{
    uintptr_t at = (uintptr_t)hva, last = at + size - 1;
    for (at &= ~(BIT(CODE_GRANULE_BITS) - 1); at <= last; at += BIT(CODE_GRANULE_BITS)) {
        if (atomic_load(granule_of(m, at)))
            return true;
    }
    return false;
}

struct code_page *code_page_get(struct memory *m, const uint8_t *hva)
{
    struct code_page *c = code_page_find(m, hva);
    if (c)
        return c;
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->hva = page_of(hva);
    pthread_mutex_init(&c->lock, NULL);
    /* Pages are only ever added, at the head, so readers need no lock; writers take the memory's.
     */
    _Atomic(struct code_page *) *head = &m->code_bucket[bucket_of(c->hva)];
    pthread_mutex_lock(&m->lock);
    struct code_page *other = code_page_find(m, hva);
    if (other) {
        pthread_mutex_unlock(&m->lock);
        pthread_mutex_destroy(&c->lock);
        free(c);
        return other;
    }
    atomic_store(granule_of(m, (uintptr_t)c->hva), true);
    c->next = atomic_load(head);
    atomic_store_explicit(head, c, memory_order_release);
    pthread_mutex_unlock(&m->lock);
    return c;
}

void code_page_fix(struct code_page *c, uint64_t linear)
{
    uint64_t none = 0;
    if (!atomic_compare_exchange_strong(&c->fixed, &none, linear) && none != linear)
        atomic_store(&c->fixed, FIXED_MANY);
}

static void note_drop(struct memory *m, uint64_t linear)
{
    pthread_mutex_lock(&m->drops_lock);
    uint64_t n = atomic_load(&m->drops);
    atomic_store(&m->drop[n % DROPS_KEPT], linear);
    atomic_store(&m->drops, n + 1);
    pthread_mutex_unlock(&m->drops_lock);
}

/* Kills all blocks of C.  With C's lock held. */
static void drop_blocks(struct memory *m, struct code_page *c, struct processor *by)
{
    atomic_fetch_add(&c->generation, 1);
    atomic_store(&c->fresh, 0);
    if (c->heat < HEAT_HOT) {
        c->heat++;
        atomic_store(&c->mask, 0);
        atomic_store(&c->settled, false);
    }
    /* A page that keeps modifying itself stays marked, so that its writers need not be told to drop
     * their tags each time it is decoded anew. */
    if (atomic_load(&c->fixed))
        note_drop(m, atomic_load(&c->fixed));
    memory_poll_others(m, NULL, POLL_RESYNC);
    /* The rest of the running block may be what changed: end it after this instruction.  It is dead
     * and its memory is this processor's own, so it may be patched. */
    if (by && by->running == c && by->insn) {
        struct insn *next = (struct insn *)by->insn + 1;
        next->exec = exec_end;
        next->disp = 0;
    }
}

void code_written(struct memory *m, struct processor *by, const uint8_t *hva, unsigned size)
{
    struct code_page *c = code_page_find(m, hva);
    if (!c || !size)
        return;
    uint64_t mask = atomic_load(&c->mask);
    if (!mask)
        return;
    unsigned offset = (unsigned)(hva - c->hva);
    if (!(mask & lines_of(offset, size))) {
        if (c->heat >= HEAT_HOT && ++c->heat > 64 * HEAT_HOT) {
            /* Long written without being run: data now. */
            pthread_mutex_lock(&c->lock);
            c->heat = 0;
            drop_blocks(m, c, by);
            pthread_mutex_unlock(&c->lock);
        }
        return;
    }
    /* After the last drop nothing was decoded there, so nothing is to be dropped.  Whoever decodes
     * sets the bit, then copies; we have written, then look: one of the two sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!(atomic_load(&c->fresh) & lines_of(offset, size)))
        return;
    pthread_mutex_lock(&c->lock);
    drop_blocks(m, c, by);
    pthread_mutex_unlock(&c->lock);
}

void code_compare(struct memory *m, const uint8_t *hva)
{
    struct code_page *c = code_page_find(m, hva);
    if (!c || !atomic_load(&c->mask))
        return;
    pthread_mutex_lock(&c->lock);
    if (!guest_equal(c->copy, c->hva, PAGE_BYTES)) {
        uint64_t fresh = atomic_load(&c->fresh), changed = 0;
        for (unsigned line = 0; line < 64; line++) {
            unsigned at = line << CODE_LINE_BITS;
            if (fresh & BIT(line) && !guest_equal(c->copy + at, c->hva + at, 1u << CODE_LINE_BITS))
                changed |= BIT(line);
        }
        if (changed)
            drop_blocks(m, c, NULL);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- before decoding, and while other processors may still hold write tags ---- */

static bool all_acknowledged(struct memory *m, const struct processor *self, uint64_t epoch)
{
    bool all = true;
    pthread_mutex_lock(&m->lock);
    for (struct processor *p = m->processors; p; p = p->next) {
        if (p != self && atomic_load(&p->inside) && atomic_load(&p->acknowledged) < epoch)
            all = false;
    }
    pthread_mutex_unlock(&m->lock);
    return all;
}

void code_page_mark(struct processor *p, struct code_page *c, unsigned offset, unsigned size)
{
    struct memory *m = p->memory;
    uint64_t lines = lines_of(offset, size);
    pthread_mutex_lock(&c->lock);
    uint64_t before = atomic_fetch_or(&c->mask, lines);
    if (!before) {
        /* New as code: our write tags go now, the others' at their next poll; until all have
         * answered, what is decoded is compared again whenever it is looked up. */
        tlb_drop_write_tags(p, c->hva);
        atomic_store(&c->settled, m->processor_count == 1);
        if (m->processor_count > 1) {
            c->epoch = atomic_fetch_add(&m->epoch, 1) + 1;
            memory_poll_others(m, p, POLL_FLUSH_WRITE);
        }
    }
    uint64_t stale = lines & ~atomic_fetch_or(&c->fresh, lines);
    for (unsigned line = 0; line < 64; line++) {
        if (stale & BIT(line))
            guest_copy(c->copy + (line << CODE_LINE_BITS), c->hva + (line << CODE_LINE_BITS),
                       1u << CODE_LINE_BITS);
    }
    pthread_mutex_unlock(&c->lock);
}

bool code_page_settle(struct processor *p, struct code_page *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t epoch = c->epoch;
    pthread_mutex_unlock(&c->lock);
    if (!all_acknowledged(p->memory, p, epoch))
        return false;
    code_compare(p->memory, c->hva);
    /* Dropped and marked anew in the meantime, it waits for other answers. */
    pthread_mutex_lock(&c->lock);
    if (atomic_load(&c->mask) && c->epoch == epoch)
        atomic_store(&c->settled, true);
    bool settled = atomic_load(&c->settled);
    pthread_mutex_unlock(&c->lock);
    return settled;
}
