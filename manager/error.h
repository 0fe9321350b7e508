/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors of the manager: a GError of MANAGER_ERROR whose code is the number that libvirt's clients
 * know (virErrorNumber in libvirt's reference) and whose message begins with that number's usual
 * words, since clients print it as it comes: "Domain not found: no domain with matching name 'x'".
 */
#ifndef TRAPEZE_MANAGER_ERROR_H
#define TRAPEZE_MANAGER_ERROR_H

#include <glib.h>

#define MANAGER_ERROR (manager_error_quark())
GQuark manager_error_quark(void);

enum manager_error {
    MANAGER_ERROR_INTERNAL = 1,
    MANAGER_ERROR_NO_SUPPORT = 3,
    MANAGER_ERROR_INVALID_ARGUMENT = 8,
    MANAGER_ERROR_OPERATION_FAILED = 9,
    MANAGER_ERROR_NO_SOURCE = 19, /* a disk without source; the words are the message's own */
    MANAGER_ERROR_NO_TARGET = 20, /* a disk without target; likewise */
    MANAGER_ERROR_NO_NAME = 21,   /* "missing name information" */
    MANAGER_ERROR_XML = 27,       /* "XML error: " and what is wrong with an element */
    MANAGER_ERROR_DOMAIN_EXISTS =
        28, /* 'domain already exists'; duplicates give 9, as libvirtd's */
    MANAGER_ERROR_OPERATION_DENIED = 29, /* read-only connection */
    MANAGER_ERROR_XML_DETAIL = 35,       /* not well-formed XML; no words in front of the message */
    MANAGER_ERROR_SYSTEM = 38,           /* a system call failed */
    MANAGER_ERROR_RPC = 39,
    MANAGER_ERROR_NO_DOMAIN = 42,
    MANAGER_ERROR_NO_NETWORK = 43,
    MANAGER_ERROR_NO_POOL = 49,
    MANAGER_ERROR_NO_VOLUME = 50,
    MANAGER_ERROR_OPERATION_INVALID = 55, /* the domain is in the wrong state */
    MANAGER_ERROR_CONFIG_UNSUPPORTED = 67,
    MANAGER_ERROR_OPERATION_TIMEOUT = 68,
    MANAGER_ERROR_ARGUMENT_UNSUPPORTED = 74, /* of a call's flags */
    MANAGER_ERROR_NO_METADATA = 80,
    MANAGER_ERROR_OVERFLOW = 82,   /* "numerical overflow: " */
    MANAGER_ERROR_XML_SCHEMA = 92, /* a client asked for validation, and it failed */
};

/* A new GError of CODE: the code's usual words, ": ", then FORMAT's (nothing but the words when
 * FORMAT is NULL).  NO_SOURCE, NO_TARGET, NO_NAME, SYSTEM and XML_DETAIL have no words to put in
 * front: their message is FORMAT's alone, as in libvirt. */
GError *manager_error_new(enum manager_error code, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* As g_set_error does with it. */
void manager_error_set(GError **error, enum manager_error code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

#endif
