/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monitor: QMP, QEMU's machine protocol, on the sockets that --qmp names.
 *
 * JSON objects go both ways.  A client is greeted, negotiates with qmp_capabilities, and then gives
 * commands (`execute`, `arguments`, `id`), each of which is answered in order, and gets the
 * machine's events.  Names, shapes and error classes are those of QEMU 7.2; schema.json describes
 * them, docs/qmp.md explains them.
 *
 * Everything happens on the machine's main context.  What clients send is bounded in size and
 * depth, what waits for them, too: a client that does not read is dropped, and never holds up the
 * guest.
 */
#ifndef TRAPEZE_MONITOR_H
#define TRAPEZE_MONITOR_H

#include <glib.h>
#include <stdbool.h>

struct machine;
struct monitor;

/* Listens on each of the machine's config->qmp: "unix:PATH[,server=on][,wait=off]", a socket of
 * mode 0600 that is removed at the end, or "fd:N", a listening socket that this process was given.
 * Returns NULL with ERROR set. */
struct monitor *monitor_new(struct machine *m, GError **error);
/* Sends what is still queued, as far as clients take it at once, and hangs up.  NULL is allowed. */
void monitor_free(struct monitor *mon);

/* Serves the connected stream socket FD, which becomes the monitor's. */
void monitor_add_client(struct monitor *mon, int fd);

#endif
