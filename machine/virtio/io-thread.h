/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread that runs a main context of its own, for devices whose work may wait. */
#ifndef TRAPEZE_IO_THREAD_H
#define TRAPEZE_IO_THREAD_H

#include <glib.h>

struct io_thread {
    GThread *thread;
    GMainContext *context; /* attach sources here */
    GMainLoop *loop;
};

/* Starts a thread of NAME, which takes no signals; NULL with ERROR set when there can be none. */
struct io_thread *io_thread_new(const char *name, GError **error);
/* Ends the thread after what it is doing, and waits for that. */
void io_thread_free(struct io_thread *t);

#endif
