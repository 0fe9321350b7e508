/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interpreter, and the translator, against the host's processor: random unprivileged instructions run natively in
 * this process and in a guest on the same registers, memory and addresses, and everything they
 * leave is compared: registers, defined flags, x87 and vector state, memory, RIP, and the kind of
 * fault.
 *
 * --count N instructions (default 1,000,000), --seconds N to stop after (default 60), --seed N
 * (default by the clock; printed), --only X: one mnemonic, "general" or "vector".
 */
#include "native-generate.h"
#include "native-run.h"

#include "processor/processor.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <Zydis/Zydis.h>

#define GS_BASE           0x10000ull
#define TABLES_GPA        0ull
#define TABLES_BYTES      (16 * PAGE_BYTES)
#define SCRATCH_GPA       0x100000ull
#define CODE_GPA          0x200000ull
#define DIFFERENCES_SHOWN 20

/* ---------------------------------------------------------------- the guest */

struct guest {
    struct memory *memory;
    struct processor *processor;
    uint64_t *tables;
    uint8_t *scratch, *code;
    unsigned tables_used;
};

static void *allocate(uint64_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(p != MAP_FAILED);
    return p;
}

static void add_slot(struct guest *g, uint32_t id, uint64_t gpa, uint64_t size, void *hva)
{
    struct memory_slot slot = {.id = id, .gpa = gpa, .size = size, .hva = hva};
    g_assert_cmpint(memory_set_slot(g->memory, &slot), ==, 0);
}

/* Maps the page at LINEAR to GPA in 4-level tables, for user code. */
static void map_page(struct guest *g, uint64_t linear, uint64_t gpa, bool writable)
{
    enum { PRESENT = 1, WRITABLE = 2, USER = 4 };
    uint64_t *table = g->tables;
    for (int level = 3; level > 0; level--) {
        uint64_t *entry = &table[linear >> (PAGE_BITS + 9 * level) & 511];
        if (!*entry) {
            g_assert_cmpuint((g->tables_used + 1) * PAGE_BYTES, <, TABLES_BYTES);
            *entry = TABLES_GPA + ++g->tables_used * PAGE_BYTES + (PRESENT | WRITABLE | USER);
        }
        table = g->tables + (ALIGN_DOWN(*entry, PAGE_BYTES) - TABLES_GPA) / 8;
    }
    table[linear >> PAGE_BITS & 511] = gpa | PRESENT | USER | (writable ? WRITABLE : 0);
}

/* User code, all exceptions exiting. */
static void enter_user_mode(struct processor *p, bool compat, uint64_t fs_base)
{
    const struct segment data = {0x2b, AR_P | AR_DPL | AR_S | 3 | AR_DB | AR_G, 0xffffffff, 0};
    p->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    p->cr3 = TABLES_GPA;
    p->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    p->msr.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    for (unsigned n = SEG_ES; n <= SEG_GS; n++)
        p->segment[n] = data;
    p->segment[SEG_CS].access_rights = AR_P | AR_DPL | AR_S | 11 | AR_L | AR_G;
    p->segment[SEG_CS].selector = 0x33;
    p->segment[SEG_FS].base = fs_base;
    p->segment[SEG_GS].base = GS_BASE;
    if (compat) {
        p->segment[SEG_CS].access_rights = AR_P | AR_DPL | AR_S | 11 | AR_DB | AR_G;
        p->segment[SEG_CS].selector = 0x23;
        p->segment[SEG_FS] = p->segment[SEG_GS] = (struct segment){.access_rights = AR_UNUSABLE};
    }
    p->segment[SEG_TR].limit = 0; /* no I/O map: ports raise #GP */
    p->xcr0_supported = 7;
    p->vector.xcr0 = 7;
    p->vmcs.exception_bitmap = ~0u;
    processor_controls_changed(p);
    processor_state_changed(p);
}

static void guest_open(struct guest *g, bool compat, uint64_t fs_base)
{
    memset(g, 0, sizeof(*g));
    g->memory = memory_new();
    g->tables = allocate(TABLES_BYTES);
    g->scratch = allocate(SCRATCH_BYTES);
    g->code = allocate(CODE_BYTES);
    add_slot(g, 0, TABLES_GPA, TABLES_BYTES, g->tables);
    add_slot(g, 1, SCRATCH_GPA, SCRATCH_BYTES, g->scratch);
    add_slot(g, 2, CODE_GPA, CODE_BYTES, g->code);
    for (uint64_t at = 0; at < SCRATCH_BYTES; at += PAGE_BYTES)
        map_page(g, SCRATCH_START + at, SCRATCH_GPA + at, at < WRITABLE_BYTES);
    for (uint64_t at = 0; at < CODE_BYTES; at += PAGE_BYTES)
        map_page(g, CODE_START + at, CODE_GPA + at, false);
    g->processor = processor_new(g->memory);
    g_assert_nonnull(g->processor);
    enter_user_mode(g->processor, compat, fs_base);
}

static void guest_close(struct guest *g)
{
    processor_free(g->processor);
    memory_free(g->memory);
    munmap(g->tables, TABLES_BYTES);
    munmap(g->scratch, SCRATCH_BYTES);
    munmap(g->code, CODE_BYTES);
}

/* UD2 stands where the native slot has its jumps. */
static void guest_place(struct guest *g, unsigned slot, const uint8_t *bytes, unsigned length)
{
    static const uint8_t ud2[2] = {0x0f, 0x0b};
    uint8_t *at = g->code + slot * SLOT_BYTES;
    memcpy(at, bytes, length);
    memcpy(at + length, ud2, 2);
    memcpy(at + SLOT_PAD, ud2, 2);
}

static void guest_run(struct guest *g, unsigned slot, const struct subject *s,
                      struct native_outcome *out)
{
    struct processor *p = g->processor;
    uint64_t start = slot_address(slot);
    memcpy(p->gpr, s->state.gpr, sizeof(s->state.gpr));
    p->rip = start;
    processor_set_rflags(p, (uint32_t)s->state.rflags);
    g_assert_cmpint(processor_set_xsave(p, s->state.xsave, XSAVE_BYTES), ==, 0);
    processor_state_changed(p);

    unsigned reason = vmx_enter(p);
    g_assert_cmpstr(exit_reason_name(reason), ==, exit_reason_name(EXIT_REASON_EXCEPTION_NMI));
    memcpy(out->state.gpr, p->gpr, sizeof(out->state.gpr));
    out->state.rflags = processor_rflags(p);
    processor_get_xsave(p, out->state.xsave, XSAVE_BYTES);
    out->rip = p->rip;
    out->vector = p->vmcs.exit_interruption_info & INTR_INFO_VECTOR_MASK;
    out->error_code = p->vmcs.exit_interruption_info & INTR_INFO_DELIVER_CODE
                          ? p->vmcs.exit_interruption_error_code
                          : 0;
    out->cr2 = p->vmcs.exit_qualification;
    out->stop = STOP_FAULT;
    if (out->vector == VECTOR_UD && p->rip == start + s->length)
        out->stop = STOP_NEXT;
    else if (out->vector == VECTOR_UD && p->rip == start + SLOT_PAD)
        out->stop = STOP_PAD;
}

/* ---------------------------------------------------------------- comparison */

struct run {
    struct guest guest;
    struct generator *generator;
    uint8_t before[SCRATCH_BYTES]; /* scratch memory at the start of the instruction */
    bool compat;
    struct subject subject;
    unsigned slot;
    struct native_outcome native, ours;
    char difference[200]; /* "" when there is none */
};

static void G_GNUC_PRINTF(2, 3) differ(struct run *r, const char *format, ...)
{
    va_list arguments;
    if (r->difference[0])
        return;
    va_start(arguments, format);
    g_vsnprintf(r->difference, sizeof(r->difference), format, arguments);
    va_end(arguments);
}

/* After #XM: whether the precision flag is set beside an unmasked overflow or underflow is left
 * open, and how far a dot product, which takes several steps, has gone. */
static uint32_t mxcsr_forgiven(const struct run *r, uint32_t mxcsr)
{
    enum { FLAGS = 0x3f, OVERFLOW_UNDERFLOW = 0x18, PRECISION = 0x20 };
    if (r->native.stop != STOP_FAULT || r->native.vector != VECTOR_XM)
        return 0;
    if (strstr(r->subject.insn.attr->name, "dpp"))
        return FLAGS;
    return mxcsr & ~(mxcsr >> 7) & OVERFLOW_UNDERFLOW ? PRECISION : 0;
}
static bool uses_mmx(const struct insn *i)
{
    for (unsigned n = 0; n < ARRAY_SIZE(i->attr->operand); n++)
        if (i->attr->operand[n].kind == OPERAND_MMX_REG ||
            i->attr->operand[n].kind == OPERAND_MMX_RM)
            return true;
    return false;
}

static void compare_vector(struct run *r)
{
    const uint8_t *n = r->native.state.xsave, *o = r->ours.state.xsave;
    /* Whether an instruction that faults has entered MMX mode is left open. */
    bool open = r->native.stop == STOP_FAULT && uses_mmx(&r->subject.insn);
    if (!open && memcmp(n, o, 5))
        differ(r, "x87 control, status or tag word");
    for (unsigned st = 0; st < 8; st++)
        if (!open && memcmp(n + 32 + 16 * st, o + 32 + 16 * st, 10))
            differ(r, "st(%u)", st);
    uint32_t mxcsr, ours;
    memcpy(&mxcsr, n + 24, 4);
    memcpy(&ours, o + 24, 4);
    if ((mxcsr ^ ours) & ~mxcsr_forgiven(r, mxcsr))
        differ(r, "mxcsr");
    for (unsigned x = 0; x < 16; x++)
        if (memcmp(n + 160 + 16 * x, o + 160 + 16 * x, 16) ||
            memcmp(n + 576 + 16 * x, o + 576 + 16 * x, 16))
            differ(r, "ymm%u", x);
}

/* Makes equal what the instruction stores but processors do differently: x87's instruction and data
 * pointers and opcode, when they are updated at all, and MXCSR_MASK. */
static void forgive(struct run *r, unsigned offset, unsigned size)
{
    uint64_t at = r->subject.linear + offset - SCRATCH_START;
    if (at < SCRATCH_BYTES - size)
        memcpy(r->guest.scratch + at, native_scratch() + at, size);
}

static void compare_memory(struct run *r)
{
    const struct insn *i = &r->subject.insn;
    uint8_t *native = native_scratch();
    if (i->attr->op == OP_FXSAVE) {
        forgive(r, 6, 18);
        forgive(r, 28, 4);
    } else if (i->attr->op == OP_FNSTENV || i->attr->op == OP_FNSAVE) {
        forgive(r, i->opsize == 2 ? 6 : 12, i->opsize == 2 ? 8 : 16);
    }
    /* ENTER and PUSHA may have pushed before they fault; RSP has not moved. */
    bool pushed =
        (i->attr->op == OP_ENTER || i->attr->op == OP_PUSHA) && r->native.stop == STOP_FAULT;
    if (pushed || !memcmp(native, r->guest.scratch, SCRATCH_BYTES))
        return;
    for (uint64_t n = 0; n < SCRATCH_BYTES; n++)
        if (native[n] != r->guest.scratch[n]) {
            differ(r, "memory at %#" G_GINT64_MODIFIER "x: native %02x, ours %02x",
                   (uint64_t)(SCRATCH_START + n), native[n], r->guest.scratch[n]);
            return;
        }
}

/* The address of a page fault; large images may be accessed in any order, masked bytes
 * not at all. */
static void compare_cr2(struct run *r)
{
    const struct insn *i = &r->subject.insn;
    int memory = insn_memory_operand(i);
    bool image = memory >= 0 && insn_operand_size(i, (unsigned)memory) == 0;
    if (i->attr->class == CLASS_VECTOR && (image || i->attr->op == OP_MASKMOV))
        return;
    if (r->native.cr2 != r->ours.cr2)
        differ(r, "cr2");
}

/* Flags compared: all that user code may change, but those left undefined. */
static uint64_t flags_compared(const struct run *r)
{
    uint64_t mask = FLAGS_STATUS | FLAG_DF | FLAG_IF;
    return r->native.stop == STOP_FAULT ? mask
                                        : mask & ~(uint64_t)r->subject.insn.attr->flags_undefined;
}

static void compare(struct run *r)
{
    const struct native_outcome *n = &r->native, *o = &r->ours;
    if (n->stop != o->stop) {
        differ(r, "how it ended");
    } else if (n->stop == STOP_FAULT) {
        if (n->vector != o->vector || n->error_code != o->error_code)
            differ(r, "fault: native %u code %#x, ours %u code %#x", n->vector, n->error_code,
                   o->vector, o->error_code);
        if (n->rip != o->rip)
            differ(r, "rip of the fault");
        if (n->vector == VECTOR_PF && o->vector == VECTOR_PF)
            compare_cr2(r);
    }
    uint64_t wide = r->compat ? 0xffffffff : ~0ull;
    for (unsigned reg = 0; reg < (r->compat ? 8 : 16); reg++)
        if ((n->state.gpr[reg] ^ o->state.gpr[reg]) & wide)
            differ(r, "gpr %u", reg);
    if ((n->state.rflags ^ o->state.rflags) & flags_compared(r))
        differ(r, "flags: %#x",
               (unsigned)((n->state.rflags ^ o->state.rflags) & flags_compared(r)));
    compare_vector(r);
    compare_memory(r);
}

/* ---------------------------------------------------------------- reports */

static void print_disassembly(const struct run *r)
{
    const struct subject *s = &r->subject;
    ZydisDisassembledInstruction text;
    g_printerr("%s: ", s->insn.attr->name);
    for (unsigned n = 0; n < s->length; n++)
        g_printerr("%02x ", s->bytes[n]);
    if (ZYAN_SUCCESS(ZydisDisassembleIntel(r->compat ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
                                                     : ZYDIS_MACHINE_MODE_LONG_64,
                                           slot_address(r->slot), s->bytes, s->length, &text)))
        g_printerr(" %s", text.text);
    g_printerr("\n  differs in %s\n", r->difference);
}

static void print_bytes(const char *name, unsigned n, const uint8_t *low, unsigned size,
                        const uint8_t *high)
{
    g_printerr("%s%u ", name, n);
    for (unsigned k = 16; high && k-- > 0;)
        g_printerr("%02x", high[k]);
    for (unsigned k = size; k-- > 0;)
        g_printerr("%02x", low[k]);
    g_printerr("\n");
}

static void print_state(const char *title, const struct native_state *s,
                        const struct native_state *from)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    g_printerr("  %s: rflags %#x", title, (unsigned)s->rflags);
    for (unsigned r = 0; r < 16; r++)
        if (!from || s->gpr[r] != from->gpr[r])
            g_printerr(" %s %#" G_GINT64_MODIFIER "x", names[r], s->gpr[r]);
    g_printerr(" fcw %02x%02x fsw %02x%02x ftw %02x mxcsr %02x%02x\n", s->xsave[1], s->xsave[0],
               s->xsave[3], s->xsave[2], s->xsave[4], s->xsave[25], s->xsave[24]);
    for (unsigned n = 0; n < 16; n++) {
        const uint8_t *low = s->xsave + 160 + 16 * n, *high = s->xsave + 576 + 16 * n;
        if (from && (memcmp(low, from->xsave + 160 + 16 * n, 16) ||
                     memcmp(high, from->xsave + 576 + 16 * n, 16)))
            print_bytes("    ymm", n, low, 16, high);
    }
    for (unsigned n = 0; n < 8; n++)
        if (from && memcmp(s->xsave + 32 + 16 * n, from->xsave + 32 + 16 * n, 10))
            print_bytes("    st", n, s->xsave + 32 + 16 * n, 10, NULL);
}

static void print_operands(const struct run *r)
{
    const struct insn *i = &r->subject.insn;
    const uint8_t *x = r->subject.state.xsave;
    for (unsigned n = 0; n < 4; n++) {
        unsigned kind = i->attr->operand[n].kind, reg = 16;
        if (kind == OPERAND_XMM_REG)
            reg = i->reg;
        else if (kind == OPERAND_XMM_RM && i->mod3)
            reg = i->rm;
        else if (kind == OPERAND_XMM_V)
            reg = insn_vvvv(i);
        if (reg < 16)
            print_bytes("    before: ymm", reg, x + 160 + 16 * reg, 16, x + 576 + 16 * reg);
    }
    if (i->attr->op == OP_X87)
        for (unsigned n = 0; n < 8; n++)
            print_bytes("    before: st", n, x + 32 + 16 * n, 10, NULL);
    uint64_t at = r->subject.linear - SCRATCH_START;
    if (at < SCRATCH_BYTES - 32)
        print_bytes("    before: memory, byte ", 0, r->before + at, 32, NULL);
}

static void print_end(const char *title, const struct native_outcome *o)
{
    static const char *const ends[] = {"went on", "branched", "fault"};
    g_printerr("  %s %s", title, ends[o->stop]);
    if (o->stop == STOP_FAULT)
        g_printerr(" %u code %#x rip %#" G_GINT64_MODIFIER "x cr2 %#" G_GINT64_MODIFIER "x",
                   o->vector, o->error_code, o->rip, o->cr2);
    g_printerr("\n");
}

static void report(const struct run *r)
{
    print_disassembly(r);
    print_state("before", &r->subject.state, NULL);
    print_operands(r);
    print_end("native", &r->native);
    print_state("native", &r->native.state, &r->subject.state);
    print_end("ours", &r->ours);
    print_state("ours", &r->ours.state, &r->subject.state);
}

/* ---------------------------------------------------------------- the test */

struct options {
    bool compat, translated;
    uint64_t seed, count, seconds;
    const char *only;
};

static void fill_scratch(struct run *r)
{
    generator_fill(r->generator, r->before, SCRATCH_BYTES);
    /* Runs of zeros, for what compares and scans. */
    for (unsigned n = 0; n < 8; n++)
        memset(r->before + generator_random(r->generator) % (SCRATCH_BYTES - 512), 0, 512);
    memcpy(native_scratch(), r->before, SCRATCH_BYTES);
    memcpy(r->guest.scratch, r->before, SCRATCH_BYTES);
}

/* Bit 17 of MXCSR is AMD's alone: it is not loaded. */
static void avoid_mm(struct run *r, const struct subject *s)
{
    enum { MM_BYTE = 2, MM_BIT = 2 };
    unsigned op = s->insn.attr->op;
    if (op != OP_LDMXCSR && op != OP_FXRSTOR)
        return;
    uint64_t at = s->linear + (op == OP_FXRSTOR ? 24 : 0) + MM_BYTE - SCRATCH_START;
    if (at < SCRATCH_BYTES) {
        native_scratch()[at] &= (uint8_t)~MM_BIT;
        r->guest.scratch[at] = native_scratch()[at];
    }
}

static void run_one(struct run *r, unsigned slot, const struct subject *s)
{
    r->slot = slot;
    r->subject = *s;
    if (s->poke_size) {
        memcpy(native_scratch() + (s->poke_address - SCRATCH_START), s->poke, s->poke_size);
        memcpy(r->guest.scratch + (s->poke_address - SCRATCH_START), s->poke, s->poke_size);
    }
    avoid_mm(r, s);
    memcpy(r->before, native_scratch(), SCRATCH_BYTES);
    r->difference[0] = '\0';
    native_run(slot, &s->state, r->compat, &r->native);
    guest_run(&r->guest, slot, s, &r->ours);
    compare(r);
    if (memcmp(native_scratch(), r->guest.scratch, SCRATCH_BYTES))
        memcpy(r->guest.scratch, native_scratch(), SCRATCH_BYTES);
}

/* Some kernels have no segment for 32-bit code. */
static bool runs_compat(void)
{
    static const uint8_t nop = 0x90;
    struct native_state state = {.rflags = 0x202};
    struct native_outcome out;
    state.xsave[0] = 0x7f;
    state.xsave[1] = 0x03;
    state.xsave[512] = 7;
    native_place(0, &nop, 1, true);
    native_run(0, &state, true, &out);
    return out.stop == STOP_NEXT;
}

static void test_against_host(gconstpointer data)
{
    const struct options *o = data;
    struct run *r = g_new0(struct run, 1);
    struct subject *subjects = g_new0(struct subject, SLOT_COUNT);
    uint64_t fs_base, done = 0, differences = 0, faults = 0;
    if (!native_open(GS_BASE, &fs_base)) {
        g_test_skip("needs XSAVE with AVX, and addresses at 0x20000000 free");
        return;
    }
    r->compat = o->compat;
    if (r->compat && !runs_compat()) {
        g_test_skip("this host runs no 32-bit code");
        return;
    }
    guest_open(&r->guest, r->compat, fs_base);
    const struct processor_translator translator = {.on = o->translated, .threshold = 1};
    g_assert_cmpint(processor_set_translator(r->guest.processor, &translator), ==, 0);
    r->generator =
        generator_new(o->seed, r->compat ? DECODE_32 : DECODE_64, o->only, fs_base, GS_BASE);
    if (!generator_rows(r->generator))
        g_error("--only: no instruction is called %s", o->only);
    g_test_message("seed %" G_GUINT64_FORMAT ", %u rows", o->seed, generator_rows(r->generator));

    int64_t end = g_get_monotonic_time() + (int64_t)o->seconds * G_USEC_PER_SEC;
    while (done < o->count && differences < DIFFERENCES_SHOWN && g_get_monotonic_time() < end) {
        fill_scratch(r);
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            struct subject *s = &subjects[slot];
            while (!generate(r->generator, slot_address(slot), s))
                ;
            native_place(slot, s->bytes, s->length, r->compat);
            guest_place(&r->guest, slot, s->bytes, s->length);
        }
        memory_written(r->guest.memory, CODE_GPA, CODE_BYTES);
        for (unsigned slot = 0; slot < SLOT_COUNT && differences < DIFFERENCES_SHOWN; slot++) {
            run_one(r, slot, &subjects[slot]);
            done++;
            faults += r->native.stop == STOP_FAULT;
            if (r->difference[0]) {
                differences++;
                report(r);
            }
        }
    }
    g_test_message("%" G_GUINT64_FORMAT " instructions, %" G_GUINT64_FORMAT " of them faulting",
                   done, faults);
    const char *example = NULL;
    unsigned missed = generator_missed(r->generator, &example);
    g_test_message("%u rows not among them%s%s", missed, missed ? ", such as " : "",
                   missed ? example : "");
    g_assert_cmpuint(differences, ==, 0);
    if (done < o->count)
        g_test_incomplete("the time ran out first");
    generator_free(r->generator);
    guest_close(&r->guest);
    native_close();
    g_free(subjects);
    g_free(r);
}

/* Takes our own options before GLib looks: it has a --seed too. */
static void take_options(int *argc, char **argv, struct options *o)
{
    int kept = 1;
    for (int n = 1; n < *argc; n++) {
        bool more = n + 1 < *argc;
        if (more && !strcmp(argv[n], "--seed"))
            o->seed = g_ascii_strtoull(argv[++n], NULL, 0);
        else if (more && !strcmp(argv[n], "--count"))
            o->count = g_ascii_strtoull(argv[++n], NULL, 0);
        else if (more && !strcmp(argv[n], "--seconds"))
            o->seconds = g_ascii_strtoull(argv[++n], NULL, 0);
        else if (more && !strcmp(argv[n], "--only"))
            o->only = argv[++n];
        else
            argv[kept++] = argv[n];
    }
    *argc = kept;
}

int main(int argc, char **argv)
{
    struct options wide = {.seed = (uint64_t)g_get_real_time(), .count = 1000000, .seconds = 60};
    take_options(&argc, argv, &wide);
    struct options compat = wide;
    struct options translated = wide;
    compat.compat = true;
    compat.count = wide.count / 4;
    translated.translated = true;
    struct options compat_translated = compat;
    compat_translated.translated = true;
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/native/64-bit", &wide, test_against_host);
    g_test_add_data_func("/native/64-bit-translated", &translated, test_against_host);
    g_test_add_data_func("/native/32-bit", &compat, test_against_host);
    g_test_add_data_func("/native/32-bit-translated", &compat_translated, test_against_host);
    return g_test_run();
}
