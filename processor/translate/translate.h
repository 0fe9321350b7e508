/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The copy-translator: decoded blocks as host code.  docs/translator.md has the design and the
 * measurements behind it.
 *
 * A block that the run loop has looked up often enough is translated: its instructions are emitted
 * again with guest registers in host registers, status flags in the host's, and memory operands
 * behind an inline TLB check.  What has no translation is run by its handler, one instruction at a
 * time, from inside the translation.  The interpreter stays the cold tier, the slow path and the
 * oracle.
 *
 * A translation belongs to its decoded block: to one processor, one host page and the mode the
 * block was decoded in (64-bit mode, or 32-bit code with flat segments: mode_is_translated), at
 * whatever linear address the page stands.  It is dead when the block is, and its memory comes back
 * when the block cache is emptied.
 *
 * What holds between instructions of a translation: general registers are in host registers or in
 * the frame (see internal.h), those status flags that may still be read are in EFLAGS, all other
 * state is in struct processor.  Flags that the code overwrites before it reads them are not kept,
 * so the EFLAGS image of a page fault or an interrupt has arbitrary values there.
 *
 * Requests of other processors (p->poll) are seen at backward branches inside a page and wherever a
 * translation is entered from another page or by an indirect branch: at most a page of straight
 * code apart.
 */
#ifndef TRAPEZE_TRANSLATE_H
#define TRAPEZE_TRANSLATE_H

#include "processor/processor.h"

struct code_block;
struct translator;

/* Creates a translator for one processor.  A block is translated at its THRESHOLDth lookup (1: the
 * first).  Of HOW it takes the rest: what it shows of itself, and whether each run of a translation
 * is followed by one of the interpreter from the same state, and what they leave is compared.
 * Returns NULL when memory is short or the host forbids executable memory. */
struct translator *translator_new(unsigned threshold, const struct processor_translator *how);
void translator_free(struct translator *t);

/* Forgets all translations; with the blocks they belong to. */
void translator_empty(struct translator *t);

/* Takes back the jumps that lead straight to another page, where that differs from LINEAR only in
 * the low BITS bits, which are PAGE_BITS to 63. */
void translator_unlink(struct translator *t, uint64_t linear, unsigned bits);

/* B was just decoded. */
void translator_prepare(const struct translator *t, struct code_block *b);

/* Runs from B, the block at LINEAR (which is p->rip), until the run loop has to look again: p->rip
 * is then set.  False, with nothing done, when B has no translation yet; the caller interprets.
 * Leaves by raise_fault and vm_exit as handlers do. */
bool translator_run(struct processor *p, struct code_block *b, uint64_t linear);

/* True when there is no room for more: the caller empties the block cache. */
bool translator_full(const struct translator *t);

const struct processor_translator_counts *translator_counts(const struct translator *t);
/* As processor_get_translation; NULL: none. */
const struct processor_translation *translator_kept(const struct translator *t);
/* As processor_translator_difference. */
const char *translator_difference(const struct translator *t);

#endif
