/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames: writing them, and taking them out of a byte stream. */
#include "manager/rpc/frame.h"

#include <string.h>

#define FIRST_ROOM 4096

void frame_append(GByteArray *bytes, const struct frame *f)
{
    const uint32_t words[] = {(uint32_t)(FRAME_HEADER_SIZE + f->size),
                              f->program,
                              f->version,
                              f->procedure,
                              f->type,
                              f->serial,
                              f->status};

    G_STATIC_ASSERT(sizeof(words) == FRAME_HEADER_SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        uint32_t word = GUINT32_TO_BE(words[i]);
        g_byte_array_append(bytes, (const guint8 *)&word, sizeof(word));
    }
    if (f->size)
        g_byte_array_append(bytes, f->payload, (guint)f->size);
}

void frame_stream_init(struct frame_stream *s)
{
    *s = (struct frame_stream){};
}

void frame_stream_clear(struct frame_stream *s)
{
    g_free(s->data);
    frame_stream_init(s);
}

uint8_t *frame_stream_room(struct frame_stream *s, size_t *size)
{
    if (s->at == s->end) {
        s->at = s->end = 0;
        /* A large message does not leave its memory behind. */
        if (s->capacity > FIRST_ROOM) {
            g_clear_pointer(&s->data, g_free);
            s->capacity = 0;
        }
    }
    if (s->at) {
        memmove(s->data, s->data + s->at, s->end - s->at);
        s->end -= s->at;
        s->at = 0;
    }
    if (s->capacity - s->end < FIRST_ROOM / 4) {
        s->capacity = s->capacity ? s->capacity * 2 : FIRST_ROOM;
        s->data = g_realloc(s->data, s->capacity);
    }
    *size = s->capacity - s->end;
    return s->data + s->end;
}

void frame_stream_came(struct frame_stream *s, size_t size)
{
    s->end += size;
}

static uint32_t word(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT32_FROM_BE(value);
}

/* How many bytes follow the frame, each with a descriptor. */
static bool descriptors(struct frame_stream *s, struct frame *f)
{
    uint32_t count = f->size >= 4 ? word(f->payload) : UINT32_MAX;

    if (count > FRAME_FDS_MAX)
        return false;
    f->payload += 4;
    f->size -= 4;
    s->skip = count;
    return true;
}

bool frame_stream_next(struct frame_stream *s, struct frame *f)
{
    size_t skip = MIN(s->skip, s->end - s->at);

    s->skip -= (unsigned)skip;
    s->at += skip;
    if (s->failed || s->skip || s->end - s->at < 4)
        return false;
    const uint8_t *data = s->data + s->at;
    uint32_t length = word(data);
    if (length < FRAME_HEADER_SIZE || length > FRAME_MAX) {
        s->failed = true;
        return false;
    }
    if (s->end - s->at < length)
        return false;
    *f = (struct frame){.program = word(data + 4),
                        .version = word(data + 8),
                        .procedure = word(data + 12),
                        .type = word(data + 16),
                        .serial = word(data + 20),
                        .status = word(data + 24),
                        .payload = data + FRAME_HEADER_SIZE,
                        .size = length - FRAME_HEADER_SIZE};
    s->at += length;
    if ((f->type == FRAME_CALL_FDS || f->type == FRAME_REPLY_FDS) && !descriptors(s, f)) {
        s->failed = true;
        return false;
    }
    return true;
}
