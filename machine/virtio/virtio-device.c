/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What virtio devices share beside queues and registers: status, features, resets, a device's life
 * (virtio 1.2, 2 and 3). */
#include "virtio-transport.h"

#include <errno.h>
#include <glib-unix.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TRANSPORT_FEATURES                                                                         \
    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |   \
     BIT(VIRTIO_F_RING_RESET))

static struct virtio_device *device_of(struct device *d)
{
    return container_of(d, struct virtio_device, pci.device);
}

static unsigned in_flight(const struct virtio_device *v)
{
    unsigned count = 0;
    for (unsigned n = 0; n < v->queue_count; n++)
        count += v->queues[n].in_flight;
    return count;
}

bool virtio_running(const struct virtio_device *v)
{
    return v->status & VIRTIO_CONFIG_S_DRIVER_OK && !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
           !v->paused && !v->resetting && pci_bus_master(&v->pci);
}

void virtio_broken(struct virtio_device *v, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    machine_log(v->pci.device.machine, !v->broken_logged,
                "%s: the guest's driver broke the rules: %s", v->pci.device.id, text);
    g_free(text);
    v->broken_logged = true;
    v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        virtio_interrupt(v, v->config_vector, VIRTIO_PCI_ISR_CONFIG);
}

void virtio_config_changed(struct virtio_device *v)
{
    v->generation++;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        virtio_interrupt(v, v->config_vector, VIRTIO_PCI_ISR_CONFIG);
}

void virtio_interrupt(struct virtio_device *v, uint16_t vector, uint8_t isr_bits)
{
    bool msix = pci_msix_enabled(&v->pci);
    /* The queue bit speaks of INTx alone, the configuration bit always (4.1.4.5.1). */
    v->isr |= msix ? isr_bits & VIRTIO_PCI_ISR_CONFIG : isr_bits;
    if (msix)
        pci_msix_signal(&v->pci, vector);
    else
        pci_set_intx(&v->pci, true);
}

/* ---- notifications ---- */

void virtqueue_kick(struct virtqueue *q)
{
    eventfd_write(q->notify_fd, 1);
}

static void kick_all(struct virtio_device *v)
{
    for (unsigned n = 0; n < v->queue_count; n++)
        if (v->queues[n].enabled)
            virtqueue_kick(&v->queues[n]);
}

static gboolean notified(gint fd, GIOCondition condition, gpointer opaque)
{
    struct virtqueue *q = opaque;
    eventfd_t count;
    (void)condition;
    eventfd_read(fd, &count);
    q->device->ops->notify(q->device, q);
    return G_SOURCE_CONTINUE;
}

/* ---- resets ---- */

/* Everything as at power-on; no chain is in flight. */
static void finish_reset(struct virtio_device *v)
{
    v->features = 0;
    v->device_select = v->driver_select = 0;
    v->status = v->isr = 0;
    v->config_vector = VIRTIO_MSI_NO_VECTOR;
    v->queue_select = 0;
    for (unsigned n = 0; n < v->queue_count; n++)
        virtqueue_reset(&v->queues[n]);
    v->resetting = false;
    pci_set_intx(&v->pci, false);
    virtio_pci_update_notify(v);
    if (v->ops->reset)
        v->ops->reset(v);
}

void virtio_drained(struct virtio_device *v)
{
    for (unsigned n = 0; n < v->queue_count; n++)
        if (v->queues[n].resetting && !v->queues[n].in_flight) {
            virtqueue_reset(&v->queues[n]);
            virtio_pci_update_notify(v);
        }
    if (in_flight(v))
        return;
    if (v->resetting)
        finish_reset(v);
    g_cond_broadcast(&v->idle);
}

void virtio_set_status(struct virtio_device *v, uint8_t value)
{
    if (v->resetting)
        return;
    if (!value) {
        /* The driver waits until the status reads 0 (4.1.4.3.2); that may be when the last
         * request on the host is done. */
        v->resetting = true;
        if (!in_flight(v))
            finish_reset(v);
        return;
    }
    uint8_t added = value & ~v->status;
    if (added & VIRTIO_CONFIG_S_FEATURES_OK &&
        (v->features & ~v->offered || !virtio_has_feature(v, VIRTIO_F_VERSION_1)))
        value &= ~VIRTIO_CONFIG_S_FEATURES_OK;
    if (!(value & VIRTIO_CONFIG_S_FEATURES_OK))
        value &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    v->status = (value & ~VIRTIO_CONFIG_S_NEEDS_RESET) | (v->status & VIRTIO_CONFIG_S_NEEDS_RESET);
    if (added & v->status & VIRTIO_CONFIG_S_DRIVER_OK) {
        if (v->ops->started)
            v->ops->started(v);
        virtio_pci_update_notify(v);
        kick_all(v);
    }
}

void virtio_enable_queue(struct virtio_device *v, struct virtqueue *q)
{
    if (q->enabled || q->resetting || v->resetting || !(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
        return;
    if (!virtqueue_attach(q)) {
        virtio_broken(v, "queue %u: its rings are not in memory, or ill-aligned or sized",
                      q->index);
        return;
    }
    q->enabled = 1;
    virtio_pci_update_notify(v);
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        virtqueue_kick(q);
}

void virtio_reset_queue(struct virtio_device *v, struct virtqueue *q)
{
    if (!q->enabled || !virtio_has_feature(v, VIRTIO_F_RING_RESET))
        return;
    q->resetting = true;
    if (!q->in_flight)
        virtio_drained(v);
}

/* ---- a device's life ---- */

bool virtio_device_init(struct virtio_device *v, const struct device_class *class,
                        const struct virtio_ops *ops, struct machine *m, const char *id,
                        uint64_t offered, unsigned queues, unsigned size, GMainContext *context,
                        GError **error)
{
    v->ops = ops;
    v->offered = offered | TRANSPORT_FEATURES;
    v->context = context;
    v->config_vector = VIRTIO_MSI_NO_VECTOR;
    if (!pci_function_init(&v->pci, class, m, id, -1, VIRTIO_PCI_VENDOR,
                           VIRTIO_PCI_DEVICE + ops->type, PCI_CLASS(ops->pci_class, 1),
                           VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE + ops->type)) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "%s: all %d slots of the PCI bus are taken; give the machine fewer devices", id,
                    PCI_SLOTS);
        return false;
    }
    g_cond_init(&v->idle);
    for (unsigned n = 0; n < queues; n++) {
        struct virtqueue *q = &v->queues[n];
        q->device = v;
        q->index = n;
        q->size_max = size;
        virtqueue_reset(q);
        q->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (q->notify_fd < 0) {
            g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                        "%s: cannot make an eventfd: %s; raise the limit of open files", id,
                        g_strerror(errno));
            virtio_device_discard(v);
            return false;
        }
        v->queue_count++;
        q->notify_source = g_unix_fd_source_new(q->notify_fd, G_IO_IN);
        g_source_set_callback(q->notify_source, G_SOURCE_FUNC(notified), q, NULL);
        g_source_attach(q->notify_source, context);
    }
    if (!virtio_pci_init(v)) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "%s: no room for its registers in the PCI address window", id);
        virtio_device_discard(v);
        return false;
    }
    return true;
}

void virtio_device_clear(struct virtio_device *v)
{
    for (unsigned n = 0; n < v->queue_count; n++) {
        struct virtqueue *q = &v->queues[n];
        q->enabled = 0;
        g_source_destroy(q->notify_source);
        g_source_unref(q->notify_source);
    }
    virtio_pci_update_notify(v);
    for (unsigned n = 0; n < v->queue_count; n++)
        close(v->queues[n].notify_fd);
    v->queue_count = 0;
    g_cond_clear(&v->idle);
}

void virtio_device_discard(struct virtio_device *v)
{
    virtio_device_clear(v);
    pci_function_discard(&v->pci);
}

void virtio_device_reset(struct device *d)
{
    struct virtio_device *v = device_of(d);
    v->resetting = true;
    while (in_flight(v))
        g_cond_wait(&v->idle, &d->lock);
    pci_function_reset(&v->pci);
    finish_reset(v);
}

int virtio_device_loaded(struct device *d, GError **error)
{
    struct virtio_device *v = device_of(d);
    pci_function_loaded(&v->pci);
    if (v->features & ~v->offered) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "%s: the saved state has features that this device lacks", d->id);
        return -1;
    }
    for (unsigned n = 0; n < v->queue_count; n++) {
        struct virtqueue *q = &v->queues[n];
        q->published = q->next_used;
        if (q->enabled && !virtqueue_attach(q)) {
            g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                        "%s: the saved state has a bad queue %u", d->id, n);
            q->enabled = 0;
            return -1;
        }
    }
    virtio_pci_update_notify(v);
    return 0;
}

void virtio_device_pause(struct device *d)
{
    struct virtio_device *v = device_of(d);
    g_mutex_lock(&d->lock);
    v->paused = true;
    while (in_flight(v))
        g_cond_wait(&v->idle, &d->lock);
    g_mutex_unlock(&d->lock);
}

void virtio_device_resume(struct device *d)
{
    struct virtio_device *v = device_of(d);
    g_mutex_lock(&d->lock);
    v->paused = false;
    kick_all(v);
    g_mutex_unlock(&d->lock);
}
