/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains with fake guests' processes (fake-guest.c): definitions, consoles, statistics,
 * changes. */
#include "domains-fixture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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
    ADD("console", test_console);
    ADD("stats", test_stats);
    ADD("changes", test_changes);
    return g_test_run();
}
