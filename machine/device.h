/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices: a const class table, an instance that starts with struct device, and the register
 * regions through which the guest reaches it.
 *
 * Register accesses come on vCPU threads, under the device's own lock (the address space takes it);
 * queue work comes on the event loop or an I/O thread, which takes it itself.  Lock order: machine,
 * device, irqchip.  A device never trusts an offset, a length or a descriptor of the guest.
 */
#ifndef TRAPEZE_DEVICE_H
#define TRAPEZE_DEVICE_H

#include "common/base/list.h"

#include <glib.h>

struct machine;
struct device;

/* One field of a device's state, for snapshots, migration and tests.  Arrays give count > 1. */
struct state_field {
    const char *name;
    uint32_t offset; /* in the instance */
    uint16_t size;   /* of one element: 1, 2, 4, 8 */
    uint16_t count;
    uint16_t since; /* version of the class that added it */
};
#define STATE_FIELD(type, member, version)                                                         \
    {                                                                                              \
#member, offsetof(type, member), sizeof(((type *)0)->member), 1, version                   \
    }
#define STATE_ARRAY(type, member, version)                                                         \
    {                                                                                              \
#member, offsetof(type, member), sizeof(((type *)0)->member[0]),                           \
            ARRAY_SIZE(((type *)0)->member), version                                               \
    }

struct device_class {
    const char *name; /* "serial-16550", "virtio-blk" */
    uint16_t version; /* of the state fields */
    const struct state_field *fields;
    unsigned field_count;
    void (*reset)(struct device *d);                 /* power-on state; locked; may be NULL */
    int (*loaded)(struct device *d, GError **error); /* after state was loaded: check, derive */
    void (*pause)(struct device *d);                 /* stop and drain I/O threads; may be NULL */
    void (*resume)(struct device *d);
    void (*free)(struct device *d); /* releases the instance; may be NULL */
};

struct device {
    const struct device_class *class;
    char *id; /* "serial0", "disk1" */
    struct machine *machine;
    GMutex lock;
    struct list link; /* in the machine's list of devices */
};

/* Fills in the common part and puts D on M's list; the machine frees it. */
void device_init(struct device *d, const struct device_class *class, struct machine *m,
                 const char *id);

/* ---- register regions ---- */

enum space_kind { SPACE_PIO, SPACE_MMIO };

/* OFFSET is inside the region, SIZE 1, 2, 4 or 8, and offset + size never beyond the region's end
 * (the space splits what would be).  Called with the device's lock held. */
struct region_ops {
    uint64_t (*read)(struct device *d, uint64_t offset, unsigned size);
    void (*write)(struct device *d, uint64_t offset, uint64_t value, unsigned size);
};

struct region {
    struct device *device;
    const struct region_ops *ops;
    uint64_t base, size;
    uint64_t tag; /* the device's own: which BAR, which bank; read it by region_tag */
};

/* Maps R at BASE; replaces an earlier mapping of the same region.  Returns false, with R mapped
 * nowhere, when another region is in the way or the space ends before.  Any thread. */
bool space_map(struct machine *m, enum space_kind kind, struct region *r, uint64_t base);
void space_unmap(struct machine *m, enum space_kind kind, struct region *r);

/* A guest access: reads of nothing give all ones, writes to nothing are dropped (and logged once an
 * address under --verbose). */
uint64_t space_read(struct machine *m, enum space_kind kind, uint64_t address, unsigned size);
void space_write(struct machine *m, enum space_kind kind, uint64_t address, uint64_t value,
                 unsigned size);

/* ---- guest memory ---- */

/* Host address of [gpa, gpa + length) when all of it is guest RAM in one piece, else NULL.  The one
 * place where guest addresses become pointers.  WRITE: the caller will write there, and calls
 * ram_written afterwards. */
void *ram_pointer(struct machine *m, uint64_t gpa, uint64_t length, bool write);
/* Tells the engine (decoded code, dirty log) that a device wrote guest RAM. */
void ram_written(struct machine *m, uint64_t gpa, uint64_t length);
/* Checked copies; false when some byte is not RAM (nothing is copied then). */
bool ram_read(struct machine *m, uint64_t gpa, void *to, uint64_t length);
bool ram_write(struct machine *m, uint64_t gpa, const void *from, uint64_t length);

/* ---- interrupts and notifications ---- */

/* Drives interrupt line GSI (0-23). */
void irq_set(struct machine *m, unsigned gsi, bool level);
/* Sends a message-signalled interrupt. */
void irq_msi(struct machine *m, uint64_t address, uint32_t data);

/* Asks the engine to signal EVENTFD when the guest writes (any size and value) to ADDRESS in SPACE,
 * instead of leaving; undone by ioeventfd_remove.  Returns 0 or -errno (then accesses come to the
 * region as usual). */
int ioeventfd_add(struct machine *m, enum space_kind kind, uint64_t address, int eventfd);
void ioeventfd_remove(struct machine *m, enum space_kind kind, uint64_t address, int eventfd);

/* Why a run ends or begins anew. */
enum stop_reason {
    STOP_POWEROFF, /* the guest powered off */
    STOP_RESET,    /* the guest asked for a reset */
    STOP_SLEEP,    /* the guest went to sleep, in S3 */
    STOP_DEBUG_EXIT,
    STOP_QUIT,          /* the user left by a key */
    STOP_SIGNAL,        /* a signal to the process */
    STOP_MONITOR_QUIT,  /* a QMP client's wish */
    STOP_MONITOR_RESET, /* likewise */
    STOP_ERROR,
};
/* Ends the run of the machine, or has it reset or sleep; from any thread. */
void machine_request_stop(struct machine *m, enum stop_reason reason, int status);
/* Wakes a sleeping machine soon; from any thread. */
void machine_wake(struct machine *m);

/* A line under --verbose; a warning always. */
void machine_log(struct machine *m, bool warning, const char *format, ...) G_GNUC_PRINTF(3, 4);

#endif
