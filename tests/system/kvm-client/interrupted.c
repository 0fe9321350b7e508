/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_RUN is ended by signals, by cancellation, by immediate_exit, and by memory that goes away. */
#include "client.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t handled, handled_value;
static sigjmp_buf away;

static void on_signal(int number)
{
    handled_value = number;
    handled++;
}

static void on_signal_info(int number, siginfo_t *info, void *context)
{
    (void)context;
    CHECK(info->si_signo == number && info->si_pid == getpid());
    handled_value = info->si_value.sival_int;
    handled++;
}

static void jump_away(int number)
{
    (void)number;
    siglongjmp(away, 1);
}

struct sender {
    const struct guest *g;
    pthread_t target;
    bool to_process;
    int ignored; /* signals that do nothing to be sent first */
};

static void *send_when_running(void *opaque)
{
    const struct sender *s = opaque;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    wait_running(s->g);
    for (int i = 0; i < s->ignored; i++) {
        CHECK(pthread_kill(s->target, SIGURG) == 0);
        usleep(1000);
    }
    if (s->to_process)
        CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 1234}) == 0);
    else
        CHECK(pthread_kill(s->target, SIGUSR1) == 0);
    return NULL;
}

/* KVM_RUN of a guest that never exits, ended by SIGUSR1. */
static void run_until_signal(struct guest *g, bool to_process)
{
    struct sender s = {.g = g, .target = pthread_self(), .to_process = to_process};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, send_when_running, &s) == 0);
    CHECK_FAILS(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
    CHECK(g->run->exit_reason == KVM_EXIT_INTR);
    CHECK(pthread_join(thread, NULL) == 0);
}

void case_signal_thread(void)
{
    struct guest g;
    guest_new(&g, code_count, sizeof(code_count));
    CHECK(signal(SIGUSR1, on_signal) == SIG_DFL);
    for (int i = 1; i <= 20; i++) {
        run_until_signal(&g, false);
        CHECK(handled == i && handled_value == SIGUSR1);
    }
    CHECK(signal(SIGUSR1, SIG_IGN) == on_signal);
    CHECK(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    guest_free(&g);
}

static void *run_cancellable(void *opaque)
{
    struct guest *g = opaque;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    CHECK(ioctl(g->vcpu, KVM_RUN, 0) == 12345); /* does not return */
    return NULL;
}

/* A thread that is cancelled in KVM_RUN leaves a VM that still works. */
void case_cancel(void)
{
    for (int i = 0; i < 20; i++) {
        struct guest g;
        pthread_t thread;
        void *result;
        guest_new(&g, code_count, sizeof(code_count));
        CHECK(pthread_create(&thread, NULL, run_cancellable, &g) == 0);
        if (i % 4) /* else as early as can be */
            wait_running(&g);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
        /* A change of memory waits for vCPUs that run; none does. */
        struct kvm_userspace_memory_region none = {.slot = 0};
        CHECK(ioctl(g.vm, KVM_SET_USER_MEMORY_REGION, &none) == 0);
        guest_free(&g);
    }
}

static void *take_memory(void *opaque)
{
    struct guest *g = opaque;
    wait_running(g);
    CHECK(munmap(g->memory, 4096) == 0);
    return NULL;
}

/* Memory that goes away under a guest that runs on it is an error of KVM_RUN, not a signal. */
void case_unmapped(void)
{
    for (int i = 0; i < 10; i++) {
        struct guest g;
        pthread_t thread;
        guest_new(&g, code_count, sizeof(code_count));
        CHECK(pthread_create(&thread, NULL, take_memory, &g) == 0);
        CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EFAULT);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EFAULT);
        /* What is mapped there now is what the guest sees. */
        CHECK(mmap(g.memory, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
              g.memory);
        CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EFAULT);
        CHECK(mprotect(g.memory, 4096, PROT_READ | PROT_WRITE) == 0);
        CHECK(pthread_create(&thread, NULL, take_memory, &g) == 0);
        CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EFAULT);
        CHECK(pthread_join(thread, NULL) == 0);
        guest_free(&g);
    }
}

void case_signal_process(void)
{
    struct guest g;
    struct sigaction action = {.sa_sigaction = on_signal_info, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction old;
    guest_new(&g, code_count, sizeof(code_count));
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sigaction(SIGUSR1, NULL, &old) == 0);
    CHECK(old.sa_sigaction == on_signal_info && old.sa_flags & SA_SIGINFO);
    for (int i = 1; i <= 20; i++) {
        run_until_signal(&g, true);
        CHECK(handled == i && handled_value == 1234);
    }
    guest_free(&g);
}

void case_signal_timer(void)
{
    struct guest g;
    struct itimerval often = {.it_interval.tv_usec = 2000, .it_value.tv_usec = 2000};
    guest_new(&g, code_count, sizeof(code_count));
    CHECK(signal(SIGALRM, on_signal) == SIG_DFL);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; i < 50; i++)
        CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EINTR);
    CHECK(handled >= 50);
    guest_free(&g);
}

/* A handler may leave by siglongjmp; the vCPU goes on afterwards. */
void case_signal_jump(void)
{
    struct guest g;
    guest_new(&g, code_count, sizeof(code_count));
    CHECK(signal(SIGUSR1, jump_away) == SIG_DFL);
    for (volatile int i = 0; i < 5; i++) {
        struct sender s = {.g = &g, .target = pthread_self()};
        pthread_t thread;
        if (!sigsetjmp(away, 1)) {
            CHECK(pthread_create(&thread, NULL, send_when_running, &s) == 0);
            ioctl(g.vcpu, KVM_RUN, 0);
            CHECK(!"KVM_RUN returned");
        }
        struct kvm_regs regs;
        CHECK(ioctl(g.vcpu, KVM_GET_REGS, &regs) == 0);
        CHECK(regs.rip >= CODE && regs.rip < CODE + sizeof(code_count));
    }
    guest_free(&g);
}

static void set_mask(struct guest *g, uint64_t mask)
{
    struct {
        struct kvm_signal_mask header;
        uint8_t set[8];
    } argument = {.header.len = 8};
    memcpy(argument.header.sigset, &mask, sizeof(mask));
    CHECK(ioctl(g->vcpu, KVM_SET_SIGNAL_MASK, &argument) == 0);
}

/* With KVM_SET_SIGNAL_MASK a signal that the thread blocks ends KVM_RUN and stays pending, with a
 * handler or without. */
void case_signal_mask(void)
{
    struct guest g;
    sigset_t set, pending;
    struct timespec now = {0};
    guest_new(&g, code_count, sizeof(code_count));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    set_mask(&g, 0);
    for (int i = 0; i < 10; i++) {
        CHECK(signal(SIGUSR1, i % 2 ? on_signal : SIG_DFL) != SIG_ERR);
        run_until_signal(&g, false);
        CHECK(handled == 0);
        CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
        /* Still pending: it ends the next one as well. */
        CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EINTR);
        CHECK(sigtimedwait(&set, NULL, &now) == SIGUSR1);
    }
    guest_free(&g);
}

/* A signal that is ignored ends nothing. */
void case_signal_ignored(void)
{
    struct guest g;
    sigset_t set, pending;
    guest_new(&g, code_count, sizeof(code_count));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    set_mask(&g, 0);
    struct sender s = {.g = &g, .target = pthread_self(), .ignored = 20};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, send_when_running, &s) == 0);
    CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EINTR);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
    CHECK(pthread_join(thread, NULL) == 0);
    guest_free(&g);
}

void case_immediate_exit(void)
{
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    g.run->immediate_exit = 1;
    CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EINTR);
    g.run->immediate_exit = 0;
    run_to(&g, KVM_EXIT_IO);
    run_to(&g, KVM_EXIT_IO);
    /* The input is taken before the exit. */
    *((char *)g.run + g.run->io.data_offset) = 'z';
    g.run->immediate_exit = 1;
    CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EINTR);
    CHECK(g.run->exit_reason == KVM_EXIT_IO); /* as it was */
    struct kvm_regs regs;
    CHECK(ioctl(g.vcpu, KVM_GET_REGS, &regs) == 0);
    CHECK((regs.rax & 0xff) == 'z' && regs.rip == CODE + 6);
    guest_free(&g);
}
