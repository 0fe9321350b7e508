/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers in domain XML. */
#ifndef TRAPEZE_MANAGER_DEFINITION_UNITS_H
#define TRAPEZE_MANAGER_DEFINITION_UNITS_H

#include "xml.h"

#include <stdint.h>

/* The size in NODE (NULL: leaves *KIB as it is), whose attribute `unit` may say "MiB" or another of
 * libvirt's units, and KiB otherwise; rounded up.  False with ERROR set. */
bool units_take_kib(const xmlNode *node, uint64_t *kib, GError **error);
/* A decimal number, blanks around it allowed. */
bool units_take_count(const char *text, unsigned *count);

#endif
