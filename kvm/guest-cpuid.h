/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPUID: what our KVM supports, and what a vCPU answers. */
#ifndef TRAPEZE_KVM_CPUID_H
#define TRAPEZE_KVM_CPUID_H

#include "vcpu.h"

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* A feature bit: where CPUID shows it. */
struct cpuid_bit {
    uint32_t function, index;
    uint8_t reg; /* enum cpuid_register */
    uint8_t bit;
};
/* Those that KVM itself asks for. */
extern const struct cpuid_bit cpuid_x2apic, cpuid_tsc_deadline, cpuid_tsc_adjust,
    cpuid_arch_capabilities, cpuid_mwait, cpuid_mtrr;

/* Fills s->cpuid and s->phys_bits. */
void cpuid_init_supported(struct system *s);

/* KVM_GET_SUPPORTED_CPUID, KVM_GET_EMULATED_CPUID. */
long cpuid_get_supported(struct system *s, unsigned long argument);
long cpuid_get_emulated(unsigned long argument);
/* KVM_SET_CPUID2, KVM_SET_CPUID, KVM_GET_CPUID2. */
long cpuid_set2(struct vcpu *v, unsigned long argument);
long cpuid_set(struct vcpu *v, unsigned long argument);
long cpuid_get2(struct vcpu *v, unsigned long argument);

/* Whether V's guest is told of the feature. */
bool cpuid_has(const struct vcpu *v, const struct cpuid_bit *b);
bool cpuid_vendor_is_amd(const struct vcpu *v);
/* The KVM_FEATURE_* that V's guest is told of; 0 if its CPUID has no KVM signature. */
uint32_t cpuid_pv_features(const struct vcpu *v);
/* Tells processor and LAPIC what the guest's table allows (all that we have, while there is none).
 */
void cpuid_apply(struct vcpu *v);

/* The CPUID instruction of V's guest. */
int cpuid_exit(struct vcpu *v);

#endif
