/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of KVM_GET_STATS_FD (api.rst 4.133): header, id, descriptors, data.  Only what is
 * really counted is there.
 */
#include "ioctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 48u /* a multiple of 8, as all four blocks start at one */

struct stat {
    char name[NAME_BYTES];
    uint32_t flags;
    uint64_t (*get)(const struct vm *vm, const struct vcpu *v);
};
#define CUMULATIVE (KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)
#define BOOLEAN    (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_BOOLEAN | KVM_STATS_BASE_POW10)

/* Counters belong to the vCPU's thread and are read from any: a 64-bit load sees them whole. */
#define COUNTER(name, expression)                                                                  \
    GUEST_RACES static uint64_t get_##name(const struct vm *vm, const struct vcpu *v)              \
    {                                                                                              \
        (void)vm;                                                                                  \
        (void)v;                                                                                   \
        return expression;                                                                         \
    }
#define EXITS(name, reason) COUNTER(name, v->processor->vmcs.exits[EXIT_REASON_##reason])

GUEST_RACES static uint64_t all_exits(const struct vcpu *v)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < EXIT_REASON_COUNT; i++)
        sum += v->processor->vmcs.exits[i];
    return sum;
}

COUNTER(remote_tlb_flush, memory_synchronizations(vm->memory))
COUNTER(exits, all_exits(v))
EXITS(io_exits, PIO)
EXITS(mmio_exits, MMIO)
EXITS(halt_exits, HLT)
EXITS(irq_window_exits, INTERRUPT_WINDOW)
EXITS(nmi_window_exits, NMI_WINDOW)
EXITS(hypercalls, VMCALL)
COUNTER(signal_exits, v->stats.signal_exits)
COUNTER(irq_injections, v->stats.irq_injections)
COUNTER(nmi_injections, v->stats.nmi_injections)
COUNTER(directed_yield_attempted, v->stats.directed_yields)
COUNTER(blocking, atomic_load(&v->blocked))
COUNTER(instructions, v->processor->icount)

#define STAT(name, flags)                                                                          \
    {                                                                                              \
#name, flags, get_##name                                                                   \
    }
/* Linux's names; the last is ours. */
static const struct stat vm_stats[] = {
    STAT(remote_tlb_flush, CUMULATIVE),
};
static const struct stat vcpu_stats[] = {
    STAT(exits, CUMULATIVE),
    STAT(io_exits, CUMULATIVE),
    STAT(mmio_exits, CUMULATIVE),
    STAT(signal_exits, CUMULATIVE),
    STAT(irq_window_exits, CUMULATIVE),
    STAT(nmi_window_exits, CUMULATIVE),
    STAT(halt_exits, CUMULATIVE),
    STAT(hypercalls, CUMULATIVE),
    STAT(irq_injections, CUMULATIVE),
    STAT(nmi_injections, CUMULATIVE),
    STAT(directed_yield_attempted, CUMULATIVE),
    STAT(blocking, BOOLEAN),
    STAT(instructions, CUMULATIVE),
};
#define STATS_MAX ARRAY_SIZE(vcpu_stats)

/* A whole file. */
struct descriptor {
    struct kvm_stats_desc fixed;
    char name[NAME_BYTES];
};
struct image {
    struct kvm_stats_header header;
    char id[NAME_BYTES];
    struct descriptor descriptor[STATS_MAX];
    uint64_t value[STATS_MAX];
};
_Static_assert(sizeof(struct descriptor) == sizeof(struct kvm_stats_desc) + NAME_BYTES,
               "a descriptor's name follows it");

static void fill(struct image *f, const struct stat *stats, unsigned count, const struct vm *vm,
                 const struct vcpu *v)
{
    memset(f, 0, sizeof(*f));
    f->header = (struct kvm_stats_header){
        .name_size = NAME_BYTES,
        .num_desc = count,
        .id_offset = offsetof(struct image, id),
        .desc_offset = offsetof(struct image, descriptor),
        .data_offset = offsetof(struct image, value),
    };
    if (v)
        snprintf(f->id, sizeof(f->id), "kvm-%d/vcpu-%u", (int)vm->creator, v->id);
    else
        snprintf(f->id, sizeof(f->id), "kvm-%d", (int)vm->creator);
    for (unsigned i = 0; i < count; i++) {
        struct descriptor *d = &f->descriptor[i];
        d->fixed.flags = stats[i].flags;
        d->fixed.size = 1;
        d->fixed.offset = i * (uint32_t)sizeof(uint64_t);
        memcpy(d->name, stats[i].name, sizeof(d->name));
        f->value[i] = stats[i].get(vm, v);
    }
}

size_t stats_read(const struct vm *vm, const struct vcpu *v, void *to, size_t size, uint64_t offset)
{
    struct image f;
    unsigned count = v ? ARRAY_SIZE(vcpu_stats) : ARRAY_SIZE(vm_stats);
    fill(&f, v ? vcpu_stats : vm_stats, count, vm, v);
    uint64_t end = offsetof(struct image, value) + count * sizeof(uint64_t);
    if (offset >= end)
        return 0;
    if (size > end - offset)
        size = end - offset;
    memcpy(to, (const uint8_t *)&f + offset, size);
    return size;
}
