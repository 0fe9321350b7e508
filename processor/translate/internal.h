/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of translate/ share.
 *
 *   emit.c          host instructions
 *   run.c           the code cache, running
 *   thunks.c        the way in and out, and to C
 *   called.c        what translations call
 *   link.c          direct jumps
 *   check.c         translations compared with the interpreter
 *   count.c         why translations called C
 *   trace.c         translations shown to the outside
 *   lower.c         a block: liveness of flags, out-of-line code, instructions left to handlers
 *   lower-memory.c  addresses and the TLB check
 *   lower-group.c   accesses that share a check
 *   lower-guess.c   where accesses will lead
 *   lower-copy.c    instructions that are emitted again as they are
 *   lower-flow.c    stack and branches
 *   lower-string.c  string instructions
 *   lower-vector.c  SSE and AVX
 *   lower-x87.c     x87 and MMX
 *   lower-system.c  system instructions
 *   light.c         C for some of them (light.h)
 *
 * Guest registers: RAX RCX RDX RBX RSI RDI R8 R12 to R15 are in the host's of the same name, RSP in
 * R9, RBP in R10.  R9, R10 and R11 are homeless: they live in the frame and are brought into a
 * scratch register where an instruction names them; compilers use them least.  T0 and T1 are
 * scratch.  T0 is RBP because AH, BH, CH and DH cannot be encoded beside a register that needs REX.
 * The host's RSP is a real stack, the thread's own, so that a signal handler may run at any time;
 * the frame is on top of it.
 */
#ifndef TRAPEZE_TRANSLATE_INTERNAL_H
#define TRAPEZE_TRANSLATE_INTERNAL_H

#include "emit.h"
#include "processor/core/internal.h"
#include "translate.h"

#define T0 HOST_RBP
#define T1 HOST_R11

/* The frame, by distance from RSP. */
enum {
    FRAME_TLB,   /* p->tlb, from where fields are at their distance from TLB_ANCHOR */
    FRAME_JUMPS, /* of p->tlb->jumps: entry, mask */
    FRAME_JUMP_MASK,
    FRAME_P,    /* struct processor */
    FRAME_CODE, /* RIP of offset 0 of the page: gpr[REG_CODE] */
    FRAME_R9,   /* guest registers */
    FRAME_R10,
    FRAME_R11,
    FRAME_FLAGS,    /* status flags, where they are not in EFLAGS: as LAHF and SETO AL leave AX */
    FRAME_SAVE,     /* a register that something else is in for a moment */
    FRAME_TARGET,   /* of an indirect branch */
    FRAME_ONWARD,   /* where it leads */
    FRAME_ARGUMENT, /* of the thunks: T0, then T1 */
    FRAME_SITE,
    FRAME_COUNT,  /* instructions retired (those of loops, if they are not counted), less BUDGET */
    FRAME_VECTOR, /* enum vector_level: whether vector registers hold the guest's */
    FRAME_MXCSR,  /* the host's */
    FRAME_X87,    /* 1: x87 registers hold the guest's; the host's control word in the upper half */
    FRAME_FOP,    /* meanwhile: the last x87 instruction, its address, and its operand's */
    FRAME_FIP,
    FRAME_FDP,
    FRAME_SLOTS
};
/* Loops inside a page look for requests every so many instructions: when FRAME_COUNT is no longer
 * negative. */
#define BUDGET       2048
#define FRAME(field) ((int32_t)(8 * (field)))
/* Within 128 bytes of it are the recent entries that are used most: six to read, two to write. */
#define TLB_ANCHOR (offsetof(struct tlb, recent_read) + 64)
static inline int32_t tlb_at(size_t offset)
{
    return (int32_t)offset - (int32_t)TLB_ANCHOR;
}
#define ABOVE       8 /* what a thunk that was called finds above its return address is the frame */
#define FRAME_BYTES (8 * (FRAME_SLOTS | 1)) /* so that the stack is aligned */

/* What vector instructions the guest may run natively now: none, SSE, AVX as well. */
enum vector_level { VECTOR_NONE, VECTOR_SSE, VECTOR_AVX };
unsigned vector_level(const struct processor *p);
/* Whether x87 and MMX instructions may run natively now: none may raise an exception. */
bool x87_native(const struct processor *p);

/* A place in a translation from which C is called. */
struct translate_site {
    const struct insn *insn;
    const struct code_block *block;
    union {
        const uint8_t *resume; /* host: behind the TLB check, with the host address in T0; or where
                                  the jump cache is asked again for T0 */
        uint8_t *refused;      /* of a jump to another page: of its jump to C, the distance */
    };
    const uint8_t *next; /* host: behind the instruction, with flags in the frame */
    union {              /* (writable) */
        uint8_t *check;  /* of an access: the comparison with the recent entry */
        uint8_t *apart;  /* of a jump to another page: where it leads as long as it is not direct */
    };
    uint8_t *jump;  /* the distance of a jump that may be made direct (writable) */
    int32_t target; /* offset in the page that it jumps to */
    uint16_t live;  /* flags that count: before the instruction, or at the target */
    uint16_t index; /* instructions of the block before this one */
    int16_t recent; /* distance of the check's recent entry from FRAME_TLB */
    uint8_t weary;  /* times it was found missing its recent entry, with many misses about */
    uint8_t size;   /* of the access; the level that a vector instruction needs */
    bool write : 1;
    bool ends : 1;     /* the run loop goes on after the instruction */
    bool x87 : 1;      /* the block's: here, where C looks anyway */
    bool in_frame : 1; /* a jump: live flags are in the frame */
    bool far : 1;      /* a jump from fixed code to another page */
};
/* C looks at them when they are not in its caches. */
_Static_assert(sizeof(struct translate_site) == 64, "a line each");
/* The linear address that such a jump leads to. */
static inline uint64_t translate_site_far(const struct translate_site *s)
{
    return s->block->linear + (uint64_t)(int64_t)s->target;
}

#define LINK_FILTER 65536
struct translate_link {
    uint64_t far; /* the linear address that it leads to */
    uint32_t site;
};

/* Light calls: see light.h. */
#define LIGHT_CALLS (!THREAD_SANITIZER) /* whose own calls use vector registers */
enum light { LIGHT_SYSCALL, LIGHT_SYSRET, LIGHT_IRET, LIGHT_TARGET, LIGHT_COUNT };
/* Sizes of accesses whose checks use recent entries: 1 << 0 to 1 << 5 bytes. */
#define CHECK_SIZES 6

struct translator {
    uint8_t *writable, *executable; /* two mappings of the same memory */
    /* Thunks, then what blocks have inline; from late_start on what they have out of line. */
    size_t used, thunk_bytes, late_start, late_used;
    struct translate_site *sites;
    uint32_t site_count;
    void (*enter)(struct processor *p, const uint8_t *code);
    /* Thunks (writable addresses).  All but EXIT take a site's number in T1; EXIT takes a
     * linear address in T0, flags in the frame.  COLD is EXIT's executable address. */
    uint8_t *slow, *call, *call_other, *link, *again, *vector, *x87, *exit;
    uint8_t *light[LIGHT_COUNT];     /* thunks of light calls */
    uint8_t *far;                    /* goes on at the linear address in T0, flags in the frame */
    uint8_t *find;                   /* the same, when the jump cache has it not */
    uint8_t *recent[2][CHECK_SIZES]; /* by write and size: see lower_check_thunk */
    uint8_t *group[2];               /* by write: see lower_group_thunk */
    const uint8_t *cold;
    unsigned threshold;
    bool check;
    bool count;       /* translations count the instructions that they retire */
    uint64_t patient; /* the host's TSC when patience was last lost */
    bool full;        /* the caches have to be emptied before anything else is translated */
    uint32_t pending; /* a link site that led here, plus 1; 0: none */
    struct translate_link *links; /* the direct jumps to other pages */
    uint32_t link_count;
    uint64_t linked[LINK_FILTER / 64]; /* a filter of the pages that they lead to */
    struct checker *checker;
    struct tracer *tracer; /* NULL: nobody looks */
    struct processor_translator_counts counts;
    uint64_t handled[OP_COUNT]; /* of counts.handlers, by operation */
};

/* RIP of offset 0 of the page of site S's block. */
static inline uint64_t translate_site_code(const struct translate_site *s, uint64_t frame_code)
{
    return code_block_is_fixed(s->block) ? s->block->linear : frame_code;
}

static inline const uint8_t *translator_executable(const struct translator *t, const uint8_t *at)
{
    return t->executable + (at - t->writable);
}

/* Room that one block may need at most. */
#define BLOCK_CODE_BYTES 49152
#define BLOCK_SITES      512

/* Translates B, which is at LINEAR now; there is room, and its page is locked. */
void lower_block(struct processor *p, struct code_block *b, uint64_t linear);
/* Emits the thunks FAR and AGAIN. */
void lower_far_thunk(struct translator *t, struct emitter *e);
void lower_again_thunk(struct translator *t, struct emitter *e);

/* ---------------------------------------------------------------- thunks.c */

/* Emits them at the beginning of the code cache. */
void thunks_make(struct translator *t);
/* Emits the addition of register COUNT to the instructions retired of the processor that P points
 * to. */
void thunks_add_count(struct emitter *e, enum host_register p, enum host_register count);

/* ---------------------------------------------------------------- called.c */

/* Where to go on, or NULL to leave (p->rip is set); and what T0, or for some thunks the level of
 * vector state that is loaded, is to be then. */
struct onward {
    const uint8_t *code;
    uint64_t result;
};
/* Called at site SITE, T0 being what the translation left there. */
typedef struct onward called_fn(struct processor *p, uint64_t site, uint64_t t0);
/* A TLB miss at T0: fills the TLB and finds the host address where the access is as plain as the
 * inline check supposes; leaves all others to the handler. */
called_fn called_slow_access;
/* The site's instruction is its handler's. */
called_fn called_handler;
/* The vector registers are needed, or those of x87: are they to be had? */
called_fn called_vectors, called_x87;
/* A jump that is not direct yet. */
called_fn called_link;

/* ---------------------------------------------------------------- link.c */

/* B is about to run: makes the jump that led here (t->pending), if one did, direct. */
void link_to(struct translator *t, const struct code_block *b);

/* ---------------------------------------------------------------- count.c */

/* I's handler is about to run. */
void count_handler(struct translator *t, const struct insn *i);
/* What kind of miss LINEAR is, if the TLB can be filled; before it is. */
enum processor_miss count_kind(struct processor *p, uint64_t linear, bool write);
/* And if it gave no host address; afterwards. */
enum processor_miss count_refused(struct processor *p, uint64_t linear);

/* ---------------------------------------------------------------- check.c */

struct checker *checker_new(void);
void checker_free(struct checker *c);
/* Runs B as translator_run does, then the interpreter, and compares.  False when B begins with an
 * instruction for its handler: nothing was done. */
bool checker_run(struct processor *p, struct code_block *b);
/* The translation is about to make the access of site S, which is at HOST. */
void checker_access(struct processor *p, const struct translate_site *s, uint8_t *host);
/* The flags that count where it ends. */
void checker_live(struct checker *c, uint32_t live);

/* ---------------------------------------------------------------- lowering */

enum late_kind {
    LATE_CHECK,  /* a check missed */
    LATE_CALL,   /* run the instruction by its handler */
    LATE_TARGET, /* the jump cache has it not */
    LATE_RESUME, /* where sites FIRST.. go on after it: load flags */
    LATE_CHAIN,  /* a taken forward branch inside the page */
    LATE_FAR,    /* a taken branch to another page */
    LATE_LINK,   /* one that is not direct yet */
    LATE_VECTOR, /* load the vector registers */
    LATE_X87,    /* and those of x87 */
    LATE_STALE,  /* entered though dead, or while something is asked for */
    LATE_GROUP,  /* the wide check of group TARGET missed */
};
/* Where the live status flags are.  A check or a handler leaves them in the frame, and they stay
 * there until an instruction needs them. */
enum flags_place { FLAGS_IN_EFLAGS = 1, FLAGS_IN_FRAME, FLAGS_IN_BOTH };
struct late {
    enum late_kind kind;
    uint8_t *from; /* the jump's distance */
    uint8_t *back; /* LATE_RESUME */
    uint32_t site, sites;
    unsigned n; /* the instruction's number */
    int64_t target;
    enum flags_place flags;
    bool t1_tlb;
};
#define LATE_MAX 256
/* Beyond that, those that branches to other pages make when they are emitted themselves: one for
 * each instruction of a block, and its end. */
#define LATE_LINKS 64
/* Of one instruction at most, with a group that begins with it. */
#define LATE_MOST 12

/* Bytes that a group of accesses may span: the wider, the more often it lies in two pages. */
#define GROUP_BYTES TLB_WIDE
/* Accesses that share a check: see lower-group.c. */
#define GROUP_INSNS     16
#define GROUPS_MAX      32
#define GROUP_NO_ACCESS (-1)
struct group {
    uint16_t first, last;       /* instructions of the block */
    unsigned reserved;          /* out-of-line code */
    int16_t reach[GROUP_INSNS]; /* from the lowest access, or GROUP_NO_ACCESS */
    bool write;
    int16_t recent;        /* the recent entry, as in a site */
    const uint8_t *resume; /* behind the wide check */
    uint8_t *unaligned;    /* the distance of a jump out of line, or NULL */
    /* What is known at its beginning, and what is true at its end. */
    unsigned vector;
    bool x87, t1_known;
    enum flags_place flags;
    const uint8_t *join;
};

/* Registers whose values are known if the block is about to run: see lower-guess.c. */
struct guess {
    uint32_t known;
    uint64_t value[16];
};

struct lowering {
    struct emitter e;
    struct processor *p;
    struct translator *t;
    struct code_block *b;
    uint64_t linear; /* of the page, when it was translated: a hint */
    const struct insn *i;
    unsigned n;            /* its number in the block */
    uint16_t live, after;  /* flags live before and after it */
    const uint16_t *lives; /* the same, by number */
    enum flags_place flags;
    unsigned vector;      /* the level that is known to be loaded */
    bool x87;             /* likewise x87 registers */
    bool shadow;          /* the last instruction was STI: see lower_end_shadow */
    unsigned recent;      /* the recent entry for the address in T0 */
    bool t1_known;        /* T1 is FRAME_TLB between instructions */
    bool t1_tlb;          /* and now */
    uint8_t *start;       /* entry from the run loop, flags in the frame */
    uint8_t *direct;      /* entry for jumps inside the page: flags in EFLAGS, T1 is FRAME_TLB */
    uint8_t *linked;      /* entry for direct jumps from other pages, flags in the frame */
    struct group *group;  /* the instruction is in it */
    bool shared;          /* the instruction's access was checked by the group */
    int32_t reach;        /* from T0 to the access */
    bool defer;           /* RSP is moved later, */
    int32_t deferred;     /* by so much */
    const uint8_t *begin; /* of what is inline, */
    const uint8_t *late_begin; /* and of what is out of line; NULL before that */
    size_t inline_bytes;
    struct late late[LATE_MAX + LATE_LINKS];
    unsigned lates;
    unsigned reserved; /* more of them, for groups out of line, */
    bool outside;      /* one of which this is */
    struct group groups[GROUPS_MAX];
    unsigned group_count;
    struct guess guess;
};

/* Emits instruction l->i and returns true, or emits nothing of use and returns false: it is left to
 * its handler then. */
typedef bool lower_fn(struct lowering *l);
lower_fn lower_copy, lower_lea, lower_nop, lower_divide, lower_vector, lower_x87;
lower_fn lower_bit_test, lower_string, lower_direction, lower_xlat;
lower_fn lower_push, lower_pop, lower_leave, lower_call, lower_call_indirect, lower_return;
lower_fn lower_jump, lower_jump_indirect, lower_jump_conditional, lower_loop;
lower_fn lower_pushf, lower_cli, lower_sti, lower_stac, lower_clac, lower_swapgs;
lower_fn lower_read_segment, lower_read_base, lower_write_base, lower_rdtsc, lower_read_cr;
lower_fn lower_syscall, lower_sysret, lower_iret;
/* Ends the shadow of STI, LIVE: flags count. */
void lower_end_shadow(struct lowering *l, bool live);

/* 32-bit code: addresses, stack and branch targets have 32 bits. */
static inline bool lower_is_32(const struct lowering *l)
{
    return (l->b->mode & MODE_DECODE) == DECODE_32;
}
static inline enum decode_mode lower_decode_mode(const struct lowering *l)
{
    return (enum decode_mode)(l->b->mode & MODE_DECODE);
}

static inline bool lower_is_fixed(const struct lowering *l)
{
    return code_block_is_fixed(l->b);
}
/* Fixed code looks for requests at indirect branches and at jumps backward to other pages, where
 * all other code does so at the entries of blocks: there are five times as many, and a kernel's
 * code has to be short. */
static inline bool lower_is_terse(const struct lowering *l)
{
    return code_block_is_fixed(l->b) && !l->t->count;
}

/* The host register of guest register R, or -1 for one that lives in the frame at HOME. */
int lower_register(unsigned r);
int32_t lower_home(unsigned r);
/* Puts guest register R into host register TO. */
void lower_fetch(struct lowering *l, enum host_register to, unsigned r);

/* Puts the status flags into the frame, if they are not there: EFLAGS may be overwritten then.  T1
 * is lost. */
void lower_save_flags(struct lowering *l);
/* Brings them back into EFLAGS, if instruction l->i needs them there: if it reads flags, or changes
 * some and others live on. */
void lower_load_flags(struct lowering *l);
/* Brings them back if they are only in the frame. */
void lower_use_flags(struct lowering *l);

/* Puts the linear address of the page's OFFSET into TO; flags stay. */
void lower_code_address(struct lowering *l, enum host_register to, int64_t offset);
/* Puts the status flags into the frame if they are live and the instruction's access needs a check
 * of its own. */
void lower_save_live(struct lowering *l);

/* Puts SIZE bytes, 4 or 8, of the effective address of l->i (without segment base; flags stay) into
 * TO, which may be a scratch register.  False when it cannot be encoded. */
bool lower_effective(struct lowering *l, enum host_register to, unsigned size);
/* From the linear address in T0 to the TLB's entry for it: T1 is such that the entry is at its
 * offset of index 0.  FRAME is the frame's distance from RSP.  Flags are lost. */
void lower_tlb_index(struct emitter *e, int32_t frame);
/* The linear address into T0.  Flags are lost. */
bool lower_linear(struct lowering *l);
/* Its second half: from the effective address in T0. */
void lower_add_base(struct lowering *l);
/* Makes T0 the host address of the stack slot below RSP. */
void lower_push_slot(struct lowering *l);
/* From the linear address in T0 to the host address of SIZE bytes, which are l->reach bytes from T0
 * then.  T1 and flags are lost.  Nothing of the instruction may have become visible before its last
 * check. */
void lower_check(struct lowering *l, unsigned size, bool write);
/* Chooses the recent entry for an address that lower_linear did not make: the stack's for what uses
 * the stack. */
void lower_choose_recent(struct lowering *l);
/* Its distance from FRAME_TLB. */
int16_t lower_recent(const struct lowering *l, bool write);
/* From the linear address in T0, T1 being FRAME_TLB, to its distance from the recent entry at
 * RECENT; ja follows for a miss of SIZE bytes. */
void lower_compare_recent(struct emitter *e, int32_t recent, unsigned size);
/* Emits what follows when the check of site SITE missed its recent entry. */
void lower_check_missed(struct lowering *l, uint32_t site);
/* The same for the wide check of group G; what follows runs if the TLB does not have it either. */
void lower_group_missed(struct lowering *l, const struct group *g);
/* Emits the thunk that looks in the TLB proper when a check has missed its recent entry. */
uint8_t *lower_check_thunk(struct emitter *e, const struct translator *t, unsigned size,
                           bool write);
/* The same for a group. */
uint8_t *lower_group_thunk(struct emitter *e, bool write);
/* S's check of LINEAR has missed its recent entry, as have many before: makes S look in the TLB at
 * once if it misses most of the time. */
void lower_check_weary(struct processor *p, struct translate_site *s, uint64_t linear);

/* T1 holds FRAME_TLB after the instruction: it was so after its last check, or, if it has none,
 * before it.  For lowerings in keeps_t1's list. */
void lower_keep_t1(struct lowering *l);

/* Around an instruction: begins a group, if one begins with it, and ends it. */
void lower_group_before(struct lowering *l);
void lower_group_after(struct lowering *l);
/* The current instruction is left to its handler: the group ends with it. */
void lower_group_cut(struct lowering *l);
/* Emits a group whose wide check missed, with a check for each access. */
void lower_group_late(struct lowering *l, const struct late *late);
/* Moves RSP by so many bytes more than was deferred, unless that is deferred, too. */
void lower_move_stack(struct lowering *l, int32_t by);
/* The general registers among I's operands and implicit ones, or those of them it writes. */
uint32_t lower_registers(const struct insn *i, bool written);

/* What registers hold before the block, and after I in it. */
void lower_guess_begin(struct lowering *l);
void lower_guess_after(struct lowering *l, const struct insn *i);
/* The linear address of I's operand, if it can be guessed. */
bool lower_guess_address(const struct lowering *l, const struct insn *i, uint64_t *linear);

/* Instruction N of the block. */
void lower_nth(struct lowering *l, unsigned n);
/* The lowering of I, or NULL. */
lower_fn *lower_of(const struct lowering *l, const struct insn *i);
/* The level that vector instruction I needs, and sees to it that it is loaded: flags are kept. */
unsigned lower_vector_level(const struct insn *i);
void lower_need_vector(struct lowering *l, unsigned level);

/* Sees to it that x87 registers are loaded; flags are kept. */
void lower_need_x87(struct lowering *l);
/* Moves x87 state between the host and struct processor, in RBP, if the frame says that it is in
 * registers.  Loading comes before that of vector registers, which it spoils with MXCSR; storing
 * comes after. */
void x87_emit_load(struct emitter *e);
void x87_emit_store(struct emitter *e);
/* C was called at site S: makes the pointers to the last x87 instruction those of what ran before.
 */
void x87_note_last(struct processor *p, const struct translate_site *s);

/* Makes a site for the current instruction and returns its number. */
uint32_t lower_site(struct lowering *l);
void lower_late(struct lowering *l, enum late_kind kind, uint8_t *from, uint32_t site);
/* Whether there is room for another instruction's; a handler needs none. */
bool lower_has_room(const struct lowering *l);
/* Emits the jump to THUNK with site SITE. */
void lower_thunk(struct lowering *l, uint8_t *thunk, uint32_t site);
/* Ends the path after COUNT instructions by going to the page offset TARGET, which may lie outside
 * the page.  FROM is the distance of the jump that leads here alone, and which may lead straight to
 * the target once that is known; or NULL. */
void lower_go(struct lowering *l, unsigned count, int64_t target, uint8_t *from);
/* Emits what site SITE's jump leads to until it is direct. */
void lower_not_linked(struct lowering *l, uint32_t site);
/* Adds COUNT to the instructions retired, if they are counted; T0 is lost if flags are to be KEEPt,
 * else flags. */
void lower_count(struct lowering *l, unsigned count, bool keep);
/* Adds COUNT whether they are counted or not, for a backward branch: SF tells whether the budget
 * lasts.  Flags are lost. */
void lower_count_loop(struct lowering *l, unsigned count);
/* Flags that may be read by the code at OFFSET of the block's page. */
uint16_t lower_live_at(struct lowering *l, int64_t offset, unsigned depth);

/* ---------------------------------------------------------------- trace.c */

/* NULL when HOW asks for nothing, or when memory is short. */
struct tracer *tracer_new(const struct processor_translator *how);
void tracer_free(struct tracer *r);
/* The translation that was asked for, or NULL. */
const struct processor_translation *tracer_kept(const struct tracer *r);
/* Gives [code, code + bytes) a name in perf's map, if there is one. */
void tracer_name(struct tracer *r, const uint8_t *code, size_t bytes, const char *name);
/* L begins a block, which RIP is at; what it emits from now on is of KIND, for instruction l->i; it
 * is done. */
void tracer_begin(struct lowering *l);
void tracer_part(struct lowering *l, enum processor_translation_kind kind);
void tracer_end(struct lowering *l);

static inline bool lower_in_page(int64_t offset)
{
    return offset >= 0 && offset < (int64_t)PAGE_BYTES;
}
static inline int64_t lower_branch_target(const struct insn *i)
{
    return (int64_t)i->offset + i->length + (int64_t)i->imm;
}

#endif
