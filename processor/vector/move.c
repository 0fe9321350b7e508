/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commonest moves, in plain C: they are most of what memcpy, strlen and compiled code do with
 * vector registers.  Non-temporal ones are ordinary here, so that they keep the order that the
 * guest's fences ask for.
 */
#include "vector.h"

enum shape { LOAD, STORE, COPY };

ALWAYS_INLINE void copy16(void *to, const void *from)
{
    typedef long long vector __attribute__((vector_size(16), may_alias, aligned(1)));
    *(vector *)to = *(const vector *)from;
}

ALWAYS_INLINE void zero_upper(struct processor *p, unsigned reg)
{
    p->vector.ymm[reg].q[2] = p->vector.ymm[reg].q[3] = 0;
}

/* Whole registers: 16 bytes of legacy SSE and VEX.128, 32 of VEX.256. */
ALWAYS_INLINE const struct insn *whole(struct processor *p, const struct insn *i, enum shape shape,
                                       unsigned size, bool vex)
{
    uint8_t *reg = p->vector.ymm[i->reg].b;
    if (vex)
        need_avx(p);
    else
        need_sse(p);
    if (shape == STORE) {
        uint64_t linear = vector_linear(p, i, size, MEM_WRITE);
        uint8_t *to = store_host(p, linear, size);
        if (unlikely(!to)) {
            mem_write_bytes(p, linear, reg, size);
            return i + 1;
        }
        copy16(to, reg);
        if (size == 32)
            copy16(to + 16, reg + 16);
        return i + 1;
    }
    const uint8_t *from;
    if (shape == COPY)
        from = p->vector.ymm[i->rm].b;
    else
        from = load_operand(p, vector_linear(p, i, size, MEM_READ), size, p->stubs->bounce);
    copy16(reg, from);
    if (size == 32)
        copy16(reg + 16, from + 16);
    else if (vex)
        zero_upper(p, i->reg);
    return i + 1;
}

/* The low 4 or 8 bytes; a load clears the rest of the register (of its XMM part without VEX). */
ALWAYS_INLINE const struct insn *scalar(struct processor *p, const struct insn *i, enum shape shape,
                                        unsigned size, bool vex)
{
    if (vex)
        need_avx(p);
    else
        need_sse(p);
    if (shape == STORE) {
        mem_write(p, insn_linear(p, i, size, MEM_WRITE), p->vector.ymm[i->reg].q[0], size);
        return i + 1;
    }
    uint64_t value = mem_read(p, insn_linear(p, i, size, MEM_READ), size);
    p->vector.ymm[i->reg].q[0] = value;
    p->vector.ymm[i->reg].q[1] = 0;
    if (vex)
        zero_upper(p, i->reg);
    return i + 1;
}

/* MOVD and MOVQ between XMM and general registers. */
ALWAYS_INLINE const struct insn *general(struct processor *p, const struct insn *i, bool to_gpr,
                                         unsigned size)
{
    need_vector(p, i);
    if (to_gpr) {
        uint64_t value = p->vector.ymm[i->reg].q[0];
        p->gpr[i->rm] = size == 8 ? value : (uint32_t)value;
        return i + 1;
    }
    uint64_t value = p->gpr[i->rm];
    p->vector.ymm[i->reg].q[0] = size == 8 ? value : (uint32_t)value;
    p->vector.ymm[i->reg].q[1] = 0;
    if (i->prefixes & PREFIX_VEX)
        zero_upper(p, i->reg);
    return i + 1;
}

#define MOVE(name, function, ...)                                                                  \
    static HANDLER(name)                                                                           \
    {                                                                                              \
        return function(p, i, __VA_ARGS__);                                                        \
    }
MOVE(load16, whole, LOAD, 16, false)
MOVE(store16, whole, STORE, 16, false)
MOVE(copy16_reg, whole, COPY, 16, false)
MOVE(vload16, whole, LOAD, 16, true)
MOVE(vstore16, whole, STORE, 16, true)
MOVE(vcopy16, whole, COPY, 16, true)
MOVE(vload32, whole, LOAD, 32, true)
MOVE(vstore32, whole, STORE, 32, true)
MOVE(vcopy32, whole, COPY, 32, true)
MOVE(load4, scalar, LOAD, 4, false)
MOVE(load8, scalar, LOAD, 8, false)
MOVE(store4, scalar, STORE, 4, false)
MOVE(store8, scalar, STORE, 8, false)
MOVE(vload4, scalar, LOAD, 4, true)
MOVE(vload8, scalar, LOAD, 8, true)
MOVE(vstore4, scalar, STORE, 4, true)
MOVE(vstore8, scalar, STORE, 8, true)
MOVE(to_gpr4, general, true, 4)
MOVE(to_gpr8, general, true, 8)
MOVE(from_gpr4, general, false, 4)
MOVE(from_gpr8, general, false, 8)
#undef MOVE

static exec_fn *bind_whole(const struct insn *i, bool store)
{
    static exec_fn *const table[3][3] = {
        {load16, store16, copy16_reg},
        {vload16, vstore16, vcopy16},
        {vload32, vstore32, vcopy32},
    };
    unsigned width = i->prefixes & PREFIX_VEX ? 1 + insn_vex_l(i) : 0;
    if (!i->mod3)
        return table[width][store ? STORE : LOAD];
    /* The store form writes ModRM.rm: rare, and left to a stub. */
    return store ? NULL : table[width][COPY];
}

static exec_fn *bind_scalar(const struct insn *i, bool store, unsigned size)
{
    static exec_fn *const table[2][2][2] = {
        {{load4, load8}, {store4, store8}},
        {{vload4, vload8}, {vstore4, vstore8}},
    };
    if (i->mod3)
        return NULL;
    return table[(i->prefixes & PREFIX_VEX) != 0][store][size == 8];
}

static exec_fn *bind_movd(const struct insn *i, bool store)
{
    unsigned size = insn_operand_size(i, store ? 0 : 1);
    if (!i->mod3)
        return bind_scalar(i, store, size);
    if (store)
        return size == 8 ? to_gpr8 : to_gpr4;
    return size == 8 ? from_gpr8 : from_gpr4;
}

exec_fn *bind_move(const struct insn *i)
{
    unsigned pp = insn_pp(i);
    if (i->map == MAP_0F38)
        return i->opcode == 0x2a && pp == 1 ? bind_whole(i, false) : NULL; /* MOVNTDQA */
    if (i->map != MAP_0F)
        return NULL;
    switch (i->opcode) {
    case 0x10: /* MOVUPS, MOVUPD, MOVSS, MOVSD */
    case 0x11:
        if (pp < 2)
            return bind_whole(i, i->opcode & 1);
        return bind_scalar(i, i->opcode & 1, pp == 2 ? 4 : 8);
    case 0x28: /* MOVAPS, MOVAPD */
    case 0x29:
        return pp < 2 ? bind_whole(i, i->opcode & 1) : NULL;
    case 0x2b: /* MOVNTPS, MOVNTPD */
        return pp < 2 ? bind_whole(i, true) : NULL;
    case 0x6e:
        return pp == 1 ? bind_movd(i, false) : NULL;
    case 0x6f: /* MOVDQA, MOVDQU; without prefix MMX */
        return pp == 1 || pp == 2 ? bind_whole(i, false) : NULL;
    case 0x7e:
        if (pp == 2)
            return bind_scalar(i, false, 8); /* MOVQ */
        return pp == 1 ? bind_movd(i, true) : NULL;
    case 0x7f:
        return pp == 1 || pp == 2 ? bind_whole(i, true) : NULL;
    case 0xd6:
        return pp == 1 ? bind_scalar(i, true, 8) : NULL; /* MOVQ */
    case 0xe7:
        return pp == 1 ? bind_whole(i, true) : NULL; /* MOVNTDQ */
    case 0xf0:
        return pp == 3 ? bind_whole(i, false) : NULL; /* LDDQU */
    default:
        return NULL;
    }
}
