/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What KVM offers to guests that know of it (msr.rst, cpuid.rst): steal time, asynchronous page
 * faults, and which of these features a guest may use. */
#include "guest-cpuid.h"
#include "msr.h"
#include "vcpu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm_para.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool pv_allows(const struct vcpu *v, unsigned feature)
{
    return !v->pv_enforced || cpuid_pv_features(v) >> feature & 1;
}

/* ---------------------------------------------------------------- steal time */

/* While a vCPU stays in KVM_RUN its steal time is brought up to date this often; at its entry no
 * oftener than once in the shorter time. */
#define STEAL_PERIOD_US   1000
#define STEAL_SHORTEST_US 100

/* Nanoseconds for which this thread was ready to run, but did not.  False: the kernel does not tell
 * (without CONFIG_SCHED_INFO).  Opened each time: a descriptor that stays might be closed by the
 * program that we live in. */
static bool run_delay(uint64_t *ns)
{
    char text[80];
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    unsigned long long ran, waited;
    if (sscanf(text, "%llu %llu", &ran, &waited) != 2)
        return false;
    *ns = waited;
    return true;
}

bool steal_time_supported(void)
{
    uint64_t ns;
    return run_delay(&ns);
}

int steal_time_write_msr(struct vcpu *v, uint64_t value)
{
    if (value & KVM_STEAL_RESERVED_MASK)
        return -EINVAL;
    v->msr.steal_time = value;
    v->steal.known = false;
    v->steal.read_at = 0;
    return 0;
}

/* Adds what this thread waited since the last time.  The thread may be another one. */
static void account_steal(struct vcpu *v)
{
    uint64_t waited;
    pid_t thread = gettid();
    if (!run_delay(&waited))
        return;
    if (v->steal.known && v->steal.thread == thread)
        v->steal.pending += waited - v->steal.waited;
    v->steal.known = true;
    v->steal.thread = thread;
    v->steal.waited = waited;
    v->steal.read_at = host_tsc();
}

static bool steal_is_older(const struct vcpu *v, unsigned us)
{
    return host_tsc() - v->steal.read_at > (uint64_t)v->vm->system->tsc_khz * us / 1000;
}

#define FIELD(at, member)                                                                          \
    (at) + offsetof(struct kvm_steal_time, member), &s.member, sizeof(s.member)

static void publish_steal(struct vcpu *v)
{
    struct memory *m = v->vm->memory;
    uint64_t at = v->msr.steal_time & ~(uint64_t)KVM_STEAL_RESERVED_MASK & ~1ull;
    struct kvm_steal_time s;
    if (memory_read(m, at, &s, sizeof(s)) < 0)
        return; /* the guest gave an address without memory: it has no steal time */
    /* Odd while the time changes. */
    s.version = (s.version & ~1u) + 1;
    memory_write(m, FIELD(at, version));
    s.steal += v->steal.pending;
    v->steal.pending = 0;
    s.flags = 0;
    s.preempted = 0;
    memory_write(m, FIELD(at, steal));
    memory_write(m, FIELD(at, flags));
    memory_write(m, FIELD(at, preempted));
    s.version++;
    memory_write(m, FIELD(at, version));
}

void steal_time_enter(struct vcpu *v)
{
    if (!(v->msr.steal_time & KVM_MSR_ENABLED))
        return;
    if (steal_is_older(v, STEAL_SHORTEST_US))
        account_steal(v);
    publish_steal(v);
}

void steal_time_update(struct vcpu *v)
{
    if (!(v->msr.steal_time & KVM_MSR_ENABLED) || !steal_is_older(v, STEAL_PERIOD_US))
        return;
    account_steal(v);
    publish_steal(v);
}

void steal_time_leave(struct vcpu *v)
{
    if (!(v->msr.steal_time & KVM_MSR_ENABLED))
        return;
    uint64_t at = v->msr.steal_time & ~(uint64_t)KVM_STEAL_RESERVED_MASK & ~1ull;
    struct kvm_steal_time s = {.preempted = KVM_VCPU_PREEMPTED};
    memory_write(v->vm->memory, FIELD(at, preempted));
}

/* ---------------------------------------------------------------- asynchronous page faults */

/* The pages of a guest are mapped when it touches them, in the thread of its vCPU, so no fault is
 * ever asynchronous: the registers are kept, as the guest's and for migration, and no event comes,
 * as on a Linux whose memory is never short. */
int async_pf_write_msr(struct vcpu *v, uint32_t index, uint64_t value)
{
    if (index == MSR_KVM_ASYNC_PF_ACK)
        return 0;
    if (index == MSR_KVM_ASYNC_PF_INT) {
        if (value >> 8 || !v->lapic)
            return -EINVAL;
        v->msr.async_pf_int = value;
        return 0;
    }
    if (value & 0x30 ||
        (value & KVM_ASYNC_PF_DELIVERY_AS_PF_VMEXIT &&
         !pv_allows(v, KVM_FEATURE_ASYNC_PF_VMEXIT)) ||
        (value & KVM_ASYNC_PF_DELIVERY_AS_INT && !pv_allows(v, KVM_FEATURE_ASYNC_PF_INT)))
        return -EINVAL;
    if (!v->lapic && value)
        return -EINVAL;
    v->msr.async_pf = value;
    return 0;
}

/* ---------------------------------------------------------------- end of interrupt by memory */

#define PV_EOI_ADDRESS(msr) ((msr) & ~3ull)

int pv_eoi_write_msr(struct vcpu *v, uint64_t value)
{
    uint8_t byte;
    if (value & 2 || (value & KVM_MSR_ENABLED &&
                      memory_read(v->vm->memory, PV_EOI_ADDRESS(value), &byte, sizeof(byte)) < 0))
        return -EINVAL;
    v->msr.pv_eoi = value;
    return 0;
}

void pv_eoi_offer(struct vcpu *v)
{
    uint8_t byte;
    uint64_t at = PV_EOI_ADDRESS(v->msr.pv_eoi);
    if (!v->lapic || !lapic_eoi_is_private(v->lapic) ||
        memory_read(v->vm->memory, at, &byte, sizeof(byte)) < 0)
        return;
    byte |= 1;
    v->eoi_offered = memory_write(v->vm->memory, at, &byte, sizeof(byte)) == 0;
}

void pv_eoi_take(struct vcpu *v)
{
    uint8_t byte;
    uint64_t at = PV_EOI_ADDRESS(v->msr.pv_eoi);
    if (!v->eoi_offered)
        return;
    v->eoi_offered = false;
    if (memory_read(v->vm->memory, at, &byte, sizeof(byte)) < 0)
        return;
    if (byte & 1) {
        /* Not ended yet: until the next offer only by the register. */
        byte &= 0xfe;
        memory_write(v->vm->memory, at, &byte, sizeof(byte));
    } else {
        lapic_eoi(v->lapic);
    }
}

/* ---------------------------------------------------------------- who may use which MSR */

static const struct {
    uint32_t index;
    uint8_t feature;
} pv_msrs[] = {
    {MSR_KVM_WALL_CLOCK, KVM_FEATURE_CLOCKSOURCE},
    {MSR_KVM_SYSTEM_TIME, KVM_FEATURE_CLOCKSOURCE},
    {MSR_KVM_WALL_CLOCK_NEW, KVM_FEATURE_CLOCKSOURCE2},
    {MSR_KVM_SYSTEM_TIME_NEW, KVM_FEATURE_CLOCKSOURCE2},
    {MSR_KVM_ASYNC_PF_EN, KVM_FEATURE_ASYNC_PF},
    {MSR_KVM_ASYNC_PF_INT, KVM_FEATURE_ASYNC_PF_INT},
    {MSR_KVM_ASYNC_PF_ACK, KVM_FEATURE_ASYNC_PF_INT},
    {MSR_KVM_STEAL_TIME, KVM_FEATURE_STEAL_TIME},
    {MSR_KVM_PV_EOI_EN, KVM_FEATURE_PV_EOI},
    {MSR_KVM_POLL_CONTROL, KVM_FEATURE_POLL_CONTROL},
};

bool pv_allows_msr(const struct vcpu *v, uint32_t index)
{
    for (size_t i = 0; v->pv_enforced && i < ARRAY_SIZE(pv_msrs); i++)
        if (pv_msrs[i].index == index)
            return pv_allows(v, pv_msrs[i].feature);
    return true;
}
