/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small guests that must run alike on Linux's /dev/kvm and on kvm/. */
#include "kvm-engine.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---------------------------------------------------------------- real mode */

KVM_GUEST(16, real_pio,
          "mov $0x3f8, %dx\n add %bl, %al\n out %al, %dx\n"
          "in %dx, %al\n inc %al\n mov %al, 0x500\n hlt\n");

static void real_mode(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, real, real_pio);
    struct kvm_regs regs = test_regs(t);
    regs.rax = 2;
    regs.rbx = 3;
    g_assert_cmpint(test_vcpu(t, KVM_SET_REGS, &regs), ==, 0);
    g_assert_cmpuint(test_pio_written(t, 0x3f8, 1), ==, 5);
    test_run(t, KVM_EXIT_IO);
    g_assert_cmpuint(t->run[0]->io.direction, ==, KVM_EXIT_IO_IN);
    *TEST_PIO_DATA(t) = 0x41;
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(t->ram[0x500], ==, 0x42);
    g_assert_cmpuint(test_regs(t).rip, ==, (uint64_t)(real_pio_end - real_pio));
    test_vm_free(t);
}

KVM_GUEST(16, real_string,
          "mov $0x10, %dx\n mov $0x600, %si\n mov $5, %cx\n cld\n rep outsb\n"
          "mov $0x700, %di\n mov $4, %cx\n rep insb\n hlt\n");

static void real_string_io(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, real, real_string);
    memcpy(t->ram + 0x600, "hello", 5);
    char out[6] = "";
    for (unsigned n = 0; n < 5; n += t->run[0]->io.count) {
        test_run(t, KVM_EXIT_IO);
        g_assert_cmpuint(t->run[0]->io.direction, ==, KVM_EXIT_IO_OUT);
        memcpy(out + n, TEST_PIO_DATA(t), t->run[0]->io.count);
    }
    g_assert_cmpstr(out, ==, "hello");
    uint8_t next = 'a';
    for (unsigned n = 0; n < 4; n += t->run[0]->io.count) {
        test_run(t, KVM_EXIT_IO);
        g_assert_cmpuint(t->run[0]->io.direction, ==, KVM_EXIT_IO_IN);
        for (unsigned i = 0; i < t->run[0]->io.count; i++)
            TEST_PIO_DATA(t)[i] = next++;
    }
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpmem(t->ram + 0x700, 4, "abcd", 4);
    test_vm_free(t);
}

static void immediate_exit(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, real, real_pio);
    test_pio_written(t, 0x3f8, 1);
    test_run(t, KVM_EXIT_IO);
    *TEST_PIO_DATA(t) = 7;
    t->run[0]->immediate_exit = 1;
    g_assert_cmpint(test_vcpu(t, KVM_RUN, NULL), ==, -EINTR);
    /* The IN has been finished, and nothing after it. */
    struct kvm_regs regs = test_regs(t);
    g_assert_cmpuint(regs.rax & 0xff, ==, 7);
    g_assert_cmpuint(regs.rip, ==, 7);
    g_assert_cmpuint(t->ram[0x500], ==, 0);
    t->run[0]->immediate_exit = 0;
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(t->ram[0x500], ==, 8);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- protected mode */

KVM_GUEST(32, protected_code,
          "mov $100, %ecx\n xor %eax, %eax\n 1: add %ecx, %eax\n loop 1b\n"
          "mov $0x80, %edx\n out %eax, %dx\n"
          "mov $0xd0000000, %ebx\n movl $0x11223344, (%ebx)\n"
          "addl $1, 8(%ebx)\n movzwl 4(%ebx), %esi\n hlt\n");

static void mmio(struct test_vm *t, bool write, uint64_t address, unsigned length)
{
    test_run(t, KVM_EXIT_MMIO);
    g_assert_cmpuint(t->run[0]->mmio.is_write, ==, write);
    g_assert_cmphex(t->run[0]->mmio.phys_addr, ==, address);
    g_assert_cmpuint(t->run[0]->mmio.len, ==, length);
}

static void protected_mode(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, protected, protected_code);
    g_assert_cmpuint(test_pio_written(t, 0x80, 4), ==, 5050);
    mmio(t, true, 0xd0000000, 4);
    g_assert_cmpmem(t->run[0]->mmio.data, 4, "\x44\x33\x22\x11", 4);
    mmio(t, false, 0xd0000008, 4);
    memcpy(t->run[0]->mmio.data, "\xff\x00\x00\x00", 4);
    mmio(t, true, 0xd0000008, 4);
    g_assert_cmpmem(t->run[0]->mmio.data, 4, "\x00\x01\x00\x00", 4);
    mmio(t, false, 0xd0000004, 2);
    memcpy(t->run[0]->mmio.data, "\x34\x12", 2);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmphex(test_regs(t).rsi, ==, 0x1234);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- long mode */

KVM_GUEST(64, long_code,
          "mov $0xd0000000, %ebx\n movabs $0x1122334455667788, %rax\n mov %rax, (%rbx)\n"
          "mov 16(%rbx), %rcx\n mov %rcx, 0x30000\n"
          "xor %eax, %eax\n cpuid\n mov %ebx, 0x30008\n"
          "mov $0xc0000102, %ecx\n mov $0x1234, %eax\n mov $0x5678, %edx\n wrmsr\n"
          "xor %eax, %eax\n xor %edx, %edx\n rdmsr\n shl $32, %rdx\n or %rdx, %rax\n"
          "mov %rax, 0x30010\n hlt\n");

static void long_mode(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, long_code);
    mmio(t, true, 0xd0000000, 8);
    g_assert_cmphex(*(uint64_t *)t->run[0]->mmio.data, ==, 0x1122334455667788);
    mmio(t, false, 0xd0000010, 8);
    *(uint64_t *)t->run[0]->mmio.data = 0xfeedfacecafebeef;
    test_run(t, KVM_EXIT_HLT);
    const uint64_t *data = (uint64_t *)(t->ram + TEST_DATA);
    g_assert_cmphex(data[0], ==, 0xfeedfacecafebeef);
    unsigned ebx = 0, eax = 0, ecx, edx;
    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
    g_assert_cmphex(data[1], ==, ebx); /* the host's vendor */
    g_assert_cmphex(data[2], ==, 0x567800001234);
    test_vm_free(t);
}

KVM_GUEST(64, shutdown_code, "lidt empty(%rip)\n ud2\n empty: .word 0\n .quad 0\n");

static void triple_fault(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, shutdown_code);
    test_run(t, KVM_EXIT_SHUTDOWN);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- debugging */

KVM_GUEST(64, step_code, "nop\n mov $1, %eax\n int3\n mov $2, %eax\n mov %rax, 0x30000\n hlt\n");

/* Runs to a KVM_EXIT_DEBUG by EXCEPTION at PC.  False, the test being skipped, on a /dev/kvm that
 * emulates instructions and misses this one. */
static bool debug_exits(struct test_vm *t, uint32_t exception, uint64_t pc)
{
    long r;
    do
        r = test_vcpu(t, KVM_RUN, NULL);
    while (r == -EINTR);
    g_assert_cmpint(r, ==, 0);
    if (t->e == &kvm_engine_linux && t->run[0]->exit_reason != KVM_EXIT_DEBUG) {
        g_test_skip("this /dev/kvm only emulates, and not that");
        return false;
    }
    g_assert_cmpuint(t->run[0]->exit_reason, ==, KVM_EXIT_DEBUG);
    g_assert_cmpuint(t->run[0]->debug.arch.exception, ==, exception);
    g_assert_cmphex(t->run[0]->debug.arch.pc, ==, pc);
    return true;
}

static void set_debug(struct test_vm *t, struct kvm_guest_debug *d)
{
    g_assert_cmpint(test_vcpu(t, KVM_SET_GUEST_DEBUG, d), ==, 0);
}

static void run_at(struct test_vm *t, uint64_t rip)
{
    struct kvm_regs regs = test_regs(t);
    regs.rip = rip;
    g_assert_cmpint(test_vcpu(t, KVM_SET_REGS, &regs), ==, 0);
}

static void single_step(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, step_code);
    struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
    set_debug(t, &d);
    if (debug_exits(t, 1, TEST_CODE + 1)) {
        g_assert_cmphex(t->run[0]->debug.arch.dr6, ==, 0xffff4ff0);
        debug_exits(t, 1, TEST_CODE + 6);
        d.control = 0;
        set_debug(t, &d);
        run_at(t, TEST_CODE + 7);
        test_run(t, KVM_EXIT_HLT);
    }
    test_vm_free(t);
}

static void software_breakpoint(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, step_code);
    struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP};
    set_debug(t, &d);
    if (debug_exits(t, 3, TEST_CODE + 6)) {
        run_at(t, TEST_CODE + 7);
        test_run(t, KVM_EXIT_HLT);
        g_assert_cmphex(*(uint64_t *)(t->ram + TEST_DATA), ==, 2);
    }
    test_vm_free(t);
}

static void hardware_breakpoint(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, step_code);
    run_at(t, TEST_CODE + 7);
    struct kvm_guest_debug d = {
        .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
        .arch.debugreg = {[0] = TEST_CODE + 12, [1] = TEST_DATA},
    };
    d.arch.debugreg[7] = 0x400 | 2 | 8 | 0xdull << 20; /* G0 execute; G1 write of 4 bytes */
    set_debug(t, &d);
    if (debug_exits(t, 1, TEST_CODE + 12)) {
        g_assert_cmphex(t->run[0]->debug.arch.dr6 & 15, ==, 1);
        d.arch.debugreg[7] &= ~2ull;
        set_debug(t, &d);
        if (debug_exits(t, 1, TEST_CODE + 20)) {
            g_assert_cmphex(t->run[0]->debug.arch.dr6 & 15, ==, 2);
            g_assert_cmphex(*(uint64_t *)(t->ram + TEST_DATA), ==, 2);
        }
        struct kvm_debugregs guest;
        g_assert_cmpint(test_vcpu(t, KVM_GET_DEBUGREGS, &guest), ==, 0);
        g_assert_cmphex(guest.db[0], ==, 0);
        d.control = 0;
        set_debug(t, &d);
        run_at(t, TEST_CODE + 20);
        test_run(t, KVM_EXIT_HLT);
    }
    test_vm_free(t);
}

/* ---------------------------------------------------------------- memory */

KVM_GUEST(32, touch_code,
          "movl $1, 0x102000\n movl $1, 0x105ffc\n mov $0x10, %edx\n out %al, %dx\n"
          "movl $1, 0x107000\n out %al, %dx\n hlt\n");

static void dirty_log(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, protected, touch_code);
    struct kvm_userspace_memory_region r = {
        .flags = KVM_MEM_LOG_DIRTY_PAGES,
        .memory_size = TEST_RAM,
        .userspace_addr = (uintptr_t)t->ram,
    };
    g_assert_cmpint(test_vm(t, KVM_SET_USER_MEMORY_REGION, &r), ==, 0);
    uint64_t bitmap[TEST_RAM / 4096 / 64];
    struct kvm_dirty_log log = {.dirty_bitmap = bitmap};
    test_pio_written(t, 0x10, 1);
    g_assert_cmpint(test_vm(t, KVM_GET_DIRTY_LOG, &log), ==, 0);
    g_assert_cmphex(bitmap[4], ==, 1ull << 2 | 1ull << 5);
    test_pio_written(t, 0x10, 1);
    g_assert_cmpint(test_vm(t, KVM_GET_DIRTY_LOG, &log), ==, 0);
    g_assert_cmphex(bitmap[4], ==, 1ull << 7);
    test_vm_free(t);
}

KVM_GUEST(32, rom_code,
          "mov 0xe0000000, %eax\n mov %eax, 0x30000\n"
          "movl $0x55, 0xe0000004\n mov 0xe0000004, %eax\n hlt\n");

static void read_only_slot(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, protected, rom_code);
    uint8_t *rom = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(rom, 0xa5, 4096);
    struct kvm_userspace_memory_region r = {
        .slot = 1,
        .flags = KVM_MEM_READONLY,
        .guest_phys_addr = 0xe0000000,
        .memory_size = 4096,
        .userspace_addr = (uintptr_t)rom,
    };
    g_assert_cmpint(test_vm(t, KVM_SET_USER_MEMORY_REGION, &r), ==, 0);
    mmio(t, true, 0xe0000004, 4);
    g_assert_cmphex(*(uint32_t *)(t->ram + TEST_DATA), ==, 0xa5a5a5a5);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmphex(test_regs(t).rax, ==, 0xa5a5a5a5);
    test_vm_free(t);
    munmap(rom, 4096);
}

KVM_GUEST(32, coalesced_code,
          "movb $1, 0xd0000010\n movw $0x203, 0xd0000020\n mov $0x70, %edx\n"
          "mov $4, %al\n out %al, %dx\n hlt\n");

static void coalesced(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, protected, coalesced_code);
    struct kvm_coalesced_mmio_zone memory = {.addr = 0xd0000000, .size = 0x1000};
    struct kvm_coalesced_mmio_zone port = {.addr = 0x70, .size = 1, .pio = 1};
    long page = test_vm(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_COALESCED_MMIO);
    g_assert_cmpint(page, ==, 2);
    g_assert_cmpint(test_vm(t, KVM_REGISTER_COALESCED_MMIO, &memory), ==, 0);
    g_assert_cmpint(test_vm(t, KVM_REGISTER_COALESCED_MMIO, &port), ==, 0);
    test_run(t, KVM_EXIT_HLT);
    const struct kvm_coalesced_mmio_ring *ring = (void *)((uint8_t *)t->run[0] + page * 4096);
    g_assert_cmpuint(ring->first, ==, 0);
    g_assert_cmpuint(ring->last, ==, 3);
    g_assert_cmphex(ring->coalesced_mmio[0].phys_addr, ==, 0xd0000010);
    g_assert_cmpuint(ring->coalesced_mmio[0].len, ==, 1);
    g_assert_cmpuint(ring->coalesced_mmio[1].len, ==, 2);
    g_assert_cmpmem(ring->coalesced_mmio[1].data, 2, "\x03\x02", 2);
    g_assert_cmpuint(ring->coalesced_mmio[2].pio, ==, 1);
    g_assert_cmphex(ring->coalesced_mmio[2].phys_addr, ==, 0x70);
    g_assert_cmpuint(ring->coalesced_mmio[2].data[0], ==, 4);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- time */

/* kvmclock at 0x31000, then its structure, the TSC before and after. */
KVM_GUEST(64, clock_code,
          "mov $0x4b564d01, %ecx\n mov $0x31001, %eax\n xor %edx, %edx\n wrmsr\n"
          "mov $0x10, %edx\n out %al, %dx\n rdtsc\n shl $32, %rdx\n or %rdx, %rax\n"
          "mov %rax, 0x30000\n mov $0x10, %edx\n out %al, %dx\n hlt\n");

static void kvmclock(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    TEST_START(t, long, clock_code);
    test_pio_written(t, 0x10, 1);
    test_pio_written(t, 0x10, 1);
    const uint8_t *page = t->ram + 0x31000;
    uint32_t version = *(uint32_t *)page, multiplier = *(uint32_t *)(page + 24);
    uint64_t tsc = *(uint64_t *)(page + 8), base = *(uint64_t *)(page + 16);
    int8_t shift = (int8_t)page[28];
    g_assert_cmpuint(version & 1, ==, 0);
    g_assert_cmpuint(version, >, 0);
    uint64_t ticks = *(uint64_t *)(t->ram + TEST_DATA) - tsc;
    ticks = shift < 0 ? ticks >> -shift : ticks << shift;
    uint64_t guest = base + (uint64_t)(((unsigned __int128)ticks * multiplier) >> 32);
    struct kvm_clock_data now;
    g_assert_cmpint(test_vm(t, KVM_GET_CLOCK, &now), ==, 0);
    /* The guest read its clock before we read the VM's, and the VM is younger than an hour. */
    g_assert_cmpuint(guest, >, 0);
    g_assert_cmpuint(guest, <, now.clock);
    g_assert_cmpuint(now.clock, <, 3600000000000ull);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- slots under a running guest */

KVM_GUEST(32, counter_code,
          "1: incl 0x30000\n movb 0xe0000000, %al\n movb %al, 0x30004\n jmp 1b\n");

static void *run_until_mmio(void *opaque)
{
    test_run(opaque, KVM_EXIT_MMIO);
    return NULL;
}

static void wait_for(volatile uint8_t *at, uint8_t value)
{
    while (*at != value)
        g_usleep(100);
}

/* The guest sees what user space writes, and at last that the slot is gone. */
static void slot_changes(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, protected, counter_code);
    uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pages[0] = 1;
    pages[4096] = 2;
    struct kvm_userspace_memory_region r = {.slot = 1,
                                            .guest_phys_addr = 0xe0000000,
                                            .memory_size = 4096,
                                            .userspace_addr = (uintptr_t)pages};
    g_assert_cmpint(test_vm(t, KVM_SET_USER_MEMORY_REGION, &r), ==, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, run_until_mmio, t);
    wait_for(t->ram + TEST_DATA + 4, 1);
    struct kvm_userspace_memory_region other = r;
    other.slot = 2;
    other.userspace_addr += 4096;
    g_assert_cmpint(test_vm(t, KVM_SET_USER_MEMORY_REGION, &other), ==, -EEXIST);
    pages[0] = 3;
    wait_for(t->ram + TEST_DATA + 4, 3);
    r.memory_size = 0;
    g_assert_cmpint(test_vm(t, KVM_SET_USER_MEMORY_REGION, &r), ==, 0);
    pthread_join(thread, NULL);
    g_assert_cmphex(t->run[0]->mmio.phys_addr, ==, 0xe0000000);
    g_assert_cmpint(test_vm(t, KVM_SET_USER_MEMORY_REGION, &other), ==, 0);
    test_vm_free(t);
    munmap(pages, 8192);
}

/* Code that user space changes between two runs is run as it now is. */
KVM_GUEST(32, patched_code, "mov $0x10, %edx\n 1: mov $1, %al\n out %al, %dx\n jmp 1b\n");

static void patched(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, protected, patched_code);
    for (uint8_t i = 1; i < 50; i++) {
        t->ram[TEST_CODE + 6] = i;
        g_assert_cmpuint(test_pio_written(t, 0x10, 1), ==, i);
    }
    test_vm_free(t);
}

KVM_GUEST(64, vector_code,
          "movups 0x30000, %xmm3\n paddd 0x30000, %xmm3\n movups %xmm3, 0x30010\n"
          "fldpi\n fld1\n faddp\n fstpl 0x30020\n hlt\n");

static void vector_state(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, vector_code);
    uint32_t *data = (uint32_t *)(t->ram + TEST_DATA);
    for (uint32_t i = 0; i < 4; i++)
        data[i] = i * 0x1000001;
    g_assert_cmpint(test_vcpu(t, KVM_RUN, NULL), ==, 0);
    if (e == &kvm_engine_linux && t->run[0]->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
        g_test_skip("this /dev/kvm only emulates, and not that");
        test_vm_free(t);
        return;
    }
    g_assert_cmpuint(t->run[0]->exit_reason, ==, KVM_EXIT_HLT);
    for (uint32_t i = 0; i < 4; i++)
        g_assert_cmphex(data[4 + i], ==, i * 0x2000002);
    g_assert_cmpfloat(*(double *)(data + 8), ==, 3.14159265358979323846 + 1);
    struct kvm_fpu f;
    g_assert_cmpint(test_vcpu(t, KVM_GET_FPU, &f), ==, 0);
    g_assert_cmpmem(f.xmm[3], 16, data + 4, 16);
    test_vm_free(t);
}

int main(int argc, char **argv)
{
    static const struct kvm_test tests[] = {
        {"real-mode", real_mode},
        {"real-mode-string-io", real_string_io},
        {"protected-mode", protected_mode},
        {"long-mode", long_mode},
        {"triple-fault", triple_fault},
        {"immediate-exit", immediate_exit},
        {"single-step", single_step},
        {"software-breakpoint", software_breakpoint},
        {"hardware-breakpoint", hardware_breakpoint},
        {"dirty-log", dirty_log},
        {"read-only-slot", read_only_slot},
        {"coalesced", coalesced},
        {"kvmclock", kvmclock},
        {"slot-changes", slot_changes},
        {"patched-code", patched},
        {"vector-state", vector_state},
    };
    return kvm_test_main(argc, argv, "engines", tests, G_N_ELEMENTS(tests));
}
