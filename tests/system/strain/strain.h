/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs that are hard on a translator: code that changes while it runs, memory that goes away,
 * signals at every instruction.  Built statically, run natively and in a guest: both print the same
 * lines.  A case returns a checksum, and ends the program by FAIL when something went wrong.
 */
#ifndef STRAIN_H
#define STRAIN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PAGE 4096ul

/* One case: does ROUNDS rounds. */
typedef uint64_t strain_fn(unsigned rounds);
strain_fn self_modify, self_modify_ahead, modify_straddling, jit_toggle, jit_alias, jit_fork,
    jit_move;
strain_fn cross_modify, cross_publish, cross_patch;
strain_fn unmap_data, unmap_code, protect_data, discard_data;
strain_fn signal_compute, signal_registers, signal_x87, signal_flags;

/* Says what is wrong and ends the program. */
__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...);
#define FAIL(...)   fail(__VA_ARGS__)
#define CHECK(that) ((that) ? (void)0 : fail("%s:%d: not so: %s", __FILE__, __LINE__, #that))

/* BYTES of memory with PROTECTION. */
void *pages(unsigned long bytes, int protection);
/* Writes a function at AT that returns VALUE; returns its length. */
unsigned write_function(uint8_t *at, uint32_t value);
static inline uint32_t call(const void *at)
{
    return ((uint32_t(*)(void))at)();
}

/* Runs FN(argument) in a thread on processor CPU (modulo how many there are); the caller moves to
 * processor 0. */
pthread_t beside(void *(*fn)(void *), void *argument);

static inline uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 0x9e3779b97f4a7c15ull + (sum >> 29);
}

#endif
