/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "eventfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Looks FD up in /proc.  Returns false when it surely is no eventfd; *id is -1 when unknown. */
static bool identify(int fd, long long *id)
{
    char path[40], text[512];
    const char *found;
    ssize_t length;
    int info;

    *id = -1;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    info = open(path, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return true; /* no /proc: believe the caller */
    length = read(info, text, sizeof(text) - 1);
    close(info);
    if (length <= 0)
        return true;
    text[length] = '\0';
    if (!strstr(text, "eventfd-count:"))
        return false;
    found = strstr(text, "eventfd-id:");
    if (found)
        *id = strtoll(found + strlen("eventfd-id:"), NULL, 10);
    return true;
}

int eventfd_hold(struct eventfd_ref *ref, int fd)
{
    *ref = (struct eventfd_ref){.fd = -1, .theirs = fd, .id = -1};
    if (fcntl(fd, F_GETFD) < 0)
        return -errno;
    if (!identify(fd, &ref->id))
        return -EINVAL;
    ref->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return ref->fd < 0 ? -errno : 0;
}

void eventfd_release(struct eventfd_ref *ref)
{
    if (ref->fd >= 0)
        close(ref->fd);
    ref->fd = -1;
}

bool eventfd_same(const struct eventfd_ref *a, const struct eventfd_ref *b)
{
    return a->id >= 0 && b->id >= 0 ? a->id == b->id : a->theirs == b->theirs;
}

void eventfd_signal(const struct eventfd_ref *ref)
{
    const uint64_t one = 1;
    ssize_t written;

    do
        written = write(ref->fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
}

bool eventfd_take(const struct eventfd_ref *ref)
{
    uint64_t count;
    struct iovec io = {&count, sizeof(count)};
    /* The owner may have it in blocking mode, and may have read it before us. */
    ssize_t taken = preadv2(ref->fd, &io, 1, -1, RWF_NOWAIT);

    if (taken < 0 && errno == EOPNOTSUPP)
        taken = read(ref->fd, &count, sizeof(count));
    return taken == (ssize_t)sizeof(count);
}
