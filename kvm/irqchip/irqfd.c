/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* irqfds: eventfds whose signals become interrupts, taken by the helper thread. */
#include "eventfd.h"
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

struct irqfd {
    struct irqchip *chip;
    struct list link;     /* in chip->irqfds, under irqfd_lock */
    struct list resample; /* in chip->resamplers, under the irqchip lock; linked to itself if not */
    struct helper_watch *watch;
    struct eventfd_ref event, resample_event;
    uint32_t gsi;
};

/* The eventfd was signalled. */
static void signalled(void *opaque)
{
    struct irqfd *f = opaque;
    struct irqchip *chip = f->chip;

    if (!eventfd_take(&f->event))
        return;
    irqchip_lock(chip);
    if (f->resample_event.fd >= 0) {
        route_set_line(chip, IRQ_SOURCE_RESAMPLE, f->gsi, true); /* until the guest's EOI */
    } else {
        route_set_line(chip, IRQ_SOURCE_USER, f->gsi, true);
        route_set_line(chip, IRQ_SOURCE_USER, f->gsi, false);
    }
    irqchip_unlock(chip);
}

bool irqfd_resamples(const struct irqchip *chip, uint32_t gsi)
{
    list_for_each(node, &chip->resamplers)
    {
        if (container_of(node, struct irqfd, resample)->gsi == gsi)
            return true;
    }
    return false;
}

void irqfd_acknowledged(struct irqchip *chip, uint32_t gsi)
{
    if (!irqfd_resamples(chip, gsi))
        return;
    route_set_line(chip, IRQ_SOURCE_RESAMPLE, gsi, false);
    list_for_each(node, &chip->resamplers)
    {
        struct irqfd *f = container_of(node, struct irqfd, resample);
        if (f->gsi == gsi)
            eventfd_signal(&f->resample_event);
    }
}

static void irqfd_free(struct irqfd *f)
{
    eventfd_release(&f->event);
    eventfd_release(&f->resample_event);
    free(f);
}

static bool is_assigned(struct irqchip *chip, const struct eventfd_ref *event)
{
    list_for_each(node, &chip->irqfds)
    {
        if (eventfd_same(&container_of(node, struct irqfd, link)->event, event))
            return true;
    }
    return false;
}

static int assign(struct irqchip *chip, const struct kvm_irqfd *args)
{
    bool resample = args->flags & KVM_IRQFD_FLAG_RESAMPLE;
    struct irqfd *f;
    int error;

    if (resample && chip->split)
        return -EINVAL;
    f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->chip = chip;
    f->gsi = args->gsi;
    f->resample_event.fd = -1;
    list_init(&f->resample);
    error = eventfd_hold(&f->event, (int)args->fd);
    if (!error && resample)
        error = eventfd_hold(&f->resample_event, (int)args->resamplefd);
    if (!error && is_assigned(chip, &f->event))
        error = -EBUSY;
    if (error) {
        irqfd_free(f);
        return error;
    }
    irqchip_lock(chip);
    if (resample) {
        list_append(&chip->resamplers, &f->resample);
        route_update_notify(chip);
    }
    irqchip_unlock(chip);
    list_append(&chip->irqfds, &f->link);
    f->watch = helper_add(chip->helper, f->event.fd, signalled, f);
    if (f->watch)
        return 0;
    error = errno ? -errno : -ENOMEM;
    irqchip_lock(chip);
    list_remove(&f->resample);
    route_update_notify(chip);
    irqchip_unlock(chip);
    list_remove(&f->link);
    irqfd_free(f);
    return error;
}

static void remove_one(struct irqfd *f)
{
    struct irqchip *chip = f->chip;
    bool resample = f->resample_event.fd >= 0;

    list_remove(&f->link);
    helper_remove(chip->helper, f->watch);
    irqchip_lock(chip);
    list_remove(&f->resample);
    if (resample) {
        if (!irqfd_resamples(chip, f->gsi))
            route_set_line(chip, IRQ_SOURCE_RESAMPLE, f->gsi, false);
        route_update_notify(chip);
    }
    irqchip_unlock(chip);
    irqfd_free(f);
}

/* Removing what is not there is no error, as with Linux. */
static int deassign(struct irqchip *chip, const struct kvm_irqfd *args)
{
    struct eventfd_ref event;
    int error = eventfd_hold(&event, (int)args->fd);

    if (error)
        return error;
    list_for_each_safe(node, after, &chip->irqfds)
    {
        struct irqfd *f = container_of(node, struct irqfd, link);
        if (f->gsi == args->gsi && eventfd_same(&f->event, &event))
            remove_one(f);
    }
    eventfd_release(&event);
    return 0;
}

int irqfd_assign(struct irqchip *chip, const struct kvm_irqfd *args)
{
    int error;

    if (args->flags & ~(uint32_t)(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
        return -EINVAL;
    pthread_mutex_lock(&chip->irqfd_lock);
    error = args->flags & KVM_IRQFD_FLAG_DEASSIGN ? deassign(chip, args) : assign(chip, args);
    pthread_mutex_unlock(&chip->irqfd_lock);
    return error;
}

void irqfd_free_all(struct irqchip *chip)
{
    list_for_each_safe(node, after, &chip->irqfds)
    {
        list_remove(node);
        irqfd_free(container_of(node, struct irqfd, link));
    }
}
