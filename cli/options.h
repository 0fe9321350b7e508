/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Command lines as tables: --name VALUE, --name=VALUE, --name; the rest are operands. */
#ifndef TRAPEZE_OPTIONS_H
#define TRAPEZE_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

#define CLI_ERROR (cli_error_quark())
GQuark cli_error_quark(void);

struct option_row {
    const char *name;     /* without dashes */
    const char *argument; /* what help calls its value; NULL for a switch */
    const char *help;     /* lines separated by \n */
    /* Takes the value (NULL of a switch) into TARGET.  False with ERROR set; the option's name is
     * put in front. */
    bool (*take)(void *target, const char *value, GError **error);
};

struct command_line {
    const struct option_row *rows;
    unsigned count;
    void *target;
    /* Takes an operand; NULL when the command has none. */
    bool (*operand)(void *target, const char *value, GError **error);
};

/* Parses ARGC words.  False with ERROR set, which names the flag and says what to do. */
bool options_parse(const struct command_line *c, int argc, char **argv, GError **error);
/* Prints the table as help. */
void options_print(const struct option_row *rows, unsigned count);

#endif
