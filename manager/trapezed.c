/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* trapezed: the manager's program.  Options, folders, signals, the service manager; what it does
 * for clients is in rpc/, for guests in domain/. */
#include "manager/domain/domain.h"
#include "manager/node/node.h"
#include "manager/rpc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static const char description[] =
    "trapezed answers libvirt's protocol: virsh, virt-install, libvirt's Python and other "
    "bindings\n"
    "drive it.  Guests are processes of their own (`trapeze run`): they run on when trapezed "
    "ends,\n"
    "and it finds them again.\n"
    "\n"
    "A first session, as an ordinary user:\n"
    "  trapezed --session &\n"
    "  virsh -c 'qemu:///session?socket='$XDG_RUNTIME_DIR/trapeze/libvirt-sock list --all\n"
    "\n"
    "As root (or by `systemctl start trapezed.socket`):\n"
    "  trapezed &\n"
    "  virsh -c 'qemu:///system?socket=/run/trapeze/libvirt-sock' list --all\n"
    "\n"
    "Folders                 system                   session\n"
    "  definitions           /etc/trapeze/domains     $XDG_CONFIG_HOME/trapeze/domains\n"
    "  running guests        /run/trapeze/guests      $XDG_RUNTIME_DIR/trapeze/guests\n"
    "  their output          /var/log/trapeze         $XDG_CACHE_HOME/trapeze/log\n"
    "  sockets               /run/trapeze             $XDG_RUNTIME_DIR/trapeze\n"
    "\n"
    "SIGTERM and SIGINT end trapezed and leave the guests running.  See trapezed(1).";

struct options {
    char *socket_dir, *config_dir, *state_dir, *trapeze, *log_level;
    int timeout;
    gboolean session, version;
};

struct daemon {
    struct options options;
    char *config_dir, *run_dir, *log_dir, *socket_dir, *trapeze;
    GLogLevelFlags log_levels;
    int lock;
    GMainLoop *loop;
    struct domains *domains;
    struct node *node;
    struct rpc_context context;
    struct server *server;
    guint timer;
};

static bool usage_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool usage_error(GError **error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, text);
    return false;
}

static bool parse(struct options *o, int *argc, char ***argv, GError **error)
{
    const GOptionEntry entries[] = {
        {"socket-dir", 0, 0, G_OPTION_ARG_FILENAME, &o->socket_dir,
         "Where the sockets stand: DIR/libvirt-sock, in system mode DIR/libvirt-sock-ro", "DIR"},
        {"session", 0, 0, G_OPTION_ARG_NONE, &o->session,
         "Session mode: this user's own guests (the default but for root)", NULL},
        {"config-dir", 0, 0, G_OPTION_ARG_FILENAME, &o->config_dir,
         "Where definitions are kept, a file NAME.xml each", "DIR"},
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &o->state_dir,
         "Where running guests have their sockets (DIR/guests) and their output goes (DIR/log)",
         "DIR"},
        {"trapeze", 0, 0, G_OPTION_ARG_FILENAME, &o->trapeze,
         "The program that guests are run with (default: the one beside trapezed)", "PROGRAM"},
        {"log-level", 0, 0, G_OPTION_ARG_STRING, &o->log_level,
         "What is written to stderr: error, warning (default), info or debug", "LEVEL"},
        {"timeout", 0, 0, G_OPTION_ARG_INT, &o->timeout,
         "End after this long without clients and without running guests", "SECONDS"},
        {"version", 'V', 0, G_OPTION_ARG_NONE, &o->version, "Print the version", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- the manager of virtual machines");

    g_option_context_set_description(context, description);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, error))
        return false;
    if (*argc > 1)
        return usage_error(error, "%s: trapezed takes no operands; see --help", (*argv)[1]);
    if (o->timeout < 0)
        return usage_error(error, "--timeout %d: give a number of seconds, 0 for none", o->timeout);
    return true;
}

static bool choose_log_level(struct daemon *d, GError **error)
{
    static const struct {
        const char *name;
        GLogLevelFlags levels;
    } all[] = {
        {"error", G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL},
        {"warning", G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING},
        {"info", G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING |
                     G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_INFO},
        {"debug", G_LOG_LEVEL_MASK},
    };
    const char *wanted = d->options.log_level ? d->options.log_level : "warning";

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
        if (!strcmp(all[i].name, wanted)) {
            d->log_levels = all[i].levels;
            return true;
        }
    return usage_error(error, "--log-level %s: error, warning, info or debug", wanted);
}

static GLogWriterOutput write_log(GLogLevelFlags level, const GLogField *fields, gsize count,
                                  gpointer data)
{
    const struct daemon *d = data;
    const char *text = "";
    const char *kind = level & G_LOG_LEVEL_ERROR || level & G_LOG_LEVEL_CRITICAL ? "error: "
                       : level & G_LOG_LEVEL_WARNING                             ? "warning: "
                                                                                 : "";

    if (!(level & d->log_levels))
        return G_LOG_WRITER_HANDLED;
    for (gsize i = 0; i < count; i++)
        if (!strcmp(fields[i].key, "MESSAGE"))
            text = fields[i].value;
    fprintf(stderr, "trapezed: %s%s\n", kind, text);
    return G_LOG_WRITER_HANDLED;
}

/* The program beside this one, else the one in PATH. */
static char *find_trapeze(GError **error)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self ? g_path_get_dirname(self) : g_strdup(".");
    g_autofree char *beside = g_build_filename(folder, "trapeze", NULL);
    char *found = g_file_test(beside, G_FILE_TEST_IS_EXECUTABLE)
                      ? g_steal_pointer(&beside)
                      : g_find_program_in_path("trapeze");

    if (!found)
        usage_error(error,
                    "there is no program `trapeze` beside trapezed (%s) nor in PATH: name it "
                    "with --trapeze",
                    folder);
    return found;
}

static char *absolute(const char *path)
{
    return g_canonicalize_filename(path, NULL);
}

/* Where everything is. */
static bool choose_folders(struct daemon *d, GError **error)
{
    const struct options *o = &d->options;
    bool session = o->session || geteuid() != 0;
    g_autofree char *run = session ? g_build_filename(g_get_user_runtime_dir(), "trapeze", NULL)
                                   : g_strdup("/run/trapeze");

    d->context.session = session;
    d->config_dir = o->config_dir ? absolute(o->config_dir)
                    : session ? g_build_filename(g_get_user_config_dir(), "trapeze/domains", NULL)
                              : g_strdup("/etc/trapeze/domains");
    d->run_dir = g_build_filename(o->state_dir ? o->state_dir : run, "guests", NULL);
    d->log_dir = o->state_dir ? g_build_filename(o->state_dir, "log", NULL)
                 : session    ? g_build_filename(g_get_user_cache_dir(), "trapeze/log", NULL)
                              : g_strdup("/var/log/trapeze");
    d->socket_dir = o->socket_dir ? absolute(o->socket_dir) : g_strdup(run);
    char **both[] = {&d->run_dir, &d->log_dir};
    for (unsigned i = 0; i < G_N_ELEMENTS(both); i++) {
        g_autofree char *given = *both[i];
        *both[i] = absolute(given);
    }
    if (o->trapeze && !g_file_test(o->trapeze, G_FILE_TEST_IS_EXECUTABLE))
        return usage_error(error, "--trapeze %s: there is no program of this name", o->trapeze);
    d->trapeze = o->trapeze ? absolute(o->trapeze) : find_trapeze(error);
    return d->trapeze;
}

/* One manager to a set of guests. */
static bool take_lock(struct daemon *d, GError **error)
{
    g_autofree char *path = g_build_filename(d->run_dir, "trapezed.pid", NULL);
    g_autofree char *above = g_path_get_dirname(d->run_dir);

    /* Beside it stands the read-only socket, which everybody must reach. */
    if (g_mkdir_with_parents(above, d->context.session ? 0700 : 0755) < 0 ||
        g_mkdir_with_parents(d->run_dir, 0700) < 0)
        return usage_error(error, "cannot make the folder %s: %s", d->run_dir, g_strerror(errno));
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->lock < 0)
        return usage_error(error, "cannot open %s: %s", path, g_strerror(errno));
    if (flock(d->lock, LOCK_EX | LOCK_NB) < 0)
        return usage_error(error,
                           "another manager has %s: stop it, or choose other folders with "
                           "--config-dir, --state-dir and --socket-dir",
                           path);
    if (ftruncate(d->lock, 0) < 0 || dprintf(d->lock, "%d\n", (int)getpid()) < 0)
        return usage_error(error, "cannot write %s: %s", path, g_strerror(errno));
    return true;
}

/* Clients and guests need descriptors. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static gboolean on_end_signal(void *data)
{
    struct daemon *d = data;

    g_main_loop_quit(d->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean on_hangup(void *data)
{
    (void)data;
    g_info("SIGHUP: there is nothing to read again; definitions change by clients alone");
    return G_SOURCE_CONTINUE;
}

static gboolean on_timeout(void *data)
{
    struct daemon *d = data;
    g_autoptr(GPtrArray) active = domains_list(d->domains, 1 /* active ones */);

    if (active->len)
        return G_SOURCE_CONTINUE;
    d->timer = 0;
    g_main_loop_quit(d->loop);
    return G_SOURCE_REMOVE;
}

static void on_idle_changed(bool idle, void *data)
{
    struct daemon *d = data;

    if (d->timer)
        g_source_remove(d->timer);
    d->timer = idle && d->options.timeout
                   ? g_timeout_add_seconds((guint)d->options.timeout, on_timeout, d)
                   : 0;
}

/* Once a boot: the run directory does not survive one. */
static void autostart(struct daemon *d)
{
    g_autofree char *path = g_build_filename(d->run_dir, "autostarted", NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return;
    close(fd);
    domains_autostart(d->domains);
}

static bool kvm_answers(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool set_up(struct daemon *d, GError **error)
{
    int passed = sd_listen_fds(1);
    const struct server_options options = {.folder = d->socket_dir,
                                           .passed = (unsigned)MAX(passed, 0),
                                           .idle_changed = on_idle_changed,
                                           .data = d};

    if (!take_lock(d, error))
        return false;
    d->domains = domains_open(&(struct domains_config){.config_dir = d->config_dir,
                                                       .run_dir = d->run_dir,
                                                       .log_dir = d->log_dir,
                                                       .trapeze = d->trapeze},
                              error);
    if (!d->domains)
        return false;
    d->node = node_new(d->trapeze, kvm_answers());
    d->context.domains = d->domains;
    d->context.node = d->node;
    d->server = server_open(&d->context, &options, error);
    return d->server;
}

static void run(struct daemon *d)
{
    d->loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, on_end_signal, d);
    g_unix_signal_add(SIGINT, on_end_signal, d);
    g_unix_signal_add(SIGHUP, on_hangup, d);
    autostart(d);
    on_idle_changed(true, d);
    g_info("ready: virsh -c 'qemu:///%s?socket=%s/libvirt-sock' list --all",
           d->context.session ? "session" : "system", d->socket_dir);
    sd_notify(0, "READY=1");
    g_main_loop_run(d->loop);
    sd_notify(0, "STOPPING=1");
    g_main_loop_unref(d->loop);
}

static void tear_down(struct daemon *d)
{
    if (d->timer)
        g_source_remove(d->timer);
    d->timer = 0;
    server_close(d->server);
    if (d->domains)
        domains_close(d->domains);
    node_free(d->node);
    if (d->lock >= 0)
        close(d->lock);
    char *strings[] = {d->config_dir,         d->run_dir,           d->log_dir,
                       d->socket_dir,         d->trapeze,           d->options.socket_dir,
                       d->options.config_dir, d->options.state_dir, d->options.trapeze,
                       d->options.log_level};
    for (unsigned i = 0; i < G_N_ELEMENTS(strings); i++)
        g_free(strings[i]);
}

int main(int argc, char **argv)
{
    struct daemon d = {.lock = -1};
    g_autoptr(GError) error = NULL;
    bool good;

    g_set_prgname("trapezed");
    good = parse(&d.options, &argc, &argv, &error) && choose_log_level(&d, &error);
    if (good && d.options.version) {
        printf("trapezed %s\n", TRAPEZE_VERSION);
    } else if (good) {
        g_log_set_writer_func(write_log, &d, NULL);
        signal(SIGPIPE, SIG_IGN);
        raise_file_limit();
        good = choose_folders(&d, &error) && set_up(&d, &error);
        if (good)
            run(&d);
    }
    if (!good)
        fprintf(stderr, "trapezed: %s\n", error->message);
    tear_down(&d);
    return good ? 0 : error->domain == G_OPTION_ERROR ? 2 : 1;
}
