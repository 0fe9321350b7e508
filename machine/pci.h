/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The PCIe host (ECAM and ports 0xcf8/0xcfc) and its functions: config space, BARs, INTx, MSI-X.
 */
#ifndef TRAPEZE_PCI_H
#define TRAPEZE_PCI_H

#include "device.h"

struct pci_function;
struct pci_host;

#define PCI_CONFIG_SIZE 4096
#define PCI_BARS        6

struct msix_entry {
    uint64_t address;
    uint32_t data;
    uint32_t control;
};

/* The common part of a PCI function; a device embeds it first (it starts with struct device). */
struct pci_function {
    struct device device;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE];  /* mask of bits that the guest may write */
    struct region bar[PCI_BARS];        /* size 0: no BAR; bar[n].tag = n */
    bool bar_64[PCI_BARS];
    uint8_t slot;                       /* device number on bus 0 */
    bool intx_level;
    unsigned msix_count;
    struct msix_entry *msix;
    uint64_t *msix_pending;
    uint8_t msix_capability;            /* config offset, 0 for none */
    unsigned msix_bar;
    uint32_t msix_table, msix_pba;      /* offsets in that BAR */
};

struct pci_host *pci_host_new(struct machine *m);

/* Puts F into the next free slot (or SLOT if >= 0) of the host, with its identification registers. */
bool pci_function_init(struct pci_function *f, const struct device_class *class, struct machine *m,
                       const char *id, int slot, uint16_t vendor, uint16_t device,
                       uint32_t class_revision, uint16_t subsystem_vendor, uint16_t subsystem);

/* Gives F a memory BAR of SIZE (a power of two) whose accesses go to OPS. */
void pci_add_bar(struct pci_function *f, unsigned bar, uint64_t size, bool wide,
                 const struct region_ops *ops);
/* Adds a capability of LENGTH bytes (with its two header bytes) and returns its config offset. */
uint8_t pci_add_capability(struct pci_function *f, uint8_t id, const void *body, unsigned length);
/* Adds MSI-X with COUNT vectors, table and PBA at offsets in memory BAR `bar`; accesses there are
 * handled here: region ops of that BAR call pci_msix_read/write for them. */
void pci_add_msix(struct pci_function *f, unsigned count, unsigned bar, uint32_t table,
                  uint32_t pba);
bool pci_msix_read(struct pci_function *f, uint64_t offset, unsigned size, uint64_t *value);
bool pci_msix_write(struct pci_function *f, uint64_t offset, uint64_t value, unsigned size);

/* Signals MSI-X vector N (kept pending while masked), or drives INTx.  With the device's lock held. */
void pci_msix_signal(struct pci_function *f, unsigned vector);
bool pci_msix_enabled(const struct pci_function *f);
void pci_set_intx(struct pci_function *f, bool level);

#endif
