/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the handlers of processor/exec share: operand access, flags, stack, branches, and the tables
 * that exec_bind picks handlers from.  Internal to this folder.
 *
 * Handlers come in two kinds.  The general ones work in every mode, with every segment and address
 * size, and reach memory through mem_read and its kin.  The "64" ones serve memory operands with
 * 64-bit addresses in 64-bit mode: they contain nothing but the TLB hit, and hand everything else
 * to their general sibling by a tail call, so that they need no stack frame.
 */
#ifndef TRAPEZE_EXEC_H
#define TRAPEZE_EXEC_H

#include "processor/core/core.h"
#include "processor/decode/decode.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define HANDLER(name) static const struct insn *name(struct processor *p, const struct insn *i)

/* ---------------------------------------------------------------- going on */

/* Goes on to the instruction after I, by a tail call: a third to a half faster than returning I + 1
 * to the run loop, which means the same.  Taken branches return, so that without tail calls (an
 * unoptimized build) the stack is no deeper than a block is long. */
ALWAYS_INLINE const struct insn *next_insn(struct processor *p, const struct insn *i)
{
    const struct insn *next = i + 1;
    p->insn = next;
    p->icount++;
    return next->exec(p, next);
}

/* ---------------------------------------------------------------- picking handlers */

typedef exec_fn *bind_fn(const struct insn *i, uint32_t mode);
bind_fn exec_bind_alu, exec_bind_unary, exec_bind_shift, exec_bind_double_shift, exec_bind_muldiv;
bind_fn exec_bind_move, exec_bind_extend, exec_bind_convert, exec_bind_cmov, exec_bind_setcc,
    exec_bind_exchange;
bind_fn exec_bind_stack, exec_bind_branch, exec_bind_bit_test, exec_bind_bit_scan, exec_bind_bmi,
    exec_bind_bcd;
bind_fn exec_bind_string, exec_bind_io, exec_bind_misc;

/* Where the two operands of an instruction are, first the destination.  R in ModRM.rm (or the
 * opcode), G in ModRM.reg (or the accumulator), M memory, I immediate.  The last three are the
 * memory forms with 64-bit addresses in 64-bit mode, without LOCK. */
enum form {
    FORM_RG,
    FORM_GR,
    FORM_RI,
    FORM_GI,
    FORM_GM,
    FORM_MG,
    FORM_MI,
    FORM_GM64,
    FORM_MG64,
    FORM_MI64,
    FORM_COUNT
};
/* FORM_COUNT when the operands have none of these forms. */
enum form exec_form(const struct insn *i, uint32_t mode);

/* True when I's memory operand suits the "64" handlers. */
static inline bool insn_is_fast64(const struct insn *i, uint32_t mode)
{
    return (mode & MODE_DECODE) == DECODE_64 && i->addrsize == 8 && !(i->prefixes & PREFIX_LOCK);
}

/* Index of a size of 1, 2, 4 or 8 bytes in the handler tables. */
static inline unsigned size_index(unsigned size)
{
    return size == 8 ? 3 : size >> 1;
}

/* Makes the four handlers of NAME, an inline function with the operand size as third argument, and
 * their table NAME_sized; SIZED_WORDS leaves bytes out. */
#define SIZED(name)                                                                                \
    HANDLER(name##_1)                                                                              \
    {                                                                                              \
        return name(p, i, 1);                                                                      \
    }                                                                                              \
    SIZED_BODIES(name)                                                                             \
    static exec_fn *const name##_sized[4] = {name##_1, name##_2, name##_4, name##_8};
#define SIZED_WORDS(name)                                                                          \
    SIZED_BODIES(name)                                                                             \
    static exec_fn *const name##_sized[4] = {exec_invalid, name##_2, name##_4, name##_8};
#define SIZED_BODIES(name)                                                                         \
    HANDLER(name##_2)                                                                              \
    {                                                                                              \
        return name(p, i, 2);                                                                      \
    }                                                                                              \
    HANDLER(name##_4)                                                                              \
    {                                                                                              \
        return name(p, i, 4);                                                                      \
    }                                                                                              \
    HANDLER(name##_8)                                                                              \
    {                                                                                              \
        return name(p, i, 8);                                                                      \
    }

/* ---------------------------------------------------------------- memory */

ALWAYS_INLINE uint64_t host_load(const void *host, unsigned size)
{
    switch (size) {
    case 1:
        return host_load8(host);
    case 2:
        return host_load16(host);
    case 4:
        return host_load32(host);
    default:
        return host_load64(host);
    }
}
ALWAYS_INLINE void host_store(void *host, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        host_store8(host, (uint8_t)value);
        break;
    case 2:
        host_store16(host, (uint16_t)value);
        break;
    case 4:
        host_store32(host, (uint32_t)value);
        break;
    default:
        host_store64(host, value);
        break;
    }
}

/* True on a TLB hit, with the host address in *HOST. */
ALWAYS_INLINE bool tlb_hit(struct processor *p, uint64_t linear, unsigned size, unsigned access,
                           void **host)
{
    const struct tlb_entry *e = tlb_entry(p, linear);
    uint64_t tag = access == MEM_WRITE ? e->write : e->read;
    *host = (void *)(e->host + (linear ^ tag));
    return likely((linear ^ tag) <= PAGE_BYTES - size);
}

/* The same for the memory operand of an instruction that insn_is_fast64. */
ALWAYS_INLINE bool operand_hit(struct processor *p, const struct insn *i, unsigned size,
                               unsigned access, void **host)
{
    uint64_t linear =
        p->flat_base[i->seg] + p->gpr[i->base] + (p->gpr[i->index] << i->scale) + (uint64_t)i->disp;
    return tlb_hit(p, linear, size, access, host);
}

/* The ModRM.rm operand, register or memory. */
ALWAYS_INLINE uint64_t rm_read(struct processor *p, const struct insn *i, unsigned size)
{
    if (i->mod3)
        return reg_read(p, i->rm, size);
    return mem_read(p, insn_linear(p, i, size, MEM_READ), size);
}
ALWAYS_INLINE void rm_write(struct processor *p, const struct insn *i, uint64_t value,
                            unsigned size)
{
    if (i->mod3)
        reg_write(p, i->rm, value, size);
    else
        mem_write(p, insn_linear(p, i, size, MEM_WRITE), value, size);
}

/* A read-modify-write of memory.  rmw_begin gives the address to operate on (with host LOCK where
 * the guest's has it): the guest's memory, or r->value, a copy that rmw_end writes back.  Nothing
 * architectural may change before rmw_end, which can still leave by a bus access. */
struct rmw {
    uint64_t linear;
    bool copied;
    bool exclusive;
    uint64_t value[2];
};
void *exec_rmw_begin(struct processor *p, struct rmw *r, unsigned size, bool lock);
void exec_rmw_end(struct processor *p, struct rmw *r, unsigned size);

ALWAYS_INLINE void *rmw_begin(struct processor *p, struct rmw *r, uint64_t linear, unsigned size,
                              bool lock)
{
    void *host = mem_rmw(p, linear, size);
    r->linear = linear;
    r->copied = r->exclusive = false;
    if (unlikely(!host))
        return exec_rmw_begin(p, r, size, lock);
    return host;
}
ALWAYS_INLINE void rmw_end(struct processor *p, struct rmw *r, unsigned size)
{
    if (unlikely(r->copied))
        exec_rmw_end(p, r, size);
    else
        mem_rmw_done(p);
}

/* ---------------------------------------------------------------- flags */

/* Appended to inline assembly with an "=a" output: leaves SF, ZF, AF, PF, CF in AH, OF in AL. */
#define CAPTURE_FLAGS "\n\tlahf\n\tseto %%al"

/* What CAPTURE_FLAGS left, in EFLAGS positions. */
ALWAYS_INLINE uint32_t status_captured(uint32_t ax)
{
    return (ax >> 8 & (FLAGS_STATUS & 0xff)) | (ax & 1) << 11;
}

/* Condition code CC, the low four bits of the opcode (SDM volume 1, appendix B). */
ALWAYS_INLINE bool status_condition(uint32_t status, unsigned cc)
{
    bool result;
    switch (cc >> 1 & 7) {
    case 0:
        result = status & FLAG_OF;
        break;
    case 1:
        result = status & FLAG_CF;
        break;
    case 2:
        result = status & FLAG_ZF;
        break;
    case 3:
        result = status & (FLAG_CF | FLAG_ZF);
        break;
    case 4:
        result = status & FLAG_SF;
        break;
    case 5:
        result = status & FLAG_PF;
        break;
    case 6: /* OF is four bits above SF */
        result = (status ^ status >> 4) & FLAG_SF;
        break;
    default:
        result = ((status ^ status >> 4) & FLAG_SF) | (status & FLAG_ZF);
        break;
    }
    return result != (cc & 1);
}
static inline bool condition(const struct processor *p, unsigned cc)
{
    return status_condition(p->status, cc);
}

/* ---------------------------------------------------------------- stack */

/* Width of the stack pointer, as a mask. */
static inline uint64_t stack_mask(const struct processor *p)
{
    if (likely((p->mode & MODE_DECODE) == DECODE_64))
        return ~0ull;
    return p->mode & MODE_STACK16 ? 0xffff : 0xffffffff;
}
/* RSP after adding DELTA to stack pointer RSP: SP keeps the bits above it. */
static inline uint64_t stack_add(const struct processor *p, uint64_t rsp, uint64_t delta)
{
    uint64_t mask = stack_mask(p);
    uint64_t kept = mask == 0xffff ? rsp & ~0xffffull : 0;
    return kept | ((rsp + delta) & mask);
}
static inline uint64_t stack_linear(struct processor *p, uint64_t rsp, unsigned size,
                                    unsigned access)
{
    return segment_linear(p, SEG_SS, rsp & stack_mask(p), size, access);
}
/* Pushes VALUE; the last step that can fault. */
ALWAYS_INLINE void stack_push(struct processor *p, uint64_t value, unsigned size)
{
    uint64_t rsp = stack_add(p, p->gpr[REG_RSP], -(uint64_t)size);
    mem_write(p, stack_linear(p, rsp, size, MEM_WRITE), value, size);
    p->gpr[REG_RSP] = rsp;
}
/* Reads the top of the stack; the caller moves RSP when nothing can fault any more. */
ALWAYS_INLINE uint64_t stack_top(struct processor *p, unsigned size)
{
    return mem_read(p, stack_linear(p, p->gpr[REG_RSP], size, MEM_READ), size);
}

/* ---------------------------------------------------------------- branches */

/* All taken branches end here, with TARGET checked. */
static inline const struct insn *branch_to(struct processor *p, const struct insn *i,
                                           uint64_t target)
{
    (void)i;
    p->rip = target;
    return NULL;
}

/* TARGET as RIP: truncated to the operand size and within the code segment, or canonical; else
 * #GP(0). */
static inline uint64_t branch_target(struct processor *p, const struct insn *i, uint64_t target)
{
    if (likely((p->mode & MODE_DECODE) == DECODE_64)) {
        if (unlikely(!linear_is_canonical(p, target)))
            raise_gp(p);
        return target;
    }
    target = i->opsize == 2 ? (uint16_t)target : (uint32_t)target;
    if (unlikely(target > p->segment[SEG_CS].limit))
        raise_gp(p);
    return target;
}

/* RIP to store so that the current instruction runs again (a repeated string instruction). */
static inline uint64_t insn_rip_again(const struct processor *p, const struct insn *i)
{
    uint64_t rip = insn_rip(p, i);
    return (p->mode & MODE_DECODE) == DECODE_64 ? rip : (uint32_t)rip;
}

#endif
