/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listening sockets: of serial ports, of QMP, of the debugger. */
#ifndef TRAPEZE_LISTEN_H
#define TRAPEZE_LISTEN_H

#include <glib.h>
#include <sys/stat.h>

/* A listening, non-blocking Unix socket at PATH, whose file gets MODE (less the umask).  A socket
 * that a dead process left there is replaced; one that answers, or another file, is not.  The
 * caller removes PATH at the end.  Returns the descriptor, or -1 with ERROR set: the reason and
 * what to do, without PATH. */
int listen_unix(const char *path, mode_t mode, GError **error);

/* A listening, non-blocking TCP socket at "[ADDRESS]:PORT" or "PORT": an address in numbers, IPv6
 * in brackets; 127.0.0.1 where it is left out.  Returns the descriptor, or -1 with ERROR set,
 * likewise.
 */
int listen_tcp(const char *where, GError **error);

#endif
