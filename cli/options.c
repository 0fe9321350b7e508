/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parsing command lines by table. */
#include "options.h"

#include <stdio.h>
#include <string.h>

#define HELP_COLUMN 28

G_DEFINE_QUARK(trapeze - cli - error - quark, cli_error)

/* The row of the option called NAME (up to LENGTH characters), or NULL. */
static const struct option_row *find(const struct command_line *c, const char *name, size_t length)
{
    for (unsigned i = 0; i < c->count; i++)
        if (strlen(c->rows[i].name) == length && !strncmp(c->rows[i].name, name, length))
            return &c->rows[i];
    return NULL;
}

/* An option that the misspelt one starts like, or NULL. */
static const char *like(const struct command_line *c, const char *name, size_t length)
{
    for (size_t n = length; n >= 2; n--)
        for (unsigned i = 0; i < c->count; i++)
            if (!strncmp(c->rows[i].name, name, n))
                return c->rows[i].name;
    return NULL;
}

static bool unknown(const struct command_line *c, const char *name, size_t length, GError **error)
{
    const char *other = like(c, name, length);

    if (other)
        g_set_error(error, CLI_ERROR, 0, "there is no flag --%.*s; did you mean --%s?", (int)length,
                    name, other);
    else
        g_set_error(error, CLI_ERROR, 0, "there is no flag --%.*s; see --help", (int)length, name);
    return false;
}

/* Takes the option in ARGV[*at], and its value, which may be the next word. */
static bool take(const struct command_line *c, int argc, char **argv, int *at, GError **error)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const struct option_row *row = find(c, name, length);
    const char *value = equals ? equals + 1 : NULL;

    if (!row)
        return unknown(c, name, length, error);
    if (!row->argument && value) {
        g_set_error(error, CLI_ERROR, 0, "--%s takes no value; leave out `=%s`", row->name, value);
        return false;
    }
    if (row->argument && !value) {
        if (*at + 1 >= argc) {
            g_set_error(error, CLI_ERROR, 0, "--%s needs a value: --%s %s", row->name, row->name,
                        row->argument);
            return false;
        }
        value = argv[++*at];
    }
    if (row->take(c->target, value, error))
        return true;
    g_prefix_error(error, "--%s: ", row->name);
    return false;
}

bool options_parse(const struct command_line *c, int argc, char **argv, GError **error)
{
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "--", 2) && argv[i][2]) {
            if (!take(c, argc, argv, &i, error))
                return false;
        } else if (argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--")) {
            g_set_error(error, CLI_ERROR, 0, "%s: flags start with two dashes; see --help",
                        argv[i]);
            return false;
        } else if (!c->operand) {
            g_set_error(error, CLI_ERROR, 0, "%s: this command takes no operands; see --help",
                        argv[i]);
            return false;
        } else if (strcmp(argv[i], "--") && !c->operand(c->target, argv[i], error)) {
            return false;
        }
    }
    return true;
}

void options_print(const struct option_row *rows, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *head =
            g_strdup_printf("  --%s%s%s", rows[i].name, rows[i].argument ? " " : "",
                            rows[i].argument ? rows[i].argument : "");
        g_auto(GStrv) lines = g_strsplit(rows[i].help, "\n", -1);
        bool fits = strlen(head) < HELP_COLUMN;

        if (!fits)
            printf("%s\n", head);
        for (unsigned n = 0; lines[n]; n++)
            printf("%-*s%s\n", HELP_COLUMN, n == 0 && fits ? head : "", lines[n]);
    }
}
