/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The local APIC: life, priorities, acceptance, interprocessor interrupts, state. */
#include "lapic-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- priorities */

/* Processor priority (SDM volume 3, 11.8.3.1): the higher class of TPR and the vector in service.
 */
uint32_t lapic_ppr(const struct lapic *l)
{
    uint32_t tpr = reg_get(l, APIC_TPR) & 0xff;
    int service = vector_highest(l, APIC_ISR);
    uint32_t class = service < 0 ? 0 : (uint32_t)service & 0xf0;

    return (tpr & 0xf0) >= class ? tpr : class;
}

int lapic_arbitration_priority(struct lapic *l)
{
    return lapic_software_enabled(l) ? (int)(lapic_ppr(l) >> 4) : -1;
}

bool lapic_accepts_extint(const struct lapic *l)
{
    uint32_t lvt = reg_get(l, APIC_LVT_LINT0);

    if (!lapic_enabled(l))
        return true; /* LINT0 is then the processor's INTR pin */
    return !(lvt & LVT_MASKED) && (lvt >> LVT_MODE_SHIFT & 7) == DELIVERY_EXTINT;
}

int lapic_highest_irr(struct lapic *l)
{
    if (!lapic_enabled(l))
        return -1;
    lapic_timer_poll(l);
    return vector_highest(l, APIC_IRR);
}

static int pending_vector(struct lapic *l)
{
    int vector = lapic_highest_irr(l);

    if (vector < 0 || ((uint32_t)vector & 0xf0) <= (lapic_ppr(l) & 0xf0))
        return -1;
    return vector;
}

int lapic_pending(struct lapic *l)
{
    if (atomic_load(&l->chip->pic.output) && lapic_accepts_extint(l))
        return LAPIC_EXTINT;
    return pending_vector(l);
}

/* The PIC's part of an INTA cycle, or -1 when its output has fallen in the meantime. */
static int accept_extint(struct irqchip *chip)
{
    int vector = -1;

    irqchip_lock(chip);
    if (atomic_load(&chip->pic.output))
        vector = pic_acknowledge(chip);
    irqchip_unlock(chip);
    return vector;
}

int lapic_accept(struct lapic *l)
{
    int vector = -1;

    if (atomic_load(&l->chip->pic.output) && lapic_accepts_extint(l))
        vector = accept_extint(l->chip);
    if (vector >= 0)
        return vector;
    vector = pending_vector(l);
    if (vector >= 0) {
        vector_clear(l, APIC_IRR, (unsigned)vector);
        vector_set(l, APIC_ISR, (unsigned)vector);
    }
    return vector;
}

unsigned lapic_get_cr8(const struct lapic *l)
{
    return reg_get(l, APIC_TPR) >> 4 & 0xf;
}

void lapic_set_cr8(struct lapic *l, unsigned cr8)
{
    if (lapic_get_cr8(l) != (cr8 & 0xf)) /* else bits 3:0 stay */
        reg_set(l, APIC_TPR, (cr8 & 0xf) << 4);
}

/* ---------------------------------------------------------------- acceptance */

void lapic_error(struct lapic *l, uint32_t bits)
{
    uint32_t lvt = reg_get(l, APIC_LVT_ERROR);

    atomic_fetch_or(&l->errors, bits);
    if ((lvt & 0xff) >= LAPIC_VECTOR_MIN) /* an illegal one here would only be one more error */
        lapic_raise_lvt(l, APIC_LVT_ERROR);
}

void lapic_interrupt(struct lapic *l, uint8_t vector, bool level)
{
    if (vector < LAPIC_VECTOR_MIN) {
        lapic_error(l, ESR_RECEIVE_VECTOR);
        return;
    }
    if (level != vector_test(l, APIC_TMR, vector)) {
        if (level)
            vector_set(l, APIC_TMR, vector);
        else
            vector_clear(l, APIC_TMR, vector);
    }
    vector_set(l, APIC_IRR, vector);
    l->chip->services->kick(l->vcpu);
}

bool lapic_receive(struct lapic *l, const struct apic_message *m)
{
    const struct irqchip_services *services = l->chip->services;

    switch (m->mode) {
    case DELIVERY_FIXED:
    case DELIVERY_LOWEST_PRIORITY:
        if (!lapic_software_enabled(l))
            return false;
        lapic_interrupt(l, m->vector, m->level);
        return true;
    case DELIVERY_SMI:
        services->smi(l->vcpu);
        return true;
    case DELIVERY_NMI:
        services->nmi(l->vcpu);
        return true;
    case DELIVERY_INIT:
        services->init(l->vcpu);
        return true;
    case DELIVERY_SIPI:
        services->sipi(l->vcpu, m->vector);
        return true;
    case DELIVERY_EXTINT: /* the PIC is heard through LINT0 only */
    case DELIVERY_RESERVED:
        break;
    }
    return false;
}

void lapic_raise_lvt(struct lapic *l, unsigned offset)
{
    const struct irqchip_services *services = l->chip->services;
    uint32_t lvt = reg_get(l, offset);

    if (!lapic_enabled(l) || (lvt & LVT_MASKED))
        return;
    switch ((enum delivery_mode)(lvt >> LVT_MODE_SHIFT & 7)) {
    case DELIVERY_FIXED:
        lapic_interrupt(l, lvt & 0xff, false);
        break;
    case DELIVERY_SMI:
        services->smi(l->vcpu);
        break;
    case DELIVERY_NMI:
        services->nmi(l->vcpu);
        break;
    case DELIVERY_INIT:
        services->init(l->vcpu);
        break;
    default: /* ExtINT is asked for by lapic_pending; the others are reserved */
        break;
    }
}

void lapic_pic_output(struct lapic *l)
{
    if (lapic_accepts_extint(l))
        l->chip->services->kick(l->vcpu);
    else if ((reg_get(l, APIC_LVT_LINT0) >> LVT_MODE_SHIFT & 7) == DELIVERY_FIXED)
        lapic_raise_lvt(l, APIC_LVT_LINT0);
}

/* Guests use the PIT as an NMI watchdog by way of a PIC that nobody acknowledges: its output would
 * stay high, so that the tick itself must be the edge. */
void lapic_pit_tick(struct lapic *l)
{
    if ((reg_get(l, APIC_LVT_LINT0) >> LVT_MODE_SHIFT & 7) == DELIVERY_NMI)
        lapic_raise_lvt(l, APIC_LVT_LINT0);
}

/* Whether an IOAPIC, in here or user space's, sends VECTOR and wants to hear of its EOI. */
static bool ioapic_listens(struct irqchip *chip, int vector)
{
    return atomic_load(&chip->ioapic.handled[vector >> 6]) >> (vector & 63) & 1;
}

bool lapic_eoi_is_private(struct lapic *l)
{
    int vector = lapic_enabled(l) ? vector_highest(l, APIC_ISR) : -1;
    return vector >= 0 && !ioapic_listens(l->chip, vector) && vector_highest(l, APIC_IRR) < 0;
}

void lapic_eoi(struct lapic *l)
{
    struct irqchip *chip = l->chip;
    int vector = vector_highest(l, APIC_ISR);
    bool level;

    if (vector < 0)
        return;
    vector_clear(l, APIC_ISR, (unsigned)vector);
    if (!ioapic_listens(chip, vector))
        return;
    level = vector_test(l, APIC_TMR, (unsigned)vector);
    if (level && (reg_get(l, APIC_SVR) & SVR_NO_EOI_BROADCAST))
        return; /* the guest will tell the IOAPIC itself */
    if (!chip->split)
        ioapic_eoi(chip, (uint8_t)vector, level);
    else if (level)
        chip->services->report_eoi(l->vcpu, (uint8_t)vector);
}

/* ICR written (SDM volume 3, 11.6.1). */
void lapic_send_ipi(struct lapic *l, uint32_t low, uint32_t destination)
{
    static const enum shorthand shorthands[] = {SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL,
                                                SHORTHAND_OTHERS};
    struct apic_message m = {
        .source = l,
        .destination = destination,
        .shorthand = shorthands[low >> 18 & 3],
        .mode = (enum delivery_mode)(low >> 8 & 7),
        .vector = (uint8_t)low,
        .logical = low >> 11 & 1,
    };
    bool assert = low >> 14 & 1, level = low >> 15 & 1;

    switch (m.mode) {
    case DELIVERY_LOWEST_PRIORITY:
    case DELIVERY_FIXED:
        if (m.vector < LAPIC_VECTOR_MIN) {
            lapic_error(l, ESR_SEND_VECTOR);
            return;
        }
        m.lowest = m.mode == DELIVERY_LOWEST_PRIORITY;
        break;
    case DELIVERY_INIT:
        if (level && !assert) /* INIT level de-assert: of no effect on today's processors */
            return;
        break;
    case DELIVERY_EXTINT:
    case DELIVERY_RESERVED:
        return;
    default:
        break;
    }
    apic_deliver(l->chip, &m);
}

/* ---------------------------------------------------------------- life */

static void set_version(struct lapic *l)
{
    unsigned entries = l->features.cmci ? 7 : 6;
    uint32_t version = 0x14 | (entries - 1) << 16;

    /* Directed EOI is of use only to whoever has the IOAPIC. */
    if (l->chip->split && l->features.x2apic)
        version |= VERSION_DIRECTED_EOI;
    reg_set(l, APIC_VERSION, version);
}

void lapic_reset_registers(struct lapic *l)
{
    uint32_t id = reg_get(l, APIC_ID);

    lapic_timer_stop(l);
    for (unsigned offset = 0; offset < KVM_APIC_REG_SIZE; offset += 16)
        reg_set(l, offset, 0);
    reg_set(l, APIC_ID, id);
    set_version(l);
    if (l->features.cmci)
        reg_set(l, APIC_LVT_CMCI, LVT_MASKED);
    for (unsigned offset = APIC_LVT_TIMER; offset <= APIC_LVT_ERROR; offset += 16)
        reg_set(l, offset, LVT_MASKED);
    /* As firmware would leave it for the bootstrap processor: the PIC by virtual wire. */
    if (l->bsp && !(l->chip->disabled_quirks & KVM_X86_QUIRK_LINT0_REENABLED))
        reg_set(l, APIC_LVT_LINT0, DELIVERY_EXTINT << LVT_MODE_SHIFT);
    reg_set(l, APIC_DFR, 0xffffffff);
    reg_set(l, APIC_SVR, 0xff);
    if (lapic_is_x2apic(l))
        reg_set(l, APIC_LDR, lapic_x2apic_ldr(l->id));
    atomic_store(&l->errors, 0);
}

void lapic_reset(struct lapic *l, bool init)
{
    if (!init) {
        atomic_store(&l->base, BASE_ADDRESS | BASE_ENABLE | (l->bsp ? BASE_BSP : 0));
        reg_set(l, APIC_ID, l->id << 24);
    }
    lapic_reset_registers(l);
    apic_map_update(l->chip, l);
}

struct lapic *lapic_new(struct irqchip *chip, void *vcpu, uint32_t id, bool bsp)
{
    struct lapic *l;
    int error;

    if (id >= LAPIC_IDS_MAX) {
        errno = EINVAL;
        return NULL;
    }
    l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->chip = chip;
    l->vcpu = vcpu;
    l->id = id;
    l->bsp = bsp;
    l->features = (struct lapic_features){.x2apic = true, .tsc_deadline = true, .phys_bits = 46};
    error = lapic_timer_init(l);
    if (!error) {
        atomic_store(&l->base, BASE_ADDRESS | BASE_ENABLE | (bsp ? BASE_BSP : 0));
        reg_set(l, APIC_ID, id << 24);
        lapic_reset_registers(l);
        error = apic_map_add(chip, l);
        if (!error)
            return l;
        lapic_timer_free(l);
    }
    free(l);
    errno = -error;
    return NULL;
}

void lapic_free(struct lapic *l)
{
    if (!l)
        return;
    apic_map_remove(l->chip, l); /* senders may still hold a pointer: freed with the chip */
    lapic_timer_free(l);         /* waits for the helper thread: it makes no more calls for L */
}

void lapic_set_bsp(struct lapic *l, bool bsp)
{
    l->bsp = bsp;
    lapic_reset(l, false);
}

void lapic_set_features(struct lapic *l, const struct lapic_features *features)
{
    if (features->cmci && !l->features.cmci)
        reg_set(l, APIC_LVT_CMCI, LVT_MASKED);
    l->features = *features;
    if (l->features.phys_bits > 52)
        l->features.phys_bits = 52; /* the architecture's limit */
    set_version(l);
}

void lapic_signal_cmci(struct lapic *l)
{
    lapic_raise_lvt(l, APIC_LVT_CMCI);
}

/* ---------------------------------------------------------------- state */

/* Registers that make up the state, as ranges of offsets. */
static const struct {
    uint16_t first, last;
} state_registers[] = {
    {APIC_ID, APIC_VERSION},     {APIC_TPR, APIC_PPR},   {APIC_LDR, APIC_ESR},
    {APIC_LVT_CMCI, APIC_TMCCT}, {APIC_TDCR, APIC_TDCR},
};

static void put32(struct kvm_lapic_state *state, unsigned offset, uint32_t value)
{
    memcpy(state->regs + offset, &value, sizeof(value));
}

static uint32_t get32(const struct kvm_lapic_state *state, unsigned offset)
{
    uint32_t value;
    memcpy(&value, state->regs + offset, sizeof(value));
    return value;
}

int lapic_get_state(struct lapic *l, struct kvm_lapic_state *state)
{
    lapic_timer_poll(l);
    memset(state, 0, sizeof(*state));
    for (unsigned r = 0; r < ARRAY_SIZE(state_registers); r++)
        for (unsigned o = state_registers[r].first; o <= state_registers[r].last; o += 16)
            put32(state, o, reg_get(l, o));
    put32(state, APIC_PPR, lapic_ppr(l));
    put32(state, APIC_TMCCT, lapic_timer_current(l));
    if (lapic_is_x2apic(l) && !(l->chip->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS))
        put32(state, APIC_ID, l->id << 24);
    return 0;
}

int lapic_set_state(struct lapic *l, const struct kvm_lapic_state *state)
{
    bool x2apic = lapic_is_x2apic(l);

    if (x2apic && (l->chip->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS) &&
        get32(state, APIC_ID) != l->id)
        return -EINVAL;
    lapic_timer_stop(l);
    for (unsigned r = 0; r < ARRAY_SIZE(state_registers); r++)
        for (unsigned o = state_registers[r].first; o <= state_registers[r].last; o += 16)
            reg_set(l, o, get32(state, o));
    if (x2apic) {
        reg_set(l, APIC_ID, l->id);
        reg_set(l, APIC_LDR, lapic_x2apic_ldr(l->id));
    }
    reg_set(l, APIC_TPR, get32(state, APIC_TPR) & 0xff);
    set_version(l);
    atomic_store(&l->errors, 0);
    apic_map_update(l->chip, l);
    lapic_timer_start(l, get32(state, APIC_TMCCT));
    l->chip->services->kick(l->vcpu);
    return 0;
}
