/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What translations share: the way in and out, and to C. */
#include "light.h"

/* ---------------------------------------------------------------- guest state */

/* Guest registers of the same number in the host, and the two that have moved. */
static const struct {
    uint8_t guest, host;
} resident[] = {
    {REG_RAX, HOST_RAX}, {REG_RCX, HOST_RCX}, {REG_RDX, HOST_RDX}, {REG_RBX, HOST_RBX},
    {REG_RSI, HOST_RSI}, {REG_RDI, HOST_RDI}, {REG_R8, HOST_R8},   {REG_R12, HOST_R12},
    {REG_R13, HOST_R13}, {REG_R14, HOST_R14}, {REG_R15, HOST_R15}, {REG_RSP, HOST_R9},
    {REG_RBP, HOST_R10},
};
static const uint8_t callee_saved[] = {HOST_RBX, HOST_RBP, HOST_R12, HOST_R13, HOST_R14, HOST_R15};

static int32_t gpr_at(unsigned r)
{
    return (int32_t)(offsetof(struct processor, gpr) + 8 * r);
}

/* Copies between a field of struct processor, which RBP points to, and one of the frame. */
static void copy_to_frame(struct emitter *e, int32_t field, int32_t processor)
{
    emit_load(e, HOST_RAX, HOST_RBP, processor);
    emit_store(e, HOST_RSP, field, HOST_RAX);
}
static void copy_from_frame(struct emitter *e, int32_t field, int32_t processor)
{
    emit_load(e, HOST_RAX, HOST_RSP, field);
    emit_store(e, HOST_RBP, processor, HOST_RAX);
}

/* 32-bit moves between p->status, p in RBP, and EAX or ECX. */
static void status_move(struct emitter *e, unsigned opcode, unsigned r)
{
    emit_op(e, &(struct host_op){.opcode = (uint8_t)opcode,
                                 .has_modrm = true,
                                 .reg = (uint8_t)r,
                                 .memory = true,
                                 .rm = HOST_RBP,
                                 .disp = offsetof(struct processor, status)});
}

/* Where bits from HALF * 128 on of vector register N are in struct processor. */
static int32_t vector_at(unsigned n, unsigned half)
{
    return (int32_t)(offsetof(struct processor, vector.ymm) +
                     sizeof(((struct vector_state *)0)->ymm[0]) * n + 16 * half);
}

/* Moves all vector registers between the host and struct processor, in RBP: 128 bits of each, or
 * with AVX 256. */
static void move_vectors(struct emitter *e, bool store, bool avx)
{
    for (unsigned n = 0; n < 16; n++) /* movups, or vmovups of YMM */
        emit_op(e, &(struct host_op){.vex = avx,
                                     .vex_l = avx,
                                     .map = MAP_0F,
                                     .opcode = store ? 0x11 : 0x10,
                                     .has_modrm = true,
                                     .reg = (uint8_t)n,
                                     .memory = true,
                                     .rm = HOST_RBP,
                                     .disp = vector_at(n, 0)});
}

static void store_vectors(struct emitter *e)
{
    bool avx = processor_has_feature(FEATURE_AVX);
    move_vectors(e, true, avx);
    if (avx)
        EMIT(e, 0xc5, 0xf8, 0x77); /* vzeroupper: C may use SSE */
}

/* Upper halves that are all zero, as they mostly are, are made so by VZEROUPPER: loaded as zeros
 * they would count as in use, and each SSE instruction would wait for what its destination held
 * before, to keep that half. */
static void load_vectors(struct emitter *e)
{
    if (!processor_has_feature(FEATURE_AVX)) {
        move_vectors(e, false, false);
        return;
    }
    for (unsigned n = 0; n < 16; n++) /* vmovups xmm0, [upper]; vorps xmm0, xmm0, [upper] */
        emit_op(e, &(struct host_op){.vex = true,
                                     .map = MAP_0F,
                                     .opcode = n ? 0x56 : 0x10,
                                     .has_modrm = true,
                                     .memory = true,
                                     .rm = HOST_RBP,
                                     .disp = vector_at(n, 1)});
    EMIT(e, 0xc4, 0xe2, 0x79, 0x17, 0xc0); /* vptest xmm0, xmm0 */
    uint8_t *zero = emit_jump_if(e, CC_Z, NULL);
    move_vectors(e, false, true);
    uint8_t *done = emit_jump(e, NULL);
    emit_patch(zero, e->at);
    EMIT(e, 0xc5, 0xf8, 0x77); /* vzeroupper */
    move_vectors(e, false, false);
    emit_patch(done, e->at);
}

/* LDMXCSR (2) or STMXCSR (3). */
static void move_mxcsr(struct emitter *e, unsigned which, enum host_register base, int32_t disp)
{
    emit_op(e, &(struct host_op){.map = MAP_0F,
                                 .opcode = 0xae,
                                 .has_modrm = true,
                                 .reg = (uint8_t)which,
                                 .memory = true,
                                 .rm = (uint8_t)base,
                                 .disp = disp});
}

/* Puts the guest's vector state away, or loads it, if the frame says that it is in registers. */
static void emit_vectors(struct emitter *e, bool store)
{
    int32_t guest = offsetof(struct processor, vector.mxcsr);
    emit_op(e, &(struct host_op){.opcode = 0x80, /* cmp byte [frame], 0; je */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .memory = true,
                                 .rm = HOST_RSP,
                                 .disp = FRAME(FRAME_VECTOR),
                                 .immediates = 1});
    uint8_t *over = emit_jump_if(e, CC_Z, NULL);
    if (store) {
        store_vectors(e);
        move_mxcsr(e, 3, HOST_RBP, guest);
        move_mxcsr(e, 2, HOST_RSP, FRAME(FRAME_MXCSR));
    } else {
        load_vectors(e);
        move_mxcsr(e, 2, HOST_RBP, guest);
    }
    emit_patch(over, e->at);
}

void thunks_add_count(struct emitter *e, enum host_register p, enum host_register count)
{
    emit_op(e, &(struct host_op){.wide = true, /* add [p + icount], count */
                                 .opcode = 0x01,
                                 .has_modrm = true,
                                 .reg = (uint8_t)count,
                                 .memory = true,
                                 .rm = (uint8_t)p,
                                 .disp = offsetof(struct processor, icount)});
}

/* All guest state from the frame and host registers into struct processor; RBP points to it
 * afterwards. */
static void emit_leave_state(struct emitter *e)
{
    emit_load(e, HOST_RBP, HOST_RSP, FRAME(FRAME_P));
    for (size_t n = 0; n < ARRAY_SIZE(resident); n++)
        emit_store(e, HOST_RBP, gpr_at(resident[n].guest), (enum host_register)resident[n].host);
    for (unsigned r = REG_R9; r <= REG_R11; r++)
        copy_from_frame(e, lower_home(r), gpr_at(r));
    copy_from_frame(e, FRAME(FRAME_CODE), gpr_at(REG_CODE));
    emit_load(e, HOST_RAX, HOST_RSP, FRAME(FRAME_FLAGS));
    EMIT(e, 0x0f, 0xb6, 0xcc);              /* movzx ecx, ah */
    EMIT(e, 0x81, 0xe1, 0xd5, 0, 0, 0);     /* and ecx, status flags of AH */
    EMIT(e, 0x83, 0xe0, 1, 0xc1, 0xe0, 11); /* and eax, 1; shl eax, 11 */
    EMIT(e, 0x09, 0xc1);                    /* or ecx, eax */
    status_move(e, 0x89, HOST_RCX);
    emit_load(e, HOST_RAX, HOST_RSP, FRAME(FRAME_COUNT));
    emit_alu_constant(e, ALU_ADD, HOST_RAX, BUDGET);
    thunks_add_count(e, HOST_RBP, HOST_RAX);
    emit_vectors(e, true);
    x87_emit_store(e);
}

/* Starts the count, RBP pointing to struct processor.  What C itself asked for is not to wait for
 * the budget: a dirty ring that is full, say. */
static void emit_budget(struct emitter *e)
{
    emit_constant(e, HOST_RAX, -(uint64_t)BUDGET);
    emit_op(e, &(struct host_op){.opcode = 0x83, /* cmp dword [RBP + poll], 0; je */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .memory = true,
                                 .rm = HOST_RBP,
                                 .disp = offsetof(struct processor, poll),
                                 .immediates = 1});
    uint8_t *none = emit_jump_if(e, CC_Z, NULL);
    thunks_add_count(e, HOST_RBP, HOST_RAX); /* as if they were counted */
    emit_constant(e, HOST_RAX, 0);
    emit_patch(none, e->at);
    emit_store(e, HOST_RSP, FRAME(FRAME_COUNT), HOST_RAX);
}

/* The other way round; RBP points to struct processor before and after. */
static void emit_load_state(struct emitter *e)
{
    x87_emit_load(e);
    emit_vectors(e, false);
    emit_load(e, HOST_RAX, HOST_RBP, offsetof(struct processor, tlb));
    emit_lea(e, HOST_RCX, HOST_RAX, TLB_ANCHOR);
    emit_store(e, HOST_RSP, FRAME(FRAME_TLB), HOST_RCX);
    emit_load(e, HOST_RCX, HOST_RAX, offsetof(struct tlb, jumps));
    emit_load(e, HOST_RAX, HOST_RCX, offsetof(struct jump_cache, entry));
    emit_store(e, HOST_RSP, FRAME(FRAME_JUMPS), HOST_RAX);
    emit_load(e, HOST_RAX, HOST_RCX, offsetof(struct jump_cache, mask));
    emit_store(e, HOST_RSP, FRAME(FRAME_JUMP_MASK), HOST_RAX);
    copy_to_frame(e, FRAME(FRAME_CODE), gpr_at(REG_CODE));
    for (unsigned r = REG_R9; r <= REG_R11; r++)
        copy_to_frame(e, lower_home(r), gpr_at(r));
    status_move(e, 0x8b, HOST_RAX);
    EMIT(e, 0x89, 0xc1, 0xc1, 0xe9, 11, 0x83, 0xe1, 1); /* mov ecx, eax; shr ecx, 11; and ecx, 1 */
    EMIT(e, 0xc1, 0xe0, 8);                             /* shl eax, 8 */
    EMIT(e, 0x25, 0, 0xd5, 0, 0);                       /* and eax, 0xd500 */
    EMIT(e, 0x09, 0xc8);                                /* or eax, ecx */
    emit_store(e, HOST_RSP, FRAME(FRAME_FLAGS), HOST_RAX);
    emit_budget(e);
    for (size_t n = 0; n < ARRAY_SIZE(resident); n++)
        emit_load(e, (enum host_register)resident[n].host, HOST_RBP, gpr_at(resident[n].guest));
}

/* ---------------------------------------------------------------- the way in, out and to C */

static void emit_call_c(struct emitter *e, uintptr_t function)
{
    emit_constant(e, HOST_RAX, function);
    EMIT(e, 0xff, 0xd0);
}

/* Back to the C caller of enter(). */
static uint8_t *emit_return(struct emitter *e)
{
    uint8_t *start = e->at;
    emit_alu_constant(e, ALU_ADD, HOST_RSP, FRAME_BYTES);
    for (size_t n = ARRAY_SIZE(callee_saved); n-- > 0;)
        emit_op(e, &(struct host_op){.opcode = 0x58, .opcode_reg = true, .rm = callee_saved[n]});
    emit_byte(e, 0xc3);
    return start;
}

static uint8_t *emit_enter(struct emitter *e)
{
    uint8_t *start = e->at;
    for (size_t n = 0; n < ARRAY_SIZE(callee_saved); n++)
        emit_op(e, &(struct host_op){.opcode = 0x50, .opcode_reg = true, .rm = callee_saved[n]});
    _Static_assert((8 + 8 * ARRAY_SIZE(callee_saved) + FRAME_BYTES) % 16 == 0, "calls are aligned");
    emit_alu_constant(e, ALU_SUB, HOST_RSP, FRAME_BYTES);
    emit_store(e, HOST_RSP, FRAME(FRAME_P), HOST_RDI);
    emit_store(e, HOST_RSP, FRAME(FRAME_SITE), HOST_RSI);
    emit_move(e, HOST_RBP, HOST_RDI);
    emit_constant(e, HOST_RAX, VECTOR_NONE);
    emit_store(e, HOST_RSP, FRAME(FRAME_VECTOR), HOST_RAX);
    emit_store(e, HOST_RSP, FRAME(FRAME_X87), HOST_RAX);
    move_mxcsr(e, 3, HOST_RSP, FRAME(FRAME_MXCSR));
    emit_load_state(e);
    EMIT(e, 0xff, 0x64, 0x24, FRAME(FRAME_SITE)); /* jmp [RSP + FRAME_SITE] */
    return start;
}

/* A thunk that calls FUNCTION(p, site, T0) and goes on where it says.  RESULT is where in the frame
 * its second result goes; ALSO is a second place. */
static uint8_t *emit_call_thunk(struct emitter *e, called_fn *function, uint8_t *leave, int result,
                                int also)
{
    uint8_t *start = e->at;
    emit_store(e, HOST_RSP, FRAME(FRAME_ARGUMENT), T0);
    emit_store(e, HOST_RSP, FRAME(FRAME_SITE), T1);
    emit_leave_state(e);
    emit_move(e, HOST_RDI, HOST_RBP);
    emit_load(e, HOST_RSI, HOST_RSP, FRAME(FRAME_SITE));
    emit_load(e, HOST_RDX, HOST_RSP, FRAME(FRAME_ARGUMENT));
    emit_call_c(e, (uintptr_t)function);
    EMIT(e, 0x48, 0x85, 0xc0); /* test rax, rax: stay? */
    emit_jump_if(e, CC_Z, leave);
    emit_store(e, HOST_RSP, FRAME(FRAME_SITE), HOST_RAX);
    emit_store(e, HOST_RSP, FRAME(result), HOST_RDX);
    if (also != result)
        emit_store(e, HOST_RSP, FRAME(also), HOST_RDX);
    emit_load_state(e);
    emit_load(e, T0, HOST_RSP, FRAME(FRAME_ARGUMENT));
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_TLB)); /* as after a check */
    EMIT(e, 0xff, 0x64, 0x24, FRAME(FRAME_SITE));
    return start;
}

/* A thunk that calls FUNCTION(p, site, frame) as light.h has it; FAILED is where it goes for NULL.
 */
static uint8_t *emit_light(struct emitter *e, struct translator *t, light_fn *function,
                           uint8_t *failed)
{
    static const uint8_t passed[] = {HOST_RAX, HOST_RCX, HOST_RDX, HOST_RSI, HOST_RDI, HOST_R8};
    uint8_t *start = e->at;
    emit_store(e, HOST_RSP, FRAME(FRAME_ARGUMENT), T0);
    emit_store(e, HOST_RSP, FRAME(FRAME_SITE), T1);
    emit_load(e, HOST_RBP, HOST_RSP, FRAME(FRAME_P));
    for (size_t n = 0; n < ARRAY_SIZE(passed); n++)
        emit_store(e, HOST_RBP, gpr_at(passed[n]), (enum host_register)passed[n]);
    emit_store(e, HOST_RBP, gpr_at(REG_RSP), HOST_R9);
    emit_store(e, HOST_RBP, gpr_at(REG_RBP), HOST_R10);
    emit_move(e, HOST_RDI, HOST_RBP);
    emit_constant(e, HOST_RSI, sizeof(struct translate_site));
    EMIT(e, 0x49, 0x0f, 0xaf, 0xf3); /* imul rsi, T1 */
    emit_constant(e, HOST_RAX, (uintptr_t)t->sites);
    EMIT(e, 0x48, 0x01, 0xc6); /* add rsi, rax */
    emit_move(e, HOST_RDX, HOST_RSP);
    emit_call_c(e, (uintptr_t)function);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_SITE));
    emit_store(e, HOST_RSP, FRAME(FRAME_ONWARD), HOST_RAX);
    EMIT(e, 0x48, 0x85, 0xc0); /* test rax, rax */
    for (size_t n = 0; n < ARRAY_SIZE(passed); n++)
        emit_load(e, (enum host_register)passed[n], HOST_RBP, gpr_at(passed[n]));
    emit_load(e, HOST_R9, HOST_RBP, gpr_at(REG_RSP));
    emit_load(e, HOST_R10, HOST_RBP, gpr_at(REG_RBP));
    emit_load(e, T0, HOST_RSP, FRAME(FRAME_ARGUMENT));
    emit_jump_if(e, CC_Z, failed);
    EMIT(e, 0xff, 0x64, 0x24, FRAME(FRAME_ONWARD)); /* jmp [RSP + FRAME_ONWARD] */
    return start;
}

/* Leaves with RIP = T0. */
static uint8_t *emit_exit(struct emitter *e, uint8_t *leave)
{
    uint8_t *start = e->at;
    emit_store(e, HOST_RSP, FRAME(FRAME_ARGUMENT), T0);
    emit_leave_state(e);
    copy_from_frame(e, FRAME(FRAME_ARGUMENT), offsetof(struct processor, rip));
    emit_jump(e, leave);
    return start;
}

void thunks_make(struct translator *t)
{
    struct emitter e = {.at = t->writable};
    const uint8_t *enter = translator_executable(t, emit_enter(&e));
    memcpy(&t->enter, &enter, sizeof(enter));
    uint8_t *leave_code = emit_return(&e);
    t->slow = emit_call_thunk(&e, called_slow_access, leave_code, FRAME_ARGUMENT, FRAME_ARGUMENT);
    t->call = emit_call_thunk(&e, called_handler, leave_code, FRAME_ARGUMENT, FRAME_ARGUMENT);
    /* Handlers answer 0: VECTOR_NONE, and no x87. */
    t->call_other = emit_call_thunk(&e, called_handler, leave_code, FRAME_VECTOR, FRAME_X87);
    t->link = emit_call_thunk(&e, called_link, leave_code, FRAME_ARGUMENT, FRAME_ARGUMENT);
    t->vector = emit_call_thunk(&e, called_vectors, leave_code, FRAME_VECTOR, FRAME_VECTOR);
    t->x87 = emit_call_thunk(&e, called_x87, leave_code, FRAME_X87, FRAME_X87);
    t->exit = emit_exit(&e, leave_code);
    t->find = t->exit;
    if (LIGHT_CALLS) {
        t->find = e.at;
        emit_constant(&e, T1, 0); /* no site */
        emit_light(&e, t, light_find, t->exit);
    }
    lower_again_thunk(t, &e);
    lower_far_thunk(t, &e);
    for (unsigned n = 0; n < 2 * CHECK_SIZES; n++)
        t->recent[n / CHECK_SIZES][n % CHECK_SIZES] =
            lower_check_thunk(&e, t, 1u << n % CHECK_SIZES, n / CHECK_SIZES);
    for (unsigned write = 0; write < 2; write++)
        t->group[write] = lower_group_thunk(&e, write);
    t->cold = translator_executable(t, t->exit);
    static light_fn *const light[LIGHT_COUNT] = {light_syscall, light_sysret, light_iret,
                                                 light_target};
    for (unsigned n = 0; n < LIGHT_COUNT; n++)
        t->light[n] = emit_light(&e, t, light[n], n == LIGHT_TARGET ? t->call : t->call_other);
    t->used = t->thunk_bytes = ALIGN_UP((size_t)(e.at - t->writable), 64);
}
