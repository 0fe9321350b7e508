/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The chipset and the address spaces, driven without a CPU. */
#include "machine-fixture.h"

#include "machine/vcpu.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UART 0x3f8
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static const uint8_t halt[] = {0xf4};

static struct fixture *start(void)
{
    struct fixture *f = fixture_new(halt, sizeof halt);

    fixture_start(f);
    return f;
}

/* ---- address space ---- */

struct probe_device {
    struct device device;
    struct region a, b;
    struct {
        uint64_t offset, value;
        unsigned size;
        bool write;
    } log[16];
    unsigned count;
};

static uint64_t probe_read(struct device *d, uint64_t offset, unsigned size)
{
    struct probe_device *p = container_of(d, struct probe_device, device);

    g_assert_cmpuint(p->count, <, ARRAY_SIZE(p->log));
    p->log[p->count].offset = offset;
    p->log[p->count].size = size;
    p->log[p->count++].write = false;
    return 0x1111111111111111ull * (offset + 1);
}

static void probe_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct probe_device *p = container_of(d, struct probe_device, device);

    g_assert_cmpuint(p->count, <, ARRAY_SIZE(p->log));
    p->log[p->count].offset = offset;
    p->log[p->count].size = size;
    p->log[p->count].value = value;
    p->log[p->count++].write = true;
}

static const struct region_ops probe_ops = {probe_read, probe_write};

static struct probe_device *add_probe(struct fixture *f)
{
    static const struct device_class class = {.name = "probe", .version = 1};
    struct probe_device *p = g_new0(struct probe_device, 1);

    device_init(&p->device, &class, f->machine, "probe");
    p->a = (struct region){.device = &p->device, .ops = &probe_ops, .size = 4};
    p->b = (struct region){.device = &p->device, .ops = &probe_ops, .size = 16};
    return p;
}

static void test_space_mapping(void)
{
    struct fixture *f = start();
    struct machine *m = f->machine;
    struct probe_device *p = add_probe(f);

    g_assert_true(space_map(m, SPACE_PIO, &p->a, 0x5000));
    g_assert_false(space_map(m, SPACE_PIO, &p->b, 0x4ff8)); /* overlaps from below */
    g_assert_false(space_map(m, SPACE_PIO, &p->b, 0x5003)); /* and from above */
    g_assert_true(space_map(m, SPACE_PIO, &p->b, 0x5004));
    g_assert_false(space_map(m, SPACE_PIO, &p->b, 0xfff8)); /* beyond the last port: unmapped now */
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x5008, 1), ==, 0xff);
    g_assert_true(space_map(m, SPACE_MMIO, &p->b, UINT64_MAX - 15));
    g_assert_false(space_map(m, SPACE_MMIO, &p->a, UINT64_MAX - 1)); /* wraps */
    g_assert_cmphex(space_read(m, SPACE_MMIO, UINT64_MAX - 15, 4), ==, 0x11111111);
    g_assert_true(space_map(m, SPACE_PIO, &p->a, 0x6000)); /* a region moves */
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x5000, 2), ==, 0xffff);
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x6001, 2), ==, 0x2222);
    space_unmap(m, SPACE_PIO, &p->a);
    space_unmap(m, SPACE_PIO, &p->a);
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x6000, 4), ==, 0xffffffff);
    list_remove(&p->device.link);
    space_unmap(m, SPACE_MMIO, &p->b);
    g_free(p->device.id);
    g_free(p);
    fixture_free(f);
}

/* An access that a region ends within is split, and no handler sees what is beyond its end. */
static void test_space_splitting(void)
{
    struct fixture *f = start();
    struct machine *m = f->machine;
    struct probe_device *p = add_probe(f);

    g_assert_true(space_map(m, SPACE_PIO, &p->a, 0x5000));
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x5002, 4), ==, 0xffff3333);
    g_assert_cmpuint(p->count, ==, 1);
    g_assert_cmpuint(p->log[0].offset, ==, 2);
    g_assert_cmpuint(p->log[0].size, ==, 2);
    p->count = 0;
    space_write(m, SPACE_PIO, 0x4ffd, 0x44332211, 4); /* three bytes before, one within */
    g_assert_cmpuint(p->count, ==, 1);
    g_assert_cmpuint(p->log[0].offset, ==, 0);
    g_assert_cmphex(p->log[0].value, ==, 0x44);
    p->count = 0;
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x5001, 4), ==, 0xff442222);
    for (unsigned i = 0; i < p->count; i++) {
        g_assert_cmpuint(p->log[i].offset + p->log[i].size, <=, 4);
        g_assert_cmpuint(p->log[i].size & (p->log[i].size - 1), ==, 0);
    }
    space_unmap(m, SPACE_PIO, &p->a);
    list_remove(&p->device.link);
    g_free(p->device.id);
    g_free(p);
    fixture_free(f);
}

static void test_ram(void)
{
    struct fixture *f = start();
    struct machine *m = f->machine;
    uint64_t size = f->config.memory, value = 0x123456789abcdef0ull, back = 0;

    g_assert_nonnull(ram_pointer(m, size - 1, 1, true));
    g_assert_null(ram_pointer(m, size - 1, 2, true));
    g_assert_null(ram_pointer(m, size, 1, false));
    g_assert_null(ram_pointer(m, 0, UINT64_MAX, false));
    g_assert_null(ram_pointer(m, UINT64_MAX, 2, false));
    g_assert_null(ram_pointer(m, 8, UINT64_MAX - 7, false));
    g_assert_true(ram_write(m, size - 8, &value, 8));
    g_assert_true(ram_read(m, size - 8, &back, 8));
    g_assert_cmphex(back, ==, value);
    g_assert_false(ram_write(m, size - 7, &value, 8));
    fixture_free(f);
}

/* ---- 16550A ---- */

static void test_serial_identity(void)
{
    struct fixture *f = start();

    out8(f, UART + IIR, 0x01); /* FIFOs on: a 16550A says so */
    g_assert_cmphex(in8(f, UART + IIR), ==, 0xc1);
    out8(f, UART + IIR, 0x00);
    g_assert_cmphex(in8(f, UART + IIR), ==, 0x01);
    out8(f, UART + SCR, 0x5a);
    g_assert_cmphex(in8(f, UART + SCR), ==, 0x5a);
    out8(f, UART + LCR, 0x80); /* the divisor hides data and IER */
    out8(f, UART + DATA, 0x34);
    out8(f, UART + IER, 0x12);
    g_assert_cmphex(in8(f, UART + DATA), ==, 0x34);
    g_assert_cmphex(in8(f, UART + IER), ==, 0x12);
    out8(f, UART + LCR, 0x03);
    g_assert_cmphex(in8(f, UART + IER), ==, 0x00);
    g_assert_cmphex(in8(f, UART + LCR), ==, 0x03);
    g_assert_cmphex(in8(f, UART + LSR), ==, 0x60);
    g_assert_cmphex(in8(f, UART + MSR) & 0xf0, ==, 0xb0);
    out8(f, UART + IER, 0xff);
    g_assert_cmphex(in8(f, UART + IER), ==, 0x0f);
    fixture_free(f);
}

/* The modem lines and data come back in loop-back; this is how drivers find a UART. */
static void test_serial_loopback(void)
{
    struct fixture *f = start();

    out8(f, UART + MCR, 0x1a); /* LOOP, OUT2, RTS */
    g_assert_cmphex(in8(f, UART + MSR) & 0xf0, ==, 0x90);
    out8(f, UART + MCR, 0x15);
    g_assert_cmphex(in8(f, UART + MSR) & 0xf0, ==, 0x60);
    out8(f, UART + DATA, 'x');
    g_assert_cmphex(in8(f, UART + LSR) & 1, ==, 1);
    g_assert_cmphex(in8(f, UART + DATA), ==, 'x');
    g_assert_cmphex(in8(f, UART + LSR) & 1, ==, 0);
    fixture_free(f);
}

static void test_serial_output(void)
{
    struct fixture *f = start();

    for (const char *p = "hello, host"; *p; p++) {
        g_assert_cmphex(in8(f, UART + LSR) & 0x60, ==, 0x60);
        out8(f, UART + DATA, (uint8_t)*p);
    }
    fixture_expect_serial(f, "hello, host");
    fixture_free(f);
}

/* THRE: raised when enabled with an empty transmitter and after each byte, gone once IIR told of
 * it. */
static void test_serial_transmit_interrupt(void)
{
    struct fixture *f = start();

    out8(f, UART + MCR, 0x08);
    g_assert_false(fixture_line(f, 4));
    out8(f, UART + IER, 0x02);
    g_assert_true(fixture_line(f, 4));
    g_assert_cmphex(in8(f, UART + IIR), ==, 0x02);
    g_assert_false(fixture_line(f, 4));
    g_assert_cmphex(in8(f, UART + IIR), ==, 0x01);
    out8(f, UART + IER, 0x00);
    out8(f, UART + IER, 0x02); /* enabling again raises it again */
    g_assert_cmphex(in8(f, UART + IIR), ==, 0x02);
    out8(f, UART + DATA, 'a');
    g_assert_true(fixture_line(f, 4));
    out8(f, UART + MCR, 0x00); /* OUT2 gates the line */
    g_assert_false(fixture_line(f, 4));
    fixture_free(f);
}

static bool data_ready(struct fixture *f)
{
    return in8(f, UART + LSR) & 1;
}

static void test_serial_input(void)
{
    struct fixture *f = start();
    char text[101] = {0}, got[101] = {0};

    out8(f, UART + IIR, 0xc7); /* FIFOs on and clear, 14 bytes trigger */
    out8(f, UART + MCR, 0x08);
    out8(f, UART + IER, 0x01);
    memset(text, 'q', 50);
    memset(text + 50, 'r', 50);
    g_assert_cmpint(write(f->serial, text, 100), ==, 100);
    fixture_run_until(f, data_ready);
    g_assert_true(fixture_line(f, 4));
    g_assert_cmphex(in8(f, UART + IIR), ==, 0xc4); /* the FIFO is full, and nothing was lost */
    for (unsigned i = 0; i < 100; i++) {
        if (!data_ready(f))
            fixture_run_until(f, data_ready);
        got[i] = (char)in8(f, UART + DATA);
        g_assert_cmphex(in8(f, UART + LSR) & 2, ==, 0);
    }
    g_assert_cmpstr(got, ==, text);
    fixture_settle(f);
    g_assert_false(fixture_line(f, 4));
    /* Fewer bytes than the trigger time out. */
    g_assert_cmpint(write(f->serial, "z", 1), ==, 1);
    fixture_run_until(f, data_ready);
    g_assert_cmphex(in8(f, UART + IIR), ==, 0xcc);
    g_assert_cmphex(in8(f, UART + DATA), ==, 'z');
    g_assert_cmphex(in8(f, UART + IIR), ==, 0xc1);
    fixture_free(f);
}

static bool transmitter_empty(struct fixture *f)
{
    return in8(f, UART + LSR) & 0x20;
}

/* A reader that stalls stops the transmitter, not the guest; every byte arrives in the end. */
static void test_serial_stalled_reader(void)
{
    struct fixture *f = start();
    unsigned sent = 0, got = 0;
    uint8_t part[8192];

    while (transmitter_empty(f) && sent < 4000000)
        out8(f, UART + DATA, (uint8_t)(sent++ * 7));
    g_assert_cmpuint(sent, <, 4000000);
    while (got < sent) {
        fixture_settle(f);
        ssize_t n = recv(f->serial, part, sizeof part, 0);
        g_assert_cmpint(n, >, 0);
        for (ssize_t i = 0; i < n; i++)
            g_assert_cmphex(part[i], ==, (uint8_t)(got++ * 7));
    }
    fixture_run_until(f, transmitter_empty);
    fixture_free(f);
}

/* ---- RTC ---- */

static uint8_t cmos(struct fixture *f, unsigned index)
{
    out8(f, 0x70, (uint8_t)index);
    return in8(f, 0x71);
}

static void set_cmos(struct fixture *f, unsigned index, unsigned value)
{
    out8(f, 0x70, (uint8_t)index);
    out8(f, 0x71, (uint8_t)value);
}

static unsigned from_bcd(uint8_t value)
{
    return (value >> 4) * 10u + (value & 15);
}

/* Not time(), which may lag behind the clock by a tick. */
static time_t host_seconds(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}

/* The clock is the host's, in UTC; the two readings of the host enclose the guest's. */
static void test_rtc_time(void)
{
    struct fixture *f = start();
    time_t before, after;
    struct tm t = {0};

    do {
        before = host_seconds();
        t.tm_sec = (int)from_bcd(cmos(f, 0));
        t.tm_min = (int)from_bcd(cmos(f, 2));
        t.tm_hour = (int)from_bcd(cmos(f, 4));
        t.tm_mday = (int)from_bcd(cmos(f, 7));
        t.tm_mon = (int)from_bcd(cmos(f, 8)) - 1;
        t.tm_year = (int)(from_bcd(cmos(f, 0x32)) * 100 + from_bcd(cmos(f, 9))) - 1900;
        after = host_seconds();
    } while (before != after);
    g_assert_cmpint(timegm(&t), ==, before);
    fixture_free(f);
}

static void test_rtc_setting(void)
{
    struct fixture *f = start();

    set_cmos(f, 11, 0x86); /* SET, binary, 24 hours */
    set_cmos(f, 0, 58);
    set_cmos(f, 2, 59);
    set_cmos(f, 4, 23);
    set_cmos(f, 7, 28);
    set_cmos(f, 8, 2);
    set_cmos(f, 9, 24);
    set_cmos(f, 0x32, 20);
    g_assert_cmpuint(cmos(f, 10) & 0x80, ==, 0); /* no update while SET is on */
    set_cmos(f, 11, 0x06);
    g_assert_cmpuint(cmos(f, 8), ==, 2);
    g_assert_cmpuint(cmos(f, 7), ==, 28);
    g_assert_cmpuint(cmos(f, 6), ==, 4); /* 28 February 2024 was a Wednesday */
    set_cmos(f, 11, 0x04);               /* 12 hours, binary */
    g_assert_cmphex(cmos(f, 4), ==, 0x80 | 11);
    set_cmos(f, 11, 0x00); /* BCD */
    g_assert_cmphex(cmos(f, 4), ==, 0x91);
    fixture_free(f);
}

static bool rtc_line(struct fixture *f)
{
    return fixture_line(f, 8);
}

static void test_rtc_interrupts(void)
{
    struct fixture *f = start();

    set_cmos(f, 10, 0x2c); /* 16 Hz */
    (void)cmos(f, 12);
    set_cmos(f, 11, 0x42); /* periodic */
    fixture_run_until(f, rtc_line);
    g_assert_cmphex(cmos(f, 12) & 0xc0, ==, 0xc0);
    g_assert_false(fixture_line(f, 8)); /* reading C lowers it */
    set_cmos(f, 11, 0x12);              /* update ended, once a second */
    (void)cmos(f, 12);
    fixture_run_until(f, rtc_line);
    g_assert_cmphex(cmos(f, 12) & 0x90, ==, 0x90);
    set_cmos(f, 1, 0xff); /* an alarm every second */
    set_cmos(f, 3, 0xff);
    set_cmos(f, 5, 0xff);
    set_cmos(f, 11, 0x22);
    (void)cmos(f, 12);
    fixture_run_until(f, rtc_line);
    g_assert_cmphex(cmos(f, 12) & 0xa0, ==, 0xa0);
    fixture_free(f);
}

static void test_rtc_memory(void)
{
    struct fixture *f = start();

    set_cmos(f, 0x40, 0xa5);
    g_assert_cmphex(cmos(f, 0x40), ==, 0xa5);
    g_assert_cmphex(cmos(f, 0x80 | 0x40), ==, 0xa5); /* bit 7 only masks NMIs */
    g_assert_cmphex(cmos(f, 13), ==, 0x80);
    g_assert_cmpuint(cmos(f, 0x30) | cmos(f, 0x31) << 8, ==, 15 * 1024);
    g_assert_cmpuint(cmos(f, 0x5f), ==, 0);
    fixture_free(f);
}

/* ---- keyboard controller ---- */

static void test_i8042(void)
{
    struct fixture *f = start();

    g_assert_cmphex(in8(f, 0x64) & 3, ==, 0);
    out8(f, 0x64, 0xaa);
    g_assert_cmphex(in8(f, 0x64) & 1, ==, 1);
    g_assert_cmphex(in8(f, 0x60), ==, 0x55);
    g_assert_cmphex(in8(f, 0x64) & 1, ==, 0);
    out8(f, 0x64, 0xab);
    g_assert_cmphex(in8(f, 0x60), ==, 0x00);
    out8(f, 0x64, 0x60);
    out8(f, 0x60, 0x65);
    out8(f, 0x64, 0x20);
    g_assert_true(fixture_line(f, 1)); /* the command byte enabled it */
    g_assert_cmphex(in8(f, 0x60), ==, 0x65);
    g_assert_false(fixture_line(f, 1));
    out8(f, 0x60, 0xf2); /* "identify yourself": nobody does */
    g_assert_cmphex(in8(f, 0x64) & 0x41, ==, 0x41);
    g_assert_cmphex(in8(f, 0x60), ==, 0xfe);
    out8(f, 0x64, 0xd4);
    out8(f, 0x60, 0xff);
    g_assert_cmphex(in8(f, 0x64) & 0x21, ==, 0x21);
    g_assert_false(f->machine->stop_requested);
    fixture_free(f);
}

/* ---- what ends or restarts a run ---- */

static void expect_stop(uint16_t port, const uint8_t *values, unsigned count, unsigned size,
                        enum stop_reason reason, int status)
{
    struct fixture *f = start();

    for (unsigned i = 0; i < count; i++) {
        g_assert_false(f->machine->stop_requested);
        space_write(f->machine, SPACE_PIO, port, values[i], size);
    }
    g_assert_true(f->machine->stop_requested);
    g_assert_cmpint(f->machine->stop_reason, ==, reason);
    g_assert_cmpint(f->machine->stop_status, ==, status);
    fixture_free(f);
}

static void test_stops(void)
{
    static const uint8_t pulse[] = {0xfe}, edge[] = {0x02, 0x06}, fast[] = {0x02, 0x03};
    static const uint8_t three[] = {3}, s5[] = {0x14, 0x34};

    expect_stop(0x64, pulse, 1, 1, STOP_RESET, 0);
    expect_stop(0xcf9, edge, 2, 1, STOP_RESET, 0);
    expect_stop(0x92, fast, 2, 1, STOP_RESET, 0);
    expect_stop(0xf4, three, 1, 4, STOP_DEBUG_EXIT, 7);
    expect_stop(0x605, s5, 2, 1, STOP_POWEROFF, 0);
}

/* ---- power management ---- */

static void test_pm(void)
{
    struct fixture *f = start();
    struct machine *m = f->machine;

    g_assert_cmphex(space_read(m, SPACE_PIO, 0x604, 2), ==, 0x0001); /* always in ACPI mode */
    machine_power_button(m);
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x600, 2) & 0x100, ==, 0x100);
    g_assert_false(fixture_line(f, 9));
    space_write(m, SPACE_PIO, 0x602, 0x100, 2);
    g_assert_true(fixture_line(f, 9));
    space_write(m, SPACE_PIO, 0x600, 0x100, 2); /* written ones clear */
    g_assert_false(fixture_line(f, 9));
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x600, 2) & 0x100, ==, 0);
    space_write(m, SPACE_PIO, 0x604, 2 << 10 | 0x2000, 2); /* a sleep type we do not offer */
    g_assert_false(m->stop_requested);
    fixture_free(f);
}

static bool is_asleep(struct fixture *f)
{
    return f->machine->status == MACHINE_SUSPENDED;
}

static bool is_awake(struct fixture *f)
{
    return f->machine->status == MACHINE_RUNNING;
}

/* S3: RAM is kept, the first vCPU goes on at the waking vector in real mode. */
static void test_sleep(void)
{
    struct fixture *f = start();
    struct machine *m = f->machine;
    struct engine_file *vcpu = m->vcpus[0]->file;
    const uint32_t vector = 0x12345;
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    char kept[5] = "";

    m->status = MACHINE_RUNNING; /* as machine_run has it */
    g_assert_true(ram_write(m, m->facs + 12, &vector, sizeof vector));
    g_assert_true(ram_write(m, 0x2000, "kept", 4));
    space_write(m, SPACE_PIO, 0x602, 0x100, 2); /* the power button wakes */
    space_write(m, SPACE_PIO, 0x604, 1 << 10 | 0x2000, 2);
    fixture_run_until(f, is_asleep);
    machine_power_button(m);
    fixture_run_until(f, is_awake);
    g_assert_cmphex(space_read(m, SPACE_PIO, 0x600, 2) & 0x8100, ==, 0x8100);
    g_assert_cmpint(engine_ioctl_pointer(m->engine, vcpu, KVM_GET_SREGS, &sregs), ==, 0);
    g_assert_cmpint(engine_ioctl_pointer(m->engine, vcpu, KVM_GET_REGS, &regs), ==, 0);
    g_assert_cmphex(sregs.cr0 & 0x80000001, ==, 0);
    g_assert_cmphex(sregs.cs.selector, ==, 0x1234);
    g_assert_cmphex(sregs.cs.base + regs.rip, ==, vector);
    g_assert_true(ram_read(m, 0x2000, kept, 4));
    g_assert_cmpstr(kept, ==, "kept");
    fixture_free(f);
}

/* The timer runs at 3.579545 MHz: between two readings it moves as far as the host's clock allows.
 */
static void test_pm_timer(void)
{
    struct fixture *f = start();
    struct machine *m = f->machine;

    gint64 outer_start = g_get_monotonic_time();
    uint32_t first = (uint32_t)space_read(m, SPACE_PIO, 0x608, 4);
    gint64 inner_start = g_get_monotonic_time();
    g_usleep(50000);
    gint64 inner_end = g_get_monotonic_time();
    uint32_t ticks = (uint32_t)space_read(m, SPACE_PIO, 0x608, 4) - first;
    gint64 outer_end = g_get_monotonic_time();
    g_assert_cmpfloat(ticks + 8, >=, (double)(inner_end - inner_start) * 3.579545);
    g_assert_cmpfloat(ticks, <=, (double)(outer_end - outer_start) * 3.579545 + 8);
    fixture_free(f);
}

/* The timer stands while the machine does, and goes on from there. */
static void test_pm_timer_paused(void)
{
    struct fixture *f = fixture_new("", 0);

    fixture_start(f);
    struct machine *m = f->machine;
    machine_pause(m);
    machine_pause(m); /* nests */
    uint32_t stood = (uint32_t)space_read(m, SPACE_PIO, 0x608, 4);
    machine_resume(m);
    g_usleep(20000);
    g_assert_cmpuint((uint32_t)space_read(m, SPACE_PIO, 0x608, 4), ==, stood);
    machine_resume(m);
    while ((uint32_t)space_read(m, SPACE_PIO, 0x608, 4) == stood)
        g_usleep(100);
    fixture_free(f);
}

/* ---- test device ---- */

static void test_test_device(void)
{
    struct fixture *f = fixture_new(halt, sizeof halt);

    f->config.test_device = true;
    fixture_start(f);
    struct machine *m = f->machine;
    space_write(m, SPACE_PIO, 0xe0, 0x12345678, 4);
    g_assert_cmphex(space_read(m, SPACE_PIO, 0xe0, 4), ==, 0x12345678);
    g_assert_cmphex(space_read(m, SPACE_PIO, 0xe1, 1), ==, 0x56);
    space_write(m, SPACE_MMIO, 0xff00fffc, 0xcafe, 4);
    g_assert_cmphex(space_read(m, SPACE_MMIO, 0xff00fffc, 4), ==, 0xcafe);
    space_write(m, SPACE_PIO, 0x2005, 1, 4);
    g_assert_true(fixture_line(f, 5));
    space_write(m, SPACE_PIO, 0x2005, 0, 4);
    g_assert_false(fixture_line(f, 5));
    fixture_free(f);
}

/* Every register of the chipset takes any access of any size without harm. */
static void test_random_accesses(void)
{
    static const uint16_t bases[] = {0x60, 0x70, 0x92, 0xe0, 0x3f8, 0x600, 0xcf8, 0x2000};
    struct fixture *f = fixture_new(halt, sizeof halt);
    uint32_t seed = g_test_rand_int();
    GRand *random = g_rand_new_with_seed(seed);

    g_test_message("seed %u", seed);
    f->config.test_device = true;
    fixture_start(f);
    for (unsigned i = 0; i < 20000; i++) {
        uint16_t port = bases[g_rand_int_range(random, 0, ARRAY_SIZE(bases))] +
                        (uint16_t)g_rand_int_range(random, 0, 0x20);
        unsigned size = 1u << g_rand_int_range(random, 0, 3);

        if (g_rand_boolean(random))
            space_write(f->machine, SPACE_PIO, port, g_rand_int(random), size);
        else
            g_assert_cmphex(space_read(f->machine, SPACE_PIO, port, size) >> (size * 8 - 1) >> 1,
                            ==, 0);
    }
    g_rand_free(random);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/machine/space/mapping", test_space_mapping);
    g_test_add_func("/machine/space/splitting", test_space_splitting);
    g_test_add_func("/machine/ram", test_ram);
    g_test_add_func("/machine/serial/identity", test_serial_identity);
    g_test_add_func("/machine/serial/loopback", test_serial_loopback);
    g_test_add_func("/machine/serial/output", test_serial_output);
    g_test_add_func("/machine/serial/transmit-interrupt", test_serial_transmit_interrupt);
    g_test_add_func("/machine/serial/input", test_serial_input);
    g_test_add_func("/machine/serial/stalled-reader", test_serial_stalled_reader);
    g_test_add_func("/machine/rtc/time", test_rtc_time);
    g_test_add_func("/machine/rtc/setting", test_rtc_setting);
    g_test_add_func("/machine/rtc/interrupts", test_rtc_interrupts);
    g_test_add_func("/machine/rtc/memory", test_rtc_memory);
    g_test_add_func("/machine/i8042", test_i8042);
    g_test_add_func("/machine/stops", test_stops);
    g_test_add_func("/machine/pm/sleep", test_sleep);
    g_test_add_func("/machine/pm/events", test_pm);
    g_test_add_func("/machine/pm/timer", test_pm_timer);
    g_test_add_func("/machine/pm/timer-paused", test_pm_timer_paused);
    g_test_add_func("/machine/test-device", test_test_device);
    g_test_add_func("/machine/random-accesses", test_random_accesses);
    return g_test_run();
}
