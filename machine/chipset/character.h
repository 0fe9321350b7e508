/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character back-ends: where a serial port's or a console's bytes go, and come from.
 *
 *   stdio        this terminal, raw, with Ctrl-A commands; standard input may also be a pipe
 *   none         nowhere
 *   pty          a pseudo-terminal, whose name is printed
 *   unix:PATH    a listening socket, one client at a time
 *   file:PATH    output only
 */
#ifndef TRAPEZE_CHARACTER_H
#define TRAPEZE_CHARACTER_H

#include "machine/device.h"

struct character;

/* What the device on the back-end offers; called on the thread of the machine's main context,
 * without the device's lock. */
struct character_client {
    /* Bytes the device can take now; input stays with the host while it is 0. */
    size_t (*room)(void *opaque);
    /* Input, at most what room said. */
    void (*receive)(void *opaque, const uint8_t *data, size_t length);
    /* A break condition; may be NULL. */
    void (*line_break)(void *opaque);
    /* Output flows again after character_write returned false; may be NULL. */
    void (*writable)(void *opaque);
    void *opaque;
};

/* Opens the back-end that SPEC names for M, which must outlive it.  FLAG, a literal, is the flag
 * that SPEC was given with ("serial"): errors and the line about a pty name it.  Returns NULL with
 * ERROR set. */
struct character *character_new(struct machine *m, const char *flag, const char *spec,
                                GError **error);
/* Puts everything back as it was (the terminal's modes), after sending what is still queued. */
void character_free(struct character *c);

/* What the back-end is, as QMP names it: "pty:/dev/pts/3", "unix:PATH,server=on", "file:PATH",
 * "stdio", "null"; g_free. */
char *character_filename(const struct character *c);

/* Attaches the one client.  Input before that waits. */
void character_connect(struct character *c, const struct character_client *client);
/* Says that the client has room again after it had none.  Any thread. */
void character_ready(struct character *c);
/* Sends LENGTH bytes, at once or when the other side takes them; never waits.  Any thread.  False
 * asks the caller to send nothing more until `writable` is called: what comes all the same is
 * queued up to a mebibyte, and lost beyond that.  Without anybody at the other end (a pty that is
 * not open, a socket without a client) output is dropped. */
bool character_write(struct character *c, const void *data, size_t length);

/* Restores the terminal's modes, if stdio holds them: for a signal that ends the process.
 * Async-signal-safe. */
void character_restore_terminal(void);

#endif
