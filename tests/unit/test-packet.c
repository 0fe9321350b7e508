/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets of GDB's remote protocol: framing, checksums, escapes, numbers. */
#include "machine/gdb/packet.h"

#include <string.h>

/* Feeds BYTES; what happens, a letter an event, with the bodies of good packets in brackets. */
static char *feed(struct packet_reader *r, const char *bytes, size_t length)
{
    static const char letters[] = {
        [PACKET_BAD] = 'b', [PACKET_ACK] = '+', [PACKET_NAK] = '-', [PACKET_INTERRUPT] = 'i'};
    GString *found = g_string_new(NULL);

    for (size_t i = 0; i < length; i++) {
        enum packet_event event = packet_put(r, (uint8_t)bytes[i]);

        if (event == PACKET_GOOD)
            g_string_append_printf(found, "[%s]", (const char *)r->body->data);
        else if (event != PACKET_NONE)
            g_string_append_c(found, letters[event]);
    }
    return g_string_free(found, FALSE);
}

static const struct stream {
    const char *bytes, *events;
} streams[] = {
    {"$g#67", "[g]"},
    {"$#00", "[]"},
    {"+$g#67-", "+[g]-"},
    {"$g#68", "b"},
    {"$g#6x", "b"},
    {"$g#x7", "b"},
    {"$g#G7$g#67", "b[g]"},
    {"\x03", "i"},
    {"$\x03#03", "[\x03]"}, /* inside it is no interrupt */
    {"noise#67$g#67", "[g]"},
    {"$m0,$g#67", "[g]"}, /* the first one lost its end */
    {"$}\x03#80", "[#]"},
    {"$}]#da", "[}]"},
    {"$a}#de", "b"}, /* an escape of nothing */
    {"$g#6", ""},
};

static void test_streams(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(streams); i++) {
        struct packet_reader r;

        packet_reader_init(&r);
        g_autofree char *events = feed(&r, streams[i].bytes, strlen(streams[i].bytes));
        g_assert_cmpstr(events, ==, streams[i].events);
        packet_reader_clear(&r);
    }
}

/* Whatever is made is read back, byte for byte. */
static void test_round_trip(void)
{
    uint8_t all[512];
    struct packet_reader r;

    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    packet_reader_init(&r);
    for (size_t length = 0; length <= sizeof all; length++) {
        GByteArray *packet = packet_make(all, length);
        enum packet_event event = PACKET_NONE;

        for (guint i = 0; i < packet->len; i++) {
            g_assert_cmpint(event, ==, PACKET_NONE);
            event = packet_put(&r, packet->data[i]);
        }
        g_assert_cmpint(event, ==, PACKET_GOOD);
        g_assert_cmpmem(r.body->data, r.body->len, all, length);
        g_byte_array_unref(packet);
    }
    packet_reader_clear(&r);
}

static void test_bounds(void)
{
    for (size_t length = PACKET_MAX - 1; length <= PACKET_MAX + 1; length++) {
        g_autofree char *body = g_strnfill(length, 'a');
        g_autofree char *text = g_strdup_printf("$%s#%02x", body, (unsigned)('a' * length) & 0xff);
        struct packet_reader r;

        packet_reader_init(&r);
        g_autofree char *events = feed(&r, text, strlen(text));
        g_assert_cmpint(events[0], ==, length <= PACKET_MAX ? '[' : 'b');
        g_assert_cmpuint(r.body->len, <=, PACKET_MAX);
        packet_reader_clear(&r);
    }
}

static void test_numbers(void)
{
    const char *text = "1f,";
    uint64_t value;
    uint8_t bytes[2] = {0};

    g_assert_true(packet_number(&text, &value));
    g_assert_cmpuint(value, ==, 0x1f);
    g_assert_false(packet_number(&text, &value));
    g_assert_false(packet_skip(&text, ';'));
    g_assert_true(packet_skip(&text, ','));
    g_assert_false(packet_skip(&text, 0)); /* not over the end */
    text = "ffffffffffffffffff";
    g_assert_true(packet_number(&text, &value));
    g_assert_cmpuint(value, ==, UINT64_MAX);
    g_assert_cmpstr(text, ==, "ff"); /* no 17th digit */
    g_assert_true(packet_from_hex("0aFf", bytes, 2));
    g_assert_cmphex(bytes[0], ==, 0x0a);
    g_assert_cmphex(bytes[1], ==, 0xff);
    g_assert_false(packet_from_hex("0aF", bytes, 2));
    g_assert_false(packet_from_hex("0g00", bytes, 2));
    g_assert_false(packet_from_hex("", bytes, 1));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/packet/streams", test_streams);
    g_test_add_func("/packet/round-trip", test_round_trip);
    g_test_add_func("/packet/bounds", test_bounds);
    g_test_add_func("/packet/numbers", test_numbers);
    return g_test_run();
}
