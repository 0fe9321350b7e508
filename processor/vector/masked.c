/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory accesses by element under a mask: MASKMOVQ and MASKMOVDQU, VMASKMOVPS/PD and
 * VPMASKMOVD/Q, and the gathers.  Natively they would fault on host addresses, or not fault where
 * the guest's page tables say so.
 */
#include "vector.h"

/* Writes those of COUNT elements of SIZE bytes whose mask is set; nothing before all are checked.
 */
static void store_masked(struct processor *p, uint64_t linear, const uint8_t *data, unsigned size,
                         unsigned count, const bool *mask)
{
    for (unsigned n = 0; n < count; n++)
        if (mask[n])
            mem_probe(p, linear + n * size, size, MEM_WRITE);
    for (unsigned n = 0; n < count; n++)
        if (mask[n])
            mem_write_bytes(p, linear + n * size, data + n * size, size);
}

/* ModRM.reg masked by ModRM.rm, to [rDI]. */
HANDLER(vector_maskmov)
{
    bool mmx = insn_uses_mmx(i->attr), mask[16];
    unsigned count = mmx ? 8 : 16;
    const uint8_t *data, *select;

    if (mmx) {
        if (p->cr0 & (CR0_EM | CR0_TS) || x87_pending(p))
            mmx_unavailable(p);
        /* The image holds registers by their place on the stack; MMX numbers are physical. */
        unsigned top = get16(p->vector.fxsave + FX_FSW) >> FSW_TOP_SHIFT;
        data = p->vector.fxsave + FX_ST + ((i->reg - top) & 7) * 16;
        select = p->vector.fxsave + FX_ST + ((i->rm - top) & 7) * 16;
    } else {
        need_vector(p, i);
        data = p->vector.ymm[i->reg].b;
        select = p->vector.ymm[i->rm].b;
    }
    for (unsigned n = 0; n < count; n++)
        mask[n] = select[n] & 0x80;
    uint64_t offset = p->gpr[REG_RDI];
    if (i->addrsize != 8)
        offset = i->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset;
    uint64_t linear = segment_linear(p, i->seg, offset, count, MEM_WRITE);
    store_masked(p, linear, data, 1, count, mask);
    if (mmx) { /* as every MMX instruction */
        x87_set_top(p->vector.fxsave, 0);
        put16(p->vector.fxsave + FX_FTW, 0xff);
    }
    return i + 1;
}

static bool mask_bit(const uint8_t *mask, unsigned size, unsigned n)
{
    return mask[n * size + size - 1] & 0x80;
}

/* VEX.vvvv is the mask; elements of 4 bytes, or 8 for the PD and (by VEX.W) Q forms. */
HANDLER(vector_vmaskmov)
{
    need_avx(p);
    bool integer = i->opcode >= 0x8c; /* VPMASKMOV 8C, 8E; VMASKMOVPS, PD 2C-2F */
    bool store = integer ? i->opcode == 0x8e : i->opcode >= 0x2e;
    unsigned size = (integer ? insn_vex_w(i) : i->opcode & 1) ? 8 : 4;
    unsigned width = insn_vex_l(i) ? 32 : 16, count = width / size;
    const uint8_t *select = p->vector.ymm[insn_vvvv(i)].b;
    uint8_t *reg = p->vector.ymm[i->reg].b;
    bool mask[8];

    uint64_t linear = insn_linear(p, i, width, store ? MEM_WRITE : MEM_READ);
    for (unsigned n = 0; n < count; n++)
        mask[n] = mask_bit(select, size, n);
    if (store) {
        store_masked(p, linear, reg, size, count, mask);
        return i + 1;
    }
    uint8_t result[32] = {0};
    for (unsigned n = 0; n < count; n++)
        if (mask[n])
            mem_read_bytes(p, linear + n * size, result + n * size, size);
    memcpy(reg, result, sizeof(result));
    return i + 1;
}

/* VPGATHERDD/DQ (90), QD/QQ (91), VGATHERDPS/DPD (92), QPS/QPD (93).  Each element gathered is
 * complete by itself: its mask is cleared, so that a fault or an access that leaves the processor
 * goes on behind it. */
HANDLER(vector_gather)
{
    need_avx(p);
    unsigned data_size = insn_vex_w(i) ? 8 : 4, index_size = i->opcode & 1 ? 8 : 4;
    unsigned width = insn_vex_l(i) ? 32 : 16;
    unsigned count = width / (data_size > index_size ? data_size : index_size);
    unsigned vvvv = insn_vvvv(i);
    uint8_t *to = p->vector.ymm[i->reg].b, *mask = p->vector.ymm[vvvv].b;
    const uint8_t *index = p->vector.ymm[i->index].b;

    if (i->reg == vvvv || i->reg == i->index || vvvv == i->index)
        raise_ud(p);
    for (unsigned n = 0; n < count; n++) {
        uint8_t *element_mask = mask + n * data_size;
        if (mask_bit(mask, data_size, n)) {
            int64_t offset =
                index_size == 8 ? (int64_t)get64(index + n * 8) : (int32_t)get32(index + n * 4);
            uint64_t ea = p->gpr[i->base] + ((uint64_t)offset << i->scale) + (uint64_t)i->disp;
            if (i->addrsize != 8)
                ea = (uint32_t)ea;
            uint64_t linear = segment_linear(p, i->seg, ea, data_size, MEM_READ);
            uint64_t value = mem_read(p, linear, data_size);
            memcpy(to + n * data_size, &value, data_size);
        }
        memset(element_mask, 0, data_size);
        if (p->replay.recorded)
            replay_commit(p);
    }
    /* What lies above the elements is cleared in both. */
    memset(to + count * data_size, 0, 32 - count * data_size);
    memset(mask, 0, 32);
    return i + 1;
}
