/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct machine: building and taking apart. */
#include "boot/boot.h"
#include "chipset/chipset.h"
#include "core.h"
#include "cpu-model.h"
#include "gdb/gdb.h"
#include "kvm/trapeze_kvm.h"
#include "monitor/monitor.h"
#include "pci.h"
#include "translation.h"
#include "vcpu.h"
#include "virtio/virtio.h"

#include <stdio.h>
#include <string.h>

/* ---- errors and log ---- */

bool core_error(GError **error, struct machine *m, const char *request, long result)
{
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_ENGINE, "engine %s: %s: %s",
                m->engine->ops->name, request, g_strerror((int)-result));
    return false;
}

void machine_log(struct machine *m, bool warning, const char *format, ...)
{
    va_list arguments;

    if (!warning && !m->config->verbose)
        return;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    fprintf(stderr, "trapeze: %s%s\n", warning ? "warning: " : "", text);
}

/* The engine's log lines. */
static void sink_line(void *opaque, enum log_level level, const char *text)
{
    machine_log(opaque, level <= LOG_LEVEL_WARNING, "engine: %s", text);
}

/* ---- devices ---- */

void device_init(struct device *d, const struct device_class *class, struct machine *m,
                 const char *id)
{
    d->class = class;
    d->id = g_strdup(id);
    d->machine = m;
    g_mutex_init(&d->lock);
    list_append(&m->devices, &d->link);
}

static struct device *device_of(struct list *link)
{
    return container_of(link, struct device, link);
}

/* Last made, first freed: a device may use those that were there before it. */
static void free_devices(struct machine *m)
{
    while (!list_empty(&m->devices)) {
        struct device *d = device_of(m->devices.prev);
        char *id = d->id; /* free may still name it, and takes the rest away */

        list_remove(&d->link);
        if (d->class->free)
            d->class->free(d);
        g_free(id);
    }
}

static bool add_disks(struct machine *m, GError **error)
{
    for (unsigned i = 0; i < m->config->disks->len; i++) {
        const struct disk_config *disk = g_ptr_array_index(m->config->disks, i);
        struct virtio_blk_options o = {.path = disk->path, .readonly = disk->readonly};
        g_autofree char *id = g_strdup_printf("disk%u", i);

        if (!virtio_blk_new(m, id, &o, error)) {
            g_prefix_error(error, "--disk: ");
            return false;
        }
    }
    return true;
}

static bool add_nets(struct machine *m, GError **error)
{
    for (unsigned i = 0; i < m->config->nets->len; i++) {
        g_autofree char *id = g_strdup_printf("net%u", i);

        if (!virtio_net_new(m, id, g_ptr_array_index(m->config->nets, i), error))
            return false;
    }
    return true;
}

static bool add_console(struct machine *m, GError **error)
{
    if (!m->config->console)
        return true;
    m->console = character_new(m, "console", m->config->console, error);
    return m->console && virtio_console_new(m, "console0", m->console, error);
}

static bool add_devices(struct machine *m, GError **error)
{
    m->serial = character_new(m, "serial", m->config->serial, error);
    if (!m->serial)
        return false;
    m->pci = pci_host_new(m);
    chipset_new(m);
    return add_disks(m, error) && add_nets(m, error) && virtio_rng_new(m, "rng0", error) &&
           add_console(m, error);
}

/* ---- building ---- */

static bool add_vcpus(struct machine *m, GError **error)
{
    m->vcpus = g_new0(struct machine_vcpu *, m->config->cpus);
    for (; m->cpus < m->config->cpus; m->cpus++) {
        m->vcpus[m->cpus] = machine_vcpu_new(m, m->cpus, error);
        if (!m->vcpus[m->cpus])
            return false;
    }
    return true;
}

static bool entry_get(struct machine *m, struct boot_entry *entry, GError **error)
{
    long result = engine_ioctl_pointer(m->engine, m->vcpus[0]->file, KVM_GET_SREGS, &entry->sregs);

    if (result < 0)
        return core_error(error, m, "KVM_GET_SREGS", result);
    memset(&entry->regs, 0, sizeof entry->regs);
    entry->regs.rflags = 2;
    return true;
}

static bool entry_set(struct machine *m, struct boot_entry *entry, GError **error)
{
    struct engine_file *vcpu = m->vcpus[0]->file;
    long result = engine_ioctl_pointer(m->engine, vcpu, KVM_SET_SREGS, &entry->sregs);

    if (result < 0)
        return core_error(error, m, "KVM_SET_SREGS", result);
    result = engine_ioctl_pointer(m->engine, vcpu, KVM_SET_REGS, &entry->regs);
    return result >= 0 || core_error(error, m, "KVM_SET_REGS", result);
}

bool core_boot(struct machine *m, GError **error)
{
    struct boot_entry entry;

    return entry_get(m, &entry, error) && boot_load(m, &entry, error) &&
           entry_set(m, &entry, error);
}

bool core_boot_awake(struct machine *m, GError **error)
{
    struct boot_entry entry;

    if (!entry_get(m, &entry, error))
        return false;
    if (boot_wake(m, &entry))
        return entry_set(m, &entry, error);
    machine_log(m, true, "the guest slept without saying where it wakes: it is started anew");
    return core_boot(m, error);
}

static bool check_config(const struct machine_config *c, GError **error)
{
    const char *wrong = NULL;

    if (c->memory < MACHINE_MEMORY_MIN || c->memory & ((1 << 20) - 1))
        wrong = "--memory: give at least 4M, in whole mebibytes";
    else if (c->memory > MACHINE_MEMORY_MAX)
        wrong = "--memory: give at most 448G";
    else if (c->cpus < 1 || c->cpus > MACHINE_CPUS_MAX)
        wrong = "--cpus: give 1 to 255";
    else if (c->paused && !c->qmp->len && !c->gdb)
        wrong = "--paused: nobody could start the guest; give --qmp or --gdb, too";
    if (wrong)
        g_set_error_literal(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, wrong);
    return !wrong;
}

/* Before the first vCPU. */
static bool set_translator(struct machine *m, GError **error)
{
    static const uint32_t modes[] = {
        [TRANSLATOR_OFF] = TRAPEZE_KVM_INTERPRET,
        [TRANSLATOR_ON] = TRAPEZE_KVM_TRANSLATE,
        [TRANSLATOR_CHECK] = TRAPEZE_KVM_TRANSLATE_CHECK,
    };
    struct trapeze_kvm_translator t = {.mode = modes[m->config->translator]};
    long result;

    if (m->config->stats && m->engine->extended)
        engine_ioctl_pointer(m->engine, m->vm, TRAPEZE_KVM_COUNT_INSTRUCTIONS, NULL);
    if (m->config->translator == TRANSLATOR_DEFAULT)
        return true;
    if (!m->engine->extended) {
        if (m->config->translator_optional || m->config->translator == TRANSLATOR_OFF)
            return true;
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--translator: engine %s has none; add --engine software",
                    m->engine->ops->name);
        return false;
    }
    if (m->config->translator == TRANSLATOR_CHECK && m->config->cpus > 1) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--translator check compares one vCPU: take --cpus 1");
        return false;
    }
    result = engine_ioctl_pointer(m->engine, m->vm, TRAPEZE_KVM_SET_TRANSLATOR, &t);
    if (result < 0)
        return core_error(error, m, "TRAPEZE_KVM_SET_TRANSLATOR", result);
    return true;
}

static bool build(struct machine *m, GError **error)
{
    const struct machine_config *c = m->config;
    long result;

    if (!check_config(c, error))
        return false;
    m->cpu_model = cpu_model_new(c->cpu_model, error);
    if (!m->cpu_model)
        return false;
    m->engine = engine_new(c->engine, &m->sink, error);
    if (!m->engine)
        return false;
    result = m->engine->ops->ioctl(m->engine->system, KVM_CREATE_VM, 0, &m->vm);
    if (result < 0)
        return core_error(error, m, "KVM_CREATE_VM", result);
    /* ram_write and ram_written see to it. */
    if (m->engine->extended)
        engine_ioctl(m->engine, m->vm, TRAPEZE_KVM_REPORTS_WRITES, 0);
    if (!ram_setup(m, error) || !irq_setup(m, error) || !set_translator(m, error) ||
        !translation_watch(m, error) || !cpu_model_resolve(m->cpu_model, m, error) ||
        !add_vcpus(m, error))
        return false;
    m->irq_initial = irq_state_get(m);
    if (!add_devices(m, error) || !core_boot(m, error))
        return false;
    for (unsigned i = 0; i < m->cpus; i++)
        if (!machine_vcpu_start(m->vcpus[i], error))
            return false;
    m->monitor = monitor_new(m, error);
    if (!m->monitor)
        return false;
    m->gdb = c->gdb ? gdb_new(m, c->gdb, error) : NULL;
    if (c->gdb && !m->gdb)
        return false;
    if (c->engine == ENGINE_AUTO)
        fprintf(stderr, "trapeze: engine %s: %s\n", m->engine->ops->name, m->engine->why);
    return true;
}

struct machine *machine_new(const struct machine_config *c, GMainContext *context, GError **error)
{
    struct machine *m = g_new0(struct machine, 1);

    m->config = c;
    m->sink = (struct log_sink){.line = sink_line, .opaque = m};
    m->context =
        context ? g_main_context_ref(context) : g_main_context_ref(g_main_context_default());
    m->loop = g_main_loop_new(m->context, FALSE);
    m->space = space_new();
    m->hold = 1; /* until machine_run */
    list_init(&m->devices);
    list_init(&m->observers);
    g_mutex_init(&m->lock);
    g_mutex_init(&m->stop_lock);
    g_cond_init(&m->changed);
    m->wake_source = core_wake_source(m);
    if (!build(m, error)) {
        machine_free(m);
        return NULL;
    }
    return m;
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    core_end_vcpus(m);
    gdb_free(m->gdb);
    monitor_free(m->monitor);
    if (m->stop_source) {
        g_source_destroy(m->stop_source);
        g_source_unref(m->stop_source);
    }
    g_source_destroy(m->wake_source);
    g_source_unref(m->wake_source);
    free_devices(m);
    if (m->serial)
        character_free(m->serial);
    if (m->console)
        character_free(m->console);
    for (unsigned i = 0; i < m->cpus; i++)
        machine_vcpu_free(m->vcpus[i]);
    g_free(m->vcpus);
    g_free(m->irq_initial);
    cpu_model_free(m->cpu_model);
    if (m->vm)
        m->engine->ops->close(m->vm);
    engine_free(m->engine);
    ram_free(m);
    space_free(m->space);
    g_main_loop_unref(m->loop);
    g_main_context_unref(m->context);
    g_cond_clear(&m->changed);
    g_mutex_clear(&m->stop_lock);
    g_mutex_clear(&m->lock);
    g_free(m->stop_message);
    g_free(m);
}
