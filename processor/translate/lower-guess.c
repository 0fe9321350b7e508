/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guess at the addresses that a kernel's block will use.  It is translated when it is about to
 * run: its registers are at hand, and what it makes of them with moves, sums and loads mostly lies
 * in the same part of the address space each time.  The guess only chooses recent entries.
 */
#include "internal.h"

#include "processor/decode/decode.h"

void lower_guess_begin(struct lowering *l)
{
    l->guess.known = 0;
    if (!lower_is_fixed(l))
        return;
    l->guess.known = 0xffff;
    memcpy(l->guess.value, l->p->gpr, sizeof(l->guess.value));
}

/* Register R, which may be REG_NONE or REG_CODE. */
static bool value_of(const struct lowering *l, unsigned r, uint64_t *value)
{
    *value = r == REG_CODE ? l->b->linear : 0;
    if (r >= ARRAY_SIZE(l->guess.value))
        return r == REG_NONE || r == REG_CODE;
    *value = l->guess.value[r];
    return l->guess.known >> r & 1;
}

/* The effective address of I. */
static bool effective(const struct lowering *l, const struct insn *i, uint64_t *address)
{
    uint64_t base, index;
    if (i->addrsize != 8 || !value_of(l, i->base, &base) || !value_of(l, i->index, &index))
        return false;
    *address = base + (index << i->scale) + (uint64_t)i->disp;
    return true;
}

bool lower_guess_address(const struct lowering *l, const struct insn *i, uint64_t *linear)
{
    if (!lower_is_fixed(l) || !effective(l, i, linear))
        return false;
    if (i->seg == SEG_FS || i->seg == SEG_GS)
        *linear += l->p->flat_base[i->seg];
    return true;
}

/* What 8 bytes at LINEAR hold, if the TLB knows where that is. */
static bool peek(const struct lowering *l, uint64_t linear, uint64_t *value)
{
    const struct tlb *t = l->p->tlb;
    const struct tlb_range *r = &t->widest[0][tlb_part(linear)];
    const struct tlb_entry *e = tlb_entry(l->p, linear);
    uint64_t host;
    if (linear - r->start <= r->limit)
        host = r->host + (linear - r->start);
    else if ((linear ^ e->read) <= PAGE_BYTES - 8)
        host = e->host + (linear ^ e->read);
    else
        return false;
    *value = host_load64((const uint8_t *)host);
    return true;
}

/* What I, a MOV or LEA, puts into its first operand. */
static bool result_of(const struct lowering *l, const struct insn *i, uint64_t *value)
{
    const struct operand *from = &i->attr->operand[1];
    if (i->attr->op == OP_LEA)
        return effective(l, i, value);
    if (i->attr->op != OP_MOV)
        return false;
    if (from->kind == OPERAND_IMM) {
        *value = i->imm;
        return true;
    }
    if (from->kind == OPERAND_REG || (from->kind == OPERAND_RM && i->mod3))
        return value_of(l, from->kind == OPERAND_REG ? i->reg : i->rm, value);
    uint64_t address;
    return from->kind == OPERAND_RM && lower_guess_address(l, i, &address) &&
           peek(l, address, value);
}

void lower_guess_after(struct lowering *l, const struct insn *i)
{
    struct guess *g = &l->guess;
    if (!g->known)
        return;
    uint32_t written = lower_registers(i, true);
    uint64_t value;
    if (written && !(written & (written - 1)) && i->opsize >= 4 && result_of(l, i, &value)) {
        g->value[__builtin_ctz(written)] = i->opsize == 8 ? value : (uint32_t)value;
        g->known |= written;
    } else {
        g->known &= ~written;
    }
}
