/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Single flags, LAHF SAHF SALC, NOP and fences, PAUSE, CLFLUSH, RDRAND RDSEED. */
#include "exec.h"

#include <sys/random.h>

/* ---------------------------------------------------------------- flags */

HANDLER(lahf)
{
    *byte_register(p, REG_HIGH | REG_RAX) = (uint8_t)(p->status | FLAG_ONE);
    return next_insn(p, i);
}
HANDLER(sahf)
{
    p->status =
        (p->status & FLAG_OF) | (*byte_register(p, REG_HIGH | REG_RAX) & (FLAGS_STATUS & ~FLAG_OF));
    return next_insn(p, i);
}
HANDLER(salc)
{
    *byte_register(p, REG_RAX) = p->status & FLAG_CF ? 0xff : 0;
    return next_insn(p, i);
}
HANDLER(clc)
{
    p->status &= ~FLAG_CF;
    return next_insn(p, i);
}
HANDLER(stc)
{
    p->status |= FLAG_CF;
    return next_insn(p, i);
}
HANDLER(cmc)
{
    p->status ^= FLAG_CF;
    return next_insn(p, i);
}
HANDLER(cld)
{
    p->rflags &= ~FLAG_DF;
    return next_insn(p, i);
}
HANDLER(std)
{
    p->rflags |= FLAG_DF;
    return next_insn(p, i);
}

/* ---------------------------------------------------------------- hints and fences */

HANDLER(nop)
{
    (void)p;
    return next_insn(p, i);
}
/* LFENCE, SFENCE, MFENCE: guest accesses are host accesses of the same order, so that only what the
 * host's processor may reorder is left to do. */
HANDLER(fence)
{
    (void)p;
    atomic_thread_fence(memory_order_seq_cst);
    return next_insn(p, i);
}

/* PAUSE exits by its own control, or when a loop of it at CPL 0 runs longer than the window (pause-
 * loop exiting, SDM volume 3, 26.1.3; the gap is counted in ticks of the host's
 * TSC, the window in PAUSEs). */
HANDLER(pause_hint)
{
    if (p->intercepts & INTERCEPT_PAUSE)
        vm_exit(p, EXIT_REASON_PAUSE, 0);
    if (p->intercepts & INTERCEPT_PAUSE_LOOP && p->cpl == 0) {
        uint64_t now = __builtin_ia32_rdtsc();
        if (now - p->pause_last > p->vmcs.ple_gap)
            p->pause_count = 0;
        p->pause_last = now;
        if (++p->pause_count > p->vmcs.ple_window) {
            p->pause_count = 0;
            vm_exit(p, EXIT_REASON_PAUSE, 0);
        }
    }
    __builtin_ia32_pause();
    return next_insn(p, i);
}

/* Caches are not simulated; the address is checked as a byte read. */
HANDLER(clflush)
{
    mem_probe(p, insn_linear(p, i, 1, MEM_READ), 1, MEM_READ);
    return next_insn(p, i);
}

/* ---------------------------------------------------------------- random numbers */

/* From the host's kernel, whose generator is seeded by whatever the host has: the same on every
 * host. CF = 0 tells the guest that none was available. */
static const struct insn *random_number(struct processor *p, const struct insn *i)
{
    uint64_t value = 0;
    bool got = getrandom(&value, sizeof(value), GRND_NONBLOCK) == sizeof(value);
    reg_write(p, i->rm, got ? value : 0, i->opsize);
    p->status = got ? FLAG_CF : 0;
    return next_insn(p, i);
}
HANDLER(rdrand)
{
    if (p->intercepts & INTERCEPT_RDRAND)
        vm_exit(p, EXIT_REASON_RDRAND, 0);
    return random_number(p, i);
}
HANDLER(rdseed)
{
    return random_number(p, i);
}

exec_fn *exec_bind_misc(const struct insn *i, uint32_t mode)
{
    static exec_fn *const table[] = {
        [OP_LAHF] = lahf,     [OP_SAHF] = sahf,        [OP_SALC] = salc,       [OP_CLC] = clc,
        [OP_STC] = stc,       [OP_CMC] = cmc,          [OP_CLD] = cld,         [OP_STD] = std,
        [OP_NOP] = nop,       [OP_PAUSE] = pause_hint, [OP_CLFLUSH] = clflush, [OP_RDRAND] = rdrand,
        [OP_RDSEED] = rdseed,
    };
    (void)mode;
    if (i->attr->op == OP_NOP && i->map == MAP_0F && i->opcode == 0xae)
        return fence;
    return table[i->attr->op];
}
