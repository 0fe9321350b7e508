/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The PCI host and its functions, driven through ECAM and ports as a guest does. */
#include "fake-machine.h"
#include "machine/pci.h"

#include <linux/pci_regs.h>
#include <string.h>

#define MEMORY (16ull << 20)

/* A function with registers that remember what was written last. */
struct plain {
    struct pci_function pci;
    uint64_t last_offset[PCI_BARS], last_value[PCI_BARS];
};

#define BAR_OPS(n)                                                                                 \
    static uint64_t bar##n##_read(struct device *d, uint64_t offset, unsigned size)                \
    {                                                                                              \
        (void)d;                                                                                   \
        return n * 0x1000 + offset + size;                                                         \
    }                                                                                              \
    static void bar##n##_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)   \
    {                                                                                              \
        struct plain *p = container_of(d, struct plain, pci.device);                               \
        (void)size;                                                                                \
        p->last_offset[n] = offset;                                                                \
        p->last_value[n] = value;                                                                  \
    }                                                                                              \
    static const struct region_ops bar##n##_ops = {bar##n##_read, bar##n##_write}
BAR_OPS(0);
BAR_OPS(2);

static void plain_reset(struct device *d)
{
    pci_function_reset(container_of(d, struct pci_function, device));
}

static int plain_loaded(struct device *d, GError **error)
{
    (void)error;
    pci_function_loaded(container_of(d, struct pci_function, device));
    return 0;
}

static void plain_free(struct device *d)
{
    g_free(container_of(d, struct plain, pci.device));
}

static const struct state_field plain_fields[] = {PCI_STATE_FIELDS};
static const struct device_class plain_class = {
    .name = "plain",
    .version = 1,
    .fields = plain_fields,
    .field_count = ARRAY_SIZE(plain_fields),
    .reset = plain_reset,
    .loaded = plain_loaded,
    .free = plain_free,
};

#define BAR0_SIZE 0x1000ull
#define BAR2_SIZE 0x40000000ull /* 1 GiB, wide */
#define VECTORS   4
#define PBA       0x800

static struct plain *plain_new(struct fake_machine *f, int slot)
{
    struct plain *p = g_new0(struct plain, 1);
    g_assert_true(pci_function_init(&p->pci, &plain_class, &f->machine, "plain", slot, 0x1234,
                                    0x5678, PCI_CLASS(0x0280, 3), 0x9abc, 0xdef0));
    pci_use_intx(&p->pci);
    return p;
}

static struct plain *plain_with_bars(struct fake_machine *f)
{
    struct plain *p = plain_new(f, -1);
    g_assert_true(pci_add_bar(&p->pci, 0, BAR0_SIZE, false, &bar0_ops));
    g_assert_true(pci_add_bar(&p->pci, 2, BAR2_SIZE, true, &bar2_ops));
    return p;
}

static struct plain *plain_with_msix(struct fake_machine *f)
{
    struct plain *p = plain_new(f, -1);
    g_assert_true(pci_add_bar(&p->pci, 0, BAR0_SIZE, false, &pci_msix_region_ops));
    pci_add_msix(&p->pci, VECTORS, 0, 0, PBA);
    return p;
}

static uint64_t ecam(unsigned slot, unsigned offset)
{
    return LAYOUT_ECAM + ((uint64_t)slot << 15) + offset;
}

static uint64_t get(struct fake_machine *f, unsigned slot, unsigned offset, unsigned size)
{
    return space_read(&f->machine, SPACE_MMIO, ecam(slot, offset), size);
}

static void set(struct fake_machine *f, unsigned slot, unsigned offset, uint64_t value,
                unsigned size)
{
    space_write(&f->machine, SPACE_MMIO, ecam(slot, offset), value, size);
}

static uint64_t mmio(struct fake_machine *f, uint64_t address, unsigned size)
{
    return space_read(&f->machine, SPACE_MMIO, address, size);
}

static uint64_t in(struct fake_machine *f, unsigned port, unsigned size)
{
    return space_read(&f->machine, SPACE_PIO, port, size);
}

static void out(struct fake_machine *f, unsigned port, uint64_t value, unsigned size)
{
    space_write(&f->machine, SPACE_PIO, port, value, size);
}

/* ---- config space ---- */

static void test_bridges(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    g_assert_cmphex(get(f, 0, PCI_VENDOR_ID, 4), ==, 0x29c08086);
    g_assert_cmphex(get(f, 0, PCI_CLASS_REVISION, 4) >> 16, ==, 0x0600);
    g_assert_cmphex(get(f, 0, 0x60, 8), ==, LAYOUT_ECAM | 1);
    g_assert_cmphex(get(f, 31, PCI_VENDOR_ID, 4), ==, 0x29188086);
    g_assert_cmphex(get(f, 31, PCI_CLASS_REVISION, 4) >> 16, ==, 0x0601);
    g_assert_cmphex(get(f, 31, PCI_HEADER_TYPE, 1), ==, 0);
    g_assert_cmphex(get(f, 31, 0x40, 4), ==, PORT_PM_BASE | 1);
    /* Nobody there: an empty slot, another function, another bus, the last one. */
    g_assert_cmphex(get(f, 5, PCI_VENDOR_ID, 4), ==, 0xffffffff);
    g_assert_cmphex(mmio(f, ecam(0, 0) + (1 << 12), 4), ==, 0xffffffff);
    g_assert_cmphex(mmio(f, ecam(0, 0) + (1 << 20), 2), ==, 0xffff);
    g_assert_cmphex(mmio(f, LAYOUT_ECAM + LAYOUT_ECAM_SIZE - 4, 4), ==, 0xffffffff);
    set(f, 5, PCI_COMMAND, 7, 2);
    fake_machine_free(f);
}

static void test_ports(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    out(f, 0xcf8, 0x80000000 | 31 << 11, 4);
    g_assert_cmphex(in(f, 0xcf8, 4), ==, 0x80000000 | 31 << 11);
    g_assert_cmphex(in(f, 0xcfc, 4), ==, 0x29188086);
    g_assert_cmphex(in(f, 0xcfc, 2), ==, 0x8086);
    g_assert_cmphex(in(f, 0xcfe, 2), ==, 0x2918);
    g_assert_cmphex(in(f, 0xcff, 1), ==, 0x29);
    out(f, 0xcf8, 0x80000000 | 31 << 11 | PCI_INTERRUPT_LINE, 4);
    out(f, 0xcfc, 0xa5, 1);
    g_assert_cmphex(get(f, 31, PCI_INTERRUPT_LINE, 1), ==, 0xa5);
    /* Another bus; the enable bit off; an address written by bytes is none. */
    out(f, 0xcf8, 0x80000000 | 3 << 16, 4);
    g_assert_cmphex(in(f, 0xcfc, 4), ==, 0xffffffff);
    out(f, 0xcf8, 0, 4);
    g_assert_cmphex(in(f, 0xcfc, 4), ==, 0xffffffff);
    out(f, 0xcf8, 0x80, 1);
    g_assert_cmphex(in(f, 0xcf8, 4), ==, 0);
    /* The byte inside is the reset control register. */
    out(f, 0xcf9, 0x06, 1);
    g_assert_cmphex(f->reset_control, ==, 0x06);
    g_assert_cmphex(in(f, 0xcf9, 1), ==, 0x06);
    g_assert_cmphex(in(f, 0xcf8, 4), ==, 0);
    fake_machine_free(f);
}

static void test_identification(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = plain_new(f, 7);
    g_assert_cmpuint(p->pci.slot, ==, 7);
    g_assert_cmphex(get(f, 7, 0, 8), ==, 0x0000000056781234);
    g_assert_cmphex(get(f, 7, PCI_CLASS_REVISION, 4), ==, 0x02800003);
    g_assert_cmphex(get(f, 7, PCI_SUBSYSTEM_VENDOR_ID, 4), ==, 0xdef09abc);
    g_assert_cmphex(get(f, 7, PCI_INTERRUPT_PIN, 1), ==, 1);
    /* Read-only registers stay. */
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i += 4)
        set(f, 7, i, 0xffffffff, 4);
    g_assert_cmphex(get(f, 7, 0, 4), ==, 0x56781234);
    g_assert_cmphex(get(f, 7, PCI_CLASS_REVISION, 4), ==, 0x02800003);
    g_assert_cmphex(get(f, 7, PCI_BASE_ADDRESS_0, 4), ==, 0);
    g_assert_cmphex(get(f, 7, PCI_COMMAND, 2), ==, 0x547);
    g_assert_cmphex(get(f, 7, 0x100, 4), ==, 0);
    fake_machine_free(f);
}

static void test_slots(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = g_new0(struct plain, 1);
    for (unsigned i = 1; i < 31; i++)
        g_assert_cmpuint(plain_new(f, -1)->pci.slot, ==, i);
    g_assert_false(
        pci_function_init(&p->pci, &plain_class, &f->machine, "one-too-many", -1, 1, 1, 0, 0, 0));
    g_assert_false(
        pci_function_init(&p->pci, &plain_class, &f->machine, "taken", 4, 1, 1, 0, 0, 0));
    g_free(p);
    fake_machine_free(f);
}

static void test_discard(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = plain_with_bars(f);
    uint64_t at = p->pci.bar[0].base;
    g_assert_cmphex(mmio(f, at, 4), ==, 4);
    pci_function_discard(&p->pci);
    g_free(p);
    g_assert_cmphex(mmio(f, at, 4), ==, 0xffffffff);
    g_assert_cmpuint(plain_new(f, -1)->pci.slot, ==, 1);
    fake_machine_free(f);
}

/* ---- BARs ---- */

static void test_bars_assigned(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    plain_with_bars(f);
    uint64_t bar0 = get(f, 1, PCI_BASE_ADDRESS_0, 4), bar2 = get(f, 1, PCI_BASE_ADDRESS_2, 8);
    g_assert_cmphex(bar0, >=, LAYOUT_PCI_HOLE);
    g_assert_cmphex(bar0 + BAR0_SIZE, <=, LAYOUT_PCI_HOLE_END);
    g_assert_cmphex(bar0 % BAR0_SIZE, ==, 0);
    g_assert_cmphex(bar2, >=, LAYOUT_PCI_64);
    g_assert_cmphex(bar2 % BAR2_SIZE, ==, PCI_BASE_ADDRESS_MEM_TYPE_64);
    g_assert_cmphex(get(f, 1, PCI_COMMAND, 2), ==, PCI_COMMAND_MEMORY);
    g_assert_cmphex(mmio(f, bar0 + 0x10, 4), ==, 0x14);
    g_assert_cmphex(mmio(f, bar2 - 4 + BAR2_SIZE - 4, 4), ==, 0x2000 + BAR2_SIZE);
    fake_machine_free(f);
}

static void test_bars_sized_and_moved(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = plain_with_bars(f);
    uint64_t before = get(f, 1, PCI_BASE_ADDRESS_0, 4);

    set(f, 1, PCI_BASE_ADDRESS_0, 0xffffffff, 4);
    g_assert_cmphex(get(f, 1, PCI_BASE_ADDRESS_0, 4), ==, 0xfffff000);
    g_assert_cmphex(mmio(f, 0xfffff000, 4), ==, 0xffffffff); /* not decoded there */
    set(f, 1, PCI_BASE_ADDRESS_2, 0xffffffff, 4);
    set(f, 1, PCI_BASE_ADDRESS_3, 0xffffffff, 4);
    g_assert_cmphex(get(f, 1, PCI_BASE_ADDRESS_2, 4), ==, 0xc0000004);
    g_assert_cmphex(get(f, 1, PCI_BASE_ADDRESS_3, 4), ==, 0xffffffff);
    set(f, 1, PCI_BASE_ADDRESS_1, 0xffffffff, 4);
    g_assert_cmphex(get(f, 1, PCI_BASE_ADDRESS_1, 4), ==, 0);

    set(f, 1, PCI_BASE_ADDRESS_0, 0xd0000000, 4);
    set(f, 1, PCI_BASE_ADDRESS_2, 0x40000000, 4);
    set(f, 1, PCI_BASE_ADDRESS_3, 0x90, 4);
    g_assert_cmphex(mmio(f, before, 4), ==, 0xffffffff);
    space_write(&f->machine, SPACE_MMIO, 0xd0000020, 0x1122, 2);
    g_assert_cmphex(p->last_offset[0], ==, 0x20);
    g_assert_cmphex(p->last_value[0], ==, 0x1122);
    space_write(&f->machine, SPACE_MMIO, 0x9040000008, 0x33, 1);
    g_assert_cmphex(p->last_offset[2], ==, 8);

    /* Decoding off and on. */
    set(f, 1, PCI_COMMAND, 0, 2);
    g_assert_cmphex(mmio(f, 0xd0000020, 4), ==, 0xffffffff);
    set(f, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    g_assert_cmphex(mmio(f, 0xd0000020, 4), ==, 0x24);
    /* An unassigned BAR decodes nothing. */
    set(f, 1, PCI_BASE_ADDRESS_0, 0, 4);
    g_assert_cmphex(mmio(f, 0xd0000020, 4), ==, 0xffffffff);
    fake_machine_free(f);
}

static void test_bars_in_conflict(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    plain_with_bars(f);
    plain_with_bars(f);
    uint64_t first = get(f, 1, PCI_BASE_ADDRESS_0, 4);
    uint64_t second = get(f, 2, PCI_BASE_ADDRESS_0, 4);
    g_assert_cmphex(first, !=, second);
    set(f, 2, PCI_BASE_ADDRESS_0, first, 4);
    g_assert_cmphex(mmio(f, second, 4), ==, 0xffffffff);
    set(f, 2, PCI_BASE_ADDRESS_0, LAYOUT_ECAM, 4);
    g_assert_cmphex(get(f, 0, 0, 4), ==, 0x29c08086);
    set(f, 2, PCI_BASE_ADDRESS_0, second, 4);
    g_assert_cmphex(mmio(f, second, 4), ==, 4);
    fake_machine_free(f);
}

static void test_no_room(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = plain_new(f, -1);
    g_assert_false(pci_add_bar(&p->pci, 0, 0x80000000, false, &bar0_ops));
    g_assert_true(pci_add_bar(&p->pci, 2, 1ull << 38, true, &bar2_ops));
    g_assert_false(pci_add_bar(&p->pci, 4, 1ull << 39, true, &bar2_ops));
    fake_machine_free(f);
}

/* ---- capabilities, interrupts ---- */

static unsigned find_capability(struct fake_machine *f, unsigned slot, unsigned id)
{
    unsigned at = get(f, slot, PCI_CAPABILITY_LIST, 1);
    for (unsigned n = 0; at && n < 48; n++, at = get(f, slot, at + 1, 1))
        if (get(f, slot, at, 1) == id)
            return at;
    return 0;
}

static void test_capabilities(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = plain_new(f, -1);
    g_assert_cmphex(get(f, 1, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, ==, 0);
    unsigned a = pci_add_capability(&p->pci, 9, "abc", 5);
    unsigned b = pci_add_capability(&p->pci, 0x15, "defgh", 7);
    g_assert_cmphex(get(f, 1, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, !=, 0);
    g_assert_cmpuint(find_capability(f, 1, 9), ==, a);
    g_assert_cmpuint(find_capability(f, 1, 0x15), ==, b);
    g_assert_cmpuint(b, >=, a + 5);
    g_assert_cmpuint(b % 4, ==, 0);
    g_assert_cmphex(get(f, 1, a + 2, 1), ==, 'a');
    g_assert_cmphex(get(f, 1, b + 6, 1), ==, 'h');
    fake_machine_free(f);
}

static void test_intx(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    /* Slots 1 and 5 share a line. */
    struct pci_function *a = &plain_new(f, 1)->pci, *b = &plain_new(f, 5)->pci;
    unsigned gsi = PCI_INTX_GSI(1, 0);
    pci_set_intx(a, true);
    pci_set_intx(b, true);
    g_assert_true(fake_line(f, gsi));
    pci_set_intx(a, false);
    g_assert_true(fake_line(f, gsi));
    g_assert_cmphex(get(f, 5, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, !=, 0);
    set(f, 5, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
    g_assert_false(fake_line(f, gsi));
    g_assert_cmphex(get(f, 5, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, !=, 0);
    set(f, 5, PCI_COMMAND, 0, 2);
    g_assert_true(fake_line(f, gsi));
    pci_set_intx(b, false);
    g_assert_false(fake_line(f, gsi));
    g_assert_cmphex(get(f, 5, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, ==, 0);
    fake_machine_free(f);
}

static void set_vector(struct fake_machine *f, struct plain *p, unsigned n, uint64_t address,
                       uint32_t data, uint32_t control)
{
    uint64_t at = p->pci.bar[0].base + 16 * n;
    space_write(&f->machine, SPACE_MMIO, at, address, 8);
    space_write(&f->machine, SPACE_MMIO, at + 8, data, 4);
    space_write(&f->machine, SPACE_MMIO, at + 12, control, 4);
}

static void test_msix(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = plain_with_msix(f);
    uint64_t bar = p->pci.bar[0].base;
    unsigned c = find_capability(f, 1, PCI_CAP_ID_MSIX);

    g_assert_cmphex(get(f, 1, c + PCI_MSIX_FLAGS, 2), ==, VECTORS - 1);
    g_assert_cmphex(get(f, 1, c + PCI_MSIX_TABLE, 4), ==, 0);
    g_assert_cmphex(get(f, 1, c + PCI_MSIX_PBA, 4), ==, PBA);
    g_assert_cmphex(mmio(f, bar + 12, 4), ==, PCI_MSIX_ENTRY_CTRL_MASKBIT);
    set(f, 1, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);

    set_vector(f, p, 1, 0x1fee00000, 0x41, 0xfffffffe);
    g_assert_cmphex(mmio(f, bar + 16, 8), ==, 0x1fee00000);
    g_assert_cmphex(mmio(f, bar + 28, 4), ==, 0); /* reserved bits are not kept */
    pci_msix_signal(&p->pci, 1);
    g_assert_cmpuint(fake_msis(f), ==, 0); /* off */

    set(f, 1, c + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
    g_assert_true(pci_msix_enabled(&p->pci));
    g_assert_cmphex(get(f, 1, c + PCI_MSIX_FLAGS, 2), ==,
                    PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL | (VECTORS - 1));
    pci_msix_signal(&p->pci, 1);
    pci_msix_signal(&p->pci, 2);
    pci_msix_signal(&p->pci, VECTORS); /* no such vector */
    pci_msix_signal(&p->pci, 0xffff);
    g_assert_cmpuint(fake_msis(f), ==, 0);
    g_assert_cmphex(mmio(f, bar + PBA, 8), ==, 6);

    /* The function's mask goes: 1 is sent, 2 is still masked on its own. */
    set(f, 1, c + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
    g_assert_cmpuint(fake_msis(f), ==, 1);
    g_assert_cmphex(f->msis[0].address, ==, 0x1fee00000);
    g_assert_cmphex(f->msis[0].data, ==, 0x41);
    g_assert_cmphex(mmio(f, bar + PBA, 4), ==, 4);
    set_vector(f, p, 2, 0xfee00000, 0x42, 0);
    g_assert_cmpuint(fake_msis_of(f, 0x42), ==, 1);
    g_assert_cmphex(mmio(f, bar + PBA, 4), ==, 0);
    /* The pending bits are read-only. */
    space_write(&f->machine, SPACE_MMIO, bar + PBA, 0xf, 4);
    g_assert_cmphex(mmio(f, bar + PBA, 4), ==, 0);

    /* Not a bus master: kept. */
    set(f, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    pci_msix_signal(&p->pci, 1);
    g_assert_cmpuint(fake_msis(f), ==, 2);
    set(f, 1, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    g_assert_cmpuint(fake_msis(f), ==, 3);

    /* Beyond the table and between it and the pending bits there is nothing. */
    g_assert_cmphex(mmio(f, bar + 16 * VECTORS, 4), ==, 0);
    g_assert_cmphex(mmio(f, bar + BAR0_SIZE - 4, 4), ==, 0);
    space_write(&f->machine, SPACE_MMIO, bar + 16 * VECTORS, 0xffffffff, 4);
    space_write(&f->machine, SPACE_MMIO, bar + 16 * VECTORS - 4, UINT64_MAX, 8);
    space_write(&f->machine, SPACE_MMIO, bar + 3, UINT64_MAX, 8);
    fake_machine_free(f);
}

static void test_reset(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct plain *p = plain_with_bars(f);
    uint64_t before = get(f, 1, PCI_BASE_ADDRESS_0, 4);
    set(f, 1, PCI_BASE_ADDRESS_0, 0xd0000000, 4);
    set(f, 1, PCI_COMMAND, 0, 2);
    pci_set_intx(&p->pci, true);
    p->pci.device.class->reset(&p->pci.device);
    g_assert_cmphex(get(f, 1, PCI_BASE_ADDRESS_0, 4), ==, before);
    g_assert_cmphex(get(f, 1, PCI_COMMAND, 2), ==, PCI_COMMAND_MEMORY);
    g_assert_cmphex(mmio(f, before, 4), ==, 4);
    g_assert_false(fake_line(f, PCI_INTX_GSI(1, 0)));
    fake_machine_free(f);
}

static void test_state(void)
{
    struct fake_machine *a = fake_machine_new(MEMORY), *b = fake_machine_new(MEMORY);
    struct plain *from = plain_with_msix(a), *to = plain_with_msix(b);
    unsigned c = find_capability(a, 1, PCI_CAP_ID_MSIX);
    set(a, 1, PCI_BASE_ADDRESS_0, 0xd0000000, 4);
    set(a, 1, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    set(a, 1, c + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
    set_vector(a, from, 3, 0xfee00000, 0x77, 1);
    pci_msix_signal(&from->pci, 3);
    pci_set_intx(&from->pci, true);
    g_assert_true(fake_transfer_state(&from->pci.device, &to->pci.device, NULL));
    g_assert_true(fake_line(b, PCI_INTX_GSI(1, 0)));
    g_assert_cmphex(mmio(b, 0xd0000000 + 16 * 3 + 8, 4), ==, 0x77);
    set_vector(b, to, 3, 0xfee00000, 0x77, 0);
    g_assert_cmpuint(fake_msis_of(b, 0x77), ==, 1);
    fake_machine_free(a);
    fake_machine_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci/bridges", test_bridges);
    g_test_add_func("/pci/ports", test_ports);
    g_test_add_func("/pci/identification", test_identification);
    g_test_add_func("/pci/slots", test_slots);
    g_test_add_func("/pci/discard", test_discard);
    g_test_add_func("/pci/bars/assigned", test_bars_assigned);
    g_test_add_func("/pci/bars/sized-and-moved", test_bars_sized_and_moved);
    g_test_add_func("/pci/bars/in-conflict", test_bars_in_conflict);
    g_test_add_func("/pci/bars/no-room", test_no_room);
    g_test_add_func("/pci/capabilities", test_capabilities);
    g_test_add_func("/pci/intx", test_intx);
    g_test_add_func("/pci/msix", test_msix);
    g_test_add_func("/pci/reset", test_reset);
    g_test_add_func("/pci/state", test_state);
    return g_test_run();
}
