/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Multiboot images (Multiboot Specification 0.6.96): ELF32, or with addresses in the header. */
#include "loader.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_MAGIC  0x1badb002u
#define HEADER_WITHIN 8192
#define LOADER_MAGIC  0x2badb002u
#define INFO_SIZE     0x10000 /* of everything at BOOT_MULTIBOOT */
#define MODULES_MAX   256

#define HEADER_ALIGN     BIT(0) /* modules on page boundaries: always so here */
#define HEADER_MEMORY    BIT(1)
#define HEADER_VIDEO     BIT(2)
#define HEADER_MANDATORY 0xffffu
#define HEADER_ADDRESSES BIT(16) /* the address fields are valid */

static const struct boot_area area = {BOOT_MULTIBOOT, INFO_SIZE};

#define INFO_MEMORY  BIT(0)
#define INFO_CMDLINE BIT(2)
#define INFO_MODULES BIT(3)
#define INFO_MMAP    BIT(6)
#define INFO_LOADER  BIT(9)

struct header {
    uint32_t magic, flags, checksum;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name;
    uint32_t apm_table;
};

struct module {
    uint32_t start, end, cmdline, reserved;
};

struct mmap_entry {
    uint32_t size; /* of the rest */
    uint64_t base, length;
    uint32_t type;
} __attribute__((packed));

/* Finds the header; its offset, or -1. */
static int64_t find_header(const struct image *i, struct header *h)
{
    uint64_t length = MIN(i->size, HEADER_WITHIN);
    uint8_t start[HEADER_WITHIN];

    if (!image_read(i, 0, start, length, NULL))
        return -1;
    for (uint64_t at = 0; at + 12 <= length; at += 4) {
        memset(h, 0, sizeof *h);
        memcpy(h, start + at, MIN(sizeof *h, length - at));
        if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
            return (int64_t)at;
    }
    return -1;
}

bool multiboot_is(const struct image *i)
{
    struct header h;

    return find_header(i, &h) >= 0;
}

/* Loads as the header's addresses say; *end is the first free byte. */
static bool load_by_addresses(struct machine *m, const struct image *i, const struct header *h,
                              uint64_t at, uint64_t *end, GError **error)
{
    uint64_t before = (uint64_t)h->header_addr - h->load_addr, offset = at - before, size;

    if (h->load_addr > h->header_addr || before > at ||
        (h->load_end_addr && h->load_end_addr < h->load_addr))
        return image_error(i, error, "its multiboot header has impossible addresses");
    size = h->load_end_addr ? h->load_end_addr - h->load_addr : i->size - offset;
    *end = MAX((uint64_t)h->load_addr + size, h->bss_end_addr);
    if (!boot_area_free(&area, h->load_addr, *end - h->load_addr))
        return image_error(i, error,
                           "it loads at 0x%x, over memory that boot information and ACPI "
                           "tables need",
                           h->load_addr);
    uint8_t *to = ram_pointer(m, h->load_addr, *end - h->load_addr, true);
    if (!to)
        return image_error(i, error,
                           "it wants the memory up to 0x%" PRIx64 "; give the guest more --memory",
                           *end);
    memset(to + size, 0, *end - h->load_addr - size);
    ram_written(m, h->load_addr, *end - h->load_addr);
    return image_load(m, i, offset, h->load_addr, size, error);
}

/* The physical address of an ELF file's entry, which is a virtual one. */
static uint32_t physical_entry(const struct elf *elf)
{
    for (unsigned n = 0; n < elf->count; n++) {
        const struct elf_segment *s = &elf->segment[n];

        if (s->type == PT_LOAD && elf->entry >= s->vaddr && elf->entry - s->vaddr < s->memory_size)
            return (uint32_t)(elf->entry - s->vaddr + s->paddr);
    }
    return (uint32_t)elf->entry;
}

static bool load_kernel(struct machine *m, const struct image *i, uint64_t *end, uint32_t *entry,
                        GError **error)
{
    struct header h;
    struct elf elf;
    int64_t at = find_header(i, &h);

    if (at < 0)
        return image_error(i, error, "its multiboot header is gone");
    if (h.flags & HEADER_MANDATORY & ~(HEADER_ALIGN | HEADER_MEMORY | HEADER_VIDEO))
        return image_error(
            i, error, "its multiboot header asks for what is unknown here (flags 0x%x)", h.flags);
    if (h.flags & HEADER_ADDRESSES) {
        *entry = h.entry_addr;
        return load_by_addresses(m, i, &h, (uint64_t)at, end, error);
    }
    if (!elf_is(i))
        return image_error(i, error,
                           "its multiboot header has no addresses, and it is no ELF file");
    if (!elf_parse(i, &elf, error))
        return false;
    *entry = physical_entry(&elf);
    return elf_load(m, i, &elf, &area, end, error);
}

/* ---- boot information ---- */

/* Boot information under construction: bytes at BOOT_MULTIBOOT. */
struct block {
    uint8_t bytes[INFO_SIZE];
    uint32_t used;
    bool full;
};

/* Adds LENGTH bytes, 8-aligned; their guest address. */
static uint32_t block_add(struct block *b, const void *data, size_t length)
{
    uint32_t at = ALIGN_UP(b->used, 8);

    if (!range_inside(at, length, sizeof b->bytes)) {
        b->full = true;
        return 0;
    }
    memcpy(b->bytes + at, data, length);
    b->used = at + (uint32_t)length;
    return (uint32_t)BOOT_MULTIBOOT + at;
}

static uint32_t block_add_text(struct block *b, const char *text)
{
    return block_add(b, text, strlen(text) + 1);
}

/* Loads one "FILE[ ARGUMENTS]" at *end, which moves on. */
static bool load_module(struct machine *m, struct block *b, const char *text, uint64_t *end,
                        struct module *module, GError **error)
{
    g_autofree char *path = g_strndup(text, strcspn(text, " "));
    uint64_t base = ALIGN_UP(*end, PAGE_BYTES);
    struct image i;

    if (!image_open(&i, "--initrd", path, error))
        return false;
    bool good = image_load(m, &i, 0, base, i.size, error);
    if (good)
        *module =
            (struct module){(uint32_t)base, (uint32_t)(base + i.size), block_add_text(b, text), 0};
    *end = base + i.size;
    image_close(&i);
    return good;
}

static bool load_modules(struct machine *m, struct block *b, struct info *info, uint64_t end,
                         GError **error)
{
    g_auto(GStrv) texts = g_strsplit(m->config->initrd ? m->config->initrd : "", ",", -1);
    unsigned count = g_strv_length(texts);
    struct module modules[MODULES_MAX];

    if (count > MODULES_MAX) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--initrd: at most %d multiboot modules", MODULES_MAX);
        return false;
    }
    for (unsigned n = 0; n < count; n++)
        if (!load_module(m, b, texts[n], &end, &modules[n], error))
            return false;
    info->mods_count = count;
    info->mods_addr = block_add(b, modules, count * sizeof modules[0]);
    info->flags |= INFO_MODULES;
    return true;
}

static void put_memory(struct machine *m, struct block *b, struct info *info)
{
    struct mmap_entry entries[MEMORY_RANGES_MAX];
    struct memory_map map;

    memory_map_make(m, &map);
    for (unsigned n = 0; n < map.count; n++)
        entries[n] = (struct mmap_entry){sizeof entries[n] - sizeof entries[n].size,
                                         map.range[n].base, map.range[n].size, map.range[n].type};
    info->mmap_length = map.count * (uint32_t)sizeof entries[0];
    info->mmap_addr = block_add(b, entries, info->mmap_length);
    info->mem_lower = LAYOUT_EBDA >> 10;
    info->mem_upper = (uint32_t)((m->ram[0].size - BOOT_IMAGE_MIN) >> 10);
    info->flags |= INFO_MEMORY | INFO_MMAP;
}

bool multiboot_load(struct machine *m, const struct image *i, struct boot_entry *e, GError **error)
{
    const char *append = m->config->append ? m->config->append : "";
    g_autofree char *cmdline = g_strdup_printf("%s%s%s", i->path, *append ? " " : "", append);
    g_autofree struct block *b = g_new0(struct block, 1);
    struct info info = {0};
    uint64_t end;
    uint32_t entry;

    if (!load_kernel(m, i, &end, &entry, error))
        return false;
    b->used = sizeof info;
    info.cmdline = block_add_text(b, cmdline);
    info.loader_name = block_add_text(b, "trapeze");
    info.flags = INFO_CMDLINE | INFO_LOADER;
    put_memory(m, b, &info);
    if (!load_modules(m, b, &info, MAX(end, BOOT_IMAGE_MIN), error))
        return false;
    if (b->full)
        return image_error(i, error, "--append and the modules' arguments are too long together");
    memcpy(b->bytes, &info, sizeof info);
    ram_write(m, BOOT_MULTIBOOT, b->bytes, b->used);
    enter_protected_mode(m, e, entry);
    e->regs.rax = LOADER_MAGIC;
    e->regs.rbx = BOOT_MULTIBOOT;
    return true;
}
