/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The open family: /dev/kvm and the module parameters are ours, all else the C library's. */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* glibc's, which _FORTIFY_SOURCE makes calls to; no header shows them without it. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

/* A descriptor's number that is new belongs to nothing that the table still has under it (which the
 * program closed behind our back). */
static int fresh(int fd)
{
    if (fd >= 0 && object_known(fd))
        object_assign(fd, NULL);
    return fd;
}

#define MODE_OF(flags, mode)                                                                       \
    do {                                                                                           \
        if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) {                                 \
            va_list arguments;                                                                     \
            va_start(arguments, flags);                                                            \
            (mode) = va_arg(arguments, mode_t);                                                    \
            va_end(arguments);                                                                     \
        }                                                                                          \
    } while (0)

#define OPEN(name)                                                                                 \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        MODE_OF(flags, mode);                                                                      \
        struct special s = special_find(path);                                                     \
        return fresh(s.kind ? special_open(&s, flags) : NEXT(name)(path, flags, mode));            \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
    EXPORT int name(int folder, const char *path, int flags, ...)                                  \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        MODE_OF(flags, mode);                                                                      \
        struct special s = special_find(path);                                                     \
        return fresh(s.kind ? special_open(&s, flags) : NEXT(name)(folder, path, flags, mode));    \
    }
OPENAT(openat)
OPENAT(openat64)

#define OPEN_2(name)                                                                               \
    EXPORT int name(const char *path, int flags)                                                   \
    {                                                                                              \
        struct special s = special_find(path);                                                     \
        return fresh(s.kind ? special_open(&s, flags) : NEXT(name)(path, flags));                  \
    }
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define OPENAT_2(name)                                                                             \
    EXPORT int name(int folder, const char *path, int flags)                                       \
    {                                                                                              \
        struct special s = special_find(path);                                                     \
        return fresh(s.kind ? special_open(&s, flags) : NEXT(name)(folder, path, flags));          \
    }
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)

static FILE *open_stream(const struct special *s, const char *mode)
{
    int flags = strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
    int fd = special_open(s, flags | (strchr(mode, 'e') ? O_CLOEXEC : 0));
    FILE *f = fd < 0 ? NULL : fdopen(fd, mode);
    if (!f && fd >= 0) {
        object_release(object_remove(fd));
        NEXT(close)(fd);
    }
    return f;
}

#define FOPEN(name)                                                                                \
    EXPORT FILE *name(const char *path, const char *mode)                                          \
    {                                                                                              \
        struct special s = special_find(path);                                                     \
        return s.kind ? open_stream(&s, mode) : NEXT(name)(path, mode);                            \
    }
FOPEN(fopen)
FOPEN(fopen64)
