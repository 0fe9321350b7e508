/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the virtio devices share: the split virtqueue, feature negotiation and status, and the PCI
 * transport (virtio 1.2, 2 and 4.1).  Guest and host are both little-endian here.
 *
 * Threads: the guest's register accesses come with the device's lock held.  A queue's notify
 * handler runs on the device's context (the machine's main loop, or an I/O thread) without it, and
 * takes it for each batch of queue calls.  Queue calls need the lock.
 */
#ifndef TRAPEZE_VIRTIO_DEVICE_H
#define TRAPEZE_VIRTIO_DEVICE_H

#include "machine/machine.h"
#include "machine/pci.h"

#define VIRTIO_QUEUES_MAX     8
#define VIRTIO_QUEUE_SIZE_MAX 256
#define VIRTIO_CHAIN_MAX      1024 /* segments */
#define VIRTIO_CONFIG_MAX     96   /* bytes of device configuration */
/* Chains that a handler on the main loop takes before it lets others have their turn, kicking its
 * queue: a guest that never stops adding some must not keep the loop to itself. */
#define VIRTIO_TURN 256

struct virtio_device;

struct virtqueue {
    struct virtio_device *device;
    unsigned index;
    uint16_t size_max;
    /* Registers, as the driver set them. */
    uint16_t size;
    uint16_t vector;
    uint16_t enabled;
    uint64_t descriptors, available, used; /* guest-physical */
    /* Progress; free-running ring indices. */
    uint16_t next_available; /* to be taken next */
    uint16_t next_used;      /* to be filled next */
    uint16_t published;      /* the used index that the driver sees */
    uint16_t signalled;      /* the used index at the last look whether to interrupt */
    bool signalled_valid;
    /* Derived from the registers while enabled. */
    const uint8_t *descriptor_ring;
    const uint8_t *available_ring;
    uint8_t *used_ring;
    /* The host's. */
    unsigned in_flight; /* chains taken and not yet pushed */
    bool resetting;     /* the driver asked for a queue reset; in_flight must reach 0 */
    int notify_fd;
    GSource *notify_source;
    uint64_t ioeventfd; /* address it is registered at, 0 for none */
};

/* One piece of a buffer: [host, host + length) is guest RAM at gpa. */
struct virtio_segment {
    uint64_t gpa;
    uint8_t *host;
    uint32_t length;
};

/* A descriptor chain, copied and checked: first the segments that the device may read, then those
 * it may write. */
struct virtio_chain {
    uint16_t head;
    unsigned readable_count, writable_count;
    uint64_t readable, writable; /* bytes */
    struct virtio_segment segments[VIRTIO_CHAIN_MAX];
};

/* What a kind of device brings; all but notify may be NULL. */
struct virtio_ops {
    uint16_t type;      /* virtio 1.2, 5: 1 network, 2 block ... */
    uint32_t pci_class; /* 24 bits */
    /* The driver made buffers available in Q, or the device may go on after a pause.  Not locked.
     */
    void (*notify)(struct virtio_device *v, struct virtqueue *q);
    /* The driver wrote SIZE bytes (1, 2, 4) of the device configuration.  Locked. */
    void (*config_write)(struct virtio_device *v, unsigned offset, unsigned size, uint32_t value);
    /* The driver set DRIVER_OK: v->features are final.  Locked. */
    void (*started)(struct virtio_device *v);
    /* Back to the initial state; no chain is in flight.  Locked. */
    void (*reset)(struct virtio_device *v);
};

/* The common part of a virtio device; a device embeds it first. */
struct virtio_device {
    struct pci_function pci;
    const struct virtio_ops *ops;
    uint64_t offered;  /* features that the device has */
    uint64_t features; /* features that the driver accepted */
    uint32_t device_select, driver_select;
    uint8_t status;
    uint8_t isr;
    uint8_t generation; /* of the device configuration */
    uint16_t config_vector;
    uint16_t queue_select;
    struct virtqueue queues[VIRTIO_QUEUES_MAX];
    unsigned queue_count;
    uint8_t config[VIRTIO_CONFIG_MAX];
    unsigned config_size;
    uint8_t cfg_capability; /* offset of the PCI configuration access capability */
    bool resetting;         /* the driver wrote status 0; chains are still in flight */
    bool paused;
    bool broken_logged;
    GCond idle;            /* signalled when the last chain in flight is done */
    GMainContext *context; /* where notify runs */
};

/* State of the common part, for the classes' field tables. */
#define VIRTIO_QUEUE_STATE(n)                                                                      \
    STATE_FIELD(struct virtio_device, queues[n].size, 1),                                          \
        STATE_FIELD(struct virtio_device, queues[n].vector, 1),                                    \
        STATE_FIELD(struct virtio_device, queues[n].enabled, 1),                                   \
        STATE_FIELD(struct virtio_device, queues[n].descriptors, 1),                               \
        STATE_FIELD(struct virtio_device, queues[n].available, 1),                                 \
        STATE_FIELD(struct virtio_device, queues[n].used, 1),                                      \
        STATE_FIELD(struct virtio_device, queues[n].next_available, 1),                            \
        STATE_FIELD(struct virtio_device, queues[n].next_used, 1),                                 \
        STATE_FIELD(struct virtio_device, queues[n].published, 1),                                 \
        STATE_FIELD(struct virtio_device, queues[n].signalled, 1),                                 \
        STATE_FIELD(struct virtio_device, queues[n].signalled_valid, 1)
#define VIRTIO_STATE_FIELDS                                                                        \
    PCI_STATE_FIELDS, STATE_FIELD(struct virtio_device, features, 1),                              \
        STATE_FIELD(struct virtio_device, device_select, 1),                                       \
        STATE_FIELD(struct virtio_device, driver_select, 1),                                       \
        STATE_FIELD(struct virtio_device, status, 1), STATE_FIELD(struct virtio_device, isr, 1),   \
        STATE_FIELD(struct virtio_device, generation, 1),                                          \
        STATE_FIELD(struct virtio_device, config_vector, 1),                                       \
        STATE_FIELD(struct virtio_device, queue_select, 1)

/* ---- a device's life ---- */

/* Makes V a device of CLASS and OPS on M's PCI host with QUEUES queues of at most SIZE entries (a
 * power of two), whose notify handlers run in CONTEXT.  OFFERED are the device's own features;
 * those of the transport and the rings are added.  False with ERROR set when it cannot be made; V
 * can then be freed as it is. */
bool virtio_device_init(struct virtio_device *v, const struct device_class *class,
                        const struct virtio_ops *ops, struct machine *m, const char *id,
                        uint64_t offered, unsigned queues, unsigned size, GMainContext *context,
                        GError **error);
/* Lets go of the common part's resources, for the class's free. */
void virtio_device_clear(struct virtio_device *v);
/* Undoes virtio_device_init, for a constructor that fails after it. */
void virtio_device_discard(struct virtio_device *v);

/* For the class tables: what every virtio device does there. */
void virtio_device_reset(struct device *d);
int virtio_device_loaded(struct device *d, GError **error);
void virtio_device_pause(struct device *d);
void virtio_device_resume(struct device *d);

/* ---- for devices ---- */

static inline bool virtio_has_feature(const struct virtio_device *v, unsigned bit)
{
    return v->features >> bit & 1;
}

/* The device may use its queues: the driver is ready, nothing is broken or stopped. */
bool virtio_running(const struct virtio_device *v);
/* The driver broke the rules so that V cannot go on: DEVICE_NEEDS_RESET (2.1.2). */
void virtio_broken(struct virtio_device *v, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* V->config changed: tells the driver. */
void virtio_config_changed(struct virtio_device *v);
/* Makes Q's notify handler run soon.  Any thread, locked or not. */
void virtqueue_kick(struct virtqueue *q);

/* ---- queue calls (locked) ---- */

/* Takes the next available chain into C, which belongs to the device until virtqueue_push.  False
 * when there is none now (the driver will notify) or the device is not running. */
bool virtqueue_pop(struct virtqueue *q, struct virtio_chain *c);
/* Gives the last COUNT chains taken back, untouched; the driver will notify of further ones. */
void virtqueue_unpop(struct virtqueue *q, unsigned count);
/* Returns the chain with head HEAD, of which the device wrote the first WRITTEN bytes; the driver
 * sees it at the next flush. */
void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t written);
/* Lets the driver see what was pushed, and interrupts it if it wishes so. */
void virtqueue_flush(struct virtqueue *q);

/* Copies from the readable, or to the writable part of C, at byte OFFSET of that part.  Returns the
 * number of bytes copied, less than LENGTH where the part ends. */
size_t virtio_chain_read(const struct virtio_chain *c, uint64_t offset, void *to, size_t length);
size_t virtio_chain_write(struct machine *m, const struct virtio_chain *c, uint64_t offset,
                          const void *from, size_t length);

#endif
