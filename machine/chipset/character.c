/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Character back-ends: queues between a device and a pair of descriptors.  Nothing here waits, so a
 * reader that stalls neither holds a vCPU nor the main loop. */
#include "character-private.h"

#include "machine/machine.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX  4096
#define CHUNK      4096   /* a pipe that polls writable takes so much without waiting (PIPE_BUF) */
#define QUEUE_FULL 0x4000 /* callers are asked to wait from here on */
#define QUEUE_MAX  0x100000
#define FLUSH_MS   200 /* how long an end waits for a slow reader */

/* ---- sources ---- */

void character_drop_source(GSource **source)
{
    if (!*source)
        return;
    g_source_destroy(*source);
    g_source_unref(*source);
    *source = NULL;
}

GSource *character_watch(struct character *c, int fd, GIOCondition condition,
                         gboolean (*function)(gint, GIOCondition, gpointer))
{
    GSource *source = g_unix_fd_source_new(fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(function), c, NULL);
    g_source_attach(source, c->machine->context);
    return source;
}

/* ---- input ---- */

/* Hands waiting input to the client, as much as it has room for.  Main context, unlocked. */
static void deliver(struct character *c)
{
    uint8_t part[256];

    for (;;) {
        size_t room = c->client.room ? c->client.room(c->client.opaque) : 0;

        g_mutex_lock(&c->lock);
        size_t length = MIN(MIN(room, sizeof part), c->input->len);
        if (length) {
            memcpy(part, c->input->data, length);
            g_byte_array_remove_range(c->input, 0, (guint)length);
        }
        g_mutex_unlock(&c->lock);
        if (!length)
            return;
        c->client.receive(c->client.opaque, part, length);
    }
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
    struct character *c = data;
    uint8_t part[CHUNK];
    ssize_t length;

    (void)condition;
    g_mutex_lock(&c->lock);
    if (fd != c->in) {
        g_mutex_unlock(&c->lock);
        return G_SOURCE_REMOVE;
    }
    size_t room = INPUT_MAX - c->input->len;
    /* A terminal is read always, or Ctrl-A x would not work while the guest reads nothing. */
    length = read(fd, part, c->is_terminal ? sizeof part : MIN(sizeof part, room));
    bool gone = length == 0 || (length < 0 && errno != EINTR && errno != EAGAIN);
    if (gone)
        character_hang_up(c);
    g_mutex_unlock(&c->lock);
    if (gone)
        return G_SOURCE_REMOVE;
    if (length > 0 && c->is_terminal)
        length = (ssize_t)stdio_filter(c, part, (size_t)length);
    g_mutex_lock(&c->lock);
    if (length > 0)
        g_byte_array_append(c->input, part, (guint)MIN((size_t)length, room));
    if (c->input->len == INPUT_MAX && !c->is_terminal)
        character_drop_source(&c->in_source); /* until deliver has made room */
    g_mutex_unlock(&c->lock);
    deliver(c);
    g_mutex_lock(&c->lock);
    character_watch_input(c);
    g_mutex_unlock(&c->lock);
    return G_SOURCE_CONTINUE; /* of no effect where the source was destroyed */
}

void character_watch_input(struct character *c)
{
    if (c->in >= 0 && !c->in_source && c->client.receive && c->input->len < INPUT_MAX)
        c->in_source = character_watch(c, c->in, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable);
}

static gboolean on_ready(gpointer data)
{
    struct character *c = data;

    g_mutex_lock(&c->lock);
    character_drop_source(&c->ready);
    g_mutex_unlock(&c->lock);
    deliver(c);
    g_mutex_lock(&c->lock);
    character_watch_input(c);
    g_mutex_unlock(&c->lock);
    return G_SOURCE_REMOVE;
}

void character_ready(struct character *c)
{
    g_mutex_lock(&c->lock);
    if (c->input->len && !c->ready) {
        c->ready = g_idle_source_new();
        g_source_set_priority(c->ready, G_PRIORITY_DEFAULT);
        g_source_set_callback(c->ready, on_ready, c, NULL);
        g_source_attach(c->ready, c->machine->context);
    }
    g_mutex_unlock(&c->lock);
}

void character_connect(struct character *c, const struct character_client *client)
{
    g_mutex_lock(&c->lock);
    c->client = *client;
    character_watch_input(c);
    g_mutex_unlock(&c->lock);
}

/* ---- output ---- */

/* Says once that output is lost; that nobody is there to read it is no loss. */
static void report_loss(struct character *c, int reason)
{
    if (reason == EPIPE || reason == EIO || c->reported)
        return;
    c->reported = true;
    machine_log(c->machine, true, "--%s %s: output is lost: %s", c->flag, c->spec,
                g_strerror(reason));
}

/* Writes from the queue what goes without waiting.  Returns false when the other side has no room.
 * Locked. */
static bool flush(struct character *c)
{
    while (c->queue->len) {
        struct pollfd p = {.fd = c->out, .events = POLLOUT};
        ssize_t done = -1;

        if (c->out >= 0 && poll(&p, 1, 0) == 0)
            return false;
        if (c->out >= 0 && (p.revents & POLLOUT) && !(p.revents & POLLHUP && c->is_pty))
            done = write(c->out, c->queue->data, MIN(c->queue->len, CHUNK));
        else
            errno = EPIPE;
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN)
            return false;
        if (done < 0) {
            report_loss(c, errno);
            g_byte_array_set_size(c->queue, 0);
            return true;
        }
        g_byte_array_remove_range(c->queue, 0, (guint)done);
    }
    return true;
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer data)
{
    struct character *c = data;

    (void)fd;
    (void)condition;
    g_mutex_lock(&c->lock);
    bool drained = flush(c);
    bool wake = c->throttled && c->queue->len < QUEUE_FULL / 2;
    if (drained)
        character_drop_source(&c->out_source);
    if (wake)
        c->throttled = false;
    g_mutex_unlock(&c->lock);
    if (wake && c->client.writable)
        c->client.writable(c->client.opaque);
    return G_SOURCE_CONTINUE;
}

bool character_write(struct character *c, const void *data, size_t length)
{
    g_mutex_lock(&c->lock);
    if (length <= QUEUE_MAX - c->queue->len)
        g_byte_array_append(c->queue, data, (guint)length);
    if (!c->out_source && !flush(c))
        c->out_source = character_watch(c, c->out, G_IO_OUT | G_IO_HUP | G_IO_ERR, on_writable);
    bool room = c->queue->len < QUEUE_FULL;
    if (!room)
        c->throttled = true;
    g_mutex_unlock(&c->lock);
    return room;
}

/* ---- life ---- */

void character_hang_up(struct character *c)
{
    character_drop_source(&c->in_source);
    character_drop_source(&c->out_source);
    if (c->listener >= 0 && c->in >= 0) {
        close(c->in);
        c->out = -1;
        g_byte_array_set_size(c->queue, 0);
    }
    if (!c->is_pty)
        c->in = -1; /* end of file on a pipe; its output goes on */
}

struct character *character_new(struct machine *m, const char *flag, const char *spec,
                                GError **error)
{
    struct character *c = g_new0(struct character, 1);

    c->machine = m;
    c->flag = flag;
    c->spec = g_strdup(spec);
    c->in = c->out = c->listener = -1;
    c->queue = g_byte_array_new();
    c->input = g_byte_array_new();
    g_mutex_init(&c->lock);
    if (!character_open(c, error)) {
        character_free(c);
        return NULL;
    }
    return c;
}

char *character_filename(const struct character *c)
{
    if (c->pty)
        return g_strdup_printf("pty:%s", c->pty);
    if (c->listener >= 0)
        return g_strdup_printf("%s,server=on", c->spec);
    return g_strdup(strcmp(c->spec, "none") ? c->spec : "null");
}

/* Gives a slow reader a moment for the last words of the guest. */
static void last_flush(struct character *c)
{
    gint64 end = g_get_monotonic_time() + FLUSH_MS * 1000;

    while (!flush(c) && g_get_monotonic_time() < end)
        g_usleep(5000);
}

void character_free(struct character *c)
{
    last_flush(c);
    character_drop_source(&c->in_source);
    character_drop_source(&c->out_source);
    character_drop_source(&c->listen_source);
    character_drop_source(&c->timer);
    character_drop_source(&c->ready);
    if (c->is_terminal)
        character_restore_terminal();
    if (c->in > STDERR_FILENO)
        close(c->in);
    if (c->out > STDERR_FILENO && c->out != c->in)
        close(c->out);
    if (c->listener >= 0) {
        close(c->listener);
        unlink(c->spec + strlen("unix:"));
    }
    g_byte_array_unref(c->queue);
    g_byte_array_unref(c->input);
    g_mutex_clear(&c->lock);
    g_free(c->spec);
    g_free(c->pty);
    g_free(c);
}
