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
    for (unsigned i = first; i < first + count; i++)
        t->jump[i] = (struct jump_entry){i ^ 1, NULL};
}

static void entry_drop(struct tlb *t, unsigned index)
{
    struct tlb_entry *e = &t->entry[index];
    e->read = e->write = e->fetch = dead_tag(index);
    t->flags[index] = 0;
}

/* Empties the jump entries whose addresses differ from LINEAR only in the low BITS bits. */
static void jumps_drop(struct tlb *t, uint64_t linear, unsigned bits)
{
    for (unsigned i = 0; i < JUMP_ENTRIES; i++) {
        if ((t->jump[i].linear ^ linear) >> bits == 0)
            jumps_empty(t, i, 1);
    }
}

static void tlb_empty(struct tlb *t)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        entry_drop(t, i);
    jumps_empty(t, 0, JUMP_ENTRIES);
    t->filled = false;
    t->jumps_local = false;
}

static void set_empty(struct tlb_set *s)
{
    for (unsigned c = 0; c < TLB_CLASSES; c++) {
        if (s->class[c].filled)
            tlb_empty(&s->class[c]);
    }
    s->large = false;
}

static void set_drop_non_global(struct tlb_set *s)
{
    for (unsigned c = 0; c < TLB_CLASSES; c++) {
        struct tlb *t = &s->class[c];
        if (!t->filled)
            continue;
        for (unsigned i = 0; i < TLB_ENTRIES; i++) {
            if (!(t->flags[i] & TLB_FLAG_GLOBAL))
                entry_drop(t, i);
        }
        /* A kernel's contexts have none but global pages as a rule, and keep them all. */
        if (t->jumps_local)
            jumps_empty(t, 0, JUMP_ENTRIES);
        t->jumps_local = false;
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
        for (unsigned c = 0; c < TLB_CLASSES; c++)
            tlb_empty(&sets[i].class[c]);
        sets[i].key = TLB_KEY_NONE;
        sets[i].used = 0;
        sets[i].large = false;
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
    bool same = (e->read == page || e->fetch == page || e->write == page) && e->host == (uint64_t)(uintptr_t)hva;
    bool data = tlb != &p->tlb_set->class[TLB_SLOW];

    uint64_t fetch = same ? e->fetch : dead;
    if (kind == FOR_FETCH) {
        /* Only a fetch gives the fetch tag, for only then were the page's bytes compared. */
        code_compare(p->memory, hva);
        fetch = page;
    }
    e->host = (uint64_t)(uintptr_t)hva;
    e->fetch = fetch;
    e->read = data && t->read && slot_is_present(slot, t->gpa, false) ? page : dead;
    e->write = dead;
    tlb->flags[index] =
        (uint8_t)((t->global ? TLB_FLAG_GLOBAL : 0) | (t->large ? TLB_FLAG_LARGE : 0));
    tlb->filled = true;
    if (t->large)
        p->tlb_set->large = true;
    if (!data || !t->write || slot->info.flags & MEMORY_READONLY || !slot_is_dirty(slot, t->gpa) ||
        !slot_is_present(slot, t->gpa, true))
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
            for (unsigned i = 0; i < TLB_ENTRIES; i++) {
                struct tlb_entry *e = &t->entry[i];
                if (!page || e->host == (uintptr_t)page)
                    e->write = dead_tag(i);
            }
        }
    }
}

void tlb_drop_write_tag(struct processor *p, uint64_t linear)
{
    tlb_entry(p, linear)->write = dead_tag((linear >> PAGE_BITS) & (TLB_ENTRIES - 1));
}

void tlb_flush_all(struct processor *p)
{
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

static void set_invalidate(struct tlb_set *s, uint64_t linear, bool globals)
{
    unsigned index = (linear >> PAGE_BITS) & (TLB_ENTRIES - 1);
    for (unsigned c = 0; c < TLB_CLASSES; c++) {
        struct tlb *t = &s->class[c];
        if (!t->filled)
            continue;
        if (globals || !(t->flags[index] & TLB_FLAG_GLOBAL))
            entry_drop(t, index);
        jumps_drop(t, linear, s->large ? 30 : PAGE_BITS);
        if (!s->large)
            continue;
        /* Fragments of one large page stand in many entries; its size was not kept, so take the
         * largest there is. */
        for (unsigned i = 0; i < TLB_ENTRIES; i++) {
            struct tlb_entry *e = &t->entry[i];
            uint64_t tag = e->read != dead_tag(i) ? e->read : e->fetch;
            if (t->flags[i] & TLB_FLAG_LARGE && (tag ^ linear) >> 30 == 0 &&
                (globals || !(t->flags[i] & TLB_FLAG_GLOBAL)))
                entry_drop(t, i);
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
