/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures of the connection and the node. */
#include "manager/rpc/procedures.h"

#include <string.h>

#define OPEN_READ_ONLY 1u /* virConnectFlags */
#define OPEN_FLAGS     3u /* read-only; without aliases, which is the client's */
#define MODEL_SIZE     32 /* of virNodeInfo's name, a word a character */
#define ALL_CPUS       -1 /* VIR_NODE_CPU_STATS_ALL_CPUS */
#define ALL_CELLS      -1

bool connect_auth_list(struct call *call, GError **error)
{
    (void)error;
    xdr_put_u32(&call->reply, 1); /* one way, */
    xdr_put_u32(&call->reply, 0); /* without: the socket's mode says who may */
    return true;
}

bool connect_open(struct call *call, GError **error)
{
    struct client *c = call->client;
    const char *name = call->arguments.v[0].s;
    uint32_t flags = call->arguments.v[1].u;
    const char *right = c->context->session ? "qemu:///session" : "qemu:///system";

    if (c->opened) {
        manager_error_set(error, MANAGER_ERROR_INTERNAL, "connection already open");
        return false;
    }
    if (flags & ~OPEN_FLAGS) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "unsupported flags (0x%x)",
                          flags & ~OPEN_FLAGS);
        return false;
    }
    if (name && g_str_has_prefix(name, "qemu:") && strcmp(name, right)) {
        manager_error_set(error, MANAGER_ERROR_INTERNAL, "unexpected QEMU URI path in '%s', try %s",
                          name, right);
        return false;
    }
    c->opened = true;
    c->read_only |= flags & OPEN_READ_ONLY;
    if (c->on_opened)
        c->on_opened(c, c->data);
    return true;
}

/* Clients hang up themselves once they have the reply. */
bool connect_close(struct call *call, GError **error)
{
    (void)call;
    (void)error;
    return true;
}

bool connect_feature(struct call *call, GError **error)
{
    static const int have[] = {8, 9, 10, 14, 15};
    int feature = call->arguments.v[0].i;
    bool found = false;

    (void)error;
    for (unsigned i = 0; i < G_N_ELEMENTS(have); i++)
        found |= have[i] == feature;
    /* A client that asks for keepalive answers pings. */
    if (feature == 10 && call->client->connection)
        connection_keepalive(call->client->connection);
    xdr_put_i32(&call->reply, found);
    return true;
}

bool connect_type(struct call *call, GError **error)
{
    (void)error;
    xdr_put_string(&call->reply, "QEMU");
    return true;
}

bool connect_version(struct call *call, GError **error)
{
    (void)error;
    xdr_put_u64(&call->reply, NODE_HYPERVISOR_VERSION);
    return true;
}

bool connect_library_version(struct call *call, GError **error)
{
    (void)error;
    xdr_put_u64(&call->reply, NODE_LIBRARY_VERSION);
    return true;
}

bool connect_hostname(struct call *call, GError **error)
{
    g_autofree char *name = node_hostname();

    (void)error;
    xdr_put_string(&call->reply, name);
    return true;
}

bool connect_uri(struct call *call, GError **error)
{
    (void)error;
    xdr_put_string(&call->reply,
                   call->client->context->session ? "qemu:///session" : "qemu:///system");
    return true;
}

/* virConnectIsSecure: the socket never leaves the host. */
bool connect_yes(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, 1);
    return true;
}

bool connect_close_callback(struct call *call, GError **error)
{
    /* Clients see the socket close; there is nothing to remember. */
    (void)call;
    (void)error;
    return true;
}

bool connect_max_vcpus(struct call *call, GError **error)
{
    (void)error;
    xdr_put_i32(&call->reply, NODE_VCPUS_MAX);
    return true;
}

bool connect_capabilities(struct call *call, GError **error)
{
    g_autofree char *text = node_capabilities(call->client->context->node);

    (void)error;
    xdr_put_string(&call->reply, text);
    return true;
}

bool connect_domain_capabilities(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;
    g_autofree char *text = node_domain_capabilities(call->client->context->node, v[0].s, v[1].s,
                                                     v[2].s, v[3].s, error);

    if (text)
        xdr_put_string(&call->reply, text);
    return text;
}

bool node_get_info(struct call *call, GError **error)
{
    struct xdr_writer *w = &call->reply;
    struct node_info info;

    (void)error;
    node_info(call->client->context->node, &info);
    size_t length = strlen(info.model);
    for (size_t i = 0; i < MODEL_SIZE; i++)
        xdr_put_i32(w, i < length ? info.model[i] : 0);
    xdr_put_u64(w, info.memory);
    const uint32_t numbers[] = {info.cpus,    info.mhz,   info.cells,
                                info.sockets, info.cores, info.threads};
    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++)
        xdr_put_u32(w, numbers[i]);
    return true;
}

bool node_get_free_memory(struct call *call, GError **error)
{
    struct node_memory memory;

    (void)error;
    node_memory(&memory);
    xdr_put_u64(&call->reply, memory.free);
    return true;
}

bool node_get_cells_free_memory(struct call *call, GError **error)
{
    int first = call->arguments.v[0].i, count = call->arguments.v[1].i;
    struct node_memory memory;

    if (first != 0 || count < 1) {
        manager_error_set(error, MANAGER_ERROR_INTERNAL, "start cell %d out of range (0-0)", first);
        return false;
    }
    node_memory(&memory);
    xdr_put_u32(&call->reply, 1);
    xdr_put_u64(&call->reply, memory.free);
    return true;
}

struct number {
    const char *name;
    uint64_t value;
};

/* Names and numbers as the node's statistics have them: with ROOM for 0, only how many. */
static bool put_numbers(struct call *call, int room, const struct number *numbers, unsigned count,
                        GError **error)
{
    if (room == 0) {
        xdr_put_u32(&call->reply, 0);
        xdr_put_i32(&call->reply, (int)count);
        return true;
    }
    if (room < (int)count) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "nparams in %s must be equal to %u", call->row->name, count);
        return false;
    }
    xdr_put_u32(&call->reply, count);
    for (unsigned i = 0; i < count; i++) {
        xdr_put_string(&call->reply, numbers[i].name);
        xdr_put_u64(&call->reply, numbers[i].value);
    }
    xdr_put_i32(&call->reply, 0);
    return true;
}

bool node_get_cpu_stats(struct call *call, GError **error)
{
    int cpu = call->arguments.v[0].i;
    struct node_cpu_time t;

    if (cpu < ALL_CPUS || !node_cpu_time(cpu, &t)) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "Invalid cpuNum in %s",
                          call->row->name);
        return false;
    }
    const struct number numbers[] = {
        {"kernel", t.kernel}, {"user", t.user}, {"idle", t.idle}, {"iowait", t.iowait}};
    return put_numbers(call, call->arguments.v[1].i, numbers, G_N_ELEMENTS(numbers), error);
}

bool node_get_memory_stats(struct call *call, GError **error)
{
    int cell = call->arguments.v[1].i;
    struct node_memory m;

    if (cell != ALL_CELLS && cell != 0) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "cellNum in %s must be 0 or -1",
                          call->row->name);
        return false;
    }
    node_memory(&m);
    const struct number numbers[] = {{"total", m.total / 1024},
                                     {"free", m.free / 1024},
                                     {"buffers", m.buffers / 1024},
                                     {"cached", m.cached / 1024}};
    /* Of one cell only the first two are known. */
    return put_numbers(call, call->arguments.v[0].i, numbers, cell == ALL_CELLS ? 4 : 2, error);
}

bool node_get_cpu_map(struct call *call, GError **error)
{
    const struct xdr_value *v = call->arguments.v;
    unsigned present, online;
    g_autoptr(GByteArray) map = node_cpu_map(&present, &online);

    (void)error;
    xdr_put_opaque(&call->reply, map->data, v[0].i ? map->len : 0);
    xdr_put_u32(&call->reply, v[1].i ? online : 0);
    xdr_put_i32(&call->reply, (int)present);
    return true;
}

/* A string with its end, a word a character. */
static void put_characters(struct xdr_writer *w, const char *text)
{
    size_t size = strlen(text) + 1;

    xdr_put_u32(w, (uint32_t)size);
    for (size_t i = 0; i < size; i++)
        xdr_put_i32(w, text[i]);
}

bool node_get_security_model(struct call *call, GError **error)
{
    (void)error;
    put_characters(&call->reply, "none");
    put_characters(&call->reply, "0");
    return true;
}
