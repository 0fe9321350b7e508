/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtio block device against a temporary file, with both engines of disk images. */
#include "machine/virtio/virtio.h"
#include "virtio-driver.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY     (64ull << 20)
#define DISK_SIZE  (8ull << 20)
#define SECTOR     512ull
#define QUEUE_SIZE 256
#define ALL_FEATURES                                                                               \
    (BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) |        \
     BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX))

struct disk {
    struct driver *d;
    struct device *device;
    char *path;
};

/* A file of DISK_SIZE bytes whose 8-byte words all differ. */
static char *image_new(void)
{
    g_autofree uint64_t *words = g_malloc(DISK_SIZE);
    GError *error = NULL;
    char *path;
    for (uint64_t i = 0; i < DISK_SIZE / 8; i++)
        words[i] = i * 0x9e3779b97f4a7c15 + 1;
    int fd = g_file_open_tmp("trapeze-disk-XXXXXX", &path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(write(fd, words, DISK_SIZE), ==, DISK_SIZE);
    close(fd);
    return path;
}

static uint8_t *image_bytes(const char *path)
{
    char *bytes;
    gsize length;
    g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
    g_assert_cmpuint(length, ==, DISK_SIZE);
    return (uint8_t *)bytes;
}

/* io_uring may be forbidden where the tests run. */
static bool engine_usable(enum block_engine engine)
{
    g_autofree char *path = image_new();
    struct block_image *b = block_open(path, false, engine, NULL);
    block_close(b);
    g_unlink(path);
    return b;
}

static struct disk disk_new(struct virtio_blk_options o)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct disk k = {.path = image_new()};
    GError *error = NULL;
    o.path = k.path;
    k.device = virtio_blk_new(&f->machine, "disk0", &o, &error);
    g_assert_no_error(error);
    k.d = driver_new(f, k.device);
    driver_enable_msix(k.d);
    return k;
}

static void disk_free(struct disk *k)
{
    fake_machine_free(k->d->fake);
    driver_free(k->d);
    g_unlink(k->path);
    g_free(k->path);
}

/* Fills in the three usual parts of a request: header, data, status. */
static unsigned request_parts(struct disk *k, struct buffer *b, uint32_t type, uint64_t sector,
                              uint64_t data, uint32_t length)
{
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    unsigned n = 0;
    bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
    b[n] = (struct buffer){driver_alloc(k->d, sizeof(header) + 1), sizeof(header), false};
    memcpy(driver_ram(k->d, b[n].gpa), &header, sizeof(header));
    *(uint8_t *)driver_ram(k->d, b[n].gpa + sizeof(header)) = 0xee;
    uint64_t status = b[n++].gpa + sizeof(header);
    if (length)
        b[n++] = (struct buffer){data, length, in};
    b[n++] = (struct buffer){status, 1, true};
    return n;
}

/* Makes a request and returns its status. */
static uint8_t request(struct disk *k, uint32_t type, uint64_t sector, uint64_t data,
                       uint32_t length)
{
    struct buffer b[3];
    unsigned count = request_parts(k, b, type, sector, data, length);
    uint32_t written = driver_request(k->d, &k->d->queues[0], b, count);
    uint8_t status = *(uint8_t *)driver_ram(k->d, b[count - 1].gpa);
    if (status == VIRTIO_BLK_S_OK && type == VIRTIO_BLK_T_IN)
        g_assert_cmpuint(written, ==, length + 1);
    g_assert_cmpuint(written, >=, 1);
    return status;
}

static uint8_t range_request(struct disk *k, uint32_t type, uint64_t sector, uint32_t count,
                             uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes range = {sector, count, flags};
    uint64_t at = driver_alloc(k->d, sizeof(range));
    memcpy(driver_ram(k->d, at), &range, sizeof(range));
    return request(k, type, 0, at, sizeof(range));
}

/* ---- data ---- */

static void test_identity(void)
{
    struct disk k = disk_new((struct virtio_blk_options){.serial = "serial-0123456789abcdef"});
    struct driver *d = k.d;
    g_assert_cmphex(pci_get(d, 0, 4), ==, 0x10421af4);
    g_assert_cmpuint(driver_config(d, 0, 8), ==, DISK_SIZE / SECTOR);
    g_assert_cmpuint(driver_config(d, offsetof(struct virtio_blk_config, blk_size), 4), ==, 512);
    g_assert_cmphex(driver_config(d, 0x200, 4), ==, 0);
    driver_start(d, ALL_FEATURES, QUEUE_SIZE);
    uint64_t data = driver_alloc(d, 64);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_GET_ID, 0, data, 20), ==, VIRTIO_BLK_S_OK);
    g_assert_cmpmem(driver_ram(d, data), 20, "serial-0123456789abc", 20);
    g_assert_cmpuint(request(&k, 99, 0, data, 20), ==, VIRTIO_BLK_S_UNSUPP);
    disk_free(&k);
}

static void test_read_write(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    struct driver *d = k.d;
    driver_start(d, ALL_FEATURES, QUEUE_SIZE);
    g_autofree uint8_t *expected = image_bytes(k.path);
    uint64_t data = driver_alloc(d, 65536);
    static const struct {
        uint64_t sector;
        uint32_t sectors;
    } places[] = {{0, 1}, {1, 7}, {100, 128}, {DISK_SIZE / SECTOR - 1, 1}};

    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        uint64_t at = places[i].sector * SECTOR, length = places[i].sectors * SECTOR;
        uint8_t *ram = driver_ram(d, data);
        g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, places[i].sector, data, length), ==, 0);
        g_assert_cmpmem(ram, length, expected + at, length);
        for (unsigned j = 0; j < length; j++)
            ram[j] = expected[at + j] = (i * 31 + j * 7) ^ j >> 8;
        g_assert_cmpuint(request(&k, VIRTIO_BLK_T_OUT, places[i].sector, data, length), ==, 0);
        memset(ram, 0, length);
        g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, places[i].sector, data, length), ==, 0);
        g_assert_cmpmem(ram, length, expected + at, length);
    }
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_FLUSH, 0, 0, 0), ==, 0);
    g_autofree uint8_t *found = image_bytes(k.path);
    g_assert_cmpmem(found, DISK_SIZE, expected, DISK_SIZE);
    disk_free(&k);
}

/* Header, data and status cut up in other ways than drivers usually do (2.7.4: no framing). */
static void test_framing(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    struct driver *d = k.d;
    struct driver_queue *q = &d->queues[0];
    driver_start(d, ALL_FEATURES, QUEUE_SIZE);
    g_autofree uint8_t *expected = image_bytes(k.path);
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_OUT, .sector = 10};

    /* Header in two, the second with the first data; data in odd pieces. */
    uint64_t at = driver_alloc(d, 8192);
    uint8_t *ram = driver_ram(d, at);
    memcpy(ram, &header, sizeof(header));
    for (unsigned i = 0; i < 1024; i++)
        ram[16 + i] = expected[10 * SECTOR + i] = i ^ 0x5a;
    const struct buffer out[] = {{at, 7, false},
                                 {at + 7, 109, false},
                                 {at + 116, 1, false},
                                 {at + 117, 923, false},
                                 {at + 2000, 1, true}};
    driver_request(d, q, out, ARRAY_SIZE(out));
    g_assert_cmpuint(ram[2000], ==, VIRTIO_BLK_S_OK);
    g_autofree uint8_t *found = image_bytes(k.path);
    g_assert_cmpmem(found, DISK_SIZE, expected, DISK_SIZE);

    /* Data and status in one buffer; indirect. */
    header.type = VIRTIO_BLK_T_IN;
    memcpy(ram, &header, sizeof(header));
    const struct buffer in[] = {{at, 16, false}, {at + 4000, 33, true}, {at + 5000, 480, true}};
    memset(ram + 4000, 0xff, 4096);
    driver_add(d, q, in, ARRAY_SIZE(in), true);
    driver_notify(d, q);
    g_assert_cmpuint(driver_wait(d, q, NULL), ==, 513);
    g_assert_cmpmem(ram + 4000, 33, expected + 10 * SECTOR, 33);
    g_assert_cmpmem(ram + 5000, 479, expected + 10 * SECTOR + 33, 479);
    g_assert_cmpuint(ram[5479], ==, VIRTIO_BLK_S_OK);
    g_assert_cmpuint(ram[5480], ==, 0xff);
    disk_free(&k);
}

/* Many requests at once, on all queues, each in its own place. */
static void test_many(gconstpointer engine)
{
    struct disk k =
        disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine), .queues = 4});
    struct driver *d = k.d;
    driver_start(d, ALL_FEATURES | BIT(VIRTIO_BLK_F_MQ), QUEUE_SIZE);
    g_assert_cmpuint(driver_config(d, offsetof(struct virtio_blk_config, num_queues), 2), ==, 4);
    g_autofree uint8_t *expected = image_bytes(k.path);
    unsigned each = QUEUE_SIZE / 3;

    for (unsigned round = 0; round < 3; round++) {
        bool write = round == 1;
        uint64_t heap = d->heap, data[4][QUEUE_SIZE];
        for (unsigned n = 0; n < 4; n++) {
            for (unsigned i = 0; i < each; i++) {
                struct buffer b[3];
                uint64_t sector = (n * each + i) * 8;
                data[n][i] = driver_alloc(d, 4096);
                if (write) {
                    memset(expected + sector * SECTOR, n * 64 + i, 4096);
                    memset(driver_ram(d, data[n][i]), n * 64 + i, 4096);
                }
                request_parts(&k, b, write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, sector, data[n][i],
                              4096);
                driver_add(d, &d->queues[n], b, 3, false);
            }
            driver_notify(d, &d->queues[n]);
        }
        for (unsigned n = 0; n < 4; n++)
            for (unsigned i = 0; i < each; i++)
                g_assert_cmpuint(driver_wait(d, &d->queues[n], NULL), ==, write ? 1 : 4097);
        for (unsigned n = 0; !write && n < 4; n++)
            for (unsigned i = 0; i < each; i++)
                g_assert_cmpmem(driver_ram(d, data[n][i]), 4096, expected + (n * each + i) * 4096,
                                4096);
        d->heap = heap;
    }
    g_autofree uint8_t *found = image_bytes(k.path);
    g_assert_cmpmem(found, DISK_SIZE, expected, DISK_SIZE);
    disk_free(&k);
}

static void test_discard(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    g_autofree uint8_t *expected = image_bytes(k.path);
    uint64_t end = DISK_SIZE / SECTOR;

    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_WRITE_ZEROES, 3, 5, 0), ==, 0);
    memset(expected + 3 * SECTOR, 0, 5 * SECTOR);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_WRITE_ZEROES, 1000, 2000,
                                   VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
                     ==, 0);
    memset(expected + 1000 * SECTOR, 0, 2000 * SECTOR);
    g_autofree uint8_t *found = image_bytes(k.path);
    g_assert_cmpmem(found, DISK_SIZE, expected, DISK_SIZE);

    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_DISCARD, 8000, 800, 0), ==, 0);
    g_autofree uint8_t *after = image_bytes(k.path);
    /* The rest is untouched. */
    g_assert_cmpmem(after, 8000 * SECTOR, expected, 8000 * SECTOR);
    g_assert_cmpmem(after + 8800 * SECTOR, DISK_SIZE - 8800 * SECTOR, expected + 8800 * SECTOR,
                    DISK_SIZE - 8800 * SECTOR);

    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_DISCARD, end - 1, 1, 0), ==, 0);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_DISCARD, 5, 0, 0), ==, 0);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_DISCARD, end - 1, 2, 0), ==,
                     VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0), ==,
                     VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0), ==,
                     VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_DISCARD, 0, 8, 1), ==, VIRTIO_BLK_S_UNSUPP);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2), ==,
                     VIRTIO_BLK_S_UNSUPP);
    /* Half a range, and two. */
    uint64_t at = driver_alloc(k.d, 64);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_DISCARD, 0, at, 8), ==, VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_DISCARD, 0, at, 32), ==, VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(k.d->fake->warnings, ==, 0);

    driver_start(k.d, 0, QUEUE_SIZE); /* not negotiated */
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_DISCARD, 0, 8, 0), ==, VIRTIO_BLK_S_UNSUPP);
    disk_free(&k);
}

/* ---- what must not be done ---- */

static void test_out_of_range(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    g_autofree uint8_t *expected = image_bytes(k.path);
    uint64_t data = driver_alloc(k.d, 4096), end = DISK_SIZE / SECTOR;
    static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        g_assert_cmpuint(request(&k, types[i], end, data, 512), ==, VIRTIO_BLK_S_IOERR);
        g_assert_cmpuint(request(&k, types[i], end - 1, data, 1024), ==, VIRTIO_BLK_S_IOERR);
        g_assert_cmpuint(request(&k, types[i], UINT64_MAX, data, 512), ==, VIRTIO_BLK_S_IOERR);
        g_assert_cmpuint(request(&k, types[i], UINT64_MAX / 512, data, 512), ==,
                         VIRTIO_BLK_S_IOERR);
        g_assert_cmpuint(request(&k, types[i], 0, data, 511), ==, VIRTIO_BLK_S_IOERR);
        g_assert_cmpuint(request(&k, types[i], 0, 0, 0), ==, VIRTIO_BLK_S_OK);
    }
    g_assert_cmpint(access(k.path, F_OK), ==, 0);
    g_autofree uint8_t *found = image_bytes(k.path); /* its size too */
    g_assert_cmpmem(found, DISK_SIZE, expected, DISK_SIZE);
    disk_free(&k);
}

static void test_malformed(void)
{
    struct disk k = disk_new((struct virtio_blk_options){0});
    struct driver *d = k.d;
    uint64_t at = driver_alloc(d, 4096);
    const struct buffer no_status[] = {{at, 16, false}};
    const struct buffer short_header[] = {{at, 15, false}, {at + 100, 1, true}};
    const struct buffer no_header[] = {{at, 513, true}};
    const struct {
        const struct buffer *b;
        unsigned count;
    } cases[] = {{no_status, 1}, {short_header, 2}, {no_header, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        driver_start(d, ALL_FEATURES, QUEUE_SIZE);
        driver_add(d, &d->queues[0], cases[i].b, cases[i].count, false);
        driver_notify(d, &d->queues[0]);
        driver_settle(d);
        g_assert_cmphex(driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET, !=, 0);
    }
    driver_start(d, ALL_FEATURES, QUEUE_SIZE);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, 0, at, 512), ==, 0);
    disk_free(&k);
}

static void test_readonly(gconstpointer engine)
{
    struct disk k =
        disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine), .readonly = true});
    uint64_t offered = driver_offered(k.d), data = driver_alloc(k.d, 512);
    g_assert_true(offered & BIT(VIRTIO_BLK_F_RO));
    g_assert_false(offered & (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
    g_autofree uint8_t *expected = image_bytes(k.path);
    driver_start(k.d, BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_FLUSH), QUEUE_SIZE);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, 0, data, 512), ==, 0);
    g_assert_cmpmem(driver_ram(k.d, data), 512, expected, 512);
    memset(driver_ram(k.d, data), 0, 512);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_OUT, 0, data, 512), ==, VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_FLUSH, 0, 0, 0), ==, VIRTIO_BLK_S_OK);
    g_autofree uint8_t *found = image_bytes(k.path);
    g_assert_cmpmem(found, DISK_SIZE, expected, DISK_SIZE);
    disk_free(&k);
}

/* A host without room: here, a limit on the size of files. */
static void test_full(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    struct rlimit before, limit;
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    uint64_t data = driver_alloc(k.d, 4096);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){DISK_SIZE / 2, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    uint8_t first = request(&k, VIRTIO_BLK_T_OUT, DISK_SIZE / SECTOR - 8, data, 4096);
    uint8_t second = request(&k, VIRTIO_BLK_T_OUT, DISK_SIZE / SECTOR - 8, data, 4096);
    uint8_t low = request(&k, VIRTIO_BLK_T_OUT, 0, data, 4096);
    setrlimit(RLIMIT_FSIZE, &before);
    g_assert_cmpuint(first, ==, VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(second, ==, VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(low, ==, VIRTIO_BLK_S_OK);
    g_assert_cmpuint(fake_warnings(k.d->fake), ==, 1); /* once is enough */
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_OUT, DISK_SIZE / SECTOR - 8, data, 4096), ==, 0);
    disk_free(&k);
}

/* The file is cut short behind the device's back. */
static void test_truncated(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    uint64_t data = driver_alloc(k.d, 8192);
    g_assert_cmpint(truncate(k.path, 4096), ==, 0);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, 0, data, 4096), ==, 0);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, 4, data, 4096), ==, VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, 100, data, 4096), ==, VIRTIO_BLK_S_IOERR);
    disk_free(&k);
}

/* ---- life ---- */

/* Offers COUNT reads and notifies, without waiting. */
static void start_reads(struct disk *k, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct buffer b[3];
        request_parts(k, b, VIRTIO_BLK_T_IN, i * 8, driver_alloc(k->d, 65536), 65536);
        driver_add(k->d, &k->d->queues[0], b, 3, false);
    }
    driver_notify(k->d, &k->d->queues[0]);
}

static void test_reset_in_flight(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    for (unsigned round = 0; round < 20; round++) {
        uint64_t heap = k.d->heap;
        driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
        start_reads(&k, 64);
        uint64_t used = k.d->queues[0].used;
        if (round % 2)
            g_usleep(100 * round);
        driver_reset(k.d);
        /* Nothing is written after the status read 0. */
        g_autofree void *before = g_memdup2(driver_ram(k.d, 0x100000), k.d->heap - 0x100000);
        driver_settle(k.d);
        g_assert_cmpmem(driver_ram(k.d, 0x100000), k.d->heap - 0x100000, before,
                        k.d->heap - 0x100000);
        g_assert_cmphex(used, !=, 0);
        k.d->heap = heap;
    }
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, 0, driver_alloc(k.d, 512), 512), ==, 0);
    disk_free(&k);
}

static bool queue_is_reset(void *opaque)
{
    return driver_get(opaque, VIRTIO_PCI_COMMON_Q_RESET, 2) == 0;
}

static void test_queue_reset_in_flight(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    driver_start(k.d, ALL_FEATURES | BIT(VIRTIO_F_RING_RESET), QUEUE_SIZE);
    start_reads(&k, 64);
    g_usleep(200);
    driver_set(k.d, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
    driver_set(k.d, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
    fake_run_until(k.d->fake, queue_is_reset, k.d);
    g_assert_cmpuint(driver_get(k.d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
    driver_enable_queue(k.d, 0, 64);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, 0, driver_alloc(k.d, 512), 512), ==, 0);
    g_assert_cmphex(driver_status(k.d), ==, 15);
    disk_free(&k);
}

static void test_pause_in_flight(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    start_reads(&k, 80);
    k.device->class->pause(k.device);
    uint16_t done = driver_used_index(k.d, &k.d->queues[0]);
    driver_settle(k.d);
    g_assert_cmpuint(driver_used_index(k.d, &k.d->queues[0]), ==, done);
    k.device->class->resume(k.device);
    for (unsigned i = 0; i < 80; i++)
        g_assert_cmpuint(driver_wait(k.d, &k.d->queues[0], NULL), ==, 65537);
    disk_free(&k);
}

static void test_free_in_flight(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    start_reads(&k, 80);
    disk_free(&k);
}

static void test_interrupts(gconstpointer engine)
{
    struct disk k = disk_new((struct virtio_blk_options){.engine = GPOINTER_TO_UINT(engine)});
    uint64_t data = driver_alloc(k.d, 512);
    driver_start(k.d, BIT(VIRTIO_BLK_F_FLUSH), QUEUE_SIZE);
    for (unsigned i = 0; i < 50; i++)
        g_assert_cmpuint(request(&k, VIRTIO_BLK_T_IN, i, data, 512), ==, 0);
    driver_settle(k.d);
    g_assert_cmpuint(fake_msis_of(k.d->fake, MSI_QUEUE), ==, 50);
    g_assert_cmpuint(fake_msis(k.d->fake), ==, 50);
    disk_free(&k);
}

static void test_resize(void)
{
    struct disk k = disk_new((struct virtio_blk_options){0});
    uint64_t data = driver_alloc(k.d, 512);
    driver_start(k.d, ALL_FEATURES, QUEUE_SIZE);
    uint64_t generation = driver_get(k.d, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
    g_assert_cmpint(truncate(k.path, DISK_SIZE * 2), ==, 0);
    g_assert_true(virtio_blk_resized(k.device, NULL));
    g_assert_cmpuint(driver_config(k.d, 0, 8), ==, 2 * DISK_SIZE / SECTOR);
    g_assert_cmpuint(driver_get(k.d, VIRTIO_PCI_COMMON_CFGGENERATION, 1), !=, generation);
    g_assert_cmpuint(fake_msis_of(k.d->fake, MSI_CONFIG), ==, 1);
    g_assert_cmphex(space_read(k.d->m, SPACE_MMIO, k.d->isr, 1), ==, VIRTIO_PCI_ISR_CONFIG);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_OUT, 2 * DISK_SIZE / SECTOR - 1, data, 512), ==, 0);
    disk_free(&k);
}

static void test_cache_mode(void)
{
    struct disk k = disk_new((struct virtio_blk_options){0});
    uint64_t data = driver_alloc(k.d, 512);
    unsigned wce = offsetof(struct virtio_blk_config, wce);
    g_assert_cmpuint(driver_config(k.d, wce, 1), ==, 1);
    driver_start(k.d, ALL_FEATURES | BIT(VIRTIO_BLK_F_CONFIG_WCE), QUEUE_SIZE);
    space_write(k.d->m, SPACE_MMIO, k.d->config + wce, 0, 1);
    g_assert_cmpuint(driver_config(k.d, wce, 1), ==, 0);
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_OUT, 3, data, 512), ==, 0);
    g_assert_cmpuint(range_request(&k, VIRTIO_BLK_T_WRITE_ZEROES, 3, 5, 0), ==, 0);
    space_write(k.d->m, SPACE_MMIO, k.d->config, 0, 4); /* the capacity is not the driver's */
    g_assert_cmpuint(driver_config(k.d, 0, 8), ==, DISK_SIZE / SECTOR);
    driver_reset(k.d);
    g_assert_cmpuint(driver_config(k.d, wce, 1), ==, 1);
    driver_start(k.d, 0, QUEUE_SIZE); /* without flush: written through */
    g_assert_cmpuint(request(&k, VIRTIO_BLK_T_OUT, 3, data, 512), ==, 0);
    disk_free(&k);
}

/* ---- images that cannot be had ---- */

static void assert_refused(const char *path, bool readonly, const char *word)
{
    struct fake_machine *f = fake_machine_new(1 << 20);
    struct virtio_blk_options o = {.path = path, .readonly = readonly};
    GError *error = NULL;
    g_assert_null(virtio_blk_new(&f->machine, "disk0", &o, &error));
    g_assert_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, path));
    g_assert_nonnull(strstr(error->message, word));
    g_assert_null(strchr(error->message, '\n'));
    g_error_free(error);
    fake_machine_free(f);
}

static void test_refused(void)
{
    g_autofree char *directory = g_dir_make_tmp("trapeze-disk-XXXXXX", NULL);
    g_autofree char *missing = g_build_filename(directory, "missing", NULL);
    g_autofree char *empty = g_build_filename(directory, "empty", NULL);
    g_autofree char *fifo = g_build_filename(directory, "fifo", NULL);
    g_assert_true(g_file_set_contents(empty, "", 0, NULL));
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    assert_refused(directory, false, "directory");
    assert_refused(directory, true, "directory");
    assert_refused(missing, false, "no such file");
    assert_refused(empty, false, "smaller than one sector");
    assert_refused(fifo, true, "neither");
    assert_refused("/dev/null", true, "neither");
    g_unlink(empty);
    g_unlink(fifo);
    g_rmdir(directory);
}

static void test_locks(void)
{
    g_autofree char *path = image_new();
    GError *error = NULL;
    struct block_image *a = block_open(path, true, BLOCK_ENGINE_AUTO, &error);
    g_assert_no_error(error);
    struct block_image *b = block_open(path, true, BLOCK_ENGINE_AUTO, &error);
    g_assert_no_error(error);
    assert_refused(path, false, "in use");
    block_close(a);
    block_close(b);
    a = block_open(path, false, BLOCK_ENGINE_AUTO, &error);
    g_assert_no_error(error);
    assert_refused(path, true, "in use");
    assert_refused(path, false, "in use");
    block_close(a);
    block_close(block_open(path, false, BLOCK_ENGINE_THREADS, &error));
    g_assert_no_error(error);
    g_unlink(path);
}

static void add(const char *engine, enum block_engine number, const char *name,
                void (*test)(gconstpointer))
{
    g_autofree char *path = g_strdup_printf("/virtio-blk/%s/%s", engine, name);
    g_test_add_data_func(path, GUINT_TO_POINTER(number), test);
}

int main(int argc, char **argv)
{
    static const struct {
        enum block_engine number;
        const char *name;
    } engines[] = {{BLOCK_ENGINE_URING, "io_uring"}, {BLOCK_ENGINE_THREADS, "threads"}};
    static const struct {
        const char *name;
        void (*test)(gconstpointer);
    } tests[] = {{"read-write", test_read_write},
                 {"framing", test_framing},
                 {"many", test_many},
                 {"discard", test_discard},
                 {"out-of-range", test_out_of_range},
                 {"readonly", test_readonly},
                 {"full", test_full},
                 {"truncated", test_truncated},
                 {"reset-in-flight", test_reset_in_flight},
                 {"queue-reset-in-flight", test_queue_reset_in_flight},
                 {"pause-in-flight", test_pause_in_flight},
                 {"free-in-flight", test_free_in_flight},
                 {"interrupts", test_interrupts}};

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-blk/identity", test_identity);
    g_test_add_func("/virtio-blk/malformed", test_malformed);
    g_test_add_func("/virtio-blk/resize", test_resize);
    g_test_add_func("/virtio-blk/cache-mode", test_cache_mode);
    g_test_add_func("/virtio-blk/refused", test_refused);
    g_test_add_func("/virtio-blk/locks", test_locks);
    for (unsigned e = 0; e < ARRAY_SIZE(engines); e++)
        for (unsigned i = 0; engine_usable(engines[e].number) && i < ARRAY_SIZE(tests); i++)
            add(engines[e].name, engines[e].number, tests[i].name, tests[i].test);
    return g_test_run();
}
