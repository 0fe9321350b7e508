/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The page walk: SDM volume 3, chapter 4. */
#include "internal.h"

#define PTE_P  BIT(0)
#define PTE_RW BIT(1)
#define PTE_US BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_G  BIT(8)
#define PTE_NX BIT(63)

#define PF_P    1u
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

struct walk {
    struct processor *p;
    uint64_t linear;
    enum access_kind kind;
    struct access_as as;
    bool peek;       /* from outside vmx_enter: nothing may unwind */
    uint64_t rights; /* PTE_RW and PTE_US: the AND over the levels; PTE_NX: the OR */
};

static uint32_t walk_fault(const struct walk *w, uint32_t code)
{
    const struct processor *p = w->p;
    if (w->kind == FOR_WRITE)
        code |= PF_W;
    if (w->as.user)
        code |= PF_U;
    bool nx = (p->msr.efer & EFER_NXE) && (p->cr4 & CR4_PAE);
    if (w->kind == FOR_FETCH && (nx || p->cr4 & CR4_SMEP))
        code |= PF_I;
    return WALK_FAULT | code;
}

static uint64_t physical_mask(const struct processor *p)
{
    return (BIT(p->phys_bits) - 1) & ~PAGE_OFFSET_MASK;
}

/* What the accumulated rights let the asker do. */
static bool may(const struct walk *w, enum access_kind kind)
{
    const struct processor *p = w->p;
    bool user_page = w->rights & PTE_US;
    if (w->as.user) {
        if (!user_page)
            return false;
        if (kind == FOR_WRITE)
            return w->rights & PTE_RW;
        return kind == FOR_READ || !(w->rights & PTE_NX);
    }
    if (kind == FOR_FETCH)
        return !(w->rights & PTE_NX) && !(user_page && p->cr4 & CR4_SMEP);
    if (user_page && w->as.smap && p->cr4 & CR4_SMAP)
        return false;
    return kind == FOR_READ || w->rights & PTE_RW || !(p->cr0 & CR0_WP);
}

/* A paging-structure entry in guest memory. */
struct entry {
    uint8_t *hva;
    struct slot *slot;
    uint64_t gpa;
    uint64_t value;
};

static bool entry_read(struct walk *w, uint64_t gpa, unsigned size, struct entry *e)
{
    e->slot = w->peek ? memory_slot_at(w->p->memory, gpa) : processor_slot_at(w->p, gpa);
    if (!e->slot)
        return false;
    e->gpa = gpa;
    if (!w->peek)
        e->hva = access_host(w->p, e->slot, gpa, false);
    else if (slot_host(w->p->memory, e->slot, gpa, false, &e->hva) != PRESENT_YES)
        return false;
    e->value = size == 8 ? __atomic_load_n((uint64_t *)e->hva, __ATOMIC_ACQUIRE)
                         : __atomic_load_n((uint32_t *)e->hva, __ATOMIC_ACQUIRE);
    return true;
}

/* Sets BITS in the entry.  False when another processor changed it meanwhile: walk again. */
static bool entry_set(struct walk *w, struct entry *e, unsigned size, uint64_t bits)
{
    if ((e->value & bits) == bits)
        return true;
    if (e->slot->info.flags & MEMORY_READONLY)
        return true; /* a page table in ROM cannot take the bits */
    access_host(w->p, e->slot, e->gpa, true);
    bool done;
    if (size == 8) {
        done = __atomic_compare_exchange_n((uint64_t *)e->hva, &e->value, e->value | bits, false,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    } else {
        uint32_t expected = (uint32_t)e->value;
        done =
            __atomic_compare_exchange_n((uint32_t *)e->hva, &expected, (uint32_t)(e->value | bits),
                                        false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    if (done) {
        slot_mark_dirty(w->p->memory, e->slot, w->p, e->gpa);
        code_written(w->p->memory, w->p, e->hva, size);
    }
    return done;
}

/* The shape of one paging mode. */
struct paging {
    unsigned levels, entry_size, index_bits;
    bool pae_root; /* level 3 is the PDPTE registers */
};

static struct paging paging_shape(const struct processor *p)
{
    if (p->mode & MODE_LONG)
        return (struct paging){p->cr4 & CR4_LA57 ? 5 : 4, 8, 9, false};
    if (p->cr4 & CR4_PAE)
        return (struct paging){2, 8, 9, true};
    return (struct paging){2, 4, 10, false};
}

/* Reserved bits of entry E at LEVEL (1 = page table). */
static bool reserved_bits_set(const struct walk *w, const struct paging *shape, unsigned level,
                              uint64_t e, bool leaf)
{
    const struct processor *p = w->p;
    if (shape->entry_size == 4) {
        /* PSE-36: bits 20:13 of a 4 MB page hold physical bits 39:32, bit 21 is reserved. */
        if (!leaf || level == 1)
            return false;
        uint64_t high = (e >> 13) & 0xff;
        return e & BIT(21) || (p->phys_bits < 40 && high >> (p->phys_bits - 32));
    }
    uint64_t reserved = (BIT(52) - 1) & ~(BIT(p->phys_bits) - 1);
    if (!(p->mode & MODE_LONG))
        reserved |= (BIT(63) - 1) & ~(BIT(52) - 1);
    if (!(p->msr.efer & EFER_NXE))
        reserved |= PTE_NX;
    if (leaf && level > 1)
        reserved |= (BIT(12 + 9 * (level - 1)) - 1) & ~(BIT(13) - 1);
    if (level >= 4)
        reserved |= PTE_PS;
    return e & reserved;
}

/* Bytes that an entry at LEVEL maps, as a bit count. */
static unsigned level_shift(const struct paging *shape, unsigned level)
{
    return PAGE_BITS + shape->index_bits * (level - 1);
}

static uint64_t entry_gpa(const struct walk *w, const struct paging *shape, uint64_t table,
                          unsigned level)
{
    uint64_t index = (w->linear >> level_shift(shape, level)) & (BIT(shape->index_bits) - 1);
    return table + index * shape->entry_size;
}

static bool entry_is_leaf(const struct walk *w, const struct paging *shape, unsigned level,
                          uint64_t e)
{
    if (level == 1)
        return true;
    if (level > 3 || !(e & PTE_PS))
        return false;
    return shape->entry_size == 8 || w->p->cr4 & CR4_PSE;
}

static uint64_t leaf_gpa(const struct walk *w, const struct paging *shape, unsigned level,
                         uint64_t e)
{
    uint64_t inside = BIT(level_shift(shape, level)) - 1;
    uint64_t base = e & physical_mask(w->p);
    if (shape->entry_size == 4 && level == 2)
        base = (e & 0xffc00000u) | ((e >> 13) & 0xff) << 32;
    return (base & ~inside) | (w->linear & inside);
}

/* One descent.  Returns false when an entry changed underneath. */
static bool walk_once(struct walk *w, struct translation *t, uint32_t *fault)
{
    struct processor *p = w->p;
    struct paging shape = paging_shape(p);
    uint64_t table = p->cr3 & physical_mask(p);
    *fault = 0;
    w->rights = PTE_RW | PTE_US;
    if (shape.pae_root) {
        uint64_t root = p->pdpte[(w->linear >> 30) & 3];
        if (!(root & PTE_P)) {
            *fault = walk_fault(w, 0);
            return true;
        }
        table = root & physical_mask(p);
    } else if (shape.entry_size == 4) {
        table = p->cr3 & 0xfffff000u;
    }
    for (unsigned level = shape.levels;; level--) {
        struct entry e;
        if (!entry_read(w, entry_gpa(w, &shape, table, level), shape.entry_size, &e) ||
            !(e.value & PTE_P)) {
            *fault = walk_fault(w, 0);
            return true;
        }
        bool leaf = entry_is_leaf(w, &shape, level, e.value);
        if (reserved_bits_set(w, &shape, level, e.value, leaf)) {
            *fault = walk_fault(w, PF_P | PF_RSVD);
            return true;
        }
        w->rights &= e.value | ~(PTE_RW | PTE_US);
        w->rights |= e.value & PTE_NX;
        if (!leaf) {
            if (!entry_set(w, &e, shape.entry_size, PTE_A))
                return false;
            table = e.value & (shape.entry_size == 4 ? 0xfffff000u : physical_mask(p));
            continue;
        }
        if (!may(w, w->kind)) {
            *fault = walk_fault(w, PF_P);
            return true;
        }
        if (!entry_set(w, &e, shape.entry_size, w->kind == FOR_WRITE ? PTE_A | PTE_D : PTE_A))
            return false;
        t->gpa = leaf_gpa(w, &shape, level, e.value);
        t->bits = level_shift(&shape, level);
        t->leaf = NULL;
        t->global = e.value & PTE_G && p->cr4 & CR4_PGE;
        t->read = may(w, FOR_READ);
        t->fetch = may(w, FOR_FETCH);
        t->write = may(w, FOR_WRITE) && (e.value & PTE_D || w->kind == FOR_WRITE);
        return true;
    }
}

/* Bits that are reserved in the entries of four levels, whatever they map. */
static uint64_t always_reserved(const struct processor *p)
{
    return ((BIT(52) - 1) & ~(BIT(p->phys_bits) - 1)) | (p->msr.efer & EFER_NXE ? 0 : PTE_NX);
}

/* Entries of 8 bytes at GPA, if they are in memory that is known to be there; or NULL. */
static const uint64_t *entries_at(struct processor *p, uint64_t gpa)
{
    const struct slot *slot = processor_slot_at(p, gpa);
    if (!slot || !slot_is_present(slot, gpa, false))
        return NULL;
    return (const uint64_t *)(slot->info.hva + (gpa - slot->info.gpa));
}

/* The walk in the ordinary case: four levels, whose tables are in RAM and marked as accessed, and
 * nothing to fault about.  False, with nothing done: walk_once has the rest. */
static bool walk_quick(struct walk *w, struct translation *t)
{
    struct processor *p = w->p;
    const uint64_t mask = physical_mask(p);
    const uint64_t reserved = always_reserved(p);
    uint64_t table = p->cr3 & mask;
    if (!(p->mode & MODE_LONG) || p->cr4 & CR4_LA57)
        return false;
    w->rights = PTE_RW | PTE_US;
    for (unsigned level = 4, shift = 39;; level--, shift -= 9) {
        uint64_t gpa = table + (w->linear >> shift & 511) * 8;
        const uint64_t *at = entries_at(p, gpa);
        if (!at)
            return false;
        uint64_t e = __atomic_load_n(at, __ATOMIC_ACQUIRE);
        if ((e & (PTE_P | PTE_A)) != (PTE_P | PTE_A) || e & reserved)
            return false;
        w->rights &= e | ~(PTE_RW | PTE_US);
        w->rights |= e & PTE_NX;
        bool leaf = level == 1 || e & PTE_PS;
        if (!leaf) {
            table = e & mask;
            continue;
        }
        uint64_t inside = BIT(shift) - 1;
        if (level == 4 || (level > 1 && e & inside & ~(BIT(13) - 1)) || !may(w, w->kind) ||
            (w->kind == FOR_WRITE && !(e & PTE_D)))
            return false;
        *t = (struct translation){
            .gpa = (e & mask & ~inside) | (w->linear & inside),
            .global = e & PTE_G && p->cr4 & CR4_PGE,
            .bits = shift,
            .leaf = at,
            .read = may(w, FOR_READ),
            .write = may(w, FOR_WRITE) && e & PTE_D,
            .fetch = may(w, FOR_FETCH),
        };
        return true;
    }
}

uint32_t mmu_walk(struct processor *p, uint64_t linear, enum access_kind kind, struct access_as as,
                  struct translation *t)
{
    if (!(p->mode & MODE_PAGING)) {
        *t = (struct translation){
            .gpa = linear, .bits = PAGE_BITS, .read = true, .write = true, .fetch = true};
        return 0;
    }
    struct walk w = {.p = p, .linear = linear, .kind = kind, .as = as};
    uint32_t fault;
    if (walk_quick(&w, t))
        return 0;
    while (!walk_once(&w, t, &fault))
        ;
    return fault;
}

/* Entries of a table; and tables that are looked through, each way. */
enum { ENTRIES = 512, TABLES_MOST = 32 };

/* What entries of neighbours are compared by. */
struct alike {
    struct processor *p;
    uint64_t ignored; /* bits of an entry */
    bool write;       /* all must be dirty */
};

static struct alike alike_for(struct processor *p, bool write)
{
    const uint64_t available = 7ull << 9 | 0x7full << 52;
    return (struct alike){
        .p = p,
        .ignored = available | PTE_D | (p->msr.efer & EFER_NXE ? PTE_NX : 0) | (write ? 0 : PTE_RW),
        .write = write,
    };
}

static bool is_alike(const struct alike *a, uint64_t e, uint64_t expected)
{
    return (e & ~a->ignored) == expected && (!a->write || e & PTE_D);
}

/* Whether the page table that E, of a page directory, leads to maps what a large page would whose
 * entry is EXPECTED. */
static bool table_is_alike(const struct alike *a, uint64_t e, uint64_t expected)
{
    uint64_t gpa = e & physical_mask(a->p), needed = PTE_P | PTE_A | (expected & PTE_US);
    needed |= a->write ? PTE_RW : 0;
    if ((e & needed) != needed || e & (PTE_PS | always_reserved(a->p)))
        return false;
    const uint64_t *table = entries_at(a->p, gpa);
    if (!table)
        return false;
    for (unsigned n = 0; n < ENTRIES; n++) {
        if (!is_alike(a, __atomic_load_n(&table[n], __ATOMIC_RELAXED),
                      (expected & ~PTE_PS) + n * PAGE_BYTES))
            return false;
    }
    return true;
}

/* How many entries from LEAF on, STEP apart, MOST at most, go on as EXPECTED does by DISTANCE. */
static unsigned count_alike(const struct alike *a, const uint64_t *leaf, ptrdiff_t step,
                            unsigned most, uint64_t expected, uint64_t distance, bool directory)
{
    unsigned tables = directory ? TABLES_MOST : 0;
    for (unsigned n = 0; n < most; n++) {
        leaf += step;
        expected += distance;
        uint64_t e = __atomic_load_n(leaf, __ATOMIC_RELAXED);
        if (!is_alike(a, e, expected) && !(tables-- && table_is_alike(a, e, expected)))
            return n;
    }
    return most;
}

void mmu_neighbours(struct processor *p, const struct translation *t, bool write, unsigned most,
                    unsigned *before, unsigned *after)
{
    enum { DIRECTORY_BITS = 21 };
    *before = *after = 0;
    if (!t->leaf)
        return;
    struct alike a = alike_for(p, write);
    unsigned index = (uintptr_t)t->leaf / sizeof(*t->leaf) % ENTRIES, left = ENTRIES - 1 - index;
    uint64_t e = __atomic_load_n(t->leaf, __ATOMIC_RELAXED) & ~a.ignored, size = BIT(t->bits);
    bool directory = t->bits == DIRECTORY_BITS;
    *before = count_alike(&a, t->leaf, -1, index < most ? index : most, e, -size, directory);
    *after = count_alike(&a, t->leaf, 1, left < most ? left : most, e, size, directory);
}

bool mmu_load_pdptes(struct processor *p, uint64_t cr3)
{
    uint64_t loaded[4];
    if (memory_read(p->memory, cr3 & 0xffffffe0u, loaded, sizeof(loaded)))
        memset(loaded, 0, sizeof(loaded));
    for (unsigned i = 0; i < 4; i++) {
        /* Reserved: 2:1, 8:5, and above MAXPHYADDR (SDM volume 3, table 4-8). */
        uint64_t reserved = 0x1e6 | ~(BIT(p->phys_bits) - 1);
        if (loaded[i] & PTE_P && loaded[i] & reserved)
            return false;
    }
    memcpy(p->pdpte, loaded, sizeof(loaded));
    return true;
}

/* A walk without side effects, for processor_translate: the tables are read, no bits are set. */
static bool peek(struct processor *p, uint64_t linear, struct walk *w, uint64_t *gpa)
{
    struct paging shape = paging_shape(p);
    uint64_t table = p->cr3 & physical_mask(p);
    if (shape.pae_root) {
        uint64_t root = p->pdpte[(linear >> 30) & 3];
        if (!(root & PTE_P))
            return false;
        table = root & physical_mask(p);
    }
    w->rights = PTE_RW | PTE_US;
    for (unsigned level = shape.levels;; level--) {
        struct entry e;
        if (!entry_read(w, entry_gpa(w, &shape, table, level), shape.entry_size, &e) ||
            !(e.value & PTE_P))
            return false;
        w->rights &= e.value | ~(PTE_RW | PTE_US);
        if (entry_is_leaf(w, &shape, level, e.value)) {
            *gpa = leaf_gpa(w, &shape, level, e.value);
            return true;
        }
        table = e.value & physical_mask(p);
    }
}

bool processor_translate(struct processor *p, uint64_t linear, uint64_t *gpa, bool *writable,
                         bool *user)
{
    struct walk w = {.p = p, .linear = linear, .peek = true};
    w.rights = PTE_RW | PTE_US;
    if (!(p->mode & MODE_PAGING))
        *gpa = linear;
    else if (!peek(p, linear, &w, gpa))
        return false;
    if (writable)
        *writable = w.rights & PTE_RW;
    if (user)
        *user = w.rights & PTE_US;
    return true;
}
