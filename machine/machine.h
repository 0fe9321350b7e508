/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct machine: one virtual machine of type `virt-1`, its configuration, vCPUs, memory and
 * devices.
 *
 * Threads: the thread that calls machine_run runs the machine's GMainContext (serial input, timers,
 * queues); each vCPU has a thread of its own, which makes the register accesses.  Lock order:
 * machine, device, irqchip; the address space's lock and the stop lock are leaves, so a device may
 * map regions and ask for a stop with its own lock held.
 */
#ifndef TRAPEZE_MACHINE_H
#define TRAPEZE_MACHINE_H

#include "device.h"
#include "engine.h"
#include "layout.h"

#define MACHINE_TYPE       "virt-1"
#define MACHINE_CPUS_MAX   255
#define MACHINE_MEMORY_MIN (4ull << 20)
#define MACHINE_MEMORY_MAX (448ull << 30) /* below LAYOUT_PCI_64 */
#define MACHINE_ERROR      (machine_error_quark())
#define MACHINE_RAM_SLOTS  2

enum machine_error {
    MACHINE_ERROR_CONFIG, /* a flag or a file is wrong: its message names it and what to do */
    MACHINE_ERROR_ENGINE, /* the engine refused something */
    MACHINE_ERROR_GUEST,  /* the guest did what cannot be run */
};
GQuark machine_error_quark(void);

struct disk_config {
    char *path;
    bool readonly;
};

/* How the software engine runs code.  DEFAULT: translated, if the host lets it. */
enum translator_choice { TRANSLATOR_DEFAULT, TRANSLATOR_OFF, TRANSLATOR_ON, TRANSLATOR_CHECK };

/* What to build; strings are the configuration's own.  Filled by the caller from
 * machine_config_init's defaults, and copied nowhere: it must outlive the machine. */
struct machine_config {
    char *kernel, *initrd, *append; /* NULL when not given */
    uint64_t memory;                /* bytes, a multiple of 1 MiB */
    unsigned cpus;
    char *cpu_model; /* as --cpu; NULL for the default */
    enum engine_choice engine;
    enum translator_choice translator;
    bool translator_optional; /* an engine that has none runs the guest all the same */
    GPtrArray *disks; /* of struct disk_config */
    GPtrArray *nets;  /* of char *: "user,forward=..." */
    char *serial;     /* stdio, none, pty, unix:PATH, file:PATH */
    char *console;    /* a virtio console, likewise; NULL: none */
    char *gdb;        /* where a debugger may connect: "tcp:127.0.0.1:1234", "unix:PATH"; or NULL */
    GPtrArray *qmp;   /* of char *: "unix:PATH", "fd:N" */
    char *name, *uuid; /* what QMP tells of the machine; NULL when not given */
    bool pit, no_reboot, no_shutdown, paused, stats, verbose, test_device;
    bool trace_translation; /* of the block that covers trace_address, a linear address */
    bool perf_map;          /* /tmp/perf-PID.map for perf report */
    uint64_t trace_address;
};
void machine_config_init(struct machine_config *c);
void machine_config_clear(struct machine_config *c);

/* Guest RAM in one piece of guest-physical address space. */
struct ram_slot {
    uint64_t gpa, size;
    uint8_t *host;
};

/* Where the machine stands in its life.  Main context. */
enum machine_status {
    MACHINE_PRELAUNCH, /* built or reset, and not yet let go */
    MACHINE_RUNNING,
    MACHINE_PAUSED,    /* by machine_suspend */
    MACHINE_DEBUG,     /* by the debugger */
    MACHINE_SHUT_DOWN, /* the guest ended it under no_shutdown; a reset begins anew */
    MACHINE_SUSPENDED, /* the guest sleeps in S3, until something wakes it */
};

/* What observers are told of.  For RESET and SHUTDOWN there is a reason. */
enum machine_event {
    MACHINE_EVENT_SHUTDOWN, /* the run ends, or under no_shutdown stands */
    MACHINE_EVENT_RESET,
    MACHINE_EVENT_STOP,
    MACHINE_EVENT_RESUME,
    MACHINE_EVENT_POWERDOWN, /* the power button was pressed */
    MACHINE_EVENT_SUSPEND,   /* the guest went to sleep */
    MACHINE_EVENT_WAKEUP,
};

/* Someone who wants to know.  Called on the main context when it has happened. */
struct machine_observer {
    struct list link; /* in the machine's list; list_append it, and list_remove it at the end */
    void (*event)(struct machine_observer *o, enum machine_event event, enum stop_reason reason);
};

struct machine_vcpu;
struct monitor;
struct pci_host;
struct character;
struct gdb;
struct address_space;
struct cpu_model;
struct irq_state;

struct machine {
    const struct machine_config *config;
    struct log_sink sink;
    struct engine *engine;
    struct engine_file *vm;
    GMainContext *context; /* timers, queues, sockets: attach sources here */
    GMainLoop *loop;

    struct ram_slot ram[MACHINE_RAM_SLOTS];
    unsigned ram_slots;
    uint64_t facs; /* the guest-physical address of that ACPI table */
    struct address_space *space; /* behind space_* */
    struct list devices;
    struct pci_host *pci;
    struct character *serial;  /* the back-end of the first serial port */
    struct character *console; /* of the virtio console, or NULL */
    struct device *pm;         /* power management: sleep, power button */
    struct device *reset;      /* the reset control register */

    struct cpu_model *cpu_model;
    struct machine_vcpu **vcpus;
    unsigned cpus;
    struct irq_state *irq_initial; /* the interrupt controllers at power-on */
    struct monitor *monitor;       /* QMP */
    struct gdb *gdb;               /* the debugger's door, or NULL */

    /* Of the main context's thread alone. */
    enum machine_status status;
    unsigned pauses; /* of machine_pause, not yet taken back */
    struct list observers;
    struct kvm_clock_data clock; /* the guest's clock while it stands */
    bool clock_stands;
    bool sleepy; /* the guest asked for S3 just as it was suspended */
    GSource *wake_source;

    GMutex lock; /* guards vCPUs' `outside` and quitting */
    GCond changed;
    int hold; /* reasons (atomic) why vCPUs stay out of the guest */
    bool quitting;

    GMutex stop_lock; /* a leaf; guards the four below */
    bool stop_requested;
    enum stop_reason stop_reason;
    int stop_status;
    char *stop_message;
    GSource *stop_source; /* of the stop under way, or the last one */
};

/* Builds the machine of C: engine, RAM, vCPUs, devices, guest image; nothing runs yet.  CONTEXT
 * NULL means the default one.  Returns NULL with ERROR set. */
struct machine *machine_new(const struct machine_config *c, GMainContext *context, GError **error);
void machine_free(struct machine *m);

/* Runs until the guest or somebody ends it, restarting at resets unless no_reboot is set.  With
 * `paused` set the guest waits for machine_continue; with `no_shutdown` the machine stays when the
 * guest powers off (or resets under no_reboot), for a look at it, a reset or an end from outside.
 * Returns the process's exit status: 0 after a power-off, a debug exit's own, 1 with ERROR set. */
int machine_run(struct machine *m, GError **error);

/* Stops all vCPUs outside the guest, and device I/O; nests.  On the main context. */
void machine_pause(struct machine *m);
void machine_resume(struct machine *m);

/* Stops a running guest with its clock, until machine_continue; without effect on one that does not
 * run.  On the main context. */
void machine_suspend(struct machine *m);
/* The same, by the debugger. */
void machine_suspend_for_debugger(struct machine *m);
/* Lets a suspended or not yet started guest go; without effect on a running one.  False with ERROR
 * set when it has shut down: only a reset leads on from there.  On the main context. */
bool machine_continue(struct machine *m, GError **error);

/* Presses the power button.  On the main context. */
void machine_power_button(struct machine *m);

/* The reset control register, port 0xcf9.  It lies inside the PCI configuration address register
 * (0xcf8, which takes 32-bit accesses only), so the PCI host hands one-byte accesses here. */
uint8_t reset_control_read(struct machine *m);
void reset_control_write(struct machine *m, uint8_t value);

/* Prints engine, exits by reason and instructions to stderr (--stats).  After machine_run. */
void machine_print_stats(struct machine *m);
/* Prints the block of --trace-translation, guest and host code side by side, to stderr.  After
 * machine_run. */
void machine_print_translation(struct machine *m);

#endif
