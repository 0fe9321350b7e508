/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --stats: which engine ran, why, and what the vCPUs left the guest for. */
#include "core.h"
#include "kvm/trapeze_kvm.h"
#include "vcpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REASONS_MAX  512
#define HANDLERS_TOP 16 /* operations that are printed */

/* A counter by name, summed over the vCPUs. */
struct counter {
    char name[24];
    uint64_t exits;
};
struct counters {
    struct counter counter[REASONS_MAX];
    unsigned count;
    uint64_t total;
};

static const char *const kvm_exit_names[VCPU_EXIT_REASONS] = {
    [KVM_EXIT_UNKNOWN] = "unknown",
    [KVM_EXIT_IO] = "port I/O",
    [KVM_EXIT_HYPERCALL] = "hypercall",
    [KVM_EXIT_DEBUG] = "debug",
    [KVM_EXIT_HLT] = "HLT",
    [KVM_EXIT_MMIO] = "MMIO",
    [KVM_EXIT_IRQ_WINDOW_OPEN] = "interrupt window",
    [KVM_EXIT_SHUTDOWN] = "shutdown",
    [KVM_EXIT_FAIL_ENTRY] = "failed entry",
    [KVM_EXIT_INTR] = "kick or signal",
    [KVM_EXIT_INTERNAL_ERROR] = "internal error",
    [KVM_EXIT_SYSTEM_EVENT] = "system event",
};

static void count(struct counters *c, const char *name, uint64_t exits)
{
    struct counter *k;
    unsigned i = 0;

    if (!exits)
        return;
    while (i < c->count && strcmp(c->counter[i].name, name))
        i++;
    if (i == REASONS_MAX)
        return;
    k = &c->counter[i];
    if (i == c->count) {
        c->count++;
        g_strlcpy(k->name, name, sizeof k->name);
    }
    k->exits += exits;
    c->total += exits;
}

/* The engine's own counts of the kind that REQUEST gives: TRAPEZE_KVM_GET_EXIT_COUNTS or another of
 * that form.  Does nothing when the engine has none. */
static void count_engine(struct machine_vcpu *v, unsigned long request, struct counters *c)
{
    struct trapeze_kvm_exit_counts *t;
    bool known;

    if (!v->machine->engine->extended)
        return;
    t = g_malloc0(sizeof *t + REASONS_MAX * sizeof t->entry[0]);
    t->count = REASONS_MAX;
    known = engine_ioctl_pointer(v->machine->engine, v->file, request, t) >= 0;
    for (unsigned i = 0; known && i < MIN(t->count, REASONS_MAX); i++) {
        t->entry[i].name[sizeof t->entry[i].name - 1] = 0;
        count(c, t->entry[i].name, t->entry[i].exits);
    }
    g_free(t);
}

static void count_kvm(struct machine_vcpu *v, struct counters *c)
{
    for (unsigned i = 0; i < VCPU_EXIT_REASONS; i++) {
        char number[24];

        snprintf(number, sizeof number, "KVM exit %u", i);
        count(c, kvm_exit_names[i] ? kvm_exit_names[i] : number, v->exits[i]);
    }
}

static int by_exits(const void *a, const void *b)
{
    const struct counter *x = a, *y = b;

    return (x->exits < y->exits) - (x->exits > y->exits);
}

static uint64_t instructions(struct machine *m)
{
    uint64_t sum = 0, one;

    for (unsigned i = 0; i < m->cpus && m->engine->extended; i++)
        if (engine_ioctl_pointer(m->engine, m->vcpus[i]->file, TRAPEZE_KVM_GET_INSTRUCTIONS,
                                 &one) >= 0)
            sum += one;
    return sum;
}

/* The first MOST counters of all vCPUs for REQUEST, the largest first, indented by INDENT. */
static void print_top(struct machine *m, unsigned long request, unsigned most, const char *indent)
{
    g_autofree struct counters *c = g_new0(struct counters, 1);

    for (unsigned i = 0; i < m->cpus; i++)
        count_engine(m->vcpus[i], request, c);
    qsort(c->counter, c->count, sizeof c->counter[0], by_exits);
    for (unsigned i = 0; i < MIN(c->count, most); i++)
        fprintf(stderr, "%s%-22s %" PRIu64 "\n", indent, c->counter[i].name, c->counter[i].exits);
}

/* Blocks translated, how they were left, and what was compared. */
static void print_translator(struct machine *m)
{
    struct trapeze_kvm_translator_counts sum = {0}, one;
    g_autofree struct trapeze_kvm_translator_difference *difference =
        g_new0(struct trapeze_kvm_translator_difference, 1);

    for (unsigned i = 0; i < m->cpus && m->engine->extended; i++) {
        struct engine_file *vcpu = m->vcpus[i]->file;

        if (engine_ioctl_pointer(m->engine, vcpu, TRAPEZE_KVM_GET_TRANSLATOR_COUNTS, &one) < 0)
            continue;
        sum.blocks += one.blocks;
        sum.bytes += one.bytes;
        sum.capacity += one.capacity;
        sum.emptied += one.emptied;
        sum.entries += one.entries;
        sum.links += one.links;
        sum.slow += one.slow;
        sum.handlers += one.handlers;
        sum.compared += one.compared;
        sum.differences += one.differences;
        if (!*difference->text)
            engine_ioctl_pointer(m->engine, vcpu, TRAPEZE_KVM_GET_TRANSLATOR_DIFFERENCE,
                                 difference);
    }
    if (!sum.blocks)
        return;
    fprintf(
        stderr,
        "translator: %llu blocks, %llu bytes of code (%.1f %% of the cache), emptied %llu times\n"
        "  entries                  %llu\n"
        "  direct jumps made        %llu\n"
        "  TLB misses               %llu\n",
        sum.blocks, sum.bytes, sum.capacity ? 100.0 * (double)sum.bytes / (double)sum.capacity : 0,
        sum.emptied, sum.entries, sum.links, sum.slow);
    print_top(m, TRAPEZE_KVM_GET_MISS_COUNTS, REASONS_MAX, "    ");
    fprintf(stderr, "  instructions by handler  %llu\n", sum.handlers);
    print_top(m, TRAPEZE_KVM_GET_HANDLER_COUNTS, HANDLERS_TOP, "    ");
    if (sum.compared)
        fprintf(stderr, "  compared                 %llu\n  differences              %llu\n%s",
                sum.compared, sum.differences, difference->text);
}

void machine_print_stats(struct machine *m)
{
    g_autofree struct counters *user = g_new0(struct counters, 1);
    g_autofree struct counters *architectural = g_new0(struct counters, 1);
    uint64_t retired = instructions(m);

    for (unsigned i = 0; i < m->cpus; i++) {
        count_kvm(m->vcpus[i], user);
        count_engine(m->vcpus[i], TRAPEZE_KVM_GET_EXIT_COUNTS, architectural);
    }
    const struct counters *tables[] = {architectural, user};
    const char *titles[] = {"VM exits by architectural reason", "exits to the machine"};
    qsort(user->counter, user->count, sizeof user->counter[0], by_exits);
    qsort(architectural->counter, architectural->count, sizeof architectural->counter[0], by_exits);

    fprintf(stderr, "engine: %s (%s)\n", m->engine->ops->name, m->engine->why);
    if (retired)
        fprintf(stderr, "instructions: %" PRIu64 "\n", retired);
    print_translator(m);
    for (unsigned t = 0; t < ARRAY_SIZE(tables); t++) {
        if (!tables[t]->count)
            continue;
        fprintf(stderr, "%s: %" PRIu64 "\n", titles[t], tables[t]->total);
        for (unsigned i = 0; i < tables[t]->count; i++)
            fprintf(stderr, "  %-24s %" PRIu64 "\n", tables[t]->counter[i].name,
                    tables[t]->counter[i].exits);
    }
}
