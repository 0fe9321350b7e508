/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ELF images of 32 and 64 bits (System V ABI): headers into one form, and segments into RAM. */
#include "loader.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

bool elf_is(const struct image *i)
{
    uint8_t ident[SELFMAG];

    return i->size >= sizeof ident && image_read(i, 0, ident, sizeof ident, NULL) &&
           !memcmp(ident, ELFMAG, SELFMAG);
}

static void take_64(const Elf64_Phdr *p, struct elf_segment *s)
{
    *s = (struct elf_segment){p->p_type,  p->p_offset, p->p_vaddr,
                              p->p_paddr, p->p_filesz, p->p_memsz};
}

static void take_32(const Elf32_Phdr *p, struct elf_segment *s)
{
    *s = (struct elf_segment){p->p_type,  p->p_offset, p->p_vaddr,
                              p->p_paddr, p->p_filesz, p->p_memsz};
}

/* Reads COUNT program headers of SIZE bytes at OFFSET. */
static bool read_segments(const struct image *i, struct elf *e, uint64_t offset, unsigned size,
                          unsigned count, GError **error)
{
    if (size != (e->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
        return image_error(i, error, "its ELF program headers have an impossible size (%u)", size);
    if (count > ARRAY_SIZE(e->segment))
        return image_error(i, error, "it has %u ELF program headers; at most %zu make sense", count,
                           ARRAY_SIZE(e->segment));
    for (unsigned n = 0; n < count; n++) {
        union {
            Elf64_Phdr of_64;
            Elf32_Phdr of_32;
        } p;

        if (offset > UINT64_MAX - (uint64_t)n * size ||
            !image_read(i, offset + (uint64_t)n * size, &p, size, error))
            return false;
        if (e->is_64)
            take_64(&p.of_64, &e->segment[n]);
        else
            take_32(&p.of_32, &e->segment[n]);
    }
    e->count = count;
    return true;
}

bool elf_parse(const struct image *i, struct elf *e, GError **error)
{
    union {
        uint8_t ident[EI_NIDENT];
        Elf64_Ehdr of_64;
        Elf32_Ehdr of_32;
    } h;

    memset(e, 0, sizeof *e);
    if (!image_read(i, 0, h.ident, sizeof h.ident, error))
        return false;
    e->is_64 = h.ident[EI_CLASS] == ELFCLASS64;
    if (h.ident[EI_DATA] != ELFDATA2LSB)
        return image_error(i, error, "it is an ELF file for a big-endian machine");
    if (!image_read(i, 0, &h, e->is_64 ? sizeof h.of_64 : sizeof h.of_32, error))
        return false;
    e->machine = e->is_64 ? h.of_64.e_machine : h.of_32.e_machine;
    e->entry = e->is_64 ? h.of_64.e_entry : h.of_32.e_entry;
    if (e->machine != EM_X86_64 && e->machine != EM_386)
        return image_error(i, error, "it is an ELF file for another processor (machine %u)",
                           e->machine);
    return e->is_64
               ? read_segments(i, e, h.of_64.e_phoff, h.of_64.e_phentsize, h.of_64.e_phnum, error)
               : read_segments(i, e, h.of_32.e_phoff, h.of_32.e_phentsize, h.of_32.e_phnum, error);
}

static bool load_segment(struct machine *m, const struct image *i, const struct elf_segment *s,
                         const struct boot_area *area, GError **error)
{
    uint8_t *to = ram_pointer(m, s->paddr, s->memory_size, true);

    if (s->file_size > s->memory_size)
        return image_error(i, error, "an ELF segment is larger in the file than in memory");
    if (!boot_area_free(area, s->paddr, s->memory_size))
        return image_error(i, error,
                           "an ELF segment loads at 0x%" PRIx64
                           ", over memory that boot information and ACPI tables need",
                           s->paddr);
    if (!to)
        return image_error(i, error,
                           "an ELF segment of %" PRIu64 " bytes at 0x%" PRIx64
                           " lies outside the guest's RAM; give it more --memory",
                           s->memory_size, s->paddr);
    memset(to + s->file_size, 0, s->memory_size - s->file_size);
    ram_written(m, s->paddr, s->memory_size);
    return image_load(m, i, s->offset, s->paddr, s->file_size, error);
}

bool elf_load(struct machine *m, const struct image *i, const struct elf *e,
              const struct boot_area *area, uint64_t *end, GError **error)
{
    *end = 0;
    for (unsigned n = 0; n < e->count; n++) {
        const struct elf_segment *s = &e->segment[n];

        if (s->type != PT_LOAD || !s->memory_size)
            continue;
        if (!load_segment(m, i, s, area, error))
            return false;
        *end = MAX(*end, s->paddr + s->memory_size);
    }
    return *end || image_error(i, error, "it has no ELF segment to load");
}
