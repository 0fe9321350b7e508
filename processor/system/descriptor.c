/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Segment and system descriptors in the GDT and LDT (SDM volume 3, 3.4.5 and 3.5). */
#include "system.h"

bool descriptor_fetch(struct processor *p, uint16_t selector, unsigned size, struct descriptor *d)
{
    uint64_t base = p->gdtr.base;
    uint32_t limit = p->gdtr.limit;
    if (selector & 4) {
        const struct segment *ldt = &p->segment[SEG_LDTR];
        if (ldt->access_rights & AR_UNUSABLE)
            return false;
        base = ldt->base;
        limit = ldt->limit;
    }
    uint32_t offset = selector & 0xfff8;
    if (offset + size - 1 > limit)
        return false;
    d->linear = system_linear(p, base + offset);
    d->raw = system_read64(p, d->linear);
    return true;
}

struct segment descriptor_system_segment(struct processor *p, const struct descriptor *d,
                                         uint16_t selector)
{
    struct segment s = descriptor_segment(d, selector);
    if (p->mode & MODE_LONG) {
        uint64_t high = system_read64(p, d->linear + 8);
        s.base |= high << 32;
        if ((high >> 40 & 0x1f) != 0 || !base_is_canonical(p, s.base))
            raise_fault(p, VECTOR_GP, selector_error(selector));
    }
    return s;
}

void descriptor_set_type(struct processor *p, const struct descriptor *d, uint32_t bits,
                         struct segment *s)
{
    exclusive_begin(p);
    uint64_t type = mem_read_system(p, d->linear + 5, 1);
    mem_write_system(p, d->linear + 5, type | bits, 1);
    exclusive_end(p);
    s->access_rights |= bits;
}
