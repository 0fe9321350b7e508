/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The builder of AML. */
#include "aml.h"

#include <string.h>

enum {
    OP_ZERO = 0x00,
    OP_ONE = 0x01,
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    PREFIX_DUAL = 0x2e,
    PREFIX_MULTI = 0x2f,
    OP_EXTENDED = 0x5b,
    OP_ARGUMENT = 0x68,
    OP_EXTENDED_DEVICE = 0x82,
    OP_RETURN = 0xa4,
};

static void byte(GByteArray *a, unsigned value)
{
    uint8_t b = (uint8_t)value;

    g_byte_array_append(a, &b, 1);
}

/* SIZE bytes of VALUE, little-endian. */
static void number(GByteArray *a, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        byte(a, (unsigned)(value >> (i * 8)));
}

/* ---- names ---- */

static void segment(GByteArray *a, const char *text, size_t length)
{
    for (size_t i = 0; i < 4; i++)
        byte(a, i < length ? (uint8_t)text[i] : '_');
}

static void path(GByteArray *a, const char *name)
{
    g_auto(GStrv) parts = NULL;
    unsigned count;

    if (*name == '\\')
        byte(a, (uint8_t)*name++);
    parts = g_strsplit(name, ".", -1);
    count = g_strv_length(parts);
    if (count == 0)
        byte(a, 0); /* the root alone */
    if (count == 2)
        byte(a, PREFIX_DUAL);
    if (count > 2) {
        byte(a, PREFIX_MULTI);
        byte(a, count);
    }
    for (unsigned i = 0; i < count; i++)
        segment(a, parts[i], strlen(parts[i]));
}

/* ---- lengths ---- */

/* PkgLength counts itself: one byte up to 63, else a count of further bytes and four low bits. */
void aml_close(GByteArray *a, unsigned mark)
{
    unsigned length = a->len - mark, size = 1;
    uint8_t encoded[4];

    if (length + 1 > 63)
        for (size = 2; (length + size) >> (4 + 8 * (size - 1)); size++)
            ;
    length += size;
    encoded[0] = (uint8_t)(size == 1 ? length : (size - 1) << 6 | (length & 15));
    for (unsigned i = 1; i < size; i++)
        encoded[i] = (uint8_t)(length >> (4 + 8 * (i - 1)));
    g_byte_array_set_size(a, a->len + size);
    memmove(a->data + mark + size, a->data + mark, a->len - size - mark);
    memcpy(a->data + mark, encoded, size);
}

unsigned aml_open_scope(GByteArray *a, const char *name)
{
    byte(a, OP_SCOPE);
    unsigned mark = a->len;
    path(a, name);
    return mark;
}

unsigned aml_open_device(GByteArray *a, const char *name)
{
    byte(a, OP_EXTENDED);
    byte(a, OP_EXTENDED_DEVICE);
    unsigned mark = a->len;
    path(a, name);
    return mark;
}

unsigned aml_open_method(GByteArray *a, const char *name, unsigned arguments)
{
    byte(a, OP_METHOD);
    unsigned mark = a->len;
    path(a, name);
    byte(a, arguments & 7);
    return mark;
}

unsigned aml_open_package(GByteArray *a, uint8_t elements)
{
    byte(a, OP_PACKAGE);
    unsigned mark = a->len;
    byte(a, elements);
    return mark;
}

/* ---- data ---- */

void aml_integer(GByteArray *a, uint64_t value)
{
    if (value <= 1) {
        byte(a, value ? OP_ONE : OP_ZERO);
    } else if (value <= 0xff) {
        byte(a, OP_BYTE);
        number(a, value, 1);
    } else if (value <= 0xffff) {
        byte(a, OP_WORD);
        number(a, value, 2);
    } else if (value <= 0xffffffff) {
        byte(a, OP_DWORD);
        number(a, value, 4);
    } else {
        byte(a, OP_QWORD);
        number(a, value, 8);
    }
}

void aml_string(GByteArray *a, const char *text)
{
    byte(a, OP_STRING);
    g_byte_array_append(a, (const uint8_t *)text, (guint)strlen(text) + 1);
}

/* Three letters of five bits and four hexadecimal digits, big-endian (ACPI 6.4, 19.3.4). */
void aml_eisa_id(GByteArray *a, const char *id)
{
    uint32_t value =
        (uint32_t)(id[0] & 31) << 26 | (uint32_t)(id[1] & 31) << 21 | (uint32_t)(id[2] & 31) << 16;

    for (unsigned i = 0; i < 4; i++)
        value |= (uint32_t)g_ascii_xdigit_value(id[3 + i]) << (12 - 4 * i);
    byte(a, OP_DWORD);
    number(a, GUINT32_SWAP_LE_BE(value), 4);
}

void aml_buffer(GByteArray *a, const void *data, unsigned length)
{
    byte(a, OP_BUFFER);
    unsigned mark = a->len;
    aml_integer(a, length);
    g_byte_array_append(a, data, length);
    aml_close(a, mark);
}

void aml_name(GByteArray *a, const char *name)
{
    byte(a, OP_NAME);
    path(a, name);
}

void aml_return_argument(GByteArray *a, unsigned n)
{
    byte(a, OP_RETURN);
    byte(a, OP_ARGUMENT + n);
}

/* ---- resources ---- */

#define SMALL_IRQ      0x22
#define SMALL_IO       0x47
#define SMALL_END      0x79
#define LARGE_MEMORY32 0x86
#define LARGE_DWORD    0x87
#define LARGE_WORD     0x88
#define LARGE_QWORD    0x8a
#define WINDOW_MEMORY  0
#define WINDOW_IO      1
#define WINDOW_BUS     2
#define FIXED_ENDS     0x0c /* both ends are fixed, and the device passes the range on */

void resource_io(GByteArray *r, uint16_t base, uint8_t length)
{
    byte(r, SMALL_IO);
    byte(r, 1); /* decodes all 16 bits */
    number(r, base, 2);
    number(r, base, 2);
    byte(r, 1);
    byte(r, length);
}

void resource_irq(GByteArray *r, unsigned irq)
{
    byte(r, SMALL_IRQ);
    number(r, BIT(irq), 2);
}

void resource_memory_fixed(GByteArray *r, uint32_t base, uint32_t length)
{
    byte(r, LARGE_MEMORY32);
    number(r, 9, 2);
    byte(r, 1); /* writable */
    number(r, base, 4);
    number(r, length, 4);
}

/* An address space descriptor whose numbers have SIZE bytes. */
static void window(GByteArray *r, unsigned tag, unsigned size, unsigned type, unsigned type_flags,
                   uint64_t first, uint64_t last)
{
    byte(r, tag);
    number(r, 3 + 5 * size, 2);
    byte(r, type);
    byte(r, FIXED_ENDS);
    byte(r, type_flags);
    number(r, 0, size); /* granularity */
    number(r, first, size);
    number(r, last, size);
    number(r, 0, size); /* translation */
    number(r, last - first + 1, size);
}

void resource_bus_window(GByteArray *r, uint16_t first, uint16_t last)
{
    window(r, LARGE_WORD, 2, WINDOW_BUS, 0, first, last);
}

void resource_io_window(GByteArray *r, uint16_t first, uint16_t last)
{
    window(r, LARGE_WORD, 2, WINDOW_IO, 3, first, last); /* ISA and other addresses */
}

void resource_memory_window(GByteArray *r, uint32_t first, uint32_t last)
{
    window(r, LARGE_DWORD, 4, WINDOW_MEMORY, 1, first, last); /* not cached, writable */
}

void resource_memory_window_64(GByteArray *r, uint64_t first, uint64_t last)
{
    window(r, LARGE_QWORD, 8, WINDOW_MEMORY, 1, first, last);
}

void aml_resources(GByteArray *a, GByteArray *r)
{
    byte(r, SMALL_END);
    byte(r, 0); /* no checksum */
    aml_name(a, "_CRS");
    aml_buffer(a, r->data, r->len);
    g_byte_array_unref(r);
}
