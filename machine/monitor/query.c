/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP's queries about the machine as a whole, its vCPUs, memory and character back-ends. */
#include "private.h"

#include "machine/chipset/character.h"
#include "machine/vcpu.h"

/* The version of QEMU whose protocol this is. */
#define QMP_MAJOR 7
#define QMP_MINOR 2

#define UUID_NONE "00000000-0000-0000-0000-000000000000"

json_t *query_version(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)mon, (void)arguments, (void)error;
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", QMP_MAJOR, "minor", QMP_MINOR,
                     "micro", 0, "package", "Trapeze " TRAPEZE_VERSION);
}

json_t *query_name(struct monitor *mon, json_t *arguments, GError **error)
{
    const char *name = mon->machine->config->name;

    (void)arguments, (void)error;
    return name ? json_pack("{s:s}", "name", name) : json_object();
}

json_t *query_uuid(struct monitor *mon, json_t *arguments, GError **error)
{
    const char *uuid = mon->machine->config->uuid;

    (void)arguments, (void)error;
    return json_pack("{s:s}", "UUID", uuid ? uuid : UUID_NONE);
}

json_t *query_status(struct monitor *mon, json_t *arguments, GError **error)
{
    static const char *const names[] = {
        [MACHINE_PRELAUNCH] = "prelaunch", [MACHINE_RUNNING] = "running",
        [MACHINE_PAUSED] = "paused",       [MACHINE_DEBUG] = "debug",
        [MACHINE_SHUT_DOWN] = "shutdown",  [MACHINE_SUSPENDED] = "suspended",
    };
    enum machine_status status = mon->machine->status;

    (void)arguments, (void)error;
    return json_pack("{s:s, s:b, s:b}", "status", names[status], "running",
                     status == MACHINE_RUNNING, "singlestep", 0);
}

json_t *query_kvm(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    return json_pack("{s:b, s:b}", "enabled", mon->machine->engine->ops == &engine_kernel,
                     "present", 1);
}

char *query_cpu_path(unsigned index)
{
    return g_strdup_printf("/machine/unattached/cpu[%u]", index);
}

/* Each vCPU is a core of the one socket, as CPUID tells the guest. */
json_t *query_cpus_fast(struct monitor *mon, json_t *arguments, GError **error)
{
    struct machine *m = mon->machine;
    json_t *list = json_array();

    (void)arguments, (void)error;
    for (unsigned i = 0; i < m->cpus; i++) {
        g_autofree char *path = query_cpu_path(i);

        json_array_append_new(list, json_pack("{s:i, s:s, s:i, s:s, s:{s:i, s:i, s:i}}",
                                              "cpu-index", i, "qom-path", path, "thread-id",
                                              (int)m->vcpus[i]->tid, "target", "x86_64", "props",
                                              "socket-id", 0, "core-id", i, "thread-id", 0));
    }
    return list;
}

json_t *query_memory_size_summary(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    return json_pack("{s:I, s:i}", "base-memory", (json_int_t)mon->machine->config->memory,
                     "plugged-memory", 0);
}

json_t *query_balloon(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)mon, (void)arguments;
    g_set_error_literal(error, QMP_ERROR, QMP_DEVICE_NOT_ACTIVE, "the machine has no balloon");
    return NULL;
}

static void add_character(json_t *list, const char *label, const struct character *c)
{
    g_autofree char *filename = c ? character_filename(c) : NULL;

    if (c)
        json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "label", label, "filename",
                                              filename, "frontend-open", 1));
}

json_t *query_chardev(struct monitor *mon, json_t *arguments, GError **error)
{
    json_t *list = json_array();

    (void)arguments, (void)error;
    add_character(list, "serial0", mon->machine->serial);
    add_character(list, "console0", mon->machine->console);
    return list;
}
