/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs single instructions on the host's processor with chosen registers, for tests that compare
 * the software processor with it.  (Apart, because the C library's names of registers in signal
 * contexts collide with the processor's.)
 */
#ifndef TRAPEZE_TESTS_VECTOR_NATIVE_H
#define TRAPEZE_TESTS_VECTOR_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#define NATIVE_NO_FAULT 256u
#define NATIVE_DATA     (3 * 4096)

struct native_state {
    uint64_t gpr[16]; /* by ModRM number */
    uint64_t flags;
    uint8_t xsave[1024] __attribute__((aligned(64))); /* x87, SSE, AVX; standard format */
};

/* Stands below 2 GiB. */
struct native {
    uint8_t code[4096];
    struct native_state in, out;
    uint64_t host_rsp, host_flags;
    uint32_t host_mxcsr;
    uint64_t resume;
    unsigned fault;
    /* For memory operands; the page behind it is not accessible. */
    uint8_t data[NATIVE_DATA] __attribute__((aligned(4096)));
    uint8_t guard[4096];
};

/* One may exist at a time (signal handlers need to find it).  Aborts when memory is lacking. */
struct native *native_new(void);
void native_free(struct native *n);

/* Runs the LENGTH bytes of one instruction, which must fall through, on n->in and leaves the state
 * in n->out.  Returns the vector of the exception it raised, or NATIVE_NO_FAULT.  RSP is loaded
 * too: the instruction may use it as a register, but not as a stack. */
unsigned native_run(struct native *n, const uint8_t *insn, size_t length);

#endif
