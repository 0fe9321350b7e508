/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ELF kernels by the PVH protocol (Xen, docs/misc/pvh.pandoc and
 * public/arch-x86/hvm/start_info.h). */
#include "loader.h"

#include <elf.h>
#include <string.h>

#define NOTE_PHYS32_ENTRY 18
#define NOTES_MAX         0x10000
#define START_MAGIC       0x336ec578

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, memory_map;
    uint32_t memory_map_entries, reserved;
};
struct start_module {
    uint64_t base, size, cmdline, reserved;
};
struct start_memory {
    uint64_t base, size;
    uint32_t type, reserved;
};

/* The whole of what is written at BOOT_START_INFO. */
struct start_block {
    struct start_info info;
    struct start_module module;
    struct start_memory memory[MEMORY_RANGES_MAX];
};

/* Looks through the notes in DATA for the entry address. */
static bool find_note(const uint8_t *data, uint64_t size, uint32_t *entry)
{
    for (uint64_t at = 0; range_inside(at, sizeof(Elf32_Nhdr), size);) {
        Elf32_Nhdr n;

        memcpy(&n, data + at, sizeof n);
        uint64_t name = at + sizeof n;
        uint64_t value = name + ALIGN_UP((uint64_t)n.n_namesz, 4);
        if (!range_inside(value, n.n_descsz, size))
            return false;
        if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 && !memcmp(data + name, "Xen", 4) &&
            n.n_descsz >= sizeof *entry) {
            memcpy(entry, data + value, sizeof *entry);
            return true;
        }
        at = value + ALIGN_UP((uint64_t)n.n_descsz, 4);
    }
    return false;
}

static bool find_entry(const struct image *i, const struct elf *elf, uint32_t *entry,
                       GError **error)
{
    for (unsigned n = 0; n < elf->count; n++) {
        const struct elf_segment *s = &elf->segment[n];
        g_autofree uint8_t *notes = NULL;

        if (s->type != PT_NOTE || s->file_size > NOTES_MAX)
            continue;
        notes = g_malloc(s->file_size + 1);
        if (!image_read(i, s->offset, notes, s->file_size, error))
            return false;
        if (find_note(notes, s->file_size, entry))
            return true;
    }
    return image_error(i, error,
                       "this ELF file has no PVH entry note; use the bzImage, or a kernel "
                       "built with CONFIG_PVH");
}

bool pvh_load(struct machine *m, const struct image *i, const struct elf *elf, struct boot_entry *e,
              GError **error)
{
    static const struct boot_area area = {0, BOOT_INFO_END};
    const char *append = m->config->append ? m->config->append : "";
    struct start_block block = {0};
    struct memory_map map;
    uint64_t end, initrd, initrd_size;
    uint32_t entry = 0;

    if (!find_entry(i, elf, &entry, error) || !elf_load(m, i, elf, &area, &end, error) ||
        !put_cmdline(m, BOOT_CMDLINE, append, BOOT_CMDLINE_MAX, error) ||
        !load_initrd(m, end, LAYOUT_HIGH_RAM, &initrd, &initrd_size, error))
        return false;
    memory_map_make(m, &map);
    for (unsigned n = 0; n < map.count; n++)
        block.memory[n] =
            (struct start_memory){map.range[n].base, map.range[n].size, map.range[n].type, 0};
    block.module = (struct start_module){.base = initrd, .size = initrd_size};
    block.info = (struct start_info){
        .magic = START_MAGIC,
        .version = 1,
        .module_count = initrd_size ? 1 : 0,
        .modules = initrd_size ? BOOT_START_INFO + offsetof(struct start_block, module) : 0,
        .cmdline = BOOT_CMDLINE,
        .rsdp = LAYOUT_RSDP,
        .memory_map = BOOT_START_INFO + offsetof(struct start_block, memory),
        .memory_map_entries = map.count,
    };
    ram_write(m, BOOT_START_INFO, &block, sizeof block);
    enter_protected_mode(m, e, entry);
    e->regs.rbx = BOOT_START_INFO;
    return true;
}
