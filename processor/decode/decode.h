/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decoder: bytes to struct insn, by one set of tables.
 *
 * What the tables' attributes mean beyond insn.h:
 * - Operands are in Intel's order.  Not among them, but in implicit_read and implicit_written: the
 *   count in CL of shifts (a shift without a second operand shifts by CL; by the constant 1 it has
 *   imm = 1), the port in DX of IN and OUT, and all of string instructions and XLAT, whose source
 *   is in segment insn.seg (the destination's is ES) and whose element has opsize bytes.
 * - REP and REPNE add RCX to the implicit registers of a TRAIT_STRING row, read and written.
 * - What an instruction may leave alone, it also reads: the flags of shifts (count 0), CMPS and
 * SCAS (REP with RCX 0), the destination of CMOVcc, LAR, LSL, BSF and BSR (ACCESS_RW), the rest of
 * an implicit register of which a part is written (LODSB, LAHF, FNSTSW AX).
 * - insn.imm is extended to 64 bits; the operand's size is what counts.
 * - Of F2 and F3 the last is in insn.prefixes; with VEX, VEX.pp is there.  Where a mandatory prefix
 *   selects the row, F2 and F3 come before 66, which may then be set without meaning.
 * - A byte operand of CLASS_GENERAL never has SPL, BPL, SIL or DIL without PREFIX_REX: see
 * REG_HIGH.
 * - Rows of CLASS_VECTOR with TRAIT_VEX_ONLY need AVX beside their feature (AES, FMA, GFNI ...).
 * - F3 0F BC and F3 0F BD are TZCNT and LZCNT; a processor without them runs BSF and BSR there,
 * which is for the binder to see, by the feature.
 * - TRAIT_PROTECTED and TRAIT_PRIVILEGED are the binder's or the handler's to enforce.  CLAC, STAC,
 *   MONITOR and MWAIT are privileged, but raise #UD.
 */
#ifndef TRAPEZE_DECODE_H
#define TRAPEZE_DECODE_H

#include "processor/decode/insn.h"

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
 * OPERAND_MEM ...) is DECODE_INVALID.  DECODE_OK and DECODE_INVALID set out->length; for an opcode
 * that is not in the tables that is the length up to it. */
enum decode_result insn_decode(const uint8_t *bytes, size_t size, enum decode_mode mode,
                               uint16_t offset, struct insn *out);

/* The size in bytes of operand N (0-3) of I, with prefixes applied; 0 for SIZE_VAR. */
unsigned insn_operand_size(const struct insn *i, unsigned n);

/* How many bytes of the encoding are I's immediate. */
unsigned insn_immediate_bytes(const struct insn *i);

/* The explicit memory operand's index in attr->operand, or -1 when I has no explicit memory
 * operand. */
int insn_memory_operand(const struct insn *i);

/* Whether I has an explicit memory operand (which LEA, INVLPG and hints do not access: their access
 * is ACCESS_NONE). */
bool insn_has_memory(const struct insn *i);

/* Calls ROW for every row of every table, for tests and for the translator's own tables: with the
 * map and opcode, the ModRM.reg that selects it (or -1), and the mandatory prefix (PREFIX_66,
 * PREFIX_REP, PREFIX_REPNE or 0), with PREFIX_VEX for the VEX maps.  A row may come several times.
 */
void insn_for_each_row(void (*row)(void *opaque, enum insn_map map, unsigned opcode, int group,
                                   unsigned prefix, const struct insn_attr *attr),
                       void *opaque);

#endif
