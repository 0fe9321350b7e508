/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slow path of memory access: everything that misses the inline TLB check of core.h. */
#include "internal.h"

#include "processor/decode/decode.h"

/* #GP(0), or #SS(0) when the access goes through SS: an explicit operand in that segment, or the
 * stack that the instruction or an event's delivery uses implicitly. */
_Noreturn static void raise_non_canonical(struct processor *p, uint64_t linear)
{
    const struct insn *i = p->insn;
    bool stack = i == NULL || i->attr->traits & TRAIT_STACK;
    /* Beside the stack's, an operand's accesses are told by their address; alone, BT's may lie
     * apart from it. */
    if (i && insn_has_memory(i) && (!stack || p->flat_base[i->seg] + insn_ea(p, i) == linear))
        stack = i->seg == SEG_SS;
    raise_fault(p, stack ? VECTOR_SS : VECTOR_GP, 0);
}

uint8_t *access_host(struct processor *p, struct slot *slot, uint64_t gpa, bool write)
{
    uint8_t *hva;
    enum present present = slot_host(p->memory, slot, gpa, write, &hva);
    if (likely(present == PRESENT_YES))
        return hva;
    if (present == PRESENT_WAIT)
        vm_exit(p, EXIT_REASON_KICK, 0); /* so that whoever changes the mappings need not wait */
    p->vmcs.guest_physical_address = gpa;
    vm_exit(p, EXIT_REASON_HOST_FAULT, 0);
}

uint8_t *access_translate(struct processor *p, struct tlb *tlb, uint64_t linear,
                          enum access_kind kind, struct access_as as, uint64_t *gpa)
{
    if (p->mode & MODE_LONG && !linear_is_canonical(p, linear))
        raise_non_canonical(p, linear);
    uint8_t *known = tlb ? tlb_recall(tlb, linear, kind) : NULL;
    if (known)
        return known;
    struct translation t;
    uint32_t fault = mmu_walk(p, linear, kind, as, &t);
    if (fault)
        raise_page_fault(p, linear, fault & ~WALK_FAULT);
    if (gpa)
        *gpa = t.gpa;
    struct slot *slot = processor_slot_at(p, t.gpa);
    if (!slot || (kind == FOR_WRITE && slot->info.flags & MEMORY_READONLY))
        return NULL;
    uint8_t *hva = access_host(p, slot, t.gpa, kind == FOR_WRITE);
    if (kind == FOR_WRITE)
        slot_mark_dirty(p->memory, slot, p, t.gpa);
    if (tlb)
        tlb_insert(p, tlb, linear, kind, &t, slot);
    return hva;
}

/* How an access is made: through which TLB, with whose rights. */
struct manner {
    struct tlb *tlb;
    struct access_as as;
    bool data; /* an operand: alignment checks and data breakpoints apply */
};

static struct manner manner_of(struct processor *p, enum tlb_class c, bool data)
{
    return (struct manner){&p->tlb_set->class[c], tlb_class_as(p, c), data};
}

static struct manner manner_current(struct processor *p)
{
    return manner_of(p, (enum tlb_class)(p->tlb - p->tlb_set->class), true);
}

static uint64_t host_load(const uint8_t *hva, unsigned size)
{
    uint64_t value = 0;
    switch (size) {
    case 1:
        return host_load8(hva);
    case 2:
        return host_load16(hva);
    case 4:
        return host_load32(hva);
    case 8:
        return host_load64(hva);
    default:
        guest_copy(&value, hva, size);
        return value;
    }
}

static void host_store(uint8_t *hva, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        host_store8(hva, (uint8_t)value);
        break;
    case 2:
        host_store16(hva, (uint16_t)value);
        break;
    case 4:
        host_store32(hva, (uint32_t)value);
        break;
    case 8:
        host_store64(hva, value);
        break;
    default:
        guest_copy(hva, &value, size);
        break;
    }
}

/* Bytes of an access of SIZE at LINEAR that lie in its first page. */
static unsigned first_part(uint64_t linear, unsigned size)
{
    uint64_t left = PAGE_BYTES - (linear & PAGE_OFFSET_MASK);
    return left < size ? (unsigned)left : size;
}

/* LINEAR + N, as wide as linear addresses now are. */
static uint64_t linear_add(const struct processor *p, uint64_t linear, uint64_t n)
{
    linear += n;
    return p->mode & MODE_LONG ? linear : (uint32_t)linear;
}

static void check_operand(struct processor *p, const struct manner *how, uint64_t linear,
                          unsigned size, unsigned access)
{
    if (!how->data)
        return;
    if (p->mode & MODE_ALIGN && linear & (size - 1) && !(size & (size - 1)))
        raise_fault(p, VECTOR_AC, 0);
    if (p->slow & SLOW_BREAKPOINT)
        debug_check_data(p, linear, size, access);
}

static uint64_t read_in_page(struct processor *p, const struct manner *how, uint64_t linear,
                             unsigned size)
{
    uint64_t gpa;
    uint8_t *hva = access_translate(p, how->tlb, linear, FOR_READ, how->as, &gpa);
    return hva ? host_load(hva, size) : bus_read(p, gpa, size);
}

static void write_in_page(struct processor *p, const struct manner *how, uint64_t linear,
                          uint64_t value, unsigned size)
{
    uint64_t gpa;
    uint8_t *hva = access_translate(p, how->tlb, linear, FOR_WRITE, how->as, &gpa);
    if (!hva) {
        bus_write(p, gpa, value, size);
        return;
    }
    host_store(hva, value, size);
    if (code_page_holds_code(p->memory, hva))
        code_written(p->memory, p, hva, size);
}

static uint64_t read_by(struct processor *p, struct manner how, uint64_t linear, unsigned size)
{
    check_operand(p, &how, linear, size, MEM_READ);
    unsigned first = first_part(linear, size);
    if (first == size)
        return read_in_page(p, &how, linear, size);
    uint64_t low = read_in_page(p, &how, linear, first);
    uint64_t high = read_in_page(p, &how, linear_add(p, linear, first), size - first);
    return low | high << (8 * first);
}

static void write_by(struct processor *p, struct manner how, uint64_t linear, uint64_t value,
                     unsigned size)
{
    check_operand(p, &how, linear, size, MEM_WRITE);
    unsigned first = first_part(linear, size);
    if (first == size) {
        write_in_page(p, &how, linear, value, size);
        return;
    }
    uint64_t second = linear_add(p, linear, first);
    access_translate(p, how.tlb, linear, FOR_WRITE, how.as, NULL);
    access_translate(p, how.tlb, second, FOR_WRITE, how.as, NULL);
    write_in_page(p, &how, linear, value, first);
    write_in_page(p, &how, second, value >> (8 * first), size - first);
}

uint64_t mem_read_slow(struct processor *p, uint64_t linear, unsigned size)
{
    return read_by(p, manner_current(p), linear, size);
}

void mem_write_slow(struct processor *p, uint64_t linear, uint64_t value, unsigned size)
{
    write_by(p, manner_current(p), linear, value, size);
}

void *mem_rmw_slow(struct processor *p, uint64_t linear, unsigned size)
{
    struct manner how = manner_current(p);
    check_operand(p, &how, linear, size, MEM_READ | MEM_WRITE);
    if (first_part(linear, size) != size)
        return NULL;
    uint8_t *hva = access_translate(p, how.tlb, linear, FOR_WRITE, how.as, NULL);
    if (hva && code_page_holds_code(p->memory, hva)) {
        p->rmw_code = hva;
        p->rmw_size = size;
    }
    return hva;
}

void mem_rmw_finish(struct processor *p)
{
    uint8_t *hva = p->rmw_code;
    p->rmw_code = NULL;
    code_written(p->memory, p, hva, p->rmw_size);
}

static void probe_by(struct processor *p, const struct manner *how, uint64_t linear, unsigned size,
                     enum access_kind kind)
{
    access_translate(p, how->tlb, linear, kind, how->as, NULL);
    unsigned first = first_part(linear, size);
    if (first != size)
        access_translate(p, how->tlb, linear_add(p, linear, first), kind, how->as, NULL);
}

void mem_probe(struct processor *p, uint64_t linear, unsigned size, unsigned access)
{
    struct tlb_entry *e = tlb_entry(p, linear);
    uint64_t tag = access & MEM_WRITE ? e->write : e->read;
    if (likely((linear ^ tag) <= PAGE_BYTES - size))
        return;
    struct manner how = manner_current(p);
    if (p->mode & MODE_ALIGN && size <= 8 && linear & (size - 1) && !(size & (size - 1)))
        raise_fault(p, VECTOR_AC, 0);
    probe_by(p, &how, linear, size, access & MEM_WRITE ? FOR_WRITE : FOR_READ);
}

void mem_read_bytes(struct processor *p, uint64_t linear, void *to, unsigned size)
{
    struct tlb_entry *e = tlb_entry(p, linear);
    if (likely((linear ^ e->read) <= PAGE_BYTES - size)) {
        guest_copy(to, (const void *)(e->host + (linear ^ e->read)), size);
        return;
    }
    struct manner how = manner_current(p);
    if (p->slow & SLOW_BREAKPOINT)
        debug_check_data(p, linear, size, MEM_READ);
    probe_by(p, &how, linear, size, FOR_READ);
    uint8_t *out = to;
    while (size) {
        unsigned part = first_part(linear, size);
        uint64_t gpa;
        uint8_t *hva = access_translate(p, how.tlb, linear, FOR_READ, how.as, &gpa);
        if (hva) {
            guest_copy(out, hva, part);
        } else {
            part = part < 8 ? part : 8 - (linear & 7);
            uint64_t value = bus_read(p, gpa, part);
            memcpy(out, &value, part);
        }
        out += part;
        size -= part;
        linear = linear_add(p, linear, part);
    }
}

void mem_write_bytes(struct processor *p, uint64_t linear, const void *from, unsigned size)
{
    struct tlb_entry *e = tlb_entry(p, linear);
    if (likely((linear ^ e->write) <= PAGE_BYTES - size)) {
        guest_copy((void *)(e->host + (linear ^ e->write)), from, size);
        return;
    }
    struct manner how = manner_current(p);
    if (p->slow & SLOW_BREAKPOINT)
        debug_check_data(p, linear, size, MEM_WRITE);
    probe_by(p, &how, linear, size, FOR_WRITE);
    const uint8_t *in = from;
    while (size) {
        unsigned part = first_part(linear, size);
        uint64_t gpa;
        uint8_t *hva = access_translate(p, how.tlb, linear, FOR_WRITE, how.as, &gpa);
        if (hva) {
            guest_copy(hva, in, part);
            if (code_page_holds_code(p->memory, hva))
                code_written(p->memory, p, hva, part);
        } else {
            part = part < 8 ? part : 8 - (linear & 7);
            uint64_t value = 0;
            memcpy(&value, in, part);
            bus_write(p, gpa, value, part);
        }
        in += part;
        size -= part;
        linear = linear_add(p, linear, part);
    }
}

uint8_t *mem_host(struct processor *p, uint64_t linear, unsigned access, uint64_t *size)
{
    uint64_t left = PAGE_BYTES - (linear & PAGE_OFFSET_MASK);
    if (*size > left)
        *size = left;
    if (p->mode & MODE_ALIGN || p->slow & SLOW_BREAKPOINT)
        return NULL;
    struct tlb_entry *e = tlb_entry(p, linear);
    bool write = access & MEM_WRITE;
    uint64_t page = linear & ~PAGE_OFFSET_MASK;
    if (likely((write ? e->write : e->read) == page))
        return (uint8_t *)(e->host + (linear - page));
    struct manner how = manner_current(p);
    uint8_t *hva = access_translate(p, how.tlb, linear, write ? FOR_WRITE : FOR_READ, how.as, NULL);
    if (hva && write && code_page_holds_code(p->memory, hva))
        return NULL;
    return hva;
}

/* ---- accesses by the processor itself ---- */

/* The class of implicit supervisor accesses: SMAP holds whatever EFLAGS.AC says. */
static struct manner manner_system(struct processor *p)
{
    return manner_of(p, p->cr4 & CR4_SMAP ? TLB_SUPERVISOR : TLB_SUPERVISOR_AC, false);
}

static struct manner manner_as(struct processor *p, unsigned cpl)
{
    if (cpl == 3)
        return manner_of(p, TLB_USER, false);
    bool ac = p->rflags & FLAG_AC || !(p->cr4 & CR4_SMAP);
    return manner_of(p, ac ? TLB_SUPERVISOR_AC : TLB_SUPERVISOR, false);
}

static uint64_t read_through(struct processor *p, struct manner how, uint64_t linear, unsigned size)
{
    struct tlb_entry *e = &how.tlb->entry[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)];
    if (likely((linear ^ e->read) <= PAGE_BYTES - size))
        return host_load((const uint8_t *)(e->host + (linear ^ e->read)), size);
    return read_by(p, how, linear, size);
}

static void write_through(struct processor *p, struct manner how, uint64_t linear, uint64_t value,
                          unsigned size)
{
    struct tlb_entry *e = &how.tlb->entry[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)];
    if (likely((linear ^ e->write) <= PAGE_BYTES - size))
        host_store((uint8_t *)(e->host + (linear ^ e->write)), value, size);
    else
        write_by(p, how, linear, value, size);
}

uint64_t mem_read_system(struct processor *p, uint64_t linear, unsigned size)
{
    return read_through(p, manner_system(p), linear, size);
}

void mem_write_system(struct processor *p, uint64_t linear, uint64_t value, unsigned size)
{
    write_through(p, manner_system(p), linear, value, size);
}

void mem_probe_system(struct processor *p, uint64_t linear, unsigned size, unsigned access)
{
    struct manner how = manner_system(p);
    probe_by(p, &how, linear, size, access & MEM_WRITE ? FOR_WRITE : FOR_READ);
}

uint64_t mem_read_as(struct processor *p, unsigned cpl, uint64_t linear, unsigned size)
{
    return read_through(p, manner_as(p, cpl), linear, size);
}

void mem_write_as(struct processor *p, unsigned cpl, uint64_t linear, uint64_t value, unsigned size)
{
    write_through(p, manner_as(p, cpl), linear, value, size);
}
