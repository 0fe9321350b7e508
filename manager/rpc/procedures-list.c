/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures that list and look up.  Of pools, networks and the like there is none yet: their lists
 * are empty and their lookups fail as for a name that nobody has. */
#include "manager/rpc/procedures.h"

#define LIST_ACTIVE   1u /* virConnectListAllDomainsFlags */
#define LIST_INACTIVE 2u

static void put_domain(struct xdr_writer *w, struct domain *d)
{
    xdr_put_domain(w, domain_name(d), domain_uuid(d), domain_id(d));
}

bool list_all_domains(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;
    g_autoptr(GPtrArray) all = domains_list(call->client->context->domains, v[1].u);
    unsigned count = v[0].i ? all->len : 0;

    (void)error;
    xdr_put_u32(&call->reply, count);
    for (unsigned i = 0; i < count; i++)
        put_domain(&call->reply, g_ptr_array_index(all, i));
    xdr_put_u32(&call->reply, all->len);
    return true;
}

static bool put_number(struct call *call, unsigned flags)
{
    g_autoptr(GPtrArray) all = domains_list(call->client->context->domains, flags);

    xdr_put_i32(&call->reply, (int)all->len);
    return true;
}

bool list_number(struct call *call, GError **error)
{
    (void)error;
    return put_number(call, LIST_ACTIVE);
}

bool list_defined_number(struct call *call, GError **error)
{
    (void)error;
    return put_number(call, LIST_INACTIVE);
}

/* As many of ALL as the caller has room for. */
static unsigned room(const struct call *call, const GPtrArray *all)
{
    int most = call->arguments.v[0].i;

    return MIN(all->len, (unsigned)MAX(most, 0));
}

bool list_ids(struct call *call, GError **error)
{
    g_autoptr(GPtrArray) all = domains_list(call->client->context->domains, LIST_ACTIVE);
    unsigned count = room(call, all);

    (void)error;
    xdr_put_u32(&call->reply, count);
    for (unsigned i = 0; i < count; i++)
        xdr_put_i32(&call->reply, domain_id(g_ptr_array_index(all, i)));
    return true;
}

bool list_defined_names(struct call *call, GError **error)
{
    g_autoptr(GPtrArray) all = domains_list(call->client->context->domains, LIST_INACTIVE);
    unsigned count = room(call, all);

    (void)error;
    xdr_put_u32(&call->reply, count);
    for (unsigned i = 0; i < count; i++)
        xdr_put_string(&call->reply, domain_name(g_ptr_array_index(all, i)));
    return true;
}

static bool put_found(struct call *call, struct domain *d)
{
    if (!d)
        return false;
    put_domain(&call->reply, d);
    domain_unref(d);
    return true;
}

bool lookup_name(struct call *call, GError **error)
{
    return put_found(
        call, domains_by_name(call->client->context->domains, call->arguments.v[0].s, error));
}

bool lookup_uuid(struct call *call, GError **error)
{
    return put_found(
        call, domains_by_uuid(call->client->context->domains, call->arguments.v[0].uuid, error));
}

bool lookup_id(struct call *call, GError **error)
{
    return put_found(call,
                     domains_by_id(call->client->context->domains, call->arguments.v[0].i, error));
}

bool none_count(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, 0);
    return true;
}

bool none_names(struct call *call, GError **error)
{
    (void)error;
    xdr_put_u32(&call->reply, 0);
    return true;
}

/* An empty array and, as the result, 0. */
bool none_listed(struct call *call, GError **error)
{
    (void)error;
    xdr_put_u32(&call->reply, 0);
    xdr_put_u32(&call->reply, 0);
    return true;
}

static bool no_name(struct call *call, enum manager_error code, const char *what, GError **error)
{
    manager_error_set(error, code, "no %s with matching name '%s'", what, call->arguments.v[0].s);
    return false;
}

static bool no_uuid(struct call *call, enum manager_error code, const char *what, GError **error)
{
    g_autofree char *uuid = uuid_text(call->arguments.v[0].uuid);

    manager_error_set(error, code, "no %s with matching uuid '%s'", what, uuid);
    return false;
}

bool no_network_name(struct call *call, GError **error)
{
    return no_name(call, MANAGER_ERROR_NO_NETWORK, "network", error);
}

bool no_network_uuid(struct call *call, GError **error)
{
    return no_uuid(call, MANAGER_ERROR_NO_NETWORK, "network", error);
}

bool no_pool_name(struct call *call, GError **error)
{
    return no_name(call, MANAGER_ERROR_NO_POOL, "storage pool", error);
}

bool no_pool_uuid(struct call *call, GError **error)
{
    return no_uuid(call, MANAGER_ERROR_NO_POOL, "storage pool", error);
}

bool no_volume_path(struct call *call, GError **error)
{
    manager_error_set(error, MANAGER_ERROR_NO_VOLUME, "no storage vol with matching path '%s'",
                      call->arguments.v[0].s);
    return false;
}
