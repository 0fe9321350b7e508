/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jump caches: from linear addresses to blocks and their translations.  Compiled without vector
 * instructions, for translations call it while vector registers hold the guest's. */
#include "filter.h"
#include "internal.h"

#include "processor/translate/translate.h"

#include <stdlib.h>

static void empty_entry(struct jump_cache *j, unsigned index)
{
    /* An address that belongs to another entry. */
    uint64_t other = jump_index(j, index) == index ? index ^ 1 : index;
    j->entry[index] = (struct jump_entry){other, NULL};
    j->block[index] = NULL;
}

struct jump_cache *jumps_new(void)
{
    struct jump_cache *caches = calloc(JUMP_CACHES, sizeof(*caches));
    size_t total = JUMP_ENTRIES_SUPERVISOR + (JUMP_CACHES - 1) * (size_t)JUMP_ENTRIES;
    struct jump_entry *entry = aligned_alloc(64, total * sizeof(*entry));
    struct code_block **block = malloc(total * sizeof(struct code_block *));
    if (!caches || !entry || !block) {
        free(caches);
        free(entry);
        free(block);
        return NULL;
    }
    for (unsigned n = 0; n < JUMP_CACHES; n++) {
        size_t size = n == JUMPS_SUPERVISOR ? JUMP_ENTRIES_SUPERVISOR : JUMP_ENTRIES;
        caches[n].entry = entry;
        caches[n].block = block;
        caches[n].mask = size - 1;
        caches[n].filled = true;
        jumps_empty(&caches[n]);
        entry += size;
        block += size;
    }
    return caches;
}

void jumps_free(struct jump_cache *j)
{
    if (!j)
        return;
    free(j[0].entry);
    free(j[0].block);
    free(j);
}

void jumps_empty(struct jump_cache *j)
{
    if (!j->filled)
        return;
    for (unsigned n = 0; n <= j->mask; n++)
        empty_entry(j, n);
    j->filled = false;
    j->locals = 0;
    for (unsigned n = 0; n < ARRAY_SIZE(j->pages); n++)
        j->pages[n] = j->regions[n] = 0;
}

void jumps_fill(struct processor *p, uint64_t linear, struct code_block *b)
{
    struct jump_cache *j = p->tlb->jumps;
    unsigned index = jump_index(j, linear);
    j->entry[index] = (struct jump_entry){jump_key(p->mode, linear), b->jump};
    j->block[index] = b;
    j->filled = true;
    filter_add(j->pages, linear, PAGE_BITS);
    filter_add(j->regions, linear, REGION_BITS);
    /* A kernel's code is in global pages as a rule. */
    if (!(p->tlb->flags[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)] & TLB_FLAG_GLOBAL)) {
        if (j->locals < JUMPS_LOCAL)
            j->local[j->locals] = (uint16_t)index;
        if (j->locals <= JUMPS_LOCAL)
            j->locals++;
    }
}

void jumps_drop_local(struct jump_cache *j)
{
    if (j->locals > JUMPS_LOCAL) {
        jumps_empty(j);
        return;
    }
    for (unsigned n = 0; n < j->locals; n++)
        empty_entry(j, j->local[n]);
    j->locals = 0;
}

/* The address that stands in a key: see jump_key. */
static uint64_t key_linear(uint64_t key)
{
    return key >> 62 == JUMP_LEGACY >> 62 ? key & ~JUMP_LEGACY : key;
}

void jumps_drop(struct jump_cache *j, uint64_t linear, unsigned bits)
{
    if (bits == PAGE_BITS && !filter_has(j->pages, linear, PAGE_BITS))
        return;
    if (bits <= REGION_BITS && !filter_has(j->regions, linear, REGION_BITS))
        return;
    /* A page's entries are as near to each other as its addresses are. */
    _Static_assert(JUMP_ENTRIES % PAGE_BYTES == 0, "whole pages");
    uint64_t first = bits == PAGE_BITS ? jump_index(j, linear) & ~PAGE_OFFSET_MASK : 0;
    uint64_t last = bits == PAGE_BITS ? first + PAGE_OFFSET_MASK : j->mask;
    bool others = false;
    for (uint64_t n = first; n <= last; n++) {
        uint64_t key = key_linear(j->entry[n].linear);
        if ((key ^ linear) >> bits == 0)
            empty_entry(j, (unsigned)n);
        else if (bits == REGION_BITS && j->block[n])
            others |= filter_bit(key, bits) == filter_bit(linear, bits);
    }
    /* Whoever goes on invalidating the region need not have this done again. */
    if (bits == REGION_BITS && !others)
        filter_remove(j->regions, linear, bits);
}

const uint8_t *jumps_find(struct processor *p, uint64_t linear)
{
    uint32_t mode = p->mode & CODE_MODE;
    const uint8_t *hva = tlb_recall(p->tlb, linear, FOR_FETCH);
    if ((mode & MODE_DECODE) != DECODE_64 || !hva)
        return NULL;
    uint64_t base = code_base(p, linear);
    for (struct code_block *b = *code_bucket(p, hva, mode); b; b = b->chain) {
        if (b->hva != hva || b->mode != mode || b->linear != base ||
            !code_block_stands(p, b, linear))
            continue;
        if (!b->start || !code_block_valid(b) || !code_block_settled(b))
            return NULL;
        jumps_fill(p, linear, b);
        return b->jump;
    }
    return NULL;
}
