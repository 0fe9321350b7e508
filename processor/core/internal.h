/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * core/'s own: the insides of struct memory, the registry of pages that hold decoded code, the
 * page walk and the block cache.
 */
#ifndef TRAPEZE_CORE_INTERNAL_H
#define TRAPEZE_CORE_INTERNAL_H

#include "core.h"

#include <pthread.h>

/* ---------------------------------------------------------------- memory.c */

struct slot {
    struct memory_slot info;
    _Atomic uint64_t *dirty; /* NULL without MEMORY_LOG_DIRTY */
    /* Pages that the host is known to have memory for, to read [0] and to write [1]. */
    _Atomic uint64_t *present[2];
    _Atomic unsigned surveys; /* of the slot as a whole, so far */
};

/* Words of a bitmap for a slot of SIZE bytes: a bit for each page. */
static inline size_t bitmap_words(uint64_t size)
{
    return (size_t)((size >> PAGE_BITS) + 63) / 64;
}

/* Immutable once published, but for the contents of the dirty bitmaps. */
struct slot_table {
    unsigned count;
    struct slot *slot[]; /* sorted by gpa */
};

#define CODE_BUCKETS      16384
#define CODE_GRANULES     4096
#define CODE_GRANULE_BITS 18
#define DROPS_KEPT        16

struct memory {
    pthread_mutex_t lock; /* guards slot changes and the list of processors */
    _Atomic(struct slot_table *) table;
    struct processor *processors;
    unsigned processor_count;
    _Atomic uint64_t epoch; /* counts requests that processors must acknowledge */
    _Atomic uint64_t synchronizations;
    /* memory_host_begin and _end: how many changes are under way, and a count of both's calls. */
    _Atomic unsigned host_changes;
    _Atomic uint64_t host_sequence;
    /* Held for reading by lookups from outside vmx_enter; those inside are waited for by
     * memory_synchronize.  Lock order: readers, a code page's lock, lock. */
    pthread_rwlock_t readers;
    pthread_mutex_t exclusive_lock;
    _Atomic bool exclusive;
    _Atomic bool reported; /* see memory_writes_reported */
    /* Linear addresses of pages whose fixed blocks were dropped: the last ones, and how many so
     * far. Written under drops_lock. */
    pthread_mutex_t drops_lock;
    _Atomic uint64_t drop[DROPS_KEPT], drops;
    _Atomic(struct code_page *) code_bucket[CODE_BUCKETS];
    /* Whether there is a code page: by the host addresses of granules, several of which share one.
     */
    _Atomic bool code_granule[CODE_GRANULES];
    void (*dirty_hook)(void *, struct processor *, uint32_t, uint64_t);
    void *dirty_opaque;
};

/* The slot that holds GPA, or NULL. */
struct slot *memory_slot_at(struct memory *m, uint64_t gpa);
/* The same for P, inside vmx_enter. */
static inline struct slot *processor_slot_at(struct processor *p, uint64_t gpa)
{
    struct slot *s = p->slot;
    if (likely(s && gpa - s->info.gpa < s->info.size))
        return s;
    s = memory_slot_at(p->memory, gpa);
    if (s)
        p->slot = s;
    return s;
}
/* Sets the dirty bit of the page at GPA in SLOT, if it keeps a log. */
void slot_mark_dirty(struct memory *m, struct slot *slot, struct processor *by, uint64_t gpa);
static inline bool slot_is_dirty(const struct slot *slot, uint64_t gpa)
{
    uint64_t page = (gpa - slot->info.gpa) >> PAGE_BITS;
    return !slot->dirty || slot->dirty[page / 64] & BIT(page % 64);
}

void memory_add_processor(struct memory *m, struct processor *p);
void memory_remove_processor(struct memory *m, struct processor *p);
/* Sets BITS in the poll word of every processor but EXCEPT (which may be NULL). */
void memory_poll_others(struct memory *m, struct processor *except, uint32_t bits);

/* ---------------------------------------------------------------- host.c */

/* Asks the kernel for the memory behind the page at GPA.  PRESENT_NOT: the program that made the
 * slot has nothing mapped there, or not so that it can be written, or a file that has become
 * shorter. PRESENT_WAIT: the program is changing its mappings: ask again later. */
enum present { PRESENT_NOT, PRESENT_WAIT, PRESENT_YES };
enum present slot_make_present(struct memory *m, struct slot *slot, uint64_t gpa, bool write);
static inline bool slot_is_present(const struct slot *slot, uint64_t gpa, bool write)
{
    uint64_t page = (gpa - slot->info.gpa) >> PAGE_BITS;
    return atomic_load_explicit(&slot->present[write][page / 64], memory_order_relaxed) &
           BIT(page % 64);
}
/* The host address of GPA; PRESENT_YES when it can be touched without SIGSEGV or SIGBUS.  The
 * kernel is asked once for each page and kind of access. */
static inline enum present slot_host(struct memory *m, struct slot *slot, uint64_t gpa, bool write,
                                     uint8_t **hva)
{
    *hva = slot->info.hva + (gpa - slot->info.gpa);
    if (likely(slot_is_present(slot, gpa, write)))
        return PRESENT_YES;
    return slot_make_present(m, slot, gpa, write);
}

/* ---------------------------------------------------------------- code.c */

#define CODE_LINE_BITS 6 /* one bit of a page's mask stands for 64 bytes */

/* A host page from which some processor has decoded code.  Made once, freed with the memory. */
struct code_page {
    struct code_page *next; /* in its bucket */
    uint8_t *hva;
    pthread_mutex_t lock;        /* guards copy, and changes of the rest */
    _Atomic uint32_t generation; /* blocks decoded under another generation are dead */
    _Atomic uint64_t mask;       /* lines that hold decoded code; non-zero: write tags must fail */
    /* Lines of mask that copy holds and live blocks may be decoded from: none after a drop. */
    _Atomic uint64_t fresh;
    _Atomic uint64_t fixed;   /* its linear address in fixed blocks; 0: none; FIXED_MANY */
    _Atomic bool settled;     /* no processor can still hold a write tag; copy was compared since */
    uint64_t epoch;           /* of memory, when the write tags were asked to be dropped */
    uint32_t heat;            /* writes that hit decoded code, lately */
    uint8_t copy[PAGE_BYTES]; /* the bytes that decoding works on */
};

struct code_block {
    struct code_block *chain; /* in its bucket of the processor's table */
    const uint8_t *hva;       /* of its first byte */
    struct code_page *page;
    uint32_t generation;
    uint32_t mode; /* CODE_MODE bits of p->mode */
    /* Its page's linear address, if it belongs to that (see code_base); else CODE_MOVES. */
    uint64_t linear;
    uint16_t offset; /* of its first byte in the page */
    uint16_t bytes;  /* that it covers */
    uint16_t count;  /* instructions */
    /* The page that its one instruction goes on in; NULL: it does not.  Which page follows is the
     * mapping's: see code_block_stands. */
    struct code_page *second;
    uint32_t second_generation;
    /* The translator's (translate/): */
    uint16_t heat;        /* lookups that found no translation */
    const uint8_t *jump;  /* where the jump cache leads: the translation, or a way out */
    const uint8_t *start; /* the translation, for the run loop; NULL: none */
    uint8_t *direct;      /* and for jumps inside the page */
    uint8_t *linked;      /* and for those from other pages, if it is fixed; NULL: none */
    uint16_t host_bytes;
    uint16_t live;      /* flags that it may read */
    uint8_t vector;     /* what the translation needs of vector instructions */
    bool x87;           /* and whether it has x87 or MMX */
    struct insn insn[]; /* count of them, then the end marker */
};
/* Modes whose code can be translated: 64-bit, and 32-bit code and stack with flat segments. */
static inline bool mode_is_flat32(uint32_t mode)
{
    return (mode & (MODE_DECODE | MODE_FLAT32 | MODE_STACK16)) == (DECODE_32 | MODE_FLAT32);
}
static inline bool mode_is_translated(uint32_t mode)
{
    return (mode & MODE_DECODE) == DECODE_64 || mode_is_flat32(mode);
}
#define CODE_MODE (MODE_DECODE | MODE_REAL | MODE_V86 | MODE_LONG | MODE_STACK16 | MODE_FLAT32)

/* The registered page at host page HVA, or NULL. */
struct code_page *code_page_find(struct memory *m, const uint8_t *hva);
/* The same, registered if it was not; NULL when out of memory. */
struct code_page *code_page_get(struct memory *m, const uint8_t *hva);
/* P is about to decode [offset, offset + size) of C: marks the lines as code, sees to it that
 * writes to them are noticed from now on, and brings C's copy up to date. */
void code_page_mark(struct processor *p, struct code_page *c, unsigned offset, unsigned size);
/* Tries to settle C: false while another processor may still hold a write tag. */
bool code_page_settle(struct processor *p, struct code_page *c);
/* Forgets every block.  Only between blocks. */
void code_cache_empty(struct processor *p);
/* Ends a block: sets RIP to the marker's own address. */
exec_fn exec_end;
/* True when writes to HVA's page must take the slow path. */
bool code_page_holds_code(struct memory *m, const uint8_t *hva);
/* False when no page of [hva, hva + size) does. */
bool code_may_be_in(struct memory *m, const uint8_t *hva, size_t size);
/* Someone (BY, or NULL for the outside) has written [hva, hva + size), inside one page: drops what
 * was decoded from it. */
void code_written(struct memory *m, struct processor *by, const uint8_t *hva, unsigned size);
/* Whether the bytes of pages may change behind our back: not where who writes says so. */
static inline bool memory_is_compared(struct memory *m)
{
    return !atomic_load_explicit(&m->reported, memory_order_relaxed) ||
           atomic_load_explicit(&m->host_sequence, memory_order_relaxed);
}
/* If the page's bytes changed behind our back, drops what was decoded from them. */
void code_compare(struct memory *m, const uint8_t *hva);

/* C has fixed blocks at the linear address LINEAR now. */
void code_page_fix(struct code_page *c, uint64_t linear);

/* ---------------------------------------------------------------- cache.c */

/* Creates and frees a processor's block cache. */
struct code_cache *code_cache_new(void);
void code_cache_free(struct code_cache *c);
/* The block at LINEAR, which is at the host address HVA, decoded if need be.  NULL when memory is
 * short, or when its first instruction crosses into the next page and there is no block for that:
 * run it by code_straddle. */
struct code_block *code_lookup(struct processor *p, const uint8_t *hva, uint64_t linear);
/* True while B's bytes are what it was decoded from; for blocks of pages not yet settled. */
bool code_block_verify(const struct code_block *b);
/* Prepares p->straddle for the page-crossing instruction at LINEAR. */
const struct insn *code_straddle(struct processor *p, uint64_t linear);
/* A copy of I that nothing follows: handlers run on into the next instruction of their own accord.
 */
const struct insn *code_alone(struct processor *p, const struct insn *i);
/* Binds a handler to a decoded instruction. */
void code_bind(struct processor *p, struct insn *i);

static inline bool code_page_is_of(struct code_page *c, uint32_t generation)
{
    return generation == atomic_load_explicit(&c->generation, memory_order_acquire);
}
static inline bool code_block_valid(const struct code_block *b)
{
    return code_page_is_of(b->page, b->generation) &&
           (!b->second || code_page_is_of(b->second, b->second_generation));
}
static inline bool code_block_settled(const struct code_block *b)
{
    return atomic_load_explicit(&b->page->settled, memory_order_acquire) &&
           (!b->second || atomic_load_explicit(&b->second->settled, memory_order_acquire));
}
/* Whether the page behind LINEAR's, as the TLB has it, is the one that B goes on in. */
static inline bool code_block_stands(struct processor *p, const struct code_block *b,
                                     uint64_t linear)
{
    if (likely(!b->second))
        return true;
    uint64_t next = (linear & ~PAGE_OFFSET_MASK) + PAGE_BYTES;
    const struct tlb_entry *e = tlb_entry(p, next);
    return e->fetch == next && e->host == (uintptr_t)b->second->hva;
}
/* A kernel's code stands at one linear address: in 64-bit mode at CPL 0, in the upper half, in a
 * global page.  Its blocks are fixed there: their translations know their address, lead straight to
 * each other across pages, and don't ask whether they are dead.  So when the mapping of such code
 * or the code itself changes, the jumps that lead to the page are taken back, those in supervisors'
 * jump caches, too: by invalidations at once (tlb.c), after writes when POLL_RESYNC is seen. */
#define CODE_MOVES 1ull
#define FIXED_MANY 2ull
/* What struct code_block's LINEAR is for the code at LINEAR, whose page the TLB has. */
static inline uint64_t code_base(struct processor *p, uint64_t linear)
{
    bool global = p->tlb->flags[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)] & TLB_FLAG_GLOBAL;
    bool fixed = (p->mode & MODE_DECODE) == DECODE_64 && p->cpl == 0 && linear >> 63 && global;
    return fixed ? linear & ~PAGE_OFFSET_MASK : CODE_MOVES;
}
static inline bool code_block_is_fixed(const struct code_block *b)
{
    return b->linear != CODE_MOVES;
}
/* Copies B's bytes to TO, at most ROOM of them. */
void code_block_copy(const struct code_block *b, uint8_t *to, unsigned room);

/* The table of decoded blocks, by host address and mode. */
#define CACHE_BUCKETS 65536
struct code_cache {
    uint8_t *arena;
    size_t used;
    struct code_block *bucket[CACHE_BUCKETS];
};
static inline struct code_block **code_bucket(struct processor *p, const uint8_t *hva,
                                              uint32_t mode)
{
    uint64_t n = (uint64_t)(uintptr_t)hva ^ (uint64_t)mode << 48;
    return &p->code->bucket[(unsigned)((n * 0x9e3779b97f4a7c15ull) >> 48) % CACHE_BUCKETS];
}

static inline uint64_t jump_key(uint32_t mode, uint64_t linear)
{
    return (mode & MODE_DECODE) == DECODE_64 ? linear : linear | JUMP_LEGACY;
}
/* Where LINEAR's entry is in J.  Translated code makes the same index. */
static inline unsigned jump_index(const struct jump_cache *j, uint64_t linear)
{
    return (unsigned)((linear ^ linear >> PAGE_BITS) & j->mask);
}

/* ---------------------------------------------------------------- jumps.c */

/* What follows is called from translations, too: it uses no vector registers. */

/* Makes the current context's jump cache lead from LINEAR to B. */
void jumps_fill(struct processor *p, uint64_t linear, struct code_block *b);
void jumps_empty(struct jump_cache *j);
/* The JUMP_CACHES of a processor, empty; NULL when memory is short. */
struct jump_cache *jumps_new(void);
void jumps_free(struct jump_cache *j);
/* Drops what CR3 loads drop. */
void jumps_drop_local(struct jump_cache *j);
/* Drops the entries whose addresses differ from LINEAR only in the low BITS bits. */
void jumps_drop(struct jump_cache *j, uint64_t linear, unsigned bits);
/* The translation of the block at LINEAR in 64-bit code, if both are at hand: then the current jump
 * cache leads there as well.  NULL: ask the run loop. */
const uint8_t *jumps_find(struct processor *p, uint64_t linear);

/* ---------------------------------------------------------------- run.c */

/* Interprets COUNT instructions from p->rip on. */
void run_instructions(struct processor *p, uint64_t count);

/* ---------------------------------------------------------------- mmu.c */

enum access_kind { FOR_READ, FOR_WRITE, FOR_FETCH };

/* Who asks: decides user or supervisor, and whether SMAP applies. */
struct access_as {
    bool user;
    bool smap; /* a supervisor access that SMAP keeps from user pages (when CR4.SMAP) */
};

struct translation {
    uint64_t gpa;
    bool global;
    unsigned bits;           /* of an address inside the page */
    const uint64_t *leaf;    /* the entry, if it is one of 512 of 8 bytes; or NULL */
    bool read, write, fetch; /* what the asker may do; write also needs the dirty bit to be set */
};

/* Walks the page tables, sets accessed and dirty bits.  Returns 0, or the page-fault error code
 * with WALK_FAULT set. */
#define WALK_FAULT 0x80000000u
uint32_t mmu_walk(struct processor *p, uint64_t linear, enum access_kind kind, struct access_as as,
                  struct translation *t);
/* How many entries before and after T's, MOST of each at most, map the pages (or for large ones as
 * many small ones) before and after its page to what is before and after that in physical memory,
 * so that who may read (WRITE: or write) that page may do so there as well.  All of them have been
 * accessed (and written), so a processor may have them in its TLB. */
void mmu_neighbours(struct processor *p, const struct translation *t, bool write, unsigned most,
                    unsigned *before, unsigned *after);

/* ---------------------------------------------------------------- tlb.c */

/* Compiled without vector instructions, like jumps.c. */

void tlb_allocate(struct processor *p);
/* The host address of LINEAR if an entry of T, or one that gave way to another, allows the access.
 */
uint8_t *tlb_recall(struct tlb *t, uint64_t linear, enum access_kind kind);
/* The span of T that allows the access of SIZE bytes (TLB_WIDE at most) at LINEAR, or NULL. */
const struct tlb_range *tlb_span(const struct tlb *t, uint64_t linear, unsigned size, bool write);
/* Takes back what leads to fixed blocks that were dropped. */
void tlb_forget_dropped(struct processor *p);
/* The asker that TLB class C stands for. */
struct access_as tlb_class_as(const struct processor *p, enum tlb_class c);
/* Puts what T and SLOT allow into TLB's entry for LINEAR. */
void tlb_insert(struct processor *p, struct tlb *tlb, uint64_t linear, enum access_kind kind,
                const struct translation *t, struct slot *slot);
/* Drops the write tags of the host page PAGE, or, if it is NULL, all of them. */
void tlb_drop_write_tags(struct processor *p, const uint8_t *page);

/* ---------------------------------------------------------------- access.c */

/* The host address of GPA in SLOT.  Leaves the instruction if the host has no memory there. */
uint8_t *access_host(struct processor *p, struct slot *slot, uint64_t gpa, bool write);

/* Translates one byte's address for an access by AS, raising #PF; fills TLB if it is not NULL.
 * Returns the host address, or NULL with the GPA in *gpa when no (writable) slot is there. */
uint8_t *access_translate(struct processor *p, struct tlb *tlb, uint64_t linear,
                          enum access_kind kind, struct access_as as, uint64_t *gpa);

/* ---------------------------------------------------------------- bus.c */

/* An access of up to 8 bytes to an address that no (writable) slot holds. */
uint64_t bus_read(struct processor *p, uint64_t gpa, unsigned size);
void bus_write(struct processor *p, uint64_t gpa, uint64_t value, unsigned size);
void replay_begin(struct processor *p);  /* an instruction starts */
void replay_finish(struct processor *p); /* it retired: forget its accesses */
/* Takes the data of the access that the caller has completed, if there is one. */
void replay_take(struct processor *p);

/* How raise_fault and vm_exit unwind. */
enum { UNWIND_FAULT = 1, UNWIND_EXIT = 2 };

#endif
