/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest registers, addresses, and the inline TLB check. */
#include "internal.h"

#include "processor/decode/decode.h"

/* Distances from FRAME_TLB. */
enum {
    ENTRY = (int)offsetof(struct tlb, entry) - (int)TLB_ANCHOR,
    ENTRY_READ = ENTRY + (int)offsetof(struct tlb_entry, read),
    ENTRY_WRITE = ENTRY + (int)offsetof(struct tlb_entry, write),
    ENTRY_HOST = ENTRY + (int)offsetof(struct tlb_entry, host),
};
static int32_t entry_tag(bool write)
{
    return write ? ENTRY_WRITE : ENTRY_READ;
}

int lower_register(unsigned r)
{
    static const int8_t map[16] = {
        HOST_RAX, HOST_RCX, HOST_RDX, HOST_RBX, HOST_R9,  HOST_R10, HOST_RSI, HOST_RDI,
        HOST_R8,  -1,       -1,       -1,       HOST_R12, HOST_R13, HOST_R14, HOST_R15,
    };
    return map[r & 15];
}

int32_t lower_home(unsigned r)
{
    return FRAME(FRAME_R9 + (int)r - REG_R9);
}

void lower_fetch(struct lowering *l, enum host_register to, unsigned r)
{
    int host = lower_register(r);
    if (host < 0)
        emit_load(&l->e, to, HOST_RSP, lower_home(r));
    else if ((int)to != host)
        emit_move(&l->e, to, (enum host_register)host);
}

/* The host register that holds guest register R, brought into SCRATCH if it has none. */
static enum host_register bring(struct lowering *l, unsigned r, enum host_register scratch)
{
    int host = lower_register(r);
    if (host >= 0)
        return (enum host_register)host;
    emit_load(&l->e, scratch, HOST_RSP, lower_home(r));
    return scratch;
}

void lower_code_address(struct lowering *l, enum host_register to, int64_t offset)
{
    if (lower_is_fixed(l)) {
        emit_constant(&l->e, to, l->b->linear + (uint64_t)offset);
        return;
    }
    emit_load(&l->e, to, HOST_RSP, FRAME(FRAME_CODE));
    emit_lea(&l->e, to, to, (int32_t)offset);
}

/* The sum of L's operand into TO.  Returns where the REX prefix of the last instruction is, without
 * whose W it makes 32 bits of the sum; or NULL, where those would take another instruction. */
static uint8_t *add_up(struct lowering *l, enum host_register to)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    int32_t disp = (int32_t)i->disp;
    uint8_t *last;
    if (i->base == REG_CODE) {
        lower_code_address(l, to, disp);
        last = NULL;
    } else if (i->base == REG_NONE && i->index == REG_NONE) {
        last = NULL;
        emit_constant(e, to, (uint64_t)(int64_t)disp);
    } else if (i->index == REG_NONE) {
        enum host_register base = bring(l, i->base, T0);
        last = e->at;
        if (disp || to == base)
            emit_lea(e, to, base, disp);
        else
            emit_move(e, to, base);
    } else {
        unsigned base = i->base == REG_NONE ? NO_BASE : bring(l, i->base, T0);
        enum host_register index = bring(l, i->index, T1);
        if (index == T1)
            l->t1_tlb = false;
        last = e->at;
        emit_lea_index(e, to, base, index, i->scale, disp);
    }
    return last;
}

bool lower_effective(struct lowering *l, enum host_register to, unsigned size)
{
    enum { REX_W = 8 };
    const struct insn *i = l->i;
    /* Sums are truncated to 32-bit addresses, so the displacement may be. */
    if (i->addrsize == 2 || (i->addrsize == 8 && i->disp != (int32_t)i->disp))
        return false;
    /* In 32-bit code CS cannot be written through. */
    if (lower_is_32(l) && i->seg == SEG_CS)
        return false;
    uint8_t *last = add_up(l, to);
    if (i->addrsize == 8 && size == 8)
        return true;
    if (last)
        *last &= (uint8_t)~REX_W;
    else
        emit_truncate(&l->e, to);
    return true;
}

/* Which recent entry serves an operand.  0 is the stack's. */
enum { RECENT_STACK, RECENT_NEAR, RECENT_OTHERS = 18 };

/* In a kernel's code, by where the operand leads if that can be guessed: into the direct map, or
 * the kernel's image (in the top 2 GiB). */
enum { RECENT_WIDEST = RECENT_NEAR, RECENT_IMAGE, RECENT_KERNEL_NEAR };

static int recent_of_guess(const struct lowering *l)
{
    const struct tlb_range *widest = &l->p->tlb->widest[0][TLB_DIRECT];
    uint64_t linear;
    if (!lower_guess_address(l, l->i, &linear))
        return -1;
    if (linear - widest->start <= widest->limit)
        return RECENT_WIDEST;
    if (tlb_part(linear) == TLB_IMAGE)
        return RECENT_IMAGE;
    return (linear ^ l->p->gpr[REG_RSP]) >> PAGE_BITS == 0 ? RECENT_STACK : -1;
}

/* By how the address is made: the same for the same registers and page of displacements, that is,
 * for operands that tend to lie in one page.  Addresses near a register have their own, in the
 * order in which compilers like them. */
static unsigned recent_of(const struct lowering *l)
{
    enum { REGISTERS = 16 };
    static const uint8_t order[REGISTERS] = {
        [REG_RDI] = 0,  [REG_RBX] = 1, [REG_RAX] = 2, [REG_RBP] = 3,  [REG_RDX] = 4,
        [REG_R12] = 5,  [REG_RSI] = 6, [REG_RCX] = 7, [REG_R13] = 8,  [REG_R14] = 9,
        [REG_R15] = 10, [REG_R8] = 11, [REG_R9] = 12, [REG_R10] = 13, [REG_R11] = 14,
    };
    const struct insn *i = l->i;
    int guess = recent_of_guess(l);
    if (guess >= 0)
        return (unsigned)guess;
    uint32_t page = (uint32_t)((i->disp + (i->base == REG_CODE ? i->offset : 0)) >> PAGE_BITS);
    if (i->base == REG_RSP && i->index == REG_NONE)
        return RECENT_STACK;
    if (i->index == REG_NONE && i->base < REGISTERS && page == 0)
        return (lower_is_fixed(l) ? RECENT_KERNEL_NEAR : RECENT_NEAR) + order[i->base];
    uint32_t key = (uint32_t)i->base * 37 + (uint32_t)i->index * 11 + page * 5;
    return RECENT_OTHERS + key % (TLB_RECENT - RECENT_OTHERS);
}

void lower_choose_recent(struct lowering *l)
{
    l->recent = l->i->attr->traits & TRAIT_STACK ? RECENT_STACK : recent_of(l);
}

/* FS and GS of 32-bit code: what is not a segment of 4 GiB, and an access across its end, is left
 * to the handler. */
static void check_segment(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    unsigned size = insn_operand_size(i, (unsigned)insn_memory_operand(i));
    uint32_t site = lower_site(l);
    emit_op(e, &(struct host_op){.opcode = 0x81, /* cmp T0d, 2^32 - size; ja */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .rm = T0,
                                 .immediates = 4,
                                 .immediate = -(uint64_t)size});
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_A, NULL), site);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_P));
    emit_op(e,
            &(struct host_op){.opcode = 0x80, /* cmp byte [T1 + open], 0; je */
                              .has_modrm = true,
                              .reg = ALU_CMP,
                              .memory = true,
                              .rm = T1,
                              .disp = (int32_t)(offsetof(struct processor, open_segment) + i->seg),
                              .immediates = 1});
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_Z, NULL), site);
}

void lower_add_base(struct lowering *l)
{
    const struct insn *i = l->i;
    if (lower_is_32(l) && (i->seg == SEG_FS || i->seg == SEG_GS))
        check_segment(l);
    if (i->seg == SEG_FS || i->seg == SEG_GS) {
        emit_load(&l->e, T1, HOST_RSP, FRAME(FRAME_P));
        emit_alu_load(&l->e, ALU_ADD, T0, T1,
                      (int32_t)(offsetof(struct processor, flat_base) + 8u * i->seg));
        l->t1_tlb = false;
        if (lower_is_32(l))
            emit_truncate(&l->e, T0);
    }
}

bool lower_linear(struct lowering *l)
{
    if (l->shared)
        return true;
    if (!lower_effective(l, T0, 8))
        return false;
    lower_add_base(l);
    l->recent = recent_of(l);
    return true;
}

/* ---------------------------------------------------------------- the check */

/* The first of those to write are the last of their array, so that they, too, are near the anchor.
 */
int16_t lower_recent(const struct lowering *l, bool write)
{
    size_t write_at = offsetof(struct tlb, recent_write) +
                      sizeof(struct tlb_range) * (TLB_RECENT - 1 - l->recent);
    size_t read_at = offsetof(struct tlb, recent_read) + sizeof(struct tlb_range) * l->recent;
    return (int16_t)tlb_at(write ? write_at : read_at);
}

/* A field of the range at AT. */
#define RANGE(at, field) ((int32_t)(at) + (int32_t)offsetof(struct tlb_range, field))

static void compare_range(struct emitter *e, int32_t at, bool wide)
{
    emit_alu_load(e, ALU_SUB, T0, T1, RANGE(at, start));
    emit_alu_load(e, ALU_CMP, T0, T1, wide ? RANGE(at, wide) : RANGE(at, limit));
}

void lower_compare_recent(struct emitter *e, int32_t recent, unsigned size)
{
    compare_range(e, recent, size > 8);
}

void lower_tlb_index(struct emitter *e, int32_t frame)
{
    _Static_assert(sizeof(struct tlb_entry) == 32, "the index is made here");
    emit_move(e, T1, T0);
    EMIT(e, 0x49, 0xc1, 0xeb, 7); /* shr T1, 7 */
    EMIT(e, 0x41, 0x81, 0xe3);    /* and T1d, (TLB_ENTRIES - 1) << 5 */
    EMIT(e, (TLB_ENTRIES - 1) << 5 & 0xff, (TLB_ENTRIES - 1) >> 3 & 0xff,
         (TLB_ENTRIES - 1) >> 11 & 0xff, 0);
    emit_alu_load(e, ALU_ADD, T1, HOST_RSP, frame + FRAME(FRAME_TLB));
}

/* From the linear address in T0 to the TLB's entry for it in T1, and what it differs by from that
 * entry's tag in T0.  FRAME is the frame's distance from RSP. */
static void find_entry(struct emitter *e, int32_t frame, bool write)
{
    lower_tlb_index(e, frame);
    emit_alu_load(e, ALU_XOR, T0, T1, entry_tag(write));
}

/* To the page offset in T0, looked up in the TLB proper; ja follows for a miss. */
static void look_in_tlb(struct emitter *e, int32_t frame, unsigned size, bool write)
{
    find_entry(e, frame, write);
    /* What is left is the page offset: one comparison finds a miss and a page crossed. */
    emit_alu_constant(e, ALU_CMP, T0, (int32_t)(PAGE_BYTES - size));
}

/* Every so many misses of recent entries, one is looked at: if they came within so many
 * ticks of the TSC, and its site is met so often, it is made to look in the TLB proper at once. */
enum { PATIENCE = 256, DENSE = 100 * PATIENCE, WEARY = 2 };

/* Where the thunks find the spans. */
static int32_t span_at(bool write)
{
    return tlb_at(offsetof(struct tlb, span) + write * sizeof(((struct tlb *)0)->span[0]));
}
static int32_t widest_at(bool write)
{
    return tlb_at(offsetof(struct tlb, widest[write][TLB_DIRECT]));
}

/* Behind a stub's call of its thunk stand the jump back and, for a single access, its site. */
enum { STUB_SITE = 5, STUB_END = 5 };

/* Stores VALUE in the range that RAX points to. */
static void store_bound(struct emitter *e, int32_t field, uint32_t value)
{
    emit_op(e, &(struct host_op){.wide = true,
                                 .opcode = 0xc7,
                                 .has_modrm = true,
                                 .memory = true,
                                 .rm = HOST_RAX,
                                 .disp = field,
                                 .immediates = 4,
                                 .immediate = value});
}

/* In a thunk: the address of the recent entry in FRAME_SAVE into RAX, whose value is kept. */
static void begin_found(struct emitter *e)
{
    emit_store(e, HOST_RSP, ABOVE + FRAME(FRAME_ARGUMENT), HOST_RAX);
    emit_load(e, HOST_RAX, HOST_RSP, ABOVE + FRAME(FRAME_SAVE));
}

/* Returns as after a check, with the distance from what was found in T0, and where that leads at
 * distance HOST from T1. */
static void return_found(struct emitter *e, int32_t host)
{
    emit_load(e, HOST_RAX, HOST_RSP, ABOVE + FRAME(FRAME_ARGUMENT));
    emit_alu_load(e, ALU_ADD, T0, T1, host);
    emit_load(e, T1, HOST_RSP, ABOVE + FRAME(FRAME_TLB));
    emit_op(e, &(struct host_op){.opcode = 0xc6, /* mov byte [T1 + recent_used], 1 */
                                 .has_modrm = true,
                                 .memory = true,
                                 .rm = T1,
                                 .disp = tlb_at(offsetof(struct tlb, recent_used)),
                                 .immediates = 1,
                                 .immediate = 1});
    emit_byte(e, 0xc3); /* ret */
}

/* In a thunk: T0 is the distance from the range at distance RANGE from T1, which has it: makes that
 * the recent entry, and returns. */
static void emit_found_range(struct emitter *e, int32_t range)
{
    begin_found(e);
    for (int32_t at = 0; at < (int32_t)sizeof(struct tlb_range); at += 8)
        emit_push_pop(e, T1, range + at, HOST_RAX, at);
    return_found(e, RANGE(range, host));
}

/* In a thunk, T1 being FRAME_TLB: if there is a span or an entry for the linear address in T0,
 * makes it the recent entry that FRAME_SAVE points to, and returns as after a check.  What it emits
 * next runs if there is not.  T0 is lost then. */
static void emit_search(struct emitter *e, unsigned size, bool write)
{
    _Static_assert(sizeof(struct tlb_range) == 32 && TLB_SPANS == 64, "the index is made here");
    int32_t span = span_at(write), widest = widest_at(write);
    compare_range(e, widest, size > 8);
    uint8_t *not_widest = emit_jump_if(e, CC_A, NULL);
    emit_found_range(e, widest);

    emit_patch(not_widest, e->at);
    emit_alu_load(e, ALU_ADD, T0, T1, RANGE(widest, start));
    emit_move(e, T1, T0);
    EMIT(e, 0x49, 0xc1, 0xeb, 16);            /* shr T1, 21 - 5 */
    EMIT(e, 0x41, 0x81, 0xe3, 0xe0, 7, 0, 0); /* and T1d, (TLB_SPANS - 1) << 5 */
    emit_alu_load(e, ALU_ADD, T1, HOST_RSP, ABOVE + FRAME(FRAME_TLB));
    compare_range(e, span, size > 8);
    uint8_t *none = emit_jump_if(e, CC_A, NULL);
    emit_found_range(e, span);

    emit_patch(none, e->at);
    emit_alu_load(e, ALU_ADD, T0, T1, RANGE(span, start));
    look_in_tlb(e, ABOVE, size, write);
    uint8_t *miss = emit_jump_if(e, CC_A, NULL);
    begin_found(e);
    emit_push_pop(e, T1, entry_tag(write), HOST_RAX, RANGE(0, start));
    emit_push_pop(e, T1, ENTRY_HOST, HOST_RAX, RANGE(0, host));
    store_bound(e, RANGE(0, limit), PAGE_BYTES - 8);
    store_bound(e, RANGE(0, wide), PAGE_BYTES - TLB_WIDE);
    return_found(e, ENTRY_HOST);
    emit_patch(miss, e->at);
}

/* On a miss it returns to what is behind the stub. */
uint8_t *lower_group_thunk(struct emitter *e, bool write)
{
    uint8_t *start = e->at;
    emit_store(e, HOST_RSP, ABOVE + FRAME(FRAME_SAVE), T1);
    emit_load(e, T1, HOST_RSP, ABOVE + FRAME(FRAME_TLB));
    emit_search(e, GROUP_BYTES, write);
    emit_load(e, T1, HOST_RSP, ABOVE + FRAME(FRAME_TLB));
    EMIT(e, 0x48, 0x83, 0x04, 0x24, STUB_END, 0xc3); /* add qword [RSP], STUB_END; ret */
    return start;
}

void lower_check(struct lowering *l, unsigned size, bool write)
{
    struct emitter *e = &l->e;
    if (l->shared)
        return;
    uint32_t site = lower_site(l);
    struct translate_site *s = &l->t->sites[site];
    s->size = (uint8_t)size;
    s->write = write;
    if (size > 1u << (CHECK_SIZES - 1) || size & (size - 1)) {
        look_in_tlb(e, 0, size, write);
        lower_late(l, LATE_CHECK, emit_jump_if(e, CC_A, NULL), site);
        emit_alu_load(e, ALU_ADD, T0, T1, ENTRY_HOST);
    } else {
        s->recent = lower_recent(l, write);
        if (!l->t1_tlb)
            emit_load(e, T1, HOST_RSP, FRAME(FRAME_TLB));
        s->check = e->at;
        lower_compare_recent(e, s->recent, size);
        lower_late(l, LATE_CHECK, emit_jump_if(e, CC_A, NULL), site);
        emit_alu_load(e, ALU_ADD, T0, T1, RANGE(s->recent, host));
    }
    s->resume = translator_executable(l->t, e->at);
    l->t1_tlb = false;
    lower_choose_recent(l);
}

/* The check in T0 has missed recent entry RECENT: calls THUNK with the linear address in T0 and
 * that of the entry in T1, then goes BACK. */
static void emit_call_stub(struct emitter *e, int16_t recent, const uint8_t *thunk,
                           const uint8_t *back)
{
    emit_lea(e, T1, T1, recent);
    emit_alu_load(e, ALU_ADD, T0, T1, offsetof(struct tlb_range, start));
    emit_call(e, thunk);
    emit_jump(e, back);
}

void lower_check_missed(struct lowering *l, uint32_t site)
{
    struct emitter *e = &l->e;
    const struct translate_site *s = &l->t->sites[site];
    if (!s->check) {
        emit_alu_load(e, ALU_XOR, T0, T1, entry_tag(s->write));
        lower_thunk(l, l->t->slow, site);
        return;
    }
    emit_call_stub(e, s->recent, l->t->recent[s->write][__builtin_ctz(s->size)],
                   l->t->writable + (s->resume - l->t->executable));
    emit_bytes(e, (const uint8_t *)&site, sizeof(site));
}

void lower_group_missed(struct lowering *l, const struct group *g)
{
    emit_call_stub(&l->e, g->recent, l->t->group[g->write], g->resume);
}

uint8_t *lower_check_thunk(struct emitter *e, const struct translator *t, unsigned size, bool write)
{
    uint8_t *start = e->at;
    emit_store(e, HOST_RSP, ABOVE + FRAME(FRAME_ARGUMENT), T0);
    emit_store(e, HOST_RSP, ABOVE + FRAME(FRAME_SAVE), T1);
    emit_load(e, T1, HOST_RSP, ABOVE + FRAME(FRAME_TLB));
    emit_op(e, &(struct host_op){.opcode = 0x83, /* sub dword [T1 + patience], 1; js */
                                 .has_modrm = true,
                                 .reg = ALU_SUB,
                                 .memory = true,
                                 .rm = T1,
                                 .disp = tlb_at(offsetof(struct tlb, patience)),
                                 .immediates = 1,
                                 .immediate = 1});
    uint8_t *weary = emit_jump_if(e, CC_S, NULL);
    emit_search(e, size, write);
    emit_patch(weary, e->at);
    emit_load(e, T0, HOST_RSP, ABOVE + FRAME(FRAME_ARGUMENT));
    EMIT(e, 0x41, 0x5b);                  /* pop T1 */
    EMIT(e, 0x45, 0x8b, 0x5b, STUB_SITE); /* mov T1d, [T1 + STUB_SITE] */
    emit_jump(e, t->slow);
    return start;
}

void lower_check_weary(struct processor *p, struct translate_site *s, uint64_t linear)
{
    enum { ROOM = 128 };
    struct translator *t = p->translator;
    uint32_t site = (uint32_t)(s - t->sites);
    uint64_t now = __builtin_ia32_rdtsc();
    bool dense = now - t->patient < DENSE;
    p->tlb->patience = PATIENCE;
    t->patient = now;
    /* Spans are not looked for out of line: there are so few that they mostly stay recent. */
    if (!dense || tlb_span(p->tlb, linear, s->size, s->write) || ++s->weary < WEARY ||
        t->late_used + ROOM > t->counts.capacity)
        return;
    struct emitter e = {.at = t->writable + t->late_used};
    emit_jump(&(struct emitter){.at = s->check}, e.at);
    look_in_tlb(&e, 0, s->size, s->write);
    uint8_t *miss = emit_jump_if(&e, CC_A, NULL);
    emit_alu_load(&e, ALU_ADD, T0, T1, ENTRY_HOST);
    emit_load(&e, T1, HOST_RSP, FRAME(FRAME_TLB));
    emit_jump(&e, t->writable + (s->resume - t->executable));
    emit_patch(miss, e.at);
    emit_alu_load(&e, ALU_XOR, T0, T1, entry_tag(s->write));
    emit_constant(&e, T1, site);
    emit_jump(&e, t->slow);
    t->late_used = ALIGN_UP((size_t)(e.at - t->writable), 16);
}

void lower_keep_t1(struct lowering *l)
{
    l->t1_known = !l->shared || l->t1_tlb; /* a shared check did not need it */
}

/* ---------------------------------------------------------------- flags */

void lower_save_flags(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->flags == FLAGS_IN_EFLAGS) {
        l->t1_tlb = false;
        emit_move(e, T1, HOST_RAX);
        EMIT(e, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        emit_store(e, HOST_RSP, FRAME(FRAME_FLAGS), HOST_RAX);
        emit_move(e, HOST_RAX, T1);
    }
    l->flags = FLAGS_IN_FRAME;
}

void lower_save_live(struct lowering *l)
{
    if (l->live && !l->shared)
        lower_save_flags(l);
}

void lower_use_flags(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->flags != FLAGS_IN_FRAME)
        return;
    emit_store(e, HOST_RSP, FRAME(FRAME_SAVE), HOST_RAX);
    emit_load(e, HOST_RAX, HOST_RSP, FRAME(FRAME_FLAGS));
    EMIT(e, 0x04, 0x7f, 0x9e); /* add al, 127: OF if AL was 1; sahf */
    emit_load(e, HOST_RAX, HOST_RSP, FRAME(FRAME_SAVE));
    l->flags = FLAGS_IN_BOTH;
}
