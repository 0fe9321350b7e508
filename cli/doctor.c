/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `trapeze doctor`: what this host offers virtual machines, and what would make them faster. */
#include "commands.h"

#include "machine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void line(const char *subject, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void line(const char *subject, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    printf("%-18s%s\n", subject, text);
}

/* The file's text without the last newline, or NULL; g_free. */
static char *read_text(const char *path)
{
    char *text = NULL;

    if (g_file_get_contents(path, &text, NULL, NULL))
        g_strchomp(text);
    return text;
}

/* True when /proc/cpuinfo's flags have WORD. */
static bool cpu_has(const char *cpuinfo, const char *word)
{
    const char *flags = cpuinfo ? strstr(cpuinfo, "\nflags") : NULL;
    g_autofree char *first = flags ? g_strndup(flags + 1, strcspn(flags + 1, "\n")) : NULL;
    g_auto(GStrv) words = g_strsplit(first ? first : "", " ", -1);

    return g_strv_contains((const char *const *)words, word);
}

/* Returns whether the processor virtualizes. */
static bool check_processor(const char *cpuinfo)
{
    bool vmx = cpu_has(cpuinfo, "vmx"), svm = cpu_has(cpuinfo, "svm");

    line("processor", "%s", vmx ? "VT-x" : svm ? "AMD-V" : "neither VT-x nor AMD-V visible");
    line("vector units", "%s",
         cpu_has(cpuinfo, "avx2") ? "AVX2: guests get CPU model trapeze-v1"
                                  : "no AVX2: guests get CPU model trapeze-v0");
    return vmx || svm;
}

static void check_tap(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        line("TAP", "/dev/net/tun can be opened");
    else
        line("TAP", "no (/dev/net/tun: %s); networking by --net user needs none",
             g_strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void check_huge_pages(void)
{
    g_autofree char *mode = read_text("/sys/kernel/mm/transparent_hugepage/enabled");
    bool off = !mode || strstr(mode, "[never]");

    line(
        "huge pages", "%s",
        off ? "no: as root, echo madvise > /sys/kernel/mm/transparent_hugepage/enabled makes guest "
              "memory faster"
            : "transparent huge pages for guest memory");
}

static void check_namespaces(void)
{
    pid_t child = fork();
    int status = 1;

    if (child == 0)
        _exit(unshare(CLONE_NEWUSER) ? 1 : 0);
    if (child > 0)
        waitpid(child, &status, 0);
    line("user namespaces", "%s", status == 0 ? "yes" : "no (not needed yet)");
}

/* Other people's programs. */
static void check_preload(void)
{
    g_autofree char *library = with_kvm_library();

    if (library)
        line("trapeze with-kvm", "gives other programs (QEMU, kvmtool) a /dev/kvm in software: %s",
             library);
    else
        line("trapeze with-kvm", "no: libtrapeze-kvm.so is not installed");
}

/* What would get a better engine than software. */
static void advise(const struct engine_probe *probe, bool virtualizes)
{
    if (probe->hardware)
        line("advice", "none: guests run at hardware speed");
    else if (probe->usable || probe->instructions_per_second > 0)
        line("advice",
             "this host's KVM is itself an emulation; a host with nested virtualization, or "
             "a bare-metal one, would run guests at hardware speed");
    else if (virtualizes && !probe->present)
        line("advice", "load KVM: as root, modprobe kvm_intel or kvm_amd; in a container, pass "
                       "/dev/kvm in");
    else if (probe->present && access("/dev/kvm", R_OK | W_OK) && errno == EACCES)
        line("advice", "join the group `kvm` (as root: adduser USER kvm, then log in again)");
    else
        line("advice",
             "for hardware speed, enable virtualization in the firmware, or ask the cloud "
             "for an instance with nested virtualization");
}

int command_doctor(int argc, char **argv)
{
    g_autofree char *cpuinfo = read_text("/proc/cpuinfo");
    struct engine_probe probe;

    if (argc && strcmp(argv[0], "--help")) {
        fprintf(stderr, "trapeze: doctor: takes no flags or operands\n");
        return 1;
    }
    if (argc) {
        char subject[] = "doctor", *words[] = {subject};
        return command_help(1, words);
    }
    bool virtualizes = check_processor(cpuinfo);
    engine_probe_kernel(&probe);
    line("/dev/kvm", "%s", probe.text);
    check_tap();
    check_huge_pages();
    check_namespaces();
    check_preload();
    line("--engine auto", "%s, because %s", probe.hardware ? "kvm" : "software", probe.text);
    advise(&probe, virtualizes);
    engine_probe_clear(&probe);
    return 0;
}
