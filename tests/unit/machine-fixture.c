/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine-fixture.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_US 30000000

char *fixture_file(struct fixture *f, const char *name, const void *data, size_t length)
{
    char *path = g_build_filename(f->folder, name, NULL);
    GError *error = NULL;

    g_file_set_contents(path, data, (gssize)length, &error);
    g_assert_no_error(error);
    return path;
}

struct fixture *fixture_new(const void *code, size_t length)
{
    struct fixture *f = g_new0(struct fixture, 1);
    const uint32_t load = 0x100000, head = 32;
    const uint32_t header[8] = {0x1badb002, 0x10000,    -(0x1badb002u + 0x10000), load, load, 0,
                                0,          load + head};
    GByteArray *image = g_byte_array_new();
    GError *error = NULL;

    f->folder = g_dir_make_tmp("trapeze-test-XXXXXX", &error);
    g_assert_no_error(error);
    g_byte_array_append(image, (const uint8_t *)header, sizeof header);
    g_byte_array_append(image, code, (guint)length);
    machine_config_init(&f->config);
    f->config.engine = ENGINE_SOFTWARE;
    f->config.memory = 16 << 20;
    f->config.kernel = fixture_file(f, "guest", image->data, image->len);
    g_free(f->config.serial);
    f->config.serial = g_strdup_printf("unix:%s/serial", f->folder);
    g_byte_array_unref(image);
    f->context = g_main_context_new();
    f->serial = -1;
    return f;
}

static void connect_serial(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_assert_cmpint(g_snprintf(address.sun_path, sizeof address.sun_path, "%s/serial", f->folder),
                    <, (int)sizeof address.sun_path);
    f->serial = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(f->serial, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_main_context_iteration(f->context, TRUE); /* accepts it */
}

void fixture_start(struct fixture *f)
{
    GError *error = NULL;

    f->machine = machine_new(&f->config, f->context, &error);
    g_assert_no_error(error);
    if (g_str_has_prefix(f->config.serial, "unix:"))
        connect_serial(f);
}

static void remove_folder(const char *path)
{
    GDir *d = g_dir_open(path, 0, NULL);
    const char *name;

    while (d && (name = g_dir_read_name(d))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
    }
    if (d)
        g_dir_close(d);
    g_rmdir(path);
}

void fixture_free(struct fixture *f)
{
    machine_free(f->machine);
    if (f->serial >= 0)
        close(f->serial);
    machine_config_clear(&f->config);
    g_main_context_unref(f->context);
    remove_folder(f->folder);
    g_free(f->folder);
    g_free(f);
}

uint8_t in8(struct fixture *f, uint16_t port)
{
    return (uint8_t)space_read(f->machine, SPACE_PIO, port, 1);
}

void out8(struct fixture *f, uint16_t port, uint8_t value)
{
    space_write(f->machine, SPACE_PIO, port, value, 1);
}

bool fixture_line(struct fixture *f, unsigned gsi)
{
    struct kvm_irqchip chip = {.chip_id = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE};

    g_assert_cmpint(
        engine_ioctl_pointer(f->machine->engine, f->machine->vm, KVM_GET_IRQCHIP, &chip), ==, 0);
    return chip.chip.pic.last_irr >> (gsi % 8) & 1;
}

void fixture_run_until(struct fixture *f, bool (*condition)(struct fixture *f))
{
    gint64 end = g_get_monotonic_time() + PATIENCE_US;

    while (!condition(f)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        if (!g_main_context_iteration(f->context, FALSE))
            g_usleep(1000);
    }
}

void fixture_settle(struct fixture *f)
{
    while (g_main_context_iteration(f->context, FALSE))
        ;
}

void fixture_expect_serial(struct fixture *f, const char *text)
{
    char got[4096] = {0};
    size_t length = strlen(text), have = 0;

    g_assert_cmpuint(length, <, sizeof got);
    while (have < length) {
        ssize_t n = read(f->serial, got + have, length - have);
        g_assert_cmpint(n, >, 0);
        have += (size_t)n;
    }
    g_assert_cmpstr(got, ==, text);
}
