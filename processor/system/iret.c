/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IRET, IRETD, IRETQ (SDM volume 2). */
#include "system.h"

static void unblock_nmi(struct processor *p)
{
    if (p->interruptibility & BLOCKING_BY_NMI) {
        p->interruptibility &= ~BLOCKING_BY_NMI;
        update_slow(p);
    }
}

/* The flags that IRET may change.  RF only matters to instruction breakpoints: without any it is
 * not taken over, so that the return from every page fault need not single-step. */
static uint32_t iret_changeable(const struct processor *p, unsigned size)
{
    uint32_t mask = flags_changeable(p, size);
    if (size > 2 && p->dr7 & 0xff)
        mask |= FLAG_RF;
    return mask;
}

/* In real-address mode, and in virtual-8086 mode with IOPL 3. */
static const struct insn *iret_8086(struct processor *p, const struct insn *i)
{
    unsigned size = i->opsize;
    bool vme = false;
    if (p->mode & MODE_V86 && iopl(p) < 3) {
        if (!(p->cr4 & CR4_VME) || size != 2)
            raise_gp(p);
        vme = true;
    }
    uint64_t offset = stack_peek(p, 0, size);
    uint16_t selector = (uint16_t)stack_peek(p, size, size);
    uint32_t flags = (uint32_t)stack_peek(p, 2 * size, size);
    check_code_offset(p, &p->segment[SEG_CS], offset, 0);
    if (vme)
        flags_load_vme(p, (uint16_t)flags);
    else
        flags_merge(p, flags, iret_changeable(p, size));
    stack_set(p, p->gpr[REG_RSP] + 3 * size);
    segment_load_8086(p, SEG_CS, selector);
    unblock_nmi(p);
    processor_update_mode(p);
    p->rip = offset;
    return NULL;
}

/* The image has VM set, at CPL 0 outside long mode: back to a virtual-8086 program. */
static const struct insn *iret_to_v86(struct processor *p, uint64_t offset, uint16_t selector,
                                      uint32_t flags)
{
    static const uint8_t restored[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    uint16_t data[4];
    uint64_t sp = stack_peek(p, 12, 4);
    uint16_t stack = (uint16_t)stack_peek(p, 16, 4);
    for (unsigned n = 0; n < 4; n++)
        data[n] = (uint16_t)stack_peek(p, 20 + 4 * n, 4);
    if (offset > 0xffff)
        raise_gp(p);

    flags_merge(p, flags, iret_changeable(p, 4) | FLAG_VM | FLAG_VIF | FLAG_VIP);
    p->mode |= MODE_V86; /* for segment_load_8086 */
    segment_load_8086(p, SEG_CS, selector);
    segment_load_8086(p, SEG_SS, stack);
    for (unsigned n = 0; n < 4; n++)
        segment_load_8086(p, restored[n], data[n]);
    p->gpr[REG_RSP] = sp;
    unblock_nmi(p);
    processor_update_mode(p);
    p->rip = offset;
    return NULL;
}

/* In protected, compatibility and 64-bit mode. */
static const struct insn *iret_protected(struct processor *p, const struct insn *i)
{
    unsigned size = i->opsize;
    if (p->rflags & FLAG_NT) {
        if (p->mode & MODE_LONG)
            raise_gp(p);
        uint64_t link = system_linear(p, p->segment[SEG_TR].base);
        struct task_switch to = {
            .selector = (uint16_t)mem_read_system(p, link, 2),
            .source = TASK_IRET,
            .rip = following_rip(p, i),
            .flags = processor_rflags(p),
        };
        unblock_nmi(p);
        task_switch(p, &to);
        return NULL;
    }
    uint64_t offset = stack_peek(p, 0, size);
    uint16_t selector = (uint16_t)stack_peek(p, size, size);
    uint32_t flags = (uint32_t)stack_peek(p, 2 * size, size);
    if (size == 4 && flags & FLAG_VM && p->cpl == 0 && !(p->mode & MODE_LONG))
        return iret_to_v86(p, offset, selector, flags);

    bool from_64bit = in_64bit_code(p);
    struct segment cs = return_check_cs(p, selector);
    unsigned cpl = selector & 3;
    uint32_t changeable = iret_changeable(p, size);
    if (size > 2 && p->cpl == 0)
        changeable |= FLAG_VIF | FLAG_VIP;
    if (cpl != p->cpl || from_64bit) {
        uint64_t sp = stack_peek(p, 3 * size, size);
        uint16_t stack = (uint16_t)stack_peek(p, 4 * size, size);
        struct segment ss = return_check_ss(p, stack, &cs);
        check_code_offset(p, &cs, offset, 0);
        p->segment[SEG_CS] = cs;
        p->segment[SEG_SS] = ss;
        return_set_stack(p, sp);
        if (cpl != p->cpl)
            return_null_segments(p, cpl);
    } else {
        check_code_offset(p, &cs, offset, 0);
        stack_set(p, p->gpr[REG_RSP] + 3 * size);
        p->segment[SEG_CS] = cs;
    }
    flags_merge(p, flags, changeable);
    unblock_nmi(p);
    processor_update_mode(p);
    p->rip = offset;
    return NULL;
}

const struct insn *system_iret(struct processor *p, const struct insn *i)
{
    return in_8086_mode(p) ? iret_8086(p, i) : iret_protected(p, i);
}

/* IRETQ: the same rules for the case that matters most, with its frame read in one go. */
const struct insn *system_iret64(struct processor *p, const struct insn *i)
{
    uint64_t frame[5], rsp = p->gpr[REG_RSP];
    struct tlb_entry *e = tlb_entry(p, rsp);
    if (unlikely((rsp ^ e->read) > PAGE_BYTES - sizeof frame || p->rflags & FLAG_NT))
        return iret_protected(p, i);
    memcpy(frame, (const void *)(e->host + (rsp ^ e->read)), sizeof frame);

    struct segment cs = return_check_cs(p, (uint16_t)frame[1]);
    struct segment ss = return_check_ss(p, (uint16_t)frame[4], &cs);
    check_code_offset(p, &cs, frame[0], 0);
    unsigned cpl = cs.selector & 3;
    uint32_t changeable = iret_changeable(p, 8);
    if (p->cpl == 0)
        changeable |= FLAG_VIF | FLAG_VIP;
    p->segment[SEG_CS] = cs;
    p->segment[SEG_SS] = ss;
    return_set_stack(p, frame[3]);
    if (cpl != p->cpl)
        return_null_segments(p, cpl);
    flags_merge(p, (uint32_t)frame[2], changeable);
    p->interruptibility &= ~BLOCKING_BY_NMI;
    if (likely(cs.access_rights & AR_L))
        privilege_changed(p, cpl);
    else
        processor_update_mode(p);
    p->rip = frame[0];
    return NULL;
}
