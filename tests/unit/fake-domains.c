/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains without guests: what manager/domain/domain.h promises, in memory, at once.  For tests of
 * the protocol.  A definition is its XML; of it only <name> and <title> are looked at. */
#include "tests/unit/fake-domains.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct domain {
    int references;
    struct domains *all;
    char *name, *xml;
    uint8_t uuid[DOMAIN_UUID_SIZE];
    int id;
    bool persistent, autostart, paused;
    int console; /* the other end of the client's, or -1 */
};

struct subscription {
    unsigned id;
    domain_event event;
    void *data;
};

struct domains {
    GPtrArray *list; /* of struct domain *, by name */
    GArray *subscriptions;
    int next_id;
    unsigned next_subscription, next_uuid;
    bool held;    /* jobs wait for fake_domains_finish */
    GQueue *jobs; /* of struct job * */
};

/* A job's end, which comes from the main loop. */
struct job {
    struct domain *d;
    GError *error;
    domain_done done;
    domain_stats_done stats;
    void *data;
};

static void job_end(struct job *j)
{
    if (j->stats) {
        struct domain_stats s = {.vcpus = g_array_new(FALSE, TRUE, sizeof(struct domain_vcpu)),
                                 .disks =
                                     g_array_new(FALSE, TRUE, sizeof(struct domain_disk_stats)),
                                 .nets = g_array_new(FALSE, TRUE, sizeof(struct domain_net_stats))};
        struct domain_disk_stats disk = {
            .target = "vda", .path = (char *)"/disk", .read_bytes = 512};
        domain_info(j->d, &s.info);
        g_array_append_val(s.disks, disk);
        j->stats(j->d, &s, NULL, j->data);
        g_array_unref(s.vcpus);
        g_array_unref(s.disks);
        g_array_unref(s.nets);
    } else {
        j->done(j->error ? NULL : j->d, j->error, j->data);
    }
    g_clear_error(&j->error);
    if (j->d)
        domain_unref(j->d);
    g_free(j);
}

static gboolean on_idle(void *data)
{
    job_end(data);
    return G_SOURCE_REMOVE;
}

static void job_new(struct domains *all, struct domain *d, GError *error, domain_done done,
                    domain_stats_done stats, void *data)
{
    struct job *j = g_new0(struct job, 1);

    *j = (struct job){d ? domain_ref(d) : NULL, error, done, stats, data};
    if (all->held)
        g_queue_push_head(all->jobs, j);
    else
        g_idle_add(on_idle, j);
}

void fake_domains_hold(struct domains *all)
{
    all->held = true;
}

void fake_domains_finish(struct domains *all)
{
    all->held = false;
    while (!g_queue_is_empty(all->jobs))
        job_end(g_queue_pop_head(all->jobs));
}

struct domains *fake_domains_new(void)
{
    struct domains *all = g_new0(struct domains, 1);

    all->list = g_ptr_array_new_with_free_func((GDestroyNotify)domain_unref);
    all->subscriptions = g_array_new(FALSE, TRUE, sizeof(struct subscription));
    all->jobs = g_queue_new();
    all->next_id = 1;
    all->next_subscription = 1;
    return all;
}

int fake_domain_console(struct domain *d)
{
    return d->console;
}

struct domains *domains_open(const struct domains_config *config, GError **error)
{
    (void)config;
    (void)error;
    return fake_domains_new();
}

void domains_autostart(struct domains *all)
{
    (void)all;
}

void domains_close(struct domains *all)
{
    fake_domains_finish(all);
    g_ptr_array_unref(all->list);
    g_array_unref(all->subscriptions);
    g_queue_free(all->jobs);
    g_free(all);
}

static struct domain *find(struct domains *all, const char *name)
{
    for (unsigned i = 0; i < all->list->len; i++) {
        struct domain *d = g_ptr_array_index(all->list, i);
        if (!strcmp(d->name, name))
            return d;
    }
    return NULL;
}

struct domain *domains_by_name(struct domains *all, const char *name, GError **error)
{
    struct domain *d = find(all, name);

    if (!d)
        manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching name '%s'",
                          name);
    return d ? domain_ref(d) : NULL;
}

struct domain *domains_by_uuid(struct domains *all, const uint8_t uuid[DOMAIN_UUID_SIZE],
                               GError **error)
{
    for (unsigned i = 0; i < all->list->len; i++) {
        struct domain *d = g_ptr_array_index(all->list, i);
        if (!memcmp(d->uuid, uuid, DOMAIN_UUID_SIZE))
            return domain_ref(d);
    }
    manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching uuid");
    return NULL;
}

struct domain *domains_by_id(struct domains *all, int id, GError **error)
{
    for (unsigned i = 0; i < all->list->len; i++) {
        struct domain *d = g_ptr_array_index(all->list, i);
        if (d->id == id && id >= 0)
            return domain_ref(d);
    }
    manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching id %d", id);
    return NULL;
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
    if (d->console >= 0)
        close(d->console);
    g_free(d->name);
    g_free(d->xml);
    g_free(d);
}

GPtrArray *domains_list(struct domains *all, unsigned flags)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)domain_unref);

    for (unsigned i = 0; i < all->list->len; i++) {
        struct domain *d = g_ptr_array_index(all->list, i);
        if (!(flags & 3) || flags & (d->id >= 0 ? 1u : 2u))
            g_ptr_array_add(list, domain_ref(d));
    }
    return list;
}

const char *domain_name(const struct domain *d)
{
    return d->name;
}

const uint8_t *domain_uuid(const struct domain *d)
{
    return d->uuid;
}

int domain_id(const struct domain *d)
{
    return d->id;
}

static void tell(struct domain *d, int event, int detail)
{
    for (unsigned i = 0; i < d->all->subscriptions->len; i++) {
        struct subscription *s = &g_array_index(d->all->subscriptions, struct subscription, i);
        s->event(d, event, detail, s->data);
    }
}

/* What stands between <TAG> and </TAG>, or NULL. */
static char *element(const char *xml, const char *tag)
{
    g_autofree char *open = g_strdup_printf("<%s>", tag), *close = g_strdup_printf("</%s>", tag);
    const char *from = strstr(xml, open), *to = from ? strstr(from, close) : NULL;

    return to ? g_strndup(from + strlen(open), (size_t)(to - from) - strlen(open)) : NULL;
}

static struct domain *make(struct domains *all, const char *xml, GError **error)
{
    g_autofree char *name = element(xml, "name");

    if (!name || !*name) {
        manager_error_set(error, MANAGER_ERROR_NO_NAME, "missing name information");
        return NULL;
    }
    struct domain *d = find(all, name);
    if (!d) {
        d = g_new0(struct domain, 1);
        *d = (struct domain){.references = 1, .all = all, .id = -1, .console = -1};
        d->name = g_steal_pointer(&name);
        all->next_uuid++;
        memcpy(d->uuid, &all->next_uuid, sizeof(all->next_uuid));
        g_ptr_array_add(all->list, d);
    }
    g_free(d->xml);
    d->xml = g_strdup(xml);
    return d;
}

struct domain *domains_define(struct domains *all, const char *xml, unsigned flags, GError **error)
{
    struct domain *d = make(all, xml, error);

    (void)flags;
    if (!d)
        return NULL;
    d->persistent = true;
    tell(d, 0, 0);
    return domain_ref(d);
}

static void begin(struct domain *d)
{
    d->id = d->all->next_id++;
    tell(d, 2, 0);
}

void domains_create(struct domains *all, const char *xml, unsigned flags, domain_done done,
                    void *data)
{
    GError *error = NULL;
    struct domain *d = make(all, xml, &error);

    (void)flags;
    if (d)
        begin(d);
    job_new(all, d, error, done, NULL, data);
}

/* Out of the list when neither definition nor guest is left. */
static void settle(struct domain *d)
{
    if (!d->persistent && d->id < 0)
        g_ptr_array_remove(d->all->list, d);
}

bool domain_undefine(struct domain *d, unsigned flags, GError **error)
{
    (void)flags;
    if (!d->persistent) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "cannot undefine transient domain");
        return false;
    }
    d->persistent = false;
    tell(d, 1, 0);
    settle(d);
    return true;
}

static void job(struct domain *d, GError *error, domain_done done, void *data)
{
    job_new(d->all, d, error, done, NULL, data);
}

static GError *not_running(const struct domain *d)
{
    return d->id < 0 ? manager_error_new(MANAGER_ERROR_OPERATION_INVALID, "domain is not running")
                     : NULL;
}

void domain_start(struct domain *d, unsigned flags, domain_done done, void *data)
{
    (void)flags;
    if (d->id >= 0) {
        job(d, manager_error_new(MANAGER_ERROR_OPERATION_INVALID, "domain is already running"),
            done, data);
        return;
    }
    begin(d);
    job(d, NULL, done, data);
}

static void end(struct domain *d, int detail)
{
    d->id = -1;
    d->paused = false;
    if (d->console >= 0)
        close(d->console);
    d->console = -1;
    tell(d, 5, detail);
}

void domain_destroy(struct domain *d, unsigned flags, domain_done done, void *data)
{
    GError *error = not_running(d);

    (void)flags;
    if (!error)
        end(d, 1);
    job(d, error, done, data);
    if (!error)
        settle(d);
}

void domain_shutdown(struct domain *d, unsigned flags, domain_done done, void *data)
{
    domain_destroy(d, flags, done, data);
}

void domain_reboot(struct domain *d, unsigned flags, domain_done done, void *data)
{
    (void)flags;
    job(d, not_running(d), done, data);
}

void domain_reset(struct domain *d, domain_done done, void *data)
{
    job(d, not_running(d), done, data);
}

void domain_suspend(struct domain *d, domain_done done, void *data)
{
    d->paused = d->id >= 0;
    job(d, not_running(d), done, data);
}

void domain_resume(struct domain *d, domain_done done, void *data)
{
    d->paused = false;
    job(d, not_running(d), done, data);
}

void domain_info(struct domain *d, struct domain_info *info)
{
    *info = (struct domain_info){.state = d->id < 0   ? DOMAIN_SHUTOFF
                                          : d->paused ? DOMAIN_PAUSED
                                                      : DOMAIN_RUNNING,
                                 .reason = 1,
                                 .max_memory = 65536,
                                 .memory = 65536,
                                 .vcpus = 2,
                                 .cpu_time = 1000000000};
}

bool domain_is_active(const struct domain *d)
{
    return d->id >= 0;
}

bool domain_is_persistent(const struct domain *d)
{
    return d->persistent;
}

bool domain_is_updated(const struct domain *d)
{
    (void)d;
    return false;
}

const char *domain_os_type(const struct domain *d)
{
    (void)d;
    return "hvm";
}

bool domain_autostart(const struct domain *d)
{
    return d->autostart;
}

bool domain_set_autostart(struct domain *d, bool on, GError **error)
{
    (void)error;
    d->autostart = on;
    return true;
}

const char *domain_host_name(const struct domain *d)
{
    (void)d;
    return NULL;
}

char *domain_xml(struct domain *d, unsigned flags, GError **error)
{
    (void)flags;
    (void)error;
    return g_strdup(d->xml);
}

char *domain_metadata(struct domain *d, int type, const char *uri, unsigned flags, GError **error)
{
    char *title = type == 1 ? element(d->xml, "title") : NULL;

    (void)uri;
    (void)flags;
    if (!title)
        manager_error_set(error, MANAGER_ERROR_NO_METADATA,
                          "Requested metadata element is not present");
    return title;
}

bool domain_set_metadata(struct domain *d, int type, const char *value, const char *key,
                         const char *uri, unsigned flags, GError **error)
{
    (void)d;
    (void)type;
    (void)value;
    (void)key;
    (void)uri;
    (void)flags;
    manager_error_set(error, MANAGER_ERROR_NO_SUPPORT, "virDomainSetMetadata");
    return false;
}

bool domain_set_memory(struct domain *d, uint64_t kib, unsigned flags, GError **error)
{
    (void)d;
    (void)kib;
    (void)flags;
    (void)error;
    return true;
}

bool domain_set_vcpus(struct domain *d, unsigned vcpus, unsigned flags, GError **error)
{
    (void)d;
    (void)vcpus;
    (void)flags;
    (void)error;
    return true;
}

int domain_vcpus(struct domain *d, unsigned flags, GError **error)
{
    if (flags & 1 && d->id < 0) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID, "domain is not running");
        return -1;
    }
    return 2;
}

GArray *domain_vcpu_list(struct domain *d, GError **error)
{
    GArray *all = g_array_new(FALSE, TRUE, sizeof(struct domain_vcpu));

    (void)d;
    (void)error;
    for (unsigned i = 0; i < 2; i++) {
        struct domain_vcpu v = {.number = i, .state = 1, .cpu_time = 1000};
        g_array_append_val(all, v);
    }
    return all;
}

void domain_stats(struct domain *d, domain_stats_done done, void *data)
{
    job_new(d->all, d, NULL, NULL, done, data);
}

int domain_console_open(struct domain *d, const char *name, unsigned flags, GError **error)
{
    int ends[2];

    (void)flags;
    if (d->id < 0 || d->console >= 0 || name) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED, "no console");
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        g_error("no socket pair");
    d->console = ends[0];
    return ends[1];
}

void domain_console_closed(struct domain *d, int fd)
{
    (void)fd;
    if (d->console >= 0)
        close(d->console);
    d->console = -1;
}

unsigned domains_subscribe(struct domains *all, domain_event event, void *data)
{
    struct subscription s = {all->next_subscription++, event, data};

    g_array_append_val(all->subscriptions, s);
    return s.id;
}

void domains_unsubscribe(struct domains *all, unsigned id)
{
    for (unsigned i = 0; i < all->subscriptions->len; i++)
        if (g_array_index(all->subscriptions, struct subscription, i).id == id) {
            g_array_remove_index(all->subscriptions, i);
            return;
        }
}
