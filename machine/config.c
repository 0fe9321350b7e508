/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration's defaults and its end. */
#include "machine.h"

#define DEFAULT_MEMORY (512ull << 20)

G_DEFINE_QUARK(trapeze - machine - error - quark, machine_error)

static void free_disk(gpointer data)
{
    struct disk_config *d = data;

    g_free(d->path);
    g_free(d);
}

void machine_config_init(struct machine_config *c)
{
    *c = (struct machine_config){
        .memory = DEFAULT_MEMORY,
        .cpus = 1,
        .engine = ENGINE_AUTO,
        .disks = g_ptr_array_new_with_free_func(free_disk),
        .nets = g_ptr_array_new_with_free_func(g_free),
        .qmp = g_ptr_array_new_with_free_func(g_free),
        .serial = g_strdup("stdio"),
        .pit = true,
    };
}

void machine_config_clear(struct machine_config *c)
{
    g_free(c->kernel);
    g_free(c->initrd);
    g_free(c->append);
    g_free(c->cpu_model);
    g_free(c->serial);
    g_free(c->console);
    g_free(c->gdb);
    g_free(c->name);
    g_free(c->uuid);
    g_ptr_array_unref(c->disks);
    g_ptr_array_unref(c->nets);
    g_ptr_array_unref(c->qmp);
    *c = (struct machine_config){0};
}
