/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A block: what is inline, what out of line, and which flags are worth keeping. */
#include "internal.h"

#include "processor/decode/decode.h"

static lower_fn *const lowerings[OP_COUNT] = {
    [OP_ADD] = lower_copy,
    [OP_OR] = lower_copy,
    [OP_ADC] = lower_copy,
    [OP_SBB] = lower_copy,
    [OP_AND] = lower_copy,
    [OP_SUB] = lower_copy,
    [OP_XOR] = lower_copy,
    [OP_CMP] = lower_copy,
    [OP_TEST] = lower_copy,
    [OP_NOT] = lower_copy,
    [OP_NEG] = lower_copy,
    [OP_INC] = lower_copy,
    [OP_DEC] = lower_copy,
    [OP_MUL] = lower_copy,
    [OP_IMUL1] = lower_copy,
    [OP_IMUL2] = lower_copy,
    [OP_IMUL3] = lower_copy,
    [OP_DIV] = lower_divide,
    [OP_IDIV] = lower_divide,
    [OP_ROL] = lower_copy,
    [OP_ROR] = lower_copy,
    [OP_RCL] = lower_copy,
    [OP_RCR] = lower_copy,
    [OP_SHL] = lower_copy,
    [OP_SHR] = lower_copy,
    [OP_SAR] = lower_copy,
    [OP_SHLD] = lower_copy,
    [OP_SHRD] = lower_copy,
    [OP_MOV] = lower_copy,
    [OP_MOVZX] = lower_copy,
    [OP_MOVSX] = lower_copy,
    [OP_MOVSXD] = lower_copy,
    [OP_MOVBE] = lower_copy,
    [OP_BSWAP] = lower_copy,
    [OP_LEA] = lower_lea,
    [OP_XCHG] = lower_copy,
    [OP_XADD] = lower_copy,
    [OP_CMPXCHG] = lower_copy,
    [OP_CMPXCHG8B] = lower_copy,
    [OP_MOVNTI] = lower_copy,
    [OP_PUSH] = lower_push,
    [OP_POP] = lower_pop,
    [OP_LEAVE] = lower_leave,
    [OP_CALL] = lower_call,
    [OP_CALL_IND] = lower_call_indirect,
    [OP_JMP] = lower_jump,
    [OP_JMP_IND] = lower_jump_indirect,
    [OP_JCC] = lower_jump_conditional,
    [OP_RET] = lower_return,
    [OP_LOOP] = lower_loop,
    [OP_LOOPE] = lower_loop,
    [OP_LOOPNE] = lower_loop,
    [OP_JCXZ] = lower_loop,
    [OP_SETCC] = lower_copy,
    [OP_CMOVCC] = lower_copy,
    [OP_BT] = lower_bit_test,
    [OP_BTS] = lower_bit_test,
    [OP_BTR] = lower_bit_test,
    [OP_BTC] = lower_bit_test,
    [OP_BSF] = lower_copy,
    [OP_BSR] = lower_copy,
    [OP_TZCNT] = lower_copy,
    [OP_LZCNT] = lower_copy,
    [OP_POPCNT] = lower_copy,
    [OP_CRC32] = lower_copy,
    [OP_CBW] = lower_copy,
    [OP_CWD] = lower_copy,
    [OP_LAHF] = lower_copy,
    [OP_SAHF] = lower_copy,
    [OP_CLC] = lower_copy,
    [OP_STC] = lower_copy,
    [OP_CMC] = lower_copy,
    [OP_CLD] = lower_direction,
    [OP_STD] = lower_direction,
    [OP_XLAT] = lower_xlat,
    [OP_MOVS] = lower_string,
    [OP_CMPS] = lower_string,
    [OP_STOS] = lower_string,
    [OP_LODS] = lower_string,
    [OP_SCAS] = lower_string,
    [OP_NOP] = lower_nop,
    [OP_ANDN] = lower_copy,
    [OP_BEXTR] = lower_copy,
    [OP_BLSI] = lower_copy,
    [OP_BLSMSK] = lower_copy,
    [OP_BLSR] = lower_copy,
    [OP_BZHI] = lower_copy,
    [OP_MULX] = lower_copy,
    [OP_PDEP] = lower_copy,
    [OP_PEXT] = lower_copy,
    [OP_RORX] = lower_copy,
    [OP_SARX] = lower_copy,
    [OP_SHLX] = lower_copy,
    [OP_SHRX] = lower_copy,
    [OP_ADCX] = lower_copy,
    [OP_ADOX] = lower_copy,
    [OP_PUSHF] = lower_pushf,
    [OP_CLI] = lower_cli,
    [OP_STI] = lower_sti,
    [OP_STAC] = lower_stac,
    [OP_CLAC] = lower_clac,
    [OP_SWAPGS] = lower_swapgs,
    [OP_MOV_FROM_SEG] = lower_read_segment,
    [OP_RDFSBASE] = lower_read_base,
    [OP_RDGSBASE] = lower_read_base,
    [OP_WRFSBASE] = lower_write_base,
    [OP_WRGSBASE] = lower_write_base,
    [OP_RDTSC] = lower_rdtsc,
    [OP_RDTSCP] = lower_rdtsc,
    [OP_MOV_FROM_CR] = lower_read_cr,
    [OP_SYSCALL] = lower_syscall,
    [OP_SYSRET] = lower_sysret,
    [OP_IRET] = lower_iret,
};

/* The translations of system instructions are those of 64-bit mode. */
lower_fn *lower_of(const struct lowering *l, const struct insn *i)
{
    switch (i->attr->class) {
    case CLASS_GENERAL:
        return lowerings[i->attr->op];
    case CLASS_SYSTEM:
        return lower_is_32(l) ? NULL : lowerings[i->attr->op];
    case CLASS_VECTOR:
        return lower_vector;
    default:
        return NULL;
    }
}

/* ---------------------------------------------------------------- liveness of flags */

/* Flags that I may read.  System instructions may store all of EFLAGS, or be the last before
 * somebody looks; but not those that have a translation. */
static uint16_t flags_read(const struct lowering *l, const struct insn *i)
{
    if ((i->attr->class == CLASS_SYSTEM && !lower_of(l, i)) || i->attr->class == CLASS_INVALID)
        return FLAGS_STATUS;
    return i->attr->flags_read & FLAGS_STATUS;
}

/* Flags whose values before I nobody sees after it: those it overwrites, or leaves undefined. */
static uint16_t flags_killed(const struct insn *i)
{
    if (i->attr->op == OP_X87) /* FCOMI leaves OF, SF and AF alone on some processors */
        return i->attr->flags_written & (FLAG_CF | FLAG_PF | FLAG_ZF);
    return (i->attr->flags_written | i->attr->flags_undefined) & FLAGS_STATUS;
}

/* Flags that I may change. */
static uint16_t flags_changed(const struct insn *i)
{
    return (i->attr->flags_written | i->attr->flags_undefined) & FLAGS_STATUS;
}

void lower_load_flags(struct lowering *l)
{
    uint16_t kept = l->after & ~flags_killed(l->i);
    if (l->i->attr->flags_read & FLAGS_STATUS || (flags_changed(l->i) && kept))
        lower_use_flags(l);
}

/* True when [offset, offset + size) was marked as code and not written since, so that C's copy
 * holds it and a change of it is noticed. */
static bool is_marked(const struct code_page *c, unsigned offset, unsigned size)
{
    uint64_t mask = atomic_load(&c->fresh);
    return mask & BIT(offset >> CODE_LINE_BITS) &&
           mask & BIT((offset + size - 1) >> CODE_LINE_BITS);
}

uint16_t lower_live_at(struct lowering *l, int64_t offset, unsigned depth)
{
    enum { FAR_ENOUGH = 12, DEEP_ENOUGH = 3 };
    const struct code_page *c = l->b->page;
    uint16_t live = 0, open = FLAGS_STATUS;
    for (unsigned n = 0; n < FAR_ENOUGH; n++) {
        struct insn i;
        if (!lower_in_page(offset) || !is_marked(c, (unsigned)offset, 1))
            break;
        size_t size = PAGE_BYTES - (size_t)offset;
        if (insn_decode(c->copy + offset, size, lower_decode_mode(l), (uint16_t)offset, &i) !=
                DECODE_OK ||
            !is_marked(c, (unsigned)offset, i.length))
            break;
        live |= flags_read(l, &i) & open;
        open &= ~flags_killed(&i);
        offset += i.length;
        if (!open)
            return live;
        if (i.attr->traits & TRAIT_BRANCH && i.opsize == 2) { /* a target of 16 bits */
            break;
        } else if (i.attr->op == OP_JMP || i.attr->op == OP_CALL) {
            offset += (int64_t)i.imm;
        } else if (i.attr->op == OP_JCC) {
            if (depth == DEEP_ENOUGH)
                break;
            int64_t taken = offset + (int64_t)i.imm;
            return live |
                   ((lower_live_at(l, taken, depth + 1) | lower_live_at(l, offset, depth + 1)) &
                    open);
        } else if (i.attr->traits & TRAIT_BRANCH) {
            break;
        }
    }
    return live | open;
}

/* live[n]: before instruction N; live[count]: at the end. */
static void find_live(struct lowering *l, uint16_t *live)
{
    const struct code_block *b = l->b;
    live[b->count] = lower_live_at(l, b->offset + b->bytes, 0);
    for (unsigned n = b->count; n-- > 0;) {
        const struct insn *i = &b->insn[n];
        uint16_t after = live[n + 1];
        bool direct = i->opsize != 2 &&
                      (i->attr->op == OP_JCC || i->attr->op == OP_JMP || i->attr->op == OP_CALL);
        if (direct && i->attr->op == OP_JCC)
            after |= lower_live_at(l, lower_branch_target(i), 0);
        else if (direct)
            after = lower_live_at(l, lower_branch_target(i), 0);
        else if (i->attr->traits & TRAIT_BRANCH)
            after = FLAGS_STATUS;
        live[n] = flags_read(l, i) | (after & ~flags_killed(i));
    }
}

/* ---------------------------------------------------------------- sites and late code */

uint32_t lower_site(struct lowering *l)
{
    struct translator *t = l->t;
    uint32_t site = t->site_count++;
    t->sites[site] = (struct translate_site){
        .insn = l->i,
        .block = l->b,
        .live = l->live,
        .index = (uint16_t)l->n,
        .ends = l->i->attr->traits & TRAIT_BRANCH || l->i->attr->class == CLASS_INVALID,
    };
    return site;
}

void lower_late(struct lowering *l, enum late_kind kind, uint8_t *from, uint32_t site)
{
    l->late[l->lates++] = (struct late){.kind = kind,
                                        .from = from,
                                        .site = site,
                                        .n = l->n,
                                        .flags = l->flags,
                                        .t1_tlb = l->t1_tlb};
}

bool lower_has_room(const struct lowering *l)
{
    return l->lates + l->reserved + LATE_MOST <= LATE_MAX;
}

void lower_thunk(struct lowering *l, uint8_t *thunk, uint32_t site)
{
    emit_constant(&l->e, T1, site);
    emit_jump(&l->e, thunk);
}

void lower_count_loop(struct lowering *l, unsigned count)
{
    emit_op(&l->e, &(struct host_op){.wide = true, /* add qword [frame], count */
                                     .opcode = 0x83,
                                     .has_modrm = true,
                                     .memory = true,
                                     .rm = HOST_RSP,
                                     .disp = FRAME(FRAME_COUNT),
                                     .immediates = 1,
                                     .immediate = count});
}

void lower_count(struct lowering *l, unsigned count, bool keep)
{
    struct emitter *e = &l->e;
    if (!l->t->count)
        return;
    if (!keep) {
        lower_count_loop(l, count);
        return;
    }
    emit_load(e, T0, HOST_RSP, FRAME(FRAME_COUNT));
    emit_lea(e, T0, T0, (int32_t)count);
    emit_store(e, HOST_RSP, FRAME(FRAME_COUNT), T0);
}

static void emit_late(struct lowering *l, const struct late *late)
{
    struct emitter *e = &l->e;
    struct translate_site *s = &l->t->sites[late->site];
    if (late->from)
        emit_patch(late->from, e->at);
    l->n = late->n;
    l->i = &l->b->insn[late->n];
    tracer_part(l, TRANSLATION_LATE);
    l->flags = late->flags;
    l->t1_tlb = late->t1_tlb;
    switch (late->kind) {
    case LATE_CHECK:
        lower_check_missed(l, late->site);
        break;
    case LATE_CALL:
        lower_thunk(l, l->t->call, late->site);
        break;
    case LATE_TARGET:
        lower_thunk(l, LIGHT_CALLS ? l->t->light[LIGHT_TARGET] : l->t->call, late->site);
        break;
    case LATE_VECTOR:
        lower_thunk(l, l->t->vector, late->site);
        break;
    case LATE_X87:
        lower_thunk(l, l->t->x87, late->site);
        break;
    case LATE_RESUME:
        for (uint32_t n = 0; n < late->sites; n++)
            s[n].next = translator_executable(l->t, e->at);
        l->flags = FLAGS_IN_FRAME;
        lower_use_flags(l);
        emit_jump(e, late->back);
        break;
    case LATE_CHAIN:
    case LATE_FAR:
        lower_go(l, late->n + 1, late->target, late->from);
        break;
    case LATE_LINK:
        lower_not_linked(l, late->site);
        break;
    case LATE_STALE:
        lower_code_address(l, T0, l->b->offset);
        emit_jump(e, l->t->exit);
        break;
    case LATE_GROUP:
        lower_group_late(l, late);
        break;
    }
}

/* ---------------------------------------------------------------- a block */

/* Leaves at the block's beginning if the 32-bit field at [BASE + DISP] is not VALUE. */
static void stale_unless(struct lowering *l, enum host_register base, int32_t disp, uint32_t value)
{
    bool small = value < 0x80;
    emit_op(&l->e, &(struct host_op){.opcode = small ? 0x83 : 0x81, /* cmp dword [], value; jne */
                                     .has_modrm = true,
                                     .reg = ALU_CMP,
                                     .memory = true,
                                     .rm = (uint8_t)base,
                                     .disp = disp,
                                     .immediates = small ? 1 : 4,
                                     .immediate = value});
    lower_late(l, LATE_STALE, emit_jump_if(&l->e, CC_NZ, NULL), 0);
}

static void stale_unless_generation(struct lowering *l, struct code_page *c, uint32_t generation)
{
    emit_constant(&l->e, T0, (uint64_t)(uintptr_t)&c->generation);
    stale_unless(l, T0, 0, generation);
}

/* The block's instruction goes on in another page: is it the one that was decoded? */
static void emit_crossing(struct lowering *l)
{
    struct emitter *e = &l->e;
    struct code_page *second = l->b->second;
    lower_code_address(l, T0, PAGE_BYTES);
    lower_tlb_index(e, 0);
    emit_alu_load(e, ALU_CMP, T0, T1,
                  tlb_at(offsetof(struct tlb, entry) + offsetof(struct tlb_entry, fetch)));
    lower_late(l, LATE_STALE, emit_jump_if(e, CC_NZ, NULL), 0);
    emit_constant(e, T0, (uint64_t)(uintptr_t)second->hva);
    emit_alu_load(e, ALU_CMP, T0, T1,
                  tlb_at(offsetof(struct tlb, entry) + offsetof(struct tlb_entry, host)));
    lower_late(l, LATE_STALE, emit_jump_if(e, CC_NZ, NULL), 0);
    stale_unless_generation(l, second, l->b->second_generation);
}

/* Whether the block checks an access before it reads a flag that is live at its beginning: then its
 * flags had better stay in the frame. */
static bool wants_flags_in_frame(const struct lowering *l)
{
    for (unsigned n = 0; n < l->b->count && l->lives[n]; n++) {
        const struct insn *i = &l->b->insn[n];
        if (flags_read(l, i))
            return false;
        if (insn_has_memory(i) || i->attr->traits & (TRAIT_STACK | TRAIT_BRANCH))
            return true;
    }
    return false;
}

/* The entry from elsewhere: the linear address in T0, flags in the frame.  Returns where it is;
 * before it stands, where flags are to be in the frame, the entry for jumps inside the page. */
static const uint8_t *emit_entry(struct lowering *l, bool live)
{
    struct emitter *e = &l->e;
    const struct code_block *b = l->b;
    bool in_frame = live && wants_flags_in_frame(l);
    uint8_t *saved = NULL;
    if (in_frame || b->second) {
        l->direct = e->at;
        l->flags = FLAGS_IN_EFLAGS;
        lower_save_flags(l);
        saved = emit_jump(e, NULL);
    }
    const uint8_t *entry = translator_executable(l->t, e->at);
    if (lower_is_32(l)) { /* 64-bit code may jump to the key of such a block: that is #GP */
        emit_load(e, T1, HOST_RSP, FRAME(FRAME_P));
        emit_op(e, &(struct host_op){.opcode = 0xf6, /* test byte [T1 + mode], DECODE_32; jz */
                                     .has_modrm = true,
                                     .memory = true,
                                     .rm = T1,
                                     .disp = offsetof(struct processor, mode),
                                     .immediates = 1,
                                     .immediate = DECODE_32});
        emit_jump_if(e, CC_Z, l->t->exit);
        emit_lea(e, T0, T0, -(int32_t)b->offset);
        emit_truncate(e, T0);
    } else if (!lower_is_fixed(l)) {
        emit_lea(e, T0, T0, -(int32_t)b->offset);
    }
    if (!lower_is_fixed(l)) {
        emit_store(e, HOST_RSP, FRAME(FRAME_CODE), T0);
        stale_unless_generation(l, b->page, b->generation);
    }
    l->linked = e->at;
    if (!lower_is_terse(l)) {
        emit_load(e, T0, HOST_RSP, FRAME(FRAME_P));
        stale_unless(l, T0, offsetof(struct processor, poll), 0);
    }
    l->start = e->at;
    if (saved)
        emit_patch(saved, e->at);
    l->flags = FLAGS_IN_FRAME;
    if (b->second)
        emit_crossing(l);
    if (live && !in_frame)
        lower_use_flags(l);
    if (!in_frame)
        l->flags = FLAGS_IN_EFLAGS;
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_TLB));
    l->t1_known = true;
    if (!saved)
        l->direct = e->at;
    return entry;
}

/* Leaves the current instruction to its handler. */
static void lower_handler(struct lowering *l)
{
    /* General handlers leave vector state alone, and the right to use it. */
    bool general = l->i->attr->class == CLASS_GENERAL;
    lower_group_cut(l);
    uint32_t site = lower_site(l);
    if (l->live)
        lower_save_flags(l);
    if (!general) {
        l->vector = VECTOR_NONE;
        l->x87 = false;
    }
    lower_thunk(l, general ? l->t->call : l->t->call_other, site);
    if (l->t->sites[site].ends)
        return;
    l->t->sites[site].next = translator_executable(l->t, l->e.at);
    l->flags = FLAGS_IN_FRAME;
    l->t1_known = true; /* thunks see to it */
}

/* Lowerings that know of T1: see lower_keep_t1. */
static bool keeps_t1(lower_fn *lower)
{
    return lower == lower_copy || lower == lower_vector || lower == lower_push ||
           lower == lower_pop || lower == lower_lea || lower == lower_nop || lower == lower_call ||
           lower == lower_return || lower == lower_jump || lower == lower_jump_conditional;
}

static void lower_insn(struct lowering *l)
{
    struct translator *t = l->t;
    uint8_t *start = l->e.at;
    uint32_t first = t->site_count;
    unsigned lates = l->lates;
    unsigned vector = l->vector;
    bool x87 = l->x87;
    enum flags_place flags = l->flags;
    lower_fn *lower = l->outside || lower_has_room(l) ? lower_of(l, l->i) : NULL;
    if (lower && !insn_has_memory(l->i))
        lower_load_flags(l);
    /* T1 is what it was only where the lowering says so. */
    l->t1_tlb = l->t1_known && keeps_t1(lower);
    l->t1_known = false;
    lower_choose_recent(l);
    if (!lower || !lower(l)) {
        l->vector = vector;
        l->x87 = x87;
        l->shadow = false;
        l->flags = flags;
        l->e.at = start;
        t->site_count = first;
        l->lates = lates;
        lower_handler(l);
        return;
    }
    if (flags_changed(l->i))
        l->flags = FLAGS_IN_EFLAGS;
    /* Where the handler's way joins again. */
    if (!l->after || l->flags == FLAGS_IN_FRAME) {
        for (uint32_t n = first; n < t->site_count; n++)
            t->sites[n].next = translator_executable(t, l->e.at);
    } else if (first < t->site_count) {
        struct late *late = &l->late[l->lates];
        lower_late(l, LATE_RESUME, NULL, first);
        late->sites = t->site_count - first;
        late->back = l->e.at;
    }
}

void lower_nth(struct lowering *l, unsigned n)
{
    l->n = n;
    l->i = &l->b->insn[n];
    l->live = l->lives[n];
    l->after = l->lives[n + 1];
    bool shadow = l->shadow, branch = l->i->attr->traits & TRAIT_BRANCH;
    l->shadow = false;
    if (shadow && branch)
        lower_end_shadow(l, l->live);
    lower_insn(l);
    if (shadow && !branch)
        lower_end_shadow(l, l->after);
}

void lower_block(struct processor *p, struct code_block *b, uint64_t linear)
{
    struct translator *t = p->translator;
    uint32_t first = t->site_count;
    struct lowering l = {.p = p, .t = t, .b = b, .linear = linear & ~PAGE_OFFSET_MASK};
    uint16_t live[ARRAY_SIZE(l.late) + 1];
    l.begin = l.e.at = t->writable + t->used;
    l.i = &b->insn[0];
    l.lives = live;
    find_live(&l, live);

    lower_guess_begin(&l);

    tracer_begin(&l);
    tracer_part(&l, TRANSLATION_ENTRY);
    const uint8_t *entry = emit_entry(&l, live[0]);
    for (l.n = 0; l.n < b->count; l.n++) {
        l.i = &b->insn[l.n];
        l.live = live[l.n];
        tracer_part(&l, TRANSLATION_INLINE);
        lower_group_before(&l);
        lower_nth(&l, l.n);
        lower_group_after(&l);
        lower_guess_after(&l, &b->insn[l.n]);
    }
    const struct insn *last = &b->insn[b->count - 1];
    uint64_t traits = last->attr->traits;
    bool conditional = traits & TRAIT_COND && traits & TRAIT_BRANCH;
    if (last->attr->class != CLASS_INVALID && (conditional || !(traits & TRAIT_BRANCH))) {
        l.n = b->count - 1u;
        l.i = last;
        l.t1_tlb = l.t1_known;
        tracer_part(&l, TRANSLATION_END);
        lower_go(&l, b->count, b->offset + b->bytes, NULL);
    }
    /* Apart from the rest, so that what mostly runs lies close together. */
    b->host_bytes = (uint16_t)(l.e.at - l.start);
    l.inline_bytes = (size_t)(l.e.at - l.begin);
    t->used = ALIGN_UP((size_t)(l.e.at - t->writable), 16);
    l.late_begin = l.e.at = t->writable + t->late_used;
    for (unsigned n = 0; n < l.lates; n++)
        emit_late(&l, &l.late[n]);
    t->late_used = ALIGN_UP((size_t)(l.e.at - t->writable), 16);
    for (uint32_t site = first; b->x87 && site < t->site_count; site++)
        t->sites[site].x87 = true;

    tracer_end(&l);
    b->direct = l.direct;
    b->linked = lower_is_fixed(&l) ? l.linked : NULL;
    b->live = live[0];
    b->start = translator_executable(t, l.start);
    if (!t->check)
        b->jump = entry;
    t->counts.blocks++;
}
