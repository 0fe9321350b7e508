/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct vm: one virtual machine, and struct system: what /dev/kvm itself knows.
 *
 * Locks: vm->lock guards creation (vCPUs, irqchip), memory-slot changes and capabilities; it is the
 * outermost lock of kvm/ and is never taken by a vCPU thread between KVM_RUN's entry and return.
 * Order: a vCPU's own mutex -> vm->lock -> irqchip/'s locks -> memory's.  Nothing but the vCPU's own
 * mutex (which makes vCPU ioctls wait for KVM_RUN, as on Linux) is held across vmx_enter.
 */
#ifndef TRAPEZE_VM_H
#define TRAPEZE_VM_H

#include "common/base/log.h"
#include "processor/memory.h"
#include "trapeze_kvm.h"

#include <pthread.h>
#include <stdatomic.h>

#define VM_VCPUS_MAX    1024u /* KVM_CAP_MAX_VCPUS */
#define VM_VCPU_IDS_MAX 4096u /* KVM_CAP_MAX_VCPU_ID: ids (initial APIC ids) are below */
#define VM_SLOTS_MAX    32764u

struct irqchip;
struct vcpu;
struct msr_filter;
struct coalesced_zone;

/* Computed once in tkvm_open, constant afterwards. */
struct system {
    _Atomic unsigned references;
    const struct log_sink *log; /* may be NULL */
    uint32_t tsc_khz;           /* of the host */
};

/* The time that kvmclock shows: nanoseconds since the VM was made, moved by KVM_SET_CLOCK. */
struct vm_clock {
    pthread_mutex_t lock;
    int64_t offset; /* kvmclock = host monotonic (raw) nanoseconds + offset */
};

struct vm {
    _Atomic unsigned references; /* its file's, its vCPU files', its devices' */
    struct system *system;
    const struct log_sink *log;
    struct memory *memory; /* guest-physical memory: memory_read, memory_write ... need no lock */
    pthread_mutex_t lock;

    /* vCPUs in order of creation.  Entries below vcpu_count never change until the VM is freed;
     * vcpu_count is read with acquire order, without a lock. */
    _Atomic unsigned vcpu_count;
    struct vcpu *vcpu[VM_VCPUS_MAX];

    struct irqchip *irqchip; /* irqchip/'s; made with the VM by irqchip_new, never NULL after */

    struct vm_clock clock;
    uint32_t tsc_khz;     /* default for new vCPUs (VM-scope KVM_SET_TSC_KHZ) */
    uint32_t boot_cpu_id; /* KVM_SET_BOOT_CPU_ID: the vCPU whose APIC_BASE has BSP set */
    uint64_t identity_map_addr;

    /* Capabilities that were enabled (KVM_ENABLE_CAP). */
    uint64_t x2apic_api; /* KVM_X2APIC_API_* */
    uint64_t manual_dirty_log;
    uint64_t user_space_msr; /* KVM_MSR_EXIT_REASON_* */
    uint64_t disabled_exits; /* KVM_X86_DISABLE_EXITS_* */
    uint64_t disabled_quirks;
    uint64_t max_vcpu_id;
    bool exception_payload;
    bool triple_fault_event;
    bool platform_info_locked; /* KVM_CAP_MSR_PLATFORM_INFO off: guest reads are #GP */
    bool exit_on_emulation_failure;

    struct msr_filter *msr_filter;  /* NULL: none */
    struct coalesced_zone *coalesced; /* list, under coalesced_lock */
    pthread_mutex_t coalesced_lock;
};

/* The vCPU whose id (initial APIC id) is ID, or NULL. */
struct vcpu *vm_vcpu_by_id(struct vm *vm, uint32_t id);

static inline unsigned vm_vcpu_count(struct vm *vm)
{
    return atomic_load_explicit(&vm->vcpu_count, memory_order_acquire);
}

/* kvmclock now, in nanoseconds. */
uint64_t vm_clock_now(struct vm *vm);

/* CLOCK_MONOTONIC_RAW-independent host time for timers: CLOCK_MONOTONIC in nanoseconds. */
uint64_t host_monotonic_ns(void);

#endif
