/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's time stamp counter, and its view of kvmclock (KVM's cpuid.rst and msr.rst). */
#include "msr.h"
#include "vcpu.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

/* What the guest reads (KVM's msr.rst, MSR_KVM_SYSTEM_TIME_NEW). */
struct pvclock_time {
    uint32_t version; /* odd while it changes */
    uint32_t pad0;
    uint64_t tsc_timestamp, system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad[2];
};
#define PVCLOCK_TSC_STABLE    0x1
#define PVCLOCK_GUEST_STOPPED 0x2

struct pvclock_wall {
    uint32_t version, sec, nsec;
};

/* Host ticks at the guest's frequency; the multiplier has 48 fraction bits, 0 meaning 1.0. */
static uint64_t scale_tsc(const struct vcpu *v, uint64_t host)
{
    uint64_t m = v->processor->vmcs.tsc_multiplier;
    return m ? (uint64_t)(((unsigned __int128)host * m) >> 48) : host;
}

static uint64_t guest_tsc_at(const struct vcpu *v, uint64_t host)
{
    return scale_tsc(v, host) + v->processor->vmcs.tsc_offset;
}

uint64_t vcpu_tsc(const struct vcpu *v)
{
    return processor_tsc(v->processor);
}

/* What the TSC of this vCPU would be now, had it run since the last time one of the VM was set. */
static uint64_t common_offset(struct vcpu *v)
{
    struct vm *vm = v->vm;
    pthread_mutex_lock(&vm->tsc_lock);
    uint64_t offset = vm->tsc_value - scale_tsc(v, vm->tsc_origin);
    pthread_mutex_unlock(&vm->tsc_lock);
    return offset;
}

void tsc_set_offset(struct vcpu *v, uint64_t offset)
{
    v->processor->vmcs.tsc_offset = offset;
    if (v->lapic)
        lapic_tsc_changed(v->lapic);
    vcpu_request(v, VCPU_REQUEST_CLOCK);
}

int tsc_set_khz(struct vcpu *v, uint32_t khz)
{
    uint32_t host = v->vm->system->tsc_khz;
    if (!khz || khz >= INT32_MAX)
        return -EINVAL;
    uint64_t now = vcpu_tsc(v);
    v->tsc_khz = khz;
    v->processor->vmcs.tsc_multiplier =
        khz == host ? 0 : (uint64_t)(((unsigned __int128)khz << 48) / host);
    tsc_set_offset(v, now - scale_tsc(v, host_tsc()));
    return 0;
}

void tsc_init(struct vcpu *v)
{
    v->tsc_khz = v->vm->system->tsc_khz;
    if (v->vm->tsc_khz != v->tsc_khz)
        tsc_set_khz(v, v->vm->tsc_khz);
    v->processor->vmcs.tsc_offset = common_offset(v);
}

void tsc_write(struct vcpu *v, uint64_t value, bool host)
{
    struct vm *vm = v->vm;
    uint64_t origin = host_tsc();
    if (!host) {
        v->tsc_adjust += value - guest_tsc_at(v, origin);
        tsc_set_offset(v, value - scale_tsc(v, origin));
        return;
    }
    /* User space restores vCPUs one after the other: values within a second of the common TSC, and
     * the 0 of a reset, mean that all shall run in step. */
    uint64_t common = common_offset(v);
    uint64_t expected = scale_tsc(v, origin) + common;
    uint64_t second = (uint64_t)v->tsc_khz * 1000;
    if (value == 0 || value - expected < second || expected - value < second) {
        tsc_set_offset(v, common);
        return;
    }
    pthread_mutex_lock(&vm->tsc_lock);
    vm->tsc_origin = origin;
    vm->tsc_value = value;
    pthread_mutex_unlock(&vm->tsc_lock);
    tsc_set_offset(v, value - scale_tsc(v, origin));
}

void tsc_write_adjust(struct vcpu *v, uint64_t value, bool host)
{
    /* The guest moves its TSC by the difference; user space restores the register alone. */
    if (!host)
        tsc_set_offset(v, v->processor->vmcs.tsc_offset + value - v->tsc_adjust);
    v->tsc_adjust = value;
}

/* ---------------------------------------------------------------- kvmclock */

void kvmclock_update(struct vcpu *v)
{
    struct vm *vm = v->vm;
    if (!(v->msr.system_time & KVM_MSR_ENABLED))
        return;
    uint64_t address = v->msr.system_time & ~1ull;
    struct tick_scale scale = tick_scale(v->tsc_khz);
    pthread_mutex_lock(&vm->clock.lock);
    struct pvclock_time t = {
        .tsc_timestamp = guest_tsc_at(v, vm->clock.base_tsc),
        .system_time = vm->clock.base_ns,
        .tsc_to_system_mul = scale.multiplier,
        .tsc_shift = scale.shift,
        .flags = PVCLOCK_TSC_STABLE,
    };
    pthread_mutex_unlock(&vm->clock.lock);
    /* The guest clears this flag when it has seen it. */
    uint8_t flags = 0;
    memory_read(vm->memory, address + offsetof(struct pvclock_time, flags), &flags, 1);
    if (v->clock_stopped || flags & PVCLOCK_GUEST_STOPPED)
        t.flags |= PVCLOCK_GUEST_STOPPED;
    v->clock_stopped = false;
    /* Other vCPUs may be reading: odd, body, even. */
    v->clock_version = (v->clock_version | 1) + 2;
    t.version = v->clock_version;
    if (memory_write(vm->memory, address, &t.version, sizeof(t.version)) < 0)
        return; /* the guest gave an address without memory: it has no clock */
    size_t body = offsetof(struct pvclock_time, tsc_timestamp);
    memory_write(vm->memory, address + body, (uint8_t *)&t + body, sizeof(t) - body);
    t.version = ++v->clock_version;
    memory_write(vm->memory, address, &t.version, sizeof(t.version));
}

/* Wall clock: the time of day at which kvmclock was 0. */
static void write_wall_clock(struct vcpu *v, uint64_t address)
{
    struct pvclock_wall w;
    struct timespec now;
    if (memory_read(v->vm->memory, address, &w.version, sizeof(w.version)) < 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
    ns -= clock_now(v->vm);
    w.version |= 1;
    memory_write(v->vm->memory, address, &w.version, sizeof(w.version));
    w.sec = (uint32_t)(ns / 1000000000ull);
    w.nsec = (uint32_t)(ns % 1000000000ull);
    memory_write(v->vm->memory, address + 4, &w.sec, 8);
    w.version++;
    memory_write(v->vm->memory, address, &w.version, sizeof(w.version));
}

int kvmclock_write_msr(struct vcpu *v, uint32_t index, uint64_t value)
{
    if (index == MSR_KVM_WALL_CLOCK || index == MSR_KVM_WALL_CLOCK_NEW) {
        v->msr.wall_clock = value;
        if (value) /* 0 is what user space sets at resets: no address */
            write_wall_clock(v, value);
        return 0;
    }
    v->msr.system_time = value;
    vcpu_request(v, VCPU_REQUEST_CLOCK);
    return 0;
}
