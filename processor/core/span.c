/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "span.h"

#include "filter.h"

#include <limits.h>

/* Small pages of programs that are looked at each way: they change often. */
enum { SMALL_STEPS = 16 };
/* Of a span, each way. */
#define SPAN_MOST BIT(29)
/* Looking for long spans takes time, and may be in vain where memory comes page by page: each look
 * at a slot's bitmaps makes a debt, which misses pay back, and no span is looked for while it is
 * too high. */
enum { LOOKS_PER_MISS = 32, SPAN_DEBT = 65536 };
/* Once all were dropped, so many are not looked for: who drops them all the time makes no use of
 * them. */
enum { SPAN_WAIT = 8 };

/* ---------------------------------------------------------------- ranges */

static void range_clear(struct tlb *t, struct tlb_range *r)
{
    *r = (struct tlb_range){.start = TLB_RANGE_EMPTY, .host = (uintptr_t)t->sink};
}

static uint64_t range_size(const struct tlb_range *r)
{
    return r->limit + 8;
}

void ranges_clear(struct tlb *t, struct tlb_range *range, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        range_clear(t, &range[n]);
}

void ranges_drop(struct tlb *t, struct tlb_range *range, unsigned count, uint64_t linear)
{
    for (unsigned n = 0; n < count; n++) {
        if ((linear & ~PAGE_OFFSET_MASK) - range[n].start < range_size(&range[n]))
            range_clear(t, &range[n]);
    }
}

void ranges_drop_host(struct tlb *t, struct tlb_range *range, unsigned count, const uint8_t *page)
{
    for (unsigned n = 0; n < count; n++) {
        if (!page || (uintptr_t)page - range[n].host < range_size(&range[n]))
            range_clear(t, &range[n]);
    }
}

/* ---------------------------------------------------------------- how far a span goes */

/* What spans are made of: pages of SLOT, by their distance from its beginning. */
struct run {
    struct memory *memory;
    struct slot *slot;
    bool write;
    unsigned looks; /* so far */
};

static bool run_has(const struct run *r, uint64_t at)
{
    return slot_is_present(r->slot, r->slot->info.gpa + at, r->write) &&
           !(r->write && code_page_holds_code(r->memory, r->slot->info.hva + at));
}

/* The same for as many pages as share a word of the slot's bitmaps, AT being the first one. */
#define RUN_BYTES (64 * PAGE_BYTES)
static bool run_has_all(const struct run *r, uint64_t at)
{
    uint64_t present =
        atomic_load_explicit(&r->slot->present[r->write][at / RUN_BYTES], memory_order_relaxed);
    return present == UINT64_MAX &&
           !(r->write && code_may_be_in(r->memory, r->slot->info.hva + at, RUN_BYTES));
}

enum { RUN_STEPS = 64 }; /* pages that are looked at one by one, each way */

static uint64_t run_end(struct run *r, uint64_t at, uint64_t limit)
{
    for (unsigned steps = 0; at < limit && steps < RUN_STEPS; r->looks++) {
        if (at % RUN_BYTES == 0 && limit - at >= RUN_BYTES && run_has_all(r, at)) {
            at += RUN_BYTES;
        } else if (run_has(r, at)) {
            at += PAGE_BYTES;
            steps++;
        } else {
            break;
        }
    }
    return at;
}

static uint64_t run_begin(struct run *r, uint64_t at, uint64_t limit)
{
    for (unsigned steps = 0; at > limit && steps < RUN_STEPS; r->looks++) {
        if (at % RUN_BYTES == 0 && at - limit >= RUN_BYTES && run_has_all(r, at - RUN_BYTES)) {
            at -= RUN_BYTES;
        } else if (run_has(r, at - PAGE_BYTES)) {
            at -= PAGE_BYTES;
            steps++;
        } else {
            break;
        }
    }
    return at;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The span around the page at LINEAR, as T and SLOT have it; adds to *LOOKS. */
static struct tlb_range find_span(struct processor *p, uint64_t linear, const struct translation *t,
                                  struct slot *slot, bool write, unsigned *looks)
{
    struct run run = {p->memory, slot, write, 0};
    uint64_t page = linear & ~PAGE_OFFSET_MASK, inside = page & (BIT(t->bits) - 1);
    uint64_t at = (t->gpa & ~PAGE_OFFSET_MASK) - slot->info.gpa, left = slot->info.size - at;
    unsigned before, after;
    bool many = t->bits != PAGE_BITS || t->global;
    mmu_neighbours(p, t, write, many ? UINT_MAX : SMALL_STEPS, &before, &after);
    uint64_t below = least(inside + ((uint64_t)before << t->bits), least(at, SPAN_MOST));
    uint64_t above = ((uint64_t)(after + 1) << t->bits) - inside;
    uint64_t low = run_begin(&run, at, at - below);
    uint64_t high = run_end(&run, at + PAGE_BYTES, at + least(above, least(left, SPAN_MOST)));
    *looks += run.looks;
    return (struct tlb_range){
        .start = page - (at - low),
        .limit = high - low - 8,
        .wide = high - low - TLB_WIDE,
        .host = (uintptr_t)slot->info.hva + low,
    };
}

/* ---------------------------------------------------------------- the table of spans */

static unsigned span_index(uint64_t linear)
{
    return linear >> REGION_BITS & (TLB_SPANS - 1);
}

void spans_empty(struct tlb *t)
{
    ranges_clear(t, t->span[0], TLB_SPANS);
    ranges_clear(t, t->span[1], TLB_SPANS);
    ranges_clear(t, t->widest[0], TLB_PARTS);
    ranges_clear(t, t->widest[1], TLB_PARTS);
    t->span_local[0] = t->span_local[1] = 0;
    t->span_wait = SPAN_WAIT;
}

void spans_drop_local(struct tlb *t)
{
    for (unsigned write = 0; write < 2; write++) {
        for (uint64_t left = t->span_local[write]; left; left &= left - 1)
            range_clear(t, &t->span[write][__builtin_ctzll(left)]);
        t->span_local[write] = 0;
        for (unsigned part = 0; part < TLB_PARTS; part++) {
            if (t->widest_local[write][part])
                range_clear(t, &t->widest[write][part]);
        }
    }
}

void spans_drop_writes(struct tlb *t, const uint8_t *page)
{
    ranges_drop_host(t, t->span[1], TLB_SPANS, page);
    ranges_drop_host(t, t->widest[1], TLB_PARTS, page);
}

void spans_invalidate(struct tlb *t, uint64_t linear)
{
    for (unsigned write = 0; write < 2; write++)
        ranges_drop(t, &t->span[write][span_index(linear)], 1, linear);
}

/* Whether the page at LINEAR, whose host address is HVA, is in R. */
static bool range_has(const struct tlb_range *r, uint64_t linear, const uint8_t *hva)
{
    uint64_t inside = (linear & ~PAGE_OFFSET_MASK) - r->start;
    return inside < range_size(r) && r->host + inside == (uintptr_t)hva;
}

/* Whether R and OTHER are parts of one range, without a gap: makes that *BOTH. */
static bool range_join(const struct tlb_range *r, const struct tlb_range *other,
                       struct tlb_range *both)
{
    uint64_t end = r->start + range_size(r), other_end = other->start + range_size(other);
    if (r->start > other_end || other->start > end ||
        r->host - r->start != other->host - other->start)
        return false;
    uint64_t start = r->start < other->start ? r->start : other->start;
    uint64_t size = (end > other_end ? end : other_end) - start;
    *both = (struct tlb_range){start, size - 8, size - TLB_WIDE, r->host - (r->start - start)};
    return true;
}

/* An invalidation anywhere in the large pages of 1 << BITS bytes that R reaches into, or in the
 * region of small ones, drops it from now on. */
static void note_large(struct tlb_set *set, const struct tlb_range *r, unsigned bits)
{
    unsigned n = bits == PAGE_BITS ? 0 : large_filter(bits), shift = large_bits[n];
    uint64_t last = (r->start + r->limit) >> shift;
    for (uint64_t at = r->start >> shift; at <= last; at++)
        filter_add(set->large[n], at << shift, shift);
}

void span_insert(struct processor *p, struct tlb *tlb, uint64_t linear, const struct translation *t,
                 struct slot *slot, bool write)
{
    const uint8_t *hva = slot->info.hva + ((t->gpa & ~PAGE_OFFSET_MASK) - slot->info.gpa);
    unsigned index = span_index(linear);
    struct tlb_range *span = &tlb->span[write][index];
    struct tlb_range *widest = &tlb->widest[write][tlb_part(linear)];
    bool *widest_local = &tlb->widest_local[write][tlb_part(linear)];
    bool large = t->bits != PAGE_BITS, local = !t->global;
    /* Programs' small pages are dropped one by one. */
    bool wide = large || !local;
    if (!p->translator || range_has(span, linear, hva))
        return;
    tlb->span_debt -= tlb->span_debt < LOOKS_PER_MISS ? tlb->span_debt : LOOKS_PER_MISS;
    if (tlb->span_wait || tlb->span_debt > SPAN_DEBT) {
        tlb->span_wait -= tlb->span_wait > 0;
        return;
    }
    if (wide && range_has(widest, linear, hva)) {
        *span = *widest;
        local |= *widest_local;
    } else {
        struct tlb_range found = find_span(p, linear, t, slot, write, &tlb->span_debt), both;
        if (wide && range_join(&found, widest, &both)) {
            note_large(p->tlb_set, &found, t->bits);
            *widest = found = both;
            *widest_local = local |= *widest_local;
        } else if (large) {
            note_large(p->tlb_set, &found, t->bits);
            if (range_size(&found) > range_size(widest)) {
                *widest = found;
                *widest_local = local;
            }
        } else {
            if (range_join(&found, span, &both)) {
                found = both;
                local |= tlb->span_local[write] >> index & 1;
            }
            if (range_size(&found) == PAGE_BYTES)
                return;
        }
        *span = found;
    }
    tlb->span_local[write] &= ~BIT(index);
    tlb->span_local[write] |= (uint64_t)local << index;
}

const struct tlb_range *tlb_span(const struct tlb *t, uint64_t linear, unsigned size, bool write)
{
    const struct tlb_range *r = &t->widest[write][tlb_part(linear)];
    if (linear - r->start > r->wide)
        r = &t->span[write][span_index(linear)];
    return linear - r->start <= (size <= 8 ? r->limit : r->wide) ? r : NULL;
}
