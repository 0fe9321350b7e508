/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures of what a domain is, and of its configuration. */
#include "manager/rpc/procedures.h"

#include <string.h>

#define AFFECT_LIVE    1u /* virDomainModificationImpact */
#define VCPU_MAXIMUM   4u /* virDomainVcpuFlags */
#define MEMORY_MAXIMUM 4u /* virDomainMemoryModFlags */
#define XML_SECURE     1u /* virDomainXMLFlags: with passwords */
#define JOB_NUMBERS    11 /* of virDomainJobInfo */
#define VCPU_MAPS_MAX  (1 << 20)

bool get_xml(struct call *call, GError **error)
{
    uint32_t flags = call->arguments.v[1].u;

    if (flags & XML_SECURE && call->client->read_only) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_DENIED, "%s with secure flag",
                          call->row->name);
        return false;
    }
    g_autofree char *xml = domain_xml(call->domain, flags, error);
    if (xml)
        xdr_put_string(&call->reply, xml);
    return xml;
}

bool get_info(struct call *call, GError **error)
{
    struct domain_info info;

    (void)error;
    domain_info(call->domain, &info);
    xdr_put_u32(&call->reply, info.state);
    xdr_put_u64(&call->reply, info.max_memory);
    xdr_put_u64(&call->reply, info.memory);
    xdr_put_u32(&call->reply, info.vcpus);
    xdr_put_u64(&call->reply, info.cpu_time);
    return true;
}

bool get_state(struct call *call, GError **error)
{
    struct domain_info info;

    (void)error;
    domain_info(call->domain, &info);
    xdr_put_i32(&call->reply, (int)info.state);
    xdr_put_i32(&call->reply, info.reason);
    return true;
}

static bool not_running(GError **error)
{
    manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID, "domain is not running");
    return false;
}

/* virDomainGetControlInfo: jobs are answered, so whoever asks finds the control free. */
bool get_control(struct call *call, GError **error)
{
    if (!domain_is_active(call->domain))
        return not_running(error);
    xdr_put_u32(&call->reply, 0);
    xdr_put_u32(&call->reply, 0);
    xdr_put_u64(&call->reply, 0);
    return true;
}

/* Jobs that clients may watch are migrations and the like: there are none. */
bool get_job_info(struct call *call, GError **error)
{
    if (!domain_is_active(call->domain))
        return not_running(error);
    xdr_put_i32(&call->reply, 0);
    for (unsigned i = 0; i < JOB_NUMBERS; i++)
        xdr_put_u64(&call->reply, 0);
    return true;
}

bool get_job_stats(struct call *call, GError **error)
{
    if (!domain_is_active(call->domain))
        return not_running(error);
    xdr_put_i32(&call->reply, 0);
    xdr_put_u32(&call->reply, 0);
    return true;
}

bool get_os_type(struct call *call, GError **error)
{
    (void)error;
    xdr_put_string(&call->reply, domain_os_type(call->domain));
    return true;
}

bool get_max_memory(struct call *call, GError **error)
{
    struct domain_info info;

    (void)error;
    domain_info(call->domain, &info);
    xdr_put_u64(&call->reply, info.max_memory);
    return true;
}

bool get_max_vcpus(struct call *call, GError **error)
{
    int count = domain_vcpus(call->domain, AFFECT_LIVE | VCPU_MAXIMUM, error);

    xdr_put_i32(&call->reply, count);
    return count >= 0;
}

bool get_vcpu_count(struct call *call, GError **error)
{
    int count = domain_vcpus(call->domain, call->arguments.v[1].u, error);

    xdr_put_i32(&call->reply, count);
    return count >= 0;
}

/* COUNT maps of LENGTH bytes that allow each of the host's CPUs: nothing is pinned. */
static bool put_maps(struct call *call, unsigned count, int length, GError **error)
{
    unsigned present, online;
    g_autoptr(GByteArray) host = node_cpu_map(&present, &online);

    if (length < 0 || (uint64_t)count * (unsigned)length > VCPU_MAPS_MAX) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "the CPU maps that %s asks for are too long", call->row->name);
        return false;
    }
    g_autofree uint8_t *maps = g_malloc0((size_t)count * (unsigned)length + 1);
    for (unsigned i = 0; i < count; i++)
        memcpy(maps + (size_t)i * (unsigned)length, host->data, MIN((unsigned)length, host->len));
    xdr_put_opaque(&call->reply, maps, (size_t)count * (unsigned)length);
    return true;
}

bool get_vcpus(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;

    if (!domain_is_active(call->domain)) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "cannot retrieve vcpu information for inactive domain");
        return false;
    }
    g_autoptr(GArray) all = domain_vcpu_list(call->domain, error);
    if (!all)
        return false;
    unsigned count = MIN(all->len, (unsigned)MAX(v[1].i, 0));
    xdr_put_u32(&call->reply, count);
    for (unsigned i = 0; i < count; i++) {
        const struct domain_vcpu *vcpu = &g_array_index(all, struct domain_vcpu, i);

        xdr_put_u32(&call->reply, vcpu->number);
        xdr_put_i32(&call->reply, vcpu->state);
        xdr_put_u64(&call->reply, vcpu->cpu_time);
        xdr_put_i32(&call->reply, vcpu->cpu);
    }
    return put_maps(call, count, v[2].i, error);
}

bool get_vcpu_pins(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;
    int count = domain_vcpus(call->domain, (v[3].u & 3) | VCPU_MAXIMUM, error);

    if (count < 0)
        return false;
    count = MIN(count, MAX(v[1].i, 0));
    if (!put_maps(call, (unsigned)count, v[2].i, error))
        return false;
    xdr_put_i32(&call->reply, count);
    return true;
}

bool get_autostart(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, domain_autostart(call->domain));
    return true;
}

bool set_autostart(struct call *call, GError **error)
{
    return domain_set_autostart(call->domain, call->arguments.v[1].i, error);
}

bool is_active(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, domain_is_active(call->domain));
    return true;
}

bool is_persistent(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, domain_is_persistent(call->domain));
    return true;
}

bool is_updated(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, domain_is_updated(call->domain));
    return true;
}

bool set_memory(struct call *call, GError **error)
{
    return domain_set_memory(call->domain, call->arguments.v[1].ul, AFFECT_LIVE, error);
}

bool set_memory_flags(struct call *call, GError **error)
{
    return domain_set_memory(call->domain, call->arguments.v[1].ul, call->arguments.v[2].u, error);
}

bool set_max_memory(struct call *call, GError **error)
{
    return domain_set_memory(call->domain, call->arguments.v[1].ul, MEMORY_MAXIMUM, error);
}

bool set_vcpus(struct call *call, GError **error)
{
    return domain_set_vcpus(call->domain, call->arguments.v[1].u, AFFECT_LIVE, error);
}

bool set_vcpus_flags(struct call *call, GError **error)
{
    return domain_set_vcpus(call->domain, call->arguments.v[1].u, call->arguments.v[2].u, error);
}

bool get_metadata(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;
    g_autofree char *text = domain_metadata(call->domain, v[1].i, v[2].s, v[3].u, error);

    if (text)
        xdr_put_string(&call->reply, text);
    return text;
}

bool set_metadata(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;

    return domain_set_metadata(call->domain, v[1].i, v[2].s, v[3].s, v[4].s, v[5].u, error);
}

/* No label, not enforced: the model is none. */
bool get_security_label(struct call *call, GError **error)
{
    (void)error;
    xdr_put_u32(&call->reply, 1);
    xdr_put_i32(&call->reply, 0);
    xdr_put_i32(&call->reply, 0);
    return true;
}

bool get_messages(struct call *call, GError **error)
{
    (void)error;
    xdr_put_u32(&call->reply, 0);
    return true;
}

/* Snapshots and saved states of which there are none. */
bool has_nothing(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, 0);
    return true;
}
