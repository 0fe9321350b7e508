/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures of the life cycle. */
#include "manager/rpc/procedures.h"

static void put_domain(struct xdr_writer *w, struct domain *d)
{
    xdr_put_domain(w, domain_name(d), domain_uuid(d), domain_id(d));
}

static bool define_with(struct call *call, unsigned flags, GError **error)
{
    struct domain *d =
        domains_define(call->client->context->domains, call->arguments.v[0].s, flags, error);

    if (!d)
        return false;
    put_domain(&call->reply, d);
    domain_unref(d);
    return true;
}

bool define(struct call *call, GError **error)
{
    return define_with(call, 0, error);
}

bool define_flags(struct call *call, GError **error)
{
    return define_with(call, call->arguments.v[1].u, error);
}

bool undefine(struct call *call, GError **error)
{
    return domain_undefine(call->domain, 0, error);
}

bool undefine_flags(struct call *call, GError **error)
{
    return domain_undefine(call->domain, call->arguments.v[1].u, error);
}

/* Ends of jobs: an empty reply, or the domain. */
static void done(struct domain *d, const GError *error, void *data)
{
    struct call *call = data;

    (void)d;
    if (error)
        call_fail(call, error);
    else
        call_done(call);
}

static void done_with_domain(struct domain *d, const GError *error, void *data)
{
    struct call *call = data;

    if (!error)
        put_domain(&call->reply, d);
    done(d, error, call);
}

void create_xml(struct call *call)
{
    domains_create(call->client->context->domains, call->arguments.v[0].s, call->arguments.v[1].u,
                   done_with_domain, call);
}

void start(struct call *call)
{
    domain_start(call->domain, 0, done, call);
}

void start_flags(struct call *call)
{
    domain_start(call->domain, call->arguments.v[1].u, done_with_domain, call);
}

void destroy(struct call *call)
{
    domain_destroy(call->domain, 0, done, call);
}

void destroy_flags(struct call *call)
{
    domain_destroy(call->domain, call->arguments.v[1].u, done, call);
}

void stop(struct call *call)
{
    domain_shutdown(call->domain, 0, done, call);
}

void stop_flags(struct call *call)
{
    domain_shutdown(call->domain, call->arguments.v[1].u, done, call);
}

void reboot(struct call *call)
{
    domain_reboot(call->domain, call->arguments.v[1].u, done, call);
}

void reset(struct call *call)
{
    domain_reset(call->domain, done, call);
}

void suspend(struct call *call)
{
    domain_suspend(call->domain, done, call);
}

void resume(struct call *call)
{
    domain_resume(call->domain, done, call);
}
