/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Delivery of exceptions, interrupts and software interrupts (SDM volume 3, chapter 6 and 21.1.4;
 * INT n in volume 2). */
#include "system.h"

struct event {
    unsigned vector;
    bool software; /* INT n, INT3, INTO: the gate's DPL is checked */
    uint32_t ext;  /* ERROR_EXT unless software: for error codes of faults in delivery */
    bool has_code;
    uint32_t error_code;
    uint64_t rip;   /* to return to */
    uint32_t flags; /* image to push */
};

/* Faults, to which the handler returns by running the instruction again: their image has RF set, so
 * that an instruction breakpoint does not hit twice. */
static bool is_fault(unsigned vector)
{
    return vector != VECTOR_DB && vector != VECTOR_BP && vector != VECTOR_OF &&
           vector != VECTOR_DF && vector != VECTOR_MC && vector != VECTOR_NMI;
}

static uint32_t vector_error(const struct event *e)
{
    return e->vector << 3 | ERROR_IDT | e->ext;
}

static void push_error_code(const struct event *e, uint64_t *frame, unsigned *count)
{
    if (e->has_code)
        frame[(*count)++] = e->error_code;
}

/* Through the interrupt vector table, with 16-bit frames and no error code. */
static void deliver_8086(struct processor *p, const struct event *e, uint64_t table,
                         uint32_t flags_cleared)
{
    uint32_t entry = (uint32_t)mem_read_system(p, (uint32_t)(table + e->vector * 4), 4);
    uint64_t frame[] = {e->rip & 0xffff, p->segment[SEG_CS].selector, e->flags & 0xffff};
    check_code_offset(p, &p->segment[SEG_CS], entry & 0xffff, e->ext);
    stack_set(p, stack_push(p, frame, 3, 2));
    segment_load_8086(p, SEG_CS, (uint16_t)(entry >> 16));
    p->rflags &= ~flags_cleared;
    p->rip = entry & 0xffff;
    processor_update_mode(p);
}

struct gate {
    uint16_t selector;
    unsigned type, ist;
    uint64_t offset;
};

/* Reads and checks the IDT gate of E. */
static struct gate read_gate(struct processor *p, const struct event *e)
{
    bool lng = p->mode & MODE_LONG;
    unsigned size = lng ? 16 : 8;
    if (e->vector * size + size - 1 > p->idtr.limit)
        raise_fault(p, VECTOR_GP, vector_error(e));
    uint64_t linear = system_linear(p, p->idtr.base + e->vector * size);
    uint64_t raw = system_read64(p, linear);
    struct gate gate = {
        .selector = (uint16_t)(raw >> 16),
        .type = raw >> 40 & 0x1f,
        .offset = (raw & 0xffff) | (raw >> 32 & 0xffff0000),
    };
    bool wide = gate.type == SYSTEM_INTERRUPT_GATE || gate.type == SYSTEM_TRAP_GATE;
    bool narrow = gate.type == SYSTEM_INTERRUPT_GATE16 || gate.type == SYSTEM_TRAP_GATE16;
    if (!wide && (lng || (!narrow && gate.type != SYSTEM_TASK_GATE)))
        raise_fault(p, VECTOR_GP, vector_error(e));
    if (e->software && (raw >> 45 & 3) < p->cpl)
        raise_fault(p, VECTOR_GP, vector_error(e));
    if (!(raw >> 47 & 1))
        raise_fault(p, VECTOR_NP, vector_error(e));
    if (narrow)
        gate.offset &= 0xffff;
    if (lng) {
        gate.ist = raw >> 32 & 7;
        gate.offset |= system_read64(p, linear + 8) << 32;
    }
    return gate;
}

/* The handler's code segment, checked, with the privilege level it will run at as its RPL. */
static struct segment gate_code(struct processor *p, const struct gate *gate, const struct event *e)
{
    struct descriptor d;
    uint32_t error = selector_error(gate->selector) | e->ext;
    if (selector_is_null(gate->selector) || !descriptor_fetch(p, gate->selector, 8, &d))
        raise_fault(p, VECTOR_GP, error);
    struct segment cs = descriptor_segment(&d, gate->selector);
    unsigned dpl = segment_dpl(&cs);
    if (!segment_is_code(&cs) || dpl > p->cpl)
        raise_fault(p, VECTOR_GP, error);
    if (!(cs.access_rights & AR_P))
        raise_fault(p, VECTOR_NP, error);
    if (p->mode & MODE_LONG && (cs.access_rights & (AR_L | AR_DB)) != AR_L)
        raise_fault(p, VECTOR_GP, error);
    unsigned cpl = segment_is_conforming(&cs) ? p->cpl : dpl;
    if (p->mode & MODE_V86 && cpl != 0)
        raise_fault(p, VECTOR_GP, error);
    check_code_offset(p, &cs, gate->offset, e->ext);
    descriptor_accessed(p, &d, &cs);
    cs.selector = (uint16_t)((gate->selector & ~3u) | cpl);
    return cs;
}

static void clear_gate_flags(struct processor *p, unsigned gate_type)
{
    uint32_t cleared = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
    if (!(gate_type & 1)) /* interrupt gates have even types */
        cleared |= FLAG_IF;
    p->rflags &= ~cleared;
}

static void deliver_protected(struct processor *p, const struct event *e)
{
    struct gate gate = read_gate(p, e);
    if (gate.type == SYSTEM_TASK_GATE) {
        struct task_switch to = {
            .selector = gate.selector,
            .source = TASK_GATE,
            .rip = e->rip,
            .flags = e->flags,
            .ext = e->ext,
            .has_code = e->has_code,
            .error_code = e->error_code,
        };
        task_switch(p, &to);
        return;
    }
    struct segment cs = gate_code(p, &gate, e);
    unsigned cpl = cs.selector & 3;
    unsigned size = gate.type == SYSTEM_INTERRUPT_GATE16 || gate.type == SYSTEM_TRAP_GATE16 ? 2 : 4;

    uint64_t frame[10];
    unsigned n = 0;
    push_error_code(e, frame, &n);
    frame[n++] = e->rip;
    frame[n++] = p->segment[SEG_CS].selector;
    frame[n++] = e->flags;
    if (cpl == p->cpl) {
        struct new_stack stack = {p->segment[SEG_SS], p->gpr[REG_RSP]};
        if (stack.ss.access_rights & AR_UNUSABLE)
            raise_fault(p, VECTOR_SS, e->ext);
        new_stack_push(p, &stack, cpl, frame, n, size, e->ext);
        stack_set(p, stack.sp);
    } else {
        struct new_stack stack = tss_stack(p, cpl, e->ext);
        frame[n++] = p->gpr[REG_RSP] & 0xffffffff;
        frame[n++] = p->segment[SEG_SS].selector;
        if (p->mode & MODE_V86) {
            static const uint8_t saved[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
            for (unsigned k = 0; k < ARRAY_SIZE(saved); k++)
                frame[n++] = p->segment[saved[k]].selector;
        }
        new_stack_push(p, &stack, cpl, frame, n, size, selector_error(stack.ss.selector) | e->ext);
        if (p->mode & MODE_V86) {
            static const uint8_t nulled[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
            for (unsigned k = 0; k < ARRAY_SIZE(nulled); k++)
                p->segment[nulled[k]] = (struct segment){.access_rights = AR_UNUSABLE};
        }
        p->segment[SEG_SS] = stack.ss;
        p->gpr[REG_RSP] = stack.sp;
    }
    clear_gate_flags(p, gate.type);
    p->segment[SEG_CS] = cs;
    p->rip = gate.offset;
    processor_update_mode(p);
}

static void deliver_long(struct processor *p, const struct event *e)
{
    struct gate gate = read_gate(p, e);
    struct segment cs = gate_code(p, &gate, e);
    unsigned cpl = cs.selector & 3;

    uint64_t sp = p->gpr[REG_RSP];
    if (gate.ist)
        sp = tss_stack_pointer64(p, 0x24 + 8 * (gate.ist - 1), e->ext);
    else if (cpl != p->cpl)
        sp = tss_stack_pointer64(p, 4 + 8 * cpl, e->ext);

    uint64_t frame[6];
    unsigned n = 0;
    push_error_code(e, frame, &n);
    frame[n++] = e->rip;
    frame[n++] = p->segment[SEG_CS].selector;
    frame[n++] = e->flags;
    frame[n++] = p->gpr[REG_RSP];
    frame[n++] = p->segment[SEG_SS].selector;
    uint64_t top = sp & ~15ull;
    sp = top - 8 * n;
    if (!linear_is_canonical(p, sp) || !linear_is_canonical(p, top - 1))
        raise_fault(p, VECTOR_SS, e->ext);
    write_frame64(p, cpl, sp, frame, n);

    bool from_64bit = in_64bit_code(p);
    if (cpl != p->cpl)
        p->segment[SEG_SS] = segment_null_stack((uint16_t)cpl, cpl);
    clear_gate_flags(p, gate.type);
    p->segment[SEG_CS] = cs;
    p->gpr[REG_RSP] = sp;
    p->rip = gate.offset;
    if (from_64bit)
        privilege_changed(p, cpl);
    else
        processor_update_mode(p);
}

/* Virtual-8086 mode extensions: true when the TSS's redirection bitmap sends INT VECTOR to the
 * program's own interrupt vector table (SDM volume 3, 21.3). */
static bool vme_redirects(struct processor *p, unsigned vector)
{
    const struct segment *tr = &p->segment[SEG_TR];
    if (!(p->cr4 & CR4_VME) || tr->limit < 0x67)
        return false;
    uint32_t map = (uint32_t)mem_read_system(p, (uint32_t)(tr->base + 0x66), 2);
    if (map < 32 || map - 32 + vector / 8 > tr->limit)
        return false;
    uint64_t byte = mem_read_system(p, (uint32_t)(tr->base + map - 32 + vector / 8), 1);
    return !(byte >> (vector & 7) & 1);
}

/* INT n in virtual-8086 mode.  Returns true when it was delivered to the program itself. */
static bool deliver_v86_interrupt(struct processor *p, struct event *e)
{
    bool redirect = vme_redirects(p, e->vector);
    if (!redirect) {
        if (iopl(p) < 3)
            raise_gp(p);
        return false;
    }
    uint32_t cleared = FLAG_TF | FLAG_RF | FLAG_NT | FLAG_IF;
    if (iopl(p) < 3) {
        cleared = FLAG_TF | FLAG_RF | FLAG_NT | FLAG_VIF;
        e->flags &= ~FLAG_IF;
        if (e->flags & FLAG_VIF)
            e->flags |= FLAG_IF;
        e->flags |= FLAG_IOPL;
    }
    deliver_8086(p, e, 0, cleared);
    return true;
}

void event_deliver(struct processor *p, uint32_t info, uint32_t error_code, uint32_t length)
{
    uint32_t type = info & INTR_INFO_TYPE_MASK;
    bool software = type == INTR_TYPE_SOFT_INTERRUPT || type == INTR_TYPE_SOFT_EXCEPTION;
    struct event e = {
        .vector = info & INTR_INFO_VECTOR_MASK,
        .software = software,
        .ext = software ? 0 : ERROR_EXT,
        .has_code = info & INTR_INFO_DELIVER_CODE,
        .error_code = error_code,
        .rip = p->rip,
        .flags = processor_rflags(p),
    };
    if (software || type == INTR_TYPE_PRIV_EXCEPTION)
        e.rip += length;
    if (!in_64bit_code(p))
        e.rip = (uint32_t)e.rip;
    if (type == INTR_TYPE_PRIV_EXCEPTION) {
        debug_commit(p); /* INT1 takes along what a MOV SS before it held back */
    } else if (type == INTR_TYPE_HARD_EXCEPTION) {
        if (is_fault(e.vector))
            e.flags |= FLAG_RF;
        if (e.vector == VECTOR_DB)
            debug_commit(p);
        else
            p->pending_debug = 0; /* traps of an instruction that did not complete */
    }

    if (p->mode & MODE_REAL) {
        if (e.vector * 4 + 3 > p->idtr.limit)
            raise_fault(p, VECTOR_GP, vector_error(&e));
        deliver_8086(p, &e, p->idtr.base, FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
    } else if (p->mode & MODE_LONG) {
        deliver_long(p, &e);
    } else if (!(p->mode & MODE_V86 && type == INTR_TYPE_SOFT_INTERRUPT &&
                 deliver_v86_interrupt(p, &e))) {
        deliver_protected(p, &e);
    }

    uint32_t blocking = p->interruptibility & ~(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    if (type == INTR_TYPE_NMI)
        blocking |= BLOCKING_BY_NMI;
    if (blocking != p->interruptibility) {
        p->interruptibility = blocking;
        update_slow(p);
    }
}
