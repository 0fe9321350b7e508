/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of irqchip/ share: struct irqchip and the chips' entry points for each other. */
#ifndef TRAPEZE_IRQCHIP_INTERNAL_H
#define TRAPEZE_IRQCHIP_INTERNAL_H

#include "irqchip.h"
#include "timer.h"

#include "common/base/list.h"

#include <pthread.h>
#include <stdatomic.h>

#define LAPICS_MAX    1024u
#define LAPIC_IDS_MAX 4096u
#define PIC_PINS      16u /* of both chips */
#define IOAPIC_PINS   KVM_IOAPIC_NUM_PINS
#define SPLIT_PINS    480u /* the most that user space may keep for its own IOAPIC */

/* ---- interrupt messages ---- */

enum delivery_mode {
    DELIVERY_FIXED,
    DELIVERY_LOWEST_PRIORITY,
    DELIVERY_SMI,
    DELIVERY_RESERVED,
    DELIVERY_NMI,
    DELIVERY_INIT,
    DELIVERY_SIPI,
    DELIVERY_EXTINT,
};
enum shorthand { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

/* What travels between IOAPIC, MSIs and LAPICs (SDM volume 3, 11.6.1 and 11.11). */
struct apic_message {
    struct lapic *source; /* of an interprocessor interrupt, else NULL */
    uint32_t destination;
    enum shorthand shorthand;
    enum delivery_mode mode;
    uint8_t vector;
    bool logical;
    bool lowest; /* one of the destinations only: lowest priority mode, or MSI's redirection hint */
    bool level;  /* level-triggered */
};

/* Delivers M.  Returns the number of CPUs that took it (those disabled by software do not).  Takes
 * no lock. */
int apic_deliver(struct irqchip *chip, const struct apic_message *m);

/* Redoes what the delivery tables know of L, after its id or mode changed. */
void apic_map_update(struct irqchip *chip, struct lapic *l);
/* Connects L, whose vcpu_id must be free (-EEXIST), and disconnects it. */
int apic_map_add(struct irqchip *chip, struct lapic *l);
void apic_map_remove(struct irqchip *chip, struct lapic *l);

/* ---- LAPICs, as the other chips see them ---- */

/* True when L, whose APIC is enabled, is among the destinations. */
bool lapic_matches(struct lapic *l, const struct apic_message *m);
/* Takes M; false if the LAPIC is disabled by software and M is an interrupt. */
bool lapic_receive(struct lapic *l, const struct apic_message *m);
/* The id by which messages find L in its current mode; false when the APIC is disabled. */
bool lapic_effective_id(struct lapic *l, uint32_t *id);
/* For lowest-priority arbitration: the processor priority, or -1 when disabled by software. */
int lapic_arbitration_priority(struct lapic *l);
/* The PIC's output rose, or the PIT ticked: kicks or interrupts L if its LINT0 says so. */
void lapic_pic_output(struct lapic *l);
void lapic_pit_tick(struct lapic *l);

/* ---- 8259 ---- */

struct pic {
    struct kvm_pic_state chip[2]; /* master, slave */
    uint8_t lines[PIC_PINS];      /* sources that drive each pin, a bit each */
    uint16_t notify;              /* pins whose EOI someone waits for */
    _Atomic bool output;          /* INTR of the master */
};

void pic_init(struct irqchip *chip);
/* All of these with the irqchip lock held. */
int pic_set_pin(struct irqchip *chip, unsigned pin, enum irq_source source, bool level);
/* Follows the cascade and the output after any change of state. */
void pic_update(struct irqchip *chip);
/* The INTA cycle: the vector. */
uint8_t pic_acknowledge(struct irqchip *chip);
bool pic_port(struct irqchip *chip, uint16_t port, bool write, unsigned size, uint8_t *data);
void pic_get(struct irqchip *chip, unsigned id, struct kvm_pic_state *state);
void pic_set(struct irqchip *chip, unsigned id, const struct kvm_pic_state *state);

/* ---- IOAPIC ---- */

struct ioapic {
    struct kvm_ioapic_state state;
    uint32_t delivered; /* edges of state.irr that have been sent */
    uint32_t notify;    /* pins whose EOI someone waits for */
    uint8_t lines[IOAPIC_PINS];
    /* Vectors whose EOI concerns the IOAPIC; read by LAPICs without the lock. */
    _Atomic uint64_t handled[4];
};

void ioapic_init(struct irqchip *chip);
/* All of these with the irqchip lock held. */
int ioapic_set_pin(struct irqchip *chip, unsigned pin, enum irq_source source, bool level);
void ioapic_update_handled(struct irqchip *chip);
bool ioapic_access(struct irqchip *chip, uint64_t gpa, bool write, unsigned size, uint8_t *data);
void ioapic_get(struct irqchip *chip, struct kvm_ioapic_state *state);
void ioapic_set(struct irqchip *chip, const struct kvm_ioapic_state *state);
/* An EOI of VECTOR was broadcast.  Takes the lock, if the vector concerns the IOAPIC. */
void ioapic_eoi(struct irqchip *chip, uint8_t vector, bool level);

/* ---- 8254 ---- */

struct pit;
/* With the irqchip lock held. */
bool pit_port(struct irqchip *chip, uint16_t port, bool write, unsigned size, uint8_t *data);
void pit_acknowledged(struct irqchip *chip); /* the guest has handled a tick */
void pit_unmasked(struct irqchip *chip);     /* a pin of its GSI was unmasked */
void pit_free(struct irqchip *chip);

/* ---- routing ---- */

struct route_table;
struct route_table *routes_new_default(void);
struct route_table *routes_new_empty(void);
void routes_free(struct route_table *t);
#define PIT_GSI  0
#define GSI_NONE UINT32_MAX

/* With the irqchip lock held. */
int route_set_line(struct irqchip *chip, enum irq_source source, uint32_t gsi, bool level);
/* The GSI routed to PIN of IRQCHIP (KVM_IRQCHIP_IOAPIC, or PIC_MASTER with pins 0 to 15). */
uint32_t route_gsi_of(const struct irqchip *chip, unsigned irqchip, unsigned pin);
/* PIN was EOIed or unmasked: tells those who wait for it. */
void route_acknowledged(struct irqchip *chip, unsigned irqchip, unsigned pin);
void route_unmasked(struct irqchip *chip, unsigned irqchip, unsigned pin);
/* Recomputes pic.notify, ioapic.notify after routes or waiters changed. */
void route_update_notify(struct irqchip *chip);
/* True when a PIT or a resampling irqfd waits for EOIs of GSI. */
bool irqfd_resamples(const struct irqchip *chip, uint32_t gsi);
/* After helper_free. */
void irqfd_free_all(struct irqchip *chip);
/* GSI was EOIed: lowers it and signals the resample eventfds. */
void irqfd_acknowledged(struct irqchip *chip, uint32_t gsi);

/* ---- the whole ---- */

struct irqchip {
    const struct irqchip_services *services;
    bool split;
    unsigned split_pins;
    _Atomic uint64_t x2apic_api, disabled_quirks, bus_cycle_ns;
    struct helper *helper;
    struct timers *timers;

    pthread_mutex_t lock;
    struct pic pic;
    struct ioapic ioapic;
    struct pit *pit;
    struct route_table *routes;
    struct list resamplers; /* irqfds with a resample eventfd */

    pthread_mutex_t irqfd_lock;
    struct list irqfds;

    /* LAPICs: written under lapic_lock, read without a lock.  LAPICs live until the chip is freed
     * (those that lapic_free took away are kept in freed). */
    pthread_mutex_t lapic_lock;
    _Atomic unsigned lapic_count;
    struct lapic *_Atomic lapic[LAPICS_MAX];
    struct lapic *_Atomic by_id[LAPIC_IDS_MAX]; /* by effective id */
    _Atomic bool aliased;                       /* two have the same effective id: look at all */
    _Atomic unsigned rotation;                  /* breaks ties in lowest-priority arbitration */
    struct lapic *freed;
};

static inline void irqchip_lock(struct irqchip *chip)
{
    pthread_mutex_lock(&chip->lock);
}
static inline void irqchip_unlock(struct irqchip *chip)
{
    pthread_mutex_unlock(&chip->lock);
}

#endif
