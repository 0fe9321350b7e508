/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct vcpu: one virtual processor of a VM, and what the files of kvm/ do to it.
 *
 * The thread that holds v->mutex (KVM_RUN's, or another ioctl's while it does not run) owns
 * everything but the atomics.  Other threads ask by vcpu_request: the vCPU leaves the guest or its
 * HLT, and acts on the request before it enters again.
 */
#ifndef TRAPEZE_VCPU_H
#define TRAPEZE_VCPU_H

#include "processor/processor.h"
#include "vm.h"

/* Requests. */
#define VCPU_REQUEST_EVENT  0x01u /* an interrupt may have become deliverable: look again */
#define VCPU_REQUEST_NMI    0x02u /* how many: nmis_sent */
#define VCPU_REQUEST_INIT   0x04u
#define VCPU_REQUEST_SIPI   0x08u /* vector in sipi_vector */
#define VCPU_REQUEST_CLOCK  0x10u /* write the kvmclock page anew */
#define VCPU_REQUEST_EXIT   0x20u /* KVM_RUN returns -EINTR */
#define VCPU_REQUEST_UNHALT 0x40u /* KVM_HC_KICK_CPU: leave HLT without an interrupt */

/* An exception that waits for entry. */
struct vcpu_exception {
    bool pending;  /* to be raised: its side effects (payload) are not applied yet */
    bool injected; /* its delivery began before, and was interrupted by an exit */
    bool has_error_code;
    bool has_payload;
    uint8_t vector;
    uint32_t error_code;
    uint64_t payload; /* CR2 of #PF, DR6 bits of #DB */
};

enum vcpu_delivery { DELIVER_NOTHING, DELIVER_EXCEPTION, DELIVER_NMI, DELIVER_INTERRUPT };

#define MCE_BANKS     32u
#define MTRR_FIXED    11u
#define MTRR_VARIABLE 8u

/* MSRs that are only kept, for guest and user space to read back. */
struct vcpu_msrs {
    uint64_t misc_enable, misc_features, platform_info, arch_capabilities, microcode;
    uint64_t power_ctl, hwcr, de_cfg, poll_control, smi_count, tsc_deadline, apic_base;
    uint64_t mtrr_def_type, mtrr_fixed[MTRR_FIXED], mtrr_variable[2 * MTRR_VARIABLE];
    uint64_t mcg_cap, mcg_status, mcg_ctl;
    uint64_t wall_clock, system_time; /* kvmclock */
    uint64_t steal_time, async_pf, async_pf_int, pv_eoi;
};

/* A dirty ring: entries from reset up to dirty, which count on and on, are in use. */
struct dirty_ring {
    struct kvm_dirty_gfn *entry; /* NULL: there is none; shared with user space */
    pthread_mutex_t lock;        /* a leaf but for memory's */
    _Atomic uint32_t dirty, reset;
};

/* The accounting behind MSR_KVM_STEAL_TIME. */
struct vcpu_steal {
    bool known;       /* the next two are right: */
    int thread;       /* whose wait */
    uint64_t waited;  /* was so many ns ... */
    uint64_t read_at; /* ... when the host's TSC was this */
    uint64_t pending; /* ns that the guest has not been told of */
};

/* Counted here; exits by reason are counted by the processor. */
struct vcpu_stats {
    uint64_t signal_exits, irq_injections, nmi_injections, directed_yields;
};

struct vcpu {
    struct vm *vm;
    unsigned id;    /* KVM_CREATE_VCPU's argument: the initial APIC id */
    unsigned index; /* place in vm->vcpu[] */
    pthread_mutex_t mutex;
    struct processor *processor;
    struct lapic *lapic; /* NULL without an in-kernel LAPIC */

    /* From any thread. */
    _Atomic uint32_t requests; /* VCPU_REQUEST_*; also the futex that a halted vCPU waits on */
    _Atomic uint32_t blocked;  /* 1: waiting on it */
    _Atomic uint32_t sipi_vector;
    _Atomic unsigned nmis_sent; /* and not yet taken over into nmi_pending */

    struct kvm_run *run; /* mapped at first use; see vm->run_fd */
    uint8_t *pio_data;   /* the page after it */
    struct dirty_ring dirty_ring;
    uint32_t mp_state; /* KVM_MP_STATE_* */
    bool has_run;

    /* Events to deliver. */
    enum vcpu_delivery delivering; /* what the coming entry injects */
    uint32_t event_length;         /* of the instruction behind a software event */
    struct vcpu_exception exception;
    unsigned nmi_pending; /* at most 2 */
    bool nmi_injected;
    bool interrupt_injected, interrupt_soft;
    bool triple_fault;
    bool unhalted;
    uint8_t interrupt_vector;
    int16_t external_vector; /* split irqchip: KVM_INTERRUPT's, or -1 */
    int16_t eoi_vector;      /* split irqchip: to be reported, or -1 */

    /* What to do with user space's answer at the next KVM_RUN; NULL: nothing. */
    void (*complete)(struct vcpu *v);

    /* Guest TSC = host TSC * processor->vmcs.tsc_multiplier + processor->vmcs.tsc_offset. */
    uint32_t tsc_khz;
    uint64_t tsc_adjust;
    uint32_t clock_version;
    bool clock_stopped; /* KVM_KVMCLOCK_CTRL: tell the guest once */
    struct vcpu_steal steal;
    bool eoi_offered; /* the guest may end its interrupt by memory: MSR_KVM_PV_EOI_EN */
    bool pv_enforced; /* KVM_CAP_ENFORCE_PV_FEATURE_CPUID */
    struct vcpu_stats stats;

    unsigned cpuid_count;
    struct kvm_cpuid_entry2 *cpuid; /* sorted by function and index */
    struct vcpu_msrs msr;
    uint64_t *mce_banks; /* CTL, STATUS, ADDR, MISC of each; NULL until KVM_X86_SETUP_MCE */

    uint32_t guest_debug; /* KVM_SET_GUEST_DEBUG's control */
    uint64_t guest_dr[4],
        guest_dr7; /* the guest's while KVM_GUESTDBG_USE_HW_BP has the real ones */

    uint64_t signal_mask; /* KVM_SET_SIGNAL_MASK: kept for the preload library */
    bool signal_mask_set;
};

/* ---- vcpu.c ---- */

/* Makes vCPU ID of VM (whose lock is held); NULL and errno on failure. */
struct vcpu *vcpu_new(struct vm *vm, unsigned id);
void vcpu_free(struct vcpu *v);
/* Maps v->run if it is not yet.  0 or -errno. */
int vcpu_map_run(struct vcpu *v);

/* Sets REQUESTS and makes the vCPU see them.  Any thread; async-signal-safe. */
void vcpu_request(struct vcpu *v, uint32_t requests);
/* Sends one NMI, likewise. */
void vcpu_send_nmi(struct vcpu *v);
/* What irqchip/ asks of vCPUs. */
extern const struct irqchip_services vcpu_services;
bool vcpu_is_bsp(const struct vcpu *v);
/* Acts on pending INIT and SIPI. */
void vcpu_accept_signals(struct vcpu *v);
/* Guest CPUID changed: tells the processor and the LAPIC. */
void vcpu_cpuid_changed(struct vcpu *v);

/* ---- run.c ---- */

long vcpu_run(struct vcpu *v);

/* ---- exits.c ---- */

/* Handles one exit: 1 to enter the guest again, 0 to return to user space with v->run filled, or
 * -errno. */
int vcpu_handle_exit(struct vcpu *v, unsigned reason);
int exit_internal_error(struct vcpu *v, uint32_t suberror);
/* Skips the instruction that exited; as vcpu_handle_exit. */
int exit_skip(struct vcpu *v);

/* ---- access.c: PIO and MMIO ---- */

int access_exit(struct vcpu *v, bool pio);

/* ---- inject.c: events into the guest ---- */

void queue_exception(struct vcpu *v, unsigned vector);
void queue_exception_code(struct vcpu *v, unsigned vector, uint32_t error_code);
void queue_exception_payload(struct vcpu *v, unsigned vector, uint64_t payload);
static inline void queue_gp(struct vcpu *v)
{
    queue_exception_code(v, VECTOR_GP, 0);
}
/* True when RFLAGS.IF and the interruptibility state let an interrupt in. */
bool interrupt_allowed(const struct vcpu *v);
/* Makes the NMIs that other threads sent pending: one is kept besides the one being handled. */
void events_take_nmis(struct vcpu *v);
/* True when something would wake the vCPU from HLT. */
bool vcpu_has_event(struct vcpu *v);
/* Chooses the event of the next entry and the window exits that others wait for. */
void events_prepare(struct vcpu *v);
/* Whether user space without our PIC may inject now (kvm_run's ready_for_interrupt_injection). */
bool events_ready_for_user(struct vcpu *v);
/* After an exit: forgets the event that was delivered, or keeps the one that was not. */
void events_finish(struct vcpu *v);
void events_get(struct vcpu *v, struct kvm_vcpu_events *e);
long events_set(struct vcpu *v, const struct kvm_vcpu_events *e);

/* ---- state.c ---- */

void state_get_regs(struct vcpu *v, struct kvm_regs *r);
void state_set_regs(struct vcpu *v, const struct kvm_regs *r);
void state_get_sregs(struct vcpu *v, struct kvm_sregs *s);
long state_set_sregs(struct vcpu *v, const struct kvm_sregs *s);
void state_get_sregs2(struct vcpu *v, struct kvm_sregs2 *s);
long state_set_sregs2(struct vcpu *v, const struct kvm_sregs2 *s);
void state_get_fpu(struct vcpu *v, struct kvm_fpu *f);
long state_set_fpu(struct vcpu *v, const struct kvm_fpu *f);
void state_get_xcrs(struct vcpu *v, struct kvm_xcrs *x);
long state_set_xcrs(struct vcpu *v, const struct kvm_xcrs *x);
void state_get_debugregs(struct vcpu *v, struct kvm_debugregs *d);
long state_set_debugregs(struct vcpu *v, const struct kvm_debugregs *d);
long state_set_mp_state(struct vcpu *v, const struct kvm_mp_state *m);
uint64_t vcpu_apic_base(const struct vcpu *v);

/* ---- debug.c: KVM_SET_GUEST_DEBUG ---- */

long debug_set(struct vcpu *v, const struct kvm_guest_debug *d);
/* Exits by exception, by single step and by access to a debug register: as vcpu_handle_exit. */
int debug_exception_exit(struct vcpu *v);
int debug_step_exit(struct vcpu *v);
int debug_dr_exit(struct vcpu *v);
/* cpu_based_controls that debugging needs. */
uint32_t debug_controls(const struct vcpu *v);

/* ---- tsc.c ---- */

uint64_t vcpu_tsc(const struct vcpu *v);
/* Sets the TSC of a new vCPU to that of the others. */
void tsc_init(struct vcpu *v);
int tsc_set_khz(struct vcpu *v, uint32_t khz);
void tsc_write(struct vcpu *v, uint64_t value, bool host);
void tsc_write_adjust(struct vcpu *v, uint64_t value, bool host);
void tsc_set_offset(struct vcpu *v, uint64_t offset);
/* Writes the guest's kvmclock page, if it asked for one. */
void kvmclock_update(struct vcpu *v);
int kvmclock_write_msr(struct vcpu *v, uint32_t index, uint64_t value);

/* ---- dirty-ring.c ---- */

/* The vCPU's ring, if its VM has rings.  0 or -errno. */
int dirty_ring_new(struct vcpu *v);
void dirty_ring_free(struct vcpu *v);
/* True when KVM_RUN must return for user space to harvest it. */
bool dirty_ring_is_full(const struct vcpu *v);
/* Where it lies in vm->run_fd. */
uint64_t dirty_ring_position(const struct vcpu *v);

/* ---- paravirt.c ---- */

/* Whether V's guest may use KVM_FEATURE_* FEATURE, or MSR INDEX for all that concerns such
 * features: always, unless user space asked for CPUID to be obeyed. */
bool pv_allows(const struct vcpu *v, unsigned feature);
bool pv_allows_msr(const struct vcpu *v, uint32_t index);
/* Whether the host tells how long a thread waited. */
bool steal_time_supported(void);
/* Writes of the MSRs.  Results as msr_set. */
int steal_time_write_msr(struct vcpu *v, uint64_t value);
int async_pf_write_msr(struct vcpu *v, uint32_t index, uint64_t value);
int pv_eoi_write_msr(struct vcpu *v, uint64_t value);
/* Before an entry: tells a guest that asked for it that clearing a bit in its memory will do as EOI,
 * if it will.  After the exit: ends the interrupt if it did so. */
void pv_eoi_offer(struct vcpu *v);
void pv_eoi_take(struct vcpu *v);
/* For a guest that asked for it: at KVM_RUN's entry, now and then while it runs, and at KVM_RUN's
 * return, when it counts as preempted. */
void steal_time_enter(struct vcpu *v);
void steal_time_update(struct vcpu *v);
void steal_time_leave(struct vcpu *v);

/* ---- hypercall.c ---- */

/* An exit by VMCALL or VMMCALL: as vcpu_handle_exit. */
int hypercall_exit(struct vcpu *v);

/* ---- mce.c ---- */

#define MCG_CMCI_P        BIT(10)
#define MCE_CAP_SUPPORTED (0x1000100ull | MCG_CMCI_P) /* MCG_CTL_P, MCG_SER_P */
long mce_setup(struct vcpu *v, uint64_t mcg_cap);
long mce_inject(struct vcpu *v, const struct kvm_x86_mce *mce);
/* MSRs 0x179 to 0x17b, 0x280 up and 0x400 up; results as msr_get. */
int mce_get_msr(struct vcpu *v, uint32_t index, uint64_t *value, bool host);
int mce_set_msr(struct vcpu *v, uint32_t index, uint64_t value, bool host);

#endif
