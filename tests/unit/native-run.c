/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "native-run.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* At FRAME_START: what the generated code and the signal handler share.  At a fixed address because
 * no register is left to point to it. */
struct frame {
    struct native_state in, out;
    uint64_t start;      /* where to begin */
    uint32_t far_offset; /* the same, as a far pointer */
    uint16_t far_selector;
    uint64_t host_rsp;
    uint64_t stop; /* enum native_stop */
    uint64_t running;
    uint64_t rip, vector, error_code, cr2;
    uint64_t land_fault; /* address of generated code */
    uint32_t mxcsr;      /* the ABI's default */
    uint8_t *scratch;    /* the scratch area's writable view */
};
#define FRAME              ((struct frame *)FRAME_START)
#define STUBS_START        (FRAME_START + 2 * PAGE_BYTES)
#define SIGNAL_STACK       (FRAME_START + 4 * PAGE_BYTES)
#define SIGNAL_STACK_BYTES (64 * PAGE_BYTES)
#define AREA_END           (SIGNAL_STACK + SIGNAL_STACK_BYTES)
#define FIELD(f)           ((uint32_t)(FRAME_START + offsetof(struct frame, f)))

/* ---------------------------------------------------------------- generated code */

struct emitter {
    uint8_t *at;
};
static void emit(struct emitter *e, const void *bytes, size_t size)
{
    memcpy(e->at, bytes, size);
    e->at += size;
}
#define EMIT(e, ...)                                                                               \
    do {                                                                                           \
        const uint8_t bytes_[] = {__VA_ARGS__};                                                    \
        emit(e, bytes_, sizeof(bytes_));                                                           \
    } while (0)
static void emit_u32(struct emitter *e, uint32_t value)
{
    emit(e, &value, 4);
}
/* MOV between register R and the 8 bytes at ADDRESS: OPCODE 8B loads, 89 stores. */
static void emit_mov(struct emitter *e, uint8_t opcode, unsigned r, uint32_t address)
{
    EMIT(e, (uint8_t)(0x48 | (r >> 3) << 2), opcode, (uint8_t)(0x04 | (r & 7) << 3), 0x25);
    emit_u32(e, address);
}

enum { RSP = 4 };

/* Linux's selectors. */
enum { USER_DATA = 0x2b, USER_CODE64 = 0x33, USER_CODE32 = 0x23 };

/* The way in, called as a C function: loads FRAME->in and jumps to FRAME->start.  32-bit code needs
 * DS and ES, which 64-bit Linux leaves null; they do no harm afterwards. */
static uint8_t *emit_enter(struct emitter *e, bool compat)
{
    uint8_t *entry = e->at;
    EMIT(e, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx ... r15 */
    emit_mov(e, 0x89, RSP, FIELD(host_rsp));
    if (compat) /* mov eax, USER_DATA; mov ds, eax; mov es, eax */
        EMIT(e, 0xb8, USER_DATA, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0);
    EMIT(e, 0xb8, 7, 0, 0, 0, 0x31, 0xd2); /* mov eax, 7; xor edx, edx */
    EMIT(e, 0x48, 0x0f, 0xae, 0x2c, 0x25); /* xrstor64 */
    emit_u32(e, FIELD(in.xsave));
    EMIT(e, 0xff, 0x34, 0x25); /* push */
    emit_u32(e, FIELD(in.rflags));
    EMIT(e, 0x9d); /* popfq */
    for (unsigned r = 0; r < 16; r++)
        emit_mov(e, 0x8b, r, FIELD(in.gpr) + 8 * r);
    EMIT(e, 0xff, compat ? 0x2c : 0x24, 0x25); /* jmp, far or near */
    emit_u32(e, compat ? FIELD(far_offset) : FIELD(start));
    return entry;
}
/* The way out after STOP_PAD, which goes on into that after STOP_NEXT, that into that of a fault,
 * whose registers the signal handler has stored. */
static void emit_leave(struct emitter *e, uint8_t **pad, uint8_t **next, uint8_t **fault)
{
    *pad = e->at;
    EMIT(e, 0x48, 0xc7, 0x04, 0x25); /* mov qword, STOP_PAD */
    emit_u32(e, FIELD(stop));
    emit_u32(e, STOP_PAD);
    *next = e->at;
    for (unsigned r = 0; r < 16; r++)
        emit_mov(e, 0x89, r, FIELD(out.gpr) + 8 * r);
    emit_mov(e, 0x8b, RSP, FIELD(host_rsp));
    EMIT(e, 0x9c, 0x8f, 0x04, 0x25); /* pushfq; pop */
    emit_u32(e, FIELD(out.rflags));
    *fault = e->at;
    EMIT(e, 0xfc, 0xb8, 7, 0, 0, 0, 0x31, 0xd2); /* cld; mov eax, 7; xor edx, edx */
    EMIT(e, 0x48, 0x0f, 0xae, 0x24, 0x25);       /* xsave64 */
    emit_u32(e, FIELD(out.xsave));
    EMIT(e, 0xdb, 0xe3, 0xc5, 0xf8, 0x77, 0x0f, 0xae, 0x14, 0x25); /* fninit; vzeroupper; ldmxcsr */
    emit_u32(e, FIELD(mxcsr));
    EMIT(e, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b,
         0xc3); /* pop r15 ...; ret */
}

/* Pointers that the slots jump through lie at the start of the stubs' page. */
struct stub_page {
    uint64_t land_next, land_pad;
    uint8_t *enter, *enter_compat;
};
#define STUBS ((struct stub_page *)STUBS_START)

static void emit_jump(uint8_t *at, const uint64_t *through, bool compat)
{
    if (compat) { /* jmp far */
        uint32_t target = (uint32_t)*through;
        at[0] = 0xea;
        memcpy(at + 1, &target, 4);
        at[5] = USER_CODE64;
        at[6] = 0;
        return;
    }
    int32_t distance = (int32_t)((intptr_t)through - (intptr_t)(at + 6));
    at[0] = 0xff;
    at[1] = 0x25;
    memcpy(at + 2, &distance, 4);
}

/* ---------------------------------------------------------------- signals */

/* Order of the general registers in a signal frame. */
static const int greg_order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15};

/* Stores what the fault left and goes on at land_fault, with vector state as at the fault. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)info;
    if (!FRAME->running) {
        signal(number, SIG_DFL);
        return;
    }
    for (unsigned r = 0; r < 16; r++)
        FRAME->out.gpr[r] = (uint64_t)gregs[greg_order[r]];
    FRAME->out.rflags = (uint64_t)gregs[REG_EFL];
    FRAME->stop = STOP_FAULT;
    FRAME->rip = (uint64_t)gregs[REG_RIP];
    FRAME->vector = (uint64_t)gregs[REG_TRAPNO];
    FRAME->error_code = (uint64_t)gregs[REG_ERR];
    FRAME->cr2 = (uint64_t)gregs[REG_CR2];
    FRAME->running = 0;
    gregs[REG_EFL] &= ~0x400;
    gregs[REG_RIP] = (greg_t)FRAME->land_fault;
    gregs[REG_RSP] = (greg_t)FRAME->host_rsp;
    gregs[REG_CSGSFS] = (gregs[REG_CSGSFS] & ~0xffff) | USER_CODE64;
}

static const int fault_signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP};

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31) /* linux/signal.h */
#endif

/* Signals have a stack of their own: RSP is the instruction's, and may even point into that stack,
 * which would make the kernel go on there. */
static bool catch_faults(void)
{
    stack_t stack = {.ss_sp = (void *)SIGNAL_STACK,
                     .ss_size = SIGNAL_STACK_BYTES,
                     .ss_flags = (int)SS_AUTODISARM};
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    if (sigaltstack(&stack, NULL))
        return false;
    for (size_t n = 0; n < ARRAY_SIZE(fault_signals); n++)
        if (sigaction(fault_signals[n], &action, NULL))
            return false;
    return true;
}

/* ---------------------------------------------------------------- the area */

static bool map_at(uint64_t address, uint64_t size, int protection, int fd)
{
    void *want = (void *)address;
    int flags = MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    return mmap(want, size, protection, flags, fd, 0) == want;
}

static bool host_has_avx(void)
{
    uint32_t a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 7) == 7;
}

bool native_open(uint64_t gs_base, uint64_t *fs_base)
{
    int fd = memfd_create("scratch", 0);
    int code = PROT_READ | PROT_WRITE | PROT_EXEC;
    if (!host_has_avx() || fd < 0 || ftruncate(fd, SCRATCH_BYTES) ||
        !map_at(AREA_START, GUARD_BYTES, PROT_NONE, -1) ||
        !map_at(SCRATCH_START, SCRATCH_BYTES, PROT_READ | PROT_WRITE, fd) ||
        !map_at(SCRATCH_END, GUARD_BYTES, PROT_NONE, -1) ||
        !map_at(CODE_START, CODE_BYTES, code, -1) ||
        !map_at(CODE_START + CODE_BYTES, GUARD_BYTES, PROT_NONE, -1) ||
        !map_at(FRAME_START, 4 * PAGE_BYTES, code, -1) ||
        !map_at(SIGNAL_STACK, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, -1))
        return false;
    mprotect((void *)(SCRATCH_START + WRITABLE_BYTES), SCRATCH_BYTES - WRITABLE_BYTES, PROT_READ);
    /* A page not yet touched faults otherwise than one that may only be read. */
    for (uint64_t at = SCRATCH_START; at < SCRATCH_END; at += PAGE_BYTES)
        (void)*(volatile uint8_t *)at;
    FRAME->scratch = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (FRAME->scratch == MAP_FAILED || !catch_faults())
        return false;

    struct emitter e = {(uint8_t *)STUBS_START + 64};
    uint8_t *pad, *next, *fault;
    STUBS->enter = emit_enter(&e, false);
    STUBS->enter_compat = emit_enter(&e, true);
    emit_leave(&e, &pad, &next, &fault);
    STUBS->land_next = (uintptr_t)next;
    STUBS->land_pad = (uintptr_t)pad;
    FRAME->land_fault = (uintptr_t)fault;
    FRAME->mxcsr = 0x1f80;
    return !syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base) &&
           !syscall(SYS_arch_prctl, ARCH_GET_FS, fs_base);
}

void native_close(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    for (size_t n = 0; n < ARRAY_SIZE(fault_signals); n++)
        signal(fault_signals[n], SIG_DFL);
    sigaltstack(&none, NULL);
    munmap(FRAME->scratch, SCRATCH_BYTES);
    munmap((void *)AREA_START, AREA_END - AREA_START);
}

uint8_t *native_scratch(void)
{
    return FRAME->scratch;
}

uint8_t *native_slot(unsigned slot)
{
    return (uint8_t *)slot_address(slot);
}

void native_place(unsigned slot, const uint8_t *bytes, unsigned length, bool compat)
{
    uint8_t *at = native_slot(slot);
    memcpy(at, bytes, length);
    emit_jump(at + length, &STUBS->land_next, compat);
    emit_jump(at + SLOT_PAD, &STUBS->land_pad, compat);
}

void native_run(unsigned slot, const struct native_state *state, bool compat,
                struct native_outcome *out)
{
    FRAME->in = *state;
    FRAME->far_offset = (uint32_t)slot_address(slot);
    FRAME->far_selector = USER_CODE32;
    FRAME->start = slot_address(slot);
    FRAME->stop = STOP_NEXT;
    memset(FRAME->out.xsave + 512, 0, 64);
    FRAME->running = 1;
    ((void (*)(void))(compat ? STUBS->enter_compat : STUBS->enter))();
    FRAME->running = 0;
    out->state = FRAME->out;
    out->stop = (enum native_stop)FRAME->stop;
    out->rip = FRAME->rip;
    out->vector = (unsigned)FRAME->vector;
    out->error_code = (unsigned)FRAME->error_code;
    out->cr2 = FRAME->cr2;
}
