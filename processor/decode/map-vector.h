/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the maps' vector rows share: MMX, SSE, AVX and the extended-state instructions. */
#ifndef TRAPEZE_DECODE_MAP_VECTOR_H
#define TRAPEZE_DECODE_MAP_VECTOR_H

#include "processor/decode/table.h"

/* ---------------------------------------------------------------- operands */

#define XMM_REG_ENC ENC_MODRM | ENC_REG
#define V           OPERAND_XMM_REG, 16, XMM_REG_ENC
#define Vx          OPERAND_XMM_REG, SIZE_VEC, XMM_REG_ENC
#define H           OPERAND_XMM_V, 16, ENC_VVVV
#define Hx          OPERAND_XMM_V, SIZE_VEC, ENC_VVVV
#define Lx          OPERAND_XMM_IMM, SIZE_VEC, IMM_IS4
#define X0          OPERAND_XMM0, 16, 0
#define U           OPERAND_XMM_RM, 16, ENC_MODRM | ENC_REG_ONLY
#define Ux          OPERAND_XMM_RM, SIZE_VEC, ENC_MODRM | ENC_REG_ONLY
#define Wb          OPERAND_XMM_RM, 1, ENC_MODRM
#define Ww          OPERAND_XMM_RM, 2, ENC_MODRM
#define Wd          OPERAND_XMM_RM, 4, ENC_MODRM
#define Wq          OPERAND_XMM_RM, 8, ENC_MODRM
#define Wdq         OPERAND_XMM_RM, 16, ENC_MODRM
#define Wx          OPERAND_XMM_RM, SIZE_VEC, ENC_MODRM
#define Wh          OPERAND_XMM_RM, SIZE_HALF, ENC_MODRM
#define Wqt         OPERAND_XMM_RM, SIZE_QUART, ENC_MODRM
#define We          OPERAND_XMM_RM, SIZE_EIGHTH, ENC_MODRM
#define P           OPERAND_MMX_REG, 8, ENC_MODRM | ENC_REG | ENC_REG_LOW
#define Q           OPERAND_MMX_RM, 8, ENC_MODRM | ENC_RM_LOW
#define Qd          OPERAND_MMX_RM, 4, ENC_MODRM | ENC_RM_LOW
#define N           OPERAND_MMX_RM, 8, ENC_MODRM | ENC_RM_LOW | ENC_REG_ONLY
#define VSIBd       OPERAND_VSIB, 4, ENC_MODRM | ENC_MEM_ONLY | ENC_VSIB | ENC_CHECK
#define VSIBq       OPERAND_VSIB, 8, ENC_MODRM | ENC_MEM_ONLY | ENC_VSIB | ENC_CHECK

/* ---------------------------------------------------------------- rows */

/* A row with a handler of its own; one that runs natively. */
#define VECTOR(mnemonic, operation, f, ...)                                                        \
    ROW(.attr.name = mnemonic, .attr.op = OP_##operation, .attr.class = CLASS_VECTOR, FEATURE(f),  \
        SIZE_Y, __VA_ARGS__)
#define NATIVE(mnemonic, f, ...) VECTOR(mnemonic, NATIVE, f, __VA_ARGS__)

/* Native rows by their traits.  SSE: legacy with an aligned 16-byte memory operand; FP: can raise
 * SIMD floating-point exceptions; MMX uses the x87 registers and tags. */
#define ROUNDS                    USES(MXCSR), SETS(MXCSR)
#define SSE_ROW(mnemonic, f, ...) NATIVE(mnemonic, f, TRAITS(TRAIT_ALIGNED), __VA_ARGS__)
#define SSE_FP(mnemonic, f, ...)                                                                   \
    NATIVE(mnemonic, f, TRAITS(TRAIT_ALIGNED | TRAIT_FP), ROUNDS, __VA_ARGS__)
#define NATIVE_FP(mnemonic, f, ...) NATIVE(mnemonic, f, TRAITS(TRAIT_FP), ROUNDS, __VA_ARGS__)
#define MMX_ROW(mnemonic, f, ...)   NATIVE(mnemonic, f, USES(X87_STATE), SETS(X87_STATE), __VA_ARGS__)
#define VEX_TRAITS                  (TRAIT_VEX_ONLY | TRAIT_PROTECTED)
#define AVX_ROW(mnemonic, f, ...)   NATIVE(mnemonic, f, TRAITS(VEX_TRAITS), __VA_ARGS__)
#define AVX_ALIGNED(mnemonic, f, ...)                                                              \
    NATIVE(mnemonic, f, TRAITS(VEX_TRAITS | TRAIT_ALIGNED), __VA_ARGS__)
#define AVX_FP(mnemonic, f, ...)                                                                   \
    NATIVE(mnemonic, f, TRAITS(VEX_TRAITS | TRAIT_FP), ROUNDS, __VA_ARGS__)
/* An integer instruction: AVX on XMM, AVX2 on YMM. */
#define AVX_AVX2(mnemonic, ...)                                                                    \
    BY_L(AVX_ROW(mnemonic, AVX, __VA_ARGS__), AVX_ROW(mnemonic, AVX2, __VA_ARGS__))

/* XSAVE and kin: EDX:EAX is the mask of components. */
#define XSTATES (X87_STATE | MXCSR | STATE)
#define XSTATE(mnemonic, operation, f, traits, ...)                                                \
    VECTOR(mnemonic, operation, f, TRAITS(traits), __VA_ARGS__)
#define XSTORES USES(RAX | RDX | XSTATES)
#define XLOADS  USES(RAX | RDX | STATE), SETS(XSTATES)

/* What the string comparisons of SSE4.2 and their VEX forms take and give. */
#define LENGTHS_INDEX USES(RAX | RDX), SETS(RCX)
#define LENGTHS_MASK  USES(RAX | RDX), SETS(XMM0)

#endif
