/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exceptions, NMIs and interrupts on their way into the guest. */
#include "ioctl.h"

#include <errno.h>
#include <string.h>

/* ---------------------------------------------------------------- exceptions */

static bool is_contributory(unsigned vector)
{
    return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/* Queues E, together with an exception that is on its way already (SDM volume 3, table 6-5). */
static void queue(struct vcpu *v, const struct vcpu_exception *e)
{
    struct vcpu_exception *now = &v->exception;
    if (now->pending || now->injected) {
        unsigned first = now->vector;
        if (first == VECTOR_DF) {
            v->triple_fault = true;
            *now = (struct vcpu_exception){0};
            return;
        }
        if ((is_contributory(first) && is_contributory(e->vector)) ||
            (first == VECTOR_PF && (is_contributory(e->vector) || e->vector == VECTOR_PF))) {
            *now = (struct vcpu_exception){
                .pending = true, .vector = VECTOR_DF, .has_error_code = true};
            return;
        }
    }
    *now = *e;
}

void queue_exception(struct vcpu *v, unsigned vector)
{
    queue(v, &(struct vcpu_exception){.pending = true, .vector = (uint8_t)vector});
}

void queue_exception_code(struct vcpu *v, unsigned vector, uint32_t error_code)
{
    queue(v, &(struct vcpu_exception){.pending = true,
                                      .vector = (uint8_t)vector,
                                      .has_error_code = true,
                                      .error_code = error_code});
}

void queue_exception_payload(struct vcpu *v, unsigned vector, uint64_t payload)
{
    queue(v,
          &(struct vcpu_exception){
              .pending = true, .vector = (uint8_t)vector, .has_payload = true, .payload = payload});
}

/* What an exception does to the state before its handler runs. */
static void apply_payload(struct vcpu *v, struct vcpu_exception *e)
{
    struct processor *p = v->processor;
    if (!e->has_payload)
        return;
    if (e->vector == VECTOR_DB) {
        /* B0 to B3 tell of this exception alone; the others accumulate. */
        p->dr6 = (p->dr6 & ~0xfull) | e->payload;
        p->dr6 &= 0xffff0000 | 0xeff0 | 0xf;
    } else if (e->vector == VECTOR_PF) {
        p->cr2 = e->payload;
    }
    e->has_payload = false;
    e->payload = 0;
}

/* ---------------------------------------------------------------- interrupts */

bool interrupt_allowed(const struct vcpu *v)
{
    const struct processor *p = v->processor;
    return p->rflags & FLAG_IF && !(p->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
}

static bool nmi_allowed(const struct vcpu *v)
{
    return !(v->processor->interruptibility &
             (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS | BLOCKING_BY_NMI));
}

/* Whether LAPIC, PIC or (split) user space have an interrupt for the processor. */
static bool interrupt_waits(struct vcpu *v)
{
    if (!v->lapic)
        return false;
    if (v->external_vector >= 0 && lapic_accepts_extint(v->lapic))
        return true;
    return lapic_pending(v->lapic) >= 0;
}

/* Takes it: its vector, or -1. */
static int accept_interrupt(struct vcpu *v)
{
    if (v->external_vector >= 0 && lapic_accepts_extint(v->lapic)) {
        int vector = v->external_vector;
        v->external_vector = -1;
        return vector;
    }
    return lapic_accept(v->lapic);
}

bool vcpu_has_event(struct vcpu *v)
{
    const struct processor *p = v->processor;
    if (v->exception.pending || v->exception.injected || v->nmi_injected || v->interrupt_injected ||
        v->triple_fault || v->unhalted || p->pending_debug)
        return true;
    if (v->guest_debug & KVM_GUESTDBG_BLOCKIRQ)
        return false;
    if (v->nmi_pending && !(p->interruptibility & BLOCKING_BY_NMI))
        return true;
    return p->rflags & FLAG_IF && interrupt_waits(v);
}

/* Whether the LAPIC, if there is one, lets a PIC of user space's interrupt. */
static bool accepts_user_interrupt(const struct vcpu *v)
{
    return !v->lapic || (v->external_vector < 0 && lapic_accepts_extint(v->lapic));
}

bool events_ready_for_user(struct vcpu *v)
{
    if (vm_has_pic(v->vm))
        return true; /* as Linux says when it has nothing to ask for */
    if (v->interrupt_injected || v->exception.injected || v->exception.pending || v->nmi_injected)
        return false;
    return accepts_user_interrupt(v) && interrupt_allowed(v);
}

/* ---------------------------------------------------------------- entry */

static void inject(struct vcpu *v, enum vcpu_delivery what, uint32_t info)
{
    struct vmcs *vmcs = &v->processor->vmcs;
    v->delivering = what;
    vmcs->entry_interruption_info = info | INTR_INFO_VALID;
    vmcs->entry_instruction_length = v->event_length;
}

static void inject_exception(struct vcpu *v)
{
    struct vcpu_exception *e = &v->exception;
    bool software = e->vector == VECTOR_BP || e->vector == VECTOR_OF;
    uint32_t info = e->vector | (software ? INTR_TYPE_SOFT_EXCEPTION : INTR_TYPE_HARD_EXCEPTION);
    /* Real mode pushes no error codes. */
    if (e->has_error_code && v->processor->cr0 & CR0_PE)
        info |= INTR_INFO_DELIVER_CODE;
    apply_payload(v, e);
    e->pending = false;
    e->injected = true;
    if (software && !v->event_length)
        v->event_length = 1;
    v->processor->vmcs.entry_exception_error_code = e->error_code;
    inject(v, DELIVER_EXCEPTION, info);
}

static void inject_interrupt(struct vcpu *v)
{
    inject(v, DELIVER_INTERRUPT,
           v->interrupt_vector |
               (v->interrupt_soft ? INTR_TYPE_SOFT_INTERRUPT : INTR_TYPE_EXTERNAL));
}

/* Exactly one event can enter; one whose delivery had begun comes first, then SDM volume 3, table
 * 6-2's order. */
static void choose_event(struct vcpu *v)
{
    v->delivering = DELIVER_NOTHING;
    if (v->exception.injected) {
        inject_exception(v);
    } else if (v->nmi_injected) {
        inject(v, DELIVER_NMI, VECTOR_NMI | INTR_TYPE_NMI);
    } else if (v->interrupt_injected) {
        inject_interrupt(v);
    } else if (v->exception.pending) {
        inject_exception(v);
    } else if (v->guest_debug & KVM_GUESTDBG_BLOCKIRQ) {
        return;
    } else if (v->nmi_pending && nmi_allowed(v)) {
        v->nmi_pending--;
        v->stats.nmi_injections++;
        v->nmi_injected = true;
        inject(v, DELIVER_NMI, VECTOR_NMI | INTR_TYPE_NMI);
    } else if (interrupt_allowed(v) && interrupt_waits(v)) {
        int vector = accept_interrupt(v);
        if (vector < 0)
            return;
        v->interrupt_injected = true;
        v->interrupt_soft = false;
        v->interrupt_vector = (uint8_t)vector;
        v->stats.irq_injections++;
        inject_interrupt(v);
    }
}

static uint32_t window_controls(struct vcpu *v)
{
    uint32_t c = 0;
    if (v->run->request_interrupt_window && !vm_has_pic(v->vm) && accepts_user_interrupt(v))
        c |= CPU_INTERRUPT_WINDOW_EXITING;
    if (v->guest_debug & KVM_GUESTDBG_BLOCKIRQ)
        return c;
    if (v->nmi_pending)
        c |= CPU_NMI_WINDOW_EXITING;
    if (!v->lapic)
        return c | CPU_CR8_LOAD_EXITING; /* lowering it is KVM_EXIT_SET_TPR */
    if (interrupt_waits(v))
        c |= CPU_INTERRUPT_WINDOW_EXITING;
    else if (lapic_highest_irr(v->lapic) >= 0)
        c |= CPU_CR8_LOAD_EXITING; /* a lower TPR may let it in */
    return c;
}

void events_prepare(struct vcpu *v)
{
    struct processor *p = v->processor;
    struct vmcs *vmcs = &p->vmcs;
    choose_event(v);
    uint32_t controls = CPU_HLT_EXITING | CPU_RDPMC_EXITING | CPU_MONITOR_EXITING |
                        CPU_MWAIT_EXITING | CPU_USE_MSR_BITMAPS | CPU_USE_TSC_OFFSETTING |
                        window_controls(v) | debug_controls(v);
    const uint8_t *bitmap = atomic_load_explicit(&v->vm->msr_filter, memory_order_relaxed)
                                ? NULL
                                : v->vm->system->msr_bitmap;
    if (controls != vmcs->cpu_based_controls || bitmap != vmcs->msr_bitmap) {
        vmcs->cpu_based_controls = controls;
        vmcs->msr_bitmap = bitmap;
        processor_controls_changed(p);
    }
}

void events_finish(struct vcpu *v)
{
    struct vmcs *vmcs = &v->processor->vmcs;
    if (v->lapic) /* the guest may have written CR8, and read TPR next */
        lapic_set_cr8(v->lapic, (unsigned)v->processor->cr8);
    if (vmcs->entry_interruption_info & INTR_INFO_VALID) {
        vmcs->entry_interruption_info = 0; /* not delivered: as it was */
        v->delivering = DELIVER_NOTHING;
    }
    switch (v->delivering) {
    case DELIVER_EXCEPTION:
        v->exception.injected = false;
        break;
    case DELIVER_NMI:
        v->nmi_injected = false;
        break;
    case DELIVER_INTERRUPT:
        v->interrupt_injected = false;
        break;
    case DELIVER_NOTHING:
        break;
    }
    v->delivering = DELIVER_NOTHING;
    v->event_length = 0;
    uint32_t info = vmcs->idt_vectoring_info;
    if (!(info & INTR_INFO_VALID))
        return;
    /* An exit in the midst of delivery: once more next time. */
    v->event_length = vmcs->exit_instruction_length;
    switch (info & INTR_INFO_TYPE_MASK) {
    case INTR_TYPE_NMI:
        v->processor->interruptibility &= ~BLOCKING_BY_NMI;
        v->nmi_injected = true;
        break;
    case INTR_TYPE_EXTERNAL:
    case INTR_TYPE_SOFT_INTERRUPT:
        v->interrupt_injected = true;
        v->interrupt_soft = (info & INTR_INFO_TYPE_MASK) == INTR_TYPE_SOFT_INTERRUPT;
        v->interrupt_vector = info & INTR_INFO_VECTOR_MASK;
        break;
    default:
        v->exception = (struct vcpu_exception){
            .injected = true,
            .vector = info & INTR_INFO_VECTOR_MASK,
            .has_error_code = info & INTR_INFO_DELIVER_CODE,
            .error_code = vmcs->idt_vectoring_error_code,
        };
        break;
    }
}

void events_take_nmis(struct vcpu *v)
{
    bool busy = v->nmi_injected || v->processor->interruptibility & BLOCKING_BY_NMI;
    unsigned limit = busy ? 1 : 2, sent = atomic_exchange(&v->nmis_sent, 0);
    if (v->nmi_pending < limit)
        v->nmi_pending = sent < limit - v->nmi_pending ? v->nmi_pending + sent : limit;
}

/* ---------------------------------------------------------------- KVM_GET/SET_VCPU_EVENTS */

void events_get(struct vcpu *v, struct kvm_vcpu_events *e)
{
    struct vm *vm = v->vm;
    uint32_t i = v->processor->interruptibility;
    uint32_t requests = atomic_fetch_and(&v->requests, ~VCPU_REQUEST_NMI);
    events_take_nmis(v);
    memset(e, 0, sizeof(*e));
    /* Programs that do not know payloads see an exception as injected, its payload applied. */
    if (!vm->exception_payload && v->exception.pending)
        apply_payload(v, &v->exception);
    e->exception.injected = v->exception.injected;
    e->exception.pending = v->exception.pending;
    if (!vm->exception_payload) {
        e->exception.injected |= v->exception.pending;
        e->exception.pending = 0;
    } else {
        e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
        e->exception_has_payload = v->exception.has_payload;
        e->exception_payload = v->exception.payload;
    }
    e->exception.nr = v->exception.vector;
    e->exception.has_error_code = v->exception.has_error_code;
    e->exception.error_code = v->exception.error_code;
    e->interrupt.injected = v->interrupt_injected && !v->interrupt_soft;
    e->interrupt.nr = v->interrupt_vector;
    e->interrupt.shadow = (i & BLOCKING_BY_STI ? KVM_X86_SHADOW_INT_STI : 0) |
                          (i & BLOCKING_BY_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS : 0);
    e->nmi.injected = v->nmi_injected;
    e->nmi.pending = v->nmi_pending != 0;
    e->nmi.masked = !!(i & BLOCKING_BY_NMI);
    e->smi.latched_init = !!(requests & VCPU_REQUEST_INIT);
    e->flags |=
        KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;
    if (vm->triple_fault_event) {
        e->triple_fault.pending = v->triple_fault;
        e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    }
}

#define EVENT_FLAGS                                                                                \
    (KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |                           \
     KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD |          \
     KVM_VCPUEVENT_VALID_TRIPLE_FAULT)

static bool events_valid(const struct vcpu *v, const struct kvm_vcpu_events *e)
{
    if (e->flags & ~(uint32_t)EVENT_FLAGS)
        return false;
    if (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) {
        if (!v->vm->exception_payload || (e->exception.pending && e->exception.injected))
            return false;
    }
    bool raised =
        e->exception.injected || (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD && e->exception.pending);
    if (raised && (e->exception.nr > 31 || e->exception.nr == VECTOR_NMI))
        return false;
    if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT && !v->vm->triple_fault_event)
        return false;
    /* Nothing is ever in system management mode here. */
    return !(e->flags & KVM_VCPUEVENT_VALID_SMM && (e->smi.smm || e->smi.smm_inside_nmi));
}

long events_set(struct vcpu *v, const struct kvm_vcpu_events *e)
{
    struct processor *p = v->processor;
    if (!events_valid(v, e))
        return -EINVAL;
    bool payload = e->flags & KVM_VCPUEVENT_VALID_PAYLOAD;
    v->exception = (struct vcpu_exception){
        .pending = payload && e->exception.pending,
        .injected = e->exception.injected,
        .has_error_code = e->exception.has_error_code,
        .vector = e->exception.nr,
        .error_code = e->exception.error_code,
        .has_payload = payload && e->exception_has_payload,
        .payload = payload ? e->exception_payload : 0,
    };
    v->interrupt_injected = e->interrupt.injected;
    v->interrupt_vector = e->interrupt.nr;
    v->interrupt_soft = e->interrupt.soft;
    uint32_t i = p->interruptibility & ~BLOCKING_BY_NMI;
    if (e->nmi.masked)
        i |= BLOCKING_BY_NMI;
    if (e->flags & KVM_VCPUEVENT_VALID_SHADOW) {
        i &= ~(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
        i |= (e->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? BLOCKING_BY_STI : 0) |
             (e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? BLOCKING_BY_MOV_SS : 0);
    }
    p->interruptibility = i;
    v->nmi_injected = e->nmi.injected;
    if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
        v->nmi_pending = e->nmi.pending;
    if (e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR && v->lapic)
        atomic_store(&v->sipi_vector, e->sipi_vector);
    if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
        v->triple_fault = e->triple_fault.pending;
    processor_state_changed(p);
    vcpu_request(v, VCPU_REQUEST_EVENT);
    return 0;
}
