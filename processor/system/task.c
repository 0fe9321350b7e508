/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hardware task switches (SDM volume 3, chapter 8). */
#include "system.h"

/* Where a task-state segment of one size keeps what a switch saves and loads. */
struct tss_layout {
    uint8_t size; /* of a register */
    uint8_t last; /* byte that must lie within the limit */
    uint8_t ip, flags, registers, segments;
    uint8_t segment_count; /* ES, CS, SS, DS and, in the wide one, FS and GS */
    uint8_t segment_step;
    uint8_t ldt;
};
static const struct tss_layout tss16 = {2, 0x2b, 0x0e, 0x10, 0x12, 0x22, 4, 2, 0x2a};
static const struct tss_layout tss32 = {4, 0x67, 0x20, 0x24, 0x28, 0x48, 6, 4, 0x60};
enum { TSS_LINK = 0, TSS_CR3 = 0x1c, TSS_TRAP = 0x64, REGISTERS = 8 };

/* The task's own flags; the others read as fixed. */
#define TASK_FLAGS                                                                                 \
    (FLAGS_STATUS | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM |        \
     FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID)
/* Breakpoints that DR7 enables for one task only. */
#define DR7_LOCAL 0x155u

/* A task's state as its segment holds it. */
struct task {
    uint64_t cr3;
    uint32_t ip, flags;
    uint32_t gpr[REGISTERS];
    uint16_t segment[SEG_GS + 1];
    uint16_t ldt;
    bool trap;
};

static const struct tss_layout *layout_of(const struct segment *tss)
{
    return tss->access_rights & 8 ? &tss32 : &tss16;
}

static uint64_t tss_read(struct processor *p, const struct segment *tss, unsigned at, unsigned size)
{
    return mem_read_system(p, (uint32_t)(tss->base + at), size);
}

static void tss_write(struct processor *p, const struct segment *tss, unsigned at, uint64_t value,
                      unsigned size)
{
    mem_write_system(p, (uint32_t)(tss->base + at), value, size);
}

/* The TSS that SWITCH goes to, checked; *d is its descriptor. */
static struct segment new_tss(struct processor *p, const struct task_switch *to,
                              struct descriptor *d)
{
    bool back = to->source == TASK_IRET;
    unsigned vector = back ? VECTOR_TS : VECTOR_GP;
    uint32_t error = selector_error(to->selector) | to->ext;
    if (selector_is_null(to->selector) || to->selector & 4 ||
        !descriptor_fetch(p, to->selector, 8, d))
        raise_fault(p, vector, error);
    struct segment tss = descriptor_segment(d, to->selector);
    unsigned type = tss.access_rights & AR_TYPE_S_MASK;
    if (back ? type != SYSTEM_TSS_BUSY && type != SYSTEM_TSS16_BUSY
             : type != SYSTEM_TSS && type != SYSTEM_TSS16)
        raise_fault(p, vector, error);
    if (!(tss.access_rights & AR_P))
        raise_fault(p, VECTOR_NP, error);
    if (tss.limit < layout_of(&tss)->last)
        raise_fault(p, VECTOR_TS, error);
    return tss;
}

/* Raises now what the accesses to both segments would, so that nothing is left half done. */
static void probe_tasks(struct processor *p, const struct segment *from, const struct segment *to,
                        bool nested)
{
    const struct tss_layout *old = layout_of(from), *new = layout_of(to);
    mem_probe_system(p, (uint32_t)(from->base + old->ip), old->ldt - old->ip, MEM_WRITE);
    mem_probe_system(p, (uint32_t)to->base, new->last + 1u, MEM_READ);
    if (nested)
        mem_probe_system(p, (uint32_t)(to->base + TSS_LINK), 2, MEM_WRITE);
}

static void save_task(struct processor *p, const struct segment *tss, uint32_t ip, uint32_t flags)
{
    const struct tss_layout *l = layout_of(tss);
    tss_write(p, tss, l->ip, ip, l->size);
    tss_write(p, tss, l->flags, flags, l->size);
    for (unsigned n = 0; n < REGISTERS; n++)
        tss_write(p, tss, l->registers + n * l->size, p->gpr[n], l->size);
    for (unsigned n = 0; n < l->segment_count; n++)
        tss_write(p, tss, l->segments + n * l->segment_step, p->segment[n].selector, 2);
}

static struct task read_task(struct processor *p, const struct segment *tss)
{
    const struct tss_layout *l = layout_of(tss);
    struct task t = {.ip = (uint32_t)tss_read(p, tss, l->ip, l->size),
                     .flags = (uint32_t)tss_read(p, tss, l->flags, l->size),
                     .ldt = (uint16_t)tss_read(p, tss, l->ldt, 2)};
    for (unsigned n = 0; n < REGISTERS; n++)
        t.gpr[n] = (uint32_t)tss_read(p, tss, l->registers + n * l->size, l->size);
    for (unsigned n = 0; n < l->segment_count; n++)
        t.segment[n] = (uint16_t)tss_read(p, tss, l->segments + n * l->segment_step, 2);
    if (l == &tss32) {
        t.cr3 = tss_read(p, tss, TSS_CR3, 4);
        t.trap = tss_read(p, tss, TSS_TRAP, 2) & 1;
    }
    return t;
}

/* The type byte of a TSS's descriptor with its busy bit as BUSY says. */
static void set_busy(struct processor *p, uint64_t descriptor_linear, bool busy)
{
    exclusive_begin(p);
    uint64_t type = mem_read_system(p, descriptor_linear + 5, 1) & ~2ull;
    mem_write_system(p, descriptor_linear + 5, type | (busy ? 2 : 0), 1);
    exclusive_end(p);
}

/* ---------------------------------------------------------------- in the new task's context */

static void load_ldt(struct processor *p, uint16_t selector, uint32_t ext)
{
    struct segment *ldt = &p->segment[SEG_LDTR];
    *ldt = (struct segment){.selector = selector, .access_rights = AR_UNUSABLE};
    if (selector_is_null(selector))
        return;
    struct descriptor d;
    uint32_t error = selector_error(selector) | ext;
    if (selector & 4 || !descriptor_fetch(p, selector, 8, &d))
        raise_fault(p, VECTOR_TS, error);
    struct segment s = descriptor_segment(&d, selector);
    if ((s.access_rights & (AR_TYPE_S_MASK | AR_P)) != (SYSTEM_LDT | AR_P))
        raise_fault(p, VECTOR_TS, error);
    *ldt = s;
}

/* Fetches the descriptor of SELECTOR, which must not be null. */
static struct segment task_descriptor(struct processor *p, uint16_t selector, uint32_t ext,
                                      struct descriptor *d)
{
    if (selector_is_null(selector) || !descriptor_fetch(p, selector, 8, d))
        raise_fault(p, VECTOR_TS, selector_error(selector) | ext);
    return descriptor_segment(d, selector);
}

static void load_stack(struct processor *p, uint16_t selector, unsigned cpl, uint32_t ext)
{
    struct descriptor d;
    struct segment s = task_descriptor(p, selector, ext, &d);
    uint32_t error = selector_error(selector) | ext;
    if ((selector & 3u) != cpl || segment_dpl(&s) != cpl || !segment_is_writable_data(&s))
        raise_fault(p, VECTOR_TS, error);
    if (!(s.access_rights & AR_P))
        raise_fault(p, VECTOR_SS, error);
    descriptor_accessed(p, &d, &s);
    p->segment[SEG_SS] = s;
}

static void load_code(struct processor *p, uint16_t selector, unsigned cpl, uint32_t ext)
{
    struct descriptor d;
    struct segment s = task_descriptor(p, selector, ext, &d);
    uint32_t error = selector_error(selector) | ext;
    unsigned dpl = segment_dpl(&s);
    if (!segment_is_code(&s) || (segment_is_conforming(&s) ? dpl > cpl : dpl != cpl))
        raise_fault(p, VECTOR_TS, error);
    if (!(s.access_rights & AR_P))
        raise_fault(p, VECTOR_NP, error);
    descriptor_accessed(p, &d, &s);
    p->segment[SEG_CS] = s;
}

static void load_data(struct processor *p, unsigned seg, uint16_t selector, unsigned cpl,
                      uint32_t ext)
{
    if (selector_is_null(selector))
        return;
    struct descriptor d;
    struct segment s = task_descriptor(p, selector, ext, &d);
    uint32_t ar = s.access_rights, error = selector_error(selector) | ext;
    bool code = ar & AR_CODE, conforming = code && segment_is_conforming(&s);
    unsigned dpl = segment_dpl(&s);
    if (!(ar & AR_S) || (code && !(ar & AR_WRITE_OR_READ)) ||
        (!conforming && ((selector & 3u) > dpl || cpl > dpl)))
        raise_fault(p, VECTOR_TS, error);
    if (!(ar & AR_P))
        raise_fault(p, VECTOR_NP, error);
    descriptor_accessed(p, &d, &s);
    p->segment[seg] = s;
}

/* Loads the registers of T.  From here on faults are the new task's, whose segment registers hold
 * their selectors and, until they have been checked, nothing else. */
static void load_registers(struct processor *p, const struct task *t, uint32_t flags)
{
    unsigned cpl = flags & FLAG_VM ? 3 : t->segment[SEG_CS] & 3;
    p->insn = NULL;
    p->step_rf = 0;
    p->rip = t->ip;
    for (unsigned n = 0; n < REGISTERS; n++)
        p->gpr[n] = t->gpr[n];
    processor_set_rflags(p, flags & TASK_FLAGS);
    for (unsigned n = SEG_ES; n <= SEG_GS; n++)
        p->segment[n] = (struct segment){.selector = t->segment[n],
                                         .access_rights = AR_UNUSABLE | AR_WITH_DPL(cpl)};
    p->segment[SEG_CS].access_rights = AR_FLAT_CODE32 | AR_WITH_DPL(cpl);
    p->segment[SEG_CS].limit = 0xffffffff;
    p->dr7 &= ~(uint64_t)DR7_LOCAL;
    p->cr0 |= CR0_TS;
    p->translated.cr0 = p->cr0;
    processor_update_mode(p);
}

static void load_segments(struct processor *p, const struct task *t, uint32_t ext)
{
    unsigned cpl = t->segment[SEG_CS] & 3;
    load_ldt(p, t->ldt, ext);
    if (p->mode & MODE_V86) {
        for (unsigned n = SEG_ES; n <= SEG_GS; n++)
            segment_load_8086(p, n, t->segment[n]);
    } else {
        load_code(p, t->segment[SEG_CS], cpl, ext);
        load_stack(p, t->segment[SEG_SS], cpl, ext);
        processor_update_mode(p); /* faults below are delivered on this stack */
        for (unsigned n = SEG_ES; n <= SEG_GS; n++)
            if (n != SEG_CS && n != SEG_SS)
                load_data(p, n, t->segment[n], cpl, ext);
    }
    processor_update_mode(p);
}

void task_switch(struct processor *p, const struct task_switch *to)
{
    struct descriptor d;
    struct segment from = p->segment[SEG_TR], tss = new_tss(p, to, &d);
    bool nested = to->source == TASK_CALL || to->source == TASK_GATE;
    if (from.limit < layout_of(&from)->last)
        raise_fault(p, VECTOR_TS, selector_error(from.selector) | to->ext);
    probe_tasks(p, &from, &tss, nested);

    uint64_t from_descriptor = system_linear(p, p->gdtr.base + (from.selector & 0xfff8u));
    if (!nested)
        set_busy(p, from_descriptor, false);
    if (to->source != TASK_IRET)
        set_busy(p, d.linear, true);
    save_task(p, &from, (uint32_t)to->rip,
              to->source == TASK_IRET ? to->flags & ~FLAG_NT : to->flags);
    if (nested)
        tss_write(p, &tss, TSS_LINK, from.selector, 2);
    struct task t = read_task(p, &tss);
    tss.access_rights |= 2;
    p->segment[SEG_TR] = tss;

    load_registers(p, &t, nested ? t.flags | FLAG_NT : t.flags);
    if (p->cr0 & CR0_PG && layout_of(&tss) == &tss32 && load_cr3(p, t.cr3))
        raise_fault(p, VECTOR_TS, selector_error(tss.selector) | to->ext);
    load_segments(p, &t, to->ext);
    if (to->has_code) {
        uint64_t code = to->error_code;
        stack_set(p, stack_push(p, &code, 1, layout_of(&tss)->size));
    }
    check_code_offset(p, &p->segment[SEG_CS], p->rip, to->ext);
    if (t.trap) {
        p->pending_debug |= DR6_BT;
        update_slow(p);
    }
}
