/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filters of addresses.  An invalidation must find what stands for an address anywhere in a jump
 * cache, and the fragments of a large page anywhere in the TLB.  Looking is dear, and mostly there
 * is nothing: so filters tell where something may be.
 */
#ifndef TRAPEZE_FILTER_H
#define TRAPEZE_FILTER_H

#include "internal.h"

enum { REGION_BITS = 21, GIGANTIC_BITS = 30 };
/* Which filter of a set, and which number there, stands for a page of 1 << BITS bytes at LINEAR.
 * PAE's 2 MiB apart, all large pages count as gigantic. */
static const uint8_t large_bits[2] = {REGION_BITS, GIGANTIC_BITS};
static inline unsigned large_filter(unsigned bits)
{
    return bits != REGION_BITS;
}

/* The bit of LINEAR's page of 1 << BITS bytes.  Kernels fill their half with the direct map; what
 * programs map, and unmap far more often, must not be mistaken for it. */
static inline unsigned filter_bit(uint64_t linear, unsigned bits)
{
    return (unsigned)((linear >> bits) % (TLB_FILTER / 2) + (linear >> 63) * (TLB_FILTER / 2));
}

static inline void filter_add(uint64_t *filter, uint64_t linear, unsigned bits)
{
    unsigned n = filter_bit(linear, bits);
    filter[n / 64] |= BIT(n % 64);
}

/* Nothing that has this bit is left. */
static inline void filter_remove(uint64_t *filter, uint64_t linear, unsigned bits)
{
    unsigned n = filter_bit(linear, bits);
    filter[n / 64] &= ~BIT(n % 64);
}

static inline bool filter_has(const uint64_t *filter, uint64_t linear, unsigned bits)
{
    unsigned n = filter_bit(linear, bits);
    return filter[n / 64] & BIT(n % 64);
}

#endif
