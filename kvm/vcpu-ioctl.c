/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's requests. */
#include "guest-cpuid.h"
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static long do_run(struct ioctl_call *c)
{
    return c->argument ? -EINVAL : vcpu_run(c->vcpu);
}

/* Requests whose work is one call on the structure. */
#define GET_REQUEST(name, call)                                                                    \
    static long do_##name(struct ioctl_call *c)                                                    \
    {                                                                                              \
        call(c->vcpu, c->data);                                                                    \
        return 0;                                                                                  \
    }
#define SET_REQUEST(name, call)                                                                    \
    static long do_##name(struct ioctl_call *c)                                                    \
    {                                                                                              \
        return call(c->vcpu, c->data);                                                             \
    }
#define POINTER_REQUEST(name, call)                                                                \
    static long do_##name(struct ioctl_call *c)                                                    \
    {                                                                                              \
        return call(c->vcpu, c->argument);                                                         \
    }
GET_REQUEST(get_regs, state_get_regs)
GET_REQUEST(set_regs, state_set_regs)
GET_REQUEST(get_sregs, state_get_sregs)
SET_REQUEST(set_sregs, state_set_sregs)
GET_REQUEST(get_sregs2, state_get_sregs2)
SET_REQUEST(set_sregs2, state_set_sregs2)
GET_REQUEST(get_fpu, state_get_fpu)
SET_REQUEST(set_fpu, state_set_fpu)
GET_REQUEST(get_xcrs, state_get_xcrs)
SET_REQUEST(set_xcrs, state_set_xcrs)
GET_REQUEST(get_debugregs, state_get_debugregs)
SET_REQUEST(set_debugregs, state_set_debugregs)
GET_REQUEST(get_vcpu_events, events_get)
SET_REQUEST(set_vcpu_events, events_set)
SET_REQUEST(set_mp_state, state_set_mp_state)
SET_REQUEST(set_guest_debug, debug_set)
SET_REQUEST(set_mce, mce_inject)
SET_REQUEST(enable_cap, capability_enable_vcpu)
POINTER_REQUEST(get_msrs, msr_get_many)
POINTER_REQUEST(set_msrs, msr_set_many)
POINTER_REQUEST(set_cpuid, cpuid_set)
POINTER_REQUEST(set_cpuid2, cpuid_set2)
POINTER_REQUEST(get_cpuid2, cpuid_get2)
#undef GET_REQUEST
#undef SET_REQUEST
#undef POINTER_REQUEST

static long do_get_mp_state(struct ioctl_call *c)
{
    struct vcpu *v = c->vcpu;
    vcpu_accept_signals(v);
    bool woken = v->mp_state == KVM_MP_STATE_HALTED && v->unhalted;
    ((struct kvm_mp_state *)c->data)->mp_state = woken ? KVM_MP_STATE_RUNNABLE : v->mp_state;
    return 0;
}

static long do_get_xsave(struct ioctl_call *c)
{
    processor_get_xsave(c->vcpu->processor, c->data, sizeof(struct kvm_xsave));
    return 0;
}

static long do_set_xsave(struct ioctl_call *c)
{
    return processor_set_xsave(c->vcpu->processor, c->data, sizeof(struct kvm_xsave));
}

static long do_get_lapic(struct ioctl_call *c)
{
    struct vcpu *v = c->vcpu;
    return v->lapic ? lapic_get_state(v->lapic, c->data) : -EINVAL;
}

static long do_set_lapic(struct ioctl_call *c)
{
    struct vcpu *v = c->vcpu;
    if (!v->lapic)
        return -EINVAL;
    long r = lapic_set_state(v->lapic, c->data);
    v->processor->cr8 = lapic_get_cr8(v->lapic);
    vcpu_request(v, VCPU_REQUEST_EVENT);
    return r;
}

static long do_interrupt(struct ioctl_call *c)
{
    struct vcpu *v = c->vcpu;
    const struct kvm_interrupt *i = c->data;
    if (i->irq > 255)
        return -EINVAL;
    if (vm_has_pic(v->vm))
        return -ENXIO;
    if (v->lapic) {
        if (v->external_vector >= 0)
            return -EEXIST;
        v->external_vector = (int16_t)i->irq;
    } else {
        v->interrupt_injected = true;
        v->interrupt_soft = false;
        v->interrupt_vector = (uint8_t)i->irq;
    }
    vcpu_request(v, VCPU_REQUEST_EVENT);
    return 0;
}

/* Where a LAPIC shares its TPR with a guest that user space patched after KVM_TPR_ACCESS_REPORTING,
 * which we have not: nobody ever looks there. */
static long do_set_vapic_addr(struct ioctl_call *c)
{
    return c->vcpu->lapic ? 0 : -EINVAL;
}

static long do_nmi(struct ioctl_call *c)
{
    vcpu_send_nmi(c->vcpu);
    return 0;
}

static long do_translate(struct ioctl_call *c)
{
    struct kvm_translation *t = c->data;
    bool writable = false, user = false;
    uint64_t gpa = ~0ull;
    t->valid = processor_translate(c->vcpu->processor, t->linear_address, &gpa, &writable, &user);
    t->physical_address = t->valid ? gpa : ~0ull;
    /* As Linux has it, which does not look either. */
    t->writeable = 1;
    t->usermode = 0;
    return 0;
}

static long do_setup_mce(struct ioctl_call *c)
{
    return mce_setup(c->vcpu, *(uint64_t *)c->data);
}

static long do_get_tsc_khz(struct ioctl_call *c)
{
    return c->vcpu->tsc_khz;
}

static long do_set_tsc_khz(struct ioctl_call *c)
{
    unsigned long khz = c->argument ? c->argument : c->system->tsc_khz;
    return khz != (uint32_t)khz ? -EINVAL : tsc_set_khz(c->vcpu, (uint32_t)khz);
}

static long do_kvmclock_ctrl(struct ioctl_call *c)
{
    struct vcpu *v = c->vcpu;
    if (!(v->msr.system_time & 1))
        return -EINVAL;
    v->clock_stopped = true;
    vcpu_request(v, VCPU_REQUEST_CLOCK);
    return 0;
}

/* The mask itself matters to whoever delivers signals; here it is only checked and kept. */
static long do_set_signal_mask(struct ioctl_call *c)
{
    struct vcpu *v = c->vcpu;
    if (!c->argument) {
        v->signal_mask_set = false;
        return 0;
    }
    struct kvm_signal_mask header;
    if (user_read(&header, c->argument, sizeof(header)) < 0)
        return -EFAULT;
    if (header.len != sizeof(v->signal_mask))
        return -EINVAL;
    if (user_read(&v->signal_mask, c->argument + sizeof(header), sizeof(v->signal_mask)) < 0)
        return -EFAULT;
    v->signal_mask_set = true;
    return 0;
}

/* A vCPU's only attribute: its TSC offset. */
static long tsc_offset_attribute(const struct kvm_device_attr *a)
{
    return a->group != KVM_VCPU_TSC_CTRL || a->attr != KVM_VCPU_TSC_OFFSET ? -ENXIO : 0;
}

static long do_has_attr(struct ioctl_call *c)
{
    return tsc_offset_attribute(c->data);
}

static long do_get_attr(struct ioctl_call *c)
{
    const struct kvm_device_attr *a = c->data;
    long r = tsc_offset_attribute(a);
    uint64_t offset = c->vcpu->processor->vmcs.tsc_offset;
    return r < 0 ? r : user_write(a->addr, &offset, sizeof(offset));
}

static long do_set_attr(struct ioctl_call *c)
{
    const struct kvm_device_attr *a = c->data;
    uint64_t offset;
    long r = tsc_offset_attribute(a);
    if (r == 0)
        r = user_read(&offset, a->addr, sizeof(offset));
    if (r == 0)
        tsc_set_offset(c->vcpu, offset);
    return r;
}

static long do_get_stats_fd(struct ioctl_call *c)
{
    return file_new_stats(c);
}

/* So much is done in one KVM_PRE_FAULT_MEMORY, which is repeated for what is left. */
#define PRE_FAULT_MOST (2ull << 20)

/* Nothing need be mapped for a guest of ours, but what a slot points to may not be there yet.  At
 * least a page is done, or it is an error. */
static long do_pre_fault_memory(struct ioctl_call *c)
{
    struct kvm_pre_fault_memory *range = c->data;
    if (range->flags)
        return -EINVAL;
    if (range->gpa % PAGE_BYTES || range->size % PAGE_BYTES || !range->size ||
        range->gpa + range->size <= range->gpa)
        return -EINVAL;
    int r = 0;
    uint64_t done = 0;
    while (done < range->size && done < PRE_FAULT_MOST) {
        r = memory_populate(c->vm->memory, range->gpa + done);
        if (r < 0)
            break;
        done += PAGE_BYTES;
    }
    range->gpa += done;
    range->size -= done;
    return done ? 0 : r;
}

/* What COUNT counters, each NAME(n) and VALUE(n), are, but for zeros, as many as fit. */
struct named_counts {
    unsigned count;
    const char *(*name)(const void *from, unsigned n);
    uint64_t (*value)(const void *from, unsigned n);
    const void *from;
};
static long give_counts(struct ioctl_call *c, const struct named_counts *counts)
{
    struct trapeze_kvm_exit_counts header;
    if (user_read(&header, c->argument, sizeof(header)) < 0)
        return -EFAULT;
    unsigned long at = c->argument + sizeof(header);
    uint32_t filled = 0;
    for (unsigned i = 0; i < counts->count && filled < header.count; i++) {
        __typeof__(header.entry[0]) e = {.exits = counts->value(counts->from, i)};
        if (!e.exits)
            continue;
        strncpy(e.name, counts->name(counts->from, i), sizeof(e.name) - 1);
        if (user_write(at, &e, sizeof(e)) < 0)
            return -EFAULT;
        at += sizeof(e);
        filled++;
    }
    header.count = filled;
    return user_write(c->argument, &header, sizeof(header));
}

static const char *exit_name(const void *from, unsigned n)
{
    (void)from;
    return exit_reason_name(n);
}
static uint64_t exit_value(const void *from, unsigned n)
{
    return ((const struct vmcs *)from)->exits[n];
}
static long do_get_exit_counts(struct ioctl_call *c)
{
    return give_counts(c, &(struct named_counts){EXIT_REASON_COUNT, exit_name, exit_value,
                                                 &c->vcpu->processor->vmcs});
}

static const char *miss_name(const void *from, unsigned n)
{
    (void)from;
    return processor_miss_name(n);
}
static uint64_t miss_value(const void *from, unsigned n)
{
    return ((const struct processor_translator_counts *)from)->misses[n];
}
static long do_get_miss_counts(struct ioctl_call *c)
{
    struct processor_translator_counts n;
    processor_get_translator_counts(c->vcpu->processor, &n);
    return give_counts(c, &(struct named_counts){PROCESSOR_MISSES, miss_name, miss_value, &n});
}

static const char *handler_name(const void *from, unsigned n)
{
    return ((const struct processor_handler_count *)from)[n].name;
}
static uint64_t handler_value(const void *from, unsigned n)
{
    return ((const struct processor_handler_count *)from)[n].count;
}
static long do_get_handler_counts(struct ioctl_call *c)
{
    struct processor_handler_count counts[512];
    unsigned n = processor_get_handler_counts(c->vcpu->processor, counts, ARRAY_SIZE(counts));
    return give_counts(c, &(struct named_counts){n, handler_name, handler_value, counts});
}

static long do_get_instructions(struct ioctl_call *c)
{
    *(uint64_t *)c->data = c->vcpu->processor->icount;
    return 0;
}

static long do_get_translator_counts(struct ioctl_call *c)
{
    struct trapeze_kvm_translator_counts *out = c->data;
    struct processor_translator_counts n;
    processor_get_translator_counts(c->vcpu->processor, &n);
    *out = (struct trapeze_kvm_translator_counts){
        .blocks = n.blocks,
        .bytes = n.bytes,
        .capacity = n.capacity,
        .emptied = n.emptied,
        .entries = n.entries,
        .links = n.links,
        .slow = n.slow,
        .handlers = n.handlers,
        .compared = n.compared,
        .differences = n.differences,
    };
    return 0;
}

static long do_get_translator_difference(struct ioctl_call *c)
{
    const char *text = processor_translator_difference(c->vcpu->processor);
    struct trapeze_kvm_translator_difference out = {{0}};
    if (!text)
        return -ENOENT;
    strncpy(out.text, text, sizeof(out.text) - 1);
    return user_write(c->argument, &out, sizeof(out));
}

static long do_get_translation(struct ioctl_call *c)
{
    struct processor_translation t;
    _Static_assert(sizeof(t) == sizeof(struct trapeze_kvm_translation) &&
                       offsetof(struct processor_translation, code) ==
                           offsetof(struct trapeze_kvm_translation, code) &&
                       offsetof(struct processor_translation, part) ==
                           offsetof(struct trapeze_kvm_translation, part),
                   "the processor's is of the same form");
    if (!processor_get_translation(c->vcpu->processor, &t))
        return -ENOENT;
    return user_write(c->argument, &t, sizeof(t));
}

static const struct ioctl_entry vcpu_requests[] = {
    {KVM_RUN, ARG_VALUE, do_run},
    {KVM_GET_REGS, ARG_OUT, do_get_regs},
    {KVM_SET_REGS, ARG_IN, do_set_regs},
    {KVM_GET_SREGS, ARG_OUT, do_get_sregs},
    {KVM_SET_SREGS, ARG_IN, do_set_sregs},
    {KVM_GET_SREGS2, ARG_OUT, do_get_sregs2},
    {KVM_SET_SREGS2, ARG_IN, do_set_sregs2},
    {KVM_GET_FPU, ARG_OUT, do_get_fpu},
    {KVM_SET_FPU, ARG_IN, do_set_fpu},
    {KVM_GET_XSAVE, ARG_OUT, do_get_xsave},
    {KVM_GET_XSAVE2, ARG_OUT, do_get_xsave},
    {KVM_SET_XSAVE, ARG_IN, do_set_xsave},
    {KVM_GET_XCRS, ARG_OUT, do_get_xcrs},
    {KVM_SET_XCRS, ARG_IN, do_set_xcrs},
    {KVM_GET_DEBUGREGS, ARG_OUT, do_get_debugregs},
    {KVM_SET_DEBUGREGS, ARG_IN, do_set_debugregs},
    {KVM_GET_VCPU_EVENTS, ARG_OUT, do_get_vcpu_events},
    {KVM_SET_VCPU_EVENTS, ARG_IN, do_set_vcpu_events},
    {KVM_GET_MP_STATE, ARG_OUT, do_get_mp_state},
    {KVM_SET_MP_STATE, ARG_IN, do_set_mp_state},
    {KVM_GET_LAPIC, ARG_OUT, do_get_lapic},
    {KVM_SET_LAPIC, ARG_IN, do_set_lapic},
    {KVM_GET_MSRS, ARG_VALUE, do_get_msrs},
    {KVM_SET_MSRS, ARG_VALUE, do_set_msrs},
    {KVM_SET_CPUID, ARG_VALUE, do_set_cpuid},
    {KVM_SET_CPUID2, ARG_VALUE, do_set_cpuid2},
    {KVM_GET_CPUID2, ARG_VALUE, do_get_cpuid2},
    {KVM_INTERRUPT, ARG_IN, do_interrupt},
    {KVM_NMI, ARG_VALUE, do_nmi},
    {KVM_SET_VAPIC_ADDR, ARG_IN, do_set_vapic_addr},
    {KVM_TRANSLATE, ARG_INOUT, do_translate},
    {KVM_SET_GUEST_DEBUG, ARG_IN, do_set_guest_debug},
    {KVM_X86_SETUP_MCE, ARG_IN, do_setup_mce},
    {KVM_X86_SET_MCE, ARG_IN, do_set_mce},
    {KVM_GET_TSC_KHZ, ARG_VALUE, do_get_tsc_khz},
    {KVM_SET_TSC_KHZ, ARG_VALUE, do_set_tsc_khz},
    {KVM_KVMCLOCK_CTRL, ARG_VALUE, do_kvmclock_ctrl},
    {KVM_SET_SIGNAL_MASK, ARG_VALUE, do_set_signal_mask},
    {KVM_ENABLE_CAP, ARG_IN, do_enable_cap},
    {KVM_HAS_DEVICE_ATTR, ARG_IN, do_has_attr},
    {KVM_GET_DEVICE_ATTR, ARG_IN, do_get_attr},
    {KVM_SET_DEVICE_ATTR, ARG_IN, do_set_attr},
    {KVM_GET_STATS_FD, ARG_VALUE, do_get_stats_fd},
    {KVM_PRE_FAULT_MEMORY, ARG_INOUT, do_pre_fault_memory},
    {TRAPEZE_KVM_GET_EXIT_COUNTS, ARG_VALUE, do_get_exit_counts},
    {TRAPEZE_KVM_GET_INSTRUCTIONS, ARG_OUT, do_get_instructions},
    {TRAPEZE_KVM_GET_TRANSLATOR_COUNTS, ARG_OUT, do_get_translator_counts},
    {TRAPEZE_KVM_GET_TRANSLATION, ARG_VALUE, do_get_translation},
    {TRAPEZE_KVM_GET_MISS_COUNTS, ARG_VALUE, do_get_miss_counts},
    {TRAPEZE_KVM_GET_HANDLER_COUNTS, ARG_VALUE, do_get_handler_counts},
    {TRAPEZE_KVM_GET_TRANSLATOR_DIFFERENCE, ARG_VALUE, do_get_translator_difference},
};

long vcpu_ioctl(struct ioctl_call *c, uint32_t request)
{
    pthread_mutex_lock(&c->vcpu->mutex);
    long r = ioctl_dispatch(vcpu_requests, ARRAY_SIZE(vcpu_requests), request, c, -EINVAL);
    pthread_mutex_unlock(&c->vcpu->mutex);
    return r;
}
