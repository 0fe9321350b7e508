/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The node: what this host is and has, as libvirt's clients ask for it.  Numbers come from /proc
 * and /sys when asked for; what was asked once is not remembered, but the identity.
 */
#ifndef TRAPEZE_MANAGER_NODE_H
#define TRAPEZE_MANAGER_NODE_H

#include "manager/error.h"

#include <stdbool.h>
#include <stdint.h>

#define NODE_VCPUS_MAX          255     /* of one guest */
#define NODE_HYPERVISOR_VERSION 7002000 /* major * 1000000 + minor * 1000 + micro: gates features  \
                                         */
#define NODE_LIBRARY_VERSION 9000000

struct node;

/* EMULATOR is the program that guests run by default; HAS_KVM whether type='kvm' is offered. */
struct node *node_new(const char *emulator, bool has_kvm);
void node_free(struct node *n);

struct node_info {
    const char *model; /* of the instruction set: x86_64 */
    uint64_t memory;   /* KiB */
    unsigned cpus, mhz, cells, sockets, cores, threads;
};
void node_info(const struct node *n, struct node_info *info);

/* virConnectGetCapabilities' document; g_free. */
char *node_capabilities(const struct node *n);
/* virConnectGetDomainCapabilities'; each argument but N may be NULL for the default.  NULL with
 * ERROR set for what guests here cannot be. */
char *node_domain_capabilities(const struct node *n, const char *emulator, const char *arch,
                               const char *machine, const char *type, GError **error);

char *node_hostname(void); /* g_free */

/* Bytes. */
struct node_memory {
    uint64_t total, free, buffers, cached;
};
void node_memory(struct node_memory *memory);

/* Nanoseconds since the host's start, of CPU number CPU, or of all when -1; false when there is no
 * such CPU. */
struct node_cpu_time {
    uint64_t kernel, user, idle, iowait;
};
bool node_cpu_time(int cpu, struct node_cpu_time *time);

/* The host's CPUs, a bit each, lowest first in each byte; *PRESENT how many there are, *ONLINE how
 * many run. */
GByteArray *node_cpu_map(unsigned *present, unsigned *online);

#endif
