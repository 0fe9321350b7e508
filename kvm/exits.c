/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VM exits by reason. */
#include "guest-cpuid.h"
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

int exit_skip(struct vcpu *v)
{
    processor_skip_instruction(v->processor);
    return v->guest_debug & KVM_GUESTDBG_SINGLESTEP ? debug_step_exit(v) : 1;
}

int exit_internal_error(struct vcpu *v, uint32_t suberror)
{
    struct kvm_run *run = v->run;
    const struct vmcs *vmcs = &v->processor->vmcs;
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    memset(&run->internal, 0, sizeof(run->internal));
    run->internal.suberror = suberror;
    if (suberror == KVM_INTERNAL_ERROR_EMULATION) {
        run->emulation_failure.ndata = 1; /* no flags: no instruction bytes */
        return 0;
    }
    run->internal.ndata = 4;
    run->internal.data[0] =
        suberror == KVM_INTERNAL_ERROR_DELIVERY_EV ? vmcs->idt_vectoring_info : vmcs->exit_reason;
    run->internal.data[1] = vmcs->exit_reason;
    run->internal.data[2] = vmcs->exit_qualification;
    run->internal.data[3] = vmcs->guest_physical_address;
    return 0;
}

static int exit_again(struct vcpu *v)
{
    (void)v;
    return 1;
}

static int exit_completed(struct vcpu *v)
{
    return v->guest_debug & KVM_GUESTDBG_SINGLESTEP ? debug_step_exit(v) : 1;
}

static int exit_triple_fault(struct vcpu *v)
{
    v->run->exit_reason = KVM_EXIT_SHUTDOWN;
    return 0;
}

static int exit_hlt(struct vcpu *v)
{
    int r = exit_skip(v);
    if (!v->lapic && !(v->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT)) {
        if (r == 1)
            v->run->exit_reason = KVM_EXIT_HLT;
        return 0;
    }
    v->mp_state = KVM_MP_STATE_HALTED;
    return r;
}

static int exit_invalid_opcode(struct vcpu *v)
{
    queue_exception(v, VECTOR_UD);
    return 1;
}

/* MONITOR and MWAIT: not offered; old guests that use them all the same get NOPs, as from Linux. */
static int exit_mwait(struct vcpu *v)
{
    if (v->vm->disabled_quirks & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS && !cpuid_has(v, &cpuid_mwait))
        return exit_invalid_opcode(v);
    return exit_skip(v);
}

static int exit_rdpmc(struct vcpu *v)
{
    queue_gp(v);
    return 1;
}

static int exit_pause(struct vcpu *v)
{
    sched_yield();
    return exit_skip(v);
}

/* SDM volume 3, table 28-3: CR number 3:0, access type 5:4, register 11:8. */
static int exit_cr_access(struct vcpu *v)
{
    struct processor *p = v->processor;
    uint64_t q = p->vmcs.exit_qualification;
    unsigned number = q & 15, type = q >> 4 & 3;
    uint64_t *reg = &p->gpr[q >> 8 & 15];
    if (type == 1) {
        *reg = number == 8 ? p->cr8 : number == 3 ? p->cr3 : number == 4 ? p->cr4 : p->cr0;
        return exit_skip(v);
    }
    if (type != 0 || number != 8)
        return exit_internal_error(v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);
    if (*reg > 15) {
        queue_gp(v);
        return 1;
    }
    uint64_t old = p->cr8;
    p->cr8 = *reg;
    if (v->lapic)
        lapic_set_cr8(v->lapic, (unsigned)p->cr8);
    int r = exit_skip(v);
    /* Without a LAPIC here, user space has interrupts to look at again. */
    if (!v->lapic && p->cr8 < old && r == 1) {
        v->run->exit_reason = KVM_EXIT_SET_TPR;
        return 0;
    }
    return r;
}

static int exit_xsetbv(struct vcpu *v)
{
    struct processor *p = v->processor;
    uint64_t value = (uint32_t)p->gpr[GPR_RAX] | p->gpr[GPR_RDX] << 32;
    if (p->cpl || (uint32_t)p->gpr[GPR_RCX] || processor_set_xcr0(p, value) < 0) {
        queue_gp(v);
        return 1;
    }
    return exit_skip(v);
}

static int exit_pio(struct vcpu *v)
{
    return access_exit(v, true);
}

static int exit_mmio(struct vcpu *v)
{
    return access_exit(v, false);
}

static int exit_fetch(struct vcpu *v)
{
    return exit_internal_error(v, KVM_INTERNAL_ERROR_EMULATION);
}

/* KVM_CAP_MEMORY_FAULT_INFO.  User space may map something there and go on. */
static int exit_host_fault(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    const struct kvm_memory_fault fault = {
        .gpa = v->processor->vmcs.guest_physical_address & ~PAGE_OFFSET_MASK,
        .size = PAGE_BYTES,
    };
    run->exit_reason = KVM_EXIT_MEMORY_FAULT;
    memcpy(&run->hw, &fault, sizeof(fault));
    return -EFAULT;
}

static int exit_invalid_state(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    run->exit_reason = KVM_EXIT_FAIL_ENTRY;
    run->fail_entry.hardware_entry_failure_reason = BIT(31) | v->processor->vmcs.exit_reason;
    run->fail_entry.cpu = ~0u;
    return 0;
}

static int (*const exit_handlers[EXIT_REASON_COUNT])(struct vcpu *v) = {
    [EXIT_REASON_EXCEPTION_NMI] = debug_exception_exit,
    [EXIT_REASON_TRIPLE_FAULT] = exit_triple_fault,
    [EXIT_REASON_INTERRUPT_WINDOW] = exit_again,
    [EXIT_REASON_NMI_WINDOW] = exit_again,
    [EXIT_REASON_CPUID] = cpuid_exit,
    [EXIT_REASON_HLT] = exit_hlt,
    [EXIT_REASON_INVD] = exit_skip,
    [EXIT_REASON_RDPMC] = exit_rdpmc,
    [EXIT_REASON_RSM] = exit_invalid_opcode,
    [EXIT_REASON_VMCALL] = hypercall_exit,
    [EXIT_REASON_VMCLEAR] = exit_invalid_opcode,
    [EXIT_REASON_VMLAUNCH] = exit_invalid_opcode,
    [EXIT_REASON_VMPTRLD] = exit_invalid_opcode,
    [EXIT_REASON_VMPTRST] = exit_invalid_opcode,
    [EXIT_REASON_VMREAD] = exit_invalid_opcode,
    [EXIT_REASON_VMRESUME] = exit_invalid_opcode,
    [EXIT_REASON_VMWRITE] = exit_invalid_opcode,
    [EXIT_REASON_VMXOFF] = exit_invalid_opcode,
    [EXIT_REASON_VMXON] = exit_invalid_opcode,
    [EXIT_REASON_INVEPT] = exit_invalid_opcode,
    [EXIT_REASON_INVVPID] = exit_invalid_opcode,
    [EXIT_REASON_VMFUNC] = exit_invalid_opcode,
    [EXIT_REASON_CR_ACCESS] = exit_cr_access,
    [EXIT_REASON_DR_ACCESS] = debug_dr_exit,
    [EXIT_REASON_RDMSR] = msr_read_exit,
    [EXIT_REASON_WRMSR] = msr_write_exit,
    [EXIT_REASON_INVALID_GUEST_STATE] = exit_invalid_state,
    [EXIT_REASON_MWAIT] = exit_mwait,
    [EXIT_REASON_MONITOR] = exit_mwait,
    [EXIT_REASON_MONITOR_TRAP_FLAG] = debug_step_exit,
    [EXIT_REASON_PAUSE] = exit_pause,
    [EXIT_REASON_WBINVD] = exit_skip,
    [EXIT_REASON_XSETBV] = exit_xsetbv,
    [EXIT_REASON_PIO] = exit_pio,
    [EXIT_REASON_MMIO] = exit_mmio,
    [EXIT_REASON_KICK] = exit_again,
    [EXIT_REASON_COMPLETED] = exit_completed,
    [EXIT_REASON_FETCH] = exit_fetch,
    [EXIT_REASON_HOST_FAULT] = exit_host_fault,
};

int vcpu_handle_exit(struct vcpu *v, unsigned reason)
{
    if (reason >= EXIT_REASON_COUNT || !exit_handlers[reason])
        return exit_internal_error(v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);
    return exit_handlers[reason](v);
}
