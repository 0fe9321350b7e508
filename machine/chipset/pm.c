/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ACPI fixed hardware (ACPI 6.4, 4.8): PM1a event and control blocks, the 3.579545 MHz PM timer,
 * the power button, and GPE block 0, which has no events yet.  In S3 an enabled event wakes the
 * machine.
 */
#include "machine/chipset/pm.h"
#include "chipset.h"
#include "machine/machine.h"

#define REG_STATUS  0x00 /* 16 bits */
#define REG_ENABLE  0x02 /* 16 bits */
#define REG_CONTROL 0x04 /* 16 bits */
#define REG_TIMER   0x08 /* 32 bits */
#define REG_GPE     PM_GPE0_OFFSET

#define STATUS_TIMER  0x0001
#define STATUS_GLOBAL 0x0020
#define STATUS_POWER  0x0100
#define STATUS_RTC    0x0400
#define STATUS_WAKE   0x8000
#define STATUS_ALL    (STATUS_TIMER | STATUS_GLOBAL | STATUS_POWER | STATUS_RTC | STATUS_WAKE)
#define ENABLE_ALL    (STATUS_TIMER | STATUS_GLOBAL | STATUS_POWER | STATUS_RTC)

#define CONTROL_SCI          0x0001 /* events raise the SCI; always so here */
#define CONTROL_SLEEP_TYPE   10
#define CONTROL_SLEEP_ENABLE 0x2000

#define TIMER_HZ  3579545ull
#define TIMER_MSB BIT(23) /* a change of bit 23 sets STATUS_TIMER */

struct pm {
    struct device device;
    struct region region;
    GSource *timer;
    int64_t start_us;  /* monotonic time at which the PM timer was 0 */
    int64_t paused_us; /* monotonic time at which it stopped; 0 while it runs */
    uint64_t last_msb; /* the timer's bit 23 that the status knows of, counted on */
    uint16_t status, enable, control;
    uint16_t woken_by; /* status bits that ended S3, until the guest is told */
    uint8_t asleep;    /* in S3, and nothing has woken the machine yet */
    uint8_t gpe[PM_GPE0_LENGTH];
    uint8_t line;
};

static struct pm *pm(struct device *d)
{
    return container_of(d, struct pm, device);
}

static uint64_t ticks(const struct pm *p)
{
    int64_t now = p->paused_us ? p->paused_us : g_get_monotonic_time();
    uint64_t us = (uint64_t)(now - p->start_us);

    return us / 1000000 * TIMER_HZ + us % 1000000 * TIMER_HZ / 1000000;
}

static void update(struct pm *p)
{
    uint64_t msb = ticks(p) / TIMER_MSB;
    int64_t next = -1;

    if (msb != p->last_msb)
        p->status |= STATUS_TIMER;
    p->last_msb = msb;
    bool level = p->status & p->enable & ENABLE_ALL;
    if (level != p->line)
        irq_set(p->device.machine, IRQ_SCI, level);
    p->line = level;
    if (p->asleep && level) {
        p->asleep = false;
        p->woken_by = p->status & p->enable;
        machine_wake(p->device.machine);
    }
    if (p->enable & STATUS_TIMER && !p->paused_us)
        next = p->start_us + (int64_t)(((msb + 1) * TIMER_MSB * 1000000) / TIMER_HZ) + 1;
    g_source_set_ready_time(p->timer, next);
}

static gboolean on_timer(gpointer data)
{
    struct pm *p = data;

    g_mutex_lock(&p->device.lock);
    update(p);
    g_mutex_unlock(&p->device.lock);
    return G_SOURCE_CONTINUE;
}

static void event(struct device *d, uint16_t status)
{
    struct pm *p = pm(d);

    g_mutex_lock(&d->lock);
    p->status |= status;
    update(p);
    g_mutex_unlock(&d->lock);
}

void pm_power_button(struct device *d)
{
    event(d, STATUS_POWER);
}

void pm_alarm(struct device *d)
{
    event(d, STATUS_RTC);
}

void pm_wake(struct device *d)
{
    struct pm *p = pm(d);

    event(d, STATUS_WAKE | p->woken_by);
    p->woken_by = 0;
}

/* ---- registers, a byte at a time: the blocks may be accessed in any size ---- */

static uint8_t byte_of(uint64_t value, unsigned at)
{
    return (uint8_t)(value >> (at * 8));
}

static uint8_t read_byte(struct pm *p, unsigned offset, uint32_t timer)
{
    switch (offset) {
    case REG_STATUS ... REG_STATUS + 1:
        return byte_of(p->status, offset - REG_STATUS);
    case REG_ENABLE ... REG_ENABLE + 1:
        return byte_of(p->enable, offset - REG_ENABLE);
    case REG_CONTROL ... REG_CONTROL + 1:
        return byte_of(p->control, offset - REG_CONTROL);
    case REG_TIMER ... REG_TIMER + 3:
        return byte_of(timer, offset - REG_TIMER);
    case REG_GPE ... REG_GPE + PM_GPE0_LENGTH - 1:
        return p->gpe[offset - REG_GPE];
    default:
        return 0;
    }
}

static uint64_t pm_read(struct device *d, uint64_t offset, unsigned size)
{
    struct pm *p = pm(d);
    uint32_t timer = (uint32_t)ticks(p); /* one reading for all four bytes */
    uint64_t value = 0;

    if (offset == REG_TIMER && size == 4)
        return timer;
    update(p);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read_byte(p, (unsigned)offset + i, timer) << (i * 8);
    return value;
}

static void write_control(struct pm *p, uint16_t value)
{
    unsigned type = value >> CONTROL_SLEEP_TYPE & 7;

    p->control = (value & ~CONTROL_SLEEP_ENABLE) | CONTROL_SCI;
    if (!(value & CONTROL_SLEEP_ENABLE))
        return;
    if (type == PM_SLEEP_TYPE_S5) {
        machine_request_stop(p->device.machine, STOP_POWEROFF, 0);
    } else if (type == PM_SLEEP_TYPE_S3) {
        p->asleep = true;
        machine_request_stop(p->device.machine, STOP_SLEEP, 0);
    } else {
        machine_log(p->device.machine, false,
                    "the guest asked for sleep type %u, which it was not "
                    "offered",
                    type);
    }
}

/* Replaces byte AT of OLD. */
static uint16_t with_byte(uint16_t old, unsigned at, uint8_t byte)
{
    return (uint16_t)((old & ~(0xff << (at * 8))) | byte << (at * 8));
}

static void write_byte(struct pm *p, unsigned offset, uint8_t byte)
{
    switch (offset) {
    case REG_STATUS ... REG_STATUS + 1: /* written ones clear */
        p->status &= (uint16_t) ~(byte << ((offset - REG_STATUS) * 8));
        break;
    case REG_ENABLE ... REG_ENABLE + 1:
        p->enable = with_byte(p->enable, offset - REG_ENABLE, byte) & ENABLE_ALL;
        break;
    case REG_CONTROL ... REG_CONTROL + 1:
        write_control(p, with_byte(p->control, offset - REG_CONTROL, byte));
        break;
    case REG_GPE ... REG_GPE + PM_GPE0_LENGTH / 2 - 1:
        p->gpe[offset - REG_GPE] &= ~byte;
        break;
    case REG_GPE + PM_GPE0_LENGTH / 2 ... REG_GPE + PM_GPE0_LENGTH - 1:
        p->gpe[offset - REG_GPE] = byte;
        break;
    default:
        break;
    }
}

static void pm_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct pm *p = pm(d);

    update(p);
    for (unsigned i = 0; i < size; i++)
        write_byte(p, (unsigned)offset + i, byte_of(value, i));
    update(p);
}

static const struct region_ops pm_ops = {pm_read, pm_write};

/* ---- device ---- */

static void pm_reset(struct device *d)
{
    struct pm *p = pm(d);

    p->status = p->enable = 0;
    p->asleep = false;
    p->control = CONTROL_SCI;
    p->last_msb = ticks(p) / TIMER_MSB;
    for (unsigned i = 0; i < PM_GPE0_LENGTH; i++)
        p->gpe[i] = 0;
    update(p);
}

static int pm_loaded(struct device *d, GError **error)
{
    (void)error;
    update(pm(d));
    return 0;
}

/* The timer is the guest's clock, which stands while the guest does. */
static void pm_pause(struct device *d)
{
    struct pm *p = pm(d);

    g_mutex_lock(&d->lock);
    p->paused_us = g_get_monotonic_time();
    g_mutex_unlock(&d->lock);
}

static void pm_resume(struct device *d)
{
    struct pm *p = pm(d);

    g_mutex_lock(&d->lock);
    p->start_us += g_get_monotonic_time() - p->paused_us;
    p->paused_us = 0;
    update(p);
    g_mutex_unlock(&d->lock);
}

static void pm_free(struct device *d)
{
    struct pm *p = pm(d);

    g_source_destroy(p->timer);
    g_source_unref(p->timer);
    g_free(p);
}

static const struct state_field pm_fields[] = {
    STATE_FIELD(struct pm, status, 1),   STATE_FIELD(struct pm, enable, 1),
    STATE_FIELD(struct pm, control, 1),  STATE_ARRAY(struct pm, gpe, 1),
    STATE_FIELD(struct pm, line, 1),     STATE_FIELD(struct pm, asleep, 1),
    STATE_FIELD(struct pm, woken_by, 1),
};

static const struct device_class pm_class = {
    .name = "acpi-pm",
    .version = 1,
    .fields = pm_fields,
    .field_count = ARRAY_SIZE(pm_fields),
    .reset = pm_reset,
    .loaded = pm_loaded,
    .pause = pm_pause,
    .resume = pm_resume,
    .free = pm_free,
};

struct device *pm_new(struct machine *m)
{
    struct pm *p = g_new0(struct pm, 1);

    device_init(&p->device, &pm_class, m, "pm");
    p->timer = chipset_timer_new(m, on_timer, p);
    p->start_us = g_get_monotonic_time();
    p->region = (struct region){.device = &p->device, .ops = &pm_ops, .size = PM_BLOCK_LENGTH};
    pm_reset(&p->device);
    space_map(m, SPACE_PIO, &p->region, PORT_PM_BASE);
    return &p->device;
}
