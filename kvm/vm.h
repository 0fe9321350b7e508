/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct system: what /dev/kvm itself knows; struct vm: one virtual machine.
 *
 * Locks: vm->lock guards creation (vCPUs, irqchip), memory-slot changes and capabilities; it is the
 * outermost lock but a vCPU's own mutex, and a vCPU thread does not take it between KVM_RUN's entry
 * and return.  Order: vCPU mutex -> vm->lock -> irqchip/'s locks -> memory's.  Nothing but the
 * vCPU's own mutex (which makes its other ioctls wait for KVM_RUN, as on Linux) is held across
 * vmx_enter.
 */
#ifndef TRAPEZE_VM_H
#define TRAPEZE_VM_H

#include "common/base/log.h"
#include "compat.h"
#include "irqchip/irqchip.h"
#include "processor/memory.h"
#include "trapeze_kvm.h"

#include <pthread.h>
#include <stdatomic.h>

#define VM_VCPUS_MAX      1024u /* KVM_CAP_MAX_VCPUS */
#define VM_VCPU_IDS_MAX   4096u /* KVM_CAP_MAX_VCPU_ID: ids (initial APIC ids) are below */
#define VM_SLOTS_MAX      32764u
#define CPUID_ENTRIES_MAX 256u

struct vcpu;
struct msr_filter;

/* What the host offers: computed once in tkvm_open, constant afterwards. */
struct system {
    _Atomic unsigned references;
    const struct log_sink *log; /* may be NULL */
    uint32_t tsc_khz;           /* of the host */
    uint32_t phys_bits;
    bool amd; /* the host's vendor is AMD, or Hygon */
    unsigned cpuid_count; /* KVM_GET_SUPPORTED_CPUID's answer */
    struct kvm_cpuid_entry2 cpuid[CPUID_ENTRIES_MAX];
    uint8_t msr_bitmap[4096]; /* lets the processor's own MSRs through without an exit */
};

struct system *system_new(const struct log_sink *log);
void system_release(struct system *s);

/* kvmclock runs from the host's TSC, so that guests and KVM_GET_CLOCK agree to the nanosecond: it
 * showed base_ns when the host's TSC was base_tsc. */
struct vm_clock {
    pthread_mutex_t lock;
    uint64_t base_tsc, base_ns;
};

/* A zone of coalesced writes. */
struct coalesced_zone {
    struct coalesced_zone *next;
    uint64_t start, size;
    bool pio;
};

struct vm {
    _Atomic unsigned references; /* its file's, its vCPU files' and its statistics files' */
    pid_t creator;               /* the process that made it */
    struct system *system;
    struct memory *memory; /* guest-physical memory; memory_read, memory_write ... need no lock */
    pthread_mutex_t lock;

    /* vCPUs in order of creation.  Entries below vcpu_count never change until the VM is freed;
     * vcpu_count is read with acquire order, without a lock. */
    _Atomic unsigned vcpu_count;
    struct vcpu *vcpu[VM_VCPUS_MAX];

    _Atomic(struct irqchip *) irqchip; /* NULL until KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP */
    struct ioeventfd_set *ioeventfds;

    /* struct kvm_run and PIO page of vCPU i are pages 1 + 2i and 2 + 2i of this memfd; page 0 is
     * the ring of coalesced writes, which all vCPUs share; dirty rings come after them. */
    int run_fd;
    uint32_t dirty_ring_entries; /* of each vCPU's dirty ring; 0: there are none */
    struct kvm_coalesced_mmio_ring *ring; /* NULL until a vCPU is mapped */
    pthread_mutex_t coalesced_lock;       /* a leaf */
    struct coalesced_zone *zones;

    struct vm_clock clock;
    pthread_mutex_t tsc_lock; /* of tsc_origin, tsc_value; a leaf */
    uint64_t tsc_origin,
        tsc_value;        /* the TSC last set was tsc_value when the host's was tsc_origin */
    uint32_t tsc_khz;     /* of new vCPUs */
    uint32_t boot_cpu_id; /* the vCPU that starts at the reset vector */

    struct processor_translator translator; /* of new vCPUs */
    bool translator_required;               /* it was asked for: do not interpret instead */

    /* Capabilities that were enabled. */
    uint64_t x2apic_api;              /* KVM_X2APIC_API_* */
    uint64_t manual_dirty_log;        /* KVM_DIRTY_LOG_* */
    _Atomic uint64_t user_space_msr;  /* KVM_MSR_EXIT_REASON_* */
    _Atomic uint64_t disabled_quirks; /* KVM_X86_QUIRK_* */
    uint32_t max_vcpu_id;             /* ids are below */
    bool exception_payload;
    bool triple_fault_event;
    bool platform_info_hidden;
    bool exit_on_emulation_failure;
    uint32_t disabled_exits;  /* KVM_X86_DISABLE_EXITS_* */
    uint64_t exit_hypercalls; /* KVM_HC_* that are user space's, one bit each */

    _Atomic(struct msr_filter *) msr_filter; /* NULL: none; read under msr_filter_lock */
    pthread_rwlock_t msr_filter_lock;        /* a leaf */
};

/* Makes a VM and takes a reference to S; NULL and errno on failure. */
struct vm *vm_new(struct system *s);
void vm_release(struct vm *vm);

static inline unsigned vm_vcpu_count(struct vm *vm)
{
    return atomic_load_explicit(&vm->vcpu_count, memory_order_acquire);
}

/* The vCPU whose id is ID, or NULL. */
struct vcpu *vm_vcpu_by_id(struct vm *vm, uint32_t id);
/* vcpu_request for every vCPU. */
void vm_request_all(struct vm *vm, uint32_t requests);

/* Gives VM its interrupt controllers, for good.  vm->lock is held, no vCPU exists. */
void vm_set_irqchip(struct vm *vm, struct irqchip *chip);

/* True when PIC and IOAPIC are in here; when split, LAPICs alone are. */
static inline bool vm_has_pic(struct vm *vm)
{
    struct irqchip *chip = atomic_load_explicit(&vm->irqchip, memory_order_acquire);
    return chip && !irqchip_is_split(chip);
}

/* ---- slots.c: memory slots ---- */

long slots_set_region(struct vm *vm, const struct kvm_userspace_memory_region *r);
long slots_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log);
long slots_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log);

/* ---- dirty-ring.c ---- */

/* KVM_CAP_DIRTY_LOG_RING with rings of BYTES each, and KVM_RESET_DIRTY_RINGS; vm->lock is held. */
#define DIRTY_RING_BYTES_MAX (65536 * sizeof(struct kvm_dirty_gfn))
long dirty_rings_enable(struct vm *vm, uint64_t bytes);
long dirty_rings_reset(struct vm *vm);
size_t dirty_ring_bytes(const struct vm *vm);

/* ---- stats.c ---- */

/* The statistics file of VM or, if V is not NULL, of V: copies up to SIZE bytes from OFFSET on and
 * returns how many there were.  From any thread. */
size_t stats_read(const struct vm *vm, const struct vcpu *v, void *to, size_t size,
                  uint64_t offset);

/* ---- coalesced.c ---- */

long coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone);
long coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone);
/* Puts a guest write into the ring when a zone covers it and there is room. */
bool coalesced_write(struct vm *vm, bool pio, uint64_t address, unsigned size, const void *data);

/* ---- clock.c ---- */

/* Multiplier and shift that turn ticks of KHZ into nanoseconds, as struct pvclock_vcpu_time_info
 * has them: ns = ((ticks << shift) * multiplier) >> 32, a negative shift going right. */
struct tick_scale {
    uint32_t multiplier;
    int8_t shift;
};
struct tick_scale tick_scale(uint32_t khz);
uint64_t ticks_to_ns(struct tick_scale scale, uint64_t ticks);

uint64_t host_tsc(void);
/* The host TSC's frequency in kHz, measured for some milliseconds if nothing says it. */
uint32_t host_tsc_khz(void);

void clock_init(struct vm *vm);
uint64_t clock_now(struct vm *vm);
long clock_get(struct vm *vm, struct kvm_clock_data *data);
long clock_set(struct vm *vm, const struct kvm_clock_data *data);

#endif
