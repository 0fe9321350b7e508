/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The chipset's devices.  Each constructor maps the device's registers at their fixed addresses
 * (layout.h) and puts it on the machine's list, which frees it.
 */
#ifndef TRAPEZE_CHIPSET_H
#define TRAPEZE_CHIPSET_H

#include "character.h"
#include "machine/device.h"

/* All of them, with M->serial as the first serial port's back-end. */
void chipset_new(struct machine *m);

/* A 16550A UART at PORT on line GSI, on back-end C (which stays the caller's). */
struct device *serial_new(struct machine *m, const char *id, uint16_t port, unsigned gsi,
                          struct character *c);

/* MC146818 clock and CMOS memory. */
struct device *rtc_new(struct machine *m);

/* Keyboard controller: self-test, A20, system reset; no keyboard is attached. */
struct device *i8042_new(struct machine *m);

/* ACPI power management: PM1 event and control blocks, PM timer, power button, S3 and S5. */
struct device *pm_new(struct machine *m);
void pm_power_button(struct device *pm);
/* The clock's alarm went off.  May be called with the clock's own lock held. */
void pm_alarm(struct device *pm);
/* The machine wakes from S3, after its devices were reset: tells the guest so, and what woke it. */
void pm_wake(struct device *pm);

/* The reset control register; the PCI host reaches it by reset_control_read and _write. */
struct device *reset_new(struct machine *m);

/* A write of V to port 0xf4 ends the run with status (V << 1) | 1. */
struct device *debug_exit_new(struct machine *m);

/* What test guests know: scratch port 0xe0, scratch memory at 0xff000000, interrupt lines at ports
 * 0x2000 + GSI. */
struct device *test_device_new(struct machine *m);

/* A source on M's context that calls CALLBACK(DATA) when its ready time (g_source_set_ready_time)
 * has come; -1 at first.  Destroy and unref it. */
GSource *chipset_timer_new(struct machine *m, GSourceFunc callback, void *data);

#endif
