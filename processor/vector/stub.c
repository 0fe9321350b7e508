/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cache of stubs.  Their memory is mapped twice, once writable and once executable, so that no
 * page is ever both.
 */
#include "vector.h"

#include <cpuid.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_BYTES ((size_t)STUB_SLOTS * STUB_BYTES)

/* Two views of a memory file; an executable one may be forbidden (noexec memfd policy). */
static bool map_memfd(struct vector_stubs *s)
{
    int fd = memfd_create("trapeze-stubs", MFD_CLOEXEC);
    if (fd < 0)
        return false;
    void *writable = MAP_FAILED, *executable = MAP_FAILED;
    if (ftruncate(fd, (off_t)ARENA_BYTES) == 0) {
        writable = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        executable = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    }
    close(fd);
    if (writable != MAP_FAILED && executable != MAP_FAILED) {
        s->writable = writable;
        s->executable = executable;
        return true;
    }
    if (writable != MAP_FAILED)
        munmap(writable, ARENA_BYTES);
    if (executable != MAP_FAILED)
        munmap(executable, ARENA_BYTES);
    return false;
}

/* mremap with an old size of 0 gives a second view of shared anonymous memory. */
static bool map_anonymous(struct vector_stubs *s)
{
    void *writable =
        mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (writable == MAP_FAILED)
        return false;
    void *executable = mremap(writable, 0, ARENA_BYTES, MREMAP_MAYMOVE);
    if (executable != MAP_FAILED) {
        if (mprotect(executable, ARENA_BYTES, PROT_READ | PROT_EXEC) == 0) {
            s->writable = writable;
            s->executable = executable;
            return true;
        }
        munmap(executable, ARENA_BYTES);
    }
    munmap(writable, ARENA_BYTES);
    return false;
}

struct vector_stubs *vector_stubs_new(void)
{
    /* Pages that are not used are never touched: most processors need few stubs. */
    struct vector_stubs *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->features = host_features();
    if (!map_memfd(s) && !map_anonymous(s)) {
        munmap(s, sizeof(*s));
        return NULL;
    }
    return s;
}

void vector_stubs_free(struct vector_stubs *s)
{
    if (!s)
        return;
    munmap(s->writable, ARENA_BYTES);
    munmap(s->executable, ARENA_BYTES);
    munmap(s, sizeof(*s));
}

static unsigned hash_of(uint64_t key)
{
    return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> 32) % STUB_SLOTS;
}

/* Takes the stub in SLOT out of its chain. */
static void unlink_slot(struct vector_stubs *s, unsigned slot)
{
    uint16_t *link = &s->head[hash_of(s->key[slot])];
    while (*link && *link != slot + 1)
        link = &s->next[*link - 1];
    if (*link)
        *link = s->next[slot];
}

static uint64_t stub_make(struct vector_stubs *s, uint64_t key, const struct stub_shape *shape)
{
    uint64_t serial = ++s->last;
    unsigned slot = serial % STUB_SLOTS, bucket = hash_of(key);
    bool reused = s->serial[slot] != 0;
    if (reused)
        unlink_slot(s, slot);
    stub_emit(shape, s->writable + (size_t)slot * STUB_BYTES);
    if (reused) {
        /* Code that may have run was changed through another address: serialize (SDM volume 3,
         * 8.1.3). */
        uint32_t eax, ebx, ecx, edx;
        __cpuid(0, eax, ebx, ecx, edx);
        (void)eax, (void)ebx, (void)ecx, (void)edx;
    }
    s->serial[slot] = serial;
    s->key[slot] = key;
    s->next[slot] = s->head[bucket];
    s->head[bucket] = (uint16_t)(slot + 1);
    return serial;
}

uint64_t stub_bind(struct processor *p, const struct insn *i)
{
    struct vector_stubs *s = p->stubs;
    struct stub_shape shape;
    stub_shape(p, i, &shape);
    uint64_t key = stub_key(&shape);
    for (unsigned n = s->head[hash_of(key)]; n; n = s->next[n - 1])
        if (s->key[n - 1] == key)
            return s->serial[n - 1];
    return stub_make(s, key, &shape);
}

stub_fn *stub_find(struct processor *p, const struct insn *i)
{
    unsigned slot = stub_bind(p, i) % STUB_SLOTS;
    return (stub_fn *)(void *)(p->stubs->executable + (size_t)slot * STUB_BYTES);
}
