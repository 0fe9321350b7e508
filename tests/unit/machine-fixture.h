/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whole machines for tests: machine_new on the software engine with a small guest of the test's
 * own. Without machine_run no vCPU moves, and the test plays the guest: it reads and writes ports
 * itself.
 */
#ifndef TESTS_MACHINE_FIXTURE_H
#define TESTS_MACHINE_FIXTURE_H

#include "machine/core.h"
#include "machine/machine.h"

struct fixture {
    char *folder;                 /* a temporary one, removed at the end */
    struct machine_config config; /* change it before fixture_start */
    GMainContext *context;
    struct machine *machine;
    int serial; /* the other end of the serial port */
};

/* A machine to be: 16 MiB, one vCPU, no network, software engine, serial port on a socket, and a
 * multiboot image that holds LENGTH bytes of 32-bit CODE (entered at its first byte, at 1 MiB). */
struct fixture *fixture_new(const void *code, size_t length);
/* Makes the machine and connects to its serial port. */
void fixture_start(struct fixture *f);
void fixture_free(struct fixture *f);

/* Writes a file in the fixture's folder; its path, g_free. */
char *fixture_file(struct fixture *f, const char *name, const void *data, size_t length);

/* The guest's port accesses. */
uint8_t in8(struct fixture *f, uint16_t port);
void out8(struct fixture *f, uint16_t port, uint8_t value);

/* Level of interrupt line GSI below 16, as the interrupt controllers see it. */
bool fixture_line(struct fixture *f, unsigned gsi);
/* Runs the main context until CONDITION(F) holds; fails after half a minute. */
void fixture_run_until(struct fixture *f, bool (*condition)(struct fixture *f));
/* Runs what the main context has to do now. */
void fixture_settle(struct fixture *f);
/* Reads LENGTH bytes from the other end of the serial port, and compares. */
void fixture_expect_serial(struct fixture *f, const char *text);

#endif
