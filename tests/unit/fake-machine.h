/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A machine without vCPUs, for device tests: real RAM and address spaces (machine/memory.c,
 * space.c) on an engine that does nothing but note what devices ask of it.
 */
#ifndef TESTS_FAKE_MACHINE_H
#define TESTS_FAKE_MACHINE_H

#include "machine/machine.h"

#define FAKE_MSIS       4096
#define FAKE_IOEVENTFDS 64

struct fake_machine {
    struct machine machine; /* first */
    struct machine_config config;
    struct engine engine;
    GMutex lock; /* guards what follows: devices ask from their threads */
    struct {
        uint64_t address;
        uint32_t data;
    } msis[FAKE_MSIS];
    unsigned msi_count;
    bool lines[24];
    struct {
        uint64_t address; /* 0: free */
        int fd;
    } ioeventfds[FAKE_IOEVENTFDS];
    bool refuse_ioeventfd;
    uint64_t written; /* bytes reported by ram_written */
    unsigned warnings;
    char *last_log;
    uint8_t reset_control;
    bool quiet;
    GByteArray *character;    /* what was written to the fake character back-end */
    unsigned character_limit; /* it asks to wait when it holds that much */
    const struct character_client *character_client;
};

/* A machine with MEMORY bytes of RAM and a PCI host. */
struct fake_machine *fake_machine_new(uint64_t memory);
void fake_machine_free(struct fake_machine *f);

/* MSIs sent so far, and the number of those with DATA. */
unsigned fake_msis(struct fake_machine *f);
unsigned fake_msis_of(struct fake_machine *f, uint32_t data);
bool fake_line(struct fake_machine *f, unsigned gsi);
/* A guest's write of VALUE to MMIO ADDRESS: to an ioeventfd where one is registered, else to the
 * region. */
void fake_mmio_write(struct fake_machine *f, uint64_t address, uint64_t value, unsigned size);
unsigned fake_ioeventfd_count(struct fake_machine *f);
unsigned fake_warnings(struct fake_machine *f);

/* Runs the main context until CONDITION(OPAQUE) holds; the test fails after half a minute. */
void fake_run_until(struct fake_machine *f, bool (*condition)(void *opaque), void *opaque);
/* Runs the main context until nothing is left to do. */
void fake_settle(struct fake_machine *f);

/* Copies the fields of FROM's state to TO, as snapshots do, and calls its loaded hook. */
bool fake_transfer_state(struct device *from, struct device *to, GError **error);

#endif
