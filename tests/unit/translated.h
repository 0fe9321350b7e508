/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests whose code is translated. */
#ifndef TRAPEZE_TEST_TRANSLATED_H
#define TRAPEZE_TEST_TRANSLATED_H

#include "guest.h"

/* G, with the translator on. */
struct guest *translated_how(struct guest *g, struct processor_translator how);
/* THRESHOLD: how often a block is looked up before it is translated; CHECK: in lockstep. */
struct guest *translated(struct guest *g, unsigned threshold, bool check);
struct processor_translator_counts counts(const struct guest *g);
/* Asserts that something was compared, and nothing differed. */
void check_clean(const struct guest *g);

/* Maps the first 2 MiB, in global 4 KiB pages (the table is at 0x100000), once more in the
 * uppermost 2 GiB, as kernels are, and moves the stack and RIP there. */
#define HIGH      "0xffffffff80000000"
#define HIGH_BASE 0xffffffff80000000u
struct guest *guest_high(struct guest *g);

/* The first 2 MiB in 4 KiB pages, for the supervisor; PAGE is for users as well, and leads to
 * FRAME. RBX is PAGE's address, RDX its table entry's, R8 that of a page that shares its TLB entry.
 * The guest is translated. */
enum { PAGE_TABLE = 0x100000, PAGE = 0xb, FRAME = 0xa, OTHER_FRAME = 0xc };
struct guest *small_pages(struct guest *g);

#endif
