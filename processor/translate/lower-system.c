/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System instructions whose common case needs no handler: at CPL 0, not intercepted, with nothing
 * to be noticed afterwards.  What is out of the ordinary is their handlers' from the start.
 *
 * While translated code runs no reason to step exists (p->slow is 0): no breakpoints, no TF, no
 * window that is already open.
 */
#include "internal.h"

#include "processor/decode/decode.h"

#define SEGMENT_BASE(n)                                                                            \
    ((int32_t)(offsetof(struct processor, segment) + sizeof(struct segment) * (n) +                \
               offsetof(struct segment, base)))
#define SELECTOR(n)                                                                                \
    ((int32_t)(offsetof(struct processor, segment) + sizeof(struct segment) * (n) +                \
               offsetof(struct segment, selector)))
#define FLAT_BASE(n) ((int32_t)(offsetof(struct processor, flat_base) + 8 * (n)))
#define FIELD(name)  ((int32_t)offsetof(struct processor, name))

/* OPCODE with extension REG, a 32-bit field of the processor (T1 points to it), and VALUE. */
static void field_constant(struct lowering *l, unsigned opcode, unsigned reg, int32_t field,
                           uint32_t value)
{
    emit_op(&l->e, &(struct host_op){.opcode = (uint8_t)opcode,
                                     .has_modrm = true,
                                     .reg = (uint8_t)reg,
                                     .memory = true,
                                     .rm = T1,
                                     .disp = field,
                                     .immediates = 4,
                                     .immediate = value});
}

static void alu_field(struct lowering *l, unsigned n, int32_t field, uint32_t value)
{
    field_constant(l, 0x81, n, field, value);
}

static void test_field(struct lowering *l, int32_t field, uint32_t bits)
{
    field_constant(l, 0xf7, 0, field, bits);
}

/* Leaves the instruction to its handler under condition CC. */
static void handler_if(struct lowering *l, unsigned cc)
{
    lower_late(l, LATE_CALL, emit_jump_if(&l->e, cc, NULL), lower_site(l));
}

/* Begins an instruction: T1 points to the processor, flags are free.  end() gives them back. */
static void begin(struct lowering *l)
{
    if (l->live)
        lower_save_flags(l);
    emit_load(&l->e, T1, HOST_RSP, FRAME(FRAME_P));
}

static void begin_privileged(struct lowering *l)
{
    begin(l);
    alu_field(l, ALU_CMP, FIELD(cpl), 0);
    handler_if(l, CC_NZ);
}

static bool end(struct lowering *l)
{
    if (l->live)
        lower_load_flags(l);
    return true;
}

/* ---------------------------------------------------------------- flags */

bool lower_cli(struct lowering *l)
{
    begin_privileged(l);
    alu_field(l, ALU_AND, FIELD(rflags), ~FLAG_IF);
    return end(l);
}

/* The shadow is kept by running on: interrupts are seen at backward jumps and entries, and the next
 * instruction of the block is neither.  That one may exit, so the shadow is noted, too. */
bool lower_sti(struct lowering *l)
{
    if (l->n + 1u == l->b->count)
        return false;
    begin_privileged(l);
    test_field(l, FIELD(rflags), FLAG_IF);
    uint8_t *over = emit_jump_if(&l->e, CC_NZ, NULL);
    test_field(l, FIELD(vmcs.cpu_based_controls), CPU_INTERRUPT_WINDOW_EXITING);
    handler_if(l, CC_NZ);
    alu_field(l, ALU_OR, FIELD(rflags), FLAG_IF);
    alu_field(l, ALU_OR, FIELD(interruptibility), BLOCKING_BY_STI);
    emit_patch(over, l->e.at);
    l->shadow = true;
    return end(l);
}

void lower_end_shadow(struct lowering *l, bool live)
{
    if (live)
        lower_save_flags(l);
    emit_load(&l->e, T1, HOST_RSP, FRAME(FRAME_P));
    l->t1_known = l->t1_tlb = false; /* whatever the instruction in the shadow left there */
    alu_field(l, ALU_AND, FIELD(interruptibility), ~BLOCKING_BY_STI);
    if (live)
        lower_load_flags(l);
}

/* Makes CLASS the TLB context; T1 points to the processor. */
static void use_class(struct lowering *l, enum tlb_class class)
{
    struct emitter *e = &l->e;
    emit_load(e, T0, T1, FIELD(tlb_set));
    emit_lea(e, T0, T0, (int32_t)(offsetof(struct tlb_set, class) + sizeof(struct tlb) * class));
    emit_store(e, T1, FIELD(tlb), T0);
    emit_lea(e, T0, T0, TLB_ANCHOR);
    emit_store(e, HOST_RSP, FRAME(FRAME_TLB), T0);
}

bool lower_stac(struct lowering *l)
{
    if (l->i->exec == exec_invalid)
        return false;
    begin_privileged(l);
    alu_field(l, ALU_OR, FIELD(rflags), FLAG_AC);
    use_class(l, TLB_SUPERVISOR_AC);
    return end(l);
}

bool lower_clac(struct lowering *l)
{
    if (l->i->exec == exec_invalid)
        return false;
    begin_privileged(l);
    test_field(l, FIELD(cr4), CR4_SMAP);
    handler_if(l, CC_Z);
    alu_field(l, ALU_AND, FIELD(rflags), ~FLAG_AC);
    use_class(l, TLB_SUPERVISOR);
    return end(l);
}

bool lower_pushf(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->i->opsize != 8)
        return false;
    lower_save_flags(l);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_P));
    emit_op(e, &(struct host_op){.opcode = 0x8b, /* mov T1d, [T1 + rflags] */
                                 .has_modrm = true,
                                 .reg = T1,
                                 .memory = true,
                                 .rm = T1,
                                 .disp = FIELD(rflags)});
    emit_alu_constant(e, ALU_AND, T1, (int32_t) ~(FLAG_RF | FLAG_VM));
    emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T1);
    lower_push_slot(l);
    /* The status flags as the frame has them: OF in bit 0, the others one byte higher. */
    EMIT(e, 0x44, 0x0f, 0xb6, 0x5c, 0x24, FRAME(FRAME_FLAGS)); /* movzx T1d, byte [frame] */
    EMIT(e, 0x41, 0xc1, 0xe3, 11);                             /* shl T1d, 11 */
    EMIT(e, 0x44, 0x0a, 0x5c, 0x24, (uint8_t)(FRAME(FRAME_FLAGS) + 1)); /* or T1b, [frame + 1] */
    emit_alu_load(e, ALU_OR, T1, HOST_RSP, FRAME(FRAME_TARGET));
    emit_store(e, T0, 0, T1);
    emit_lea(e, HOST_R9, HOST_R9, -8);
    if (l->after)
        lower_load_flags(l);
    return true;
}

/* ---------------------------------------------------------------- segment bases */

bool lower_swapgs(struct lowering *l)
{
    struct emitter *e = &l->e;
    begin_privileged(l);
    emit_store(e, HOST_RSP, FRAME(FRAME_SAVE), HOST_RAX);
    emit_load(e, HOST_RAX, T1, SEGMENT_BASE(SEG_GS));
    emit_load(e, T0, T1, FIELD(msr.kernel_gs_base));
    emit_store(e, T1, FIELD(msr.kernel_gs_base), HOST_RAX);
    emit_store(e, T1, SEGMENT_BASE(SEG_GS), T0);
    emit_store(e, T1, FLAT_BASE(SEG_GS), T0);
    emit_load(e, HOST_RAX, HOST_RSP, FRAME(FRAME_SAVE));
    return end(l);
}

static unsigned base_segment(const struct insn *i)
{
    return i->attr->op == OP_RDFSBASE || i->attr->op == OP_WRFSBASE ? SEG_FS : SEG_GS;
}

/* Puts T0 into guest register R. */
static void put(struct lowering *l, unsigned r)
{
    int host = lower_register(r);
    if (host < 0)
        emit_store(&l->e, HOST_RSP, lower_home(r), T0);
    else
        emit_move(&l->e, (enum host_register)host, T0);
}

bool lower_read_base(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->i->opsize != 8 || l->i->exec == exec_invalid)
        return false;
    begin(l);
    test_field(l, FIELD(cr4), CR4_FSGSBASE);
    handler_if(l, CC_Z);
    emit_load(e, T0, T1, SEGMENT_BASE(base_segment(l->i)));
    put(l, l->i->rm);
    return end(l);
}

bool lower_write_base(struct lowering *l)
{
    struct emitter *e = &l->e;
    unsigned seg = base_segment(l->i);
    if (l->i->opsize != 8 || l->i->exec == exec_invalid)
        return false;
    begin(l);
    test_field(l, FIELD(cr4), CR4_FSGSBASE);
    handler_if(l, CC_Z);
    lower_fetch(l, T0, l->i->rm);
    /* Canonical in any paging mode: mov T1, T0; sar T1, 47; add T1, 1; cmp T1, 1. */
    EMIT(e, 0x49, 0x89, 0xeb, 0x49, 0xc1, 0xfb, 47);
    emit_alu_constant(e, ALU_ADD, T1, 1);
    emit_alu_constant(e, ALU_CMP, T1, 1);
    handler_if(l, CC_A);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_P));
    emit_store(e, T1, SEGMENT_BASE(seg), T0);
    emit_store(e, T1, FLAT_BASE(seg), T0);
    return end(l);
}

/* MOVZX TO, the selector of segment register N.  T1 is lost. */
static void load_selector(struct lowering *l, enum host_register to, unsigned n)
{
    emit_load(&l->e, T1, HOST_RSP, FRAME(FRAME_P));
    emit_op(&l->e, &(struct host_op){.map = MAP_0F,
                                     .opcode = 0xb7,
                                     .has_modrm = true,
                                     .reg = (uint8_t)to,
                                     .memory = true,
                                     .rm = T1,
                                     .disp = SELECTOR(n)});
}

/* Puts the low half of T0d into guest register R, whose rest stays. */
static void put16(struct lowering *l, unsigned r)
{
    int host = lower_register(r);
    emit_op(&l->e, &(struct host_op){.operand16 = true, /* mov r or [home], T0w */
                                     .opcode = 0x89,
                                     .has_modrm = true,
                                     .reg = T0,
                                     .memory = host < 0,
                                     .rm = (uint8_t)(host < 0 ? HOST_RSP : host),
                                     .disp = host < 0 ? lower_home(r) : 0});
}

/* MOV from a segment register: selectors have 16 bits, in memory as well. */
bool lower_read_segment(struct lowering *l)
{
    const struct insn *i = l->i;
    if (i->reg > SEG_GS)
        return false;
    if (i->mod3) {
        load_selector(l, T0, i->reg);
        if (i->opsize == 2)
            put16(l, i->rm);
        else
            put(l, i->rm);
        return true;
    }
    if (l->live)
        lower_save_flags(l);
    if (!lower_linear(l))
        return false;
    lower_check(l, 2, true);
    load_selector(l, T1, i->reg);
    emit_op(&l->e, &(struct host_op){.operand16 = true, /* mov [T0], T1w */
                                     .opcode = 0x89,
                                     .has_modrm = true,
                                     .reg = T1,
                                     .memory = true,
                                     .rm = T0});
    if (l->live)
        lower_load_flags(l);
    return true;
}

/* ---------------------------------------------------------------- RDTSC, RDTSCP, MOV from CR2 */

bool lower_rdtsc(struct lowering *l)
{
    struct emitter *e = &l->e;
    bool p = l->i->attr->op == OP_RDTSCP;
    /* The interpreter would read another time stamp. */
    if (l->t->check || l->i->exec == exec_invalid)
        return false;
    begin(l);
    test_field(l, FIELD(intercepts), INTERCEPT_RDTSC);
    handler_if(l, CC_NZ);
    test_field(l, FIELD(cr4), CR4_TSD);
    handler_if(l, CC_NZ);
    if (p) {
        test_field(l, FIELD(vmcs.cpu_based_controls2), CPU2_ENABLE_RDTSCP);
        handler_if(l, CC_Z);
    }
    EMIT(e, 0x0f, 0xae, 0xe8);     /* lfence: as processor_tsc */
    EMIT(e, 0x0f, 0x31);           /* rdtsc */
    EMIT(e, 0x48, 0xc1, 0xe2, 32); /* shl rdx, 32 */
    EMIT(e, 0x48, 0x09, 0xd0);     /* or rax, rdx */
    emit_load(e, T0, T1, FIELD(vmcs.tsc_multiplier));
    EMIT(e, 0x48, 0x85, 0xed); /* test T0, T0 */
    uint8_t *over = emit_jump_if(e, CC_Z, NULL);
    EMIT(e, 0x48, 0xf7, 0xe5);           /* mul T0 */
    EMIT(e, 0x48, 0x0f, 0xac, 0xd0, 48); /* shrd rax, rdx, 48 */
    emit_patch(over, e->at);
    emit_alu_load(e, ALU_ADD, HOST_RAX, T1, FIELD(vmcs.tsc_offset));
    EMIT(e, 0x48, 0x89, 0xc2);     /* mov rdx, rax */
    EMIT(e, 0x48, 0xc1, 0xea, 32); /* shr rdx, 32 */
    EMIT(e, 0x89, 0xc0);           /* mov eax, eax */
    if (p)
        emit_op(e, &(struct host_op){.opcode = 0x8b, /* mov ecx, [T1 + tsc_aux] */
                                     .has_modrm = true,
                                     .reg = HOST_RCX,
                                     .memory = true,
                                     .rm = T1,
                                     .disp = FIELD(msr.tsc_aux)});
    return end(l);
}

bool lower_read_cr(struct lowering *l)
{
    if (l->i->reg != 2)
        return false;
    begin_privileged(l);
    emit_load(&l->e, T0, T1, FIELD(cr2));
    put(l, l->i->rm);
    return end(l);
}

/* ---------------------------------------------------------------- between privilege levels */

static bool light(struct lowering *l, enum light which)
{
    if (!LIGHT_CALLS)
        return false;
    lower_save_flags(l);
    lower_thunk(l, l->t->light[which], lower_site(l));
    return true;
}

bool lower_syscall(struct lowering *l)
{
    return l->i->exec != exec_invalid && light(l, LIGHT_SYSCALL);
}

bool lower_sysret(struct lowering *l)
{
    return l->i->exec != exec_invalid && light(l, LIGHT_SYSRET);
}

bool lower_iret(struct lowering *l)
{
    return l->i->opsize == 8 && light(l, LIGHT_IRET);
}
