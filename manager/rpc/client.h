/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client: what the protocol knows of one connection, and the calls it makes.
 *
 * A call is looked up in the table of procedures (procedures.h), its arguments decoded by the row's
 * signature, and handed to the row's handler, which ends it by call_done or call_fail: at once, or
 * later, when a guest has answered.  So calls are answered in any order, by their serial.  A client
 * that leaves while calls are outstanding is remembered by them alone.
 */
#ifndef TRAPEZE_MANAGER_CLIENT_H
#define TRAPEZE_MANAGER_CLIENT_H

#include "manager/domain/domain.h"
#include "manager/node/node.h"
#include "manager/rpc/connection.h"

#define CLIENT_CALLS_MAX     32  /* outstanding; above it nothing more is read */
#define CLIENT_CALLBACKS_MAX 256 /* registered events */
#define CLIENT_STREAMS_MAX   16

/* What handlers work on. */
struct rpc_context {
    struct domains *domains;
    const struct node *node;
    bool session; /* the URI is qemu:///session */
};

struct client {
    int references;
    const struct rpc_context *context;
    struct connection *connection; /* NULL when gone */
    bool read_only;                /* changes nothing: its socket, or virConnectOpen's flag */
    bool opened;
    bool close_watched; /* virConnectRegisterCloseCallback */
    unsigned calls;     /* outstanding */
    unsigned next_callback;
    GArray *callbacks;     /* struct client_callback */
    unsigned subscription; /* of life-cycle events; 0: none */
    GPtrArray *streams;    /* struct stream * */
    void (*ended)(struct client *c, const char *why, void *data);
    void (*on_opened)(struct client *c, void *data);
    void *data;
};

struct client_callback {
    int id, event;
    bool one; /* of the domain UUID alone */
    uint8_t uuid[DOMAIN_UUID_SIZE];
};

struct procedure;

/* A call that waits for its answer. */
struct call {
    struct client *client;
    const struct procedure *row;
    uint32_t program, procedure, serial;
    struct xdr_values arguments;
    struct domain *domain;   /* the first argument's, when that is a domain */
    struct xdr_writer reply; /* what a handler writes before call_done */
};

/* Takes FD over.  ON_OPENED and ENDED (either may be NULL) come from the main loop; after ENDED the
 * caller unrefs. */
struct client *client_new(const struct rpc_context *context, int fd, bool read_only,
                          void (*on_opened)(struct client *c, void *data),
                          void (*ended)(struct client *c, const char *why, void *data), void *data);
struct client *client_ref(struct client *c);
/* The last one frees; a client still connected is cut off (client_disconnect). */
void client_unref(struct client *c);
/* Lets go of the connection, callbacks and streams; ENDED is not called. */
void client_disconnect(struct client *c);
/* Sends a frame, if the client is there. */
void client_send(struct client *c, const struct frame *f);
/* Sends the error as the reply to (or, with TYPE FRAME_STREAM, in the stream of) a call. */
void client_send_error(struct client *c, enum frame_type type, uint32_t program, uint32_t procedure,
                       uint32_t serial, const GError *error);

/* The text of a UUID, in the form 8-4-4-4-12; g_free. */
char *uuid_text(const uint8_t uuid[DOMAIN_UUID_SIZE]);

/* Registers for EVENT (of D alone unless that is NULL): the callback's number, or -1. */
int client_add_callback(struct client *c, int event, const struct domain *d, GError **error);
bool client_remove_callback(struct client *c, int id, GError **error);

/* Ends of a call, one of them once; they free it.  call_fail does not take ERROR over. */
void call_done(struct call *call);
void call_fail(struct call *call, const GError *error);

#endif
