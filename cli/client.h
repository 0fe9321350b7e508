/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the manager: libvirt's protocol over its Unix socket, one call at a time, each waited
 * for.  What comes from the manager is checked like anything else that comes from a socket.
 */
#ifndef TRAPEZE_CLIENT_H
#define TRAPEZE_CLIENT_H

#include "manager/rpc/frame.h"

/* Procedures of the remote program, by libvirt's numbers. */
enum procedure {
    PROCEDURE_OPEN = 1,
    PROCEDURE_CLOSE = 2,
    PROCEDURE_GET_XML = 14,
    PROCEDURE_GET_AUTOSTART = 15,
    PROCEDURE_GET_INFO = 16,
    PROCEDURE_LOOKUP_BY_NAME = 23,
    PROCEDURE_AUTH_LIST = 66,
    PROCEDURE_IS_PERSISTENT = 151,
    PROCEDURE_CREATE_WITH_FLAGS = 196,
    PROCEDURE_OPEN_CONSOLE = 201,
    PROCEDURE_GET_STATE = 212,
    PROCEDURE_UNDEFINE_FLAGS = 231,
    PROCEDURE_DESTROY_FLAGS = 234,
    PROCEDURE_SHUTDOWN_FLAGS = 258,
    PROCEDURE_GET_METADATA = 265,
    PROCEDURE_LIST_ALL_DOMAINS = 273,
    PROCEDURE_DEFINE_XML_FLAGS = 350,
};

#define ERROR_NO_DOMAIN         42
#define ERROR_OPERATION_INVALID 55

/* Errors that the manager answered with: their code is libvirt's number. */
#define CLIENT_ERROR (client_error_quark())
GQuark client_error_quark(void);

struct client;

/* Connects to the manager whose sockets stand in SOCKET_DIR; NULL: in $TRAPEZE_SOCKET_DIR, or where
 * trapezed has them unless told otherwise.  NULL with ERROR set, which says how to start one. */
struct client *client_open(const char *socket_dir, GError **error);
void client_close(struct client *c);

/* Calls NUMBER with arguments by xdr_encode's SIGNATURE, and waits.  The result is to be read from
 * *REPLY, which is good until the next call.  False with ERROR set. */
bool client_call(struct client *c, enum procedure number, struct xdr_reader *reply, GError **error,
                 const char *signature, ...);
/* Ends a reading of a reply: false with ERROR set when it was not what it should be. */
bool client_read_end(const struct xdr_reader *reply, GError **error);

/* ---- a stream, after a call that opened one ---- */

int client_fd(const struct client *c);
/* Sends data of the stream; SIZE 0: finishes it. */
bool client_stream_send(struct client *c, enum procedure number, const void *data, size_t size,
                        GError **error);
/* Reads what has come and gives the stream's data to TAKE.  False when it has ended, with ERROR set
 * if not in order. */
bool client_stream_receive(struct client *c, void (*take)(const void *data, size_t size, void *to),
                           void *to, GError **error);

#endif
