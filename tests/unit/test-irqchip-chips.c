/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 8259, 8254 and IOAPIC. */
#include "irqchip-fixture.h"

#include <errno.h>
#include <string.h>

/* ---------------------------------------------------------------- 8259 */

#define PIC1 0x20
#define PIC2 0xa0

static void pic_program(struct board *b, uint8_t icw4)
{
    port_out(b, PIC1, 0x11);
    port_out(b, PIC1 + 1, 0x20);
    port_out(b, PIC1 + 1, 0x04);
    port_out(b, PIC1 + 1, icw4);
    port_out(b, PIC2, 0x11);
    port_out(b, PIC2 + 1, 0x28);
    port_out(b, PIC2 + 1, 0x02);
    port_out(b, PIC2 + 1, icw4);
    port_out(b, PIC1 + 1, 0);
    port_out(b, PIC2 + 1, 0);
}

static int line(struct board *b, unsigned gsi, bool level)
{
    return irqchip_set_line(b->chip, IRQ_SOURCE_USER, gsi, level);
}

static void pulse(struct board *b, unsigned gsi)
{
    line(b, gsi, true);
    line(b, gsi, false);
}

static uint8_t pic_isr(struct board *b, uint16_t port)
{
    port_out(b, port, 0x0b);
    return port_in(b, port);
}
static uint8_t pic_irr(struct board *b, uint16_t port)
{
    port_out(b, port, 0x0a);
    return port_in(b, port);
}

static void test_pic_init(void)
{
    struct board b;

    board_init(&b, 1);
    pic_program(&b, 0x01);
    port_out(&b, PIC1 + 1, 0xfb);
    port_out(&b, PIC2 + 1, 0x7f);
    g_assert_cmphex(port_in(&b, PIC1 + 1), ==, 0xfb);
    g_assert_cmphex(port_in(&b, PIC2 + 1), ==, 0x7f);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    pulse(&b, 15);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, LAPIC_EXTINT);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x2f);
    g_assert_cmphex(pic_isr(&b, PIC1), ==, 0x04);
    g_assert_cmphex(pic_isr(&b, PIC2), ==, 0x80);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    /* ICW1 again drops everything. */
    port_out(&b, PIC1, 0x11);
    g_assert_cmphex(port_in(&b, PIC1), ==, 0);
    g_assert_cmphex(port_in(&b, PIC1 + 1), ==, 0);
    board_free(&b);
}

static void test_pic_priorities(void)
{
    struct board b;

    board_init(&b, 1);
    pic_program(&b, 0x01);
    pulse(&b, 5);
    pulse(&b, 3);
    pulse(&b, 9);
    g_assert_cmphex(pic_irr(&b, PIC1), ==, 0x2c);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x29); /* the slave stands before 3 */
    g_assert_cmpint(lapic_accept(b.cpu[0].lapic), ==, -1);   /* 3 and 5 wait for the EOI */
    pulse(&b, 1);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x21); /* higher: nests */
    port_out(&b, PIC1, 0x20);                                /* ends 1 */
    g_assert_cmphex(pic_isr(&b, PIC1), ==, 0x04);
    port_out(&b, PIC2, 0x20);
    port_out(&b, PIC1, 0x20);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x23);
    port_out(&b, PIC1, 0x63); /* specific */
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x25);
    port_out(&b, PIC1, 0x65);
    g_assert_cmphex(pic_isr(&b, PIC1), ==, 0);
    board_free(&b);
}

static void test_pic_rotation(void)
{
    struct board b;

    board_init(&b, 1);
    pic_program(&b, 0x01);
    pulse(&b, 4);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x24);
    port_out(&b, PIC1, 0xa0); /* rotate on non-specific EOI: 4 becomes the lowest */
    pulse(&b, 4);
    pulse(&b, 6);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x26);
    port_out(&b, PIC1, 0x20);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x24);
    port_out(&b, PIC1, 0xc0 | 7); /* set priority: the usual order again */
    port_out(&b, PIC1, 0x20);
    pulse(&b, 4);
    pulse(&b, 3);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x23);
    board_free(&b);
}

static void test_pic_auto_eoi(void)
{
    struct board b;

    board_init(&b, 1);
    pic_program(&b, 0x03);
    port_out(&b, PIC1, 0x80); /* rotate in automatic EOI mode */
    pulse(&b, 1);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x21);
    g_assert_cmphex(pic_isr(&b, PIC1), ==, 0);
    pulse(&b, 1);
    pulse(&b, 4);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x24);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x21);
    board_free(&b);
}

static void test_pic_level(void)
{
    struct board b;

    board_init(&b, 1);
    pic_program(&b, 0x01);
    port_out(&b, 0x4d0, 0xff);
    port_out(&b, 0x4d1, 0xff);
    g_assert_cmphex(port_in(&b, 0x4d0), ==, 0xf8); /* 0 to 2 cannot be levels */
    g_assert_cmphex(port_in(&b, 0x4d1), ==, 0xde);
    line(&b, 5, true);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x25);
    port_out(&b, PIC1, 0x20);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x25); /* still high */
    line(&b, 5, false);
    port_out(&b, PIC1, 0x20);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    /* A level that is gone before INTA asks for nothing. */
    line(&b, 5, true);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, LAPIC_EXTINT);
    line(&b, 5, false);
    g_assert_cmpint(lapic_accept(b.cpu[0].lapic), ==, -1);
    /* Two sources share the line. */
    line(&b, 5, true);
    irqchip_set_line(b.chip, IRQ_SOURCE_RESAMPLE, 5, true);
    line(&b, 5, false);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x25);
    board_free(&b);
}

static void test_pic_masks(void)
{
    struct board b;

    board_init(&b, 1);
    pic_program(&b, 0x01);
    pulse(&b, 1);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x21);
    pulse(&b, 3);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    port_out(&b, PIC1 + 1, 0x02);
    port_out(&b, PIC1, 0x68); /* special mask: the masked one in service does not hold back 3 */
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x23);
    port_out(&b, PIC1, 0x20); /* the non-specific EOI passes over the masked one */
    g_assert_cmphex(pic_isr(&b, PIC1), ==, 0x02);
    port_out(&b, PIC1, 0x48);
    pulse(&b, 3);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    /* Poll: names the request and puts it in service. */
    port_out(&b, PIC1, 0x20);
    port_out(&b, PIC1 + 1, 0);
    port_out(&b, PIC1, 0x61);
    port_out(&b, PIC1, 0x0c);
    g_assert_cmphex(port_in(&b, PIC1), ==, 0x83);
    g_assert_cmphex(pic_isr(&b, PIC1), ==, 0x08);
    port_out(&b, PIC1, 0x0c);
    g_assert_cmphex(port_in(&b, PIC1), ==, 0x00);
    board_free(&b);
}

static void test_pic_to_lint0(void)
{
    struct board b;
    unsigned kicks;

    board_init(&b, 2);
    pic_program(&b, 0x01);
    kicks = b.cpu[0].kicks;
    pulse(&b, 4);
    g_assert_cmpuint(b.cpu[0].kicks, >, kicks);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, LAPIC_EXTINT);
    g_assert_cmpint(lapic_pending(b.cpu[1].lapic), ==, -1); /* its LINT0 is masked */
    apic_enable(&b, 0);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    apic_enable(&b, 1);
    apic_write(&b, 1, R_LINT0, 0x700);
    g_assert_cmphex(lapic_accept(b.cpu[1].lapic), ==, 0x24);
    port_out(&b, PIC1, 0x20);
    /* As a fixed interrupt: the output's rising edge. */
    apic_write(&b, 1, R_LINT0, 0x55);
    pulse(&b, 4);
    g_assert_cmphex(serve(&b, 1), ==, 0x55);
    board_free(&b);
}

/* ---------------------------------------------------------------- 8254 */

static const struct kvm_pit_config speaker = {.flags = KVM_PIT_SPEAKER_DUMMY};

static void pit_program(struct board *b, unsigned channel, uint8_t control, uint16_t count)
{
    port_out(b, 0x43, (uint8_t)(channel << 6 | control));
    port_out(b, (uint16_t)(0x40 + channel), (uint8_t)count);
    port_out(b, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static uint16_t pit_read(struct board *b, unsigned channel)
{
    uint8_t low = port_in(b, (uint16_t)(0x40 + channel));
    return (uint16_t)(low | port_in(b, (uint16_t)(0x40 + channel)) << 8);
}

static void test_pit_counting(void)
{
    struct board b;
    uint16_t count;

    board_init(&b, 1);
    g_assert_cmpint(pit_create(b.chip, &speaker), ==, 0);
    g_assert_cmpint(pit_create(b.chip, &speaker), ==, -EEXIST);
    /* The gate is low: mode 0 holds the count. */
    pit_program(&b, 2, 0x30, 0xf234);
    g_assert_cmphex(pit_read(&b, 2), ==, 0xf234);
    g_assert_cmphex(port_in(&b, 0x61) & 0x21, ==, 0);
    g_usleep(100);
    g_assert_cmphex(pit_read(&b, 2), ==, 0xf234);
    /* It counts while the gate is high, and OUT rises at the end. */
    port_out(&b, 0x61, 1);
    g_usleep(100);
    port_out(&b, 0x61, 0);
    count = pit_read(&b, 2);
    g_assert_cmpuint((uint16_t)(0xf234 - count), >=, 119); /* 100 us at the least */
    g_assert_cmphex(pit_read(&b, 2), ==, count);
    port_out(&b, 0x61, 3);
    for (unsigned turn = 0; turn < 10000 && !(port_in(&b, 0x61) & 0x20); turn++)
        g_usleep(100);
    g_assert_cmphex(port_in(&b, 0x61) & 0x23, ==, 0x23);
    board_free(&b);
}

static void test_pit_latches(void)
{
    struct board b;
    uint16_t first;

    board_init(&b, 1);
    g_assert_cmpint(pit_create(b.chip, &speaker), ==, 0);
    /* A latched count stands still until it is read. */
    pit_program(&b, 1, 0x34, 0xffff);
    g_usleep(50);
    port_out(&b, 0x43, 0x40);
    g_usleep(50);
    port_out(&b, 0x43, 0x40); /* a second latch changes nothing */
    first = pit_read(&b, 1);
    g_assert_cmphex(first, !=, 0xffff);
    g_assert_cmphex(pit_read(&b, 1), !=, first);
    /* Read-back of status: null count until a count is loaded, OUT, access, mode, BCD. */
    port_out(&b, 0x43, 0x31 | 2 << 6);
    port_out(&b, 0x43, 0xe8);
    g_assert_cmphex(port_in(&b, 0x42), ==, 0x71);
    port_out(&b, 0x42, 0x34);
    port_out(&b, 0x42, 0x12);
    port_out(&b, 0x43, 0xe8);
    g_assert_cmphex(port_in(&b, 0x42), ==, 0x31);
    g_assert_cmphex(pit_read(&b, 2), ==, 0x1234); /* in BCD; the gate is low */
    /* Read-back of both: status, then count. */
    port_out(&b, 0x43, 0xc8);
    g_assert_cmphex(port_in(&b, 0x42), ==, 0x31);
    g_assert_cmphex(pit_read(&b, 2), ==, 0x1234);
    /* Single bytes. */
    port_out(&b, 0x43, 0x90);
    port_out(&b, 0x42, 0x56);
    g_assert_cmphex(port_in(&b, 0x42), ==, 0x56);
    port_out(&b, 0x43, 0xa0);
    port_out(&b, 0x42, 0x78);
    g_assert_cmphex(port_in(&b, 0x42), ==, 0x78);
    board_free(&b);
}

static void test_pit_interrupts(void)
{
    struct board b;
    uint64_t start;

    board_init(&b, 1);
    g_assert_cmpint(pit_create(b.chip, &speaker), ==, 0);
    pic_program(&b, 0x01);
    start = now_ns();
    pit_program(&b, 0, 0x30, 11932); /* 10 ms, once */
    g_assert_true(wait_pending(&b, 0, LAPIC_EXTINT));
    g_assert_cmpuint(now_ns() - start, >=, 9999000);
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x20);
    port_out(&b, PIC1, 0x20);
    pit_program(&b, 0, 0x34, 1193); /* every ms */
    start = now_ns();
    for (unsigned i = 0; i < 20; i++) {
        g_assert_true(wait_pending(&b, 0, LAPIC_EXTINT));
        g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x20);
        port_out(&b, PIC1, 0x20);
    }
    g_assert_cmpuint(now_ns() - start, >=, 18000000); /* never early */
    board_free(&b);
}

/* Ticks that found the last one unhandled are made up for when it is. */
static void test_pit_reinjection(void)
{
    struct board b;
    unsigned served = 0;

    board_init(&b, 1);
    g_assert_cmpint(pit_create(b.chip, &speaker), ==, 0);
    pic_program(&b, 0x01);
    for (unsigned attempt = 0; attempt < 100 && served < 5; attempt++) {
        pit_program(&b, 0, 0x34, 1193);
        g_usleep(20000);
        port_out(&b, 0x43, 0x34); /* stops the timer */
        for (served = 0; lapic_pending(b.cpu[0].lapic) == LAPIC_EXTINT; served++) {
            lapic_accept(b.cpu[0].lapic);
            port_out(&b, PIC1, 0x20);
        }
    }
    g_assert_cmpuint(served, >=, 5);
    board_free(&b);
}

static void test_pit_state(void)
{
    struct kvm_pit_state2 s;
    struct kvm_pit_state legacy;
    struct kvm_reinject_control control = {.pit_reinject = 0};
    struct board b;

    board_init(&b, 1);
    g_assert_cmpint(pit_get(b.chip, &s), ==, -ENXIO);
    g_assert_cmpint(pit_set(b.chip, &s), ==, -ENXIO);
    g_assert_cmpint(pit_reinject_control(b.chip, &control), ==, -ENXIO);
    g_assert_cmpint(pit_create(b.chip, &(struct kvm_pit_config){.flags = 2}), ==, -EINVAL);
    g_assert_cmpint(pit_create(b.chip, &speaker), ==, 0);
    g_assert_cmpint(pit_reinject_control(b.chip, &control), ==, 0);
    g_assert_cmpint(pit_get(b.chip, &s), ==, 0);
    g_assert_cmphex(s.channels[0].count, ==, 0x10000);
    g_assert_cmphex(s.channels[0].mode, ==, 0xff);
    pit_program(&b, 2, 0x36, 0x4321);
    port_out(&b, 0x61, 3);
    g_assert_cmpint(pit_get(b.chip, &s), ==, 0);
    g_assert_cmphex(s.channels[2].count, ==, 0x4321);
    g_assert_cmphex(s.channels[2].mode, ==, 3);
    g_assert_cmphex(s.channels[2].gate, ==, 1);
    g_assert_cmphex(s.flags, ==, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
    /* Nothing in a hostile state may do harm. */
    memset(&s, 0xff, sizeof(s));
    g_assert_cmpint(pit_set(b.chip, &s), ==, 0);
    memset(&s, 0, sizeof(s));
    s.channels[2].mode = 2;
    s.channels[1].mode = 3;
    g_assert_cmpint(pit_set(b.chip, &s), ==, 0);
    for (unsigned i = 0; i < 3; i++)
        pit_read(&b, i);
    port_in(&b, 0x61);
    g_assert_cmpint(pit_get_legacy(b.chip, &legacy), ==, 0);
    g_assert_cmphex(legacy.channels[1].count, ==, 0x10000);
    g_assert_cmpint(pit_set_legacy(b.chip, &legacy), ==, 0);
    board_free(&b);
}

/* ---------------------------------------------------------------- IOAPIC */

static void test_ioapic_registers(void)
{
    struct board b;

    board_init(&b, 1);
    g_assert_cmphex(ioapic_read(&b, 1), ==, 0x00170011);
    ioapic_write(&b, 0, 0xff000000);
    g_assert_cmphex(ioapic_read(&b, 0), ==, 0x0f000000);
    g_assert_cmphex(ioapic_entry(&b, 23), ==, 0x10000);
    ioapic_set_entry(&b, 23, ~0ull);
    g_assert_cmphex(ioapic_entry(&b, 23), ==, 0xff0000000001afff);
    g_assert_cmphex(ioapic_read(&b, 0x40), ==, 0); /* beyond the table */
    ioapic_write(&b, 0x40, ~0u);
    g_assert_false(irqchip_mmio(b.chip, NULL, IOAPIC_PAGE + 0x100, false, 4, (uint8_t *)&b));
    board_free(&b);
}

static void test_ioapic_edge(void)
{
    struct board b;

    board_init(&b, 1);
    apic_enable(&b, 0);
    ioapic_set_entry(&b, 20, 0x10000 | 0x41);
    g_assert_cmpint(line(&b, 20, true), ==, -1); /* masked: lost */
    ioapic_set_entry(&b, 20, 0x41);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    line(&b, 20, false);
    g_assert_cmpint(line(&b, 20, true), ==, 1);
    g_assert_cmpint(line(&b, 20, true), ==, 0); /* no edge */
    g_assert_cmphex(serve(&b, 0), ==, 0x41);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    line(&b, 20, false);
    g_assert_cmpint(line(&b, 20, true), ==, 1);
    g_assert_cmphex(serve(&b, 0), ==, 0x41);
    g_assert_cmphex(ioapic_entry(&b, 20), ==, 0x41);
    board_free(&b);
}

static void test_ioapic_level(void)
{
    struct board b;

    board_init(&b, 1);
    apic_enable(&b, 0);
    ioapic_set_entry(&b, 20, 0x18000 | 0x51);
    g_assert_cmpint(line(&b, 20, true), ==, -1);
    ioapic_set_entry(&b, 20, 0x8000 | 0x51); /* unmasked while high: delivered */
    g_assert_cmphex(ioapic_entry(&b, 20), ==, 0xc051);
    g_assert_cmpint(lapic_accept(b.cpu[0].lapic), ==, 0x51);
    g_assert_cmphex(apic_read(&b, 0, R_TMR + 0x20), ==, 1u << 17);
    g_assert_cmpint(line(&b, 20, true), ==, -1); /* remote IRR: waits for the EOI */
    apic_write(&b, 0, R_EOI, 0);
    g_assert_cmpint(lapic_accept(b.cpu[0].lapic), ==, 0x51); /* still high */
    line(&b, 20, false);
    g_assert_cmphex(ioapic_entry(&b, 20), ==, 0xc051);
    apic_write(&b, 0, R_EOI, 0);
    g_assert_cmphex(ioapic_entry(&b, 20), ==, 0x8051);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    /* The trick for IOAPICs without an EOI register: to edge and back. */
    line(&b, 20, true);
    g_assert_cmphex(ioapic_entry(&b, 20), ==, 0xc051);
    ioapic_write(&b, 0x10 + 2 * 20, 0x10051);
    ioapic_write(&b, 0x10 + 2 * 20, 0x18051);
    g_assert_cmphex(ioapic_entry(&b, 20), ==, 0x18051);
    board_free(&b);
}

static void test_ioapic_state(void)
{
    struct kvm_irqchip s = {.chip_id = KVM_IRQCHIP_IOAPIC};
    struct board b;

    board_init(&b, 1);
    apic_enable(&b, 0);
    ioapic_set_entry(&b, 9, 0x8000 | 0x61);
    ioapic_set_entry(&b, 10, 0x62);
    line(&b, 9, true);
    line(&b, 10, true);
    g_assert_cmpint(irqchip_get_chip(b.chip, &s), ==, 0);
    g_assert_cmphex(s.chip.ioapic.irr, ==, 1u << 9); /* the edge has been sent */
    g_assert_cmphex(s.chip.ioapic.base_address, ==, IOAPIC_PAGE);
    g_assert_cmphex(s.chip.ioapic.redirtbl[9].bits, ==, 0xc061);
    serve(&b, 0);
    serve(&b, 0);
    s.chip.ioapic.irr = 1u << 10;
    s.chip.ioapic.redirtbl[9].bits = 0x10000;
    g_assert_cmpint(irqchip_set_chip(b.chip, &s), ==, 0);
    while (serve(&b, 0) != 0x62)
        g_assert_cmpint(lapic_pending(b.cpu[0].lapic), >=, 0);
    s.chip_id = 3;
    g_assert_cmpint(irqchip_get_chip(b.chip, &s), ==, -EINVAL);
    g_assert_cmpint(irqchip_set_chip(b.chip, &s), ==, -EINVAL);
    board_free(&b);
}

void add_chip_tests(void)
{
    g_test_add_func("/irqchip/pic/init", test_pic_init);
    g_test_add_func("/irqchip/pic/priorities", test_pic_priorities);
    g_test_add_func("/irqchip/pic/rotation", test_pic_rotation);
    g_test_add_func("/irqchip/pic/auto-eoi", test_pic_auto_eoi);
    g_test_add_func("/irqchip/pic/level", test_pic_level);
    g_test_add_func("/irqchip/pic/masks", test_pic_masks);
    g_test_add_func("/irqchip/pic/lint0", test_pic_to_lint0);
    g_test_add_func("/irqchip/pit/counting", test_pit_counting);
    g_test_add_func("/irqchip/pit/latches", test_pit_latches);
    g_test_add_func("/irqchip/pit/interrupts", test_pit_interrupts);
    g_test_add_func("/irqchip/pit/reinjection", test_pit_reinjection);
    g_test_add_func("/irqchip/pit/state", test_pit_state);
    g_test_add_func("/irqchip/ioapic/registers", test_ioapic_registers);
    g_test_add_func("/irqchip/ioapic/edge", test_ioapic_edge);
    g_test_add_func("/irqchip/ioapic/level", test_ioapic_level);
    g_test_add_func("/irqchip/ioapic/state", test_ioapic_state);
}
