/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same KVM tests on Linux's /dev/kvm and on kvm/, interpreting and translating.  A small VM of
 * RAM at 0, guests assembled inside the test, and calls that return what ioctl would: >= 0 or
 * -errno.
 */
#ifndef TRAPEZE_TESTS_KVM_ENGINE_H
#define TRAPEZE_TESTS_KVM_ENGINE_H

#include "kvm/compat.h"

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct kvm_file;

struct kvm_engine {
    const char *name;               /* "linux", "interpreter", "translator" */
    struct kvm_file *(*open)(void); /* NULL: not there */
    long (*ioctl)(struct kvm_file *f, unsigned long request, unsigned long argument,
                  struct kvm_file **created);
    void *(*mmap)(struct kvm_file *f, size_t length, uint64_t offset);        /* NULL and errno */
    long (*read)(struct kvm_file *f, void *to, size_t size, uint64_t offset); /* pread */
    void (*close)(struct kvm_file *f);
    /* Makes KVM_RUN of VCPU in THREAD return -EINTR soon. */
    void (*kick)(struct kvm_file *vcpu, struct kvm_run *run, pthread_t thread);
};
/* Ours with all code interpreted, and with all 64-bit code translated at its first lookup. */
extern const struct kvm_engine kvm_engine_linux, kvm_engine_interpreter, kvm_engine_translator;

static inline bool is_ours(const struct kvm_engine *e)
{
    return e != &kvm_engine_linux;
}

struct kvm_test {
    const char *name;
    void (*fn)(const struct kvm_engine *e);
};
/* A test program's main: runs COUNT tests as /PREFIX/ENGINE/NAME on each engine; skipped, with a
 * message, where the engine is not there. */
int kvm_test_main(int argc, char **argv, const char *prefix, const struct kvm_test *tests,
                  size_t count);

/* Assembles TEXT (AT&T syntax) for BITS (16, 32 or 64) as bytes NAME..NAME_end. */
#define KVM_GUEST(bits, name, text)                                                                \
    asm(".pushsection .rodata.guest, \"a\"\n.code" #bits "\n.globl " #name "\n.hidden " #name      \
        "\n" #name ":\n" text "\n.globl " #name "_end\n.hidden " #name "_end\n" #name              \
        "_end:\n.code64\n.popsection\n");                                                          \
    extern const uint8_t name[], name##_end[]

#define TEST_VCPUS 4
#define TEST_RAM   (4u << 20)
/* Where things are in a test VM's memory. */
enum {
    TEST_GDT = 0x1000,
    TEST_IDT = 0x2000,
    TEST_PAGE_TABLES = 0x4000, /* PML4, PDPT, then one PD a GiB: 4 GiB identity, 2 MiB pages */
    TEST_CODE = 0x10000,
    TEST_STACK = 0x20000,
    TEST_DATA = 0x30000,
};

struct test_vm {
    const struct kvm_engine *e;
    struct kvm_file *system, *vm, *vcpu[TEST_VCPUS];
    struct kvm_run *run[TEST_VCPUS];
    uint8_t *ram;
};

/* A VM with RAM in slot 0 and VCPUS vCPUs with the supported CPUID; IRQCHIP: with one. */
struct test_vm *test_vm_new(const struct kvm_engine *e, unsigned vcpus, bool irqchip);
/* Adds a vCPU; CAPABILITY may be KVM_CAP_TSC_DEADLINE_TIMER, for it to be in CPUID, or 0. */
void test_vm_add_vcpu(struct test_vm *t, unsigned long capability);
void test_vm_free(struct test_vm *t);

long test_system(struct test_vm *t, unsigned long request, void *argument);
long test_vm(struct test_vm *t, unsigned long request, void *argument);
long test_vcpu(struct test_vm *t, unsigned long request, void *argument);
long test_vcpu_n(struct test_vm *t, unsigned n, unsigned long request, void *argument);

/* Copies code to TEST_CODE and makes vCPU 0 about to run it, interrupts off, stack at TEST_STACK:
 * in real mode (CS base TEST_CODE, other segments 0), 32-bit protected mode without paging, or
 * 64-bit mode. */
void test_real(struct test_vm *t, const uint8_t *code, const uint8_t *end);
void test_protected(struct test_vm *t, const uint8_t *code, const uint8_t *end);
void test_long(struct test_vm *t, const uint8_t *code, const uint8_t *end);
#define TEST_START(t, mode, name) test_##mode(t, name, name##_end)

/* A 64-bit interrupt gate for VECTOR at HANDLER. */
void test_gate(struct test_vm *t, unsigned vector, uint64_t handler);

/* KVM_RUN of vCPU 0 until it returns something other than -EINTR or -EAGAIN, which must be
 * EXIT_REASON. */
void test_run(struct test_vm *t, uint32_t exit_reason);
/* Of vCPU 0's KVM_EXIT_IO. */
#define TEST_PIO_DATA(t) ((uint8_t *)(t)->run[0] + (t)->run[0]->io.data_offset)
/* Runs vCPU 0 to a port write, which must be one of SIZE bytes to PORT; returns its value. */
uint32_t test_pio_written(struct test_vm *t, uint16_t port, unsigned size);
struct kvm_regs test_regs(struct test_vm *t);

#endif
