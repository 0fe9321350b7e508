/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Segment registers: the checks of memory accesses through them, and the instructions that load and
 * store them (SDM volume 3, chapters 3 and 5). */
#include "system.h"

bool segment_holds(const struct segment *s, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;
    bool expand_down = (s->access_rights & (AR_S | AR_CODE | AR_CONFORMING_OR_DOWN)) ==
                       (AR_S | AR_CONFORMING_OR_DOWN);
    if (!expand_down)
        return last <= s->limit;
    return offset > s->limit && last <= (s->access_rights & AR_DB ? 0xffffffffu : 0xffffu);
}

/* Whether protected mode's type checks let ACCESS through S. */
static bool segment_allows(const struct segment *s, unsigned access)
{
    uint32_t ar = s->access_rights;
    if (ar & AR_UNUSABLE)
        return false;
    if (access & MEM_WRITE && !segment_is_writable_data(s))
        return false;
    return !(access & MEM_READ && ar & AR_CODE && !(ar & AR_WRITE_OR_READ));
}

uint64_t segment_linear_slow(struct processor *p, unsigned seg, uint64_t offset, unsigned size,
                             unsigned access)
{
    if (p->mode & MODE_FLAT32 && seg < SEG_FS && offset + size - 1 <= 0xffffffff &&
        !(seg == SEG_CS && access & MEM_WRITE))
        return offset;
    if (in_64bit_code(p))
        return p->flat_base[seg] + offset;

    const struct segment *s = &p->segment[seg];
    if ((!in_8086_mode(p) && !segment_allows(s, access)) || !segment_holds(s, offset, size))
        raise_fault(p, seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
    return (uint32_t)(s->base + offset);
}

void segment_load_8086(struct processor *p, unsigned seg, uint16_t selector)
{
    struct segment *s = &p->segment[seg];
    s->selector = selector;
    s->base = (uint32_t)selector << 4;
    if (p->mode & MODE_V86) {
        s->limit = 0xffff;
        s->access_rights = AR_V86;
    } else if (s->access_rights & AR_UNUSABLE) {
        s->access_rights = AR_REAL;
        s->limit = 0xffff;
    }
    /* Else limit and rights stay: real-address mode keeps what protected mode left. */
}

struct segment segment_null_stack(uint16_t selector, unsigned cpl)
{
    return (struct segment){
        .selector = selector,
        .access_rights = AR_UNUSABLE | AR_WITH_DPL(cpl),
        .limit = 0xffffffff,
    };
}

static struct segment check_stack_segment(struct processor *p, uint16_t selector)
{
    if (selector_is_null(selector)) {
        if (in_64bit_code(p) && p->cpl < 3 && selector == p->cpl)
            return segment_null_stack(selector, p->cpl);
        raise_gp(p);
    }
    struct descriptor d;
    uint32_t error = selector_error(selector);
    if (!descriptor_fetch(p, selector, 8, &d))
        raise_fault(p, VECTOR_GP, error);
    struct segment s = descriptor_segment(&d, selector);
    if ((selector & 3) != p->cpl || segment_dpl(&s) != p->cpl || !segment_is_writable_data(&s))
        raise_fault(p, VECTOR_GP, error);
    if (!(s.access_rights & AR_P))
        raise_fault(p, VECTOR_SS, error);
    descriptor_accessed(p, &d, &s);
    return s;
}

struct segment segment_check_data(struct processor *p, unsigned seg, uint16_t selector)
{
    if (seg == SEG_SS)
        return check_stack_segment(p, selector);
    if (selector_is_null(selector))
        return (struct segment){.selector = selector, .access_rights = AR_UNUSABLE};

    struct descriptor d;
    uint32_t error = selector_error(selector);
    if (!descriptor_fetch(p, selector, 8, &d))
        raise_fault(p, VECTOR_GP, error);
    struct segment s = descriptor_segment(&d, selector);
    uint32_t ar = s.access_rights;
    bool code = ar & AR_CODE;
    if (!(ar & AR_S) || (code && !(ar & AR_WRITE_OR_READ)))
        raise_fault(p, VECTOR_GP, error);
    unsigned dpl = segment_dpl(&s);
    if (!(code && segment_is_conforming(&s)) && ((selector & 3u) > dpl || p->cpl > dpl))
        raise_fault(p, VECTOR_GP, error);
    if (!(ar & AR_P))
        raise_fault(p, VECTOR_NP, error);
    descriptor_accessed(p, &d, &s);
    return s;
}

void segment_load(struct processor *p, unsigned seg, uint16_t selector)
{
    if (in_8086_mode(p))
        segment_load_8086(p, seg, selector);
    else
        p->segment[seg] = segment_check_data(p, seg, selector);
}

/* After a segment register was loaded: in 64-bit mode only FS and GS have a base, so the block goes
 * on; elsewhere the mode of the following code may have changed. */
static const struct insn *segment_loaded(struct processor *p, const struct insn *i, unsigned seg)
{
    if (in_64bit_code(p) && seg != SEG_SS) {
        if (seg >= SEG_FS)
            p->flat_base[seg] = p->segment[seg].base;
        return i + 1;
    }
    processor_update_mode(p);
    return insn_resync(p, i);
}

/* MOV SS and POP SS hold back interrupts and debug traps until the run loop has retired the next
 * instruction, so that SS and SP can be loaded as a pair. */
static void block_after_ss(struct processor *p)
{
    p->interruptibility |= BLOCKING_BY_MOV_SS;
}

const struct insn *system_mov_from_seg(struct processor *p, const struct insn *i)
{
    if (i->reg > SEG_GS)
        raise_ud(p);
    uint16_t selector = p->segment[i->reg].selector;
    if (i->mod3)
        reg_write(p, i->rm, selector, i->opsize);
    else
        mem_write16(p, insn_linear(p, i, 2, MEM_WRITE), selector);
    return i + 1;
}

const struct insn *system_mov_to_seg(struct processor *p, const struct insn *i)
{
    unsigned seg = i->reg;
    if (seg > SEG_GS || seg == SEG_CS)
        raise_ud(p);
    uint16_t selector =
        i->mod3 ? (uint16_t)p->gpr[i->rm] : mem_read16(p, insn_linear(p, i, 2, MEM_READ));
    segment_load(p, seg, selector);
    if (seg == SEG_SS)
        block_after_ss(p);
    return segment_loaded(p, i, seg);
}

/* The segment register that a PUSH or POP opcode names: bits 5:3 of 06, 0E, 16, 1E, 0F A0, 0F A8.
 */
static unsigned opcode_segment(const struct insn *i)
{
    return i->opcode >> 3 & 7;
}

const struct insn *system_push_seg(struct processor *p, const struct insn *i)
{
    uint64_t value = p->segment[opcode_segment(i)].selector;
    stack_set(p, stack_push(p, &value, 1, i->opsize));
    return i + 1;
}

const struct insn *system_pop_seg(struct processor *p, const struct insn *i)
{
    unsigned seg = opcode_segment(i);
    uint16_t selector = (uint16_t)stack_peek(p, 0, i->opsize);
    uint64_t sp = p->gpr[REG_RSP] + i->opsize;
    unsigned width = in_64bit_code(p) ? 8 : p->mode & MODE_STACK16 ? 2 : 4;
    segment_load(p, seg, selector);
    /* The width is that of the stack popped from, even when SS itself was loaded. */
    reg_write(p, REG_RSP, sp, width);
    if (seg == SEG_SS)
        block_after_ss(p);
    return segment_loaded(p, i, seg);
}

/* LDS, LES, LFS, LGS, LSS. */
const struct insn *system_load_far(struct processor *p, const struct insn *i)
{
    unsigned seg;
    if (i->map == MAP_ONE)
        seg = i->opcode == 0xc4 ? SEG_ES : SEG_DS;
    else
        seg = i->opcode == 0xb2 ? SEG_SS : i->opcode == 0xb4 ? SEG_FS : SEG_GS;
    uint64_t offset = mem_read(p, insn_linear(p, i, i->opsize, MEM_READ), i->opsize);
    uint16_t selector = mem_read16(p, insn_linear_at(p, i, i->opsize, 2, MEM_READ));
    segment_load(p, seg, selector);
    reg_write(p, i->reg, offset, i->opsize);
    return segment_loaded(p, i, seg);
}
