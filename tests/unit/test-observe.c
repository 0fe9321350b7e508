/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the translator tells of itself: why translations called C. */
#include "guest.h"

#include <string.h>

static struct guest *translated(struct guest *g)
{
    const struct processor_translator how = {.on = true, .threshold = 1};
    g_assert_cmpint(processor_set_translator(g->p, &how), ==, 0);
    return g;
}

static struct processor_translator_counts counts(const struct guest *g)
{
    struct processor_translator_counts n;
    processor_get_translator_counts(g->p, &n);
    return n;
}

/* How often operation NAME was left to its handler. */
static uint64_t handled(const struct guest *g, const char *name)
{
    struct processor_handler_count list[512];
    unsigned n = processor_get_handler_counts(g->p, list, G_N_ELEMENTS(list));
    for (unsigned i = 0; i < n; i++) {
        if (!strcmp(list[i].name, name))
            return list[i].count;
    }
    return 0;
}

#define SWEPT 3000 /* pages, from 1 MiB on */

/* Reads a byte of many pages, twice; writes ten times beside itself, and ten times over the end of
 * a page; asks for the task register five times. */
GUEST_CODE(64, code_misses,
           "mov $2, %edx\n"
           "1: mov $0x100000, %ebx\n mov $3000, %ecx\n"
           "2: mov (%rbx), %al\n add $4096, %ebx\n dec %ecx\n jnz 2b\n dec %edx\n jnz 1b\n"
           "mov $10, %ecx\n 3: mov %ecx, 0x8f00\n dec %ecx\n jnz 3b\n"
           "mov $10, %ecx\n 4: mov %rcx, 0xaffd\n dec %ecx\n jnz 4b\n"
           "mov $5, %ecx\n 5: str %eax\n dec %ecx\n jnz 5b\n hlt");
static void test_kinds(void)
{
    struct guest *g = translated(GUEST(64, code_misses));
    guest_halts(g);
    struct processor_translator_counts n = counts(g);
    uint64_t sum = 0;
    for (unsigned kind = 0; kind < PROCESSOR_MISSES; kind++)
        sum += n.misses[kind];
    g_assert_cmpuint(sum, ==, n.slow);
    g_assert_cmpuint(n.misses[MISS_CROSSING], ==, 10);
    g_assert_cmpuint(n.misses[MISS_CODE_PAGE], ==, 10);
    g_assert_cmpuint(n.misses[MISS_EMPTY], >, 0);
    g_assert_cmpuint(n.misses[MISS_EMPTY] + n.misses[MISS_OTHER_PAGE], >=, SWEPT);
    if (TLB_ENTRIES < SWEPT)
        g_assert_cmpuint(n.misses[MISS_OTHER_PAGE], >=, SWEPT - TLB_ENTRIES);
    g_assert_cmpuint(n.misses[MISS_FAULT], ==, 0);
    g_assert_cmpuint(handled(g, "STR"), ==, 5);
    g_assert_cmpuint(handled(g, "HLT"), ==, 1);
    g_assert_cmpuint(n.capacity, >, n.bytes);
    guest_free(g);
}

/* A page fault, and what is not memory. */
GUEST_CODE(64, code_fault, "mov $0x40000000, %ebx\n mov (%rbx), %eax\n hlt");
static void test_fault(void)
{
    struct guest *g = translated(GUEST(64, code_fault));
    guest_faults_with(g, VECTOR_PF, 5, 0);
    g_assert_cmpuint(counts(g).misses[MISS_FAULT], ==, 1);
    guest_free(g);
}

static void test_names(void)
{
    for (unsigned kind = 0; kind < PROCESSOR_MISSES; kind++) {
        g_assert_cmpstr(processor_miss_name(kind), !=, "?");
        for (unsigned other = 0; other < kind; other++)
            g_assert_cmpstr(processor_miss_name(kind), !=, processor_miss_name(other));
    }
}

/* Without a translator there is nothing to tell. */
GUEST_CODE(64, code_nothing, "str %eax\n hlt");
static void test_interpreted(void)
{
    struct guest *g = GUEST(64, code_nothing);
    const struct processor_translator off = {.on = false};
    g_assert_cmpint(processor_set_translator(g->p, &off), ==, 0);
    guest_halts(g);
    g_assert_cmpuint(counts(g).slow, ==, 0);
    g_assert_cmpuint(handled(g, "STR"), ==, 0);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/observe/kinds", test_kinds);
    g_test_add_func("/observe/fault", test_fault);
    g_test_add_func("/observe/names", test_names);
    g_test_add_func("/observe/interpreted", test_interpreted);
    return g_test_run();
}
