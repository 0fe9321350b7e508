/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the handlers of processor/vector share.  Internal to this folder.
 *
 * Guest vector registers live in memory (struct vector_state).  An instruction of the decoder's
 * whitelist runs natively through a stub: a small piece of generated code that loads the operand
 * registers of that one instruction from pointers, executes it with its register fields renumbered,
 * and stores the results.  The memory operand is read and written by C, through the guest's page
 * tables; the stub gets a pointer to the host memory or to a bounce buffer.
 *
 *   stub.c     the cache of stubs and the memory that holds them
 *   emit.c     the generator
 *   bind.c     vector_bind: which handler runs an instruction
 *   native.c   handlers that run stubs: MMX, SSE, AVX
 *   move.c     the commonest moves in plain C
 *   x87.c      x87 through stubs; its control instructions, and their memory images
 *   xsave.c    FXSAVE, XSAVE and their kin, as images of the whole state
 *   masked.c   MASKMOV, VMASKMOV, gathers
 *   state.c    reset, MXCSR, VZEROALL, XGETBV, XSETBV, EMMS
 *   feature.c  what the host can run
 */
#ifndef TRAPEZE_VECTOR_H
#define TRAPEZE_VECTOR_H

#include "processor/core/core.h"
#include "processor/decode/decode.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define HANDLER(name) const struct insn *name(struct processor *p, const struct insn *i)

#define XFEATURE_X87  BIT(0)
#define XFEATURE_SSE  BIT(1)
#define XFEATURE_AVX  BIT(2)
#define XFEATURES     (XFEATURE_X87 | XFEATURE_SSE | XFEATURE_AVX)
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_VALID   0xffffu /* MXCSR_MASK as the guest sees it */
#define MXCSR_MASKS   0x1f80u
#define MXCSR_FLAGS   0x3fu
#define MXCSR_FTZ     0x8000u
/* x87 status word, exception flags as in MXCSR (I D Z O U P). */
#define FSW_FLAGS 0x3fu
#define FSW_SF    0x40u
#define FSW_ES    0x80u
#define FSW_B     0x8000u

/* ---------------------------------------------------------------- stubs */

/* What a stub takes besides its operands; a stub uses only the fields its instruction needs. */
struct stub_frame {
    uint64_t *gpr;      /* the guest's, for implicit operands */
    const void *x87_in; /* FXSAVE images, 16-byte aligned; they may be the same */
    void *x87_out;
    uint64_t flags;      /* status flags in and out */
    uint32_t mxcsr;      /* in: to run with; out: with the flags the instruction raised */
    uint32_t host_mxcsr; /* the stub's own */
    uint16_t host_fcw;
};

/* REG, RM, V: the operands that ModRM.reg, ModRM.rm and VEX.vvvv name: a 32-byte XMM/YMM slot (of
 * which legacy SSE touches 16 bytes), a general register's slot, or for RM host memory of the
 * operand's size.  EXTRA: the is4 register or the implicit XMM0.  Unused ones may be anything. */
typedef void stub_fn(void *reg, void *rm, void *v, void *extra, struct stub_frame *f);

/* The bound field of a vector instruction (INSN_BIND_SHIFT): log2 of the memory operand's size,
 * then the stub's serial number. */
#define BOUND_SIZE_BITS   3
#define BOUND_SERIAL_BITS 45

#define STUB_SLOTS 8192 /* a power of two */
#define STUB_BYTES 128

/* The stubs of one processor.  They form a ring: stub number N stands in slot N % STUB_SLOTS until
 * number N + STUB_SLOTS replaces it.  An instruction remembers the number of its stub, and a slot
 * the number it holds; when they differ the stub is looked up, or made again, by its key.  So
 * replacing one needs no list of the instructions that use it. */
struct vector_stubs {
    uint64_t serial[STUB_SLOTS]; /* of the stub in the slot; 0: none */
    uint64_t key[STUB_SLOTS];
    uint16_t next[STUB_SLOTS]; /* the next of its hash chain, as slot + 1; 0 ends it */
    uint16_t head[STUB_SLOTS];
    uint64_t last;     /* the newest serial number */
    uint8_t *writable; /* two mappings of the same memory */
    uint8_t *executable;
    uint64_t features; /* BIT(enum feature) that the host can run */
    struct stub_frame frame;
    uint8_t bounce[64] __attribute__((aligned(64)));
    uint8_t x87[512] __attribute__((aligned(64))); /* x87_out when it may be thrown away */
};

/* The number of I's stub, made if need be. */
uint64_t stub_bind(struct processor *p, const struct insn *i);
/* The slow path of stub_of. */
stub_fn *stub_find(struct processor *p, const struct insn *i);

ALWAYS_INLINE stub_fn *stub_of(struct processor *p, const struct insn *i)
{
    const struct vector_stubs *s = p->stubs;
    uint64_t serial = i->imm >> (INSN_BIND_SHIFT + BOUND_SIZE_BITS) & (BIT(BOUND_SERIAL_BITS) - 1);
    unsigned slot = serial % STUB_SLOTS;
    if (likely(s->serial[slot] == serial))
        return (stub_fn *)(void *)(s->executable + (size_t)slot * STUB_BYTES);
    return stub_find(p, i);
}

ALWAYS_INLINE unsigned bound_size(const struct insn *i)
{
    return 1u << (i->imm >> INSN_BIND_SHIFT & 7);
}

/* How an instruction is to be emitted; equal keys mean equal stubs. */
struct stub_shape {
    const struct insn_attr *attr;
    uint8_t map, opcode, pp; /* pp as VEX has it: none, 66, F3, F2 */
    bool vex, l, w;
    uint8_t modrm; /* renumbered */
    uint8_t vvvv;
    bool has_imm;
    uint8_t imm;
    bool mod3;
};
void stub_shape(const struct processor *p, const struct insn *i, struct stub_shape *s);
uint64_t stub_key(const struct stub_shape *s);
/* Writes the code, at most STUB_BYTES; returns its length. */
size_t stub_emit(const struct stub_shape *s, uint8_t *to);

/* What an instruction needs beyond its explicit operands. */
bool insn_uses_mmx(const struct insn_attr *a);
bool insn_uses_xmm(const struct insn_attr *a);
bool insn_reads_xmm0(const struct insn_attr *a);
bool insn_writes_xmm0(const struct insn_attr *a);
/* RAX and RDX read (PCMPESTRI, PCMPESTRM), RCX written (PCMPESTRI, PCMPISTRI). */
bool insn_reads_lengths(const struct insn_attr *a);
bool insn_writes_index(const struct insn_attr *a);

/* The mandatory prefix of I as VEX.pp has it. */
static inline unsigned insn_pp(const struct insn *i)
{
    if (i->prefixes & PREFIX_REPNE)
        return 3;
    if (i->prefixes & PREFIX_REP)
        return 2;
    return i->prefixes & PREFIX_66 ? 1 : 0;
}

/* ---------------------------------------------------------------- may the guest use it? */

_Noreturn void sse_unavailable(struct processor *p);
_Noreturn void avx_unavailable(struct processor *p);
_Noreturn void mmx_unavailable(struct processor *p);

ALWAYS_INLINE void need_sse(struct processor *p)
{
    if (unlikely((p->cr0 & (CR0_EM | CR0_TS)) || !(p->cr4 & CR4_OSFXSR)))
        sse_unavailable(p);
}
ALWAYS_INLINE void need_avx(struct processor *p)
{
    if (unlikely((p->cr0 & CR0_TS) || !(p->cr4 & CR4_OSXSAVE) ||
                 (~p->vector.xcr0 & (XFEATURE_SSE | XFEATURE_AVX)) ||
                 (p->mode & (MODE_REAL | MODE_V86))))
        avx_unavailable(p);
}
ALWAYS_INLINE void need_vector(struct processor *p, const struct insn *i)
{
    if (i->prefixes & PREFIX_VEX)
        need_avx(p);
    else
        need_sse(p);
}

/* Outside 64-bit mode instructions that work on all XMM or YMM registers know only eight. */
static inline unsigned vector_registers(const struct processor *p)
{
    return (p->mode & MODE_DECODE) == DECODE_64 ? 16 : 8;
}

/* ---------------------------------------------------------------- x87 state */

#define FSW_TOP_SHIFT 11

static inline uint16_t get16(const uint8_t *b)
{
    return *(const unaligned_u16 *)b;
}
static inline void put16(uint8_t *b, uint16_t v)
{
    *(unaligned_u16 *)b = v;
}
static inline uint32_t get32(const uint8_t *b)
{
    return *(const unaligned_u32 *)b;
}
static inline void put32(uint8_t *b, uint32_t v)
{
    *(unaligned_u32 *)b = v;
}
static inline uint64_t get64(const uint8_t *b)
{
    return *(const unaligned_u64 *)b;
}
static inline void put64(uint8_t *b, uint64_t v)
{
    *(unaligned_u64 *)b = v;
}

/* FCW as it reads back: reserved bits are 0, bit 6 is 1. */
static inline uint16_t x87_valid_fcw(uint16_t fcw)
{
    return (fcw & 0x1f3f) | 0x40;
}
/* An unmasked x87 exception waits to be reported. */
static inline bool x87_pending(const struct processor *p)
{
    return get16(p->vector.fxsave + FX_FSW) & ~get16(p->vector.fxsave + FX_FCW) & FSW_FLAGS;
}
/* Sets ES and B of an image to what its flags and masks say. */
void x87_update_summary(uint8_t *image);
/* Sets TOP.  Registers stay where they are, but the image has them in the order of the stack. */
void x87_set_top(uint8_t *image, unsigned top);
/* FNINIT's values of all but the registers. */
void x87_init(uint8_t *image);

/* ---------------------------------------------------------------- memory operands */

/* Where SIZE bytes at LINEAR can be read: host memory, or BOUNCE with a copy of them. */
ALWAYS_INLINE const void *load_operand(struct processor *p, uint64_t linear, unsigned size,
                                       void *bounce)
{
    const struct tlb_entry *e = tlb_entry(p, linear);
    if (likely((linear ^ e->read) <= PAGE_BYTES - size))
        return (const void *)(e->host + (linear ^ e->read));
    mem_read_bytes(p, linear, bounce, size);
    return bounce;
}

/* Host memory that SIZE bytes at LINEAR can be written to, or NULL: then use mem_write_bytes. */
ALWAYS_INLINE void *store_host(struct processor *p, uint64_t linear, unsigned size)
{
    const struct tlb_entry *e = tlb_entry(p, linear);
    if (likely((linear ^ e->write) <= PAGE_BYTES - size))
        return (void *)(e->host + (linear ^ e->write));
    return NULL;
}

/* The linear address of I's memory operand, aligned if I asks for it. */
ALWAYS_INLINE uint64_t vector_linear(struct processor *p, const struct insn *i, unsigned size,
                                     unsigned access)
{
    uint64_t linear = insn_linear(p, i, size, access);
    if (i->attr->traits & TRAIT_ALIGNED && unlikely(linear & (size - 1)))
        raise_gp(p);
    return linear;
}

/* ---------------------------------------------------------------- handlers and their choice */

/* Handlers for the commonest moves; NULL when I is none of them. */
exec_fn *bind_move(const struct insn *i);
exec_fn *bind_native(const struct insn *i);
/* Handlers for x87 control instructions; NULL for what x87_run runs through a stub. */
exec_fn *bind_x87(const struct insn *i);

exec_fn x87_run, x87_fwait, x87_fnstenv, x87_fldenv, x87_fnsave, x87_frstor;
exec_fn vector_emms, vector_ldmxcsr, vector_stmxcsr, vector_vzeroupper, vector_vzeroall;
exec_fn vector_xgetbv, vector_xsetbv;
exec_fn vector_fxsave, vector_fxrstor, vector_xsave, vector_xsaveopt, vector_xsavec, vector_xsaves;
exec_fn vector_xrstor, vector_xrstors;
exec_fn vector_maskmov, vector_vmaskmov, vector_gather;

/* XINUSE: the components that are not in their initial state. */
uint64_t vector_in_use(const struct processor *p);

/* The host's features, one bit an enum feature. */
uint64_t host_features(void);

#endif
