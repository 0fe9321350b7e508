/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* LAR, LSL, VERR, VERW and ARPL: looking at selectors without loading them (SDM volume 2; volume 3,
 * 5.10). */
#include "system.h"

#define ALL_GATES     (1u << SYSTEM_CALL_GATE16 | 1u << SYSTEM_TASK_GATE | 1u << SYSTEM_CALL_GATE)
#define LONG_SEGMENTS (1u << SYSTEM_LDT | 1u << SYSTEM_TSS | 1u << SYSTEM_TSS_BUSY)
#define ALL_SEGMENTS  (LONG_SEGMENTS | 1u << SYSTEM_TSS16 | 1u << SYSTEM_TSS16_BUSY)

static uint16_t selector_operand(struct processor *p, const struct insn *i)
{
    return i->mod3 ? (uint16_t)p->gpr[i->rm] : mem_read16(p, insn_linear(p, i, 2, MEM_READ));
}

/* Reads the descriptor of SELECTOR.  Returns false when it is not visible at CPL and the selector's
 * RPL, or is a system descriptor whose type is not in SYSTEM_TYPES (a bit each). */
static bool visible(struct processor *p, uint16_t selector, uint32_t system_types,
                    struct segment *s)
{
    struct descriptor d;
    if (selector_is_null(selector) || !descriptor_fetch(p, selector, 8, &d))
        return false;
    *s = descriptor_segment(&d, selector);
    if (!(s->access_rights & AR_S) && !(system_types >> (s->access_rights & AR_TYPE) & 1))
        return false;
    if (segment_is_code(s) && segment_is_conforming(s))
        return true;
    unsigned dpl = segment_dpl(s);
    return dpl >= p->cpl && dpl >= (selector & 3u);
}

static void set_zf(struct processor *p, bool zf)
{
    p->status = (p->status & ~FLAG_ZF) | (zf ? FLAG_ZF : 0);
}

const struct insn *system_lar(struct processor *p, const struct insn *i)
{
    require_protected(p);
    uint32_t types =
        p->mode & MODE_LONG ? LONG_SEGMENTS | 1u << SYSTEM_CALL_GATE : ALL_SEGMENTS | ALL_GATES;
    uint16_t selector = selector_operand(p, i);
    struct segment s;
    bool ok = visible(p, selector, types, &s);
    if (ok) {
        /* The second doubleword's type, DPL, P, AVL, L, D/B and G stand where access rights have
         * them, eight bits up; bits 19:16 are the limit's and undefined. */
        reg_write(p, i->reg, (uint64_t)s.access_rights << 8, i->opsize);
    }
    set_zf(p, ok);
    return i + 1;
}

const struct insn *system_lsl(struct processor *p, const struct insn *i)
{
    require_protected(p);
    uint32_t types = p->mode & MODE_LONG ? LONG_SEGMENTS : ALL_SEGMENTS;
    uint16_t selector = selector_operand(p, i);
    struct segment s;
    bool ok = visible(p, selector, types, &s);
    if (ok)
        reg_write(p, i->reg, s.limit, i->opsize);
    set_zf(p, ok);
    return i + 1;
}

const struct insn *system_verr(struct processor *p, const struct insn *i)
{
    require_protected(p);
    struct segment s;
    bool ok = visible(p, selector_operand(p, i), 0, &s) &&
              (!segment_is_code(&s) || s.access_rights & AR_WRITE_OR_READ);
    set_zf(p, ok);
    return i + 1;
}

const struct insn *system_verw(struct processor *p, const struct insn *i)
{
    require_protected(p);
    struct segment s;
    bool ok = visible(p, selector_operand(p, i), 0, &s) && segment_is_writable_data(&s);
    set_zf(p, ok);
    return i + 1;
}

const struct insn *system_arpl(struct processor *p, const struct insn *i)
{
    require_protected(p);
    uint64_t linear = 0;
    uint16_t to;
    if (i->mod3) {
        to = (uint16_t)p->gpr[i->rm];
    } else {
        linear = insn_linear(p, i, 2, MEM_READ | MEM_WRITE);
        to = mem_read16(p, linear);
    }
    unsigned rpl = p->gpr[i->reg] & 3;
    bool raise = (to & 3u) < rpl;
    if (raise) {
        uint16_t adjusted = (uint16_t)((to & ~3u) | rpl);
        if (i->mod3)
            reg_write(p, i->rm, adjusted, 2);
        else
            mem_write16(p, linear, adjusted);
    }
    set_zf(p, raise);
    return i + 1;
}
