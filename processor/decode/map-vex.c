/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VEX.0F: the two-byte opcodes of AVX and AVX2. */
#include "processor/decode/map-vector.h"
#include "processor/decode/table.h"

#define ONLY_66(...) BY_PREFIX([1] = __VA_ARGS__)
#define OPS_VHW      OPS3(W(Vx), R(Hx), R(Wx))
#define OPS_VW       OPS2(W(Vx), R(Wx))
#define OPS_WV       OPS2(W(Wx), R(Vx))
/* Packed single, packed double, of any operands. */
#define PS_PD(name, ...)                                                                           \
    BY_PREFIX(AVX_ROW(name "ps", AVX, __VA_ARGS__), AVX_ROW(name "pd", AVX, __VA_ARGS__))
#define PS_PD_ALIGNED(name, ...)                                                                   \
    BY_PREFIX(AVX_ALIGNED(name "ps", AVX, __VA_ARGS__), AVX_ALIGNED(name "pd", AVX, __VA_ARGS__))
#define SCALARS(name) /* entries of F3 and F2 */                                                   \
    AVX_FP(name "ss", AVX, OPS3(W(V), R(H), R(Wd))), AVX_FP(name "sd", AVX, OPS3(W(V), R(H), R(Wq)))
#define PACKED_SCALAR(name)                                                                        \
    BY_PREFIX(AVX_FP(name "ps", AVX, OPS_VHW), AVX_FP(name "pd", AVX, OPS_VHW), SCALARS(name))
#define ESTIMATE(name)                                                                             \
    BY_PREFIX([0] = AVX_ROW(name "ps", AVX, OPS_VW), [2] = AVX_ROW(name "ss", AVX,                 \
                                                                   OPS3(W(V), R(H), R(Wd))))
#define COMPARE(name)                                                                              \
    BY_PREFIX(NATIVE(name "ss", AVX, OPS2(R(V), R(Wd)), COMPARES),                                 \
              NATIVE(name "sd", AVX, OPS2(R(V), R(Wq)), COMPARES))
#define COMPARES      TRAITS(VEX_TRAITS | TRAIT_FP | TRAIT_EFLAGS_OUT), WRITES(OSZAPC), ROUNDS
#define INTEGER(name) ONLY_66(AVX_AVX2(name, OPS_VHW))
/* The count is an XMM register or 16 bytes whatever VEX.L says. */
#define SHIFT(name)           ONLY_66(AVX_AVX2(name, OPS3(W(Vx), R(Hx), R(Wdq))))
#define SHIFT_IMMEDIATE(name) ONLY_66(AVX_AVX2(name, OPS3(W(Hx), R(Ux), R(Iub))))
#define TO_INTEGER(name)                                                                           \
    BY_PREFIX([2] = AVX_FP(name "ss2si", AVX, OPS2(W(Gy), R(Wd))), [3] =                           \
                                                                       AVX_FP(name "sd2si", AVX,   \
                                                                              OPS2(W(Gy), R(Wq))))
#define SCALAR_LOAD(name, memory)                                                                  \
    BY_MOD(AVX_ROW(name, AVX, OPS2(W(V), R(memory))), AVX_ROW(name, AVX, OPS3(W(V), R(H), R(U))))
#define SCALAR_STORE(name, memory)                                                                 \
    BY_MOD(AVX_ROW(name, AVX, OPS2(W(memory), R(V))), AVX_ROW(name, AVX, OPS3(W(U), R(H), R(V))))
#define HALF_LOAD(name)  AVX_ROW(name, AVX, OPS3(W(V), R(H), R(Mq)), VEX(VEX_L0))
#define HALF_MOVE(name)  AVX_ROW(name, AVX, OPS3(W(V), R(H), R(U)), VEX(VEX_L0))
#define HALF_STORE(name) AVX_ROW(name, AVX, OPS2(W(Mq), R(V)), VEX(VEX_L0))
#define HORIZONTAL(name)                                                                           \
    BY_PREFIX([1] = AVX_FP(name "pd", AVX, OPS_VHW), [3] = AVX_FP(name "ps", AVX, OPS_VHW))

const struct entry opcodes_vex_0f[256] = {
    [0x10] = BY_PREFIX(AVX_ROW("vmovups", AVX, OPS_VW), AVX_ROW("vmovupd", AVX, OPS_VW),
                       SCALAR_LOAD("vmovss", Md), SCALAR_LOAD("vmovsd", Mq)),
    [0x11] = BY_PREFIX(AVX_ROW("vmovups", AVX, OPS_WV), AVX_ROW("vmovupd", AVX, OPS_WV),
                       SCALAR_STORE("vmovss", Md), SCALAR_STORE("vmovsd", Mq)),
    [0x12] = BY_PREFIX(
        BY_MOD(HALF_LOAD("vmovlps"), HALF_MOVE("vmovhlps")), HALF_LOAD("vmovlpd"),
        AVX_ROW("vmovsldup", AVX, OPS_VW),
        BY_L(AVX_ROW("vmovddup", AVX, OPS2(W(V), R(Wq))), AVX_ROW("vmovddup", AVX, OPS_VW))),
    [0x13] = BY_PREFIX(HALF_STORE("vmovlps"), HALF_STORE("vmovlpd")),
    [0x14] = PS_PD("vunpckl", OPS_VHW),
    [0x15] = PS_PD("vunpckh", OPS_VHW),
    [0x16] = BY_PREFIX(BY_MOD(HALF_LOAD("vmovhps"), HALF_MOVE("vmovlhps")), HALF_LOAD("vmovhpd"),
                       AVX_ROW("vmovshdup", AVX, OPS_VW)),
    [0x17] = BY_PREFIX(HALF_STORE("vmovhps"), HALF_STORE("vmovhpd")),
    [0x28] = PS_PD_ALIGNED("vmova", OPS_VW),
    [0x29] = PS_PD_ALIGNED("vmova", OPS_WV),
    [0x2a] =
        BY_PREFIX([2] = AVX_FP("vcvtsi2ss", AVX, OPS3(W(V), R(H), R(Ey))), [3] = AVX_FP(
                                                                               "vcvtsi2sd", AVX,
                                                                               OPS3(W(V), R(H),
                                                                                    R(Ey)))),
    [0x2b] = PS_PD_ALIGNED("vmovnt", OPS2(W(Mx), R(Vx))),
    [0x2c] = TO_INTEGER("vcvtt"),
    [0x2d] = TO_INTEGER("vcvt"),
    [0x2e] = COMPARE("vucomi"),
    [0x2f] = COMPARE("vcomi"),
    [0x50] = PS_PD("vmovmsk", OPS2(W(Gd), R(Ux))),
    [0x51] =
        BY_PREFIX(AVX_FP("vsqrtps", AVX, OPS_VW), AVX_FP("vsqrtpd", AVX, OPS_VW), SCALARS("vsqrt")),
    [0x52] = ESTIMATE("vrsqrt"),
    [0x53] = ESTIMATE("vrcp"),
    [0x54] = PS_PD("vand", OPS_VHW),
    [0x55] = PS_PD("vandn", OPS_VHW),
    [0x56] = PS_PD("vor", OPS_VHW),
    [0x57] = PS_PD("vxor", OPS_VHW),
    [0x58] = PACKED_SCALAR("vadd"),
    [0x59] = PACKED_SCALAR("vmul"),
    [0x5a] = BY_PREFIX(AVX_FP("vcvtps2pd", AVX, OPS2(W(Vx), R(Wh))),
                       AVX_FP("vcvtpd2ps", AVX, OPS2(W(V), R(Wx))),
                       AVX_FP("vcvtss2sd", AVX, OPS3(W(V), R(H), R(Wd))),
                       AVX_FP("vcvtsd2ss", AVX, OPS3(W(V), R(H), R(Wq)))),
    [0x5b] = BY_PREFIX(AVX_FP("vcvtdq2ps", AVX, OPS_VW), AVX_FP("vcvtps2dq", AVX, OPS_VW),
                       AVX_FP("vcvttps2dq", AVX, OPS_VW)),
    [0x5c] = PACKED_SCALAR("vsub"),
    [0x5d] = PACKED_SCALAR("vmin"),
    [0x5e] = PACKED_SCALAR("vdiv"),
    [0x5f] = PACKED_SCALAR("vmax"),
    [0x60] = INTEGER("vpunpcklbw"),
    [0x61] = INTEGER("vpunpcklwd"),
    [0x62] = INTEGER("vpunpckldq"),
    [0x63] = INTEGER("vpacksswb"),
    [0x64] = INTEGER("vpcmpgtb"),
    [0x65] = INTEGER("vpcmpgtw"),
    [0x66] = INTEGER("vpcmpgtd"),
    [0x67] = INTEGER("vpackuswb"),
    [0x68] = INTEGER("vpunpckhbw"),
    [0x69] = INTEGER("vpunpckhwd"),
    [0x6a] = INTEGER("vpunpckhdq"),
    [0x6b] = INTEGER("vpackssdw"),
    [0x6c] = INTEGER("vpunpcklqdq"),
    [0x6d] = INTEGER("vpunpckhqdq"),
    [0x6e] = ONLY_66(BY_W64(AVX_ROW("vmovd", AVX, OPS2(W(V), R(Ey)), VEX(VEX_L0)),
                            AVX_ROW("vmovq", AVX, OPS2(W(V), R(Ey)), VEX(VEX_L0)))),
    [0x6f] =
        BY_PREFIX([1] = AVX_ALIGNED("vmovdqa", AVX, OPS_VW), [2] = AVX_ROW("vmovdqu", AVX, OPS_VW)),
    [0x70] = BY_PREFIX([1] = AVX_AVX2("vpshufd", OPS3(W(Vx), R(Wx), R(Iub))),
                       [2] = AVX_AVX2("vpshufhw", OPS3(W(Vx), R(Wx), R(Iub))),
                       [3] = AVX_AVX2("vpshuflw", OPS3(W(Vx), R(Wx), R(Iub)))),
    [0x71] = BY_REG([2] = SHIFT_IMMEDIATE("vpsrlw"), [4] = SHIFT_IMMEDIATE("vpsraw"),
                    [6] = SHIFT_IMMEDIATE("vpsllw")),
    [0x72] = BY_REG([2] = SHIFT_IMMEDIATE("vpsrld"), [4] = SHIFT_IMMEDIATE("vpsrad"),
                    [6] = SHIFT_IMMEDIATE("vpslld")),
    [0x73] = BY_REG([2] = SHIFT_IMMEDIATE("vpsrlq"), [3] = SHIFT_IMMEDIATE("vpsrldq"),
                    [6] = SHIFT_IMMEDIATE("vpsllq"), [7] = SHIFT_IMMEDIATE("vpslldq")),
    [0x74] = INTEGER("vpcmpeqb"),
    [0x75] = INTEGER("vpcmpeqw"),
    [0x76] = INTEGER("vpcmpeqd"),
    [0x77] = BY_PREFIX(BY_L(VECTOR("vzeroupper", VZEROUPPER, AVX, OPS0, TRAITS(VEX_TRAITS)),
                            VECTOR("vzeroall", VZEROALL, AVX, OPS0, TRAITS(VEX_TRAITS)))),
    [0x7c] = HORIZONTAL("vhadd"),
    [0x7d] = HORIZONTAL("vhsub"),
    [0x7e] = BY_PREFIX([1] = BY_W64(AVX_ROW("vmovd", AVX, OPS2(W(Ey), R(V)), VEX(VEX_L0)),
                                    AVX_ROW("vmovq", AVX, OPS2(W(Ey), R(V)), VEX(VEX_L0))),
                       [2] = AVX_ROW("vmovq", AVX, OPS2(W(V), R(Wq)), VEX(VEX_L0))),
    [0x7f] =
        BY_PREFIX([1] = AVX_ALIGNED("vmovdqa", AVX, OPS_WV), [2] = AVX_ROW("vmovdqu", AVX, OPS_WV)),
    [0xae] = BY_REG([2] = BY_PREFIX(VECTOR("vldmxcsr", LDMXCSR, AVX, OPS1(R(Md)),
                                           TRAITS(VEX_TRAITS), SETS(MXCSR), VEX(VEX_L0))),
                    [3] = BY_PREFIX(VECTOR("vstmxcsr", STMXCSR, AVX, OPS1(W(Md)),
                                           TRAITS(VEX_TRAITS), USES(MXCSR), VEX(VEX_L0)))),
    [0xc2] = BY_PREFIX(AVX_FP("vcmpps", AVX, OPS4(W(Vx), R(Hx), R(Wx), R(Iub))),
                       AVX_FP("vcmppd", AVX, OPS4(W(Vx), R(Hx), R(Wx), R(Iub))),
                       AVX_FP("vcmpss", AVX, OPS4(W(V), R(H), R(Wd), R(Iub))),
                       AVX_FP("vcmpsd", AVX, OPS4(W(V), R(H), R(Wq), R(Iub)))),
    [0xc4] = ONLY_66(BY_MOD(AVX_ROW("vpinsrw", AVX, OPS4(W(V), R(H), R(Mw), R(Iub)), VEX(VEX_L0)),
                            AVX_ROW("vpinsrw", AVX, OPS4(W(V), R(H), R(Rd), R(Iub)), VEX(VEX_L0)))),
    [0xc5] = ONLY_66(AVX_ROW("vpextrw", AVX, OPS3(W(Gd), R(U), R(Iub)), VEX(VEX_L0))),
    [0xc6] = PS_PD("vshuf", OPS4(W(Vx), R(Hx), R(Wx), R(Iub))),
    [0xd0] = HORIZONTAL("vaddsub"),
    [0xd1] = SHIFT("vpsrlw"),
    [0xd2] = SHIFT("vpsrld"),
    [0xd3] = SHIFT("vpsrlq"),
    [0xd4] = INTEGER("vpaddq"),
    [0xd5] = INTEGER("vpmullw"),
    [0xd6] = ONLY_66(AVX_ROW("vmovq", AVX, OPS2(W(Wq), R(V)), VEX(VEX_L0))),
    [0xd7] = ONLY_66(AVX_AVX2("vpmovmskb", OPS2(W(Gd), R(Ux)))),
    [0xd8] = INTEGER("vpsubusb"),
    [0xd9] = INTEGER("vpsubusw"),
    [0xda] = INTEGER("vpminub"),
    [0xdb] = INTEGER("vpand"),
    [0xdc] = INTEGER("vpaddusb"),
    [0xdd] = INTEGER("vpaddusw"),
    [0xde] = INTEGER("vpmaxub"),
    [0xdf] = INTEGER("vpandn"),
    [0xe0] = INTEGER("vpavgb"),
    [0xe1] = SHIFT("vpsraw"),
    [0xe2] = SHIFT("vpsrad"),
    [0xe3] = INTEGER("vpavgw"),
    [0xe4] = INTEGER("vpmulhuw"),
    [0xe5] = INTEGER("vpmulhw"),
    [0xe6] = BY_PREFIX([1] = AVX_FP("vcvttpd2dq", AVX, OPS2(W(V), R(Wx))),
                       [2] = AVX_ROW("vcvtdq2pd", AVX, OPS2(W(Vx), R(Wh))),
                       [3] = AVX_FP("vcvtpd2dq", AVX, OPS2(W(V), R(Wx)))),
    [0xe7] = ONLY_66(AVX_ALIGNED("vmovntdq", AVX, OPS2(W(Mx), R(Vx)))),
    [0xe8] = INTEGER("vpsubsb"),
    [0xe9] = INTEGER("vpsubsw"),
    [0xea] = INTEGER("vpminsw"),
    [0xeb] = INTEGER("vpor"),
    [0xec] = INTEGER("vpaddsb"),
    [0xed] = INTEGER("vpaddsw"),
    [0xee] = INTEGER("vpmaxsw"),
    [0xef] = INTEGER("vpxor"),
    [0xf0] = BY_PREFIX([3] = AVX_ROW("vlddqu", AVX, OPS2(W(Vx), R(Mx)))),
    [0xf1] = SHIFT("vpsllw"),
    [0xf2] = SHIFT("vpslld"),
    [0xf3] = SHIFT("vpsllq"),
    [0xf4] = INTEGER("vpmuludq"),
    [0xf5] = INTEGER("vpmaddwd"),
    [0xf6] = INTEGER("vpsadbw"),
    [0xf7] = ONLY_66(VECTOR("vmaskmovdqu", MASKMOV, AVX, OPS2(R(V), R(U)), TRAITS(VEX_TRAITS),
                            USES(RDI), SETS(MEMORY), VEX(VEX_L0))),
    [0xf8] = INTEGER("vpsubb"),
    [0xf9] = INTEGER("vpsubw"),
    [0xfa] = INTEGER("vpsubd"),
    [0xfb] = INTEGER("vpsubq"),
    [0xfc] = INTEGER("vpaddb"),
    [0xfd] = INTEGER("vpaddw"),
    [0xfe] = INTEGER("vpaddd"),
};
