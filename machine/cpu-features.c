/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of CPUID's feature bits (SDM volume 2, CPUID; APM volume 3, appendix E; KVM's leaf from
 * Linux's Documentation/virt/kvm/x86/cpuid.rst). */
#include "cpu-features.h"

#include <string.h>

#define NEAR_MAX 5

/* clang-format off */
const struct cpu_feature cpu_features[] = {
#define ROW(leaf, subleaf, reg, name, bit) {name, leaf, subleaf, CPUID_##reg, bit},
#define D1(name, bit)   ROW(1, 0, EDX, name, bit)
#define C1(name, bit)   ROW(1, 0, ECX, name, bit)
#define B7(name, bit)   ROW(7, 0, EBX, name, bit)
#define C7(name, bit)   ROW(7, 0, ECX, name, bit)
#define D7(name, bit)   ROW(7, 0, EDX, name, bit)
#define A71(name, bit)  ROW(7, 1, EAX, name, bit)
#define D81(name, bit)  ROW(0x80000001, 0, EDX, name, bit)
#define C81(name, bit)  ROW(0x80000001, 0, ECX, name, bit)
#define B88(name, bit)  ROW(0x80000008, 0, EBX, name, bit)
#define AD1(name, bit)  ROW(0xd, 1, EAX, name, bit)
#define AKVM(name, bit) ROW(0x40000001, 0, EAX, name, bit)
    D1("fpu", 0) D1("vme", 1) D1("de", 2) D1("pse", 3) D1("tsc", 4) D1("msr", 5) D1("pae", 6)
    D1("mce", 7) D1("cx8", 8) D1("apic", 9) D1("sep", 11) D1("mtrr", 12) D1("pge", 13)
    D1("mca", 14) D1("cmov", 15) D1("pat", 16) D1("pse36", 17) D1("clflush", 19) D1("mmx", 23)
    D1("fxsr", 24) D1("sse", 25) D1("sse2", 26) D1("ss", 27) D1("ht", 28)
    C1("sse3", 0) C1("pclmulqdq", 1) C1("monitor", 3) C1("vmx", 5) C1("ssse3", 9) C1("fma", 12)
    C1("cx16", 13) C1("pdcm", 15) C1("pcid", 17) C1("sse4_1", 19) C1("sse4_2", 20)
    C1("x2apic", 21) C1("movbe", 22) C1("popcnt", 23) C1("tsc-deadline", 24) C1("aes", 25)
    C1("xsave", 26) C1("avx", 28) C1("f16c", 29) C1("rdrand", 30) C1("hypervisor", 31)
    ROW(6, 0, EAX, "arat", 2)
    B7("fsgsbase", 0) B7("tsc_adjust", 1) B7("sgx", 2) B7("bmi1", 3) B7("hle", 4) B7("avx2", 5)
    B7("smep", 7) B7("bmi2", 8) B7("erms", 9) B7("invpcid", 10) B7("rtm", 11) B7("mpx", 14)
    B7("avx512f", 16) B7("avx512dq", 17) B7("rdseed", 18) B7("adx", 19) B7("smap", 20)
    B7("avx512ifma", 21) B7("clflushopt", 23) B7("clwb", 24) B7("avx512cd", 28) B7("sha", 29)
    B7("avx512bw", 30) B7("avx512vl", 31)
    C7("avx512vbmi", 1) C7("umip", 2) C7("pku", 3) C7("waitpkg", 5) C7("avx512vbmi2", 6)
    C7("gfni", 8) C7("vaes", 9) C7("vpclmulqdq", 10) C7("avx512vnni", 11) C7("avx512bitalg", 12)
    C7("avx512vpopcntdq", 14) C7("la57", 16) C7("rdpid", 22) C7("bus-lock-detect", 24)
    C7("cldemote", 25) C7("movdiri", 27) C7("movdir64b", 28)
    D7("fsrm", 4) D7("avx512vp2intersect", 8) D7("md-clear", 10) D7("serialize", 14)
    D7("amx-bf16", 22) D7("avx512fp16", 23) D7("amx-tile", 24) D7("amx-int8", 25)
    D7("spec-ctrl", 26) D7("stibp", 27) D7("flush-l1d", 28) D7("arch-capabilities", 29)
    D7("ssbd", 31)
    A71("avx-vnni", 4) A71("avx512bf16", 5) A71("fzrm", 10) A71("fsrs", 11) A71("fsrc", 12)
    AD1("xsaveopt", 0) AD1("xsavec", 1) AD1("xgetbv1", 2) AD1("xsaves", 3)
    D81("syscall", 11) D81("nx", 20) D81("mmxext", 22) D81("fxsr_opt", 25) D81("pdpe1gb", 26)
    D81("rdtscp", 27) D81("lm", 29)
    C81("lahf_lm", 0) C81("cmp_legacy", 1) C81("svm", 2) C81("cr8legacy", 4) C81("lzcnt", 5)
    C81("sse4a", 6) C81("misalignsse", 7) C81("prefetchw", 8) C81("osvw", 9) C81("xop", 11)
    C81("fma4", 16) C81("tbm", 21) C81("topoext", 22) C81("perfctr_core", 23)
    ROW(0x80000007, 0, EDX, "invtsc", 8)
    B88("clzero", 0) B88("xsaveerptr", 2) B88("wbnoinvd", 9) B88("ibpb", 12) B88("ibrs", 14)
    B88("amd-stibp", 15) B88("amd-ssbd", 24) B88("virt-ssbd", 25) B88("btc-no", 29)
    ROW(0x80000021, 0, EAX, "auto-ibrs", 8) ROW(0x80000021, 0, EAX, "srso-no", 29)
    AKVM("kvmclock", 0) AKVM("kvm-nopiodelay", 1) AKVM("kvmclock2", 3) AKVM("kvm-asyncpf", 4)
    AKVM("kvm-steal-time", 5) AKVM("kvm-pv-eoi", 6) AKVM("kvm-pv-unhalt", 7)
    AKVM("kvm-pv-tlb-flush", 9) AKVM("kvm-pv-ipi", 11) AKVM("kvm-poll-control", 12)
    AKVM("kvm-pv-sched-yield", 13) AKVM("kvm-asyncpf-int", 14) AKVM("kvm-msi-ext-dest-id", 15)
    AKVM("kvmclock-stable", 24)
};
/* clang-format on */
const unsigned cpu_feature_count = ARRAY_SIZE(cpu_features);

/* Other spellings in common use. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"pni", "sse3"},
    {"pclmul", "pclmulqdq"},
    {"abm", "lzcnt"},
    {"sha_ni", "sha"},
    {"i64", "lm"},
    {"xd", "nx"},
    {"1gb-pages", "pdpe1gb"},
    {"3dnowprefetch", "prefetchw"},
    {"rdtscp64", "rdtscp"},
    {"tsc-deadline-timer", "tsc-deadline"},
    {"cmpxchg16b", "cx16"},
};

/* What each feature builds on: leaving out the second leaves out the first. */
static const struct {
    const char *feature, *needs;
} dependencies[] = {
    {"avx", "xsave"},        {"avx2", "avx"},
    {"fma", "avx"},          {"f16c", "avx"},
    {"vaes", "avx"},         {"vaes", "aes"},
    {"vpclmulqdq", "avx"},   {"vpclmulqdq", "pclmulqdq"},
    {"xsaveopt", "xsave"},   {"xsavec", "xsave"},
    {"xgetbv1", "xsave"},    {"xsaves", "xsave"},
    {"avx512f", "avx2"},     {"avx512dq", "avx512f"},
    {"avx512cd", "avx512f"}, {"avx512bw", "avx512f"},
    {"avx512vl", "avx512f"}, {"avx-vnni", "avx2"},
    {"pku", "xsave"},        {"sse2", "sse"},
    {"sse3", "sse2"},        {"ssse3", "sse3"},
    {"sse4_1", "ssse3"},     {"sse4_2", "sse4_1"},
    {"aes", "sse2"},         {"pclmulqdq", "sse2"},
    {"invpcid", "pcid"},
};

/* NAME without case and punctuation. */
static char *normal(const char *name)
{
    GString *s = g_string_new(NULL);

    for (; *name; name++)
        if (!strchr("-_.", *name))
            g_string_append_c(s, g_ascii_tolower(*name));
    return g_string_free(s, FALSE);
}

static bool same(const char *a, const char *b)
{
    g_autofree char *x = normal(a), *y = normal(b);

    return !strcmp(x, y);
}

int cpu_feature_find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(aliases); i++)
        if (same(name, aliases[i].alias))
            name = aliases[i].name;
    for (unsigned i = 0; i < cpu_feature_count; i++)
        if (same(name, cpu_features[i].name))
            return (int)i;
    return -1;
}

/* Edit distance (Levenshtein) of two short strings. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64], length = (unsigned)MIN(strlen(b), ARRAY_SIZE(row) - 1);

    for (unsigned j = 0; j <= length; j++)
        row[j] = j;
    for (unsigned i = 1; *a; i++, a++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= length; j++) {
            unsigned above = row[j];

            row[j] = MIN(MIN(row[j - 1], above) + 1, diagonal + (*a != b[j - 1]));
            diagonal = above;
        }
    }
    return row[length];
}

char *cpu_feature_near(const char *name)
{
    g_autofree char *wanted = normal(name);
    GString *list = g_string_new(NULL);
    unsigned found = 0;

    for (unsigned i = 0; i < cpu_feature_count && found < NEAR_MAX && *wanted; i++) {
        g_autofree char *have = normal(cpu_features[i].name);
        bool part = strlen(wanted) > 2 && (strstr(have, wanted) || strstr(wanted, have));

        if (!part && distance(wanted, have) > (strlen(wanted) > 3 ? 2 : 1))
            continue;
        g_string_append_printf(list, "%s%s", found++ ? ", " : "", cpu_features[i].name);
    }
    return g_string_free(list, found == 0);
}

int cpu_feature_needs(int feature, unsigned n)
{
    for (unsigned i = 0; i < ARRAY_SIZE(dependencies); i++)
        if (!strcmp(dependencies[i].feature, cpu_features[feature].name) && n-- == 0)
            return cpu_feature_find(dependencies[i].needs);
    return -1;
}
