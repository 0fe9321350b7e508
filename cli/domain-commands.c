/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `trapeze define`, `undefine`, `start` and `stop`. */
#include "commands.h"
#include "domain-command.h"

#include <stdio.h>
#include <string.h>

#define START_PAUSED 1
#define POLL_US      200000

#define SWITCH(function, field)                                                                    \
    static bool function(void *target, const char *value, GError **error)                          \
    {                                                                                              \
        (void)value;                                                                               \
        (void)error;                                                                               \
        ((struct domain_options *)target)->field = true;                                           \
        return true;                                                                               \
    }
SWITCH(take_paused, paused)
SWITCH(take_console, console)
SWITCH(take_stop, stop)

/* Calls RUN for each operand; the first failure ends it. */
static bool for_each(struct client *c, const struct domain_options *o,
                     bool (*run)(struct client *c, const struct domain_options *o, const char *name,
                                 struct xdr_domain *d, GError **error),
                     GError **error)
{
    bool done = true;

    for (guint i = 0; i < o->operands->len && done; i++) {
        const char *name = o->operands->pdata[i];
        struct xdr_domain d;

        done = domain_find(c, name, &d, error);
        if (done) {
            done = run(c, o, name, &d, error);
            xdr_domain_clear(&d);
        }
    }
    return done;
}

/* ---- define ---- */

static char *read_xml(const char *path, GError **error)
{
    GError *cause = NULL;
    char *xml = NULL;

    if (!g_file_get_contents(strcmp(path, "-") ? path : "/dev/stdin", &xml, NULL, &cause)) {
        g_set_error_literal(error, CLI_ERROR, 0, cause->message);
        g_error_free(cause);
    } else if (!g_utf8_validate(xml, -1, NULL)) {
        g_set_error(error, CLI_ERROR, 0, "%s: it is not UTF-8 text", path);
        g_clear_pointer(&xml, g_free);
    }
    return xml;
}

static bool define_run(struct client *c, const struct domain_options *o, GError **error)
{
    for (guint i = 0; i < o->operands->len; i++) {
        const char *path = o->operands->pdata[i];
        g_autofree char *xml = read_xml(path, error);
        struct xdr_reader reply;
        struct xdr_domain d;

        if (!xml)
            return false;
        if (!client_call(c, PROCEDURE_DEFINE_XML_FLAGS, &reply, error, "su", xml, 0u)) {
            g_prefix_error(error, "%s: ", path);
            return false;
        }
        xdr_get_domain(&reply, &d);
        if (!client_read_end(&reply, error))
            return false;
        printf("domain '%s' is defined; `trapeze start %s` starts it\n", d.name, d.name);
        xdr_domain_clear(&d);
    }
    return true;
}

int command_define(int argc, char **argv)
{
    static const struct option_row rows[] = {ROW_SOCKET_DIR, ROW_HELP};
    static const struct domain_command command = {
        "define",
        "FILE...",
        1,
        G_MAXUINT,
        "Makes a domain of libvirt's domain XML in each FILE (-: of standard input), or\n"
        "changes the one of that name.  A guest that runs goes on as it is.",
        rows,
        G_N_ELEMENTS(rows),
        define_run};

    return domain_command(&command, argc, argv);
}

/* ---- start ---- */

static bool start_one(struct client *c, const struct domain_options *o, const char *name,
                      struct xdr_domain *d, GError **error)
{
    struct xdr_reader reply;

    if (!client_call(c, PROCEDURE_CREATE_WITH_FLAGS, &reply, error, "du", d,
                     o->paused ? START_PAUSED : 0u)) {
        g_prefix_error(error, "'%s': ", name);
        return false;
    }
    printf("domain '%s' %s\n", name, o->paused ? "is ready, and paused" : "runs");
    return true;
}

static bool start_run(struct client *c, const struct domain_options *o, GError **error)
{
    if (!for_each(c, o, start_one, error))
        return false;
    if (!o->console)
        return true;
    fflush(stdout);
    return console_run(c, o->operands->pdata[0], false, error);
}

int command_start(int argc, char **argv)
{
    static const struct option_row rows[] = {
        {"console", NULL, "then open the first one's console", take_console},
        {"paused", NULL, "make it ready, and let a client such as virsh resume it", take_paused},
        ROW_SOCKET_DIR,
        ROW_HELP};
    static const struct domain_command command = {
        "start",
        "NAME...",
        1,
        G_MAXUINT,
        "Starts domains.  Each gets a process of its own, which runs on when the manager\n"
        "ends.",
        rows,
        G_N_ELEMENTS(rows),
        start_run};

    return domain_command(&command, argc, argv);
}

/* ---- stop ---- */

static bool take_timeout(void *target, const char *value, GError **error)
{
    guint64 seconds;

    if (!g_ascii_string_to_unsigned(value, 10, 0, 86400, &seconds, NULL)) {
        g_set_error(error, CLI_ERROR, 0, "`%s`: give a number of seconds", value);
        return false;
    }
    ((struct domain_options *)target)->timeout = (unsigned)seconds;
    return true;
}

/* A transient domain is not there any more when it is off. */
static bool is_off(struct client *c, const struct xdr_domain *d, GError **error)
{
    struct domain_facts facts;
    GError *cause = NULL;

    if (domain_get_facts(c, d, &facts, &cause))
        return facts.state == STATE_SHUTOFF;
    if (g_error_matches(cause, CLIENT_ERROR, ERROR_NO_DOMAIN)) {
        g_error_free(cause);
        return true;
    }
    g_propagate_error(error, cause);
    return false;
}

static bool wait_until_off(struct client *c, const struct domain_options *o, const char *name,
                           const struct xdr_domain *d, GError **error)
{
    gint64 end = g_get_monotonic_time() + (gint64)o->timeout * G_USEC_PER_SEC;
    GError *cause = NULL;

    while (!is_off(c, d, &cause) && !cause && g_get_monotonic_time() < end)
        g_usleep(POLL_US);
    if (cause) {
        g_propagate_error(error, cause);
        return false;
    }
    if (is_off(c, d, error))
        return true;
    if (error && !*error)
        g_set_error(error, CLI_ERROR, 0,
                    "'%s' was asked to shut down and has not within %u s; `trapeze stop --force "
                    "%s` ends it at once",
                    name, o->timeout, name);
    return false;
}

static bool stop_one(struct client *c, const struct domain_options *o, const char *name,
                     struct xdr_domain *d, GError **error)
{
    struct xdr_reader reply;
    struct domain_facts facts;

    if (!domain_get_facts(c, d, &facts, error))
        return false;
    if (facts.state == STATE_PAUSED && !o->force) {
        g_set_error(error, CLI_ERROR, 0,
                    "'%s' is paused and would not notice: resume it by another client, such as "
                    "virsh, or end it by --force",
                    name);
        return false;
    }
    if (!client_call(c, o->force ? PROCEDURE_DESTROY_FLAGS : PROCEDURE_SHUTDOWN_FLAGS, &reply,
                     error, "du", d, 0u)) {
        g_prefix_error(error, "'%s': ", name);
        return false;
    }
    if (!o->force && o->timeout && !wait_until_off(c, o, name, d, error))
        return false;
    printf("domain '%s' %s\n", name, o->force || o->timeout ? "is off" : "is shutting down");
    return true;
}

static bool stop_run(struct client *c, const struct domain_options *o, GError **error)
{
    return for_each(c, o, stop_one, error);
}

int command_stop(int argc, char **argv)
{
    static const struct option_row rows[] = {
        {"force", NULL, "end it at once, as if its power were cut", take_domain_force},
        {"timeout", "SECONDS", "how long to wait for it to be off (default 60; 0: don't wait)",
         take_timeout},
        ROW_SOCKET_DIR,
        ROW_HELP};
    static const struct domain_command command = {
        "stop",
        "NAME...",
        1,
        G_MAXUINT,
        "Presses the power button of domains, whose guests then shut themselves down, and\n"
        "waits until they are off.",
        rows,
        G_N_ELEMENTS(rows),
        stop_run};

    return domain_command(&command, argc, argv);
}

/* ---- undefine ---- */

static bool undefine_one(struct client *c, const struct domain_options *o, const char *name,
                         struct xdr_domain *d, GError **error)
{
    struct xdr_reader reply;

    if (o->stop && d->id >= 0 &&
        !client_call(c, PROCEDURE_DESTROY_FLAGS, &reply, error, "du", d, 0u))
        return false;
    if (!client_call(c, PROCEDURE_UNDEFINE_FLAGS, &reply, error, "du", d, 0u)) {
        g_prefix_error(error, "'%s': ", name);
        return false;
    }
    if (d->id >= 0 && !o->stop)
        printf("domain '%s' is not defined any more, and is forgotten when it is off\n", name);
    else
        printf("domain '%s' is not defined any more\n", name);
    return true;
}

static bool undefine_run(struct client *c, const struct domain_options *o, GError **error)
{
    return for_each(c, o, undefine_one, error);
}

int command_undefine(int argc, char **argv)
{
    static const struct option_row rows[] = {
        {"stop", NULL, "end it at once, if it runs", take_stop}, ROW_SOCKET_DIR, ROW_HELP};
    static const struct domain_command command = {
        "undefine",
        "NAME...",
        1,
        G_MAXUINT,
        "Forgets domains; their disks stay.  One that runs goes on until it is off.",
        rows,
        G_N_ELEMENTS(rows),
        undefine_run};

    return domain_command(&command, argc, argv);
}
