/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The comparison of the decoder with Zydis that test-decode.c makes on its samples. */
#ifndef TRAPEZE_TEST_DECODE_COMPARE_H
#define TRAPEZE_TEST_DECODE_COMPARE_H

#include "processor/decode/decode.h"

struct sample {
    uint8_t bytes[16];
    size_t size; /* up to 15 */
    enum decode_mode mode;
};

/* Before the first comparison. */
void compare_init(void);
/* Decodes S with both and compares validity, length, mnemonic, operands (registers, memory,
 * immediates, access, sizes), flags, implicit registers, feature and traits.  Mismatches that are
 * not among the deliberate differences are printed, once for each aspect and mnemonic. */
void compare_sample(const struct sample *s);
/* Fails the running test if there were mismatches since the last call. */
void compare_finish(void);
/* Fails the running test for each deliberate difference that did not occur. */
void compare_differences_occurred(void);

#endif
