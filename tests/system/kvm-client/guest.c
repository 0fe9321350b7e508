/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client.h"

#include <fcntl.h>
#include <time.h>

void guest_new(struct guest *g, const uint8_t *code, size_t size)
{
    g->system = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    CHECK(g->system >= 0);
    CHECK(ioctl(g->system, KVM_GET_API_VERSION, 0) == 12);
    g->vm = ioctl(g->system, KVM_CREATE_VM, 0);
    CHECK(g->vm >= 0);
    g->memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(g->memory != MAP_FAILED);
    memcpy(g->memory + CODE, code, size);
    struct kvm_userspace_memory_region slot = {
        .memory_size = GUEST_BYTES,
        .userspace_addr = (uintptr_t)g->memory,
    };
    CHECK(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0);
    g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
    CHECK(g->vcpu >= 0);
    g->run_bytes = ioctl(g->system, KVM_GET_VCPU_MMAP_SIZE, 0);
    CHECK(g->run_bytes >= (int)sizeof(struct kvm_run));
    g->run = mmap(NULL, (size_t)g->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
    CHECK(g->run != MAP_FAILED);
    struct kvm_sregs sregs;
    CHECK(ioctl(g->vcpu, KVM_GET_SREGS, &sregs) == 0);
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    CHECK(ioctl(g->vcpu, KVM_SET_SREGS, &sregs) == 0);
    struct kvm_regs regs = {.rip = CODE, .rflags = 2};
    CHECK(ioctl(g->vcpu, KVM_SET_REGS, &regs) == 0);
}

void guest_free(struct guest *g)
{
    CHECK(munmap(g->run, (size_t)g->run_bytes) == 0);
    CHECK(close(g->vcpu) == 0);
    CHECK(close(g->vm) == 0);
    CHECK(close(g->system) == 0);
    CHECK(munmap(g->memory, GUEST_BYTES) == 0);
}

uint32_t counter(const struct guest *g)
{
    return __atomic_load_n((uint32_t *)(g->memory + COUNTER), __ATOMIC_ACQUIRE);
}

void wait_running(const struct guest *g)
{
    uint32_t before = counter(g);
    while (counter(g) == before)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void run_to(struct guest *g, uint32_t reason)
{
    int r = ioctl(g->vcpu, KVM_RUN, 0);
    CHECK(r == 0);
    CHECK(g->run->exit_reason == reason);
}
