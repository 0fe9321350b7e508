/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images on the host, and what of them goes where in guest RAM. */
#include "acpi.h"
#include "loader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool image_error(const struct image *i, GError **error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, "%s %s: %s", i->flag, i->path, text);
    return false;
}

bool image_open(struct image *i, const char *flag, const char *path, GError **error)
{
    struct stat s = {0};

    *i = (struct image){.flag = flag, .path = path};
    /* Not blocking: a FIFO given by mistake shall not hang us. */
    i->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (i->fd < 0)
        return image_error(i, error, "%s", g_strerror(errno));
    if (fstat(i->fd, &s) || !S_ISREG(s.st_mode)) {
        image_error(i, error,
                    S_ISDIR(s.st_mode) ? "is a directory, not a file" : "is not a regular file");
        image_close(i);
        return false;
    }
    i->size = (uint64_t)s.st_size;
    if (!i->size) {
        image_error(i, error, "the file is empty");
        image_close(i);
        return false;
    }
    return true;
}

void image_close(struct image *i)
{
    if (i->fd >= 0)
        close(i->fd);
    i->fd = -1;
}

bool image_read(const struct image *i, uint64_t offset, void *to, uint64_t length, GError **error)
{
    uint8_t *p = to;

    if (!range_inside(offset, length, i->size))
        return image_error(i, error,
                           "the file is truncated: it has %" PRIu64
                           " bytes, and its headers speak of more",
                           i->size);
    while (length) {
        ssize_t done = pread(i->fd, p, length, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return image_error(i, error, "%s", g_strerror(errno));
        if (done == 0)
            return image_error(i, error, "the file became shorter while it was read");
        p += done;
        offset += (uint64_t)done;
        length -= (uint64_t)done;
    }
    return true;
}

bool image_load(struct machine *m, const struct image *i, uint64_t offset, uint64_t gpa,
                uint64_t length, GError **error)
{
    void *to = ram_pointer(m, gpa, length, true);

    if (!to)
        return image_error(i, error,
                           "it wants %" PRIu64 " bytes at 0x%" PRIx64
                           ", where the guest has no RAM; give it more --memory",
                           length, gpa);
    bool good = image_read(i, offset, to, length, error);
    ram_written(m, gpa, length);
    return good;
}

bool boot_area_free(const struct boot_area *area, uint64_t base, uint64_t size)
{
    return base >= PAGE_BYTES && size <= UINT64_MAX - base &&
           !ranges_overlap(base, size, area->base, area->size) &&
           !ranges_overlap(base, size, ACPI_BASE, LAYOUT_RSDP + PAGE_BYTES - ACPI_BASE);
}

bool put_cmdline(struct machine *m, uint64_t gpa, const char *text, uint64_t max, GError **error)
{
    uint64_t length = strlen(text) + 1;

    if (length <= max && ram_write(m, gpa, text, length))
        return true;
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                "--append: the text has %" PRIu64
                " characters, and this kernel takes at most %" PRIu64,
                length - 1, max - 1);
    return false;
}

bool load_initrd(struct machine *m, uint64_t floor, uint64_t limit, uint64_t *base, uint64_t *size,
                 GError **error)
{
    struct image i;

    *base = *size = 0;
    if (!m->config->initrd)
        return true;
    if (!image_open(&i, "--initrd", m->config->initrd, error))
        return false;
    limit = MIN(limit, m->ram[0].size);
    bool good = i.size <= limit && ALIGN_DOWN(limit - i.size, PAGE_BYTES) >= floor;
    if (!good)
        image_error(&i, error,
                    "its %" PRIu64 " MiB do not fit beside the kernel; give the guest "
                    "more --memory",
                    (i.size >> 20) + 1);
    if (good) {
        *base = ALIGN_DOWN(limit - i.size, PAGE_BYTES);
        *size = i.size;
        good = image_load(m, &i, 0, *base, i.size, error);
    }
    image_close(&i);
    return good;
}
