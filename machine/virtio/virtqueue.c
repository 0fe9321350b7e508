/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The split virtqueue (virtio 1.2, 2.7).
 *
 * The rings lie in guest memory, and the guest may write them at any moment: everything is read
 * once, checked, and used from the copy.  What breaks the rules makes the device need a reset.
 */
#include "virtio-transport.h"

#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* Places in the rings (2.7.6, 2.7.8); the last field of each depends on the queue's size. */
#define RING_FLAGS      0
#define RING_INDEX      2
#define RING_ENTRIES    4
#define AVAILABLE_ENTRY 2u /* bytes */
#define USED_ENTRY      8u
#define DESCRIPTOR      16u

static uint64_t available_bytes(const struct virtqueue *q)
{
    return RING_ENTRIES + AVAILABLE_ENTRY * q->size + 2; /* used_event */
}

static uint64_t used_bytes(const struct virtqueue *q)
{
    return RING_ENTRIES + USED_ENTRY * q->size + 2; /* available_event */
}

/* Indices and events are what both sides wait for: each stores its own and then looks at the
 * other's, so all are sequentially consistent, lest both look too early. */
static uint16_t load16(const uint8_t *p)
{
    return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_SEQ_CST);
}

static void store16(uint8_t *p, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)p, value, __ATOMIC_SEQ_CST);
}

static void store32(uint8_t *p, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)p, value, __ATOMIC_RELAXED);
}

/* Copies from memory that changes under us, so that the compiler cannot fetch it a second time. */
static void copy_once(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    __asm__ volatile("" : : "r"(to) : "memory");
}

static struct machine *machine_of(const struct virtqueue *q)
{
    return q->device->pci.device.machine;
}

bool virtqueue_attach(struct virtqueue *q)
{
    struct machine *m = machine_of(q);
    if (!q->size || q->size > q->size_max || q->size & (q->size - 1) || q->descriptors % 16 ||
        q->available % 2 || q->used % 4)
        return false;
    q->descriptor_ring = ram_pointer(m, q->descriptors, DESCRIPTOR * q->size, false);
    q->available_ring = ram_pointer(m, q->available, available_bytes(q), false);
    q->used_ring = ram_pointer(m, q->used, used_bytes(q), true);
    if (q->descriptor_ring && q->available_ring && q->used_ring)
        return true;
    q->descriptor_ring = q->available_ring = q->used_ring = NULL;
    return false;
}

void virtqueue_reset(struct virtqueue *q)
{
    q->size = q->size_max;
    q->vector = VIRTIO_MSI_NO_VECTOR;
    q->enabled = 0;
    q->descriptors = q->available = q->used = 0;
    q->next_available = q->next_used = q->published = q->signalled = 0;
    q->signalled_valid = false;
    q->descriptor_ring = q->available_ring = q->used_ring = NULL;
    q->resetting = false;
}

/* ---- taking chains ---- */

static bool add_segment(struct virtqueue *q, struct virtio_chain *c,
                        const struct vring_desc *descriptor)
{
    struct virtio_device *v = q->device;
    bool writable = descriptor->flags & VRING_DESC_F_WRITE;
    if (!descriptor->len)
        return true;
    if (!writable && c->writable_count) {
        virtio_broken(v, "queue %u: a readable descriptor after a writable one", q->index);
        return false;
    }
    uint8_t *host = ram_pointer(machine_of(q), descriptor->addr, descriptor->len, writable);
    if (!host) {
        virtio_broken(v, "queue %u: a buffer at 0x%" PRIx64 " of %u bytes, not in memory", q->index,
                      (uint64_t)descriptor->addr, descriptor->len);
        return false;
    }
    *(writable ? &c->writable : &c->readable) += descriptor->len;
    unsigned n = c->readable_count + c->writable_count;
    struct virtio_segment *last = n ? &c->segments[n - 1] : NULL;
    if (last && writable == !!c->writable_count && last->gpa + last->length == descriptor->addr &&
        last->host + last->length == host && descriptor->len <= UINT32_MAX - last->length) {
        last->length += descriptor->len; /* pages in a row are one piece */
        return true;
    }
    if (n == VIRTIO_CHAIN_MAX) {
        virtio_broken(v, "queue %u: a chain of more than %u buffers", q->index, VIRTIO_CHAIN_MAX);
        return false;
    }
    c->segments[n] = (struct virtio_segment){descriptor->addr, host, descriptor->len};
    if (writable)
        c->writable_count++;
    else
        c->readable_count++;
    return true;
}

/* Copies the chain at HEAD to C.  A table of n descriptors has no longer chain than n: what goes on
 * is a loop. */
static bool parse_chain(struct virtqueue *q, uint16_t head, struct virtio_chain *c)
{
    struct virtio_device *v = q->device;
    const uint8_t *table = q->descriptor_ring;
    unsigned count = q->size, index = head, steps = 0;
    bool indirect = false;

    c->head = head;
    c->readable_count = c->writable_count = 0;
    c->readable = c->writable = 0;
    for (;;) {
        struct vring_desc d;
        if (index >= count || steps++ == count) {
            virtio_broken(v, "queue %u: a descriptor chain that %s", q->index,
                          index >= count ? "leaves its table" : "loops");
            return false;
        }
        copy_once(&d, table + DESCRIPTOR * index, sizeof(d));
        if (d.flags & VRING_DESC_F_INDIRECT) {
            count = d.len / DESCRIPTOR;
            table = ram_pointer(machine_of(q), d.addr, d.len, false);
            if (indirect || d.flags & VRING_DESC_F_NEXT || !count || d.len % DESCRIPTOR ||
                count > VIRTIO_CHAIN_MAX || !table ||
                !virtio_has_feature(v, VIRTIO_RING_F_INDIRECT_DESC)) {
                virtio_broken(v, "queue %u: a bad indirect descriptor", q->index);
                return false;
            }
            indirect = true;
            index = steps = 0;
            continue;
        }
        if (!add_segment(q, c, &d))
            return false;
        if (!(d.flags & VRING_DESC_F_NEXT))
            return true;
        index = d.next;
    }
}

/* Asks the driver to notify of what it adds from now on (2.7.10); without event indices it always
 * does. */
static void ask_for_notification(struct virtqueue *q)
{
    if (!virtio_has_feature(q->device, VIRTIO_RING_F_EVENT_IDX))
        return;
    uint64_t event = RING_ENTRIES + USED_ENTRY * q->size;
    store16(q->used_ring + event, q->next_available);
    ram_written(machine_of(q), q->used + event, 2);
}

bool virtqueue_pop(struct virtqueue *q, struct virtio_chain *c)
{
    struct virtio_device *v = q->device;
    if (!virtio_running(v) || !q->available_ring || q->resetting)
        return false;
    uint16_t index = load16(q->available_ring + RING_INDEX);
    if (index == q->next_available) {
        ask_for_notification(q);
        /* The driver may have added something before it could see that. */
        index = load16(q->available_ring + RING_INDEX);
        if (index == q->next_available)
            return false;
    }
    if ((uint16_t)(index - q->next_available) > q->size || q->in_flight >= q->size) {
        virtio_broken(v, "queue %u: more chains available than it has entries", q->index);
        return false;
    }
    unsigned entry = q->next_available & (q->size - 1);
    uint16_t head = load16(q->available_ring + RING_ENTRIES + AVAILABLE_ENTRY * entry);
    if (!parse_chain(q, head, c))
        return false;
    q->next_available++;
    q->in_flight++;
    return true;
}

/* COUNT chains are no longer the device's. */
static void settle(struct virtqueue *q, unsigned count)
{
    q->in_flight -= count;
    if (!q->in_flight)
        virtio_drained(q->device);
}

void virtqueue_unpop(struct virtqueue *q, unsigned count)
{
    q->next_available -= count;
    settle(q, count);
}

/* ---- returning chains ---- */

void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t written)
{
    if (q->used_ring && !q->resetting && !q->device->resetting) {
        uint8_t *entry = q->used_ring + RING_ENTRIES + USED_ENTRY * (q->next_used & (q->size - 1));
        store32(entry, head);
        store32(entry + 4, written);
        q->next_used++;
    }
    settle(q, 1);
}

/* Whether the driver wants an interrupt for the chains just published (2.7.7). */
static bool wants_interrupt(struct virtqueue *q)
{
    if (!virtio_has_feature(q->device, VIRTIO_RING_F_EVENT_IDX))
        return !(load16(q->available_ring + RING_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
    uint16_t before = q->signalled;
    bool first = !q->signalled_valid;
    q->signalled = q->published;
    q->signalled_valid = true;
    uint16_t event = load16(q->available_ring + RING_ENTRIES + AVAILABLE_ENTRY * q->size);
    return first || vring_need_event(event, q->published, before);
}

void virtqueue_flush(struct virtqueue *q)
{
    if (!q->used_ring || q->published == q->next_used)
        return;
    unsigned count = (uint16_t)(q->next_used - q->published);
    unsigned first = q->published & (q->size - 1);
    store16(q->used_ring + RING_INDEX, q->next_used);
    q->published = q->next_used;
    /* The index, and the entries up to the last one changed; when they wrap, the whole ring. */
    unsigned end = first + count <= q->size ? first + count : q->size;
    ram_written(machine_of(q), q->used, RING_ENTRIES + (uint64_t)USED_ENTRY * end);
    if (wants_interrupt(q))
        virtio_interrupt(q->device, q->vector, VIRTIO_PCI_ISR_QUEUE);
}

/* ---- copies ---- */

/* Copies between BUFFER and COUNT SEGMENTS from byte OFFSET on. */
static size_t copy_segments(struct machine *m, const struct virtio_segment *segments,
                            unsigned count, uint64_t offset, uint8_t *buffer, size_t length,
                            bool to_guest)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < length; i++) {
        const struct virtio_segment *s = &segments[i];
        if (offset >= s->length) {
            offset -= s->length;
            continue;
        }
        size_t part = MIN(s->length - offset, length - done);
        if (to_guest) {
            memcpy(s->host + offset, buffer + done, part);
            ram_written(m, s->gpa + offset, part);
        } else {
            copy_once(buffer + done, s->host + offset, part);
        }
        done += part;
        offset = 0;
    }
    return done;
}

size_t virtio_chain_read(const struct virtio_chain *c, uint64_t offset, void *to, size_t length)
{
    return copy_segments(NULL, c->segments, c->readable_count, offset, to, length, false);
}

size_t virtio_chain_write(struct machine *m, const struct virtio_chain *c, uint64_t offset,
                          const void *from, size_t length)
{
    return copy_segments(m, c->segments + c->readable_count, c->writable_count, offset,
                         (uint8_t *)from, length, true);
}
