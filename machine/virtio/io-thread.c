/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "io-thread.h"

#include <signal.h>

static gpointer run(gpointer opaque)
{
    struct io_thread *t = opaque;
    g_main_context_push_thread_default(t->context);
    g_main_loop_run(t->loop);
    g_main_context_pop_thread_default(t->context);
    return NULL;
}

static void discard(struct io_thread *t)
{
    g_main_loop_unref(t->loop);
    g_main_context_unref(t->context);
    g_free(t);
}

struct io_thread *io_thread_new(const char *name, GError **error)
{
    struct io_thread *t = g_new0(struct io_thread, 1);
    sigset_t all, before;

    t->context = g_main_context_new();
    t->loop = g_main_loop_new(t->context, FALSE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    t->thread = g_thread_try_new(name, run, t, error);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (t->thread)
        return t;
    discard(t);
    return NULL;
}

static gboolean quit(gpointer opaque)
{
    struct io_thread *t = opaque;
    g_main_loop_quit(t->loop);
    return G_SOURCE_REMOVE;
}

void io_thread_free(struct io_thread *t)
{
    /* As an event of the loop itself, so that it is not lost when the loop has yet to start. */
    GSource *s = g_idle_source_new();
    g_source_set_callback(s, quit, t, NULL);
    g_source_attach(s, t->context);
    g_source_unref(s);
    g_thread_join(t->thread);
    discard(t);
}
