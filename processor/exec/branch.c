/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Near branches: JMP CALL RET Jcc LOOPcc JCXZ. */
#include "exec.h"

/* ---------------------------------------------------------------- relative */

/* A relative branch of 64-bit mode that stays within its page needs no check. */
static bool stays_in_page(const struct insn *i, uint32_t mode)
{
    uint64_t next = (uint64_t)i->offset + i->length;
    return (mode & MODE_DECODE) == DECODE_64 && next < PAGE_BYTES && next + i->imm < PAGE_BYTES;
}
static inline const struct insn *branch_relative(struct processor *p, const struct insn *i)
{
    return branch_to(p, i, branch_target(p, i, insn_next_rip(p, i) + i->imm));
}
/* The run loop chains such a branch to its target's block, in the same page: the pointer is in the
 * displacement, which a relative branch does not use.  It holds while nothing was asked of the
 * processor since it entered the page: whatever drops a block sets p->poll. */
static inline const struct insn *branch_in_page(struct processor *p, const struct insn *i)
{
    if (likely(i->disp && !atomic_load_explicit(&p->poll, memory_order_relaxed)))
        return (const struct insn *)(uintptr_t)i->disp;
    p->link = i;
    return branch_to(p, i, insn_next_rip(p, i) + i->imm);
}

HANDLER(jmp)
{
    return branch_relative(p, i);
}
HANDLER(jmp_in_page)
{
    return branch_in_page(p, i);
}

#define EACH_CONDITION(X)                                                                          \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define JCC(cc)                                                                                    \
    HANDLER(jcc_##cc)                                                                              \
    {                                                                                              \
        return condition(p, cc) ? branch_relative(p, i) : next_insn(p, i);                         \
    }                                                                                              \
    HANDLER(jcc_in_page_##cc)                                                                      \
    {                                                                                              \
        return condition(p, cc) ? branch_in_page(p, i) : next_insn(p, i);                          \
    }
EACH_CONDITION(JCC)

/* LOOP, LOOPE, LOOPNE: the counter has the address size; no flag changes.  The counter is written
 * only when the target is known to be good. */
static inline uint64_t counter_read(const struct processor *p, const struct insn *i)
{
    return reg_read((struct processor *)p, REG_RCX, i->addrsize);
}
static inline const struct insn *loop_while(struct processor *p, const struct insn *i, bool more)
{
    uint64_t count = counter_read(p, i) - 1, target = 0;
    bool taken = more && (i->addrsize == 8   ? count
                          : i->addrsize == 4 ? (uint32_t)count
                                             : (uint16_t)count);
    if (taken)
        target = branch_target(p, i, insn_next_rip(p, i) + i->imm);
    reg_write(p, REG_RCX, count, i->addrsize);
    return taken ? branch_to(p, i, target) : next_insn(p, i);
}
HANDLER(loop)
{
    return loop_while(p, i, true);
}
HANDLER(loope)
{
    return loop_while(p, i, p->status & FLAG_ZF);
}
HANDLER(loopne)
{
    return loop_while(p, i, !(p->status & FLAG_ZF));
}
HANDLER(jcxz)
{
    return counter_read(p, i) ? next_insn(p, i) : branch_relative(p, i);
}

/* ---------------------------------------------------------------- CALL, RET, indirect */

/* Pushes the return address; RIP changes after everything that can fault. */
static inline const struct insn *call_to(struct processor *p, const struct insn *i, uint64_t target)
{
    target = branch_target(p, i, target);
    uint64_t next = insn_next_rip(p, i);
    switch (i->opsize) {
    case 2:
        stack_push(p, next, 2);
        break;
    case 4:
        stack_push(p, next, 4);
        break;
    default:
        stack_push(p, next, 8);
        break;
    }
    return branch_to(p, i, target);
}
HANDLER(call)
{
    return call_to(p, i, insn_next_rip(p, i) + i->imm);
}
HANDLER(call64)
{
    uint64_t next = insn_next_rip(p, i), target = next + i->imm, rsp = p->gpr[REG_RSP] - 8;
    void *host;
    if (!tlb_hit(p, rsp, 8, MEM_WRITE, &host) || unlikely(!linear_is_canonical(p, target)))
        return call(p, i);
    host_store(host, next, 8);
    p->gpr[REG_RSP] = rsp;
    return branch_to(p, i, target);
}
HANDLER(call_indirect)
{
    return call_to(p, i, rm_read(p, i, i->opsize));
}
HANDLER(jmp_indirect)
{
    return branch_to(p, i, branch_target(p, i, rm_read(p, i, i->opsize)));
}
HANDLER(jmp_register64)
{
    return branch_to(p, i, branch_target(p, i, p->gpr[i->rm]));
}

/* RET and RET imm16. */
HANDLER(ret)
{
    uint64_t target = branch_target(p, i, stack_top(p, i->opsize));
    p->gpr[REG_RSP] = stack_add(p, p->gpr[REG_RSP], i->opsize + (i->imm & 0xffff));
    return branch_to(p, i, target);
}
HANDLER(ret64)
{
    uint64_t rsp = p->gpr[REG_RSP];
    void *host;
    if (!tlb_hit(p, rsp, 8, MEM_READ, &host))
        return ret(p, i);
    uint64_t target = host_load(host, 8);
    if (unlikely(!linear_is_canonical(p, target)))
        return ret(p, i);
    p->gpr[REG_RSP] = rsp + 8;
    return branch_to(p, i, target);
}

exec_fn *exec_bind_branch(const struct insn *i, uint32_t mode)
{
#define ROW(cc) {jcc_##cc, jcc_in_page_##cc},
    static exec_fn *const jcc_table[16][2] = {EACH_CONDITION(ROW)};
#undef ROW
    bool wide = (mode & MODE_DECODE) == DECODE_64;
    switch (i->attr->op) {
    case OP_JCC:
        return jcc_table[i->opcode & 15][stays_in_page(i, mode)];
    case OP_JMP:
        return stays_in_page(i, mode) ? jmp_in_page : jmp;
    case OP_CALL:
        return wide ? call64 : call;
    case OP_CALL_IND:
        return call_indirect;
    case OP_JMP_IND:
        return wide && i->mod3 ? jmp_register64 : jmp_indirect;
    case OP_RET:
        return wide && !(i->opcode == 0xc2 && i->imm) ? ret64 : ret;
    case OP_LOOP:
        return loop;
    case OP_LOOPE:
        return loope;
    case OP_LOOPNE:
        return loopne;
    default:
        return jcxz;
    }
}
