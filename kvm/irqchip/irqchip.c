/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The irqchip as a whole: life, settings, dispatch of accesses and of state. */
#include "internal.h"

#include "lapic-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct irqchip *irqchip_create(const struct irqchip_services *services, bool split, unsigned pins)
{
    struct irqchip *chip;

    if (pins > SPLIT_PINS) {
        errno = EINVAL;
        return NULL;
    }
    chip = calloc(1, sizeof(*chip));
    if (!chip)
        return NULL;
    chip->services = services;
    chip->split = split;
    chip->split_pins = split ? pins : 0;
    chip->bus_cycle_ns = 1;
    pthread_mutex_init(&chip->lock, NULL);
    pthread_mutex_init(&chip->irqfd_lock, NULL);
    pthread_mutex_init(&chip->lapic_lock, NULL);
    list_init(&chip->irqfds);
    list_init(&chip->resamplers);
    chip->routes = split ? routes_new_empty() : routes_new_default();
    if (chip->routes)
        chip->helper = helper_new();
    if (chip->helper)
        chip->timers = timers_new(chip->helper);
    if (!chip->timers) {
        int error = errno ? errno : ENOMEM;
        irqchip_free(chip);
        errno = error;
        return NULL;
    }
    if (!split) {
        pic_init(chip);
        ioapic_init(chip);
    }
    return chip;
}

void irqchip_free(struct irqchip *chip)
{
    if (!chip)
        return;
    helper_free(chip->helper);
    irqfd_free_all(chip);
    pit_free(chip);
    timers_free(chip->timers);
    routes_free(chip->routes);
    while (chip->freed) {
        struct lapic *l = chip->freed;
        chip->freed = l->next;
        free(l);
    }
    pthread_mutex_destroy(&chip->lock);
    pthread_mutex_destroy(&chip->irqfd_lock);
    pthread_mutex_destroy(&chip->lapic_lock);
    free(chip);
}

bool irqchip_is_split(const struct irqchip *chip)
{
    return chip->split;
}

int irqchip_set_x2apic_api(struct irqchip *chip, uint64_t flags)
{
    if (flags & ~(uint64_t)(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
        return -EINVAL;
    atomic_fetch_or(&chip->x2apic_api, flags);
    return 0;
}

void irqchip_set_disabled_quirks(struct irqchip *chip, uint64_t quirks)
{
    atomic_store(&chip->disabled_quirks, quirks);
}

int irqchip_set_bus_cycle_ns(struct irqchip *chip, uint64_t ns)
{
    /* The longest count, 2^32 ticks of 128 cycles, must fit in 64 bits. */
    if (!ns || ns > UINT64_MAX / (128ull << 32))
        return -EINVAL;
    atomic_store(&chip->bus_cycle_ns, ns);
    return 0;
}

/* The ports of PICs and PIT: all others should cost no lock. */
static bool port_is_ours(uint16_t port)
{
    switch (port) {
    case 0x20 ... 0x21:
    case 0x40 ... 0x43:
    case 0x61:
    case 0xa0 ... 0xa1:
    case 0x4d0 ... 0x4d1:
        return true;
    default:
        return false;
    }
}

bool irqchip_pio(struct irqchip *chip, uint16_t port, bool write, unsigned size, uint8_t *data)
{
    bool handled;

    if (chip->split || !port_is_ours(port))
        return false;
    irqchip_lock(chip);
    handled = pic_port(chip, port, write, size, data) || pit_port(chip, port, write, size, data);
    irqchip_unlock(chip);
    return handled;
}

bool irqchip_mmio(struct irqchip *chip, struct lapic *l, uint64_t gpa, bool write, unsigned size,
                  uint8_t *data)
{
    bool handled;

    if (l && lapic_mmio(l, gpa, write, size, data))
        return true;
    if (chip->split)
        return false;
    irqchip_lock(chip);
    handled = ioapic_access(chip, gpa, write, size, data);
    irqchip_unlock(chip);
    return handled;
}

int irqchip_get_chip(struct irqchip *chip, struct kvm_irqchip *state)
{
    int error = 0;

    if (chip->split)
        return -ENXIO;
    memset(&state->chip, 0, sizeof(state->chip));
    irqchip_lock(chip);
    switch (state->chip_id) {
    case KVM_IRQCHIP_PIC_MASTER:
    case KVM_IRQCHIP_PIC_SLAVE:
        pic_get(chip, state->chip_id, &state->chip.pic);
        break;
    case KVM_IRQCHIP_IOAPIC:
        ioapic_get(chip, &state->chip.ioapic);
        break;
    default:
        error = -EINVAL;
    }
    irqchip_unlock(chip);
    return error;
}

int irqchip_set_chip(struct irqchip *chip, const struct kvm_irqchip *state)
{
    int error = 0;

    if (chip->split)
        return -ENXIO;
    irqchip_lock(chip);
    switch (state->chip_id) {
    case KVM_IRQCHIP_PIC_MASTER:
    case KVM_IRQCHIP_PIC_SLAVE:
        pic_set(chip, state->chip_id, &state->chip.pic);
        break;
    case KVM_IRQCHIP_IOAPIC:
        ioapic_set(chip, &state->chip.ioapic);
        break;
    default:
        error = -EINVAL;
    }
    pic_update(chip); /* as Linux does, whichever chip was set */
    irqchip_unlock(chip);
    return error;
}
