/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vector-fixture.h"

#include <stdlib.h>

struct fixture fix;

/* ---------------------------------------------------------------- in place of core/ and system/ */

_Noreturn void raise_fault(struct processor *p, unsigned vector, uint32_t error_code)
{
    p->fault_vector = vector;
    p->fault_error_code = error_code;
    longjmp(p->unwind, 1);
}
_Noreturn void raise_gp(struct processor *p)
{
    raise_fault(p, VECTOR_GP, 0);
}
_Noreturn void raise_ud(struct processor *p)
{
    raise_fault(p, VECTOR_UD, 0);
}
_Noreturn void vm_exit(struct processor *p, unsigned reason, uint64_t qualification)
{
    p->vmcs.exit_reason = reason;
    p->vmcs.exit_qualification = qualification;
    raise_fault(p, 255, 0);
}
const struct insn *exec_invalid(struct processor *p, const struct insn *i)
{
    (void)i;
    raise_ud(p);
}
void replay_commit(struct processor *p)
{
    p->replay.recorded = p->replay.next = 0;
}
uint64_t segment_linear_slow(struct processor *p, unsigned seg, uint64_t offset, unsigned size,
                             unsigned access)
{
    (void)size, (void)access;
    return p->segment[seg].base + offset;
}
static uint8_t *flat(struct processor *p, uint64_t linear, unsigned size)
{
    uint64_t start = (uint64_t)(uintptr_t)fix.native->data;
    if (!range_inside(linear - start, size, NATIVE_DATA))
        raise_fault(p, VECTOR_PF, 0);
    return (uint8_t *)(uintptr_t)linear;
}
void mem_probe(struct processor *p, uint64_t linear, unsigned size, unsigned access)
{
    (void)access;
    flat(p, linear, size);
}
void mem_read_bytes(struct processor *p, uint64_t linear, void *to, unsigned size)
{
    memcpy(to, flat(p, linear, size), size);
}
void mem_write_bytes(struct processor *p, uint64_t linear, const void *from, unsigned size)
{
    memcpy(flat(p, linear, size), from, size);
}
uint64_t mem_read_slow(struct processor *p, uint64_t linear, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, flat(p, linear, size), size);
    return value;
}
void mem_write_slow(struct processor *p, uint64_t linear, uint64_t value, unsigned size)
{
    memcpy(flat(p, linear, size), &value, size);
}

/* Makes the data pages hit the TLB, or miss it so that bounce buffers are used. */
void set_tlb(bool hit)
{
    memset(fix.p->tlb, 0xff, sizeof(*fix.p->tlb));
    for (unsigned n = 0; hit && n < NATIVE_DATA / PAGE_BYTES; n++) {
        uint64_t page = (uint64_t)(uintptr_t)fix.native->data + n * PAGE_BYTES;
        struct tlb_entry *e = tlb_entry(fix.p, page);
        e->read = e->write = page;
        e->host = page;
    }
}

/* ---------------------------------------------------------------- our side */

void set_guest(const struct native_state *s)
{
    struct processor *p = fix.p;
    memcpy(p->gpr, s->gpr, sizeof(s->gpr));
    p->gpr[REG_NONE] = 0;
    p->gpr[REG_CODE] = CODE_BASE;
    processor_set_rflags(p, (uint32_t)s->flags);
    g_assert_cmpint(processor_set_xsave(p, s->xsave, XSAVE_BYTES), ==, 0);
    memcpy(&p->vector.mxcsr, s->xsave + 24, 4); /* which XRSTOR loads whatever XSTATE_BV says */
}

void get_guest(struct native_state *s)
{
    memset(s, 0, sizeof(*s));
    memcpy(s->gpr, fix.p->gpr, sizeof(s->gpr));
    s->flags = processor_rflags(fix.p);
    processor_get_xsave(fix.p, s->xsave, XSAVE_BYTES);
}

/* Runs I, which has been decoded, on the processor's present state. */
unsigned run_guest(struct insn *i)
{
    volatile unsigned fault = NATIVE_NO_FAULT;
    struct processor *p = fix.p;
    p->insn = i;
    i->exec = vector_bind(p, i);
    if (setjmp(p->unwind) == 0)
        g_assert_true(i->exec(p, i) == i + 1);
    else
        fault = p->fault_vector;
    return fault;
}

/* Decodes and runs up to 15 bytes. */
unsigned run_bytes(const uint8_t *bytes, enum decode_mode mode)
{
    struct insn i[2] = {0};
    g_assert_cmpint(insn_decode(bytes, 15, mode, 0, i), ==, DECODE_OK);
    g_assert_cmpint(i[0].attr->class, ==, CLASS_VECTOR);
    return run_guest(i);
}

/* Long mode with everything enabled. */
void reset_guest(void)
{
    struct processor *p = fix.p;
    p->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG;
    p->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PAE;
    p->mode = DECODE_64 | MODE_LONG | MODE_PAGING;
    p->cpl = 3;
    p->xcr0_supported = 7;
    vector_reset(p);
    p->vector.xcr0 = 7;
}

/* ---------------------------------------------------------------- random state */

uint64_t random64(void)
{
    return (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

static uint64_t random_double(void)
{
    static const uint64_t special[] = {
        0,
        1ull << 63,
        0x3ff0000000000000,
        0xbff0000000000000,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x7ff8000000000000,
        0x7ff4000000000001,
        1,
        0x000fffffffffffff,
        0x0010000000000000,
        0x7fefffffffffffff,
        0x43e0000000000000,
        0x41dfffffffc00000,
    };
    unsigned n = (unsigned)g_test_rand_int() % 24;
    if (n < G_N_ELEMENTS(special))
        return special[n];
    return n & 1 ? random64()
                 : (random64() & ~(0x7ffull << 52)) | (0x3f0ull + random64() % 32) << 52;
}

static uint32_t random_float(void)
{
    static const uint32_t special[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                       0xff800000, 0x7fc00000, 0x7fa00001, 1,          0x007fffff,
                                       0x00800000, 0x7f7fffff, 0x4f000000, 0x5f000000};
    unsigned n = (unsigned)g_test_rand_int() % 24;
    uint32_t bits = (uint32_t)g_test_rand_int();
    if (n < G_N_ELEMENTS(special))
        return special[n];
    return n & 1 ? bits : (bits & ~(0xffu << 23)) | (0x70 + bits % 32) << 23;
}

void random_vector(uint8_t *to, unsigned bytes)
{
    unsigned kind = (unsigned)g_test_rand_int() & 3;
    for (unsigned n = 0; n < bytes; n += 8) {
        uint64_t v = random64();
        if (kind == 1)
            v = random_double();
        else if (kind == 2)
            v = (uint64_t)random_float() << 32 | random_float();
        memcpy(to + n, &v, 8);
    }
}

static void random_x87(uint8_t *x)
{
    uint16_t fcw = (uint16_t)(0x7f | (g_test_rand_int() & 0xf00));
    uint16_t fsw = (uint16_t)(g_test_rand_int() & 0x7f7f);
    if (g_test_rand_int() & 1)
        fcw = 0x37f;
    if ((g_test_rand_int() & 3) == 0)
        fcw &= (uint16_t)(g_test_rand_int() | 0xffc0); /* some exceptions unmasked */
    if (g_test_rand_int() & 7)
        fsw &= (uint16_t) ~(~fcw & 0x3f); /* mostly none pending */
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    memcpy(x, &fcw, 2);
    memcpy(x + 2, &fsw, 2);
    x[4] = g_test_rand_int() & 1 ? 0xff : (uint8_t)g_test_rand_int();
    for (unsigned n = 0; n < 8; n++) {
        uint64_t significand = random64() | 1ull << 63;
        uint16_t exponent =
            (uint16_t)(0x3fff - 8 + (random64() % 16)) | (uint16_t)(g_test_rand_int() & 0x8000);
        switch (g_test_rand_int() & 15) {
        case 0:
            significand = exponent = 0;
            break;
        case 1:
            exponent |= 0x7fff, significand = 1ull << 63;
            break;
        case 2:
            exponent |= 0x7fff;
            break;
        case 3:
            exponent = 0;
            break;
        case 4:
            significand &= ~(1ull << 63); /* unsupported */
            break;
        case 5:
            exponent = (uint16_t)g_test_rand_int();
            break;
        case 6:
            significand = 1ull << 63; /* a power of two */
            break;
        }
        memcpy(x + 32 + n * 16, &significand, 8);
        memcpy(x + 40 + n * 16, &exponent, 2);
    }
}

void random_state(struct native_state *s)
{
    uint64_t header = 7;
    uint32_t mxcsr = 0x1f80 | (g_test_rand_int() & 0xe07f);
    memset(s, 0, sizeof(*s));
    if ((g_test_rand_int() & 3) == 0)
        mxcsr = g_test_rand_int() & 0xffff; /* some exceptions unmasked */
    if (g_test_rand_int() & 1)
        mxcsr &= ~0x3fu;
    for (unsigned n = 0; n < 16; n++)
        s->gpr[n] = g_test_rand_int() & 1 ? random64() : random64() % 40;
    s->flags = 2 | (g_test_rand_int() & FLAGS_STATUS);
    random_x87(s->xsave);
    memcpy(s->xsave + 24, &mxcsr, 4);
    for (unsigned n = 0; n < 16; n++) {
        random_vector(s->xsave + 160 + n * 16, 16);
        random_vector(s->xsave + 576 + n * 16, 16);
    }
    memcpy(s->xsave + 512, &header, 8);
}

/* ---------------------------------------------------------------- comparison */

/* What legitimately differs: MXCSR_MASK, the last x87 instruction's addresses and opcode, unwritten
 * parts and headers. */
static void canonical(struct native_state *s)
{
    memset(s->xsave + 6, 0, 18);
    memset(s->xsave + 28, 0, 4);
    memset(s->xsave + 416, 0, 576 - 416);
    memset(s->xsave + 832, 0, sizeof(s->xsave) - 832);
    uint32_t mxcsr;
    memcpy(&mxcsr, s->xsave + 24, 4);
    mxcsr &= 0xffff;
    memcpy(s->xsave + 24, &mxcsr, 4);
    s->flags &= FLAGS_STATUS;
}

static void describe(const char *what, const uint8_t *bytes, const struct insn *i)
{
    GString *hex = g_string_new(NULL);
    for (unsigned n = 0; n < i->length; n++)
        g_string_append_printf(hex, " %02x", bytes[n]);
    g_test_message("%s: %s:%s", what, i->attr->name, hex->str);
    g_string_free(hex, TRUE);
}

/* Where processors differ among themselves. */
static void forgive(const struct insn *i, unsigned native, unsigned *guest,
                    struct native_state *expected, struct native_state *got)
{
    /* The SDM asks for aligned operands of SHA instructions, AMD's processors do not. */
    if (i->attr->feature == FEATURE_SHA && native == NATIVE_NO_FAULT && *guest == VECTOR_GP) {
        *guest = native;
        *got = *expected;
    }
    if (native != VECTOR_XM)
        return;
    /* With overflow or underflow unmasked, precision is judged before the result is scaled; we
     * judge the masked response. */
    if (expected->xsave[24] & 0x18) {
        expected->xsave[24] |= 0x20;
        got->xsave[24] |= 0x20;
    }
    /* The sums of DPPS and DPPD are not computed if a product raised an exception; ours are. */
    if (strstr(i->attr->name, "dpp"))
        expected->xsave[24] = got->xsave[24];
    /* AMD's processors switch to MMX even if the instruction then raises an exception. */
    if (i->attr->operand[0].kind == OPERAND_MMX_REG || i->attr->operand[1].kind == OPERAND_MMX_RM)
        memcpy(expected->xsave, got->xsave, 160);
}

/* The same for state stored at OFFSET of the data. */
static void forgive_image(const struct insn *i, uint64_t offset)
{
    uint8_t *native = fix.after + offset, *ours = fix.native->data + offset;
    if (i->attr->op == OP_FNSTENV || i->attr->op == OP_FNSAVE) {
        /* The native one shows the runner's last x87 instruction. */
        unsigned start = i->prefixes & PREFIX_66 ? 6 : 12;
        memcpy(ours + start, native + start, start == 6 ? 8 : 16);
    } else {
        /* MXCSR_MASK: the host's has a bit on AMD that guests do not get. */
        g_assert_cmpuint(offset, <, NATIVE_DATA - 832);
        if (native[30] == 2 && memcmp(native + 28, fix.before + offset + 28, 4))
            native[30] = 0;
    }
}

/* Runs one instruction both ways on native->in.  Returns whether all agreed. */
bool agree(const uint8_t *bytes, struct insn *i)
{
    struct native *a = fix.native;
    static struct native_state expected, got;
    memcpy(fix.before, a->data, NATIVE_DATA);
    unsigned native = native_run(a, bytes, i->length);
    memcpy(fix.after, a->data, NATIVE_DATA);
    memcpy(a->data, fix.before, NATIVE_DATA);
    set_guest(&a->in);
    set_tlb(g_test_rand_int() & 1);
    unsigned guest = run_guest(i);
    get_guest(&got);
    expected = a->out;
    canonical(&expected);
    canonical(&got);
    forgive(i, native, &guest, &expected, &got);
    expected.flags &= ~(uint64_t)i->attr->flags_undefined;
    got.flags &= ~(uint64_t)i->attr->flags_undefined;
    if (native != guest) {
        describe("exception differs", bytes, i);
        g_test_message("  native %u, ours %u", native, guest);
        return false;
    }
    bool same = true;
    if (i->attr->operand[0].size == SIZE_VAR && i->attr->operand[0].access & ACCESS_WRITE)
        forgive_image(i, a->in.gpr[REG_RBX] - (uint64_t)(uintptr_t)a->data);
    if (memcmp(a->data, fix.after, NATIVE_DATA)) {
        describe("memory differs", bytes, i);
        for (unsigned n = 0; n < NATIVE_DATA; n++)
            if (a->data[n] != fix.after[n]) {
                g_test_message("  byte %u: was %02x, native %02x, ours %02x", n, fix.before[n],
                               fix.after[n], a->data[n]);
                break;
            }
        same = false;
    }
    if (memcmp(expected.gpr, got.gpr, sizeof(got.gpr)) || expected.flags != got.flags) {
        describe("general registers or flags differ", bytes, i);
        g_test_message("  native flags %#x, ours %#x", (unsigned)expected.flags,
                       (unsigned)got.flags);
        same = false;
    }
    for (unsigned n = 0; n < XSAVE_BYTES; n++) {
        if (expected.xsave[n] == got.xsave[n])
            continue;
        describe("vector state differs", bytes, i);
        g_test_message(
            "  byte %u of the image: native %02x, ours %02x; exception %u, MXCSR was %#x, "
            "native %#x",
            n, expected.xsave[n], got.xsave[n], native, *(const unaligned_u32 *)(a->in.xsave + 24),
            *(const unaligned_u32 *)(expected.xsave + 24));
        same = false;
        break;
    }
    return same;
}

/* ---------------------------------------------------------------- the fixture */

void fixture_start(void)
{
    fix.native = native_new();
    void *memory = aligned_alloc(64, ALIGN_UP(sizeof(struct processor), 64));
    g_assert_nonnull(memory);
    fix.p = memset(memory, 0, sizeof(struct processor));
    fix.p->tlb = g_new0(struct tlb, 1);
    fix.p->stubs = vector_stubs_new();
    g_assert_nonnull(fix.p->stubs);
    reset_guest();
}

void fixture_end(void)
{
    vector_stubs_free(fix.p->stubs);
    g_free(fix.p->tlb);
    free(fix.p);
    native_free(fix.native);
}
