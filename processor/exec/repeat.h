/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What string instructions share, with and without ports: addressing by rSI and rDI, the count in
 * rCX, and the rule for stopping between iterations.
 *
 * Each iteration commits its registers before the next begins, so that a fault, an interrupt or a
 * bus access finds the instruction ready to go on where it stopped.
 */
#ifndef TRAPEZE_EXEC_REPEAT_H
#define TRAPEZE_EXEC_REPEAT_H

#include "exec.h"

/* Reads and moves rSI, rDI or rCX by the address size: 16-bit ones keep the bits above. */
static inline uint64_t address_register(struct processor *p, const struct insn *i, unsigned r)
{
    return reg_read(p, r, i->addrsize);
}
static inline void advance(struct processor *p, const struct insn *i, unsigned r, uint64_t bytes)
{
    if (p->rflags & FLAG_DF)
        bytes = -bytes;
    reg_write(p, r, p->gpr[r] + bytes, i->addrsize);
}
static inline uint64_t source_linear(struct processor *p, const struct insn *i, unsigned size)
{
    return segment_linear(p, i->seg, address_register(p, i, REG_RSI), size, MEM_READ);
}
static inline uint64_t destination_linear(struct processor *p, const struct insn *i, unsigned size,
                                          unsigned access)
{
    return segment_linear(p, SEG_ES, address_register(p, i, REG_RDI), size, access);
}

static inline bool is_repeated(const struct insn *i)
{
    return i->prefixes & (PREFIX_REP | PREFIX_REPNE);
}

/* Takes N iterations off rCX and says what comes next: more of them at once, a pause because an
 * interrupt may be due or instructions are stepped through, or the end. */
enum repeat { REPEAT_MORE, REPEAT_PAUSE, REPEAT_END };
static inline enum repeat repeat_next(struct processor *p, const struct insn *i, uint64_t n)
{
    uint64_t left = address_register(p, i, REG_RCX) - n;
    reg_write(p, REG_RCX, left, i->addrsize);
    if (left == 0)
        return REPEAT_END;
    if (unlikely(p->slow & ~SLOW_WINDOW) || atomic_load_explicit(&p->poll, memory_order_relaxed))
        return REPEAT_PAUSE;
    return REPEAT_MORE;
}

/* Leaves the instruction unfinished: it runs again, after whatever asked for attention. */
static inline const struct insn *repeat_pause(struct processor *p, const struct insn *i)
{
    if (p->slow & SLOW_REPLAY)
        replay_commit(p);
    p->rip = insn_rip_again(p, i);
    return NULL;
}

/* Runs STEP, one iteration, by the REP prefix or once. */
#define REPEAT(p, i, step)                                                                         \
    do {                                                                                           \
        if (!is_repeated(i)) {                                                                     \
            step;                                                                                  \
            return next_insn(p, i);                                                                \
        }                                                                                          \
        if (address_register(p, i, REG_RCX) == 0)                                                  \
            return next_insn(p, i);                                                                \
        for (;;) {                                                                                 \
            step;                                                                                  \
            enum repeat next = repeat_next(p, i, 1);                                               \
            if (next == REPEAT_END)                                                                \
                return next_insn(p, i);                                                            \
            if (next == REPEAT_PAUSE)                                                              \
                return repeat_pause(p, i);                                                         \
        }                                                                                          \
    } while (0)

#endif
