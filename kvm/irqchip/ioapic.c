/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The I/O APIC: 24 pins, version 0x11 (Intel 82093AA data sheet), state as KVM's struct
 * kvm_ioapic_state.  Everything here but ioapic_eoi's entry has the irqchip lock held.
 */
#include "internal.h"

#include <string.h>

#define WINDOW       0x100u /* bytes that answer */
#define OFFSET_INDEX 0x00u
#define OFFSET_DATA  0x10u

#define REGISTER_ID          0x00u
#define REGISTER_VERSION     0x01u
#define REGISTER_ARBITRATION 0x02u
#define REGISTER_TABLE       0x10u

#define IOAPIC_VERSION (0x11u | (IOAPIC_PINS - 1) << 16)
#define IOAPIC_BASE    0xfec00000ull

/* A redirection-table entry. */
#define ENTRY_DELIVERY_SHIFT 8
#define ENTRY_LOGICAL        BIT(11)
#define ENTRY_BUSY           BIT(12) /* delivery status: read-only */
#define ENTRY_REMOTE_IRR     BIT(14) /* read-only */
#define ENTRY_LEVEL          BIT(15)
#define ENTRY_MASKED         BIT(16)
#define ENTRY_WRITABLE       0xff0000000001afffull
#define ENTRY_READ_ONLY      (ENTRY_BUSY | ENTRY_REMOTE_IRR)

static __u64 *entry(struct irqchip *chip, unsigned pin)
{
    return &chip->ioapic.state.redirtbl[pin].bits;
}

/* Sends PIN's message unless it is masked or waits for its EOI.  Returns -1 then, or the number of
 * CPUs reached. */
static int service(struct irqchip *chip, unsigned pin)
{
    uint64_t e = *entry(chip, pin);
    struct apic_message m = {
        .destination = (uint32_t)(e >> 56),
        .shorthand = SHORTHAND_NONE,
        .mode = (enum delivery_mode)(e >> ENTRY_DELIVERY_SHIFT & 7),
        .vector = (uint8_t)e,
        .logical = e & ENTRY_LOGICAL,
        .level = e & ENTRY_LEVEL,
    };
    int reached;

    if ((e & ENTRY_MASKED) || (m.level && (e & ENTRY_REMOTE_IRR)))
        return -1;
    m.lowest = m.mode == DELIVERY_LOWEST_PRIORITY;
    if (!m.level)
        chip->ioapic.delivered |= 1u << pin;
    reached = apic_deliver(chip, &m);
    if (reached > 0 && m.level)
        *entry(chip, pin) |= ENTRY_REMOTE_IRR; /* an EOI meanwhile waits for the lock held here */
    return reached;
}

/* PIN's line is high.  Returns 0 when an edge is still waiting (coalesced), else as service. */
static int raise(struct irqchip *chip, unsigned pin)
{
    struct ioapic *io = &chip->ioapic;
    uint32_t mask = 1u << pin;
    bool level = *entry(chip, pin) & ENTRY_LEVEL;
    bool was_high = io->state.irr & mask;

    io->state.irr |= mask;
    if (!level) {
        io->delivered &= ~mask; /* with a saved state it is sent again: one too many does no harm */
        if (was_high)
            return 0;
    }
    return service(chip, pin);
}

int ioapic_set_pin(struct irqchip *chip, unsigned pin, enum irq_source source, bool level)
{
    struct ioapic *io = &chip->ioapic;

    if (level)
        io->lines[pin] |= (uint8_t)(1u << source);
    else
        io->lines[pin] &= (uint8_t) ~(1u << source);
    if (io->lines[pin])
        return raise(chip, pin);
    io->state.irr &= ~(1u << pin);
    return 1;
}

void ioapic_update_handled(struct irqchip *chip)
{
    uint64_t handled[4] = {0};

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t e = *entry(chip, pin);
        unsigned vector = e & 0xff;
        if ((e & (ENTRY_LEVEL | ENTRY_REMOTE_IRR)) || (chip->ioapic.notify >> pin & 1))
            handled[vector >> 6] |= 1ull << (vector & 63);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(handled); i++)
        atomic_store(&chip->ioapic.handled[i], handled[i]);
}

void ioapic_eoi(struct irqchip *chip, uint8_t vector, bool level)
{
    struct ioapic *io = &chip->ioapic;

    irqchip_lock(chip);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        if ((*entry(chip, pin) & 0xff) != vector)
            continue;
        /* First those who may lower the line now. */
        if (io->notify >> pin & 1)
            route_acknowledged(chip, KVM_IRQCHIP_IOAPIC, pin);
        if (!level || !(*entry(chip, pin) & ENTRY_REMOTE_IRR))
            continue;
        *entry(chip, pin) &= ~ENTRY_REMOTE_IRR;
        if (io->state.irr >> pin & 1)
            service(chip, pin);
    }
    irqchip_unlock(chip);
}

/* ---------------------------------------------------------------- registers */

static void write_entry(struct irqchip *chip, unsigned pin, bool high, uint32_t value)
{
    uint64_t before = *entry(chip, pin), after;

    if (high)
        after = (uint32_t)before | (uint64_t)value << 32;
    else
        after = (before & ~0xffffffffull) | value;
    after = (after & ENTRY_WRITABLE) | (before & ENTRY_READ_ONLY);
    /* Guests end a stuck level interrupt by switching the pin to edge and back. */
    if (!(after & ENTRY_LEVEL))
        after &= ~ENTRY_REMOTE_IRR;
    *entry(chip, pin) = after;
    ioapic_update_handled(chip);
    if ((before & ENTRY_MASKED) && !(after & ENTRY_MASKED))
        route_unmasked(chip, KVM_IRQCHIP_IOAPIC, pin);
    /* A level that was high all the while counts now; an edge that came while masked is lost. */
    if ((after & ENTRY_LEVEL) && (chip->ioapic.state.irr >> pin & 1))
        service(chip, pin);
}

static void write_register(struct irqchip *chip, uint32_t value)
{
    uint32_t index = chip->ioapic.state.ioregsel;

    if (index == REGISTER_ID)
        chip->ioapic.state.id = value >> 24 & 0xf;
    else if (index >= REGISTER_TABLE && index < REGISTER_TABLE + 2 * IOAPIC_PINS)
        write_entry(chip, (index - REGISTER_TABLE) / 2, index & 1, value);
}

static uint32_t read_register(struct irqchip *chip)
{
    uint32_t index = chip->ioapic.state.ioregsel;

    switch (index) {
    case REGISTER_ID:
    case REGISTER_ARBITRATION:
        return (chip->ioapic.state.id & 0xf) << 24;
    case REGISTER_VERSION:
        return IOAPIC_VERSION;
    default:
        if (index < REGISTER_TABLE || index >= REGISTER_TABLE + 2 * IOAPIC_PINS)
            return 0;
        return (uint32_t)(*entry(chip, (index - REGISTER_TABLE) / 2) >> (index & 1 ? 32 : 0));
    }
}

bool ioapic_access(struct irqchip *chip, uint64_t gpa, bool write, unsigned size, uint8_t *data)
{
    struct kvm_ioapic_state *s = &chip->ioapic.state;
    uint64_t offset = gpa - s->base_address;
    uint32_t value = 0;
    unsigned used = size < sizeof(value) ? size : sizeof(value);

    if (offset >= WINDOW)
        return false;
    if (write) {
        memcpy(&value, data, used);
        if (offset == OFFSET_INDEX)
            s->ioregsel = value & 0xff;
        else if (offset == OFFSET_DATA)
            write_register(chip, value);
        return true;
    }
    if (offset == OFFSET_INDEX)
        value = s->ioregsel;
    else if (offset == OFFSET_DATA)
        value = read_register(chip);
    memset(data, 0, size);
    memcpy(data, &value, used);
    return true;
}

/* ---------------------------------------------------------------- state */

void ioapic_init(struct irqchip *chip)
{
    memset(&chip->ioapic.state, 0, sizeof(chip->ioapic.state));
    chip->ioapic.state.base_address = IOAPIC_BASE;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        *entry(chip, pin) = ENTRY_MASKED;
    ioapic_update_handled(chip);
}

void ioapic_get(struct irqchip *chip, struct kvm_ioapic_state *state)
{
    *state = chip->ioapic.state;
    state->irr &= ~chip->ioapic.delivered; /* who sets this state must not send those edges again */
}

void ioapic_set(struct irqchip *chip, const struct kvm_ioapic_state *state)
{
    uint32_t pending = state->irr & (BIT(IOAPIC_PINS) - 1);

    chip->ioapic.state = *state;
    chip->ioapic.state.ioregsel &= 0xff;
    chip->ioapic.state.irr = 0;
    chip->ioapic.delivered = 0;
    ioapic_update_handled(chip);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        if (pending >> pin & 1)
            raise(chip, pin);
}
