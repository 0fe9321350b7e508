/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ADD OR ADC SBB AND SUB XOR CMP TEST, NOT NEG INC DEC.
 *
 * Each runs as the same instruction on the host, on the register slot or the guest's memory itself,
 * and its flags are taken from the host's.
 */
#include "exec.h"

#define NO_CARRY   ""
#define LOAD_CARRY "btl $0, %[status]\n\t" /* CF of the guest */

#define BINARY_ASM(text, suffix, type, d, b)                                                       \
    asm volatile(text suffix " %[b], %[d]" CAPTURE_FLAGS                                           \
                 : [d] "+m"(*(type *)(d)), "=a"(ax)                                                \
                 : [b] "r"((type)(b)), [status] "m"(p->status)                                     \
                 : "cc", "memory")
#define BINARY_SIZES(text, d, b)                                                                   \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        BINARY_ASM(text, "b", mem_u8, d, b);                                                       \
        break;                                                                                     \
    case 2:                                                                                        \
        BINARY_ASM(text, "w", mem_u16, d, b);                                                      \
        break;                                                                                     \
    case 4:                                                                                        \
        BINARY_ASM(text, "l", mem_u32, d, b);                                                      \
        break;                                                                                     \
    default:                                                                                       \
        BINARY_ASM(text, "q", mem_u64, d, b);                                                      \
        break;                                                                                     \
    }

/* NAME_at: *d = *d op b in place, returning the status flags. NAME_locked: atomically.
 * NAME_register: the same on register R, setting the flags. */
#define BINARY(name, mnemonic, carry)                                                              \
    ALWAYS_INLINE uint32_t name##_at(struct processor *p, void *d, uint64_t b, unsigned size)      \
    {                                                                                              \
        uint32_t ax;                                                                               \
        BINARY_SIZES(carry mnemonic, d, b)                                                         \
        return status_captured(ax);                                                                \
    }                                                                                              \
    ALWAYS_INLINE uint32_t name##_locked(struct processor *p, void *d, uint64_t b, unsigned size)  \
    {                                                                                              \
        uint32_t ax;                                                                               \
        BINARY_SIZES(carry "lock " mnemonic, d, b)                                                 \
        return status_captured(ax);                                                                \
    }                                                                                              \
    ALWAYS_INLINE void name##_register(struct processor *p, unsigned r, uint64_t b, unsigned size) \
    {                                                                                              \
        if (size == 4) {                                                                           \
            uint32_t value = (uint32_t)p->gpr[r], ax;                                              \
            asm volatile(carry mnemonic "l %[b], %[d]" CAPTURE_FLAGS                               \
                         : [d] "+r"(value), "=a"(ax)                                               \
                         : [b] "r"((uint32_t)b), [status] "m"(p->status)                           \
                         : "cc");                                                                  \
            p->gpr[r] = value;                                                                     \
            p->status = status_captured(ax);                                                       \
        } else {                                                                                   \
            void *slot = size == 1 ? (void *)byte_register(p, r) : (void *)&p->gpr[r];             \
            p->status = name##_at(p, slot, b, size);                                               \
        }                                                                                          \
    }

BINARY(add, "add", NO_CARRY)
BINARY(or, "or", NO_CARRY)
BINARY(adc, "adc", LOAD_CARRY)
BINARY(sbb, "sbb", LOAD_CARRY)
BINARY(and, "and", NO_CARRY)
BINARY(sub, "sub", NO_CARRY)
BINARY(xor, "xor", NO_CARRY)

/* CMP and TEST write only flags. */
#define COMPARE_ASM(mnemonic, suffix, type)                                                        \
    asm volatile(mnemonic suffix " %[b], %[a]" CAPTURE_FLAGS                                       \
                 : "=a"(ax)                                                                        \
                 : [a] "r"((type)a), [b] "r"((type)b)                                              \
                 : "cc")
#define COMPARE(name, mnemonic)                                                                    \
    ALWAYS_INLINE void name##_values(struct processor *p, uint64_t a, uint64_t b, unsigned size)   \
    {                                                                                              \
        uint32_t ax;                                                                               \
        switch (size) {                                                                            \
        case 1:                                                                                    \
            COMPARE_ASM(mnemonic, "b", uint8_t);                                                   \
            break;                                                                                 \
        case 2:                                                                                    \
            COMPARE_ASM(mnemonic, "w", uint16_t);                                                  \
            break;                                                                                 \
        case 4:                                                                                    \
            COMPARE_ASM(mnemonic, "l", uint32_t);                                                  \
            break;                                                                                 \
        default:                                                                                   \
            COMPARE_ASM(mnemonic, "q", uint64_t);                                                  \
            break;                                                                                 \
        }                                                                                          \
        p->status = status_captured(ax);                                                           \
    }                                                                                              \
    ALWAYS_INLINE void name##_register(struct processor *p, unsigned r, uint64_t b, unsigned size) \
    {                                                                                              \
        name##_values(p, reg_read(p, r, size), b, size);                                           \
    }

COMPARE(cmp, "cmp")
COMPARE(test, "test")

/* The forms whose destination is a register, shared by both kinds. */
#define REGISTER_FORMS(name, size)                                                                 \
    HANDLER(name##_rg_##size)                                                                      \
    {                                                                                              \
        name##_register(p, i->rm, reg_read(p, i->reg, size), size);                                \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_gr_##size)                                                                      \
    {                                                                                              \
        name##_register(p, i->reg, reg_read(p, i->rm, size), size);                                \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_ri_##size)                                                                      \
    {                                                                                              \
        name##_register(p, i->rm, i->imm, size);                                                   \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_gi_##size)                                                                      \
    {                                                                                              \
        name##_register(p, i->reg, i->imm, size);                                                  \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_gm_##size)                                                                      \
    {                                                                                              \
        uint64_t b = mem_read(p, insn_linear(p, i, size, MEM_READ), size);                         \
        name##_register(p, i->reg, b, size);                                                       \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_gm64_##size)                                                                    \
    {                                                                                              \
        void *host;                                                                                \
        if (!operand_hit(p, i, size, MEM_READ, &host))                                             \
            return name##_gm_##size(p, i);                                                         \
        name##_register(p, i->reg, host_load(host, size), size);                                   \
        return next_insn(p, i);                                                                    \
    }

/* Memory destinations that are written. */
#define WRITTEN_FORMS(name, size)                                                                  \
    static __attribute__((noinline))                                                               \
    const struct insn *name##_memory_##size(struct processor *p, const struct insn *i, uint64_t b) \
    {                                                                                              \
        struct rmw r;                                                                              \
        bool lock = i->prefixes & PREFIX_LOCK;                                                     \
        uint64_t linear = insn_linear(p, i, size, MEM_WRITE);                                      \
        void *d = rmw_begin(p, &r, linear, size, lock);                                            \
        uint32_t status = lock ? name##_locked(p, d, b, size) : name##_at(p, d, b, size);          \
        rmw_end(p, &r, size);                                                                      \
        p->status = status;                                                                        \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_mg_##size)                                                                      \
    {                                                                                              \
        return name##_memory_##size(p, i, reg_read(p, i->reg, size));                              \
    }                                                                                              \
    HANDLER(name##_mi_##size)                                                                      \
    {                                                                                              \
        return name##_memory_##size(p, i, i->imm);                                                 \
    }                                                                                              \
    HANDLER(name##_mg64_##size)                                                                    \
    {                                                                                              \
        void *host;                                                                                \
        if (!operand_hit(p, i, size, MEM_WRITE, &host))                                            \
            return name##_mg_##size(p, i);                                                         \
        p->status = name##_at(p, host, reg_read(p, i->reg, size), size);                           \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_mi64_##size)                                                                    \
    {                                                                                              \
        void *host;                                                                                \
        if (!operand_hit(p, i, size, MEM_WRITE, &host))                                            \
            return name##_mi_##size(p, i);                                                         \
        p->status = name##_at(p, host, i->imm, size);                                              \
        return next_insn(p, i);                                                                    \
    }

/* Memory destinations that are only compared. */
#define COMPARED_FORMS(name, size)                                                                 \
    HANDLER(name##_mg_##size)                                                                      \
    {                                                                                              \
        uint64_t a = mem_read(p, insn_linear(p, i, size, MEM_READ), size);                         \
        name##_values(p, a, reg_read(p, i->reg, size), size);                                      \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_mi_##size)                                                                      \
    {                                                                                              \
        uint64_t a = mem_read(p, insn_linear(p, i, size, MEM_READ), size);                         \
        name##_values(p, a, i->imm, size);                                                         \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_mg64_##size)                                                                    \
    {                                                                                              \
        void *host;                                                                                \
        if (!operand_hit(p, i, size, MEM_READ, &host))                                             \
            return name##_mg_##size(p, i);                                                         \
        name##_values(p, host_load(host, size), reg_read(p, i->reg, size), size);                  \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    HANDLER(name##_mi64_##size)                                                                    \
    {                                                                                              \
        void *host;                                                                                \
        if (!operand_hit(p, i, size, MEM_READ, &host))                                             \
            return name##_mi_##size(p, i);                                                         \
        name##_values(p, host_load(host, size), i->imm, size);                                     \
        return next_insn(p, i);                                                                    \
    }

#define TABLE_ROW(name, form, FORM)                                                                \
    [FORM] = {name##_##form##_1, name##_##form##_2, name##_##form##_4, name##_##form##_8}
#define ALL_FORMS(name, KIND)                                                                      \
    REGISTER_FORMS(name, 1)                                                                        \
    REGISTER_FORMS(name, 2)                                                                        \
    REGISTER_FORMS(name, 4)                                                                        \
    REGISTER_FORMS(name, 8)                                                                        \
    KIND(name, 1)                                                                                  \
    KIND(name, 2)                                                                                  \
    KIND(name, 4)                                                                                  \
    KIND(name, 8)                                                                                  \
    static exec_fn *const name##_table[FORM_COUNT][4] = {                                          \
        TABLE_ROW(name, rg, FORM_RG),     TABLE_ROW(name, gr, FORM_GR),                            \
        TABLE_ROW(name, ri, FORM_RI),     TABLE_ROW(name, gi, FORM_GI),                            \
        TABLE_ROW(name, gm, FORM_GM),     TABLE_ROW(name, mg, FORM_MG),                            \
        TABLE_ROW(name, mi, FORM_MI),     TABLE_ROW(name, gm64, FORM_GM64),                        \
        TABLE_ROW(name, mg64, FORM_MG64), TABLE_ROW(name, mi64, FORM_MI64),                        \
    };

ALL_FORMS(add, WRITTEN_FORMS)
ALL_FORMS(or, WRITTEN_FORMS)
ALL_FORMS(adc, WRITTEN_FORMS)
ALL_FORMS(sbb, WRITTEN_FORMS)
ALL_FORMS(and, WRITTEN_FORMS)
ALL_FORMS(sub, WRITTEN_FORMS)
ALL_FORMS(xor, WRITTEN_FORMS)
ALL_FORMS(cmp, COMPARED_FORMS)
ALL_FORMS(test, COMPARED_FORMS)

exec_fn *exec_bind_alu(const struct insn *i, uint32_t mode)
{
    static exec_fn *const(*const tables[])[4] = {
        [OP_ADD] = add_table, [OP_OR] = or_table,   [OP_ADC] = adc_table,
        [OP_SBB] = sbb_table, [OP_AND] = and_table, [OP_SUB] = sub_table,
        [OP_XOR] = xor_table, [OP_CMP] = cmp_table, [OP_TEST] = test_table,
    };
    enum form form = exec_form(i, mode);
    if (form == FORM_COUNT)
        return exec_invalid;
    return tables[i->attr->op][form][size_index(insn_operand_size(i, 0))];
}

/* ---------------------------------------------------------------- one operand */

#define UNARY_ASM(text, suffix, type)                                                              \
    asm volatile(text suffix " %[d]" CAPTURE_FLAGS                                                 \
                 : [d] "+m"(*(type *)d), "=a"(ax)                                                  \
                 : [status] "m"(p->status)                                                         \
                 : "cc", "memory")
#define UNARY_SIZES(text)                                                                          \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        UNARY_ASM(text, "b", mem_u8);                                                              \
        break;                                                                                     \
    case 2:                                                                                        \
        UNARY_ASM(text, "w", mem_u16);                                                             \
        break;                                                                                     \
    case 4:                                                                                        \
        UNARY_ASM(text, "l", mem_u32);                                                             \
        break;                                                                                     \
    default:                                                                                       \
        UNARY_ASM(text, "q", mem_u64);                                                             \
        break;                                                                                     \
    }

/* INC and DEC keep CF, so it is loaded first; NOT keeps all flags, so what was captured is dropped.
 */
#define UNARY(name, mnemonic, carry, sets_flags)                                                   \
    ALWAYS_INLINE uint32_t name##_at(struct processor *p, void *d, unsigned size)                  \
    {                                                                                              \
        uint32_t ax;                                                                               \
        UNARY_SIZES(carry mnemonic)                                                                \
        return sets_flags ? status_captured(ax) : p->status;                                       \
    }                                                                                              \
    ALWAYS_INLINE uint32_t name##_locked(struct processor *p, void *d, unsigned size)              \
    {                                                                                              \
        uint32_t ax;                                                                               \
        UNARY_SIZES(carry "lock " mnemonic)                                                        \
        return sets_flags ? status_captured(ax) : p->status;                                       \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name##_r(struct processor *p, const struct insn *i,           \
                                              unsigned size)                                       \
    {                                                                                              \
        void *d = size == 1 ? (void *)byte_register(p, i->rm) : (void *)&p->gpr[i->rm];            \
        if (size == 4) {                                                                           \
            uint32_t value = (uint32_t)p->gpr[i->rm];                                              \
            p->status = name##_at(p, &value, 4);                                                   \
            p->gpr[i->rm] = value;                                                                 \
        } else {                                                                                   \
            p->status = name##_at(p, d, size);                                                     \
        }                                                                                          \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    ALWAYS_INLINE const struct insn *name##_m(struct processor *p, const struct insn *i,           \
                                              unsigned size)                                       \
    {                                                                                              \
        struct rmw r;                                                                              \
        bool lock = i->prefixes & PREFIX_LOCK;                                                     \
        uint64_t linear = insn_linear(p, i, size, MEM_WRITE);                                      \
        void *d = rmw_begin(p, &r, linear, size, lock);                                            \
        uint32_t status = lock ? name##_locked(p, d, size) : name##_at(p, d, size);                \
        rmw_end(p, &r, size);                                                                      \
        p->status = status;                                                                        \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    SIZED(name##_r)                                                                                \
    SIZED(name##_m)                                                                                \
    ALWAYS_INLINE const struct insn *name##_m64(struct processor *p, const struct insn *i,         \
                                                unsigned size)                                     \
    {                                                                                              \
        void *host;                                                                                \
        if (!operand_hit(p, i, size, MEM_WRITE, &host))                                            \
            return name##_m_sized[size_index(size)](p, i);                                         \
        p->status = name##_at(p, host, size);                                                      \
        return next_insn(p, i);                                                                    \
    }                                                                                              \
    SIZED(name##_m64)

UNARY(inc, "inc", LOAD_CARRY, true)
UNARY(dec, "dec", LOAD_CARRY, true)
UNARY(neg, "neg", NO_CARRY, true)
UNARY(not, "not", NO_CARRY, false)

exec_fn *exec_bind_unary(const struct insn *i, uint32_t mode)
{
    struct unary {
        exec_fn *const *r, *const *m, *const *m64;
    };
    static const struct unary table[] = {
        [OP_INC] = {inc_r_sized, inc_m_sized, inc_m64_sized},
        [OP_DEC] = {dec_r_sized, dec_m_sized, dec_m64_sized},
        [OP_NEG] = {neg_r_sized, neg_m_sized, neg_m64_sized},
        [OP_NOT] = {not_r_sized, not_m_sized, not_m64_sized},
    };
    const struct unary *u = &table[i->attr->op];
    exec_fn *const *sized = i->mod3 ? u->r : insn_is_fast64(i, mode) ? u->m64 : u->m;
    return sized[size_index(insn_operand_size(i, 0))];
}
