/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The console device (virtio 1.2, 5.3) with one port and no control queues. */
#include "machine/chipset/character.h"
#include "virtio-device.h"
#include "virtio.h"

#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <string.h>

#define QUEUE_SIZE 64
#define CHUNK      4096 /* bytes copied out at once */
/* Bytes of a chain that are sent.  A driver sends a page at a time; a chain that names the same
 * memory again and again must not keep us busy. */
#define TRANSMIT_MAX (256 * 1024)

enum { RECEIVE, TRANSMIT, QUEUES };

struct virtio_con {
    struct virtio_device virtio;
    struct character *character;
    /* Input that waits for the driver's buffers. */
    uint8_t input[1024];
    uint32_t input_count;
    bool waiting;              /* the back-end asked us to send nothing for now */
    struct virtio_chain chain; /* on the main loop only */
};

static struct virtio_con *con_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_con, virtio);
}

/* ---- host to guest ---- */

/* Gives the driver what input it has buffers for.  Locked. */
static void deliver(struct virtio_con *c)
{
    struct virtqueue *q = &c->virtio.queues[RECEIVE];
    struct machine *m = c->virtio.pci.device.machine;
    while (c->input_count && virtqueue_pop(q, &c->chain)) {
        size_t n = virtio_chain_write(m, &c->chain, 0, c->input, c->input_count);
        memmove(c->input, c->input + n, c->input_count - n);
        c->input_count -= n;
        virtqueue_push(q, c->chain.head, n);
    }
    virtqueue_flush(q);
}

static size_t con_room(void *opaque)
{
    struct virtio_con *c = opaque;
    GMutex *lock = &c->virtio.pci.device.lock;
    g_mutex_lock(lock);
    size_t room = virtio_running(&c->virtio) ? sizeof(c->input) - c->input_count : 0;
    g_mutex_unlock(lock);
    return room;
}

static void con_receive(void *opaque, const uint8_t *data, size_t length)
{
    struct virtio_con *c = opaque;
    GMutex *lock = &c->virtio.pci.device.lock;
    g_mutex_lock(lock);
    size_t n = MIN(length, sizeof(c->input) - c->input_count);
    memcpy(c->input + c->input_count, data, n);
    c->input_count += n;
    deliver(c);
    g_mutex_unlock(lock);
}

/* ---- guest to host ---- */

/* Sends what the driver wrote, until the back-end asks us to wait. */
static void transmit(struct virtio_con *c)
{
    struct virtqueue *q = &c->virtio.queues[TRANSMIT];
    GMutex *lock = &c->virtio.pci.device.lock;
    uint8_t bytes[CHUNK];
    unsigned budget = VIRTIO_TURN;

    g_mutex_lock(lock);
    while (budget && !c->waiting && virtqueue_pop(q, &c->chain)) {
        budget--;
        uint64_t length = MIN(c->chain.readable, TRANSMIT_MAX);
        for (uint64_t at = 0; at < length;) {
            size_t n = virtio_chain_read(&c->chain, at, bytes, MIN(sizeof(bytes), length - at));
            c->waiting = !character_write(c->character, bytes, n);
            at += n;
        }
        virtqueue_push(q, c->chain.head, 0);
    }
    virtqueue_flush(q);
    if (!budget)
        virtqueue_kick(q);
    g_mutex_unlock(lock);
}

static void con_writable(void *opaque)
{
    struct virtio_con *c = opaque;
    GMutex *lock = &c->virtio.pci.device.lock;
    g_mutex_lock(lock);
    c->waiting = false;
    g_mutex_unlock(lock);
    transmit(c);
}

static void con_notify(struct virtio_device *v, struct virtqueue *q)
{
    struct virtio_con *c = con_of(v);
    if (q->index == TRANSMIT) {
        transmit(c);
        return;
    }
    g_mutex_lock(&v->pci.device.lock);
    deliver(c);
    bool room = c->input_count < sizeof(c->input);
    g_mutex_unlock(&v->pci.device.lock);
    if (room)
        character_ready(c->character);
}

/* Emergency write: one byte, even before the driver is set up (5.3.4). */
static void con_config_write(struct virtio_device *v, unsigned offset, unsigned size,
                             uint32_t value)
{
    uint8_t byte = value;
    (void)size;
    if (offset == offsetof(struct virtio_console_config, emerg_wr))
        character_write(con_of(v)->character, &byte, 1);
}

static void con_reset(struct virtio_device *v)
{
    con_of(v)->input_count = 0;
}

static int con_loaded(struct device *d, GError **error)
{
    struct virtio_con *c = container_of(d, struct virtio_con, virtio.pci.device);
    if (virtio_device_loaded(d, error) < 0)
        return -1;
    if (c->input_count > sizeof(c->input)) {
        c->input_count = 0;
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "%s: the saved state has too much input", d->id);
        return -1;
    }
    return 0;
}

static void con_free(struct device *d)
{
    struct virtio_con *c = container_of(d, struct virtio_con, virtio.pci.device);
    virtio_device_clear(&c->virtio);
    g_free(c);
}

static const struct state_field con_fields[] = {
    VIRTIO_STATE_FIELDS, VIRTIO_QUEUE_STATE(0), VIRTIO_QUEUE_STATE(1),
    STATE_ARRAY(struct virtio_con, input, 1), STATE_FIELD(struct virtio_con, input_count, 1)};

static const struct device_class con_class = {
    .name = "virtio-console",
    .version = 1,
    .fields = con_fields,
    .field_count = ARRAY_SIZE(con_fields),
    .reset = virtio_device_reset,
    .loaded = con_loaded,
    .pause = virtio_device_pause,
    .resume = virtio_device_resume,
    .free = con_free,
};

static const struct virtio_ops con_ops = {
    .type = VIRTIO_ID_CONSOLE,
    .pci_class = 0x0780,
    .notify = con_notify,
    .config_write = con_config_write,
    .reset = con_reset,
};

static const uint64_t con_features = BIT(VIRTIO_CONSOLE_F_EMERG_WRITE);

struct device *virtio_console_new(struct machine *m, const char *id, struct character *character,
                                  GError **error)
{
    struct virtio_con *c = g_new0(struct virtio_con, 1);
    struct virtio_console_config config = {.max_nr_ports = 1};
    struct character_client client = {
        .room = con_room, .receive = con_receive, .writable = con_writable, .opaque = c};

    c->character = character;
    memcpy(c->virtio.config, &config, sizeof(config));
    c->virtio.config_size = sizeof(config);
    if (!virtio_device_init(&c->virtio, &con_class, &con_ops, m, id, con_features, QUEUES,
                            QUEUE_SIZE, m->context, error)) {
        g_free(c);
        return NULL;
    }
    character_connect(character, &client);
    return &c->virtio.pci.device;
}
