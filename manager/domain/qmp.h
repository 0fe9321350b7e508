/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of QMP, the protocol by which a guest's process is driven (QEMU's interop/qmp-spec):
 * JSON objects, one a line.  It negotiates by itself, asks one command after the other, and matches
 * the answers by their order.  Nothing blocks.  The guest's process may be anything: lines are
 * bounded in length, JSON in depth, and what is no answer is an error of the connection, which ends
 * it.
 */
#ifndef TRAPEZE_MANAGER_QMP_H
#define TRAPEZE_MANAGER_QMP_H

#include "manager/error.h"

#include <jansson.h>
#include <stdbool.h>

#define QMP_LINE_MAX (1u << 20)

struct qmp;

/* VALUE is what the command returned, or NULL with ERROR set: MANAGER_ERROR_INTERNAL with the
 * guest's own words, MANAGER_ERROR_OPERATION_TIMEOUT, or MANAGER_ERROR_OPERATION_FAILED when the
 * connection ended.  Both are the callee's for the time of the call. */
typedef void (*qmp_reply)(json_t *value, const GError *error, void *data);

struct qmp_handler {
    /* Negotiation is done. */
    void (*ready)(void *data);
    /* An event; DETAIL is its `data`, or NULL. */
    void (*event)(const char *name, const json_t *detail, void *data);
    /* The connection is of no use any more; commands have been answered with an error. */
    void (*closed)(const char *why, void *data);
};

/* Takes over the connected socket FD. */
struct qmp *qmp_new(int fd, const struct qmp_handler *handler, void *data);
/* Ends the connection.  Commands that wait are answered with an error, before this returns;
 * `closed` is not called.  May be called from a callback; NULL is allowed. */
void qmp_free(struct qmp *q);

/* Gives a command; ARGUMENTS (may be NULL) become the client's.  TIMEOUT_MS counts from when it is
 * sent.  REPLY comes once, never from inside this call. */
void qmp_command(struct qmp *q, const char *name, json_t *arguments, unsigned timeout_ms,
                 qmp_reply reply, void *data);
/* Reads what the guest has sent until now, for a guest that has just ended. */
void qmp_drain(struct qmp *q);

#endif
