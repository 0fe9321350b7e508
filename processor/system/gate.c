/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Far CALL and JMP to what is no code segment: call gates (SDM volume 3, 5.8.3 to 5.8.5), task
 * gates and task-state segments. */
#include "system.h"

struct call_gate {
    uint16_t selector;
    unsigned size;       /* of what is pushed: 2, 4 or 8 bytes */
    unsigned parameters; /* copied from the outer stack, outside long mode */
    uint64_t offset;
};

static struct call_gate read_call_gate(struct processor *p, uint16_t selector,
                                       const struct descriptor *d, unsigned type)
{
    uint64_t raw = d->raw;
    struct call_gate gate = {
        .selector = (uint16_t)(raw >> 16),
        .size = type == SYSTEM_CALL_GATE16 ? 2 : 4,
        .parameters = raw >> 32 & 31,
        .offset = raw & 0xffff,
    };
    if (type == SYSTEM_CALL_GATE)
        gate.offset |= raw >> 32 & 0xffff0000;
    if (p->mode & MODE_LONG) {
        struct descriptor whole;
        if (!descriptor_fetch(p, selector, 16, &whole))
            raise_fault(p, VECTOR_GP, selector_error(selector));
        uint64_t high = system_read64(p, d->linear + 8);
        if (high >> 40 & 0x1f)
            raise_fault(p, VECTOR_GP, selector_error(selector));
        gate.offset |= high << 32;
        gate.size = 8;
        gate.parameters = 0;
    }
    return gate;
}

/* The code segment of GATE, checked.  *inner is set when the call goes to its lower DPL. */
static struct segment gate_code(struct processor *p, const struct call_gate *gate, bool call,
                                bool *inner)
{
    struct descriptor d;
    uint32_t error = selector_error(gate->selector);
    if (selector_is_null(gate->selector))
        raise_gp(p);
    if (!descriptor_fetch(p, gate->selector, 8, &d))
        raise_fault(p, VECTOR_GP, error);
    struct segment cs = descriptor_segment(&d, gate->selector);
    unsigned dpl = segment_dpl(&cs);
    if (!segment_is_code(&cs) || dpl > p->cpl)
        raise_fault(p, VECTOR_GP, error);
    *inner = !segment_is_conforming(&cs) && dpl < p->cpl;
    if (!call && *inner)
        raise_fault(p, VECTOR_GP, error);
    if (p->mode & MODE_LONG && (cs.access_rights & (AR_L | AR_DB)) != AR_L)
        raise_fault(p, VECTOR_GP, error);
    if (!(cs.access_rights & AR_P))
        raise_fault(p, VECTOR_NP, error);
    check_code_offset(p, &cs, gate->offset, 0);
    descriptor_accessed(p, &d, &cs);
    return cs;
}

/* Calls inner-level code outside long mode: the new stack takes the old one's address, a copy of
 * the parameters, and the return address. */
static void call_inner(struct processor *p, const struct call_gate *gate, unsigned cpl,
                       uint64_t return_rip)
{
    uint64_t frame[2 + 31 + 2];
    unsigned n = 0, size = gate->size;
    struct new_stack stack = tss_stack(p, cpl, 0);
    frame[n++] = return_rip;
    frame[n++] = p->segment[SEG_CS].selector;
    for (unsigned k = 0; k < gate->parameters; k++)
        frame[n++] = stack_peek(p, (uint64_t)k * size, size);
    frame[n++] = p->gpr[REG_RSP] & 0xffffffff;
    frame[n++] = p->segment[SEG_SS].selector;
    new_stack_push(p, &stack, cpl, frame, n, size, selector_error(stack.ss.selector));
    p->segment[SEG_SS] = stack.ss;
    p->gpr[REG_RSP] = stack.sp;
}

static void call_inner64(struct processor *p, unsigned cpl, uint64_t return_rip)
{
    uint64_t frame[] = {return_rip, p->segment[SEG_CS].selector, p->gpr[REG_RSP],
                        p->segment[SEG_SS].selector};
    uint64_t sp = tss_stack_pointer64(p, 4 + 8 * cpl, 0) - sizeof frame;
    if (!linear_is_canonical(p, sp))
        raise_fault(p, VECTOR_SS, 0);
    write_frame64(p, cpl, sp, frame, 4);
    p->segment[SEG_SS] = segment_null_stack((uint16_t)cpl, cpl);
    p->gpr[REG_RSP] = sp;
}

/* Calls code of the same level. */
static void call_same(struct processor *p, const struct call_gate *gate, uint64_t return_rip)
{
    uint64_t frame[] = {return_rip, p->segment[SEG_CS].selector};
    stack_set(p, stack_push(p, frame, 2, gate->size));
}

const struct insn *gate_transfer(struct processor *p, const struct insn *i, uint16_t selector,
                                 const struct descriptor *d, bool call)
{
    unsigned type = d->raw >> 40 & 15, dpl = d->raw >> 45 & 3;
    bool present = d->raw >> 47 & 1, lng = p->mode & MODE_LONG;
    bool call_gate = type == SYSTEM_CALL_GATE || (type == SYSTEM_CALL_GATE16 && !lng);
    bool task = !lng && (type == SYSTEM_TASK_GATE || type == SYSTEM_TSS16 || type == SYSTEM_TSS);
    uint32_t error = selector_error(selector);
    if ((!call_gate && !task) || dpl < p->cpl || dpl < (selector & 3u))
        raise_fault(p, VECTOR_GP, error);
    if (!present)
        raise_fault(p, VECTOR_NP, error);
    if (task) {
        struct task_switch to = {
            .selector = type == SYSTEM_TASK_GATE ? (uint16_t)(d->raw >> 16) : selector,
            .source = call ? TASK_CALL : TASK_JMP,
            .rip = following_rip(p, i),
            .flags = processor_rflags(p),
        };
        task_switch(p, &to);
        return NULL;
    }

    struct call_gate gate = read_call_gate(p, selector, d, type);
    bool inner;
    struct segment cs = gate_code(p, &gate, call, &inner);
    unsigned cpl = inner ? segment_dpl(&cs) : p->cpl;
    if (call) {
        if (!inner)
            call_same(p, &gate, following_rip(p, i));
        else if (lng)
            call_inner64(p, cpl, following_rip(p, i));
        else
            call_inner(p, &gate, cpl, following_rip(p, i));
    }
    cs.selector = (uint16_t)((gate.selector & ~3u) | cpl);
    p->segment[SEG_CS] = cs;
    processor_update_mode(p);
    p->rip = gate.offset;
    return NULL;
}
