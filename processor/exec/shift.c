/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ROL ROR RCL RCR SHL SHR SAR, SHLD SHRD. */
#include "exec.h"

#define SHIFT_ASM(mnemonic, suffix, type)                                                          \
    asm volatile("btl $0, %[status]\n\t" mnemonic suffix " %%cl, %[d]" CAPTURE_FLAGS               \
                 : [d] "+m"(*(type *)d), "=a"(ax)                                                  \
                 : "c"(count), [status] "m"(p->status)                                             \
                 : "cc", "memory")

/* Shifts *d in place by COUNT, which is masked to 5 or 6 bits and not 0; returns the new status
 * flags.  Rotates write only CF and OF. */
#define SHIFT(name, mnemonic, written)                                                             \
    ALWAYS_INLINE uint32_t name##_at(struct processor *p, void *d, uint8_t count, unsigned size)   \
    {                                                                                              \
        uint32_t ax;                                                                               \
        switch (size) {                                                                            \
        case 1:                                                                                    \
            SHIFT_ASM(mnemonic, "b", mem_u8);                                                      \
            break;                                                                                 \
        case 2:                                                                                    \
            SHIFT_ASM(mnemonic, "w", mem_u16);                                                     \
            break;                                                                                 \
        case 4:                                                                                    \
            SHIFT_ASM(mnemonic, "l", mem_u32);                                                     \
            break;                                                                                 \
        default:                                                                                   \
            SHIFT_ASM(mnemonic, "q", mem_u64);                                                     \
            break;                                                                                 \
        }                                                                                          \
        return (p->status & ~(written)) | (status_captured(ax) & (written));                       \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name##_register(struct processor *p, const struct insn *i,    \
                                                     uint8_t count, unsigned size)                 \
    {                                                                                              \
        if (size == 4) {                                                                           \
            uint32_t value = (uint32_t)p->gpr[i->rm];                                              \
            if (count)                                                                             \
                p->status = name##_at(p, &value, count, 4);                                        \
            p->gpr[i->rm] = value;                                                                 \
        } else if (count) {                                                                        \
            void *d = size == 1 ? (void *)byte_register(p, i->rm) : (void *)&p->gpr[i->rm];        \
            p->status = name##_at(p, d, count, size);                                              \
        }                                                                                          \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name##_memory(struct processor *p, const struct insn *i,      \
                                                   uint8_t count, unsigned size)                   \
    {                                                                                              \
        struct rmw r;                                                                              \
        uint32_t status = p->status;                                                               \
        void *d = rmw_begin(p, &r, insn_linear(p, i, size, MEM_WRITE), size, false);               \
        if (count)                                                                                 \
            status = name##_at(p, d, count, size);                                                 \
        rmw_end(p, &r, size);                                                                      \
        p->status = status;                                                                        \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name##_ri(struct processor *p, const struct insn *i,          \
                                               unsigned size)                                      \
    {                                                                                              \
        return name##_register(p, i, count_immediate(i, size), size);                              \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name##_rc(struct processor *p, const struct insn *i,          \
                                               unsigned size)                                      \
    {                                                                                              \
        return name##_register(p, i, count_cl(p, size), size);                                     \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name##_m(struct processor *p, const struct insn *i,           \
                                              unsigned size)                                       \
    {                                                                                              \
        bool by_cl = (i->opcode & 0xfe) == 0xd2;                                                   \
        return name##_memory(p, i, by_cl ? count_cl(p, size) : count_immediate(i, size), size);    \
    }                                                                                              \
    SIZED(name##_ri)                                                                               \
    SIZED(name##_rc)                                                                               \
    SIZED(name##_m)

ALWAYS_INLINE uint8_t count_cl(const struct processor *p, unsigned size)
{
    return p->gpr[REG_RCX] & (size == 8 ? 63 : 31);
}
/* D0 and D1 shift by one; C0 and C1 have an immediate. */
ALWAYS_INLINE uint8_t count_immediate(const struct insn *i, unsigned size)
{
    return (i->opcode & 0xfe) == 0xd0 ? 1 : i->imm & (size == 8 ? 63 : 31);
}

SHIFT(rol, "rol", FLAG_CF | FLAG_OF)
SHIFT(ror, "ror", FLAG_CF | FLAG_OF)
SHIFT(rcl, "rcl", FLAG_CF | FLAG_OF)
SHIFT(rcr, "rcr", FLAG_CF | FLAG_OF)
SHIFT(shl, "shl", FLAGS_STATUS)
SHIFT(shr, "shr", FLAGS_STATUS)
SHIFT(sar, "sar", FLAGS_STATUS)

exec_fn *exec_bind_shift(const struct insn *i, uint32_t mode)
{
    struct shift {
        exec_fn *const *ri, *const *rc, *const *m;
    };
    static const struct shift table[] = {
        [OP_ROL] = {rol_ri_sized, rol_rc_sized, rol_m_sized},
        [OP_ROR] = {ror_ri_sized, ror_rc_sized, ror_m_sized},
        [OP_RCL] = {rcl_ri_sized, rcl_rc_sized, rcl_m_sized},
        [OP_RCR] = {rcr_ri_sized, rcr_rc_sized, rcr_m_sized},
        [OP_SHL] = {shl_ri_sized, shl_rc_sized, shl_m_sized},
        [OP_SHR] = {shr_ri_sized, shr_rc_sized, shr_m_sized},
        [OP_SAR] = {sar_ri_sized, sar_rc_sized, sar_m_sized},
    };
    const struct shift *s = &table[i->attr->op];
    bool by_cl = (i->opcode & 0xfe) == 0xd2;
    exec_fn *const *sized = !i->mod3 ? s->m : by_cl ? s->rc : s->ri;
    (void)mode;
    return sized[size_index(insn_operand_size(i, 0))];
}

/* ---------------------------------------------------------------- SHLD, SHRD */

#define DOUBLE_ASM(mnemonic, suffix, type)                                                         \
    asm volatile(mnemonic suffix " %%cl, %[s], %[d]" CAPTURE_FLAGS                                 \
                 : [d] "+m"(*(type *)d), "=a"(ax)                                                  \
                 : "c"(count), [s] "r"((type)source)                                               \
                 : "cc", "memory")
/* A 16-bit operand with a count above 16 is undefined; it does what the host does. */
#define DOUBLE_SHIFT(name, mnemonic)                                                               \
    ALWAYS_INLINE uint32_t name##_at(void *d, uint64_t source, uint8_t count, unsigned size)       \
    {                                                                                              \
        uint32_t ax;                                                                               \
        switch (size) {                                                                            \
        case 2:                                                                                    \
            DOUBLE_ASM(mnemonic, "w", mem_u16);                                                    \
            break;                                                                                 \
        case 4:                                                                                    \
            DOUBLE_ASM(mnemonic, "l", mem_u32);                                                    \
            break;                                                                                 \
        default:                                                                                   \
            DOUBLE_ASM(mnemonic, "q", mem_u64);                                                    \
            break;                                                                                 \
        }                                                                                          \
        return status_captured(ax);                                                                \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name(struct processor *p, const struct insn *i,               \
                                          unsigned size)                                           \
    {                                                                                              \
        bool by_cl = i->opcode & 1;                                                                \
        uint8_t count = (by_cl ? p->gpr[REG_RCX] : i->imm) & (size == 8 ? 63 : 31);                \
        uint64_t source = reg_read(p, i->reg, size);                                               \
        uint32_t status = p->status;                                                               \
        if (i->mod3) {                                                                             \
            uint64_t value = reg_read(p, i->rm, size);                                             \
            if (count)                                                                             \
                status = name##_at(&value, source, count, size);                                   \
            reg_write(p, i->rm, value, size);                                                      \
        } else {                                                                                   \
            struct rmw r;                                                                          \
            void *d = rmw_begin(p, &r, insn_linear(p, i, size, MEM_WRITE), size, false);           \
            if (count)                                                                             \
                status = name##_at(d, source, count, size);                                        \
            rmw_end(p, &r, size);                                                                  \
        }                                                                                          \
        p->status = status;                                                                        \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    SIZED_WORDS(name)

DOUBLE_SHIFT(shld, "shld")
DOUBLE_SHIFT(shrd, "shrd")

exec_fn *exec_bind_double_shift(const struct insn *i, uint32_t mode)
{
    (void)mode;
    exec_fn *const *sized = i->attr->op == OP_SHLD ? shld_sized : shrd_sized;
    return sized[size_index(insn_operand_size(i, 0))];
}
