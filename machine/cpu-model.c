/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU models: parsing --cpu, and making the exact list out of what the engine supports. */
#include "cpu-model.h"

#include "core.h"
#include "cpu-leaves.h"

#include <errno.h>
#include <string.h>

#define VENDOR_LENGTH 12
#define PHYS_BITS     40
#define PHYS_BITS_MIN 36
#define PHYS_BITS_MAX 52
#define SUPPORTED_MAX 4096

#define V0_FEATURES                                                                                \
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr "    \
    "sse sse2 sse3 ssse3 cx16 sse4_1 sse4_2 x2apic popcnt tsc-deadline hypervisor arat "           \
    "tsc_adjust syscall nx rdtscp lm lahf_lm kvmclock kvm-nopiodelay kvmclock2 kvmclock-stable"
#define V1_FEATURES                                                                                \
    V0_FEATURES " xsave xsaveopt avx avx2 fma f16c bmi1 bmi2 movbe lzcnt aes pclmulqdq rdrand "    \
                "rdseed adx fsgsbase smep smap umip erms pcid invpcid pdpe1gb prefetchw"

static const struct model {
    const char *name, *brand, *features; /* features NULL: all that the engine offers */
} models[] = {
    {"trapeze-v1", "Trapeze v1 virtual CPU", V1_FEATURES},
    {"trapeze-v0", "Trapeze v0 virtual CPU", V0_FEATURES},
    {"host", NULL, NULL},
};
enum { MODEL_V1, MODEL_V0, MODEL_HOST };

/* What the default model has besides on the software engine: bits that keep guests from mitigations
 * which do nothing there but cost time (docs/security.md). */
static const struct {
    const char *name;
    bool intel; /* with Intel's vendor id only: no processor of AMD's has it */
} software_extras[] = {
    {"btc-no", false},
    {"srso-no", false},
    {"auto-ibrs", false},
    {"arch-capabilities", true},
};

struct change {
    int feature;
    bool on;
};

struct cpu_model {
    char *text;
    const struct model *model;      /* NULL: the best, see cpu_model_resolve */
    GArray *changes;                /* of struct change, in order */
    char vendor[VENDOR_LENGTH + 1]; /* empty: what the engine says */
    unsigned phys_bits;             /* 0: the default */
    unsigned cpus;
    struct kvm_cpuid2 *cpuid; /* resolved; without topology */
};

char *cpu_model_list(void)
{
    return g_strjoin(" ", models[MODEL_V1].name, models[MODEL_V0].name, models[MODEL_HOST].name,
                     NULL);
}

char *cpu_feature_list(void)
{
    GString *s = g_string_new(NULL);

    for (unsigned i = 0; i < cpu_feature_count; i++)
        g_string_append_printf(s, "%s%s", i ? " " : "", cpu_features[i].name);
    return g_string_free(s, FALSE);
}

/* ---- parsing ---- */

static bool parse_change(struct cpu_model *c, const char *text, GError **error)
{
    struct change change = {cpu_feature_find(text + 1), text[0] == '+'};

    if (change.feature >= 0) {
        g_array_append_val(c->changes, change);
        return true;
    }
    g_autofree char *near = cpu_feature_near(text + 1);
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                "--cpu: there is no CPU feature `%s`; %s%s", text + 1,
                near ? "did you mean " : "see `trapeze help cpu`", near ? near : "");
    return false;
}

static bool parse_vendor(struct cpu_model *c, const char *name, GError **error)
{
    static const struct {
        const char *name, *id;
    } vendors[] = {
        {"intel", "GenuineIntel"},   {"amd", "AuthenticAMD"},     {"hygon", "HygonGenuine"},
        {"centaur", "CentaurHauls"}, {"zhaoxin", "  Shanghai  "},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(vendors); i++)
        if (!g_ascii_strcasecmp(name, vendors[i].name))
            name = vendors[i].id;
    if (strlen(name) != VENDOR_LENGTH) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--cpu: vendor=%s: give intel, amd, or the twelve characters of CPUID leaf 0",
                    name);
        return false;
    }
    g_strlcpy(c->vendor, name, sizeof c->vendor);
    return true;
}

static bool parse_phys_bits(struct cpu_model *c, const char *text, GError **error)
{
    guint64 bits;

    if (!g_ascii_string_to_unsigned(text, 10, PHYS_BITS_MIN, PHYS_BITS_MAX, &bits, NULL)) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--cpu: phys-bits=%s: give a number from %d to %d", text, PHYS_BITS_MIN,
                    PHYS_BITS_MAX);
        return false;
    }
    c->phys_bits = (unsigned)bits;
    return true;
}

static bool parse_part(struct cpu_model *c, const char *text, GError **error)
{
    if (text[0] == '+' || text[0] == '-')
        return parse_change(c, text, error);
    if (g_str_has_prefix(text, "vendor="))
        return parse_vendor(c, strchr(text, '=') + 1, error);
    if (g_str_has_prefix(text, "phys-bits="))
        return parse_phys_bits(c, strchr(text, '=') + 1, error);
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                "--cpu: `%s` is none of +FEATURE, -FEATURE, vendor=NAME, phys-bits=N", text);
    return false;
}

static bool parse_model(struct cpu_model *c, const char *name, GError **error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        if (!strcmp(name, models[i].name)) {
            c->model = &models[i];
            return true;
        }
    g_autofree char *list = cpu_model_list();
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                "--cpu: there is no CPU model `%s`; there are: %s", name, list);
    return false;
}

struct cpu_model *cpu_model_new(const char *text, GError **error)
{
    struct cpu_model *c = g_new0(struct cpu_model, 1);
    g_auto(GStrv) parts = g_strsplit(text ? text : "", ",", -1);
    bool good = true;

    c->changes = g_array_new(FALSE, FALSE, sizeof(struct change));
    c->text = g_strdup(text);
    if (text)
        good = parse_model(c, parts[0] ? parts[0] : "", error);
    for (unsigned i = 1; good && text && parts[0] && parts[i]; i++)
        good = parse_part(c, parts[i], error);
    if (!good) {
        cpu_model_free(c);
        return NULL;
    }
    return c;
}

void cpu_model_free(struct cpu_model *c)
{
    if (!c)
        return;
    g_array_free(c->changes, TRUE);
    g_free(c->text);
    g_free(c->cpuid);
    g_free(c);
}

const char *cpu_model_name(const struct cpu_model *c)
{
    return c->text ? c->text : c->model->name;
}

/* ---- feature sets ---- */

static bool supports(const struct kvm_cpuid2 *supported, int feature)
{
    const struct cpu_feature *f = &cpu_features[feature];
    const struct kvm_cpuid_entry2 *e = cpu_leaves_find(supported, f->leaf, f->subleaf);

    return e && *cpu_leaves_register((struct kvm_cpuid_entry2 *)e, f->reg) >> f->bit & 1;
}

static void switch_on(bool *set, int feature)
{
    int needed;

    set[feature] = true;
    for (unsigned n = 0; (needed = cpu_feature_needs(feature, n)) >= 0; n++)
        switch_on(set, needed);
}

/* Leaves out what cannot be without something that is out. */
static void drop_orphans(bool *set)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (unsigned i = 0; i < cpu_feature_count; i++) {
            int needed;

            for (unsigned n = 0; set[i] && (needed = cpu_feature_needs((int)i, n)) >= 0; n++)
                if (!set[needed])
                    set[i] = false, changed = true;
        }
    }
}

/* The set that the model and the changes ask for. */
static void wanted_set(const struct cpu_model *c, const struct model *model,
                       const struct kvm_cpuid2 *supported, bool *set)
{
    g_auto(GStrv) names = g_strsplit(model->features ? model->features : "", " ", -1);

    for (unsigned i = 0; i < cpu_feature_count; i++)
        set[i] = !model->features && supports(supported, (int)i);
    for (unsigned i = 0; names[i]; i++)
        if (*names[i])
            set[cpu_feature_find(names[i])] = true;
    for (unsigned i = 0; i < c->changes->len; i++) {
        const struct change *change = &g_array_index(c->changes, struct change, i);

        if (change->on)
            switch_on(set, change->feature);
        else
            set[change->feature] = false;
    }
    drop_orphans(set);
}

/* Takes out of SET what is not supported.  A feature that was asked for by name is an error. */
static bool filter_set(const struct cpu_model *c, const struct kvm_cpuid2 *supported, bool *set,
                       GString *missing, GError **error)
{
    for (unsigned i = 0; i < c->changes->len; i++) {
        const struct change *change = &g_array_index(c->changes, struct change, i);

        if (change->on && set[change->feature] && !supports(supported, change->feature)) {
            g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                        "--cpu: +%s: the engine cannot offer this feature on this host",
                        cpu_features[change->feature].name);
            return false;
        }
    }
    for (unsigned i = 0; i < cpu_feature_count; i++) {
        if (!set[i] || supports(supported, (int)i))
            continue;
        set[i] = false;
        g_string_append_printf(missing, "%s%s", missing->len ? " " : "", cpu_features[i].name);
    }
    drop_orphans(set);
    return true;
}

static bool complete(const struct cpu_model *c, const struct model *model,
                     const struct kvm_cpuid2 *supported)
{
    g_autofree bool *set = g_new0(bool, cpu_feature_count);

    wanted_set(c, model, supported, set);
    for (unsigned i = 0; i < cpu_feature_count; i++)
        if (set[i] && !supports(supported, (int)i))
            return false;
    return true;
}

/* ---- leaves ---- */

static void supported_vendor(const struct kvm_cpuid2 *supported, char vendor[VENDOR_LENGTH + 1])
{
    const struct kvm_cpuid_entry2 *e = cpu_leaves_find(supported, 0, 0);

    g_strlcpy(vendor, "GenuineIntel", VENDOR_LENGTH + 1);
    if (!e || !e->ebx)
        return;
    memcpy(vendor, &e->ebx, 4);
    memcpy(vendor + 4, &e->edx, 4);
    memcpy(vendor + 8, &e->ecx, 4);
}

static unsigned supported_phys_bits(const struct kvm_cpuid2 *supported)
{
    const struct kvm_cpuid_entry2 *e = cpu_leaves_find(supported, 0x80000008, 0);

    return e ? e->eax & 0xff : PHYS_BITS_MIN;
}

/* `host`: the supported leaves with the changes applied. */
static struct kvm_cpuid2 *host_leaves(const struct cpu_model *c, const struct kvm_cpuid2 *supported,
                                      const bool *set)
{
    struct kvm_cpuid2 *list = cpu_leaves_new();
    struct kvm_cpuid_entry2 *e;

    list->nent = MIN(supported->nent, CPU_LEAVES_MAX - 8u);
    memcpy(list->entries, supported->entries, list->nent * sizeof list->entries[0]);
    for (unsigned i = 0; i < cpu_feature_count; i++) {
        const struct cpu_feature *f = &cpu_features[i];

        e = (struct kvm_cpuid_entry2 *)cpu_leaves_find(list, f->leaf, f->subleaf);
        if (e && !set[i])
            *cpu_leaves_register(e, f->reg) &= ~(1u << f->bit);
    }
    e = cpu_leaves_entry(list, 0x80000008, 0);
    if (e && c->phys_bits)
        e->eax = (e->eax & ~0xffu) | c->phys_bits;
    cpu_leaves_set_linear_bits(list);
    for (unsigned i = 0; i < 2 && c->vendor[0]; i++) {
        e = cpu_leaves_entry(list, i ? 0x80000000 : 0, 0);
        if (!e)
            continue;
        memcpy(&e->ebx, c->vendor, 4);
        memcpy(&e->edx, c->vendor + 4, 4);
        memcpy(&e->ecx, c->vendor + 8, 4);
    }
    return list;
}

static struct kvm_cpuid2 *model_leaves(const struct cpu_model *c,
                                       const struct kvm_cpuid2 *supported, const bool *set)
{
    char vendor[VENDOR_LENGTH + 1];
    struct cpu_leaves_config config = {
        .vendor = c->vendor,
        .brand = c->model->brand,
        .phys_bits = c->phys_bits ? c->phys_bits : MIN(PHYS_BITS, supported_phys_bits(supported)),
        .cpus = c->cpus,
        .feature = set,
    };

    if (!c->vendor[0]) {
        supported_vendor(supported, vendor);
        config.vendor = vendor;
    }
    return cpu_leaves_build(&config);
}

bool cpu_model_resolve_from(struct cpu_model *c, const struct kvm_cpuid2 *supported, unsigned cpus,
                            char **missing, GError **error)
{
    g_autofree bool *set = g_new0(bool, cpu_feature_count);
    GString *left_out = g_string_new(NULL);

    c->cpus = cpus;
    if (!c->model)
        c->model = &models[complete(c, &models[MODEL_V1], supported) ? MODEL_V1 : MODEL_V0];
    wanted_set(c, c->model, supported, set);
    bool good = filter_set(c, supported, set, left_out, error);
    if (good) {
        g_free(c->cpuid);
        c->cpuid =
            c->model->features ? model_leaves(c, supported, set) : host_leaves(c, supported, set);
    }
    *missing = g_string_free(left_out, !good || !left_out->len);
    return good;
}

/* ---- with an engine ---- */

/* The engine's supported leaves, with the bits that KVM leaves to its user.  g_free; NULL with
 * ERROR set. */
static struct kvm_cpuid2 *get_supported(struct machine *m, GError **error)
{
    struct kvm_cpuid2 *list = NULL;
    long result = -E2BIG;

    for (unsigned room = 128; result == -E2BIG && room <= SUPPORTED_MAX; room *= 2) {
        g_free(list);
        list = g_malloc0(sizeof *list + room * sizeof list->entries[0]);
        list->nent = room;
        result = engine_ioctl_pointer(m->engine, m->engine->system, KVM_GET_SUPPORTED_CPUID, list);
    }
    if (result < 0) {
        core_error(error, m, "KVM_GET_SUPPORTED_CPUID", result);
        g_free(list);
        return NULL;
    }
    struct kvm_cpuid_entry2 *one = (struct kvm_cpuid_entry2 *)cpu_leaves_find(list, 1, 0);
    if (one) {
        one->ecx |= 1u << 31 | 1u << 21; /* hypervisor; x2APIC, as the irqchip is the engine's */
        if (engine_ioctl(m->engine, m->vm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
            one->ecx |= 1u << 24;
    }
    return list;
}

/* Adds what the software engine's default model has besides. */
static void add_extras(struct cpu_model *c, const struct kvm_cpuid2 *supported)
{
    char vendor[VENDOR_LENGTH + 1];

    supported_vendor(supported, vendor);
    for (unsigned i = 0; i < ARRAY_SIZE(software_extras); i++) {
        struct change change = {cpu_feature_find(software_extras[i].name), true};

        if (supports(supported, change.feature) &&
            (!software_extras[i].intel || !strcmp(vendor, "GenuineIntel")))
            g_array_append_val(c->changes, change);
    }
}

/* The text that asks for what C has become. */
static char *whole_text(const struct cpu_model *c)
{
    GString *s = g_string_new(c->model->name);

    for (unsigned i = 0; i < c->changes->len; i++) {
        const struct change *change = &g_array_index(c->changes, struct change, i);
        g_string_append_printf(s, ",%c%s", change->on ? '+' : '-',
                               cpu_features[change->feature].name);
    }
    return g_string_free(s, FALSE);
}

bool cpu_model_resolve(struct cpu_model *c, struct machine *m, GError **error)
{
    g_autofree struct kvm_cpuid2 *supported = get_supported(m, error);
    g_autofree char *missing = NULL;
    bool automatic = !c->model;

    if (supported && automatic && m->engine->extended)
        add_extras(c, supported);
    if (!supported || !cpu_model_resolve_from(c, supported, m->config->cpus, &missing, error))
        return false;
    if (automatic)
        c->text = whole_text(c);
    if (automatic && c->model == &models[MODEL_V0])
        machine_log(m, true, "CPU model trapeze-v0, because trapeze-v1 is not whole here");
    if (missing)
        machine_log(m, true, "CPU model %s without what this host lacks: %s", cpu_model_name(c),
                    missing);
    machine_log(m, false, "CPU model %s, %u vCPU%s", cpu_model_name(c), m->config->cpus,
                m->config->cpus == 1 ? "" : "s");
    return true;
}

struct kvm_cpuid2 *cpu_model_cpuid(const struct cpu_model *c, unsigned index)
{
    struct kvm_cpuid2 *list = cpu_leaves_new();

    memcpy(list, c->cpuid, sizeof *list + c->cpuid->nent * sizeof list->entries[0]);
    cpu_leaves_set_topology(list, c->cpus, index);
    return list;
}

bool cpu_model_apply(const struct cpu_model *c, struct machine *m, struct engine_file *vcpu,
                     unsigned index, GError **error)
{
    g_autofree struct kvm_cpuid2 *list = cpu_model_cpuid(c, index);
    long result = engine_ioctl_pointer(m->engine, vcpu, KVM_SET_CPUID2, list);

    return result >= 0 || core_error(error, m, "KVM_SET_CPUID2", result);
}
