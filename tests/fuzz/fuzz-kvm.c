/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libFuzzer: a hostile program and guest on kvm/.  The input is a script of requests to a VM with
 * two vCPUs and an irqchip, of their structures' bytes, and of guest memory; KVM_RUN runs whatever
 * state came out of that for a moment.  Pointers inside structures are made good: a program that
 * gives bad ones hurts only itself.
 */
#include "kvm/compat.h"
#include "kvm/trapeze_kvm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM   (1ull << 20)
#define VCPUS 2u

static const unsigned long vm_requests[] = {
    KVM_IRQ_LINE,
    KVM_IRQ_LINE_STATUS,
    KVM_SIGNAL_MSI,
    TRAPEZE_KVM_MEMORY_WRITTEN,
    KVM_ENABLE_CAP,
    KVM_SET_USER_MEMORY_REGION,
    KVM_GET_DIRTY_LOG,
    KVM_CLEAR_DIRTY_LOG,
    KVM_SET_CLOCK,
    KVM_REGISTER_COALESCED_MMIO,
    KVM_UNREGISTER_COALESCED_MMIO,
    KVM_X86_SET_MSR_FILTER,
    KVM_GET_IRQCHIP,
    KVM_SET_IRQCHIP,
    KVM_CREATE_PIT2,
    KVM_GET_PIT2,
    KVM_SET_PIT2,
    KVM_SET_GSI_ROUTING,
    KVM_RESET_DIRTY_RINGS,
};
static const unsigned long vcpu_requests[] = {
    KVM_RUN,           KVM_SET_REGS,
    KVM_RUN,           KVM_SET_SREGS,
    KVM_RUN,           KVM_GET_SREGS,
    KVM_SET_SREGS2,    KVM_SET_FPU,
    KVM_SET_XSAVE,     KVM_SET_XCRS,
    KVM_SET_DEBUGREGS, KVM_SET_VCPU_EVENTS,
    KVM_RUN,           KVM_GET_VCPU_EVENTS,
    KVM_SET_MP_STATE,  KVM_SET_LAPIC,
    KVM_SET_MSRS,      KVM_RUN,
    KVM_SET_CPUID2,    KVM_GET_CPUID2,
    KVM_INTERRUPT,     KVM_NMI,
    KVM_TRANSLATE,     KVM_SET_GUEST_DEBUG,
    KVM_RUN,           KVM_X86_SETUP_MCE,
    KVM_X86_SET_MCE,   KVM_SET_TSC_KHZ,
    KVM_KVMCLOCK_CTRL, KVM_PRE_FAULT_MEMORY,
};

struct script {
    const uint8_t *data;
    size_t left;
};

static uint64_t take(struct script *s, size_t n)
{
    uint64_t value = 0;
    n = n < s->left ? n : s->left;
    memcpy(&value, s->data, n);
    s->data += n;
    s->left -= n;
    return value;
}

/* Overwrites a stretch of TO's SIZE bytes with bytes of the script. */
static void scribble(struct script *s, uint8_t *to, size_t size)
{
    size_t at = take(s, 2) % size, n = take(s, 1) % 32;
    n = n < size - at ? n : size - at;
    n = n < s->left ? n : s->left;
    memcpy(to + at, s->data, n);
    s->data += n;
    s->left -= n;
}

#define RING_BYTES 4096

static uint8_t *ram, *hole; /* memory, and addresses without any */
static struct tkvm_file *system_file;
static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tkvm_file *running;

static void set_running(struct tkvm_file *f)
{
    pthread_mutex_lock(&running_lock);
    running = f;
    pthread_mutex_unlock(&running_lock);
}

/* Ends every KVM_RUN after a moment. */
static void *kicker(void *opaque)
{
    (void)opaque;
    for (;;) {
        usleep(200);
        pthread_mutex_lock(&running_lock);
        if (running)
            tkvm_kick(running);
        pthread_mutex_unlock(&running_lock);
    }
    return NULL;
}

static long request(struct tkvm_file *f, unsigned long code, void *argument)
{
    return tkvm_ioctl(f, code, (unsigned long)argument, NULL);
}

/* Bytes of a structure that each request starts from: those it has now, where there is a getter. */
static void begin(struct tkvm_file *f, unsigned long code, void *data)
{
    static const unsigned long getters[][2] = {
        {KVM_SET_REGS, KVM_GET_REGS},     {KVM_SET_SREGS, KVM_GET_SREGS},
        {KVM_SET_SREGS2, KVM_GET_SREGS2}, {KVM_SET_XSAVE, KVM_GET_XSAVE},
        {KVM_SET_LAPIC, KVM_GET_LAPIC},   {KVM_SET_VCPU_EVENTS, KVM_GET_VCPU_EVENTS},
        {KVM_SET_PIT2, KVM_GET_PIT2},     {KVM_SET_IRQCHIP, KVM_GET_IRQCHIP},
        {KVM_SET_CPUID2, KVM_GET_CPUID2},
    };
    for (size_t i = 0; i < ARRAY_SIZE(getters); i++)
        if (getters[i][0] == code) {
            if (code == KVM_SET_CPUID2)
                *(uint32_t *)data = 256;
            request(f, getters[i][1], data);
        }
}

/* Makes pointers and counts in DATA good. */
static void mend(unsigned long code, uint8_t *data, uint8_t *spare)
{
    switch (code) {
    case KVM_SET_USER_MEMORY_REGION: {
        struct kvm_userspace_memory_region *r = (void *)data;
        r->memory_size &= RAM - 1;
        r->userspace_addr = (uintptr_t)ram;
        r->slot %= 4;
        break;
    }
    case KVM_GET_DIRTY_LOG:
        ((struct kvm_dirty_log *)data)->dirty_bitmap = spare;
        break;
    case KVM_CLEAR_DIRTY_LOG:
        ((struct kvm_clear_dirty_log *)data)->dirty_bitmap = spare;
        break;
    case KVM_X86_SET_MSR_FILTER:
        for (unsigned i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
            ((struct kvm_msr_filter *)data)->ranges[i].bitmap = spare;
        break;
    case TRAPEZE_KVM_MEMORY_WRITTEN: /* goes page by page */
        ((struct trapeze_kvm_memory_written *)data)->size %= 2 * RAM;
        break;
    case KVM_SET_MSRS:
    case KVM_SET_GSI_ROUTING:
        *(uint32_t *)data %= 64;
        break;
    }
}

static void one_request(struct script *s, struct tkvm_file *f, unsigned long code)
{
    static uint8_t data[65536], spare[65536];
    size_t size = _IOC_SIZE(code);
    memset(data, 0, 8192);
    begin(f, code, data);
    for (unsigned n = take(s, 1) % 4; n; n--)
        scribble(s, data,
                 code == KVM_SET_MSRS || code == KVM_SET_GSI_ROUTING ? 2048
                 : code == KVM_SET_CPUID2                            ? 8192
                 : size                                              ? size
                                                                     : 8);
    mend(code, data, spare);
    request(f, code, size ? (void *)data : (void *)(uintptr_t)*data);
}

static void run(struct tkvm_file *f, struct script *s)
{
    struct kvm_run *r = tkvm_mmap(f, 12288, 0);
    scribble(s, (uint8_t *)r, 8); /* request_interrupt_window, immediate_exit */
    for (unsigned n = 0; n < 8; n++) {
        set_running(f);
        long result = request(f, KVM_RUN, NULL);
        set_running(NULL);
        if (result < 0)
            break;
        scribble(s, (uint8_t *)r + 4096, 16);
        uint8_t *ring = tkvm_mmap(f, RING_BYTES, KVM_DIRTY_LOG_PAGE_OFFSET * 4096);
        if (ring)
            scribble(s, ring, RING_BYTES);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    pthread_t thread;
    ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    hole = mmap(NULL, RAM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    system_file = tkvm_open(NULL);
    if (ram == MAP_FAILED || hole == MAP_FAILED || !system_file ||
        pthread_create(&thread, NULL, kicker, NULL))
        abort();
    return 0;
}

static void give_cpuid(struct tkvm_file *v)
{
    static uint32_t cpuid[2 + 256 * sizeof(struct kvm_cpuid_entry2) / 4];
    cpuid[0] = 256;
    request(system_file, KVM_GET_SUPPORTED_CPUID, cpuid);
    request(v, KVM_SET_CPUID2, cpuid);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct script s = {bytes, size};
    struct tkvm_file *vm, *v[VCPUS];
    if (tkvm_ioctl(system_file, KVM_CREATE_VM, 0, &vm) < 0)
        abort();
    unsigned options = (unsigned)take(&s, 1);
    if (options & 1)
        request(vm, KVM_CREATE_IRQCHIP, NULL);
    struct kvm_enable_cap ring = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {RING_BYTES}};
    if (options & 2)
        request(vm, KVM_ENABLE_CAP, &ring);
    for (unsigned i = 0; i < VCPUS; i++) {
        if (tkvm_ioctl(vm, KVM_CREATE_VCPU, i, &v[i]) < 0)
            abort();
        give_cpuid(v[i]);
    }
    memset(ram, 0, RAM);
    struct kvm_userspace_memory_region slot = {.flags = options & 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0,
                                               .memory_size = RAM,
                                               .userspace_addr = (uintptr_t)ram};
    request(vm, KVM_SET_USER_MEMORY_REGION, &slot);
    slot = (struct kvm_userspace_memory_region){
        .slot = 2, .guest_phys_addr = RAM, .memory_size = RAM, .userspace_addr = (uintptr_t)hole};
    if (options & 4)
        request(vm, KVM_SET_USER_MEMORY_REGION, &slot);
    slot = (struct kvm_userspace_memory_region){.slot = 3,
                                                .guest_phys_addr = 0xfff00000,
                                                .memory_size = RAM,
                                                .userspace_addr = (uintptr_t)ram};
    request(vm, KVM_SET_USER_MEMORY_REGION, &slot);
    for (unsigned steps = 0; s.left && steps < 200; steps++) {
        unsigned choice = (unsigned)take(&s, 1);
        struct tkvm_file *vcpu = v[choice >> 7];
        choice &= 0x7f;
        if (choice < 32) {
            scribble(&s, ram + (take(&s, 1) << 12), 4096);
        } else if (choice < 56) {
            one_request(&s, vm, vm_requests[choice % ARRAY_SIZE(vm_requests)]);
        } else {
            unsigned long code = vcpu_requests[choice % ARRAY_SIZE(vcpu_requests)];
            if (code == KVM_RUN)
                run(vcpu, &s);
            else
                one_request(&s, vcpu, code);
        }
    }
    for (unsigned i = 0; i < VCPUS; i++)
        tkvm_close(v[i]);
    tkvm_close(vm);
    return 0;
}
