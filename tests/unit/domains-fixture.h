/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains whose guests' processes are fake-guest.c's, in folders of their own. */
#ifndef TRAPEZE_TESTS_DOMAINS_FIXTURE_H
#define TRAPEZE_TESTS_DOMAINS_FIXTURE_H

#include "manager/domain/domain.h"

#define UUID_1 "11111111-2222-3333-4444-555555555501"
#define UUID_2 "11111111-2222-3333-4444-555555555502"

/* Commands that take their flags from libvirt's API. */
enum { START_PAUSED = 1, DESTROY_GRACEFUL = 1, LIST_ACTIVE = 1, XML_INACTIVE = 2 };

struct fixture {
    char *dir, *config_dir, *run_dir, *log_dir;
    struct domains *all;
    GString *events; /* "2.0 3.0 ": event.detail */
    GHashTable *pids;
};

struct wait {
    bool done;
    struct domain *domain;
    GError *error;
};

/* A GTest fixture's two ends: no domains yet; no guests any more. */
void set_up(struct fixture *f, gconstpointer data);
void tear_down(struct fixture *f, gconstpointer data);
/* Opens f->all in f's folders, after domains_close. */
void open_all(struct fixture *f);
/* Ends the manager and begins another, which knows domain "a" as *D. */
void reopen(struct fixture *f, struct domain **d);

/* The end of a command: struct wait in DATA takes it. */
void on_done(struct domain *d, const GError *error, void *data);
void wait_for(struct wait *w);
/* Waits for it, which must be a success, or the error CODE with MESSAGE. */
void succeed(struct wait *w);
void check_failure(struct wait *w, int code, const char *message);
void wait_for_state(struct domain *d, enum domain_state state);
/* The events since the last look are EVENTS. */
void check_events(struct fixture *f, const char *events);
enum domain_state state_of(struct domain *d);
int reason_of(struct domain *d);

/* A domain's definition; its guest does what the words of BEHAVIOUR say (fake-guest.c). */
char *xml_of(const char *name, const char *uuid, const char *behaviour, const char *more);
/* Defines domain "a" of UUID_1. */
struct domain *define(struct fixture *f, const char *behaviour, const char *more);
/* The process of a domain's guest; 0: none. */
pid_t pid_of(struct fixture *f, const char *uuid);
void start(struct domain *d);
void destroy(struct domain *d);

#endif
