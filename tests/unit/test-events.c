/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exceptions and interrupts in 64-bit mode, shadows, stepping and breakpoints. */
#include "guest.h"

/* ---------------------------------------------------------------- exceptions in 64-bit mode */

GUEST_CODE(64, code_divide, "xor %ecx, %ecx\n div %ecx\n hlt");
static void test_divide(void)
{
    struct guest *g = GUEST(64, code_divide);
    g->p->gpr[4] = STACK0 - 4; /* the frame is aligned */
    guest_faults(g, VECTOR_DE, 2);
    g_assert_cmphex(g->p->gpr[4], ==, STACK0 - 0x10 - 40);
    struct guest_frame f = guest_frame(g, false);
    g_assert_cmphex(f.cs, ==, CODE64);
    g_assert_cmphex(f.ss, ==, DATA0);
    g_assert_cmphex(f.rsp, ==, STACK0 - 4);
    g_assert_true(f.rflags & FLAG_RF); /* a fault */
    g_assert_false(g->p->rflags & FLAG_RF);
    guest_free(g);
}

GUEST_CODE(64, code_ud, "nop\n ud2");
static void test_ud(void)
{
    struct guest *g = GUEST(64, code_ud);
    guest_faults(g, VECTOR_UD, 1);
    guest_free(g);
}

GUEST_CODE(64, code_non_canonical, "movabs $0x800000000000, %rax\n mov (%rax), %rbx");
GUEST_CODE(64, code_non_canonical_stack, "movabs $0x800000000010, %rsp\n push %rax");
static void test_non_canonical(void)
{
    struct guest *g = GUEST(64, code_non_canonical);
    guest_faults_with(g, VECTOR_GP, 10, 0);
    guest_free(g);
    g = GUEST(64, code_non_canonical_stack);
    guest_gate(g, VECTOR_SS, CODE64, 14, 0, 1);
    guest_faults_with(g, VECTOR_SS, 10, 0);
    guest_free(g);
}

GUEST_CODE(64, code_page_fault, "mov $0x40000000, %eax\n movl $1, (%rax)");
static void test_page_fault(void)
{
    struct guest *g = GUEST(64, code_page_fault);
    guest_faults_with(g, VECTOR_PF, 5, 2);
    g_assert_cmphex(g->p->cr2, ==, 0x40000000);
    guest_free(g);

    g = GUEST(64, code_page_fault);
    guest_user(g, true);
    guest_faults_with(g, VECTOR_PF, 5, 6);
    g_assert_cmphex(g->p->gpr[4], ==, STACK_TSS - 48);
    guest_free(g);
}

/* Each byte string raises #GP(0) at CPL 3. */
static void test_privileged(void)
{
    static const struct {
        const char *name;
        uint8_t bytes[8];
        uint8_t length;
    } rows[] = {
        {"hlt", {0xf4}, 1},
        {"cli", {0xfa}, 1},
        {"sti", {0xfb}, 1},
        {"clts", {0x0f, 0x06}, 2},
        {"invd", {0x0f, 0x08}, 2},
        {"wbinvd", {0x0f, 0x09}, 2},
        {"mov %cr0,%rax", {0x0f, 0x20, 0xc0}, 3},
        {"mov %rax,%cr3", {0x0f, 0x22, 0xd8}, 3},
        {"mov %dr0,%rax", {0x0f, 0x21, 0xc0}, 3},
        {"mov %rax,%dr7", {0x0f, 0x23, 0xf8}, 3},
        {"rdmsr", {0x0f, 0x32}, 2},
        {"wrmsr", {0x0f, 0x30}, 2},
        {"rdpmc", {0x0f, 0x33}, 2},
        {"sysret", {0x48, 0x0f, 0x07}, 3},
        {"sysexit", {0x0f, 0x35}, 2},
        {"swapgs", {0x0f, 0x01, 0xf8}, 3},
        {"invlpg (%rax)", {0x0f, 0x01, 0x38}, 3},
        {"invpcid (%rax),%rax", {0x66, 0x0f, 0x38, 0x82, 0x00}, 5},
        {"lgdt (%rax)", {0x0f, 0x01, 0x10}, 3},
        {"lidt (%rax)", {0x0f, 0x01, 0x18}, 3},
        {"lldt %ax", {0x0f, 0x00, 0xd0}, 3},
        {"ltr %ax", {0x0f, 0x00, 0xd8}, 3},
        {"lmsw %ax", {0x0f, 0x01, 0xf0}, 3},
        {"in %dx,%al", {0xec}, 1},
        {"out %al,$0x80", {0xe6, 0x80}, 2},
        {"sgdt (%rax), UMIP", {0x0f, 0x01, 0x00}, 3},
        {"sidt (%rax), UMIP", {0x0f, 0x01, 0x08}, 3},
        {"sldt %eax, UMIP", {0x0f, 0x00, 0xc0}, 3},
        {"str %eax, UMIP", {0x0f, 0x00, 0xc8}, 3},
        {"smsw %eax, UMIP", {0x0f, 0x01, 0xe0}, 3},
        {"rdtsc, TSD", {0x0f, 0x31}, 2},
        {"int $0x21, gate DPL 0", {0xcd, 0x21}, 2},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("%s", rows[n].name);
        struct guest *g = guest_64(rows[n].bytes, rows[n].bytes + rows[n].length);
        g->p->cr4 |= CR4_UMIP | CR4_TSD;
        g->p->gpr[0] = DATA;
        guest_user(g, true);
        uint32_t code = rows[n].bytes[0] == 0xcd ? 0x21 * 8 + 2 : 0;
        guest_faults_with(g, VECTOR_GP, 0, code);
        g_assert_cmphex(guest_frame(g, true).cs, ==, USER_CODE64);
        guest_free(g);
    }
}

GUEST_CODE(64, code_selectors, "mov %eax, %ds\n hlt");
GUEST_CODE(64, code_selector_ss, "mov %eax, %ss\n hlt");
static void test_selector_faults(void)
{
    static const struct {
        uint16_t selector;
        bool ss;
        unsigned vector;
    } rows[] = {
        {OUTSIDE, false, VECTOR_GP},
        {NOT_PRESENT, false, VECTOR_NP},
        {EXECUTE_ONLY, false, VECTOR_GP},
        {TSS_SELECTOR, false, VECTOR_GP},
        {DATA0 | 3, false, VECTOR_GP},
        {LDT_SELECTOR | 4, false, VECTOR_GP},
        {NOT_PRESENT, true, VECTOR_SS},
        {READ_ONLY, true, VECTOR_GP},
        {USER_DATA, true, VECTOR_GP},
        {CODE64, true, VECTOR_GP},
        {3, true, VECTOR_GP},
        {OUTSIDE, true, VECTOR_GP},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        struct guest *g = rows[n].ss ? GUEST(64, code_selector_ss) : GUEST(64, code_selectors);
        g->p->gpr[0] = rows[n].selector;
        guest_faults_with(g, rows[n].vector, 0, rows[n].selector & 0xfffc);
        guest_free(g);
    }
    struct guest *g = GUEST(64, code_selectors);
    g->p->gpr[0] = SMALL;
    guest_halts(g);
    g_assert_cmphex(guest_read(g, GDT + SMALL + 5, 1), ==, 0x93); /* accessed now */
    guest_free(g);
    g = GUEST(64, code_selector_ss);
    g->p->gpr[0] = 0; /* CPL 0 in 64-bit mode may have no stack segment */
    guest_halts(g);
    guest_free(g);
}

GUEST_CODE(64, code_soft, "int3\n .byte 0xf1\n int $0x80\n hlt");
static void test_software_interrupts(void)
{
    struct guest *g = GUEST(64, code_soft);
    guest_faults(g, VECTOR_BP, 1);
    guest_free(g);

    g = GUEST(64, code_soft);
    g->p->rip = CODE + 1;
    guest_faults(g, VECTOR_DB, 2);
    g_assert_cmphex(g->p->dr6, ==, 0xffff0ff0);
    guest_free(g);

    /* From CPL 3: the stack of the TSS, interrupts off through an interrupt gate. */
    g = GUEST(64, code_soft);
    guest_gate(g, 0x80, CODE64, 14, 3, 0);
    guest_user(g, true);
    g->p->rip = CODE + 2;
    g->p->rflags |= FLAG_IF;
    guest_faults(g, 0x80, 4);
    g_assert_cmphex(g->p->gpr[4], ==, STACK_TSS - 40);
    g_assert_cmphex(g->p->segment[SEG_SS].selector, ==, 0);
    g_assert_cmpuint(g->p->cpl, ==, 0);
    struct guest_frame f = guest_frame(g, false);
    g_assert_cmphex(f.cs, ==, USER_CODE64);
    g_assert_cmphex(f.ss, ==, USER_DATA);
    g_assert_cmphex(f.rsp, ==, STACK3);
    g_assert_cmphex(f.rflags, ==, FLAG_IF | FLAG_ONE);
    g_assert_false(g->p->rflags & FLAG_IF);
    guest_free(g);

    /* A trap gate leaves IF; an IST stack is aligned. */
    g = GUEST(64, code_soft);
    guest_gate(g, 0x80, CODE64, 15, 0, 1);
    g->p->rip = CODE + 2;
    g->p->rflags |= FLAG_IF;
    guest_faults(g, 0x80, 4);
    g_assert_true(g->p->rflags & FLAG_IF);
    g_assert_cmphex(g->p->gpr[4], ==, (STACK_IST1 & ~15) - 40);
    g_assert_cmphex(g->p->segment[SEG_SS].selector, ==, DATA0);
    guest_free(g);
}

static void test_gate_faults(void)
{
    struct guest *g = GUEST(64, code_soft);
    g->p->rip = CODE + 2;
    guest_write(g, IDT + 16 * 0x80 + 5, 0x0e, 1); /* not present */
    guest_faults_with(g, VECTOR_NP, 2, 0x80 * 8 + 2);
    guest_free(g);

    g = GUEST(64, code_soft);
    g->p->rip = CODE + 2;
    guest_gate(g, 0x80, NOT_PRESENT_CODE, 14, 0, 0);
    guest_faults_with(g, VECTOR_NP, 2, NOT_PRESENT_CODE);
    guest_free(g);

    g = GUEST(64, code_soft);
    g->p->rip = CODE + 2;
    guest_gate(g, 0x80, CODE32, 14, 0, 0); /* not 64-bit code */
    guest_faults_with(g, VECTOR_GP, 2, CODE32);
    guest_free(g);

    g = GUEST(64, code_soft);
    g->p->rip = CODE + 2;
    guest_gate(g, 0x80, 0, 14, 0, 0);
    guest_faults_with(g, VECTOR_GP, 2, 0);
    guest_free(g);

    g = GUEST(64, code_soft);
    g->p->rip = CODE + 2;
    g->p->idtr.limit = 16 * 0x80 + 14;
    guest_faults_with(g, VECTOR_GP, 2, 0x80 * 8 + 2);
    guest_free(g);

    /* A TSS too short for RSP0. */
    g = GUEST(64, code_soft);
    guest_gate(g, 0x80, CODE64, 14, 3, 0);
    guest_gate(g, VECTOR_TS, CODE64, 14, 0, 1);
    guest_user(g, true);
    g->p->rip = CODE + 2;
    g->p->segment[SEG_TR].limit = 10;
    guest_exit(g, EXIT_REASON_TRIPLE_FAULT); /* no stack for #TS or #DF either */
    guest_free(g);
}

static void test_double_fault(void)
{
    struct guest *g = GUEST(64, code_ud);
    guest_write(g, IDT + 16 * VECTOR_UD + 5, 0x0e, 1);
    guest_faults_with(g, VECTOR_NP, 1, VECTOR_UD * 8 + 3); /* #UD is benign; EXT is set */
    guest_free(g);

    g = GUEST(64, code_divide);
    guest_write(g, IDT + 16 * VECTOR_DE + 5, 0x0e, 1);
    guest_faults_with(g, VECTOR_DF, 2, 0);
    guest_free(g);

    /* A page fault whose stack is not there either. */
    g = GUEST(64, code_page_fault);
    g->p->gpr[4] = 0x50000000;
    guest_gate(g, VECTOR_DF, CODE64, 14, 0, 1);
    guest_faults_with(g, VECTOR_DF, 5, 0);
    g_assert_cmphex(g->p->cr2, ==, 0x50000000 - 8);
    guest_free(g);

    g = GUEST(64, code_divide);
    g->p->idtr.limit = 0;
    guest_exit(g, EXIT_REASON_TRIPLE_FAULT);
    guest_free(g);
}

/* ---------------------------------------------------------------- injection and windows */

GUEST_CODE(64, code_spin, "1: jmp 1b");
static void test_injection(void)
{
    struct guest *g = GUEST(64, code_spin);
    g->p->vmcs.entry_interruption_info = INTR_INFO_VALID | INTR_TYPE_EXTERNAL | 0x31;
    guest_faults(g, 0x31, 0);
    g_assert_false(g->p->vmcs.entry_interruption_info & INTR_INFO_VALID);
    g_assert_false(guest_frame(g, false).rflags & FLAG_RF);
    guest_free(g);

    g = GUEST(64, code_spin);
    g->p->vmcs.entry_interruption_info =
        INTR_INFO_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_INFO_DELIVER_CODE | VECTOR_GP;
    g->p->vmcs.entry_exception_error_code = 0x1234;
    guest_faults_with(g, VECTOR_GP, 0, 0x1234);
    guest_free(g);

    g = GUEST(64, code_spin);
    g->p->vmcs.entry_interruption_info = INTR_INFO_VALID | INTR_TYPE_SOFT_INTERRUPT | 0x80;
    g->p->vmcs.entry_instruction_length = 2;
    guest_faults(g, 0x80, 2);
    guest_free(g);

    g = GUEST(64, code_spin);
    g->p->vmcs.entry_interruption_info = INTR_INFO_VALID | INTR_TYPE_NMI | VECTOR_NMI;
    guest_faults(g, VECTOR_NMI, 0);
    g_assert_true(g->p->interruptibility & BLOCKING_BY_NMI);
    guest_free(g);

    /* An external interrupt whose gate is bad: #GP with EXT. */
    g = GUEST(64, code_spin);
    guest_gate(g, 0x31, 0, 14, 0, 0);
    g->p->vmcs.entry_interruption_info = INTR_INFO_VALID | INTR_TYPE_EXTERNAL | 0x31;
    guest_faults_with(g, VECTOR_GP, 0, 1);
    guest_free(g);
}

GUEST_CODE(64, code_window, "cli\n nop\n sti\n inc %eax\n inc %eax\n hlt");
static void test_interrupt_window(void)
{
    struct guest *g = GUEST(64, code_window);
    g->p->vmcs.cpu_based_controls |= CPU_INTERRUPT_WINDOW_EXITING;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_INTERRUPT_WINDOW);
    g_assert_cmphex(g->p->rip, ==, CODE + 5); /* after the one instruction that STI shadows */
    g_assert_cmpuint(g->p->gpr[0], ==, 1);
    g_assert_cmphex(g->p->interruptibility, ==, 0);
    guest_free(g);

    g = GUEST(64, code_window);
    g->p->interruptibility = BLOCKING_BY_NMI;
    g->p->vmcs.cpu_based_controls |= CPU_NMI_WINDOW_EXITING;
    processor_controls_changed(g->p);
    guest_halts(g);
    g->p->interruptibility = 0;
    g->p->rip = CODE;
    processor_state_changed(g->p);
    guest_exit(g, EXIT_REASON_NMI_WINDOW);
    g_assert_cmphex(g->p->rip, ==, CODE);
    guest_free(g);
}

GUEST_CODE(64, code_sti_hlt, "sti\n hlt");
static void test_sti_shadow_at_exit(void)
{
    struct guest *g = GUEST(64, code_sti_hlt);
    guest_halts(g);
    g_assert_cmphex(g->p->interruptibility, ==, BLOCKING_BY_STI);
    processor_skip_instruction(g->p);
    g_assert_cmphex(g->p->interruptibility, ==, 0);
    g_assert_cmphex(g->p->rip, ==, CODE + 2);
    guest_free(g);
}

GUEST_CODE(64, code_iret_window, "iretq\n inc %eax\n inc %eax\n hlt");
static void test_iret_opens_window(void)
{
    struct guest *g = GUEST(64, code_iret_window);
    uint64_t frame[] = {CODE + 2, CODE64, FLAG_IF | FLAG_ONE, STACK0, DATA0};
    for (unsigned n = 0; n < 5; n++)
        guest_write(g, STACK0 - 40 + 8 * n, frame[n], 8);
    g->p->gpr[4] = STACK0 - 40;
    g->p->interruptibility = BLOCKING_BY_NMI;
    g->p->vmcs.cpu_based_controls |= CPU_INTERRUPT_WINDOW_EXITING;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_INTERRUPT_WINDOW);
    g_assert_cmphex(g->p->rip, ==, CODE + 2);
    g_assert_cmphex(g->p->interruptibility, ==, 0);
    guest_free(g);
}

/* ---------------------------------------------------------------- stepping and breakpoints */

GUEST_CODE(64, code_step, "inc %eax\n mov %ecx, %ss\n inc %eax\n inc %eax\n int3");
static void test_single_step(void)
{
    struct guest *g = GUEST(64, code_step);
    g->p->gpr[1] = DATA0;
    g->p->rflags |= FLAG_TF;
    processor_state_changed(g->p);
    guest_faults(g, VECTOR_DB, 2);
    g_assert_cmphex(g->p->dr6, ==, 0xffff4ff0);
    g_assert_false(g->p->rflags & FLAG_TF);
    g_assert_true(guest_frame(g, false).rflags & FLAG_TF);

    /* MOV SS holds the trap back until after the next instruction. */
    g->p->rip = CODE + 2;
    g->p->rflags |= FLAG_TF;
    g->p->gpr[4] = STACK0;
    processor_state_changed(g->p);
    guest_faults(g, VECTOR_DB, 6);

    /* A software interrupt clears TF and does not trap. */
    g->p->rip = CODE + 8;
    g->p->rflags |= FLAG_TF;
    g->p->gpr[4] = STACK0;
    processor_state_changed(g->p);
    guest_faults(g, VECTOR_BP, 9);
    guest_free(g);
}

GUEST_CODE(64, code_step_exit, "cpuid\n inc %eax\n hlt");
static void test_step_over_exit(void)
{
    struct guest *g = GUEST(64, code_step_exit);
    g->p->rflags |= FLAG_TF;
    processor_state_changed(g->p);
    guest_exit(g, EXIT_REASON_CPUID);
    processor_skip_instruction(g->p);
    guest_faults(g, VECTOR_DB, 2);
    g_assert_cmphex(g->p->dr6 & 0x4000, ==, 0x4000);
    guest_free(g);
}

/* With DEBUGCTL.BTF only taken branches trap, and the trap clears BTF. */
GUEST_CODE(64, code_btf, "inc %eax\n jz 1f\n jmp 1f\n ud2\n 1: nop\n hlt");
static void test_branch_step(void)
{
    struct guest *g = GUEST(64, code_btf);
    g->p->rflags |= FLAG_TF;
    g_assert_cmpint(processor_set_msr(g->p, 0x1d9, 2), ==, 0);
    processor_state_changed(g->p);
    guest_faults(g, VECTOR_DB, 8);
    g_assert_cmphex(g->p->msr.debugctl, ==, 0);
    guest_free(g);
}

GUEST_CODE(64, code_popf_tf, "pushq $0x102\n popfq\n nop\n nop");
static void test_popf_tf(void)
{
    struct guest *g = GUEST(64, code_popf_tf);
    guest_faults(g, VECTOR_DB, 7); /* not after POPF itself */
    guest_free(g);
}

GUEST_CODE(64, code_breakpoint,
           "mov $" AT(code_breakpoint, "1f") ", %eax\n mov %rax, %dr0\n"
                                             "mov $1, %eax\n mov %rax, %dr7\n 1: inc %ecx\n hlt");
static void test_instruction_breakpoint(void)
{
    struct guest *g = GUEST(64, code_breakpoint);
    guest_faults(g, VECTOR_DB, 16);
    g_assert_cmphex(g->p->dr6, ==, 0xffff0ff1);
    g_assert_false(guest_frame(g, false).rflags & FLAG_RF);
    /* Again with RF: it does not hit, and RF is gone afterwards. */
    g->p->rip = CODE + 16;
    g->p->rflags |= FLAG_RF;
    g->p->gpr[4] = STACK0;
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[1], ==, 1);
    guest_free(g);
}

GUEST_CODE(64, code_watch, "mov (%rbx), %eax\n mov %eax, 6(%rbx)\n mov %eax, 2(%rbx)\n nop\n hlt");
static void test_data_breakpoint(void)
{
    struct guest *g = GUEST(64, code_watch);
    g->p->gpr[3] = DATA;
    g->p->dr[2] = DATA + 4;
    g->p->dr7 = 0x400 | 0x10 | 1u << 24 | 1u << 26; /* L2: writes of 2 bytes */
    processor_state_changed(g->p);
    guest_faults(g, VECTOR_DB, 8);
    g_assert_cmphex(g->p->dr6, ==, 0xffff0ff4);
    guest_free(g);

    g = GUEST(64, code_watch);
    g->p->gpr[3] = DATA;
    g->p->dr[0] = DATA + 3;
    g->p->dr7 = 0x400 | 2 | 3u << 16; /* G0: any access to one byte */
    processor_state_changed(g->p);
    guest_faults(g, VECTOR_DB, 2);
    g_assert_cmphex(g->p->dr6, ==, 0xffff0ff1);
    guest_free(g);
}

/* The monitor trap flag stops before a handler's first instruction: of a fault, of a trap that the
 * instruction itself makes, and of an event that the entry delivers. */
GUEST_CODE(64, code_trap_flag, "nop\n ud2");
GUEST_CODE(64, code_trap_flag_int, "int $0x21");
static void test_monitor_trap_flag(void)
{
    struct guest *g = GUEST(64, code_trap_flag);
    g->p->vmcs.cpu_based_controls |= CPU_MONITOR_TRAP_FLAG;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_MONITOR_TRAP_FLAG);
    g_assert_cmphex(g->p->rip, ==, CODE + 1);
    guest_exit(g, EXIT_REASON_MONITOR_TRAP_FLAG);
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * VECTOR_UD);
    g->p->vmcs.entry_interruption_info = INTR_INFO_VALID | INTR_TYPE_EXTERNAL | 0x55;
    guest_exit(g, EXIT_REASON_MONITOR_TRAP_FLAG);
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * 0x55);
    g_assert_cmphex(guest_frame(g, false).rip, ==, HANDLERS + 16 * VECTOR_UD);
    guest_exit(g, EXIT_REASON_HLT);
    guest_free(g);

    g = GUEST(64, code_trap_flag_int);
    g->p->vmcs.cpu_based_controls |= CPU_MONITOR_TRAP_FLAG;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_MONITOR_TRAP_FLAG);
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * 0x21);
    guest_free(g);
}

/* A watchpoint hit by MOV SS is held back; INT1 takes it along, other interrupts do not. */
GUEST_CODE(64, code_watch_int1, "mov (%rbx), %ss\n .byte 0xf1\n hlt"); /* INT1 */
GUEST_CODE(64, code_watch_int3, "mov (%rbx), %ss\n int3\n hlt");
static void test_held_watchpoint(void)
{
    struct guest *g = GUEST(64, code_watch_int1);
    g->p->gpr[3] = DATA;
    guest_write(g, DATA, DATA0, 2);
    g->p->dr[0] = DATA;
    g->p->dr7 = 0x400 | 2 | 3u << 16;
    processor_state_changed(g->p);
    guest_faults(g, VECTOR_DB, 3);
    g_assert_cmphex(g->p->dr6, ==, 0xffff0ff1);
    g_assert_cmphex(g->p->pending_debug, ==, 0);
    guest_free(g);

    g = GUEST(64, code_watch_int3);
    g->p->gpr[3] = DATA;
    guest_write(g, DATA, DATA0, 2);
    g->p->dr[0] = DATA;
    g->p->dr7 = 0x400 | 2 | 3u << 16;
    processor_state_changed(g->p);
    guest_exit(g, EXIT_REASON_HLT); /* #DB before the first instruction of #BP's handler */
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * VECTOR_DB);
    g_assert_cmphex(guest_frame(g, false).rip, ==, HANDLERS + 16 * VECTOR_BP);
    g_assert_cmphex(g->p->dr6, ==, 0xffff0ff1);
    guest_free(g);
}

GUEST_CODE(64, code_detect, "mov %dr7, %rax\n or $0x2000, %eax\n mov %rax, %dr7\n mov %dr0, %rax");
static void test_general_detect(void)
{
    struct guest *g = GUEST(64, code_detect);
    guest_faults(g, VECTOR_DB, 11);
    g_assert_cmphex(g->p->dr6, ==, 0xffff2ff0);
    g_assert_cmphex(g->p->dr7, ==, 0x400);
    guest_free(g);
}

static void test_debug_exit(void)
{
    struct guest *g = GUEST(64, code_step);
    g->p->rflags |= FLAG_TF;
    g->p->vmcs.exception_bitmap = 1u << VECTOR_DB | 1u << VECTOR_BP;
    processor_controls_changed(g->p);
    processor_state_changed(g->p);
    guest_exit(g, EXIT_REASON_EXCEPTION_NMI);
    g_assert_cmphex(g->p->vmcs.exit_qualification, ==, 0x4000);
    g_assert_cmphex(g->p->vmcs.exit_interruption_info & 0x7ff, ==,
                    INTR_TYPE_HARD_EXCEPTION | VECTOR_DB);
    g_assert_cmphex(g->p->rip, ==, CODE + 2);
    g_assert_cmphex(g->p->dr6, ==, 0xffff0ff0);
    g->p->rflags &= ~FLAG_TF;
    g->p->rip = CODE + 8;
    processor_state_changed(g->p);
    guest_exit(g, EXIT_REASON_EXCEPTION_NMI);
    g_assert_cmphex(g->p->vmcs.exit_interruption_info & 0x7ff, ==,
                    INTR_TYPE_SOFT_EXCEPTION | VECTOR_BP);
    g_assert_cmphex(g->p->rip, ==, CODE + 8);
    g_assert_cmpuint(g->p->vmcs.exit_instruction_length, ==, 1);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/events/divide", test_divide);
    g_test_add_func("/events/ud", test_ud);
    g_test_add_func("/events/non-canonical", test_non_canonical);
    g_test_add_func("/events/page-fault", test_page_fault);
    g_test_add_func("/events/privileged", test_privileged);
    g_test_add_func("/events/selector-faults", test_selector_faults);
    g_test_add_func("/events/software", test_software_interrupts);
    g_test_add_func("/events/gate-faults", test_gate_faults);
    g_test_add_func("/events/double-fault", test_double_fault);
    g_test_add_func("/events/injection", test_injection);
    g_test_add_func("/events/window", test_interrupt_window);
    g_test_add_func("/events/sti-at-exit", test_sti_shadow_at_exit);
    g_test_add_func("/events/iret-window", test_iret_opens_window);
    g_test_add_func("/debug/single-step", test_single_step);
    g_test_add_func("/debug/step-over-exit", test_step_over_exit);
    g_test_add_func("/debug/branch-step", test_branch_step);
    g_test_add_func("/debug/popf-tf", test_popf_tf);
    g_test_add_func("/debug/instruction", test_instruction_breakpoint);
    g_test_add_func("/debug/data", test_data_breakpoint);
    g_test_add_func("/debug/held-data", test_held_watchpoint);
    g_test_add_func("/debug/monitor-trap-flag", test_monitor_trap_flag);
    g_test_add_func("/debug/general-detect", test_general_detect);
    g_test_add_func("/debug/exit", test_debug_exit);
    return g_test_run();
}
