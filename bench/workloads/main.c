/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usage: bench WORKLOAD...
 * Runs the workloads and prints a line for each: bench: NAME SECONDS CHECKSUM.  As a guest's first
 * process it takes the names from the kernel's command line, bench.run=NAME,NAME..., and powers
 * off.
 */
#define _GNU_SOURCE
#include "workloads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The amounts: what takes some 20 to 50 ms natively, so that TCG takes less than some seconds; less
 * where TCG is slower still.  Changing one makes figures incomparable with older ones. */
static const struct workload {
    const char *name;
    uint64_t (*run)(uint32_t amount);
    uint32_t amount;
} workloads[] = {
    {"integer", integer, 8000000},
    {"sort", sort, 8},
    {"crc", crc, 40},
    {"floating", floating, 2000000},
    {"simd", simd, 20000},
    {"chase", chase, 2000000},
    {"memcpy", copy, 200},
    {"recursion", recursion, 32},
    {"indirect", indirect, 5000000},
    {"system-calls", system_calls, 100000},
    {"pipe", ping_pong, 5000},
    {"fork", forks, 100},
    {"fork-exec", fork_exec, 50},
    {"page-faults", page_faults, 8},
    {"mprotect", protect, 4000},
    {"files", files, 1000},
    {"self-modifying", self_modifying, 100000},
    {"atomics", atomics, 1000000},
    {"two-threads", two_threads, 150000},
    {"exit-port", exit_port, 30000},
    {"exit-mmio", exit_mmio, 30000},
    {"exit-ioeventfd", exit_ioeventfd, 30000},
};

noreturn void fail(const char *what)
{
    printf("bench: failed: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    _exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run(const char *name)
{
    for (unsigned i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
        if (strcmp(workloads[i].name, name))
            continue;
        printf("bench: begin %s\n", name);
        fflush(stdout);
        double start = now();
        uint64_t sum = workloads[i].run(workloads[i].amount);
        double seconds = now() - start;
        printf("bench: %s %.6f %016llx\n", name, seconds, (unsigned long long)sum);
        fflush(stdout);
        return;
    }
    errno = EINVAL;
    fail(name);
}

/* The file systems that workloads want, and the names from the command line, to TEXT. */
static void start_as_init(char *text, size_t size)
{
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    for (int fd = 0; fd < 3; fd++) {
        int console = open("/dev/console", O_RDWR);
        if (console >= 0 && console != fd)
            dup2(console, fd);
    }
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir(FILES_FOLDER, 0755);
    if (mount("proc", "/proc", "proc", 0, NULL) || mount("sys", "/sys", "sysfs", 0, NULL) ||
        mount("shm", FILES_FOLDER, "tmpfs", 0, NULL))
        fail("mount");
    int fd = open("/proc/cmdline", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n < 0)
        fail("/proc/cmdline");
    text[n] = 0;
    close(fd);
}

int main(int argc, char **argv)
{
    static char line[4096];
    if (argc == 2 && !strcmp(argv[1], CHILD_ARGUMENT))
        return CHILD_STATUS;
    if (getpid() != 1) {
        for (int i = 1; i < argc; i++)
            run(argv[i]);
        return 0;
    }
    start_as_init(line, sizeof(line));
    const char *names = strstr(line, "bench.run=");
    if (!names) {
        errno = ENOENT;
        fail("bench.run= on the command line");
    }
    char *list = strtok(strdup(names), " \n");
    for (char *name = strtok(list + strlen("bench.run="), ","); name; name = strtok(NULL, ","))
        run(name);
    printf("bench: end\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 1;
}
