/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's sockets, and the events that all its clients get. */
#include "private.h"

#include "machine/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- events ---- */

static const char *const event_names[] = {
    [MACHINE_EVENT_SHUTDOWN] = "SHUTDOWN",   [MACHINE_EVENT_RESET] = "RESET",
    [MACHINE_EVENT_STOP] = "STOP",           [MACHINE_EVENT_RESUME] = "RESUME",
    [MACHINE_EVENT_POWERDOWN] = "POWERDOWN", [MACHINE_EVENT_SUSPEND] = "SUSPEND",
    [MACHINE_EVENT_WAKEUP] = "WAKEUP",
};

/* What SHUTDOWN and RESET say of their reason. */
static const struct {
    const char *name;
    bool guest;
} reasons[] = {
    [STOP_POWEROFF] = {"guest-shutdown", true},
    [STOP_RESET] = {"guest-reset", true},
    [STOP_DEBUG_EXIT] = {"guest-shutdown", true},
    [STOP_QUIT] = {"host-ui", false},
    [STOP_SIGNAL] = {"host-signal", false},
    [STOP_MONITOR_QUIT] = {"host-qmp-quit", false},
    [STOP_MONITOR_RESET] = {"host-qmp-system-reset", false},
    [STOP_ERROR] = {"host-error", false},
};

json_t *monitor_query_events(struct monitor *mon, json_t *arguments, GError **error)
{
    json_t *list = json_array();

    (void)mon, (void)arguments, (void)error;
    for (unsigned i = 0; i < ARRAY_SIZE(event_names); i++)
        json_array_append_new(list, json_pack("{s:s}", "name", event_names[i]));
    return list;
}

static json_t *make_event(enum machine_event event, enum stop_reason reason)
{
    gint64 now = g_get_real_time();
    json_t *json =
        json_pack("{s:{s:I, s:I}, s:s}", "timestamp", "seconds", (json_int_t)(now / G_USEC_PER_SEC),
                  "microseconds", (json_int_t)(now % G_USEC_PER_SEC), "event", event_names[event]);

    if (event == MACHINE_EVENT_SHUTDOWN || event == MACHINE_EVENT_RESET)
        json_object_set_new(json, "data",
                            json_pack("{s:b, s:s}", "guest", reasons[reason].guest, "reason",
                                      reasons[reason].name));
    return json;
}

static void on_event(struct machine_observer *o, enum machine_event event, enum stop_reason reason)
{
    struct monitor *mon = container_of(o, struct monitor, observer);
    json_t *json = make_event(event, reason);

    list_for_each(link, &mon->sessions)
    {
        struct session *s = container_of(link, struct session, link);

        if (s->negotiated)
            session_send(s, json);
    }
    json_decref(json);
}

/* ---- listening ---- */

struct listener {
    struct monitor *monitor;
    int fd;
    char *path; /* to remove at the end, or NULL */
    GSource *source;
};

static gboolean on_client(gint fd, GIOCondition condition, gpointer data);

static void watch_listener(struct listener *l)
{
    l->source = g_unix_fd_source_new(l->fd, G_IO_IN);
    g_source_set_callback(l->source, G_SOURCE_FUNC(on_client), l, NULL);
    g_source_attach(l->source, l->monitor->machine->context);
}

static void unwatch_listener(struct listener *l)
{
    if (!l->source)
        return;
    g_source_destroy(l->source);
    g_source_unref(l->source);
    l->source = NULL;
}

void monitor_update_listeners(struct monitor *mon)
{
    for (guint i = 0; i < mon->listeners->len; i++) {
        struct listener *l = g_ptr_array_index(mon->listeners, i);

        if (mon->session_count >= MONITOR_SESSIONS_MAX)
            unwatch_listener(l);
        else if (!l->source && l->fd >= 0)
            watch_listener(l);
    }
}

static void listener_free(gpointer data)
{
    struct listener *l = data;

    unwatch_listener(l);
    if (l->fd >= 0)
        close(l->fd);
    if (l->path)
        unlink(l->path);
    g_free(l->path);
    g_free(l);
}

static gboolean on_client(gint fd, GIOCondition condition, gpointer data)
{
    struct listener *l = data;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)condition;
    if (client >= 0)
        monitor_add_client(l->monitor, client);
    return G_SOURCE_CONTINUE;
}

void monitor_add_client(struct monitor *mon, int fd)
{
    session_new(mon, fd);
}

static bool wrong(GError **error, const char *spec, const char *advice)
{
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, "--qmp %s: %s", spec, advice);
    return false;
}

/* Takes the options that QEMU's -qmp has off the end of PATH, as far as they say what is so. */
static bool strip_options(char *path, const char *spec, GError **error)
{
    for (char *comma = strrchr(path, ','); comma; comma = strrchr(path, ',')) {
        if (strcmp(comma, ",server=on") && strcmp(comma, ",server") && strcmp(comma, ",wait=off"))
            return wrong(error, spec, "the only options are server=on and wait=off, which are so");
        *comma = 0;
    }
    return true;
}

static bool listen_path(struct listener *l, const char *spec, GError **error)
{
    g_autofree char *path = g_strdup(spec + strlen("unix:"));

    if (!strip_options(path, spec, error))
        return false;
    if (!*path)
        return wrong(error, spec, "give unix:PATH, the path of a socket to make");
    l->fd = listen_unix(path, 0600, error);
    if (l->fd < 0) {
        g_prefix_error(error, "--qmp %s: ", spec);
        return false;
    }
    l->path = g_steal_pointer(&path);
    return true;
}

/* A socket that this process was started with. */
static bool listen_inherited(struct listener *l, const char *spec, GError **error)
{
    int listening = 0;
    socklen_t size = sizeof listening;
    guint64 number;

    if (!g_ascii_string_to_unsigned(spec + strlen("fd:"), 10, 3, INT_MAX, &number, NULL) ||
        getsockopt((int)number, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) || !listening)
        return wrong(error, spec,
                     "give the number (3 or more) of a listening socket that this "
                     "program was started with");
    l->fd = (int)number;
    fcntl(l->fd, F_SETFD, FD_CLOEXEC);
    fcntl(l->fd, F_SETFL, fcntl(l->fd, F_GETFL) | O_NONBLOCK);
    return true;
}

static bool add_listener(struct monitor *mon, const char *spec, GError **error)
{
    struct listener *l = g_new0(struct listener, 1);

    l->monitor = mon;
    l->fd = -1;
    g_ptr_array_add(mon->listeners, l);
    if (g_str_has_prefix(spec, "fd:")) {
        if (!listen_inherited(l, spec, error))
            return false;
    } else if (!g_str_has_prefix(spec, "unix:")) {
        return wrong(error, spec, "give unix:PATH or fd:NUMBER");
    } else if (!listen_path(l, spec, error)) {
        return false;
    }
    watch_listener(l);
    return true;
}

/* ---- life ---- */

struct monitor *monitor_new(struct machine *m, GError **error)
{
    struct monitor *mon = g_new0(struct monitor, 1);

    mon->machine = m;
    mon->listeners = g_ptr_array_new_with_free_func(listener_free);
    list_init(&mon->sessions);
    mon->observer.event = on_event;
    list_append(&m->observers, &mon->observer.link);
    for (unsigned i = 0; i < m->config->qmp->len; i++)
        if (!add_listener(mon, g_ptr_array_index(m->config->qmp, i), error)) {
            monitor_free(mon);
            return NULL;
        }
    return mon;
}

void monitor_free(struct monitor *mon)
{
    if (!mon)
        return;
    list_remove(&mon->observer.link);
    while (!list_empty(&mon->sessions)) {
        struct session *s = container_of(mon->sessions.next, struct session, link);

        stream_flush(s->stream);
        session_free(s);
    }
    g_ptr_array_unref(mon->listeners);
    g_free(mon);
}
