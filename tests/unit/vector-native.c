/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vector-native.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static struct native *current; /* for on_fault, which gets nothing else */
static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
static struct sigaction former[sizeof(signals) / sizeof(signals[0])];
static uint8_t signal_stack[65536];

static void on_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    (void)number, (void)info;
    if (!current || !current->resume)
        abort();
    current->fault = (unsigned)u->uc_mcontext.gregs[REG_TRAPNO];
    u->uc_mcontext.gregs[REG_RIP] = (greg_t)current->resume;
    u->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}

struct native *native_new(void)
{
    struct native *n = mmap(NULL, sizeof(*n), PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (n == MAP_FAILED || mprotect(n->guard, sizeof(n->guard), PROT_NONE) != 0)
        abort();
    /* RSP is the instruction's, so signals need a stack of their own. */
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&stack, NULL);
    for (size_t s = 0; s < sizeof(signals) / sizeof(signals[0]); s++)
        sigaction(signals[s], &action, &former[s]);
    current = n;
    return n;
}

void native_free(struct native *n)
{
    for (size_t s = 0; s < sizeof(signals) / sizeof(signals[0]); s++)
        sigaction(signals[s], &former[s], NULL);
    current = NULL;
    munmap(n, sizeof(*n));
}

struct code {
    uint8_t *at;
};

static void put(struct code *c, const void *bytes, size_t size)
{
    memcpy(c->at, bytes, size);
    c->at += size;
}
#define PUT(c, ...) put(c, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* ModRM, SIB and displacement of the operand [ADDRESS]. */
static void put_address(struct code *c, unsigned reg, const void *address)
{
    uint32_t displacement = (uint32_t)(uintptr_t)address;
    PUT(c, (uint8_t)(reg << 3 | 4), 0x25);
    put(c, &displacement, 4);
}

static void put_mov(struct code *c, bool store, unsigned reg, const void *address)
{
    PUT(c, (uint8_t)(0x48 | (reg >> 3) << 2), store ? 0x89 : 0x8b);
    put_address(c, reg & 7, address);
}

unsigned native_run(struct native *n, const uint8_t *insn, size_t length)
{
    struct code c = {n->code};
    PUT(&c, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx ... r15 */
    PUT(&c, 0x9c, 0x8f);
    put_address(&c, 0, &n->host_flags); /* pushfq; pop */
    PUT(&c, 0x0f, 0xae);
    put_address(&c, 3, &n->host_mxcsr); /* stmxcsr */
    put_mov(&c, true, 4, &n->host_rsp);
    PUT(&c, 0xb8, 7, 0, 0, 0, 0x31, 0xd2, 0x48, 0x0f, 0xae); /* mov eax, 7; xor edx, edx */
    put_address(&c, 5, n->in.xsave);                         /* xrstor64 */
    PUT(&c, 0xff);
    put_address(&c, 6, &n->in.flags); /* push; popfq */
    PUT(&c, 0x9d);
    for (unsigned r = 0; r < 16; r++)
        put_mov(&c, false, r, &n->in.gpr[r]);
    put(&c, insn, length);
    n->resume = (uint64_t)(uintptr_t)c.at;
    for (unsigned r = 0; r < 16; r++)
        put_mov(&c, true, r, &n->out.gpr[r]);
    put_mov(&c, false, 4, &n->host_rsp);
    PUT(&c, 0x9c, 0x8f);
    put_address(&c, 0, &n->out.flags);
    PUT(&c, 0xb8, 7, 0, 0, 0, 0x31, 0xd2, 0x48, 0x0f, 0xae);
    put_address(&c, 4, n->out.xsave);                  /* xsave64 */
    PUT(&c, 0xdb, 0xe3, 0xc5, 0xf8, 0x77, 0x0f, 0xae); /* fninit; vzeroupper */
    put_address(&c, 2, &n->host_mxcsr);                /* ldmxcsr */
    PUT(&c, 0xff);
    put_address(&c, 6, &n->host_flags);
    PUT(&c, 0x9d);
    PUT(&c, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
    memset(&n->out, 0, sizeof(n->out));
    n->fault = NATIVE_NO_FAULT;
    ((void (*)(void))(uintptr_t)n->code)();
    n->resume = 0;
    return n->fault;
}
