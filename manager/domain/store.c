/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Definitions on disk. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX        ".xml"
#define HALF          ".new"
#define FILE_SIZE_MAX (4u << 20)

struct store {
    char *dir, *autostart_dir;
};

/* ---- files ---- */

/* Sets ERROR from errno. */
static bool fail(GError **error, const char *what, const char *path)
{
    manager_error_set(error, MANAGER_ERROR_SYSTEM, "%s '%s': %s", what, path, g_strerror(errno));
    return false;
}

static bool write_all(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t n = write(fd, text, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

/* Has the folder's entries on the disk: a rename is safe only then. */
static bool sync_folder(const char *dir, GError **error)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return fail(error, "Cannot open the folder", dir);
    bool synced = fsync(fd) == 0 || errno == EINVAL; /* some file systems have no such thing */
    if (!synced)
        fail(error, "Cannot write the folder", dir);
    close(fd);
    return synced;
}

static bool write_new(const char *path, const char *text, bool durable, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail(error, "Failed to create file", path);
    bool written = write_all(fd, text) && (!durable || fsync(fd) == 0);
    if (!written)
        fail(error, "Cannot write", path);
    close(fd);
    return written;
}

bool store_write_file(const char *dir, const char *file, const char *text, bool durable,
                      GError **error)
{
    g_autofree char *path = g_build_filename(dir, file, NULL);
    g_autofree char *half = g_strconcat(path, HALF, NULL);

    if (!write_new(half, text, durable, error)) {
        unlink(half);
        return false;
    }
    if (rename(half, path) < 0) {
        fail(error, "Cannot rename to", path);
        unlink(half);
        return false;
    }
    return !durable || sync_folder(dir, error);
}

/* ---- the store ---- */

static char *file_of(const char *name)
{
    return g_strconcat(name, SUFFIX, NULL);
}

static char *path_of(const char *dir, const char *name)
{
    g_autofree char *file = file_of(name);

    return g_build_filename(dir, file, NULL);
}

/* Calls EACH with every entry of DIR that ends with SUFFIX. */
static void for_each(const char *dir, const char *suffix,
                     void (*each)(const char *dir, const char *file, void *data), void *data)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *file;

    if (!d)
        return;
    while ((file = g_dir_read_name(d)))
        if (g_str_has_suffix(file, suffix) && strlen(file) > strlen(suffix))
            each(dir, file, data);
    g_dir_close(d);
}

static void remove_half(const char *dir, const char *file, void *data)
{
    g_autofree char *path = g_build_filename(dir, file, NULL);

    (void)data;
    unlink(path);
}

struct store *store_open(const char *dir, GError **error)
{
    g_autofree char *autostart_dir = g_build_filename(dir, "autostart", NULL);

    if (g_mkdir_with_parents(autostart_dir, 0700) < 0) {
        fail(error, "Cannot make the folder", autostart_dir);
        return NULL;
    }
    for_each(dir, SUFFIX HALF, remove_half, NULL);
    struct store *s = g_new0(struct store, 1);
    s->dir = g_strdup(dir);
    s->autostart_dir = g_steal_pointer(&autostart_dir);
    return s;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    g_free(s->dir);
    g_free(s->autostart_dir);
    g_free(s);
}

static void add_name(const char *dir, const char *file, void *data)
{
    (void)dir;
    g_ptr_array_add(data, g_strndup(file, strlen(file) - strlen(SUFFIX)));
}

static int compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *store_list(struct store *s)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    for_each(s->dir, SUFFIX, add_name, names);
    g_ptr_array_sort(names, compare);
    return names;
}

char *store_read(struct store *s, const char *name, GError **error)
{
    g_autofree char *path = path_of(s->dir, name);
    char *text = NULL;
    gsize length;
    GError *cause = NULL;

    if (!g_file_get_contents(path, &text, &length, &cause)) {
        manager_error_set(error, MANAGER_ERROR_SYSTEM, "%s", cause->message);
        g_error_free(cause);
    } else if (length > FILE_SIZE_MAX || strlen(text) != length) {
        manager_error_set(error, MANAGER_ERROR_SYSTEM,
                          "'%s' is not a text that a definition can be", path);
        g_clear_pointer(&text, g_free);
    }
    return text;
}

bool store_write(struct store *s, const char *name, const char *xml, GError **error)
{
    g_autofree char *file = file_of(name);

    return store_write_file(s->dir, file, xml, true, error);
}

bool store_remove(struct store *s, const char *name, GError **error)
{
    g_autofree char *path = path_of(s->dir, name), *link = path_of(s->autostart_dir, name);

    if (unlink(link) < 0 && errno != ENOENT)
        return fail(error, "Failed to delete autostart link", link);
    if (unlink(path) < 0 && errno != ENOENT)
        return fail(error, "cannot remove config", path);
    return sync_folder(s->dir, error);
}

bool store_autostart(struct store *s, const char *name)
{
    g_autofree char *link = path_of(s->autostart_dir, name);

    return g_file_test(link, G_FILE_TEST_IS_SYMLINK);
}

bool store_set_autostart(struct store *s, const char *name, bool on, GError **error)
{
    g_autofree char *link = path_of(s->autostart_dir, name), *file = file_of(name);
    g_autofree char *target = g_build_filename("..", file, NULL);

    if (on && symlink(target, link) < 0 && errno != EEXIST)
        return fail(error, "Failed to create symlink", link);
    if (!on && unlink(link) < 0 && errno != ENOENT)
        return fail(error, "Failed to delete symlink", link);
    return sync_folder(s->autostart_dir, error);
}
