/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which handler runs an instruction of processor/exec. */
#include "exec.h"

enum form exec_form(const struct insn *i, uint32_t mode)
{
    const struct operand *o = i->attr->operand;
    bool fast = insn_is_fast64(i, mode);
    switch (o[0].kind) {
    case OPERAND_RM:
    case OPERAND_MEM:
    case OPERAND_MOFFS:
    case OPERAND_OPREG:
        switch (o[1].kind) {
        case OPERAND_REG:
        case OPERAND_ACC:
            return i->mod3 ? FORM_RG : fast ? FORM_MG64 : FORM_MG;
        case OPERAND_IMM:
            return i->mod3 ? FORM_RI : fast ? FORM_MI64 : FORM_MI;
        }
        break;
    case OPERAND_REG:
    case OPERAND_ACC:
        switch (o[1].kind) {
        case OPERAND_RM:
        case OPERAND_MEM:
        case OPERAND_MOFFS:
        case OPERAND_OPREG:
            return i->mod3 ? FORM_GR : fast ? FORM_GM64 : FORM_GM;
        case OPERAND_IMM:
            return FORM_GI;
        }
        break;
    }
    return FORM_COUNT;
}

void *exec_rmw_begin(struct processor *p, struct rmw *r, unsigned size, bool lock)
{
    if (lock) {
        r->exclusive = true;
        exclusive_begin(p);
    }
    mem_probe(p, r->linear, size, MEM_WRITE);
    if (size == 16) {
        r->value[0] = mem_read64(p, r->linear);
        r->value[1] = mem_read64(p, r->linear + 8);
    } else {
        r->value[0] = mem_read(p, r->linear, size);
    }
    r->copied = true;
    return r->value;
}

void exec_rmw_end(struct processor *p, struct rmw *r, unsigned size)
{
    if (size == 16) {
        mem_write64(p, r->linear, r->value[0]);
        mem_write64(p, r->linear + 8, r->value[1]);
    } else {
        mem_write(p, r->linear, r->value[0], size);
    }
    if (r->exclusive)
        exclusive_end(p);
}

/* Ranges follow the order of OP_LIST. */
static bind_fn *const binders[OP_COUNT] = {
    [OP_ADD... OP_TEST] = exec_bind_alu,
    [OP_NOT... OP_DEC] = exec_bind_unary,
    [OP_MUL... OP_IDIV] = exec_bind_muldiv,
    [OP_ROL... OP_SAR] = exec_bind_shift,
    [OP_SHLD... OP_SHRD] = exec_bind_double_shift,
    [OP_MOV] = exec_bind_move,
    [OP_MOVZX... OP_MOVSXD] = exec_bind_extend,
    [OP_MOVBE... OP_LEA] = exec_bind_move,
    [OP_XCHG... OP_CMPXCHG8B] = exec_bind_exchange,
    [OP_MOVNTI] = exec_bind_move,
    [OP_PUSH... OP_LEAVE] = exec_bind_stack,
    [OP_CALL... OP_JCXZ] = exec_bind_branch,
    [OP_SETCC] = exec_bind_setcc,
    [OP_CMOVCC] = exec_bind_cmov,
    [OP_BT... OP_BTC] = exec_bind_bit_test,
    [OP_BSF... OP_CRC32] = exec_bind_bit_scan,
    [OP_CBW... OP_CWD] = exec_bind_convert,
    [OP_LAHF... OP_STD] = exec_bind_misc,
    [OP_AAA... OP_DAS] = exec_bind_bcd,
    [OP_SALC] = exec_bind_misc,
    [OP_XLAT] = exec_bind_move,
    [OP_MOVS... OP_SCAS] = exec_bind_string,
    [OP_INS... OP_OUT] = exec_bind_io,
    [OP_NOP... OP_CLFLUSH] = exec_bind_misc,
    [OP_ANDN... OP_ADOX] = exec_bind_bmi,
    [OP_RDRAND... OP_RDSEED] = exec_bind_misc,
};

exec_fn *exec_bind(const struct insn *i, uint32_t mode)
{
    bind_fn *bind = binders[i->attr->op];
    return bind ? bind(i, mode) : exec_invalid;
}

const struct insn *exec_invalid(struct processor *p, const struct insn *i)
{
    (void)i;
    raise_ud(p);
}
