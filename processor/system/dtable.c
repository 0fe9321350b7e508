/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The descriptor-table registers, and SMSW, which UMIP guards alike (SDM volume 2; volume 3, 2.4
 * and 7.2.4). */
#include "system.h"

static void check_intercept(struct processor *p, unsigned reason)
{
    if (unlikely(p->intercepts & INTERCEPT_DTABLE))
        vm_exit(p, reason, 0);
}

/* #GP(0) for the storing instructions at CPL > 0 under user-mode instruction prevention. */
static void check_umip(struct processor *p)
{
    if (p->cr4 & CR4_UMIP && p->cpl > 0)
        raise_gp(p);
}

static void load_table(struct processor *p, const struct insn *i, struct descriptor_table *table)
{
    require_cpl0(p);
    check_intercept(p, EXIT_REASON_GDTR_IDTR);
    bool is64 = in_64bit_code(p);
    uint16_t limit = mem_read16(p, insn_linear(p, i, 2, MEM_READ));
    unsigned size = is64 ? 8 : 4;
    uint64_t base = mem_read(p, insn_linear_at(p, i, 2, size, MEM_READ), size);
    if (!is64 && i->opsize == 2)
        base &= 0xffffff;
    if (is64 && !base_is_canonical(p, base))
        raise_gp(p);
    table->base = base;
    table->limit = limit;
}

static void store_table(struct processor *p, const struct insn *i,
                        const struct descriptor_table *table)
{
    check_umip(p);
    check_intercept(p, EXIT_REASON_GDTR_IDTR);
    unsigned size = in_64bit_code(p) ? 8 : 4;
    uint64_t limit_at = insn_linear(p, i, 2, MEM_WRITE);
    uint64_t base_at = insn_linear_at(p, i, 2, size, MEM_WRITE);
    mem_probe(p, base_at, size, MEM_WRITE);
    mem_write16(p, limit_at, table->limit);
    mem_write(p, base_at, table->base, size);
}

const struct insn *system_lgdt(struct processor *p, const struct insn *i)
{
    load_table(p, i, &p->gdtr);
    return i + 1;
}

const struct insn *system_lidt(struct processor *p, const struct insn *i)
{
    load_table(p, i, &p->idtr);
    return i + 1;
}

const struct insn *system_sgdt(struct processor *p, const struct insn *i)
{
    store_table(p, i, &p->gdtr);
    return i + 1;
}

const struct insn *system_sidt(struct processor *p, const struct insn *i)
{
    store_table(p, i, &p->idtr);
    return i + 1;
}

/* Stores a 16-bit register: memory takes 16 bits, a register the operand size. */
static const struct insn *store_selector(struct processor *p, const struct insn *i, uint64_t value)
{
    if (i->mod3)
        reg_write(p, i->rm, value, i->opsize);
    else
        mem_write16(p, insn_linear(p, i, 2, MEM_WRITE), (uint16_t)value);
    return i + 1;
}

static uint16_t load_selector(struct processor *p, const struct insn *i)
{
    return i->mod3 ? (uint16_t)p->gpr[i->rm] : mem_read16(p, insn_linear(p, i, 2, MEM_READ));
}

const struct insn *system_sldt(struct processor *p, const struct insn *i)
{
    require_protected(p);
    check_umip(p);
    check_intercept(p, EXIT_REASON_LDTR_TR);
    return store_selector(p, i, p->segment[SEG_LDTR].selector);
}

const struct insn *system_str(struct processor *p, const struct insn *i)
{
    require_protected(p);
    check_umip(p);
    check_intercept(p, EXIT_REASON_LDTR_TR);
    return store_selector(p, i, p->segment[SEG_TR].selector);
}

const struct insn *system_smsw(struct processor *p, const struct insn *i)
{
    check_umip(p);
    return store_selector(p, i, visible_cr0(p));
}

/* Reads the system descriptor of LLDT or LTR, whose type must be one of TYPES (a bit each). */
static struct segment fetch_system(struct processor *p, uint16_t selector, uint32_t types,
                                   struct descriptor *d)
{
    uint32_t error = selector_error(selector);
    unsigned size = p->mode & MODE_LONG ? 16 : 8;
    if (selector & 4 || !descriptor_fetch(p, selector, size, d))
        raise_fault(p, VECTOR_GP, error);
    unsigned type = d->raw >> 40 & 0x1f;
    if (type > 15 || !(types >> type & 1))
        raise_fault(p, VECTOR_GP, error);
    if (!(d->raw >> 47 & 1))
        raise_fault(p, VECTOR_NP, error);
    return descriptor_system_segment(p, d, selector);
}

const struct insn *system_lldt(struct processor *p, const struct insn *i)
{
    require_protected(p);
    require_cpl0(p);
    check_intercept(p, EXIT_REASON_LDTR_TR);
    uint16_t selector = load_selector(p, i);
    if (selector_is_null(selector)) {
        p->segment[SEG_LDTR] = (struct segment){.selector = selector, .access_rights = AR_UNUSABLE};
        return i + 1;
    }
    struct descriptor d;
    p->segment[SEG_LDTR] = fetch_system(p, selector, 1u << SYSTEM_LDT, &d);
    return i + 1;
}

const struct insn *system_ltr(struct processor *p, const struct insn *i)
{
    require_protected(p);
    require_cpl0(p);
    check_intercept(p, EXIT_REASON_LDTR_TR);
    uint16_t selector = load_selector(p, i);
    if (selector_is_null(selector))
        raise_gp(p);
    uint32_t types = 1u << SYSTEM_TSS;
    if (!(p->mode & MODE_LONG))
        types |= 1u << SYSTEM_TSS16;
    struct descriptor d;
    struct segment tr = fetch_system(p, selector, types, &d);
    descriptor_set_type(p, &d, SYSTEM_TSS_BUSY & ~SYSTEM_TSS, &tr);
    p->segment[SEG_TR] = tr;
    return i + 1;
}
