/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87: arithmetic through stubs, and what is done in C: control instructions, and the environment
 * and state images of FNSTENV and kin (SDM volume 1, chapter 8).
 *
 * An unmasked exception is never taken natively: the stub's instruction leaves it pending in the
 * saved status word, and the next waiting instruction raises #MF here.  CR0.NE = 0 (errors reported
 * through the FERR# pin and IRQ 13) is treated as NE = 1.  The code and data selectors of the last
 * instruction are not kept: they read as 0, as CPUID.(7,0):EBX[13] says.
 */
#include "vector.h"

#define FCW_INIT 0x37fu

void x87_update_summary(uint8_t *image)
{
    uint16_t fsw = get16(image + FX_FSW);
    bool pending = fsw & ~get16(image + FX_FCW) & FSW_FLAGS;
    fsw = (uint16_t)((fsw & ~(FSW_ES | FSW_B)) | (pending ? FSW_ES | FSW_B : 0));
    put16(image + FX_FSW, fsw);
}

void x87_init(uint8_t *image)
{
    memset(image, 0, FX_MXCSR);
    put16(image + FX_FCW, FCW_INIT);
}

void x87_set_top(uint8_t *image, unsigned top)
{
    uint8_t old[FX_X87_END - FX_ST];
    uint16_t fsw = get16(image + FX_FSW);
    unsigned shift = top - (fsw >> FSW_TOP_SHIFT & 7);
    memcpy(old, image + FX_ST, sizeof(old));
    for (unsigned n = 0; n < 8; n++)
        memcpy(image + FX_ST + n * 16, old + ((n + shift) & 7) * 16, 16);
    put16(image + FX_FSW, (uint16_t)((fsw & ~(7u << FSW_TOP_SHIFT)) | top << FSW_TOP_SHIFT));
}

/* ---------------------------------------------------------------- checks */

static void need_x87(struct processor *p)
{
    if (unlikely(p->cr0 & (CR0_EM | CR0_TS)))
        raise_fault(p, VECTOR_NM, 0);
}

/* For instructions that wait for pending exceptions. */
static void need_x87_quiet(struct processor *p)
{
    need_x87(p);
    if (unlikely(x87_pending(p)))
        raise_fault(p, VECTOR_MF, 0);
}

HANDLER(x87_fwait)
{
    if (unlikely((p->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)))
        raise_fault(p, VECTOR_NM, 0);
    if (unlikely(x87_pending(p)))
        raise_fault(p, VECTOR_MF, 0);
    return i + 1;
}

/* ---------------------------------------------------------------- arithmetic */

/* Runs a store.  With an unmasked exception pending afterwards the destination may not have been
 * written: two runs onto different patterns tell.  Returns whether it was. */
static bool run_store(struct vector_stubs *s, stub_fn *stub, unsigned size)
{
    uint8_t first[sizeof(s->bounce)];
    uint64_t flags = s->frame.flags;
    memset(s->bounce, 0x55, size);
    stub(NULL, s->bounce, NULL, NULL, &s->frame);
    if (!(get16(s->x87 + FX_FSW) & FSW_ES))
        return true;
    memcpy(first, s->bounce, size);
    memset(s->bounce, 0xaa, size);
    s->frame.flags = flags;
    stub(NULL, s->bounce, NULL, NULL, &s->frame);
    return memcmp(first, s->bounce, size) == 0;
}

void x87_set_last(struct processor *p, const struct insn *i)
{
    uint8_t *image = p->vector.fxsave;
    uint64_t fip = insn_rip(p, i);
    put16(image + FX_FOP, x87_opcode(i));
    put64(image + FX_FIP, (p->mode & MODE_DECODE) == DECODE_64 ? fip : (uint32_t)fip);
}

HANDLER(x87_run)
{
    struct vector_stubs *s = p->stubs;
    struct stub_frame *f = &s->frame;
    uint8_t *image = p->vector.fxsave;
    int memory = insn_memory_operand(i);
    uint64_t fdp = get64(image + FX_FDP);

    need_x87_quiet(p);
    f->flags = p->status | FLAG_ONE | FLAG_IF;
    f->x87_in = f->x87_out = image;
    stub_fn *stub = stub_of(p, i);
    if (memory < 0) {
        stub(NULL, NULL, NULL, NULL, f);
        if (i->attr->traits & TRAIT_EFLAGS_OUT)
            p->status = (uint32_t)f->flags & FLAGS_STATUS;
    } else {
        unsigned size = insn_operand_size(i, (unsigned)memory);
        bool store = i->attr->operand[memory].access & ACCESS_WRITE;
        uint64_t linear = insn_linear(p, i, size, store ? MEM_WRITE : MEM_READ);
        fdp = insn_ea(p, i);
        if (store) {
            f->x87_out = s->x87;
            if (run_store(s, stub, size))
                mem_write_bytes(p, linear, s->bounce, size);
            else /* the address is checked all the same */
                mem_probe(p, linear, size, MEM_WRITE);
            memcpy(image, s->x87, FX_X87_END);
        } else {
            mem_read_bytes(p, linear, s->bounce, size);
            stub(NULL, s->bounce, NULL, NULL, f);
        }
    }
    /* Put the guest's addresses in place of the host's. */
    x87_set_last(p, i);
    put64(image + FX_FDP, fdp);
    return i + 1;
}

/* ---------------------------------------------------------------- control */

static HANDLER(x87_fldcw)
{
    need_x87_quiet(p);
    uint16_t fcw = mem_read16(p, insn_linear(p, i, 2, MEM_READ));
    put16(p->vector.fxsave + FX_FCW, x87_valid_fcw(fcw));
    x87_update_summary(p->vector.fxsave);
    return i + 1;
}

static HANDLER(x87_fnstcw)
{
    need_x87(p);
    mem_write16(p, insn_linear(p, i, 2, MEM_WRITE), get16(p->vector.fxsave + FX_FCW));
    return i + 1;
}

static HANDLER(x87_fnstsw)
{
    need_x87(p);
    uint16_t fsw = get16(p->vector.fxsave + FX_FSW);
    if (i->mod3)
        reg_write(p, REG_RAX, fsw, 2);
    else
        mem_write16(p, insn_linear(p, i, 2, MEM_WRITE), fsw);
    return i + 1;
}

static HANDLER(x87_fnclex)
{
    need_x87(p);
    uint8_t *fsw = p->vector.fxsave + FX_FSW;
    put16(fsw, (uint16_t)(get16(fsw) & ~(FSW_FLAGS | FSW_SF | FSW_ES | FSW_B)));
    return i + 1;
}

static HANDLER(x87_fninit)
{
    need_x87(p);
    x87_set_top(p->vector.fxsave, 0);
    x87_init(p->vector.fxsave);
    return i + 1;
}

/* FNENI, FNDISI and FNSETPM of the 8087 and 80287: they do not wait either. */
static HANDLER(x87_fnop_old)
{
    need_x87(p);
    return i + 1;
}

exec_fn *bind_x87(const struct insn *i)
{
    unsigned group = i->modrm >> 3 & 7;
    if (!i->mod3) {
        if (i->opcode == 0xd9 && group == 5)
            return x87_fldcw;
        if (i->opcode == 0xd9 && group == 7)
            return x87_fnstcw;
        if (i->opcode == 0xdd && group == 7)
            return x87_fnstsw;
        return NULL;
    }
    switch (i->opcode << 8 | i->modrm) {
    case 0xdfe0:
        return x87_fnstsw;
    case 0xdbe2:
        return x87_fnclex;
    case 0xdbe3:
        return x87_fninit;
    case 0xdbe0:
    case 0xdbe1:
    case 0xdbe4:
        return x87_fnop_old;
    default:
        return NULL;
    }
}

bool x87_is_control(const struct insn *i)
{
    return bind_x87(i) != NULL;
}

/* ---------------------------------------------------------------- environment images */

/* The full tag word: two bits a physical register, 0 valid, 1 zero, 2 special, 3 empty. */
static uint16_t full_tags(const uint8_t *image)
{
    unsigned top = get16(image + FX_FSW) >> FSW_TOP_SHIFT & 7, tags = 0;
    for (unsigned n = 0; n < 8; n++) {
        const uint8_t *st = image + FX_ST + ((n - top) & 7) * 16;
        uint64_t significand = get64(st);
        unsigned exponent = get16(st + 8) & 0x7fff, tag;
        if (!(image[FX_FTW] & BIT(n)))
            tag = 3;
        else if (exponent == 0 && significand == 0)
            tag = 1;
        else if (exponent == 0 || exponent == 0x7fff || !(significand >> 63))
            tag = 2;
        else
            tag = 0;
        tags |= tag << (n * 2);
    }
    return (uint16_t)tags;
}

static uint8_t abridged_tags(uint16_t full)
{
    unsigned tags = 0;
    for (unsigned n = 0; n < 8; n++)
        if ((full >> (n * 2) & 3) != 3)
            tags |= 1u << n;
    return (uint8_t)tags;
}

/* 66 selects the 16-bit format, as operand size does; the decoder's opsize does not tell. */
static bool format16(const struct processor *p, const struct insn *i)
{
    bool narrow = (p->mode & MODE_DECODE) == DECODE_16;
    return i->opsize != 8 && narrow != !!(i->prefixes & PREFIX_66);
}

static bool format_real(const struct processor *p)
{
    return p->mode & (MODE_REAL | MODE_V86);
}

#define ENVIRONMENT_MAX 28

/* SDM volume 1, figures 8-9 to 8-12.  Returns the size. */
static unsigned environment_make(const struct processor *p, const struct insn *i, uint8_t *to)
{
    const uint8_t *image = p->vector.fxsave;
    uint32_t fip = get32(image + FX_FIP), fdp = get32(image + FX_FDP);
    uint32_t fop = get16(image + FX_FOP) & 0x7ff;
    uint16_t word[3] = {get16(image + FX_FCW), get16(image + FX_FSW), full_tags(image)};
    bool real = format_real(p);

    if (format16(p, i)) {
        for (unsigned n = 0; n < 3; n++)
            put16(to + n * 2, word[n]);
        put16(to + 6, (uint16_t)fip);
        put16(to + 8, real ? (uint16_t)((fip >> 16 & 15) << 12 | fop) : 0);
        put16(to + 10, (uint16_t)fdp);
        put16(to + 12, real ? (uint16_t)((fdp >> 16 & 15) << 12) : 0);
        return 14;
    }
    for (unsigned n = 0; n < 3; n++)
        put32(to + n * 4, 0xffff0000 | word[n]);
    put32(to + 12, real ? 0xffff0000 | (fip & 0xffff) : fip);
    put32(to + 16, real ? fip >> 16 << 12 | fop : fop << 16);
    put32(to + 20, real ? 0xffff0000 | (fdp & 0xffff) : fdp);
    put32(to + 24, real ? fdp >> 16 << 12 : 0xffff0000);
    return 28;
}

/* Takes an environment into IMAGE, registers aside. */
static void environment_take(const struct processor *p, const struct insn *i, uint8_t *image,
                             const uint8_t *from)
{
    bool real = format_real(p);
    uint32_t fip, fdp, fop = 0;
    unsigned step;

    if (format16(p, i)) {
        step = 2;
        fip = get16(from + 6);
        fdp = get16(from + 10);
        if (real) {
            fop = get16(from + 8) & 0x7ff;
            fip |= (uint32_t)(get16(from + 8) >> 12) << 16;
            fdp |= (uint32_t)(get16(from + 12) >> 12) << 16;
        }
    } else {
        step = 4;
        fip = get32(from + 12);
        fdp = get32(from + 20);
        fop = get32(from + 16) >> (real ? 0 : 16) & 0x7ff;
        if (real) {
            fip = (fip & 0xffff) | (get32(from + 16) >> 12 & 0xffff) << 16;
            fdp = (fdp & 0xffff) | (get32(from + 24) >> 12 & 0xffff) << 16;
        }
    }
    put16(image + FX_FCW, x87_valid_fcw(get16(from)));
    x87_set_top(image, get16(from + step) >> FSW_TOP_SHIFT & 7);
    put16(image + FX_FSW, get16(from + step));
    put16(image + FX_FTW, abridged_tags(get16(from + 2 * step)));
    put16(image + FX_FOP, (uint16_t)fop);
    put64(image + FX_FIP, fip);
    put64(image + FX_FDP, fdp);
    x87_update_summary(image);
}

static unsigned environment_size(const struct processor *p, const struct insn *i)
{
    return format16(p, i) ? 14 : 28;
}

HANDLER(x87_fnstenv)
{
    uint8_t environment[ENVIRONMENT_MAX];
    need_x87(p);
    unsigned size = environment_make(p, i, environment);
    mem_write_bytes(p, insn_linear(p, i, size, MEM_WRITE), environment, size);
    /* All exceptions are masked afterwards. */
    uint8_t *image = p->vector.fxsave;
    put16(image + FX_FCW, get16(image + FX_FCW) | FSW_FLAGS);
    x87_update_summary(image);
    return i + 1;
}

HANDLER(x87_fldenv)
{
    uint8_t environment[ENVIRONMENT_MAX];
    need_x87_quiet(p);
    unsigned size = environment_size(p, i);
    mem_read_bytes(p, insn_linear(p, i, size, MEM_READ), environment, size);
    environment_take(p, i, p->vector.fxsave, environment);
    return i + 1;
}

/* FNSAVE's image: the environment, then ST(0) to ST(7) of 10 bytes each. */
HANDLER(x87_fnsave)
{
    uint8_t state[ENVIRONMENT_MAX + 80];
    need_x87(p);
    unsigned size = environment_make(p, i, state);
    for (unsigned n = 0; n < 8; n++, size += 10)
        memcpy(state + size, p->vector.fxsave + FX_ST + n * 16, 10);
    mem_write_bytes(p, insn_linear(p, i, size, MEM_WRITE), state, size);
    x87_set_top(p->vector.fxsave, 0);
    x87_init(p->vector.fxsave);
    return i + 1;
}

HANDLER(x87_frstor)
{
    uint8_t state[ENVIRONMENT_MAX + 80];
    need_x87_quiet(p);
    unsigned size = environment_size(p, i);
    mem_read_bytes(p, insn_linear(p, i, size + 80, MEM_READ), state, size + 80);
    environment_take(p, i, p->vector.fxsave, state);
    for (unsigned n = 0; n < 8; n++, size += 10) {
        uint8_t *st = p->vector.fxsave + FX_ST + n * 16;
        memset(st, 0, 16);
        memcpy(st, state + size, 10);
    }
    return i + 1;
}
