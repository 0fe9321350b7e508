/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Decoding: prefixes, the walk through the tables, ModRM and immediates. */
#include "processor/decode/decode.h"

#include "processor/decode/table.h"

#include <string.h>

#define INSN_BYTES_MAX 15

/* REX bits; VEX fields are brought to the same form. */
enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

/* What the bytes before the opcode said, and where reading stands. */
struct cursor {
    const uint8_t *at, *end;
    enum decode_mode mode;
    uint8_t prefixes; /* PREFIX_*; of F2 and F3 the last, which may also be VEX.pp's */
    uint8_t rex;      /* REX_* of a REX that counts, or of VEX */
    uint8_t seg;      /* with PREFIX_SEG */
    uint8_t vvvv, l;  /* of VEX */
    enum insn_map map;
};

static const struct insn_attr invalid_attr = {
    .name = "(bad)",
    .op = OP_UD,
    .class = CLASS_INVALID,
    .traits = TRAIT_ENDS_BLOCK,
};

/* ---------------------------------------------------------------- prefixes */

enum { NOT_PREFIX, PREFIX_KIND_SEG, PREFIX_KIND_REX, PREFIX_KIND_OTHER };

static const uint8_t prefix_kind[256] = {
    [0x26] = PREFIX_KIND_SEG,          [0x2e] = PREFIX_KIND_SEG,   [0x36] = PREFIX_KIND_SEG,
    [0x3e] = PREFIX_KIND_SEG,          [0x64] = PREFIX_KIND_SEG,   [0x65] = PREFIX_KIND_SEG,
    [0x40 ... 0x4f] = PREFIX_KIND_REX, [0x66] = PREFIX_KIND_OTHER, [0x67] = PREFIX_KIND_OTHER,
    [0xf0] = PREFIX_KIND_OTHER,        [0xf2] = PREFIX_KIND_OTHER, [0xf3] = PREFIX_KIND_OTHER,
};

/* Takes the legacy and REX prefixes.  False when the bytes end before an opcode. */
static bool take_prefixes(struct cursor *c)
{
    for (; c->at < c->end; c->at++) {
        uint8_t b = *c->at;
        switch (prefix_kind[b]) {
        case NOT_PREFIX:
            return true;
        case PREFIX_KIND_REX:
            if (c->mode != DECODE_64)
                return true;
            c->prefixes |= PREFIX_REX;
            c->rex = b & 15;
            continue;
        case PREFIX_KIND_SEG:
            /* In 64-bit mode those of ES, CS, SS and DS are as if they were not there. */
            if (b < 0x64 && c->mode == DECODE_64)
                break;
            c->seg = b >= 0x64 ? b - 0x64 + SEG_FS : (b >> 3) & 3;
            c->prefixes |= PREFIX_SEG;
            break;
        default:
            if (b == 0x66) {
                c->prefixes |= PREFIX_66;
            } else if (b == 0x67) {
                c->prefixes |= PREFIX_67;
            } else if (b == 0xf0) {
                c->prefixes |= PREFIX_LOCK;
            } else {
                c->prefixes &= (uint8_t) ~(PREFIX_REP | PREFIX_REPNE);
                c->prefixes |= b == 0xf3 ? PREFIX_REP : PREFIX_REPNE;
            }
            break;
        }
        /* A REX that is not the last prefix has no effect. */
        c->prefixes &= (uint8_t)~PREFIX_REX;
        c->rex = 0;
    }
    return false;
}

/* ---------------------------------------------------------------- the opcode's entry */

/* VEX after C4 or C5 (at c->at - 1).  Sets *entry, NULL when the map does not exist.  False when
 * the bytes end. */
static bool take_vex(struct cursor *c, uint8_t first, const struct entry **entry)
{
    static const struct entry *const maps[4] = {NULL, opcodes_vex_0f, opcodes_vex_0f38,
                                                opcodes_vex_0f3a};
    unsigned size = first == 0xc5 ? 1 : 2;
    if (c->end - c->at <= (ptrdiff_t)size)
        return false;
    uint8_t last = c->at[size - 1];
    unsigned map = 1;
    bool bad = c->prefixes & (PREFIX_LOCK | PREFIX_66 | PREFIX_REX | PREFIX_REP | PREFIX_REPNE);

    c->rex = c->at[0] & 0x80 ? 0 : REX_R;
    if (size == 2) {
        map = c->at[0] & 0x1f;
        c->rex |= (c->at[0] & 0x40 ? 0 : REX_X) | (c->at[0] & 0x20 ? 0 : REX_B) |
                  (last & 0x80 ? REX_W : 0);
    }
    c->vvvv = (uint8_t)(~last >> 3) & 15;
    c->l = (last >> 2) & 1;
    /* Outside 64-bit mode there are eight registers. */
    if (c->mode != DECODE_64) {
        c->rex &= REX_W;
        c->vvvv &= 7;
    }
    static const uint8_t pp[4] = {0, PREFIX_66, PREFIX_REP, PREFIX_REPNE};
    c->prefixes = (c->prefixes & (PREFIX_67 | PREFIX_SEG)) | PREFIX_VEX | pp[last & 3];
    c->at += size;
    uint8_t opcode = *c->at++;
    c->map = map <= 3 ? (enum insn_map)map : MAP_ONE;
    *entry = bad || map == 0 || map > 3 ? NULL : &maps[map][opcode];
    return true;
}

/* The opcode's entry in the table of its map; NULL for an escape that leads nowhere.  False when
 * the bytes end. */
static bool take_opcode(struct cursor *c, const struct entry **entry)
{
    uint8_t b = *c->at++;
    c->map = MAP_ONE;
    if (likely(b != 0x0f)) {
        *entry = &opcodes_one[b];
        if (likely(b != 0xc4 && b != 0xc5))
            return true;
        if (c->at == c->end)
            return false;
        /* Outside 64-bit mode a memory operand means LES and LDS. */
        return (c->mode != DECODE_64 && *c->at < 0xc0) || take_vex(c, b, entry);
    }
    if (c->at == c->end)
        return false;
    b = *c->at++;
    if (b != 0x38 && b != 0x3a) {
        c->map = MAP_0F;
        *entry = &opcodes_0f[b];
        return true;
    }
    if (c->at == c->end)
        return false;
    c->map = b == 0x38 ? MAP_0F38 : MAP_0F3A;
    *entry = b == 0x38 ? &opcodes_0f38[*c->at++] : &opcodes_0f3a[*c->at++];
    return true;
}

static unsigned plain_opsize(const struct cursor *c)
{
    if (c->mode == DECODE_64 && c->rex & REX_W)
        return 8;
    return (c->mode == DECODE_16) == !(c->prefixes & PREFIX_66) ? 2 : 4;
}

/* Follows the selections of an entry to its row.  When there is none *row is NULL, and a ModRM that
 * has been looked at counts as taken.  False when the bytes end before a ModRM that is needed. */
static bool find_row(struct cursor *c, const struct entry *e, const struct row **row)
{
    bool modrm_seen = false;
    for (;;) {
        unsigned n;
        switch (e->select) {
        case SELECT_ROW:
            *row = e->row;
            return true;
        case SELECT_REG:
        case SELECT_RM:
        case SELECT_MOD:
            if (c->at == c->end)
                return false;
            modrm_seen = true;
            n = *c->at;
            n = e->select == SELECT_REG ? (n >> 3) & 7 : e->select == SELECT_RM ? n & 7 : n >= 0xc0;
            break;
        case SELECT_PREFIX:
            n = c->prefixes & PREFIX_REP     ? 2
                : c->prefixes & PREFIX_REPNE ? 3
                : c->prefixes & PREFIX_66    ? 1
                                             : 0;
            break;
        case SELECT_REP:
            n = c->prefixes & PREFIX_REP ? 1 : c->prefixes & PREFIX_REPNE ? 2 : 0;
            break;
        case SELECT_F3:
            n = c->prefixes & PREFIX_REP ? 1 : 0;
            break;
        case SELECT_OPSIZE:
            n = plain_opsize(c) / 4;
            break;
        case SELECT_MODE64:
            n = c->mode == DECODE_64;
            break;
        case SELECT_REXB:
            n = c->rex & REX_B;
            break;
        case SELECT_L:
            n = c->l;
            break;
        case SELECT_W:
            n = c->rex & REX_W ? 1 : 0;
            break;
        case SELECT_W64:
            n = c->mode == DECODE_64 && c->rex & REX_W;
            break;
        default:
            *row = NULL;
            c->at += modrm_seen;
            return true;
        }
        e = &e->table[n];
    }
}

/* ---------------------------------------------------------------- operands */

/* A little-endian number of SIZE bytes: 1, 2, 4, 8, or those of ENTER (3) and far pointers (6). */
static inline uint64_t load(const uint8_t *from, unsigned size)
{
    uint16_t half = 0;
    uint32_t word = 0;
    uint64_t value = 0;
    switch (size) {
    case 1:
        return *from;
    case 2:
        memcpy(&half, from, 2);
        return half;
    case 4:
        memcpy(&word, from, 4);
        return word;
    default:
        memcpy(&value, from, size);
        return value;
    }
}

static inline int64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (int64_t)(value << shift) >> shift;
}

/* The number of SIZE bytes that comes next.  False when the bytes end. */
static inline bool take(struct cursor *c, unsigned size, uint64_t *value)
{
    if (unlikely(c->end - c->at < (ptrdiff_t)size))
        return false;
    *value = load(c->at, size);
    c->at += size;
    return true;
}

static inline bool take_displacement(struct cursor *c, unsigned size, struct insn *i)
{
    uint64_t value;
    if (!take(c, size, &value))
        return false;
    i->disp = sign_extend(value, size);
    return true;
}

/* The 16-bit forms of SDM volume 2, table 2-1. */
static bool take_address_16(struct cursor *c, struct insn *i)
{
    static const uint8_t base[8] = {REG_RBX, REG_RBX, REG_RBP, REG_RBP,
                                    REG_RSI, REG_RDI, REG_RBP, REG_RBX};
    static const uint8_t index[8] = {REG_RSI,  REG_RDI,  REG_RSI,  REG_RDI,
                                     REG_NONE, REG_NONE, REG_NONE, REG_NONE};
    unsigned mod = i->modrm >> 6, rm = i->modrm & 7;
    if (mod == 0 && rm == 6)
        return take_displacement(c, 2, i);
    i->base = base[rm];
    i->index = index[rm];
    if (i->base == REG_RBP)
        i->seg = SEG_SS;
    return mod == 0 || take_displacement(c, mod, i);
}

/* The 32- and 64-bit forms of tables 2-2 and 2-3.  *relative is set for RIP-relative addresses. */
static bool take_address(struct cursor *c, const struct row *row, struct insn *i, bool *relative)
{
    unsigned mod = i->modrm >> 6, rm = i->modrm & 7;
    if (rm == 4) {
        if (c->at == c->end)
            return false;
        uint8_t sib = *c->at++;
        unsigned index = ((sib >> 3) & 7) | (c->rex & REX_X ? 8 : 0);
        if (index != 4 || row->encoding & ENC_VSIB) {
            i->index = (uint8_t)index;
            i->scale = sib >> 6;
        }
        rm = sib & 7;
        if (mod == 0 && rm == 5)
            return take_displacement(c, 4, i);
    } else if (mod == 0 && rm == 5) {
        if (c->mode == DECODE_64) {
            i->base = REG_CODE;
            *relative = true;
        }
        return take_displacement(c, 4, i);
    }
    i->base = (uint8_t)(rm | (c->rex & REX_B ? 8 : 0));
    if (i->base == REG_RSP || i->base == REG_RBP)
        i->seg = SEG_SS;
    if (mod == 0)
        return true;
    return mod == 1 ? take_displacement(c, 1, i) : take_displacement(c, 4, i);
}

/* Byte registers 4-7 are AH, CH, DH, BH unless there is a REX. */
static uint8_t byte_reg(const struct cursor *c, unsigned reg)
{
    return (uint8_t)((reg & ~3u) == 4 && !(c->prefixes & PREFIX_REX) ? REG_HIGH | (reg - 4) : reg);
}

/* ModRM, SIB and displacement.  False when the bytes end. */
static bool take_modrm(struct cursor *c, const struct row *row, struct insn *i, bool *relative)
{
    uint32_t encoding = row->encoding;
    if (c->at == c->end)
        return false;
    i->modrm = *c->at++;
    unsigned reg = (i->modrm >> 3) & 7;
    if (encoding & ENC_REG) {
        if (c->rex & REX_R && !(encoding & ENC_REG_LOW))
            reg |= 8;
        if (encoding & ENC_REG_BYTE)
            reg = byte_reg(c, reg);
    }
    i->reg = (uint8_t)reg;
    if (i->modrm >= 0xc0 || encoding & ENC_MOD_IGNORED) {
        unsigned rm = i->modrm & 7;
        if (c->rex & REX_B && !(encoding & ENC_RM_LOW))
            rm |= 8;
        if (encoding & ENC_RM_BYTE)
            rm = byte_reg(c, rm);
        i->rm = (uint8_t)rm;
        i->mod3 = 1;
        return true;
    }
    return i->addrsize == 2 ? take_address_16(c, i) : take_address(c, row, i, relative);
}

/* The immediates that are not plain numbers of 1, 2, 4 or 8 bytes. */
static bool take_odd_immediate(struct cursor *c, unsigned kind, struct insn *i)
{
    uint64_t value = 0;
    unsigned z = i->opsize == 2 ? 2 : 4;
    bool enough = true;
    switch (kind) {
    case IMM_IS4:
        /* Outside 64-bit mode bit 7 has no effect. */
        enough = take(c, 1, &i->imm);
        i->imm &= c->mode == DECODE_64 ? 0xff : 0x7f;
        break;
    case IMM_WB:
        enough = take(c, 3, &i->imm);
        break;
    case IMM_FAR:
        enough = take(c, z + 2, &value);
        i->imm = (value & (z == 2 ? 0xffff : 0xffffffff)) | value >> (8 * z) << 32;
        break;
    case IMM_MOFFS:
        enough = take(c, i->addrsize, &value);
        i->disp = (int64_t)value;
        break;
    default: /* IMM_ONE */
        i->imm = 1;
        break;
    }
    return enough;
}

/* False when the bytes end. */
static inline bool take_immediate(struct cursor *c, unsigned kind, struct insn *i)
{
    uint64_t value;
    unsigned size;
    if (kind == IMM_NONE)
        return true;
    if (kind > IMM_V)
        return take_odd_immediate(c, kind, i);
    if (kind <= IMM_UB)
        size = 1;
    else if (kind == IMM_V)
        size = i->opsize;
    else
        size = kind == IMM_W || i->opsize == 2 ? 2 : 4;
    if (!take(c, size, &value))
        return false;
    i->imm = kind == IMM_SB || kind == IMM_Z ? (uint64_t)sign_extend(value, size) : value;
    return true;
}

/* ---------------------------------------------------------------- validity */

/* Register numbers that do not exist, and registers that a gather must keep apart. */
static bool registers_exist(const struct cursor *c, const struct insn *i)
{
    switch (i->attr->op) {
    case OP_MOV_FROM_SEG:
        return i->reg <= SEG_GS;
    case OP_MOV_TO_SEG:
        return i->reg <= SEG_GS && i->reg != SEG_CS;
    case OP_MOV_FROM_CR:
    case OP_MOV_TO_CR:
        return i->reg == 0 || (i->reg >= 2 && i->reg <= 4) || i->reg == 8;
    case OP_MOV_FROM_DR:
    case OP_MOV_TO_DR:
        return i->reg < 8;
    case OP_GATHER:
        return i->reg != i->index && i->reg != c->vvvv && i->index != c->vvvv;
    default:
        return true;
    }
}

static bool vex_allowed(const struct cursor *c, const struct row *row)
{
    if (c->vvvv && !(row->encoding & ENC_VVVV))
        return false;
    if (row->vex & (c->l ? VEX_L0 : VEX_L1))
        return false;
    return !(row->vex & (c->rex & REX_W ? VEX_W0 : VEX_W1));
}

/* Whether the encoding is one the row allows. */
static bool encoding_allowed(const struct cursor *c, const struct row *row, const struct insn *i)
{
    uint32_t encoding = row->encoding, traits = row->attr.traits;
    if (likely(!(encoding & (ENC_MEM_ONLY | ENC_REG_ONLY | ENC_VSIB | ENC_CHECK)) &&
               !(traits & (TRAIT_NO64 | TRAIT_ONLY64)) &&
               !(c->prefixes & (PREFIX_LOCK | PREFIX_VEX))))
        return true;
    if (traits & (c->mode == DECODE_64 ? TRAIT_NO64 : TRAIT_ONLY64))
        return false;
    if (c->prefixes & PREFIX_LOCK &&
        (!(traits & TRAIT_LOCKABLE) || !(encoding & ENC_MODRM) || i->mod3))
        return false;
    if (encoding & (i->mod3 ? ENC_MEM_ONLY : ENC_REG_ONLY))
        return false;
    /* A vector index needs a SIB byte. */
    if (encoding & ENC_VSIB && (i->addrsize == 2 || (i->modrm & 7) != 4))
        return false;
    if (c->prefixes & PREFIX_VEX && !vex_allowed(c, row))
        return false;
    return !(encoding & ENC_CHECK) || registers_exist(c, i);
}

static unsigned row_opsize(const struct cursor *c, const struct row *row)
{
    unsigned size = plain_opsize(c);
    if (likely(row->opsize == OPSIZE_V)) {
        if (c->mode == DECODE_64 && row->attr.traits & (TRAIT_FORCE64 | TRAIT_DEFAULT64) &&
            (size == 4 || row->attr.traits & TRAIT_FORCE64))
            return 8;
        return size;
    }
    switch (row->opsize) {
    case OPSIZE_B:
        return 1;
    case OPSIZE_Z:
        return size == 2 ? 2 : 4;
    case OPSIZE_Y:
        return c->mode == DECODE_64 && c->rex & REX_W ? 8 : 4;
    default: /* OPSIZE_N */
        return c->mode == DECODE_64 ? 8 : 4;
    }
}

/* ---------------------------------------------------------------- the decoder */

static enum decode_result invalid(const struct cursor *c, const uint8_t *bytes, struct insn *i)
{
    i->attr = &invalid_attr;
    i->length = (uint8_t)(c->at - bytes);
    return DECODE_INVALID;
}

enum decode_result insn_decode(const uint8_t *bytes, size_t size, enum decode_mode mode,
                               uint16_t offset, struct insn *i)
{
    enum decode_result short_result = size < INSN_BYTES_MAX ? DECODE_MORE : DECODE_TOO_LONG;
    struct cursor c = {
        .at = bytes,
        .end = bytes + (size < INSN_BYTES_MAX ? size : INSN_BYTES_MAX),
        .mode = mode,
    };
    const struct entry *entry;
    const struct row *row = NULL;

    if (!take_prefixes(&c) || !take_opcode(&c, &entry))
        return short_result;
    *i = (struct insn){
        .attr = &invalid_attr,
        .offset = offset,
        .seg = SEG_DS,
        .base = REG_NONE,
        .index = REG_NONE,
    };
    i->map = (uint8_t)c.map;
    i->opcode = c.at[-1];
    i->prefixes = c.prefixes;
    i->addrsize = (uint8_t)(2 << mode);
    if (c.prefixes & PREFIX_67)
        i->addrsize = mode == DECODE_32 ? 2 : 4;
    if (unlikely(entry == NULL))
        return invalid(&c, bytes, i);
    if (!find_row(&c, entry, &row))
        return short_result;
    if (unlikely(row == NULL))
        return invalid(&c, bytes, i);

    bool relative = false;
    if (row->encoding & ENC_YW && mode != DECODE_64)
        c.rex &= (uint8_t)~REX_W;
    i->attr = &row->attr;
    i->opsize = (uint8_t)row_opsize(&c, row);
    if (row->encoding & ENC_MODRM) {
        if (!take_modrm(&c, row, i, &relative))
            return short_result;
    } else if (row->encoding & ENC_OPREG) {
        unsigned rm = (i->opcode & 7) | (c.rex & REX_B ? 8 : 0);
        i->rm = row->encoding & ENC_RM_BYTE ? byte_reg(&c, rm) : (uint8_t)rm;
        i->mod3 = 1;
    } else if (row->encoding & ENC_SREG_OPCODE) {
        i->reg = (i->opcode >> 3) & 7;
    }
    if (!take_immediate(&c, row->encoding & ENC_IMM, i))
        return short_result;
    i->length = (uint8_t)(c.at - bytes);
    if (c.prefixes & PREFIX_SEG)
        i->seg = c.seg;
    if (relative)
        i->disp += offset + i->length;
    if (c.prefixes & PREFIX_VEX)
        i->imm |= (uint64_t)(c.vvvv | c.l << 4 | (c.rex & REX_W ? 1 << 5 : 0)) << INSN_VEX_SHIFT;
    if (unlikely(!encoding_allowed(&c, row, i)))
        return invalid(&c, bytes, i);
    return DECODE_OK;
}
