/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Vector state as a whole, and the small instructions about it. */
#include "vector.h"

/* As KVM resets it: x87 as after FNINIT.  (The SDM's power-up values, volume 3 table 10-1, are
 * FCW = 0040h with tags zero; no guest can rely on them, and some rely on KVM's.) */
void vector_reset(struct processor *p)
{
    memset(&p->vector, 0, sizeof(p->vector));
    x87_init(p->vector.fxsave);
    put32(p->vector.fxsave + FX_MXCSR, MXCSR_DEFAULT);
    p->vector.mxcsr = MXCSR_DEFAULT;
    p->vector.xcr0 = XFEATURE_X87;
}

/* ---------------------------------------------------------------- availability */

_Noreturn void sse_unavailable(struct processor *p)
{
    if (p->cr0 & CR0_EM || !(p->cr4 & CR4_OSFXSR))
        raise_ud(p);
    raise_fault(p, VECTOR_NM, 0);
}

_Noreturn void avx_unavailable(struct processor *p)
{
    if (!(p->cr4 & CR4_OSXSAVE) || ~p->vector.xcr0 & (XFEATURE_SSE | XFEATURE_AVX) ||
        p->mode & (MODE_REAL | MODE_V86))
        raise_ud(p);
    raise_fault(p, VECTOR_NM, 0);
}

/* ---------------------------------------------------------------- instructions */

HANDLER(vector_emms)
{
    if (p->cr0 & (CR0_EM | CR0_TS) || x87_pending(p))
        mmx_unavailable(p);
    x87_set_top(p->vector.fxsave, 0);
    put16(p->vector.fxsave + FX_FTW, 0);
    return i + 1;
}

HANDLER(vector_ldmxcsr)
{
    need_vector(p, i);
    uint32_t mxcsr = mem_read32(p, insn_linear(p, i, 4, MEM_READ));
    if (mxcsr & ~MXCSR_VALID)
        raise_gp(p);
    p->vector.mxcsr = mxcsr;
    return i + 1;
}

HANDLER(vector_stmxcsr)
{
    need_vector(p, i);
    mem_write32(p, insn_linear(p, i, 4, MEM_WRITE), p->vector.mxcsr);
    return i + 1;
}

HANDLER(vector_vzeroupper)
{
    need_avx(p);
    for (unsigned n = 0; n < vector_registers(p); n++)
        p->vector.ymm[n].q[2] = p->vector.ymm[n].q[3] = 0;
    return i + 1;
}

HANDLER(vector_vzeroall)
{
    need_avx(p);
    memset(p->vector.ymm, 0, vector_registers(p) * sizeof(p->vector.ymm[0]));
    return i + 1;
}

/* SDM volume 1, 13.3; ECX = 1 gives the components in use. */
HANDLER(vector_xgetbv)
{
    if (!(p->cr4 & CR4_OSXSAVE))
        raise_ud(p);
    uint64_t value = p->vector.xcr0;
    switch ((uint32_t)p->gpr[REG_RCX]) {
    case 0:
        break;
    case 1:
        value &= vector_in_use(p);
        break;
    default:
        raise_gp(p);
    }
    p->gpr[REG_RAX] = (uint32_t)value;
    p->gpr[REG_RDX] = value >> 32;
    return i + 1;
}

/* Exits whatever it would do, as under VMX; the caller loads XCR0 by processor_set_xcr0. */
HANDLER(vector_xsetbv)
{
    (void)i;
    if (!(p->cr4 & CR4_OSXSAVE))
        raise_ud(p);
    if (p->cpl != 0)
        raise_gp(p);
    vm_exit(p, EXIT_REASON_XSETBV, 0);
}
