/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* BT BTS BTR BTC, BSF BSR TZCNT LZCNT POPCNT, CRC32. */
#include "exec.h"

/* ---------------------------------------------------------------- BT and kin */

/* Each acts on one word *d with a bit number below its width, and returns the bit's old value in
 * CF's place.  SF, ZF, AF, PF and OF keep their values (all but ZF are undefined). */
#define BIT_TEXT(text, suffix, type)                                                               \
    asm volatile(text suffix " %[bit], %[d]"                                                       \
                 : [d] "+m"(*(type *)d), "=@ccc"(old)                                              \
                 : [bit] "r"((type)bit)                                                            \
                 : "memory")
#define BIT_FUNCTION(name, text)                                                                   \
    ALWAYS_INLINE bool name(void *d, uint64_t bit, unsigned size)                                  \
    {                                                                                              \
        bool old;                                                                                  \
        switch (size) {                                                                            \
        case 2:                                                                                    \
            BIT_TEXT(text, "w", mem_u16);                                                          \
            break;                                                                                 \
        case 4:                                                                                    \
            BIT_TEXT(text, "l", mem_u32);                                                          \
            break;                                                                                 \
        default:                                                                                   \
            BIT_TEXT(text, "q", mem_u64);                                                          \
            break;                                                                                 \
        }                                                                                          \
        return old;                                                                                \
    }
BIT_FUNCTION(bts_at, "bts")
BIT_FUNCTION(btr_at, "btr")
BIT_FUNCTION(btc_at, "btc")
BIT_FUNCTION(bts_locked, "lock bts")
BIT_FUNCTION(btr_locked, "lock btr")
BIT_FUNCTION(btc_locked, "lock btc")

ALWAYS_INLINE void set_carry(struct processor *p, bool carry)
{
    p->status = (p->status & ~FLAG_CF) | carry;
}

/* The bit offset: an immediate is taken modulo the width; with memory a register is a signed
 * distance from the operand, whose address moves by whole words. */
ALWAYS_INLINE bool bit_by_register(const struct insn *i)
{
    return i->attr->operand[1].kind == OPERAND_REG;
}
ALWAYS_INLINE uint64_t bit_linear(struct processor *p, const struct insn *i, unsigned size,
                                  unsigned access)
{
    uint64_t ea = insn_ea(p, i);
    if (bit_by_register(i)) {
        uint64_t offset = p->gpr[i->reg];
        int64_t bit = size == 2 ? (int16_t)offset : size == 4 ? (int32_t)offset : (int64_t)offset;
        unsigned shift = size == 2 ? 4 : size == 4 ? 5 : 6;
        ea += (uint64_t)(bit >> shift) * size;
        if (i->addrsize != 8)
            ea = i->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
    }
    return segment_linear(p, i->seg, ea, size, access);
}
ALWAYS_INLINE uint64_t bit_number(struct processor *p, const struct insn *i, unsigned size)
{
    return (bit_by_register(i) ? p->gpr[i->reg] : i->imm) & (size * 8 - 1);
}

ALWAYS_INLINE const struct insn *bt(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t bit = bit_number(p, i, size);
    uint64_t value = i->mod3 ? p->gpr[i->rm] : mem_read(p, bit_linear(p, i, size, MEM_READ), size);
    set_carry(p, value >> bit & 1);
    return next_insn(p, i);
}
#define BIT_CHANGE(name)                                                                           \
    ALWAYS_INLINE const struct insn *name(struct processor *p, const struct insn *i,               \
                                          unsigned size)                                           \
    {                                                                                              \
        uint64_t bit = bit_number(p, i, size);                                                     \
        bool old;                                                                                  \
        if (i->mod3) {                                                                             \
            uint64_t value = reg_read(p, i->rm, size);                                             \
            old = name##_at(&value, bit, size);                                                    \
            reg_write(p, i->rm, value, size);                                                      \
        } else {                                                                                   \
            struct rmw r;                                                                          \
            bool lock = i->prefixes & PREFIX_LOCK;                                                 \
            void *d = rmw_begin(p, &r, bit_linear(p, i, size, MEM_WRITE), size, lock);             \
            old = lock ? name##_locked(d, bit, size) : name##_at(d, bit, size);                    \
            rmw_end(p, &r, size);                                                                  \
        }                                                                                          \
        set_carry(p, old);                                                                         \
        return next_insn(p, i);                                                                    \
    }
BIT_CHANGE(bts)
BIT_CHANGE(btr)
BIT_CHANGE(btc)
SIZED_WORDS(bt)
SIZED_WORDS(bts)
SIZED_WORDS(btr)
SIZED_WORDS(btc)

exec_fn *exec_bind_bit_test(const struct insn *i, uint32_t mode)
{
    static exec_fn *const *const table[] = {
        [OP_BT] = bt_sized, [OP_BTS] = bts_sized, [OP_BTR] = btr_sized, [OP_BTC] = btc_sized};
    (void)mode;
    return table[i->attr->op][size_index(insn_operand_size(i, 0))];
}

/* ---------------------------------------------------------------- scans and counts */

/* BSF and BSR run on the host's register with the destination's old value in it, so that a source
 * of 0 leaves the host's result; flags other than ZF, undefined, are the host's too. */
#define SCAN_TEXT(text, operands)                                                                  \
    asm volatile(text operands CAPTURE_FLAGS : [d] "+r"(d), "=a"(ax) : [s] "r"(source) : "cc")
#define SCAN(name, text)                                                                           \
    ALWAYS_INLINE const struct insn *name(struct processor *p, const struct insn *i,               \
                                          unsigned size)                                           \
    {                                                                                              \
        uint64_t source = rm_read(p, i, size), d = p->gpr[i->reg];                                 \
        uint32_t ax;                                                                               \
        if (size == 2)                                                                             \
            SCAN_TEXT(text, "w %w[s], %w[d]");                                                     \
        else if (size == 4)                                                                        \
            SCAN_TEXT(text, "l %k[s], %k[d]");                                                     \
        else                                                                                       \
            SCAN_TEXT(text, "q %[s], %[d]");                                                       \
        p->gpr[i->reg] = d;                                                                        \
        p->status = status_captured(ax);                                                           \
        return next_insn(p, i);                                                                    \
    }
SCAN(bsf, "bsf")
SCAN(bsr, "bsr")
SIZED_WORDS(bsf)
SIZED_WORDS(bsr)

/* TZCNT and LZCNT: CF = the source is 0, ZF = the result is 0; the others, undefined, stay. */
ALWAYS_INLINE void count_zeros(struct processor *p, const struct insn *i, uint64_t source,
                               uint64_t result, unsigned size)
{
    p->status =
        (p->status & ~(FLAG_CF | FLAG_ZF)) | (source ? 0 : FLAG_CF) | (result ? 0 : FLAG_ZF);
    reg_write(p, i->reg, result, size);
}
ALWAYS_INLINE const struct insn *tzcnt(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    count_zeros(p, i, source, source ? (unsigned)__builtin_ctzll(source) : size * 8, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *lzcnt(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    unsigned above = 64 - size * 8;
    count_zeros(p, i, source, source ? (unsigned)__builtin_clzll(source) - above : size * 8, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *popcnt(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    reg_write(p, i->reg, (unsigned)__builtin_popcountll(source), size);
    p->status = source ? 0 : FLAG_ZF;
    return next_insn(p, i);
}
SIZED_WORDS(tzcnt)
SIZED_WORDS(lzcnt)
SIZED_WORDS(popcnt)

/* CRC-32C (polynomial 0x11EDC6F41, bit-reflected), four bits at a time; not by the host's
 * instruction, which it need not have. */
static uint32_t crc32c(uint32_t crc, uint64_t value, unsigned size)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (unsigned n = 0; n < size * 2; n++, value >>= 4)
        crc = crc >> 4 ^ nibble[(crc ^ value) & 15];
    return crc;
}
/* The operand size here is the source's; the destination is 4 or 8 bytes, zero-extended alike. */
ALWAYS_INLINE const struct insn *crc32(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = rm_read(p, i, size);
    p->gpr[i->reg] = crc32c((uint32_t)p->gpr[i->reg], source, size);
    return next_insn(p, i);
}
SIZED(crc32)

exec_fn *exec_bind_bit_scan(const struct insn *i, uint32_t mode)
{
    static exec_fn *const *const table[] = {
        [OP_BSF] = bsf_sized,     [OP_BSR] = bsr_sized,       [OP_TZCNT] = tzcnt_sized,
        [OP_LZCNT] = lzcnt_sized, [OP_POPCNT] = popcnt_sized, [OP_CRC32] = crc32_sized,
    };
    (void)mode;
    return table[i->attr->op][size_index(insn_operand_size(i, 1))];
}
