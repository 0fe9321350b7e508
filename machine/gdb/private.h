/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the stub's files share. */
#ifndef TRAPEZE_GDB_PRIVATE_H
#define TRAPEZE_GDB_PRIVATE_H

#include "gdb.h"
#include "machine/machine.h"
#include "machine/stream.h"
#include "machine/vcpu.h"
#include "packet.h"

#define HARDWARE_BREAKPOINTS 4
#define SOFTWARE_BREAKPOINTS 1024

/* As the protocol numbers them (Z0 to Z4). */
enum breakpoint_type { BREAK_SOFTWARE, BREAK_HARDWARE, WATCH_WRITE, WATCH_READ, WATCH_ACCESS };

struct software_breakpoint {
    uint64_t address; /* virtual */
    uint64_t gpa;
    uint8_t saved; /* the byte where INT3 stands */
};

struct hardware_breakpoint {
    enum breakpoint_type type;
    uint64_t address;
    uint64_t length; /* 1, 2, 4, 8; 0: this one is free */
};

/* What the stub knows of a vCPU. */
struct gdb_vcpu {
    bool stopped; /* it left the guest for the debugger, which was not yet told */
    bool stepping;
    struct kvm_debug_exit_arch exit;
};

enum gdb_action { ACTION_NONE, ACTION_CONTINUE, ACTION_STEP };

struct gdb {
    struct machine *machine;
    struct machine_observer observer;
    int listener;
    char *path; /* of the socket, to remove at the end, or NULL */
    GSource *listen_source;

    /* The connection. */
    struct stream *client;
    struct packet_reader reader;
    GByteArray *last; /* packet that was sent, for when it got lost */
    bool no_ack, tells_software, tells_hardware, physical;
    unsigned selected; /* vCPU of g, m, ... (Hg) */
    unsigned resuming; /* vCPU of c and s (Hc), or ALL_VCPUS */

    /* The guest.  Changed while all vCPUs are outside; their threads look at it. */
    bool running; /* the debugger let it go, and is owed a stop reply */
    bool continuing;
    bool avx;               /* the guest's processors have it */
    bool blocks_interrupts; /* the engine can step without taking interrupts */
    struct gdb_vcpu *vcpus;
    GArray *software; /* of struct software_breakpoint */
    struct hardware_breakpoint hardware[HARDWARE_BREAKPOINTS];

    GMutex lock; /* a leaf; guards the source, which vCPUs' threads attach */
    GSource *stopped_source;
};

#define ALL_VCPUS UINT_MAX

/* ---- registers.c ---- */
/* The target description, in XML. */
char *registers_describe(const struct gdb *g);
/* Whether the guest's processors have AVX. */
bool registers_have_avx(const struct machine *m);
/* Appends all registers of the selected vCPU in hexadecimal, or sets them from the digits of TEXT.
 * False when the engine refuses, or TEXT is not that. */
bool registers_get_all(struct gdb *g, GString *to);
bool registers_set_all(struct gdb *g, const char *text);
/* The same with register NUMBER alone; false also when there is no such register, or it cannot be
 * set. */
bool registers_get(struct gdb *g, uint64_t number, GString *to);
bool registers_set(struct gdb *g, uint64_t number, const char *text);

/* ---- memory.c ---- */
/* Copies LENGTH bytes at virtual address ADDRESS of the selected vCPU (or physical ones);
 * breakpoints do not show.  Returns how many there were before the first that is no RAM. */
size_t gdb_memory_read(struct gdb *g, uint64_t address, uint8_t *to, size_t length);
/* False, with nothing written, when some byte is no RAM. */
bool gdb_memory_write(struct gdb *g, uint64_t address, const uint8_t *from, size_t length);
/* Physical address of ADDRESS; false when it is not mapped to RAM. */
bool gdb_memory_translate(struct gdb *g, uint64_t address, uint64_t *gpa);

/* ---- breakpoints.c ---- */
bool breakpoint_insert(struct gdb *g, enum breakpoint_type type, uint64_t address, uint64_t length);
bool breakpoint_remove(struct gdb *g, enum breakpoint_type type, uint64_t address, uint64_t length);
void breakpoint_remove_all(struct gdb *g);
/* Whether a software breakpoint stands at ADDRESS. */
bool breakpoint_at(const struct gdb *g, uint64_t address);
/* The hardware breakpoint that DR6 tells of, or NULL. */
const struct hardware_breakpoint *breakpoint_hit(const struct gdb *g, uint64_t dr6);
/* Has the engine stop vCPU INDEX where it shall, after each instruction if it steps.  EXTRA:
 * further control bits. */
void breakpoint_apply(struct gdb *g, unsigned index, uint32_t extra);

/* ---- stops.c ---- */
/* Stops the machine, if it runs, and takes back that it was let go. */
void stops_hold(struct gdb *g);
/* Lets the vCPUs go, or not, by their ACTIONS; a stop reply will follow, perhaps at once.  False
 * when the machine cannot go on. */
bool stops_resume(struct gdb *g, const enum gdb_action *actions);
/* Takes all breakpoints away; then, if the guest is to GO_ON, lets it go without a debugger. */
void stops_detach(struct gdb *g, bool go_on);
/* Sends why the guest stands: a vCPU's breakpoint or step, or else the signal of that number. */
void stops_report(struct gdb *g, unsigned signal);
/* The machine's events. */
void stops_on_event(struct machine_observer *o, enum machine_event event, enum stop_reason reason);

/* ---- stub.c ---- */
void stub_send(struct gdb *g, const void *body, size_t length);
void stub_send_text(struct gdb *g, const char *text);
/* Carries out the packet in g->reader. */
void stub_packet(struct gdb *g);

#endif
