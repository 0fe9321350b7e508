/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * String instructions, upwards.  A repeated MOVS or STOS that stays in one page on each side is the
 * host's own; downwards, longer or none at all it is its handler's, which works page by page.
 */
#include "internal.h"

/* Leaves the instruction to its handler while DF is set.  T1 and flags are lost. */
static void need_upwards(struct lowering *l)
{
    struct emitter *e = &l->e;
    _Static_assert(FLAG_DF == 4 << 8, "in the second byte");
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_P));
    emit_op(e, &(struct host_op){.opcode = 0xf6, /* test byte [T1 + rflags + 1], 4; jnz */
                                 .has_modrm = true,
                                 .memory = true,
                                 .rm = T1,
                                 .disp = offsetof(struct processor, rflags) + 1,
                                 .immediates = 1,
                                 .immediate = 4});
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_NZ, NULL), lower_site(l));
}

/* Between a register and memory at T0, SIZE bytes: 8A loads, 88 stores, 3A compares. */
static void move(struct lowering *l, unsigned opcode, enum host_register r)
{
    unsigned size = l->i->opsize;
    emit_op(&l->e, &(struct host_op){.operand16 = size == 2,
                                     .wide = size == 8,
                                     .opcode = (uint8_t)(opcode | (size > 1)),
                                     .has_modrm = true,
                                     .reg = (uint8_t)r,
                                     .memory = true,
                                     .rm = T0});
}
enum { LOAD = 0x8a, STORE = 0x88, COMPARE = 0x3a };

static void address(struct lowering *l, enum host_register r)
{
    emit_op(&l->e, &(struct host_op){.wide = !lower_is_32(l),
                                     .opcode = 0x8b,
                                     .has_modrm = true,
                                     .reg = T0,
                                     .rm = (uint8_t)r});
}

/* Makes T0 the host address of SIZE bytes at RSI or RDI. */
static void reach_source(struct lowering *l, unsigned size)
{
    address(l, HOST_RSI);
    lower_add_base(l);
    lower_check(l, size, false);
}
static void reach_destination(struct lowering *l, unsigned size, bool write)
{
    address(l, HOST_RDI);
    lower_check(l, size, write);
}
static void advance(struct lowering *l, enum host_register r)
{
    emit_lea(&l->e, r, r, l->i->opsize);
    if (lower_is_32(l))
        emit_truncate(&l->e, r);
}

static void single(struct lowering *l)
{
    struct emitter *e = &l->e;
    unsigned size = l->i->opsize;
    switch (l->i->attr->op) {
    case OP_LODS:
        reach_source(l, size);
        move(l, LOAD, HOST_RAX);
        advance(l, HOST_RSI);
        break;
    case OP_STOS:
        reach_destination(l, size, true);
        move(l, STORE, HOST_RAX);
        advance(l, HOST_RDI);
        break;
    case OP_SCAS:
        reach_destination(l, size, false);
        move(l, COMPARE, HOST_RAX);
        advance(l, HOST_RDI);
        break;
    default: /* MOVS, CMPS: the second check needs both scratch registers */
        reach_source(l, size);
        move(l, LOAD, T1);
        emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T1);
        reach_destination(l, size, l->i->attr->op == OP_MOVS);
        emit_load(e, T1, HOST_RSP, FRAME(FRAME_TARGET));
        move(l, l->i->attr->op == OP_MOVS ? STORE : COMPARE, T1);
        advance(l, HOST_RSI);
        advance(l, HOST_RDI);
        break;
    }
}

/* To the handler unless what lies ahead of address register R, RCX elements, is in one page. */
static void need_one_page(struct lowering *l, enum host_register r)
{
    struct emitter *e = &l->e;
    unsigned shift = (unsigned)__builtin_ctz(l->i->opsize);
    emit_op(e, &(struct host_op){.opcode = 0x8b, .has_modrm = true, .reg = T0, .rm = (uint8_t)r});
    emit_alu_constant(e, ALU_AND, T0, PAGE_BYTES - 1);
    emit_lea_index(e, T0, T0, HOST_RCX, shift, 0);
    emit_alu_constant(e, ALU_CMP, T0, PAGE_BYTES);
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_A, NULL), lower_site(l));
}

static void repeated(struct lowering *l)
{
    struct emitter *e = &l->e;
    const struct insn *i = l->i;
    bool movs = i->attr->op == OP_MOVS;
    /* From 1 to as many as a page holds, all of RCX: so the sums below cannot wrap. */
    emit_lea(e, T0, HOST_RCX, -1);
    emit_alu_constant(e, ALU_CMP, T0, PAGE_BYTES / i->opsize - 1);
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_A, NULL), lower_site(l));
    need_one_page(l, HOST_RDI);
    if (movs) {
        need_one_page(l, HOST_RSI);
        reach_source(l, 1);
        emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T0);
    }
    reach_destination(l, 1, true);
    emit_move(e, T1, HOST_RDI);
    emit_move(e, HOST_RDI, T0);
    if (movs) {
        emit_store(e, HOST_RSP, FRAME(FRAME_SAVE), HOST_RSI);
        emit_load(e, HOST_RSI, HOST_RSP, FRAME(FRAME_TARGET));
    }
    emit_op(e, &(struct host_op){.operand16 = i->opsize == 2,
                                 .repeat = 0xf3,
                                 .wide = i->opsize == 8,
                                 .opcode = i->opcode});
    /* RDI = T1 + (RDI - T0), and RSI moves as far as RDI. */
    EMIT(e, 0x48, 0x29, 0xef); /* sub rdi, T0 */
    if (movs) {
        emit_load(e, HOST_RSI, HOST_RSP, FRAME(FRAME_SAVE));
        EMIT(e, 0x48, 0x01, 0xfe); /* add rsi, rdi */
    }
    EMIT(e, 0x4c, 0x01, 0xdf); /* add rdi, T1 */
    if (lower_is_32(l)) {
        emit_truncate(e, HOST_RDI);
        if (movs)
            emit_truncate(e, HOST_RSI);
    }
}

bool lower_string(struct lowering *l)
{
    const struct insn *i = l->i;
    bool repeats = i->prefixes & (PREFIX_REP | PREFIX_REPNE);
    bool based = i->seg == SEG_FS || i->seg == SEG_GS;
    if (i->addrsize != (lower_is_32(l) ? 4 : 8) || (lower_is_32(l) && based))
        return false;
    /* What lockstep notes of a store is shorter than a page. */
    if (repeats && (l->t->check || based || (i->attr->op != OP_MOVS && i->attr->op != OP_STOS)))
        return false;
    if (l->live)
        lower_save_flags(l);
    need_upwards(l);
    if (repeats)
        repeated(l);
    else
        single(l);
    if (l->live && !(i->attr->flags_written & FLAGS_STATUS))
        lower_load_flags(l);
    return true;
}

/* CLD, STD: DF is the guest's alone. */
bool lower_direction(struct lowering *l)
{
    struct emitter *e = &l->e;
    bool set = l->i->attr->op == OP_STD;
    if (l->live)
        lower_save_flags(l);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_P));
    emit_op(e, &(struct host_op){.opcode = 0x80, /* or, and byte [T1 + rflags + 1] */
                                 .has_modrm = true,
                                 .reg = set ? ALU_OR : ALU_AND,
                                 .memory = true,
                                 .rm = T1,
                                 .disp = offsetof(struct processor, rflags) + 1,
                                 .immediates = 1,
                                 .immediate = set ? 4 : 0xfb});
    if (l->live)
        lower_load_flags(l);
    return true;
}

bool lower_xlat(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->i->addrsize != 8)
        return false;
    if (l->live)
        lower_save_flags(l);
    EMIT(e, 0x44, 0x0f, 0xb6, 0xd8); /* movzx T1d, al */
    emit_lea_index(e, T0, HOST_RBX, T1, 0, 0);
    lower_add_base(l);
    lower_check(l, 1, false);
    EMIT(e, 0x8a, 0x45, 0x00); /* mov al, [T0] */
    if (l->live)
        lower_load_flags(l);
    return true;
}
