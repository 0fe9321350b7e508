/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SYSCALL, SYSRET and IRETQ between 64-bit code: what their handlers in system/ do where nothing is
 * out of the ordinary.  While translated code runs no step reason is set (p->slow is 0), so there
 * are no breakpoints, no TF, no shadow. */
#include "light.h"

#include "processor/system/system.h"

/* The frame's status flags: SF, ZF, AF, PF and CF in bits 15:8, as in EFLAGS, OF in bit 0. */
static uint32_t frame_status(const uint64_t *frame)
{
    uint64_t flags = frame[FRAME_FLAGS];
    return ((uint32_t)(flags >> 8) & (FLAGS_STATUS & 0xff)) | (uint32_t)(flags & 1) << 11;
}

static void frame_set_status(uint64_t *frame, uint32_t status)
{
    frame[FRAME_FLAGS] = (status & (FLAGS_STATUS & 0xff)) << 8 | (status >> 11 & 1);
}

/* True when EFLAGS may become FLAGS at CPL with no more ado than choosing the TLB context. */
static bool flags_are_plain(const struct processor *p, uint32_t flags, unsigned cpl)
{
    if (flags & (FLAG_TF | FLAG_RF))
        return false;
    if (flags & FLAG_AC && cpl == 3 && p->cr0 & CR0_AM)
        return false;
    return !(flags & FLAG_IF && p->vmcs.cpu_based_controls & CPU_INTERRUPT_WINDOW_EXITING);
}

static void load_flat(struct processor *p, uint16_t code, uint16_t stack, unsigned cpl)
{
    p->segment[SEG_CS] = (struct segment){
        .selector = code,
        .access_rights = AR_FLAT_CODE64 | AR_WITH_DPL(cpl),
        .limit = 0xffffffff,
    };
    p->segment[SEG_SS] = (struct segment){
        .selector = stack,
        .access_rights = AR_FLAT_DATA | AR_WITH_DPL(cpl),
        .limit = 0xffffffff,
    };
}

/* Kernels' code does not look for requests where it is entered. */
static bool is_asked(const struct processor *p)
{
    return atomic_load_explicit(&p->poll, memory_order_relaxed);
}

/* Goes on at RIP with privilege CPL and EFLAGS of FLAGS. */
static const uint8_t *go(struct processor *p, const struct translate_site *s, uint64_t *frame,
                         uint64_t rip, unsigned cpl, uint32_t flags)
{
    p->rflags = (flags & ~FLAGS_STATUS) | FLAG_ONE;
    frame_set_status(frame, flags);
    p->cpl = cpl;
    p->mode &= ~MODE_ALIGN;
    p->tlb = &p->tlb_set->class[tlb_class(p, cpl)];
    frame[FRAME_TLB] = (uint64_t)(uintptr_t)p->tlb + TLB_ANCHOR;
    const struct jump_cache *jumps = p->tlb->jumps;
    frame[FRAME_JUMPS] = (uint64_t)(uintptr_t)jumps->entry;
    frame[FRAME_JUMP_MASK] = jumps->mask;
    frame[FRAME_COUNT] += s->index + 1u;
    frame[FRAME_ARGUMENT] = rip;
    const struct jump_entry *j = &jumps->entry[jump_index(jumps, rip)];
    if (likely(j->linear == rip))
        return j->code;
    const uint8_t *code = jumps_find(p, rip);
    return code ? code : p->translator->cold;
}

const uint8_t *light_target(struct processor *p, const struct translate_site *s, uint64_t *frame)
{
    return jumps_find(p, frame[FRAME_ARGUMENT]) ? s->resume : NULL;
}

const uint8_t *light_find(struct processor *p, const struct translate_site *s, uint64_t *frame)
{
    (void)s;
    return jumps_find(p, frame[FRAME_ARGUMENT]);
}

const uint8_t *light_syscall(struct processor *p, const struct translate_site *s, uint64_t *frame)
{
    if (!(p->msr.efer & EFER_SCE) || is_asked(p))
        return NULL;
    uint16_t selector = p->msr.star >> 32 & 0xfffc;
    uint32_t flags = p->rflags | frame_status(frame);
    p->gpr[REG_RCX] = translate_site_code(s, frame[FRAME_CODE]) + s->insn->offset + s->insn->length;
    frame[FRAME_R11] = flags & ~FLAG_RF;
    load_flat(p, selector, selector + 8, 0);
    return go(p, s, frame, p->msr.lstar, 0, flags & ~((uint32_t)p->msr.sfmask | FLAG_RF));
}

const uint8_t *light_sysret(struct processor *p, const struct translate_site *s, uint64_t *frame)
{
    uint64_t rip = p->gpr[REG_RCX];
    uint32_t flags = (uint32_t)frame[FRAME_R11] & 0x3c7fd7;
    if (p->cpl != 0 || !(p->msr.efer & EFER_SCE) || s->insn->opsize != 8 ||
        !linear_is_canonical(p, rip) || !flags_are_plain(p, flags, 3) || is_asked(p))
        return NULL;
    uint16_t base = (uint16_t)(p->msr.star >> 48);
    load_flat(p, (uint16_t)(base + 16) | 3, (uint16_t)(base + 8) | 3, 3);
    return go(p, s, frame, rip, 3, flags);
}

/* ---------------------------------------------------------------- IRETQ */

/* Bits of a descriptor's type byte. */
enum {
    TYPE_CODE = AR_P | AR_S | AR_CODE | AR_ACCESSED,
    TYPE_CODE_MASK = TYPE_CODE | AR_CONFORMING_OR_DOWN,
    TYPE_DATA = AR_P | AR_S | AR_WRITE_OR_READ | AR_ACCESSED,
    TYPE_DATA_MASK = TYPE_DATA | AR_CODE,
};

/* Reads SELECTOR's descriptor from the GDT if the TLB has it there, and takes it for S if its type
 * byte under MASK is TYPE and its DPL is the selector's RPL. */
static bool plain_segment(const struct processor *p, uint16_t selector, uint32_t type,
                          uint32_t mask, struct segment *s)
{
    unsigned offset = selector & 0xfff8u;
    if (selector & 4 || offset == 0 || offset + 7 > p->gdtr.limit)
        return false;
    uint64_t linear = p->gdtr.base + offset;
    unsigned class = p->cr4 & CR4_SMAP ? TLB_SUPERVISOR : TLB_SUPERVISOR_AC;
    const struct tlb_entry *e =
        &p->tlb_set->class[class].entry[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)];
    if ((linear ^ e->read) > PAGE_BYTES - 8)
        return false;
    struct descriptor d = {.raw = host_load64((const void *)(e->host + (linear ^ e->read)))};
    *s = descriptor_segment(&d, selector);
    return (s->access_rights & mask) == type && segment_dpl(s) == (selector & 3u);
}

/* Whether the data segments stay as they are at privilege level CPL. */
static bool data_segments_stay(const struct processor *p, unsigned cpl)
{
    for (unsigned n = SEG_ES; n <= SEG_GS; n++) {
        const struct segment *s = &p->segment[n];
        if (n != SEG_CS && n != SEG_SS && !(s->access_rights & AR_UNUSABLE) && segment_dpl(s) < cpl)
            return false;
    }
    return true;
}

const uint8_t *light_iret(struct processor *p, const struct translate_site *s, uint64_t *frame)
{
    uint64_t image[5], rsp = p->gpr[REG_RSP];
    const struct tlb_entry *e = tlb_entry(p, rsp);
    if ((rsp ^ e->read) > PAGE_BYTES - sizeof(image) || p->rflags & FLAG_NT || p->cpl != 0 ||
        p->interruptibility || is_asked(p))
        return NULL;
    const uint8_t *from = (const uint8_t *)(e->host + (rsp ^ e->read));
    for (unsigned n = 0; n < ARRAY_SIZE(image); n++)
        image[n] = host_load64(from + 8 * n);

    uint16_t code = (uint16_t)image[1], stack = (uint16_t)image[4];
    unsigned cpl = code & 3;
    /* What CPL 0 may change; RF counts only with breakpoints. */
    const uint32_t mask = FLAGS_STATUS | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
                          FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID;
    uint32_t flags = ((uint32_t)image[2] & mask) | (p->rflags & ~mask);
    struct segment cs, ss;
    if (!plain_segment(p, code, TYPE_CODE, TYPE_CODE_MASK, &cs) ||
        (cs.access_rights & (AR_L | AR_DB)) != AR_L || (stack & 3) != cpl ||
        !linear_is_canonical(p, image[0]) || !flags_are_plain(p, flags, cpl))
        return NULL;
    if (selector_is_null(stack)) {
        if (cpl == 3)
            return NULL;
        ss = (struct segment){
            .selector = stack,
            .access_rights = AR_UNUSABLE | AR_WITH_DPL(cpl),
            .limit = 0xffffffff,
        };
    } else if (!plain_segment(p, stack, TYPE_DATA, TYPE_DATA_MASK, &ss)) {
        return NULL;
    }
    if (cpl != 0 && !data_segments_stay(p, cpl))
        return NULL;
    p->segment[SEG_CS] = cs;
    p->segment[SEG_SS] = ss;
    p->gpr[REG_RSP] = image[3];
    return go(p, s, frame, image[0], cpl, flags);
}
