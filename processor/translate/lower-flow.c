/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stack and branches. */
#include "internal.h"

#include "processor/decode/decode.h"

/* Guest RSP. */
#define GUEST_RSP HOST_R9
#define GUEST_RBP HOST_R10

/* ---------------------------------------------------------------- the mode's width */

/* Of the stack pointer, what is pushed and popped, and branch targets, in bytes.  Instructions with
 * another operand size are left to their handlers. */
static unsigned word(const struct lowering *l)
{
    return lower_is_32(l) ? 4 : 8;
}

/* MOV (8B loads, 89 stores) and LEA (8D) of that width with [BASE + DISP]. */
static void word_op(struct lowering *l, unsigned opcode, unsigned r, enum host_register base,
                    int32_t disp)
{
    emit_op(&l->e, &(struct host_op){.wide = !lower_is_32(l),
                                     .opcode = (uint8_t)opcode,
                                     .has_modrm = true,
                                     .reg = (uint8_t)r,
                                     .memory = true,
                                     .rm = (uint8_t)base,
                                     .disp = disp});
}
static void word_load(struct lowering *l, enum host_register to, enum host_register base)
{
    word_op(l, 0x8b, to, base, l->reach);
}
static void word_store(struct lowering *l, enum host_register base, enum host_register from)
{
    word_op(l, 0x89, from, base, l->reach);
}
/* A constant of 32 bits, sign-extended. */
static void word_store_constant(struct lowering *l, enum host_register base, uint64_t value)
{
    emit_op(&l->e, &(struct host_op){.wide = !lower_is_32(l), /* mov [base + reach], value */
                                     .opcode = 0xc7,
                                     .has_modrm = true,
                                     .memory = true,
                                     .rm = (uint8_t)base,
                                     .disp = l->reach,
                                     .immediates = 4,
                                     .immediate = value});
}
static void word_lea(struct lowering *l, enum host_register to, enum host_register base,
                     int32_t disp)
{
    word_op(l, 0x8d, to, base, disp);
}
void lower_move_stack(struct lowering *l, int32_t by)
{
    l->deferred += by;
    if (l->defer || !l->deferred)
        return;
    word_lea(l, GUEST_RSP, GUEST_RSP, l->deferred);
    l->deferred = 0;
}

/* ---------------------------------------------------------------- PUSH, POP, LEAVE */

void lower_push_slot(struct lowering *l)
{
    if (!l->shared)
        word_lea(l, T0, GUEST_RSP, -(int32_t)word(l));
    lower_check(l, word(l), true);
}

/* Makes T0 the host address of the top of the stack, or of what RBP points to. */
static void read_slot(struct lowering *l, enum host_register pointer)
{
    if (l->shared)
        return;
    emit_move(&l->e, T0, pointer);
    if (lower_is_32(l))
        emit_truncate(&l->e, T0);
    lower_check(l, word(l), false);
}

bool lower_push(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    bool constant = i->attr->operand[0].kind == OPERAND_IMM;
    if (i->opsize != word(l))
        return false;
    lower_save_live(l);
    if (!constant && !i->mod3) {
        if (!lower_linear(l))
            return false;
        lower_check(l, word(l), false);
        word_load(l, T0, T0);
        emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T0);
    }
    lower_push_slot(l);
    if (constant) {
        word_store_constant(l, T0, i->imm);
    } else if (!i->mod3) {
        emit_load(e, T1, HOST_RSP, FRAME(FRAME_TARGET));
        word_store(l, T0, T1);
    } else {
        int host = lower_register(i->rm);
        if (host < 0)
            lower_fetch(l, T1, i->rm);
        word_store(l, T0, host < 0 ? T1 : (enum host_register)host);
    }
    lower_move_stack(l, -(int32_t)word(l));
    if (l->live)
        lower_load_flags(l);
    if (constant || (i->mod3 && lower_register(i->rm) >= 0))
        lower_keep_t1(l);
    return true;
}

bool lower_pop(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    if (i->opsize != word(l) || !i->mod3)
        return false;
    lower_save_live(l);
    read_slot(l, GUEST_RSP);
    int host = lower_register(i->rm);
    word_load(l, host < 0 ? T1 : (enum host_register)host, T0);
    if (host < 0)
        emit_store(e, HOST_RSP, lower_home(i->rm), T1);
    if (i->rm != REG_RSP) /* POP RSP keeps what was read */
        lower_move_stack(l, (int32_t)word(l));
    if (l->live)
        lower_load_flags(l);
    if (host >= 0)
        lower_keep_t1(l);
    return true;
}

bool lower_leave(struct lowering *l)
{
    if (l->i->opsize != word(l))
        return false;
    if (l->live)
        lower_save_flags(l);
    read_slot(l, GUEST_RBP);
    word_lea(l, GUEST_RSP, GUEST_RBP, (int32_t)word(l));
    word_load(l, GUEST_RBP, T0);
    if (l->live)
        lower_load_flags(l);
    return true;
}

/* ---------------------------------------------------------------- to another page */

/* Compares the linear address in T0 with that of the jump entry of INDEX, T1 pointing to the
 * jump cache.
 */
static void compare_entry(struct emitter *e, unsigned index)
{
    emit_alu_load(
        e, ALU_CMP, T0, T1,
        (int32_t)(sizeof(struct jump_entry) * index + offsetof(struct jump_entry, linear)));
}

/* Finds the jump entry for the linear address in T0: T1 is such that the entry is at its offset of
 * index 0; ZF tells whether it is that address's. */
static void look_up(struct emitter *e)
{
    _Static_assert(sizeof(struct jump_entry) == 16, "the index is scaled here");
    EMIT(e, 0x41, 0x89, 0xeb);            /* mov T1d, T0d */
    EMIT(e, 0x41, 0xc1, 0xeb, PAGE_BITS); /* shr T1d, PAGE_BITS */
    EMIT(e, 0x41, 0x31, 0xeb);            /* xor T1d, T0d */
    emit_alu_load(e, ALU_AND, T1, HOST_RSP, FRAME(FRAME_JUMP_MASK));
    EMIT(e, 0x41, 0xc1, 0xe3, 4); /* shl T1d, 4 */
    emit_alu_load(e, ALU_ADD, T1, HOST_RSP, FRAME(FRAME_JUMPS));
    compare_entry(e, 0);
}

/* Goes where the jump entry of INDEX leads, T1 being as above, with the linear address in T0. */
static void enter(struct emitter *e, unsigned index)
{
    emit_op(e, &(struct host_op){
                   .opcode = 0xff, /* jmp [T1 + ...] */
                   .has_modrm = true,
                   .reg = 4,
                   .memory = true,
                   .rm = T1,
                   .disp = (int32_t)(sizeof(struct jump_entry) * index +
                                     offsetof(struct jump_entry, code)),
               });
}

void lower_far_thunk(struct translator *t, struct emitter *e)
{
    t->far = e->at;
    look_up(e);
    emit_jump_if(e, CC_NZ, t->find);
    enter(e, 0);
}

/* Emits the jump that is taken when something is asked for.  BASE is lost. */
static uint8_t *jump_if_asked(struct emitter *e, enum host_register base, int32_t frame)
{
    emit_load(e, base, HOST_RSP, frame + FRAME(FRAME_P));
    emit_op(e, &(struct host_op){.opcode = 0x83, /* cmp dword [base + poll], 0; jne */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .memory = true,
                                 .rm = (uint8_t)base,
                                 .disp = offsetof(struct processor, poll),
                                 .immediates = 1});
    return emit_jump_if(e, CC_NZ, NULL);
}

/* Makes the linear address in T0 the key of its jump entry.  Flags are lost. */
static void make_key(struct lowering *l)
{
    _Static_assert(JUMP_LEGACY == BIT(62), "the bit is set here");
    if (!lower_is_32(l))
        return;
    emit_truncate(&l->e, T0);
    EMIT(&l->e, 0x48, 0x0f, 0xba, 0xed, 62); /* bts T0, 62 */
}

/* The jump entry is known, as long as the code stays at the linear address where it was when it was
 * translated: elsewhere another entry is compared, which has another address, and FAR finds the
 * right one. */
static void go_far(struct lowering *l, unsigned count, int64_t target)
{
    struct emitter *e = &l->e;
    uint64_t linear = l->linear + (uint64_t)target;
    unsigned index = jump_index(l->p->tlb->jumps, lower_is_32(l) ? (uint32_t)linear : linear);
    lower_save_flags(l);
    lower_count(l, count, false);
    lower_code_address(l, T0, target);
    make_key(l);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_JUMPS));
    compare_entry(e, index);
    emit_jump_if(e, CC_NZ, l->t->far);
    enter(e, index);
}

/* ---------------------------------------------------------------- inside the page */

/* A loop's way back: on at T1's site, counted, unless the budget is used up or the jump at [RSP]
 * not direct yet.  Returns with SF set, so that the jump is taken. */
void lower_again_thunk(struct translator *t, struct emitter *e)
{
    struct host_op count = {.wide = true, /* cmp qword [count], 0 */
                            .opcode = 0x83,
                            .has_modrm = true,
                            .reg = ALU_CMP,
                            .memory = true,
                            .rm = HOST_RSP,
                            .disp = ABOVE + FRAME(FRAME_COUNT),
                            .immediates = 1};
    t->again = e->at;
    emit_op(e, &count);
    uint8_t *unlinked = emit_jump_if(e, CC_S, NULL);
    uint8_t *asked = jump_if_asked(e, T0, ABOVE);
    emit_load(e, T1, HOST_RSP, ABOVE + FRAME(FRAME_COUNT));
    emit_alu_constant(e, ALU_ADD, T1, BUDGET);
    thunks_add_count(e, T0, T1);
    emit_op(e, &(struct host_op){.wide = true, /* mov qword [count], -BUDGET */
                                 .opcode = 0xc7,
                                 .has_modrm = true,
                                 .memory = true,
                                 .rm = HOST_RSP,
                                 .disp = ABOVE + FRAME(FRAME_COUNT),
                                 .immediates = 4,
                                 .immediate = -(uint64_t)BUDGET});
    emit_load(e, T1, HOST_RSP, ABOVE + FRAME(FRAME_TLB));
    emit_op(e, &count);
    emit_byte(e, 0xc3); /* ret */
    emit_patch(unlinked, e->at);
    emit_patch(asked, e->at);
    emit_byte(e, 0x5d); /* pop T0: the return address */
    emit_jump(e, t->link);
}

/* The jump of a site: back, while the count that was just made is negative. */
static void jump_back(struct lowering *l, uint32_t site, const uint8_t *target)
{
    struct emitter *e = &l->e;
    uint8_t *jump = e->at;
    l->t->sites[site].jump = emit_jump_if(e, CC_S, target);
    emit_constant(e, T1, site);
    emit_call(e, l->t->again);
    EMIT(e, 0xeb, (uint8_t)(jump - (e->at + 2))); /* jmp */
}

/* Leaves the jump at FROM to lead where it may be direct from the start, or emits one if there is
 * none: FROM leads here alone, so nothing may stand between it and its target. */
static uint8_t *jump_on(struct lowering *l, uint8_t *from, const uint8_t *target)
{
    if (!from)
        return emit_jump(&l->e, target);
    if (target)
        emit_patch(from, target);
    return from;
}

/* What the jump of SITE leads to until it is direct: here if it comes FROM elsewhere, else out of
 * line. */
static void leave_to_link(struct lowering *l, uint32_t site, const uint8_t *from)
{
    if (from)
        lower_not_linked(l, site);
    else
        lower_late(l, LATE_LINK, l->t->sites[site].jump, site);
}

static void go_near(struct lowering *l, unsigned count, int64_t target, uint8_t *from)
{
    bool backward = target <= l->i->offset;
    uint16_t live = lower_live_at(l, target, 0);
    if (l->t->count || backward || !l->t1_tlb)
        from = NULL;
    if (backward && live)
        lower_save_flags(l);
    if (l->flags == FLAGS_IN_BOTH)
        l->flags = FLAGS_IN_EFLAGS;
    if (!l->t1_tlb)
        emit_load(&l->e, T1, HOST_RSP, FRAME(FRAME_TLB));
    if (backward)
        lower_count_loop(l, count);
    else
        lower_count(l, count, live && l->flags != FLAGS_IN_FRAME);
    uint32_t site = lower_site(l);
    struct translate_site *s = &l->t->sites[site];
    s->target = (int32_t)target;
    s->live = live;
    s->in_frame = live && l->flags == FLAGS_IN_FRAME;
    bool self = target == l->b->offset && !l->t->check;
    const uint8_t *to = !self ? NULL : s->in_frame ? l->start : l->direct;
    if (backward) {
        jump_back(l, site, to);
        return;
    }
    s->jump = jump_on(l, from, to);
    if (!to)
        leave_to_link(l, site, from);
}

static void go_linked_back(struct lowering *l, unsigned count, int64_t target)
{
    lower_save_flags(l);
    lower_count_loop(l, count);
    uint32_t site = lower_site(l);
    struct translate_site *s = &l->t->sites[site];
    s->target = (int32_t)target;
    s->far = s->in_frame = true;
    jump_back(l, site, NULL);
    s->apart = s->jump + 4;
}

/* From fixed code: a jump that is made direct when its target is known.  If it leads backward it is
 * counted like a loop's, but not a call: the stack is not endless. */
static void go_linked(struct lowering *l, unsigned count, int64_t target, uint8_t *from)
{
    if (target < 0 && lower_is_terse(l) && l->i->attr->op != OP_CALL) {
        go_linked_back(l, count, target);
        return;
    }
    if (l->t->count)
        from = NULL;
    if (l->flags == FLAGS_IN_BOTH)
        lower_save_flags(l);
    lower_count(l, count, l->flags == FLAGS_IN_EFLAGS);
    uint32_t site = lower_site(l);
    struct translate_site *s = &l->t->sites[site];
    s->target = (int32_t)target;
    s->far = true;
    s->in_frame = l->flags == FLAGS_IN_FRAME;
    s->jump = jump_on(l, from, NULL);
    leave_to_link(l, site, from);
}

void lower_not_linked(struct lowering *l, uint32_t site)
{
    struct translate_site *s = &l->t->sites[site];
    if (!s->far) {
        if (s->live)
            lower_save_flags(l);
        lower_thunk(l, l->t->link, site);
        return;
    }
    s->apart = l->e.at;
    lower_save_flags(l);
    emit_constant(&l->e, T0, translate_site_far(s));
    emit_constant(&l->e, T1, site);
    s->refused = emit_jump(&l->e, l->t->link);
}

void lower_go(struct lowering *l, unsigned count, int64_t target, uint8_t *from)
{
    if (lower_in_page(target))
        go_near(l, count, target, from);
    else if (lower_is_fixed(l) && !l->t->check)
        go_linked(l, count, target, from);
    else
        go_far(l, count, target);
}

bool lower_jump(struct lowering *l)
{
    if (l->i->opsize == 2)
        return false;
    lower_go(l, l->n + 1, lower_branch_target(l->i), NULL);
    return true;
}

bool lower_jump_conditional(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    if (i->opsize == 2)
        return false;
    int64_t target = lower_branch_target(i);
    unsigned cc = i->opcode & 15;
    if (lower_in_page(target) && target <= i->offset) {
        /* Backward: most likely a loop, so that the taken path has no second jump. */
        uint8_t *over = emit_jump_if(e, cc ^ 1, NULL);
        enum flags_place flags = l->flags;
        bool t1_tlb = l->t1_tlb;
        lower_go(l, l->n + 1, target, NULL);
        emit_patch(over, e->at);
        l->flags = flags;
        l->t1_tlb = t1_tlb;
        if (l->t1_tlb)
            lower_keep_t1(l);
        return true;
    }
    struct late *late = &l->late[l->lates];
    lower_late(l, lower_in_page(target) ? LATE_CHAIN : LATE_FAR, emit_jump_if(e, cc, NULL), 0);
    late->target = target;
    if (l->t1_tlb)
        lower_keep_t1(l);
    return true;
}

/* LOOP, LOOPE, LOOPNE, JCXZ: the host's own, over the way on.  No flag changes. */
bool lower_loop(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    enum flags_place flags = l->flags;
    if (i->opsize == 2 || i->addrsize == 2)
        return false;
    if (i->addrsize == 4)
        emit_byte(e, 0x67);
    EMIT(e, i->opcode, 5); /* over the jump that follows */
    uint8_t *on = emit_jump(e, NULL);
    lower_go(l, l->n + 1, lower_branch_target(i), NULL);
    emit_patch(on, e->at);
    l->flags = flags;
    lower_go(l, l->n + 1, i->offset + i->length, NULL);
    return true;
}

/* ---------------------------------------------------------------- CALL, RET, indirect */

/* Pushes the return address. */
static void push_return(struct lowering *l)
{
    lower_push_slot(l);
    int64_t offset = l->i->offset + l->i->length;
    uint64_t linear = l->b->linear + (uint64_t)offset;
    if (lower_is_fixed(l) && (int64_t)linear == (int32_t)linear) {
        word_store_constant(l, T0, linear);
    } else {
        lower_code_address(l, T1, offset);
        l->t1_tlb = false;
        word_store(l, T0, T1);
    }
    lower_move_stack(l, -(int32_t)word(l));
}

bool lower_call(struct lowering *l)
{
    if (l->i->opsize != word(l))
        return false;
    lower_save_live(l);
    push_return(l);
    if (l->live)
        lower_load_flags(l);
    lower_go(l, l->n + 1, lower_branch_target(l->i), NULL);
    return true;
}

/* Finds the jump entry for the linear address in T0.  One that is missing is filled if the target
 * is known otherwise; if it is not, the whole instruction is its handler's, with the checks that a
 * new target needs: so nothing may have changed yet.  It is the handler's, too, when the run loop
 * is asked for. */
static void look_up_or_call(struct lowering *l)
{
    uint32_t site = lower_site(l);
    l->t->sites[site].resume = translator_executable(l->t, l->e.at);
    if (lower_is_terse(l))
        lower_late(l, LATE_CALL, jump_if_asked(&l->e, T1, 0), site);
    look_up(&l->e);
    lower_late(l, LATE_TARGET, emit_jump_if(&l->e, CC_NZ, NULL), site);
}

bool lower_return(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    if (i->opsize != word(l))
        return false;
    lower_save_flags(l);
    read_slot(l, GUEST_RSP);
    word_load(l, T0, T0);
    make_key(l);
    look_up_or_call(l);
    lower_count(l, l->n + 1, false);
    lower_move_stack(l, (int32_t)word(l) + (i->opcode == 0xc2 ? (int32_t)(i->imm & 0xffff) : 0));
    enter(e, 0);
    return true;
}

/* The key of an indirect branch's target into T0; flags are saved. */
static bool indirect_target(struct lowering *l)
{
    const struct insn *i = l->i;
    if (i->opsize != word(l))
        return false;
    lower_save_flags(l);
    if (i->mod3) {
        lower_fetch(l, T0, i->rm);
    } else {
        if (!lower_linear(l))
            return false;
        lower_check(l, word(l), false);
        word_load(l, T0, T0);
    }
    make_key(l);
    return true;
}

bool lower_jump_indirect(struct lowering *l)
{
    if (!indirect_target(l))
        return false;
    look_up_or_call(l);
    lower_count(l, l->n + 1, false);
    enter(&l->e, 0);
    return true;
}

bool lower_call_indirect(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (!indirect_target(l))
        return false;
    look_up_or_call(l);
    emit_load(e, T1, T1, (int32_t)offsetof(struct jump_entry, code));
    emit_store(e, HOST_RSP, FRAME(FRAME_ONWARD), T1);
    emit_store(e, HOST_RSP, FRAME(FRAME_TARGET), T0);
    push_return(l);
    lower_count(l, l->n + 1, false);
    emit_load(e, T0, HOST_RSP, FRAME(FRAME_TARGET));
    EMIT(e, 0xff, 0x64, 0x24, FRAME(FRAME_ONWARD)); /* jmp [RSP + FRAME_ONWARD] */
    return true;
}
