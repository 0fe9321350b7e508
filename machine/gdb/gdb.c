/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stub's socket, its one connection, and its life. */
#include "private.h"

#include "machine/listen.h"

#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the connection ---- */

static void resend(struct gdb *g)
{
    if (g->last)
        stream_write(g->client, g->last->data, g->last->len);
}

static void acknowledge(struct gdb *g, const char *sign)
{
    if (!g->no_ack)
        stream_write(g->client, sign, 1);
}

/* Ctrl-C: the observer reports the stop. */
static void interrupt(struct gdb *g)
{
    machine_suspend_for_debugger(g->machine);
}

/* Takes DATA up to the end of the next packet. */
static size_t on_input(void *opaque, const uint8_t *data, size_t length)
{
    struct gdb *g = opaque;

    for (size_t i = 0; i < length; i++) {
        switch (packet_put(&g->reader, data[i])) {
        case PACKET_NONE:
        case PACKET_ACK:
            continue;
        case PACKET_GOOD:
            acknowledge(g, "+");
            stub_packet(g);
            break;
        case PACKET_BAD:
            acknowledge(g, "-");
            break;
        case PACKET_NAK:
            resend(g);
            break;
        case PACKET_INTERRUPT:
            interrupt(g);
            break;
        }
        return i + 1;
    }
    return length;
}

static void close_client(struct gdb *g)
{
    stream_free(g->client);
    g->client = NULL;
    packet_reader_clear(&g->reader);
    g_clear_pointer(&g->last, g_byte_array_unref);
}

/* The debugger is gone: its breakpoints go, too; whether the guest runs stays as it is. */
static void on_end(void *opaque)
{
    struct gdb *g = opaque;

    close_client(g);
    stops_detach(g, g->machine->status == MACHINE_RUNNING);
}

void gdb_add_client(struct gdb *g, int fd)
{
    static const struct stream_client client = {on_input, on_end};

    if (g->client) {
        close(fd);
        return;
    }
    g->no_ack = g->tells_software = g->tells_hardware = g->physical = false;
    g->selected = 0;
    g->resuming = ALL_VCPUS;
    packet_reader_init(&g->reader);
    g->client = stream_new(g->machine->context, fd, &client, g);
}

/* ---- listening ---- */

static gboolean on_connection(gint fd, GIOCondition condition, gpointer data)
{
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)condition;
    if (client >= 0)
        gdb_add_client(data, client);
    return G_SOURCE_CONTINUE;
}

static bool open_listener(struct gdb *g, const char *spec, GError **error)
{
    if (g_str_has_prefix(spec, "unix:") && spec[5]) {
        g->listener = listen_unix(spec + 5, 0600, error);
        if (g->listener >= 0)
            g->path = g_strdup(spec + 5);
    } else if (g_str_has_prefix(spec, "tcp:")) {
        g->listener = listen_tcp(spec + 4, error);
    } else {
        g_set_error_literal(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                            "give tcp:[ADDRESS]:PORT, as in tcp:127.0.0.1:1234, or unix:PATH");
    }
    if (g->listener < 0)
        g_prefix_error(error, "--gdb %s: ", spec);
    return g->listener >= 0;
}

struct gdb *gdb_new(struct machine *m, const char *spec, GError **error)
{
    struct gdb *g = g_new0(struct gdb, 1);

    g->machine = m;
    g->listener = -1;
    g->vcpus = g_new0(struct gdb_vcpu, m->cpus);
    g->software = g_array_new(FALSE, TRUE, sizeof(struct software_breakpoint));
    g->avx = registers_have_avx(m);
    long controls =
        engine_ioctl(m->engine, m->engine->system, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);
    g->blocks_interrupts = controls > 0 && controls & KVM_GUESTDBG_BLOCKIRQ;
    g->observer.event = stops_on_event;
    list_append(&m->observers, &g->observer.link);
    g_mutex_init(&g->lock);
    if (!open_listener(g, spec, error)) {
        gdb_free(g);
        return NULL;
    }
    g->listen_source = g_unix_fd_source_new(g->listener, G_IO_IN);
    /* Later than the news that the debugger before is gone. */
    g_source_set_priority(g->listen_source, G_PRIORITY_DEFAULT_IDLE);
    g_source_set_callback(g->listen_source, G_SOURCE_FUNC(on_connection), g, NULL);
    g_source_attach(g->listen_source, m->context);
    return g;
}

static void drop_source(GSource **source)
{
    if (!*source)
        return;
    g_source_destroy(*source);
    g_source_unref(*source);
    *source = NULL;
}

void gdb_free(struct gdb *g)
{
    if (!g)
        return;
    list_remove(&g->observer.link);
    drop_source(&g->listen_source);
    drop_source(&g->stopped_source);
    if (g->client) {
        g_autofree char *last = g_strdup_printf("W%02x", g->machine->stop_status & 0xff);
        stub_send_text(g, last);
        stream_flush(g->client);
        close_client(g);
    }
    if (g->listener >= 0)
        close(g->listener);
    if (g->path)
        unlink(g->path);
    g_free(g->path);
    g_array_unref(g->software);
    g_free(g->vcpus);
    g_mutex_clear(&g->lock);
    g_free(g);
}
