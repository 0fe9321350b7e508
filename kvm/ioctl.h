/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests: tables from a whole 32-bit request code to its handler, and access to the memory of the
 * program that makes them.
 */
#ifndef TRAPEZE_IOCTL_H
#define TRAPEZE_IOCTL_H

#include "vcpu.h"

/* One request being served. */
struct ioctl_call {
    struct system *system;
    struct vm *vm;              /* VM and vCPU requests */
    struct vcpu *vcpu;          /* vCPU requests, its mutex held */
    unsigned long argument;     /* as given */
    void *data;                 /* the argument's structure, copied in, or room for the result */
    struct tkvm_file **created; /* for requests that create a file */
};

enum ioctl_argument {
    ARG_VALUE,   /* the handler uses argument itself, be it a number or a pointer */
    ARG_IN = 1,  /* *argument is copied to data, as many bytes as the request code says */
    ARG_OUT = 2, /* data is copied to *argument unless the handler fails */
    ARG_INOUT = 3,
};

struct ioctl_entry {
    uint32_t request;
    enum ioctl_argument argument;
    long (*handler)(struct ioctl_call *c); /* >= 0 or -errno */
};

#define IOCTL_BYTES_MAX 4096

/* Finds REQUEST in TABLE and serves it; UNKNOWN is the result when it is not there. */
long ioctl_dispatch(const struct ioctl_entry *table, size_t count, uint32_t request,
                    struct ioctl_call *c, long unknown);

/* Copies between us and the program's memory at ADDRESS.  0, or -EFAULT for addresses that no
 * program has (the zero page, beyond the user half). */
int user_read(void *to, unsigned long address, size_t size);
int user_write(unsigned long address, const void *from, size_t size);
bool user_range_ok(unsigned long address, size_t size);

/* KVM_CHECK_EXTENSION; VM is NULL at system scope. */
long capability_check(struct vm *vm, unsigned long number);
/* KVM_ENABLE_CAP of a VM and of a vCPU. */
long capability_enable_vm(struct vm *vm, const struct kvm_enable_cap *cap);
long capability_enable_vcpu(struct vcpu *v, const struct kvm_enable_cap *cap);

/* The three kinds of objects' requests. */
long system_ioctl(struct ioctl_call *c, uint32_t request);
long vm_ioctl(struct ioctl_call *c, uint32_t request);
long vcpu_ioctl(struct ioctl_call *c, uint32_t request);

/* Makes the file of a new VM (its reference passes to the file) or vCPU (takes one); NULL when out
 * of memory. */
struct tkvm_file *file_new_vm(struct vm *vm);
struct tkvm_file *file_new_vcpu(struct vcpu *v);
/* KVM_GET_STATS_FD of the VM or vCPU that C is about: makes *c->created.  0 or -errno. */
long file_new_stats(struct ioctl_call *c);

#endif
