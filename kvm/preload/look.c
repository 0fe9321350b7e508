/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions that look whether a file is there: /dev/kvm and the module parameters are. */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define KVM_MAJOR 10
#define KVM_MINOR 232

/* glibc's names of stat and its kin before 2.33; no header shows them any more. */
int __xstat(int version, const char *path, struct stat *st);
int __xstat64(int version, const char *path, struct stat64 *st);
int __lxstat(int version, const char *path, struct stat *st);
int __lxstat64(int version, const char *path, struct stat64 *st);

static int fail(int error)
{
    errno = error;
    return -1;
}

static mode_t mode_of(const struct special *s)
{
    return s->kind == SPECIAL_KVM         ? S_IFCHR | 0666
           : s->kind == SPECIAL_PARAMETER ? S_IFREG | 0444
                                          : S_IFDIR | 0755;
}

/* struct stat and struct stat64 are the same on x86-64. */
_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "two kinds of struct stat");

static int tell(const struct special *s, void *to)
{
    struct stat st = {
        .st_mode = mode_of(s),
        .st_nlink = 1,
        .st_ino = 1 + (ino_t)s->kind,
        .st_blksize = 4096,
        .st_size = s->kind == SPECIAL_PARAMETER ? 4096 : 0,
        .st_rdev = s->kind == SPECIAL_KVM ? makedev(KVM_MAJOR, KVM_MINOR) : 0,
    };
    if (s->kind == SPECIAL_ABSENT)
        return fail(ENOENT);
    memcpy(to, &st, sizeof(st));
    return 0;
}

#define STAT(name, type)                                                                           \
    EXPORT int name(const char *path, struct type *st)                                             \
    {                                                                                              \
        struct special s = special_find(path);                                                     \
        return s.kind ? tell(&s, st) : NEXT(name)(path, st);                                       \
    }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

#define XSTAT(name, type)                                                                          \
    EXPORT int name(int version, const char *path, struct type *st)                                \
    {                                                                                              \
        struct special s = special_find(path);                                                     \
        return s.kind ? tell(&s, st) : NEXT(name)(version, path, st);                              \
    }
XSTAT(__xstat, stat)
XSTAT(__xstat64, stat64)
XSTAT(__lxstat, stat)
XSTAT(__lxstat64, stat64)

#define FSTATAT(name, type)                                                                        \
    EXPORT int name(int folder, const char *path, struct type *st, int flags)                      \
    {                                                                                              \
        struct special s = special_find(path);                                                     \
        return s.kind ? tell(&s, st) : NEXT(name)(folder, path, st, flags);                        \
    }
FSTATAT(fstatat, stat)
FSTATAT(fstatat64, stat64)

EXPORT int statx(int folder, const char *path, int flags, unsigned mask, struct statx *to)
{
    struct special s = special_find(path);
    if (!s.kind)
        return NEXT(statx)(folder, path, flags, mask, to);
    if (s.kind == SPECIAL_ABSENT)
        return fail(ENOENT);
    memset(to, 0, sizeof(*to));
    to->stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO | STATX_SIZE;
    to->stx_mode = (uint16_t)mode_of(&s);
    to->stx_nlink = 1;
    to->stx_ino = 1 + (uint64_t)s.kind;
    to->stx_blksize = 4096;
    to->stx_size = s.kind == SPECIAL_PARAMETER ? 4096 : 0;
    if (s.kind == SPECIAL_KVM) {
        to->stx_rdev_major = KVM_MAJOR;
        to->stx_rdev_minor = KVM_MINOR;
    }
    return 0;
}

static int allow(const struct special *s, int wanted)
{
    if (s->kind == SPECIAL_ABSENT)
        return fail(ENOENT);
    bool refused = s->kind == SPECIAL_KVM         ? wanted & X_OK
                   : s->kind == SPECIAL_PARAMETER ? wanted & (W_OK | X_OK)
                                                  : wanted & W_OK;
    return refused ? fail(EACCES) : 0;
}

#define ACCESS(name)                                                                               \
    EXPORT int name(const char *path, int wanted)                                                  \
    {                                                                                              \
        struct special s = special_find(path);                                                     \
        return s.kind ? allow(&s, wanted) : NEXT(name)(path, wanted);                              \
    }
ACCESS(access)
ACCESS(euidaccess)
ACCESS(eaccess)

EXPORT int faccessat(int folder, const char *path, int wanted, int flags)
{
    struct special s = special_find(path);
    return s.kind ? allow(&s, wanted) : NEXT(faccessat)(folder, path, wanted, flags);
}
