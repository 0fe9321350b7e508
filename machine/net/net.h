/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Network back-ends: where a network device's Ethernet frames go.
 *
 * All calls are made on the thread that runs the machine's main context, without the device's lock.
 */
#ifndef TRAPEZE_NET_H
#define TRAPEZE_NET_H

#include "machine/device.h"

struct net_backend;

/* The largest frame that passes, without a frame check sequence. */
#define NET_FRAME_MAX 65550

/* What a back-end calls. */
struct net_client {
    /* A frame for the guest; the client copies, keeps or drops it. */
    void (*receive)(void *opaque, const uint8_t *frame, size_t length);
    /* No more frames come for now: a good time to interrupt the guest. */
    void (*batch_end)(void *opaque);
    void *opaque;
};

struct net_backend_ops {
    const char *name;
    /* A frame of the guest. */
    void (*send)(struct net_backend *n, const uint8_t *frame, size_t length);
    void (*free)(struct net_backend *n);
};

/* The common part of a back-end, which embeds it first. */
struct net_backend {
    const struct net_backend_ops *ops;
    struct net_client client;
};

/* Makes the back-end that WORDS (NULL-terminated; "user" and its options) describe for CLIENT,
 * attached to M's context.  Returns NULL with ERROR set, which names the option at fault.
 *
 *   user[,forward=tcp|udp:[ADDRESS]:PORT-[ADDRESS]:PORT]...[,host-loopback=off][,restrict=on]
 *
 * User networking by libslirp, without rights: the guest is 10.0.2.15 (by DHCP), the host 10.0.2.2,
 * the name server 10.0.2.3.  A forward passes connections to a host address (127.0.0.1 when empty)
 * and port on to a guest address (10.0.2.15 when empty) and port.  Without host-loopback 10.0.2.2
 * is no way to the host's 127.0.0.1; restricted, the guest reaches nothing but what forwards bring
 * in. */
struct net_backend *net_backend_new(struct machine *m, char *const *words,
                                    const struct net_client *client, GError **error);
void net_backend_free(struct net_backend *n);

/* The user back-end's part, for net_backend_new: OPTIONS are SPEC's after "user", NULL-terminated.
 */
struct net_backend *net_user_new(struct machine *m, char *const *options,
                                 const struct net_client *client, GError **error);

#endif
