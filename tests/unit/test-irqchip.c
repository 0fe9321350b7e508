/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The interrupt controllers, driven without a CPU: the fixture, and main. */
#include "irqchip-fixture.h"

#include <string.h>
#include <time.h>

#define WAIT_US    500
#define WAIT_TURNS 40000 /* 20 s: only a lost interrupt takes so long */

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void on_kick(void *vcpu)
{
    ((struct cpu *)vcpu)->kicks++;
}
static void on_nmi(void *vcpu)
{
    ((struct cpu *)vcpu)->nmis++;
}
static void on_smi(void *vcpu)
{
    ((struct cpu *)vcpu)->smis++;
}
static void on_init(void *vcpu)
{
    ((struct cpu *)vcpu)->inits++;
}
static void on_sipi(void *vcpu, uint8_t vector)
{
    struct cpu *c = vcpu;
    c->sipi_vector = vector;
    c->sipis++;
}
static uint64_t on_tsc(void *vcpu)
{
    return now_ns() + (uint64_t)((struct cpu *)vcpu)->tsc_offset;
}
static uint32_t on_tsc_khz(void *vcpu)
{
    (void)vcpu;
    return 1000000;
}
static void on_eoi(void *vcpu, uint8_t vector)
{
    struct cpu *c = vcpu;
    c->eoi_vector = vector;
    c->eois++;
}

static const struct irqchip_services services = {
    .kick = on_kick,
    .nmi = on_nmi,
    .smi = on_smi,
    .init = on_init,
    .sipi = on_sipi,
    .tsc = on_tsc,
    .tsc_khz = on_tsc_khz,
    .report_eoi = on_eoi,
};

static void init(struct board *b, unsigned cpus, bool split, unsigned pins)
{
    memset(b, 0, sizeof(*b));
    b->chip = irqchip_create(&services, split, pins);
    g_assert_nonnull(b->chip);
    b->cpus = cpus;
    for (unsigned i = 0; i < cpus; i++) {
        b->cpu[i].lapic = lapic_new(b->chip, &b->cpu[i], i, i == 0);
        g_assert_nonnull(b->cpu[i].lapic);
    }
}

void board_init(struct board *b, unsigned cpus)
{
    init(b, cpus, false, 0);
}

void board_init_split(struct board *b, unsigned cpus, unsigned pins)
{
    init(b, cpus, true, pins);
}

void board_free(struct board *b)
{
    for (unsigned i = 0; i < b->cpus; i++)
        lapic_free(b->cpu[i].lapic);
    irqchip_free(b->chip);
}

void port_out(struct board *b, uint16_t port, uint8_t value)
{
    g_assert_true(irqchip_pio(b->chip, port, true, 1, &value));
}

uint8_t port_in(struct board *b, uint16_t port)
{
    uint8_t value = 0xaa;
    g_assert_true(irqchip_pio(b->chip, port, false, 1, &value));
    return value;
}

uint32_t apic_read(struct board *b, unsigned cpu, unsigned offset)
{
    uint32_t value = 0xaaaaaaaa;
    g_assert_true(
        irqchip_mmio(b->chip, b->cpu[cpu].lapic, APIC_PAGE + offset, false, 4, (uint8_t *)&value));
    return value;
}

void apic_write(struct board *b, unsigned cpu, unsigned offset, uint32_t value)
{
    g_assert_true(
        irqchip_mmio(b->chip, b->cpu[cpu].lapic, APIC_PAGE + offset, true, 4, (uint8_t *)&value));
}

void apic_enable(struct board *b, unsigned cpu)
{
    apic_write(b, cpu, R_SVR, 0x1ff);
    apic_write(b, cpu, R_LINT0, 0x10000);
}

void apic_enter_x2apic(struct board *b, unsigned cpu)
{
    uint64_t base = lapic_get_base(b->cpu[cpu].lapic);
    g_assert_cmpint(lapic_set_msr(b->cpu[cpu].lapic, 0x1b, base | 0x400, false), ==, 0);
}

uint32_t ioapic_read(struct board *b, unsigned reg)
{
    uint32_t value = reg;
    g_assert_true(irqchip_mmio(b->chip, NULL, IOAPIC_PAGE, true, 4, (uint8_t *)&value));
    g_assert_true(irqchip_mmio(b->chip, NULL, IOAPIC_PAGE + 0x10, false, 4, (uint8_t *)&value));
    return value;
}

void ioapic_write(struct board *b, unsigned reg, uint32_t value)
{
    g_assert_true(irqchip_mmio(b->chip, NULL, IOAPIC_PAGE, true, 4, (uint8_t *)&reg));
    g_assert_true(irqchip_mmio(b->chip, NULL, IOAPIC_PAGE + 0x10, true, 4, (uint8_t *)&value));
}

void ioapic_set_entry(struct board *b, unsigned pin, uint64_t entry)
{
    ioapic_write(b, 0x11 + 2 * pin, (uint32_t)(entry >> 32));
    ioapic_write(b, 0x10 + 2 * pin, (uint32_t)entry);
}

uint64_t ioapic_entry(struct board *b, unsigned pin)
{
    return ioapic_read(b, 0x10 + 2 * pin) | (uint64_t)ioapic_read(b, 0x11 + 2 * pin) << 32;
}

bool wait_pending(struct board *b, unsigned cpu, int vector)
{
    for (unsigned turn = 0; turn < WAIT_TURNS; turn++) {
        if (lapic_pending(b->cpu[cpu].lapic) == vector)
            return true;
        g_usleep(WAIT_US);
    }
    return false;
}

int serve(struct board *b, unsigned cpu)
{
    int vector = lapic_accept(b->cpu[cpu].lapic);
    if (vector >= 0)
        apic_write(b, cpu, R_EOI, 0);
    return vector;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_chip_tests();
    add_lapic_tests();
    add_event_tests();
    add_kvm_tests();
    return g_test_run();
}
