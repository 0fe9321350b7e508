/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What KVM tells of a guest's memory and of its exits: dirty rings, logs that begin full, faults
 * that the host cannot resolve, memory made present beforehand, statistics, strings of port input.
 */
#include "kvm-engine.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(call, expected) g_assert_cmpint((call), ==, (expected))
#define PAGE                  4096ull
#define SLOT_GPA              0x10000000ull /* where tests put slots of their own */

/* What only hardware does right: an emulating /dev/kvm takes memory that is not there for a
 * device's, and may miss or repeat writes that are logged. */
static bool may_only_emulate(const struct kvm_engine *e)
{
    if (is_ours(e))
        return false;
    g_test_skip("a /dev/kvm that only emulates does it otherwise");
    return true;
}

/* Linux's /dev/kvm may be an older one, or lack what only some processors let it do. */
static bool lacks(struct test_vm *t, unsigned long capability)
{
    if (is_ours(t->e) || test_vm(t, KVM_CHECK_EXTENSION, (void *)capability) > 0)
        return false;
    g_test_skip("this /dev/kvm does not offer it");
    test_vm_free(t);
    return true;
}

static uint8_t *map(size_t size, int protection)
{
    uint8_t *at = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(at != MAP_FAILED);
    return at;
}

static long set_slot(struct test_vm *t, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size,
                     void *hva)
{
    struct kvm_userspace_memory_region r = {
        .slot = id,
        .flags = flags,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)hva,
    };
    return test_vm(t, KVM_SET_USER_MEMORY_REGION, &r);
}

static long enable(struct test_vm *t, uint32_t cap, uint64_t argument)
{
    struct kvm_enable_cap c = {.cap = cap, .args = {argument}};
    return test_vm(t, KVM_ENABLE_CAP, &c);
}

static long run(struct test_vm *t)
{
    long r;
    do
        r = test_vcpu(t, KVM_RUN, NULL);
    while (r == -EINTR || r == -EAGAIN);
    return r;
}

/* Dirties RCX pages from RBX on. */
KVM_GUEST(64, dirty_code, "1: movb $1, (%rbx)\n add $4096, %rbx\n loop 1b\n hlt\n");

static void start_dirtying(struct test_vm *t, uint64_t from, uint64_t pages)
{
    TEST_START(t, long, dirty_code);
    struct kvm_regs regs = test_regs(t);
    regs.rbx = from;
    regs.rcx = pages;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
}

/* ---------------------------------------------------------------- dirty rings */

static void ring_requests(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 0, false);
    if (lacks(t, KVM_CAP_DIRTY_LOG_RING))
        return;
    long most = test_vm(t, KVM_CHECK_EXTENSION, (void *)KVM_CAP_DIRTY_LOG_RING);
    CHECK(most, 65536 * 16);
    CHECK(test_vm(t, KVM_RESET_DIRTY_RINGS, NULL), -EINVAL);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING, 0), -EINVAL);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING, 3 * PAGE), -EINVAL);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING, 512), -EINVAL);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING, (uint64_t)most * 2), -E2BIG);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING, 16 * PAGE), 0);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING, 16 * PAGE), -EINVAL);
    CHECK(test_vm(t, KVM_RESET_DIRTY_RINGS, NULL), 0);
    uint64_t bitmap[1];
    struct kvm_dirty_log log = {.dirty_bitmap = bitmap};
    struct kvm_clear_dirty_log clear = {.dirty_bitmap = bitmap, .num_pages = 64};
    CHECK(test_vm(t, KVM_GET_DIRTY_LOG, &log), -ENXIO);
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), -ENXIO);
    test_vm_free(t);

    t = test_vm_new(e, 1, false);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 16 * PAGE), -EINVAL);
    g_assert_null(is_ours(e) ? e->mmap(t->vcpu[0], PAGE, KVM_DIRTY_LOG_PAGE_OFFSET * PAGE) : NULL);
    test_vm_free(t);
}

#define RING_ENTRIES 1024u
#define RING_PAGES   2000u

/* A VM with a logged slot at SLOT_GPA and vCPU 0's ring. */
static struct test_vm *ring_vm(const struct kvm_engine *e, struct kvm_dirty_gfn **ring)
{
    if (may_only_emulate(e))
        return NULL;
    struct test_vm *t = test_vm_new(e, 0, false);
    CHECK(enable(t, KVM_CAP_DIRTY_LOG_RING, RING_ENTRIES * sizeof(**ring)), 0);
    test_vm_add_vcpu(t, 0);
    *ring = e->mmap(t->vcpu[0], RING_ENTRIES * sizeof(**ring), KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
    g_assert_nonnull(*ring);
    CHECK(set_slot(t, 5, KVM_MEM_LOG_DIRTY_PAGES, SLOT_GPA, RING_PAGES * PAGE,
                   map(RING_PAGES * PAGE, PROT_READ | PROT_WRITE)),
          0);
    return t;
}

/* Notes the pages that are dirty from entry *NEXT on, and marks them as harvested. */
static unsigned harvest(struct kvm_dirty_gfn *ring, unsigned *next, uint8_t *seen)
{
    unsigned count = 0;
    for (;; count++, (*next)++) {
        struct kvm_dirty_gfn *g = &ring[*next % RING_ENTRIES];
        if (__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
            return count;
        if (g->slot == 5) {
            g_assert_cmpuint(g->offset, <, RING_PAGES);
            seen[g->offset] = 1;
        }
        __atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    }
}

/* Every page that the guest writes comes by the ring, also those that find it full; a page that was
 * reset comes again. */
static void ring_fills(const struct kvm_engine *e)
{
    struct kvm_dirty_gfn *ring;
    struct test_vm *t = ring_vm(e, &ring);
    unsigned next = 0, full = 0;
    if (!t)
        return;
    for (int round = 0; round < 2; round++) {
        uint8_t seen[RING_PAGES] = {0};
        start_dirtying(t, SLOT_GPA, RING_PAGES);
        for (;;) {
            CHECK(run(t), 0);
            bool more = t->run[0]->exit_reason == KVM_EXIT_DIRTY_RING_FULL;
            if (more) {
                /* It does not run before there is room. */
                uint64_t rip = test_regs(t).rip;
                CHECK(run(t), 0);
                g_assert_cmpuint(t->run[0]->exit_reason, ==, KVM_EXIT_DIRTY_RING_FULL);
                g_assert_cmphex(test_regs(t).rip, ==, rip);
                full++;
            } else {
                g_assert_cmpuint(t->run[0]->exit_reason, ==, KVM_EXIT_HLT);
            }
            unsigned count = harvest(ring, &next, seen);
            CHECK(test_vm(t, KVM_RESET_DIRTY_RINGS, NULL), count);
            CHECK(test_vm(t, KVM_RESET_DIRTY_RINGS, NULL), 0);
            if (!more)
                break;
        }
        for (unsigned i = 0; i < RING_PAGES; i++)
            g_assert_cmpuint(seen[i], ==, 1);
    }
    g_assert_cmpuint(full, >=, 2);
    test_vm_free(t);
}

/* User space owns the ring's memory, and may write anything there. */
static void ring_scribbled(const struct kvm_engine *e)
{
    struct kvm_dirty_gfn *ring;
    struct test_vm *t = ring_vm(e, &ring);
    if (!t)
        return;
    start_dirtying(t, SLOT_GPA, 100);
    test_run(t, KVM_EXIT_HLT);
    for (unsigned i = 0; i < RING_ENTRIES; i++)
        ring[i] = (struct kvm_dirty_gfn){
            .flags = ~0u, .slot = i % 3 ? 5 : ~0u, .offset = i % 2 ? ~0ull : 1ull << 40};
    g_assert_cmpint(test_vm(t, KVM_RESET_DIRTY_RINGS, NULL), >=, 100);
    start_dirtying(t, SLOT_GPA, 100);
    test_run(t, KVM_EXIT_HLT);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- logs that begin full */

static void initially_set(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    uint64_t bitmap[2] = {0};
    CHECK(enable(t, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_INITIALLY_SET), -EINVAL);
    CHECK(enable(t, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                 KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET),
          0);
    uint8_t *memory = map(100 * PAGE, PROT_READ | PROT_WRITE);
    CHECK(set_slot(t, 1, 0, SLOT_GPA, 100 * PAGE, memory), 0);
    CHECK(set_slot(t, 1, KVM_MEM_LOG_DIRTY_PAGES, SLOT_GPA, 100 * PAGE, memory), 0);
    struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = bitmap};
    CHECK(test_vm(t, KVM_GET_DIRTY_LOG, &log), 0);
    g_assert_cmphex(bitmap[0], ==, ~0ull);
    g_assert_cmphex(bitmap[1] & ((1ull << 36) - 1), ==, (1ull << 36) - 1);
    struct kvm_clear_dirty_log clear = {.slot = 1, .num_pages = 64, .dirty_bitmap = bitmap};
    CHECK(test_vm(t, KVM_CLEAR_DIRTY_LOG, &clear), 0);
    start_dirtying(t, SLOT_GPA, 3);
    test_run(t, KVM_EXIT_HLT);
    CHECK(test_vm(t, KVM_GET_DIRTY_LOG, &log), 0);
    g_assert_cmphex(bitmap[0], ==, 7);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- the host's faults */

/* KVM_RUN fails at GPA. */
static void expect_fault(struct test_vm *t, uint64_t gpa)
{
    struct kvm_memory_fault fault;
    CHECK(run(t), -EFAULT);
    if (lacks(t, KVM_CAP_MEMORY_FAULT_INFO))
        return;
    g_assert_cmpuint(t->run[0]->exit_reason, ==, KVM_EXIT_MEMORY_FAULT);
    memcpy(&fault, &t->run[0]->hw, sizeof(fault));
    g_assert_cmphex(fault.gpa, ==, gpa);
    g_assert_cmphex(fault.size, ==, PAGE);
    g_assert_cmphex(fault.flags, ==, 0);
}

KVM_GUEST(64, touch_code,
          "mov (%rbx), %rax\n mov %rax, (%rcx)\n"
          "mov $2, %ecx\n cld\n rep movsb\n hlt\n");

static void host_faults(const struct kvm_engine *e)
{
    if (may_only_emulate(e))
        return;
    struct test_vm *t = test_vm_new(e, 1, false);
    uint8_t *memory = map(4 * PAGE, PROT_NONE);
    int file = memfd_create("test", 0);
    CHECK(set_slot(t, 1, 0, SLOT_GPA, 4 * PAGE, memory), 0);
    g_assert_true(mmap(memory + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                       file, 0) != MAP_FAILED);
    munmap(memory + 3 * PAGE, PAGE);
    TEST_START(t, long, touch_code);
    struct kvm_regs regs = test_regs(t);
    regs.rbx = SLOT_GPA + 8;
    regs.rcx = SLOT_GPA + PAGE;
    regs.rsi = TEST_DATA;
    regs.rdi = SLOT_GPA + 3 * PAGE - 1;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
    memcpy(t->ram + TEST_DATA, "xy", 2);

    expect_fault(t, SLOT_GPA); /* no access at all */
    expect_fault(t, SLOT_GPA);
    g_assert_cmphex(test_regs(t).rip, ==, TEST_CODE);
    mprotect(memory, 2 * PAGE, PROT_READ);
    expect_fault(t, SLOT_GPA + PAGE); /* only to read */
    g_assert_cmphex(test_regs(t).rip, ==, TEST_CODE + 3);
    mprotect(memory, 2 * PAGE, PROT_READ | PROT_WRITE);
    expect_fault(t, SLOT_GPA + 2 * PAGE); /* beyond the file's end */
    g_assert_cmpint(ftruncate(file, PAGE), ==, 0);
    expect_fault(t, SLOT_GPA + 3 * PAGE); /* nothing mapped; one byte is done */
    g_assert_cmpuint(test_regs(t).rcx, ==, 1);
    g_assert_cmpuint(memory[3 * PAGE - 1], ==, 'x');
    g_assert_true(mmap(memory + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(memory[3 * PAGE], ==, 'y');
    close(file);
    test_vm_free(t);
}

/* Memory that is there does not speak for what follows in the same slot: what may not be touched,
 * and a file that ends before. */
static void host_faults_behind(const struct kvm_engine *e)
{
    if (may_only_emulate(e))
        return;
    for (unsigned with_file = 0; with_file < 2; with_file++) {
        struct test_vm *t = test_vm_new(e, 1, false);
        uint8_t *memory = map(3 * PAGE, PROT_READ | PROT_WRITE);
        int file = memfd_create("test", 0);
        if (with_file)
            g_assert_true(mmap(memory + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                               file, 0) != MAP_FAILED);
        else
            mprotect(memory + PAGE, PAGE, PROT_READ);
        CHECK(set_slot(t, 1, 0, SLOT_GPA, 3 * PAGE, memory), 0);
        TEST_START(t, long, touch_code);
        struct kvm_regs regs = test_regs(t);
        regs.rbx = SLOT_GPA;
        regs.rcx = SLOT_GPA + PAGE;
        regs.rsi = SLOT_GPA + 2 * PAGE;
        regs.rdi = SLOT_GPA;
        CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
        expect_fault(t, SLOT_GPA + PAGE);
        g_assert_cmphex(test_regs(t).rip, ==, TEST_CODE + 3);
        if (with_file)
            g_assert_cmpint(ftruncate(file, PAGE), ==, 0);
        else
            mprotect(memory, 3 * PAGE, PROT_READ | PROT_WRITE);
        test_run(t, KVM_EXIT_HLT);
        close(file);
        test_vm_free(t);
    }
}

/* Code, page tables and descriptor tables that are not there. */
static void host_faults_of_the_processor(const struct kvm_engine *e)
{
    if (may_only_emulate(e))
        return;
    struct test_vm *t = test_vm_new(e, 1, false);
    uint8_t *memory = map(PAGE, PROT_NONE);
    CHECK(set_slot(t, 1, 0, SLOT_GPA, PAGE, memory), 0);
    TEST_START(t, long, touch_code);
    struct kvm_regs regs = test_regs(t);
    regs.rip = SLOT_GPA;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
    CHECK(run(t), -EFAULT);
    g_assert_cmphex(test_regs(t).rip, ==, SLOT_GPA);
    mprotect(memory, PAGE, PROT_READ | PROT_WRITE);
    memory[0] = 0xf4;
    test_run(t, KVM_EXIT_HLT);
    test_vm_free(t);

    t = test_vm_new(e, 1, false);
    memory = map(PAGE, PROT_NONE);
    CHECK(set_slot(t, 1, 0, SLOT_GPA, PAGE, memory), 0);
    TEST_START(t, long, touch_code);
    struct kvm_sregs s;
    CHECK(test_vcpu(t, KVM_GET_SREGS, &s), 0);
    s.cr3 = SLOT_GPA;
    CHECK(test_vcpu(t, KVM_SET_SREGS, &s), 0);
    struct kvm_translation tr = {.linear_address = TEST_CODE};
    CHECK(test_vcpu(t, KVM_TRANSLATE, &tr), 0);
    g_assert_cmpuint(tr.valid, ==, 0);
    CHECK(run(t), -EFAULT);
    g_assert_cmphex(test_regs(t).rip, ==, TEST_CODE);
    test_vm_free(t);
}

/* An event whose delivery finds no memory is delivered once there is some. */
KVM_GUEST(64, event_code, "int3\n hlt\n handler: mov $7, %ebp\n hlt\n");

static void host_fault_in_delivery(const struct kvm_engine *e)
{
    if (may_only_emulate(e))
        return;
    struct test_vm *t = test_vm_new(e, 1, false);
    uint8_t *memory = map(PAGE, PROT_NONE);
    CHECK(set_slot(t, 1, 0, SLOT_GPA, PAGE, memory), 0);
    TEST_START(t, long, event_code);
    test_gate(t, 3, TEST_CODE + 2);
    struct kvm_regs regs = test_regs(t);
    regs.rsp = SLOT_GPA + 256;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
    CHECK(run(t), -EFAULT);
    mprotect(memory, PAGE, PROT_READ | PROT_WRITE);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpuint(test_regs(t).rbp, ==, 7);
    test_vm_free(t);
}

static void pre_fault(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    if (lacks(t, KVM_CAP_PRE_FAULT_MEMORY))
        return;
    struct kvm_pre_fault_memory range = {.gpa = TEST_RAM - 2 * PAGE, .size = 3 * PAGE};
    CHECK(test_vcpu(t, KVM_PRE_FAULT_MEMORY, &range), 0);
    g_assert_cmphex(range.gpa, ==, TEST_RAM);
    g_assert_cmphex(range.size, ==, PAGE);
    CHECK(test_vcpu(t, KVM_PRE_FAULT_MEMORY, &range), -ENOENT);
    range = (struct kvm_pre_fault_memory){.gpa = 1, .size = PAGE};
    CHECK(test_vcpu(t, KVM_PRE_FAULT_MEMORY, &range), -EINVAL);
    range = (struct kvm_pre_fault_memory){.gpa = 0, .size = 0};
    CHECK(test_vcpu(t, KVM_PRE_FAULT_MEMORY, &range), -EINVAL);
    range = (struct kvm_pre_fault_memory){.gpa = -PAGE, .size = 2 * PAGE};
    CHECK(test_vcpu(t, KVM_PRE_FAULT_MEMORY, &range), -EINVAL);
    range = (struct kvm_pre_fault_memory){.size = PAGE, .flags = 1};
    CHECK(test_vcpu(t, KVM_PRE_FAULT_MEMORY, &range), -EINVAL);
    CHECK(set_slot(t, 1, 0, SLOT_GPA, PAGE, map(PAGE, PROT_NONE)), 0);
    range = (struct kvm_pre_fault_memory){.gpa = SLOT_GPA, .size = PAGE};
    CHECK(test_vcpu(t, KVM_PRE_FAULT_MEMORY, &range), -EFAULT);
    test_vm_free(t);
}

/* ---------------------------------------------------------------- statistics */

/* The value of statistic NAME in FILE, or -1. */
static int64_t statistic(const struct kvm_engine *e, struct kvm_file *file, const char *name)
{
    struct kvm_stats_header h;
    int64_t found = -1;
    CHECK(e->read(file, &h, sizeof(h), 0), sizeof(h));
    g_assert_cmpuint(h.flags, ==, 0);
    g_assert_cmpuint((h.id_offset | h.desc_offset | h.data_offset) % 8, ==, 0);
    g_autofree char *id = g_malloc0(h.name_size);
    CHECK(e->read(file, id, h.name_size, h.id_offset), h.name_size);
    g_assert_true(g_str_has_prefix(id, "kvm-"));
    size_t size = sizeof(struct kvm_stats_desc) + h.name_size;
    g_autofree struct kvm_stats_desc *d = g_malloc0(size);
    for (unsigned i = 0; i < h.num_desc; i++) {
        CHECK(e->read(file, d, size, h.desc_offset + i * size), size);
        uint64_t value;
        CHECK(e->read(file, &value, sizeof(value), h.data_offset + d->offset), sizeof(value));
        const char *this = (const char *)(d + 1);
        g_assert_cmpuint(strnlen(this, h.name_size), <, h.name_size);
        if (!strcmp(this, name))
            found = (int64_t)value;
    }
    return found;
}

static void statistics(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    struct kvm_file *of_vm, *of_vcpu;
    if (lacks(t, KVM_CAP_BINARY_STATS_FD))
        return;
    CHECK(e->ioctl(t->vm, KVM_GET_STATS_FD, 0, &of_vm), 0);
    CHECK(e->ioctl(t->vcpu[0], KVM_GET_STATS_FD, 0, &of_vcpu), 0);
    CHECK(e->ioctl(of_vcpu, KVM_RUN, 0, NULL), -ENOTTY);
    g_assert_cmpint(statistic(e, of_vm, "remote_tlb_flush"), >=, 0);
    int64_t exits = statistic(e, of_vcpu, "exits"), halts = statistic(e, of_vcpu, "halt_exits");
    g_assert_cmpint(exits, >=, 0);
    start_dirtying(t, TEST_DATA, 1);
    test_run(t, KVM_EXIT_HLT);
    g_assert_cmpint(statistic(e, of_vcpu, "exits"), >, exits);
    if (is_ours(e)) {
        CHECK(statistic(e, of_vcpu, "halt_exits"), halts + 1);
        CHECK(statistic(e, of_vcpu, "blocking"), 0);
        g_assert_cmpint(statistic(e, of_vcpu, "instructions"), >=, 3);
    }
    CHECK(e->read(of_vm, &exits, sizeof(exits), 1 << 20), 0);
    /* They outlive the objects' own files. */
    test_vm_free(t);
    g_assert_cmpint(statistic(e, of_vcpu, "exits"), >, 0);
    e->close(of_vm);
    e->close(of_vcpu);
}

/* ---------------------------------------------------------------- strings of input */

KVM_GUEST(64, string_code,
          "mov $0x1000, %edx\n cld\n rep insb\n"
          "mov $5, %ecx\n rep insw\n std\n mov $3, %ecx\n rep insl\n hlt\n");

/* Answers exits with consecutive bytes until the HLT; how many exits. */
static unsigned feed(struct test_vm *t, uint8_t *next)
{
    struct kvm_run *r = t->run[0];
    for (unsigned exits = 0;; exits++) {
        CHECK(run(t), 0);
        if (r->exit_reason == KVM_EXIT_HLT)
            return exits;
        g_assert_cmpuint(r->exit_reason, ==, KVM_EXIT_IO);
        g_assert_cmpuint(r->io.direction, ==, KVM_EXIT_IO_IN);
        size_t size = (size_t)r->io.size * r->io.count;
        g_assert_cmpuint(size, >, 0);
        g_assert_cmpuint(size, <=, PAGE);
        for (size_t i = 0; i < size; i++)
            ((uint8_t *)r)[r->io.data_offset + i] = (*next)++;
    }
}

static void string_input(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    enum { BYTES = 9000, AT = TEST_DATA + 0x123 };
    TEST_START(t, long, string_code);
    struct kvm_regs regs = test_regs(t);
    regs.rdi = AT;
    regs.rcx = BYTES;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
    uint8_t next = 0;
    unsigned exits = feed(t, &next);
    g_assert_cmpuint(exits, <, 30);          /* not one for each byte */
    for (unsigned i = 0; i < BYTES + 2; i++) /* what comes downwards covers the rest */
        g_assert_cmpuint(t->ram[AT + i], ==, (uint8_t)i);
    /* Downwards, one at a time: 4 bytes each, the first behind the rest. */
    for (unsigned i = 0; i < 12; i++)
        g_assert_cmpuint(t->ram[AT + BYTES + 10 - 4 * (i / 4) + i % 4], ==,
                         (uint8_t)(BYTES + 10 + i));
    g_assert_cmphex(test_regs(t).rdi, ==, AT + BYTES + 10 - 12);
    g_assert_cmpuint(test_regs(t).rcx, ==, 0);
    test_vm_free(t);
}

/* User space may change the count while the bytes are on their way. */
static void string_input_cut(const struct kvm_engine *e)
{
    struct test_vm *t = test_vm_new(e, 1, false);
    TEST_START(t, long, string_code);
    struct kvm_regs regs = test_regs(t);
    regs.rdi = TEST_DATA;
    regs.rcx = 8;
    CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
    test_run(t, KVM_EXIT_IO);
    memcpy(TEST_PIO_DATA(t), "abcdefgh", 8);
    regs = test_regs(t);
    g_assert_cmpuint(regs.rcx, ==, 8);
    if (is_ours(e)) { /* "KVM isn't required to play nice" */
        regs.rcx = 3;
        CHECK(test_vcpu(t, KVM_SET_REGS, &regs), 0);
        test_run(t, KVM_EXIT_IO); /* the next instruction's */
        g_assert_cmpuint(t->run[0]->io.size, ==, 2);
        g_assert_cmpmem(t->ram + TEST_DATA, 4, "abc\0", 4);
    }
    test_vm_free(t);
}

int main(int argc, char **argv)
{
    static const struct kvm_test tests[] = {
        {"ring-requests", ring_requests},
        {"ring-fills", ring_fills},
        {"ring-scribbled", ring_scribbled},
        {"initially-set", initially_set},
        {"host-faults", host_faults},
        {"host-faults-behind", host_faults_behind},
        {"host-faults-of-the-processor", host_faults_of_the_processor},
        {"host-fault-in-delivery", host_fault_in_delivery},
        {"pre-fault", pre_fault},
        {"statistics", statistics},
        {"string-input", string_input},
        {"string-input-cut", string_input_cut},
    };
    return kvm_test_main(argc, argv, "kvm-memory", tests, G_N_ELEMENTS(tests));
}
