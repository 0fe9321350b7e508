/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The helper thread of a VM's irqchip: it waits for timers and irqfds with epoll and calls back.
 *
 * Callbacks run on that thread, all signals blocked, with the helper's lock held, which comes
 * before all other locks of irqchip/: no function here may be called from a callback.
 */
#ifndef TRAPEZE_IRQCHIP_HELPER_H
#define TRAPEZE_IRQCHIP_HELPER_H

#include "common/base/base.h"

struct helper;
struct helper_watch;

/* Starts the thread.  NULL with errno set when that fails. */
struct helper *helper_new(void);
/* Ends and joins it.  Watches left are forgotten. */
void helper_free(struct helper *h);

/* Calls FN(OPAQUE) whenever FD is readable; FN must make it unreadable.  NULL with errno set. */
struct helper_watch *helper_add(struct helper *h, int fd, void (*fn)(void *opaque), void *opaque);
/* On return the callback does not run and will not run again. */
void helper_remove(struct helper *h, struct helper_watch *w);

/* Waits until the callback that runs now, if any, has returned. */
void helper_synchronize(struct helper *h);

#endif
