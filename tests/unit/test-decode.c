/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decoder against Zydis: every opcode of every map, with prefixes, ModRM forms and modes, and
 * random bytes; and what Zydis cannot say: truncated instructions, and the tables' consistency.
 */
#include "decode-compare.h"

#include <glib.h>
#include <string.h>

static const char *const prefix_sets[] = {
    "",
    "\x66",
    "\x67",
    "\xf2",
    "\xf3",
    "\x66\xf2",
    "\xf3\x66",
    "\xf2\xf3",
    "\xf3\xf2",
    "\xf0",
    "\xf0\xf2",
    "\xf0\x66",
    "\x66\x67",
    "\x2e",
    "\x36",
    "\x64",
    "\x65\x2e",
    "\x3e\x64",
    "\x26\x67",
    /* REX in 64-bit mode, INC and DEC elsewhere */
    "\x40",
    "\x41",
    "\x42",
    "\x44",
    "\x48",
    "\x4f",
    "\x66\x48",
    "\xf2\x48",
    "\xf3\x48",
    "\x66\xf3\x49",
    "\x48\x66",
    "\x67\x4c",
    "\x43\x45",
};
/* All of ModRM.reg with each form of ModRM.rm; all of ModRM.rm of registers with reg 0 and 7. */
static size_t modrm_values(uint8_t values[256], bool all)
{
    size_t count = 0;
    for (unsigned b = 0; b < 256; b++) {
        unsigned mod = b >> 6, rm = b & 7, reg = (b >> 3) & 7;
        if (all || (mod == 0 && (rm == 1 || rm >= 4)) || (mod == 1 && (rm == 2 || rm == 5)) ||
            (mod == 2 && rm == 4) || (mod == 3 && (reg <= 1 || rm == 1 || rm == 4)))
            values[count++] = (uint8_t)b;
    }
    return count;
}

static void append_tail(struct sample *s, unsigned seed)
{
    static const uint8_t tails[4][10] = {
        {0x24, 0x10, 0xf2, 0x83, 0x04, 0x95, 0x96, 0x07, 0x88, 0x19},
        {0xa5, 0x80, 0x01, 0x02, 0xff, 0x7f, 0x81, 0x12, 0x34, 0x56},
        {0x65, 0xfe, 0xff, 0xff, 0x8f, 0x00, 0x00, 0x21, 0x43, 0xe5},
        {0xcb, 0x35, 0x57, 0x79, 0x9b, 0xbd, 0xdf, 0xf1, 0x13, 0x24},
    };
    size_t room = 15 - s->size < 10 ? 15 - s->size : 10;
    memcpy(s->bytes + s->size, tails[seed & 3], room);
    s->size += room;
}

static void add(struct sample *s, uint8_t byte)
{
    s->bytes[s->size++] = byte;
}

/* Every opcode of the legacy maps. */
static void test_legacy(gconstpointer data)
{
    enum decode_mode mode = GPOINTER_TO_UINT(data);
    for (unsigned set = 0; set < ARRAY_SIZE(prefix_sets); set++) {
        uint8_t modrm[256];
        size_t count = modrm_values(modrm, set == 0 || set == 1 || set == 4);
        for (unsigned map = MAP_ONE; map <= MAP_0F3A; map++) {
            for (unsigned n = 0; n < 256 * count; n++) {
                struct sample s = {.mode = mode};
                for (const char *b = prefix_sets[set]; *b; b++)
                    add(&s, (uint8_t)*b);
                if (map != MAP_ONE)
                    add(&s, 0x0f);
                if (map >= MAP_0F38)
                    add(&s, map == MAP_0F38 ? 0x38 : 0x3a);
                add(&s, (uint8_t)(n / count));
                add(&s, modrm[n % count]);
                append_tail(&s, n);
                compare_sample(&s);
            }
        }
    }
    compare_finish();
}

/* Every opcode of the VEX maps: three-byte prefix, then two-byte. */
static void test_vex(gconstpointer data)
{
    static const uint8_t vvvv[] = {0xf, 0x9, 0x5, 0x2};
    enum decode_mode mode = GPOINTER_TO_UINT(data);
    uint8_t modrm[256];
    size_t count = modrm_values(modrm, false);
    for (unsigned fields = 0; fields < 2 * 4 * 2 * 4; fields++) {
        unsigned w = fields & 1, pp = (fields >> 1) & 3, l = (fields >> 3) & 1;
        uint8_t last = (uint8_t)(w << 7 | vvvv[fields >> 4] << 3 | l << 2 | pp);
        for (unsigned n = 0; n < 256 * count; n++) {
            for (unsigned map = 0; map <= 4; map++) {
                struct sample s = {.mode = mode};
                add(&s, map ? 0xc4 : 0xc5);
                if (map)
                    add(&s, (uint8_t)(map | (n % 8 == 7 ? n : 0xe0 + (n & 0xe0))));
                add(&s, map ? last : last ^ 0x80);
                add(&s, (uint8_t)(n / count));
                add(&s, modrm[n % count]);
                append_tail(&s, n);
                compare_sample(&s);
            }
        }
    }
    compare_finish();
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Random bytes, of which half begin with something likely. */
static void test_random(gconstpointer data)
{
    static const uint8_t likely_bytes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x41, 0x64,
                                           0x2e, 0x0f, 0x0f, 0xc4, 0xc5, 0x38, 0x3a, 0x26};
    enum decode_mode mode = GPOINTER_TO_UINT(data);
    uint64_t state = 0x9e3779b97f4a7c15 + mode;
    for (unsigned n = 0; n < 1000000; n++) {
        struct sample s = {.size = 15, .mode = mode};
        uint64_t a = next_random(&state), b = next_random(&state);
        memcpy(s.bytes, &a, 8);
        memcpy(s.bytes + 8, &b, 8);
        uint64_t c = next_random(&state);
        for (unsigned at = 0; at < (c & 3); at++)
            s.bytes[at] = likely_bytes[(c >> (4 + 4 * at)) & 15];
        compare_sample(&s);
    }
    compare_finish();
}

/* Instructions cut short: DECODE_MORE at every length below the right one, and no reading beyond.
 */
static void test_truncated(void)
{
    uint64_t state = 88172645463325252;
    for (unsigned n = 0; n < 200000; n++) {
        uint64_t a = next_random(&state), b = next_random(&state);
        uint8_t bytes[16];
        struct insn whole, part;
        enum decode_mode mode = (enum decode_mode)(n % 3);
        memcpy(bytes, &a, 8);
        memcpy(bytes + 8, &b, 8);
        enum decode_result result = insn_decode(bytes, 15, mode, 0, &whole);
        if (result != DECODE_OK)
            continue;
        for (size_t size = 0; size < whole.length; size++) {
            g_autofree uint8_t *copy = g_memdup2(bytes, size); /* for AddressSanitizer */
            g_assert_cmpint(insn_decode(copy, size, mode, 0, &part), ==, DECODE_MORE);
        }
        g_assert_cmpint(insn_decode(bytes, whole.length, mode, 0, &part), ==, DECODE_OK);
        g_assert_cmpmem(&whole, sizeof(whole), &part, sizeof(part));
    }
}

static void test_too_long(void)
{
    struct insn i;
    uint8_t bytes[20];
    memset(bytes, 0x66, sizeof(bytes));
    bytes[14] = 0x90;
    g_assert_cmpint(insn_decode(bytes, 15, DECODE_64, 0, &i), ==, DECODE_OK);
    g_assert_cmpint(i.length, ==, 15);
    bytes[14] = 0x66;
    bytes[15] = 0x90;
    g_assert_cmpint(insn_decode(bytes, 16, DECODE_64, 0, &i), ==, DECODE_TOO_LONG);
    g_assert_cmpint(insn_decode(bytes, 15, DECODE_64, 0, &i), ==, DECODE_TOO_LONG);
    g_assert_cmpint(insn_decode(bytes, 14, DECODE_64, 0, &i), ==, DECODE_MORE);
    memset(bytes, 0x66, 11);
    memcpy(bytes + 11, (uint8_t[]){0x81, 0xc0, 1, 2, 3, 4}, 6); /* ADD with imm16: 15 bytes */
    g_assert_cmpint(insn_decode(bytes, 20, DECODE_32, 0, &i), ==, DECODE_OK);
    g_assert_cmpint(i.length, ==, 15);
    g_assert_cmpint(insn_decode(bytes, 20, DECODE_16, 0, &i), ==, DECODE_TOO_LONG);
}

static void count_row(void *opaque, enum insn_map map, unsigned opcode, int group, unsigned prefix,
                      const struct insn_attr *attr)
{
    unsigned *count = opaque;
    ++*count;
    g_assert_nonnull(attr->name);
    g_assert_cmpint(attr->op, <, OP_UD);
    g_assert_cmpint(attr->class, <, CLASS_INVALID);
    g_assert_cmpint(attr->feature, <, FEATURE_COUNT);
    g_assert_cmpint(map, <=, MAP_0F3A);
    g_assert_cmpint(opcode, <, 256);
    g_assert_cmpint(group, <, 8);
    /* All that branch end blocks, VEX rows say so, and nothing is both defined and undefined. */
    if (attr->traits & TRAIT_BRANCH)
        g_assert_true(attr->traits & TRAIT_ENDS_BLOCK);
    g_assert_cmpint(!(prefix & PREFIX_VEX), ==, !(attr->traits & TRAIT_VEX_ONLY));
    g_assert_cmpint(attr->flags_written & attr->flags_undefined, ==, 0);
    if (attr->operand[0].kind == OPERAND_NONE)
        g_assert_cmpint(attr->operand[1].kind, ==, OPERAND_NONE);
}

static void test_rows(void)
{
    unsigned count = 0;
    insn_for_each_row(count_row, &count);
    g_assert_cmpint(count, >, 1500);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"16", "32", "64"};
    g_test_init(&argc, &argv, NULL);
    compare_init();
    for (unsigned m = 0; m < 3; m++) {
        static const struct {
            const char *name;
            GTestDataFunc function;
        } tests[] = {{"legacy", test_legacy}, {"vex", test_vex}, {"random", test_random}};
        for (unsigned t = 0; t < ARRAY_SIZE(tests); t++) {
            g_autofree char *path = g_strdup_printf("/decode/%s/%s", modes[m], tests[t].name);
            g_test_add_data_func(path, GUINT_TO_POINTER(m), tests[t].function);
        }
    }
    g_test_add_func("/decode/truncated", test_truncated);
    g_test_add_func("/decode/too-long", test_too_long);
    g_test_add_func("/decode/rows", test_rows);
    /* Of a suite of its own, so that it runs after the others. */
    g_test_add_func("/decode/differences/occur", compare_differences_occurred);

    return g_test_run();
}
