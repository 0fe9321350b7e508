/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MUL IMUL DIV IDIV. */
#include "exec.h"

/* The result of a one-operand multiplication, or the dividend: AX for bytes, else DX:AX and its
 * wider kin. */
ALWAYS_INLINE void write_pair(struct processor *p, uint64_t low, uint64_t high, unsigned size)
{
    if (size == 1) {
        reg_write(p, REG_RAX, (low & 0xff) | high << 8, 2);
    } else {
        reg_write(p, REG_RAX, low, size);
        reg_write(p, REG_RDX, high, size);
    }
}

/* RAX is both the product and where flags are captured, so the product is moved away first. */
#define WIDE_MULTIPLY(name, mnemonic)                                                              \
    ALWAYS_INLINE const struct insn *name(struct processor *p, const struct insn *i,               \
                                          unsigned size)                                           \
    {                                                                                              \
        uint64_t b = rm_read(p, i, size), a = p->gpr[REG_RAX], product, upper = 0;                 \
        uint32_t ax;                                                                               \
        switch (size) {                                                                            \
        case 1:                                                                                    \
            asm volatile(mnemonic "b %b[b]\n\tmov %%rax, %[product]" CAPTURE_FLAGS                 \
                         : "+a"(a), [product] "=&r"(product)                                       \
                         : [b] "r"(b)                                                              \
                         : "cc");                                                                  \
            upper = product >> 8 & 0xff;                                                           \
            break;                                                                                 \
        case 2:                                                                                    \
            asm volatile(mnemonic "w %w[b]\n\tmov %%rax, %[product]" CAPTURE_FLAGS                 \
                         : "+a"(a), "+&d"(upper), [product] "=&r"(product)                         \
                         : [b] "r"(b)                                                              \
                         : "cc");                                                                  \
            break;                                                                                 \
        case 4:                                                                                    \
            asm volatile(mnemonic "l %k[b]\n\tmov %%rax, %[product]" CAPTURE_FLAGS                 \
                         : "+a"(a), "+&d"(upper), [product] "=&r"(product)                         \
                         : [b] "r"(b)                                                              \
                         : "cc");                                                                  \
            break;                                                                                 \
        default:                                                                                   \
            asm volatile(mnemonic "q %[b]\n\tmov %%rax, %[product]" CAPTURE_FLAGS                  \
                         : "+a"(a), "+&d"(upper), [product] "=&r"(product)                         \
                         : [b] "r"(b)                                                              \
                         : "cc");                                                                  \
            break;                                                                                 \
        }                                                                                          \
        ax = (uint32_t)a;                                                                          \
        write_pair(p, product, upper, size);                                                       \
        p->status = status_captured(ax);                                                           \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    SIZED(name)

WIDE_MULTIPLY(mul, "mul")
WIDE_MULTIPLY(imul1, "imul")

/* The product of two operands of SIZE bytes, signed, setting the flags. */
ALWAYS_INLINE uint64_t signed_product(struct processor *p, uint64_t a, uint64_t b, unsigned size)
{
    uint32_t ax;
    switch (size) {
    case 2:
        asm volatile("imulw %w[b], %w[a]" CAPTURE_FLAGS
                     : [a] "+r"(a), "=a"(ax)
                     : [b] "r"(b)
                     : "cc");
        break;
    case 4:
        asm volatile("imull %k[b], %k[a]" CAPTURE_FLAGS
                     : [a] "+r"(a), "=a"(ax)
                     : [b] "r"(b)
                     : "cc");
        break;
    default:
        asm volatile("imulq %[b], %[a]" CAPTURE_FLAGS : [a] "+r"(a), "=a"(ax) : [b] "r"(b) : "cc");
        break;
    }
    p->status = status_captured(ax);
    return a;
}
ALWAYS_INLINE const struct insn *imul2(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t b = rm_read(p, i, size);
    reg_write(p, i->reg, signed_product(p, p->gpr[i->reg], b, size), size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *imul3(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t a = rm_read(p, i, size);
    reg_write(p, i->reg, signed_product(p, a, i->imm, size), size);
    return next_insn(p, i);
}
SIZED_WORDS(imul2)
SIZED_WORDS(imul3)

/* ---------------------------------------------------------------- division */

/* HIGH:LOW / DIVISOR, unsigned, all 64 bits wide; the quotient must fit, that is, HIGH < DIVISOR.
 */
ALWAYS_INLINE uint64_t divide64(uint64_t high, uint64_t low, uint64_t divisor, uint64_t *remainder)
{
    uint64_t quotient;
    asm("divq %[divisor]"
        : "=a"(quotient), "=d"(*remainder)
        : "a"(low), "d"(high), [divisor] "r"(divisor)
        : "cc");
    return quotient;
}

/* The status flags are undefined after a division: they stay as they were. */
ALWAYS_INLINE const struct insn *div(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t divisor = rm_read(p, i, size), quotient, remainder;
    if (size == 8) {
        if (p->gpr[REG_RDX] >= divisor) /* also when it is 0 */
            raise_fault(p, VECTOR_DE, 0);
        quotient = divide64(p->gpr[REG_RDX], p->gpr[REG_RAX], divisor, &remainder);
    } else {
        uint64_t dividend =
            size == 1   ? (uint16_t)p->gpr[REG_RAX]
            : size == 2 ? (uint32_t)(uint16_t)p->gpr[REG_RDX] << 16 | (uint16_t)p->gpr[REG_RAX]
                        : p->gpr[REG_RDX] << 32 | (uint32_t)p->gpr[REG_RAX];
        if (dividend >> (8 * size) >= divisor)
            raise_fault(p, VECTOR_DE, 0);
        quotient = dividend / divisor;
        remainder = dividend % divisor;
    }
    write_pair(p, quotient, remainder, size);
    return next_insn(p, i);
}

ALWAYS_INLINE int64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (int64_t)(value << shift) >> shift;
}

/* Divides magnitudes, then restores the signs: quotients that do not fit show before the host could
 * trap. */
ALWAYS_INLINE const struct insn *idiv(struct processor *p, const struct insn *i, unsigned size)
{
    int64_t divisor = sign_extend(rm_read(p, i, size), size);
    uint64_t low, high, magnitude = divisor < 0 ? -(uint64_t)divisor : (uint64_t)divisor;
    if (size == 8) {
        low = p->gpr[REG_RAX];
        high = p->gpr[REG_RDX];
    } else {
        low = size == 1 ? (uint64_t)sign_extend(p->gpr[REG_RAX], 2)
              : size == 2
                  ? (uint64_t)sign_extend(p->gpr[REG_RDX] << 16 | (uint16_t)p->gpr[REG_RAX], 4)
                  : p->gpr[REG_RDX] << 32 | (uint32_t)p->gpr[REG_RAX];
        high = (int64_t)low < 0 ? ~0ull : 0;
    }
    bool negative = (int64_t)high < 0, quotient_negative = negative != (divisor < 0);
    if (negative) {
        low = -low;
        high = ~high + (low == 0);
    }
    if (high >= magnitude) /* also when it is 0 */
        raise_fault(p, VECTOR_DE, 0);
    uint64_t remainder, quotient = divide64(high, low, magnitude, &remainder);
    if (quotient > (BIT(8 * size - 1) - 1) + quotient_negative)
        raise_fault(p, VECTOR_DE, 0);
    write_pair(p, quotient_negative ? -quotient : quotient, negative ? -remainder : remainder,
               size);
    return next_insn(p, i);
}
SIZED(div)
SIZED(idiv)

exec_fn *exec_bind_muldiv(const struct insn *i, uint32_t mode)
{
    static exec_fn *const *const table[] = {
        [OP_MUL] = mul_sized,     [OP_IMUL1] = imul1_sized, [OP_IMUL2] = imul2_sized,
        [OP_IMUL3] = imul3_sized, [OP_DIV] = div_sized,     [OP_IDIV] = idiv_sized,
    };
    (void)mode;
    return table[i->attr->op][size_index(insn_operand_size(i, 0))];
}
