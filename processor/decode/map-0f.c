/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The legacy two-byte opcodes 0F xx (SDM volume 2, table A-3). */
#include "processor/decode/map-vector.h"
#include "processor/decode/table.h"

/* clang-format off */

#define LOCK TRAIT_LOCKABLE
#define PUSHES TRAIT_STACK | TRAIT_DEFAULT64
#define NEAR BRANCH | TRAIT_FORCE64
#define PRIVILEGED TRAIT_PRIVILEGED
#define PROTECTED TRAIT_PROTECTED
#define VMX(name, op, ...)                                                                             \
    SYSTEM(name, op, PRIVILEGED | PROTECTED, FEATURE(VMX), USES(STATE | MEMORY), SETS(STATE | MEMORY), \
           .opsize = OPSIZE_N, __VA_ARGS__)

#define GROUP6                                                                                         \
    BY_REG(BY_MOD(SYSTEM("sldt", SLDT, PROTECTED, OPS1(W(Ew)), USES(STATE)),                           \
                  SYSTEM("sldt", SLDT, PROTECTED, OPS1(W(Ev)), USES(STATE))),                          \
           BY_MOD(SYSTEM("str", STR, PROTECTED, OPS1(W(Ew)), USES(STATE)),                             \
                  SYSTEM("str", STR, PROTECTED, OPS1(W(Ev)), USES(STATE))),                            \
           SYSTEM("lldt", LLDT, PROTECTED | PRIVILEGED, OPS1(R(Ew)), USES(MEMORY), SETS(STATE)),       \
           SYSTEM("ltr", LTR, PROTECTED | PRIVILEGED, OPS1(R(Ew)), USES(MEMORY),                       \
                  SETS(STATE | MEMORY)),                                                               \
           SYSTEM("verr", VERR, PROTECTED, OPS1(R(Ew)), USES(MEMORY), WRITES(ZF)),                     \
           SYSTEM("verw", VERW, PROTECTED, OPS1(R(Ew)), USES(MEMORY), WRITES(ZF)))

/* 0F 01 with a register ModRM: instructions without operands.  Those with a mandatory prefix or of
 * features not offered (SGX, CET, UINTR, SEAM, SVM but VMMCALL ...) are #UD. */
#define PLAIN(...) BY_PREFIX(__VA_ARGS__)
#define GROUP7                                                                                         \
    BY_REG(BY_MOD(SYSTEM("sgdt", SGDT, TRAIT_FORCE64, OPS1(W(Ms)), USES(STATE)),                                   \
                  BY_RM([1] = PLAIN(SYSTEM("vmcall", VMCALL, ENDS, OPS_MODRM, FEATURE(VMX),            \
                                           USES(ALL_GPR8 | STATE), SETS(STATE))),                      \
                        [2] = PLAIN(VMX("vmlaunch", VMLAUNCH, OPS_MODRM, WRITES(OSZAPC))),             \
                        [3] = PLAIN(VMX("vmresume", VMRESUME, OPS_MODRM, WRITES(OSZAPC))),             \
                        [4] = PLAIN(VMX("vmxoff", VMXOFF, OPS_MODRM, WRITES(OSZAPC))))),               \
           BY_MOD(SYSTEM("sidt", SIDT, TRAIT_FORCE64, OPS1(W(Ms)), USES(STATE)),                                   \
                  BY_RM([0] = PLAIN(SYSTEM("monitor", MONITOR, PRIVILEGED, OPS_MODRM,                  \
                                           FEATURE(MONITOR), USES(RAX | RCX | RDX))),                  \
                        [1] = PLAIN(SYSTEM("mwait", MWAIT, PRIVILEGED | ENDS, OPS_MODRM,               \
                                           FEATURE(MONITOR), USES(RAX | RCX))),                        \
                        [2] = PLAIN(SYSTEM("clac", CLAC, PRIVILEGED | ENDS, OPS_MODRM, FEATURE(SMAP))),\
                        [3] = PLAIN(SYSTEM("stac", STAC, PRIVILEGED | ENDS, OPS_MODRM,                 \
                                           FEATURE(SMAP))))),                                          \
           BY_MOD(SYSTEM("lgdt", LGDT, PRIVILEGED | TRAIT_FORCE64, OPS1(R(Ms)), SETS(STATE)),                          \
                  BY_RM([0] = PLAIN(VECTOR("xgetbv", XGETBV, XSAVE, OPS_MODRM, USES(RCX | STATE),      \
                                           SETS(RAX | RDX))),                                          \
                        [1] = PLAIN(VECTOR("xsetbv", XSETBV, XSAVE, OPS_MODRM,                         \
                                           TRAITS(PRIVILEGED | TRAIT_SENSITIVE | ENDS),                \
                                           USES(RAX | RCX | RDX), SETS(STATE))),                       \
                        [4] = PLAIN(SYSTEM("vmfunc", VMFUNC, ENDS, OPS_MODRM, FEATURE(VMX),            \
                                           USES(RAX | RCX | STATE), SETS(STATE))))),                   \
           BY_MOD(SYSTEM("lidt", LIDT, PRIVILEGED | TRAIT_FORCE64, OPS1(R(Ms)), SETS(STATE)),                          \
                  BY_RM([1] = SYSTEM("vmmcall", VMMCALL, ENDS, OPS_MODRM, FEATURE(SVM),                \
                                     USES(ALL_GPR8 | STATE), SETS(STATE)))),                           \
           BY_MOD(SYSTEM("smsw", SMSW, 0, OPS1(W(Ew)), USES(STATE)),                                   \
                  SYSTEM("smsw", SMSW, 0, OPS1(W(Ev)), USES(STATE))),                                  \
           INVALID,                                                                                    \
           SYSTEM("lmsw", LMSW, PRIVILEGED | ENDS, OPS1(R(Ew)), SETS(STATE)),                          \
           BY_MOD(SYSTEM("invlpg", INVLPG, PRIVILEGED | ENDS, OPS1(A(Mb)), SIZE_N, SETS(STATE)),       \
                  BY_RM([0] = SYSTEM("swapgs", SWAPGS, PRIVILEGED | TRAIT_ONLY64, OPS_MODRM,           \
                                     USES(STATE), SETS(STATE)),                                        \
                        [1] = SYSTEM("rdtscp", RDTSCP, 0, OPS_MODRM, FEATURE(RDTSCP), USES(STATE),     \
                                     SETS(RAX | RCX | RDX)))))

/* Hint instructions: a ModRM that is parsed, no access. */
#define HINT(name) GENERAL(name, NOP, OPS1(A(Ev)))
#define HINT_MEM(name) BY_MOD(GENERAL(name, NOP, OPS1(A(Mb))), GENERAL("nop", NOP, OPS1(A(Ev))))

#define CMOV(opcode, cc, flags)                                                                        \
    [opcode] = GENERAL("cmov" cc, CMOVCC, OPS2(RW(Gv), R(Ev)), READS(flags), TRAITS(TRAIT_COND))
#define JCC_NEAR(opcode, cc, flags)                                                                    \
    [opcode] = GENERAL("j" cc, JCC, OPS1(R(Jz)), READS(flags), TRAITS(NEAR | TRAIT_COND))
#define SETCC(opcode, cc, flags)                                                                       \
    [opcode] = GENERAL("set" cc, SETCC, OPS1(W(Eb)), BYTE, READS(flags), TRAITS(TRAIT_COND))
#define BSWAP GENERAL("bswap", BSWAP, OPS1(RW(Zv)))
#define BIT_TEST WRITES(CF), UNDEFINES(OSAP)
#define DOUBLE_SHIFT READS(OSZAPC), WRITES(SZPC), UNDEFINES(OF | AF)
#define PUSH_SEGMENT SYSTEM("push", PUSH_SEG, PUSHES, OPS1(R(Sop)), USES(RSP), SETS(RSP | MEMORY))
#define POP_SEGMENT SYSTEM("pop", POP_SEG, PUSHES | ENDS, OPS1(W(Sop)), USES(RSP | MEMORY), SETS(RSP))
#define LOAD_FAR(name) SYSTEM(name, LOAD_FAR, ENDS, OPS2(W(Gv), R(Mp)), SETS(STATE))

#define GROUP9                                                                                         \
    BY_MOD(BY_REG([1] = BY_OPSIZE(CMPXCHG8B, CMPXCHG8B,                                                \
                                  GENERAL("cmpxchg16b", CMPXCHG8B, OPS1(RW(Mdq)), FEATURE(CX16),       \
                                          TRAITS(LOCK | TRAIT_ALIGNED), CMPXCHG8B_USE)),               \
                  [3] = BY_PREFIX(XSTATE("xrstors", XRSTORS, XSAVES, PRIVILEGED, OPS1(R(M)),           \
                                         XLOADS)),                                                     \
                  [4] = BY_PREFIX(XSTATE("xsavec", XSAVEC, XSAVEC, 0, OPS1(W(M)), XSTORES)),           \
                  [5] = BY_PREFIX(XSTATE("xsaves", XSAVES, XSAVES, PRIVILEGED, OPS1(W(M)), XSTORES)),  \
                  [6] = BY_PREFIX(VMX("vmptrld", VMPTRLD, OPS1(R(Mq)), WRITES(OSZAPC)),                \
                                  VMX("vmclear", VMCLEAR, OPS1(R(Mq)), WRITES(OSZAPC)),                \
                                  VMX("vmxon", VMXON, OPS1(R(Mq)), WRITES(OSZAPC))),                   \
                  [7] = BY_PREFIX(VMX("vmptrst", VMPTRST, OPS1(W(Mq)), WRITES(OSZAPC)))),              \
           BY_REG([6] = BY_PREFIX(RANDOM("rdrand", RDRAND), RANDOM("rdrand", RDRAND)),                 \
                  [7] = BY_PREFIX(RANDOM("rdseed", RDSEED), RANDOM("rdseed", RDSEED),                  \
                                  SYSTEM("rdpid", RDPID, 0, OPS1(W(Rn)), FEATURE(RDPID), SIZE_N,       \
                                         USES(STATE)))))
#define CMPXCHG8B_USE USES(RAX | RBX | RCX | RDX), SETS(RAX | RDX), WRITES(ZF)
#define CMPXCHG8B GENERAL("cmpxchg8b", CMPXCHG8B, OPS1(RW(Mq)), TRAITS(LOCK), CMPXCHG8B_USE)
#define RANDOM(name, op)                                                                               \
    GENERAL(name, op, OPS1(W(Rv)), FEATURE(op), TRAITS(TRAIT_SENSITIVE), WRITES(OSZAPC))
#define Rn OPERAND_RM, SIZE_OP, ENC_MODRM | ENC_REG_ONLY

#define BASE_OF(name, op, access)                                                                      \
    SYSTEM(name, op, TRAIT_ONLY64, OPS1(access(Ry)), SIZE_Y, FEATURE(FSGSBASE), USES(STATE), SETS(STATE))
#define GROUP15                                                                                        \
    BY_MOD(BY_REG(BY_PREFIX(VECTOR("fxsave", FXSAVE, FXSR, OPS1(W(M)), USES(XSTATES))),                \
                  BY_PREFIX(VECTOR("fxrstor", FXRSTOR, FXSR, OPS1(R(M)), SETS(XSTATES))),              \
                  BY_PREFIX(VECTOR("ldmxcsr", LDMXCSR, SSE, OPS1(R(Md)), SETS(MXCSR))),                \
                  BY_PREFIX(VECTOR("stmxcsr", STMXCSR, SSE, OPS1(W(Md)), USES(MXCSR))),                \
                  BY_PREFIX(XSTATE("xsave", XSAVE, XSAVE, 0, OPS1(RW(M)), XSTORES)),                   \
                  BY_PREFIX(XSTATE("xrstor", XRSTOR, XSAVE, 0, OPS1(R(M)), XLOADS)),                   \
                  BY_PREFIX(XSTATE("xsaveopt", XSAVEOPT, XSAVEOPT, 0, OPS1(RW(M)), XSTORES),           \
                            GENERAL("clwb", CLFLUSH, OPS1(R(Mb)), FEATURE(CLWB))),                     \
                  BY_PREFIX(GENERAL("clflush", CLFLUSH, OPS1(R(Mb))),                                  \
                            GENERAL("clflushopt", CLFLUSH, OPS1(R(Mb)), FEATURE(CLFLUSHOPT)))),        \
           BY_REG(BY_PREFIX([2] = BASE_OF("rdfsbase", RDFSBASE, W)),                                   \
                  BY_PREFIX([2] = BASE_OF("rdgsbase", RDGSBASE, W)),                                   \
                  BY_PREFIX([2] = BASE_OF("wrfsbase", WRFSBASE, R)),                                   \
                  BY_PREFIX([2] = BASE_OF("wrgsbase", WRGSBASE, R)), INVALID,                          \
                  BY_PREFIX(GENERAL("lfence", NOP, OPS_MODRM, FEATURE(SSE2))),                         \
                  BY_PREFIX(GENERAL("mfence", NOP, OPS_MODRM, FEATURE(SSE2))),                         \
                  BY_PREFIX(GENERAL("sfence", NOP, OPS_MODRM, FEATURE(SSE)))))

const struct entry opcodes_0f[256] = {
    [0x00] = GROUP6,
    [0x01] = GROUP7,
    [0x02] = SYSTEM("lar", LAR, PROTECTED, OPS2(RW(Gv), R(Ew)), USES(MEMORY), WRITES(ZF)),
    [0x03] = SYSTEM("lsl", LSL, PROTECTED, OPS2(RW(Gv), R(Ew)), USES(MEMORY), WRITES(ZF)),
    [0x05] = SYSTEM("syscall", SYSCALL, BRANCH, OPS0, FEATURE(SYSCALL), READS(ALL_FLAGS),
                    WRITES(ALL_FLAGS), USES(STATE), SETS(RCX | R11 | STATE)),
    [0x06] = SYSTEM("clts", CLTS, PRIVILEGED | ENDS, OPS0, SETS(STATE)),
    [0x07] = SYSTEM("sysret", SYSRET, PRIVILEGED | BRANCH, OPS0, FEATURE(SYSCALL), WRITES(ALL_FLAGS),
                    USES(RCX | R11 | STATE), SETS(STATE)),
    [0x08] = SYSTEM("invd", INVD, PRIVILEGED, OPS0, SETS(STATE)),
    [0x09] = SYSTEM("wbinvd", WBINVD, PRIVILEGED, OPS0, SETS(STATE)),
    /* 0F 0B (UD2), 0F B9 (UD1) and 0F FF (UD0) are #UD as any other hole. */
    [0x0d] = HINT_MEM("prefetch"),
    VECTOR_0F_10,
    [0x18] = HINT_MEM("prefetch"), [0x19] = HINT("nop"), [0x1a] = HINT("nop"), [0x1b] = HINT("nop"),
    [0x1c] = HINT("nop"), [0x1d] = HINT("nop"), [0x1e] = HINT("nop"), [0x1f] = HINT("nop"),

    [0x20] = SYSTEM("mov", MOV_FROM_CR, PRIVILEGED, OPS2(W(Rc), R(Cd)), SIZE_N,
                    UNDEFINES(OSZAPC), USES(STATE)),
    [0x21] = SYSTEM("mov", MOV_FROM_DR, PRIVILEGED, OPS2(W(Rc), R(Dd)), SIZE_N,
                    UNDEFINES(OSZAPC), USES(STATE)),
    [0x22] = SYSTEM("mov", MOV_TO_CR, PRIVILEGED | ENDS, OPS2(W(Cd), R(Rc)), SIZE_N,
                    UNDEFINES(OSZAPC), SETS(STATE)),
    [0x23] = SYSTEM("mov", MOV_TO_DR, PRIVILEGED | ENDS, OPS2(W(Dd), R(Rc)), SIZE_N,
                    UNDEFINES(OSZAPC), SETS(STATE)),
    VECTOR_0F_28,
    [0x30] = SYSTEM("wrmsr", WRMSR, PRIVILEGED | ENDS, OPS0, USES(RAX | RCX | RDX), SETS(STATE)),
    [0x31] = SYSTEM("rdtsc", RDTSC, 0, OPS0, USES(STATE), SETS(RAX | RDX)),
    [0x32] = SYSTEM("rdmsr", RDMSR, PRIVILEGED, OPS0, USES(RCX | STATE), SETS(RAX | RDX)),
    [0x33] = SYSTEM("rdpmc", RDPMC, 0, OPS0, USES(RCX | STATE), SETS(RAX | RDX)),
    [0x34] = SYSTEM("sysenter", SYSENTER, BRANCH, OPS0, WRITES(IF), USES(STATE), SETS(RSP | STATE)),
    [0x35] = SYSTEM("sysexit", SYSEXIT, PRIVILEGED | PROTECTED | BRANCH, OPS0,
                    USES(RCX | RDX | STATE), SETS(RSP | STATE)),
    BY_CONDITION(CMOV, 0x40),
    VECTOR_0F_50,
    VECTOR_0F_60,
    VECTOR_0F_70,
    [0x78] = BY_PREFIX(VMX("vmread", VMREAD, OPS2(W(Ev), R(Gv)), WRITES(OSZAPC))),
    [0x79] = BY_PREFIX(VMX("vmwrite", VMWRITE, OPS2(R(Gv), R(Ev)), WRITES(OSZAPC))),
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
    [0xb8] = BY_F3(INVALID, GENERAL("popcnt", POPCNT, OPS2(W(Gv), R(Ev)), FEATURE(POPCNT),
                                    WRITES(OSZAPC))),
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
    [0xc8] = BSWAP, [0xc9] = BSWAP, [0xca] = BSWAP, [0xcb] = BSWAP,
    [0xcc] = BSWAP, [0xcd] = BSWAP, [0xce] = BSWAP, [0xcf] = BSWAP,
    VECTOR_0F_C2,
    VECTOR_0F_D0,
    VECTOR_0F_E0,
    VECTOR_0F_F0,
};
