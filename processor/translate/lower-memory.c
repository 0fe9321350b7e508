/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest registers, addresses, and the inline TLB check. */
#include "internal.h"

#include "processor/decode/decode.h"

int lower_register(unsigned r)
{
    static const int8_t map[16] = {
        HOST_RAX, HOST_RCX, HOST_RDX, HOST_RBX, HOST_R9,  HOST_R10, HOST_RSI, HOST_RDI,
        HOST_R8,  -1,       -1,       -1,       HOST_R12, HOST_R13, HOST_R14, HOST_R15,
    };
    return map[r & 15];
}

int32_t lower_home(unsigned r)
{
    return FRAME(FRAME_R9 + (int)r - REG_R9);
}

void lower_fetch(struct lowering *l, enum host_register to, unsigned r)
{
    int host = lower_register(r);
    if (host < 0)
        emit_load(&l->e, to, HOST_RSP, lower_home(r));
    else if ((int)to != host)
        emit_move(&l->e, to, (enum host_register)host);
}

/* The host register that holds guest register R, brought into SCRATCH if it has none. */
static enum host_register bring(struct lowering *l, unsigned r, enum host_register scratch)
{
    int host = lower_register(r);
    if (host >= 0)
        return (enum host_register)host;
    emit_load(&l->e, scratch, HOST_RSP, lower_home(r));
    return scratch;
}

bool lower_effective(struct lowering *l, enum host_register to)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    /* Sums are truncated to 32-bit addresses, so the displacement may be. */
    if (i->addrsize == 2 || (i->addrsize == 8 && i->disp != (int32_t)i->disp))
        return false;
    /* In 32-bit code CS cannot be written through. */
    if (lower_is_32(l) && i->seg == SEG_CS)
        return false;
    int32_t disp = (int32_t)i->disp;
    if (i->base == REG_CODE) {
        emit_load(e, to, HOST_RSP, FRAME(FRAME_CODE));
        emit_lea(e, to, to, disp);
    } else if (i->base == REG_NONE && i->index == REG_NONE) {
        emit_constant(e, to, (uint64_t)(int64_t)disp);
    } else if (i->index == REG_NONE) {
        enum host_register base = bring(l, i->base, T0);
        if (disp || to == base)
            emit_lea(e, to, base, disp);
        else
            emit_move(e, to, base);
    } else {
        unsigned base = i->base == REG_NONE ? NO_BASE : bring(l, i->base, T0);
        enum host_register index = bring(l, i->index, T1);
        emit_lea_index(e, to, base, index, i->scale, disp);
    }
    if (i->addrsize == 4)
        emit_truncate(e, to);
    return true;
}

/* FS and GS of 32-bit code: what is not a segment of 4 GiB, and an access across its end, is left
 * to the handler. */
static void check_segment(struct lowering *l)
{
    const struct insn *i = l->i;
    struct emitter *e = &l->e;
    unsigned size = insn_operand_size(i, (unsigned)insn_memory_operand(i));
    uint32_t site = lower_site(l);
    emit_op(e, &(struct host_op){.opcode = 0x81, /* cmp T0d, 2^32 - size; ja */
                                 .has_modrm = true,
                                 .reg = ALU_CMP,
                                 .rm = T0,
                                 .immediates = 4,
                                 .immediate = -(uint64_t)size});
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_A, NULL), site);
    emit_load(e, T1, HOST_RSP, FRAME(FRAME_P));
    emit_op(e,
            &(struct host_op){.opcode = 0x80, /* cmp byte [T1 + open], 0; je */
                              .has_modrm = true,
                              .reg = ALU_CMP,
                              .memory = true,
                              .rm = T1,
                              .disp = (int32_t)(offsetof(struct processor, open_segment) + i->seg),
                              .immediates = 1});
    lower_late(l, LATE_CALL, emit_jump_if(e, CC_Z, NULL), site);
}

void lower_add_base(struct lowering *l)
{
    const struct insn *i = l->i;
    if (lower_is_32(l) && (i->seg == SEG_FS || i->seg == SEG_GS))
        check_segment(l);
    if (i->seg == SEG_FS || i->seg == SEG_GS) {
        emit_load(&l->e, T1, HOST_RSP, FRAME(FRAME_P));
        emit_alu_load(&l->e, ALU_ADD, T0, T1,
                      (int32_t)(offsetof(struct processor, flat_base) + 8u * i->seg));
        if (lower_is_32(l))
            emit_truncate(&l->e, T0);
    }
}

bool lower_linear(struct lowering *l)
{
    if (!lower_effective(l, T0))
        return false;
    lower_add_base(l);
    return true;
}

void lower_check(struct lowering *l, unsigned size, bool write)
{
    _Static_assert(sizeof(struct tlb_entry) == 32 && TLB_ENTRIES == 256, "the index is made here");
    _Static_assert(offsetof(struct tlb, entry) == 0, "the table is the TLB");
    struct emitter *e = &l->e;
    int32_t tag = write ? offsetof(struct tlb_entry, write) : offsetof(struct tlb_entry, read);
    uint32_t site = lower_site(l);
    struct translate_site *s = &l->t->sites[site];
    emit_move(e, T1, T0);
    EMIT(e, 0x49, 0xc1, 0xeb, 7);                      /* shr T1, 7 */
    EMIT(e, 0x41, 0x81, 0xe3, 0xe0, 0x1f, 0x00, 0x00); /* and T1d, 255 << 5 */
    emit_alu_load(e, ALU_ADD, T1, HOST_RSP, FRAME(FRAME_TLB));
    emit_alu_load(e, ALU_XOR, T0, T1, tag);
    /* What is left is the page offset: one comparison finds a miss and a page crossed. */
    emit_alu_constant(e, ALU_CMP, T0, (int32_t)(PAGE_BYTES - size));
    lower_late(l, LATE_SLOW, emit_jump_if(e, CC_A, NULL), site);
    emit_alu_load(e, ALU_ADD, T0, T1, offsetof(struct tlb_entry, host));
    s->resume = translator_executable(l->t, e->at);
    s->size = (uint8_t)size;
    s->write = write;
}

/* ---------------------------------------------------------------- flags */

void lower_save_flags(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->flags == FLAGS_IN_EFLAGS) {
        emit_move(e, T1, HOST_RAX);
        EMIT(e, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
        emit_store(e, HOST_RSP, FRAME(FRAME_FLAGS), HOST_RAX);
        emit_move(e, HOST_RAX, T1);
    }
    l->flags = FLAGS_IN_FRAME;
}

void lower_use_flags(struct lowering *l)
{
    struct emitter *e = &l->e;
    if (l->flags != FLAGS_IN_FRAME)
        return;
    emit_store(e, HOST_RSP, FRAME(FRAME_SAVE), HOST_RAX);
    emit_load(e, HOST_RAX, HOST_RSP, FRAME(FRAME_FLAGS));
    EMIT(e, 0x04, 0x7f, 0x9e); /* add al, 127: OF if AL was 1; sahf */
    emit_load(e, HOST_RAX, HOST_RSP, FRAME(FRAME_SAVE));
    l->flags = FLAGS_IN_BOTH;
}
