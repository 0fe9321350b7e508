/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domains-fixture.h"

#include <glib/gstdio.h>
#include <stdlib.h>

static void on_event(struct domain *d, int event, int detail, void *data)
{
    struct fixture *f = data;

    (void)d;
    g_string_append_printf(f->events, "%d.%d ", event, detail);
}

void open_all(struct fixture *f)
{
    struct domains_config config = {f->config_dir, f->run_dir, f->log_dir, FAKE_GUEST, 1000};
    GError *error = NULL;

    f->all = domains_open(&config, &error);
    g_assert_no_error(error);
    domains_subscribe(f->all, on_event, f);
}

void set_up(struct fixture *f, gconstpointer data)
{
    (void)data;
    f->dir = g_dir_make_tmp("trapeze-domains-XXXXXX", NULL);
    f->config_dir = g_build_filename(f->dir, "config", NULL);
    f->run_dir = g_build_filename(f->dir, "run", NULL);
    f->log_dir = g_build_filename(f->dir, "log", NULL);
    f->events = g_string_new(NULL);
    open_all(f);
}

static void remove_tree(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    if (dir && !g_file_test(path, G_FILE_TEST_IS_SYMLINK))
        while ((name = g_dir_read_name(dir))) {
            g_autofree char *child = g_build_filename(path, name, NULL);

            remove_tree(child);
        }
    if (dir)
        g_dir_close(dir);
    g_remove(path);
}

/* ---- waiting ---- */

void on_done(struct domain *d, const GError *error, void *data)
{
    struct wait *w = data;

    w->done = true;
    w->domain = d;
    w->error = error ? g_error_copy(error) : NULL;
}

void wait_for(struct wait *w)
{
    while (!w->done)
        g_main_context_iteration(NULL, TRUE);
}

void succeed(struct wait *w)
{
    wait_for(w);
    g_assert_no_error(w->error);
    w->done = false;
}

void check_failure(struct wait *w, int code, const char *message)
{
    wait_for(w);
    g_assert_nonnull(w->error);
    g_assert_cmpstr(w->error->message, ==, message);
    g_assert_cmpint(w->error->code, ==, code);
    g_clear_error(&w->error);
    w->done = false;
}

void wait_for_state(struct domain *d, enum domain_state state)
{
    struct domain_info info;

    for (domain_info(d, &info); info.state != state; domain_info(d, &info))
        g_main_context_iteration(NULL, TRUE);
}

void check_events(struct fixture *f, const char *events)
{
    g_assert_cmpstr(f->events->str, ==, events);
    g_string_truncate(f->events, 0);
}

enum domain_state state_of(struct domain *d)
{
    struct domain_info info;

    domain_info(d, &info);
    return info.state;
}

int reason_of(struct domain *d)
{
    struct domain_info info;

    domain_info(d, &info);
    return info.reason;
}

/* ---- domains ---- */

char *xml_of(const char *name, const char *uuid, const char *behaviour, const char *more)
{
    return g_strdup_printf("<domain type='qemu'><name>%s</name><uuid>%s</uuid>"
                           "<memory unit='MiB'>64</memory><os><type>hvm</type>"
                           "<kernel>/kernel</kernel><cmdline>%s</cmdline></os>%s</domain>",
                           name, uuid, behaviour, more);
}

struct domain *define(struct fixture *f, const char *behaviour, const char *more)
{
    g_autofree char *xml = xml_of("a", UUID_1, behaviour, more);
    GError *error = NULL;
    struct domain *d = domains_define(f->all, xml, 0, &error);

    g_assert_no_error(error);
    g_string_truncate(f->events, 0);
    return d;
}

pid_t pid_of(struct fixture *f, const char *uuid)
{
    g_autofree char *path = g_strdup_printf("%s/%s.lock", f->run_dir, uuid), *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? atoi(text) : 0;
}

void destroy(struct domain *d)
{
    struct wait w = {0};

    domain_destroy(d, 0, on_done, &w);
    succeed(&w);
}

void start(struct domain *d)
{
    struct wait w = {0};

    domain_start(d, 0, on_done, &w);
    succeed(&w);
}

void tear_down(struct fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GPtrArray) active = domains_list(f->all, LIST_ACTIVE);

    for (guint i = 0; i < active->len; i++)
        destroy(active->pdata[i]);
    g_ptr_array_set_size(active, 0);
    domains_close(f->all);
    remove_tree(f->dir);
    g_string_free(f->events, TRUE);
    g_free(f->dir);
    g_free(f->config_dir);
    g_free(f->run_dir);
    g_free(f->log_dir);
}

void reopen(struct fixture *f, struct domain **d)
{
    domain_unref(*d);
    domains_close(f->all);
    g_string_truncate(f->events, 0);
    open_all(f);
    *d = domains_by_name(f->all, "a", NULL);
    g_assert_nonnull(*d);
}
