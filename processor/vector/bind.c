/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The choice of handlers. */
#include "vector.h"

static exec_fn *const by_op[OP_COUNT] = {
    [OP_FWAIT] = x87_fwait,
    [OP_FNSTENV] = x87_fnstenv,
    [OP_FLDENV] = x87_fldenv,
    [OP_FNSAVE] = x87_fnsave,
    [OP_FRSTOR] = x87_frstor,
    [OP_EMMS] = vector_emms,
    [OP_FXSAVE] = vector_fxsave,
    [OP_FXRSTOR] = vector_fxrstor,
    [OP_XSAVE] = vector_xsave,
    [OP_XSAVEOPT] = vector_xsaveopt,
    [OP_XSAVEC] = vector_xsavec,
    [OP_XSAVES] = vector_xsaves,
    [OP_XRSTOR] = vector_xrstor,
    [OP_XRSTORS] = vector_xrstors,
    [OP_XGETBV] = vector_xgetbv,
    [OP_XSETBV] = vector_xsetbv,
    [OP_LDMXCSR] = vector_ldmxcsr,
    [OP_STMXCSR] = vector_stmxcsr,
    [OP_VZEROUPPER] = vector_vzeroupper,
    [OP_VZEROALL] = vector_vzeroall,
    [OP_MASKMOV] = vector_maskmov,
    [OP_VMASKMOV] = vector_vmaskmov,
    [OP_GATHER] = vector_gather,
};

/* Can the host run I natively?  For what has a handler this only says what the guest is offered. */
static bool available(const struct processor *p, const struct insn *i)
{
    uint64_t have = p->stubs->features;
    unsigned feature = i->attr->feature;
    if (i->prefixes & PREFIX_VEX) {
        if (!(have & BIT(FEATURE_AVX)))
            return false;
        /* One row stands for both widths, which belong to different features. */
        if (insn_vex_l(i) && feature == FEATURE_AES)
            feature = FEATURE_VAES;
        if (insn_vex_l(i) && feature == FEATURE_PCLMULQDQ)
            feature = FEATURE_VPCLMULQDQ;
    }
    return have & BIT(feature);
}

exec_fn *vector_bind(struct processor *p, struct insn *i)
{
    const struct insn_attr *a = i->attr;
    exec_fn *handler = NULL;

    i->imm &= (BIT(INSN_BIND_SHIFT) - 1) | ~(BIT(INSN_VEX_SHIFT) - 1);
    if (!available(p, i))
        return exec_invalid;
    if (a->op != OP_NATIVE && a->op != OP_X87)
        return a->op < OP_COUNT && by_op[a->op] ? by_op[a->op] : exec_invalid;

    handler = a->op == OP_X87 ? bind_x87(i) : bind_move(i);
    int memory = insn_memory_operand(i);
    if (memory >= 0) {
        /* The size is kept where the stub's number goes; x87 asks for its own, which may be 10. */
        unsigned size = insn_operand_size(i, (unsigned)memory);
        if (a->op == OP_NATIVE && (size == 0 || size > 32 || size & (size - 1)))
            return exec_invalid;
        i->imm |= (uint64_t)(unsigned)__builtin_ctz(size | 128) << INSN_BIND_SHIFT;
    }
    if (handler)
        return handler;
    for (unsigned n = 0; n < ARRAY_SIZE(a->operand); n++)
        /* Outside 64-bit mode an is4 register has three bits. */
        if (a->operand[n].kind == OPERAND_XMM_IMM && (p->mode & MODE_DECODE) != DECODE_64)
            i->imm &= ~0x80ull;
    i->imm |= stub_bind(p, i) << (INSN_BIND_SHIFT + BOUND_SIZE_BITS);
    return a->op == OP_X87 ? x87_run : bind_native(i);
}
