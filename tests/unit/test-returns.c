/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupts and returns from them outside 64-bit mode, and IRET in all modes. */
#include "guest.h"

#include <string.h>

/* ---------------------------------------------------------------- real and virtual-8086 mode */

GUEST_CODE(16, code_real_int, "int $0x21\n hlt");
GUEST_CODE(16, code_real_divide, "xor %cx, %cx\n div %cx\n hlt");
static void test_real_vectors(void)
{
    struct guest *g = GUEST(real, code_real_int);
    g->p->rflags |= FLAG_IF | FLAG_AC;
    guest_faults(g, 0x21, 2);
    g_assert_cmphex(g->p->gpr[4], ==, 0x7000 - 6);
    g_assert_cmphex(guest_read(g, 0x7000 - 2, 2), ==, FLAG_IF | FLAG_ONE);
    g_assert_cmphex(guest_read(g, 0x7000 - 4, 2), ==, 0);
    g_assert_false(g->p->rflags & (FLAG_IF | FLAG_AC));
    guest_free(g);

    g = GUEST(real, code_real_divide);
    guest_faults(g, VECTOR_DE, 2);
    g_assert_cmphex(g->p->gpr[4], ==, 0x7000 - 6); /* never an error code */
    guest_free(g);
}

GUEST_CODE(16, code_real_iret, "iret");
static void test_real_iret(void)
{
    struct guest *g = GUEST(real, code_real_iret);
    g->p->gpr[4] = 0x7000 - 6;
    guest_write(g, 0x7000 - 6, 4, 2);
    guest_write(g, 0x7000 - 4, DATA >> 4, 2);
    guest_write(g, 0x7000 - 2, 0x7fd5, 2);
    guest_write(g, DATA + 4, 0xf4, 1);
    guest_write(g, TSS, 0, 4);
    g->p->vmcs.exception_bitmap = 1u << VECTOR_DB;
    guest_write(g, 0x7000 - 2, 0x7ed5, 2); /* all but TF */
    guest_halts(g);
    g_assert_cmphex(g->p->segment[SEG_CS].base, ==, DATA);
    g_assert_cmphex(processor_rflags(g->p), ==, 0x7ed7);
    guest_free(g);
}

/* 32-bit IRETD to a virtual-8086 program at CODE with FLAGS. */
static struct guest *enter_v86(const uint8_t *code, const uint8_t *end, uint32_t flags)
{
    static const uint8_t iretd[] = {0xcf};
    struct guest *g = guest_32(iretd, iretd + 1);
    guest_write(g, HANDLERS + 16 * 0xee, 0xcf, 1);
    for (const uint8_t *b = code; b < end; b++)
        guest_write(g, DATA + (uint64_t)(b - code), *b, 1);
    uint32_t frame[] = {0,      DATA >> 4,   flags | FLAG_VM | FLAG_ONE,
                        0x100,  STACK3 >> 4, DATA >> 4,
                        0x1234, 0x2345,      0x3456};
    for (unsigned n = 0; n < 9; n++)
        guest_write(g, STACK0 - 36 + 4 * n, frame[n], 4);
    g->p->gpr[4] = STACK0 - 36;
    return g;
}
#define V86(name, flags) enter_v86(name, name##_end, flags)

GUEST_CODE(16, code_v86_int, "push %cs\n int $0x80\n hlt");
static void test_v86(void)
{
    /* IOPL 0: INT n raises #GP(0), with the segments on the frame. */
    struct guest *g = V86(code_v86_int, 0);
    guest_faults_with(g, VECTOR_GP, 1 - CODE, 0);
    uint64_t sp = g->p->gpr[4];
    g_assert_cmphex(sp, ==, STACK_TSS - 40);
    g_assert_cmphex(guest_read(g, sp + 8, 4), ==, DATA >> 4);
    g_assert_true(guest_read(g, sp + 12, 4) & FLAG_VM);
    g_assert_cmphex(guest_read(g, sp + 16, 4), ==, 0x100 - 2);
    g_assert_cmphex(guest_read(g, sp + 20, 4), ==, STACK3 >> 4);
    g_assert_cmphex(guest_read(g, sp + 24, 4), ==, DATA >> 4);
    g_assert_cmphex(guest_read(g, sp + 28, 4), ==, 0x1234);
    g_assert_cmphex(guest_read(g, sp + 36, 4), ==, 0x3456);
    g_assert_cmphex(guest_read(g, STACK3 + 0xfe, 2), ==, DATA >> 4);
    g_assert_true(g->p->segment[SEG_DS].access_rights & AR_UNUSABLE);
    g_assert_false(g->p->rflags & FLAG_VM);
    guest_free(g);

    /* IOPL 3: through the gate, if its DPL lets it. */
    g = V86(code_v86_int, FLAG_IOPL);
    guest_gate(g, 0x80, CODE32, 14, 3, 0);
    guest_faults(g, 0x80, 3 - CODE);
    guest_free(g);
    g = V86(code_v86_int, FLAG_IOPL);
    guest_faults_with(g, VECTOR_GP, 1 - CODE, 0x80 * 8 + 2);
    guest_free(g);
}

GUEST_CODE(16, code_v86_cli, "cli\n hlt");
GUEST_CODE(16, code_v86_popf, "push $0x200\n popf\n hlt");
static void test_v86_flags(void)
{
    struct guest *g = V86(code_v86_cli, FLAG_IF);
    guest_faults_with(g, VECTOR_GP, 0 - CODE, 0);
    guest_free(g);
    g = V86(code_v86_cli, FLAG_IF | FLAG_IOPL);
    guest_faults_with(g, VECTOR_GP, 1 - CODE, 0); /* CLI works, HLT does not */
    g_assert_false(guest_read(g, g->p->gpr[4] + 12, 4) & FLAG_IF);
    guest_free(g);
    g = V86(code_v86_popf, 0);
    guest_faults_with(g, VECTOR_GP, 3 - CODE, 0);
    guest_free(g);
    /* With VME, CLI at IOPL 0 clears VIF. */
    g = V86(code_v86_cli, FLAG_IF | FLAG_VIF);
    g->p->cr4 |= CR4_VME;
    guest_faults_with(g, VECTOR_GP, 1 - CODE, 0);
    g_assert_cmphex(guest_read(g, g->p->gpr[4] + 12, 4) & (FLAG_IF | FLAG_VIF), ==, FLAG_IF);
    guest_free(g);
}

/* Instructions at IOPL 0 under VME: they work on VIF, and what the monitor must see is #GP. */
GUEST_CODE(16, code_v86_pushf, "pushf\n hlt");
GUEST_CODE(16, code_v86_pushfd, "pushfl\n hlt");
GUEST_CODE(16, code_v86_popf_tf, "push $0x100\n popf\n hlt");
GUEST_CODE(16, code_v86_sti, "sti\n hlt");
GUEST_CODE(16, code_v86_iret, "push $0x200\n push %cs\n push $7\n iret\n hlt\n hlt");
static void test_vme_flags(void)
{
    static const struct {
        const uint8_t *code, *end;
        uint32_t flags, result; /* of IF and VIF, in the frame of the #GP */
        uint8_t offset;         /* which tells whether the instruction worked */
    } rows[] = {
        {code_v86_pushf, code_v86_pushf_end, FLAG_IF, FLAG_IF, 1},
        {code_v86_pushf, code_v86_pushf_end, FLAG_VIF, FLAG_VIF, 1},
        {code_v86_pushfd, code_v86_pushfd_end, FLAG_VIF, FLAG_VIF, 0},
        {code_v86_popf, code_v86_popf_end, 0, FLAG_VIF, 4},
        {code_v86_popf, code_v86_popf_end, FLAG_VIP, 0, 3},
        {code_v86_popf_tf, code_v86_popf_tf_end, FLAG_IF, FLAG_IF, 3},
        {code_v86_sti, code_v86_sti_end, FLAG_IF, FLAG_IF | FLAG_VIF, 1},
        {code_v86_sti, code_v86_sti_end, FLAG_VIP, 0, 0},
        {code_v86_cli, code_v86_cli_end, FLAG_VIP | FLAG_VIF, 0, 1},
        {code_v86_iret, code_v86_iret_end, 0, FLAG_VIF, 7},
        {code_v86_iret, code_v86_iret_end, FLAG_VIP, 0, 6},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = enter_v86(rows[n].code, rows[n].end, rows[n].flags);
        g->p->cr4 |= CR4_VME;
        guest_faults_with(g, VECTOR_GP, rows[n].offset - CODE, 0);
        uint64_t sp = g->p->gpr[4];
        g_assert_cmphex(guest_read(g, sp + 12, 4) & (FLAG_IF | FLAG_VIF), ==, rows[n].result);
        if (rows[n].code == code_v86_pushf) /* it sees IOPL 3, and VIF as IF */
            g_assert_cmphex(guest_read(g, STACK3 + 0xfe, 2), ==,
                            FLAG_IOPL | FLAG_ONE | (rows[n].flags & FLAG_VIF ? FLAG_IF : 0));
        guest_free(g);
    }
}

/* Protected-mode virtual interrupts: CLI and STI at CPL 3, IOPL 0. */
GUEST_CODE(32, code_pvi, "sti\n pushf\n cli\n hlt");
static void test_pvi(void)
{
    struct guest *g = GUEST(32, code_pvi);
    guest_user(g, false);
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);

    g = GUEST(32, code_pvi);
    guest_user(g, false);
    g->p->cr4 |= CR4_PVI;
    guest_faults_with(g, VECTOR_GP, 3, 0);
    g_assert_cmphex(guest_read(g, STACK3 - 4, 4), ==, FLAG_VIF | FLAG_ONE); /* as it is */
    g_assert_cmphex(guest_read(g, g->p->gpr[4] + 12, 4) & (FLAG_IF | FLAG_VIF), ==, 0);
    guest_free(g);

    g = GUEST(32, code_pvi);
    guest_user(g, false);
    g->p->cr4 |= CR4_PVI;
    g->p->rflags |= FLAG_VIP;
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);
}

/* ---------------------------------------------------------------- IRET in protected mode */

static void push_frame64(struct guest *g, uint64_t rip, uint16_t cs, uint32_t flags, uint64_t rsp,
                         uint16_t ss)
{
    uint64_t frame[] = {rip, cs, flags, rsp, ss};
    for (unsigned n = 0; n < 5; n++)
        guest_write(g, STACK0 - 40 + 8 * n, frame[n], 8);
    g->p->gpr[4] = STACK0 - 40;
}

/* Entered at WARM, the stack is in the TLB when IRETQ reads its frame. */
GUEST_CODE(64, code_iretq, "iretq\n hlt\n ud2\n cmpb $0, (%rsp)\n jmp code_iretq");
#define WARM (CODE + 5)
static struct guest *iretq_guest(bool warm)
{
    struct guest *g = GUEST(64, code_iretq);
    if (warm)
        g->p->rip = WARM;
    return g;
}

static void check_iretq(bool warm)
{
    struct guest *g = iretq_guest(warm);
    push_frame64(g, CODE + 2, CODE64, 0x3246d7, STACK0 - 0x100, DATA0);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[4], ==, STACK0 - 0x100);
    g_assert_cmphex(processor_rflags(g->p), ==, 0x3046d7);
    guest_free(g);

    /* To CPL 3: data segments of inner levels go away, IOPL and IF come from the image. */
    g = iretq_guest(warm);
    push_frame64(g, CODE + 3, USER_CODE64, FLAG_ONE | FLAG_IF, STACK3, USER_DATA);
    guest_faults(g, VECTOR_UD, 3);
    struct guest_frame f = guest_frame(g, false);
    g_assert_cmphex(f.cs, ==, USER_CODE64);
    g_assert_cmphex(f.rsp, ==, STACK3);
    g_assert_true(f.rflags & FLAG_IF);
    g_assert_cmphex(g->p->segment[SEG_DS].selector, ==, 0);
    g_assert_true(g->p->segment[SEG_DS].access_rights & AR_UNUSABLE);
    guest_free(g);

    /* To compatibility mode. */
    g = iretq_guest(warm);
    push_frame64(g, CODE + 3, USER_CODE32, FLAG_ONE, STACK3, USER_DATA);
    guest_faults(g, VECTOR_UD, 3);
    g_assert_cmphex(guest_frame(g, false).cs, ==, USER_CODE32);
    guest_free(g);

    /* To CPL 0 without a stack segment. */
    g = iretq_guest(warm);
    push_frame64(g, CODE + 2, CODE64, FLAG_ONE, STACK0, 0);
    guest_halts(g);
    guest_free(g);
}

static void check_iretq_faults(bool warm)
{
    static const struct {
        uint64_t rip;
        uint16_t cs, ss;
        uint32_t flags;
        unsigned vector;
        uint32_t error;
    } rows[] = {
        {1ull << 47, CODE64, DATA0, 2, VECTOR_GP, 0},
        {CODE, 0, DATA0, 2, VECTOR_GP, 0},
        {CODE, OUTSIDE, DATA0, 2, VECTOR_GP, OUTSIDE},
        {CODE, DATA0, DATA0, 2, VECTOR_GP, DATA0},
        {CODE, NOT_PRESENT_CODE, DATA0, 2, VECTOR_NP, NOT_PRESENT_CODE},
        {CODE, USER_CODE64, DATA0, 2, VECTOR_GP, DATA0},
        {CODE, USER_CODE64, 0, 2, VECTOR_GP, 0},
        {CODE, CODE64, NOT_PRESENT, 2, VECTOR_SS, NOT_PRESENT},
        {CODE, CODE64 | 3, USER_DATA, 2, VECTOR_GP, CODE64},
        {CODE, USER_CODE64 & ~3, DATA0, 2, VECTOR_GP, USER_CODE64 & ~3},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = iretq_guest(warm);
        push_frame64(g, rows[n].rip, rows[n].cs, rows[n].flags, STACK0, rows[n].ss);
        guest_faults_with(g, rows[n].vector, 0, rows[n].error);
        guest_free(g);
    }
    struct guest *g = iretq_guest(warm);
    push_frame64(g, CODE, CODE64, 2, STACK0, DATA0);
    g->p->rflags |= FLAG_NT;
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);
}

static void test_iretq(void)
{
    check_iretq(false);
    check_iretq(true);
}

static void test_iretq_faults(void)
{
    check_iretq_faults(false);
    check_iretq_faults(true);
}

GUEST_CODE(32, code_iretd, "iretl\n hlt\n ud2");
static void test_iretd(void)
{
    struct guest *g = GUEST(32, code_iretd);
    uint32_t frame[] = {CODE + 1, USER_CODE32, FLAG_ONE | FLAG_IF, STACK3, USER_DATA};
    for (unsigned n = 0; n < 5; n++)
        guest_write(g, STACK0 - 20 + 4 * n, frame[n], 4);
    g->p->gpr[4] = STACK0 - 20;
    guest_faults_with(g, VECTOR_GP, 1, 0); /* HLT at CPL 3 */
    uint64_t sp = g->p->gpr[4];
    g_assert_cmphex(sp, ==, STACK_TSS - 24);
    g_assert_cmphex(guest_read(g, sp + 8, 4), ==, USER_CODE32);
    g_assert_cmphex(guest_read(g, sp + 16, 4), ==, STACK3);
    g_assert_cmphex(guest_read(g, sp + 20, 4), ==, USER_DATA);
    g_assert_cmphex(g->p->segment[SEG_SS].selector, ==, DATA0);
    guest_free(g);
}

/* A 16-bit gate pushes a 16-bit frame. */
GUEST_CODE(32, code_int80, "int $0x80\n into\n bound %eax, (%ebx)\n hlt");
static void test_gates_32(void)
{
    struct guest *g = GUEST(32, code_int80);
    guest_gate(g, 0x80, CODE32, 6, 0, 0);
    guest_exit(g, EXIT_REASON_HLT);
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * 0x80);
    g_assert_cmphex(g->p->gpr[4], ==, STACK0 - 6);
    g_assert_cmphex(guest_read(g, STACK0 - 6, 2), ==, CODE + 2);
    g_assert_cmphex(guest_read(g, STACK0 - 4, 2), ==, CODE32);
    guest_free(g);

    g = GUEST(32, code_int80);
    g->p->rip = CODE + 2;
    g->p->status |= FLAG_OF;
    guest_faults(g, VECTOR_OF, 3);
    guest_free(g);

    g = GUEST(32, code_int80);
    g->p->rip = CODE + 2;
    g->p->gpr[3] = DATA;
    guest_write(g, DATA, (uint32_t)-5, 4);
    guest_write(g, DATA + 4, 7, 4);
    g->p->gpr[0] = (uint32_t)-5;
    guest_halts(g);
    g->p->rip = CODE + 3;
    g->p->gpr[0] = 8;
    guest_faults(g, VECTOR_BR, 3);
    guest_free(g);
}

/* With VME, INT n whose bit is clear in the TSS's map goes to the program's own vectors. */
GUEST_CODE(16, code_v86_own, "int $0x21\n hlt");
static void test_vme_redirection(void)
{
    struct guest *g = V86(code_v86_own, FLAG_IF | FLAG_VIF);
    g->p->cr4 |= CR4_VME;
    guest_write(g, TSS + 0x66, 0x88, 2);
    memset(g->ram + TSS + 0x68, 0, 32);
    guest_write(g, 4 * 0x21, (DATA >> 4) << 16 | 0x40, 4);
    guest_write(g, DATA + 0x40, 0xcf90, 2);                     /* NOP, IRET */
    guest_faults_with(g, VECTOR_GP, DATA + 2 - DATA - CODE, 0); /* HLT, after the return */
    uint64_t sp = g->p->gpr[4];
    g_assert_cmphex(guest_read(g, STACK3 + 0xfa, 2), ==, 2);
    g_assert_cmphex(guest_read(g, STACK3 + 0xfc, 2), ==, DATA >> 4);
    /* The image shows IOPL 3 and VIF as IF. */
    g_assert_cmphex(guest_read(g, STACK3 + 0xfe, 2), ==, FLAG_IOPL | FLAG_IF | FLAG_ONE);
    g_assert_cmphex(guest_read(g, sp + 12, 4) & (FLAG_IF | FLAG_VIF | FLAG_IOPL), ==,
                    FLAG_IF | FLAG_VIF);
    guest_free(g);
}

/* The stack that the TSS gives: the checks of an inner-level event, seen by exception exits. */
GUEST_CODE(32, code_inner, "int $0x80");
static void test_tss_stack(void)
{
    static const struct {
        uint16_t ss;
        uint32_t limit;
        unsigned vector;
        uint32_t error;
    } rows[] = {
        {0, 0x67, VECTOR_TS, 0},
        {OUTSIDE, 0x67, VECTOR_TS, OUTSIDE},
        {READ_ONLY, 0x67, VECTOR_TS, READ_ONLY},
        {USER_DATA, 0x67, VECTOR_TS, USER_DATA & ~3},
        {DATA0 | 1, 0x67, VECTOR_TS, DATA0},
        {NOT_PRESENT, 0x67, VECTOR_SS, NOT_PRESENT},
        {SMALL, 0x67, VECTOR_SS, SMALL}, /* ESP lies outside */
        {DATA0, 8, VECTOR_TS, TSS_SELECTOR},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = GUEST(32, code_inner);
        guest_gate(g, 0x80, CODE32, 14, 3, 0);
        guest_user(g, false);
        g->p->vmcs.exception_bitmap = ~0u;
        processor_controls_changed(g->p);
        guest_write(g, TSS + 8, rows[n].ss, 2);
        g->p->segment[SEG_TR].limit = rows[n].limit;
        guest_exit(g, EXIT_REASON_EXCEPTION_NMI);
        g_assert_cmphex(g->p->vmcs.exit_interruption_info & 0xff, ==, rows[n].vector);
        g_assert_cmphex(g->p->vmcs.exit_interruption_error_code, ==, rows[n].error);
        g_assert_cmphex(g->p->rip, ==, CODE);
        g_assert_cmpuint(g->p->cpl, ==, 3);
        g_assert_cmphex(g->p->gpr[4], ==, STACK3);
        guest_free(g);
    }

    /* A 16-bit TSS: SP0 and SS0 in words, at 2 and 4. */
    struct guest *g = GUEST(32, code_inner);
    guest_gate(g, 0x80, CODE32, 14, 3, 0);
    guest_user(g, false);
    g->p->segment[SEG_TR].access_rights = 0x83;
    guest_write(g, TSS + 2, 0x7000, 2);
    guest_write(g, TSS + 4, DATA0, 2);
    guest_faults(g, 0x80, 2);
    g_assert_cmphex(g->p->gpr[4], ==, 0x7000 - 20);
    guest_free(g);
}

/* A conforming handler runs at the interrupted level, on its stack. */
static void test_conforming_handler(void)
{
    struct guest *g = GUEST(32, code_inner);
    guest_gate(g, 0x80, CONFORMING, 14, 3, 0);
    guest_user(g, false);
    guest_exit(g, EXIT_REASON_HLT); /* in #GP's handler: HLT at CPL 3 */
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * VECTOR_GP);
    g_assert_cmphex(guest_read(g, g->p->gpr[4] + 4, 4), ==, HANDLERS + 16 * 0x80);
    g_assert_cmphex(guest_read(g, g->p->gpr[4] + 8, 4), ==, CONFORMING | 3);
    g_assert_cmphex(guest_read(g, STACK3 - 12, 4), ==, CODE + 2);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/real/vectors", test_real_vectors);
    g_test_add_func("/real/iret", test_real_iret);
    g_test_add_func("/v86/interrupts", test_v86);
    g_test_add_func("/v86/flags", test_v86_flags);
    g_test_add_func("/v86/vme-flags", test_vme_flags);
    g_test_add_func("/v86/pvi", test_pvi);
    g_test_add_func("/iret/64", test_iretq);
    g_test_add_func("/iret/64-faults", test_iretq_faults);
    g_test_add_func("/iret/32", test_iretd);
    g_test_add_func("/gates/32", test_gates_32);
    g_test_add_func("/v86/redirection", test_vme_redirection);
    g_test_add_func("/gates/tss-stack", test_tss_stack);
    g_test_add_func("/gates/conforming", test_conforming_handler);
    return g_test_run();
}
