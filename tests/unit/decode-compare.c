/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decode-compare.h"

#include <glib.h>
#include <inttypes.h>
#include <string.h>
#include <Zydis/Zydis.h>

/* What of an instruction can differ. */
enum aspect {
    ACCEPTED, /* valid for us, not for Zydis */
    REFUSED,  /* the other way round */
    LENGTH,
    MNEMONIC,
    MEMORY_ADDRESS,
    MEMORY_SIZE,
    MEMORY_ACCESS,
    REGISTERS,
    IMMEDIATE,
    OPSIZE,
    FLAGS_READ,
    FLAGS_WRITTEN,
    FLAGS_UNDEFINED,
    IMPLICIT_REGISTERS,
    PRIVILEGED,
    LOCKABLE,
    BRANCHES,
    STACK,
    PORTS,
    ALIGNED,
    EXCEPTIONS,
    FEATURES,
    ASPECTS
};
static const char *const aspect_names[ASPECTS] = {"accepted",
                                                  "refused",
                                                  "length",
                                                  "mnemonic",
                                                  "memory address",
                                                  "memory size",
                                                  "memory access",
                                                  "registers",
                                                  "immediate",
                                                  "operand size",
                                                  "flags read",
                                                  "flags written",
                                                  "flags undefined",
                                                  "implicit registers",
                                                  "privileged",
                                                  "lockable",
                                                  "branch",
                                                  "stack",
                                                  "ports",
                                                  "alignment",
                                                  "floating-point exceptions",
                                                  "feature"};

/* A deliberate difference. */
struct difference {
    enum aspect aspect;
    const char *names; /* space-separated mnemonics: ours for ACCEPTED, else Zydis's */
    const char *reason;
};
#include "decode-differences.h"

static bool difference_seen[ARRAY_SIZE(differences)];
static unsigned problems;
static GHashTable *reported;

static bool name_in_list(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += length)
        if ((at == names || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

/* Reports a mismatch that no listed difference explains, once for each aspect and mnemonic. */
static void mismatch(const struct sample *s, enum aspect aspect, const char *name,
                     const char *format, ...) FORMAT_PRINTF(4, 5);
static void mismatch(const struct sample *s, enum aspect aspect, const char *name,
                     const char *format, ...)
{
    for (size_t n = 0; n < ARRAY_SIZE(differences); n++) {
        if (differences[n].aspect == aspect && name_in_list(differences[n].names, name)) {
            difference_seen[n] = true;
            return;
        }
    }
    problems++;
    g_autofree char *key = g_strdup_printf("%s of %s", aspect_names[aspect], name);
    if (g_hash_table_contains(reported, key))
        return;
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autoptr(GString) hex = g_string_new(NULL);
    for (size_t n = 0; n < s->size; n++)
        g_string_append_printf(hex, "%02x ", s->bytes[n]);
    g_test_message("%s: %s, %u-bit mode, bytes %s", key, text, 16u << s->mode, hex->str);
    g_hash_table_add(reported, g_steal_pointer(&key));
}

/* ---------------------------------------------------------------- the comparison */

#define PAGE_AT          0x321  /* the offset given to the decoder */
#define ARITHMETIC_FLAGS 0xed5u /* OF DF IF SF ZF AF PF CF */

struct pair {
    const struct sample *sample;
    struct insn ours;
    ZydisDecodedInstruction theirs;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const char *name; /* Zydis's */
};

/* Our number of a general register, or of its part; REG_SLOTS when it is none. */
static unsigned gpr_number(ZydisRegister r)
{
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8:
        if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
            return REG_HIGH | (unsigned)(r - ZYDIS_REGISTER_AH);
        return r <= ZYDIS_REGISTER_BL ? (unsigned)(r - ZYDIS_REGISTER_AL)
                                      : (unsigned)(r - ZYDIS_REGISTER_SPL) + 4;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        return (unsigned)ZydisRegisterGetId(r);
    default:
        return REG_SLOTS;
    }
}

static unsigned segment_number(ZydisRegister r)
{
    return (unsigned)(r - ZYDIS_REGISTER_ES);
}

static void compare_address(const struct pair *p, const ZydisDecodedOperand *m)
{
    const struct insn *i = &p->ours;
    unsigned base = REG_NONE, index = REG_NONE;
    int64_t disp = m->mem.disp.has_displacement ? m->mem.disp.value : 0;
    if (m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP) {
        base = REG_CODE;
        disp += PAGE_AT + p->theirs.length;
    } else if (m->mem.base != ZYDIS_REGISTER_NONE) {
        base = gpr_number(m->mem.base);
    }
    if (m->mem.index != ZYDIS_REGISTER_NONE)
        index = m->mem.type == ZYDIS_MEMOP_TYPE_VSIB ? (unsigned)ZydisRegisterGetId(m->mem.index)
                                                     : gpr_number(m->mem.index);
    /* Zydis 4.0 takes R13D for a base where SIB has none, with 67 and REX.B; processors do not. */
    if (p->theirs.address_width == 32 && m->mem.base == ZYDIS_REGISTER_R13D &&
        p->theirs.raw.modrm.mod == 0 && p->theirs.raw.sib.base == 5) {
        base = REG_NONE;
        disp = p->theirs.raw.disp.value;
    }
    if (i->attr->operand[0].kind == OPERAND_MOFFS || i->attr->operand[1].kind == OPERAND_MOFFS)
        disp = (int64_t)((uint64_t)disp & ~0ull >> (64 - p->theirs.address_width));
    unsigned scale = m->mem.scale ? (unsigned)__builtin_ctz(m->mem.scale) : 0;
    if (base != i->base || index != i->index || (index != REG_NONE && scale != i->scale) ||
        disp != i->disp || i->addrsize * 8 != p->theirs.address_width)
        mismatch(p->sample, MEMORY_ADDRESS, p->name,
                 "base %u index %u scale %u disp %" PRIi64 ", Zydis has %u %u %u %" PRIi64, i->base,
                 i->index, i->scale, i->disp, base, index, scale, disp);
    if (m->mem.type != ZYDIS_MEMOP_TYPE_AGEN && segment_number(m->mem.segment) != i->seg)
        mismatch(p->sample, MEMORY_ADDRESS, p->name, "segment %u, Zydis has %u", i->seg,
                 segment_number(m->mem.segment));
}

/* A destination that may be left alone counts as read, as its old value shows. */
static unsigned access_of(const ZydisDecodedOperand *o)
{
    if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->actions & ZYDIS_OPERAND_ACTION_CONDWRITE)
        return ACCESS_RW;
    return (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? ACCESS_READ : 0) |
           (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACCESS_WRITE : 0);
}

/* The number that operand N of ours names, comparable to the register Zydis has there. */
static unsigned operand_number(const struct insn *i, unsigned n)
{
    switch (i->attr->operand[n].kind) {
    case OPERAND_RM:
    case OPERAND_OPREG:
    case OPERAND_XMM_RM:
    case OPERAND_MMX_RM:
        return i->rm;
    case OPERAND_VREG:
    case OPERAND_XMM_V:
        return insn_vvvv(i);
    case OPERAND_XMM_IMM:
        return (i->imm >> 4) & 15;
    case OPERAND_XMM0:
        return 0;
    default:
        return i->reg;
    }
}

static void compare_register(const struct pair *p, unsigned n, const ZydisDecodedOperand *o)
{
    const struct insn *i = &p->ours;
    const struct operand *operand = &i->attr->operand[n];
    unsigned number = operand_number(i, n), theirs = (unsigned)ZydisRegisterGetId(o->reg.value);
    bool general = false, right = false;

    switch (ZydisRegisterGetClass(o->reg.value)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        general = true;
        theirs = gpr_number(o->reg.value);
        right = operand->kind == OPERAND_REG || operand->kind == OPERAND_RM ||
                operand->kind == OPERAND_OPREG || operand->kind == OPERAND_VREG ||
                operand->kind == OPERAND_ACC;
        break;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
        right = operand->kind == OPERAND_XMM_REG || operand->kind == OPERAND_XMM_RM ||
                operand->kind == OPERAND_XMM_V || operand->kind == OPERAND_XMM_IMM ||
                operand->kind == OPERAND_XMM0;
        break;
    case ZYDIS_REGCLASS_MMX:
        right = operand->kind == OPERAND_MMX_REG || operand->kind == OPERAND_MMX_RM;
        break;
    case ZYDIS_REGCLASS_SEGMENT:
        theirs = segment_number(o->reg.value);
        right = operand->kind == OPERAND_SREG;
        break;
    case ZYDIS_REGCLASS_CONTROL:
        right = operand->kind == OPERAND_CR;
        break;
    case ZYDIS_REGCLASS_DEBUG:
        right = operand->kind == OPERAND_DR;
        break;
    case ZYDIS_REGCLASS_X87:
        right = operand->kind == OPERAND_ST;
        theirs = number; /* which one is the native instruction's business */
        break;
    default:
        break;
    }
    if (!right || number != theirs)
        mismatch(p->sample, REGISTERS, p->name,
                 "operand %u: kind %u number %#x, Zydis has %s (%#x)", n, operand->kind, number,
                 ZydisRegisterGetString(o->reg.value), theirs);
    else if (operand->kind != OPERAND_ST && operand->access != access_of(o))
        mismatch(p->sample, REGISTERS, p->name, "operand %u: access %u, Zydis has %u", n,
                 operand->access, access_of(o));
    else if (general && insn_operand_size(i, n) * 8u != o->size)
        mismatch(p->sample, REGISTERS, p->name, "operand %u: size %u, Zydis has %u bits", n,
                 insn_operand_size(i, n), o->size);
}

static void compare_memory(const struct pair *p, unsigned n, const ZydisDecodedOperand *o)
{
    const struct insn *i = &p->ours;
    if (insn_memory_operand(i) != (int)n) {
        mismatch(p->sample, REGISTERS, p->name, "operand %u is memory for Zydis only", n);
        return;
    }
    compare_address(p, o);
    if (i->attr->operand[n].access == ACCESS_NONE && o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
        return;
    if (i->attr->operand[n].access != access_of(o))
        mismatch(p->sample, MEMORY_ACCESS, p->name, "%u, Zydis has %u", i->attr->operand[n].access,
                 access_of(o));
    if (i->attr->operand[n].size != SIZE_VAR && insn_operand_size(i, n) * 8u != o->size)
        mismatch(p->sample, MEMORY_SIZE, p->name, "%u bytes, Zydis has %u bits",
                 insn_operand_size(i, n), o->size);
}

static void compare_immediate(const struct pair *p, unsigned n, const ZydisDecodedOperand *o)
{
    const struct insn *i = &p->ours;
    unsigned kind = i->attr->operand[n].kind;
    uint64_t ours = i->imm, theirs = o->imm.value.u;
    if (i->attr->op == OP_ENTER) /* two immediates for Zydis, one for us */
        ours = n == 0 ? i->imm & 0xffff : i->imm >> 16;
    else if (i->attr->class == CLASS_VECTOR || i->prefixes & PREFIX_VEX)
        ours &= 0xff;
    if (o->size < 64) { /* the extension beyond the operand size is free */
        ours &= (1ull << o->size) - 1;
        theirs &= (1ull << o->size) - 1;
    }
    if ((kind != OPERAND_IMM && kind != OPERAND_REL && !(i->attr->op == OP_ENTER && n == 1)) ||
        ours != theirs)
        mismatch(p->sample, IMMEDIATE, p->name, "%#" PRIx64 ", Zydis has %#" PRIx64, ours, theirs);
}

/* Registers that Zydis lists as visible but we as implicit: CL of shifts, DX of IN and OUT, ST(0).
 */
static bool implicit_for_us(const struct pair *p, const ZydisDecodedOperand *o)
{
    return o->visibility == ZYDIS_OPERAND_VISIBILITY_IMPLICIT &&
           o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           (o->reg.value == ZYDIS_REGISTER_CL || o->reg.value == ZYDIS_REGISTER_DX ||
            ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_X87 ||
            p->ours.attr->op == OP_X87);
}

static void compare_operands(const struct pair *p)
{
    const struct insn *i = &p->ours;
    unsigned n = 0;
    if (i->attr->traits & TRAIT_STRING || i->attr->op == OP_X87 || i->attr->op == OP_XLAT) {
        for (unsigned z = 0; z < p->theirs.operand_count; z++) {
            const ZydisDecodedOperand *o = &p->operands[z];
            if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
                continue;
            if (o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && i->attr->op == OP_X87)
                compare_memory(p, (unsigned)insn_memory_operand(i), o);
            else if (gpr_number(o->mem.base) != REG_RDI && i->seg != segment_number(o->mem.segment))
                mismatch(p->sample, MEMORY_ADDRESS, p->name, "source segment %u", i->seg);
        }
        return;
    }
    for (unsigned z = 0; z < p->theirs.operand_count_visible; z++) {
        const ZydisDecodedOperand *o = &p->operands[z];
        if (implicit_for_us(p, o))
            continue;
        switch (o->type) {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            compare_register(p, n, o);
            break;
        case ZYDIS_OPERAND_TYPE_MEMORY:
            compare_memory(p, n, o);
            break;
        case ZYDIS_OPERAND_TYPE_IMMEDIATE:
            compare_immediate(p, n, o);
            break;
        default:
            if (i->attr->operand[n].kind != OPERAND_FAR ||
                i->imm != (o->ptr.offset | (uint64_t)o->ptr.segment << 32))
                mismatch(p->sample, IMMEDIATE, p->name, "far pointer %#" PRIx64, i->imm);
            break;
        }
        n++;
    }
    if (i->attr->op == OP_ENTER)
        n--;
    if (n < 4 && i->attr->operand[n].kind != OPERAND_NONE &&
        i->attr->operand[n].kind != OPERAND_XMM0)
        mismatch(p->sample, REGISTERS, p->name, "operand %u is ours only", n);
}

/* Implicit registers: those that Zydis has as implicit or hidden operands or as bases of hidden
 * memory, but for what we count as explicit (OPERAND_ACC) or see elsewhere. */
static void compare_implicit(const struct pair *p)
{
    const struct insn_attr *attr = p->ours.attr;
    unsigned reads = 0, writes = 0, ours_read = attr->implicit_read & 0xffff;
    unsigned ours_written = attr->implicit_written & 0xffff;
    for (unsigned z = 0; z < p->theirs.operand_count; z++) {
        const ZydisDecodedOperand *o = &p->operands[z];
        if (o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
            continue;
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            unsigned base = gpr_number(o->mem.base), index = gpr_number(o->mem.index);
            reads |= (base < 16 ? 1u << base : 0) | (index < 16 ? 1u << index : 0);
        } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            unsigned number = gpr_number(o->reg.value);
            if (number == REG_SLOTS)
                continue;
            reads |= access_of(o) & ACCESS_READ ? 1u << (number & 15 & ~(number >> 4)) : 0;
            writes |= access_of(o) & ACCESS_WRITE ? 1u << (number & 15 & ~(number >> 4)) : 0;
        }
    }
    for (unsigned n = 0; n < 4; n++) {
        if (attr->operand[n].kind == OPERAND_ACC) {
            ours_read |= attr->operand[n].access & ACCESS_READ ? 1 : 0;
            ours_written |= attr->operand[n].access & ACCESS_WRITE ? 1 : 0;
        }
    }
    if (attr->traits & TRAIT_STRING && p->ours.prefixes & (PREFIX_REP | PREFIX_REPNE)) {
        ours_read |= 1 << REG_RCX;
        ours_written |= 1 << REG_RCX;
    }
    if (reads != ours_read || writes != ours_written)
        mismatch(p->sample, IMPLICIT_REGISTERS, p->name,
                 "read %#x, written %#x; Zydis has %#x, %#x", ours_read, ours_written, reads,
                 writes);
}

static void compare_flags(const struct pair *p)
{
    static const ZydisAccessedFlags none;
    const struct insn_attr *attr = p->ours.attr;
    const ZydisAccessedFlags *f = p->theirs.cpu_flags ? p->theirs.cpu_flags : &none;
    unsigned read = f->tested & ARITHMETIC_FLAGS;
    unsigned written = (f->modified | f->set_0 | f->set_1) & ARITHMETIC_FLAGS;
    unsigned undefined = f->undefined & ARITHMETIC_FLAGS;
    if (read != (attr->flags_read & ARITHMETIC_FLAGS))
        mismatch(p->sample, FLAGS_READ, p->name, "%#x, Zydis has %#x", attr->flags_read, read);
    if (written != (attr->flags_written & ARITHMETIC_FLAGS))
        mismatch(p->sample, FLAGS_WRITTEN, p->name, "%#x, Zydis has %#x", attr->flags_written,
                 written);
    if (undefined != (attr->flags_undefined & ARITHMETIC_FLAGS))
        mismatch(p->sample, FLAGS_UNDEFINED, p->name, "%#x, Zydis has %#x", attr->flags_undefined,
                 undefined);
}

static bool opsize_matters(const struct insn *i)
{
    if (i->attr->class == CLASS_VECTOR)
        return false;
    for (unsigned n = 0; n < 4; n++)
        if (i->attr->operand[n].kind != OPERAND_NONE && i->attr->operand[n].size == SIZE_OP)
            return true;
    return i->attr->traits & (TRAIT_STACK | TRAIT_STRING | TRAIT_BRANCH);
}

static void compare_attributes(const struct pair *p)
{
    const struct insn_attr *attr = p->ours.attr;
    bool privileged = p->theirs.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED;
    bool lockable = p->theirs.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK;
    bool branch = p->theirs.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
    if (!privileged != !(attr->traits & TRAIT_PRIVILEGED))
        mismatch(p->sample, PRIVILEGED, p->name, "Zydis says %d", privileged);
    /* Zydis asks whether this form accepts it, we whether the opcode does. */
    if (insn_has_memory(&p->ours) && !lockable != !(attr->traits & TRAIT_LOCKABLE))
        mismatch(p->sample, LOCKABLE, p->name, "Zydis says %d", lockable);
    if (!branch != !(attr->traits & TRAIT_BRANCH))
        mismatch(p->sample, BRANCHES, p->name, "Zydis says %d", branch);
    if (opsize_matters(&p->ours) && p->ours.opsize * 8 != p->theirs.operand_width)
        mismatch(p->sample, OPSIZE, p->name, "%u, Zydis has %u bits", p->ours.opsize,
                 p->theirs.operand_width);
}

/* Traits of vector instructions by the SDM's exception classes (volume 2, 2.4 and 2.7). */
static void compare_exceptions(const struct pair *p)
{
    uint32_t traits = p->ours.attr->traits;
    bool aligned = false, exceptions = false;
    switch (p->theirs.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE1:
    case ZYDIS_EXCEPTION_CLASS_SSE4:
        aligned = true;
        break;
    case ZYDIS_EXCEPTION_CLASS_SSE2:
        aligned = true;
        exceptions = true;
        break;
    case ZYDIS_EXCEPTION_CLASS_AVX1:
        aligned = true;
        break;
    case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_AVX2:
    case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX11:
        exceptions = true;
        break;
    case ZYDIS_EXCEPTION_CLASS_NONE:
        return;
    default:
        break;
    }
    if (insn_has_memory(&p->ours) && aligned != !!(traits & TRAIT_ALIGNED))
        mismatch(p->sample, ALIGNED, p->name, "Zydis says %d (class %u)", aligned,
                 p->theirs.meta.exception_class);
    if (exceptions != !!(traits & TRAIT_FP))
        mismatch(p->sample, EXCEPTIONS, p->name, "Zydis says %d (class %u)", exceptions,
                 p->theirs.meta.exception_class);
}

/* Our feature of Zydis's instruction sets; the many sets of general instructions are BASE. */
static const uint8_t set_features[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
    [ZYDIS_ISA_SET_ADOX_ADCX] = FEATURE_ADX,
    [ZYDIS_ISA_SET_AES] = FEATURE_AES,
    [ZYDIS_ISA_SET_AVX] = FEATURE_AVX,
    [ZYDIS_ISA_SET_AVX2] = FEATURE_AVX2,
    [ZYDIS_ISA_SET_AVX2GATHER] = FEATURE_AVX2,
    [ZYDIS_ISA_SET_AVXAES] = FEATURE_AES,
    [ZYDIS_ISA_SET_AVX_GFNI] = FEATURE_GFNI,
    [ZYDIS_ISA_SET_BMI1] = FEATURE_BMI1,
    [ZYDIS_ISA_SET_BMI2] = FEATURE_BMI2,
    [ZYDIS_ISA_SET_CLFLUSHOPT] = FEATURE_CLFLUSHOPT,
    [ZYDIS_ISA_SET_CLWB] = FEATURE_CLWB,
    [ZYDIS_ISA_SET_CMPXCHG16B] = FEATURE_CX16,
    [ZYDIS_ISA_SET_F16C] = FEATURE_F16C,
    [ZYDIS_ISA_SET_FCMOV] = FEATURE_X87,
    [ZYDIS_ISA_SET_FMA] = FEATURE_FMA,
    [ZYDIS_ISA_SET_FXSAVE] = FEATURE_FXSR,
    [ZYDIS_ISA_SET_FXSAVE64] = FEATURE_FXSR,
    [ZYDIS_ISA_SET_GFNI] = FEATURE_GFNI,
    [ZYDIS_ISA_SET_INVPCID] = FEATURE_INVPCID,
    [ZYDIS_ISA_SET_LZCNT] = FEATURE_LZCNT,
    [ZYDIS_ISA_SET_MONITOR] = FEATURE_MONITOR,
    [ZYDIS_ISA_SET_MOVBE] = FEATURE_MOVBE,
    [ZYDIS_ISA_SET_PCLMULQDQ] = FEATURE_PCLMULQDQ,
    [ZYDIS_ISA_SET_PENTIUMMMX] = FEATURE_MMX,
    [ZYDIS_ISA_SET_POPCNT] = FEATURE_POPCNT,
    [ZYDIS_ISA_SET_RDPID] = FEATURE_RDPID,
    [ZYDIS_ISA_SET_RDRAND] = FEATURE_RDRAND,
    [ZYDIS_ISA_SET_RDSEED] = FEATURE_RDSEED,
    [ZYDIS_ISA_SET_RDTSCP] = FEATURE_RDTSCP,
    [ZYDIS_ISA_SET_RDWRFSGS] = FEATURE_FSGSBASE,
    [ZYDIS_ISA_SET_SHA] = FEATURE_SHA,
    [ZYDIS_ISA_SET_SMAP] = FEATURE_SMAP,
    [ZYDIS_ISA_SET_SSE] = FEATURE_SSE,
    [ZYDIS_ISA_SET_SSE2] = FEATURE_SSE2,
    [ZYDIS_ISA_SET_SSE2MMX] = FEATURE_SSE2,
    [ZYDIS_ISA_SET_SSE3] = FEATURE_SSE3,
    [ZYDIS_ISA_SET_SSE3X87] = FEATURE_X87,
    [ZYDIS_ISA_SET_SSE4] = FEATURE_SSE4_1,
    [ZYDIS_ISA_SET_SSE42] = FEATURE_SSE4_2,
    [ZYDIS_ISA_SET_SSEMXCSR] = FEATURE_SSE,
    [ZYDIS_ISA_SET_SSSE3] = FEATURE_SSSE3,
    [ZYDIS_ISA_SET_SSSE3MMX] = FEATURE_SSSE3,
    [ZYDIS_ISA_SET_SVM] = FEATURE_SVM,
    [ZYDIS_ISA_SET_VAES] = FEATURE_VAES,
    [ZYDIS_ISA_SET_VMFUNC] = FEATURE_VMX,
    [ZYDIS_ISA_SET_VPCLMULQDQ] = FEATURE_VPCLMULQDQ,
    [ZYDIS_ISA_SET_VTX] = FEATURE_VMX,
    [ZYDIS_ISA_SET_X87] = FEATURE_X87,
    [ZYDIS_ISA_SET_XSAVE] = FEATURE_XSAVE,
    [ZYDIS_ISA_SET_XSAVEC] = FEATURE_XSAVEC,
    [ZYDIS_ISA_SET_XSAVEOPT] = FEATURE_XSAVEOPT,
    [ZYDIS_ISA_SET_XSAVES] = FEATURE_XSAVES,
};

static void compare_rest(const struct pair *p)
{
    const struct insn_attr *attr = p->ours.attr;
    bool stack = false;
    bool ports = p->theirs.meta.category == ZYDIS_CATEGORY_IO ||
                 p->theirs.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    for (unsigned z = 0; z < p->theirs.operand_count; z++) {
        const ZydisDecodedOperand *o = &p->operands[z];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && gpr_number(o->mem.base) == REG_RSP)
            stack = true;
    }
    if (stack != !!(attr->traits & TRAIT_STACK))
        mismatch(p->sample, STACK, p->name, "Zydis says %d", stack);
    if (ports != !!(attr->traits & TRAIT_IO))
        mismatch(p->sample, PORTS, p->name, "Zydis says %d", ports);
    if (attr->feature != set_features[p->theirs.meta.isa_set])
        mismatch(p->sample, FEATURES, p->name, "%u, Zydis has %s", attr->feature,
                 ZydisISASetGetString(p->theirs.meta.isa_set));
}

/* Whether two mnemonics are the same: operations whose names Intel derives from the operand size
 * have one name here. */
static bool same_mnemonic(const struct insn *i, const char *theirs)
{
    const char *ours = i->attr->name;
    if (strcmp(ours, theirs) == 0)
        return true;
    size_t length = strlen(ours);
    if (i->attr->traits & TRAIT_STRING || i->attr->op == OP_PUSHA || i->attr->op == OP_POPA ||
        i->attr->op == OP_PUSHF || i->attr->op == OP_POPF || i->attr->op == OP_FXSAVE ||
        i->attr->op == OP_FXRSTOR || i->attr->op == OP_XSAVE || i->attr->op == OP_XRSTOR ||
        i->attr->op == OP_XSAVEC || i->attr->op == OP_XSAVEOPT || i->attr->op == OP_XSAVES ||
        i->attr->op == OP_XRSTORS || i->attr->op == OP_SYSRET || i->attr->op == OP_SYSEXIT)
        return strncmp(ours, theirs, length) == 0 &&
               strspn(theirs + length, "bwdq64") == strlen(theirs + length);
    return false;
}

/* Extensions that no processor of ours has: their encodings are #UD. */
static const uint8_t not_offered[] = {
    ZYDIS_ISA_EXT_AMD3DNOW,  ZYDIS_ISA_EXT_AMD_INVLPGB, ZYDIS_ISA_EXT_AMX_BF16,
    ZYDIS_ISA_EXT_AMX_INT8,  ZYDIS_ISA_EXT_AMX_TILE,    ZYDIS_ISA_EXT_AVX512EVEX,
    ZYDIS_ISA_EXT_AVX512VEX, ZYDIS_ISA_EXT_AVX_VNNI,    ZYDIS_ISA_EXT_CET,
    ZYDIS_ISA_EXT_CLZERO,    ZYDIS_ISA_EXT_ENQCMD,      ZYDIS_ISA_EXT_FMA4,
    ZYDIS_ISA_EXT_HRESET,    ZYDIS_ISA_EXT_KEYLOCKER,   ZYDIS_ISA_EXT_KEYLOCKER_WIDE,
    ZYDIS_ISA_EXT_KNC,       ZYDIS_ISA_EXT_KNCE,        ZYDIS_ISA_EXT_KNCV,
    ZYDIS_ISA_EXT_MCOMMIT,   ZYDIS_ISA_EXT_MONITORX,    ZYDIS_ISA_EXT_MOVDIR,
    ZYDIS_ISA_EXT_PADLOCK,   ZYDIS_ISA_EXT_PCONFIG,     ZYDIS_ISA_EXT_PKU,
    ZYDIS_ISA_EXT_PT,        ZYDIS_ISA_EXT_RDPRU,       ZYDIS_ISA_EXT_RTM,
    ZYDIS_ISA_EXT_SERIALIZE, ZYDIS_ISA_EXT_SGX,         ZYDIS_ISA_EXT_SGX_ENCLV,
    ZYDIS_ISA_EXT_SMX,       ZYDIS_ISA_EXT_SNP,         ZYDIS_ISA_EXT_SSE4A,
    ZYDIS_ISA_EXT_TBM,       ZYDIS_ISA_EXT_TDX,         ZYDIS_ISA_EXT_TSX_LDTRK,
    ZYDIS_ISA_EXT_UINTR,     ZYDIS_ISA_EXT_WAITPKG,     ZYDIS_ISA_EXT_XOP,
};

static bool offered(const ZydisDecodedInstruction *z)
{
    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
        z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
        return false;
    if (memchr(not_offered, z->meta.isa_ext, sizeof(not_offered)))
        return false;
    if (z->meta.isa_ext == ZYDIS_ISA_EXT_SVM)
        return z->mnemonic == ZYDIS_MNEMONIC_VMMCALL;
    /* The three opcodes whose only purpose is #UD. */
    return z->mnemonic != ZYDIS_MNEMONIC_UD0 && z->mnemonic != ZYDIS_MNEMONIC_UD1 &&
           z->mnemonic != ZYDIS_MNEMONIC_UD2;
}

static ZydisDecoder decoders[3];

void compare_sample(const struct sample *s)
{
    struct pair p = {.sample = s};
    enum decode_result result = insn_decode(s->bytes, s->size, s->mode, PAGE_AT, &p.ours);
    ZyanStatus status =
        ZydisDecoderDecodeFull(&decoders[s->mode], s->bytes, s->size, &p.theirs, p.operands);
    bool valid = ZYAN_SUCCESS(status);
    p.name = valid ? ZydisMnemonicGetString(p.theirs.mnemonic) : "";

    if (result == DECODE_OK && !valid) {
        mismatch(s, ACCEPTED, p.ours.attr->name, "status %#x", status);
    } else if (valid && offered(&p.theirs) && result != DECODE_OK) {
        mismatch(s, REFUSED, p.name, "result %u", result);
    } else if (valid && !offered(&p.theirs) && result == DECODE_OK) {
        mismatch(s, ACCEPTED, p.ours.attr->name, "as %s", p.name);
    } else if (result == DECODE_OK) {
        if (p.ours.length != p.theirs.length) {
            mismatch(s, LENGTH, p.name, "%u, Zydis has %u", p.ours.length, p.theirs.length);
            return;
        }
        if (!same_mnemonic(&p.ours, p.name))
            mismatch(s, MNEMONIC, p.name, "%s", p.ours.attr->name);
        compare_operands(&p);
        compare_implicit(&p);
        compare_flags(&p);
        compare_attributes(&p);
        compare_exceptions(&p);
        compare_rest(&p);
    }
}

/* ---------------------------------------------------------------- the test's calls */

void compare_init(void)
{
    static const ZydisMachineMode machine_modes[] = {
        ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth stack_widths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                                   ZYDIS_STACK_WIDTH_64};
    for (unsigned m = 0; m < 3; m++) {
        ZydisDecoderInit(&decoders[m], machine_modes[m], stack_widths[m]);
        /* These are not offered: their encodings are hint NOPs. */
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
    }
    reported = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

void compare_finish(void)
{
    if (problems) {
        g_test_message("%u mismatches", problems);
        g_test_fail();
    }
    problems = 0;
}

void compare_differences_occurred(void)
{
    for (size_t n = 0; n < ARRAY_SIZE(differences); n++) {
        if (!difference_seen[n]) {
            g_test_message("did not occur: %s of %s", aspect_names[differences[n].aspect],
                           differences[n].names);
            g_test_fail();
        }
    }
}
