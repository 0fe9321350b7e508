/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_X86_SET_MSR_FILTER: MSRs that the guest may not access by itself. */
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <stdlib.h>

struct filter_range {
    uint32_t flags; /* KVM_MSR_FILTER_READ, _WRITE: the accesses it decides */
    uint32_t base, count;
    uint8_t *bitmap; /* 1: allowed */
};

struct msr_filter {
    bool allow_others;
    unsigned count;
    struct filter_range range[KVM_MSR_FILTER_MAX_RANGES];
};

void msr_filter_free(struct msr_filter *f)
{
    if (!f)
        return;
    for (unsigned i = 0; i < f->count; i++)
        free(f->range[i].bitmap);
    free(f);
}

static long add_range(struct msr_filter *f, const struct kvm_msr_filter_range *from)
{
    struct filter_range *r = &f->range[f->count];
    if (!from->nmsrs)
        return 0;
    if (!from->flags || from->flags & ~(uint32_t)(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE))
        return -EINVAL;
    size_t size = ALIGN_UP((size_t)from->nmsrs, 64) / 8;
    if (size > KVM_MSR_FILTER_MAX_BITMAP_SIZE)
        return -EINVAL;
    r->bitmap = malloc(size);
    if (!r->bitmap)
        return -ENOMEM;
    f->count++;
    r->flags = from->flags;
    r->base = from->base;
    r->count = from->nmsrs;
    return user_read(r->bitmap, (unsigned long)from->bitmap, size);
}

long msr_filter_set(struct vm *vm, const struct kvm_msr_filter *filter)
{
    if (filter->flags & ~(uint32_t)KVM_MSR_FILTER_DEFAULT_DENY)
        return -EINVAL;
    struct msr_filter *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->allow_others = !(filter->flags & KVM_MSR_FILTER_DEFAULT_DENY);
    long r = 0;
    for (unsigned i = 0; i < KVM_MSR_FILTER_MAX_RANGES && r == 0; i++)
        r = add_range(f, &filter->ranges[i]);
    if (r == 0 && !f->count && !f->allow_others)
        r = -EINVAL; /* denying everything is no filter */
    if (r < 0) {
        msr_filter_free(f);
        return r;
    }
    if (!f->count) {
        free(f);
        f = NULL;
    }
    pthread_rwlock_wrlock(&vm->msr_filter_lock);
    struct msr_filter *old = atomic_exchange(&vm->msr_filter, f);
    pthread_rwlock_unlock(&vm->msr_filter_lock);
    msr_filter_free(old);
    /* vCPUs choose their MSR bitmap anew. */
    vm_request_all(vm, VCPU_REQUEST_EVENT);
    return 0;
}

static bool allows(const struct msr_filter *f, uint32_t index, uint32_t access)
{
    for (unsigned i = 0; i < f->count; i++) {
        const struct filter_range *r = &f->range[i];
        uint32_t bit = index - r->base;
        if (bit < r->count && r->flags & access)
            return r->bitmap[bit / 8] >> bit % 8 & 1;
    }
    return f->allow_others;
}

bool msr_filter_allows(struct vm *vm, uint32_t index, bool write)
{
    /* x2APIC registers are the LAPIC's whatever the filter says. */
    if (!atomic_load_explicit(&vm->msr_filter, memory_order_acquire) ||
        (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST))
        return true;
    pthread_rwlock_rdlock(&vm->msr_filter_lock);
    const struct msr_filter *f = atomic_load(&vm->msr_filter);
    bool yes = !f || allows(f, index, write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ);
    pthread_rwlock_unlock(&vm->msr_filter_lock);
    return yes;
}
