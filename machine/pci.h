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
#define PCI_MSIX_MAX    16 /* vectors of a function */

/* The class code (base class << 8 | subclass) and revision as config dword 8 holds them. */
#define PCI_CLASS(code, revision) ((uint32_t)(code) << 16 | (revision))

struct msix_entry {
    uint64_t address;
    uint32_t data;
    uint32_t control;
};

/* The common part of a PCI function; a device embeds it first (it starts with struct device). */
struct pci_function {
    struct device device;
    struct pci_host *host;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* mask of bits that the guest may write */
    struct region bar[PCI_BARS];       /* size 0: no BAR; bar[n].tag = n */
    bool bar_64[PCI_BARS];
    bool bar_mapped[PCI_BARS];       /* at bar[n].base */
    uint64_t bar_assigned[PCI_BARS]; /* the address that the host gave it at start */
    unsigned capability_length;      /* of the capability added last */
    uint8_t slot;                    /* device number on bus 0 */
    bool intx_level;
    unsigned msix_count;
    struct msix_entry msix[PCI_MSIX_MAX];
    uint64_t msix_pending;   /* bit n: vector n */
    uint8_t msix_capability; /* config offset, 0 for none */
    unsigned msix_bar;
    uint32_t msix_table, msix_pba; /* offsets in that BAR */

    /* The device's own, or NULL; called with its lock held. */
    void (*config_reading)(struct pci_function *f, unsigned offset, unsigned size);
    void (*config_written)(struct pci_function *f, unsigned offset, unsigned size);
};

/* State of the common part, for the field tables of classes whose instances start with it. */
#define PCI_STATE_FIELDS                                                                           \
    STATE_ARRAY(struct pci_function, config, 1), STATE_FIELD(struct pci_function, intx_level, 1),  \
        {"msix", offsetof(struct pci_function, msix), 4, PCI_MSIX_MAX * 4, 1},                     \
        STATE_FIELD(struct pci_function, msix_pending, 1)

/* Makes the host with its bridge (0:0.0) and the ICH9 LPC function (0:1f.0), maps ECAM and the
 * configuration ports; the machine's PCI functions are made after M->pci was set to it. */
struct pci_host *pci_host_new(struct machine *m);

/* Puts F into the next free slot (or SLOT if >= 0) of M->pci, with its identification registers
 * (CLASS_REVISION as in config dword 8), and does device_init.  False when no slot is free; nothing
 * is done then. */
bool pci_function_init(struct pci_function *f, const struct device_class *class, struct machine *m,
                       const char *id, int slot, uint16_t vendor, uint16_t device,
                       uint32_t class_revision, uint16_t subsystem_vendor, uint16_t subsystem);

/* Undoes pci_function_init and what was added since, for a constructor that fails. */
void pci_function_discard(struct pci_function *f);

/* Gives F a memory BAR of SIZE (a power of two, at least 4 KiB) whose accesses go to OPS.  It is
 * assigned an address at once, in the 32-bit hole or, when WIDE, in the 64-bit window, and decoded
 * from the start, so that guests without firmware find it usable.  False when no room is left. */
bool pci_add_bar(struct pci_function *f, unsigned bar, uint64_t size, bool wide,
                 const struct region_ops *ops);
/* Adds a capability of LENGTH bytes (with its two header bytes) and returns its config offset. */
uint8_t pci_add_capability(struct pci_function *f, uint8_t id, const void *body, unsigned length);
/* Adds MSI-X with COUNT vectors, table and PBA at offsets in memory BAR `bar`; accesses there are
 * handled here: region ops of that BAR call pci_msix_read/write for them. */
void pci_add_msix(struct pci_function *f, unsigned count, unsigned bar, uint32_t table,
                  uint32_t pba);
bool pci_msix_read(struct pci_function *f, uint64_t offset, unsigned size, uint64_t *value);
bool pci_msix_write(struct pci_function *f, uint64_t offset, uint64_t value, unsigned size);

/* Region ops for a BAR that holds nothing but MSI-X. */
extern const struct region_ops pci_msix_region_ops;

/* Signals MSI-X vector N (kept pending while masked, dropped when there is none such or MSI-X is
 * off).  With the device's lock held. */
void pci_msix_signal(struct pci_function *f, unsigned vector);
bool pci_msix_enabled(const struct pci_function *f);
/* Gives F interrupt pin A, for its interrupts without MSI-X. */
void pci_use_intx(struct pci_function *f);
/* Drives INTx pin A; the line is the OR of its functions.  With the device's lock held. */
void pci_set_intx(struct pci_function *f, bool level);

/* True when the guest lets F master the bus (DMA, MSI). */
bool pci_bus_master(const struct pci_function *f);

/* Config space accesses of the guest, SIZE 1, 2 or 4 (8 is split by the callers), with the device's
 * lock held. */
uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *f, unsigned offset, uint32_t value, unsigned size);

/* What a class's reset and loaded do for the common part: power-on values with the BARs where the
 * host put them; BAR mappings and interrupt levels after loading. */
void pci_function_reset(struct pci_function *f);
void pci_function_loaded(struct pci_function *f);

/* ---- between the files of the PCI host ---- */

/* The host's part of plugging in: a slot number, or -1; and room for a BAR, or 0. */
int pci_host_plug(struct pci_host *h, struct pci_function *f, int slot);
void pci_host_unplug(struct pci_host *h, struct pci_function *f);
uint64_t pci_host_assign(struct pci_host *h, uint64_t size, bool wide);
/* F's contribution to its interrupt line. */
void pci_host_set_line(struct pci_host *h, unsigned slot, bool level);
/* Acts on a change of the MSI-X message control word or of bus mastering: sends what is no longer
 * masked. */
void pci_msix_control_changed(struct pci_function *f);

#endif
