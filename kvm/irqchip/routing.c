/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GSI routing: which pins and messages a global system interrupt stands for, and MSIs. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#define PINS_PER_CHIP 24u

struct route {
    uint32_t gsi;
    bool msi;
    uint8_t irqchip; /* KVM_IRQCHIP_PIC_MASTER (with pins 0 to 15) or KVM_IRQCHIP_IOAPIC */
    uint8_t pin;
    struct {
        uint32_t address_lo, address_hi, data;
    } message;
};

/* Immutable but for its replacement as a whole, under the irqchip lock. */
struct route_table {
    uint32_t gsi_of[2][PINS_PER_CHIP]; /* PIC, IOAPIC: the GSI of each pin, or GSI_NONE */
    uint32_t *first;                   /* index of each GSI's first route; [gsi + 1] ends them */
    uint32_t gsis;                     /* GSIs below this may have routes */
    uint32_t count;
    struct route route[];
};

/* ---------------------------------------------------------------- tables */

static uint32_t *gsi_of(struct route_table *t, unsigned irqchip, unsigned pin)
{
    return &t->gsi_of[irqchip == KVM_IRQCHIP_IOAPIC][pin];
}

static int compare_routes(const void *a, const void *b)
{
    const struct route *x = a, *y = b;

    if (x->gsi != y->gsi)
        return x->gsi < y->gsi ? -1 : 1;
    return (int)x->irqchip - (int)y->irqchip;
}

static struct route_table *table_new(uint32_t count)
{
    struct route_table *t = calloc(1, sizeof(*t) + count * sizeof(struct route));

    if (!t)
        return NULL;
    t->count = count;
    for (unsigned chip = 0; chip < 2; chip++)
        for (unsigned pin = 0; pin < PINS_PER_CHIP; pin++)
            t->gsi_of[chip][pin] = GSI_NONE;
    return t;
}

/* Sorts T and makes its index.  -ENOMEM. */
static int table_finish(struct route_table *t)
{
    uint32_t r = 0;

    qsort(t->route, t->count, sizeof(t->route[0]), compare_routes);
    t->gsis = t->count ? t->route[t->count - 1].gsi + 1 : 0;
    t->first = calloc(t->gsis + 1, sizeof(*t->first));
    if (!t->first)
        return -ENOMEM;
    for (uint32_t gsi = 0; gsi < t->gsis; gsi++) {
        t->first[gsi] = r;
        while (r < t->count && t->route[r].gsi == gsi)
            r++;
    }
    t->first[t->gsis] = r;
    for (r = 0; r < t->count; r++)
        if (!t->route[r].msi)
            *gsi_of(t, t->route[r].irqchip, t->route[r].pin) = t->route[r].gsi;
    return 0;
}

void routes_free(struct route_table *t)
{
    if (!t)
        return;
    free(t->first);
    free(t);
}

static struct route_table *finish_or_free(struct route_table *t)
{
    if (t && table_finish(t) < 0) {
        routes_free(t);
        return NULL;
    }
    return t;
}

struct route_table *routes_new_empty(void)
{
    return finish_or_free(table_new(0));
}

/* GSI n is pin n of the IOAPIC and, below 16, of the PICs. */
struct route_table *routes_new_default(void)
{
    struct route_table *t = table_new(IOAPIC_PINS + PIC_PINS);

    if (!t)
        return NULL;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        t->route[pin] =
            (struct route){.gsi = pin, .irqchip = KVM_IRQCHIP_IOAPIC, .pin = (uint8_t)pin};
    for (unsigned pin = 0; pin < PIC_PINS; pin++)
        t->route[IOAPIC_PINS + pin] =
            (struct route){.gsi = pin, .irqchip = KVM_IRQCHIP_PIC_MASTER, .pin = (uint8_t)pin};
    return finish_or_free(t);
}

/* ---------------------------------------------------------------- KVM_SET_GSI_ROUTING */

static bool message_is_valid(const struct irqchip *chip, uint32_t address_hi)
{
    /* With 32-bit ids the high half holds bits 31:8 of the destination, and nothing below. */
    return !(chip->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS) || !(address_hi & 0xff);
}

static bool convert(const struct irqchip *chip, const struct kvm_irq_routing_entry *e,
                    struct route *r)
{
    if (e->gsi >= IRQCHIP_MAX_ROUTES)
        return false;
    r->gsi = e->gsi;
    switch (e->type) {
    case KVM_IRQ_ROUTING_IRQCHIP:
        if (e->flags || chip->split)
            return false;
        r->pin = (uint8_t)e->u.irqchip.pin;
        switch (e->u.irqchip.irqchip) {
        case KVM_IRQCHIP_PIC_SLAVE:
            r->pin += PIC_PINS / 2;
            /* fall through */
        case KVM_IRQCHIP_PIC_MASTER:
            r->irqchip = KVM_IRQCHIP_PIC_MASTER;
            return e->u.irqchip.pin < PIC_PINS / 2;
        case KVM_IRQCHIP_IOAPIC:
            r->irqchip = KVM_IRQCHIP_IOAPIC;
            return e->u.irqchip.pin < IOAPIC_PINS;
        default:
            return false;
        }
    case KVM_IRQ_ROUTING_MSI:
        r->msi = true;
        r->message.address_lo = e->u.msi.address_lo;
        r->message.address_hi = e->u.msi.address_hi;
        r->message.data = e->u.msi.data;
        return !(e->flags & ~(uint32_t)KVM_MSI_VALID_DEVID) &&
               message_is_valid(chip, e->u.msi.address_hi);
    default:
        return false;
    }
}

/* A GSI is one message, or pins of different chips (the two PICs count as two). */
static bool may_share(const struct route *a, const struct route *b)
{
    if (a->gsi != b->gsi)
        return true;
    if (a->msi || b->msi)
        return false;
    return a->irqchip != b->irqchip ||
           (a->irqchip == KVM_IRQCHIP_PIC_MASTER && a->pin / 8 != b->pin / 8);
}

/* In a finished table the routes of one GSI are few once this holds, but a hostile list may give
 * one GSI 4096 entries: three are the most that can be right. */
static bool sharing_is_valid(const struct route_table *t)
{
    for (uint32_t r = 1; r < t->count; r++)
        for (uint32_t back = 1; back <= 3 && back <= r; back++)
            if (!may_share(&t->route[r], &t->route[r - back]))
                return false;
    return true;
}

/* Split: the vectors of level-triggered messages that stand for pins of user space's IOAPIC. */
static void update_split_handled(struct irqchip *chip)
{
    const struct route_table *t = chip->routes;
    uint64_t handled[4] = {0};

    for (uint32_t r = 0; r < t->count && t->route[r].gsi < chip->split_pins; r++) {
        uint32_t data = t->route[r].message.data;
        if (t->route[r].msi && (data >> 15 & 1))
            handled[data >> 6 & 3] |= 1ull << (data & 63);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(handled); i++)
        atomic_store(&chip->ioapic.handled[i], handled[i]);
}

int irqchip_set_routing(struct irqchip *chip, const struct kvm_irq_routing_entry *entries,
                        uint32_t count, uint32_t flags)
{
    struct route_table *t, *before;

    if (count > IRQCHIP_MAX_ROUTES || flags)
        return -EINVAL;
    t = table_new(count);
    if (!t)
        return -ENOMEM;
    for (uint32_t n = 0; n < count; n++) {
        if (!convert(chip, &entries[n], &t->route[n])) {
            routes_free(t);
            return -EINVAL;
        }
    }
    t = finish_or_free(t);
    if (!t)
        return -ENOMEM;
    if (!sharing_is_valid(t)) {
        routes_free(t);
        return -EINVAL;
    }
    irqchip_lock(chip);
    before = chip->routes;
    chip->routes = t;
    route_update_notify(chip);
    if (chip->split)
        update_split_handled(chip);
    irqchip_unlock(chip);
    routes_free(before);
    return 0;
}

/* ---------------------------------------------------------------- lines and messages */

static int deliver_msi(struct irqchip *chip, uint32_t address_lo, uint32_t address_hi,
                       uint32_t data)
{
    struct apic_message m = {
        .destination = address_lo >> 12 & 0xff,
        .shorthand = SHORTHAND_NONE,
        .mode = (enum delivery_mode)(data >> 8 & 7),
        .vector = (uint8_t)data,
        .logical = address_lo >> 2 & 1,
        .level = data >> 15 & 1,
    };

    if (chip->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS)
        m.destination |= address_hi & 0xffffff00;
    m.lowest = m.mode == DELIVERY_LOWEST_PRIORITY || (address_lo >> 3 & 1);
    return apic_deliver(chip, &m);
}

int irqchip_signal_msi(struct irqchip *chip, const struct kvm_msi *msi)
{
    if ((msi->flags & ~(uint32_t)KVM_MSI_VALID_DEVID) || !message_is_valid(chip, msi->address_hi))
        return -EINVAL;
    return deliver_msi(chip, msi->address_lo, msi->address_hi, msi->data);
}

int route_set_line(struct irqchip *chip, enum irq_source source, uint32_t gsi, bool level)
{
    const struct route_table *t = chip->routes;
    int status = -1;

    if (gsi >= t->gsis)
        return -1;
    for (uint32_t n = t->first[gsi]; n < t->first[gsi + 1]; n++) {
        const struct route *r = &t->route[n];
        int reached;
        if (r->msi)
            reached = level ? deliver_msi(chip, r->message.address_lo, r->message.address_hi,
                                          r->message.data)
                            : -1;
        else if (r->irqchip == KVM_IRQCHIP_IOAPIC)
            reached = ioapic_set_pin(chip, r->pin, source, level);
        else
            reached = pic_set_pin(chip, r->pin, source, level);
        if (reached >= 0)
            status = reached + (status < 0 ? 0 : status);
    }
    return status;
}

int irqchip_set_line(struct irqchip *chip, enum irq_source source, uint32_t gsi, bool level)
{
    int status;

    irqchip_lock(chip);
    status = route_set_line(chip, source, gsi, level);
    irqchip_unlock(chip);
    return status;
}

/* ---------------------------------------------------------------- those who wait for EOIs */

uint32_t route_gsi_of(const struct irqchip *chip, unsigned irqchip, unsigned pin)
{
    return *gsi_of(chip->routes, irqchip, pin);
}

static bool waits(const struct irqchip *chip, uint32_t gsi)
{
    return (gsi == PIT_GSI && chip->pit) || (gsi != GSI_NONE && irqfd_resamples(chip, gsi));
}

void route_update_notify(struct irqchip *chip)
{
    uint32_t pic = 0, ioapic = 0;

    if (chip->split)
        return;
    for (unsigned pin = 0; pin < PIC_PINS; pin++)
        if (waits(chip, route_gsi_of(chip, KVM_IRQCHIP_PIC_MASTER, pin)))
            pic |= 1u << pin;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        if (waits(chip, route_gsi_of(chip, KVM_IRQCHIP_IOAPIC, pin)))
            ioapic |= 1u << pin;
    chip->pic.notify = (uint16_t)pic;
    chip->ioapic.notify = ioapic;
    ioapic_update_handled(chip);
}

void route_acknowledged(struct irqchip *chip, unsigned irqchip, unsigned pin)
{
    uint32_t gsi = route_gsi_of(chip, irqchip, pin);

    if (gsi == GSI_NONE)
        return;
    irqfd_acknowledged(chip, gsi);
    if (gsi == PIT_GSI)
        pit_acknowledged(chip);
}

void route_unmasked(struct irqchip *chip, unsigned irqchip, unsigned pin)
{
    if (route_gsi_of(chip, irqchip, pin) == PIT_GSI)
        pit_unmasked(chip);
}
