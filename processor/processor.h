/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processor: an x86-64 logical processor in software, with VMX mode.  This header, state.h,
 * vmcs.h and memory.h are the whole contract with kvm/.
 *
 * A thread that owns a processor fills p->vmcs's controls and calls vmx_enter, which runs the guest
 * until something that level 0 intercepts happens and returns the exit reason.
 */
#ifndef TRAPEZE_PROCESSOR_H
#define TRAPEZE_PROCESSOR_H

#include "state.h"

/* Creates a processor in its power-up (reset) state, on M.  Returns NULL when out of memory.  Its
 * TLB and code cache are allocated at its first vmx_enter. */
struct processor *processor_new(struct memory *m);
void processor_free(struct processor *p);

/* How code runs; by default all of it is interpreted. */
struct processor_translator {
    bool on;
    unsigned threshold; /* a block is translated at this lookup (0: the default) */
    bool check;         /* compare every run of a translation with the interpreter */
    bool count;        /* count the instructions that translations retire, which costs some speed */
    size_t code_bytes; /* of host code at most, at least 128 KiB (0: the default, 64 MiB) */
    /* Keep the last translation of the block that covers trace_address, for
     * processor_get_translation. */
    bool trace;
    uint64_t trace_address; /* linear */
    /* Append a line for each translation to the file NAMES_FILE, in the form of perf's
     * /tmp/perf-PID.map; the descriptor stays the caller's, and open. */
    bool names;
    int names_file;
};
/* Only outside vmx_enter.  Returns 0; -ENOMEM when memory is short or the host forbids executable
 * memory, with everything interpreted then. */
int processor_set_translator(struct processor *p, const struct processor_translator *how);

/* Why a memory access missed the inline TLB check. */
enum processor_miss {
    MISS_EMPTY,      /* nothing was in its entry: new, or flushed */
    MISS_OTHER_PAGE, /* another page was */
    MISS_WRITE_TAG,  /* the page was there, not yet for writing: its dirty bit, or the dirty log */
    MISS_FAULT,      /* a page fault */
    MISS_DEVICE,     /* no memory there, or none that can be written */
    MISS_CODE_PAGE,  /* a write to a page that holds decoded code */
    MISS_CROSSING,   /* it reached into the next page */
    MISS_CHECKED,    /* alignment checks or breakpoints were on */
    PROCESSOR_MISSES,
};
const char *processor_miss_name(enum processor_miss kind);

/* What the translator did; all 0 without one. */
struct processor_translator_counts {
    uint64_t blocks;   /* translated so far */
    uint64_t bytes;    /* of host code, now */
    uint64_t capacity; /* of them, at most */
    uint64_t emptied;  /* times the cache was emptied */
    uint64_t entries;  /* from the run loop into translated code */
    uint64_t links;    /* jumps made direct */
    uint64_t slow;     /* memory accesses that missed the inline TLB check */
    uint64_t handlers; /* instructions run by their handler from translated code */
    uint64_t compared; /* runs compared with the interpreter */
    uint64_t differences;
    /* The same as slow, by kind. */
    uint64_t misses[PROCESSOR_MISSES];
};
void processor_get_translator_counts(const struct processor *p,
                                     struct processor_translator_counts *out);
/* The instructions that handlers ran from translated code, by operation (its Intel mnemonic), in no
 * order: at most ROOM entries to OUT.  Returns how many. */
struct processor_handler_count {
    const char *name;
    uint64_t count;
};
unsigned processor_get_handler_counts(const struct processor *p,
                                      struct processor_handler_count *out, unsigned room);
/* A block's guest code and the host code that was made of it. */
enum processor_translation_kind {
    TRANSLATION_ENTRY,  /* the way in */
    TRANSLATION_INLINE, /* an instruction */
    TRANSLATION_END,    /* behind the last instruction, when control goes on from there */
    TRANSLATION_LATE,   /* out of line, for an instruction: slow paths, taken branches */
};
struct processor_translation_part {
    uint16_t start; /* offset in code; it reaches to the next part's */
    uint16_t insn;  /* offset in guest of the instruction that it belongs to */
    uint16_t kind;
};
struct processor_translation {
    uint64_t linear;    /* of the first instruction, when it was translated */
    uint64_t host;      /* where code runs, */
    uint64_t late_host; /* and where that runs which is out of line */
    uint32_t bits;      /* how the guest code is decoded: 64, 32, 16 */
    uint32_t parts;
    uint32_t guest_bytes, code_bytes; /* whole lengths; what does not fit below is left out */
    uint32_t inline_bytes;            /* of code; the rest is out of line */
    uint32_t reserved;
    uint8_t guest[768];
    uint8_t code[12288];
    struct processor_translation_part part[320];
};
/* False when no block that covers processor_translator.trace_address was translated. */
bool processor_get_translation(const struct processor *p, struct processor_translation *out);

/* The first difference that was found, as text of several lines; NULL: none.  Valid until the next
 * processor_set_translator. */
const char *processor_translator_difference(const struct processor *p);

/* Puts P in the state after RESET, or after INIT (SDM volume 3, table 10-1): INIT keeps CR0.CD/NW,
 * the TSC, and the FPU, and leaves p->vmcs alone. */
void processor_reset(struct processor *p, bool init);

/* VM entry: injects vmcs.entry_interruption_info if valid, then runs until an exit.  Returns
 * vmcs.exit_reason.  Never returns an error: what a guest cannot do is an exit. */
unsigned vmx_enter(struct processor *p);

/* True when an instruction waits to be re-run because it made a bus access (PIO or MMIO exit). */
bool vmx_access_pending(const struct processor *p);

/* Finishes that instruction and nothing else: returns EXIT_REASON_COMPLETED, or PIO or MMIO when it
 * makes a further access, or any other exit it causes. */
unsigned vmx_complete(struct processor *p);

/* Forgets a pending access, when the caller replaces the state it belongs to. */
void vmx_abandon_access(struct processor *p);

/* Skips the instruction that caused a fault-like exit: adds vmcs.exit_instruction_length to RIP,
 * ends STI and MOV SS blocking, and arranges a single-step trap if TF is set. */
void processor_skip_instruction(struct processor *p);

/* Makes vmx_enter return EXIT_REASON_KICK soon: at the next block boundary if it runs now, at once
 * when it is next called otherwise.  From any thread, and async-signal-safe. */
void processor_kick(struct processor *p);
void processor_clear_kick(struct processor *p);

/* Must follow any change by the caller of the architectural state: recomputes what is derived and
 * flushes the TLB if paging may have changed. */
void processor_state_changed(struct processor *p);
/* Must follow a change of vmcs's controls. */
void processor_controls_changed(struct processor *p);
/* Drops all TLB entries. */
void processor_flush_tlb(struct processor *p);

/* The MSRs that the processor implements (struct processor_msrs, FS_BASE, GS_BASE, and XSS).
 * Return 0; -ENOENT for an MSR that is not the processor's; -EINVAL for a value that would raise
 * #GP.  processor_set_msr recomputes what depends on it. */
int processor_get_msr(struct processor *p, uint32_t index, uint64_t *value);
int processor_set_msr(struct processor *p, uint32_t index, uint64_t value);

/* Loads a control register as MOV to CR would, with all checks.  Returns 0 or -EINVAL (#GP). */
int processor_set_cr(struct processor *p, unsigned number, uint64_t value);
/* XCR0, likewise. */
int processor_set_xcr0(struct processor *p, uint64_t value);

/* The guest's TSC now. */
uint64_t processor_tsc(const struct processor *p);

/* Translates a linear address as a supervisor read would, without side effects (KVM_TRANSLATE,
 * gdb).  Returns false when it is not mapped. */
bool processor_translate(struct processor *p, uint64_t linear, uint64_t *gpa, bool *writable,
                         bool *user);

/* Vector state as XSAVE images (SDM volume 1, chapter 13; the standard format).  SIZE is that of
 * the buffer; components outside it or outside x87, SSE and AVX are zeroed or ignored.  Loading
 * returns -EINVAL for reserved MXCSR bits or unsupported components in XSTATE_BV. */
void processor_get_xsave(const struct processor *p, void *image, size_t size);
int processor_set_xsave(struct processor *p, const void *image, size_t size);

/* Which FEATURE_* the processor can execute on this host (host AVX2 missing, say). */
bool processor_has_feature(enum feature f);

#endif
