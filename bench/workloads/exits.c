/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes that leave the guest, to QEMU's pci-testdev (QEMU's documentation, "QEMU PCI test
 * device"): BAR 0 is memory, BAR 1 ports, with the same registers.  Writing a test's number at
 * offset 0 starts it; then the device names the offset and the value to write, and counts the
 * writes.
 */
#define _GNU_SOURCE
#include "workloads.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TEST = 0, WIDTH = 1, OFFSET = 4, DATA = 8, COUNT = 12, NAME = 16, TESTS = 16 };

/* One BAR: of memory if MEMORY, else ports from PORT on. */
struct bar {
    volatile uint8_t *memory;
    uint16_t port;
};

static uint8_t read_byte(const struct bar *bar, unsigned offset)
{
    return bar->memory ? bar->memory[offset] : inb((uint16_t)(bar->port + offset));
}

static void write_byte(const struct bar *bar, unsigned offset, uint8_t value)
{
    if (bar->memory)
        bar->memory[offset] = value;
    else
        outb(value, (uint16_t)(bar->port + offset));
}

static uint32_t read_word(const struct bar *bar, unsigned offset)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++)
        value |= (uint32_t)read_byte(bar, offset + i) << 8 * i;
    return value;
}

/* The first line of FOLDER's file NAME. */
static void read_line(const char *folder, const char *name, char *text, int size)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(text, size, f))
        fail(path);
    fclose(f);
}

static bool is_test_device(const char *folder)
{
    char vendor[16], device[16];
    read_line(folder, "vendor", vendor, sizeof(vendor));
    read_line(folder, "device", device, sizeof(device));
    return !strcmp(vendor, "0x1b36\n") && !strcmp(device, "0x0005\n");
}

/* The sysfs folder of the device, which it enables. */
static void find_device(char *folder, size_t size)
{
    glob_t found;
    char path[256];
    size_t i = 0;

    if (glob("/sys/bus/pci/devices/*", 0, NULL, &found))
        fail("/sys/bus/pci/devices");
    while (i < found.gl_pathc && !is_test_device(found.gl_pathv[i]))
        i++;
    if (i == found.gl_pathc) {
        errno = ENODEV;
        fail("pci-testdev");
    }
    snprintf(folder, size, "%s", found.gl_pathv[i]);
    globfree(&found);
    snprintf(path, sizeof(path), "%s/enable", folder);
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, "1", 1) != 1)
        fail(path);
    close(fd);
}

static struct bar memory_bar(void)
{
    char folder[200], path[256];
    find_device(folder, sizeof(folder));
    snprintf(path, sizeof(path), "%s/resource0", folder);
    int fd = open(path, O_RDWR);
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || memory == MAP_FAILED)
        fail(path);
    close(fd);
    return (struct bar){.memory = memory};
}

static struct bar port_bar(void)
{
    char folder[200], path[256];
    unsigned long port;
    find_device(folder, sizeof(folder));
    snprintf(path, sizeof(path), "%s/resource", folder);
    FILE *f = fopen(path, "r"); /* a BAR a line: first address, last, flags */
    if (!f || fscanf(f, "%*x %*x %*x %lx", &port) != 1 || iopl(3))
        fail(path);
    fclose(f);
    return (struct bar){.port = (uint16_t)port};
}

/* Starts the test that has WANTED in its name. */
static void start_test(const struct bar *bar, const char *wanted)
{
    for (uint8_t test = 0; test < TESTS; test++) {
        char name[64] = "";
        write_byte(bar, TEST, test);
        for (unsigned i = 0; i + 1 < sizeof(name); i++) {
            name[i] = (char)read_byte(bar, NAME + i);
            if (!name[i])
                break;
        }
        if (strstr(name, wanted) && read_byte(bar, WIDTH) == 1)
            return;
    }
    errno = ENOSYS;
    fail(wanted);
}

/* AMOUNT writes to BAR by the test WANTED. */
static uint64_t writes(struct bar bar, const char *wanted, uint32_t amount)
{
    start_test(&bar, wanted);
    unsigned offset = read_word(&bar, OFFSET);
    uint8_t data = read_byte(&bar, DATA);
    for (uint32_t i = 0; i < amount; i++)
        write_byte(&bar, offset, data);
    return amount;
}

uint64_t exit_port(uint32_t amount)
{
    return writes(port_bar(), "no-eventfd", amount);
}

uint64_t exit_mmio(uint32_t amount)
{
    return writes(memory_bar(), "no-eventfd", amount);
}

uint64_t exit_ioeventfd(uint32_t amount)
{
    return writes(memory_bar(), "wildcard-eventfd", amount);
}
