/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPUID leaves as a growing list, and the leaves that are numbers rather than feature bits. */
#ifndef TRAPEZE_CPU_LEAVES_H
#define TRAPEZE_CPU_LEAVES_H

#include "cpu-features.h"

#include <linux/kvm.h>

#define CPU_LEAVES_MAX 128

/* What the leaves of a named model are made from. */
struct cpu_leaves_config {
    const char *vendor; /* 12 characters */
    const char *brand;  /* at most 47 */
    unsigned phys_bits;
    unsigned cpus;
    const bool *feature; /* indexed like cpu_features */
};

/* A new list with room for CPU_LEAVES_MAX entries; g_free. */
struct kvm_cpuid2 *cpu_leaves_new(void);
/* The entry of LEAF and SUBLEAF, made (zero) if it is not there; NULL when the list is full. */
struct kvm_cpuid_entry2 *cpu_leaves_entry(struct kvm_cpuid2 *list, uint32_t leaf, uint32_t subleaf);
/* Entry or NULL; SUBLEAF is ignored by leaves without. */
const struct kvm_cpuid_entry2 *cpu_leaves_find(const struct kvm_cpuid2 *list, uint32_t leaf,
                                               uint32_t subleaf);
void cpu_leaves_drop(struct kvm_cpuid2 *list, uint32_t leaf);
uint32_t *cpu_leaves_register(struct kvm_cpuid_entry2 *e, enum cpuid_register reg);

/* Makes a named model's leaves. */
struct kvm_cpuid2 *cpu_leaves_build(const struct cpu_leaves_config *c);
/* Sets the width of linear addresses, which follows from 5-level paging. */
void cpu_leaves_set_linear_bits(struct kvm_cpuid2 *list);
/* Writes what differs between vCPUs, and the topology: CPUS cores in one package, no threads. */
void cpu_leaves_set_topology(struct kvm_cpuid2 *list, unsigned cpus, unsigned index);

#endif
