/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "helper.h"

#include "common/base/list.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HELPER_STACK (256u << 10)
#define BATCH        16

struct helper_watch {
    struct list link; /* in helper.watches, or helper.dead */
    int fd;
    bool dead;
    void (*fn)(void *opaque);
    void *opaque;
};

struct helper {
    pthread_t thread;
    pthread_mutex_t lock; /* held during callbacks; guards the lists */
    struct list watches;
    struct list dead; /* removed, but perhaps in the thread's current batch of events */
    int epoll_fd;
    int wake_fd;
    bool stop;
};

static void free_list(struct list *head)
{
    list_for_each_safe(node, after, head)
    {
        list_remove(node);
        free(container_of(node, struct helper_watch, link));
    }
}

static void wake(struct helper *h)
{
    eventfd_write(h->wake_fd, 1);
}

static void *helper_main(void *opaque)
{
    struct helper *h = opaque;
    struct epoll_event events[BATCH];
    bool stop = false;

    while (!stop) {
        int n = epoll_wait(h->epoll_fd, events, BATCH, -1);
        if (n < 0 && errno != EINTR)
            break;
        pthread_mutex_lock(&h->lock);
        for (int i = 0; i < n; i++) {
            struct helper_watch *w = events[i].data.ptr;
            eventfd_t ignored;
            if (!w)
                eventfd_read(h->wake_fd, &ignored);
            else if (!w->dead)
                w->fn(w->opaque);
        }
        free_list(&h->dead); /* no batch can name them now */
        stop = h->stop;
        pthread_mutex_unlock(&h->lock);
    }
    return NULL;
}

static int start_thread(struct helper *h)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = pthread_attr_init(&attributes);

    if (error)
        return error;
    pthread_attr_setstacksize(&attributes, HELPER_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it */
    error = pthread_create(&h->thread, &attributes, helper_main, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!error)
        pthread_setname_np(h->thread, "kvm-irqchip");
    return error;
}

struct helper *helper_new(void)
{
    struct helper *h = calloc(1, sizeof(*h));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int error;

    if (!h)
        return NULL;
    pthread_mutex_init(&h->lock, NULL);
    list_init(&h->watches);
    list_init(&h->dead);
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->epoll_fd < 0 || h->wake_fd < 0 ||
        epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, h->wake_fd, &event) < 0)
        error = errno;
    else
        error = start_thread(h);
    if (!error)
        return h;
    if (h->epoll_fd >= 0)
        close(h->epoll_fd);
    if (h->wake_fd >= 0)
        close(h->wake_fd);
    free(h);
    errno = error;
    return NULL;
}

void helper_free(struct helper *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_mutex_unlock(&h->lock);
    wake(h);
    pthread_join(h->thread, NULL);
    free_list(&h->watches);
    free_list(&h->dead);
    close(h->epoll_fd);
    close(h->wake_fd);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

struct helper_watch *helper_add(struct helper *h, int fd, void (*fn)(void *opaque), void *opaque)
{
    struct helper_watch *w = calloc(1, sizeof(*w));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};

    if (!w)
        return NULL;
    w->fd = fd;
    w->fn = fn;
    w->opaque = opaque;
    pthread_mutex_lock(&h->lock);
    list_append(&h->watches, &w->link);
    if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int error = errno;
        list_remove(&w->link);
        free(w);
        w = NULL;
        errno = error;
    }
    pthread_mutex_unlock(&h->lock);
    return w;
}

void helper_remove(struct helper *h, struct helper_watch *w)
{
    pthread_mutex_lock(&h->lock);
    epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->dead = true;
    list_remove(&w->link);
    list_append(&h->dead, &w->link);
    pthread_mutex_unlock(&h->lock);
    wake(h);
}

void helper_synchronize(struct helper *h)
{
    pthread_mutex_lock(&h->lock);
    pthread_mutex_unlock(&h->lock);
}
