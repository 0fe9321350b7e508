/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests' processes: `trapeze run`, one a guest, which outlive the manager.
 *
 * A process holds a lock (flock) on RUN_DIR/UUID.lock, by a descriptor that it was born with: so
 * there is never a second one of that guest, and who comes later sees from the lock alone whether
 * it lives.  The file holds its process id, which is true as long as the lock is held.
 * RUN_DIR/UUID.qmp is the socket of its monitor, which the manager makes and the process inherits.
 */
#ifndef TRAPEZE_MANAGER_PROCESS_H
#define TRAPEZE_MANAGER_PROCESS_H

#include "definition.h"

#include <sys/types.h>

struct process;

typedef void (*process_ended)(void *data);

/* The arguments that run D's guest, NULL-terminated, for g_strfreev.  The monitor's listening
 * socket is descriptor 3. */
char **process_arguments(const struct definition *d);

/* Runs ARGUMENTS (the first is the program) for the guest UUID, in a session of its own, its output
 * appended to LOG.  ENDED comes from the main loop.  NULL with ERROR set. */
struct process *process_spawn(const char *run_dir, const char *uuid, char **arguments,
                              const char *log, process_ended ended, void *data, GError **error);
/* The process of the guest UUID that runs already.  NULL when there is none; then *BORN (if not
 * NULL) tells whether one is just being born, and another look is due in a moment. */
struct process *process_find(const char *run_dir, const char *uuid, process_ended ended, void *data,
                             bool *born);
/* Lets go of it; it runs on.  NULL is allowed. */
void process_free(struct process *p);

pid_t process_id(const struct process *p);
/* Ends it, at once and without asking. */
void process_kill(struct process *p);
/* A connection to the guest's monitor: a descriptor, or -1 with ERROR set. */
int process_connect(const char *run_dir, const char *uuid, GError **error);
/* Removes the files of a guest whose process has ended. */
void process_clean(const char *run_dir, const char *uuid);

/* What it printed since it was spawned, its last lines; g_free. */
char *process_output(const struct process *p);

#endif
