/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rows of the opcode tables and the notation they are written in; private to processor/decode.
 *
 * An opcode's entry is a row, or selects among further entries by what tells instructions of the
 * same opcode apart (ModRM fields, mandatory prefix, VEX.L ...).  Rows are written as the SDM's
 * appendix A writes them: RW(Ev), R(Gv) ... are operands with their access, and an operand also
 * says what it takes from the encoding, so that nothing is stated twice.
 */
#ifndef TRAPEZE_DECODE_TABLE_H
#define TRAPEZE_DECODE_TABLE_H

#include "processor/decode/insn.h"

/* What the bytes after the opcode are, and what the fields mean. */
enum {
    IMM_NONE,
    IMM_SB,    /* 8 bits, sign-extended */
    IMM_UB,    /* 8 bits, zero-extended */
    IMM_W,     /* 16 bits, zero-extended */
    IMM_Z,     /* 16 or 32 bits by operand size, sign-extended */
    IMM_V,     /* 16, 32 or 64 bits by operand size */
    IMM_WB,    /* ENTER's 16 and 8 bits */
    IMM_FAR,   /* offset and selector */
    IMM_MOFFS, /* an offset of the address size */
    IMM_ONE,   /* no bytes; the immediate is 1 (shifts by one) */
    IMM_IS4,   /* 8 bits, of which 7:4 name a register */
    ENC_IMM = 0xf,
    ENC_MODRM = 1 << 4,
    ENC_REG = 1 << 5,          /* ModRM.reg is a register, extended by REX.R */
    ENC_REG_BYTE = 1 << 6,     /* ... and a byte register */
    ENC_RM_BYTE = 1 << 7,      /* ModRM.rm or the opcode's low bits: a byte register */
    ENC_MEM_ONLY = 1 << 8,     /* mod == 3 is #UD */
    ENC_REG_ONLY = 1 << 9,     /* mod != 3 is #UD */
    ENC_OPREG = 1 << 10,       /* register in the opcode's low bits */
    ENC_VVVV = 1 << 11,        /* VEX.vvvv names a register (else it must be 1111) */
    ENC_VSIB = 1 << 12,        /* a SIB byte with a vector index must follow */
    ENC_SREG_OPCODE = 1 << 13, /* segment register in opcode[5:3] */
    ENC_MOD_IGNORED = 1 << 14, /* MOV CR, MOV DR: mod counts as 3 */
    ENC_REG_LOW = 1 << 15,     /* MMX or segment register in ModRM.reg: REX.R has no effect */
    ENC_RM_LOW = 1 << 16,      /* MMX register in ModRM.rm: REX.B has no effect */
    ENC_CHECK = 1 << 17,       /* register numbers need a check of their own */
    ENC_YW = 1 << 18,          /* an operand of SIZE_YW: W counts in 64-bit mode only */
};

/* How insn.opsize follows from the prefixes (TRAIT_DEFAULT64 and TRAIT_FORCE64 refine OPSIZE_V). */
enum row_opsize {
    OPSIZE_V, /* 2, 4 or 8 */
    OPSIZE_B, /* 1 */
    OPSIZE_Z, /* 2 or 4: REX.W makes it 4 */
    OPSIZE_Y, /* 4, or 8 by REX.W or VEX.W in 64-bit mode; 66 has another meaning */
    OPSIZE_N, /* the mode's: 8 in 64-bit mode, else 4 */
};

/* What VEX.L and VEX.W must be. */
enum { VEX_L0 = 1, VEX_L1 = 2, VEX_W0 = 4, VEX_W1 = 8 };

struct row {
    struct insn_attr attr;
    uint32_t encoding; /* ENC_* and IMM_* */
    uint8_t opsize;    /* enum row_opsize */
    uint8_t vex;       /* VEX_* */
};

enum select {
    SELECT_INVALID,
    SELECT_ROW,
    SELECT_REG,    /* 8 entries by ModRM.reg */
    SELECT_RM,     /* 8 by ModRM.rm */
    SELECT_MOD,    /* 2: memory, register */
    SELECT_PREFIX, /* 4 by mandatory prefix: none, 66, F3, F2 */
    SELECT_REP,    /* 3: neither (66 or not), F3, F2 */
    SELECT_F3,     /* 2: without, with F3 */
    SELECT_OPSIZE, /* 3: 16, 32, 64 bits */
    SELECT_MODE64, /* 2: outside, in 64-bit mode */
    SELECT_REXB,   /* 2: REX.B */
    SELECT_L,      /* 2: VEX.L */
    SELECT_W,      /* 2: VEX.W */
    SELECT_W64,    /* 2: REX.W or VEX.W in 64-bit mode */
};

struct entry {
    uint8_t select; /* enum select */
    union {
        const struct row *row;
        const struct entry *table;
    };
};

extern const struct entry opcodes_one[256], opcodes_0f[256], opcodes_0f38[256], opcodes_0f3a[256];
extern const struct entry opcodes_vex_0f[256], opcodes_vex_0f38[256], opcodes_vex_0f3a[256];

/* ---------------------------------------------------------------- entries */

#define ROW(...)                                                                                   \
    {                                                                                              \
        SELECT_ROW,                                                                                \
        {                                                                                          \
            .row = &(const struct row)                                                             \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_REG(...)                                                                                \
    {                                                                                              \
        SELECT_REG,                                                                                \
        {                                                                                          \
            .table = (const struct entry[8])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_RM(...)                                                                                 \
    {                                                                                              \
        SELECT_RM,                                                                                 \
        {                                                                                          \
            .table = (const struct entry[8])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_MOD(...)                                                                                \
    {                                                                                              \
        SELECT_MOD,                                                                                \
        {                                                                                          \
            .table = (const struct entry[2])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_PREFIX(...)                                                                             \
    {                                                                                              \
        SELECT_PREFIX,                                                                             \
        {                                                                                          \
            .table = (const struct entry[4])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_REP(...)                                                                                \
    {                                                                                              \
        SELECT_REP,                                                                                \
        {                                                                                          \
            .table = (const struct entry[3])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_F3(...)                                                                                 \
    {                                                                                              \
        SELECT_F3,                                                                                 \
        {                                                                                          \
            .table = (const struct entry[2])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_OPSIZE(...)                                                                             \
    {                                                                                              \
        SELECT_OPSIZE,                                                                             \
        {                                                                                          \
            .table = (const struct entry[3])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_MODE64(...)                                                                             \
    {                                                                                              \
        SELECT_MODE64,                                                                             \
        {                                                                                          \
            .table = (const struct entry[2])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_REXB(...)                                                                               \
    {                                                                                              \
        SELECT_REXB,                                                                               \
        {                                                                                          \
            .table = (const struct entry[2])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_L(...)                                                                                  \
    {                                                                                              \
        SELECT_L,                                                                                  \
        {                                                                                          \
            .table = (const struct entry[2])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_W(...)                                                                                  \
    {                                                                                              \
        SELECT_W,                                                                                  \
        {                                                                                          \
            .table = (const struct entry[2])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define BY_W64(...)                                                                                \
    {                                                                                              \
        SELECT_W64,                                                                                \
        {                                                                                          \
            .table = (const struct entry[2])                                                       \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define INVALID                                                                                    \
    {                                                                                              \
        SELECT_INVALID,                                                                            \
        {                                                                                          \
            .row = NULL                                                                            \
        }                                                                                          \
    }

/* Rows by class: mnemonic, operation, traits of system rows, operands (OPS*), then any of the
 * fields below.  What macros pass on is variadic, as operands hold commas when expanded. */
#define GENERAL(mnemonic, operation, ...)                                                          \
    ROW(.attr.name = mnemonic, .attr.op = OP_##operation, .attr.class = CLASS_GENERAL, __VA_ARGS__)
#define SYSTEM(mnemonic, operation, trait, ...)                                                    \
    ROW(.attr.name = mnemonic, .attr.op = OP_##operation, .attr.class = CLASS_SYSTEM,              \
        .attr.traits = TRAIT_SENSITIVE | (uint32_t)(trait), __VA_ARGS__)

#define READS(flags)     .attr.flags_read = (flags)
#define WRITES(flags)    .attr.flags_written = (flags)
#define UNDEFINES(flags) .attr.flags_undefined = (flags)
#define TRAITS(bits)     .attr.traits = (bits)
#define FEATURE(f)       .attr.feature = FEATURE_##f
#define USES(registers)  .attr.implicit_read = (registers)
#define SETS(registers)  .attr.implicit_written = (registers)
#define BYTE             .opsize = OPSIZE_B
#define SIZE_Z           .opsize = OPSIZE_Z
#define SIZE_Y           .opsize = OPSIZE_Y
#define SIZE_N           .opsize = OPSIZE_N
#define VEX(bits)        .vex = (bits)

/* ---------------------------------------------------------------- flags and registers */

enum {
    CF = 1,
    PF = 4,
    AF = 0x10,
    ZF = 0x40,
    SF = 0x80,
    TF = 0x100,
    IF = 0x200,
    DF = 0x400,
    OF = 0x800,
    IOPL = 0x3000,
    NT = 0x4000,
    OSZAPC = OF | SF | ZF | AF | PF | CF,
    OSZPC = OSZAPC & ~AF,
    OSZAP = OSZAPC & ~CF,
    OSAPC = OSZAPC & ~ZF,
    SZAPC = OSZAPC & ~OF,
    SZPC = SZAPC & ~AF,
    OSAP = OSZAP & ~ZF,
    SZAP = OSZAP & ~OF,
    SZP = SF | ZF | PF,
    ALL_FLAGS = OSZAPC | TF | IF | DF | IOPL | NT,
};
enum {
    RAX = 1 << REG_RAX,
    RCX = 1 << REG_RCX,
    RDX = 1 << REG_RDX,
    RBX = 1 << REG_RBX,
    RSP = 1 << REG_RSP,
    RBP = 1 << REG_RBP,
    RSI = 1 << REG_RSI,
    RDI = 1 << REG_RDI,
    R11 = 1 << REG_R11,
    ALL_GPR8 = 0xff,
    X87_STATE = IMPLICIT_X87,
    MXCSR = IMPLICIT_MXCSR,
    XMM0 = IMPLICIT_XMM0,
    STATE = IMPLICIT_SYSTEM,
    MEMORY = IMPLICIT_MEMORY,
};
/* A near branch, and what ends a block for other reasons. */
#define BRANCH (TRAIT_BRANCH | TRAIT_ENDS_BLOCK)
#define ENDS   TRAIT_ENDS_BLOCK

/* ---------------------------------------------------------------- operands */

/* An operand is kind, size, encoding; R, W, RW and A (address only) put the access in. */
#define WITH_ACCESS_(a, kind, size, encoding) kind, a, size, encoding
#define WITH_ACCESS(a, ...)                   WITH_ACCESS_(a, __VA_ARGS__)
#define R(...)                                WITH_ACCESS(ACCESS_READ, __VA_ARGS__)
#define W(...)                                WITH_ACCESS(ACCESS_WRITE, __VA_ARGS__)
#define RW(...)                               WITH_ACCESS(ACCESS_RW, __VA_ARGS__)
#define A(...)                                WITH_ACCESS(ACCESS_NONE, __VA_ARGS__)

#define OPS0                  .encoding = 0
#define OPS1_(k0, a0, s0, e0) .attr.operand = {{k0, a0, s0}}, .encoding = (e0)
#define OPS2_(k0, a0, s0, e0, k1, a1, s1, e1)                                                      \
    .attr.operand = {{k0, a0, s0}, {k1, a1, s1}}, .encoding = (e0) | (e1)
#define OPS3_(k0, a0, s0, e0, k1, a1, s1, e1, k2, a2, s2, e2)                                      \
    .attr.operand = {{k0, a0, s0}, {k1, a1, s1}, {k2, a2, s2}}, .encoding = (e0) | (e1) | (e2)
#define OPS4_(k0, a0, s0, e0, k1, a1, s1, e1, k2, a2, s2, e2, k3, a3, s3, e3)                      \
    .attr.operand = {{k0, a0, s0}, {k1, a1, s1}, {k2, a2, s2}, {k3, a3, s3}},                      \
    .encoding = (e0) | (e1) | (e2) | (e3)
#define OPS1(...) OPS1_(__VA_ARGS__)
#define OPS2(...) OPS2_(__VA_ARGS__)
#define OPS3(...) OPS3_(__VA_ARGS__)
#define OPS4(...) OPS4_(__VA_ARGS__)
/* No operands, but a ModRM byte (selected on, or ignored). */
#define OPS_MODRM .encoding = ENC_MODRM

/* General registers and memory. */
#define Eb  OPERAND_RM, 1, ENC_MODRM | ENC_RM_BYTE
#define Ew  OPERAND_RM, 2, ENC_MODRM
#define Ed  OPERAND_RM, 4, ENC_MODRM
#define Eq  OPERAND_RM, 8, ENC_MODRM
#define Ev  OPERAND_RM, SIZE_OP, ENC_MODRM
#define Ey  OPERAND_RM, SIZE_YW, ENC_MODRM | ENC_YW
#define Rd  OPERAND_RM, 4, ENC_MODRM | ENC_REG_ONLY
#define Rv  OPERAND_RM, SIZE_OP, ENC_MODRM | ENC_REG_ONLY
#define Ry  OPERAND_RM, SIZE_YW, ENC_MODRM | ENC_REG_ONLY | ENC_YW
#define Rc  OPERAND_RM, SIZE_OP, ENC_MODRM | ENC_MOD_IGNORED | ENC_CHECK /* beside CR or DR */
#define Gb  OPERAND_REG, 1, ENC_MODRM | ENC_REG | ENC_REG_BYTE
#define Gw  OPERAND_REG, 2, ENC_MODRM | ENC_REG
#define Gd  OPERAND_REG, 4, ENC_MODRM | ENC_REG
#define Gv  OPERAND_REG, SIZE_OP, ENC_MODRM | ENC_REG
#define Gy  OPERAND_REG, SIZE_YW, ENC_MODRM | ENC_REG | ENC_YW
#define By  OPERAND_VREG, SIZE_YW, ENC_VVVV | ENC_YW
#define Zb  OPERAND_OPREG, 1, ENC_OPREG | ENC_RM_BYTE
#define Zv  OPERAND_OPREG, SIZE_OP, ENC_OPREG
#define AL  OPERAND_ACC, 1, 0
#define rAX OPERAND_ACC, SIZE_OP, 0
#define Sw  OPERAND_SREG, 2, ENC_MODRM | ENC_REG | ENC_REG_LOW | ENC_CHECK
#define Sop OPERAND_SREG, 2, ENC_SREG_OPCODE
#define Cd  OPERAND_CR, SIZE_OP, ENC_MODRM | ENC_REG | ENC_CHECK
#define Dd  OPERAND_DR, SIZE_OP, ENC_MODRM | ENC_REG | ENC_CHECK

/* Memory only. */
#define MEM_ENC ENC_MODRM | ENC_MEM_ONLY
#define M       OPERAND_MEM, SIZE_VAR, MEM_ENC
#define Mb      OPERAND_MEM, 1, MEM_ENC
#define Mw      OPERAND_MEM, 2, MEM_ENC
#define Md      OPERAND_MEM, 4, MEM_ENC
#define Mq      OPERAND_MEM, 8, MEM_ENC
#define Mt      OPERAND_MEM, 10, MEM_ENC
#define Mdq     OPERAND_MEM, 16, MEM_ENC
#define Mv      OPERAND_MEM, SIZE_OP, MEM_ENC
#define My      OPERAND_MEM, SIZE_YW, MEM_ENC | ENC_YW
#define Mx      OPERAND_MEM, SIZE_VEC, MEM_ENC
#define Mqq     OPERAND_MEM, 32, MEM_ENC
#define Mp      OPERAND_MEM, SIZE_FAR, MEM_ENC
#define Ms      OPERAND_MEM, SIZE_DTR, MEM_ENC

/* Immediates, branch displacements, absolute offsets. */
#define Ib  OPERAND_IMM, 1, IMM_SB /* sign-extended */
#define Iub OPERAND_IMM, 1, IMM_UB
#define Iw  OPERAND_IMM, 2, IMM_W
#define Iz  OPERAND_IMM, SIZE_OP, IMM_Z
#define Iv  OPERAND_IMM, SIZE_OP, IMM_V
#define Iwb OPERAND_IMM, 4, IMM_WB
#define I1  OPERAND_IMM, 1, IMM_ONE
#define Jb  OPERAND_REL, 1, IMM_SB
#define Jz  OPERAND_REL, SIZE_OP, IMM_Z
#define Ap  OPERAND_FAR, SIZE_FAR, IMM_FAR
#define Ob  OPERAND_MOFFS, 1, IMM_MOFFS
#define Ov  OPERAND_MOFFS, SIZE_OP, IMM_MOFFS

/* Sixteen opcodes by condition code: ROWS(opcode, suffix, flags tested). */
#define BY_CONDITION(ROWS, base)                                                                   \
    ROWS((base) + 0, "o", OF), ROWS((base) + 1, "no", OF), ROWS((base) + 2, "b", CF),              \
        ROWS((base) + 3, "nb", CF), ROWS((base) + 4, "z", ZF), ROWS((base) + 5, "nz", ZF),         \
        ROWS((base) + 6, "be", CF | ZF), ROWS((base) + 7, "nbe", CF | ZF),                         \
        ROWS((base) + 8, "s", SF), ROWS((base) + 9, "ns", SF), ROWS((base) + 10, "p", PF),         \
        ROWS((base) + 11, "np", PF), ROWS((base) + 12, "l", SF | OF),                              \
        ROWS((base) + 13, "nl", SF | OF), ROWS((base) + 14, "le", SF | OF | ZF),                   \
        ROWS((base) + 15, "nle", SF | OF | ZF)

#endif
