/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Workloads whose time the kernel spends. */
#define _GNU_SOURCE
#include "workloads.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u

static int status_of(pid_t child)
{
    int status;
    if (child < 0)
        fail("fork");
    if (waitpid(child, &status, 0) != child)
        fail("waitpid");
    return status;
}

/* The cheapest system call that does not stay in user space. */
uint64_t system_calls(uint32_t amount)
{
    long self = syscall(SYS_getppid);
    uint64_t same = 0;
    for (uint32_t i = 0; i < amount; i++)
        same += syscall(SYS_getppid) == self;
    return same;
}

/* A byte to a child and back, AMOUNT times.  Both on one processor: what counts is the kernel's
 * switching, not how deep the other processor sleeps. */
uint64_t ping_pong(uint32_t amount)
{
    int there[2], back[2];
    cpu_set_t all, one;
    uint64_t sum = 0;

    if (sched_getaffinity(0, sizeof(all), &all))
        fail("sched_getaffinity");
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    if (sched_setaffinity(0, sizeof(one), &one) || pipe(there) || pipe(back))
        fail("pipe");
    pid_t child = fork();
    if (child == 0) {
        uint8_t byte;
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            byte += 3;
            if (write(back[1], &byte, 1) != 1)
                break;
        }
        _exit(CHILD_STATUS);
    }
    close(there[0]);
    close(back[1]);
    for (uint32_t i = 0; i < amount; i++) {
        uint8_t byte = (uint8_t)i;
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            fail("ping-pong");
        sum = sum * 31 + byte;
    }
    close(there[1]);
    close(back[0]);
    sum += WEXITSTATUS(status_of(child));
    sched_setaffinity(0, sizeof(all), &all);
    return sum;
}

/* A child that ends at once. */
uint64_t forks(uint32_t amount)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < amount; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(i & 127);
        sum += WEXITSTATUS(status_of(child));
    }
    return sum;
}

/* A child that becomes this program anew, and ends. */
uint64_t fork_exec(uint32_t amount)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < amount; i++) {
        pid_t child = fork();
        if (child == 0) {
            execl("/proc/self/exe", "bench", CHILD_ARGUMENT, (char *)NULL);
            _exit(1);
        }
        sum += WEXITSTATUS(status_of(child));
    }
    return sum;
}

/* 4 MiB of fresh memory, each page of it written once, AMOUNT times. */
uint64_t page_faults(uint32_t amount)
{
    const size_t size = 4u << 20;
    uint64_t sum = 0;
    for (uint32_t round = 0; round < amount; round++) {
        uint8_t *memory =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            fail("mmap");
        madvise(memory, size, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < size; at += PAGE)
            sum += ++memory[at];
        munmap(memory, size);
    }
    return sum;
}

/* One page of sixteen read-only and writable again, written each time. */
uint64_t protect(uint32_t amount)
{
    const size_t size = 16 * PAGE;
    uint64_t sum = 0;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    madvise(memory, size, MADV_NOHUGEPAGE);
    memset(memory, 1, size);
    for (uint32_t i = 0; i < amount; i++) {
        uint8_t *page = memory + i % 16 * PAGE;
        if (mprotect(page, PAGE, PROT_READ))
            fail("mprotect");
        sum += page[0];
        if (mprotect(page, PAGE, PROT_READ | PROT_WRITE))
            fail("mprotect");
        page[0]++;
    }
    munmap(memory, size);
    return sum;
}

/* A file made, written, read again and removed; eight at a time are there. */
uint64_t files(uint32_t amount)
{
    char name[64], data[3000], again[sizeof(data)];
    uint64_t sum = 0;
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7);
    for (uint32_t i = 0; i < amount + 8; i++) {
        struct stat st;
        if (i < amount) {
            snprintf(name, sizeof(name), FILES_FOLDER "/bench-%u", i);
            int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
            if (fd < 0 || write(fd, data, sizeof(data)) != sizeof(data))
                fail(name);
            close(fd);
        }
        if (i < 8)
            continue;
        snprintf(name, sizeof(name), FILES_FOLDER "/bench-%u", i - 8);
        int fd = open(name, O_RDONLY);
        if (fd < 0 || fstat(fd, &st) || read(fd, again, sizeof(again)) != st.st_size)
            fail(name);
        close(fd);
        sum = sum * 31 + (uint64_t)st.st_size + (uint8_t)again[i % sizeof(again)];
        if (unlink(name))
            fail(name);
    }
    return sum;
}
