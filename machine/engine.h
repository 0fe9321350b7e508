/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The seam as the machine sees it: KVM requests to Linux's /dev/kvm by descriptor, or to Trapeze's
 * own engine by function call.  Everything above speaks linux/kvm.h through these few calls and
 * does not know which of the two answers.
 */
#ifndef TRAPEZE_ENGINE_H
#define TRAPEZE_ENGINE_H

#include "common/base/log.h"

#include <glib.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>

/* Interrupts KVM_RUN on Linux's engine; vCPU threads leave it unblocked. */
#define ENGINE_KICK_SIGNAL (SIGRTMIN + 4)

/* An open KVM object: the system, a VM, a vCPU. */
struct engine_file;

enum engine_choice { ENGINE_AUTO, ENGINE_KVM, ENGINE_SOFTWARE };

struct engine_ops {
    const char *name; /* "kvm", "software" */
    /* Opens the system object, or returns NULL with ERROR set. */
    struct engine_file *(*open)(const struct log_sink *sink, GError **error);
    /* As tkvm_ioctl: >= 0 or -errno; *created is the new object of requests that create one. */
    long (*ioctl)(struct engine_file *f, unsigned long request, unsigned long argument,
                  struct engine_file **created);
    /* Maps a vCPU's struct kvm_run; NULL and errno on failure.  Undone by close. */
    void *(*mmap)(struct engine_file *f, size_t length);
    void (*close)(struct engine_file *f);
    /* Makes KVM_RUN of VCPU, in THREAD, return -EINTR soon; any thread. */
    void (*kick)(struct engine_file *vcpu, struct kvm_run *run, pthread_t thread);
};

extern const struct engine_ops engine_kernel;   /* Linux's /dev/kvm */
extern const struct engine_ops engine_software; /* kvm/ */

/* An engine chosen and opened. */
struct engine {
    const struct engine_ops *ops;
    struct engine_file *system;
    char *why;     /* "/dev/kvm only emulates (1.9 million instructions a second)" */
    bool extended; /* KVM_CAP_TRAPEZE */
};

/* What the probe guest found out about /dev/kvm. */
struct engine_probe {
    bool present;                   /* /dev/kvm exists */
    bool usable;                    /* it opened, and the guest ran to its end */
    bool hardware;                  /* at hardware speed, SSE included */
    double instructions_per_second; /* of the timed loop; 0 when it never ran */
    char *text;                     /* one clause that says all that */
};

/* Runs the probe guest on /dev/kvm: long mode, an SSE instruction, a timed loop; two
 * seconds even where it hangs.  Never fails; release with engine_probe_clear. */
void engine_probe_kernel(struct engine_probe *probe);
void engine_probe_clear(struct engine_probe *probe);

/* Opens the engine that CHOICE asks for; `auto` probes /dev/kvm and says in engine->why what it
 * took and why.  SINK must outlive the engine.  Returns NULL with ERROR set. */
struct engine *engine_new(enum engine_choice choice, const struct log_sink *sink, GError **error);
void engine_free(struct engine *e);

/* ioctl on F: >= 0 or -errno. */
long engine_ioctl(struct engine *e, struct engine_file *f, unsigned long request,
                  unsigned long argument);
#define engine_ioctl_pointer(e, f, request, pointer)                                               \
    engine_ioctl(e, f, request, (unsigned long)(uintptr_t)(pointer))

#endif
