/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The probe guest: is /dev/kvm the processor's own virtualization, or an emulation of it?  There
 * are hosts whose /dev/kvm interprets each guest instruction, about two million a second, and fails
 * on SSE; opening the file tells nothing, so a guest is run and timed.
 */
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PROBE_RAM      0x10000
#define PROBE_PML4     0x1000
#define PROBE_PDPT     0x2000
#define PROBE_PD       0x3000
#define PROBE_CODE     0x4000
#define PROBE_DATA     0x5000
#define PROBE_STEPS    20000 /* of the loop, two instructions each */
#define PROBE_TRIES    5     /* the fastest counts: the host may be busy */
#define PROBE_LIMIT_US 1500000
#define HARDWARE_SPEED 50e6 /* instructions a second; an emulation is at a few millions */
#define HOPELESS_SPEED 5e6  /* no second try makes this hardware */

enum { PORT_LOOP_START = 0x10, PORT_LOOP_END, PORT_SSE_DONE };

/* Loops between two port writes, then stores with SSE. */
static const uint8_t probe_code[] = {
    0xe6,
    PORT_LOOP_START, /* out %al,$PORT_LOOP_START */
    0xb9,
    PROBE_STEPS & 0xff,
    PROBE_STEPS >> 8,
    0,
    0, /* mov $PROBE_STEPS,%ecx */
    0xff,
    0xc9, /* 1: dec %ecx */
    0x75,
    0xfc, /* jnz 1b */
    0xe6,
    PORT_LOOP_END, /* out %al,$PORT_LOOP_END */
    0x66,
    0x0f,
    0xef,
    0xc0, /* pxor %xmm0,%xmm0 */
    0x66,
    0x0f,
    0x76,
    0xc0, /* pcmpeqd %xmm0,%xmm0 */
    0x0f,
    0x11,
    0x04,
    0x25,
    0x00,
    0x50,
    0x00,
    0x00, /* movups %xmm0,PROBE_DATA */
    0xe6,
    PORT_SSE_DONE, /* out %al,$PORT_SSE_DONE */
};

struct probe_run {
    struct engine_file *system, *vm, *vcpu;
    struct kvm_run *run;
    uint8_t *ram;
    pthread_t thread;
    GMutex lock;
    GCond done_changed;
    bool done;
    const char *failure; /* what did not work, or NULL */
    int failure_errno;
    double speed;
};

static bool failed(struct probe_run *p, const char *what, long result)
{
    p->failure = what;
    p->failure_errno = result < 0 ? (int)-result : 0;
    return false;
}

static void put64(uint8_t *ram, unsigned at, uint64_t value)
{
    memcpy(ram + at, &value, sizeof value);
}

static void fill_ram(uint8_t *ram)
{
    put64(ram, PROBE_PML4, PROBE_PDPT | 3);
    put64(ram, PROBE_PDPT, PROBE_PD | 3);
    put64(ram, PROBE_PD, 0x83); /* 2 MiB at 0: present, writable, large */
    memcpy(ram + PROBE_CODE, probe_code, sizeof probe_code);
}

static void set_cpuid(struct probe_run *p)
{
    unsigned room = 256;
    struct kvm_cpuid2 *c = g_malloc0(sizeof *c + room * sizeof c->entries[0]);

    c->nent = room;
    if (engine_kernel.ioctl(p->system, KVM_GET_SUPPORTED_CPUID, (uintptr_t)c, NULL) == 0)
        engine_kernel.ioctl(p->vcpu, KVM_SET_CPUID2, (uintptr_t)c, NULL);
    g_free(c);
}

/* Puts the vCPU into 64-bit mode at the start of the code. */
static bool set_state(struct probe_run *p)
{
    struct kvm_sregs s;
    struct kvm_regs r = {.rip = PROBE_CODE, .rflags = 2, .rsp = PROBE_RAM};
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {
        .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
    long result = engine_kernel.ioctl(p->vcpu, KVM_GET_SREGS, (uintptr_t)&s, NULL);

    if (result < 0)
        return failed(p, "KVM_GET_SREGS", result);
    s.cs = code;
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.cr3 = PROBE_PML4;
    s.cr4 = 0x620;      /* PAE, OSFXSR, OSXMMEXCPT */
    s.cr0 = 0x80050033; /* PG, AM, WP, NE, ET, MP, PE */
    s.efer = 0x500;     /* LMA, LME */
    result = engine_kernel.ioctl(p->vcpu, KVM_SET_SREGS, (uintptr_t)&s, NULL);
    if (result < 0)
        return failed(p, "KVM_SET_SREGS", result);
    result = engine_kernel.ioctl(p->vcpu, KVM_SET_REGS, (uintptr_t)&r, NULL);
    return result < 0 ? failed(p, "KVM_SET_REGS", result) : true;
}

static bool create(struct probe_run *p)
{
    struct kvm_userspace_memory_region slot = {.memory_size = PROBE_RAM};
    GError *error = NULL;
    long result;

    p->system = engine_kernel.open(NULL, &error);
    if (!p->system) {
        failed(p, "open", -errno);
        g_clear_error(&error);
        return false;
    }
    result = engine_kernel.ioctl(p->system, KVM_CREATE_VM, 0, &p->vm);
    if (result < 0)
        return failed(p, "KVM_CREATE_VM", result);
    p->ram = mmap(NULL, PROBE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->ram == MAP_FAILED) {
        p->ram = NULL;
        return failed(p, "mmap", -errno);
    }
    fill_ram(p->ram);
    slot.userspace_addr = (uintptr_t)p->ram;
    result = engine_kernel.ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&slot, NULL);
    if (result < 0)
        return failed(p, "KVM_SET_USER_MEMORY_REGION", result);
    engine_kernel.ioctl(p->vm, KVM_SET_TSS_ADDR, 0xfffbd000, NULL);
    result = engine_kernel.ioctl(p->vm, KVM_CREATE_VCPU, 0, &p->vcpu);
    if (result < 0)
        return failed(p, "KVM_CREATE_VCPU", result);
    long size = engine_kernel.ioctl(p->system, KVM_GET_VCPU_MMAP_SIZE, 0, NULL);
    struct kvm_run *run = size > 0 ? engine_kernel.mmap(p->vcpu, size) : NULL;
    if (!run)
        return failed(p, "mmap of the vCPU", -errno);
    set_cpuid(p);
    g_mutex_lock(&p->lock); /* now it can be kicked */
    p->run = run;
    g_mutex_unlock(&p->lock);
    return true;
}

/* Runs until the guest writes PORT.  WHAT names the step in case of failure. */
static bool run_until(struct probe_run *p, unsigned port, const char *what)
{
    long result = engine_kernel.ioctl(p->vcpu, KVM_RUN, 0, NULL);

    if (result == -EINTR)
        return failed(p, "it did not finish a loop of forty thousand instructions in time", 0);
    if (result < 0)
        return failed(p, "KVM_RUN", result);
    if (p->run->exit_reason != KVM_EXIT_IO || p->run->io.port != port)
        return failed(p, what, 0);
    return true;
}

static bool run_guest(struct probe_run *p)
{
    static const uint8_t ones[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255};

    for (unsigned i = 0; i < PROBE_TRIES && p->speed < HARDWARE_SPEED; i++) {
        if (!set_state(p) || !run_until(p, PORT_LOOP_START, "it failed in long mode"))
            return false;
        gint64 start = g_get_monotonic_time();
        if (!run_until(p, PORT_LOOP_END, "it failed in a loop"))
            return false;
        gint64 took = MAX(g_get_monotonic_time() - start, 1);
        p->speed = MAX(p->speed, 2.0 * PROBE_STEPS * 1e6 / (double)took);
        if (p->speed < HOPELESS_SPEED)
            break;
    }
    if (!run_until(p, PORT_SSE_DONE, "it failed on an SSE instruction"))
        return false;
    if (memcmp(p->ram + PROBE_DATA, ones, sizeof ones))
        return failed(p, "it computed wrongly with SSE", 0);
    return true;
}

static void *probe_thread(void *data)
{
    struct probe_run *p = data;

    if (create(p))
        run_guest(p);
    g_mutex_lock(&p->lock);
    p->done = true;
    g_cond_signal(&p->done_changed);
    g_mutex_unlock(&p->lock);
    return NULL;
}

/* Runs the guest in a thread of its own, and kicks it out when it takes too long. */
static void probe_with_limit(struct probe_run *p)
{
    gint64 until = g_get_monotonic_time() + PROBE_LIMIT_US;

    if (pthread_create(&p->thread, NULL, probe_thread, p)) {
        failed(p, "a thread", -EAGAIN);
        return;
    }
    g_mutex_lock(&p->lock);
    while (!p->done) {
        if (g_cond_wait_until(&p->done_changed, &p->lock, until))
            continue;
        if (p->run)
            engine_kernel.kick(p->vcpu, p->run, p->thread);
        until = g_get_monotonic_time() + PROBE_LIMIT_US;
    }
    g_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
}

/* Says in PROBE what the run showed. */
static void conclude(struct engine_probe *probe, const struct probe_run *p)
{
    g_autofree char *why = NULL;

    probe->present = !(p->failure && p->failure_errno == ENOENT && !p->system);
    probe->instructions_per_second = p->speed;
    probe->usable = !p->failure;
    probe->hardware = probe->usable && p->speed >= HARDWARE_SPEED;
    if (p->failure)
        why = p->failure_errno ? g_strdup_printf("%s: %s", p->failure, g_strerror(p->failure_errno))
                               : g_strdup(p->failure);
    if (!probe->present)
        probe->text = g_strdup("there is no /dev/kvm");
    else if (!p->system)
        probe->text = g_strdup_printf("/dev/kvm cannot be opened: %s", why);
    else if (p->speed > 0 && p->speed < HARDWARE_SPEED)
        probe->text = g_strdup_printf("/dev/kvm only emulates: its probe guest ran %.1f million "
                                      "instructions a second%s%s",
                                      p->speed / 1e6, why ? ", and " : "", why ? why : "");
    else if (why)
        probe->text = g_strdup_printf("/dev/kvm does not run its probe guest: %s", why);
    else
        probe->text = g_strdup_printf("/dev/kvm ran its probe guest at hardware speed (%.0f "
                                      "million instructions a second)",
                                      p->speed / 1e6);
}

void engine_probe_kernel(struct engine_probe *probe)
{
    struct probe_run p = {0};

    memset(probe, 0, sizeof *probe);
    g_mutex_init(&p.lock);
    g_cond_init(&p.done_changed);
    probe_with_limit(&p);
    conclude(probe, &p);
    engine_kernel.close(p.vcpu);
    engine_kernel.close(p.vm);
    engine_kernel.close(p.system);
    if (p.ram)
        munmap(p.ram, PROBE_RAM);
    g_cond_clear(&p.done_changed);
    g_mutex_clear(&p.lock);
}

void engine_probe_clear(struct engine_probe *probe)
{
    g_clear_pointer(&probe->text, g_free);
}
