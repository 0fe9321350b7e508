/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM_GET_SUPPORTED_CPUID: what the processor implements, with the host's vendor, family and
 * caches. Bit positions are those of SDM volume 2, CPUID, and of AMD's APM volume 3, appendix E.
 */
#include "guest-cpuid.h"

#include <cpuid.h>
#include <linux/kvm_para.h>
#include <string.h>

/* A bit to be shown if the processor has FEATURE. */
struct supported_bit {
    struct cpuid_bit at;
    uint8_t feature; /* enum feature; FEATURE_BASE: always */
};
#define ON(function, index, reg, bit, feature)                                                     \
    {                                                                                              \
        {function, index, CPUID_##reg, bit}, FEATURE_##feature                                     \
    }

static const struct supported_bit supported_bits[] = {
    ON(1, 0, ECX, 0, SSE3),
    ON(1, 0, ECX, 1, PCLMULQDQ),
    ON(1, 0, ECX, 9, SSSE3),
    ON(1, 0, ECX, 12, FMA),
    ON(1, 0, ECX, 13, CX16),
    ON(1, 0, ECX, 17, BASE), /* PCID */
    ON(1, 0, ECX, 19, SSE4_1),
    ON(1, 0, ECX, 20, SSE4_2),
    ON(1, 0, ECX, 21, BASE), /* x2APIC */
    ON(1, 0, ECX, 22, MOVBE),
    ON(1, 0, ECX, 23, POPCNT),
    ON(1, 0, ECX, 24, BASE), /* TSC deadline */
    ON(1, 0, ECX, 25, AES),
    ON(1, 0, ECX, 26, XSAVE),
    ON(1, 0, ECX, 28, AVX),
    ON(1, 0, ECX, 29, F16C),
    ON(1, 0, ECX, 30, RDRAND),
    ON(1, 0, ECX, 31, BASE), /* hypervisor */
    ON(1, 0, EDX, 0, X87),
    ON(1, 0, EDX, 1, BASE),  /* VME */
    ON(1, 0, EDX, 2, BASE),  /* DE */
    ON(1, 0, EDX, 3, BASE),  /* PSE */
    ON(1, 0, EDX, 4, BASE),  /* TSC */
    ON(1, 0, EDX, 5, BASE),  /* MSR */
    ON(1, 0, EDX, 6, BASE),  /* PAE */
    ON(1, 0, EDX, 7, BASE),  /* MCE */
    ON(1, 0, EDX, 8, BASE),  /* CMPXCHG8B */
    ON(1, 0, EDX, 9, BASE),  /* APIC */
    ON(1, 0, EDX, 11, BASE), /* SYSENTER */
    ON(1, 0, EDX, 12, BASE), /* MTRR */
    ON(1, 0, EDX, 13, BASE), /* PGE */
    ON(1, 0, EDX, 14, BASE), /* MCA */
    ON(1, 0, EDX, 15, BASE), /* CMOV */
    ON(1, 0, EDX, 16, BASE), /* PAT */
    ON(1, 0, EDX, 17, BASE), /* PSE-36 */
    ON(1, 0, EDX, 19, BASE), /* CLFLUSH */
    ON(1, 0, EDX, 23, MMX),
    ON(1, 0, EDX, 24, FXSR),
    ON(1, 0, EDX, 25, SSE),
    ON(1, 0, EDX, 26, SSE2),
    ON(6, 0, EAX, 2, BASE), /* the APIC timer never stops */
    ON(7, 0, EBX, 0, FSGSBASE),
    ON(7, 0, EBX, 1, BASE), /* TSC_ADJUST */
    ON(7, 0, EBX, 3, BMI1),
    ON(7, 0, EBX, 5, AVX2),
    ON(7, 0, EBX, 7, BASE), /* SMEP */
    ON(7, 0, EBX, 8, BMI2),
    ON(7, 0, EBX, 9, BASE), /* ERMS: string moves go page by page */
    ON(7, 0, EBX, 10, INVPCID),
    ON(7, 0, EBX, 18, RDSEED),
    ON(7, 0, EBX, 19, ADX),
    ON(7, 0, EBX, 20, SMAP),
    ON(7, 0, EBX, 23, CLFLUSHOPT),
    ON(7, 0, EBX, 24, CLWB),
    ON(7, 0, EBX, 29, SHA),
    ON(7, 0, ECX, 2, BASE), /* UMIP */
    ON(7, 0, ECX, 8, GFNI),
    ON(7, 0, ECX, 9, VAES),
    ON(7, 0, ECX, 10, VPCLMULQDQ),
    ON(7, 0, ECX, 16, BASE), /* 5-level paging */
    ON(7, 0, ECX, 22, RDPID),
    ON(7, 0, EDX, 4, BASE),  /* FSRM */
    ON(7, 0, EDX, 29, BASE), /* ARCH_CAPABILITIES */
    ON(0xd, 1, EAX, 0, XSAVEOPT),
    ON(0xd, 1, EAX, 1, XSAVEC),
    ON(0xd, 1, EAX, 2, XSAVEC),      /* XGETBV with ECX = 1 came with it */
    ON(0x80000001, 0, ECX, 0, BASE), /* LAHF in 64-bit mode */
    ON(0x80000001, 0, ECX, 5, LZCNT),
    ON(0x80000001, 0, ECX, 8, BASE), /* PREFETCHW */
    ON(0x80000001, 0, EDX, 11, SYSCALL),
    ON(0x80000001, 0, EDX, 20, BASE), /* NX */
    ON(0x80000001, 0, EDX, 26, BASE), /* 1 GB pages */
    ON(0x80000001, 0, EDX, 27, RDTSCP),
    ON(0x80000001, 0, EDX, 29, BASE), /* long mode */
    ON(0x80000007, 0, EDX, 8, BASE),  /* invariant TSC */
    /* Mitigations that are of no use here: a guest's return or indirect branch is never the host's
     * own (docs/security.md). */
    ON(0x80000008, 0, EBX, 29, BASE), /* BTC_NO */
    ON(0x80000021, 0, EAX, 8, BASE),  /* automatic IBRS */
    ON(0x80000021, 0, EAX, 29, BASE), /* SRSO_NO */
};

/* Leaf 1 EDX's bits that AMD repeats in 0x80000001 EDX. */
#define AMD_REPEATED 0x0183f3ffu

static uint32_t *register_of(struct kvm_cpuid_entry2 *e, unsigned reg)
{
    uint32_t *const at[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};
    return at[reg];
}

static struct kvm_cpuid_entry2 *add(struct system *s, uint32_t function, uint32_t index,
                                    bool indexed)
{
    struct kvm_cpuid_entry2 *e = &s->cpuid[s->cpuid_count++];
    *e = (struct kvm_cpuid_entry2){
        .function = function,
        .index = index,
        .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
    };
    for (size_t i = 0; i < ARRAY_SIZE(supported_bits); i++) {
        const struct supported_bit *b = &supported_bits[i];
        if (b->at.function == function && b->at.index == index && processor_has_feature(b->feature))
            *register_of(e, b->at.reg) |= 1u << b->at.bit;
    }
    return e;
}

static void copy_host(struct kvm_cpuid_entry2 *e)
{
    __cpuid_count(e->function, e->index, e->eax, e->ebx, e->ecx, e->edx);
}

static bool host_is_amd(void)
{
    unsigned a, b, c, d;
    __cpuid(0, a, b, c, d);
    return b == signature_AMD_ebx || b == 0x6f677948 /* Hygon */;
}

static void add_basic(struct system *s)
{
    bool amd = host_is_amd();
    struct kvm_cpuid_entry2 *e = add(s, 0, 0, false);
    copy_host(e);
    uint32_t host_max = e->eax;
    e->eax = 0xd;
    e = add(s, 1, 0, false);
    unsigned signature, brand, c, d;
    __cpuid(1, signature, brand, c, d);
    e->eax = signature;
    e->ebx = 8 << 8 | 1 << 16; /* CLFLUSH of 64 bytes, one logical processor */
    if (!amd) {
        copy_host(add(s, 2, 0, false));
        /* Cache parameters, without the host's sharing. */
        for (uint32_t i = 0; i < 8 && host_max >= 4; i++) {
            e = add(s, 4, i, true);
            copy_host(e);
            e->eax &= 0x3fff;
            if (!(e->eax & 0x1f))
                break;
        }
    }
    add(s, 6, 0, false);
    add(s, 7, 0, true);
    add(s, 0xa, 0, false);
    e = add(s, 0xb, 0, true);
    e->edx = 0;
    uint64_t xcr0 = processor_has_feature(FEATURE_AVX) ? 7 : 3;
    uint32_t area = xcr0 & 4 ? 576 + 256 : 576;
    e = add(s, 0xd, 0, true);
    e->eax = (uint32_t)xcr0;
    e->ebx = e->ecx = area;
    e = add(s, 0xd, 1, true);
    if (xcr0 & 4) {
        e = add(s, 0xd, 2, true);
        e->eax = 256;
        e->ebx = 576;
    }
}

static void add_extended(struct system *s)
{
    bool amd = host_is_amd();
    struct kvm_cpuid_entry2 *e = add(s, 0x80000000, 0, false);
    copy_host(e);
    uint32_t host_max = e->eax;
    e->eax = 0x80000021;
    e = add(s, 0x80000001, 0, false);
    if (amd) {
        unsigned signature, b, c, d;
        __cpuid(1, signature, b, c, d);
        e->eax = signature;
        for (unsigned i = 0; i < s->cpuid_count; i++)
            if (s->cpuid[i].function == 1)
                e->edx |= s->cpuid[i].edx & AMD_REPEATED;
    }
    for (uint32_t f = 0x80000002; f <= 0x80000006; f++) {
        e = add(s, f, 0, false);
        if (f <= host_max)
            copy_host(e);
    }
    add(s, 0x80000007, 0, false);
    e = add(s, 0x80000008, 0, false);
    uint32_t features = e->ebx;
    if (host_max >= 0x80000008)
        copy_host(e);
    uint32_t bits = e->eax & 0xff;
    /* The MMU walks up to 52 bits; 48 leave room for what firmware does with the top. */
    s->phys_bits = bits < 36 ? 36 : bits > 48 ? 48 : bits;
    e->eax = s->phys_bits | 57 << 8;
    e->ebx = features;
    e->ecx = e->edx = 0;
    add(s, 0x80000021, 0, false);
}

static void add_hypervisor(struct system *s)
{
    struct kvm_cpuid_entry2 *e = add(s, KVM_CPUID_SIGNATURE, 0, false);
    e->eax = KVM_CPUID_FEATURES;
    memcpy(&e->ebx, KVM_SIGNATURE, 4);
    memcpy(&e->ecx, &KVM_SIGNATURE[4], 4);
    memcpy(&e->edx, &KVM_SIGNATURE[8], 4);
    e = add(s, KVM_CPUID_FEATURES, 0, false);
    e->eax = 1u << KVM_FEATURE_CLOCKSOURCE | 1u << KVM_FEATURE_NOP_IO_DELAY |
             1u << KVM_FEATURE_CLOCKSOURCE2 | 1u << KVM_FEATURE_ASYNC_PF |
             1u << KVM_FEATURE_PV_EOI | 1u << KVM_FEATURE_PV_UNHALT |
             1u << KVM_FEATURE_PV_SEND_IPI | 1u << KVM_FEATURE_POLL_CONTROL |
             1u << KVM_FEATURE_PV_SCHED_YIELD | 1u << KVM_FEATURE_ASYNC_PF_INT |
             1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT;
    if (steal_time_supported())
        e->eax |= 1u << KVM_FEATURE_STEAL_TIME;
}

void cpuid_init_supported(struct system *s)
{
    s->amd = host_is_amd();
    add_basic(s);
    add_extended(s);
    add_hypervisor(s);
}
