/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects and the table of descriptors.
 *
 * Without locks: objects are never given back to the allocator, only used again, so a thread that
 * read a table entry may always touch the object's reference count; it then looks whether the entry
 * is still the same.
 */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK  1024
#define CHUNKS 1024 /* a million descriptors, fs.nr_open's default */

#define POOL_CHUNK  256
#define POOL_CHUNKS 256

typedef _Atomic(struct object *) entry;

/* The one table of the process, as the kernel's of descriptors is. */
static struct {
    _Atomic(entry *) chunk[CHUNKS];
    _Atomic(struct object *) pool[POOL_CHUNKS];
    _Atomic pid_t process; /* whose table this is */
    _Atomic(struct object *) system;
    _Atomic bool vms; /* there is a VM, or was */
} table;

static const char *const placeholder_names[] = {
    [OBJECT_SYSTEM] = "trapeze-kvm",
    [OBJECT_VM] = "trapeze-kvm-vm",
    [OBJECT_VCPU] = "trapeze-kvm-vcpu",
    [OBJECT_STATS] = "trapeze-kvm-stats",
};

/* ---------------------------------------------------------------- the pool */

/* Part I of an array that grows by parts of COUNT zeroed elements of SIZE bytes; NULL when it is
 * not there and is not to be made, or out of memory. */
static void *part(_Atomic(void *) *slot, size_t count, size_t size, bool make)
{
    void *p = atomic_load_explicit(slot, memory_order_acquire);
    if (p || !make)
        return p;
    void *fresh = calloc(count, size);
    if (!fresh)
        return NULL;
    if (atomic_compare_exchange_strong(slot, &p, fresh))
        return fresh;
    free(fresh);
    return p;
}

static struct object *pool_part(unsigned i, bool make)
{
    return part((_Atomic(void *) *)&table.pool[i], POOL_CHUNK, sizeof(struct object), make);
}

static struct object *object_new(enum object_kind kind, struct tkvm_file *file)
{
    for (unsigned i = 0; i < POOL_CHUNKS; i++) {
        struct object *objects = pool_part(i, true);
        if (!objects)
            return NULL;
        for (unsigned j = 0; j < POOL_CHUNK; j++) {
            struct object *o = &objects[j];
            bool used = false;
            if (atomic_load_explicit(&o->used, memory_order_relaxed) ||
                !atomic_compare_exchange_strong(&o->used, &used, true))
                continue;
            o->kind = kind;
            o->file = file;
            if (kind == OBJECT_VM)
                atomic_store(&table.vms, true);
            o->process = getpid();
            o->masked = false;
            o->checked = kind == OBJECT_VCPU && translator_checked();
            atomic_store(&o->references, 1);
            return o;
        }
    }
    return NULL;
}

void object_release(struct object *o)
{
    if (!o || atomic_fetch_sub(&o->references, 1) != 1)
        return;
    /* A VM that a forked child inherited has no threads in it, and is only forgotten. */
    if (o->kind == OBJECT_SYSTEM || o->process == getpid())
        tkvm_close(o->file);
    o->file = NULL;
    atomic_store(&o->used, false);
}

void object_kick_runner(pthread_t thread)
{
    for (unsigned i = 0; i < POOL_CHUNKS; i++) {
        struct object *objects = pool_part(i, false);
        if (!objects)
            return;
        for (unsigned j = 0; j < POOL_CHUNK; j++) {
            struct object *o = &objects[j];
            unsigned n = atomic_load(&o->references);
            if (!n || atomic_load(&o->runner) != thread)
                continue;
            /* Held, so that it is not closed under us. */
            while (n && !atomic_compare_exchange_weak(&o->references, &n, n + 1))
                ;
            if (!n)
                continue;
            if (atomic_load(&o->runner) == thread)
                tkvm_kick(o->file);
            object_release(o);
        }
    }
}

/* ---------------------------------------------------------------- VMs and mappings */

void objects_memory_begin(struct changed_vms *c, const void *at, size_t size)
{
    c->count = 0;
    if (!atomic_load_explicit(&table.vms, memory_order_relaxed) || signals_in_run())
        return;
    for (unsigned i = 0; i < POOL_CHUNKS; i++) {
        struct object *objects = pool_part(i, false);
        if (!objects)
            return;
        for (unsigned j = 0; j < POOL_CHUNK; j++) {
            struct object *o = &objects[j];
            unsigned n = atomic_load(&o->references);
            while (n && !atomic_compare_exchange_weak(&o->references, &n, n + 1))
                ;
            if (!n)
                continue;
            if (c->count < ARRAY_SIZE(c->vm) && o->kind == OBJECT_VM && o->process == getpid() &&
                tkvm_memory_begin(o->file, at, size))
                c->vm[c->count++] = o;
            else
                object_release(o);
        }
    }
}

void objects_memory_end(struct changed_vms *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        tkvm_memory_end(c->vm[i]->file);
        object_release(c->vm[i]);
    }
}

/* ---------------------------------------------------------------- the table */

static entry *entry_of(int fd, bool make)
{
    if (fd < 0 || fd >= CHUNK * CHUNKS)
        return NULL;
    entry *entries = part((_Atomic(void *) *)&table.chunk[fd / CHUNK], CHUNK, sizeof(entry), make);
    return entries ? &entries[fd % CHUNK] : NULL;
}

bool object_known(int fd)
{
    entry *e = entry_of(fd, false);
    return e && atomic_load_explicit(e, memory_order_relaxed);
}

struct object *object_of(int fd)
{
    entry *e = entry_of(fd, false);
    for (;;) {
        struct object *o = e ? atomic_load(e) : NULL;
        unsigned n = o ? atomic_load(&o->references) : 0;
        while (n && !atomic_compare_exchange_weak(&o->references, &n, n + 1))
            ;
        if (!n)
            return NULL;
        if (atomic_load(e) == o)
            return o;
        object_release(o);
    }
}

void object_assign(int fd, struct object *o)
{
    entry *e = entry_of(fd, o != NULL);
    if (!e || (!o && !atomic_load(e)) || atomic_load(&table.process) != getpid())
        return;
    if (o)
        atomic_fetch_add(&o->references, 1);
    object_release(atomic_exchange(e, o));
}

struct object *object_remove(int fd)
{
    entry *e = entry_of(fd, false);
    if (!e || !atomic_load_explicit(e, memory_order_relaxed) ||
        atomic_load(&table.process) != getpid())
        return NULL;
    return atomic_exchange(e, NULL);
}

/* ---------------------------------------------------------------- descriptors */

static void forked(void)
{
    atomic_store(&table.process, getpid());
}

/* Notes whose table it is. */
static void own_table(void)
{
    pid_t none = 0;
    if (atomic_compare_exchange_strong(&table.process, &none, getpid()))
        pthread_atfork(NULL, NULL, forked);
}

/* A descriptor that nothing can be read from or written to, but statistics, which are copied into
 * it before they are read. */
static int placeholder(enum object_kind kind, bool close_on_exec)
{
    int fd = memfd_create(placeholder_names[kind],
                          MFD_ALLOW_SEALING | (close_on_exec ? MFD_CLOEXEC : 0));
    if (fd < 0)
        return -errno;
    if (fd >= CHUNK * CHUNKS) {
        NEXT(close)(fd);
        return -EMFILE;
    }
    if (kind == OBJECT_STATS)
        return fd;
    NEXT(fcntl)(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL);
    return fd;
}

static struct object *object_make(enum object_kind kind, struct tkvm_file *file)
{
    if (!file)
        return NULL;
    own_table();
    struct object *o = object_new(kind, file);
    if (!o)
        tkvm_close(file);
    return o;
}

/* What every open of /dev/kvm stands for: it has no state, and takes some time to make.  Kept for
 * ever.  NULL: out of memory. */
static struct object *system_object(void)
{
    struct object *o = atomic_load(&table.system);
    if (o)
        return o;
    struct object *fresh = object_make(OBJECT_SYSTEM, tkvm_open(&preload_sink));
    if (!fresh || atomic_compare_exchange_strong(&table.system, &o, fresh))
        return fresh;
    object_release(fresh);
    return o;
}

/* A new descriptor for O, or -errno. */
static int describe(struct object *o, bool close_on_exec)
{
    int fd = placeholder(o->kind, close_on_exec);
    if (fd >= 0 && !entry_of(fd, true)) {
        NEXT(close)(fd);
        return -ENOMEM;
    }
    if (fd >= 0)
        object_assign(fd, o);
    return fd;
}

void object_refresh(int fd)
{
    uint8_t data[4096];
    struct object *o = object_known(fd) ? object_of(fd) : NULL;
    int error = errno;
    if (o && o->kind == OBJECT_STATS && o->process == getpid()) {
        long size = tkvm_read(o->file, data, sizeof(data), 0);
        if (size > 0 && pwrite(fd, data, (size_t)size, 0) < 0)
            errno = error; /* what was there before is read */
    }
    object_release(o);
    errno = error;
}

int object_open_system(bool close_on_exec)
{
    struct object *o = system_object();
    return o ? describe(o, close_on_exec) : -ENOMEM;
}

int object_install(enum object_kind kind, struct tkvm_file *file, bool close_on_exec)
{
    struct object *o = object_make(kind, file);
    if (!o)
        return -ENOMEM;
    int fd = describe(o, close_on_exec);
    object_release(o);
    return fd;
}

int object_adopt(int fd)
{
    static const char prefix[] = "/memfd:trapeze-kvm-";
    char path[40], target[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return -ENOTTY;
    target[n] = 0;
    if (!strncmp(target, prefix, strlen(prefix)))
        return -EIO;
    if (strcmp(target, "/memfd:trapeze-kvm (deleted)"))
        return -ENOTTY;
    struct object *o = system_object();
    if (!o || !entry_of(fd, true))
        return -ENOMEM;
    object_assign(fd, o);
    return 0;
}
