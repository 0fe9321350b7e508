/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Segments, descriptor tables, far transfers and fast system calls. */
#include "guest.h"

/* ---------------------------------------------------------------- segments */

GUEST_CODE(32, code_limit_read, "mov %fs:(%ebx), %eax\n hlt");
GUEST_CODE(32, code_limit_write, "mov %eax, %fs:(%ebx)\n hlt");
static void test_segment_checks(void)
{
    static const struct {
        uint16_t selector;
        uint32_t offset;
        bool write, faults;
    } rows[] = {
        {SMALL, 0xfc, false, false},
        {SMALL, 0xfd, false, true},
        {SMALL, 0xffffffff, false, true},
        {EXPAND_DOWN, DATA, true, false},
        {EXPAND_DOWN, DATA - 1, true, true},
        {EXPAND_DOWN, 0, true, true},
        {EXPAND_DOWN, 0xfffffffd, false, true},
        {READ_ONLY, DATA, false, false},
        {READ_ONLY, DATA, true, true},
        {EXECUTE_ONLY, DATA, false, true},
        {CODE32, DATA, false, false},
        {CODE32, DATA, true, true},
        {DATA0, 0xfffffffd, true, true},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = rows[n].write ? GUEST(32, code_limit_write) : GUEST(32, code_limit_read);
        guest_segment(g, SEG_FS, rows[n].selector);
        g->p->gpr[3] = rows[n].offset;
        processor_state_changed(g->p);
        if (rows[n].faults)
            guest_faults_with(g, VECTOR_GP, 0, 0);
        else
            guest_halts(g);
        guest_free(g);
    }
    struct guest *g = GUEST(32, code_limit_read);
    g->p->segment[SEG_FS] = (struct segment){.access_rights = AR_UNUSABLE};
    g->p->gpr[3] = DATA;
    processor_state_changed(g->p);
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);
}

GUEST_CODE(32, code_stack_limit,
           "mov %eax, %ss\n mov $0xff, %esp\n push %eax\n pop %ecx\n"
           "mov $0xfd, %ebp\n mov (%ebp), %eax");
static void test_stack_limit(void)
{
    struct guest *g = GUEST(32, code_stack_limit);
    guest_gate(g, VECTOR_SS, CODE32, 14, 0, 0);
    g->p->gpr[0] = SMALL;
    /* The handler's stack is the same small one, so its frame fits below ESP 0xff. */
    guest_exit(g, EXIT_REASON_HLT);
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * VECTOR_SS);
    g_assert_cmphex(g->p->gpr[1], ==, SMALL);
    g_assert_cmphex(g->p->gpr[4], ==, 0xff - 16);
    g_assert_cmphex(guest_read(g, DATA + 0xff - 12, 4), ==, CODE + 14);
    guest_free(g);
}

GUEST_CODE(32, code_load_far,
           "les (%ebx), %edi\n push %es\n pop %fs\n mov %fs, %eax\n"
           "lss (%ebx), %esp\n hlt");
static void test_load_far(void)
{
    struct guest *g = GUEST(32, code_load_far);
    g->p->gpr[3] = DATA;
    g->p->gpr[0] = 0xffffffff;
    guest_write(g, DATA, 0x12345678, 4);
    guest_write(g, DATA + 4, DATA16, 2);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[7], ==, 0x12345678);
    g_assert_cmphex(g->p->segment[SEG_ES].selector, ==, DATA16);
    g_assert_cmphex(g->p->gpr[0], ==, DATA16);
    g_assert_cmphex(g->p->gpr[4], ==, 0x12345678);
    g_assert_true(g->p->mode & MODE_STACK16);
    guest_free(g);

    g = GUEST(32, code_load_far);
    g->p->gpr[3] = DATA;
    guest_write(g, DATA + 4, NOT_PRESENT, 2);
    guest_faults_with(g, VECTOR_NP, 0, NOT_PRESENT);
    g_assert_cmphex(g->p->gpr[7], ==, 0); /* nothing was loaded */
    guest_free(g);
}

GUEST_CODE(16, code_real_limit, "mov $0xffff, %bx\n mov (%bx), %ax\n hlt");
GUEST_CODE(16, code_real_wrap, "mov $0xfffe, %bx\n mov (%bx), %ax\n mov 0x10(%bx), %cx\n hlt");
static void test_real_limit(void)
{
    struct guest *g = GUEST(real, code_real_limit);
    guest_faults(g, VECTOR_GP, 3);
    guest_free(g);
    g = GUEST(real, code_real_wrap);
    guest_write(g, 0xfffe, 0xabcd, 2);
    guest_write(g, 0xe, 0x4321, 2);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[0], ==, 0xabcd);
    g_assert_cmphex(g->p->gpr[1], ==, 0x4321);
    guest_free(g);
}

GUEST_CODE(32, code_verify,
           "lar %eax, %ecx\n setz %dl\n lsl %eax, %ebx\n setz %dh\n"
           "verr %ax\n setz %bl\n verw %ax\n setz %bh\n hlt");
static void test_verify(void)
{
    static const struct {
        uint16_t selector;
        bool user, lar, verr, verw;
        uint32_t rights;
    } rows[] = {
        {DATA0, false, true, true, true, 0xc09300},
        {DATA0, true, false, false, false, 0},
        {CONFORMING, true, true, true, false, 0xc09f00},
        {READ_ONLY, false, true, true, false, 0xc09100},
        {EXECUTE_ONLY, false, true, false, false, 0xc09900},
        {TSS_SELECTOR, false, true, false, false, 0x8900},
        {0, false, false, false, false, 0},
        {OUTSIDE, false, false, false, false, 0},
        {USER_DATA, true, true, true, true, 0xc0f300},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = GUEST(32, code_verify);
        g->p->gpr[0] = rows[n].selector;
        if (rows[n].user) {
            guest_user(g, false);
            guest_exit(g, EXIT_REASON_HLT); /* in #GP's handler, at the end */
        } else {
            guest_halts(g);
        }
        uint64_t *r = g->p->gpr;
        g_assert_cmpuint(r[2] & 0xff, ==, rows[n].lar);
        g_assert_cmpuint(r[2] >> 8 & 0xff, ==, rows[n].lar);
        g_assert_cmpuint(r[3] & 0xff, ==, rows[n].verr);
        g_assert_cmpuint(r[3] >> 8 & 0xff, ==, rows[n].verw);
        g_assert_cmphex(r[1] & 0xf0ff00, ==, rows[n].rights);
        guest_free(g);
    }
}

GUEST_CODE(32, code_arpl, "arpl %bx, %ax\n setz %dl\n arpl %bx, %ax\n setz %dh\n hlt");
static void test_arpl(void)
{
    struct guest *g = GUEST(32, code_arpl);
    g->p->gpr[0] = 0xffff0011;
    g->p->gpr[3] = 2;
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[0], ==, 0xffff0012);
    g_assert_cmphex(g->p->gpr[2], ==, 1);
    guest_free(g);
}

/* ---------------------------------------------------------------- descriptor tables */

GUEST_CODE(64, code_tables,
           "sgdt (%rbx)\n sidt 16(%rbx)\n lgdt (%rbx)\n lidt 16(%rbx)\n"
           "mov $0x80, %eax\n lldt %ax\n sldt %ecx\n mov $0x40, %eax\n ltr %ax\n str %edx\n hlt");
static void test_tables(void)
{
    struct guest *g = GUEST(64, code_tables);
    g->p->gpr[3] = DATA;
    g->p->gpr[1] = ~0ull;
    guest_halts(g);
    g_assert_cmphex(guest_read(g, DATA, 2), ==, 0xff);
    g_assert_cmphex(guest_read(g, DATA + 2, 8), ==, GDT);
    g_assert_cmphex(g->p->gdtr.base, ==, GDT);
    g_assert_cmphex(g->p->idtr.base, ==, IDT);
    g_assert_cmphex(g->p->gpr[1], ==, LDT_SELECTOR);
    g_assert_cmphex(g->p->gpr[2], ==, TSS_SELECTOR);
    g_assert_cmphex(g->p->segment[SEG_LDTR].base, ==, LDT);
    g_assert_cmphex(g->p->segment[SEG_TR].access_rights, ==, 0x8b);
    g_assert_cmphex(guest_read(g, GDT + TSS_SELECTOR + 5, 1), ==, 0x8b); /* busy */
    /* Again: a busy TSS. */
    g->p->rip = CODE + 30;
    guest_faults_with(g, VECTOR_GP, 30, TSS_SELECTOR);
    guest_free(g);
}

GUEST_CODE(64, code_lldt, "lldt %ax\n hlt");
GUEST_CODE(64, code_ltr, "ltr %ax\n hlt");
static void test_table_faults(void)
{
    static const struct {
        bool ltr;
        uint16_t selector;
        int vector; /* -1: none */
    } rows[] = {
        {false, 0, -1},
        {false, LDT_SELECTOR, -1},
        {false, LDT_SELECTOR | 4, VECTOR_GP},
        {false, DATA0, VECTOR_GP},
        {false, OUTSIDE, VECTOR_GP},
        {true, 0, VECTOR_GP},
        {true, DATA0, VECTOR_GP},
        {true, TSS16_SELECTOR, VECTOR_GP},
        {true, TSS_SELECTOR, -1},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = rows[n].ltr ? GUEST(64, code_ltr) : GUEST(64, code_lldt);
        g->p->gpr[0] = rows[n].selector;
        if (rows[n].vector < 0)
            guest_halts(g);
        else
            guest_faults_with(g, (unsigned)rows[n].vector, 0, rows[n].selector & 0xfffc);
        guest_free(g);
    }
    struct guest *g = GUEST(64, code_ltr); /* a base above 4 GiB that is not canonical */
    g->p->gpr[0] = TSS_SELECTOR;
    guest_write(g, GDT + TSS_SELECTOR + 8, 0x8000, 4);
    guest_faults_with(g, VECTOR_GP, 0, TSS_SELECTOR);
    guest_free(g);
}

/* ---------------------------------------------------------------- far transfers */

GUEST_CODE(32, code_far,
           "lcall $0x18, $" AT(code_far, "1f") "\n lcall *(%ebx)\n hlt\n"
                                               "1: inc %ecx\n lret $8");
static void test_far_call(void)
{
    struct guest *g = GUEST(32, code_far);
    g->p->gpr[3] = DATA;
    guest_write(g, DATA, CODE + 10, 4);
    guest_write(g, DATA + 4, CONFORMING, 2);
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 9);
    g_assert_cmphex(g->p->gpr[1], ==, 2);
    g_assert_cmphex(g->p->gpr[4], ==, STACK0 + 16);
    guest_free(g);
}

GUEST_CODE(32, code_far_fault, "lcall *(%ebx)");
static void test_far_faults(void)
{
    static const struct {
        uint16_t selector;
        uint32_t offset;
        unsigned vector;
        uint32_t error;
    } rows[] = {
        {0, CODE, VECTOR_GP, 0},
        {OUTSIDE, CODE, VECTOR_GP, OUTSIDE},
        {DATA0, CODE, VECTOR_GP, DATA0},
        {NOT_PRESENT_CODE, CODE, VECTOR_NP, NOT_PRESENT_CODE},
        {USER_CODE32, CODE, VECTOR_GP, USER_CODE32 & ~3},
        {CODE32 | 1, CODE, VECTOR_GP, CODE32},
        {LDT_SELECTOR, CODE, VECTOR_GP, LDT_SELECTOR},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        struct guest *g = GUEST(32, code_far_fault);
        g->p->gpr[3] = DATA;
        guest_write(g, DATA, rows[n].offset, 4);
        guest_write(g, DATA + 4, rows[n].selector, 2);
        guest_faults_with(g, rows[n].vector, 0, rows[n].error);
        guest_free(g);
    }
}

/* From CPL 3 through a call gate with two parameters, and back by RET. */
GUEST_CODE(32, code_gate,
           "push $0x11\n push $0x22\n lcall $0x93, $0\n mov %esp, %edi\n cli\n"
           "1: mov 8(%esp), %ecx\n mov 12(%esp), %edx\n mov %esp, %ebx\n hlt\n lret $8");
static void test_call_gate_32(void)
{
    struct guest *g = GUEST(32, code_gate);
    uint64_t target = CODE + 14;
    guest_gdt(g, CALL_GATE,
              (target & 0xffff) | (uint64_t)CODE32 << 16 | 2ull << 32 | 0xecull << 40 |
                  target >> 16 << 48);
    guest_user(g, false);
    guest_halts(g);
    g_assert_cmpuint(g->p->cpl, ==, 0);
    g_assert_cmphex(g->p->gpr[1], ==, 0x22);
    g_assert_cmphex(g->p->gpr[2], ==, 0x11);
    g_assert_cmphex(g->p->gpr[3], ==, STACK_TSS - 24);
    g_assert_cmphex(guest_read(g, STACK_TSS - 8, 4), ==, STACK3 - 8);
    g_assert_cmphex(guest_read(g, STACK_TSS - 4, 4), ==, USER_DATA);
    g_assert_cmphex(g->p->segment[SEG_SS].selector, ==, DATA0);
    processor_skip_instruction(g->p);
    guest_faults_with(g, VECTOR_GP, 13, 0); /* CLI at CPL 3 again */
    g_assert_cmphex(g->p->gpr[7], ==, STACK3);
    guest_free(g);
}

GUEST_CODE(64, code_gate64, "lcall *(%rbx)\n cli\n 1: mov %rsp, %rdi\n lretq");
static void test_call_gate_64(void)
{
    struct guest *g = GUEST(64, code_gate64);
    uint64_t target = CODE + 3;
    guest_gdt(g, CALL_GATE, (target & 0xffff) | (uint64_t)CODE64 << 16 | 0xecull << 40);
    guest_gdt(g, CALL_GATE + 8, 0);
    guest_write(g, DATA + 4, CALL_GATE, 2);
    g->p->gpr[3] = DATA;
    guest_user(g, true);
    guest_faults_with(g, VECTOR_GP, 2, 0); /* CLI, after the return */
    g_assert_cmphex(g->p->gpr[7], ==, STACK_TSS - 32);
    g_assert_cmphex(guest_frame(g, true).cs, ==, USER_CODE64);
    g_assert_cmphex(guest_frame(g, true).rsp, ==, STACK3);
    guest_free(g);
}

/* Through a gate to the same level, by CALL and by JMP. */
GUEST_CODE(32, code_gate_same, "lcall $0x90, $0\n 1: mov %esp, %edi\n hlt");
static void test_call_gate_same(void)
{
    struct guest *g = GUEST(32, code_gate_same);
    uint64_t gate = (uint64_t)CODE32 << 16 | 0x8cull << 40;
    guest_gdt(g, CALL_GATE, (CODE + 7) | gate);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[7], ==, STACK0 - 8);
    g_assert_cmphex(guest_read(g, STACK0 - 8, 4), ==, CODE + 7);
    guest_free(g);

    static const struct {
        uint16_t code;
        unsigned access;
        unsigned vector;
        uint32_t error;
    } rows[] = {
        {CODE32, 0x0c, VECTOR_NP, CALL_GATE & ~3},
        {0, 0x8c, VECTOR_GP, 0},
        {OUTSIDE, 0x8c, VECTOR_GP, OUTSIDE},
        {DATA0, 0x8c, VECTOR_GP, DATA0},
        {USER_CODE32, 0x8c, VECTOR_GP, USER_CODE32 & ~3},
        {NOT_PRESENT_CODE, 0x8c, VECTOR_NP, NOT_PRESENT_CODE},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        g = GUEST(32, code_gate_same);
        guest_gdt(g, CALL_GATE,
                  CODE | (uint64_t)rows[n].code << 16 | (uint64_t)rows[n].access << 40);
        guest_faults_with(g, rows[n].vector, 0, rows[n].error);
        guest_free(g);
    }
}

/* ---------------------------------------------------------------- fast system calls */

/* SYSRET to an image with TF traps before the code returned to has run. */
GUEST_CODE(64, code_sysret_tf, "sysretq\n nop\n hlt\n");
static void test_sysret_tf(void)
{
    struct guest *g = GUEST(64, code_sysret_tf);
    g->p->msr.star = 0x0020000800000000;
    g->p->gpr[REG_RCX] = CODE + 3;
    g->p->gpr[11] = FLAG_TF | FLAG_ONE;
    guest_faults(g, VECTOR_DB, 3);
    g_assert_cmphex(g->p->dr6 & 0xe00f, ==, 0x4000);
    g_assert_cmphex(guest_frame(g, false).cs, ==, 0x33);
    guest_free(g);
}

GUEST_CODE(64, code_syscall, "syscall\n ud2\n 1: hlt\n sysretq\n");
static void test_syscall(void)
{
    struct guest *g = GUEST(64, code_syscall);
    g->p->msr.star = 0x0020000800000000; /* SYSCALL: 8, SYSRET: 0x20, so CS 0x30 and SS 0x28 */
    g->p->msr.lstar = CODE + 4;
    g->p->msr.sfmask = FLAG_IF | FLAG_TF | FLAG_DF;
    guest_user(g, true);
    g->p->rflags |= FLAG_IF | FLAG_DF;
    g->p->status = FLAG_CF;
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[1], ==, CODE + 2);
    g_assert_cmphex(g->p->gpr[11], ==, FLAG_IF | FLAG_DF | FLAG_CF | FLAG_ONE);
    g_assert_cmphex(processor_rflags(g->p), ==, FLAG_CF | FLAG_ONE);
    g_assert_cmphex(g->p->segment[SEG_CS].selector, ==, 8);
    g_assert_cmphex(g->p->segment[SEG_SS].selector, ==, 0x10);
    g_assert_cmpuint(g->p->cpl, ==, 0);
    g_assert_cmphex(g->p->gpr[4], ==, STACK3);

    processor_skip_instruction(g->p);
    guest_faults(g, VECTOR_UD, 2);
    struct guest_frame f = guest_frame(g, false);
    g_assert_cmphex(f.cs, ==, 0x33);
    g_assert_cmphex(f.ss, ==, 0x2b);
    g_assert_cmphex(f.rflags & ~FLAG_RF, ==, FLAG_IF | FLAG_DF | FLAG_CF | FLAG_ONE);

    /* A return address that is not canonical faults at CPL 0. */
    g->p->rip = CODE + 5;
    g->p->gpr[1] = 1ull << 47;
    g->p->gpr[4] = STACK0;
    guest_faults_with(g, VECTOR_GP, 5, 0);
    g_assert_cmphex(guest_frame(g, true).cs, ==, CODE64);

    g->p->msr.efer &= ~EFER_SCE;
    g->p->rip = CODE;
    guest_faults(g, VECTOR_UD, 0);
    guest_free(g);
}

GUEST_CODE(32, code_syscall32, "syscall\n ud2");
static void test_syscall_compat(void)
{
    struct guest *g = GUEST(64, code_syscall32);
    guest_user(g, false);
    guest_faults(g, VECTOR_UD, 0); /* as Intel's do */
    guest_free(g);
    g = GUEST(64, code_syscall32);
    g->p->amd = true;
    g->p->msr.star = 0x0020000800000000;
    g->p->msr.cstar = HANDLERS + 16 * 0x77;
    guest_user(g, false);
    guest_exit(g, EXIT_REASON_HLT);
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * 0x77);
    g_assert_cmphex(g->p->gpr[1], ==, CODE + 2);
    guest_free(g);
}

GUEST_CODE(64, code_sysenter,
           "sysenter\n ud2\n 1: mov $" AT(code_sysenter,
                                          "3f") ", %edx\n"
                                                "mov $0x38000, %ecx\n sysexitq\n 3: ud2");
static void test_sysenter(void)
{
    struct guest *g = GUEST(64, code_sysenter);
    /* SYSENTER: CS 8, SS 0x10.  SYSEXIT: CS 0x28, SS 0x30 by arithmetic alone. */
    g->p->msr.sysenter_cs = 8;
    g->p->msr.sysenter_esp = STACK0;
    g->p->msr.sysenter_eip = CODE + 4;
    guest_user(g, true);
    guest_faults(g, VECTOR_UD, 17);
    struct guest_frame f = guest_frame(g, false);
    g_assert_cmphex(f.cs, ==, 0x28 | 3);
    g_assert_cmphex(f.ss, ==, 0x30 | 3);
    g_assert_cmphex(f.rsp, ==, STACK3);
    g->p->msr.sysenter_cs = 3;
    g->p->rip = CODE;
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);
}

GUEST_CODE(64, code_bases,
           "swapgs\n rdgsbase %rax\n mov %gs:8, %ecx\n wrfsbase %rbx\n"
           "mov %fs:0, %edx\n hlt\n wrgsbase %rsi");
static void test_bases(void)
{
    struct guest *g = GUEST(64, code_bases);
    g->p->cr4 |= CR4_FSGSBASE;
    g->p->msr.kernel_gs_base = DATA;
    g->p->gpr[3] = DATA + 8;
    g->p->gpr[6] = 1ull << 47;
    guest_write(g, DATA + 8, 0x5678, 4);
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[0], ==, DATA);
    g_assert_cmphex(g->p->gpr[1], ==, 0x5678);
    g_assert_cmphex(g->p->gpr[2], ==, 0x5678);
    g_assert_cmphex(g->p->msr.kernel_gs_base, ==, 0);
    uint64_t next = g->p->rip + 1 - CODE;
    processor_skip_instruction(g->p);
    guest_faults_with(g, VECTOR_GP, next, 0);
    g->p->cr4 &= ~CR4_FSGSBASE;
    g->p->rip = CODE + next;
    guest_faults(g, VECTOR_UD, next);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/segment/checks", test_segment_checks);
    g_test_add_func("/segment/stack", test_stack_limit);
    g_test_add_func("/segment/load-far", test_load_far);
    g_test_add_func("/segment/real-limit", test_real_limit);
    g_test_add_func("/segment/verify", test_verify);
    g_test_add_func("/segment/arpl", test_arpl);
    g_test_add_func("/tables/load-store", test_tables);
    g_test_add_func("/tables/faults", test_table_faults);
    g_test_add_func("/far/call", test_far_call);
    g_test_add_func("/far/faults", test_far_faults);
    g_test_add_func("/far/gate-32", test_call_gate_32);
    g_test_add_func("/far/gate-same", test_call_gate_same);
    g_test_add_func("/far/gate-64", test_call_gate_64);
    g_test_add_func("/syscall/64", test_syscall);
    g_test_add_func("/syscall/sysret-tf", test_sysret_tf);
    g_test_add_func("/syscall/compatibility", test_syscall_compat);
    g_test_add_func("/syscall/sysenter", test_sysenter);
    g_test_add_func("/syscall/bases", test_bases);
    return g_test_run();
}
