/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI functions: config space, capabilities, BARs and INTx (PCI Local Bus 3.0, chapter 6). */
#include "pci.h"
#include "layout.h"
#include "machine.h"

#include <inttypes.h>
#include <linux/pci_regs.h>
#include <string.h>

#define FIRST_CAPABILITY  0x40
#define LEGACY_CONFIG_END 0x100 /* capabilities and BARs live below it */

static void put16(uint8_t *p, uint16_t value)
{
    memcpy(p, &value, sizeof(value));
}

static void put32(uint8_t *p, uint32_t value)
{
    memcpy(p, &value, sizeof(value));
}

static uint16_t get16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

bool pci_function_init(struct pci_function *f, const struct device_class *class, struct machine *m,
                       const char *id, int slot, uint16_t vendor, uint16_t device,
                       uint32_t class_revision, uint16_t subsystem_vendor, uint16_t subsystem)
{
    int got = pci_host_plug(m->pci, f, slot);
    if (got < 0)
        return false;
    device_init(&f->device, class, m, id);
    f->host = m->pci;
    f->slot = got;
    put16(f->config + PCI_VENDOR_ID, vendor);
    put16(f->config + PCI_DEVICE_ID, device);
    put32(f->config + PCI_CLASS_REVISION, class_revision);
    put16(f->config + PCI_SUBSYSTEM_VENDOR_ID, subsystem_vendor);
    put16(f->config + PCI_SUBSYSTEM_ID, subsystem);
    put16(f->writable + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                         PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
                                         PCI_COMMAND_INTX_DISABLE);
    f->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    f->writable[PCI_INTERRUPT_LINE] = 0xff;
    return true;
}

void pci_function_discard(struct pci_function *f)
{
    for (unsigned n = 0; n < PCI_BARS; n++)
        if (f->bar_mapped[n])
            space_unmap(f->device.machine, SPACE_MMIO, &f->bar[n]);
    pci_host_unplug(f->host, f);
    list_remove(&f->device.link);
    g_mutex_clear(&f->device.lock);
    g_clear_pointer(&f->device.id, g_free);
}

/* ---- BARs ---- */

/* The address that BAR n's registers hold. */
static uint64_t bar_register(const struct pci_function *f, unsigned bar)
{
    const uint8_t *p = f->config + PCI_BASE_ADDRESS_0 + 4 * bar;
    uint64_t address = get32(p) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
    if (f->bar_64[bar])
        address |= (uint64_t)get32(p + 4) << 32;
    return address;
}

static void set_bar_register(struct pci_function *f, unsigned bar, uint64_t address)
{
    uint8_t *p = f->config + PCI_BASE_ADDRESS_0 + 4 * bar;
    put32(p, (uint32_t)address | (f->bar_64[bar] ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0));
    if (f->bar_64[bar])
        put32(p + 4, address >> 32);
}

/* Whether [address, address + size) is a place to decode at: not the zero of an unassigned BAR and
 * not what a guest that measures the BAR leaves there for a moment. */
static bool bar_decodable(const struct pci_function *f, unsigned bar, uint64_t address)
{
    uint64_t last = address + (f->bar[bar].size - 1);
    return address && last != (f->bar_64[bar] ? UINT64_MAX : UINT32_MAX);
}

/* Maps the BARs where command register and BAR registers want them. */
static void update_mappings(struct pci_function *f)
{
    bool decode = get16(f->config + PCI_COMMAND) & PCI_COMMAND_MEMORY;
    for (unsigned n = 0; n < PCI_BARS; n++) {
        struct region *r = &f->bar[n];
        if (!r->size)
            continue;
        uint64_t address = bar_register(f, n);
        bool wanted = decode && bar_decodable(f, n, address);
        if (f->bar_mapped[n] && (!wanted || address != r->base)) {
            space_unmap(f->device.machine, SPACE_MMIO, r);
            f->bar_mapped[n] = false;
        }
        if (wanted && !f->bar_mapped[n]) {
            f->bar_mapped[n] = space_map(f->device.machine, SPACE_MMIO, r, address);
            if (!f->bar_mapped[n])
                machine_log(f->device.machine, false,
                            "%s: the guest put BAR %u at 0x%" PRIx64 ", where something else is",
                            f->device.id, n, address);
        }
    }
}

bool pci_add_bar(struct pci_function *f, unsigned bar, uint64_t size, bool wide,
                 const struct region_ops *ops)
{
    uint64_t address = pci_host_assign(f->host, size, wide);
    if (!address)
        return false;
    f->bar[bar] = (struct region){.device = &f->device, .ops = ops, .size = size, .tag = bar};
    f->bar_64[bar] = wide;
    f->bar_assigned[bar] = address;
    uint8_t *writable = f->writable + PCI_BASE_ADDRESS_0 + 4 * bar;
    put32(writable, (uint32_t) ~(size - 1) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK);
    if (wide)
        put32(writable + 4, ~(size - 1) >> 32);
    set_bar_register(f, bar, address);
    f->config[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
    update_mappings(f);
    return true;
}

/* ---- capabilities ---- */

uint8_t pci_add_capability(struct pci_function *f, uint8_t id, const void *body, unsigned length)
{
    /* The list is chained in the order of addition; the end of the last one is the next's place. */
    unsigned place = FIRST_CAPABILITY;
    uint8_t *link = f->config + PCI_CAPABILITY_LIST;
    while (*link) {
        place = *link;
        link = f->config + place + PCI_CAP_LIST_NEXT;
    }
    if (link != f->config + PCI_CAPABILITY_LIST)
        place = ALIGN_UP(place + f->capability_length, 4u);
    g_return_val_if_fail(range_inside(place, length, LEGACY_CONFIG_END), 0);
    *link = place;
    f->config[place + PCI_CAP_LIST_ID] = id;
    f->config[place + PCI_CAP_LIST_NEXT] = 0;
    memcpy(f->config + place + 2, body, length - 2);
    f->capability_length = length;
    f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return place;
}

/* ---- interrupts ---- */

/* Passes the pin's level on unless INTx is disabled (6.2.2, 6.2.3). */
static void update_line(struct pci_function *f)
{
    bool disabled = get16(f->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
    if (f->intx_level)
        f->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
    else
        f->config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;
    pci_host_set_line(f->host, f->slot, f->intx_level && !disabled);
}

void pci_use_intx(struct pci_function *f)
{
    f->config[PCI_INTERRUPT_PIN] = 1;
    f->config[PCI_INTERRUPT_LINE] = PCI_INTX_GSI(f->slot, 0);
}

void pci_set_intx(struct pci_function *f, bool level)
{
    if (f->intx_level == level)
        return;
    f->intx_level = level;
    update_line(f);
}

bool pci_bus_master(const struct pci_function *f)
{
    return get16(f->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}

/* ---- accesses ---- */

uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    if (!range_inside(offset, size, PCI_CONFIG_SIZE) || size > 4)
        return UINT32_MAX;
    if (f->config_reading)
        f->config_reading(f, offset, size);
    uint32_t value = 0;
    memcpy(&value, f->config + offset, size);
    return value;
}

void pci_config_write(struct pci_function *f, unsigned offset, uint32_t value, unsigned size)
{
    if (!range_inside(offset, size, PCI_CONFIG_SIZE) || size > 4)
        return;
    for (unsigned i = 0; i < size; i++, value >>= 8) {
        uint8_t mask = f->writable[offset + i];
        uint8_t *byte = &f->config[offset + i];
        *byte = (*byte & ~mask) | (value & mask);
    }
    if (ranges_overlap(offset, size, PCI_COMMAND, 2)) {
        update_mappings(f);
        update_line(f);
    } else if (ranges_overlap(offset, size, PCI_BASE_ADDRESS_0, 4 * PCI_BARS)) {
        update_mappings(f);
    }
    if (f->msix_capability &&
        (ranges_overlap(offset, size, PCI_COMMAND, 2) ||
         ranges_overlap(offset, size, f->msix_capability + PCI_MSIX_FLAGS, 2)))
        pci_msix_control_changed(f);
    if (f->config_written)
        f->config_written(f, offset, size);
}

void pci_function_reset(struct pci_function *f)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        f->config[i] &= ~f->writable[i];
    for (unsigned n = 0; n < PCI_BARS; n++)
        if (f->bar[n].size) {
            set_bar_register(f, n, f->bar_assigned[n]);
            f->config[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
        }
    if (f->config[PCI_INTERRUPT_PIN])
        pci_use_intx(f);
    f->intx_level = false;
    update_line(f);
    update_mappings(f);
    for (unsigned n = 0; n < f->msix_count; n++)
        f->msix[n] = (struct msix_entry){.control = PCI_MSIX_ENTRY_CTRL_MASKBIT};
    f->msix_pending = 0;
}

void pci_function_loaded(struct pci_function *f)
{
    update_mappings(f);
    update_line(f);
}
