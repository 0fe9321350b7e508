/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A processor's cache of decoded blocks. */
#include "internal.h"

#include "processor/decode/decode.h"
#include "processor/translate/translate.h"

#include <stdlib.h>
#include <sys/mman.h>

#define CACHE_BYTES (64ul << 20) /* address space; memory is taken as it fills */
#define BLOCK_INSNS 48
#define INSN_MAX    15 /* bytes */

struct code_cache *code_cache_new(void)
{
    struct code_cache *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->arena = mmap(NULL, CACHE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->arena == MAP_FAILED) {
        free(c);
        return NULL;
    }
    return c;
}

void code_cache_free(struct code_cache *c)
{
    if (!c)
        return;
    munmap(c->arena, CACHE_BYTES);
    free(c);
}

void code_cache_empty(struct processor *p)
{
    struct code_cache *c = p->code;
    memset(c->bucket, 0, sizeof(c->bucket));
    c->used = 0;
    p->link = NULL;
    tlb_flush_all(p); /* its jump entries point to blocks */
    if (p->translator)
        translator_empty(p->translator);
}

static struct code_block *block_allocate(struct processor *p)
{
    size_t most = sizeof(struct code_block) + (BLOCK_INSNS + 1) * sizeof(struct insn);
    if (p->code->used + most > CACHE_BYTES)
        code_cache_empty(p);
    return (struct code_block *)(p->code->arena + p->code->used);
}

static void block_keep(struct processor *p, struct code_block *b)
{
    size_t size = sizeof(*b) + (b->count + 1u) * sizeof(struct insn);
    p->code->used += ALIGN_UP(size, 16);
}

void code_bind(struct processor *p, struct insn *i)
{
    switch (i->attr->class) {
    case CLASS_GENERAL:
        i->exec = exec_bind(i, p->mode);
        break;
    case CLASS_SYSTEM:
        i->exec = system_bind(i, p->mode);
        break;
    case CLASS_VECTOR:
        i->exec = vector_bind(p, i);
        break;
    default:
        i->exec = exec_invalid;
        break;
    }
}

const struct insn *exec_end(struct processor *p, const struct insn *i)
{
    p->icount--; /* the run loop counts the marker as an instruction */
    if (likely(i->disp && !atomic_load_explicit(&p->poll, memory_order_relaxed)))
        return (const struct insn *)(uintptr_t)i->disp;
    p->rip = insn_rip(p, i);
    p->link = i;
    return NULL;
}

static const struct insn_attr end_attr = {.name = "(end of block)", .class = CLASS_INVALID};

static void end_marker(struct insn *i, unsigned offset)
{
    *i = (struct insn){.exec = exec_end, .attr = &end_attr, .offset = (uint16_t)offset};
}

static enum decode_mode mode_of(const struct processor *p)
{
    return (enum decode_mode)(p->mode & MODE_DECODE);
}

/* Decodes from C's copy at OFFSET into B, up to END, where what was marked ends. */
static void block_fill(struct processor *p, struct code_block *b, struct code_page *c,
                       unsigned offset, unsigned end)
{
    unsigned at = offset;
    b->count = 0;
    while (b->count < BLOCK_INSNS && at < end) {
        struct insn *i = &b->insn[b->count];
        enum decode_result r = insn_decode(c->copy + at, end - at, mode_of(p), (uint16_t)at, i);
        if (r == DECODE_MORE || r == DECODE_TOO_LONG)
            break;
        code_bind(p, i);
        b->count++;
        at += i->length;
        /* Conditional branches fall through into the rest of the block. */
        uint64_t traits = i->attr->traits;
        bool conditional = traits & TRAIT_COND && traits & TRAIT_BRANCH;
        if (i->attr->class == CLASS_INVALID ||
            (traits & (TRAIT_BRANCH | TRAIT_ENDS_BLOCK) && !conditional))
            break;
    }
    b->bytes = (uint16_t)(at - offset);
    end_marker(&b->insn[b->count], at);
}

/* A block of C at LINEAR, still without instructions.  What is written from now on makes it a dead
 * one, so what it is decoded from is to be marked after this. */
static struct code_block *block_begin(struct processor *p, struct code_page *c, uint64_t linear)
{
    struct code_block *b = block_allocate(p);
    *b = (struct code_block){
        .hva = c->hva + (linear & PAGE_OFFSET_MASK),
        .page = c,
        .generation = atomic_load(&c->generation),
        .mode = p->mode & CODE_MODE,
        .linear = code_base(p, linear),
        .offset = linear & PAGE_OFFSET_MASK,
    };
    if (code_block_is_fixed(b))
        code_page_fix(c, b->linear);
    if (p->translator)
        translator_prepare(p->translator, b);
    return b;
}

static struct code_block *block_make(struct processor *p, struct code_page *c, uint64_t linear)
{
    /* How far the block reaches is known only after decoding, so what it may reach is marked. */
    unsigned offset = linear & PAGE_OFFSET_MASK, reach = (unsigned)PAGE_BYTES - offset;
    if (reach > 256)
        reach = 256;
    struct code_block *b = block_begin(p, c, linear);
    code_page_mark(p, c, offset, reach);
    pthread_mutex_lock(&c->lock);
    block_fill(p, b, c, offset, offset + reach);
    pthread_mutex_unlock(&c->lock);
    return b->count ? b : NULL;
}

/* Copies SIZE bytes of C's copy at OFFSET, marked before. */
static void take_bytes(struct processor *p, struct code_page *c, unsigned offset, unsigned size,
                       uint8_t *to)
{
    code_page_mark(p, c, offset, size);
    pthread_mutex_lock(&c->lock);
    memcpy(to, c->copy + offset, size);
    pthread_mutex_unlock(&c->lock);
}

/* A block of the one instruction at LINEAR, which crosses into the next page, for its translation:
 * the interpreter runs it by code_straddle.  NULL where there can be none, or the TLB does not have
 * that page yet. */
static struct code_block *block_make_crossing(struct processor *p, struct code_page *c,
                                              uint64_t linear)
{
    uint64_t next = (linear & ~PAGE_OFFSET_MASK) + PAGE_BYTES;
    const struct tlb_entry *e = tlb_entry(p, next);
    if (!p->translator || mode_of(p) != DECODE_64 || e->fetch != next)
        return NULL;
    struct code_page *second = code_page_get(p->memory, (const uint8_t *)(uintptr_t)e->host);
    if (!second)
        return NULL;
    unsigned offset = linear & PAGE_OFFSET_MASK, left = (unsigned)PAGE_BYTES - offset;
    uint8_t bytes[2 * INSN_MAX];
    if (left >= INSN_MAX)
        return NULL;
    struct code_block *b = block_begin(p, c, linear);
    b->second = second;
    b->second_generation = atomic_load(&second->generation);
    take_bytes(p, c, offset, left, bytes);
    take_bytes(p, second, 0, INSN_MAX, bytes + left);
    if (insn_decode(bytes, left + INSN_MAX, mode_of(p), (uint16_t)offset, &b->insn[0]) !=
            DECODE_OK ||
        b->insn[0].length <= left)
        return NULL;
    code_bind(p, &b->insn[0]);
    b->count = 1;
    b->bytes = b->insn[0].length;
    end_marker(&b->insn[1], offset + b->bytes);
    return b;
}

struct code_block *code_lookup(struct processor *p, const uint8_t *hva, uint64_t linear)
{
    uint32_t mode = p->mode & CODE_MODE;
    uint64_t base = code_base(p, linear);
    struct code_block **link = code_bucket(p, hva, mode);
    bool crosses = false;
    for (struct code_block *b = *link; b; b = *link) {
        if (b->hva != hva || b->mode != mode || b->linear != base) {
            link = &b->chain;
        } else if (!code_block_valid(b)) {
            *link = b->chain; /* dead: its memory comes back when the cache is emptied */
        } else if (code_block_stands(p, b, linear)) {
            return b;
        } else {
            crosses = true;
            link = &b->chain;
        }
    }
    struct code_page *c = code_page_get(p->memory, hva);
    struct code_block *b = c && !crosses ? block_make(p, c, linear) : NULL;
    if (c && !b)
        b = block_make_crossing(p, c, linear);
    if (!b)
        return NULL;
    block_keep(p, b);
    struct code_block **head = code_bucket(p, hva, mode);
    b->chain = *head;
    *head = b;
    return b;
}

/* How many of B's bytes are in its first page. */
static unsigned first_bytes(const struct code_block *b)
{
    unsigned left = (unsigned)PAGE_BYTES - b->offset;
    return b->bytes < left ? b->bytes : left;
}

bool code_block_verify(const struct code_block *b)
{
    const struct code_page *c = b->page, *second = b->second;
    unsigned first = first_bytes(b);
    return guest_equal(c->copy + b->offset, c->hva + b->offset, first) &&
           (!second || guest_equal(second->copy, second->hva, b->bytes - first));
}

void code_block_copy(const struct code_block *b, uint8_t *to, unsigned room)
{
    unsigned first = first_bytes(b), rest = b->bytes - first;
    first = first < room ? first : room;
    rest = rest < room - first ? rest : room - first;
    memcpy(to, b->page->copy + b->offset, first);
    if (rest)
        memcpy(to + first, b->second->copy, rest);
}

/* ---- instructions that cross a page ---- */

/* Fetches up to 15 bytes at LINEAR, whose first page is known to be executable: the second page is
 * touched only if the instruction reaches it. */
static unsigned straddle_fetch(struct processor *p, uint64_t linear, uint8_t *bytes)
{
    unsigned done = 0;
    while (done < 15) {
        uint64_t at = linear + done;
        if (!(p->mode & MODE_LONG))
            at = (uint32_t)at;
        struct tlb_entry *e = tlb_entry(p, at);
        uint8_t *hva;
        if ((at & ~PAGE_OFFSET_MASK) == e->fetch) {
            hva = (uint8_t *)(e->host + (at & PAGE_OFFSET_MASK));
        } else {
            enum tlb_class class = (enum tlb_class)(p->tlb - p->tlb_set->class);
            uint64_t gpa;
            hva = access_translate(p, p->tlb, at, FOR_FETCH, tlb_class_as(p, class), &gpa);
            if (!hva) {
                p->vmcs.guest_physical_address = gpa;
                vm_exit(p, EXIT_REASON_FETCH, 0);
            }
        }
        unsigned left = (unsigned)(PAGE_BYTES - (at & PAGE_OFFSET_MASK));
        unsigned size = left < 15 - done ? left : 15 - done;
        guest_copy(bytes + done, hva, size);
        done += size;
        if (done < 15) {
            /* Is the part so far a whole instruction?  Then the next page must not be touched. */
            struct insn i;
            if (insn_decode(bytes, done, mode_of(p), 0, &i) != DECODE_MORE)
                return done;
        }
    }
    return done;
}

const struct insn *code_straddle(struct processor *p, uint64_t linear)
{
    uint8_t bytes[16];
    unsigned size = straddle_fetch(p, linear, bytes);
    uint16_t offset = linear & PAGE_OFFSET_MASK;
    struct insn *i = &p->straddle[0];
    if (p->straddle_length == size && !memcmp(p->straddle_bytes, bytes, size) &&
        p->straddle_mode == (p->mode & CODE_MODE) && i->offset == offset)
        return i;
    p->straddle_length = 0;
    enum decode_result r = insn_decode(bytes, size, mode_of(p), offset, i);
    if (r == DECODE_TOO_LONG || r == DECODE_MORE)
        raise_gp(p);
    code_bind(p, i);
    end_marker(&p->straddle[1], offset + i->length);
    p->straddle[1].exec = exec_end;
    memcpy(p->straddle_bytes, bytes, size);
    p->straddle_length = (uint8_t)size;
    p->straddle_mode = p->mode & CODE_MODE;
    return i;
}

const struct insn *code_alone(struct processor *p, const struct insn *i)
{
    p->step[0] = *i;
    if (i->attr->operand[0].kind == OPERAND_REL)
        p->step[0].disp = 0; /* not chained */
    end_marker(&p->step[1], i->offset + i->length);
    return p->step;
}
