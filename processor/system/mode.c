/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is derived from the architectural state: the mode, the privilege level, segment bases, the
 * TLB context, and the reasons to go step by step. */
#include "system.h"

static bool segment_is_flat(const struct segment *s)
{
    return s->base == 0 && s->limit == 0xffffffff && !(s->access_rights & AR_UNUSABLE);
}

/* MODE_FLAT32's condition: no access through ES, CS, SS or DS below 4 GiB can fail a check (writes
 * through CS are checked apart). */
static bool all_flat(const struct processor *p)
{
    const struct segment *cs = &p->segment[SEG_CS];
    if (!segment_is_flat(cs) || !(cs->access_rights & AR_WRITE_OR_READ))
        return false;
    static const uint8_t data[] = {SEG_ES, SEG_SS, SEG_DS};
    for (unsigned n = 0; n < ARRAY_SIZE(data); n++) {
        const struct segment *s = &p->segment[data[n]];
        if (!segment_is_flat(s) || !segment_is_writable_data(s) ||
            s->access_rights & AR_CONFORMING_OR_DOWN)
            return false;
    }
    return true;
}

static bool segment_is_open(const struct segment *s)
{
    return s->limit == 0xffffffff && !(s->access_rights & AR_UNUSABLE) &&
           segment_is_writable_data(s) && !(s->access_rights & AR_CONFORMING_OR_DOWN);
}

static bool data_breakpoint_enabled(const struct processor *p)
{
    for (unsigned n = 0; n < 4; n++)
        if (p->dr7 >> (2 * n) & 3 && p->dr7 >> (16 + 4 * n) & 1) /* writes, or all accesses */
            return true;
    return false;
}

void select_tlb_slow(struct processor *p)
{
    if (!p->tlb_set) {
        p->tlb = NULL;
        return;
    }
    struct tlb_set *set = p->tlb_set;
    if (!(p->mode & MODE_ALIGN) && !data_breakpoint_enabled(p)) {
        p->tlb = &set->class[tlb_class(p, p->cpl)];
        return;
    }
    /* This context serves all privilege levels: what another one may fetch has to go. */
    struct tlb *t = &set->class[TLB_SLOW];
    tlb_forget_fetches(t);
    p->tlb = t;
}

void processor_update_mode(struct processor *p)
{
    const struct segment *s = p->segment;
    uint32_t mode = s[SEG_CS].access_rights & AR_DB ? DECODE_32 : DECODE_16;
    if (p->cr0 & CR0_PG)
        mode |= MODE_PAGING;
    if (!(p->cr0 & CR0_PE)) {
        mode |= MODE_REAL;
        p->cpl = 0;
    } else if (p->rflags & FLAG_VM && !(p->msr.efer & EFER_LMA)) {
        mode = (mode & ~MODE_DECODE) | DECODE_16 | MODE_V86;
        p->cpl = 3;
    } else {
        p->cpl = segment_dpl(&s[SEG_SS]);
        if (p->msr.efer & EFER_LMA) {
            mode |= MODE_LONG;
            if (s[SEG_CS].access_rights & AR_L)
                mode = (mode & ~MODE_DECODE) | DECODE_64;
        }
    }
    bool is64 = (mode & MODE_DECODE) == DECODE_64;
    for (unsigned n = SEG_ES; n <= SEG_GS; n++)
        p->flat_base[n] = is64 && n < SEG_FS ? 0 : s[n].base;
    for (unsigned n = SEG_FS; n <= SEG_GS; n++)
        p->open_segment[n] = !is64 && segment_is_open(&s[n]);
    if (!is64) {
        if (!(s[SEG_SS].access_rights & AR_DB))
            mode |= MODE_STACK16;
        if (!(mode & (MODE_REAL | MODE_V86)) && all_flat(p))
            mode |= MODE_FLAT32;
    }
    p->mode = mode;
    privilege_changed(p, p->cpl);
}

void processor_update_slow(struct processor *p)
{
    update_slow(p);
}

void processor_state_changed(struct processor *p)
{
    p->gpr[REG_NONE] = 0;
    p->rflags |= FLAG_ONE;
    bool changed = p->translated.cr0 != p->cr0 || p->translated.cr3 != p->cr3 ||
                   p->translated.cr4 != p->cr4 || p->translated.efer != p->msr.efer;
    bool pdptes_given = memcmp(p->translated.pdpte, p->pdpte, sizeof p->pdpte) != 0;
    bool pae = p->cr0 & CR0_PG && p->cr4 & CR4_PAE && !(p->msr.efer & EFER_LMA);
    /* The caller may have set the PDPTE registers too; else they come from memory, as by MOV CR3.
     */
    if (pae && changed && !pdptes_given)
        mmu_load_pdptes(p, p->cr3);
    translation_remember(p);
    processor_update_mode(p);
    if (changed || pdptes_given)
        processor_flush_tlb(p);
}
