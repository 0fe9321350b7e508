/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MOVS STOS LODS SCAS CMPS. */
#include "repeat.h"

/* Elements that can be processed upwards from OFFSET in segment SEG, at LINEAR, without leaving the
 * page, the segment's limit or the address size; 0 when the next one alone may. */
static uint64_t elements_ahead(const struct processor *p, const struct insn *i, unsigned seg,
                               uint64_t offset, uint64_t linear, unsigned size)
{
    uint64_t bytes = PAGE_BYTES - (linear & PAGE_OFFSET_MASK);
    uint64_t wrap = i->addrsize == 8 ? 0 : i->addrsize == 4 ? BIT(32) : BIT(16);
    if (wrap && wrap - offset < bytes)
        bytes = wrap - offset;
    if ((p->mode & MODE_DECODE) != DECODE_64 && !(p->mode & MODE_FLAT32 && seg < SEG_FS)) {
        const struct segment *s = &p->segment[seg];
        uint32_t down = AR_CODE | AR_CONFORMING_OR_DOWN;
        if ((s->access_rights & down) == AR_CONFORMING_OR_DOWN || offset > s->limit)
            return 0;
        if (s->limit - offset + 1 < bytes)
            bytes = s->limit - offset + 1;
    }
    return bytes / size;
}

/* Copies upwards element by element, as guest-visible overlap demands. */
static inline void copy_elements(void *to, const void *from, uint64_t count, unsigned size)
{
    switch (size) {
    case 1:
        asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    case 2:
        asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    case 4:
        asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    default:
        asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    }
}
static inline void fill_elements(void *to, uint64_t value, uint64_t count, unsigned size)
{
    switch (size) {
    case 1:
        asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
        break;
    case 2:
        asm volatile("rep stosw" : "+D"(to), "+c"(count) : "a"(value) : "memory");
        break;
    case 4:
        asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
        break;
    default:
        asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
        break;
    }
}

/* ---------------------------------------------------------------- MOVS, STOS */

ALWAYS_INLINE void movs_one(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t value = mem_read(p, source_linear(p, i, size), size);
    mem_write(p, destination_linear(p, i, size, MEM_WRITE), value, size);
    advance(p, i, REG_RSI, size);
    advance(p, i, REG_RDI, size);
}

/* Copies what lies in one page of each side, at most LEFT elements, and returns how many; 0 when it
 * must be done one by one. */
static inline uint64_t movs_chunk(struct processor *p, const struct insn *i, uint64_t left,
                                  unsigned size)
{
    uint64_t rsi = address_register(p, i, REG_RSI), rdi = address_register(p, i, REG_RDI);
    uint64_t from = segment_linear(p, i->seg, rsi, size, MEM_READ);
    uint64_t to = segment_linear(p, SEG_ES, rdi, size, MEM_WRITE);
    uint64_t ahead = elements_ahead(p, i, i->seg, rsi, from, size);
    uint64_t count = elements_ahead(p, i, SEG_ES, rdi, to, size);
    count = ahead < count ? ahead : count;
    count = left < count ? left : count;
    if (count == 0)
        return 0;
    uint64_t from_bytes = count * size, to_bytes = count * size;
    void *host_from = mem_host(p, from, MEM_READ, &from_bytes);
    void *host_to = host_from ? mem_host(p, to, MEM_WRITE, &to_bytes) : NULL;
    if (!host_to || from_bytes < count * size || to_bytes < count * size)
        return 0;
    copy_elements(host_to, host_from, count, size);
    return count;
}

static inline uint64_t stos_chunk(struct processor *p, const struct insn *i, uint64_t left,
                                  unsigned size)
{
    uint64_t rdi = address_register(p, i, REG_RDI);
    uint64_t to = segment_linear(p, SEG_ES, rdi, size, MEM_WRITE);
    uint64_t count = elements_ahead(p, i, SEG_ES, rdi, to, size);
    count = left < count ? left : count;
    if (count == 0)
        return 0;
    uint64_t bytes = count * size;
    void *host = mem_host(p, to, MEM_WRITE, &bytes);
    if (!host || bytes < count * size)
        return 0;
    fill_elements(host, p->gpr[REG_RAX], count, size);
    return count;
}

ALWAYS_INLINE void stos_one(struct processor *p, const struct insn *i, unsigned size)
{
    mem_write(p, destination_linear(p, i, size, MEM_WRITE), p->gpr[REG_RAX], size);
    advance(p, i, REG_RDI, size);
}

/* Whether a repetition may go by chunks: upwards, and not instruction by instruction. */
static inline bool by_chunks(const struct processor *p)
{
    return !(p->rflags & FLAG_DF) && !(p->slow & ~SLOW_WINDOW);
}

ALWAYS_INLINE const struct insn *movs(struct processor *p, const struct insn *i, unsigned size)
{
    movs_one(p, i, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *rep_movs(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t left = address_register(p, i, REG_RCX);
    if (left == 0)
        return next_insn(p, i);
    for (;;) {
        uint64_t n = by_chunks(p) ? movs_chunk(p, i, left, size) : 0;
        if (n) {
            advance(p, i, REG_RSI, n * size);
            advance(p, i, REG_RDI, n * size);
        } else {
            movs_one(p, i, size);
            n = 1;
        }
        enum repeat next = repeat_next(p, i, n);
        if (next != REPEAT_MORE)
            return next == REPEAT_END ? next_insn(p, i) : repeat_pause(p, i);
        left -= n;
    }
}
ALWAYS_INLINE const struct insn *stos(struct processor *p, const struct insn *i, unsigned size)
{
    stos_one(p, i, size);
    return next_insn(p, i);
}
ALWAYS_INLINE const struct insn *rep_stos(struct processor *p, const struct insn *i, unsigned size)
{
    uint64_t left = address_register(p, i, REG_RCX);
    if (left == 0)
        return next_insn(p, i);
    for (;;) {
        uint64_t n = by_chunks(p) ? stos_chunk(p, i, left, size) : 0;
        if (n) {
            advance(p, i, REG_RDI, n * size);
        } else {
            stos_one(p, i, size);
            n = 1;
        }
        enum repeat next = repeat_next(p, i, n);
        if (next != REPEAT_MORE)
            return next == REPEAT_END ? next_insn(p, i) : repeat_pause(p, i);
        left -= n;
    }
}
SIZED(movs)
SIZED(rep_movs)
SIZED(stos)
SIZED(rep_stos)

/* ---------------------------------------------------------------- LODS, SCAS, CMPS */

ALWAYS_INLINE const struct insn *lods(struct processor *p, const struct insn *i, unsigned size)
{
    REPEAT(p, i, {
        reg_write(p, REG_RAX, mem_read(p, source_linear(p, i, size), size), size);
        advance(p, i, REG_RSI, size);
    });
}
SIZED(lods)

#define COMPARE_TEXT(suffix, type)                                                                 \
    asm("cmp" suffix " %[b], %[a]" CAPTURE_FLAGS                                                   \
        : "=a"(ax)                                                                                 \
        : [a] "r"((type)a), [b] "r"((type)b)                                                       \
        : "cc")
/* The status flags of A - B. */
ALWAYS_INLINE uint32_t compare(uint64_t a, uint64_t b, unsigned size)
{
    uint32_t ax;
    switch (size) {
    case 1:
        COMPARE_TEXT("b", uint8_t);
        break;
    case 2:
        COMPARE_TEXT("w", uint16_t);
        break;
    case 4:
        COMPARE_TEXT("l", uint32_t);
        break;
    default:
        COMPARE_TEXT("q", uint64_t);
        break;
    }
    return status_captured(ax);
}

/* REPE goes on while ZF is set, REPNE while it is clear. */
ALWAYS_INLINE bool goes_on(const struct processor *p, const struct insn *i)
{
    return !(p->status & FLAG_ZF) == !!(i->prefixes & PREFIX_REPNE);
}

#define REPEAT_WHILE_EQUAL(p, i, step)                                                             \
    REPEAT(p, i, {                                                                                 \
        step;                                                                                      \
        if (is_repeated(i) && !goes_on(p, i)) {                                                    \
            repeat_next(p, i, 1);                                                                  \
            return next_insn(p, i);                                                                \
        }                                                                                          \
    })

ALWAYS_INLINE const struct insn *scas(struct processor *p, const struct insn *i, unsigned size)
{
    REPEAT_WHILE_EQUAL(p, i, {
        uint64_t value = mem_read(p, destination_linear(p, i, size, MEM_READ), size);
        p->status = compare(p->gpr[REG_RAX], value, size);
        advance(p, i, REG_RDI, size);
    });
}
ALWAYS_INLINE const struct insn *cmps(struct processor *p, const struct insn *i, unsigned size)
{
    REPEAT_WHILE_EQUAL(p, i, {
        uint64_t a = mem_read(p, source_linear(p, i, size), size);
        uint64_t b = mem_read(p, destination_linear(p, i, size, MEM_READ), size);
        p->status = compare(a, b, size);
        advance(p, i, REG_RSI, size);
        advance(p, i, REG_RDI, size);
    });
}
SIZED(scas)
SIZED(cmps)

exec_fn *exec_bind_string(const struct insn *i, uint32_t mode)
{
    unsigned n = size_index(i->opsize);
    (void)mode;
    switch (i->attr->op) {
    case OP_MOVS:
        return is_repeated(i) ? rep_movs_sized[n] : movs_sized[n];
    case OP_STOS:
        return is_repeated(i) ? rep_stos_sized[n] : stos_sized[n];
    case OP_LODS:
        return lods_sized[n];
    case OP_SCAS:
        return scas_sized[n];
    default:
        return cmps_sized[n];
    }
}
