/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The block device (virtio 1.2, 5.2) on a disk image.
 *
 * Its I/O thread takes requests from the queues in batches under the device's lock, submits them to
 * the image without it, and returns the finished ones in batches again.
 */
#include "io-thread.h"
#include "virtio-device.h"
#include "virtio.h"

#include <errno.h>
#include <glib-unix.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>

#define SECTOR          512u
#define QUEUE_SIZE      256
#define SEGMENTS_MAX    (QUEUE_SIZE - 2) /* beside header and status */
#define BATCH           64               /* requests taken under one hold of the lock */
#define DISCARD_SECTORS (1u << 22)       /* 2 GiB a request */

struct virtio_blk {
    struct virtio_device virtio;
    struct block_image *image;
    struct io_thread *thread;
    GSource *finished_source;
    char *serial;
    bool readonly;
    bool full_reported;
    bool write_through;           /* the driver cannot or does not want to flush */
    struct blk_request *finished; /* on the I/O thread */
    struct virtio_chain chain;    /* the one being looked at; locked */
};

/* A piece of guest memory that a read filled. */
struct span {
    uint64_t gpa;
    uint32_t length;
};

struct blk_request {
    struct block_request block;
    struct virtio_blk *blk;
    struct virtqueue *queue;
    struct blk_request *next;
    uint16_t head;
    uint8_t status;
    uint8_t *status_host;
    uint64_t status_gpa;
    uint32_t written; /* bytes of the chain, without the status */
    unsigned span_count;
    struct span *spans;
    struct iovec iov[];
};

static struct virtio_blk *blk_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_blk, virtio);
}

static uint64_t capacity(struct virtio_blk *s)
{
    uint64_t sectors;
    memcpy(&sectors, s->virtio.config + offsetof(struct virtio_blk_config, capacity), 8);
    return sectors;
}

/* ---- finishing ---- */

static void finish(struct blk_request *r, uint8_t status)
{
    r->status = status;
    r->next = r->blk->finished;
    r->blk->finished = r;
}

/* The image is done with a request. */
static void image_done(struct block_request *b, int result)
{
    struct blk_request *r = container_of(b, struct blk_request, block);
    struct virtio_blk *s = r->blk;
    bool full = result == -ENOSPC || result == -EDQUOT || result == -EFBIG;

    if (full && !s->full_reported) {
        s->full_reported = true;
        machine_log(s->virtio.pci.device.machine, true,
                    "%s: cannot write to %s: %s; the guest gets I/O errors until there is room",
                    s->virtio.pci.device.id, block_path(s->image), g_strerror(-result));
    } else if (result < 0) {
        machine_log(s->virtio.pci.device.machine, false, "%s: I/O error on %s: %s",
                    s->virtio.pci.device.id, block_path(s->image), g_strerror(-result));
    }
    finish(r, result < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

/* Returns finished requests to the driver: one look at each queue for all of them. */
static void return_finished(struct virtio_blk *s)
{
    struct machine *m = s->virtio.pci.device.machine;
    struct blk_request *r = s->finished;
    if (!r)
        return;
    s->finished = NULL;
    g_mutex_lock(&s->virtio.pci.device.lock);
    while (r) {
        struct blk_request *next = r->next;
        for (unsigned i = 0; i < r->span_count; i++)
            ram_written(m, r->spans[i].gpa, r->spans[i].length);
        *r->status_host = r->status;
        ram_written(m, r->status_gpa, 1);
        virtqueue_push(r->queue, r->head, r->written + 1);
        g_free(r);
        r = next;
    }
    for (unsigned n = 0; n < s->virtio.queue_count; n++)
        virtqueue_flush(&s->virtio.queues[n]);
    g_mutex_unlock(&s->virtio.pci.device.lock);
}

static gboolean image_finished(gint fd, GIOCondition condition, gpointer opaque)
{
    struct virtio_blk *s = opaque;
    (void)fd;
    (void)condition;
    block_reap(s->image);
    return_finished(s);
    return G_SOURCE_CONTINUE;
}

/* ---- taking requests apart ---- */

/* Whether COUNT sectors at SECTOR are on the disk. */
static bool on_disk(struct virtio_blk *s, uint64_t sector, uint64_t count)
{
    return range_inside(sector, count, capacity(s));
}

/* Makes R's vector of LENGTH bytes from byte SKIP of SEGMENTS on. */
static void add_buffers(struct blk_request *r, const struct virtio_segment *segments,
                        unsigned count, uint64_t skip, uint64_t length, bool filled)
{
    r->spans = (struct span *)(r->iov + count);
    for (unsigned i = 0; i < count && length; i++) {
        const struct virtio_segment *g = &segments[i];
        if (skip >= g->length) {
            skip -= g->length;
            continue;
        }
        uint64_t part = MIN(g->length - skip, length);
        r->iov[r->block.iov_count++] = (struct iovec){g->host + skip, part};
        if (filled)
            r->spans[r->span_count++] = (struct span){g->gpa + skip, part};
        length -= part;
        skip = 0;
    }
    r->block.iov = r->iov;
}

/* What is to be done with a request: nothing more (its status), or the image's work. */
#define TO_IMAGE (-1)

static int prepare_transfer(struct virtio_blk *s, struct blk_request *r,
                            const struct virtio_blk_outhdr *header, bool write)
{
    const struct virtio_chain *c = &s->chain;
    uint64_t length = write ? c->readable - sizeof(*header) : c->writable - 1;

    if (write && s->readonly)
        return VIRTIO_BLK_S_IOERR;
    if (length % SECTOR || length > UINT32_MAX - 1 || !on_disk(s, header->sector, length / SECTOR))
        return VIRTIO_BLK_S_IOERR;
    if (!length)
        return VIRTIO_BLK_S_OK;
    r->block.operation = write ? BLOCK_WRITE : BLOCK_READ;
    r->block.durable = s->write_through;
    r->block.offset = header->sector * SECTOR;
    r->block.length = length;
    if (write)
        add_buffers(r, c->segments, c->readable_count, sizeof(*header), length, false);
    else
        add_buffers(r, c->segments + c->readable_count, c->writable_count, 0, length, true);
    r->written = write ? 0 : length;
    return TO_IMAGE;
}

/* Discard and write zeroes, of one range (5.2.6.2). */
static int prepare_range(struct virtio_blk *s, struct blk_request *r, bool zeroes)
{
    const struct virtio_chain *c = &s->chain;
    struct virtio_blk_discard_write_zeroes range;
    uint32_t known = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

    if (c->readable != sizeof(struct virtio_blk_outhdr) + sizeof(range))
        return VIRTIO_BLK_S_IOERR;
    virtio_chain_read(c, sizeof(struct virtio_blk_outhdr), &range, sizeof(range));
    if (range.flags & ~known)
        return VIRTIO_BLK_S_UNSUPP;
    if (s->readonly || range.num_sectors > DISCARD_SECTORS ||
        !on_disk(s, range.sector, range.num_sectors))
        return VIRTIO_BLK_S_IOERR;
    if (!range.num_sectors)
        return VIRTIO_BLK_S_OK;
    r->block.operation = zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD;
    r->block.unmap = range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    r->block.durable = s->write_through;
    r->block.offset = range.sector * SECTOR;
    r->block.length = (uint64_t)range.num_sectors * SECTOR;
    return TO_IMAGE;
}

static int get_id(struct virtio_blk *s, struct blk_request *r)
{
    char id[VIRTIO_BLK_ID_BYTES] = {0};
    memcpy(id, s->serial, MIN(strlen(s->serial), sizeof(id)));
    r->written = virtio_chain_write(s->virtio.pci.device.machine, &s->chain, 0, id,
                                    MIN(sizeof(id), s->chain.writable - 1));
    return VIRTIO_BLK_S_OK;
}

static int prepare(struct virtio_blk *s, struct blk_request *r)
{
    struct virtio_blk_outhdr header;
    virtio_chain_read(&s->chain, 0, &header, sizeof(header));
    switch (header.type) {
    case VIRTIO_BLK_T_IN:
        return prepare_transfer(s, r, &header, false);
    case VIRTIO_BLK_T_OUT:
        return prepare_transfer(s, r, &header, true);
    case VIRTIO_BLK_T_FLUSH:
        r->block.operation = BLOCK_FLUSH;
        return s->readonly ? VIRTIO_BLK_S_OK : TO_IMAGE;
    case VIRTIO_BLK_T_GET_ID:
        return get_id(s, r);
    case VIRTIO_BLK_T_DISCARD:
        return virtio_has_feature(&s->virtio, VIRTIO_BLK_F_DISCARD) ? prepare_range(s, r, false)
                                                                    : VIRTIO_BLK_S_UNSUPP;
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return virtio_has_feature(&s->virtio, VIRTIO_BLK_F_WRITE_ZEROES) ? prepare_range(s, r, true)
                                                                         : VIRTIO_BLK_S_UNSUPP;
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

/* Takes the next request of Q: false when there is none.  *r goes to the image, or is NULL when the
 * request is finished already.  Locked. */
static bool take_request(struct virtio_blk *s, struct virtqueue *q, struct blk_request **out)
{
    struct virtio_chain *c = &s->chain;
    if (!virtqueue_pop(q, c))
        return false;
    if (c->readable < sizeof(struct virtio_blk_outhdr) || !c->writable) {
        virtio_broken(&s->virtio, "queue %u: a request without header or status", q->index);
        virtqueue_unpop(q, 1);
        return false;
    }
    unsigned segments = c->readable_count + c->writable_count;
    struct blk_request *r =
        g_malloc0(sizeof(*r) + segments * sizeof(r->iov[0]) + segments * sizeof(r->spans[0]));
    const struct virtio_segment *last = &c->segments[segments - 1];
    r->blk = s;
    r->queue = q;
    r->head = c->head;
    r->status_host = last->host + last->length - 1;
    r->status_gpa = last->gpa + last->length - 1;
    r->block.done = image_done;
    int status = prepare(s, r);
    *out = status == TO_IMAGE ? r : NULL;
    if (status != TO_IMAGE)
        finish(r, status);
    return true;
}

static void blk_notify(struct virtio_device *v, struct virtqueue *q)
{
    struct virtio_blk *s = blk_of(v);
    bool more = true;
    while (more) {
        struct blk_request *batch[BATCH];
        unsigned taken = 0;
        g_mutex_lock(&v->pci.device.lock);
        while (more && taken < BATCH) {
            more = take_request(s, q, &batch[taken]);
            taken += more && batch[taken];
        }
        g_mutex_unlock(&v->pci.device.lock);
        for (unsigned i = 0; i < taken; i++)
            block_submit(s->image, &batch[i]->block);
        block_start(s->image);
        return_finished(s);
    }
}

/* ---- configuration ---- */

static void choose_cache(struct virtio_blk *s)
{
    const struct virtio_device *v = &s->virtio;
    bool write_back = v->config[offsetof(struct virtio_blk_config, wce)];
    /* 5.2.5: without the cache setting write-back is what flush stands for. */
    s->write_through = !virtio_has_feature(v, VIRTIO_BLK_F_FLUSH) ||
                       (virtio_has_feature(v, VIRTIO_BLK_F_CONFIG_WCE) && !write_back);
}

static void blk_config_write(struct virtio_device *v, unsigned offset, unsigned size,
                             uint32_t value)
{
    struct virtio_blk *s = blk_of(v);
    if (offset != offsetof(struct virtio_blk_config, wce) || size != 1)
        return;
    v->config[offset] = value & 1;
    choose_cache(s);
}

static void blk_started(struct virtio_device *v)
{
    choose_cache(blk_of(v));
}

static void blk_reset(struct virtio_device *v)
{
    v->config[offsetof(struct virtio_blk_config, wce)] = 1;
}

static void set_capacity(struct virtio_blk *s)
{
    uint64_t sectors = block_size(s->image) / SECTOR;
    memcpy(s->virtio.config + offsetof(struct virtio_blk_config, capacity), &sectors, 8);
}

static void fill_config(struct virtio_blk *s, unsigned queues)
{
    struct virtio_blk_config c = {
        .seg_max = SEGMENTS_MAX,
        .blk_size = SECTOR,
        .physical_block_exp = 3, /* 4 KiB: what the host's page cache writes at once */
        .min_io_size = 1,
        .wce = 1,
        .num_queues = queues,
        .max_discard_sectors = DISCARD_SECTORS,
        .max_discard_seg = 1,
        .discard_sector_alignment = 4096 / SECTOR,
        .max_write_zeroes_sectors = DISCARD_SECTORS,
        .max_write_zeroes_seg = 1,
        .write_zeroes_may_unmap = 1,
    };
    G_STATIC_ASSERT(sizeof(c) <= VIRTIO_CONFIG_MAX);
    memcpy(s->virtio.config, &c, sizeof(c));
    s->virtio.config_size = sizeof(c);
    set_capacity(s);
}

bool virtio_blk_resized(struct device *d, GError **error)
{
    struct virtio_blk *s = container_of(d, struct virtio_blk, virtio.pci.device);
    g_mutex_lock(&d->lock);
    bool known = block_refresh_size(s->image, error);
    if (known) {
        set_capacity(s);
        virtio_config_changed(&s->virtio);
    }
    g_mutex_unlock(&d->lock);
    return known;
}

/* ---- life ---- */

static int blk_loaded(struct device *d, GError **error)
{
    struct virtio_blk *s = container_of(d, struct virtio_blk, virtio.pci.device);
    if (virtio_device_loaded(d, error) < 0)
        return -1;
    choose_cache(s);
    return 0;
}

/* Frees what the constructor made so far. */
static void release(struct virtio_blk *s)
{
    if (s->finished_source) {
        g_source_destroy(s->finished_source);
        g_source_unref(s->finished_source);
    }
    if (s->thread)
        io_thread_free(s->thread);
    block_close(s->image);
    g_free(s->serial);
    g_free(s);
}

static void blk_free(struct device *d)
{
    struct virtio_blk *s = container_of(d, struct virtio_blk, virtio.pci.device);
    virtio_device_pause(d);
    io_thread_free(s->thread);
    s->thread = NULL;
    virtio_device_clear(&s->virtio);
    release(s);
}

static const struct state_field blk_fields[] = {
    VIRTIO_STATE_FIELDS,
    VIRTIO_QUEUE_STATE(0),
    VIRTIO_QUEUE_STATE(1),
    VIRTIO_QUEUE_STATE(2),
    VIRTIO_QUEUE_STATE(3),
    VIRTIO_QUEUE_STATE(4),
    VIRTIO_QUEUE_STATE(5),
    VIRTIO_QUEUE_STATE(6),
    VIRTIO_QUEUE_STATE(7),
    STATE_FIELD(struct virtio_blk, virtio.config[offsetof(struct virtio_blk_config, wce)], 1),
};

static const struct device_class blk_class = {
    .name = "virtio-blk",
    .version = 1,
    .fields = blk_fields,
    .field_count = ARRAY_SIZE(blk_fields),
    .reset = virtio_device_reset,
    .loaded = blk_loaded,
    .pause = virtio_device_pause,
    .resume = virtio_device_resume,
    .free = blk_free,
};

struct block_image *virtio_blk_image(struct device *d)
{
    if (d->class != &blk_class)
        return NULL;
    return container_of(d, struct virtio_blk, virtio.pci.device)->image;
}

static const struct virtio_ops blk_ops = {
    .type = VIRTIO_ID_BLOCK,
    .pci_class = 0x0100,
    .notify = blk_notify,
    .config_write = blk_config_write,
    .started = blk_started,
    .reset = blk_reset,
};

struct device *virtio_blk_new(struct machine *m, const char *id, const struct virtio_blk_options *o,
                              GError **error)
{
    unsigned queues = o->queues ? o->queues : 1;
    uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
                        BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH);
    if (o->readonly)
        features |= BIT(VIRTIO_BLK_F_RO);
    else
        features |= BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_DISCARD) |
                    BIT(VIRTIO_BLK_F_WRITE_ZEROES);
    if (queues > 1)
        features |= BIT(VIRTIO_BLK_F_MQ);
    if (queues > VIRTIO_BLK_QUEUES_MAX) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "%s: %u queues are more than a disk can have (%u)", id, queues,
                    VIRTIO_BLK_QUEUES_MAX);
        return NULL;
    }

    struct virtio_blk *s = g_new0(struct virtio_blk, 1);
    s->readonly = o->readonly;
    s->serial = g_strdup(o->serial ? o->serial : id);
    s->image = block_open(o->path, o->readonly, o->engine, error);
    if (s->image)
        s->thread = io_thread_new(id, error);
    if (!s->thread) {
        release(s);
        return NULL;
    }
    fill_config(s, queues);
    if (!virtio_device_init(&s->virtio, &blk_class, &blk_ops, m, id, features, queues, QUEUE_SIZE,
                            s->thread->context, error)) {
        release(s);
        return NULL;
    }
    s->finished_source = g_unix_fd_source_new(block_event_fd(s->image), G_IO_IN);
    g_source_set_callback(s->finished_source, G_SOURCE_FUNC(image_finished), s, NULL);
    g_source_attach(s->finished_source, s->thread->context);
    machine_log(m, false, "%s: %s, %" G_GUINT64_FORMAT " bytes, by %s", id, block_path(s->image),
                block_size(s->image), block_engine_name(s->image));
    return &s->virtio.pci.device;
}
