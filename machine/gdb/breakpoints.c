/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Breakpoints: INT3 in guest memory for software ones, the debug registers for the others
 * (KVM_SET_GUEST_DEBUG; SDM volume 3, 17.2).
 */
#include "private.h"

#define INT3 0xcc

#define DR7_FIXED 0x600ull
/* Of debug register N: enabled globally; condition; length. */
#define DR7_ENABLE(n)       (2ull << ((n)*2))
#define DR7_CONDITION(n, c) ((uint64_t)(c) << (16 + (n)*4))
#define DR7_LENGTH(n, l)    ((uint64_t)(l) << (18 + (n)*4))

enum { CONDITION_EXECUTE, CONDITION_WRITE, CONDITION_ACCESS = 3 };

/* ---- software breakpoints ---- */

static struct software_breakpoint *find_software(const struct gdb *g, uint64_t address)
{
    for (guint i = 0; i < g->software->len; i++) {
        struct software_breakpoint *b = &g_array_index(g->software, struct software_breakpoint, i);

        if (b->address == address)
            return b;
    }
    return NULL;
}

bool breakpoint_at(const struct gdb *g, uint64_t address)
{
    return find_software(g, address);
}

static bool insert_software(struct gdb *g, uint64_t address)
{
    const uint8_t int3 = INT3;
    struct software_breakpoint b = {.address = address};

    if (find_software(g, address))
        return true;
    if (g->software->len == SOFTWARE_BREAKPOINTS || !gdb_memory_translate(g, address, &b.gpa) ||
        gdb_memory_read(g, address, &b.saved, 1) != 1)
        return false;
    g_array_append_val(g->software, b);
    return ram_write(g->machine, b.gpa, &int3, 1);
}

/* Puts the byte back, unless the guest put another one there meanwhile. */
static void restore(struct gdb *g, const struct software_breakpoint *b)
{
    uint8_t now;

    /* Another mapping of the same byte may have a breakpoint, too: the last one restores. */
    for (guint i = 0; i < g->software->len; i++) {
        const struct software_breakpoint *other =
            &g_array_index(g->software, struct software_breakpoint, i);
        if (other->gpa == b->gpa)
            return;
    }
    if (ram_read(g->machine, b->gpa, &now, 1) && now == INT3)
        ram_write(g->machine, b->gpa, &b->saved, 1);
}

static bool remove_software(struct gdb *g, uint64_t address)
{
    struct software_breakpoint *b = find_software(g, address), copy;

    if (!b)
        return true; /* the protocol wants both idempotent */
    copy = *b;
    g_array_remove_index_fast(g->software,
                              (guint)(b - (struct software_breakpoint *)(void *)g->software->data));
    restore(g, &copy);
    return true;
}

/* ---- hardware breakpoints ---- */

static bool insert_hardware(struct gdb *g, struct hardware_breakpoint b)
{
    struct hardware_breakpoint *place = NULL;

    if (b.type == BREAK_HARDWARE)
        b.length = 1;
    if ((b.length != 1 && b.length != 2 && b.length != 4 && b.length != 8) ||
        b.address & (b.length - 1))
        return false;
    for (unsigned i = 0; i < HARDWARE_BREAKPOINTS; i++) {
        struct hardware_breakpoint *h = &g->hardware[i];

        if (h->length == b.length && h->type == b.type && h->address == b.address)
            return true;
        if (!h->length && !place)
            place = h;
    }
    if (place)
        *place = b;
    return place;
}

static bool remove_hardware(struct gdb *g, struct hardware_breakpoint b)
{
    for (unsigned i = 0; i < HARDWARE_BREAKPOINTS; i++) {
        struct hardware_breakpoint *h = &g->hardware[i];

        if (h->length && h->type == b.type && h->address == b.address &&
            (b.type == BREAK_HARDWARE || h->length == b.length))
            h->length = 0;
    }
    return true;
}

const struct hardware_breakpoint *breakpoint_hit(const struct gdb *g, uint64_t dr6)
{
    for (unsigned i = 0; i < HARDWARE_BREAKPOINTS; i++)
        if (dr6 >> i & 1 && g->hardware[i].length)
            return &g->hardware[i];
    return NULL;
}

/* ---- both ---- */

bool breakpoint_insert(struct gdb *g, enum breakpoint_type type, uint64_t address, uint64_t length)
{
    if (type == BREAK_SOFTWARE)
        return insert_software(g, address);
    return insert_hardware(
        g, (struct hardware_breakpoint){.type = type, .address = address, .length = length});
}

bool breakpoint_remove(struct gdb *g, enum breakpoint_type type, uint64_t address, uint64_t length)
{
    if (type == BREAK_SOFTWARE)
        return remove_software(g, address);
    return remove_hardware(
        g, (struct hardware_breakpoint){.type = type, .address = address, .length = length});
}

void breakpoint_remove_all(struct gdb *g)
{
    while (g->software->len)
        remove_software(g, g_array_index(g->software, struct software_breakpoint, 0).address);
    for (unsigned i = 0; i < HARDWARE_BREAKPOINTS; i++)
        g->hardware[i].length = 0;
}

/* The bits of DR7 for breakpoint N. */
static uint64_t dr7_bits(unsigned n, const struct hardware_breakpoint *h)
{
    static const uint8_t lengths[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    unsigned condition = h->type == BREAK_HARDWARE ? CONDITION_EXECUTE
                         : h->type == WATCH_WRITE  ? CONDITION_WRITE
                                                   : CONDITION_ACCESS; /* x86 has none for reads */

    return DR7_ENABLE(n) | DR7_CONDITION(n, condition) | DR7_LENGTH(n, lengths[h->length]);
}

void breakpoint_apply(struct gdb *g, unsigned index, uint32_t extra)
{
    struct machine *m = g->machine;
    struct kvm_guest_debug debug = {.control = extra};

    debug.arch.debugreg[7] = DR7_FIXED;
    for (unsigned i = 0; i < HARDWARE_BREAKPOINTS; i++) {
        if (!g->hardware[i].length)
            continue;
        debug.control |= KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[i] = g->hardware[i].address;
        debug.arch.debugreg[7] |= dr7_bits(i, &g->hardware[i]);
    }
    if (g->software->len)
        debug.control |= KVM_GUESTDBG_USE_SW_BP;
    if (g->vcpus[index].stepping)
        debug.control |=
            KVM_GUESTDBG_SINGLESTEP | (g->blocks_interrupts ? KVM_GUESTDBG_BLOCKIRQ : 0);
    if (debug.control)
        debug.control |= KVM_GUESTDBG_ENABLE;
    long result =
        engine_ioctl_pointer(m->engine, m->vcpus[index]->file, KVM_SET_GUEST_DEBUG, &debug);
    if (result < 0)
        machine_log(m, true, "--gdb: vCPU %u: KVM_SET_GUEST_DEBUG: %s", index,
                    g_strerror((int)-result));
}
