/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The PCI transport of virtio devices (virtio 1.2, 4.1): one BAR with all register structures, one
 * with MSI-X, and the capabilities that say where things are. */
#include "virtio-transport.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <string.h>

#define MSIX_BAR      0
#define MSIX_BAR_SIZE 0x1000
#define MSIX_TABLE    0
#define MSIX_PBA      0x800

#define REGISTER_BAR      1
#define REGISTER_SIZE     0x4000
#define COMMON            0x0000
#define ISR               0x1000
#define DEVICE_CONFIG     0x2000
#define NOTIFY            0x3000
#define STRUCTURE_SIZE    0x1000
#define NOTIFY_MULTIPLIER 4
#define COMMON_SIZE       60 /* to the end of queue_reset (4.1.4.3) */

static struct virtio_device *device_of(struct device *d)
{
    return container_of(d, struct virtio_device, pci.device);
}

/* The queue that queue_select names, or NULL. */
static struct virtqueue *selected(struct virtio_device *v)
{
    return v->queue_select < v->queue_count ? &v->queues[v->queue_select] : NULL;
}

/* ---- the common configuration structure (4.1.4.3) ---- */

static void put(uint8_t *registers, unsigned offset, uint64_t value, unsigned size)
{
    memcpy(registers + offset, &value, size);
}

/* Bits 0-31 or 32-63 of FEATURES as a feature select register asks. */
static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? features >> (32 * select) : 0;
}

static uint64_t common_read(struct virtio_device *v, unsigned offset, unsigned size)
{
    uint8_t r[COMMON_SIZE + 8] = {0};
    const struct virtqueue *q = selected(v);

    put(r, VIRTIO_PCI_COMMON_DFSELECT, v->device_select, 4);
    put(r, VIRTIO_PCI_COMMON_DF, feature_word(v->offered, v->device_select), 4);
    put(r, VIRTIO_PCI_COMMON_GFSELECT, v->driver_select, 4);
    put(r, VIRTIO_PCI_COMMON_GF, feature_word(v->features, v->driver_select), 4);
    put(r, VIRTIO_PCI_COMMON_MSIX, v->config_vector, 2);
    put(r, VIRTIO_PCI_COMMON_NUMQ, v->queue_count, 2);
    put(r, VIRTIO_PCI_COMMON_STATUS, v->status, 1);
    put(r, VIRTIO_PCI_COMMON_CFGGENERATION, v->generation, 1);
    put(r, VIRTIO_PCI_COMMON_Q_SELECT, v->queue_select, 2);
    if (q) {
        put(r, VIRTIO_PCI_COMMON_Q_SIZE, q->size, 2);
        put(r, VIRTIO_PCI_COMMON_Q_MSIX, q->vector, 2);
        put(r, VIRTIO_PCI_COMMON_Q_ENABLE, q->enabled, 2);
        put(r, VIRTIO_PCI_COMMON_Q_NOFF, q->index, 2);
        put(r, VIRTIO_PCI_COMMON_Q_DESCLO, q->descriptors, 8);
        put(r, VIRTIO_PCI_COMMON_Q_AVAILLO, q->available, 8);
        put(r, VIRTIO_PCI_COMMON_Q_USEDLO, q->used, 8);
        put(r, VIRTIO_PCI_COMMON_Q_NDATA, q->index, 2);
        put(r, VIRTIO_PCI_COMMON_Q_RESET, q->resetting, 2);
    } else {
        put(r, VIRTIO_PCI_COMMON_Q_MSIX, VIRTIO_MSI_NO_VECTOR, 2);
    }
    uint64_t value = 0;
    if (range_inside(offset, size, COMMON_SIZE))
        memcpy(&value, r + offset, size);
    return value;
}

/* A vector that cannot be had reads back as none (4.1.5.1.2). */
static uint16_t valid_vector(const struct virtio_device *v, uint16_t vector)
{
    return vector < v->pci.msix_count ? vector : VIRTIO_MSI_NO_VECTOR;
}

static void write_features(struct virtio_device *v, uint32_t value)
{
    if (v->status & VIRTIO_CONFIG_S_FEATURES_OK || v->driver_select > 1)
        return;
    unsigned shift = 32 * v->driver_select;
    v->features = (v->features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

/* Half of a queue's address register. */
static void write_half(uint64_t *address, bool high, uint32_t value)
{
    if (high)
        *address = (uint32_t)*address | (uint64_t)value << 32;
    else
        *address = (*address & ~0xffffffffull) | value;
}

static void queue_write(struct virtio_device *v, struct virtqueue *q, unsigned offset,
                        uint32_t value)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_MSIX:
        q->vector = valid_vector(v, value);
        return;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        if (value == 1)
            virtio_enable_queue(v, q);
        return;
    case VIRTIO_PCI_COMMON_Q_RESET:
        if (value == 1)
            virtio_reset_queue(v, q);
        return;
    }
    if (q->enabled)
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        q->size = value;
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        write_half(&q->descriptors, offset == VIRTIO_PCI_COMMON_Q_DESCHI, value);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        write_half(&q->available, offset == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        write_half(&q->used, offset == VIRTIO_PCI_COMMON_Q_USEDHI, value);
        break;
    }
}

/* The size of the register at OFFSET; fields are written whole, 64-bit ones in halves (4.1.3.1). */
static unsigned register_size(unsigned offset)
{
    if (offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_CFGGENERATION)
        return 1;
    if (offset < VIRTIO_PCI_COMMON_MSIX ||
        (offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset < VIRTIO_PCI_COMMON_Q_NDATA))
        return 4;
    return 2;
}

static void common_write(struct virtio_device *v, unsigned offset, uint64_t value, unsigned size)
{
    if (size == 8) {
        common_write(v, offset, (uint32_t)value, 4);
        common_write(v, offset + 4, value >> 32, 4);
        return;
    }
    if (size != register_size(offset) || v->resetting)
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        v->device_select = value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        v->driver_select = value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        write_features(v, value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        v->config_vector = valid_vector(v, value);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        virtio_set_status(v, value);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        v->queue_select = value;
        break;
    default:
        if (selected(v))
            queue_write(v, selected(v), offset, value);
    }
}

/* ---- the BAR ---- */

static uint64_t isr_read(struct virtio_device *v)
{
    uint8_t value = v->isr;
    v->isr = 0;
    pci_set_intx(&v->pci, false);
    return value;
}

static uint64_t config_read(struct virtio_device *v, unsigned offset, unsigned size)
{
    uint64_t value = 0;
    if (range_inside(offset, size, v->config_size))
        memcpy(&value, v->config + offset, size);
    return value;
}

static void config_write(struct virtio_device *v, unsigned offset, uint64_t value, unsigned size)
{
    if (v->ops->config_write && size <= 4 && range_inside(offset, size, v->config_size))
        v->ops->config_write(v, offset, size, value);
}

static uint64_t bar_read(struct device *d, uint64_t offset, unsigned size)
{
    struct virtio_device *v = device_of(d);
    unsigned inside = offset & (STRUCTURE_SIZE - 1);

    switch (offset & ~(uint64_t)(STRUCTURE_SIZE - 1)) {
    case COMMON:
        return common_read(v, inside, size);
    case ISR:
        return inside ? 0 : isr_read(v);
    case DEVICE_CONFIG:
        return config_read(v, inside, size);
    }
    return 0;
}

static void bar_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_device *v = device_of(d);
    unsigned inside = offset & (STRUCTURE_SIZE - 1);

    switch (offset & ~(uint64_t)(STRUCTURE_SIZE - 1)) {
    case COMMON:
        common_write(v, inside, value, size);
        break;
    case DEVICE_CONFIG:
        config_write(v, inside, value, size);
        break;
    case NOTIFY:
        if (inside / NOTIFY_MULTIPLIER < v->queue_count)
            virtqueue_kick(&v->queues[inside / NOTIFY_MULTIPLIER]);
        break;
    }
}

static const struct region_ops bar_ops = {bar_read, bar_write};

/* ---- access through config space (4.1.4.9) ---- */

/* Where the access capability points: true when it is a possible access to the registers. */
static bool cfg_window(struct virtio_device *v, uint32_t *offset, uint32_t *length)
{
    const uint8_t *c = v->pci.config + v->cfg_capability;
    memcpy(offset, c + VIRTIO_PCI_CAP_OFFSET, 4);
    memcpy(length, c + VIRTIO_PCI_CAP_LENGTH, 4);
    return c[VIRTIO_PCI_CAP_BAR] == REGISTER_BAR &&
           (*length == 1 || *length == 2 || *length == 4) && *offset % *length == 0 &&
           range_inside(*offset, *length, REGISTER_SIZE);
}

static bool touches_cfg_data(const struct virtio_device *v, unsigned offset, unsigned size)
{
    return ranges_overlap(offset, size, v->cfg_capability + sizeof(struct virtio_pci_cap), 4);
}

static void cfg_reading(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio_device *v = device_of(&f->device);
    uint32_t at, length;
    if (touches_cfg_data(v, offset, size) && cfg_window(v, &at, &length)) {
        uint32_t value = bar_read(&f->device, at, length);
        memcpy(f->config + v->cfg_capability + sizeof(struct virtio_pci_cap), &value, length);
    }
}

static void cfg_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio_device *v = device_of(&f->device);
    uint32_t at, length;
    if (touches_cfg_data(v, offset, size) && cfg_window(v, &at, &length)) {
        uint32_t value = 0;
        memcpy(&value, f->config + v->cfg_capability + sizeof(struct virtio_pci_cap), length);
        bar_write(&f->device, at, value, length);
    }
    if (ranges_overlap(offset, size, PCI_COMMAND, 2)) {
        /* Bus mastering may just have been allowed: nothing that waits is to be forgotten. */
        for (unsigned n = 0; virtio_running(v) && n < v->queue_count; n++)
            virtqueue_kick(&v->queues[n]);
    }
    virtio_pci_update_notify(v);
}

/* ---- notification by the engine ---- */

void virtio_pci_update_notify(struct virtio_device *v)
{
    struct machine *m = v->pci.device.machine;
    bool mapped = v->pci.bar_mapped[REGISTER_BAR] && v->status & VIRTIO_CONFIG_S_DRIVER_OK;

    for (unsigned n = 0; n < v->queue_count; n++) {
        struct virtqueue *q = &v->queues[n];
        uint64_t wanted = mapped && q->enabled
                              ? v->pci.bar[REGISTER_BAR].base + NOTIFY + NOTIFY_MULTIPLIER * n
                              : 0;
        if (wanted == q->ioeventfd)
            continue;
        if (q->ioeventfd)
            ioeventfd_remove(m, SPACE_MMIO, q->ioeventfd, q->notify_fd);
        q->ioeventfd = 0;
        /* Without it the notification comes to bar_write. */
        if (wanted && ioeventfd_add(m, SPACE_MMIO, wanted, q->notify_fd) == 0)
            q->ioeventfd = wanted;
    }
}

/* ---- capabilities ---- */

static uint8_t add_capability(struct virtio_device *v, uint8_t type, uint32_t offset,
                              uint32_t length, unsigned extra)
{
    struct {
        struct virtio_pci_cap cap;
        uint32_t extra;
    } c = {.cap = {.cap_len = sizeof(c.cap) + extra,
                   .cfg_type = type,
                   .bar = REGISTER_BAR,
                   .offset = offset,
                   .length = length},
           .extra = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? NOTIFY_MULTIPLIER : 0};
    return pci_add_capability(&v->pci, PCI_CAP_ID_VNDR, &c.cap.cap_len, c.cap.cap_len);
}

bool virtio_pci_init(struct virtio_device *v)
{
    struct pci_function *f = &v->pci;
    if (!pci_add_bar(f, MSIX_BAR, MSIX_BAR_SIZE, false, &pci_msix_region_ops) ||
        !pci_add_bar(f, REGISTER_BAR, REGISTER_SIZE, false, &bar_ops))
        return false;
    pci_use_intx(f);
    /* A vector a queue and one for the configuration. */
    pci_add_msix(f, v->queue_count + 1, MSIX_BAR, MSIX_TABLE, MSIX_PBA);
    add_capability(v, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, COMMON_SIZE, 0);
    add_capability(v, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, NOTIFY_MULTIPLIER * v->queue_count, 4);
    add_capability(v, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1, 0);
    if (v->config_size)
        add_capability(v, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_CONFIG, v->config_size, 0);
    v->cfg_capability = add_capability(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4);
    f->config[v->cfg_capability + VIRTIO_PCI_CAP_BAR] = 0;
    f->writable[v->cfg_capability + VIRTIO_PCI_CAP_BAR] = 0xff;
    memset(f->writable + v->cfg_capability + VIRTIO_PCI_CAP_OFFSET, 0xff, 12);
    f->config_reading = cfg_reading;
    f->config_written = cfg_written;
    return true;
}
