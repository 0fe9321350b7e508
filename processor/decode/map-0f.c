/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The legacy two-byte opcodes 0F xx (SDM volume 2, table A-3). */
#include "processor/decode/map-vector.h"
#include "processor/decode/table.h"

#define LOCK       TRAIT_LOCKABLE
#define PUSHES     TRAIT_STACK | TRAIT_DEFAULT64
#define NEAR       BRANCH | TRAIT_FORCE64
#define PRIVILEGED TRAIT_PRIVILEGED
#define PROTECTED  TRAIT_PROTECTED
#define VMX(name, op, ...)                                                                         \
    SYSTEM(name, op, PRIVILEGED | PROTECTED, FEATURE(VMX), USES(STATE | MEMORY),                   \
           SETS(STATE | MEMORY), .opsize = OPSIZE_N, __VA_ARGS__)

#define GROUP6                                                                                     \
    BY_REG(BY_MOD(SYSTEM("sldt", SLDT, PROTECTED, OPS1(W(Ew)), USES(STATE)),                       \
                  SYSTEM("sldt", SLDT, PROTECTED, OPS1(W(Ev)), USES(STATE))),                      \
           BY_MOD(SYSTEM("str", STR, PROTECTED, OPS1(W(Ew)), USES(STATE)),                         \
                  SYSTEM("str", STR, PROTECTED, OPS1(W(Ev)), USES(STATE))),                        \
           SYSTEM("lldt", LLDT, PROTECTED | PRIVILEGED, OPS1(R(Ew)), USES(MEMORY), SETS(STATE)),   \
           SYSTEM("ltr", LTR, PROTECTED | PRIVILEGED, OPS1(R(Ew)), USES(MEMORY),                   \
                  SETS(STATE | MEMORY)),                                                           \
           SYSTEM("verr", VERR, PROTECTED, OPS1(R(Ew)), USES(MEMORY), WRITES(ZF)),                 \
           SYSTEM("verw", VERW, PROTECTED, OPS1(R(Ew)), USES(MEMORY), WRITES(ZF)))

/* 0F 01 with a register ModRM: instructions without operands.  Those with a mandatory prefix or of
 * features not offered (SGX, CET, UINTR, SEAM, SVM but VMMCALL ...) are #UD. */
#define PLAIN(...) BY_PREFIX(__VA_ARGS__)
#define GROUP7                                                                                     \
    BY_REG(BY_MOD(SYSTEM("sgdt", SGDT, TRAIT_FORCE64, OPS1(W(Ms)), USES(STATE)),                   \
                  BY_RM([1] = PLAIN(SYSTEM("vmcall", VMCALL, ENDS, OPS_MODRM, FEATURE(VMX),        \
                                           USES(ALL_GPR8 | STATE), SETS(STATE))),                  \
                        [2] = PLAIN(VMX("vmlaunch", VMLAUNCH, OPS_MODRM, WRITES(OSZAPC))),         \
                        [3] = PLAIN(VMX("vmresume", VMRESUME, OPS_MODRM, WRITES(OSZAPC))),         \
                        [4] = PLAIN(VMX("vmxoff", VMXOFF, OPS_MODRM, WRITES(OSZAPC))))),           \
           BY_MOD(SYSTEM("sidt", SIDT, TRAIT_FORCE64, OPS1(W(Ms)), USES(STATE)),                   \
                  BY_RM([0] = PLAIN(SYSTEM("monitor", MONITOR, PRIVILEGED, OPS_MODRM,              \
                                           FEATURE(MONITOR), USES(RAX | RCX | RDX))),              \
                        [1] = PLAIN(SYSTEM("mwait", MWAIT, PRIVILEGED | ENDS, OPS_MODRM,           \
                                           FEATURE(MONITOR), USES(RAX | RCX))),                    \
                        [2] = PLAIN(SYSTEM("clac", CLAC, PRIVILEGED, OPS_MODRM, FEATURE(SMAP))),   \
                        [3] = PLAIN(SYSTEM("stac", STAC, PRIVILEGED, OPS_MODRM, FEATURE(SMAP))))), \
           BY_MOD(SYSTEM("lgdt", LGDT, PRIVILEGED | TRAIT_FORCE64, OPS1(R(Ms)), SETS(STATE)),      \
                  BY_RM([0] = PLAIN(VECTOR("xgetbv", XGETBV, XSAVE, OPS_MODRM, USES(RCX | STATE),  \
                                           SETS(RAX | RDX))),                                      \
                        [1] = PLAIN(VECTOR("xsetbv", XSETBV, XSAVE, OPS_MODRM,                     \
                                           TRAITS(PRIVILEGED | TRAIT_SENSITIVE | ENDS),            \
                                           USES(RAX | RCX | RDX), SETS(STATE))),                   \
                        [4] = PLAIN(SYSTEM("vmfunc", VMFUNC, ENDS, OPS_MODRM, FEATURE(VMX),        \
                                           USES(RAX | RCX | STATE), SETS(STATE))))),               \
           BY_MOD(SYSTEM("lidt", LIDT, PRIVILEGED | TRAIT_FORCE64, OPS1(R(Ms)), SETS(STATE)),      \
                  BY_RM([1] = SYSTEM("vmmcall", VMMCALL, ENDS, OPS_MODRM, FEATURE(SVM),            \
                                     USES(ALL_GPR8 | STATE), SETS(STATE)))),                       \
           BY_MOD(SYSTEM("smsw", SMSW, 0, OPS1(W(Ew)), USES(STATE)),                               \
                  SYSTEM("smsw", SMSW, 0, OPS1(W(Ev)), USES(STATE))),                              \
           INVALID, SYSTEM("lmsw", LMSW, PRIVILEGED | ENDS, OPS1(R(Ew)), SETS(STATE)),             \
           BY_MOD(SYSTEM("invlpg", INVLPG, PRIVILEGED | ENDS, OPS1(A(Mb)), SIZE_N, SETS(STATE)),   \
                  BY_RM([0] = SYSTEM("swapgs", SWAPGS, PRIVILEGED | TRAIT_ONLY64, OPS_MODRM,       \
                                     USES(STATE), SETS(STATE)),                                    \
                        [1] = SYSTEM("rdtscp", RDTSCP, 0, OPS_MODRM, FEATURE(RDTSCP), USES(STATE), \
                                     SETS(RAX | RCX | RDX)))))

/* Hint instructions: a ModRM that is parsed, no access. */
#define HINT(name)     GENERAL(name, NOP, OPS1(A(Ev)))
#define PREFETCH(name) BY_MOD(GENERAL(name, NOP, OPS1(A(Mb))), HINT("nop"))

#define CMOV(opcode, cc, flags)                                                                    \
    [opcode] = GENERAL("cmov" cc, CMOVCC, OPS2(RW(Gv), R(Ev)), READS(flags), TRAITS(TRAIT_COND))
#define JCC_NEAR(opcode, cc, flags)                                                                \
    [opcode] = GENERAL("j" cc, JCC, OPS1(R(Jz)), READS(flags), TRAITS(NEAR | TRAIT_COND))
#define SETCC(opcode, cc, flags)                                                                   \
    [opcode] = GENERAL("set" cc, SETCC, OPS1(W(Eb)), BYTE, READS(flags), TRAITS(TRAIT_COND))
#define BSWAP        GENERAL("bswap", BSWAP, OPS1(RW(Zv)))
#define BIT_TEST     WRITES(CF), UNDEFINES(OSAP)
#define DOUBLE_SHIFT READS(OSZAPC), WRITES(SZPC), UNDEFINES(OF | AF)
#define PUSH_SEGMENT SYSTEM("push", PUSH_SEG, PUSHES, OPS1(R(Sop)), USES(RSP), SETS(RSP | MEMORY))
#define POP_SEGMENT                                                                                \
    SYSTEM("pop", POP_SEG, PUSHES | ENDS, OPS1(W(Sop)), USES(RSP | MEMORY), SETS(RSP))
#define LOAD_FAR(name) SYSTEM(name, LOAD_FAR, ENDS, OPS2(W(Gv), R(Mp)), SETS(STATE))

#define GROUP9                                                                                     \
    BY_MOD(                                                                                        \
        BY_REG([1] = BY_OPSIZE(CMPXCHG8B, CMPXCHG8B,                                               \
                               GENERAL("cmpxchg16b", CMPXCHG8B, OPS1(RW(Mdq)), FEATURE(CX16),      \
                                       TRAITS(LOCK | TRAIT_ALIGNED), CMPXCHG8B_USE)),              \
               [3] =                                                                               \
                   BY_PREFIX(XSTATE("xrstors", XRSTORS, XSAVES, PRIVILEGED, OPS1(R(M)), XLOADS)),  \
               [4] = BY_PREFIX(XSTATE("xsavec", XSAVEC, XSAVEC, 0, OPS1(W(M)), XSTORES)),          \
               [5] = BY_PREFIX(XSTATE("xsaves", XSAVES, XSAVES, PRIVILEGED, OPS1(W(M)), XSTORES)), \
               [6] = BY_PREFIX(VMX("vmptrld", VMPTRLD, OPS1(R(Mq)), WRITES(OSZAPC)),               \
                               VMX("vmclear", VMCLEAR, OPS1(R(Mq)), WRITES(OSZAPC)),               \
                               VMX("vmxon", VMXON, OPS1(R(Mq)), WRITES(OSZAPC))),                  \
               [7] = BY_PREFIX(VMX("vmptrst", VMPTRST, OPS1(W(Mq)), WRITES(OSZAPC)))),             \
        BY_REG([6] = BY_PREFIX(RANDOM("rdrand", RDRAND), RANDOM("rdrand", RDRAND)),                \
               [7] = BY_PREFIX(                                                                    \
                   RANDOM("rdseed", RDSEED), RANDOM("rdseed", RDSEED),                             \
                   SYSTEM("rdpid", RDPID, 0, OPS1(W(Rn)), FEATURE(RDPID), SIZE_N, USES(STATE)))))
#define CMPXCHG8B_USE USES(RAX | RBX | RCX | RDX), SETS(RAX | RDX), WRITES(ZF)
#define CMPXCHG8B     GENERAL("cmpxchg8b", CMPXCHG8B, OPS1(RW(Mq)), TRAITS(LOCK), CMPXCHG8B_USE)
#define RANDOM(name, op)                                                                           \
    GENERAL(name, op, OPS1(W(Rv)), FEATURE(op), TRAITS(TRAIT_SENSITIVE), WRITES(OSZAPC))
#define Rn OPERAND_RM, SIZE_OP, ENC_MODRM | ENC_REG_ONLY

#define BASE_OF(name, op, access)                                                                  \
    SYSTEM(name, op, TRAIT_ONLY64, OPS1(access(Ry)), SIZE_Y, FEATURE(FSGSBASE), USES(STATE),       \
           SETS(STATE))
#define GROUP15                                                                                    \
    BY_MOD(BY_REG(BY_PREFIX(VECTOR("fxsave", FXSAVE, FXSR, OPS1(W(M)), USES(XSTATES))),            \
                  BY_PREFIX(VECTOR("fxrstor", FXRSTOR, FXSR, OPS1(R(M)), SETS(XSTATES))),          \
                  BY_PREFIX(VECTOR("ldmxcsr", LDMXCSR, SSE, OPS1(R(Md)), SETS(MXCSR))),            \
                  BY_PREFIX(VECTOR("stmxcsr", STMXCSR, SSE, OPS1(W(Md)), USES(MXCSR))),            \
                  BY_PREFIX(XSTATE("xsave", XSAVE, XSAVE, 0, OPS1(RW(M)), XSTORES)),               \
                  BY_PREFIX(XSTATE("xrstor", XRSTOR, XSAVE, 0, OPS1(R(M)), XLOADS)),               \
                  BY_PREFIX(XSTATE("xsaveopt", XSAVEOPT, XSAVEOPT, 0, OPS1(RW(M)), XSTORES),       \
                            GENERAL("clwb", CLFLUSH, OPS1(R(Mb)), FEATURE(CLWB))),                 \
                  BY_PREFIX(GENERAL("clflush", CLFLUSH, OPS1(R(Mb))),                              \
                            GENERAL("clflushopt", CLFLUSH, OPS1(R(Mb)), FEATURE(CLFLUSHOPT)))),    \
           BY_REG(BY_PREFIX([2] = BASE_OF("rdfsbase", RDFSBASE, W)),                               \
                  BY_PREFIX([2] = BASE_OF("rdgsbase", RDGSBASE, W)),                               \
                  BY_PREFIX([2] = BASE_OF("wrfsbase", WRFSBASE, R)),                               \
                  BY_PREFIX([2] = BASE_OF("wrgsbase", WRGSBASE, R)), INVALID,                      \
                  BY_PREFIX(GENERAL("lfence", NOP, OPS_MODRM, FEATURE(SSE2))),                     \
                  BY_PREFIX(GENERAL("mfence", NOP, OPS_MODRM, FEATURE(SSE2))),                     \
                  BY_PREFIX(GENERAL("sfence", NOP, OPS_MODRM, FEATURE(SSE)))))

/* ---------------------------------------------------------------- vector rows */

/* Packed single, packed double. */
#define PS_PD(name, ...)                                                                           \
    BY_PREFIX(SSE_ROW(name "ps", SSE, __VA_ARGS__), SSE_ROW(name "pd", SSE2, __VA_ARGS__))
/* Packed and scalar, single and double, with ACCESS to the packed destination. */
#define PACKED_SCALAR(name, access)                                                                \
    BY_PREFIX(SSE_FP(name "ps", SSE, OPS2(access(V), R(Wdq))),                                     \
              SSE_FP(name "pd", SSE2, OPS2(access(V), R(Wdq))),                                    \
              NATIVE_FP(name "ss", SSE, OPS2(RW(V), R(Wd))),                                       \
              NATIVE_FP(name "sd", SSE2, OPS2(RW(V), R(Wq))))
#define COMPARE(name)                                                                              \
    BY_PREFIX(NATIVE(name "ss", SSE, OPS2(R(V), R(Wd)), COMPARES),                                 \
              NATIVE(name "sd", SSE2, OPS2(R(V), R(Wq)), COMPARES))
#define COMPARES TRAITS(TRAIT_FP | TRAIT_EFLAGS_OUT), WRITES(OSZAPC), ROUNDS
/* Conversions between MMX and XMM. */
#define MMX_FP(name, f, traits, ...)                                                               \
    NATIVE(name, f, TRAITS(traits), USES(X87_STATE | MXCSR), SETS(X87_STATE | MXCSR), __VA_ARGS__)
/* The same on MMX (since feature F) and, with 66, on XMM. */
#define INTEGER(name, f)                                                                           \
    BY_PREFIX(MMX_ROW(name, f, OPS2(RW(P), R(Q))), SSE_ROW(name, SSE2, OPS2(RW(V), R(Wdq))))
#define INTEGER_LOW(name)                                                                          \
    BY_PREFIX(MMX_ROW(name, MMX, OPS2(RW(P), R(Qd))), SSE_ROW(name, SSE2, OPS2(RW(V), R(Wdq))))
#define SHIFT_IMMEDIATE(name)                                                                      \
    BY_PREFIX(MMX_ROW(name, MMX, OPS2(RW(N), R(Iub))), NATIVE(name, SSE2, OPS2(RW(U), R(Iub))))
/* A scalar move keeps the rest of a register, but a load clears it. */
#define SCALAR_LOAD(name, f, memory)                                                               \
    BY_MOD(NATIVE(name, f, OPS2(W(V), R(memory))), NATIVE(name, f, OPS2(RW(V), R(U))))
#define SCALAR_STORE(name, f, memory)                                                              \
    BY_MOD(NATIVE(name, f, OPS2(W(memory), R(V))), NATIVE(name, f, OPS2(RW(U), R(V))))

const struct entry opcodes_0f[256] = {
    [0x00] = GROUP6,
    [0x01] = GROUP7,
    [0x02] = SYSTEM("lar", LAR, PROTECTED, OPS2(RW(Gv), R(Ew)), USES(MEMORY), WRITES(ZF)),
    [0x03] = SYSTEM("lsl", LSL, PROTECTED, OPS2(RW(Gv), R(Ew)), USES(MEMORY), WRITES(ZF)),
    [0x05] = SYSTEM("syscall", SYSCALL, BRANCH, OPS0, FEATURE(SYSCALL), READS(ALL_FLAGS),
                    WRITES(ALL_FLAGS), USES(STATE), SETS(RCX | R11 | STATE)),
    [0x06] = SYSTEM("clts", CLTS, PRIVILEGED | ENDS, OPS0, SETS(STATE)),
    [0x07] = SYSTEM("sysret", SYSRET, PRIVILEGED | BRANCH, OPS0, FEATURE(SYSCALL),
                    WRITES(ALL_FLAGS), USES(RCX | R11 | STATE), SETS(STATE)),
    [0x08] = SYSTEM("invd", INVD, PRIVILEGED, OPS0, SETS(STATE)),
    [0x09] = SYSTEM("wbinvd", WBINVD, PRIVILEGED, OPS0, SETS(STATE)),
    /* 0F 0B (UD2), 0F B9 (UD1) and 0F FF (UD0) are #UD as any other hole. */
    [0x0d] = BY_REG(PREFETCH("prefetch"), PREFETCH("prefetchw"), PREFETCH("prefetchwt1"),
                    PREFETCH("prefetch"), PREFETCH("prefetch"), PREFETCH("prefetch"),
                    PREFETCH("prefetch"), PREFETCH("prefetch")),
    [0x10] = BY_PREFIX(NATIVE("movups", SSE, OPS2(W(V), R(Wdq))),
                       NATIVE("movupd", SSE2, OPS2(W(V), R(Wdq))), SCALAR_LOAD("movss", SSE, Md),
                       SCALAR_LOAD("movsd", SSE2, Mq)),
    [0x11] = BY_PREFIX(NATIVE("movups", SSE, OPS2(W(Wdq), R(V))),
                       NATIVE("movupd", SSE2, OPS2(W(Wdq), R(V))), SCALAR_STORE("movss", SSE, Md),
                       SCALAR_STORE("movsd", SSE2, Mq)),
    [0x12] = BY_PREFIX(BY_MOD(NATIVE("movlps", SSE, OPS2(RW(V), R(Mq))),
                              NATIVE("movhlps", SSE, OPS2(RW(V), R(U)))),
                       NATIVE("movlpd", SSE2, OPS2(RW(V), R(Mq))),
                       SSE_ROW("movsldup", SSE3, OPS2(W(V), R(Wdq))),
                       NATIVE("movddup", SSE3, OPS2(W(V), R(Wq)))),
    [0x13] = BY_PREFIX(NATIVE("movlps", SSE, OPS2(W(Mq), R(V))),
                       NATIVE("movlpd", SSE2, OPS2(W(Mq), R(V)))),
    [0x14] = PS_PD("unpckl", OPS2(RW(V), R(Wdq))),
    [0x15] = PS_PD("unpckh", OPS2(RW(V), R(Wdq))),
    [0x16] = BY_PREFIX(BY_MOD(NATIVE("movhps", SSE, OPS2(RW(V), R(Mq))),
                              NATIVE("movlhps", SSE, OPS2(RW(V), R(U)))),
                       NATIVE("movhpd", SSE2, OPS2(RW(V), R(Mq))),
                       SSE_ROW("movshdup", SSE3, OPS2(W(V), R(Wdq)))),
    [0x17] = BY_PREFIX(NATIVE("movhps", SSE, OPS2(W(Mq), R(V))),
                       NATIVE("movhpd", SSE2, OPS2(W(Mq), R(V)))),
    [0x18] = BY_REG(PREFETCH("prefetchnta"), PREFETCH("prefetcht0"), PREFETCH("prefetcht1"),
                    PREFETCH("prefetcht2"), HINT("nop"), HINT("nop"), HINT("nop"), HINT("nop")),
    [0x19] = HINT("nop"),
    [0x1a] = HINT("nop"),
    [0x1b] = HINT("nop"),
    [0x1c] = HINT("nop"),
    [0x1d] = HINT("nop"),
    [0x1e] = HINT("nop"),
    [0x1f] = HINT("nop"),

    [0x20] = SYSTEM("mov", MOV_FROM_CR, PRIVILEGED, OPS2(W(Rc), R(Cd)), SIZE_N, UNDEFINES(OSZAPC),
                    USES(STATE)),
    [0x21] = SYSTEM("mov", MOV_FROM_DR, PRIVILEGED, OPS2(W(Rc), R(Dd)), SIZE_N, UNDEFINES(OSZAPC),
                    USES(STATE)),
    [0x22] = SYSTEM("mov", MOV_TO_CR, PRIVILEGED | ENDS, OPS2(W(Cd), R(Rc)), SIZE_N,
                    UNDEFINES(OSZAPC), SETS(STATE)),
    [0x23] = SYSTEM("mov", MOV_TO_DR, PRIVILEGED | ENDS, OPS2(W(Dd), R(Rc)), SIZE_N,
                    UNDEFINES(OSZAPC), SETS(STATE)),
    [0x28] = PS_PD("mova", OPS2(W(V), R(Wdq))),
    [0x29] = PS_PD("mova", OPS2(W(Wdq), R(V))),
    [0x2a] = BY_PREFIX(MMX_FP("cvtpi2ps", SSE, TRAIT_FP, OPS2(RW(V), R(Q))),
                       MMX_FP("cvtpi2pd", SSE2, TRAIT_FP, OPS2(W(V), R(Q))),
                       NATIVE_FP("cvtsi2ss", SSE, OPS2(RW(V), R(Ey))),
                       NATIVE_FP("cvtsi2sd", SSE2, OPS2(RW(V), R(Ey)))),
    [0x2b] = PS_PD("movnt", OPS2(W(Mdq), R(V))),
    [0x2c] = BY_PREFIX(MMX_FP("cvttps2pi", SSE, TRAIT_FP, OPS2(W(P), R(Wq))),
                       MMX_FP("cvttpd2pi", SSE2, TRAIT_FP | TRAIT_ALIGNED, OPS2(W(P), R(Wdq))),
                       NATIVE_FP("cvttss2si", SSE, OPS2(W(Gy), R(Wd))),
                       NATIVE_FP("cvttsd2si", SSE2, OPS2(W(Gy), R(Wq)))),
    [0x2d] = BY_PREFIX(MMX_FP("cvtps2pi", SSE, TRAIT_FP, OPS2(W(P), R(Wq))),
                       MMX_FP("cvtpd2pi", SSE2, TRAIT_FP | TRAIT_ALIGNED, OPS2(W(P), R(Wdq))),
                       NATIVE_FP("cvtss2si", SSE, OPS2(W(Gy), R(Wd))),
                       NATIVE_FP("cvtsd2si", SSE2, OPS2(W(Gy), R(Wq)))),
    [0x2e] = COMPARE("ucomi"),
    [0x2f] = COMPARE("comi"),
    [0x30] = SYSTEM("wrmsr", WRMSR, PRIVILEGED | ENDS, OPS0, USES(RAX | RCX | RDX), SETS(STATE)),
    [0x31] = SYSTEM("rdtsc", RDTSC, 0, OPS0, USES(STATE), SETS(RAX | RDX)),
    [0x32] = SYSTEM("rdmsr", RDMSR, PRIVILEGED, OPS0, USES(RCX | STATE), SETS(RAX | RDX)),
    [0x33] = SYSTEM("rdpmc", RDPMC, 0, OPS0, USES(RCX | STATE), SETS(RAX | RDX)),
    [0x34] = SYSTEM("sysenter", SYSENTER, BRANCH, OPS0, WRITES(IF), USES(STATE), SETS(RSP | STATE)),
    [0x35] = SYSTEM("sysexit", SYSEXIT, PRIVILEGED | PROTECTED | BRANCH, OPS0,
                    USES(RCX | RDX | STATE), SETS(RSP | STATE)),
    BY_CONDITION(CMOV, 0x40),
    [0x50] = BY_PREFIX(NATIVE("movmskps", SSE, OPS2(W(Gy), R(U))),
                       NATIVE("movmskpd", SSE2, OPS2(W(Gy), R(U)))),
    [0x51] = PACKED_SCALAR("sqrt", W),
    [0x52] = BY_PREFIX([0] = SSE_ROW("rsqrtps", SSE, OPS2(W(V), R(Wdq))), [2] = NATIVE(
                                                                              "rsqrtss", SSE,
                                                                              OPS2(RW(V), R(Wd)))),
    [0x53] = BY_PREFIX([0] = SSE_ROW("rcpps", SSE, OPS2(W(V), R(Wdq))), [2] = NATIVE("rcpss", SSE,
                                                                                     OPS2(RW(V),
                                                                                          R(Wd)))),
    [0x54] = PS_PD("and", OPS2(RW(V), R(Wdq))),
    [0x55] = PS_PD("andn", OPS2(RW(V), R(Wdq))),
    [0x56] = PS_PD("or", OPS2(RW(V), R(Wdq))),
    [0x57] = PS_PD("xor", OPS2(RW(V), R(Wdq))),
    [0x58] = PACKED_SCALAR("add", RW),
    [0x59] = PACKED_SCALAR("mul", RW),
    [0x5a] = BY_PREFIX(NATIVE_FP("cvtps2pd", SSE2, OPS2(W(V), R(Wq))),
                       SSE_FP("cvtpd2ps", SSE2, OPS2(W(V), R(Wdq))),
                       NATIVE_FP("cvtss2sd", SSE2, OPS2(RW(V), R(Wd))),
                       NATIVE_FP("cvtsd2ss", SSE2, OPS2(RW(V), R(Wq)))),
    [0x5b] = BY_PREFIX(SSE_FP("cvtdq2ps", SSE2, OPS2(W(V), R(Wdq))),
                       SSE_FP("cvtps2dq", SSE2, OPS2(W(V), R(Wdq))),
                       SSE_FP("cvttps2dq", SSE2, OPS2(W(V), R(Wdq)))),
    [0x5c] = PACKED_SCALAR("sub", RW),
    [0x5d] = PACKED_SCALAR("min", RW),
    [0x5e] = PACKED_SCALAR("div", RW),
    [0x5f] = PACKED_SCALAR("max", RW),
    [0x60] = INTEGER_LOW("punpcklbw"),
    [0x61] = INTEGER_LOW("punpcklwd"),
    [0x62] = INTEGER_LOW("punpckldq"),
    [0x63] = INTEGER("packsswb", MMX),
    [0x64] = INTEGER("pcmpgtb", MMX),
    [0x65] = INTEGER("pcmpgtw", MMX),
    [0x66] = INTEGER("pcmpgtd", MMX),
    [0x67] = INTEGER("packuswb", MMX),
    [0x68] = INTEGER("punpckhbw", MMX),
    [0x69] = INTEGER("punpckhwd", MMX),
    [0x6a] = INTEGER("punpckhdq", MMX),
    [0x6b] = INTEGER("packssdw", MMX),
    [0x6c] = BY_PREFIX([1] = SSE_ROW("punpcklqdq", SSE2, OPS2(RW(V), R(Wdq)))),
    [0x6d] = BY_PREFIX([1] = SSE_ROW("punpckhqdq", SSE2, OPS2(RW(V), R(Wdq)))),
    [0x6e] = BY_PREFIX(
        BY_W64(MMX_ROW("movd", MMX, OPS2(W(P), R(Ey))), MMX_ROW("movq", MMX, OPS2(W(P), R(Ey)))),
        BY_W64(NATIVE("movd", SSE2, OPS2(W(V), R(Ey))), NATIVE("movq", SSE2, OPS2(W(V), R(Ey))))),
    [0x6f] = BY_PREFIX(MMX_ROW("movq", MMX, OPS2(W(P), R(Q))),
                       SSE_ROW("movdqa", SSE2, OPS2(W(V), R(Wdq))),
                       NATIVE("movdqu", SSE2, OPS2(W(V), R(Wdq)))),
    [0x70] = BY_PREFIX(MMX_ROW("pshufw", SSE, OPS3(W(P), R(Q), R(Iub))),
                       SSE_ROW("pshufd", SSE2, OPS3(W(V), R(Wdq), R(Iub))),
                       SSE_ROW("pshufhw", SSE2, OPS3(W(V), R(Wdq), R(Iub))),
                       SSE_ROW("pshuflw", SSE2, OPS3(W(V), R(Wdq), R(Iub)))),
    [0x71] = BY_REG([2] = SHIFT_IMMEDIATE("psrlw"), [4] = SHIFT_IMMEDIATE("psraw"),
                    [6] = SHIFT_IMMEDIATE("psllw")),
    [0x72] = BY_REG([2] = SHIFT_IMMEDIATE("psrld"), [4] = SHIFT_IMMEDIATE("psrad"),
                    [6] = SHIFT_IMMEDIATE("pslld")),
    [0x73] = BY_REG([2] = SHIFT_IMMEDIATE("psrlq"),
                    [3] = BY_PREFIX([1] = NATIVE("psrldq", SSE2, OPS2(RW(U), R(Iub)))),
                    [6] = SHIFT_IMMEDIATE("psllq"),
                    [7] = BY_PREFIX([1] = NATIVE("pslldq", SSE2, OPS2(RW(U), R(Iub))))),
    [0x74] = INTEGER("pcmpeqb", MMX),
    [0x75] = INTEGER("pcmpeqw", MMX),
    [0x76] = INTEGER("pcmpeqd", MMX),
    [0x77] = BY_PREFIX(VECTOR("emms", EMMS, MMX, OPS0, USES(X87_STATE), SETS(X87_STATE))),
    [0x78] = BY_PREFIX(VMX("vmread", VMREAD, OPS2(W(Ev), R(Gv)), WRITES(OSZAPC))),
    [0x79] = BY_PREFIX(VMX("vmwrite", VMWRITE, OPS2(R(Gv), R(Ev)), WRITES(OSZAPC))),
    [0x7c] = BY_PREFIX([1] = SSE_FP("haddpd", SSE3, OPS2(RW(V), R(Wdq))), [3] = SSE_FP(
                                                                              "haddps", SSE3,
                                                                              OPS2(RW(V), R(Wdq)))),
    [0x7d] = BY_PREFIX([1] = SSE_FP("hsubpd", SSE3, OPS2(RW(V), R(Wdq))), [3] = SSE_FP(
                                                                              "hsubps", SSE3,
                                                                              OPS2(RW(V), R(Wdq)))),
    [0x7e] = BY_PREFIX(
        BY_W64(MMX_ROW("movd", MMX, OPS2(W(Ey), R(P))), MMX_ROW("movq", MMX, OPS2(W(Ey), R(P)))),
        BY_W64(NATIVE("movd", SSE2, OPS2(W(Ey), R(V))), NATIVE("movq", SSE2, OPS2(W(Ey), R(V)))),
        NATIVE("movq", SSE2, OPS2(W(V), R(Wq)))),
    [0x7f] = BY_PREFIX(MMX_ROW("movq", MMX, OPS2(W(Q), R(P))),
                       SSE_ROW("movdqa", SSE2, OPS2(W(Wdq), R(V))),
                       NATIVE("movdqu", SSE2, OPS2(W(Wdq), R(V)))),
    BY_CONDITION(JCC_NEAR, 0x80),
    BY_CONDITION(SETCC, 0x90),
    [0xa0] = PUSH_SEGMENT,
    [0xa1] = POP_SEGMENT,
    [0xa2] = SYSTEM("cpuid", CPUID, 0, OPS0, USES(RAX | RCX), SETS(RAX | RBX | RCX | RDX)),
    [0xa3] = GENERAL("bt", BT, OPS2(R(Ev), R(Gv)), BIT_TEST),
    [0xa4] = GENERAL("shld", SHLD, OPS3(RW(Ev), R(Gv), R(Iub)), DOUBLE_SHIFT),
    [0xa5] = GENERAL("shld", SHLD, OPS2(RW(Ev), R(Gv)), DOUBLE_SHIFT, USES(RCX)),
    [0xa8] = PUSH_SEGMENT,
    [0xa9] = POP_SEGMENT,
    [0xaa] = SYSTEM("rsm", RSM, BRANCH, OPS0, USES(STATE), SETS(STATE), WRITES(ALL_FLAGS)),
    [0xab] = GENERAL("bts", BTS, OPS2(RW(Ev), R(Gv)), TRAITS(LOCK), BIT_TEST),
    [0xac] = GENERAL("shrd", SHRD, OPS3(RW(Ev), R(Gv), R(Iub)), DOUBLE_SHIFT),
    [0xad] = GENERAL("shrd", SHRD, OPS2(RW(Ev), R(Gv)), DOUBLE_SHIFT, USES(RCX)),
    [0xae] = GROUP15,
    [0xaf] = GENERAL("imul", IMUL2, OPS2(RW(Gv), R(Ev)), WRITES(OF | CF), UNDEFINES(SZAP)),
    [0xb0] = GENERAL("cmpxchg", CMPXCHG, OPS2(RW(Eb), R(Gb)), BYTE, TRAITS(LOCK), WRITES(OSZAPC),
                     USES(RAX), SETS(RAX)),
    [0xb1] = GENERAL("cmpxchg", CMPXCHG, OPS2(RW(Ev), R(Gv)), TRAITS(LOCK), WRITES(OSZAPC),
                     USES(RAX), SETS(RAX)),
    [0xb2] = LOAD_FAR("lss"),
    [0xb3] = GENERAL("btr", BTR, OPS2(RW(Ev), R(Gv)), TRAITS(LOCK), BIT_TEST),
    [0xb4] = LOAD_FAR("lfs"),
    [0xb5] = LOAD_FAR("lgs"),
    [0xb6] = GENERAL("movzx", MOVZX, OPS2(W(Gv), R(Eb))),
    [0xb7] = GENERAL("movzx", MOVZX, OPS2(W(Gv), R(Ew))),
    [0xb8] = BY_F3(INVALID,
                   GENERAL("popcnt", POPCNT, OPS2(W(Gv), R(Ev)), FEATURE(POPCNT), WRITES(OSZAPC))),
    [0xba] = BY_REG([4] = GENERAL("bt", BT, OPS2(R(Ev), R(Iub)), BIT_TEST),
                    [5] = GENERAL("bts", BTS, OPS2(RW(Ev), R(Iub)), TRAITS(LOCK), BIT_TEST),
                    [6] = GENERAL("btr", BTR, OPS2(RW(Ev), R(Iub)), TRAITS(LOCK), BIT_TEST),
                    [7] = GENERAL("btc", BTC, OPS2(RW(Ev), R(Iub)), TRAITS(LOCK), BIT_TEST)),
    [0xbb] = GENERAL("btc", BTC, OPS2(RW(Ev), R(Gv)), TRAITS(LOCK), BIT_TEST),
    /* BSF and BSR leave the destination alone when the source is 0. */
    [0xbc] = BY_F3(GENERAL("bsf", BSF, OPS2(RW(Gv), R(Ev)), WRITES(ZF), UNDEFINES(OSAPC)),
                   GENERAL("tzcnt", TZCNT, OPS2(W(Gv), R(Ev)), FEATURE(BMI1), WRITES(ZF | CF),
                           UNDEFINES(OF | SF | AF | PF))),
    [0xbd] = BY_F3(GENERAL("bsr", BSR, OPS2(RW(Gv), R(Ev)), WRITES(ZF), UNDEFINES(OSAPC)),
                   GENERAL("lzcnt", LZCNT, OPS2(W(Gv), R(Ev)), FEATURE(LZCNT), WRITES(ZF | CF),
                           UNDEFINES(OF | SF | AF | PF))),
    [0xbe] = GENERAL("movsx", MOVSX, OPS2(W(Gv), R(Eb))),
    [0xbf] = GENERAL("movsx", MOVSX, OPS2(W(Gv), R(Ew))),
    [0xc0] = GENERAL("xadd", XADD, OPS2(RW(Eb), RW(Gb)), BYTE, TRAITS(LOCK), WRITES(OSZAPC)),
    [0xc1] = GENERAL("xadd", XADD, OPS2(RW(Ev), RW(Gv)), TRAITS(LOCK), WRITES(OSZAPC)),
    [0xc3] = BY_PREFIX(GENERAL("movnti", MOVNTI, OPS2(W(My), R(Gy)), SIZE_Y, FEATURE(SSE2))),
    [0xc7] = GROUP9,
    [0xc8] = BSWAP,
    [0xc9] = BSWAP,
    [0xca] = BSWAP,
    [0xcb] = BSWAP,
    [0xcc] = BSWAP,
    [0xcd] = BSWAP,
    [0xce] = BSWAP,
    [0xcf] = BSWAP,
    [0xc2] = BY_PREFIX(SSE_FP("cmpps", SSE, OPS3(RW(V), R(Wdq), R(Iub))),
                       SSE_FP("cmppd", SSE2, OPS3(RW(V), R(Wdq), R(Iub))),
                       NATIVE_FP("cmpss", SSE, OPS3(RW(V), R(Wd), R(Iub))),
                       NATIVE_FP("cmpsd", SSE2, OPS3(RW(V), R(Wq), R(Iub)))),
    [0xc4] = BY_PREFIX(BY_MOD(MMX_ROW("pinsrw", SSE, OPS3(RW(P), R(Mw), R(Iub))),
                              MMX_ROW("pinsrw", SSE, OPS3(RW(P), R(Rd), R(Iub)))),
                       BY_MOD(NATIVE("pinsrw", SSE2, OPS3(RW(V), R(Mw), R(Iub))),
                              NATIVE("pinsrw", SSE2, OPS3(RW(V), R(Rd), R(Iub))))),
    [0xc5] = BY_PREFIX(MMX_ROW("pextrw", SSE, OPS3(W(Gd), R(N), R(Iub))),
                       NATIVE("pextrw", SSE2, OPS3(W(Gd), R(U), R(Iub)))),
    [0xc6] = PS_PD("shuf", OPS3(RW(V), R(Wdq), R(Iub))),
    [0xd0] =
        BY_PREFIX([1] = SSE_FP("addsubpd", SSE3, OPS2(RW(V), R(Wdq))), [3] = SSE_FP(
                                                                           "addsubps", SSE3,
                                                                           OPS2(RW(V), R(Wdq)))),
    [0xd1] = INTEGER("psrlw", MMX),
    [0xd2] = INTEGER("psrld", MMX),
    [0xd3] = INTEGER("psrlq", MMX),
    [0xd4] = INTEGER("paddq", SSE2),
    [0xd5] = INTEGER("pmullw", MMX),
    [0xd6] = BY_PREFIX([1] = NATIVE("movq", SSE2, OPS2(W(Wq), R(V))),
                       [2] = MMX_ROW("movq2dq", SSE2, OPS2(W(V), R(N))),
                       [3] = MMX_ROW("movdq2q", SSE2, OPS2(W(P), R(U)))),
    [0xd7] = BY_PREFIX(MMX_ROW("pmovmskb", SSE, OPS2(W(Gd), R(N))),
                       NATIVE("pmovmskb", SSE2, OPS2(W(Gd), R(U)))),
    [0xd8] = INTEGER("psubusb", MMX),
    [0xd9] = INTEGER("psubusw", MMX),
    [0xda] = INTEGER("pminub", SSE),
    [0xdb] = INTEGER("pand", MMX),
    [0xdc] = INTEGER("paddusb", MMX),
    [0xdd] = INTEGER("paddusw", MMX),
    [0xde] = INTEGER("pmaxub", SSE),
    [0xdf] = INTEGER("pandn", MMX),
    [0xe0] = INTEGER("pavgb", SSE),
    [0xe1] = INTEGER("psraw", MMX),
    [0xe2] = INTEGER("psrad", MMX),
    [0xe3] = INTEGER("pavgw", SSE),
    [0xe4] = INTEGER("pmulhuw", SSE),
    [0xe5] = INTEGER("pmulhw", MMX),
    [0xe6] = BY_PREFIX([1] = SSE_FP("cvttpd2dq", SSE2, OPS2(W(V), R(Wdq))),
                       [2] = NATIVE("cvtdq2pd", SSE2, OPS2(W(V), R(Wq))),
                       [3] = SSE_FP("cvtpd2dq", SSE2, OPS2(W(V), R(Wdq)))),
    [0xe7] = BY_PREFIX(MMX_ROW("movntq", SSE, OPS2(W(Mq), R(P))),
                       SSE_ROW("movntdq", SSE2, OPS2(W(Mdq), R(V)))),
    [0xe8] = INTEGER("psubsb", MMX),
    [0xe9] = INTEGER("psubsw", MMX),
    [0xea] = INTEGER("pminsw", SSE),
    [0xeb] = INTEGER("por", MMX),
    [0xec] = INTEGER("paddsb", MMX),
    [0xed] = INTEGER("paddsw", MMX),
    [0xee] = INTEGER("pmaxsw", SSE),
    [0xef] = INTEGER("pxor", MMX),
    [0xf0] = BY_PREFIX([3] = NATIVE("lddqu", SSE3, OPS2(W(V), R(Mdq)))),
    [0xf1] = INTEGER("psllw", MMX),
    [0xf2] = INTEGER("pslld", MMX),
    [0xf3] = INTEGER("psllq", MMX),
    [0xf4] = INTEGER("pmuludq", SSE2),
    [0xf5] = INTEGER("pmaddwd", MMX),
    [0xf6] = INTEGER("psadbw", SSE),
    [0xf7] =
        BY_PREFIX(VECTOR("maskmovq", MASKMOV, SSE, OPS2(R(P), R(N)), USES(RDI | X87_STATE),
                         SETS(MEMORY | X87_STATE)),
                  VECTOR("maskmovdqu", MASKMOV, SSE2, OPS2(R(V), R(U)), USES(RDI), SETS(MEMORY))),
    [0xf8] = INTEGER("psubb", MMX),
    [0xf9] = INTEGER("psubw", MMX),
    [0xfa] = INTEGER("psubd", MMX),
    [0xfb] = INTEGER("psubq", SSE2),
    [0xfc] = INTEGER("paddb", MMX),
    [0xfd] = INTEGER("paddw", MMX),
    [0xfe] = INTEGER("paddd", MMX),
};
