/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The server: sockets that libvirt's clients find, and who connects to them.
 *
 * In the socket folder stand `libvirt-sock` (mode 0600: whoever may open it may do everything) and,
 * in system mode, `libvirt-sock-ro` (mode 0666: looks, changes nothing), each also under the name
 * with virtqemud- that newer clients look for first.
 *
 * Limits keep one client's flood from the others: clients of the read-only socket have a count of
 * their own; connections that do not open (virConnectOpen) make room, oldest first, for new ones;
 * without descriptors accepting pauses, and those that are connected are served.
 */
#ifndef TRAPEZE_MANAGER_SERVER_H
#define TRAPEZE_MANAGER_SERVER_H

#include "manager/rpc/client.h"

#define SERVER_CLIENTS_MAX  2000 /* of each socket */
#define SERVER_UNOPENED_MAX 100  /* of them, that have not opened */

struct server;

struct server_options {
    /* The folder, made when missing; it is not looked at when sockets are PASSED. */
    const char *folder;
    /* Sockets that systemd listens on already (sd_listen_fds), PASSED of them from descriptor 3 on;
     * one whose name ends in "-ro" is read-only. */
    unsigned passed;
    /* The last client has gone, or the first has come. */
    void (*idle_changed)(bool idle, void *data);
    void *data;
};

/* Listens.  CONTEXT and what it points to outlive the server. */
struct server *server_open(const struct rpc_context *context, const struct server_options *options,
                           GError **error);
/* Cuts off the clients, and removes the sockets that server_open made. */
void server_close(struct server *s);

#endif
