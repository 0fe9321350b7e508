/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small builder of AML (ACPI 6.4, chapter 20): terms are appended to a byte array; what has a
 * length is opened and closed.
 */
#ifndef TRAPEZE_AML_H
#define TRAPEZE_AML_H

#include "common/base/base.h"

#include <glib.h>

/* NAME is a path of four-letter segments, shorter ones are padded: "_HID", "\\_SB.PCI0". */

/* Each of these appends an operator and its head, and returns a mark for aml_close. */
unsigned aml_open_scope(GByteArray *a, const char *name);
unsigned aml_open_device(GByteArray *a, const char *name);
unsigned aml_open_method(GByteArray *a, const char *name, unsigned arguments);
unsigned aml_open_package(GByteArray *a, uint8_t elements);
void aml_close(GByteArray *a, unsigned mark);

void aml_integer(GByteArray *a, uint64_t value);
void aml_string(GByteArray *a, const char *text);
/* An EISA id such as "PNP0501", as an integer. */
void aml_eisa_id(GByteArray *a, const char *id);
void aml_buffer(GByteArray *a, const void *data, unsigned length);
/* Name (NAME, ...): the object is appended next. */
void aml_name(GByteArray *a, const char *name);
/* Return (ArgN). */
void aml_return_argument(GByteArray *a, unsigned n);

/* ---- resource descriptors (6.4), collected and then wrapped by aml_resources ---- */

void resource_io(GByteArray *r, uint16_t base, uint8_t length);
void resource_irq(GByteArray *r, unsigned irq);
void resource_memory_fixed(GByteArray *r, uint32_t base, uint32_t length);
/* Windows that a bridge passes on, both ends inclusive. */
void resource_bus_window(GByteArray *r, uint16_t first, uint16_t last);
void resource_io_window(GByteArray *r, uint16_t first, uint16_t last);
void resource_memory_window(GByteArray *r, uint32_t first, uint32_t last);
void resource_memory_window_64(GByteArray *r, uint64_t first, uint64_t last);
/* Name (_CRS, ResourceTemplate () {R}); frees R. */
void aml_resources(GByteArray *a, GByteArray *r);

#endif
