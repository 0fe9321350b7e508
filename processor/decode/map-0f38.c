/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The legacy three-byte opcodes 0F 38 xx and 0F 3A xx (SDM volume 2, tables ). */
#include "processor/decode/map-vector.h"
#include "processor/decode/table.h"

/* INVEPT, INVVPID, INVPCID. */
#define INVALIDATE(name, op, traits, ...)                                                          \
    BY_PREFIX([1] = SYSTEM(name, op, TRAIT_PRIVILEGED | (traits), OPS2(R(Gv), R(Mdq)), SIZE_N,     \
                           USES(STATE), SETS(STATE), __VA_ARGS__))

/* SSSE3's, on MMX and XMM; and those with 66 only. */
#define INTEGER(name, access)                                                                      \
    BY_PREFIX(MMX_ROW(name, SSSE3, OPS2(access(P), R(Q))),                                         \
              SSE_ROW(name, SSSE3, OPS2(access(V), R(Wdq))))
#define ONLY_66(...)      BY_PREFIX([1] = __VA_ARGS__)
#define SSE4(name)        ONLY_66(SSE_ROW(name, SSE4_1, OPS2(RW(V), R(Wdq))))
#define BLENDV(name)      ONLY_66(SSE_ROW(name, SSE4_1, OPS3(RW(V), R(Wdq), R(X0))))
#define EXTEND(name, w)   ONLY_66(NATIVE(name, SSE4_1, OPS2(W(V), R(w))))
#define AES(name, access) ONLY_66(SSE_ROW(name, AES, OPS2(access(V), R(Wdq))))
#define SHA(name, ...)    BY_PREFIX(SSE_ROW(name, SHA, __VA_ARGS__))

const struct entry opcodes_0f38[256] = {
    [0x00] = INTEGER("pshufb", RW),
    [0x01] = INTEGER("phaddw", RW),
    [0x02] = INTEGER("phaddd", RW),
    [0x03] = INTEGER("phaddsw", RW),
    [0x04] = INTEGER("pmaddubsw", RW),
    [0x05] = INTEGER("phsubw", RW),
    [0x06] = INTEGER("phsubd", RW),
    [0x07] = INTEGER("phsubsw", RW),
    [0x08] = INTEGER("psignb", RW),
    [0x09] = INTEGER("psignw", RW),
    [0x0a] = INTEGER("psignd", RW),
    [0x0b] = INTEGER("pmulhrsw", RW),
    [0x10] = BLENDV("pblendvb"),
    [0x14] = BLENDV("blendvps"),
    [0x15] = BLENDV("blendvpd"),
    [0x17] = ONLY_66(NATIVE("ptest", SSE4_1, OPS2(R(V), R(Wdq)),
                            TRAITS(TRAIT_ALIGNED | TRAIT_EFLAGS_OUT), WRITES(OSZAPC))),
    [0x1c] = INTEGER("pabsb", W),
    [0x1d] = INTEGER("pabsw", W),
    [0x1e] = INTEGER("pabsd", W),
    [0x20] = EXTEND("pmovsxbw", Wq),
    [0x21] = EXTEND("pmovsxbd", Wd),
    [0x22] = EXTEND("pmovsxbq", Ww),
    [0x23] = EXTEND("pmovsxwd", Wq),
    [0x24] = EXTEND("pmovsxwq", Wd),
    [0x25] = EXTEND("pmovsxdq", Wq),
    [0x28] = SSE4("pmuldq"),
    [0x29] = SSE4("pcmpeqq"),
    [0x2a] = ONLY_66(SSE_ROW("movntdqa", SSE4_1, OPS2(W(V), R(Mdq)))),
    [0x2b] = SSE4("packusdw"),
    [0x30] = EXTEND("pmovzxbw", Wq),
    [0x31] = EXTEND("pmovzxbd", Wd),
    [0x32] = EXTEND("pmovzxbq", Ww),
    [0x33] = EXTEND("pmovzxwd", Wq),
    [0x34] = EXTEND("pmovzxwq", Wd),
    [0x35] = EXTEND("pmovzxdq", Wq),
    [0x37] = ONLY_66(SSE_ROW("pcmpgtq", SSE4_2, OPS2(RW(V), R(Wdq)))),
    [0x38] = SSE4("pminsb"),
    [0x39] = SSE4("pminsd"),
    [0x3a] = SSE4("pminuw"),
    [0x3b] = SSE4("pminud"),
    [0x3c] = SSE4("pmaxsb"),
    [0x3d] = SSE4("pmaxsd"),
    [0x3e] = SSE4("pmaxuw"),
    [0x3f] = SSE4("pmaxud"),
    [0x40] = SSE4("pmulld"),
    [0x41] = ONLY_66(SSE_ROW("phminposuw", SSE4_1, OPS2(W(V), R(Wdq)))),
    [0x80] = INVALIDATE("invept", INVEPT, TRAIT_PROTECTED, FEATURE(VMX), WRITES(OSZAPC)),
    [0x81] = INVALIDATE("invvpid", INVVPID, TRAIT_PROTECTED, FEATURE(VMX), WRITES(OSZAPC)),
    [0x82] = INVALIDATE("invpcid", INVPCID, TRAIT_ENDS_BLOCK, FEATURE(INVPCID)),
    [0xc8] = SHA("sha1nexte", OPS2(RW(V), R(Wdq))),
    [0xc9] = SHA("sha1msg1", OPS2(RW(V), R(Wdq))),
    [0xca] = SHA("sha1msg2", OPS2(RW(V), R(Wdq))),
    [0xcb] = SHA("sha256rnds2", OPS3(RW(V), R(Wdq), R(X0))),
    [0xcc] = SHA("sha256msg1", OPS2(RW(V), R(Wdq))),
    [0xcd] = SHA("sha256msg2", OPS2(RW(V), R(Wdq))),
    [0xcf] = ONLY_66(SSE_ROW("gf2p8mulb", GFNI, OPS2(RW(V), R(Wdq)))),
    [0xdb] = AES("aesimc", W),
    [0xdc] = AES("aesenc", RW),
    [0xdd] = AES("aesenclast", RW),
    [0xde] = AES("aesdec", RW),
    [0xdf] = AES("aesdeclast", RW),
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

#define SSE4_IMMEDIATE(name) ONLY_66(SSE_ROW(name, SSE4_1, OPS3(RW(V), R(Wdq), R(Iub))))
/* Compare strings: unaligned, and flags out. */
#define STRINGS(name, ...)                                                                         \
    ONLY_66(NATIVE(name, SSE4_2, OPS3(R(V), R(Wdq), R(Iub)), TRAITS(TRAIT_EFLAGS_OUT),             \
                   WRITES(OSZAPC), __VA_ARGS__))

const struct entry opcodes_0f3a[256] = {
    [0x08] = ONLY_66(SSE_FP("roundps", SSE4_1, OPS3(W(V), R(Wdq), R(Iub)))),
    [0x09] = ONLY_66(SSE_FP("roundpd", SSE4_1, OPS3(W(V), R(Wdq), R(Iub)))),
    [0x0a] = ONLY_66(NATIVE_FP("roundss", SSE4_1, OPS3(RW(V), R(Wd), R(Iub)))),
    [0x0b] = ONLY_66(NATIVE_FP("roundsd", SSE4_1, OPS3(RW(V), R(Wq), R(Iub)))),
    [0x0c] = SSE4_IMMEDIATE("blendps"),
    [0x0d] = SSE4_IMMEDIATE("blendpd"),
    [0x0e] = SSE4_IMMEDIATE("pblendw"),
    [0x0f] = BY_PREFIX(MMX_ROW("palignr", SSSE3, OPS3(RW(P), R(Q), R(Iub))),
                       SSE_ROW("palignr", SSSE3, OPS3(RW(V), R(Wdq), R(Iub)))),
    /* To a register these write (and extend to) 32 bits, to memory only the element. */
    [0x14] = ONLY_66(BY_MOD(NATIVE("pextrb", SSE4_1, OPS3(W(Mb), R(V), R(Iub))),
                            NATIVE("pextrb", SSE4_1, OPS3(W(Rd), R(V), R(Iub))))),
    [0x15] = ONLY_66(BY_MOD(NATIVE("pextrw", SSE4_1, OPS3(W(Mw), R(V), R(Iub))),
                            NATIVE("pextrw", SSE4_1, OPS3(W(Rd), R(V), R(Iub))))),
    [0x16] = ONLY_66(BY_W64(NATIVE("pextrd", SSE4_1, OPS3(W(Ey), R(V), R(Iub))),
                            NATIVE("pextrq", SSE4_1, OPS3(W(Ey), R(V), R(Iub))))),
    [0x17] = ONLY_66(BY_MOD(NATIVE("extractps", SSE4_1, OPS3(W(Md), R(V), R(Iub))),
                            NATIVE("extractps", SSE4_1, OPS3(W(Rd), R(V), R(Iub))))),
    [0x20] = ONLY_66(BY_MOD(NATIVE("pinsrb", SSE4_1, OPS3(RW(V), R(Mb), R(Iub))),
                            NATIVE("pinsrb", SSE4_1, OPS3(RW(V), R(Rd), R(Iub))))),
    [0x21] = ONLY_66(NATIVE("insertps", SSE4_1, OPS3(RW(V), R(Wd), R(Iub)))),
    [0x22] = ONLY_66(BY_W64(NATIVE("pinsrd", SSE4_1, OPS3(RW(V), R(Ey), R(Iub))),
                            NATIVE("pinsrq", SSE4_1, OPS3(RW(V), R(Ey), R(Iub))))),
    [0x40] = ONLY_66(SSE_FP("dpps", SSE4_1, OPS3(RW(V), R(Wdq), R(Iub)))),
    [0x41] = ONLY_66(SSE_FP("dppd", SSE4_1, OPS3(RW(V), R(Wdq), R(Iub)))),
    [0x42] = SSE4_IMMEDIATE("mpsadbw"),
    [0x44] = ONLY_66(SSE_ROW("pclmulqdq", PCLMULQDQ, OPS3(RW(V), R(Wdq), R(Iub)))),
    [0x60] = STRINGS("pcmpestrm", LENGTHS_MASK),
    [0x61] = STRINGS("pcmpestri", LENGTHS_INDEX),
    [0x62] = STRINGS("pcmpistrm", SETS(XMM0)),
    [0x63] = STRINGS("pcmpistri", SETS(RCX)),
    [0xcc] = SHA("sha1rnds4", OPS3(RW(V), R(Wdq), R(Iub))),
    [0xce] = ONLY_66(SSE_ROW("gf2p8affineqb", GFNI, OPS3(RW(V), R(Wdq), R(Iub)))),
    [0xcf] = ONLY_66(SSE_ROW("gf2p8affineinvqb", GFNI, OPS3(RW(V), R(Wdq), R(Iub)))),
    [0xdf] = ONLY_66(SSE_ROW("aeskeygenassist", AES, OPS3(W(V), R(Wdq), R(Iub)))),
};
