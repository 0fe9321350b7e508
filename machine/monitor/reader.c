/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding the ends of JSON texts.  Only brackets and strings matter for that; whether what stands
 * between them is JSON, the library that parses it says.  What begins with no bracket ends with its
 * line.
 */
#include "reader.h"

void reader_init(struct reader *r)
{
    *r = (struct reader){.text = g_byte_array_new()};
}

void reader_clear(struct reader *r)
{
    g_byte_array_unref(r->text);
}

/* Whether the text ends with BYTE. */
static bool ends(struct reader *r, uint8_t byte)
{
    if (!r->bracket)
        return byte == '\n';
    if (r->string) {
        if (r->escape)
            r->escape = false;
        else if (byte == '\\')
            r->escape = true;
        else if (byte == '"')
            r->string = false;
        return false;
    }
    if (byte == '"')
        r->string = true;
    else if (byte == '{' || byte == '[')
        r->depth++;
    else if (byte == '}' || byte == ']')
        r->depth--;
    return r->depth == 0;
}

static void begin(struct reader *r, uint8_t byte)
{
    g_byte_array_set_size(r->text, 0);
    r->depth = 0;
    r->inside = true;
    r->bracket = byte == '{' || byte == '[';
    r->string = r->escape = false;
}

enum reader_result reader_put(struct reader *r, const uint8_t *data, size_t length, size_t *used)
{
    for (size_t i = 0; i < length; i++) {
        *used = i + 1;
        if (!r->inside) {
            if (g_ascii_isspace(data[i]))
                continue;
            begin(r, data[i]);
        }
        if (r->text->len == READER_SIZE_MAX)
            return READER_TOO_LARGE;
        g_byte_array_append(r->text, &data[i], 1);
        if (ends(r, data[i])) {
            r->inside = false;
            return READER_VALUE;
        }
        if (r->depth > READER_DEPTH_MAX)
            return READER_TOO_DEEP;
    }
    *used = length;
    return READER_MORE;
}
