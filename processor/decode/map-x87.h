/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87's opcodes D8-DF (SDM volume 2, tables ), as entries of the one-byte map.
 *
 * All run natively as OP_X87 but those that show or load the instruction pointer.  Aliases that the
 * SDM leaves out but processors execute (FFREEP, FSTPNCE, FCOM2 ...) are here under their usual
 * names' operations.
 */
#ifndef TRAPEZE_DECODE_MAP_X87_H
#define TRAPEZE_DECODE_MAP_X87_H

#include "processor/decode/table.h"

#define X87_ROW(mnemonic, operation, ...)                                                          \
    ROW(.attr.name = mnemonic, .attr.op = OP_##operation, .attr.class = CLASS_VECTOR,              \
        FEATURE(X87), .opsize = OPSIZE_Y, __VA_ARGS__)
#define X87(mnemonic, ...) /* arithmetic: may raise #MF conditions */                              \
    X87_ROW(mnemonic, X87, TRAITS(TRAIT_FP), USES(X87_STATE), SETS(X87_STATE), __VA_ARGS__)
#define X87_CONTROL(mnemonic, ...) /* without numeric exceptions */                                \
    X87_ROW(mnemonic, X87, USES(X87_STATE), __VA_ARGS__)
/* The register stack as an operand; the encoding says which registers. */
#define ST                      OPERAND_ST, 10, ENC_MODRM
#define REGISTERS(name, access) X87(name, OPS2(access(ST), R(ST)))
#define ALONE(name)             X87(name, OPS1(RW(ST)))
#define CONSTANT(name)          X87(name, OPS1(W(ST)))
#define FCMOV(name, flags)                                                                         \
    X87_ROW(name, X87, OPS2(RW(ST), R(ST)), TRAITS(TRAIT_FP), READS(flags), USES(X87_STATE),       \
            SETS(X87_STATE))
#define FCOMI(name)                                                                                \
    X87_ROW(name, X87, OPS2(R(ST), R(ST)), TRAITS(TRAIT_FP | TRAIT_EFLAGS_OUT), WRITES(OSZAPC),    \
            USES(X87_STATE), SETS(X87_STATE))
#define FNOP(name) X87_CONTROL(name, OPS_MODRM, SETS(X87_STATE))

/* The eight arithmetic operations with a memory operand. */
#define X87_ARITHMETIC(i, operand)                                                                 \
    BY_REG(                                                                                        \
        X87("f" i "add", OPS2(RW(ST), R(operand))), X87("f" i "mul", OPS2(RW(ST), R(operand))),    \
        X87("f" i "com", OPS2(R(ST), R(operand))), X87("f" i "comp", OPS2(R(ST), R(operand))),     \
        X87("f" i "sub", OPS2(RW(ST), R(operand))), X87("f" i "subr", OPS2(RW(ST), R(operand))),   \
        X87("f" i "div", OPS2(RW(ST), R(operand))), X87("f" i "divr", OPS2(RW(ST), R(operand))))
#define LOAD(name, operand)  X87(name, OPS2(W(ST), R(operand)))
#define STORE(name, operand) X87(name, OPS2(W(operand), R(ST)))

#define X87_D8                                                                                     \
    BY_MOD(X87_ARITHMETIC("", Md),                                                                 \
           BY_REG(REGISTERS("fadd", RW), REGISTERS("fmul", RW), REGISTERS("fcom", R),              \
                  REGISTERS("fcomp", R), REGISTERS("fsub", RW), REGISTERS("fsubr", RW),            \
                  REGISTERS("fdiv", RW), REGISTERS("fdivr", RW)))

#define X87_D9                                                                                     \
    BY_MOD(                                                                                        \
        BY_REG(LOAD("fld", Md), INVALID, STORE("fst", Md), STORE("fstp", Md),                      \
               X87_ROW("fldenv", FLDENV, OPS1(R(M)), SETS(X87_STATE)),                             \
               X87_CONTROL("fldcw", OPS1(R(Mw)), SETS(X87_STATE)),                                 \
               X87_ROW("fnstenv", FNSTENV, OPS1(W(M)), USES(X87_STATE), SETS(X87_STATE)),          \
               X87_CONTROL("fnstcw", OPS1(W(Mw)))),                                                \
        BY_REG(REGISTERS("fld", W), REGISTERS("fxch", RW), BY_RM(FNOP("fnop")),                    \
               REGISTERS("fstpnce", W),                                                            \
               BY_RM([0] = ALONE("fchs"), [1] = ALONE("fabs"), [4] = X87("ftst", OPS1(R(ST))),     \
                     [5] = X87("fxam", OPS1(R(ST)))),                                              \
               BY_RM(CONSTANT("fld1"), CONSTANT("fldl2t"), CONSTANT("fldl2e"), CONSTANT("fldpi"),  \
                     CONSTANT("fldlg2"), CONSTANT("fldln2"), CONSTANT("fldz")),                    \
               BY_RM(ALONE("f2xm1"), ALONE("fyl2x"), ALONE("fptan"), ALONE("fpatan"),              \
                     ALONE("fxtract"), ALONE("fprem1"), FNOP("fdecstp"), FNOP("fincstp")),         \
               BY_RM(ALONE("fprem"), ALONE("fyl2xp1"), ALONE("fsqrt"), ALONE("fsincos"),           \
                     ALONE("frndint"), ALONE("fscale"), ALONE("fsin"), ALONE("fcos"))))

#define X87_DA                                                                                     \
    BY_MOD(X87_ARITHMETIC("i", Md),                                                                \
           BY_REG(FCMOV("fcmovb", CF), FCMOV("fcmove", ZF), FCMOV("fcmovbe", CF | ZF),             \
                  FCMOV("fcmovu", PF), INVALID, BY_RM([1] = REGISTERS("fucompp", R))))

#define X87_DB                                                                                     \
    BY_MOD(BY_REG(LOAD("fild", Md), STORE("fisttp", Md), STORE("fist", Md), STORE("fistp", Md),    \
                  INVALID, LOAD("fld", Mt), INVALID, STORE("fstp", Mt)),                           \
           BY_REG(FCMOV("fcmovnb", CF), FCMOV("fcmovne", ZF), FCMOV("fcmovnbe", CF | ZF),          \
                  FCMOV("fcmovnu", PF),                                                            \
                  BY_RM(FNOP("feni8087_nop"), FNOP("fdisi8087_nop"), FNOP("fnclex"),               \
                        FNOP("fninit"), FNOP("fsetpm287_nop")),                                    \
                  FCOMI("fucomi"), FCOMI("fcomi")))

#define X87_DC                                                                                     \
    BY_MOD(X87_ARITHMETIC("", Mq),                                                                 \
           BY_REG(REGISTERS("fadd", RW), REGISTERS("fmul", RW), REGISTERS("fcom", R),              \
                  REGISTERS("fcomp", R), REGISTERS("fsubr", RW), REGISTERS("fsub", RW),            \
                  REGISTERS("fdivr", RW), REGISTERS("fdiv", RW)))

#define X87_DD                                                                                     \
    BY_MOD(BY_REG(LOAD("fld", Mq), STORE("fisttp", Mq), STORE("fst", Mq), STORE("fstp", Mq),       \
                  X87_ROW("frstor", FRSTOR, OPS1(R(M)), SETS(X87_STATE)), INVALID,                 \
                  X87_ROW("fnsave", FNSAVE, OPS1(W(M)), USES(X87_STATE), SETS(X87_STATE)),         \
                  X87_CONTROL("fnstsw", OPS1(W(Mw)))),                                             \
           BY_REG(REGISTERS("ffree", W), REGISTERS("fxch", RW), REGISTERS("fst", W),               \
                  REGISTERS("fstp", W), REGISTERS("fucom", R), REGISTERS("fucomp", R)))

#define X87_DE                                                                                     \
    BY_MOD(X87_ARITHMETIC("i", Mw),                                                                \
           BY_REG(REGISTERS("faddp", RW), REGISTERS("fmulp", RW), REGISTERS("fcomp", R),           \
                  BY_RM([1] = REGISTERS("fcompp", R)), REGISTERS("fsubrp", RW),                    \
                  REGISTERS("fsubp", RW), REGISTERS("fdivrp", RW), REGISTERS("fdivp", RW)))

#define X87_DF                                                                                     \
    BY_MOD(BY_REG(LOAD("fild", Mw), STORE("fisttp", Mw), STORE("fist", Mw), STORE("fistp", Mw),    \
                  LOAD("fbld", Mt), LOAD("fild", Mq), STORE("fbstp", Mt), STORE("fistp", Mq)),     \
           BY_REG(REGISTERS("ffreep", W), REGISTERS("fxch", RW), REGISTERS("fstp", W),             \
                  REGISTERS("fstp", W),                                                            \
                  BY_RM(X87_ROW("fnstsw", X87, OPS_MODRM, USES(RAX | X87_STATE), SETS(RAX))),      \
                  FCOMI("fucomip"), FCOMI("fcomip")))

#endif
