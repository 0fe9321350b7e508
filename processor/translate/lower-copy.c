/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* General instructions that are emitted again, with other registers and a host address. */
#include "internal.h"

#include "processor/decode/decode.h"

/* Registers that no implicit operand may be in: the host's are used for something else. */
#define MOVED_REGISTERS (BIT(REG_RSP) | BIT(REG_RBP) | BIT(REG_R9) | BIT(REG_R10) | BIT(REG_R11))

/* Where an operand register of the instruction is, while it runs. */
struct place {
    unsigned guest;
    unsigned host;
    bool homeless; /* HOST is scratch */
    bool written;
    bool loaded; /* its old value counts */
};

/* The register fields of an instruction. */
struct fields {
    const struct operand *reg, *rm, *v;
    bool opcode_reg;
};

static bool find_fields(const struct insn *i, struct fields *f)
{
    *f = (struct fields){0};
    for (unsigned n = 0; n < ARRAY_SIZE(i->attr->operand); n++) {
        const struct operand *o = &i->attr->operand[n];
        switch (o->kind) {
        case OPERAND_REG:
            f->reg = o;
            break;
        case OPERAND_OPREG:
            f->opcode_reg = true;
            f->rm = o;
            break;
        case OPERAND_RM:
        case OPERAND_MEM:
        case OPERAND_MOFFS:
            f->rm = o;
            break;
        case OPERAND_VREG:
            f->v = o;
            break;
        case OPERAND_NONE:
        case OPERAND_ACC:
        case OPERAND_IMM:
            break;
        default:
            return false;
        }
    }
    return true;
}

static unsigned operand_size(const struct insn *i, const struct operand *o)
{
    return insn_operand_size(i, (unsigned)(o - i->attr->operand));
}

/* What only part of the register is written to, the rest of it keeps. */
static struct place place_of(const struct insn *i, unsigned r, enum host_register scratch,
                             const struct operand *o)
{
    int host = lower_register(r);
    return (struct place){
        .guest = r & 15,
        .host = host < 0 ? scratch : (unsigned)host,
        .homeless = host < 0,
        .written = o->access & ACCESS_WRITE,
        .loaded = host < 0 && (o->access & ACCESS_READ || operand_size(i, o) < 4),
    };
}

/* Encodings that are not what they were in 64-bit code, as others of the same operation: INC and
 * DEC of 40 to 4F, 82 for 80, MOV with an absolute address. */
static void modernize(const struct insn *i, struct host_op *op)
{
    if (i->map != MAP_ONE)
        return;
    if (i->opcode >= 0x40 && i->opcode < 0x50) {
        op->opcode = 0xff;
        op->has_modrm = true;
        op->reg = i->attr->op == OP_DEC;
        op->opcode_reg = false;
    } else if (i->opcode == 0x82) {
        op->opcode = 0x80;
    } else if (i->opcode >= 0xa0 && i->opcode < 0xa4) {
        op->opcode = (i->opcode & 2 ? 0x88 : 0x8a) | (i->opcode & 1);
        op->reg = 0;
        op->immediates = 0;
    }
}

/* The number that the encoding has for R at HOST as an operand of SIZE bytes.  False: not beside a
 * REX prefix. */
static void encode_register(struct host_op *op, uint8_t *field, unsigned r, unsigned host,
                            unsigned size, bool *high)
{
    *field = (uint8_t)host;
    if (size != 1)
        return;
    if (r & REG_HIGH) {
        *field = (uint8_t)(host + 4);
        *high = true;
    } else if (host >= 4 && host < 8) {
        op->low_byte = true;
    }
}

bool lower_copy(struct lowering *l)
{
    const struct insn *i = l->i;
    const struct insn_attr *a = i->attr;
    struct emitter *e = &l->e;
    struct fields f;
    if (!find_fields(i, &f) || (a->implicit_read | a->implicit_written) & MOVED_REGISTERS)
        return false;
    bool memory = f.rm && !f.opcode_reg && !i->mod3, high = false;
    unsigned size = memory ? operand_size(i, f.rm) : 0;
    if (memory && (size == 0 || size > 16 || f.rm->access == ACCESS_NONE))
        return false;

    struct host_op op = {
        .lock = i->prefixes & PREFIX_LOCK,
        .operand16 = i->prefixes & PREFIX_66,
        .wide = i->opsize == 8,
        .map = i->map,
        .opcode = i->opcode,
        .has_modrm = f.rm && !f.opcode_reg,
        .reg = i->modrm >> 3 & 7,
        .memory = memory,
        .opcode_reg = f.opcode_reg,
        .immediates = (uint8_t)insn_immediate_bytes(i),
        .immediate = i->imm,
    };
    if (i->map != MAP_ONE)
        op.repeat = i->prefixes & PREFIX_REPNE ? 0xf2 : i->prefixes & PREFIX_REP ? 0xf3 : 0;
    if (i->prefixes & PREFIX_VEX) {
        op.vex = true;
        op.vex_l = insn_vex_l(i);
        op.wide = insn_vex_w(i) && !lower_is_32(l);
    }
    modernize(i, &op);

    /* Scratch: T0 for ModRM.rm, T1 for the others. */
    struct place reg = {0}, rm = {0}, v = {0};
    if (f.reg)
        reg = place_of(i, i->reg, T1, f.reg);
    if (f.rm && !memory)
        rm = place_of(i, i->rm, T0, f.rm);
    if (f.v)
        v = place_of(i, insn_vvvv(i), T1, f.v);
    if (reg.homeless && v.homeless &&
        (reg.guest == v.guest ? reg.written || v.written
                              : (f.reg->access != ACCESS_WRITE || v.written)))
        return false;
    /* One register twice is in one place; but beside a third, what is only written shares T1. */
    if (rm.homeless && v.homeless ? rm.guest == v.guest
                                  : rm.homeless && reg.homeless && rm.guest == reg.guest)
        rm.host = T1;
    if (f.reg)
        encode_register(&op, &op.reg, i->reg, reg.host, operand_size(i, f.reg), &high);
    if (f.rm && !memory)
        encode_register(&op, &op.rm, i->rm, rm.host, operand_size(i, f.rm), &high);
    if (memory) {
        op.rm = T0;
        op.disp = l->reach;
    }
    op.vvvv = (uint8_t)v.host;
    if (high && (op.wide || op.low_byte || (op.has_modrm && op.reg & 8) || op.rm & 8))
        return false;

    if (memory) {
        lower_save_live(l);
        if (!lower_linear(l))
            return false;
        if (size == 16) {                  /* CMPXCHG16B: aligned, else #GP */
            EMIT(e, 0x40, 0xf6, 0xc5, 15); /* test bpl, 15 */
            lower_late(l, LATE_CALL, emit_jump_if(e, CC_NZ, NULL), lower_site(l));
        }
        lower_check(l, size, f.rm->access & ACCESS_WRITE);
        if (l->live)
            lower_load_flags(l);
    }
    /* What is in T1: V, or what comes without it, and RM if it is the same register. */
    const struct place *first = v.homeless ? &v : &reg;
    if (first->homeless && (first->loaded || (rm.loaded && rm.host == T1)))
        emit_load(e, T1, HOST_RSP, lower_home(first->guest));
    if (rm.loaded && rm.host == T0)
        emit_load(e, T0, HOST_RSP, lower_home(rm.guest));
    emit_op(e, &op);
    if (reg.homeless && reg.written)
        emit_store(e, HOST_RSP, lower_home(reg.guest), (enum host_register)reg.host);
    if (rm.homeless && rm.written)
        emit_store(e, HOST_RSP, lower_home(rm.guest), (enum host_register)rm.host);
    if (v.homeless && v.written)
        emit_store(e, HOST_RSP, lower_home(v.guest), (enum host_register)v.host);
    if ((memory || l->t1_tlb) && !reg.homeless && !v.homeless && !(rm.homeless && rm.host == T1))
        lower_keep_t1(l);
    return true;
}

/* BT and kin.  A bit offset in a register reaches beyond a memory operand: its upper part counts
 * operands, its lower part bits in one. */
bool lower_bit_test(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    bool wide = i->opsize == 8;
    if (i->mod3 || i->attr->operand[1].kind != OPERAND_REG)
        return lower_copy(l);
    if (i->opsize == 2 || i->addrsize != (lower_is_32(l) ? 4 : 8))
        return false;
    if (l->live)
        lower_save_flags(l);
    if (!lower_effective(l, T0, 8))
        return false;
    lower_fetch(l, T1, i->reg);
    if (!wide)
        EMIT(e, 0x4d, 0x63, 0xdb);           /* movsxd T1, T1d */
    EMIT(e, 0x49, 0xc1, 0xfb, wide ? 6 : 5); /* sar T1, 6 or 5 */
    emit_lea_index(e, T0, T0, T1, wide ? 3 : 2, 0);
    if (lower_is_32(l))
        emit_truncate(e, T0);
    lower_add_base(l);
    lower_check(l, i->opsize, i->attr->operand[0].access & ACCESS_WRITE);
    lower_fetch(l, T1, i->reg);
    emit_alu_constant(e, ALU_AND, T1, wide ? 63 : 31);
    emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T1);
    if (l->live)
        lower_load_flags(l);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_TARGET));
    emit_op(e, &(struct host_op){.lock = i->prefixes & PREFIX_LOCK,
                                 .wide = wide,
                                 .map = i->map,
                                 .opcode = i->opcode,
                                 .has_modrm = true,
                                 .reg = T1,
                                 .memory = true,
                                 .rm = T0});
    return true;
}

bool lower_lea(struct lowering *l)
{
    const struct insn *i = l->i;
    if (i->opsize == 2)
        return false;
    int host = lower_register(i->reg);
    enum host_register to = host < 0 ? T1 : (enum host_register)host;
    if (!lower_effective(l, to, i->opsize))
        return false;
    if (host < 0)
        emit_store(&l->e, HOST_RSP, lower_home(i->reg), to);
    else if (l->t1_tlb)
        lower_keep_t1(l);
    return true;
}

bool lower_nop(struct lowering *l)
{
    /* Fences order guest accesses, which are host accesses. */
    if (l->i->map == MAP_0F && l->i->opcode == 0xae)
        EMIT(&l->e, 0x0f, 0xae, l->i->modrm);
    if (l->t1_tlb)
        lower_keep_t1(l);
    return true;
}

/* DIV and IDIV of 4 or 8 bytes.  What could raise #DE is left to the handler: for DIV a dividend
 * whose upper half is not below the divisor; for IDIV, to keep the test short, every dividend that
 * is not the sign extension of its lower half, and the divisors 0 and -1. */
bool lower_divide(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    bool is_signed = i->attr->op == OP_IDIV;
    if (i->opsize < 4)
        return false;
    if (l->live)
        lower_save_flags(l);
    struct host_op divisor = {.wide = i->opsize == 8, .has_modrm = true};
    if (i->mod3) {
        int host = lower_register(i->rm);
        divisor.rm = (uint8_t)(host < 0 ? T0 : host);
        if (host < 0)
            emit_load(e, T0, HOST_RSP, lower_home(i->rm));
    } else {
        if (!lower_linear(l))
            return false;
        lower_check(l, i->opsize, false);
        divisor.memory = true;
        divisor.rm = T0;
    }
    struct host_op op = divisor;
    uint32_t site = lower_site(l);
    if (is_signed) {
        /* mov T1, rax; sar T1, 63 or 31; cmp T1, rdx; jne */
        uint8_t rex = divisor.wide ? 0x49 : 0x41;
        EMIT(e, rex, 0x89, 0xc3, rex, 0xc1, 0xfb, divisor.wide ? 63 : 31, rex, 0x39, 0xd3);
        lower_late(l, LATE_CALL, emit_jump_if(e, CC_NZ, NULL), site);
        op.opcode = 0x8b; /* mov T1, divisor; add T1, 1; cmp T1, 1; jbe */
        op.reg = T1;
        emit_op(e, &op);
        EMIT(e, rex, 0x83, 0xc3, 1, rex, 0x83, 0xfb, 1);
        lower_late(l, LATE_CALL, emit_jump_if(e, CC_BE, NULL), site);
    } else {
        op.opcode = 0x3b; /* cmp rdx, divisor; jae */
        op.reg = HOST_RDX;
        emit_op(e, &op);
        lower_late(l, LATE_CALL, emit_jump_if(e, CC_NC, NULL), site);
    }
    if (l->live)
        lower_load_flags(l);
    op = divisor;
    op.opcode = 0xf7;
    op.reg = is_signed ? 7 : 6;
    emit_op(e, &op);
    return true;
}
