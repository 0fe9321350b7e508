/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Direct jumps: made when their target is known, and taken back when it may have become another. */
#include "internal.h"

static bool is_same_page(const struct translate_site *s, const struct code_block *b)
{
    return s->block->mode == b->mode && s->block->page == b->page &&
           s->block->generation == b->generation && s->block->linear == b->linear &&
           s->target == b->offset;
}

static void filter_add_link(struct translator *t, uint64_t linear)
{
    uint64_t n = (linear >> PAGE_BITS) % LINK_FILTER;
    t->linked[n / 64] |= BIT(n % 64);
}

/* Makes a jump from another page direct, or, where flags would be lost, one that asks the jump
 * cache. */
static void link_far(struct translator *t, uint32_t site, const struct code_block *b)
{
    struct translate_site *s = &t->sites[site];
    if (!b->linked || translate_site_far(s) != b->linear + b->offset)
        return;
    if (b->live && !s->in_frame) {
        emit_patch(s->refused, t->far);
        return;
    }
    if (emit_leads(s->jump, b->linked)) /* it came by way of C to look for requests */
        return;
    emit_patch(s->jump, b->linked);
    t->links[t->link_count++] = (struct translate_link){translate_site_far(s), site};
    filter_add_link(t, translate_site_far(s));
    t->counts.links++;
}

/* Whether there may be links to pages that differ from LINEAR only in the low BITS bits. */
static bool may_be_linked(const struct translator *t, uint64_t linear, unsigned bits)
{
    enum { WORDS = LINK_FILTER / 64, WORD_BITS = PAGE_BITS + 6 };
    uint64_t page = linear >> PAGE_BITS;
    if (!t->link_count)
        return false;
    if (bits == PAGE_BITS)
        return t->linked[page % LINK_FILTER / 64] & BIT(page % 64);
    for (uint64_t n = 0; n < 1ull << (bits - WORD_BITS) && n < WORDS; n++) {
        if (t->linked[((linear >> bits << (bits - WORD_BITS)) + n) % WORDS])
            return true;
    }
    return false;
}

void translator_unlink(struct translator *t, uint64_t linear, unsigned bits)
{
    if (!may_be_linked(t, linear, bits))
        return;
    bool all = bits == 63;
    uint32_t left = 0;
    for (uint32_t n = 0; n < t->link_count; n++) {
        const struct translate_link *link = &t->links[n];
        const struct translate_site *s = &t->sites[link->site];
        if (all || (link->far ^ linear) >> bits == 0)
            emit_patch(s->jump, s->apart);
        else
            t->links[left++] = *link;
    }
    t->link_count = left;
    if (all)
        memset(t->linked, 0, sizeof(t->linked));
}

void link_to(struct translator *t, const struct code_block *b)
{
    if (!t->pending)
        return;
    uint32_t site = t->pending - 1;
    const struct translate_site *s = &t->sites[site];
    t->pending = 0;
    if (t->check)
        return;
    if (s->far) {
        link_far(t, site, b);
    } else if (is_same_page(s, b)) {
        emit_patch(s->jump, s->in_frame ? t->writable + (b->start - t->executable) : b->direct);
        t->counts.links++;
    }
}
