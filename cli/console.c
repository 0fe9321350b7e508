/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `trapeze console`: a domain's console on this terminal. */
#include "commands.h"
#include "domain-command.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CONSOLE_FORCE 1
#define ESCAPE        0x1d /* Ctrl-] */
#define CHUNK         4096

static bool write_all(const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t n = write(STDOUT_FILENO, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* Output of the guest's; *TO becomes false when nobody takes it. */
static void take_output(const void *data, size_t size, void *to)
{
    bool *good = to;

    *good = *good && write_all(data, size);
}

/* Sends what was typed.  False at the escape character, at the end of the input, or with ERROR set.
 */
static bool send_input(struct client *c, GError **error)
{
    char part[CHUNK];
    ssize_t n = read(STDIN_FILENO, part, sizeof part);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    const char *escape = memchr(part, ESCAPE, (size_t)n);
    size_t length = escape ? (size_t)(escape - part) : (size_t)n;
    if (length && !client_stream_send(c, PROCEDURE_OPEN_CONSOLE, part, length, error))
        return false;
    return n > 0 && !escape;
}

/* Until one side ends it. */
static bool join(struct client *c, GError **error)
{
    struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {client_fd(c), POLLIN, 0}};
    GError *cause = NULL;
    bool open = true, good = true;

    while (open) {
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            open = client_stream_receive(c, take_output, &good, &cause) && good;
        if (open && fds[0].revents)
            open = send_input(c, &cause);
    }
    if (!cause)
        client_stream_send(c, PROCEDURE_OPEN_CONSOLE, NULL, 0, NULL);
    else
        g_propagate_error(error, cause);
    return !cause;
}

bool console_run(struct client *c, const char *name, bool force, GError **error)
{
    struct xdr_reader reply;
    struct xdr_domain d;
    struct termios modes, raw;
    bool terminal = tcgetattr(STDIN_FILENO, &modes) == 0;

    if (!domain_find(c, name, &d, error))
        return false;
    bool opened = client_call(c, PROCEDURE_OPEN_CONSOLE, &reply, error, "dSu", &d, NULL,
                              force ? CONSOLE_FORCE : 0u);
    xdr_domain_clear(&d);
    if (!opened)
        return false;
    fprintf(stderr, "console of '%s'; Ctrl-] leaves it\n", name);
    if (terminal) {
        raw = modes;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    bool good = join(c, error);
    if (terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &modes);
    fprintf(stderr, "\n");
    return good;
}

static bool run(struct client *c, const struct domain_options *o, GError **error)
{
    return console_run(c, o->operands->pdata[0], o->force, error);
}

int command_console(int argc, char **argv)
{
    static const struct option_row rows[] = {
        {"force", NULL, "take it from whoever has it open", take_domain_force},
        ROW_SOCKET_DIR,
        ROW_HELP};
    static const struct domain_command command = {
        "console",
        "NAME",
        1,
        1,
        "Opens the console of a running domain on this terminal.  Ctrl-] leaves it.",
        rows,
        G_N_ELEMENTS(rows),
        run};

    return domain_command(&command, argc, argv);
}
