/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's memory behind slots: which pages are there, to read and to write.  A load or store
 * that finds nothing would be a signal in a process that may not be ours.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether an access to the page would go well, and not be SIGSEGV or SIGBUS.  The kernel is made to
 * touch it by two futex calls, which fail with EFAULT instead: one compares the first word with 0,
 * one ORs 0 to it.  Both bring the page in as an access of ours would; neither changes it, and they
 * know of every kind of mapping. */
static bool readable(uint8_t *page)
{
    return syscall(SYS_futex, page, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, page, 0) >= 0 ||
           errno != EFAULT;
}

static bool writable(uint8_t *page)
{
    uint32_t nobody_waits = 0;
    return syscall(SYS_futex, &nobody_waits, FUTEX_WAKE_OP_PRIVATE, 0, 0, page,
                   FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0)) >= 0 ||
           errno != EFAULT;
}

/* Whether slot S leads to anonymous memory that may be read and written, all of it: then each page
 * is as good as there, and need not be touched to know. */
static bool is_anonymous(const struct slot *s)
{
    uintptr_t at = (uintptr_t)s->info.hva, last = at + (s->info.size - 1);
    bool whole = false;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return false;
    while (!whole && fgets(line, sizeof(line), maps)) {
        uintptr_t first, end;
        uint64_t inode;
        char rights[5];
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %" SCNu64, &first, &end, rights,
                   &inode) != 4 ||
            end <= at)
            continue;
        if (first > at || inode || memcmp(rights, "rw-p", 4) != 0)
            break;
        at = end;
        whole = last < end;
    }
    fclose(maps);
    return whole;
}

static void mark_all(struct slot *s)
{
    for (size_t n = 0; n < bitmap_words(s->info.size); n++) {
        atomic_store(&s->present[0][n], UINT64_MAX);
        atomic_store(&s->present[1][n], UINT64_MAX);
    }
}

/* A program that goes on changing what it has mapped is asked page by page. */
enum { SURVEYS = 4 };

enum present slot_make_present(struct memory *m, struct slot *slot, uint64_t gpa, bool write)
{
    uint64_t page = (gpa - slot->info.gpa) >> PAGE_BITS;
    _Atomic uint64_t *word = &slot->present[write][page / 64];
    uint8_t *at = slot->info.hva + (page << PAGE_BITS);
    int error = errno;
    uint64_t sequence = atomic_load(&m->host_sequence);
    if (atomic_load(&m->host_changes))
        return PRESENT_WAIT;
    bool all = atomic_fetch_add(&slot->surveys, 1) < SURVEYS && is_anonymous(slot);
    bool present = all || (write ? writable(at) : readable(at));
    errno = error;
    /* What was found may be past already; nobody must see a bit that is not to stay. */
    pthread_mutex_lock(&m->lock);
    bool same = atomic_load(&m->host_sequence) == sequence;
    if (same && all)
        mark_all(slot);
    else if (same && present)
        atomic_fetch_or(word, BIT(page % 64));
    pthread_mutex_unlock(&m->lock);
    return !same ? PRESENT_WAIT : present ? PRESENT_YES : PRESENT_NOT;
}

/* Whether slot S leads to [first, last]. */
static bool slot_overlaps(const struct slot *s, uintptr_t first, uintptr_t last)
{
    uintptr_t start = (uintptr_t)s->info.hva;
    return last >= start && first <= start + (s->info.size - 1);
}

/* Forgets what is known of the pages of S that touch [first, last]. */
static void slot_forget(struct slot *s, uintptr_t first, uintptr_t last)
{
    uintptr_t start = (uintptr_t)s->info.hva, end = start + (s->info.size - 1);
    uint64_t from = ((first > start ? first : start) - start) >> PAGE_BITS;
    uint64_t to = ((last < end ? last : end) - start) >> PAGE_BITS;
    for (unsigned write = 0; write < ARRAY_SIZE(s->present); write++)
        for (uint64_t page = from; page <= to; page++) {
            if (page % 64 == 0 && page + 63 <= to) {
                atomic_store(&s->present[write][page / 64], 0);
                page += 63;
            } else {
                atomic_fetch_and(&s->present[write][page / 64], ~BIT(page % 64));
            }
        }
}

bool memory_host_begin(struct memory *m, const void *hva, size_t size)
{
    uintptr_t first = (uintptr_t)hva, last = first + (size - 1);
    bool found = false;
    if (!size || last < first)
        return false;
    pthread_mutex_lock(&m->lock);
    const struct slot_table *t = atomic_load(&m->table);
    for (unsigned i = 0; i < t->count; i++) {
        if (!slot_overlaps(t->slot[i], first, last))
            continue;
        if (!found) {
            /* From here on nobody learns anything new. */
            atomic_fetch_add(&m->host_changes, 1);
            atomic_fetch_add(&m->host_sequence, 1);
            found = true;
        }
        slot_forget(t->slot[i], first, last);
    }
    pthread_mutex_unlock(&m->lock);
    if (!found)
        return false;
    memory_synchronize(m);
    pthread_rwlock_wrlock(&m->readers);
    pthread_rwlock_unlock(&m->readers);
    return true;
}

void memory_host_end(struct memory *m)
{
    atomic_fetch_add(&m->host_sequence, 1);
    atomic_fetch_sub(&m->host_changes, 1);
}

int memory_populate(struct memory *m, uint64_t gpa)
{
    pthread_rwlock_rdlock(&m->readers);
    struct slot *s = memory_slot_at(m, gpa);
    uint8_t *hva;
    int r = !s ? -ENOENT : slot_host(m, s, gpa, false, &hva) == PRESENT_YES ? 0 : -EFAULT;
    pthread_rwlock_unlock(&m->readers);
    return r;
}
