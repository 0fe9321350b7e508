/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entropy device (virtio 1.2, 5.4): the host's getrandom. */
#include "virtio-device.h"
#include "virtio.h"

#include <linux/virtio_ids.h>
#include <sys/random.h>

#define QUEUE_SIZE 64
#define REPLY_MAX  4096 /* bytes a request; the driver asks again for more */

struct virtio_rng {
    struct virtio_device virtio;
    struct virtio_chain chain;
};

static void rng_notify(struct virtio_device *v, struct virtqueue *q)
{
    struct virtio_rng *r = container_of(v, struct virtio_rng, virtio);
    struct machine *m = v->pci.device.machine;
    uint8_t bytes[REPLY_MAX];
    unsigned budget = VIRTIO_TURN;

    g_mutex_lock(&v->pci.device.lock);
    while (budget && virtqueue_pop(q, &r->chain)) {
        budget--;
        size_t wanted = MIN(r->chain.writable, sizeof(bytes));
        ssize_t got = getrandom(bytes, wanted, 0);
        size_t written = got > 0 ? virtio_chain_write(m, &r->chain, 0, bytes, got) : 0;
        virtqueue_push(q, r->chain.head, written);
    }
    virtqueue_flush(q);
    if (!budget)
        virtqueue_kick(q);
    g_mutex_unlock(&v->pci.device.lock);
}

static void rng_free(struct device *d)
{
    struct virtio_rng *r = container_of(d, struct virtio_rng, virtio.pci.device);
    virtio_device_clear(&r->virtio);
    g_free(r);
}

static const struct state_field rng_fields[] = {VIRTIO_STATE_FIELDS, VIRTIO_QUEUE_STATE(0)};

static const struct device_class rng_class = {
    .name = "virtio-rng",
    .version = 1,
    .fields = rng_fields,
    .field_count = ARRAY_SIZE(rng_fields),
    .reset = virtio_device_reset,
    .loaded = virtio_device_loaded,
    .pause = virtio_device_pause,
    .resume = virtio_device_resume,
    .free = rng_free,
};

static const struct virtio_ops rng_ops = {
    .type = VIRTIO_ID_RNG,
    .pci_class = 0x00ff,
    .notify = rng_notify,
};

struct device *virtio_rng_new(struct machine *m, const char *id, GError **error)
{
    struct virtio_rng *r = g_new0(struct virtio_rng, 1);
    if (virtio_device_init(&r->virtio, &rng_class, &rng_ops, m, id, 0, 1, QUEUE_SIZE, m->context,
                           error))
        return &r->virtio.pci.device;
    g_free(r);
    return NULL;
}
