/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals at any instruction, from a timer and from another processor, whose handler spoils all
 * that a handler may: what is interrupted must not notice. */
#include "strain.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static struct {
    pid_t target;
    _Atomic bool end;
    _Atomic unsigned handled;
    volatile double spoiled;
} storm;

static void on_signal(int signal)
{
    atomic_fetch_add(&storm.handled, 1);
    storm.spoiled = storm.spoiled * 0.5 + signal;
    asm volatile("pcmpeqd %%xmm0, %%xmm0\n movdqa %%xmm0, %%xmm7\n movdqa %%xmm0, %%xmm15\n"
                 "fninit\n fldpi\n fldl2e\n faddp\n fstp %%st(0)\n"
                 "xor %%eax, %%eax\n not %%rax\n add $1, %%rax\n"
                 :
                 :
                 : "rax", "xmm0", "xmm7", "xmm15", "cc", "memory");
}

static void *stormer(void *unused)
{
    (void)unused;
    pid_t process = getpid();
    for (unsigned n = 0; !atomic_load(&storm.end); n++) {
        syscall(SYS_tgkill, process, storm.target, SIGUSR1);
        for (unsigned k = 0; k < n % 50; k++)
            asm volatile("pause");
        if (n % 8 == 0)
            sched_yield();
    }
    return NULL;
}

/* Calls FN(ROUNDS) in the storm, until both it has ended and some signals came. */
static uint64_t in_storm(uint64_t (*fn)(unsigned), unsigned rounds)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval timer = {.it_interval.tv_usec = 300, .it_value.tv_usec = 300};
    sigset_t set, before;
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
    storm.target = (pid_t)syscall(SYS_gettid);
    storm.end = false;
    storm.handled = 0;
    uint64_t calm = fn(rounds), sum;
    sigemptyset(&set); /* the timer's signals are ours, too */
    sigaddset(&set, SIGALRM);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &before) == 0);
    pthread_t thread = beside(stormer, NULL);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    do {
        sum = fn(rounds);
        if (sum != calm)
            FAIL("%#llx amid signals, %#llx without", (unsigned long long)sum,
                 (unsigned long long)calm);
    } while (atomic_load(&storm.handled) < rounds / 4 + 1);
    memset(&timer, 0, sizeof(timer));
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    atomic_store(&storm.end, true);
    pthread_join(thread, NULL);
    return sum;
}

static uint64_t compute(unsigned rounds)
{
    uint64_t sum = 1, bits;
    double x = 0.5;
    for (unsigned n = 0; n < 2000 * rounds; n++) {
        x = 3.9 * x * (1 - x);
        sum = mix(sum, n % 7 ? sum >> 3 : sum / 5);
        memcpy(&bits, &x, 8);
        sum ^= bits;
    }
    return sum;
}

uint64_t signal_compute(unsigned rounds)
{
    return in_storm(compute, rounds);
}

/* All general and XMM registers hold values of their own over a loop. */
static uint64_t registers(unsigned rounds)
{
    uint64_t frame[2] = {5000ull * rounds, 0};
    asm volatile("push %%rbp\n push %%rbx\n push %%rdi\n"
                 "mov $0x1001, %%eax\n mov $0x1002, %%ebx\n mov $0x1003, %%edx\n"
                 "mov $0x1004, %%esi\n mov $0x1005, %%ebp\n mov $0x1006, %%r8d\n"
                 "mov $0x1007, %%r9d\n mov $0x1008, %%r10d\n mov $0x1009, %%r11d\n"
                 "mov $0x100a, %%r12d\n mov $0x100b, %%r13d\n mov $0x100c, %%r14d\n"
                 "mov $0x100d, %%r15d\n mov (%%rdi), %%rcx\n"
                 "movq %%rax, %%xmm0\n movq %%rbx, %%xmm1\n movq %%rdx, %%xmm2\n"
                 "movq %%rsi, %%xmm3\n movq %%rbp, %%xmm4\n movq %%r8, %%xmm5\n"
                 "movq %%r9, %%xmm6\n movq %%r10, %%xmm7\n movq %%r11, %%xmm8\n"
                 "movq %%r12, %%xmm9\n movq %%r13, %%xmm10\n movq %%r14, %%xmm11\n"
                 "movq %%r15, %%xmm12\n movq %%rax, %%xmm13\n movq %%rbx, %%xmm14\n"
                 "movq %%rdx, %%xmm15\n"
                 "1: add $1, %%rax\n add $2, %%rbx\n add $3, %%rdx\n add $4, %%rsi\n"
                 "add $5, %%rbp\n add $6, %%r8\n add $7, %%r9\n add $8, %%r10\n add $9, %%r11\n"
                 "add $10, %%r12\n add $11, %%r13\n add $12, %%r14\n add $13, %%r15\n"
                 "paddq %%xmm1, %%xmm0\n paddq %%xmm3, %%xmm2\n paddq %%xmm5, %%xmm4\n"
                 "paddq %%xmm7, %%xmm6\n paddq %%xmm9, %%xmm8\n paddq %%xmm11, %%xmm10\n"
                 "paddq %%xmm13, %%xmm12\n paddq %%xmm15, %%xmm14\n"
                 "dec %%rcx\n jnz 1b\n"
                 "xor %%rbx, %%rax\n rol $7, %%rax\n xor %%rdx, %%rax\n rol $7, %%rax\n"
                 "xor %%rsi, %%rax\n rol $7, %%rax\n xor %%rbp, %%rax\n rol $7, %%rax\n"
                 "xor %%r8, %%rax\n rol $7, %%rax\n xor %%r9, %%rax\n rol $7, %%rax\n"
                 "xor %%r10, %%rax\n rol $7, %%rax\n xor %%r11, %%rax\n rol $7, %%rax\n"
                 "xor %%r12, %%rax\n rol $7, %%rax\n xor %%r13, %%rax\n rol $7, %%rax\n"
                 "xor %%r14, %%rax\n rol $7, %%rax\n xor %%r15, %%rax\n"
                 "paddq %%xmm2, %%xmm0\n psllq $1, %%xmm0\n paddq %%xmm4, %%xmm0\n"
                 "psllq $1, %%xmm0\n paddq %%xmm6, %%xmm0\n psllq $1, %%xmm0\n"
                 "paddq %%xmm8, %%xmm0\n psllq $1, %%xmm0\n paddq %%xmm10, %%xmm0\n"
                 "psllq $1, %%xmm0\n paddq %%xmm12, %%xmm0\n psllq $1, %%xmm0\n"
                 "paddq %%xmm14, %%xmm0\n movq %%xmm0, %%rbx\n xor %%rbx, %%rax\n"
                 "pop %%rdi\n pop %%rbx\n pop %%rbp\n mov %%rax, 8(%%rdi)\n"
                 :
                 : "D"(frame)
                 : "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                   "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
    return frame[1];
}

uint64_t signal_registers(unsigned rounds)
{
    return in_storm(registers, rounds);
}

/* The x87 stack, rounding by a control word of our own. */
static uint64_t x87(unsigned rounds)
{
    uint16_t control = 0x0f7f, old; /* 64 bits, towards zero */
    double out[2];
    uint64_t sum = 0, bits;
    asm volatile("fnstcw %0" : "=m"(old));
    for (unsigned n = 0; n < rounds; n++) {
        uint64_t count = 500;
        asm volatile("fldcw %[control]\n fld1\n fldpi\n fldl2t\n fldz\n"
                     "1: fadd %%st(1), %%st\n fmul %%st(3), %%st\n fxch %%st(2)\n"
                     "fsub %%st(3), %%st\n fxch %%st(2)\n dec %[count]\n jnz 1b\n"
                     "fstpl %[a]\n fstp %%st(0)\n fstpl %[b]\n fstp %%st(0)\n fldcw %[old]\n"
                     : [a] "=m"(out[0]), [b] "=m"(out[1]), [count] "+r"(count)
                     : [control] "m"(control), [old] "m"(old)
                     : "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
        for (unsigned k = 0; k < 2; k++) {
            memcpy(&bits, &out[k], 8);
            sum = mix(sum, bits);
        }
    }
    return sum;
}

uint64_t signal_x87(unsigned rounds)
{
    return in_storm(x87, rounds);
}

/* A carry that lives in the flags over a long addition. */
static uint64_t flags(unsigned rounds)
{
    uint64_t sum = 0;
    for (unsigned n = 0; n < rounds; n++) {
        uint64_t carry, count = 1000, low = ~0ull - n, high = 7 * n;
        asm volatile("stc\n"
                     "1: adc $0, %[low]\n adc %[low], %[high]\n lea -1(%[count]), %[count]\n"
                     "jrcxz 2f\n jmp 1b\n"
                     "2: sbb %[carry], %[carry]\n"
                     : [low] "+r"(low), [high] "+r"(high), [count] "+c"(count), [carry] "=r"(carry)
                     :
                     : "cc");
        sum = mix(mix(mix(sum, low), high), carry);
    }
    return sum;
}

uint64_t signal_flags(unsigned rounds)
{
    return in_storm(flags, rounds);
}
