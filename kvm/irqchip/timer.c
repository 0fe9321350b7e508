/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "timer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000ull
#define NEVER         UINT64_MAX

struct timers {
    struct helper *helper;
    pthread_mutex_t lock;
    struct timer **heap; /* binary heap, the earliest deadline first */
    unsigned armed;
    unsigned added, room; /* timers that exist; entries allocated */
    uint64_t programmed;  /* what timer_fd is set to, NEVER when it is not */
    int timer_fd;
};

uint64_t timer_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

static void place(struct timers *ts, unsigned index, struct timer *t)
{
    ts->heap[index] = t;
    t->place = index + 1;
}

static void sift_up(struct timers *ts, unsigned index, struct timer *t)
{
    while (index > 0) {
        unsigned parent = (index - 1) / 2;
        if (ts->heap[parent]->deadline <= t->deadline)
            break;
        place(ts, index, ts->heap[parent]);
        index = parent;
    }
    place(ts, index, t);
}

static void sift_down(struct timers *ts, unsigned index, struct timer *t)
{
    for (;;) {
        unsigned child = 2 * index + 1;
        if (child >= ts->armed)
            break;
        if (child + 1 < ts->armed && ts->heap[child + 1]->deadline < ts->heap[child]->deadline)
            child++;
        if (t->deadline <= ts->heap[child]->deadline)
            break;
        place(ts, index, ts->heap[child]);
        index = child;
    }
    place(ts, index, t);
}

static void heap_insert(struct timers *ts, struct timer *t)
{
    sift_up(ts, ts->armed++, t);
}

static void heap_remove(struct timers *ts, struct timer *t)
{
    unsigned index = t->place - 1;
    struct timer *last = ts->heap[--ts->armed];

    t->place = 0;
    if (last == t)
        return;
    if (index > 0 && last->deadline < ts->heap[(index - 1) / 2]->deadline)
        sift_up(ts, index, last);
    else
        sift_down(ts, index, last);
}

/* Sets the descriptor for the earliest deadline if it is earlier than what it is set for.  A later
 * one is left to a wake-up that finds nothing to do: cheaper than a system call each time. */
static void program(struct timers *ts)
{
    uint64_t deadline = ts->armed ? ts->heap[0]->deadline : NEVER;
    struct itimerspec when = {0};

    if (deadline >= ts->programmed)
        return;
    ts->programmed = deadline;
    when.it_value.tv_sec = (time_t)(deadline / NS_PER_SECOND);
    when.it_value.tv_nsec = (long)(deadline % NS_PER_SECOND);
    if (!deadline)
        when.it_value.tv_nsec = 1; /* 0 would disarm */
    timerfd_settime(ts->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* The descriptor became readable: calls back everything that is due. */
static void expire(void *opaque)
{
    struct timers *ts = opaque;
    uint64_t ignored, now = timer_now();

    pthread_mutex_lock(&ts->lock);
    if (read(ts->timer_fd, &ignored, sizeof(ignored)) == sizeof(ignored))
        ts->programmed = NEVER;
    while (ts->armed && ts->heap[0]->deadline <= now) {
        struct timer *t = ts->heap[0];
        void (*fn)(void *, uint64_t) = t->fn;
        uint64_t expirations = 1;
        heap_remove(ts, t);
        if (t->period) {
            expirations += (now - t->deadline) / t->period;
            t->deadline += expirations * t->period;
            heap_insert(ts, t);
        }
        void *argument = t->opaque;
        pthread_mutex_unlock(&ts->lock);
        fn(argument, expirations);
        pthread_mutex_lock(&ts->lock);
    }
    program(ts);
    pthread_mutex_unlock(&ts->lock);
}

struct timers *timers_new(struct helper *h)
{
    struct timers *ts = calloc(1, sizeof(*ts));

    if (!ts)
        return NULL;
    pthread_mutex_init(&ts->lock, NULL);
    ts->helper = h;
    ts->programmed = NEVER;
    ts->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (ts->timer_fd >= 0 && helper_add(h, ts->timer_fd, expire, ts))
        return ts;
    int error = errno;
    if (ts->timer_fd >= 0)
        close(ts->timer_fd);
    free(ts);
    errno = error;
    return NULL;
}

void timers_free(struct timers *ts)
{
    if (!ts)
        return;
    close(ts->timer_fd);
    pthread_mutex_destroy(&ts->lock);
    free(ts->heap);
    free(ts);
}

int timer_add(struct timers *ts, struct timer *t, void (*fn)(void *, uint64_t), void *opaque)
{
    int error = 0;

    *t = (struct timer){.fn = fn, .opaque = opaque};
    pthread_mutex_lock(&ts->lock);
    if (ts->added == ts->room) {
        unsigned room = ts->room ? 2 * ts->room : 8;
        struct timer **heap = realloc(ts->heap, room * sizeof(struct timer *));
        if (heap) {
            ts->heap = heap;
            ts->room = room;
        } else {
            error = -ENOMEM;
        }
    }
    if (!error)
        ts->added++;
    pthread_mutex_unlock(&ts->lock);
    return error;
}

void timer_remove(struct timers *ts, struct timer *t)
{
    pthread_mutex_lock(&ts->lock);
    if (t->place)
        heap_remove(ts, t);
    t->period = 0;
    ts->added--;
    pthread_mutex_unlock(&ts->lock);
    helper_synchronize(ts->helper);
}

void timer_arm(struct timers *ts, struct timer *t, uint64_t deadline, uint64_t period)
{
    pthread_mutex_lock(&ts->lock);
    if (t->place)
        heap_remove(ts, t);
    t->deadline = deadline;
    t->period = period;
    heap_insert(ts, t);
    program(ts);
    pthread_mutex_unlock(&ts->lock);
}

void timer_cancel(struct timers *ts, struct timer *t)
{
    pthread_mutex_lock(&ts->lock);
    if (t->place)
        heap_remove(ts, t);
    pthread_mutex_unlock(&ts->lock);
}
