/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures that ask running guests for their counters. */
#include "manager/rpc/procedures.h"

#include <string.h>

/* virDomainStatsTypes */
#define STATS_STATE     (1u << 0)
#define STATS_CPU_TOTAL (1u << 1)
#define STATS_BALLOON   (1u << 2)
#define STATS_VCPU      (1u << 3)
#define STATS_INTERFACE (1u << 4)
#define STATS_BLOCK     (1u << 5)
#define STATS_ALL       0x3fu
#define STATS_ENFORCE   (1u << 31) /* virConnectGetAllDomainStatsFlags: unknown types are errors */
#define LIST_FLAGS      0xffu

/* Parameters of one domain as they are written. */
struct parameters {
    struct xdr_writer w;
    unsigned count;
};

static void put(struct parameters *to, const struct xdr_parameter *p)
{
    xdr_put_parameter(&to->w, p);
    to->count++;
}

static void put_int(struct parameters *to, const char *name, int value)
{
    put(to, &(struct xdr_parameter){.name = (char *)name, .type = XDR_PARAMETER_INT, .i = value});
}

static void put_uint(struct parameters *to, const char *name, unsigned value)
{
    put(to, &(struct xdr_parameter){.name = (char *)name, .type = XDR_PARAMETER_UINT, .u = value});
}

static void put_ullong(struct parameters *to, const char *name, uint64_t value)
{
    put(to,
        &(struct xdr_parameter){.name = (char *)name, .type = XDR_PARAMETER_ULLONG, .ul = value});
}

static void put_string(struct parameters *to, const char *name, const char *value)
{
    g_autofree char *text = g_utf8_make_valid(value, -1);

    put(to, &(struct xdr_parameter){.name = (char *)name, .type = XDR_PARAMETER_STRING, .s = text});
}

/* A number of the array FAMILY's element I. */
static void put_element(struct parameters *to, const char *family, unsigned i, const char *name,
                        uint64_t value)
{
    g_autofree char *full = g_strdup_printf("%s.%u.%s", family, i, name);

    put_ullong(to, full, value);
}

static void put_state(struct parameters *to, const struct domain_stats *s)
{
    put_int(to, "state.state", (int)s->info.state);
    put_int(to, "state.reason", s->info.reason);
}

static void put_cpu(struct parameters *to, const struct domain_stats *s)
{
    put_ullong(to, "cpu.time", s->info.cpu_time);
    put_ullong(to, "cpu.user", s->user_time);
    put_ullong(to, "cpu.system", s->system_time);
}

static void put_balloon(struct parameters *to, const struct domain_stats *s)
{
    put_ullong(to, "balloon.current", s->info.memory);
    put_ullong(to, "balloon.maximum", s->info.max_memory);
    if (s->rss)
        put_ullong(to, "balloon.rss", s->rss);
}

static void put_vcpus(struct parameters *to, const struct domain_stats *s)
{
    put_uint(to, "vcpu.current", s->info.vcpus);
    put_uint(to, "vcpu.maximum", s->info.vcpus);
    for (unsigned i = 0; i < s->vcpus->len; i++) {
        const struct domain_vcpu *v = &g_array_index(s->vcpus, struct domain_vcpu, i);
        g_autofree char *state = g_strdup_printf("vcpu.%u.state", v->number);

        put_int(to, state, v->state);
        put_element(to, "vcpu", v->number, "time", v->cpu_time);
    }
}

static void put_nets(struct parameters *to, const struct domain_stats *s)
{
    put_uint(to, "net.count", s->nets->len);
    for (unsigned i = 0; i < s->nets->len; i++) {
        const struct domain_net_stats *n = &g_array_index(s->nets, struct domain_net_stats, i);
        g_autofree char *name = g_strdup_printf("net.%u.name", i);

        if (!*n->name)
            continue;
        put_string(to, name, n->name);
        put_element(to, "net", i, "rx.bytes", n->rx_bytes);
        put_element(to, "net", i, "rx.pkts", n->rx_packets);
        put_element(to, "net", i, "rx.errs", n->rx_errors);
        put_element(to, "net", i, "rx.drop", n->rx_dropped);
        put_element(to, "net", i, "tx.bytes", n->tx_bytes);
        put_element(to, "net", i, "tx.pkts", n->tx_packets);
        put_element(to, "net", i, "tx.errs", n->tx_errors);
        put_element(to, "net", i, "tx.drop", n->tx_dropped);
    }
}

static void put_disks(struct parameters *to, const struct domain_stats *s)
{
    put_uint(to, "block.count", s->disks->len);
    for (unsigned i = 0; i < s->disks->len; i++) {
        const struct domain_disk_stats *d = &g_array_index(s->disks, struct domain_disk_stats, i);
        g_autofree char *name = g_strdup_printf("block.%u.name", i);
        g_autofree char *path = g_strdup_printf("block.%u.path", i);

        put_string(to, name, d->target);
        if (d->path)
            put_string(to, path, d->path);
        put_element(to, "block", i, "rd.reqs", d->read_requests);
        put_element(to, "block", i, "rd.bytes", d->read_bytes);
        put_element(to, "block", i, "rd.times", d->read_ns);
        put_element(to, "block", i, "wr.reqs", d->write_requests);
        put_element(to, "block", i, "wr.bytes", d->write_bytes);
        put_element(to, "block", i, "wr.times", d->write_ns);
        put_element(to, "block", i, "fl.reqs", d->flush_requests);
        put_element(to, "block", i, "fl.times", d->flush_ns);
        put_element(to, "block", i, "allocation", d->allocation);
        put_element(to, "block", i, "capacity", d->capacity);
        put_element(to, "block", i, "physical", d->physical);
    }
}

static const struct {
    unsigned type;
    void (*put)(struct parameters *to, const struct domain_stats *s);
} families[] = {
    {STATS_STATE, put_state}, {STATS_CPU_TOTAL, put_cpu},  {STATS_BALLOON, put_balloon},
    {STATS_VCPU, put_vcpus},  {STATS_INTERFACE, put_nets}, {STATS_BLOCK, put_disks},
};

/* The answers of several domains, gathered for one reply in the order asked for. */
struct gathering {
    struct call *call;
    unsigned types, waiting, count;
    struct record {
        struct gathering *all;
        struct xdr_writer w;
        bool answered;
    } * records;
};

static void gathered_one(struct gathering *g)
{
    struct xdr_writer *reply = &g->call->reply;
    unsigned answered = 0;

    if (--g->waiting)
        return;
    for (unsigned i = 0; i < g->count; i++)
        answered += g->records[i].answered;
    xdr_put_u32(reply, answered);
    for (unsigned i = 0; i < g->count; i++) {
        struct record *r = &g->records[i];
        xdr_put_fixed(reply, r->w.bytes->data, r->w.bytes->len);
        reply->failed |= r->w.failed;
        xdr_writer_clear(&r->w);
    }
    call_done(g->call);
    g_free(g->records);
    g_free(g);
}

/* A domain that has gone meanwhile is left out. */
static void on_stats(struct domain *d, const struct domain_stats *stats, const GError *error,
                     void *data)
{
    struct record *r = data;
    struct parameters all = {};

    if (!error) {
        xdr_writer_init(&all.w);
        for (unsigned i = 0; i < G_N_ELEMENTS(families); i++)
            if (r->all->types & families[i].type)
                families[i].put(&all, stats);
        xdr_put_domain(&r->w, domain_name(d), domain_uuid(d), domain_id(d));
        xdr_put_u32(&r->w, all.count);
        xdr_put_fixed(&r->w, all.w.bytes->data, all.w.bytes->len);
        r->w.failed |= all.w.failed;
        r->answered = true;
        xdr_writer_clear(&all.w);
    }
    gathered_one(r->all);
}

/* The domains that the call names, or that its flags pick. */
static GPtrArray *wanted(struct call *call)
{
    const struct xdr_value *v = call->arguments.v;
    struct domains *all = call->client->context->domains;

    if (!v[0].domains->len)
        return domains_list(all, v[2].u & LIST_FLAGS);
    GPtrArray *some = g_ptr_array_new_with_free_func((GDestroyNotify)domain_unref);
    for (unsigned i = 0; i < v[0].domains->len; i++) {
        const struct xdr_domain *name = g_ptr_array_index(v[0].domains, i);
        struct domain *d = domains_by_uuid(all, name->uuid, NULL);
        if (d)
            g_ptr_array_add(some, d);
    }
    return some;
}

void get_all_stats(struct call *call)
{
    const struct xdr_value *v = call->arguments.v;
    unsigned unknown = v[1].u & ~STATS_ALL;

    if (unknown && v[2].u & STATS_ENFORCE) {
        g_autoptr(GError) error =
            manager_error_new(MANAGER_ERROR_ARGUMENT_UNSUPPORTED,
                              "Stats types bits 0x%x are not supported by this daemon", unknown);
        call_fail(call, error);
        return;
    }
    g_autoptr(GPtrArray) domains = wanted(call);
    struct gathering *g = g_new0(struct gathering, 1);
    *g = (struct gathering){.call = call,
                            .types = v[1].u ? v[1].u : STATS_ALL,
                            .waiting = domains->len + 1,
                            .count = domains->len,
                            .records = g_new0(struct record, domains->len)};
    for (unsigned i = 0; i < domains->len; i++) {
        g->records[i].all = g;
        xdr_writer_init(&g->records[i].w);
        domain_stats(g_ptr_array_index(domains, i), on_stats, &g->records[i]);
    }
    gathered_one(g);
}

/* Calls about one device of a running domain: the same question, other words for the answer. */
typedef bool answer(struct call *call, const struct domain_stats *stats, GError **error);

struct question {
    struct call *call;
    answer *answer;
};

static void on_answer(struct domain *d, const struct domain_stats *stats, const GError *error,
                      void *data)
{
    struct question *q = data;
    struct call *call = q->call;
    g_autoptr(GError) wrong = NULL;

    (void)d;
    if (error)
        call_fail(call, error);
    else if (q->answer(call, stats, &wrong))
        call_done(call);
    else
        call_fail(call, wrong);
    g_free(q);
}

static void ask(struct call *call, answer *answer, bool inactive)
{
    if (!inactive && !domain_is_active(call->domain)) {
        g_autoptr(GError) error =
            manager_error_new(MANAGER_ERROR_OPERATION_INVALID, "domain is not running");
        call_fail(call, error);
        return;
    }
    struct question *q = g_new0(struct question, 1);
    *q = (struct question){call, answer};
    domain_stats(call->domain, on_answer, q);
}

/* A disk by its target or its path. */
static const struct domain_disk_stats *find_disk(const struct domain_stats *s, const char *name)
{
    for (unsigned i = 0; i < s->disks->len; i++) {
        const struct domain_disk_stats *d = &g_array_index(s->disks, struct domain_disk_stats, i);
        if (!strcmp(d->target, name) || (d->path && !strcmp(d->path, name)))
            return d;
    }
    return NULL;
}

/* The sum over all disks when NAME is empty. */
static bool disk_numbers(const struct domain_stats *s, const char *name,
                         struct domain_disk_stats *sum, GError **error)
{
    *sum = (struct domain_disk_stats){};
    if (*name && !find_disk(s, name)) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "invalid path: %s", name);
        return false;
    }
    for (unsigned i = 0; i < s->disks->len; i++) {
        const struct domain_disk_stats *d = &g_array_index(s->disks, struct domain_disk_stats, i);
        if (*name && d != find_disk(s, name))
            continue;
        sum->read_requests += d->read_requests;
        sum->read_bytes += d->read_bytes;
        sum->read_ns += d->read_ns;
        sum->write_requests += d->write_requests;
        sum->write_bytes += d->write_bytes;
        sum->write_ns += d->write_ns;
        sum->flush_requests += d->flush_requests;
        sum->flush_ns += d->flush_ns;
    }
    return true;
}

static bool answer_block(struct call *call, const struct domain_stats *s, GError **error)
{
    struct domain_disk_stats d;

    if (!disk_numbers(s, call->arguments.v[1].s, &d, error))
        return false;
    const uint64_t numbers[] = {d.read_requests, d.read_bytes, d.write_requests, d.write_bytes};
    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++)
        xdr_put_u64(&call->reply, numbers[i]);
    xdr_put_i64(&call->reply, -1); /* errors: not counted */
    return true;
}

void get_block_stats(struct call *call)
{
    ask(call, answer_block, false);
}

/* virDomainBlockStatsFlags: with room for 0, only how many there are. */
static bool answer_block_flags(struct call *call, const struct domain_stats *s, GError **error)
{
    int room = call->arguments.v[2].i;
    struct domain_disk_stats d;

    if (!disk_numbers(s, call->arguments.v[1].s, &d, error))
        return false;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"rd_operations", d.read_requests},
        {"rd_bytes", d.read_bytes},
        {"rd_total_times", d.read_ns},
        {"wr_operations", d.write_requests},
        {"wr_bytes", d.write_bytes},
        {"wr_total_times", d.write_ns},
        {"flush_operations", d.flush_requests},
        {"flush_total_times", d.flush_ns},
    };
    unsigned count = MIN(G_N_ELEMENTS(numbers), (unsigned)MAX(room, 0));
    xdr_put_u32(&call->reply, count);
    for (unsigned i = 0; i < count; i++)
        xdr_put_parameter(&call->reply, &(struct xdr_parameter){.name = (char *)numbers[i].name,
                                                                .type = XDR_PARAMETER_LLONG,
                                                                .l = (int64_t)numbers[i].value});
    xdr_put_i32(&call->reply, room ? (int)count : (int)G_N_ELEMENTS(numbers));
    return true;
}

void get_block_stats_flags(struct call *call)
{
    ask(call, answer_block_flags, false);
}

static bool answer_block_info(struct call *call, const struct domain_stats *s, GError **error)
{
    const char *name = call->arguments.v[1].s;
    const struct domain_disk_stats *d = find_disk(s, name);

    if (!d) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT,
                          "invalid path %s not assigned to domain", name);
        return false;
    }
    xdr_put_u64(&call->reply, d->allocation);
    xdr_put_u64(&call->reply, d->capacity);
    xdr_put_u64(&call->reply, d->physical);
    return true;
}

void get_block_info(struct call *call)
{
    ask(call, answer_block_info, true);
}

static bool answer_interface(struct call *call, const struct domain_stats *s, GError **error)
{
    const char *name = call->arguments.v[1].s;

    for (unsigned i = 0; i < s->nets->len; i++) {
        const struct domain_net_stats *n = &g_array_index(s->nets, struct domain_net_stats, i);
        const uint64_t numbers[] = {n->rx_bytes, n->rx_packets, n->rx_errors, n->rx_dropped,
                                    n->tx_bytes, n->tx_packets, n->tx_errors, n->tx_dropped};

        if (!*n->name || strcmp(n->name, name))
            continue;
        for (unsigned k = 0; k < G_N_ELEMENTS(numbers); k++)
            xdr_put_u64(&call->reply, numbers[k]);
        return true;
    }
    manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "'%s' is not a known interface", name);
    return false;
}

void get_interface_stats(struct call *call)
{
    ask(call, answer_interface, false);
}

static bool answer_memory(struct call *call, const struct domain_stats *s, GError **error)
{
    /* virDomainMemoryStatTags: the balloon's size, the process's resident memory */
    const struct {
        int tag;
        uint64_t value;
    } numbers[] = {{6, s->info.memory}, {7, s->rss}};
    unsigned count = MIN(G_N_ELEMENTS(numbers), call->arguments.v[1].u);

    (void)error;
    xdr_put_u32(&call->reply, count);
    for (unsigned i = 0; i < count; i++) {
        xdr_put_i32(&call->reply, numbers[i].tag);
        xdr_put_u64(&call->reply, numbers[i].value);
    }
    return true;
}

void get_memory_stats(struct call *call)
{
    ask(call, answer_memory, false);
}
