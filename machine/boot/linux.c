/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bzImage by the 64-bit boot protocol (Linux, Documentation/arch/x86/boot.rst). */
#include "loader.h"

#include <asm/bootparam.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_OFFSET    0x1f1
#define HEADER_MAGIC     0x53726448 /* "HdrS" */
#define BOOT_FLAG        0xaa55
#define VERSION_64BIT    0x020c /* the first protocol with xloadflags */
#define ENTRY_64         0x200
#define LOADER_UNDEFINED 0xff
#define ALIGNMENT_MAX    (64ull << 20)
#define CMDLINE_DEFAULT  255

/* Everything the loader wants to know of the image. */
struct kernel {
    struct setup_header header;
    uint64_t payload, payload_size; /* the protected-mode part in the file */
    uint64_t base, end;             /* where it goes, and what it needs while it unpacks itself */
};

static bool read_header(const struct image *i, struct setup_header *h, GError **error)
{
    return image_read(i, HEADER_OFFSET, h, sizeof *h, error);
}

bool linux_is(const struct image *i)
{
    struct setup_header h;

    return i->size >= HEADER_OFFSET + sizeof h && read_header(i, &h, NULL) &&
           h.boot_flag == BOOT_FLAG && h.header == HEADER_MAGIC;
}

/* Where the kernel goes: its preferred address, or, if it does not fit there and is relocatable, as
 * low as its alignment allows. */
static bool choose_base(struct machine *m, const struct image *i, struct kernel *k, GError **error)
{
    const struct setup_header *h = &k->header;
    uint64_t need = MAX((uint64_t)h->init_size, k->payload_size), room = m->ram[0].size;
    uint64_t alignment = h->kernel_alignment ? h->kernel_alignment : PAGE_BYTES;

    if (alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)))
        return image_error(i, error, "its header asks for an impossible alignment");
    k->base = h->pref_address;
    if (h->relocatable_kernel && !(k->base >= BOOT_IMAGE_MIN && range_inside(k->base, need, room)))
        k->base = ALIGN_UP(BOOT_IMAGE_MIN, alignment);
    if (k->base < BOOT_IMAGE_MIN || !range_inside(k->base, need, room))
        return image_error(i, error,
                           "this kernel needs %" PRIu64 " MiB of memory to start, and the "
                           "guest has %" PRIu64 "; give it more --memory",
                           ((k->base + need) >> 20) + 1, room >> 20);
    k->end = k->base + need;
    return true;
}

static bool read_kernel(struct machine *m, const struct image *i, struct kernel *k, GError **error)
{
    struct setup_header *h = &k->header;

    if (!read_header(i, h, error))
        return false;
    if (h->version < VERSION_64BIT || !(h->xloadflags & XLF_KERNEL_64))
        return image_error(i, error, "this kernel has no 64-bit entry (boot protocol %x.%02x)",
                           h->version >> 8, h->version & 0xff);
    k->payload = (h->setup_sects ? h->setup_sects + 1u : 5u) * 512u;
    k->payload_size = (uint64_t)h->syssize * 16;
    /* syssize counts in paragraphs; the file may end inside the last one. */
    if (k->payload >= i->size || k->payload_size > ALIGN_UP(i->size - k->payload, 16))
        return image_error(i, error,
                           "the file is truncated: its header speaks of %" PRIu64
                           " bytes, and it has %" PRIu64,
                           k->payload + k->payload_size, i->size);
    k->payload_size = MIN(k->payload_size, i->size - k->payload);
    if (k->payload_size <= ENTRY_64)
        return image_error(i, error, "the kernel in it is empty");
    return choose_base(m, i, k, error);
}

static void put_memory_map(const struct machine *m, struct boot_params *zero_page)
{
    struct memory_map map;

    memory_map_make(m, &map);
    zero_page->e820_entries = (uint8_t)map.count;
    for (unsigned n = 0; n < map.count; n++)
        zero_page->e820_table[n] =
            (struct boot_e820_entry){map.range[n].base, map.range[n].size, map.range[n].type};
}

bool linux_load(struct machine *m, const struct image *i, struct boot_entry *e, GError **error)
{
    struct kernel k;
    uint64_t initrd, initrd_size;
    const char *append = m->config->append ? m->config->append : "";

    if (!read_kernel(m, i, &k, error))
        return false;
    const struct setup_header *h = &k.header;
    uint64_t cmdline_max =
        MIN(h->cmdline_size ? h->cmdline_size + 1ull : CMDLINE_DEFAULT + 1ull, BOOT_CMDLINE_MAX);
    if (!image_load(m, i, k.payload, k.base, k.payload_size, error) ||
        !put_cmdline(m, BOOT_CMDLINE, append, cmdline_max, error) ||
        !load_initrd(m, k.end, h->initrd_addr_max + 1ull, &initrd, &initrd_size, error))
        return false;

    g_autofree struct boot_params *zero_page = g_new0(struct boot_params, 1);
    zero_page->hdr = *h;
    zero_page->hdr.type_of_loader = LOADER_UNDEFINED;
    zero_page->hdr.loadflags |= LOADED_HIGH;
    zero_page->hdr.code32_start = (uint32_t)k.base;
    zero_page->hdr.cmd_line_ptr = BOOT_CMDLINE;
    zero_page->hdr.ramdisk_image = (uint32_t)initrd;
    zero_page->hdr.ramdisk_size = (uint32_t)initrd_size;
    zero_page->acpi_rsdp_addr = LAYOUT_RSDP;
    put_memory_map(m, zero_page);
    ram_write(m, BOOT_ZERO_PAGE, zero_page, sizeof *zero_page);
    enter_long_mode(m, e, k.base + ENTRY_64);
    e->regs.rsi = BOOT_ZERO_PAGE;
    return true;
}
