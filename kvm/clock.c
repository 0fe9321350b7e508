/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's time stamp counter, and the VM's kvmclock made from it. */
#include "ioctl.h"

#include <cpuid.h>
#include <errno.h>
#include <time.h>
#include <x86intrin.h>

#define NS_PER_SECOND 1000000000ull

uint64_t host_tsc(void)
{
    return __rdtsc();
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

/* Reads TSC and CLOCK_MONOTONIC_RAW as close together as a few tries allow. */
static void sample(uint64_t *tsc, uint64_t *ns)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t before = host_tsc();
        uint64_t now = clock_ns(CLOCK_MONOTONIC_RAW);
        uint64_t width = host_tsc() - before;
        if (width < best) {
            best = width;
            *tsc = before + width / 2;
            *ns = now;
        }
    }
}

/* CPUID leaf 0x15: the crystal's frequency and the TSC's ratio to it (Intel). */
static uint32_t khz_from_crystal(void)
{
    unsigned denominator, numerator, crystal, d;
    if (!__get_cpuid_count(0x15, 0, &denominator, &numerator, &crystal, &d))
        return 0;
    if (!denominator || !numerator || !crystal)
        return 0;
    return (uint32_t)((uint64_t)crystal * numerator / denominator / 1000);
}

/* Hypervisor leaf 0x40000010, where a hypervisor has it. */
static uint32_t khz_from_hypervisor(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 31))
        return 0;
    __cpuid(0x40000000, a, b, c, d);
    if (a < 0x40000010 || a > 0x400000ff)
        return 0;
    __cpuid(0x40000010, a, b, c, d);
    return a;
}

uint32_t host_tsc_khz(void)
{
    uint32_t khz = khz_from_crystal();
    if (!khz)
        khz = khz_from_hypervisor();
    if (khz)
        return khz;
    uint64_t tsc0 = 0, ns0 = 0, tsc1 = 0, ns1 = 0;
    struct timespec pause = {.tv_nsec = 10000000};
    sample(&tsc0, &ns0);
    nanosleep(&pause, NULL);
    sample(&tsc1, &ns1);
    if (ns1 <= ns0 || tsc1 <= tsc0)
        return 1000000;
    return (uint32_t)((unsigned __int128)(tsc1 - tsc0) * 1000000 / (ns1 - ns0));
}

struct tick_scale tick_scale(uint32_t khz)
{
    /* The multiplier has 32 fraction bits and is kept at or above one half, for precision. */
    unsigned __int128 numerator = NS_PER_SECOND;
    uint64_t denominator = (uint64_t)(khz ? khz : 1) * 1000;
    struct tick_scale s = {0};
    while (numerator >= denominator) {
        denominator <<= 1;
        s.shift++;
    }
    while (numerator * 2 < denominator) {
        numerator <<= 1;
        s.shift--;
    }
    s.multiplier = (uint32_t)((numerator << 32) / denominator);
    return s;
}

uint64_t ticks_to_ns(struct tick_scale scale, uint64_t ticks)
{
    ticks = scale.shift < 0 ? ticks >> -scale.shift : ticks << scale.shift;
    return (uint64_t)(((unsigned __int128)ticks * scale.multiplier) >> 32);
}

void clock_init(struct vm *vm)
{
    uint64_t now = host_tsc();
    vm->clock.base_tsc = now;
    vm->clock.base_ns = 0;
    vm->tsc_origin = now;
    vm->tsc_value = 0;
}

static uint64_t clock_at(struct vm *vm, uint64_t tsc)
{
    uint64_t delta = tsc - vm->clock.base_tsc;
    return vm->clock.base_ns + ticks_to_ns(tick_scale(vm->system->tsc_khz), delta);
}

uint64_t clock_now(struct vm *vm)
{
    pthread_mutex_lock(&vm->clock.lock);
    uint64_t ns = clock_at(vm, host_tsc());
    pthread_mutex_unlock(&vm->clock.lock);
    return ns;
}

long clock_get(struct vm *vm, struct kvm_clock_data *data)
{
    pthread_mutex_lock(&vm->clock.lock);
    data->host_tsc = host_tsc();
    data->realtime = clock_ns(CLOCK_REALTIME);
    data->clock = clock_at(vm, data->host_tsc);
    pthread_mutex_unlock(&vm->clock.lock);
    data->flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
    return 0;
}

long clock_set(struct vm *vm, const struct kvm_clock_data *data)
{
    /* Flags that KVM_GET_CLOCK sets may come back; KVM_CLOCK_REALTIME alone means something. */
    if (data->flags & ~(__u32)(KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC | KVM_CLOCK_TSC_STABLE))
        return -EINVAL;
    uint64_t ns = data->clock;
    if (data->flags & KVM_CLOCK_REALTIME) {
        /* The clock went on while the guest was on its way to this host. */
        uint64_t now = clock_ns(CLOCK_REALTIME);
        if (now > data->realtime)
            ns += now - data->realtime;
    }
    pthread_mutex_lock(&vm->clock.lock);
    vm->clock.base_tsc = host_tsc();
    vm->clock.base_ns = ns;
    pthread_mutex_unlock(&vm->clock.lock);
    vm_request_all(vm, VCPU_REQUEST_CLOCK);
    return 0;
}
