/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * General instructions where no native run can tell: 16- and 32-bit stacks and addresses, precise
 * faults, restarts of string instructions, device memory and ports, locked accesses between
 * processors.  Expected results are the SDM's.
 */
#include "guest.h"

#include <string.h>

enum {
    DEVICE = 0x2000000,      /* guest-physical, without memory */
    LAST = GUEST_BYTES - 16, /* the end of what 64-bit guests have mapped */
};

static uint64_t reg(const struct guest *g, unsigned r)
{
    return g->p->gpr[r];
}

/* ---------------------------------------------------------------- stacks */

GUEST_CODE(16, code_stack16, "push %ax\n pushl %ebx\n pop %cx\n pop %dx\n pop %si\n hlt");
static void test_stack16(void)
{
    struct guest *g = GUEST(real, code_stack16);
    g->p->gpr[REG_RSP] = 0xabcd0002; /* ESP above SP is kept, SP wraps */
    g->p->gpr[REG_RAX] = 0x1111;
    g->p->gpr[REG_RBX] = 0x33332222;
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RCX), ==, 0x2222);
    g_assert_cmphex(reg(g, REG_RDX) & 0xffff, ==, 0x3333);
    g_assert_cmphex(reg(g, REG_RSI), ==, 0x1111);
    g_assert_cmphex(reg(g, REG_RSP), ==, 0xabcd0002);
    g_assert_cmphex(guest_read(g, 0, 2), ==, 0x1111);
    g_assert_cmphex(guest_read(g, 0xfffc, 4), ==, 0x33332222);
    guest_free(g);
}

GUEST_CODE(32, code_stack16_in_32, "push %eax\n pushw $0x55\n call 1f\n hlt\n 1: pop %edx\n hlt");
static void test_stack16_in_32(void)
{
    struct guest *g = GUEST(32, code_stack16_in_32);
    guest_segment(g, SEG_SS, DATA16);
    g->p->gpr[REG_RSP] = 0x12340000 | DATA;
    g->p->gpr[REG_RAX] = 0xcafebabe;
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RSP), ==, (0x12340000 | DATA) - 6);
    g_assert_cmphex(guest_read(g, DATA - 4, 4), ==, 0xcafebabe);
    g_assert_cmphex(guest_read(g, DATA - 6, 2), ==, 0x55);
    g_assert_cmphex(reg(g, REG_RDX), ==, CODE + 9);
    guest_free(g);
}

GUEST_CODE(32, code_pusha, "pusha\n popa\n pushaw\n hlt");
static void test_pusha(void)
{
    struct guest *g = GUEST(32, code_pusha);
    for (unsigned r = 0; r < 8; r++)
        if (r != REG_RSP)
            g->p->gpr[r] = 0x01010101 * (r + 1);
    guest_halts(g);
    for (unsigned r = 0; r < 8; r++) {
        uint64_t value = r == REG_RSP ? STACK0 : 0x01010101 * (r + 1);
        if (r != REG_RSP)
            g_assert_cmphex(reg(g, r), ==, value);
        g_assert_cmphex(guest_read(g, STACK0 - 2 * (r + 1), 2), ==, value & 0xffff);
        if (r >= 4) /* the first four were overwritten */
            g_assert_cmphex(guest_read(g, STACK0 - 4 * (r + 1), 4), ==, value);
    }
    g_assert_cmphex(reg(g, REG_RSP), ==, STACK0 - 16);
    guest_free(g);
}

GUEST_CODE(32, code_pusha_fault, "mov %eax, %ss\n mov $0x10, %esp\n pusha");
GUEST_CODE(32, code_enter_fault, "mov %eax, %ss\n mov $0x40, %esp\n enter $0x100, $3");
static void test_stack_faults_change_nothing(void)
{
    struct guest *g = GUEST(32, code_pusha_fault);
    g->p->gpr[REG_RAX] = SMALL;
    g->p->vmcs.exception_bitmap = 1u << VECTOR_SS;
    processor_controls_changed(g->p);
    memset(g->ram + DATA, 0xaa, 0x100);
    guest_exit(g, EXIT_REASON_EXCEPTION_NMI); /* the fifth push */
    g_assert_cmphex(reg(g, REG_RSP), ==, 0x10);
    g_assert_cmphex(g->ram[DATA + 0xf], ==, 0xaa);
    guest_free(g);

    g = GUEST(32, code_enter_fault);
    g->p->gpr[REG_RAX] = SMALL;
    g->p->gpr[REG_RBP] = 0x80;
    g->p->vmcs.exception_bitmap = 1u << VECTOR_SS;
    processor_controls_changed(g->p);
    memset(g->ram + DATA, 0xaa, 0x100);
    guest_exit(g, EXIT_REASON_EXCEPTION_NMI);
    g_assert_cmphex(reg(g, REG_RSP), ==, 0x40);
    g_assert_cmphex(reg(g, REG_RBP), ==, 0x80);
    for (unsigned n = 0; n < 0x40; n++)
        g_assert_cmphex(g->ram[DATA + n], ==, 0xaa);
    guest_free(g);
}

GUEST_CODE(32, code_pop_memory, "push $0x1234\n push $0x5678\n pop (%esp)\n pop %ecx\n hlt");
GUEST_CODE(64, code_pop_memory_fault, "push $0x77\n pop (%rbx)\n hlt");
static void test_pop_memory(void)
{
    struct guest *g = GUEST(32, code_pop_memory);
    guest_halts(g); /* the address is that after the pop */
    g_assert_cmphex(reg(g, REG_RCX), ==, 0x5678);
    g_assert_cmphex(reg(g, REG_RSP), ==, STACK0);
    guest_free(g);
    g = GUEST(64, code_pop_memory_fault);
    g->p->gpr[REG_RBX] = GUEST_BYTES;
    guest_faults_with(g, VECTOR_PF, 2, 2);
    g_assert_cmphex(guest_frame(g, true).rsp, ==, STACK0 - 8);
    guest_free(g);
}

GUEST_CODE(16, code_enter16, "enter $0x10, $2\n mov %sp, %ax\n leave\n hlt");
static void test_enter16(void)
{
    struct guest *g = GUEST(real, code_enter16);
    g->p->gpr[REG_RBP] = 0x9990a100;
    guest_write(g, 0xa0fe, 0x4321, 2);
    guest_halts(g);
    g_assert_cmphex(guest_read(g, 0x6ffe, 2), ==, 0xa100);
    g_assert_cmphex(guest_read(g, 0x6ffc, 2), ==, 0x4321);
    g_assert_cmphex(guest_read(g, 0x6ffa, 2), ==, 0x6ffe);
    g_assert_cmphex(reg(g, REG_RAX), ==, 0x6ffa - 0x10);
    g_assert_cmphex(reg(g, REG_RBP), ==, 0x9990a100);
    g_assert_cmphex(reg(g, REG_RSP), ==, 0x7000);
    guest_free(g);
}

GUEST_CODE(32, code_pushf, "pushf\n pop %eax\n hlt");
static void test_pushf(void)
{
    struct guest *g = GUEST(32, code_pushf);
    processor_set_rflags(g->p, FLAG_RF | FLAG_AC | FLAG_ID | FLAG_NT | FLAG_ONE | FLAG_ZF);
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RAX), ==, FLAG_AC | FLAG_ID | FLAG_NT | FLAG_ONE | FLAG_ZF);
    guest_free(g);
}

/* ---------------------------------------------------------------- branches */

GUEST_CODE(32, code_jump_limit, "mov $0xffffffff, %eax\n cmp %eax, %eax\n jz .+0x100000");
GUEST_CODE(32, code_call_limit, "call *%ebx");
static void test_branch_limits(void)
{
    struct guest *g = GUEST(32, code_jump_limit);
    g->p->segment[SEG_CS].limit = 0xffff;
    processor_state_changed(g->p);
    guest_faults_with(g, VECTOR_GP, 7, 0);
    guest_free(g);
    g = GUEST(32, code_call_limit);
    g->p->segment[SEG_CS].limit = 0xffff;
    g->p->gpr[REG_RBX] = 0x10000;
    processor_state_changed(g->p);
    guest_faults_with(g, VECTOR_GP, 0, 0);
    g_assert_cmphex(reg(g, REG_RSP), ==, STACK0 - 16); /* the frame alone: no return address */
    guest_free(g);
}

GUEST_CODE(64, code_ret_far_away, "movabs $0x800000000000, %rax\n push %rax\n ret");
GUEST_CODE(64, code_call_far_away, "movabs $0x800000000000, %rax\n call *%rax");
static void test_branch_canonical(void)
{
    struct guest *g = GUEST(64, code_ret_far_away);
    guest_faults_with(g, VECTOR_GP, 11, 0);
    g_assert_cmphex(guest_frame(g, true).rsp, ==, STACK0 - 8);
    guest_free(g);
    g = GUEST(64, code_call_far_away);
    guest_write(g, STACK0 - 8, 0x5a5a, 8);
    guest_faults_with(g, VECTOR_GP, 10, 0);
    g_assert_cmphex(guest_frame(g, true).rsp, ==, STACK0);
    guest_free(g);
}

/* A 16-bit operand size truncates EIP. */
GUEST_CODE(32, code_call16, ".byte 0x66, 0xe8; .word 1f - . - 2\n hlt\n 1: hlt");
GUEST_CODE(32, code_loop,
           "1: inc %eax\n addr16 loop 1b\n jcxz 2f\n hlt\n 2: jecxz 3f\n hlt\n 3: hlt");
static void test_small_branches(void)
{
    struct guest *g = GUEST(32, code_call16);
    guest_halts(g);
    g_assert_cmphex(g->p->rip, ==, CODE + 5);
    g_assert_cmphex(reg(g, REG_RSP), ==, STACK0 - 2);
    g_assert_cmphex(guest_read(g, STACK0 - 2, 2), ==, CODE + 4);
    guest_free(g);
    g = GUEST(32, code_loop);
    g->p->gpr[REG_RCX] = 0x70003; /* CX counts, the rest stays and makes ECX other than 0 */
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RAX), ==, 3);
    g_assert_cmphex(reg(g, REG_RCX), ==, 0x70000);
    g_assert_cmphex(g->p->rip, ==, CODE + 10);
    guest_free(g);
}

/* ---------------------------------------------------------------- string instructions */

GUEST_CODE(64, code_movsb, "rep movsb\n hlt");
GUEST_CODE(64, code_movsb_down, "std\n rep movsb\n hlt");
GUEST_CODE(64, code_movsq, "rep movsq\n hlt");
static void test_movs_overlap(void)
{
    /* One byte up: the first byte fills everything, across pages. */
    struct guest *g = GUEST(64, code_movsb);
    g->ram[0x100ff0] = 0x5c;
    g->p->gpr[REG_RSI] = 0x100ff0;
    g->p->gpr[REG_RDI] = 0x100ff1;
    g->p->gpr[REG_RCX] = 9000;
    guest_halts(g);
    for (unsigned n = 0; n <= 9000; n++)
        g_assert_cmphex(g->ram[0x100ff0 + n], ==, 0x5c);
    g_assert_cmphex(g->ram[0x100ff0 + 9001], ==, 0);
    g_assert_cmphex(reg(g, REG_RCX), ==, 0);
    g_assert_cmphex(reg(g, REG_RSI), ==, 0x100ff0 + 9000);
    g_assert_cmphex(reg(g, REG_RDI), ==, 0x100ff1 + 9000);
    guest_free(g);

    /* Downwards, an overlapping copy upwards is a plain move. */
    g = GUEST(64, code_movsb_down);
    for (unsigned n = 0; n < 5000; n++)
        g->ram[0x100ff0 + n] = (uint8_t)(n * 7);
    g->p->gpr[REG_RSI] = 0x100ff0 + 4999;
    g->p->gpr[REG_RDI] = 0x100ff0 + 4999 + 3;
    g->p->gpr[REG_RCX] = 5000;
    guest_halts(g);
    for (unsigned n = 0; n < 5000; n++)
        g_assert_cmphex(g->ram[0x100ff3 + n], ==, (uint8_t)(n * 7));
    g_assert_cmphex(reg(g, REG_RSI), ==, 0x100fef);
    guest_free(g);

    /* Elements that straddle pages, source and destination differently. */
    g = GUEST(64, code_movsq);
    for (unsigned n = 0; n < 16000; n++)
        g->ram[0x100003 + n] = (uint8_t)(n * 11 + (n >> 8));
    g->p->gpr[REG_RSI] = 0x100003;
    g->p->gpr[REG_RDI] = 0x200006;
    g->p->gpr[REG_RCX] = 2000;
    guest_halts(g);
    g_assert_cmpmem(g->ram + 0x100003, 16000, g->ram + 0x200006, 16000);
    g_assert_cmphex(g->ram[0x200006 + 16000], ==, 0);
    guest_free(g);
}

GUEST_CODE(16, code_movs_wrap, "cld\n rep movsb\n hlt");
static void test_string_wrap16(void)
{
    struct guest *g = GUEST(real, code_movs_wrap);
    g->p->segment[SEG_ES].base = 0x100000;
    g->p->segment[SEG_ES].selector = 0;
    for (unsigned n = 0; n < 16; n++)
        g->ram[0xfff8 + n - (n < 8 ? 0 : 0x10000)] = (uint8_t)(0x40 + n);
    g->p->gpr[REG_RSI] = 0xaaaafff8;
    g->p->gpr[REG_RDI] = 0xbbbbfffc;
    g->p->gpr[REG_RCX] = 0xcccc0010;
    processor_state_changed(g->p);
    guest_halts(g);
    for (unsigned n = 0; n < 16; n++)
        g_assert_cmphex(g->ram[0x100000 + ((0xfffc + n) & 0xffff)], ==, 0x40 + n);
    g_assert_cmphex(reg(g, REG_RSI), ==, 0xaaaa0008);
    g_assert_cmphex(reg(g, REG_RDI), ==, 0xbbbb000c);
    g_assert_cmphex(reg(g, REG_RCX), ==, 0xcccc0000);
    guest_free(g);
}

GUEST_CODE(64, code_stos_32, "addr32 rep stosl\n hlt");
static void test_string_addr32(void)
{
    struct guest *g = GUEST(64, code_stos_32);
    g->p->gpr[REG_RAX] = 0x11223344;
    g->p->gpr[REG_RDI] = 0xffffffff00100000;
    g->p->gpr[REG_RCX] = 0xffffffff00000003;
    guest_halts(g);
    g_assert_cmphex(guest_read(g, 0x100000, 8), ==, 0x1122334411223344);
    g_assert_cmphex(guest_read(g, 0x100008, 8), ==, 0x11223344);
    g_assert_cmphex(reg(g, REG_RDI), ==, 0x10000c); /* written as 32 bits */
    g_assert_cmphex(reg(g, REG_RCX), ==, 0);
    guest_free(g);
}

/* A fault in the middle: what was done stays done, the registers say how far, and it goes on. */
static void test_string_fault(void)
{
    struct guest *g = GUEST(64, code_movsb);
    memset(g->ram + 0x100000, 0x3d, 64);
    g->p->gpr[REG_RSI] = 0x100000;
    g->p->gpr[REG_RDI] = LAST;
    g->p->gpr[REG_RCX] = 64;
    guest_faults_with(g, VECTOR_PF, 0, 2);
    g_assert_cmphex(g->p->cr2, ==, GUEST_BYTES);
    g_assert_cmphex(reg(g, REG_RCX), ==, 48);
    g_assert_cmphex(reg(g, REG_RSI), ==, 0x100010);
    g_assert_cmphex(reg(g, REG_RDI), ==, GUEST_BYTES);
    g_assert_cmphex(g->ram[GUEST_BYTES - 1], ==, 0x3d);
    g_assert_true(guest_frame(g, true).rflags & FLAG_RF);
    guest_free(g);
}

GUEST_CODE(64, code_scas, "repne scasb\n hlt");
GUEST_CODE(64, code_cmps, "repe cmpsw\n hlt");
static void test_scas_cmps(void)
{
    struct guest *g = GUEST(64, code_scas);
    memset(g->ram + 0x100000, 'x', 5000);
    g->ram[0x100000 + 4500] = 0;
    g->p->gpr[REG_RDI] = 0x100000;
    g->p->gpr[REG_RCX] = ~0ull;
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RDI), ==, 0x100000 + 4501);
    g_assert_cmphex(reg(g, REG_RCX), ==, ~0ull - 4501);
    g_assert_true(g->p->status & FLAG_ZF);
    guest_free(g);
    g = GUEST(64, code_cmps);
    g->ram[0x200000 + 100] = 1;
    g->p->gpr[REG_RSI] = 0x100000;
    g->p->gpr[REG_RDI] = 0x200000;
    g->p->gpr[REG_RCX] = 1000;
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RCX), ==, 1000 - 51);
    g_assert_cmphex(g->p->status & (FLAG_ZF | FLAG_CF), ==, FLAG_CF);
    guest_free(g);
    g = GUEST(64, code_cmps); /* no iteration: the flags stay */
    g->p->gpr[REG_RCX] = 0;
    g->p->gpr[REG_RSI] = g->p->gpr[REG_RDI] = ~0ull << 40;
    g->p->status = FLAG_ZF | FLAG_OF;
    guest_halts(g);
    g_assert_cmphex(g->p->status, ==, FLAG_ZF | FLAG_OF);
    guest_free(g);
}

/* Single steps retire one iteration each. */
static void test_string_step(void)
{
    struct guest *g = GUEST(64, code_movsb);
    g->p->gpr[REG_RSI] = 0x100000;
    g->p->gpr[REG_RDI] = 0x200000;
    g->p->gpr[REG_RCX] = 3 * PAGE_BYTES;
    uint64_t left = 3 * PAGE_BYTES;
    g->p->vmcs.cpu_based_controls |= CPU_MONITOR_TRAP_FLAG;
    processor_controls_changed(g->p);
    for (unsigned n = 0; n < 3; n++) {
        guest_exit(g, EXIT_REASON_MONITOR_TRAP_FLAG);
        g_assert_cmphex(g->p->rip, ==, CODE);
        g_assert_cmphex(reg(g, REG_RCX), ==, --left);
    }
    g->p->vmcs.cpu_based_controls &= ~CPU_MONITOR_TRAP_FLAG;
    processor_controls_changed(g->p);
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RCX), ==, 0);
    guest_free(g);
}

/* A string instruction that writes the code after it. */
GUEST_CODE(64, code_movs_code, "rep movsb\n 1: ud2\n ud2\n .skip 60, 0x90\n hlt");
static void test_string_writes_code(void)
{
    static const uint8_t replacement[] = {0xff, 0xc0, 0xff, 0xc0}; /* inc %eax, twice */
    struct guest *g = GUEST(64, code_movs_code);
    memcpy(g->ram + 0x100000, replacement, sizeof(replacement));
    g->p->gpr[REG_RSI] = 0x100000;
    g->p->gpr[REG_RDI] = CODE + 2;
    g->p->gpr[REG_RCX] = sizeof(replacement);
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RAX), ==, 2);
    guest_free(g);
}

/* ---------------------------------------------------------------- devices */

/* Expects an access, and answers reads with VALUE. */
static void expect_access(struct guest *g, unsigned reason, uint64_t address, unsigned size,
                          bool write, uint64_t value)
{
    struct bus_access *a = &g->p->vmcs.access;
    guest_exit(g, reason);
    g_assert_cmphex(a->address, ==, address);
    g_assert_cmpuint(a->size, ==, size);
    g_assert_cmpint(a->write, ==, write);
    uint64_t data = 0;
    memcpy(&data, a->data, size);
    if (write)
        g_assert_cmphex(data, ==, value);
    else
        memcpy(a->data, &value, size);
}

GUEST_CODE(32, code_device_rmw, "add %eax, (%ebx)\n hlt");
GUEST_CODE(32, code_device_locked, "lock xadd %eax, (%ebx)\n xchg %ecx, (%ebx)\n hlt");
GUEST_CODE(32, code_device_cmpxchg, "lock cmpxchg8b (%esi)\n hlt");
static void test_device_rmw(void)
{
    struct guest *g = GUEST(32, code_device_rmw);
    g->p->gpr[REG_RAX] = 0xf0000000;
    g->p->gpr[REG_RBX] = DEVICE;
    g->p->status = 0;
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 4, false, 0x20000001);
    g_assert_cmphex(g->p->status, ==, 0); /* nothing is visible before the write */
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 4, true, 0x10000001);
    guest_halts(g);
    g_assert_cmphex(g->p->status, ==, FLAG_CF);
    guest_free(g);

    g = GUEST(32, code_device_locked);
    g->p->gpr[REG_RAX] = 5;
    g->p->gpr[REG_RCX] = 9;
    g->p->gpr[REG_RBX] = DEVICE;
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 4, false, 100);
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 4, true, 105);
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 4, false, 105);
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 4, true, 9);
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RAX), ==, 100);
    g_assert_cmphex(reg(g, REG_RCX), ==, 105);
    guest_free(g);

    g = GUEST(32, code_device_cmpxchg); /* unequal: what was read is written back */
    g->p->gpr[REG_RSI] = DEVICE;
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 8, false, 0x1122334455667788);
    expect_access(g, EXIT_REASON_MMIO, DEVICE, 8, true, 0x1122334455667788);
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RAX), ==, 0x55667788);
    g_assert_cmphex(reg(g, REG_RDX), ==, 0x11223344);
    guest_free(g);
}

GUEST_CODE(32, code_device_movs, "rep movsb\n hlt");
static void test_device_movs(void)
{
    struct guest *g = GUEST(32, code_device_movs);
    g->p->gpr[REG_RSI] = DEVICE;
    g->p->gpr[REG_RDI] = 0x100000;
    g->p->gpr[REG_RCX] = 3;
    for (unsigned n = 0; n < 3; n++) {
        expect_access(g, EXIT_REASON_MMIO, DEVICE + n, 1, false, 0x61 + n);
        g_assert_cmphex(reg(g, REG_RCX), ==, 3 - n);
    }
    guest_halts(g);
    g_assert_cmpmem(g->ram + 0x100000, 4, "abc", 4);
    guest_free(g);

    g = GUEST(32, code_device_movs); /* device to device */
    g->p->gpr[REG_RSI] = DEVICE;
    g->p->gpr[REG_RDI] = DEVICE + 0x1000;
    g->p->gpr[REG_RCX] = 2;
    for (unsigned n = 0; n < 2; n++) {
        expect_access(g, EXIT_REASON_MMIO, DEVICE + n, 1, false, 0x61 + n);
        expect_access(g, EXIT_REASON_MMIO, DEVICE + 0x1000 + n, 1, true, 0x61 + n);
    }
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RDI), ==, DEVICE + 0x1002);
    guest_free(g);
}

GUEST_CODE(64, code_ports, "in $0x71, %al\n in %dx, %eax\n .byte 0x48; out %eax, %dx\n hlt");
GUEST_CODE(64, code_outs, "rep outsw\n hlt");
GUEST_CODE(64, code_ins, "rep insl\n hlt");
static void test_ports(void)
{
    struct guest *g = GUEST(64, code_ports);
    g->p->gpr[REG_RAX] = 0x1122334455667788;
    g->p->gpr[REG_RDX] = 0x12cf8;
    expect_access(g, EXIT_REASON_PIO, 0x71, 1, false, 0xee);
    expect_access(g, EXIT_REASON_PIO, 0x2cf8, 4, false, 0x80808080);
    g_assert_cmphex(reg(g, REG_RAX), ==, 0x11223344556677ee);
    expect_access(g, EXIT_REASON_PIO, 0x2cf8, 4, true, 0x80808080);
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RAX), ==, 0x80808080);
    guest_free(g);

    g = GUEST(64, code_outs);
    memcpy(g->ram + 0x100000, "outs", 4);
    g->p->gpr[REG_RSI] = 0x100000;
    g->p->gpr[REG_RCX] = 2;
    g->p->gpr[REG_RDX] = 0x3f8;
    expect_access(g, EXIT_REASON_PIO, 0x3f8, 2, true, 'o' | 'u' << 8);
    expect_access(g, EXIT_REASON_PIO, 0x3f8, 2, true, 't' | 's' << 8);
    guest_halts(g);
    guest_free(g);

    g = GUEST(64, code_ins); /* the second element faults before its port is read */
    g->p->gpr[REG_RDI] = GUEST_BYTES - 4;
    g->p->gpr[REG_RCX] = 2;
    g->p->gpr[REG_RDX] = 0x1f0;
    expect_access(g, EXIT_REASON_PIO, 0x1f0, 4, false, 0xfeedface);
    guest_faults_with(g, VECTOR_PF, 0, 2);
    g_assert_cmphex(guest_read(g, GUEST_BYTES - 4, 4), ==, 0xfeedface);
    g_assert_cmphex(reg(g, REG_RCX), ==, 1);
    guest_free(g);
}

/* ---------------------------------------------------------------- locked and atomic */

GUEST_CODE(64, code_lock_across, "lock addl $1, (%rbx)\n xchg %eax, (%rbx)\n hlt");
GUEST_CODE(64, code_lock_across_fault, "lock addl $1, (%rbx)\n hlt");
GUEST_CODE(64, code_cmpxchg16b, "cmpxchg16b (%rbx)\n hlt");
static void test_lock_across_pages(void)
{
    struct guest *g = GUEST(64, code_lock_across);
    guest_write(g, 0x100ffe, 0x0000ffff, 4);
    g->p->gpr[REG_RBX] = 0x100ffe;
    g->p->gpr[REG_RAX] = 0x12345678;
    guest_halts(g);
    g_assert_cmphex(reg(g, REG_RAX), ==, 0x10000);
    g_assert_cmphex(guest_read(g, 0x100ffe, 4), ==, 0x12345678);
    guest_free(g);
    g = GUEST(64, code_lock_across_fault);
    g->p->gpr[REG_RBX] = GUEST_BYTES - 2;
    guest_faults_with(g, VECTOR_PF, 0, 2);
    g_assert_cmphex(g->p->cr2, ==, GUEST_BYTES);
    g_assert_cmphex(guest_read(g, GUEST_BYTES - 2, 2), ==, 0);
    guest_free(g);
    g = GUEST(64, code_cmpxchg16b);
    g->p->gpr[REG_RBX] = 0x100008;
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);
}

/* Two processors count in the same places: one within a page, one across two. */
GUEST_CODE(64, code_count,
           "1: lock incl (%rbx)\n lock incl (%rsi)\n mov $1, %eax\n lock xadd %eax, 8(%rbx)\n"
           "2: mov 16(%rbx), %rax\n lea 1(%rax), %rdx\n lock cmpxchg %rdx, 16(%rbx)\n jnz 2b\n"
           "dec %ecx\n jnz 1b\n hlt");
static gpointer count_thread(gpointer opaque)
{
    struct processor *p = opaque;
    return GUINT_TO_POINTER(vmx_enter(p));
}
static void test_smp_atomic(void)
{
    enum { ROUNDS = 30000 };
    struct guest *g = GUEST(64, code_count);
    struct processor *other = processor_new(g->memory), *both[2] = {g->p, other};
    other->cr0 = g->p->cr0;
    other->cr3 = g->p->cr3;
    other->cr4 = g->p->cr4;
    other->msr.efer = g->p->msr.efer;
    memcpy(other->segment, g->p->segment, sizeof(other->segment));
    other->rip = g->p->rip;
    other->vmcs.cpu_based_controls = CPU_HLT_EXITING;
    processor_controls_changed(other);
    GThread *threads[2];
    for (unsigned n = 0; n < 2; n++) {
        both[n]->gpr[REG_RBX] = 0x100100;
        both[n]->gpr[REG_RSI] = 0x200ffd;
        both[n]->gpr[REG_RCX] = ROUNDS;
        processor_state_changed(both[n]);
        threads[n] = g_thread_new("vcpu", count_thread, both[n]);
    }
    for (unsigned n = 0; n < 2; n++)
        g_assert_cmpuint(GPOINTER_TO_UINT(g_thread_join(threads[n])), ==, EXIT_REASON_HLT);
    g_assert_cmpuint(guest_read(g, 0x100100, 4), ==, 2 * ROUNDS);
    g_assert_cmpuint(guest_read(g, 0x100108, 4), ==, 2 * ROUNDS);
    g_assert_cmpuint(guest_read(g, 0x100110, 8), ==, 2 * ROUNDS);
    g_assert_cmpuint(guest_read(g, 0x200ffd, 4), ==, 2 * ROUNDS);
    processor_free(other);
    guest_free(g);
}

/* ---------------------------------------------------------------- decimal */

GUEST_CODE(32, code_daa, "daa\n hlt");
GUEST_CODE(32, code_das, "das\n hlt");
GUEST_CODE(32, code_aaa, "aaa\n hlt");
GUEST_CODE(32, code_aas, "aas\n hlt");
GUEST_CODE(32, code_aam, "aam\n hlt");
GUEST_CODE(32, code_aad, "aad\n hlt");
GUEST_CODE(32, code_aam0, ".byte 0xd4, 0\n hlt");
GUEST_CODE(32, code_salc, ".byte 0xd6\n hlt");
static void test_decimal(void)
{
    static const struct {
        const uint8_t *code;
        uint16_t ax, ax_after;
        uint32_t flags, flags_after, compared;
    } rows[] = {
#define ALL_BUT_OF (FLAGS_STATUS & ~FLAG_OF)
        {code_daa, 0x9a, 0x00, 0, FLAG_AF | FLAG_CF | FLAG_ZF | FLAG_PF, ALL_BUT_OF},
        {code_daa, 0x79 + 0x35, 0x14, FLAG_AF | 0, FLAG_AF | FLAG_CF | FLAG_PF, ALL_BUT_OF},
        {code_daa, 0x12, 0x12, 0, FLAG_PF, ALL_BUT_OF},
        {code_daa, 0x02, 0x62, FLAG_CF, FLAG_CF, ALL_BUT_OF},
        {code_das, 0x47 - 0x35, 0x12, 0, FLAG_PF, ALL_BUT_OF},
        {code_das, 0xee, 0x88, FLAG_CF | FLAG_AF, FLAG_CF | FLAG_AF | FLAG_SF | FLAG_PF,
         ALL_BUT_OF},
        {code_das, 0x05, 0xff, FLAG_AF, FLAG_CF | FLAG_AF | FLAG_SF | FLAG_PF, ALL_BUT_OF},
        {code_aaa, 0x020b, 0x0301, 0, FLAG_AF | FLAG_CF, FLAG_AF | FLAG_CF},
        {code_aaa, 0x0205, 0x0205, 0, 0, FLAG_AF | FLAG_CF},
        {code_aaa, 0x02fa, 0x0400, 0, FLAG_AF | FLAG_CF, FLAG_AF | FLAG_CF}, /* AX += 0x106 */
        {code_aas, 0x020c, 0x0106, 0, FLAG_AF | FLAG_CF, FLAG_AF | FLAG_CF},
        {code_aas, 0x0201, 0x000b, FLAG_AF, FLAG_AF | FLAG_CF, FLAG_AF | FLAG_CF},
        {code_aam, 0x003f, 0x0603, 0, FLAG_PF, FLAG_SF | FLAG_ZF | FLAG_PF},
        {code_aad, 0x0603, 0x003f, 0, FLAG_PF, FLAG_SF | FLAG_ZF | FLAG_PF},
        {code_salc, 0x1200, 0x12ff, FLAG_CF, FLAG_CF, FLAGS_STATUS},
        {code_salc, 0x1234, 0x1200, FLAG_ZF, FLAG_ZF, FLAGS_STATUS},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = guest_32(rows[n].code, rows[n].code + 4);
        g->p->gpr[REG_RAX] = 0xabcd0000 | rows[n].ax;
        g->p->status = rows[n].flags;
        guest_halts(g);
        g_assert_cmphex(reg(g, REG_RAX), ==, 0xabcd0000 | rows[n].ax_after);
        g_assert_cmphex(g->p->status & rows[n].compared, ==, rows[n].flags_after);
        guest_free(g);
    }
    struct guest *g = GUEST(32, code_aam0);
    guest_faults(g, VECTOR_DE, 0);
    guest_free(g);
}

/* ---------------------------------------------------------------- others */

GUEST_CODE(16, code_bt16,
           "bts %ax, (%bx)\n mov %es:(%bx,%si), %dl\n xlat\n lea 3(%bx,%di), %ecx\n hlt");
static void test_addresses16(void)
{
    struct guest *g = GUEST(real, code_bt16);
    g->p->gpr[REG_RAX] = (uint16_t)-17; /* bit 15 of the word two words below */
    g->p->gpr[REG_RBX] = 0x77770002;    /* wraps to 0xfffe */
    g->p->gpr[REG_RSI] = 0xffff;
    g->p->gpr[REG_RDI] = 0xfffe;
    g->ram[0x0001] = 0x99;
    g->ram[0x00f1] = 0x42;
    guest_halts(g);
    g_assert_cmphex(guest_read(g, 0xfffe, 2), ==, 0x8000);
    g_assert_cmphex(reg(g, REG_RDX) & 0xff, ==, 0x99);
    g_assert_cmphex(reg(g, REG_RAX), ==, 0xff42); /* from 2 + 0xef */
    g_assert_cmphex(reg(g, REG_RCX), ==, 3);
    guest_free(g);
}

GUEST_CODE(64, code_pause, "1: pause\n dec %ecx\n jnz 1b\n hlt");
static void test_pause(void)
{
    struct guest *g = GUEST(64, code_pause);
    g->p->gpr[REG_RCX] = 20;
    g->p->vmcs.cpu_based_controls2 = CPU2_PAUSE_LOOP_EXITING;
    g->p->vmcs.ple_gap = UINT32_MAX; /* ticks: this host may be slow */
    g->p->vmcs.ple_window = 8;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_PAUSE);
    g_assert_cmphex(g->p->rip, ==, CODE);
    g_assert_cmpuint(reg(g, REG_RCX), ==, 12);
    g->p->vmcs.cpu_based_controls2 = 0;
    g->p->vmcs.cpu_based_controls |= CPU_PAUSE_EXITING;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_PAUSE);
    processor_skip_instruction(g->p);
    guest_exit(g, EXIT_REASON_PAUSE);
    g_assert_cmpuint(reg(g, REG_RCX), ==, 11);
    g->p->vmcs.cpu_based_controls &= ~CPU_PAUSE_EXITING;
    processor_controls_changed(g->p);
    guest_halts(g);
    guest_free(g);
}

GUEST_CODE(64, code_random, "rdrand %rax\n rdrand %rbx\n rdseed %ecx\n rdrand %dx\n hlt");
static void test_random(void)
{
    struct guest *g = GUEST(64, code_random);
    g->p->status = FLAGS_STATUS;
    g->p->gpr[REG_RCX] = g->p->gpr[REG_RDX] = 0x7777777777777777;
    guest_halts(g);
    g_assert_cmphex(g->p->status, ==, FLAG_CF);
    g_assert_cmphex(reg(g, REG_RAX), !=, reg(g, REG_RBX));
    g_assert_cmphex(reg(g, REG_RCX) >> 32, ==, 0);
    g_assert_cmphex(reg(g, REG_RDX) >> 16, ==, 0x777777777777);
    guest_free(g);
    g = GUEST(64, code_random);
    g->p->vmcs.cpu_based_controls2 = CPU2_RDRAND_EXITING;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_RDRAND);
    g_assert_cmphex(g->p->rip, ==, CODE);
    guest_free(g);
}

GUEST_CODE(64, code_clflush, "clflush (%rax)\n clflush (%rbx)\n hlt");
GUEST_CODE(64, code_idiv, "idiv %rcx\n hlt");
static void test_faults(void)
{
    struct guest *g = GUEST(64, code_clflush);
    g->p->gpr[REG_RBX] = GUEST_BYTES;
    guest_faults_with(g, VECTOR_PF, 3, 0);
    guest_free(g);
    g = GUEST(64, code_idiv); /* -2^64 / -1, whose quotient does not fit */
    g->p->gpr[REG_RDX] = ~0ull;
    g->p->gpr[REG_RCX] = ~0ull;
    guest_faults(g, VECTOR_DE, 0);
    g_assert_cmphex(reg(g, REG_RDX), ==, ~0ull);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/exec/stack16", test_stack16);
    g_test_add_func("/exec/stack16-in-32", test_stack16_in_32);
    g_test_add_func("/exec/pusha", test_pusha);
    g_test_add_func("/exec/stack-faults", test_stack_faults_change_nothing);
    g_test_add_func("/exec/pop-memory", test_pop_memory);
    g_test_add_func("/exec/enter16", test_enter16);
    g_test_add_func("/exec/pushf", test_pushf);
    g_test_add_func("/exec/branch-limits", test_branch_limits);
    g_test_add_func("/exec/branch-canonical", test_branch_canonical);
    g_test_add_func("/exec/small-branches", test_small_branches);
    g_test_add_func("/exec/movs-overlap", test_movs_overlap);
    g_test_add_func("/exec/string-wrap16", test_string_wrap16);
    g_test_add_func("/exec/string-addr32", test_string_addr32);
    g_test_add_func("/exec/string-fault", test_string_fault);
    g_test_add_func("/exec/scas-cmps", test_scas_cmps);
    g_test_add_func("/exec/string-step", test_string_step);
    g_test_add_func("/exec/string-writes-code", test_string_writes_code);
    g_test_add_func("/exec/device-rmw", test_device_rmw);
    g_test_add_func("/exec/device-movs", test_device_movs);
    g_test_add_func("/exec/ports", test_ports);
    g_test_add_func("/exec/lock-across-pages", test_lock_across_pages);
    g_test_add_func("/exec/smp-atomic", test_smp_atomic);
    g_test_add_func("/exec/decimal", test_decimal);
    g_test_add_func("/exec/addresses16", test_addresses16);
    g_test_add_func("/exec/pause", test_pause);
    g_test_add_func("/exec/random", test_random);
    g_test_add_func("/exec/faults", test_faults);
    return g_test_run();
}
