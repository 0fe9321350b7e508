/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct machine: building, running, resetting and taking apart. */
#include "boot/boot.h"
#include "chipset/chipset.h"
#include "core.h"
#include "cpu-model.h"
#include "pci.h"
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

/* Loads the guest image and puts the first vCPU at its entry. */
static bool boot(struct machine *m, GError **error)
{
    struct machine_vcpu *v = m->vcpus[0];
    struct boot_entry entry;
    long result = engine_ioctl_pointer(m->engine, v->file, KVM_GET_SREGS, &entry.sregs);

    if (result < 0)
        return core_error(error, m, "KVM_GET_SREGS", result);
    memset(&entry.regs, 0, sizeof entry.regs);
    entry.regs.rflags = 2;
    if (!boot_load(m, &entry, error))
        return false;
    result = engine_ioctl_pointer(m->engine, v->file, KVM_SET_SREGS, &entry.sregs);
    if (result < 0)
        return core_error(error, m, "KVM_SET_SREGS", result);
    result = engine_ioctl_pointer(m->engine, v->file, KVM_SET_REGS, &entry.regs);
    return result >= 0 || core_error(error, m, "KVM_SET_REGS", result);
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
    if (wrong)
        g_set_error_literal(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, wrong);
    return !wrong;
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
    if (!ram_setup(m, error) || !irq_setup(m, error) ||
        !cpu_model_resolve(m->cpu_model, m, error) || !add_vcpus(m, error))
        return false;
    m->irq_initial = irq_state_get(m);
    if (!add_devices(m, error) || !boot(m, error))
        return false;
    for (unsigned i = 0; i < m->cpus; i++)
        if (!machine_vcpu_start(m->vcpus[i], error))
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
    g_mutex_init(&m->lock);
    g_mutex_init(&m->stop_lock);
    g_cond_init(&m->changed);
    if (!build(m, error)) {
        machine_free(m);
        return NULL;
    }
    return m;
}

static void end_vcpus(struct machine *m)
{
    g_mutex_lock(&m->lock);
    m->quitting = true;
    g_atomic_int_inc(&m->hold);
    g_cond_broadcast(&m->changed);
    g_mutex_unlock(&m->lock);
    for (unsigned i = 0; i < m->cpus; i++)
        machine_vcpu_kick(m->vcpus[i]);
    for (unsigned i = 0; i < m->cpus; i++)
        machine_vcpu_join(m->vcpus[i]);
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    end_vcpus(m);
    if (m->stop_source) {
        g_source_destroy(m->stop_source);
        g_source_unref(m->stop_source);
    }
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

/* ---- holding and stopping ---- */

static void hold(struct machine *m)
{
    g_atomic_int_inc(&m->hold);
    for (unsigned i = 0; i < m->cpus; i++)
        machine_vcpu_kick(m->vcpus[i]);
}

static void release(struct machine *m)
{
    g_mutex_lock(&m->lock);
    g_atomic_int_add(&m->hold, -1);
    g_cond_broadcast(&m->changed);
    g_mutex_unlock(&m->lock);
}

static void wait_outside(struct machine *m)
{
    for (unsigned i = 0; i < m->cpus; i++)
        machine_vcpu_wait_outside(m->vcpus[i]);
}

void machine_pause(struct machine *m)
{
    hold(m);
    wait_outside(m);
    list_for_each(link, &m->devices)
    {
        struct device *d = device_of(link);

        if (d->class->pause)
            d->class->pause(d);
    }
}

void machine_resume(struct machine *m)
{
    list_for_each(link, &m->devices)
    {
        struct device *d = device_of(link);

        if (d->class->resume)
            d->class->resume(d);
    }
    release(m);
}

/* Puts devices, interrupt controllers and vCPUs in their power-on state and boots again.  The
 * machine is held. */
static bool reset(struct machine *m, GError **error)
{
    list_for_each(link, &m->devices)
    {
        struct device *d = device_of(link);

        g_mutex_lock(&d->lock);
        if (d->class->reset)
            d->class->reset(d);
        g_mutex_unlock(&d->lock);
    }
    irq_state_set(m, m->irq_initial);
    for (unsigned i = 0; i < m->cpus; i++)
        if (!machine_vcpu_state_set(m->vcpus[i], m->vcpus[i]->initial, error))
            return false;
    return boot(m, error);
}

/* Ends a stop for a reset, unless something stronger came up meanwhile. */
static bool run_again(struct machine *m)
{
    g_mutex_lock(&m->stop_lock);
    bool again = m->stop_reason == STOP_RESET;
    if (again)
        m->stop_requested = false;
    g_mutex_unlock(&m->stop_lock);
    return again;
}

static enum stop_reason stop_reason(struct machine *m)
{
    g_mutex_lock(&m->stop_lock);
    enum stop_reason reason = m->stop_reason;
    g_mutex_unlock(&m->stop_lock);
    return reason;
}

/* On the main context, after a stop was asked for: the machine is held from then on. */
static gboolean on_stop(gpointer data)
{
    struct machine *m = data;
    GError *error = NULL;

    wait_outside(m);
    if (stop_reason(m) == STOP_RESET && !m->config->no_reboot) {
        machine_log(m, false, "the guest resets");
        if (!reset(m, &error)) {
            machine_stop_error(m, "reset: %s", error->message);
            g_clear_error(&error);
        }
        if (run_again(m)) {
            release(m);
            return G_SOURCE_REMOVE;
        }
    }
    g_main_loop_quit(m->loop);
    return G_SOURCE_REMOVE;
}

/* Has on_stop called on the main context.  Only one stop is under way at a time. */
static void attach_stop(struct machine *m)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, on_stop, m, NULL);
    if (m->stop_source)
        g_source_unref(m->stop_source);
    m->stop_source = source;
    g_source_attach(source, m->context);
}

/* The first request counts; but a power-off or a wish to quit is not lost behind a reset.  MESSAGE
 * becomes the machine's. */
static void request_stop(struct machine *m, enum stop_reason reason, int status, char *message)
{
    g_mutex_lock(&m->stop_lock);
    bool first = !m->stop_requested;
    if (first || (m->stop_reason == STOP_RESET && reason != STOP_RESET)) {
        m->stop_requested = true;
        m->stop_reason = reason;
        m->stop_status = status;
        m->stop_message = g_steal_pointer(&message);
    }
    g_mutex_unlock(&m->stop_lock);
    g_free(message);
    if (first) {
        hold(m);
        attach_stop(m);
    }
}

void machine_request_stop(struct machine *m, enum stop_reason reason, int status)
{
    request_stop(m, reason, status, NULL);
}

void machine_stop_error(struct machine *m, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    request_stop(m, STOP_ERROR, 1, g_strdup_vprintf(format, arguments));
    va_end(arguments);
}

int machine_run(struct machine *m, GError **error)
{
    release(m);
    g_main_loop_run(m->loop);
    if (m->stop_reason == STOP_ERROR)
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_GUEST, "%s",
                    m->stop_message ? m->stop_message : "the machine stopped with an error");
    return m->stop_reason == STOP_ERROR ? 1 : m->stop_status;
}

void machine_power_button(struct machine *m)
{
    pm_power_button(m->pm);
}
