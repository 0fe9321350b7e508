/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `trapeze run`: flags into a configuration, and the machine's life on this terminal. */
#include "commands.h"
#include "options.h"

#include "common/base/base.h"
#include "machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MEBI (1ull << 20)

/* What the flags fill in. */
struct run_target {
    struct machine_config config;
    char *pidfile;
    bool help;
    bool no_net;
};

static bool wrong(GError **error, const char *value, const char *advice)
{
    g_set_error(error, CLI_ERROR, 0, "`%s`: %s", value, advice);
    return false;
}

static bool set(char **field, const char *value)
{
    g_free(*field);
    *field = g_strdup(value);
    return true;
}

/* ---- flags ---- */

static bool take_kernel(void *target, const char *value, GError **error)
{
    (void)error;
    return set(&((struct run_target *)target)->config.kernel, value);
}

static bool take_initrd(void *target, const char *value, GError **error)
{
    (void)error;
    return set(&((struct run_target *)target)->config.initrd, value);
}

static bool take_append(void *target, const char *value, GError **error)
{
    (void)error;
    return set(&((struct run_target *)target)->config.append, value);
}

static bool take_serial(void *target, const char *value, GError **error)
{
    (void)error; /* checked when the back-end is opened */
    return set(&((struct run_target *)target)->config.serial, value);
}

static bool take_console(void *target, const char *value, GError **error)
{
    (void)error; /* likewise */
    return set(&((struct run_target *)target)->config.console, value);
}

static bool take_cpu(void *target, const char *value, GError **error)
{
    (void)error; /* likewise, by the CPU model */
    return set(&((struct run_target *)target)->config.cpu_model, value);
}

static bool take_memory(void *target, const char *value, GError **error)
{
    const char *advice = "give a size such as 512M or 2G (at least 4M)";
    char *end;
    guint64 number = g_ascii_strtoull(value, &end, 10);
    unsigned shift = 20;

    if (end == value || !g_ascii_isdigit(*value))
        return wrong(error, value, advice);
    if (*end && strchr("kKmMgGtT", *end))
        shift = 10 * (1 + (unsigned)(strchr("kmgt", g_ascii_tolower(*end++)) - "kmgt"));
    if (*end == 'i')
        end++;
    if (*end == 'B')
        end++;
    if (*end || number > UINT64_MAX >> shift || number << shift < MACHINE_MEMORY_MIN ||
        (number << shift) % MEBI)
        return wrong(error, value, advice);
    ((struct run_target *)target)->config.memory = number << shift;
    return true;
}

static bool take_cpus(void *target, const char *value, GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, 1, MACHINE_CPUS_MAX, &number, NULL))
        return wrong(error, value, "give a number of vCPUs from 1 to 255");
    ((struct run_target *)target)->config.cpus = (unsigned)number;
    return true;
}

static bool add_disk(struct run_target *t, const char *path, bool readonly)
{
    struct disk_config *d = g_new0(struct disk_config, 1);

    d->path = g_strdup(path);
    d->readonly = readonly;
    g_ptr_array_add(t->config.disks, d);
    return true;
}

static bool take_disk(void *target, const char *value, GError **error)
{
    const char *comma = strrchr(value, ',');
    bool readonly = comma && !strcmp(comma, ",readonly");
    g_autofree char *path = g_strndup(value, readonly ? (size_t)(comma - value) : strlen(value));

    if (!*path)
        return wrong(error, value, "give the path of a raw image, as in --disk disk.img,readonly");
    if (comma && !readonly && !g_file_test(value, G_FILE_TEST_EXISTS))
        return wrong(error, value, "the only option is `readonly`, as in --disk disk.img,readonly");
    return add_disk(target, path, readonly);
}

static bool take_image(void *target, const char *value, GError **error)
{
    struct run_target *t = target;

    (void)error;
    if (*value == 0)
        return wrong(error, value, "give the path of a disk image");
    add_disk(t, value, false);
    /* The positional image is the first disk, wherever it stands. */
    struct disk_config *d = g_ptr_array_steal_index(t->config.disks, t->config.disks->len - 1);
    g_ptr_array_insert(t->config.disks, 0, d);
    return true;
}

static bool take_net(void *target, const char *value, GError **error)
{
    struct run_target *t = target;

    if (!strcmp(value, "none")) {
        t->no_net = true;
        return true;
    }
    if (strcmp(value, "user") && !g_str_has_prefix(value, "user,"))
        return wrong(error, value, "give none, or user[,forward=tcp:127.0.0.1:2222-:22]");
    g_ptr_array_add(t->config.nets, g_strdup(value));
    return true;
}

static bool take_qmp(void *target, const char *value, GError **error)
{
    (void)error; /* checked when it is opened */
    g_ptr_array_add(((struct run_target *)target)->config.qmp, g_strdup(value));
    return true;
}

static bool take_gdb(void *target, const char *value, GError **error)
{
    (void)error; /* likewise */
    return set(&((struct run_target *)target)->config.gdb, value);
}

static bool take_name(void *target, const char *value, GError **error)
{
    if (!*value || !g_utf8_validate(value, -1, NULL))
        return wrong(error, value, "give a name, in UTF-8");
    return set(&((struct run_target *)target)->config.name, value);
}

static bool take_uuid(void *target, const char *value, GError **error)
{
    if (!g_uuid_string_is_valid(value))
        return wrong(error, value, "give a UUID, as in 01234567-89ab-cdef-0123-456789abcdef");
    g_autofree char *lower = g_ascii_strdown(value, -1);
    return set(&((struct run_target *)target)->config.uuid, lower);
}

static bool take_pidfile(void *target, const char *value, GError **error)
{
    (void)error; /* likewise */
    return set(&((struct run_target *)target)->pidfile, value);
}

static bool take_engine(void *target, const char *value, GError **error)
{
    static const struct {
        const char *name;
        enum engine_choice choice;
    } engines[] = {{"auto", ENGINE_AUTO}, {"kvm", ENGINE_KVM}, {"software", ENGINE_SOFTWARE}};

    for (unsigned i = 0; i < ARRAY_SIZE(engines); i++)
        if (!strcmp(value, engines[i].name)) {
            ((struct run_target *)target)->config.engine = engines[i].choice;
            return true;
        }
    return wrong(error, value, "give auto, kvm or software");
}

static bool take_translator(void *target, const char *value, GError **error)
{
    static const struct {
        const char *name;
        enum translator_choice choice;
    } choices[] = {{"off", TRANSLATOR_OFF}, {"on", TRANSLATOR_ON}, {"check", TRANSLATOR_CHECK}};

    for (unsigned i = 0; i < ARRAY_SIZE(choices); i++)
        if (!strcmp(value, choices[i].name)) {
            ((struct run_target *)target)->config.translator = choices[i].choice;
            return true;
        }
    return wrong(error, value, "give on, off or check");
}

/* What the environment says holds for guests that the flag says nothing of. */
static bool default_translator(struct run_target *t, GError **error)
{
    const char *value = g_getenv("TRAPEZE_TRANSLATOR");

    if (t->config.translator != TRANSLATOR_DEFAULT || !value || !*value)
        return true;
    t->config.translator_optional = true;
    if (take_translator(t, value, error))
        return true;
    g_prefix_error(error, "TRAPEZE_TRANSLATOR in the environment: ");
    return false;
}

static bool take_trace_translation(void *target, const char *value, GError **error)
{
    struct machine_config *c = &((struct run_target *)target)->config;
    const char *digits = g_str_has_prefix(value, "0x") ? value + 2 : value;
    guint64 address;

    if (!g_ascii_string_to_unsigned(digits, 16, 0, G_MAXUINT64, &address, NULL))
        return wrong(error, value, "give a linear address, hexadecimal");
    c->trace_translation = true;
    c->trace_address = address;
    return true;
}

static bool take_pit(void *target, const char *value, GError **error)
{
    if (strcmp(value, "on") && strcmp(value, "off"))
        return wrong(error, value, "give on or off");
    ((struct run_target *)target)->config.pit = !strcmp(value, "on");
    return true;
}

#define SWITCH(field)                                                                              \
    static bool take_##field(void *target, const char *value, GError **error)                      \
    {                                                                                              \
        (void)value;                                                                               \
        (void)error;                                                                               \
        ((struct run_target *)target)->config.field = true;                                        \
        return true;                                                                               \
    }
SWITCH(no_reboot)
SWITCH(no_shutdown)
SWITCH(paused)
SWITCH(stats)
SWITCH(perf_map)
SWITCH(verbose)
SWITCH(test_device)

static bool take_help(void *target, const char *value, GError **error)
{
    (void)value;
    (void)error;
    ((struct run_target *)target)->help = true;
    return true;
}

static const struct option_row rows[] = {
    {"kernel", "FILE",
     "boot this kernel: a bzImage (vmlinuz), an ELF kernel with a\nPVH note, or a multiboot image",
     take_kernel},
    {"initrd", "FILE",
     "its initial RAM disk; for multiboot images a list of modules,\n\"FILE[ ARGUMENTS],...\"",
     take_initrd},
    {"append", "TEXT", "its command line", take_append},
    {"memory", "SIZE", "guest RAM: 512M, 2G; a bare number is mebibytes (default 512M)",
     take_memory},
    {"cpus", "N", "number of vCPUs, 1 to 255 (default 1)", take_cpus},
    {"disk", "FILE[,readonly]", "a raw image as a virtio disk; may be repeated", take_disk},
    {"net", "user[,...]|none",
     "network without root rights (default user); options:\n"
     "forward=tcp:127.0.0.1:2222-:22 lets port 2222 of the host\n"
     "reach port 22 of the guest (udp: likewise; without an\n"
     "address only this host may connect); host-loopback=off keeps\n"
     "the guest from services of 127.0.0.1, restrict=on from all\n"
     "but forwards; mac=52:54:00:12:34:56",
     take_net},
    {"serial", "WHERE", "the serial port: stdio (default), none, pty, unix:PATH,\nfile:PATH",
     take_serial},
    {"console", "WHERE", "add a virtio console, hvc0 in Linux: WHERE as with --serial",
     take_console},
    {"engine", "auto|kvm|software",
     "who runs the guest: Linux's KVM, or Trapeze's processor in\n"
     "software; auto tries KVM out and says what it took and why",
     take_engine},
    {"translator", "on|off|check",
     "whether the software engine translates code (the default, unless\n"
     "TRAPEZE_TRANSLATOR in the environment says else) or interprets\n"
     "it; check does both and compares, slowly, for one vCPU",
     take_translator},
    {"cpu", "MODEL[,...]", "what the guest's processor offers; see `trapeze help cpu`", take_cpu},
    {"pit", "on|off", "the old timer chip (default on)", take_pit},
    {"qmp", "unix:PATH|fd:N",
     "let clients of QEMU's protocol QMP manage the machine, by a\n"
     "socket made at PATH or an inherited one; may be repeated",
     take_qmp},
    {"gdb", "tcp:[ADDRESS]:PORT|unix:PATH",
     "let GDB debug the guest, as in `target remote :1234`; without\n"
     "an address only from this host",
     take_gdb},
    {"paused", NULL, "wait for QMP's or the debugger's word before the guest starts", take_paused},
    {"name", "NAME", "the machine's name, for QMP", take_name},
    {"uuid", "UUID", "its UUID, for QMP", take_uuid},
    {"pidfile", "FILE", "write the process's number there, and lock it while it runs",
     take_pidfile},
    {"no-reboot", NULL, "end when the guest resets", take_no_reboot},
    {"no-shutdown", NULL, "stay when the guest powers off, until QMP or a signal ends it",
     take_no_shutdown},
    {"test-device", NULL, "add the device that kvm-unit-tests know", take_test_device},
    {"stats", NULL, "print engine and vCPU exits by reason at the end", take_stats},
    {"trace-translation", "ADDR",
     "print the translation of the block at this linear address\n(hexadecimal) at the end",
     take_trace_translation},
    {"perf-map", NULL, "write /tmp/perf-PID.map: names of translations for perf", take_perf_map},
    {"verbose", NULL, "say more while running", take_verbose},
    {"help", NULL, "this", take_help},
};

static void print_help(void)
{
    printf("Usage: trapeze run [IMAGE] [FLAGS]\n\n"
           "Runs a virtual machine on this terminal.  Ctrl-A x leaves, Ctrl-A h lists more keys.\n"
           "IMAGE is a raw disk image, taken as the first disk.\n\n");
    options_print(rows, ARRAY_SIZE(rows));
    printf("\nExit status: 0 when the guest powers off, resets under --no-reboot, or is left by\n"
           "Ctrl-A x; (V << 1) | 1 when it writes V to port 0xf4; 1 with a message when something\n"
           "is wrong; 128 + N when signal N ended it.  SIGTERM and SIGINT press the guest's power\n"
           "button first; a second one ends it at once.\n\n"
           "Examples:\n"
           "  A kernel with its initramfs, console on this terminal:\n"
           "    trapeze run --kernel vmlinuz --initrd initrd.img --append console=ttyS0\n"
           "  Debian on a disk, two vCPUs, ssh on port 2222 of this host:\n"
           "    trapeze run disk.img --kernel vmlinuz --initrd initrd.img --cpus 2 --memory 1G \\\n"
           "      --append \"root=/dev/vda console=ttyS0\" --net user,forward=tcp::2222-:22\n"
           "  A test kernel of kvm-unit-tests:\n"
           "    trapeze run --kernel x2apic.flat --test-device --net none; echo $?\n");
}

/* ---- running ---- */

/* The first asks the guest, if it runs, by its power button; the second does not ask. */
struct terminator {
    struct machine *machine;
    int number;
    bool asked;
};

static gboolean on_terminate(gpointer data)
{
    struct terminator *t = data;

    if (t->asked || t->machine->status != MACHINE_RUNNING) {
        machine_request_stop(t->machine, STOP_SIGNAL, 128 + t->number);
    } else {
        machine_log(t->machine, true,
                    "signal %d: pressing the guest's power button; once more "
                    "ends it at once",
                    t->number);
        machine_power_button(t->machine);
        t->asked = true;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean on_hang_up(gpointer data)
{
    machine_request_stop(data, STOP_SIGNAL, 128 + SIGHUP);
    return G_SOURCE_CONTINUE;
}

static bool pidfile_fail(GError **error, const char *path, const char *what)
{
    g_set_error(error, CLI_ERROR, 0, "--pidfile %s: %s", path, what);
    return false;
}

/* Writes this process's number to PATH, and holds a lock on it in *fd until that is closed. */
static bool write_pidfile(const char *path, int *fd, GError **error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (*fd < 0)
        return pidfile_fail(error, path, g_strerror(errno));
    if (fcntl(*fd, F_SETLK, &lock) < 0)
        return pidfile_fail(error, path, "another running machine has it; give another file");
    if (ftruncate(*fd, 0) < 0 || dprintf(*fd, "%d\n", (int)getpid()) < 0)
        return pidfile_fail(error, path, g_strerror(errno));
    return true;
}

static int run(const struct machine_config *config, GError **error)
{
    struct machine *m = machine_new(config, NULL, error);

    if (!m)
        return 1;
    struct terminator term = {m, SIGTERM, false}, interrupt = {m, SIGINT, false};
    guint sources[] = {g_unix_signal_add(SIGTERM, on_terminate, &term),
                       g_unix_signal_add(SIGINT, on_terminate, &interrupt),
                       g_unix_signal_add(SIGHUP, on_hang_up, m)};
    int status = machine_run(m, error);
    for (unsigned i = 0; i < ARRAY_SIZE(sources); i++)
        g_source_remove(sources[i]);
    if (config->stats)
        machine_print_stats(m);
    if (config->trace_translation)
        machine_print_translation(m);
    machine_free(m);
    return status;
}

static int run_with_pidfile(const struct run_target *t, GError **error)
{
    int fd = -1, status = 1;

    if (!t->pidfile || write_pidfile(t->pidfile, &fd, error)) {
        status = run(&t->config, error);
        if (t->pidfile)
            unlink(t->pidfile);
    }
    if (fd >= 0)
        close(fd);
    return status;
}

int command_run(int argc, char **argv)
{
    struct run_target t = {0};
    const struct command_line line = {rows, ARRAY_SIZE(rows), &t, take_image};
    GError *error = NULL;
    int status = 1;

    signal(SIGPIPE, SIG_IGN); /* a reader that goes away is noticed by write */
    machine_config_init(&t.config);
    if (options_parse(&line, argc, argv, &error)) {
        if (!t.no_net && !t.config.nets->len)
            g_ptr_array_add(t.config.nets, g_strdup("user"));
        if (t.help) {
            print_help();
            status = 0;
        } else if (default_translator(&t, &error)) {
            status = run_with_pidfile(&t, &error);
        }
    }
    if (error)
        fprintf(stderr, "trapeze: %s\n", error->message);
    g_clear_error(&error);
    machine_config_clear(&t.config);
    g_free(t.pidfile);
    return status;
}
