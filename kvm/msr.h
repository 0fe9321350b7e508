/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Model-specific registers that the processor leaves to KVM, their lists, and the filter by which
 * user space takes some over.
 */
#ifndef TRAPEZE_KVM_MSR_H
#define TRAPEZE_KVM_MSR_H

#include "vcpu.h"

#define MSR_IA32_TSC               0x10
#define MSR_IA32_APIC_BASE         0x1b
#define MSR_IA32_TSC_ADJUST        0x3b
#define MSR_IA32_UCODE_REV         0x8b
#define MSR_PLATFORM_INFO          0xce
#define MSR_MTRRCAP                0xfe
#define MSR_IA32_ARCH_CAPABILITIES 0x10a
#define MSR_MISC_FEATURES_ENABLES  0x140
#define MSR_IA32_MCG_CAP           0x179
#define MSR_IA32_MCG_CTL           0x17b
#define MSR_IA32_MISC_ENABLE       0x1a0
#define MSR_MTRR_VARIABLE_BASE     0x200
#define MSR_MTRR_DEF_TYPE          0x2ff
#define MSR_IA32_MC0_CTL2          0x280
#define MSR_IA32_MC0_CTL           0x400
#define MSR_IA32_TSC_DEADLINE      0x6e0
#define MSR_X2APIC_FIRST           0x800
#define MSR_X2APIC_LAST            0x8ff
#define MSR_K7_EVNTSEL0            0xc0010000
#define MSR_K7_PERFCTR3            0xc0010007
#define MSR_K7_HWCR                0xc0010015
#define MSR_AMD64_DE_CFG           0xc0011029

#define PLATFORM_INFO_CPUID_FAULT BIT(31)
#define MISC_FEATURES_CPUID_FAULT BIT(0)
/* RDCL_NO, SKIP_L1DFL_VMENTRY and PSCHANGE_MC_NO hold in a software engine whatever the host is:
 * the guest's page tables are never walked by hardware.  BHI_NO, PBRSB_NO and ITS_NO spare guests
 * what they would do to their branches, none of which is the host's own (docs/security.md). */
#define ARCH_CAPABILITIES_OFFERED (BIT(0) | BIT(3) | BIT(6) | BIT(20) | BIT(24) | BIT(62))

/* Reads or writes MSR INDEX of V as user space (HOST) or as the guest does.  Return 0; -EINVAL for
 * a value or access that is #GP; -ENOENT for an MSR that does not exist. */
int msr_get(struct vcpu *v, uint32_t index, uint64_t *value, bool host);
int msr_set(struct vcpu *v, uint32_t index, uint64_t value, bool host);
/* Power-up values. */
void msr_reset(struct vcpu *v);

/* The tables behind the lists: MSRs that user space saves; those that describe features (INDICES,
 * if not NULL, has room for 16), and their values, or -EINVAL. */
const uint32_t *msr_list_saved(size_t *count);
size_t msr_list_features(uint32_t *indices);
int msr_feature_get(uint32_t index, uint64_t *value);

/* KVM_GET_MSR_INDEX_LIST and KVM_GET_MSR_FEATURE_INDEX_LIST into the program's memory. */
long msr_index_list(unsigned long argument);
long msr_feature_list(unsigned long argument);
/* KVM_GET_MSRS and KVM_SET_MSRS of a vCPU, and KVM_GET_MSRS of the system: the number of entries
 * done, or -errno. */
long msr_get_many(struct vcpu *v, unsigned long argument);
long msr_set_many(struct vcpu *v, unsigned long argument);
long msr_get_features(unsigned long argument);

/* RDMSR and WRMSR exits: as vcpu_handle_exit. */
int msr_read_exit(struct vcpu *v);
int msr_write_exit(struct vcpu *v);

/* KVM_X86_SET_MSR_FILTER. */
long msr_filter_set(struct vm *vm, const struct kvm_msr_filter *filter);
void msr_filter_free(struct msr_filter *f);
/* True when the guest may read (or write) MSR INDEX. */
bool msr_filter_allows(struct vm *vm, uint32_t index, bool write);

#endif
