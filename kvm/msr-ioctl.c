/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MSRs for user space and for the guest: lists, KVM_GET_MSRS, KVM_SET_MSRS, RDMSR and WRMSR exits.
 */
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MSRS_MAX 256u /* entries in one request */

static long give_list(unsigned long argument, const uint32_t *indices, size_t count)
{
    struct kvm_msr_list header;
    if (user_read(&header, argument, sizeof(header)) < 0)
        return -EFAULT;
    uint32_t room = header.nmsrs;
    header.nmsrs = (uint32_t)count;
    if (user_write(argument, &header, sizeof(header)) < 0)
        return -EFAULT;
    if (room < count)
        return -E2BIG;
    return user_write(argument + sizeof(header), indices, count * sizeof(*indices));
}

long msr_index_list(unsigned long argument)
{
    size_t count;
    const uint32_t *indices = msr_list_saved(&count);
    return give_list(argument, indices, count);
}

long msr_feature_list(unsigned long argument)
{
    uint32_t indices[16];
    return give_list(argument, indices, msr_list_features(indices));
}

/* Goes through the program's entries until one fails; the count of those before it is the result.
 */
static long for_each_msr(unsigned long argument, bool give,
                         int (*one)(struct vcpu *v, struct kvm_msr_entry *e), struct vcpu *v)
{
    struct kvm_msrs header;
    if (user_read(&header, argument, sizeof(header)) < 0)
        return -EFAULT;
    if (header.nmsrs >= MSRS_MAX)
        return -E2BIG;
    size_t size = header.nmsrs * sizeof(struct kvm_msr_entry);
    struct kvm_msr_entry entries[MSRS_MAX];
    if (size && user_read(entries, argument + sizeof(header), size) < 0)
        return -EFAULT;
    long done = 0;
    while (done < (long)header.nmsrs && one(v, &entries[done]) == 0)
        done++;
    if (give && size && user_write(argument + sizeof(header), entries, size) < 0)
        return -EFAULT;
    return done;
}

static int get_one(struct vcpu *v, struct kvm_msr_entry *e)
{
    uint64_t value;
    int r = msr_get(v, e->index, &value, true);
    if (r == 0)
        e->data = value;
    return r;
}

static int set_one(struct vcpu *v, struct kvm_msr_entry *e)
{
    return msr_set(v, e->index, e->data, true);
}

static int get_feature(struct vcpu *v, struct kvm_msr_entry *e)
{
    (void)v;
    uint64_t value;
    int r = msr_feature_get(e->index, &value);
    if (r == 0)
        e->data = value;
    return r;
}

long msr_get_many(struct vcpu *v, unsigned long argument)
{
    return for_each_msr(argument, true, get_one, v);
}

long msr_set_many(struct vcpu *v, unsigned long argument)
{
    return for_each_msr(argument, false, set_one, v);
}

long msr_get_features(unsigned long argument)
{
    return for_each_msr(argument, true, get_feature, NULL);
}

/* ---------------------------------------------------------------- the guest's RDMSR and WRMSR */

static void give_rdmsr(struct vcpu *v, uint64_t value)
{
    struct processor *p = v->processor;
    p->gpr[GPR_RAX] = (uint32_t)value;
    p->gpr[GPR_RDX] = value >> 32;
}

static void complete_rdmsr(struct vcpu *v)
{
    if (v->run->msr.error) {
        queue_gp(v);
    } else {
        give_rdmsr(v, v->run->msr.data);
        processor_skip_instruction(v->processor);
    }
}

static void complete_wrmsr(struct vcpu *v)
{
    if (v->run->msr.error)
        queue_gp(v);
    else
        processor_skip_instruction(v->processor);
}

/* Asks user space, if it wants to be asked for REASON; else the access is #GP. */
static int refuse(struct vcpu *v, bool write, uint32_t reason, uint64_t data)
{
    if (!(v->vm->user_space_msr & reason)) {
        queue_gp(v);
        return 1;
    }
    struct kvm_run *run = v->run;
    run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
    run->msr.error = 0;
    memset(run->msr.pad, 0, sizeof(run->msr.pad));
    run->msr.reason = reason;
    run->msr.index = (uint32_t)v->processor->gpr[GPR_RCX];
    run->msr.data = data;
    v->complete = write ? complete_wrmsr : complete_rdmsr;
    return 0;
}

static uint32_t reason_of(int error)
{
    return error == -ENOENT ? KVM_MSR_EXIT_REASON_UNKNOWN : KVM_MSR_EXIT_REASON_INVAL;
}

int msr_read_exit(struct vcpu *v)
{
    uint32_t index = (uint32_t)v->processor->gpr[GPR_RCX];
    uint64_t value = 0;
    if (!msr_filter_allows(v->vm, index, false))
        return refuse(v, false, KVM_MSR_EXIT_REASON_FILTER, 0);
    int r = msr_get(v, index, &value, false);
    if (r < 0)
        return refuse(v, false, reason_of(r), 0);
    give_rdmsr(v, value);
    return exit_skip(v);
}

int msr_write_exit(struct vcpu *v)
{
    struct processor *p = v->processor;
    uint32_t index = (uint32_t)p->gpr[GPR_RCX];
    uint64_t value = (uint32_t)p->gpr[GPR_RAX] | p->gpr[GPR_RDX] << 32;
    if (!msr_filter_allows(v->vm, index, true))
        return refuse(v, true, KVM_MSR_EXIT_REASON_FILTER, value);
    int r = msr_set(v, index, value, false);
    if (r < 0)
        return refuse(v, true, reason_of(r), value);
    return exit_skip(v);
}
