/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The node: numbers from /proc and /sys. */
#include "manager/node/node-private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CPUS_MAX 8192

/* What Linux gives every host of one machine-id; ours where it has none. */
static void find_uuid(char uuid[37])
{
    g_autofree char *id = NULL;

    g_strlcpy(uuid, "00000000-0000-4000-8000-000000000000", 37);
    if (!g_file_get_contents("/etc/machine-id", &id, NULL, NULL) || strlen(id) < 32)
        return;
    /* systemd asks programs not to show the id itself. */
    g_autofree char *digest =
        g_compute_hmac_for_string(G_CHECKSUM_SHA256, (const guchar *)"trapeze-node", 12, id, 32);
    snprintf(uuid, 37, "%.8s-%.4s-4%.3s-8%.3s-%.12s", digest, digest + 8, digest + 13, digest + 17,
             digest + 20);
}

struct node *node_new(const char *emulator, bool has_kvm)
{
    struct node *n = g_new0(struct node, 1);

    n->emulator = g_strdup(emulator);
    n->has_kvm = has_kvm;
    find_uuid(n->uuid);
    return n;
}

void node_free(struct node *n)
{
    if (n)
        g_free(n->emulator);
    g_free(n);
}

/* Kind bytes: "MemTotal:   24684092 kB" of FILE's text, as bytes; 0 when it is not there. */
static uint64_t memory_line(const char *text, const char *name)
{
    const char *at = text ? strstr(text, name) : NULL;

    return at ? g_ascii_strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

void node_memory(struct node_memory *m)
{
    g_autofree char *text = NULL;

    g_file_get_contents("/proc/meminfo", &text, NULL, NULL);
    m->total = memory_line(text, "MemTotal:");
    m->free = memory_line(text, "MemFree:");
    m->buffers = memory_line(text, "Buffers:");
    m->cached = memory_line(text, "\nCached:");
}

bool node_cpu_time(int cpu, struct node_cpu_time *t)
{
    g_autofree char *text = NULL;
    g_autofree char *name = cpu < 0 ? g_strdup("cpu ") : g_strdup_printf("\ncpu%d ", cpu);
    unsigned long long user, nice, kernel, idle, iowait, irq, softirq;
    uint64_t tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);

    if (!g_file_get_contents("/proc/stat", &text, NULL, NULL))
        return false;
    const char *at = strstr(text, name);
    if (!at || sscanf(at + strlen(name), "%llu %llu %llu %llu %llu %llu %llu", &user, &nice,
                      &kernel, &idle, &iowait, &irq, &softirq) != 7)
        return false;
    *t = (struct node_cpu_time){.kernel = (kernel + irq + softirq) * tick,
                                .user = (user + nice) * tick,
                                .idle = idle * tick,
                                .iowait = iowait * tick};
    return true;
}

char *node_hostname(void)
{
    return g_strdup(g_get_host_name());
}

/* Sets the bits of a list like "0-3,8"; how many. */
static unsigned read_list(const char *path, GByteArray *map)
{
    g_autofree char *text = NULL;
    unsigned count = 0;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    for (char *at = text; g_ascii_isdigit(*at);) {
        uint64_t first = g_ascii_strtoull(at, &at, 10);
        uint64_t last = *at == '-' ? g_ascii_strtoull(at + 1, &at, 10) : first;

        for (uint64_t i = first; i <= last && i < CPUS_MAX; i++, count++) {
            if (!map)
                continue;
            if (map->len <= i / 8) {
                guint old = map->len;
                g_byte_array_set_size(map, (guint)(i / 8 + 1));
                memset(map->data + old, 0, map->len - old);
            }
            map->data[i / 8] |= (uint8_t)(1u << (i % 8));
        }
        at += *at == ',';
    }
    return count;
}

GByteArray *node_cpu_map(unsigned *present, unsigned *online)
{
    GByteArray *map = g_byte_array_new();

    *online = read_list("/sys/devices/system/cpu/online", map);
    *present = read_list("/sys/devices/system/cpu/present", NULL);
    return map;
}

/* A small number in a file; OTHERWISE when there is none. */
static int read_number(const char *folder, int cpu, const char *name, int otherwise)
{
    g_autofree char *path = g_strdup_printf("%s/cpu%d/topology/%s", folder, cpu, name);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? atoi(text) : otherwise;
}

GArray *node_cpus(void)
{
    static const char folder[] = "/sys/devices/system/cpu";
    unsigned present, online;
    g_autoptr(GByteArray) map = node_cpu_map(&present, &online);
    GArray *all = g_array_new(FALSE, TRUE, sizeof(struct node_cpu));

    for (unsigned i = 0; i < map->len * 8; i++)
        if (map->data[i / 8] & 1u << (i % 8)) {
            struct node_cpu c = {
                .id = (int)i,
                .socket = MAX(0, read_number(folder, (int)i, "physical_package_id", 0)),
                .core = read_number(folder, (int)i, "core_id", (int)i),
            };
            g_array_append_val(all, c);
        }
    return all;
}

/* How many different values NUMBER of the CPUs has. */
static unsigned distinct(const GArray *cpus, bool cores)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    for (unsigned i = 0; i < cpus->len; i++) {
        const struct node_cpu *c = &g_array_index(cpus, struct node_cpu, i);
        int value = cores ? c->socket * CPUS_MAX + c->core : c->socket;

        g_hash_table_add(seen, GINT_TO_POINTER(value + 1));
    }
    return MAX(1, g_hash_table_size(seen));
}

static unsigned megahertz(void)
{
    g_autofree char *text = NULL;

    g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL);
    const char *at = text ? strstr(text, "cpu MHz") : NULL;
    at = at ? strchr(at, ':') : NULL;
    return at ? (unsigned)g_ascii_strtod(at + 1, NULL) : 0;
}

void node_info(const struct node *n, struct node_info *info)
{
    g_autoptr(GArray) cpus = node_cpus();
    unsigned sockets = distinct(cpus, false), cores = distinct(cpus, true);
    struct node_memory memory;

    (void)n;
    node_memory(&memory);
    *info = (struct node_info){.model = "x86_64",
                               .memory = memory.total / 1024,
                               .cpus = cpus->len,
                               .mhz = megahertz(),
                               .cells = 1,
                               .sockets = sockets,
                               .cores = MAX(1, cores / sockets),
                               .threads = MAX(1, cpus->len / cores)};
    /* Clients multiply: what is not even is one socket of that many cores. */
    if (info->sockets * info->cores * info->threads != info->cpus) {
        info->sockets = info->threads = 1;
        info->cores = info->cpus;
    }
}
