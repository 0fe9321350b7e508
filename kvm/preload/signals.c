/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signals end KVM_RUN.
 *
 * Linux looks for signals in the kernel, and runs their handlers when KVM_RUN has returned.  Here
 * every handler that the program installs stands behind one of ours.  When it is called during a
 * KVM_RUN it kicks the vCPU, sends the signal to the thread again and leaves it blocked; KVM_RUN
 * returns, the signal is unblocked, and the program's handler runs, outside of our code, free to
 * jump away.
 */
#include "preload.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SIGNALS       64
#define SIGNAL_BIT(s) (1ull << ((s)-1))

/* Faults cannot wait, nor abort's signal. */
#define NEVER_DEFERRED                                                                             \
    (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGILL) |          \
     SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGABRT) | SIGNAL_BIT(SIGSYS))

typedef void handler(int signal, siginfo_t *info, void *context);

/* The process's handlers, as the kernel's table has ours. */
static struct {
    _Atomic(handler *) handler[SIGNALS + 1];
    _Atomic uint64_t with_info; /* SA_SIGINFO */
    _Atomic uint64_t one_shot;  /* SA_RESETHAND: cannot be sent again */
} actions;

/* What this thread runs.  Found by handlers without a call into the dynamic linker. */
static __thread struct {
    struct tkvm_file *volatile vcpu; /* in KVM_RUN, or NULL */
    volatile uint64_t deferred;      /* signals that wait for its end */
    volatile bool handled;           /* a handler was called in it */
    bool masked;                     /* it has a mask of its own, and the thread's is: */
    sigset_t before;
    int cancel_type; /* of the thread outside KVM_RUN */
} running __attribute__((tls_model("initial-exec")));

/* The first 64 bits of a sigset_t are the kernel's. */
static uint64_t mask_bits(const sigset_t *set)
{
    uint64_t bits;
    memcpy(&bits, set, sizeof(bits));
    return bits;
}

static sigset_t mask_set(uint64_t bits)
{
    sigset_t set;
    sigemptyset(&set);
    memcpy(&set, &bits, sizeof(bits));
    return set;
}

/* ---------------------------------------------------------------- handlers */

/* Blocks the signal beyond this handler's return, and sends it again.  False: it was not. */
static bool defer(int signal, siginfo_t *info, ucontext_t *context)
{
    uint64_t bit = SIGNAL_BIT(signal);
    pid_t process = getpid(), thread = (pid_t)syscall(SYS_gettid);
    sigset_t set = mask_set(bit), before;
    pthread_sigmask(SIG_BLOCK, &set, &before);
    long r = atomic_load(&actions.with_info) & bit
                 ? syscall(SYS_rt_tgsigqueueinfo, process, thread, signal, info)
                 : syscall(SYS_tgkill, process, thread, signal);
    if (r < 0) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return false;
    }
    sigaddset(&context->uc_sigmask, signal);
    running.deferred |= bit;
    return true;
}

static void trampoline(int signal, siginfo_t *info, void *context)
{
    if (running.vcpu && !(NEVER_DEFERRED & SIGNAL_BIT(signal))) {
        int saved = errno;
        running.handled = true;
        tkvm_kick(running.vcpu);
        bool deferred =
            !(atomic_load(&actions.one_shot) & SIGNAL_BIT(signal)) && defer(signal, info, context);
        errno = saved;
        if (deferred)
            return;
    }
    /* A handler of one argument ignores the others. */
    atomic_load (&actions.handler[signal])(signal, info, context);
}

static void set_bit(_Atomic uint64_t *bits, uint64_t bit, bool on)
{
    if (on)
        atomic_fetch_or(bits, bit);
    else
        atomic_fetch_and(bits, ~bit);
}

EXPORT int sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    if (signal < 1 || signal > SIGNALS)
        return NEXT(sigaction)(signal, action, old);
    struct sigaction ours, before;
    handler *previous = atomic_load(&actions.handler[signal]);
    bool handled = action && action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
    if (action)
        ours = *action;
    if (handled) {
        ours.sa_sigaction = trampoline;
        atomic_store(&actions.handler[signal], action->sa_sigaction);
        set_bit(&actions.with_info, SIGNAL_BIT(signal), action->sa_flags & SA_SIGINFO);
        set_bit(&actions.one_shot, SIGNAL_BIT(signal), action->sa_flags & (int)SA_RESETHAND);
    }
    int r = NEXT(sigaction)(signal, action ? &ours : NULL, &before);
    if (r < 0) {
        if (handled)
            atomic_store(&actions.handler[signal], previous);
        return r;
    }
    if (old) {
        if (before.sa_sigaction == trampoline)
            before.sa_sigaction = previous;
        *old = before;
    }
    return 0;
}

static sighandler_t install(int signal, sighandler_t function, int flags)
{
    struct sigaction action = {.sa_handler = function, .sa_flags = flags}, old;
    sigemptyset(&action.sa_mask);
    if (function == SIG_ERR) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return sigaction(signal, &action, &old) < 0 ? SIG_ERR : old.sa_handler;
}

EXPORT sighandler_t signal(int number, sighandler_t function)
{
    return install(number, function, SA_RESTART);
}

EXPORT sighandler_t ssignal(int number, sighandler_t function)
{
    return install(number, function, SA_RESTART);
}

EXPORT sighandler_t sysv_signal(int number, sighandler_t function)
{
    return install(number, function, (int)SA_RESETHAND | SA_NODEFER);
}

EXPORT sighandler_t __sysv_signal(int number, sighandler_t function)
{
    return sysv_signal(number, function);
}

/* ---------------------------------------------------------------- KVM_RUN */

/* Signals without a handler that the thread blocks. */
static uint64_t unhandled(uint64_t blocked)
{
    for (int s = 1; s <= SIGNALS; s++) {
        struct sigaction action;
        if (blocked & SIGNAL_BIT(s) && NEXT(sigaction)(s, NULL, &action) == 0 &&
            action.sa_sigaction == trampoline)
            blocked &= ~SIGNAL_BIT(s);
    }
    return blocked;
}

static bool is_pending(uint64_t signals)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && mask_bits(&pending) & signals;
}

/* Whether something ended KVM_RUN that counts, and not the kick of a sender whose signal the
 * program had taken before the kick came, or that was ignored. */
static bool is_interrupted(struct object *o, uint64_t mask)
{
    return running.handled || is_pending(~mask) || tkvm_immediate_exit(o->file) ||
           running.cancel_type == PTHREAD_CANCEL_ASYNCHRONOUS;
}

/* KVM_RUN with KVM_SET_SIGNAL_MASK's mask.  A signal that it lets in ends KVM_RUN, and stays
 * pending if the thread blocks it otherwise.  One without a handler stays blocked all the time, and
 * whoever sends it to the thread kicks the vCPU, or it is seen at the next KVM_RUN. */
static long run_masked(struct object *o, unsigned long request, unsigned long argument)
{
    uint64_t mask = atomic_load(&o->mask);
    pthread_sigmask(SIG_BLOCK, NULL, &running.before);
    sigset_t set = mask_set(mask | unhandled(mask_bits(&running.before))), all;
    sigfillset(&all);
    running.masked = true;
    atomic_store(&o->runner, pthread_self());
    long r;
    do {
        if (is_pending(~mask))
            tkvm_kick(o->file);
        running.handled = false;
        running.vcpu = o->file;
        pthread_sigmask(SIG_SETMASK, &set, NULL);
        r = tkvm_ioctl(o->file, request, argument, NULL);
        /* What the mask let in and the thread blocks is not to be handled after KVM_RUN. */
        pthread_sigmask(SIG_SETMASK, &all, NULL);
        running.vcpu = NULL;
        tkvm_clear_kick(o->file);
    } while (r == -EINTR && !is_interrupted(o, mask));
    return r;
}

/* A thread that may be cancelled at any time must not be so in the midst of KVM_RUN, which would
 * leave the VM waiting for a thread that is gone: whoever cancels it kicks the vCPU instead, and
 * the cancellation waits for signals_resume.  (An ioctl is no cancellation point.) */
static void hold_cancellation(struct object *o)
{
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &running.cancel_type);
    if (running.cancel_type != PTHREAD_CANCEL_ASYNCHRONOUS)
        return;
    /* Who cancels must find us from the moment on that we can no longer be cancelled. */
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    atomic_store(&o->runner, pthread_self());
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
}

static void end_kicks(struct object *o)
{
    if (!atomic_load(&o->runner))
        return;
    atomic_store(&o->runner, (pthread_t)0);
    tkvm_clear_kick(o->file);
}

long signals_run(struct object *o, unsigned long request, unsigned long argument)
{
    long r;
    running.deferred = 0;
    hold_cancellation(o);
    if (atomic_load(&o->masked)) {
        r = run_masked(o, request, argument);
    } else {
        running.vcpu = o->file;
        r = tkvm_ioctl(o->file, request, argument, NULL);
        running.vcpu = NULL;
        /* A kick that came too late to end this KVM_RUN ends no other. */
        if (running.deferred)
            tkvm_clear_kick(o->file);
    }
    end_kicks(o);
    return r;
}

void signals_resume(void)
{
    uint64_t deferred = running.deferred;
    running.deferred = 0;
    if (running.masked) {
        running.masked = false;
        sigset_t before = running.before;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    } else if (deferred) {
        sigset_t set = mask_set(deferred);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    if (running.cancel_type == PTHREAD_CANCEL_ASYNCHRONOUS) {
        running.cancel_type = PTHREAD_CANCEL_DEFERRED;
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL); /* does not return if cancelled */
    }
}

bool signals_in_run(void)
{
    return running.vcpu;
}

/* ---------------------------------------------------------------- senders */

EXPORT int pthread_kill(pthread_t thread, int number)
{
    int r = NEXT(pthread_kill)(thread, number);
    if (r == 0 && number)
        object_kick_runner(thread);
    return r;
}

EXPORT int pthread_cancel(pthread_t thread)
{
    int r = NEXT(pthread_cancel)(thread);
    if (r == 0)
        object_kick_runner(thread);
    return r;
}
