/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "translated.h"

struct guest *translated_how(struct guest *g, struct processor_translator how)
{
    how.on = true;
    g_assert_cmpint(processor_set_translator(g->p, &how), ==, 0);
    return g;
}

struct guest *translated(struct guest *g, unsigned threshold, bool check)
{
    return translated_how(g, (struct processor_translator){.threshold = threshold, .check = check});
}

struct processor_translator_counts counts(const struct guest *g)
{
    struct processor_translator_counts n;
    processor_get_translator_counts(g->p, &n);
    return n;
}

void check_clean(const struct guest *g)
{
    const char *text = processor_translator_difference(g->p);
    if (text)
        g_test_message("%s", text);
    g_assert_cmpuint(counts(g).compared, >, 0);
    g_assert_cmpuint(counts(g).differences, ==, 0);
}

struct guest *guest_high(struct guest *g)
{
    for (unsigned n = 0; n < 512; n++)
        guest_write(g, 0x100000 + 8 * n, n << PAGE_BITS | 0x103, 8);
    guest_write(g, PAGE_TABLES + 0xff8, guest_read(g, PAGE_TABLES, 8), 8);
    guest_write(g, PAGE_TABLES + 0x1ff0, guest_read(g, PAGE_TABLES + 0x1000, 8), 8);
    guest_write(g, PAGE_TABLES + 0x2000, 0x100003, 8);
    g->p->cr4 |= CR4_PGE;
    g->p->rip += HIGH_BASE;
    g->p->gpr[REG_RSP] += HIGH_BASE;
    processor_state_changed(g->p);
    return g;
}

struct guest *small_pages(struct guest *g)
{
    for (unsigned n = 0; n < 512; n++)
        guest_write(g, PAGE_TABLE + 8 * n, n << PAGE_BITS | 3, 8);
    guest_write(g, PAGE_TABLE + 8 * PAGE, FRAME << PAGE_BITS | 7, 8);
    guest_write(g, PAGE_TABLES + 0x2000, PAGE_TABLE | 7, 8);
    guest_write(g, FRAME << PAGE_BITS, 1, 8);
    guest_write(g, OTHER_FRAME << PAGE_BITS, 1000, 8);
    g->p->gpr[REG_RAX] = 0;
    g->p->gpr[REG_RBX] = PAGE << PAGE_BITS;
    g->p->gpr[REG_RDX] = PAGE_TABLE + 8 * PAGE;
    /* A page that shares PAGE's TLB entry. */
    g->p->gpr[REG_R8] = (PAGE + TLB_ENTRIES) << PAGE_BITS;
    return translated(g, 1, false);
}
