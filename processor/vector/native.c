/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handlers that run MMX, SSE and AVX instructions through stubs.
 *
 * Most instructions have one of a few shapes (registers only, a memory source, a memory
 * destination), and get a handler for it; native_full runs all others.
 */
#include "vector.h"

/* ---------------------------------------------------------------- SIMD floating point */

struct operands {
    void *reg, *rm, *v, *extra;
};

/* Runs STUB on copies of the operands that it may write, so that nothing is visible yet.  (Of a
 * general register's slot this copies the neighbours too, which does no harm.) */
struct trial {
    uint8_t reg[32], rm[32], v[32];
};
static void try_stub(stub_fn *stub, const struct operands *o, bool rm_memory, struct trial *t,
                     struct stub_frame *f)
{
    if (o->reg)
        memcpy(t->reg, o->reg, sizeof(t->reg));
    if (o->rm && !rm_memory)
        memcpy(t->rm, o->rm, sizeof(t->rm));
    if (o->v)
        memcpy(t->v, o->v, sizeof(t->v));
    stub(t->reg, rm_memory ? o->rm : t->rm, t->v, o->extra, f);
}

_Noreturn static void raise_simd(struct processor *p, uint32_t flags)
{
    p->vector.mxcsr |= flags;
    raise_fault(p, p->cr4 & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD, 0);
}

/* Finds out, with all exceptions masked, whether the instruction would raise one that the guest has
 * unmasked (SDM volume 1, 11.5.2), and raises it.  f->flags is used up. */
static void check_unmasked(struct processor *p, stub_fn *stub, const struct operands *o,
                           bool rm_memory, struct stub_frame *f)
{
    enum { PRE = 0x7, OVERFLOW_UNDERFLOW_PRECISION = 0x38, UNDERFLOW = 0x10 };
    uint32_t guest = p->vector.mxcsr;
    uint32_t unmasked = ~(guest >> 7) & MXCSR_FLAGS;
    uint32_t quiet = (guest & ~MXCSR_FLAGS) | MXCSR_MASKS;
    uint64_t flags_in = f->flags;
    struct trial t;

    if (unmasked & UNDERFLOW)
        quiet &= ~MXCSR_FTZ; /* it has no effect then */
    f->mxcsr = quiet;
    try_stub(stub, o, rm_memory, &t, f);
    uint32_t flags = f->mxcsr & MXCSR_FLAGS;
    if (flags & unmasked & PRE)
        raise_simd(p, flags & PRE);
    if (unmasked & UNDERFLOW) {
        /* Unmasked, a tiny result is reported even if it is exact; flush-to-zero tells of all. */
        f->flags = flags_in;
        f->mxcsr = quiet | MXCSR_FTZ;
        try_stub(stub, o, rm_memory, &t, f);
        flags |= f->mxcsr & UNDERFLOW;
    }
    if (flags & unmasked & OVERFLOW_UNDERFLOW_PRECISION)
        raise_simd(p, flags);
    f->flags = flags_in;
}

/* Runs a stub whose instruction may raise SIMD exceptions.  The guest's MXCSR with the flags raised
 * is left in f->mxcsr, for the caller to commit. */
ALWAYS_INLINE void run_fp(struct processor *p, stub_fn *stub, const struct operands *o,
                          bool rm_memory, struct stub_frame *f)
{
    if (unlikely((p->vector.mxcsr & MXCSR_MASKS) != MXCSR_MASKS))
        check_unmasked(p, stub, o, rm_memory, f);
    f->mxcsr = p->vector.mxcsr | MXCSR_MASKS;
    stub(o->reg, o->rm, o->v, o->extra, f);
    f->mxcsr &= p->vector.mxcsr | ~MXCSR_MASKS;
}

/* ---------------------------------------------------------------- the common shapes */

enum rm_form { RM_XMM, RM_GPR, RM_LOAD, RM_STORE };

ALWAYS_INLINE const struct insn *native(struct processor *p, const struct insn *i, bool reg_gpr,
                                        enum rm_form form, bool fp, bool status)
{
    struct operands o;
    uint64_t linear = 0;
    void *bounce = p->stubs->bounce;

    need_vector(p, i);
    o.reg = reg_gpr ? (void *)&p->gpr[i->reg] : (void *)&p->vector.ymm[i->reg];
    o.v = &p->vector.ymm[i->imm >> INSN_VEX_SHIFT & 15];
    o.extra = &p->vector.ymm[i->imm >> 4 & 15];
    switch (form) {
    case RM_XMM:
        o.rm = &p->vector.ymm[i->rm];
        break;
    case RM_GPR:
        o.rm = &p->gpr[i->rm];
        break;
    case RM_LOAD:
        linear = vector_linear(p, i, bound_size(i), MEM_READ);
        o.rm = (void *)(uintptr_t)load_operand(p, linear, bound_size(i), bounce);
        break;
    case RM_STORE:
        linear = vector_linear(p, i, bound_size(i), MEM_WRITE);
        o.rm = store_host(p, linear, bound_size(i));
        if (!o.rm)
            o.rm = bounce;
        break;
    }
    stub_fn *stub = stub_of(p, i);
    if (fp) {
        run_fp(p, stub, &o, form == RM_LOAD, &p->stubs->frame);
        p->vector.mxcsr = p->stubs->frame.mxcsr;
    } else {
        stub(o.reg, o.rm, o.v, o.extra, &p->stubs->frame);
    }
    if (status)
        p->status = (uint32_t)p->stubs->frame.flags & FLAGS_STATUS;
    if (form == RM_STORE && o.rm == bounce)
        mem_write_bytes(p, linear, bounce, bound_size(i));
    return i + 1;
}

#define SHAPE(name, reg_gpr, form, fp, status)                                                     \
    static HANDLER(name)                                                                           \
    {                                                                                              \
        return native(p, i, reg_gpr, form, fp, status);                                            \
    }
SHAPE(native_xx, false, RM_XMM, false, false)
SHAPE(native_xg, false, RM_GPR, false, false)
SHAPE(native_xl, false, RM_LOAD, false, false)
SHAPE(native_xs, false, RM_STORE, false, false)
SHAPE(native_gx, true, RM_XMM, false, false)
SHAPE(native_fp_xx, false, RM_XMM, true, false)
SHAPE(native_fp_xg, false, RM_GPR, true, false)
SHAPE(native_fp_xl, false, RM_LOAD, true, false)
SHAPE(native_fp_gx, true, RM_XMM, true, false)
SHAPE(native_fp_gl, true, RM_LOAD, true, false)
SHAPE(native_test_xx, false, RM_XMM, false, true) /* PTEST */
SHAPE(native_test_xl, false, RM_LOAD, false, true)
SHAPE(native_compare_xx, false, RM_XMM, true, true) /* COMISS, UCOMISD ... */
SHAPE(native_compare_xl, false, RM_LOAD, true, true)
#undef SHAPE

/* ---------------------------------------------------------------- everything else */

_Noreturn void mmx_unavailable(struct processor *p)
{
    if (p->cr0 & CR0_EM)
        raise_ud(p);
    if (p->cr0 & CR0_TS)
        raise_fault(p, VECTOR_NM, 0);
    raise_fault(p, VECTOR_MF, 0);
}

static void need_all(struct processor *p, const struct insn *i, bool mmx)
{
    if (i->prefixes & PREFIX_VEX)
        need_avx(p);
    else if (!mmx || insn_uses_xmm(i->attr))
        need_sse(p);
    /* CVTPI2PS and CVTPI2PD from memory are not MMX instructions but in name. */
    bool name_only = i->opcode == 0x2a && !i->mod3;
    if (mmx && ((p->cr0 & (CR0_EM | CR0_TS)) || (x87_pending(p) && !name_only)))
        mmx_unavailable(p);
}

static HANDLER(native_full)
{
    const struct insn_attr *a = i->attr;
    struct vector_stubs *s = p->stubs;
    struct stub_frame *f = &s->frame;
    bool mmx = insn_uses_mmx(a), fp = a->traits & TRAIT_FP;
    struct operands o = {0};
    unsigned size = 0, access = ACCESS_NONE;
    uint64_t linear = 0;

    need_all(p, i, mmx);
    if (insn_reads_xmm0(a) || insn_writes_xmm0(a))
        o.extra = &p->vector.ymm[0];
    for (unsigned n = 0; n < ARRAY_SIZE(a->operand); n++) {
        switch (a->operand[n].kind) {
        case OPERAND_XMM_REG:
            o.reg = &p->vector.ymm[i->reg];
            break;
        case OPERAND_REG:
            o.reg = &p->gpr[i->reg];
            break;
        case OPERAND_XMM_V:
            o.v = &p->vector.ymm[insn_vvvv(i)];
            break;
        case OPERAND_XMM_IMM:
            o.extra = &p->vector.ymm[i->imm >> 4 & 15];
            break;
        case OPERAND_XMM_RM:
        case OPERAND_MMX_RM:
        case OPERAND_RM:
        case OPERAND_MEM:
            if (!i->mod3) {
                access = a->operand[n].access;
                size = bound_size(i);
            } else if (a->operand[n].kind == OPERAND_XMM_RM) {
                o.rm = &p->vector.ymm[i->rm];
            } else if (a->operand[n].kind == OPERAND_RM) {
                o.rm = &p->gpr[i->rm];
            }
            break;
        }
    }
    if (size)
        linear = vector_linear(p, i, size, access & ACCESS_WRITE ? MEM_WRITE : MEM_READ);
    if (access & ACCESS_READ)
        o.rm = (void *)(uintptr_t)load_operand(p, linear, size, s->bounce);
    else if (size)
        o.rm = s->bounce;

    /* What a fault may still undo is worked on in copies. */
    bool store = access & ACCESS_WRITE;
    bool copy = mmx && (store || (fp && (p->vector.mxcsr & MXCSR_MASKS) != MXCSR_MASKS));
    f->gpr = p->gpr;
    f->flags = p->status | FLAG_ONE | FLAG_IF;
    f->x87_in = p->vector.fxsave;
    f->x87_out = copy ? s->x87 : p->vector.fxsave;
    stub_fn *stub = stub_of(p, i);
    uint8_t pointers[FX_MXCSR - FX_FOP];
    if (mmx)
        memcpy(pointers, p->vector.fxsave + FX_FOP, sizeof(pointers));
    if (fp)
        run_fp(p, stub, &o, size != 0, f);
    else
        stub(o.reg, o.rm, o.v, o.extra, f);
    if (store)
        mem_write_bytes(p, linear, s->bounce, size);
    if (fp)
        p->vector.mxcsr = f->mxcsr;
    if (mmx) {
        if (copy)
            memcpy(p->vector.fxsave, s->x87, FX_X87_END);
        /* The host's addresses stay hidden; MMX does not change the guest's. */
        memcpy(p->vector.fxsave + FX_FOP, pointers, sizeof(pointers));
    }
    if (a->traits & TRAIT_EFLAGS_OUT)
        p->status = (uint32_t)f->flags & FLAGS_STATUS;
    return i + 1;
}

/* ---------------------------------------------------------------- which */

exec_fn *bind_native(const struct insn *i)
{
    /* By what it does besides: nothing, SIMD exceptions, flags, both; then by operands. */
    static exec_fn *const handlers[4][2][4] = {
        {{native_xx, native_xg, native_xl, native_xs}, {native_gx, NULL, NULL, NULL}},
        {{native_fp_xx, native_fp_xg, native_fp_xl, NULL},
         {native_fp_gx, NULL, native_fp_gl, NULL}},
        {{native_test_xx, NULL, native_test_xl, NULL}, {NULL, NULL, NULL, NULL}},
        {{native_compare_xx, NULL, native_compare_xl, NULL}, {NULL, NULL, NULL, NULL}},
    };
    const struct insn_attr *a = i->attr;
    bool reg_gpr = false;
    enum rm_form form = RM_XMM;

    if (insn_uses_mmx(a) || insn_reads_xmm0(a) || insn_writes_xmm0(a) || insn_reads_lengths(a) ||
        insn_writes_index(a) || a->flags_read)
        return native_full;
    for (unsigned n = 0; n < ARRAY_SIZE(a->operand); n++) {
        switch (a->operand[n].kind) {
        case OPERAND_REG:
            reg_gpr = true;
            break;
        case OPERAND_RM:
        case OPERAND_MEM:
        case OPERAND_XMM_RM:
            if (!i->mod3)
                form = a->operand[n].access & ACCESS_WRITE ? RM_STORE : RM_LOAD;
            else if (a->operand[n].kind == OPERAND_RM)
                form = RM_GPR;
            break;
        }
    }
    unsigned besides = (a->traits & TRAIT_FP ? 1 : 0) | (a->traits & TRAIT_EFLAGS_OUT ? 2 : 0);
    exec_fn *handler = handlers[besides][reg_gpr][form];
    return handler ? handler : native_full;
}
