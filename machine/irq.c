/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupts and notifications: the engine's interrupt controllers, GSI routes, MSIs, ioeventfds.
 */
#include "core.h"

#include <string.h>

#define ISA_IRQS    16
#define IOAPIC_PINS 24
#define CHIPS       3 /* KVM_IRQCHIP_PIC_MASTER, PIC_SLAVE, IOAPIC */

static void add_route(struct kvm_irq_routing *table, unsigned gsi, unsigned chip, unsigned pin)
{
    struct kvm_irq_routing_entry *e = &table->entries[table->nr++];

    memset(e, 0, sizeof *e);
    e->gsi = gsi;
    e->type = KVM_IRQ_ROUTING_IRQCHIP;
    e->u.irqchip.irqchip = chip;
    e->u.irqchip.pin = pin;
}

/* GSI n goes to PIC input n (below 16) and IOAPIC pin n; but the timer's, GSI 0, to pin 2, as on
 * every PC and as the MADT says. */
static bool set_routes(struct machine *m, GError **error)
{
    unsigned room = ISA_IRQS + IOAPIC_PINS;
    g_autofree struct kvm_irq_routing *table =
        g_malloc0(sizeof *table + room * sizeof table->entries[0]);

    for (unsigned i = 0; i < ISA_IRQS; i++)
        if (i != 2)
            add_route(table, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i % 8);
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        if (i != 2)
            add_route(table, i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
    long result = engine_ioctl_pointer(m->engine, m->vm, KVM_SET_GSI_ROUTING, table);
    return result >= 0 || core_error(error, m, "KVM_SET_GSI_ROUTING", result);
}

bool irq_setup(struct machine *m, GError **error)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    uint64_t identity_map = LAYOUT_IDENTITY_MAP;
    long result;

    /* VT-x's scratch pages for real mode; an engine that needs none may refuse. */
    engine_ioctl_pointer(m->engine, m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    engine_ioctl(m->engine, m->vm, KVM_SET_TSS_ADDR, LAYOUT_TSS);
    result = engine_ioctl(m->engine, m->vm, KVM_CREATE_IRQCHIP, 0);
    if (result < 0)
        return core_error(error, m, "KVM_CREATE_IRQCHIP", result);
    if (m->config->pit) {
        result = engine_ioctl_pointer(m->engine, m->vm, KVM_CREATE_PIT2, &pit);
        if (result < 0)
            return core_error(error, m, "KVM_CREATE_PIT2", result);
    }
    return set_routes(m, error);
}

/* Power-on state of the controllers outside the vCPUs. */
struct irq_state {
    struct kvm_irqchip chip[CHIPS];
    struct kvm_pit_state2 pit;
};

struct irq_state *irq_state_get(struct machine *m)
{
    struct irq_state *s = g_new0(struct irq_state, 1);

    for (unsigned i = 0; i < CHIPS; i++) {
        s->chip[i].chip_id = i;
        engine_ioctl_pointer(m->engine, m->vm, KVM_GET_IRQCHIP, &s->chip[i]);
    }
    if (m->config->pit)
        engine_ioctl_pointer(m->engine, m->vm, KVM_GET_PIT2, &s->pit);
    return s;
}

void irq_state_set(struct machine *m, const struct irq_state *s)
{
    for (unsigned gsi = 0; gsi < IOAPIC_PINS; gsi++)
        irq_set(m, gsi, false);
    for (unsigned i = 0; i < CHIPS; i++)
        engine_ioctl_pointer(m->engine, m->vm, KVM_SET_IRQCHIP, &s->chip[i]);
    if (m->config->pit)
        engine_ioctl_pointer(m->engine, m->vm, KVM_SET_PIT2, &s->pit);
}

void irq_set(struct machine *m, unsigned gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};

    engine_ioctl_pointer(m->engine, m->vm, KVM_IRQ_LINE, &line);
}

void irq_msi(struct machine *m, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};

    engine_ioctl_pointer(m->engine, m->vm, KVM_SIGNAL_MSI, &msi);
}

static int ioeventfd(struct machine *m, enum space_kind kind, uint64_t address, int eventfd,
                     unsigned flags)
{
    struct kvm_ioeventfd e = {.addr = address, .fd = eventfd, .flags = flags};

    if (kind == SPACE_PIO)
        e.flags |= KVM_IOEVENTFD_FLAG_PIO;
    return (int)engine_ioctl_pointer(m->engine, m->vm, KVM_IOEVENTFD, &e);
}

int ioeventfd_add(struct machine *m, enum space_kind kind, uint64_t address, int eventfd)
{
    return ioeventfd(m, kind, address, eventfd, 0);
}

void ioeventfd_remove(struct machine *m, enum space_kind kind, uint64_t address, int eventfd)
{
    ioeventfd(m, kind, address, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
