/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The benchmark's program: one static program of fixed workloads, the same file natively and in
 * guests, where it is /init.  A workload is a function of its amount of work; it returns a checksum
 * that depends on everything that it computed and on nothing else.
 */
#ifndef TRAPEZE_BENCH_WORKLOADS_H
#define TRAPEZE_BENCH_WORKLOADS_H

#include <stdint.h>
#include <stdnoreturn.h>

/* The argument that a child of `fork-exec` is started with: it ends at once, with CHILD_STATUS. */
#define CHILD_ARGUMENT "--child"
#define CHILD_STATUS   7

/* Where `files` makes its files: a tmpfs on every side. */
#define FILES_FOLDER "/dev/shm"

/* compute.c: what needs nothing of the kernel */
uint64_t integer(uint32_t amount);
uint64_t sort(uint32_t amount);
uint64_t crc(uint32_t amount);
uint64_t floating(uint32_t amount);
uint64_t simd(uint32_t amount);
uint64_t chase(uint32_t amount);
uint64_t copy(uint32_t amount);
uint64_t recursion(uint32_t amount);
uint64_t indirect(uint32_t amount);

/* system.c: what the kernel does most of */
uint64_t system_calls(uint32_t amount);
uint64_t ping_pong(uint32_t amount);
uint64_t forks(uint32_t amount);
uint64_t fork_exec(uint32_t amount);
uint64_t page_faults(uint32_t amount);
uint64_t protect(uint32_t amount);
uint64_t files(uint32_t amount);

/* modify.c */
uint64_t self_modifying(uint32_t amount);

/* threads.c: two threads each */
uint64_t atomics(uint32_t amount);
uint64_t two_threads(uint32_t amount);

/* exits.c: accesses of QEMU's pci-testdev, in a guest only; the number that its device counted. */
uint64_t exit_port(uint32_t amount);
uint64_t exit_mmio(uint32_t amount);
uint64_t exit_ioeventfd(uint32_t amount);

/* Ends the program: WHAT failed, with errno's text. */
noreturn void fail(const char *what);

#endif
