/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtio devices of the machine: modern (virtio 1.2) devices on PCI with MSI-X.
 *
 * Each constructor makes a device, plugs it into the next free PCI slot and puts it on the
 * machine's list, which frees it.  On failure it returns NULL with ERROR (MACHINE_ERROR) set, whose
 * message names the file or the flag at fault, and leaves nothing behind.
 */
#ifndef TRAPEZE_VIRTIO_H
#define TRAPEZE_VIRTIO_H

#include "machine/block/block.h"
#include "machine/device.h"

struct character;

struct virtio_blk_options {
    const char *path; /* a raw image file or a block device */
    bool readonly;
    const char *serial; /* what "get id" answers, at most 20 bytes; NULL for the device's id */
    unsigned queues;    /* 1-VIRTIO_BLK_QUEUES_MAX; 0 means 1 */
    enum block_engine engine;
};
#define VIRTIO_BLK_QUEUES_MAX 8

/* A disk (virtio 1.2, 5.2).  I/O runs on a thread of the device's own. */
struct device *virtio_blk_new(struct machine *m, const char *id, const struct virtio_blk_options *o,
                              GError **error);
/* Takes over the image's present size after it grew or shrank, and tells the guest. */
bool virtio_blk_resized(struct device *d, GError **error);

/* The image behind D, which is the device's; NULL when D is no disk. */
struct block_image *virtio_blk_image(struct device *d);

/* A network interface (5.1).  SPEC is the argument of --net but "none": "user" with options, as
 * machine/net/net.h says, and optionally "mac=XX:XX:XX:XX:XX:XX"; without it the address is derived
 * from the PCI slot. */
struct device *virtio_net_new(struct machine *m, const char *id, const char *spec, GError **error);

/* An entropy source (5.4) fed by the host's getrandom. */
struct device *virtio_rng_new(struct machine *m, const char *id, GError **error);

/* A console (5.3) with one port, hvc0 in Linux, on CHARACTER, which stays the caller's and must
 * outlive the device. */
struct device *virtio_console_new(struct machine *m, const char *id, struct character *character,
                                  GError **error);

#endif
