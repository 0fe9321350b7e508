/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client on a connected socket: what it sends is handed on as it comes, what is sent to it is
 * queued. Nothing waits, and what is queued is bounded: while much of it waits, the client's input
 * does too, and beyond a bound the client is dropped.  All on the main context.
 */
#ifndef TRAPEZE_STREAM_H
#define TRAPEZE_STREAM_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define STREAM_BUSY (64u << 10) /* so much output holds up the input */
#define STREAM_MAX  (1u << 20)  /* more ends the stream */

struct stream;

struct stream_client {
    /* Takes some of DATA, at least a byte, and returns how many; the rest comes again. */
    size_t (*input)(void *opaque, const uint8_t *data, size_t length);
    /* The other side is gone, or was dropped: the last call, in which to free the stream. */
    void (*ended)(void *opaque);
};

/* Serves FD, which becomes the stream's, on CONTEXT.  CLIENT stays the caller's. */
struct stream *stream_new(GMainContext *context, int fd, const struct stream_client *client,
                          void *opaque);
void stream_free(struct stream *s);

/* Queues data, and sends what goes at once.  False when the stream has ended, or does so because
 * too much waits: then `ended` is called later. */
bool stream_write(struct stream *s, const void *data, size_t length);
/* Sends what goes within a moment: for last words. */
void stream_flush(struct stream *s);
/* Ends the stream; `ended` is called later. */
void stream_end(struct stream *s);

#endif
