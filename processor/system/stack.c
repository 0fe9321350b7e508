/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The current stack, and the stacks that the TSS gives for inner privilege levels (SDM volume 3,
 * 5.8.5, 7.2.1 and 7.7). */
#include "system.h"

uint64_t stack_push(struct processor *p, const uint64_t *value, unsigned count, unsigned size)
{
    uint64_t mask = stack_mask(p);
    uint64_t sp = p->gpr[REG_RSP];
    for (unsigned n = count; n-- > 0;) {
        sp = (sp - size) & mask;
        mem_write(p, segment_linear(p, SEG_SS, sp, size, MEM_WRITE), value[n], size);
    }
    return sp;
}

void new_stack_push(struct processor *p, struct new_stack *s, unsigned cpl, const uint64_t *value,
                    unsigned count, unsigned size, uint32_t error)
{
    uint32_t mask = s->ss.access_rights & AR_DB ? 0xffffffff : 0xffff;
    uint32_t sp = (uint32_t)s->sp;
    for (unsigned n = count; n-- > 0;) {
        sp = (sp & ~mask) | ((sp - size) & mask);
        if (!segment_holds(&s->ss, sp & mask, size))
            raise_fault(p, VECTOR_SS, error);
        mem_write_as(p, cpl, (uint32_t)(s->ss.base + (sp & mask)), value[n], size);
    }
    s->sp = sp;
}

/* Raises #TS for the selector in TR when the TSS is too short to hold its byte LAST. */
static void check_tss_limit(struct processor *p, uint32_t last, uint32_t ext)
{
    const struct segment *tr = &p->segment[SEG_TR];
    if (last > tr->limit)
        raise_fault(p, VECTOR_TS, selector_error(tr->selector) | ext);
}

struct new_stack tss_stack(struct processor *p, unsigned cpl, uint32_t ext)
{
    const struct segment *tr = &p->segment[SEG_TR];
    struct new_stack stack;
    uint16_t selector;
    if (tr->access_rights & 8) {
        uint32_t at = 4 + 8 * cpl;
        check_tss_limit(p, at + 5, ext);
        stack.sp = mem_read_system(p, system_linear(p, tr->base + at), 4);
        selector = (uint16_t)mem_read_system(p, system_linear(p, tr->base + at + 4), 2);
    } else {
        uint32_t at = 2 + 4 * cpl;
        check_tss_limit(p, at + 3, ext);
        stack.sp = mem_read_system(p, system_linear(p, tr->base + at), 2);
        selector = (uint16_t)mem_read_system(p, system_linear(p, tr->base + at + 2), 2);
    }

    uint32_t error = selector_error(selector) | ext;
    struct descriptor d;
    if (selector_is_null(selector) || !descriptor_fetch(p, selector, 8, &d))
        raise_fault(p, VECTOR_TS, error);
    stack.ss = descriptor_segment(&d, selector);
    if ((selector & 3u) != cpl || segment_dpl(&stack.ss) != cpl ||
        !segment_is_writable_data(&stack.ss))
        raise_fault(p, VECTOR_TS, error);
    if (!(stack.ss.access_rights & AR_P))
        raise_fault(p, VECTOR_SS, error);
    descriptor_accessed(p, &d, &stack.ss);
    return stack;
}

uint64_t tss_stack_pointer64(struct processor *p, unsigned offset, uint32_t ext)
{
    check_tss_limit(p, offset + 7, ext);
    uint64_t sp = system_read64(p, p->segment[SEG_TR].base + offset);
    if (!linear_is_canonical(p, sp))
        raise_fault(p, VECTOR_SS, ext);
    return sp;
}
