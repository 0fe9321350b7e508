/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_RUN: entries and exits until user space is needed. */
#include "ioctl.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps until somebody makes a request.  0, or -EINTR when a signal handler ran in this thread. */
static int sleep_until_request(struct vcpu *v)
{
    /* With a timeout, a handler ends the call even if it was installed with SA_RESTART. */
    static const struct timespec hour = {.tv_sec = 3600};
    int r = 0;
    atomic_store(&v->blocked, 1);
    if (syscall(SYS_futex, &v->requests, FUTEX_WAIT_PRIVATE, 0, &hour, NULL, 0) < 0 &&
        errno == EINTR)
        r = -EINTR;
    atomic_store(&v->blocked, 0);
    return r;
}

static int interrupted(struct vcpu *v)
{
    v->run->exit_reason = KVM_EXIT_INTR;
    v->stats.signal_exits++;
    return -EINTR;
}

/* Acts on what other threads asked for.  -EINTR when they asked KVM_RUN to return. */
static int take_requests(struct vcpu *v)
{
    if (likely(!atomic_load_explicit(&v->requests, memory_order_relaxed)))
        return 0;
    vcpu_accept_signals(v);
    uint32_t r = atomic_fetch_and(&v->requests, VCPU_REQUEST_INIT | VCPU_REQUEST_SIPI);
    if (r & VCPU_REQUEST_NMI)
        events_take_nmis(v);
    if (r & VCPU_REQUEST_UNHALT)
        v->unhalted = true;
    if (r & VCPU_REQUEST_CLOCK)
        kvmclock_update(v);
    return r & VCPU_REQUEST_EXIT ? interrupted(v) : 0;
}

/* A vCPU that does not run: waits until it may have a reason to.  0 or -EINTR. */
static int wait_runnable(struct vcpu *v)
{
    if (v->mp_state == KVM_MP_STATE_HALTED && vcpu_has_event(v)) {
        v->mp_state = KVM_MP_STATE_RUNNABLE;
        v->unhalted = false;
        return 0;
    }
    return sleep_until_request(v) < 0 ? interrupted(v) : 0;
}

/* Exits that no instruction causes.  True: KVM_RUN returns, v->run is filled. */
static bool exit_by_itself(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    if (v->triple_fault) {
        v->triple_fault = false;
        run->exit_reason = KVM_EXIT_SHUTDOWN;
        return true;
    }
    if (unlikely(dirty_ring_is_full(v))) {
        run->exit_reason = KVM_EXIT_DIRTY_RING_FULL;
        return true;
    }
    if (v->eoi_vector >= 0) {
        run->exit_reason = KVM_EXIT_IOAPIC_EOI;
        run->eoi.vector = (uint8_t)v->eoi_vector;
        v->eoi_vector = -1;
        return true;
    }
    if (unlikely(run->request_interrupt_window) && !vm_has_pic(v->vm) && events_ready_for_user(v)) {
        run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
        return true;
    }
    return false;
}

/* 0 or -errno: KVM_RUN's result.  As on Linux immediate_exit leaves exit_reason as it was. */
static int run_loop(struct vcpu *v)
{
    struct processor *p = v->processor;
    for (bool entered = false;;) {
        unsigned reason;
        processor_clear_kick(p);
        if (vmx_access_pending(p)) {
            /* An instruction that has begun is finished before anything else is looked at. */
            reason = vmx_complete(p);
        } else {
            int r = take_requests(v);
            if (r < 0)
                return r;
            if (*(volatile uint8_t *)&v->run->immediate_exit)
                return entered ? interrupted(v) : -EINTR;
            if (!entered)
                v->run->exit_reason = KVM_EXIT_UNKNOWN;
            entered = true;
            if (unlikely(v->mp_state != KVM_MP_STATE_RUNNABLE)) {
                r = wait_runnable(v);
                if (r < 0)
                    return r;
                continue;
            }
            if (exit_by_itself(v))
                return 0;
            steal_time_update(v);
            events_prepare(v);
            if (unlikely(v->msr.pv_eoi & 1))
                pv_eoi_offer(v);
            reason = vmx_enter(p);
            if (unlikely(v->eoi_offered))
                pv_eoi_take(v);
        }
        events_finish(v);
        int r = vcpu_handle_exit(v, reason);
        if (r <= 0)
            return r;
    }
}

/* ---------------------------------------------------------------- entry and return */

static int load_synced(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    uint64_t dirty = run->kvm_dirty_regs;
    /* Copies: user space may change them under our hands. */
    if ((run->kvm_valid_regs | dirty) & ~(uint64_t)KVM_SYNC_X86_VALID_FIELDS)
        return -EINVAL;
    if (dirty & KVM_SYNC_X86_REGS) {
        struct kvm_regs regs = run->s.regs.regs;
        state_set_regs(v, &regs);
    }
    if (dirty & KVM_SYNC_X86_SREGS) {
        struct kvm_sregs sregs = run->s.regs.sregs;
        if (state_set_sregs(v, &sregs) < 0)
            return -EINVAL;
    }
    if (dirty & KVM_SYNC_X86_EVENTS) {
        struct kvm_vcpu_events events = run->s.regs.events;
        if (events_set(v, &events) < 0)
            return -EINVAL;
    }
    run->kvm_dirty_regs &= ~dirty;
    return 0;
}

static void store_synced(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    uint64_t valid = run->kvm_valid_regs;
    if (valid & KVM_SYNC_X86_REGS)
        state_get_regs(v, &run->s.regs.regs);
    if (valid & KVM_SYNC_X86_SREGS)
        state_get_sregs(v, &run->s.regs.sregs);
    if (valid & KVM_SYNC_X86_EVENTS)
        events_get(v, &run->s.regs.events);
}

static void store_common(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    run->if_flag = !!(v->processor->rflags & FLAG_IF);
    run->cr8 = v->lapic ? lapic_get_cr8(v->lapic) : v->processor->cr8;
    run->apic_base = vcpu_apic_base(v);
    run->ready_for_interrupt_injection = events_ready_for_user(v);
}

/* An application processor that was never started waits for INIT here; as on Linux its first
 * KVM_RUN then returns -EAGAIN. */
static int wait_first_init(struct vcpu *v)
{
    if (*(volatile uint8_t *)&v->run->immediate_exit)
        return -EINTR;
    while (v->mp_state == KVM_MP_STATE_UNINITIALIZED) {
        if (take_requests(v) < 0)
            return -EINTR;
        if (v->mp_state == KVM_MP_STATE_UNINITIALIZED && sleep_until_request(v) < 0)
            return interrupted(v);
    }
    return -EAGAIN;
}

static long run_checked(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    if (v->mp_state == KVM_MP_STATE_UNINITIALIZED)
        return wait_first_init(v);
    int r = load_synced(v);
    if (r < 0)
        return r;
    if (!v->lapic) {
        if (run->cr8 > 15)
            return -EINVAL;
        v->processor->cr8 = run->cr8;
    }
    if (v->complete) {
        void (*complete)(struct vcpu *) = v->complete;
        v->complete = NULL;
        complete(v);
    }
    v->has_run = true;
    steal_time_enter(v);
    r = run_loop(v);
    steal_time_leave(v);
    store_synced(v);
    return r;
}

long vcpu_run(struct vcpu *v)
{
    if (unlikely(!v->run)) {
        pthread_mutex_lock(&v->vm->lock);
        int r = vcpu_map_run(v);
        pthread_mutex_unlock(&v->vm->lock);
        if (r < 0)
            return r;
    }
    v->run->flags = 0;
    long r = run_checked(v);
    store_common(v);
    return r;
}
