/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vCPU's registers as GDB numbers and names them: one table, from which the target description is
 * made and by which values are found in KVM's structures.  The features org.gnu.gdb.i386.* are
 * GDB's (its manual, appendix G, "i386 Features"); control registers and the like are a feature of
 * our own.
 */
#include "private.h"

#include "machine/cpu-model.h"

#include <string.h>

#define MSR_KERNEL_GS_BASE 0xc0000102

/* Offsets in the XSAVE area (SDM volume 1, 13.4), in its standard form. */
#define XSAVE_FCW     0
#define XSAVE_FSW     2
#define XSAVE_FTW     4 /* one bit a register: 1 is not empty */
#define XSAVE_FOP     6
#define XSAVE_FIP     8
#define XSAVE_FCS     12
#define XSAVE_FDP     16
#define XSAVE_FDS     20
#define XSAVE_MXCSR   24
#define XSAVE_ST(n)   (32 + (n)*16)
#define XSAVE_XMM(n)  (160 + (n)*16)
#define XSAVE_BV      512
#define XSAVE_YMMH(n) (576 + (n)*16)

#define BYTES_MAX 16 /* of a register */

#define XSTATE_X87 1u
#define XSTATE_SSE 2u
#define XSTATE_AVX 4u

/* Where a vCPU's registers are, as KVM has them. */
struct state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_xsave xsave;
    uint64_t kernel_gs_base;
};

enum place { PLACE_REGS, PLACE_SREGS, PLACE_XSAVE, PLACE_TAGS, PLACE_MSR };

enum feature { FEATURE_CORE, FEATURE_SSE, FEATURE_AVX, FEATURE_SEGMENTS, FEATURE_SYSTEM, FEATURES };

struct reg {
    const char *name, *type;
    const char *group; /* NULL: as the type tells */
    uint16_t offset;   /* in struct state */
    uint8_t feature;   /* enum feature */
    uint8_t place;     /* enum place */
    uint8_t size;      /* bytes in the protocol */
    uint8_t held;      /* bytes in struct state */
    uint8_t xstate;    /* component of XSAVE that it is in */
    bool fixed;        /* cannot be set alone */
};

#define IN_REGS(field, name, type, size)                                                           \
    {                                                                                              \
        name, type, NULL, offsetof(struct state, regs.field), FEATURE_CORE, PLACE_REGS, size,      \
            size, 0, false                                                                         \
    }
#define GENERAL(name) IN_REGS(name, #name, "int64", 8)
/* A selector means nothing without its descriptor, so it cannot be set. */
#define SELECTOR(name)                                                                             \
    {                                                                                              \
#name, "int32", NULL, offsetof(struct state, sregs.name.selector), FEATURE_CORE,           \
            PLACE_SREGS, 4, 2, 0, true                                                             \
    }
#define IN_XSAVE(name, type, group, feature, at, size, held, xstate)                               \
    {                                                                                              \
        name, type, group, offsetof(struct state, xsave) + (at), feature, PLACE_XSAVE, size, held, \
            xstate, false                                                                          \
    }
#define ST(n)                 IN_XSAVE("st" #n, "i387_ext", NULL, FEATURE_CORE, XSAVE_ST(n), 10, 10, XSTATE_X87)
#define FLOAT(name, at, held) IN_XSAVE(name, "int", "float", FEATURE_CORE, at, 4, held, XSTATE_X87)
#define XMM(n)                IN_XSAVE("xmm" #n, "vec128", NULL, FEATURE_SSE, XSAVE_XMM(n), 16, 16, XSTATE_SSE)
#define YMMH(n)                                                                                    \
    IN_XSAVE("ymm" #n "h", "uint128", NULL, FEATURE_AVX, XSAVE_YMMH(n), 16, 16, XSTATE_AVX)
#define IN_SREGS(field, name, feature)                                                             \
    {                                                                                              \
        name, "int64", NULL, offsetof(struct state, sregs.field), feature, PLACE_SREGS, 8, 8, 0,   \
            false                                                                                  \
    }
#define SYSTEM(name) IN_SREGS(name, #name, FEATURE_SYSTEM)

static const struct reg table[] = {
    GENERAL(rax),
    GENERAL(rbx),
    GENERAL(rcx),
    GENERAL(rdx),
    GENERAL(rsi),
    GENERAL(rdi),
    IN_REGS(rbp, "rbp", "data_ptr", 8),
    IN_REGS(rsp, "rsp", "data_ptr", 8),
    GENERAL(r8),
    GENERAL(r9),
    GENERAL(r10),
    GENERAL(r11),
    GENERAL(r12),
    GENERAL(r13),
    GENERAL(r14),
    GENERAL(r15),
    IN_REGS(rip, "rip", "code_ptr", 8),
    IN_REGS(rflags, "eflags", "i386_eflags", 4),
    SELECTOR(cs),
    SELECTOR(ss),
    SELECTOR(ds),
    SELECTOR(es),
    SELECTOR(fs),
    SELECTOR(gs),
    ST(0),
    ST(1),
    ST(2),
    ST(3),
    ST(4),
    ST(5),
    ST(6),
    ST(7),
    FLOAT("fctrl", XSAVE_FCW, 2),
    FLOAT("fstat", XSAVE_FSW, 2),
    {"ftag", "int", "float", 0, FEATURE_CORE, PLACE_TAGS, 4, 0, XSTATE_X87, false},
    FLOAT("fiseg", XSAVE_FCS, 2),
    FLOAT("fioff", XSAVE_FIP, 4),
    FLOAT("foseg", XSAVE_FDS, 2),
    FLOAT("fooff", XSAVE_FDP, 4),
    FLOAT("fop", XSAVE_FOP, 2),
    XMM(0),
    XMM(1),
    XMM(2),
    XMM(3),
    XMM(4),
    XMM(5),
    XMM(6),
    XMM(7),
    XMM(8),
    XMM(9),
    XMM(10),
    XMM(11),
    XMM(12),
    XMM(13),
    XMM(14),
    XMM(15),
    IN_XSAVE("mxcsr", "i386_mxcsr", "vector", FEATURE_SSE, XSAVE_MXCSR, 4, 4, XSTATE_SSE),
    YMMH(0),
    YMMH(1),
    YMMH(2),
    YMMH(3),
    YMMH(4),
    YMMH(5),
    YMMH(6),
    YMMH(7),
    YMMH(8),
    YMMH(9),
    YMMH(10),
    YMMH(11),
    YMMH(12),
    YMMH(13),
    YMMH(14),
    YMMH(15),
    IN_SREGS(fs.base, "fs_base", FEATURE_SEGMENTS),
    IN_SREGS(gs.base, "gs_base", FEATURE_SEGMENTS),
    {"k_gs_base", "int64", NULL, offsetof(struct state, kernel_gs_base), FEATURE_SYSTEM, PLACE_MSR,
     8, 8, 0, false},
    SYSTEM(cr0),
    SYSTEM(cr2),
    SYSTEM(cr3),
    SYSTEM(cr4),
    SYSTEM(cr8),
    SYSTEM(efer),
};

static bool has_feature(const struct gdb *g, unsigned feature)
{
    return feature != FEATURE_AVX || g->avx;
}

/* ---- the target description ---- */

/* Flags by bit, in the order of their bits; of EFLAGS (SDM volume 1, 3.4.3) and MXCSR (10.2.3). */
struct flag {
    const char *name;
    unsigned low, high;
};
static const struct flag eflags[] = {
    {"CF", 0, 0},    {"", 1, 1},     {"PF", 2, 2},   {"AF", 4, 4},   {"ZF", 6, 6},
    {"SF", 7, 7},    {"TF", 8, 8},   {"IF", 9, 9},   {"DF", 10, 10}, {"OF", 11, 11},
    {"NT", 14, 14},  {"RF", 16, 16}, {"VM", 17, 17}, {"AC", 18, 18}, {"VIF", 19, 19},
    {"VIP", 20, 20}, {"ID", 21, 21},
};
static const struct flag mxcsr[] = {
    {"IE", 0, 0},   {"DE", 1, 1},   {"ZE", 2, 2},   {"OE", 3, 3},   {"UE", 4, 4},
    {"PE", 5, 5},   {"DAZ", 6, 6},  {"IM", 7, 7},   {"DM", 8, 8},   {"ZM", 9, 9},
    {"OM", 10, 10}, {"UM", 11, 11}, {"PM", 12, 12}, {"FZ", 15, 15},
};

static void describe_flags(GString *xml, const char *id, const struct flag *flags, size_t count)
{
    g_string_append_printf(xml, "<flags id=\"%s\" size=\"4\">", id);
    for (size_t i = 0; i < count; i++)
        g_string_append_printf(xml, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", flags[i].name,
                               flags[i].low, flags[i].high);
    g_string_append(xml, "</flags>\n");
}

/* An XMM register seen as vectors of different elements; the fields' names are those that GDB gives
 * them elsewhere. */
static void describe_vectors(GString *xml)
{
    static const struct {
        const char *name, *type;
        unsigned count;
    } vectors[] = {
        {"v8_bfloat16", "bfloat16", 8},  {"v4_float", "ieee_single", 4},
        {"v2_double", "ieee_double", 2}, {"v16_int8", "int8", 16},
        {"v8_int16", "int16", 8},        {"v4_int32", "int32", 4},
        {"v2_int64", "int64", 2},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(vectors); i++)
        g_string_append_printf(xml, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>\n",
                               vectors[i].name, vectors[i].type, vectors[i].count);
    g_string_append(xml, "<union id=\"vec128\">");
    for (size_t i = 0; i < G_N_ELEMENTS(vectors); i++)
        g_string_append_printf(xml, "<field name=\"%s\" type=\"%s\"/>", vectors[i].name,
                               vectors[i].name);
    g_string_append(xml, "<field name=\"uint128\" type=\"uint128\"/></union>\n");
}

/* The types that the feature's registers use and that GDB does not have. */
static void describe_types(GString *xml, enum feature feature)
{
    if (feature == FEATURE_CORE)
        describe_flags(xml, "i386_eflags", eflags, G_N_ELEMENTS(eflags));
    if (feature == FEATURE_SSE) {
        describe_vectors(xml);
        describe_flags(xml, "i386_mxcsr", mxcsr, G_N_ELEMENTS(mxcsr));
    }
}

static void describe_feature(GString *xml, enum feature feature)
{
    static const char *const names[] = {
        [FEATURE_CORE] = "org.gnu.gdb.i386.core",
        [FEATURE_SSE] = "org.gnu.gdb.i386.sse",
        [FEATURE_AVX] = "org.gnu.gdb.i386.avx",
        [FEATURE_SEGMENTS] = "org.gnu.gdb.i386.segments",
        [FEATURE_SYSTEM] = "org.trapeze.i386.system",
    };

    g_string_append_printf(xml, "<feature name=\"%s\">\n", names[feature]);
    describe_types(xml, feature);
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        const struct reg *r = &table[i];

        if (r->feature != feature)
            continue;
        g_string_append_printf(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"",
                               r->name, r->size * 8u, r->type, i);
        if (r->group)
            g_string_append_printf(xml, " group=\"%s\"", r->group);
        g_string_append(xml, "/>\n");
    }
    g_string_append(xml, "</feature>\n");
}

bool registers_have_avx(const struct machine *m)
{
    g_autofree struct kvm_cpuid2 *leaves = cpu_model_cpuid(m->cpu_model, 0);

    for (unsigned i = 0; i < leaves->nent; i++)
        if (leaves->entries[i].function == 1)
            return leaves->entries[i].ecx >> 28 & 1;
    return false;
}

char *registers_describe(const struct gdb *g)
{
    GString *xml = g_string_new("<?xml version=\"1.0\"?>\n"
                                "<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
                                "<target><architecture>i386:x86-64</architecture>\n");

    for (enum feature f = 0; f < FEATURES; f++)
        if (has_feature(g, f))
            describe_feature(xml, f);
    g_string_append(xml, "</target>\n");
    return g_string_free(xml, FALSE);
}

/* ---- getting and setting ---- */

static struct machine_vcpu *selected(const struct gdb *g)
{
    return g->machine->vcpus[g->selected];
}

static long request(struct machine_vcpu *v, unsigned long number, void *argument)
{
    return engine_ioctl_pointer(v->machine->engine, v->file, number, argument);
}

static bool msr(struct machine_vcpu *v, unsigned long number, uint64_t *value)
{
    g_autofree struct kvm_msrs *one = g_malloc0(sizeof *one + sizeof one->entries[0]);

    one->nmsrs = 1;
    one->entries[0] = (struct kvm_msr_entry){.index = MSR_KERNEL_GS_BASE, .data = *value};
    if (request(v, number, one) != 1)
        return false;
    *value = one->entries[0].data;
    return true;
}

/* Gets what is in PLACE. */
static bool get(struct machine_vcpu *v, struct state *s, enum place place)
{
    switch (place) {
    case PLACE_REGS:
        return request(v, KVM_GET_REGS, &s->regs) >= 0;
    case PLACE_SREGS:
        return request(v, KVM_GET_SREGS, &s->sregs) >= 0;
    case PLACE_XSAVE:
    case PLACE_TAGS:
        return request(v, KVM_GET_XSAVE, &s->xsave) >= 0;
    case PLACE_MSR:
        return msr(v, KVM_GET_MSRS, &s->kernel_gs_base);
    }
    return false;
}

static bool put(struct machine_vcpu *v, struct state *s, enum place place)
{
    switch (place) {
    case PLACE_REGS:
        return request(v, KVM_SET_REGS, &s->regs) >= 0;
    case PLACE_SREGS:
        return request(v, KVM_SET_SREGS, &s->sregs) >= 0;
    case PLACE_XSAVE:
    case PLACE_TAGS:
        return request(v, KVM_SET_XSAVE, &s->xsave) >= 0;
    case PLACE_MSR:
        return msr(v, KVM_SET_MSRS, &s->kernel_gs_base);
    }
    return false;
}

static bool get_state(struct machine_vcpu *v, struct state *s)
{
    memset(s, 0, sizeof *s);
    return get(v, s, PLACE_REGS) && get(v, s, PLACE_SREGS) && get(v, s, PLACE_XSAVE) &&
           get(v, s, PLACE_MSR);
}

/* The tag word of the x87 (SDM volume 1, 8.1.7), two bits a physical register, from XSAVE's short
 * form and the registers: valid, zero, special, empty. */
static uint16_t full_tags(const uint8_t *xsave)
{
    unsigned top = xsave[XSAVE_FSW + 1] >> 3 & 7;
    uint16_t tags = 0;

    for (unsigned physical = 0; physical < 8; physical++) {
        const uint8_t *st = xsave + XSAVE_ST((physical - top) & 7);
        uint64_t significand;
        uint16_t exponent;
        unsigned tag = 2;

        memcpy(&significand, st, 8);
        memcpy(&exponent, st + 8, 2);
        exponent &= 0x7fff;
        if (!(xsave[XSAVE_FTW] >> physical & 1))
            tag = 3;
        else if (!exponent && !significand)
            tag = 1;
        else if (exponent && exponent != 0x7fff && significand >> 63)
            tag = 0;
        tags |= (uint16_t)(tag << (physical * 2));
    }
    return tags;
}

static uint8_t short_tags(uint16_t tags)
{
    uint8_t bits = 0;

    for (unsigned i = 0; i < 8; i++)
        bits |= (uint8_t)(((tags >> (i * 2) & 3) != 3) << i);
    return bits;
}

/* Register R of S, in the protocol's bytes. */
static void take_out(const struct state *s, const struct reg *r, uint8_t *bytes)
{
    uint16_t tags;

    memset(bytes, 0, r->size);
    if (r->place == PLACE_TAGS) {
        tags = full_tags((const uint8_t *)&s->xsave);
        memcpy(bytes, &tags, sizeof tags);
    } else {
        memcpy(bytes, (const uint8_t *)s + r->offset, r->held);
    }
}

static void put_in(struct state *s, const struct reg *r, const uint8_t *bytes)
{
    uint8_t *xsave = (uint8_t *)&s->xsave;
    uint16_t tags;

    if (r->place == PLACE_TAGS) {
        memcpy(&tags, bytes, sizeof tags);
        xsave[XSAVE_FTW] = short_tags(tags);
    } else {
        memcpy((uint8_t *)s + r->offset, bytes, r->held);
    }
    xsave[XSAVE_BV] |= r->xstate; /* no longer in its initial state */
}

/* The register NUMBER, or NULL. */
static const struct reg *find(const struct gdb *g, uint64_t number)
{
    if (number >= ARRAY_SIZE(table) || !has_feature(g, table[number].feature))
        return NULL;
    return &table[number];
}

bool registers_get(struct gdb *g, uint64_t number, GString *to)
{
    const struct reg *r = find(g, number);
    struct state s = {0};
    uint8_t bytes[BYTES_MAX];

    if (!r || !get(selected(g), &s, r->place))
        return false;
    take_out(&s, r, bytes);
    packet_append_hex(to, bytes, r->size);
    return true;
}

bool registers_set(struct gdb *g, uint64_t number, const char *text)
{
    const struct reg *r = find(g, number);
    struct state s = {0};
    uint8_t bytes[BYTES_MAX];

    if (!r || r->fixed || strlen(text) != r->size * 2u || !packet_from_hex(text, bytes, r->size) ||
        !get(selected(g), &s, r->place))
        return false;
    put_in(&s, r, bytes);
    return put(selected(g), &s, r->place);
}

bool registers_get_all(struct gdb *g, GString *to)
{
    struct state s;
    uint8_t bytes[BYTES_MAX];

    if (!get_state(selected(g), &s))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        if (!has_feature(g, table[i].feature))
            continue;
        take_out(&s, &table[i], bytes);
        packet_append_hex(to, bytes, table[i].size);
    }
    return true;
}

bool registers_set_all(struct gdb *g, const char *text)
{
    struct machine_vcpu *v = selected(g);
    struct state s;
    uint8_t bytes[BYTES_MAX];
    size_t left = strlen(text);

    if (!get_state(v, &s))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        const struct reg *r = &table[i];

        if (!has_feature(g, r->feature))
            continue;
        if (left < r->size * 2u || !packet_from_hex(text, bytes, r->size))
            return false;
        if (!r->fixed)
            put_in(&s, r, bytes);
        text += r->size * 2u;
        left -= r->size * 2u;
    }
    return left == 0 && put(v, &s, PLACE_SREGS) && put(v, &s, PLACE_REGS) &&
           put(v, &s, PLACE_XSAVE) && put(v, &s, PLACE_MSR);
}
