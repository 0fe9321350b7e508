/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* strain ROUNDS [CASE...]: all cases, or those named. */
#include "strain.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
    const char *name;
    strain_fn *run;
} cases[] = {
    {"self-modify", self_modify},
    {"self-modify-ahead", self_modify_ahead},
    {"modify-straddling", modify_straddling},
    {"jit-toggle", jit_toggle},
    {"jit-alias", jit_alias},
    {"jit-fork", jit_fork},
    {"jit-move", jit_move},
    {"cross-modify", cross_modify},
    {"cross-publish", cross_publish},
    {"cross-patch", cross_patch},
    {"unmap-data", unmap_data},
    {"unmap-code", unmap_code},
    {"protect-data", protect_data},
    {"discard-data", discard_data},
    {"signal-compute", signal_compute},
    {"signal-registers", signal_registers},
    {"signal-x87", signal_x87},
    {"signal-flags", signal_flags},
};

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED: ");
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    va_end(arguments);
    _exit(1);
}

void *pages(unsigned long bytes, int protection)
{
    void *at = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

unsigned write_function(uint8_t *at, uint32_t value)
{
    at[0] = 0xb8; /* mov eax, value; ret */
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
    return 6;
}

static void move_to(pthread_t thread, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK(pthread_setaffinity_np(thread, sizeof(set), &set) == 0);
}

pthread_t beside(void *(*fn)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fn, argument) == 0);
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
        move_to(pthread_self(), 0);
        move_to(thread, 1);
    }
    return thread;
}

static bool named(const char *name, char **names)
{
    if (!*names)
        return true;
    for (; *names; names++) {
        if (!strcmp(name, *names))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    if (!rounds) {
        fprintf(stderr, "usage: strain ROUNDS [CASE...]\n");
        return 2;
    }
    for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        if (!named(cases[n].name, argv + 2))
            continue;
        printf("strain %s: ", cases[n].name);
        fflush(stdout);
        printf("%016llx\n", (unsigned long long)cases[n].run(rounds));
        fflush(stdout);
    }
    printf("strain: all right\n");
    return 0;
}
