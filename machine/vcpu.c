/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vCPU's thread and its run loop: enter the guest, serve the exit by a table, enter again. */
#include "vcpu.h"

#include "core.h"
#include "cpu-model.h"
#include "gdb/gdb.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- exits ---- */

typedef void exit_fn(struct machine_vcpu *v);

static void exit_io(struct machine_vcpu *v)
{
    struct kvm_run *run = v->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned size = run->io.size;

    for (unsigned i = 0; i < run->io.count; i++, data += size) {
        uint64_t value = 0;

        if (run->io.direction == KVM_EXIT_IO_IN) {
            value = space_read(v->machine, SPACE_PIO, run->io.port, size);
            memcpy(data, &value, size);
        } else {
            memcpy(&value, data, size);
            space_write(v->machine, SPACE_PIO, run->io.port, value, size);
        }
    }
}

static void exit_mmio(struct machine_vcpu *v)
{
    struct kvm_run *run = v->run;
    unsigned size = MIN(run->mmio.len, 8);
    uint64_t value = 0;

    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, size);
        space_write(v->machine, SPACE_MMIO, run->mmio.phys_addr, value, size);
    } else {
        value = space_read(v->machine, SPACE_MMIO, run->mmio.phys_addr, size);
        memcpy(run->mmio.data, &value, size);
    }
}

/* With the engine's own interrupt controllers HLT waits inside; an exit means that nothing could
 * ever wake the vCPU. */
static void exit_hlt(struct machine_vcpu *v)
{
    machine_stop_error(v->machine, "vCPU %u halted with nothing to wake it", v->index);
}

static void exit_shutdown(struct machine_vcpu *v)
{
    if (v->machine->config->no_reboot) {
        machine_stop_error(v->machine, "vCPU %u shut down after a triple fault", v->index);
        return;
    }
    machine_log(v->machine, true, "vCPU %u shut down after a triple fault: resetting", v->index);
    machine_request_stop(v->machine, STOP_RESET, 0);
}

/* One line with where the guest stood, for errors that end the run. */
static char *where(struct machine_vcpu *v)
{
    struct kvm_regs r;
    struct kvm_sregs s;

    if (engine_ioctl_pointer(v->machine->engine, v->file, KVM_GET_REGS, &r) < 0 ||
        engine_ioctl_pointer(v->machine->engine, v->file, KVM_GET_SREGS, &s) < 0)
        return g_strdup("at an unknown place");
    return g_strdup_printf(
        "at cs:rip %04x:%" PRIx64 ", rsp %" PRIx64 ", rflags %" PRIx64 ", cr0 %" PRIx64
        ", cr2 %" PRIx64 ", cr3 %" PRIx64 ", cr4 %" PRIx64 ", efer %" PRIx64,
        s.cs.selector, (uint64_t)r.rip, (uint64_t)r.rsp, (uint64_t)r.rflags, (uint64_t)s.cr0,
        (uint64_t)s.cr2, (uint64_t)s.cr3, (uint64_t)s.cr4, (uint64_t)s.efer);
}

static void exit_internal_error(struct machine_vcpu *v)
{
    g_autofree char *place = where(v);
    struct kvm_run *run = v->run;
    GString *data = g_string_new(NULL);

    for (unsigned i = 0; i < MIN(run->internal.ndata, ARRAY_SIZE(run->internal.data)); i++)
        g_string_append_printf(data, " %" PRIx64, (uint64_t)run->internal.data[i]);
    machine_stop_error(
        v->machine, "the engine could not go on with vCPU %u (%s, KVM suberror %u, data%s) %s",
        v->index,
        run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? "an instruction it cannot execute"
                                                               : "an internal error",
        run->internal.suberror, data->str, place);
    g_string_free(data, TRUE);
}

static void exit_fail_entry(struct machine_vcpu *v)
{
    g_autofree char *place = where(v);

    machine_stop_error(v->machine,
                       "the processor refused to enter vCPU %u: reason 0x%" PRIx64 ", %s", v->index,
                       (uint64_t)v->run->fail_entry.hardware_entry_failure_reason, place);
}

static void exit_system_event(struct machine_vcpu *v)
{
    switch (v->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        machine_request_stop(v->machine, STOP_POWEROFF, 0);
        break;
    case KVM_SYSTEM_EVENT_RESET:
        machine_request_stop(v->machine, STOP_RESET, 0);
        break;
    default:
        machine_stop_error(v->machine, "the guest reported system event %u (a crash)",
                           v->run->system_event.type);
    }
}

/* Without a debugger it is a stray one. */
static void exit_debug(struct machine_vcpu *v)
{
    if (v->machine->gdb)
        gdb_debug_exit(v->machine->gdb, v);
}

static void exit_nothing(struct machine_vcpu *v)
{
    (void)v;
}

static exit_fn *const exit_handlers[VCPU_EXIT_REASONS] = {
    [KVM_EXIT_IO] = exit_io,
    [KVM_EXIT_MMIO] = exit_mmio,
    [KVM_EXIT_HLT] = exit_hlt,
    [KVM_EXIT_SHUTDOWN] = exit_shutdown,
    [KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
    [KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
    [KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
    [KVM_EXIT_DEBUG] = exit_debug,
    [KVM_EXIT_INTR] = exit_nothing,
    [KVM_EXIT_IRQ_WINDOW_OPEN] = exit_nothing,
};

/* The thread's own; others may read while it counts. */
static void count_exit(struct machine_vcpu *v, unsigned reason)
{
    __atomic_store_n(&v->exits[reason], v->exits[reason] + 1, __ATOMIC_RELAXED);
}

static void handle_exit(struct machine_vcpu *v)
{
    unsigned reason = v->run->exit_reason;
    exit_fn *handler = reason < VCPU_EXIT_REASONS ? exit_handlers[reason] : NULL;

    if (reason < VCPU_EXIT_REASONS)
        count_exit(v, reason);
    if (handler)
        handler(v);
    else
        machine_stop_error(v->machine,
                           "vCPU %u left the guest for a reason unknown here (KVM exit %u)",
                           v->index, reason);
}

/* ---- the thread ---- */

static bool is_held(struct machine_vcpu *v)
{
    return g_atomic_int_get(&v->machine->hold) || g_atomic_int_get(&v->held);
}

/* Stays outside the guest while the machine is held.  Returns false when the thread shall end. */
static bool wait_while_held(struct machine_vcpu *v)
{
    struct machine *m = v->machine;
    bool quitting;

    g_mutex_lock(&m->lock);
    v->outside = true;
    g_cond_broadcast(&m->changed);
    while (is_held(v) && !m->quitting)
        g_cond_wait(&m->changed, &m->lock);
    v->outside = m->quitting;
    quitting = m->quitting;
    g_mutex_unlock(&m->lock);
    return !quitting;
}

/* KVM finishes a port or MMIO access only at the next KVM_RUN: with immediate_exit that is all it
 * does, and the vCPU's state is whole afterwards. */
static void finish_access(struct machine_vcpu *v)
{
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (engine_ioctl(v->machine->engine, v->file, KVM_RUN, 0) == 0 &&
        v->run->exit_reason == KVM_EXIT_DEBUG)
        handle_exit(v); /* the instruction was stepped over */
}

static void run_guest(struct machine_vcpu *v)
{
    struct machine *m = v->machine;
    bool access_pending = false;

    for (;;) {
        __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        if (is_held(v)) {
            if (access_pending)
                finish_access(v);
            access_pending = false;
            if (!wait_while_held(v))
                return;
            continue;
        }
        long result = engine_ioctl(m->engine, v->file, KVM_RUN, 0);
        access_pending = false;
        if (result == 0) {
            handle_exit(v);
            access_pending =
                v->run->exit_reason == KVM_EXIT_IO || v->run->exit_reason == KVM_EXIT_MMIO;
        } else if (result == -EINTR) {
            count_exit(v, KVM_EXIT_INTR);
        } else if (result != -EAGAIN) {
            machine_stop_error(m, "vCPU %u: KVM_RUN: %s", v->index, g_strerror((int)-result));
        }
    }
}

/* Signals are the main thread's business, but the kick, and what the processor's own faults raise.
 */
static void block_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all, ENGINE_KICK_SIGNAL);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void *machine_vcpu_thread(void *data)
{
    struct machine_vcpu *v = data;
    char name[16];

    snprintf(name, sizeof name, "vcpu%u", v->index);
    pthread_setname_np(pthread_self(), name);
    block_signals();
    v->tid = gettid(); /* seen by others once this is outside */
    if (wait_while_held(v))
        run_guest(v);
    return NULL;
}

bool machine_vcpu_start(struct machine_vcpu *v, GError **error)
{
    int result = pthread_create(&v->thread, NULL, machine_vcpu_thread, v);

    if (result) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--cpus: cannot start a thread for vCPU %u: %s", v->index, g_strerror(result));
        return false;
    }
    v->started = true;
    machine_vcpu_wait_outside(v);
    return true;
}

void machine_vcpu_hold(struct machine_vcpu *v, bool held)
{
    g_mutex_lock(&v->machine->lock);
    g_atomic_int_set(&v->held, held);
    g_cond_broadcast(&v->machine->changed);
    g_mutex_unlock(&v->machine->lock);
}

void machine_vcpu_kick(struct machine_vcpu *v)
{
    if (v->started)
        v->machine->engine->ops->kick(v->file, v->run, v->thread);
}

void machine_vcpu_wait_outside(struct machine_vcpu *v)
{
    struct machine *m = v->machine;

    g_mutex_lock(&m->lock);
    while (v->started && !v->outside)
        g_cond_wait(&m->changed, &m->lock);
    g_mutex_unlock(&m->lock);
}

void machine_vcpu_join(struct machine_vcpu *v)
{
    if (v->started)
        pthread_join(v->thread, NULL);
    v->started = false;
}

struct machine_vcpu *machine_vcpu_new(struct machine *m, unsigned index, GError **error)
{
    struct machine_vcpu *v = g_new0(struct machine_vcpu, 1);
    const struct engine_ops *ops = m->engine->ops;
    long result, size;

    v->machine = m;
    v->index = index;
    result = ops->ioctl(m->vm, KVM_CREATE_VCPU, index, &v->file);
    if (result < 0) {
        core_error(error, m, "KVM_CREATE_VCPU", result);
        g_prefix_error(error, "--cpus: vCPU %u: ", index);
        machine_vcpu_free(v);
        return NULL;
    }
    size = engine_ioctl(m->engine, m->engine->system, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size >= (long)sizeof(struct kvm_run))
        v->run = ops->mmap(v->file, (size_t)size);
    if (!v->run) {
        core_error(error, m, "mmap of struct kvm_run", size < 0 ? size : -errno);
        machine_vcpu_free(v);
        return NULL;
    }
    if (cpu_model_apply(m->cpu_model, m, v->file, index, error))
        v->initial = machine_vcpu_state_get(v, error);
    if (!v->initial) {
        machine_vcpu_free(v);
        return NULL;
    }
    return v;
}

void machine_vcpu_free(struct machine_vcpu *v)
{
    if (!v)
        return;
    machine_vcpu_join(v);
    machine_vcpu_state_free(v->initial);
    if (v->file)
        v->machine->engine->ops->close(v->file);
    g_free(v);
}
