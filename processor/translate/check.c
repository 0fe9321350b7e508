/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lockstep: a translation and the interpreter run from the same state, and what they leave is
 * compared.
 *
 * The translation runs first, with no write tag in the TLB (no_write_tags), so that each store
 * passes slow_access and is noted with what it overwrites.  It ends at its first branch out of the
 * block, or before the first instruction that its handler would run.  Then memory and registers are
 * put back, the interpreter runs as many instructions, and its result stands.
 *
 * Only one processor may run, for the others' stores would look like differences.
 */
#include "internal.h"

#include "processor/decode/decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define STORES_MAX 128
#define TEXT_BYTES 8192

struct store {
    uint8_t *host;
    unsigned size;
    uint8_t before[32], after[32];
};

/* What is compared.  Of the system state, what translated code changes without its handlers. */
struct result {
    uint64_t gpr[16];
    uint64_t rip;
    uint32_t status, mxcsr;
    uint32_t rflags, cpl, mode;
    struct tlb *tlb;
    struct segment segment[SEG_COUNT];
    uint64_t flat_base[8], kernel_gs_base;
    uint32_t interruptibility; /* taken back, not compared: the translation may end in a shadow */
    uint8_t ymm[16 * 32];
    uint8_t x87[FX_X87_END];
};
_Static_assert(sizeof(((struct result *)0)->ymm) == sizeof(((struct vector_state *)0)->ymm), "all");

struct checker {
    struct store store[STORES_MAX];
    unsigned stores;
    bool lost; /* a store was not noted: nothing is compared */
    uint32_t live;
    uint64_t random;
    char text[TEXT_BYTES]; /* the first difference */
    size_t text_used;
};

struct checker *checker_new(void)
{
    struct checker *c = calloc(1, sizeof(*c));
    if (c)
        c->random = 0x9e3779b97f4a7c15ull;
    return c;
}

void checker_free(struct checker *c)
{
    free(c);
}

const char *translator_difference(const struct translator *t)
{
    return t->checker && t->checker->text_used ? t->checker->text : NULL;
}

void checker_live(struct checker *c, uint32_t live)
{
    c->live = live;
}

void checker_access(struct processor *p, const struct translate_site *s, uint8_t *host)
{
    struct checker *c = p->translator->checker;
    if (!s->write)
        return;
    if (c->stores == STORES_MAX) {
        c->lost = true;
        return;
    }
    struct store *store = &c->store[c->stores++];
    store->host = host;
    store->size = s->size;
    guest_copy(store->before, host, s->size);
}

static void take(const struct processor *p, struct result *r)
{
    memcpy(r->gpr, p->gpr, sizeof(r->gpr));
    r->rip = (p->mode & MODE_DECODE) == DECODE_64 ? p->rip : (uint32_t)p->rip;
    r->rflags = p->rflags;
    r->cpl = p->cpl;
    r->mode = p->mode;
    r->tlb = p->tlb;
    memcpy(r->segment, p->segment, sizeof(r->segment));
    memcpy(r->flat_base, p->flat_base, sizeof(r->flat_base));
    r->kernel_gs_base = p->msr.kernel_gs_base;
    r->interruptibility = p->interruptibility;
    r->status = p->status;
    r->mxcsr = p->vector.mxcsr;
    memcpy(r->ymm, p->vector.ymm, sizeof(r->ymm));
    memcpy(r->x87, p->vector.fxsave, sizeof(r->x87));
    memset(r->x87 + FX_MXCSR, 0, FX_ST - FX_MXCSR); /* not the guest's */
}

static void put_back(struct processor *p, const struct result *r)
{
    memcpy(p->gpr, r->gpr, sizeof(r->gpr));
    p->rip = r->rip;
    p->rflags = r->rflags;
    p->cpl = r->cpl;
    p->mode = r->mode;
    p->tlb = r->tlb;
    memcpy(p->segment, r->segment, sizeof(r->segment));
    memcpy(p->flat_base, r->flat_base, sizeof(r->flat_base));
    p->msr.kernel_gs_base = r->kernel_gs_base;
    p->interruptibility = r->interruptibility;
    p->status = r->status;
    p->vector.mxcsr = r->mxcsr;
    memcpy(p->vector.ymm, r->ymm, sizeof(r->ymm));
    memcpy(p->vector.fxsave, r->x87, FX_MXCSR);
    memcpy(p->vector.fxsave + FX_ST, r->x87 + FX_ST, FX_X87_END - FX_ST);
}

/* ---------------------------------------------------------------- the report */

__attribute__((format(printf, 2, 3))) static void tell(struct checker *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(c->text + c->text_used, TEXT_BYTES - c->text_used, format, arguments);
    va_end(arguments);
    if (n > 0)
        c->text_used += (size_t)n;
    if (c->text_used >= TEXT_BYTES)
        c->text_used = TEXT_BYTES - 1;
}

static void tell_result(struct checker *c, const char *who, const struct result *r)
{
    tell(c, "%s: rip %#llx status %#x rflags %#x cpl %u mode %#x mxcsr %#x", who,
         (unsigned long long)r->rip, r->status, r->rflags, r->cpl, r->mode, r->mxcsr);
    tell(c, " cs %#x ss %#x fs %#llx gs %#llx (%#llx)", r->segment[SEG_CS].selector,
         r->segment[SEG_SS].selector, (unsigned long long)r->segment[SEG_FS].base,
         (unsigned long long)r->segment[SEG_GS].base, (unsigned long long)r->kernel_gs_base);
    for (unsigned n = 0; n < 16; n++)
        tell(c, " %#llx", (unsigned long long)r->gpr[n]);
    tell(c, "\n");
}

static void tell_bytes(struct checker *c, const char *what, const uint8_t *bytes, size_t size)
{
    tell(c, "%s:", what);
    for (size_t n = 0; n < size; n++)
        tell(c, " %02x", bytes[n]);
    tell(c, "\n");
}

static void report(struct processor *p, const struct code_block *b, const struct result *before,
                   const struct result *ours, uint64_t count)
{
    struct checker *c = p->translator->checker;
    struct result theirs;
    if (c->text_used)
        return;
    take(p, &theirs);
    tell(c, "translation and interpreter differ after %llu instructions (flags %#x count)\n",
         (unsigned long long)count, c->live);
    tell_result(c, "before", before);
    tell_result(c, "translation", ours);
    tell_result(c, "interpreter", &theirs);
    for (unsigned n = 0; n < c->stores; n++) {
        const struct store *s = &c->store[n];
        tell_bytes(c, "memory before", s->before, s->size);
        tell_bytes(c, "translation", s->after, s->size);
        tell_bytes(c, "interpreter", s->host, s->size);
    }
    uint8_t code[PAGE_BYTES];
    code_block_copy(b, code, sizeof(code));
    tell_bytes(c, "guest code", code, b->bytes);
    tell_bytes(c, "host code", b->start, b->host_bytes);
}

/* ---------------------------------------------------------------- a comparison */

static bool same_memory(const struct checker *c)
{
    for (unsigned n = 0; n < c->stores; n++) {
        if (!guest_equal(c->store[n].host, c->store[n].after, c->store[n].size))
            return false;
    }
    return true;
}

/* Takes the stores back, keeping what they left. */
static void undo_stores(struct checker *c)
{
    for (unsigned n = 0; n < c->stores; n++)
        guest_copy(c->store[n].after, c->store[n].host, c->store[n].size);
    for (unsigned n = c->stores; n-- > 0;)
        guest_copy(c->store[n].host, c->store[n].before, c->store[n].size);
}

/* Now and then the TLB or the caches are emptied, so that misses and evictions happen anywhere. */
static void disturb(struct processor *p)
{
    struct translator *t = p->translator;
    uint64_t *x = &t->checker->random;
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    if (*x % 512 == 0)
        tlb_flush_all(p);
    if (*x % 16384 == 0)
        t->full = true;
}

/* Flags that have defined values after the first COUNT instructions of B: what an instruction
 * leaves undefined, host and interpreter may leave differently. */
static uint32_t defined_flags(const struct code_block *b, uint64_t count)
{
    uint32_t defined = FLAGS_STATUS;
    for (unsigned n = 0; n < count && n < b->count; n++) {
        const struct insn_attr *a = b->insn[n].attr;
        defined = (defined & ~(uint32_t)a->flags_undefined) | (a->flags_written & FLAGS_STATUS);
    }
    return defined;
}

static bool same_segments(const struct result *a, const struct result *b)
{
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        const struct segment *s = &a->segment[n], *t = &b->segment[n];
        if (s->selector != t->selector || s->access_rights != t->access_rights ||
            s->limit != t->limit || s->base != t->base)
            return false;
    }
    return !memcmp(a->flat_base, b->flat_base, sizeof(a->flat_base)) &&
           a->kernel_gs_base == b->kernel_gs_base;
}

static bool same_state(const struct result *a, const struct result *b, uint32_t live)
{
    return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip &&
           !((a->status ^ b->status) & live) && a->mxcsr == b->mxcsr && a->rflags == b->rflags &&
           a->cpl == b->cpl && a->mode == b->mode && a->tlb == b->tlb && same_segments(a, b) &&
           !memcmp(a->ymm, b->ymm, sizeof(a->ymm)) && !memcmp(a->x87, b->x87, sizeof(a->x87));
}

bool checker_run(struct processor *p, struct code_block *b)
{
    struct translator *t = p->translator;
    struct checker *c = t->checker;
    struct result before, ours, theirs;
    take(p, &before);
    uint64_t count = p->icount;
    disturb(p);
    c->stores = 0;
    c->lost = false;
    c->live = FLAGS_STATUS;
    t->enter(p, b->start);
    count = p->icount - count;
    if (count == 0) {
        put_back(p, &before);
        return false;
    }
    if (c->lost)
        return true;
    take(p, &ours);
    p->icount -= count;
    c->live &= defined_flags(b, count);
    undo_stores(c);
    put_back(p, &before);
    run_instructions(p, count);
    t->counts.compared++;
    take(p, &theirs);
    if (!same_state(&ours, &theirs, c->live) || !same_memory(c)) {
        t->counts.differences++;
        report(p, b, &before, &ours, count);
    }
    return true;
}
