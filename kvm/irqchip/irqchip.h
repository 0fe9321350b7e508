/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The in-kernel interrupt controllers of our KVM: two 8259s, an IOAPIC, an 8254, GSI routing, MSIs
 * and irqfds of one VM (this header), a local APIC a vCPU (lapic.h), and ioeventfds (ioeventfd.h).
 * KVM's structures are used as its api.rst defines them; requests' argument copying is the
 * caller's.
 *
 * struct irqchip knows nothing of struct vm: what it asks of vCPUs goes through struct
 * irqchip_services, with the opaque vCPU pointer that lapic_new was given.
 *
 * Threads and locks.  Everything may be called from any thread unless said otherwise.  The order is
 *     irqfd lock -> helper thread -> irqchip lock (PIC, IOAPIC, PIT, routes) -> timer lock.
 * LAPICs have no lock: IRR is set atomically from any thread, the rest belongs to the thread that
 * owns the vCPU.  Services may be called with the irqchip lock held, so they must not wait for a
 * thread that calls in here; a vCPU's own lock may be taken in them, if lapic_pending is the only
 * thing called here with that lock held.  No function here is called by the processor.
 */
#ifndef TRAPEZE_IRQCHIP_H
#define TRAPEZE_IRQCHIP_H

#include "common/base/base.h"

#include <linux/kvm.h>

struct irqchip;
struct lapic;

/* What the chips ask of a vCPU; from any thread, with locks held: see above. */
struct irqchip_services {
    /* Something may have become deliverable: leave vmx_enter or the wait in HLT and look at
     * lapic_pending again. */
    void (*kick)(void *vcpu);
    /* Make the event pending and kick. */
    void (*nmi)(void *vcpu);
    void (*smi)(void *vcpu);
    void (*init)(void *vcpu);
    void (*sipi)(void *vcpu, uint8_t vector);
    /* The guest's TSC now, and its frequency (not 0).  On the vCPU's own thread only. */
    uint64_t (*tsc)(void *vcpu);
    uint32_t (*tsc_khz)(void *vcpu);
    /* Split irqchip: user space's IOAPIC must hear of the EOI of VECTOR (level-triggered, routed
     * from one of its pins): KVM_EXIT_IOAPIC_EOI.  On the vCPU's own thread, during its EOI write.
     */
    void (*report_eoi)(void *vcpu, uint8_t vector);
};

/* Creates the chips of one VM.  SPLIT (KVM_CAP_SPLIT_IRQCHIP) leaves out PIC, IOAPIC and default
 * routes; PINS is then the number of IOAPIC pins user space keeps GSIs 0.. for (at most 480, else
 * NULL with errno EINVAL).  SERVICES must outlive the chip.  Starts one thread, for timers and
 * irqfds, with all signals blocked.  NULL: errno says why (memory, descriptors, threads). */
struct irqchip *irqchip_create(const struct irqchip_services *services, bool split, unsigned pins);
/* All vCPUs have stopped for good, and lapic_free was called for each LAPIC. */
void irqchip_free(struct irqchip *chip);
bool irqchip_is_split(const struct irqchip *chip);

/* KVM_CAP_X2APIC_API's flags, KVM_CAP_DISABLE_QUIRKS's mask, and the APIC timer's tick in ns
 * (KVM_CAP_X86_APIC_BUS_CYCLES_NS; 1 at first).  -EINVAL for an unknown flag or 0 ns. */
int irqchip_set_x2apic_api(struct irqchip *chip, uint64_t flags);
void irqchip_set_disabled_quirks(struct irqchip *chip, uint64_t quirks);
int irqchip_set_bus_cycle_ns(struct irqchip *chip, uint64_t ns);

/* ---- lines, messages, routes ---- */

/* Who drives a line; a pin is high while any of them drives it. */
enum irq_source { IRQ_SOURCE_USER, IRQ_SOURCE_RESAMPLE, IRQ_SOURCE_PIT };

/* Drives GSI to LEVEL: KVM_IRQ_LINE and KVM_IRQ_LINE_STATUS.  Returns the status: -1 nothing is
 * routed there or all of it is masked, 0 coalesced or nobody took it, else the number of CPUs
 * reached. */
int irqchip_set_line(struct irqchip *chip, enum irq_source source, uint32_t gsi, bool level);

/* KVM_SIGNAL_MSI.  Returns the number of CPUs reached (0: none is there or it is disabled), or
 * -EINVAL for unknown flags or a wrong address. */
int irqchip_signal_msi(struct irqchip *chip, const struct kvm_msi *msi);

/* KVM_HC_SEND_IPI: the interrupt that ICR's low half describes, to every LAPIC whose id is FIRST + n
 * where bit n of BITS (two words of WIDTH bits) is set.  Returns how many took it, or -EINVAL for a
 * destination or shorthand in ICR. */
int irqchip_send_ipis(struct irqchip *chip, const uint64_t bits[2], unsigned width, uint64_t first,
                      uint64_t icr);

/* KVM_SET_GSI_ROUTING: replaces all routes, or none if an entry is wrong.  -EINVAL: more
 * than IRQCHIP_MAX_ROUTES entries, a GSI not below that, unknown chip, pin, type or flag, a second
 * entry that may not share its GSI; -ENOMEM. */
#define IRQCHIP_MAX_ROUTES 4096 /* also KVM_CAP_IRQ_ROUTING's answer */
int irqchip_set_routing(struct irqchip *chip, const struct kvm_irq_routing_entry *entries,
                        uint32_t count, uint32_t flags);

/* ---- state ---- */

/* KVM_GET_IRQCHIP and KVM_SET_IRQCHIP by chip_id.  -EINVAL for an unknown id or a bad state; -ENXIO
 * when split. */
int irqchip_get_chip(struct irqchip *chip, struct kvm_irqchip *state);
int irqchip_set_chip(struct irqchip *chip, const struct kvm_irqchip *state);

/* KVM_CREATE_PIT2: -EEXIST, -ENOENT (split), -EINVAL (flags), -ENOMEM.  The others: -ENXIO without
 * a PIT, -EINVAL. */
int pit_create(struct irqchip *chip, const struct kvm_pit_config *config);
int pit_get(struct irqchip *chip, struct kvm_pit_state2 *state);
int pit_set(struct irqchip *chip, const struct kvm_pit_state2 *state);
int pit_get_legacy(struct irqchip *chip,
                   struct kvm_pit_state *state); /* KVM_GET_PIT, KVM_SET_PIT */
int pit_set_legacy(struct irqchip *chip, const struct kvm_pit_state *state);
int pit_reinject_control(struct irqchip *chip, const struct kvm_reinject_control *control);

/* ---- guest accesses ---- */

/* A port access of SIZE (1, 2, 4) bytes; DATA is little-endian and filled for reads.  Returns false
 * when the port is nobody's here. */
bool irqchip_pio(struct irqchip *chip, uint16_t port, bool write, unsigned size, uint8_t *data);
/* A memory access of SIZE (1 to 8) bytes: the LAPIC page of L (may be NULL) if its APIC_BASE says
 * so, then the IOAPIC.  On L's vCPU thread.  Returns false when nobody answers. */
bool irqchip_mmio(struct irqchip *chip, struct lapic *l, uint64_t gpa, bool write, unsigned size,
                  uint8_t *data);

/* ---- irqfd ---- */

/* KVM_IRQFD, with KVM_IRQFD_FLAG_DEASSIGN and KVM_IRQFD_FLAG_RESAMPLE.  The descriptor is
 * duplicated, so that closing the caller's does no harm.  -EINVAL: flags, not an eventfd, resample
 * when split; -EBADF; -EBUSY: the eventfd is assigned already; -ENOMEM.  After a deassign returns
 * the eventfd causes no more interrupts. */
int irqfd_assign(struct irqchip *chip, const struct kvm_irqfd *irqfd);

#include "ioeventfd.h"
#include "lapic.h"

#endif
