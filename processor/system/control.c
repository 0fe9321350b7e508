/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control registers and EFER: their reserved bits, the conditions between them, and what follows
 * from a change (SDM volume 3, 2.5, 4.1 and 10.8.5; MOV CR in volume 2). */
#include "system.h"

#include <errno.h>

#define CR0_KNOWN                                                                                  \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)

static bool pae_pdptes_in_use(const struct processor *p, uint64_t cr0, uint64_t cr4)
{
    return cr0 & CR0_PG && cr4 & CR4_PAE && !(p->msr.efer & EFER_LME);
}

/* The conditions for turning paging on or off. */
static bool paging_switch_allowed(const struct processor *p, bool on)
{
    const struct segment *cs = &p->segment[SEG_CS], *tr = &p->segment[SEG_TR];
    if (!on)
        return !in_64bit_code(p) && !(p->cr4 & CR4_PCIDE);
    if (!(p->msr.efer & EFER_LME))
        return true;
    /* Long mode is being activated. */
    bool tss16 = !(tr->access_rights & (AR_UNUSABLE | 8));
    return p->cr4 & CR4_PAE && !(cs->access_rights & AR_L) && !tss16;
}

int load_cr0(struct processor *p, uint64_t value)
{
    if (value >> 32)
        return -EINVAL;
    value = (value & CR0_KNOWN) | CR0_ET;
    if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
        return -EINVAL;
    uint64_t changed = value ^ p->cr0;
    if (changed & CR0_PG && !paging_switch_allowed(p, value & CR0_PG))
        return -EINVAL;
    if (changed & (CR0_PG | CR0_CD | CR0_NW) && pae_pdptes_in_use(p, value, p->cr4) &&
        !mmu_load_pdptes(p, p->cr3))
        return -EINVAL;

    p->cr0 = value;
    if (changed & CR0_PG) {
        if (value & CR0_PG && p->msr.efer & EFER_LME)
            p->msr.efer |= EFER_LMA;
        else
            p->msr.efer &= ~EFER_LMA;
    }
    if (changed & (CR0_PG | CR0_PE | CR0_WP))
        tlb_flush_all(p);
    translation_remember(p);
    processor_update_mode(p);
    return 0;
}

int load_cr3(struct processor *p, uint64_t value)
{
    bool keep = false;
    if (p->cr4 & CR4_PCIDE) {
        keep = value >> 63;
        value &= ~BIT(63);
    }
    if (p->mode & MODE_LONG) {
        if (value >> p->phys_bits)
            return -EINVAL;
    } else {
        value = (uint32_t)value;
        if (pae_pdptes_in_use(p, p->cr0, p->cr4) && !mmu_load_pdptes(p, value))
            return -EINVAL;
    }
    tlb_load_cr3(p, value, keep);
    p->cr3 = value;
    translation_remember(p);
    select_tlb(p);
    return 0;
}

int load_cr4(struct processor *p, uint64_t value)
{
    uint64_t changed = value ^ p->cr4;
    if (value >> 32 || value & p->cr4_reserved)
        return -EINVAL;
    if (p->msr.efer & EFER_LMA && (!(value & CR4_PAE) || changed & CR4_LA57))
        return -EINVAL;
    if (changed & value & CR4_PCIDE && (!(p->msr.efer & EFER_LMA) || p->cr3 & 0xfff))
        return -EINVAL;
    if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) && pae_pdptes_in_use(p, p->cr0, value) &&
        !mmu_load_pdptes(p, p->cr3))
        return -EINVAL;

    p->cr4 = value;
    if (changed &
        (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_LA57))
        tlb_flush_all(p);
    translation_remember(p);
    processor_update_mode(p);
    return 0;
}

int load_efer(struct processor *p, uint64_t value)
{
    uint64_t changed = value ^ p->msr.efer;
    if (value & p->efer_reserved & ~EFER_LMA)
        return -EINVAL;
    if (changed & EFER_LME && p->cr0 & CR0_PG)
        return -EINVAL;
    p->msr.efer = (value & ~EFER_LMA) | (p->msr.efer & EFER_LMA);
    if (changed & EFER_NXE)
        tlb_flush_all(p);
    translation_remember(p);
    return 0;
}

static int load_cr8(struct processor *p, uint64_t value)
{
    if (value > 15)
        return -EINVAL;
    p->cr8 = value;
    return 0;
}

int processor_set_cr(struct processor *p, unsigned number, uint64_t value)
{
    switch (number) {
    case 0:
        return load_cr0(p, value);
    case 2:
        p->cr2 = value;
        return 0;
    case 3:
        return load_cr3(p, value);
    case 4:
        return load_cr4(p, value);
    case 8:
        return load_cr8(p, value);
    default:
        return -EINVAL;
    }
}

int processor_set_xcr0(struct processor *p, uint64_t value)
{
    bool x87 = value & BIT(0), sse = value & BIT(1), avx = value & BIT(2);
    if (!x87 || value & ~p->xcr0_supported || (avx && !sse))
        return -EINVAL;
    p->vector.xcr0 = value;
    return 0;
}

/* ---------------------------------------------------------------- instructions */

enum { CR_ACCESS_TO, CR_ACCESS_FROM, CR_ACCESS_CLTS, CR_ACCESS_LMSW };

/* The exit qualification of a CR access by MOV (SDM table 28-3). */
static uint64_t mov_cr_qualification(const struct insn *i, unsigned access)
{
    return i->reg | access << 4 | (unsigned)(i->rm & 15) << 8;
}

/* VALUE with the bits of MASK replaced by those of CURRENT, as the guest sees level 0's hold on
 * them; leaves with a CR-access exit when it would change one of these from what it reads as. */
static uint64_t masked_cr(struct processor *p, uint64_t value, uint64_t current, uint64_t mask,
                          uint64_t shadow, uint64_t qualification)
{
    if (unlikely((value ^ shadow) & mask))
        vm_exit(p, EXIT_REASON_CR_ACCESS, qualification);
    return (value & ~mask) | (current & mask);
}

const struct insn *system_mov_from_cr(struct processor *p, const struct insn *i)
{
    uint64_t value;
    const struct vmcs *v = &p->vmcs;
    switch (i->reg) {
    case 0:
        value = visible_cr0(p);
        break;
    case 2:
        value = p->cr2;
        break;
    case 3:
        value = p->cr3;
        break;
    case 4:
        value = (p->cr4 & ~v->cr4_guest_host_mask) | (v->cr4_read_shadow & v->cr4_guest_host_mask);
        break;
    case 8:
        value = p->cr8;
        break;
    default:
        raise_ud(p);
    }
    require_cpl0(p);
    if ((i->reg == 3 && p->intercepts & INTERCEPT_CR3_STORE) ||
        (i->reg == 8 && p->intercepts & INTERCEPT_CR8_STORE))
        vm_exit(p, EXIT_REASON_CR_ACCESS, mov_cr_qualification(i, CR_ACCESS_FROM));
    reg_write(p, i->rm, value, in_64bit_code(p) ? 8 : 4);
    return i + 1;
}

const struct insn *system_mov_to_cr(struct processor *p, const struct insn *i)
{
    uint64_t value = reg_read(p, i->rm, in_64bit_code(p) ? 8 : 4);
    uint64_t qualification = mov_cr_qualification(i, CR_ACCESS_TO);
    const struct vmcs *v = &p->vmcs;
    int error = 0;
    if (i->reg != 0 && i->reg != 2 && i->reg != 3 && i->reg != 4 && i->reg != 8)
        raise_ud(p);
    require_cpl0(p);
    switch (i->reg) {
    case 0:
        error = load_cr0(p, masked_cr(p, value, p->cr0, v->cr0_guest_host_mask, v->cr0_read_shadow,
                                      qualification));
        break;
    case 2:
        p->cr2 = value;
        return i + 1;
    case 3:
        if (p->intercepts & INTERCEPT_CR3_LOAD)
            vm_exit(p, EXIT_REASON_CR_ACCESS, qualification);
        error = load_cr3(p, value);
        break;
    case 4:
        error = load_cr4(p, masked_cr(p, value, p->cr4, v->cr4_guest_host_mask, v->cr4_read_shadow,
                                      qualification));
        break;
    default:
        if (value > 15)
            raise_gp(p);
        if (p->intercepts & INTERCEPT_CR8_LOAD)
            vm_exit(p, EXIT_REASON_CR_ACCESS, qualification);
        p->cr8 = value;
        break;
    }
    if (error)
        raise_gp(p);
    return insn_resync(p, i);
}

const struct insn *system_clts(struct processor *p, const struct insn *i)
{
    require_cpl0(p);
    uint64_t mask = p->vmcs.cr0_guest_host_mask;
    if (mask & CR0_TS) {
        if (p->vmcs.cr0_read_shadow & CR0_TS)
            vm_exit(p, EXIT_REASON_CR_ACCESS, CR_ACCESS_CLTS << 4);
        return i + 1;
    }
    p->cr0 &= ~CR0_TS;
    p->translated.cr0 = p->cr0;
    return i + 1;
}

const struct insn *system_lmsw(struct processor *p, const struct insn *i)
{
    const uint64_t loaded = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    require_cpl0(p);
    uint64_t source =
        i->mod3 ? (uint16_t)p->gpr[i->rm] : mem_read16(p, insn_linear(p, i, 2, MEM_READ));
    const struct vmcs *v = &p->vmcs;
    /* It can set PE but not clear it. */
    uint64_t value = (visible_cr0(p) & ~(loaded & ~CR0_PE)) | (source & loaded);
    uint64_t qualification = CR_ACCESS_LMSW << 4 | (i->mod3 ? 0u : 1u << 6) | source << 16;
    if (load_cr0(p, masked_cr(p, value, p->cr0, v->cr0_guest_host_mask, v->cr0_read_shadow,
                              qualification)))
        raise_gp(p);
    return insn_resync(p, i);
}
