/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* close, dup and their kin: the table follows the kernel's. */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdarg.h>
#include <unistd.h>

EXPORT int close(int fd)
{
    /* Out of the table first: once closed, the number may be another thread's. */
    struct object *o = object_remove(fd);
    int r = NEXT(close)(fd);
    if (o) {
        int error = errno;
        object_release(o);
        errno = error;
    }
    return r;
}

/* COPY, a descriptor's number or -1, now stands for what FD does. */
static int copied(int fd, int copy)
{
    if (copy < 0 || copy == fd)
        return copy;
    int error = errno;
    struct object *o = object_of(fd);
    if (o || object_known(copy))
        object_assign(copy, o);
    object_release(o);
    errno = error;
    return copy;
}

EXPORT int dup(int fd)
{
    return copied(fd, NEXT(dup)(fd));
}

EXPORT int dup2(int fd, int copy)
{
    return copied(fd, NEXT(dup2)(fd, copy));
}

EXPORT int dup3(int fd, int copy, int flags)
{
    return copied(fd, NEXT(dup3)(fd, copy, flags));
}

/* The last argument is an int or a pointer, or is not there: passed on as it comes. */
#define FCNTL(name)                                                                                \
    EXPORT int name(int fd, int command, ...)                                                      \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, command);                                                              \
        void *argument = va_arg(arguments, void *);                                                \
        va_end(arguments);                                                                         \
        int r = NEXT(name)(fd, command, argument);                                                 \
        return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, r) : r;               \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* Takes FIRST to LAST out of the table, after they were closed: nobody opens others meanwhile who
 * calls this. */
static void forget(unsigned first, unsigned last)
{
    int error = errno;
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit > 0 && last >= (unsigned long)limit)
        last = (unsigned)limit - 1;
    for (unsigned fd = first; fd <= last && fd < INT32_MAX; fd++)
        object_release(object_remove((int)fd));
    errno = error;
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    int r = NEXT(close_range)(first, last, flags);
    if (r == 0 && !(flags & CLOSE_RANGE_CLOEXEC))
        forget(first, last);
    return r;
}

EXPORT void closefrom(int first)
{
    NEXT(closefrom)(first);
    forget(first < 0 ? 0 : (unsigned)first, ~0u);
}
