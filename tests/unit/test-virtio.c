/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtio transport and queues, with the entropy and console devices as the simplest subjects.
 */
#include "machine/chipset/character.h"
#include "machine/virtio/virtio.h"
#include "virtio-driver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_console.h>
#include <string.h>

#define MEMORY     (64ull << 20)
#define VERSION_1  BIT(VIRTIO_F_VERSION_1)
#define INDIRECT   BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX  BIT(VIRTIO_RING_F_EVENT_IDX)
#define RING_RESET BIT(VIRTIO_F_RING_RESET)
#define QUEUE_SIZE 8

static struct driver *rng_driver(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    GError *error = NULL;
    struct device *d = virtio_rng_new(&f->machine, "rng0", &error);
    g_assert_no_error(error);
    return driver_new(f, d);
}

static void end(struct driver *d)
{
    fake_machine_free(d->fake);
    driver_free(d);
}

/* Asks for LENGTH random bytes and says whether they came. */
static bool rng_works(struct driver *d, unsigned length)
{
    struct buffer b = {driver_alloc(d, length), length, true};
    static const uint8_t zeroes[4096];
    return driver_request(d, &d->queues[0], &b, 1) == length &&
           memcmp(driver_ram(d, b.gpa), zeroes, length) != 0;
}

/* ---- registers ---- */

static void test_identity(void)
{
    struct driver *d = rng_driver();
    g_assert_cmphex(pci_get(d, 0, 4), ==, 0x10441af4);
    g_assert_cmphex(pci_get(d, PCI_REVISION_ID, 1), >=, 1);
    g_assert_cmphex(pci_get(d, PCI_SUBSYSTEM_ID, 2), >=, 0x40);
    g_assert_cmphex(d->config, ==, 0); /* rng has no configuration */
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_NUMQ, 2), ==, 1);
    end(d);
}

static void test_features(void)
{
    struct driver *d = rng_driver();
    uint64_t offered = driver_offered(d);
    g_assert_cmphex(offered, ==, VERSION_1 | INDIRECT | EVENT_IDX | RING_RESET);
    driver_set(d, VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_DF, 4), ==, 0);

    g_assert_true(driver_negotiate(d, VERSION_1));
    g_assert_true(driver_negotiate(d, offered));
    g_assert_false(driver_negotiate(d, INDIRECT));           /* not a modern driver */
    g_assert_false(driver_negotiate(d, VERSION_1 | BIT(0))); /* not offered */
    g_assert_false(driver_negotiate(d, VERSION_1 | BIT(63)));
    driver_ok(d); /* without FEATURES_OK */
    g_assert_cmphex(driver_status(d) & VIRTIO_CONFIG_S_DRIVER_OK, ==, 0);

    /* Features stand once agreed. */
    g_assert_true(driver_negotiate(d, VERSION_1));
    driver_set(d, VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
    driver_set(d, VIRTIO_PCI_COMMON_GF, 0xffffffff, 4);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_GF, 4), ==, 0);
    driver_set(d, VIRTIO_PCI_COMMON_GFSELECT, 7, 4);
    driver_set(d, VIRTIO_PCI_COMMON_GF, 0xffffffff, 4);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_GF, 4), ==, 0);
    end(d);
}

static void test_queue_registers(void)
{
    struct driver *d = rng_driver();
    g_assert_true(driver_negotiate(d, VERSION_1));
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 64);
    struct driver_queue *q = driver_place_queue(d, 0, QUEUE_SIZE);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, QUEUE_SIZE);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_Q_DESCLO, 4), ==, q->descriptors);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_Q_USEDLO, 8), ==, q->used);
    driver_set(d, VIRTIO_PCI_COMMON_Q_AVAILHI, 0xabcd, 4);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_Q_AVAILLO, 8), ==,
                    0xabcd00000000 | q->available);
    driver_set(d, VIRTIO_PCI_COMMON_Q_AVAILHI, 0, 4);

    /* Vectors: 0 and 1 exist. */
    driver_set(d, VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_Q_MSIX, 2), ==, VIRTIO_MSI_NO_VECTOR);
    driver_set(d, VIRTIO_PCI_COMMON_MSIX, 9, 2);
    g_assert_cmphex(driver_get(d, VIRTIO_PCI_COMMON_MSIX, 2), ==, VIRTIO_MSI_NO_VECTOR);

    /* Writes of the wrong size or place are dropped. */
    driver_set(d, VIRTIO_PCI_COMMON_Q_SIZE, 4, 1);
    driver_set(d, VIRTIO_PCI_COMMON_Q_SIZE + 1, 4, 1);
    driver_set(d, VIRTIO_PCI_COMMON_Q_SIZE, 4, 4);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, QUEUE_SIZE);
    for (unsigned offset = 60; offset < 0x1000; offset += 4) {
        driver_set(d, offset, 0xffffffff, 4);
        g_assert_cmphex(driver_get(d, offset, 4), ==, 0);
    }

    /* An enabled queue stays as it is. */
    driver_set(d, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
    driver_set(d, VIRTIO_PCI_COMMON_Q_SIZE, 4, 2);
    driver_set(d, VIRTIO_PCI_COMMON_Q_ENABLE, 0, 2);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, QUEUE_SIZE);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);

    /* Queues that do not exist read as zero. */
    driver_set(d, VIRTIO_PCI_COMMON_Q_SELECT, 0xffff, 2);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 0);
    driver_set(d, VIRTIO_PCI_COMMON_Q_SIZE, 4, 2);
    driver_set(d, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
    driver_set(d, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
    end(d);
}

/* The way in for firmware that cannot reach BARs. */
static void test_config_window(void)
{
    struct driver *d = rng_driver();
    unsigned c = pci_find(d, 0, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG);
    unsigned data = c + sizeof(struct virtio_pci_cap);
    g_assert_cmpuint(c, !=, 0);
    unsigned bar = pci_get(d, pci_find(d, 0, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_COMMON_CFG) + 4, 1);

    pci_set(d, c + VIRTIO_PCI_CAP_BAR, bar, 1);
    pci_set(d, c + VIRTIO_PCI_CAP_OFFSET, VIRTIO_PCI_COMMON_STATUS, 4);
    pci_set(d, c + VIRTIO_PCI_CAP_LENGTH, 1, 4);
    pci_set(d, data, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
    g_assert_cmphex(driver_status(d), ==, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    g_assert_cmphex(pci_get(d, data, 1), ==, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    /* Bad windows do nothing. */
    static const struct {
        uint8_t bar;
        uint32_t offset, length;
    } bad[] = {{0, 20, 1},         {6, 20, 1},     {255, 20, 1},  {1, 20, 3},
               {1, 20, 0},         {1, 20, 8},     {1, 21, 2},    {1, 0xffffffff, 1},
               {1, 0xfffffffe, 2}, {1, 0x4000, 1}, {1, 0x3fff, 2}};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        pci_set(d, c + VIRTIO_PCI_CAP_BAR, bad[i].bar, 1);
        pci_set(d, c + VIRTIO_PCI_CAP_OFFSET, bad[i].offset, 4);
        pci_set(d, c + VIRTIO_PCI_CAP_LENGTH, bad[i].length, 4);
        pci_set(d, data, 0, 4);
        pci_get(d, data, 4);
        g_assert_cmphex(driver_status(d), ==, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    }
    end(d);
}

/* ---- requests and interrupts ---- */

static void test_request(void)
{
    struct driver *d = rng_driver();
    driver_enable_msix(d);
    driver_start(d, 0, QUEUE_SIZE);
    uint64_t before = d->fake->written;
    for (unsigned i = 0; i < 5 * QUEUE_SIZE; i++) /* the rings wrap */
        g_assert_true(rng_works(d, 64));
    g_assert_cmpuint(fake_msis_of(d->fake, MSI_QUEUE), ==, 5 * QUEUE_SIZE);
    g_assert_cmpuint(fake_msis(d->fake), ==, 5 * QUEUE_SIZE);
    /* Data, used entry and index were reported each time. */
    g_assert_cmpuint(d->fake->written - before, >=, 5 * QUEUE_SIZE * (64 + 8 + 2));
    end(d);
}

static void test_indirect(void)
{
    struct driver *d = rng_driver();
    driver_start(d, INDIRECT, QUEUE_SIZE);
    struct buffer b[20];
    uint32_t head;
    for (unsigned i = 0; i < ARRAY_SIZE(b); i++)
        b[i] = (struct buffer){driver_alloc(d, 4096), 16, true};
    uint16_t expected = driver_add(d, &d->queues[0], b, ARRAY_SIZE(b), true);
    driver_notify(d, &d->queues[0]);
    g_assert_cmpuint(driver_wait(d, &d->queues[0], &head), ==, 16 * ARRAY_SIZE(b));
    g_assert_cmpuint(head, ==, expected);
    uint64_t last = 0;
    memcpy(&last, driver_ram(d, b[19].gpa + 8), 8);
    g_assert_cmphex(last, !=, 0);
    memcpy(&last, driver_ram(d, b[19].gpa + 16), 8);
    g_assert_cmphex(last, ==, 0);

    /* A chain whose last descriptor is indirect (2.7.5.3.2). */
    struct driver_queue *q = &d->queues[0];
    uint64_t table = driver_alloc(d, 16), first = driver_alloc(d, 8), second = driver_alloc(d, 8);
    driver_descriptor(d, table, 0, second, 8, VRING_DESC_F_WRITE, 0);
    driver_descriptor(d, q->descriptors, 3, first, 8, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 5);
    driver_descriptor(d, q->descriptors, 5, table, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE,
                      0);
    driver_offer(d, q, 3);
    driver_notify(d, q);
    g_assert_cmpuint(driver_wait(d, q, &head), ==, 16);
    g_assert_cmpuint(head, ==, 3);
    end(d);
}

static void test_odd_buffers(void)
{
    struct driver *d = rng_driver();
    driver_start(d, 0, QUEUE_SIZE);
    uint64_t a = driver_alloc(d, 4096);
    /* Empty ones count for nothing; a chain with nothing to write is done with nothing written. */
    const struct buffer with_empty[] = {{a, 0, true}, {a, 32, true}, {a + 32, 0, true}};
    g_assert_cmpuint(driver_request(d, &d->queues[0], with_empty, 3), ==, 32);
    const struct buffer only_empty[] = {{~0ull, 0, true}};
    g_assert_cmpuint(driver_request(d, &d->queues[0], only_empty, 1), ==, 0);
    const struct buffer readable[] = {{a, 100, false}};
    g_assert_cmpuint(driver_request(d, &d->queues[0], readable, 1), ==, 0);
    g_assert_cmphex(driver_status(d), ==, 15);
    /* To the last byte of RAM. */
    const struct buffer at_end[] = {{MEMORY - 16, 16, true}};
    g_assert_cmpuint(driver_request(d, &d->queues[0], at_end, 1), ==, 16);
    end(d);
}

static void test_intx(void)
{
    struct driver *d = rng_driver();
    unsigned gsi = PCI_INTX_GSI(d->slot, 0);
    driver_start(d, 0, QUEUE_SIZE);
    g_assert_false(fake_line(d->fake, gsi));
    g_assert_true(rng_works(d, 8));
    g_assert_true(fake_line(d->fake, gsi));
    g_assert_cmphex(space_read(d->m, SPACE_MMIO, d->isr, 1), ==, 1);
    g_assert_false(fake_line(d->fake, gsi));
    g_assert_cmphex(space_read(d->m, SPACE_MMIO, d->isr, 1), ==, 0);
    g_assert_true(rng_works(d, 8));
    driver_reset(d);
    g_assert_false(fake_line(d->fake, gsi));
    g_assert_cmpuint(fake_msis(d->fake), ==, 0);
    end(d);
}

static void test_interrupts_unwanted(void)
{
    struct driver *d = rng_driver();
    driver_enable_msix(d);
    driver_start(d, 0, QUEUE_SIZE);
    struct driver_queue *q = &d->queues[0];
    *(uint16_t *)driver_ram(d, q->available) = VRING_AVAIL_F_NO_INTERRUPT;
    g_assert_true(rng_works(d, 8));
    g_assert_cmpuint(fake_msis(d->fake), ==, 0);
    *(uint16_t *)driver_ram(d, q->available) = 0;
    g_assert_true(rng_works(d, 8));
    g_assert_cmpuint(fake_msis(d->fake), ==, 1);
    end(d);
}

static void test_event_index(void)
{
    struct driver *d = rng_driver();
    driver_enable_msix(d);
    driver_start(d, EVENT_IDX, QUEUE_SIZE);
    struct driver_queue *q = &d->queues[0];
    uint16_t *used_event = driver_ram(d, q->available + 4 + 2 * QUEUE_SIZE);
    const uint16_t *available_event = driver_ram(d, q->used + 4 + 8 * QUEUE_SIZE);

    g_assert_true(rng_works(d, 8)); /* the first one always interrupts */
    g_assert_cmpuint(fake_msis(d->fake), ==, 1);
    g_assert_cmpuint(*available_event, ==, 1); /* notify when you add entry 1 */
    *used_event = 3;                           /* interrupt when entry 3 is used */
    g_assert_true(rng_works(d, 8));
    g_assert_true(rng_works(d, 8));
    g_assert_cmpuint(fake_msis(d->fake), ==, 1);
    g_assert_true(rng_works(d, 8));
    g_assert_cmpuint(fake_msis(d->fake), ==, 2);
    g_assert_cmpuint(*available_event, ==, 4);

    /* Several at once are one interrupt, also over the wrap of the 16-bit index. */
    for (unsigned total = 4; total < 0x10000 + 64; total += 4) {
        struct buffer b = {0x200000, 4, true};
        unsigned before = fake_msis(d->fake);
        *used_event = q->seen;
        for (unsigned i = 0; i < 4; i++)
            driver_add(d, q, &b, 1, false);
        driver_notify(d, q);
        fake_settle(d->fake);
        for (unsigned i = 0; i < 4; i++) {
            uint32_t head, written;
            g_assert_true(driver_take(d, q, &head, &written));
        }
        g_assert_cmpuint(fake_msis(d->fake), ==, before + 1);
        g_assert_cmpuint(*available_event, ==, q->available_index);
    }
    end(d);
}

static void test_bus_master(void)
{
    struct driver *d = rng_driver();
    driver_start(d, 0, QUEUE_SIZE);
    struct driver_queue *q = &d->queues[0];
    struct buffer b = {driver_alloc(d, 8), 8, true};
    pci_set(d, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    driver_add(d, q, &b, 1, false);
    driver_notify(d, q);
    fake_settle(d->fake);
    g_assert_cmpuint(driver_used_index(d, q), ==, 0);
    pci_set(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    g_assert_cmpuint(driver_wait(d, q, NULL), ==, 8);
    end(d);
}

/* ---- notification by the engine ---- */

static void test_ioeventfd(void)
{
    struct driver *d = rng_driver();
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 0);
    driver_start(d, 0, QUEUE_SIZE);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 1);
    g_assert_cmphex(d->fake->ioeventfds[0].address, ==, d->notify);
    g_assert_true(rng_works(d, 8));

    /* The guest moves the BAR: notifications move along. */
    unsigned bar = pci_get(d, pci_find(d, 0, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_NOTIFY_CFG) + 4, 1);
    uint64_t before = pci_get(d, PCI_BASE_ADDRESS_0 + 4 * bar, 4) & ~15u;
    pci_set(d, PCI_BASE_ADDRESS_0 + 4 * bar, 0xd0000000, 4);
    d->notify += 0xd0000000 - before;
    d->common += 0xd0000000 - before;
    g_assert_cmphex(d->fake->ioeventfds[0].address, ==, d->notify);
    g_assert_true(rng_works(d, 8));
    pci_set(d, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 0);
    pci_set(d, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 1);
    driver_reset(d);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 0);

    /* An engine that has none: the register takes notifications. */
    d->fake->refuse_ioeventfd = true;
    driver_start(d, 0, QUEUE_SIZE);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 0);
    g_assert_true(rng_works(d, 8));
    d->fake->refuse_ioeventfd = false;
    end(d);
}

/* ---- hostile guests ---- */

enum { GOOD_BUFFER = 0x300000, TABLE = 0x310000 };

struct hostile {
    const char *name;
    void (*act)(struct driver *d, struct driver_queue *q);
};

static void raw(struct driver *d, struct driver_queue *q, unsigned n, uint64_t address,
                uint32_t length, uint16_t flags, uint16_t next)
{
    driver_descriptor(d, q->descriptors, n, address, length, flags, next);
}

#define W VRING_DESC_F_WRITE
#define N VRING_DESC_F_NEXT
#define I VRING_DESC_F_INDIRECT

static void self_loop(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, GOOD_BUFFER, 16, W | N, 0);
    driver_offer(d, q, 0);
}

static void long_loop(struct driver *d, struct driver_queue *q)
{
    for (unsigned i = 0; i < QUEUE_SIZE; i++)
        raw(d, q, i, GOOD_BUFFER + 64 * i, 16, W | N, (i + 1) % QUEUE_SIZE);
    driver_offer(d, q, 2);
}

static void empty_loop(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, GOOD_BUFFER, 0, W | N, 0);
    driver_offer(d, q, 0);
}

static void bad_head(struct driver *d, struct driver_queue *q)
{
    driver_offer(d, q, QUEUE_SIZE);
}

static void bad_next(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, GOOD_BUFFER, 16, W | N, 0xffff);
    driver_offer(d, q, 0);
}

static void beyond_ram(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, MEMORY - 8, 16, W, 0);
    driver_offer(d, q, 0);
}

static void wrapping(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, UINT64_MAX - 7, 16, W, 0);
    driver_offer(d, q, 0);
}

static void huge(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, 0, UINT32_MAX, W, 0);
    driver_offer(d, q, 0);
}

static void registers(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, d->common, 16, W, 0);
    driver_offer(d, q, 0);
}

static void wrong_order(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, GOOD_BUFFER, 16, W | N, 1);
    raw(d, q, 1, GOOD_BUFFER, 16, 0, 0);
    driver_offer(d, q, 0);
}

static void index_ahead(struct driver *d, struct driver_queue *q)
{
    (void)d;
    q->available_index += QUEUE_SIZE + 1;
}

static void index_back(struct driver *d, struct driver_queue *q)
{
    (void)d;
    q->available_index--;
}

static void indirect_loop(struct driver *d, struct driver_queue *q)
{
    driver_descriptor(d, TABLE, 0, GOOD_BUFFER, 16, W | N, 1);
    driver_descriptor(d, TABLE, 1, GOOD_BUFFER, 16, W | N, 0);
    raw(d, q, 0, TABLE, 32, I, 0);
    driver_offer(d, q, 0);
}

static void indirect_in_indirect(struct driver *d, struct driver_queue *q)
{
    driver_descriptor(d, TABLE, 0, TABLE, 16, I, 0);
    raw(d, q, 0, TABLE, 16, I, 0);
    driver_offer(d, q, 0);
}

static void indirect_and_next(struct driver *d, struct driver_queue *q)
{
    driver_descriptor(d, TABLE, 0, GOOD_BUFFER, 16, W, 0);
    raw(d, q, 0, TABLE, 16, I | N, 1);
    raw(d, q, 1, GOOD_BUFFER, 16, W, 0);
    driver_offer(d, q, 0);
}

static void indirect_empty(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, TABLE, 0, I, 0);
    driver_offer(d, q, 0);
}

static void indirect_odd(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, TABLE, 24, I, 0);
    driver_offer(d, q, 0);
}

static void indirect_outside(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, MEMORY - 16, 32, I, 0);
    driver_offer(d, q, 0);
}

static void indirect_leaves(struct driver *d, struct driver_queue *q)
{
    driver_descriptor(d, TABLE, 0, GOOD_BUFFER, 16, W | N, 2);
    raw(d, q, 0, TABLE, 32, I, 0);
    driver_offer(d, q, 0);
}

static void indirect_long(struct driver *d, struct driver_queue *q)
{
    raw(d, q, 0, TABLE, 16 * (VIRTIO_CHAIN_MAX + 1), I, 0);
    driver_offer(d, q, 0);
}

/* A full indirect table behind a few direct ones: one segment more than there may be. */
static void too_many(struct driver *d, struct driver_queue *q)
{
    uint64_t table = driver_alloc(d, 16 * VIRTIO_CHAIN_MAX);
    for (unsigned i = 0; i < VIRTIO_CHAIN_MAX; i++)
        driver_descriptor(d, table, i, GOOD_BUFFER + 32 * (i % 64), 16,
                          W | (i + 1 < VIRTIO_CHAIN_MAX ? N : 0), i + 1);
    raw(d, q, 0, GOOD_BUFFER + 4096, 16, W | N, 1);
    raw(d, q, 1, table, 16 * VIRTIO_CHAIN_MAX, I, 0);
    driver_offer(d, q, 0);
}

static const struct hostile hostiles[] = {
    {"self-loop", self_loop},
    {"long-loop", long_loop},
    {"empty-loop", empty_loop},
    {"bad-head", bad_head},
    {"bad-next", bad_next},
    {"beyond-ram", beyond_ram},
    {"wrapping", wrapping},
    {"huge", huge},
    {"registers", registers},
    {"wrong-order", wrong_order},
    {"index-ahead", index_ahead},
    {"index-back", index_back},
    {"indirect-loop", indirect_loop},
    {"indirect-in-indirect", indirect_in_indirect},
    {"indirect-and-next", indirect_and_next},
    {"indirect-empty", indirect_empty},
    {"indirect-odd", indirect_odd},
    {"indirect-outside", indirect_outside},
    {"indirect-leaves", indirect_leaves},
    {"indirect-long", indirect_long},
    {"too-many", too_many},
};

static void test_hostile(gconstpointer opaque)
{
    const struct hostile *h = opaque;
    struct driver *d = rng_driver();
    driver_enable_msix(d);
    driver_start(d, INDIRECT, QUEUE_SIZE);
    struct driver_queue *q = &d->queues[0];
    g_assert_true(rng_works(d, 16));
    uint8_t *good = driver_ram(d, GOOD_BUFFER);
    memset(good, 0, 8192);

    h->act(d, q);
    driver_notify(d, q);
    fake_settle(d->fake);
    g_assert_cmphex(driver_status(d), ==, 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    g_assert_cmpuint(fake_msis_of(d->fake, MSI_CONFIG), ==, 1);
    g_assert_cmpuint(fake_warnings(d->fake), ==, 1);
    g_assert_cmpuint(driver_used_index(d, q), ==, 1);
    for (unsigned i = 0; i < 8192; i++)
        g_assert_cmphex(good[i], ==, 0);
    /* The driver cannot clear the bit, and nothing more is done... */
    driver_set(d, VIRTIO_PCI_COMMON_STATUS, 15, 1);
    g_assert_cmphex(driver_status(d), ==, 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    driver_notify(d, q);
    fake_settle(d->fake);
    g_assert_cmpuint(driver_used_index(d, q), ==, 1);
    /* ... until it resets. */
    driver_start(d, INDIRECT, QUEUE_SIZE);
    g_assert_true(rng_works(d, 16));
    end(d);
}

static void test_indirect_not_negotiated(void)
{
    struct driver *d = rng_driver();
    driver_start(d, 0, QUEUE_SIZE);
    struct buffer b = {GOOD_BUFFER, 16, true};
    driver_add(d, &d->queues[0], &b, 1, true);
    driver_notify(d, &d->queues[0]);
    fake_settle(d->fake);
    g_assert_cmphex(driver_status(d), ==, 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    end(d);
}

static void test_bad_rings(void)
{
    struct driver *d = rng_driver();
    static const struct {
        unsigned offset;
        uint64_t value;
        unsigned size;
    } bad[] = {
        {VIRTIO_PCI_COMMON_Q_DESCLO, MEMORY - 16, 8},
        {VIRTIO_PCI_COMMON_Q_DESCLO, 0x200008, 8},
        {VIRTIO_PCI_COMMON_Q_DESCLO, UINT64_MAX - 15, 8},
        {VIRTIO_PCI_COMMON_Q_AVAILLO, MEMORY - 4, 8},
        {VIRTIO_PCI_COMMON_Q_AVAILLO, 0x200001, 8},
        {VIRTIO_PCI_COMMON_Q_USEDLO, LAYOUT_ECAM, 8},
        {VIRTIO_PCI_COMMON_Q_USEDLO, 0x200002, 8},
        {VIRTIO_PCI_COMMON_Q_SIZE, 0, 2},
        {VIRTIO_PCI_COMMON_Q_SIZE, 6, 2},
        {VIRTIO_PCI_COMMON_Q_SIZE, 128, 2},
        {VIRTIO_PCI_COMMON_Q_SIZE, 0xffff, 2},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_true(driver_negotiate(d, VERSION_1));
        driver_place_queue(d, 0, QUEUE_SIZE);
        driver_set(d, bad[i].offset, bad[i].value, bad[i].size);
        driver_set(d, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
        g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
        driver_ok(d);
        g_assert_cmphex(driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET, !=, 0);
        driver_notify(d, &d->queues[0]);
        fake_settle(d->fake);
    }
    driver_start(d, 0, QUEUE_SIZE);
    g_assert_true(rng_works(d, 16));
    /* Only the first of all these is worth a warning. */
    g_assert_cmpuint(fake_warnings(d->fake), ==, 1);
    end(d);
}

/* ---- resets, pauses, state ---- */

static void test_queue_reset(void)
{
    struct driver *d = rng_driver();
    driver_start(d, RING_RESET, QUEUE_SIZE);
    g_assert_true(rng_works(d, 8));
    driver_set(d, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_RESET, 2), ==, 0);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 0);
    driver_enable_queue(d, 0, 4);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 1);
    for (unsigned i = 0; i < 9; i++)
        g_assert_true(rng_works(d, 8));
    /* Not without the feature. */
    driver_start(d, 0, QUEUE_SIZE);
    driver_set(d, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
    g_assert_cmpuint(driver_get(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
    end(d);
}

static void test_machine_reset(void)
{
    struct driver *d = rng_driver();
    struct device *device = &d->v->pci.device;
    driver_enable_msix(d);
    driver_start(d, 0, QUEUE_SIZE);
    g_assert_true(rng_works(d, 8));
    g_mutex_lock(&device->lock);
    device->class->reset(device);
    g_mutex_unlock(&device->lock);
    g_assert_cmphex(driver_status(d), ==, 0);
    g_assert_cmpuint(fake_ioeventfd_count(d->fake), ==, 0);
    g_assert_cmphex(pci_get(d, PCI_COMMAND, 2), ==, PCI_COMMAND_MEMORY);
    g_assert_false(pci_msix_enabled(&d->v->pci));
    pci_set(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    driver_start(d, 0, QUEUE_SIZE);
    g_assert_true(rng_works(d, 8));
    end(d);
}

static void test_pause(void)
{
    struct driver *d = rng_driver();
    struct device *device = &d->v->pci.device;
    struct driver_queue *q = &d->queues[0];
    driver_start(d, 0, QUEUE_SIZE);
    struct buffer b = {driver_alloc(d, 8), 8, true};
    device->class->pause(device);
    driver_add(d, q, &b, 1, false);
    driver_notify(d, q);
    fake_settle(d->fake);
    g_assert_cmpuint(driver_used_index(d, q), ==, 0);
    device->class->resume(device);
    g_assert_cmpuint(driver_wait(d, q, NULL), ==, 8);
    end(d);
}

/* A device takes over another's state and guest memory, and goes on where that one was. */
static void test_state(void)
{
    struct driver *a = rng_driver(), *b = rng_driver();
    driver_enable_msix(a);
    driver_start(a, EVENT_IDX, QUEUE_SIZE);
    for (unsigned i = 0; i < 11; i++)
        g_assert_true(rng_works(a, 8));
    memcpy(driver_ram(b, 0), driver_ram(a, 0), MEMORY);
    GError *error = NULL;
    g_assert_true(fake_transfer_state(&a->v->pci.device, &b->v->pci.device, &error));
    g_assert_no_error(error);
    b->queues[0] = a->queues[0];
    b->heap = a->heap;
    g_assert_cmphex(driver_status(b), ==, 15);
    g_assert_cmpuint(fake_ioeventfd_count(b->fake), ==, 1);
    *(uint16_t *)driver_ram(b, b->queues[0].available + 4 + 2 * QUEUE_SIZE) = 12;
    g_assert_true(rng_works(b, 8));
    g_assert_cmpuint(fake_msis(b->fake), ==, 0);
    g_assert_true(rng_works(b, 8));
    g_assert_cmpuint(fake_msis_of(b->fake, MSI_QUEUE), ==, 1);

    /* A forged state is refused. */
    a->v->queues[0].descriptors = MEMORY;
    g_assert_false(fake_transfer_state(&a->v->pci.device, &b->v->pci.device, &error));
    g_assert_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG);
    g_clear_error(&error);
    a->v->features |= BIT(50);
    g_assert_false(fake_transfer_state(&a->v->pci.device, &b->v->pci.device, &error));
    g_assert_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG);
    g_clear_error(&error);
    end(a);
    end(b);
}

/* ---- console ---- */

static void test_console(void)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct device *device =
        virtio_console_new(&f->machine, "console0", (struct character *)f, NULL);
    struct driver *d = driver_new(f, device);
    struct driver_queue *rx = &d->queues[0], *tx = &d->queues[1];
    const struct character_client *client = f->character_client;

    g_assert_cmpuint(client->room(client->opaque), ==, 0); /* no driver yet */
    space_write(d->m, SPACE_MMIO, d->config + offsetof(struct virtio_console_config, emerg_wr), '!',
                4);
    driver_start(d, 0, QUEUE_SIZE);
    struct buffer out[] = {{driver_alloc(d, 16), 6, false}, {driver_alloc(d, 16), 5, false}};
    memcpy(driver_ram(d, out[0].gpa), "hello ", 6);
    memcpy(driver_ram(d, out[1].gpa), "world", 5);
    driver_request(d, tx, out, 2);
    g_byte_array_append(f->character, (const guint8 *)"", 1);
    g_assert_cmpstr((char *)f->character->data, ==, "!hello world");

    /* A back-end that asks to wait. */
    f->character_limit = f->character->len + 6;
    driver_add(d, tx, out, 1, false);
    driver_add(d, tx, out, 2, false);
    driver_notify(d, tx);
    fake_settle(f);
    g_assert_cmpuint(driver_used_index(d, tx), ==, 2);
    f->character_limit = UINT_MAX;
    client->writable(client->opaque);
    g_assert_cmpuint(driver_used_index(d, tx), ==, 3);

    /* Input waits for buffers, and is split as they are. */
    g_assert_cmpuint(client->room(client->opaque), >, 0);
    client->receive(client->opaque, (const uint8_t *)"abcdefgh", 8);
    struct buffer in[] = {{driver_alloc(d, 16), 5, true}, {driver_alloc(d, 16), 5, true}};
    driver_add(d, rx, &in[0], 1, false);
    driver_add(d, rx, &in[1], 1, false);
    driver_notify(d, rx);
    g_assert_cmpuint(driver_wait(d, rx, NULL), ==, 5);
    g_assert_cmpuint(driver_wait(d, rx, NULL), ==, 3);
    g_assert_cmpmem(driver_ram(d, in[0].gpa), 5, "abcde", 5);
    g_assert_cmpmem(driver_ram(d, in[1].gpa), 4, "fgh", 4);

    /* No more than there is room for. */
    while (client->room(client->opaque))
        client->receive(client->opaque, (const uint8_t *)"x", 1);
    client->receive(client->opaque, (const uint8_t *)"lost", 4);
    g_assert_cmpuint(client->room(client->opaque), ==, 0);
    end(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/identity", test_identity);
    g_test_add_func("/virtio/features", test_features);
    g_test_add_func("/virtio/queue-registers", test_queue_registers);
    g_test_add_func("/virtio/config-window", test_config_window);
    g_test_add_func("/virtio/request", test_request);
    g_test_add_func("/virtio/indirect", test_indirect);
    g_test_add_func("/virtio/odd-buffers", test_odd_buffers);
    g_test_add_func("/virtio/intx", test_intx);
    g_test_add_func("/virtio/interrupts-unwanted", test_interrupts_unwanted);
    g_test_add_func("/virtio/event-index", test_event_index);
    g_test_add_func("/virtio/bus-master", test_bus_master);
    g_test_add_func("/virtio/ioeventfd", test_ioeventfd);
    for (unsigned i = 0; i < ARRAY_SIZE(hostiles); i++) {
        g_autofree char *path = g_strconcat("/virtio/hostile/", hostiles[i].name, NULL);
        g_test_add_data_func(path, &hostiles[i], test_hostile);
    }
    g_test_add_func("/virtio/hostile/indirect-not-negotiated", test_indirect_not_negotiated);
    g_test_add_func("/virtio/hostile/bad-rings", test_bad_rings);
    g_test_add_func("/virtio/queue-reset", test_queue_reset);
    g_test_add_func("/virtio/machine-reset", test_machine_reset);
    g_test_add_func("/virtio/pause", test_pause);
    g_test_add_func("/virtio/state", test_state);
    g_test_add_func("/virtio/console", test_console);
    return g_test_run();
}
