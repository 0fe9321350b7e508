/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which protocol boots the image. */
#include "boot.h"

#include "acpi.h"
#include "loader.h"

#define BIOS_DATA 0x400

static bool load(struct machine *m, const struct image *i, struct boot_entry *entry, GError **error)
{
    struct elf elf;

    if (linux_is(i))
        return linux_load(m, i, entry, error);
    if (multiboot_is(i))
        return multiboot_load(m, i, entry, error);
    if (elf_is(i))
        return elf_parse(i, &elf, error) && pvh_load(m, i, &elf, entry, error);
    return image_error(i, error,
                       "not a kernel image known here: neither a bzImage, nor an ELF kernel with a "
                       "PVH note, nor a multiboot image");
}

/* The BIOS data area's fields that kernels still read without a BIOS: serial port, base memory,
 * and the extended area above it (Xen puts its trampoline below). */
static void write_bios_data(struct machine *m)
{
    const struct {
        uint16_t serial[4], parallel[3], extended_segment, equipment;
        uint8_t test;
        uint16_t base_kilobytes;
    } __attribute__((packed)) area = {
        .serial = {PORT_SERIAL0},
        .extended_segment = LAYOUT_EBDA >> 4,
        .equipment = 1 << 9, /* one serial port */
        .base_kilobytes = LAYOUT_EBDA >> 10,
    };
    const uint8_t extended_kilobytes = (0xa0000 - LAYOUT_EBDA) >> 10;

    ram_write(m, BIOS_DATA, &area, sizeof area);
    ram_write(m, LAYOUT_EBDA, &extended_kilobytes, sizeof extended_kilobytes);
}

bool boot_load(struct machine *m, struct boot_entry *entry, GError **error)
{
    struct image i;

    if (!m->config->kernel) {
        g_set_error(
            error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
            "booting a disk through firmware is not there yet; give the guest's kernel with "
            "--kernel FILE, and --initrd FILE and --append TEXT as it needs them");
        return false;
    }
    if (!image_open(&i, "--kernel", m->config->kernel, error))
        return false;
    bool good = load(m, &i, entry, error) && acpi_write(m, error);
    image_close(&i);
    write_bios_data(m);
    return good;
}

bool boot_wake(struct machine *m, struct boot_entry *entry)
{
    uint32_t vector = acpi_waking_vector(m);

    /* ACPI 6.4, 5.2.10: CS is the vector shifted right by 4, IP its low four bits. */
    if (!vector || vector >= 1u << 20)
        return false;
    entry->sregs.cs.selector = (uint16_t)(vector >> 4);
    entry->sregs.cs.base = vector & ~15u;
    entry->regs.rip = vector & 15;
    return true;
}
