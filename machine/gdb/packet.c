/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Framing, checksums, escapes, numbers. */
#include "packet.h"

#define ESCAPE     '}'
#define ESCAPE_XOR 0x20

void packet_reader_init(struct packet_reader *r)
{
    *r = (struct packet_reader){.body = g_byte_array_new()};
}

void packet_reader_clear(struct packet_reader *r)
{
    g_byte_array_unref(r->body);
}

static void begin(struct packet_reader *r)
{
    g_byte_array_set_size(r->body, 0);
    r->sum = 0;
    r->broken = false;
    r->state = PACKET_BODY;
}

static void append(struct packet_reader *r, uint8_t byte)
{
    if (r->body->len < PACKET_MAX)
        g_byte_array_append(r->body, &byte, 1);
    else
        r->broken = true;
}

static enum packet_event put_outside(struct packet_reader *r, uint8_t byte)
{
    switch (byte) {
    case '$':
        begin(r);
        return PACKET_NONE;
    case '+':
        return PACKET_ACK;
    case '-':
        return PACKET_NAK;
    case 3:
        return PACKET_INTERRUPT;
    default:
        return PACKET_NONE; /* noise on the line */
    }
}

static void put_body(struct packet_reader *r, uint8_t byte)
{
    if (byte == '$') { /* never in a body: the end of the packet before was lost */
        begin(r);
        return;
    }
    if (byte == '#') {
        r->broken |= r->state == PACKET_ESCAPED;
        r->state = PACKET_SUM;
        return;
    }
    r->sum += byte;
    if (r->state == PACKET_ESCAPED) {
        append(r, byte ^ ESCAPE_XOR);
        r->state = PACKET_BODY;
    } else if (byte == ESCAPE) {
        r->state = PACKET_ESCAPED;
    } else {
        append(r, byte);
    }
}

/* Takes the digits of the checksum. */
static enum packet_event put_sum(struct packet_reader *r, uint8_t byte)
{
    int digit = packet_digit((char)byte);

    r->broken |= digit < 0;
    if (r->state == PACKET_SUM) {
        r->given = (uint8_t)(MAX(digit, 0) << 4);
        r->state = PACKET_SUM_LOW;
        return PACKET_NONE;
    }
    r->given |= (uint8_t)MAX(digit, 0);
    r->state = PACKET_OUTSIDE;
    if (r->broken || r->given != r->sum)
        return PACKET_BAD;
    g_byte_array_append(r->body, (const uint8_t *)"", 1);
    g_byte_array_set_size(r->body, r->body->len - 1); /* the 0 stays behind the end */
    return PACKET_GOOD;
}

enum packet_event packet_put(struct packet_reader *r, uint8_t byte)
{
    switch (r->state) {
    case PACKET_OUTSIDE:
        return put_outside(r, byte);
    case PACKET_BODY:
    case PACKET_ESCAPED:
        put_body(r, byte);
        return PACKET_NONE;
    default:
        return put_sum(r, byte);
    }
}

GByteArray *packet_make(const void *body, size_t length)
{
    GByteArray *packet = g_byte_array_sized_new((guint)length + 4);
    const uint8_t *from = body;
    uint8_t sum = 0;
    char end[4];

    g_byte_array_append(packet, (const uint8_t *)"$", 1);
    for (size_t i = 0; i < length; i++) {
        bool special = from[i] == '$' || from[i] == '#' || from[i] == '*' || from[i] == ESCAPE;
        uint8_t pair[2] = {ESCAPE, from[i] ^ ESCAPE_XOR};
        g_byte_array_append(packet, special ? pair : &from[i], special ? 2 : 1);
    }
    for (guint i = 1; i < packet->len; i++)
        sum += packet->data[i];
    g_snprintf(end, sizeof end, "#%02x", sum);
    g_byte_array_append(packet, (const uint8_t *)end, 3);
    return packet;
}

/* ---- numbers ---- */

int packet_digit(char c)
{
    return g_ascii_xdigit_value(c);
}

bool packet_number(const char **text, uint64_t *value)
{
    unsigned digits = 0;

    for (*value = 0; digits < 16 && packet_digit(**text) >= 0; digits++, (*text)++)
        *value = *value << 4 | (unsigned)packet_digit(**text);
    return digits > 0;
}

bool packet_skip(const char **text, char c)
{
    if (**text != c || !c)
        return false;
    (*text)++;
    return true;
}

void packet_append_hex(GString *to, const void *data, size_t length)
{
    const uint8_t *from = data;

    for (size_t i = 0; i < length; i++)
        g_string_append_printf(to, "%02x", from[i]);
}

bool packet_from_hex(const char *text, void *to, size_t length)
{
    uint8_t *bytes = to;

    for (size_t i = 0; i < length; i++) {
        int high = packet_digit(text[2 * i]);
        int low = high < 0 ? -1 : packet_digit(text[2 * i + 1]);

        if (low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
