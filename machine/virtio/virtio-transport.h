/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What virtio-device.c (status and resets), virtqueue.c and virtio-pci.c (registers) ask of each
 * other, and nobody else of them.  All calls are locked. */
#ifndef TRAPEZE_VIRTIO_TRANSPORT_H
#define TRAPEZE_VIRTIO_TRANSPORT_H

#include "virtio-device.h"

#include <linux/virtio_pci.h>

#define VIRTIO_PCI_VENDOR    0x1af4
#define VIRTIO_PCI_DEVICE    0x1040 /* plus the virtio device type (4.1.2) */
#define VIRTIO_PCI_ISR_QUEUE 1      /* beside VIRTIO_PCI_ISR_CONFIG */

/* The driver wrote the device status (2.1); 0 resets, at once or when no chain is in flight. */
void virtio_set_status(struct virtio_device *v, uint8_t value);
/* The driver enabled Q, or asked to reset it (2.6.1). */
void virtio_enable_queue(struct virtio_device *v, struct virtqueue *q);
void virtio_reset_queue(struct virtio_device *v, struct virtqueue *q);
/* Sends the interrupt for VECTOR and sets ISR_BITS. */
void virtio_interrupt(struct virtio_device *v, uint16_t vector, uint8_t isr_bits);
/* A queue has no more chains in flight: ends the device or queue reset that waited for it. */
void virtio_drained(struct virtio_device *v);

/* Takes Q into use with the addresses in its registers; false when they are not ring memory. */
bool virtqueue_attach(struct virtqueue *q);
/* Q's registers and progress as after reset. */
void virtqueue_reset(struct virtqueue *q);

/* Gives the function its BARs and capabilities; false when no room is left for them. */
bool virtio_pci_init(struct virtio_device *v);
/* Asks the engine to pass notifications of the queues in use, where their registers now are. */
void virtio_pci_update_notify(struct virtio_device *v);

#endif
