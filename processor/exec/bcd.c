/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* AAA AAS AAM AAD DAA DAS, which 64-bit mode does not have (SDM volume 2's pseudocode). */
#include "exec.h"

/* SF, ZF and PF of AL. */
static uint32_t flags_of_byte(uint8_t value)
{
    return (value ? 0 : FLAG_ZF) | (value & 0x80 ? FLAG_SF : 0) |
           (__builtin_parity(value) ? 0 : FLAG_PF);
}

/* AAA with SIGN 1, AAS with -1. */
static inline const struct insn *adjust_after(struct processor *p, const struct insn *i, int sign)
{
    uint16_t ax = (uint16_t)p->gpr[REG_RAX];
    bool adjust = (ax & 15) > 9 || p->status & FLAG_AF;
    if (adjust)
        ax = (uint16_t)(ax + sign * 0x106);
    ax &= 0xff0f;
    reg_write(p, REG_RAX, ax, 2);
    p->status = flags_of_byte((uint8_t)ax) | (adjust ? FLAG_AF | FLAG_CF : 0);
    return next_insn(p, i);
}
HANDLER(aaa)
{
    return adjust_after(p, i, 1);
}
HANDLER(aas)
{
    return adjust_after(p, i, -1);
}

/* DAA with SIGN 1, DAS with -1. */
static inline const struct insn *decimal_adjust(struct processor *p, const struct insn *i, int sign)
{
    uint8_t old = (uint8_t)p->gpr[REG_RAX], al = old;
    bool low = (old & 15) > 9 || p->status & FLAG_AF;
    bool high = old > 0x99 || p->status & FLAG_CF;
    /* The carry of the first step counts only in DAS: in DAA it implies the second. */
    bool carry = high || (sign < 0 && low && old < 6);
    al = (uint8_t)(al + (low ? sign * 6 : 0) + (high ? sign * 0x60 : 0));
    *byte_register(p, REG_RAX) = al;
    p->status = flags_of_byte(al) | (low ? FLAG_AF : 0) | (carry ? FLAG_CF : 0);
    return next_insn(p, i);
}
HANDLER(daa)
{
    return decimal_adjust(p, i, 1);
}
HANDLER(das)
{
    return decimal_adjust(p, i, -1);
}

HANDLER(aam)
{
    uint8_t base = (uint8_t)i->imm, al = (uint8_t)p->gpr[REG_RAX];
    if (base == 0)
        raise_fault(p, VECTOR_DE, 0);
    reg_write(p, REG_RAX, (uint64_t)(al / base) << 8 | al % base, 2);
    p->status = flags_of_byte(al % base);
    return next_insn(p, i);
}
HANDLER(aad)
{
    uint16_t ax = (uint16_t)p->gpr[REG_RAX];
    uint8_t al = (uint8_t)(ax + (ax >> 8) * (uint8_t)i->imm);
    reg_write(p, REG_RAX, al, 2);
    p->status = flags_of_byte(al);
    return next_insn(p, i);
}

exec_fn *exec_bind_bcd(const struct insn *i, uint32_t mode)
{
    static exec_fn *const table[] = {[OP_AAA] = aaa, [OP_AAS] = aas, [OP_AAM] = aam,
                                     [OP_AAD] = aad, [OP_DAA] = daa, [OP_DAS] = das};
    (void)mode;
    return table[i->attr->op];
}
