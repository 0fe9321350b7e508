/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 and MMX instructions, emitted again on the host's registers.
 *
 * Those hold the guest's only while the frame says so (FRAME_X87), as with vector registers; the C
 * library and the ABI want them empty, so thunks put them away before C is called.  That happens
 * only while the guest masks all x87 exceptions: an unmasked one would be a signal here, and the
 * handlers know how to find it.
 *
 * The host's pointers to the last instruction and its operand are addresses of translations, which
 * the guest must not see; its own stand in the frame.  The operand's address is stored at each
 * access.  The instruction's is stored where it may be the last for a while, before a branch and
 * what sees or sets the pointers; when C is called in between, the block tells (x87_note_last).
 */
#include "internal.h"

#include "processor/decode/decode.h"

#define FXSAVE_AT ((int32_t)offsetof(struct processor, vector.fxsave))

bool x87_native(const struct processor *p)
{
    enum { MASKS = 0x3f };
    uint16_t fcw;
    memcpy(&fcw, p->vector.fxsave + FX_FCW, sizeof(fcw));
    return !(p->cr0 & (CR0_EM | CR0_TS)) && (fcw & MASKS) == MASKS;
}

void lower_need_x87(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->x87)
        return;
    if (l->live)
        lower_save_flags(l);
    uint32_t site = lower_site(l);
    emit_op(e, &(struct host_op){.opcode = 0x80, /* cmp byte [frame], 0; je */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .memory = true,
                                 .rm = HOST_RSP,
                                 .disp = FRAME(FRAME_X87),
                                 .immediates = 1});
    lower_late(l, LATE_X87, emit_jump_if(e, CC_Z, NULL), site);
    l->t->sites[site].resume = translator_executable(l->t, e->at);
    if (l->live)
        lower_load_flags(l);
    l->x87 = true;
    l->b->x87 = true;
}

/* ---------------------------------------------------------------- pointers */

/* True for instructions that other ways may lead to, or that see or set the pointers. */
static bool is_barrier(const struct insn *i)
{
    const struct insn_attr *a = i->attr;
    if (a->traits & TRAIT_BRANCH)
        return true;
    if (a->class == CLASS_GENERAL)
        return false;
    bool init = i->opcode == 0xdb && i->modrm == 0xe3; /* FNINIT */
    return !((a->op == OP_X87 && !init) || a->op == OP_NATIVE || a->op == OP_FWAIT ||
             a->op == OP_EMMS || a->op == OP_VZEROUPPER || a->op == OP_VZEROALL);
}

static bool sets_pointers(const struct insn *i)
{
    return i->attr->op == OP_X87 && !x87_is_control(i);
}

/* Whether nothing between instruction N of B and the next barrier sets the pointers. */
static bool is_last(const struct code_block *b, unsigned n)
{
    while (++n < b->count && !is_barrier(&b->insn[n])) {
        if (sets_pointers(&b->insn[n]))
            return false;
    }
    return true;
}

void x87_note_last(struct processor *p, const struct translate_site *s)
{
    const struct code_block *b = s->block;
    if (!s->x87)
        return;
    for (unsigned n = s->index; n-- > 0 && !is_barrier(&b->insn[n]);) {
        if (sets_pointers(&b->insn[n])) {
            x87_set_last(p, &b->insn[n]);
            return;
        }
    }
}

/* Stores FOP and FIP. */
static void record(struct lowering *l)
{
    struct emitter *e = &l->e;
    lower_code_address(l, T1, l->i->offset);
    emit_store(e, HOST_RSP, FRAME(FRAME_FIP), T1);
    emit_op(e, &(struct host_op){.wide = true, /* mov qword [frame], opcode */
                                 .opcode = 0xc7,
                                 .has_modrm = true,
                                 .memory = true,
                                 .rm = HOST_RSP,
                                 .disp = FRAME(FRAME_FOP),
                                 .immediates = 4,
                                 .immediate = x87_opcode(l->i)});
}

/* ---------------------------------------------------------------- in and out of registers */

/* An instruction of 0F AE, or of D9, on [BASE + DISP]. */
static void emit_state_op(struct emitter *e, unsigned opcode, unsigned reg, enum host_register base,
                          int32_t disp)
{
    bool two = opcode == 0xae;
    emit_op(e, &(struct host_op){.wide = two && reg < 2, /* FXSAVE64, FXRSTOR64 */
                                 .map = two ? MAP_0F : MAP_ONE,
                                 .opcode = (uint8_t)opcode,
                                 .has_modrm = true,
                                 .reg = (uint8_t)reg,
                                 .memory = true,
                                 .rm = (uint8_t)base,
                                 .disp = disp});
}
enum { FXSAVE, FXRSTOR, LDMXCSR };
enum { FLDCW = 5, FNSTCW = 7 };
#define HOST_FCW (FRAME(FRAME_X87) + 4)

/* Copies between a pointer's field of the image, p in RBP, and the frame. */
static void copy_pointer(struct emitter *e, bool to_image, int32_t image, int32_t frame,
                         bool narrow)
{
    for (unsigned n = 0; n < 2; n++) {
        bool store = n == 1;
        emit_op(e, &(struct host_op){.wide = !narrow,
                                     .operand16 = narrow,
                                     .opcode = store ? 0x89 : 0x8b,
                                     .has_modrm = true,
                                     .reg = HOST_RAX,
                                     .memory = true,
                                     .rm = store == to_image ? HOST_RBP : HOST_RSP,
                                     .disp = store == to_image ? FXSAVE_AT + image : frame});
    }
}

static void copy_pointers(struct emitter *e, bool to_image)
{
    copy_pointer(e, to_image, FX_FOP, FRAME(FRAME_FOP), true);
    copy_pointer(e, to_image, FX_FIP, FRAME(FRAME_FIP), false);
    copy_pointer(e, to_image, FX_FDP, FRAME(FRAME_FDP), false);
}

static uint8_t *skip_unless_loaded(struct emitter *e)
{
    emit_op(e, &(struct host_op){.opcode = 0x80, /* cmp byte [frame], 0; je */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .memory = true,
                                 .rm = HOST_RSP,
                                 .disp = FRAME(FRAME_X87),
                                 .immediates = 1});
    return emit_jump_if(e, CC_Z, NULL);
}

void x87_emit_load(struct emitter *e)
{
    uint8_t *over = skip_unless_loaded(e);
    emit_state_op(e, 0xd9, FNSTCW, HOST_RSP, HOST_FCW);
    emit_state_op(e, 0xae, FXRSTOR, HOST_RBP, FXSAVE_AT);
    emit_state_op(e, 0xae, LDMXCSR, HOST_RSP, FRAME(FRAME_MXCSR));
    copy_pointers(e, false);
    emit_patch(over, e->at);
}

void x87_emit_store(struct emitter *e)
{
    uint8_t *over = skip_unless_loaded(e);
    emit_state_op(e, 0xae, FXSAVE, HOST_RBP, FXSAVE_AT);
    EMIT(e, 0xdb, 0xe3); /* fninit */
    emit_state_op(e, 0xd9, FLDCW, HOST_RSP, HOST_FCW);
    copy_pointers(e, true);
    emit_patch(over, e->at);
}

/* ---------------------------------------------------------------- instructions */

/* FLDCW: what unmasks an exception is left to its handler. */
static void load_control(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->live)
        lower_save_flags(l);
    lower_add_base(l);
    lower_check(l, 2, false);
    /* The guest's memory is read once: movzx T1d, word [T0]; store; not T1d; test T1b, 3f; jnz */
    EMIT(e, 0x44, 0x0f, 0xb7, 0x5d, 0);
    emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T1);
    EMIT(e, 0x41, 0xf7, 0xd3, 0x41, 0xf6, 0xc3, 0x3f);
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_NZ, NULL), lower_site(l));
    emit_state_op(e, 0xd9, FLDCW, HOST_RSP, FRAME(FRAME_TARGET));
    if (l->live)
        lower_load_flags(l);
}

/* FNINIT empties the pointers, too. */
static void initialize(struct lowering *l)
{
    struct emitter *e = &l->e;
    EMIT(e, 0xdb, 0xe3);
    emit_constant(e, T0, 0);
    for (unsigned slot = FRAME_FOP; slot <= FRAME_FDP; slot++)
        emit_store(e, HOST_RSP, FRAME(slot), T0);
}

static bool lower_memory_form(struct lowering *l, unsigned operand)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    unsigned size = insn_operand_size(i, operand);
    bool tracked = sets_pointers(i);
    if (l->live)
        lower_save_flags(l);
    if (!lower_effective(l, T0, 8))
        return false;
    if (i->opcode == 0xd9 && (i->modrm >> 3 & 7) == FLDCW) {
        load_control(l);
        return true;
    }
    if (tracked)
        emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T0);
    lower_add_base(l);
    lower_check(l, size, i->attr->operand[operand].access & ACCESS_WRITE);
    if (tracked) {
        emit_load(e, T1, HOST_RSP, FRAME(FRAME_TARGET));
        emit_store(e, HOST_RSP, FRAME(FRAME_FDP), T1);
    }
    emit_op(e, &(struct host_op){.opcode = i->opcode,
                                 .has_modrm = true,
                                 .reg = i->modrm >> 3 & 7,
                                 .memory = true,
                                 .rm = T0});
    if (l->live)
        lower_load_flags(l);
    return true;
}

bool lower_x87(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    if (!x87_native(l->p))
        return false;
    lower_need_x87(l);
    switch (i->attr->op) {
    case OP_FWAIT: /* nothing can be pending */
        return true;
    case OP_EMMS:
        EMIT(e, 0x0f, 0x77);
        return true;
    default:
        break;
    }
    int memory = insn_memory_operand(i);
    if (memory >= 0) {
        if (!lower_memory_form(l, (unsigned)memory))
            return false;
    } else if (i->opcode == 0xdb && i->modrm == 0xe3) {
        initialize(l);
    } else {
        EMIT(e, i->opcode, i->modrm);
    }
    if (sets_pointers(i) && is_last(l->b, l->n))
        record(l);
    return true;
}
