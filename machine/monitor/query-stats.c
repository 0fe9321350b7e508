/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* query-stats and query-stats-schemas: counters of the vCPUs, and their sums for the VM. */
#include "private.h"

#include "machine/vcpu.h"

#include <string.h>

#define PROVIDER "trapeze"

/* ---- the counters ---- */

/* Of what the vCPU's thread counts itself: a question to the engine would wait until the vCPU
 * leaves the guest. */

typedef uint64_t counter_fn(struct machine_vcpu *v);

static uint64_t exits_of(struct machine_vcpu *v, unsigned reason)
{
    return __atomic_load_n(&v->exits[reason], __ATOMIC_RELAXED);
}

static uint64_t count_exits(struct machine_vcpu *v)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < VCPU_EXIT_REASONS; i++)
        sum += exits_of(v, i);
    return sum;
}

static uint64_t count_io(struct machine_vcpu *v)
{
    return exits_of(v, KVM_EXIT_IO);
}

static uint64_t count_mmio(struct machine_vcpu *v)
{
    return exits_of(v, KVM_EXIT_MMIO);
}

static uint64_t count_kicks(struct machine_vcpu *v)
{
    return exits_of(v, KVM_EXIT_INTR);
}

static const struct counter {
    const char *name;
    counter_fn *get;
} counters[] = {
    {"exits-to-machine", count_exits},
    {"io-exits-to-machine", count_io},
    {"mmio-exits-to-machine", count_mmio},
    {"kicks", count_kicks},
};

/* ---- what the client asks for ---- */

/* Whether the array NAMES, if there is one, has NAME. */
static bool named(const json_t *names, const char *name)
{
    size_t i;
    json_t *value;

    if (!names)
        return true;
    json_array_foreach(names, i, value)
    {
        if (json_is_string(value) && !strcmp(json_string_value(value), name))
            return true;
    }
    return false;
}

/* A request's wishes. */
struct wish {
    bool vcpus;          /* else the VM */
    const json_t *paths; /* of vCPUs, or NULL for all */
    const json_t *names; /* of counters, likewise */
    bool elsewhere;      /* providers were named, and we are not among them */
};

static bool wrong(GError **error, const char *text)
{
    g_set_error_literal(error, QMP_ERROR, QMP_GENERIC, text);
    return false;
}

static bool take_providers(struct wish *w, const json_t *providers, GError **error)
{
    size_t i;
    json_t *one;

    w->elsewhere = providers;
    json_array_foreach(providers, i, one)
    {
        const char *provider = json_string_value(json_object_get(one, "provider"));
        json_t *names = json_object_get(one, "names");

        if (!provider || (names && !json_is_array(names)))
            return wrong(error, "argument 'providers' must be a list of objects with the string "
                                "'provider' and perhaps a list 'names'");
        if (strcmp(provider, PROVIDER))
            continue;
        w->elsewhere = false;
        w->names = names;
    }
    return true;
}

static bool take_wish(struct wish *w, const json_t *arguments, GError **error)
{
    const char *target = json_string_value(json_object_get(arguments, "target"));
    const json_t *vcpus = json_object_get(arguments, "vcpus");

    if (strcmp(target, "vm") && strcmp(target, "vcpu"))
        return wrong(error, "argument 'target' must be vm or vcpu");
    w->vcpus = !strcmp(target, "vcpu");
    if (vcpus && !w->vcpus)
        return wrong(error, "argument 'vcpus' goes with the target vcpu only");
    w->paths = vcpus ? json_object_get(vcpus, "vcpus") : NULL;
    if (w->paths && !json_is_array(w->paths))
        return wrong(error, "argument 'vcpus' must have a list 'vcpus' of paths");
    return take_providers(w, json_object_get(arguments, "providers"), error);
}

/* ---- answers ---- */

/* The counters of vCPUs FIRST to BEYOND - 1, added up. */
static json_t *values(struct machine *m, const struct wish *w, unsigned first, unsigned beyond)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
        uint64_t sum = 0;

        if (!named(w->names, counters[i].name))
            continue;
        for (unsigned n = first; n < beyond; n++)
            sum += counters[i].get(m->vcpus[n]);
        json_array_append_new(
            list, json_pack("{s:s, s:I}", "name", counters[i].name, "value", (json_int_t)sum));
    }
    return list;
}

json_t *query_stats(struct monitor *mon, json_t *arguments, GError **error)
{
    struct machine *m = mon->machine;
    struct wish w = {0};

    if (!take_wish(&w, arguments, error))
        return NULL;
    json_t *list = json_array();
    if (w.elsewhere)
        return list;
    if (!w.vcpus)
        json_array_append_new(list, json_pack("{s:s, s:o}", "provider", PROVIDER, "stats",
                                              values(m, &w, 0, m->cpus)));
    for (unsigned i = 0; w.vcpus && i < m->cpus; i++) {
        g_autofree char *path = query_cpu_path(i);

        if (named(w.paths, path))
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:o}", "provider", PROVIDER, "qom-path",
                                            path, "stats", values(m, &w, i, i + 1)));
    }
    return list;
}

static json_t *schema(const char *target)
{
    json_t *stats = json_array();

    for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
        json_array_append_new(stats, json_pack("{s:s, s:s, s:i}", "name", counters[i].name, "type",
                                               "cumulative", "exponent", 0));
    return json_pack("{s:s, s:s, s:o}", "provider", PROVIDER, "target", target, "stats", stats);
}

json_t *query_stats_schemas(struct monitor *mon, json_t *arguments, GError **error)
{
    const char *provider = json_string_value(json_object_get(arguments, "provider"));
    json_t *list = json_array();

    (void)mon, (void)error;
    if (provider && strcmp(provider, PROVIDER))
        return list;
    json_array_append_new(list, schema("vm"));
    json_array_append_new(list, schema("vcpu"));
    return list;
}
