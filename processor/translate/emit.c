/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "emit.h"

#include <string.h>

#define REX   0x40u
#define REX_W 0x08u
#define REX_R 0x04u
#define REX_X 0x02u
#define REX_B 0x01u

void emit_byte(struct emitter *e, unsigned b)
{
    *e->at++ = (uint8_t)b;
}

void emit_bytes(struct emitter *e, const uint8_t *from, size_t count)
{
    memcpy(e->at, from, count);
    e->at += count;
}

static void emit_number(struct emitter *e, uint64_t value, unsigned size)
{
    memcpy(e->at, &value, size);
    e->at += size;
}

static bool fits8(int64_t value)
{
    return value == (int8_t)value;
}

/* ModRM (and SIB, displacement) for [base + disp]. */
static void modrm_memory(struct emitter *e, unsigned reg, unsigned base, int32_t disp)
{
    /* RBP and R13 as base need a displacement; RSP and R12 a SIB byte. */
    unsigned mod = disp == 0 && (base & 7) != HOST_RBP ? 0 : fits8(disp) ? 1 : 2;
    emit_byte(e, mod << 6 | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == HOST_RSP)
        emit_byte(e, 0x24);
    if (mod)
        emit_number(e, (uint32_t)disp, mod == 1 ? 1 : 4);
}

static void emit_vex(struct emitter *e, const struct host_op *op)
{
    unsigned pp = op->repeat == 0xf2 ? 3 : op->repeat == 0xf3 ? 2 : op->operand16 ? 1 : 0;
    unsigned rxb = (op->reg & 8 ? 0 : 0x80) | 0x40 | (op->rm & 8 ? 0 : 0x20);
    emit_byte(e, 0xc4);
    emit_byte(e, rxb | op->map);
    emit_byte(e, (op->wide ? 0x80u : 0) | (~op->vvvv & 15u) << 3 | (op->vex_l ? 4 : 0) | pp);
}

static void emit_prefixes(struct emitter *e, const struct host_op *op)
{
    if (op->lock)
        emit_byte(e, 0xf0);
    if (op->operand16)
        emit_byte(e, 0x66);
    if (op->repeat)
        emit_byte(e, op->repeat);
    unsigned rex = (op->wide ? REX_W : 0) | (op->has_modrm && op->reg & 8 ? REX_R : 0) |
                   (op->rm & 8 ? REX_B : 0);
    if (rex || op->low_byte)
        emit_byte(e, REX | rex);
    if (op->map)
        emit_byte(e, 0x0f);
    if (op->map > 1)
        emit_byte(e, op->map == 2 ? 0x38 : 0x3a);
}

void emit_op(struct emitter *e, const struct host_op *op)
{
    if (op->vex)
        emit_vex(e, op);
    else
        emit_prefixes(e, op);
    emit_byte(e, op->opcode_reg ? (op->opcode & ~7u) | (op->rm & 7u) : op->opcode);
    if (op->has_modrm && op->memory)
        modrm_memory(e, op->reg, op->rm, op->disp);
    else if (op->has_modrm)
        emit_byte(e, 0xc0u | (op->reg & 7u) << 3 | (op->rm & 7u));
    emit_number(e, op->immediate, op->immediates);
}

/* ---------------------------------------------------------------- the commonest */

static void wide_register(struct emitter *e, unsigned opcode, unsigned reg, unsigned rm)
{
    emit_byte(e, REX | REX_W | (reg & 8 ? REX_R : 0) | (rm & 8 ? REX_B : 0));
    emit_byte(e, opcode);
    emit_byte(e, 0xc0u | (reg & 7) << 3 | (rm & 7));
}

static void wide_memory(struct emitter *e, unsigned opcode, unsigned reg, unsigned base,
                        int32_t disp)
{
    emit_byte(e, REX | REX_W | (reg & 8 ? REX_R : 0) | (base & 8 ? REX_B : 0));
    emit_byte(e, opcode);
    modrm_memory(e, reg, base, disp);
}

void emit_move(struct emitter *e, enum host_register to, enum host_register from)
{
    wide_register(e, 0x8b, to, from);
}

void emit_load(struct emitter *e, enum host_register to, enum host_register base, int32_t disp)
{
    wide_memory(e, 0x8b, to, base, disp);
}

void emit_store(struct emitter *e, enum host_register base, int32_t disp, enum host_register from)
{
    wide_memory(e, 0x89, from, base, disp);
}

void emit_truncate(struct emitter *e, enum host_register r)
{
    emit_op(e, &(struct host_op){
                   .opcode = 0x8b, .has_modrm = true, .reg = (uint8_t)r, .rm = (uint8_t)r});
}

void emit_push_pop(struct emitter *e, enum host_register from, int32_t from_disp,
                   enum host_register to, int32_t to_disp)
{
    emit_op(e, &(struct host_op){.opcode = 0xff,
                                 .has_modrm = true,
                                 .reg = 6,
                                 .memory = true,
                                 .rm = (uint8_t)from,
                                 .disp = from_disp});
    emit_op(
        e,
        &(struct host_op){
            .opcode = 0x8f, .has_modrm = true, .memory = true, .rm = (uint8_t)to, .disp = to_disp});
}

void emit_constant(struct emitter *e, enum host_register to, uint64_t value)
{
    if (value == (uint32_t)value) {
        if (to & 8)
            emit_byte(e, REX | REX_B);
        emit_byte(e, 0xb8u | (to & 7u));
        emit_number(e, value, 4);
    } else if ((int64_t)value == (int32_t)value) {
        wide_register(e, 0xc7, 0, to);
        emit_number(e, value, 4);
    } else {
        emit_byte(e, REX | REX_W | (to & 8 ? REX_B : 0));
        emit_byte(e, 0xb8u | (to & 7u));
        emit_number(e, value, 8);
    }
}

void emit_lea(struct emitter *e, enum host_register to, enum host_register base, int32_t disp)
{
    wide_memory(e, 0x8d, to, base, disp);
}

void emit_lea_index(struct emitter *e, enum host_register to, unsigned base,
                    enum host_register index, unsigned scale, int32_t disp)
{
    bool based = base != NO_BASE;
    unsigned mod = !based ? 0 : disp == 0 && (base & 7) != HOST_RBP ? 0 : fits8(disp) ? 1 : 2;
    emit_byte(e, REX | REX_W | (to & 8u ? REX_R : 0) | (index & 8u ? REX_X : 0) |
                     (based && base & 8 ? REX_B : 0));
    emit_byte(e, 0x8d);
    emit_byte(e, mod << 6 | (to & 7u) << 3 | 4);
    emit_byte(e, scale << 6 | (index & 7u) << 3 | (based ? base & 7 : 5));
    if (mod || !based)
        emit_number(e, (uint32_t)disp, mod == 1 ? 1 : 4);
}

void emit_alu_constant(struct emitter *e, unsigned n, enum host_register r, int32_t value)
{
    wide_register(e, fits8(value) ? 0x83 : 0x81, n, r);
    emit_number(e, (uint32_t)value, fits8(value) ? 1 : 4);
}

void emit_alu_load(struct emitter *e, unsigned n, enum host_register r, enum host_register base,
                   int32_t disp)
{
    wide_memory(e, n << 3 | 3, r, base, disp);
}

/* ---------------------------------------------------------------- jumps */

void emit_patch(uint8_t *at, const uint8_t *target)
{
    int32_t distance = (int32_t)(target - (at + 4));
    /* One aligned-or-not store: only the processor that owns the code runs it. */
    memcpy(at, &distance, sizeof(distance));
}

bool emit_leads(const uint8_t *at, const uint8_t *target)
{
    int32_t distance;
    memcpy(&distance, at, sizeof(distance));
    return at + 4 + distance == target;
}

uint8_t *emit_jump(struct emitter *e, const uint8_t *target)
{
    emit_byte(e, 0xe9);
    uint8_t *at = e->at;
    e->at += 4;
    emit_patch(at, target ? target : e->at);
    return at;
}

void emit_call(struct emitter *e, const uint8_t *target)
{
    emit_byte(e, 0xe8);
    e->at += 4;
    emit_patch(e->at - 4, target);
}

uint8_t *emit_jump_if(struct emitter *e, unsigned cc, const uint8_t *target)
{
    EMIT(e, 0x0f, (uint8_t)(0x80 | cc));
    uint8_t *at = e->at;
    e->at += 4;
    emit_patch(at, target ? target : e->at);
    return at;
}
