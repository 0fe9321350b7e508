/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct vcpu: one virtual processor of a VM, and what other parts of kvm/ may ask of it.
 *
 * The thread in KVM_RUN owns everything but the atomics.  Other threads ask by vcpu_request: the
 * vCPU leaves the guest or its HLT, and acts on the request before it enters again.
 */
#ifndef TRAPEZE_VCPU_H
#define TRAPEZE_VCPU_H

#include "processor/processor.h"
#include "vm.h"

struct lapic;
struct cpuid_table;

/* Requests. */
#define VCPU_REQUEST_EVENT 0x01u /* an interrupt may have become deliverable: ask irqchip/ again */
#define VCPU_REQUEST_NMI   0x02u
#define VCPU_REQUEST_INIT  0x04u
#define VCPU_REQUEST_SIPI  0x08u /* vector in sipi_vector */
#define VCPU_REQUEST_CLOCK 0x10u /* write the kvmclock page anew */
#define VCPU_REQUEST_EXIT  0x20u /* KVM_RUN returns -EINTR */
#define VCPU_REQUEST_UNHALT 0x40u /* KVM_HC_KICK_CPU: leave HLT without an interrupt */
#define VCPU_REQUEST_EOI   0x80u /* split irqchip: KVM_EXIT_IOAPIC_EOI, vector in eoi_vector */
#define VCPU_REQUEST_TIMER 0x100u /* irqchip/'s own: a timer of this vCPU's LAPIC fired */

/* An exception that waits for entry. */
struct vcpu_exception {
    bool pending;   /* not yet delivered, its side effects (payload) not yet applied */
    bool injected;  /* being delivered: interrupted during delivery, or by KVM_SET_VCPU_EVENTS */
    bool has_error_code;
    bool has_payload;
    uint8_t vector;
    uint32_t error_code;
    uint64_t payload; /* CR2 of #PF, DR6 bits of #DB */
};

/* The kvmclock registration of a vCPU. */
struct vcpu_clock {
    uint64_t msr;   /* MSR_KVM_SYSTEM_TIME as written */
    uint32_t version;
    bool paused;    /* KVM_KVMCLOCK_CTRL: set PVCLOCK_GUEST_STOPPED at the next update */
};

#define MCE_BANKS 32u

struct vcpu {
    struct vm *vm;
    unsigned id;    /* KVM_CREATE_VCPU's argument: the initial APIC id */
    unsigned index; /* place in vm->vcpu[] */
    pthread_mutex_t mutex; /* held during each ioctl of the vCPU, KVM_RUN included */
    struct processor *processor; /* made at KVM_CREATE_VCPU */
    struct lapic *lapic; /* irqchip/'s; NULL without an in-kernel LAPIC */

    /* From any thread. */
    _Atomic uint32_t requests; /* VCPU_REQUEST_*; also the futex that HLT waits on */
    _Atomic uint32_t blocked;  /* 1: waiting on that futex */
    _Atomic uint32_t sipi_vector, eoi_vector;
    _Atomic uint32_t mp_state; /* KVM_MP_STATE_*; written by the owner only */

    /* Shared with user space: struct kvm_run, PIO page, coalesced ring.  Made at first use. */
    int run_fd;
    struct kvm_run *run;

    /* Events to deliver. */
    struct vcpu_exception exception;
    unsigned nmi_pending;
    bool nmi_injected;
    bool interrupt_injected, interrupt_soft;
    uint8_t interrupt_vector;
    bool triple_fault_pending;
    bool unhalted;

    /* What user space must complete before the guest goes on. */
    int (*complete)(struct vcpu *v); /* NULL: nothing; returns 1 to go on, 0 or -errno to return */
    bool skip_on_entry;

    /* Time stamp counter: guest TSC = host TSC * multiplier + processor->vmcs.tsc_offset. */
    uint32_t tsc_khz;
    uint64_t tsc_adjust;
    struct vcpu_clock clock;

    struct cpuid_table *cpuid;
    uint64_t apic_base_without_lapic;
    uint64_t wall_clock_msr;
    uint64_t misc_enable, misc_features_enables, platform_info, arch_capabilities, spec_ctrl;
    uint64_t microcode_version, power_ctl, hwcr, syscfg;
    uint64_t mtrr[32], mtrr_def_type; /* fixed and variable ranges, stored */
    uint64_t mcg_cap, mcg_status, mcg_ctl, mcg_ext_ctl;
    uint64_t *mce_banks; /* CTL, STATUS, ADDR, MISC of each bank; made when first set up */
    uint64_t poll_control, steal_time;

    uint32_t guest_debug; /* KVM_SET_GUEST_DEBUG's control */
    uint64_t debug_dr[8]; /* its debug registers */
    uint64_t guest_dr[4], guest_dr7; /* the guest's own while hardware breakpoints are in use */

    uint64_t sigmask; /* KVM_SET_SIGNAL_MASK; kept for the preload library */
    bool sigmask_set;
};

/* ---- for any thread ---- */

/* Sets REQUESTS and makes the vCPU see them: it leaves vmx_enter or wakes from HLT.  Async-signal-
 * safe. */
void vcpu_request(struct vcpu *v, uint32_t requests);

/* Signals from the interrupt controllers.  INIT puts the vCPU into wait-for-SIPI (the bootstrap
 * processor restarts at the reset vector); SIPI starts one that waits, at VECTOR << 12. */
void vcpu_signal_nmi(struct vcpu *v);
void vcpu_signal_init(struct vcpu *v);
void vcpu_signal_sipi(struct vcpu *v, uint8_t vector);
/* Split irqchip: user space's IOAPIC must hear of the EOI of VECTOR.  Called by the vCPU's own
 * thread (the guest wrote EOI): KVM_RUN returns KVM_EXIT_IOAPIC_EOI. */
void vcpu_report_eoi(struct vcpu *v, uint8_t vector);

/* True for the bootstrap processor. */
bool vcpu_is_bsp(const struct vcpu *v);

/* The guest's TSC, and its frequency in kHz, for the LAPIC's TSC-deadline mode. */
uint64_t vcpu_tsc(const struct vcpu *v);
static inline uint32_t vcpu_tsc_khz(const struct vcpu *v)
{
    return v->tsc_khz;
}

/* Bits of CPUID that the LAPIC depends on, from KVM_SET_CPUID2. */
bool vcpu_has_x2apic(const struct vcpu *v);
bool vcpu_has_tsc_deadline(const struct vcpu *v);

#endif
