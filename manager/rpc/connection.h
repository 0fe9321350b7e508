/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection: frames to and from one client's socket, on the main loop, never blocking.
 *
 * What goes out is queued.  A client that does not read makes the queue grow: from
 * CONNECTION_BACKLOG bytes on nothing more is read from it (connection_busy tells others that
 * produce), and past CONNECTION_QUEUE_MAX it is dropped.  Keepalive frames are answered here; once
 * connection_keepalive was called, a client that is silent for CONNECTION_SILENCE intervals is
 * dropped, too.
 */
#ifndef TRAPEZE_MANAGER_CONNECTION_H
#define TRAPEZE_MANAGER_CONNECTION_H

#include "manager/rpc/frame.h"

#define CONNECTION_BACKLOG   (1u << 20)
#define CONNECTION_QUEUE_MAX (FRAME_MAX + (4u << 20))
#define CONNECTION_INTERVAL  5 /* seconds between pings */
#define CONNECTION_SILENCE   5

struct connection;

struct connection_ops {
    /* A frame came (never one of the keepalive program); its payload is valid for the call. */
    void (*frame)(void *data, const struct frame *f);
    /* The queue is below CONNECTION_BACKLOG again. */
    void (*drained)(void *data);
    /* Over: the peer has gone, sent what is no frame, or was dropped.  Comes once, from the main
     * loop; WHY is for the log.  Then the owner frees the connection. */
    void (*ended)(void *data, const char *why);
};

/* Takes FD over. */
struct connection *connection_new(int fd, const struct connection_ops *ops, void *data);
/* Closes without calling ended. */
void connection_free(struct connection *c);

/* Queues a frame, header and payload; does nothing once the connection has ended. */
void connection_send(struct connection *c, const struct frame *f);
/* Ends the connection from our side: at once, or when DRAIN after what is queued was sent. */
void connection_end(struct connection *c, const char *why, bool drain);
/* The queue is at CONNECTION_BACKLOG or above. */
bool connection_busy(const struct connection *c);
/* Stops, and goes on, taking frames (the owner has enough to do). */
void connection_hold(struct connection *c, bool hold);
/* Pings the client from now on: it said that it answers. */
void connection_keepalive(struct connection *c);

#endif
