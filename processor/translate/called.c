/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What translations call: slow accesses, handlers, jumps that are not direct yet. */
#include "internal.h"

static const struct onward leave = {NULL, 0};

/* C was called at site S: what translations leave to it to know. */
static void arrive(struct processor *p, const struct translate_site *s)
{
    p->gpr[REG_CODE] = translate_site_code(s, p->gpr[REG_CODE]);
    x87_note_last(p, s);
}

/* Ends the copy of an instruction that runs alone: says that control fell through to here. */
static const struct insn *fell_through(struct processor *p, const struct insn *i)
{
    p->icount--;
    return i;
}

/* Whether the code of site S's block still stands where it is run: the mode and the mapping of its
 * page are what they were. */
static bool still_mapped(struct processor *p, const struct translate_site *s)
{
    const struct code_block *b = s->block;
    const struct tlb_entry *e = tlb_entry(p, p->gpr[REG_CODE]);
    return (p->mode & CODE_MODE) == b->mode && e->fetch == p->gpr[REG_CODE] &&
           e->host == (uintptr_t)b->page->hva && code_block_valid(b);
}

/* Runs the handler of site S's instruction.  Counts it when control does not come back here. */
static struct onward run_handler(struct processor *p, const struct translate_site *s)
{
    arrive(p, s);
    if (p->translator->check) {
        /* The interpreter's turn comes after the comparison. */
        checker_live(p->translator->checker, s->live);
        p->icount += s->index;
        p->rip = insn_rip(p, s->insn);
        return leave;
    }
    const struct insn *i = code_alone(p, s->insn);
    struct insn *marker = (struct insn *)i + 1;
    uint64_t count = p->icount;
    uint32_t shadow = p->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    marker->exec = fell_through;
    p->insn = i;
    p->icount = count + s->index;
    count_handler(p->translator, s->insn);
    const struct insn *next = i->exec(p, i);
    p->insn = NULL;
    p->link = NULL;
    /* A handler that ends its block changed something that the run loop must see; mostly it turns
     * out to have no effect on what follows. */
    bool stays = next || (p->rip == insn_next_rip(p, s->insn) && still_mapped(p, s));
    if (stays && !s->ends && !p->slow && (!s->x87 || x87_native(p)) &&
        !(atomic_load_explicit(&p->poll, memory_order_relaxed) & ~POLL_KICK)) {
        p->icount = count;
        return (struct onward){s->next, 0};
    }
    if (next)
        p->rip = insn_rip(p, next);
    if (shadow) {
        p->interruptibility &= ~shadow;
        processor_update_slow(p);
    }
    p->icount = count + s->index + 1;
    return leave;
}

struct onward called_handler(struct processor *p, uint64_t site, uint64_t t0)
{
    (void)t0;
    return run_handler(p, &p->translator->sites[site]);
}

/* Leaves before site S's instruction. */
static struct onward interpret_from(struct processor *p, const struct translate_site *s)
{
    if (p->translator->check)
        checker_live(p->translator->checker, s->live);
    p->icount += s->index;
    p->rip = insn_rip(p, s->insn);
    return leave;
}

struct onward called_vectors(struct processor *p, uint64_t site, uint64_t t0)
{
    const struct translate_site *s = &p->translator->sites[site];
    unsigned level = vector_level(p);
    (void)t0;
    arrive(p, s);
    if (level >= s->size)
        return (struct onward){s->resume, level};
    return interpret_from(p, s);
}

struct onward called_x87(struct processor *p, uint64_t site, uint64_t t0)
{
    const struct translate_site *s = &p->translator->sites[site];
    (void)t0;
    arrive(p, s);
    if (x87_native(p))
        return (struct onward){s->resume, 1};
    return interpret_from(p, s);
}

/* Makes what the TLB has for LINEAR, if there is something, the recent entry of site S.  Returns
 * the host address, or NULL. */
static uint8_t *remember(struct processor *p, const struct translate_site *s, uint64_t linear)
{
    const struct tlb_range *span = tlb_span(p->tlb, linear, s->size, s->write);
    const struct tlb_entry *e = tlb_entry(p, linear);
    uint64_t tag = s->write ? e->write : e->read;
    struct tlb_range range = {tag, PAGE_BYTES - 8, PAGE_BYTES - TLB_WIDE, e->host};
    if (!s->check || (!span && (linear ^ tag) > PAGE_BYTES - s->size))
        return NULL;
    if (span)
        range = *span;
    *(struct tlb_range *)((uint8_t *)p->tlb + TLB_ANCHOR + s->recent) = range;
    p->tlb->recent_used = true;
    return (uint8_t *)(range.host + (linear - range.start));
}

struct onward called_slow_access(struct processor *p, uint64_t site, uint64_t linear)
{
    struct translate_site *s = &p->translator->sites[site];
    uint64_t inside = linear & PAGE_OFFSET_MASK, size = PAGE_BYTES - inside;
    uint64_t *misses = p->translator->counts.misses;
    arrive(p, s);
    if (p->tlb->patience < 0) {
        lower_check_weary(p, s, linear);
        uint8_t *known = remember(p, s, linear);
        if (known)
            return (struct onward){s->resume, (uint64_t)(uintptr_t)known};
    }
    p->translator->counts.slow++;
    if (size < s->size) {
        misses[MISS_CROSSING]++;
        return run_handler(p, s);
    }
    enum processor_miss kind = count_kind(p, linear, s->write);
    if (kind == MISS_WRITE_TAG && count_refused(p, linear) == MISS_CODE_PAGE) {
        misses[MISS_CODE_PAGE]++; /* the handler walks the page tables itself */
        return run_handler(p, s);
    }
    uint64_t count = p->icount;
    p->insn = s->insn;
    p->icount = count + s->index; /* a fault leaves from here */
    misses[MISS_FAULT]++;
    uint8_t *host = mem_host(p, linear, s->write ? MEM_WRITE : MEM_READ, &size);
    misses[MISS_FAULT]--;
    p->icount = count;
    p->insn = NULL;
    if (!host) {
        misses[count_refused(p, linear)]++;
        return run_handler(p, s);
    }
    misses[kind]++;
    remember(p, s, linear);
    if (p->translator->check)
        checker_access(p, s, host);
    return (struct onward){s->resume, (uint64_t)(uintptr_t)host};
}

struct onward called_link(struct processor *p, uint64_t site, uint64_t t0)
{
    struct translator *t = p->translator;
    const struct translate_site *s = &t->sites[site];
    (void)t0;
    arrive(p, s);
    p->rip = p->gpr[REG_CODE] + (uint64_t)(int64_t)s->target;
    t->pending = (uint32_t)site + 1;
    if (t->check)
        checker_live(t->checker, t->sites[site].live);
    return leave;
}
