/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libFuzzer: a hostile driver.  The input is a script of what a guest may do to a virtio device:
 * descriptors, ring indices, bytes of guest memory, register and config space accesses,
 * notifications.  Nothing may crash, hang or leave a sanitizer something to say.
 */
#include "machine/chipset/character.h"
#include "machine/pci.h"
#include "machine/virtio/virtio.h"
#include "tests/unit/virtio-driver.h"

#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY     (2ull << 20)
#define DISK_SIZE  (256u << 10)
#define QUEUE_SIZE 16
#define DEVICES    4
#define SCRATCH    0x10000 /* where buffers, tables and request headers mostly lie */

struct script {
    const uint8_t *data;
    size_t left;
};

/* The next N bytes of the script as a number; zeroes when it is over. */
static uint64_t take(struct script *s, unsigned n)
{
    uint64_t value = 0;
    n = MIN(n, s->left);
    memcpy(&value, s->data, n);
    s->data += n;
    s->left -= n;
    return value;
}

static struct fake_machine *fake;
static struct driver *drivers[DEVICES];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int disk = memfd_create("disk", MFD_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", disk);
    GError *error = NULL;
    struct device *d[DEVICES];
    (void)argc;
    (void)argv;
    if (ftruncate(disk, DISK_SIZE) < 0)
        g_error("no room for a disk");
    fake = fake_machine_new(MEMORY);
    fake->quiet = true;
    struct virtio_blk_options o = {.path = path, .engine = BLOCK_ENGINE_THREADS, .queues = 2};
    d[0] = virtio_blk_new(&fake->machine, "disk0", &o, &error);
    d[1] = virtio_net_new(&fake->machine, "net0", "user", &error);
    d[2] = virtio_rng_new(&fake->machine, "rng0", &error);
    d[3] = virtio_console_new(&fake->machine, "con0", (struct character *)fake, &error);
    if (error)
        g_error("%s", error->message);
    for (unsigned i = 0; i < DEVICES; i++)
        drivers[i] = driver_new(fake, d[i]);
    return 0;
}

/* Addresses are mostly good ones: a wild one only ends the script early. */
static uint64_t address(struct script *s)
{
    uint64_t value = take(s, 2);
    return value < 0xff00 ? SCRATCH + value * 16 : take(s, 8);
}

static void write_descriptor(struct driver *d, struct driver_queue *q, struct script *s)
{
    unsigned n = take(s, 1);
    uint64_t table = n & 0x80 ? ALIGN_DOWN(SCRATCH + take(s, 1) * 256, 16) : q->descriptors;
    uint64_t to = address(s);
    uint32_t length = take(s, 2);
    unsigned flags = take(s, 1);
    if (flags & 0x80)
        length <<= 16;
    driver_descriptor(d, table, n % QUEUE_SIZE, to, length, flags & 7,
                      take(s, 1) % (QUEUE_SIZE + 1));
}

static void step(struct driver *d, struct script *s)
{
    unsigned operation = take(s, 1);
    struct driver_queue *q = &d->queues[operation >> 4 & (d->v->queue_count > 1)];

    switch (operation & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
        write_descriptor(d, q, s);
        break;
    case 4:
    case 5:
        driver_offer(d, q, take(s, 1) % (QUEUE_SIZE + 1));
        break;
    case 6:
    case 7:
        driver_notify(d, q);
        fake_settle(fake);
        break;
    case 8:
        q->available_index += take(s, 1);
        driver_publish(d, q);
        break;
    case 9: { /* guest memory */
        uint64_t to = SCRATCH + take(s, 2) * 16;
        unsigned length = take(s, 1) % 64;
        for (unsigned i = 0; i < length && to + i < MEMORY; i++)
            *(uint8_t *)driver_ram(d, to + i) = take(s, 1);
        break;
    }
    case 10: { /* a block request's header */
        uint32_t type = take(s, 1);
        uint64_t sector = take(s, 2);
        uint64_t to = SCRATCH + take(s, 1) * 16;
        memcpy(driver_ram(d, to), &type, 4);
        memcpy(driver_ram(d, to + 8), &sector, 8);
        break;
    }
    case 11:
        driver_set(d, take(s, 1), take(s, 4), 1u << (take(s, 1) & 3));
        break;
    case 12: /* anywhere in the registers */
        space_write(d->m, SPACE_MMIO, d->common + take(s, 2) % 0x4000, take(s, 8),
                    1u << (take(s, 1) & 3));
        break;
    case 13:
        space_read(d->m, SPACE_MMIO, d->common + take(s, 2) % 0x4000, 1u << (take(s, 1) & 3));
        break;
    case 14: { /* config space, but for the BARs */
        unsigned at = take(s, 1);
        if (!ranges_overlap(at, 4, PCI_BASE_ADDRESS_0, 24))
            pci_set(d, at, take(s, 4), 1u << (take(s, 1) % 3));
        pci_get(d, at, 4);
        break;
    }
    case 15:
        fake_settle(fake);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {data, size};
    struct driver *d = drivers[take(&s, 1) % DEVICES];
    uint64_t unwanted = take(&s, 8);
    struct device *device = &d->v->pci.device;

    d->heap = 0x1000;
    memset(driver_ram(d, 0), 0, MEMORY);
    pci_set(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    driver_enable_msix(d);
    driver_start(d, driver_offered(d) & ~unwanted, QUEUE_SIZE);
    for (unsigned i = 0; s.left && i < 500; i++)
        step(d, &s);
    fake_settle(fake);

    g_mutex_lock(&device->lock);
    device->class->reset(device);
    g_mutex_unlock(&device->lock);
    fake_settle(fake);
    g_byte_array_set_size(fake->character, 0);
    return 0;
}
