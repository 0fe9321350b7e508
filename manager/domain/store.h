/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Definitions on disk: DIR/NAME.xml, and DIR/autostart/NAME.xml, a link to it, for a domain that
 * starts with the host.  A file is replaced whole: what is written goes to NAME.xml.new, which
 * takes the other's place when it is on the disk, so a crash at any moment leaves the old or the
 * new one.
 */
#ifndef TRAPEZE_MANAGER_STORE_H
#define TRAPEZE_MANAGER_STORE_H

#include "manager/error.h"

#include <stdbool.h>

struct store;

/* Makes DIR and what is in it where it is missing, and removes what a crash left half written. NULL
 * with ERROR set. */
struct store *store_open(const char *dir, GError **error);
void store_close(struct store *s);

/* Names of all files NAME.xml, sorted, as char * to be freed with the array. */
GPtrArray *store_list(struct store *s);
/* The text of NAME's file; g_free.  NULL with ERROR set. */
char *store_read(struct store *s, const char *name, GError **error);
/* Writes it; false with ERROR set (MANAGER_ERROR_SYSTEM), and the old file stays. */
bool store_write(struct store *s, const char *name, const char *xml, GError **error);
/* Removes NAME's file and its link. */
bool store_remove(struct store *s, const char *name, GError **error);

bool store_autostart(struct store *s, const char *name);
bool store_set_autostart(struct store *s, const char *name, bool on, GError **error);

/* Writes TEXT to FILE in the folder DIR in that way; of mode 0600.  Unless DURABLE it is whole
 * after a crash of the manager, but not of the host. */
bool store_write_file(const char *dir, const char *file, const char *text, bool durable,
                      GError **error);

#endif
