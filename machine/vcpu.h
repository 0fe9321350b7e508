/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vCPUs: a thread each, which enters the guest and serves its exits while machine->hold is 0.
 *
 * A vCPU that is outside (see vcpu_wait_outside) may be looked at and changed from any thread.
 */
#ifndef TRAPEZE_VCPU_H
#define TRAPEZE_VCPU_H

#include "machine.h"

#define VCPU_EXIT_REASONS 64

struct vcpu_state;

struct vcpu {
    struct machine *machine;
    unsigned index;             /* also its APIC id */
    struct engine_file *file;
    struct kvm_run *run;
    pthread_t thread;
    bool started;
    bool outside;               /* guarded by machine->lock */
    struct vcpu_state *initial; /* as it was at power-on */
    uint64_t exits[VCPU_EXIT_REASONS]; /* by KVM_EXIT_*; the thread's own while it runs */
};

/* Creates vCPU INDEX with the machine's CPU model; no thread yet.  NULL with ERROR set. */
struct vcpu *vcpu_new(struct machine *m, unsigned index, GError **error);
void vcpu_free(struct vcpu *v);

/* Starts its thread, which stays outside the guest while machine->hold is not 0. */
bool vcpu_start(struct vcpu *v, GError **error);
/* Makes it look at machine->hold; any thread. */
void vcpu_kick(struct vcpu *v);
/* Returns when it is outside the guest; machine->hold must be raised.  Not from its own thread. */
void vcpu_wait_outside(struct vcpu *v);
/* Waits for the end of its thread, after machine->quitting. */
void vcpu_join(struct vcpu *v);

/* ---- vcpu-state.c ---- */

/* All architectural state, by value.  NULL with ERROR set. */
struct vcpu_state *vcpu_state_get(struct vcpu *v, GError **error);
bool vcpu_state_set(struct vcpu *v, const struct vcpu_state *s, GError **error);
void vcpu_state_free(struct vcpu_state *s);

#endif
