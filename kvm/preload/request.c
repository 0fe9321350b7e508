/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ioctl, mmap and read of KVM descriptors; changes of mappings that VMs use. */
#include "preload.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---------------------------------------------------------------- ioctl */

static enum object_kind kind_created(uint32_t request)
{
    return request == KVM_CREATE_VM     ? OBJECT_VM
           : request == KVM_CREATE_VCPU ? OBJECT_VCPU
                                        : OBJECT_STATS;
}

/* KVM_SET_SIGNAL_MASK took the mask at ARGUMENT. */
static void keep_mask(struct object *o, unsigned long argument)
{
    uint64_t mask = 0;
    if (argument)
        memcpy(&mask, ((struct kvm_signal_mask *)argument)->sigset, sizeof(mask));
    atomic_store(&o->mask, mask);
    atomic_store(&o->masked, argument != 0);
}

static long object_ioctl(struct object *o, uint32_t request, unsigned long argument)
{
    struct tkvm_file *created = NULL;
    /* Linux refuses a VM to every address space but its own. */
    if (o->kind != OBJECT_SYSTEM && o->process != getpid())
        return -EIO;
    if (request == KVM_RUN && o->kind == OBJECT_VCPU) {
        long r = signals_run(o, request, argument);
        translator_report(o);
        return r;
    }
    long r = tkvm_ioctl(o->file, request, argument, &created);
    if (r >= 0 && created && request == KVM_CREATE_VM)
        translator_choose(created);
    if (r >= 0 && created)
        r = object_install(kind_created(request), created, true);
    if (r == 0 && request == KVM_SET_SIGNAL_MASK)
        keep_mask(o, argument);
    return r;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    unsigned long argument = va_arg(arguments, unsigned long);
    va_end(arguments);

    if (_IOC_TYPE(request) != KVMIO)
        return NEXT(ioctl)(fd, request, argument);
    int saved = errno;
    struct object *o = object_of(fd);
    if (!o) {
        int r = object_adopt(fd);
        if (r == -ENOTTY) {
            errno = saved;
            return NEXT(ioctl)(fd, request, argument);
        }
        o = object_of(fd);
        if (r < 0 || !o) {
            errno = r < 0 ? -r : EBADF;
            return -1;
        }
    }
    long r = object_ioctl(o, (uint32_t)request, argument);
    object_release(o);
    if ((uint32_t)request == KVM_RUN)
        signals_resume();
    int level = preload_log_level();
    if (level > 1 || (level && r < 0 && r != -EINTR))
        preload_log("trapeze-kvm: request 0x%08x of descriptor %d, argument 0x%lx: %ld",
                    (uint32_t)request, fd, argument, r);
    errno = r < 0 ? (int)-r : saved;
    return r < 0 ? -1 : (int)r;
}

/* ---------------------------------------------------------------- mmap */

/* Maps a vCPU's pages one by one over a range that is reserved first.  MAP_FAILED and errno. */
static void *map_pages(struct object *o, void *address, size_t length, int protection, int flags,
                       off_t offset)
{
    uint64_t position;
    int fd = tkvm_mmap_fd(o->file, (uint64_t)offset, &position);
    if (fd < 0) {
        errno = -fd;
        return MAP_FAILED;
    }
    int placement = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT);
    uint8_t *at =
        NEXT(mmap)(address, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | placement, -1, 0);
    if (at == MAP_FAILED)
        return MAP_FAILED;
    for (size_t done = 0; done < length; done += PAGE_BYTES) {
        fd = tkvm_mmap_fd(o->file, (uint64_t)offset + done, &position);
        if (fd < 0)
            break; /* beyond the vCPU's pages: mapped, but not to be touched, as on Linux */
        if (NEXT(mmap)(at + done, PAGE_BYTES, protection,
                       (flags & MAP_PRIVATE ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED, fd,
                       (off_t)position) == MAP_FAILED) {
            int error = errno;
            munmap(at, length);
            errno = error;
            return MAP_FAILED;
        }
    }
    return at;
}

/* As on Linux, a dirty ring is shared with the kernel or not mapped at all. */
static bool ring_is_refused(struct object *o, size_t length, int protection, int flags,
                            off_t offset)
{
    const off_t ring = KVM_DIRTY_LOG_PAGE_OFFSET * (off_t)PAGE_BYTES;
    uint64_t position;
    off_t at = offset < ring ? ring : offset;
    if (!(flags & MAP_PRIVATE) && !(protection & PROT_EXEC))
        return false;
    return (size_t)(at - offset) < length && tkvm_mmap_fd(o->file, (uint64_t)at, &position) >= 0;
}

static void *map_object(int fd, void *address, size_t length, int protection, int flags,
                        off_t offset)
{
    struct object *o = object_of(fd);
    void *at = MAP_FAILED;
    if (!o)
        errno = EBADF;
    else if (o->kind != OBJECT_VCPU)
        errno = ENODEV;
    else if (o->process != getpid())
        errno = EIO;
    else if (!length || offset < 0 || offset % (off_t)PAGE_BYTES ||
             ring_is_refused(o, length, protection, flags, offset))
        errno = EINVAL;
    else
        at = map_pages(o, address, length, protection, flags, offset);
    object_release(o);
    return at;
}

/* A mapping of the program's own; where it takes the place of another, a VM may use that. */
static void *map_over(void *(*next)(void *, size_t, int, int, int, off_t), void *address,
                      size_t length, int protection, int flags, int fd, off_t offset)
{
    struct changed_vms changed;
    if (!(flags & MAP_FIXED))
        return next(address, length, protection, flags, fd, offset);
    objects_memory_begin(&changed, address, length);
    void *at = next(address, length, protection, flags, fd, offset);
    int error = errno;
    objects_memory_end(&changed);
    errno = error;
    return at;
}

#define MMAP(name)                                                                                 \
    EXPORT void *name(void *address, size_t length, int protection, int flags, int fd,             \
                      off_t offset)                                                                \
    {                                                                                              \
        return flags & MAP_ANONYMOUS || !object_known(fd)                                          \
                   ? map_over(NEXT(name), address, length, protection, flags, fd, offset)          \
                   : map_object(fd, address, length, protection, flags, offset);                   \
    }
MMAP(mmap)
MMAP(mmap64)

EXPORT int munmap(void *address, size_t length)
{
    struct changed_vms changed;
    objects_memory_begin(&changed, address, length);
    int r = NEXT(munmap)(address, length);
    int error = errno;
    objects_memory_end(&changed);
    errno = error;
    return r;
}

EXPORT int mprotect(void *address, size_t length, int protection)
{
    struct changed_vms changed;
    objects_memory_begin(&changed, address, length);
    int r = NEXT(mprotect)(address, length, protection);
    int error = errno;
    objects_memory_end(&changed);
    errno = error;
    return r;
}

/* ---------------------------------------------------------------- read */

EXPORT ssize_t read(int fd, void *to, size_t size)
{
    object_refresh(fd);
    return NEXT(read)(fd, to, size);
}

#define PREAD(name)                                                                                \
    EXPORT ssize_t name(int fd, void *to, size_t size, off_t offset)                               \
    {                                                                                              \
        object_refresh(fd);                                                                        \
        return NEXT(name)(fd, to, size, offset);                                                   \
    }
PREAD(pread)
PREAD(pread64)

/* What _FORTIFY_SOURCE makes of them. */
ssize_t __read_chk(int fd, void *to, size_t size, size_t room);
ssize_t __pread_chk(int fd, void *to, size_t size, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *to, size_t size, off_t offset, size_t room);

EXPORT ssize_t __read_chk(int fd, void *to, size_t size, size_t room)
{
    object_refresh(fd);
    return NEXT(__read_chk)(fd, to, size, room);
}

#define PREAD_CHK(name)                                                                            \
    EXPORT ssize_t name(int fd, void *to, size_t size, off_t offset, size_t room)                  \
    {                                                                                              \
        object_refresh(fd);                                                                        \
        return NEXT(name)(fd, to, size, offset, room);                                             \
    }
PREAD_CHK(__pread_chk)
PREAD_CHK(__pread64_chk)
