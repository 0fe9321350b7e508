/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A local APIC (SDM volume 3, chapter 11): registers, timer, interprocessor interrupts, priorities.
 *
 * Included through irqchip.h.  A vCPU has one only when its VM has an irqchip.  All functions are
 * for the thread that owns the vCPU, but lapic_new, lapic_free and lapic_accepts_extint.
 */
#ifndef TRAPEZE_LAPIC_H
#define TRAPEZE_LAPIC_H

#include "common/base/base.h"

#include <linux/kvm.h>

struct irqchip;
struct lapic;

/* Makes the LAPIC of VCPU, in its reset state, and connects it.  ID is KVM's vCPU id, the x2APIC
 * id; BSP says whether APIC_BASE shows the bootstrap processor (and LINT0 takes the PIC at reset).
 * Returns NULL with errno EEXIST (the id is taken), EINVAL (id above 4095), ENOMEM. */
struct lapic *lapic_new(struct irqchip *chip, void *vcpu, uint32_t id, bool bsp);
/* Disconnects and frees it; on return no helper thread calls services for its vCPU any more.  Other
 * vCPUs must not run, or not have been able to know of it. */
void lapic_free(struct lapic *l);
/* RESET, or INIT (which keeps APIC_BASE and, in x2APIC mode, the id). */
void lapic_reset(struct lapic *l, bool init);
void lapic_set_bsp(struct lapic *l, bool bsp); /* KVM_SET_BOOT_CPU_ID; before the vCPU first runs */

/* What the guest's CPUID offers; call after KVM_SET_CPUID2.  At first: x2APIC, TSC deadline, 46
 * bits. */
struct lapic_features {
    bool x2apic;
    bool tsc_deadline;
    unsigned phys_bits;
    bool cmci; /* MCG_CAP says that there are corrected-error interrupts: an LVT entry more */
};
void lapic_set_features(struct lapic *l, const struct lapic_features *features);

/* IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0), x2APIC registers (0x800 to 0x8ff).  HOST is
 * true for KVM_SET_MSRS and KVM_SET_SREGS, which may make any mode transition.  Return 0; -ENOENT:
 * not a LAPIC's MSR; -EINVAL: #GP. */
int lapic_get_msr(struct lapic *l, uint32_t index, uint64_t *value, bool host);
int lapic_set_msr(struct lapic *l, uint32_t index, uint64_t value, bool host);
uint64_t lapic_get_base(const struct lapic *l);
bool lapic_in_x2apic_mode(const struct lapic *l);

/* TPR as CR8 sees it (bits 3:0).  The caller keeps the processor's cr8 equal to it: sets it here
 * before lapic_pending if the guest may have changed it, and copies it back after a LAPIC access.
 */
unsigned lapic_get_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, unsigned cr8);

/* KVM_GET_LAPIC and KVM_SET_LAPIC, with the id in the format KVM_CAP_X2APIC_API chose.  The mode is
 * APIC_BASE's: set that first.  -EINVAL: an id that is not the vCPU's, in x2APIC mode. */
int lapic_get_state(struct lapic *l, struct kvm_lapic_state *state);
int lapic_set_state(struct lapic *l, const struct kvm_lapic_state *state);

/* What could be injected now if RFLAGS.IF allows: a vector (16 to 255) above PPR; LAPIC_EXTINT for
 * the PIC's interrupt by virtual wire; or -1.  Takes no lock.  This is also what wakes a halted
 * vCPU (with IF set). */
#define LAPIC_EXTINT 256
int lapic_pending(struct lapic *l);
/* Accepts it (INTA cycle: IRR to ISR, or the PIC's acknowledge) and returns the vector, 0 to 255,
 * or -1 when nothing is pending any more. */
int lapic_accept(struct lapic *l);
/* The highest vector in IRR whatever the priorities, or -1: when it is there and lapic_pending is
 * -1, a lower TPR could let it in, so CR8 loads must exit. */
int lapic_highest_irr(struct lapic *l);
/* Whether an external interrupt (from the PIC, or from user space by KVM_INTERRUPT when split)
 * would be taken by this vCPU. */
bool lapic_accepts_extint(const struct lapic *l);

/* The end of the interrupt in service, as the guest says by the EOI register. */
void lapic_eoi(struct lapic *l);
/* True when that concerns nobody else: an interrupt is in service that no IOAPIC must hear the end
 * of, and none waits behind it. */
bool lapic_eoi_is_private(struct lapic *l);

/* The guest's TSC (its offset, scaling or frequency) was changed: recomputes the deadline's time.
 */
void lapic_tsc_changed(struct lapic *l);

/* A corrected machine check was logged: delivers the LVT entry for it.  From any thread. */
void lapic_signal_cmci(struct lapic *l);

#endif
