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
    reg_write(p, REG_RAX, port_read(p, port, size, false, 0), size);
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

/* Whether an element can be stored at LINEAR without being noticed by anybody but RAM. */
static bool ins_is_plain(struct processor *p, uint64_t linear, unsigned size)
{
    uint64_t room = size;
    return mem_host(p, linear, MEM_WRITE, &room) && room == size;
}

/* Elements beside the first that may come with it: those that lie in the destination's page. */
static unsigned ins_more(struct processor *p, const struct insn *i, uint64_t linear, unsigned size)
{
    if (!is_repeated(i) || p->rflags & FLAG_DF || p->slow & ~(SLOW_WINDOW | SLOW_REPLAY) ||
        !ins_is_plain(p, linear, size))
        return 0;
    uint64_t left = address_register(p, i, REG_RCX) - 1;
    uint64_t fit = (PAGE_BYTES - (linear & PAGE_OFFSET_MASK)) / size - 1;
    return (unsigned)(left < fit ? left : fit);
}

/* The destination is known to be writable before the port is read: reading has effects.  What the
 * caller brought beside the element it was asked for is taken, too; REPEAT counts the last. */
static inline void ins_one(struct processor *p, const struct insn *i, uint16_t port, unsigned size)
{
    uint64_t linear = destination_linear(p, i, size, MEM_WRITE);
    mem_probe(p, linear, size, MEM_WRITE);
    uint32_t value = port_read(p, port, size, true, ins_more(p, i, linear, size));
    mem_write(p, linear, value, size);
    advance(p, i, REG_RDI, size);
    while (is_repeated(i) && address_register(p, i, REG_RCX) > 1 &&
           port_read_more(p, size, &value)) {
        linear = destination_linear(p, i, size, MEM_WRITE);
        if (!ins_is_plain(p, linear, size))
            break; /* it moved in the meantime: the rest is lost, as on Linux */
        reg_write(p, REG_RCX, address_register(p, i, REG_RCX) - 1, i->addrsize);
        mem_write(p, linear, value, size);
        advance(p, i, REG_RDI, size);
    }
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
