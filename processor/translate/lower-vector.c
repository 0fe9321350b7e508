/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MMX, SSE and AVX instructions, emitted again on the host's vector registers of the same numbers.
 *
 * Those hold the guest's only while the frame says so (FRAME_VECTOR), so that integer code and its
 * calls of C pay nothing: the first vector instruction of a block, and one that follows a handler
 * which may have changed the state or the right to use it, asks, and loads them if need be.  Thunks
 * put them away before C is called.
 */
#include "internal.h"

#include "processor/decode/decode.h"

/* What an instruction needs: see vector_level. */
unsigned lower_vector_level(const struct insn *i)
{
    return i->prefixes & PREFIX_VEX ? VECTOR_AVX : VECTOR_SSE;
}

unsigned vector_level(const struct processor *p)
{
    enum { MASKS = 0x1f80, SSE_AND_AVX = 6 };
    /* An unmasked exception would be a signal here: the handlers know how to find it. */
    if (p->cr0 & (CR0_EM | CR0_TS) || !(p->cr4 & CR4_OSFXSR) || (p->vector.mxcsr & MASKS) != MASKS)
        return VECTOR_NONE;
    if (!(p->cr4 & CR4_OSXSAVE) || (p->vector.xcr0 & SSE_AND_AVX) != SSE_AND_AVX)
        return VECTOR_SSE;
    return VECTOR_AVX;
}

/* Emits nothing where it is known. */
void lower_need_vector(struct lowering *l, unsigned level)
{
    struct emitter *e = &l->e;
    if (l->vector >= level)
        return;
    if (l->live)
        lower_save_flags(l);
    uint32_t site = lower_site(l);
    struct translate_site *s = &l->t->sites[site];
    emit_op(e, &(struct host_op){.opcode = 0x80, /* cmp byte [frame], level; jb */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .memory = true,
                                 .rm = HOST_RSP,
                                 .disp = FRAME(FRAME_VECTOR),
                                 .immediates = 1,
                                 .immediate = level});
    lower_late(l, LATE_VECTOR, emit_jump_if(e, CC_C, NULL), site);
    s->resume = translator_executable(l->t, e->at);
    s->size = (uint8_t)level;
    if (l->live)
        lower_load_flags(l);
    l->vector = level;
    if (l->b->vector < level)
        l->b->vector = (uint8_t)level;
}

/* The operands that its fields name, by kind of register. */
struct vector_fields {
    const struct operand *reg, *rm; /* general registers, or memory */
    bool xmm, mmx_reg, mmx_rm;
    int memory;
};

static bool find_fields(const struct insn *i, struct vector_fields *f)
{
    *f = (struct vector_fields){.memory = insn_memory_operand(i)};
    for (unsigned n = 0; n < ARRAY_SIZE(i->attr->operand); n++) {
        const struct operand *o = &i->attr->operand[n];
        switch (o->kind) {
        case OPERAND_REG:
            f->reg = o;
            break;
        case OPERAND_RM:
            f->rm = o;
            break;
        case OPERAND_NONE:
        case OPERAND_IMM:
        case OPERAND_MEM:
            break;
        case OPERAND_MMX_REG:
            f->mmx_reg = true;
            break;
        case OPERAND_MMX_RM:
            f->mmx_rm = true;
            break;
        case OPERAND_XMM_REG:
        case OPERAND_XMM_RM:
        case OPERAND_XMM_V:
        case OPERAND_XMM_IMM:
        case OPERAND_XMM0:
            f->xmm = true;
            break;
        default: /* gathers */
            return false;
        }
    }
    return true;
}

static void encode(const struct insn *i, struct host_op *op)
{
    *op = (struct host_op){
        .map = i->map,
        .opcode = i->opcode,
        .has_modrm = true,
        .reg = i->reg,
        .rm = i->rm,
        .wide = i->opsize == 8,
        .immediates = (uint8_t)insn_immediate_bytes(i),
        .immediate = i->imm,
    };
    if (i->prefixes & PREFIX_REPNE)
        op->repeat = 0xf2;
    else if (i->prefixes & PREFIX_REP)
        op->repeat = 0xf3;
    else
        op->operand16 = i->prefixes & PREFIX_66;
    if (i->prefixes & PREFIX_VEX) {
        op->vex = true;
        op->vex_l = insn_vex_l(i);
        op->wide = insn_vex_w(i);
        op->vvvv = (uint8_t)insn_vvvv(i);
    }
}

/* The memory operand: flags are kept. */
static bool reach_memory(struct lowering *l, unsigned n)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    unsigned size = insn_operand_size(i, n);
    if (size == 0 || size > 32 || size & (size - 1))
        return false;
    lower_save_live(l);
    if (!lower_linear(l))
        return false;
    if (i->attr->traits & TRAIT_ALIGNED && size > 1 && !l->shared) {
        EMIT(e, 0x40, 0xf6, 0xc5, (uint8_t)(size - 1)); /* test bpl, size - 1 */
        lower_late(l, LATE_CALL, emit_jump_if(e, CC_NZ, NULL), lower_site(l));
    }
    lower_check(l, size, i->attr->operand[n].access & ACCESS_WRITE);
    if (l->live)
        lower_load_flags(l);
    return true;
}

static bool lower_native(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    struct vector_fields f;
    struct host_op op;
    if (i->map == MAP_ONE || !find_fields(i, &f))
        return false;
    encode(i, &op);
    bool general =
        f.reg || (f.rm && f.rm->kind == OPERAND_RM) || i->attr->implicit_read & BIT(REG_RDX);
    if (lower_is_32(l) && general) /* there are no 64-bit general registers */
        op.wide = false;
    bool mmx = f.mmx_reg || f.mmx_rm;
    if (mmx && !x87_native(l->p))
        return false;
    if (!mmx || f.xmm) {
        if (vector_level(l->p) < lower_vector_level(i))
            return false;
        lower_need_vector(l, lower_vector_level(i));
    }
    if (mmx)
        lower_need_x87(l);
    /* MMX registers are eight: REX does not count. */
    if (f.mmx_reg)
        op.reg &= 7;
    if (f.mmx_rm)
        op.rm &= 7;
    if (f.memory >= 0) {
        if (!reach_memory(l, (unsigned)f.memory))
            return false;
        op.memory = true;
        op.rm = T0;
        op.disp = l->reach;
    }
    /* General registers, at most one of which an instruction has. */
    int reg = f.reg ? lower_register(i->reg) : 0;
    int rm = f.rm && f.memory < 0 ? lower_register(i->rm) : 0;
    if (f.reg) {
        op.reg = (uint8_t)(reg < 0 ? T1 : reg);
        if (reg < 0)
            emit_load(e, T1, HOST_RSP, lower_home(i->reg));
    }
    if (f.rm && f.memory < 0) {
        op.rm = (uint8_t)(rm < 0 ? T0 : rm);
        if (rm < 0)
            emit_load(e, T0, HOST_RSP, lower_home(i->rm));
    }
    emit_op(e, &op);
    if (reg < 0 && f.reg->access & ACCESS_WRITE)
        emit_store(e, HOST_RSP, lower_home(i->reg), T1);
    if (rm < 0 && f.rm->access & ACCESS_WRITE)
        emit_store(e, HOST_RSP, lower_home(i->rm), T0);
    if ((f.memory >= 0 || (l->t1_tlb && !mmx)) && reg >= 0)
        lower_keep_t1(l);
    return true;
}

bool lower_vector(struct lowering *l)
{
    const struct insn *i = l->i;
    if (i->exec == exec_invalid) /* what the host lacks: #UD */
        return false;
    switch (i->attr->op) {
    case OP_NATIVE:
        return lower_native(l);
    case OP_X87:
    case OP_FWAIT:
    case OP_EMMS:
        l->t1_tlb = false; /* T1 is used before the check */
        return lower_x87(l);
    case OP_VZEROUPPER:
    case OP_VZEROALL:
        /* Outside 64-bit mode they know only eight registers. */
        if (vector_level(l->p) < VECTOR_AVX || lower_is_32(l))
            return false;
        lower_need_vector(l, VECTOR_AVX);
        EMIT(&l->e, 0xc5, i->attr->op == OP_VZEROALL ? 0xfc : 0xf8, 0x77);
        return true;
    default:
        return false;
    }
}
