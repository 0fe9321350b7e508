/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of CPUID's feature bits. */
#ifndef TRAPEZE_CPU_FEATURES_H
#define TRAPEZE_CPU_FEATURES_H

#include "common/base/base.h"

#include <glib.h>

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

struct cpu_feature {
    const char *name;
    uint32_t leaf, subleaf;
    uint8_t reg; /* enum cpuid_register */
    uint8_t bit;
};

extern const struct cpu_feature cpu_features[];
extern const unsigned cpu_feature_count;

/* Index of the feature with this NAME (case and -_. do not matter; other common spellings count),
 * or -1. */
int cpu_feature_find(const char *name);
/* Up to five names that look like NAME, separated by ", "; NULL when none does; g_free. */
char *cpu_feature_near(const char *name);
/* The features that FEATURE cannot be without: the Nth, or -1 after the last. */
int cpu_feature_needs(int feature, unsigned n);

#endif
