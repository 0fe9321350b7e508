/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The generator of stubs.
 *
 * A stub is called with rdi = ModRM.reg's operand, rsi = ModRM.rm's, rdx = VEX.vvvv's, rcx = the
 * is4 or implicit XMM0 operand, r8 = the frame.  It uses xmm0 for the implicit operand, xmm1 to
 * xmm4 for the explicit ones in that order, and rax for a general register (no instruction has
 * two); MMX registers keep their numbers, since the whole x87 image is loaded around them.  A
 * memory operand is [rsi].  So no instruction needs a REX bit but W.
 */
#include "vector.h"

enum { HOST_RAX = 0, HOST_RCX = 1, HOST_RDX = 2, HOST_RSI = 6, HOST_RDI = 7 };
enum { HOST_XMM_IMPLICIT, HOST_XMM_REG, HOST_XMM_RM, HOST_XMM_V, HOST_XMM_IMM };

static bool has_operand(const struct insn_attr *a, unsigned kind)
{
    for (unsigned n = 0; n < ARRAY_SIZE(a->operand); n++)
        if (a->operand[n].kind == kind)
            return true;
    return false;
}

static unsigned operand_access(const struct insn_attr *a, unsigned kind)
{
    unsigned access = ACCESS_NONE;
    for (unsigned n = 0; n < ARRAY_SIZE(a->operand); n++)
        if (a->operand[n].kind == kind)
            access |= a->operand[n].access;
    return access;
}

bool insn_uses_mmx(const struct insn_attr *a)
{
    return has_operand(a, OPERAND_MMX_REG) || has_operand(a, OPERAND_MMX_RM);
}

bool insn_uses_xmm(const struct insn_attr *a)
{
    return has_operand(a, OPERAND_XMM_REG) || has_operand(a, OPERAND_XMM_RM) ||
           has_operand(a, OPERAND_XMM_V);
}

bool insn_reads_xmm0(const struct insn_attr *a)
{
    return operand_access(a, OPERAND_XMM0) & ACCESS_READ || a->implicit_read & IMPLICIT_XMM0;
}

bool insn_writes_xmm0(const struct insn_attr *a)
{
    return operand_access(a, OPERAND_XMM0) & ACCESS_WRITE || a->implicit_written & IMPLICIT_XMM0;
}

bool insn_reads_lengths(const struct insn_attr *a)
{
    return a->implicit_read & BIT(REG_RDX);
}

bool insn_writes_index(const struct insn_attr *a)
{
    return a->implicit_written & BIT(REG_RCX);
}

void stub_shape(const struct processor *p, const struct insn *i, struct stub_shape *s)
{
    const struct insn_attr *a = i->attr;
    unsigned reg = i->modrm >> 3 & 7, rm = i->modrm & 7;
    bool gpr = has_operand(a, OPERAND_REG) || has_operand(a, OPERAND_RM) || insn_reads_lengths(a);

    if (has_operand(a, OPERAND_XMM_REG))
        reg = HOST_XMM_REG;
    else if (has_operand(a, OPERAND_REG))
        reg = HOST_RAX;
    if (!i->mod3)
        rm = HOST_RSI;
    else if (has_operand(a, OPERAND_XMM_RM))
        rm = HOST_XMM_RM;
    else if (has_operand(a, OPERAND_RM))
        rm = HOST_RAX;

    memset(s, 0, sizeof(*s));
    s->attr = a;
    s->map = i->map;
    s->opcode = i->opcode;
    s->mod3 = i->mod3;
    s->modrm = (uint8_t)((i->mod3 ? 0xc0 : 0) | reg << 3 | rm);
    if (i->map != MAP_ONE) {
        s->pp = (uint8_t)insn_pp(i);
        s->vex = i->prefixes & PREFIX_VEX;
        s->l = s->vex && insn_vex_l(i);
        s->w = s->vex ? insn_vex_w(i) : i->opsize == 8;
        /* Outside 64-bit mode there are no 64-bit general registers, but the stub is in it. */
        if (gpr && (p->mode & MODE_DECODE) != DECODE_64)
            s->w = false;
    }
    s->vvvv = has_operand(a, OPERAND_XMM_V) ? HOST_XMM_V : 0;
    if (has_operand(a, OPERAND_XMM_IMM)) {
        s->has_imm = true;
        s->imm = (uint8_t)(HOST_XMM_IMM << 4 | (i->imm & 15));
    } else if (has_operand(a, OPERAND_IMM)) {
        s->has_imm = true;
        s->imm = (uint8_t)i->imm;
    }
}

uint64_t stub_key(const struct stub_shape *s)
{
    return (uint64_t)s->opcode | (uint64_t)s->modrm << 8 | (uint64_t)s->imm << 16 |
           (uint64_t)s->map << 24 | (uint64_t)s->pp << 26 | (uint64_t)s->vvvv << 28 |
           (uint64_t)s->vex << 32 | (uint64_t)s->l << 33 | (uint64_t)s->w << 34 |
           (uint64_t)s->has_imm << 35;
}

/* ---------------------------------------------------------------- bytes */

struct code {
    uint8_t *at;
};

static void byte(struct code *c, unsigned b)
{
    *c->at++ = (uint8_t)b;
}

static void bytes(struct code *c, const uint8_t *from, size_t count)
{
    memcpy(c->at, from, count);
    c->at += count;
}
#define EMIT(c, ...)                                                                               \
    bytes(c, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* A field of the frame, as an 8-bit displacement from r8. */
#define FRAME(field) ((uint8_t)offsetof(struct stub_frame, field))
_Static_assert(sizeof(struct stub_frame) <= 128, "frame fields have 8-bit displacements");

/* movups or vmovdqu ymm between xmm N and [POINTER]. */
static void move_xmm(struct code *c, bool vex, bool store, unsigned n, unsigned pointer)
{
    if (vex)
        EMIT(c, 0xc5, 0xfe, store ? 0x7f : 0x6f);
    else
        EMIT(c, 0x0f, store ? 0x11 : 0x10);
    byte(c, n << 3 | pointer);
}

/* mov between rax and [POINTER]. */
static void move_gpr(struct code *c, bool store, unsigned pointer)
{
    EMIT(c, 0x48, store ? 0x89 : 0x8b);
    byte(c, HOST_RAX << 3 | pointer);
}

static void load_frame_rax(struct code *c, uint8_t field)
{
    EMIT(c, 0x49, 0x8b, 0x40, field);
}

static void load_frame_r9(struct code *c, uint8_t field)
{
    EMIT(c, 0x4d, 0x8b, 0x48, field);
}

static void ldmxcsr(struct code *c, uint8_t field)
{
    EMIT(c, 0x41, 0x0f, 0xae, 0x50, field);
}

static void stmxcsr(struct code *c, uint8_t field)
{
    EMIT(c, 0x41, 0x0f, 0xae, 0x58, field);
}

/* The instruction itself. */
static void emit_insn(struct code *c, const struct stub_shape *s)
{
    static const uint8_t prefix[4] = {0, 0x66, 0xf3, 0xf2};
    if (s->vex) {
        byte(c, 0xc4);
        byte(c, 0xe0 | s->map); /* no register above 7: R, X and B are 1 */
        byte(c, s->w << 7 | (~s->vvvv & 15) << 3 | s->l << 2 | s->pp);
    } else {
        if (s->pp)
            byte(c, prefix[s->pp]);
        if (s->w)
            byte(c, 0x48);
        if (s->map != MAP_ONE)
            byte(c, 0x0f);
        if (s->map == MAP_0F38)
            byte(c, 0x38);
        if (s->map == MAP_0F3A)
            byte(c, 0x3a);
    }
    byte(c, s->opcode);
    byte(c, s->modrm);
    if (s->has_imm)
        byte(c, s->imm);
}
_Static_assert(MAP_0F == 1 && MAP_0F38 == 2 && MAP_0F3A == 3, "maps are numbered as in VEX");

/* ---------------------------------------------------------------- a stub */

static void load_operands(struct code *c, const struct stub_shape *s)
{
    const struct insn_attr *a = s->attr;
    /* Destinations are loaded too: many instructions write only part of them. */
    if (insn_reads_xmm0(a))
        move_xmm(c, s->vex, false, HOST_XMM_IMPLICIT, HOST_RCX);
    if (has_operand(a, OPERAND_XMM_REG))
        move_xmm(c, s->vex, false, HOST_XMM_REG, HOST_RDI);
    if (s->mod3 && has_operand(a, OPERAND_XMM_RM))
        move_xmm(c, s->vex, false, HOST_XMM_RM, HOST_RSI);
    if (has_operand(a, OPERAND_XMM_V))
        move_xmm(c, s->vex, false, HOST_XMM_V, HOST_RDX);
    if (has_operand(a, OPERAND_XMM_IMM))
        move_xmm(c, s->vex, false, HOST_XMM_IMM, HOST_RCX);
    if (has_operand(a, OPERAND_REG))
        move_gpr(c, false, HOST_RDI);
    if (s->mod3 && has_operand(a, OPERAND_RM))
        move_gpr(c, false, HOST_RSI);
    if (insn_reads_lengths(a)) {
        load_frame_r9(c, FRAME(gpr));
        EMIT(c, 0x49, 0x8b, 0x01);                             /* mov rax, [r9] */
        EMIT(c, 0x49, 0x8b, 0x51, REG_RDX * sizeof(uint64_t)); /* mov rdx, [r9 + 16] */
    }
}

static void store_results(struct code *c, const struct stub_shape *s)
{
    const struct insn_attr *a = s->attr;
    if (operand_access(a, OPERAND_XMM_REG) & ACCESS_WRITE)
        move_xmm(c, s->vex, true, HOST_XMM_REG, HOST_RDI);
    if (s->mod3 && operand_access(a, OPERAND_XMM_RM) & ACCESS_WRITE)
        move_xmm(c, s->vex, true, HOST_XMM_RM, HOST_RSI);
    if (operand_access(a, OPERAND_XMM_V) & ACCESS_WRITE)
        move_xmm(c, s->vex, true, HOST_XMM_V, HOST_RDX);
    if (operand_access(a, OPERAND_REG) & ACCESS_WRITE)
        move_gpr(c, true, HOST_RDI);
    if (s->mod3 && operand_access(a, OPERAND_RM) & ACCESS_WRITE)
        move_gpr(c, true, HOST_RSI);
    if (insn_writes_xmm0(a))
        move_xmm(c, s->vex, true, HOST_XMM_IMPLICIT, HOST_RCX);
    if (insn_writes_index(a)) {
        load_frame_r9(c, FRAME(gpr));
        EMIT(c, 0x49, 0x89, 0x49, REG_RCX * sizeof(uint64_t)); /* mov [r9 + 8], rcx */
    }
}

size_t stub_emit(const struct stub_shape *s, uint8_t *to)
{
    const struct insn_attr *a = s->attr;
    bool x87 = s->map == MAP_ONE || insn_uses_mmx(a);
    bool sse_fp = s->map != MAP_ONE && a->traits & TRAIT_FP;
    bool flags_out = a->traits & TRAIT_EFLAGS_OUT || a->flags_written;
    bool flags_in = a->flags_read || (x87 && flags_out); /* FCOMI leaves some as they are */
    struct code c = {to};

    if (x87 || sse_fp)
        stmxcsr(&c, FRAME(host_mxcsr));
    if (x87) {
        EMIT(&c, 0x41, 0xd9, 0x78, FRAME(host_fcw)); /* fnstcw */
        load_frame_rax(&c, FRAME(x87_in));
        EMIT(&c, 0x48, 0x0f, 0xae, 0x08); /* fxrstor64 [rax] */
    }
    load_operands(&c, s);
    if (sse_fp)
        ldmxcsr(&c, FRAME(mxcsr));
    if (flags_in)
        EMIT(&c, 0x41, 0xff, 0x70, FRAME(flags), 0x9d); /* push [flags]; popfq */
    emit_insn(&c, s);
    if (flags_out)
        EMIT(&c, 0x9c, 0x41, 0x8f, 0x40, FRAME(flags)); /* pushfq; pop [flags] */
    if (sse_fp)
        stmxcsr(&c, FRAME(mxcsr));
    store_results(&c, s);
    if (x87) {
        load_frame_rax(&c, FRAME(x87_out));
        EMIT(&c, 0x48, 0x0f, 0xae, 0x00);                        /* fxsave64 [rax] */
        EMIT(&c, 0xdb, 0xe3, 0x41, 0xd9, 0x68, FRAME(host_fcw)); /* fninit; fldcw */
    }
    if (x87 || sse_fp)
        ldmxcsr(&c, FRAME(host_mxcsr));
    if (s->vex)
        EMIT(&c, 0xc5, 0xf8, 0x77); /* vzeroupper */
    byte(&c, 0xc3);                 /* ret */
    return (size_t)(c.at - to);
}
