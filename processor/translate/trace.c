/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Translations shown to the outside: one block's code for a reader, all blocks' names for perf. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

struct tracer {
    bool wanted;      /* a block is kept */
    uint64_t address; /* that it covers */
    bool recording;   /* the block being translated is the one */
    int names;        /* perf's map, or -1 */
    struct processor_translation kept;
};

struct tracer *tracer_new(const struct processor_translator *how)
{
    if (!how->trace && !how->names)
        return NULL;
    struct tracer *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->wanted = how->trace;
    r->address = how->trace_address;
    r->names = how->names ? how->names_file : -1;
    return r;
}

/* As much of COUNT bytes as ROOM takes. */
static void keep(uint8_t *to, size_t room, const uint8_t *from, size_t count)
{
    memcpy(to, from, count < room ? count : room);
}

void tracer_free(struct tracer *r)
{
    free(r);
}

const struct processor_translation *tracer_kept(const struct tracer *r)
{
    return r && r->kept.guest_bytes ? &r->kept : NULL;
}

void tracer_name(struct tracer *r, const uint8_t *code, size_t bytes, const char *name)
{
    if (r && r->names >= 0)
        dprintf(r->names, "%lx %zx %s\n", (unsigned long)(uintptr_t)code, bytes, name);
}

/* Of the block that L is about to translate, which RIP is at. */
void tracer_begin(struct lowering *l)
{
    struct tracer *r = l->t->tracer;
    const struct code_block *b = l->b;
    if (!r || !r->wanted)
        return;
    r->recording = r->address - l->p->rip < b->bytes;
    if (!r->recording)
        return;
    r->kept = (struct processor_translation){
        .linear = l->p->rip,
        .bits = (b->mode & MODE_DECODE) == DECODE_64   ? 64
                : (b->mode & MODE_DECODE) == DECODE_32 ? 32
                                                       : 16,
        .guest_bytes = b->bytes,
    };
    code_block_copy(b, r->kept.guest, sizeof(r->kept.guest));
}

void tracer_part(struct lowering *l, enum processor_translation_kind kind)
{
    struct tracer *r = l->t->tracer;
    if (!r || !r->recording || r->kept.parts == ARRAY_SIZE(r->kept.part))
        return;
    r->kept.part[r->kept.parts++] = (struct processor_translation_part){
        .start = (uint16_t)(l->late_begin ? l->inline_bytes + (size_t)(l->e.at - l->late_begin)
                                          : (size_t)(l->e.at - l->begin)),
        .insn = (uint16_t)(l->i->offset - l->b->offset),
        .kind = (uint16_t)kind,
    };
}

void tracer_end(struct lowering *l)
{
    struct tracer *r = l->t->tracer;
    size_t inline_bytes = l->inline_bytes, late_bytes = (size_t)(l->e.at - l->late_begin);
    if (!r)
        return;
    const uint8_t *host = translator_executable(l->t, l->begin);
    const uint8_t *late_host = translator_executable(l->t, l->late_begin);
    char name[32];
    snprintf(name, sizeof(name), "guest_%lx", (unsigned long)l->p->rip);
    tracer_name(r, host, inline_bytes, name);
    snprintf(name, sizeof(name), "guest_%lx_late", (unsigned long)l->p->rip);
    tracer_name(r, late_host, late_bytes, name);
    if (!r->recording)
        return;
    r->recording = false;
    struct processor_translation *t = &r->kept;
    t->host = (uint64_t)(uintptr_t)host;
    t->late_host = (uint64_t)(uintptr_t)late_host;
    t->inline_bytes = (uint32_t)inline_bytes;
    t->code_bytes = (uint32_t)(inline_bytes + late_bytes);
    size_t kept = inline_bytes < sizeof(t->code) ? inline_bytes : sizeof(t->code);
    keep(t->code, sizeof(t->code), l->begin, inline_bytes);
    keep(t->code + kept, sizeof(t->code) - kept, l->late_begin, late_bytes);
}
