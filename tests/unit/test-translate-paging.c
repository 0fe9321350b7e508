/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The translator and pages: code in several of them and at several addresses, kernels' code, which
 * is fixed to its address, translations that change, large pages, and requests of other threads,
 * which are looked for where control leaves a page.
 */
#include "translated.h"

#include <string.h>

/* Two pages that call each other, the second at two linear addresses (its host page has one). */
GUEST_CODE(64, code_pages,
           "mov $200, %ecx\n xor %eax, %eax\n"
           "1: mov $0xa000, %edx\n call *%rdx\n mov $0xb000, %edx\n call *%rdx\n"
           "   dec %ecx\n jnz 1b\n hlt");
static void test_pages(void)
{
    static const uint8_t callee[] = {0x48, 0x8d, 0x1d, 0,   0, 0, 0, /* lea rbx, [rip] */
                                     0x48, 0x01, 0xd8, 0xc3};        /* add rax, rbx; ret */
    struct guest *g = translated(GUEST(64, code_pages), 1, false);
    /* The first 2 MiB in 4 KiB pages, the page at 0xb000 leading to 0xa000. */
    uint64_t table = 0x100000;
    for (unsigned n = 0; n < 512; n++)
        guest_write(g, table + 8 * n, (n == 0xb ? 0xa000 : n << PAGE_BITS) | 7, 8);
    guest_write(g, PAGE_TABLES + 0x2000, table | 7, 8);
    memcpy(g->ram + 0xa000, callee, sizeof(callee));
    guest_halts(g);
    g_assert_cmphex(g->p->gpr[REG_RAX], ==, 200ull * (0xa007 + 0xb007));
    g_assert_cmpuint(counts(g).entries, <, 100);
    guest_free(g);
}

/* A kernel's code: global pages in the upper half, whose blocks are fixed to their addresses and
 * lead straight to each other.  What they lead to is mapped elsewhere, then written; then the same
 * with an instruction that crosses a page, by its second half. */
GUEST_CODE(64, code_fixed,
           "9: xor %eax, %eax\n xor %ebx, %ebx\n"
           "   mov $50, %ecx\n 1: call 9b + 0x2000\n call 9b + 0x6ffe\n dec %ecx\n jnz 1b\n"
           "   movq $0xb103, " HIGH " + 0x100050\n invlpg " HIGH " + 0xa000\n"
           "   mov $50, %ecx\n 1: call 9b + 0x2000\n call 9b + 0x6ffe\n dec %ecx\n jnz 1b\n"
           "   movb $3, " HIGH " + 0xb003\n movb $1, " HIGH " + 0xf000\n"
           "   mov $50, %ecx\n 1: call 9b + 0x2000\n call 9b + 0x6ffe\n dec %ecx\n jnz 1b\n"
           "   movq $0x10103, " HIGH " + 0x100078\n invlpg " HIGH " + 0xf000\n"
           "   mov $50, %ecx\n 1: call 9b + 0x2000\n call 9b + 0x6ffe\n dec %ecx\n jnz 1b\n"
           "   hlt");
static void test_fixed(void)
{
    static const uint8_t callee[] = {0x48, 0x83, 0xc0, 1, 0xc3};      /* add rax, 1; ret */
    static const uint8_t crossing[] = {0x81, 0xc3, 2, 0, 0, 0, 0xc3}; /* add ebx, 2; ret */
    for (unsigned how = 0; how < 4; how++) {
        struct guest *g =
            translated_how(GUEST(64, code_fixed),
                           (struct processor_translator){
                               .threshold = 1 + how / 2, .count = how == 1, .check = how == 3});
        guest_high(g);
        memcpy(g->ram + 0xa000, callee, sizeof(callee));
        memcpy(g->ram + 0xb000, callee, sizeof(callee));
        g->ram[0xb003] = 2;
        memcpy(g->ram + 0xeffd + 1, crossing, sizeof(crossing));
        memcpy(g->ram + 0x10000, crossing + 2, sizeof(crossing) - 2);
        g->ram[0x10002] = 1;
        guest_halts(g);
        g_assert_cmphex(g->p->gpr[REG_RAX], ==, 50 * 1 + 50 * 2 + 50 * 3 + 50 * 3);
        g_assert_cmphex(g->p->gpr[REG_RBX], ==, 50 * 2 + 50 * 2 + 50 * 1 + 50 * 0x10002);
        if (how == 3)
            check_clean(g);
        else
            g_assert_cmpuint(counts(g).entries, <, 100); /* else nothing leads anywhere */
        guest_free(g);
    }
}

/* ---------------------------------------------------------------- translations that change */

/* A page is read and written, evicted from the TLB or not, its table entry changed, and what the
 * guest was told to do about that done. */
#define REMAPPED(evict, invalidate)                                                                \
    "mov $200, %ecx\n"                                                                             \
    "1: mov (%rbx), %rsi\n add %rsi, %rax\n mov %rcx, 8(%rbx)\n" evict                             \
    "xorl $0x6000, (%rdx)\n" invalidate "dec %ecx\n jnz 1b\n hlt"
#define EVICT  "mov (%r8), %rsi\n mov %rsi, 8(%r8)\n"
#define RELOAD "mov %cr3, %rdi\n mov %rdi, %cr3\n"
GUEST_CODE(64, code_invlpg, REMAPPED("", "invlpg (%rbx)\n"));
GUEST_CODE(64, code_invlpg_evicted, REMAPPED(EVICT, "invlpg (%rbx)\n"));
GUEST_CODE(64, code_reload, REMAPPED("", RELOAD));
GUEST_CODE(64, code_reload_evicted, REMAPPED(EVICT, RELOAD));
static void check_remapped(struct guest *g)
{
    small_pages(g);
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 100 * 1001);
    g_assert_cmpuint(guest_read(g, (FRAME << PAGE_BITS) + 8, 8), ==, 2);
    g_assert_cmpuint(guest_read(g, (OTHER_FRAME << PAGE_BITS) + 8, 8), ==, 1);
    guest_free(g);
}
static void test_remapped(void)
{
    check_remapped(GUEST(64, code_invlpg));
    check_remapped(GUEST(64, code_invlpg_evicted));
    check_remapped(GUEST(64, code_reload));
    check_remapped(GUEST(64, code_reload_evicted));
}

/* The same with a flush from outside. */
GUEST_CODE(64, code_streams,
           "mov $50, %ecx\n 1: add (%rbx), %rax\n mov %rcx, 8(%rbx)\n dec %ecx\n jnz 1b\n hlt");
static void test_flushed(void)
{
    struct guest *g = small_pages(GUEST(64, code_streams));
    guest_halts(g);
    guest_write(g, PAGE_TABLE + 8 * PAGE, OTHER_FRAME << PAGE_BITS | 7, 8);
    processor_flush_tlb(g->p);
    g->p->rip = CODE;
    processor_state_changed(g->p);
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 50 * 1001);
    g_assert_cmpuint(guest_read(g, (OTHER_FRAME << PAGE_BITS) + 8, 8), ==, 1);
    guest_free(g);
}

/* Each round writes the immediate through the register that has written it before, then runs it. */
GUEST_CODE(
    64, code_writes_page,
    "mov $100, %ecx\n mov $1, %edx\n"
    "1: mov %dl, 2(%rbx)\n mov (%r8), %esi\n call *%rbx\n inc %edx\n dec %ecx\n jnz 1b\n hlt");
static void test_writes_page(void)
{
    struct guest *g = small_pages(GUEST(64, code_writes_page));
    memcpy(g->ram + (FRAME << PAGE_BITS), "\x83\xc0\x00\xc3", 4); /* add eax, 0; ret */
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 5050);
    guest_free(g);
}

/* What one privilege may, the next may not: the access that SMAP forbids without AC ... */
#define SMAP_ACCESS(last)                                                                          \
    "mov $100, %ecx\n 1: stac\n mov (%rbx), %rax\n mov %rax, 8(%rbx)\n clac\n dec %ecx\n jnz 1b\n" \
    "inc %edi\n" last "\n hlt"
GUEST_CODE(64, code_smap_read, SMAP_ACCESS("mov (%rbx), %rax"));
GUEST_CODE(64, code_smap_write, SMAP_ACCESS("mov %rax, 8(%rbx)"));
static void test_smap(void)
{
    struct guest *g = GUEST(64, code_smap_read);
    for (unsigned write = 0; write < 2; write++) {
        small_pages(g);
        g->p->cr4 |= CR4_SMAP;
        processor_state_changed(g->p);
        guest_faults_with(g, VECTOR_PF, 24, write ? 3 : 1);
        guest_free(g);
        g = write ? NULL : GUEST(64, code_smap_write);
    }
}

/* ... and a user's to the supervisor's page. */
static void test_privilege(void)
{
    struct guest *g = small_pages(GUEST(64, code_streams));
    guest_write(g, PAGE_TABLE + 8 * PAGE, FRAME << PAGE_BITS | 3, 8);
    guest_write(g, PAGE_TABLE + 8 * (CODE >> PAGE_BITS), CODE | 7, 8);
    guest_halts(g);
    g->p->rip = CODE;
    guest_user(g, true);
    guest_faults_with(g, VECTOR_PF, 5, 5); /* present, user */
    guest_free(g);
}

/* An address that is not canonical faults though its lower half is a page that was just read. */
GUEST_CODE(64, code_wild, "mov (%rbx), %rcx\n mov (%rsi), %rax\n hlt");
static void test_wild(void)
{
    struct guest *g = small_pages(GUEST(64, code_wild));
    g->p->gpr[REG_RSI] = 0x8000000000000000u | PAGE << PAGE_BITS;
    guest_faults_with(g, VECTOR_GP, 3, 0);
    guest_free(g);
}

/* ---------------------------------------------------------------- large pages */

/* A large page is read in two places far apart, then leads to another frame, and only one of the
 * two is invalidated: both must have changed.  Then bytes between them become code, and are written
 * again and again, as are more and more of the pages behind them. */
GUEST_CODE(64, code_large,
           "mov $200, %ecx\n"
           "1: add (%rbx), %rax\n add 0x1ff000(%rbx), %rdx\n mov %rcx, 0x1ff008(%rbx)\n"
           "   xorl $0x600000, (%rsi)\n invlpg 0x5000(%rbx)\n dec %ecx\n jnz 1b\n"
           "mov $200, %ecx\n xor %edi, %edi\n"
           "1: mov %ecx, 0x101002(%rbx)\n lea 0x101000(%rbx), %rbp\n call *%rbp\n"
           "   sub %ecx, %r8d\n or %r8d, %edi\n"
           "   mov %rcx, %r9\n neg %r9\n shl $12, %r9\n mov %ecx, 0x1ca000(%rbx, %r9)\n"
           "   dec %ecx\n jnz 1b\n hlt");
static void test_large(void)
{
    enum { LARGE = 0x800000, ONE = 0x400000, OTHER = 0x200000 };
    for (unsigned threshold = 0; threshold < 3; threshold++) {
        struct guest *g = GUEST(64, code_large);
        if (threshold)
            translated(g, threshold, false);
        guest_write(g, PAGE_TABLES + 0x2000 + 8 * (LARGE >> 21), ONE | 0x87, 8);
        for (unsigned n = 0; n < 2; n++) {
            uint64_t frame = n ? OTHER : ONE;
            guest_write(g, frame, n ? 1000 : 1, 8);
            guest_write(g, frame + 0x1ff000, n ? 5000 : 5, 8);
            memcpy(g->ram + frame + 0x101000, "\x41\xb8\0\0\0\0\xc3", 7); /* mov r8d, 0; ret */
        }
        g->p->gpr[REG_RAX] = g->p->gpr[REG_RDX] = 0;
        g->p->gpr[REG_RBX] = LARGE;
        g->p->gpr[REG_RSI] = PAGE_TABLES + 0x2000 + 8 * (LARGE >> 21);
        guest_halts(g);
        g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 100 * 1001);
        g_assert_cmpuint(g->p->gpr[REG_RDX], ==, 100 * 5005);
        g_assert_cmpuint(guest_read(g, ONE + 0x1ff008, 8), ==, 2);
        g_assert_cmpuint(guest_read(g, OTHER + 0x1ff008, 8), ==, 1);
        g_assert_cmphex(g->p->gpr[REG_RDI], ==, 0);
        guest_free(g);
    }
}

/* ---------------------------------------------------------------- neighbours */

/* Three regions from 8 MiB on that are neighbours in memory: a large page, a page table of small
 * ones, another large page. */
enum {
    NEAR = 0x800000,
    NEAR_FRAME = 0x400000,
    NEAR_TABLE = 0xf00000,
    NEAR_ENTRIES = PAGE_TABLES + 0x2000 + 8 * (NEAR >> 21),
};
static uint64_t small_entry(unsigned n)
{
    return NEAR_TABLE + 8 * n;
}
static struct guest *neighbours(struct guest *g, uint64_t global)
{
    for (unsigned n = 0; n < 512; n++)
        guest_write(g, small_entry(n), (NEAR_FRAME + 0x200000 + n * PAGE_BYTES) | 0x67 | global, 8);
    guest_write(g, NEAR_ENTRIES, NEAR_FRAME | 0xe7 | global, 8);
    guest_write(g, NEAR_ENTRIES + 8, NEAR_TABLE | 0x67, 8);
    guest_write(g, NEAR_ENTRIES + 16, (NEAR_FRAME + 0x400000) | 0xe7 | global, 8);
    g->p->gpr[REG_RBX] = NEAR;
    g->p->gpr[REG_RSI] = small_entry(5);
    g->p->gpr[REG_RDI] = NEAR_ENTRIES + 16;
    g->p->gpr[REG_RAX] = g->p->gpr[REG_RDX] = g->p->gpr[REG_R8] = 0;
    g->p->cr4 |= CR4_PGE;
    processor_state_changed(g->p);
    return g;
}

/* A small page and a large one behind the first are led elsewhere and back, again and again, and
 * invalidated: the large one by another of its addresses, or both by loading CR3. */
#define NEIGHBOURS_LOOP(small, large)                                                              \
    "mov $200, %ecx\n"                                                                             \
    "1: lea 0x1000(%rbx), %rbp\n mov $16, %r9d\n"                                                  \
    "2: mov (%rbp), %r10\n mov %r10, (%rbp)\n add $0x1000, %rbp\n dec %r9d\n jnz 2b\n"             \
    "   add (%rbx), %rax\n add 0x204000(%rbx), %rax\n add 0x205000(%rbx), %rdx\n"                  \
    "   add 0x203000(%rbx), %rax\n add 0x206000(%rbx), %rax\n add 0x5ff000(%rbx), %r8\n"           \
    "   mov %rcx, 0x205008(%rbx)\n mov %rcx, 0x5ff008(%rbx)\n"                                     \
    "   xorl $0x8000, (%rsi)\n" small "   xorl $0x600000, (%rdi)\n" large                          \
    "   dec %ecx\n jnz 1b\n hlt"
GUEST_CODE(64, code_neighbours,
           NEIGHBOURS_LOOP("invlpg 0x205000(%rbx)\n",
                           "invlpg 0x401000(%rbx)\n invlpg 0x204000(%rbx)\n"));
GUEST_CODE(64, code_neighbours_reload, NEIGHBOURS_LOOP("mov %cr3, %r11\n", "mov %r11, %cr3\n"));
static void run_neighbours(const uint8_t *code, const uint8_t *end, uint64_t global)
{
    enum { SMALL = NEAR_FRAME + 0x205000, LARGE = NEAR_FRAME + 0x5ff000 };
    for (unsigned threshold = 0; threshold < 3; threshold++) {
        struct guest *g = guest_64(code, end);
        if (threshold)
            translated(g, threshold, false);
        neighbours(g, global);
        guest_write(g, NEAR_FRAME, 3, 8);
        guest_write(g, SMALL - 0x2000, 7, 8);
        guest_write(g, SMALL - 0x1000, 20, 8);
        guest_write(g, SMALL + 0x1000, 100, 8);
        guest_write(g, SMALL, 1, 8);
        guest_write(g, SMALL ^ 0x8000, 1000, 8);
        guest_write(g, LARGE, 5, 8);
        guest_write(g, LARGE ^ 0x600000, 5000, 8);
        guest_halts(g);
        g_assert_cmpuint(g->p->gpr[REG_RAX], ==, 200 * 130);
        g_assert_cmpuint(g->p->gpr[REG_RDX], ==, 100 * 1001);
        g_assert_cmpuint(g->p->gpr[REG_R8], ==, 100 * 5005);
        g_assert_cmpuint(guest_read(g, SMALL + 8, 8), ==, 2);
        g_assert_cmpuint(guest_read(g, (SMALL ^ 0x8000) + 8, 8), ==, 1);
        g_assert_cmpuint(guest_read(g, LARGE + 8, 8), ==, 2);
        g_assert_cmpuint(guest_read(g, (LARGE ^ 0x600000) + 8, 8), ==, 1);
        guest_free(g);
    }
}
static void test_neighbours(gconstpointer global)
{
    run_neighbours(code_neighbours, code_neighbours_end, GPOINTER_TO_UINT(global));
}
static void test_neighbours_reload(void)
{
    run_neighbours(code_neighbours_reload, code_neighbours_reload_end, 0);
}

/* A check behind STI's shadow goes by the TLB, too: it sees the page led elsewhere. */
GUEST_CODE(64, code_behind_shadow,
           "mov $200, %ecx\n"
           "1: cli\n sti\n mov (%rbx), %rax\n add (%rsp), %rdx\n cli\n"
           "   xorl $0x8000, (%rsi)\n invlpg (%rsp)\n dec %ecx\n jnz 1b\n hlt");
static void test_behind_shadow(void)
{
    enum { SMALL = NEAR_FRAME + 0x205000 };
    struct guest *g = neighbours(translated(GUEST(64, code_behind_shadow), 1, false), 0);
    guest_write(g, SMALL, 1, 8);
    guest_write(g, SMALL ^ 0x8000, 1000, 8);
    g->p->gpr[REG_RSP] = NEAR + 0x205000;
    guest_halts(g);
    g_assert_cmpuint(g->p->gpr[REG_RDX], ==, 100 * 1001);
    guest_free(g);
}

/* What is known of pages does not speak for neighbours that were not accessed or not written yet,
 * or that may not be written. */
GUEST_CODE(64, code_neighbours_rights,
           "mov $50, %ecx\n lea 0x1000(%rbx), %rbp\n"
           "1: mov (%rbp), %rax\n mov %rax, (%rbp)\n add $0x1000, %rbp\n"
           "   mov (%rbx), %rax\n mov 0x204000(%rbx), %rax\n mov 0x206000(%rbx), %rax\n"
           "   mov %rax, (%rbx)\n mov %rax, 0x204000(%rbx)\n dec %ecx\n jnz 1b\n"
           "mov 0x209000(%rbx), %rdx\n mov %rdx, 0x207000(%rbx)\n"
           "mov %rdx, 0x202000(%rbx)\n hlt");
static void test_neighbours_rights(gconstpointer global)
{
    for (unsigned threshold = 0; threshold < 3; threshold++) {
        struct guest *g = GUEST(64, code_neighbours_rights);
        const uint8_t fault[] = {0x48, 0x89, 0x93, 0x00, 0x20, 0x20, 0x00};
        uint64_t offset = 0;
        while (memcmp(g->ram + CODE + offset, fault, sizeof(fault)))
            offset++;
        if (threshold)
            translated(g, threshold, false);
        neighbours(g, GPOINTER_TO_UINT(global));
        guest_write(g, small_entry(2), guest_read(g, small_entry(2), 8) & ~2ull, 8);
        guest_write(g, small_entry(9), guest_read(g, small_entry(9), 8) & ~0x60ull, 8);
        guest_write(g, small_entry(7), guest_read(g, small_entry(7), 8) & ~0x40ull, 8);
        guest_faults_with(g, VECTOR_PF, offset, 3);
        g_assert_cmphex(g->p->cr2, ==, NEAR + 0x202000);
        g_assert_cmphex(guest_read(g, small_entry(9), 8) & 0x60, ==, 0x20);
        g_assert_cmphex(guest_read(g, small_entry(7), 8) & 0x60, ==, 0x60);
        guest_free(g);
    }
}

/* ---------------------------------------------------------------- requests of other threads */

static gpointer kick_soon(gpointer data)
{
    g_usleep(20000);
    processor_kick(data);
    return NULL;
}

/* No loop of translated code is deaf: direct, over two pages, by indirect branches alone, by calls
 * that drop what they push, by IRET; as a program's code and as a kernel's, which asks elsewhere.
 */
static void test_kick(gconstpointer code)
{
    for (unsigned how = 0; how < 3; how++) {
        struct guest *g = guest_64(code, (const uint8_t *)code + 64);
        translated_how(g, (struct processor_translator){.threshold = 1, .count = how == 2});
        if (how)
            guest_high(g);
        memcpy(g->ram + 0xa000, "\xe9\xfb\xdf\xff\xff", 5); /* jmp CODE */
        GThread *kicker = g_thread_new("kicker", kick_soon, g->p);
        guest_exit(g, EXIT_REASON_KICK);
        g_thread_join(kicker);
        guest_free(g);
    }
}
GUEST_CODE(64, code_spin, "1: inc %rax\n jmp 1b\n .skip 64");
GUEST_CODE(64, code_spin_pages, ".byte 0xe9, 0xfb, 0x1f, 0, 0\n .skip 64"); /* jmp 0xa000 */
GUEST_CODE(64, code_spin_indirect, "lea 1f(%rip), %rax\n 1: jmp *%rax\n .skip 64");
GUEST_CODE(64, code_spin_return, "lea 1f(%rip), %rax\n 1: push %rax\n ret\n .skip 64");
GUEST_CODE(64, code_spin_call,
           "lea 1f(%rip), %rax\n 1: mov %rsp, %rbx\n 2: mov %rbx, %rsp\n"
           "lea 2b(%rip), %rcx\n call *%rcx\n .skip 64");
GUEST_CODE(64, code_spin_iret,
           "1: mov %rsp, %rbx\n mov %ss, %eax\n push %rax\n push %rbx\n pushf\n"
           "mov %cs, %eax\n push %rax\n lea 1b(%rip), %rax\n push %rax\n iretq\n .skip 64");

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/translate-paging/pages", test_pages);
    g_test_add_func("/translate-paging/fixed", test_fixed);
    g_test_add_func("/translate-paging/remapped", test_remapped);
    g_test_add_func("/translate-paging/flushed", test_flushed);
    g_test_add_func("/translate-paging/writes-page", test_writes_page);
    g_test_add_func("/translate-paging/smap", test_smap);
    g_test_add_func("/translate-paging/privilege", test_privilege);
    g_test_add_func("/translate-paging/wild", test_wild);
    g_test_add_data_func("/translate-paging/kick/page", code_spin, test_kick);
    g_test_add_data_func("/translate-paging/kick/pages", code_spin_pages, test_kick);
    g_test_add_data_func("/translate-paging/kick/indirect", code_spin_indirect, test_kick);
    g_test_add_func("/translate-paging/large", test_large);
    g_test_add_func("/translate-paging/behind-shadow", test_behind_shadow);
    g_test_add_func("/translate-paging/neighbours/reload", test_neighbours_reload);
    for (unsigned global = 0; global < 2; global++) {
        gpointer bit = GUINT_TO_POINTER(global * 0x100);
        g_test_add_data_func(global ? "/translate-paging/neighbours/global"
                                    : "/translate-paging/neighbours/local",
                             bit, test_neighbours);
        g_test_add_data_func(global ? "/translate-paging/neighbours-rights/global"
                                    : "/translate-paging/neighbours-rights/local",
                             bit, test_neighbours_rights);
    }
    g_test_add_data_func("/translate-paging/kick/return", code_spin_return, test_kick);
    g_test_add_data_func("/translate-paging/kick/call", code_spin_call, test_kick);
    g_test_add_data_func("/translate-paging/kick/iret", code_spin_iret, test_kick);
    return g_test_run();
}
