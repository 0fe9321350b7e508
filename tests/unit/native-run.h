/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs single instructions natively, in this process, on a state of the caller's choice.
 *
 * Everything lies at fixed addresses below 2 GiB, so that absolute and 32-bit addressing reach it:
 * inaccessible guards, the scratch area (writable pages, then a read-only one), guards again, and
 * the code.  The same addresses are mapped for the interpreter's guest.
 */
#ifndef TRAPEZE_TESTS_NATIVE_RUN_H
#define TRAPEZE_TESTS_NATIVE_RUN_H

#include "common/base/base.h"

#define GUARD_BYTES    0x40000ull
#define AREA_START     0x20000000ull
#define SCRATCH_START  (AREA_START + GUARD_BYTES)
#define WRITABLE_BYTES (4 * PAGE_BYTES)
#define SCRATCH_BYTES  (5 * PAGE_BYTES)
#define SCRATCH_END    (SCRATCH_START + SCRATCH_BYTES)
#define CODE_START     (SCRATCH_END + GUARD_BYTES)
#define CODE_BYTES     (24 * PAGE_BYTES)
#define FRAME_START    (CODE_START + CODE_BYTES + GUARD_BYTES)

/* A slot holds one instruction at its start; where it falls through, and at SLOT_PAD, the target of
 * its branches, control comes back.  The size makes some slots cross pages. */
#define SLOT_BYTES 48
#define SLOT_PAD   32
#define SLOT_COUNT (CODE_BYTES / SLOT_BYTES)

#define XSAVE_BYTES 832 /* x87, SSE and AVX in the standard format */

enum native_stop { STOP_NEXT, STOP_PAD, STOP_FAULT };

struct native_state {
    uint64_t gpr[16];
    uint64_t rflags;
    uint8_t xsave[XSAVE_BYTES] __attribute__((aligned(64)));
};
struct native_outcome {
    struct native_state state;
    enum native_stop stop;
    uint64_t rip;                /* of a fault */
    unsigned vector, error_code; /* of a fault */
    uint64_t cr2;                /* of a page fault */
};

/* Maps the area, with GS based at GS_BASE, and returns the base of FS.  One at a time.  False when
 * this host cannot run the test (no XSAVE with AVX, or the addresses are taken). */
bool native_open(uint64_t gs_base, uint64_t *fs_base);
void native_close(void);

/* Writable views of the scratch area (all of it) and the code. */
uint8_t *native_scratch(void);
uint8_t *native_slot(unsigned slot);
static inline uint64_t slot_address(unsigned slot)
{
    return CODE_START + (uint64_t)slot * SLOT_BYTES;
}

/* Puts an instruction into a slot, with what brings control back.  COMPAT is for 32-bit code. */
void native_place(unsigned slot, const uint8_t *bytes, unsigned length, bool compat);

/* Runs the instruction in SLOT on STATE.  In compatibility mode the registers' upper halves must be
 * 0 and are not defined afterwards. */
void native_run(unsigned slot, const struct native_state *state, bool compat,
                struct native_outcome *out);

#endif
