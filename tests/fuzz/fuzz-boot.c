/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Feeds the boot protocols kernel images of the fuzzer's making. */
#include "../unit/fake-machine.h"
#include "machine/boot/boot.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY (16ull << 20)

static struct fake_machine *machine; /* one for all inputs: nothing of it but RAM changes */
static int image;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    machine = fake_machine_new(MEMORY);
    image = memfd_create("image", MFD_CLOEXEC);
    g_assert_cmpint(image, >=, 0);
    machine->config.cpus = 1;
    machine->config.kernel = g_strdup_printf("/proc/self/fd/%d", image);
    machine->config.append = (char *)"console=ttyS0";
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct boot_entry entry = {0};
    GError *error = NULL;

    g_assert_cmpint(ftruncate(image, 0), ==, 0);
    g_assert_cmpint(pwrite(image, data, size, 0), ==, (ssize_t)size);
    bool good = boot_load(&machine->machine, &entry, &error);
    g_assert_true(good == !error);
    g_clear_error(&error);
    return 0;
}
