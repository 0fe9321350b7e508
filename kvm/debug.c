/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_SET_GUEST_DEBUG: single steps by the monitor trap flag, breakpoints by exception intercepts.
 */
#include "ioctl.h"

#include <errno.h>
#include <string.h>

#define DR6_FIXED 0xffff0ff0ull
#define DR6_BD    BIT(13)
#define DR6_BS    BIT(14)
#define DR7_GD    BIT(13)

/* While user space uses hardware breakpoints, the processor has its debug registers and the guest's
 * wait in guest_dr; MOV to and from debug registers exits. */
static void swap_debug_registers(struct vcpu *v, const struct kvm_guest_debug *d, bool was)
{
    struct processor *p = v->processor;
    bool now = v->guest_debug & KVM_GUESTDBG_USE_HW_BP;
    if (!was && now) {
        memcpy(v->guest_dr, p->dr, sizeof(v->guest_dr));
        v->guest_dr7 = p->dr7;
    }
    if (now) {
        for (int i = 0; i < 4; i++)
            p->dr[i] = d->arch.debugreg[i];
        p->dr7 = (d->arch.debugreg[7] & 0xffff2bff) | 0x400;
    } else if (was) {
        memcpy(p->dr, v->guest_dr, sizeof(v->guest_dr));
        p->dr7 = v->guest_dr7;
    }
}

long debug_set(struct vcpu *v, const struct kvm_guest_debug *d)
{
    struct processor *p = v->processor;
    if (d->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
        if (v->exception.pending || v->exception.injected)
            return -EBUSY;
        queue_exception(v, d->control & KVM_GUESTDBG_INJECT_DB ? VECTOR_DB : VECTOR_BP);
    }
    bool was = v->guest_debug & KVM_GUESTDBG_USE_HW_BP;
    v->guest_debug = d->control & KVM_GUESTDBG_ENABLE ? d->control : 0;
    swap_debug_registers(v, d, was);
    p->vmcs.exception_bitmap = 0;
    if (v->guest_debug & KVM_GUESTDBG_USE_SW_BP)
        p->vmcs.exception_bitmap |= BIT(VECTOR_BP);
    if (v->guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP))
        p->vmcs.exception_bitmap |= BIT(VECTOR_DB);
    processor_state_changed(p);
    processor_controls_changed(p);
    return 0;
}

uint32_t debug_controls(const struct vcpu *v)
{
    return (v->guest_debug & KVM_GUESTDBG_SINGLESTEP ? CPU_MONITOR_TRAP_FLAG : 0) |
           (v->guest_debug & KVM_GUESTDBG_USE_HW_BP ? CPU_MOV_DR_EXITING : 0);
}

static int report(struct vcpu *v, unsigned vector, uint64_t dr6)
{
    const struct processor *p = v->processor;
    struct kvm_run *run = v->run;
    run->exit_reason = KVM_EXIT_DEBUG;
    memset(&run->debug, 0, sizeof(run->debug));
    run->debug.arch.exception = vector;
    run->debug.arch.pc = p->flat_base[SEG_CS] + p->rip;
    run->debug.arch.dr6 = dr6 | DR6_FIXED;
    run->debug.arch.dr7 = p->dr7;
    return 0;
}

int debug_exception_exit(struct vcpu *v)
{
    const struct vmcs *vmcs = &v->processor->vmcs;
    uint32_t info = vmcs->exit_interruption_info;
    switch (info & INTR_INFO_VECTOR_MASK) {
    case VECTOR_BP:
        return report(v, VECTOR_BP, 0);
    case VECTOR_DB:
        return report(v, VECTOR_DB, vmcs->exit_qualification);
    }
    return exit_internal_error(v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);
}

int debug_step_exit(struct vcpu *v)
{
    return report(v, VECTOR_DB, DR6_BS);
}

/* MOV DR while user space has the debug registers (SDM volume 3, table 28-4: number 2:0, bit 4 set
 * for reads, register 11:8). */
int debug_dr_exit(struct vcpu *v)
{
    struct processor *p = v->processor;
    uint64_t q = p->vmcs.exit_qualification;
    unsigned number = q & 7;
    uint64_t *reg = &p->gpr[q >> 8 & 15];
    if (p->dr7 & DR7_GD)
        return report(v, VECTOR_DB, DR6_BD);
    if (number == 4 || number == 5) {
        if (p->cr4 & CR4_DE) {
            queue_exception(v, VECTOR_UD);
            return 1;
        }
        number += 2;
    }
    uint64_t *at = number < 4 ? &v->guest_dr[number] : number == 6 ? &p->dr6 : &v->guest_dr7;
    if (q & BIT(4)) {
        *reg = *at;
    } else if (number >= 6 && *reg >> 32) {
        queue_gp(v);
        return 1;
    } else if (number == 6) {
        *at = (*reg & 0xe00f) | DR6_FIXED;
    } else {
        *at = number == 7 ? (*reg & 0xffff2bff) | 0x400 : *reg;
    }
    return exit_skip(v);
}
