/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random unprivileged instructions, made from the decoder's own rows, each with a random state in
 * which it reaches no memory but the area of native-run.h.
 */
#ifndef TRAPEZE_TESTS_NATIVE_GENERATE_H
#define TRAPEZE_TESTS_NATIVE_GENERATE_H

#include "native-run.h"
#include "processor/decode/decode.h"

struct generator;

/* An instruction and what it starts from. */
struct subject {
    uint8_t bytes[32];
    unsigned length;
    struct insn insn; /* decoded as for a page that starts at the slot */
    struct native_state state;
    uint64_t linear;       /* of its explicit memory operand; 0 without one */
    uint64_t poke_address; /* bytes to be put into the scratch area first */
    uint8_t poke[32];
    unsigned poke_size;
};

/* For code of MODE, 64 or 32 bits.  ONLY, unless NULL, is a mnemonic, "general" or "vector": no
 * other instructions are made. */
struct generator *generator_new(uint64_t seed, enum decode_mode mode, const char *only,
                                uint64_t fs_base, uint64_t gs_base);
void generator_free(struct generator *g);
unsigned generator_rows(const struct generator *g);
/* How many rows no instruction was made of yet, and the name of one. */
unsigned generator_missed(const struct generator *g, const char **example);

/* Makes an instruction to stand at linear address AT.  False when the attempt came to nothing: try
 * again. */
bool generate(struct generator *g, uint64_t at, struct subject *s);

uint64_t generator_random(struct generator *g);
/* Fills memory with values of the kind that registers get. */
void generator_fill(struct generator *g, void *to, size_t size);

#endif
