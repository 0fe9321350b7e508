/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Port and memory accesses that leave the processor, and the replay of the instruction that makes
 * them: an access leaves by an exit before anything of the instruction is visible; the caller
 * completes it; the instruction runs again and finds its earlier accesses recorded.
 */
#include "internal.h"

void replay_begin(struct processor *p)
{
    p->replay.next = 0;
}

void replay_finish(struct processor *p)
{
    p->replay.next = p->replay.recorded = 0;
    p->slow &= ~SLOW_REPLAY;
}

void replay_commit(struct processor *p)
{
    p->replay.next = p->replay.recorded = 0;
}

void replay_take(struct processor *p)
{
    struct replay *r = &p->replay;
    if (!r->waiting)
        return;
    r->access[r->recorded++] = p->vmcs.access;
    r->waiting = false;
    p->slow |= SLOW_REPLAY;
}

bool vmx_access_pending(const struct processor *p)
{
    return p->replay.waiting || p->replay.recorded;
}

void vmx_abandon_access(struct processor *p)
{
    p->replay = (struct replay){0};
    p->slow &= ~SLOW_REPLAY;
}

/* Makes A, or finds it made: then a read's data is in A on return. */
static void bus_access(struct processor *p, unsigned reason, struct bus_access *a)
{
    struct replay *r = &p->replay;
    if (r->next < r->recorded) {
        const struct bus_access *made = &r->access[r->next++];
        if (!a->write)
            memcpy(a->data, made->data, sizeof(a->data));
        return;
    }
    if (r->recorded == REPLAY_MAX) {
        /* No instruction makes so many; one that seems to is lost, not the processor. */
        vmx_abandon_access(p);
        raise_gp(p);
    }
    p->vmcs.access = *a;
    r->waiting = true;
    vm_exit(p, reason, 0);
}

uint64_t bus_read(struct processor *p, uint64_t gpa, unsigned size)
{
    struct bus_access a = {.address = gpa, .size = (uint8_t)size};
    p->vmcs.guest_physical_address = gpa;
    bus_access(p, EXIT_REASON_MMIO, &a);
    uint64_t value = 0;
    memcpy(&value, a.data, size);
    return value;
}

void bus_write(struct processor *p, uint64_t gpa, uint64_t value, unsigned size)
{
    struct bus_access a = {.address = gpa, .size = (uint8_t)size, .write = true};
    memcpy(a.data, &value, size);
    p->vmcs.guest_physical_address = gpa;
    bus_access(p, EXIT_REASON_MMIO, &a);
}

uint32_t port_read(struct processor *p, uint16_t port, unsigned size, bool string, unsigned more)
{
    struct bus_access a = {
        .address = port, .size = (uint8_t)size, .string = string, .more = (uint16_t)more};
    bus_access(p, EXIT_REASON_PIO, &a);
    uint32_t value = 0;
    memcpy(&value, a.data, size);
    return value;
}

bool port_read_more(struct processor *p, unsigned size, uint32_t *value)
{
    struct vmcs *v = &p->vmcs;
    if (!v->string_left)
        return false;
    *value = 0;
    memcpy(value, v->string_data, size);
    v->string_data += size;
    v->string_left--;
    return true;
}

void port_write(struct processor *p, uint16_t port, uint32_t value, unsigned size, bool string)
{
    struct bus_access a = {.address = port, .size = (uint8_t)size, .write = true, .string = string};
    memcpy(a.data, &value, size);
    bus_access(p, EXIT_REASON_PIO, &a);
}
