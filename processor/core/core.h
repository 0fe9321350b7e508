/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the processor offer each other: faults and exits, memory access, the run loop,
 * and the services of system/, exec/ and vector/ that others need.
 */
#ifndef TRAPEZE_CORE_H
#define TRAPEZE_CORE_H

#include "processor/processor.h"

#include <string.h>

/* ---------------------------------------------------------------- instructions */

/* RIP of the instruction being executed, and of the one after it.  Outside 64-bit mode callers that
 * store it truncate it to the code size. */
static inline uint64_t insn_rip(const struct processor *p, const struct insn *i)
{
    return p->gpr[REG_CODE] + i->offset;
}
static inline uint64_t insn_next_rip(const struct processor *p, const struct insn *i)
{
    return p->gpr[REG_CODE] + i->offset + i->length;
}

/* Ends the block after the current instruction: what it did changes how the next must be run (mode,
 * interrupt flag, debug state).  Handlers use it as `return insn_resync(p, i);`. */
static inline const struct insn *insn_resync(struct processor *p, const struct insn *i)
{
    p->rip = insn_next_rip(p, i);
    return NULL;
}

/* Handlers by class: the function that runs I, specialised by size and form.  Never NULL (for what
 * cannot run they return one that raises #UD). */
exec_fn *exec_bind(const struct insn *i, uint32_t mode);   /* exec/ */
exec_fn *system_bind(const struct insn *i, uint32_t mode); /* system/ */
exec_fn *vector_bind(struct processor *p, struct insn *i); /* vector/; see INSN_BIND_SHIFT */
/* Raises #UD. */
exec_fn exec_invalid;

/* ---------------------------------------------------------------- faults and exits */

/* Raises an exception on the current instruction: nothing of it may have become visible yet.  The
 * run loop tests intercepts, then delivers it with RIP at p->insn.  The error code goes with the
 * vectors that have one. */
_Noreturn void raise_fault(struct processor *p, unsigned vector, uint32_t error_code);
/* #GP(0) and #UD, the commonest. */
_Noreturn void raise_gp(struct processor *p);
_Noreturn void raise_ud(struct processor *p);
/* #PF: sets CR2 (after the intercept test). */
_Noreturn void raise_page_fault(struct processor *p, uint64_t linear, uint32_t error_code);
/* A fault-like VM exit of level 0 on the current instruction: sets exit_reason, qualification and
 * exit_instruction_length, p->rip at the instruction, and leaves vmx_enter. */
_Noreturn void vm_exit(struct processor *p, unsigned reason, uint64_t qualification);

/* Level 0's intercepts, compiled from the controls by processor_controls_changed. */
#define INTERCEPT_HLT        BIT(0)
#define INTERCEPT_INVLPG     BIT(1)
#define INTERCEPT_MWAIT      BIT(2)
#define INTERCEPT_RDPMC      BIT(3)
#define INTERCEPT_RDTSC      BIT(4)
#define INTERCEPT_CR3_LOAD   BIT(5)
#define INTERCEPT_CR3_STORE  BIT(6)
#define INTERCEPT_CR8_LOAD   BIT(7)
#define INTERCEPT_CR8_STORE  BIT(8)
#define INTERCEPT_MOV_DR     BIT(9)
#define INTERCEPT_MONITOR    BIT(10)
#define INTERCEPT_PAUSE      BIT(11)
#define INTERCEPT_PAUSE_LOOP BIT(12)
#define INTERCEPT_WBINVD     BIT(13)
#define INTERCEPT_DTABLE     BIT(14)
#define INTERCEPT_RDRAND     BIT(15)
#define INTERCEPT_EXCEPTION  BIT(16) /* exception_bitmap has a bit set */
/* CPUID, VMCALL, XSETBV, INVD, VMX instructions (which are #UD until nested VMX) always exit. */

/* ---------------------------------------------------------------- memory access */

/* All take LINEAR addresses (insn_linear and segment_linear make them, with the segment's checks)
 * and access memory as the current CPL does, raising #PF, #GP/#SS for non-canonical addresses, and
 * leaving by MMIO exits.  Sizes are 1, 2, 4, 8 unless said otherwise. */

#define MEM_READ  1u
#define MEM_WRITE 2u

uint64_t mem_read_slow(struct processor *p, uint64_t linear, unsigned size);
void mem_write_slow(struct processor *p, uint64_t linear, uint64_t value, unsigned size);
void *mem_rmw_slow(struct processor *p, uint64_t linear, unsigned size);
void mem_rmw_finish(struct processor *p);

typedef uint16_t __attribute__((may_alias, aligned(1))) unaligned_u16;
typedef uint32_t __attribute__((may_alias, aligned(1))) unaligned_u32;
typedef uint64_t __attribute__((may_alias, aligned(1))) unaligned_u64;

static inline struct tlb_entry *tlb_entry(struct processor *p, uint64_t linear)
{
    return &p->tlb->entry[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)];
}

/* Guest memory at a host address: one load or store each, whatever the alignment. */
typedef uint8_t __attribute__((may_alias)) mem_u8;
typedef unaligned_u16 mem_u16;
typedef unaligned_u32 mem_u32;
typedef unaligned_u64 mem_u64;
#define MEM_ACCESS(bits)                                                                           \
    GUEST_RACES static inline uint##bits##_t host_load##bits(const void *host)                     \
    {                                                                                              \
        return *(const volatile mem_u##bits *)host;                                                \
    }                                                                                              \
    GUEST_RACES static inline void host_store##bits(void *host, uint##bits##_t v)                  \
    {                                                                                              \
        *(volatile mem_u##bits *)host = v;                                                         \
    }                                                                                              \
    static inline uint##bits##_t mem_read##bits(struct processor *p, uint64_t linear)              \
    {                                                                                              \
        struct tlb_entry *e = tlb_entry(p, linear);                                                \
        if (likely((linear ^ e->read) <= PAGE_BYTES - bits / 8))                                   \
            return host_load##bits((const void *)(e->host + (linear ^ e->read)));                  \
        return (uint##bits##_t)mem_read_slow(p, linear, bits / 8);                                 \
    }                                                                                              \
    static inline void mem_write##bits(struct processor *p, uint64_t linear, uint##bits##_t v)     \
    {                                                                                              \
        struct tlb_entry *e = tlb_entry(p, linear);                                                \
        if (likely((linear ^ e->write) <= PAGE_BYTES - bits / 8))                                  \
            host_store##bits((void *)(e->host + (linear ^ e->write)), v);                          \
        else                                                                                       \
            mem_write_slow(p, linear, v, bits / 8);                                                \
    }
MEM_ACCESS(8)
MEM_ACCESS(16)
MEM_ACCESS(32)
MEM_ACCESS(64)
#undef MEM_ACCESS

/* memcpy where one side, or both, is guest memory. */
GUEST_RACES static inline void guest_copy(void *to, const void *from, size_t size)
{
    if (!THREAD_SANITIZER) {
        memcpy(to, from, size);
        return;
    }
    /* Not memcpy: ThreadSanitizer has one of its own. */
    volatile uint8_t *out = to;
    const volatile uint8_t *in = from;
    for (size_t n = 0; n < size; n++)
        out[n] = in[n];
}
/* memcmp for equality, in the same way. */
GUEST_RACES static inline bool guest_equal(const void *a, const void *b, size_t size)
{
    if (!THREAD_SANITIZER)
        return !memcmp(a, b, size);
    const volatile uint8_t *one = a, *other = b;
    for (size_t n = 0; n < size; n++) {
        if (one[n] != other[n])
            return false;
    }
    return true;
}

static inline uint64_t mem_read(struct processor *p, uint64_t linear, unsigned size)
{
    switch (size) {
    case 1:
        return mem_read8(p, linear);
    case 2:
        return mem_read16(p, linear);
    case 4:
        return mem_read32(p, linear);
    default:
        return mem_read64(p, linear);
    }
}
static inline void mem_write(struct processor *p, uint64_t linear, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        mem_write8(p, linear, (uint8_t)value);
        break;
    case 2:
        mem_write16(p, linear, (uint16_t)value);
        break;
    case 4:
        mem_write32(p, linear, (uint32_t)value);
        break;
    default:
        mem_write64(p, linear, value);
        break;
    }
}

/* Host address for a read-modify-write of SIZE (1 to 16) bytes in place, the page checked for
 * writing; the caller operates on it (with host LOCK where the guest's has it) and calls
 * mem_rmw_done.  NULL for device memory and for an access that crosses a page: then do
 * exclusive_begin if LOCKed, mem_probe for writing, mem_read, compute, mem_write, exclusive_end. */
static inline void *mem_rmw(struct processor *p, uint64_t linear, unsigned size)
{
    struct tlb_entry *e = tlb_entry(p, linear);
    if (likely((linear ^ e->write) <= PAGE_BYTES - size))
        return (void *)(e->host + (linear ^ e->write));
    return mem_rmw_slow(p, linear, size);
}
static inline void mem_rmw_done(struct processor *p)
{
    if (unlikely(p->rmw_code != NULL))
        mem_rmw_finish(p);
}

/* Raises what an access of SIZE bytes (up to 4096) at LINEAR would, without making it.  Device
 * memory passes.  ACCESS is MEM_READ or MEM_WRITE. */
void mem_probe(struct processor *p, uint64_t linear, unsigned size, unsigned access);

/* SIZE bytes (up to 4096) in one go; all pages are checked before the first byte is written. Device
 * memory is accessed in aligned pieces of up to 8 bytes. */
void mem_read_bytes(struct processor *p, uint64_t linear, void *to, unsigned size);
void mem_write_bytes(struct processor *p, uint64_t linear, const void *from, unsigned size);

/* For string instructions: the host address of LINEAR when it is RAM that may be accessed so, and
 * in *size the bytes left in its page (at most what *size was).  NULL when the slow way must be
 * taken (device memory, a page with decoded code when writing); raises #PF as an access would. */
uint8_t *mem_host(struct processor *p, uint64_t linear, unsigned access, uint64_t *size);

/* Accesses by the processor itself as a supervisor, whatever CPL is: descriptor tables, TSS, and
 * the stacks of event delivery (whose CPL is given).  They raise #PF with U clear. */
uint64_t mem_read_system(struct processor *p, uint64_t linear, unsigned size);
void mem_write_system(struct processor *p, uint64_t linear, uint64_t value, unsigned size);
/* mem_probe for them. */
void mem_probe_system(struct processor *p, uint64_t linear, unsigned size, unsigned access);
/* As CPL's code would access it: for pushing frames and parameters on another ring's stack. */
uint64_t mem_read_as(struct processor *p, unsigned cpl, uint64_t linear, unsigned size);
void mem_write_as(struct processor *p, unsigned cpl, uint64_t linear, uint64_t value,
                  unsigned size);

/* Stops all other processors of this memory at a block boundary, for a LOCKed access that crosses a
 * page or goes to a device.  The run loop ends it when a fault unwinds. */
void exclusive_begin(struct processor *p);
void exclusive_end(struct processor *p);

/* One port access, permission already checked: leaves by EXIT_REASON_PIO the first time and is
 * replayed when the instruction is run again.  MORE: elements beside this one that could be taken
 * now. */
uint32_t port_read(struct processor *p, uint16_t port, unsigned size, bool string, unsigned more);
/* A further element that the caller brought with the one before.  False: there is none. */
bool port_read_more(struct processor *p, unsigned size, uint32_t *value);
void port_write(struct processor *p, uint16_t port, uint32_t value, unsigned size, bool string);

/* Ends the replay of one iteration of a repeated string instruction: its accesses are committed and
 * RIP stays at the instruction. */
void replay_commit(struct processor *p);

/* ---------------------------------------------------------------- addresses */

/* Effective address, without segment base, truncated to the address size. */
static inline uint64_t insn_ea(const struct processor *p, const struct insn *i)
{
    uint64_t ea = p->gpr[i->base] + (p->gpr[i->index] << i->scale) + (uint64_t)i->disp;
    if (likely(i->addrsize == 8))
        return ea;
    return i->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

/* Linear address of an access of SIZE bytes at OFFSET in segment SEG, with the checks of legacy
 * modes (limit, rights, null: #GP(0) or #SS(0)).  In system/segment.c. */
uint64_t segment_linear_slow(struct processor *p, unsigned seg, uint64_t offset, unsigned size,
                             unsigned access);

static inline uint64_t segment_linear(struct processor *p, unsigned seg, uint64_t offset,
                                      unsigned size, unsigned access)
{
    if (likely((p->mode & MODE_DECODE) == DECODE_64))
        return p->flat_base[seg] + offset;
    return segment_linear_slow(p, seg, offset, size, access);
}

/* Linear address of I's memory operand. */
static inline uint64_t insn_linear(struct processor *p, const struct insn *i, unsigned size,
                                   unsigned access)
{
    return segment_linear(p, i->seg, insn_ea(p, i), size, access);
}

/* ---------------------------------------------------------------- registers */

static inline uint8_t *byte_register(struct processor *p, unsigned r)
{
    return (uint8_t *)&p->gpr[r & 15] + (r >> 6);
}
/* Reads and writes general register R as an operand of SIZE bytes: 32-bit writes clear 63:32. */
static inline uint64_t reg_read(struct processor *p, unsigned r, unsigned size)
{
    switch (size) {
    case 1:
        return *byte_register(p, r);
    case 2:
        return (uint16_t)p->gpr[r];
    case 4:
        return (uint32_t)p->gpr[r];
    default:
        return p->gpr[r];
    }
}
static inline void reg_write(struct processor *p, unsigned r, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        *byte_register(p, r) = (uint8_t)value;
        break;
    case 2:
        *(unaligned_u16 *)&p->gpr[r] = (uint16_t)value;
        break;
    case 4:
        p->gpr[r] = (uint32_t)value;
        break;
    default:
        p->gpr[r] = value;
        break;
    }
}

/* ---------------------------------------------------------------- system/ for the others */

/* Delivers an event through the IDT (or real-mode IVT): INFO is an interruption-information value,
 * ERROR_CODE and LENGTH go with it.  RIP is at the faulting instruction for faults, after it for
 * traps, at it for software interrupts (LENGTH is added).  May itself raise_fault; the run loop
 * turns that into #DF or a triple fault. */
void event_deliver(struct processor *p, uint32_t info, uint32_t error_code, uint32_t length);

/* Raises #GP(0) unless the current privilege may access SIZE ports at PORT (IOPL, then the TSS
 * bitmap). */
void io_check_permission(struct processor *p, uint16_t port, unsigned size);

/* Recomputes p->mode, cpl, flat_base, slow and the TLB context from the architectural state. */
void processor_update_mode(struct processor *p);
/* Recomputes p->slow alone. */
void processor_update_slow(struct processor *p);

/* Delivers pending traps after an instruction, in step mode: TF (TF_BEFORE: whether it was set when
 * the instruction began), data and I/O breakpoints in p->pending_debug.  In system/debug.c. */
void debug_after_instruction(struct processor *p, bool tf_before);
/* Raises #DB when an enabled instruction breakpoint matches LINEAR and RF is clear. */
void debug_check_fetch(struct processor *p, uint64_t linear);
/* Records a data breakpoint hit in p->pending_debug if [linear, linear + size) matches one. */
void debug_check_data(struct processor *p, uint64_t linear, unsigned size, unsigned access);
void debug_check_io(struct processor *p, uint16_t port, unsigned size);

/* ---------------------------------------------------------------- vector/ for the others */

struct vector_stubs *vector_stubs_new(void);
void vector_stubs_free(struct vector_stubs *s);
/* Power-up state of x87, SSE and AVX. */
void vector_reset(struct processor *p);

/* Fields of an FXSAVE image. */
#define FX_FCW     0
#define FX_FSW     2
#define FX_FTW     4 /* abridged: a bit a physical register, 1 = not empty */
#define FX_FOP     6
#define FX_FIP     8
#define FX_FDP     16
#define FX_MXCSR   24
#define FX_ST      32
#define FX_XMM     160
#define FX_X87_END 160

/* True for x87 instructions that leave the pointers to the last instruction and its operand alone
 * (SDM volume 1, 8.1.8). */
bool x87_is_control(const struct insn *i);
static inline uint16_t x87_opcode(const struct insn *i)
{
    return (uint16_t)((i->opcode & 7) << 8 | i->modrm);
}
/* Makes I the last x87 instruction: FOP and FIP. */
void x87_set_last(struct processor *p, const struct insn *i);

/* ---------------------------------------------------------------- mmu.c for system/ */

/* TLB effects of system instructions. */
void tlb_load_cr3(struct processor *p, uint64_t value,
                  bool keep);                                   /* MOV CR3; keep: bit 63, PCIDE */
void tlb_invalidate_page(struct processor *p, uint64_t linear); /* INVLPG */
void tlb_invalidate_pcid(struct processor *p, unsigned type, uint64_t pcid, uint64_t linear);
void tlb_flush_all(struct processor *p);
/* Loads the four PAE PDPTEs from CR3's page; returns false when one has a reserved bit set. */
bool mmu_load_pdptes(struct processor *p, uint64_t cr3);
/* Drops what T knows of code. */
void tlb_forget_fetches(struct tlb *t);

static inline bool is_canonical(uint64_t linear, bool wide)
{
    unsigned shift = wide ? 7 : 16;
    return (uint64_t)((int64_t)(linear << shift) >> shift) == linear;
}
/* Whether LINEAR can be translated: it has the width of the current paging mode. */
static inline bool linear_is_canonical(const struct processor *p, uint64_t linear)
{
    return is_canonical(linear, p->cr4 & CR4_LA57);
}
/* Whether BASE may be put into a base register, MSR or INVPCID descriptor: there the width is that
 * of the widest paging mode which the guest's CPUID offers. */
static inline bool base_is_canonical(const struct processor *p, uint64_t base)
{
    return is_canonical(base, !(p->cr4_reserved & CR4_LA57));
}

#endif
