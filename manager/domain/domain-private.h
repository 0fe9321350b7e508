/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of domain.h share.
 *
 * A domain's guest goes through these phases: NONE; STARTING from the moment its state file is
 * written until its monitor has answered and it was let go; UP; and NONE again when its process has
 * ended, whoever ended it.  guest.c changes the phase, nobody else.
 */
#ifndef TRAPEZE_MANAGER_DOMAIN_PRIVATE_H
#define TRAPEZE_MANAGER_DOMAIN_PRIVATE_H

#include "definition.h"
#include "domain.h"
#include "process.h"
#include "qmp.h"
#include "store.h"

#define QMP_TIMEOUT_MS 30000

/* virDomainEventType and its details, as far as they happen here. */
enum {
    EVENT_DEFINED,   /* 0 added, 1 updated */
    EVENT_UNDEFINED, /* 0 removed */
    EVENT_STARTED,   /* 0 booted */
    EVENT_SUSPENDED, /* 0 paused */
    EVENT_RESUMED,   /* 0 unpaused */
    EVENT_STOPPED,   /* 0 shutdown, 1 destroyed, 2 crashed, 5 failed */
    EVENT_SHUTDOWN,  /* 0 finished, 1 by the guest, 2 by the host */
};
enum { STOPPED_SHUTDOWN = 0, STOPPED_DESTROYED = 1, STOPPED_CRASHED = 2, STOPPED_FAILED = 5 };
enum { SHUTDOWN_FINISHED, SHUTDOWN_GUEST, SHUTDOWN_HOST };
/* virDomain*Reason. */
enum { RUNNING_BOOTED = 1, RUNNING_UNPAUSED = 5 };
enum { PAUSED_USER = 1, PAUSED_SHUTTING_DOWN = 8, PAUSED_STARTING_UP = 11 };
enum {
    SHUTOFF_UNKNOWN,
    SHUTOFF_SHUTDOWN = 1,
    SHUTOFF_DESTROYED = 2,
    SHUTOFF_CRASHED = 3,
    SHUTOFF_FAILED = 6,
};

enum guest_phase { GUEST_NONE, GUEST_STARTING, GUEST_UP };

struct domains {
    char *run_dir, *log_dir, *trapeze;
    unsigned start_ms;
    int lock; /* of the run folder */
    struct store *store;
    GHashTable *by_name, *by_uuid; /* struct domain *; by_name holds the reference */
    GHashTable *unreadable;        /* names whose file did not parse */
    int next_id;
    GPtrArray *subscribers;
    unsigned next_subscription;
    unsigned telling; /* depth of domains_tell */
};

struct job;

struct domain {
    unsigned references;
    struct domains *all; /* NULL when nobody knows it any more */
    char *name;
    uint8_t uuid[DOMAIN_UUID_SIZE];
    char uuid_text[37];
    struct definition *config;  /* NULL: transient */
    struct definition *live;    /* NULL: inactive */
    struct definition *initial; /* of a domain that is being created; NULL otherwise */
    int id;
    enum domain_state state;
    int reason;

    /* The guest. */
    enum guest_phase phase;
    struct process *process;
    struct qmp *qmp;
    GArray *threads;    /* int: of the vCPUs */
    bool paused_start;  /* it is not to be let go at its start */
    bool reboot_wanted; /* when it powers off it is to be reset */
    bool destroyed;     /* on our request */
    bool shut_down;     /* it powered off, or its process says it will end */
    bool quitting;      /* its process was asked to end, and will be killed if it does not */
    bool adopting;      /* it is being found again */
    char *start_fault;  /* why its process is killed while it starts, or NULL */
    guint timer;        /* of its start, of looking for it, of connecting again, of its end */
    unsigned looks;

    struct job *job; /* the one under way */
    GQueue jobs;
    guint job_source;

    int console_fd; /* of the client that has the console; -1 */
    bool console_taken;
};

/* ---- list.c ---- */
/* Takes D out of the list. */
void domains_remove(struct domain *d);
/* Sets ERROR when nobody knows D any more. */
bool domain_check(const struct domain *d, GError **error);
/* And when it does not run. */
bool domain_check_active(const struct domain *d, GError **error);
/* Puts a domain named and defined by DEFINITION, which stays the caller's, into the list. */
struct domain *domains_add(struct domains *all, const struct definition *definition);
/* Whether XML may be a domain beside those there are; the one that it means already, or NULL. */
bool domains_check_new(struct domains *all, const struct definition *definition,
                       struct domain **same, GError **error);
/* Writes D's configuration to the store. */
bool domain_store(struct domain *d, const struct definition *config, GError **error);

/* ---- events.c ---- */
void domains_tell(struct domain *d, int event, int detail);
void domains_end_subscriptions(struct domains *all);

/* ---- job.c ---- */
enum job_wait {
    JOB_ANSWER, /* for what it asked the guest; guest_release answers with an error at the latest */
    JOB_UNTIL_UP,    /* a start: guest.c ends it */
    JOB_UNTIL_ENDED, /* a destruction: likewise */
};

/* One operation.  `run` begins it, `job_done` ends it; between them anything may happen to the
 * guest. */
struct job {
    struct domain *domain;
    void (*run)(struct job *job);
    enum job_wait wait;
    unsigned flags;
    bool was_active;               /* when it was asked for */
    struct definition *definition; /* of a domain that is created; the job's */
    guint timer;
    domain_done done;
    void *data;
};
/* Queues a job; it runs from the main loop. */
struct job *job_add(struct domain *d, void (*run)(struct job *job), unsigned flags,
                    domain_done done, void *data);
/* Ends it: takes ERROR (NULL: success), calls back, frees it, and goes on with the next. */
void job_done(struct job *job, GError *error);
/* Ends all, with an error, without going on: the manager closes. */
void jobs_end(struct domain *d);

/* ---- guest.c ---- */
/* Starts a guest as DEFINITION says; the end of the current job, which waits until it is up,
 * follows. */
void guest_start(struct domain *d, const struct definition *definition, unsigned flags);
/* Looks for the guest that the state file told of, and connects to it: a job of its own. */
void guest_adopt(struct domain *d);
/* Ends the guest's process: asks it to, and kills it if that takes more than seconds.  What waits
 * for its end is told. */
void guest_quit(struct domain *d);
/* At once and without asking. */
void guest_kill(struct domain *d);
/* Lets go of it. */
void guest_release(struct domain *d);
/* Notes STATE and REASON and writes the state file. */
void guest_set_state(struct domain *d, enum domain_state state, int reason);

/* ---- guest-events.c ---- */
/* Takes an event of the guest's. */
void guest_event(const char *name, const json_t *detail, void *domain);
/* The guest, which does not run any more, powered off: what its definition says is done. */
void guest_powered_off(struct domain *d, bool by_reset);

/* ---- state.c ---- */
/* Writes RUN_DIR/UUID.state. */
bool state_write(struct domain *d, GError **error);
void state_remove(struct domain *d);
/* Reads all state files into domains, with their phase STARTING or UP and no process. */
void states_read(struct domains *all);

#endif
