/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The MC146818 real-time clock and its CMOS memory (MC146818A data sheet), UTC.
 *
 * The clock is the host's plus an offset, so it needs no tick; a timer runs only while the guest
 * has an interrupt enabled.
 */
#include "chipset.h"
#include "machine/machine.h"

#include <string.h>
#include <time.h>

#define CMOS_SIZE 128
#define IRQ_RTC   8
#define SECOND_US 1000000
#define UIP_US    244 /* the update flag rises so long before the update */

enum {
    REG_SECONDS,
    REG_SECONDS_ALARM,
    REG_MINUTES,
    REG_MINUTES_ALARM,
    REG_HOURS,
    REG_HOURS_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    REG_CENTURY = 0x32,
};

#define A_UIP      0x80
#define A_RATE     0x0f
#define B_SET      0x80
#define B_PERIODIC 0x40
#define B_ALARM    0x20
#define B_UPDATE   0x10
#define B_BINARY   0x04
#define B_24H      0x02
#define C_IRQF     0x80
#define D_VALID    0x80
#define ALARM_ANY  0xc0 /* an alarm field with both bits set matches everything */
#define PM         0x80 /* of the hours in 12-hour mode */

struct rtc {
    struct device device;
    struct region region;
    GSource *timer;
    int64_t offset_us;   /* guest time minus host time */
    int64_t last_second; /* guest second that C's flags know of */
    int64_t last_period; /* count of periods that C knows of */
    uint8_t index;
    uint8_t cmos[CMOS_SIZE];
};

static struct rtc *rtc(struct device *d)
{
    return container_of(d, struct rtc, device);
}

static int64_t now_us(const struct rtc *r)
{
    return g_get_real_time() + r->offset_us;
}

/* ---- encodings ---- */

static uint8_t encode(const struct rtc *r, unsigned value)
{
    return r->cmos[REG_B] & B_BINARY ? (uint8_t)value : (uint8_t)(value / 10 << 4 | value % 10);
}

static unsigned decode(const struct rtc *r, uint8_t value)
{
    return r->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
    if (r->cmos[REG_B] & B_24H)
        return encode(r, hour);
    return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t value)
{
    if (r->cmos[REG_B] & B_24H)
        return decode(r, value);
    return decode(r, value & ~PM) % 12 + (value & PM ? 12 : 0);
}

/* Writes the guest's time into the clock registers. */
static void load_clock(struct rtc *r)
{
    time_t seconds = (time_t)(now_us(r) / SECOND_US);
    struct tm t;

    if (r->cmos[REG_B] & B_SET || !gmtime_r(&seconds, &t))
        return;
    r->cmos[REG_SECONDS] = encode(r, (unsigned)t.tm_sec);
    r->cmos[REG_MINUTES] = encode(r, (unsigned)t.tm_min);
    r->cmos[REG_HOURS] = encode_hour(r, (unsigned)t.tm_hour);
    r->cmos[REG_WEEKDAY] = encode(r, (unsigned)t.tm_wday + 1);
    r->cmos[REG_DAY] = encode(r, (unsigned)t.tm_mday);
    r->cmos[REG_MONTH] = encode(r, (unsigned)t.tm_mon + 1);
    r->cmos[REG_YEAR] = encode(r, (unsigned)(t.tm_year + 1900) % 100);
    r->cmos[REG_CENTURY] = encode(r, (unsigned)(t.tm_year + 1900) / 100);
}

/* Takes the clock registers as the guest's time. */
static void store_clock(struct rtc *r)
{
    struct tm t = {
        .tm_sec = (int)decode(r, r->cmos[REG_SECONDS]),
        .tm_min = (int)decode(r, r->cmos[REG_MINUTES]),
        .tm_hour = (int)decode_hour(r, r->cmos[REG_HOURS]),
        .tm_mday = (int)decode(r, r->cmos[REG_DAY]),
        .tm_mon = (int)decode(r, r->cmos[REG_MONTH]) - 1,
        .tm_year =
            (int)(decode(r, r->cmos[REG_CENTURY]) * 100 + decode(r, r->cmos[REG_YEAR])) - 1900,
    };

    r->offset_us = (int64_t)timegm(&t) * SECOND_US - g_get_real_time();
    r->last_second = now_us(r) / SECOND_US;
}

/* ---- interrupts ---- */

/* Length of the periodic interrupt, 0 when it is off. */
static int64_t period_ns(const struct rtc *r)
{
    unsigned rate = r->cmos[REG_A] & A_RATE;

    if (!rate)
        return 0;
    if (rate <= 2)
        rate += 7;
    return 1000000000ll * (1 << (rate - 1)) / 32768;
}

/* The divider chain behind the periodic interrupt runs on, whatever the guest sets the clock to. */
static int64_t divider_ns(void)
{
    return g_get_monotonic_time() * 1000;
}

static int64_t periods_now(int64_t period)
{
    return period ? divider_ns() / period : 0;
}

static bool alarm_field(const struct rtc *r, unsigned alarm, unsigned field)
{
    return (r->cmos[alarm] & ALARM_ANY) == ALARM_ANY || r->cmos[alarm] == r->cmos[field];
}

static bool alarm_matches(struct rtc *r)
{
    load_clock(r);
    return alarm_field(r, REG_SECONDS_ALARM, REG_SECONDS) &&
           alarm_field(r, REG_MINUTES_ALARM, REG_MINUTES) &&
           alarm_field(r, REG_HOURS_ALARM, REG_HOURS);
}

/* Brings C up to date, and the line with it. */
static void update_flags(struct rtc *r)
{
    int64_t now = now_us(r), period = period_ns(r), periods = periods_now(period);

    if (period && periods != r->last_period)
        r->cmos[REG_C] |= B_PERIODIC;
    r->last_period = periods;
    if (now / SECOND_US != r->last_second && !(r->cmos[REG_B] & B_SET)) {
        r->last_second = now / SECOND_US;
        r->cmos[REG_C] |= B_UPDATE | (alarm_matches(r) ? B_ALARM : 0);
        if (r->cmos[REG_B] & r->cmos[REG_C] & B_ALARM)
            pm_alarm(r->device.machine->pm); /* ACPI's fixed event, which wakes from S3 */
    }
    if (r->cmos[REG_B] & r->cmos[REG_C] & (B_PERIODIC | B_ALARM | B_UPDATE)) {
        if (!(r->cmos[REG_C] & C_IRQF))
            irq_set(r->device.machine, IRQ_RTC, true);
        r->cmos[REG_C] |= C_IRQF;
    }
}

/* Sets the timer to the next event whose interrupt is enabled. */
static void arm(struct rtc *r)
{
    int64_t now = now_us(r), next = -1, period = period_ns(r);

    if (r->cmos[REG_B] & (B_ALARM | B_UPDATE) && !(r->cmos[REG_B] & B_SET))
        next = SECOND_US - now % SECOND_US;
    if (r->cmos[REG_B] & B_PERIODIC && period) {
        int64_t left = (period - divider_ns() % period) / 1000 + 1;

        next = next < 0 ? left : MIN(next, left);
    }
    g_source_set_ready_time(r->timer, next < 0 ? -1 : g_get_monotonic_time() + next);
}

static gboolean on_timer(gpointer data)
{
    struct rtc *r = data;

    g_mutex_lock(&r->device.lock);
    update_flags(r);
    arm(r);
    g_mutex_unlock(&r->device.lock);
    return G_SOURCE_CONTINUE;
}

/* ---- registers ---- */

static uint8_t read_cmos(struct rtc *r, unsigned index)
{
    uint8_t value;

    switch (index) {
    case REG_A:
        value = r->cmos[REG_A];
        if (!(r->cmos[REG_B] & B_SET) && now_us(r) % SECOND_US >= SECOND_US - UIP_US)
            value |= A_UIP;
        return value;
    case REG_C:
        update_flags(r);
        value = r->cmos[REG_C];
        r->cmos[REG_C] = 0;
        if (value & C_IRQF)
            irq_set(r->device.machine, IRQ_RTC, false);
        return value;
    default:
        if (index < REG_A || index == REG_CENTURY)
            load_clock(r);
        return r->cmos[index];
    }
}

static bool is_clock(unsigned index)
{
    return index == REG_CENTURY || index >= REG_WEEKDAY || !(index & 1);
}

static void write_b(struct rtc *r, uint8_t value)
{
    uint8_t old = r->cmos[REG_B];

    load_clock(r); /* what SET freezes is the time of now */
    r->cmos[REG_B] = value & B_SET ? value & ~B_UPDATE : value;
    if ((old & ~value) & B_SET)
        store_clock(r);
    update_flags(r);
    arm(r);
}

static void write_cmos(struct rtc *r, unsigned index, uint8_t value)
{
    switch (index) {
    case REG_A:
        r->cmos[REG_A] = value & ~A_UIP;
        r->last_period = periods_now(period_ns(r));
        arm(r);
        break;
    case REG_B:
        write_b(r, value);
        break;
    case REG_C:
    case REG_D:
        break; /* read-only */
    default:
        if (index < REG_A || index == REG_CENTURY)
            load_clock(r);
        r->cmos[index] = value;
        if ((index < REG_A || index == REG_CENTURY) && is_clock(index) && !(r->cmos[REG_B] & B_SET))
            store_clock(r);
    }
}

static uint64_t rtc_read(struct device *d, uint64_t offset, unsigned size)
{
    struct rtc *r = rtc(d);

    if (offset == 1 && size == 1)
        return read_cmos(r, r->index);
    return UINT64_MAX; /* the index cannot be read */
}

static void rtc_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct rtc *r = rtc(d);

    if (offset == 0)
        r->index = value & (CMOS_SIZE - 1);
    if (offset == 1 || size == 2)
        write_cmos(r, r->index, (uint8_t)(offset ? value : value >> 8));
}

static const struct region_ops rtc_ops = {rtc_read, rtc_write};

/* ---- device ---- */

/* Memory sizes where a PC's firmware leaves them. */
static void fill_memory_sizes(struct rtc *r)
{
    struct machine *m = r->device.machine;
    uint64_t low = m->ram_slots ? m->ram[0].size : 0;
    uint64_t high = m->ram_slots > 1 ? m->ram[1].size >> 16 : 0; /* in 64 KiB */
    uint64_t above_1m = MIN((MAX(low, 1 << 20) >> 10) - 1024, 0xffff);
    uint64_t above_16m = low > 16 << 20 ? MIN((low >> 16) - 256, 0xffff) : 0;

    r->cmos[0x15] = 640 & 0xff;
    r->cmos[0x16] = 640 >> 8;
    r->cmos[0x17] = r->cmos[0x30] = above_1m & 0xff;
    r->cmos[0x18] = r->cmos[0x31] = (uint8_t)(above_1m >> 8);
    r->cmos[0x34] = above_16m & 0xff;
    r->cmos[0x35] = (uint8_t)(above_16m >> 8);
    r->cmos[0x5b] = high & 0xff;
    r->cmos[0x5c] = (uint8_t)(high >> 8);
    r->cmos[0x5d] = (uint8_t)(high >> 16);
    r->cmos[0x5f] = (uint8_t)(m->config->cpus - 1);
}

/* The clock and the memory run on a battery: only the interrupts are reset. */
static void rtc_reset(struct device *d)
{
    struct rtc *r = rtc(d);

    r->cmos[REG_B] &= ~(B_PERIODIC | B_ALARM | B_UPDATE);
    r->cmos[REG_C] = 0;
    irq_set(d->machine, IRQ_RTC, false);
    arm(r);
}

static int rtc_loaded(struct device *d, GError **error)
{
    struct rtc *r = rtc(d);

    (void)error;
    r->index &= CMOS_SIZE - 1;
    arm(r);
    return 0;
}

static void rtc_free(struct device *d)
{
    struct rtc *r = rtc(d);

    g_source_destroy(r->timer);
    g_source_unref(r->timer);
    g_free(r);
}

static const struct state_field rtc_fields[] = {
    STATE_FIELD(struct rtc, offset_us, 1),   STATE_FIELD(struct rtc, last_second, 1),
    STATE_FIELD(struct rtc, last_period, 1), STATE_FIELD(struct rtc, index, 1),
    STATE_ARRAY(struct rtc, cmos, 1),
};

static const struct device_class rtc_class = {
    .name = "rtc-mc146818",
    .version = 1,
    .fields = rtc_fields,
    .field_count = ARRAY_SIZE(rtc_fields),
    .reset = rtc_reset,
    .loaded = rtc_loaded,
    .free = rtc_free,
};

struct device *rtc_new(struct machine *m)
{
    struct rtc *r = g_new0(struct rtc, 1);

    device_init(&r->device, &rtc_class, m, "rtc");
    r->timer = chipset_timer_new(m, on_timer, r);
    r->cmos[REG_A] = 0x26; /* 32768 Hz time base, 1024 Hz rate */
    r->cmos[REG_B] = B_24H;
    r->cmos[REG_D] = D_VALID;
    fill_memory_sizes(r);
    r->last_second = now_us(r) / SECOND_US;
    r->region = (struct region){.device = &r->device, .ops = &rtc_ops, .size = 2};
    space_map(m, SPACE_PIO, &r->region, PORT_RTC);
    return &r->device;
}
