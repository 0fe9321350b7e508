/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains with fake guests' processes (fake-guest.c): life cycle, events, recovery. */
#include "domains-fixture.h"

#include <signal.h>
#include <sys/wait.h>

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

int main(int argc, char **argv)
{
#define ADD(name, function)                                                                        \
    g_test_add("/domain-life/" name, struct fixture, NULL, set_up, function, tear_down)
    g_test_init(&argc, &argv, NULL);
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
    return g_test_run();
}
