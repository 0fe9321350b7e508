/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MOV MOVNTI MOVBE BSWAP LEA XLAT, MOVZX MOVSX MOVSXD, CBW CWD and kin, CMOVcc SETcc. */
#include "exec.h"

ALWAYS_INLINE const struct insn *mov_rg(struct processor *p, const struct insn *i, unsigned size)
{
    reg_write(p, i->rm, reg_read(p, i->reg, size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_gr(struct processor *p, const struct insn *i, unsigned size)
{
    reg_write(p, i->reg, reg_read(p, i->rm, size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_ri(struct processor *p, const struct insn *i, unsigned size)
{
    reg_write(p, i->rm, i->imm, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_gi(struct processor *p, const struct insn *i, unsigned size)
{
    reg_write(p, i->reg, i->imm, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_gm(struct processor *p, const struct insn *i, unsigned size)
{
    reg_write(p, i->reg, mem_read(p, insn_linear(p, i, size, MEM_READ), size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_mg(struct processor *p, const struct insn *i, unsigned size)
{
    mem_write(p, insn_linear(p, i, size, MEM_WRITE), reg_read(p, i->reg, size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_mi(struct processor *p, const struct insn *i, unsigned size)
{
    mem_write(p, insn_linear(p, i, size, MEM_WRITE), i->imm, size);
    return next_insn(p, i);
}
SIZED(mov_rg)
SIZED(mov_gr)
SIZED(mov_ri)
SIZED(mov_gi)
SIZED(mov_gm)
SIZED(mov_mg)
SIZED(mov_mi)

ALWAYS_INLINE const struct insn *mov_gm64(struct processor *p, const struct insn *i, unsigned size)
{
    void *host;
    if (!operand_hit(p, i, size, MEM_READ, &host))
        return mov_gm_sized[size_index(size)](p, i);
    reg_write(p, i->reg, host_load(host, size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_mg64(struct processor *p, const struct insn *i, unsigned size)
{
    void *host;
    if (!operand_hit(p, i, size, MEM_WRITE, &host))
        return mov_mg_sized[size_index(size)](p, i);
    host_store(host, reg_read(p, i->reg, size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *mov_mi64(struct processor *p, const struct insn *i, unsigned size)
{
    void *host;
    if (!operand_hit(p, i, size, MEM_WRITE, &host))
        return mov_mi_sized[size_index(size)](p, i);
    host_store(host, i->imm, size);
    return next_insn(p, i);
}
SIZED(mov_gm64)
SIZED(mov_mg64)
SIZED(mov_mi64)

/* ---------------------------------------------------------------- LEA, MOVBE, BSWAP, XLAT */

ALWAYS_INLINE const struct insn *lea(struct processor *p, const struct insn *i, unsigned size)
{
    reg_write(p, i->reg, insn_ea(p, i), size);
    return next_insn(p, i);
}
SIZED_WORDS(lea)
/* 64-bit addresses, the result of 4 or 8 bytes. */
HANDLER(lea64_8)
{
    p->gpr[i->reg] = p->gpr[i->base] + (p->gpr[i->index] << i->scale) + (uint64_t)i->disp;
    return next_insn(p, i);
}
HANDLER(lea64_4)
{
    p->gpr[i->reg] =
        (uint32_t)(p->gpr[i->base] + (p->gpr[i->index] << i->scale) + (uint64_t)i->disp);
    return next_insn(p, i);
}

ALWAYS_INLINE uint64_t swap_bytes(uint64_t value, unsigned size)
{
    return size == 2   ? __builtin_bswap16((uint16_t)value)
           : size == 4 ? __builtin_bswap32((uint32_t)value)
                       : __builtin_bswap64(value);
}
ALWAYS_INLINE const struct insn *movbe(struct processor *p, const struct insn *i, unsigned size)
{
    if (i->attr->operand[0].kind == OPERAND_REG)
        reg_write(p, i->reg, swap_bytes(rm_read(p, i, size), size), size);
    else
        rm_write(p, i, swap_bytes(reg_read(p, i->reg, size), size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *bswap(struct processor *p, const struct insn *i, unsigned size)
{
    if (size == 2) { /* undefined: what the host does */
        asm(".byte 0x66\n\tbswap %k0" : "+r"(p->gpr[i->rm]));
        return next_insn(p, i);
    }
    reg_write(p, i->rm, swap_bytes(p->gpr[i->rm], size), size);
    return next_insn(p, i);
}
SIZED_WORDS(movbe)
SIZED_WORDS(bswap)

HANDLER(xlat)
{
    uint64_t ea = p->gpr[REG_RBX] + (uint8_t)p->gpr[REG_RAX];
    if (i->addrsize != 8)
        ea = i->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
    *byte_register(p, REG_RAX) = mem_read8(p, segment_linear(p, i->seg, ea, 1, MEM_READ));
    return next_insn(p, i);
}

exec_fn *exec_bind_move(const struct insn *i, uint32_t mode)
{
    static exec_fn *const *const mov_table[FORM_COUNT] = {
        [FORM_RG] = mov_rg_sized,     [FORM_GR] = mov_gr_sized,     [FORM_RI] = mov_ri_sized,
        [FORM_GI] = mov_gi_sized,     [FORM_GM] = mov_gm_sized,     [FORM_MG] = mov_mg_sized,
        [FORM_MI] = mov_mi_sized,     [FORM_GM64] = mov_gm64_sized, [FORM_MG64] = mov_mg64_sized,
        [FORM_MI64] = mov_mi64_sized,
    };
    unsigned size = insn_operand_size(i, 0);
    switch (i->attr->op) {
    case OP_MOV:
    case OP_MOVNTI: {
        enum form form = exec_form(i, mode);
        return form == FORM_COUNT ? exec_invalid : mov_table[form][size_index(size)];
    }
    case OP_LEA:
        if (insn_is_fast64(i, mode) && size >= 4)
            return size == 8 ? lea64_8 : lea64_4;
        return lea_sized[size_index(size)];
    case OP_MOVBE:
        return movbe_sized[size_index(size)];
    case OP_BSWAP:
        return bswap_sized[size_index(size)];
    default:
        return xlat;
    }
}

/* ---------------------------------------------------------------- extensions */

#define EXTEND(name, type, from, to, result)                                                       \
    HANDLER(name##_r_##from##_##to)                                                                \
    {                                                                                              \
        reg_write(p, i->reg, (uint64_t)(result)(type)reg_read(p, i->rm, from), to);                \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_m_##from##_##to)                                                                \
    {                                                                                              \
        uint64_t value = mem_read(p, insn_linear(p, i, from, MEM_READ), from);                     \
        reg_write(p, i->reg, (uint64_t)(result)(type)value, to);                                   \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_m64_##from##_##to)                                                              \
    {                                                                                              \
        void *host;                                                                                \
        if (!operand_hit(p, i, from, MEM_READ, &host))                                             \
            return name##_m_##from##_##to(p, i);                                                   \
        reg_write(p, i->reg, (uint64_t)(result)(type)host_load(host, from), to);                   \
        return next_insn(p, i);                                                                    \
    }
#define EXTENDS(from, unsigned_type, signed_type)                                                  \
    EXTEND(movzx, unsigned_type, from, 2, uint64_t)                                                \
    EXTEND(movzx, unsigned_type, from, 4, uint64_t)                                                \
    EXTEND(movzx, unsigned_type, from, 8, uint64_t)                                                \
    EXTEND(movsx, signed_type, from, 2, int64_t)                                                   \
    EXTEND(movsx, signed_type, from, 4, int64_t)                                                   \
    EXTEND(movsx, signed_type, from, 8, int64_t)
EXTENDS(1, uint8_t, int8_t)
EXTENDS(2, uint16_t, int16_t)
EXTENDS(4, uint32_t, int32_t)

#define EXTEND_FORM(name, form)                                                                    \
    {                                                                                              \
        {name##_##form##_1_2, name##_##form##_1_4, name##_##form##_1_8},                           \
            {name##_##form##_2_2, name##_##form##_2_4, name##_##form##_2_8},                       \
            {name##_##form##_4_2, name##_##form##_4_4, name##_##form##_4_8},                       \
    }

exec_fn *exec_bind_extend(const struct insn *i, uint32_t mode)
{
    /* by signedness, form (register, memory, 64-bit memory), source size, destination size */
    static exec_fn *const table[2][3][3][3] = {
        {EXTEND_FORM(movzx, r), EXTEND_FORM(movzx, m), EXTEND_FORM(movzx, m64)},
        {EXTEND_FORM(movsx, r), EXTEND_FORM(movsx, m), EXTEND_FORM(movsx, m64)},
    };
    unsigned form = i->mod3 ? 0 : insn_is_fast64(i, mode) ? 2 : 1;
    unsigned to = insn_operand_size(i, 0), from = insn_operand_size(i, 1);
    if (from > 4 || to < 2)
        return exec_invalid;
    return table[i->attr->op != OP_MOVZX][form][size_index(from)][size_index(to) - 1];
}

/* CBW, CWDE, CDQE: the accumulator's upper half from its lower. */
HANDLER(cbw_2)
{
    reg_write(p, REG_RAX, (uint64_t)(int8_t)p->gpr[REG_RAX], 2);
    return next_insn(p, i);
}
HANDLER(cbw_4)
{
    reg_write(p, REG_RAX, (uint64_t)(int16_t)p->gpr[REG_RAX], 4);
    return next_insn(p, i);
}
HANDLER(cbw_8)
{
    p->gpr[REG_RAX] = (uint64_t)(int32_t)p->gpr[REG_RAX];
    return next_insn(p, i);
}
/* CWD, CDQ, CQO: rDX filled with the accumulator's sign. */
ALWAYS_INLINE const struct insn *cwd(struct processor *p, const struct insn *i, unsigned size)
{
    reg_write(p, REG_RDX, p->gpr[REG_RAX] >> (8 * size - 1) & 1 ? ~0ull : 0, size);
    return next_insn(p, i);
}
SIZED_WORDS(cwd)

exec_fn *exec_bind_convert(const struct insn *i, uint32_t mode)
{
    static exec_fn *const cbw_sized[4] = {exec_invalid, cbw_2, cbw_4, cbw_8};
    (void)mode;
    return (i->attr->op == OP_CBW ? cbw_sized : cwd_sized)[size_index(i->opsize)];
}

/* ---------------------------------------------------------------- conditional */

#define EACH_CONDITION(X)                                                                          \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

/* A false condition still reads the source, and with 4 bytes still clears the upper half. */
ALWAYS_INLINE void cmov_write(struct processor *p, const struct insn *i, bool taken, uint64_t value,
                              unsigned size)
{
    uint64_t old = p->gpr[i->reg];
    if (size == 2)
        value = (old & ~0xffffull) | (value & 0xffff);
    else if (size == 4)
        old = (uint32_t)old;
    p->gpr[i->reg] = taken ? value : old;
}
ALWAYS_INLINE const struct insn *cmov(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t value = rm_read(p, i, size);
    bool taken = condition(p, i->opcode & 15);
    uint64_t old = reg_read(p, i->reg, size);
    reg_write(p, i->reg, taken ? value : old, size);
    return next_insn(p, i);
}
SIZED_WORDS(cmov)

/* The common case, registers of 4 and 8 bytes, has a handler for each condition. */
#define CMOV_REGISTER(cc)                                                                          \
    HANDLER(cmov_r4_##cc)                                                                          \
    {                                                                                              \
        cmov_write(p, i, condition(p, cc), (uint32_t)p->gpr[i->rm], 4);                            \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(cmov_r8_##cc)                                                                          \
    {                                                                                              \
        cmov_write(p, i, condition(p, cc), p->gpr[i->rm], 8);                                      \
        return next_insn(p, i);                                                                    \
    }
EACH_CONDITION(CMOV_REGISTER)

exec_fn *exec_bind_cmov(const struct insn *i, uint32_t mode)
{
#define ROW(cc) {cmov_r4_##cc, cmov_r8_##cc},
    static exec_fn *const registers[16][2] = {EACH_CONDITION(ROW)};
#undef ROW
    unsigned size = insn_operand_size(i, 0);
    (void)mode;
    if (i->mod3 && size >= 4)
        return registers[i->opcode & 15][size == 8];
    return cmov_sized[size_index(size)];
}

HANDLER(setcc)
{
    rm_write(p, i, condition(p, i->opcode & 15), 1);
    return next_insn(p, i);
}
#define SETCC_REGISTER(cc)                                                                         \
    HANDLER(setcc_r_##cc)                                                                          \
    {                                                                                              \
        *byte_register(p, i->rm) = condition(p, cc);                                               \
        return next_insn(p, i);                                                                    \
    }
EACH_CONDITION(SETCC_REGISTER)

exec_fn *exec_bind_setcc(const struct insn *i, uint32_t mode)
{
#define ROW(cc) setcc_r_##cc,
    static exec_fn *const registers[16] = {EACH_CONDITION(ROW)};
#undef ROW
    (void)mode;
    return i->mod3 ? registers[i->opcode & 15] : setcc;
}
