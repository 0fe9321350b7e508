/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest RAM: allocation, slots, and the one place where guest addresses become pointers. */
#include "core.h"

#include "kvm/trapeze_kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#define HUGE_PAGE 0x200000ull

/* Reserves SIZE bytes at a huge page's boundary, so that the kernel can use huge pages from the
 * first byte on. */
static uint8_t *reserve(uint64_t size)
{
    uint8_t *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    uint8_t *start = (uint8_t *)ALIGN_UP((uintptr_t)p, HUGE_PAGE);
    if (start > p)
        munmap(p, (size_t)(start - p));
    munmap(start + size, (size_t)(p + HUGE_PAGE - start));
    madvise(start, size, MADV_HUGEPAGE); /* a wish; without it everything works */
    madvise(start, size, MADV_DONTDUMP);
    return start;
}

static bool add_slot(struct machine *m, uint64_t gpa, uint64_t size, GError **error)
{
    struct ram_slot *s = &m->ram[m->ram_slots];
    struct kvm_userspace_memory_region region = {
        .slot = m->ram_slots, .guest_phys_addr = gpa, .memory_size = size};

    s->host = reserve(size);
    if (!s->host) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--memory: cannot reserve %" G_GUINT64_FORMAT " MiB for the guest: %s; ask for "
                    "less",
                    m->config->memory >> 20, g_strerror(errno));
        return false;
    }
    s->gpa = gpa;
    s->size = size;
    m->ram_slots++;
    region.userspace_addr = (uintptr_t)s->host;
    long result = engine_ioctl_pointer(m->engine, m->vm, KVM_SET_USER_MEMORY_REGION, &region);
    return result >= 0 || core_error(error, m, "KVM_SET_USER_MEMORY_REGION", result);
}

bool ram_setup(struct machine *m, GError **error)
{
    uint64_t size = m->config->memory, low = MIN(size, LAYOUT_LOW_RAM_MAX);
    struct sysinfo info;

    if (sysinfo(&info) == 0 && size / info.mem_unit > info.totalram + info.totalswap) {
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--memory: %" G_GUINT64_FORMAT
                    " MiB is more than this host has (%" G_GUINT64_FORMAT " MiB); ask for less",
                    size >> 20, (uint64_t)(info.totalram + info.totalswap) * info.mem_unit >> 20);
        return false;
    }
    return add_slot(m, 0, low, error) &&
           (size == low || add_slot(m, LAYOUT_HIGH_RAM, size - low, error));
}

void ram_free(struct machine *m)
{
    for (unsigned i = 0; i < m->ram_slots; i++)
        munmap(m->ram[i].host, m->ram[i].size);
    m->ram_slots = 0;
}

void *ram_pointer(struct machine *m, uint64_t gpa, uint64_t length, bool write)
{
    (void)write; /* all RAM is writable; a ROM's slot will differ */
    for (unsigned i = 0; i < m->ram_slots; i++) {
        struct ram_slot *s = &m->ram[i];

        if (gpa >= s->gpa && range_inside(gpa - s->gpa, length, s->size))
            return s->host + (gpa - s->gpa);
    }
    return NULL;
}

void ram_written(struct machine *m, uint64_t gpa, uint64_t length)
{
    struct trapeze_kvm_memory_written written = {.gpa = gpa, .size = length};

    if (m->engine->extended && length)
        engine_ioctl_pointer(m->engine, m->vm, TRAPEZE_KVM_MEMORY_WRITTEN, &written);
}

bool ram_read(struct machine *m, uint64_t gpa, void *to, uint64_t length)
{
    const void *from = ram_pointer(m, gpa, length, false);

    if (from)
        memcpy(to, from, length);
    return from;
}

bool ram_write(struct machine *m, uint64_t gpa, const void *from, uint64_t length)
{
    void *to = ram_pointer(m, gpa, length, true);

    if (!to)
        return false;
    memcpy(to, from, length);
    ram_written(m, gpa, length);
    return true;
}
