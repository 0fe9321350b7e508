/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which instruction-set extensions can run here. */
#include "vector.h"

#include <cpuid.h>

_Static_assert(FEATURE_COUNT <= 64, "features fit one word");

/* What our own code executes, on any x86-64 host. */
static const uint8_t by_software[] = {
    FEATURE_BASE,     FEATURE_X87,     FEATURE_MMX,     FEATURE_SSE,        FEATURE_SSE2,
    FEATURE_BMI1,     FEATURE_BMI2,    FEATURE_ADX,     FEATURE_MOVBE,      FEATURE_POPCNT,
    FEATURE_LZCNT,    FEATURE_RDRAND,  FEATURE_RDSEED,  FEATURE_FXSR,       FEATURE_XSAVE,
    FEATURE_XSAVEOPT, FEATURE_XSAVEC,  FEATURE_XSAVES,  FEATURE_FSGSBASE,   FEATURE_RDPID,
    FEATURE_RDTSCP,   FEATURE_INVPCID, FEATURE_SMAP,    FEATURE_CLFLUSHOPT, FEATURE_CLWB,
    FEATURE_CX16,     FEATURE_SYSCALL, FEATURE_MONITOR,
};

enum cpuid_word { LEAF1_ECX, LEAF7_EBX, LEAF7_ECX, CPUID_WORDS };

/* What needs the host's own instructions. */
static const struct {
    uint8_t feature, word, bit;
    bool avx; /* and needs the host's AVX state */
} by_host[] = {
    {FEATURE_SSE3, LEAF1_ECX, 0, false},
    {FEATURE_PCLMULQDQ, LEAF1_ECX, 1, false},
    {FEATURE_SSSE3, LEAF1_ECX, 9, false},
    {FEATURE_FMA, LEAF1_ECX, 12, true},
    {FEATURE_SSE4_1, LEAF1_ECX, 19, false},
    {FEATURE_SSE4_2, LEAF1_ECX, 20, false},
    {FEATURE_AES, LEAF1_ECX, 25, false},
    {FEATURE_F16C, LEAF1_ECX, 29, true},
    /* AVX is offered with AVX2 or not at all: rows of the opcode tables stand for both widths. */
    {FEATURE_AVX, LEAF7_EBX, 5, true},
    {FEATURE_AVX2, LEAF7_EBX, 5, true},
    {FEATURE_SHA, LEAF7_EBX, 29, false},
    {FEATURE_GFNI, LEAF7_ECX, 8, false},
    {FEATURE_VAES, LEAF7_ECX, 9, true},
    {FEATURE_VPCLMULQDQ, LEAF7_ECX, 10, true},
};

static bool host_enables_avx(uint32_t leaf1_ecx)
{
    if (!(leaf1_ecx & bit_OSXSAVE) || !(leaf1_ecx & bit_AVX))
        return false;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & (XFEATURE_SSE | XFEATURE_AVX)) == (XFEATURE_SSE | XFEATURE_AVX);
}

static uint64_t look_features_up(void)
{
    uint32_t word[CPUID_WORDS] = {0}, eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        word[LEAF1_ECX] = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        word[LEAF7_EBX] = ebx;
        word[LEAF7_ECX] = ecx;
    }
    bool avx = host_enables_avx(word[LEAF1_ECX]);
    uint64_t features = 0;
    for (size_t n = 0; n < ARRAY_SIZE(by_software); n++)
        features |= BIT(by_software[n]);
    for (size_t n = 0; n < ARRAY_SIZE(by_host); n++)
        if (word[by_host[n].word] & BIT(by_host[n].bit) && (avx || !by_host[n].avx))
            features |= BIT(by_host[n].feature);
    return features;
}

/* Looked up once: under a hypervisor CPUID takes as long as thousands of instructions. */
uint64_t host_features(void)
{
    static _Atomic uint64_t known; /* never 0: some are by software */
    uint64_t features = known;
    if (!features)
        known = features = look_features_up();
    return features;
}

bool processor_has_feature(enum feature f)
{
    return f < FEATURE_COUNT && host_features() & BIT(f);
}
