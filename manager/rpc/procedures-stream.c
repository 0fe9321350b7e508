/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures of consoles and events. */
#include "manager/rpc/procedures.h"

#include "manager/rpc/stream.h"

bool open_console(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;
    struct client *c = call->client;

    if (c->streams->len == CLIENT_STREAMS_MAX) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED,
                          "a client may have %d streams open, and this one has them all",
                          CLIENT_STREAMS_MAX);
        return false;
    }
    for (unsigned i = 0; i < c->streams->len; i++)
        if (stream_serial(g_ptr_array_index(c->streams, i)) == call->serial) {
            manager_error_set(error, MANAGER_ERROR_RPC, "a stream has this serial, %u, already",
                              call->serial);
            return false;
        }
    int fd = domain_console_open(call->domain, v[1].s, v[2].u, error);
    if (fd < 0)
        return false;
    stream_new(call, call->domain, fd);
    return true;
}

bool event_register(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;
    struct domain *d = NULL;

    if (v[1].d) {
        d = domains_by_uuid(call->client->context->domains, v[1].d->uuid, error);
        if (!d)
            return false;
    }
    int id = client_add_callback(call->client, v[0].i, d, error);
    if (d)
        domain_unref(d);
    xdr_put_i32(&call->reply, id);
    return id >= 0;
}

bool event_deregister(struct call *call, GError **error)
{
    return client_remove_callback(call->client, call->arguments.v[0].i, error);
}
