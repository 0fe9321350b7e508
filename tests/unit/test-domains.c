/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains with fake guests' processes (fake-guest.c): definitions, life cycle, events, recovery. */
#include "manager/domain/domain.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void on_event(struct domain *d, int event, int detail, void *data)
{
    struct fixture *f = data;

    (void)d;
    g_string_append_printf(f->events, "%d.%d ", event, detail);
}

static void open_all(struct fixture *f)
{
    struct domains_config config = {f->config_dir, f->run_dir, f->log_dir, FAKE_GUEST, 1000};
    GError *error = NULL;

    f->all = domains_open(&config, &error);
    g_assert_no_error(error);
    domains_subscribe(f->all, on_event, f);
}

static void set_up(struct fixture *f, gconstpointer data)
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

struct wait {
    bool done;
    struct domain *domain;
    GError *error;
};

static void on_done(struct domain *d, const GError *error, void *data)
{
    struct wait *w = data;

    w->done = true;
    w->domain = d;
    w->error = error ? g_error_copy(error) : NULL;
}

static void wait_for(struct wait *w)
{
    while (!w->done)
        g_main_context_iteration(NULL, TRUE);
}

static void succeed(struct wait *w)
{
    wait_for(w);
    g_assert_no_error(w->error);
    w->done = false;
}

static void check_failure(struct wait *w, int code, const char *message)
{
    wait_for(w);
    g_assert_nonnull(w->error);
    g_assert_cmpstr(w->error->message, ==, message);
    g_assert_cmpint(w->error->code, ==, code);
    g_clear_error(&w->error);
    w->done = false;
}

static void wait_for_state(struct domain *d, enum domain_state state)
{
    struct domain_info info;

    for (domain_info(d, &info); info.state != state; domain_info(d, &info))
        g_main_context_iteration(NULL, TRUE);
}

static void check_events(struct fixture *f, const char *events)
{
    g_assert_cmpstr(f->events->str, ==, events);
    g_string_truncate(f->events, 0);
}

static enum domain_state state_of(struct domain *d)
{
    struct domain_info info;

    domain_info(d, &info);
    return info.state;
}

static int reason_of(struct domain *d)
{
    struct domain_info info;

    domain_info(d, &info);
    return info.reason;
}

/* ---- domains ---- */

static char *xml_of(const char *name, const char *uuid, const char *behaviour, const char *more)
{
    return g_strdup_printf("<domain type='qemu'><name>%s</name><uuid>%s</uuid>"
                           "<memory unit='MiB'>64</memory><os><type>hvm</type>"
                           "<kernel>/kernel</kernel><cmdline>%s</cmdline></os>%s</domain>",
                           name, uuid, behaviour, more);
}

static struct domain *define(struct fixture *f, const char *behaviour, const char *more)
{
    g_autofree char *xml = xml_of("a", UUID_1, behaviour, more);
    GError *error = NULL;
    struct domain *d = domains_define(f->all, xml, 0, &error);

    g_assert_no_error(error);
    g_string_truncate(f->events, 0);
    return d;
}

static pid_t pid_of(struct fixture *f, const char *uuid)
{
    g_autofree char *path = g_strdup_printf("%s/%s.lock", f->run_dir, uuid), *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? atoi(text) : 0;
}

static void destroy(struct domain *d)
{
    struct wait w = {0};

    domain_destroy(d, 0, on_done, &w);
    succeed(&w);
}

static void start(struct domain *d)
{
    struct wait w = {0};

    domain_start(d, 0, on_done, &w);
    succeed(&w);
}

static void tear_down(struct fixture *f, gconstpointer data)
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

/* ---- definitions ---- */

static void check_define_error(struct fixture *f, const char *name, const char *uuid,
                               const char *message)
{
    g_autofree char *xml = xml_of(name, uuid, "", "");
    GError *error = NULL;

    g_assert_null(domains_define(f->all, xml, 0, &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_OPERATION_FAILED);
    g_assert_cmpstr(error->message, ==, message);
    g_error_free(error);
}

static void test_define(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");
    GError *error = NULL;

    (void)data;
    check_define_error(f, "a", UUID_2,
                       "operation failed: domain 'a' already exists with uuid " UUID_1);
    check_define_error(f, "b", UUID_1,
                       "operation failed: domain 'a' is already defined with uuid " UUID_1);
    struct domain *found = domains_by_name(f->all, "a", NULL);
    g_assert_true(found == d);
    domain_unref(found);
    g_assert_null(domains_by_name(f->all, "b", &error));
    g_assert_cmpstr(error->message, ==, "Domain not found: no domain with matching name 'b'");
    g_clear_error(&error);
    g_assert_cmpint(domain_id(d), ==, -1);
    domain_unref(define(f, "", "<title>again</title>"));
    g_autofree char *xml = domain_xml(d, 0, NULL);
    g_assert_nonnull(strstr(xml, "<title>again</title>"));

    /* They are there again after a restart. */
    domain_unref(d);
    domains_close(f->all);
    open_all(f);
    d = domains_by_name(f->all, "a", NULL);
    g_autofree char *read = domain_xml(d, 0, NULL);
    g_assert_cmpstr(read, ==, xml);
    g_assert_true(domain_undefine(d, 0, NULL));
    g_assert_false(domain_undefine(d, 0, &error));
    g_assert_cmpstr(error->message, ==,
                    "Domain not found: no domain with matching uuid '" UUID_1 "' (a)");
    g_clear_error(&error);
    check_events(f, "1.0 ");
    domain_unref(d);
}

static void test_unreadable(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->config_dir, "a.xml", NULL), *kept = NULL;
    g_autofree char *half = g_build_filename(f->config_dir, "b.xml.new", NULL);

    (void)data;
    domains_close(f->all);
    g_assert_true(g_file_set_contents(path, "<domain>half", -1, NULL));
    g_assert_true(g_file_set_contents(half, "<domain>half", -1, NULL));
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "the definition a.xml is left alone*");
    open_all(f);
    g_test_assert_expected_messages();
    check_define_error(f, "a", UUID_1,
                       "operation failed: there is a file a.xml already, which cannot be read as a "
                       "definition; see the manager's log, and mend or remove it");
    g_assert_true(g_file_get_contents(path, &kept, NULL, NULL));
    g_assert_cmpstr(kept, ==, "<domain>half");
    g_assert_false(g_file_test(half, G_FILE_TEST_EXISTS));
}

static void test_autostart(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");

    (void)data;
    g_assert_false(domain_autostart(d));
    g_assert_true(domain_set_autostart(d, true, NULL));
    domain_unref(d);
    domains_close(f->all);
    open_all(f);
    d = domains_by_name(f->all, "a", NULL);
    g_assert_true(domain_autostart(d));
    domains_autostart(f->all);
    wait_for_state(d, DOMAIN_RUNNING);
    g_assert_true(domain_set_autostart(d, false, NULL));
    g_assert_false(domain_autostart(d));
    domain_unref(d);
}

static void test_second_manager(struct fixture *f, gconstpointer data)
{
    struct domains_config config = {f->config_dir, f->run_dir, f->log_dir, FAKE_GUEST, 1000};
    GError *error = NULL;

    (void)data;
    g_assert_null(domains_open(&config, &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_SYSTEM);
    g_error_free(error);
}

/* ---- life ---- */

static void test_life(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "<devices><serial type='pty'/></devices>");
    struct wait w = {0};

    (void)data;
    domain_start(d, 0, on_done, &w);
    g_assert_false(w.done);
    succeed(&w);
    g_assert_cmpint(domain_id(d), ==, 1);
    g_assert_cmpint(state_of(d), ==, DOMAIN_RUNNING);
    g_assert_cmpint(reason_of(d), ==, 1);
    check_events(f, "4.0 2.0 ");
    g_autofree char *xml = domain_xml(d, 0, NULL);
    g_assert_nonnull(strstr(xml, "<console type='pty' tty='/dev/pts/"));

    domain_start(d, 0, on_done, &w);
    check_failure(&w, 55, "Requested operation is not valid: domain is already running");
    domain_resume(d, on_done, &w);
    check_failure(&w, 55, "Requested operation is not valid: domain is already running");
    domain_suspend(d, on_done, &w);
    succeed(&w);
    g_assert_cmpint(state_of(d), ==, DOMAIN_PAUSED);
    g_assert_cmpint(reason_of(d), ==, 1);
    domain_suspend(d, on_done, &w);
    succeed(&w);
    domain_resume(d, on_done, &w);
    succeed(&w);
    g_assert_cmpint(reason_of(d), ==, 5);
    check_events(f, "3.0 4.0 ");
    domain_destroy(d, 0, on_done, &w);
    succeed(&w);
    g_assert_cmpint(state_of(d), ==, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 2);
    g_assert_cmpint(domain_id(d), ==, -1);
    check_events(f, "6.2 5.1 ");
    domain_destroy(d, 0, on_done, &w);
    check_failure(&w, 55, "Requested operation is not valid: domain is not running");
    domain_shutdown(d, 0, on_done, &w);
    check_failure(&w, 55, "Requested operation is not valid: domain is not running");

    start(d);
    g_assert_cmpint(domain_id(d), ==, 2);
    g_string_truncate(f->events, 0);
    domain_shutdown(d, 0, on_done, &w);
    succeed(&w);
    wait_for_state(d, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 1);
    check_events(f, "6.1 5.0 ");
    domain_unref(d);
}

static void test_paused_start(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");
    struct wait w = {0};

    (void)data;
    domain_start(d, START_PAUSED, on_done, &w);
    succeed(&w);
    g_assert_cmpint(state_of(d), ==, DOMAIN_PAUSED);
    check_events(f, "2.0 3.0 ");
    domain_shutdown(d, 0, on_done, &w);
    check_failure(&w, 55, "Requested operation is not valid: domain is not running");
    domain_resume(d, on_done, &w);
    succeed(&w);
    check_events(f, "4.0 ");
    domain_unref(d);
}

/* Suspends a guest that may be just being reset: before it goes on nothing can be suspended. */
static void suspend_running(struct domain *d)
{
    struct wait w = {0};

    while (state_of(d) == DOMAIN_RUNNING) {
        domain_suspend(d, on_done, &w);
        succeed(&w);
    }
}

static void test_reboot(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");
    struct wait w = {0};

    (void)data;
    start(d);
    pid_t pid = pid_of(f, UUID_1);
    g_string_truncate(f->events, 0);
    domain_reboot(d, 0, on_done, &w);
    succeed(&w);
    /* The guest powers off, is reset and goes on: in the same process, and without events. */
    suspend_running(d);
    domain_resume(d, on_done, &w);
    succeed(&w);
    g_assert_cmpint(state_of(d), ==, DOMAIN_RUNNING);
    g_assert_cmpint(pid_of(f, UUID_1), ==, pid);
    check_events(f, "3.0 4.0 ");
    /* The next power-off is one. */
    domain_shutdown(d, 0, on_done, &w);
    succeed(&w);
    wait_for_state(d, DOMAIN_SHUTOFF);
    domain_unref(d);
}

static void test_actions(struct fixture *f, gconstpointer data)
{
    struct domain *d =
        define(f, "", "<on_poweroff>restart</on_poweroff><on_reboot>destroy</on_reboot>");
    struct wait w = {0};

    (void)data;
    start(d);
    g_string_truncate(f->events, 0);
    domain_shutdown(d, 0, on_done, &w);
    succeed(&w);
    suspend_running(d);
    domain_resume(d, on_done, &w);
    succeed(&w);
    kill(pid_of(f, UUID_1), SIGUSR1);
    wait_for_state(d, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 1);
    check_events(f, "3.0 4.0 6.1 5.0 ");
    domain_unref(d);
}

static void test_crash(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");

    (void)data;
    start(d);
    g_string_truncate(f->events, 0);
    kill(pid_of(f, UUID_1), SIGKILL);
    wait_for_state(d, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 3);
    check_events(f, "5.5 ");
    domain_unref(d);

    d = define(f, "", "<on_crash>restart</on_crash>");
    start(d);
    g_string_truncate(f->events, 0);
    kill(pid_of(f, UUID_1), SIGKILL);
    while (domain_id(d) != 3 || state_of(d) != DOMAIN_RUNNING)
        g_main_context_iteration(NULL, TRUE);
    check_events(f, "5.5 4.0 2.0 ");
    domain_unref(d);
}

static void test_failing_starts(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "die", "");
    struct wait w = {0};

    (void)data;
    domain_start(d, 0, on_done, &w);
    check_failure(&w, 1,
                  "internal error: process exited while connecting to monitor: trapeze: --kernel: "
                  "there is no such kernel");
    g_assert_cmpint(state_of(d), ==, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 6);
    domain_unref(d);

    d = define(f, "mute", "");
    domain_start(d, 0, on_done, &w);
    check_failure(&w, 1, "internal error: the guest's monitor did not answer within 1 s");
    g_assert_cmpint(pid_of(f, UUID_1), ==, 0);
    domain_unref(d);

    d = define(f, "", "<devices><emulator>/bin</emulator></devices>");
    domain_start(d, 0, on_done, &w);
    check_failure(&w, 1,
                  "internal error: process exited while connecting to monitor: trapezed: cannot "
                  "run /bin: Permission denied");
    domain_unref(d);

    d = define(f, "",
               "<devices><disk type='file'><source file='/nonex'/><target dev='vda'/></disk>"
               "</devices>");
    domain_start(d, 0, on_done, &w);
    check_failure(&w, 38, "Cannot access storage file '/nonex': No such file or directory");
    g_assert_cmpint(domain_id(d), ==, -1);
    domain_unref(d);
}

static void test_ends_at_once(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "off", "");

    (void)data;
    start(d);
    wait_for_state(d, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 1);
    check_events(f, "4.0 2.0 6.1 5.0 ");
    domain_unref(d);
}

static void test_destroy_while_starting(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "mute", "");
    struct wait first = {0}, second = {0};

    (void)data;
    domain_start(d, 0, on_done, &first);
    while (domain_id(d) < 0)
        g_main_context_iteration(NULL, TRUE);
    domain_destroy(d, 0, on_done, &second);
    check_failure(&first, 9, "operation failed: the domain was destroyed while it started");
    succeed(&second);
    g_assert_cmpint(state_of(d), ==, DOMAIN_SHUTOFF);
    domain_unref(d);
}

static void test_two_starts(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "slow", "");
    struct wait first = {0}, second = {0};

    (void)data;
    domain_start(d, 0, on_done, &first);
    domain_start(d, 0, on_done, &second);
    succeed(&first);
    check_failure(&second, 55, "Requested operation is not valid: domain is already running");
    domain_unref(d);
}

static void test_stubborn(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "stubborn", "");

    (void)data;
    start(d);
    g_string_truncate(f->events, 0);
    destroy(d);
    check_events(f, "5.1 ");
    domain_unref(d);
}

static void test_transient(struct fixture *f, gconstpointer data)
{
    g_autofree char *xml = xml_of("t", UUID_2, "", "");
    struct wait w = {0};
    GError *error = NULL;

    (void)data;
    domains_create(f->all, xml, 0, on_done, &w);
    succeed(&w);
    struct domain *d = domain_ref(w.domain);
    g_assert_false(domain_is_persistent(d));
    check_events(f, "4.0 2.0 ");
    domains_create(f->all, xml, 0, on_done, &w);
    check_failure(&w, 55, "Requested operation is not valid: domain 't' is already active");
    g_assert_false(domain_undefine(d, 0, &error));
    g_assert_cmpstr(error->message, ==,
                    "Requested operation is not valid: cannot undefine transient domain");
    g_clear_error(&error);
    g_assert_false(domain_set_autostart(d, true, &error));
    g_clear_error(&error);
    destroy(d);
    g_assert_null(domain_xml(d, 0, &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_NO_DOMAIN);
    g_clear_error(&error);
    g_assert_null(domains_by_name(f->all, "t", NULL));
    domain_unref(d);

    /* One that cannot start is not there afterwards. */
    g_autofree char *bad = xml_of("t", UUID_2, "die", "");
    domains_create(f->all, bad, 0, on_done, &w);
    wait_for(&w);
    g_assert_error(w.error, MANAGER_ERROR, MANAGER_ERROR_INTERNAL);
    g_clear_error(&w.error);
    g_assert_null(domains_by_name(f->all, "t", NULL));
}

static void test_undefine_active(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");

    (void)data;
    start(d);
    g_assert_true(domain_undefine(d, 0, NULL));
    g_assert_true(domain_is_active(d));
    g_assert_false(domain_is_persistent(d));
    domain_unref(define(f, "", "<title>new</title>"));
    g_assert_true(domain_is_persistent(d));
    g_autofree char *live = domain_xml(d, 0, NULL), *config = domain_xml(d, XML_INACTIVE, NULL);
    g_assert_null(strstr(live, "<title>"));
    g_assert_nonnull(strstr(config, "<title>"));
    g_assert_true(domain_undefine(d, 0, NULL));
    destroy(d);
    g_assert_null(domains_by_name(f->all, "a", NULL));
    domain_unref(d);
}

/* ---- recovery ---- */

static void reopen(struct fixture *f, struct domain **d)
{
    domain_unref(*d);
    domains_close(f->all);
    g_string_truncate(f->events, 0);
    open_all(f);
    *d = domains_by_name(f->all, "a", NULL);
    g_assert_nonnull(*d);
}

static void test_found_again(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "<devices><serial type='pty'/></devices>");
    struct wait w = {0};

    (void)data;
    start(d);
    g_autofree char *before = domain_xml(d, 0, NULL);
    pid_t pid = pid_of(f, UUID_1);
    reopen(f, &d);
    g_assert_cmpint(domain_id(d), ==, 1);
    g_assert_cmpint(state_of(d), ==, DOMAIN_RUNNING);
    domain_suspend(d, on_done, &w);
    succeed(&w);
    g_autofree char *after = domain_xml(d, 0, NULL);
    g_assert_cmpstr(after, ==, before);
    reopen(f, &d);
    domain_resume(d, on_done, &w);
    succeed(&w);
    g_assert_cmpint(pid_of(f, UUID_1), ==, pid);
    domain_destroy(d, 0, on_done, &w);
    succeed(&w);
    start(d);
    g_assert_cmpint(domain_id(d), ==, 2);
    domain_unref(d);
}

static void test_ended_meanwhile(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");

    (void)data;
    start(d);
    pid_t pid = pid_of(f, UUID_1);
    domain_unref(d);
    domains_close(f->all);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    open_all(f);
    d = domains_by_name(f->all, "a", NULL);
    g_assert_cmpint(state_of(d), ==, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 3);
    start(d);
    domain_unref(d);
}

static void test_powered_off_meanwhile(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "");

    (void)data;
    start(d);
    pid_t pid = pid_of(f, UUID_1);
    domain_unref(d);
    domains_close(f->all);
    g_string_truncate(f->events, 0);
    kill(pid, SIGUSR2);
    open_all(f);
    d = domains_by_name(f->all, "a", NULL);
    wait_for_state(d, DOMAIN_SHUTOFF);
    g_assert_cmpint(reason_of(d), ==, 1);
    check_events(f, "6.1 5.0 ");
    domain_unref(d);
}

/* The manager ends while the guest starts: the next one finishes that. */
static void test_half_started(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "slow", "");
    struct wait w = {0};

    (void)data;
    domain_start(d, 0, on_done, &w);
    while (!pid_of(f, UUID_1))
        g_main_context_iteration(NULL, TRUE);
    pid_t pid = pid_of(f, UUID_1);
    domain_unref(d);
    domains_close(f->all);
    g_assert_true(w.done);
    g_clear_error(&w.error);
    open_all(f);
    d = domains_by_name(f->all, "a", NULL);
    wait_for_state(d, DOMAIN_RUNNING);
    g_assert_cmpint(pid_of(f, UUID_1), ==, pid);
    domain_unref(d);
}

/* ---- consoles, statistics ---- */

static void test_console(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "<devices><serial type='pty'/></devices>");
    GError *error = NULL;
    char text[16];

    (void)data;
    g_assert_cmpint(domain_console_open(d, NULL, 0, &error), ==, -1);
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_OPERATION_INVALID);
    g_clear_error(&error);
    start(d);
    int fd = domain_console_open(d, NULL, 0, &error);
    g_assert_no_error(error);
    g_assert_cmpint(domain_console_open(d, NULL, 0, &error), ==, -1);
    g_assert_cmpstr(error->message, ==,
                    "operation failed: Active console session exists for this domain");
    g_clear_error(&error);
    g_assert_cmpint(write(fd, "hello", 5), ==, 5);
    while (read(fd, text, sizeof text) != 5)
        g_assert_cmpint(errno, ==, EAGAIN);
    g_assert_true(!strncmp(text, "hello", 5));
    int second = domain_console_open(d, "serial0", 1, &error);
    g_assert_no_error(error);
    g_assert_cmpint(second, !=, fd);
    g_assert_cmpint(read(fd, text, sizeof text), ==, 0);
    domain_console_closed(d, second);
    close(second);
    close(fd);
    fd = domain_console_open(d, NULL, 0, &error);
    g_assert_no_error(error);
    domain_console_closed(d, fd);
    close(fd);
    domain_unref(d);
}

static void on_stats(struct domain *d, const struct domain_stats *stats, const GError *error,
                     void *data)
{
    const struct domain_disk_stats *disk;

    g_assert_no_error(error);
    g_assert_cmpuint(stats->disks->len, ==, 1);
    disk = &g_array_index(stats->disks, struct domain_disk_stats, 0);
    g_assert_cmpstr(disk->target, ==, "vda");
    g_assert_cmpuint(disk->capacity, ==, 4096);
    g_assert_cmpuint(disk->read_bytes, ==, domain_is_active(d) ? 512 : 0);
    g_assert_cmpuint(disk->write_requests, ==, domain_is_active(d) ? 2 : 0);
    g_assert_cmpuint(stats->vcpus->len, ==, domain_is_active(d) ? 1 : 0);
    g_assert_cmpuint(stats->nets->len, ==, 1);
    g_assert_cmpstr(g_array_index(stats->nets, struct domain_net_stats, 0).name, ==, "");
    g_assert_cmpuint(stats->rss > 0, ==, domain_is_active(d));
    *(bool *)data = true;
}

static void test_stats(struct fixture *f, gconstpointer data)
{
    g_autofree char *image = g_build_filename(f->dir, "disk", NULL);
    char bytes[4096] = {0};
    bool done = false;

    (void)data;
    g_assert_true(g_file_set_contents(image, bytes, sizeof bytes, NULL));
    g_autofree char *devices =
        g_strdup_printf("<devices><disk type='file'><source file='%s'/><target dev='vda'/></disk>"
                        "<interface type='user'/></devices>",
                        image);
    struct domain *d = define(f, "", devices);
    domain_stats(d, on_stats, &done);
    while (!done)
        g_main_context_iteration(NULL, TRUE);
    start(d);
    done = false;
    domain_stats(d, on_stats, &done);
    while (!done)
        g_main_context_iteration(NULL, TRUE);
    GArray *vcpus = domain_vcpu_list(d, NULL);
    g_assert_cmpint(g_array_index(vcpus, struct domain_vcpu, 0).thread, ==, pid_of(f, UUID_1));
    g_array_unref(vcpus);
    domain_unref(d);
}

/* ---- changes ---- */

static void test_changes(struct fixture *f, gconstpointer data)
{
    struct domain *d = define(f, "", "<vcpu>2</vcpu>");
    struct domain_info info;
    GError *error = NULL;
    enum { LIVE = 1, CONFIG = 2, MAXIMUM = 4 };

    (void)data;
    g_assert_false(domain_set_memory(d, 1 << 20, CONFIG, &error));
    g_assert_cmpstr(error->message, ==,
                    "invalid argument: cannot set memory higher than max memory");
    g_clear_error(&error);
    g_assert_false(domain_set_memory(d, 1024, LIVE, &error));
    g_assert_cmpstr(error->message, ==, "Requested operation is not valid: domain is not running");
    g_clear_error(&error);
    g_assert_true(domain_set_memory(d, 10240, CONFIG, NULL));
    g_assert_true(domain_set_memory(d, 20480, CONFIG | MAXIMUM, NULL));
    domain_info(d, &info);
    g_assert_cmpuint(info.max_memory, ==, 20480);
    g_assert_cmpuint(info.memory, ==, 10240);
    g_assert_false(domain_set_vcpus(d, 3, CONFIG, &error));
    g_assert_cmpstr(error->message, ==,
                    "invalid argument: requested vcpus is greater than max allowable vcpus for the "
                    "persistent domain: 3 > 2");
    g_clear_error(&error);
    g_assert_true(domain_set_vcpus(d, 1, CONFIG, NULL));
    g_assert_cmpint(domain_vcpus(d, CONFIG, NULL), ==, 1);
    g_assert_cmpint(domain_vcpus(d, CONFIG | MAXIMUM, NULL), ==, 2);
    g_assert_true(domain_set_metadata(d, 1, "title", NULL, NULL, CONFIG, NULL));
    reopen(f, &d);
    g_autofree char *title = domain_metadata(d, 1, NULL, CONFIG, NULL);
    g_assert_cmpstr(title, ==, "title");
    domain_info(d, &info);
    g_assert_cmpuint(info.max_memory, ==, 20480);
    domain_unref(d);
}

int main(int argc, char **argv)
{
#define ADD(name, function)                                                                        \
    g_test_add("/domains/" name, struct fixture, NULL, set_up, function, tear_down)
    g_test_init(&argc, &argv, NULL);
    ADD("define", test_define);
    ADD("unreadable", test_unreadable);
    ADD("autostart", test_autostart);
    ADD("second-manager", test_second_manager);
    ADD("life", test_life);
    ADD("paused-start", test_paused_start);
    ADD("reboot", test_reboot);
    ADD("actions", test_actions);
    ADD("crash", test_crash);
    ADD("failing-starts", test_failing_starts);
    ADD("ends-at-once", test_ends_at_once);
    ADD("destroy-while-starting", test_destroy_while_starting);
    ADD("two-starts", test_two_starts);
    ADD("stubborn", test_stubborn);
    ADD("transient", test_transient);
    ADD("undefine-active", test_undefine_active);
    ADD("found-again", test_found_again);
    ADD("ended-meanwhile", test_ended_meanwhile);
    ADD("powered-off-meanwhile", test_powered_off_meanwhile);
    ADD("half-started", test_half_started);
    ADD("console", test_console);
    ADD("stats", test_stats);
    ADD("changes", test_changes);
    return g_test_run();
}
