/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests' processes: spawning, finding again, watching, ending. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 2048 /* bytes of a log that an error shows */
#define BACKLOG    8
/* Descriptors of the guest's process. */
#define FD_QMP  3
#define FD_LOCK 4
#define FD_FREE 5
#define FD_HIGH 16 /* out of the way of those, before they are put in place */

struct process {
    pid_t pid;
    int pidfd;
    guint watch;
    process_ended ended;
    void *data;
    char *log;
    off_t log_start; /* where this guest's output begins */
};

static void *fail(GError **error, const char *what, const char *path)
{
    manager_error_set(error, MANAGER_ERROR_SYSTEM, "%s '%s': %s", what, path, g_strerror(errno));
    return NULL;
}

static char *path_of(const char *run_dir, const char *uuid, const char *suffix)
{
    return g_strdup_printf("%s/%s.%s", run_dir, uuid, suffix);
}

/* ---- the monitor's socket ---- */

/* ADDRESS of the socket in RUN_DIR.  Folders may have longer names than an address can hold, so it
 * goes by way of a descriptor, which is to be closed after use. */
static int socket_address(const char *run_dir, const char *uuid, struct sockaddr_un *address)
{
    int folder = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s.qmp", folder, uuid);
    return folder;
}

int process_connect(const char *run_dir, const char *uuid, GError **error)
{
    struct sockaddr_un address;
    int folder = socket_address(run_dir, uuid, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (folder < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        fail(error, "Cannot connect to the monitor of guest", uuid);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (folder >= 0)
        close(folder);
    return fd;
}

static int monitor_listen(const char *run_dir, const char *uuid, GError **error)
{
    g_autofree char *path = path_of(run_dir, uuid, "qmp");
    struct sockaddr_un address;
    int folder = socket_address(run_dir, uuid, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(path);
    if (folder < 0 || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(path, 0600) < 0 || listen(fd, BACKLOG) < 0) {
        fail(error, "Cannot make the socket", path);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (folder >= 0)
        close(folder);
    return fd;
}

/* ---- the lock ---- */

static int lock_open(const char *run_dir, const char *uuid, int flags, GError **error)
{
    g_autofree char *path = path_of(run_dir, uuid, "lock");
    int fd = open(path, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        fail(error, "Cannot open", path);
    return fd;
}

/* The lock of a guest that does not run, emptied; -1 with ERROR set. */
static int lock_take(const char *run_dir, const char *uuid, GError **error)
{
    int fd = lock_open(run_dir, uuid, O_CREAT, error);

    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_INVALID,
                          "a process of this guest runs already");
        close(fd);
        return -1;
    }
    if (ftruncate(fd, 0) < 0) {
        fail(error, "Cannot write the lock of guest", uuid);
        close(fd);
        return -1;
    }
    return fd;
}

/* Whether somebody holds the lock FD is open on. */
static bool lock_is_held(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        return errno == EWOULDBLOCK;
    flock(fd, LOCK_UN);
    return false;
}

/* The process id in the lock's file, or 0. */
static pid_t lock_read(int fd)
{
    char text[16];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);

    if (n <= 0)
        return 0;
    text[n] = 0;
    char *end;
    long pid = strtol(text, &end, 10);
    return *end == '\n' && pid > 1 && pid <= G_MAXINT ? (pid_t)pid : 0;
}

/* ---- a process ---- */

static gboolean on_ended(gint fd, GIOCondition condition, gpointer data)
{
    struct process *p = data;
    siginfo_t info;

    (void)condition;
    waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG); /* if it is a child of ours */
    p->watch = 0;
    p->ended(p->data);
    return G_SOURCE_REMOVE;
}

static struct process *process_new(pid_t pid, int pidfd, process_ended ended, void *data)
{
    struct process *p = g_new0(struct process, 1);

    p->pid = pid;
    p->pidfd = pidfd;
    p->ended = ended;
    p->data = data;
    p->watch = g_unix_fd_add(pidfd, G_IO_IN, on_ended, p);
    return p;
}

void process_free(struct process *p)
{
    if (!p)
        return;
    if (p->watch)
        g_source_remove(p->watch);
    close(p->pidfd);
    g_free(p->log);
    g_free(p);
}

pid_t process_id(const struct process *p)
{
    return p->pid;
}

void process_kill(struct process *p)
{
    pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
}

struct process *process_find(const char *run_dir, const char *uuid, process_ended ended, void *data,
                             bool *born)
{
    struct process *p = NULL;
    int fd = lock_open(run_dir, uuid, 0, NULL);

    if (born)
        *born = false;
    if (fd < 0)
        return NULL;
    if (lock_is_held(fd)) {
        pid_t pid = lock_read(fd);
        int pidfd = pid ? pidfd_open(pid, 0) : -1;

        /* If it is still held, the process that was opened is the one that holds it. */
        if (pidfd >= 0 && lock_is_held(fd))
            p = process_new(pid, pidfd, ended, data);
        else if (pidfd >= 0)
            close(pidfd);
        if (born)
            *born = !p && lock_is_held(fd);
    }
    close(fd);
    return p;
}

void process_clean(const char *run_dir, const char *uuid)
{
    static const char *const suffixes[] = {"qmp", "lock"};

    for (unsigned i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *path = path_of(run_dir, uuid, suffixes[i]);

        unlink(path);
    }
}

/* ---- the log ---- */

static int log_open(const char *log, char **arguments, GError **error)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        fail(error, "Cannot open the log", log);
        return -1;
    }
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%d %H:%M:%S+0000");
    g_autofree char *line = g_strjoinv(" ", arguments);
    dprintf(fd, "%s: starting up: %s\n", time, line);
    return fd;
}

char *process_output(const struct process *p)
{
    char text[OUTPUT_MAX + 1];
    int fd = p->log ? open(p->log, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return g_strdup("");
    off_t end = lseek(fd, 0, SEEK_END);
    off_t start = MAX(p->log_start, end - OUTPUT_MAX);
    ssize_t n = pread(fd, text, OUTPUT_MAX, start);
    close(fd);
    text[MAX(n, 0)] = 0;
    return g_strchomp(g_utf8_make_valid(text, -1));
}

/* ---- spawning ---- */

/* The environment without what service managers gave the manager alone. */
static char **environment(void)
{
    char **all = g_get_environ();

    all = g_environ_unsetenv(all, "LISTEN_FDS");
    all = g_environ_unsetenv(all, "LISTEN_PID");
    all = g_environ_unsetenv(all, "LISTEN_FDNAMES");
    all = g_environ_unsetenv(all, "NOTIFY_SOCKET");
    return g_environ_unsetenv(all, "WATCHDOG_USEC");
}

struct birth {
    char **arguments, **environment;
    int null, log, qmp, lock;
};

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(127);
}

/* In the new process: only calls that are safe after a fork. */
static void G_GNUC_NORETURN be_born(const struct birth *b)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    char pid[16];
    int null = fcntl(b->null, F_DUPFD, FD_HIGH), log = fcntl(b->log, F_DUPFD, FD_HIGH);
    int qmp = fcntl(b->qmp, F_DUPFD, FD_HIGH), lock = fcntl(b->lock, F_DUPFD, FD_HIGH);

    setsid();
    for (int signal = 1; signal < SIGRTMIN; signal++)
        sigaction(signal, &usual, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    dup2(qmp, FD_QMP);
    dup2(lock, FD_LOCK);
    close_range(FD_FREE, ~0u, 0);
    int length = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (pwrite(FD_LOCK, pid, (size_t)length, 0) != length || chdir("/") < 0) {
        say("trapezed: cannot prepare the guest's process\n");
        _exit(127);
    }
    execve(b->arguments[0], b->arguments, b->environment);
    say("trapezed: cannot run ");
    say(b->arguments[0]);
    say(": ");
    say(strerrordesc_np(errno));
    say("\n");
    _exit(127);
}

struct process *process_spawn(const char *run_dir, const char *uuid, char **arguments,
                              const char *log, process_ended ended, void *data, GError **error)
{
    struct process *p = NULL;
    struct birth b = {arguments, environment(), -1, -1, -1, -1};

    b.lock = lock_take(run_dir, uuid, error);
    b.qmp = b.lock < 0 ? -1 : monitor_listen(run_dir, uuid, error);
    b.log = b.qmp < 0 ? -1 : log_open(log, arguments, error);
    b.null = b.log < 0 ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (b.null >= 0) {
        off_t log_start = lseek(b.log, 0, SEEK_END);
        pid_t pid = fork();

        if (pid == 0)
            be_born(&b);
        int pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
        if (pidfd >= 0) {
            p = process_new(pid, pidfd, ended, data);
            p->log = g_strdup(log);
            p->log_start = log_start;
        } else {
            fail(error, "Cannot start", arguments[0]);
            if (pid > 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
            }
        }
    }
    int fds[] = {b.null, b.log, b.qmp, b.lock};
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    g_strfreev(b.environment);
    return p;
}

/* ---- arguments ---- */

static void add(GPtrArray *a, const char *flag, const char *value)
{
    g_ptr_array_add(a, g_strdup(flag));
    if (value)
        g_ptr_array_add(a, g_strdup(value));
}

static void add_devices(GPtrArray *a, const struct definition *d)
{
    for (guint i = 0; i < d->disks->len; i++) {
        const struct definition_disk *disk = d->disks->pdata[i];
        g_autofree char *value = g_strconcat(disk->path, disk->readonly ? ",readonly" : NULL, NULL);

        add(a, "--disk", value);
    }
    for (guint i = 0; i < d->nets->len; i++) {
        const struct definition_net *net = d->nets->pdata[i];
        g_autofree char *value = g_strconcat("user,mac=", net->mac, net->forwards, NULL);

        add(a, "--net", value);
    }
    if (!d->nets->len)
        add(a, "--net", "none");
    add(a, "--serial", d->serial.present ? d->serial.where : "none");
    if (d->console.present)
        add(a, "--console", d->console.where);
}

char **process_arguments(const struct definition *d)
{
    GPtrArray *a = g_ptr_array_new();
    g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT "M", (d->memory + 1023) / 1024);
    g_autofree char *cpus = g_strdup_printf("%u", d->vcpus);

    add(a, d->emulator, "run");
    add(a, "--name", d->name);
    add(a, "--uuid", d->uuid_text);
    add(a, "--qmp", "fd:" G_STRINGIFY(FD_QMP));
    add(a, "--paused", NULL);
    add(a, "--no-shutdown", NULL);
    if (d->on_reboot == ACTION_DESTROY)
        add(a, "--no-reboot", NULL);
    add(a, "--engine", d->software ? "software" : "auto");
    add(a, "--memory", memory);
    add(a, "--cpus", cpus);
    if (d->cpu)
        add(a, "--cpu", d->cpu);
    if (d->kernel)
        add(a, "--kernel", d->kernel);
    if (d->initrd)
        add(a, "--initrd", d->initrd);
    if (d->cmdline)
        add(a, "--append", d->cmdline);
    add_devices(a, d);
    g_ptr_array_add(a, NULL);
    return (char **)g_ptr_array_free(a, FALSE);
}
