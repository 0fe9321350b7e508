/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The code cache, and running translations. */
#include "internal.h"

#include <stdlib.h>
#include <sys/mman.h>

#define CODE_BYTES (64ul << 20) /* address space; memory is taken as it fills */
#define SITE_COUNT (1u << 20)

/* ---------------------------------------------------------------- the cache */

/* Shared anonymous memory can be mapped a second time, and perf looks names in it up in its map. */
static bool map_code(struct translator *t)
{
    t->executable = MAP_FAILED;
    t->writable = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (t->writable == MAP_FAILED)
        return false;
    t->executable = mremap(t->writable, 0, CODE_BYTES, MREMAP_MAYMOVE);
    return t->executable != MAP_FAILED &&
           !mprotect(t->executable, CODE_BYTES, PROT_READ | PROT_EXEC);
}

struct translator *translator_new(unsigned threshold, const struct processor_translator *how)
{
    bool check = how->check;
    struct translator *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->threshold = threshold;
    t->check = check;
    t->count = check || how->count;
    t->sites = mmap(NULL, SITE_COUNT * sizeof(*t->sites), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    t->links = mmap(NULL, SITE_COUNT * sizeof(*t->links), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (check)
        t->checker = checker_new();
    if (t->sites == MAP_FAILED || t->links == MAP_FAILED || !map_code(t) ||
        (check && !t->checker)) {
        translator_free(t);
        return NULL;
    }
    thunks_make(t);
    t->counts.capacity =
        how->code_bytes && how->code_bytes < CODE_BYTES ? how->code_bytes : CODE_BYTES;
    t->late_used = t->late_start = ALIGN_UP(t->counts.capacity / 2, 64);
    t->tracer = tracer_new(how);
    if ((how->trace || how->names) && !t->tracer) {
        translator_free(t);
        return NULL;
    }
    tracer_name(t->tracer, t->executable, t->thunk_bytes, "trapeze_thunks");
    return t;
}

void translator_free(struct translator *t)
{
    if (!t)
        return;
    if (t->sites && t->sites != MAP_FAILED)
        munmap(t->sites, SITE_COUNT * sizeof(*t->sites));
    if (t->links && t->links != MAP_FAILED)
        munmap(t->links, SITE_COUNT * sizeof(*t->links));
    if (t->writable && t->writable != MAP_FAILED)
        munmap(t->writable, CODE_BYTES);
    if (t->executable && t->executable != MAP_FAILED)
        munmap(t->executable, CODE_BYTES);
    checker_free(t->checker);
    tracer_free(t->tracer);
    free(t);
}

void translator_empty(struct translator *t)
{
    t->used = t->thunk_bytes;
    t->late_used = t->late_start;
    t->site_count = 0;
    t->full = false;
    t->pending = 0;
    t->link_count = 0;
    t->counts.emptied++;
}

void translator_prepare(const struct translator *t, struct code_block *b)
{
    b->jump = t->cold;
}

const struct processor_translation *translator_kept(const struct translator *t)
{
    return tracer_kept(t->tracer);
}

const struct processor_translator_counts *translator_counts(const struct translator *t)
{
    return &t->counts;
}

/* ---------------------------------------------------------------- running */

static bool translate(struct processor *p, struct code_block *b, uint64_t linear)
{
    struct translator *t = p->translator;
    if (++b->heat < t->threshold || !code_block_settled(b))
        return false;
    if (t->used + BLOCK_CODE_BYTES > t->late_start ||
        t->late_used + BLOCK_CODE_BYTES > t->counts.capacity ||
        t->site_count + BLOCK_SITES > SITE_COUNT) {
        t->full = true;
        return false;
    }
    pthread_mutex_lock(&b->page->lock);
    bool valid = code_block_valid(b);
    if (valid)
        lower_block(p, b, linear);
    pthread_mutex_unlock(&b->page->lock);
    t->counts.bytes = t->used + (t->late_used - t->late_start);
    return valid;
}

bool translator_full(const struct translator *t)
{
    return t->full;
}

/* Outside 64-bit mode what leads out of a translation has the key of a jump entry. */
static void truncate_rip(struct processor *p)
{
    if ((p->mode & MODE_DECODE) != DECODE_64)
        p->rip = (uint32_t)p->rip;
}

bool translator_run(struct processor *p, struct code_block *b, uint64_t linear)
{
    struct translator *t = p->translator;
    if (!b->start && !translate(p, b, linear)) {
        t->pending = 0;
        return false;
    }
    if (b->vector > vector_level(p) || (b->x87 && !x87_native(p))) {
        t->pending = 0;
        return false;
    }
    link_to(t, b);
    /* The jump entry may be older than the translation. */
    struct jump_entry *j = &p->tlb->jumps->entry[jump_index(p->tlb->jumps, linear)];
    if (j->linear == jump_key(p->mode, linear))
        j->code = b->jump;
    p->gpr[REG_CODE] = linear & ~PAGE_OFFSET_MASK;
    p->insn = NULL;
    p->running = NULL;
    p->link = NULL;
    t->counts.entries++;
    if (t->check)
        return checker_run(p, b);
    t->enter(p, b->start);
    truncate_rip(p);
    return true;
}
