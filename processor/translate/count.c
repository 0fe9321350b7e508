/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What --stats tells of translations: why they called C. */
#include "internal.h"

const char *processor_miss_name(enum processor_miss kind)
{
    static const char *const names[] = {
        [MISS_EMPTY] = "entry was empty", [MISS_OTHER_PAGE] = "other page's entry",
        [MISS_WRITE_TAG] = "first write", [MISS_FAULT] = "page fault",
        [MISS_DEVICE] = "device or ROM",  [MISS_CODE_PAGE] = "write beside code",
        [MISS_CROSSING] = "page crossed", [MISS_CHECKED] = "alignment, breakpoint",
    };
    _Static_assert(ARRAY_SIZE(names) == PROCESSOR_MISSES, "each kind has a name");
    return kind < PROCESSOR_MISSES ? names[kind] : "?";
}

static const char *const op_names[] = {
#define X(name) #name,
    OP_LIST(X)
#undef X
};

void count_handler(struct translator *t, const struct insn *i)
{
    t->counts.handlers++;
    t->handled[i->attr->op]++;
}

/* True when the tag is of a page that E, LINEAR's entry, is for: dead tags are another entry's. */
static bool alive(uint64_t tag, uint64_t linear)
{
    return !((tag ^ linear) >> PAGE_BITS & (TLB_ENTRIES - 1));
}

enum processor_miss count_kind(struct processor *p, uint64_t linear, bool write)
{
    const struct tlb_entry *e = tlb_entry(p, linear);
    uint64_t page = linear & ~PAGE_OFFSET_MASK;
    if (write && e->read == page)
        return MISS_WRITE_TAG;
    return alive(e->read, linear) || alive(e->fetch, linear) ? MISS_OTHER_PAGE : MISS_EMPTY;
}

enum processor_miss count_refused(struct processor *p, uint64_t linear)
{
    const struct tlb_entry *e = tlb_entry(p, linear);
    uint64_t page = linear & ~PAGE_OFFSET_MASK;
    if (p->mode & MODE_ALIGN || p->slow & SLOW_BREAKPOINT)
        return MISS_CHECKED;
    if (e->read == page && code_page_holds_code(p->memory, (const uint8_t *)(uintptr_t)e->host))
        return MISS_CODE_PAGE;
    return MISS_DEVICE;
}

unsigned processor_get_handler_counts(const struct processor *p,
                                      struct processor_handler_count *out, unsigned room)
{
    unsigned filled = 0;
    for (unsigned op = 0; p->translator && op < OP_COUNT && filled < room; op++) {
        if (p->translator->handled[op])
            out[filled++] =
                (struct processor_handler_count){op_names[op], p->translator->handled[op]};
    }
    return filled;
}
