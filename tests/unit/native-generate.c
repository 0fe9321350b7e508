/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "native-generate.h"

#include "processor/processor.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

struct source_row {
    enum insn_map map;
    unsigned opcode, prefix;
    int group;
    const struct insn_attr *attr;
    unsigned made;
};

struct generator {
    uint64_t random[2];
    uint64_t fs_base, gs_base; /* in 64-bit mode */
    enum decode_mode mode;
    const char *only;
    struct source_row *general, *vector;
    unsigned general_count, vector_count;
};

/* ---------------------------------------------------------------- random values */

/* xorshift128+ (Vigna 2014). */
uint64_t generator_random(struct generator *g)
{
    uint64_t a = g->random[0], b = g->random[1];
    g->random[0] = b;
    a ^= a << 23;
    g->random[1] = a ^ b ^ a >> 18 ^ b >> 5;
    return g->random[1] + b;
}
static uint64_t below(struct generator *g, uint64_t limit)
{
    return generator_random(g) % limit;
}
static bool chance(struct generator *g, unsigned percent)
{
    return below(g, 100) < percent;
}

/* Integers near the edges of all sizes as often as any. */
static uint64_t integer(struct generator *g)
{
    uint64_t r = generator_random(g);
    switch (below(g, 8)) {
    case 0:
        return r % 33 - 16;
    case 1:
        return (1ull << (r & 63)) - (r >> 6) % 3;
    case 2:
        return (uint32_t)r;
    case 3:
        return r << 32 | (uint32_t)((r >> 32) % 33 - 16);
    case 4:
        return r & 1 ? ~0ull : 0;
    default:
        return r;
    }
}
static uint64_t float64(struct generator *g)
{
    static const uint64_t special[] = {0,
                                       0x8000000000000000,
                                       0x3ff0000000000000,
                                       0xbff0000000000000,
                                       0x7ff0000000000000,
                                       0xfff0000000000000,
                                       0x7ff8000000000001,
                                       0x7ff0000000000001,
                                       0x000fffffffffffff,
                                       1,
                                       0x0010000000000000,
                                       0x7fefffffffffffff,
                                       0x41dfffffffc00000,
                                       0x43e0000000000000};
    uint64_t r = generator_random(g);
    if (chance(g, 50))
        return special[r % ARRAY_SIZE(special)];
    if (chance(g, 50)) /* of middling size */
        return (r & 0x800fffffffffffff) | (0x3c0ull + r % 0x80) << 52;
    return r;
}
static uint32_t float32(struct generator *g)
{
    static const uint32_t special[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                       0xff800000, 0x7fc00001, 0x7f800001, 0x007fffff, 1,
                                       0x00800000, 0x7f7fffff, 0x4effffff, 0x4f000000};
    uint32_t r = (uint32_t)generator_random(g);
    if (chance(g, 50))
        return special[r % ARRAY_SIZE(special)];
    if (chance(g, 50))
        return (r & 0x807fffff) | (0x70u + r % 0x20) << 23;
    return r;
}
static uint64_t lane(struct generator *g)
{
    switch (below(g, 4)) {
    case 0:
        return integer(g);
    case 1:
        return float64(g);
    case 2:
        return float32(g) | (uint64_t)float32(g) << 32;
    default:
        return generator_random(g);
    }
}
void generator_fill(struct generator *g, void *to, size_t size)
{
    for (size_t n = 0; n + 8 <= size; n += 8) {
        uint64_t value = lane(g);
        memcpy((uint8_t *)to + n, &value, 8);
    }
}

/* ---------------------------------------------------------------- rows */

static bool cpuid_bit(uint32_t leaf, unsigned word, unsigned bit)
{
    uint32_t r[4] = {0};
    return __get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]) && r[word] >> bit & 1;
}

/* Whether the host has natively what our own code may do without. */
static bool host_has(enum feature f)
{
    switch (f) {
    case FEATURE_BMI1:
        return cpuid_bit(7, 1, 3);
    case FEATURE_BMI2:
        return cpuid_bit(7, 1, 8);
    case FEATURE_ADX:
        return cpuid_bit(7, 1, 19);
    case FEATURE_MOVBE:
        return cpuid_bit(1, 2, 22);
    case FEATURE_POPCNT:
        return cpuid_bit(1, 2, 23);
    case FEATURE_LZCNT:
        return cpuid_bit(0x80000001, 2, 5);
    case FEATURE_CX16:
        return cpuid_bit(1, 2, 13);
    case FEATURE_CLFLUSHOPT:
        return cpuid_bit(7, 1, 23);
    case FEATURE_CLWB:
        return cpuid_bit(7, 1, 24);
    default:
        return processor_has_feature(f);
    }
}

static bool is_wanted(const struct generator *g, const struct insn_attr *attr)
{
    if (attr->class != CLASS_GENERAL && attr->class != CLASS_VECTOR)
        return false;
    switch (attr->op) {
    case OP_RDRAND: /* not the same twice */
    case OP_RDSEED:
    case OP_XGETBV: /* depend on which state components the host has */
    case OP_XSETBV:
    case OP_XSAVE:
    case OP_XSAVEOPT:
    case OP_XSAVEC:
    case OP_XSAVES:
    case OP_XRSTOR:
    case OP_XRSTORS:
        return false;
    default:
        return host_has((enum feature)attr->feature) &&
               !(attr->traits & (g->mode == DECODE_64 ? TRAIT_NO64 : TRAIT_ONLY64));
    }
}

static void add_row(void *opaque, enum insn_map map, unsigned opcode, int group, unsigned prefix,
                    const struct insn_attr *attr)
{
    struct generator *g = opaque;
    bool general = attr->class == CLASS_GENERAL;
    struct source_row **rows = general ? &g->general : &g->vector;
    unsigned *count = general ? &g->general_count : &g->vector_count;
    if (!is_wanted(g, attr) ||
        (g->only && strcmp(g->only, attr->name) && strcmp(g->only, general ? "general" : "vector")))
        return;
    *rows = realloc(*rows, (*count + 1) * sizeof(**rows));
    (*rows)[(*count)++] = (struct source_row){map, opcode, prefix, group, attr, 0};
}

struct generator *generator_new(uint64_t seed, enum decode_mode mode, const char *only,
                                uint64_t fs_base, uint64_t gs_base)
{
    struct generator *g = calloc(1, sizeof(*g));
    g->random[0] = seed;
    g->random[1] = 0x9e3779b97f4a7c15;
    for (unsigned n = 0; n < 16; n++)
        generator_random(g);
    g->fs_base = fs_base;
    g->gs_base = gs_base;
    g->mode = mode;
    g->only = only;
    insn_for_each_row(add_row, g);
    return g;
}

void generator_free(struct generator *g)
{
    free(g->general);
    free(g->vector);
    free(g);
}

unsigned generator_rows(const struct generator *g)
{
    return g->general_count + g->vector_count;
}

/* ---------------------------------------------------------------- bytes */

/* Where the ModRM byte (or whatever follows the opcode) is. */
struct layout {
    unsigned after_opcode;
};

static void put_vex(struct generator *g, const struct source_row *row, struct subject *s)
{
    uint64_t r = generator_random(g);
    uint8_t pp = row->prefix & PREFIX_66      ? 1
                 : row->prefix & PREFIX_REP   ? 2
                 : row->prefix & PREFIX_REPNE ? 3
                                              : 0;
    uint8_t vvvv = chance(g, 50) ? 0xf : r & 0xf, l = r >> 4 & 1, w = r >> 5 & 1;
    /* Outside 64-bit mode Intel ignores W of VPEXTRD and VPINSRD, where AMD raises #UD. */
    if (g->mode != DECODE_64 && row->map == MAP_0F3A &&
        (row->opcode == 0x16 || row->opcode == 0x22))
        w = 0;
    /* Outside 64-bit mode these bits tell VEX from LDS and LES. */
    uint8_t fixed = g->mode == DECODE_64 ? 0 : 0xc0;
    uint8_t last = (uint8_t)(vvvv << 3 | l << 2 | pp | (fixed & 0x40));
    if (row->map == MAP_0F && !w && chance(g, 50)) {
        s->bytes[s->length++] = 0xc5;
        s->bytes[s->length++] = (uint8_t)((r & 0x100 ? 0x80 : 0) | last | fixed);
    } else {
        s->bytes[s->length++] = 0xc4;
        s->bytes[s->length++] = (uint8_t)((r >> 8 & 0xe0) | fixed | (unsigned)row->map);
        s->bytes[s->length++] = (uint8_t)(w << 7 | last);
    }
    s->bytes[s->length++] = (uint8_t)row->opcode;
}

static void put_legacy(struct generator *g, const struct source_row *row, struct subject *s)
{
    const struct insn_attr *attr = row->attr;
    /* AMD and Intel disagree about 66 on near branches of 64-bit mode. */
    bool may_66 =
        attr->class == CLASS_GENERAL && !(g->mode == DECODE_64 && attr->traits & TRAIT_FORCE64);
    if (row->prefix & PREFIX_66 || (may_66 && chance(g, 25)))
        s->bytes[s->length++] = 0x66;
    if (attr->traits & TRAIT_LOCKABLE && chance(g, 25))
        s->bytes[s->length++] = 0xf0;
    if (row->prefix & PREFIX_REP)
        s->bytes[s->length++] = 0xf3;
    else if (row->prefix & PREFIX_REPNE)
        s->bytes[s->length++] = 0xf2;
    else if (attr->traits & TRAIT_STRING && chance(g, 60))
        s->bytes[s->length++] = chance(g, 50) ? 0xf3 : 0xf2;
    if (g->mode == DECODE_64 && chance(g, 50))
        s->bytes[s->length++] = (uint8_t)(0x40 | below(g, 16));
    if (row->map != MAP_ONE)
        s->bytes[s->length++] = 0x0f;
    if (row->map == MAP_0F38)
        s->bytes[s->length++] = 0x38;
    if (row->map == MAP_0F3A)
        s->bytes[s->length++] = 0x3a;
    s->bytes[s->length++] = (uint8_t)row->opcode;
}

static bool decode(const struct generator *g, struct subject *s)
{
    bool good = insn_decode(s->bytes, 15, g->mode, 0, &s->insn) == DECODE_OK;
    s->length = s->insn.length;
    return good;
}

/* Random bytes for ROW that decode to it. */
static bool encode(struct generator *g, const struct source_row *row, struct subject *s,
                   struct layout *l)
{
    s->length = 0;
    if (chance(g, 12))
        s->bytes[s->length++] = chance(g, 50) ? 0x64 : 0x65;
    if (chance(g, 10))
        s->bytes[s->length++] = 0x67;
    if (row->prefix & PREFIX_VEX)
        put_vex(g, row, s);
    else
        put_legacy(g, row, s);
    l->after_opcode = s->length;
    for (unsigned n = s->length; n < sizeof(s->bytes); n++)
        s->bytes[n] = (uint8_t)generator_random(g);
    uint8_t *modrm = &s->bytes[l->after_opcode];
    if (chance(g, 20)) /* registers more often than one in four */
        *modrm |= 0xc0;
    if (row->group >= 0)
        *modrm = (uint8_t)((*modrm & 0xc7) | row->group << 3);
    return decode(g, s) && s->insn.attr == row->attr;
}

/* ---------------------------------------------------------------- memory operands */

/* An address for an access of SIZE bytes: mostly good, sometimes across a page or at a place where
 * it faults. */
static uint64_t pick_address(struct generator *g, unsigned size, bool may_fault)
{
    uint64_t in_writable = SCRATCH_START + below(g, WRITABLE_BYTES - 1024);
    if (chance(g, 60))
        in_writable &= ~(uint64_t)(size >= 16 ? 31 : 7);
    if (!may_fault || chance(g, 78))
        return in_writable;
    uint64_t before = size ? below(g, size + 1) : 0;
    switch (below(g, 8)) {
    case 0:
    case 1: /* across writable pages */
        return SCRATCH_START + PAGE_BYTES * (1 + below(g, 3)) - before;
    case 2: /* into the read-only page */
        return SCRATCH_START + WRITABLE_BYTES - before;
    case 3:
    case 4:
        return SCRATCH_START + WRITABLE_BYTES + below(g, PAGE_BYTES - 64);
    case 5: /* out of the scratch area, at either end */
        return chance(g, 50) ? SCRATCH_END - before : SCRATCH_START - before;
    case 6:
        return SCRATCH_END + below(g, GUARD_BYTES / 2);
    default: /* not canonical */
        if (g->mode != DECODE_64)
            return AREA_START + GUARD_BYTES / 2;
        return (generator_random(g) & 0x7fffffffffffffff & ~BIT(47)) | BIT(62);
    }
}

/* The same for instruction I, whose addresses may be too narrow for what is not canonical. */
static uint64_t pick_for(struct generator *g, const struct insn *i, unsigned size, bool may_fault)
{
    uint64_t address = pick_address(g, size, may_fault);
    return i->addrsize == 8 || !(address >> 32) ? address : SCRATCH_END;
}

static bool in_writable(uint64_t address, unsigned size)
{
    return address >= SCRATCH_START && address + size <= SCRATCH_START + WRITABLE_BYTES;
}

static uint64_t segment_base(const struct generator *g, const struct insn *i)
{
    if (g->mode != DECODE_64) /* FS and GS are null, and fault */
        return 0;
    return i->seg == SEG_FS ? g->fs_base : i->seg == SEG_GS ? g->gs_base : 0;
}

/* The explicit memory operand's linear address in the present state. */
static uint64_t operand_linear(const struct generator *g, const struct subject *s, uint64_t at)
{
    const struct insn *i = &s->insn;
    uint64_t base = i->base == REG_CODE ? at : i->base == REG_NONE ? 0 : s->state.gpr[i->base];
    uint64_t index = i->index == REG_NONE || i->attr->op == OP_GATHER ? 0 : s->state.gpr[i->index];
    uint64_t ea = base + (index << i->scale) + (uint64_t)i->disp;
    if (i->addrsize == 2)
        return (uint16_t)ea;
    return segment_base(g, i) + (i->addrsize == 4 ? (uint32_t)ea : ea);
}

static void set_displacement(struct subject *s, const struct layout *l, uint64_t value)
{
    uint8_t modrm = s->bytes[l->after_opcode];
    unsigned at = l->after_opcode + 1 + ((modrm & 7) == 4);
    memcpy(&s->bytes[at], &value, 4);
}

/* Sets register R to an address part, with rubbish above what 32-bit addressing uses. */
static void set_address_register(struct generator *g, struct subject *s, unsigned r, uint64_t value)
{
    if (s->insn.addrsize == 4)
        value = generator_random(g) << 32 | (uint32_t)value;
    if (g->mode != DECODE_64)
        value = (uint32_t)value;
    s->state.gpr[r] = value;
}

/* Makes the explicit memory operand lie at or near TARGET. */
static void aim(struct generator *g, struct subject *s, const struct layout *l, uint64_t at,
                uint64_t target)
{
    const struct insn *i = &s->insn;
    uint64_t ea = target - segment_base(g, i), rest = ea - (uint64_t)i->disp;
    bool gather = i->attr->op == OP_GATHER;
    unsigned base = i->base, index = gather ? (unsigned)REG_NONE : i->index;
    if (i->attr->operand[insn_memory_operand(i)].kind == OPERAND_MOFFS) {
        memcpy(&s->bytes[l->after_opcode], &ea, i->addrsize);
    } else if (base == REG_CODE) {
        set_displacement(s, l, ea - at - i->length);
    } else if (base == REG_NONE && index == REG_NONE) {
        set_displacement(s, l, ea);
    } else if (index == REG_NONE) {
        set_address_register(g, s, base, rest);
    } else if (base == REG_NONE) {
        set_address_register(g, s, index, (uint64_t)((int64_t)rest >> i->scale));
    } else if (base == index) {
        set_address_register(g, s, base, (uint64_t)((int64_t)rest / (1 + (1 << i->scale))));
    } else {
        uint64_t value = chance(g, 70) ? below(g, 4096) - 2048 : generator_random(g);
        set_address_register(g, s, index, value);
        set_address_register(g, s, base, rest - (s->state.gpr[index] << i->scale));
    }
    decode(g, s);
}

/* ---------------------------------------------------------------- state */

static void random_x87(struct generator *g, uint8_t *image)
{
    uint16_t control = chance(g, 60) ? 0x37f : (generator_random(g) & 0xf3f) | 0x40;
    uint16_t status = generator_random(g) & 0x7f00;
    if (chance(g, 20))
        status |= generator_random(g) & 0x7f;
    if (status & ~control & 0x3f)
        status |= 0x8080; /* ES, B */
    image[4] = chance(g, 50) ? 0xff : (uint8_t)generator_random(g);
    memcpy(image, &control, 2);
    memcpy(image + 2, &status, 2);
    for (unsigned n = 0; n < 8; n++) {
        static const uint16_t exponents[] = {0x3fff, 0xbfff, 0x7fff, 0, 1, 0x7ffe, 0x401e, 0x403e};
        uint64_t mantissa = lane(g) | (chance(g, 90) ? BIT(63) : 0);
        uint16_t exponent = (uint16_t)generator_random(g);
        if (chance(g, 40))
            exponent = exponents[exponent % ARRAY_SIZE(exponents)];
        else if (chance(g, 60))
            exponent = 0x3fe0 + exponent % 64;
        if (exponent == 0 && chance(g, 50))
            mantissa = 0;
        memcpy(image + 32 + 16 * n, &mantissa, 8);
        memcpy(image + 40 + 16 * n, &exponent, 2);
    }
}

static void random_state(struct generator *g, struct native_state *s)
{
    memset(s, 0, sizeof(*s));
    for (unsigned r = 0; r < (g->mode == DECODE_64 ? 16 : 8); r++)
        s->gpr[r] = g->mode == DECODE_64 ? integer(g) : (uint32_t)integer(g);
    s->rflags = 0x202 | (generator_random(g) & 0x8d5) | (chance(g, 20) ? 0x400 : 0);
    random_x87(g, s->xsave);
    uint32_t mxcsr = 0x1f80 | (generator_random(g) & 0x3f);
    if (chance(g, 30))
        mxcsr = generator_random(g) & 0xffff;
    uint32_t mask = 0xffff;
    memcpy(s->xsave + 24, &mxcsr, 4);
    memcpy(s->xsave + 28, &mask, 4);
    generator_fill(g, s->xsave + 160, 256);
    generator_fill(g, s->xsave + 576, 256);
    s->xsave[512] = 7;
}

/* Registers of instructions with implicit memory. */
static void place_string(struct generator *g, struct subject *s)
{
    const struct insn *i = &s->insn;
    /* Which side of CMPS is read first is the processor's affair: one may fault. */
    bool either = chance(g, 50);
    uint64_t source = pick_for(g, i, i->opsize, either) - segment_base(g, i);
    uint64_t destination = pick_for(g, i, i->opsize, !either);
    set_address_register(g, s, REG_RSI, source);
    set_address_register(g, s, REG_RDI, destination);
    if (i->prefixes & (PREFIX_REP | PREFIX_REPNE))
        set_address_register(g, s, REG_RCX, chance(g, 80) ? below(g, 40) : below(g, 1500));
}

static bool is_branch(const struct insn *i)
{
    return i->attr->operand[0].kind == OPERAND_REL;
}

static void set_poke(struct subject *s, uint64_t address, const void *bytes, unsigned size)
{
    s->poke_address = address;
    s->poke_size = size;
    memcpy(s->poke, bytes, size);
}

/* A place to branch to: the pad, seldom where fetching faults. */
static uint64_t branch_target(struct generator *g, uint64_t at)
{
    return chance(g, 92) ? at + SLOT_PAD : SCRATCH_END + below(g, GUARD_BYTES / 2);
}

/* What single operations need besides.  False when the choice made so far does not suit. */
static bool place_special(struct generator *g, struct subject *s, uint64_t at)
{
    const struct insn *i = &s->insn;
    uint64_t *gpr = s->state.gpr;
    int memory = insn_memory_operand(i);
    switch (i->attr->op) {
    case OP_BT:
    case OP_BTS:
    case OP_BTR:
    case OP_BTC:
        /* The bit offset moves the address. */
        if (memory < 0 || i->attr->operand[1].kind != OPERAND_REG)
            return true;
        if (i->reg == i->base || i->reg == i->index)
            return false;
        gpr[i->reg] = below(g, 32768) - 16384;
        if (i->opsize == 4)
            gpr[i->reg] = (uint32_t)gpr[i->reg] | generator_random(g) << 32;
        if (g->mode != DECODE_64)
            gpr[i->reg] = (uint32_t)gpr[i->reg];
        return true;
    case OP_XLAT:
        set_address_register(g, s, REG_RBX,
                             pick_for(g, i, 1, true) - segment_base(g, i) - (uint8_t)gpr[REG_RAX]);
        return true;
    case OP_MASKMOV: {
        /* Whether bytes that are not stored can fault is left open: where they might, all are. */
        bool mmx = i->attr->operand[0].kind == OPERAND_MMX_REG, may_fault = !mmx && chance(g, 30);
        uint8_t *mask = s->state.xsave + 160 + 16 * i->rm;
        set_address_register(g, s, REG_RDI, pick_for(g, i, 16, may_fault) - segment_base(g, i));
        for (unsigned n = 0; may_fault && n < 16; n++)
            mask[n] |= 0x80;
        return true;
    }
    case OP_GATHER:
        for (unsigned n = 0; n < 4; n++) {
            uint64_t value = below(g, 256) - 128;
            uint8_t *image = s->state.xsave + (n < 2 ? 160 : 576) + 16 * i->index + 8 * (n & 1);
            memcpy(image, &value, 8);
        }
        return true;
    case OP_ENTER:
    case OP_LEAVE:
        gpr[REG_RBP] = pick_address(g, 8, true);
        return true;
    case OP_JMP_IND:
    case OP_CALL_IND: {
        uint64_t target = branch_target(g, at);
        if (memory < 0) {
            if (i->rm == REG_RSP)
                return false;
            gpr[i->rm] = target;
        } else {
            set_poke(s, s->linear, &target, 8);
        }
        return true;
    }
    case OP_RET: {
        uint64_t target = branch_target(g, at);
        set_poke(s, gpr[REG_RSP], &target, 8);
        return true;
    }
    case OP_LDMXCSR:
    case OP_FXRSTOR: {
        /* Bit 17 of MXCSR is AMD's alone. */
        uint32_t mxcsr = generator_random(g) & (chance(g, 80) ? 0xffff : 0xfffdffff);
        set_poke(s, s->linear + (i->attr->op == OP_FXRSTOR ? 24 : 0), &mxcsr, 4);
        return true;
    }
    default:
        return true;
    }
}

static bool in_reach(uint64_t address)
{
    bool near = address >= AREA_START + GUARD_BYTES / 4 && address < CODE_START - GUARD_BYTES / 4;
    return near || (int64_t)(address << 16) >> 16 != (int64_t)address;
}

/* A store that can raise #XM: whether #PF comes first is left open. */
static bool is_converting_store(const struct insn *i)
{
    return i->attr->op == OP_NATIVE && i->attr->traits & TRAIT_FP &&
           i->attr->operand[0].access & ACCESS_WRITE && insn_memory_operand(i) == 0;
}

/* Instructions whose faults are not the same on all processors: those, CMPS, which may read either
 * operand first, and masked accesses. */
static bool must_not_fault(const struct insn *i)
{
    switch (i->attr->op) {
    case OP_CMPS:
    case OP_MASKMOV:
    case OP_VMASKMOV:
    case OP_GATHER:
        return true;
    default:
        return is_converting_store(i);
    }
}

/* Gives the explicit memory operand an address. */
static bool place_operand(struct generator *g, struct subject *s, const struct layout *l,
                          uint64_t at)
{
    const struct insn *i = &s->insn;
    unsigned size = insn_operand_size(i, (unsigned)insn_memory_operand(i));
    bool stack = i->attr->traits & TRAIT_STACK, branch = i->attr->traits & TRAIT_BRANCH;
    bool locked = i->prefixes & PREFIX_LOCK || i->attr->op == OP_XCHG;
    bool large = i->attr->op == OP_FXSAVE || i->attr->op == OP_FXRSTOR;
    uint64_t target = pick_address(g, size ? size : 64, !branch && !is_converting_store(i));
    /* Large images may be accessed in any order: they do not cross pages of different kinds. */
    if (size == 0 && !in_writable(target, 512))
        target &= ~511ull;
    /* AMD's SHA instructions take operands that are not aligned. */
    if (large || i->attr->feature == FEATURE_SHA)
        target &= ~15ull;
    if (locked) /* splitting a line stalls the whole host */
        target &= ~(uint64_t)(size - 1);
    if (i->attr->operand[0].access == ACCESS_NONE && insn_memory_operand(i) == 0)
        target = pick_address(g, 1, true); /* no access */
    /* 16-bit addresses reach only the first 64 KiB, which no process has. */
    if (i->addrsize != 2)
        aim(g, s, l, at, target);
    s->linear = operand_linear(g, s, at);
    if ((!in_reach(s->linear) && i->addrsize != 2) || (branch && !in_writable(s->linear, 8)))
        return false;
    if ((locked && s->linear & (size - 1)) || (i->attr->feature == FEATURE_SHA && s->linear & 15))
        return false;
    /* The stack must stay in reach too. */
    if (stack && (i->base == REG_RSP || i->index == REG_RSP))
        return in_reach(s->state.gpr[REG_RSP] - 65536) && in_reach(s->state.gpr[REG_RSP] + 65536);
    return true;
}

bool generate(struct generator *g, uint64_t at, struct subject *s)
{
    bool general = g->general_count && (!g->vector_count || chance(g, 55));
    struct source_row *row =
        general ? &g->general[below(g, g->general_count)] : &g->vector[below(g, g->vector_count)];
    struct layout l;
    memset(s, 0, offsetof(struct subject, state));
    s->linear = s->poke_size = 0;
    if (!encode(g, row, s, &l))
        return false;
    const struct insn *i = &s->insn;
    /* From FS's base 32-bit addresses do not reach the area. */
    if (g->mode == DECODE_64 && i->seg == SEG_FS && i->addrsize == 4)
        return false;
    random_state(g, &s->state);
    if (g->mode != DECODE_64 && (i->addrsize == 2 || i->seg >= SEG_FS) && must_not_fault(i))
        return false;
    /* POPA that faults may have loaded registers already. */
    bool stack_may_fault = i->attr->op != OP_RET && i->attr->op != OP_POPA;
    if (i->attr->traits & TRAIT_STACK)
        s->state.gpr[REG_RSP] = pick_address(g, 8, stack_may_fault);
    if (is_branch(i)) {
        unsigned size = insn_operand_size(i, 0) == 1 ? 1 : i->opsize == 2 ? 2 : 4;
        uint32_t distance = chance(g, 90) ? SLOT_PAD - i->length : 0;
        memcpy(&s->bytes[i->length - size], &distance, size);
        decode(g, s);
    }
    if (i->attr->traits & TRAIT_STRING)
        place_string(g, s);
    if (insn_memory_operand(i) >= 0 && i->attr->op != OP_LEA && i->attr->op != OP_NOP &&
        !place_operand(g, s, &l, at))
        return false;
    if (!place_special(g, s, at))
        return false;
    if (s->poke_size && !in_writable(s->poke_address, s->poke_size)) {
        if (i->attr->traits & TRAIT_BRANCH)
            return false;
        s->poke_size = 0;
    }
    /* Where Intel and AMD differ: 0F 0D with a register, a NOP for Intel, nothing for AMD; and
     * MOVSXD to 16 bits, for which AMD reads 32. */
    if (i->attr->op == OP_NOP && i->map == MAP_0F && i->opcode == 0x0d && i->mod3)
        return false;
    if (i->attr->op == OP_MOVSXD && i->opsize == 2 && !i->mod3)
        return false;
    /* Nothing placed later may have moved the operand. */
    if (s->linear && operand_linear(g, s, at) != s->linear)
        return false;
    if (i->attr != row->attr)
        return false;
    row->made++;
    return true;
}

unsigned generator_missed(const struct generator *g, const char **example)
{
    unsigned missed = 0;
    for (unsigned n = 0; n < generator_rows(g); n++) {
        const struct source_row *row =
            n < g->general_count ? &g->general[n] : &g->vector[n - g->general_count];
        if (row->made)
            continue;
        missed++;
        *example = row->attr->name;
    }
    return missed;
}
