/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Light calls: C that translations call without putting all guest state away.
 *
 * The thunk stores the registers that C may change, which are those a system call passes (RAX, RCX,
 * RDX, RSI, RDI, R8, RSP, RBP), into struct processor and loads them again; vector registers and
 * the others stay as they are, so this file is compiled without vector instructions.  R11 and the
 * status flags are in the frame.
 *
 * A light function runs the common case of its instruction and says where to go on, with the linear
 * address in the frame's FRAME_ARGUMENT; or it returns NULL, having changed nothing, and the
 * instruction is its handler's.  It never raises a fault and never leaves.
 */
#ifndef TRAPEZE_LIGHT_H
#define TRAPEZE_LIGHT_H

#include "internal.h"

typedef const uint8_t *light_fn(struct processor *p, const struct translate_site *s,
                                uint64_t *frame);
light_fn light_syscall, light_sysret, light_iret;
/* Fills the jump entry for the linear address in the frame's FRAME_ARGUMENT: light_target goes back
 * to where S looks it up, light_find to the code itself. */
light_fn light_target, light_find;

#endif
