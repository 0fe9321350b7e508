/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening the back-ends of --serial: pty, unix socket, file, none. */
#include "character-private.h"
#include "machine/listen.h"
#include "machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define PTY_POLL_MS 200

static bool fail(GError **error, const struct character *c, const char *advice)
{
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, "--%s %s: %s%s%s", c->flag, c->spec,
                g_strerror(errno), *advice ? "; " : "", advice);
    return false;
}

/* ---- pty ---- */

/* A pty's master polls as hung up until somebody opens the other side, so it is looked at now and
 * then, and watched while it is open. */
static gboolean on_pty_timer(gpointer data)
{
    struct character *c = data;
    struct pollfd p = {.fd = c->in, .events = POLLIN};

    poll(&p, 1, 0);
    g_mutex_lock(&c->lock);
    if (p.revents & POLLHUP)
        character_drop_source(&c->in_source);
    else
        character_watch_input(c);
    g_mutex_unlock(&c->lock);
    return G_SOURCE_CONTINUE;
}

static bool open_pty(struct character *c, GError **error)
{
    struct termios raw;
    char name[128];
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return fail(error, c, "is /dev/pts mounted?");
    c->in = c->out = fd;
    c->is_pty = true;
    if (grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof name))
        return fail(error, c, "");
    if (tcgetattr(fd, &raw) == 0) {
        cfmakeraw(&raw);
        tcsetattr(fd, TCSANOW, &raw);
    }
    c->pty = g_strdup(name);
    g_printerr("trapeze: %s on %s\n", strcmp(c->flag, "serial") ? c->flag : "serial port", name);
    c->timer = g_timeout_source_new(PTY_POLL_MS);
    g_source_set_callback(c->timer, on_pty_timer, c, NULL);
    g_source_attach(c->timer, c->machine->context);
    return true;
}

/* ---- unix socket ---- */

static gboolean on_client(gint fd, GIOCondition condition, gpointer data)
{
    struct character *c = data;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)condition;
    if (client < 0)
        return G_SOURCE_CONTINUE;
    g_mutex_lock(&c->lock);
    if (c->in >= 0) {
        close(client); /* one at a time */
    } else {
        c->in = c->out = client;
        character_watch_input(c);
    }
    g_mutex_unlock(&c->lock);
    return G_SOURCE_CONTINUE;
}

static bool open_unix(struct character *c, const char *path, GError **error)
{
    c->listener = listen_unix(path, 0777, error);
    if (c->listener < 0) {
        g_prefix_error(error, "--%s %s: ", c->flag, c->spec);
        return false;
    }
    c->listen_source = character_watch(c, c->listener, G_IO_IN, on_client);
    return true;
}

/* ---- all ---- */

bool character_open(struct character *c, GError **error)
{
    if (!strcmp(c->spec, "stdio"))
        return stdio_open(c, error);
    if (!strcmp(c->spec, "none"))
        return true;
    if (!strcmp(c->spec, "pty"))
        return open_pty(c, error);
    if (g_str_has_prefix(c->spec, "unix:") && c->spec[5])
        return open_unix(c, c->spec + 5, error);
    if (g_str_has_prefix(c->spec, "file:") && c->spec[5]) {
        c->out = open(c->spec + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        return c->out >= 0 || fail(error, c, "");
    }
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                "--%s %s: give stdio, none, pty, unix:PATH or file:PATH", c->flag, c->spec);
    return false;
}
