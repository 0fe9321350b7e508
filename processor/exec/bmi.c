/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * BMI1, BMI2 and ADX, in plain C: the host need not have them.  Operands are 4 or 8 bytes.
 * Undefined flags keep their values where the SDM leaves that open.
 */
#include "exec.h"

ALWAYS_INLINE uint64_t truncate_to(uint64_t value, unsigned size)
{
    return size == 8 ? value : (uint32_t)value;
}
/* SF and ZF by RESULT, OF clear, CF as given. */
ALWAYS_INLINE void set_flags(struct processor *p, uint64_t result, bool carry, unsigned size)
{
    p->status = (p->status & (FLAG_AF | FLAG_PF)) | carry | (result ? 0 : FLAG_ZF) |
                (result >> (size * 8 - 1) ? FLAG_SF : 0);
}
ALWAYS_INLINE uint64_t vvvv_read(struct processor *p, const struct insn *i, unsigned size)
{
    return reg_read(p, insn_vvvv(i), size);
}

ALWAYS_INLINE const struct insn *andn(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t result = ~vvvv_read(p, i, size) & rm_read(p, i, size);
    set_flags(p, result, false, size);
    reg_write(p, i->reg, result, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *bextr(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t result = rm_read(p, i, size), control = vvvv_read(p, i, size);
    unsigned start = control & 0xff, length = control >> 8 & 0xff;
    result = start < size * 8 ? result >> start : 0;
    if (length < size * 8)
        result &= BIT(length) - 1;
    set_flags(p, result, false, size);
    reg_write(p, i->reg, result, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *blsi(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size), result = source & -source;
    set_flags(p, result, source != 0, size);
    reg_write(p, insn_vvvv(i), result, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *blsmsk(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size), result = truncate_to(source ^ (source - 1), size);
    set_flags(p, result, source == 0, size);
    reg_write(p, insn_vvvv(i), result, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *blsr(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size), result = source & (source - 1);
    set_flags(p, result, source == 0, size);
    reg_write(p, insn_vvvv(i), result, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *bzhi(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t result = rm_read(p, i, size);
    unsigned index = vvvv_read(p, i, size) & 0xff;
    if (index < size * 8)
        result &= BIT(index) - 1;
    set_flags(p, result, index >= size * 8, size);
    reg_write(p, i->reg, result, size);
    return next_insn(p, i);
}
SIZED_WORDS(andn)
SIZED_WORDS(bextr)
SIZED_WORDS(blsi)
SIZED_WORDS(blsmsk)
SIZED_WORDS(blsr)
SIZED_WORDS(bzhi)

/* The high half is written last: it stays when both destinations are one register. */
ALWAYS_INLINE const struct insn *mulx(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t a = reg_read(p, REG_RDX, size), b = rm_read(p, i, size);
    unsigned __int128 product = (unsigned __int128)a * b;
    reg_write(p, insn_vvvv(i), (uint64_t)product, size);
    reg_write(p, i->reg, (uint64_t)(product >> (size * 8)), size);
    return next_insn(p, i);
}
/* Deposits the low bits of the source where the mask has ones; gathers them from there. */
ALWAYS_INLINE const struct insn *pdep(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = vvvv_read(p, i, size), mask = rm_read(p, i, size), result = 0;
    for (; mask; mask &= mask - 1, source >>= 1)
        result |= source & 1 ? mask & -mask : 0;
    reg_write(p, i->reg, result, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *pext(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = vvvv_read(p, i, size), mask = rm_read(p, i, size), result = 0;
    for (uint64_t bit = 1; mask; mask &= mask - 1, bit <<= 1)
        result |= source & mask & -mask ? bit : 0;
    reg_write(p, i->reg, result, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *rorx(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    unsigned count = i->imm & (size * 8 - 1);
    if (count)
        source = source >> count | source << (size * 8 - count);
    reg_write(p, i->reg, source, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *sarx(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    int64_t value = size == 8 ? (int64_t)source : (int32_t)source;
    reg_write(p, i->reg, (uint64_t)(value >> (vvvv_read(p, i, size) & (size * 8 - 1))), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *shlx(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    reg_write(p, i->reg, source << (vvvv_read(p, i, size) & (size * 8 - 1)), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *shrx(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    reg_write(p, i->reg, source >> (vvvv_read(p, i, size) & (size * 8 - 1)), size);
    return next_insn(p, i);
}
SIZED_WORDS(mulx)
SIZED_WORDS(pdep)
SIZED_WORDS(pext)
SIZED_WORDS(rorx)
SIZED_WORDS(sarx)
SIZED_WORDS(shlx)
SIZED_WORDS(shrx)

/* ADCX and ADOX: addition with CF, or OF, as carry in and out, and no other flag. */
ALWAYS_INLINE const struct insn *add_with(struct processor *p, const struct insn *i, uint32_t flag,
                                          unsigned size)
{
    uint64_t a = reg_read(p, i->reg, size), b = rm_read(p, i, size);
    bool carry_in = p->status & flag;
    unsigned __int128 sum = (unsigned __int128)a + b + carry_in;
    p->status = (p->status & ~flag) | (sum >> (size * 8) ? flag : 0);
    reg_write(p, i->reg, (uint64_t)sum, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *adcx(struct processor *p, const struct insn *i, unsigned size)
{
    return add_with(p, i, FLAG_CF, size);
}
ALWAYS_INLINE const struct insn *adox(struct processor *p, const struct insn *i, unsigned size)
{
    return add_with(p, i, FLAG_OF, size);
}
SIZED_WORDS(adcx)
SIZED_WORDS(adox)

exec_fn *exec_bind_bmi(const struct insn *i, uint32_t mode)
{
    static exec_fn *const *const table[] = {
        [OP_ANDN] = andn_sized,     [OP_BEXTR] = bextr_sized, [OP_BLSI] = blsi_sized,
        [OP_BLSMSK] = blsmsk_sized, [OP_BLSR] = blsr_sized,   [OP_BZHI] = bzhi_sized,
        [OP_MULX] = mulx_sized,     [OP_PDEP] = pdep_sized,   [OP_PEXT] = pext_sized,
        [OP_RORX] = rorx_sized,     [OP_SARX] = sarx_sized,   [OP_SHLX] = shlx_sized,
        [OP_SHRX] = shrx_sized,     [OP_ADCX] = adcx_sized,   [OP_ADOX] = adox_sized,
    };
    (void)mode;
    return table[i->attr->op][size_index(insn_operand_size(i, 0))];
}
