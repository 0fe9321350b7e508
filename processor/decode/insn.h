/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One decoded instruction and the attributes of its opcode: the contract between the decoder, the
 * interpreter and the translator.
 */
#ifndef TRAPEZE_INSN_H
#define TRAPEZE_INSN_H

#include "common/base/base.h"

#include <signal.h>

struct processor;
struct insn;

/* Runs one instruction, and may go on by itself with those after it, up to the block's end marker.
 * Returns the next instruction of the same block (insn + 1 when control falls through), or NULL
 * when p->rip has been set and the run loop must look it up. */
typedef const struct insn *exec_fn(struct processor *p, const struct insn *i);

/* General-purpose register numbers, as ModRM has them.  Two further slots of p->gpr[] make address
 * arithmetic free of branches: REG_NONE always holds 0; REG_CODE holds the RIP that corresponds to
 * offset 0 of the code page being run, for RIP-relative operands. */
enum {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
    REG_NONE,
    REG_CODE,
    REG_SLOTS
};
/* The C library's <sys/ucontext.h> (which <signal.h> and GLib include) has enumerators and macros
 * of the usual names, with other values: it is included above, and its macros are replaced here. */
#undef REG_RAX
#undef REG_RCX
#undef REG_RDX
#undef REG_RBX
#undef REG_RSP
#undef REG_RBP
#undef REG_RSI
#undef REG_RDI
#undef REG_R8
#undef REG_R9
#undef REG_R10
#undef REG_R11
#undef REG_R12
#undef REG_R13
#undef REG_R14
#undef REG_R15
#define REG_RAX GPR_RAX
#define REG_RCX GPR_RCX
#define REG_RDX GPR_RDX
#define REG_RBX GPR_RBX
#define REG_RSP GPR_RSP
#define REG_RBP GPR_RBP
#define REG_RSI GPR_RSI
#define REG_RDI GPR_RDI
#define REG_R8  GPR_R8
#define REG_R9  GPR_R9
#define REG_R10 GPR_R10
#define REG_R11 GPR_R11
#define REG_R12 GPR_R12
#define REG_R13 GPR_R13
#define REG_R14 GPR_R14
#define REG_R15 GPR_R15
#define REG_HIGH                                                                                   \
    0x40 /* in insn.reg/.rm of a byte operand: bits 15:8 (AH, CH, DH, BH) of reg & 15 */

/* Segment registers, as the Sreg field has them, then the two system segments. */
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* The mode that decides how bytes become instructions; part of the key of decoded code. */
enum decode_mode {
    DECODE_16, /* CS.D = 0: real, virtual-8086, 16-bit protected and compatibility */
    DECODE_32, /* CS.D = 1 */
    DECODE_64, /* EFER.LMA and CS.L */
};

/* Which part of the processor executes an instruction. */
enum insn_class {
    CLASS_GENERAL, /* processor/exec */
    CLASS_SYSTEM,  /* processor/system: segments, far transfers, events, control registers, VMX */
    CLASS_VECTOR,  /* processor/vector: x87, MMX, SSE, AVX and their state instructions */
    CLASS_INVALID, /* raises #UD */
};

/* Operations, by Intel mnemonic.  Instructions that differ only in operand size or form share one.
 * All whitelisted vector instructions that run natively share OP_NATIVE (and OP_X87 for D8..DF);
 * those with handlers of their own are named. */
#define OP_LIST(X)                                                                                 \
    /* processor/exec */                                                                           \
    X(ADD)                                                                                         \
    X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) X(TEST) X(NOT) X(NEG) X(INC) X(DEC) X(MUL)     \
        X(IMUL1) X(IMUL2) X(IMUL3) X(DIV) X(IDIV) X(ROL) X(ROR) X(RCL) X(RCR) X(SHL) X(SHR) X(SAR) \
            X(SHLD) X(SHRD) X(MOV) X(MOVZX) X(MOVSX) X(MOVSXD) X(MOVBE) X(BSWAP) X(LEA) X(XCHG)    \
                X(XADD) X(CMPXCHG) X(CMPXCHG8B) /* CMPXCHG16B with opsize 8 */ X(MOVNTI) X(PUSH)   \
                    X(POP) X(PUSHA) X(POPA) X(PUSHF) X(ENTER) X(LEAVE)                             \
                        X(CALL) /* relative */ X(CALL_IND) X(JMP) X(JMP_IND) X(JCC) X(RET) X(LOOP) \
                            X(LOOPE) X(LOOPNE) X(JCXZ) X(SETCC) X(CMOVCC) X(BT) X(BTS) X(BTR)      \
                                X(BTC) X(BSF) X(BSR) X(TZCNT) X(LZCNT) X(POPCNT) X(CRC32)          \
                                    X(CBW) /* CBW, CWDE, CDQE */ X(CWD) /* CWD, CDQ, CQO */        \
        X(LAHF) X(SAHF) X(CLC) X(STC) X(CMC) X(CLD) X(STD) X(AAA) X(AAS) X(AAM) X(AAD) X(DAA)      \
            X(DAS) X(SALC) X(XLAT) X(MOVS) X(CMPS) X(STOS) X(LODS) X(SCAS) X(INS) X(OUTS) X(IN)    \
                X(OUT) X(NOP) /* also ENDBR, PREFETCH, hint NOPs, fences */ X(PAUSE) X(CLFLUSH)    \
                    X(ANDN) X(BEXTR) X(BLSI) X(BLSMSK) X(BLSR) X(BZHI) X(MULX) X(PDEP) X(PEXT)     \
                        X(RORX) X(SARX) X(SHLX) X(SHRX) X(ADCX) X(ADOX) X(RDRAND)                  \
                            X(RDSEED)                                    /* processor/system */    \
        X(MOV_FROM_SEG) X(MOV_TO_SEG) X(PUSH_SEG) X(POP_SEG) X(LOAD_FAR) /* LDS LES LFS LGS LSS */ \
        X(CALL_FAR) X(JMP_FAR) X(RET_FAR) X(IRET) X(INT) X(INT1) X(INT3) X(INTO) X(BOUND)          \
            X(SYSCALL) X(SYSRET) X(SYSENTER) X(SYSEXIT) X(SWAPGS) X(RDFSBASE) X(RDGSBASE)          \
                X(WRFSBASE) X(WRGSBASE) X(LGDT) X(SGDT) X(LIDT) X(SIDT) X(LLDT) X(SLDT) X(LTR)     \
                    X(STR) X(LMSW) X(SMSW) X(CLTS) X(MOV_FROM_CR) X(MOV_TO_CR) X(MOV_FROM_DR)      \
                        X(MOV_TO_DR) X(LAR) X(LSL) X(VERR) X(VERW) X(ARPL) X(CLI) X(STI) X(CLAC)   \
                            X(STAC) X(POPF) X(HLT) X(CPUID) X(RDMSR) X(WRMSR) X(RDTSC) X(RDTSCP)   \
                                X(RDPMC) X(RDPID) X(INVD) X(WBINVD) X(INVLPG) X(INVPCID)           \
                                    X(MONITOR) X(MWAIT) X(RSM) X(VMCALL) X(VMMCALL) X(VMLAUNCH)    \
                                        X(VMRESUME) X(VMXON) X(VMXOFF) X(VMCLEAR) X(VMPTRLD)       \
                                            X(VMPTRST) X(VMREAD) X(VMWRITE) X(VMFUNC) X(INVEPT)    \
                                                X(INVVPID) /* processor/vector */                  \
        X(NATIVE) X(X87) X(FWAIT) X(FNSTENV) X(FLDENV) X(FNSAVE) X(FRSTOR) X(EMMS) X(FXSAVE)       \
            X(FXRSTOR) X(XSAVE) X(XSAVEOPT) X(XSAVEC) X(XSAVES) X(XRSTOR) X(XRSTORS) X(XGETBV)     \
                X(XSETBV) X(LDMXCSR) X(STMXCSR) X(VZEROUPPER) X(VZEROALL)                          \
                    X(MASKMOV) /* MASKMOVQ, MASKMOVDQU */ X(                                       \
                        VMASKMOV) /* VMASKMOVPS/PD, VPMASKMOVD/Q */                                \
        X(GATHER)                 /* none */                                                       \
        X(UD)

enum op {
#define X(name) OP_##name,
    OP_LIST(X)
#undef X
        OP_COUNT
};

/* What an operand is.  Sizes are beside it. */
enum operand_kind {
    OPERAND_NONE,
    OPERAND_REG,   /* general register in insn.reg (ModRM.reg) */
    OPERAND_RM,    /* general register insn.rm when insn.mod3, else memory */
    OPERAND_OPREG, /* general register in the low opcode bits; decoded into insn.rm with mod3 set */
    OPERAND_VREG,  /* general register in VEX.vvvv: insn.vvvv */
    OPERAND_ACC,   /* AL/AX/EAX/RAX; decoded into insn.reg = REG_RAX */
    OPERAND_IMM,   /* insn.imm, sign- or zero-extended as the opcode says */
    OPERAND_MOFFS, /* memory at an absolute offset: insn.disp, base and index REG_NONE */
    OPERAND_REL,   /* insn.imm = signed displacement from the end of the instruction */
    OPERAND_FAR,   /* immediate far pointer: insn.imm = offset | selector << 32 */
    OPERAND_SREG,
    OPERAND_CR,
    OPERAND_DR, /* number in insn.reg */
    OPERAND_XMM_REG,
    OPERAND_XMM_RM,
    OPERAND_XMM_V,   /* XMM/YMM by ModRM.reg, ModRM.rm, VEX.vvvv */
    OPERAND_XMM_IMM, /* XMM/YMM in imm8[7:4] (VEX is4) */
    OPERAND_XMM0,    /* implicit XMM0 (BLENDV, SHA256RNDS2) */
    OPERAND_MMX_REG,
    OPERAND_MMX_RM,
    OPERAND_ST,   /* x87 stack */
    OPERAND_MEM,  /* memory only (mod == 3 is #UD) */
    OPERAND_VSIB, /* gather: vector index */
};
enum operand_access { ACCESS_NONE, ACCESS_READ = 1, ACCESS_WRITE = 2, ACCESS_RW = 3 };

struct operand {
    uint8_t kind;   /* enum operand_kind */
    uint8_t access; /* enum operand_access */
    uint8_t size;   /* bytes; 0 = insn.opsize; see SIZE_* for others that depend on prefixes */
};
#define SIZE_OP     0    /* insn.opsize */
#define SIZE_VEC    0xf0 /* 16 or 32 by VEX.L */
#define SIZE_HALF   0xf1 /* half of SIZE_VEC */
#define SIZE_QUART  0xf2 /* a quarter of SIZE_VEC */
#define SIZE_EIGHTH 0xf3 /* an eighth of SIZE_VEC */
#define SIZE_FAR    0xf4 /* opsize + 2 */
#define SIZE_DTR    0xf5 /* 2 + 4, or 2 + 8 in 64-bit mode */
#define SIZE_YW     0xf6 /* 4 or 8 by REX.W/VEX.W, never 2 */
#define SIZE_VAR    0xff /* by the handler (XSAVE, FNSTENV ...) */

/* Traits of an opcode. */
#define TRAIT_BRANCH     BIT(0) /* may set RIP other than to the next instruction */
#define TRAIT_ENDS_BLOCK BIT(1) /* decoding of a block stops after it (all TRAIT_BRANCH do) */
#define TRAIT_LOCKABLE   BIT(2) /* LOCK is allowed when the destination is memory */
#define TRAIT_STACK      BIT(3) /* accesses the stack implicitly */
#define TRAIT_PRIVILEGED BIT(4) /* #GP unless CPL is 0 */
#define TRAIT_SENSITIVE  BIT(5) /* may cause a VM exit by itself, or reads or writes system state  \
                                 */
#define TRAIT_NO64      BIT(6)  /* #UD in 64-bit mode */
#define TRAIT_ONLY64    BIT(7)  /* #UD outside 64-bit mode */
#define TRAIT_DEFAULT64 BIT(8)  /* operand size defaults to 64 in 64-bit mode (PUSH, POP) */
#define TRAIT_FORCE64                                                                              \
    BIT(9) /* operand size is 64 in 64-bit mode whatever the prefixes (near branches) */
#define TRAIT_STRING BIT(10) /* REP/REPE/REPNE repeat it */
#define TRAIT_IO     BIT(11)
#define TRAIT_ALIGNED                                                                              \
    BIT(12)                /* legacy SSE: memory operand must be aligned to its size, else #GP(0); \
                              also VMOVAPS and kin */
#define TRAIT_COND BIT(13) /* condition code in opcode[3:0]: insn.opcode & 15 */
#define TRAIT_EFLAGS_OUT                                                                           \
    BIT(14) /* a native vector instruction that writes EFLAGS (COMISS, PTEST) */
#define TRAIT_FP          BIT(15) /* can raise SIMD or x87 floating-point exceptions */
#define TRAIT_VEX_ONLY    BIT(16) /* the row needs VEX */
#define TRAIT_PROTECTED   BIT(18) /* #UD in real and virtual-8086 mode */
#define TRAIT_SERIALIZING BIT(19)

/* The CPUID feature that an instruction belongs to. */
#define FEATURE_LIST(X)                                                                            \
    X(BASE)                                                                                        \
    X(X87) X(MMX) X(SSE) X(SSE2) X(SSE3) X(SSSE3) X(SSE4_1) X(SSE4_2) X(AVX) X(AVX2) X(FMA)        \
        X(F16C) X(AES) X(PCLMULQDQ) X(VAES) X(VPCLMULQDQ) X(SHA) X(GFNI) X(BMI1) X(BMI2) X(ADX)    \
            X(MOVBE) X(POPCNT) X(LZCNT) X(RDRAND) X(RDSEED) X(FXSR) X(XSAVE) X(XSAVEOPT) X(XSAVEC) \
                X(XSAVES) X(FSGSBASE) X(RDPID) X(RDTSCP) X(INVPCID) X(SMAP) X(CLFLUSHOPT) X(CLWB)  \
                    X(CX16) X(SYSCALL) X(MONITOR) X(VMX) X(SVM)
enum feature {
#define X(name) FEATURE_##name,
    FEATURE_LIST(X)
#undef X
        FEATURE_COUNT
};

/* Bits of implicit_read and implicit_written above the sixteen general registers. */
#define IMPLICIT_X87    BIT(16)
#define IMPLICIT_MXCSR  BIT(17)
#define IMPLICIT_XMM0   BIT(18)
#define IMPLICIT_SYSTEM BIT(19)
#define IMPLICIT_MEMORY BIT(20) /* memory besides the operands: stack, string, descriptor tables   \
                                 */

/* The attributes of one row of the opcode tables; const, shared by all instructions of that row. */
struct insn_attr {
    const char *name;          /* Intel mnemonic, lower case; "vaddps" for VEX rows */
    uint16_t op;               /* enum op */
    uint8_t class;             /* enum insn_class */
    uint8_t feature;           /* enum feature */
    struct operand operand[4]; /* explicit operands, destination first, as Intel lists them */
    uint16_t flags_read;    /* EFLAGS bits (CF = 1, PF = 4, AF = 0x10 ... OF = 0x800, DF = 0x400) */
    uint16_t flags_written; /* to defined values */
    uint16_t flags_undefined;
    uint32_t implicit_read, implicit_written;
    uint32_t traits;
};

enum insn_map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A };

/* Prefix bits of insn.prefixes. */
#define PREFIX_LOCK  0x01
#define PREFIX_REP   0x02 /* F3 */
#define PREFIX_REPNE 0x04 /* F2 */
#define PREFIX_66    0x08
#define PREFIX_67    0x10
#define PREFIX_REX   0x20
#define PREFIX_VEX   0x40
#define PREFIX_SEG   0x80 /* an explicit segment override took effect */

/* A decoded instruction: 48 bytes.  All fields but exec are the decoder's. */
struct insn {
    exec_fn *exec;
    const struct insn_attr *attr;
    int64_t disp;    /* sign-extended displacement; for RIP-relative operands base is REG_CODE and
                        disp already includes offset + length */
    uint64_t imm;    /* see enum operand_kind; ENTER: imm16 | imm8 << 16; EXTRQ-like pairs alike */
    uint16_t offset; /* of the first byte within its page (set by the caller of insn_decode) */
    uint8_t length;
    uint8_t opsize;             /* effective operand size in bytes: 1, 2, 4, 8 */
    uint8_t addrsize;           /* 2, 4, 8 */
    uint8_t seg;                /* segment of the memory operand, defaults and overrides resolved */
    uint8_t base, index, scale; /* effective address; scale is a shift count */
    uint8_t reg, rm;  /* ModRM.reg and, when mod3, ModRM.rm, extended by REX/VEX; see REG_HIGH.
                         For opcode-extension groups reg is the group number's 3 bits. */
    uint8_t mod3;     /* 1: rm is a register */
    uint8_t prefixes; /* PREFIX_* */
    uint8_t map, opcode, modrm;
};
/* VEX fields live in a second word so that the common ones fit the first; see insn_vex(). */
_Static_assert(sizeof(struct insn) == 48, "decoded instructions are dense");

/* With PREFIX_VEX, vvvv, L and W have no field of their own: imm bits 63:56 hold them (no VEX
 * instruction has an immediate above 8 bits).  Without VEX they read as 0. */
#define INSN_VEX_SHIFT 56
/* Bits 55:8 of imm of a CLASS_VECTOR instruction are 0 from the decoder (its immediate is a
 * zero-extended imm8 or none) and belong to vector_bind, which keeps the number of the stub there.
 */
#define INSN_BIND_SHIFT 8
static inline unsigned insn_vvvv(const struct insn *i)
{
    return i->prefixes & PREFIX_VEX ? (unsigned)(i->imm >> INSN_VEX_SHIFT) & 15 : 0;
}
static inline unsigned insn_vex_l(const struct insn *i)
{
    return i->prefixes & PREFIX_VEX ? (unsigned)(i->imm >> (INSN_VEX_SHIFT + 4)) & 1 : 0;
}
static inline unsigned insn_vex_w(const struct insn *i)
{
    return i->prefixes & PREFIX_VEX ? (unsigned)(i->imm >> (INSN_VEX_SHIFT + 5)) & 1 : 0;
}

#endif
