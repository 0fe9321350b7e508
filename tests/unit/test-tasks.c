/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hardware task switches: CALL, JMP, task gates and IRET between a first task on the fixture's TSS
 * and a second one. */
#include "guest.h"

enum {
    TASK2 = 0xb0000, /* its TSS */
    STACK2 = 0x40000,
    TASK2_SELECTOR = TSS16_SELECTOR,
    TASK_GATE = CALL_GATE, /* DPL 3 */
    LINK = 0,
    EIP = 0x20,
    EFLAGS = 0x24,
    REGISTERS = 0x28,
    SEGMENTS = 0x48,
    LDT_AT = 0x60,
    TRAP = 0x64,
};

static void set_task2(struct guest *g, unsigned access, uint32_t limit)
{
    guest_gdt(g, TASK2_SELECTOR,
              (limit & 0xffff) | (uint64_t)(TASK2 & 0xffff) << 16 | (uint64_t)(TASK2 >> 16) << 32 |
                  (uint64_t)access << 40);
}

static unsigned busy(struct guest *g, uint16_t selector)
{
    return guest_read(g, GDT + (selector & 0xfff8) + 5, 1) >> 1 & 1;
}

/* A guest whose second task, a 32-bit one, will run at CODE + OFFSET in ring 0. */
static struct guest *with_task2(struct guest *g, unsigned offset)
{
    static const uint16_t segment[] = {DATA0, CODE32, DATA0, DATA0, USER_DATA, 0};
    set_task2(g, 0x89, 0x67);
    guest_gdt(g, TSS_SELECTOR, guest_read(g, GDT + TSS_SELECTOR, 8) | 2ull << 40); /* busy */
    guest_gdt(g, TASK_GATE, (uint64_t)TASK2_SELECTOR << 16 | 0xe5ull << 40);
    guest_write(g, TASK2 + EIP, CODE + offset, 4);
    guest_write(g, TASK2 + EFLAGS, 2, 4);
    for (unsigned n = 0; n < 8; n++)
        guest_write(g, TASK2 + REGISTERS + 4 * n, 0x1000 + n, 4);
    guest_write(g, TASK2 + REGISTERS + 16, STACK2, 4);
    for (unsigned n = 0; n < 6; n++)
        guest_write(g, TASK2 + SEGMENTS + 4 * n, segment[n], 4);
    for (unsigned n = 0; n < 8; n++)
        if (n != REG_RSP)
            g->p->gpr[n] = 0x2000 + n;
    return g;
}

static void expect_task2(struct guest *g)
{
    for (unsigned n = 0; n < 8; n++)
        g_assert_cmphex(g->p->gpr[n], ==, n == REG_RSP ? STACK2 : 0x1000 + n);
    g_assert_cmphex(g->p->segment[SEG_TR].selector & 0xfff8, ==, TASK2_SELECTOR);
    g_assert_cmphex(g->p->segment[SEG_TR].base, ==, TASK2);
    g_assert_cmphex(g->p->segment[SEG_TR].access_rights & 0xf, ==, 0xb);
    g_assert_cmphex(g->p->segment[SEG_FS].selector, ==, USER_DATA);
    g_assert_true(g->p->segment[SEG_GS].access_rights & AR_UNUSABLE);
    g_assert_true(g->p->cr0 & CR0_TS);
    g_assert_true(busy(g, TASK2_SELECTOR));
}

/* What the first task was left with. */
static void expect_saved(struct guest *g, uint64_t eip, uint32_t flags)
{
    g_assert_cmphex(guest_read(g, TSS + EIP, 4), ==, eip);
    g_assert_cmphex(guest_read(g, TSS + EFLAGS, 4), ==, flags);
    for (unsigned n = 0; n < 8; n++)
        g_assert_cmphex(guest_read(g, TSS + REGISTERS + 4 * n, 4), ==,
                        n == REG_RSP ? STACK0 : 0x2000 + n);
    g_assert_cmphex(guest_read(g, TSS + SEGMENTS, 2), ==, DATA0);
    g_assert_cmphex(guest_read(g, TSS + SEGMENTS + 4, 2), ==, CODE32);
}

/* The second task starts at 8 and, when it returned and is called again, goes on at 10. */
GUEST_CODE(32, code_call, "lcall $0xb0, $0x1234\n hlt\n hlt\n iret\n hlt\n");
static void test_call_and_return(void)
{
    struct guest *g = with_task2(GUEST(32, code_call), 8);
    g->p->status = FLAG_CF;
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 8);
    expect_task2(g);
    expect_saved(g, CODE + 7, FLAG_ONE | FLAG_CF);
    g_assert_cmphex(processor_rflags(g->p), ==, FLAG_ONE | FLAG_NT);
    g_assert_cmphex(guest_read(g, TASK2 + LINK, 2), ==, TSS_SELECTOR);
    g_assert_true(busy(g, TSS_SELECTOR));

    g->p->rip = CODE + 9;
    g->p->gpr[3] = 0x77;
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 7);
    g_assert_cmphex(g->p->gpr[3], ==, 0x2003);
    g_assert_cmphex(processor_rflags(g->p), ==, FLAG_ONE | FLAG_CF);
    g_assert_cmphex(g->p->segment[SEG_TR].selector, ==, TSS_SELECTOR);
    g_assert_false(busy(g, TASK2_SELECTOR));
    g_assert_true(busy(g, TSS_SELECTOR));
    g_assert_cmphex(guest_read(g, TASK2 + EIP, 4), ==, CODE + 10);
    g_assert_cmphex(guest_read(g, TASK2 + EFLAGS, 4), ==, FLAG_ONE); /* without NT */
    g_assert_cmphex(guest_read(g, TASK2 + REGISTERS + 12, 4), ==, 0x77);
    guest_free(g);
}

GUEST_CODE(32, code_jump, "ljmp $0xb0, $0\n hlt\n");
static void test_jump(void)
{
    struct guest *g = with_task2(GUEST(32, code_jump), 7);
    g->p->dr7 = 0x400 | 0x355; /* local and global breakpoints that match nothing */
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 7);
    expect_task2(g);
    expect_saved(g, CODE + 7, FLAG_ONE);
    g_assert_cmphex(processor_rflags(g->p), ==, FLAG_ONE);
    g_assert_false(busy(g, TSS_SELECTOR));
    g_assert_cmphex(guest_read(g, TASK2 + LINK, 2), ==, 0);
    g_assert_cmphex(g->p->dr7, ==, 0x400 | 0x200);
    guest_free(g);

    /* The T flag traps before the task's first instruction. */
    g = with_task2(GUEST(32, code_jump), 7);
    guest_write(g, TASK2 + TRAP, 1, 2);
    guest_faults(g, VECTOR_DB, 7);
    g_assert_cmphex(g->p->dr6 & 0xe00f, ==, 0x8000);
    guest_free(g);
}

/* At CPL 3 through a task gate of DPL 3: the TSS's own DPL does not matter there. */
GUEST_CODE(32, code_task_gate, "lcall $0x93, $0\n hlt\n");
static void test_task_gate(void)
{
    struct guest *g = with_task2(GUEST(32, code_task_gate), 7);
    guest_user(g, false);
    guest_halts(g);
    expect_task2(g);
    g_assert_cmpuint(g->p->cpl, ==, 0);
    g_assert_cmphex(guest_read(g, TSS + SEGMENTS + 8, 2), ==, USER_DATA);
    guest_free(g);
}

/* Exceptions by a task gate: the old task's image is the fault's, the error code is pushed on the
 * new task's stack. */
GUEST_CODE(32, code_fault, "nop\n mov 0x1000(%ebx), %eax\n hlt\n hlt");
GUEST_CODE(32, code_int, "int $0x21\n hlt\n hlt");
static void test_exception(void)
{
    struct guest *g = with_task2(GUEST(32, code_fault), 8);
    guest_gate(g, VECTOR_GP, TASK2_SELECTOR, 5, 0, 0);
    guest_segment(g, SEG_DS, SMALL);
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 8);
    g_assert_cmphex(g->p->gpr[REG_RSP], ==, STACK2 - 4);
    g_assert_cmphex(guest_read(g, STACK2 - 4, 4), ==, 0);
    g_assert_cmphex(guest_read(g, TSS + EIP, 4), ==, CODE + 1);
    g_assert_cmphex(guest_read(g, TSS + EFLAGS, 4), ==, FLAG_ONE | FLAG_RF);
    g_assert_cmphex(guest_read(g, TASK2 + LINK, 2), ==, TSS_SELECTOR);
    guest_free(g);

    g = with_task2(GUEST(32, code_int), 3);
    guest_gate(g, 0x21, TASK2_SELECTOR, 5, 0, 0);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[REG_RSP], ==, STACK2);
    g_assert_cmphex(guest_read(g, TSS + EIP, 4), ==, CODE + 2);
    g_assert_true(g->p->rflags & FLAG_NT);
    guest_free(g);

    /* An interrupt from outside. */
    g = with_task2(GUEST(32, code_int), 3);
    guest_gate(g, 0x21, TASK2_SELECTOR, 5, 0, 0);
    g->p->vmcs.entry_interruption_info = INTR_INFO_VALID | INTR_TYPE_EXTERNAL | 0x21;
    guest_halts(g);
    expect_task2(g);
    expect_saved(g, CODE, FLAG_ONE);
    guest_free(g);
}

/* Faults of the old task: nothing has changed. */
static void test_old_task_faults(void)
{
    static const struct {
        unsigned access;
        uint32_t limit, vector;
    } rows[] = {
        {0x8b, 0x67, VECTOR_GP}, /* busy */
        {0x89, 0x66, VECTOR_TS},
        {0x81, 0x2a, VECTOR_TS},
        {0x09, 0x67, VECTOR_NP}, /* not present */
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        struct guest *g = with_task2(GUEST(32, code_call), 8);
        guest_gate(g, rows[n].vector, CODE32, 14, 0, 0);
        set_task2(g, rows[n].access, rows[n].limit);
        guest_faults_with(g, rows[n].vector, 0, TASK2_SELECTOR);
        g_assert_cmphex(g->p->gpr[3], ==, 0x2003);
        g_assert_cmphex(g->p->segment[SEG_TR].selector, ==, TSS_SELECTOR);
        g_assert_cmphex(guest_read(g, TSS + EIP, 4), ==, 0);
        guest_free(g);
    }
}

/* IRET with NT to a task that is not busy. */
GUEST_CODE(32, code_iret, "iret\n hlt");
static void test_return_faults(void)
{
    struct guest *g = with_task2(GUEST(32, code_iret), 1);
    g->p->rflags |= FLAG_NT;
    guest_write(g, TSS + LINK, TASK2_SELECTOR, 2);
    guest_faults_with(g, VECTOR_TS, 0, TASK2_SELECTOR);
    guest_free(g);

    g = with_task2(GUEST(32, code_iret), 1);
    g->p->rflags |= FLAG_NT;
    guest_write(g, TSS + LINK, CODE32, 2);
    guest_faults_with(g, VECTOR_TS, 0, CODE32);
    guest_free(g);
}

/* Faults of the new task: its registers are loaded, its EIP is the frame's. */
static void test_new_task_faults(void)
{
    static const struct {
        uint8_t at;
        uint16_t value;
        uint8_t vector;
    } rows[] = {
        {SEGMENTS + 4 * SEG_DS, EXECUTE_ONLY, VECTOR_TS},
        {SEGMENTS + 4 * SEG_ES, NOT_PRESENT, VECTOR_NP},
        {SEGMENTS + 4 * SEG_FS, OUTSIDE & 0xfff8, VECTOR_TS},
        {LDT_AT, CODE32, VECTOR_TS},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = with_task2(GUEST(32, code_call), 8);
        guest_write(g, TASK2 + rows[n].at, rows[n].value, 2);
        /* The handlers are tasks' code at ring 0 on the new stack, where SS was good. */
        if (rows[n].at == LDT_AT)
            guest_gate(g, rows[n].vector, TSS_SELECTOR, 5, 0, 0);
        guest_write(g, GDT + TSS_SELECTOR + 5, 0x89, 1);
        if (rows[n].at != LDT_AT) {
            guest_faults_with(g, rows[n].vector, 8, rows[n].value);
            g_assert_cmphex(g->p->gpr[3], ==, 0x1003);
        } else {
            /* With SS not yet loaded only a task can handle it. */
            guest_halts(g);
            g_assert_cmphex(guest_read(g, TASK2 + EIP, 4), ==, CODE + 8);
            g_assert_cmphex(guest_read(g, g->p->gpr[REG_RSP], 4), ==, CODE32);
            g_assert_cmphex(g->p->rip, ==, CODE + 7);
        }
        g_assert_true(busy(g, TASK2_SELECTOR));
        guest_free(g);
    }

    struct guest *g = with_task2(GUEST(32, code_call), 8);
    guest_gdt(g, CODE32, (guest_read(g, GDT + CODE32, 8) & ~(15ull << 48)) & ~(1ull << 55));
    guest_gate(g, VECTOR_GP, CONFORMING, 14, 0, 0);
    guest_write(g, TASK2 + EIP, 0x10000, 4); /* beyond CS's limit now */
    guest_faults_with(g, VECTOR_GP, 0x10000 - CODE, 0);
    guest_free(g);
}

/* A 16-bit TSS saves and loads half of everything, and neither CR3 nor FS and GS. */
GUEST_CODE(32, code_call16, "lcall $0xb0, $0\n hlt\n .code16\n hlt\n iret\n .code32\n");
static void test_tss16(void)
{
    static const uint16_t image[] = {CODE + 8, 2,      0x1000, 0x1001, 0x1002,
                                     0x1003,   0x9000, 0x1005, 0x1006, 0x1007,
                                     DATA0,    CODE16, DATA16, DATA0,  0};
    struct guest *g = with_task2(GUEST(32, code_call16), 8);
    set_task2(g, 0x81, 0x2b);
    for (unsigned n = 0; n < G_N_ELEMENTS(image); n++)
        guest_write(g, TASK2 + 0x0e + 2 * n, image[n], 2);
    g->p->gpr[3] = 0x12345678;
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 8);
    g_assert_cmphex(g->p->gpr[3] & 0xffff, ==, 0x1003);
    g_assert_cmphex(g->p->gpr[4] & 0xffff, ==, 0x9000);
    g_assert_cmphex(g->p->segment[SEG_CS].selector, ==, CODE16);
    g_assert_true(g->p->segment[SEG_FS].access_rights & AR_UNUSABLE);
    g_assert_cmphex(guest_read(g, TSS + REGISTERS + 12, 4), ==, 0x12345678);
    g_assert_cmphex(guest_read(g, TASK2 + LINK, 2), ==, TSS_SELECTOR);
    g->p->rip = CODE + 9;
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 7);
    g_assert_cmphex(guest_read(g, TASK2 + 0x0e, 2), ==, CODE + 10);
    g_assert_cmphex(guest_read(g, TASK2 + 0x18, 2), ==, 0x1003);
    guest_free(g);
}

/* Into a virtual-8086 task. */
GUEST_CODE(32, code_to_v86, "ljmp $0xb0, $0\n hlt\n .code16\n mov %ds, %ax\n hlt\n .code32");
static void test_v86_task(void)
{
    struct guest *g = with_task2(GUEST(32, code_to_v86), 0);
    for (unsigned n = 0; n < 6; n++)
        guest_write(g, TASK2 + SEGMENTS + 4 * n, n == SEG_CS ? CODE >> 4 : 0x123 + n, 2);
    guest_write(g, TASK2 + EIP, 8, 4);
    guest_write(g, TASK2 + EFLAGS, FLAG_ONE | FLAG_VM, 4);
    guest_write(g, TASK2 + 4, STACK_TSS, 4);
    guest_write(g, TASK2 + 8, DATA0, 2);
    guest_exit(g, EXIT_REASON_HLT); /* HLT is #GP there */
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * VECTOR_GP);
    g_assert_cmphex(guest_read(g, g->p->gpr[REG_RSP] + 4, 4), ==, 10);
    g_assert_cmphex(guest_read(g, g->p->gpr[REG_RSP] + 12, 4) & FLAG_VM, ==, FLAG_VM);
    g_assert_cmphex(g->p->gpr[0] & 0xffff, ==, 0x123 + SEG_DS);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tasks/call-and-return", test_call_and_return);
    g_test_add_func("/tasks/jump", test_jump);
    g_test_add_func("/tasks/task-gate", test_task_gate);
    g_test_add_func("/tasks/exception", test_exception);
    g_test_add_func("/tasks/old-task-faults", test_old_task_faults);
    g_test_add_func("/tasks/return-faults", test_return_faults);
    g_test_add_func("/tasks/new-task-faults", test_new_task_faults);
    g_test_add_func("/tasks/tss16", test_tss16);
    g_test_add_func("/tasks/v86-task", test_v86_task);
    return g_test_run();
}
