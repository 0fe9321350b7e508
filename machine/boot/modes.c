/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory map, and the modes in which boot protocols start the first vCPU. */
#include "loader.h"

#include <string.h>

#define CR0_PROTECTED 0x00000011u /* ET, PE */
#define CR0_LONG      0x80000011u /* and PG */
#define CR4_PAE       0x20u
#define EFER_LONG     0x500u  /* LMA, LME */
#define PTE_TABLE     0x3ull  /* present, writable */
#define PTE_LARGE     0x83ull /* present, writable, 2 MiB */

enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, SELECTOR_TSS = 0x20 };

void memory_map_make(const struct machine *m, struct memory_map *map)
{
    const struct memory_range ranges[] = {
        {0, LAYOUT_EBDA, MEMORY_RAM},
        {LAYOUT_EBDA, 0xa0000 - LAYOUT_EBDA, MEMORY_RESERVED},
        {0xe0000, 0x20000, MEMORY_RESERVED}, /* ACPI tables, where a PC has its ROM */
        {0x100000, m->ram[0].size - 0x100000, MEMORY_RAM},
        {LAYOUT_ECAM, LAYOUT_ECAM_SIZE, MEMORY_RESERVED},
        {LAYOUT_IDENTITY_MAP, LAYOUT_TSS + 3 * PAGE_BYTES - LAYOUT_IDENTITY_MAP, MEMORY_RESERVED},
        {LAYOUT_HIGH_RAM, m->ram_slots > 1 ? m->ram[1].size : 0, MEMORY_RAM},
    };

    map->count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
        if (ranges[i].size)
            map->range[map->count++] = ranges[i];
}

static struct kvm_segment segment(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){.limit = 0xffffffff,
                                .selector = selector,
                                .type = type,
                                .present = 1,
                                .s = 1,
                                .db = 1,
                                .g = 1};
}

/* A GDT entry that says what S does. */
static uint64_t descriptor(const struct kvm_segment *s)
{
    uint64_t limit = s->g ? s->limit >> 12 : s->limit;

    return (limit & 0xffff) | (limit >> 16 & 15) << 48 | (s->base & 0xffffff) << 16 |
           (s->base >> 24 & 0xff) << 56 | (uint64_t)s->type << 40 | (uint64_t)s->s << 44 |
           (uint64_t)s->dpl << 45 | (uint64_t)s->present << 47 | (uint64_t)s->l << 53 |
           (uint64_t)s->db << 54 | (uint64_t)s->g << 55;
}

/* Flat segments, loaded and in a GDT. */
static void set_segments(struct machine *m, struct kvm_sregs *s, bool long_mode)
{
    struct kvm_segment code = segment(SELECTOR_CODE, 11), data = segment(SELECTOR_DATA, 3);
    struct kvm_segment task = {.limit = 0x67, .selector = SELECTOR_TSS, .type = 11, .present = 1};
    struct kvm_segment none = {.type = 2, .present = 1}; /* an empty LDT */

    if (long_mode) {
        code.l = 1;
        code.db = 0;
    }
    const uint64_t gdt[6] = {[SELECTOR_CODE / 8] = descriptor(&code),
                             [SELECTOR_DATA / 8] = descriptor(&data),
                             [SELECTOR_TSS / 8] = descriptor(&task)};
    ram_write(m, BOOT_GDT, gdt, sizeof gdt);
    s->cs = code;
    s->ds = s->es = s->fs = s->gs = s->ss = data;
    s->tr = task;
    s->ldt = none;
    s->gdt = (struct kvm_dtable){.base = BOOT_GDT, .limit = sizeof gdt - 1};
    s->idt = (struct kvm_dtable){0};
}

/* Page tables that map the first 4 GiB one to one in 2 MiB pages. */
static void write_page_tables(struct machine *m)
{
    const uint64_t pdpt = BOOT_PAGE_TABLE + PAGE_BYTES, directories = pdpt + PAGE_BYTES;
    uint64_t table[512] = {pdpt | PTE_TABLE};

    ram_write(m, BOOT_PAGE_TABLE, table, sizeof table);
    memset(table, 0, sizeof table);
    for (uint64_t i = 0; i < 4; i++)
        table[i] = (directories + i * PAGE_BYTES) | PTE_TABLE;
    ram_write(m, pdpt, table, sizeof table);
    for (uint64_t i = 0; i < 4; i++) {
        for (uint64_t j = 0; j < 512; j++)
            table[j] = (i * 512 + j) << 21 | PTE_LARGE;
        ram_write(m, directories + i * PAGE_BYTES, table, sizeof table);
    }
}

void enter_long_mode(struct machine *m, struct boot_entry *e, uint64_t rip)
{
    write_page_tables(m);
    set_segments(m, &e->sregs, true);
    e->sregs.cr0 = CR0_LONG;
    e->sregs.cr3 = BOOT_PAGE_TABLE;
    e->sregs.cr4 = CR4_PAE;
    e->sregs.efer = EFER_LONG;
    e->regs.rip = rip;
}

void enter_protected_mode(struct machine *m, struct boot_entry *e, uint32_t eip)
{
    set_segments(m, &e->sregs, false);
    e->sregs.cr0 = CR0_PROTECTED;
    e->sregs.cr3 = 0;
    e->sregs.cr4 = 0;
    e->sregs.efer = 0;
    e->regs.rip = eip;
}
