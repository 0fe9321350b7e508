/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tagged TLB: contexts by PCID and privilege, what fills them and what empties them. */
#include "internal.h"

#include <stdlib.h>

/* A tag that no address of entry INDEX matches: its page differs in the lowest index bit. */
static uint64_t dead_tag(unsigned index)
{
    return (uint64_t)(index ^ 1) << PAGE_BITS;
}

void jumps_empty(struct tlb *t, unsigned first, unsigned count)
{
    _Static_assert(JUMP_ENTRIES <= PAGE_BYTES, "an index is an address of that index");
    for (unsigned i = first; i < first + count; i++) {
        t->jump[i] = (struct jump_entry){i ^ 1, NULL};
        t->jump_block[i] = NULL;
    }
}

/* ---------------------------------------------------------------- recent entries */

/* They outlive their entries when those are replaced, but whatever invalidates must take them
 * along: the whole context's, those of a linear page, or those that lead to a host page. */

static void recent_clear(struct tlb *t, struct tlb_recent *r)
{
    *r = (struct tlb_recent){TLB_RECENT_EMPTY, (uintptr_t)t->sink};
}

static void recent_empty(struct tlb *t)
{
    if (!t->recent_used)
        return;
    for (unsigned n = 0; n < TLB_RECENT; n++) {
        recent_clear(t, &t->recent[n][0]);
        recent_clear(t, &t->recent[n][1]);
    }
    t->recent_used = false;
    t->patience = 0;
}

static void recent_drop(struct tlb *t, uint64_t linear)
{
    if (!t->recent_used)
        return;
    for (unsigned n = 0; n < TLB_RECENT; n++) {
        for (unsigned write = 0; write < 2; write++) {
            if ((t->recent[n][write].tag ^ linear) >> PAGE_BITS == 0)
                recent_clear(t, &t->recent[n][write]);
        }
    }
}

/* PAGE is NULL: all pages. */
static void recent_drop_writes(struct tlb *t, const uint8_t *page)
{
    if (!t->recent_used)
        return;
    for (unsigned n = 0; n < TLB_RECENT; n++) {
        if (!page || t->recent[n][1].host == (uintptr_t)page)
            recent_clear(t, &t->recent[n][1]);
    }
}

/* ---------------------------------------------------------------- entries */

static void entry_drop(struct tlb *t, unsigned index)
{
    struct tlb_entry *e = &t->entry[index];
    e->read = e->write = e->fetch = dead_tag(index);
    t->flags[index] = 0;
}

/* ---------------------------------------------------------------- filters */

/* An invalidation must find what stands for an address anywhere in the jump cache, and the
 * fragments of a large page anywhere in the TLB.  Looking is dear, and mostly there is nothing: so
 * filters tell where something may be. */

/* The bit of LINEAR's page of 1 << BITS bytes.  Kernels fill their half with the direct map; what
 * programs map, and unmap far more often, must not be mistaken for it. */
static unsigned filter_bit(uint64_t linear, unsigned bits)
{
    return (unsigned)((linear >> bits) % (TLB_FILTER / 2) + (linear >> 63) * (TLB_FILTER / 2));
}

static void filter_add(uint64_t *filter, uint64_t linear, unsigned bits)
{
    unsigned n = filter_bit(linear, bits);
    filter[n / 64] |= BIT(n % 64);
}

static bool filter_has(const uint64_t *filter, uint64_t linear, unsigned bits)
{
    unsigned n = filter_bit(linear, bits);
    return filter[n / 64] & BIT(n % 64);
}

enum { REGION_BITS = 21, GIGANTIC_BITS = 30 };

/* Which filter of a set, and which number there, stands for a page of 1 << BITS bytes at LINEAR.
 * PAE's 2 MiB apart, all large pages count as gigantic. */
static unsigned large_filter(unsigned bits)
{
    return bits != REGION_BITS;
}
static const uint8_t large_bits[2] = {REGION_BITS, GIGANTIC_BITS};

/* ---------------------------------------------------------------- the jump cache */

static void jumps_empty_all(struct tlb *t)
{
    jumps_empty(t, 0, JUMP_ENTRIES);
    t->jumps_local = 0;
    memset(t->jump_pages, 0, sizeof(t->jump_pages));
    memset(t->jump_regions, 0, sizeof(t->jump_regions));
}

void tlb_note_jump(struct processor *p, uint64_t linear)
{
    struct tlb *t = p->tlb;
    t->filled = true;
    filter_add(t->jump_pages, linear, PAGE_BITS);
    filter_add(t->jump_regions, linear, REGION_BITS);
    /* A kernel's contexts have none but global pages as a rule. */
    if (!(t->flags[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)] & TLB_FLAG_GLOBAL)) {
        if (t->jumps_local < JUMPS_LOCAL)
            t->jump_local[t->jumps_local] = (uint16_t)jump_index(linear);
        if (t->jumps_local <= JUMPS_LOCAL)
            t->jumps_local++;
    }
}

static void jumps_drop_local(struct tlb *t)
{
    if (t->jumps_local > JUMPS_LOCAL) {
        jumps_empty_all(t);
        return;
    }
    for (unsigned n = 0; n < t->jumps_local; n++)
        jumps_empty(t, t->jump_local[n], 1);
    t->jumps_local = 0;
}

/* Empties the jump entries whose addresses differ from LINEAR only in the low BITS bits. */
static void jumps_drop(struct tlb *t, uint64_t linear, unsigned bits)
{
    if (bits == PAGE_BITS && !filter_has(t->jump_pages, linear, PAGE_BITS))
        return;
    if (bits <= REGION_BITS && !filter_has(t->jump_regions, linear, REGION_BITS))
        return;
    for (unsigned i = 0; i < JUMP_ENTRIES; i++) {
        if ((((t->jump[i].linear & ~JUMP_LEGACY) ^ linear) >> bits) == 0)
            jumps_empty(t, i, 1);
    }
}

/* ---------------------------------------------------------------- contexts and sets */

static void tlb_empty(struct tlb *t)
{
    recent_empty(t);
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        entry_drop(t, i);
    memset(t->local, 0, sizeof(t->local));
    jumps_empty_all(t);
    t->filled = false;
}

static void set_empty(struct tlb_set *s)
{
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
        for (unsigned w = 0; w < ARRAY_SIZE(t->local); w++) {
            for (uint64_t left = t->local[w]; left; left &= left - 1)
                entry_drop(t, 64 * w + (unsigned)__builtin_ctzll(left));
            t->local[w] = 0;
        }
        jumps_drop_local(t);
    }
}

void tlb_allocate(struct processor *p)
{
    if (p->tlb_sets)
        return;
    struct tlb_set *sets = aligned_alloc(64, ALIGN_UP(TLB_SETS * sizeof(*sets), 64));
    if (!sets)
        return;
    for (unsigned i = 0; i < TLB_SETS; i++) {
        for (unsigned c = 0; c < TLB_CLASSES; c++) {
            sets[i].class[c].recent_used = true;
            tlb_empty(&sets[i].class[c]);
        }
        sets[i].key = TLB_KEY_NONE;
        sets[i].used = 0;
        memset(sets[i].large, 0, sizeof(sets[i].large));
    }
    p->tlb_sets = sets;
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
    if (t->global)
        tlb->local[index / 64] &= ~BIT(index % 64);
    else
        tlb->local[index / 64] |= BIT(index % 64);
    if (large) {
        unsigned n = large_filter(t->bits);
        filter_add(p->tlb_set->large[n], linear, large_bits[n]);
    }
    if (p->no_write_tags || !data || !t->write || slot->info.flags & MEMORY_READONLY ||
        !slot_is_dirty(slot, t->gpa) || !slot_is_present(slot, t->gpa, true))
        return;
    /* The tag first, then the question: a processor that marks the page as code asks for the tag to
     * be dropped after marking, so one of the two sees the other. */
    e->write = page;
    atomic_thread_fence(memory_order_seq_cst);
    if (code_page_holds_code(p->memory, hva))
        e->write = dead;
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
            for (unsigned i = 0; i < TLB_ENTRIES; i++) {
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
    p->tlb_set = set;
    p->tlb = &set->class[class];
}

/* Drops the fragments of large pages that differ from LINEAR only in the low BITS bits. */
static void fragments_drop(struct tlb *t, uint64_t linear, unsigned bits, bool globals)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        struct tlb_entry *e = &t->entry[i];
        uint64_t tag = e->read != dead_tag(i) ? e->read : e->fetch;
        if (t->flags[i] & TLB_FLAG_LARGE && (tag ^ linear) >> bits == 0 &&
            (globals || !(t->flags[i] & TLB_FLAG_GLOBAL)))
            entry_drop(t, i);
    }
}

static void set_invalidate(struct tlb_set *s, uint64_t linear, bool globals)
{
    unsigned index = (linear >> PAGE_BITS) & (TLB_ENTRIES - 1);
    for (unsigned c = 0; c < TLB_CLASSES; c++) {
        struct tlb *t = &s->class[c];
        if (!t->filled)
            continue;
        if (globals || !(t->flags[index] & TLB_FLAG_GLOBAL))
            entry_drop(t, index);
        recent_drop(t, linear);
        jumps_drop(t, linear, PAGE_BITS);
        for (unsigned n = 0; n < ARRAY_SIZE(large_bits); n++) {
            unsigned bits = large_bits[n];
            if (!filter_has(s->large[n], linear, bits))
                continue;
            recent_empty(t);
            fragments_drop(t, linear, bits, globals);
            jumps_drop(t, linear, bits);
        }
    }
}

void tlb_invalidate_page(struct processor *p, uint64_t linear)
{
    if (!p->tlb_sets)
        return;
    /* The current PCID's translation, and any global one, which each set has its own copy of. */
    for (unsigned s = 0; s < TLB_SETS; s++)
        set_invalidate(&p->tlb_sets[s], linear, true);
}

void tlb_invalidate_pcid(struct processor *p, unsigned type, uint64_t pcid, uint64_t linear)
{
    if (!p->tlb_sets)
        return;
    for (unsigned s = 0; s < TLB_SETS; s++) {
        struct tlb_set *set = &p->tlb_sets[s];
        bool mine = set->key == pcid || (set->key == TLB_KEY_NONE && pcid == 0);
        if (type == 0 && mine)
            set_invalidate(set, linear, false);
        else if ((type == 1 && mine) || type == 3)
            set_drop_non_global(set);
        else if (type == 2)
            set_empty(set);
    }
}
