/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection: frames to and from one client's socket. */
#include "manager/rpc/connection.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    int fd;
    const struct connection_ops *ops;
    void *data;
    struct frame_stream input;
    GQueue output;                     /* of GByteArray, a frame each */
    size_t queued, sent;               /* bytes in the queue; of its first frame, what has gone */
    guint in, out, timer, later, over; /* sources */
    bool held, busy, draining, ended, taking;
    bool heard;
    unsigned silent; /* intervals without a byte from the client */
    const char *why;
};

static void update_input(struct connection *c);
static void take_frames(struct connection *c);

static void remove_source(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

static gboolean tell_ended(void *data)
{
    struct connection *c = data;

    c->over = 0;
    c->ops->ended(c->data, c->why);
    return G_SOURCE_REMOVE;
}

/* The owner hears of it from the main loop, so that nobody's connection vanishes beneath him. */
static void end(struct connection *c, const char *why)
{
    if (c->ended)
        return;
    c->ended = true;
    c->why = why;
    remove_source(&c->in);
    remove_source(&c->out);
    remove_source(&c->timer);
    remove_source(&c->later);
    close(c->fd);
    c->fd = -1;
    c->over = g_idle_add(tell_ended, c);
}

static void drop_first(struct connection *c)
{
    GByteArray *frame = g_queue_pop_head(&c->output);

    c->queued -= frame->len;
    c->sent = 0;
    g_byte_array_unref(frame);
}

/* Sends what the socket takes. */
static void flush(struct connection *c)
{
    while (!g_queue_is_empty(&c->output)) {
        const GByteArray *frame = g_queue_peek_head(&c->output);
        ssize_t n =
            send(c->fd, frame->data + c->sent, frame->len - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN)
                end(c, "the client has gone");
            return;
        }
        c->sent += (size_t)n;
        if (c->sent == frame->len)
            drop_first(c);
    }
    if (c->draining)
        end(c, "closed");
}

static gboolean on_writable(gint fd, GIOCondition condition, void *data)
{
    struct connection *c = data;

    (void)fd;
    (void)condition;
    flush(c);
    if (c->ended)
        return G_SOURCE_REMOVE;
    if (c->busy && c->queued < CONNECTION_BACKLOG / 2) {
        c->busy = false;
        update_input(c);
        c->ops->drained(c->data);
        take_frames(c);
        if (c->ended)
            return G_SOURCE_REMOVE;
    }
    if (!g_queue_is_empty(&c->output))
        return G_SOURCE_CONTINUE;
    c->out = 0;
    return G_SOURCE_REMOVE;
}

void connection_send(struct connection *c, const struct frame *f)
{
    if (c->ended || c->draining)
        return;
    if (c->queued + FRAME_HEADER_SIZE + f->size > CONNECTION_QUEUE_MAX) {
        end(c, "the client does not read what it asked for");
        return;
    }
    GByteArray *bytes = g_byte_array_sized_new((guint)(FRAME_HEADER_SIZE + f->size));
    frame_append(bytes, f);
    g_queue_push_tail(&c->output, bytes);
    c->queued += bytes->len;
    if (!c->out)
        flush(c);
    if (c->ended || g_queue_is_empty(&c->output))
        return;
    if (!c->out)
        c->out = g_unix_fd_add(c->fd, G_IO_OUT, on_writable, c);
    if (!c->busy && c->queued >= CONNECTION_BACKLOG) {
        c->busy = true;
        update_input(c);
    }
}

static void answer_keepalive(struct connection *c, const struct frame *f)
{
    if (f->procedure == KEEPALIVE_PING)
        connection_send(c, &(struct frame){.program = PROGRAM_KEEPALIVE,
                                           .version = FRAME_VERSION,
                                           .procedure = KEEPALIVE_PONG,
                                           .type = FRAME_MESSAGE});
}

/* Hands over the frames that have come, until told to hold.  Not entered twice: what a frame's
 * handler sets free is seen by the loop that called it. */
static void take_frames(struct connection *c)
{
    struct frame f;

    if (c->taking)
        return;
    c->taking = true;
    while (!c->ended && !c->draining && !c->held && !c->busy && frame_stream_next(&c->input, &f)) {
        if (f.program == PROGRAM_KEEPALIVE)
            answer_keepalive(c, &f);
        else
            c->ops->frame(c->data, &f);
    }
    c->taking = false;
    if (c->input.failed)
        end(c, "what the client sent is no frame");
}

static gboolean on_readable(gint fd, GIOCondition condition, void *data)
{
    struct connection *c = data;
    size_t room;

    if (!(condition & G_IO_IN)) {
        c->in = 0;
        end(c, "the client has gone");
        return G_SOURCE_REMOVE;
    }
    uint8_t *to = frame_stream_room(&c->input, &room);
    ssize_t n = recv(fd, to, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        end(c, "the client has gone");
        return G_SOURCE_REMOVE;
    }
    c->heard = true;
    frame_stream_came(&c->input, (size_t)n);
    guint source = c->in;
    take_frames(c);
    return !c->ended && c->in == source ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

/* Listens for bytes unless there is enough to do; that the peer has gone is always heard. */
static void update_input(struct connection *c)
{
    bool listen = !c->held && !c->busy && !c->draining;

    if (c->ended)
        return;
    remove_source(&c->in);
    c->in = g_unix_fd_add(c->fd, (listen ? G_IO_IN : 0) | G_IO_HUP | G_IO_ERR, on_readable, c);
}

struct connection *connection_new(int fd, const struct connection_ops *ops, void *data)
{
    struct connection *c = g_new0(struct connection, 1);

    *c = (struct connection){.fd = fd, .ops = ops, .data = data};
    frame_stream_init(&c->input);
    g_queue_init(&c->output);
    update_input(c);
    return c;
}

void connection_free(struct connection *c)
{
    if (!c)
        return;
    end(c, "freed");
    remove_source(&c->over);
    while (!g_queue_is_empty(&c->output))
        drop_first(c);
    frame_stream_clear(&c->input);
    g_free(c);
}

static gboolean on_not_drained(void *data)
{
    end(data, "the client did not read the last reply");
    return G_SOURCE_REMOVE;
}

void connection_end(struct connection *c, const char *why, bool drain)
{
    if (c->ended || c->draining)
        return;
    if (!drain || g_queue_is_empty(&c->output)) {
        end(c, why);
        return;
    }
    c->draining = true;
    remove_source(&c->timer);
    c->timer = g_timeout_add_seconds(CONNECTION_INTERVAL, on_not_drained, c);
    update_input(c);
}

bool connection_busy(const struct connection *c)
{
    return c->busy;
}

static gboolean take_later(void *data)
{
    struct connection *c = data;

    c->later = 0;
    take_frames(c);
    return G_SOURCE_REMOVE;
}

void connection_hold(struct connection *c, bool hold)
{
    if (c->held == hold)
        return;
    c->held = hold;
    update_input(c);
    if (!hold && !c->ended && !c->later)
        c->later = g_idle_add(take_later, c);
}

static gboolean on_interval(void *data)
{
    struct connection *c = data;

    c->silent = c->heard ? 0 : c->silent + 1;
    c->heard = false;
    if (c->silent > CONNECTION_SILENCE) {
        end(c, "the client does not answer keepalive");
        return G_SOURCE_REMOVE;
    }
    connection_send(c, &(struct frame){.program = PROGRAM_KEEPALIVE,
                                       .version = FRAME_VERSION,
                                       .procedure = KEEPALIVE_PING,
                                       .type = FRAME_MESSAGE});
    return c->ended ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

void connection_keepalive(struct connection *c)
{
    if (!c->timer && !c->ended)
        c->timer = g_timeout_add_seconds(CONNECTION_INTERVAL, on_interval, c);
}
