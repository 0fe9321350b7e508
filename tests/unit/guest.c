/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest.h"

#include <string.h>
#include <sys/mman.h>

uint64_t guest_read(struct guest *g, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, g->ram + address, size);
    return value;
}

void guest_write(struct guest *g, uint64_t address, uint64_t value, unsigned size)
{
    memcpy(g->ram + address, &value, size);
    memory_written(g->memory, address, size);
}

/* A descriptor from its second doubleword's access byte and flags nibble. */
static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}

void guest_gdt(struct guest *g, uint16_t selector, uint64_t raw)
{
    guest_write(g, GDT + (selector & 0xfff8), raw, 8);
}

void guest_gate(struct guest *g, unsigned vector, uint16_t selector, unsigned type, unsigned dpl,
                unsigned ist)
{
    uint64_t raw = ((HANDLERS + 16 * vector) & 0xffff) | (uint64_t)selector << 16 |
                   (uint64_t)ist << 32 | (uint64_t)(0x80 | dpl << 5 | type) << 40;
    if (g->p->mode & MODE_LONG) {
        guest_write(g, IDT + 16 * vector, raw, 8);
        guest_write(g, IDT + 16 * vector + 8, 0, 8);
    } else {
        guest_write(g, IDT + 8 * vector, raw, 8);
    }
}

static struct guest *guest_new(const uint8_t *code, const uint8_t *end)
{
    struct guest *g = g_new0(struct guest, 1);
    g->memory = memory_new();
    g->ram = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(g->ram != MAP_FAILED);
    struct memory_slot slot = {.id = 0, .gpa = 0, .size = GUEST_BYTES, .hva = g->ram};
    g_assert_cmpint(memory_set_slot(g->memory, &slot), ==, 0);
    g->p = processor_new(g->memory);
    g_assert_nonnull(g->p);
    const struct processor_translator translator = {.on = g_getenv("TRAPEZE_TEST_TRANSLATOR") != NULL,
                                                    .threshold = 1};
    g_assert_cmpint(processor_set_translator(g->p, &translator), ==, 0);
    g_assert_cmpint(end - code, <=, DATA - CODE);
    memcpy(g->ram + CODE, code, (size_t)(end - code));
    memset(g->ram + HANDLERS, 0xf4, 16 * 256);
    g->p->vmcs.cpu_based_controls = CPU_HLT_EXITING;
    processor_controls_changed(g->p);
    return g;
}

void guest_free(struct guest *g)
{
    processor_free(g->p);
    memory_free(g->memory);
    munmap(g->ram, GUEST_BYTES);
    g_free(g);
}

static void set_tables(struct guest *g, bool lng)
{
    unsigned big = lng ? 0xa : 0xc; /* flags: G with L, or with D */
    guest_gdt(g, CODE64, descriptor(0, 0xfffff, 0x9b, 0xa));
    guest_gdt(g, DATA0, descriptor(0, 0xfffff, 0x93, 0xc));
    guest_gdt(g, CODE32, descriptor(0, 0xfffff, 0x9b, 0xc));
    guest_gdt(g, CODE16, descriptor(0, 0xfffff, 0x9b, 0x8));
    guest_gdt(g, USER_DATA, descriptor(0, 0xfffff, 0xf3, 0xc));
    guest_gdt(g, USER_CODE64, descriptor(0, 0xfffff, 0xfb, 0xa));
    guest_gdt(g, USER_CODE32, descriptor(0, 0xfffff, 0xfb, 0xc));
    guest_gdt(g, TSS_SELECTOR, descriptor(TSS, 0x7ff, 0x89, 0));
    guest_gdt(g, CONFORMING, descriptor(0, 0xfffff, 0x9f, big));
    guest_gdt(g, NOT_PRESENT, descriptor(0, 0xfffff, 0x13, 0xc));
    guest_gdt(g, READ_ONLY, descriptor(0, 0xfffff, 0x91, 0xc));
    guest_gdt(g, EXECUTE_ONLY, descriptor(0, 0xfffff, 0x99, big));
    guest_gdt(g, EXPAND_DOWN, descriptor(0, DATA - 1, 0x97, 0x4));
    guest_gdt(g, SMALL, descriptor(DATA, 0xff, 0x92, 0x4)); /* accessed bit clear */
    guest_gdt(g, LDT_SELECTOR, descriptor(LDT, 0xff, 0x82, 0));
    guest_gdt(g, NOT_PRESENT_CODE, descriptor(0, 0xfffff, 0x1b, big));
    guest_gdt(g, DATA16, descriptor(0, 0xfffff, 0x93, 0x8));
    guest_gdt(g, TSS16_SELECTOR, descriptor(TSS, 0x7f, 0x81, 0));
    g->p->gdtr = (struct descriptor_table){GDT, 0xff};
    g->p->idtr = (struct descriptor_table){IDT, lng ? 0xfff : 0x7ff};
    g->p->segment[SEG_TR] = (struct segment){
        .selector = TSS_SELECTOR, .access_rights = 0x8b, .limit = 0x7ff, .base = TSS};
    if (lng) {
        guest_write(g, TSS + 4, STACK_TSS, 8);
        guest_write(g, TSS + 0x24, STACK_IST1, 8);
    } else {
        guest_write(g, TSS + 4, STACK_TSS, 4);
        guest_write(g, TSS + 8, DATA0, 2);
    }
    guest_write(g, TSS + 0x66, 0x68, 2);
    memset(g->ram + TSS + 0x68, 0xff, 0x700 - 0x68);
}

void guest_segment(struct guest *g, unsigned seg, uint16_t selector)
{
    uint64_t raw = guest_read(g, GDT + (selector & 0xfff8), 8);
    uint32_t ar = raw >> 40 & 0xf0ff, limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
    g->p->segment[seg] = (struct segment){
        .selector = selector,
        .access_rights = ar,
        .limit = ar & 0x8000 ? limit << 12 | 0xfff : limit,
        .base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
    };
}

static void set_code(struct guest *g, uint16_t cs, uint16_t data)
{
    guest_segment(g, SEG_CS, cs);
    static const unsigned segs[] = {SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned n = 0; n < G_N_ELEMENTS(segs); n++)
        guest_segment(g, segs[n], data);
}

struct guest *guest_real(const uint8_t *code, const uint8_t *end)
{
    struct guest *g = guest_new(code, end);
    for (unsigned n = SEG_ES; n <= SEG_GS; n++)
        g->p->segment[n] = (struct segment){.access_rights = 0x93, .limit = 0xffff};
    g->p->segment[SEG_CS].access_rights = 0x9b;
    for (unsigned v = 0; v < 256; v++)
        guest_write(g, 4 * v, HANDLERS + 16 * v, 4);
    g->p->rip = CODE;
    g->p->gpr[4] = 0x7000;
    processor_state_changed(g->p);
    return g;
}

struct guest *guest_32(const uint8_t *code, const uint8_t *end)
{
    struct guest *g = guest_new(code, end);
    g->p->cr0 = CR0_PE | CR0_ET;
    set_tables(g, false);
    for (unsigned v = 0; v < 256; v++)
        guest_gate(g, v, CODE32, 14, 0, 0);
    set_code(g, CODE32, DATA0);
    g->p->rip = CODE;
    g->p->gpr[4] = STACK0;
    processor_state_changed(g->p);
    return g;
}

struct guest *guest_64(const uint8_t *code, const uint8_t *end)
{
    struct guest *g = guest_new(code, end);
    guest_write(g, PAGE_TABLES, PAGE_TABLES + 0x1007, 8);
    guest_write(g, PAGE_TABLES + 0x1000, PAGE_TABLES + 0x2007, 8);
    for (unsigned n = 0; n < GUEST_BYTES >> 21; n++)
        guest_write(g, PAGE_TABLES + 0x2000 + 8 * n, (uint64_t)n << 21 | 0xe7, 8);
    g->p->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE | CR0_WP;
    g->p->cr3 = PAGE_TABLES;
    g->p->cr4 = CR4_PAE;
    g->p->msr.efer = EFER_LME | EFER_LMA | EFER_SCE;
    g->p->mode |= MODE_LONG; /* for guest_gate */
    set_tables(g, true);
    for (unsigned v = 0; v < 256; v++)
        guest_gate(g, v, CODE64, 14, 0, 0);
    set_code(g, CODE64, DATA0);
    g->p->rip = CODE;
    g->p->gpr[4] = STACK0;
    processor_state_changed(g->p);
    return g;
}

void guest_user(struct guest *g, bool lng)
{
    set_code(g, lng ? USER_CODE64 : USER_CODE32, USER_DATA);
    g->p->gpr[4] = STACK3;
    processor_state_changed(g->p);
}

void guest_halts(struct guest *g)
{
    guest_exit(g, EXIT_REASON_HLT);
    if (g->p->rip >= HANDLERS && g->p->rip < HANDLERS + 16 * 256)
        g_error("stopped in the handler of vector %u, stack: %#lx %#lx %#lx",
                (unsigned)(g->p->rip - HANDLERS) / 16, guest_read(g, g->p->gpr[4], 8),
                guest_read(g, g->p->gpr[4] + 8, 8), guest_read(g, g->p->gpr[4] + 16, 8));
}

static uint64_t frame_rip(struct guest *g, unsigned skip)
{
    uint64_t sp = g->p->segment[SEG_SS].base + g->p->gpr[4];
    if (g->p->mode & MODE_LONG)
        return guest_read(g, sp + 8 * skip, 8);
    if (g->p->mode & MODE_REAL)
        return guest_read(g, sp, 2);
    return guest_read(g, sp + 4 * skip, 4);
}

static void expect_handler(struct guest *g, unsigned vector)
{
    guest_exit(g, EXIT_REASON_HLT);
    if (g->p->rip < HANDLERS || g->p->rip >= HANDLERS + 16 * 256)
        g_error("halted at %#lx instead of taking vector %u", g->p->rip, vector);
    g_assert_cmpuint((g->p->rip - HANDLERS) / 16, ==, vector);
}

void guest_faults(struct guest *g, unsigned vector, uint64_t offset)
{
    expect_handler(g, vector);
    g_assert_cmphex(frame_rip(g, 0), ==, CODE + offset);
}

void guest_faults_with(struct guest *g, unsigned vector, uint64_t offset, uint32_t error_code)
{
    expect_handler(g, vector);
    g_assert_cmphex(guest_read(g, g->p->gpr[4], 4), ==, error_code);
    g_assert_cmphex(frame_rip(g, 1), ==, CODE + offset);
}

struct guest_frame guest_frame(struct guest *g, bool error_code)
{
    struct guest_frame f;
    memcpy(&f, g->ram + g->p->gpr[4] + (error_code ? 8 : 0), sizeof f);
    return f;
}
