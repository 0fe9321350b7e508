/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtio-driver.h"

#include <linux/pci_regs.h>
#include <string.h>

#define HEAP_START 0x100000

uint32_t pci_get(struct driver *d, unsigned offset, unsigned size)
{
    return space_read(d->m, SPACE_MMIO, LAYOUT_ECAM + ((uint64_t)d->slot << 15) + offset, size);
}

void pci_set(struct driver *d, unsigned offset, uint32_t value, unsigned size)
{
    space_write(d->m, SPACE_MMIO, LAYOUT_ECAM + ((uint64_t)d->slot << 15) + offset, value, size);
}

unsigned pci_find(struct driver *d, unsigned from, unsigned id, unsigned virtio_type)
{
    unsigned at = pci_get(d, from ? from + 1 : PCI_CAPABILITY_LIST, 1);
    for (; at; at = pci_get(d, at + 1, 1))
        if (pci_get(d, at, 1) == id &&
            (id != PCI_CAP_ID_VNDR || pci_get(d, at + VIRTIO_PCI_CAP_CFG_TYPE, 1) == virtio_type))
            return at;
    return 0;
}

/* The address of the structure of TYPE, 0 when the device has none. */
static uint64_t structure(struct driver *d, unsigned type)
{
    unsigned at = pci_find(d, 0, PCI_CAP_ID_VNDR, type);
    if (!at)
        return 0;
    unsigned bar = pci_get(d, at + VIRTIO_PCI_CAP_BAR, 1);
    uint64_t base = pci_get(d, PCI_BASE_ADDRESS_0 + 4 * bar, 4) & ~15u;
    return base + pci_get(d, at + VIRTIO_PCI_CAP_OFFSET, 4);
}

struct driver *driver_new(struct fake_machine *f, struct device *device)
{
    struct driver *d = g_new0(struct driver, 1);
    d->fake = f;
    d->m = &f->machine;
    d->v = container_of(device, struct virtio_device, pci.device);
    d->slot = d->v->pci.slot;
    d->heap = HEAP_START;
    d->common = structure(d, VIRTIO_PCI_CAP_COMMON_CFG);
    d->notify = structure(d, VIRTIO_PCI_CAP_NOTIFY_CFG);
    d->isr = structure(d, VIRTIO_PCI_CAP_ISR_CFG);
    d->config = structure(d, VIRTIO_PCI_CAP_DEVICE_CFG);
    g_assert_cmphex(d->common, !=, 0);
    d->notify_multiplier = pci_get(
        d, pci_find(d, 0, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_NOTIFY_CFG) + VIRTIO_PCI_NOTIFY_CAP_MULT,
        4);
    pci_set(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    return d;
}

void driver_free(struct driver *d)
{
    g_free(d);
}

uint64_t driver_get(struct driver *d, unsigned offset, unsigned size)
{
    return space_read(d->m, SPACE_MMIO, d->common + offset, size);
}

void driver_set(struct driver *d, unsigned offset, uint64_t value, unsigned size)
{
    space_write(d->m, SPACE_MMIO, d->common + offset, value, size);
}

uint64_t driver_config(struct driver *d, unsigned offset, unsigned size)
{
    return space_read(d->m, SPACE_MMIO, d->config + offset, size);
}

uint8_t driver_status(struct driver *d)
{
    return driver_get(d, VIRTIO_PCI_COMMON_STATUS, 1);
}

uint64_t driver_offered(struct driver *d)
{
    uint64_t features = 0;
    for (unsigned i = 0; i < 2; i++) {
        driver_set(d, VIRTIO_PCI_COMMON_DFSELECT, i, 4);
        features |= driver_get(d, VIRTIO_PCI_COMMON_DF, 4) << (32 * i);
    }
    return features;
}

static bool is_reset(void *opaque)
{
    return driver_status(opaque) == 0;
}

void driver_reset(struct driver *d)
{
    driver_set(d, VIRTIO_PCI_COMMON_STATUS, 0, 1);
    fake_run_until(d->fake, is_reset, d);
    memset(d->queues, 0, sizeof(d->queues));
}

bool driver_negotiate(struct driver *d, uint64_t features)
{
    driver_reset(d);
    driver_set(d, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
    driver_set(d, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
               1);
    for (unsigned i = 0; i < 2; i++) {
        driver_set(d, VIRTIO_PCI_COMMON_GFSELECT, i, 4);
        driver_set(d, VIRTIO_PCI_COMMON_GF, features >> (32 * i) & 0xffffffff, 4);
    }
    driver_set(d, VIRTIO_PCI_COMMON_STATUS, driver_status(d) | VIRTIO_CONFIG_S_FEATURES_OK, 1);
    return driver_status(d) & VIRTIO_CONFIG_S_FEATURES_OK;
}

void driver_enable_msix(struct driver *d)
{
    unsigned c = pci_find(d, 0, PCI_CAP_ID_MSIX, 0);
    unsigned count = (pci_get(d, c + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
    uint32_t table = pci_get(d, c + PCI_MSIX_TABLE, 4);
    uint64_t at = (pci_get(d, PCI_BASE_ADDRESS_0 + 4 * (table & 7), 4) & ~15u) + (table & ~7u);
    pci_set(d, c + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
    for (unsigned n = 0; n < count; n++) {
        space_write(d->m, SPACE_MMIO, at + 16 * n, 0xfee00000, 8);
        space_write(d->m, SPACE_MMIO, at + 16 * n + 8, n ? MSI_QUEUE + n - 1 : MSI_CONFIG, 4);
        space_write(d->m, SPACE_MMIO, at + 16 * n + 12, 0, 4);
    }
}

uint64_t driver_alloc(struct driver *d, uint64_t size)
{
    uint64_t at = d->heap;
    d->heap = ALIGN_UP(d->heap + size, PAGE_BYTES);
    g_assert_cmphex(d->heap, <=, d->fake->config.memory);
    memset(driver_ram(d, at), 0, size);
    return at;
}

void *driver_ram(struct driver *d, uint64_t gpa)
{
    void *p = ram_pointer(d->m, gpa, 1, true);
    g_assert_nonnull(p);
    return p;
}

struct driver_queue *driver_place_queue(struct driver *d, unsigned index, unsigned size)
{
    struct driver_queue *q = &d->queues[index];
    *q = (struct driver_queue){.index = index, .size = size};
    q->descriptors = driver_alloc(d, 16 * size);
    q->available = driver_alloc(d, 6 + 2 * size);
    q->used = driver_alloc(d, 6 + 8 * size);
    driver_set(d, VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
    driver_set(d, VIRTIO_PCI_COMMON_Q_SIZE, size, 2);
    driver_set(d, VIRTIO_PCI_COMMON_Q_MSIX, index + 1, 2);
    driver_set(d, VIRTIO_PCI_COMMON_Q_DESCLO, (uint32_t)q->descriptors, 4);
    driver_set(d, VIRTIO_PCI_COMMON_Q_DESCHI, q->descriptors >> 32, 4);
    driver_set(d, VIRTIO_PCI_COMMON_Q_AVAILLO, q->available, 8);
    driver_set(d, VIRTIO_PCI_COMMON_Q_USEDLO, q->used, 8);
    return q;
}

struct driver_queue *driver_enable_queue(struct driver *d, unsigned index, unsigned size)
{
    struct driver_queue *q = driver_place_queue(d, index, size);
    driver_set(d, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
    return q;
}

void driver_ok(struct driver *d)
{
    driver_set(d, VIRTIO_PCI_COMMON_STATUS, driver_status(d) | VIRTIO_CONFIG_S_DRIVER_OK, 1);
}

void driver_start(struct driver *d, uint64_t features, unsigned size)
{
    g_assert_true(driver_negotiate(d, features | BIT(VIRTIO_F_VERSION_1)));
    unsigned count = driver_get(d, VIRTIO_PCI_COMMON_NUMQ, 2);
    driver_set(d, VIRTIO_PCI_COMMON_MSIX, 0, 2);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_MSIX, 2), ==, 0);
    for (unsigned n = 0; n < count; n++)
        driver_enable_queue(d, n, size);
    driver_ok(d);
    g_assert_cmphex(driver_status(d), ==, 15);
}

void driver_descriptor(struct driver *d, uint64_t table, unsigned n, uint64_t address,
                       uint32_t length, uint16_t flags, uint16_t next)
{
    struct vring_desc descriptor = {address, length, flags, next};
    memcpy(driver_ram(d, table + 16 * n), &descriptor, sizeof(descriptor));
}

void driver_offer(struct driver *d, struct driver_queue *q, uint16_t head)
{
    uint16_t *ring = driver_ram(d, q->available + 4);
    ring[q->available_index++ % q->size] = head;
}

uint16_t driver_add(struct driver *d, struct driver_queue *q, const struct buffer *buffers,
                    unsigned count, bool indirect)
{
    uint16_t head = q->next_descriptor % q->size;
    uint64_t table = indirect ? driver_alloc(d, 16 * count) : q->descriptors;
    for (unsigned i = 0; i < count; i++) {
        unsigned n = indirect ? i : q->next_descriptor++ % q->size;
        unsigned next = indirect ? i + 1 : q->next_descriptor % q->size;
        driver_descriptor(d, table, n, buffers[i].gpa, buffers[i].length,
                          (buffers[i].writable ? VRING_DESC_F_WRITE : 0) |
                              (i + 1 < count ? VRING_DESC_F_NEXT : 0),
                          next);
    }
    if (indirect)
        driver_descriptor(d, q->descriptors, q->next_descriptor++ % q->size, table, 16 * count,
                          VRING_DESC_F_INDIRECT, 0);
    driver_offer(d, q, head);
    return head;
}

void driver_publish(struct driver *d, struct driver_queue *q)
{
    __atomic_store_n((uint16_t *)driver_ram(d, q->available + 2), q->available_index,
                     __ATOMIC_SEQ_CST);
}

void driver_notify(struct driver *d, struct driver_queue *q)
{
    driver_publish(d, q);
    fake_mmio_write(d->fake, d->notify + (uint64_t)d->notify_multiplier * q->index, q->index, 2);
}

uint16_t driver_used_index(struct driver *d, struct driver_queue *q)
{
    return __atomic_load_n((uint16_t *)driver_ram(d, q->used + 2), __ATOMIC_ACQUIRE);
}

bool driver_take(struct driver *d, struct driver_queue *q, uint32_t *head, uint32_t *written)
{
    if (driver_used_index(d, q) == q->seen)
        return false;
    const uint32_t *entry = driver_ram(d, q->used + 4 + 8 * (q->seen++ % q->size));
    *head = entry[0];
    *written = entry[1];
    return true;
}

struct waiting {
    struct driver *driver;
    struct driver_queue *queue;
};

static bool has_used(void *opaque)
{
    struct waiting *w = opaque;
    return driver_used_index(w->driver, w->queue) != w->queue->seen;
}

uint32_t driver_wait(struct driver *d, struct driver_queue *q, uint32_t *head)
{
    struct waiting w = {d, q};
    uint32_t written = 0, unused;
    fake_run_until(d->fake, has_used, &w);
    g_assert_true(driver_take(d, q, head ? head : &unused, &written));
    return written;
}

uint32_t driver_request(struct driver *d, struct driver_queue *q, const struct buffer *buffers,
                        unsigned count)
{
    uint16_t head = driver_add(d, q, buffers, count, false);
    uint32_t got;
    driver_notify(d, q);
    uint32_t written = driver_wait(d, q, &got);
    g_assert_cmpuint(got, ==, head);
    return written;
}

void driver_settle(struct driver *d)
{
    /* I/O threads take turns with us until they have nothing more to do. */
    for (unsigned i = 0; i < 20; i++) {
        fake_settle(d->fake);
        g_usleep(1000);
    }
}
