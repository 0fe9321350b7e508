/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VEX.0F38 and VEX.0F3A: AVX, AVX2, FMA, F16C and kin, BMI1 and BMI2. */
#include "processor/decode/map-vector.h"
#include "processor/decode/table.h"

#define ONLY_66(...)    BY_PREFIX([1] = __VA_ARGS__)
#define OPS_VHW         OPS3(W(Vx), R(Hx), R(Wx))
#define OPS_VWI         OPS3(W(Vx), R(Wx), R(Iub))
#define OPS_VHWI        OPS4(W(Vx), R(Hx), R(Wx), R(Iub))
#define W0              VEX(VEX_W0)
#define L1_W0           VEX(VEX_L1 | VEX_W0)
#define L1_W1           VEX(VEX_L1 | VEX_W1)
#define INTEGER(name)   ONLY_66(AVX_AVX2(name, OPS_VHW))
#define INTEGER_1(name) ONLY_66(AVX_AVX2(name, OPS2(W(Vx), R(Wx))))
#define EXTEND(name, w) ONLY_66(AVX_AVX2(name, OPS2(W(Vx), R(w))))
/* AVX2 whatever VEX.L says; W1 has another name or nothing. */
#define AVX2_W0(name, ...) AVX_ROW(name, AVX2, W0, __VA_ARGS__)
#define VARIABLE_SHIFT(name)                                                                       \
    ONLY_66(BY_W(AVX_ROW(name "d", AVX2, OPS_VHW), AVX_ROW(name "q", AVX2, OPS_VHW)))
#define BROADCAST(name, w) ONLY_66(AVX2_W0(name, OPS2(W(Vx), R(w))))
#define FLAGS_OUT          TRAITS(VEX_TRAITS | TRAIT_EFLAGS_OUT), WRITES(OSZAPC)
/* Masked moves and gathers touch only the elements that their masks name: they have handlers. */
#define MASKED(name, f, ...) VECTOR(name, VMASKMOV, f, TRAITS(VEX_TRAITS), __VA_ARGS__)
#define MASKED_LOAD          OPS3(W(Vx), R(Hx), R(Mx))
#define MASKED_STORE         OPS3(W(Mx), R(Hx), R(Vx))
#define GATHER(d, q)                                                                               \
    ONLY_66(BY_W(VECTOR(d, GATHER, AVX2, OPS3(RW(Vx), R(VSIBd), RW(Hx)), TRAITS(VEX_TRAITS)),      \
                 VECTOR(q, GATHER, AVX2, OPS3(RW(Vx), R(VSIBq), RW(Hx)), TRAITS(VEX_TRAITS))))
/* The twelve opcodes of one order of operands, from BASE on. */
#define FMA_PACKED(name)                                                                           \
    ONLY_66(BY_W(AVX_FP(name "ps", FMA, OPS3(RW(Vx), R(Hx), R(Wx))),                               \
                 AVX_FP(name "pd", FMA, OPS3(RW(Vx), R(Hx), R(Wx)))))
#define FMA_SCALAR(name)                                                                           \
    ONLY_66(BY_W(AVX_FP(name "ss", FMA, OPS3(RW(V), R(H), R(Wd))),                                 \
                 AVX_FP(name "sd", FMA, OPS3(RW(V), R(H), R(Wq)))))
#define FMA(base, order)                                                                           \
    [(base) + 0] = FMA_PACKED("vfmaddsub" order), [(base) + 1] = FMA_PACKED("vfmsubadd" order),    \
              [(base) + 2] = FMA_PACKED("vfmadd" order),                                           \
              [(base) + 3] = FMA_SCALAR("vfmadd" order),                                           \
              [(base) + 4] = FMA_PACKED("vfmsub" order),                                           \
              [(base) + 5] = FMA_SCALAR("vfmsub" order),                                           \
              [(base) + 6] = FMA_PACKED("vfnmadd" order),                                          \
              [(base) + 7] = FMA_SCALAR("vfnmadd" order),                                          \
              [(base) + 8] = FMA_PACKED("vfnmsub" order),                                          \
              [(base) + 9] = FMA_SCALAR("vfnmsub" order)
#define AES(name) ONLY_66(BY_L(AVX_ROW(name, AES, OPS_VHW), AVX_ROW(name, VAES, OPS_VHW)))
/* General instructions with VEX. */
#define BMI(name, op, f, ...)                                                                      \
    GENERAL(name, op, FEATURE(f), TRAITS(VEX_TRAITS), SIZE_Y, VEX(VEX_L0), __VA_ARGS__)
#define BMI_FLAGS WRITES(OF | SF | ZF | CF), UNDEFINES(AF | PF)
#define OPS_GEB   OPS3(W(Gy), R(Ey), R(By))
#define OPS_GBE   OPS3(W(Gy), R(By), R(Ey))
#define OPS_BE    OPS2(W(By), R(Ey))

const struct entry opcodes_vex_0f38[256] = {
    [0x00] = INTEGER("vpshufb"),
    [0x01] = INTEGER("vphaddw"),
    [0x02] = INTEGER("vphaddd"),
    [0x03] = INTEGER("vphaddsw"),
    [0x04] = INTEGER("vpmaddubsw"),
    [0x05] = INTEGER("vphsubw"),
    [0x06] = INTEGER("vphsubd"),
    [0x07] = INTEGER("vphsubsw"),
    [0x08] = INTEGER("vpsignb"),
    [0x09] = INTEGER("vpsignw"),
    [0x0a] = INTEGER("vpsignd"),
    [0x0b] = INTEGER("vpmulhrsw"),
    [0x0c] = ONLY_66(AVX_ROW("vpermilps", AVX, OPS_VHW, W0)),
    [0x0d] = ONLY_66(AVX_ROW("vpermilpd", AVX, OPS_VHW, W0)),
    [0x0e] = ONLY_66(NATIVE("vtestps", AVX, OPS2(R(Vx), R(Wx)), FLAGS_OUT, W0)),
    [0x0f] = ONLY_66(NATIVE("vtestpd", AVX, OPS2(R(Vx), R(Wx)), FLAGS_OUT, W0)),
    [0x13] = ONLY_66(AVX_FP("vcvtph2ps", F16C, OPS2(W(Vx), R(Wh)), W0)),
    [0x16] = ONLY_66(AVX_ROW("vpermps", AVX2, OPS_VHW, L1_W0)),
    [0x17] = ONLY_66(NATIVE("vptest", AVX, OPS2(R(Vx), R(Wx)), FLAGS_OUT)),
    [0x18] = ONLY_66(BY_MOD(AVX_ROW("vbroadcastss", AVX, OPS2(W(Vx), R(Md)), W0),
                            AVX_ROW("vbroadcastss", AVX2, OPS2(W(Vx), R(U)), W0))),
    [0x19] = ONLY_66(BY_MOD(AVX_ROW("vbroadcastsd", AVX, OPS2(W(Vx), R(Mq)), L1_W0),
                            AVX_ROW("vbroadcastsd", AVX2, OPS2(W(Vx), R(U)), L1_W0))),
    [0x1a] = ONLY_66(AVX_ROW("vbroadcastf128", AVX, OPS2(W(Vx), R(Mdq)), L1_W0)),
    [0x1c] = INTEGER_1("vpabsb"),
    [0x1d] = INTEGER_1("vpabsw"),
    [0x1e] = INTEGER_1("vpabsd"),
    [0x20] = EXTEND("vpmovsxbw", Wh),
    [0x21] = EXTEND("vpmovsxbd", Wqt),
    [0x22] = EXTEND("vpmovsxbq", We),
    [0x23] = EXTEND("vpmovsxwd", Wh),
    [0x24] = EXTEND("vpmovsxwq", Wqt),
    [0x25] = EXTEND("vpmovsxdq", Wh),
    [0x28] = INTEGER("vpmuldq"),
    [0x29] = INTEGER("vpcmpeqq"),
    [0x2a] = ONLY_66(BY_L(AVX_ALIGNED("vmovntdqa", AVX, OPS2(W(Vx), R(Mx))),
                          AVX_ALIGNED("vmovntdqa", AVX2, OPS2(W(Vx), R(Mx))))),
    [0x2b] = INTEGER("vpackusdw"),
    [0x2c] = ONLY_66(MASKED("vmaskmovps", AVX, MASKED_LOAD, W0)),
    [0x2d] = ONLY_66(MASKED("vmaskmovpd", AVX, MASKED_LOAD, W0)),
    [0x2e] = ONLY_66(MASKED("vmaskmovps", AVX, MASKED_STORE, W0)),
    [0x2f] = ONLY_66(MASKED("vmaskmovpd", AVX, MASKED_STORE, W0)),
    [0x30] = EXTEND("vpmovzxbw", Wh),
    [0x31] = EXTEND("vpmovzxbd", Wqt),
    [0x32] = EXTEND("vpmovzxbq", We),
    [0x33] = EXTEND("vpmovzxwd", Wh),
    [0x34] = EXTEND("vpmovzxwq", Wqt),
    [0x35] = EXTEND("vpmovzxdq", Wh),
    [0x36] = ONLY_66(AVX_ROW("vpermd", AVX2, OPS_VHW, L1_W0)),
    [0x37] = INTEGER("vpcmpgtq"),
    [0x38] = INTEGER("vpminsb"),
    [0x39] = INTEGER("vpminsd"),
    [0x3a] = INTEGER("vpminuw"),
    [0x3b] = INTEGER("vpminud"),
    [0x3c] = INTEGER("vpmaxsb"),
    [0x3d] = INTEGER("vpmaxsd"),
    [0x3e] = INTEGER("vpmaxuw"),
    [0x3f] = INTEGER("vpmaxud"),
    [0x40] = INTEGER("vpmulld"),
    [0x41] = ONLY_66(AVX_ROW("vphminposuw", AVX, OPS2(W(V), R(Wdq)), VEX(VEX_L0))),
    [0x45] = VARIABLE_SHIFT("vpsrlv"),
    [0x46] = ONLY_66(AVX2_W0("vpsravd", OPS_VHW)),
    [0x47] = VARIABLE_SHIFT("vpsllv"),
    [0x58] = BROADCAST("vpbroadcastd", Wd),
    [0x59] = BROADCAST("vpbroadcastq", Wq),
    [0x5a] = ONLY_66(AVX_ROW("vbroadcasti128", AVX2, OPS2(W(Vx), R(Mdq)), L1_W0)),
    [0x78] = BROADCAST("vpbroadcastb", Wb),
    [0x79] = BROADCAST("vpbroadcastw", Ww),
    [0x8c] = ONLY_66(
        BY_W(MASKED("vpmaskmovd", AVX2, MASKED_LOAD), MASKED("vpmaskmovq", AVX2, MASKED_LOAD))),
    [0x8e] = ONLY_66(
        BY_W(MASKED("vpmaskmovd", AVX2, MASKED_STORE), MASKED("vpmaskmovq", AVX2, MASKED_STORE))),
    [0x90] = GATHER("vpgatherdd", "vpgatherdq"),
    [0x91] = GATHER("vpgatherqd", "vpgatherqq"),
    [0x92] = GATHER("vgatherdps", "vgatherdpd"),
    [0x93] = GATHER("vgatherqps", "vgatherqpd"),
    FMA(0x96, "132"),
    FMA(0xa6, "213"),
    FMA(0xb6, "231"),
    [0xcf] = ONLY_66(AVX_ROW("vgf2p8mulb", GFNI, OPS_VHW, W0)),
    [0xdb] = ONLY_66(AVX_ROW("vaesimc", AES, OPS2(W(V), R(Wdq)), VEX(VEX_L0))),
    [0xdc] = AES("vaesenc"),
    [0xdd] = AES("vaesenclast"),
    [0xde] = AES("vaesdec"),
    [0xdf] = AES("vaesdeclast"),
    [0xf2] = BY_PREFIX(BMI("andn", ANDN, BMI1, OPS_GBE, BMI_FLAGS)),
    [0xf3] = BY_REG([1] = BY_PREFIX(BMI("blsr", BLSR, BMI1, OPS_BE, BMI_FLAGS)),
                    [2] = BY_PREFIX(BMI("blsmsk", BLSMSK, BMI1, OPS_BE, BMI_FLAGS)),
                    [3] = BY_PREFIX(BMI("blsi", BLSI, BMI1, OPS_BE, BMI_FLAGS))),
    [0xf5] =
        BY_PREFIX([0] = BMI("bzhi", BZHI, BMI2, OPS_GEB, BMI_FLAGS),
                  [2] = BMI("pext", PEXT, BMI2, OPS_GBE), [3] = BMI("pdep", PDEP, BMI2, OPS_GBE)),
    [0xf6] = BY_PREFIX([3] = BMI("mulx", MULX, BMI2, OPS3(W(Gy), W(By), R(Ey)), USES(RDX))),
    [0xf7] =
        BY_PREFIX(BMI("bextr", BEXTR, BMI1, OPS_GEB, WRITES(OF | ZF | CF), UNDEFINES(SF | AF | PF)),
                  BMI("shlx", SHLX, BMI2, OPS_GEB), BMI("sarx", SARX, BMI2, OPS_GEB),
                  BMI("shrx", SHRX, BMI2, OPS_GEB)),
};

#define L0 VEX(VEX_L0)
#define STRINGS(name, ...)                                                                         \
    ONLY_66(NATIVE(name, AVX, OPS3(R(V), R(Wdq), R(Iub)), FLAGS_OUT, L0, __VA_ARGS__))
/* Four operands, the last in imm8[7:4]. */
#define OPS_VHWL OPS4(W(Vx), R(Hx), R(Wx), R(Lx))
#define TO_MEMORY_OR_REGISTER(name, memory)                                                        \
    ONLY_66(BY_MOD(AVX_ROW(name, AVX, OPS3(W(memory), R(V), R(Iub)), L0),                          \
                   AVX_ROW(name, AVX, OPS3(W(Rd), R(V), R(Iub)), L0)))

const struct entry opcodes_vex_0f3a[256] = {
    [0x00] = ONLY_66(AVX_ROW("vpermq", AVX2, OPS_VWI, L1_W1)),
    [0x01] = ONLY_66(AVX_ROW("vpermpd", AVX2, OPS_VWI, L1_W1)),
    [0x02] = ONLY_66(AVX2_W0("vpblendd", OPS_VHWI)),
    [0x04] = ONLY_66(AVX_ROW("vpermilps", AVX, OPS_VWI, W0)),
    [0x05] = ONLY_66(AVX_ROW("vpermilpd", AVX, OPS_VWI, W0)),
    [0x06] = ONLY_66(AVX_ROW("vperm2f128", AVX, OPS_VHWI, L1_W0)),
    [0x08] = ONLY_66(AVX_FP("vroundps", AVX, OPS_VWI)),
    [0x09] = ONLY_66(AVX_FP("vroundpd", AVX, OPS_VWI)),
    [0x0a] = ONLY_66(AVX_FP("vroundss", AVX, OPS4(W(V), R(H), R(Wd), R(Iub)))),
    [0x0b] = ONLY_66(AVX_FP("vroundsd", AVX, OPS4(W(V), R(H), R(Wq), R(Iub)))),
    [0x0c] = ONLY_66(AVX_ROW("vblendps", AVX, OPS_VHWI)),
    [0x0d] = ONLY_66(AVX_ROW("vblendpd", AVX, OPS_VHWI)),
    [0x0e] = ONLY_66(AVX_AVX2("vpblendw", OPS_VHWI)),
    [0x0f] = ONLY_66(AVX_AVX2("vpalignr", OPS_VHWI)),
    [0x14] = TO_MEMORY_OR_REGISTER("vpextrb", Mb),
    [0x15] = TO_MEMORY_OR_REGISTER("vpextrw", Mw),
    [0x16] = ONLY_66(BY_W64(AVX_ROW("vpextrd", AVX, OPS3(W(Ey), R(V), R(Iub)), L0),
                            AVX_ROW("vpextrq", AVX, OPS3(W(Ey), R(V), R(Iub)), L0))),
    [0x17] = TO_MEMORY_OR_REGISTER("vextractps", Md),
    [0x18] = ONLY_66(AVX_ROW("vinsertf128", AVX, OPS4(W(Vx), R(Hx), R(Wdq), R(Iub)), L1_W0)),
    [0x19] = ONLY_66(AVX_ROW("vextractf128", AVX, OPS3(W(Wdq), R(Vx), R(Iub)), L1_W0)),
    [0x1d] = ONLY_66(AVX_FP("vcvtps2ph", F16C, OPS3(W(Wh), R(Vx), R(Iub)), W0)),
    [0x20] = ONLY_66(BY_MOD(AVX_ROW("vpinsrb", AVX, OPS4(W(V), R(H), R(Mb), R(Iub)), L0),
                            AVX_ROW("vpinsrb", AVX, OPS4(W(V), R(H), R(Rd), R(Iub)), L0))),
    [0x21] = ONLY_66(AVX_ROW("vinsertps", AVX, OPS4(W(V), R(H), R(Wd), R(Iub)), L0)),
    [0x22] = ONLY_66(BY_W64(AVX_ROW("vpinsrd", AVX, OPS4(W(V), R(H), R(Ey), R(Iub)), L0),
                            AVX_ROW("vpinsrq", AVX, OPS4(W(V), R(H), R(Ey), R(Iub)), L0))),
    [0x38] = ONLY_66(AVX_ROW("vinserti128", AVX2, OPS4(W(Vx), R(Hx), R(Wdq), R(Iub)), L1_W0)),
    [0x39] = ONLY_66(AVX_ROW("vextracti128", AVX2, OPS3(W(Wdq), R(Vx), R(Iub)), L1_W0)),
    [0x40] = ONLY_66(AVX_FP("vdpps", AVX, OPS_VHWI)),
    [0x41] = ONLY_66(AVX_FP("vdppd", AVX, OPS_VHWI, L0)),
    [0x42] = ONLY_66(AVX_AVX2("vmpsadbw", OPS_VHWI)),
    [0x44] = ONLY_66(BY_L(AVX_ROW("vpclmulqdq", PCLMULQDQ, OPS_VHWI),
                          AVX_ROW("vpclmulqdq", VPCLMULQDQ, OPS_VHWI))),
    [0x46] = ONLY_66(AVX_ROW("vperm2i128", AVX2, OPS_VHWI, L1_W0)),
    [0x4a] = ONLY_66(AVX_ROW("vblendvps", AVX, OPS_VHWL, W0)),
    [0x4b] = ONLY_66(AVX_ROW("vblendvpd", AVX, OPS_VHWL, W0)),
    [0x4c] = ONLY_66(
        BY_L(AVX_ROW("vpblendvb", AVX, OPS_VHWL, W0), AVX_ROW("vpblendvb", AVX2, OPS_VHWL, W0))),
    [0x60] = STRINGS("vpcmpestrm", LENGTHS_MASK),
    [0x61] = STRINGS("vpcmpestri", LENGTHS_INDEX),
    [0x62] = STRINGS("vpcmpistrm", SETS(XMM0)),
    [0x63] = STRINGS("vpcmpistri", SETS(RCX)),
    [0xce] = ONLY_66(AVX_ROW("vgf2p8affineqb", GFNI, OPS_VHWI, VEX(VEX_W1))),
    [0xcf] = ONLY_66(AVX_ROW("vgf2p8affineinvqb", GFNI, OPS_VHWI, VEX(VEX_W1))),
    [0xdf] = ONLY_66(AVX_ROW("vaeskeygenassist", AES, OPS3(W(V), R(Wdq), R(Iub)), L0)),
    [0xf0] = BY_PREFIX([3] = BMI("rorx", RORX, BMI2, OPS3(W(Gy), R(Ey), R(Iub)))),
};
