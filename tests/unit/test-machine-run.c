/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Machines that run: the ways in which a run ends, resets, pauses, and the serial port both ways;
 * on the software engine, and on /dev/kvm where there is one. */
#include "machine-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Guests in 32-bit code, entered at 1 MiB + 32.  The comments are their source. */

/* Counts its boots in CMOS memory, which a reset keeps, and exits with the count at the third:
 * mov $0x40,%al; out %al,$0x70; in $0x71,%al; inc %al; mov %al,%bl; out %al,$0x71; cmp $3,%bl;
 * jae 2f; mov $0xfe,%al; out %al,$0x64; 1: jmp 1b; 2: mov %bl,%al; out %al,$0xf4; hlt */
static const uint8_t count_resets[] = {0xb0, 0x40, 0xe6, 0x70, 0xe4, 0x71, 0xfe, 0xc0, 0x88, 0xc3,
                                       0xe6, 0x71, 0x80, 0xfb, 0x03, 0x73, 0x06, 0xb0, 0xfe, 0xe6,
                                       0x64, 0xeb, 0xfe, 0x88, 0xd8, 0xe6, 0xf4, 0xf4};

/* mov $0x604,%dx; mov $0x3400,%ax; out %ax,%dx; cli; hlt */
static const uint8_t power_off[] = {0x66, 0xba, 0x04, 0x06, 0x66, 0xb8,
                                    0x00, 0x34, 0x66, 0xef, 0xfa, 0xf4};

/* lidt 0x300000 (zeros); ud2 */
static const uint8_t triple_fault[] = {0x0f, 0x01, 0x1d, 0x00, 0x00, 0x30, 0x00, 0x0f, 0x0b};

/* mov $0x600,%dx; 1: in %dx,%ax; test $1,%ah; jz 1b; then as power_off */
static const uint8_t await_button[] = {0x66, 0xba, 0x00, 0x06, 0x66, 0xed, 0xf6, 0xc4,
                                       0x01, 0x74, 0xf9, 0x66, 0xba, 0x04, 0x06, 0x66,
                                       0xb8, 0x00, 0x34, 0x66, 0xef, 0xf4};

/* 1: incl 0x200000; jmp 1b */
static const uint8_t count_up[] = {0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8};

/* Sends each byte back plus one, until `q`:
 * mov $0x3fd,%dx; 1: in %dx,%al; test $1,%al; jz 1b; mov $0x3f8,%dx; in %dx,%al; cmp $'q',%al;
 * je 2f; inc %al; out %al,%dx; mov $0x3fd,%dx; jmp 1b; 2: mov $0,%al; out %al,$0xf4; hlt */
static const uint8_t echo[] = {0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0x66, 0xba,
                               0xf8, 0x03, 0xec, 0x3c, 0x71, 0x74, 0x09, 0xfe, 0xc0, 0xee, 0x66,
                               0xba, 0xfd, 0x03, 0xeb, 0xe9, 0xb0, 0x00, 0xe6, 0xf4, 0xf4};

#define COUNTER 0x200000

static const struct engine_case {
    const char *name;
    enum engine_choice choice;
} engines[] = {{"software", ENGINE_SOFTWARE}, {"kvm", ENGINE_KVM}};

/* A started machine with CODE on the engine of DATA; NULL, and the test skipped, without it. */
static struct fixture *start(const void *data, const void *code, size_t length, bool no_reboot)
{
    const struct engine_case *e = data;
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (e->choice == ENGINE_KVM && fd < 0) {
        g_test_skip("/dev/kvm cannot be opened");
        return NULL;
    }
    if (fd >= 0)
        close(fd);
    struct fixture *f = fixture_new(code, length);
    f->config.engine = e->choice;
    f->config.no_reboot = no_reboot;
    fixture_start(f);
    return f;
}

static void expect_run(struct fixture *f, int status)
{
    GError *error = NULL;

    g_assert_cmpint(machine_run(f->machine, &error), ==, status);
    g_assert_no_error(error);
    fixture_free(f);
}

static void test_resets(const void *data)
{
    struct fixture *f = start(data, count_resets, sizeof count_resets, false);

    if (f)
        expect_run(f, 3 << 1 | 1);
}

static void test_no_reboot(const void *data)
{
    struct fixture *f = start(data, count_resets, sizeof count_resets, true);

    if (!f)
        return;
    GError *error = NULL;
    g_assert_cmpint(machine_run(f->machine, &error), ==, 0);
    g_assert_no_error(error);
    out8(f, 0x70, 0x40);
    g_assert_cmpuint(in8(f, 0x71), ==, 1); /* it booted once */
    fixture_free(f);
}

static void test_power_off(const void *data)
{
    struct fixture *f = start(data, power_off, sizeof power_off, false);

    if (f)
        expect_run(f, 0);
}

static void test_triple_fault(const void *data)
{
    struct fixture *f = start(data, triple_fault, sizeof triple_fault, true);
    GError *error = NULL;

    if (!f)
        return;
    g_assert_cmpint(machine_run(f->machine, &error), ==, 1);
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, "triple fault"));
    g_clear_error(&error);
    fixture_free(f);
}

/* Calls FUNCTION on the main context, once the machine runs. */
static void later(struct fixture *f, GSourceFunc function)
{
    GSource *s = g_timeout_source_new(20);

    g_source_set_callback(s, function, f, NULL);
    g_source_attach(s, f->context);
    g_source_unref(s);
}

static gboolean press(gpointer data)
{
    machine_power_button(((struct fixture *)data)->machine);
    return G_SOURCE_REMOVE;
}

static void test_button(const void *data)
{
    struct fixture *f = start(data, await_button, sizeof await_button, false);

    if (!f)
        return;
    later(f, press);
    expect_run(f, 0);
}

static uint32_t counter(struct fixture *f)
{
    return *(volatile uint32_t *)ram_pointer(f->machine, COUNTER, 4, false);
}

/* The guest counts; while paused it does not; afterwards it goes on; a quit from outside ends it.
 */
static gboolean pause_and_go(gpointer data)
{
    struct fixture *f = data;
    uint32_t held;

    if (!counter(f))
        return G_SOURCE_CONTINUE; /* it has not begun */
    machine_pause(f->machine);
    machine_pause(f->machine); /* nests */
    held = counter(f);
    machine_resume(f->machine);
    g_usleep(20000);
    g_assert_cmpuint(counter(f), ==, held);
    machine_resume(f->machine);
    while (counter(f) == held)
        g_usleep(1000);
    machine_request_stop(f->machine, STOP_QUIT, 5);
    return G_SOURCE_REMOVE;
}

static void test_pause(const void *data)
{
    struct fixture *f = start(data, count_up, sizeof count_up, false);

    if (!f)
        return;
    later(f, pause_and_go);
    expect_run(f, 5);
}

static void test_echo(const void *data)
{
    struct fixture *f = start(data, echo, sizeof echo, false);
    GError *error = NULL;

    if (!f)
        return;
    g_assert_cmpint(write(f->serial, "HAL9000q", 8), ==, 8);
    g_assert_cmpint(machine_run(f->machine, &error), ==, 1); /* debug exit of 0 */
    g_assert_no_error(error);
    fixture_expect_serial(f, "IBM:111");
    fixture_free(f);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(const void *data);
    } tests[] = {
        {"resets", test_resets},       {"no-reboot", test_no_reboot},
        {"power-off", test_power_off}, {"triple-fault", test_triple_fault},
        {"power-button", test_button}, {"pause", test_pause},
        {"serial-echo", test_echo},
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned e = 0; e < ARRAY_SIZE(engines); e++)
        for (unsigned t = 0; t < ARRAY_SIZE(tests); t++) {
            g_autofree char *path =
                g_strdup_printf("/machine-run/%s/%s", engines[e].name, tests[t].name);
            g_test_add_data_func(path, &engines[e], tests[t].test);
        }
    return g_test_run();
}
