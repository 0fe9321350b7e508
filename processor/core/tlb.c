/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tagged TLB: contexts by PCID and privilege, what fills them and what empties them. */
#include "filter.h"
#include "internal.h"
#include "span.h"

#include "processor/translate/translate.h"

#include <stdlib.h>

/* A tag that no address of entry INDEX matches: its page differs in the lowest index bit.  A victim
 * may be any address's. */
static uint64_t dead_tag(unsigned index)
{
    return index < TLB_ENTRIES ? (uint64_t)(index ^ 1) << PAGE_BITS : TLB_RANGE_EMPTY;
}

/* ---------------------------------------------------------------- recent ones */

/* Recent ones outlive their entries when those are replaced, but whatever invalidates must take
 * them along: the whole context's, those of a linear page, or those that lead to a host page. */

static void recent_empty(struct tlb *t)
{
    if (!t->recent_used)
        return;
    ranges_clear(t, t->recent_read, TLB_RECENT);
    ranges_clear(t, t->recent_write, TLB_RECENT);
    t->recent_used = false;
    t->patience = 0;
}

static void recent_drop(struct tlb *t, uint64_t linear)
{
    if (!t->recent_used)
        return;
    ranges_drop(t, t->recent_read, TLB_RECENT, linear);
    ranges_drop(t, t->recent_write, TLB_RECENT, linear);
}

static void recent_drop_writes(struct tlb *t, const uint8_t *page)
{
    if (t->recent_used)
        ranges_drop_host(t, t->recent_write, TLB_RECENT, page);
}

/* ---------------------------------------------------------------- entries */

static void entry_drop(struct tlb *t, unsigned index)
{
    struct tlb_entry *e = &t->entry[index];
    e->read = e->write = e->fetch = dead_tag(index);
    t->flags[index] = 0;
}

static uint64_t entry_tag(const struct tlb_entry *e, enum access_kind kind)
{
    return kind == FOR_READ ? e->read : kind == FOR_WRITE ? e->write : e->fetch;
}

/* The page of an entry, or an address that no page of its index has. */
static uint64_t entry_page(const struct tlb *t, unsigned index)
{
    const struct tlb_entry *e = &t->entry[index];
    uint64_t dead = dead_tag(index);
    return e->read != dead ? e->read : e->fetch != dead ? e->fetch : e->write;
}

static bool entry_is_filled(const struct tlb *t, unsigned index)
{
    return entry_page(t, index) != dead_tag(index);
}

static uint64_t moved_tag(uint64_t tag, unsigned to, unsigned from)
{
    return tag == dead_tag(from) ? dead_tag(to) : tag;
}

/* Makes entry TO what entry FROM is. */
static void entry_move(struct tlb *t, unsigned to, unsigned from)
{
    const struct tlb_entry *e = &t->entry[from];
    t->entry[to] = (struct tlb_entry){
        .read = moved_tag(e->read, to, from),
        .write = moved_tag(e->write, to, from),
        .fetch = moved_tag(e->fetch, to, from),
        .host = e->host,
    };
    t->flags[to] = t->flags[from];
    t->local[to / 64] &= ~BIT(to % 64);
    t->local[to / 64] |= (t->local[from / 64] >> from % 64 & 1) << to % 64;
}

static void entry_exchange(struct tlb *t, unsigned one, unsigned other)
{
    entry_move(t, TLB_SPARE, one);
    entry_move(t, one, other);
    entry_move(t, other, TLB_SPARE);
    entry_drop(t, TLB_SPARE);
}

enum { ADDRESS_BITS = 63 };

void tlb_forget_fetches(struct tlb *t)
{
    for (unsigned n = 0; n < TLB_ALL; n++)
        t->entry[n].fetch = dead_tag(n);
    jumps_empty(t->jumps);
}

/* ---------------------------------------------------------------- contexts and sets */

static void tlb_empty(struct tlb *t)
{
    recent_empty(t);
    spans_empty(t);
    for (unsigned i = 0; i < TLB_ALL; i++)
        entry_drop(t, i);
    memset(t->local, 0, sizeof(t->local));
    t->filled = t->filled_low_global = false;
    t->next_victim = 0;
}

/* The jump cache that is S's own; supervisors share theirs. */
static struct jump_cache *user_jumps(struct tlb_set *s)
{
    return s->class[TLB_USER].jumps;
}

static void set_empty(struct tlb_set *s)
{
    jumps_empty(user_jumps(s));
    for (unsigned c = 0; c < TLB_CLASSES; c++) {
        if (s->class[c].filled)
            tlb_empty(&s->class[c]);
    }
    memset(s->large, 0, sizeof(s->large));
}

static void set_drop_non_global(struct tlb_set *s)
{
    for (unsigned c = 0; c < TLB_CLASSES; c++) {
        struct tlb *t = &s->class[c];
        recent_empty(t);
        spans_drop_local(t);
        for (unsigned w = 0; w < ARRAY_SIZE(t->local); w++) {
            for (uint64_t left = t->local[w]; left; left &= left - 1)
                entry_drop(t, 64 * w + (unsigned)__builtin_ctzll(left));
            t->local[w] = 0;
        }
    }
    jumps_drop_local(user_jumps(s));
}

/* What all sets share, which is all that leads to fixed blocks. */
static void shared_empty(struct processor *p)
{
    jumps_empty(&p->jump_caches[JUMPS_SUPERVISOR]);
    jumps_empty(&p->jump_caches[JUMPS_SLOW]);
    if (p->translator)
        translator_unlink(p->translator, 0, ADDRESS_BITS);
}
static void shared_drop_local(struct processor *p)
{
    jumps_drop_local(&p->jump_caches[JUMPS_SUPERVISOR]);
    jumps_drop_local(&p->jump_caches[JUMPS_SLOW]);
}
static void shared_drop(struct processor *p, uint64_t linear, unsigned bits)
{
    if (p->translator)
        translator_unlink(p->translator, linear, bits);
    jumps_drop(&p->jump_caches[JUMPS_SUPERVISOR], linear, bits);
    jumps_drop(&p->jump_caches[JUMPS_SLOW], linear, bits);
}

void tlb_allocate(struct processor *p)
{
    if (p->tlb_sets)
        return;
    struct tlb_set *sets = aligned_alloc(64, ALIGN_UP(TLB_SETS * sizeof(*sets), 64));
    struct jump_cache *jumps = jumps_new();
    if (!sets || !jumps) {
        free(sets);
        jumps_free(jumps);
        return;
    }
    for (unsigned i = 0; i < TLB_SETS; i++) {
        for (unsigned c = 0; c < TLB_CLASSES; c++) {
            sets[i].class[c].jumps = c == TLB_USER   ? &jumps[JUMPS_USER + i]
                                     : c == TLB_SLOW ? &jumps[JUMPS_SLOW]
                                                     : &jumps[JUMPS_SUPERVISOR];
            sets[i].class[c].recent_used = true;
            sets[i].class[c].span_debt = 0;
            tlb_empty(&sets[i].class[c]);
        }
        sets[i].key = TLB_KEY_NONE;
        sets[i].used = 0;
        memset(sets[i].large, 0, sizeof(sets[i].large));
    }
    p->tlb_sets = sets;
    p->jump_caches = jumps;
    p->tlb_set = sets;
    processor_update_mode(p);
}

struct access_as tlb_class_as(const struct processor *p, enum tlb_class c)
{
    switch (c) {
    case TLB_USER:
        return (struct access_as){.user = true};
    case TLB_SUPERVISOR:
        return (struct access_as){.smap = true};
    case TLB_SUPERVISOR_AC:
        return (struct access_as){.smap = false};
    default:
        return (struct access_as){.user = p->cpl == 3,
                                  .smap = p->cpl < 3 && !(p->rflags & FLAG_AC)};
    }
}

uint8_t *tlb_recall(struct tlb *t, uint64_t linear, enum access_kind kind)
{
    unsigned index = (linear >> PAGE_BITS) & (TLB_ENTRIES - 1);
    uint64_t page = linear & ~PAGE_OFFSET_MASK;
    const struct tlb_entry *e = &t->entry[index];
    if (entry_tag(e, kind) != page) {
        unsigned victim = TLB_ENTRIES;
        while (victim < TLB_SPARE && entry_tag(&t->entry[victim], kind) != page)
            victim++;
        if (victim == TLB_SPARE)
            return NULL;
        entry_exchange(t, index, victim);
    }
    return (uint8_t *)(e->host + (linear & PAGE_OFFSET_MASK));
}

void tlb_insert(struct processor *p, struct tlb *tlb, uint64_t linear, enum access_kind kind,
                const struct translation *t, struct slot *slot)
{
    unsigned index = (linear >> PAGE_BITS) & (TLB_ENTRIES - 1);
    uint64_t page = linear & ~PAGE_OFFSET_MASK;
    uint8_t *hva = slot->info.hva + ((t->gpa & ~PAGE_OFFSET_MASK) - slot->info.gpa);
    struct tlb_entry *e = &tlb->entry[index];
    uint64_t dead = dead_tag(index);
    bool same = (e->read == page || e->fetch == page || e->write == page) &&
                e->host == (uint64_t)(uintptr_t)hva;
    bool data = tlb != &p->tlb_set->class[TLB_SLOW];

    if (!same && entry_is_filled(tlb, index)) {
        entry_move(tlb, TLB_ENTRIES + tlb->next_victim, index);
        tlb->next_victim = (tlb->next_victim + 1) % TLB_VICTIMS;
    }
    uint64_t fetch = same ? e->fetch : dead;
    if (kind == FOR_FETCH) {
        /* Only a fetch gives the fetch tag, for only then were the page's bytes compared. */
        if (memory_is_compared(p->memory))
            code_compare(p->memory, hva);
        fetch = page;
    }
    e->host = (uint64_t)(uintptr_t)hva;
    e->fetch = fetch;
    e->read = data && t->read && slot_is_present(slot, t->gpa, false) ? page : dead;
    e->write = dead;
    bool large = t->bits != PAGE_BITS;
    tlb->flags[index] = (uint8_t)((t->global ? TLB_FLAG_GLOBAL : 0) | (large ? TLB_FLAG_LARGE : 0));
    tlb->filled = true;
    tlb->filled_low_global |= t->global && !(linear >> 63);
    if (t->global)
        tlb->local[index / 64] &= ~BIT(index % 64);
    else
        tlb->local[index / 64] |= BIT(index % 64);
    if (large) {
        unsigned n = large_filter(t->bits);
        filter_add(p->tlb_set->large[n], linear, large_bits[n]);
    }
    if (e->read == page)
        span_insert(p, tlb, linear, t, slot, false);
    if (p->no_write_tags || !data || !t->write || slot->info.flags & MEMORY_READONLY ||
        !slot_is_dirty(slot, t->gpa) || !slot_is_present(slot, t->gpa, true))
        return;
    /* The tag first, then the question: a processor that marks the page as code asks for the tag to
     * be dropped after marking, so one of the two sees the other. */
    e->write = page;
    atomic_thread_fence(memory_order_seq_cst);
    if (code_page_holds_code(p->memory, hva))
        e->write = dead;
    else if (!slot->dirty)
        span_insert(p, tlb, linear, t, slot, true);
}

void tlb_drop_write_tags(struct processor *p, const uint8_t *page)
{
    if (!p->tlb_sets)
        return;
    for (unsigned s = 0; s < TLB_SETS; s++) {
        for (unsigned c = 0; c < TLB_CLASSES; c++) {
            struct tlb *t = &p->tlb_sets[s].class[c];
            if (!t->filled)
                continue;
            recent_drop_writes(t, page);
            spans_drop_writes(t, page);
            for (unsigned i = 0; i < TLB_ALL; i++) {
                struct tlb_entry *e = &t->entry[i];
                if (!page || e->host == (uintptr_t)page)
                    e->write = dead_tag(i);
            }
        }
    }
}

void tlb_flush_all(struct processor *p)
{
    p->slot = NULL;
    if (!p->tlb_sets)
        return;
    for (unsigned s = 0; s < TLB_SETS; s++)
        set_empty(&p->tlb_sets[s]);
    shared_empty(p);
}

void processor_flush_tlb(struct processor *p)
{
    tlb_flush_all(p);
}

/* The set of KEY, taken from the least recently used one if there is none. */
static struct tlb_set *set_for(struct processor *p, uint64_t key, bool *found)
{
    struct tlb_set *oldest = &p->tlb_sets[0];
    *found = true;
    for (unsigned s = 0; s < TLB_SETS; s++) {
        if (p->tlb_sets[s].key == key)
            return &p->tlb_sets[s];
        if (p->tlb_sets[s].used < oldest->used)
            oldest = &p->tlb_sets[s];
    }
    *found = false;
    set_empty(oldest);
    oldest->key = key;
    return oldest;
}

void tlb_load_cr3(struct processor *p, uint64_t value, bool keep)
{
    if (!p->tlb_sets)
        return;
    bool pcide = p->cr4 & CR4_PCIDE;
    bool found;
    ptrdiff_t class = p->tlb - p->tlb_set->class;
    struct tlb_set *set = set_for(p, pcide ? value & 0xfff : TLB_KEY_NONE, &found);
    set->used = ++p->tlb_clock;
    if (found && !(pcide && keep))
        set_drop_non_global(set);
    /* Also where the set's own are kept: in the shared caches they would be another set's. */
    if (set != p->tlb_set || !(pcide && keep))
        shared_drop_local(p);
    p->tlb_set = set;
    p->tlb = &set->class[class];
}

void tlb_forget_dropped(struct processor *p)
{
    struct memory *m = p->memory;
    uint64_t first = p->drops, end = atomic_load(&m->drops), pages[DROPS_KEPT];
    p->drops = end;
    if (!p->jump_caches)
        return;
    for (uint64_t n = first; n < end && end - first <= DROPS_KEPT; n++)
        pages[n - first] = atomic_load(&m->drop[n % DROPS_KEPT]);
    /* Those that came meanwhile may have taken the others' place. */
    bool all = atomic_load(&m->drops) - first > DROPS_KEPT;
    for (uint64_t n = first; n < end && !all; n++)
        all = pages[n - first] == FIXED_MANY;
    if (all) {
        shared_empty(p);
        return;
    }
    for (uint64_t n = first; n < end; n++)
        shared_drop(p, pages[n - first], PAGE_BITS);
}

/* Drops the fragments of large pages that differ from LINEAR only in the low BITS bits. */
static void fragments_drop(struct tlb *t, uint64_t linear, unsigned bits, bool globals)
{
    for (unsigned i = 0; i < TLB_ALL; i++) {
        if (t->flags[i] & TLB_FLAG_LARGE && (entry_page(t, i) ^ linear) >> bits == 0 &&
            (globals || !(t->flags[i] & TLB_FLAG_GLOBAL)))
            entry_drop(t, i);
    }
}

/* The jump entries of S and the shared ones. */
static void jumps_invalidate(struct processor *p, struct tlb_set *s, uint64_t linear)
{
    jumps_drop(user_jumps(s), linear, PAGE_BITS);
    shared_drop(p, linear, PAGE_BITS);
    for (unsigned n = 0; n < ARRAY_SIZE(large_bits); n++) {
        if (!filter_has(s->large[n], linear, large_bits[n]))
            continue;
        jumps_drop(user_jumps(s), linear, large_bits[n]);
        shared_drop(p, linear, large_bits[n]);
    }
}

static void set_invalidate(struct processor *p, struct tlb_set *s, uint64_t linear, bool globals)
{
    jumps_invalidate(p, s, linear);
    unsigned index = (linear >> PAGE_BITS) & (TLB_ENTRIES - 1);
    for (unsigned c = 0; c < TLB_CLASSES; c++) {
        struct tlb *t = &s->class[c];
        if (!t->filled)
            continue;
        if (globals || !(t->flags[index] & TLB_FLAG_GLOBAL))
            entry_drop(t, index);
        for (unsigned i = TLB_ENTRIES; i < TLB_ALL; i++) {
            if ((entry_page(t, i) ^ linear) >> PAGE_BITS == 0 &&
                (globals || !(t->flags[i] & TLB_FLAG_GLOBAL)))
                entry_drop(t, i);
        }
        recent_drop(t, linear);
        spans_invalidate(t, linear);
        for (unsigned n = 0; n < ARRAY_SIZE(large_bits); n++) {
            unsigned bits = large_bits[n];
            if (!filter_has(s->large[n], linear, bits))
                continue;
            recent_empty(t);
            spans_empty(t);
            fragments_drop(t, linear, bits, globals);
        }
    }
}

static bool set_has_low_globals(const struct tlb_set *s)
{
    bool has = false;
    for (unsigned c = 0; c < TLB_CLASSES; c++)
        has |= s->class[c].filled_low_global;
    return has;
}

void tlb_invalidate_page(struct processor *p, uint64_t linear)
{
    if (!p->tlb_sets)
        return;
    /* The current PCID's translation, and any global one, which each set has its own copy of.
     * Kernels have global pages in the upper half. */
    for (unsigned s = 0; s < TLB_SETS; s++) {
        struct tlb_set *set = &p->tlb_sets[s];
        if (set == p->tlb_set || linear >> 63 || set_has_low_globals(set))
            set_invalidate(p, set, linear, true);
    }
}

void tlb_invalidate_pcid(struct processor *p, unsigned type, uint64_t pcid, uint64_t linear)
{
    if (!p->tlb_sets)
        return;
    for (unsigned s = 0; s < TLB_SETS; s++) {
        struct tlb_set *set = &p->tlb_sets[s];
        bool mine = set->key == pcid || (set->key == TLB_KEY_NONE && pcid == 0);
        if (type == 0 && mine)
            set_invalidate(p, set, linear, false);
        else if ((type == 1 && mine) || type == 3)
            set_drop_non_global(set);
        else if (type == 2)
            set_empty(set);
    }
    if (type == 2)
        shared_empty(p);
    else if (type != 0)
        shared_drop_local(p);
}
