/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The encoder of host instructions: what translations and their thunks are written with.
 *
 * Code is written through one mapping and runs in another, EXECUTABLE bytes away; addresses here
 * are those of the writable one.  Distances inside the code are the same in both.
 */
#ifndef TRAPEZE_EMIT_H
#define TRAPEZE_EMIT_H

#include "common/base/base.h"

enum host_register {
    HOST_RAX,
    HOST_RCX,
    HOST_RDX,
    HOST_RBX,
    HOST_RSP,
    HOST_RBP,
    HOST_RSI,
    HOST_RDI,
    HOST_R8,
    HOST_R9,
    HOST_R10,
    HOST_R11,
    HOST_R12,
    HOST_R13,
    HOST_R14,
    HOST_R15,
};

struct emitter {
    uint8_t *at;
    uint8_t *end; /* the caller sees to it that there is room */
};

/* One instruction.  Fields that an encoding does not have stay 0. */
struct host_op {
    bool lock, operand16, wide; /* F0; 66; REX.W or VEX.W */
    uint8_t repeat;             /* F2, F3 or 0: a mandatory prefix */
    uint8_t map, opcode;        /* map as in enum insn_map */
    bool has_modrm;
    uint8_t reg;     /* ModRM.reg: a register or an opcode extension */
    bool memory;     /* the other operand is [base + disp], else register rm */
    uint8_t rm;      /* a register; the base if memory */
    bool opcode_reg; /* rm is in the opcode's low bits instead */
    int32_t disp;
    bool low_byte;      /* a byte register 4 to 7 is SPL to DIL: needs a REX prefix */
    bool vex, vex_l;    /* vex: repeat and operand16 become VEX.pp */
    uint8_t vvvv;       /* a register */
    uint8_t immediates; /* bytes: 0, 1, 2, 4, 8 */
    uint64_t immediate;
};
void emit_op(struct emitter *e, const struct host_op *op);

void emit_byte(struct emitter *e, unsigned b);
void emit_bytes(struct emitter *e, const uint8_t *from, size_t count);
#define EMIT(e, ...)                                                                               \
    emit_bytes(e, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* 64-bit moves. */
void emit_move(struct emitter *e, enum host_register to, enum host_register from);
void emit_load(struct emitter *e, enum host_register to, enum host_register base, int32_t disp);
void emit_store(struct emitter *e, enum host_register base, int32_t disp, enum host_register from);
/* MOV r32, r32: clears bits 63:32. */
void emit_truncate(struct emitter *e, enum host_register r);
/* PUSH [from + from_disp], POP [to + to_disp]: a move without a register. */
void emit_push_pop(struct emitter *e, enum host_register from, int32_t from_disp,
                   enum host_register to, int32_t to_disp);
/* The shortest move of a constant; flags stay. */
void emit_constant(struct emitter *e, enum host_register to, uint64_t value);
/* LEA to, [base + disp]. */
void emit_lea(struct emitter *e, enum host_register to, enum host_register base, int32_t disp);
/* LEA to, [base + index << scale + disp]; NO_BASE leaves the base out.  INDEX is not RSP. */
#define NO_BASE 16
void emit_lea_index(struct emitter *e, enum host_register to, unsigned base,
                    enum host_register index, unsigned scale, int32_t disp);
/* ALU operation N (0 ADD, 1 OR, 4 AND, 5 SUB, 6 XOR, 7 CMP) of a 64-bit register. */
enum { ALU_ADD, ALU_OR, ALU_AND = 4, ALU_SUB, ALU_XOR, ALU_CMP };
void emit_alu_constant(struct emitter *e, unsigned n, enum host_register r, int32_t value);
void emit_alu_load(struct emitter *e, unsigned n, enum host_register r, enum host_register base,
                   int32_t disp);

/* JMP rel32, or Jcc rel32 for condition CC; returns where the distance stands, for emit_patch. */
uint8_t *emit_jump(struct emitter *e, const uint8_t *target);
uint8_t *emit_jump_if(struct emitter *e, unsigned cc, const uint8_t *target);
/* CALL of what is in the same mapping. */
void emit_call(struct emitter *e, const uint8_t *target);
enum { CC_O, CC_NO, CC_C, CC_NC, CC_Z, CC_NZ, CC_BE, CC_A, CC_S };
/* Makes the jump whose distance stands at AT lead to TARGET, or tells whether it does. */
void emit_patch(uint8_t *at, const uint8_t *target);
bool emit_leads(const uint8_t *at, const uint8_t *target);

#endif
