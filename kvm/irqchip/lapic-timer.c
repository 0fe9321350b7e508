/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The local APIC's timer (SDM volume 3, 11.5.4): one-shot, periodic, TSC deadline.
 *
 * The helper thread only sets a flag and kicks; the vCPU's thread does the rest when it next looks
 * for interrupts.  An expiry that was under way while the guest set the timer anew is told from a
 * real one by the time: nothing is delivered before its target.
 */
#include "lapic-internal.h"

#define PERIOD_MIN_NS                                                                              \
    200000ull /* so that a guest cannot keep the host busy with expiries alone                     \
               */
#define FOREVER_NS (1ull << 62)

static uint32_t timer_mode(const struct lapic *l)
{
    return reg_get(l, APIC_LVT_TIMER) & LVT_TIMER_MODE;
}

/* Nanoseconds a tick: the bus cycle times the divide configuration (bits 3, 1, 0). */
static uint64_t tick_ns(const struct lapic *l)
{
    uint32_t divide = reg_get(l, APIC_TDCR);
    unsigned shift = ((divide & 3) | (divide >> 1 & 4)) + 1;

    return atomic_load(&l->chip->bus_cycle_ns) << (shift & 7);
}

static void expired(void *opaque, uint64_t expirations)
{
    struct lapic *l = opaque;

    (void)expirations; /* IRR holds one, whatever the number */
    atomic_store(&l->timer.fired, true);
    l->chip->services->kick(l->vcpu);
}

int lapic_timer_init(struct lapic *l)
{
    return timer_add(l->chip->timers, &l->timer.timer, expired, l);
}

void lapic_timer_free(struct lapic *l)
{
    timer_remove(l->chip->timers, &l->timer.timer);
}

static void disarm(struct lapic *l)
{
    if (l->timer.target)
        timer_cancel(l->chip->timers, &l->timer.timer);
    l->timer.target = 0;
    atomic_store(&l->timer.fired, false);
}

void lapic_timer_stop(struct lapic *l)
{
    disarm(l);
    l->timer.deadline = 0;
}

/* Arms the timer for TARGET, not 0. */
static void arm(struct lapic *l, uint64_t target, uint64_t period)
{
    atomic_store(&l->timer.fired, false);
    l->timer.target = target;
    l->timer.period = period;
    timer_arm(l->chip->timers, &l->timer.timer, target, period);
}

void lapic_timer_poll(struct lapic *l)
{
    struct lapic_timer *t = &l->timer;
    uint64_t now;

    if (!atomic_load_explicit(&t->fired, memory_order_relaxed) ||
        !atomic_exchange(&t->fired, false))
        return;
    now = timer_now();
    if (!t->target || now < t->target)
        return;
    if (t->period) {
        t->target += ((now - t->target) / t->period + 1) * t->period;
    } else {
        t->target = 0;
        t->deadline = 0;
    }
    lapic_raise_lvt(l, APIC_LVT_TIMER);
}

/* ---------------------------------------------------------------- counting modes */

/* Counts LEFT ns down now, and in periodic mode from the initial count ever after. */
static void count_down(struct lapic *l, uint64_t left)
{
    uint64_t period = 0;

    if (timer_mode(l) == LVT_TIMER_PERIODIC) {
        period = reg_get(l, APIC_TMICT) * tick_ns(l);
        if (period < PERIOD_MIN_NS)
            period = PERIOD_MIN_NS;
    }
    arm(l, timer_now() + (left < FOREVER_NS ? left : FOREVER_NS), period);
}

void lapic_timer_start(struct lapic *l, uint32_t count)
{
    uint32_t initial = reg_get(l, APIC_TMICT);
    uint32_t mode = timer_mode(l);

    disarm(l);
    if (!initial || (mode != LVT_TIMER_ONE_SHOT && mode != LVT_TIMER_PERIODIC))
        return;
    if (count > initial || (!count && mode == LVT_TIMER_PERIODIC))
        count = initial;
    /* A one-shot timer restored with nothing left expires now: QEMU saves no current count, so it
     * may be one whose interrupt is yet to come.  Linux has it so, too. */
    count_down(l, count * tick_ns(l));
}

uint32_t lapic_timer_current(struct lapic *l)
{
    uint64_t now, left;

    lapic_timer_poll(l);
    if (!l->timer.target || timer_mode(l) == LVT_TIMER_DEADLINE)
        return 0;
    now = timer_now();
    if (l->timer.target > now)
        left = l->timer.target - now;
    else if (l->timer.period)
        left = l->timer.period - (now - l->timer.target) % l->timer.period;
    else
        left = 0;
    left = (left + tick_ns(l) - 1) / tick_ns(l);
    return left < reg_get(l, APIC_TMICT) ? (uint32_t)left : reg_get(l, APIC_TMICT);
}

void lapic_timer_write_divide(struct lapic *l, uint32_t value)
{
    uint32_t left = lapic_timer_current(l);

    reg_set(l, APIC_TDCR, value & 0xb);
    if (left) {
        disarm(l);
        count_down(l, left * tick_ns(l));
    }
}

void lapic_timer_write_lvt(struct lapic *l, uint32_t value)
{
    uint32_t before = timer_mode(l), after = value & LVT_TIMER_MODE;
    uint32_t left = before != after ? lapic_timer_current(l) : 0;

    lapic_timer_poll(l); /* what fired before the write goes by the old entry */
    reg_set(l, APIC_LVT_TIMER, value);
    if (before == after)
        return;
    if (before == LVT_TIMER_DEADLINE || after == LVT_TIMER_DEADLINE) {
        lapic_timer_stop(l);
        reg_set(l, APIC_TMICT, 0);
    } else if (left) {
        disarm(l);
        count_down(l, left * tick_ns(l));
    }
}

/* ---------------------------------------------------------------- TSC deadline */

uint64_t lapic_timer_get_deadline(const struct lapic *l)
{
    return timer_mode(l) == LVT_TIMER_DEADLINE ? l->timer.deadline : 0;
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t deadline)
{
    const struct irqchip_services *services = l->chip->services;
    uint64_t tsc, now;

    if (timer_mode(l) != LVT_TIMER_DEADLINE || !lapic_enabled(l))
        return;
    if (!deadline) {
        lapic_timer_stop(l);
        return;
    }
    now = timer_now();
    tsc = services->tsc(l->vcpu);
    if (deadline <= tsc) {
        lapic_timer_stop(l);
        lapic_raise_lvt(l, APIC_LVT_TIMER);
        return;
    }
    unsigned __int128 ns = (unsigned __int128)(deadline - tsc) * 1000000u;
    uint32_t khz = services->tsc_khz(l->vcpu);
    ns = khz ? (ns + khz - 1) / khz : FOREVER_NS;
    l->timer.deadline = deadline;
    arm(l, now + (ns < FOREVER_NS ? (uint64_t)ns : FOREVER_NS), 0);
}

void lapic_tsc_changed(struct lapic *l)
{
    if (timer_mode(l) == LVT_TIMER_DEADLINE && l->timer.deadline)
        lapic_timer_set_deadline(l, l->timer.deadline);
}
