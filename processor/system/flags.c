/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CLI, STI, POPF, CLAC and STAC: flags with privilege rules (SDM volume 2; volume 1, 3.4.3; volume
 * 3, 21.3 for the extensions of virtual-8086 mode and protected-mode virtual interrupts). */
#include "system.h"

uint32_t flags_changeable(const struct processor *p, unsigned size)
{
    uint32_t mask = FLAGS_STATUS | FLAG_TF | FLAG_DF | FLAG_NT;
    if (size > 2)
        mask |= FLAG_AC | FLAG_ID;
    if (p->mode & MODE_V86)
        return mask | FLAG_IF; /* IOPL is 3, or we would not be here */
    if (p->cpl == 0)
        mask |= FLAG_IOPL;
    if (p->cpl <= iopl(p))
        mask |= FLAG_IF;
    return mask;
}

void flags_load_vme(struct processor *p, uint16_t image)
{
    if (image & FLAG_TF || (image & FLAG_IF && p->rflags & FLAG_VIP))
        raise_gp(p);
    flags_merge(p, image, FLAGS_STATUS | FLAG_DF | FLAG_NT);
    if (image & FLAG_IF)
        p->rflags |= FLAG_VIF;
    else
        p->rflags &= ~FLAG_VIF;
}

/* True where CLI and STI act on VIF instead of IF: virtual-8086 mode extensions, and protected-mode
 * virtual interrupts at CPL 3.  Raises #GP(0) where they are not allowed at all. */
static bool interrupt_flag_is_virtual(struct processor *p)
{
    if (likely(p->cpl <= iopl(p)))
        return false;
    if (p->cr4 & (p->mode & MODE_V86 ? CR4_VME : CR4_PVI) && p->cpl == 3)
        return true;
    raise_gp(p);
}

const struct insn *system_cli(struct processor *p, const struct insn *i)
{
    if (unlikely(interrupt_flag_is_virtual(p))) {
        p->rflags &= ~FLAG_VIF;
        return i + 1;
    }
    p->rflags &= ~FLAG_IF;
    if (unlikely(p->slow)) {
        update_slow(p);
        return insn_resync(p, i);
    }
    return i + 1;
}

const struct insn *system_sti(struct processor *p, const struct insn *i)
{
    if (unlikely(interrupt_flag_is_virtual(p))) {
        if (p->rflags & FLAG_VIP)
            raise_gp(p);
        p->rflags |= FLAG_VIF;
        return i + 1;
    }
    if (p->rflags & FLAG_IF)
        return i + 1;
    p->rflags |= FLAG_IF;
    p->interruptibility |= BLOCKING_BY_STI;
    update_slow(p);
    return insn_resync(p, i);
}

const struct insn *system_popf(struct processor *p, const struct insn *i)
{
    unsigned size = i->opsize;
    uint32_t image = (uint32_t)stack_peek(p, 0, size);
    if (unlikely(p->mode & MODE_V86 && iopl(p) < 3)) {
        if (!(p->cr4 & CR4_VME) || size != 2)
            raise_gp(p);
        flags_load_vme(p, (uint16_t)image);
    } else {
        uint32_t cleared = FLAG_RF;
        if (size > 2 && !(p->mode & MODE_V86))
            cleared |= FLAG_VIP | FLAG_VIF;
        flags_merge(p, image & ~cleared, flags_changeable(p, size) | cleared);
    }
    stack_set(p, p->gpr[REG_RSP] + size);

    uint32_t mode = p->mode;
    privilege_changed(p, p->cpl);
    if (unlikely(p->slow || p->mode != mode))
        return insn_resync(p, i);
    return i + 1;
}

/* At CPL 0 AC only decides which pages data accesses may use. */
static const struct insn *set_ac(struct processor *p, const struct insn *i, uint32_t ac)
{
    if (unlikely(p->cpl != 0 || in_8086_mode(p)))
        raise_ud(p);
    p->rflags = (p->rflags & ~FLAG_AC) | ac;
    select_tlb(p);
    return i + 1;
}

const struct insn *system_clac(struct processor *p, const struct insn *i)
{
    return set_ac(p, i, 0);
}

const struct insn *system_stac(struct processor *p, const struct insn *i)
{
    return set_ac(p, i, FLAG_AC);
}
