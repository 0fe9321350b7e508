/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Far JMP, CALL and RET (SDM volume 2; volume 3, 5.8), and the checks of returns to outer privilege
 * levels that IRET shares. */
#include "system.h"

void check_code_offset(struct processor *p, const struct segment *cs, uint64_t offset,
                       uint32_t error)
{
    if (code_is_64bit(p, cs) ? !linear_is_canonical(p, offset) : offset > cs->limit)
        raise_fault(p, VECTOR_GP, error);
}

/* The far pointer that I names: immediate, or in memory with the offset first. */
static void far_pointer(struct processor *p, const struct insn *i, uint16_t *selector,
                        uint64_t *offset)
{
    if (i->attr->operand[0].kind == OPERAND_FAR) {
        *offset = i->opsize == 2 ? (uint16_t)i->imm : (uint32_t)i->imm;
        *selector = (uint16_t)(i->imm >> 32);
    } else {
        *offset = mem_read(p, insn_linear(p, i, i->opsize, MEM_READ), i->opsize);
        *selector = mem_read16(p, insn_linear_at(p, i, i->opsize, 2, MEM_READ));
    }
}

/* A far transfer in real-address or virtual-8086 mode. */
static const struct insn *transfer_8086(struct processor *p, const struct insn *i,
                                        uint16_t selector, uint64_t offset, bool call)
{
    check_code_offset(p, &p->segment[SEG_CS], offset, 0);
    if (call) {
        uint64_t frame[] = {following_rip(p, i), p->segment[SEG_CS].selector};
        stack_set(p, stack_push(p, frame, 2, i->opsize));
    }
    segment_load_8086(p, SEG_CS, selector);
    processor_update_mode(p);
    p->rip = offset;
    return NULL;
}

/* Raises #GP(selector) for a code segment that is 64-bit and 32-bit at once. */
static void check_code_size(struct processor *p, const struct segment *cs)
{
    if (p->mode & MODE_LONG && (cs->access_rights & (AR_L | AR_DB)) == (AR_L | AR_DB))
        raise_fault(p, VECTOR_GP, selector_error(cs->selector));
}

static const struct insn *transfer_protected(struct processor *p, const struct insn *i,
                                             uint16_t selector, uint64_t offset, bool call)
{
    struct descriptor d;
    uint32_t error = selector_error(selector);
    if (selector_is_null(selector))
        raise_gp(p);
    if (!descriptor_fetch(p, selector, 8, &d))
        raise_fault(p, VECTOR_GP, error);
    struct segment cs = descriptor_segment(&d, selector);
    if (!(cs.access_rights & AR_S))
        return gate_transfer(p, i, selector, &d, call);

    unsigned dpl = segment_dpl(&cs);
    if (!segment_is_code(&cs))
        raise_fault(p, VECTOR_GP, error);
    if (segment_is_conforming(&cs) ? dpl > p->cpl : dpl != p->cpl || (selector & 3u) > p->cpl)
        raise_fault(p, VECTOR_GP, error);
    if (!(cs.access_rights & AR_P))
        raise_fault(p, VECTOR_NP, error);
    check_code_size(p, &cs);
    check_code_offset(p, &cs, offset, 0);
    descriptor_accessed(p, &d, &cs);
    if (call) {
        uint64_t frame[] = {following_rip(p, i), p->segment[SEG_CS].selector};
        stack_set(p, stack_push(p, frame, 2, i->opsize));
    }
    cs.selector = (uint16_t)((selector & ~3u) | p->cpl);
    p->segment[SEG_CS] = cs;
    processor_update_mode(p);
    p->rip = offset;
    return NULL;
}

static const struct insn *far_transfer(struct processor *p, const struct insn *i, bool call)
{
    uint16_t selector;
    uint64_t offset;
    far_pointer(p, i, &selector, &offset);
    if (in_8086_mode(p))
        return transfer_8086(p, i, selector, offset, call);
    return transfer_protected(p, i, selector, offset, call);
}

const struct insn *system_jmp_far(struct processor *p, const struct insn *i)
{
    return far_transfer(p, i, false);
}

const struct insn *system_call_far(struct processor *p, const struct insn *i)
{
    return far_transfer(p, i, true);
}

/* ---------------------------------------------------------------- returns */

struct segment return_check_cs(struct processor *p, uint16_t selector)
{
    struct descriptor d;
    uint32_t error = selector_error(selector);
    if (selector_is_null(selector))
        raise_gp(p);
    if (!descriptor_fetch(p, selector, 8, &d))
        raise_fault(p, VECTOR_GP, error);
    struct segment cs = descriptor_segment(&d, selector);
    unsigned rpl = selector & 3, dpl = segment_dpl(&cs);
    if (!segment_is_code(&cs) || rpl < p->cpl ||
        (segment_is_conforming(&cs) ? dpl > rpl : dpl != rpl))
        raise_fault(p, VECTOR_GP, error);
    if (!(cs.access_rights & AR_P))
        raise_fault(p, VECTOR_NP, error);
    check_code_size(p, &cs);
    descriptor_accessed(p, &d, &cs);
    return cs;
}

struct segment return_check_ss(struct processor *p, uint16_t selector, const struct segment *cs)
{
    unsigned cpl = cs->selector & 3;
    if (selector_is_null(selector)) {
        if (!code_is_64bit(p, cs) || cpl == 3)
            raise_gp(p);
        return segment_null_stack(selector, cpl);
    }
    struct descriptor d;
    uint32_t error = selector_error(selector);
    if (!descriptor_fetch(p, selector, 8, &d))
        raise_fault(p, VECTOR_GP, error);
    struct segment ss = descriptor_segment(&d, selector);
    if ((selector & 3u) != cpl || segment_dpl(&ss) != cpl || !segment_is_writable_data(&ss))
        raise_fault(p, VECTOR_GP, error);
    if (!(ss.access_rights & AR_P))
        raise_fault(p, VECTOR_SS, error);
    descriptor_accessed(p, &d, &ss);
    return ss;
}

void return_null_segments(struct processor *p, unsigned cpl)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned n = 0; n < ARRAY_SIZE(data); n++) {
        struct segment *s = &p->segment[data[n]];
        if (s->access_rights & AR_UNUSABLE)
            continue;
        if (segment_dpl(s) < cpl && !(segment_is_code(s) && segment_is_conforming(s))) {
            s->selector = 0;
            s->access_rights = AR_UNUSABLE;
        }
    }
}

void return_set_stack(struct processor *p, uint64_t sp)
{
    unsigned width = code_is_64bit(p, &p->segment[SEG_CS])      ? 8
                     : p->segment[SEG_SS].access_rights & AR_DB ? 4
                                                                : 2;
    reg_write(p, REG_RSP, sp, width);
}

const struct insn *system_ret_far(struct processor *p, const struct insn *i)
{
    unsigned size = i->opsize;
    /* Two opcodes: CA releases imm16 bytes of parameters, CB none. */
    uint64_t release = i->opcode == 0xca ? (uint16_t)i->imm : 0;
    uint64_t offset = stack_peek(p, 0, size);
    uint16_t selector = (uint16_t)stack_peek(p, size, size);

    if (in_8086_mode(p)) {
        check_code_offset(p, &p->segment[SEG_CS], offset, 0);
        stack_set(p, p->gpr[REG_RSP] + 2 * size + release);
        segment_load_8086(p, SEG_CS, selector);
        processor_update_mode(p);
        p->rip = offset;
        return NULL;
    }

    struct segment cs = return_check_cs(p, selector);
    unsigned cpl = selector & 3;
    if (cpl == p->cpl) {
        check_code_offset(p, &cs, offset, 0);
        stack_set(p, p->gpr[REG_RSP] + 2 * size + release);
        p->segment[SEG_CS] = cs;
    } else {
        uint64_t sp = stack_peek(p, 2 * size + release, size);
        uint16_t stack = (uint16_t)stack_peek(p, 3 * size + release, size);
        struct segment ss = return_check_ss(p, stack, &cs);
        check_code_offset(p, &cs, offset, 0);
        p->segment[SEG_CS] = cs;
        p->segment[SEG_SS] = ss;
        return_set_stack(p, sp + release);
        return_null_segments(p, cpl);
    }
    processor_update_mode(p);
    p->rip = offset;
    return NULL;
}
