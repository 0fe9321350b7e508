/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Timers on CLOCK_MONOTONIC, in nanoseconds, fired by the helper thread.
 *
 * Arming is cheap: no thread switch, and no system call unless the deadline is the earliest.  The
 * lock inside is a leaf; callbacks run without it (but with the helper's lock).
 */
#ifndef TRAPEZE_IRQCHIP_TIMER_H
#define TRAPEZE_IRQCHIP_TIMER_H

#include "helper.h"

struct timers;

/* Embedded in its user; EXPIRATIONS is 1, or for periodic ones more if some were missed. */
struct timer {
    void (*fn)(void *opaque, uint64_t expirations);
    void *opaque;
    uint64_t deadline;
    uint64_t period; /* 0: once */
    unsigned place;  /* 1 + index in the heap; 0: not armed */
};

/* NULL with errno set when out of memory or descriptors. */
struct timers *timers_new(struct helper *h);
/* After helper_free; timers need not have been removed. */
void timers_free(struct timers *ts);

/* Makes room for T, so that arming cannot fail.  -ENOMEM. */
int timer_add(struct timers *ts, struct timer *t, void (*fn)(void *, uint64_t), void *opaque);
/* Takes T away; on return its callback is not running.  Not from a callback. */
void timer_remove(struct timers *ts, struct timer *t);

/* (Re)arms T for DEADLINE, which may be past, and then every PERIOD ns unless that is 0. */
void timer_arm(struct timers *ts, struct timer *t, uint64_t deadline, uint64_t period);
/* Disarms T; its callback may be running in this moment. */
void timer_cancel(struct timers *ts, struct timer *t);

/* CLOCK_MONOTONIC now. */
uint64_t timer_now(void);

#endif
