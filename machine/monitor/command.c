/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP commands: the table, the checks that are the same for all, and the small commands themselves.
 */
#include "private.h"

#include <string.h>

G_DEFINE_QUARK(trapeze - qmp - error - quark, qmp_error)

static const char *const classes[] = {
    [QMP_GENERIC] = "GenericError",
    [QMP_COMMAND_NOT_FOUND] = "CommandNotFound",
    [QMP_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
};

static bool fail(GError **error, enum qmp_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool fail(GError **error, enum qmp_error code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_clear_error(error);
    *error = g_error_new_valist(QMP_ERROR, code, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- commands that act ---- */

static json_t *do_stop(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    machine_suspend(mon->machine);
    return json_object();
}

static json_t *do_cont(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments;
    return machine_continue(mon->machine, error) ? json_object() : NULL;
}

static json_t *do_powerdown(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    machine_power_button(mon->machine);
    return json_object();
}

static json_t *do_reset(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    machine_request_stop(mon->machine, STOP_MONITOR_RESET, 0);
    return json_object();
}

static json_t *do_quit(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    machine_request_stop(mon->machine, STOP_MONITOR_QUIT, 0);
    return json_object();
}

static json_t *query_commands(struct monitor *mon, json_t *arguments, GError **error);

/* ---- the table ---- */

#define ARGUMENTS_MAX 3

struct argument {
    const char *name;
    json_type type;
    bool optional;
};

static const struct command {
    const char *name;
    command_fn *run; /* NULL: qmp_capabilities, which is the session's */
    struct argument arguments[ARGUMENTS_MAX];
} commands[] = {
    {"qmp_capabilities", NULL, {{"enable", JSON_ARRAY, true}}},
    {"stop", do_stop, {{0}}},
    {"cont", do_cont, {{0}}},
    {"system_powerdown", do_powerdown, {{0}}},
    {"system_reset", do_reset, {{0}}},
    {"quit", do_quit, {{0}}},
    {"query-commands", query_commands, {{0}}},
    {"query-events", monitor_query_events, {{0}}},
    {"query-version", query_version, {{0}}},
    {"query-name", query_name, {{0}}},
    {"query-uuid", query_uuid, {{0}}},
    {"query-status", query_status, {{0}}},
    {"query-kvm", query_kvm, {{0}}},
    {"query-cpus-fast", query_cpus_fast, {{0}}},
    {"query-memory-size-summary", query_memory_size_summary, {{0}}},
    {"query-balloon", query_balloon, {{0}}},
    {"query-chardev", query_chardev, {{0}}},
    {"query-block", query_block, {{0}}},
    {"query-blockstats", query_blockstats, {{"query-nodes", JSON_TRUE, true}}},
    {"query-stats",
     query_stats,
     {{"target", JSON_STRING, false},
      {"vcpus", JSON_OBJECT, true},
      {"providers", JSON_ARRAY, true}}},
    {"query-stats-schemas", query_stats_schemas, {{"provider", JSON_STRING, true}}},
};

static const struct command *find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static json_t *query_commands(struct monitor *mon, json_t *arguments, GError **error)
{
    json_t *list = json_array();

    (void)mon, (void)arguments, (void)error;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        json_array_append_new(list, json_pack("{s:s}", "name", commands[i].name));
    return list;
}

/* ---- arguments ---- */

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_STRING:
        return "string";
    case JSON_ARRAY:
        return "array";
    case JSON_OBJECT:
        return "object";
    default:
        return "boolean";
    }
}

static bool has_type(const json_t *value, json_type type)
{
    return type == JSON_TRUE ? json_is_boolean(value) : json_typeof(value) == type;
}

static const struct argument *find_argument(const struct command *c, const char *name)
{
    for (unsigned i = 0; i < ARGUMENTS_MAX && c->arguments[i].name; i++)
        if (!strcmp(c->arguments[i].name, name))
            return &c->arguments[i];
    return NULL;
}

static bool check_arguments(const struct command *c, json_t *arguments, GError **error)
{
    const char *name;
    json_t *value;

    json_object_foreach(arguments, name, value)
    {
        const struct argument *a = find_argument(c, name);

        if (!a)
            return fail(error, QMP_GENERIC, "%s takes no argument '%s'", c->name, name);
        if (!has_type(value, a->type))
            return fail(error, QMP_GENERIC, "argument '%s' of %s must be of type %s", name, c->name,
                        type_name(a->type));
    }
    for (unsigned i = 0; i < ARGUMENTS_MAX && c->arguments[i].name; i++)
        if (!c->arguments[i].optional && !json_object_get(arguments, c->arguments[i].name))
            return fail(error, QMP_GENERIC, "%s needs the argument '%s'", c->name,
                        c->arguments[i].name);
    return true;
}

/* ---- requests ---- */

/* The parts of a request. */
struct request {
    const char *execute;
    json_t *arguments; /* borrowed; NULL when there are none */
    json_t *id;        /* likewise */
};

static bool take_apart(const json_t *json, struct request *r, GError **error)
{
    const char *name;
    json_t *value;

    if (!json_is_object(json))
        return fail(error, QMP_GENERIC, "a request must be a JSON object");
    r->id = json_object_get(json, "id");
    json_object_foreach((json_t *)json, name, value)
    {
        if (!strcmp(name, "execute"))
            r->execute = json_string_value(value);
        else if (!strcmp(name, "arguments"))
            r->arguments = value;
        else if (strcmp(name, "id"))
            return fail(error, QMP_GENERIC, "a request has no member '%s'", name);
    }
    if (!json_object_get(json, "execute"))
        return fail(error, QMP_GENERIC, "the request lacks the member 'execute'");
    if (!r->execute)
        return fail(error, QMP_GENERIC, "the request's member 'execute' must be a string");
    if (r->arguments && !json_is_object(r->arguments))
        return fail(error, QMP_GENERIC, "the request's member 'arguments' must be an object");
    return true;
}

/* qmp_capabilities: none is offered, so none can be enabled. */
static json_t *negotiate(struct session *s, json_t *arguments, GError **error)
{
    if (json_array_size(json_object_get(arguments, "enable"))) {
        fail(error, QMP_GENERIC, "none of the capabilities asked for was offered");
        return NULL;
    }
    s->negotiated = true;
    return json_object();
}

/* The command's value, or NULL with ERROR set. */
static json_t *execute(struct session *s, const struct request *r, GError **error)
{
    const struct command *c = find(r->execute);
    bool negotiation = c && !c->run;

    if (!s->negotiated && !negotiation) {
        fail(error, QMP_COMMAND_NOT_FOUND,
             "before all other commands, capabilities are negotiated by qmp_capabilities");
        return NULL;
    }
    if (s->negotiated && negotiation) {
        fail(error, QMP_COMMAND_NOT_FOUND, "capabilities have been negotiated already");
        return NULL;
    }
    if (!c) {
        fail(error, QMP_COMMAND_NOT_FOUND, "there is no command '%s'", r->execute);
        return NULL;
    }
    if (!check_arguments(c, r->arguments, error))
        return NULL;
    return negotiation ? negotiate(s, r->arguments, error)
                       : c->run(s->monitor, r->arguments, error);
}

static json_t *describe(const GError *error)
{
    enum qmp_error code = error->domain == QMP_ERROR ? (enum qmp_error)error->code : QMP_GENERIC;

    return json_pack("{s:s, s:s}", "class", classes[code], "desc", error->message);
}

/* Sends {KEY: VALUE} with the request's ID, if it had one. */
static void answer(struct session *s, const char *key, json_t *value, json_t *id)
{
    json_t *reply = json_object();

    json_object_set_new(reply, key, value);
    if (id)
        json_object_set(reply, "id", id);
    session_send(s, reply);
    json_decref(reply);
}

void command_dispatch(struct session *s, const json_t *json)
{
    struct request r = {0};
    GError *error = NULL;
    json_t *value = take_apart(json, &r, &error) ? execute(s, &r, &error) : NULL;

    if (value)
        answer(s, "return", value, r.id);
    else
        answer(s, "error", describe(error), r.id);
    g_clear_error(&error);
}

void command_send_error(struct session *s, const char *text)
{
    answer(s, "error", json_pack("{s:s, s:s}", "class", classes[QMP_GENERIC], "desc", text), NULL);
}
