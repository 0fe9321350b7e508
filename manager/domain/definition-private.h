/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of definition.h share. */
#ifndef TRAPEZE_MANAGER_DEFINITION_PRIVATE_H
#define TRAPEZE_MANAGER_DEFINITION_PRIVATE_H

#include "definition.h"

/* Notes that the element NODE has no effect. */
void definition_ignore(struct definition *d, const char *prefix, const xmlNode *node);

/* An attribute that is one of the NULL-terminated VALUES; with INITIAL (may be NULL: it is
 * required) filled in when missing.  Its index, or -1 with ERROR set. */
int definition_choice(xmlNode *node, const char *attribute, const char *const *values,
                      const char *initial, GError **error);
/* Whether VALUE is among the NULL-terminated VALUES. */
bool definition_is_one_of(const char *value, const char *const *values);

/* Reads and completes <devices>; false with ERROR set. */
bool definition_take_devices(struct definition *d, xmlNode *devices, unsigned flags,
                             GError **error);
void definition_clear_devices(struct definition *d);

/* Parts of that: one element. */
bool definition_take_disk(struct definition *d, xmlNode *node, GError **error);
bool definition_take_net(struct definition *d, xmlNode *node, GError **error);
/* All <serial> and <console>. */
bool definition_take_consoles(struct definition *d, xmlNode *devices, unsigned flags,
                              GError **error);
/* The position of a target in its bus: vda 0, vdb 1, vdaa 26; -1 when it is not such a name. */
int definition_disk_index(const char *target);

#endif
