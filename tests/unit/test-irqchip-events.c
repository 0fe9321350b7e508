/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Routing, irqfds, ioeventfds, the split irqchip. */
#include "irqchip-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct kvm_irq_routing_entry pin_route(uint32_t gsi, uint32_t chip, uint32_t pin)
{
    return (struct kvm_irq_routing_entry){
        .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = {.irqchip = chip, .pin = pin}};
}

static struct kvm_irq_routing_entry msi_route(uint32_t gsi, uint32_t destination, uint32_t data)
{
    return (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = {.address_lo = 0xfee00000 | destination << 12, .data = data}};
}

static int line(struct board *b, uint32_t gsi, bool level)
{
    return irqchip_set_line(b->chip, IRQ_SOURCE_USER, gsi, level);
}

static void test_routing(void)
{
    struct board b;
    struct kvm_irq_routing_entry e[5];
    struct kvm_irq_routing_entry *many = g_new0(struct kvm_irq_routing_entry, 4097);

    board_init(&b, 1);
    apic_enable(&b, 0);
    e[0] = msi_route(100, 0, 0x77);
    e[1] = pin_route(7, KVM_IRQCHIP_IOAPIC, 3);
    e[2] = pin_route(7, KVM_IRQCHIP_PIC_MASTER, 5);
    e[3] = pin_route(7, KVM_IRQCHIP_PIC_SLAVE, 5);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 4, 0), ==, 0);
    g_assert_cmpint(line(&b, 100, true), ==, 1);
    g_assert_cmpint(line(&b, 100, false), ==, -1);
    g_assert_cmphex(serve(&b, 0), ==, 0x77);
    g_assert_cmpint(line(&b, 5, true), ==, -1); /* the default routes are gone */
    g_assert_cmpint(line(&b, 4000000000u, true), ==, -1);
    ioapic_set_entry(&b, 3, 0x78);
    g_assert_cmpint(line(&b, 7, true), ==, 3); /* three chips */
    g_assert_cmphex(serve(&b, 0), ==, 0x78);
    /* What is refused changes nothing. */
    e[4] = pin_route(7, KVM_IRQCHIP_IOAPIC, 4);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = msi_route(7, 0, 0x50);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = msi_route(100, 0, 0x50);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = pin_route(8, KVM_IRQCHIP_IOAPIC, 24);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = pin_route(8, KVM_IRQCHIP_PIC_SLAVE, 8);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = pin_route(8, 3, 0);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = pin_route(4096, KVM_IRQCHIP_IOAPIC, 0);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = pin_route(8, KVM_IRQCHIP_IOAPIC, 0);
    e[4].flags = 1;
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    e[4] = msi_route(8, 0, 0x50);
    e[4].type = KVM_IRQ_ROUTING_S390_ADAPTER;
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 5, 0), ==, -EINVAL);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 4, 1), ==, -EINVAL);
    g_assert_cmpint(irqchip_set_routing(b.chip, many, 4097, 0), ==, -EINVAL);
    g_assert_cmpint(line(&b, 100, true), ==, 1);
    for (unsigned i = 0; i < 4096; i++)
        many[i] = msi_route(i, 0, 0x80);
    g_assert_cmpint(irqchip_set_routing(b.chip, many, 4096, 0), ==, 0);
    g_assert_cmpint(line(&b, 4095, true), ==, 1);
    for (unsigned i = 0; i < 4096; i++)
        many[i] = msi_route(9, 0, 0x80);
    g_assert_cmpint(irqchip_set_routing(b.chip, many, 4096, 0), ==, -EINVAL);
    g_assert_cmpint(irqchip_set_routing(b.chip, NULL, 0, 0), ==, 0);
    g_assert_cmpint(line(&b, 4095, true), ==, -1);
    g_free(many);
    board_free(&b);
}

static int new_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC); /* blocking, as a program may have it */
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static bool take(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    eventfd_t value;
    return poll(&p, 1, 0) == 1 && eventfd_read(fd, &value) == 0;
}

static void test_irqfd(void)
{
    struct board b;
    struct kvm_irq_routing_entry e = msi_route(40, 0, 0x99);
    int fd = new_eventfd(), other = new_eventfd(), file = open("/dev/null", O_RDONLY);
    struct kvm_irqfd f = {.fd = (__u32)fd, .gsi = 40};

    board_init(&b, 1);
    apic_enable(&b, 0);
    g_assert_cmpint(irqchip_set_routing(b.chip, &e, 1, 0), ==, 0);
    eventfd_write(fd, 1); /* signalled before it is assigned: counts */
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, 0);
    g_assert_true(wait_pending(&b, 0, 0x99));
    g_assert_cmphex(serve(&b, 0), ==, 0x99);
    for (unsigned i = 0; i < 100; i++) {
        eventfd_write(fd, 1);
        g_assert_true(wait_pending(&b, 0, 0x99));
        g_assert_cmphex(serve(&b, 0), ==, 0x99);
    }
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, -EBUSY);
    f.flags = 4;
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, -EINVAL);
    f = (struct kvm_irqfd){.fd = (__u32)file, .gsi = 40};
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, -EINVAL);
    f.fd = 9999;
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, -EBADF);
    f = (struct kvm_irqfd){.fd = (__u32)other, .gsi = 4000000000u}; /* where nothing is routed */
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, 0);
    eventfd_write(other, 1);
    /* By a duplicate of the descriptor it is the same eventfd. */
    f = (struct kvm_irqfd){.fd = (__u32)dup(fd), .gsi = 40, .flags = KVM_IRQFD_FLAG_DEASSIGN};
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, 0);
    close((int)f.fd);
    eventfd_write(fd, 1);
    g_usleep(20000);
    g_assert_true(take(fd)); /* nobody else took it */
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    f = (struct kvm_irqfd){.fd = (__u32)fd, .gsi = 40};
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, 0);
    close(fd);
    close(other);
    close(file);
    board_free(&b);
}

static void test_resample(void)
{
    struct board b;
    int fd = new_eventfd(), resample = new_eventfd();
    struct kvm_irqfd f = {.fd = (__u32)fd,
                          .resamplefd = (__u32)resample,
                          .gsi = 20,
                          .flags = KVM_IRQFD_FLAG_RESAMPLE};

    board_init(&b, 1);
    apic_enable(&b, 0);
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, 0);
    ioapic_set_entry(&b, 20, 0x8000 | 0x61);
    eventfd_write(fd, 1);
    g_assert_true(wait_pending(&b, 0, 0x61));
    g_assert_cmphex(lapic_accept(b.cpu[0].lapic), ==, 0x61);
    g_assert_false(take(resample));
    apic_write(&b, 0, R_EOI, 0);
    g_assert_true(take(resample)); /* the line was lowered, and its owner told */
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    eventfd_write(fd, 1);
    g_assert_true(wait_pending(&b, 0, 0x61));
    /* Taken away while it is high: the line falls. */
    f.flags = KVM_IRQFD_FLAG_DEASSIGN;
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, 0);
    g_assert_cmphex(serve(&b, 0), ==, 0x61);
    g_assert_cmpint(lapic_pending(b.cpu[0].lapic), ==, -1);
    g_assert_false(take(resample));
    close(fd);
    close(resample);
    board_free(&b);
}

static void test_split(void)
{
    struct board b;
    struct kvm_irqchip state = {.chip_id = 0};
    struct kvm_irq_routing_entry e[2] = {msi_route(4, 0, 0x8000 | 0x51), msi_route(30, 0, 0x52)};
    struct kvm_irqfd f = {.flags = KVM_IRQFD_FLAG_RESAMPLE};
    uint8_t data[8];

    g_assert_null(irqchip_create(NULL, true, 481));
    board_init_split(&b, 1, 24);
    g_assert_true(irqchip_is_split(b.chip));
    apic_enable(&b, 0);
    g_assert_cmphex(apic_read(&b, 0, R_LVR), ==, 0x01050014);
    g_assert_false(irqchip_pio(b.chip, 0x20, false, 1, data));
    g_assert_false(irqchip_mmio(b.chip, b.cpu[0].lapic, IOAPIC_PAGE, false, 4, data));
    g_assert_cmpint(irqchip_get_chip(b.chip, &state), ==, -ENXIO);
    g_assert_cmpint(irqfd_assign(b.chip, &f), ==, -EINVAL);
    g_assert_cmpint(pit_create(b.chip, &(struct kvm_pit_config){0}), ==, -ENOENT);
    g_assert_cmpint(line(&b, 4, true), ==, -1);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 2, 0), ==, 0);
    g_assert_cmpint(line(&b, 4, true), ==, 1);
    g_assert_cmphex(serve(&b, 0), ==, 0x51);
    g_assert_cmpuint(b.cpu[0].eois, ==, 1);
    g_assert_cmphex(b.cpu[0].eoi_vector, ==, 0x51);
    g_assert_cmpint(line(&b, 30, true), ==, 1);
    g_assert_cmphex(serve(&b, 0), ==, 0x52);
    g_assert_cmpuint(b.cpu[0].eois, ==, 1);
    apic_write(&b, 0, R_SVR, 0x11ff); /* no EOI broadcast: the guest does it itself */
    g_assert_cmpint(line(&b, 4, true), ==, 1);
    g_assert_cmphex(serve(&b, 0), ==, 0x51);
    g_assert_cmpuint(b.cpu[0].eois, ==, 1);
    e[0] = pin_route(4, KVM_IRQCHIP_IOAPIC, 4);
    g_assert_cmpint(irqchip_set_routing(b.chip, e, 1, 0), ==, -EINVAL);
    board_free(&b);
}

static bool guest_write(struct ioeventfd_set *s, enum ioeventfd_bus bus, uint64_t address,
                        unsigned size, uint64_t value)
{
    return ioeventfd_signal(s, bus, address, size, (const uint8_t *)&value);
}

static void test_ioeventfd(void)
{
    struct ioeventfd_set *s = ioeventfd_set_new();
    int any = new_eventfd(), one = new_eventfd(), two = new_eventfd(), wild = new_eventfd();
    struct kvm_ioeventfd e = {.addr = 0x1000, .len = 4, .fd = any};

    g_assert_false(guest_write(s, IOEVENTFD_MMIO, 0x1000, 4, 1));
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, 0);
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EEXIST);
    e.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EEXIST); /* the one without match has them all */
    g_assert_true(guest_write(s, IOEVENTFD_MMIO, 0x1000, 4, 77));
    g_assert_true(take(any));
    g_assert_false(guest_write(s, IOEVENTFD_MMIO, 0x1000, 2, 77));
    g_assert_false(guest_write(s, IOEVENTFD_MMIO, 0x1004, 4, 77));
    g_assert_false(guest_write(s, IOEVENTFD_PIO, 0x1000, 4, 77));
    /* By data, on a port. */
    e = (struct kvm_ioeventfd){.addr = 0xc050,
                               .len = 2,
                               .fd = one,
                               .datamatch = 1,
                               .flags = KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO};
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, 0);
    e.datamatch = 2;
    e.fd = two;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, 0);
    g_assert_true(guest_write(s, IOEVENTFD_PIO, 0xc050, 2, 2));
    g_assert_true(take(two));
    g_assert_false(take(one));
    g_assert_true(guest_write(s, IOEVENTFD_PIO, 0xc050, 2, 1));
    g_assert_true(take(one));
    g_assert_false(guest_write(s, IOEVENTFD_PIO, 0xc050, 2, 3));
    e.len = 0;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EINVAL);
    /* Length 0: any length, any data. */
    e = (struct kvm_ioeventfd){.addr = 0x2000, .fd = wild};
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, 0);
    e.len = 4;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EEXIST);
    g_assert_true(guest_write(s, IOEVENTFD_MMIO, 0x2000, 1, 9));
    g_assert_true(take(wild));
    g_assert_true(guest_write(s, IOEVENTFD_MMIO, 0x2000, 8, 9));
    g_assert_true(take(wild));
    /* What is wrong. */
    e = (struct kvm_ioeventfd){.addr = 0x3000, .len = 3, .fd = wild};
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EINVAL);
    e.len = 8;
    e.addr = UINT64_MAX - 3;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EINVAL);
    e.addr = 0x3000;
    e.flags = KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EINVAL);
    e.flags = 0;
    e.fd = -1;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -EBADF);
    /* Removal: all of it must be right. */
    e = (struct kvm_ioeventfd){.addr = 0x1000, .fd = any, .flags = KVM_IOEVENTFD_FLAG_DEASSIGN};
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -ENOENT);
    e.len = 4;
    e.fd = one;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, -ENOENT);
    e.fd = any;
    g_assert_cmpint(ioeventfd_assign(s, &e), ==, 0);
    g_assert_false(guest_write(s, IOEVENTFD_MMIO, 0x1000, 4, 77));
    /* Many, added in no order. */
    for (uint64_t i = 0; i < 200; i++) {
        e = (struct kvm_ioeventfd){.addr = 0x100000 + i * 37 % 200 * 4, .len = 4, .fd = any};
        g_assert_cmpint(ioeventfd_assign(s, &e), ==, 0);
    }
    for (uint64_t i = 0; i < 200; i++) {
        g_assert_true(guest_write(s, IOEVENTFD_MMIO, 0x100000 + i * 4, 4, i));
        g_assert_true(take(any));
    }
    g_assert_false(guest_write(s, IOEVENTFD_MMIO, 0x100000 + 200 * 4, 4, 0));
    ioeventfd_set_free(s);
    close(any);
    close(one);
    close(two);
    close(wild);
}

/* ---------------------------------------------------------------- anything a guest may do */

static void random_bytes(void *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)g_test_rand_int();
}

static void random_state(struct board *b, struct lapic *l)
{
    struct kvm_irqchip chip;
    struct kvm_lapic_state lapic;
    struct kvm_pit_state2 pit;

    random_bytes(&chip, sizeof(chip));
    chip.chip_id = (uint32_t)g_test_rand_int_range(0, 3);
    if (chip.chip_id == KVM_IRQCHIP_IOAPIC)
        chip.chip.ioapic.base_address = IOAPIC_PAGE;
    irqchip_set_chip(b->chip, &chip);
    random_bytes(&lapic, sizeof(lapic));
    lapic_set_state(l, &lapic);
    random_bytes(&pit, sizeof(pit));
    pit_set(b->chip, &pit);
}

static void random_access(struct board *b, struct lapic *l)
{
    static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1,
                                     0x40, 0x41, 0x42, 0x43, 0x61};
    static const unsigned sizes[] = {1, 2, 4, 8};
    bool write = g_test_rand_int() & 1;
    unsigned size = sizes[g_test_rand_int() & 3];
    uint8_t data[8];
    uint64_t value = 0;

    random_bytes(data, sizeof(data));
    switch (g_test_rand_int() & 3) {
    case 0:
        irqchip_pio(b->chip, ports[(uint32_t)g_test_rand_int() % G_N_ELEMENTS(ports)], write,
                    size & 7, data);
        break;
    case 1:
        irqchip_mmio(b->chip, l, APIC_PAGE + (g_test_rand_int() & 0xfff), write, size, data);
        irqchip_mmio(b->chip, l, APIC_PAGE + (g_test_rand_int() & 0x3f0), write, 4, data);
        break;
    case 2:
        irqchip_mmio(b->chip, l, IOAPIC_PAGE + (g_test_rand_int() & 0x10), write, size, data);
        break;
    default:
        memcpy(&value, data, sizeof(value));
        if (g_test_rand_int() & 1)
            value &= 0x700ff;
        lapic_set_msr(l, 0x800 + (g_test_rand_int() & 0x3f), value, false);
        lapic_get_msr(l, 0x800 + (g_test_rand_int() & 0x3f), &value, false);
        lapic_set_msr(l, 0x80b, 0, false);
        if ((g_test_rand_int() & 31) == 0)
            lapic_set_msr(l, 0x1b, 0xfee00000 | (value & 0xc00), true);
        lapic_set_msr(l, 0x6e0, now_ns() + (value & 0xfffff), false);
        break;
    }
}

/* Whatever guest and user space do, what is offered can be accepted, and is a vector. */
static void test_anything(void)
{
    const struct kvm_pit_config speaker = {.flags = KVM_PIT_SPEAKER_DUMMY};
    struct board b;

    board_init(&b, 4);
    g_assert_cmpint(pit_create(b.chip, &speaker), ==, 0);
    for (unsigned n = 0; n < 100000; n++) {
        struct lapic *l = b.cpu[g_test_rand_int() & 3].lapic;
        struct kvm_msi m;
        int pending;
        if (n % 500 == 0)
            random_state(&b, l);
        random_access(&b, l);
        random_bytes(&m, sizeof(m));
        m.flags = 0;
        m.data &= 0xc7ff;
        irqchip_signal_msi(b.chip, &m);
        line(&b, (uint32_t)g_test_rand_int_range(0, 26), g_test_rand_int() & 1);
        pending = lapic_pending(l);
        g_assert_cmpint(pending, <=, LAPIC_EXTINT);
        if (pending >= 0 && pending != LAPIC_EXTINT)
            g_assert_cmpint(pending, >=, 16);
        if (pending >= 0 && (g_test_rand_int() & 1)) {
            int vector = lapic_accept(l), next = lapic_pending(l);
            g_assert_cmpint(vector, >=, 0);
            g_assert_cmpint(vector, <=, 255);
            /* One from the LAPIC is in service now: only a higher class may follow. */
            if (vector == pending && next >= 0 && next != LAPIC_EXTINT)
                g_assert_cmpint(next >> 4, >, vector >> 4);
        }
    }
    board_free(&b);
}

void add_event_tests(void)
{
    g_test_add_func("/irqchip/routing", test_routing);
    g_test_add_func("/irqchip/irqfd", test_irqfd);
    g_test_add_func("/irqchip/irqfd/resample", test_resample);
    g_test_add_func("/irqchip/split", test_split);
    g_test_add_func("/irqchip/ioeventfd", test_ioeventfd);
    g_test_add_func("/irqchip/anything", test_anything);
}
