/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Vector state as memory images: FXSAVE, XSAVE and their kin (SDM volume 1, chapter 13; volume 2),
 * and the same for processor.h.
 *
 * With only x87, SSE and AVX to manage, AVX state stands at offset 576 in the standard and in the
 * compacted format alike.
 */
#include "vector.h"

#include <errno.h>

#define LEGACY_BYTES 512
#define HEADER_BYTES 64
#define XSTATE_BV    512
#define XCOMP_BV     520
#define AVX_OFFSET   576
#define AVX_BYTES    256
#define AREA_BYTES   (AVX_OFFSET + AVX_BYTES)
#define COMPACTED    BIT(63)

/* ---------------------------------------------------------------- components */

/* x87 to and from the first 160 bytes but MXCSR.  Without REX.W the pointers are 32 bits wide, with
 * selectors (which are not kept) above them. */
static void put_x87(const struct processor *p, uint8_t *to, bool rexw)
{
    memcpy(to, p->vector.fxsave, FX_MXCSR);
    memcpy(to + FX_ST, p->vector.fxsave + FX_ST, FX_X87_END - FX_ST);
    if (!rexw) {
        put32(to + FX_FIP + 4, 0);
        put32(to + FX_FDP + 4, 0);
    }
}

static void take_x87(struct processor *p, const uint8_t *from, bool rexw)
{
    uint8_t *image = p->vector.fxsave;
    memcpy(image, from, FX_MXCSR);
    put16(image + FX_FCW, x87_valid_fcw(get16(from + FX_FCW)));
    put16(image + FX_FTW, from[FX_FTW]);
    put16(image + FX_FOP, get16(from + FX_FOP) & 0x7ff);
    if (!rexw) {
        put32(image + FX_FIP + 4, 0);
        put32(image + FX_FDP + 4, 0);
    }
    for (unsigned n = 0; n < 8; n++) {
        uint8_t *st = image + FX_ST + n * 16;
        memcpy(st, from + FX_ST + n * 16, 10);
        memset(st + 10, 0, 6);
    }
    x87_update_summary(image);
}

static void init_x87(struct processor *p)
{
    x87_init(p->vector.fxsave);
    memset(p->vector.fxsave + FX_ST, 0, FX_X87_END - FX_ST);
}

static void put_mxcsr(const struct processor *p, uint8_t *to)
{
    put32(to + FX_MXCSR, p->vector.mxcsr);
    put32(to + FX_MXCSR + 4, MXCSR_VALID);
}

/* COUNT registers' low halves, or with HIGH their high halves, 16 bytes each. */
static void put_halves(const struct processor *p, uint8_t *to, unsigned count, bool high)
{
    for (unsigned n = 0; n < count; n++)
        memcpy(to + n * 16, p->vector.ymm[n].b + (high ? 16 : 0), 16);
}

/* FROM NULL: zeroes. */
static void take_halves(struct processor *p, const uint8_t *from, unsigned count, bool high)
{
    for (unsigned n = 0; n < count; n++) {
        uint8_t *half = p->vector.ymm[n].b + (high ? 16 : 0);
        if (from)
            memcpy(half, from + n * 16, 16);
        else
            memset(half, 0, 16);
    }
}

uint64_t vector_in_use(const struct processor *p)
{
    static const uint8_t zero[FX_X87_END - FX_ST];
    uint8_t initial[FX_MXCSR];
    uint64_t low = 0, high = 0, in_use = 0;

    x87_init(initial);
    if (memcmp(initial, p->vector.fxsave, sizeof(initial)) ||
        memcmp(zero, p->vector.fxsave + FX_ST, sizeof(zero)))
        in_use |= XFEATURE_X87;
    for (unsigned n = 0; n < 16; n++) {
        low |= p->vector.ymm[n].q[0] | p->vector.ymm[n].q[1];
        high |= p->vector.ymm[n].q[2] | p->vector.ymm[n].q[3];
    }
    return in_use | (low ? XFEATURE_SSE : 0) | (high ? XFEATURE_AVX : 0);
}

/* ---------------------------------------------------------------- FXSAVE */

static void need_fxsave(struct processor *p)
{
    if (p->cr0 & (CR0_EM | CR0_TS))
        raise_fault(p, VECTOR_NM, 0);
}

/* The address of an area of SIZE bytes that must be aligned to ALIGN. */
static uint64_t area_linear(struct processor *p, const struct insn *i, unsigned size,
                            unsigned align, unsigned access)
{
    uint64_t linear = insn_linear(p, i, size, access);
    if (linear & (align - 1))
        raise_gp(p);
    return linear;
}

/* That of FXSAVE and FXRSTOR, which find an address that is not canonical before its misalignment
 * (so do AMD's; the SDM leaves the order open). */
static uint64_t fx_linear(struct processor *p, const struct insn *i, unsigned access)
{
    uint64_t linear = insn_linear(p, i, LEGACY_BYTES, access);
    if (linear & 15 && p->mode & MODE_LONG && !linear_is_canonical(p, linear))
        mem_probe(p, linear, 1, access);
    return area_linear(p, i, LEGACY_BYTES, 16, access);
}

/* CR4.OSFXSR = 0 does not keep SSE state out of the image; EFER.FFXSR is not offered. */
HANDLER(vector_fxsave)
{
    uint8_t image[LEGACY_BYTES];
    unsigned end = FX_XMM + 16 * vector_registers(p);

    need_fxsave(p);
    uint64_t linear = fx_linear(p, i, MEM_WRITE);
    put_x87(p, image, i->opsize == 8);
    put_mxcsr(p, image);
    put_halves(p, image + FX_XMM, vector_registers(p), false);
    mem_probe(p, linear, LEGACY_BYTES, MEM_WRITE);
    mem_write_bytes(p, linear, image, end); /* the rest is left as it is */
    return i + 1;
}

HANDLER(vector_fxrstor)
{
    uint8_t image[LEGACY_BYTES];

    need_fxsave(p);
    uint64_t linear = fx_linear(p, i, MEM_READ);
    mem_read_bytes(p, linear, image, LEGACY_BYTES);
    uint32_t mxcsr = get32(image + FX_MXCSR);
    if (mxcsr & ~MXCSR_VALID)
        raise_gp(p);
    take_x87(p, image, i->opsize == 8);
    p->vector.mxcsr = mxcsr;
    take_halves(p, image + FX_XMM, vector_registers(p), false);
    return i + 1;
}

/* ---------------------------------------------------------------- XSAVE */

/* What is asked for: EDX:EAX of what XCR0 (and IA32_XSS, for the supervisor's) enables. */
static uint64_t requested(struct processor *p, bool supervisor)
{
    if (!(p->cr4 & CR4_OSXSAVE))
        raise_ud(p);
    if (p->cr0 & CR0_TS)
        raise_fault(p, VECTOR_NM, 0);
    if (supervisor && p->cpl != 0)
        raise_gp(p);
    uint64_t mask = p->gpr[REG_RDX] << 32 | (uint32_t)p->gpr[REG_RAX];
    return mask & (p->vector.xcr0 | (supervisor ? p->vector.xss : 0)) & XFEATURES;
}

static unsigned area_size(uint64_t components)
{
    return components & XFEATURE_AVX ? AREA_BYTES : AVX_OFFSET;
}

/* Writes COMPONENTS, and MXCSR if asked, at LINEAR, which has been probed. */
static void store_components(struct processor *p, const struct insn *i, uint64_t linear,
                             uint64_t components, bool mxcsr)
{
    uint8_t image[AREA_BYTES];
    unsigned bytes = 16 * vector_registers(p);

    put_x87(p, image, i->opsize == 8);
    put_mxcsr(p, image);
    if (components & XFEATURE_X87)
        mem_write_bytes(p, linear, image, FX_MXCSR);
    if (mxcsr)
        mem_write_bytes(p, linear + FX_MXCSR, image + FX_MXCSR, FX_ST - FX_MXCSR);
    if (components & XFEATURE_X87)
        mem_write_bytes(p, linear + FX_ST, image + FX_ST, FX_X87_END - FX_ST);
    if (components & XFEATURE_SSE) {
        put_halves(p, image + FX_XMM, vector_registers(p), false);
        mem_write_bytes(p, linear + FX_XMM, image + FX_XMM, bytes);
    }
    if (components & XFEATURE_AVX) {
        put_halves(p, image + AVX_OFFSET, vector_registers(p), true);
        mem_write_bytes(p, linear + AVX_OFFSET, image + AVX_OFFSET, bytes);
    }
}

/* XSAVE and XSAVEOPT: the standard format.  The modified optimisation is not used, so XSAVEOPT only
 * leaves out components in their initial state. */
static const struct insn *store_standard(struct processor *p, const struct insn *i, bool optimise)
{
    uint64_t rfbm = requested(p, false), in_use = vector_in_use(p);
    uint64_t linear = area_linear(p, i, area_size(rfbm), 64, MEM_WRITE);
    uint64_t components = optimise ? rfbm & in_use : rfbm;

    mem_probe(p, linear, area_size(rfbm), MEM_WRITE);
    uint64_t bv = mem_read64(p, linear + XSTATE_BV);
    bv = (bv & ~rfbm) | (rfbm & in_use);
    store_components(p, i, linear, components, rfbm & (XFEATURE_SSE | XFEATURE_AVX));
    mem_write64(p, linear + XSTATE_BV, bv);
    return i + 1;
}

HANDLER(vector_xsave)
{
    return store_standard(p, i, false);
}

HANDLER(vector_xsaveopt)
{
    return store_standard(p, i, true);
}

/* XSAVEC and XSAVES: the compacted format, initial states left out. */
static const struct insn *store_compacted(struct processor *p, const struct insn *i,
                                          bool supervisor)
{
    uint64_t rfbm = requested(p, supervisor), components = rfbm & vector_in_use(p);
    uint64_t linear = area_linear(p, i, area_size(rfbm), 64, MEM_WRITE);

    /* MXCSR counts as SSE state here. */
    if (rfbm & XFEATURE_SSE && p->vector.mxcsr != MXCSR_DEFAULT)
        components |= XFEATURE_SSE;
    mem_probe(p, linear, area_size(rfbm), MEM_WRITE);
    store_components(p, i, linear, components, components & XFEATURE_SSE);
    mem_write64(p, linear + XSTATE_BV, components);
    mem_write64(p, linear + XCOMP_BV, rfbm | COMPACTED);
    return i + 1;
}

HANDLER(vector_xsavec)
{
    return store_compacted(p, i, false);
}

HANDLER(vector_xsaves)
{
    return store_compacted(p, i, true);
}

/* ---------------------------------------------------------------- XRSTOR */

/* The header's rules, SDM volume 1, 13.8.1 and 13.8.2. */
static bool header_valid(const uint8_t *header, uint64_t allowed, bool supervisor)
{
    uint64_t bv = get64(header), comp = get64(header + 8);
    /* The standard format wants bytes 8 to 23 clear, the compacted one 16 to 63. */
    unsigned clear = comp & COMPACTED ? HEADER_BYTES : 24;

    for (unsigned n = 16; n < clear; n++)
        if (header[n])
            return false;
    if (!(comp & COMPACTED))
        return !supervisor && !comp && !(bv & ~allowed);
    comp &= ~COMPACTED;
    return !(comp & ~allowed) && !(bv & ~comp);
}

/* Sets the components of RFBM from IMAGE, or to their initial states where XSTATE_BV is clear. */
static void take_components(struct processor *p, const uint8_t *image, uint64_t rfbm, bool rexw)
{
    uint64_t bv = get64(image + XSTATE_BV);
    unsigned count = vector_registers(p);

    if (rfbm & XFEATURE_X87) {
        if (bv & XFEATURE_X87)
            take_x87(p, image, rexw);
        else
            init_x87(p);
    }
    if (rfbm & XFEATURE_SSE)
        take_halves(p, bv & XFEATURE_SSE ? image + FX_XMM : NULL, count, false);
    if (rfbm & XFEATURE_AVX)
        take_halves(p, bv & XFEATURE_AVX ? image + AVX_OFFSET : NULL, count, true);
}

static const struct insn *restore(struct processor *p, const struct insn *i, bool supervisor)
{
    uint8_t image[AREA_BYTES];
    uint64_t rfbm = requested(p, supervisor);
    uint64_t linear = area_linear(p, i, area_size(rfbm), 64, MEM_READ);
    uint64_t allowed = p->vector.xcr0 | (supervisor ? p->vector.xss : 0);

    mem_read_bytes(p, linear + XSTATE_BV, image + XSTATE_BV, HEADER_BYTES);
    if (!header_valid(image + XSTATE_BV, allowed, supervisor))
        raise_gp(p);
    uint64_t present = rfbm & get64(image + XSTATE_BV);
    bool compacted = get64(image + XCOMP_BV) & COMPACTED;
    if (rfbm)
        mem_read_bytes(p, linear, image, LEGACY_BYTES);
    if (present & XFEATURE_AVX)
        mem_read_bytes(p, linear + AVX_OFFSET, image + AVX_OFFSET, 16 * vector_registers(p));

    /* The standard format loads MXCSR with SSE or AVX whatever XSTATE_BV says; in the compacted one
     * it is part of SSE state. */
    uint32_t mxcsr = p->vector.mxcsr;
    if (compacted ? present & XFEATURE_SSE : rfbm & (XFEATURE_SSE | XFEATURE_AVX))
        mxcsr = get32(image + FX_MXCSR);
    else if (compacted && rfbm & XFEATURE_SSE)
        mxcsr = MXCSR_DEFAULT;
    if (mxcsr & ~MXCSR_VALID)
        raise_gp(p);
    p->vector.mxcsr = mxcsr;
    take_components(p, image, rfbm, i->opsize == 8);
    return i + 1;
}

HANDLER(vector_xrstor)
{
    return restore(p, i, false);
}

HANDLER(vector_xrstors)
{
    return restore(p, i, true);
}

/* ---------------------------------------------------------------- for the caller of the processor
 */

void processor_get_xsave(const struct processor *p, void *image, size_t size)
{
    uint8_t area[AREA_BYTES] = {0};

    put_x87(p, area, true);
    put_mxcsr(p, area);
    put_halves(p, area + FX_XMM, 16, false);
    put_halves(p, area + AVX_OFFSET, 16, true);
    put64(area + XSTATE_BV, XFEATURES & (p->xcr0_supported | XFEATURE_X87 | XFEATURE_SSE));
    memset(image, 0, size);
    memcpy(image, area, size < sizeof(area) ? size : sizeof(area));
}

int processor_set_xsave(struct processor *p, const void *image, size_t size)
{
    uint8_t area[AREA_BYTES] = {0};
    uint64_t allowed = XFEATURES & (p->xcr0_supported | XFEATURE_X87 | XFEATURE_SSE);

    if (size < AVX_OFFSET)
        return -EINVAL;
    memcpy(area, image, size < sizeof(area) ? size : sizeof(area));
    uint64_t bv = get64(area + XSTATE_BV);
    uint32_t mxcsr = get32(area + FX_MXCSR);
    if (!(bv & (XFEATURE_SSE | XFEATURE_AVX)))
        mxcsr = MXCSR_DEFAULT;
    if (bv & ~allowed || get64(area + XCOMP_BV) || mxcsr & ~MXCSR_VALID)
        return -EINVAL;
    p->vector.mxcsr = mxcsr;
    if (bv & XFEATURE_X87)
        take_x87(p, area, true);
    else
        init_x87(p);
    take_halves(p, bv & XFEATURE_SSE ? area + FX_XMM : NULL, 16, false);
    take_halves(p, bv & XFEATURE_AVX ? area + AVX_OFFSET : NULL, 16, true);
    return 0;
}
