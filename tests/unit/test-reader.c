/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's reader: JSON texts cut out of streams, however the bytes come, and its bounds. */
#include "machine/monitor/reader.h"

#include <string.h>

/* A stream, and the values that are to be found in it, one a line. */
static const struct stream {
    const char *name, *bytes, *values;
} streams[] = {
    {"one", "{\"execute\":\"stop\"}", "{\"execute\":\"stop\"}\n"},
    {"blanks", " \t\r\n{}\n\n{} ", "{}\n{}\n"},
    {"no space between", "{}{}[][{}]", "{}\n{}\n[]\n[{}]\n"},
    {"nested", "{\"a\":[{\"b\":[]},{}]}[]", "{\"a\":[{\"b\":[]},{}]}\n[]\n"},
    {"brackets in strings", "{\"}]\":\"{[\"}{}", "{\"}]\":\"{[\"}\n{}\n"},
    {"escapes in strings", "{\"\\\"}\":\"\\\\\"}{}", "{\"\\\"}\":\"\\\\\"}\n{}\n"},
    {"a line end in an object", "{\n\"a\":\n1}", "{\n\"a\":\n1}\n"},
    {"no brackets", "stop\n{}", "stop\n\n{}\n"},
    {"a string alone", "\"{\"}\n{}", "\"{\"}\n\n{}\n"},
    {"closing ones alone", "}]\n{}", "}]\n\n{}\n"},
    {"closed by the wrong one", "{]{}", "{]\n{}\n"},
    {"unfinished", "{}{\"a\":[{}", "{}\n"},
};

/* Feeds LENGTH bytes in pieces of PIECE and appends what is found to FOUND. */
static enum reader_result feed(struct reader *r, const char *bytes, size_t length, size_t piece,
                               GString *found)
{
    for (size_t at = 0; at < length;) {
        size_t used = 0, part = MIN(piece, length - at);
        enum reader_result result = reader_put(r, (const uint8_t *)bytes + at, part, &used);

        g_assert_cmpuint(used, <=, part);
        if (result == READER_VALUE) {
            g_string_append_len(found, (const char *)r->text->data, r->text->len);
            g_string_append_c(found, '\n');
        } else if (result != READER_MORE) {
            return result;
        } else {
            g_assert_cmpuint(used, ==, part);
        }
        at += used;
    }
    return READER_MORE;
}

static void test_streams(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(streams); i++) {
        size_t length = strlen(streams[i].bytes);

        for (size_t piece = 1; piece <= length; piece++) {
            GString *found = g_string_new(NULL);
            struct reader r;

            g_test_message("%s in pieces of %zu", streams[i].name, piece);
            reader_init(&r);
            g_assert_cmpint(feed(&r, streams[i].bytes, length, piece, found), ==, READER_MORE);
            g_assert_cmpstr(found->str, ==, streams[i].values);
            reader_clear(&r);
            g_string_free(found, TRUE);
        }
    }
}

/* COUNT times TEXT. */
static enum reader_result feed_many(const char *text, size_t count)
{
    GString *all = g_string_new(NULL), *found = g_string_new(NULL);
    struct reader r;

    for (size_t i = 0; i < count; i++)
        g_string_append(all, text);
    reader_init(&r);
    enum reader_result result = feed(&r, all->str, all->len, 4096, found);
    g_assert_cmpuint(r.text->len, <=, READER_SIZE_MAX);
    reader_clear(&r);
    g_string_free(all, TRUE);
    g_string_free(found, TRUE);
    return result;
}

static void test_depth(void)
{
    g_assert_cmpint(feed_many("[", READER_DEPTH_MAX), ==, READER_MORE);
    g_assert_cmpint(feed_many("[", READER_DEPTH_MAX + 1), ==, READER_TOO_DEEP);
    g_assert_cmpint(feed_many("{\"a\":", READER_DEPTH_MAX), ==, READER_MORE);
    g_assert_cmpint(feed_many("{\"a\":", READER_DEPTH_MAX + 1), ==, READER_TOO_DEEP);
    g_assert_cmpint(feed_many("[]", READER_DEPTH_MAX * 4), ==, READER_MORE);
}

static void test_size(void)
{
    g_assert_cmpint(feed_many("x", READER_SIZE_MAX), ==, READER_MORE);
    g_assert_cmpint(feed_many("x", READER_SIZE_MAX + 1), ==, READER_TOO_LARGE);
    g_assert_cmpint(feed_many("{} ", READER_SIZE_MAX), ==, READER_MORE); /* each for itself */
    g_assert_cmpint(feed_many(" ", READER_SIZE_MAX * 2), ==, READER_MORE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reader/streams", test_streams);
    g_test_add_func("/reader/depth", test_depth);
    g_test_add_func("/reader/size", test_size);
    return g_test_run();
}
