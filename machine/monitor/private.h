/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the monitor's files share. */
#ifndef TRAPEZE_MONITOR_PRIVATE_H
#define TRAPEZE_MONITOR_PRIVATE_H

#include "machine/machine.h"
#include "machine/stream.h"
#include "monitor.h"
#include "reader.h"

#include <jansson.h>

#define MONITOR_SESSIONS_MAX 64

struct monitor {
    struct machine *machine;
    struct machine_observer observer;
    GPtrArray *listeners;
    struct list sessions;
    unsigned session_count;
};

/* One client. */
struct session {
    struct list link;
    struct monitor *monitor;
    struct stream *stream;
    bool negotiated;
    struct reader reader;
};

/* ---- session.c ---- */
/* Greets the client on FD. */
struct session *session_new(struct monitor *mon, int fd);
void session_free(struct session *s);
/* Sends VALUE as one line. */
void session_send(struct session *s, const json_t *value);

/* ---- command.c ---- */

/* An error of a command: its code tells the class. */
enum qmp_error { QMP_GENERIC, QMP_COMMAND_NOT_FOUND, QMP_DEVICE_NOT_ACTIVE };
#define QMP_ERROR (qmp_error_quark())
GQuark qmp_error_quark(void);

/* Carries out one request of S, the JSON value REQUEST, and sends the answer. */
void command_dispatch(struct session *s, const json_t *request);
/* Sends an error that no request can be named for. */
void command_send_error(struct session *s, const char *text);

/* The value that a handler returns, or NULL with ERROR set.  ARGUMENTS is an object that has been
 * checked against the command's row. */
typedef json_t *command_fn(struct monitor *mon, json_t *arguments, GError **error);

/* ---- query.c, query-block.c, query-stats.c ---- */
json_t *query_version(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_name(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_uuid(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_status(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_kvm(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_cpus_fast(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_memory_size_summary(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_balloon(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_chardev(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_block(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_blockstats(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_stats(struct monitor *mon, json_t *arguments, GError **error);
json_t *query_stats_schemas(struct monitor *mon, json_t *arguments, GError **error);

/* A vCPU's path, by which commands name it; g_free. */
char *query_cpu_path(unsigned index);

/* ---- monitor.c ---- */
/* Takes new clients, or has them wait while there are too many. */
void monitor_update_listeners(struct monitor *mon);
json_t *monitor_query_events(struct monitor *mon, json_t *arguments, GError **error);

#endif
