/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cuts a stream of bytes into JSON texts, which need no line ends between them. */
#ifndef TRAPEZE_MONITOR_READER_H
#define TRAPEZE_MONITOR_READER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define READER_SIZE_MAX  (1u << 20)
#define READER_DEPTH_MAX 64

struct reader {
    GByteArray *text; /* of the value that is being read */
    unsigned depth;
    bool inside;  /* a value has begun */
    bool bracket; /* with a bracket */
    bool string, escape;
};

enum reader_result {
    READER_MORE,      /* all bytes were taken, and no value is whole */
    READER_VALUE,     /* reader->text is a value, or what stands where one should */
    READER_TOO_LARGE, /* these two cannot be gone on from */
    READER_TOO_DEEP,
};

void reader_init(struct reader *r);
void reader_clear(struct reader *r);
/* Takes bytes of DATA, *used of them, up to the end of the next value. */
enum reader_result reader_put(struct reader *r, const uint8_t *data, size_t length, size_t *used);

#endif
