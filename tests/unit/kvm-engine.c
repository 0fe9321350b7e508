/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kvm-engine.h"
#include "kvm/trapeze_kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---------------------------------------------------------------- Linux */

struct linux_file {
    int fd;
    struct {
        void *at;
        size_t length;
    } map[4];
    unsigned maps;
};

static struct kvm_file *linux_wrap(int fd)
{
    struct linux_file *f = g_new0(struct linux_file, 1);
    f->fd = fd;
    return (struct kvm_file *)f;
}

static struct kvm_file *linux_open(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    return fd < 0 ? NULL : linux_wrap(fd);
}

static long linux_ioctl(struct kvm_file *file, unsigned long request, unsigned long argument,
                        struct kvm_file **created)
{
    struct linux_file *f = (struct linux_file *)file;
    long r = ioctl(f->fd, request, argument);
    if (r < 0)
        return -errno;
    if (created) {
        *created = linux_wrap((int)r);
        return 0;
    }
    return r;
}

static void *linux_mmap(struct kvm_file *file, size_t length, uint64_t offset)
{
    struct linux_file *f = (struct linux_file *)file;
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, (off_t)offset);
    if (at == MAP_FAILED)
        return NULL;
    g_assert_cmpuint(f->maps, <, G_N_ELEMENTS(f->map));
    f->map[f->maps].at = at;
    f->map[f->maps++].length = length;
    return at;
}

static long linux_read(struct kvm_file *file, void *to, size_t size, uint64_t offset)
{
    ssize_t n = pread(((struct linux_file *)file)->fd, to, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static void linux_close(struct kvm_file *file)
{
    struct linux_file *f = (struct linux_file *)file;
    for (unsigned i = 0; i < f->maps; i++)
        munmap(f->map[i].at, f->map[i].length);
    close(f->fd);
    g_free(f);
}

/* The flag covers a signal that comes before KVM_RUN, the signal a KVM_RUN that has begun. */
static void linux_kick(struct kvm_file *vcpu, struct kvm_run *run, pthread_t thread)
{
    (void)vcpu;
    *(volatile uint8_t *)&run->immediate_exit = 1;
    pthread_kill(thread, SIGUSR1);
}

const struct kvm_engine kvm_engine_linux = {
    .name = "linux",
    .open = linux_open,
    .ioctl = linux_ioctl,
    .mmap = linux_mmap,
    .read = linux_read,
    .close = linux_close,
    .kick = linux_kick,
};

/* ---------------------------------------------------------------- ours */

static struct kvm_file *software_open(void)
{
    return (struct kvm_file *)tkvm_open(NULL);
}

static long software_ioctl(struct kvm_file *f, unsigned long request, unsigned long argument,
                           struct kvm_file **created, uint32_t mode)
{
    const struct trapeze_kvm_translator how = {.mode = mode, .threshold = 1};
    long r = tkvm_ioctl((struct tkvm_file *)f, request, argument, (struct tkvm_file **)created);
    if (r == 0 && request == KVM_CREATE_VM) {
        struct tkvm_file *vm = (struct tkvm_file *)*created;
        r = tkvm_ioctl(vm, TRAPEZE_KVM_SET_TRANSLATOR, (unsigned long)&how, NULL);
        g_assert_cmpint(r, ==, 0);
        r = tkvm_ioctl(vm, TRAPEZE_KVM_COUNT_INSTRUCTIONS, 0, NULL);
        g_assert_cmpint(r, ==, 0);
    }
    return r;
}

static long interpreter_ioctl(struct kvm_file *f, unsigned long request, unsigned long argument,
                              struct kvm_file **created)
{
    return software_ioctl(f, request, argument, created, TRAPEZE_KVM_INTERPRET);
}

static long translator_ioctl(struct kvm_file *f, unsigned long request, unsigned long argument,
                             struct kvm_file **created)
{
    return software_ioctl(f, request, argument, created, TRAPEZE_KVM_TRANSLATE);
}

static void *software_mmap(struct kvm_file *f, size_t length, uint64_t offset)
{
    return tkvm_mmap((struct tkvm_file *)f, length, offset);
}

static long software_read(struct kvm_file *f, void *to, size_t size, uint64_t offset)
{
    return tkvm_read((struct tkvm_file *)f, to, size, offset);
}

static void software_close(struct kvm_file *f)
{
    tkvm_close((struct tkvm_file *)f);
}

static void software_kick(struct kvm_file *vcpu, struct kvm_run *run, pthread_t thread)
{
    (void)run;
    (void)thread;
    tkvm_kick((struct tkvm_file *)vcpu);
}

#define OURS(tier)                                                                                 \
    const struct kvm_engine kvm_engine_##tier = {                                                  \
        .name = #tier,                                                                             \
        .open = software_open,                                                                     \
        .ioctl = tier##_ioctl,                                                                     \
        .mmap = software_mmap,                                                                     \
        .read = software_read,                                                                     \
        .close = software_close,                                                                   \
        .kick = software_kick,                                                                     \
    }
OURS(interpreter);
OURS(translator);

/* ---------------------------------------------------------------- registration */

struct test_case {
    const struct kvm_engine *e;
    void (*fn)(const struct kvm_engine *e);
};

static void ignore_signal(int signal)
{
    (void)signal;
}

static void run_case(gconstpointer data)
{
    struct sigaction ignore = {.sa_handler = ignore_signal};
    sigaction(SIGUSR1, &ignore, NULL);
    const struct test_case *c = data;
    struct kvm_file *f = c->e->open();
    if (!f) {
        g_test_skip("no usable /dev/kvm here");
        return;
    }
    c->e->close(f);
    c->fn(c->e);
}

static void add(const char *prefix, const struct kvm_test *test)
{
    const struct kvm_engine *const engines[] = {&kvm_engine_interpreter, &kvm_engine_translator,
                                                &kvm_engine_linux};
    for (unsigned i = 0; i < G_N_ELEMENTS(engines); i++) {
        struct test_case *c = g_new(struct test_case, 1);
        *c = (struct test_case){engines[i], test->fn};
        g_autofree char *path = g_strdup_printf("/%s/%s/%s", prefix, engines[i]->name, test->name);
        g_test_add_data_func_full(path, c, run_case, g_free);
    }
}

int kvm_test_main(int argc, char **argv, const char *prefix, const struct kvm_test *tests,
                  size_t count)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < count; i++)
        add(prefix, &tests[i]);
    return g_test_run();
}

/* ---------------------------------------------------------------- a small VM */

long test_system(struct test_vm *t, unsigned long request, void *argument)
{
    return t->e->ioctl(t->system, request, (unsigned long)argument, NULL);
}

long test_vm(struct test_vm *t, unsigned long request, void *argument)
{
    return t->e->ioctl(t->vm, request, (unsigned long)argument, NULL);
}

long test_vcpu_n(struct test_vm *t, unsigned n, unsigned long request, void *argument)
{
    return t->e->ioctl(t->vcpu[n], request, (unsigned long)argument, NULL);
}

long test_vcpu(struct test_vm *t, unsigned long request, void *argument)
{
    return test_vcpu_n(t, 0, request, argument);
}

static void give_cpuid(struct test_vm *t, unsigned n, bool tsc_deadline)
{
    struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entry[256];
    } cpuid = {.header.nent = 256};
    g_assert_cmpint(test_system(t, KVM_GET_SUPPORTED_CPUID, &cpuid), ==, 0);
    for (unsigned i = 0; i < cpuid.header.nent; i++)
        if (cpuid.entry[i].function == 1) {
            cpuid.entry[i].ebx = (cpuid.entry[i].ebx & 0xffffff) | n << 24;
            /* Older Linux tells of it by a capability alone. */
            if (tsc_deadline)
                cpuid.entry[i].ecx |= 1 << 24;
        }
    g_assert_cmpint(test_vcpu_n(t, n, KVM_SET_CPUID2, &cpuid), ==, 0);
}

void test_vm_add_vcpu(struct test_vm *t, unsigned long capability)
{
    unsigned n = 0;
    while (t->vcpu[n])
        n++;
    g_assert_cmpuint(n, <, TEST_VCPUS);
    g_assert_cmpint(t->e->ioctl(t->vm, KVM_CREATE_VCPU, n, &t->vcpu[n]), ==, 0);
    t->run[n] = t->e->mmap(t->vcpu[n], 12288, 0);
    g_assert_nonnull(t->run[n]);
    give_cpuid(t, n, capability == KVM_CAP_TSC_DEADLINE_TIMER);
}

struct test_vm *test_vm_new(const struct kvm_engine *e, unsigned vcpus, bool irqchip)
{
    struct test_vm *t = g_new0(struct test_vm, 1);
    t->e = e;
    t->system = e->open();
    g_assert_nonnull(t->system);
    g_assert_cmpint(e->ioctl(t->system, KVM_CREATE_VM, 0, &t->vm), ==, 0);
    test_vm(t, KVM_SET_TSS_ADDR, (void *)0xfffbd000);
    if (irqchip)
        g_assert_cmpint(test_vm(t, KVM_CREATE_IRQCHIP, NULL), ==, 0);
    t->ram = mmap(NULL, TEST_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(t->ram != MAP_FAILED);
    struct kvm_userspace_memory_region ram = {
        .memory_size = TEST_RAM,
        .userspace_addr = (uintptr_t)t->ram,
    };
    g_assert_cmpint(test_vm(t, KVM_SET_USER_MEMORY_REGION, &ram), ==, 0);
    for (unsigned n = 0; n < vcpus; n++)
        test_vm_add_vcpu(t, 0);
    return t;
}

void test_vm_free(struct test_vm *t)
{
    for (unsigned n = 0; n < TEST_VCPUS; n++)
        if (t->vcpu[n])
            t->e->close(t->vcpu[n]);
    t->e->close(t->vm);
    t->e->close(t->system);
    munmap(t->ram, TEST_RAM);
    g_free(t);
}

/* ---------------------------------------------------------------- starting states */

static void load(struct test_vm *t, const uint8_t *code, const uint8_t *end, uint64_t rip)
{
    memcpy(t->ram + TEST_CODE, code, (size_t)(end - code));
    struct kvm_regs regs = {.rip = rip, .rsp = TEST_STACK, .rflags = 2};
    g_assert_cmpint(test_vcpu(t, KVM_SET_REGS, &regs), ==, 0);
}

void test_real(struct test_vm *t, const uint8_t *code, const uint8_t *end)
{
    struct kvm_sregs s;
    g_assert_cmpint(test_vcpu(t, KVM_GET_SREGS, &s), ==, 0);
    s.cs.base = TEST_CODE;
    s.cs.selector = TEST_CODE >> 4;
    g_assert_cmpint(test_vcpu(t, KVM_SET_SREGS, &s), ==, 0);
    load(t, code, end, 0);
    struct kvm_regs regs = {.rip = 0, .rsp = 0xfff0, .rflags = 2};
    g_assert_cmpint(test_vcpu(t, KVM_SET_REGS, &regs), ==, 0);
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool lng)
{
    return (struct kvm_segment){
        .limit = 0xffffffff,
        .selector = selector,
        .type = type,
        .present = 1,
        .db = !lng,
        .s = 1,
        .l = lng,
        .g = 1,
    };
}

static void set_flat(struct test_vm *t, struct kvm_sregs *s, bool lng)
{
    uint64_t *gdt = (uint64_t *)(t->ram + TEST_GDT);
    gdt[1] = lng ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
    gdt[2] = 0x00cf93000000ffff;
    s->cs = flat(8, 11, lng);
    s->ds = s->es = s->fs = s->gs = s->ss = flat(16, 3, false);
    s->gdt.base = TEST_GDT;
    s->gdt.limit = 23;
    s->idt.base = TEST_IDT;
    s->idt.limit = 4095;
    s->tr = (struct kvm_segment){.selector = 0x18, .type = 11, .present = 1, .limit = 103};
    s->ldt = (struct kvm_segment){.type = 2, .present = 1};
}

void test_protected(struct test_vm *t, const uint8_t *code, const uint8_t *end)
{
    struct kvm_sregs s;
    g_assert_cmpint(test_vcpu(t, KVM_GET_SREGS, &s), ==, 0);
    set_flat(t, &s, false);
    s.cr0 = 0x33; /* PE MP ET NE */
    s.cr4 |= 0x600;
    g_assert_cmpint(test_vcpu(t, KVM_SET_SREGS, &s), ==, 0);
    load(t, code, end, TEST_CODE);
}

void test_long(struct test_vm *t, const uint8_t *code, const uint8_t *end)
{
    struct kvm_sregs s;
    uint64_t *table = (uint64_t *)(t->ram + TEST_PAGE_TABLES);
    table[0] = (TEST_PAGE_TABLES + 0x1000) | 3;
    for (uint64_t i = 0; i < 4; i++)
        table[512 + i] = (TEST_PAGE_TABLES + 0x2000 + i * 0x1000) | 3;
    for (uint64_t i = 0; i < 2048; i++)
        table[1024 + i] = i << 21 | 0x83;
    g_assert_cmpint(test_vcpu(t, KVM_GET_SREGS, &s), ==, 0);
    set_flat(t, &s, true);
    s.cr0 = 0x80000033;
    s.cr3 = TEST_PAGE_TABLES;
    s.cr4 |= 0x620;
    s.efer = 0x500;
    g_assert_cmpint(test_vcpu(t, KVM_SET_SREGS, &s), ==, 0);
    load(t, code, end, TEST_CODE);
}

void test_gate(struct test_vm *t, unsigned vector, uint64_t handler)
{
    uint64_t *gate = (uint64_t *)(t->ram + TEST_IDT + vector * 16);
    gate[0] = (handler & 0xffff) | 8ull << 16 | 0x8e00ull << 32 | (handler & 0xffff0000) << 32;
    gate[1] = handler >> 32;
}

void test_run(struct test_vm *t, uint32_t exit_reason)
{
    long r;
    do
        r = test_vcpu(t, KVM_RUN, NULL);
    while (r == -EINTR || r == -EAGAIN);
    g_assert_cmpint(r, ==, 0);
    if (t->run[0]->exit_reason == KVM_EXIT_INTERNAL_ERROR)
        g_test_message("internal error %u, %llx %llx %llx", t->run[0]->internal.suberror,
                       (unsigned long long)t->run[0]->internal.data[0],
                       (unsigned long long)t->run[0]->internal.data[1],
                       (unsigned long long)t->run[0]->internal.data[2]);
    g_assert_cmpuint(t->run[0]->exit_reason, ==, exit_reason);
}

uint32_t test_pio_written(struct test_vm *t, uint16_t port, unsigned size)
{
    uint32_t value = 0;
    test_run(t, KVM_EXIT_IO);
    g_assert_cmpuint(t->run[0]->io.direction, ==, KVM_EXIT_IO_OUT);
    g_assert_cmpuint(t->run[0]->io.port, ==, port);
    g_assert_cmpuint(t->run[0]->io.size, ==, size);
    g_assert_cmpuint(t->run[0]->io.count, ==, 1);
    memcpy(&value, TEST_PIO_DATA(t), size);
    return value;
}

struct kvm_regs test_regs(struct test_vm *t)
{
    struct kvm_regs regs;
    g_assert_cmpint(test_vcpu(t, KVM_GET_REGS, &regs), ==, 0);
    return regs;
}
