/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What guests that know KVM may ask of it: hypercalls, steal time, asynchronous page faults; and
 * what the host tells guests of its memory's errors. */
#include "kvm-engine.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <string.h>

#define CHECK(call, expected) g_assert_cmpint((call), ==, (expected))

static long enable(struct test_vm *t, uint32_t cap, uint64_t argument)
{
    struct kvm_enable_cap c = {.cap = cap, .args = {argument}};
    return test_vm(t, KVM_ENABLE_CAP, &c);
}

/* 1: set; 0: refused. */
static long set_msr(struct test_vm *t, uint32_t index, uint64_t value)
{
    struct {
        struct kvm_msrs header;
        struct kvm_msr_entry entry;
    } m = {.header.nmsrs = 1, .entry = {.index = index, .data = value}};
    return test_vcpu(t, KVM_SET_MSRS, &m);
}

static uint64_t get_msr(struct test_vm *t, uint32_t index)
{
    struct {
        struct kvm_msrs header;
        struct kvm_msr_entry entry;
    } m = {.header.nmsrs = 1, .entry.index = index};
    CHECK(test_vcpu(t, KVM_GET_MSRS, &m), 1);
    return m.entry.data;
}

/* Hypercalls are tried on ours alone. */
static bool cannot_call(const struct kvm_engine *e)
{
    if (is_ours(e))
        return false;
    g_test_skip("a /dev/kvm that only emulates may retry a hypercall for ever");
    return true;
}

/* ---------------------------------------------------------------- hypercalls */

/* The host's own instruction, and the other vendor's. */
KVM_GUEST(64, vmcall_code, "vmcall\n hlt\n");
KVM_GUEST(64, vmmcall_code, "vmmcall\n hlt\n");

static bool host_is_amd(void)
{
    uint32_t a = 0, b, c, d;
    asm("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return b == 0x68747541 || b == 0x6f677948;
}

static void start_call(struct test_vm *t, bool native, const uint64_t argument[5])
{
    if (native != host_is_amd())
        TEST_START(t, long, vmcall_code);
    else
        TEST_START(t, long, vmmcall_code);
    struct kvm_regs regs = test_regs(t);
    regs.rax = argument[0];
    regs.rbx = argument[1];
    regs.rcx = argument[2];
    regs.rdx = argument[3];
    regs.rsi = argument[4];
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
}

#define CALL(t, ...) call(t, (const uint64_t[5]){__VA_ARGS__})
static int64_t call(struct test_vm *t, const uint64_t argument[5])
{
    start_call(t, true, argument);
    long r;
    do
        r = test_vcpu(t, KVM_RUN, NULL);
    while (r == -EINTR);
    CHECK(r, 0);
    g_assert_cmpuint(t->run[0]->exit_reason, ==, KVM_EXIT_HLT);
    return (int64_t)test_regs(t).rax;
}

static void hypercalls(const struct kvm_engine *e)
{
    if (cannot_call(e))
        return;
    struct test_vm *t = test_vm_new(e, 1, false);
    CHECK(CALL(t, 12345), -KVM_ENOSYS);
    CHECK(CALL(t, KVM_HC_VAPIC_POLL_IRQ), 0);
    CHECK(CALL(t, KVM_HC_SCHED_YIELD, 99), 0);
    CHECK(CALL(t, KVM_HC_KICK_CPU, 0, 77), 0);
    CHECK(CALL(t, KVM_HC_MAP_GPA_RANGE, 0, 1, 0), -KVM_ENOSYS);
    struct kvm_clock_pairing *pairing = (void *)(t->ram + TEST_DATA);
    int64_t before = g_get_real_time() / G_USEC_PER_SEC;
    CHECK(CALL(t, KVM_HC_CLOCK_PAIRING, TEST_DATA, KVM_CLOCK_PAIRING_WALLCLOCK), 0);
    g_assert_cmpint(pairing->sec, >=, before);
    g_assert_cmpint(pairing->sec, <=, g_get_real_time() / G_USEC_PER_SEC);
    g_assert_cmpuint(pairing->tsc, !=, 0);
    CHECK(CALL(t, KVM_HC_CLOCK_PAIRING, 1ull << 40, KVM_CLOCK_PAIRING_WALLCLOCK), -KVM_EFAULT);
    CHECK(CALL(t, KVM_HC_CLOCK_PAIRING, TEST_DATA, 5), -KVM_EOPNOTSUPP);
    test_vm_free(t);
}

static void exit_hypercall(const struct kvm_engine *e)
{
    if (cannot_call(e))
        return;
    struct test_vm *t = test_vm_new(e, 1, false);
    struct kvm_run *run = t->run[0];
    CHECK(test_vm(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_EXIT_HYPERCALL),
          1 << KVM_HC_MAP_GPA_RANGE);
    CHECK(enable(t, KVM_CAP_EXIT_HYPERCALL, 1), -EINVAL);
    CHECK(enable(t, KVM_CAP_EXIT_HYPERCALL, 1 << KVM_HC_MAP_GPA_RANGE), 0);
    CHECK(CALL(t, KVM_HC_MAP_GPA_RANGE, 5, 1, 0), -KVM_EINVAL);
    CHECK(CALL(t, KVM_HC_MAP_GPA_RANGE, 4096, 0, 0), -KVM_EINVAL);
    CHECK(CALL(t, KVM_HC_MAP_GPA_RANGE, 4096, ~0ull, 0), -KVM_EINVAL);
    start_call(t, true, (const uint64_t[5]){KVM_HC_MAP_GPA_RANGE, 4096, 3, 16});
    test_run(t, KVM_EXIT_HYPERCALL);
    g_assert_cmpuint(run->hypercall.nr, ==, KVM_HC_MAP_GPA_RANGE);
    g_assert_cmpuint(run->hypercall.args[0], ==, 4096);
    g_assert_cmpuint(run->hypercall.args[1], ==, 3);
    g_assert_cmpuint(run->hypercall.args[2], ==, 16);
    run->hypercall.ret = 42;
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(test_regs(t).rax, ==, 42);
    test_vm_free(t);
}

/* The other vendor's instruction is rewritten, or #UD once user space said so. */
static void wrong_instruction(const struct kvm_engine *e)
{
    if (cannot_call(e))
        return;
    static const uint64_t yield[5] = {KVM_HC_SCHED_YIELD};
    struct test_vm *t = test_vm_new(e, 1, false);
    start_call(t, false, yield);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(test_regs(t).rax, ==, 0);
    g_assert_cmpmem(t->ram + TEST_CODE, 3, host_is_amd() ? vmmcall_code : vmcall_code, 3);
    CHECK(enable(t, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN), 0);
    test_gate(t, 6, TEST_CODE + 3); /* #UD: to the HLT */
    start_call(t, false, yield);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(test_regs(t).rax, ==, KVM_HC_SCHED_YIELD);
    g_assert_cmpmem(t->ram + TEST_CODE, 3, host_is_amd() ? vmcall_code : vmmcall_code, 3);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- IPIs by hypercall */

/* vCPU 0 calls, then says by a port what came out. */
KVM_GUEST(64, ipi_code, "vmcall\n out %eax, $0x80\n");
KVM_GUEST(64, ipi_amd_code, "vmmcall\n out %eax, $0x80\n");

static int32_t send_ipi(struct test_vm *t, uint64_t low, uint64_t high, uint64_t first,
                        uint64_t icr)
{
    if (host_is_amd())
        TEST_START(t, long, ipi_amd_code);
    else
        TEST_START(t, long, ipi_code);
    struct kvm_regs regs = test_regs(t);
    regs.rax = KVM_HC_SEND_IPI;
    regs.rbx = low;
    regs.rcx = high;
    regs.rdx = first;
    regs.rsi = icr;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
    test_run(t, KVM_EXIT_IO);
    int32_t result;
    memcpy(&result, TEST_PIO_DATA(t), sizeof(result));
    return result;
}

static bool irr_has(struct test_vm *t, unsigned n, unsigned vector)
{
    struct kvm_lapic_state s;
    CHECK(test_vcpu_n(t, n, KVM_GET_LAPIC, &s), 0);
    return s.regs[0x200 + vector / 32 * 16 + vector % 32 / 8] >> vector % 8 & 1;
}

static void multicast(const struct kvm_engine *e)
{
    if (cannot_call(e))
        return;
    struct test_vm *t = test_vm_new(e, 3, true);
    for (unsigned n = 0; n < 3; n++) { /* software-enabled */
        struct kvm_lapic_state s;
        CHECK(test_vcpu_n(t, n, KVM_GET_LAPIC, &s), 0);
        s.regs[0xf1] |= 1;
        CHECK(test_vcpu_n(t, n, KVM_SET_LAPIC, &s), 0);
    }
    CHECK(send_ipi(t, 6, 0, 0, 0x41), 2);
    g_assert_true(!irr_has(t, 0, 0x41) && irr_has(t, 1, 0x41) && irr_has(t, 2, 0x41));
    CHECK(send_ipi(t, 3, 0, 2, 0x51), 1); /* ids 2 and 3, which is not there */
    g_assert_true(!irr_has(t, 1, 0x51) && irr_has(t, 2, 0x51));
    CHECK(send_ipi(t, 0, 1, 0, 0x61), 0); /* id 64 */
    CHECK(send_ipi(t, 1, 0, 1ull << 40, 0x61), 0);
    CHECK(send_ipi(t, 1, 0, 0, 0x61 | 1 << 18), -KVM_EINVAL);
    CHECK(send_ipi(t, 1, 0, 0, 0x61 | 1 << 11), -KVM_EINVAL);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- registers */

static void steal_time(const struct kvm_engine *e)
{
    if (cannot_call(e))
        return;
    struct test_vm *t = test_vm_new(e, 1, false);
    struct kvm_steal_time *s = (void *)(t->ram + TEST_DATA);
    if (!set_msr(t, MSR_KVM_STEAL_TIME, 0)) {
        g_test_skip("the host does not account for waiting");
        test_vm_free(t);
        return;
    }
    CHECK(set_msr(t, MSR_KVM_STEAL_TIME, TEST_DATA | 0x20 | KVM_MSR_ENABLED), 0);
    CHECK(set_msr(t, MSR_KVM_STEAL_TIME, TEST_DATA | KVM_MSR_ENABLED), 1);
    g_assert_cmphex(get_msr(t, MSR_KVM_STEAL_TIME), ==, TEST_DATA | KVM_MSR_ENABLED);
    uint32_t version = 0;
    for (int i = 0; i < 3; i++) {
        CHECK(CALL(t, KVM_HC_SCHED_YIELD), 0);
        g_assert_cmpuint(s->version % 2, ==, 0);
        g_assert_cmpuint(s->flags, ==, 0);
        g_assert_cmpuint(s->version, >, version);
        g_assert_cmpuint(s->preempted, ==, KVM_VCPU_PREEMPTED); /* it does not run now */
        version = s->version;
    }
    /* An address without memory does no harm. */
    CHECK(set_msr(t, MSR_KVM_STEAL_TIME, 1ull << 40 | KVM_MSR_ENABLED), 1);
    CHECK(CALL(t, KVM_HC_SCHED_YIELD), 0);
    test_vm_free(t);
}

static void async_pf(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    CHECK(set_msr(t, MSR_KVM_ASYNC_PF_EN, 0), 1);
    CHECK(set_msr(t, MSR_KVM_ASYNC_PF_EN, TEST_DATA | 9), 0); /* no LAPIC in here */
    test_vm_free(t);

    t = test_vm_new(e, 1, true);
    CHECK(set_msr(t, MSR_KVM_ASYNC_PF_INT, 0x123), 0);
    CHECK(set_msr(t, MSR_KVM_ASYNC_PF_INT, 0xf3), 1);
    CHECK(set_msr(t, MSR_KVM_ASYNC_PF_EN, TEST_DATA | 0x11), 0);
    CHECK(set_msr(t, MSR_KVM_ASYNC_PF_EN, TEST_DATA | 9), 1);
    CHECK(set_msr(t, MSR_KVM_ASYNC_PF_ACK, 1), 1);
    g_assert_cmphex(get_msr(t, MSR_KVM_ASYNC_PF_EN), ==, TEST_DATA | 9);
    g_assert_cmphex(get_msr(t, MSR_KVM_ASYNC_PF_INT), ==, 0xf3);
    g_assert_cmphex(get_msr(t, MSR_KVM_ASYNC_PF_ACK), ==, 0);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- end of interrupt by memory */

/* Interrupted, it notes the offer, ends the interrupt by clearing the bit, and looks at ISR. */
KVM_GUEST(64, eoi_code,
          "sti\n 1: pause\n jmp 1b\n"
          "mov 0x30000, %eax\n andl $~1, 0x30000\n"
          "out %eax, $0x80\n out %eax, $0x81\n iretq\n");

static bool isr_has(struct test_vm *t, unsigned vector)
{
    struct kvm_lapic_state s;
    CHECK(test_vcpu(t, KVM_GET_LAPIC, &s), 0);
    return s.regs[0x100 + vector / 32 * 16 + vector % 32 / 8] >> vector % 8 & 1;
}

static void eoi_by_memory(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    CHECK(set_msr(t, MSR_KVM_PV_EOI_EN, TEST_DATA | 3), 0);
    CHECK(set_msr(t, MSR_KVM_PV_EOI_EN, 1ull << 40 | 1), 0);
    CHECK(set_msr(t, MSR_KVM_PV_EOI_EN, TEST_DATA | 1), 1);
    g_assert_cmphex(get_msr(t, MSR_KVM_PV_EOI_EN), ==, TEST_DATA | 1);
    if (!is_ours(e)) {
        g_test_skip("the rest depends on how Linux's processor injects");
        test_vm_free(t);
        return;
    }
    struct kvm_lapic_state s;
    CHECK(test_vcpu(t, KVM_GET_LAPIC, &s), 0);
    s.regs[0xf1] |= 1; /* software-enabled */
    CHECK(test_vcpu(t, KVM_SET_LAPIC, &s), 0);
    TEST_START(t, long, eoi_code);
    test_gate(t, 0x41, TEST_CODE + 5); /* behind the loop */
    for (int i = 0; i < 3; i++) {
        struct kvm_msi msi = {.address_lo = 0xfee00000, .data = 0x41};
        CHECK(test_vm(t, KVM_SIGNAL_MSI, &msi), 1);
        test_run(t, KVM_EXIT_IO);
        uint32_t offered;
        memcpy(&offered, TEST_PIO_DATA(t), sizeof(offered));
        g_assert_cmpuint(offered, ==, 1);
        g_assert_false(isr_has(t, 0x41)); /* ended, without an access to the LAPIC */
        test_run(t, KVM_EXIT_IO);
    }
    test_vm_free(t);
}

/* ---------------------------------------------------------------- CPUID */

KVM_GUEST(64, rdmsr_code, "rdmsr\n hlt\n");

/* Without KVM's signature in CPUID a guest has no features once that is to be obeyed. */
static void enforced(const struct kvm_engine *e)
{
    static const uint32_t msrs[] = {
        MSR_KVM_WALL_CLOCK,   MSR_KVM_SYSTEM_TIME, MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW,
        MSR_KVM_ASYNC_PF_EN,  MSR_KVM_STEAL_TIME,  MSR_KVM_POLL_CONTROL,   MSR_KVM_ASYNC_PF_INT,
        MSR_KVM_ASYNC_PF_ACK, MSR_KVM_PV_EOI_EN};
    struct test_vm *t = test_vm_new(e, 1, true);
    struct kvm_enable_cap cap = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};
    struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entry[256];
    } cpuid = {.header.nent = 256};
    CHECK(test_vcpu(t, KVM_GET_CPUID2, &cpuid), 0);
    for (unsigned i = 0; i < cpuid.header.nent; i++)
        if (cpuid.entry[i].function == KVM_CPUID_FEATURES)
            cpuid.entry[i].eax = 0;
    CHECK(test_vcpu(t, KVM_SET_CPUID2, &cpuid), 0);
    CHECK(test_vcpu(t, KVM_ENABLE_CAP, &cap), 0);
    CHECK(enable(t, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_INVAL), 0);
    for (unsigned i = 0; is_ours(e) && i < G_N_ELEMENTS(msrs); i++) {
        TEST_START(t, long, rdmsr_code);
        struct kvm_regs regs = test_regs(t);
        regs.rcx = msrs[i];
        CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
        test_run(t, KVM_EXIT_X86_RDMSR);
        g_assert_cmphex(t->run[0]->msr.index, ==, msrs[i]);
        /* It is answered, so that the next begins afresh. */
        t->run[0]->msr.error = 0;
        t->run[0]->immediate_exit = 1;
        CHECK(test_vcpu(t, KVM_RUN, NULL), -EINTR);
        t->run[0]->immediate_exit = 0;
    }
    if (is_ours(e))
        CHECK(send_ipi(t, 1, 0, 0, 0x41), -KVM_ENOSYS);
    cap.cap = KVM_CAP_HLT;
    CHECK(test_vcpu(t, KVM_ENABLE_CAP, &cap), -EINVAL);
    test_vm_free(t);
}

/* A guest that waits in HLT without an exit is not offered to be kicked out of it. */
static void disabled_exits(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    long offered = test_vm(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_X86_DISABLE_EXITS);
    g_assert_cmpint(offered & KVM_X86_DISABLE_EXITS_HLT, !=, 0);
    CHECK(enable(t, KVM_CAP_X86_DISABLE_EXITS, 1 << 30), -EINVAL);
    CHECK(enable(t, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT), 0);
    test_vm_add_vcpu(t, 0);
    struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entry[256];
    } cpuid = {.header.nent = 256};
    CHECK(test_vcpu(t, KVM_GET_CPUID2, &cpuid), 0);
    for (unsigned i = 0; i < cpuid.header.nent; i++)
        if (cpuid.entry[i].function == KVM_CPUID_FEATURES)
            g_assert_cmphex(cpuid.entry[i].eax & 1 << KVM_FEATURE_PV_UNHALT, ==, 0);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- corrected errors */

#define MCG_CMCI_P   (1ull << 10)
#define MC3_CTL2     0x283u
#define MC3_STATUS   0x40du
#define MC3_ADDR     0x40eu
#define CMCI_ENABLE  (1ull << 30)
#define CMCI_VECTOR  0xa9
#define STATUS_VALID (1ull << 63)

static void log_error(struct test_vm *t, uint64_t address)
{
    struct kvm_x86_mce mce = {.status = STATUS_VALID | 0x90, .addr = address, .bank = 3};
    CHECK(test_vcpu(t, KVM_X86_SET_MCE, &mce), 0);
}

/* Errors that ask nothing of the processor are logged, and told by an interrupt to who wants it. */
static void corrected_errors(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    uint64_t supported = 0, cap = 8;
    CHECK(test_system(t, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported), 0);
    if (!(supported & MCG_CMCI_P)) {
        g_assert_false(is_ours(e));
        g_test_skip("not offered by this /dev/kvm");
        test_vm_free(t);
        return;
    }
    CHECK(test_vcpu(t, KVM_X86_SETUP_MCE, &cap), 0);
    CHECK(set_msr(t, MC3_CTL2, CMCI_ENABLE), 0);
    cap |= MCG_CMCI_P;
    CHECK(test_vcpu(t, KVM_X86_SETUP_MCE, &cap), 0);
    CHECK(set_msr(t, MC3_CTL2, 1ull << 29), 0);
    CHECK(set_msr(t, MC3_CTL2 + 5, CMCI_ENABLE), 0); /* no such bank */
    struct kvm_lapic_state s;
    CHECK(test_vcpu(t, KVM_GET_LAPIC, &s), 0);
    g_assert_cmpuint(s.regs[0x32], ==, 6); /* entries but one */
    s.regs[0xf1] |= 1;                     /* software-enabled */
    memcpy(s.regs + 0x2f0, (const uint8_t[4]){CMCI_VECTOR}, 4);
    CHECK(test_vcpu(t, KVM_SET_LAPIC, &s), 0);
    log_error(t, 0x1000);
    g_assert_false(irr_has(t, 0, CMCI_VECTOR));
    g_assert_cmphex(get_msr(t, MC3_ADDR), ==, 0x1000);
    CHECK(set_msr(t, MC3_CTL2, CMCI_ENABLE | 1), 1);
    log_error(t, 0x2000);
    g_assert_true(irr_has(t, 0, CMCI_VECTOR));
    g_assert_cmphex(get_msr(t, MC3_ADDR), ==, 0x2000);
    g_assert_cmphex(get_msr(t, MC3_STATUS), ==, STATUS_VALID | 0x90);
    test_vm_free(t);
}

int main(int argc, char **argv)
{
    static const struct kvm_test tests[] = {
        {"hypercalls", hypercalls},
        {"exit-hypercall", exit_hypercall},
        {"wrong-instruction", wrong_instruction},
        {"multicast", multicast},
        {"steal-time", steal_time},
        {"async-pf", async_pf},
        {"eoi-by-memory", eoi_by_memory},
        {"enforced", enforced},
        {"disabled-exits", disabled_exits},
        {"corrected-errors", corrected_errors},
    };
    return kvm_test_main(argc, argv, "kvm-paravirt", tests, G_N_ELEMENTS(tests));
}
