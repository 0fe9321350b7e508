/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The legacy three-byte opcodes 0F 38 xx and 0F 3A xx (SDM volume 2, tables ). */
#include "processor/decode/map-vector.h"
#include "processor/decode/table.h"

/* clang-format off */

/* INVEPT, INVVPID, INVPCID. */
#define INVALIDATE(name, op, traits, ...)                                                              \
    BY_PREFIX([1] = SYSTEM(name, op, TRAIT_PRIVILEGED | (traits), OPS2(R(Gv), R(Mdq)), SIZE_N,         \
                           USES(STATE), SETS(STATE), __VA_ARGS__))

const struct entry opcodes_0f38[256] = {
    [0x80] = INVALIDATE("invept", INVEPT, TRAIT_PROTECTED, FEATURE(VMX), WRITES(OSZAPC)),
    [0x81] = INVALIDATE("invvpid", INVVPID, TRAIT_PROTECTED, FEATURE(VMX), WRITES(OSZAPC)),
    [0x82] = INVALIDATE("invpcid", INVPCID, TRAIT_ENDS_BLOCK, FEATURE(INVPCID)),
    /* 66 is the operand size here, with F2 too. */
    [0xf0] = BY_REP(GENERAL("movbe", MOVBE, OPS2(W(Gv), R(Mv)), FEATURE(MOVBE)), INVALID,
                   GENERAL("crc32", CRC32, OPS2(RW(Gy), R(Eb)), FEATURE(SSE4_2), SIZE_Y)),
    [0xf1] = BY_REP(GENERAL("movbe", MOVBE, OPS2(W(Mv), R(Gv)), FEATURE(MOVBE)), INVALID,
                   GENERAL("crc32", CRC32, OPS2(RW(Gy), R(Ev)), FEATURE(SSE4_2))),
    [0xf6] = BY_PREFIX([1] = GENERAL("adcx", ADCX, OPS2(RW(Gy), R(Ey)), FEATURE(ADX), SIZE_Y,
                                     READS(CF), WRITES(CF)),
                       [2] = GENERAL("adox", ADOX, OPS2(RW(Gy), R(Ey)), FEATURE(ADX), SIZE_Y,
                                     READS(OF), WRITES(OF))),
};

const struct entry opcodes_0f3a[256] = {
    [0x0f] = INVALID,
};
