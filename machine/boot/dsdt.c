/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The DSDT: the PCI root with its windows and interrupts, the chipset's devices, soft-off. */
#include "acpi.h"
#include "aml.h"
#include "machine/chipset/pm.h"

#include <stdio.h>

#define PCI_PINS       4
#define WINDOW_64_LAST (LAYOUT_PCI_64 + (512ull << 30) - 1)

/* An interrupt line for each device and pin, wired straight to the IOAPIC. */
static void put_interrupts(GByteArray *a)
{
    aml_name(a, "_PRT");
    unsigned table = aml_open_package(a, PCI_SLOTS * PCI_PINS);
    for (unsigned device = 0; device < PCI_SLOTS; device++) {
        for (unsigned pin = 0; pin < PCI_PINS; pin++) {
            unsigned route = aml_open_package(a, 4);
            aml_integer(a, device << 16 | 0xffff);
            aml_integer(a, pin);
            aml_integer(a, 0);
            aml_integer(a, PCI_INTX_GSI(device, pin));
            aml_close(a, route);
        }
    }
    aml_close(a, table);
}

static void put_root_resources(GByteArray *a)
{
    GByteArray *r = g_byte_array_new();

    resource_bus_window(r, 0, 255);
    resource_io(r, PORT_PCI_CONFIG, 8);
    resource_io_window(r, 0, PORT_PCI_CONFIG - 1);
    resource_io_window(r, PORT_PCI_CONFIG + 8, 0xffff);
    resource_memory_window(r, 0xa0000, 0xbffff);
    resource_memory_window(r, LAYOUT_PCI_HOLE, LAYOUT_PCI_HOLE_END - 1);
    resource_memory_window_64(r, LAYOUT_PCI_64, WINDOW_64_LAST);
    aml_resources(a, r);
}

/* A device of the ISA kind: ports in two ranges (a length of 0 is none) and a line (0 is none). */
struct legacy {
    const char *name, *id;
    uint16_t port[2];
    uint8_t length[2];
    uint8_t irq;
};

static void put_legacy(GByteArray *a, const struct legacy *l)
{
    GByteArray *r = g_byte_array_new();
    unsigned device = aml_open_device(a, l->name);

    aml_name(a, "_HID");
    aml_eisa_id(a, l->id);
    for (unsigned i = 0; i < 2; i++)
        if (l->length[i])
            resource_io(r, l->port[i], l->length[i]);
    if (l->irq)
        resource_irq(r, l->irq);
    aml_resources(a, r);
    aml_close(a, device);
}

static void put_root(GByteArray *a)
{
    static const struct legacy legacy[] = {
        {"COM1", "PNP0501", {PORT_SERIAL0}, {8}, 4},
        {"RTC", "PNP0B00", {PORT_RTC}, {2}, 8},
        {"KBD", "PNP0303", {PORT_I8042, PORT_I8042 + 4}, {1, 1}, 1},
    };
    unsigned root = aml_open_device(a, "PCI0");

    aml_name(a, "_HID");
    aml_eisa_id(a, "PNP0A08");
    aml_name(a, "_CID");
    aml_eisa_id(a, "PNP0A03");
    aml_name(a, "_UID");
    aml_integer(a, 0);
    aml_name(a, "_SEG");
    aml_integer(a, 0);
    aml_name(a, "_BBN");
    aml_integer(a, 0);
    put_root_resources(a);
    put_interrupts(a);
    /* The guest may have control of every PCIe feature: what it asks for is granted as it is. */
    unsigned method = aml_open_method(a, "_OSC", 4);
    aml_return_argument(a, 3);
    aml_close(a, method);
    for (unsigned i = 0; i < ARRAY_SIZE(legacy); i++)
        put_legacy(a, &legacy[i]);
    aml_close(a, root);
}

/* What nobody else shall be given: ECAM, and the power management ports. */
static void put_board(GByteArray *a)
{
    GByteArray *r = g_byte_array_new();
    unsigned device = aml_open_device(a, "MBRD");

    aml_name(a, "_HID");
    aml_eisa_id(a, "PNP0C02");
    resource_memory_fixed(r, (uint32_t)LAYOUT_ECAM, (uint32_t)LAYOUT_ECAM_SIZE);
    resource_io(r, PORT_PM_BASE, PM_BLOCK_LENGTH);
    aml_resources(a, r);
    aml_close(a, device);
}

static void put_processors(GByteArray *a, unsigned cpus)
{
    for (unsigned i = 0; i < cpus; i++) {
        char name[5];

        snprintf(name, sizeof name, "C%03X", i & 0xfff);
        unsigned device = aml_open_device(a, name);
        aml_name(a, "_HID");
        aml_string(a, "ACPI0007");
        aml_name(a, "_UID");
        aml_integer(a, i);
        aml_close(a, device);
    }
}

/* The sleep state NAME, and what PM1 control takes for it. */
static void put_sleep_state(GByteArray *a, const char *name, unsigned type)
{
    aml_name(a, name);
    unsigned package = aml_open_package(a, 4);
    aml_integer(a, type);
    aml_integer(a, type);
    aml_integer(a, 0);
    aml_integer(a, 0);
    aml_close(a, package);
}

GByteArray *acpi_dsdt(unsigned cpus)
{
    GByteArray *a = g_byte_array_new();
    unsigned scope = aml_open_scope(a, "\\_SB");

    put_root(a);
    put_board(a);
    put_processors(a, cpus);
    aml_close(a, scope);
    put_sleep_state(a, "\\_S3", PM_SLEEP_TYPE_S3);
    put_sleep_state(a, "\\_S5", PM_SLEEP_TYPE_S5);
    return a;
}
