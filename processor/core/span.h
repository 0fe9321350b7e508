/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ranges of linear addresses that lead to memory as contiguous in the host's address space, and
 * spans: the ranges that are found around the pages which the TLB is filled with.
 *
 * A span goes as far as the entries of one page-table page map neighbours alike (mmu_neighbours),
 * and as far as the host has the memory and, to write, holds no code there: over a kernel's whole
 * direct map, if nothing is in the way.
 */
#ifndef TRAPEZE_SPAN_H
#define TRAPEZE_SPAN_H

#include "internal.h"

/* Empties COUNT ranges of T: all, those that the page at LINEAR is in, or those that lead to the
 * host's PAGE (NULL: all). */
void ranges_clear(struct tlb *t, struct tlb_range *range, unsigned count);
void ranges_drop(struct tlb *t, struct tlb_range *range, unsigned count, uint64_t linear);
void ranges_drop_host(struct tlb *t, struct tlb_range *range, unsigned count, const uint8_t *page);

/* T's spans: drops all, those that a CR3 load drops, those to write that lead to the host's PAGE
 * (NULL: all), or those of small pages that the page at LINEAR is in.  What is known of a large
 * page's neighbours is found by the filters of struct tlb_set. */
void spans_empty(struct tlb *t);
void spans_drop_local(struct tlb *t);
void spans_drop_writes(struct tlb *t, const uint8_t *page);
void spans_invalidate(struct tlb *t, uint64_t linear);

/* P's TLB is filled at LINEAR with what T and SLOT allow, to read or to write: makes the span
 * around it, for translations.  Without T->leaf it knows nothing of neighbours. */
void span_insert(struct processor *p, struct tlb *tlb, uint64_t linear, const struct translation *t,
                 struct slot *slot, bool write);

#endif
