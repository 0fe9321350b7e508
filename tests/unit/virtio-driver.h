/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small virtio driver for device tests: finds a device's registers by its capabilities,
 * negotiates, and builds split queues in guest RAM. */
#ifndef TESTS_VIRTIO_DRIVER_H
#define TESTS_VIRTIO_DRIVER_H

#include "fake-machine.h"
#include "machine/virtio/virtio-device.h"

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#define DRIVER_QUEUES 8
#define MSI_CONFIG    0x40 /* MSI data: configuration changes; queue n has MSI_QUEUE + n */
#define MSI_QUEUE     0x50

struct driver_queue {
    unsigned index;
    uint16_t size;
    uint64_t descriptors, available, used; /* guest-physical */
    uint16_t next_descriptor;              /* the ring of descriptors is used round and round */
    uint16_t available_index;              /* published with driver_notify */
    uint16_t seen;                         /* used entries taken */
};

struct driver {
    struct fake_machine *fake;
    struct machine *m;
    struct virtio_device *v;
    unsigned slot;
    uint64_t common, notify, isr, config; /* addresses of the structures */
    uint32_t notify_multiplier;
    uint64_t heap; /* next free guest RAM */
    struct driver_queue queues[DRIVER_QUEUES];
};

/* One buffer of a chain. */
struct buffer {
    uint64_t gpa;
    uint32_t length;
    bool writable;
};

/* Finds D's registers; bus mastering on. */
struct driver *driver_new(struct fake_machine *f, struct device *d);
void driver_free(struct driver *d);

uint64_t driver_get(struct driver *d, unsigned offset, unsigned size); /* common structure */
void driver_set(struct driver *d, unsigned offset, uint64_t value, unsigned size);
uint64_t driver_config(struct driver *d, unsigned offset, unsigned size);
uint8_t driver_status(struct driver *d);
uint64_t driver_offered(struct driver *d);
uint32_t pci_get(struct driver *d, unsigned offset, unsigned size);
void pci_set(struct driver *d, unsigned offset, uint32_t value, unsigned size);
unsigned pci_find(struct driver *d, unsigned from, unsigned id, unsigned virtio_type);

/* Status 0, and waits until it reads so. */
void driver_reset(struct driver *d);
/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK: true when the device agreed. */
bool driver_negotiate(struct driver *d, uint64_t features);
/* MSI-X on, every vector unmasked with data MSI_CONFIG, MSI_QUEUE + n. */
void driver_enable_msix(struct driver *d);
/* Queue memory for SIZE entries, and the registers, without and with the enabling. */
struct driver_queue *driver_place_queue(struct driver *d, unsigned index, unsigned size);
struct driver_queue *driver_enable_queue(struct driver *d, unsigned index, unsigned size);
void driver_ok(struct driver *d);
/* All of it: FEATURES with VERSION_1 added, all queues with SIZE entries. */
void driver_start(struct driver *d, uint64_t features, unsigned size);

/* Guest RAM of SIZE bytes, aligned to 4 KiB, zeroed. */
uint64_t driver_alloc(struct driver *d, uint64_t size);
void *driver_ram(struct driver *d, uint64_t gpa);

/* Writes descriptor N of the table at TABLE. */
void driver_descriptor(struct driver *d, uint64_t table, unsigned n, uint64_t address,
                       uint32_t length, uint16_t flags, uint16_t next);
/* Makes HEAD available; nothing is published until driver_notify. */
void driver_offer(struct driver *d, struct driver_queue *q, uint16_t head);
/* Makes a chain of COUNT buffers available and returns its head; INDIRECT by a table of its own. */
uint16_t driver_add(struct driver *d, struct driver_queue *q, const struct buffer *buffers,
                    unsigned count, bool indirect);
void driver_publish(struct driver *d, struct driver_queue *q);
/* Publishes, and notifies (unconditionally). */
void driver_notify(struct driver *d, struct driver_queue *q);

uint16_t driver_used_index(struct driver *d, struct driver_queue *q);
/* Takes the next used entry; false when there is none. */
bool driver_take(struct driver *d, struct driver_queue *q, uint32_t *head, uint32_t *written);
/* The same, after waiting for it. */
uint32_t driver_wait(struct driver *d, struct driver_queue *q, uint32_t *head);
/* Makes the chain available, notifies, waits, checks that it is that one: bytes written. */
uint32_t driver_request(struct driver *d, struct driver_queue *q, const struct buffer *buffers,
                        unsigned count);
/* Runs everything that is to be run for now: the main context, and N more ms for I/O threads. */
void driver_settle(struct driver *d);

#endif
