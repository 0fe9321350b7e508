/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ACPI tables of machine `virt-1` (ACPI 6.4), built in C: RSDP, XSDT, FADT, FACS, DSDT, MADT,
 * MCFG. */
#ifndef TRAPEZE_ACPI_H
#define TRAPEZE_ACPI_H

#include "machine/machine.h"

/* Where the tables start; the RSDP is at LAYOUT_RSDP, above them. */
#define ACPI_BASE 0xe0000ull

/* Writes the tables into M's RAM, and tells M where the FACS is. */
bool acpi_write(struct machine *m, GError **error);

/* Where the guest wants to go on after S3 (ACPI 6.4, 5.2.10), which it wrote into the FACS; 0 where
 * it did not. */
uint32_t acpi_waking_vector(struct machine *m);

/* The AML of the DSDT (without header) for a machine of CPUS vCPUs. */
GByteArray *acpi_dsdt(unsigned cpus);

#endif
