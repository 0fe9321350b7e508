/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B. */
#include "exec.h"

#define EACH_SIZE(X)                                                                               \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        X("b", mem_u8);                                                                            \
        break;                                                                                     \
    case 2:                                                                                        \
        X("w", mem_u16);                                                                           \
        break;                                                                                     \
    case 4:                                                                                        \
        X("l", mem_u32);                                                                           \
        break;                                                                                     \
    default:                                                                                       \
        X("q", mem_u64);                                                                           \
        break;                                                                                     \
    }

/* Which of ModRM.reg and ModRM.rm is called destination does not matter to XCHG. */
ALWAYS_INLINE const struct insn *xchg_r(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t a = reg_read(p, i->rm, size), b = reg_read(p, i->reg, size);
    reg_write(p, i->rm, b, size);
    reg_write(p, i->reg, a, size);
    return next_insn(p, i);
}
/* With memory it is LOCKed, prefix or not. */
ALWAYS_INLINE const struct insn *xchg_m(struct processor *p, const struct insn *i, unsigned size)
{
    struct rmw r;
    void *d = rmw_begin(p, &r, insn_linear(p, i, size, MEM_WRITE), size, true);
    uint64_t value = reg_read(p, i->reg, size);
#define XCHG(suffix, type)                                                                         \
    {                                                                                              \
        type old = (type)value;                                                                    \
        asm volatile("xchg" suffix " %0, %1" : "+r"(old), "+m"(*(type *)d) : : "memory");          \
        value = old;                                                                               \
    }
    EACH_SIZE(XCHG)
    rmw_end(p, &r, size);
    reg_write(p, i->reg, value, size);
    return next_insn(p, i);
}
SIZED(xchg_r)
SIZED(xchg_m)

#define XADD_TEXT(text, suffix, type)                                                              \
    {                                                                                              \
        type old = (type)value;                                                                    \
        asm volatile(text suffix " %[old], %[d]" CAPTURE_FLAGS                                     \
                     : [old] "+r"(old), [d] "+m"(*(type *)d), "=a"(ax)                             \
                     :                                                                             \
                     : "cc", "memory");                                                            \
        value = old;                                                                               \
    }
#define XADD_PLAIN(suffix, type)  XADD_TEXT("xadd", suffix, type)
#define XADD_LOCKED(suffix, type) XADD_TEXT("lock xadd", suffix, type)

ALWAYS_INLINE const struct insn *xadd(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t value = reg_read(p, i->reg, size), copy;
    struct rmw r;
    void *d = &copy;
    uint32_t ax;
    if (i->mod3)
        copy = reg_read(p, i->rm, size);
    else
        d = rmw_begin(p, &r, insn_linear(p, i, size, MEM_WRITE), size, i->prefixes & PREFIX_LOCK);
    if (i->prefixes & PREFIX_LOCK)
        EACH_SIZE(XADD_LOCKED)
    else
        EACH_SIZE(XADD_PLAIN)
    if (!i->mod3)
        rmw_end(p, &r, size);
    reg_write(p, i->reg, value, size);
    if (i->mod3) /* second: the sum stays when both are one register */
        reg_write(p, i->rm, copy, size);
    p->status = status_captured(ax);
    return next_insn(p, i);
}
SIZED(xadd)

/* CMPXCHG sets the flags as CMP does: ZF tells whether the exchange took place.  LAHF spoils AX, so
 * what was read is moved away first. */
#define CMPXCHG_TEXT(text, suffix, type)                                                           \
    asm volatile(text suffix " %[source], %[d]\n\tmov %%rax, %[seen]" CAPTURE_FLAGS                \
                 : "+a"(ax), [d] "+m"(*(type *)d), [seen] "=&r"(seen)                              \
                 : [source] "r"((type)source)                                                      \
                 : "cc", "memory")
#define CMPXCHG_PLAIN(suffix, type)  CMPXCHG_TEXT("cmpxchg", suffix, type)
#define CMPXCHG_LOCKED(suffix, type) CMPXCHG_TEXT("lock cmpxchg", suffix, type)

ALWAYS_INLINE const struct insn *cmpxchg(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t source = reg_read(p, i->reg, size), ax = p->gpr[REG_RAX], seen, copy;
    struct rmw r;
    void *d = &copy;
    if (i->mod3)
        copy = reg_read(p, i->rm, size);
    else
        d = rmw_begin(p, &r, insn_linear(p, i, size, MEM_WRITE), size, i->prefixes & PREFIX_LOCK);
    if (i->prefixes & PREFIX_LOCK)
        EACH_SIZE(CMPXCHG_LOCKED)
    else
        EACH_SIZE(CMPXCHG_PLAIN)
    if (!i->mod3)
        rmw_end(p, &r, size);
    p->status = status_captured((uint32_t)ax);
    if (!(p->status & FLAG_ZF)) {
        reg_write(p, REG_RAX, seen, size);
        return next_insn(p, i);
    }
    if (i->mod3)
        reg_write(p, i->rm, copy, size);
    return next_insn(p, i);
}
SIZED(cmpxchg)

/* Writes back whatever was compared, so the operand must be writable in any case.  Only ZF changes.
 */
HANDLER(cmpxchg8b)
{
    struct rmw r;
    bool lock = i->prefixes & PREFIX_LOCK;
    uint64_t expected = p->gpr[REG_RDX] << 32 | (uint32_t)p->gpr[REG_RAX];
    uint64_t desired = p->gpr[REG_RCX] << 32 | (uint32_t)p->gpr[REG_RBX];
    mem_u64 *d = rmw_begin(p, &r, insn_linear(p, i, 8, MEM_WRITE), 8, lock);
    uint64_t seen = expected;
    bool equal;
    if (lock)
        asm volatile("lock cmpxchgq %[desired], %[d]"
                     : "+a"(seen), [d] "+m"(*d), "=@ccz"(equal)
                     : [desired] "r"(desired)
                     : "memory");
    else
        asm volatile("cmpxchgq %[desired], %[d]"
                     : "+a"(seen), [d] "+m"(*d), "=@ccz"(equal)
                     : [desired] "r"(desired)
                     : "memory");
    rmw_end(p, &r, 8);
    p->status = (p->status & ~FLAG_ZF) | (equal ? FLAG_ZF : 0);
    if (!equal) {
        p->gpr[REG_RAX] = (uint32_t)seen;
        p->gpr[REG_RDX] = seen >> 32;
    }
    return next_insn(p, i);
}

/* Always LOCKed on the host: all hosts have it, and its operand is aligned. */
HANDLER(cmpxchg16b)
{
    struct rmw r;
    uint64_t linear = insn_linear(p, i, 16, MEM_WRITE);
    if (linear & 15)
        raise_gp(p);
    struct {
        uint64_t low, high;
    } *d = rmw_begin(p, &r, linear, 16, i->prefixes & PREFIX_LOCK);
    uint64_t low = p->gpr[REG_RAX], high = p->gpr[REG_RDX];
    bool equal;
    if (r.copied) { /* the copy need not be aligned */
        equal = d->low == low && d->high == high;
        low = d->low;
        high = d->high;
        if (equal) {
            d->low = p->gpr[REG_RBX];
            d->high = p->gpr[REG_RCX];
        }
    } else {
        asm volatile("lock cmpxchg16b %[d]"
                     : "+a"(low), "+d"(high), [d] "+m"(*d), "=@ccz"(equal)
                     : "b"(p->gpr[REG_RBX]), "c"(p->gpr[REG_RCX])
                     : "memory");
    }
    rmw_end(p, &r, 16);
    p->status = (p->status & ~FLAG_ZF) | (equal ? FLAG_ZF : 0);
    if (!equal) {
        p->gpr[REG_RAX] = low;
        p->gpr[REG_RDX] = high;
    }
    return next_insn(p, i);
}

exec_fn *exec_bind_exchange(const struct insn *i, uint32_t mode)
{
    (void)mode;
    unsigned size = insn_operand_size(i, 0);
    switch (i->attr->op) {
    case OP_XCHG:
        return (i->mod3 ? xchg_r_sized : xchg_m_sized)[size_index(size)];
    case OP_XADD:
        return xadd_sized[size_index(size)];
    case OP_CMPXCHG:
        return cmpxchg_sized[size_index(size)];
    default: /* OP_CMPXCHG8B */
        return i->opsize == 8 ? cmpxchg16b : cmpxchg8b;
    }
}
