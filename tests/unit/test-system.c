/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Modes, control registers, MSRs, TLB invalidation and permissions. */
#include "guest.h"

#include <string.h>

/* ---------------------------------------------------------------- reset and modes */

static void test_reset(void)
{
    static const uint8_t nothing[] = {0xf4};
    struct guest *g = guest_real(nothing, nothing + 1);
    struct processor *p = g->p;
    p->cr2 = 5;
    p->cr0 |= CR0_PE;
    p->msr.star = 7;
    p->vector.mxcsr = 0x1fa0;
    processor_reset(p, true);
    g_assert_cmphex(p->rip, ==, 0xfff0);
    g_assert_cmphex(p->segment[SEG_CS].base, ==, 0xffff0000);
    g_assert_cmphex(p->segment[SEG_CS].selector, ==, 0xf000);
    g_assert_cmphex(processor_rflags(p), ==, 2);
    g_assert_cmphex(p->gpr[2], ==, 0x600);
    g_assert_cmphex(p->cr2, ==, 0);
    g_assert_cmphex(p->msr.star, ==, 7); /* INIT keeps MSRs and the vector state */
    g_assert_cmphex(p->vector.mxcsr, ==, 0x1fa0);
    g_assert_cmphex(p->mode & MODE_REAL, ==, MODE_REAL);

    p->cr0 |= CR0_CD;
    processor_reset(p, true);
    g_assert_cmphex(p->cr0, ==, CR0_CD | CR0_NW | CR0_ET);
    p->cr0 = CR0_ET;
    processor_reset(p, true);
    g_assert_cmphex(p->cr0, ==, CR0_ET);
    processor_reset(p, false);
    g_assert_cmphex(p->cr0, ==, 0x60000010);
    g_assert_cmphex(p->msr.star, ==, 0);
    g_assert_cmphex(p->msr.pat, ==, 0x0007040600070406);
    g_assert_cmphex(p->dr6, ==, 0xffff0ff0);
    g_assert_cmphex(p->dr7, ==, 0x400);
    g_assert_cmphex(p->vector.mxcsr, ==, 0x1f80);
    guest_free(g);
}

static void test_exit_names(void)
{
    g_assert_cmpstr(exit_reason_name(EXIT_REASON_HLT), ==, "HLT");
    g_assert_cmpstr(exit_reason_name(EXIT_REASON_MMIO), ==, "MMIO");
    g_assert_cmpstr(exit_reason_name(5), ==, "unknown");
    g_assert_cmpstr(exit_reason_name(0x7fffffff), ==, "unknown");
}

/* Real mode to protected mode, to compatibility mode, to 64-bit mode, and all the way back. */
GUEST_CODE(
    16, code_modes,
    "mov $1, %ax\n mov %ax, %ds\n movw $0x1234, %ds:0\n"
    "xor %ax, %ax\n mov %ax, %ds\n"
    "mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n"
    "ljmpl $0x18, $" AT(
        code_modes,
        "1f") "\n"
              ".code32\n 1: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %ss\n mov %eax, %es\n"
              "mov $0x20000, %esp\n push $0x55\n"
              "mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n"
              "mov $0x4000, %eax\n mov %eax, %cr3\n"
              "mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
              "mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n"
              "rdmsr\n mov %eax, %edi\n"
              "ljmp $0x8, $" AT(
                  code_modes,
                  "2f") "\n"
                        ".code64\n 2: mov $0x1122334455667788, %rbx\n mov %rbx, %r9\n hlt\n"
                        /* and back */
                        "ljmp *" AT(
                            code_modes,
                            "4f") "\n"
                                  ".code32\n 3: mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, "
                                  "%cr0\n"
                                  "rdmsr\n mov %eax, %esi\n"
                                  "ljmp $0x20, $" AT(
                                      code_modes,
                                      "5f") "\n"
                                            ".code16\n 5: mov $0xa8, %ax\n mov %ax, %ds\n mov %ax, "
                                            "%ss\n"
                                            "mov %cr0, %eax\n and $0xfe, %al\n mov %eax, %cr0\n"
                                            "ljmp $0, $" AT(
                                                code_modes,
                                                "6f") "\n"
                                                      "6: xor %ax, %ax\n mov %ax, %ds\n mov "
                                                      "$0x7777, %bp\n mov %ds:0x10, %dx\n hlt\n"
                                                      "4: .long " AT(code_modes,
                                                                     "3b") "\n .word 0x18");
static void test_modes(void)
{
    /* The tables that a 64-bit guest has, in a guest in real mode. */
    struct guest *g = GUEST(64, code_modes), *real = GUEST(real, code_modes);
    struct processor *p = g->p;
    memcpy(p->segment, real->p->segment, sizeof p->segment);
    p->cr0 = CR0_ET;
    p->cr3 = p->cr4 = 0;
    p->msr.efer = 0;
    p->vmcs.msr_bitmap = g_malloc0(4096);
    processor_state_changed(p);
    guest_halts(g);
    g_assert_cmphex(p->mode & (MODE_DECODE | MODE_LONG | MODE_PAGING), ==,
                    DECODE_64 | MODE_LONG | MODE_PAGING);
    g_assert_cmphex(p->gpr[9], ==, 0x1122334455667788);
    g_assert_cmphex(p->gpr[7], ==, EFER_LME | EFER_LMA);
    g_assert_cmphex(guest_read(g, STACK0 - 4, 4), ==, 0x55);
    g_assert_cmphex(guest_read(g, 0x10, 2), ==, 0x1234);

    processor_skip_instruction(p);
    guest_halts(g);
    g_assert_cmphex(p->mode & (MODE_DECODE | MODE_LONG | MODE_PAGING | MODE_REAL), ==, MODE_REAL);
    g_assert_cmphex(p->gpr[6], ==, EFER_LME);
    g_assert_cmphex(p->gpr[5] & 0xffff, ==, 0x7777);
    g_assert_cmphex(p->gpr[2] & 0xffff, ==, 0x1234);
    /* Limits stay what protected mode loaded: "unreal" mode. */
    g_assert_cmphex(p->segment[SEG_DS].limit, ==, 0xffffffff);
    g_free((void *)p->vmcs.msr_bitmap);
    guest_free(real);
    guest_free(g);
}

/* ---------------------------------------------------------------- control registers and MSRs */

GUEST_CODE(64, code_hlt, "hlt");
static void test_control_registers(void)
{
    static const struct {
        unsigned cr;
        uint64_t value;
        bool ok;
    } rows[] = {
        {0, CR0_PG, false},                   /* PG without PE */
        {0, CR0_PE | CR0_PG | CR0_NW, false}, /* NW without CD */
        {0, CR0_PE, false},                   /* leaving paging from 64-bit code */
        {0, CR0_PE | CR0_PG | BIT(32), false},
        {0, CR0_PE | CR0_PG | CR0_WP | BIT(27), true}, /* reserved bits below 32 are ignored */
        {3, PAGE_TABLES, true},
        {3, PAGE_TABLES | BIT(51), false},
        {4, 0, false}, /* PAE must stay */
        {4, CR4_PAE | BIT(31), false},
        {4, CR4_PAE | CR4_VMXE, false},
        {4, CR4_PAE | CR4_PCIDE, true},
        {4, CR4_PAE | CR4_PGE | CR4_OSFXSR, true},
        {8, 15, true},
        {8, 16, false},
    };
    struct guest *g = GUEST(64, code_hlt);
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        g_assert_cmpint(processor_set_cr(g->p, rows[n].cr, rows[n].value) == 0, ==, rows[n].ok);
    }
    g_assert_cmphex(g->p->cr0, ==, CR0_PE | CR0_PG | CR0_WP | CR0_ET);
    /* PCIDE asks for PCID 0, and is in the way of turning paging off. */
    g_assert_cmpint(processor_set_cr(g->p, 3, PAGE_TABLES | 5), ==, 0);
    g_assert_cmpint(processor_set_cr(g->p, 4, CR4_PAE | CR4_PCIDE), !=, 0);
    guest_free(g);

    static const uint8_t nothing[] = {0xf4};
    g = guest_32(nothing, nothing + 1);
    g_assert_cmpint(processor_set_cr(g->p, 4, CR4_PCIDE | CR4_PAE), !=, 0); /* not long mode */
    g->p->msr.efer = EFER_LME;
    g_assert_cmpint(processor_set_cr(g->p, 0, CR0_PE | CR0_PG), !=, 0); /* LME without PAE */
    guest_free(g);
}

GUEST_CODE(64, code_cr_pae, "mov %rax, %cr0\n hlt");
static void test_cr_fault(void)
{
    struct guest *g = GUEST(64, code_cr_pae);
    g->p->gpr[0] = CR0_PG;
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);
}

GUEST_CODE(64, code_masks,
           "mov %cr0, %rax\n mov %cr4, %rbx\n mov %rax, %cr0\n clts\n"
           "or $8, %eax\n mov %rax, %cr0\n hlt");
static void test_cr_masks(void)
{
    struct guest *g = GUEST(64, code_masks);
    struct vmcs *v = &g->p->vmcs;
    uint64_t cr0 = g->p->cr0;
    v->cr0_guest_host_mask = CR0_TS | CR0_NE;
    v->cr0_read_shadow = 0;
    v->cr4_guest_host_mask = CR4_PAE;
    v->cr4_read_shadow = 0;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_CR_ACCESS);
    g_assert_cmphex(g->p->rip, ==, CODE + 14);
    g_assert_cmphex(v->exit_qualification, ==, 0);
    g_assert_cmphex(g->p->gpr[0], ==, (cr0 & ~CR0_NE) | CR0_TS);
    g_assert_cmphex(g->p->gpr[3], ==, 0);
    g_assert_cmphex(g->p->cr0, ==, cr0); /* NE stays */
    v->cr0_read_shadow = CR0_TS;
    g->p->rip = CODE + 9;
    guest_exit(g, EXIT_REASON_CR_ACCESS);
    g_assert_cmphex(v->exit_qualification, ==, 2 << 4);
    guest_free(g);
}

GUEST_CODE(64, code_cr3_exit, "mov %rbx, %cr3\n mov %cr8, %rdx\n hlt");
static void test_cr_intercepts(void)
{
    struct guest *g = GUEST(64, code_cr3_exit);
    g->p->vmcs.cpu_based_controls |= CPU_CR3_LOAD_EXITING | CPU_CR8_STORE_EXITING;
    processor_controls_changed(g->p);
    guest_exit(g, EXIT_REASON_CR_ACCESS);
    g_assert_cmphex(g->p->vmcs.exit_qualification, ==, 3 | 3 << 8);
    processor_skip_instruction(g->p);
    guest_exit(g, EXIT_REASON_CR_ACCESS);
    g_assert_cmphex(g->p->vmcs.exit_qualification, ==, 8 | 1 << 4 | 2 << 8);
    g_assert_cmpuint(g->p->vmcs.exit_instruction_length, ==, 4);
    guest_free(g);
}

/* PAE paging: the PDPTE registers are loaded, and checked, by MOV CR3 and by turning paging on. */
GUEST_CODE(32, code_pae,
           "mov %ebx, %cr3\n mov $0x20, %eax\n mov %eax, %cr4\n"
           "mov $0x80000001, %eax\n mov %eax, %cr0\n mov 0x40000000, %ecx\n"
           "mov %edx, %cr3\n hlt");
static void test_pae(void)
{
    struct guest *g = GUEST(32, code_pae);
    g->p->gpr[3] = PAGE_TABLES;
    g->p->gpr[2] = PAGE_TABLES + 0x20;
    guest_write(g, PAGE_TABLES, (PAGE_TABLES + 0x1000) | 1, 8);
    guest_write(g, PAGE_TABLES + 8, (PAGE_TABLES + 0x1000) | 1, 8);
    guest_write(g, PAGE_TABLES + 0x20, (PAGE_TABLES + 0x1000) | 1 | 2, 8); /* reserved bit 1 */
    guest_write(g, PAGE_TABLES + 0x1000, 0xe7, 8);
    guest_write(g, 0, 0x12345678, 4);
    guest_faults_with(g, VECTOR_GP, 25, 0);
    g_assert_cmphex(g->p->gpr[1], ==, 0x12345678);
    g_assert_cmphex(g->p->cr3, ==, PAGE_TABLES);
    g_assert_cmphex(g->p->pdpte[1], ==, (PAGE_TABLES + 0x1000) | 1);
    guest_free(g);

    g = GUEST(32, code_pae);
    g->p->gpr[3] = PAGE_TABLES + 0x20;
    guest_write(g, PAGE_TABLES + 0x20, 3, 8);
    guest_faults_with(g, VECTOR_GP, 16, 0); /* MOV to CR0 */
    g_assert_false(g->p->cr0 & CR0_PG);
    guest_free(g);
}

static void test_xcr0(void)
{
    struct guest *g = GUEST(64, code_hlt);
    g_assert_cmpint(processor_set_xcr0(g->p, 7), ==, 0);
    g_assert_cmpint(processor_set_xcr0(g->p, 3), ==, 0);
    g_assert_cmpint(processor_set_xcr0(g->p, 6), ==, -22); /* without x87 */
    g_assert_cmpint(processor_set_xcr0(g->p, 5), ==, -22); /* AVX without SSE */
    g_assert_cmpint(processor_set_xcr0(g->p, 0xe7), ==, -22);
    g_assert_cmphex(g->p->vector.xcr0, ==, 3);
    guest_free(g);
}

GUEST_CODE(64, code_dr, "mov %rax, %dr4\n hlt");
static void test_debug_registers(void)
{
    struct guest *g = GUEST(64, code_dr);
    g->p->gpr[0] = 0xffffffff;
    guest_halts(g);
    g_assert_cmphex(g->p->dr6, ==, 0xffffefff);
    g->p->cr4 |= CR4_DE; /* no aliases */
    g->p->rip = CODE;
    guest_faults(g, VECTOR_UD, 0);
    guest_free(g);
    g = GUEST(64, code_dr);
    g->p->gpr[0] = 1ull << 32;
    guest_faults_with(g, VECTOR_GP, 0, 0);
    g->p->vmcs.cpu_based_controls |= CPU_MOV_DR_EXITING;
    processor_controls_changed(g->p);
    g->p->rip = CODE;
    guest_exit(g, EXIT_REASON_DR_ACCESS);
    g_assert_cmphex(g->p->vmcs.exit_qualification, ==, 4);
    guest_free(g);
}

static void test_msrs(void)
{
    static const struct {
        uint32_t index;
        uint64_t value;
        int error;
    } rows[] = {
        {0xc0000080, EFER_SCE | EFER_LME | EFER_NXE, 0},
        {0xc0000080, EFER_SCE, -22}, /* LME cannot change under paging */
        {0xc0000080, EFER_LME | BIT(40), -22},
        {0xc0000081, ~0ull, 0},
        {0xc0000082, 1ull << 47, -22},
        {0xc0000082, 0xffff800000000000, 0},
        {0xc0000100, 1ull << 60, -22},
        {0xc0000101, DATA, 0},
        {0xc0000103, 1ull << 32, -22},
        {0xc0000103, 7, 0},
        {0x176, 1ull << 62, -22},
        {0x277, 0x0606060606060606, 0},
        {0x277, 2, -22},
        {0xda0, 1, -22},
        {0x10, 0, -2},
        {0x1b, 0, -2},
    };
    struct guest *g = GUEST(64, code_hlt);
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        g_assert_cmpint(processor_set_msr(g->p, rows[n].index, rows[n].value), ==, rows[n].error);
        uint64_t value;
        if (rows[n].error == 0) {
            g_assert_cmpint(processor_get_msr(g->p, rows[n].index, &value), ==, 0);
            g_assert_cmphex(value & ~EFER_LMA, ==, rows[n].value & ~EFER_LMA);
        }
    }
    g_assert_cmphex(g->p->msr.efer, ==, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    g_assert_cmphex(g->p->flat_base[SEG_GS], ==, DATA);
    guest_free(g);
}

GUEST_CODE(64, code_rdmsr, "rdmsr\n hlt");
GUEST_CODE(64, code_wrmsr, "wrmsr\n hlt");
static void test_msr_bitmap(void)
{
    struct guest *g = GUEST(64, code_rdmsr);
    uint8_t *bitmap = g_malloc0(4096);
    g->p->gpr[1] = 0xc0000103;
    g->p->msr.tsc_aux = 0x55;
    guest_exit(g, EXIT_REASON_RDMSR); /* no bitmap */
    g->p->vmcs.msr_bitmap = bitmap;
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[0], ==, 0x55);
    bitmap[1024 + 0x103 / 8] = 1 << (0x103 & 7);
    g->p->rip = CODE;
    guest_exit(g, EXIT_REASON_RDMSR);
    g->p->gpr[1] = 0x40000000; /* outside the bitmap */
    guest_exit(g, EXIT_REASON_RDMSR);
    g->p->gpr[1] = 0x123; /* nothing is there */
    guest_faults_with(g, VECTOR_GP, 0, 0);
    guest_free(g);

    memset(bitmap, 0, 4096);
    g = GUEST(64, code_wrmsr);
    g->p->vmcs.msr_bitmap = bitmap;
    g->p->gpr[1] = 0x174;
    g->p->gpr[0] = 0xffffffff00000008;
    g->p->gpr[2] = 0;
    guest_halts(g);
    g_assert_cmphex(g->p->msr.sysenter_cs, ==, 8);
    bitmap[2048 + 0x174 / 8] = 1 << (0x174 & 7);
    g->p->rip = CODE;
    guest_exit(g, EXIT_REASON_WRMSR);
    g_assert_cmphex(g->p->rip, ==, CODE);
    guest_free(g);
    g_free(bitmap);
}

GUEST_CODE(64, code_tsc, "rdtscp\n rdpid %rbx\n mov %rax, %rsi\n rdtsc\n hlt");
static void test_tsc(void)
{
    struct guest *g = GUEST(64, code_tsc);
    g->p->msr.tsc_aux = 0x1234;
    g->p->vmcs.tsc_offset = -processor_tsc(g->p);
    uint64_t before = processor_tsc(g->p);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[1], ==, 0x1234);
    g_assert_cmphex(g->p->gpr[3], ==, 0x1234);
    uint64_t tsc = g->p->gpr[2] << 32 | g->p->gpr[0];
    g_assert_cmpuint(before, <, tsc);
    g_assert_cmpuint(tsc, <=, processor_tsc(g->p));
    g->p->vmcs.cpu_based_controls |= CPU_RDTSC_EXITING;
    processor_controls_changed(g->p);
    g->p->rip = CODE;
    guest_exit(g, EXIT_REASON_RDTSCP);
    guest_free(g);
}

/* ---------------------------------------------------------------- flags and permissions */

GUEST_CODE(64, code_popf, "pushq %rax\n popfq\n pushfq\n pop %rbx\n hlt");
static void test_popf(void)
{
    static const struct {
        uint32_t before, image, after;
    } rows[] = {
        {0, FLAG_IF | FLAG_IOPL | FLAG_CF, FLAG_CF},
        {FLAG_IOPL, FLAG_IF | FLAG_CF, FLAG_IF | FLAG_IOPL | FLAG_CF},
        {FLAG_IF, FLAG_ID | FLAG_NT, FLAG_IF | FLAG_ID | FLAG_NT},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        struct guest *g = GUEST(64, code_popf);
        guest_user(g, true);
        g->p->rflags |= rows[n].before;
        processor_state_changed(g->p);
        g->p->gpr[0] = rows[n].image;
        guest_exit(g, EXIT_REASON_HLT);
        g_assert_cmphex(g->p->gpr[3], ==, rows[n].after | FLAG_ONE);
        guest_free(g);
    }
    struct guest *g = GUEST(64, code_popf);
    g->p->gpr[0] = 0xffffffff & ~FLAG_TF;
    guest_halts(g);
    /* VIF, VIP, VM and RF are not POPF's to set. */
    g_assert_cmphex(
        g->p->gpr[3], ==,
        (FLAGS_STATUS | FLAG_ONE | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID));
    guest_free(g);
}

GUEST_CODE(64, code_smap, "stac\n mov (%rbx), %eax\n clac\n mov (%rbx), %eax\n hlt");
static void test_smap(void)
{
    struct guest *g = GUEST(64, code_smap);
    /* Code and tables in supervisor pages, data in a user page: 4 MiB and 0. */
    guest_write(g, PAGE_TABLES + 0x2000, 0xe3, 8);
    g->p->cr4 |= CR4_SMAP;
    g->p->gpr[3] = 4 << 20;
    processor_state_changed(g->p);
    guest_faults_with(g, VECTOR_PF, 8, 1);
    g_assert_cmphex(g->p->cr2, ==, 4 << 20);
    g->p->rip = CODE;
    guest_user(g, true);
    guest_exit(g, EXIT_REASON_HLT); /* user code in a supervisor page */
    g_assert_cmphex(g->p->rip, ==, HANDLERS + 16 * VECTOR_PF);
    guest_free(g);
}

GUEST_CODE(64, code_align, "mov 1(%rbx), %eax\n hlt");
static void test_alignment(void)
{
    struct guest *g = GUEST(64, code_align);
    g->p->cr0 |= CR0_AM;
    g->p->rflags |= FLAG_AC;
    g->p->gpr[3] = DATA;
    guest_user(g, true);
    guest_faults_with(g, VECTOR_AC, 0, 0);
    /* Not at CPL 0, where the handler has AC set still. */
    g->p->rip = CODE;
    guest_halts(g);
    guest_free(g);
}

GUEST_CODE(64, code_io, "out %al, %dx\n out %ax, %dx\n out %al, %dx\n hlt");
static void test_io_permission(void)
{
    struct guest *g = GUEST(64, code_io);
    g->p->gpr[2] = 0x80;
    guest_write(g, TSS + 0x68 + 0x10, 0xfe, 1); /* port 0x80 alone */
    guest_user(g, true);
    guest_exit(g, EXIT_REASON_PIO);
    g_assert_cmphex(g->p->vmcs.access.address, ==, 0x80);
    guest_faults_with(g, VECTOR_GP, 1, 0); /* 0x81 is not allowed */
    guest_user(g, true);
    g->p->rip = CODE + 3;
    g->p->segment[SEG_TR].limit = 0x78; /* the second byte must be inside too */
    guest_faults_with(g, VECTOR_GP, 3, 0);
    guest_user(g, true);
    g->p->rip = CODE + 3;
    g->p->rflags |= FLAG_IOPL;
    processor_state_changed(g->p);
    guest_exit(g, EXIT_REASON_PIO);
    guest_free(g);
}

GUEST_CODE(64, code_exits, "cpuid\n vmcall\n vmmcall\n invd\n wbinvd\n monitor\n hlt");
static void test_exits(void)
{
    static const unsigned reasons[] = {EXIT_REASON_CPUID, EXIT_REASON_VMCALL, EXIT_REASON_VMCALL,
                                       EXIT_REASON_INVD, EXIT_REASON_WBINVD};
    struct guest *g = GUEST(64, code_exits);
    g->p->vmcs.cpu_based_controls2 |= CPU2_WBINVD_EXITING;
    processor_controls_changed(g->p);
    for (unsigned n = 0; n < G_N_ELEMENTS(reasons); n++) {
        guest_exit(g, reasons[n]);
        processor_skip_instruction(g->p);
    }
    guest_faults(g, VECTOR_UD, 12); /* MONITOR */
    guest_free(g);
}

GUEST_CODE(64, code_invalidate,
           "mov (%rdi), %eax\n mov %rsi, (%rbx)\n mov (%rdi), %ecx\n"
           "invlpg (%rdi)\n mov (%rdi), %edx\n"
           "mov %r8, (%rbx)\n mov %cr3, %rbp\n mov %rbp, %cr3\n"
           "mov (%rdi), %r9d\n hlt");
static void test_invalidate(void)
{
    struct guest *g = GUEST(64, code_invalidate);
    g->p->gpr[7] = 4 << 20;
    g->p->gpr[3] = PAGE_TABLES + 0x2000 + 2 * 8; /* the entry of 4 MiB */
    g->p->gpr[6] = 6 << 20 | 0xe7;
    g->p->gpr[8] = 4 << 20 | 0xe7;
    guest_write(g, 4 << 20, 4, 4);
    guest_write(g, 6 << 20, 6, 4);
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[0], ==, 4);
    g_assert_cmpuint(g->p->gpr[2], ==, 6);
    g_assert_cmpuint(g->p->gpr[9], ==, 4);
    guest_free(g);
}

GUEST_CODE(64, code_invpcid, "invpcid (%rbx), %rax\n hlt");
static void test_invpcid(void)
{
    static const struct {
        uint64_t type, pcid, linear;
        bool pcide, ok;
    } rows[] = {
        {0, 0, 0x1000, false, true},    {0, 5, 0x1000, false, false},
        {0, 5, 0x1000, true, true},     {0, 0, 1ull << 47, true, false},
        {1, 5, 1ull << 47, true, true}, {2, 9, 0, false, true},
        {3, 0, 0, false, true},         {4, 0, 0, true, false},
        {2, 1 << 12, 0, true, false},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
        g_test_message("row %u", n);
        struct guest *g = GUEST(64, code_invpcid);
        if (rows[n].pcide)
            g->p->cr4 |= CR4_PCIDE;
        processor_state_changed(g->p);
        g->p->gpr[0] = rows[n].type;
        g->p->gpr[3] = DATA;
        guest_write(g, DATA, rows[n].pcid, 8);
        guest_write(g, DATA + 8, rows[n].linear, 8);
        if (rows[n].ok)
            guest_halts(g);
        else
            guest_faults_with(g, VECTOR_GP, 0, 0);
        guest_free(g);
    }
}

/* Controls that take instructions away, as CPUID can. */
GUEST_CODE(64, code_rdtscp, "rdtscp\n hlt");
GUEST_CODE(64, code_rdpid, "rdpid %rax\n hlt");
static void test_hidden_instructions(void)
{
    struct guest *g = GUEST(64, code_invpcid);
    g->p->vmcs.cpu_based_controls2 &= ~CPU2_ENABLE_INVPCID;
    guest_faults(g, VECTOR_UD, 0);
    guest_free(g);
    g = GUEST(64, code_rdtscp);
    g->p->vmcs.cpu_based_controls2 &= ~CPU2_ENABLE_RDTSCP;
    guest_faults(g, VECTOR_UD, 0);
    guest_free(g);
    g = GUEST(64, code_rdpid);
    g->p->vmcs.cpu_based_controls2 &= ~CPU2_ENABLE_RDTSCP;
    guest_faults(g, VECTOR_UD, 0);
    guest_free(g);
}

/* ---------------------------------------------------------------- 5-level paging */

/* From paging off into long mode with LA57, and a store beyond 48 bits. */
GUEST_CODE(32, code_la57,
           "mov %cr4, %eax\n or $0x1020, %eax\n mov %eax, %cr4\n mov %esi, %cr3\n"
           "mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
           "mov %cr0, %eax\n bts $31, %eax\n mov %eax, %cr0\n"
           "ljmp $0x08, $" AT(
               "code_la57",
               "1f") "\n .code64\n"
                     "1: movabs $0x00ff800000000000, %rbx\n movl $0x1234, 0xa000(%rbx)\n hlt");
static void test_la57(void)
{
    enum { PML5 = 0xb0000 };
    static const uint8_t no_msr_exits[4096];
    struct guest *g = GUEST(32, code_la57);
    struct processor *p = g->p;
    p->cr4_reserved &= ~CR4_LA57;
    p->vmcs.msr_bitmap = no_msr_exits;
    guest_gdt(g, CODE64, 0x00af9b000000ffffull);
    /* The first 16 MiB at 0, and again at bits 56:47 set: entries 0 and 255 of the PML5, in whose
     * PML4 the last half's first entry is the same. */
    guest_write(g, PML5, PAGE_TABLES | 7, 8);
    guest_write(g, PML5 + 8 * 255, PAGE_TABLES | 7, 8);
    guest_write(g, PAGE_TABLES, (PAGE_TABLES + 0x1000) | 7, 8);
    guest_write(g, PAGE_TABLES + 8 * 256, (PAGE_TABLES + 0x1000) | 7, 8);
    guest_write(g, PAGE_TABLES + 0x1000, (PAGE_TABLES + 0x2000) | 7, 8);
    for (unsigned n = 0; n < GUEST_BYTES >> 21; n++)
        guest_write(g, PAGE_TABLES + 0x2000 + 8 * n, (uint64_t)n << 21 | 0xe7, 8);
    p->gpr[6] = PML5;
    guest_halts(g);
    g_assert_cmphex(p->cr4 & (CR4_LA57 | CR4_PAE), ==, CR4_LA57 | CR4_PAE);
    g_assert_cmphex(guest_read(g, DATA, 4), ==, 0x1234);
    uint64_t gpa;
    g_assert_true(processor_translate(p, 0x00ff80000000a000, &gpa, NULL, NULL));
    g_assert_cmphex(gpa, ==, DATA);
    g_assert_false(processor_translate(p, 0x007f80000000a000, &gpa, NULL, NULL));

    /* It cannot be left in long mode. */
    g_assert_cmpint(processor_set_cr(p, 4, p->cr4 & ~CR4_LA57), ==, -22);
    guest_free(g);
}

/* Base registers take what the widest paging mode could, whichever is in force. */
static void test_wide_bases(void)
{
    struct guest *g = GUEST(64, code_hlt);
    g_assert_cmpint(processor_set_msr(g->p, 0xc0000102, 1ull << 47), ==, -22);
    g->p->cr4_reserved &= ~CR4_LA57;
    g_assert_cmpint(processor_set_msr(g->p, 0xc0000102, 1ull << 47), ==, 0);
    g_assert_cmpint(processor_set_msr(g->p, 0xc0000102, 1ull << 56), ==, -22);
    guest_free(g);
}

GUEST_CODE(32, code_lmsw, "mov $0xfffe, %eax\n lmsw %ax\n smsw %ecx\n clts\n smsw %edx\n hlt");
static void test_lmsw(void)
{
    struct guest *g = GUEST(32, code_lmsw);
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[1], ==, CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET);
    g_assert_cmphex(g->p->gpr[2], ==, CR0_PE | CR0_MP | CR0_EM | CR0_ET);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mode/reset", test_reset);
    g_test_add_func("/mode/switches", test_modes);
    g_test_add_func("/vmx/names", test_exit_names);
    g_test_add_func("/vmx/exits", test_exits);
    g_test_add_func("/control/registers", test_control_registers);
    g_test_add_func("/control/fault", test_cr_fault);
    g_test_add_func("/control/masks", test_cr_masks);
    g_test_add_func("/control/intercepts", test_cr_intercepts);
    g_test_add_func("/control/lmsw", test_lmsw);
    g_test_add_func("/control/invalidate", test_invalidate);
    g_test_add_func("/control/invpcid", test_invpcid);
    g_test_add_func("/control/hidden-instructions", test_hidden_instructions);
    g_test_add_func("/control/la57", test_la57);
    g_test_add_func("/control/wide-bases", test_wide_bases);
    g_test_add_func("/control/pae", test_pae);
    g_test_add_func("/control/xcr0", test_xcr0);
    g_test_add_func("/control/debug", test_debug_registers);
    g_test_add_func("/msr/values", test_msrs);
    g_test_add_func("/msr/bitmap", test_msr_bitmap);
    g_test_add_func("/msr/tsc", test_tsc);
    g_test_add_func("/flags/popf", test_popf);
    g_test_add_func("/flags/smap", test_smap);
    g_test_add_func("/flags/alignment", test_alignment);
    g_test_add_func("/io/permission", test_io_permission);
    return g_test_run();
}
