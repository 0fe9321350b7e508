/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Definitions on disk. */
#include "manager/domain/store.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char *dir;
    struct store *store;
};

static void set_up(struct fixture *f, gconstpointer data)
{
    GError *error = NULL;

    (void)data;
    f->dir = g_dir_make_tmp("trapeze-store-XXXXXX", NULL);
    f->store = store_open(f->dir, &error);
    g_assert_no_error(error);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    g_autoptr(GPtrArray) names = store_list(f->store);
    g_autofree char *links = g_build_filename(f->dir, "autostart", NULL);

    (void)data;
    for (guint i = 0; i < names->len; i++)
        g_assert_true(store_remove(f->store, names->pdata[i], NULL));
    store_close(f->store);
    g_assert_cmpint(g_rmdir(links), ==, 0);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->dir);
}

static void check_names(struct store *s, const char *expected)
{
    g_autoptr(GPtrArray) names = store_list(s);

    g_ptr_array_add(names, NULL);
    g_autofree char *text = g_strjoinv(" ", (char **)names->pdata);
    g_assert_cmpstr(text, ==, expected);
}

static void test_files(struct fixture *f, gconstpointer data)
{
    (void)data;
    /* Names that are odd as file names; those with a slash, no definition has. */
    static const char *const names[] = {"-", ".hidden", "a", "a.xml", "a.xml.new", "z \xc3\xa4"};

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_true(store_write(f->store, names[i], names[i], NULL));
    check_names(f->store, "- .hidden a a.xml a.xml.new z \xc3\xa4");
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *text = store_read(f->store, names[i], NULL);

        g_assert_cmpstr(text, ==, names[i]);
    }
    g_assert_true(store_write(f->store, "a", "again", NULL));
    g_autofree char *text = store_read(f->store, "a", NULL);
    g_assert_cmpstr(text, ==, "again");
    g_assert_true(store_remove(f->store, "a", NULL));
    check_names(f->store, "- .hidden a.xml a.xml.new z \xc3\xa4");
    /* What is gone already may be removed. */
    g_assert_true(store_remove(f->store, "a", NULL));
}

/* A file that could not be written leaves the one before, and nothing else. */
static void test_failure(struct fixture *f, gconstpointer data)
{
    g_autofree char *half = g_build_filename(f->dir, "a.xml.new", NULL);
    g_autofree char *long_name = g_strnfill(300, 'n');
    GError *error = NULL;

    (void)data;
    g_assert_true(store_write(f->store, "a", "old", NULL));
    g_assert_cmpint(g_mkdir(half, 0700), ==, 0); /* in the way */
    g_assert_false(store_write(f->store, "a", "new", &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_SYSTEM);
    g_assert_nonnull(strstr(error->message, half));
    g_clear_error(&error);
    g_assert_cmpint(g_rmdir(half), ==, 0);
    g_autofree char *text = store_read(f->store, "a", NULL);
    g_assert_cmpstr(text, ==, "old");
    g_assert_false(store_write(f->store, long_name, "", &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_SYSTEM);
    g_assert_nonnull(strstr(error->message, "File name too long"));
    g_clear_error(&error);
    g_assert_null(store_read(f->store, "b", &error));
    g_assert_error(error, MANAGER_ERROR, MANAGER_ERROR_SYSTEM);
    g_error_free(error);
    check_names(f->store, "a");
}

/* No other user may read a definition: it may hold a secret. */
static void test_mode(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->dir, "a.xml", NULL);
    struct stat file;

    (void)data;
    g_assert_true(store_write(f->store, "a", "", NULL));
    g_assert_cmpint(stat(path, &file), ==, 0);
    g_assert_cmpuint(file.st_mode & 0777, ==, 0600);
}

static void test_half_written(struct fixture *f, gconstpointer data)
{
    g_autofree char *half = g_build_filename(f->dir, "a.xml.new", NULL);
    g_autofree char *other = g_build_filename(f->dir, "notes.new", NULL);

    (void)data;
    g_assert_true(g_file_set_contents(half, "<dom", -1, NULL));
    g_assert_true(g_file_set_contents(other, "mine", -1, NULL));
    store_close(f->store);
    f->store = store_open(f->dir, NULL);
    g_assert_false(g_file_test(half, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(other, G_FILE_TEST_EXISTS));
    g_remove(other);
}

static void test_autostart(struct fixture *f, gconstpointer data)
{
    g_autofree char *link = g_build_filename(f->dir, "autostart", "a.xml", NULL), *text = NULL;

    (void)data;
    g_assert_true(store_write(f->store, "a", "text", NULL));
    g_assert_false(store_autostart(f->store, "a"));
    g_assert_true(store_set_autostart(f->store, "a", true, NULL));
    g_assert_true(store_set_autostart(f->store, "a", true, NULL));
    g_assert_true(store_autostart(f->store, "a"));
    /* The link leads to the definition. */
    g_assert_true(g_file_get_contents(link, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "text");
    g_assert_true(store_set_autostart(f->store, "a", false, NULL));
    g_assert_true(store_set_autostart(f->store, "a", false, NULL));
    g_assert_false(store_autostart(f->store, "a"));
    g_assert_true(store_set_autostart(f->store, "a", true, NULL));
    g_assert_true(store_remove(f->store, "a", NULL));
    g_assert_false(store_autostart(f->store, "a"));
}

int main(int argc, char **argv)
{
#define ADD(name, function)                                                                        \
    g_test_add("/store/" name, struct fixture, NULL, set_up, function, tear_down)
    g_test_init(&argc, &argv, NULL);
    ADD("files", test_files);
    ADD("failure", test_failure);
    ADD("mode", test_mode);
    ADD("half-written", test_half_written);
    ADD("autostart", test_autostart);
    return g_test_run();
}
