/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decoder against Zydis: every opcode of every map, with prefixes, ModRM forms and modes, and
 * random bytes.  Compared are validity, length, mnemonic, operands (registers, memory, immediates,
 * access, size), flags, implicit registers, privilege, LOCK and branches.
 *
 * Deliberate differences are in the table differences[], each with its reason; one that no longer
 * occurs fails the test too.
 */
#include "processor/decode/decode.h"

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
    ASPECTS
};
static const char *const aspect_names[ASPECTS] = {
    "accepted",    "refused",       "length",          "mnemonic",           "memory address",
    "memory size", "memory access", "registers",       "immediate",          "operand size",
    "flags read",  "flags written", "flags undefined", "implicit registers", "privileged",
    "lockable",    "branch"};

struct difference {
    enum aspect aspect;
    const char *names; /* space-separated mnemonics (ours for ACCEPTED, else Zydis's), or "*" */
    const char *reason;
};
#include "test-decode-differences.h"

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

struct sample {
    uint8_t bytes[16];
    size_t size;
    enum decode_mode mode;
};

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

static bool offered(const ZydisDecodedInstruction *z)
{
    switch (z->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
        break;
    default:
        return false;
    }
    switch (z->meta.isa_ext) {
    case ZYDIS_ISA_EXT_AMD3DNOW:
    case ZYDIS_ISA_EXT_AMD_INVLPGB:
    case ZYDIS_ISA_EXT_AMX_BF16:
    case ZYDIS_ISA_EXT_AMX_INT8:
    case ZYDIS_ISA_EXT_AMX_TILE:
    case ZYDIS_ISA_EXT_AVX512EVEX:
    case ZYDIS_ISA_EXT_AVX512VEX:
    case ZYDIS_ISA_EXT_AVX_VNNI:
    case ZYDIS_ISA_EXT_CET:
    case ZYDIS_ISA_EXT_CLZERO:
    case ZYDIS_ISA_EXT_ENQCMD:
    case ZYDIS_ISA_EXT_FMA4:
    case ZYDIS_ISA_EXT_HRESET:
    case ZYDIS_ISA_EXT_KEYLOCKER:
    case ZYDIS_ISA_EXT_KEYLOCKER_WIDE:
    case ZYDIS_ISA_EXT_KNC:
    case ZYDIS_ISA_EXT_KNCE:
    case ZYDIS_ISA_EXT_KNCV:
    case ZYDIS_ISA_EXT_MCOMMIT:
    case ZYDIS_ISA_EXT_MONITORX:
    case ZYDIS_ISA_EXT_MOVDIR:
    case ZYDIS_ISA_EXT_PADLOCK:
    case ZYDIS_ISA_EXT_PCONFIG:
    case ZYDIS_ISA_EXT_PKU:
    case ZYDIS_ISA_EXT_PT:
    case ZYDIS_ISA_EXT_RDPRU:
    case ZYDIS_ISA_EXT_RTM:
    case ZYDIS_ISA_EXT_SERIALIZE:
    case ZYDIS_ISA_EXT_SGX:
    case ZYDIS_ISA_EXT_SGX_ENCLV:
    case ZYDIS_ISA_EXT_SMX:
    case ZYDIS_ISA_EXT_SNP:
    case ZYDIS_ISA_EXT_SSE4A:
    case ZYDIS_ISA_EXT_TBM:
    case ZYDIS_ISA_EXT_TDX:
    case ZYDIS_ISA_EXT_TSX_LDTRK:
    case ZYDIS_ISA_EXT_UINTR:
    case ZYDIS_ISA_EXT_WAITPKG:
    case ZYDIS_ISA_EXT_XOP:
        return false;
    case ZYDIS_ISA_EXT_SVM:
        return z->mnemonic == ZYDIS_MNEMONIC_VMMCALL;
    default:
        /* The three opcodes whose only purpose is #UD. */
        return z->mnemonic != ZYDIS_MNEMONIC_UD0 && z->mnemonic != ZYDIS_MNEMONIC_UD1 &&
               z->mnemonic != ZYDIS_MNEMONIC_UD2;
    }
}

static ZydisDecoder decoders[3];

static void compare(const struct sample *s)
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
    }
}

/* ---------------------------------------------------------------- the samples */

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

static void expect_agreement(void)
{
    if (problems)
        g_test_fail();
    g_test_message("%u mismatches", problems);
    problems = 0;
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
                compare(&s);
            }
        }
    }
    expect_agreement();
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
                compare(&s);
            }
        }
    }
    expect_agreement();
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
        compare(&s);
    }
    expect_agreement();
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

static void test_differences_occur(void)
{
    for (size_t n = 0; n < ARRAY_SIZE(differences); n++) {
        if (!difference_seen[n]) {
            g_test_message("did not occur: %s of %s", aspect_names[differences[n].aspect],
                           differences[n].names);
            g_test_fail();
        }
    }
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"16", "32", "64"};
    static const ZydisMachineMode machine_modes[] = {
        ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth stack_widths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                                   ZYDIS_STACK_WIDTH_64};
    g_test_init(&argc, &argv, NULL);
    reported = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (unsigned m = 0; m < 3; m++) {
        ZydisDecoderInit(&decoders[m], machine_modes[m], stack_widths[m]);
        /* These are not offered: their encodings are hint NOPs. */
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
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
    g_test_add_func("/decode/differences/occur", test_differences_occur);

    int result = g_test_run();
    g_hash_table_unref(reported);
    return result;
}
