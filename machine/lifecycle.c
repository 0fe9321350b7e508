/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A machine's life: running, suspending, sleeping, resetting, ending, and telling observers. */
#include "chipset/chipset.h"
#include "core.h"
#include "vcpu.h"

static void notify(struct machine *m, enum machine_event event, enum stop_reason reason)
{
    list_for_each(link, &m->observers)
    {
        struct machine_observer *o = container_of(link, struct machine_observer, link);

        o->event(o, event, reason);
    }
}

/* ---- holding vCPUs and devices ---- */

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

static struct device *device_of(struct list *link)
{
    return container_of(link, struct device, link);
}

void machine_pause(struct machine *m)
{
    hold(m);
    wait_outside(m);
    if (m->pauses++)
        return;
    list_for_each(link, &m->devices)
    {
        struct device *d = device_of(link);

        if (d->class->pause)
            d->class->pause(d);
    }
}

void machine_resume(struct machine *m)
{
    if (!--m->pauses) {
        list_for_each(link, &m->devices)
        {
            struct device *d = device_of(link);

            if (d->class->resume)
                d->class->resume(d);
        }
    }
    release(m);
}

void core_end_vcpus(struct machine *m)
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

/* ---- suspending ---- */

/* The guest's clock stands while it is suspended, so that it does not find itself in the future. An
 * engine without the requests keeps its own time. */
static void stop_clock(struct machine *m)
{
    m->clock_stands = engine_ioctl_pointer(m->engine, m->vm, KVM_GET_CLOCK, &m->clock) >= 0;
}

static void start_clock(struct machine *m)
{
    if (!m->clock_stands)
        return;
    m->clock_stands = false;
    m->clock.flags = 0; /* the clock's value alone, whatever time it is outside */
    engine_ioctl_pointer(m->engine, m->vm, KVM_SET_CLOCK, &m->clock);
    /* Tells guests that use kvmclock that they were stopped, so that no watchdog barks; refused for
     * the others. */
    for (unsigned i = 0; i < m->cpus; i++)
        engine_ioctl(m->engine, m->vcpus[i]->file, KVM_KVMCLOCK_CTRL, 0);
}

/* Suspends, with STATUS instead of RUNNING. */
static void suspend(struct machine *m, enum machine_status status)
{
    machine_pause(m);
    stop_clock(m);
    m->status = status;
}

static void suspend_running(struct machine *m, enum machine_status status)
{
    if (m->status != MACHINE_RUNNING)
        return;
    suspend(m, status);
    notify(m, MACHINE_EVENT_STOP, 0);
}

void machine_suspend(struct machine *m)
{
    suspend_running(m, MACHINE_PAUSED);
}

void machine_suspend_for_debugger(struct machine *m)
{
    suspend_running(m, MACHINE_DEBUG);
}

/* The guest's sleep begins: one hold on the vCPUs becomes that of the sleep. */
static void fall_asleep(struct machine *m)
{
    m->sleepy = false;
    m->status = MACHINE_SUSPENDED;
    notify(m, MACHINE_EVENT_SUSPEND, 0);
}

bool machine_continue(struct machine *m, GError **error)
{
    if (m->status == MACHINE_RUNNING || m->status == MACHINE_SUSPENDED)
        return true;
    if (m->status == MACHINE_SHUT_DOWN) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_GUEST,
                    "the guest has shut down: reset the machine first");
        return false;
    }
    start_clock(m);
    m->status = MACHINE_RUNNING;
    notify(m, MACHINE_EVENT_RESUME, 0);
    if (m->sleepy) {
        hold(m);
        fall_asleep(m);
    }
    machine_resume(m);
    return true;
}

/* ---- resetting and ending ---- */

/* Puts devices, interrupt controllers and vCPUs in their power-on state.  The machine is held. */
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
    return true;
}

/* ---- sleep (ACPI's S3) ---- */

/* Wakes as firmware does: RAM is what it was, all else as at power-on. */
static gboolean on_wake(gpointer data)
{
    struct machine *m = data;
    GError *error = NULL;

    g_source_set_ready_time(m->wake_source, -1);
    if (m->status != MACHINE_SUSPENDED) {
        if (m->sleepy) { /* before it slept: it sees that and goes on */
            m->sleepy = false;
            pm_wake(m->pm);
        }
        return G_SOURCE_CONTINUE;
    }
    wait_outside(m);
    if (!reset(m, &error) || !core_boot_awake(m, &error)) {
        machine_stop_error(m, "waking from sleep: %s", error->message);
        g_clear_error(&error);
    }
    pm_wake(m->pm);
    m->status = MACHINE_RUNNING;
    notify(m, MACHINE_EVENT_WAKEUP, 0);
    release(m);
    return G_SOURCE_CONTINUE;
}

GSource *core_wake_source(struct machine *m)
{
    return chipset_timer_new(m, on_wake, m);
}

void machine_wake(struct machine *m)
{
    g_source_set_ready_time(m->wake_source, 0);
}

/* Ends the sleep of a machine that something else is to happen to.  It is held besides. */
static void end_sleep(struct machine *m)
{
    m->sleepy = false;
    if (m->status != MACHINE_SUSPENDED)
        return;
    m->status = MACHINE_RUNNING;
    release(m);
}

/* ---- ending, or beginning again ---- */

static bool is_reset(enum stop_reason reason)
{
    return reason == STOP_RESET || reason == STOP_MONITOR_RESET;
}

/* Whether the machine stays, shut down, after a stop for REASON. */
static bool stays(const struct machine *m, enum stop_reason reason)
{
    return m->config->no_shutdown && (reason == STOP_POWEROFF || is_reset(reason));
}

/* Ends a stop that is not the machine's end, unless something stronger than REASON came up
 * meanwhile. */
static bool stop_is_over(struct machine *m, enum stop_reason reason)
{
    g_mutex_lock(&m->stop_lock);
    bool again = m->stop_reason == reason;
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

/* Resets the machine, which is held, and lets it go on as it was: running, or waiting to be
 * started. False when something stronger came up. */
static bool start_again(struct machine *m, enum stop_reason reason)
{
    GError *error = NULL;

    machine_log(m, false, reason == STOP_RESET ? "the guest resets" : "resetting");
    if (!reset(m, &error) || !core_boot(m, &error)) {
        machine_stop_error(m, "reset: %s", error->message);
        g_clear_error(&error);
    }
    if (!stop_is_over(m, reason))
        return false;
    if (m->status != MACHINE_RUNNING)
        m->status = MACHINE_PRELAUNCH;
    notify(m, MACHINE_EVENT_RESET, reason);
    release(m);
    return true;
}

/* Leaves the machine, which is held, as the guest left it.  False when
 * something stronger came up. */
static bool stay(struct machine *m, enum stop_reason reason)
{
    if (!stop_is_over(m, reason))
        return false;
    notify(m, MACHINE_EVENT_SHUTDOWN, reason);
    if (m->status == MACHINE_RUNNING) {
        suspend(m, MACHINE_SHUT_DOWN);
        notify(m, MACHINE_EVENT_STOP, 0);
    }
    m->status = MACHINE_SHUT_DOWN;
    release(m);
    return true;
}

/* Begins the sleep of the machine, which is held; one that was suspended meanwhile sleeps when it
 * goes on.  False when something stronger came up. */
static bool sleep_now(struct machine *m)
{
    if (!stop_is_over(m, STOP_SLEEP))
        return false;
    if (m->status == MACHINE_RUNNING) {
        fall_asleep(m);
    } else {
        m->sleepy = true;
        release(m);
    }
    return true;
}

/* On the main context, after a stop was asked for: the machine is held from then on. */
static gboolean on_stop(gpointer data)
{
    struct machine *m = data;

    wait_outside(m);
    end_sleep(m);
    for (;;) {
        enum stop_reason reason = stop_reason(m);

        if (reason == STOP_SLEEP) {
            if (sleep_now(m))
                break;
        } else if (is_reset(reason) && !m->config->no_reboot) {
            if (start_again(m, reason))
                break;
        } else if (stays(m, reason)) {
            if (stay(m, reason))
                break;
        } else {
            notify(m, MACHINE_EVENT_SHUTDOWN, reason);
            g_main_loop_quit(m->loop);
            break;
        }
    }
    return G_SOURCE_REMOVE;
}

/* Has on_stop called on the main context.  Only one stop is under way at a time. */
static void attach_stop(struct machine *m)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, G_PRIORITY_HIGH); /* before clients ask for what it changes */
    g_source_set_callback(source, on_stop, m, NULL);
    if (m->stop_source)
        g_source_unref(m->stop_source);
    m->stop_source = source;
    g_source_attach(source, m->context);
}

/* What a reason weighs against another one: more ends than a reset does. */
static int strength(const struct machine *m, enum stop_reason reason)
{
    return is_reset(reason) || reason == STOP_SLEEP ? 0 : stays(m, reason) ? 1 : 2;
}

/* The first request counts; but one that ends the machine is not lost behind one that does not.
 * MESSAGE becomes the machine's. */
static void request_stop(struct machine *m, enum stop_reason reason, int status, char *message)
{
    g_mutex_lock(&m->stop_lock);
    bool first = !m->stop_requested;
    if (first || strength(m, reason) > strength(m, m->stop_reason)) {
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

/* ---- running ---- */

int machine_run(struct machine *m, GError **error)
{
    if (m->config->paused)
        suspend(m, MACHINE_PRELAUNCH);
    else
        m->status = MACHINE_RUNNING;
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
    notify(m, MACHINE_EVENT_POWERDOWN, 0);
}
