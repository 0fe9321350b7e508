/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The debugger's view of guest memory. */
#include "private.h"

#include <string.h>

#define PAGE 4096u

bool gdb_memory_translate(struct gdb *g, uint64_t address, uint64_t *gpa)
{
    struct machine *m = g->machine;
    struct kvm_translation t = {.linear_address = address};

    *gpa = address;
    if (!g->physical) {
        if (engine_ioctl_pointer(m->engine, m->vcpus[g->selected]->file, KVM_TRANSLATE, &t) < 0 ||
            !t.valid)
            return false;
        *gpa = t.physical_address;
    }
    return ram_pointer(m, *gpa, 1, false);
}

/* Bytes from ADDRESS to the end of its page, at most LENGTH. */
static size_t in_page(uint64_t address, size_t length)
{
    return MIN(length, PAGE - address % PAGE);
}

/* Puts into DATA, a copy of guest memory at GPA, what stands there but for breakpoints. */
static void hide_breakpoints(const struct gdb *g, uint64_t gpa, uint8_t *data, size_t length)
{
    for (guint i = 0; i < g->software->len; i++) {
        const struct software_breakpoint *b =
            &g_array_index(g->software, struct software_breakpoint, i);

        if (b->gpa - gpa < length && data[b->gpa - gpa] == 0xcc)
            data[b->gpa - gpa] = b->saved;
    }
}

size_t gdb_memory_read(struct gdb *g, uint64_t address, uint8_t *to, size_t length)
{
    size_t done = 0;

    while (done < length) {
        size_t part = in_page(address + done, length - done);
        uint64_t gpa;

        if (!gdb_memory_translate(g, address + done, &gpa) ||
            !ram_read(g->machine, gpa, to + done, part))
            break;
        hide_breakpoints(g, gpa, to + done, part);
        done += part;
    }
    return done;
}

/* Makes DATA, which goes to GPA, what shall stand there: breakpoints stay, with new bytes saved. */
static void keep_breakpoints(struct gdb *g, uint64_t gpa, uint8_t *data, size_t length)
{
    for (guint i = 0; i < g->software->len; i++) {
        struct software_breakpoint *b = &g_array_index(g->software, struct software_breakpoint, i);

        if (b->gpa - gpa < length) {
            b->saved = data[b->gpa - gpa];
            data[b->gpa - gpa] = 0xcc;
        }
    }
}

bool gdb_memory_write(struct gdb *g, uint64_t address, const uint8_t *from, size_t length)
{
    uint64_t gpa;

    for (size_t done = 0, part; done < length; done += part) {
        part = in_page(address + done, length - done);
        if (!gdb_memory_translate(g, address + done, &gpa) ||
            !ram_pointer(g->machine, gpa, part, true))
            return false;
    }
    for (size_t done = 0, part; done < length; done += part) {
        uint8_t page[PAGE];

        part = in_page(address + done, length - done);
        memcpy(page, from + done, part);
        if (!gdb_memory_translate(g, address + done, &gpa))
            return false; /* what was written changed the page tables */
        keep_breakpoints(g, gpa, page, part);
        ram_write(g->machine, gpa, page, part);
    }
    return true;
}
