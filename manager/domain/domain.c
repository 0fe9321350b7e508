/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of a domain without asking its guest, and changes of its definition. */
#include "domain-private.h"

#include <string.h>

/* virDomainModificationImpact, virDomainMemoryModFlags, virDomainVcpuFlags */
enum { AFFECT_LIVE = 1, AFFECT_CONFIG = 2, MAXIMUM = 4 };
#define XML_INACTIVE 2
#define CPUS_MAX     255

const char *domain_name(const struct domain *d)
{
    return d->name;
}

const uint8_t *domain_uuid(const struct domain *d)
{
    return d->uuid;
}

int domain_id(const struct domain *d)
{
    return d->id;
}

bool domain_is_active(const struct domain *d)
{
    return d->id >= 0;
}

bool domain_is_persistent(const struct domain *d)
{
    return d->config;
}

bool domain_is_updated(const struct domain *d)
{
    (void)d; /* of libvirt's drivers some track this; QEMU's says no */
    return false;
}

const char *domain_os_type(const struct domain *d)
{
    (void)d;
    return "hvm";
}

const char *domain_host_name(const struct domain *d)
{
    (void)d;
    return g_get_host_name();
}

bool domain_autostart(const struct domain *d)
{
    return d->all && d->config && store_autostart(d->all->store, d->name);
}

bool domain_set_autostart(struct domain *d, bool on, GError **error)
{
    if (!domain_check(d, error))
        return false;
    if (!d->config) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "cannot set autostart for transient domain");
        return false;
    }
    return store_set_autostart(d->all->store, d->name, on, error);
}

/* What describes the domain now; never NULL while the list knows it. */
static const struct definition *current(const struct domain *d)
{
    return d->live ? d->live : d->config ? d->config : d->initial;
}

char *domain_xml(struct domain *d, unsigned flags, GError **error)
{
    if (!domain_check(d, error))
        return NULL;
    if (flags & XML_INACTIVE)
        return definition_format(d->config ? d->config : current(d), true);
    return definition_format(current(d), false);
}

/* Which definitions FLAGS (0: what is now) mean; false with ERROR set where there is none. */
static bool affected(struct domain *d, unsigned flags, bool *live, bool *config, GError **error)
{
    if (!domain_check(d, error))
        return false;
    bool active = domain_is_active(d);
    *live = flags & AFFECT_LIVE || (!(flags & AFFECT_CONFIG) && active);
    *config = flags & AFFECT_CONFIG || (!(flags & AFFECT_LIVE) && !active);
    if (*live && !domain_check_active(d, error))
        return false;
    if (*config && !d->config) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "transient domains do not have any persistent config");
        return false;
    }
    return true;
}

/* ---- metadata ---- */

char *domain_metadata(struct domain *d, int type, const char *uri, unsigned flags, GError **error)
{
    bool live, config;

    if (!affected(d, flags, &live, &config, error))
        return NULL;
    return definition_metadata(config ? d->config : d->live, type, uri, error);
}

/* A copy of D's configuration, to be changed and then kept by keep. */
static struct definition *copy_of(struct domain *d)
{
    return definition_copy(d->config);
}

/* Makes CONFIG, which it takes, D's configuration, on disk first. */
static bool keep(struct domain *d, struct definition *config, GError **error)
{
    if (!domain_store(d, config, error)) {
        definition_free(config);
        return false;
    }
    definition_free(d->config);
    d->config = config;
    return true;
}

bool domain_set_metadata(struct domain *d, int type, const char *value, const char *key,
                         const char *uri, unsigned flags, GError **error)
{
    bool live, config;

    if (!affected(d, flags, &live, &config, error))
        return false;
    if (config) {
        struct definition *changed = copy_of(d);

        if (!definition_set_metadata(changed, type, value, key, uri, error)) {
            definition_free(changed);
            return false;
        }
        if (!keep(d, changed, error))
            return false;
    }
    if (live) {
        if (!definition_set_metadata(d->live, type, value, key, uri, error))
            return false;
        return state_write(d, error);
    }
    return true;
}

/* ---- memory and vCPUs ---- */

bool domain_set_memory(struct domain *d, uint64_t kib, unsigned flags, GError **error)
{
    bool live, config;

    if (!affected(d, flags, &live, &config, error))
        return false;
    if (live && flags & MAXIMUM) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "cannot resize the maximum memory on an active domain");
        return false;
    }
    if (live) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "the memory of a running guest cannot be changed: it has no balloon; "
                          "give --config");
        return false;
    }
    if (!kib) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "memory must not be zero");
        return false;
    }
    if (!(flags & MAXIMUM) && kib > d->config->memory) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "cannot set memory higher than max memory");
        return false;
    }
    struct definition *changed = copy_of(d);
    if (flags & MAXIMUM)
        definition_set_memory(changed, kib, MIN(kib, changed->current_memory));
    else
        definition_set_memory(changed, changed->memory, kib);
    return keep(d, changed, error);
}

bool domain_set_vcpus(struct domain *d, unsigned vcpus, unsigned flags, GError **error)
{
    bool live, config;

    if (!affected(d, flags, &live, &config, error))
        return false;
    if (!vcpus) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "vCPU count must not be zero");
        return false;
    }
    if (live && flags & MAXIMUM) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "the maximum number of vCPUs of a running guest cannot be changed");
        return false;
    }
    unsigned most = flags & MAXIMUM ? CPUS_MAX : live ? d->live->vcpus_max : d->config->vcpus_max;
    if (vcpus > most) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "requested vcpus is greater than max allowable vcpus for the %s domain: "
                          "%u > %u",
                          live ? "live" : "persistent", vcpus, most);
        return false;
    }
    if (live && vcpus != d->live->vcpus) {
        manager_error_set(error, MANAGER_ERROR_CONFIG_UNSUPPORTED,
                          "the vCPUs of a running guest cannot be changed; give --config");
        return false;
    }
    if (!config)
        return true;
    struct definition *changed = copy_of(d);
    if (flags & MAXIMUM)
        definition_set_vcpus(changed, vcpus, MIN(vcpus, changed->vcpus));
    else
        definition_set_vcpus(changed, changed->vcpus_max, vcpus);
    return keep(d, changed, error);
}

int domain_vcpus(struct domain *d, unsigned flags, GError **error)
{
    bool live, config;

    if (!affected(d, flags, &live, &config, error))
        return -1;
    const struct definition *of = config ? d->config : d->live;
    return (int)(flags & MAXIMUM ? of->vcpus_max : of->vcpus);
}
