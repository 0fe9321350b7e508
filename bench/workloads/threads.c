/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two threads, on two processors. */
#include "workloads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static void both(void *(*run)(void *), void *first, void *second)
{
    pthread_t threads[2];
    void *arguments[2] = {first, second};
    for (int i = 0; i < 2; i++) {
        errno = pthread_create(&threads[i], NULL, run, arguments[i]);
        if (errno)
            fail("pthread_create");
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

struct shared {
    uint32_t amount;
    _Atomic uint64_t added;
    _Atomic uint64_t exchanged;
};

static void *add_and_exchange(void *argument)
{
    struct shared *s = argument;
    for (uint32_t i = 0; i < s->amount; i++) {
        atomic_fetch_add(&s->added, i);
        uint64_t old = atomic_load_explicit(&s->exchanged, memory_order_relaxed);
        while (!atomic_compare_exchange_weak(&s->exchanged, &old, old + (i & 3)))
            ;
    }
    return NULL;
}

/* LOCK XADD and LOCK CMPXCHG on one cache line, by both. */
uint64_t atomics(uint32_t amount)
{
    struct shared s = {.amount = amount};
    both(add_and_exchange, &s, &s);
    return atomic_load(&s.added) * 31 + atomic_load(&s.exchanged);
}

struct part {
    uint32_t first, last;
    uint64_t sum;
};

static void *collatz(void *argument)
{
    struct part *part = argument;
    for (uint32_t n = part->first; n < part->last; n++) {
        uint64_t x = n;
        while (x != 1) {
            x = x & 1 ? 3 * x + 1 : x / 2;
            part->sum++;
        }
    }
    return NULL;
}

/* The lengths of Collatz' sequences below AMOUNT, half of them by each. */
uint64_t two_threads(uint32_t amount)
{
    struct part low = {1, amount / 2, 0}, high = {amount / 2, amount, 0};
    both(collatz, &low, &high);
    return low.sum * 31 + high.sum;
}
