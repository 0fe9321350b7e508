/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * User networking by libslirp: the guest's connections become sockets of this process.  libslirp is
 * driven by one source of the machine's main context, which holds its descriptors and deadline.
 */
#include "machine/machine.h"
#include "net.h"

#include <errno.h>
#include <slirp/libslirp.h>
#include <string.h>

struct user_net {
    struct net_backend backend;
    struct machine *machine;
    Slirp *slirp;
    GSource *source;
};

/* The source's own part: what libslirp asked to poll, in the order of its indices. */
struct poll_entry {
    int fd;
    GIOCondition events;
    gpointer tag; /* GLib's */
};
struct user_source {
    GSource source;
    struct user_net *net;
    GArray *entries; /* of struct poll_entry */
    unsigned used;
    gint64 deadline; /* monotonic, microseconds; -1 for none */
};

/* A timer that libslirp made. */
struct user_timer {
    struct user_net *net;
    SlirpTimerId id;
    void *opaque;
    GSource *source;
};

static struct user_net *user_of(struct net_backend *n)
{
    return container_of(n, struct user_net, backend);
}

/* ---- polling ---- */

static const struct {
    int slirp;
    GIOCondition glib;
} conditions[] = {{SLIRP_POLL_IN, G_IO_IN},
                  {SLIRP_POLL_OUT, G_IO_OUT},
                  {SLIRP_POLL_PRI, G_IO_PRI},
                  {SLIRP_POLL_ERR, G_IO_ERR},
                  {SLIRP_POLL_HUP, G_IO_HUP}};

/* Asks GLib to poll what libslirp wants; unchanged entries cost nothing. */
static int add_poll(int fd, int events, void *opaque)
{
    struct user_source *s = opaque;
    GIOCondition wanted = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(conditions); i++)
        if (events & conditions[i].slirp)
            wanted |= conditions[i].glib;
    if (s->used == s->entries->len)
        g_array_set_size(s->entries, s->used + 1);
    struct poll_entry *e = &g_array_index(s->entries, struct poll_entry, s->used);
    if (e->tag && e->fd != fd) {
        g_source_remove_unix_fd(&s->source, e->tag);
        e->tag = NULL;
    }
    if (!e->tag)
        e->tag = g_source_add_unix_fd(&s->source, fd, wanted);
    else if (e->events != wanted)
        g_source_modify_unix_fd(&s->source, e->tag, wanted);
    e->fd = fd;
    e->events = wanted;
    return s->used++;
}

static int get_events(int index, void *opaque)
{
    struct user_source *s = opaque;
    int events = 0;
    if (index < 0 || (unsigned)index >= s->used)
        return 0;
    struct poll_entry *e = &g_array_index(s->entries, struct poll_entry, index);
    GIOCondition got = g_source_query_unix_fd(&s->source, e->tag);
    for (unsigned i = 0; i < ARRAY_SIZE(conditions); i++)
        if (got & conditions[i].glib)
            events |= conditions[i].slirp;
    return events;
}

static gboolean prepare(GSource *source, gint *timeout)
{
    struct user_source *s = (struct user_source *)source;
    uint32_t milliseconds = UINT32_MAX;

    s->used = 0;
    slirp_pollfds_fill(s->net->slirp, &milliseconds, add_poll, s);
    for (unsigned i = s->used; i < s->entries->len; i++) {
        struct poll_entry *e = &g_array_index(s->entries, struct poll_entry, i);
        g_source_remove_unix_fd(source, e->tag);
    }
    g_array_set_size(s->entries, s->used);
    bool forever = milliseconds > INT32_MAX;
    *timeout = forever ? -1 : (gint)milliseconds;
    s->deadline = forever ? -1 : g_source_get_time(source) + (gint64)milliseconds * 1000;
    return FALSE;
}

static gboolean check(GSource *source)
{
    struct user_source *s = (struct user_source *)source;
    if (s->deadline >= 0 && g_source_get_time(source) >= s->deadline)
        return TRUE;
    for (unsigned i = 0; i < s->used; i++)
        if (g_source_query_unix_fd(source, g_array_index(s->entries, struct poll_entry, i).tag))
            return TRUE;
    return FALSE;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    struct user_source *s = (struct user_source *)source;
    struct net_client *client = &s->net->backend.client;
    (void)callback;
    (void)opaque;
    slirp_pollfds_poll(s->net->slirp, 0, get_events, s);
    client->batch_end(client->opaque);
    return G_SOURCE_CONTINUE;
}

static void finalize(GSource *source)
{
    g_array_free(((struct user_source *)source)->entries, TRUE);
}

static GSourceFuncs source_functions = {prepare, check, dispatch, finalize, NULL, NULL};

/* ---- what libslirp calls ---- */

static ssize_t send_packet(const void *frame, size_t length, void *opaque)
{
    struct net_client *client = &((struct user_net *)opaque)->backend.client;
    client->receive(client->opaque, frame, length);
    return length;
}

static void guest_error(const char *text, void *opaque)
{
    machine_log(((struct user_net *)opaque)->machine, false, "user network: %s", text);
}

static int64_t clock_get_ns(void *opaque)
{
    (void)opaque;
    return g_get_monotonic_time() * 1000;
}

static void *timer_new(SlirpTimerId id, void *timer_opaque, void *opaque)
{
    struct user_timer *t = g_new0(struct user_timer, 1);
    t->net = opaque;
    t->id = id;
    t->opaque = timer_opaque;
    return t;
}

static void timer_stop(struct user_timer *t)
{
    if (t->source) {
        g_source_destroy(t->source);
        g_source_unref(t->source);
        t->source = NULL;
    }
}

static void timer_free(void *timer, void *opaque)
{
    (void)opaque;
    timer_stop(timer);
    g_free(timer);
}

static gboolean timer_fires(gpointer opaque)
{
    struct user_timer *t = opaque;
    timer_stop(t);
    slirp_handle_timer(t->net->slirp, t->id, t->opaque);
    return G_SOURCE_REMOVE;
}

static void timer_mod(void *timer, int64_t milliseconds, void *opaque)
{
    struct user_timer *t = timer;
    struct user_net *n = opaque;
    int64_t from_now = milliseconds - g_get_monotonic_time() / 1000;

    timer_stop(t);
    t->source = g_timeout_source_new((guint)CLAMP(from_now, 0, G_MAXINT));
    g_source_set_callback(t->source, timer_fires, t, NULL);
    g_source_attach(t->source, n->machine->context);
}

static void poll_fd_changed(int fd, void *opaque)
{
    (void)fd; /* prepare finds out */
    (void)opaque;
}

static void notify(void *opaque)
{
    g_main_context_wakeup(((struct user_net *)opaque)->machine->context);
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new_opaque = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = poll_fd_changed,
    .unregister_poll_fd = poll_fd_changed,
    .notify = notify,
};

/* ---- forwards ---- */

struct forward {
    bool udp;
    struct in_addr host, guest;
    uint16_t host_port, guest_port;
};

/* [ADDRESS]:PORT; an empty address leaves *address as it is. */
static bool parse_endpoint(const char *text, struct in_addr *address, uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    guint64 number;
    if (!colon || !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &number, NULL))
        return false;
    *port = number;
    g_autofree char *name = g_strndup(text, colon - text);
    return !*name || inet_pton(AF_INET, name, address) == 1;
}

static bool parse_forward(const char *text, struct forward *f)
{
    *f = (struct forward){.host.s_addr = htonl(INADDR_LOOPBACK)};
    if (g_str_has_prefix(text, "udp:"))
        f->udp = true;
    else if (!g_str_has_prefix(text, "tcp:"))
        return false;
    g_auto(GStrv) ends = g_strsplit(text + 4, "-", 2);
    return g_strv_length(ends) == 2 && parse_endpoint(ends[0], &f->host, &f->host_port) &&
           parse_endpoint(ends[1], &f->guest, &f->guest_port);
}

static bool add_forward(struct user_net *n, const char *option, GError **error)
{
    struct forward f;
    if (!parse_forward(option + strlen("forward="), &f)) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--net user: %s: not a forward; write it as forward=tcp:127.0.0.1:2222-:22",
                    option);
        return false;
    }
    if (slirp_add_hostfwd(n->slirp, f.udp, f.host, f.host_port, f.guest, f.guest_port) < 0) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--net user: %s: cannot listen there: %s; choose another address or port",
                    option, g_strerror(errno));
        return false;
    }
    return true;
}

/* ---- other options ---- */

/* Whether OPTION is NAME=on or NAME=off, or with *good cleared NAME= and something else. */
static bool is_switch(const char *option, const char *name, bool *value, bool *good)
{
    if (!g_str_has_prefix(option, name) || option[strlen(name)] != '=')
        return false;
    const char *word = option + strlen(name) + 1;
    *value = !strcmp(word, "on");
    *good = *value || !strcmp(word, "off");
    return true;
}

/* Puts OPTION into the configuration, unless it is a forward, which comes later. */
static bool configure(SlirpConfig *config, const char *option, GError **error)
{
    bool value, good = true;

    if (g_str_has_prefix(option, "forward="))
        return true;
    if (is_switch(option, "restrict", &value, &good)) {
        config->restricted = value;
    } else if (is_switch(option, "host-loopback", &value, &good)) {
        config->disable_host_loopback = !value;
    } else {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--net user: no such option: %s; there are forward=, host-loopback=, mac= and "
                    "restrict=",
                    option);
        return false;
    }
    if (!good)
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, "--net user: %s: give on or off",
                    option);
    return good;
}

/* ---- life ---- */

static void user_send(struct net_backend *backend, const uint8_t *frame, size_t length)
{
    slirp_input(user_of(backend)->slirp, frame, (int)length);
}

static void user_free(struct net_backend *backend)
{
    struct user_net *n = user_of(backend);
    if (n->source) {
        g_source_destroy(n->source);
        g_source_unref(n->source);
    }
    slirp_cleanup(n->slirp);
    g_free(n);
}

static const struct net_backend_ops user_ops = {"user", user_send, user_free};

struct net_backend *net_user_new(struct machine *m, char *const *options,
                                 const struct net_client *client, GError **error)
{
    SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork.s_addr = inet_addr("10.0.2.0"),
        .vnetmask.s_addr = inet_addr("255.255.255.0"),
        .vhost.s_addr = inet_addr("10.0.2.2"),
        .vnameserver.s_addr = inet_addr("10.0.2.3"),
        .vdhcp_start.s_addr = inet_addr("10.0.2.15"),
    };
    for (char *const *option = options; *option; option++)
        if (!configure(&config, *option, error))
            return NULL;
    struct user_net *n = g_new0(struct user_net, 1);
    n->backend.ops = &user_ops;
    n->backend.client = *client;
    n->machine = m;
    n->slirp = slirp_new(&config, &callbacks, n);
    if (!n->slirp) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--net user: libslirp %s refuses to start", slirp_version_string());
        g_free(n);
        return NULL;
    }
    for (; *options; options++)
        if (g_str_has_prefix(*options, "forward=") && !add_forward(n, *options, error)) {
            user_free(&n->backend);
            return NULL;
        }
    n->source = g_source_new(&source_functions, sizeof(struct user_source));
    struct user_source *s = (struct user_source *)n->source;
    s->net = n;
    s->entries = g_array_new(FALSE, TRUE, sizeof(struct poll_entry));
    g_source_set_name(n->source, "user network");
    g_source_attach(n->source, m->context);
    return &n->backend;
}
