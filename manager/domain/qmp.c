/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of QMP. */
#include "qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK          8192
#define NEGOTIATION_MS 0 /* the one who waits for `ready` has a clock */

struct command {
    char *text; /* a line; NULL once it is sent */
    unsigned timeout_ms;
    qmp_reply reply;
    void *data;
};

struct qmp {
    int fd;
    const struct qmp_handler *handler;
    void *data;
    unsigned busy; /* depth of callbacks from here */
    bool closed, freed, greeted;
    GByteArray *input;
    GString *output;
    guint in, out, timer;
    GQueue commands; /* the head is the one that was sent, if `sent` */
    bool sent;
};

static void send_next(struct qmp *q);

/* ---- ends ---- */

static void enter(struct qmp *q)
{
    q->busy++;
}

static void leave(struct qmp *q)
{
    if (--q->busy || !q->freed)
        return;
    g_byte_array_unref(q->input);
    g_string_free(q->output, TRUE);
    g_free(q);
}

static void stop_timer(struct qmp *q)
{
    if (q->timer)
        g_source_remove(q->timer);
    q->timer = 0;
}

static void free_command(struct command *c)
{
    g_free(c->text);
    g_free(c);
}

/* Answers all commands with an error of the connection. */
static void fail_commands(struct qmp *q, const char *why)
{
    struct command *c;

    while ((c = g_queue_pop_head(&q->commands))) {
        GError *error =
            manager_error_new(MANAGER_ERROR_OPERATION_FAILED, "the guest's monitor: %s", why);

        if (c->reply)
            c->reply(NULL, error, c->data);
        g_error_free(error);
        free_command(c);
    }
}

static void disconnect(struct qmp *q, const char *why)
{
    if (q->closed)
        return;
    q->closed = true;
    stop_timer(q);
    if (q->in)
        g_source_remove(q->in);
    if (q->out)
        g_source_remove(q->out);
    q->in = q->out = 0;
    close(q->fd);
    fail_commands(q, why);
}

/* Ends the connection and says so.  Inside enter and leave. */
static void fail(struct qmp *q, const char *why)
{
    if (q->closed)
        return;
    disconnect(q, why);
    if (!q->freed)
        q->handler->closed(why, q->data);
}

void qmp_free(struct qmp *q)
{
    if (!q || q->freed)
        return;
    enter(q);
    q->freed = true;
    disconnect(q, "the connection was closed");
    fail_commands(q, "there is no connection");
    leave(q);
}

/* ---- sending ---- */

static gboolean on_writable(gint fd, GIOCondition condition, gpointer data)
{
    struct qmp *q = data;
    gboolean more = G_SOURCE_CONTINUE;

    (void)condition;
    enter(q);
    ssize_t n = send(fd, q->output->str, q->output->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0)
        g_string_erase(q->output, 0, n);
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || !q->output->len) {
        /* That the other side is gone, reading tells, after what it said last. */
        q->out = 0;
        more = G_SOURCE_REMOVE;
    }
    leave(q);
    return more;
}

static gboolean on_timeout(gpointer data)
{
    struct qmp *q = data;
    struct command *c = g_queue_pop_head(&q->commands);
    GError *error = manager_error_new(MANAGER_ERROR_OPERATION_TIMEOUT,
                                      "the guest's monitor did not answer in time");

    enter(q);
    q->timer = 0;
    if (c && c->reply)
        c->reply(NULL, error, c->data);
    if (c)
        free_command(c);
    g_error_free(error);
    /* A late answer would be taken for the next command's. */
    fail(q, "it did not answer in time");
    leave(q);
    return G_SOURCE_REMOVE;
}

static void send_text(struct qmp *q, const char *text)
{
    g_string_append(q->output, text);
    if (!q->out)
        q->out = g_unix_fd_add(q->fd, G_IO_OUT, on_writable, q);
}

static void send_next(struct qmp *q)
{
    struct command *c = g_queue_peek_head(&q->commands);

    if (!c || q->sent || q->closed || !q->greeted)
        return;
    q->sent = true;
    send_text(q, c->text);
    if (c->timeout_ms)
        q->timer = g_timeout_add(c->timeout_ms, on_timeout, q);
}

void qmp_command(struct qmp *q, const char *name, json_t *arguments, unsigned timeout_ms,
                 qmp_reply reply, void *data)
{
    struct command *c = g_new0(struct command, 1);
    json_t *object = json_pack("{s:s}", "execute", name);

    if (arguments)
        json_object_set_new(object, "arguments", arguments);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    c->text = g_strconcat(text, "\n", NULL);
    free(text);
    c->timeout_ms = timeout_ms;
    c->reply = reply;
    c->data = data;
    /* Of a closed connection: qmp_free answers it. */
    g_queue_push_tail(&q->commands, c);
    send_next(q);
}

/* ---- receiving ---- */

static void on_negotiated(json_t *value, const GError *error, void *data)
{
    struct qmp *q = data;

    (void)error;
    if (value && !q->freed)
        q->handler->ready(q->data);
}

static void take_greeting(struct qmp *q, const json_t *message)
{
    struct command *first;

    if (!json_is_object(json_object_get(message, "QMP"))) {
        fail(q, "it did not greet");
        return;
    }
    /* In front of what was asked meanwhile. */
    qmp_command(q, "qmp_capabilities", NULL, NEGOTIATION_MS, on_negotiated, q);
    first = g_queue_pop_tail(&q->commands);
    g_queue_push_head(&q->commands, first);
    q->greeted = true;
    send_next(q);
}

static void take_answer(struct qmp *q, json_t *value, const json_t *fault)
{
    struct command *c = q->sent ? g_queue_pop_head(&q->commands) : NULL;
    GError *error = NULL;

    if (!c) {
        fail(q, "it answered what was not asked");
        return;
    }
    q->sent = false;
    stop_timer(q);
    if (fault) {
        const char *text = json_string_value(json_object_get(fault, "desc"));

        error = manager_error_new(MANAGER_ERROR_INTERNAL,
                                  "unable to execute the guest's monitor command: %s",
                                  text ? text : "without a reason");
    }
    if (c->reply)
        c->reply(error ? NULL : value, error, c->data);
    free_command(c);
    g_clear_error(&error);
    if (!q->closed)
        send_next(q);
}

static void take_message(struct qmp *q, json_t *message)
{
    const char *event = json_string_value(json_object_get(message, "event"));
    json_t *value = json_object_get(message, "return");
    const json_t *fault = json_object_get(message, "error");

    if (!q->greeted)
        take_greeting(q, message);
    else if (event)
        q->handler->event(event, json_object_get(message, "data"), q->data);
    else if (value || fault)
        take_answer(q, value, fault);
    else
        fail(q, "it sent neither an answer nor an event");
}

static void take_line(struct qmp *q, const char *line, size_t length)
{
    json_error_t where;
    /* jansson bounds the depth, by 2048. */
    json_t *message = json_loadb(line, length, 0, &where);

    if (json_is_object(message))
        take_message(q, message);
    else
        fail(q, "it sent what is not a JSON object");
    json_decref(message);
}

static void take_lines(struct qmp *q)
{
    const uint8_t *end;

    while (!q->closed && !q->freed && (end = memchr(q->input->data, '\n', q->input->len))) {
        guint length = (guint)(end - q->input->data);
        g_autofree char *line = g_strndup((char *)q->input->data, length);
        size_t visible = strspn(line, " \t\r");

        g_byte_array_remove_range(q->input, 0, length + 1);
        if (line[visible])
            take_line(q, line, strlen(line));
    }
    if (!q->closed && q->input->len > QMP_LINE_MAX)
        fail(q, "it sent a line that is too long");
}

/* False when there is nothing more to be had. */
static bool receive(struct qmp *q)
{
    uint8_t part[CHUNK];
    ssize_t n = recv(q->fd, part, sizeof part, MSG_DONTWAIT);

    if (n < 0)
        return errno == EINTR;
    if (n > 0)
        g_byte_array_append(q->input, part, (guint)n);
    take_lines(q);
    return n > 0;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
    struct qmp *q = data;
    uint8_t byte;

    enter(q);
    bool more = receive(q);
    /* Between nothing now and nothing ever. */
    if (!more && !q->closed &&
        (condition & (G_IO_HUP | G_IO_ERR) || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0))
        fail(q, "it hung up");
    gboolean go_on = q->closed ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
    leave(q);
    return go_on;
}

void qmp_drain(struct qmp *q)
{
    enter(q);
    while (!q->closed && !q->freed && receive(q))
        ;
    leave(q);
}

struct qmp *qmp_new(int fd, const struct qmp_handler *handler, void *data)
{
    struct qmp *q = g_new0(struct qmp, 1);

    q->fd = fd;
    q->handler = handler;
    q->data = data;
    q->input = g_byte_array_new();
    q->output = g_string_new(NULL);
    g_queue_init(&q->commands);
    q->in = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, q);
    return q;
}
