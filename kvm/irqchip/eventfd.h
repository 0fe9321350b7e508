/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Eventfds that a program lent us: kept open, told apart, never blocked on. */
#ifndef TRAPEZE_IRQCHIP_EVENTFD_H
#define TRAPEZE_IRQCHIP_EVENTFD_H

#include "common/base/base.h"

struct eventfd_ref {
    int fd;       /* our duplicate; -1: none */
    int theirs;   /* the number it had */
    long long id; /* the kernel's, -1 when it does not tell */
};

/* Makes *ref a reference to descriptor FD.  -EBADF, -EINVAL (not an eventfd), -EMFILE. */
int eventfd_hold(struct eventfd_ref *ref, int fd);
void eventfd_release(struct eventfd_ref *ref);
/* Whether A and B are the same eventfd. */
bool eventfd_same(const struct eventfd_ref *a, const struct eventfd_ref *b);
/* Adds 1. */
void eventfd_signal(const struct eventfd_ref *ref);
/* Takes what is there; false if nothing was. */
bool eventfd_take(const struct eventfd_ref *ref);

#endif
