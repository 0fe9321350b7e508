/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two cascaded 8259A interrupt controllers with PIIX's ELCR (Intel 8259A data sheet; 82371SB).
 * The state is KVM's struct kvm_pic_state.  Everything here has the irqchip lock held.
 */
#include "internal.h"

#include <string.h>

#define PINS     8u /* of one chip */
#define CASCADE  2u /* the master's pin that the slave drives */
#define NO_IRQ   (-1)
#define SPURIOUS 7u

enum { MASTER, SLAVE };

/* ICW1, OCW2 and OCW3 share address 0 and are told apart by bits 4 and 3. */
#define COMMAND_ICW1 0x10
#define COMMAND_OCW3 0x08

/* What init_state means. */
enum { READY, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

static unsigned mask_of(unsigned irq)
{
    return 1u << (irq & 7);
}

/* The place in the rotation of the first pin in MASK, from the highest priority; 8 if there is
 * none. */
static unsigned priority_of(const struct kvm_pic_state *s, uint8_t mask)
{
    unsigned priority = 0;

    if (!mask)
        return PINS;
    while (!(mask & mask_of(priority + s->priority_add)))
        priority++;
    return priority;
}

/* The pin S would interrupt for now, or NO_IRQ. */
static int pending_pin(const struct pic *pic, unsigned which)
{
    const struct kvm_pic_state *s = &pic->chip[which];
    unsigned priority = priority_of(s, s->irr & ~s->imr);
    uint8_t in_service = s->isr;

    if (priority == PINS)
        return NO_IRQ;
    if (s->special_mask)
        in_service &= (uint8_t)~s->imr;
    /* The slave may interrupt again while one of its own is in service. */
    if (s->special_fully_nested_mode && which == MASTER)
        in_service &= (uint8_t)~mask_of(CASCADE);
    if (priority >= priority_of(s, in_service))
        return NO_IRQ;
    return (int)((priority + s->priority_add) & 7);
}

/* Drives one pin of one chip.  Returns -1 masked, 0 it was requested already, 1. */
static int drive(struct kvm_pic_state *s, unsigned irq, bool level)
{
    uint8_t mask = (uint8_t)mask_of(irq);
    int result = 1;

    if (s->elcr & mask) {
        if (level) {
            result = !(s->irr & mask);
            s->irr |= mask;
            s->last_irr |= mask;
        } else {
            s->irr &= (uint8_t)~mask;
            s->last_irr &= (uint8_t)~mask;
        }
    } else if (level) {
        if (!(s->last_irr & mask)) {
            result = !(s->irr & mask);
            s->irr |= mask;
        }
        s->last_irr |= mask;
    } else {
        s->last_irr &= (uint8_t)~mask;
    }
    return s->imr & mask ? -1 : result;
}

void pic_update(struct irqchip *chip)
{
    struct pic *pic = &chip->pic;
    bool output;

    if (pending_pin(pic, SLAVE) != NO_IRQ) {
        /* An edge for each request: the line falls in between. */
        drive(&pic->chip[MASTER], CASCADE, true);
        drive(&pic->chip[MASTER], CASCADE, false);
    }
    output = pending_pin(pic, MASTER) != NO_IRQ;
    if (output == atomic_load_explicit(&pic->output, memory_order_relaxed))
        return;
    atomic_store(&pic->output, output);
    if (!output)
        return;
    unsigned count = atomic_load(&chip->lapic_count);
    for (unsigned n = 0; n < count; n++) {
        struct lapic *l = atomic_load(&chip->lapic[n]);
        if (l)
            lapic_pic_output(l);
    }
}

int pic_set_pin(struct irqchip *chip, unsigned pin, enum irq_source source, bool level)
{
    struct pic *pic = &chip->pic;
    int result;

    if (level)
        pic->lines[pin] |= (uint8_t)(1u << source);
    else
        pic->lines[pin] &= (uint8_t) ~(1u << source);
    result = drive(&pic->chip[pin / PINS], pin, pic->lines[pin] != 0);
    pic_update(chip);
    return result;
}

/* A pin's service has ended. */
static void end_service(struct irqchip *chip, unsigned which, unsigned irq)
{
    unsigned pin = which * PINS + irq;

    chip->pic.chip[which].isr &= (uint8_t)~mask_of(irq);
    if (chip->pic.notify >> pin & 1)
        route_acknowledged(chip, KVM_IRQCHIP_PIC_MASTER, pin);
}

/* The second pulse of INTA: IRQ goes into service. */
static void start_service(struct irqchip *chip, unsigned which, unsigned irq)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];
    uint8_t mask = (uint8_t)mask_of(irq);

    s->isr |= mask;
    if (!(s->elcr & mask))
        s->irr &= (uint8_t)~mask; /* a level stays requested until its device lowers it */
    if (s->auto_eoi) {
        if (s->rotate_on_auto_eoi)
            s->priority_add = (irq + 1) & 7;
        end_service(chip, which, irq);
    }
}

uint8_t pic_acknowledge(struct irqchip *chip)
{
    struct pic *pic = &chip->pic;
    int irq = pending_pin(pic, MASTER);
    unsigned vector;

    if (irq == NO_IRQ) {
        vector = pic->chip[MASTER].irq_base + SPURIOUS;
    } else {
        start_service(chip, MASTER, (unsigned)irq);
        vector = pic->chip[MASTER].irq_base + (unsigned)irq;
        if (irq == CASCADE) {
            int irq2 = pending_pin(pic, SLAVE);
            if (irq2 != NO_IRQ)
                start_service(chip, SLAVE, (unsigned)irq2);
            vector = pic->chip[SLAVE].irq_base + (irq2 == NO_IRQ ? SPURIOUS : (unsigned)irq2);
        }
    }
    pic_update(chip);
    return (uint8_t)vector;
}

/* ---------------------------------------------------------------- ports */

/* ICW1 starts initialization: the edge detectors forget, lines that stay high must fall first. */
static void initialize(struct irqchip *chip, unsigned which, bool icw4)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];
    uint8_t dropped = (s->irr & ~s->elcr) | s->isr;

    s->irr &= s->elcr;
    s->isr = 0;
    s->imr = 0;
    s->priority_add = 0;
    s->special_mask = 0;
    s->read_reg_select = 0;
    s->poll = 0;
    s->init4 = icw4;
    if (!icw4) {
        s->special_fully_nested_mode = 0;
        s->auto_eoi = 0;
    }
    s->init_state = EXPECT_ICW2;
    for (unsigned irq = 0; irq < PINS; irq++)
        if (dropped & mask_of(irq))
            end_service(chip, which, irq);
}

/* OCW2: end of interrupt and rotation. */
static void write_ocw2(struct irqchip *chip, unsigned which, uint8_t value)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];
    unsigned command = value >> 5, irq = value & 7, priority;

    switch (command) {
    case 0: /* rotate in automatic EOI mode: clear, set */
    case 4:
        s->rotate_on_auto_eoi = (uint8_t)(command >> 2);
        break;
    case 1: /* non-specific EOI, without and with rotation */
    case 5:
        priority = priority_of(s, s->special_mask ? s->isr & ~s->imr : s->isr);
        if (priority == PINS)
            break;
        irq = (priority + s->priority_add) & 7;
        if (command == 5)
            s->priority_add = (irq + 1) & 7;
        end_service(chip, which, irq);
        break;
    case 3: /* specific EOI, without and with rotation */
    case 7:
        if (command == 7)
            s->priority_add = (irq + 1) & 7;
        end_service(chip, which, irq);
        break;
    case 6: /* set priority */
        s->priority_add = (irq + 1) & 7;
        break;
    default: /* no operation */
        break;
    }
}

static void write_command(struct irqchip *chip, unsigned which, uint8_t value)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];

    if (value & COMMAND_ICW1) {
        initialize(chip, which, value & 1);
    } else if (value & COMMAND_OCW3) {
        if (value & 4)
            s->poll = 1;
        if (value & 2)
            s->read_reg_select = value & 1;
        if (value & 0x40)
            s->special_mask = value >> 5 & 1;
    } else {
        write_ocw2(chip, which, value);
    }
}

static void write_data(struct irqchip *chip, unsigned which, uint8_t value)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];
    uint8_t unmasked;

    switch (s->init_state) {
    case EXPECT_ICW2:
        s->irq_base = value & 0xf8;
        s->init_state = EXPECT_ICW3;
        break;
    case EXPECT_ICW3: /* the cascade is wired, whatever is said */
        s->init_state = s->init4 ? EXPECT_ICW4 : READY;
        break;
    case EXPECT_ICW4:
        s->special_fully_nested_mode = value >> 4 & 1;
        s->auto_eoi = value >> 1 & 1;
        s->init_state = READY;
        break;
    default: /* OCW1 */
        unmasked = s->imr & ~value;
        s->imr = value;
        for (unsigned irq = 0; irq < PINS; irq++)
            if (unmasked & mask_of(irq))
                route_unmasked(chip, KVM_IRQCHIP_PIC_MASTER, which * PINS + irq);
        break;
    }
}

/* A read after the poll command acknowledges like INTA and names the pin. */
static uint8_t read_poll(struct irqchip *chip, unsigned which)
{
    int irq = pending_pin(&chip->pic, which);

    chip->pic.chip[which].poll = 0;
    if (irq == NO_IRQ)
        return 0;
    if (which == SLAVE) /* its request to the master is used up with it */
        chip->pic.chip[MASTER].irr &= (uint8_t)~mask_of(CASCADE);
    start_service(chip, which, (unsigned)irq);
    return 0x80 | (uint8_t)irq;
}

static uint8_t read_port(struct irqchip *chip, unsigned which, unsigned a0)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];

    if (s->poll)
        return read_poll(chip, which);
    if (a0)
        return s->imr;
    return s->read_reg_select ? s->isr : s->irr;
}

bool pic_port(struct irqchip *chip, uint16_t port, bool write, unsigned size, uint8_t *data)
{
    unsigned which = port == 0xa0 || port == 0xa1 || port == 0x4d1 ? SLAVE : MASTER;
    struct kvm_pic_state *s = &chip->pic.chip[which];

    switch (port) {
    case 0x20:
    case 0xa0:
    case 0x21:
    case 0xa1:
    case 0x4d0:
    case 0x4d1:
        break;
    default:
        return false;
    }
    if (size != 1) { /* the registers are bytes */
        if (!write)
            memset(data, 0, size);
        return true;
    }
    if (port >= 0x4d0) {
        if (write)
            s->elcr = data[0] & s->elcr_mask;
        else
            data[0] = s->elcr;
    } else if (!write) {
        data[0] = read_port(chip, which, port & 1);
    } else if (port & 1) {
        write_data(chip, which, data[0]);
    } else {
        write_command(chip, which, data[0]);
    }
    pic_update(chip);
    return true;
}

/* ---------------------------------------------------------------- state */

void pic_init(struct irqchip *chip)
{
    memset(&chip->pic.chip, 0, sizeof(chip->pic.chip));
    chip->pic.chip[MASTER].elcr_mask = 0xf8; /* not the timer, the keyboard and the cascade */
    chip->pic.chip[SLAVE].elcr_mask = 0xde;  /* not the clock and the coprocessor */
}

void pic_get(struct irqchip *chip, unsigned id, struct kvm_pic_state *state)
{
    *state = chip->pic.chip[id];
}

void pic_set(struct irqchip *chip, unsigned id, const struct kvm_pic_state *state)
{
    struct kvm_pic_state *s = &chip->pic.chip[id];

    *s = *state;
    s->priority_add &= 7;
    s->init_state &= 3;
}
