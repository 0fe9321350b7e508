/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listening sockets. */
#include "listen.h"

#include "machine.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static int fail(GError **error, int number, const char *advice)
{
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, "%s%s%s", g_strerror(number),
                *advice ? "; " : "", advice);
    return -1;
}

/* Removes a socket that a dead process left; one that answers stays, and so does another file,
 * which refuses connections too. */
static void remove_stale(const struct sockaddr_un *address)
{
    struct stat s;

    if (lstat(address->sun_path, &s) || !S_ISSOCK(s.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED)
        unlink(address->sun_path);
    close(fd);
}

int listen_unix(const char *path, mode_t mode, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return fail(error, ENAMETOOLONG, "give a shorter path");
    strcpy(address.sun_path, path);
    remove_stale(&address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(error, errno, "");
    fchmod(fd, mode); /* bind gives the file the socket's mode: nobody finds it open in between */
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) {
        int number = errno;
        close(fd);
        return fail(error, number, number == EADDRINUSE ? "something else uses this path" : "");
    }
    if (listen(fd, BACKLOG)) {
        int number = errno;
        close(fd);
        unlink(path);
        return fail(error, number, "");
    }
    return fd;
}

/* Opens what ADDRESS says. */
static int open_tcp(const struct addrinfo *address, GError **error)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return fail(error, errno, "");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, BACKLOG)) {
        int number = errno;
        close(fd);
        return fail(error, number, number == EADDRINUSE ? "give another port" : "");
    }
    return fd;
}

int listen_tcp(const char *where, GError **error)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(where, ':'), *port = colon ? colon + 1 : where;
    g_autofree char *host = g_strndup(where, colon ? (size_t)(colon - where) : 0);
    size_t length = strlen(host);
    struct addrinfo *address;
    guint64 number;

    if (length > 1 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        memmove(host, host + 1, length - 1);
    }
    if (!g_ascii_string_to_unsigned(port, 10, 1, 65535, &number, NULL) ||
        getaddrinfo(*host ? host : "127.0.0.1", port, &hints, &address)) {
        g_set_error_literal(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                            "give an address in numbers and a port, as in 127.0.0.1:1234");
        return -1;
    }
    int fd = open_tcp(address, error);
    freeaddrinfo(address);
    return fd;
}
