/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A stream: a guest's console and a client. */
#include "manager/rpc/stream.h"

#include <errno.h>
#include <glib-unix.h>
#include <unistd.h>

#define READ_SIZE 16384

struct stream {
    struct client *client;
    struct domain *domain;
    uint32_t program, procedure, serial;
    int fd; /* -1 once the console has ended */
    guint in, out;
    GByteArray *input; /* from the client, that the guest has not taken */
};

static void remove_source(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

static void close_console(struct stream *s)
{
    remove_source(&s->in);
    remove_source(&s->out);
    if (s->fd < 0)
        return;
    domain_console_closed(s->domain, s->fd);
    close(s->fd);
    s->fd = -1;
}

void stream_free(struct stream *s)
{
    close_console(s);
    g_byte_array_unref(s->input);
    domain_unref(s->domain);
    g_free(s);
}

uint32_t stream_serial(const struct stream *s)
{
    return s->serial;
}

static void send_data(struct stream *s, enum frame_status status, const void *data, size_t size)
{
    client_send(s->client, &(struct frame){.program = s->program,
                                           .version = FRAME_VERSION,
                                           .procedure = s->procedure,
                                           .type = FRAME_STREAM,
                                           .serial = s->serial,
                                           .status = status,
                                           .payload = data,
                                           .size = size});
}

static gboolean on_readable(gint fd, GIOCondition condition, void *data)
{
    struct stream *s = data;
    uint8_t bytes[READ_SIZE];
    ssize_t n = read(fd, bytes, sizeof(bytes));

    (void)condition;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        /* The empty frame is the end; the client finishes the stream. */
        s->in = 0;
        close_console(s);
        send_data(s, FRAME_CONTINUE, NULL, 0);
        return G_SOURCE_REMOVE;
    }
    send_data(s, FRAME_CONTINUE, bytes, (size_t)n);
    if (!s->client->connection || !connection_busy(s->client->connection))
        return G_SOURCE_CONTINUE;
    s->in = 0;
    return G_SOURCE_REMOVE;
}

void stream_drained(struct stream *s)
{
    if (s->fd >= 0 && !s->in)
        s->in = g_unix_fd_add(s->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, s);
}

/* Gives the guest what it takes. */
static gboolean on_writable(gint fd, GIOCondition condition, void *data)
{
    struct stream *s = data;
    ssize_t n = s->input->len ? write(fd, s->input->data, s->input->len) : 0;

    (void)condition;
    if (n > 0)
        g_byte_array_remove_range(s->input, 0, (guint)n);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        g_byte_array_set_size(s->input, 0); /* the reading side sees the end */
    if (s->input->len)
        return G_SOURCE_CONTINUE;
    s->out = 0;
    return G_SOURCE_REMOVE;
}

void stream_new(struct call *call, struct domain *d, int fd)
{
    struct stream *s = g_new0(struct stream, 1);

    *s = (struct stream){.client = call->client,
                         .domain = domain_ref(d),
                         .program = call->program,
                         .procedure = call->procedure,
                         .serial = call->serial,
                         .fd = fd,
                         .input = g_byte_array_new()};
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    g_ptr_array_add(call->client->streams, s);
    stream_drained(s);
}

/* Takes input for the guest; false when it does not take it. */
static bool take_input(struct stream *s, const struct frame *f)
{
    if (s->fd < 0)
        return true;
    if (f->size > STREAM_INPUT_MAX - s->input->len)
        return false;
    g_byte_array_append(s->input, f->payload, (guint)f->size);
    if (!s->out && s->input->len)
        s->out = g_unix_fd_add(s->fd, G_IO_OUT, on_writable, s);
    return true;
}

bool stream_frame(struct client *c, const struct frame *f)
{
    struct stream *s = NULL;

    for (unsigned i = 0; i < c->streams->len && !s; i++) {
        struct stream *one = g_ptr_array_index(c->streams, i);
        if (one->serial == f->serial && one->procedure == f->procedure)
            s = one;
    }
    if (!s)
        return false;
    if (f->status == FRAME_CONTINUE) {
        if (take_input(s, f))
            return true;
        g_autoptr(GError) error = manager_error_new(MANAGER_ERROR_OPERATION_FAILED,
                                                    "the guest does not read its console");
        client_send_error(c, FRAME_STREAM, f->program, f->procedure, f->serial, error);
    } else {
        /* Finished or aborted: both are confirmed. */
        send_data(s, FRAME_OK, NULL, 0);
    }
    g_ptr_array_remove_fast(c->streams, s);
    return true;
}
