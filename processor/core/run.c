/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VM entry and exit, and the loop that runs blocks in between. */
#include "internal.h"

#include "processor/translate/translate.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

/* Bits of p->slow that call for running one instruction at a time. */
#define SLOW_STEP                                                                                  \
    (SLOW_TF | SLOW_SHADOW | SLOW_RF | SLOW_BREAKPOINT | SLOW_REPLAY | SLOW_PENDING_DB | SLOW_MTF)

struct processor *processor_new(struct memory *m)
{
    struct processor *p = aligned_alloc(64, ALIGN_UP(sizeof(*p), 64));
    if (!p)
        return NULL;
    memset(p, 0, sizeof(*p));
    p->memory = m;
    p->phys_bits = 46;
    p->rflags = FLAG_ONE;
    processor_reset(p, false);
    memory_add_processor(m, p);
    return p;
}

void processor_free(struct processor *p)
{
    if (!p)
        return;
    memory_remove_processor(p->memory, p);
    free(p->tlb_sets);
    jumps_free(p->jump_caches);
    code_cache_free(p->code);
    vector_stubs_free(p->stubs);
    translator_free(p->translator);
    free(p);
}

int processor_set_translator(struct processor *p, const struct processor_translator *how)
{
    enum { THRESHOLD = 2 };
    if (p->code)
        code_cache_empty(p);
    translator_free(p->translator);
    p->translator = NULL;
    p->no_write_tags = how->on && how->check;
    tlb_flush_all(p);
    if (!how->on)
        return 0;
    p->translator = translator_new(how->threshold ? how->threshold : THRESHOLD, how);
    return p->translator ? 0 : -ENOMEM;
}

bool processor_get_translation(const struct processor *p, struct processor_translation *out)
{
    const struct processor_translation *kept =
        p->translator ? translator_kept(p->translator) : NULL;
    if (kept)
        *out = *kept;
    return kept;
}

void processor_get_translator_counts(const struct processor *p,
                                     struct processor_translator_counts *out)
{
    *out =
        p->translator ? *translator_counts(p->translator) : (struct processor_translator_counts){0};
}

const char *processor_translator_difference(const struct processor *p)
{
    return p->translator ? translator_difference(p->translator) : NULL;
}

void processor_kick(struct processor *p)
{
    atomic_fetch_or(&p->poll, POLL_KICK);
}

void processor_clear_kick(struct processor *p)
{
    atomic_fetch_and(&p->poll, ~POLL_KICK);
}

/* ---- faults and exits ---- */

/* Leaves the running instruction, RIP at it. */
_Noreturn static void unwind(struct processor *p, int how)
{
    if (p->insn) {
        p->rip = insn_rip(p, p->insn);
        if ((p->mode & MODE_DECODE) != DECODE_64)
            p->rip = (uint32_t)p->rip;
    }
    _longjmp(p->unwind, how);
}

void raise_fault(struct processor *p, unsigned vector, uint32_t error_code)
{
    p->fault_vector = vector;
    p->fault_error_code = error_code;
    unwind(p, UNWIND_FAULT);
}

void raise_gp(struct processor *p)
{
    raise_fault(p, VECTOR_GP, 0);
}

void raise_ud(struct processor *p)
{
    raise_fault(p, VECTOR_UD, 0);
}

void raise_page_fault(struct processor *p, uint64_t linear, uint32_t error_code)
{
    p->fault_linear = linear;
    raise_fault(p, VECTOR_PF, error_code);
}

void vm_exit(struct processor *p, unsigned reason, uint64_t qualification)
{
    p->vmcs.exit_reason = reason;
    p->vmcs.exit_qualification = qualification;
    p->vmcs.exit_instruction_length = p->insn ? p->insn->length : 0;
    unwind(p, UNWIND_EXIT);
}

static bool has_error_code(unsigned vector)
{
    return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) ||
           vector == VECTOR_AC || vector == VECTOR_CP;
}

static bool is_contributory(unsigned vector)
{
    return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/* What a fault in the delivery of an event becomes (SDM volume 3, table 6-5): the fault itself, a
 * double fault, or (true) a shutdown. */
static bool combine_with_event(struct processor *p)
{
    unsigned first = p->event_info & INTR_INFO_VECTOR_MASK, second = p->fault_vector;
    if ((p->event_info & INTR_INFO_TYPE_MASK) != INTR_TYPE_HARD_EXCEPTION)
        return false;
    /* CR2 takes each page fault's address, even of one that becomes a double fault. */
    if (second == VECTOR_PF && (first == VECTOR_PF || first == VECTOR_DF))
        p->cr2 = p->fault_linear;
    if (first == VECTOR_DF)
        return is_contributory(second) || second == VECTOR_PF;
    bool doubles = (is_contributory(first) && is_contributory(second)) ||
                   (first == VECTOR_PF && (is_contributory(second) || second == VECTOR_PF));
    if (doubles) {
        p->fault_vector = VECTOR_DF;
        p->fault_error_code = 0;
    }
    return false;
}

/* Records in the exit information the event whose delivery the exit interrupts. */
static void note_event(struct processor *p)
{
    p->vmcs.idt_vectoring_info = p->in_event ? p->event_info | INTR_INFO_VALID : 0;
    p->vmcs.idt_vectoring_error_code = p->event_error_code;
    if (p->in_event)
        p->vmcs.exit_instruction_length = p->event_length;
    p->in_event = false;
}

/* Tests the exception bitmap (SDM volume 3, 26.2).  True: the exit information is filled in. */
static bool exception_exits(struct processor *p, uint32_t info)
{
    struct vmcs *v = &p->vmcs;
    unsigned vector = info & INTR_INFO_VECTOR_MASK;
    if (!(p->intercepts & INTERCEPT_EXCEPTION))
        return false;
    bool exits = v->exception_bitmap & BIT(vector);
    if (vector == VECTOR_PF) {
        bool match =
            (p->fault_error_code & v->page_fault_error_code_mask) == v->page_fault_error_code_match;
        exits = exits == match;
    }
    if (!exits)
        return false;
    v->exit_reason = EXIT_REASON_EXCEPTION_NMI;
    v->exit_qualification = vector == VECTOR_PF   ? p->fault_linear
                            : vector == VECTOR_DB ? p->pending_debug
                                                  : 0;
    if (vector == VECTOR_DB)
        p->pending_debug = 0;
    v->exit_interruption_info = info;
    v->exit_interruption_error_code = p->fault_error_code;
    return true;
}

/* Delivers an event, with what is needed if its delivery faults or exits. */
static void deliver(struct processor *p, uint32_t info, uint32_t error_code, uint32_t length)
{
    p->insn = NULL;
    p->in_event = true;
    p->event_info = info;
    p->event_error_code = error_code;
    p->event_length = length;
    replay_begin(p);
    event_deliver(p, info, error_code, length);
    replay_finish(p);
    p->in_event = false;
}

/* Deals with what raise_fault left.  Returns true when it is an exit. */
static bool take_fault(struct processor *p)
{
    p->rmw_code = NULL;
    vmx_abandon_access(p);
    if (p->in_event && combine_with_event(p)) {
        p->vmcs.exit_reason = EXIT_REASON_TRIPLE_FAULT;
        p->vmcs.exit_qualification = 0;
        return true;
    }
    unsigned vector = p->fault_vector;
    uint32_t info = vector | INTR_TYPE_HARD_EXCEPTION | INTR_INFO_VALID;
    if (has_error_code(vector) && !(p->mode & MODE_REAL))
        info |= INTR_INFO_DELIVER_CODE;
    if (exception_exits(p, info))
        return true;
    if (vector == VECTOR_PF)
        p->cr2 = p->fault_linear;
    deliver(p, info, p->fault_error_code, 0);
    return false;
}

/* ---- requests of other threads ---- */

static void take_requests(struct processor *p)
{
    struct memory *m = p->memory;
    uint32_t bits = atomic_fetch_and(&p->poll, POLL_KICK) & ~POLL_KICK;
    if (bits & (POLL_FLUSH_TLB | POLL_FLUSH_WRITE)) {
        uint64_t epoch = atomic_load(&m->epoch);
        if (bits & POLL_FLUSH_TLB)
            tlb_flush_all(p);
        else
            tlb_drop_write_tags(p, NULL);
        atomic_store(&p->acknowledged, epoch);
    }
    if (p->drops != atomic_load(&m->drops))
        tlb_forget_dropped(p);
    while (atomic_load(&m->exclusive)) {
        atomic_store(&p->parked, 1);
        pthread_mutex_lock(&m->exclusive_lock);
        pthread_mutex_unlock(&m->exclusive_lock);
        atomic_store(&p->parked, 0);
    }
}

/* ---- blocks ---- */

static uint64_t code_linear(struct processor *p)
{
    if ((p->mode & MODE_DECODE) == DECODE_64)
        return p->rip;
    p->rip = (uint32_t)p->rip;
    return (uint32_t)(p->segment[SEG_CS].base + p->rip);
}

/* Finds the block at RIP through the TLB; NULL when its first instruction crosses a page. */
static struct code_block *find_block_slow(struct processor *p, uint64_t linear)
{
    struct tlb_entry *e = tlb_entry(p, linear);
    uint8_t *hva = (uint8_t *)(e->host + (linear & PAGE_OFFSET_MASK));
    if ((linear & ~PAGE_OFFSET_MASK) != e->fetch) {
        enum tlb_class class = (enum tlb_class)(p->tlb - p->tlb_set->class);
        uint64_t gpa;
        hva = access_translate(p, p->tlb, linear, FOR_FETCH, tlb_class_as(p, class), &gpa);
        if (!hva) {
            p->vmcs.guest_physical_address = gpa;
            vm_exit(p, EXIT_REASON_FETCH, 0);
        }
    }
    for (;;) {
        struct code_block *b = code_lookup(p, hva, linear);
        if (!b)
            return NULL;
        if (code_block_settled(b) ||
            (code_page_settle(p, b->page) && (!b->second || code_page_settle(p, b->second)))) {
            if (!code_block_valid(b))
                continue;
            jumps_fill(p, linear, b);
            return b;
        }
        if (code_block_verify(b))
            return b;
        code_written(p->memory, p, hva, 1);
        if (b->second)
            code_written(p->memory, p, b->second->hva, 1);
    }
}

static inline struct code_block *find_block(struct processor *p, uint64_t linear)
{
    const struct jump_cache *j = p->tlb->jumps;
    unsigned index = jump_index(j, linear);
    struct code_block *b = j->block[index];
    if (likely(b && j->entry[index].linear == jump_key(p->mode, linear) &&
               b->mode == (p->mode & CODE_MODE) && code_block_valid(b) &&
               code_block_stands(p, b, linear)))
        return b;
    return find_block_slow(p, linear);
}

/* The first instruction at RIP, with p->gpr[REG_CODE] set for it. */
static const struct insn *find_insn(struct processor *p, uint64_t linear, bool may_link)
{
    struct code_block *b = find_block(p, linear);
    uint64_t code = p->rip - (linear & PAGE_OFFSET_MASK);
    const struct insn *link = p->link;
    p->link = NULL;
    const struct segment *cs = &p->segment[SEG_CS];
    bool within = (p->mode & MODE_DECODE) == DECODE_64 ||
                  (b && p->rip <= cs->limit && b->bytes - 1u <= cs->limit - p->rip);
    if (unlikely(!b || b->second || !within)) {
        /* Run alone: it crosses a page, or the code segment may end inside the block. */
        p->running = NULL;
        p->gpr[REG_CODE] = code;
        const struct insn *i = code_straddle(p, linear);
        if ((p->mode & MODE_DECODE) != DECODE_64 &&
            (p->rip > cs->limit || i->length - 1u > cs->limit - p->rip))
            raise_gp(p);
        return i;
    }
    /* A direct branch within one page may lead straight here from now on. */
    if (link && may_link && p->running == b->page && code == p->gpr[REG_CODE] &&
        atomic_load_explicit(&b->page->settled, memory_order_relaxed))
        ((struct insn *)link)->disp = (int64_t)(intptr_t)b->insn;
    p->running = b->page;
    p->gpr[REG_CODE] = code;
    return b->insn;
}

/* Runs translated code from LINEAR on, if there is any. */
static bool run_translated(struct processor *p, uint64_t linear)
{
    if (translator_full(p->translator))
        code_cache_empty(p);
    struct code_block *b = find_block(p, linear);
    return b && translator_run(p, b, linear);
}

/* Runs blocks until something asks for attention. */
static void run_blocks(struct processor *p)
{
    while (likely(!(p->slow & SLOW_STEP) && !atomic_load_explicit(&p->poll, memory_order_relaxed) &&
                  !(p->slow & SLOW_WINDOW))) {
        uint64_t linear = code_linear(p);
        if (p->translator && mode_is_translated(p->mode) && run_translated(p, linear))
            continue;
        /* Blocks are not chained where the translator counts how often they are run. */
        const struct insn *i = find_insn(p, linear, !p->translator);
        uint64_t count = 0;
        do {
            p->insn = i;
            i = i->exec(p, i);
            count++;
        } while (i);
        p->insn = NULL;
        p->icount += count;
    }
}

/* Interrupt- and NMI-window exits (SDM volume 3, 26.2). */
static bool window_opens(struct processor *p)
{
    struct vmcs *v = &p->vmcs;
    if (p->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
        return false;
    if (v->cpu_based_controls & CPU_NMI_WINDOW_EXITING &&
        !(p->interruptibility & BLOCKING_BY_NMI)) {
        v->exit_reason = EXIT_REASON_NMI_WINDOW;
        return true;
    }
    if (v->cpu_based_controls & CPU_INTERRUPT_WINDOW_EXITING && p->rflags & FLAG_IF) {
        v->exit_reason = EXIT_REASON_INTERRUPT_WINDOW;
        return true;
    }
    return false;
}

/* Runs one instruction with everything that single steps, shadows, breakpoints and replays ask. */
static void run_step(struct processor *p)
{
    bool tf = p->rflags & FLAG_TF;
    uint32_t shadow = p->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    uint64_t linear = code_linear(p);
    p->insn = NULL;
    p->link = NULL;
    /* A trap of an instruction that the caller finished, or that came in with the state. */
    if (p->pending_debug && !(p->interruptibility & BLOCKING_BY_MOV_SS))
        debug_after_instruction(p, false);
    if (p->slow & SLOW_BREAKPOINT && !(p->slow & SLOW_REPLAY))
        debug_check_fetch(p, linear);
    replay_begin(p);
    const struct insn *i = code_alone(p, find_insn(p, linear, false));
    uint32_t rf = p->rflags & FLAG_RF;
    p->insn = i;
    p->rflags &= ~FLAG_RF;
    p->step_rf = rf;
    const struct insn *next = i->exec(p, i);
    p->insn = i;
    p->step_rf = 0;
    if (next)
        p->rip = insn_rip(p, next);
    p->link = NULL;
    p->icount++;
    replay_finish(p);
    p->interruptibility &= ~shadow;
    if ((tf || p->pending_debug) && !(p->interruptibility & BLOCKING_BY_MOV_SS))
        debug_after_instruction(p, tf);
    p->insn = NULL;
    processor_update_slow(p);
}

void run_instructions(struct processor *p, uint64_t count)
{
    while (count--)
        run_step(p);
}

/* Runs until an exit, which it leaves in the exit information. */
static void run(struct processor *p)
{
    for (;;) {
        if (atomic_load(&p->poll)) {
            take_requests(p);
            if (atomic_load(&p->poll) & POLL_KICK && !p->stop_after_step) {
                processor_clear_kick(p);
                p->vmcs.exit_reason = EXIT_REASON_KICK;
                return;
            }
        }
        if (p->slow & SLOW_WINDOW && !(p->slow & SLOW_REPLAY) && window_opens(p))
            return;
        if (p->stop_after_step || p->slow & SLOW_STEP) {
            bool mtf = p->slow & SLOW_MTF;
            run_step(p);
            if (p->stop_after_step) {
                p->vmcs.exit_reason = EXIT_REASON_COMPLETED;
                return;
            }
            if (mtf) {
                p->vmcs.exit_reason = EXIT_REASON_MONITOR_TRAP_FLAG;
                return;
            }
        } else if (p->slow & SLOW_WINDOW) {
            /* Waiting for the window: what may open it ends its block. */
            const struct insn *i = find_insn(p, code_linear(p), true);
            do {
                p->insn = i;
                i = i->exec(p, i);
                p->icount++;
            } while (i);
            p->insn = NULL;
        } else {
            run_blocks(p);
        }
    }
}

/* ---- entry ---- */

/* Allocates what the first entry needs. */
static bool prepare(struct processor *p)
{
    if (likely(p->code != NULL))
        return true;
    tlb_allocate(p);
    if (!p->stubs)
        p->stubs = vector_stubs_new();
    if (p->tlb_sets && p->stubs)
        p->code = code_cache_new();
    return p->code != NULL;
}

/* Exits that are due between an event's delivery and its handler's first instruction. */
static bool exits_after_delivery(struct processor *p)
{
    if (p->stop_after_step)
        p->vmcs.exit_reason = EXIT_REASON_COMPLETED;
    else if (p->slow & SLOW_MTF) /* SDM volume 3, 26.5.2 */
        p->vmcs.exit_reason = EXIT_REASON_MONITOR_TRAP_FLAG;
    else
        return false;
    return true;
}

static unsigned enter(struct processor *p)
{
    struct vmcs *v = &p->vmcs;
    v->exit_interruption_info = 0;
    v->idt_vectoring_info = 0;
    if (!prepare(p)) {
        v->exit_reason = EXIT_REASON_TRIPLE_FAULT;
        return v->exit_reason;
    }
    /* User space may have written code: with paging on that is found when an exec-TLB entry is
     * filled; with paging off entries live long, so they are filled anew. */
    if (!(p->mode & MODE_PAGING) && memory_is_compared(p->memory) &&
        (v->exit_reason == EXIT_REASON_PIO || v->exit_reason == EXIT_REASON_MMIO ||
         v->exit_reason == EXIT_REASON_KICK))
        tlb_flush_all(p);
    replay_take(p);
    atomic_store(&p->inside, 1);
    take_requests(p);
    switch (_setjmp(p->unwind)) {
    case 0:
        if (v->entry_interruption_info & INTR_INFO_VALID) {
            uint32_t info = v->entry_interruption_info & ~INTR_INFO_VALID;
            v->entry_interruption_info = 0;
            deliver(p, info, v->entry_exception_error_code, v->entry_instruction_length);
            if (exits_after_delivery(p))
                break;
        }
        run(p);
        break;
    case UNWIND_FAULT:
        if (p->exclusive)
            exclusive_end(p);
        p->rflags |= p->step_rf;
        p->step_rf = 0;
        if (take_fault(p) || exits_after_delivery(p))
            break;
        run(p);
        break;
    case UNWIND_EXIT:
        if (p->exclusive)
            exclusive_end(p);
        p->rflags |= p->step_rf;
        p->step_rf = 0;
        break;
    }
    note_event(p);
    p->insn = NULL;
    p->running = NULL;
    p->link = NULL;
    p->rmw_code = NULL;
    atomic_store(&p->inside, 0);
    v->exits[v->exit_reason]++;
    return v->exit_reason;
}

unsigned vmx_enter(struct processor *p)
{
    p->stop_after_step = false;
    return enter(p);
}

unsigned vmx_complete(struct processor *p)
{
    if (!vmx_access_pending(p)) {
        p->vmcs.exit_reason = EXIT_REASON_COMPLETED;
        return EXIT_REASON_COMPLETED;
    }
    p->stop_after_step = true;
    unsigned reason = enter(p);
    p->stop_after_step = false;
    p->vmcs.string_left = 0;
    return reason;
}
