/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the commands about the manager's domains share. */
#include "domain-command.h"

#include <stdio.h>
#include <string.h>

bool take_socket_dir(void *target, const char *value, GError **error)
{
    struct domain_options *o = target;

    (void)error;
    g_free(o->socket_dir);
    o->socket_dir = g_strdup(value);
    return true;
}

#define SWITCH(function, field)                                                                    \
    bool function(void *target, const char *value, GError **error)                                 \
    {                                                                                              \
        (void)value;                                                                               \
        (void)error;                                                                               \
        ((struct domain_options *)target)->field = true;                                           \
        return true;                                                                               \
    }
SWITCH(take_json, json)
SWITCH(take_domain_help, help)
SWITCH(take_domain_force, force)

static bool take_operand(void *target, const char *value, GError **error)
{
    (void)error;
    g_ptr_array_add(((struct domain_options *)target)->operands, g_strdup(value));
    return true;
}

static void print_help(const struct domain_command *command)
{
    printf("Usage: trapeze %s%s%s [FLAGS]\n\n%s\n\n", command->name, *command->operands ? " " : "",
           command->operands, command->text);
    options_print(command->rows, command->count);
}

static bool check_operands(const struct domain_command *command, const struct domain_options *o,
                           GError **error)
{
    if (o->operands->len >= command->least && o->operands->len <= command->most)
        return true;
    g_set_error(error, CLI_ERROR, 0, "usage: trapeze %s%s%s; see --help", command->name,
                *command->operands ? " " : "", command->operands);
    return false;
}

static bool run(const struct domain_command *command, const struct domain_options *o,
                GError **error)
{
    struct client *c = client_open(o->socket_dir, error);
    bool done = c && command->run(c, o, error);

    client_close(c);
    return done;
}

int domain_command(const struct domain_command *command, int argc, char **argv)
{
    struct domain_options o = {.operands = g_ptr_array_new_with_free_func(g_free), .timeout = 60};
    const struct command_line line = {command->rows, command->count, &o, take_operand};
    GError *error = NULL;
    bool done = options_parse(&line, argc, argv, &error);

    if (done && o.help)
        print_help(command);
    else if (done)
        done = check_operands(command, &o, &error) && run(command, &o, &error);
    if (error)
        fprintf(stderr, "trapeze: %s: %s\n", command->name, error->message);
    g_clear_error(&error);
    g_ptr_array_unref(o.operands);
    g_free(o.socket_dir);
    return done ? 0 : 1;
}

/* ---- what is asked of the manager ---- */

bool domain_find(struct client *c, const char *name, struct xdr_domain *d, GError **error)
{
    struct xdr_reader reply;

    if (!client_call(c, PROCEDURE_LOOKUP_BY_NAME, &reply, error, "s", name)) {
        if (error && g_error_matches(*error, CLIENT_ERROR, ERROR_NO_DOMAIN)) {
            g_clear_error(error);
            g_set_error(error, CLIENT_ERROR, ERROR_NO_DOMAIN,
                        "there is no domain '%s'; `trapeze list` shows which there are", name);
        }
        return false;
    }
    xdr_get_domain(&reply, d);
    if (client_read_end(&reply, error))
        return true;
    xdr_domain_clear(d);
    return false;
}

bool domain_get_facts(struct client *c, const struct xdr_domain *d, struct domain_facts *facts,
                      GError **error)
{
    struct xdr_reader reply;

    if (!client_call(c, PROCEDURE_GET_INFO, &reply, error, "d", d))
        return false;
    facts->state = xdr_get_u32(&reply);
    facts->max_memory = xdr_get_u64(&reply);
    facts->memory = xdr_get_u64(&reply);
    facts->vcpus = xdr_get_u32(&reply);
    facts->cpu_time = xdr_get_u64(&reply);
    return client_read_end(&reply, error);
}

const char *domain_state_name(unsigned state)
{
    static const char *const names[] = {"no state",    "running",  "idle",   "paused",
                                        "in shutdown", "shut off", "crashed"};

    return state < G_N_ELEMENTS(names) ? names[state] : "unknown";
}
