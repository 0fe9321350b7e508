/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vCPUs: a thread each, which enters the guest and serves its exits while machine->hold and its own
 * `held` are 0.
 *
 * A vCPU that is outside (see machine_vcpu_wait_outside) may be looked at and changed from any
 * thread.
 */
#ifndef TRAPEZE_VCPU_H
#define TRAPEZE_VCPU_H

#include "machine.h"

#define VCPU_EXIT_REASONS 64

struct machine_vcpu_state;

struct machine_vcpu {
    struct machine *machine;
    unsigned index; /* also its APIC id */
    struct engine_file *file;
    struct kvm_run *run;
    pthread_t thread;
    pid_t tid; /* the thread's number; set by machine_vcpu_start */
    bool started;
    bool outside;                       /* guarded by machine->lock */
    int held;                           /* it alone stays outside (atomic) */
    struct machine_vcpu_state *initial; /* as it was at power-on */
    uint64_t exits[VCPU_EXIT_REASONS];  /* by KVM_EXIT_*; read it atomically */
};

/* Creates vCPU INDEX with the machine's CPU model; no thread yet.  NULL with ERROR set. */
struct machine_vcpu *machine_vcpu_new(struct machine *m, unsigned index, GError **error);
void machine_vcpu_free(struct machine_vcpu *v);

/* Starts its thread, which stays outside the guest while machine->hold is not 0. */
bool machine_vcpu_start(struct machine_vcpu *v, GError **error);
/* Makes it look at machine->hold; any thread. */
void machine_vcpu_kick(struct machine_vcpu *v);
/* Returns when it is outside the guest; machine->hold must be raised.  Not from its own thread. */
void machine_vcpu_wait_outside(struct machine_vcpu *v);
/* Keeps it alone outside, or lets it in again, as far as machine->hold does.  From its own thread,
 * or while it is outside. */
void machine_vcpu_hold(struct machine_vcpu *v, bool held);
/* Waits for the end of its thread, after machine->quitting. */
void machine_vcpu_join(struct machine_vcpu *v);

/* ---- vcpu-state.c ---- */

/* All architectural state, by value.  NULL with ERROR set. */
struct machine_vcpu_state *machine_vcpu_state_get(struct machine_vcpu *v, GError **error);
bool machine_vcpu_state_set(struct machine_vcpu *v, const struct machine_vcpu_state *s,
                            GError **error);
void machine_vcpu_state_free(struct machine_vcpu_state *s);

#endif
