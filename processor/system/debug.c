/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Debug registers, breakpoints and single stepping (SDM volume 3, chapter 18).
 *
 * p->pending_debug collects the DR6 bits of the #DB to come.  They reach DR6 when event_deliver
 * delivers the exception; when level 0 intercepts it they are its exit qualification, and the run
 * loop clears them. */
#include "system.h"

enum { BREAK_EXECUTE, BREAK_WRITE, BREAK_IO, BREAK_ACCESS };

static unsigned breakpoint_kind(const struct processor *p, unsigned n)
{
    return p->dr7 >> (16 + 4 * n) & 3;
}
static unsigned breakpoint_length(const struct processor *p, unsigned n)
{
    static const uint8_t bytes[] = {1, 2, 8, 4};
    return bytes[p->dr7 >> (18 + 4 * n) & 3];
}
static bool breakpoint_enabled(const struct processor *p, unsigned n)
{
    return p->dr7 >> (2 * n) & 3;
}
/* Whether breakpoint N's bytes and [address, address + size) meet. */
static bool breakpoint_covers(const struct processor *p, unsigned n, uint64_t address,
                              unsigned size)
{
    unsigned length = breakpoint_length(p, n);
    uint64_t start = p->dr[n] & ~(uint64_t)(length - 1);
    return address - start < length || start - address < size;
}

static void debug_pend(struct processor *p, uint32_t bits)
{
    if (!bits)
        return;
    p->pending_debug |= bits;
    p->slow |= SLOW_PENDING_DB;
}

void debug_raise(struct processor *p, uint32_t bits)
{
    debug_pend(p, bits);
    raise_fault(p, VECTOR_DB, 0);
}

void debug_commit(struct processor *p)
{
    if (p->pending_debug)
        p->dr6 = (p->dr6 & ~0xfull) | p->pending_debug;
    p->pending_debug = 0;
    p->dr7 &= ~(uint64_t)DR7_GD;
    p->msr.debugctl &= ~(uint64_t)DEBUGCTL_BTF;
    update_slow(p);
}

void debug_check_fetch(struct processor *p, uint64_t linear)
{
    uint32_t bits = 0;
    if (p->rflags & FLAG_RF)
        return;
    for (unsigned n = 0; n < 4; n++)
        if (breakpoint_enabled(p, n) && breakpoint_kind(p, n) == BREAK_EXECUTE &&
            p->dr[n] == linear)
            bits |= 1u << n;
    if (bits)
        debug_raise(p, bits);
}

void debug_check_data(struct processor *p, uint64_t linear, unsigned size, unsigned access)
{
    for (unsigned n = 0; n < 4; n++) {
        unsigned kind = breakpoint_kind(p, n);
        bool watched = kind == BREAK_ACCESS || (kind == BREAK_WRITE && access & MEM_WRITE);
        if (breakpoint_enabled(p, n) && watched && breakpoint_covers(p, n, linear, size))
            debug_pend(p, 1u << n);
    }
}

void debug_check_io(struct processor *p, uint16_t port, unsigned size)
{
    if (!(p->cr4 & CR4_DE))
        return;
    for (unsigned n = 0; n < 4; n++)
        if (breakpoint_enabled(p, n) && breakpoint_kind(p, n) == BREAK_IO &&
            breakpoint_covers(p, n, port, size))
            debug_pend(p, 1u << n);
}

/* Whether the instruction just run traps when TF was set before it. */
static bool single_step_traps(const struct processor *p)
{
    const struct insn *i = p->insn;
    if (!i || !i->attr)
        return true;
    switch (i->attr->op) {
    case OP_INT:
    case OP_INT1:
    case OP_INT3:
        return false; /* entering the handler has cleared TF, and that is all */
    case OP_INTO:
        return !(p->status & FLAG_OF);
    case OP_SYSCALL:
        return p->rflags & FLAG_TF; /* what SFMASK left of it */
    default:
        break;
    }
    if (p->msr.debugctl & DEBUGCTL_BTF)
        return i->attr->traits & TRAIT_BRANCH && p->rip != following_rip(p, i);
    return true;
}

void debug_after_instruction(struct processor *p, bool tf_before)
{
    if (tf_before && single_step_traps(p))
        debug_pend(p, DR6_BS);
    /* MOV SS that has just retired holds its own traps back until after the next instruction. */
    if (!p->pending_debug || p->interruptibility & BLOCKING_BY_MOV_SS)
        return;
    p->insn = NULL; /* a trap: RIP is past the instruction already */
    raise_fault(p, VECTOR_DB, 0);
}

/* ---------------------------------------------------------------- MOV DR */

/* The register that I names, with 4 and 5 as aliases of 6 and 7, after all checks. */
static unsigned debug_register(struct processor *p, const struct insn *i, bool from)
{
    unsigned number = i->reg;
    if (number > 7)
        raise_ud(p);
    if (number == 4 || number == 5) {
        if (p->cr4 & CR4_DE)
            raise_ud(p);
        number += 2;
    }
    require_cpl0(p);
    if (p->dr7 & DR7_GD)
        debug_raise(p, DR6_BD);
    if (p->intercepts & INTERCEPT_MOV_DR)
        vm_exit(p, EXIT_REASON_DR_ACCESS,
                i->reg | (from ? 1u << 4 : 0) | (unsigned)(i->rm & 15) << 8);
    return number;
}

const struct insn *system_mov_from_dr(struct processor *p, const struct insn *i)
{
    unsigned number = debug_register(p, i, true);
    uint64_t value = number < 4 ? p->dr[number] : number == 6 ? p->dr6 : p->dr7;
    reg_write(p, i->rm, value, in_64bit_code(p) ? 8 : 4);
    return i + 1;
}

const struct insn *system_mov_to_dr(struct processor *p, const struct insn *i)
{
    unsigned number = debug_register(p, i, false);
    uint64_t value = reg_read(p, i->rm, in_64bit_code(p) ? 8 : 4);
    if (number < 4) {
        p->dr[number] = value;
    } else {
        if (value >> 32)
            raise_gp(p);
        if (number == 6)
            p->dr6 = (value & DR6_WRITE) | DR6_FIXED;
        else
            p->dr7 = (value & DR7_WRITE) | DR7_FIXED;
    }
    select_tlb(p); /* data breakpoints keep accesses from the fast path */
    update_slow(p);
    return insn_resync(p, i);
}
