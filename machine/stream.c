/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients on sockets: sources for input and output, and the queues between. */
#include "stream.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK    4096
#define FLUSH_MS 200

struct stream {
    const struct stream_client *client;
    void *opaque;
    GMainContext *context;
    int fd;
    bool ended;
    GByteArray *input; /* read, and not yet taken */
    GByteArray *output;
    GSource *in, *out;
};

/* ---- sources ---- */

static void drop_source(GSource **source)
{
    if (!*source)
        return;
    g_source_destroy(*source);
    g_source_unref(*source);
    *source = NULL;
}

static GSource *watch(struct stream *s, GIOCondition condition,
                      gboolean (*function)(gint, GIOCondition, gpointer))
{
    GSource *source = g_unix_fd_source_new(s->fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(function), s, NULL);
    g_source_attach(source, s->context);
    return source;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data);
static gboolean on_writable(gint fd, GIOCondition condition, gpointer data);

/* Watches what there is to wait for: room for output, input, or both. */
static void update_sources(struct stream *s)
{
    if (s->ended)
        return; /* the source that is left sees the hang-up */
    if (!s->output->len)
        drop_source(&s->out);
    else if (!s->out)
        s->out = watch(s, G_IO_OUT | G_IO_HUP | G_IO_ERR, on_writable);
    if (s->output->len >= STREAM_BUSY)
        drop_source(&s->in);
    else if (!s->in)
        s->in = watch(s, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable);
}

/* ---- output ---- */

/* Sends what the client takes at once. */
static void push(struct stream *s)
{
    while (s->output->len && !s->ended) {
        ssize_t done = send(s->fd, s->output->data, s->output->len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (done > 0)
            g_byte_array_remove_range(s->output, 0, (guint)done);
        else if (done < 0 && errno == EAGAIN)
            return;
        else if (!(done < 0 && errno == EINTR))
            stream_end(s);
    }
}

bool stream_write(struct stream *s, const void *data, size_t length)
{
    if (!s->ended && length > STREAM_MAX - s->output->len)
        stream_end(s);
    if (s->ended)
        return false;
    g_byte_array_append(s->output, data, (guint)length);
    push(s);
    update_sources(s);
    return !s->ended;
}

void stream_flush(struct stream *s)
{
    gint64 end = g_get_monotonic_time() + FLUSH_MS * 1000;

    for (push(s); s->output->len && !s->ended && g_get_monotonic_time() < end; push(s)) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};
        poll(&p, 1, 10);
    }
}

void stream_end(struct stream *s)
{
    s->ended = true;
    shutdown(s->fd, SHUT_RDWR); /* wakes a source, of which there is always one */
}

/* ---- input ---- */

/* Has the client take what has been read, until it has to read first; then goes on, or ends. */
static void work(struct stream *s)
{
    while (s->input->len && !s->ended && s->output->len < STREAM_BUSY) {
        size_t used = s->client->input(s->opaque, s->input->data, s->input->len);

        g_byte_array_remove_range(s->input, 0, (guint)used);
    }
    if (s->ended)
        s->client->ended(s->opaque);
    else
        update_sources(s);
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
    struct stream *s = data;
    uint8_t part[CHUNK];
    ssize_t length = recv(fd, part, sizeof part, MSG_DONTWAIT);

    (void)condition;
    if (length > 0)
        g_byte_array_append(s->input, part, (guint)length);
    else if (length == 0 || (errno != EAGAIN && errno != EINTR))
        s->ended = true;
    work(s);
    return G_SOURCE_CONTINUE; /* of no effect where the source was destroyed */
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer data)
{
    struct stream *s = data;

    (void)fd;
    (void)condition;
    push(s);
    work(s);
    return G_SOURCE_CONTINUE;
}

/* ---- life ---- */

struct stream *stream_new(GMainContext *context, int fd, const struct stream_client *client,
                          void *opaque)
{
    struct stream *s = g_new0(struct stream, 1);

    s->client = client;
    s->opaque = opaque;
    s->context = g_main_context_ref(context);
    s->fd = fd;
    s->input = g_byte_array_new();
    s->output = g_byte_array_new();
    update_sources(s);
    return s;
}

void stream_free(struct stream *s)
{
    drop_source(&s->in);
    drop_source(&s->out);
    close(s->fd);
    g_byte_array_unref(s->input);
    g_byte_array_unref(s->output);
    g_main_context_unref(s->context);
    g_free(s);
}
