/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU models: parsing, exact lists, what an engine lacks, topology. */
#include "machine/cpu-leaves.h"
#include "machine/cpu-model.h"

#include <string.h>

/* An engine that supports every named feature, as an AMD processor with 48 physical bits. */
static struct kvm_cpuid2 *everything(void)
{
    struct kvm_cpuid2 *list = cpu_leaves_new();
    struct kvm_cpuid_entry2 *e = cpu_leaves_entry(list, 0, 0);

    memcpy(&e->ebx, "Auth", 4);
    memcpy(&e->edx, "enti", 4);
    memcpy(&e->ecx, "cAMD", 4);
    e->eax = 0x10;
    for (unsigned i = 0; i < cpu_feature_count; i++) {
        e = cpu_leaves_entry(list, cpu_features[i].leaf, cpu_features[i].subleaf);
        *cpu_leaves_register(e, cpu_features[i].reg) |= 1u << cpu_features[i].bit;
    }
    cpu_leaves_entry(list, 0x80000008, 0)->eax = 48 | 48 << 8;
    cpu_leaves_entry(list, 1, 0)->eax = 0xabcdef;
    return list;
}

static void take_away(struct kvm_cpuid2 *list, const char *name)
{
    const struct cpu_feature *f = &cpu_features[cpu_feature_find(name)];

    *cpu_leaves_register(cpu_leaves_entry(list, f->leaf, f->subleaf), f->reg) &= ~(1u << f->bit);
}

static bool has(const struct kvm_cpuid2 *list, const char *name)
{
    const struct cpu_feature *f = &cpu_features[cpu_feature_find(name)];
    const struct kvm_cpuid_entry2 *e = cpu_leaves_find(list, f->leaf, f->subleaf);

    return e && *cpu_leaves_register((struct kvm_cpuid_entry2 *)e, f->reg) >> f->bit & 1;
}

static struct cpu_model *parse(const char *text)
{
    GError *error = NULL;
    struct cpu_model *c = cpu_model_new(text, &error);

    g_assert_no_error(error);
    return c;
}

/* The leaves of vCPU INDEX of CPUS under model TEXT on SUPPORTED, which is freed. */
static struct kvm_cpuid2 *leaves(const char *text, struct kvm_cpuid2 *supported, unsigned cpus,
                                 unsigned index)
{
    struct cpu_model *c = parse(text);
    g_autofree char *missing = NULL;
    GError *error = NULL;

    cpu_model_resolve_from(c, supported, cpus, &missing, &error);
    g_assert_no_error(error);
    struct kvm_cpuid2 *list = cpu_model_cpuid(c, index);
    cpu_model_free(c);
    g_free(supported);
    return list;
}

static void expect_error(const char *text, const char *part)
{
    GError *error = NULL;

    g_assert_null(cpu_model_new(text, &error));
    g_assert_nonnull(error);
    g_assert_true(g_str_has_prefix(error->message, "--cpu: "));
    if (!strstr(error->message, part))
        g_error("%s: the message lacks `%s`: %s", text, part, error->message);
    g_clear_error(&error);
}

static void test_features(void)
{
    for (unsigned i = 0; i < cpu_feature_count; i++) {
        g_assert_cmpint(cpu_feature_find(cpu_features[i].name), ==, i);
        for (unsigned j = 0; j < i; j++) /* no bit has two names */
            g_assert_false(cpu_features[i].leaf == cpu_features[j].leaf &&
                           cpu_features[i].subleaf == cpu_features[j].subleaf &&
                           cpu_features[i].reg == cpu_features[j].reg &&
                           cpu_features[i].bit == cpu_features[j].bit);
    }
    g_assert_cmpint(cpu_feature_find("SSE4.1"), ==, cpu_feature_find("sse4_1"));
    g_assert_cmpint(cpu_feature_find("pni"), ==, cpu_feature_find("sse3"));
    g_assert_cmpint(cpu_feature_find("nothing"), ==, -1);
}

static void test_parse_errors(void)
{
    expect_error("trapeze-v9", "trapeze-v1 trapeze-v0 host");
    expect_error("", "no CPU model");
    expect_error("trapeze-v1,+avx3", "avx2");
    expect_error("trapeze-v1,+", "no CPU feature");
    expect_error("trapeze-v1,sha", "none of");
    expect_error("trapeze-v1,vendor=me", "twelve");
    expect_error("trapeze-v1,phys-bits=20", "36 to 52");
    expect_error("trapeze-v1,phys-bits=x", "36 to 52");
    expect_error("trapeze-v1,", "none of");
}

static void test_exact(void)
{
    g_autofree struct kvm_cpuid2 *v1 = leaves("trapeze-v1", everything(), 1, 0);
    g_autofree struct kvm_cpuid2 *v0 = leaves("trapeze-v0", everything(), 1, 0);

    /* x86-64-v3 (System V ABI), AES and PCLMULQDQ. */
    static const char *const level3[] = {"avx",   "avx2",  "bmi1",  "bmi2", "f16c",     "fma",
                                         "lzcnt", "movbe", "xsave", "aes",  "pclmulqdq"};
    static const char *const level2[] = {"cx16",   "lahf_lm", "popcnt", "sse3", "sse4_1",
                                         "sse4_2", "ssse3",   "lm",     "nx",   "syscall"};
    for (unsigned i = 0; i < G_N_ELEMENTS(level3); i++) {
        g_assert_true(has(v1, level3[i]));
        g_assert_false(has(v0, level3[i]));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(level2); i++) {
        g_assert_true(has(v1, level2[i]));
        g_assert_true(has(v0, level2[i]));
    }
    /* What the list does not name stays out, whatever the host has. */
    g_assert_false(has(v1, "avx512f"));
    g_assert_false(has(v1, "vmx"));
    g_assert_false(has(v1, "invtsc"));
    /* Nothing of the host shows but its vendor. */
    g_assert_cmphex(cpu_leaves_find(v1, 1, 0)->eax, !=, 0xabcdef);
    g_assert_cmphex(cpu_leaves_find(v1, 0x80000008, 0)->eax, ==, 40 | 48 << 8);
    g_assert_cmpint(memcmp(&cpu_leaves_find(v1, 0, 0)->ebx, "Auth", 4), ==, 0);
    g_assert_cmphex(cpu_leaves_find(v1, 0xd, 0)->eax, ==, 7);
    g_assert_cmphex(cpu_leaves_find(v1, 0xd, 0)->ecx, ==, 832);
    g_assert_null(cpu_leaves_find(v0, 0xd, 0));
}

static void test_changes(void)
{
    g_autofree struct kvm_cpuid2 *plus = leaves("trapeze-v0,+avx2", everything(), 1, 0);
    g_autofree struct kvm_cpuid2 *minus = leaves("trapeze-v1,-avx", everything(), 1, 0);
    g_autofree struct kvm_cpuid2 *vendor =
        leaves("trapeze-v1,vendor=intel,phys-bits=46", everything(), 1, 0);

    g_assert_true(has(plus, "avx2") && has(plus, "avx") && has(plus, "xsave"));
    g_assert_cmphex(cpu_leaves_find(plus, 0xd, 0)->eax, ==, 7);
    g_assert_false(has(minus, "avx2") || has(minus, "fma") || has(minus, "avx"));
    g_assert_cmphex(cpu_leaves_find(minus, 0xd, 0)->eax, ==, 3);
    g_assert_cmpint(memcmp(&cpu_leaves_find(vendor, 0, 0)->ebx, "Genu", 4), ==, 0);
    g_assert_cmphex(cpu_leaves_find(vendor, 0x80000008, 0)->eax & 0xff, ==, 46);
    g_assert_nonnull(cpu_leaves_find(vendor, 4, 3)); /* Intel's way to describe caches */
}

static void test_missing(void)
{
    struct cpu_model *c = parse("trapeze-v1");
    struct kvm_cpuid2 *supported = everything();
    g_autofree char *missing = NULL, *nothing = NULL;
    GError *error = NULL;

    take_away(supported, "rdseed");
    g_assert_true(cpu_model_resolve_from(c, supported, 1, &missing, &error));
    g_assert_cmpstr(missing, ==, "rdseed");
    cpu_model_free(c);

    c = parse("trapeze-v1,+sha,+rdseed");
    g_assert_false(cpu_model_resolve_from(c, supported, 1, &nothing, &error));
    g_assert_nonnull(strstr(error->message, "+rdseed"));
    g_clear_error(&error);
    g_assert_null(nothing);
    cpu_model_free(c);
    g_free(supported);
}

/* Without a name the best whole model is taken. */
static void test_automatic(void)
{
    struct kvm_cpuid2 *supported = everything();
    g_autofree char *missing = NULL;
    GError *error = NULL;

    for (unsigned i = 0; i < 2; i++) {
        struct cpu_model *c = parse(NULL);
        g_assert_true(cpu_model_resolve_from(c, supported, 1, &missing, &error));
        g_assert_null(missing);
        g_assert_cmpstr(cpu_model_name(c), ==, i ? "trapeze-v0" : "trapeze-v1");
        cpu_model_free(c);
        take_away(supported, "avx2");
    }
    g_free(supported);
}

static void test_host(void)
{
    g_autofree struct kvm_cpuid2 *host = leaves("host,-sha", everything(), 1, 0);

    g_assert_true(has(host, "avx512f"));
    g_assert_false(has(host, "sha"));
    g_assert_cmphex(cpu_leaves_find(host, 1, 0)->eax, ==, 0xabcdef);
    g_assert_cmphex(cpu_leaves_find(host, 0x80000008, 0)->eax & 0xff, ==, 48);
}

static void test_topology(void)
{
    for (unsigned cpus = 1; cpus <= 255; cpus += cpus < 9 ? 1 : 41) {
        g_autofree struct kvm_cpuid2 *list = leaves("trapeze-v1", everything(), cpus, cpus - 1);
        const struct kvm_cpuid_entry2 *one = cpu_leaves_find(list, 1, 0);
        const struct kvm_cpuid_entry2 *cores = cpu_leaves_find(list, 0xb, 1);

        g_assert_cmpuint(one->ebx >> 24, ==, cpus - 1);
        g_assert_cmpint(has(list, "ht"), ==, cpus > 1);
        g_assert_cmpuint(cores->edx, ==, cpus - 1);
        g_assert_cmpuint(cores->ebx, ==, cpus);
        g_assert_cmpuint((cpus - 1) >> cores->eax, ==, 0); /* one package */
        g_assert_cmphex(cores->ecx, ==, 0x201);
        g_assert_cmphex(cpu_leaves_find(list, 0xb, 0)->ecx, ==, 0x100);
        g_assert_cmpuint((cpu_leaves_find(list, 0x80000008, 0)->ecx & 0xff) + 1, ==, cpus);
    }
}

/* No leaf stands twice, and none is beyond what leaf 0 and 0x80000000 announce. */
static void test_well_formed(void)
{
    g_autofree struct kvm_cpuid2 *list = leaves("trapeze-v1,vendor=intel", everything(), 3, 2);

    for (unsigned i = 0; i < list->nent; i++) {
        uint32_t leaf = list->entries[i].function;

        for (unsigned j = 0; j < i; j++)
            g_assert_false(list->entries[j].function == leaf &&
                           list->entries[j].index == list->entries[i].index);
        g_assert_cmphex(leaf, <=, cpu_leaves_find(list, leaf & 0xf0000000, 0)->eax);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-model/features", test_features);
    g_test_add_func("/cpu-model/parse-errors", test_parse_errors);
    g_test_add_func("/cpu-model/exact", test_exact);
    g_test_add_func("/cpu-model/changes", test_changes);
    g_test_add_func("/cpu-model/missing", test_missing);
    g_test_add_func("/cpu-model/automatic", test_automatic);
    g_test_add_func("/cpu-model/host", test_host);
    g_test_add_func("/cpu-model/topology", test_topology);
    g_test_add_func("/cpu-model/well-formed", test_well_formed);
    return g_test_run();
}
