/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small guests for tests of the processor: 16 MiB of memory, descriptor tables with a gate for
 * every vector whose handler is a HLT, and code assembled inside the test.  A guest stops by HLT:
 * in the code under test, or in a handler, which tells the vector.  With TRAPEZE_TEST_TRANSLATOR in
 * the environment all code is translated at once.
 */
#ifndef TRAPEZE_TESTS_GUEST_H
#define TRAPEZE_TESTS_GUEST_H

#include "processor/processor.h"

#include <glib.h>

/* Assembles TEXT (AT&T syntax) for BITS (16, 32 or 64) as bytes NAME..NAME_end.  It runs at CODE.
 */
#define GUEST_CODE(bits, name, text)                                                               \
    asm(".pushsection .rodata.guest, \"a\"\n.code" #bits "\n.globl " #name "\n.hidden " #name      \
        "\n" #name ":\n" text "\n.globl " #name "_end\n.hidden " #name "_end\n" #name              \
        "_end:\n.code64\n.popsection\n");                                                          \
    extern const uint8_t name[], name##_end[]
/* The address at run time of LABEL in the code NAME, for assembler text. */
#define AT(name, label) "(" label "-" #name "+0x8000)"

enum {
    GDT = 0x1000,
    IDT = 0x2000,
    TSS = 0x3000,
    LDT = 0x3800,
    PAGE_TABLES = 0x4000, /* PML4, PDPT, PD: 16 MiB in 2 MiB pages, for users too */
    CODE = 0x8000,
    DATA = 0xa000,
    HANDLERS = 0xc000,    /* 16 bytes a vector */
    STACK0 = 0x20000,     /* of CPL 0 code, and of events from CPL 0 */
    STACK_TSS = 0x28000,  /* by the TSS for CPL 0 */
    STACK_IST1 = 0x30008, /* misaligned on purpose */
    STACK3 = 0x38000,
    GUEST_BYTES = 16 << 20,
};

/* Selectors. */
enum {
    CODE64 = 0x08,
    DATA0 = 0x10,
    CODE32 = 0x18,
    CODE16 = 0x20,
    USER_DATA = 0x28 | 3,
    USER_CODE64 = 0x30 | 3,
    USER_CODE32 = 0x38 | 3,
    TSS_SELECTOR = 0x40, /* two slots */
    CONFORMING = 0x50,   /* of the mode's size, DPL 0 */
    NOT_PRESENT = 0x58,  /* data */
    READ_ONLY = 0x60,
    EXECUTE_ONLY = 0x68,
    EXPAND_DOWN = 0x70,   /* 32-bit, limit 0x9fff: valid from DATA on */
    SMALL = 0x78,         /* data at DATA, limit 0xff */
    LDT_SELECTOR = 0x80,  /* two slots */
    CALL_GATE = 0x90 | 3, /* two slots, DPL 3; set by the test */
    NOT_PRESENT_CODE = 0xa0,
    DATA16 = 0xa8, /* DATA0 with B = 0 */
    TSS16_SELECTOR = 0xb0,
    OUTSIDE = 0xfff8,
};

struct guest {
    struct memory *memory;
    struct processor *p;
    uint8_t *ram;
};

/* A guest about to run CODE at CPL 0, interrupts off. */
struct guest *guest_real(const uint8_t *code, const uint8_t *end);
struct guest *guest_32(const uint8_t *code, const uint8_t *end); /* protected mode, no paging */
struct guest *guest_64(const uint8_t *code, const uint8_t *end);
void guest_free(struct guest *g);
#define GUEST(mode, name) guest_##mode(name, name##_end)

/* Loads SEG from the GDT's SELECTOR without checks. */
void guest_segment(struct guest *g, unsigned seg, uint16_t selector);
/* Goes on at CPL 3, in 64-bit code when LNG, with STACK3. */
void guest_user(struct guest *g, bool lng);
void guest_gdt(struct guest *g, uint16_t selector, uint64_t raw);
/* The IDT gate of VECTOR: TYPE 5 to 15, for guests of their mode's gate size. */
void guest_gate(struct guest *g, unsigned vector, uint16_t selector, unsigned type, unsigned dpl,
                unsigned ist);
uint64_t guest_read(struct guest *g, uint64_t address, unsigned size);
void guest_write(struct guest *g, uint64_t address, uint64_t value, unsigned size);

/* Enters, and expects the exit REASON. */
#define guest_exit(g, reason)                                                                      \
    g_assert_cmpstr(exit_reason_name(vmx_enter((g)->p)), ==, exit_reason_name(reason))
/* Expects a HLT outside the handlers. */
void guest_halts(struct guest *g);
/* Expects VECTOR's handler to be entered with the frame's return RIP at CODE + OFFSET. */
void guest_faults(struct guest *g, unsigned vector, uint64_t offset);
void guest_faults_with(struct guest *g, unsigned vector, uint64_t offset, uint32_t error_code);

/* The frame that a 64-bit handler was given. */
struct guest_frame {
    uint64_t rip, cs, rflags, rsp, ss;
};
struct guest_frame guest_frame(struct guest *g, bool error_code);

#endif
