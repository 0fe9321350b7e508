/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The local APIC. */
#include "irqchip-fixture.h"

#include <errno.h>
#include <string.h>

static int msi(struct board *b, uint32_t destination, uint32_t data)
{
    struct kvm_msi m = {.address_lo = 0xfee00000 | destination << 12, .data = data};
    return irqchip_signal_msi(b->chip, &m);
}

static int set_msr(struct board *b, unsigned cpu, uint32_t index, uint64_t value)
{
    return lapic_set_msr(b->cpu[cpu].lapic, index, value, false);
}

static uint64_t get_msr(struct board *b, unsigned cpu, uint32_t index)
{
    uint64_t value = 0;
    g_assert_cmpint(lapic_get_msr(b->cpu[cpu].lapic, index, &value, false), ==, 0);
    return value;
}

static void test_registers(void)
{
    struct board b;
    uint8_t bytes[8];

    board_init(&b, 2);
    g_assert_cmphex(apic_read(&b, 1, R_ID), ==, 0x01000000);
    g_assert_cmphex(apic_read(&b, 1, R_LVR), ==, 0x00050014);
    g_assert_cmphex(apic_read(&b, 1, R_DFR), ==, 0xffffffff);
    g_assert_cmphex(apic_read(&b, 1, R_SVR), ==, 0xff);
    g_assert_cmphex(apic_read(&b, 0, R_LINT0), ==, 0x700);
    g_assert_cmphex(apic_read(&b, 1, R_LINT0), ==, 0x10000);
    /* While disabled by software, LVT entries stay masked. */
    apic_write(&b, 1, R_LVTT, 0x40);
    g_assert_cmphex(apic_read(&b, 1, R_LVTT), ==, 0x10040);
    apic_write(&b, 1, R_SVR, 0xffffffff);
    g_assert_cmphex(apic_read(&b, 1, R_SVR), ==, 0x3ff);
    apic_write(&b, 1, R_LVTT, 0xffffffff);
    g_assert_cmphex(apic_read(&b, 1, R_LVTT), ==, 0x700ff);
    apic_write(&b, 1, R_LINT1, 0xffffffff);
    g_assert_cmphex(apic_read(&b, 1, R_LINT1), ==, 0x1a7ff);
    apic_write(&b, 1, R_LINT1, 0);
    apic_write(&b, 1, R_LDR, 0xffffffff);
    g_assert_cmphex(apic_read(&b, 1, R_LDR), ==, 0xff000000);
    apic_write(&b, 1, R_DFR, 0);
    g_assert_cmphex(apic_read(&b, 1, R_DFR), ==, 0x0fffffff);
    apic_write(&b, 1, R_TDCR, 0xffffffff);
    g_assert_cmphex(apic_read(&b, 1, R_TDCR), ==, 0xb);
    apic_write(&b, 1, R_SVR, 0x2ff);
    g_assert_cmphex(apic_read(&b, 1, R_LINT1), ==, 0x10000);
    /* Byte reads see their part; what is not a 32-bit write is dropped. */
    g_assert_true(irqchip_mmio(b.chip, b.cpu[1].lapic, APIC_PAGE + R_LVR + 2, false, 1, bytes));
    g_assert_cmphex(bytes[0], ==, 0x05);
    g_assert_true(irqchip_mmio(b.chip, b.cpu[1].lapic, APIC_PAGE + R_LVR + 1, false, 8, bytes));
    g_assert_true(irqchip_mmio(b.chip, b.cpu[1].lapic, APIC_PAGE + R_TPR, true, 1, bytes));
    g_assert_cmphex(apic_read(&b, 1, R_TPR), ==, 0);
    /* No such register. */
    apic_read(&b, 1, 0x40);
    apic_write(&b, 1, R_ESR, 0);
    g_assert_cmphex(apic_read(&b, 1, R_ESR), ==, 0x80);
    apic_write(&b, 1, R_ESR, 0);
    g_assert_cmphex(apic_read(&b, 1, R_ESR), ==, 0);
    for (unsigned offset = 0; offset < 4096; offset++) {
        g_assert_true(irqchip_mmio(b.chip, b.cpu[1].lapic, APIC_PAGE + offset, false, 8, bytes));
        g_assert_true(irqchip_mmio(b.chip, b.cpu[1].lapic, APIC_PAGE + offset, true, 4, bytes));
    }
    board_free(&b);
}

static void test_priorities(void)
{
    struct board b;

    board_init(&b, 1);
    apic_enable(&b, 0);
    g_assert_cmpint(msi(&b, 0, 0x31), ==, 1);
    g_assert_cmpint(msi(&b, 0, 0x45), ==, 1);
    g_assert_cmpint(msi(&b, 0, 0x42), ==, 1);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x45);
    g_assert_cmphex(apic_read(&b, 0, R_PPR), ==, 0x40);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1); /* 0x42 is of the same class */
    g_assert_cmphex(lapic_highest_irr(b.cpu[0].lapic), ==, 0x42);
    msi(&b, 0, 0xf0);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0xf0);
    g_assert_cmphex(apic_read(&b, 0, R_ISR + 0x70), ==, 0x10000);
    apic_write(&b, 0, R_EOI, 0);
    apic_write(&b, 0, R_EOI, 0);
    g_assert_cmphex(lapic_pending(b.cpu[0].lapic), ==, 0x42);
    apic_write(&b, 0, R_TPR, 0x45);
    g_assert_cmphex(apic_read(&b, 0, R_PPR), ==, 0x45);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    g_assert_cmpuint(lapic_get_cr8(b.cpu[0].lapic), ==, 4);
    lapic_set_cr8(b.cpu[0].lapic, 4);
    g_assert_cmphex(apic_read(&b, 0, R_TPR), ==, 0x45);
    lapic_set_cr8(b.cpu[0].lapic, 3);
    g_assert_cmphex(apic_read(&b, 0, R_TPR), ==, 0x30);
    g_assert_cmphex(serve(&b, 0), ==, 0x42);
    g_assert_cmpint(serve(&b, 0), ==, -1);
    apic_write(&b, 0, R_TPR, 0);
    g_assert_cmphex(serve(&b, 0), ==, 0x31);
    apic_write(&b, 0, R_EOI, 0); /* with nothing in service: of no effect */
    board_free(&b);
}

static void test_errors(void)
{
    struct board b;

    board_init(&b, 1);
    apic_enable(&b, 0);
    apic_write(&b, 0, R_LVTERR, 0xfe);
    g_assert_cmpint(msi(&b, 0, 0x0f), ==, 1); /* received illegal vector */
    g_assert_cmphex(serve(&b, 0), ==, 0xfe);
    apic_write(&b, 0, R_ICR, 0x40000 | 0x05); /* sent illegal vector, to itself */
    g_assert_cmphex(apic_read(&b, 0, R_ESR), ==, 0);
    apic_write(&b, 0, R_ESR, 0);
    g_assert_cmphex(apic_read(&b, 0, R_ESR), ==, 0x60);
    g_assert_cmphex(serve(&b, 0), ==, 0xfe);
    g_assert_cmphex(apic_read(&b, 0, R_IRR), ==, 0);
    apic_write(&b, 0, R_LVTERR, 0x03); /* itself illegal: recorded, and no more */
    msi(&b, 0, 0x0f);
    apic_write(&b, 0, R_ESR, 0);
    g_assert_cmphex(apic_read(&b, 0, R_ESR), ==, 0x40);
    g_assert_cmpint(serve(&b, 0), ==, -1);
    board_free(&b);
}

/* Which CPUs have VECTOR requested, a bit each; takes the requests away. */
static unsigned receivers(struct board *b, int vector)
{
    unsigned mask = 0;

    for (unsigned i = 0; i < b->cpus; i++) {
        int got = serve(b, i);
        if (got < 0)
            continue;
        g_assert_cmphex(got, ==, vector);
        mask |= 1u << i;
    }
    return mask;
}

static unsigned ipi(struct board *b, unsigned from, uint32_t destination, uint32_t low)
{
    apic_write(b, from, R_ICR2, destination << 24);
    apic_write(b, from, R_ICR, low);
    return receivers(b, (int)(low & 0xff));
}

static void test_destinations(void)
{
    const uint32_t logical = 0x800, self = 1u << 18, all = 2u << 18, others = 3u << 18;
    struct board b;

    board_init(&b, 8);
    for (unsigned i = 0; i < 8; i++) {
        apic_enable(&b, i);
        apic_write(&b, i, R_LDR, 1u << (24 + i));
    }
    g_assert_cmphex(ipi(&b, 2, 5, 0x50), ==, 0x20);
    g_assert_cmphex(ipi(&b, 2, 9, 0x50), ==, 0);
    g_assert_cmphex(ipi(&b, 2, 0xff, 0x50), ==, 0xff);
    g_assert_cmphex(ipi(&b, 2, 0, 0x50 | self), ==, 0x04);
    g_assert_cmphex(ipi(&b, 2, 0, 0x50 | all), ==, 0xff);
    g_assert_cmphex(ipi(&b, 2, 0, 0x50 | others), ==, 0xfb);
    g_assert_cmphex(ipi(&b, 2, 0xa5, 0x50 | logical), ==, 0xa5);
    g_assert_cmphex(ipi(&b, 2, 0, 0x50 | logical), ==, 0);
    /* Lowest priority: one of them, the least busy. */
    for (unsigned i = 0; i < 8; i++)
        apic_write(&b, i, R_TPR, i == 5 ? 0x10 : 0x20);
    g_assert_cmphex(ipi(&b, 0, 0xff, 0x150 | logical), ==, 0x20);
    g_assert_cmphex(ipi(&b, 0, 0x0f, 0x150 | logical) & 0x0f, !=, 0);
    apic_write(&b, 5, R_TPR, 0x20);
    unsigned seen = 0;
    for (unsigned n = 0; n < 8; n++) {
        unsigned one = ipi(&b, 0, 0xff, 0x150 | logical);
        g_assert_cmpint(__builtin_popcount(one), ==, 1);
        seen |= one;
    }
    g_assert_cmphex(seen, ==, 0xff); /* in turn among equals */
    /* Cluster: four bits of cluster, four of members. */
    for (unsigned i = 0; i < 8; i++) {
        apic_write(&b, i, R_DFR, 0x0fffffff);
        apic_write(&b, i, R_LDR, (i / 4) << 28 | 1u << (24 + i % 4));
    }
    g_assert_cmphex(ipi(&b, 2, 0x1a, 0x50 | logical), ==, 0xa0);
    g_assert_cmphex(ipi(&b, 2, 0x05, 0x50 | logical), ==, 0x05);
    g_assert_cmphex(ipi(&b, 2, 0xff, 0x50 | logical), ==, 0xff);
    /* Two with one id both receive; disabled by software, neither does. */
    apic_write(&b, 3, R_ID, 0x05000000);
    g_assert_cmphex(ipi(&b, 2, 5, 0x50), ==, 0x28);
    apic_write(&b, 3, R_ID, 0x03000000);
    g_assert_cmphex(ipi(&b, 2, 5, 0x50), ==, 0x20);
    g_assert_cmphex(ipi(&b, 2, 3, 0x50), ==, 0x08);
    apic_write(&b, 3, R_SVR, 0xff);
    g_assert_cmphex(ipi(&b, 2, 3, 0x50), ==, 0);
    g_assert_cmpint(msi(&b, 3, 0x50), ==, 0);
    g_assert_cmpint(msi(&b, 0x77, 0x50), ==, 0);
    board_free(&b);
}

static void test_events(void)
{
    struct board b;

    board_init(&b, 3);
    apic_enable(&b, 0);
    apic_write(&b, 0, R_ICR2, 1u << 24);
    apic_write(&b, 0, R_ICR, 0x4500); /* INIT, assert */
    apic_write(&b, 0, R_ICR, 0x8500); /* INIT level de-assert: nothing */
    apic_write(&b, 0, R_ICR, 0x469a); /* start-up */
    apic_write(&b, 0, R_ICR, 0x4400); /* NMI */
    apic_write(&b, 0, R_ICR, 0x4200); /* SMI */
    g_assert_cmpuint(b.cpu[1].inits, ==, 1);
    g_assert_cmpuint(b.cpu[1].sipis, ==, 1);
    g_assert_cmphex(b.cpu[1].sipi_vector, ==, 0x9a);
    g_assert_cmpuint(b.cpu[1].nmis, ==, 1);
    g_assert_cmpuint(b.cpu[1].smis, ==, 1);
    g_assert_cmpuint(b.cpu[0].nmis + b.cpu[2].nmis + b.cpu[2].inits, ==, 0);
    apic_write(&b, 0, R_ICR, 0xc4400); /* NMI to all others */
    g_assert_cmpuint(b.cpu[1].nmis, ==, 2);
    g_assert_cmpuint(b.cpu[2].nmis, ==, 1);
    g_assert_cmpint(msi(&b, 0, 0x400), ==, 1);
    g_assert_cmpuint(b.cpu[0].nmis, ==, 1);
    board_free(&b);
}

static void test_x2apic(void)
{
    struct board b;
    uint64_t value;

    board_init(&b, 4);
    for (unsigned i = 0; i < 4; i++) {
        apic_enable(&b, i);
        g_assert_cmpint(set_msr(&b, i, 0x802, 0), ==, -EINVAL); /* not yet in x2APIC mode */
        apic_enter_x2apic(&b, i);
    }
    g_assert_cmphex(apic_read(&b, 1, R_ID), ==, 0xffffffff); /* the page is a hole now */
    g_assert_cmphex(get_msr(&b, 3, 0x802), ==, 3);
    g_assert_cmphex(get_msr(&b, 3, 0x80d), ==, 8);
    g_assert_cmpint(set_msr(&b, 3, 0x802, 9), ==, -EINVAL); /* read-only */
    g_assert_cmpint(set_msr(&b, 3, 0x80d, 9), ==, -EINVAL);
    g_assert_cmpint(lapic_get_msr(b.cpu[3].lapic, 0x80e, &value, false), ==, -EINVAL); /* DFR */
    g_assert_cmpint(lapic_get_msr(b.cpu[3].lapic, 0x80b, &value, false), ==, -EINVAL); /* EOI */
    g_assert_cmpint(lapic_get_msr(b.cpu[3].lapic, 0x840, &value, false), ==, -EINVAL);
    g_assert_cmpint(lapic_get_msr(b.cpu[3].lapic, 0x831, &value, false), ==, -EINVAL);
    g_assert_cmpint(lapic_get_msr(b.cpu[3].lapic, 0x10, &value, false), ==, -ENOENT);
    g_assert_cmpint(set_msr(&b, 0, 0x80b, 1), ==, -EINVAL);
    g_assert_cmpint(set_msr(&b, 0, 0x828, 1), ==, -EINVAL);
    g_assert_cmpint(set_msr(&b, 0, 0x808, 0x100), ==, -EINVAL);
    g_assert_cmpint(set_msr(&b, 0, 0x838, 1ull << 32), ==, -EINVAL);
    g_assert_cmpint(set_msr(&b, 0, 0x830, 1u << 13), ==, -EINVAL);
    /* Interprocessor interrupts by one write. */
    g_assert_cmpint(set_msr(&b, 0, 0x830, 2ull << 32 | 0x60), ==, 0);
    g_assert_cmphex(lapic_accept(b.cpu[2].lapic), ==, 0x60);
    g_assert_cmpint(set_msr(&b, 2, 0x80b, 0), ==, 0);
    g_assert_cmphex(get_msr(&b, 0, 0x830), ==, 2ull << 32 | 0x60);
    g_assert_cmpint(set_msr(&b, 0, 0x830, 0x0000000aull << 32 | 0x861), ==, 0); /* logical 1, 3 */
    g_assert_cmphex(lapic_accept(b.cpu[1].lapic), ==, 0x61);
    g_assert_cmphex(lapic_accept(b.cpu[3].lapic), ==, 0x61);
    g_assert_cmpint(lapic_accept(b.cpu[0].lapic), ==, -1);
    g_assert_cmpint(lapic_accept(b.cpu[2].lapic), ==, -1);
    g_assert_cmpint(set_msr(&b, 0, 0x830, 0x0001000aull << 32 | 0x862), ==, 0); /* cluster 1 */
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpint(lapic_highest_irr(b.cpu[i].lapic), ==, -1);
    g_assert_cmpint(set_msr(&b, 0, 0x830, 0xffffffffull << 32 | 0x91), ==, 0);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpint(lapic_accept(b.cpu[i].lapic), ==, 0x91);
    g_assert_cmpint(set_msr(&b, 3, 0x83f, 0xa1), ==, 0); /* self */
    g_assert_cmphex(lapic_accept(b.cpu[3].lapic), ==, 0xa1);
    /* An 8-bit broadcast reaches x2APIC CPUs unless user space knows better. */
    g_assert_cmpint(msi(&b, 0xff, 0xb1), ==, 4);
    g_assert_cmpint(irqchip_set_x2apic_api(b.chip, 4), ==, -EINVAL);
    g_assert_cmpint(irqchip_set_x2apic_api(b.chip, KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK), ==, 0);
    g_assert_cmpint(msi(&b, 0xff, 0xb1), ==, 0);
    board_free(&b);
}

static void test_base(void)
{
    const uint64_t base = 0xfee00000;
    struct lapic_features plain = {.phys_bits = 36};
    struct board b;
    uint32_t value = 0;

    board_init(&b, 2);
    g_assert_cmphex(get_msr(&b, 0, 0x1b), ==, base | 0x900);
    g_assert_cmphex(get_msr(&b, 1, 0x1b), ==, base | 0x800);
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 0x400), ==, -EINVAL); /* no such mode */
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 0x801), ==, -EINVAL); /* reserved */
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 1ull << 46), ==, -EINVAL);
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 0xc00), ==, 0);
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 0x800), ==, -EINVAL); /* not back to xAPIC */
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base), ==, 0);
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 0xc00), ==, -EINVAL); /* not from disabled */
    g_assert_cmpint(msi(&b, 1, 0x50), ==, 0);
    g_assert_true(lapic_accepts_extint(b.cpu[1].lapic));
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 0x800), ==, 0);
    g_assert_cmphex(apic_read(&b, 1, R_ID), ==, 0x01000000);
    g_assert_cmphex(apic_read(&b, 1, R_SVR), ==, 0xff); /* as after reset */
    /* Moved elsewhere. */
    g_assert_cmpint(set_msr(&b, 1, 0x1b, 0x12345000 | 0x800), ==, 0);
    g_assert_false(irqchip_mmio(b.chip, b.cpu[1].lapic, base + R_ID, false, 4, (uint8_t *)&value));
    g_assert_true(
        irqchip_mmio(b.chip, b.cpu[1].lapic, 0x12345000 + R_ID, false, 4, (uint8_t *)&value));
    g_assert_cmphex(value, ==, 0x01000000);
    lapic_set_features(b.cpu[1].lapic, &plain);
    g_assert_cmpint(set_msr(&b, 1, 0x1b, base | 0xc00), ==, -EINVAL);
    /* INIT keeps the base, RESET does not. */
    lapic_reset(b.cpu[1].lapic, true);
    g_assert_cmphex(get_msr(&b, 1, 0x1b), ==, 0x12345800);
    lapic_reset(b.cpu[1].lapic, false);
    g_assert_cmphex(get_msr(&b, 1, 0x1b), ==, base | 0x800);
    errno = 0;
    g_assert_null(lapic_new(b.chip, NULL, 1, false));
    g_assert_cmpint(errno, ==, EEXIST);
    g_assert_null(lapic_new(b.chip, NULL, 4096, false));
    board_free(&b);
}

static void test_timer(void)
{
    struct board b;
    uint64_t start;

    board_init(&b, 1);
    apic_enable(&b, 0);
    apic_write(&b, 0, R_TDCR, 0xb); /* by 1: 1 ns a tick */
    apic_write(&b, 0, R_LVTT, 0x40);
    start = now_ns();
    apic_write(&b, 0, R_TMICT, 5000000);
    g_assert_cmpuint(apic_read(&b, 0, R_TMCCT), <=, 5000000);
    g_assert_true(wait_pending(&b, 0, 0x40));
    g_assert_cmpuint(now_ns() - start, >=, 5000000);
    g_assert_cmphex(serve(&b, 0), ==, 0x40);
    g_assert_cmpuint(apic_read(&b, 0, R_TMCCT), ==, 0);
    g_assert_cmpuint(apic_read(&b, 0, R_TMICT), ==, 5000000);
    /* Divided by 128 it takes its time, and the count survives a change of the divisor. */
    apic_write(&b, 0, R_TDCR, 0xa);
    apic_write(&b, 0, R_TMICT, 4000000000u);
    g_assert_cmpuint(apic_read(&b, 0, R_TMCCT), >, 3000000000u);
    apic_write(&b, 0, R_TDCR, 0x9);
    g_assert_cmpuint(apic_read(&b, 0, R_TMCCT), >, 3000000000u);
    apic_write(&b, 0, R_TMICT, 0);
    g_assert_cmpuint(apic_read(&b, 0, R_TMCCT), ==, 0);
    /* Periodic. */
    apic_write(&b, 0, R_TDCR, 0xb);
    apic_write(&b, 0, R_LVTT, 0x20041);
    start = now_ns();
    apic_write(&b, 0, R_TMICT, 1000000);
    for (unsigned i = 0; i < 5; i++) {
        g_assert_true(wait_pending(&b, 0, 0x41));
        g_assert_cmphex(serve(&b, 0), ==, 0x41);
    }
    g_assert_cmpuint(now_ns() - start, >=, 5000000);
    /* A stopped timer is silent: what fired before the stop is not delivered after it. */
    g_usleep(3000);
    apic_write(&b, 0, R_TMICT, 0);
    g_assert_cmpint(serve(&b, 0), ==, -1);
    g_usleep(3000);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    /* The tick can be made longer. */
    g_assert_cmpint(irqchip_set_bus_cycle_ns(b.chip, 0), ==, -EINVAL);
    g_assert_cmpint(irqchip_set_bus_cycle_ns(b.chip, 1ull << 26), ==, -EINVAL);
    g_assert_cmpint(irqchip_set_bus_cycle_ns(b.chip, 1000000), ==, 0);
    apic_write(&b, 0, R_LVTT, 0x42);
    start = now_ns();
    apic_write(&b, 0, R_TMICT, 3);
    g_assert_true(wait_pending(&b, 0, 0x42));
    g_assert_cmpuint(now_ns() - start, >=, 3000000);
    board_free(&b);
}

static void test_deadline(void)
{
    struct board b;
    uint64_t deadline;

    board_init(&b, 1);
    apic_enable(&b, 0);
    g_assert_cmpint(set_msr(&b, 0, 0x6e0, 1), ==, 0); /* not in this mode: ignored */
    g_assert_cmphex(get_msr(&b, 0, 0x6e0), ==, 0);
    apic_write(&b, 0, R_LVTT, 0x40043);
    apic_write(&b, 0, R_TMICT, 77); /* ignored in this mode */
    g_assert_cmpuint(apic_read(&b, 0, R_TMICT), ==, 0);
    deadline = now_ns() + 5000000;
    g_assert_cmpint(set_msr(&b, 0, 0x6e0, deadline), ==, 0);
    g_assert_true(wait_pending(&b, 0, 0x43));
    g_assert_cmpuint(now_ns(), >=, deadline);
    g_assert_cmphex(get_msr(&b, 0, 0x6e0), ==, 0);
    g_assert_cmphex(serve(&b, 0), ==, 0x43);
    g_assert_cmpint(set_msr(&b, 0, 0x6e0, 5), ==, 0); /* past: at once */
    g_assert_cmphex(serve(&b, 0), ==, 0x43);
    /* Disarmed, and far away. */
    g_assert_cmpint(set_msr(&b, 0, 0x6e0, now_ns() + 2000000), ==, 0);
    g_assert_cmpint(set_msr(&b, 0, 0x6e0, 0), ==, 0);
    g_usleep(4000);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    g_assert_cmpint(set_msr(&b, 0, 0x6e0, UINT64_MAX), ==, 0);
    g_assert_cmphex(get_msr(&b, 0, 0x6e0), ==, UINT64_MAX);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    /* The guest's TSC jumps over the deadline. */
    deadline = now_ns() + 3600000000000ull;
    g_assert_cmpint(set_msr(&b, 0, 0x6e0, deadline), ==, 0);
    b.cpu[0].tsc_offset = 3700000000000ll;
    lapic_tsc_changed(b.cpu[0].lapic);
    g_assert_cmphex(serve(&b, 0), ==, 0x43);
    board_free(&b);
}

static uint32_t state_get(const struct kvm_lapic_state *s, unsigned offset)
{
    uint32_t value;
    memcpy(&value, s->regs + offset, 4);
    return value;
}

static void test_state(void)
{
    struct kvm_lapic_state s, again;
    struct board b;

    board_init(&b, 4);
    apic_enable(&b, 2);
    apic_write(&b, 2, R_LDR, 0x04000000);
    apic_write(&b, 2, R_TDCR, 0xa); /* by 128 */
    apic_write(&b, 2, R_LVTT, 0x20051);
    apic_write(&b, 2, R_TMICT, 0xffffffff);
    msi(&b, 2, 0x31);
    msi(&b, 2, 0x8000 | 0x71);
    lapic_accept(b.cpu[2].lapic);
    g_assert_cmpint(lapic_get_state(b.cpu[2].lapic, &s), ==, 0);
    g_assert_cmphex(state_get(&s, R_ID), ==, 0x02000000);
    g_assert_cmphex(state_get(&s, R_ISR + 0x30), ==, 0x20000);
    g_assert_cmphex(state_get(&s, R_TMR + 0x30), ==, 0x20000);
    g_assert_cmphex(state_get(&s, R_IRR + 0x10), ==, 0x20000);
    g_assert_cmphex(state_get(&s, R_PPR), ==, 0x70);
    g_assert_cmphex(state_get(&s, R_TMCCT), >, 0xf0000000);
    lapic_reset(b.cpu[2].lapic, false);
    g_assert_cmpint(lapic_set_state(b.cpu[2].lapic, &s), ==, 0);
    g_assert_cmphex(apic_read(&b, 2, R_TMCCT), >, 0xe0000000);
    apic_write(&b, 2, R_EOI, 0);
    g_assert_cmphex(serve(&b, 2), ==, 0x31);
    /* In x2APIC mode: the id in bits 31:24, or whole if asked for; LDR is derived. */
    apic_enable(&b, 3);
    apic_enter_x2apic(&b, 3);
    g_assert_cmpint(set_msr(&b, 3, 0x830, 0x12345678ull << 32 | 0x40), ==, 0);
    g_assert_cmpint(lapic_get_state(b.cpu[3].lapic, &s), ==, 0);
    g_assert_cmphex(state_get(&s, R_ID), ==, 0x03000000);
    g_assert_cmphex(state_get(&s, R_LDR), ==, 8);
    g_assert_cmphex(state_get(&s, R_ICR), ==, 0x40);
    g_assert_cmphex(state_get(&s, R_ICR2), ==, 0x12345678);
    g_assert_cmpint(irqchip_set_x2apic_api(b.chip, KVM_X2APIC_API_USE_32BIT_IDS), ==, 0);
    g_assert_cmpint(lapic_set_state(b.cpu[3].lapic, &s), ==, -EINVAL);
    g_assert_cmpint(lapic_get_state(b.cpu[3].lapic, &s), ==, 0);
    g_assert_cmphex(state_get(&s, R_ID), ==, 3);
    memset(s.regs + R_LDR, 0xee, 4);
    g_assert_cmpint(lapic_set_state(b.cpu[3].lapic, &s), ==, 0);
    g_assert_cmpint(lapic_get_state(b.cpu[3].lapic, &again), ==, 0);
    g_assert_cmphex(state_get(&again, R_LDR), ==, 8);
    /* A hostile state does no harm. */
    memset(&s, 0xff, sizeof(s));
    g_assert_cmpint(lapic_set_state(b.cpu[1].lapic, &s), ==, 0);
    for (int v = 0; v < 300; v++)
        serve(&b, 1);
    msi(&b, 0xff, 0x45);
    g_assert_cmpint(lapic_get_state(b.cpu[1].lapic, &s), ==, 0);
    board_free(&b);
}

static void test_wide_ids(void)
{
    struct board b;
    struct lapic *far;
    struct kvm_msi m = {.address_lo = 0xfee00000 | 0x2c << 12, .address_hi = 0x100, .data = 0x66};
    struct cpu extra = {0};

    board_init(&b, 1);
    far = lapic_new(b.chip, &extra, 300, false);
    g_assert_nonnull(far);
    apic_enable(&b, 0);
    g_assert_cmpint(irqchip_set_x2apic_api(b.chip, 3), ==, 0);
    g_assert_cmpint(irqchip_signal_msi(b.chip, &m), ==, 0); /* there, but disabled by software */
    apic_enter_x2apic(&b, 0);
    g_assert_cmpint(set_msr(&b, 0, 0x830, 300ull << 32 | 0x4500), ==, 0);
    g_assert_cmpuint(extra.inits, ==, 1);
    m.address_hi = 0x101;
    g_assert_cmpint(irqchip_signal_msi(b.chip, &m), ==, -EINVAL);
    lapic_free(far);
    m.address_hi = 0x100;
    g_assert_cmpint(irqchip_signal_msi(b.chip, &m), ==, 0);
    board_free(&b);
}

/* ---------------------------------------------------------------- threads */

#define RING_CPUS  4
#define RING_TURNS 2000

struct ring {
    struct board b;
    _Atomic unsigned passes, levels;
    _Atomic bool stop;
};
struct ring_cpu {
    struct ring *ring;
    unsigned cpu;
};

/* A CPU that passes each 0x50 on to the next one and lowers the line of each 0x60. */
static gpointer ring_thread(gpointer opaque)
{
    const struct ring_cpu *me = opaque;
    struct ring *r = me->ring;
    struct lapic *l = r->b.cpu[me->cpu].lapic;

    while (!r->stop) {
        int vector = lapic_accept(l);
        if (vector == 0x50) {
            r->passes++;
            apic_write(&r->b, me->cpu, R_ICR2, (me->cpu + 1) % RING_CPUS << 24);
            apic_write(&r->b, me->cpu, R_ICR, 0x50);
        } else if (vector == 0x60) {
            irqchip_set_line(r->b.chip, IRQ_SOURCE_USER, 20, false);
            r->levels++;
        }
        if (vector >= 0)
            apic_write(&r->b, me->cpu, R_EOI, 0);
        else
            g_thread_yield();
    }
    return NULL;
}

/* CPUs in threads, a timer each, and lines from outside: no interrupt may be lost. */
static void test_threads(void)
{
    struct ring *r = g_new0(struct ring, 1);
    struct ring_cpu cpu[RING_CPUS];
    GThread *thread[RING_CPUS];
    unsigned raised = 0;

    board_init(&r->b, RING_CPUS);
    for (unsigned i = 0; i < RING_CPUS; i++) {
        apic_enable(&r->b, i);
        apic_write(&r->b, i, R_LVTT, 0x20041);
        apic_write(&r->b, i, R_TMICT, 150000);
        cpu[i] = (struct ring_cpu){r, i};
    }
    ioapic_set_entry(&r->b, 20, 0x8000 | 0x60 | 1ull << 56);
    for (unsigned i = 0; i < RING_CPUS; i++)
        thread[i] = g_thread_new("cpu", ring_thread, &cpu[i]);
    g_assert_cmpint(msi(&r->b, 0, 0x50), ==, 1);
    for (unsigned turn = 0; turn < 200000 && r->passes < RING_TURNS; turn++) {
        if (r->levels == raised) {
            raised++;
            irqchip_set_line(r->b.chip, IRQ_SOURCE_USER, 20, true);
        }
        g_usleep(100);
    }
    g_assert_cmpuint(r->passes, >=, RING_TURNS);
    for (unsigned turn = 0; turn < 200000 && r->levels < raised; turn++)
        g_usleep(100);
    g_assert_cmpuint(r->levels, ==, raised);
    r->stop = true;
    for (unsigned i = 0; i < RING_CPUS; i++)
        g_thread_join(thread[i]);
    board_free(&r->b);
    g_free(r);
}

void add_lapic_tests(void)
{
    g_test_add_func("/irqchip/lapic/registers", test_registers);
    g_test_add_func("/irqchip/lapic/priorities", test_priorities);
    g_test_add_func("/irqchip/lapic/errors", test_errors);
    g_test_add_func("/irqchip/lapic/destinations", test_destinations);
    g_test_add_func("/irqchip/lapic/events", test_events);
    g_test_add_func("/irqchip/lapic/x2apic", test_x2apic);
    g_test_add_func("/irqchip/lapic/base", test_base);
    g_test_add_func("/irqchip/lapic/timer", test_timer);
    g_test_add_func("/irqchip/lapic/deadline", test_deadline);
    g_test_add_func("/irqchip/lapic/state", test_state);
    g_test_add_func("/irqchip/lapic/wide-ids", test_wide_ids);
    g_test_add_func("/irqchip/lapic/threads", test_threads);
}
