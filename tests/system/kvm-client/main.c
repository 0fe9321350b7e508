/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cases: see client.h. */
#include "client.h"

#include "kvm/trapeze_kvm.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

/* ---------------------------------------------------------------- running */

static void play_devices(struct guest *g)
{
    struct kvm_run *run = g->run;
    run_to(g, KVM_EXIT_IO);
    CHECK(run->io.direction == KVM_EXIT_IO_OUT && run->io.port == 0x10 && run->io.size == 1);
    CHECK(*((char *)run + run->io.data_offset) == 'x');
    run_to(g, KVM_EXIT_IO);
    CHECK(run->io.direction == KVM_EXIT_IO_IN && run->io.port == 0x11 && run->io.count == 1);
    *((char *)run + run->io.data_offset) = 'z';
    run_to(g, KVM_EXIT_MMIO);
    CHECK(run->mmio.is_write && run->mmio.phys_addr == 0xf0000 && run->mmio.len == 1);
    CHECK(run->mmio.data[0] == 'y');
    run_to(g, KVM_EXIT_MMIO);
    CHECK(!run->mmio.is_write && run->mmio.phys_addr == 0xf0002 && run->mmio.len == 2);
    memcpy(run->mmio.data, "ab", 2);
    run_to(g, KVM_EXIT_HLT);
    CHECK(g->memory[0x900] == 'z' && !memcmp(g->memory + 0x902, "ab", 2));
}

static void case_devices(void)
{
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    play_devices(&g);
    guest_free(&g);
}

static void *play_one(void *unused)
{
    (void)unused;
    case_devices();
    return NULL;
}

static void case_two_vms(void)
{
    struct guest counting;
    pthread_t other;
    guest_new(&counting, code_count, sizeof(code_count));
    for (int i = 0; i < 20; i++) {
        CHECK(pthread_create(&other, NULL, play_one, NULL) == 0);
        case_devices();
        CHECK(pthread_join(other, NULL) == 0);
    }
    guest_free(&counting);
}

/* What a descriptor's place in the mapping is may be asked for page by page. */
static void case_mapping(void)
{
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    uint8_t *room = mmap(NULL, (size_t)g.run_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED);
    struct kvm_run *second =
        mmap(room, (size_t)g.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, g.vcpu, 0);
    CHECK((uint8_t *)second == room);
    run_to(&g, KVM_EXIT_IO);
    CHECK(second->exit_reason == KVM_EXIT_IO && second->io.port == 0x10);
    CHECK(*((char *)second + second->io.data_offset) == 'x');
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, g.vm, 0) == MAP_FAILED && errno == ENODEV);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, g.system, 0) == MAP_FAILED && errno == ENODEV);
    CHECK(munmap(second, (size_t)g.run_bytes) == 0);
    run_to(&g, KVM_EXIT_IO);
    guest_free(&g);
}

/* ---------------------------------------------------------------- descriptors */

static void case_descriptors(void)
{
    struct guest g;
    struct kvm_regs regs;
    guest_new(&g, code_devices, sizeof(code_devices));
    CHECK(fcntl(g.system, F_GETFD) == FD_CLOEXEC);
    CHECK(fcntl(g.vm, F_GETFD) == FD_CLOEXEC && fcntl(g.vcpu, F_GETFD) == FD_CLOEXEC);

    int copy = dup(g.vcpu), high = fcntl(g.vm, F_DUPFD_CLOEXEC, 100);
    CHECK(copy >= 0 && high >= 100 && fcntl(copy, F_GETFD) == 0 && fcntl(high, F_GETFD) == 1);
    CHECK(close(g.vcpu) == 0);
    CHECK_FAILS(ioctl(g.vcpu, KVM_GET_REGS, &regs), EBADF);
    CHECK(ioctl(copy, KVM_GET_REGS, &regs) == 0 && regs.rip == CODE);
    /* The number is somebody else's now. */
    int null = open("/dev/null", O_RDWR);
    CHECK(null == g.vcpu);
    CHECK_FAILS(ioctl(null, KVM_GET_REGS, &regs), ENOTTY);
    CHECK(dup2(copy, null) == null && ioctl(null, KVM_GET_REGS, &regs) == 0);
    CHECK(dup3(copy, 200, O_CLOEXEC) == 200 && ioctl(200, KVM_GET_REGS, &regs) == 0);
    CHECK(close(copy) == 0 && close(200) == 0);
    CHECK(dup2(null, null) == null && ioctl(null, KVM_GET_REGS, &regs) == 0);
    /* A VM descriptor that something else is put over is closed. */
    int zero = open("/dev/zero", O_RDWR);
    CHECK(dup2(zero, g.vm) == g.vm);
    CHECK_FAILS(ioctl(g.vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), ENOTTY);
    CHECK(ioctl(high, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) > 0);
    CHECK(close(high) == 0 && close(zero) == 0);
    play_devices(&g);
    guest_free(&g);
}

/* Everything but the vCPU's own descriptor closed, then even that: the mapping stays readable. */
static void case_close_order(void)
{
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    CHECK(close(g.system) == 0 && close(g.vm) == 0);
    play_devices(&g);
    CHECK(close(g.vcpu) == 0);
    CHECK(g.run->exit_reason == KVM_EXIT_HLT);
    CHECK(munmap(g.run, (size_t)g.run_bytes) == 0);
    CHECK_FAILS(close(g.vcpu), EBADF);
    CHECK_FAILS(ioctl(g.vm, KVM_CREATE_VCPU, 1), EBADF);
}

static void reap(pid_t child)
{
    int status;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A forked child has the descriptors, but no right to the VM; the system serves it. */
static void case_fork(void)
{
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    pid_t child = fork();
    if (child == 0) {
        struct kvm_regs regs;
        CHECK_FAILS(ioctl(g.vm, KVM_CREATE_VCPU, 1), EIO);
        CHECK_FAILS(ioctl(g.vcpu, KVM_GET_REGS, &regs), EIO);
        CHECK_FAILS(ioctl(g.vcpu, KVM_RUN, 0), EIO);
        int vm = ioctl(g.system, KVM_CREATE_VM, 0);
        CHECK(vm >= 0 && ioctl(vm, KVM_CREATE_VCPU, 0) >= 0);
        case_devices();
        CHECK(close(g.vcpu) == 0 && close(g.vm) == 0 && close(g.system) == 0);
        CHECK_FAILS(close(g.vm), EBADF);
        _exit(0);
    }
    reap(child);
    /* A vfork child shares memory, but closes descriptors of its own. */
    child = vfork();
    if (child == 0) {
        close(g.vcpu);
        close(g.vm);
        _exit(0);
    }
    reap(child);
    play_devices(&g);
    guest_free(&g);
}

static void case_exec(void)
{
    struct guest g;
    char system[16], vm[16];
    guest_new(&g, code_devices, sizeof(code_devices));
    snprintf(system, sizeof(system), "%d", dup(g.system));
    snprintf(vm, sizeof(vm), "%d", dup(g.vm));
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "kvm-client", "executed", system, vm, NULL);
        _exit(1);
    }
    reap(child);
    play_devices(&g);
    guest_free(&g);
}

/* What case_exec starts. */
static void executed(int system, int vm)
{
    CHECK(ioctl(system, KVM_GET_API_VERSION, 0) == 12);
    CHECK(ioctl(system, KVM_CREATE_VM, 0) >= 0);
    CHECK_FAILS(ioctl(vm, KVM_CREATE_VCPU, 1), EIO);
    case_devices();
}

/* ---------------------------------------------------------------- found by KVM's selftests */

/* What the guest has may be set again after KVM_RUN; a change may not. */
static void case_cpuid_again(void)
{
    struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entries[256];
    } c = {.header.nent = 256};
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    CHECK(ioctl(g.system, KVM_GET_SUPPORTED_CPUID, &c) == 0);
    CHECK(ioctl(g.vcpu, KVM_SET_CPUID2, &c) == 0);
    c.header.nent = 256;
    CHECK(ioctl(g.vcpu, KVM_GET_CPUID2, &c) == 0);
    run_to(&g, KVM_EXIT_IO);
    CHECK(ioctl(g.vcpu, KVM_SET_CPUID2, &c) == 0);
    c.entries[0].ebx ^= 1;
    CHECK_FAILS(ioctl(g.vcpu, KVM_SET_CPUID2, &c), EINVAL);
    guest_free(&g);
}

/* Instructions that exit, too, are single steps. */
static void case_single_step(void)
{
    static const uint8_t code[] = {
        0x31, 0xc0,                         /* xor ax,ax */
        0x0f, 0xa2,                         /* cpuid */
        0x66, 0xb9, 0x1b, 0x00, 0x00, 0x00, /* mov ecx,1bh */
        0x0f, 0x32,                         /* rdmsr */
        0x90,                               /* nop */
    };
    static const uint8_t lengths[] = {2, 2, 6, 2, 1};
    struct kvm_guest_debug debug = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
    struct guest g;
    uint64_t rip = CODE;
    guest_new(&g, code, sizeof(code));
    CHECK(ioctl(g.vcpu, KVM_SET_GUEST_DEBUG, &debug) == 0);
    for (size_t i = 0; i < sizeof(lengths); i++) {
        rip += lengths[i];
        run_to(&g, KVM_EXIT_DEBUG);
        CHECK(g.run->debug.arch.exception == 1 && g.run->debug.arch.pc == rip);
    }
    guest_free(&g);
}

/* A vCPU whose LAPIC lets no PIC's interrupt in runs on, whoever waits for a window. */
static void case_shut_window(void)
{
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
    struct kvm_userspace_memory_region slot = {.memory_size = GUEST_BYTES};
    struct kvm_lapic_state lapic;
    struct kvm_regs regs = {.rip = CODE, .rflags = 0x202};
    struct kvm_sregs sregs;
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    int vm = ioctl(g.system, KVM_CREATE_VM, 0);
    CHECK(vm >= 0 && ioctl(vm, KVM_ENABLE_CAP, &split) == 0);
    slot.userspace_addr = (uintptr_t)g.memory;
    CHECK(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0);
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    CHECK(vcpu >= 0);
    struct kvm_run *run =
        mmap(NULL, (size_t)g.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    CHECK(run != MAP_FAILED);
    CHECK(ioctl(vcpu, KVM_GET_LAPIC, &lapic) == 0);
    memcpy(lapic.regs + 0x350, &(uint32_t){0x10000}, 4); /* LVT LINT0: masked */
    CHECK(ioctl(vcpu, KVM_SET_LAPIC, &lapic) == 0);
    CHECK(ioctl(vcpu, KVM_GET_SREGS, &sregs) == 0);
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    CHECK(ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0);
    CHECK(ioctl(vcpu, KVM_SET_REGS, &regs) == 0);
    run->request_interrupt_window = 1;
    CHECK(ioctl(vcpu, KVM_RUN, 0) == 0);
    CHECK(run->exit_reason == KVM_EXIT_IO && run->io.port == 0x10);
    CHECK(!run->ready_for_interrupt_injection);
    CHECK(munmap(run, (size_t)g.run_bytes) == 0 && close(vcpu) == 0 && close(vm) == 0);
    guest_free(&g);
}

/* ---------------------------------------------------------------- paths */

static void case_paths(void)
{
    struct stat st;
    struct statx stx;
    char text[8] = "";
    CHECK(access("/dev/kvm", F_OK) == 0 && access("/dev/kvm", R_OK | W_OK) == 0);
    CHECK(stat("/dev/kvm", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 232));
    CHECK(lstat("/dev/kvm", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK(fstatat(AT_FDCWD, "/dev/kvm", &st, 0) == 0 && S_ISCHR(st.st_mode));
    CHECK(statx(AT_FDCWD, "/dev/kvm", 0, STATX_TYPE, &stx) == 0 && S_ISCHR(stx.stx_mode));
    int fd = openat(AT_FDCWD, "/dev/kvm", O_RDONLY);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == 12);
    CHECK(close(fd) == 0);
    CHECK_FAILS(open("/dev/kvm", O_RDONLY | O_DIRECTORY), ENOTDIR);

    bool intel = access("/sys/module/kvm_intel", F_OK) == 0;
    bool amd = access("/sys/module/kvm_amd", F_OK) == 0;
    CHECK(intel != amd);
    FILE *f = fopen(
        intel ? "/sys/module/kvm_intel/parameters/ept" : "/sys/module/kvm_amd/parameters/npt", "r");
    CHECK(f && fgets(text, sizeof(text), f) && !strcmp(text, "Y\n"));
    CHECK(fclose(f) == 0);
    fd = open("/sys/module/kvm/parameters/ignore_msrs", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 2 && text[0] == 'N');
    CHECK(close(fd) == 0);
    CHECK_FAILS(open("/sys/module/kvm/parameters/none", O_RDONLY), ENOENT);
    CHECK_FAILS(open("/dev/kvm-none", O_RDONLY), ENOENT);
    CHECK(access("/dev/null", F_OK) == 0 && stat("/dev", &st) == 0 && S_ISDIR(st.st_mode));
}

/* The count of exits that a statistics file tells of, read as its header says. */
static uint64_t exits_counted(int fd)
{
    struct kvm_stats_header h;
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(read(fd, &h, sizeof(h)) == sizeof(h));
    size_t size = sizeof(struct kvm_stats_desc) + h.name_size;
    struct kvm_stats_desc *d = malloc(size);
    uint64_t value = 0;
    for (uint32_t i = 0; i < h.num_desc; i++) {
        CHECK(pread(fd, d, size, (off_t)(h.desc_offset + i * size)) == (ssize_t)size);
        if (!strcmp((const char *)(d + 1), "exits"))
            CHECK(pread(fd, &value, sizeof(value), (off_t)(h.data_offset + d->offset)) == 8);
    }
    free(d);
    return value;
}

static void case_statistics(void)
{
    struct guest g;
    guest_new(&g, code_devices, sizeof(code_devices));
    CHECK(ioctl(g.system, KVM_CHECK_EXTENSION, KVM_CAP_BINARY_STATS_FD) == 1);
    int fd = ioctl(g.vcpu, KVM_GET_STATS_FD, 0);
    CHECK(fd >= 0);
    uint64_t before = exits_counted(fd);
    CHECK(ioctl(g.vcpu, KVM_RUN, 0) == 0 && g.run->exit_reason == KVM_EXIT_IO);
    CHECK(exits_counted(fd) > before);
    guest_free(&g);
    CHECK(exits_counted(fd) > before); /* the file keeps the VM */
    CHECK(close(fd) == 0);
    CHECK_FAILS(read(fd, &before, 8), EBADF);
}

static void case_dirty_ring(void)
{
    const size_t bytes = 0x4000;
    const off_t at = KVM_DIRTY_LOG_PAGE_OFFSET * 4096;
    struct guest g;
    guest_new(&g, code_count, sizeof(code_count));
    CHECK_FAILS(ioctl(g.vm, KVM_RESET_DIRTY_RINGS, 0), EINVAL);
    guest_free(&g);

    int system = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = ioctl(system, KVM_CREATE_VM, 0);
    struct kvm_enable_cap cap = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {bytes}};
    CHECK(ioctl(vm, KVM_ENABLE_CAP, &cap) == 0);
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    CHECK(vcpu >= 0);
    CHECK(mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, vcpu, at) == MAP_FAILED);
    CHECK(mmap(NULL, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, vcpu, at) == MAP_FAILED);
    struct kvm_dirty_gfn *ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, at);
    CHECK(ring != MAP_FAILED);
    CHECK(ring[0].flags == 0 && ring[bytes / sizeof(*ring) - 1].flags == 0);
    ring[0].flags = 0;
    CHECK(ioctl(vm, KVM_RESET_DIRTY_RINGS, 0) == 0);
    CHECK(munmap(ring, bytes) == 0);
    CHECK(close(vcpu) == 0 && close(vm) == 0 && close(system) == 0);
}

/* ---------------------------------------------------------------- how code runs */

/* 64-bit code: ECX times inc EAX. */
static const uint8_t code_hot[] = {
    0xb9, 0x10, 0x27, 0x00, 0x00, /* mov ecx,10000 */
    0xff, 0xc0,                   /* again: inc eax */
    0xff, 0xc9,                   /* dec ecx */
    0x75, 0xfa,                   /* jnz again */
    0xf4,                         /* hlt */
};

/* 64-bit mode, with the first 2 MiB mapped to themselves. */
static void enter_long_mode(struct guest *g)
{
    struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entry[256];
    } cpuid = {.header.nent = 256};
    CHECK(ioctl(g->system, KVM_GET_SUPPORTED_CPUID, &cpuid) == 0);
    CHECK(ioctl(g->vcpu, KVM_SET_CPUID2, &cpuid) == 0);
    uint64_t *tables = (uint64_t *)(g->memory + 0x2000);
    tables[0] = 0x3003;
    tables[512] = 0x4003;
    tables[1024] = 0x83;
    struct kvm_sregs s;
    CHECK(ioctl(g->vcpu, KVM_GET_SREGS, &s) == 0);
    s.cr3 = 0x2000;
    s.cr4 = 0x20;
    s.cr0 = 0x80000033;
    s.efer = 0x500;
    s.cs = (struct kvm_segment){
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    s.ss = (struct kvm_segment){
        .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    s.tr.type = 11;
    CHECK(ioctl(g->vcpu, KVM_SET_SREGS, &s) == 0);
}

/* Says on standard output what our KVM's translator did; nothing on Linux's. */
static void case_translator(void)
{
    struct trapeze_kvm_translator_counts counts;
    struct kvm_regs regs;
    struct guest g;
    guest_new(&g, code_hot, sizeof(code_hot));
    enter_long_mode(&g);
    run_to(&g, KVM_EXIT_HLT);
    CHECK(ioctl(g.vcpu, KVM_GET_REGS, &regs) == 0 && regs.rax == 10000);
    if (ioctl(g.system, KVM_CHECK_EXTENSION, KVM_CAP_TRAPEZE) >= 2) {
        CHECK(ioctl(g.vcpu, TRAPEZE_KVM_GET_TRANSLATOR_COUNTS, &counts) == 0);
        printf("%s%s\n", counts.blocks ? "translated" : "interpreted",
               counts.compared ? " and compared" : "");
    }
    guest_free(&g);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"devices", case_devices},
    {"two-vms", case_two_vms},
    {"mapping", case_mapping},
    {"descriptors", case_descriptors},
    {"close-order", case_close_order},
    {"fork", case_fork},
    {"exec", case_exec},
    {"signal-thread", case_signal_thread},
    {"cancel", case_cancel},
    {"unmapped", case_unmapped},
    {"signal-process", case_signal_process},
    {"signal-timer", case_signal_timer},
    {"signal-jump", case_signal_jump},
    {"signal-mask", case_signal_mask},
    {"signal-ignored", case_signal_ignored},
    {"immediate-exit", case_immediate_exit},
    {"cpuid-again", case_cpuid_again},
    {"single-step", case_single_step},
    {"shut-window", case_shut_window},
    {"paths", case_paths},
    {"statistics", case_statistics},
    {"dirty-ring", case_dirty_ring},
    {"translator", case_translator},
};

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "executed")) {
        executed(atoi(argv[2]), atoi(argv[3]));
        return 0;
    }
    for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++)
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "usage: kvm-client CASE\n");
    return 2;
}
