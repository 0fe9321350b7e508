/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The translator where single instructions cannot tell (test-native has those): flow between
 * blocks, code that changes, faults inside a block, eviction, and lockstep with the interpreter.
 */
#include "translated.h"

#include <string.h>

/* ---------------------------------------------------------------- flow */

/* Loops in a loop, calls, an indirect call, a recursion, homeless registers, flags over a store. */
GUEST_CODE(64, code_flow,
           "xor %eax, %eax\n mov $1000, %ecx\n mov $0xa000, %r10d\n"
           "1: mov $7, %r9d\n"
           "2: add %r9, %rax\n lea (%r10, %r9, 8), %r11\n cmp $3, %r9\n mov %rax, (%r11)\n"
           "   jb 3f\n adc (%r11), %rax\n"
           "3: dec %r9\n jnz 2b\n"
           "   call 4f\n lea 5f(%rip), %rdx\n call *%rdx\n push %rbp\n mov %rsp, %rbp\n"
           "   push $-2\n pop %rsi\n add %rsi, %rax\n leave\n"
           "   loop 6f\n hlt\n 6: jmp 1b\n"
           "4: push %rcx\n mov $9, %edi\n call 7f\n pop %rcx\n ret\n"
           "5: rol $5, %rax\n ret $0\n"
           "7: cmp $2, %edi\n jb 8f\n push %rdi\n dec %edi\n call 7b\n pop %rdi\n"
           "   sub $2, %edi\n call 7b\n"
           "8: inc %rax\n ret");
static void test_flow(void)
{
    struct guest *g = GUEST(64, code_flow);
    guest_halts(g);
    uint64_t expected[16];
    memcpy(expected, g->p->gpr, sizeof(expected));
    uint64_t retired = g->p->icount;
    g_assert_cmphex(expected[REG_RSP], ==, STACK0);
    guest_free(g);

    for (unsigned count = 0; count < 2; count++) {
        g = translated_how(GUEST(64, code_flow),
                           (struct processor_translator){.threshold = 2, .count = count});
        guest_halts(g);
        g_assert_cmpmem(expected, sizeof(expected), g->p->gpr, sizeof(expected));
        if (count)
            g_assert_cmpuint(g->p->icount, ==, retired);
        g_assert_cmpuint(counts(g).links, >, 0);
        g_assert_cmpuint(counts(g).entries, <, 2000); /* else nothing is chained */
        guest_free(g);
    }

    g = translated(GUEST(64, code_flow), 1, true);
    guest_halts(g);
    g_assert_cmpmem(expected, sizeof(expected), g->p->gpr, sizeof(expected));
    check_clean(g);
    g_assert_cmpuint(counts(g).emptied, >, 0); /* lockstep empties the cache now and then */
    guest_free(g);
}

/* Flags that wait in the frame: over pops and a return, into both ways of a branch, through
 * instructions that change some of them, from one page to the next, and past a handler's
 * instruction (XLAT). */
GUEST_CODE(64, code_flags,
           "xor %eax, %eax\n mov $300, %ecx\n mov $0xa000, %r10d\n"
           "1: call 5f\n adc $0, %rax\n"                        /* CF over RET */
           "   cmp $100, %ecx\n push %rax\n pop %rdx\n jb 2f\n" /* over push and pop */
           "   mov %rax, (%r10)\n seto %dl\n setp %dh\n add %edx, %eax\n"
           "2: lea 6f(%rip), %rdx\n call *%rdx\n adc $3, %eax\n"
           "   add %ecx, %edx\n push %rdx\n inc %edx\n mov (%r10), %rdi\n adc $5, %rax\n pop %rdx\n"
           "   cmp $77, %cl\n xlat\n mov %eax, 8(%r10)\n sbb $0, %rax\n lahf\n"
           "   sub $1, %ecx\n mov %rsp, %rdi\n push %rdi\n pop %rdi\n jnz 1b\n hlt\n"
           "5: push %rbx\n push %rbp\n cmp $150, %ecx\n pop %rbp\n pop %rbx\n ret\n"
           "6: mov %ecx, %edx\n shr %edx\n jmp 7f\n .skip 4096\n"
           "7: push %rcx\n dec %rcx\n pop %rcx\n ret");
static void test_flags(void)
{
    uint64_t expected[16];
    struct guest *g = GUEST(64, code_flags);
    g->p->gpr[REG_RBX] = 0xb000; /* XLAT's table */
    guest_halts(g);
    memcpy(expected, g->p->gpr, sizeof(expected));
    guest_free(g);
    for (unsigned check = 0; check <= 1; check++) {
        g = translated(GUEST(64, code_flags), 2, check);
        g->p->gpr[REG_RBX] = 0xb000;
        guest_halts(g);
        g_assert_cmpmem(expected, sizeof(expected), g->p->gpr, sizeof(expected));
        if (check)
            check_clean(g);
        guest_free(g);
    }
}

/* 64-bit and compatibility code in turns, the same bytes in both: what was translated for one mode
 * must not run in the other. */
GUEST_CODE(64, code_modes,
           "mov $50, %ecx\n xor %eax, %eax\n xor %edx, %edx\n"
           "1: call 9f\n ljmp *" AT(
               code_modes,
               "7f") "\n"
                     ".code32\n 2: call 9f\n ljmp $0x08, $" AT(
                         code_modes,
                         "3f") "\n"
                               ".code64\n 3: dec %ecx\n jnz 1b\n hlt\n"
                               "7: .long " AT(code_modes,
                                              "2b") "\n .word 0x18\n"
                                                    /* inc rax; in 32-bit code dec eax, inc eax */
                                                    "9: .byte 0x48, 0xff, 0xc0\n ret");
static void test_modes(void)
{
    struct guest *g = translated(GUEST(64, code_modes), 1, false);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[REG_RAX], ==, 50);
    g_assert_cmphex(g->p->gpr[REG_RSP], ==, STACK0);
    g_assert_cmpuint(counts(g).blocks, >, 0);
    guest_free(g);
}

/* ---------------------------------------------------------------- system instructions */

/* Between CPL 0 and 3 by SYSRET and SYSCALL, then by IRETQ and SYSCALL, two hundred times; flags
 * and bases on the way. */
GUEST_CODE(64, code_system,
           "mov $200, %r12d\n xor %r13d, %r13d\n xor %r14d, %r14d\n"
           "1: sti\n cmp %r12d, %r13d\n pushfq\n pop %rbx\n cli\n add %rbx, %r14\n"
           "   pushfq\n pop %rbx\n lea (%r14, %rbx, 2), %r14\n stac\n pushfq\n pop %rbx\n"
           "   clac\n add %rbx, %r14\n swapgs\n rdgsbase %rbx\n add $0x1000, %rbx\n"
           "   wrgsbase %rbx\n lea 2f(%rip), %rcx\n mov $0x246, %r11d\n sysretq\n"
           "2: rdfsbase %rsi\n lea 1(%rsi), %rsi\n wrfsbase %rsi\n stc\n syscall\n"
           "3: adc %r11, %r14\n add %rcx, %r14\n xor $1, %r13d\n jz 5f\n"
           "   pushq $0x2b\n pushq $0x1f000\n pushq $0x2d7\n pushq $0x33\n lea 4f(%rip), %rdx\n"
           "   push %rdx\n iretq\n"
           "4: adc $3, %r14\n pushfq\n pop %rbx\n add %rbx, %r14\n syscall\n"
           "5: mov $0x20000, %esp\n invlpg 0x600000\n mov %ss, 0xa002\n add 0xa000, %r14\n mov "
           "%cs, %ebx\n add %rbx, %r14\n mov %cr2, %rbx\n"
           "   add %rbx, %r14\n dec %r12d\n jnz 1b\n hlt");
static struct guest *system_guest(void)
{
    struct guest *g = GUEST(64, code_system);
    const uint8_t *entry = code_system;
    while (memcmp(entry, "\x4d\x11\xde", 3)) /* adc %r11, %r14 */
        entry++;
    g->p->msr.efer |= EFER_SCE;
    g->p->msr.star = 0x20ull << 48 | (uint64_t)CODE64 << 32;
    g->p->msr.lstar = CODE + (uint64_t)(entry - code_system);
    g->p->msr.sfmask = FLAG_IF | FLAG_ZF | FLAG_AC;
    g->p->msr.kernel_gs_base = 0x7000;
    g->p->cr2 = 0x123456;
    g->p->cr4 |= CR4_FSGSBASE;
    processor_state_changed(g->p);
    return g;
}
static void test_system(void)
{
    struct guest *g = system_guest();
    guest_halts(g);
    uint64_t expected[16], gs = g->p->segment[SEG_GS].base, fs = g->p->segment[SEG_FS].base;
    memcpy(expected, g->p->gpr, sizeof(expected));
    g_assert_cmpuint(fs, ==, 200);
    g_assert_cmphex(g->p->msr.kernel_gs_base + gs, ==, 0x7000 + 200 * 0x1000);
    guest_free(g);
    for (unsigned check = 0; check < 2; check++) {
        g = translated(system_guest(), 1, check);
        guest_halts(g);
        g_assert_cmpmem(expected, sizeof(expected), g->p->gpr, sizeof(expected));
        g_assert_cmphex(g->p->segment[SEG_GS].base, ==, gs);
        g_assert_cmphex(g->p->segment[SEG_FS].base, ==, fs);
        g_assert_cmpuint(g->p->cpl, ==, 0);
        if (check)
            check_clean(g);
        else /* CLAC without SMAP and INVLPG; all else runs as translated */
            g_assert_cmpuint(counts(g).handlers, <, 2 * 200 + 50);
        if (!check) /* and after INVLPG, too, it runs on */
            g_assert_cmpuint(counts(g).entries, <, 100);
        guest_free(g);
    }
}

/* STI holds interrupts off for one instruction, and only where IF was clear. */
GUEST_CODE(64, code_shadow,
           "mov $40, %ecx\n 1: cli\n sti\n nop\n sti\n cli\n sti\n pushfq\n pop %rax\n"
           "   cli\n sti\n dec %ecx\n jnz 1b\n cli\n sti\n hlt");
static void test_shadow(void)
{
    struct guest *g = translated(GUEST(64, code_shadow), 1, false);
    guest_halts(g);
    g_assert_cmphex(g->p->interruptibility, ==, BLOCKING_BY_STI);
    g_assert_true(g->p->rflags & FLAG_IF && g->p->gpr[REG_RAX] & FLAG_IF);
    g_assert_cmpuint(counts(g).handlers, <, 20);
    guest_free(g);

    g = translated(GUEST(64, code_shadow), 1, false);
    g->p->vmcs.cpu_based_controls |= CPU_INTERRUPT_WINDOW_EXITING;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_INTERRUPT_WINDOW);
    g_assert_cmphex(g->p->rip, ==, CODE + 8); /* behind the NOP */
    guest_free(g);
}

/* ---------------------------------------------------------------- code that changes */

/* Each round adds the immediate, then changes it: in another block, then in its own. */
GUEST_CODE(64, code_changes,
           "mov $300, %ecx\n xor %eax, %eax\n"
           "1: call 8f\n incb 8f+2(%rip)\n"
           "   dec %ecx\n jnz 1b\n hlt\n"
           "8: add $1, %eax\n ret");
GUEST_CODE(64, code_changes_itself,
           "mov $300, %ecx\n xor %eax, %eax\n lea 8f(%rip), %rbx\n"
           "1: incb 2(%rbx)\n nop\n"
           "8: add $0x11, %eax\n dec %ecx\n jnz 1b\n hlt");
static void test_changes(void)
{
    /* 300 signed bytes from 1 on, and from 0x12 on. */
    int64_t other = 0, own = 0;
    for (int n = 0; n < 300; n++) {
        other += (int8_t)(1 + n);
        own += (int8_t)(0x12 + n);
    }
    struct guest *g = translated(GUEST(64, code_changes), 1, false);
    guest_halts(g);
    g_assert_cmpint((int32_t)g->p->gpr[REG_RAX], ==, other);
    g_assert_cmpuint(counts(g).blocks, >, 1);
    guest_free(g);
    g = translated(GUEST(64, code_changes_itself), 1, false);
    guest_halts(g);
    g_assert_cmpint((int32_t)g->p->gpr[REG_RAX], ==, own);
    guest_free(g);
}

/* A device writes the code between two runs, and says so. */
GUEST_CODE(64, code_written_to, "mov $100, %ecx\n 1: add $1, %eax\n dec %ecx\n jnz 1b\n hlt");
static void test_written_from_outside(void)
{
    struct guest *g = translated(GUEST(64, code_written_to), 1, false);
    g->p->gpr[REG_RAX] = 0;
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 100);
    g->ram[CODE + 7] = 5;
    memory_written(g->memory, CODE + 7, 1);
    g->p->rip = CODE;
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 600);
    guest_free(g);
}

/* More code than the cache holds, again and again: the same results, and never more memory. */
GUEST_CODE(64, code_full,
           "xor %eax, %eax\n mov $30, %ecx\n 1: mov $0x10000, %edx\n call *%rdx\n"
           "   dec %ecx\n jnz 1b\n hlt");
static void test_full(void)
{
    enum { BLOCKS = 2048, APART = 64, ROOM = 192 << 10 };
    struct guest *g = GUEST(64, code_full);
    const struct processor_translator how = {.on = true, .threshold = 1, .code_bytes = ROOM};
    g_assert_cmpint(processor_set_translator(g->p, &how), ==, 0);
    for (unsigned n = 0; n < BLOCKS; n++) /* inc rax; jmp to the next */
        memcpy(g->ram + 0x10000 + APART * n, "\x48\xff\xc0\xe9\x38\0\0\0", 8);
    g->ram[0x10000 + APART * BLOCKS] = 0xc3;
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 30 * BLOCKS);
    g_assert_cmpuint(counts(g).blocks, >, 2 * BLOCKS);
    g_assert_cmpuint(counts(g).emptied, >, 1);
    g_assert_cmpuint(counts(g).bytes, <=, ROOM);
    guest_free(g);
}

/* ---------------------------------------------------------------- faults and odd accesses */

/* The third instruction faults at last; what came before it is visible, what follows is not. */
GUEST_CODE(64, code_fault,
           "mov $0xffff00, %r10d\n" /* 256 bytes before the end of what is mapped */
           "1: inc %eax\n lea 8(%r10), %r10\n mov %rax, -8(%r10)\n inc %ebx\n jmp 1b");
static void test_fault_in_block(void)
{
    struct guest *g = translated(GUEST(64, code_fault), 1, false);
    g->p->gpr[REG_RAX] = g->p->gpr[REG_RBX] = 0;
    guest_faults_with(g, VECTOR_PF, 12, 2); /* not present, write */
    g_assert_cmphex(g->p->cr2, ==, GUEST_BYTES);
    g_assert_cmphex(g->p->gpr[REG_RAX], ==, 33);
    g_assert_cmphex(g->p->gpr[REG_RBX], ==, 32);
    g_assert_cmphex(g->p->gpr[REG_R10], ==, GUEST_BYTES + 8);
    guest_free(g);
}

GUEST_CODE(64, code_crossing,
           "mov $100, %ecx\n xor %eax, %eax\n"
           "1: add %rcx, (%rbx)\n add (%rbx), %rax\n lock xadd %rax, (%rbx)\n"
           "   mov %rsp, %r11\n lea 3(%rbx), %rsp\n push %rax\n pop %rax\n mov %r11, %rsp\n"
           "   dec %ecx\n jnz 1b\n hlt");
static void test_crossing(void)
{
    static const uint64_t at[] = {0xaffd, 0x3ffffd}; /* inside a large page, and between two */
    for (unsigned n = 0; n < G_N_ELEMENTS(at); n++) {
        struct guest *one = GUEST(64, code_crossing);
        struct guest *other = translated(GUEST(64, code_crossing), 1, false);
        one->p->gpr[REG_RBX] = other->p->gpr[REG_RBX] = at[n];
        guest_halts(one);
        guest_halts(other);
        g_assert_cmphex(one->p->gpr[REG_RAX], ==, other->p->gpr[REG_RAX]);
        g_assert_cmphex(guest_read(one, at[n], 8), ==, guest_read(other, at[n], 8));
        guest_free(one);
        guest_free(other);
    }
}

/* ---------------------------------------------------------------- x87 and MMX */

/* Arithmetic over pages that are not in the TLB, control words, branches on results, MMX and SSE in
 * between, and the pointers to the last instruction: where C is called, after branches, and after
 * what sets them. */
GUEST_CODE(64, code_x87,
           "fninit\n mov $300, %ecx\n mov $0xa000, %esi\n mov $0x100000, %ebx\n fldz\n"
           "movl $0x037f0f7f, 0x100(%rsi)\n"
           "1: mov %rcx, (%rbx)\n fildll (%rbx)\n fld1\n fadd %st(1), %st\n fdivrp\n"
           "   fadd %st, %st(1)\n fstpl 8(%rbx)\n fldl 8(%rbx)\n fcomip\n jne 2f\n"
           "   fnstcw 0x20(%rsi)\n fldcw 0x100(%rsi)\n fld %st\n fistpll 16(%rbx)\n"
           "   fldcw 0x102(%rsi)\n fld %st\n fstpt 24(%rbx)\n"
           "2: fnstenv 0x40(%rsi)\n mov 0x4c(%rsi), %eax\n xor %rax, %rdx\n rol $7, %rdx\n"
           "   fldcw 0x102(%rsi)\n mov 0x54(%rsi), %eax\n add %rax, %rdx\n"
           "   fcoms 8(%rbx)\n fnstsw %ax\n sahf\n ja 3f\n fchs\n"
           "3: fnsave 0x40(%rsi)\n frstor 0x40(%rsi)\n fnstenv 0xc0(%rsi)\n"
           "   mov 0xcc(%rsi), %eax\n add %rax, %rdx\n fldcw 0x102(%rsi)\n"
           "   call 4f\n fwait\n add $0x2128, %ebx\n and $0x7fffff, %ebx\n or $0x100000, %ebx\n"
           "   dec %ecx\n jnz 1b\n fnstenv 0x40(%rsi)\n fxsave 0x200(%rsi)\n hlt\n"
           "4: fstpt (%rsi)\n movq (%rsi), %mm1\n paddw 8(%rbx), %mm1\n movq2dq %mm1, %xmm9\n"
           "   cvtpi2ps 8(%rbx), %xmm9\n movq %mm1, 40(%rbx)\n pxor %mm0, %mm0\n"
           "   psadbw %mm1, %mm0\n movd %mm0, %r10\n add %r10, %rdx\n emms\n fldt (%rsi)\n"
           "   fsqrt\n ret");
/* An exception unmasked while translated code runs, raised, seen as #MF at the next that waits. */
GUEST_CODE(64, code_x87_unmasked,
           "fninit\n mov $0xa000, %esi\n movw $0x37b, (%rsi)\n fldz\n fld1\n"
           "mov $20, %ecx\n 1: fadd %st, %st\n dec %ecx\n jnz 1b\n"
           "fldcw (%rsi)\n fdiv %st(1), %st\n mov $7, %ebx\n fld1\n hlt");
/* The second load faults: the pointers are the first one's. */
GUEST_CODE(64, code_x87_fault,
           "fninit\n mov $0xa000, %esi\n mov $0x1000000, %edi\n 1: fldl 8(%rsi)\n fldl (%rdi)\n"
           "jmp 1b");

static struct guest *guest_x87(const uint8_t *code, const uint8_t *end)
{
    struct guest *g = guest_64(code, end);
    g->p->cr4 |= CR4_OSFXSR;
    processor_state_changed(g->p);
    g->p->gpr[REG_RAX] = g->p->gpr[REG_RDX] = 0;
    return g;
}
#define GUEST_X87(code) guest_x87(code, code##_end)

/* Compares registers, x87 state with its pointers, and memory. */
static void check_same(const struct guest *a, const struct guest *b)
{
    const uint8_t *x = a->p->vector.fxsave, *y = b->p->vector.fxsave;
    g_assert_cmpmem(a->p->gpr, 16 * 8, b->p->gpr, 16 * 8);
    g_assert_cmpmem(x, 24, y, 24);
    g_assert_cmpmem(x + 32, 128, y + 32, 128);
    g_assert_cmpmem(a->p->vector.ymm, sizeof(a->p->vector.ymm), b->p->vector.ymm,
                    sizeof(b->p->vector.ymm));
    g_assert_cmpmem(a->ram, GUEST_BYTES, b->ram, GUEST_BYTES);
}

static void test_x87(void)
{
    struct guest *expected = GUEST_X87(code_x87);
    guest_halts(expected);
    struct guest *g = translated(GUEST_X87(code_x87), 1, false);
    guest_halts(g);
    check_same(expected, g);
    /* Natively all but FNSTENV, FNSAVE and FRSTOR, four a round, and two more at the end. */
    g_assert_cmpuint(counts(g).handlers, <, 300 * 4 + 40);
    guest_free(g);
    g = translated(GUEST_X87(code_x87), 1, true);
    guest_halts(g);
    check_same(expected, g);
    check_clean(g);
    guest_free(g);
    guest_free(expected);
}

static void test_x87_exceptions(void)
{
    struct guest *expected = GUEST_X87(code_x87_unmasked);
    guest_faults(expected, VECTOR_MF, code_x87_unmasked_end - code_x87_unmasked - 3);
    struct guest *g = translated(GUEST_X87(code_x87_unmasked), 1, false);
    guest_faults(g, VECTOR_MF, code_x87_unmasked_end - code_x87_unmasked - 3);
    g_assert_cmpuint(g->p->gpr[REG_RBX], ==, 7);
    check_same(expected, g);
    guest_free(g);
    guest_free(expected);

    expected = GUEST_X87(code_x87_fault);
    guest_faults_with(expected, VECTOR_PF, 15, 0);
    g = translated(GUEST_X87(code_x87_fault), 1, false);
    guest_faults_with(g, VECTOR_PF, 15, 0);
    check_same(expected, g);
    uint64_t fip;
    memcpy(&fip, g->p->vector.fxsave + 8, 8);
    g_assert_cmphex(fip, ==, CODE + 12);
    guest_free(g);
    guest_free(expected);
}

/* ---------------------------------------------------------------- SSE and AVX registers */

/* Upper halves stay what they are where SSE code runs, whichever of them are zero. */
GUEST_CODE(64, code_halves,
           "mov $9, %ecx\n 1: paddq %xmm1, %xmm0\n paddq %xmm15, %xmm14\n str %eax\n"
           "paddq %xmm0, %xmm8\n dec %ecx\n jnz 1b\n hlt");
static void set_halves(struct guest *g, unsigned in_use, bool lower)
{
    for (unsigned n = 0; n < 16; n++) {
        uint64_t *q = g->p->vector.ymm[n].q;
        q[0] = lower ? n + 1 : 0;
        q[1] = lower ? ~q[0] : 0;
        q[2] = q[3] = 0;
        if (n == in_use)
            q[2 + n % 2] = 5;
    }
}
static void test_halves(void)
{
    for (unsigned n = 0; n < 2 * 17; n++) {
        unsigned in_use = n / 2; /* 16: none */
        struct guest *expected = GUEST_X87(code_halves);
        set_halves(expected, in_use, n % 2);
        guest_halts(expected);
        struct guest *g = translated(GUEST_X87(code_halves), 1, false);
        set_halves(g, in_use, n % 2);
        guest_halts(g);
        check_same(expected, g);
        g_assert_cmphex(g->p->vector.ymm[14].q[0], ==, n % 2 ? 15 + 9 * 16 : 0);
        if (in_use < 16)
            g_assert_cmphex(g->p->vector.ymm[in_use].q[2 + in_use % 2], ==, 5);
        guest_free(g);
        guest_free(expected);
    }
}

/* ---------------------------------------------------------------- strings and bits */

/* Repetitions of 0 to 90 elements over pages that are not in the TLB, some of which cross a page,
 * some overlapping, with flags that live across them; bit strings; the direction flag. */
GUEST_CODE(64, code_strings,
           "mov $0x100000, %ebx\n xor %ebp, %ebp\n"
           "1: mov %rbx, %rdi\n mov %rbp, %rax\n mov %ebp, %ecx\n cmp $40, %ecx\n rep stosl\n"
           "   setb %al\n stosb\n mov %rbx, %rsi\n lea 3(%rbx), %rdi\n mov %ebp, %ecx\n"
           "   rep movsb\n mov %rbx, %rsi\n lea 0x1007(%rbx), %rdi\n mov %ebp, %ecx\n"
           "   rep movsq\n lodsw\n add %rax, %rdx\n movsl\n scasb\n adc %rdi, %rdx\n cmpsq\n"
           "   adc %rsi, %rdx\n mov %rbp, %r10\n shl $5, %r10\n sub $700, %r10\n"
           "   bts %r10, 0x200(%rbx)\n adc $0, %rdx\n lock btc %r10d, 0x208(%rbx)\n adc $0, %rdx\n"
           "   stc\n std\n movsb\n mov %ebp, %ecx\n rep stosb\n cld\n adc $1, %rdx\n"
           "   add $0x2ef1, %rbx\n inc %ebp\n cmp $90, %ebp\n jb 1b\n hlt");
static void test_strings(void)
{
    struct guest *expected = GUEST_X87(code_strings);
    guest_halts(expected);
    struct guest *g = translated(GUEST_X87(code_strings), 1, false);
    guest_halts(g);
    check_same(expected, g);
    /* Two downwards a round, and what crosses a page: not the rest, which is ten. */
    g_assert_cmpuint(counts(g).handlers, <, 90 * 5);
    guest_free(g);
    g = translated(GUEST_X87(code_strings), 1, true);
    guest_halts(g);
    check_same(expected, g);
    check_clean(g);
    guest_free(g);
    guest_free(expected);
}

/* ---------------------------------------------------------------- 32-bit code */

/* Calls, recursion, an indirect call, encodings that 64-bit code lacks, addresses that wrap, pages
 * that the TLB has not, strings, x87, and GS with a base and without its limit. */
GUEST_CODE(32, code_32,
           "xor %eax, %eax\n mov $300, %ecx\n mov $0x100000, %ebx\n mov $0xfff00000, %esi\n"
           "1: inc %edx\n dec %edi\n dec %ax\n .byte 0x82, 0xc0, 0x35\n"
           "   mov %eax, 0x200000(%ebx, %esi)\n add 0x200000(%esi, %ebx), %edx\n"
           "   mov %eax, 0xa000\n mov 0xa000, %al\n adc %gs:-8(%ebx), %eax\n push %eax\n"
           "   and $0x3fff, %eax\n bts %eax, 0x400(%ebx)\n"
           "   call 4f\n call 3f\n"
           "3: pop %ebp\n add $5f - 3b, %ebp\n call *%ebp\n push %ebp\n mov %esp, %ebp\n push $-2\n"
           "   pop %esi\n leave\n pop %edi\n add %edi, %edx\n mov $0xfff00000, %esi\n"
           "   mov %ebx, %edi\n push %ecx\n rep stosb\n pop %ecx\n fildl (%ebx)\n fsqrt\n"
           "   fstps 8(%ebx)\n add 8(%ebx), %edx\n add $0x2128, %ebx\n and $0x7fffff, %ebx\n"
           "   or $0x100000, %ebx\n loop 6f\n hlt\n 6: jmp 1b\n"
           "4: push %ecx\n mov $7, %edi\n call 7f\n pop %ecx\n ret\n"
           "5: rol $5, %eax\n ret $0\n"
           "7: cmp $2, %edi\n jb 8f\n push %edi\n dec %edi\n call 7b\n pop %edi\n"
           "   sub $2, %edi\n call 7b\n"
           "8: inc %eax\n ret");
static struct guest *guest_flat32(void)
{
    struct guest *g = GUEST(32, code_32);
    struct segment *gs = &g->p->segment[SEG_GS];
    *gs = g->p->segment[SEG_DS];
    gs->base = 0x1000;
    memset(g->p->gpr, 0, 4 * sizeof(g->p->gpr[0]));
    g->p->gpr[REG_RSI] = g->p->gpr[REG_RDI] = g->p->gpr[REG_RBP] = 0;
    processor_state_changed(g->p);
    return g;
}
static void test_32(void)
{
    struct guest *expected = guest_flat32();
    guest_halts(expected);
    struct guest *g = translated(guest_flat32(), 1, false);
    guest_halts(g);
    check_same(expected, g);
    g_assert_cmpuint(counts(g).blocks, >, 10);
    g_assert_cmpuint(counts(g).handlers, <, 400);
    g_assert_cmpuint(counts(g).entries, <, 700);
    guest_free(g);
    g = translated(guest_flat32(), 1, true);
    guest_halts(g);
    check_same(expected, g);
    check_clean(g);
    guest_free(g);
    guest_free(expected);
}

/* An access across GS's limit faults, though it is at the segment's end and in one page. */
GUEST_CODE(32, code_gs_limit, "mov %gs:-4, %eax\n mov %gs:-2, %eax\n hlt");
static void test_gs_limit(void)
{
    struct guest *g = GUEST(32, code_gs_limit);
    g->p->segment[SEG_GS] = g->p->segment[SEG_DS];
    g->p->segment[SEG_GS].base = 0xa800;
    processor_state_changed(g->p);
    guest_write(g, 0xa7fc, 0x12345678, 4);
    translated(g, 1, false);
    guest_faults_with(g, VECTOR_GP, 6, 0);
    g_assert_cmphex(g->p->gpr[REG_RAX], ==, 0x12345678);
    guest_free(g);
}

/* A page that keeps being modified: two functions in lines of their own, one of them written twice
 * between its runs, the other only every fourth time; both are read as they were last written. */
GUEST_CODE(64, code_hot,
           "xor %edi, %edi\n mov $0xa000, %ebx\n mov $400, %ecx\n"
           "movb $0xb8, (%rbx)\n movb $0xc3, 5(%rbx)\n" /* mov eax, ...; ret */
           "movb $0xb8, 0x400(%rbx)\n movb $0xc3, 0x405(%rbx)\n"
           "1: movl $-1, 1(%rbx)\n mov %ecx, 1(%rbx)\n"
           "test $3, %cl\n jnz 2f\n mov %ecx, 0x401(%rbx)\n"
           "2: call *%rbx\n cmp %ecx, %eax\n jne 3f\n"
           "lea 0x400(%rbx), %rdx\n call *%rdx\n lea 3(%rcx), %edx\n and $-4, %edx\n"
           "cmp %edx, %eax\n jne 3f\n inc %edi\n"
           "loop 1b\n 3: hlt");
static void test_hot_page(void)
{
    for (unsigned threshold = 0; threshold < 3; threshold++) {
        struct guest *g = GUEST(64, code_hot);
        if (threshold)
            translated(g, threshold, false);
        guest_halts(g);
        g_assert_cmpuint(g->p->gpr[REG_RDI], ==, 400);
        guest_free(g);
    }
}

/* As many instructions as a block holds, each of which needs much out-of-line code. */
GUEST_CODE(64, code_many,
           "mov $100, %edx\n mov $0xa000, %ebx\n"
           "1: mov %ebx, %esi\n lea 0x800(%rbx), %rdi\n"
           ".rept 100\n mov $3, %ecx\n cmp %rax, %rdx\n rep movsb\n adc $0, %rax\n .endr\n"
           "dec %edx\n jz 2f\n jmp 1b\n 2:\n .rept 200\n rep movsb\n .endr\n hlt");
static void test_many(void)
{
    uint64_t expected[16];
    struct guest *g = GUEST(64, code_many);
    g->p->gpr[REG_RAX] = 50;
    guest_halts(g);
    memcpy(expected, g->p->gpr, sizeof(expected));
    guest_free(g);
    g = translated(GUEST(64, code_many), 1, false);
    g->p->gpr[REG_RAX] = 50;
    guest_halts(g);
    g_assert_cmpmem(expected, sizeof(expected), g->p->gpr, sizeof(expected));
    guest_free(g);
}

/* ---------------------------------------------------------------- shared checks */

/* Groups of every kind, over all distances from a page's end: pushes and pops with what moves or
 * reads RSP in between, a base that is moved by constants, one that is loaded anew, reads before
 * writes, vectors, homeless registers, branches out of the middle, and flags that live across. */
GUEST_CODE(64, code_groups,
           "xor %eax, %eax\n xor %edx, %edx\n mov $0x101000, %ebx\n mov $0x111000, %r8d\n"
           "mov %rsp, %r15\n mov $0x1fc, %ecx\n"
           "1: lea (%r8, %rcx, 4), %rsp\n lea (%rbx, %rcx, 8), %rsi\n mov %rsi, %r9\n"
           "   push %rcx\n push %rsp\n mov %rsp, %rdi\n push $-3\n xor %rdi, %rax\n push %r9\n"
           "   call 5f\n add $4, %rdx\n pop %rdi\n add %rdi, %rax\n pop %r10\n adc %r10, %rax\n"
           "   pop %rdi\n sub %rsp, %rdi\n add %rdi, %rdx\n pop %rdi\n add %rdi, %rdx\n"
           "   mov %rax, 8(%rsi)\n mov 16(%rsi), %rdi\n add $24, %rsi\n cmp %rdx, -8(%rsi)\n"
           "   jb 2f\n adc %edi, 4(%rsi)\n inc %rsi\n lock xadd %al, -9(%rsi)\n jp 3f\n"
           "   mov %ah, 40(%rsi)\n"
           "2: movdqu 3(%r9), %xmm1\n paddq %xmm1, %xmm2\n movq %xmm2, 20(%r9)\n"
           "   mov 28(%r9), %r10d\n add %r10, %rax\n mov %r10, 8(%r9)\n"
           "3: mov (%rsi), %rdi\n mov 1(%rsi), %dil\n add %rdi, %rax\n mov %rsi, (%rsi)\n"
           "   mov (%rsi), %rsi\n add 8(%rsi), %rdx\n setc 31(%rsi)\n mov %rdx, 64(%rsi)\n"
           "   and $-16, %r9\n movaps (%r9), %xmm3\n paddq %xmm3, %xmm2\n movaps %xmm2, 32(%r9)\n"
           "   dec %ecx\n jnz 1b\n movq %xmm2, %rdi\n mov %r15, %rsp\n hlt\n"
           "5: push %rbp\n push %rbx\n mov %rsp, %rbp\n add 8(%rsp), %rax\n pop %rbx\n pop %rbp\n"
           "   ret");
static struct guest *guest_groups(void)
{
    struct guest *g = GUEST(64, code_groups);
    g->p->cr4 |= CR4_OSFXSR;
    g->p->gpr[REG_RBP] = 0;
    processor_state_changed(g->p);
    for (unsigned n = 0; n < 0x20000; n++)
        g->ram[0x100000 + n] = (uint8_t)(n * 7 + n / 251);
    return g;
}
static void test_groups(void)
{
    struct guest *expected = guest_groups();
    guest_halts(expected);
    for (unsigned check = 0; check <= 1; check++) {
        struct guest *g = translated(guest_groups(), 1, check);
        guest_halts(g);
        g_assert_cmpmem(expected->p->gpr, 16 * 8, g->p->gpr, 16 * 8);
        g_assert_cmpmem(expected->ram + 0x100000, 0x20000, g->ram + 0x100000, 0x20000);
        if (check)
            check_clean(g);
        guest_free(g);
    }
    guest_free(expected);
}

/* A group reaches the page ABSENT in its middle: what came before is done, and RSP says so. */
enum { ABSENT = 0x40000 };
GUEST_CODE(64, code_push_fault,
           "mov $1000, %ecx\n 1: mov %rbx, %rsp\n push %rax\n push %rcx\n inc %edx\n push $5\n"
           "push %rdx\n sub $32, %rbx\n dec %ecx\n jnz 1b\n hlt");
GUEST_CODE(64, code_pop_fault,
           "mov $1000, %ecx\n 1: mov %rbx, %rsp\n pop %rdi\n pop %r9\n inc %edx\n pop %r10\n"
           "pop %rbp\n add $32, %rbx\n dec %ecx\n jnz 1b\n hlt");
GUEST_CODE(64, code_second_fault,
           "mov $1000, %ecx\n 1: mov (%rbx), %rax\n mov 8(%rbx), %rdi\n inc %edx\n add $8, %rbx\n"
           "dec %ecx\n jnz 1b\n hlt");
static struct guest *guest_absent(struct guest *g, uint64_t rbx)
{
    small_pages(g);
    guest_write(g, PAGE_TABLE + 8 * (ABSENT >> PAGE_BITS), 0, 8);
    guest_write(g, IDT + 16 * VECTOR_PF + 4, 1, 1); /* on another stack */
    for (uint64_t at = ABSENT - 2 * PAGE_BYTES; at < ABSENT + 3 * PAGE_BYTES; at += 8)
        guest_write(g, at, at, 8);
    g->p->gpr[REG_RBX] = rbx;
    g->p->gpr[REG_RDX] = g->p->gpr[REG_RBP] = g->p->gpr[REG_R10] = 0;
    return g;
}
static void test_group_faults(void)
{
    struct guest *g = guest_absent(GUEST(64, code_push_fault), ABSENT + 0x2810);
    guest_faults_with(g, VECTOR_PF, 12, 2); /* push 5: not present, write */
    g_assert_cmphex(g->p->cr2, ==, ABSENT + 0xff8);
    g_assert_cmphex(guest_frame(g, true).rsp, ==, ABSENT + 0x1000);
    g_assert_cmpuint(g->p->gpr[REG_RDX], ==, 193);
    g_assert_cmpuint(guest_read(g, ABSENT + 0x1000, 8), ==, 1000 - 192);
    g_assert_cmphex(guest_read(g, ABSENT + 0xff8, 8), ==, ABSENT + 0xff8);
    guest_free(g);

    g = guest_absent(GUEST(64, code_pop_fault), ABSENT - 0x1810);
    guest_faults_with(g, VECTOR_PF, 13, 0); /* pop r10 */
    g_assert_cmphex(g->p->cr2, ==, ABSENT);
    g_assert_cmphex(guest_frame(g, true).rsp, ==, ABSENT);
    g_assert_cmpuint(g->p->gpr[REG_RDX], ==, 193);
    g_assert_cmphex(g->p->gpr[REG_R9], ==, ABSENT - 8);
    g_assert_cmphex(g->p->gpr[REG_R10], ==, ABSENT - 32);
    guest_free(g);

    g = guest_absent(GUEST(64, code_second_fault), ABSENT - 0x1000);
    guest_faults_with(g, VECTOR_PF, 8, 0);
    g_assert_cmphex(g->p->cr2, ==, ABSENT);
    g_assert_cmphex(g->p->gpr[REG_RAX], ==, ABSENT - 8);
    g_assert_cmphex(g->p->gpr[REG_RDI], ==, ABSENT - 8);
    g_assert_cmpuint(g->p->gpr[REG_RDX], ==, 511);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/translate/system", test_system);
    g_test_add_func("/translate/shadow", test_shadow);
    g_test_add_func("/translate/flow", test_flow);
    g_test_add_func("/translate/flags", test_flags);
    g_test_add_func("/translate/modes", test_modes);
    g_test_add_func("/translate/changes", test_changes);
    g_test_add_func("/translate/written-from-outside", test_written_from_outside);
    g_test_add_func("/translate/full", test_full);
    g_test_add_func("/translate/fault-in-block", test_fault_in_block);
    g_test_add_func("/translate/crossing", test_crossing);
    g_test_add_func("/translate/hot-page", test_hot_page);
    g_test_add_func("/translate/strings", test_strings);
    g_test_add_func("/translate/x87", test_x87);
    g_test_add_func("/translate/32", test_32);
    g_test_add_func("/translate/32-gs-limit", test_gs_limit);
    g_test_add_func("/translate/x87-exceptions", test_x87_exceptions);
    g_test_add_func("/translate/halves", test_halves);
    g_test_add_func("/translate/groups", test_groups);
    g_test_add_func("/translate/many", test_many);
    g_test_add_func("/translate/group-faults", test_group_faults);
    return g_test_run();
}
