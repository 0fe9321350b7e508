/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the translator tells of itself: why translations called C, what they look like, perf's
 * names. */
#include "translated.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

#define SWEPT 3000 /* pages, from 2 MiB on */

/* Makes the pages from 2 MiB on small ones, neighbours of which are never neighbours in memory. */
static void scatter(struct guest *g)
{
    enum { FIRST = 1, TABLES = 6, AT = 0xf00000, ENTRIES = 512 };
    for (uint64_t n = FIRST * ENTRIES; n < (FIRST + TABLES) * ENTRIES; n++)
        guest_write(g, AT + 8 * (n - FIRST * ENTRIES), (n ^ 1) << PAGE_BITS | 0x67, 8);
    for (unsigned n = 0; n < TABLES; n++)
        guest_write(g, PAGE_TABLES + 0x2000 + 8 * (FIRST + n), AT + n * PAGE_BYTES + 7, 8);
}

/* Reads a byte of many pages, twice; writes ten times beside itself, and ten times over the end of
 * a page of a large one and over that of a small one; asks for the task register five times. */
GUEST_CODE(64, code_misses,
           "mov $2, %edx\n"
           "1: mov $0x200000, %ebx\n mov $3000, %ecx\n"
           "2: mov (%rbx), %al\n add $4096, %ebx\n dec %ecx\n jnz 2b\n dec %edx\n jnz 1b\n"
           "mov $10, %ecx\n 3: mov %ecx, 0x8f00\n dec %ecx\n jnz 3b\n"
           "mov $10, %ecx\n 4: mov %rcx, 0xaffd\n mov %rcx, 0x3ffffd\n dec %ecx\n jnz 4b\n"
           "mov $5, %ecx\n 5: str %eax\n dec %ecx\n jnz 5b\n hlt");
static void test_kinds(void)
{
    struct guest *g = translated(GUEST(64, code_misses), 1, false);
    scatter(g);
    guest_halts(g);
    struct processor_translator_counts n = counts(g);
    uint64_t sum = 0;
    for (unsigned kind = 0; kind < PROCESSOR_MISSES; kind++)
        sum += n.misses[kind];
    g_assert_cmpuint(sum, ==, n.slow);
    /* Inside a large page only the first write has to find out that it is one. */
    g_assert_cmpuint(n.misses[MISS_CROSSING], ==, 11);
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
    struct guest *g = translated(GUEST(64, code_fault), 1, false);
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

/* ---------------------------------------------------------------- translations shown */

/* A block with something out of line in the middle of the code. */
GUEST_CODE(64, code_shown,
           "mov $20, %ecx\n"
           "1: add %rcx, 0xa000\n xor %eax, %eax\n dec %ecx\n jnz 1b\n hlt");

static struct guest *watched(struct guest *g, struct processor_translator how)
{
    how.on = true;
    how.threshold = 1;
    g_assert_cmpint(processor_set_translator(g->p, &how), ==, 0);
    return g;
}

static void test_shown(void)
{
    g_autofree struct processor_translation *t = g_new0(struct processor_translation, 1);
    /* The second instruction of the loop's block. */
    struct guest *g =
        watched(GUEST(64, code_shown),
                (struct processor_translator){.trace = true, .trace_address = CODE + 13});
    g_assert_false(processor_get_translation(g->p, t));
    guest_halts(g);
    g_assert_true(processor_get_translation(g->p, t));
    g_assert_cmpuint(t->bits, ==, 64);
    g_assert_cmpuint(t->linear, <=, CODE + 13);
    g_assert_cmpuint(t->linear + t->guest_bytes, >, CODE + 13);
    g_assert_cmpmem(t->guest, t->guest_bytes, g->ram + t->linear, t->guest_bytes);
    /* The code is what runs there, and its parts are in order and of all kinds. */
    g_assert_cmpmem(t->code, t->inline_bytes, (const void *)(uintptr_t)t->host, t->inline_bytes);
    uint32_t late_bytes = t->code_bytes - t->inline_bytes;
    g_assert_cmpmem(t->code + t->inline_bytes, late_bytes, (const void *)(uintptr_t)t->late_host,
                    late_bytes);
    g_assert_cmpuint(t->part[0].kind, ==, TRANSLATION_ENTRY);
    g_assert_cmpuint(t->part[0].start, ==, 0);
    unsigned instructions = 0, late = 0;
    for (unsigned n = 0; n < t->parts; n++) {
        const struct processor_translation_part *part = &t->part[n];
        if (n)
            g_assert_cmpuint(part->start, >=, part[-1].start);
        g_assert_cmpuint(part->start, <=, t->code_bytes);
        g_assert_cmpuint(part->insn, <, t->guest_bytes);
        instructions += part->kind == TRANSLATION_INLINE;
        late += part->kind == TRANSLATION_LATE;
        if (part->kind == TRANSLATION_LATE && t->linear == CODE + 5)
            /* ADD, JNZ, or the way on behind HLT */
            g_assert_true(part->insn == 0 || part->insn == 12 || part->insn == 14);
    }
    g_assert_cmpuint(instructions, >=, 4);
    g_assert_cmpuint(late, >, 0);
    guest_free(g);

    g = watched(GUEST(64, code_shown),
                (struct processor_translator){.trace = true, .trace_address = CODE - 1});
    guest_halts(g);
    g_assert_false(processor_get_translation(g->p, t));
    guest_free(g);
}

static void test_names_for_perf(void)
{
    g_autofree char *text = g_malloc0(65536);
    int file = memfd_create("map", MFD_CLOEXEC);
    struct guest *g = watched(GUEST(64, code_shown),
                              (struct processor_translator){.names = true, .names_file = file});
    guest_halts(g);
    g_assert_cmpint(pread(file, text, 65535, 0), >, 0);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    unsigned blocks = 0;
    for (unsigned n = 0; lines[n] && *lines[n]; n++) {
        unsigned long start, size, linear;
        char name[32];
        g_assert_cmpint(sscanf(lines[n], "%lx %lx %31s", &start, &size, name), ==, 3);
        g_assert_cmpuint(size, >, 0);
        if (sscanf(name, "guest_%lx", &linear) == 1) {
            blocks += !g_str_has_suffix(name, "_late");
            g_assert_cmpuint(linear, >=, CODE);
            g_assert_cmpuint(linear, <, CODE + 64);
        } else {
            g_assert_cmpstr(name, ==, "trapeze_thunks");
        }
    }
    g_assert_cmpuint(blocks, ==, counts(g).blocks);
    guest_free(g);
    close(file);
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
    g_test_add_func("/observe/shown", test_shown);
    g_test_add_func("/observe/names-for-perf", test_names_for_perf);
    g_test_add_func("/observe/interpreted", test_interpreted);
    return g_test_run();
}
