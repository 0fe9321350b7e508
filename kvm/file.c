/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct tkvm_file: what a program holds instead of a descriptor. */
#include "ioctl.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum file_kind { FILE_SYSTEM, FILE_VM, FILE_VCPU, FILE_STATS };

struct tkvm_file {
    enum file_kind kind;
    struct system *system; /* FILE_SYSTEM: a reference */
    struct vm *vm;         /* the others: a reference */
    struct vcpu *vcpu;     /* FILE_VCPU, FILE_STATS of a vCPU: lives as long as its VM */
};

#define RUN_PAGES   3u /* struct kvm_run, PIO data, coalesced ring */
#define RING_OFFSET (KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_BYTES)

struct tkvm_file *tkvm_open(const struct log_sink *sink)
{
    struct tkvm_file *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->system = system_new(sink);
    if (!f->system) {
        free(f);
        return NULL;
    }
    f->kind = FILE_SYSTEM;
    return f;
}

struct tkvm_file *file_new_vm(struct vm *vm)
{
    struct tkvm_file *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->kind = FILE_VM;
    f->system = vm->system;
    f->vm = vm;
    return f;
}

struct tkvm_file *file_new_vcpu(struct vcpu *v)
{
    struct tkvm_file *f = file_new_vm(v->vm);
    if (!f)
        return NULL;
    f->kind = FILE_VCPU;
    f->vcpu = v;
    atomic_fetch_add(&v->vm->references, 1);
    return f;
}

long file_new_stats(struct ioctl_call *c)
{
    if (!c->created)
        return -EFAULT;
    struct tkvm_file *f = file_new_vm(c->vm);
    if (!f)
        return -ENOMEM;
    f->kind = FILE_STATS;
    f->vcpu = c->vcpu;
    atomic_fetch_add(&c->vm->references, 1);
    *c->created = f;
    return 0;
}

long tkvm_ioctl(struct tkvm_file *f, unsigned long request, unsigned long argument,
                struct tkvm_file **created)
{
    struct ioctl_call c = {
        .system = f->system,
        .vm = f->vm,
        .vcpu = f->vcpu,
        .argument = argument,
        .created = created,
    };
    switch (f->kind) {
    case FILE_SYSTEM:
        return system_ioctl(&c, (uint32_t)request);
    case FILE_VM:
        return vm_ioctl(&c, (uint32_t)request);
    case FILE_VCPU:
        return vcpu_ioctl(&c, (uint32_t)request);
    default:
        return -ENOTTY;
    }
}

long tkvm_read(struct tkvm_file *f, void *to, size_t size, uint64_t offset)
{
    return f->kind == FILE_STATS ? (long)stats_read(f->vm, f->vcpu, to, size, offset) : -EINVAL;
}

/* Maps the vCPU's pages if nobody has yet. */
static int map_vcpu(struct tkvm_file *f)
{
    if (f->kind != FILE_VCPU)
        return -ENODEV;
    pthread_mutex_lock(&f->vm->lock);
    int r = vcpu_map_run(f->vcpu);
    pthread_mutex_unlock(&f->vm->lock);
    return r;
}

/* Whether OFFSET is in the vCPU's dirty ring. */
static bool in_ring(const struct tkvm_file *f, uint64_t offset)
{
    return f->vcpu && offset - RING_OFFSET < dirty_ring_bytes(f->vm);
}

void *tkvm_mmap(struct tkvm_file *f, size_t length, uint64_t offset)
{
    bool ring =
        in_ring(f, offset) && range_inside(offset - RING_OFFSET, length, dirty_ring_bytes(f->vm));
    if (offset % PAGE_BYTES || !length ||
        (!ring && !range_inside(offset, length, RUN_PAGES * PAGE_BYTES))) {
        errno = EINVAL;
        return NULL;
    }
    int r = map_vcpu(f);
    if (r < 0) {
        errno = -r;
        return NULL;
    }
    if (ring)
        return (uint8_t *)f->vcpu->dirty_ring.entry + (offset - RING_OFFSET);
    return (uint8_t *)f->vcpu->run + offset;
}

int tkvm_mmap_fd(struct tkvm_file *f, uint64_t offset, uint64_t *position)
{
    if (offset % PAGE_BYTES || (offset >= RUN_PAGES * PAGE_BYTES && !in_ring(f, offset)))
        return -EINVAL;
    int r = map_vcpu(f);
    if (r < 0)
        return r;
    if (offset >= RING_OFFSET) {
        *position = dirty_ring_position(f->vcpu) + offset - RING_OFFSET;
        return f->vm->run_fd;
    }
    *position = offset == 2 * PAGE_BYTES ? 0 : (1 + 2 * f->vcpu->index) * PAGE_BYTES + offset;
    return f->vm->run_fd;
}

bool tkvm_memory_begin(struct tkvm_file *f, const void *at, size_t size)
{
    return f->kind == FILE_VM && memory_host_begin(f->vm->memory, at, size);
}

void tkvm_memory_end(struct tkvm_file *f)
{
    memory_host_end(f->vm->memory);
}

void tkvm_close(struct tkvm_file *f)
{
    if (!f)
        return;
    if (f->kind == FILE_SYSTEM)
        system_release(f->system);
    else
        vm_release(f->vm);
    free(f);
}

void tkvm_kick(struct tkvm_file *f)
{
    if (f->kind == FILE_VCPU)
        vcpu_request(f->vcpu, VCPU_REQUEST_EXIT);
}

bool tkvm_immediate_exit(const struct tkvm_file *f)
{
    return f->kind == FILE_VCPU && *(const volatile uint8_t *)&f->vcpu->run->immediate_exit;
}

void tkvm_clear_kick(struct tkvm_file *f)
{
    if (f->kind == FILE_VCPU)
        atomic_fetch_and(&f->vcpu->requests, ~VCPU_REQUEST_EXIT);
}
