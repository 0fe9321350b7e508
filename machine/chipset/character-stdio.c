/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The terminal as a serial line: raw mode, Ctrl-A commands, and the modes put back in every case.
 *
 * The terminal belongs to the process, and a signal handler can be given no argument: so the saved
 * modes are the one thing here that is static.
 */
#include "character-private.h"
#include "machine/machine.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_A 0x01

static struct {
    struct termios saved, raw;
    volatile sig_atomic_t active;
} terminal;

static const char help[] = "\r\n"
                           "Ctrl-A x       leave: end the virtual machine at once\r\n"
                           "Ctrl-A h       this help\r\n"
                           "Ctrl-A b       send a break\r\n"
                           "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

void character_restore_terminal(void)
{
    if (!terminal.active)
        return;
    terminal.active = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.saved);
}

/* Restores, and lets the signal do what it does by default. */
static void on_fatal(int number)
{
    character_restore_terminal();
    signal(number, SIG_DFL);
    raise(number);
}

/* Stopping hands the terminal back; continuing takes it again. */
static void on_stop(int number)
{
    (void)number;
    if (terminal.active)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.saved);
    raise(SIGSTOP);
}

static void on_continue(int number)
{
    (void)number;
    if (terminal.active)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.raw);
}

/* Takes a signal unless somebody handles or ignores it already. */
static void handle(int number, void (*handler)(int))
{
    struct sigaction old, new = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigemptyset(&new.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_DFL &&
        !(old.sa_flags & SA_SIGINFO))
        sigaction(number, &new, NULL);
}

bool stdio_open(struct character *c, GError **error)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL, SIGTRAP,
                                SIGQUIT, SIGHUP,  SIGXCPU, SIGXFSZ, SIGALRM};

    c->in = STDIN_FILENO;
    c->out = STDOUT_FILENO;
    if (!isatty(STDIN_FILENO))
        return true;
    if (terminal.active) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--%s stdio: the terminal is in use already; give --%s pty", c->flag, c->flag);
        return false;
    }
    if (tcgetattr(STDIN_FILENO, &terminal.saved))
        return true;
    terminal.raw = terminal.saved;
    cfmakeraw(&terminal.raw);
    terminal.raw.c_oflag = terminal.saved.c_oflag; /* our own messages end in plain newlines */
    terminal.raw.c_cflag = terminal.saved.c_cflag;
    for (unsigned i = 0; i < ARRAY_SIZE(fatal); i++)
        handle(fatal[i], on_fatal);
    handle(SIGTSTP, on_stop);
    handle(SIGCONT, on_continue);
    atexit(character_restore_terminal);
    c->is_terminal = true;
    terminal.active = 1;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.raw);
    return true;
}

/* The command after Ctrl-A.  Returns the byte to send, or -1. */
static int command(struct character *c, uint8_t key)
{
    switch (key) {
    case 'x':
    case 'X':
        machine_request_stop(c->machine, STOP_QUIT, 0);
        return -1;
    case 'b':
    case 'B':
        if (c->client.line_break)
            c->client.line_break(c->client.opaque);
        return -1;
    case CTRL_A:
        return CTRL_A;
    default:
        character_write(c, help, strlen(help));
        return -1;
    }
}

size_t stdio_filter(struct character *c, uint8_t *data, size_t length)
{
    size_t kept = 0;

    for (size_t i = 0; i < length; i++) {
        int key = data[i];

        if (c->escape) {
            c->escape = false;
            key = command(c, data[i]);
        } else if (key == CTRL_A) {
            c->escape = true;
            continue;
        }
        if (key >= 0)
            data[kept++] = (uint8_t)key;
    }
    return kept;
}
