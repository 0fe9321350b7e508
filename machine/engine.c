/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Choosing an engine. */
#include "engine.h"

#include "kvm/trapeze_kvm.h"
#include "machine.h"

long engine_ioctl(struct engine *e, struct engine_file *f, unsigned long request,
                  unsigned long argument)
{
    return e->ops->ioctl(f, request, argument, NULL);
}

/* Decides for `auto`, and sets *why to the reason. */
static const struct engine_ops *choose(char **why)
{
    struct engine_probe probe;

    engine_probe_kernel(&probe);
    *why = g_strdup(probe.text);
    const struct engine_ops *ops = probe.hardware ? &engine_kernel : &engine_software;
    engine_probe_clear(&probe);
    return ops;
}

struct engine *engine_new(enum engine_choice choice, const struct log_sink *sink, GError **error)
{
    struct engine *e = g_new0(struct engine, 1);

    if (choice == ENGINE_AUTO) {
        e->ops = choose(&e->why);
    } else {
        e->ops = choice == ENGINE_KVM ? &engine_kernel : &engine_software;
        e->why = g_strdup("asked for with --engine");
    }
    e->system = e->ops->open(sink, error);
    if (!e->system) {
        engine_free(e);
        return NULL;
    }
    long version = engine_ioctl(e, e->system, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_ENGINE,
                    "engine %s speaks version %ld of the KVM ABI, not %d", e->ops->name, version,
                    KVM_API_VERSION);
        engine_free(e);
        return NULL;
    }
    e->extended = engine_ioctl(e, e->system, KVM_CHECK_EXTENSION, KVM_CAP_TRAPEZE) >= 1;
    return e;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    if (e->system)
        e->ops->close(e->system);
    g_free(e->why);
    g_free(e);
}
