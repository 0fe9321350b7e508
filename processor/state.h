/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct processor: the state of one logical processor.
 *
 * kvm/ reads and writes the architectural part directly while the processor is outside vmx_enter
 * (it is level 0's guest-state area), then calls processor_state_changed.  What stands below the
 * line "derived and internal" belongs to processor/.
 */
#ifndef TRAPEZE_STATE_H
#define TRAPEZE_STATE_H

#include "decode/insn.h"
#include "memory.h"
#include "vmcs.h"

#include <setjmp.h>
#include <stdatomic.h>

/* EFLAGS. */
#define FLAG_CF      0x1u
#define FLAG_ONE     0x2u
#define FLAG_PF      0x4u
#define FLAG_AF      0x10u
#define FLAG_ZF      0x40u
#define FLAG_SF      0x80u
#define FLAG_TF      0x100u
#define FLAG_IF      0x200u
#define FLAG_DF      0x400u
#define FLAG_OF      0x800u
#define FLAG_IOPL    0x3000u
#define FLAG_NT      0x4000u
#define FLAG_RF      0x10000u
#define FLAG_VM      0x20000u
#define FLAG_AC      0x40000u
#define FLAG_VIF     0x80000u
#define FLAG_VIP     0x100000u
#define FLAG_ID      0x200000u
#define FLAGS_STATUS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define CR0_PE         BIT(0)
#define CR0_MP         BIT(1)
#define CR0_EM         BIT(2)
#define CR0_TS         BIT(3)
#define CR0_ET         BIT(4)
#define CR0_NE         BIT(5)
#define CR0_WP         BIT(16)
#define CR0_AM         BIT(18)
#define CR0_NW         BIT(29)
#define CR0_CD         BIT(30)
#define CR0_PG         BIT(31)
#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)
#define EFER_SCE       BIT(0)
#define EFER_LME       BIT(8)
#define EFER_LMA       BIT(10)
#define EFER_NXE       BIT(11)
#define EFER_FFXSR     BIT(14)
#define EFER_AIBRSE    BIT(21) /* automatic IBRS: without effect here */

/* Exception vectors. */
enum {
    VECTOR_DE,
    VECTOR_DB,
    VECTOR_NMI,
    VECTOR_BP,
    VECTOR_OF,
    VECTOR_BR,
    VECTOR_UD,
    VECTOR_NM,
    VECTOR_DF,
    VECTOR_CSO,
    VECTOR_TS,
    VECTOR_NP,
    VECTOR_SS,
    VECTOR_GP,
    VECTOR_PF,
    VECTOR_MF = 16,
    VECTOR_AC,
    VECTOR_MC,
    VECTOR_XM,
    VECTOR_VE,
    VECTOR_CP,
};

/* A segment register.  access_rights is in VMX's format (SDM volume 3, table 25-2): type 3:0, S 4,
 * DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.  limit is in bytes, granularity applied.
 */
struct segment {
    uint16_t selector;
    uint32_t access_rights;
    uint32_t limit;
    uint64_t base;
};
#define AR_TYPE               0x000fu
#define AR_S                  0x0010u
#define AR_DPL                0x0060u
#define AR_P                  0x0080u
#define AR_AVL                0x1000u
#define AR_L                  0x2000u
#define AR_DB                 0x4000u
#define AR_G                  0x8000u
#define AR_UNUSABLE           0x10000u
#define AR_CODE               0x8u /* of type, with S = 1 */
#define AR_CONFORMING_OR_DOWN 0x4u
#define AR_WRITE_OR_READ      0x2u
#define AR_ACCESSED           0x1u

struct descriptor_table {
    uint64_t base;
    uint16_t limit;
};

/* The XSAVE image that vector code works on: legacy area, header unused, YMM high halves kept whole
 * with their low halves so that a stub loads a register with one move. */
struct vector_state {
    union {
        uint8_t b[32];
        uint32_t d[8];
        uint64_t q[4];
    } ymm[16] __attribute__((aligned(32)));
    /* x87 in FXSAVE's 64-bit layout (512 bytes; its XMM part is not used): the state between two
     * x87 instructions. */
    uint8_t fxsave[512] __attribute__((aligned(64)));
    uint32_t mxcsr;
    uint64_t xcr0;
    uint64_t xss;
};

/* Interruptibility state, SDM table 25-3. */
#define BLOCKING_BY_STI    0x1u
#define BLOCKING_BY_MOV_SS 0x2u
#define BLOCKING_BY_NMI    0x8u

/* Modes derived from CR0, EFER, RFLAGS.VM and CS. */
#define MODE_DECODE  0x3u /* enum decode_mode */
#define MODE_REAL    0x4u /* CR0.PE = 0 */
#define MODE_V86     0x8u
#define MODE_LONG    0x10u /* EFER.LMA */
#define MODE_STACK16 0x20u /* SS.B = 0 and not 64-bit: SP */
#define MODE_PAGING  0x40u
#define MODE_ALIGN   0x100u /* CR0.AM, RFLAGS.AC and CPL 3: data accesses are alignment-checked */
#define MODE_FLAT32                                                                                \
    0x80u /* not 64-bit; ES, CS, SS and DS have base 0, limit 4 GiB, and are usable,               \
             readable and (but CS) writable */

/* Reasons why the run loop must go instruction by instruction (p->slow). */
#define SLOW_TF         0x1u
#define SLOW_SHADOW     0x2u /* interruptibility has STI or MOV SS blocking */
#define SLOW_RF         0x4u
#define SLOW_BREAKPOINT 0x8u  /* DR7 enables any breakpoint */
#define SLOW_REPLAY     0x10u /* bus accesses of a restarted instruction are recorded */
#define SLOW_PENDING_DB 0x20u /* p->pending_debug holds bits to deliver after this instruction */
#define SLOW_MTF        0x40u
#define SLOW_WINDOW     0x80u /* an interrupt- or NMI-window exit is asked for */

/* Requests from other threads (p->poll). */
#define POLL_KICK        0x1u
#define POLL_FLUSH_TLB   0x2u  /* drop all TLB entries and jump-cache entries */
#define POLL_FLUSH_WRITE 0x4u  /* drop the write tags of all TLB entries */
#define POLL_RESYNC      0x8u  /* leave the block loop and look everything up again */
#define POLL_EXCLUSIVE   0x10u /* wait while another processor is in an exclusive section */

/* MSRs that the processor itself implements; all others are the caller's (RDMSR and WRMSR exits).
 */
struct processor_msrs {
    uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t tsc_aux, pat, debugctl;
};

#define TLB_ENTRIES             1024
#define TLB_VICTIMS             16
#define TLB_SPARE               (TLB_ENTRIES + TLB_VICTIMS) /* of use while two entries change places */
#define TLB_ALL                 (TLB_SPARE + 1)
#define TLB_RECENT              64
#define JUMP_ENTRIES            4096  /* of a jump cache, */
#define JUMP_ENTRIES_SUPERVISOR 32768 /* and of supervisors' */
#define TLB_SETS                8
#define TLB_FILTER              256 /* bits of the TLB's filters of addresses */
#define JUMPS_LOCAL             512
/* TLB_SLOW never holds read or write tags, so that every data access takes the slow path: used
 * while alignment checks or data breakpoints are in force. */
enum tlb_class { TLB_USER, TLB_SUPERVISOR, TLB_SUPERVISOR_AC, TLB_SLOW, TLB_CLASSES };

/* A TLB entry: an access of N bytes at VA hits when (va ^ tag) <= 4096 - N, and its host address is
 * then host + (va ^ tag), a tag being a page's address.  The tag of what must not hit differs from
 * every address of the entry's index.  Translated code relies on this layout. */
struct tlb_entry {
    uint64_t read, write, fetch;
    uint64_t host; /* address of the page */
};
#define JUMP_LEGACY BIT(62)
struct code_block;
struct code_page;
/* An empty entry has no block, and a linear address that belongs to another entry, so that
 * comparing the address is enough. */
struct jump_entry {
    uint64_t linear;     /* address of the first instruction, with JUMP_LEGACY outside 64-bit mode:
                            no code finds that of another mode */
    const uint8_t *code; /* the block's translation, or the way out to the run loop */
};
/* Where linear addresses lead, for one manner of fetching.  A CR3 load leaves what global pages
 * hold: so that a kernel finds its own code whatever the address space, supervisors' fetches share
 * one cache in all sets, in which nothing is local to another set than the current one. */
struct jump_cache {
    struct jump_entry *entry;
    struct code_block **block; /* of the same index; NULL: empty */
    uint64_t mask;             /* a power of two entries, less one */
    bool filled;               /* something was noted since it was last emptied */
    /* The entries made for pages that are not global; more of them than JUMPS_LOCAL: all. */
    uint16_t local[JUMPS_LOCAL];
    unsigned locals;
    /* Where entries may be: filters of pages and of their large pages, for invalidations. */
    uint64_t pages[TLB_FILTER / 64], regions[TLB_FILTER / 64];
};
enum { JUMPS_SUPERVISOR, JUMPS_SLOW, JUMPS_USER, JUMP_CACHES = JUMPS_USER + TLB_SETS };
/* Linear addresses that lead to memory as contiguous in the host's address space: an access of up
 * to 8 bytes at VA hits when va - start <= limit, one of up to TLB_WIDE when va - start <= wide,
 * and its host address is then host + (va - start).  One that is empty starts where no address is
 * canonical, and leads to the sink. */
struct tlb_range {
    uint64_t start, limit, wide, host;
};
#define TLB_WIDE        128
#define TLB_RANGE_EMPTY (0x5ac3ull << 48)
/* Of the 2 MiB that an address chooses its span by, as much around it as is mapped alike: to reach
 * memory to read or to write.  It may go beyond where large pages do: a kernel's direct map. */
#define TLB_SPANS 64
/* Parts of the address space: a kernel's image is in the top 2 GiB. */
enum { TLB_DIRECT, TLB_IMAGE, TLB_PARTS };
static inline unsigned tlb_part(uint64_t linear)
{
    return linear >> 31 == UINT64_MAX >> 31 ? TLB_IMAGE : TLB_DIRECT;
}
struct tlb {
    /* Copies of entries and spans, each for one manner of making addresses: translated code looks
     * here first.  Invalidations take them along.  What is near the beginning of those for reading
     * it reaches with distances of 8 bits. */
    struct tlb_range recent_write[TLB_RECENT], recent_read[TLB_RECENT];
    struct tlb_range span[2][TLB_SPANS];   /* [1] to write */
    struct tlb_range widest[2][TLB_PARTS]; /* of those of large pages and global ones */
    bool widest_local[2][TLB_PARTS];       /* one has a page that is not global */
    uint64_t span_local[2];                /* those that are not global: a bit for each */
    unsigned span_wait;                    /* misses until they are looked for again */
    unsigned span_debt;                    /* for looking: see span.c */
    /* Behind the entries that an address chooses from stand those that gave way to others lately.
     */
    struct tlb_entry entry[TLB_ALL];
    uint8_t flags[TLB_ALL]; /* TLB_FLAG_* */
    unsigned next_victim;   /* the oldest of them */
    struct jump_cache *jumps;
    bool recent_used;       /* one was filled since they were last emptied */
    int32_t patience;       /* misses of recent entries until the translator is told */
    bool filled;            /* something was inserted since it was last emptied */
    bool filled_low_global; /* a global page of the lower half was */
    /* What a CR3 load has to drop: a bit for each entry that is filled and not global. */
    uint64_t local[ALIGN_UP(TLB_ALL, 64) / 64];
    uint8_t sink[TLB_WIDE]; /* guest memory to nobody */
};
struct tlb_set {
    uint64_t key;  /* PCID, or TLB_KEY_NONE */
    uint64_t used; /* for least-recently-used replacement */
    /* Where fragments of large pages may be: filters of pages of 2 MiB, and of all larger ones. */
    uint64_t large[2][TLB_FILTER / 64];
    struct tlb class[TLB_CLASSES];
};

/* Accesses of the current instruction that have left the processor, in order, for its replay. */
#define REPLAY_MAX 160
struct replay {
    unsigned recorded; /* accesses completed by the caller */
    unsigned next;     /* the next one this run of the instruction will make */
    bool waiting;      /* vmcs.access is the one the caller is completing */
    struct bus_access access[REPLAY_MAX];
};

struct code_cache;   /* core/: decoded blocks */
struct slot;         /* core/: memory slots */
struct vector_stubs; /* vector/: native stubs */
struct translator;   /* translate/ */

struct processor {
    /* ---- hot: kept first ---- */
    uint64_t gpr[REG_SLOTS];
    uint64_t rip;            /* valid outside blocks; inside, see insn_rip() */
    uint32_t status;         /* the six status flags, in EFLAGS positions */
    uint32_t rflags;         /* all other EFLAGS bits, FLAG_ONE set, status bits 0 */
    const struct insn *insn; /* the instruction being executed */
    struct tlb *tlb;         /* the current context */
    uint32_t mode;           /* MODE_* */
    uint32_t cpl;
    _Atomic uint32_t poll; /* POLL_*: non-zero makes the run loop leave at the end of a block */
    uint32_t slow;         /* SLOW_* */
    uint64_t flat_base[8]; /* segment bases as address arithmetic adds them: in 64-bit mode 0 but
                              for FS and GS */
    /* FS and GS outside 64-bit mode: data segments of 4 GiB, upwards, that may be written, so that
     * only an access across 4 GiB can fail a check. */
    bool open_segment[8];
    uint64_t icount; /* instructions retired, blockwise */

    /* ---- architectural ---- */
    struct segment segment[SEG_COUNT];
    struct descriptor_table gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t pdpte[4]; /* PAE page-directory-pointer registers */
    uint64_t dr[4], dr6, dr7;
    struct processor_msrs msr;
    struct vector_state vector;
    uint32_t interruptibility; /* BLOCKING_* */
    uint32_t pending_debug;    /* DR6 bits of a #DB held back by MOV SS or a trap not yet taken */
    uint32_t phys_bits;        /* physical-address width the guest is told (MAXPHYADDR) */
    uint64_t cr4_reserved;     /* CR4 bits that raise #GP when set, from the guest's CPUID */
    uint64_t efer_reserved;    /* likewise EFER */
    uint64_t xcr0_supported;   /* bits that XSETBV accepts */
    bool amd;         /* the guest's CPUID names AMD: SYSCALL and SYSRET work outside 64-bit
                         mode too */
    struct vmcs vmcs; /* level 0 */

    /* ---- derived and internal ---- */
    struct { /* the state that TLB entries were made for, so that the caller's */
        uint64_t cr0, cr3, cr4, efer; /* changes of anything else keep them */
        uint64_t pdpte[4];
    } translated;
    struct memory *memory;
    struct tlb_set *tlb_set;        /* the current one */
    struct tlb_set *tlb_sets;       /* TLB_SETS of them, allocated at first entry */
    struct jump_cache *jump_caches; /* JUMP_CACHES, likewise; the first one's entries are all's */
    uint64_t drops;                 /* of the memory's drops, those that were noticed */
    bool no_write_tags;             /* each store is to be seen: translations are checked */
    struct slot *slot; /* the last that a lookup found; forgotten when the TLB is flushed */
    uint64_t tlb_clock;
    struct code_cache *code;
    struct vector_stubs *stubs;
    struct translator *translator; /* NULL: everything is interpreted */
    struct replay replay;
    uint32_t intercepts; /* INTERCEPT_*: level 0's controls compiled to one bit set */
    bool in_event;       /* delivering an event: its information is in event_* */
    uint32_t event_info, event_error_code, event_length;
    bool exclusive;            /* this processor has stopped the others */
    bool stop_after_step;      /* vmx_complete: leave after one instruction */
    struct code_page *running; /* the page whose block is being run */
    const struct insn *link;   /* a direct branch that wants to be chained to its target's block */
    void *rmw_code;            /* mem_rmw gave out a pointer into a page with decoded code */
    uint32_t rmw_size;
    uint64_t pause_last, pause_count; /* pause-loop detection */
    _Atomic uint32_t inside;          /* 1 while in vmx_enter */
    _Atomic uint32_t parked;       /* 1 while it waits for another processor's exclusive section */
    _Atomic uint64_t acknowledged; /* the last epoch of the memory whose flushes it has made */
    struct processor *next;        /* memory's list of processors */
    unsigned index;
    jmp_buf unwind;                          /* raise() and vm_exit() land here */
    uint32_t fault_vector, fault_error_code; /* what raise() carries */
    uint64_t fault_linear;                   /* of a page fault, until it is delivered */
    uint32_t step_rf;                        /* RF as it was before the instruction being stepped */
    uint8_t straddle_bytes[16];
    uint32_t straddle_mode;
    uint8_t
        straddle_length; /* bytes of straddle_bytes that straddle[0] was decoded from; 0: none */
    struct insn straddle[2]; /* the one instruction that crosses a page, and its end marker */
    struct insn step[2];     /* the one instruction being stepped, and its end marker */
};

#define TLB_FLAG_GLOBAL 0x1
#define TLB_FLAG_LARGE  0x2
#define TLB_KEY_NONE    (~0ull)

/* All of EFLAGS. */
static inline uint32_t processor_rflags(const struct processor *p)
{
    return p->rflags | p->status;
}

/* Sets all of EFLAGS without side effects; callers that may change TF, IF, RF, VM or AC call
 * processor_state_changed or use system/'s flags_load. */
static inline void processor_set_rflags(struct processor *p, uint32_t value)
{
    p->status = value & FLAGS_STATUS;
    p->rflags = (value & ~FLAGS_STATUS) | FLAG_ONE;
}

#endif
