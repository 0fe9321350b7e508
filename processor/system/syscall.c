/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fast system calls, and the segment-base instructions that go with them (SDM volume 2; volume 3,
 * 5.8.7 and 5.8.8). */
#include "system.h"

/* Loads CS and SS with the flat segments of these instructions; the descriptors are not read. */
static void load_flat(struct processor *p, uint16_t code, uint16_t stack, unsigned cpl,
                      uint32_t code_rights)
{
    p->segment[SEG_CS] = (struct segment){
        .selector = code,
        .access_rights = code_rights | AR_WITH_DPL(cpl),
        .limit = 0xffffffff,
    };
    p->segment[SEG_SS] = (struct segment){
        .selector = stack,
        .access_rights = AR_FLAT_DATA | AR_WITH_DPL(cpl),
        .limit = 0xffffffff,
    };
}

/* SYSCALL outside long mode, which only AMD's processors have. */
static const struct insn *syscall_legacy(struct processor *p, const struct insn *i)
{
    uint16_t selector = p->msr.star >> 32 & 0xfffc;
    p->gpr[REG_RCX] = following_rip(p, i);
    p->rflags &= ~(FLAG_VM | FLAG_IF | FLAG_RF);
    load_flat(p, selector, selector + 8, 0, AR_FLAT_CODE32);
    processor_update_mode(p);
    p->rip = (uint32_t)p->msr.star;
    return NULL;
}

const struct insn *system_syscall(struct processor *p, const struct insn *i)
{
    bool from_64bit = in_64bit_code(p);
    if (unlikely(!(p->msr.efer & EFER_SCE) || (!from_64bit && !p->amd)))
        raise_ud(p);
    if (!(p->mode & MODE_LONG)) {
        require_protected(p);
        return syscall_legacy(p, i);
    }
    uint16_t selector = p->msr.star >> 32 & 0xfffc;
    p->gpr[REG_RCX] = following_rip(p, i);
    p->gpr[REG_R11] = processor_rflags(p) & ~FLAG_RF;
    processor_set_rflags(p, processor_rflags(p) & ~((uint32_t)p->msr.sfmask | FLAG_RF));
    load_flat(p, selector, selector + 8, 0, AR_FLAT_CODE64);
    if (likely(from_64bit)) {
        p->rip = p->msr.lstar;
        privilege_changed(p, 0);
    } else {
        p->rip = p->msr.cstar;
        processor_update_mode(p);
    }
    return NULL;
}

const struct insn *system_sysret(struct processor *p, const struct insn *i)
{
    bool from_64bit = in_64bit_code(p);
    if (unlikely(!(p->msr.efer & EFER_SCE) || (!from_64bit && !p->amd)))
        raise_ud(p);
    require_protected(p);
    require_cpl0(p);
    uint16_t base = (uint16_t)(p->msr.star >> 48);
    uint16_t stack = (uint16_t)(base + 8) | 3;
    if (likely(i->opsize == 8)) {
        uint64_t rip = p->gpr[REG_RCX];
        if (unlikely(!linear_is_canonical(p, rip)))
            raise_gp(p);
        p->rip = rip;
        load_flat(p, (uint16_t)(base + 16) | 3, stack, 3, AR_FLAT_CODE64);
    } else {
        p->rip = (uint32_t)p->gpr[REG_RCX];
        load_flat(p, base | 3, stack, 3, AR_FLAT_CODE32);
    }
    if (p->mode & MODE_LONG)
        processor_set_rflags(p, (uint32_t)p->gpr[REG_R11] & 0x3c7fd7);
    else
        p->rflags |= FLAG_IF;
    if (p->rflags & FLAG_TF) /* it traps already behind SYSRET, not first behind what follows */
        p->pending_debug |= DR6_BS;
    if (likely(i->opsize == 8))
        privilege_changed(p, 3);
    else
        processor_update_mode(p);
    return NULL;
}

const struct insn *system_sysenter(struct processor *p, const struct insn *i)
{
    (void)i;
    uint16_t selector = p->msr.sysenter_cs & 0xfffc;
    if (p->mode & MODE_REAL || selector == 0)
        raise_gp(p);
    bool lng = p->mode & MODE_LONG;
    p->rflags &= ~(FLAG_VM | FLAG_IF | FLAG_RF);
    load_flat(p, selector, selector + 8, 0, lng ? AR_FLAT_CODE64 : AR_FLAT_CODE32);
    p->gpr[REG_RSP] = lng ? p->msr.sysenter_esp : (uint32_t)p->msr.sysenter_esp;
    p->rip = lng ? p->msr.sysenter_eip : (uint32_t)p->msr.sysenter_eip;
    processor_update_mode(p);
    return NULL;
}

const struct insn *system_sysexit(struct processor *p, const struct insn *i)
{
    uint16_t base = p->msr.sysenter_cs & 0xfffc;
    if (p->mode & MODE_REAL || base == 0)
        raise_gp(p);
    require_cpl0(p);
    if (i->opsize == 8) {
        uint64_t rip = p->gpr[REG_RDX], rsp = p->gpr[REG_RCX];
        if (!linear_is_canonical(p, rip) || !linear_is_canonical(p, rsp))
            raise_gp(p);
        load_flat(p, (uint16_t)(base + 32) | 3, (uint16_t)(base + 40) | 3, 3, AR_FLAT_CODE64);
        p->gpr[REG_RSP] = rsp;
        p->rip = rip;
    } else {
        load_flat(p, (uint16_t)(base + 16) | 3, (uint16_t)(base + 24) | 3, 3, AR_FLAT_CODE32);
        p->gpr[REG_RSP] = (uint32_t)p->gpr[REG_RCX];
        p->rip = (uint32_t)p->gpr[REG_RDX];
    }
    processor_update_mode(p);
    return NULL;
}

const struct insn *system_swapgs(struct processor *p, const struct insn *i)
{
    require_cpl0(p);
    uint64_t base = p->segment[SEG_GS].base;
    p->segment[SEG_GS].base = p->msr.kernel_gs_base;
    p->flat_base[SEG_GS] = p->msr.kernel_gs_base;
    p->msr.kernel_gs_base = base;
    return i + 1;
}

static const struct insn *read_base(struct processor *p, const struct insn *i, unsigned seg)
{
    if (!(p->cr4 & CR4_FSGSBASE))
        raise_ud(p);
    reg_write(p, i->rm, p->segment[seg].base, i->opsize == 8 ? 8 : 4);
    return i + 1;
}

static const struct insn *write_base(struct processor *p, const struct insn *i, unsigned seg)
{
    if (!(p->cr4 & CR4_FSGSBASE))
        raise_ud(p);
    uint64_t base = reg_read(p, i->rm, i->opsize == 8 ? 8 : 4);
    if (!base_is_canonical(p, base))
        raise_gp(p);
    p->segment[seg].base = base;
    p->flat_base[seg] = base;
    return i + 1;
}

const struct insn *system_rdfsbase(struct processor *p, const struct insn *i)
{
    return read_base(p, i, SEG_FS);
}

const struct insn *system_rdgsbase(struct processor *p, const struct insn *i)
{
    return read_base(p, i, SEG_GS);
}

const struct insn *system_wrfsbase(struct processor *p, const struct insn *i)
{
    return write_base(p, i, SEG_FS);
}

const struct insn *system_wrgsbase(struct processor *p, const struct insn *i)
{
    return write_base(p, i, SEG_GS);
}
