/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PUSH POP PUSHA POPA PUSHF ENTER LEAVE. */
#include "exec.h"

/* ---------------------------------------------------------------- PUSH, POP */

/* The source is read before RSP moves: PUSH RSP stores the old value, and a memory operand based on
 * RSP is addressed by it. */
ALWAYS_INLINE const struct insn *push_r(struct processor *p, const struct insn *i, unsigned size)
{
    stack_push(p, p->gpr[i->rm], size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *push_i(struct processor *p, const struct insn *i, unsigned size)
{
    stack_push(p, i->imm, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *push_m(struct processor *p, const struct insn *i, unsigned size)
{
    stack_push(p, mem_read(p, insn_linear(p, i, size, MEM_READ), size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *pop_r(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t value = stack_top(p, size);
    p->gpr[REG_RSP] = stack_add(p, p->gpr[REG_RSP], size);
    reg_write(p, i->rm, value, size); /* second: POP RSP keeps what was read */
    return next_insn(p, i);
}
/* The address of a memory operand based on RSP is computed with RSP after the pop (SDM, POP). */
ALWAYS_INLINE const struct insn *pop_m(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t value = stack_top(p, size);
    uint64_t rsp = stack_add(p, p->gpr[REG_RSP], size);
    uint64_t ea = p->gpr[i->index] << i->scale;
    ea += (i->base == REG_RSP ? rsp : p->gpr[i->base]) + (uint64_t)i->disp;
    if (i->addrsize != 8)
        ea = i->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
    mem_write(p, segment_linear(p, i->seg, ea, size, MEM_WRITE), value, size);
    p->gpr[REG_RSP] = rsp;
    return next_insn(p, i);
}
SIZED_WORDS(push_r)
SIZED_WORDS(push_i)
SIZED_WORDS(push_m)
SIZED_WORDS(pop_r)
SIZED_WORDS(pop_m)

/* The common cases of 64-bit mode, where the base of SS counts as 0. */
HANDLER(push_r64)
{
    uint64_t rsp = p->gpr[REG_RSP] - 8;
    void *host;
    if (!tlb_hit(p, rsp, 8, MEM_WRITE, &host))
        return push_r_8(p, i);
    host_store(host, p->gpr[i->rm], 8);
    p->gpr[REG_RSP] = rsp;
    return next_insn(p, i);
}
HANDLER(push_i64)
{
    uint64_t rsp = p->gpr[REG_RSP] - 8;
    void *host;
    if (!tlb_hit(p, rsp, 8, MEM_WRITE, &host))
        return push_i_8(p, i);
    host_store(host, i->imm, 8);
    p->gpr[REG_RSP] = rsp;
    return next_insn(p, i);
}
HANDLER(pop_r64)
{
    uint64_t rsp = p->gpr[REG_RSP];
    void *host;
    if (!tlb_hit(p, rsp, 8, MEM_READ, &host))
        return pop_r_8(p, i);
    uint64_t value = host_load(host, 8);
    p->gpr[REG_RSP] = rsp + 8;
    p->gpr[i->rm] = value;
    return next_insn(p, i);
}

/* ---------------------------------------------------------------- PUSHA, POPA, PUSHF */

/* All eight slots are checked before the first is written. */
ALWAYS_INLINE const struct insn *pusha(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t linear[8], rsp = p->gpr[REG_RSP];
    for (unsigned n = 0; n < 8; n++) {
        rsp = stack_add(p, rsp, -(uint64_t)size);
        linear[n] = stack_linear(p, rsp, size, MEM_WRITE);
        mem_probe(p, linear[n], size, MEM_WRITE);
    }
    for (unsigned n = 0; n < 8; n++)
        mem_write(p, linear[n], p->gpr[REG_RAX + n], size);
    p->gpr[REG_RSP] = rsp;
    return next_insn(p, i);
}
/* The slot of RSP is read and dropped. */
ALWAYS_INLINE const struct insn *popa(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t value[8], rsp = p->gpr[REG_RSP];
    for (unsigned n = 8; n-- > 0; rsp = stack_add(p, rsp, size))
        value[n] = mem_read(p, stack_linear(p, rsp, size, MEM_READ), size);
    for (unsigned n = 0; n < 8; n++)
        if (n != REG_RSP)
            reg_write(p, n, value[n], size);
    p->gpr[REG_RSP] = rsp;
    return next_insn(p, i);
}
/* In virtual-8086 mode IOPL must be 3.  The image has RF and VM clear. */
ALWAYS_INLINE const struct insn *pushf(struct processor *p, const struct insn *i, unsigned size)
{
    uint32_t image = processor_rflags(p) & ~(FLAG_RF | FLAG_VM);
    if (p->mode & MODE_V86 && (p->rflags & FLAG_IOPL) != FLAG_IOPL) {
        /* Virtual-8086 mode extensions: the program sees its own interrupt flag. */
        if (!(p->cr4 & CR4_VME) || size != 2)
            raise_gp(p);
        image = (image & ~FLAG_IF) | FLAG_IOPL | (image & FLAG_VIF ? FLAG_IF : 0);
    }
    stack_push(p, image, size);
    return next_insn(p, i);
}
SIZED_WORDS(pusha)
SIZED_WORDS(popa)
SIZED_WORDS(pushf)

/* ---------------------------------------------------------------- ENTER, LEAVE */

/* ENTER imm16, imm8 (SDM volume 2): pushes rBP, then LEVEL - 1 frame pointers of the enclosing
 * frame's display, and the new one.  A first pass makes all checks, in order; the second reads and
 * writes in turn, since the display may lie where the frame is being built. */
ALWAYS_INLINE const struct insn *enter(struct processor *p, const struct insn *i, unsigned size)
{
    unsigned level = i->imm >> 16 & 31;
    uint64_t frame = stack_add(p, p->gpr[REG_RSP], -(uint64_t)size), rsp = 0;
    for (bool checking = true;; checking = false) {
        uint64_t rbp = p->gpr[REG_RBP], value = rbp;
        rsp = p->gpr[REG_RSP];
        for (unsigned n = 0; n <= level; n++) {
            if (n == level && level) {
                value = frame;
            } else if (n) {
                rbp = stack_add(p, rbp, -(uint64_t)size);
                value = mem_read(p, stack_linear(p, rbp, size, MEM_READ), size);
            }
            rsp = stack_add(p, rsp, -(uint64_t)size);
            uint64_t linear = stack_linear(p, rsp, size, MEM_WRITE);
            if (checking)
                mem_probe(p, linear, size, MEM_WRITE);
            else
                mem_write(p, linear, value, size);
        }
        rsp = stack_add(p, rsp, -(i->imm & 0xffff));
        if (!checking)
            break;
        /* A write at the final stack pointer must be possible, though none is made. */
        mem_probe(p, stack_linear(p, rsp, size, MEM_WRITE), size, MEM_WRITE);
    }
    reg_write(p, REG_RBP, frame, size);
    p->gpr[REG_RSP] = rsp;
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *leave(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t rsp = stack_add(p, p->gpr[REG_RSP], p->gpr[REG_RBP] - p->gpr[REG_RSP]);
    uint64_t value = mem_read(p, stack_linear(p, rsp, size, MEM_READ), size);
    p->gpr[REG_RSP] = stack_add(p, rsp, size);
    reg_write(p, REG_RBP, value, size);
    return next_insn(p, i);
}
SIZED_WORDS(enter)
SIZED_WORDS(leave)

HANDLER(leave64)
{
    uint64_t rbp = p->gpr[REG_RBP];
    void *host;
    if (!tlb_hit(p, rbp, 8, MEM_READ, &host))
        return leave_8(p, i);
    p->gpr[REG_RBP] = host_load(host, 8);
    p->gpr[REG_RSP] = rbp + 8;
    return next_insn(p, i);
}

exec_fn *exec_bind_stack(const struct insn *i, uint32_t mode)
{
    bool fast = (mode & MODE_DECODE) == DECODE_64 && i->opsize == 8;
    unsigned n = size_index(i->opsize);
    switch (i->attr->op) {
    case OP_PUSH:
        if (i->attr->operand[0].kind == OPERAND_IMM)
            return fast ? push_i64 : push_i_sized[n];
        if (!i->mod3)
            return push_m_sized[n];
        return fast ? push_r64 : push_r_sized[n];
    case OP_POP:
        if (!i->mod3)
            return pop_m_sized[n];
        return fast ? pop_r64 : pop_r_sized[n];
    case OP_PUSHA:
        return pusha_sized[n];
    case OP_POPA:
        return popa_sized[n];
    case OP_PUSHF:
        return pushf_sized[n];
    case OP_ENTER:
        return enter_sized[n];
    default:
        return fast ? leave64 : leave_sized[n];
    }
}
