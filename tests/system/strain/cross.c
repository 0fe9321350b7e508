/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Code that another processor changes. */
#include "strain.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

static struct {
    uint8_t *code;
    unsigned rounds;
    _Atomic unsigned written, seen;
    _Atomic bool end;
} cross;

static void serialize(void)
{
    unsigned a = 0, b, c = 0, d;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

/* The function's constant stands on a multiple of 4, so that it is written at once. */
#define START 3

static void set_value(uint32_t value)
{
    atomic_store((_Atomic uint32_t *)(void *)(cross.code + START + 1), value);
}

static void begin(unsigned rounds)
{
    cross.code = pages(PAGE, RWX);
    cross.rounds = rounds;
    cross.written = cross.seen = 0;
    cross.end = false;
    write_function(cross.code + START, 0);
}

/* One round of waiting, which lets a sibling on the same processor run. */
static void wait_a_while(unsigned n)
{
    if (n % 64 == 63)
        sched_yield();
    else
        asm volatile("pause");
}

/* Writes, tells, and waits for the answer. */
static void *writer(void *unused)
{
    (void)unused;
    for (unsigned n = 1; n <= cross.rounds; n++) {
        set_value(n);
        atomic_store(&cross.written, n);
        for (unsigned k = 0; atomic_load(&cross.seen) != n; k++)
            wait_a_while(k);
    }
    return NULL;
}

/* Once told, and after a serializing instruction, the other runs the new code. */
uint64_t cross_modify(unsigned rounds)
{
    begin(rounds);
    pthread_t thread = beside(writer, NULL);
    uint64_t sum = 0;
    for (unsigned n = 1; n <= rounds; n++) {
        for (unsigned k = 0; atomic_load(&cross.written) != n; k++) {
            uint32_t got = call(cross.code + START);
            if (got != n && got != n - 1)
                FAIL("round %u: %u", n, got);
            wait_a_while(k);
        }
        serialize();
        uint32_t got = call(cross.code + START);
        if (got != n)
            FAIL("round %u: still %u", n, got);
        sum = mix(sum, got);
        atomic_store(&cross.seen, n);
    }
    pthread_join(thread, NULL);
    munmap(cross.code, PAGE);
    return sum;
}

static void *free_writer(void *unused)
{
    (void)unused;
    for (unsigned n = 1; n <= cross.rounds; n++) {
        set_value(n);
        atomic_store(&cross.written, n);
        if (n % 16 == 0)
            sched_yield();
    }
    atomic_store(&cross.end, true);
    return NULL;
}

/* Nobody waits: values never go back, and are never older than what was told before. */
uint64_t cross_publish(unsigned rounds)
{
    begin(50 * rounds);
    pthread_t thread = beside(free_writer, NULL);
    uint32_t last = 0;
    while (!atomic_load(&cross.end)) {
        uint32_t told = atomic_load(&cross.written);
        serialize();
        uint32_t got = call(cross.code + START);
        if (got < told || got < last || got > cross.rounds)
            FAIL("%u told, %u before, then %u", told, last, got);
        last = got;
    }
    pthread_join(thread, NULL);
    serialize();
    uint64_t sum = call(cross.code + START);
    munmap(cross.code, PAGE);
    return sum;
}

/* ---------------------------------------------------------------- patching behind a breakpoint */

/*      xor eax, eax
 * at:  jmp +5 or a NOP of 5 bytes
 *      mov eax, 1
 *      ret
 * AT is changed as Linux changes its static branches: a breakpoint first, the rest, the first byte;
 * the other processor's breakpoint is taken for the NOP. */
static uint8_t *patch_at;
static const uint8_t jump[5] = {0xe9, 5, 0, 0, 0}, nop[5] = {0x0f, 0x1f, 0x44, 0, 0};

static void on_breakpoint(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (*rip != (greg_t)(uintptr_t)(patch_at + 1))
        FAIL("a breakpoint at %#llx", (unsigned long long)*rip);
    *rip += 4;
}

static void poke(unsigned at, const uint8_t *bytes, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        atomic_store((_Atomic uint8_t *)(patch_at + at + n), bytes[n]);
}

/* Waits until the other processor has passed a serializing instruction. */
static void sync_other(void)
{
    unsigned now = atomic_fetch_add(&cross.written, 1) + 1;
    for (unsigned k = 0; atomic_load(&cross.seen) < now && !atomic_load(&cross.end); k++)
        wait_a_while(k);
}

static void *patcher(void *unused)
{
    static const uint8_t breakpoint[] = {0xcc};
    (void)unused;
    for (unsigned n = 0; n < cross.rounds; n++) {
        const uint8_t *bytes = n & 1 ? nop : jump;
        poke(0, breakpoint, 1);
        sync_other();
        poke(1, bytes + 1, 4);
        sync_other();
        poke(0, bytes, 1);
        sync_other();
    }
    atomic_store(&cross.end, true);
    return NULL;
}

uint64_t cross_patch(unsigned rounds)
{
    static const uint8_t head[] = {0x31, 0xc0}, tail[] = {0xb8, 1, 0, 0, 0, 0xc3};
    struct sigaction action = {.sa_sigaction = on_breakpoint, .sa_flags = SA_SIGINFO}, old;
    begin(rounds / 4 + 1);
    patch_at = cross.code + 10;
    memcpy(cross.code + 8, head, sizeof(head));
    memcpy(patch_at, nop, sizeof(nop));
    memcpy(patch_at + 5, tail, sizeof(tail));
    CHECK(sigaction(SIGTRAP, &action, &old) == 0);
    pthread_t thread = beside(patcher, NULL);
    while (!atomic_load(&cross.end)) {
        for (unsigned n = 0; n < 20; n++) {
            uint32_t got = call(cross.code + 8);
            if (got > 1)
                FAIL("neither jumped nor not: %u", got);
        }
        unsigned asked = atomic_load(&cross.written);
        serialize();
        atomic_store(&cross.seen, asked);
        sched_yield();
    }
    pthread_join(thread, NULL);
    serialize();
    CHECK(call(cross.code + 8) == (cross.rounds & 1 ? 0 : 1));
    CHECK(sigaction(SIGTRAP, &old, NULL) == 0);
    munmap(cross.code, PAGE);
    return cross.rounds;
}
