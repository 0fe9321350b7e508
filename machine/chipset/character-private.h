/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files behind character.h share. */
#ifndef TRAPEZE_CHARACTER_PRIVATE_H
#define TRAPEZE_CHARACTER_PRIVATE_H

#include "character.h"

struct character {
    struct machine *machine;
    const char *flag; /* that the back-end was given with */
    char *spec;
    char *pty;   /* the other side's path, of a pty */
    GMutex lock; /* guards the fields below; not held in calls of the client */
    struct character_client client;
    int in, out;      /* descriptors; -1 while there is none.  They may be the same */
    int listener;     /* a listening socket, or -1 */
    bool is_terminal; /* stdio on a terminal: Ctrl-A commands */
    bool is_pty;
    bool escape;       /* Ctrl-A came, its command not yet */
    bool throttled;    /* a write returned false, and writable was not called since */
    bool reported;     /* that output was lost */
    GByteArray *queue; /* output that waits */
    GByteArray *input; /* input that waits for room */
    GSource *in_source, *out_source, *listen_source, *timer, *ready;
};

/* Opens what C->spec names.  False with ERROR set. */
bool character_open(struct character *c, GError **error);
/* Watches C->in, now that there is something to read from.  Locked. */
void character_watch_input(struct character *c);
/* The other side is gone: closes a socket and listens again, or stops reading.  Locked. */
void character_hang_up(struct character *c);
/* Destroys *SOURCE, if any. */
void character_drop_source(GSource **source);
/* Attaches a source that calls FUNCTION(fd, condition, C) when FD is ready. */
GSource *character_watch(struct character *c, int fd, GIOCondition condition,
                         gboolean (*function)(gint, GIOCondition, gpointer));

/* ---- character-stdio.c ---- */
bool stdio_open(struct character *c, GError **error);
/* Takes Ctrl-A commands out of DATA; returns the length of what is left, in place. */
size_t stdio_filter(struct character *c, uint8_t *data, size_t length);

#endif
