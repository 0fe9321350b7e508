/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * processor/vector against the native processor: every whitelisted encoding is run on random state
 * both ways, and registers, MXCSR, x87 state, flags, memory and the exception are compared.
 */
#include "vector-fixture.h"

/* ---------------------------------------------------------------- every encoding */

struct encoding {
    bool vex;
    unsigned map, opcode, pp, w, l;
};

/* Random operands for an opcode; the memory operand is [rbx + disp8] or [rbx + index * scale]. */
static unsigned encode(const struct encoding *e, bool memory, uint8_t *to)
{
    static const uint8_t prefix[4] = {0, 0x66, 0xf3, 0xf2};
    unsigned length = 0, r = g_test_rand_int() & 1, b = memory ? 0 : g_test_rand_int() & 1;
    bool vsib = e->vex && e->map == MAP_0F38 && e->opcode >= 0x90 && e->opcode <= 0x93;

    if (e->vex) {
        unsigned vvvv = g_test_rand_int() & 1 ? 0 : g_test_rand_int() & 15;
        to[length++] = 0xc4;
        to[length++] = (uint8_t)(!r << 7 | (g_test_rand_int() & 1) << 6 | !b << 5 | e->map);
        to[length++] = (uint8_t)(e->w << 7 | (~vvvv & 15) << 3 | e->l << 2 | e->pp);
    } else if (e->map != MAP_ONE) {
        if (e->pp)
            to[length++] = prefix[e->pp];
        to[length++] = (uint8_t)(0x40 | e->w << 3 | r << 2 | b);
        to[length++] = 0x0f;
        if (e->map > MAP_0F)
            to[length++] = e->map == MAP_0F38 ? 0x38 : 0x3a;
    }
    to[length++] = (uint8_t)e->opcode;
    unsigned modrm = g_test_rand_int() & 0xff;
    if (memory) {
        to[length++] = (uint8_t)(0x40 | (modrm & 0x38) | (vsib ? 4 : 3));
        if (vsib)
            to[length++] = (uint8_t)((g_test_rand_int() & 0xf8) | 3);
        to[length++] = (uint8_t)(g_test_rand_int() & 1 ? 0 : g_test_rand_int() & 0x70);
    } else {
        to[length++] = (uint8_t)(0xc0 | modrm);
    }
    to[length++] = (uint8_t)g_test_rand_int(); /* the immediate, if there is one */
    return length;
}

/* Small indices, so that a gather stays inside the data pages. */
static void tame_indices(struct native_state *s, unsigned reg, bool wide)
{
    for (unsigned n = 0; n < 32; n += wide ? 8 : 4) {
        int64_t index = (int32_t)(random64() % 128) - 64;
        memcpy(s->xsave + (n < 16 ? 160 + n : 576 + n - 16) + reg * 16, &index, wide ? 8 : 4);
    }
}

/* What natively works on other state than the guest's, or is tested below. */
static bool is_comparable(const struct insn *i)
{
    switch (i->attr->op) {
    case OP_NATIVE:
    case OP_X87:
    case OP_EMMS:
    case OP_LDMXCSR:
    case OP_STMXCSR:
    case OP_VZEROUPPER:
    case OP_VZEROALL:
    case OP_MASKMOV:
    case OP_VMASKMOV:
    case OP_GATHER:
        return true;
    default:
        return false;
    }
}

struct tally {
    unsigned tried, run, failed;
};

static void compare_encoding(const struct encoding *e, struct tally *t)
{
    for (unsigned round = 0; round < 4; round++) {
        uint8_t bytes[15] = {0};
        struct insn i[2] = {0};
        struct native *a = fix.native;
        if (e->map == MAP_0F && !e->vex && (e->opcode == 0x38 || e->opcode == 0x3a))
            return; /* escapes to the other maps */
        encode(e, round & 1, bytes);
        t->tried++;
        if (insn_decode(bytes, sizeof(bytes), DECODE_64, 0, i) != DECODE_OK ||
            i[0].attr->class != CLASS_VECTOR || !is_comparable(i) ||
            !processor_has_feature(i[0].attr->feature))
            continue;
        random_state(&a->in);
        for (unsigned n = 0; n < NATIVE_DATA; n += 512)
            random_vector(a->data + n, 512);
        /* Mostly aligned; sometimes across a page. */
        uint64_t place = 2048 + 64 * (random64() % 16);
        if ((g_test_rand_int() & 3) == 0)
            place += random64() % 64;
        else if ((g_test_rand_int() & 7) == 0)
            place = 4096 - random64() % 32;
        a->in.gpr[REG_RBX] = (uint64_t)(uintptr_t)a->data + place;
        a->in.gpr[REG_RDI] = (uint64_t)(uintptr_t)a->data + 4096 + random64() % 4096;
        if (i[0].attr->op == OP_GATHER)
            tame_indices(&a->in, i[0].index, i[0].opcode & 1);
        t->run++;
        if (!agree(bytes, i) && t->failed++ > 40)
            return;
    }
}

static void report(const struct tally *t)
{
    g_test_message("%u instructions compared of %u encodings tried", t->run, t->tried);
    g_assert_cmpuint(t->failed, ==, 0);
}

static void test_sse_encodings(void)
{
    struct tally t = {0};
    for (unsigned n = 0; n < 3 * 256 * 4 * 2; n++) {
        struct encoding e = {
            .map = MAP_0F + n / 2048, .opcode = n >> 3 & 255, .pp = n >> 1 & 3, .w = n & 1};
        compare_encoding(&e, &t);
    }
    report(&t);
    g_assert_cmpuint(t.run, >, 2000);
}

static void test_avx_encodings(void)
{
    struct tally t = {0};
    if (!processor_has_feature(FEATURE_AVX2)) {
        g_test_skip("the host has no AVX2");
        return;
    }
    for (unsigned n = 0; n < 3 * 256 * 4 * 4; n++) {
        struct encoding e = {.vex = true,
                             .map = MAP_0F + n / 4096,
                             .opcode = n >> 4 & 255,
                             .pp = n >> 2 & 3,
                             .w = n >> 1 & 1,
                             .l = n & 1};
        compare_encoding(&e, &t);
    }
    report(&t);
    g_assert_cmpuint(t.run, >, 3000);
}

static void test_x87_encodings(void)
{
    struct tally t = {0};
    for (unsigned n = 0; n < 8 * 256; n++) {
        struct encoding e = {.map = MAP_ONE, .opcode = 0xd8 + n / 256};
        compare_encoding(&e, &t);
    }
    report(&t);
    g_assert_cmpuint(t.run, >, 2000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    g_test_add_func("/vector/encodings/sse", test_sse_encodings);
    g_test_add_func("/vector/encodings/avx", test_avx_encodings);
    g_test_add_func("/vector/encodings/x87", test_x87_encodings);
    int result = g_test_run();
    fixture_end();
    return result;
}
