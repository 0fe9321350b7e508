/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile guests: random system instructions on damaged descriptor tables, task-state segments,
 * page tables and control state.  Nothing they do may harm the process, and what is derived from
 * the state must agree with it after every instruction.
 */
#include "guest.h"

#include <string.h>

static uint32_t pick(uint32_t below)
{
    return (uint32_t)g_test_rand_int_range(0, (gint32)below);
}

static uint64_t random64(void)
{
    return (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

/* A value that is likely to mean something: an address, a selector, a register's worth of bits. */
static uint64_t random_value(void)
{
    switch (pick(8)) {
    case 0:
        return random64();
    case 1:
        return DATA + pick(64);
    case 2:
        return pick(0x100); /* a selector */
    case 3:
        return 1ull << pick(64);
    case 4:
        return CODE + pick(64);
    case 5:
        return (uint64_t)0 - pick(16);
    case 6:
        return CR0_PE | (pick(2) ? CR0_PG : 0) | CR0_ET | (pick(2) ? CR4_PAE : 0);
    default:
        return (1ull << 47) - pick(16);
    }
}

/* One instruction, most often of this part of the processor.  Returns its length. */
static unsigned random_instruction(uint8_t *to)
{
    static const uint8_t one[] = {0x06, 0x07, 0x16, 0x17, 0x1e, 0x1f, 0x62, 0x63, 0x8c, 0x8e, 0x9a,
                                  0x9c, 0x9d, 0xc4, 0xc5, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xea,
                                  0xf1, 0xf4, 0xfa, 0xfb, 0xff, 0x50, 0x58, 0xe4, 0xec, 0x89, 0x8b};
    static const uint8_t two[] = {0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x09, 0x20,
                                  0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0xa0,
                                  0xa1, 0xa2, 0xa8, 0xa9, 0xae, 0xb2, 0xb4, 0xb5, 0xc7};
    static const uint8_t prefixes[] = {0x48, 0x66, 0x67, 0xf3, 0x64, 0x2e, 0x49};
    unsigned n = 0;
    if (pick(3) == 0)
        to[n++] = prefixes[pick(G_N_ELEMENTS(prefixes))];
    if (pick(2)) {
        to[n++] = 0x0f;
        to[n++] = two[pick(G_N_ELEMENTS(two))];
    } else {
        to[n++] = one[pick(G_N_ELEMENTS(one))];
    }
    uint64_t rest = random64();
    if (pick(2))
        rest &= 0xffff00ff00f8ffff; /* selectors in immediates */
    memcpy(to + n, &rest, 8);
    return n + 8;
}

static void damage(struct guest *g, uint64_t address, unsigned length)
{
    for (unsigned n = pick(6); n > 0; n--)
        g->ram[address + pick(length)] ^= (uint8_t)(1u << pick(8));
    memory_written(g->memory, address, length);
}

static struct guest *random_guest(void)
{
    uint8_t code[512 + 16];
    for (unsigned n = 0; n < 512;)
        n += random_instruction(code + n) - pick(8);
    unsigned kind = pick(4);
    struct guest *g = kind == 0   ? guest_real(code, code + 512)
                      : kind == 1 ? guest_32(code, code + 512)
                                  : guest_64(code, code + 512);
    memcpy(g->ram + HANDLERS + 16 * VECTOR_GP, code, 64);
    guest_gdt(g, CALL_GATE, CODE | (uint64_t)CODE64 << 16 | 0xecull << 40);
    if (pick(2)) {
        damage(g, GDT, 0x100);
        damage(g, IDT, 0x200);
        damage(g, TSS, 0x70);
        if (pick(4) == 0)
            damage(g, PAGE_TABLES, 0x2010);
    }
    struct processor *p = g->p;
    for (unsigned r = 0; r < 16; r++)
        if (r != 4 || pick(4) == 0)
            p->gpr[r] = random_value();
    p->cr4 |=
        random64() & (CR4_UMIP | CR4_FSGSBASE | CR4_TSD | CR4_DE | CR4_SMAP | CR4_PVI | CR4_VME);
    if (kind && pick(3) == 0)
        guest_user(g, kind != 1);
    p->rflags |=
        random64() & (FLAG_IF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_TF | FLAG_RF | FLAG_DF);
    if (kind == 1 && pick(4) == 0)
        p->rflags |= FLAG_VM;
    if (pick(3) == 0) {
        p->dr7 = 0x400 | (random64() & 0xffff23ff);
        for (unsigned n = 0; n < 4; n++)
            p->dr[n] = pick(2) ? CODE + pick(64) : DATA + pick(32);
    }
    p->amd = pick(2);
    p->msr.star = random64();
    p->msr.sysenter_cs = pick(0x80);
    processor_state_changed(p);
    return g;
}

/* What is derived from the architectural state must be what a fresh computation gives. */
static void check_derived(struct processor *p)
{
    uint32_t mode = p->mode, cpl = p->cpl, slow = p->slow;
    struct tlb *tlb = p->tlb;
    uint64_t base[6];
    memcpy(base, p->flat_base, sizeof base);
    processor_state_changed(p);
    g_assert_cmphex(p->mode, ==, mode);
    g_assert_cmpuint(p->cpl, ==, cpl);
    g_assert_cmphex(p->slow, ==, slow);
    g_assert_true(p->tlb == tlb);
    g_assert_true(memcmp(base, p->flat_base, sizeof base) == 0);
    g_assert_cmphex(p->rflags & FLAGS_STATUS, ==, 0);
    g_assert_cmphex(p->status & ~FLAGS_STATUS, ==, 0);
    g_assert_cmpint(!!(p->msr.efer & EFER_LMA), ==, p->msr.efer & EFER_LME && p->cr0 & CR0_PG);
    if (p->cr0 & CR0_PE && !(p->rflags & FLAG_VM))
        g_assert_cmpuint(p->segment[SEG_SS].access_rights >> 5 & 3, ==, p->cpl);
}

static void test_hostile(void)
{
    uint8_t *bitmap = g_malloc0(4096);
    for (unsigned round = 0; round < 2000; round++) {
        struct guest *g = random_guest();
        struct processor *p = g->p;
        p->vmcs.msr_bitmap = bitmap;
        p->vmcs.cpu_based_controls |= CPU_MONITOR_TRAP_FLAG;
        if (pick(2))
            p->vmcs.cpu_based_controls |= CPU_INTERRUPT_WINDOW_EXITING;
        processor_controls_changed(p);
        for (unsigned step = 0; step < 100; step++) {
            unsigned reason = vmx_enter(p);
            if (reason == EXIT_REASON_TRIPLE_FAULT || reason == EXIT_REASON_FETCH)
                break;
            if (reason == EXIT_REASON_INTERRUPT_WINDOW) {
                p->vmcs.entry_interruption_info = INTR_INFO_VALID | INTR_TYPE_EXTERNAL | pick(256);
                continue;
            }
            if (reason == EXIT_REASON_PIO || reason == EXIT_REASON_MMIO)
                continue;
            if (reason != EXIT_REASON_MONITOR_TRAP_FLAG)
                processor_skip_instruction(p);
            check_derived(p);
        }
        guest_free(g);
    }
    g_free(bitmap);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fuzz/hostile", test_hostile);
    return g_test_run();
}
