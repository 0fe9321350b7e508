/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IN OUT INS OUTS.  Ports are at most 4 bytes wide, whatever REX.W says. */
#include "repeat.h"

static inline unsigned port_size(const struct insn *i)
{
    return i->opsize == 8 ? 4 : i->opsize;
}

/* Permission, then I/O breakpoints: before anything is accessed. */
static inline void check_port(struct processor *p, uint16_t port, unsigned size)
{
    io_check_permission(p, port, size);
    if (p->slow & SLOW_BREAKPOINT)
        debug_check_io(p, port, size);
}

/* E4-E7 name the port in an immediate, EC-EF in DX. */
static inline uint16_t port_of(const struct processor *p, const struct insn *i)
{
    return i->opcode & 8 ? (uint16_t)p->gpr[REG_RDX] : (uint8_t)i->imm;
}
HANDLER(in)
{
    unsigned size = port_size(i);
    uint16_t port = port_of(p, i);
    check_port(p, port, size);
    reg_write(p, REG_RAX, port_read(p, port, size, false), size);
    return next_insn(p, i);
}
HANDLER(out)
{
    unsigned size = port_size(i);
    uint16_t port = port_of(p, i);
    check_port(p, port, size);
    port_write(p, port, (uint32_t)reg_read(p, REG_RAX, size), size, false);
    return next_insn(p, i);
}

/* The destination is known to be writable before the port is read: reading has effects. */
static inline void ins_one(struct processor *p, const struct insn *i, uint16_t port, unsigned size)
{
    uint64_t linear = destination_linear(p, i, size, MEM_WRITE);
    mem_probe(p, linear, size, MEM_WRITE);
    mem_write(p, linear, port_read(p, port, size, true), size);
    advance(p, i, REG_RDI, size);
}
static inline void outs_one(struct processor *p, const struct insn *i, uint16_t port, unsigned size)
{
    uint64_t value = mem_read(p, source_linear(p, i, size), size);
    port_write(p, port, (uint32_t)value, size, true);
    advance(p, i, REG_RSI, size);
}
/* Permission is checked even if the count is 0. */
HANDLER(ins)
{
    unsigned size = port_size(i);
    uint16_t port = (uint16_t)p->gpr[REG_RDX];
    check_port(p, port, size);
    REPEAT(p, i, ins_one(p, i, port, size));
}
HANDLER(outs)
{
    unsigned size = port_size(i);
    uint16_t port = (uint16_t)p->gpr[REG_RDX];
    check_port(p, port, size);
    REPEAT(p, i, outs_one(p, i, port, size));
}

exec_fn *exec_bind_io(const struct insn *i, uint32_t mode)
{
    (void)mode;
    switch (i->attr->op) {
    case OP_IN:
        return in;
    case OP_OUT:
        return out;
    case OP_INS:
        return ins;
    default:
        return outs;
    }
}
