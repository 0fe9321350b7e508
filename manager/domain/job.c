/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's jobs: one at a time, in the order they were asked for. */
#include "domain-private.h"

static gboolean run_next(gpointer data)
{
    struct domain *d = data;

    d->job_source = 0;
    if (d->job || !(d->job = g_queue_pop_head(&d->jobs)))
        return G_SOURCE_REMOVE;
    d->job->run(d->job);
    return G_SOURCE_REMOVE;
}

static void schedule(struct domain *d)
{
    if (!d->job_source && !d->job && d->jobs.length)
        d->job_source = g_idle_add_full(G_PRIORITY_DEFAULT, run_next, d, NULL);
}

struct job *job_add(struct domain *d, void (*run)(struct job *job), unsigned flags,
                    domain_done done, void *data)
{
    struct job *job = g_new0(struct job, 1);

    job->domain = domain_ref(d);
    job->run = run;
    job->flags = flags;
    job->was_active = domain_is_active(d);
    job->done = done;
    job->data = data;
    g_queue_push_tail(&d->jobs, job);
    schedule(d);
    return job;
}

static void finish(struct job *job, GError *error)
{
    struct domain *d = job->domain;

    if (job->timer)
        g_source_remove(job->timer);
    if (job->done)
        job->done(d, error, job->data);
    g_clear_error(&error);
    definition_free(job->definition);
    g_free(job);
}

void job_done(struct job *job, GError *error)
{
    struct domain *d = job->domain;

    g_assert(d->job == job);
    d->job = NULL;
    finish(job, error);
    schedule(d);
    domain_unref(d);
}

void jobs_end(struct domain *d)
{
    struct job *job;

    domain_ref(d);
    if (d->job_source)
        g_source_remove(d->job_source);
    d->job_source = 0;
    while ((job = d->job ? d->job : g_queue_pop_head(&d->jobs))) {
        d->job = NULL;
        finish(job, manager_error_new(MANAGER_ERROR_OPERATION_FAILED, "the manager ends"));
        domain_unref(d);
    }
    domain_unref(d);
}
