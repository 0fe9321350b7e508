/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The KVM ABI, CPUID and MSRs: lists, tables, what the guest sees, what user space takes over.  On
 * kvm/ and, as the oracle, on Linux's /dev/kvm where there is one.
 */
#include "kvm-engine.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call, expected) g_assert_cmpint((call), ==, (expected))

/* ---------------------------------------------------------------- CPUID */

struct cpuid_table {
    struct kvm_cpuid2 header;
    struct kvm_cpuid_entry2 entry[300];
};

static const struct kvm_cpuid_entry2 *leaf(const struct cpuid_table *c, uint32_t function,
                                           uint32_t index)
{
    for (unsigned i = 0; i < c->header.nent; i++)
        if (c->entry[i].function == function && c->entry[i].index == index)
            return &c->entry[i];
    return NULL;
}

static void supported_cpuid(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    struct cpuid_table *c = g_new0(struct cpuid_table, 1);
    c->header.nent = 256;
    CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, c), 0);
    const struct kvm_cpuid_entry2 *l = leaf(c, 1, 0);
    g_assert_nonnull(l);
    g_assert_cmphex(l->edx & 0x07808111, ==, 0x07808111); /* FPU TSC CX8 CMOV MMX FXSR SSE SSE2 */
    g_assert_cmphex(l->ecx >> 31, ==, 1);
    l = leaf(c, KVM_CPUID_SIGNATURE, 0);
    g_assert_cmpmem(&l->ebx, 12, "KVMKVMKVM\0\0\0", 12);
    g_assert_cmphex(leaf(c, KVM_CPUID_FEATURES, 0)->eax & 9, ==, 9);
    g_assert_nonnull(leaf(c, 0xd, 0));
    g_assert_cmphex(leaf(c, 0x80000001, 0)->edx & 1 << 29, !=, 0);
    if (is_ours(e)) {
        l = leaf(c, 1, 0);
        g_assert_cmphex(l->ecx & (1 << 3 | 1 << 5), ==, 0);                /* MONITOR, VMX */
        g_assert_cmphex(leaf(c, 7, 0)->ebx & 1 << 16, ==, 0);              /* AVX-512 */
        g_assert_cmphex(leaf(c, 0xd, 1)->eax & 8, ==, 0);                  /* XSAVES */
        g_assert_cmphex(leaf(c, 0x80000001, 0)->ecx & 4, ==, 0);           /* SVM */
        g_assert_cmphex(leaf(c, 0xa, 0)->eax, ==, 0);                      /* no counters */
        g_assert_cmphex(leaf(c, 0x80000007, 0)->edx & 1 << 8, ==, 1 << 8); /* invariant TSC */
    }
    unsigned count = c->header.nent;
    c->header.nent = count - 1;
    CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
    c->header.nent = count;
    CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, c), 0);
    g_free(c);
    test_vm_free(t);
}

static void set_cpuid(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    struct cpuid_table *c = g_new0(struct cpuid_table, 1);
    c->header.nent = 256;
    CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, c), 0);
    unsigned count = c->header.nent;
    CHECK(test_vcpu(t, KVM_SET_CPUID2, c), 0);
    c->header.nent = 1;
    CHECK(test_vcpu(t, KVM_GET_CPUID2, c), -E2BIG);
    c->header.nent = 300;
    CHECK(test_vcpu(t, KVM_SET_CPUID2, c), -E2BIG);
    CHECK(test_vcpu(t, KVM_GET_CPUID2, c), 0);
    g_assert_cmpuint(c->header.nent, ==, count);
    for (unsigned i = 0; i < count; i++)
        if (c->entry[i].function == 0x80000008)
            c->entry[i].eax = 36 | 40 << 8; /* 40 bits of linear address: no such processor */
    CHECK(test_vcpu(t, KVM_SET_CPUID2, c), -EINVAL);
    g_free(c);
    test_vm_free(t);
}

KVM_GUEST(64, cpuid_code,
          "mov %edi, %eax\n mov %esi, %ecx\n cpuid\n mov %eax, 0x30000\n mov %ebx, 0x30004\n"
          "mov %ecx, 0x30008\n mov %edx, 0x3000c\n hlt\n");

static const uint32_t *guest_cpuid(struct test_vm *t, uint32_t function, uint32_t index)
{
    TEST_START(t, long, cpuid_code);
    struct kvm_regs regs = test_regs(t);
    regs.rdi = function;
    regs.rsi = index;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
    test_run(t, KVM_EXIT_HLT);
    return (uint32_t *)(t->ram + TEST_DATA);
}

/* Leaves out of range: zeros on AMD, the last basic leaf elsewhere. */
static void guest_cpuid_ranges(const struct kvm_engine *e)
{
    static const struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entry[6];
    } intel = {
        .header.nent = 6,
        .entry =
            {
                {.function = 0, .eax = 7, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69},
                {.function = 1, .ecx = 1u << 26, .edx = 0x200 | 1 << 6},
                {.function = 7, .index = 0, .flags = 1, .eax = 0, .ebx = 0x77, .ecx = 0x40},
                {.function = 0x40000000, .eax = 0x40000001},
                {.function = 0x80000000, .eax = 0x80000001},
                {.function = 0x80000001, .edx = 1 << 29},
            },
    };
    struct test_vm *t = test_vm_new(e, 0, false);
    CHECK(e->ioctl(t->vm, KVM_CREATE_VCPU, 0, &t->vcpu[0]), 0);
    t->run[0] = e->mmap(t->vcpu[0], 12288, 0);
    CHECK(test_vcpu(t, KVM_SET_CPUID2, (void *)&intel), 0);
    const uint32_t *r = guest_cpuid(t, 0, 0);
    g_assert_cmphex(r[0], ==, 7);
    g_assert_cmphex(r[1], ==, 0x756e6547);
    r = guest_cpuid(t, 1, 0);
    g_assert_cmphex(r[2] & 1u << 27, ==, 0); /* OSXSAVE: CR4's bit is clear */
    r = guest_cpuid(t, 7, 0);
    if (!is_ours(e) && r[1] != 0x77) {
        g_test_skip("this /dev/kvm shows its guests the host's CPUID");
        test_vm_free(t);
        return;
    }
    g_assert_cmphex(r[1], ==, 0x77);
    r = guest_cpuid(t, 7, 1); /* a subleaf that is not there */
    g_assert_cmphex(r[1], ==, 0);
    r = guest_cpuid(t, 4, 0); /* in range, not there */
    g_assert_cmphex(r[1], ==, 0);
    r = guest_cpuid(t, 0x20, 0); /* beyond: the last basic leaf */
    g_assert_cmphex(r[1], ==, 0x77);
    r = guest_cpuid(t, 0x80000005, 0);
    g_assert_cmphex(r[1], ==, 0x77);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- MSRs */

static long msr(struct test_vm *t, unsigned long request, uint32_t index, uint64_t *data)
{
    struct {
        struct kvm_msrs header;
        struct kvm_msr_entry entry;
    } m = {.header.nmsrs = 1, .entry = {.index = index, .data = *data}};
    long r = test_vcpu(t, request, &m);
    *data = m.entry.data;
    return r;
}

static void msr_kept(struct test_vm *t, uint32_t index, uint64_t value)
{
    uint64_t data = value;
    g_test_message("MSR %#x", index);
    CHECK(msr(t, KVM_SET_MSRS, index, &data), 1);
    data = ~value;
    CHECK(msr(t, KVM_GET_MSRS, index, &data), 1);
    g_assert_cmphex(data, ==, value);
}

static void msrs(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    uint64_t data = 0;
    CHECK(msr(t, KVM_GET_MSRS, 0xdeadbeef, &data), 0);
    CHECK(msr(t, KVM_SET_MSRS, 0xdeadbeef, &data), 0);
    msr_kept(t, 0x174, 0x10);
    msr_kept(t, 0x175, 0xffff800000000000);
    msr_kept(t, 0xc0000081, 0x0023001000000000);
    msr_kept(t, 0xc0000082, 0xffff800000001000);
    msr_kept(t, 0xc0000102, 0x1234);
    msr_kept(t, 0x277, 0x0007040600070406);
    msr_kept(t, 0x2ff, 0xc06);
    msr_kept(t, 0x200, 0x80000006);
    msr_kept(t, 0x201, 0xf80000800);
    msr_kept(t, 0x250, 0x0606060606060606);
    msr_kept(t, 0x3b, 0x55);
    msr_kept(t, 0x1a0, 1);
    msr_kept(t, 0x17a, 0);
    data = 0x0202020202020202; /* type 2 is reserved */
    if (is_ours(e)) {          /* Linux does not look at what user space sets */
        CHECK(msr(t, KVM_SET_MSRS, 0x277, &data), 0);
        CHECK(msr(t, KVM_SET_MSRS, 0x250, &data), 0);
    }
    data = 0x8000000000000000; /* not canonical */
    CHECK(msr(t, KVM_SET_MSRS, 0xc0000102, &data), 0);
    /* The TSC goes on from what it is set to. */
    data = 1ull << 50;
    CHECK(msr(t, KVM_SET_MSRS, 0x10, &data), 1);
    CHECK(msr(t, KVM_GET_MSRS, 0x10, &data), 1);
    if (is_ours(e)) { /* a host without TSC offsets leaves it as it is */
        g_assert_cmphex(data, >=, 1ull << 50);
        g_assert_cmphex(data, <, (1ull << 50) + (1ull << 40));
    }
    /* Counts stop at the first failure. */
    struct {
        struct kvm_msrs header;
        struct kvm_msr_entry entry[3];
    } many = {.header.nmsrs = 3,
              .entry = {{.index = 0x174}, {.index = 0xdeadbeef}, {.index = 0x175}}};
    CHECK(test_vcpu(t, KVM_GET_MSRS, &many), 1);
    g_assert_cmphex(many.entry[0].data, ==, 0x10);
    many.header.nmsrs = 300;
    CHECK(test_vcpu(t, KVM_GET_MSRS, &many), -E2BIG);
    test_vm_free(t);
}

/* AMD's first performance counters have no CPUID bit, so its guests touch them without asking: they
 * are there and count nothing.  Other vendors' guests get #GP. */
static void amd_counters(const struct kvm_engine *e)
{
    static const char *const vendors[] = {"AuthenticAMD", "GenuineIntel"};
    struct cpuid_table *c = g_new0(struct cpuid_table, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(vendors) && is_ours(e); i++) {
        struct test_vm *t = test_vm_new(e, 1, false);
        c->header.nent = 256;
        CHECK(test_system(t, KVM_GET_SUPPORTED_CPUID, c), 0);
        for (unsigned n = 0; n < c->header.nent; n++)
            if (c->entry[n].function == 0) {
                memcpy(&c->entry[n].ebx, vendors[i], 4);
                memcpy(&c->entry[n].edx, vendors[i] + 4, 4);
                memcpy(&c->entry[n].ecx, vendors[i] + 8, 4);
            }
        CHECK(test_vcpu(t, KVM_SET_CPUID2, c), 0);
        uint64_t data = 5;
        CHECK(msr(t, KVM_SET_MSRS, 0xc0010000, &data), i == 0);
        CHECK(msr(t, KVM_GET_MSRS, 0xc0010007, &data), i == 0);
        g_assert_cmpuint(data, ==, i == 0 ? 0 : 5);
        CHECK(msr(t, KVM_GET_MSRS, 0xc0010008, &data), 0);
        test_vm_free(t);
    }
    if (!is_ours(e))
        g_test_skip("Linux shows a host's counters where there are some");
    g_free(c);
}

struct msr_list {
    struct kvm_msr_list header;
    uint32_t index[500];
};

/* Every MSR of the list can be read, and (ours: for Linux it depends) written back. */
static void msr_lists(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    struct msr_list *l = g_new0(struct msr_list, 1);
    CHECK(test_system(t, KVM_GET_MSR_INDEX_LIST, l), -E2BIG);
    g_assert_cmpuint(l->header.nmsrs, >, 10);
    CHECK(test_system(t, KVM_GET_MSR_INDEX_LIST, l), 0);
    for (unsigned i = 0; i < l->header.nmsrs; i++) {
        uint64_t data = 0;
        g_test_message("MSR %#x", l->index[i]);
        CHECK(msr(t, KVM_GET_MSRS, l->index[i], &data), 1);
        if (is_ours(e))
            CHECK(msr(t, KVM_SET_MSRS, l->index[i], &data), 1);
    }
    l->header.nmsrs = 500;
    CHECK(test_system(t, KVM_GET_MSR_FEATURE_INDEX_LIST, l), 0);
    for (unsigned i = 0; i < l->header.nmsrs; i++) {
        struct {
            struct kvm_msrs header;
            struct kvm_msr_entry entry;
        } m = {.header.nmsrs = 1, .entry = {.index = l->index[i]}};
        CHECK(test_system(t, KVM_GET_MSRS, &m), 1);
    }
    g_free(l);
    test_vm_free(t);
}

/* RDMSR of %edi, then a port write; a fault goes to vector 13, which writes another port. */
KVM_GUEST(64, rdmsr_code, "mov %edi, %ecx\n rdmsr\n mov $0x10, %edx\n out %eax, %dx\n hlt\n");
KVM_GUEST(64, gp_code, "mov $0x20, %edx\n out %eax, %dx\n hlt\n");

static void start_rdmsr(struct test_vm *t, uint32_t index)
{
    TEST_START(t, long, rdmsr_code);
    memcpy(t->ram + TEST_CODE + 0x1000, gp_code, (size_t)(gp_code_end - gp_code));
    test_gate(t, 13, TEST_CODE + 0x1000);
    struct kvm_regs regs = test_regs(t);
    regs.rdi = index;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
}

static void expect_port(struct test_vm *t, uint16_t port)
{
    test_run(t, KVM_EXIT_IO);
    g_assert_cmphex(t->run[0]->io.port, ==, port);
}

static void user_space_msrs(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    start_rdmsr(t, 0xdeadbeef);
    expect_port(t, 0x20);
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args = {KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL |
                                          KVM_MSR_EXIT_REASON_FILTER}};
    CHECK(test_vm(t, KVM_ENABLE_CAP, &cap), 0);
    start_rdmsr(t, 0xdeadbeef);
    test_run(t, KVM_EXIT_X86_RDMSR);
    g_assert_cmphex(t->run[0]->msr.index, ==, 0xdeadbeef);
    t->run[0]->msr.data = 0x11223344;
    expect_port(t, 0x10);
    g_assert_cmphex(*(uint32_t *)(TEST_PIO_DATA(t)), ==, 0x11223344);
    start_rdmsr(t, 0xdeadbeef);
    test_run(t, KVM_EXIT_X86_RDMSR);
    t->run[0]->msr.error = 1;
    expect_port(t, 0x20);
    /* A filter that denies SYSENTER_CS, which works by itself otherwise. */
    start_rdmsr(t, 0x174);
    expect_port(t, 0x10);
    uint8_t deny = 0;
    struct kvm_msr_filter filter = {
        .ranges[0] = {.flags = KVM_MSR_FILTER_READ, .nmsrs = 1, .base = 0x174, .bitmap = &deny}};
    CHECK(test_vm(t, KVM_X86_SET_MSR_FILTER, &filter), 0);
    start_rdmsr(t, 0x174);
    test_run(t, KVM_EXIT_X86_RDMSR);
    g_assert_cmphex(t->run[0]->msr.reason, ==, KVM_MSR_EXIT_REASON_FILTER);
    t->run[0]->msr.error = 0;
    expect_port(t, 0x10);
    start_rdmsr(t, 0x175);
    expect_port(t, 0x10);
    filter.flags = 2;
    CHECK(test_vm(t, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- kvmclock */

/* The wall clock is written where the MSR says; 0, to which user space resets it, is no address. */
static void wall_clock(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    struct {
        struct kvm_msrs header;
        struct kvm_msr_entry entry;
    } msr = {.header = {.nmsrs = 1}, .entry = {.index = MSR_KVM_WALL_CLOCK_NEW}};
    memset(t->ram, 0, 12);
    CHECK(test_vcpu(t, KVM_SET_MSRS, &msr), 1);
    g_assert_cmphex(*(uint64_t *)t->ram, ==, 0);
    msr.entry.data = TEST_DATA;
    CHECK(test_vcpu(t, KVM_SET_MSRS, &msr), 1);
    g_assert_cmphex(*(uint32_t *)(t->ram + TEST_DATA), ==, 2);
    g_assert_cmphex(*(uint32_t *)(t->ram + TEST_DATA + 4), !=, 0);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- NMIs and priorities */

/* NMIs sent at once are two at most: one is handled, one kept. */
KVM_GUEST(64, nmi_code, "nop\n nop\n nop\n hlt\n");
KVM_GUEST(64, nmi_handler, "incl 0x30000\n iretq\n");

static void two_nmis(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, nmi_code);
    memcpy(t->ram + TEST_CODE + 0x1000, nmi_handler, (size_t)(nmi_handler_end - nmi_handler));
    test_gate(t, 2, TEST_CODE + 0x1000);
    for (unsigned i = 0; i < 5; i++)
        CHECK(test_vcpu(t, KVM_NMI, NULL), 0);
    if (!is_ours(e)) {
        g_test_skip("how many NMIs Linux keeps depends on the host");
        test_vm_free(t);
        return;
    }
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(*(uint32_t *)(t->ram + TEST_DATA), ==, 2);
    test_vm_free(t);
}

/* The task-priority register and CR8 are one, whichever is written (SDM volume 3, 11.8.6.1). */
KVM_GUEST(64, cr8_code,
          "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n mov $0x808, %ecx\n"
          "mov $0xb, %eax\n mov %rax, %cr8\n rdmsr\n mov %eax, 0x30000\n"
          "mov $0x45, %eax\n wrmsr\n mov %cr8, %rax\n mov %eax, 0x30004\n"
          "mov $0x10, %edx\n out %al, %dx\n hlt\n");

static void task_priority(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    TEST_START(t, long, cr8_code);
    test_run(t, KVM_EXIT_IO);
    g_assert_cmphex(*(uint32_t *)(t->ram + TEST_DATA), ==, 0xb0);
    g_assert_cmphex(*(uint32_t *)(t->ram + TEST_DATA + 4), ==, 4);
    test_vm_free(t);
}

int main(int argc, char **argv)
{
    static const struct kvm_test tests[] = {
        {"supported-cpuid", supported_cpuid},
        {"set-cpuid", set_cpuid},
        {"guest-cpuid", guest_cpuid_ranges},
        {"msrs", msrs},
        {"amd-counters", amd_counters},
        {"msr-lists", msr_lists},
        {"user-space-msrs", user_space_msrs},
        {"wall-clock", wall_clock},
        {"two-nmis", two_nmis},
        {"task-priority", task_priority},
    };
    return kvm_test_main(argc, argv, "kvm-cpu", tests, G_N_ELEMENTS(tests));
}
