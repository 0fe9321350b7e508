/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of the monitor: its input cut into requests, its output queued. */
#include "private.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK    4096
#define FLUSH_MS 200

/* ---- sources ---- */

static void drop_source(GSource **source)
{
    if (!*source)
        return;
    g_source_destroy(*source);
    g_source_unref(*source);
    *source = NULL;
}

static GSource *watch(struct session *s, GIOCondition condition,
                      gboolean (*function)(gint, GIOCondition, gpointer))
{
    GSource *source = g_unix_fd_source_new(s->fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(function), s, NULL);
    g_source_attach(source, s->monitor->machine->context);
    return source;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data);
static gboolean on_writable(gint fd, GIOCondition condition, gpointer data);

/* Watches what there is to wait for: room for output, or else input. */
static void update_sources(struct session *s)
{
    bool busy = s->output->len >= SESSION_OUTPUT_BUSY;

    if (s->ended)
        return; /* the source that is left sees the hang-up, and frees the session */
    if (!s->output->len)
        drop_source(&s->out);
    else if (!s->out)
        s->out = watch(s, G_IO_OUT | G_IO_HUP | G_IO_ERR, on_writable);
    if (busy)
        drop_source(&s->in);
    else if (!s->in)
        s->in = watch(s, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable);
}

/* ---- output ---- */

/* Sends what the client takes at once. */
static void push(struct session *s)
{
    while (s->output->len && !s->ended) {
        ssize_t done = send(s->fd, s->output->data, s->output->len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (done > 0)
            g_byte_array_remove_range(s->output, 0, (guint)done);
        else if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        else if (!(done < 0 && errno == EINTR))
            s->ended = true;
    }
}

void session_send(struct session *s, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;

    if (s->ended || !text) {
        free(text);
        return;
    }
    if (length + 1 > SESSION_OUTPUT_MAX - s->output->len) {
        machine_log(s->monitor->machine, true, "--qmp: a client that does not read is dropped");
        s->ended = true;
    } else {
        g_byte_array_append(s->output, (const uint8_t *)text, (guint)length);
        g_byte_array_append(s->output, (const uint8_t *)"\n", 1);
        push(s);
    }
    free(text);
    if (s->ended)
        shutdown(s->fd, SHUT_RDWR);
    update_sources(s);
}

void session_flush(struct session *s)
{
    gint64 end = g_get_monotonic_time() + FLUSH_MS * 1000;

    for (push(s); s->output->len && !s->ended && g_get_monotonic_time() < end; push(s)) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};
        poll(&p, 1, 10);
    }
}

/* ---- input ---- */

static void obey(struct session *s)
{
    json_error_t why;
    json_t *request = json_loadb((const char *)s->reader.text->data, s->reader.text->len,
                                 JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);

    if (request) {
        command_dispatch(s, request);
    } else {
        g_autofree char *text = g_strdup_printf("this is no JSON: %s", why.text);
        command_send_error(s, text);
    }
    json_decref(request);
}

/* Carries out what has been read, until the client has to read first. */
static void work(struct session *s)
{
    while (s->input->len && !s->ended && s->output->len < SESSION_OUTPUT_BUSY) {
        size_t used = 0;
        enum reader_result result = reader_put(&s->reader, s->input->data, s->input->len, &used);

        g_byte_array_remove_range(s->input, 0, (guint)used);
        if (result == READER_VALUE) {
            obey(s);
        } else if (result != READER_MORE) {
            command_send_error(s, result == READER_TOO_DEEP
                                      ? "this JSON is nested too deeply: at most 64 levels"
                                      : "this request is too large: at most 1 MiB");
            session_flush(s);
            s->ended = true;
        }
    }
}

/* After something happened: goes on with the session, or ends it. */
static void settle(struct session *s)
{
    if (s->ended)
        session_free(s);
    else
        update_sources(s);
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
    struct session *s = data;
    uint8_t part[CHUNK];
    ssize_t length = recv(fd, part, sizeof part, MSG_DONTWAIT);

    (void)condition;
    if (length > 0)
        g_byte_array_append(s->input, part, (guint)length);
    else if (length == 0 || (errno != EAGAIN && errno != EINTR))
        s->ended = true;
    work(s);
    settle(s);
    return G_SOURCE_CONTINUE; /* of no effect where the source was destroyed */
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer data)
{
    struct session *s = data;

    (void)fd;
    (void)condition;
    push(s);
    work(s);
    settle(s);
    return G_SOURCE_CONTINUE;
}

/* ---- life ---- */

static void greet(struct session *s)
{
    json_t *version = query_version(s->monitor, NULL, NULL);
    json_t *greeting = json_pack("{s:{s:o, s:[]}}", "QMP", "version", version, "capabilities");

    session_send(s, greeting);
    json_decref(greeting);
}

struct session *session_new(struct monitor *mon, int fd)
{
    struct session *s = g_new0(struct session, 1);

    s->monitor = mon;
    s->fd = fd;
    s->input = g_byte_array_new();
    s->output = g_byte_array_new();
    reader_init(&s->reader);
    list_append(&mon->sessions, &s->link);
    mon->session_count++;
    greet(s);
    update_sources(s);
    return s;
}

void session_free(struct session *s)
{
    list_remove(&s->link);
    s->monitor->session_count--;
    drop_source(&s->in);
    drop_source(&s->out);
    close(s->fd);
    reader_clear(&s->reader);
    g_byte_array_unref(s->input);
    g_byte_array_unref(s->output);
    g_free(s);
}
