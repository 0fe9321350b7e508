/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Groups: accesses of a block at small distances from one another (a run of PUSH or POP, the fields
 * of a structure) share one check, widened to all of them.  It leaves the host address of the
 * lowest in T0, which nothing in the group overwrites.
 *
 * When the wide check misses its recent entry, a thunk looks in the TLB.  When that does not have
 * the page either, the range lies in two pages, or any of them is not plain, the whole group runs
 * out of line, where each access has its own check.  So C is never called between the wide check
 * and the group's end, and every fault is the ordinary one's.
 */
#include "internal.h"

#include "processor/decode/decode.h"

/* Pieces of out-of-line code that one of its instructions needs at most. */
enum { LATE_MEMBER = 4 };

static unsigned word(const struct lowering *l)
{
    return lower_is_32(l) ? 4 : 8;
}

/* ---------------------------------------------------------------- what instructions name */

uint32_t lower_registers(const struct insn *i, bool written)
{
    uint32_t set = written ? i->attr->implicit_written : i->attr->implicit_read;
    for (unsigned n = 0; n < ARRAY_SIZE(i->attr->operand); n++) {
        const struct operand *o = &i->attr->operand[n];
        if (written && !(o->access & ACCESS_WRITE))
            continue;
        if (o->kind == OPERAND_REG || o->kind == OPERAND_ACC)
            set |= (uint32_t)BIT(i->reg & 15);
        else if ((o->kind == OPERAND_RM && i->mod3) || o->kind == OPERAND_OPREG)
            set |= (uint32_t)BIT(i->rm & 15);
        else if (o->kind == OPERAND_VREG)
            set |= (uint32_t)BIT(insn_vvvv(i));
    }
    return set;
}

static bool names_address(const struct insn *i, unsigned r)
{
    return i->base == r || i->index == r;
}

/* A memory access that may be in a group. */
struct access {
    struct insn address; /* base, index, scale and displacement */
    unsigned size, alignment;
    bool write, ends;
    int step; /* what RSP moves by */
};

/* PUSH, POP, CALL and RET of the stack's width, with no other memory operand. */
static bool find_stack_access(const struct lowering *l, const struct insn *i, struct access *a)
{
    int size = (int)word(l);
    bool push = i->attr->op == OP_PUSH || i->attr->op == OP_CALL;
    if (i->opsize != size || insn_has_memory(i) ||
        (i->attr->op == OP_POP && (!i->mod3 || i->rm == REG_RSP)))
        return false;
    *a = (struct access){
        .address = {.base = REG_RSP, .index = REG_NONE, .disp = push ? -size : 0},
        .size = (unsigned)size,
        .alignment = 1,
        .write = push,
        .ends = i->attr->traits & TRAIT_BRANCH,
        .step = push ? -size : size,
    };
    return true;
}

/* A vector instruction that needs nothing but vector registers, and is allowed to run. */
static bool is_vector(const struct lowering *l, const struct insn *i)
{
    if (i->attr->op != OP_NATIVE || i->exec == exec_invalid || i->map == MAP_ONE ||
        vector_level(l->p) < lower_vector_level(i))
        return false;
    for (unsigned n = 0; n < ARRAY_SIZE(i->attr->operand); n++) {
        unsigned kind = i->attr->operand[n].kind;
        if (kind == OPERAND_MMX_REG || kind == OPERAND_MMX_RM || kind == OPERAND_VSIB)
            return false;
    }
    return true;
}

static bool find_access(const struct lowering *l, const struct insn *i, struct access *a)
{
    unsigned op = i->attr->op;
    if (i->attr->class == CLASS_GENERAL &&
        (op == OP_PUSH || op == OP_POP || op == OP_CALL || op == OP_RET))
        return find_stack_access(l, i, a);
    int memory = insn_memory_operand(i);
    bool vector = i->attr->class == CLASS_VECTOR;
    if (memory < 0 || i->attr->operand[memory].access == ACCESS_NONE)
        return false;
    if (vector ? !is_vector(l, i) : lower_of(l, i) != lower_copy)
        return false;
    unsigned size = insn_operand_size(i, (unsigned)memory);
    if (!size || size > (vector ? 32u : 8u) || size & (size - 1))
        return false;
    if (i->addrsize != word(l) || i->seg == SEG_FS || i->seg == SEG_GS ||
        (lower_is_32(l) && i->seg == SEG_CS) || i->disp != (int32_t)i->disp)
        return false;
    *a = (struct access){
        .address = {.base = i->base, .index = i->index, .scale = i->scale, .disp = i->disp},
        .size = size,
        .alignment = vector && i->attr->traits & TRAIT_ALIGNED ? size : 1,
        .write = i->attr->operand[memory].access & ACCESS_WRITE,
    };
    return true;
}

/* Whether register R is in the frame, so that scratch registers are needed. */
static bool is_homeless(unsigned r)
{
    return r < REG_NONE && lower_register(r) < 0;
}

/* Whether I, which accesses no memory, leaves T0 alone and never calls C. */
static bool leaves_t0(const struct lowering *l, const struct insn *i)
{
    if (i->attr->op == OP_JCC) { /* on the way on; not a loop's, which is polled at */
        int64_t target = lower_branch_target(i);
        return i->opsize != 2 && (!lower_in_page(target) || target > i->offset);
    }
    if (i->attr->class == CLASS_VECTOR) {
        if (!is_vector(l, i) || insn_has_memory(i))
            return false;
    } else {
        lower_fn *lower = lower_of(l, i);
        if (lower == lower_lea)
            return !is_homeless(i->base);
        if (lower == lower_nop)
            return true;
        if (lower != lower_copy || insn_has_memory(i))
            return false;
    }
    for (unsigned n = 0; n < ARRAY_SIZE(i->attr->operand); n++) {
        unsigned kind = i->attr->operand[n].kind;
        if ((kind == OPERAND_RM || kind == OPERAND_OPREG) && is_homeless(i->rm & 15))
            return false;
    }
    return true;
}

/* Whether I adds a constant to all of register R, and which. */
static bool adds_constant(const struct lowering *l, const struct insn *i, unsigned r, int64_t *by)
{
    const struct operand *o = i->attr->operand;
    bool accumulator = o[0].kind == OPERAND_ACC;
    if (i->opsize != word(l))
        return false;
    switch (i->attr->op) {
    case OP_LEA:
        *by = i->disp;
        return i->reg == r && i->base == r && i->index == REG_NONE && i->addrsize == word(l);
    case OP_INC:
    case OP_DEC:
        *by = i->attr->op == OP_INC ? 1 : -1;
        return i->rm == r;
    case OP_ADD:
    case OP_SUB:
        *by = i->attr->op == OP_ADD ? (int64_t)i->imm : -(int64_t)i->imm;
        if (lower_is_32(l))
            *by = (int32_t)*by;
        return o[1].kind == OPERAND_IMM && (accumulator ? i->reg : i->rm) == r;
    default:
        return false;
    }
}

/* ---------------------------------------------------------------- which instructions */

static bool same_address(const struct insn *a, const struct insn *b)
{
    return a->base == b->base && a->index == b->index && a->scale == b->scale;
}

/* A group in the making. */
struct plan {
    struct group *group;
    struct insn address; /* of the first access */
    int64_t shift;       /* what has been added to its base since */
    int64_t low, high;   /* the range, from that base */
    int64_t at[GROUP_INSNS];
    unsigned members;
    unsigned written; /* the first that writes, plus 1 */
    bool branched;
    uint8_t alignment[GROUP_INSNS];
};

/* Instruction N of the group makes access A: false when the group ends before it. */
static bool add_member(struct plan *p, unsigned n, const struct access *a)
{
    int64_t at = a->address.disp + p->shift;
    int64_t low = at < p->low || !p->members ? at : p->low;
    int64_t high = at + a->size > p->high || !p->members ? at + a->size : p->high;
    if (p->members && !same_address(&a->address, &p->address))
        return false;
    /* What is only read, unless a branch is not taken, need not be writable. */
    if (high - low > GROUP_BYTES || (a->write && p->branched && !p->written))
        return false;
    if (!p->members)
        p->address = a->address;
    if (a->write && !p->written)
        p->written = n + 1;
    p->low = low;
    p->high = high;
    p->at[n] = at;
    p->alignment[n] = (uint8_t)a->alignment;
    p->members++;
    p->group->last = (uint16_t)(p->group->first + n);
    return true;
}

/* Whether the group goes on behind instruction I, which has become part of it. */
static bool goes_on(const struct lowering *l, struct plan *p, const struct insn *i,
                    const struct access *a)
{
    if (a && a->address.base == REG_RSP && a->step) {
        p->shift += a->step;
        return !a->ends;
    }
    uint32_t written = lower_registers(i, true);
    for (unsigned r = 0; r < REG_NONE; r++) {
        int64_t by;
        if (!(written & BIT(r)) || !names_address(&p->address, r))
            continue;
        if (a || p->address.index == r || !adds_constant(l, i, r, &by))
            return false;
        p->shift += by;
    }
    return p->shift == (int32_t)p->shift;
}

/* Plans the group that begins at the current instruction; false when there is none. */
static bool make_plan(const struct lowering *l, struct plan *p)
{
    const struct code_block *b = l->b;
    for (unsigned n = 0; n < GROUP_INSNS && l->n + n < b->count; n++) {
        const struct insn *i = &b->insn[l->n + n];
        struct access a;
        bool member = find_access(l, i, &a);
        p->group->reach[n] = GROUP_NO_ACCESS;
        if (member ? !add_member(p, n, &a) : !p->members || !leaves_t0(l, i))
            break;
        if (member)
            p->group->reach[n] = 0;
        p->branched |= i->attr->op == OP_JCC;
        if (!goes_on(l, p, i, member ? &a : NULL))
            break;
    }
    return p->members > 1;
}

/* Settles what the plan left open: how far each access is from the lowest. */
static bool settle(struct plan *p, unsigned *alignment)
{
    struct group *g = p->group;
    *alignment = 1;
    for (unsigned n = 0; n <= (unsigned)(g->last - g->first); n++) {
        if (g->reach[n] == GROUP_NO_ACCESS)
            continue;
        int64_t reach = p->at[n] - p->low;
        /* The lowest is tested, so the others must be aligned if it is. */
        if (reach % p->alignment[n])
            return false;
        if (p->alignment[n] > *alignment)
            *alignment = p->alignment[n];
        g->reach[n] = (int16_t)reach;
    }
    return p->low == (int32_t)p->low;
}

/* ---------------------------------------------------------------- inline */

/* The recent entry that the group's accesses, out of line, fill. */
static void choose_recent(struct lowering *l, const struct plan *p)
{
    const struct insn *i = l->i;
    l->i = &l->b->insn[p->group->first + (p->written ? p->written - 1 : 0)];
    lower_choose_recent(l);
    l->i = i;
}

static void need_vectors(struct lowering *l, const struct group *g)
{
    unsigned level = VECTOR_NONE;
    for (unsigned n = g->first; n <= g->last; n++) {
        const struct insn *i = &l->b->insn[n];
        if (i->attr->class == CLASS_VECTOR && lower_vector_level(i) > level)
            level = lower_vector_level(i);
    }
    lower_need_vector(l, level);
}

static void wide_check(struct lowering *l, const struct plan *p, unsigned alignment)
{
    struct emitter *e = &l->e;
    struct group *g = p->group;
    const struct insn *i = l->i;
    struct insn lowest = p->address;
    lowest.disp = p->low;
    lowest.addrsize = (uint8_t)word(l);
    lowest.seg = SEG_DS;
    l->i = &lowest;
    lower_effective(l, T0, 8);
    l->i = i;
    if (!l->t1_tlb)
        emit_load(e, T1, HOST_RSP, FRAME(FRAME_TLB));
    g->unaligned = NULL;
    if (alignment > 1) {
        EMIT(e, 0x40, 0xf6, 0xc5, (uint8_t)(alignment - 1)); /* test bpl, alignment - 1; jnz */
        g->unaligned = emit_jump_if(e, CC_NZ, NULL);
    }
    choose_recent(l, p);
    g->write = p->written;
    g->recent = lower_recent(l, g->write);
    lower_compare_recent(e, g->recent, (unsigned)(p->high - p->low));
    struct late *late = &l->late[l->lates];
    lower_late(l, LATE_GROUP, emit_jump_if(e, CC_A, NULL), 0);
    late->target = g - l->groups;
    emit_alu_load(e, ALU_ADD, T0, T1, g->recent + (int32_t)offsetof(struct tlb_range, host));
    g->resume = e->at;
    l->t1_known = true;
}

static void begin(struct lowering *l)
{
    struct group *g = &l->groups[l->group_count];
    struct plan p = {.group = g};
    unsigned alignment;
    *g = (struct group){.first = (uint16_t)l->n, .last = (uint16_t)l->n};
    if (!make_plan(l, &p) || !settle(&p, &alignment))
        return;
    /* Out of line its instructions must not be left to their handlers. */
    g->reserved = LATE_MEMBER * (g->last - g->first + 1u);
    l->reserved += g->reserved;
    if (!lower_has_room(l)) {
        l->reserved -= g->reserved;
        return;
    }
    l->group_count++;
    l->group = g;
    l->t1_tlb = l->t1_known;
    need_vectors(l, g);
    if (l->live)
        lower_save_flags(l);
    g->vector = l->vector;
    g->x87 = l->x87;
    wide_check(l, &p, alignment);
}

/* Whether instruction I, number N of group G, must find RSP where it belongs. */
static bool wants_rsp(const struct group *g, unsigned n, const struct insn *i)
{
    bool access = g->reach[n] != GROUP_NO_ACCESS;
    if (i->attr->traits & TRAIT_BRANCH)
        return i->attr->op != OP_CALL;
    if (access && i->attr->traits & TRAIT_STACK)
        return i->attr->op == OP_PUSH && i->mod3 && (i->rm & 15) == REG_RSP &&
               i->attr->operand[0].kind != OPERAND_IMM;
    return (lower_registers(i, false) | lower_registers(i, true)) & BIT(REG_RSP) ||
           (!access && names_address(i, REG_RSP));
}

void lower_group_before(struct lowering *l)
{
    if (!l->group && !l->shadow && l->b->count - l->n > 1 && lower_has_room(l))
        begin(l);
    struct group *g = l->group;
    if (!g)
        return;
    unsigned n = l->n - g->first;
    l->shared = g->reach[n] != GROUP_NO_ACCESS;
    l->reach = l->shared ? g->reach[n] : 0;
    if (wants_rsp(g, n, l->i))
        lower_move_stack(l, 0);
    l->defer = l->n < g->last;
}

void lower_group_cut(struct lowering *l)
{
    if (!l->group)
        return;
    l->group->last = (uint16_t)l->n;
    l->shared = l->defer = false;
    l->reach = 0;
    lower_move_stack(l, 0);
}

void lower_group_after(struct lowering *l)
{
    struct group *g = l->group;
    if (!g)
        return;
    l->shared = l->defer = false;
    l->reach = 0;
    if (l->n < g->last)
        return;
    lower_move_stack(l, 0);
    g->flags = l->flags;
    g->t1_known = l->t1_known;
    g->join = l->e.at;
    l->group = NULL;
}

/* ---------------------------------------------------------------- out of line */

/* Brings flags where they are behind the group. */
static void agree(struct lowering *l, enum flags_place place)
{
    if (place & FLAGS_IN_FRAME && l->flags == FLAGS_IN_EFLAGS)
        lower_save_flags(l);
    if (place & FLAGS_IN_EFLAGS)
        lower_use_flags(l);
}

void lower_group_late(struct lowering *l, const struct late *late)
{
    const struct group *g = &l->groups[late->target];
    lower_group_missed(l, g);
    if (g->unaligned)
        emit_patch(g->unaligned, l->e.at);
    l->vector = g->vector;
    l->x87 = g->x87;
    l->t1_known = true;
    l->outside = true;
    for (unsigned n = g->first; n <= g->last; n++)
        lower_nth(l, n);
    l->outside = false;
    if (l->i->attr->traits & TRAIT_BRANCH && l->i->attr->op != OP_JCC)
        return;
    if (l->after)
        agree(l, g->flags);
    if (g->t1_known && (!l->t1_known || (l->after && g->flags & FLAGS_IN_FRAME)))
        emit_load(&l->e, T1, HOST_RSP, FRAME(FRAME_TLB));
    emit_jump(&l->e, g->join);
}
