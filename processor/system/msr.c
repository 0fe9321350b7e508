/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The processor's own MSRs, RDMSR and WRMSR (SDM volume 4). */
#include "system.h"

#include <errno.h>

enum {
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_DEBUGCTL = 0x1d9,
    MSR_PAT = 0x277,
    MSR_XSS = 0xda0,
    MSR_EFER = 0xc0000080,
    MSR_STAR,
    MSR_LSTAR,
    MSR_CSTAR,
    MSR_SFMASK,
    MSR_FS_BASE = 0xc0000100,
    MSR_GS_BASE,
    MSR_KERNEL_GS_BASE,
    MSR_TSC_AUX,
};

#define DEBUGCTL_LBR 1u

/* Where MSR INDEX is kept, or NULL. */
static uint64_t *msr_slot(struct processor *p, uint32_t index)
{
    switch (index) {
    case MSR_SYSENTER_CS:
        return &p->msr.sysenter_cs;
    case MSR_SYSENTER_ESP:
        return &p->msr.sysenter_esp;
    case MSR_SYSENTER_EIP:
        return &p->msr.sysenter_eip;
    case MSR_DEBUGCTL:
        return &p->msr.debugctl;
    case MSR_PAT:
        return &p->msr.pat;
    case MSR_XSS:
        return &p->vector.xss;
    case MSR_EFER:
        return &p->msr.efer;
    case MSR_STAR:
        return &p->msr.star;
    case MSR_LSTAR:
        return &p->msr.lstar;
    case MSR_CSTAR:
        return &p->msr.cstar;
    case MSR_SFMASK:
        return &p->msr.sfmask;
    case MSR_FS_BASE:
        return &p->segment[SEG_FS].base;
    case MSR_GS_BASE:
        return &p->segment[SEG_GS].base;
    case MSR_KERNEL_GS_BASE:
        return &p->msr.kernel_gs_base;
    case MSR_TSC_AUX:
        return &p->msr.tsc_aux;
    default:
        return NULL;
    }
}

/* Memory types 0, 1, 4, 5, 6 and 7 exist. */
static bool pat_is_valid(uint64_t pat)
{
    for (unsigned n = 0; n < 64; n += 8) {
        unsigned type = pat >> n & 0xff;
        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    return true;
}

static bool msr_value_is_valid(const struct processor *p, uint32_t index, uint64_t value)
{
    switch (index) {
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE:
        return base_is_canonical(p, value);
    case MSR_TSC_AUX:
        return value >> 32 == 0;
    case MSR_PAT:
        return pat_is_valid(value);
    case MSR_DEBUGCTL:
        return !(value & ~(uint64_t)(DEBUGCTL_LBR | DEBUGCTL_BTF));
    case MSR_XSS:
        return value == 0; /* no supervisor state component is offered */
    default:
        return true;
    }
}

int processor_get_msr(struct processor *p, uint32_t index, uint64_t *value)
{
    const uint64_t *slot = msr_slot(p, index);
    if (!slot)
        return -ENOENT;
    *value = *slot;
    return 0;
}

int processor_set_msr(struct processor *p, uint32_t index, uint64_t value)
{
    uint64_t *slot = msr_slot(p, index);
    if (!slot)
        return -ENOENT;
    if (!msr_value_is_valid(p, index, value))
        return -EINVAL;
    if (index == MSR_EFER)
        return load_efer(p, value);
    *slot = value;
    if (index == MSR_FS_BASE)
        p->flat_base[SEG_FS] = value;
    else if (index == MSR_GS_BASE)
        p->flat_base[SEG_GS] = value;
    return 0;
}

/* Whether the MSR bitmap at DIRECTION (0 reads, 2048 writes) lets the access through (SDM volume 3,
 * 25.6.9). */
static bool msr_access_exits(const struct processor *p, uint32_t index, unsigned direction)
{
    const uint8_t *bitmap = p->vmcs.msr_bitmap;
    if (!bitmap)
        return true;
    bitmap += direction;
    if (index - 0xc0000000u < 0x2000) {
        bitmap += 1024;
        index -= 0xc0000000u;
    } else if (index >= 0x2000) {
        return true;
    }
    return bitmap[index >> 3] >> (index & 7) & 1;
}

const struct insn *system_rdmsr(struct processor *p, const struct insn *i)
{
    require_cpl0(p);
    uint32_t index = (uint32_t)p->gpr[REG_RCX];
    uint64_t value;
    if (msr_access_exits(p, index, 0))
        vm_exit(p, EXIT_REASON_RDMSR, 0);
    if (processor_get_msr(p, index, &value))
        raise_gp(p);
    p->gpr[REG_RAX] = (uint32_t)value;
    p->gpr[REG_RDX] = value >> 32;
    return i + 1;
}

const struct insn *system_wrmsr(struct processor *p, const struct insn *i)
{
    require_cpl0(p);
    uint32_t index = (uint32_t)p->gpr[REG_RCX];
    uint64_t value = p->gpr[REG_RDX] << 32 | (uint32_t)p->gpr[REG_RAX];
    if (msr_access_exits(p, index, 2048))
        vm_exit(p, EXIT_REASON_WRMSR, 0);
    if (processor_set_msr(p, index, value))
        raise_gp(p);
    return index == MSR_EFER ? insn_resync(p, i) : i + 1;
}
