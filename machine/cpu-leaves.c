/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPUID leaves that are numbers: signature, caches, topology, sizes, brand (SDM volume 2, CPUID;
 * APM volume 3, appendix E). */
#include "cpu-leaves.h"

#include <string.h>

#define SIGNATURE_INTEL 0x000306c3 /* family 6, model 60 */
#define SIGNATURE_AMD   0x00800f12 /* family 23, model 1 */
#define CACHE_LINE      64
#define XSAVE_LEGACY    576 /* legacy area and header */
#define XSAVE_AVX       256
#define LEAF_KVM        0x40000000
#define LEAF_EXTENDED   0x80000000

struct kvm_cpuid2 *cpu_leaves_new(void)
{
    struct kvm_cpuid2 *list = g_malloc0(sizeof *list + CPU_LEAVES_MAX * sizeof list->entries[0]);

    return list;
}

static bool has_subleaves(uint32_t leaf)
{
    switch (leaf) {
    case 4:
    case 7:
    case 0xb:
    case 0xd:
    case 0xf:
    case 0x10:
    case 0x12:
    case 0x14:
    case 0x1f:
    case 0x8000001d:
        return true;
    default:
        return false;
    }
}

const struct kvm_cpuid_entry2 *cpu_leaves_find(const struct kvm_cpuid2 *list, uint32_t leaf,
                                               uint32_t subleaf)
{
    for (unsigned i = 0; i < list->nent; i++)
        if (list->entries[i].function == leaf &&
            (!has_subleaves(leaf) || list->entries[i].index == subleaf))
            return &list->entries[i];
    return NULL;
}

struct kvm_cpuid_entry2 *cpu_leaves_entry(struct kvm_cpuid2 *list, uint32_t leaf, uint32_t subleaf)
{
    struct kvm_cpuid_entry2 *e = (struct kvm_cpuid_entry2 *)cpu_leaves_find(list, leaf, subleaf);

    if (e || list->nent == CPU_LEAVES_MAX)
        return e;
    e = &list->entries[list->nent++];
    memset(e, 0, sizeof *e);
    e->function = leaf;
    if (has_subleaves(leaf)) {
        e->index = subleaf;
        e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    }
    return e;
}

void cpu_leaves_drop(struct kvm_cpuid2 *list, uint32_t leaf)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < list->nent; i++)
        if (list->entries[i].function != leaf)
            list->entries[kept++] = list->entries[i];
    list->nent = kept;
}

uint32_t *cpu_leaves_register(struct kvm_cpuid_entry2 *e, enum cpuid_register reg)
{
    switch (reg) {
    case CPUID_EAX:
        return &e->eax;
    case CPUID_EBX:
        return &e->ebx;
    case CPUID_ECX:
        return &e->ecx;
    default:
        return &e->edx;
    }
}

static void put(struct kvm_cpuid2 *list, uint32_t leaf, uint32_t subleaf, uint32_t eax,
                uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    struct kvm_cpuid_entry2 *e = cpu_leaves_entry(list, leaf, subleaf);

    if (!e)
        return;
    e->eax = eax;
    e->ebx = ebx;
    e->ecx = ecx;
    e->edx = edx;
}

static uint32_t word(const char *text, unsigned at)
{
    uint32_t w;

    memcpy(&w, text + at, sizeof w);
    return w;
}

static bool is_amd(const char *vendor)
{
    return !strcmp(vendor, "AuthenticAMD") || !strcmp(vendor, "HygonGenuine");
}

/* ---- caches: 32 KiB + 32 KiB, 512 KiB a core, 16 MiB shared ---- */

static void put_intel_caches(struct kvm_cpuid2 *list)
{
    static const struct {
        uint32_t type_level; /* type | level << 5 | self-initializing */
        uint32_t ways, sets;
    } caches[] = {
        {1 | 1 << 5 | BIT(8), 8, 64},
        {2 | 1 << 5 | BIT(8), 8, 64},
        {3 | 2 << 5 | BIT(8), 8, 1024},
        {3 | 3 << 5 | BIT(8), 16, 16384},
    };

    put(list, 2, 0, 0x00feff01, 0, 0, 0); /* "see leaf 4" */
    for (unsigned i = 0; i < ARRAY_SIZE(caches); i++)
        put(list, 4, i, caches[i].type_level, (caches[i].ways - 1) << 22 | (CACHE_LINE - 1),
            caches[i].sets - 1, 0);
    put(list, 4, ARRAY_SIZE(caches), 0, 0, 0, 0);
}

static void put_amd_caches(struct kvm_cpuid2 *list)
{
    uint32_t l1 = 32 << 24 | 8 << 16 | 1 << 8 | CACHE_LINE;

    put(list, LEAF_EXTENDED + 5, 0, 0, 0, l1, l1);
    put(list, LEAF_EXTENDED + 6, 0, 0, 0, 512u << 16 | 6 << 12 | 1 << 8 | CACHE_LINE,
        32u << 18 | 8 << 12 | 1 << 8 | CACHE_LINE);
}

/* ---- the rest ---- */

static bool has(const struct cpu_leaves_config *c, const char *name)
{
    int i = cpu_feature_find(name);

    return i >= 0 && c->feature[i];
}

static void put_xsave(struct kvm_cpuid2 *list, const struct cpu_leaves_config *c)
{
    bool avx = has(c, "avx");
    uint32_t size = XSAVE_LEGACY + (avx ? XSAVE_AVX : 0);

    if (!has(c, "xsave"))
        return;
    put(list, 0xd, 0, avx ? 7 : 3, XSAVE_LEGACY, size, 0);
    put(list, 0xd, 1, 0, has(c, "xsaves") || has(c, "xsavec") ? size : 0, 0, 0);
    if (avx)
        put(list, 0xd, 2, XSAVE_AVX, XSAVE_LEGACY, 0, 0);
}

static void put_features(struct kvm_cpuid2 *list, const bool *feature)
{
    for (unsigned i = 0; i < cpu_feature_count; i++) {
        const struct cpu_feature *f = &cpu_features[i];

        if (!feature[i])
            continue;
        struct kvm_cpuid_entry2 *e = cpu_leaves_entry(list, f->leaf, f->subleaf);
        if (e)
            *cpu_leaves_register(e, f->reg) |= 1u << f->bit;
    }
    struct kvm_cpuid_entry2 *seven = cpu_leaves_entry(list, 7, 0);
    if (seven && cpu_leaves_find(list, 7, 1))
        seven->eax = 1;
}

static void put_brand(struct kvm_cpuid2 *list, const char *brand)
{
    char text[48] = {0};

    g_strlcpy(text, brand, sizeof text);
    for (unsigned i = 0; i < 3; i++)
        put(list, LEAF_EXTENDED + 2 + i, 0, word(text, i * 16), word(text, i * 16 + 4),
            word(text, i * 16 + 8), word(text, i * 16 + 12));
}

/* AMD's extended leaf repeats these bits of leaf 1's EDX. */
#define AMD_REPEATED 0x0183f3ffu

void cpu_leaves_set_linear_bits(struct kvm_cpuid2 *list)
{
    const struct kvm_cpuid_entry2 *seven = cpu_leaves_find(list, 7, 0);
    struct kvm_cpuid_entry2 *e = cpu_leaves_entry(list, LEAF_EXTENDED + 8, 0);
    bool la57 = seven && seven->ecx >> 16 & 1;

    if (e)
        e->eax = (e->eax & ~0xff00u) | (la57 ? 57u : 48u) << 8;
}

struct kvm_cpuid2 *cpu_leaves_build(const struct cpu_leaves_config *c)
{
    struct kvm_cpuid2 *list = cpu_leaves_new();
    bool amd = is_amd(c->vendor);

    put(list, 0, 0, 0xd, word(c->vendor, 0), word(c->vendor, 8), word(c->vendor, 4));
    put(list, 1, 0, amd ? SIGNATURE_AMD : SIGNATURE_INTEL, (CACHE_LINE / 8) << 8, 0, 0);
    if (!amd)
        put_intel_caches(list);
    put(list, LEAF_KVM, 0, LEAF_KVM + 1, word("KVMKVMKVM\0\0\0", 0), word("KVMKVMKVM\0\0\0", 4),
        word("KVMKVMKVM\0\0\0", 8));
    put(list, LEAF_KVM + 1, 0, 0, 0, 0, 0);
    put(list, LEAF_EXTENDED, 0, LEAF_EXTENDED + 8, word(c->vendor, 0), word(c->vendor, 8),
        word(c->vendor, 4));
    put_brand(list, c->brand);
    if (amd)
        put_amd_caches(list);
    put(list, LEAF_EXTENDED + 8, 0, c->phys_bits, 0, 0, 0);
    put_xsave(list, c);
    put_features(list, c->feature);
    if (cpu_leaves_find(list, LEAF_EXTENDED + 0x21, 0))
        cpu_leaves_entry(list, LEAF_EXTENDED, 0)->eax = LEAF_EXTENDED + 0x21;
    cpu_leaves_set_linear_bits(list);
    struct kvm_cpuid_entry2 *extended = cpu_leaves_entry(list, LEAF_EXTENDED + 1, 0);
    const struct kvm_cpuid_entry2 *one = cpu_leaves_find(list, 1, 0);
    if (amd && extended) {
        extended->eax = SIGNATURE_AMD;
        extended->edx |= one->edx & AMD_REPEATED;
    }
    return list;
}

/* ---- topology ---- */

/* Bits that COUNT different ids need. */
static unsigned id_bits(unsigned count)
{
    unsigned bits = 0;

    while (1u << bits < count)
        bits++;
    return bits;
}

static void set_cache_sharing(struct kvm_cpuid2 *list, uint32_t leaf, unsigned cpus)
{
    for (unsigned i = 0; i < list->nent; i++) {
        struct kvm_cpuid_entry2 *e = &list->entries[i];
        bool shared = (e->eax >> 5 & 7) >= 3;

        if (e->function != leaf || !(e->eax & 0x1f))
            continue;
        e->eax &= 0x3fff;
        e->eax |= ((shared ? 1u << id_bits(cpus) : 1) - 1) << 14;
        if (leaf == 4)
            e->eax |= MIN((1u << id_bits(cpus)) - 1, 63u) << 26;
    }
}

void cpu_leaves_set_topology(struct kvm_cpuid2 *list, unsigned cpus, unsigned index)
{
    struct kvm_cpuid_entry2 *one = cpu_leaves_entry(list, 1, 0);
    const struct kvm_cpuid_entry2 *zero = cpu_leaves_find(list, 0, 0);
    struct kvm_cpuid_entry2 *e;
    bool amd = zero && zero->ebx == word("AuthenticAMD", 0);

    if (one) {
        one->ebx = (one->ebx & 0xff00) | MIN(1u << id_bits(cpus), 255u) << 16 | index << 24;
        one->edx &= ~(1u << 28);
        one->edx |= cpus > 1 ? 1u << 28 : 0; /* HTT: the count above is valid */
    }
    set_cache_sharing(list, 4, cpus);
    set_cache_sharing(list, 0x8000001d, cpus);
    cpu_leaves_drop(list, 0x1f);
    cpu_leaves_drop(list, 0xb);
    put(list, 0xb, 0, 0, 1, 0x100, index);                /* level 0: one thread a core */
    put(list, 0xb, 1, id_bits(cpus), cpus, 0x201, index); /* level 1: the package's cores */
    put(list, 0xb, 2, 0, 0, 2, index);
    if (!amd)
        return;
    e = (struct kvm_cpuid_entry2 *)cpu_leaves_find(list, LEAF_EXTENDED + 8, 0);
    if (e)
        e->ecx = (cpus - 1) | id_bits(cpus) << 12;
    e = (struct kvm_cpuid_entry2 *)cpu_leaves_find(list, LEAF_EXTENDED + 1, 0);
    if (e && cpus > 1)
        e->ecx |= 1u << 1; /* cmp_legacy: cores, not threads */
    e = (struct kvm_cpuid_entry2 *)cpu_leaves_find(list, LEAF_EXTENDED + 0x1e, 0);
    if (e) {
        e->eax = index;
        e->ebx = index & 0xff;
        e->ecx = 0;
    }
}
