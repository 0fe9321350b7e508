/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For builds with ThreadSanitizer: tells it of GLib's locks, which libglib makes of system calls
 * that it cannot see.  Linked into a program, these stand in front of the library's functions.
 */
#include <dlfcn.h>
#include <glib.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define NEXT(name) static __typeof__(&name) next_##name
NEXT(g_mutex_lock);
NEXT(g_mutex_unlock);
NEXT(g_mutex_trylock);
NEXT(g_rw_lock_reader_lock);
NEXT(g_rw_lock_reader_unlock);
NEXT(g_rw_lock_writer_lock);
NEXT(g_rw_lock_writer_unlock);
NEXT(g_cond_wait);
NEXT(g_cond_wait_until);

/* Before main, while there is one thread. */
__attribute__((constructor)) static void find_next(void)
{
#define FIND(name) next_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
    FIND(g_mutex_lock);
    FIND(g_mutex_unlock);
    FIND(g_mutex_trylock);
    FIND(g_rw_lock_reader_lock);
    FIND(g_rw_lock_reader_unlock);
    FIND(g_rw_lock_writer_lock);
    FIND(g_rw_lock_writer_unlock);
    FIND(g_cond_wait);
    FIND(g_cond_wait_until);
}

#define LOCK(type, lock_name, unlock_name)                                                         \
    void lock_name(type *lock)                                                                     \
    {                                                                                              \
        next_##lock_name(lock);                                                                    \
        __tsan_acquire(lock);                                                                      \
    }                                                                                              \
    void unlock_name(type *lock)                                                                   \
    {                                                                                              \
        __tsan_release(lock);                                                                      \
        next_##unlock_name(lock);                                                                  \
    }
LOCK(GMutex, g_mutex_lock, g_mutex_unlock)
LOCK(GRWLock, g_rw_lock_reader_lock, g_rw_lock_reader_unlock)
LOCK(GRWLock, g_rw_lock_writer_lock, g_rw_lock_writer_unlock)

gboolean g_mutex_trylock(GMutex *mutex)
{
    gboolean got = next_g_mutex_trylock(mutex);
    if (got)
        __tsan_acquire(mutex);
    return got;
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
    __tsan_release(mutex);
    next_g_cond_wait(cond, mutex);
    __tsan_acquire(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end)
{
    __tsan_release(mutex);
    gboolean signalled = next_g_cond_wait_until(cond, mutex, end);
    __tsan_acquire(mutex);
    return signalled;
}
