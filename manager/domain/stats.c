/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers about guests: from /proc of their processes, and from their monitors. */
#include "domain-private.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATS_TIMEOUT_MS 2000

/* ---- /proc ---- */

/* Fields of proc(5)'s stat. */
struct proc_stat {
    uint64_t user_ns, system_ns;
    int cpu;
    bool running;
};

static uint64_t ticks_to_ns(uint64_t ticks)
{
    return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static bool read_stat(const char *path, struct proc_stat *s)
{
    g_autofree char *text = NULL;
    unsigned long long user, system;
    char state;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return false;
    const char *rest = strrchr(text, ')'); /* a name may hold anything */
    if (!rest ||
        sscanf(rest + 1,
               " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %*s "
               "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
               &state, &user, &system, &s->cpu) != 4)
        return false;
    s->user_ns = ticks_to_ns(user);
    s->system_ns = ticks_to_ns(system);
    s->running = state == 'R';
    return true;
}

static bool process_stat(const struct domain *d, struct proc_stat *s)
{
    g_autofree char *path = NULL;

    *s = (struct proc_stat){0};
    if (!d->process)
        return false;
    path = g_strdup_printf("/proc/%d/stat", (int)process_id(d->process));
    return read_stat(path, s);
}

static uint64_t resident_kib(const struct domain *d)
{
    unsigned long long pages = 0;
    g_autofree char *path = NULL, *text = NULL;

    if (!d->process)
        return 0;
    path = g_strdup_printf("/proc/%d/statm", (int)process_id(d->process));
    if (!g_file_get_contents(path, &text, NULL, NULL) || sscanf(text, "%*s %llu", &pages) != 1)
        return 0;
    return pages * ((uint64_t)sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- what is known without the guest ---- */

void domain_info(struct domain *d, struct domain_info *info)
{
    const struct definition *definition = d->live ? d->live : d->config ? d->config : d->initial;
    struct proc_stat s;

    *info = (struct domain_info){.state = d->state, .reason = d->reason};
    process_stat(d, &s);
    info->cpu_time = s.user_ns + s.system_ns;
    if (!definition)
        return;
    info->max_memory = definition->memory;
    /* A running guest has no balloon, and so all of it. */
    info->memory = d->live ? definition->memory : definition->current_memory;
    info->vcpus = definition->vcpus;
}

static GArray *list_vcpus(struct domain *d)
{
    GArray *list = g_array_new(FALSE, TRUE, sizeof(struct domain_vcpu));

    for (guint i = 0; d->process && d->threads && i < d->threads->len; i++) {
        struct domain_vcpu v = {.number = i, .thread = g_array_index(d->threads, int, i)};
        g_autofree char *path =
            g_strdup_printf("/proc/%d/task/%d/stat", (int)process_id(d->process), v.thread);
        struct proc_stat s;

        v.state = 1; /* VIR_VCPU_RUNNING: it is not offline */
        if (read_stat(path, &s)) {
            v.cpu_time = s.user_ns + s.system_ns;
            v.cpu = s.cpu;
        }
        g_array_append_val(list, v);
    }
    return list;
}

GArray *domain_vcpu_list(struct domain *d, GError **error)
{
    if (!domain_check(d, error))
        return NULL;
    if (!domain_is_active(d)) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "cannot retrieve vcpu information for inactive domain");
        return NULL;
    }
    return list_vcpus(d);
}

/* ---- with the guest ---- */

struct inquiry {
    struct domain *domain;
    domain_stats_done done;
    void *data;
    struct domain_stats stats;
};

static void clear_disk(gpointer data)
{
    g_free(((struct domain_disk_stats *)data)->path);
}

static void add_disks(struct domain_stats *stats, const struct definition *definition)
{
    for (guint i = 0; i < definition->disks->len; i++) {
        const struct definition_disk *disk = definition->disks->pdata[i];
        struct domain_disk_stats s = {.path = g_strdup(disk->path)};
        struct stat file;

        g_strlcpy(s.target, disk->target, sizeof s.target);
        if (disk->path && stat(disk->path, &file) == 0 && S_ISREG(file.st_mode)) {
            s.capacity = s.physical = (uint64_t)file.st_size;
            s.allocation = (uint64_t)file.st_blocks * 512;
        }
        g_array_append_val(stats->disks, s);
    }
}

/* An interface of type user has neither a name on the host nor counters. */
static void add_nets(struct domain_stats *stats, const struct definition *definition)
{
    g_array_set_size(stats->nets, definition->nets->len);
}

static void gather(struct domain *d, struct domain_stats *stats)
{
    const struct definition *definition = d->live ? d->live : d->config ? d->config : d->initial;
    struct proc_stat s;

    domain_info(d, &stats->info);
    process_stat(d, &s);
    stats->user_time = s.user_ns;
    stats->system_time = s.system_ns;
    stats->rss = resident_kib(d);
    stats->vcpus = list_vcpus(d);
    stats->disks = g_array_new(FALSE, TRUE, sizeof(struct domain_disk_stats));
    g_array_set_clear_func(stats->disks, clear_disk);
    stats->nets = g_array_new(FALSE, TRUE, sizeof(struct domain_net_stats));
    if (definition) {
        add_disks(stats, definition);
        add_nets(stats, definition);
    }
}

static void answer(struct inquiry *q, const GError *error)
{
    q->done(q->domain, error ? NULL : &q->stats, error, q->data);
    if (q->stats.vcpus) {
        g_array_unref(q->stats.vcpus);
        g_array_unref(q->stats.disks);
        g_array_unref(q->stats.nets);
    }
    domain_unref(q->domain);
    g_free(q);
}

static uint64_t number(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));

    return value > 0 ? (uint64_t)value : 0;
}

/* The machine's disks come in the order of the definition's. */
static void on_blockstats(json_t *value, const GError *error, void *data)
{
    struct inquiry *q = data;
    json_t *row;
    size_t i;

    (void)error;
    json_array_foreach(value, i, row)
    {
        const json_t *s = json_object_get(row, "stats");

        if (i >= q->stats.disks->len)
            break;
        struct domain_disk_stats *disk =
            &g_array_index(q->stats.disks, struct domain_disk_stats, i);
        disk->read_requests = number(s, "rd_operations");
        disk->read_bytes = number(s, "rd_bytes");
        disk->read_ns = number(s, "rd_total_time_ns");
        disk->write_requests = number(s, "wr_operations");
        disk->write_bytes = number(s, "wr_bytes");
        disk->write_ns = number(s, "wr_total_time_ns");
        disk->flush_requests = number(s, "flush_operations");
        disk->flush_ns = number(s, "flush_total_time_ns");
    }
    answer(q, NULL);
}

static gboolean answer_later(gpointer data)
{
    struct inquiry *q = data;
    GError *error = NULL;

    domain_check(q->domain, &error);
    answer(q, error);
    g_clear_error(&error);
    return G_SOURCE_REMOVE;
}

void domain_stats(struct domain *d, domain_stats_done done, void *data)
{
    struct inquiry *q = g_new0(struct inquiry, 1);

    q->domain = domain_ref(d);
    q->done = done;
    q->data = data;
    gather(d, &q->stats);
    if (d->phase == GUEST_UP && d->qmp && q->stats.disks->len)
        qmp_command(d->qmp, "query-blockstats", NULL, STATS_TIMEOUT_MS, on_blockstats, q);
    else
        g_idle_add(answer_later, q);
}
