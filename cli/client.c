/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of the manager. */
#include "client.h"

#include "options.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME "libvirt-sock"

G_DEFINE_QUARK(trapeze - client - error - quark, client_error)

struct client {
    int fd;
    uint32_t serial;
    struct frame_stream input;
};

static bool broken(GError **error, const char *what)
{
    g_set_error(error, CLI_ERROR, 0, "the manager's connection: %s", what);
    return false;
}

/* ---- bytes ---- */

static bool send_all(struct client *c, const GByteArray *bytes, GError **error)
{
    size_t at = 0;

    while (at < bytes->len) {
        ssize_t n = send(c->fd, bytes->data + at, bytes->len - at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return broken(error, g_strerror(errno));
        at += (size_t)n;
    }
    return true;
}

static bool send_frame(struct client *c, const struct frame *f, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    frame_append(bytes, f);
    return send_all(c, bytes, error);
}

/* Reads some bytes, waiting for them. */
static bool receive(struct client *c, GError **error)
{
    size_t size;
    uint8_t *room = frame_stream_room(&c->input, &size);
    ssize_t n;

    do
        n = recv(c->fd, room, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return broken(error, g_strerror(errno));
    if (n == 0)
        return broken(error, "it hung up");
    frame_stream_came(&c->input, (size_t)n);
    return true;
}

/* ---- calls ---- */

/* The error that a frame carries. */
static void take_error(const struct frame *f, GError **error)
{
    struct xdr_reader r;

    xdr_reader_init(&r, f->payload, f->size);
    int code = xdr_get_i32(&r);
    xdr_get_i32(&r); /* the part of libvirt that it comes from */
    g_autofree char *message = xdr_get_optional_string(&r);
    g_set_error_literal(error, CLIENT_ERROR, code,
                        message && *message ? message : "the manager gives no reason");
}

bool client_call(struct client *c, enum procedure number, struct xdr_reader *reply, GError **error,
                 const char *signature, ...)
{
    struct xdr_writer w;
    struct frame f;
    va_list arguments;

    xdr_writer_init(&w);
    va_start(arguments, signature);
    xdr_encode_valist(&w, signature, arguments);
    va_end(arguments);
    bool sent = send_frame(c,
                           &(struct frame){.program = PROGRAM_REMOTE,
                                           .version = FRAME_VERSION,
                                           .procedure = number,
                                           .type = FRAME_CALL,
                                           .serial = ++c->serial,
                                           .payload = w.bytes->data,
                                           .size = w.bytes->len},
                           error);
    xdr_writer_clear(&w);
    if (!sent)
        return false;
    for (;;) {
        while (!frame_stream_next(&c->input, &f)) {
            if (c->input.failed)
                return broken(error, "it does not speak libvirt's protocol");
            if (!receive(c, error))
                return false;
        }
        if (f.program == PROGRAM_REMOTE && f.type == FRAME_REPLY && f.serial == c->serial)
            break;
    }
    if (f.status != FRAME_OK) {
        take_error(&f, error);
        return false;
    }
    xdr_reader_init(reply, f.payload, f.size);
    return true;
}

bool client_read_end(const struct xdr_reader *reply, GError **error)
{
    return xdr_reader_end(reply) || broken(error, "an answer does not have the form it should");
}

/* ---- opening ---- */

/* As trapezed chooses. */
static char *usual_folder(void)
{
    const char *named = g_getenv("TRAPEZE_SOCKET_DIR");

    if (named && *named)
        return g_strdup(named);
    if (geteuid() == 0)
        return g_strdup("/run/trapeze");
    return g_build_filename(g_get_user_runtime_dir(), "trapeze", NULL);
}

static bool connect_to(struct client *c, const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path) {
        g_set_error(error, CLI_ERROR, 0, "%s: the path of a socket has %zu bytes at most", path,
                    sizeof address.sun_path - 1);
        return false;
    }
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return true;
    g_set_error(error, CLI_ERROR, 0,
                "no manager answers at %s: %s; start one by `trapezed &` (a system's: `systemctl "
                "start trapezed.socket`), or say where it is by --socket-dir",
                path, g_strerror(errno));
    return false;
}

static bool greet(struct client *c, GError **error)
{
    struct xdr_reader reply;

    if (!client_call(c, PROCEDURE_AUTH_LIST, &reply, error, ""))
        return false;
    unsigned count = xdr_get_count(&reply, 20, 4);
    int method = count ? xdr_get_i32(&reply) : 0;
    if (method)
        return broken(error, "it asks for an authentication that there is none of here");
    return client_call(c, PROCEDURE_OPEN, &reply, error, "Su", NULL, 0u);
}

struct client *client_open(const char *socket_dir, GError **error)
{
    g_autofree char *folder = socket_dir ? g_strdup(socket_dir) : usual_folder();
    g_autofree char *path = g_build_filename(folder, SOCKET_NAME, NULL);
    struct client *c = g_new0(struct client, 1);

    c->fd = -1;
    frame_stream_init(&c->input);
    if (connect_to(c, path, error) && greet(c, error))
        return c;
    client_close(c);
    return NULL;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    frame_stream_clear(&c->input);
    g_free(c);
}

/* ---- streams ---- */

int client_fd(const struct client *c)
{
    return c->fd;
}

bool client_stream_send(struct client *c, enum procedure number, const void *data, size_t size,
                        GError **error)
{
    return send_frame(c,
                      &(struct frame){.program = PROGRAM_REMOTE,
                                      .version = FRAME_VERSION,
                                      .procedure = number,
                                      .type = FRAME_STREAM,
                                      .serial = c->serial, /* the call's that opened it */
                                      .status = size ? FRAME_CONTINUE : FRAME_OK,
                                      .payload = data,
                                      .size = size},
                      error);
}

bool client_stream_receive(struct client *c, void (*take)(const void *data, size_t size, void *to),
                           void *to, GError **error)
{
    struct frame f;

    if (!receive(c, error))
        return false;
    while (frame_stream_next(&c->input, &f)) {
        if (f.type != FRAME_STREAM || f.serial != c->serial)
            continue;
        if (f.status == FRAME_ERROR)
            take_error(&f, error);
        if (f.status != FRAME_CONTINUE || !f.size)
            return false;
        take(f.payload, f.size, to);
    }
    return !c->input.failed || broken(error, "it does not speak libvirt's protocol");
}
