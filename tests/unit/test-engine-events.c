/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupts, exceptions and eventfds reach small guests alike on Linux's /dev/kvm and on kvm/. */
#include "kvm-engine.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---------------------------------------------------------------- without an irqchip */

/* The loop leaves time for a host that looks at interrupts now and then. */
KVM_GUEST(64, window_code,
          "mov $0x10, %edx\n out %al, %dx\n nop\n sti\n"
          "mov $100000, %ecx\n 1: loop 1b\n out %al, %dx\n hlt\n");
KVM_GUEST(64, handler_code,
          "push %rdx\n push %rax\n mov $0x20, %edx\n mov $0x5a, %al\n"
          "out %al, %dx\n pop %rax\n pop %rdx\n iretq\n");

static void put_handler(struct test_vm *t, unsigned vector)
{
    memcpy(t->ram + TEST_CODE + 0x1000, handler_code, (size_t)(handler_code_end - handler_code));
    test_gate(t, vector, TEST_CODE + 0x1000);
}

static void user_interrupt(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, window_code);
    put_handler(t, 0x55);
    test_pio_written(t, 0x10, 1);
    g_assert_cmpuint(t->run[0]->if_flag, ==, 0);
    t->run[0]->request_interrupt_window = 1;
    test_run(t, KVM_EXIT_IRQ_WINDOW_OPEN);
    g_assert_cmpuint(t->run[0]->ready_for_interrupt_injection, ==, 1);
    g_assert_cmpuint(t->run[0]->if_flag, ==, 1);
    t->run[0]->request_interrupt_window = 0;
    struct kvm_interrupt interrupt = {.irq = 0x55};
    g_assert_cmpint(test_vcpu(t, KVM_INTERRUPT, &interrupt), ==, 0);
    g_assert_cmphex(test_pio_written(t, 0x20, 1), ==, 0x5a);
    test_pio_written(t, 0x10, 1);
    test_run(t, KVM_EXIT_HLT);
    test_vm_free(t);
}

static void nmi(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, window_code);
    put_handler(t, 2);
    test_pio_written(t, 0x10, 1);
    g_assert_cmpint(test_vcpu(t, KVM_NMI, NULL), ==, 0);
    g_assert_cmphex(test_pio_written(t, 0x20, 1), ==, 0x5a);
    test_pio_written(t, 0x10, 1);
    test_run(t, KVM_EXIT_HLT);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- with an irqchip */

/* x2APIC on, software-enabled; then HLT until the handler has run. */
KVM_GUEST(64, halt_code,
          "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"
          "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
          "mov $0x10, %edx\n out %al, %dx\n"
          "1: sti\n hlt\n cli\n cmpl $0, 0x30000\n je 1b\n"
          "mov $100000, %ecx\n 2: loop 2b\n"
          "mov $0x11, %edx\n out %al, %dx\n hlt\n");
KVM_GUEST(64, eoi_handler,
          "push %rax\n push %rcx\n push %rdx\n incl 0x30000\n"
          "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
          "pop %rdx\n pop %rcx\n pop %rax\n iretq\n");

static void put_eoi_handler(struct test_vm *t, unsigned vector)
{
    memcpy(t->ram + TEST_CODE + 0x1000, eoi_handler, (size_t)(eoi_handler_end - eoi_handler));
    test_gate(t, vector, TEST_CODE + 0x1000);
}

static void *run_until_port_11(void *opaque)
{
    test_pio_written(opaque, 0x11, 1);
    return NULL;
}

static void msi_wakes_halt(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    TEST_START(t, long, halt_code);
    put_eoi_handler(t, 0x41);
    test_pio_written(t, 0x10, 1);
    pthread_t thread;
    pthread_create(&thread, NULL, run_until_port_11, t);
    g_usleep(10000); /* most likely it halts meanwhile; right either way */
    struct kvm_msi msi = {.address_lo = 0xfee00000, .data = 0x41};
    g_assert_cmpint(test_vm(t, KVM_SIGNAL_MSI, &msi), ==, 1);
    pthread_join(thread, NULL);
    g_assert_cmpuint(*(uint32_t *)(t->ram + TEST_DATA), ==, 1);
    test_vm_free(t);
}

KVM_GUEST(64, timer_code,
          "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"
          "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
          "mov $0x83e, %ecx\n mov $0xb, %eax\n wrmsr\n"    /* divide by 1 */
          "mov $0x832, %ecx\n mov $0x42, %eax\n wrmsr\n"   /* LVT timer, one shot */
          "mov $0x838, %ecx\n mov $100000, %eax\n wrmsr\n" /* initial count */
          "1: sti\n hlt\n cli\n cmpl $0, 0x30000\n je 1b\n"
          "mov $0x11, %edx\n out %al, %dx\n hlt\n");

static void lapic_timer_wakes_halt(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    TEST_START(t, long, timer_code);
    put_eoi_handler(t, 0x42);
    test_pio_written(t, 0x11, 1);
    g_assert_cmpuint(*(uint32_t *)(t->ram + TEST_DATA), ==, 1);
    test_vm_free(t);
}

/* Through the PIC in virtual-wire mode: IRQ 4 raised by user space. */
KVM_GUEST(64, pic_code,
          "mov $0x11, %al\n out %al, $0x20\n mov $0x30, %al\n out %al, $0x21\n"
          "mov $4, %al\n out %al, $0x21\n mov $1, %al\n out %al, $0x21\n"
          "mov $0xef, %al\n out %al, $0x21\n"
          "mov $0x10, %edx\n out %al, %dx\n"
          "1: sti\n hlt\n cli\n cmpl $0, 0x30000\n je 1b\n"
          "mov $0x11, %edx\n out %al, %dx\n hlt\n");
KVM_GUEST(64, pic_handler,
          "push %rax\n incl 0x30000\n mov $0x20, %al\n out %al, $0x20\n"
          "pop %rax\n iretq\n");

static void pic_interrupt(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    TEST_START(t, long, pic_code);
    memcpy(t->ram + TEST_CODE + 0x1000, pic_handler, (size_t)(pic_handler_end - pic_handler));
    test_gate(t, 0x34, TEST_CODE + 0x1000);
    test_pio_written(t, 0x10, 1);
    struct kvm_irq_level line = {.irq = 4, .level = 1};
    g_assert_cmpint(test_vm(t, KVM_IRQ_LINE, &line), ==, 0);
    test_pio_written(t, 0x11, 1);
    g_assert_cmpuint(*(uint32_t *)(t->ram + TEST_DATA), ==, 1);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- two processors */

/* The bootstrap processor sends INIT and SIPI, and waits until the other has written. */
KVM_GUEST(64, smp_code,
          "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%rbx)\n"
          "movl $0x01000000, 0x310(%rbx)\n movl $0x4500, 0x300(%rbx)\n"
          "movl $0x4608, 0x300(%rbx)\n" /* starts at 0x8000 */
          "1: pause\n cmpl $0xabcd, 0x30000\n jne 1b\n"
          "lock incl 0x30004\n mov $0x11, %edx\n out %al, %dx\n hlt\n");
KVM_GUEST(16, ap_code,
          "mov $0x3000, %ax\n mov %ax, %ds\n lock incl 4\n movl $0xabcd, 0\n"
          "1: hlt\n jmp 1b\n");

struct ap {
    struct test_vm *t;
    _Atomic int stop;
};

static void *run_ap(void *opaque)
{
    struct ap *ap = opaque;
    while (!ap->stop) {
        long r = test_vcpu_n(ap->t, 1, KVM_RUN, NULL);
        g_assert_true(r == 0 || r == -EINTR || r == -EAGAIN);
    }
    return NULL;
}

static void two_processors(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 2, true);
    TEST_START(t, long, smp_code);
    memcpy(t->ram + 0x8000, ap_code, (size_t)(ap_code_end - ap_code));
    struct kvm_mp_state mp;
    g_assert_cmpint(test_vcpu_n(t, 1, KVM_GET_MP_STATE, &mp), ==, 0);
    g_assert_cmpuint(mp.mp_state, ==, KVM_MP_STATE_UNINITIALIZED);
    struct ap ap = {.t = t};
    pthread_t thread;
    pthread_create(&thread, NULL, run_ap, &ap);
    test_pio_written(t, 0x11, 1);
    g_assert_cmpuint(*(uint32_t *)(t->ram + TEST_DATA + 4), ==, 2);
    /* The other one sleeps in its HLT. */
    ap.stop = 1;
    e->kick(t->vcpu[1], t->run[1], thread);
    pthread_join(thread, NULL);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- exceptions, eventfds, split
 * irqchip */

/* Writes the error code and the return address that its handler was given. */
KVM_GUEST(64, error_handler,
          "pop %rax\n mov %rax, 0x30000\n mov (%rsp), %rax\n mov %rax, 0x30008\n"
          "mov %cr2, %rax\n mov %rax, 0x30010\n mov $0x20, %edx\n"
          "out %al, %dx\n iretq\n");

static void injected_exception(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, window_code);
    memcpy(t->ram + TEST_CODE + 0x1000, error_handler, (size_t)(error_handler_end - error_handler));
    test_gate(t, 14, TEST_CODE + 0x1000);
    test_pio_written(t, 0x10, 1);
    t->run[0]->immediate_exit = 1;
    g_assert_cmpint(test_vcpu(t, KVM_RUN, NULL), ==, -EINTR); /* finishes the OUT */
    t->run[0]->immediate_exit = 0;
    struct kvm_sregs s;
    g_assert_cmpint(test_vcpu(t, KVM_GET_SREGS, &s), ==, 0);
    s.cr2 = 0x123456;
    g_assert_cmpint(test_vcpu(t, KVM_SET_SREGS, &s), ==, 0);
    uint64_t rip = test_regs(t).rip;
    struct kvm_vcpu_events events;
    g_assert_cmpint(test_vcpu(t, KVM_GET_VCPU_EVENTS, &events), ==, 0);
    events.exception.injected = 1;
    events.exception.nr = 14;
    events.exception.has_error_code = 1;
    events.exception.error_code = 6;
    g_assert_cmpint(test_vcpu(t, KVM_SET_VCPU_EVENTS, &events), ==, 0);
    test_pio_written(t, 0x20, 1);
    const uint64_t *data = (uint64_t *)(t->ram + TEST_DATA);
    g_assert_cmphex(data[0], ==, 6);
    g_assert_cmphex(data[1], ==, rip);
    g_assert_cmphex(data[2], ==, 0x123456);
    test_vm_free(t);
}

/* Writes to a port and to memory that eventfds wait for; then an irqfd wakes it from HLT. */
KVM_GUEST(64, eventfd_code,
          "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"
          "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
          "mov $0x5555, %eax\n mov $0x1234, %edx\n out %ax, %dx\n inc %eax\n out %ax, %dx\n"
          "mov $0xd0000000, %ebx\n movl $7, (%rbx)\n"
          "mov $0x10, %edx\n out %al, %dx\n"
          "1: sti\n hlt\n cli\n cmpl $0, 0x30000\n je 1b\n"
          "mov $0x11, %edx\n out %al, %dx\n hlt\n");

static void eventfds(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, true);
    TEST_START(t, long, eventfd_code);
    put_eoi_handler(t, 0x43);
    int port = eventfd(0, EFD_NONBLOCK), memory = eventfd(0, EFD_NONBLOCK), irq = eventfd(0, 0);
    struct kvm_ioeventfd p = {.datamatch = 0x5555,
                              .addr = 0x1234,
                              .len = 2,
                              .fd = port,
                              .flags = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH};
    struct kvm_ioeventfd m = {.addr = 0xd0000000, .fd = memory};
    g_assert_cmpint(test_vm(t, KVM_IOEVENTFD, &p), ==, 0);
    g_assert_cmpint(test_vm(t, KVM_IOEVENTFD, &p), ==, -EEXIST);
    g_assert_cmpint(test_vm(t, KVM_IOEVENTFD, &m), ==, 0);
    struct {
        struct kvm_irq_routing header;
        struct kvm_irq_routing_entry entry;
    } routes = {.header.nr = 1,
                .entry = {.gsi = 5,
                          .type = KVM_IRQ_ROUTING_MSI,
                          .u.msi = {.address_lo = 0xfee00000, .data = 0x43}}};
    g_assert_cmpint(test_vm(t, KVM_SET_GSI_ROUTING, &routes), ==, 0);
    struct kvm_irqfd i = {.fd = (uint32_t)irq, .gsi = 5};
    g_assert_cmpint(test_vm(t, KVM_IRQFD, &i), ==, 0);
    g_assert_cmphex(test_pio_written(t, 0x1234, 2), ==, 0x5556); /* the other value was matched */
    test_pio_written(t, 0x10, 1);
    uint64_t count = 0;
    g_assert_cmpint(read(port, &count, 8), ==, 8);
    g_assert_cmpuint(count, ==, 1);
    g_assert_cmpint(read(memory, &count, 8), ==, 8);
    g_assert_cmpuint(count, ==, 1);
    g_assert_cmpint(write(irq, &count, 8), ==, 8);
    test_pio_written(t, 0x11, 1);
    g_assert_cmpuint(*(uint32_t *)(t->ram + TEST_DATA), ==, 1);
    test_vm_free(t);
    close(port);
    close(memory);
    close(irq);
}

/* A split irqchip reports the EOI of a level-triggered interrupt of user space's IOAPIC. */
static void split_eoi(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
    g_assert_cmpint(test_vm(t, KVM_ENABLE_CAP, &cap), ==, 0);
    test_vm_add_vcpu(t, 0);
    TEST_START(t, long, halt_code);
    put_eoi_handler(t, 0x44);
    struct {
        struct kvm_irq_routing header;
        struct kvm_irq_routing_entry entry;
    } routes = {.header.nr = 1,
                .entry = {.gsi = 3,
                          .type = KVM_IRQ_ROUTING_MSI,
                          .u.msi = {.address_lo = 0xfee00000, .data = 0x44 | 1 << 15 | 1 << 14}}};
    g_assert_cmpint(test_vm(t, KVM_SET_GSI_ROUTING, &routes), ==, 0);
    test_pio_written(t, 0x10, 1);
    struct kvm_msi msi = {.address_lo = 0xfee00000, .data = 0x44 | 1 << 15 | 1 << 14};
    g_assert_cmpint(test_vm(t, KVM_SIGNAL_MSI, &msi), ==, 1);
    test_run(t, KVM_EXIT_IOAPIC_EOI);
    g_assert_cmphex(t->run[0]->eoi.vector, ==, 0x44);
    test_pio_written(t, 0x11, 1);
    test_vm_free(t);
}

KVM_GUEST(64, deadline_code,
          "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"
          "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
          "mov $0x832, %ecx\n mov $0x40042, %eax\n wrmsr\n" /* TSC deadline */
          "rdtsc\n add $1000000, %eax\n adc $0, %edx\n mov $0x6e0, %ecx\n wrmsr\n"
          "1: sti\n hlt\n cli\n cmpl $0, 0x30000\n je 1b\n"
          "mov $0x11, %edx\n out %al, %dx\n hlt\n");

static void tsc_deadline(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, true);
    test_vm_add_vcpu(t, KVM_CAP_TSC_DEADLINE_TIMER);
    TEST_START(t, long, deadline_code);
    put_eoi_handler(t, 0x42);
    test_pio_written(t, 0x11, 1);
    g_assert_cmpuint(*(uint32_t *)(t->ram + TEST_DATA), ==, 1);
    test_vm_free(t);
}

int main(int argc, char **argv)
{
    static const struct kvm_test tests[] = {
        {"user-interrupt", user_interrupt},
        {"nmi", nmi},
        {"msi-wakes-halt", msi_wakes_halt},
        {"lapic-timer", lapic_timer_wakes_halt},
        {"pic", pic_interrupt},
        {"two-processors", two_processors},
        {"injected-exception", injected_exception},
        {"eventfds", eventfds},
        {"split-eoi", split_eoi},
        {"tsc-deadline", tsc_deadline},
    };
    return kvm_test_main(argc, argv, "engine-events", tests, G_N_ELEMENTS(tests));
}
