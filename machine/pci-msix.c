/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MSI-X: table, pending bits, masking (PCI Local Bus 3.0, 6.8.2). */
#include "machine.h"
#include "pci.h"

#include <linux/pci_regs.h>
#include <string.h>

static uint16_t control(const struct pci_function *f)
{
    uint16_t value;
    memcpy(&value, f->config + f->msix_capability + PCI_MSIX_FLAGS, sizeof(value));
    return value;
}

void pci_add_msix(struct pci_function *f, unsigned count, unsigned bar, uint32_t table,
                  uint32_t pba)
{
    struct {
        uint16_t control;
        uint32_t table, pba;
    } __attribute__((packed)) body = {count - 1, table | bar, pba | bar};

    f->msix_capability = pci_add_capability(f, PCI_CAP_ID_MSIX, &body, 2 + sizeof(body));
    f->writable[f->msix_capability + PCI_MSIX_FLAGS + 1] =
        (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
    f->msix_count = count;
    f->msix_bar = bar;
    f->msix_table = table;
    f->msix_pba = pba;
    for (unsigned n = 0; n < count; n++)
        f->msix[n].control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

bool pci_msix_enabled(const struct pci_function *f)
{
    return f->msix_capability && control(f) & PCI_MSIX_FLAGS_ENABLE;
}

static bool masked(const struct pci_function *f, unsigned vector)
{
    return control(f) & PCI_MSIX_FLAGS_MASKALL ||
           f->msix[vector].control & PCI_MSIX_ENTRY_CTRL_MASKBIT || !pci_bus_master(f);
}

void pci_msix_signal(struct pci_function *f, unsigned vector)
{
    if (vector >= f->msix_count || !pci_msix_enabled(f))
        return;
    if (masked(f, vector)) {
        f->msix_pending |= BIT(vector);
        return;
    }
    f->msix_pending &= ~BIT(vector);
    irq_msi(f->device.machine, f->msix[vector].address, f->msix[vector].data);
}

/* Sends the pending vectors that are not masked any more. */
static void send_pending(struct pci_function *f)
{
    for (unsigned n = 0; f->msix_pending && n < f->msix_count; n++)
        if (f->msix_pending & BIT(n))
            pci_msix_signal(f, n);
}

void pci_msix_control_changed(struct pci_function *f)
{
    if (pci_msix_enabled(f))
        send_pending(f);
    else
        f->msix_pending = 0;
}

/* The part of [offset, offset + size) inside [start, start + length), as offset in that range;
 * false when there is none. */
static bool part_of(uint64_t offset, unsigned size, uint64_t start, uint64_t length,
                    uint64_t *inside)
{
    *inside = offset - start;
    return offset >= start && range_inside(offset - start, size, length);
}

bool pci_msix_read(struct pci_function *f, uint64_t offset, unsigned size, uint64_t *value)
{
    uint64_t at;
    *value = 0;
    if (part_of(offset, size, f->msix_table, f->msix_count * sizeof(f->msix[0]), &at))
        memcpy(value, (const uint8_t *)f->msix + at, size);
    else if (part_of(offset, size, f->msix_pba, sizeof(f->msix_pending), &at))
        memcpy(value, (const uint8_t *)&f->msix_pending + at, size);
    else
        return false;
    return true;
}

bool pci_msix_write(struct pci_function *f, uint64_t offset, uint64_t value, unsigned size)
{
    uint64_t at;
    if (part_of(offset, size, f->msix_table, f->msix_count * sizeof(f->msix[0]), &at)) {
        memcpy((uint8_t *)f->msix + at, &value, size);
        for (unsigned n = at / sizeof(f->msix[0]); n <= (at + size - 1) / sizeof(f->msix[0]); n++)
            f->msix[n].control &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
        send_pending(f);
        return true;
    }
    return part_of(offset, size, f->msix_pba, sizeof(f->msix_pending), &at);
}

static uint64_t region_read(struct device *d, uint64_t offset, unsigned size)
{
    uint64_t value;
    pci_msix_read(container_of(d, struct pci_function, device), offset, size, &value);
    return value;
}

static void region_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    pci_msix_write(container_of(d, struct pci_function, device), offset, value, size);
}

const struct region_ops pci_msix_region_ops = {region_read, region_write};
