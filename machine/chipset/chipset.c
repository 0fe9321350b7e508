/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The chipset: all its devices, and the small ones themselves. */
#include "chipset.h"

#include "machine/machine.h"

#define IRQ_SERIAL0 4

/* ---- timers ---- */

static gboolean timer_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    g_source_set_ready_time(source, -1); /* until the callback sets another */
    return callback(data);
}

GSource *chipset_timer_new(struct machine *m, GSourceFunc callback, void *data)
{
    static const GSourceFuncs funcs = {.dispatch = timer_dispatch};
    GSource *source = g_source_new((GSourceFuncs *)&funcs, sizeof(GSource));

    g_source_set_callback(source, callback, data, NULL);
    g_source_attach(source, m->context);
    return source;
}

/* ---- devices of one region ---- */

struct simple {
    struct device device;
    struct region region;
    uint8_t value;
};

static void simple_free(struct device *d)
{
    g_free(container_of(d, struct simple, device));
}

static struct simple *simple_new(struct machine *m, const struct device_class *class,
                                 const char *id, const struct region_ops *ops, uint64_t size)
{
    struct simple *s = g_new0(struct simple, 1);

    device_init(&s->device, class, m, id);
    s->region = (struct region){.device = &s->device, .ops = ops, .size = size};
    return s;
}

/* ---- the reset control register ---- */

#define RESET_HARD 0x02
#define RESET_CPU  0x04 /* its rising edge resets */
#define RESET_FULL 0x08

static const struct state_field reset_fields[] = {STATE_FIELD(struct simple, value, 1)};

static void reset_reset(struct device *d)
{
    container_of(d, struct simple, device)->value = 0;
}

static const struct device_class reset_class = {
    .name = "reset-control",
    .version = 1,
    .fields = reset_fields,
    .field_count = ARRAY_SIZE(reset_fields),
    .reset = reset_reset,
    .free = simple_free,
};

uint8_t reset_control_read(struct machine *m)
{
    struct simple *s = container_of(m->reset, struct simple, device);

    g_mutex_lock(&s->device.lock);
    uint8_t value = s->value;
    g_mutex_unlock(&s->device.lock);
    return value;
}

void reset_control_write(struct machine *m, uint8_t value)
{
    struct simple *s = container_of(m->reset, struct simple, device);

    g_mutex_lock(&s->device.lock);
    bool edge = value & ~s->value & RESET_CPU;
    s->value = value & (RESET_HARD | RESET_CPU | RESET_FULL);
    g_mutex_unlock(&s->device.lock);
    if (edge)
        machine_request_stop(m, STOP_RESET, 0);
}

struct device *reset_new(struct machine *m)
{
    return &simple_new(m, &reset_class, "reset", NULL, 0)->device;
}

/* ---- debug exit ---- */

static uint64_t debug_exit_read(struct device *d, uint64_t offset, unsigned size)
{
    (void)d, (void)offset, (void)size;
    return 0;
}

static void debug_exit_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    (void)offset, (void)size;
    machine_request_stop(d->machine, STOP_DEBUG_EXIT, (int)((value << 1 | 1) & 0xff));
}

struct device *debug_exit_new(struct machine *m)
{
    static const struct region_ops ops = {debug_exit_read, debug_exit_write};
    static const struct device_class class = {
        .name = "debug-exit", .version = 1, .free = simple_free};
    struct simple *s = simple_new(m, &class, "debug-exit", &ops, 4);

    space_map(m, SPACE_PIO, &s->region, PORT_DEBUG_EXIT);
    return &s->device;
}

/* ---- all of them ---- */

void chipset_new(struct machine *m)
{
    m->reset = reset_new(m);
    m->pm = pm_new(m);
    rtc_new(m);
    i8042_new(m);
    serial_new(m, "serial0", PORT_SERIAL0, IRQ_SERIAL0, m->serial);
    debug_exit_new(m);
    if (m->config->test_device)
        test_device_new(m);
}
