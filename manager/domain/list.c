/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of all domains: opening, looking up, defining and undefining. */
#include "domain-private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_TRIES   50 /* a guest's process that is just being born holds the lock for a moment */
#define LOCK_WAIT_US 100000

/* ---- one domain in the list ---- */

static guint uuid_hash(gconstpointer uuid)
{
    guint hash;

    memcpy(&hash, uuid, sizeof hash);
    return hash;
}

static gboolean uuid_equal(gconstpointer a, gconstpointer b)
{
    return !memcmp(a, b, DOMAIN_UUID_SIZE);
}

struct domain *domains_add(struct domains *all, const struct definition *definition)
{
    struct domain *d = g_new0(struct domain, 1);

    d->references = 1; /* the list's */
    d->all = all;
    d->name = g_strdup(definition->name);
    memcpy(d->uuid, definition->uuid, sizeof d->uuid);
    memcpy(d->uuid_text, definition->uuid_text, sizeof d->uuid_text);
    d->id = -1;
    d->state = DOMAIN_SHUTOFF;
    d->console_fd = -1;
    g_queue_init(&d->jobs);
    g_hash_table_insert(all->by_name, d->name, d);
    g_hash_table_insert(all->by_uuid, d->uuid, d);
    return d;
}

void domains_remove(struct domain *d)
{
    struct domains *all = d->all;

    if (!all)
        return;
    g_hash_table_remove(all->by_uuid, d->uuid);
    g_hash_table_steal(all->by_name, d->name);
    d->all = NULL;
    domain_unref(d);
}

struct domain *domain_ref(struct domain *d)
{
    d->references++;
    return d;
}

void domain_unref(struct domain *d)
{
    if (--d->references)
        return;
    guest_release(d);
    definition_free(d->config);
    definition_free(d->live);
    definition_free(d->initial);
    g_free(d->start_fault);
    g_free(d->name);
    g_free(d);
}

bool domain_check(const struct domain *d, GError **error)
{
    if (d->all)
        return true;
    manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching uuid '%s' (%s)",
                      d->uuid_text, d->name);
    return false;
}

bool domain_check_active(const struct domain *d, GError **error)
{
    if (!domain_check(d, error))
        return false;
    if (domain_is_active(d))
        return true;
    manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID, "domain is not running");
    return false;
}

/* ---- opening and closing ---- */

static void read_definition(struct domains *all, const char *name)
{
    GError *error = NULL;
    g_autofree char *xml = store_read(all->store, name, &error);
    struct definition *config =
        xml ? definition_parse(xml, all->trapeze, DEFINITION_LIVE, &error) : NULL;
    struct domain *same = NULL;

    if (config && strcmp(config->name, name))
        manager_error_set(&error, MANAGER_ERROR_INTERNAL, "it defines a domain named '%s'",
                          config->name);
    if (config && !error && domains_check_new(all, config, &same, &error) && !same) {
        domains_add(all, config)->config = config;
        return;
    }
    g_warning("the definition %s.xml is left alone: %s", name,
              error ? error->message : "it is there twice");
    g_clear_error(&error);
    definition_free(config);
    g_hash_table_add(all->unreadable, g_strdup(name));
}

static void read_definitions(struct domains *all)
{
    g_autoptr(GPtrArray) names = store_list(all->store);

    for (guint i = 0; i < names->len; i++)
        read_definition(all, names->pdata[i]);
}

static int lock_folder(const char *run_dir, GError **error)
{
    g_autofree char *path = g_build_filename(run_dir, "manager.lock", NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        manager_error_set(error, MANAGER_ERROR_SYSTEM, "Cannot open '%s': %s", path,
                          g_strerror(errno));
        return -1;
    }
    for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (i == LOCK_TRIES) {
            manager_error_set(error, MANAGER_ERROR_SYSTEM,
                              "another manager of '%s' runs (it holds manager.lock)", run_dir);
            close(fd);
            return -1;
        }
        g_usleep(LOCK_WAIT_US);
    }
    return fd;
}

static bool make_folder(const char *path, GError **error)
{
    if (g_mkdir_with_parents(path, 0700) == 0)
        return true;
    manager_error_set(error, MANAGER_ERROR_SYSTEM, "Cannot make the folder '%s': %s", path,
                      g_strerror(errno));
    return false;
}

static void unref(gpointer d)
{
    domain_unref(d);
}

struct domains *domains_open(const struct domains_config *config, GError **error)
{
    if (!make_folder(config->run_dir, error) || !make_folder(config->log_dir, error))
        return NULL;
    int lock = lock_folder(config->run_dir, error);
    if (lock < 0)
        return NULL;
    struct store *store = store_open(config->config_dir, error);
    if (!store) {
        close(lock);
        return NULL;
    }
    struct domains *all = g_new0(struct domains, 1);
    all->run_dir = g_strdup(config->run_dir);
    all->log_dir = g_strdup(config->log_dir);
    all->trapeze = g_strdup(config->trapeze);
    all->start_ms = config->start_ms ? config->start_ms : 30000;
    all->lock = lock;
    all->store = store;
    all->next_id = 1;
    all->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, unref);
    all->by_uuid = g_hash_table_new(uuid_hash, uuid_equal);
    all->unreadable = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    read_definitions(all);
    states_read(all);
    return all;
}

void domains_close(struct domains *all)
{
    if (!all)
        return;
    g_autoptr(GPtrArray) list = domains_list(all, 0);

    domains_end_subscriptions(all);
    for (guint i = 0; i < list->len; i++) {
        struct domain *d = list->pdata[i];

        guest_release(d); /* which ends jobs, too */
        jobs_end(d);
        domains_remove(d);
    }
    g_hash_table_unref(all->by_name);
    g_hash_table_unref(all->by_uuid);
    g_hash_table_unref(all->unreadable);
    store_close(all->store);
    close(all->lock);
    g_free(all->run_dir);
    g_free(all->log_dir);
    g_free(all->trapeze);
    g_free(all);
}

void domains_autostart(struct domains *all)
{
    g_autoptr(GPtrArray) list = domains_list(all, 0);

    for (guint i = 0; i < list->len; i++) {
        struct domain *d = list->pdata[i];

        if (domain_autostart(d) && !domain_is_active(d))
            domain_start(d, 0, NULL, NULL);
    }
}

/* ---- looking up ---- */

struct domain *domains_by_name(struct domains *all, const char *name, GError **error)
{
    struct domain *d = g_hash_table_lookup(all->by_name, name);

    if (d)
        return domain_ref(d);
    manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching name '%s'", name);
    return NULL;
}

struct domain *domains_by_uuid(struct domains *all, const uint8_t uuid[DOMAIN_UUID_SIZE],
                               GError **error)
{
    struct domain *d = g_hash_table_lookup(all->by_uuid, uuid);
    char text[37];

    if (d)
        return domain_ref(d);
    uuid_format(uuid, text);
    manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching uuid '%s'", text);
    return NULL;
}

struct domain *domains_by_id(struct domains *all, int id, GError **error)
{
    GHashTableIter iter;
    gpointer d;

    g_hash_table_iter_init(&iter, all->by_name);
    while (g_hash_table_iter_next(&iter, NULL, &d))
        if (id >= 0 && ((struct domain *)d)->id == id)
            return domain_ref(d);
    manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching id %d", id);
    return NULL;
}

/* virConnectListAllDomainsFlags come in groups: of each group of which one is set, one must fit. */
enum {
    LIST_ACTIVE = 1 << 0,
    LIST_INACTIVE = 1 << 1,
    LIST_PERSISTENT = 1 << 2,
    LIST_TRANSIENT = 1 << 3,
    LIST_RUNNING = 1 << 4,
    LIST_PAUSED = 1 << 5,
    LIST_SHUTOFF = 1 << 6,
    LIST_OTHER = 1 << 7,
    LIST_MANAGEDSAVE = 1 << 8,
    LIST_NO_MANAGEDSAVE = 1 << 9,
    LIST_AUTOSTART = 1 << 10,
    LIST_NO_AUTOSTART = 1 << 11,
    LIST_HAS_SNAPSHOT = 1 << 12,
    LIST_NO_SNAPSHOT = 1 << 13,
    LIST_HAS_CHECKPOINT = 1 << 14,
    LIST_NO_CHECKPOINT = 1 << 15,
};

static bool in_group(unsigned flags, unsigned group, unsigned is)
{
    return !(flags & group) || flags & is;
}

static bool picks(const struct domain *d, unsigned flags)
{
    unsigned state = d->state == DOMAIN_RUNNING   ? LIST_RUNNING
                     : d->state == DOMAIN_PAUSED  ? LIST_PAUSED
                     : d->state == DOMAIN_SHUTOFF ? LIST_SHUTOFF
                                                  : LIST_OTHER;

    return in_group(flags, LIST_ACTIVE | LIST_INACTIVE,
                    domain_is_active(d) ? LIST_ACTIVE : LIST_INACTIVE) &&
           in_group(flags, LIST_PERSISTENT | LIST_TRANSIENT,
                    d->config ? LIST_PERSISTENT : LIST_TRANSIENT) &&
           in_group(flags, LIST_RUNNING | LIST_PAUSED | LIST_SHUTOFF | LIST_OTHER, state) &&
           in_group(flags, LIST_MANAGEDSAVE | LIST_NO_MANAGEDSAVE, LIST_NO_MANAGEDSAVE) &&
           (!(flags & (LIST_AUTOSTART | LIST_NO_AUTOSTART)) ||
            in_group(flags, LIST_AUTOSTART | LIST_NO_AUTOSTART,
                     domain_autostart(d) ? LIST_AUTOSTART : LIST_NO_AUTOSTART)) &&
           in_group(flags, LIST_HAS_SNAPSHOT | LIST_NO_SNAPSHOT, LIST_NO_SNAPSHOT) &&
           in_group(flags, LIST_HAS_CHECKPOINT | LIST_NO_CHECKPOINT, LIST_NO_CHECKPOINT);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp((*(struct domain *const *)a)->name, (*(struct domain *const *)b)->name);
}

GPtrArray *domains_list(struct domains *all, unsigned flags)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(unref);
    GHashTableIter iter;
    gpointer d;

    g_hash_table_iter_init(&iter, all->by_name);
    while (g_hash_table_iter_next(&iter, NULL, &d))
        if (picks(d, flags))
            g_ptr_array_add(list, domain_ref(d));
    g_ptr_array_sort(list, compare_names);
    return list;
}

/* ---- defining ---- */

bool domains_check_new(struct domains *all, const struct definition *definition,
                       struct domain **same, GError **error)
{
    struct domain *named = g_hash_table_lookup(all->by_name, definition->name);
    struct domain *d = g_hash_table_lookup(all->by_uuid, definition->uuid);

    *same = d;
    if (d && strcmp(d->name, definition->name))
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED,
                          "domain '%s' is already defined with uuid %s", d->name, d->uuid_text);
    else if (named && named != d)
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED,
                          "domain '%s' already exists with uuid %s", named->name, named->uuid_text);
    else if (!d && g_hash_table_contains(all->unreadable, definition->name))
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED,
                          "there is a file %s.xml already, which cannot be read as a definition; "
                          "see the manager's log, and mend or remove it",
                          definition->name);
    else
        return true;
    return false;
}

bool domain_store(struct domain *d, const struct definition *config, GError **error)
{
    g_autofree char *xml = definition_format(config, true);

    return store_write(d->all->store, d->name, xml, error);
}

/* What a client gave and gets back, and what has no effect. */
static void warn_of_ignored(const struct definition *d)
{
    if (!d->ignored->len)
        return;
    g_ptr_array_add(d->ignored, NULL);
    g_autofree char *list = g_strjoinv(", ", (char **)d->ignored->pdata);
    g_ptr_array_remove_index(d->ignored, d->ignored->len - 1);
    g_warning("domain '%s': without effect here: %s", d->name, list);
}

struct domain *domains_define(struct domains *all, const char *xml, unsigned flags, GError **error)
{
    struct definition *config =
        definition_parse(xml, all->trapeze, flags & DEFINITION_VALIDATE, error);
    struct domain *d = NULL;

    if (!config)
        return NULL;
    if (!domains_check_new(all, config, &d, error)) {
        definition_free(config);
        return NULL;
    }
    bool fresh = !d;
    bool updated = d && d->config;
    if (fresh)
        d = domains_add(all, config);
    if (!domain_store(d, config, error)) {
        definition_free(config);
        if (fresh)
            domains_remove(d);
        return NULL;
    }
    warn_of_ignored(config);
    definition_free(d->config);
    d->config = config;
    domain_ref(d);
    domains_tell(d, EVENT_DEFINED, updated);
    return d;
}

bool domain_undefine(struct domain *d, unsigned flags, GError **error)
{
    (void)flags; /* of managed saves, snapshots and NVRAM, of which there are none */
    if (!domain_check(d, error))
        return false;
    if (!d->config) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "cannot undefine transient domain");
        return false;
    }
    if (!store_remove(d->all->store, d->name, error))
        return false;
    definition_free(d->config);
    d->config = NULL;
    domains_tell(d, EVENT_UNDEFINED, 0);
    if (!domain_is_active(d))
        domains_remove(d);
    return true;
}
