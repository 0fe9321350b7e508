/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The debugger's door: GDB's remote serial protocol on the socket that --gdb names.
 *
 * A debugger sees the machine as one program whose threads are the vCPUs: registers, memory by a
 * vCPU's page tables (or physical), breakpoints, watchpoints, single steps.  All of it goes over
 * the KVM ABI, so both engines serve it.  One debugger at a time.
 *
 * Packets are handled on the main context, and only while the machine is stopped: the first one of
 * a debugger stops it, and so does any that comes while the guest runs.
 */
#ifndef TRAPEZE_GDB_H
#define TRAPEZE_GDB_H

#include <glib.h>

struct machine;
struct machine_vcpu;
struct gdb;

/* Listens on SPEC: "tcp:[ADDRESS]:PORT", 127.0.0.1 where ADDRESS is left out, or "unix:PATH", a
 * socket of mode 0600 that is removed at the end.  Returns NULL with ERROR set. */
struct gdb *gdb_new(struct machine *m, const char *spec, GError **error);
/* Tells the debugger that the guest has ended.  NULL is allowed. */
void gdb_free(struct gdb *g);

/* V left the guest by KVM_EXIT_DEBUG; on its own thread.  It stays outside until the debugger lets
 * it go on; what was not the debugger's is given to the guest. */
void gdb_debug_exit(struct gdb *g, struct machine_vcpu *v);

/* Serves the connected stream socket FD, which becomes the stub's. */
void gdb_add_client(struct gdb *g, int fd);

#endif
