/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The decoder: bytes to struct insn, by one set of tables. */
#ifndef TRAPEZE_DECODE_H
#define TRAPEZE_DECODE_H

#include "insn.h"

enum decode_result {
    DECODE_OK,
    DECODE_MORE,     /* the instruction goes on past the bytes given (only when size < 15) */
    DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
    DECODE_INVALID,  /* #UD; *out has attr = the invalid row, class CLASS_INVALID, and its length */
};

/* Decodes the instruction at BYTES, of which SIZE are readable (never reads beyond them), in MODE,
 * into *out.  OFFSET is the page offset of bytes[0], stored in out->offset and folded into
 * RIP-relative displacements.  out->exec is left NULL.  Pure: no state, any thread.
 * Faults that depend on state (privilege, CR4, TS ...) are the handlers'; what is #UD from the
 * encoding alone (LOCK where not allowed, TRAIT_NO64 in 64-bit mode, a bad VEX.vvvv, mod == 3 for
 * OPERAND_MEM ...) is DECODE_INVALID.  DECODE_OK and DECODE_INVALID set out->length. */
enum decode_result insn_decode(const uint8_t *bytes, size_t size, enum decode_mode mode,
                               uint16_t offset, struct insn *out);

/* The size in bytes of operand N (0-3) of I, with prefixes applied; 0 for SIZE_VAR. */
unsigned insn_operand_size(const struct insn *i, unsigned n);

/* The memory operand's index in attr->operand, or -1 when I has no explicit memory operand. */
int insn_memory_operand(const struct insn *i);

/* Whether I has an explicit memory operand (which LEA, INVLPG and hints do not access: their access
 * is ACCESS_NONE). */
bool insn_has_memory(const struct insn *i);

/* Walks every row of every table, for tests and for the translator's own tables. */
void insn_for_each_row(void (*row)(void *opaque, enum insn_map map, unsigned opcode, int group,
                                   unsigned prefix, const struct insn_attr *attr),
                       void *opaque);

#endif
