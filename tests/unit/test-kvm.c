/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The KVM ABI: results of right and wrong requests, and state that comes back as it went in.  Each
 * test runs on kvm/ and, as the oracle for what it expects, on Linux's /dev/kvm where there is one.
 */
#include "kvm-engine.h"
#include "kvm/trapeze_kvm.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHECK(call, expected) g_assert_cmpint((call), ==, (expected))
#define BAD_POINTER           ((void *)0x7fffffffffffff00)
#define UNKNOWN_REQUEST       _IO(KVMIO, 0xfe)
#define PAGE                  4096ull

/* ---------------------------------------------------------------- system */

static void system_requests(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    CHECK(test_system(t, KVM_GET_API_VERSION, NULL), 12);
    CHECK(test_system(t, KVM_GET_API_VERSION, (void *)1), -EINVAL);
    CHECK(test_system(t, KVM_GET_VCPU_MMAP_SIZE, NULL), 12288);
    CHECK(test_system(t, KVM_GET_VCPU_MMAP_SIZE, (void *)1), -EINVAL);
    CHECK(test_system(t, UNKNOWN_REQUEST, NULL), -EINVAL);
    CHECK(test_system(t, KVM_RUN, NULL), -EINVAL);
    CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, NULL), -EFAULT);
    CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, BAD_POINTER), -EFAULT);
    CHECK(test_system(t, KVM_GET_MSR_INDEX_LIST, NULL), -EFAULT);
    CHECK(test_system(t, KVM_X86_GET_MCE_CAP_SUPPORTED, NULL), -EFAULT);
    struct kvm_cpuid2 small = {.nent = 0};
    CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, &small), -E2BIG);
    struct kvm_file *other;
    CHECK(e->ioctl(t->system, KVM_CREATE_VM, 77, &other), -EINVAL);
    uint64_t components = 0;
    struct kvm_device_attr attr = {.attr = KVM_X86_XCOMP_GUEST_SUPP,
                                   .addr = (uintptr_t)&components};
    CHECK(test_system(t, KVM_HAS_DEVICE_ATTR, &attr), 0);
    CHECK(test_system(t, KVM_GET_DEVICE_ATTR, &attr), 0);
    g_assert_cmphex(components & 3, ==, 3);
    attr.attr = 99;
    CHECK(test_system(t, KVM_HAS_DEVICE_ATTR, &attr), -ENXIO);
    test_vm_free(t);
}

static void extensions(const struct kvm_engine *e)
{
    static const unsigned long always[] = {
        KVM_CAP_IRQCHIP,
        KVM_CAP_USER_MEMORY,
        KVM_CAP_SET_TSS_ADDR,
        KVM_CAP_EXT_CPUID,
        KVM_CAP_MP_STATE,
        KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
        KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
        KVM_CAP_USER_NMI,
        KVM_CAP_IRQFD,
        KVM_CAP_PIT2,
        KVM_CAP_PIT_STATE2,
        KVM_CAP_IOEVENTFD,
        KVM_CAP_VCPU_EVENTS,
        KVM_CAP_DEBUGREGS,
        KVM_CAP_XSAVE,
        KVM_CAP_XCRS,
        KVM_CAP_TSC_DEADLINE_TIMER,
        KVM_CAP_SIGNAL_MSI,
        KVM_CAP_READONLY_MEM,
        KVM_CAP_SPLIT_IRQCHIP,
        KVM_CAP_IMMEDIATE_EXIT,
        KVM_CAP_CHECK_EXTENSION_VM,
    };
    struct test_vm *t = test_vm_new(e, 0, false);
    for (unsigned i = 0; i < G_N_ELEMENTS(always); i++) {
        g_assert_cmpint(test_system(t, KVM_CHECK_EXTENSION, (void *)always[i]), >, 0);
        g_assert_cmpint(test_vm(t, KVM_CHECK_EXTENSION, (void *)always[i]), >, 0);
    }
    CHECK(test_system(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_MEMSLOTS), 32764);
    g_assert_cmpint(test_system(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MAX_VCPUS), >=, 255);
    CHECK(test_vm(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_XSAVE2), 4096);
    CHECK(test_system(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TRAPEZE), is_ours(e) ? 3 : 0);
    CHECK(test_system(t, KVM_CHECK_EXTENSION, (void *)0x7fffffff), 0);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- VMs */

static void vm_requests(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    struct kvm_file *v, *other;
    uint64_t identity = 0xfffbc000;
    struct kvm_enable_cap cap = {.cap = 12345};
    CHECK(test_vm(t, UNKNOWN_REQUEST, NULL), -ENOTTY);
    CHECK(test_vm(t, KVM_RUN, NULL), -ENOTTY);
    CHECK(test_vm(t, KVM_SET_TSS_ADDR, (void *)0xffffffff), -EINVAL);
    CHECK(test_vm(t, KVM_SET_USER_MEMORY_REGION, NULL), -EFAULT);
    CHECK(test_vm(t, KVM_SET_IDENTITY_MAP_ADDR, &identity), 0);
    CHECK(test_vm(t, KVM_ENABLE_CAP, &cap), -EINVAL);
    CHECK(test_vm(t, KVM_GET_IRQCHIP, NULL), -EFAULT);
    struct kvm_irqchip chip = {0};
    struct kvm_irq_level line = {.irq = 1};
    struct kvm_msi msi = {0};
    struct kvm_pit_config pit = {0};
    CHECK(test_vm(t, KVM_GET_IRQCHIP, &chip), -ENXIO);
    CHECK(test_vm(t, KVM_IRQ_LINE, &line), -ENXIO);
    CHECK(test_vm(t, KVM_SIGNAL_MSI, &msi), -EINVAL);
    CHECK(test_vm(t, KVM_CREATE_PIT2, &pit), -ENOENT);
    CHECK(e->ioctl(t->vm, KVM_CREATE_VCPU, 100000, &v), -EINVAL);
    CHECK(e->ioctl(t->vm, KVM_CREATE_VCPU, 3, &v), 0);
    CHECK(e->ioctl(t->vm, KVM_CREATE_VCPU, 3, &other), -EEXIST);
    CHECK(test_vm(t, KVM_SET_IDENTITY_MAP_ADDR, &identity), -EINVAL);
    CHECK(test_vm(t, KVM_SET_BOOT_CPU_ID, NULL), -EBUSY);
    CHECK(test_vm(t, KVM_CREATE_IRQCHIP, NULL), -EINVAL);
    e->close(v);
    test_vm_free(t);

    t = test_vm_new(e, 0, true);
    CHECK(test_vm(t, KVM_CREATE_IRQCHIP, NULL), -EEXIST);
    CHECK(test_vm(t, KVM_CREATE_PIT2, &pit), 0);
    CHECK(test_vm(t, KVM_CREATE_PIT2, &pit), -EEXIST);
    cap = (struct kvm_enable_cap){.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
    CHECK(test_vm(t, KVM_ENABLE_CAP, &cap), -EEXIST);
    cap = (struct kvm_enable_cap){.cap = KVM_CAP_X2APIC_API, .args = {1ull << 40}};
    CHECK(test_vm(t, KVM_ENABLE_CAP, &cap), -EINVAL);
    cap = (struct kvm_enable_cap){.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {4}};
    CHECK(test_vm(t, KVM_ENABLE_CAP, &cap), -EINVAL);
    cap = (struct kvm_enable_cap){.cap = KVM_CAP_X86_USER_SPACE_MSR, .args = {0x100}};
    CHECK(test_vm(t, KVM_ENABLE_CAP, &cap), -EINVAL);
    test_vm_free(t);
}

/* A VM lives on while it has vCPUs. */
static void lifetimes(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 2, true);
    struct kvm_regs regs;
    struct kvm_file *v[2] = {t->vcpu[0], t->vcpu[1]};
    e->close(t->vm);
    CHECK(e->ioctl(v[0], KVM_GET_REGS, (unsigned long)&regs, NULL), 0);
    e->close(v[1]);
    CHECK(e->ioctl(v[0], KVM_GET_REGS, (unsigned long)&regs, NULL), 0);
    e->close(t->system);
    CHECK(e->ioctl(v[0], KVM_GET_REGS, (unsigned long)&regs, NULL), 0);
    e->close(v[0]);
    munmap(t->ram, TEST_RAM);
    g_free(t);
}

static void many_vcpus(const struct kvm_engine *e)
{
    if (!is_ours(e)) {
        g_test_skip("Linux's vCPUs would need as many descriptors");
        return;
    }
    struct test_vm *t = test_vm_new(e, 0, true);
    struct kvm_file **v = g_new0(struct kvm_file *, 1024), *beyond;
    for (unsigned i = 0; i < 1024; i++)
        CHECK(e->ioctl(t->vm, KVM_CREATE_VCPU, i, &v[i]), 0);
    CHECK(e->ioctl(t->vm, KVM_CREATE_VCPU, 1024, &beyond), -EINVAL);
    struct kvm_run *run = e->mmap(v[1023], 12288, 0);
    g_assert_nonnull(run);
    run->immediate_exit = 1;
    for (unsigned i = 0; i < 1024; i++)
        e->close(v[i]);
    g_free(v);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- memory slots */

static long set_slot(struct test_vm *t, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
                     void *hva)
{
    struct kvm_userspace_memory_region r = {
        .slot = slot,
        .flags = flags,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)hva,
    };
    return test_vm(t, KVM_SET_USER_MEMORY_REGION, &r);
}

static void memory_slots(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    uint8_t *m = t->ram;
    const uint64_t base = 0x10000000;
    /* Wrong ones. */
    CHECK(set_slot(t, 1, 0x80, base, PAGE, m), -EINVAL);
    CHECK(set_slot(t, 1, 0, base + 1, PAGE, m), -EINVAL);
    CHECK(set_slot(t, 1, 0, base, PAGE + 1, m), -EINVAL);
    CHECK(set_slot(t, 1, 0, base, PAGE, m + 1), -EINVAL);
    CHECK(set_slot(t, 32764, 0, base, PAGE, m), -EINVAL);
    CHECK(set_slot(t, 1 | 2 << 16, 0, base, PAGE, m), -EINVAL);
    CHECK(set_slot(t, 1, 0, -PAGE, 2 * PAGE, m), -EINVAL);
    CHECK(set_slot(t, 1, 0, base, PAGE, BAD_POINTER), -EINVAL);
    CHECK(set_slot(t, 1, 0, base, 0, m), -EINVAL); /* deletes what is not there */
    /* Overlaps, adding. */
    CHECK(set_slot(t, 1, 0, TEST_RAM - PAGE, 2 * PAGE, m), -EEXIST);
    CHECK(set_slot(t, 1, 0, 0, PAGE, m), -EEXIST);
    CHECK(set_slot(t, 1, 0, base, 16 * PAGE, m), 0);
    CHECK(set_slot(t, 2, 0, base + 15 * PAGE, PAGE, m), -EEXIST);
    CHECK(set_slot(t, 2, 0, base + 16 * PAGE, PAGE, m), 0);
    /* Changes. */
    CHECK(set_slot(t, 1, 0, base, 16 * PAGE, m), 0);
    CHECK(set_slot(t, 1, 0, base, 8 * PAGE, m), -EINVAL);
    CHECK(set_slot(t, 1, 0, base, 16 * PAGE, m + PAGE), -EINVAL);
    CHECK(set_slot(t, 1, KVM_MEM_READONLY, base, 16 * PAGE, m), -EINVAL);
    CHECK(set_slot(t, 1, 0, base + PAGE, 16 * PAGE, m), -EEXIST); /* moves into slot 2 */
    CHECK(set_slot(t, 1, 0, base - PAGE, 16 * PAGE, m), 0);       /* overlaps its former place */
    CHECK(set_slot(t, 3, 0, base + 15 * PAGE, PAGE, m), 0);
    CHECK(set_slot(t, 1, KVM_MEM_LOG_DIRTY_PAGES, base - PAGE, 16 * PAGE, m), 0);
    CHECK(set_slot(t, 1, 0, 0, 0, NULL), 0);
    CHECK(set_slot(t, 1, 0, 0, 0, NULL), -EINVAL);
    CHECK(set_slot(t, 4, KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES, base, PAGE, m), 0);
    CHECK(set_slot(t, 32763, 0, base * 2, PAGE, m), 0);
    test_vm_free(t);
}

static void dirty_requests(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    uint64_t bitmap[2] = {~0ull, ~0ull};
    struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = bitmap};
    struct kvm_clear_dirty_log clear = {.slot = 1, .num_pages = 64, .dirty_bitmap = bitmap};
    CHECK(test_vm(t, KVM_GET_DIRTY_LOG, &log), -ENOENT);
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), -ENOENT);
    CHECK(set_slot(t, 1, 0, 0x10000000, 100 * PAGE, t->ram), 0);
    CHECK(test_vm(t, KVM_GET_DIRTY_LOG, &log), -ENOENT);
    CHECK(set_slot(t, 1, KVM_MEM_LOG_DIRTY_PAGES, 0x10000000, 100 * PAGE, t->ram), 0);
    CHECK(test_vm(t, KVM_GET_DIRTY_LOG, &log), 0);
    g_assert_cmphex(bitmap[0], ==, 0);
    g_assert_cmphex(bitmap[1], ==, 0);
    log.dirty_bitmap = BAD_POINTER;
    log.slot = 40000;
    CHECK(test_vm(t, KVM_GET_DIRTY_LOG, &log), -EINVAL);
    struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {1}};
    CHECK(test_vm(t, KVM_ENABLE_CAP, &cap), 0);
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), 0);
    clear.first_page = 1;
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), -EINVAL);
    clear.first_page = 64;
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), -EINVAL); /* 64 to 127 of 100 */
    clear.num_pages = 36;
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), 0);
    clear.num_pages = 35;
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), -EINVAL);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- vCPU state */

static void vcpu_requests(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    char page[4096];
    CHECK(test_vcpu(t, UNKNOWN_REQUEST, NULL), -EINVAL);
    CHECK(test_vcpu(t, KVM_GET_REGS, NULL), -EFAULT);
    CHECK(test_vcpu(t, KVM_SET_SREGS, BAD_POINTER), -EFAULT);
    CHECK(test_vcpu(t, KVM_RUN, (void *)1), -EINVAL);
    CHECK(test_vcpu(t, KVM_GET_LAPIC, page), -EINVAL);
    CHECK(test_vcpu(t, KVM_GET_MSRS, NULL), -EFAULT);
    CHECK(test_vcpu(t, KVM_SET_CPUID2, NULL), -EFAULT);
    struct kvm_interrupt interrupt = {.irq = 256};
    CHECK(test_vcpu(t, KVM_INTERRUPT, &interrupt), -EINVAL);
    struct kvm_mp_state mp;
    CHECK(test_vcpu(t, KVM_GET_MP_STATE, &mp), 0);
    g_assert_cmpuint(mp.mp_state, ==, KVM_MP_STATE_RUNNABLE);
    mp.mp_state = KVM_MP_STATE_HALTED;
    CHECK(test_vcpu(t, KVM_SET_MP_STATE, &mp), -EINVAL);
    CHECK(test_vcpu(t, KVM_KVMCLOCK_CTRL, NULL), -EINVAL);
    uint64_t mcg = 0;
    CHECK(test_vcpu(t, KVM_X86_SETUP_MCE, &mcg), -EINVAL);
    mcg = 33;
    CHECK(test_vcpu(t, KVM_X86_SETUP_MCE, &mcg), -EINVAL);
    mcg = 10 | 1ull << 40;
    CHECK(test_vcpu(t, KVM_X86_SETUP_MCE, &mcg), -EINVAL);
    mcg = 10 | 0x100;
    CHECK(test_vcpu(t, KVM_X86_SETUP_MCE, &mcg), 0);
    g_assert_cmpint(test_vcpu(t, KVM_GET_TSC_KHZ, NULL), >, 1000);
    struct kvm_signal_mask *mask = (struct kvm_signal_mask *)page;
    mask->len = 4;
    CHECK(test_vcpu(t, KVM_SET_SIGNAL_MASK, mask), -EINVAL);
    CHECK(test_vcpu(t, KVM_SET_SIGNAL_MASK, NULL), 0);
    test_vm_free(t);

    t = test_vm_new(e, 1, true);
    interrupt.irq = 32;
    CHECK(test_vcpu(t, KVM_INTERRUPT, &interrupt), -ENXIO);
    CHECK(test_vcpu(t, KVM_GET_LAPIC, page), 0);
    CHECK(test_vcpu(t, KVM_SET_LAPIC, page), 0);
    CHECK(test_vcpu(t, KVM_SET_MP_STATE, &mp), 0);
    mp.mp_state = 77;
    CHECK(test_vcpu(t, KVM_SET_MP_STATE, &mp), -EINVAL);
    test_vm_free(t);
}

/* The reset state, SDM volume 3, table 9-1. */
static void reset_state(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    struct kvm_regs r = test_regs(t);
    struct kvm_sregs s = {0};
    struct kvm_fpu f = {0};
    struct kvm_xcrs x = {0};
    struct kvm_debugregs d = {0};
    CHECK(test_vcpu(t, KVM_GET_SREGS, &s), 0);
    CHECK(test_vcpu(t, KVM_GET_FPU, &f), 0);
    CHECK(test_vcpu(t, KVM_GET_XCRS, &x), 0);
    CHECK(test_vcpu(t, KVM_GET_DEBUGREGS, &d), 0);
    g_assert_cmphex(r.rip, ==, 0xfff0);
    g_assert_cmphex(r.rflags, ==, 2);
    g_assert_cmphex(s.cs.base, ==, 0xffff0000);
    g_assert_cmphex(s.cs.selector, ==, 0xf000);
    g_assert_cmphex(s.cs.limit, ==, 0xffff);
    g_assert_cmphex(s.ds.limit, ==, 0xffff);
    g_assert_cmphex(s.ds.type, ==, 3);
    g_assert_cmphex(s.tr.type, ==, 11);
    g_assert_cmphex(s.ldt.type, ==, 2);
    g_assert_cmphex(s.gdt.limit, ==, 0xffff);
    g_assert_cmphex(s.idt.limit, ==, 0xffff);
    g_assert_cmphex(s.cr0, ==, 0x60000010);
    g_assert_cmphex(s.cr4, ==, 0);
    g_assert_cmphex(s.efer, ==, 0);
    g_assert_cmphex(s.apic_base, ==, 0xfee00900);
    g_assert_cmphex(f.fcw & ~0x33f, ==, 0x40); /* 40h by RESET, 37fh by Linux */
    g_assert_cmpuint(x.nr_xcrs, ==, 1);
    g_assert_cmphex(x.xcrs[0].value, ==, 1);
    g_assert_cmphex(d.dr6, ==, 0xffff0ff0);
    g_assert_cmphex(d.dr7, ==, 0x400);
    test_vm_free(t);
}

static void fill(void *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)p)[i] = (uint8_t)(i * 7 + 13);
}

static void regs_round_trip(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    struct kvm_regs a, b;
    fill(&a, sizeof(a));
    a.rip = 0x1234;
    a.rflags = 0x202;
    CHECK(test_vcpu(t, KVM_SET_REGS, &a), 0);
    b = test_regs(t);
    g_assert_cmpmem(&a, sizeof(a), &b, sizeof(b));
    a.rflags = 0;
    CHECK(test_vcpu(t, KVM_SET_REGS, &a), 0);
    g_assert_cmphex(test_regs(t).rflags, ==, 2);

    struct kvm_debugregs d = {.db = {1, 2, 3, 4}, .dr6 = 0xffff0ff0, .dr7 = 0x455}, got;
    CHECK(test_vcpu(t, KVM_SET_DEBUGREGS, &d), 0);
    memset(&got, 0xff, sizeof(got));
    CHECK(test_vcpu(t, KVM_GET_DEBUGREGS, &got), 0);
    g_assert_cmpmem(&d, sizeof(d), &got, sizeof(got));
    d.dr7 = 1ull << 32;
    CHECK(test_vcpu(t, KVM_SET_DEBUGREGS, &d), -EINVAL);
    d = (struct kvm_debugregs){.flags = 1};
    CHECK(test_vcpu(t, KVM_SET_DEBUGREGS, &d), -EINVAL);

    struct kvm_fpu f = {.fcw = 0x27f, .fsw = 0x3800, .ftwx = 0x81, .last_opcode = 0x123}, g;
    fill(f.fpr, sizeof(f.fpr));
    fill(f.xmm, sizeof(f.xmm));
    for (int i = 0; i < 8; i++)
        memset(f.fpr[i] + 10, 0, 6);
    CHECK(test_vcpu(t, KVM_SET_FPU, &f), 0);
    memset(&g, 0xff, sizeof(g));
    CHECK(test_vcpu(t, KVM_GET_FPU, &g), 0);
    g_assert_cmpmem(f.fpr, sizeof(f.fpr), g.fpr, sizeof(g.fpr));
    g_assert_cmpmem(f.xmm, sizeof(f.xmm), g.xmm, sizeof(g.xmm));
    g_assert_cmphex(g.fcw, ==, f.fcw);
    g_assert_cmphex(g.fsw, ==, f.fsw);
    g_assert_cmphex(g.ftwx, ==, f.ftwx);
    test_vm_free(t);
}

static long sregs_with(struct test_vm *t, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    struct kvm_sregs s = {0};
    CHECK(test_vcpu(t, KVM_GET_SREGS, &s), 0);
    s.cr0 = cr0;
    s.cr4 = cr4;
    s.efer = efer;
    return test_vcpu(t, KVM_SET_SREGS, &s);
}

static void sregs_checks(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    CHECK(sregs_with(t, 0x60000010, 0, 0), 0);
    CHECK(sregs_with(t, 0x80000010, 0, 0), -EINVAL); /* PG without PE */
    CHECK(sregs_with(t, 0x20000010, 0, 0), -EINVAL); /* NW without CD */
    CHECK(sregs_with(t, 1ull << 32, 0, 0), -EINVAL);
    CHECK(sregs_with(t, 0x80000011, 0, 0x500), -EINVAL);    /* long mode without PAE */
    CHECK(sregs_with(t, 0x80000011, 0x20, 0x100), -EINVAL); /* LME and PG without LMA */
    CHECK(sregs_with(t, 0x11, 0, 0x400), -EINVAL);          /* LMA without paging */
    CHECK(sregs_with(t, 0x80000011, 0x20, 0x500), 0);
    CHECK(sregs_with(t, 0x80000011, 0x20 | 1ull << 40, 0x500), -EINVAL);
    CHECK(sregs_with(t, 0x80000011, 0x20 | 1 << 15, 0x500), -EINVAL);
    struct kvm_sregs s = {0}, back = {0};
    CHECK(test_vcpu(t, KVM_GET_SREGS, &s), 0);
    s.cr0 = 0x80000031;
    s.cr2 = 0x123456789;
    s.cr3 = 0x5000;
    s.cr4 = 0x620;
    s.efer = 0xd01;
    s.fs.base = 0xffff800012345678;
    s.cs.l = 1;
    s.cs.db = 0;
    s.tr.base = 0x7000;
    s.idt.base = 0xffff800000001000;
    s.idt.limit = 0x123;
    s.ldt.unusable = 1;
    s.ldt.present = 0;
    CHECK(test_vcpu(t, KVM_SET_SREGS, &s), 0);
    CHECK(test_vcpu(t, KVM_GET_SREGS, &back), 0);
    g_assert_cmpmem(&s, sizeof(s), &back, sizeof(back));
    struct kvm_sregs2 s2 = {0};
    CHECK(test_vcpu(t, KVM_GET_SREGS2, &s2), 0);
    g_assert_cmphex(s2.flags, ==, 0);
    g_assert_cmphex(s2.fs.base, ==, s.fs.base);
    s2.flags = 2;
    CHECK(test_vcpu(t, KVM_SET_SREGS2, &s2), -EINVAL);
    s2.flags = 1; /* PDPTRs, in long mode */
    CHECK(test_vcpu(t, KVM_SET_SREGS2, &s2), -EINVAL);
    test_vm_free(t);
}

static void xsave_state(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    struct kvm_xsave a, b;
    struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0] = {.value = 3}};
    CHECK(test_vcpu(t, KVM_SET_XCRS, &x), 0);
    x.xcrs[0].value = 2; /* SSE without x87 */
    CHECK(test_vcpu(t, KVM_SET_XCRS, &x), -EINVAL);
    x.xcrs[0].value = 1ull << 60;
    CHECK(test_vcpu(t, KVM_SET_XCRS, &x), -EINVAL);
    x = (struct kvm_xcrs){.nr_xcrs = 17};
    CHECK(test_vcpu(t, KVM_SET_XCRS, &x), -EINVAL);
    memset(&a, 0, sizeof(a));
    CHECK(test_vcpu(t, KVM_GET_XSAVE, &a), 0);
    uint8_t *image = (uint8_t *)&a;
    fill(image + 160, 256); /* XMM */
    *(uint64_t *)(image + 512) |= 2;
    CHECK(test_vcpu(t, KVM_SET_XSAVE, &a), 0);
    memset(&b, 0, sizeof(b));
    CHECK(test_vcpu(t, KVM_GET_XSAVE2, &b), 0);
    g_assert_cmpmem(image + 160, 256, (uint8_t *)&b + 160, 256);
    *(uint32_t *)(image + 24) = 0xffffffff; /* MXCSR */
    CHECK(test_vcpu(t, KVM_SET_XSAVE, &a), -EINVAL);
    *(uint32_t *)(image + 24) = 0x1f80;
    *(uint64_t *)(image + 512) = 1ull << 62;
    CHECK(test_vcpu(t, KVM_SET_XSAVE, &a), -EINVAL);
    test_vm_free(t);
}

static void events(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    struct kvm_vcpu_events a = {0}, b = {0};
    CHECK(test_vcpu(t, KVM_GET_VCPU_EVENTS, &a), 0);
    g_assert_cmpuint(a.exception.injected, ==, 0);
    g_assert_cmpuint(a.nmi.pending, ==, 0);
    a.exception.injected = 1;
    a.exception.nr = 14;
    a.exception.has_error_code = 1;
    a.exception.error_code = 5;
    a.nmi.masked = 1;
    a.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
    CHECK(test_vcpu(t, KVM_SET_VCPU_EVENTS, &a), 0);
    CHECK(test_vcpu(t, KVM_GET_VCPU_EVENTS, &b), 0);
    g_assert_cmpuint(b.exception.injected, ==, 1);
    g_assert_cmpuint(b.exception.nr, ==, 14);
    g_assert_cmpuint(b.exception.error_code, ==, 5);
    g_assert_cmpuint(b.nmi.masked, ==, 1);
    g_assert_cmpuint(b.interrupt.shadow & KVM_X86_SHADOW_INT_STI, !=, 0);
    a.exception.nr = 32;
    CHECK(test_vcpu(t, KVM_SET_VCPU_EVENTS, &a), -EINVAL);
    a.exception.nr = 2;
    CHECK(test_vcpu(t, KVM_SET_VCPU_EVENTS, &a), -EINVAL);
    a = (struct kvm_vcpu_events){.flags = 0x8000};
    CHECK(test_vcpu(t, KVM_SET_VCPU_EVENTS, &a), -EINVAL);
    a = (struct kvm_vcpu_events){.flags = KVM_VCPUEVENT_VALID_PAYLOAD};
    CHECK(test_vcpu(t, KVM_SET_VCPU_EVENTS, &a), -EINVAL);
    a = (struct kvm_vcpu_events){.flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT};
    CHECK(test_vcpu(t, KVM_SET_VCPU_EVENTS, &a), -EINVAL);
    CHECK(test_vcpu(t, KVM_NMI, NULL), 0);
    CHECK(test_vcpu(t, KVM_GET_VCPU_EVENTS, &b), 0);
    g_assert_cmpuint(b.nmi.pending, ==, 1);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- clock, hypercalls, ours */

static void clock_requests(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    struct kvm_clock_data a = {.clock = 1000000000000ull}, b = {0};
    CHECK(test_vm(t, KVM_SET_CLOCK, &a), 0);
    CHECK(test_vm(t, KVM_GET_CLOCK, &b), 0);
    g_assert_cmpuint(b.clock, >=, a.clock);
    g_assert_cmpuint(b.clock, <, a.clock + 600000000000ull);
    a.flags = 0x4000;
    CHECK(test_vm(t, KVM_SET_CLOCK, &a), -EINVAL);
    test_vm_free(t);
}

KVM_GUEST(64, hypercall_code, "mov $12345, %eax\n vmcall\n mov %rax, 0x30000\n hlt\n");

static void unknown_hypercall(const struct kvm_engine *e)
{
    if (!is_ours(e)) {
        g_test_skip("a /dev/kvm that only emulates may retry a hypercall for ever");
        return;
    }
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, hypercall_code);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpint(*(int64_t *)(t->ram + TEST_DATA), ==, -KVM_ENOSYS);
    test_vm_free(t);
}

KVM_GUEST(64, idle_code, "1: jmp 1b\n");
KVM_GUEST(64, count_code,
          "mov $1000, %ecx\n xor %eax, %eax\n 1: inc %eax\n loop 1b\n"
          "mov %rax, 0x30000\n hlt\n");

static void sync_regs(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, count_code);
    struct kvm_run *run = t->run[0];
    run->kvm_valid_regs = 1ull << 40;
    CHECK(test_vcpu(t, KVM_RUN, NULL), -EINVAL);
    run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmphex(run->s.regs.regs.rip, ==, test_regs(t).rip);
    g_assert_cmphex(run->s.regs.sregs.cr3, ==, TEST_PAGE_TABLES);
    run->s.regs.regs.rip = TEST_CODE;
    run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    memset(t->ram + TEST_DATA, 0, 8);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpint(*(int64_t *)(t->ram + TEST_DATA), ==, 1000);
    test_vm_free(t);
}

static void *run_idle(void *opaque)
{
    struct test_vm *t = opaque;
    long r = test_vcpu(t, KVM_RUN, NULL);
    g_assert_cmpint(r, ==, -EINTR);
    g_assert_cmpuint(t->run[0]->exit_reason, ==, KVM_EXIT_INTR);
    return NULL;
}

/* A kick ends KVM_RUN of a guest that does nothing, whether it comes before or after its start. */
static void kick(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    if (!is_ours(e)) {
        g_test_skip("a signal before KVM_RUN is immediate_exit's matter on Linux");
        test_vm_free(t);
        return;
    }
    TEST_START(t, long, idle_code);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, run_idle, t);
        g_usleep((gulong)(i % 4) * 500);
        e->kick(t->vcpu[0], t->run[0], thread);
        pthread_join(thread, NULL);
    }
    test_vm_free(t);
}

static void our_extension(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    struct trapeze_kvm_memory_written w = {.gpa = 0x1000, .size = 0x2000};
    uint64_t instructions = 0;
    if (!is_ours(e)) {
        CHECK(test_vm(t, TRAPEZE_KVM_MEMORY_WRITTEN, &w), -ENOTTY);
        test_vm_free(t);
        return;
    }
    CHECK(test_vm(t, TRAPEZE_KVM_COUNT_INSTRUCTIONS, NULL), 0);
    test_vm_add_vcpu(t, 0);
    CHECK(test_vm(t, TRAPEZE_KVM_COUNT_INSTRUCTIONS, NULL), -EBUSY);
    CHECK(test_vm(t, TRAPEZE_KVM_MEMORY_WRITTEN, &w), 0);
    w.size = -1ull;
    CHECK(test_vm(t, TRAPEZE_KVM_MEMORY_WRITTEN, &w), -EINVAL);
    CHECK(test_vm(t, TRAPEZE_KVM_REPORTS_WRITES, NULL), 0);
    TEST_START(t, long, count_code);
    test_run(t, KVM_EXIT_HLT);
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_INSTRUCTIONS, &instructions), 0);
    g_assert_cmpuint(instructions, >=, 2000);
    TEST_START(t, long, hypercall_code);
    w = (struct trapeze_kvm_memory_written){.gpa = TEST_CODE, .size = 4096};
    CHECK(test_vm(t, TRAPEZE_KVM_MEMORY_WRITTEN, &w), 0);
    test_run(t, KVM_EXIT_HLT);
    struct {
        struct trapeze_kvm_exit_counts header;
        char room[32 * 50];
    } counts = {.header.count = 50};
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_EXIT_COUNTS, &counts), 0);
    g_assert_cmpuint(counts.header.count, ==, 2); /* VMCALL once, HLT twice */
    g_assert_cmpuint(counts.header.entry[0].exits + counts.header.entry[1].exits, ==, 3);
    /* The same form: room is heeded, what is counted has a name. */
    counts.header.count = 1;
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_MISS_COUNTS, &counts), 0);
    g_assert_cmpuint(counts.header.count, <=, 1);
    counts.header.count = 50;
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_HANDLER_COUNTS, &counts), 0);
    g_assert_cmpuint(counts.header.count, <=, 50);
    for (unsigned n = 0; n < counts.header.count; n++) {
        g_assert_cmpuint(strlen(counts.header.entry[n].name), >, 0);
        g_assert_cmpuint(counts.header.entry[n].exits, >, 0);
    }
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_HANDLER_COUNTS, (void *)8), -EFAULT);
    uint64_t address = 0x1000;
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_TRANSLATION, (void *)8), -ENOENT);
    CHECK(test_vm(t, TRAPEZE_KVM_TRACE_TRANSLATION, &address), -EBUSY);
    CHECK(test_vm(t, TRAPEZE_KVM_NAME_TRANSLATIONS, (void *)2), -EBUSY);
    CHECK(test_vm(t, TRAPEZE_KVM_NAME_TRANSLATIONS, (void *)1000000), -EBADF);
    CHECK(test_vm(t, TRAPEZE_KVM_NAME_TRANSLATIONS, (void *)-1l), -EBADF);
    test_vm_free(t);
}

static struct trapeze_kvm_translator_counts counts_of(struct test_vm *t)
{
    struct trapeze_kvm_translator_counts counts;
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_TRANSLATOR_COUNTS, &counts), 0);
    return counts;
}

/* Which tier runs, and what it tells. */
static void translator(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    struct trapeze_kvm_translator how = {.mode = TRAPEZE_KVM_TRANSLATE_CHECK, .threshold = 1};
    g_autofree struct trapeze_kvm_translator_difference *d =
        g_new0(struct trapeze_kvm_translator_difference, 1);
    if (!is_ours(e)) {
        CHECK(test_vm(t, TRAPEZE_KVM_SET_TRANSLATOR, &how), -ENOTTY);
        test_vm_free(t);
        return;
    }
    test_vm_add_vcpu(t, 0);
    CHECK(test_vm(t, TRAPEZE_KVM_SET_TRANSLATOR, &how), -EBUSY);
    TEST_START(t, long, count_code);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpint(counts_of(t).blocks > 0, ==, e == &kvm_engine_translator);
    g_assert_cmpint(counts_of(t).entries > 0, ==, e == &kvm_engine_translator);
    g_assert_cmpuint(counts_of(t).compared, ==, 0);
    test_vm_free(t);

    t = test_vm_new(e, 0, false);
    CHECK(test_vm(t, TRAPEZE_KVM_SET_TRANSLATOR, &how), 0);
    test_vm_add_vcpu(t, 0);
    TEST_START(t, long, count_code);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(counts_of(t).compared, >, 0);
    g_assert_cmpuint(counts_of(t).differences, ==, 0);
    CHECK(test_vcpu(t, TRAPEZE_KVM_GET_TRANSLATOR_DIFFERENCE, d), -ENOENT);
    test_vm_free(t);

    t = test_vm_new(e, 0, false);
    how.mode = TRAPEZE_KVM_TRANSLATE_CHECK + 1;
    CHECK(test_vm(t, TRAPEZE_KVM_SET_TRANSLATOR, &how), -EINVAL);
    test_vm_free(t);
}

int main(int argc, char **argv)
{
    static const struct kvm_test tests[] = {
        {"system", system_requests},
        {"extensions", extensions},
        {"vm", vm_requests},
        {"lifetimes", lifetimes},
        {"many-vcpus", many_vcpus},
        {"memory-slots", memory_slots},
        {"dirty-requests", dirty_requests},
        {"vcpu", vcpu_requests},
        {"reset-state", reset_state},
        {"regs", regs_round_trip},
        {"sregs", sregs_checks},
        {"xsave", xsave_state},
        {"events", events},
        {"clock", clock_requests},
        {"unknown-hypercall", unknown_hypercall},
        {"sync-regs", sync_regs},
        {"kick", kick},
        {"our-extension", our_extension},
        {"translator", translator},
    };
    return kvm_test_main(argc, argv, "kvm", tests, G_N_ELEMENTS(tests));
}
