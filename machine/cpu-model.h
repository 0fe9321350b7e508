/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU models: what CPUID tells the guest.
 *
 * A model is an exact list of features, the same on every host and engine, so that snapshots move:
 * trapeze-v1 (x86-64-v3 with AES and PCLMULQDQ), trapeze-v0 (x86-64-v2).  `host` is whatever the
 * engine offers.  Text: MODEL[,+FEATURE|,-FEATURE]...[,vendor=NAME][,phys-bits=N].
 */
#ifndef TRAPEZE_CPU_MODEL_H
#define TRAPEZE_CPU_MODEL_H

#include "machine.h"

struct cpu_model;

/* Parses TEXT; NULL means the best model that the engine offers whole (trapeze-v1 before
 * trapeze-v0), decided by cpu_model_resolve; on the software engine with bits that spare guests useless
 * mitigations.  Returns NULL with ERROR set, which names an unknown
 * model or feature and lists near matches. */
struct cpu_model *cpu_model_new(const char *text, GError **error);
void cpu_model_free(struct cpu_model *c);

/* Makes the CPUID leaves, from the list and what M's engine supports.  A feature of the model that
 * the engine lacks is left out with a warning; one asked for with + is an error. */
bool cpu_model_resolve(struct cpu_model *c, struct machine *m, GError **error);

/* The same from a given list of supported leaves and number of vCPUs, for tests.  *missing gets the
 * names of features left out, or NULL. */
bool cpu_model_resolve_from(struct cpu_model *c, const struct kvm_cpuid2 *supported, unsigned cpus,
                            char **missing, GError **error);

/* Sets the CPUID of vCPU INDEX. */
bool cpu_model_apply(const struct cpu_model *c, struct machine *m, struct engine_file *vcpu,
                     unsigned index, GError **error);
/* The leaves of vCPU INDEX; g_free. */
struct kvm_cpuid2 *cpu_model_cpuid(const struct cpu_model *c, unsigned index);

/* "trapeze-v1", and the whole text with the extras, for snapshots and --verbose. */
const char *cpu_model_name(const struct cpu_model *c);
/* Names of all models, or all features, separated by spaces; g_free. */
char *cpu_model_list(void);
char *cpu_feature_list(void);

#endif
