/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 8254 programmable interval timer, channel 0 on GSI 0, channel 2 with its gate and output at
 * port 0x61 (Intel 8254 data sheet).  The state is KVM's struct kvm_pit_channel_state, whose
 * count_load_time is CLOCK_MONOTONIC in ns.  All but the timer's entry has the irqchip lock held.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIT_HZ        1193182u
#define NS_PER_SECOND 1000000000u
#define CHANNELS      3u
#define PERIOD_MIN_NS 200000u
#define BACKLOG_MAX   100000u

#define PORT_COUNTER 0x40u
#define PORT_CONTROL 0x43u
#define PORT_SPEAKER 0x61u

#define SPEAKER_GATE    0x01
#define SPEAKER_DATA    0x02
#define SPEAKER_REFRESH 0x10
#define SPEAKER_OUTPUT  0x20

/* rw_mode, read_state and write_state. */
enum { LATCH, LOW, HIGH, LOW_THEN_HIGH, LOW_THEN_HIGH_SECOND };

struct channel {
    struct kvm_pit_channel_state s;
    uint64_t
        paused; /* when the gate fell, in a mode that counts only while it is high; 0: counting */
    bool empty; /* a control word was written, and no count yet */
};

struct pit {
    struct channel channel[CHANNELS];
    uint32_t flags;    /* KVM_PIT_FLAGS_* */
    bool speaker_port; /* port 0x61 is ours */
    bool reinject;     /* ticks that found the last one unhandled are made up for */
    bool acknowledged; /* the last tick was handled */
    uint32_t backlog;
    struct timer timer; /* channel 0's */
};

/* ---------------------------------------------------------------- counting */

static uint64_t ticks_to_ns(uint64_t ticks)
{
    return (ticks * NS_PER_SECOND + PIT_HZ - 1) / PIT_HZ;
}

/* CLK pulses since the count was loaded. */
static uint64_t elapsed(const struct channel *c, uint64_t now)
{
    uint64_t start = (uint64_t)c->s.count_load_time, end = c->paused ? c->paused : now;
    unsigned __int128 product;

    if (end <= start)
        return 0;
    product = (unsigned __int128)(end - start) * PIT_HZ;
    return (uint64_t)(product / NS_PER_SECOND);
}

/* The counting element now, in binary. */
static uint32_t current_count(const struct channel *c, uint64_t now)
{
    uint64_t d = elapsed(c, now);
    uint32_t count = c->s.count, wrap = c->s.bcd ? 10000 : 0x10000;

    switch (c->s.mode) {
    case 2:
        return count - (uint32_t)(d % count);
    case 3:
        return count - (uint32_t)(2 * d % count);
    default: /* these go on below zero */
        return (uint32_t)((count + wrap - d % wrap) % wrap);
    }
}

static bool output(const struct channel *c, uint64_t now)
{
    uint64_t d = elapsed(c, now);
    uint32_t count = c->s.count;

    if (c->empty)
        return c->s.mode != 0;
    switch (c->s.mode) {
    case 0:
    case 1:
        return d >= count;
    case 2:
        return !c->s.gate || d % count != count - 1;
    case 3:
        return !c->s.gate || d % count < (count + 1) / 2;
    case 4:
    case 5:
        return d != count;
    default: /* not programmed yet */
        return false;
    }
}

static uint32_t to_bcd(uint32_t binary)
{
    return binary % 10 | binary / 10 % 10 << 4 | binary / 100 % 10 << 8 | binary / 1000 % 10 << 12;
}

static uint32_t from_bcd(uint32_t bcd)
{
    return (bcd & 15) + (bcd >> 4 & 15) * 10 + (bcd >> 8 & 15) * 100 + (bcd >> 12 & 15) * 1000;
}

/* The count as the ports show it. */
static uint16_t visible_count(const struct channel *c, uint64_t now)
{
    uint32_t count = current_count(c, now);

    return (uint16_t)(c->s.bcd ? to_bcd(count) : count);
}

/* ---------------------------------------------------------------- channel 0's interrupts */

/* An edge on GSI 0.  False when it is masked everywhere. */
static bool pulse(struct irqchip *chip)
{
    unsigned count = atomic_load(&chip->lapic_count);
    bool heard = route_set_line(chip, IRQ_SOURCE_PIT, PIT_GSI, true) >= 0;

    route_set_line(chip, IRQ_SOURCE_PIT, PIT_GSI, false);
    for (unsigned n = 0; n < count; n++) {
        struct lapic *l = atomic_load(&chip->lapic[n]);
        if (l)
            lapic_pit_tick(l);
    }
    return heard;
}

/* Sends the next tick that is due, if the last was handled. */
static void inject(struct irqchip *chip)
{
    struct pit *pit = chip->pit;

    if (!pit->backlog || !pit->acknowledged)
        return;
    pit->backlog--;
    pit->acknowledged = false;
    if (!pulse(chip))
        pit->acknowledged = true; /* nobody will */
}

static void ticked(void *opaque, uint64_t expirations)
{
    struct irqchip *chip = opaque;
    struct pit *pit;

    irqchip_lock(chip);
    pit = chip->pit;
    if (pit->reinject) {
        pit->backlog += (uint32_t)(expirations < BACKLOG_MAX ? expirations : BACKLOG_MAX);
        if (pit->backlog > BACKLOG_MAX)
            pit->backlog = BACKLOG_MAX;
        inject(chip);
    } else {
        pulse(chip);
    }
    irqchip_unlock(chip);
}

void pit_acknowledged(struct irqchip *chip)
{
    if (!chip->pit)
        return;
    chip->pit->acknowledged = true;
    if (chip->pit->reinject)
        inject(chip);
}

static void reset_backlog(struct pit *pit)
{
    pit->backlog = 0;
    pit->acknowledged = true;
}

void pit_unmasked(struct irqchip *chip)
{
    if (chip->pit)
        reset_backlog(chip->pit); /* what came while masked is gone */
}

/* Arms the timer for channel 0's output edges, if it makes any. */
static void update_timer(struct irqchip *chip)
{
    struct pit *pit = chip->pit;
    const struct channel *c = &pit->channel[0];
    uint64_t ns = ticks_to_ns(c->s.count);
    bool once = c->s.mode == 0 || c->s.mode == 4;

    timer_cancel(chip->timers, &pit->timer);
    if ((pit->flags & KVM_PIT_FLAGS_HPET_LEGACY) || c->empty ||
        (!once && c->s.mode != 2 && c->s.mode != 3))
        return;
    if (!once && ns < PERIOD_MIN_NS)
        ns = PERIOD_MIN_NS;
    timer_arm(chip->timers, &pit->timer, (uint64_t)c->s.count_load_time + ns, once ? 0 : ns);
}

/* A count, in binary, goes into the counting element; 0 is the largest. */
static void load_count(struct irqchip *chip, unsigned index, uint32_t count)
{
    struct channel *c = &chip->pit->channel[index];

    c->s.count = count ? count : c->s.bcd ? 10000 : 0x10000;
    c->s.count_load_time = (int64_t)timer_now();
    c->empty = false;
    c->paused =
        !c->s.gate && (c->s.mode == 0 || c->s.mode == 4) ? (uint64_t)c->s.count_load_time : 0;
    if (index == 0) {
        reset_backlog(chip->pit);
        update_timer(chip);
    }
}

/* Channel 2's gate: holds or restarts the count, by mode. */
static void set_gate(struct channel *c, bool gate)
{
    uint64_t now = timer_now();

    switch (c->s.mode) {
    case 0:
    case 4:
        if (!gate && !c->paused) {
            c->paused = now;
        } else if (gate && c->paused) {
            c->s.count_load_time += (int64_t)(now - c->paused);
            c->paused = 0;
        }
        break;
    default:
        if (gate && !c->s.gate)
            c->s.count_load_time = (int64_t)now;
        break;
    }
    c->s.gate = gate;
}

/* ---------------------------------------------------------------- ports */

static void latch_count(struct channel *c)
{
    if (c->s.count_latched)
        return; /* until it has been read */
    c->s.latched_count = visible_count(c, timer_now());
    c->s.count_latched = c->s.rw_mode;
}

static void latch_status(struct channel *c)
{
    if (c->s.status_latched)
        return;
    c->s.status = (uint8_t)(output(c, timer_now()) << 7 | c->empty << 6 | (c->s.rw_mode & 3) << 4 |
                            (c->s.mode & 7) << 1 | (c->s.bcd & 1));
    c->s.status_latched = 1;
}

static void write_control(struct irqchip *chip, uint8_t value)
{
    unsigned select = value >> 6, access = value >> 4 & 3, mode = value >> 1 & 7;
    struct channel *c;

    if (select == 3) { /* read-back */
        for (unsigned i = 0; i < CHANNELS; i++) {
            if (!(value >> (i + 1) & 1))
                continue;
            if (!(value & 0x20))
                latch_count(&chip->pit->channel[i]);
            if (!(value & 0x10))
                latch_status(&chip->pit->channel[i]);
        }
        return;
    }
    c = &chip->pit->channel[select];
    if (access == LATCH) {
        latch_count(c);
        return;
    }
    c->s.rw_mode = (uint8_t)access;
    c->s.read_state = c->s.write_state = (uint8_t)access;
    c->s.mode = (uint8_t)(mode > 5 ? mode - 4 : mode);
    c->s.bcd = value & 1;
    c->s.count_latched = c->s.status_latched = 0;
    c->empty = true;
    if (select == 0)
        update_timer(chip);
}

static void write_counter(struct irqchip *chip, unsigned index, uint8_t value)
{
    struct channel *c = &chip->pit->channel[index];
    uint32_t count;

    switch (c->s.write_state) {
    case HIGH:
        count = (uint32_t)value << 8;
        break;
    case LOW_THEN_HIGH:
        c->s.write_latch = value;
        c->s.write_state = LOW_THEN_HIGH_SECOND;
        return;
    case LOW_THEN_HIGH_SECOND:
        count = c->s.write_latch | (uint32_t)value << 8;
        c->s.write_state = LOW_THEN_HIGH;
        break;
    default:
        count = value;
        break;
    }
    load_count(chip, index, c->s.bcd ? from_bcd(count) : count);
}

static uint8_t read_latch(struct channel *c)
{
    switch (c->s.count_latched) {
    case HIGH:
        c->s.count_latched = 0;
        return (uint8_t)(c->s.latched_count >> 8);
    case LOW_THEN_HIGH:
        c->s.count_latched = HIGH;
        return (uint8_t)c->s.latched_count;
    default:
        c->s.count_latched = 0;
        return (uint8_t)c->s.latched_count;
    }
}

static uint8_t read_counter(struct channel *c)
{
    uint16_t count;

    if (c->s.status_latched) {
        c->s.status_latched = 0;
        return c->s.status;
    }
    if (c->s.count_latched)
        return read_latch(c);
    count = visible_count(c, timer_now());
    switch (c->s.read_state) {
    case HIGH:
        return (uint8_t)(count >> 8);
    case LOW_THEN_HIGH:
        c->s.read_state = LOW_THEN_HIGH_SECOND;
        return (uint8_t)count;
    case LOW_THEN_HIGH_SECOND:
        c->s.read_state = LOW_THEN_HIGH;
        return (uint8_t)(count >> 8);
    default:
        return (uint8_t)count;
    }
}

static void write_speaker(struct pit *pit, uint8_t value)
{
    if (value & SPEAKER_DATA)
        pit->flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    else
        pit->flags &= ~(uint32_t)KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    set_gate(&pit->channel[2], value & SPEAKER_GATE);
}

static uint8_t read_speaker(struct pit *pit)
{
    uint64_t now = timer_now();
    uint8_t value = pit->channel[2].s.gate ? SPEAKER_GATE : 0;

    if (pit->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON)
        value |= SPEAKER_DATA;
    if (now >> 14 & 1) /* toggles with memory refresh, every 15 us or so */
        value |= SPEAKER_REFRESH;
    if (output(&pit->channel[2], now))
        value |= SPEAKER_OUTPUT;
    return value;
}

bool pit_port(struct irqchip *chip, uint16_t port, bool write, unsigned size, uint8_t *data)
{
    struct pit *pit = chip->pit;

    if (!pit)
        return false;
    if (port == PORT_SPEAKER ? !pit->speaker_port : port < PORT_COUNTER || port > PORT_CONTROL)
        return false;
    if (write) {
        if (port == PORT_SPEAKER)
            write_speaker(pit, data[0]);
        else if (port == PORT_CONTROL)
            write_control(chip, data[0]);
        else
            write_counter(chip, port - PORT_COUNTER, data[0]);
        return true;
    }
    memset(data, 0, size);
    if (port == PORT_SPEAKER)
        data[0] = read_speaker(pit);
    else if (port != PORT_CONTROL)
        data[0] = read_counter(&pit->channel[port - PORT_COUNTER]);
    return true;
}

/* ---------------------------------------------------------------- creation and state */

int pit_create(struct irqchip *chip, const struct kvm_pit_config *config)
{
    struct pit *pit;
    int error = 0;

    if (config->flags & ~(uint32_t)KVM_PIT_SPEAKER_DUMMY)
        return -EINVAL;
    if (chip->split)
        return -ENOENT;
    pit = calloc(1, sizeof(*pit));
    if (!pit)
        return -ENOMEM;
    pit->speaker_port = config->flags & KVM_PIT_SPEAKER_DUMMY;
    pit->reinject = true;
    irqchip_lock(chip);
    if (chip->pit)
        error = -EEXIST;
    else
        error = timer_add(chip->timers, &pit->timer, ticked, chip);
    if (!error) {
        chip->pit = pit;
        for (unsigned i = 0; i < CHANNELS; i++) {
            pit->channel[i].s.mode = 0xff; /* not programmed */
            pit->channel[i].s.gate = i != 2;
            load_count(chip, i, 0);
        }
        route_update_notify(chip);
    }
    irqchip_unlock(chip);
    if (error)
        free(pit);
    return error;
}

void pit_free(struct irqchip *chip)
{
    free(chip->pit); /* the helper thread has ended: its timer cannot fire */
    chip->pit = NULL;
}

/* Makes hostile values harmless. */
static void sanitize(struct kvm_pit_channel_state *s)
{
    uint32_t most = s->bcd ? 10000 : 0x10000;

    s->bcd &= 1;
    s->gate = s->gate != 0;
    s->count = s->count && s->count <= most ? s->count : most;
    s->rw_mode &= 3;
    s->count_latched &= 3;
}

static void set_channels(struct irqchip *chip, const struct kvm_pit_channel_state *channels)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct channel *c = &chip->pit->channel[i];
        c->s = channels[i];
        sanitize(&c->s);
        load_count(chip, i, c->s.count);
    }
}

int pit_get(struct irqchip *chip, struct kvm_pit_state2 *state)
{
    int error = -ENXIO;

    irqchip_lock(chip);
    if (chip->pit) {
        memset(state, 0, sizeof(*state));
        for (unsigned i = 0; i < CHANNELS; i++)
            state->channels[i] = chip->pit->channel[i].s;
        state->flags = chip->pit->flags;
        error = 0;
    }
    irqchip_unlock(chip);
    return error;
}

int pit_set(struct irqchip *chip, const struct kvm_pit_state2 *state)
{
    const uint32_t known = KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    int error = -ENXIO;

    irqchip_lock(chip);
    if (chip->pit) {
        chip->pit->flags = state->flags & known;
        set_channels(chip, state->channels);
        error = 0;
    }
    irqchip_unlock(chip);
    return error;
}

int pit_get_legacy(struct irqchip *chip, struct kvm_pit_state *state)
{
    struct kvm_pit_state2 whole;
    int error = pit_get(chip, &whole);

    if (!error)
        memcpy(state->channels, whole.channels, sizeof(state->channels));
    return error;
}

int pit_set_legacy(struct irqchip *chip, const struct kvm_pit_state *state)
{
    int error = -ENXIO;

    irqchip_lock(chip);
    if (chip->pit) {
        set_channels(chip, state->channels);
        error = 0;
    }
    irqchip_unlock(chip);
    return error;
}

int pit_reinject_control(struct irqchip *chip, const struct kvm_reinject_control *control)
{
    int error = -ENXIO;

    irqchip_lock(chip);
    if (chip->pit) {
        reset_backlog(chip->pit);
        chip->pit->reinject = control->pit_reinject != 0;
        error = 0;
    }
    irqchip_unlock(chip);
    return error;
}
