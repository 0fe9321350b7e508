/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of manager/node/ share. */
#ifndef TRAPEZE_MANAGER_NODE_PRIVATE_H
#define TRAPEZE_MANAGER_NODE_PRIVATE_H

#include "manager/node/node.h"

struct node {
    char *emulator;
    bool has_kvm;
    char uuid[37]; /* of the host, made from its machine-id */
};

/* A CPU that is online. */
struct node_cpu {
    int id, socket, core;
};
/* An array of struct node_cpu, by id. */
GArray *node_cpus(void);

#endif
