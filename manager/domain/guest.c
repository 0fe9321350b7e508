/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain's guest: its process and the connection to it, from birth to end.
 *
 * guest_start:  state file (starting) -> process -> connection -> what devices it has -> it is let
 *               go -> state file (up)
 * guest_adopt:  state file -> the process, if it lives -> connection -> the same from there
 * guest_ended:  what it said last -> files removed -> event, and a new start if the definition asks
 */
#include "domain-private.h"

#include <string.h>

#define LOOK_MS    20
#define LOOKS_MAX  250
#define RETRY_MS   1000
#define RESTART_MS 1000
#define KILL_MS    3000

static void guest_ended(void *data);
static void connect_to_guest(struct domain *d);

/* ---- bookkeeping ---- */

static void stop_timer(struct domain *d)
{
    if (d->timer)
        g_source_remove(d->timer);
    d->timer = 0;
}

static void set_timer(struct domain *d, unsigned ms, GSourceFunc function)
{
    stop_timer(d);
    d->timer = g_timeout_add(ms, function, d);
}

void guest_release(struct domain *d)
{
    struct qmp *q = g_steal_pointer(&d->qmp);

    stop_timer(d);
    process_free(g_steal_pointer(&d->process)); /* first: no answer is a reason to end it now */
    qmp_free(q);
    g_clear_pointer(&d->threads, g_array_unref);
}

static void save(struct domain *d)
{
    GError *error = NULL;

    if (!d->all || !d->live || state_write(d, &error))
        return;
    g_warning("domain '%s': %s", d->name, error->message);
    g_error_free(error);
}

void guest_set_state(struct domain *d, enum domain_state state, int reason)
{
    if (d->state == state && d->reason == reason)
        return;
    d->state = state;
    d->reason = reason;
    if (d->phase != GUEST_NONE)
        save(d);
}

/* Forgets the guest, which does not live (any more). */
static void forget(struct domain *d, int reason)
{
    guest_release(d);
    if (d->all) {
        process_clean(d->all->run_dir, d->uuid_text);
        state_remove(d);
    }
    d->phase = GUEST_NONE;
    d->id = -1;
    d->state = DOMAIN_SHUTOFF;
    d->reason = reason;
    d->paused_start = d->reboot_wanted = d->destroyed = d->shut_down = d->quitting = d->adopting =
        false;
    g_clear_pointer(&d->start_fault, g_free);
    g_clear_pointer(&d->live, definition_free);
}

/* Ends the current job, if it waits for the guest to be up. */
static void end_start(struct domain *d, GError *error)
{
    d->adopting = false;
    if (d->job && d->job->wait == JOB_UNTIL_UP)
        job_done(d->job, error);
    else
        g_clear_error(&error);
}

/* ---- the start fails ---- */

/* Why a guest whose process has ended did not start: its own words say more than what we saw. */
static GError *start_error(struct domain *d)
{
    g_autofree char *output = d->process ? process_output(d->process) : g_strdup("");

    if (d->destroyed)
        return manager_error_new(MANAGER_ERROR_OPERATION_FAILED,
                                 "the domain was destroyed while it started");
    return manager_error_new(MANAGER_ERROR_INTERNAL, "%s%s%s",
                             d->start_fault ? d->start_fault
                                            : "process exited while connecting to monitor",
                             *output ? ": " : "", output);
}

static void fail_start(struct domain *d, GError *error)
{
    domain_ref(d);
    bool transient = !d->config;

    /* No event: who started it hears the error, and for others nothing began. */
    forget(d, SHUTOFF_FAILED);
    if (transient)
        domains_remove(d);
    end_start(d, error);
    domain_unref(d);
}

static gboolean on_start_timeout(gpointer data)
{
    struct domain *d = data;

    d->timer = 0;
    d->start_fault = g_strdup_printf("the guest's monitor did not answer within %u s",
                                     (d->all->start_ms + 999) / 1000);
    process_kill(d->process);
    return G_SOURCE_REMOVE;
}

/* ---- after the connection: what devices there are, then the guest is let go ---- */

static void up(struct domain *d)
{
    bool begun = d->phase == GUEST_STARTING;

    stop_timer(d);
    d->phase = GUEST_UP;
    if (!begun) {
        save(d);
    } else if (d->paused_start) {
        guest_set_state(d, DOMAIN_PAUSED, PAUSED_USER);
        domains_tell(d, EVENT_STARTED, 0);
        domains_tell(d, EVENT_SUSPENDED, 0);
    } else {
        guest_set_state(d, DOMAIN_RUNNING, RUNNING_BOOTED);
        domains_tell(d, EVENT_RESUMED, 0);
        domains_tell(d, EVENT_STARTED, 0);
    }
    domain_ref(d);
    end_start(d, NULL);
    if (!begun && d->phase == GUEST_UP && d->shut_down)
        guest_powered_off(d, false);
    domain_unref(d);
}

/* An answer that did not come at a start: the process has ended or will not do. */
static void no_answer(struct domain *d, const GError *error)
{
    if (d->phase == GUEST_STARTING && d->process) {
        process_kill(d->process); /* guest_ended tells why, by its output */
        return;
    }
    g_info("domain '%s': %s", d->name, error->message);
}

static void on_continued(json_t *value, const GError *error, void *data)
{
    struct domain *d = data;

    if (value)
        up(d);
    else
        no_answer(d, error);
}

static void on_cpus(json_t *value, const GError *error, void *data)
{
    struct domain *d = data;
    size_t i;
    json_t *cpu;

    if (!value) {
        no_answer(d, error);
        return;
    }
    g_clear_pointer(&d->threads, g_array_unref);
    d->threads = g_array_new(FALSE, TRUE, sizeof(int));
    json_array_foreach(value, i, cpu)
    {
        int thread = (int)json_integer_value(json_object_get(cpu, "thread-id"));

        g_array_append_val(d->threads, thread);
    }
    if (d->phase == GUEST_STARTING && !d->paused_start)
        qmp_command(d->qmp, "cont", NULL, QMP_TIMEOUT_MS, on_continued, d);
    else
        up(d);
}

static void on_chardevs(json_t *value, const GError *error, void *data)
{
    struct domain *d = data;
    size_t i;
    json_t *chardev;

    if (!value) {
        no_answer(d, error);
        return;
    }
    json_array_foreach(value, i, chardev)
    {
        const char *label = json_string_value(json_object_get(chardev, "label"));
        const char *file = json_string_value(json_object_get(chardev, "filename"));

        /* Nothing else is opened on the word of a guest's process. */
        if (!label || !file || !g_str_has_prefix(file, "pty:/dev/pts/") ||
            strchr(file + strlen("pty:/dev/pts/"), '/'))
            continue;
        /* The machine's virtio console comes after the serial port's twin, if there is one. */
        if (!strcmp(label, "console0"))
            label = d->live->serial.present ? "console1" : "console0";
        definition_set_pty(d->live, label, file + strlen("pty:"));
    }
    qmp_command(d->qmp, "query-cpus-fast", NULL, QMP_TIMEOUT_MS, on_cpus, d);
}

/* The state that QMP's status is. */
static void on_status(json_t *value, const GError *error, void *data)
{
    struct domain *d = data;
    const char *status = json_string_value(json_object_get(value, "status"));

    if (!value) {
        no_answer(d, error);
        return;
    }
    /* Its start was finished, and then the manager ended before it could note it. */
    if (d->adopting && d->phase == GUEST_STARTING && status &&
        (!strcmp(status, "running") || !strcmp(status, "shutdown")))
        d->phase = GUEST_UP;
    if (d->phase == GUEST_UP && status) {
        if (!strcmp(status, "running") && d->state != DOMAIN_RUNNING)
            guest_set_state(d, DOMAIN_RUNNING, RUNNING_UNPAUSED);
        else if ((!strcmp(status, "paused") || !strcmp(status, "prelaunch")) &&
                 d->state != DOMAIN_PAUSED)
            guest_set_state(d, DOMAIN_PAUSED, PAUSED_USER);
        d->shut_down = !strcmp(status, "shutdown");
    }
    qmp_command(d->qmp, "query-chardev", NULL, QMP_TIMEOUT_MS, on_chardevs, d);
}

static void on_ready(void *data)
{
    struct domain *d = data;

    qmp_command(d->qmp, "query-status", NULL, QMP_TIMEOUT_MS, on_status, d);
}

/* ---- connecting ---- */

static gboolean on_retry(gpointer data)
{
    struct domain *d = data;

    d->timer = 0;
    if (!d->qmp)
        connect_to_guest(d);
    return G_SOURCE_REMOVE;
}

static void on_closed(const char *why, void *data)
{
    struct domain *d = data;

    qmp_free(g_steal_pointer(&d->qmp));
    if (d->phase == GUEST_STARTING) {
        if (d->process)
            process_kill(d->process);
        return;
    }
    if (d->quitting) /* its process ends, or is killed */
        return;
    /* Most often its process is ending, and this comes a moment before that is seen. */
    g_info("domain '%s': the guest's monitor: %s", d->name, why);
    set_timer(d, RETRY_MS, on_retry);
}

static void connect_to_guest(struct domain *d)
{
    static const struct qmp_handler handler = {on_ready, guest_event, on_closed};
    GError *error = NULL;
    int fd = process_connect(d->all->run_dir, d->uuid_text, &error);

    if (fd >= 0) {
        d->qmp = qmp_new(fd, &handler, d);
        return;
    }
    /* Most often its process is ending. */
    g_info("domain '%s': %s", d->name, error->message);
    g_error_free(error);
    if (d->phase == GUEST_STARTING) {
        process_kill(d->process);
        return;
    }
    set_timer(d, RETRY_MS, on_retry);
    end_start(d, NULL);
}

/* ---- starting ---- */

static struct process *spawn(struct domain *d, GError **error)
{
    g_auto(GStrv) arguments = process_arguments(d->live);
    g_autofree char *log = g_strdup_printf("%s/%s.log", d->all->log_dir, d->name);

    return process_spawn(d->all->run_dir, d->uuid_text, arguments, log, guest_ended, d, error);
}

void guest_start(struct domain *d, const struct definition *definition, unsigned flags)
{
    GError *error = NULL;

    if (!definition_check_start(definition, &error)) {
        bool transient = !d->config;

        d->reason = SHUTOFF_FAILED;
        if (transient)
            domains_remove(d);
        end_start(d, error);
        return;
    }
    d->live = definition_copy(definition);
    d->id = d->all->next_id++;
    d->phase = GUEST_STARTING;
    d->state = DOMAIN_PAUSED;
    d->reason = PAUSED_STARTING_UP;
    d->paused_start = flags & 1; /* VIR_DOMAIN_START_PAUSED */
    d->reboot_wanted = d->destroyed = d->shut_down = false;
    definition_make_live(d->live, d->id);
    if (!state_write(d, &error) || !(d->process = spawn(d, &error))) {
        fail_start(d, error);
        return;
    }
    set_timer(d, d->all->start_ms, on_start_timeout);
    connect_to_guest(d);
}

/* ---- finding again ---- */

static void adopt_run(struct job *job)
{
    struct domain *d = job->domain;

    if (!d->adopting) /* it was faster */
        job_done(job, NULL);
}

static gboolean on_adopt_timeout(gpointer data)
{
    struct domain *d = data;

    if (d->phase == GUEST_STARTING)
        return on_start_timeout(data);
    d->timer = 0;
    g_warning("domain '%s': the guest's monitor does not answer", d->name);
    end_start(d, NULL);
    return G_SOURCE_REMOVE;
}

static gboolean look(gpointer data)
{
    struct domain *d = data;
    bool born;

    d->timer = 0;
    d->process = process_find(d->all->run_dir, d->uuid_text, guest_ended, d, &born);
    if (d->process) {
        set_timer(d, d->all->start_ms, on_adopt_timeout);
        connect_to_guest(d);
    } else if (born && ++d->looks < LOOKS_MAX) {
        set_timer(d, LOOK_MS, look);
    } else if (born) {
        g_warning("domain '%s': somebody holds its guest's lock and does not say who", d->name);
        end_start(d, NULL);
    } else {
        guest_ended(d);
    }
    return G_SOURCE_REMOVE;
}

void guest_adopt(struct domain *d)
{
    /* Whoever wants something of it waits until it is known again. */
    job_add(d, adopt_run, 0, NULL, NULL)->wait = JOB_UNTIL_UP;
    d->adopting = true;
    d->looks = 0;
    look(d);
}

/* ---- ending ---- */

void guest_kill(struct domain *d)
{
    if (d->process)
        process_kill(d->process);
}

static gboolean on_quit_timeout(gpointer data)
{
    struct domain *d = data;

    d->timer = 0;
    guest_kill(d);
    return G_SOURCE_REMOVE;
}

void guest_quit(struct domain *d)
{
    if (!d->qmp || d->phase != GUEST_UP) {
        guest_kill(d);
        return;
    }
    d->quitting = true;
    qmp_command(d->qmp, "quit", NULL, 0, NULL, NULL);
    set_timer(d, KILL_MS, on_quit_timeout);
}

static gboolean on_restart(gpointer data)
{
    struct domain *d = data;

    d->timer = 0;
    if (!domain_is_active(d))
        domain_start(d, 0, NULL, NULL);
    return G_SOURCE_REMOVE;
}

/* A guest that was up has ended. */
static void finish(struct domain *d)
{
    bool destroyed = d->destroyed, shut_down = d->shut_down, transient = !d->config;
    bool restart = d->live->on_crash == ACTION_RESTART && !transient;

    forget(d, destroyed ? SHUTOFF_DESTROYED : shut_down ? SHUTOFF_SHUTDOWN : SHUTOFF_CRASHED);
    domains_tell(d, EVENT_STOPPED,
                 destroyed   ? STOPPED_DESTROYED
                 : shut_down ? STOPPED_SHUTDOWN
                             : STOPPED_FAILED);
    if (transient)
        domains_remove(d);
    end_start(d, NULL);
    if (d->job && d->job->wait == JOB_UNTIL_ENDED)
        job_done(d->job, NULL);
    /* Not at once: it may crash again and again. */
    if (restart && !destroyed && !shut_down && !domain_is_active(d))
        set_timer(d, RESTART_MS, on_restart);
}

static void guest_ended(void *data)
{
    struct domain *d = domain_ref(data);

    if (d->qmp)
        qmp_drain(d->qmp);
    if (d->phase == GUEST_STARTING)
        fail_start(d, start_error(d));
    else if (d->phase == GUEST_UP)
        finish(d);
    domain_unref(d);
}
