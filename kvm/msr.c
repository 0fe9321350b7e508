/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MSRs by number: those that are kept and nothing more are rows of a table; the rest have code of
 * their own.
 */
#include "msr.h"
#include "guest-cpuid.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <string.h>

/* An MSR kept in struct vcpu_msrs. */
struct kept_msr {
    uint32_t index;
    uint16_t offset;       /* in struct vcpu_msrs */
    uint64_t guest_bits;   /* bits the guest may set; writing others is #GP */
    uint64_t ignored_bits; /* bits the guest's writes lose silently */
};
#define KEPT(index, field, guest_bits, ignored_bits)                                               \
    {                                                                                              \
        index, offsetof(struct vcpu_msrs, field), guest_bits, ignored_bits                         \
    }
#define ALL_BITS ~0ull

static const struct kept_msr kept_msrs[] = {
    KEPT(MSR_IA32_UCODE_REV, microcode, 0, ALL_BITS),
    KEPT(MSR_IA32_MISC_ENABLE, misc_enable, ALL_BITS, 0),
    KEPT(0x1fc, power_ctl, ALL_BITS, 0), /* POWER_CTL */
    KEPT(0x34, smi_count, 0, 0),         /* SMI_COUNT */
    /* McStatusWrEn and TscFreqSel stay; disabling of caches and flush filters is lost. */
    KEPT(MSR_K7_HWCR, hwcr, BIT(18) | BIT(24), BIT(3) | BIT(6) | BIT(8)),
    KEPT(MSR_AMD64_DE_CFG, de_cfg, BIT(1), 0), /* LFENCE serializes */
    KEPT(MSR_KVM_POLL_CONTROL, poll_control, 1, 0),
};

/* Read as 0; writes are lost.  Firmware and kernels touch them without asking CPUID. */
static const uint32_t empty_msrs[] = {
    0x17,       0x2a,       0x79,       0x199,      0x1d9,      0x1db,      0x1dc,      0x1dd,
    0x1de,      0xc0010010, 0xc001001a, 0xc001001d, 0xc001001f, 0xc0010055, 0xc0010058, 0xc0010112,
    0xc0010113, 0xc0010114, 0xc0010117, 0xc0011022, 0xc0011023, 0xc001102a, 0xc001102c,
};

/* What KVM_GET_MSR_INDEX_LIST says: state that user space must save. */
static const uint32_t index_list[] = {
    0x174,
    0x175,
    0x176,
    0xc0000081,
    0xc0000083,
    0xc0000102,
    0xc0000084,
    0xc0000082,
    MSR_IA32_TSC,
    0x277,
    0xc0000103,
    0x1d9,
    MSR_KVM_SYSTEM_TIME,
    MSR_KVM_WALL_CLOCK,
    MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_WALL_CLOCK_NEW,
    MSR_KVM_POLL_CONTROL,
    MSR_KVM_ASYNC_PF_EN,
    MSR_KVM_ASYNC_PF_INT,
    MSR_KVM_ASYNC_PF_ACK,
    MSR_KVM_STEAL_TIME,
    MSR_KVM_PV_EOI_EN,
    MSR_IA32_TSC_ADJUST,
    MSR_IA32_TSC_DEADLINE,
    MSR_IA32_ARCH_CAPABILITIES,
    MSR_IA32_MISC_ENABLE,
    0x17a,
    0x17b,
    0x34,
    MSR_PLATFORM_INFO,
    MSR_MISC_FEATURES_ENABLES,
    0x1fc,
    MSR_IA32_UCODE_REV,
    MSR_K7_HWCR,
};

/* MSRs that describe what can be offered, with the value to offer. */
static const struct {
    uint32_t index;
    uint64_t value;
} features[] = {
    {MSR_IA32_UCODE_REV, 0x100000000ull},
    {MSR_IA32_ARCH_CAPABILITIES, ARCH_CAPABILITIES_OFFERED},
    {MSR_PLATFORM_INFO, PLATFORM_INFO_CPUID_FAULT},
    {MSR_AMD64_DE_CFG, BIT(1)},
};

void msr_reset(struct vcpu *v)
{
    v->msr.misc_enable = 1; /* fast strings */
    v->msr.microcode = 0x100000000ull;
    v->msr.platform_info = PLATFORM_INFO_CPUID_FAULT;
    v->msr.arch_capabilities = ARCH_CAPABILITIES_OFFERED;
    v->msr.poll_control = 1;
    v->msr.de_cfg = BIT(1);
    v->msr.apic_base = 0xfee00000 | BIT(11) | (vcpu_is_bsp(v) ? BIT(8) : 0);
    v->msr.mcg_cap = MCE_BANKS;
}

static const struct kept_msr *find_kept(uint32_t index)
{
    for (size_t i = 0; i < ARRAY_SIZE(kept_msrs); i++)
        if (kept_msrs[i].index == index)
            return &kept_msrs[i];
    return NULL;
}

static bool is_empty(const struct vcpu *v, uint32_t index)
{
    /* AMD's four first performance counters and their selectors have no CPUID bit: they count
     * nothing. */
    if (index >= MSR_K7_EVNTSEL0 && index <= MSR_K7_PERFCTR3)
        return v->processor->amd;
    for (size_t i = 0; i < ARRAY_SIZE(empty_msrs); i++)
        if (empty_msrs[i] == index)
            return true;
    return false;
}

/* ---------------------------------------------------------------- memory types */

/* Storage of an MTRR (SDM volume 3, 12.11), or NULL. */
static uint64_t *mtrr_at(struct vcpu *v, uint32_t index)
{
    static const uint16_t fixed[MTRR_FIXED] = {
        0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
    };
    if (index == MSR_MTRR_DEF_TYPE)
        return &v->msr.mtrr_def_type;
    if (index - MSR_MTRR_VARIABLE_BASE < 2 * MTRR_VARIABLE)
        return &v->msr.mtrr_variable[index - MSR_MTRR_VARIABLE_BASE];
    for (size_t i = 0; i < MTRR_FIXED; i++)
        if (fixed[i] == index)
            return &v->msr.mtrr_fixed[i];
    return NULL;
}

static bool memory_type_valid(unsigned type)
{
    return type < 8 && (0x73 >> type & 1); /* UC, WC, WT, WP, WB */
}

static bool mtrr_value_valid(const struct vcpu *v, uint32_t index, uint64_t value)
{
    if (index == MSR_MTRR_DEF_TYPE)
        return !(value & ~0xcffull) && memory_type_valid(value & 0xff);
    if (index >= 0x250) {
        for (int i = 0; i < 8; i++)
            if (!memory_type_valid(value >> (8 * i) & 0xff))
                return false;
        return true;
    }
    uint64_t beyond = ~0ull << v->processor->phys_bits;
    if (index & 1) /* mask: only bit 11 below the address */
        return !(value & (beyond | 0x7ff));
    return !(value & (beyond | 0xf00)) && memory_type_valid(value & 0xff);
}

static int mtrr_set(struct vcpu *v, uint64_t *at, uint32_t index, uint64_t value)
{
    if (!mtrr_value_valid(v, index, value))
        return -EINVAL;
    *at = value;
    return 0;
}

/* ---------------------------------------------------------------- the local APIC's */

static bool is_lapic_msr(uint32_t index)
{
    return index == MSR_IA32_APIC_BASE || index == MSR_IA32_TSC_DEADLINE ||
           (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

static int lapic_msr_get(struct vcpu *v, uint32_t index, uint64_t *value, bool host)
{
    if (v->lapic) {
        int r = lapic_get_msr(v->lapic, index, value, host);
        return r == -ENOENT ? -EINVAL : r;
    }
    if (index == MSR_IA32_APIC_BASE) {
        *value = v->msr.apic_base;
        return 0;
    }
    if (index == MSR_IA32_TSC_DEADLINE) {
        *value = v->msr.tsc_deadline;
        return 0;
    }
    return -EINVAL;
}

static int lapic_msr_set(struct vcpu *v, uint32_t index, uint64_t value, bool host)
{
    if (v->lapic) {
        int r = lapic_set_msr(v->lapic, index, value, host);
        v->processor->cr8 = lapic_get_cr8(v->lapic);
        return r == -ENOENT ? -EINVAL : r;
    }
    if (index == MSR_IA32_APIC_BASE) {
        /* x2APIC mode needs a LAPIC in here. */
        if (value & (0x2ffull | BIT(10) | ~0ull << v->processor->phys_bits))
            return -EINVAL;
        v->msr.apic_base = value;
        return 0;
    }
    if (index == MSR_IA32_TSC_DEADLINE && host) {
        v->msr.tsc_deadline = value;
        return 0;
    }
    return -EINVAL;
}

/* ---------------------------------------------------------------- all of them */

int msr_get(struct vcpu *v, uint32_t index, uint64_t *value, bool host)
{
    if (!host && !pv_allows_msr(v, index))
        return -EINVAL;
    const struct kept_msr *kept = find_kept(index);
    if (kept) {
        *value = *(uint64_t *)((uint8_t *)&v->msr + kept->offset);
        return 0;
    }
    if (is_lapic_msr(index))
        return lapic_msr_get(v, index, value, host);
    switch (index) {
    case MSR_IA32_TSC:
        *value = vcpu_tsc(v);
        return 0;
    case MSR_IA32_TSC_ADJUST:
        if (!host && !cpuid_has(v, &cpuid_tsc_adjust))
            return -EINVAL;
        *value = v->tsc_adjust;
        return 0;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_NEW:
        *value = v->msr.wall_clock;
        return 0;
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_NEW:
        *value = v->msr.system_time;
        return 0;
    case MSR_KVM_STEAL_TIME:
        *value = v->msr.steal_time;
        return 0;
    case MSR_KVM_PV_EOI_EN:
        *value = v->msr.pv_eoi;
        return 0;
    case MSR_KVM_ASYNC_PF_EN:
        *value = v->msr.async_pf;
        return 0;
    case MSR_KVM_ASYNC_PF_INT:
        *value = v->msr.async_pf_int;
        return 0;
    case MSR_KVM_ASYNC_PF_ACK:
        *value = 0;
        return 0;
    case MSR_PLATFORM_INFO:
        if (!host && v->vm->platform_info_hidden)
            return -EINVAL;
        *value = v->msr.platform_info;
        return 0;
    case MSR_IA32_ARCH_CAPABILITIES:
        if (!host && !cpuid_has(v, &cpuid_arch_capabilities))
            return -EINVAL;
        *value = v->msr.arch_capabilities;
        return 0;
    case MSR_MISC_FEATURES_ENABLES:
        *value = v->msr.misc_features;
        return 0;
    case MSR_MTRRCAP:
        *value = 0x500 | MTRR_VARIABLE; /* write-combining, fixed ranges */
        return 0;
    case 0x198: /* PERF_STATUS: some multiplier; drivers divide by it */
        *value = 1000 | 4ull << 40;
        return 0;
    }
    const uint64_t *mtrr = mtrr_at(v, index);
    if (mtrr) {
        *value = *mtrr;
        return 0;
    }
    int r = mce_get_msr(v, index, value, host);
    if (r == -ENOENT)
        r = processor_get_msr(v->processor, index, value);
    if (r == -ENOENT && is_empty(v, index)) {
        *value = 0;
        r = 0;
    }
    return r;
}

static int kept_set(struct vcpu *v, const struct kept_msr *kept, uint64_t value, bool host)
{
    if (!host) {
        value &= ~kept->ignored_bits;
        if (value & ~kept->guest_bits)
            return -EINVAL;
        if (!kept->guest_bits)
            return kept->ignored_bits ? 0 : -EINVAL;
    } else if (kept->index == MSR_K7_HWCR) {
        value &= ~kept->ignored_bits;
        if (value & ~kept->guest_bits)
            return -EINVAL;
    }
    *(uint64_t *)((uint8_t *)&v->msr + kept->offset) = value;
    return 0;
}

static int misc_features_set(struct vcpu *v, uint64_t value)
{
    if (value & ~MISC_FEATURES_CPUID_FAULT)
        return -EINVAL;
    if (value && !(v->msr.platform_info & PLATFORM_INFO_CPUID_FAULT))
        return -EINVAL;
    v->msr.misc_features = value;
    return 0;
}

int msr_set(struct vcpu *v, uint32_t index, uint64_t value, bool host)
{
    if (!host && !pv_allows_msr(v, index))
        return -EINVAL;
    const struct kept_msr *kept = find_kept(index);
    if (kept)
        return kept_set(v, kept, value, host);
    if (is_lapic_msr(index))
        return lapic_msr_set(v, index, value, host);
    switch (index) {
    case MSR_IA32_TSC:
        tsc_write(v, value, host);
        return 0;
    case MSR_IA32_TSC_ADJUST:
        if (!host && !cpuid_has(v, &cpuid_tsc_adjust))
            return -EINVAL;
        tsc_write_adjust(v, value, host);
        return 0;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_NEW:
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_NEW:
        return kvmclock_write_msr(v, index, value);
    case MSR_KVM_STEAL_TIME:
        return steal_time_write_msr(v, value);
    case MSR_KVM_PV_EOI_EN:
        return pv_eoi_write_msr(v, value);
    case MSR_KVM_ASYNC_PF_EN:
    case MSR_KVM_ASYNC_PF_INT:
    case MSR_KVM_ASYNC_PF_ACK:
        return async_pf_write_msr(v, index, value);
    case MSR_PLATFORM_INFO:
        if (!host || (!(value & PLATFORM_INFO_CPUID_FAULT) &&
                      v->msr.misc_features & MISC_FEATURES_CPUID_FAULT))
            return -EINVAL;
        v->msr.platform_info = value;
        return 0;
    case MSR_IA32_ARCH_CAPABILITIES:
        if (!host)
            return -EINVAL;
        v->msr.arch_capabilities = value;
        return 0;
    case MSR_MISC_FEATURES_ENABLES:
        return misc_features_set(v, value);
    case MSR_MTRRCAP:
    case 0x198:
        return -EINVAL;
    }
    uint64_t *mtrr = mtrr_at(v, index);
    if (mtrr)
        return mtrr_set(v, mtrr, index, value);
    int r = mce_set_msr(v, index, value, host);
    if (r == -ENOENT)
        r = processor_set_msr(v->processor, index, value);
    return r == -ENOENT && is_empty(v, index) ? 0 : r;
}

/* ---------------------------------------------------------------- lists for user space */

const uint32_t *msr_list_saved(size_t *count)
{
    *count = ARRAY_SIZE(index_list);
    return index_list;
}

size_t msr_list_features(uint32_t *indices)
{
    for (size_t i = 0; indices && i < ARRAY_SIZE(features); i++)
        indices[i] = features[i].index;
    return ARRAY_SIZE(features);
}

int msr_feature_get(uint32_t index, uint64_t *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(features); i++)
        if (features[i].index == index) {
            *value = features[i].value;
            return 0;
        }
    return -EINVAL;
}
