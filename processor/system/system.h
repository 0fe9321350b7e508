/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of processor/system share: descriptors, stacks of other privilege levels, returns
 * to outer levels, tasks, and the cheap forms of recomputing what is derived from the state.
 */
#ifndef TRAPEZE_SYSTEM_H
#define TRAPEZE_SYSTEM_H

#include "processor/core/core.h"

/* Parts of a segment's access rights. */
#define AR_TYPE_S_MASK   (AR_TYPE | AR_S)
#define AR_REAL          0x93u /* present, writable, accessed data */
#define AR_V86           0xf3u /* likewise with DPL 3 */
#define AR_FLAT_DATA     (0x93u | AR_DB | AR_G)
#define AR_FLAT_CODE32   (0x9bu | AR_DB | AR_G)
#define AR_FLAT_CODE64   (0x9bu | AR_L | AR_G)
#define AR_WITH_DPL(dpl) ((uint32_t)(dpl) << 5)

/* Types of system descriptors (S = 0). */
enum {
    SYSTEM_TSS16 = 1,
    SYSTEM_LDT = 2,
    SYSTEM_TSS16_BUSY = 3,
    SYSTEM_CALL_GATE16 = 4,
    SYSTEM_TASK_GATE = 5,
    SYSTEM_INTERRUPT_GATE16 = 6,
    SYSTEM_TRAP_GATE16 = 7,
    SYSTEM_TSS = 9, /* 32-bit, and 64-bit in long mode */
    SYSTEM_TSS_BUSY = 11,
    SYSTEM_CALL_GATE = 12,
    SYSTEM_INTERRUPT_GATE = 14,
    SYSTEM_TRAP_GATE = 15,
};

/* Bits of an error code that names a selector or vector. */
#define ERROR_EXT 1u
#define ERROR_IDT 2u
static inline uint32_t selector_error(uint16_t selector)
{
    return selector & 0xfffcu;
}
static inline bool selector_is_null(uint16_t selector)
{
    return (selector & 0xfffc) == 0;
}

static inline unsigned segment_dpl(const struct segment *s)
{
    return (s->access_rights & AR_DPL) >> 5;
}
static inline bool segment_is_code(const struct segment *s)
{
    return (s->access_rights & (AR_S | AR_CODE)) == (AR_S | AR_CODE);
}
static inline bool segment_is_conforming(const struct segment *s)
{
    return s->access_rights & AR_CONFORMING_OR_DOWN;
}
static inline bool segment_is_writable_data(const struct segment *s)
{
    return (s->access_rights & (AR_S | AR_CODE | AR_WRITE_OR_READ)) == (AR_S | AR_WRITE_OR_READ);
}

/* ---------------------------------------------------------------- state of the current code */

static inline bool in_64bit_code(const struct processor *p)
{
    return (p->mode & MODE_DECODE) == DECODE_64;
}
/* Real-address or virtual-8086 mode: segments are paragraphs. */
static inline bool in_8086_mode(const struct processor *p)
{
    return p->mode & (MODE_REAL | MODE_V86);
}
static inline unsigned iopl(const struct processor *p)
{
    return (p->rflags & FLAG_IOPL) >> 12;
}
/* RIP of the instruction I, and of the one after it, as the current mode stores them. */
static inline uint64_t current_rip(const struct processor *p, const struct insn *i)
{
    uint64_t rip = insn_rip(p, i);
    return in_64bit_code(p) ? rip : (uint32_t)rip;
}
static inline uint64_t following_rip(const struct processor *p, const struct insn *i)
{
    uint64_t rip = insn_next_rip(p, i);
    return in_64bit_code(p) ? rip : (uint32_t)rip;
}
static inline void require_cpl0(struct processor *p)
{
    if (unlikely(p->cpl != 0))
        raise_gp(p);
}
/* #UD in real-address and virtual-8086 mode. */
static inline void require_protected(struct processor *p)
{
    if (unlikely(in_8086_mode(p)))
        raise_ud(p);
}
/* Linear addresses wrap at 4 GiB outside long mode. */
static inline uint64_t system_linear(const struct processor *p, uint64_t linear)
{
    return p->mode & MODE_LONG ? linear : (uint32_t)linear;
}
/* Linear address of SIZE bytes at DELTA bytes into I's memory operand. */
static inline uint64_t insn_linear_at(struct processor *p, const struct insn *i, unsigned delta,
                                      unsigned size, unsigned access)
{
    uint64_t ea = insn_ea(p, i) + delta;
    if (i->addrsize != 8)
        ea = i->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
    return segment_linear(p, i->seg, ea, size, access);
}

/* ---------------------------------------------------------------- derived state (mode.c) */

/* The TLB class that CPL's data accesses use. */
static inline unsigned tlb_class(const struct processor *p, unsigned cpl)
{
    if (cpl == 3)
        return TLB_USER;
    return p->rflags & FLAG_AC || !(p->cr4 & CR4_SMAP) ? TLB_SUPERVISOR_AC : TLB_SUPERVISOR;
}
/* p->tlb, where alignment checks or breakpoints are in force, or before the first entry. */
void select_tlb_slow(struct processor *p);
/* Points p->tlb at the context of the current privilege. */
static inline void select_tlb(struct processor *p)
{
    if (unlikely(p->mode & MODE_ALIGN || p->dr7 & 0xff || !p->tlb_set))
        select_tlb_slow(p);
    else
        p->tlb = &p->tlb_set->class[tlb_class(p, p->cpl)];
}

/* p->slow as the state asks for it.  An interrupt window needs stepping only while RFLAGS.IF is set
 * and an NMI window only while NMIs are not blocked: whatever opens a window ends its block. */
static inline void update_slow(struct processor *p)
{
    uint32_t slow = p->slow & SLOW_REPLAY;
    if (p->rflags & FLAG_TF)
        slow |= SLOW_TF;
    if (p->rflags & FLAG_RF)
        slow |= SLOW_RF;
    if (p->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
        slow |= SLOW_SHADOW;
    if (p->dr7 & 0xff)
        slow |= SLOW_BREAKPOINT;
    if (p->pending_debug)
        slow |= SLOW_PENDING_DB;
    uint32_t controls = p->vmcs.cpu_based_controls;
    if (controls & CPU_MONITOR_TRAP_FLAG)
        slow |= SLOW_MTF;
    if ((controls & CPU_INTERRUPT_WINDOW_EXITING && p->rflags & FLAG_IF) ||
        (controls & CPU_NMI_WINDOW_EXITING && !(p->interruptibility & BLOCKING_BY_NMI)))
        slow |= SLOW_WINDOW;
    p->slow = slow;
}

/* Recomputes what depends on the privilege level and RFLAGS alone, for transfers inside 64-bit
 * mode, where segment bases, paging and the decode mode stay as they are. */
static inline void privilege_changed(struct processor *p, unsigned cpl)
{
    p->cpl = cpl;
    p->mode &= ~MODE_ALIGN;
    if (cpl == 3 && p->rflags & FLAG_AC && p->cr0 & CR0_AM)
        p->mode |= MODE_ALIGN;
    select_tlb(p);
    update_slow(p);
}

/* Notes the state that TLB entries are made from; whoever changes it flushes them first. */
static inline void translation_remember(struct processor *p)
{
    p->translated.cr0 = p->cr0;
    p->translated.cr3 = p->cr3;
    p->translated.cr4 = p->cr4;
    p->translated.efer = p->msr.efer;
    memcpy(p->translated.pdpte, p->pdpte, sizeof p->pdpte);
}

/* ---------------------------------------------------------------- accesses */

/* An 8-byte read of a descriptor table or TSS: mem_read_system with its common case inline. */
static inline uint64_t system_read64(struct processor *p, uint64_t linear)
{
    unsigned class = p->cr4 & CR4_SMAP ? TLB_SUPERVISOR : TLB_SUPERVISOR_AC;
    struct tlb_entry *e =
        &p->tlb_set->class[class].entry[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)];
    if (likely((linear ^ e->read) <= PAGE_BYTES - 8))
        return *(volatile unaligned_u64 *)(e->host + (linear ^ e->read));
    return mem_read_system(p, linear, 8);
}

/* Writes COUNT quadwords at LINEAR as code at CPL would. */
static inline void write_frame64(struct processor *p, unsigned cpl, uint64_t linear,
                                 const uint64_t *value, unsigned count)
{
    struct tlb_entry *e =
        &p->tlb_set->class[tlb_class(p, cpl)].entry[(linear >> PAGE_BITS) & (TLB_ENTRIES - 1)];
    if (likely((linear ^ e->write) <= PAGE_BYTES - 8 * count)) {
        unaligned_u64 *to = (unaligned_u64 *)(e->host + (linear ^ e->write));
        for (unsigned n = 0; n < count; n++)
            to[n] = value[n];
        return;
    }
    for (unsigned n = count; n-- > 0;)
        mem_write_as(p, cpl, linear + 8 * n, value[n], 8);
}

/* ---------------------------------------------------------------- descriptors (descriptor.c) */

struct descriptor {
    uint64_t raw;
    uint64_t linear; /* where it stands */
};

/* Reads the descriptor that SELECTOR names.  Returns false when SIZE bytes of it (8, or 16 for
 * system descriptors in long mode) do not lie inside the table; a null selector is the caller's to
 * recognise. */
bool descriptor_fetch(struct processor *p, uint16_t selector, unsigned size, struct descriptor *d);
/* The segment that D describes, to be loaded with SELECTOR. */
static inline struct segment descriptor_segment(const struct descriptor *d, uint16_t selector)
{
    uint32_t ar = (uint32_t)(d->raw >> 40) & 0xf0ff;
    uint32_t limit = (uint32_t)((d->raw & 0xffff) | (d->raw >> 32 & 0xf0000));
    return (struct segment){
        .selector = selector,
        .access_rights = ar,
        .limit = ar & AR_G ? limit << 12 | 0xfff : limit,
        .base = (d->raw >> 16 & 0xffffff) | (d->raw >> 32 & 0xff000000),
    };
}
/* The same for an LDT or TSS: in long mode the second quadword is read too.  Raises
 * #GP(selector) when its reserved type field is not zero or the base is not canonical. */
struct segment descriptor_system_segment(struct processor *p, const struct descriptor *d,
                                         uint16_t selector);
/* ORs BITS into the type byte of the descriptor, atomically among processors, and into S. */
void descriptor_set_type(struct processor *p, const struct descriptor *d, uint32_t bits,
                         struct segment *s);
/* Sets the accessed bit in S and, where it is clear, in memory. */
static inline void descriptor_accessed(struct processor *p, const struct descriptor *d,
                                       struct segment *s)
{
    if (unlikely(!(s->access_rights & AR_ACCESSED)))
        descriptor_set_type(p, d, AR_ACCESSED, s);
}

/* ---------------------------------------------------------------- segments (segment.c) */

/* True when SIZE bytes at OFFSET lie within S's limit. */
bool segment_holds(const struct segment *s, uint64_t offset, unsigned size);
/* A segment register as real-address or virtual-8086 mode loads it. */
void segment_load_8086(struct processor *p, unsigned seg, uint16_t selector);
/* The SS that a null selector gives in 64-bit mode at privilege level CPL. */
struct segment segment_null_stack(uint16_t selector, unsigned cpl);
/* The segment SELECTOR gives when loaded into ES, SS, DS, FS or GS in protected mode, with all
 * checks made and the accessed bit set. */
struct segment segment_check_data(struct processor *p, unsigned seg, uint16_t selector);
/* Loads ES, SS, DS, FS or GS in any mode.  The caller ends with segment_loaded. */
void segment_load(struct processor *p, unsigned seg, uint16_t selector);

/* ---------------------------------------------------------------- stacks (stack.c) */

static inline uint64_t stack_mask(const struct processor *p)
{
    if (in_64bit_code(p))
        return ~0ull;
    return p->mode & MODE_STACK16 ? 0xffff : 0xffffffff;
}
/* Sets the stack pointer at the width of the current stack. */
static inline void stack_set(struct processor *p, uint64_t sp)
{
    reg_write(p, REG_RSP, sp, in_64bit_code(p) ? 8 : p->mode & MODE_STACK16 ? 2 : 4);
}
/* Reads SIZE bytes at DEPTH bytes above the stack pointer. */
static inline uint64_t stack_peek(struct processor *p, uint64_t depth, unsigned size)
{
    uint64_t offset = (p->gpr[REG_RSP] + depth) & stack_mask(p);
    return mem_read(p, segment_linear(p, SEG_SS, offset, size, MEM_READ), size);
}
/* Pushes COUNT values of SIZE bytes, the first at the lowest address, on the current stack and
 * returns the new stack pointer, which the caller stores when nothing can fault any more. */
uint64_t stack_push(struct processor *p, const uint64_t *value, unsigned count, unsigned size);

/* A stack of another privilege level, or one being switched to. */
struct new_stack {
    struct segment ss;
    uint64_t sp;
};
/* The stack of privilege level CPL by the TSS, outside long mode; EXT is 1 while an event that is
 * no software interrupt is delivered.  Raises #TS and #SS as the SDM says. */
struct new_stack tss_stack(struct processor *p, unsigned cpl, uint32_t ext);
/* The stack pointer at OFFSET of a 64-bit TSS. */
uint64_t tss_stack_pointer64(struct processor *p, unsigned offset, uint32_t ext);
/* stack_push to stack S (outside long mode) as code at CPL; raises #SS(ERROR) when it does not
 * fit.  Updates s->sp. */
void new_stack_push(struct processor *p, struct new_stack *s, unsigned cpl, const uint64_t *value,
                    unsigned count, unsigned size, uint32_t error);

/* ---------------------------------------------------------------- far transfers (far.c) */

/* Raises #GP(0) unless execution can go on at OFFSET in CS: inside its limit, or canonical for
 * 64-bit code. */
void check_code_offset(struct processor *p, const struct segment *cs, uint64_t offset,
                       uint32_t error);
static inline bool code_is_64bit(const struct processor *p, const struct segment *cs)
{
    return p->mode & MODE_LONG && cs->access_rights & AR_L;
}
/* The CS and SS that RET or IRET return to, with all checks made and accessed bits set.  The
 * privilege level returned to is CS's RPL. */
struct segment return_check_cs(struct processor *p, uint16_t selector);
struct segment return_check_ss(struct processor *p, uint16_t selector, const struct segment *cs);
/* Takes away the data segments that privilege level CPL may not keep. */
void return_null_segments(struct processor *p, unsigned cpl);
/* Sets the stack pointer of the level returned to, whose CS and SS are loaded. */
void return_set_stack(struct processor *p, uint64_t sp);

/* Transfers through the call gate D of SELECTOR; ends far CALL and JMP. (gate.c) */
const struct insn *gate_transfer(struct processor *p, const struct insn *i, uint16_t selector,
                                 const struct descriptor *d, bool call);

/* ---------------------------------------------------------------- hardware tasks (task.c) */

/* What a task switch comes from; the numbers are those of the exit qualification (SDM volume 3,
 * table 28-2), for a level of VMX that intercepts it. */
enum task_source { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE };
struct task_switch {
    uint16_t selector; /* of the new task's TSS */
    enum task_source source;
    uint64_t rip;   /* to save in the old task */
    uint32_t flags; /* likewise */
    uint32_t ext;   /* ERROR_EXT while an event that is no software interrupt is delivered */
    bool has_code;  /* push error_code on the new task's stack */
    uint32_t error_code;
};
/* Switches tasks, outside long mode; the caller ends its instruction, p->rip is set.  Faults before
 * the switch is committed are the old task's, later ones the new task's. */
void task_switch(struct processor *p, const struct task_switch *to);

/* ---------------------------------------------------------------- flags (flags.c) */

/* The flags POPF and IRET may change at the current privilege with operands of SIZE bytes. */
uint32_t flags_changeable(const struct processor *p, unsigned size);
/* Loads the bits of VALUE that are in MASK; what depends on them is the caller's to recompute. */
static inline void flags_merge(struct processor *p, uint32_t value, uint32_t mask)
{
    processor_set_rflags(p, (processor_rflags(p) & ~mask) | (value & mask));
}
/* The 16-bit flags image of virtual-8086 mode extensions, IOPL below 3: loads it (POPF, IRET),
 * raising #GP(0) where the monitor must see it. */
void flags_load_vme(struct processor *p, uint16_t image);

/* ---------------------------------------------------------------- control and debug registers */

/* Load a control register or EFER with all checks and effects.  Return 0, or -EINVAL for #GP. */
int load_cr0(struct processor *p, uint64_t value);
int load_cr3(struct processor *p, uint64_t value);
int load_cr4(struct processor *p, uint64_t value);
int load_efer(struct processor *p, uint64_t value);
/* CR0 as the guest reads it. */
static inline uint64_t visible_cr0(const struct processor *p)
{
    uint64_t mask = p->vmcs.cr0_guest_host_mask;
    return (p->cr0 & ~mask) | (p->vmcs.cr0_read_shadow & mask);
}

#define DR6_FIXED    0xffff0ff0u /* bits that read as 1 */
#define DR6_BD       0x2000u
#define DR6_BS       0x4000u
#define DR6_BT       0x8000u
#define DR6_WRITE    0xe00fu
#define DR7_FIXED    0x400u
#define DR7_GD       0x2000u
#define DR7_WRITE    0xffff23ffu
#define DEBUGCTL_BTF 2u

/* Raises a fault-like #DB whose DR6 bits are BITS. */
_Noreturn void debug_raise(struct processor *p, uint32_t bits);
/* Puts the pending DR6 bits where #DB's handler reads them; event_deliver calls it. */
void debug_commit(struct processor *p);

/* ---------------------------------------------------------------- handlers */

#define SYSTEM_HANDLERS(X)                                                                         \
    X(mov_from_seg)                                                                                \
    X(mov_to_seg)                                                                                  \
    X(push_seg)                                                                                    \
    X(pop_seg)                                                                                     \
    X(load_far) X(call_far) X(jmp_far) X(ret_far) X(iret) X(iret64) X(int_n) X(int1) X(int3)       \
        X(into) X(bound) X(syscall) X(sysret) X(sysenter) X(sysexit) X(swapgs) X(rdfsbase)         \
            X(rdgsbase) X(wrfsbase) X(wrgsbase) X(lgdt) X(sgdt) X(lidt) X(sidt) X(lldt) X(sldt)    \
                X(ltr) X(str) X(lmsw) X(smsw) X(clts) X(mov_from_cr) X(mov_to_cr) X(mov_from_dr)   \
                    X(mov_to_dr) X(lar) X(lsl) X(verr) X(verw) X(arpl) X(cli) X(sti) X(clac)       \
                        X(stac) X(popf) X(hlt) X(cpuid) X(rdmsr) X(wrmsr) X(rdtsc) X(rdtscp)       \
                            X(rdpmc) X(rdpid) X(invd) X(wbinvd) X(invlpg) X(invpcid) X(monitor)    \
                                X(mwait) X(vmcall)
#define X(name) exec_fn system_##name;
SYSTEM_HANDLERS(X)
#undef X

#endif
