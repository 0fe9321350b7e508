/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the boot protocols share: images on the host, the memory map, places in low memory, modes.
 */
#ifndef TRAPEZE_LOADER_H
#define TRAPEZE_LOADER_H

#include "boot.h"

/* Low memory that boot information occupies; see boot_area_free. */
#define BOOT_GDT         0x500ull
#define BOOT_START_INFO  0x6000ull  /* PVH */
#define BOOT_ZERO_PAGE   0x7000ull  /* Linux */
#define BOOT_PAGE_TABLE  0x9000ull  /* PML4, PDPT, four page directories */
#define BOOT_MULTIBOOT   0x10000ull /* multiboot information, modules, strings: 64 KiB */
#define BOOT_CMDLINE     0x20000ull
#define BOOT_CMDLINE_MAX 0x10000ull
#define BOOT_INFO_END    0x30000ull
#define BOOT_IMAGE_MIN   0x100000ull /* kernels that can choose load here and above */

/* Low memory, beside page 0, that a protocol's boot information occupies. */
struct boot_area {
    uint64_t base, size;
};
/* True when an image may load at [BASE, BASE + SIZE): neither the boot information in AREA nor ACPI
 * tables are there. */
bool boot_area_free(const struct boot_area *area, uint64_t base, uint64_t size);

/* ---- images ---- */

/* An open file of the host, with what messages call it. */
struct image {
    const char *flag; /* "--kernel" */
    const char *path;
    int fd;
    uint64_t size;
};

/* Opens a regular, non-empty file. */
bool image_open(struct image *i, const char *flag, const char *path, GError **error);
void image_close(struct image *i);
/* Reads exactly LENGTH bytes at OFFSET; a file that ends before is an error ("truncated"). */
bool image_read(const struct image *i, uint64_t offset, void *to, uint64_t length, GError **error);
/* The same into guest RAM. */
bool image_load(struct machine *m, const struct image *i, uint64_t offset, uint64_t gpa,
                uint64_t length, GError **error);
/* Sets ERROR to "FLAG PATH: text" and returns false. */
bool image_error(const struct image *i, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* ---- ELF ---- */

struct elf_segment {
    uint32_t type; /* PT_* */
    uint64_t offset, vaddr, paddr, file_size, memory_size;
};
struct elf {
    bool is_64;
    uint16_t machine; /* EM_* */
    uint64_t entry;
    unsigned count;
    struct elf_segment segment[64];
};
/* True when the file starts as an ELF file does. */
bool elf_is(const struct image *i);
bool elf_parse(const struct image *i, struct elf *e, GError **error);
/* Loads the PT_LOAD segments at their physical addresses, outside AREA; *end is the first byte above
 * them. */
bool elf_load(struct machine *m, const struct image *i, const struct elf *e,
              const struct boot_area *area, uint64_t *end, GError **error);

/* ---- memory map ---- */

enum { MEMORY_RAM = 1, MEMORY_RESERVED = 2 }; /* types as in E820 */
struct memory_range {
    uint64_t base, size;
    uint32_t type;
};
#define MEMORY_RANGES_MAX 8
struct memory_map {
    struct memory_range range[MEMORY_RANGES_MAX];
    unsigned count;
};
/* RAM and what is reserved, by ascending addresses. */
void memory_map_make(const struct machine *m, struct memory_map *map);

/* ---- modes ---- */

/* 64-bit mode, the first 4 GiB mapped one to one; CS 0x10, data segments 0x18. */
void enter_long_mode(struct machine *m, struct boot_entry *e, uint64_t rip);
/* 32-bit protected mode, flat, no paging. */
void enter_protected_mode(struct machine *m, struct boot_entry *e, uint32_t eip);

/* Writes TEXT with its terminator at GPA; an error naming --append when it is longer than MAX - 1.
 */
bool put_cmdline(struct machine *m, uint64_t gpa, const char *text, uint64_t max, GError **error);
/* Places --initrd as high as possible below LIMIT and above FLOOR, page-aligned; *size is 0 without
 * one. */
bool load_initrd(struct machine *m, uint64_t floor, uint64_t limit, uint64_t *base, uint64_t *size,
                 GError **error);

/* ---- protocols ---- */

/* Each: does the file look like mine?  Then load it. */
bool linux_is(const struct image *i);
bool linux_load(struct machine *m, const struct image *i, struct boot_entry *e, GError **error);
bool pvh_load(struct machine *m, const struct image *i, const struct elf *elf, struct boot_entry *e,
              GError **error);
bool multiboot_is(const struct image *i);
bool multiboot_load(struct machine *m, const struct image *i, struct boot_entry *e, GError **error);

#endif
