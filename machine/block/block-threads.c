/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block requests by a few threads that make ordinary system calls, where io_uring is not permitted.
 */
#include "block-engine.h"
#include "machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS 4

struct pool {
    struct block_image *image;
    GThread *threads[THREADS];
    GMutex lock; /* guards the next */
    GCond work;
    bool stop;
    struct block_request *first, *last; /* to be done */
    struct block_request *finished;
};

static int64_t perform(struct block_image *b, struct block_request *r)
{
    struct step s = block_step(b, r);
    int64_t result = -EINVAL;
    switch (s.kind) {
    case STEP_READ:
        result = preadv(b->fd, s.iov, s.iov_count, s.offset);
        break;
    case STEP_WRITE:
        result = pwritev2(b->fd, s.iov, s.iov_count, s.offset, s.flags);
        break;
    case STEP_SYNC:
        result = fdatasync(b->fd);
        break;
    case STEP_ALLOCATE:
        result = fallocate(b->fd, s.flags, s.offset, s.length);
        break;
    }
    return result < 0 ? -errno : result;
}

static gpointer worker(gpointer opaque)
{
    struct pool *p = opaque;
    g_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->stop)
            g_cond_wait(&p->work, &p->lock);
        struct block_request *r = p->first;
        if (!r)
            break;
        p->first = r->next;
        g_mutex_unlock(&p->lock);
        int64_t result = perform(p->image, r);
        g_mutex_lock(&p->lock);
        r->result = (int)MIN(result, INT32_MAX);
        r->next = p->finished;
        p->finished = r;
        eventfd_write(p->image->event_fd, 1);
    }
    g_mutex_unlock(&p->lock);
    return NULL;
}

static void stop(struct pool *p)
{
    g_mutex_lock(&p->lock);
    p->stop = true;
    g_cond_broadcast(&p->work);
    g_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < THREADS; i++)
        if (p->threads[i])
            g_thread_join(p->threads[i]);
    g_cond_clear(&p->work);
    g_mutex_clear(&p->lock);
    g_free(p);
}

static bool threads_open(struct block_image *b, GError **error)
{
    struct pool *p = g_new0(struct pool, 1);
    sigset_t all, before;
    bool made = true;

    p->image = b;
    g_mutex_init(&p->lock);
    g_cond_init(&p->work);
    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; made && i < THREADS; i++) {
        p->threads[i] = g_thread_try_new("block", worker, p, error);
        made = p->threads[i];
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!made) {
        g_prefix_error(error, "disk image %s: ", b->path);
        stop(p);
        return false;
    }
    b->engine = p;
    return true;
}

static void threads_close(struct block_image *b)
{
    stop(b->engine);
}

static void threads_submit(struct block_image *b, struct block_request *r)
{
    struct pool *p = b->engine;
    r->next = NULL;
    g_mutex_lock(&p->lock);
    if (p->first)
        p->last->next = r;
    else
        p->first = r;
    p->last = r;
    g_cond_signal(&p->work);
    g_mutex_unlock(&p->lock);
}

static void threads_start(struct block_image *b)
{
    (void)b; /* the threads started when the request was submitted */
}

static void threads_reap(struct block_image *b)
{
    struct pool *p = b->engine;
    g_mutex_lock(&p->lock);
    struct block_request *r = p->finished;
    p->finished = NULL;
    g_mutex_unlock(&p->lock);
    while (r) {
        struct block_request *next = r->next;
        block_step_done(b, r, r->result);
        r = next;
    }
}

const struct engine_operations block_threads_operations = {
    .name = "threads",
    .open = threads_open,
    .close = threads_close,
    .submit = threads_submit,
    .start = threads_start,
    .reap = threads_reap,
};
