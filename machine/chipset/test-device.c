/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device for test guests (--test-device), with the registers that kvm-unit-tests look for: a
 * scratch port, a page flush that needs doing nothing, scratch memory reached by MMIO, and ports
 * that drive interrupt lines.
 */
#include "chipset.h"
#include "machine/machine.h"

#include <string.h>

#define PORT_SCRATCH 0xe0
#define PORT_FLUSH   0xe4
#define PORT_LINES   0x2000
#define LINES        24
#define MMIO_SCRATCH 0xff000000ull
#define MMIO_SIZE    0x10000

struct test_device {
    struct device device;
    struct region scratch, flush, lines, mmio;
    uint32_t value;
    uint8_t memory[MMIO_SIZE];
};

static struct test_device *test(struct device *d)
{
    return container_of(d, struct test_device, device);
}

static uint64_t scratch_read(struct device *d, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, (uint8_t *)&test(d)->value + offset, size);
    return value;
}

static void scratch_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    memcpy((uint8_t *)&test(d)->value + offset, &value, size);
}

/* The guest asks that a page be mapped anew; for it nothing changes. */
static uint64_t flush_read(struct device *d, uint64_t offset, unsigned size)
{
    (void)d, (void)offset, (void)size;
    return 0;
}

static void flush_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    (void)d, (void)offset, (void)value, (void)size;
}

static uint64_t lines_read(struct device *d, uint64_t offset, unsigned size)
{
    (void)d, (void)offset, (void)size;
    return 0;
}

static void lines_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    (void)size;
    irq_set(d->machine, (unsigned)offset, value & 1);
}

static uint64_t mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, test(d)->memory + offset, size);
    return value;
}

static void mmio_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    memcpy(test(d)->memory + offset, &value, size);
}

static void test_device_free(struct device *d)
{
    g_free(test(d));
}

static const struct state_field test_fields[] = {
    STATE_FIELD(struct test_device, value, 1),
};

static const struct device_class test_class = {
    .name = "test-device",
    .version = 1,
    .fields = test_fields,
    .field_count = ARRAY_SIZE(test_fields),
    .free = test_device_free,
};

struct device *test_device_new(struct machine *m)
{
    static const struct region_ops scratch_ops = {scratch_read, scratch_write};
    static const struct region_ops flush_ops = {flush_read, flush_write};
    static const struct region_ops lines_ops = {lines_read, lines_write};
    static const struct region_ops mmio_ops = {mmio_read, mmio_write};
    struct test_device *t = g_new0(struct test_device, 1);
    struct device *d = &t->device;

    device_init(d, &test_class, m, "test");
    t->scratch = (struct region){.device = d, .ops = &scratch_ops, .size = 4};
    t->flush = (struct region){.device = d, .ops = &flush_ops, .size = 4};
    t->lines = (struct region){.device = d, .ops = &lines_ops, .size = LINES};
    t->mmio = (struct region){.device = d, .ops = &mmio_ops, .size = MMIO_SIZE};
    space_map(m, SPACE_PIO, &t->scratch, PORT_SCRATCH);
    space_map(m, SPACE_PIO, &t->flush, PORT_FLUSH);
    space_map(m, SPACE_PIO, &t->lines, PORT_LINES);
    space_map(m, SPACE_MMIO, &t->mmio, MMIO_SCRATCH);
    return d;
}
