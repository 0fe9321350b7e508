/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The PCIe host of a q35-shaped machine: bus 0 with the host bridge (8086:29c0) and the ICH9 LPC
 * bridge (8086:2918), reached by ECAM (PCI Express Base 7.2.2) and by ports 0xcf8 and 0xcfc (PCI
 * Local Bus 3.0, 3.2.2.3.2); the assignment of addresses and slots; the interrupt lines.
 */
#include "layout.h"
#include "machine.h"
#include "pci.h"

#include <linux/pci_regs.h>
#include <string.h>

#define LPC_SLOT      31
#define CONFIG_ENABLE 0x80000000u
#define PCI_64_SIZE   0x8000000000ull /* of the window at LAYOUT_PCI_64 */
#define INTX_LINES    4

/* Registers of the bridges (Intel 3 Series Express Chipset 5.1; ICH9 13.1). */
#define MCH_PCIEXBAR    0x60
#define MCH_PCIEXBAR_ON 1
#define LPC_PMBASE      0x40
#define LPC_ACPI_CNTL   0x44
#define LPC_ACPI_ENABLE 0x80

struct pci_host {
    struct pci_function bridge; /* 0:0.0, and the device that the regions belong to */
    struct pci_function *slots[PCI_SLOTS];
    struct region ecam, ports;
    uint32_t address; /* the register at 0xcf8 */
    uint64_t next_32, next_64;

    GMutex line_lock;              /* a leaf but for the irqchip's; guards the next */
    uint32_t asserted[INTX_LINES]; /* bit n: slot n drives the line */
};

/* The host's function at DEVICE's slot, with its lock held unless it is the bridge's, which the
 * accesses below hold anyway.  NULL when the slot is empty. */
static struct pci_function *enter_function(struct pci_host *h, unsigned slot)
{
    struct pci_function *f = h->slots[slot];
    if (f && f != &h->bridge)
        g_mutex_lock(&f->device.lock);
    return f;
}

static void leave_function(struct pci_host *h, struct pci_function *f)
{
    if (f != &h->bridge)
        g_mutex_unlock(&f->device.lock);
}

/* A configuration access at BDF (bus, device, function as in ECAM's bits 20-27, 15-19, 12-14). */
static uint64_t config_read(struct pci_host *h, unsigned bdf, unsigned offset, unsigned size)
{
    struct pci_function *f = bdf & 7 || bdf > 0xff ? NULL : enter_function(h, bdf >> 3);
    if (!f)
        return UINT64_MAX >> (64 - 8 * size);
    uint64_t value = pci_config_read(f, offset, MIN(size, 4));
    if (size == 8)
        value |= (uint64_t)pci_config_read(f, offset + 4, 4) << 32;
    leave_function(h, f);
    return value;
}

static void config_write(struct pci_host *h, unsigned bdf, unsigned offset, uint64_t value,
                         unsigned size)
{
    struct pci_function *f = bdf & 7 || bdf > 0xff ? NULL : enter_function(h, bdf >> 3);
    if (!f)
        return;
    pci_config_write(f, offset, value, MIN(size, 4));
    if (size == 8)
        pci_config_write(f, offset + 4, value >> 32, 4);
    leave_function(h, f);
}

static struct pci_host *host_of(struct device *d)
{
    return container_of(d, struct pci_host, bridge.device);
}

static uint64_t ecam_read(struct device *d, uint64_t offset, unsigned size)
{
    return config_read(host_of(d), offset >> 12, offset & 0xfff, size);
}

static void ecam_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    config_write(host_of(d), offset >> 12, offset & 0xfff, value, size);
}

static const struct region_ops ecam_ops = {ecam_read, ecam_write};

/* Ports 0xcf8-0xcff.  The address register takes 32-bit accesses only; the byte at 0xcf9 is the
 * machine's reset control register. */
static uint64_t ports_read(struct device *d, uint64_t offset, unsigned size)
{
    struct pci_host *h = host_of(d);
    if (offset >= 4) {
        if (!(h->address & CONFIG_ENABLE))
            return UINT64_MAX;
        return config_read(h, h->address >> 8 & 0xffff, (h->address & 0xfc) + (offset - 4), size);
    }
    if (offset == 0 && size == 4)
        return h->address;
    if (offset == PORT_RESET - PORT_PCI_CONFIG && size == 1)
        return reset_control_read(d->machine);
    return UINT64_MAX;
}

static void ports_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_host *h = host_of(d);
    if (offset >= 4) {
        if (h->address & CONFIG_ENABLE)
            config_write(h, h->address >> 8 & 0xffff, (h->address & 0xfc) + (offset - 4), value,
                         size);
    } else if (offset == 0 && size == 4) {
        h->address = value & (CONFIG_ENABLE | 0xfffffc);
    } else if (offset == PORT_RESET - PORT_PCI_CONFIG && size == 1) {
        reset_control_write(d->machine, value);
    }
}

static const struct region_ops ports_ops = {ports_read, ports_write};

/* ---- slots, addresses, lines ---- */

int pci_host_plug(struct pci_host *h, struct pci_function *f, int slot)
{
    if (slot < 0)
        for (slot = 1; slot < PCI_SLOTS && h->slots[slot]; slot++)
            ;
    if (slot >= PCI_SLOTS || h->slots[slot])
        return -1;
    h->slots[slot] = f;
    return slot;
}

void pci_host_unplug(struct pci_host *h, struct pci_function *f)
{
    h->slots[f->slot] = NULL;
}

uint64_t pci_host_assign(struct pci_host *h, uint64_t size, bool wide)
{
    uint64_t *next = wide ? &h->next_64 : &h->next_32;
    uint64_t end = wide ? LAYOUT_PCI_64 + PCI_64_SIZE : LAYOUT_PCI_HOLE_END;
    uint64_t address = ALIGN_UP(*next, size);
    if (address < *next || address > end || size > end - address)
        return 0;
    *next = address + size;
    return address;
}

void pci_host_set_line(struct pci_host *h, unsigned slot, bool level)
{
    unsigned gsi = PCI_INTX_GSI(slot, 0);
    uint32_t *asserted = &h->asserted[gsi - PCI_INTX_GSI(0, 0)];
    g_mutex_lock(&h->line_lock);
    uint32_t now = level ? *asserted | (uint32_t)BIT(slot) : *asserted & ~(uint32_t)BIT(slot);
    bool changed = !now != !*asserted;
    *asserted = now;
    /* Under the lock, so that the last level sent is the last one computed. */
    if (changed)
        irq_set(h->bridge.device.machine, gsi, now != 0);
    g_mutex_unlock(&h->line_lock);
}

/* ---- the two bridges ---- */

static void bridge_reset(struct device *d)
{
    struct pci_host *h = host_of(d);
    pci_function_reset(&h->bridge);
    h->address = 0;
}

static int function_loaded(struct device *d, GError **error)
{
    (void)error;
    pci_function_loaded(container_of(d, struct pci_function, device));
    return 0;
}

static void function_reset(struct device *d)
{
    pci_function_reset(container_of(d, struct pci_function, device));
}

static void function_free(struct device *d)
{
    g_free(container_of(d, struct pci_function, device));
}

static void bridge_free(struct device *d)
{
    struct pci_host *h = host_of(d);
    g_mutex_clear(&h->line_lock);
    g_free(h);
}

static const struct state_field bridge_fields[] = {PCI_STATE_FIELDS,
                                                   STATE_FIELD(struct pci_host, address, 1)};
static const struct device_class bridge_class = {
    .name = "pci-host",
    .version = 1,
    .fields = bridge_fields,
    .field_count = ARRAY_SIZE(bridge_fields),
    .reset = bridge_reset,
    .loaded = function_loaded,
    .free = bridge_free,
};

static const struct state_field lpc_fields[] = {PCI_STATE_FIELDS};
static const struct device_class lpc_class = {
    .name = "ich9-lpc",
    .version = 1,
    .fields = lpc_fields,
    .field_count = ARRAY_SIZE(lpc_fields),
    .reset = function_reset,
    .loaded = function_loaded,
    .free = function_free,
};

struct pci_host *pci_host_new(struct machine *m)
{
    struct pci_host *h = g_new0(struct pci_host, 1);
    h->next_32 = LAYOUT_PCI_HOLE;
    h->next_64 = LAYOUT_PCI_64;
    g_mutex_init(&h->line_lock);

    struct pci_host *before = m->pci;
    m->pci = h;
    pci_function_init(&h->bridge, &bridge_class, m, "pci-host", 0, 0x8086, 0x29c0,
                      PCI_CLASS(0x0600, 0), 0, 0);
    uint64_t ecam = LAYOUT_ECAM | MCH_PCIEXBAR_ON;
    memcpy(h->bridge.config + MCH_PCIEXBAR, &ecam, sizeof(ecam));

    struct pci_function *lpc = g_new0(struct pci_function, 1);
    pci_function_init(lpc, &lpc_class, m, "lpc", LPC_SLOT, 0x8086, 0x2918, PCI_CLASS(0x0601, 2), 0,
                      0);
    uint32_t pm_base = PORT_PM_BASE | 1;
    memcpy(lpc->config + LPC_PMBASE, &pm_base, sizeof(pm_base));
    lpc->config[LPC_ACPI_CNTL] = LPC_ACPI_ENABLE;
    m->pci = before;

    h->ecam =
        (struct region){.device = &h->bridge.device, .ops = &ecam_ops, .size = LAYOUT_ECAM_SIZE};
    h->ports = (struct region){.device = &h->bridge.device, .ops = &ports_ops, .size = 8};
    space_map(m, SPACE_MMIO, &h->ecam, LAYOUT_ECAM);
    space_map(m, SPACE_PIO, &h->ports, PORT_PCI_CONFIG);
    return h;
}
