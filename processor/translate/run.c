/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The code cache, the way into and out of translations, and what they call. */
#include "light.h"

#include <stdlib.h>
#include <sys/mman.h>

#define CODE_BYTES (64ul << 20) /* address space; memory is taken as it fills */
#define SITE_COUNT (1u << 20)

/* ---------------------------------------------------------------- thunks */

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

/* Moves all vector registers and MXCSR between the host and struct processor, in RBP. */
static void move_vectors(struct emitter *e, bool store)
{
    bool avx = processor_has_feature(FEATURE_AVX);
    for (unsigned n = 0; n < 16; n++) /* movups, or vmovups of YMM */
        emit_op(e, &(struct host_op){
                       .vex = avx,
                       .vex_l = avx,
                       .map = MAP_0F,
                       .opcode = store ? 0x11 : 0x10,
                       .has_modrm = true,
                       .reg = (uint8_t)n,
                       .memory = true,
                       .rm = HOST_RBP,
                       .disp = (int32_t)(offsetof(struct processor, vector.ymm) +
                                         sizeof(((struct vector_state *)0)->ymm[0]) * n)});
    if (store && avx)
        EMIT(e, 0xc5, 0xf8, 0x77); /* vzeroupper: C may use SSE */
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
    move_vectors(e, store);
    if (store) {
        move_mxcsr(e, 3, HOST_RBP, guest);
        move_mxcsr(e, 2, HOST_RSP, FRAME(FRAME_MXCSR));
    } else {
        move_mxcsr(e, 2, HOST_RBP, guest);
    }
    emit_patch(over, e->at);
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
    emit_op(e, &(struct host_op){.wide = true, /* add [RBP + icount], rax */
                                 .opcode = 0x01,
                                 .has_modrm = true,
                                 .reg = HOST_RAX,
                                 .memory = true,
                                 .rm = HOST_RBP,
                                 .disp = offsetof(struct processor, icount)});
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
    emit_op(e,
            &(struct host_op){.wide = true, /* add [RBP + icount], rax: as if they were counted */
                              .opcode = 0x01,
                              .has_modrm = true,
                              .reg = HOST_RAX,
                              .memory = true,
                              .rm = HOST_RBP,
                              .disp = offsetof(struct processor, icount)});
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
static uint8_t *emit_call_thunk(struct emitter *e, uintptr_t function, uint8_t *leave, int result,
                                int also)
{
    uint8_t *start = e->at;
    emit_store(e, HOST_RSP, FRAME(FRAME_ARGUMENT), T0);
    emit_store(e, HOST_RSP, FRAME(FRAME_SITE), T1);
    emit_leave_state(e);
    emit_move(e, HOST_RDI, HOST_RBP);
    emit_load(e, HOST_RSI, HOST_RSP, FRAME(FRAME_SITE));
    emit_load(e, HOST_RDX, HOST_RSP, FRAME(FRAME_ARGUMENT));
    emit_call_c(e, function);
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

/* ---------------------------------------------------------------- called from translations */

/* Where to go on, or NULL to leave (p->rip is set); and what T0, or for some thunks the level of
 * vector state that is loaded, is to be then. */
struct onward {
    const uint8_t *code;
    uint64_t result;
};
static const struct onward leave = {NULL, 0};

/* C was called at site S: what translations leave to it to know. */
static void arrive(struct processor *p, const struct translate_site *s)
{
    p->gpr[REG_CODE] = translate_site_code(s, p->gpr[REG_CODE]);
    x87_note_last(p, s);
}

/* Ends the copy of an instruction that runs alone: says that control fell through to here. */
static const struct insn *fell_through(struct processor *p, const struct insn *i)
{
    p->icount--;
    return i;
}

/* Whether the code of site S's block still stands where it is run: the mode and the mapping of its
 * page are what they were. */
static bool still_mapped(struct processor *p, const struct translate_site *s)
{
    const struct code_block *b = s->block;
    const struct tlb_entry *e = tlb_entry(p, p->gpr[REG_CODE]);
    return (p->mode & CODE_MODE) == b->mode && e->fetch == p->gpr[REG_CODE] &&
           e->host == (uintptr_t)b->page->hva && code_block_valid(b);
}

/* Runs the handler of site S's instruction.  Counts it when control does not come back here. */
static struct onward run_handler(struct processor *p, const struct translate_site *s)
{
    arrive(p, s);
    if (p->translator->check) {
        /* The interpreter's turn comes after the comparison. */
        checker_live(p->translator->checker, s->live);
        p->icount += s->index;
        p->rip = insn_rip(p, s->insn);
        return leave;
    }
    const struct insn *i = code_alone(p, s->insn);
    struct insn *marker = (struct insn *)i + 1;
    uint64_t count = p->icount;
    uint32_t shadow = p->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    marker->exec = fell_through;
    p->insn = i;
    p->icount = count + s->index;
    count_handler(p->translator, s->insn);
    const struct insn *next = i->exec(p, i);
    p->insn = NULL;
    p->link = NULL;
    /* A handler that ends its block changed something that the run loop must see; mostly it turns
     * out to have no effect on what follows. */
    bool stays = next || (p->rip == insn_next_rip(p, s->insn) && still_mapped(p, s));
    if (stays && !s->ends && !p->slow && (!s->x87 || x87_native(p)) &&
        !(atomic_load_explicit(&p->poll, memory_order_relaxed) & ~POLL_KICK)) {
        p->icount = count;
        return (struct onward){s->next, 0};
    }
    if (next)
        p->rip = insn_rip(p, next);
    if (shadow) {
        p->interruptibility &= ~shadow;
        processor_update_slow(p);
    }
    p->icount = count + s->index + 1;
    return leave;
}

static struct onward call_handler(struct processor *p, uint64_t site, uint64_t t0)
{
    (void)t0;
    return run_handler(p, &p->translator->sites[site]);
}

/* Leaves before site S's instruction. */
static struct onward interpret_from(struct processor *p, const struct translate_site *s)
{
    if (p->translator->check)
        checker_live(p->translator->checker, s->live);
    p->icount += s->index;
    p->rip = insn_rip(p, s->insn);
    return leave;
}

/* The vector registers are needed: are they to be had? */
static struct onward load_vectors(struct processor *p, uint64_t site, uint64_t t0)
{
    const struct translate_site *s = &p->translator->sites[site];
    unsigned level = vector_level(p);
    (void)t0;
    arrive(p, s);
    if (level >= s->size)
        return (struct onward){s->resume, level};
    return interpret_from(p, s);
}

/* The same for x87 registers. */
static struct onward load_x87(struct processor *p, uint64_t site, uint64_t t0)
{
    const struct translate_site *s = &p->translator->sites[site];
    (void)t0;
    arrive(p, s);
    if (x87_native(p))
        return (struct onward){s->resume, 1};
    return interpret_from(p, s);
}

/* Makes what the TLB has for LINEAR, if there is something, the recent entry of site S.  Returns
 * the host address, or NULL. */
static uint8_t *remember(struct processor *p, const struct translate_site *s, uint64_t linear)
{
    const struct tlb_range *span = tlb_span(p->tlb, linear, s->size, s->write);
    const struct tlb_entry *e = tlb_entry(p, linear);
    uint64_t tag = s->write ? e->write : e->read;
    struct tlb_range range = {tag, PAGE_BYTES - 8, PAGE_BYTES - TLB_WIDE, e->host};
    if (!s->check || (!span && (linear ^ tag) > PAGE_BYTES - s->size))
        return NULL;
    if (span)
        range = *span;
    *(struct tlb_range *)((uint8_t *)p->tlb + TLB_ANCHOR + s->recent) = range;
    p->tlb->recent_used = true;
    return (uint8_t *)(range.host + (linear - range.start));
}

/* A TLB miss at LINEAR: fills the TLB and finds the host address where the access is as plain as
 * the inline check supposes; leaves all others to the handler. */
static struct onward slow_access(struct processor *p, uint64_t site, uint64_t linear)
{
    struct translate_site *s = &p->translator->sites[site];
    uint64_t inside = linear & PAGE_OFFSET_MASK, size = PAGE_BYTES - inside;
    uint64_t *misses = p->translator->counts.misses;
    arrive(p, s);
    if (p->tlb->patience < 0) {
        lower_check_weary(p, s, linear);
        uint8_t *known = remember(p, s, linear);
        if (known)
            return (struct onward){s->resume, (uint64_t)(uintptr_t)known};
    }
    p->translator->counts.slow++;
    if (size < s->size) {
        misses[MISS_CROSSING]++;
        return run_handler(p, s);
    }
    enum processor_miss kind = count_kind(p, linear, s->write);
    if (kind == MISS_WRITE_TAG && count_refused(p, linear) == MISS_CODE_PAGE) {
        misses[MISS_CODE_PAGE]++; /* the handler walks the page tables itself */
        return run_handler(p, s);
    }
    uint64_t count = p->icount;
    p->insn = s->insn;
    p->icount = count + s->index; /* a fault leaves from here */
    misses[MISS_FAULT]++;
    uint8_t *host = mem_host(p, linear, s->write ? MEM_WRITE : MEM_READ, &size);
    misses[MISS_FAULT]--;
    p->icount = count;
    p->insn = NULL;
    if (!host) {
        misses[count_refused(p, linear)]++;
        return run_handler(p, s);
    }
    misses[kind]++;
    remember(p, s, linear);
    if (p->translator->check)
        checker_access(p, s, host);
    return (struct onward){s->resume, (uint64_t)(uintptr_t)host};
}

/* A jump that is not direct yet. */
static struct onward link_jump(struct processor *p, uint64_t site, uint64_t t0)
{
    struct translator *t = p->translator;
    const struct translate_site *s = &t->sites[site];
    (void)t0;
    arrive(p, s);
    p->rip = p->gpr[REG_CODE] + (uint64_t)(int64_t)s->target;
    t->pending = (uint32_t)site + 1;
    if (t->check)
        checker_live(t->checker, t->sites[site].live);
    return leave;
}

/* ---------------------------------------------------------------- the cache */

/* Shared anonymous memory can be mapped a second time, and perf looks names in it up in its map. */
static bool map_code(struct translator *t)
{
    t->executable = MAP_FAILED;
    t->writable = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (t->writable == MAP_FAILED)
        return false;
    t->executable = mremap(t->writable, 0, CODE_BYTES, MREMAP_MAYMOVE);
    return t->executable != MAP_FAILED &&
           !mprotect(t->executable, CODE_BYTES, PROT_READ | PROT_EXEC);
}

static void make_thunks(struct translator *t)
{
    struct emitter e = {.at = t->writable};
    const uint8_t *enter = translator_executable(t, emit_enter(&e));
    memcpy(&t->enter, &enter, sizeof(enter));
    uint8_t *leave_code = emit_return(&e);
    t->slow =
        emit_call_thunk(&e, (uintptr_t)slow_access, leave_code, FRAME_ARGUMENT, FRAME_ARGUMENT);
    t->call =
        emit_call_thunk(&e, (uintptr_t)call_handler, leave_code, FRAME_ARGUMENT, FRAME_ARGUMENT);
    /* Handlers answer 0: VECTOR_NONE, and no x87. */
    t->call_other =
        emit_call_thunk(&e, (uintptr_t)call_handler, leave_code, FRAME_VECTOR, FRAME_X87);
    t->link = emit_call_thunk(&e, (uintptr_t)link_jump, leave_code, FRAME_ARGUMENT, FRAME_ARGUMENT);
    t->vector =
        emit_call_thunk(&e, (uintptr_t)load_vectors, leave_code, FRAME_VECTOR, FRAME_VECTOR);
    t->x87 = emit_call_thunk(&e, (uintptr_t)load_x87, leave_code, FRAME_X87, FRAME_X87);
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

struct translator *translator_new(unsigned threshold, const struct processor_translator *how)
{
    bool check = how->check;
    struct translator *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->threshold = threshold;
    t->check = check;
    t->count = check || how->count;
    t->sites = mmap(NULL, SITE_COUNT * sizeof(*t->sites), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    t->links = mmap(NULL, SITE_COUNT * sizeof(*t->links), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (check)
        t->checker = checker_new();
    if (t->sites == MAP_FAILED || t->links == MAP_FAILED || !map_code(t) ||
        (check && !t->checker)) {
        translator_free(t);
        return NULL;
    }
    make_thunks(t);
    t->counts.capacity =
        how->code_bytes && how->code_bytes < CODE_BYTES ? how->code_bytes : CODE_BYTES;
    t->late_used = t->late_start = ALIGN_UP(t->counts.capacity / 2, 64);
    t->tracer = tracer_new(how);
    if ((how->trace || how->names) && !t->tracer) {
        translator_free(t);
        return NULL;
    }
    tracer_name(t->tracer, t->executable, t->thunk_bytes, "trapeze_thunks");
    return t;
}

void translator_free(struct translator *t)
{
    if (!t)
        return;
    if (t->sites && t->sites != MAP_FAILED)
        munmap(t->sites, SITE_COUNT * sizeof(*t->sites));
    if (t->links && t->links != MAP_FAILED)
        munmap(t->links, SITE_COUNT * sizeof(*t->links));
    if (t->writable && t->writable != MAP_FAILED)
        munmap(t->writable, CODE_BYTES);
    if (t->executable && t->executable != MAP_FAILED)
        munmap(t->executable, CODE_BYTES);
    checker_free(t->checker);
    tracer_free(t->tracer);
    free(t);
}

void translator_empty(struct translator *t)
{
    t->used = t->thunk_bytes;
    t->late_used = t->late_start;
    t->site_count = 0;
    t->full = false;
    t->pending = 0;
    t->link_count = 0;
    t->counts.emptied++;
}

void translator_prepare(const struct translator *t, struct code_block *b)
{
    b->jump = t->cold;
}

const struct processor_translation *translator_kept(const struct translator *t)
{
    return tracer_kept(t->tracer);
}

const struct processor_translator_counts *translator_counts(const struct translator *t)
{
    return &t->counts;
}

/* ---------------------------------------------------------------- running */

static bool translate(struct processor *p, struct code_block *b, uint64_t linear)
{
    struct translator *t = p->translator;
    if (++b->heat < t->threshold || !code_block_settled(b))
        return false;
    if (t->used + BLOCK_CODE_BYTES > t->late_start ||
        t->late_used + BLOCK_CODE_BYTES > t->counts.capacity ||
        t->site_count + BLOCK_SITES > SITE_COUNT) {
        t->full = true;
        return false;
    }
    pthread_mutex_lock(&b->page->lock);
    bool valid = code_block_valid(b);
    if (valid)
        lower_block(p, b, linear);
    pthread_mutex_unlock(&b->page->lock);
    t->counts.bytes = t->used + (t->late_used - t->late_start);
    return valid;
}

bool translator_full(const struct translator *t)
{
    return t->full;
}

/* Outside 64-bit mode what leads out of a translation has the key of a jump entry. */
static void truncate_rip(struct processor *p)
{
    if ((p->mode & MODE_DECODE) != DECODE_64)
        p->rip = (uint32_t)p->rip;
}

bool translator_run(struct processor *p, struct code_block *b, uint64_t linear)
{
    struct translator *t = p->translator;
    if (!b->start && !translate(p, b, linear)) {
        t->pending = 0;
        return false;
    }
    if (b->vector > vector_level(p) || (b->x87 && !x87_native(p))) {
        t->pending = 0;
        return false;
    }
    link_to(t, b);
    /* The jump entry may be older than the translation. */
    struct jump_entry *j = &p->tlb->jumps->entry[jump_index(p->tlb->jumps, linear)];
    if (j->linear == jump_key(p->mode, linear))
        j->code = b->jump;
    p->gpr[REG_CODE] = linear & ~PAGE_OFFSET_MASK;
    p->insn = NULL;
    p->running = NULL;
    p->link = NULL;
    t->counts.entries++;
    if (t->check)
        return checker_run(p, b);
    t->enter(p, b->start);
    truncate_rip(p);
    return true;
}
