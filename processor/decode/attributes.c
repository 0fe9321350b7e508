/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions about decoded instructions and about the tables. */
#include "processor/decode/decode.h"

#include "processor/decode/table.h"

unsigned insn_operand_size(const struct insn *i, unsigned n)
{
    unsigned size = i->attr->operand[n].size, vector = insn_vex_l(i) ? 32 : 16;
    switch (size) {
    case SIZE_OP:
        return i->opsize;
    case SIZE_VEC:
        return vector;
    case SIZE_HALF:
        return vector / 2;
    case SIZE_QUART:
        return vector / 4;
    case SIZE_EIGHTH:
        return vector / 8;
    case SIZE_FAR:
        return i->opsize + 2;
    case SIZE_DTR:
        /* These rows have TRAIT_FORCE64: opsize is 8 in 64-bit mode and only there. */
        return i->opsize == 8 ? 10 : 6;
    case SIZE_YW:
        return i->opsize == 8 ? 8 : 4;
    case SIZE_VAR:
        return 0;
    default:
        return size;
    }
}

unsigned insn_immediate_bytes(const struct insn *i)
{
    const struct row *row = container_of(i->attr, const struct row, attr);
    switch (row->encoding & ENC_IMM) {
    case IMM_SB:
    case IMM_UB:
    case IMM_IS4:
        return 1;
    case IMM_W:
        return 2;
    case IMM_WB:
        return 3;
    case IMM_Z:
        return i->opsize == 2 ? 2 : 4;
    case IMM_V:
        return i->opsize;
    case IMM_FAR:
        return i->opsize == 2 ? 4 : 6;
    case IMM_MOFFS:
        return i->addrsize;
    default:
        return 0;
    }
}

int insn_memory_operand(const struct insn *i)
{
    const struct insn_attr *attr = i->attr;
    for (int n = 0; n < 4 && attr->operand[n].kind != OPERAND_NONE; n++) {
        switch (attr->operand[n].kind) {
        case OPERAND_RM:
        case OPERAND_XMM_RM:
        case OPERAND_MMX_RM:
            if (!i->mod3)
                return n;
            break;
        case OPERAND_MEM:
        case OPERAND_MOFFS:
        case OPERAND_VSIB:
            return n;
        }
    }
    return -1;
}

bool insn_has_memory(const struct insn *i)
{
    return insn_memory_operand(i) >= 0;
}

/* ---------------------------------------------------------------- every row */

struct walk {
    void (*row)(void *opaque, enum insn_map map, unsigned opcode, int group, unsigned prefix,
                const struct insn_attr *attr);
    void *opaque;
    enum insn_map map;
    unsigned opcode;
};

/* GROUP and PREFIX are what the selections so far have fixed; REG tells whether ModRM.reg has. */
static void walk_entry(const struct walk *w, const struct entry *e, int group, unsigned prefix)
{
    static const uint8_t counts[] = {
        [SELECT_REG] = 8,  [SELECT_RM] = 8, [SELECT_MOD] = 2,    [SELECT_PREFIX] = 4,
        [SELECT_REP] = 3,  [SELECT_F3] = 2, [SELECT_OPSIZE] = 3, [SELECT_MODE64] = 2,
        [SELECT_REXB] = 2, [SELECT_L] = 2,  [SELECT_W] = 2,      [SELECT_W64] = 2,
    };
    static const uint8_t mandatory[4] = {0, PREFIX_66, PREFIX_REP, PREFIX_REPNE};
    if (e->select == SELECT_INVALID)
        return;
    if (e->select == SELECT_ROW) {
        w->row(w->opaque, w->map, w->opcode, group, prefix, &e->row->attr);
        return;
    }
    for (unsigned n = 0; n < counts[e->select]; n++) {
        unsigned p = 0;
        if (e->select == SELECT_PREFIX)
            p = mandatory[n];
        else if ((e->select == SELECT_F3 || e->select == SELECT_REP) && n)
            p = n == 1 ? PREFIX_REP : PREFIX_REPNE;
        walk_entry(w, &e->table[n], e->select == SELECT_REG ? (int)n : group, prefix | p);
    }
}

void insn_for_each_row(void (*row)(void *opaque, enum insn_map map, unsigned opcode, int group,
                                   unsigned prefix, const struct insn_attr *attr),
                       void *opaque)
{
    static const struct {
        const struct entry *entries;
        enum insn_map map;
        unsigned prefix;
    } tables[] = {
        {opcodes_one, MAP_ONE, 0},
        {opcodes_0f, MAP_0F, 0},
        {opcodes_0f38, MAP_0F38, 0},
        {opcodes_0f3a, MAP_0F3A, 0},
        {opcodes_vex_0f, MAP_0F, PREFIX_VEX},
        {opcodes_vex_0f38, MAP_0F38, PREFIX_VEX},
        {opcodes_vex_0f3a, MAP_0F3A, PREFIX_VEX},
    };
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            struct walk w = {row, opaque, tables[t].map, opcode};
            walk_entry(&w, &tables[t].entries[opcode], -1, tables[t].prefix);
        }
    }
}
