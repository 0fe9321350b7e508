/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that runs random cases of segmented protected mode: far transfers, gates, task switches,
 * returns, segment loads and checks, at every privilege level and in virtual-8086 mode.  Run by two
 * processors it must say the same.
 *
 * A case is one instruction, with random descriptors, TSSs, gates, flags and operands.  It ends in
 * an exception: where execution can go on there are INT3s.  Exceptions enter level 0 on the TSS's
 * stack or, from level 0, on the current one.  What the case left in the registers, on the stacks
 * and in the tables is summed up.
 *
 *   from=N count=N   the cases to run (0, 1000)
 *   each=N           a line each N cases (100); at 1, with details
 *
 * It ends with a write of 0 to port 0xf4.
 */
#include <stddef.h>
#include <stdint.h>

#define COM1       0x3f8
#define DEBUG_EXIT 0xf4

#define FLAG_ONE  0x2u
#define FLAG_NT   0x4000u
#define FLAG_RF   0x10000u
#define FLAG_VM   0x20000u
#define FLAG_IOPL 0x3000u

/* 64 KiB below 1 MiB, which virtual-8086 segments reach too.  Segments' bases are 0, 0x100, 0x200
 * or ARENA, and offsets may lose their upper half: all that leads to CODE in one of three places.
 */
enum {
    ARENA = 0x40000,
    GDT = ARENA,
    LDT = ARENA + 0x400,
    CASE_TSS = ARENA + 0x500,  /* of the task that the case starts in */
    OTHER_TSS = ARENA + 0x600, /* of the one it may switch to */
    OPERAND = ARENA + 0x700,   /* a far pointer */
    STACKS = ARENA + 0x800, /* 512 bytes each: for levels 0 to 2 by the TSS, and the case's own */
    CASE_STACK = STACKS + 0x700,
    SUMMED = 0x1000, /* of the arena */
    CODE = 0x8000,   /* in each of the three places: INT3s */
    CODE_SIZE = 0x7000,
};

/* Selectors in the case's GDT; what stands at RANDOM and above is random. */
enum {
    KERNEL_CODE = 0x08,
    KERNEL_DATA = 0x10,
    TSS_SELECTOR = 0x18,
    LDT_SELECTOR = 0x20,
    FAULT_TSS_SELECTOR = 0x28, /* of double faults */
    OTHER_SELECTOR = 0x30,
    BUSY_SELECTOR = 0x38, /* the same TSS, as IRET wants it */
    LEVEL_CODE = 0x40,    /* flat, of level 0, 1, 2, 3 */
    LEVEL_DATA = 0x60,
    RANDOM = 0x80,
    GDT_BYTES = 0x100,
    LDT_BYTES = 0x40,
};

struct tss {
    uint16_t link, reserved0;
    struct {
        uint32_t esp;
        uint16_t ss, reserved;
    } level[3];
    uint32_t cr3, eip, eflags, gpr[8];
    struct {
        uint16_t selector, reserved;
    } segment[6]; /* ES, CS, SS, DS, FS, GS */
    uint16_t ldt, reserved1, trap, map;
};

struct table {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

/* The words of a stack from which a case starts, and which its end leaves. */
struct frame {
    uint32_t gs, fs, es, ds;
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t vector, error;
    uint32_t eip, cs, eflags, old_esp, old_ss;
    uint32_t old_es, old_ds, old_fs, old_gs; /* of virtual-8086 mode */
};
struct frame stopped;
uint32_t stopped_ss;
static uint64_t idt[256];
static struct tss fault_tss;
static uint8_t fault_stack[1024];

/* Starts the case from FRAME, which stands on its stack; returns when it has stopped. */
void run_case(const struct frame *frame);
extern const uint8_t stubs[], double_fault[];

__asm__(".globl run_case, stubs, double_fault\n"
        "run_case:\n"
        "    mov 4(%esp), %eax\n"
        "    push %ebp\n push %ebx\n push %esi\n push %edi\n"
        "    mov %esp, monitor_stack\n"
        "    mov %eax, %esp\n"
        "    pop %gs\n pop %fs\n pop %es\n pop %ds\n"
        "    popa\n"
        "    add $8, %esp\n"
        "    iret\n"
        "stopped_case:\n"
        "    pusha\n"
        "    push %ds\n push %es\n push %fs\n push %gs\n"
        "    andl $0xfffeffff, 64(%esp)\n" /* RF, which not all set */
        "    mov $0x10, %eax\n"
        "    mov %eax, %ds\n"
        "    mov %eax, %es\n"
        "    mov %ss, %edx\n"
        "    mov %edx, stopped_ss\n"
        "    xor %ecx, %ecx\n"
        "1:  mov %ss:(%esp,%ecx,4), %eax\n"
        "    mov %eax, stopped(,%ecx,4)\n"
        "    inc %ecx\n"
        "    cmp $23, %ecx\n"
        "    jne 1b\n"
        "back_to_monitor:\n"
        "    mov $0x10, %eax\n"
        "    mov %eax, %ss\n"
        "    mov monitor_stack, %esp\n"
        "    mov %eax, %fs\n"
        "    mov %eax, %gs\n"
        "    pop %edi\n pop %esi\n pop %ebx\n pop %ebp\n"
        "    ret\n"
        "double_fault:\n"
        "    push $2\n popf\n" /* without NT */
        "    movl $8, stopped+48\n"
        "    jmp back_to_monitor\n"
        "    .balign 16\n"
        "stubs:\n"
        "    .set vector, 0\n"
        "    .rept 256\n"
        "    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)\n"
        "    push $0\n"
        "    .endif\n"
        "    push $vector\n"
        "    jmp stopped_case\n"
        "    .balign 16\n"
        "    .set vector, vector + 1\n"
        "    .endr\n"
        "    .local monitor_stack\n .comm monitor_stack, 4\n");

/* ---- the serial port ---- */

static void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void text(const char *s)
{
    for (; *s; s++) {
        while (!(inb(COM1 + 5) & 0x20))
            ;
        outb(COM1, (uint8_t)*s);
    }
}

static void field(const char *name, uint32_t value)
{
    char digits[9] = {0};

    for (int i = 0; i < 8; i++)
        digits[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    text(name);
    text(digits);
}

/* ---- random choices ---- */

static uint64_t random_state;

static uint32_t draw(void)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33);
}

static uint32_t pick(uint32_t n)
{
    return draw() % n;
}

static uint16_t level_code(unsigned level)
{
    return (uint16_t)(LEVEL_CODE + 8 * level + level);
}

static uint16_t level_data(unsigned level)
{
    return (uint16_t)(LEVEL_DATA + 8 * level + level);
}

static uint16_t any_selector(void)
{
    switch (pick(10)) {
    case 0:
        return (uint16_t)pick(4); /* null */
    case 1:
        return (uint16_t)(pick(LDT_BYTES / 8 + 1) * 8 | 4 | pick(4));
    case 2:
        return (uint16_t)(LEVEL_CODE + 8 * pick(8) + pick(4));
    case 3:
    case 4:
        return level_code(pick(4));
    case 5:
    case 6:
        return level_data(pick(4));
    case 7:
        return (uint16_t)(OTHER_SELECTOR + 8 * pick(2) + pick(4));
    default:
        return (uint16_t)(RANDOM + pick((GDT_BYTES - RANDOM) / 8 + 1) * 8 + pick(4));
    }
}

/* Of the GDT: with others QEMU raises #TS where the manual says #GP. */
static uint16_t any_tss_selector(void)
{
    return any_selector() & ~4;
}

static uint32_t any_target(void)
{
    return ARENA + CODE + 0x1000 + pick(0x1000);
}

static uint32_t any_flags(void)
{
    return FLAG_ONE | (draw() & (0xcd5 | FLAG_IOPL)) | (pick(4) ? 0 : FLAG_NT);
}

/* ---- what a case finds ---- */

static uint64_t *const gdt = (uint64_t *)GDT, *const ldt = (uint64_t *)LDT;

static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}

static uint64_t gate(uint32_t offset, uint16_t selector, unsigned access, unsigned parameters)
{
    return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)parameters << 32 |
           (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48;
}

/* Not here, because QEMU does not do as the manual says: accessed bits that are clear, limits of
 * code segments, TSSs in the LDT (TABLE). */
static uint64_t any_descriptor(const uint64_t *table)
{
    static const uint32_t bases[] = {0, 0, 0x100, 0x200, ARENA};
    static const uint8_t system[] = {2, 0, 8, 9, 10, 11, 13};
    unsigned rights = pick(4) << 5 | (pick(8) ? 0x80 : 0);
    uint32_t base = bases[pick(5)];

    switch (pick(8)) {
    case 0:
    case 1:
    case 2:
        return descriptor(base, 0xfffff, 0x19 | pick(4) << 1 | rights, 0xc);
    case 3:
    case 4:
        return descriptor(base, pick(4) ? 0xfffff : ARENA / 4096 + pick(8),
                          0x11 | (pick(6) ? 2 : pick(4) << 1) | rights, 0xc);
    case 5:
        return gate(any_target(), any_selector(), 0x0c | rights, pick(3) ? 0 : pick(32));
    case 6:
        return pick(2) ? gate(0, any_tss_selector(), 0x05 | rights, 0)
                       : gate(any_target() & 0xffff, any_selector(), 0x04 | rights, pick(4));
    default:
        return descriptor(OTHER_TSS, 0x60 + pick(16),
                          system[table == gdt ? pick(sizeof system) : 0] | rights, 0);
    }
}

static void make_descriptors(void)
{
    for (unsigned n = 0; n < LDT_BYTES / 8; n++)
        ldt[n] = any_descriptor(ldt);
    for (unsigned n = RANDOM / 8; n < GDT_BYTES / 8; n++)
        gdt[n] = any_descriptor(gdt);
    gdt[0] = 0;
    gdt[KERNEL_CODE / 8] = descriptor(0, 0xfffff, 0x9b, 0xc);
    gdt[KERNEL_DATA / 8] = descriptor(0, 0xfffff, 0x93, 0xc);
    gdt[TSS_SELECTOR / 8] = descriptor(CASE_TSS, 0x67, 0x89, 0);
    gdt[LDT_SELECTOR / 8] = descriptor(LDT, LDT_BYTES - 1, 0x82, 0);
    gdt[FAULT_TSS_SELECTOR / 8] = descriptor((uint32_t)&fault_tss, 0x67, 0x89, 0);
    gdt[OTHER_SELECTOR / 8] = descriptor(OTHER_TSS, 0x67, 0x89 | pick(4) << 5, 0);
    gdt[BUSY_SELECTOR / 8] = descriptor(OTHER_TSS, 0x67, 0x8b | pick(4) << 5, 0);
    for (unsigned level = 0; level < 4; level++) {
        gdt[LEVEL_CODE / 8 + level] = descriptor(0, 0xfffff, 0x9b | level << 5, 0xc);
        gdt[LEVEL_DATA / 8 + level] = descriptor(0, 0xfffff, 0x93 | level << 5, 0xc);
    }
}

/* Vectors of software interrupts with gates of all kinds. */
enum { RANDOM_VECTORS = 0x20, RANDOM_VECTOR_COUNT = 16 };

/* From virtual-8086 mode only to level 0: QEMU lets others pass. */
static void make_gates(int v86)
{
    static const uint8_t types[] = {5, 6, 7, 14, 14, 15, 15, 12};

    for (unsigned n = 0; n < RANDOM_VECTOR_COUNT; n++) {
        unsigned type = types[pick(8)];
        idt[RANDOM_VECTORS + n] =
            gate(type & 8 ? any_target() : any_target() & 0xffff,
                 type == 5 ? any_tss_selector()
                 : v86     ? level_code(0)
                           : any_selector(),
                 type | (pick(3) ? 3 : pick(4)) << 5 | (pick(8) ? 0x80 : 0), 0);
    }
}

/* A task that starts somewhere among the INT3s: at any level, or in virtual-8086 mode.  Its
 * segments are good, for QEMU's faults of a new task do not have its EIP, and its T flag is clear,
 * for QEMU does not trap. */
static void make_task(struct tss *t)
{
    unsigned level = pick(4);

    *t = (struct tss){.link = any_selector(),
                      .eip = any_target(),
                      .eflags = any_flags(),
                      .ldt = pick(3) ? 0 : LDT_SELECTOR,
                      .map = 0x68};
    for (unsigned n = 0; n < 3; n++) {
        t->level[n].esp = STACKS + 0x200 * n + 0x1c0;
        t->level[n].ss = n == 0 || pick(4) ? level_data(n) : any_selector();
    }
    for (unsigned n = 0; n < 8; n++)
        t->gpr[n] = draw();
    t->gpr[4] = CASE_STACK;
    for (unsigned n = 0; n < 6; n++)
        t->segment[n].selector = n == 2 || pick(4) ? level_data(level) : 0;
    t->segment[1].selector = level_code(level);
    if (pick(6) == 0) {
        t->eflags |= FLAG_VM;
        t->eip &= 0xffff;
        for (unsigned n = 0; n < 6; n++)
            t->segment[n].selector = ARENA >> 4;
    }
}

static void make_fault_tss(void)
{
    fault_tss = (struct tss){.eip = (uint32_t)double_fault, .eflags = FLAG_ONE};
    fault_tss.gpr[4] = (uint32_t)(fault_stack + sizeof fault_stack);
    for (unsigned n = 0; n < 6; n++)
        fault_tss.segment[n].selector = n == 1 ? KERNEL_CODE : KERNEL_DATA;
}

/* What returns at LEVEL may find, or POPS: a frame of WIDTH bytes a word.  To virtual-8086 mode
 * only from there or from level 0: QEMU goes there from any. */
static void make_stack(unsigned level, unsigned width, int pops)
{
    uint32_t frame[] = {any_target(),      any_selector(), any_flags(),
                        CASE_STACK - 0x40, any_selector(), any_selector(),
                        any_selector(),    any_selector(), any_selector()};
    unsigned kind = level == 4 ? 1 : pick(3);

    if (kind == 1 && level != 0 && level != 4)
        kind = 0;
    if (pops) {
        frame[0] = any_selector();
    } else if (kind == 0) { /* a far return's, which has no flags */
        frame[2] = frame[3];
        frame[3] = frame[4];
    } else if (kind == 1) { /* to virtual-8086 mode */
        frame[0] &= 0xffff;
        frame[1] = ARENA >> 4;
        if (level == 0)
            frame[2] |= FLAG_VM;
        frame[4] = ARENA >> 4;
    }
    for (unsigned n = 0; n < sizeof frame / sizeof frame[0]; n++)
        for (unsigned byte = 0; byte < width; byte++)
            ((uint8_t *)CASE_STACK)[n * width + byte] = (uint8_t)(frame[n] >> 8 * byte);
}

/* ---- the instruction ---- */

static uint8_t *code;

static void put(unsigned byte)
{
    *code++ = (uint8_t)byte;
}

static void put32(uint32_t value, unsigned bytes)
{
    while (bytes--) {
        put(value);
        value >>= 8;
    }
}

/* Instructions whose bytes are all there is: from the stack, from AX, from a far pointer at EBX. */
static const struct {
    uint8_t length, byte[3];
} plain[] = {
    {1, {0xcb}},             /* LRET */
    {1, {0xcb}},             /* twice as often */
    {1, {0xcf}},             /* IRET */
    {1, {0xcf}},             /* likewise */
    {3, {0xca, 8, 0}},       /* LRET 8 */
    {1, {0x1f}},             /* POP DS */
    {1, {0x07}},             /* POP ES */
    {1, {0x17}},             /* POP SS */
    {2, {0x0f, 0xa1}},       /* POP FS */
    {2, {0x0f, 0xa9}},       /* POP GS */
    {1, {0x9d}},             /* POPF */
    {2, {0x8e, 0xd8}},       /* MOV DS, AX */
    {2, {0x8e, 0xc0}},       /* MOV ES, AX */
    {2, {0x8e, 0xd0}},       /* MOV SS, AX */
    {2, {0x8e, 0xe8}},       /* MOV GS, AX */
    {3, {0x0f, 0x00, 0xd0}}, /* LLDT AX */
    {3, {0x0f, 0x00, 0xd8}}, /* LTR AX */
    {3, {0x0f, 0x00, 0xe0}}, /* VERR AX */
    {3, {0x0f, 0x00, 0xe8}}, /* VERW AX */
    {3, {0x0f, 0x02, 0xc8}}, /* LAR ECX, EAX */
    {3, {0x0f, 0x03, 0xc8}}, /* LSL ECX, EAX */
    {2, {0x63, 0xd0}},       /* ARPL AX, DX */
    {2, {0xff, 0x1b}},       /* LCALL [EBX] */
    {2, {0xff, 0x1b}},       /* likewise */
    {2, {0xff, 0x2b}},       /* LJMP [EBX] */
    {2, {0xc4, 0x0b}},       /* LES ECX, [EBX] */
    {3, {0x0f, 0xb2, 0x0b}}, /* LSS ECX, [EBX] */
    {3, {0x0f, 0xb4, 0x0b}}, /* LFS ECX, [EBX] */
    {1, {0xfa}},             /* CLI */
    {1, {0xfb}},             /* STI */
    {1, {0x9c}},             /* PUSHF */
    {1, {0xce}},             /* INTO */
    {1, {0xf4}},             /* HLT: #GP, but at level 0 it would halt */
};
enum { FIRST_POP = 5, LAST_POP = 9, PLAIN = sizeof plain / sizeof plain[0] };

/* Puts the case's instruction, of KIND, at AT. */
static void make_instruction(uint32_t at, unsigned kind, int prefix, unsigned width,
                             uint32_t target, uint16_t selector)
{
    code = (uint8_t *)at;
    if (prefix)
        put(0x66);
    if (kind < PLAIN) {
        for (unsigned n = 0; n < plain[kind].length; n++)
            put(plain[kind].byte[n]);
    } else if (kind < PLAIN + 2) {
        put(kind == PLAIN ? 0x9a : 0xea); /* LCALL, LJMP */
        put32(target, width);
        put32(selector, 2);
    } else {
        put(0xcd); /* INT */
        put(RANDOM_VECTORS + pick(RANDOM_VECTOR_COUNT));
    }
}

/* ---- a case ---- */

static void load_tables(void)
{
    const struct table to_gdt = {GDT_BYTES - 1, GDT}, to_idt = {sizeof idt - 1, (uint32_t)idt};

    __asm__ volatile("lgdt %0\n lidt %1" ::"m"(to_gdt), "m"(to_idt));
    __asm__ volatile("ljmp $0x08, $1f\n 1: mov %w0, %%ds\n mov %w0, %%es\n mov %w0, %%ss\n"
                     "mov %w0, %%fs\n mov %w0, %%gs\n clts\n ltr %w1\n lldt %w2" ::"r"(KERNEL_DATA),
                     "r"(TSS_SELECTOR), "r"(LDT_SELECTOR));
}

static uint32_t sum(uint32_t h, const void *data, unsigned size)
{
    const uint8_t *p = data;

    while (size--)
        h = (h ^ *p++) * 16777619u;
    return h;
}

static void fill(uint32_t at, uint8_t byte, uint32_t size)
{
    while (size--)
        *(volatile uint8_t *)at++ = byte;
}

/* Runs case N; the sum of what it left.  TELL: with details. */
static uint32_t run_one(uint32_t n, int tell)
{
    random_state = n * 0x9e3779b97f4a7c15ull;
    draw();
    unsigned level = pick(5); /* 4: virtual-8086 mode */
    int v86 = level == 4, prefix = pick(6) == 0;
    unsigned width = v86 == prefix ? 4 : 2, kind = pick(PLAIN + 6);
    if (kind == PLAIN - 1 && level == 0)
        kind = 0;
    uint32_t at = any_target(), target = any_target();
    uint16_t selector = any_selector();

    fill(ARENA, 0, SUMMED);
    make_descriptors();
    make_gates(v86);
    make_task((struct tss *)CASE_TSS);
    make_task((struct tss *)OTHER_TSS);
    make_fault_tss();
    make_stack(level, width, kind >= FIRST_POP && kind <= LAST_POP);
    if (v86) {
        target &= 0xffff;
        selector = ARENA >> 4;
    }
    *(uint32_t *)OPERAND = target;
    *(uint16_t *)(OPERAND + width) = selector;
    load_tables();

    /* Level 0's frame has no stack pointer: IRET leaves it at the operands. */
    struct frame *f = (struct frame *)(CASE_STACK - offsetof(struct frame, old_esp));
    if (level != 0)
        f = (struct frame *)(CASE_STACK - 0x80);
    uint32_t keep[2] = {f->old_esp, f->old_ss};
    *f = (struct frame){.gs = level_data(3),
                        .fs = 0,
                        .es = level_data(v86 ? 0 : level),
                        .ds = level_data(v86 ? 0 : level),
                        .eax = any_selector() | 8, /* never null: QEMU's LTR takes that */
                        .ebx = OPERAND,
                        .ecx = draw(),
                        .edx = any_selector(),
                        .edi = OPERAND,
                        .esi = OPERAND,
                        .eip = at,
                        .eflags = any_flags()};
    f->cs = level_code(level & 3);
    f->old_esp = CASE_STACK;
    f->old_ss = level_data(level & 3);
    if (level == 0) {
        f->old_esp = keep[0];
        f->old_ss = keep[1];
    } else if (v86) {
        f->eflags = (f->eflags | FLAG_VM) & ~FLAG_NT;
        f->cs = f->old_ss = f->old_es = f->old_ds = f->old_fs = f->old_gs = ARENA >> 4;
        f->eip = at & 0xffff;
        f->old_esp &= 0xffff;
        f->ebx &= 0xffff;
    }
    make_instruction(at, kind, prefix, width, target, selector);
    stopped = (struct frame){0};
    run_case(f);
    fill(at, 0xcc, 8);

    uint16_t tr, ldtr;
    __asm__ volatile("str %0\n sldt %1" : "=r"(tr), "=r"(ldtr));
    ((struct tss *)CASE_TSS)->eflags &= ~FLAG_RF;
    ((struct tss *)OTHER_TSS)->eflags &= ~FLAG_RF;
    uint32_t words = 23;
    if (!(stopped.eflags & FLAG_VM))
        words = stopped.cs & 3 ? 19 : 17;
    if (stopped.vector == 8)
        words = 0;
    uint32_t registers = sum(2166136261u, &stopped, 4 * words);
    registers = sum(registers, &tr, 2);
    registers = sum(registers, &ldtr, 2);
    uint32_t memory = sum(2166136261u, (void *)ARENA, SUMMED);
    if (tell) {
        field("case ", n);
        field(" kind ", kind);
        field(" level ", level);
        field(" width ", width);
        field(" from ", f->eip);
        field(" ax ", f->eax);
        field(" vector ", stopped.vector);
        field(" error ", stopped.error);
        field(" at ", stopped.cs);
        field(":", stopped.eip);
        field(" flags ", stopped.eflags);
        field(" stack ", words > 17 ? stopped.old_ss : stopped_ss);
        field(":", words > 17 ? stopped.old_esp : 0);
        field(" tr ", tr);
        field(" ldtr ", ldtr);
        field(" registers ", registers);
        field(" memory ", memory);
        text("\n");
    }
    return registers * 31 + memory;
}

/* The number behind NAME in the command line TEXT, or VALUE. */
static uint32_t option(const char *text, const char *name, uint32_t value)
{
    for (; *text; text++) {
        const char *t = text, *s = name;

        while (*s && *s == *t)
            s++, t++;
        if (*s)
            continue;
        for (value = 0; *t >= '0' && *t <= '9'; t++)
            value = value * 10 + (uint32_t)(*t - '0');
        return value;
    }
    return value;
}

void image_main(uint32_t magic, const uint32_t *info);
void image_main(uint32_t magic, const uint32_t *info)
{
    const char *words = (const char *)info[4];
    uint32_t from = option(words, "from=", 0), count = option(words, "count=", 1000);
    uint32_t each = option(words, "each=", 100), total = 0;

    (void)magic;

    outb(0x21, 0xff); /* no interrupts */
    outb(0xa1, 0xff);
    for (unsigned place = 0; place < 3; place++)
        fill(place * ARENA + CODE, 0xcc, CODE_SIZE);
    for (unsigned v = 0; v < 256; v++)
        idt[v] = gate((uint32_t)(stubs + 16 * v), KERNEL_CODE, 0x8e | (v == 3 ? 0x60 : 0), 0);
    idt[8] = gate(0, FAULT_TSS_SELECTOR, 0x85, 0);
    for (uint32_t n = from; n < from + count; n++) {
        total = total * 31 + run_one(n, each == 1);
        if ((n + 1) % each == 0 && each != 1) {
            field("up to ", n);
            field(" sum ", total);
            text("\n");
            total = 0;
        }
    }
    outb(DEBUG_EXIT, 0);
    for (;;)
        __asm__ volatile("hlt");
}
