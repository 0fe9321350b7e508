/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_CHECK_EXTENSION and KVM_ENABLE_CAP: exactly what works. */
#include "ioctl.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <unistd.h>

#define X2APIC_API_OFFERED (KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
#define QUIRKS_OFFERED                                                                             \
    (KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_LAPIC_MMIO_HOLE |                               \
     KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_FIX_HYPERCALL_INSN |                       \
     KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS | KVM_X86_QUIRK_SLOT_ZAP_ALL)
#define DISABLE_EXITS_OFFERED   (KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE)
#define DIRTY_LOG_OFFERED       (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET)
#define HYPERCALL_EXITS_OFFERED BIT(KVM_HC_MAP_GPA_RANGE)

/* Capabilities with a constant answer. */
static const struct {
    uint32_t number;
    int32_t answer;
} capabilities[] = {
    {KVM_CAP_IRQCHIP, 1},
    {KVM_CAP_HLT, 1},
    {KVM_CAP_USER_MEMORY, 1},
    {KVM_CAP_USER_MEMORY2, 1},
    {KVM_CAP_SET_TSS_ADDR, 1},
    {KVM_CAP_EXT_CPUID, 1},
    {KVM_CAP_CLOCKSOURCE, 1},
    {KVM_CAP_NR_MEMSLOTS, VM_SLOTS_MAX},
    {KVM_CAP_PIT, 1},
    {KVM_CAP_NOP_IO_DELAY, 1},
    {KVM_CAP_MP_STATE, 1},
    {KVM_CAP_COALESCED_MMIO, 2}, /* the ring's page in the vCPU's mapping */
    {KVM_CAP_COALESCED_PIO, 1},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1},
    {KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1},
    {KVM_CAP_USER_NMI, 1},
    {KVM_CAP_SET_GUEST_DEBUG, 1},
    {KVM_CAP_SET_GUEST_DEBUG2, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |
                                   KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_USE_SW_BP |
                                   KVM_GUESTDBG_INJECT_BP | KVM_GUESTDBG_INJECT_DB |
                                   KVM_GUESTDBG_BLOCKIRQ},
    {KVM_CAP_REINJECT_CONTROL, 1},
    {KVM_CAP_IRQ_ROUTING, IRQCHIP_MAX_ROUTES},
    {KVM_CAP_IRQ_INJECT_STATUS, 1},
    {KVM_CAP_MCE, MCE_BANKS},
    {KVM_CAP_IRQFD, 1},
    {KVM_CAP_IRQFD_RESAMPLE, 1},
    {KVM_CAP_PIT2, 1},
    {KVM_CAP_SET_BOOT_CPU_ID, 1},
    {KVM_CAP_PIT_STATE2, 1},
    {KVM_CAP_IOEVENTFD, 1},
    {KVM_CAP_IOEVENTFD_NO_LENGTH, 1},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, 1},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, 1},
    {KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC},
    {KVM_CAP_INTERNAL_ERROR_DATA, 1},
    {KVM_CAP_VCPU_EVENTS, 1},
    {KVM_CAP_INTR_SHADOW, 1},
    {KVM_CAP_DEBUGREGS, 1},
    {KVM_CAP_X86_ROBUST_SINGLESTEP, 1},
    {KVM_CAP_ENABLE_CAP_VM, 1},
    {KVM_CAP_XSAVE, 1},
    {KVM_CAP_XSAVE2, sizeof(struct kvm_xsave)},
    {KVM_CAP_XCRS, 1},
    {KVM_CAP_TSC_CONTROL, 1},
    {KVM_CAP_VM_TSC_CONTROL, 1},
    {KVM_CAP_GET_TSC_KHZ, 1},
    {KVM_CAP_MAX_VCPUS, VM_VCPUS_MAX},
    {KVM_CAP_MAX_VCPU_ID, VM_VCPU_IDS_MAX},
    {KVM_CAP_TSC_DEADLINE_TIMER, 1},
    {KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS},
    {KVM_CAP_KVMCLOCK_CTRL, 1},
    {KVM_CAP_SIGNAL_MSI, 1},
    {KVM_CAP_READONLY_MEM, 1},
    {KVM_CAP_IOAPIC_POLARITY_IGNORED, 1},
    {KVM_CAP_CHECK_EXTENSION_VM, 1},
    {KVM_CAP_DISABLE_QUIRKS, 1},
    {KVM_CAP_DISABLE_QUIRKS2, QUIRKS_OFFERED},
    {KVM_CAP_SPLIT_IRQCHIP, 1},
    {KVM_CAP_VCPU_ATTRIBUTES, 1},
    {KVM_CAP_X2APIC_API, X2APIC_API_OFFERED},
    {KVM_CAP_IMMEDIATE_EXIT, 1},
    {KVM_CAP_GET_MSR_FEATURES, 1},
    {KVM_CAP_MSR_PLATFORM_INFO, 1},
    {KVM_CAP_EXCEPTION_PAYLOAD, 1},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, DIRTY_LOG_OFFERED},
    {KVM_CAP_X86_USER_SPACE_MSR, 1},
    {KVM_CAP_X86_MSR_FILTER, 1},
    {KVM_CAP_SREGS2, 1},
    {KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1},
    {KVM_CAP_SYS_ATTRIBUTES, 1},
    {KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1},
    {KVM_CAP_X86_APIC_BUS_CYCLES_NS, 1},
    {KVM_CAP_MMU_SHADOW_CACHE_CONTROL, 1}, /* KVM_SET_NR_MMU_PAGES: there are none */
    {KVM_CAP_SYNC_MMU, 1},                 /* guests run on the program's own mappings */
    {KVM_CAP_EXT_EMUL_CPUID, 1},
    {KVM_CAP_X86_GUEST_MODE, 1}, /* never in nested guest mode, and kvm_run's flags say so */
    {KVM_CAP_ASYNC_PF, 1},
    {KVM_CAP_ASYNC_PF_INT, 1},
    {KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1},
    {KVM_CAP_X86_DISABLE_EXITS, DISABLE_EXITS_OFFERED},
    {KVM_CAP_EXIT_HYPERCALL, HYPERCALL_EXITS_OFFERED},
    {KVM_CAP_HALT_POLL, 1}, /* HLT never polls, so that any limit holds */
    {KVM_CAP_VM_TYPES, BIT(0)},
    {KVM_CAP_DIRTY_LOG_RING, DIRTY_RING_BYTES_MAX},
    {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, DIRTY_RING_BYTES_MAX},
    {KVM_CAP_BINARY_STATS_FD, 1},
    {KVM_CAP_PRE_FAULT_MEMORY, 1},
    {KVM_CAP_MEMORY_FAULT_INFO, 1},
    {KVM_CAP_TRAPEZE, 3},
};

long capability_check(struct vm *vm, unsigned long number)
{
    (void)vm; /* no answer differs between scopes so far */
    if (number == KVM_CAP_NR_VCPUS) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        return cores < 1 ? 1 : cores > (long)VM_VCPUS_MAX ? (long)VM_VCPUS_MAX : cores;
    }
    for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
        if (capabilities[i].number == number)
            return capabilities[i].answer;
    return 0;
}

/* ---------------------------------------------------------------- enabling: vm->lock is held */

static long enable_split_irqchip(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] > 480)
        return -EINVAL;
    if (vm->irqchip)
        return -EEXIST;
    if (vm_vcpu_count(vm))
        return -EINVAL;
    struct irqchip *chip = irqchip_create(&vcpu_services, true, (unsigned)cap->args[0]);
    if (!chip)
        return -errno;
    vm_set_irqchip(vm, chip);
    return 0;
}

static long enable_x2apic_api(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)X2APIC_API_OFFERED)
        return -EINVAL;
    vm->x2apic_api |= cap->args[0];
    return vm->irqchip ? irqchip_set_x2apic_api(vm->irqchip, vm->x2apic_api) : 0;
}

static long disable_quirks(struct vm *vm, const struct kvm_enable_cap *cap)
{
    vm->disabled_quirks = cap->args[0];
    if (vm->irqchip)
        irqchip_set_disabled_quirks(vm->irqchip, vm->disabled_quirks);
    return 0;
}

static long disable_quirks2(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)QUIRKS_OFFERED)
        return -EINVAL;
    return disable_quirks(vm, cap);
}

static long enable_dirty_log_protect(struct vm *vm, const struct kvm_enable_cap *cap)
{
    uint64_t allowed = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
    if (cap->args[0] & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
        allowed = DIRTY_LOG_OFFERED;
    if (cap->args[0] & ~allowed)
        return -EINVAL;
    vm->manual_dirty_log = cap->args[0];
    return 0;
}

static long enable_user_space_msr(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)KVM_MSR_EXIT_REASON_VALID_MASK)
        return -EINVAL;
    vm->user_space_msr = cap->args[0];
    return 0;
}

static long enable_exception_payload(struct vm *vm, const struct kvm_enable_cap *cap)
{
    vm->exception_payload = cap->args[0];
    return 0;
}

static long enable_triple_fault_event(struct vm *vm, const struct kvm_enable_cap *cap)
{
    vm->triple_fault_event = cap->args[0];
    return 0;
}

static long enable_platform_info(struct vm *vm, const struct kvm_enable_cap *cap)
{
    vm->platform_info_hidden = !cap->args[0];
    return 0;
}

static long enable_emulation_failure(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~1ull)
        return -EINVAL;
    vm->exit_on_emulation_failure = cap->args[0];
    return 0;
}

static long enable_max_vcpu_id(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (!cap->args[0] || cap->args[0] > VM_VCPU_IDS_MAX || cap->args[0] < vm->boot_cpu_id ||
        (vm->max_vcpu_id != VM_VCPU_IDS_MAX && vm->max_vcpu_id != cap->args[0]))
        return -EINVAL;
    vm->max_vcpu_id = (uint32_t)cap->args[0];
    return 0;
}

static long enable_bus_cycles(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (!cap->args[0] || cap->args[0] != (uint32_t)cap->args[0])
        return -EINVAL;
    if (!vm->irqchip)
        return -ENXIO;
    if (vm_vcpu_count(vm))
        return -EINVAL;
    return irqchip_set_bus_cycle_ns(vm->irqchip, cap->args[0]);
}

static long enable_disabled_exits(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)DISABLE_EXITS_OFFERED)
        return -EINVAL;
    vm->disabled_exits |= (uint32_t)cap->args[0];
    return 0;
}

static long enable_exit_hypercall(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)HYPERCALL_EXITS_OFFERED)
        return -EINVAL;
    vm->exit_hypercalls = cap->args[0];
    return 0;
}

static long enable_dirty_ring(struct vm *vm, const struct kvm_enable_cap *cap)
{
    return dirty_rings_enable(vm, cap->args[0]);
}

static long enable_halt_poll(struct vm *vm, const struct kvm_enable_cap *cap)
{
    (void)vm;
    return cap->args[0] == (uint32_t)cap->args[0] ? 0 : -EINVAL;
}

static const struct {
    uint32_t number;
    long (*enable)(struct vm *vm, const struct kvm_enable_cap *cap);
} vm_capabilities[] = {
    {KVM_CAP_SPLIT_IRQCHIP, enable_split_irqchip},
    {KVM_CAP_X2APIC_API, enable_x2apic_api},
    {KVM_CAP_DISABLE_QUIRKS, disable_quirks},
    {KVM_CAP_DISABLE_QUIRKS2, disable_quirks2},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, enable_dirty_log_protect},
    {KVM_CAP_X86_USER_SPACE_MSR, enable_user_space_msr},
    {KVM_CAP_EXCEPTION_PAYLOAD, enable_exception_payload},
    {KVM_CAP_X86_TRIPLE_FAULT_EVENT, enable_triple_fault_event},
    {KVM_CAP_MSR_PLATFORM_INFO, enable_platform_info},
    {KVM_CAP_EXIT_ON_EMULATION_FAILURE, enable_emulation_failure},
    {KVM_CAP_MAX_VCPU_ID, enable_max_vcpu_id},
    {KVM_CAP_X86_APIC_BUS_CYCLES_NS, enable_bus_cycles},
    {KVM_CAP_X86_DISABLE_EXITS, enable_disabled_exits},
    {KVM_CAP_EXIT_HYPERCALL, enable_exit_hypercall},
    {KVM_CAP_HALT_POLL, enable_halt_poll},
    {KVM_CAP_DIRTY_LOG_RING, enable_dirty_ring},
    {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, enable_dirty_ring},
};

long capability_enable_vm(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->flags)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(vm_capabilities); i++)
        if (vm_capabilities[i].number == cap->cap)
            return vm_capabilities[i].enable(vm, cap);
    return -EINVAL;
}

long capability_enable_vcpu(struct vcpu *v, const struct kvm_enable_cap *cap)
{
    if (cap->flags || cap->cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
        return -EINVAL;
    v->pv_enforced = cap->args[0];
    return 0;
}
