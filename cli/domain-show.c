/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `trapeze list` and `trapeze info`: tables and JSON. */
#include "commands.h"
#include "domain-command.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define DOMAINS_MAX 16384
#define LIST_ACTIVE 1

/* ---- both ---- */

static void format_uuid(const uint8_t uuid[XDR_UUID_SIZE], char text[37])
{
    char *out = text;

    for (unsigned i = 0; i < XDR_UUID_SIZE; i++)
        out += sprintf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
}

static void print_json(json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));

    printf("%s\n", text ? text : "null");
    free(text);
    json_decref(value);
}

static json_t *describe(const struct xdr_domain *d, const struct domain_facts *facts)
{
    char uuid[37];

    format_uuid(d->uuid, uuid);
    json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:I}", "name", d->name, "uuid", uuid, "state",
                               domain_state_name(facts->state), "vcpus", (int)facts->vcpus,
                               "memory_kib", (json_int_t)facts->max_memory);
    if (d->id >= 0)
        json_object_set_new(object, "id", json_integer(d->id));
    return object;
}

static char *format_memory(uint64_t kib)
{
    if (kib % (1 << 20) == 0)
        return g_strdup_printf("%" G_GUINT64_FORMAT " GiB", kib >> 20);
    if (kib % 1024 == 0)
        return g_strdup_printf("%" G_GUINT64_FORMAT " MiB", kib >> 10);
    return g_strdup_printf("%" G_GUINT64_FORMAT " KiB", kib);
}

/* ---- list ---- */

struct row {
    struct xdr_domain domain;
    struct domain_facts facts;
};

static void clear_row(gpointer row)
{
    xdr_domain_clear(&((struct row *)row)->domain);
}

static bool get_rows(struct client *c, bool running, GArray *rows, GError **error)
{
    struct xdr_reader reply;

    if (!client_call(c, PROCEDURE_LIST_ALL_DOMAINS, &reply, error, "iu", 1,
                     running ? LIST_ACTIVE : 0u))
        return false;
    unsigned count = xdr_get_count(&reply, DOMAINS_MAX, 24);
    for (unsigned i = 0; i < count; i++) {
        struct row row = {0};

        xdr_get_domain(&reply, &row.domain);
        g_array_append_val(rows, row);
    }
    xdr_get_u32(&reply);
    return client_read_end(&reply, error);
}

/* One that went away meanwhile is left out. */
static bool get_all_facts(struct client *c, GArray *rows, GError **error)
{
    for (guint i = 0; i < rows->len;) {
        struct row *row = &g_array_index(rows, struct row, i);
        GError *cause = NULL;

        if (domain_get_facts(c, &row->domain, &row->facts, &cause)) {
            i++;
        } else if (g_error_matches(cause, CLIENT_ERROR, ERROR_NO_DOMAIN)) {
            g_error_free(cause);
            g_array_remove_index(rows, i);
        } else {
            g_propagate_error(error, cause);
            return false;
        }
    }
    return true;
}

static void print_table(const GArray *rows)
{
    int width = (int)strlen("NAME");

    for (guint i = 0; i < rows->len; i++)
        width = MAX(width, (int)g_utf8_strlen(g_array_index(rows, struct row, i).domain.name, -1));
    printf("%-*s  %-11s  %5s  %10s  %10s\n", width, "NAME", "STATE", "VCPUS", "MEMORY", "CPU TIME");
    for (guint i = 0; i < rows->len; i++) {
        const struct row *row = &g_array_index(rows, struct row, i);
        g_autofree char *memory = format_memory(row->facts.max_memory);
        /* printf pads by bytes. */
        int pad = width - (int)g_utf8_strlen(row->domain.name, -1);

        printf("%s%*s  %-11s  %5u  %10s", row->domain.name, pad, "",
               domain_state_name(row->facts.state), row->facts.vcpus, memory);
        if (row->domain.id >= 0)
            printf("  %8.1f s\n", (double)row->facts.cpu_time / 1e9);
        else
            printf("  %10s\n", "-");
    }
}

static bool list_run(struct client *c, const struct domain_options *o, GError **error)
{
    g_autoptr(GArray) rows = g_array_new(FALSE, TRUE, sizeof(struct row));

    g_array_set_clear_func(rows, clear_row);
    if (!get_rows(c, o->running, rows, error) || !get_all_facts(c, rows, error))
        return false;
    if (o->json) {
        json_t *list = json_array();

        for (guint i = 0; i < rows->len; i++) {
            const struct row *row = &g_array_index(rows, struct row, i);

            json_array_append_new(list, describe(&row->domain, &row->facts));
        }
        print_json(list);
    } else if (rows->len) {
        print_table(rows);
    } else {
        printf("no domain %s; `trapeze define FILE` makes one\n",
               o->running ? "runs" : "is defined");
    }
    return true;
}

static bool take_running(void *target, const char *value, GError **error)
{
    (void)value, (void)error;
    ((struct domain_options *)target)->running = true;
    return true;
}

int command_list(int argc, char **argv)
{
    static const struct option_row rows[] = {
        {"running", NULL, "only those that run or are paused", take_running},
        ROW_JSON,
        ROW_SOCKET_DIR,
        ROW_HELP};
    static const struct domain_command command = {
        "list", "", 0, 0, "Lists the manager's domains.", rows, G_N_ELEMENTS(rows), list_run};

    return domain_command(&command, argc, argv);
}

/* ---- info ---- */

static bool get_number(struct client *c, enum procedure number, const struct xdr_domain *d,
                       int *value, GError **error)
{
    struct xdr_reader reply;

    if (!client_call(c, number, &reply, error, "d", d))
        return false;
    *value = xdr_get_i32(&reply);
    return client_read_end(&reply, error);
}

/* Title 1, description 0; *TEXT stays NULL when there is none. */
static bool get_text(struct client *c, const struct xdr_domain *d, int type, char **text,
                     GError **error)
{
    struct xdr_reader reply;
    GError *cause = NULL;

    if (client_call(c, PROCEDURE_GET_METADATA, &reply, &cause, "diSu", d, type, NULL, 0u)) {
        *text = xdr_get_string(&reply);
        return client_read_end(&reply, error);
    }
    if (cause->domain == CLIENT_ERROR) { /* no metadata */
        g_error_free(cause);
        return true;
    }
    g_propagate_error(error, cause);
    return false;
}

static bool print_xml(struct client *c, const struct xdr_domain *d, GError **error)
{
    struct xdr_reader reply;

    if (!client_call(c, PROCEDURE_GET_XML, &reply, error, "du", d, 0u))
        return false;
    g_autofree char *xml = xdr_get_string(&reply);
    if (!client_read_end(&reply, error))
        return false;
    fputs(xml, stdout);
    return true;
}

struct details {
    struct domain_facts facts;
    int persistent, autostart;
    char *title, *description;
};

static void print_details(const struct xdr_domain *d, const struct details *x)
{
    char uuid[37];
    g_autofree char *memory = format_memory(x->facts.max_memory);

    format_uuid(d->uuid, uuid);
    printf("name         %s\n", d->name);
    if (x->title)
        printf("title        %s\n", x->title);
    if (x->description)
        printf("description  %s\n", x->description);
    printf("uuid         %s\nstate        %s\n", uuid, domain_state_name(x->facts.state));
    if (d->id >= 0)
        printf("id           %d\ncpu time     %.1f s\n", d->id, (double)x->facts.cpu_time / 1e9);
    printf("vcpus        %u\nmemory       %s\npersistent   %s\nautostart    %s\n", x->facts.vcpus,
           memory, x->persistent ? "yes" : "no", x->autostart ? "yes" : "no");
}

static void print_details_json(const struct xdr_domain *d, const struct details *x)
{
    json_t *object = describe(d, &x->facts);

    json_object_set_new(object, "persistent", json_boolean(x->persistent));
    json_object_set_new(object, "autostart", json_boolean(x->autostart));
    if (d->id >= 0)
        json_object_set_new(object, "cpu_time_ns", json_integer((json_int_t)x->facts.cpu_time));
    if (x->title)
        json_object_set_new(object, "title", json_string(x->title));
    if (x->description)
        json_object_set_new(object, "description", json_string(x->description));
    print_json(object);
}

static bool show(struct client *c, const struct xdr_domain *d, bool json, GError **error)
{
    struct details x = {0};
    bool got = domain_get_facts(c, d, &x.facts, error) &&
               get_number(c, PROCEDURE_IS_PERSISTENT, d, &x.persistent, error) &&
               get_number(c, PROCEDURE_GET_AUTOSTART, d, &x.autostart, error) &&
               get_text(c, d, 1, &x.title, error) && get_text(c, d, 0, &x.description, error);

    if (got && json)
        print_details_json(d, &x);
    else if (got)
        print_details(d, &x);
    g_free(x.title);
    g_free(x.description);
    return got;
}

static bool info_run(struct client *c, const struct domain_options *o, GError **error)
{
    struct xdr_domain d;

    if (!domain_find(c, o->operands->pdata[0], &d, error))
        return false;
    bool done = o->xml ? print_xml(c, &d, error) : show(c, &d, o->json, error);
    xdr_domain_clear(&d);
    return done;
}

static bool take_xml(void *target, const char *value, GError **error)
{
    (void)value, (void)error;
    ((struct domain_options *)target)->xml = true;
    return true;
}

int command_info(int argc, char **argv)
{
    static const struct option_row rows[] = {
        {"xml", NULL, "print its domain XML: as it runs, or its definition", take_xml},
        ROW_JSON,
        ROW_SOCKET_DIR,
        ROW_HELP};
    static const struct domain_command command = {
        "info", "NAME", 1, 1, "Tells about a domain.", rows, G_N_ELEMENTS(rows), info_run};

    return domain_command(&command, argc, argv);
}
