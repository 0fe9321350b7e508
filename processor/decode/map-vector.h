/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the maps' vector rows share: MMX, SSE, AVX and the extended-state instructions. */
#ifndef TRAPEZE_DECODE_MAP_VECTOR_H
#define TRAPEZE_DECODE_MAP_VECTOR_H

#include "processor/decode/table.h"

/* clang-format off */

/* A row with a handler of its own; one that runs natively. */
#define VECTOR(mnemonic, operation, f, ...)                                                            \
    ROW(.attr.name = mnemonic, .attr.op = OP_##operation, .attr.class = CLASS_VECTOR, FEATURE(f),      \
        SIZE_Y, __VA_ARGS__)
#define NATIVE(mnemonic, f, ...) VECTOR(mnemonic, NATIVE, f, __VA_ARGS__)

/* XSAVE and kin: EDX:EAX is the mask of components. */
#define XSTATES (X87_STATE | MXCSR | STATE)
#define XSTATE(mnemonic, operation, f, traits, ...)                                                    \
    VECTOR(mnemonic, operation, f, TRAITS(traits), __VA_ARGS__)
#define XSTORES USES(RAX | RDX | XSTATES)
#define XLOADS USES(RAX | RDX | STATE), SETS(XSTATES)

#define VECTOR_0F_10 [0x10] = INVALID
#define VECTOR_0F_28 [0x28] = INVALID
#define VECTOR_0F_50 [0x50] = INVALID
#define VECTOR_0F_60 [0x60] = INVALID
#define VECTOR_0F_70 [0x70] = INVALID
#define VECTOR_0F_C2 [0xc2] = INVALID
#define VECTOR_0F_D0 [0xd0] = INVALID
#define VECTOR_0F_E0 [0xe0] = INVALID
#define VECTOR_0F_F0 [0xf0] = INVALID

#endif
