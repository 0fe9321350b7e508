/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server: sockets and who connects to them. */
#include "manager/rpc/server.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_PASSED 3   /* SD_LISTEN_FDS_START */
#define PAUSE_MS     200 /* without descriptors */
#define BACKLOG      128

struct listener {
    struct server *server;
    int fd;
    bool read_only;
    char *path, *link; /* ours to remove; NULL when passed */
    guint source, pause;
    GQueue clients;    /* struct client * */
    unsigned unopened; /* of them */
};

struct server {
    const struct rpc_context *context;
    void (*idle_changed)(bool idle, void *data);
    void *data;
    GPtrArray *listeners;
    unsigned clients;
};

static void listen_on(struct listener *l);

static void count_client(struct server *s, int change)
{
    bool idle = s->clients == 0;

    s->clients += (unsigned)change;
    if (idle != (s->clients == 0) && s->idle_changed)
        s->idle_changed(!idle, s->data);
}

/* Takes C out of the listener's books; the reference is given up. */
static void forget(struct listener *l, struct client *c)
{
    g_queue_remove(&l->clients, c);
    l->unopened -= !c->opened;
    client_unref(c);
    count_client(l->server, -1);
}

static void on_opened(struct client *c, void *data)
{
    struct listener *l = data;

    (void)c;
    l->unopened--;
}

static void on_ended(struct client *c, const char *why, void *data)
{
    struct listener *l = data;

    g_debug("client of %s: %s", l->read_only ? "the read-only socket" : "the socket", why);
    forget(l, c);
}

/* Makes room: the oldest client that never opened goes. */
static bool drop_unopened(struct listener *l)
{
    for (GList *at = l->clients.head; at; at = at->next) {
        struct client *c = at->data;

        if (!c->opened) {
            client_disconnect(c);
            forget(l, c);
            return true;
        }
    }
    return false;
}

static gboolean on_pause_over(void *data)
{
    struct listener *l = data;

    l->pause = 0;
    listen_on(l);
    return G_SOURCE_REMOVE;
}

/* Without descriptors the socket would stay readable: look again later. */
static void pause_listening(struct listener *l)
{
    g_source_remove(l->source);
    l->source = 0;
    l->pause = g_timeout_add(PAUSE_MS, on_pause_over, l);
}

static gboolean on_connection(gint fd, GIOCondition condition, void *data)
{
    struct listener *l = data;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)condition;
    if (client < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
            return G_SOURCE_CONTINUE;
        if (drop_unopened(l))
            return G_SOURCE_CONTINUE;
        g_warning("no more clients for a moment: %s; raise the limit of open files (LimitNOFILE)",
                  g_strerror(errno));
        pause_listening(l);
        return G_SOURCE_REMOVE;
    }
    if (l->unopened >= SERVER_UNOPENED_MAX)
        drop_unopened(l);
    if (l->clients.length >= SERVER_CLIENTS_MAX && !drop_unopened(l)) {
        g_warning("%u clients are connected already; one more is sent away", l->clients.length);
        close(client);
        return G_SOURCE_CONTINUE;
    }
    struct client *c = client_new(l->server->context, client, l->read_only, on_opened, on_ended, l);
    g_queue_push_tail(&l->clients, c);
    l->unopened++;
    count_client(l->server, 1);
    return G_SOURCE_CONTINUE;
}

static void listen_on(struct listener *l)
{
    l->source = g_unix_fd_add(l->fd, G_IO_IN, on_connection, l);
}

static struct listener *add_listener(struct server *s, int fd, bool read_only)
{
    struct listener *l = g_new0(struct listener, 1);

    *l = (struct listener){.server = s, .fd = fd, .read_only = read_only};
    g_queue_init(&l->clients);
    g_ptr_array_add(s->listeners, l);
    listen_on(l);
    return l;
}

static void listener_free(void *data)
{
    struct listener *l = data;

    while (!g_queue_is_empty(&l->clients)) {
        struct client *c = g_queue_peek_head(&l->clients);
        client_disconnect(c);
        forget(l, c);
    }
    if (l->source)
        g_source_remove(l->source);
    if (l->pause)
        g_source_remove(l->pause);
    close(l->fd);
    if (l->link)
        g_unlink(l->link);
    if (l->path)
        g_unlink(l->path);
    g_free(l->link);
    g_free(l->path);
    g_free(l);
}

static bool fail(GError **error, const char *what, const char *path)
{
    manager_error_set(error, MANAGER_ERROR_SYSTEM, "%s %s: %s", what, path, g_strerror(errno));
    return false;
}

static bool socket_address(struct sockaddr_un *address, const char *path, GError **error)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) < sizeof(address->sun_path)) {
        strcpy(address->sun_path, path);
        return true;
    }
    manager_error_set(error, MANAGER_ERROR_SYSTEM,
                      "%s: a socket's path may have %zu bytes; choose a shorter --socket-dir", path,
                      sizeof(address->sun_path) - 1);
    return false;
}

/* A socket that nobody answers on is one that a killed manager left. */
static bool remove_stale(const struct sockaddr_un *address, GError **error)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

    if (fd >= 0)
        close(fd);
    if (answers) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED,
                          "%s: somebody answers on this socket already: stop the other manager, or "
                          "choose another --socket-dir",
                          address->sun_path);
        return false;
    }
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return fail(error, "cannot remove the old socket", address->sun_path);
    return true;
}

/* A listening socket at PATH that, from the first moment, only MODE may open. */
static int make_socket(const char *path, mode_t mode, GError **error)
{
    struct sockaddr_un address;

    if (!socket_address(&address, path, error) || !remove_stale(&address, error))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0777 & ~mode);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    umask(mask);
    if (bound && listen(fd, BACKLOG) == 0)
        return fd;
    fail(error, "cannot listen on", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool open_named(struct server *s, const char *folder, bool read_only, GError **error)
{
    const char *end = read_only ? "-ro" : "";
    g_autofree char *name = g_strdup_printf("libvirt-sock%s", end);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *alias = g_strdup_printf("virtqemud-sock%s", end);
    g_autofree char *link = g_build_filename(folder, alias, NULL);
    int fd = make_socket(path, read_only ? 0666 : 0600, error);

    if (fd < 0)
        return false;
    struct listener *l = add_listener(s, fd, read_only);
    l->path = g_steal_pointer(&path);
    g_unlink(link);
    if (symlink(name, link) < 0)
        return fail(error, "cannot make the link", link);
    l->link = g_steal_pointer(&link);
    return true;
}

/* A socket of systemd's: by its name we know whether it is the read-only one. */
static bool take_passed(struct server *s, int fd, GError **error)
{
    struct sockaddr_un address = {};
    socklen_t size = sizeof(address) - 1;
    int listening = 0;
    socklen_t length = sizeof(listening);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) < 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0 || address.sun_family != AF_UNIX) {
        manager_error_set(error, MANAGER_ERROR_SYSTEM,
                          "descriptor %d, which the service manager passed, is no listening Unix "
                          "socket: look at ListenStream= of the .socket units",
                          fd);
        return false;
    }
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    add_listener(s, fd, g_str_has_suffix(address.sun_path, "-ro"));
    return true;
}

static bool open_all(struct server *s, const struct server_options *o, GError **error)
{
    for (unsigned i = 0; i < o->passed; i++)
        if (!take_passed(s, (int)(FIRST_PASSED + i), error))
            return false;
    if (o->passed)
        return true;
    if (g_mkdir_with_parents(o->folder, 0755) < 0)
        return fail(error, "cannot make the folder", o->folder);
    return open_named(s, o->folder, false, error) &&
           (s->context->session || open_named(s, o->folder, true, error));
}

struct server *server_open(const struct rpc_context *context, const struct server_options *options,
                           GError **error)
{
    struct server *s = g_new0(struct server, 1);

    *s = (struct server){.context = context,
                         .idle_changed = options->idle_changed,
                         .data = options->data,
                         .listeners = g_ptr_array_new_with_free_func(listener_free)};
    if (open_all(s, options, error))
        return s;
    server_close(s);
    return NULL;
}

void server_close(struct server *s)
{
    if (!s)
        return;
    s->idle_changed = NULL;
    g_ptr_array_unref(s->listeners);
    g_free(s);
}
