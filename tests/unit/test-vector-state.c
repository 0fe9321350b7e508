/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * processor/vector: vector state in memory (XSAVE and kin, FNSTENV and kin) against the native
 * processor, exceptions and their order, faults inside masked accesses, and the stub cache.
 */
#include "vector-fixture.h"

#define AREA ((uint64_t)(uintptr_t)fix.native->data)

static void put64(void *to, uint64_t v)
{
    memcpy(to, &v, 8);
}
static void put32(void *to, uint32_t v)
{
    memcpy(to, &v, 4);
}
static uint64_t get64(const void *from)
{
    uint64_t v;
    memcpy(&v, from, 8);
    return v;
}
static uint16_t get16(const void *from)
{
    uint16_t v;
    memcpy(&v, from, 2);
    return v;
}

/* ---------------------------------------------------------------- XSAVE and kin */

static uint64_t host_xcr0(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

/* Random state in which some components are in their initial state, which the native processor
 * knows only of what XRSTOR initialised. */
static void random_components(struct native_state *s)
{
    uint64_t present = random64() & 7;
    random_state(s);
    put64(s->xsave + 512, present);
    s->xsave[0] |= 0x3f; /* nothing pending */
    s->xsave[2] &= 0x7f, s->xsave[3] &= 0x7f;
    /* Of components that only the host's XCR0 has (protection keys, AVX-512) nothing is asked. */
    put64(s->gpr + REG_RAX, random64() & (7 | ~host_xcr0()));
    s->gpr[REG_RDX] = random64() & ~(host_xcr0() >> 32);
    if (g_test_rand_int() & 1)
        s->gpr[REG_RAX] |= 7;
}

/* Runs the instruction 0F AE /GROUP or 0F C7 /GROUP on [rbx] both ways, with W = 0 and 1. */
static unsigned compare_area(unsigned opcode, unsigned group, bool aligned)
{
    unsigned failed = 0;
    for (unsigned w = 0; w < 2; w++) {
        uint8_t bytes[15] = {(uint8_t)(0x40 | w << 3), 0x0f, (uint8_t)opcode,
                             (uint8_t)(group << 3 | 3)};
        bool same = false;
        /* A context switch just before the native instruction may leave components in use that
         * were in their initial state: what differs must differ again. */
        for (unsigned attempt = 0; attempt < 4 && !same; attempt++) {
            struct insn i[2] = {0};
            g_assert_cmpint(insn_decode(bytes, 15, DECODE_64, 0, i), ==, DECODE_OK);
            fix.native->in.gpr[REG_RBX] = AREA + 64 + (aligned ? 0 : 8);
            if (attempt)
                memcpy(fix.native->data, fix.before, NATIVE_DATA);
            same = agree(bytes, i);
        }
        failed += !same;
    }
    return failed;
}

static void test_save(gconstpointer data)
{
    unsigned opcode = GPOINTER_TO_UINT(data) >> 8, group = GPOINTER_TO_UINT(data) & 255;
    unsigned failed = 0;
    for (unsigned round = 0; round < 300; round++) {
        random_components(&fix.native->in);
        for (unsigned n = 0; n < NATIVE_DATA; n += 512)
            random_vector(fix.native->data + n, 512);
        failed += compare_area(opcode, group, round % 16 != 0);
    }
    g_assert_cmpuint(failed, ==, 0);
}

static void test_restore(gconstpointer data)
{
    unsigned opcode = GPOINTER_TO_UINT(data) >> 8, group = GPOINTER_TO_UINT(data) & 255;
    unsigned failed = 0;
    for (unsigned round = 0; round < 600; round++) {
        static struct native_state loaded;
        uint8_t *area = fix.native->data + 64;
        random_components(&loaded);
        memcpy(area, loaded.xsave, XSAVE_BYTES);
        if (g_test_rand_int() & 1) {
            uint64_t components = 3 | (random64() & 4);
            put64(area + 520, components | 1ull << 63);
            put64(area + 512, random64() & components);
        }
        switch (g_test_rand_int() & 31) {
        case 0:
            put64(area + 512, 1ull << (random64() & 63) & (7 | ~host_xcr0()));
            break;
        case 1:
            put64(area + 520, 1ull << (random64() & 63));
            break;
        case 2:
            area[528 + random64() % 48] = 1;
            break;
        case 3:
            put32(area + 24, 0x80000);
            break;
        }
        random_components(&fix.native->in);
        failed += compare_area(opcode, group, round % 16 != 0);
    }
    g_assert_cmpuint(failed, ==, 0);
}

/* XSAVES and XRSTORS, which cannot run natively here. */
static void test_supervisor(void)
{
    static struct native_state s, after;
    random_state(&s);
    reset_guest();
    set_tlb(true);
    set_guest(&s);
    fix.p->gpr[REG_RBX] = AREA;
    fix.p->gpr[REG_RAX] = fix.p->gpr[REG_RDX] = ~0ull;
    memset(fix.native->data, 0, 1024);
    g_assert_cmpuint(RUN(0x48, 0x0f, 0xc7, 0x2b), ==, VECTOR_GP); /* xsaves64 at CPL 3 */
    fix.p->cpl = 0;
    g_assert_cmpuint(RUN(0x48, 0x0f, 0xc7, 0x2b), ==, NATIVE_NO_FAULT);
    g_assert_cmphex(get64(fix.native->data + 520), ==, 1ull << 63 | 7);
    g_assert_cmpmem(fix.native->data + 576, 256, s.xsave + 576, 256);
    vector_reset(fix.p);
    fix.p->vector.xcr0 = 7;
    g_assert_cmpuint(RUN(0x48, 0x0f, 0xc7, 0x1b), ==, NATIVE_NO_FAULT); /* xrstors64 */
    get_guest(&after);
    g_assert_cmpmem(after.xsave + 160, 256, s.xsave + 160, 256);
    g_assert_cmpmem(after.xsave + 576, 256, s.xsave + 576, 256);
    g_assert_cmpmem(after.xsave + 24, 4, s.xsave + 24, 4);
    put64(fix.native->data + 520, 0); /* the standard format is not for XRSTORS */
    g_assert_cmpuint(RUN(0x48, 0x0f, 0xc7, 0x1b), ==, VECTOR_GP);
    g_assert_cmpuint(RUN(0x48, 0x0f, 0xae, 0x2b), ==, NATIVE_NO_FAULT); /* xrstor64 takes it */
}

static void test_xsave_api(void)
{
    static struct native_state s;
    uint8_t image[1024], bad[1024];
    random_state(&s);
    reset_guest();
    g_assert_cmpint(processor_set_xsave(fix.p, s.xsave, XSAVE_BYTES), ==, 0);
    memset(image, 0xee, sizeof(image));
    processor_get_xsave(fix.p, image, sizeof(image));
    g_assert_cmpmem(image + 160, 256, s.xsave + 160, 256);
    g_assert_cmpmem(image + 576, 256, s.xsave + 576, 256);
    g_assert_cmpmem(image + 32, 128, s.xsave + 32, 128);
    for (unsigned n = XSAVE_BYTES; n < sizeof(image); n++)
        g_assert_cmpuint(image[n], ==, 0);
    processor_get_xsave(fix.p, bad, 100); /* a short buffer gets its part */
    g_assert_cmpmem(bad, 100, image, 100);

    memcpy(bad, image, sizeof(bad));
    put32(bad + 24, 0x10000);
    g_assert_cmpint(processor_set_xsave(fix.p, bad, sizeof(bad)), ==, -EINVAL);
    memcpy(bad, image, sizeof(bad));
    put64(bad + 512, 1 << 5);
    g_assert_cmpint(processor_set_xsave(fix.p, bad, sizeof(bad)), ==, -EINVAL);
    g_assert_cmpint(processor_set_xsave(fix.p, image, 512), ==, -EINVAL);
    put64(image + 512, 0); /* everything in its initial state */
    g_assert_cmpint(processor_set_xsave(fix.p, image, sizeof(image)), ==, 0);
    processor_get_xsave(fix.p, image, sizeof(image));
    g_assert_cmpuint(get16(image), ==, 0x37f);
    for (unsigned n = 160; n < 416; n++)
        g_assert_cmpuint(image[n], ==, 0);
}

static void test_xgetbv(void)
{
    reset_guest();
    fix.p->gpr[REG_RCX] = 0;
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd0), ==, NATIVE_NO_FAULT);
    g_assert_cmpuint(fix.p->gpr[REG_RAX], ==, 7);
    fix.p->gpr[REG_RCX] = 1;
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd0), ==, NATIVE_NO_FAULT);
    g_assert_cmpuint(fix.p->gpr[REG_RAX], ==, 0);
    fix.p->vector.ymm[9].q[3] = 1;
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd0), ==, NATIVE_NO_FAULT);
    g_assert_cmpuint(fix.p->gpr[REG_RAX], ==, 4);
    fix.p->gpr[REG_RCX] = 2;
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd0), ==, VECTOR_GP);
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd1), ==, VECTOR_GP); /* XSETBV at CPL 3 */
    fix.p->cpl = 0;
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd1), ==, FAULT_EXIT);
    g_assert_cmpuint(fix.p->vmcs.exit_reason, ==, EXIT_REASON_XSETBV);
    fix.p->cr4 &= ~CR4_OSXSAVE;
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd1), ==, VECTOR_UD);
    g_assert_cmpuint(RUN(0x0f, 0x01, 0xd0), ==, VECTOR_UD);
}

/* ---------------------------------------------------------------- x87 images */

/* FNSTENV, FLDENV, FNSAVE, FRSTOR (D9 /6, D9 /4, DD /6, DD /4), in both formats. */
static void test_environment(void)
{
    static const uint8_t forms[4][2] = {{0xd9, 6}, {0xd9, 4}, {0xdd, 6}, {0xdd, 4}};
    unsigned failed = 0;
    for (unsigned round = 0; round < 800; round++) {
        unsigned form = round & 3;
        bool narrow = round & 4;
        uint8_t bytes[15] = {0x66, forms[form][0], (uint8_t)(forms[form][1] << 3 | 3)};
        const uint8_t *start = narrow ? bytes : bytes + 1;
        struct insn i[2] = {0};
        struct native *a = fix.native;
        random_state(&a->in);
        if (form & 1) { /* an image to load: made of a random one */
            static struct native_state s;
            random_state(&s);
            uint8_t *to = a->data;
            unsigned step = narrow ? 2 : 4;
            random_vector(to, 128);
            memcpy(to, s.xsave, 2);
            memcpy(to + step, s.xsave + 2, 2);
            for (unsigned n = 0; n < 8; n++)
                memcpy(to + 7 * step + n * 10, s.xsave + 32 + n * 16, 10);
        } else {
            random_vector(a->data, 128);
        }
        a->in.gpr[REG_RBX] = AREA;
        g_assert_cmpint(insn_decode(start, 14, DECODE_64, 0, i), ==, DECODE_OK);
        /* The native one stores its own idea of the last instruction; ours is checked below. */
        fix.p->mode |= MODE_PAGING;
        failed += !agree(start, i);
    }
    g_assert_cmpuint(failed, ==, 0);
}

static void test_pointers(void)
{
    uint8_t *image = fix.p->vector.fxsave;
    reset_guest();
    set_tlb(true);
    struct insn i[2] = {0};
    uint8_t fld[15] = {0xd9, 0x43, 0x10}; /* fld dword [rbx + 16] */
    uint8_t fadd[15] = {0xd8, 0xc0};      /* fadd st0, st0 */
    put32(fix.native->data + 16, 0x3f800000);
    fix.p->gpr[REG_CODE] = CODE_BASE;
    fix.p->gpr[REG_NONE] = 0;
    fix.p->gpr[REG_RBX] = AREA;
    insn_decode(fld, 15, DECODE_64, 0x123, i);
    g_assert_cmpuint(run_guest(i), ==, NATIVE_NO_FAULT);
    g_assert_cmpuint(get64(image + 8), ==, CODE_BASE + 0x123);
    g_assert_cmpuint(get64(image + 16), ==, AREA + 16);
    g_assert_cmpuint(get16(image + 6), ==, 0x143);
    insn_decode(fadd, 15, DECODE_64, 0x200, i);
    g_assert_cmpuint(run_guest(i), ==, NATIVE_NO_FAULT);
    g_assert_cmpuint(get64(image + 8), ==, CODE_BASE + 0x200);
    g_assert_cmpuint(get64(image + 16), ==, AREA + 16);
    g_assert_cmpuint(get64(image + 32), ==, 1ull << 63); /* 2.0 */
    g_assert_cmpuint(get16(image + 40), ==, 0x4000);
    /* FNSTENV shows them, in 64-bit mode by their low halves. */
    g_assert_cmpuint(RUN(0xd9, 0x33), ==, NATIVE_NO_FAULT);
    g_assert_cmpuint((uint32_t)get64(fix.native->data + 12), ==, CODE_BASE + 0x200);
    g_assert_cmpuint((uint32_t)get64(fix.native->data + 20), ==, (uint32_t)AREA + 16);
    /* An MMX instruction leaves them alone. */
    g_assert_cmpuint(RUN(0x0f, 0xef, 0xc0), ==, NATIVE_NO_FAULT); /* pxor mm0, mm0 */
    g_assert_cmpuint(get64(image + 8), ==, CODE_BASE + 0x200);
    g_assert_cmpuint(image[4], ==, 0xff);
    g_assert_cmpuint(get64(image + 32), ==, 0);
    g_assert_cmpuint(RUN(0x0f, 0x77), ==, NATIVE_NO_FAULT); /* emms */
    g_assert_cmpuint(image[4], ==, 0);
    /* Real-address mode has linear addresses in its own layout. */
    fix.p->mode = DECODE_16 | MODE_REAL;
    fix.p->gpr[REG_RBX] = 0;
    fix.p->segment[SEG_DS].base = AREA;
    memset(fix.native->data, 0, 64);
    put64(image + 8, 0x54321);
    put64(image + 16, 0x98765);
    image[6] = 0x43, image[7] = 1;
    static const uint8_t fnstenv16[15] = {0xd9, 0x37}, fnstenv32[15] = {0x66, 0xd9, 0x37};
    g_assert_cmpuint(run_bytes(fnstenv16, DECODE_16), ==, NATIVE_NO_FAULT);
    g_assert_cmphex(get16(fix.native->data + 6), ==, 0x4321);
    g_assert_cmphex(get16(fix.native->data + 8), ==, 0x5143);
    g_assert_cmphex(get16(fix.native->data + 10), ==, 0x8765);
    g_assert_cmphex(get16(fix.native->data + 12), ==, 0x9000);
    g_assert_cmpuint(run_bytes(fnstenv32, DECODE_16), ==, NATIVE_NO_FAULT);
    g_assert_cmphex(get16(fix.native->data + 12), ==, 0x4321);
    g_assert_cmphex(get16(fix.native->data + 16), ==, 0x5143);
    g_assert_cmphex(get16(fix.native->data + 24), ==, 0x9000);
    fix.p->segment[SEG_DS].base = 0;
    reset_guest();
}

/* An unmasked x87 exception waits for the next waiting instruction. */
static void test_mf(void)
{
    uint8_t *image = fix.p->vector.fxsave;
    reset_guest();
    set_tlb(true);
    image[0] &= (uint8_t)~4;                                /* unmask division by zero */
    g_assert_cmpuint(RUN(0xd9, 0xe8), ==, NATIVE_NO_FAULT); /* fld1 */
    g_assert_cmpuint(RUN(0xd9, 0xee), ==, NATIVE_NO_FAULT); /* fldz */
    g_assert_cmpuint(RUN(0xd8, 0xf9), ==, NATIVE_NO_FAULT); /* fdivr st0, st1: 1 / 0 */
    g_assert_cmphex(get16(image + 2) & 0x8084, ==, 0x8084); /* B, ES, ZE */
    g_assert_cmpuint(RUN(0xd9, 0xe8), ==, VECTOR_MF);
    g_assert_cmpuint(RUN(0x9b), ==, VECTOR_MF);                   /* fwait */
    g_assert_cmpuint(RUN(0x0f, 0xef, 0xc0), ==, VECTOR_MF);       /* pxor mm0, mm0 */
    g_assert_cmpuint(RUN(0x0f, 0x77), ==, VECTOR_MF);             /* emms */
    g_assert_cmpuint(RUN(0x0f, 0x58, 0xc0), ==, NATIVE_NO_FAULT); /* addps has no part in it */
    g_assert_cmpuint(RUN(0xdf, 0xe0), ==, NATIVE_NO_FAULT);       /* fnstsw ax */
    g_assert_cmphex(fix.p->gpr[REG_RAX] & 0x8084, ==, 0x8084);
    g_assert_cmpuint(RUN(0xdb, 0xe2), ==, NATIVE_NO_FAULT); /* fnclex */
    g_assert_cmpuint(RUN(0x9b), ==, NATIVE_NO_FAULT);
    /* A store whose exception is unmasked leaves memory alone, and the stack as it is. */
    reset_guest();
    fix.p->gpr[REG_RBX] = AREA;
    put64(fix.native->data, 0x1122334455667788);
    image[0] &= (uint8_t)~1;                                /* unmask invalid operation */
    g_assert_cmpuint(RUN(0xd9, 0xe8), ==, NATIVE_NO_FAULT); /* fld1 */
    put64(image + 32, 0xc000000000000000);
    image[40] = 0xff, image[41] = 0x7f;                     /* ST(0) is a NaN */
    g_assert_cmpuint(RUN(0xdb, 0x1b), ==, NATIVE_NO_FAULT); /* fistp dword [rbx] */
    g_assert_cmphex(get64(fix.native->data), ==, 0x1122334455667788);
    g_assert_cmphex(get16(image + 2) & 0x80bf, ==, 0x8081);
    g_assert_cmphex(get16(image + 2) >> 11 & 7, ==, 7);
    g_assert_cmpuint(RUN(0x9b), ==, VECTOR_MF);
}

/* ---------------------------------------------------------------- exceptions */

/* #XM with CR4.OSXMMEXCPT, else #UD; the destination stays. */
static void test_xm(void)
{
    reset_guest();
    struct vector_state *v = &fix.p->vector;
    v->ymm[0].d[0] = 0x3f800000;
    v->mxcsr = 0x1f80 & ~0x200u;                                  /* unmask division by zero */
    g_assert_cmpuint(RUN(0xf3, 0x0f, 0x5e, 0xc1), ==, VECTOR_XM); /* divss xmm0, xmm1 */
    g_assert_cmphex(v->ymm[0].d[0], ==, 0x3f800000);
    g_assert_cmphex(v->mxcsr, ==, (0x1f80 & ~0x200) | 4);
    fix.p->cr4 &= ~CR4_OSXMMEXCPT;
    g_assert_cmpuint(RUN(0xf3, 0x0f, 0x5e, 0xc1), ==, VECTOR_UD);
    v->mxcsr = 0x1f80;
    g_assert_cmpuint(RUN(0xf3, 0x0f, 0x5e, 0xc1), ==, NATIVE_NO_FAULT);
    g_assert_cmphex(v->ymm[0].d[0], ==, 0x7f800000);
    g_assert_cmphex(v->mxcsr, ==, 0x1f84);
    /* LDMXCSR with a reserved bit. */
    fix.p->gpr[REG_RBX] = AREA;
    put32(fix.native->data, 0x10000);
    g_assert_cmpuint(RUN(0x0f, 0xae, 0x13), ==, VECTOR_GP);
    g_assert_cmphex(v->mxcsr, ==, 0x1f84);
}

/* SDM volume 3, tables 2-1 and 13-1 and the exception classes of volume 2. */
static void test_availability(void)
{
    static const uint8_t x87[15] = {0xd9, 0xe8}, fwait[15] = {0x9b}, mmx[15] = {0x0f, 0xef, 0xc0},
                         sse[15] = {0x0f, 0x57, 0xc0}, avx[15] = {0xc5, 0xf8, 0x57, 0xc0},
                         fnstcw[15] = {0xd9, 0x3b}, fxsave[15] = {0x0f, 0xae, 0x03},
                         xsave[15] = {0x0f, 0xae, 0x23};
    enum { UD = VECTOR_UD, NM = VECTOR_NM, OK = NATIVE_NO_FAULT };
    static const struct {
        uint64_t cr0_set, cr0_clear, cr4_clear, xcr0;
        unsigned x87, fwait, mmx, sse, avx, fnstcw, fxsave, xsave;
    } cases[] = {
        {0, 0, 0, 7, OK, OK, OK, OK, OK, OK, OK, OK},
        {CR0_TS, 0, 0, 7, NM, NM, NM, NM, NM, NM, NM, NM},
        {CR0_TS, CR0_MP, 0, 7, NM, OK, NM, NM, NM, NM, NM, NM},
        {CR0_EM, 0, 0, 7, NM, OK, UD, UD, OK, NM, NM, OK},
        {CR0_EM | CR0_TS, 0, 0, 7, NM, NM, UD, UD, NM, NM, NM, NM},
        {0, 0, CR4_OSFXSR, 7, OK, OK, OK, UD, OK, OK, OK, OK},
        {CR0_TS, 0, CR4_OSFXSR, 7, NM, NM, NM, UD, NM, NM, NM, NM},
        {0, 0, CR4_OSXSAVE, 7, OK, OK, OK, OK, UD, OK, OK, UD},
        {CR0_TS, 0, CR4_OSXSAVE, 7, NM, NM, NM, NM, UD, NM, NM, UD},
        {0, 0, 0, 3, OK, OK, OK, OK, UD, OK, OK, OK},
    };
    for (unsigned n = 0; n < G_N_ELEMENTS(cases); n++) {
        reset_guest();
        set_tlb(true);
        fix.p->gpr[REG_RBX] = AREA;
        fix.p->cr0 = (fix.p->cr0 | cases[n].cr0_set) & ~cases[n].cr0_clear;
        fix.p->cr4 &= ~cases[n].cr4_clear;
        fix.p->vector.xcr0 = cases[n].xcr0;
        g_assert_cmpuint(run_bytes(x87, DECODE_64), ==, cases[n].x87);
        g_assert_cmpuint(run_bytes(fwait, DECODE_64), ==, cases[n].fwait);
        g_assert_cmpuint(run_bytes(mmx, DECODE_64), ==, cases[n].mmx);
        g_assert_cmpuint(run_bytes(sse, DECODE_64), ==, cases[n].sse);
        if (processor_has_feature(FEATURE_AVX))
            g_assert_cmpuint(run_bytes(avx, DECODE_64), ==, cases[n].avx);
        g_assert_cmpuint(run_bytes(fnstcw, DECODE_64), ==, cases[n].fnstcw);
        g_assert_cmpuint(run_bytes(fxsave, DECODE_64), ==, cases[n].fxsave);
        g_assert_cmpuint(run_bytes(xsave, DECODE_64), ==, cases[n].xsave);
    }
    /* VEX does not exist in virtual-8086 mode. */
    reset_guest();
    fix.p->mode = DECODE_32 | MODE_V86;
    g_assert_cmpuint(run_bytes(avx, DECODE_32), ==, VECTOR_UD);
    reset_guest();
}

/* ---------------------------------------------------------------- memory faults */

static void test_faults(void)
{
    struct vector_state *v = &fix.p->vector;
    uint8_t before[64];
    uint64_t end = AREA + NATIVE_DATA;
    for (unsigned hit = 0; hit < 2; hit++) {
        reset_guest();
        set_tlb(hit);
        fix.p->gpr[REG_NONE] = 0;
        fix.p->gpr[REG_RBX] = end - 8;
        memset(fix.native->data + NATIVE_DATA - 64, 0x5a, 64);
        memcpy(before, fix.native->data + NATIVE_DATA - 64, 64);
        memset(v->ymm[0].b, 0x77, 32);
        g_assert_cmpuint(RUN(0x0f, 0x10, 0x03), ==, VECTOR_PF);             /* movups xmm0, [rbx] */
        g_assert_cmpuint(RUN(0x0f, 0x11, 0x03), ==, VECTOR_PF);             /* movups [rbx], xmm0 */
        g_assert_cmpuint(RUN(0xf2, 0x0f, 0x10, 0x03), ==, NATIVE_NO_FAULT); /* movsd */
        g_assert_cmphex(v->ymm[0].q[0], ==, 0x5a5a5a5a5a5a5a5a);
        g_assert_cmphex(v->ymm[0].q[1], ==, 0);
        g_assert_cmphex(v->ymm[0].q[2], ==, 0x7777777777777777);
        g_assert_cmpuint(RUN(0x0f, 0x28, 0x03), ==, VECTOR_GP); /* movaps: misaligned comes first */
        g_assert_cmpuint(RUN(0x66, 0x0f, 0xef, 0x03), ==, VECTOR_GP); /* pxor */
        fix.p->gpr[REG_RBX] = end - 4;
        g_assert_cmpuint(RUN(0xd9, 0xe8), ==, NATIVE_NO_FAULT); /* fld1 */
        uint16_t fsw = get16(v->fxsave + 2);
        g_assert_cmpuint(RUN(0xdd, 0x1b), ==, VECTOR_PF); /* fstp qword: nothing popped */
        g_assert_cmphex(get16(v->fxsave + 2), ==, fsw);
        g_assert_cmpmem(fix.native->data + NATIVE_DATA - 64, 64, before, 64);
    }
}

static void test_masked_faults(void)
{
    struct vector_state *v = &fix.p->vector;
    uint64_t end = AREA + NATIVE_DATA;
    if (!processor_has_feature(FEATURE_AVX2)) {
        g_test_skip("the host has no AVX2");
        return;
    }
    reset_guest();
    set_tlb(true);
    fix.p->gpr[REG_NONE] = 0;
    fix.p->gpr[REG_RBX] = end - 8;
    put64(fix.native->data + NATIVE_DATA - 8, 0x1111111122222222);
    /* vmaskmovps xmm0, xmm1, [rbx]: two elements lie inside the page. */
    memset(v->ymm, 0, sizeof(v->ymm));
    v->ymm[1].d[0] = v->ymm[1].d[1] = 0x80000000;
    g_assert_cmpuint(RUN(0xc4, 0xe2, 0x71, 0x2c, 0x03), ==, NATIVE_NO_FAULT);
    g_assert_cmphex(v->ymm[0].q[0], ==, 0x1111111122222222);
    v->ymm[1].d[2] = 0x80000000;
    g_assert_cmpuint(RUN(0xc4, 0xe2, 0x71, 0x2c, 0x03), ==, VECTOR_PF);
    /* The store writes nothing when one element faults. */
    memset(v->ymm[0].b, 0xff, 32);
    g_assert_cmpuint(RUN(0xc4, 0xe2, 0x71, 0x2e, 0x03), ==, VECTOR_PF);
    g_assert_cmphex(get64(fix.native->data + NATIVE_DATA - 8), ==, 0x1111111122222222);
    /* vpgatherdd xmm0, [rbx + xmm2 * 4], xmm1: the third element faults. */
    for (unsigned n = 0; n < 4; n++) {
        v->ymm[0].d[n] = 0xdeadbeef;
        v->ymm[1].d[n] = 0x80000000;
        v->ymm[2].d[n] = n;
    }
    g_assert_cmpuint(RUN(0xc4, 0xe2, 0x71, 0x90, 0x04, 0x93), ==, VECTOR_PF);
    g_assert_cmphex(v->ymm[0].d[0], ==, 0x22222222);
    g_assert_cmphex(v->ymm[0].d[1], ==, 0x11111111);
    g_assert_cmphex(v->ymm[0].d[2], ==, 0xdeadbeef);
    g_assert_cmphex(v->ymm[1].q[0], ==, 0);
    g_assert_cmphex(v->ymm[1].d[2], ==, 0x80000000);
}

/* ---------------------------------------------------------------- the stub cache */

/* More shapes than the ring holds: 256 immediates of many opcodes, then the first ones again. */
static void test_eviction(void)
{
    static const uint8_t opcodes[] = {0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x20, 0x21,
                                      0x22, 0x40, 0x41, 0x42, 0x44, 0xdf, 0x60, 0x61, 0x62, 0x63};
    struct insn first[2] = {0};
    static const uint8_t pshufd[15] = {0x66, 0x0f, 0x70, 0xc1, 0x1b}; /* reverses the elements */
    unsigned shapes = 0;
    reset_guest();
    g_assert_cmpint(insn_decode(pshufd, 15, DECODE_64, 0, first), ==, DECODE_OK);
    for (unsigned n = 0; n < 4; n++)
        fix.p->vector.ymm[1].d[n] = n;
    g_assert_cmpuint(run_guest(first), ==, NATIVE_NO_FAULT);
    for (unsigned vex = 0; vex < 2; vex++) {
        for (unsigned n = 0; n < sizeof(opcodes); n++) {
            for (unsigned imm = 0; imm < 256; imm++) {
                uint8_t legacy[15] = {0x66, 0x0f, 0x3a, opcodes[n], 0xc1, (uint8_t)imm};
                uint8_t avx[15] = {0xc4, 0xe3, 0x79, opcodes[n], 0xc1, (uint8_t)imm};
                struct insn i[2] = {0};
                if (insn_decode(vex ? avx : legacy, 15, DECODE_64, 0, i) != DECODE_OK)
                    continue;
                shapes += run_guest(i) == NATIVE_NO_FAULT;
            }
        }
    }
    g_assert_cmpuint(shapes, >, 8192);
    /* FIRST is not bound again: its stub has been replaced. */
    for (unsigned round = 0; round < 2; round++) {
        fix.p->vector.ymm[0].q[0] = 0;
        for (unsigned n = 0; n < 4; n++)
            fix.p->vector.ymm[1].d[n] = n;
        g_assert_true(first->exec(fix.p, first) == first + 1);
        g_assert_cmphex(fix.p->vector.ymm[0].q[0], ==, 0x0000000200000003);
        g_assert_cmphex(fix.p->vector.ymm[0].q[1], ==, 0x0000000000000001);
    }
}

/* ---------------------------------------------------------------- other modes */

/* Outside 64-bit mode there are eight registers and no 64-bit operands. */
static void test_legacy_mode(void)
{
    struct vector_state *v = &fix.p->vector;
    reset_guest();
    set_tlb(true);
    fix.p->mode = DECODE_32 | MODE_PAGING;
    memset(v->ymm, 0x11, sizeof(v->ymm));
    g_assert_cmpuint(RUN32(0xc5, 0xfc, 0x77), ==, NATIVE_NO_FAULT); /* vzeroall */
    g_assert_cmphex(v->ymm[7].q[3], ==, 0);
    g_assert_cmphex(v->ymm[8].q[0], ==, 0x1111111111111111);
    /* vmovd with VEX.W = 1 is still 32 bits wide. */
    fix.p->gpr[REG_RBX] = 0xaaaaaaaa55555555;
    g_assert_cmpuint(RUN32(0xc4, 0xe1, 0xf9, 0x6e, 0xc3), ==, NATIVE_NO_FAULT);
    g_assert_cmphex(v->ymm[0].q[0], ==, 0x55555555);
    g_assert_cmpuint(RUN32(0xc4, 0xe1, 0xfb, 0x2a, 0xcb), ==, NATIVE_NO_FAULT); /* vcvtsi2sd */
    double expected = 0x55555555;
    g_assert_cmpmem(v->ymm[1].b, 8, &expected, 8);
    /* VPCMPESTRI's lengths are EAX and EDX even with VEX.W = 1. */
    memset(v->ymm[0].b, 'a', 16);
    memset(v->ymm[1].b, 'a', 16);
    v->ymm[1].b[5] = 'b'; /* behind the third */
    fix.p->gpr[REG_RAX] = 0xffffffff00000003;
    fix.p->gpr[REG_RDX] = 0xffffffff00000003;
    g_assert_cmpuint(RUN32(0xc4, 0xe3, 0xf9, 0x61, 0xc1, 0x18), ==, NATIVE_NO_FAULT);
    g_assert_cmpuint(fix.p->gpr[REG_RCX], ==, 16); /* no byte of three differs */
    v->ymm[0].q[0] = 0x55555555;
    /* FXSAVE leaves the upper registers' place alone. */
    fix.p->gpr[REG_RBX] = AREA;
    memset(fix.native->data, 0x33, 512);
    g_assert_cmpuint(RUN32(0x0f, 0xae, 0x03), ==, NATIVE_NO_FAULT);
    g_assert_cmphex(get64(fix.native->data + 160 + 8 * 16), ==, 0x3333333333333333);
    g_assert_cmphex(get64(fix.native->data + 160), ==, 0x55555555);
    reset_guest();
}

#define SAVE(name, opcode, group, test)                                                            \
    g_test_add_data_func("/vector/state/" name, GUINT_TO_POINTER((opcode) << 8 | (group)), test)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    SAVE("fxsave", 0xae, 0, test_save);
    SAVE("xsave", 0xae, 4, test_save);
    SAVE("xsaveopt", 0xae, 6, test_save);
    SAVE("xsavec", 0xc7, 4, test_save);
    SAVE("fxrstor", 0xae, 1, test_restore);
    SAVE("xrstor", 0xae, 5, test_restore);
    g_test_add_func("/vector/state/supervisor", test_supervisor);
    g_test_add_func("/vector/state/api", test_xsave_api);
    g_test_add_func("/vector/state/xgetbv", test_xgetbv);
    g_test_add_func("/vector/x87/environment", test_environment);
    g_test_add_func("/vector/x87/pointers", test_pointers);
    g_test_add_func("/vector/x87/pending", test_mf);
    g_test_add_func("/vector/exceptions/xm", test_xm);
    g_test_add_func("/vector/exceptions/availability", test_availability);
    g_test_add_func("/vector/faults/plain", test_faults);
    g_test_add_func("/vector/faults/masked", test_masked_faults);
    g_test_add_func("/vector/stubs/eviction", test_eviction);
    g_test_add_func("/vector/modes/legacy", test_legacy_mode);
    int result = g_test_run();
    fixture_end();
    return result;
}
