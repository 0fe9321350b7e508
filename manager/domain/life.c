/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operations of a domain's life, as jobs. */
#include "domain-private.h"

#include <string.h>

/* virDomainCreateFlags, virDomainDestroyFlags, virDomainShutdownFlagValues */
#define DESTROY_GRACEFUL    1
#define SHUTDOWN_ACPI       1
#define GRACEFUL_TIMEOUT_MS 10000

/* ---- start ---- */

static void start_run(struct job *job)
{
    struct domain *d = job->domain;
    const struct definition *definition = job->definition ? job->definition : d->config;
    GError *error = NULL;

    if (!domain_check(d, &error)) {
        job_done(job, error);
    } else if (domain_is_active(d)) {
        job_done(job,
                 manager_error_new(MANAGER_ERROR_OPERATION_INVALID, "domain is already running"));
    } else {
        guest_start(d, definition, job->flags);
    }
}

void domain_start(struct domain *d, unsigned flags, domain_done done, void *data)
{
    job_add(d, start_run, flags, done, data)->wait = JOB_UNTIL_UP;
}

/* A creation that failed before there was a domain. */
struct refusal {
    domain_done done;
    void *data;
    GError *error;
};

static gboolean refuse(gpointer data)
{
    struct refusal *r = data;

    if (r->done)
        r->done(NULL, r->error, r->data);
    g_error_free(r->error);
    g_free(r);
    return G_SOURCE_REMOVE;
}

static void refuse_later(domain_done done, void *data, GError *error)
{
    struct refusal *r = g_new0(struct refusal, 1);

    *r = (struct refusal){done, data, error};
    g_idle_add(refuse, r);
}

void domains_create(struct domains *all, const char *xml, unsigned flags, domain_done done,
                    void *data)
{
    GError *error = NULL;
    struct definition *definition = definition_parse(xml, all->trapeze, 0, &error);
    struct domain *d = NULL;

    if (definition && domains_check_new(all, definition, &d, &error) && d &&
        (domain_is_active(d) || d->job || d->jobs.length))
        manager_error_set(&error, MANAGER_ERROR_OPERATION_INVALID, "domain '%s' is already active",
                          d->name);
    if (error) {
        definition_free(definition);
        refuse_later(done, data, error);
        return;
    }
    if (!d) {
        d = domains_add(all, definition);
        d->initial = definition_copy(definition);
    }
    struct job *job = job_add(d, start_run, flags, done, data);
    job->wait = JOB_UNTIL_UP;
    job->definition = definition;
}

/* ---- what is asked of a running guest ---- */

static void on_answer(json_t *value, const GError *error, void *data)
{
    struct job *job = data;
    GError *copy = NULL;

    if (!value && job->domain->phase != GUEST_UP)
        manager_error_set(&copy, MANAGER_ERROR_OPERATION_INVALID, "domain is not running");
    else if (!value)
        copy = g_error_copy(error);
    job_done(job, copy);
}

/* Gives COMMAND, whose answer ends the job. */
static void ask(struct job *job, const char *command)
{
    struct domain *d = job->domain;

    if (d->qmp)
        qmp_command(d->qmp, command, NULL, QMP_TIMEOUT_MS, on_answer, job);
    else
        job_done(job, manager_error_new(MANAGER_ERROR_OPERATION_FAILED,
                                        "there is no connection to the guest's monitor"));
}

/* Ends the job when the domain does not run. */
static bool runs(struct job *job)
{
    GError *error = NULL;

    if (domain_check_active(job->domain, &error))
        return true;
    job_done(job, error);
    return false;
}

/* Whether the guest is to be asked by its power button; the job ends if not. */
static bool by_button(struct job *job)
{
    if (!job->flags || job->flags & SHUTDOWN_ACPI)
        return true;
    job_done(job, manager_error_new(MANAGER_ERROR_ARGUMENT_UNSUPPORTED,
                                    "only the power button (mode acpi) can ask this guest"));
    return false;
}

static void press_button(struct job *job, bool reboot)
{
    struct domain *d = job->domain;

    if (!runs(job) || !by_button(job))
        return;
    d->reboot_wanted = reboot;
    state_write(d, NULL);
    ask(job, "system_powerdown");
}

/* A paused guest would not notice; a reboot takes place when it goes on. */
static void shutdown_run(struct job *job)
{
    if (job->domain->all && job->domain->state != DOMAIN_RUNNING)
        job_done(job, manager_error_new(MANAGER_ERROR_OPERATION_INVALID, "domain is not running"));
    else
        press_button(job, false);
}

static void reboot_run(struct job *job)
{
    press_button(job, true);
}

static void reset_run(struct job *job)
{
    if (runs(job))
        ask(job, "system_reset");
}

static void suspend_run(struct job *job)
{
    if (!runs(job))
        return;
    if (job->domain->state == DOMAIN_PAUSED)
        job_done(job, NULL);
    else
        ask(job, "stop");
}

static void resume_run(struct job *job)
{
    if (!runs(job))
        return;
    if (job->domain->state == DOMAIN_RUNNING)
        job_done(job,
                 manager_error_new(MANAGER_ERROR_OPERATION_INVALID, "domain is already running"));
    else
        ask(job, "cont");
}

void domain_shutdown(struct domain *d, unsigned flags, domain_done done, void *data)
{
    job_add(d, shutdown_run, flags, done, data);
}

void domain_reboot(struct domain *d, unsigned flags, domain_done done, void *data)
{
    job_add(d, reboot_run, flags, done, data);
}

void domain_reset(struct domain *d, domain_done done, void *data)
{
    job_add(d, reset_run, 0, done, data);
}

void domain_suspend(struct domain *d, domain_done done, void *data)
{
    job_add(d, suspend_run, 0, done, data);
}

void domain_resume(struct domain *d, domain_done done, void *data)
{
    job_add(d, resume_run, 0, done, data);
}

/* ---- destroy ---- */

static gboolean on_graceful_timeout(gpointer data)
{
    struct job *job = data;

    job->timer = 0;
    job->domain->destroyed = false;
    job_done(job, manager_error_new(MANAGER_ERROR_OPERATION_FAILED,
                                    "the guest's process did not end in time; destroy it without "
                                    "--graceful"));
    return G_SOURCE_REMOVE;
}

static void destroy_run(struct job *job)
{
    struct domain *d = job->domain;

    if (!domain_is_active(d) && job->was_active) {
        job_done(job, NULL); /* it has just ended, by this request or by itself */
        return;
    }
    if (!runs(job))
        return;
    d->destroyed = true;
    if (!(job->flags & DESTROY_GRACEFUL)) {
        guest_quit(d);
    } else if (d->qmp) {
        qmp_command(d->qmp, "quit", NULL, 0, NULL, NULL);
        job->timer = g_timeout_add(GRACEFUL_TIMEOUT_MS, on_graceful_timeout, job);
    } else {
        on_graceful_timeout(job);
    }
}

void domain_destroy(struct domain *d, unsigned flags, domain_done done, void *data)
{
    job_add(d, destroy_run, flags, done, data)->wait = JOB_UNTIL_ENDED;
    /* A start under way does not have to be waited for. */
    if (d->phase == GUEST_STARTING && d->job && !d->adopting) {
        d->destroyed = true;
        guest_kill(d);
    }
}
