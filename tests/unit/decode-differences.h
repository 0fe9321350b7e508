/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the decoder differs from Zydis 4.0 on purpose; part of test-decode.c. */

#define SCALAR_REASON "a partial write of an XMM register keeps the other bits: they are read"
#define SHIFT_REASON  "a count of 0 leaves the flags alone: they are also read"
#define HINT_REASON   "no access is made, so nothing can fault"

static const struct difference differences[] = {
    {MNEMONIC, "jecxz jrcxz", "one row; the address size tells them apart"},
    {MNEMONIC, "pause", "F3 with REX.B: QEMU, Bochs and AMD exchange with R8, and so do we"},
    {REGISTERS, "pause", "as above"},
    {IMPLICIT_REGISTERS, "pause", "as above: RAX is OPERAND_ACC"},

    {REGISTERS, "nop", "Zydis lists ModRM.reg as an operand of the hint NOPs"},
    {OPSIZE, "nop", "Zydis takes 66 for 16 bits with ENDBR-like NOPs even in 16-bit mode"},
    {MEMORY_ACCESS,
     "nop prefetch prefetchw prefetchwt1 prefetchnta prefetcht0 prefetcht1 prefetcht2",
     HINT_REASON},
    {MEMORY_ACCESS, "invlpg", "only the address is used"},
    {MEMORY_SIZE, "clflush clwb clflushopt", "the access checked is that of one byte"},
    {MEMORY_SIZE, "movsxd", "SDM: with 66 the source has 16 bits"},
    {REGISTERS, "lar lsl", "the selector has 16 bits whatever the operand size is"},
    {REGISTERS, "bsf bsr", "the destination stays when the source is 0, as processors have it"},
    {REGISTERS,
     "movlps movhps movlpd movhpd movhlps movlhps movss movsd cvtpi2ps cvtss2sd cvtsd2ss sqrtss "
     "sqrtsd "
     "rsqrtss rcpss roundss roundsd",
     SCALAR_REASON},

    {FLAGS_READ, "rol ror rcl rcr shl shr sar shld shrd", SHIFT_REASON},
    {FLAGS_WRITTEN, "rol ror rcl rcr shl shr sar", "OF is defined for shifts by the constant 1"},
    {FLAGS_UNDEFINED, "rol ror rcl rcr shl shr sar", "as above"},
    {FLAGS_READ, "cmpsb cmpsw cmpsd cmpsq scasb scasw scasd scasq",
     "with REP and RCX = 0 the flags stay: they are also read"},
    {FLAGS_WRITTEN, "sbb", "SDM: AF is defined (Zydis: not in one form)"},
    {FLAGS_UNDEFINED, "sbb", "as above"},
    {FLAGS_UNDEFINED, "mov", "SDM: MOV from and to CR and DR leave the arithmetic flags undefined"},
    {FLAGS_WRITTEN, "bextr", "SDM: CF and OF are cleared"},
    {FLAGS_UNDEFINED, "bextr", "as above"},
    {FLAGS_WRITTEN, "vtestps vtestpd vptest", "SDM: OF, AF, PF and SF are cleared"},
    {FLAGS_WRITTEN, "vmlaunch vmresume", "what VM entry loads is not counted: the block ends"},
    {FLAGS_WRITTEN, "vmcall", "VMCALL leaves the flags alone in root and non-root operation"},
    {FLAGS_READ, "syscall int int1 int3 into", "EFLAGS is saved"},
    {FLAGS_WRITTEN, "int1", "IF, TF and NT are cleared, as by INT3"},

    {IMPLICIT_REGISTERS,
     "insb insw insd outsb outsw outsd cmpsb cmpsw cmpsd cmpsq scasb scasw scasd scasq",
     "the index registers are written (Zydis: only by MOVS, STOS and LODS)"},
    {IMPLICIT_REGISTERS, "lodsb lodsw lodsd lodsq lahf salc fnstsw",
     "writes a part of RAX, or with REP and RCX = 0 nothing: the rest is read"},
    {IMPLICIT_REGISTERS, "leave", "RSP is set before it is used"},
    {IMPLICIT_REGISTERS, "xlat", "AL is read"},
    {IMPLICIT_REGISTERS, "int int1 int3 into", "the frame is pushed"},
    {IMPLICIT_REGISTERS, "vmcall vmmcall vmfunc", "a hypercall's arguments; VMFUNC's ECX"},
    {PRIVILEGED, "lgdt", "SDM: #GP(0) if CPL is not 0"},
    {OPSIZE, "syscall", "66 does not matter"},
    {OPSIZE, "rdpid", "66 does not matter: 8 bytes in 64-bit mode, else 4"},
    {OPSIZE, "insd outsd", "a port has at most 32 bits, REX.W or not"},
    {BRANCHES, "syscall sysret sysenter sysexit rsm int int1 int3 into iret iretd iretq",
     "Zydis counts only jumps, calls and returns"},
    {STACK, "leave int int1 int3 into", "LEAVE pops, by RBP for Zydis; interrupts push a frame"},
    {ALIGNED, "movups movupd movdqu lddqu pcmpestrm pcmpestri pcmpistrm pcmpistri",
     "SDM: of class 4, but without alignment"},
    {FEATURES, "syscall sysret", "Zydis calls the set AMD outside 64-bit mode"},
    {FEATURES,
     "pshufw pinsrw pextrw pminub pmaxub pavgb pavgw pmulhuw pminsw pmaxsw psadbw maskmovq movntq",
     "SDM: MMX instructions that came with SSE"},
    {FEATURES, "fisttp", "SDM: SSE3; here part of x87, as all our models have SSE3"},
    {FEATURES, "fcomi fcomip fucomi fucomip", "part of x87 (and CMOV)"},
    {FEATURES, "vpclmulqdq", "SDM: the 128-bit form needs PCLMULQDQ beside AVX"},
};
