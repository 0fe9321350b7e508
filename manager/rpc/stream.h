/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stream: a guest's console and a client, joined by frames that carry the serial of the call that
 * opened it.  Data go both ways until the client finishes or aborts, or the console ends: then an
 * empty frame says so, and the client finishes.
 *
 * Nothing piles up: the console is not read while the client's queue is long, and a stream whose
 * guest does not take STREAM_INPUT_MAX bytes of input ends with an error.
 */
#ifndef TRAPEZE_MANAGER_STREAM_H
#define TRAPEZE_MANAGER_STREAM_H

#include "manager/rpc/client.h"

#define STREAM_INPUT_MAX (256u << 10)

struct stream;

/* Joins FD (domain_console_open's of D) and the client of CALL; the client keeps it. */
void stream_new(struct call *call, struct domain *d, int fd);
void stream_free(struct stream *s);
/* The serial of its frames. */
uint32_t stream_serial(const struct stream *s);
/* A frame of the client's; false when no stream of CLIENT has its serial and procedure. */
bool stream_frame(struct client *c, const struct frame *f);
/* The client's queue is short again. */
void stream_drained(struct stream *s);

#endif
