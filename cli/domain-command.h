/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the commands about the manager's domains share: flags, the connection, errors. */
#ifndef TRAPEZE_DOMAIN_COMMAND_H
#define TRAPEZE_DOMAIN_COMMAND_H

#include "client.h"
#include "options.h"

#define STATE_RUNNING 1
#define STATE_PAUSED  3
#define STATE_SHUTOFF 5

/* What the flags of all of them fill in. */
struct domain_options {
    char *socket_dir;
    bool help, json, running, paused, console, force, stop, xml, autostart;
    unsigned timeout;    /* seconds */
    GPtrArray *operands; /* char * */
};

/* One command. */
struct domain_command {
    const char *name;
    const char *operands; /* in its usage: "NAME..." */
    unsigned least, most; /* how many operands it takes */
    const char *text;     /* what it does; lines separated by \n */
    const struct option_row *rows;
    unsigned count;
    /* Called with a connection; false with ERROR set. */
    bool (*run)(struct client *c, const struct domain_options *o, GError **error);
};

/* Parses, connects, runs, and prints errors; the process's exit status. */
int domain_command(const struct domain_command *command, int argc, char **argv);

/* Rows that several have. */
bool take_socket_dir(void *target, const char *value, GError **error);
bool take_json(void *target, const char *value, GError **error);
bool take_domain_help(void *target, const char *value, GError **error);
bool take_domain_force(void *target, const char *value, GError **error);
#define ROW_SOCKET_DIR                                                                             \
    {                                                                                              \
        "socket-dir", "DIR",                                                                       \
            "where the manager's sockets stand, if not in $TRAPEZE_SOCKET_DIR,\n"                  \
            "/run/trapeze (root) or $XDG_RUNTIME_DIR/trapeze",                                     \
            take_socket_dir                                                                        \
    }
#define ROW_JSON                                                                                   \
    {                                                                                              \
        "json", NULL, "print JSON, for programs", take_json                                        \
    }
#define ROW_HELP                                                                                   \
    {                                                                                              \
        "help", NULL, "this", take_domain_help                                                     \
    }

/* The domain NAME; xdr_domain_clear. */
bool domain_find(struct client *c, const char *name, struct xdr_domain *d, GError **error);

struct domain_facts {
    unsigned state;              /* virDomainState */
    uint64_t max_memory, memory; /* KiB */
    unsigned vcpus;
    uint64_t cpu_time; /* ns */
};
bool domain_get_facts(struct client *c, const struct xdr_domain *d, struct domain_facts *facts,
                      GError **error);
const char *domain_state_name(unsigned state);

/* Joins the console of NAME and this terminal (console.c). */
bool console_run(struct client *c, const char *name, bool force, GError **error);

#endif
