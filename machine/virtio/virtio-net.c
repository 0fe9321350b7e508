/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network device (virtio 1.2, 5.1) with one queue pair, on a back-end of machine/net. */
#include "machine/net/net.h"
#include "virtio-device.h"
#include "virtio.h"

#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>

#define QUEUE_SIZE  256
#define MAC_BYTES   6
#define FRAME_MIN   14   /* an Ethernet header */
#define WAITING_MAX 1024 /* frames for a driver without buffers; more are dropped */

enum { RECEIVE, TRANSMIT, QUEUES };

struct virtio_net {
    struct virtio_device virtio;
    struct net_backend *backend;
    GQueue waiting; /* of GBytes; locked */
    /* On the main loop only. */
    uint8_t frame[NET_FRAME_MAX];
    struct virtio_chain chain, first;
};

/* Every frame is preceded by this header in the rings (5.1.6). */
typedef struct virtio_net_hdr_mrg_rxbuf header_t;

static struct virtio_net *net_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_net, virtio);
}

/* ---- guest to network ---- */

static void transmit(struct virtio_net *n, struct virtqueue *q)
{
    GMutex *lock = &n->virtio.pci.device.lock;
    unsigned budget = VIRTIO_TURN;

    g_mutex_lock(lock);
    while (budget && virtqueue_pop(q, &n->chain)) {
        budget--;
        uint64_t length = n->chain.readable - MIN(n->chain.readable, sizeof(header_t));
        bool good = length >= FRAME_MIN && length <= sizeof(n->frame);
        if (good)
            virtio_chain_read(&n->chain, sizeof(header_t), n->frame, length);
        virtqueue_push(q, n->chain.head, 0);
        if (!good)
            continue;
        /* The back-end may answer at once, into the receive queue. */
        g_mutex_unlock(lock);
        n->backend->ops->send(n->backend, n->frame, length);
        g_mutex_lock(lock);
    }
    virtqueue_flush(q);
    virtqueue_flush(&n->virtio.queues[RECEIVE]);
    if (!budget)
        virtqueue_kick(q);
    g_mutex_unlock(lock);
}

/* ---- network to guest ---- */

enum placed { PLACED, NO_BUFFERS, CANNOT };

/* Puts one frame into the receive queue, over several buffers when the driver can take that
 * (5.1.6.3.1).  Locked. */
static enum placed place(struct virtio_net *n, const uint8_t *frame, size_t length)
{
    struct virtqueue *q = &n->virtio.queues[RECEIVE];
    struct machine *m = n->virtio.pci.device.machine;
    bool merge = virtio_has_feature(&n->virtio, VIRTIO_NET_F_MRG_RXBUF);
    struct {
        uint16_t head;
        uint32_t written;
    } used[QUEUE_SIZE];
    unsigned count = 0;
    size_t done = 0;

    while (done < length) {
        struct virtio_chain *c = count ? &n->chain : &n->first;
        if (count == (merge ? QUEUE_SIZE : 1) || !virtqueue_pop(q, c)) {
            virtqueue_unpop(q, count);
            return count == (merge ? QUEUE_SIZE : 1) ? CANNOT : NO_BUFFERS;
        }
        size_t header = count ? 0 : sizeof(header_t);
        if (c->writable < header) {
            virtio_broken(&n->virtio, "queue %u: a buffer too small for a header", q->index);
            virtqueue_unpop(q, count + 1);
            return CANNOT;
        }
        size_t part = virtio_chain_write(m, c, header, frame + done, length - done);
        used[count].head = c->head;
        used[count].written = header + part;
        count++;
        done += part;
    }
    header_t h = {.num_buffers = count};
    virtio_chain_write(m, &n->first, 0, &h, sizeof(h));
    for (unsigned i = 0; i < count; i++)
        virtqueue_push(q, used[i].head, used[i].written);
    return PLACED;
}

/* Places the frames that wait, in order.  Locked. */
static void place_waiting(struct virtio_net *n)
{
    GBytes *b;
    while ((b = g_queue_peek_head(&n->waiting))) {
        gsize length;
        const uint8_t *frame = g_bytes_get_data(b, &length);
        if (place(n, frame, length) == NO_BUFFERS)
            return;
        g_bytes_unref(g_queue_pop_head(&n->waiting));
    }
}

static void net_receive(void *opaque, const uint8_t *frame, size_t length)
{
    struct virtio_net *n = opaque;
    GMutex *lock = &n->virtio.pci.device.lock;

    if (length > NET_FRAME_MAX)
        return;
    g_mutex_lock(lock);
    place_waiting(n);
    /* Before there is a driver frames are lost, as on a wire nobody listens at. */
    bool ready = n->virtio.queues[RECEIVE].enabled;
    if (ready && (n->waiting.length || place(n, frame, length) == NO_BUFFERS) &&
        n->waiting.length < WAITING_MAX)
        g_queue_push_tail(&n->waiting, g_bytes_new(frame, length));
    g_mutex_unlock(lock);
}

static void net_batch_end(void *opaque)
{
    struct virtio_net *n = opaque;
    g_mutex_lock(&n->virtio.pci.device.lock);
    virtqueue_flush(&n->virtio.queues[RECEIVE]);
    g_mutex_unlock(&n->virtio.pci.device.lock);
}

/* ---- the device ---- */

static void net_notify(struct virtio_device *v, struct virtqueue *q)
{
    struct virtio_net *n = net_of(v);
    if (q->index == TRANSMIT) {
        transmit(n, q);
        return;
    }
    g_mutex_lock(&v->pci.device.lock);
    place_waiting(n);
    virtqueue_flush(q);
    g_mutex_unlock(&v->pci.device.lock);
}

static void net_reset(struct virtio_device *v)
{
    g_queue_clear_full(&net_of(v)->waiting, (GDestroyNotify)g_bytes_unref);
}

static void net_free(struct device *d)
{
    struct virtio_net *n = container_of(d, struct virtio_net, virtio.pci.device);
    net_backend_free(n->backend);
    virtio_device_clear(&n->virtio);
    g_queue_clear_full(&n->waiting, (GDestroyNotify)g_bytes_unref);
    g_free(n);
}

static const struct state_field net_fields[] = {VIRTIO_STATE_FIELDS, VIRTIO_QUEUE_STATE(0),
                                                VIRTIO_QUEUE_STATE(1)};

static const struct device_class net_class = {
    .name = "virtio-net",
    .version = 1,
    .fields = net_fields,
    .field_count = ARRAY_SIZE(net_fields),
    .reset = virtio_device_reset,
    .loaded = virtio_device_loaded,
    .pause = virtio_device_pause,
    .resume = virtio_device_resume,
    .free = net_free,
};

static const struct virtio_ops net_ops = {
    .type = VIRTIO_ID_NET,
    .pci_class = 0x0200,
    .notify = net_notify,
    .reset = net_reset,
};

/* Takes "mac=" out of WORDS: true with MAC set when it was there. */
static bool take_mac(char **words, uint8_t mac[MAC_BYTES], bool *given, GError **error)
{
    *given = false;
    for (char **w = words; *w; w++) {
        if (!g_str_has_prefix(*w, "mac="))
            continue;
        char end;
        if (sscanf(*w + 4, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
                   &mac[3], &mac[4], &mac[5], &end) != MAC_BYTES ||
            mac[0] & 1) {
            g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                        "--net: %s: not the address of an interface; write it as "
                        "mac=02:00:00:00:00:01, its first byte even",
                        *w);
            return false;
        }
        *given = true;
        g_free(*w);
        memmove(w, w + 1, (g_strv_length(w + 1) + 1) * sizeof(*w));
        w--;
    }
    return true;
}

struct device *virtio_net_new(struct machine *m, const char *id, const char *spec, GError **error)
{
    uint64_t features =
        BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF);
    g_auto(GStrv) words = g_strsplit(spec, ",", -1);
    struct virtio_net_config config = {.status = VIRTIO_NET_S_LINK_UP};
    bool given;

    if (!take_mac(words, config.mac, &given, error))
        return NULL;
    struct virtio_net *n = g_new0(struct virtio_net, 1);
    struct net_client client = {.receive = net_receive, .batch_end = net_batch_end, .opaque = n};
    n->backend = net_backend_new(m, words, &client, error);
    /* MAC and status; the features that have further fields are not offered. */
    n->virtio.config_size = offsetof(struct virtio_net_config, max_virtqueue_pairs);
    if (!n->backend || !virtio_device_init(&n->virtio, &net_class, &net_ops, m, id, features,
                                           QUEUES, QUEUE_SIZE, m->context, error)) {
        net_backend_free(n->backend);
        g_free(n);
        return NULL;
    }
    if (!given) {
        /* A locally administered address of its own for each slot. */
        const uint8_t mac[MAC_BYTES] = {0x02, 0x54, 0x52, 0x50, 0x5a, n->virtio.pci.slot};
        memcpy(config.mac, mac, sizeof(mac));
    }
    memcpy(n->virtio.config, &config, n->virtio.config_size);
    return &n->virtio.pci.device;
}
