/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's protocol: XDR and frames, good ones and hostile ones. */
#include "manager/rpc/frame.h"
#include "manager/rpc/xdr.h"

#include <string.h>

/* XDR */

static void test_xdr_round_trip(void)
{
    static const uint8_t uuid[XDR_UUID_SIZE] = {1, 2, 3};
    const struct xdr_domain d = {.name = (char *)"web", .uuid = {9}, .id = -1};
    struct xdr_writer w;
    struct xdr_reader r;
    struct xdr_values v;

    xdr_writer_init(&w);
    xdr_encode(&w, "uiUsSd", 7u, -7, (uint64_t)1 << 40, "text", NULL, &d);
    xdr_put_fixed(&w, uuid, sizeof(uuid));
    g_assert_cmpuint(w.bytes->len % 4, ==, 0);
    /* Every shorter one is refused, and whatever is longer, too. */
    for (size_t size = 0; size < w.bytes->len; size++) {
        xdr_reader_init(&r, w.bytes->data, size);
        g_assert_false(xdr_decode(&r, "uiUsSdh", &v));
    }
    xdr_reader_init(&r, w.bytes->data, w.bytes->len);
    g_assert_false(xdr_decode(&r, "uiUsSd", &v));
    xdr_reader_init(&r, w.bytes->data, w.bytes->len);
    g_assert_true(xdr_decode(&r, "uiUsSdh", &v));
    g_assert_cmpuint(v.v[0].u, ==, 7);
    g_assert_cmpint(v.v[1].i, ==, -7);
    g_assert_cmpuint(v.v[2].ul, ==, (uint64_t)1 << 40);
    g_assert_cmpstr(v.v[3].s, ==, "text");
    g_assert_null(v.v[4].s);
    g_assert_cmpstr(v.v[5].d->name, ==, "web");
    g_assert_cmpint(v.v[5].d->id, ==, -1);
    g_assert_cmpmem(v.v[6].uuid, XDR_UUID_SIZE, uuid, XDR_UUID_SIZE);
    xdr_values_clear(&v);
    xdr_writer_clear(&w);
}

static void test_xdr_parameters(void)
{
    const struct xdr_parameter all[] = {
        {.name = (char *)"i", .type = XDR_PARAMETER_INT, .i = -1},
        {.name = (char *)"u", .type = XDR_PARAMETER_UINT, .u = 1},
        {.name = (char *)"l", .type = XDR_PARAMETER_LLONG, .l = -2},
        {.name = (char *)"ul", .type = XDR_PARAMETER_ULLONG, .ul = 2},
        {.name = (char *)"d", .type = XDR_PARAMETER_DOUBLE, .d = 0.5},
        {.name = (char *)"b", .type = XDR_PARAMETER_BOOLEAN, .b = true},
        {.name = (char *)"s", .type = XDR_PARAMETER_STRING, .s = (char *)"text"},
    };
    struct xdr_writer w;
    struct xdr_reader r;
    struct xdr_values v;

    xdr_writer_init(&w);
    xdr_put_u32(&w, G_N_ELEMENTS(all));
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
        xdr_put_parameter(&w, &all[i]);
    for (size_t size = 0; size < w.bytes->len; size++) {
        xdr_reader_init(&r, w.bytes->data, size);
        g_assert_false(xdr_decode(&r, "p", &v));
    }
    xdr_reader_init(&r, w.bytes->data, w.bytes->len);
    g_assert_true(xdr_decode(&r, "p", &v));
    g_assert_cmpuint(v.v[0].parameters->len, ==, G_N_ELEMENTS(all));
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        const struct xdr_parameter *p = &g_array_index(v.v[0].parameters, struct xdr_parameter, i);
        g_assert_cmpstr(p->name, ==, all[i].name);
        g_assert_cmpint(p->type, ==, all[i].type);
        if (p->type == XDR_PARAMETER_STRING)
            g_assert_cmpstr(p->s, ==, "text");
        else if (p->type == XDR_PARAMETER_LLONG)
            g_assert_cmpint(p->l, ==, -2);
    }
    xdr_values_clear(&v);
    xdr_writer_clear(&w);
}

/* Bytes that no client of ours sends: each is refused, and costs no memory. */
static void test_xdr_hostile(void)
{
    static const struct {
        const char *signature;
        const char *bytes;
        size_t size;
    } all[] = {
        {"s", "\xff\xff\xff\xff", 4},     /* a string of 4 GiB */
        {"s", "\x00\x40\x00\x01zzzz", 8}, /* over the limit */
        {"s",
         "\x00\x00\x00\x03"
         "a\0b\0",
         8},                                      /* NUL inside */
        {"s", "\x00\x00\x00\x02\xc3\x28\0\0", 8}, /* no UTF-8 */
        {"s",
         "\x00\x00\x00\x05"
         "abcde",
         9},                          /* no padding */
        {"x", "\x00\x00\x40\x00", 4}, /* 16384 domains of no bytes */
        {"x", "\x7f\xff\xff\xff\0\0\0\0", 8},
        {"p", "\x00\x00\x04\x00\0\0\0\0", 8},
        {"p", "\x00\x00\x00\x01\0\0\0\0\0\0\0\x09\0\0\0\0", 16}, /* type 9 */
        {"t", "\x00\x00\x00\x02\0\0\0\0", 8},
        {"o", "\x80\x00\x00\x00", 4},
        {"D", "\x00\x00\x00\x01", 4},
        {"u", "\x00\x00\x00", 3},
    };
    struct xdr_reader r;
    struct xdr_values v;

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        xdr_reader_init(&r, all[i].bytes, all[i].size);
        g_assert_false(xdr_decode(&r, all[i].signature, &v));
    }
}

static void test_xdr_writer_limit(void)
{
    struct xdr_writer w;
    g_autofree char *long_text = g_strnfill(XDR_STRING_MAX + 1, 'x');
    g_autofree char *block = g_malloc0(XDR_MESSAGE_MAX);

    xdr_writer_init(&w);
    xdr_put_string(&w, long_text);
    g_assert_true(w.failed);
    xdr_writer_clear(&w);
    xdr_writer_init(&w);
    xdr_put_fixed(&w, block, XDR_MESSAGE_MAX);
    g_assert_false(w.failed);
    xdr_put_u32(&w, 1);
    g_assert_true(w.failed);
    xdr_writer_clear(&w);
}

/* Frames */

static void feed(struct frame_stream *s, const void *data, size_t size)
{
    const uint8_t *from = data;

    while (size) {
        size_t room;
        uint8_t *to = frame_stream_room(s, &room);
        room = MIN(room, size);
        memcpy(to, from, room);
        frame_stream_came(s, room);
        from += room;
        size -= room;
    }
}

static void test_frame_pieces(void)
{
    static const uint8_t payload[] = {1, 2, 3, 4, 5, 6, 7, 8};
    const struct frame out = {PROGRAM_REMOTE, 1, 273, FRAME_CALL, 5, FRAME_OK, payload, 8};
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct frame_stream s;
    struct frame f;
    unsigned came = 0;

    frame_append(bytes, &out);
    frame_append(bytes, &out);
    frame_stream_init(&s);
    for (guint i = 0; i < bytes->len; i++) {
        feed(&s, bytes->data + i, 1);
        while (frame_stream_next(&s, &f)) {
            came++;
            g_assert_cmpuint(f.procedure, ==, 273);
            g_assert_cmpuint(f.serial, ==, 5);
            g_assert_cmpmem(f.payload, f.size, payload, 8);
        }
        g_assert_cmpuint(came, ==, (i + 1) / 36);
    }
    g_assert_false(s.failed);
    frame_stream_clear(&s);
}

static void test_frame_hostile(void)
{
    static const char *const all[] = {"\0\0\0\0", "\0\0\0\x1b", "\xff\xff\xff\xff", "\x02\0\0\x1d"};
    struct frame_stream s;
    struct frame f;

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        frame_stream_init(&s);
        feed(&s, all[i], 4);
        g_assert_false(frame_stream_next(&s, &f));
        g_assert_true(s.failed);
        frame_stream_clear(&s);
    }
    /* A great length alone takes no memory. */
    frame_stream_init(&s);
    feed(&s, "\x02\0\0\x1c", 4);
    g_assert_false(frame_stream_next(&s, &f));
    g_assert_false(s.failed);
    g_assert_cmpuint(s.capacity, <, 65536);
    frame_stream_clear(&s);
}

/* Descriptors come with a byte each after the frame: the next frame is found behind them. */
static void test_frame_descriptors(void)
{
    const struct frame with = {
        PROGRAM_REMOTE, 1, 9, FRAME_CALL_FDS, 1, FRAME_OK, (const uint8_t *)"\0\0\0\x02", 4};
    const struct frame after = {PROGRAM_REMOTE, 1, 10, FRAME_CALL, 2, FRAME_OK, NULL, 0};
    const struct frame many = {
        PROGRAM_REMOTE, 1, 9, FRAME_CALL_FDS, 1, FRAME_OK, (const uint8_t *)"\0\0\0\x21", 4};
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct frame_stream s;
    struct frame f;

    frame_append(bytes, &with);
    g_byte_array_append(bytes, (const guint8 *)"\0\0", 2);
    frame_append(bytes, &after);
    frame_append(bytes, &many);
    frame_stream_init(&s);
    feed(&s, bytes->data, bytes->len);
    g_assert_true(frame_stream_next(&s, &f));
    g_assert_cmpuint(f.procedure, ==, 9);
    g_assert_cmpuint(f.size, ==, 0);
    g_assert_true(frame_stream_next(&s, &f));
    g_assert_cmpuint(f.procedure, ==, 10);
    g_assert_false(frame_stream_next(&s, &f));
    g_assert_true(s.failed);
    frame_stream_clear(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xdr/round-trip", test_xdr_round_trip);
    g_test_add_func("/xdr/parameters", test_xdr_parameters);
    g_test_add_func("/xdr/hostile", test_xdr_hostile);
    g_test_add_func("/xdr/writer-limit", test_xdr_writer_limit);
    g_test_add_func("/frame/pieces", test_frame_pieces);
    g_test_add_func("/frame/hostile", test_frame_hostile);
    g_test_add_func("/frame/descriptors", test_frame_descriptors);
    return g_test_run();
}
