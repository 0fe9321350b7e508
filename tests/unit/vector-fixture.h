/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of processor/vector stand on: a processor of which only vector/ and decode/ are
 * real, on a flat memory that is the native runner's data pages at their own addresses, so that one
 * set of registers serves both sides.
 */
#ifndef TRAPEZE_TESTS_VECTOR_FIXTURE_H
#define TRAPEZE_TESTS_VECTOR_FIXTURE_H

#include "processor/core/core.h"
#include "processor/decode/decode.h"
#include "vector-native.h"

#include <glib.h>

#define XSAVE_BYTES 832
#define CODE_BASE   0x400000
#define FAULT_EXIT  255u /* vm_exit was called */

extern struct fixture {
    struct native *native;
    struct processor *p;
    uint8_t before[NATIVE_DATA], after[NATIVE_DATA];
} fix;

void fixture_start(void);
void fixture_end(void);

/* Long mode with everything enabled. */
void reset_guest(void);
/* Makes the data pages hit the TLB, or miss it so that bounce buffers are used. */
void set_tlb(bool hit);
void set_guest(const struct native_state *s);
void get_guest(struct native_state *s);

/* Binds and runs I, which has been decoded; the vector raised, or NATIVE_NO_FAULT. */
unsigned run_guest(struct insn *i);
/* Decodes up to 15 bytes and runs them. */
unsigned run_bytes(const uint8_t *bytes, enum decode_mode mode);
#define RUN(...)   run_bytes((const uint8_t[15]){__VA_ARGS__}, DECODE_64)
#define RUN32(...) run_bytes((const uint8_t[15]){__VA_ARGS__}, DECODE_32)

uint64_t random64(void);
void random_vector(uint8_t *to, unsigned bytes);
void random_state(struct native_state *s);

/* Runs one instruction both ways on fix.native->in and the data pages.  Returns whether registers,
 * memory and exception agreed, and says what did not. */
bool agree(const uint8_t *bytes, struct insn *i);

#endif
