/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Consoles: pseudo-terminals of guests' processes, one client at a time. */
#include "domain-private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define CONSOLE_FORCE 1 /* VIR_DOMAIN_CONSOLE_FORCE */

/* From now on the client's descriptor reads as ended.  It stays the client's, under its number. */
static void end_client(struct domain *d)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null >= 0) {
        dup3(null, d->console_fd, O_CLOEXEC);
        close(null);
    }
    d->console_fd = -1;
}

int domain_console_open(struct domain *d, const char *name, unsigned flags, GError **error)
{
    if (!domain_check_active(d, error))
        return -1;
    g_autofree char *path = definition_console_path(d->live, name, error);
    if (!path)
        return -1;
    if (d->console_fd >= 0 && !(flags & CONSOLE_FORCE)) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED,
                          "Active console session exists for this domain");
        return -1;
    }
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        manager_error_set(error, MANAGER_ERROR_SYSTEM, "unable to open '%s': %s", path,
                          g_strerror(errno));
        return -1;
    }
    if (d->console_fd >= 0)
        end_client(d);
    d->console_fd = fd;
    return fd;
}

void domain_console_closed(struct domain *d, int fd)
{
    if (d->console_fd == fd)
        d->console_fd = -1;
}
