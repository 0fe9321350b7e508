/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the machine's core share with each other and with nobody else. */
#ifndef TRAPEZE_CORE_H
#define TRAPEZE_CORE_H

#include "machine.h"

/* Sets ERROR to "engine E: REQUEST: reason" for a RESULT of -errno; returns false. */
bool core_error(GError **error, struct machine *m, const char *request, long result);

/* Ends the run with an error that is the guest's or the engine's doing; any thread. */
void machine_stop_error(struct machine *m, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- machine.c ---- */
/* Puts the first vCPU, in its power-on state, where the guest begins, loading the guest image; or,
 * after S3, where it goes on. */
bool core_boot(struct machine *m, GError **error);
bool core_boot_awake(struct machine *m, GError **error);

/* ---- lifecycle.c ---- */
/* Ends the vCPUs' threads. */
void core_end_vcpus(struct machine *m);
/* What machine_wake sets off, on the main context; destroyed and unreferenced by the caller. */
GSource *core_wake_source(struct machine *m);

/* ---- memory.c ---- */
bool ram_setup(struct machine *m, GError **error);
void ram_free(struct machine *m);

/* ---- space.c ---- */
struct address_space *space_new(void);
void space_free(struct address_space *s);

/* ---- irq.c ---- */
/* Creates the interrupt controllers, their routes, and the PIT if asked for. */
bool irq_setup(struct machine *m, GError **error);
/* Their state at power-on, taken once before the guest runs, and put back at reset. */
struct irq_state;
struct irq_state *irq_state_get(struct machine *m);
void irq_state_set(struct machine *m, const struct irq_state *s);

#endif
