/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one-byte opcodes (SDM volume 2, table A-2), but for x87's D8-DF: see map-x87.h. */
#include "processor/decode/map-x87.h"
#include "processor/decode/table.h"

#define LOCK   TRAIT_LOCKABLE
#define PUSHES TRAIT_STACK | TRAIT_DEFAULT64
#define NEAR   BRANCH | TRAIT_FORCE64

/* ADD ... CMP: six forms from BASE on. */
#define ARITHMETIC(base, name, op, access, traits, ...)                                            \
    [(base) + 0] = GENERAL(name, op, OPS2(access(Eb), R(Gb)), BYTE, TRAITS(traits), __VA_ARGS__),  \
              [(base) + 1] =                                                                       \
                  GENERAL(name, op, OPS2(access(Ev), R(Gv)), TRAITS(traits), __VA_ARGS__),         \
              [(base) + 2] = GENERAL(name, op, OPS2(access(Gb), R(Eb)), BYTE, __VA_ARGS__),        \
              [(base) + 3] = GENERAL(name, op, OPS2(access(Gv), R(Ev)), __VA_ARGS__),              \
              [(base) + 4] = GENERAL(name, op, OPS2(access(AL), R(Ib)), BYTE, __VA_ARGS__),        \
              [(base) + 5] = GENERAL(name, op, OPS2(access(rAX), R(Iz)), __VA_ARGS__)
#define LOGIC_FLAGS WRITES(OSZPC), UNDEFINES(AF)
#define CARRY_FLAGS READS(CF), WRITES(OSZAPC)

/* Group 1: E is the destination, I the immediate. */
#define GROUP1(E, I, ...)                                                                          \
    BY_REG(GENERAL("add", ADD, OPS2(RW(E), R(I)), TRAITS(LOCK), WRITES(OSZAPC), __VA_ARGS__),      \
           GENERAL("or", OR, OPS2(RW(E), R(I)), TRAITS(LOCK), LOGIC_FLAGS, __VA_ARGS__),           \
           GENERAL("adc", ADC, OPS2(RW(E), R(I)), TRAITS(LOCK), CARRY_FLAGS, __VA_ARGS__),         \
           GENERAL("sbb", SBB, OPS2(RW(E), R(I)), TRAITS(LOCK), CARRY_FLAGS, __VA_ARGS__),         \
           GENERAL("and", AND, OPS2(RW(E), R(I)), TRAITS(LOCK), LOGIC_FLAGS, __VA_ARGS__),         \
           GENERAL("sub", SUB, OPS2(RW(E), R(I)), TRAITS(LOCK), WRITES(OSZAPC), __VA_ARGS__),      \
           GENERAL("xor", XOR, OPS2(RW(E), R(I)), TRAITS(LOCK), LOGIC_FLAGS, __VA_ARGS__),         \
           GENERAL("cmp", CMP, OPS2(R(E), R(I)), WRITES(OSZAPC), __VA_ARGS__))

/* Group 2.  A count of 0 leaves the flags alone: where it may be 0 they are also read. */
#define GROUP2(kept, overflow, ...)                                                                \
    BY_REG(ROTATE("rol", ROL, (kept) & (OF | CF), overflow, __VA_ARGS__),                          \
           ROTATE("ror", ROR, (kept) & (OF | CF), overflow, __VA_ARGS__),                          \
           ROTATE("rcl", RCL, ((kept)&OF) | CF, overflow, __VA_ARGS__),                            \
           ROTATE("rcr", RCR, ((kept)&OF) | CF, overflow, __VA_ARGS__),                            \
           SHIFT("shl", SHL, kept, overflow, __VA_ARGS__),                                         \
           SHIFT("shr", SHR, kept, overflow, __VA_ARGS__),                                         \
           SHIFT("shl", SHL, kept, overflow, __VA_ARGS__), /* an alias of /4 */                    \
           SHIFT("sar", SAR, kept, overflow, __VA_ARGS__))
#define ROTATE(name, op, reads, overflow, ...)                                                     \
    GENERAL(name, op, READS(reads), WRITES(CF | (OF & ~(overflow))), UNDEFINES(overflow),          \
            __VA_ARGS__)
#define SHIFT(name, op, kept, overflow, ...)                                                       \
    GENERAL(name, op, READS(kept), WRITES(SZPC | (OF & ~(overflow))), UNDEFINES(AF | (overflow)),  \
            __VA_ARGS__)

/* Group 3; the implicit registers differ between bytes and the rest. */
#define GROUP3(E, I, wide, ...)                                                                    \
    BY_REG(GENERAL("test", TEST, OPS2(R(E), R(I)), LOGIC_FLAGS, __VA_ARGS__),                      \
           GENERAL("test", TEST, OPS2(R(E), R(I)), LOGIC_FLAGS, __VA_ARGS__), /* an alias */       \
           GENERAL("not", NOT, OPS1(RW(E)), TRAITS(LOCK), __VA_ARGS__),                            \
           GENERAL("neg", NEG, OPS1(RW(E)), TRAITS(LOCK), WRITES(OSZAPC), __VA_ARGS__),            \
           GENERAL("mul", MUL, OPS1(R(E)), USES(RAX), SETS(RAX | (wide)), WRITES(OF | CF),         \
                   UNDEFINES(SZAP), __VA_ARGS__),                                                  \
           GENERAL("imul", IMUL1, OPS1(R(E)), USES(RAX), SETS(RAX | (wide)), WRITES(OF | CF),      \
                   UNDEFINES(SZAP), __VA_ARGS__),                                                  \
           GENERAL("div", DIV, OPS1(R(E)), USES(RAX | (wide)), SETS(RAX | (wide)),                 \
                   UNDEFINES(OSZAPC), __VA_ARGS__),                                                \
           GENERAL("idiv", IDIV, OPS1(R(E)), USES(RAX | (wide)), SETS(RAX | (wide)),               \
                   UNDEFINES(OSZAPC), __VA_ARGS__))

#define EIGHT(base, ...)                                                                           \
    [(base) + 0] = __VA_ARGS__, [(base) + 1] = __VA_ARGS__, [(base) + 2] = __VA_ARGS__,            \
              [(base) + 3] = __VA_ARGS__, [(base) + 4] = __VA_ARGS__, [(base) + 5] = __VA_ARGS__,  \
              [(base) + 6] = __VA_ARGS__, [(base) + 7] = __VA_ARGS__
#define SEVEN(base, ...)                                                                           \
    [(base) + 0] = __VA_ARGS__, [(base) + 1] = __VA_ARGS__, [(base) + 2] = __VA_ARGS__,            \
              [(base) + 3] = __VA_ARGS__, [(base) + 4] = __VA_ARGS__, [(base) + 5] = __VA_ARGS__,  \
              [(base) + 6] = __VA_ARGS__

#define JCC_SHORT(opcode, cc, flags)                                                               \
    [opcode] = GENERAL("j" cc, JCC, OPS1(R(Jb)), READS(flags), TRAITS(NEAR | TRAIT_COND))
#define STACK_USE    USES(RSP), SETS(RSP | MEMORY)
#define STACK_POP    USES(RSP | MEMORY), SETS(RSP)
#define PUSH_SEGMENT SYSTEM("push", PUSH_SEG, PUSHES | TRAIT_NO64, OPS1(R(Sop)), STACK_USE)
#define POP_SEGMENT  SYSTEM("pop", POP_SEG, PUSHES | TRAIT_NO64 | ENDS, OPS1(W(Sop)), STACK_POP)
/* A string instruction: byte and wide forms. */
#define STRING(base, name, op, uses, sets, traits, ...)                                            \
    [(base) + 0] = GENERAL(name, op, OPS0, BYTE, USES(uses), SETS(sets),                           \
                           TRAITS(TRAIT_STRING | (traits)), __VA_ARGS__),                          \
              [(base) + 1] = GENERAL(name, op, OPS0, USES(uses), SETS(sets),                       \
                                     .opsize = (traits)&TRAIT_IO ? OPSIZE_Z : OPSIZE_V,            \
                                     TRAITS(TRAIT_STRING | (traits)), __VA_ARGS__)
/* A repeated comparison leaves the flags alone when RCX is 0. */
#define COMPARES    READS(DF | OSZAPC), WRITES(OSZAPC)
#define PORT        TRAIT_IO | TRAIT_SENSITIVE
#define EVENT       BRANCH | TRAIT_STACK
#define EVENT_FLAGS READS(ALL_FLAGS), WRITES(IF | TF | NT)
#define EVENT_STATE USES(RSP | STATE), SETS(RSP | STATE | MEMORY)

const struct entry opcodes_one[256] = {
    ARITHMETIC(0x00, "add", ADD, RW, LOCK, WRITES(OSZAPC)),
    ARITHMETIC(0x08, "or", OR, RW, LOCK, LOGIC_FLAGS),
    ARITHMETIC(0x10, "adc", ADC, RW, LOCK, CARRY_FLAGS),
    ARITHMETIC(0x18, "sbb", SBB, RW, LOCK, CARRY_FLAGS),
    ARITHMETIC(0x20, "and", AND, RW, LOCK, LOGIC_FLAGS),
    ARITHMETIC(0x28, "sub", SUB, RW, LOCK, WRITES(OSZAPC)),
    ARITHMETIC(0x30, "xor", XOR, RW, LOCK, LOGIC_FLAGS),
    ARITHMETIC(0x38, "cmp", CMP, R, 0, WRITES(OSZAPC)),
    [0x06] = PUSH_SEGMENT,
    [0x07] = POP_SEGMENT,
    [0x0e] = PUSH_SEGMENT,
    [0x16] = PUSH_SEGMENT,
    [0x17] = POP_SEGMENT,
    [0x1e] = PUSH_SEGMENT,
    [0x1f] = POP_SEGMENT,
    [0x27] = GENERAL("daa", DAA, OPS0, BYTE, USES(RAX), SETS(RAX), TRAITS(TRAIT_NO64),
                     READS(AF | CF), WRITES(SZAPC), UNDEFINES(OF)),
    [0x2f] = GENERAL("das", DAS, OPS0, BYTE, USES(RAX), SETS(RAX), TRAITS(TRAIT_NO64),
                     READS(AF | CF), WRITES(SZAPC), UNDEFINES(OF)),
    [0x37] = GENERAL("aaa", AAA, OPS0, BYTE, USES(RAX), SETS(RAX), TRAITS(TRAIT_NO64), READS(AF),
                     WRITES(AF | CF), UNDEFINES(OF | SZP)),
    [0x3f] = GENERAL("aas", AAS, OPS0, BYTE, USES(RAX), SETS(RAX), TRAITS(TRAIT_NO64), READS(AF),
                     WRITES(AF | CF), UNDEFINES(OF | SZP)),

    /* In 64-bit mode 40-4F are REX. */
    EIGHT(0x40, GENERAL("inc", INC, OPS1(RW(Zv)), TRAITS(TRAIT_NO64), WRITES(OSZAP))),
    EIGHT(0x48, GENERAL("dec", DEC, OPS1(RW(Zv)), TRAITS(TRAIT_NO64), WRITES(OSZAP))),
    EIGHT(0x50, GENERAL("push", PUSH, OPS1(R(Zv)), TRAITS(PUSHES), STACK_USE)),
    EIGHT(0x58, GENERAL("pop", POP, OPS1(W(Zv)), TRAITS(PUSHES), STACK_POP)),

    [0x60] = GENERAL("pusha", PUSHA, OPS0, TRAITS(TRAIT_STACK | TRAIT_NO64), USES(ALL_GPR8),
                     SETS(RSP | MEMORY)),
    [0x61] = GENERAL("popa", POPA, OPS0, TRAITS(TRAIT_STACK | TRAIT_NO64), USES(RSP | MEMORY),
                     SETS(ALL_GPR8)),
    /* What would be EVEX, a register operand or 64-bit mode, is #UD. */
    [0x62] = BY_OPSIZE(SYSTEM("bound", BOUND, TRAIT_NO64, OPS2(R(Gv), R(Md))),
                       SYSTEM("bound", BOUND, TRAIT_NO64, OPS2(R(Gv), R(Mq))), INVALID),
    [0x63] = BY_MODE64(SYSTEM("arpl", ARPL, TRAIT_PROTECTED, OPS2(RW(Ew), R(Gw)), WRITES(ZF)),
                       BY_OPSIZE(GENERAL("movsxd", MOVSXD, OPS2(W(Gv), R(Ew))),
                                 GENERAL("movsxd", MOVSXD, OPS2(W(Gv), R(Ed))),
                                 GENERAL("movsxd", MOVSXD, OPS2(W(Gv), R(Ed))))),
    [0x68] = GENERAL("push", PUSH, OPS1(R(Iz)), TRAITS(PUSHES), STACK_USE),
    [0x69] = GENERAL("imul", IMUL3, OPS3(W(Gv), R(Ev), R(Iz)), WRITES(OF | CF), UNDEFINES(SZAP)),
    [0x6a] = GENERAL("push", PUSH, OPS1(R(Ib)), TRAITS(PUSHES), STACK_USE),
    [0x6b] = GENERAL("imul", IMUL3, OPS3(W(Gv), R(Ev), R(Ib)), WRITES(OF | CF), UNDEFINES(SZAP)),
    STRING(0x6c, "ins", INS, RDX | RDI, RDI | MEMORY, PORT, READS(DF)),
    STRING(0x6e, "outs", OUTS, RDX | RSI | MEMORY, RSI, PORT, READS(DF)),
    BY_CONDITION(JCC_SHORT, 0x70),

    [0x80] = GROUP1(Eb, Ib, BYTE),
    [0x81] = GROUP1(Ev, Iz, .opsize = OPSIZE_V),
    [0x82] = BY_MODE64(GROUP1(Eb, Ib, BYTE), INVALID),
    [0x83] = GROUP1(Ev, Ib, .opsize = OPSIZE_V),
    [0x84] = GENERAL("test", TEST, OPS2(R(Eb), R(Gb)), BYTE, LOGIC_FLAGS),
    [0x85] = GENERAL("test", TEST, OPS2(R(Ev), R(Gv)), LOGIC_FLAGS),
    [0x86] = GENERAL("xchg", XCHG, OPS2(RW(Eb), RW(Gb)), BYTE, TRAITS(LOCK)),
    [0x87] = GENERAL("xchg", XCHG, OPS2(RW(Ev), RW(Gv)), TRAITS(LOCK)),
    [0x88] = GENERAL("mov", MOV, OPS2(W(Eb), R(Gb)), BYTE),
    [0x89] = GENERAL("mov", MOV, OPS2(W(Ev), R(Gv))),
    [0x8a] = GENERAL("mov", MOV, OPS2(W(Gb), R(Eb)), BYTE),
    [0x8b] = GENERAL("mov", MOV, OPS2(W(Gv), R(Ev))),
    [0x8c] = BY_MOD(SYSTEM("mov", MOV_FROM_SEG, 0, OPS2(W(Ew), R(Sw))),
                    SYSTEM("mov", MOV_FROM_SEG, 0, OPS2(W(Ev), R(Sw)))),
    [0x8d] = GENERAL("lea", LEA, OPS2(W(Gv), A(Mv))),
    [0x8e] = SYSTEM("mov", MOV_TO_SEG, ENDS, OPS2(W(Sw), R(Ew))),
    [0x8f] = BY_REG(GENERAL("pop", POP, OPS1(W(Ev)), TRAITS(PUSHES), STACK_POP)),

    /* With REX.B 90 exchanges with R8, F3 or not. */
    [0x90] = BY_REXB(
        BY_F3(GENERAL("nop", NOP, OPS0), GENERAL("pause", PAUSE, OPS0, TRAITS(TRAIT_SENSITIVE))),
        GENERAL("xchg", XCHG, OPS2(RW(Zv), RW(rAX)))),
    SEVEN(0x91, GENERAL("xchg", XCHG, OPS2(RW(Zv), RW(rAX)))),
    [0x98] = BY_OPSIZE(GENERAL("cbw", CBW, OPS0, USES(RAX), SETS(RAX)),
                       GENERAL("cwde", CBW, OPS0, USES(RAX), SETS(RAX)),
                       GENERAL("cdqe", CBW, OPS0, USES(RAX), SETS(RAX))),
    [0x99] = BY_OPSIZE(GENERAL("cwd", CWD, OPS0, USES(RAX), SETS(RDX)),
                       GENERAL("cdq", CWD, OPS0, USES(RAX), SETS(RDX)),
                       GENERAL("cqo", CWD, OPS0, USES(RAX), SETS(RDX))),
    [0x9a] = SYSTEM("call", CALL_FAR, BRANCH | TRAIT_STACK | TRAIT_NO64, OPS1(R(Ap)),
                    USES(RSP | STATE), SETS(RSP | MEMORY | STATE)),
    [0x9b] = ROW(.attr.name = "fwait", .attr.op = OP_FWAIT, .attr.class = CLASS_VECTOR,
                 FEATURE(X87), TRAITS(TRAIT_FP), USES(X87_STATE), SETS(X87_STATE)),
    [0x9c] = GENERAL("pushf", PUSHF, OPS0, TRAITS(PUSHES | TRAIT_SENSITIVE), STACK_USE,
                     READS(ALL_FLAGS)),
    [0x9d] = SYSTEM("popf", POPF, PUSHES | ENDS, OPS0, STACK_POP, WRITES(ALL_FLAGS)),
    [0x9e] = GENERAL("sahf", SAHF, OPS0, BYTE, USES(RAX), WRITES(SZAPC)),
    [0x9f] = GENERAL("lahf", LAHF, OPS0, BYTE, USES(RAX), SETS(RAX), READS(SZAPC)),

    [0xa0] = GENERAL("mov", MOV, OPS2(W(AL), R(Ob)), BYTE),
    [0xa1] = GENERAL("mov", MOV, OPS2(W(rAX), R(Ov))),
    [0xa2] = GENERAL("mov", MOV, OPS2(W(Ob), R(AL)), BYTE),
    [0xa3] = GENERAL("mov", MOV, OPS2(W(Ov), R(rAX))),
    STRING(0xa4, "movs", MOVS, RSI | RDI | MEMORY, RSI | RDI | MEMORY, 0, READS(DF)),
    STRING(0xa6, "cmps", CMPS, RSI | RDI | MEMORY, RSI | RDI, 0, COMPARES),
    [0xa8] = GENERAL("test", TEST, OPS2(R(AL), R(Ib)), BYTE, LOGIC_FLAGS),
    [0xa9] = GENERAL("test", TEST, OPS2(R(rAX), R(Iz)), LOGIC_FLAGS),
    STRING(0xaa, "stos", STOS, RAX | RDI, RDI | MEMORY, 0, READS(DF)),
    STRING(0xac, "lods", LODS, RAX | RSI | MEMORY, RAX | RSI, 0, READS(DF)),
    STRING(0xae, "scas", SCAS, RAX | RDI | MEMORY, RDI, 0, COMPARES),
    EIGHT(0xb0, GENERAL("mov", MOV, OPS2(W(Zb), R(Ib)), BYTE)),
    EIGHT(0xb8, GENERAL("mov", MOV, OPS2(W(Zv), R(Iv)))),

    [0xc0] = GROUP2(OSZAPC, OF, OPS2(RW(Eb), R(Iub)), BYTE),
    [0xc1] = GROUP2(OSZAPC, OF, OPS2(RW(Ev), R(Iub)), .opsize = OPSIZE_V),
    [0xc2] = GENERAL("ret", RET, OPS1(R(Iw)), TRAITS(NEAR | TRAIT_STACK), STACK_POP),
    [0xc3] = GENERAL("ret", RET, OPS0, TRAITS(NEAR | TRAIT_STACK), STACK_POP),
    /* The decoder has told VEX from LES and LDS before it comes here. */
    [0xc4] = SYSTEM("les", LOAD_FAR, TRAIT_NO64 | ENDS, OPS2(W(Gv), R(Mp)), SETS(STATE)),
    [0xc5] = SYSTEM("lds", LOAD_FAR, TRAIT_NO64 | ENDS, OPS2(W(Gv), R(Mp)), SETS(STATE)),
    [0xc6] = BY_REG(GENERAL("mov", MOV, OPS2(W(Eb), R(Ib)), BYTE)),
    [0xc7] = BY_REG(GENERAL("mov", MOV, OPS2(W(Ev), R(Iz)))),
    [0xc8] = GENERAL("enter", ENTER, OPS1(R(Iwb)), TRAITS(PUSHES), USES(RSP | RBP | MEMORY),
                     SETS(RSP | RBP | MEMORY)),
    [0xc9] = GENERAL("leave", LEAVE, OPS0, TRAITS(PUSHES), USES(RBP | MEMORY), SETS(RSP | RBP)),
    [0xca] = SYSTEM("ret", RET_FAR, EVENT, OPS1(R(Iw)), EVENT_STATE),
    [0xcb] = SYSTEM("ret", RET_FAR, EVENT, OPS0, EVENT_STATE),
    [0xcc] = SYSTEM("int3", INT3, EVENT, OPS0, EVENT_FLAGS, EVENT_STATE),
    [0xcd] = SYSTEM("int", INT, EVENT, OPS1(R(Iub)), EVENT_FLAGS, EVENT_STATE),
    [0xce] = SYSTEM("into", INTO, EVENT | TRAIT_NO64, OPS0, EVENT_FLAGS, EVENT_STATE),
    [0xcf] =
        BY_OPSIZE(SYSTEM("iret", IRET, EVENT, OPS0, WRITES(ALL_FLAGS), READS(NT), EVENT_STATE),
                  SYSTEM("iretd", IRET, EVENT, OPS0, WRITES(ALL_FLAGS), READS(NT), EVENT_STATE),
                  SYSTEM("iretq", IRET, EVENT, OPS0, WRITES(ALL_FLAGS), READS(NT), EVENT_STATE)),

    [0xd0] = GROUP2(0, 0, OPS2(RW(Eb), R(I1)), BYTE),
    [0xd1] = GROUP2(0, 0, OPS2(RW(Ev), R(I1)), .opsize = OPSIZE_V),
    [0xd2] = GROUP2(OSZAPC, OF, OPS1(RW(Eb)), BYTE, USES(RCX)),
    [0xd3] = GROUP2(OSZAPC, OF, OPS1(RW(Ev)), USES(RCX)),
    [0xd4] = GENERAL("aam", AAM, OPS1(R(Iub)), BYTE, TRAITS(TRAIT_NO64), USES(RAX), SETS(RAX),
                     WRITES(SZP), UNDEFINES(OF | AF | CF)),
    [0xd5] = GENERAL("aad", AAD, OPS1(R(Iub)), BYTE, TRAITS(TRAIT_NO64), USES(RAX), SETS(RAX),
                     WRITES(SZP), UNDEFINES(OF | AF | CF)),
    [0xd6] = GENERAL("salc", SALC, OPS0, BYTE, TRAITS(TRAIT_NO64), USES(RAX), SETS(RAX), READS(CF)),
    [0xd7] = GENERAL("xlat", XLAT, OPS0, BYTE, USES(RAX | RBX | MEMORY), SETS(RAX)),
    [0xd8] = X87_D8,
    [0xd9] = X87_D9,
    [0xda] = X87_DA,
    [0xdb] = X87_DB,
    [0xdc] = X87_DC,
    [0xdd] = X87_DD,
    [0xde] = X87_DE,
    [0xdf] = X87_DF,

    [0xe0] = GENERAL("loopne", LOOPNE, OPS1(R(Jb)), TRAITS(NEAR), READS(ZF), USES(RCX), SETS(RCX)),
    [0xe1] = GENERAL("loope", LOOPE, OPS1(R(Jb)), TRAITS(NEAR), READS(ZF), USES(RCX), SETS(RCX)),
    [0xe2] = GENERAL("loop", LOOP, OPS1(R(Jb)), TRAITS(NEAR), USES(RCX), SETS(RCX)),
    [0xe3] = GENERAL("jcxz", JCXZ, OPS1(R(Jb)), TRAITS(NEAR), USES(RCX)),
    [0xe4] = GENERAL("in", IN, OPS2(W(AL), R(Iub)), BYTE, TRAITS(PORT)),
    [0xe5] = GENERAL("in", IN, OPS2(W(rAX), R(Iub)), SIZE_Z, TRAITS(PORT)),
    [0xe6] = GENERAL("out", OUT, OPS2(R(Iub), R(AL)), BYTE, TRAITS(PORT)),
    [0xe7] = GENERAL("out", OUT, OPS2(R(Iub), R(rAX)), SIZE_Z, TRAITS(PORT)),
    [0xe8] = GENERAL("call", CALL, OPS1(R(Jz)), TRAITS(NEAR | TRAIT_STACK), STACK_USE),
    [0xe9] = GENERAL("jmp", JMP, OPS1(R(Jz)), TRAITS(NEAR)),
    [0xea] = SYSTEM("jmp", JMP_FAR, BRANCH | TRAIT_NO64, OPS1(R(Ap)), USES(STATE), SETS(STATE)),
    [0xeb] = GENERAL("jmp", JMP, OPS1(R(Jb)), TRAITS(NEAR)),
    [0xec] = GENERAL("in", IN, OPS1(W(AL)), BYTE, TRAITS(PORT), USES(RDX)),
    [0xed] = GENERAL("in", IN, OPS1(W(rAX)), SIZE_Z, TRAITS(PORT), USES(RDX)),
    [0xee] = GENERAL("out", OUT, OPS1(R(AL)), BYTE, TRAITS(PORT), USES(RDX)),
    [0xef] = GENERAL("out", OUT, OPS1(R(rAX)), SIZE_Z, TRAITS(PORT), USES(RDX)),

    [0xf1] = SYSTEM("int1", INT1, EVENT, OPS0, EVENT_FLAGS, EVENT_STATE),
    [0xf4] = SYSTEM("hlt", HLT, TRAIT_PRIVILEGED | ENDS, OPS0),
    [0xf5] = GENERAL("cmc", CMC, OPS0, READS(CF), WRITES(CF)),
    [0xf6] = GROUP3(Eb, Ib, 0, BYTE),
    [0xf7] = GROUP3(Ev, Iz, RDX, .opsize = OPSIZE_V),
    [0xf8] = GENERAL("clc", CLC, OPS0, WRITES(CF)),
    [0xf9] = GENERAL("stc", STC, OPS0, WRITES(CF)),
    [0xfa] = SYSTEM("cli", CLI, 0, OPS0, READS(IOPL), WRITES(IF)),
    [0xfb] = SYSTEM("sti", STI, 0, OPS0, READS(IOPL), WRITES(IF)),
    [0xfc] = GENERAL("cld", CLD, OPS0, WRITES(DF)),
    [0xfd] = GENERAL("std", STD, OPS0, WRITES(DF)),
    [0xfe] = BY_REG(GENERAL("inc", INC, OPS1(RW(Eb)), BYTE, TRAITS(LOCK), WRITES(OSZAP)),
                    GENERAL("dec", DEC, OPS1(RW(Eb)), BYTE, TRAITS(LOCK), WRITES(OSZAP))),
    [0xff] = BY_REG(
        GENERAL("inc", INC, OPS1(RW(Ev)), TRAITS(LOCK), WRITES(OSZAP)),
        GENERAL("dec", DEC, OPS1(RW(Ev)), TRAITS(LOCK), WRITES(OSZAP)),
        GENERAL("call", CALL_IND, OPS1(R(Ev)), TRAITS(NEAR | TRAIT_STACK), STACK_USE),
        SYSTEM("call", CALL_FAR, EVENT, OPS1(R(Mp)), USES(RSP | STATE), SETS(RSP | MEMORY | STATE)),
        GENERAL("jmp", JMP_IND, OPS1(R(Ev)), TRAITS(NEAR)),
        SYSTEM("jmp", JMP_FAR, BRANCH, OPS1(R(Mp)), USES(STATE), SETS(STATE)),
        GENERAL("push", PUSH, OPS1(R(Ev)), TRAITS(PUSHES), STACK_USE)),
};
