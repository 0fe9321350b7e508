/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's protocol: what a client hears from the procedures, with domains that have no guests.
 * How the real clients like it is tests/system/test_virsh_compare.py's. */
#include "manager/rpc/procedures.h"
#include "tests/unit/fake-domains.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define XML(name) "<domain type='qemu'><name>" name "</name></domain>"

struct fixture {
    struct rpc_context context;
    struct client *client;
    int fd; /* the client's end */
    struct frame_stream input;
    uint32_t serial;
    bool ended;
};

static void on_ended(struct client *c, const char *why, void *data)
{
    struct fixture *f = data;

    g_assert_true(c == f->client);
    g_assert_nonnull(why);
    f->ended = true;
}

static struct fixture *connect_client(bool read_only)
{
    struct fixture *f = g_new0(struct fixture, 1);
    int ends[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), ==,
                    0);
    f->context.domains = fake_domains_new();
    f->context.node = node_new("/usr/bin/trapeze", true);
    f->fd = ends[0];
    f->client = client_new(&f->context, ends[1], read_only, NULL, on_ended, f);
    frame_stream_init(&f->input);
    return f;
}

static void spin(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static void disconnect(struct fixture *f)
{
    spin();
    client_unref(f->client);
    fake_domains_finish(f->context.domains);
    domains_close(f->context.domains);
    node_free((struct node *)f->context.node);
    close(f->fd);
    frame_stream_clear(&f->input);
    g_free(f);
}

static void send_bytes(struct fixture *f, const void *data, size_t size)
{
    const uint8_t *from = data;

    while (size && !f->ended) {
        ssize_t n = send(f->fd, from, size, MSG_NOSIGNAL);
        if (n > 0) {
            from += n;
            size -= (size_t)n;
        }
        spin();
    }
}

static uint32_t send_frame(struct fixture *f, struct frame frame)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    frame.version = FRAME_VERSION;
    frame_append(bytes, &frame);
    send_bytes(f, bytes->data, bytes->len);
    return frame.serial;
}

/* Takes W over. */
static uint32_t send_call(struct fixture *f, uint32_t procedure, struct xdr_writer *w)
{
    struct frame frame = {.program = PROGRAM_REMOTE, .procedure = procedure, .serial = ++f->serial};

    if (w) {
        frame.payload = w->bytes->data;
        frame.size = w->bytes->len;
    }
    uint32_t serial = send_frame(f, frame);
    if (w)
        xdr_writer_clear(w);
    return serial;
}

#define CALL(f, procedure, ...)                                                                    \
    ({                                                                                             \
        struct xdr_writer call_writer;                                                             \
        xdr_writer_init(&call_writer);                                                             \
        xdr_encode(&call_writer, __VA_ARGS__);                                                     \
        send_call(f, procedure, &call_writer);                                                     \
    })

/* The next frame, if there is one. */
static bool receive(struct fixture *f, struct frame *frame)
{
    spin();
    while (!frame_stream_next(&f->input, frame)) {
        size_t room;
        uint8_t *to = frame_stream_room(&f->input, &room);
        ssize_t n = recv(f->fd, to, room, MSG_DONTWAIT);
        if (n <= 0)
            return false;
        frame_stream_came(&f->input, (size_t)n);
        spin();
    }
    return true;
}

/* The reply to SERIAL, which is the next frame, with STATUS; its payload in R. */
static void expect(struct fixture *f, uint32_t serial, enum frame_status status,
                   struct xdr_reader *r)
{
    struct frame frame;

    g_assert_true(receive(f, &frame));
    g_assert_cmpuint(frame.type, ==, FRAME_REPLY);
    g_assert_cmpuint(frame.serial, ==, serial);
    g_assert_cmpuint(frame.status, ==, status);
    if (r)
        xdr_reader_init(r, frame.payload, frame.size);
}

static void expect_error(struct fixture *f, uint32_t serial, int code, const char *text)
{
    struct xdr_reader r;

    expect(f, serial, FRAME_ERROR, &r);
    g_assert_cmpint(xdr_get_i32(&r), ==, code);
    xdr_get_i32(&r);
    g_autofree char *message = xdr_get_optional_string(&r);
    g_assert_nonnull(strstr(message, text));
}

static struct fixture *opened(bool read_only)
{
    struct fixture *f = connect_client(read_only);

    expect(f, CALL(f, 1, "Su", "qemu:///system", 0), FRAME_OK, NULL);
    return f;
}

static void get_domain(struct xdr_reader *r, struct xdr_domain *d)
{
    xdr_get_domain(r, d);
    g_assert_true(xdr_reader_end(r));
}

static void define_domain(struct fixture *f, struct xdr_domain *d)
{
    struct xdr_reader r;

    expect(f, CALL(f, 11, "s", XML("web")), FRAME_OK, &r);
    get_domain(&r, d);
    g_assert_cmpstr(d->name, ==, "web");
}

static void test_handshake(void)
{
    struct fixture *f = connect_client(false);
    struct xdr_reader r;

    expect_error(f, CALL(f, 3, ""), 1, "connection not open");
    expect(f, CALL(f, 66, ""), FRAME_OK, &r);
    g_assert_cmpuint(xdr_get_u32(&r), ==, 1);
    g_assert_cmpuint(xdr_get_u32(&r), ==, 0);
    expect(f, CALL(f, 60, "i", 10), FRAME_OK, &r);
    g_assert_cmpint(xdr_get_i32(&r), ==, 1);
    expect(f, CALL(f, 60, "i", 13), FRAME_OK, &r);
    g_assert_cmpint(xdr_get_i32(&r), ==, 0);
    expect_error(f, CALL(f, 1, "Su", "qemu:///session", 0), 1, "unexpected QEMU URI path");
    expect_error(f, CALL(f, 1, "Su", "qemu:///system", 64), 8, "flags");
    expect(f, CALL(f, 1, "Su", "qemu:///system", 0), FRAME_OK, NULL);
    expect_error(f, CALL(f, 1, "Su", "qemu:///system", 0), 1, "already open");
    expect(f, CALL(f, 3, ""), FRAME_OK, &r);
    g_autofree char *type = xdr_get_string(&r);
    g_assert_cmpstr(type, ==, "QEMU");
    expect(f, CALL(f, 6, ""), FRAME_OK, &r);
    g_assert_cmpuint(r.size, ==, 188 - FRAME_HEADER_SIZE); /* measured with libvirt 9.0.0 */
    disconnect(f);
}

static void test_errors(void)
{
    struct fixture *f = opened(false);
    const struct xdr_domain nobody = {.name = (char *)"web", .uuid = {0x12, 0x34}, .id = -1};

    expect_error(f, CALL(f, 9999, ""), 3, "procedure 9999");
    expect_error(f, CALL(f, 0, ""), 3, "procedure 0");
    expect_error(f, CALL(f, 55, ""), 3, "not supported by the connection driver: virDomainSave");
    expect_error(f, CALL(f, 9, "u", 1), 39, "Unable to decode");
    expect_error(f, CALL(f, 23, "s", "web"), 42, "no domain with matching name 'web'");
    expect_error(f, CALL(f, 9, "d", &nobody), 42,
                 "no domain with matching uuid '12340000-0000-0000-0000-000000000000' (web)");
    uint32_t serial =
        send_frame(f, (struct frame){.program = 0x1234, .procedure = 1, .serial = 77});
    expect_error(f, serial, 39, "Cannot find program");
    disconnect(f);
}

static void test_read_only(void)
{
    struct fixture *f = opened(true);

    expect_error(f, CALL(f, 11, "s", XML("web")), 29,
                 "operation forbidden: read only access prevents virDomainDefineXML");
    expect(f, CALL(f, 273, "iu", 1, 0), FRAME_OK, NULL);
    disconnect(f);
    /* The client may ask for it. */
    f = connect_client(false);
    expect(f, CALL(f, 1, "Su", "qemu:///system", 1), FRAME_OK, NULL);
    expect_error(f, CALL(f, 11, "s", XML("web")), 29, "read only access");
    domain_unref(domains_define(f->context.domains, XML("web"), 0, NULL));
    struct xdr_reader r;
    struct xdr_domain d;
    expect(f, CALL(f, 23, "s", "web"), FRAME_OK, &r);
    get_domain(&r, &d);
    expect(f, CALL(f, 14, "du", &d, 2), FRAME_OK, NULL);
    expect_error(f, CALL(f, 14, "du", &d, 1), 29, "virDomainGetXMLDesc with secure flag");
    xdr_domain_clear(&d);
    disconnect(f);
}

static void test_life(void)
{
    struct fixture *f = opened(false);
    struct xdr_domain d, found;
    struct xdr_reader r;

    define_domain(f, &d);
    g_assert_cmpint(d.id, ==, -1);
    expect(f, CALL(f, 196, "du", &d, 0), FRAME_OK, &r);
    get_domain(&r, &found);
    g_assert_cmpint(found.id, ==, 1);
    xdr_domain_clear(&found);
    expect_error(f, CALL(f, 9, "d", &d), 55, "domain is already running");
    expect(f, CALL(f, 273, "iu", 1, 0), FRAME_OK, &r);
    g_assert_cmpuint(xdr_get_u32(&r), ==, 1);
    xdr_get_domain(&r, &found);
    g_assert_cmpuint(xdr_get_u32(&r), ==, 1);
    g_assert_true(xdr_reader_end(&r));
    xdr_domain_clear(&found);
    expect(f, CALL(f, 273, "iu", 1, 2), FRAME_OK, &r);
    g_assert_cmpuint(xdr_get_u32(&r), ==, 0);
    expect(f, CALL(f, 20, "dii", &d, 1, 4), FRAME_OK, &r);
    g_assert_cmpuint(xdr_get_u32(&r), ==, 1); /* as many as there was room for */
    expect_error(f, CALL(f, 20, "dii", &d, 2, G_MAXINT), 8, "too long");
    expect(f, CALL(f, 12, "d", &d), FRAME_OK, NULL);
    expect(f, CALL(f, 35, "d", &d), FRAME_OK, NULL);
    expect_error(f, CALL(f, 12, "d", &d), 42, "Domain not found");
    xdr_domain_clear(&d);
    disconnect(f);
}

/* Calls are answered in the order that their jobs end, the client's serial on each. */
static void test_outstanding(void)
{
    struct fixture *f = opened(false);
    struct xdr_domain d;

    define_domain(f, &d);
    fake_domains_hold(f->context.domains);
    uint32_t first = CALL(f, 9, "d", &d), second = CALL(f, 27, "du", &d, 0);
    expect(f, CALL(f, 3, ""), FRAME_OK, NULL);
    fake_domains_finish(f->context.domains);
    expect(f, second, FRAME_OK, NULL);
    expect(f, first, FRAME_OK, NULL);
    /* More than a client may have: the rest waits in its socket, and comes to its turn. */
    fake_domains_hold(f->context.domains);
    bool answered[CLIENT_CALLS_MAX + 8] = {};
    uint32_t base = f->serial + 1;
    struct frame frame;
    for (unsigned i = 0; i < G_N_ELEMENTS(answered); i++)
        CALL(f, 27, "du", &d, 0);
    g_assert_cmpuint(f->client->calls, ==, CLIENT_CALLS_MAX);
    g_assert_false(receive(f, &frame));
    fake_domains_finish(f->context.domains);
    for (unsigned i = 0; i < G_N_ELEMENTS(answered); i++) {
        g_assert_true(receive(f, &frame));
        g_assert_cmpuint(frame.serial - base, <, G_N_ELEMENTS(answered));
        g_assert_false(answered[frame.serial - base]);
        answered[frame.serial - base] = true;
    }
    g_assert_cmpuint(f->client->calls, ==, 0);
    xdr_domain_clear(&d);
    disconnect(f);
}

static void test_leave_early(void)
{
    struct fixture *f = opened(false);
    struct xdr_domain d;

    define_domain(f, &d);
    fake_domains_hold(f->context.domains);
    CALL(f, 9, "d", &d);
    g_assert_cmpuint(f->client->calls, ==, 1);
    shutdown(f->fd, SHUT_RDWR);
    spin();
    g_assert_true(f->ended);
    fake_domains_finish(f->context.domains);
    g_assert_cmpuint(f->client->calls, ==, 0);
    xdr_domain_clear(&d);
    disconnect(f);
}

static void test_garbage(void)
{
    struct fixture *f = connect_client(false);

    send_bytes(f, "GET / HTTP/1.1\r\n\r\n", 18);
    spin();
    g_assert_true(f->ended);
    disconnect(f);
}

static void test_keepalive(void)
{
    struct fixture *f = connect_client(false);
    struct frame frame;

    send_frame(f, (struct frame){.program = PROGRAM_KEEPALIVE,
                                 .procedure = KEEPALIVE_PING,
                                 .type = FRAME_MESSAGE});
    g_assert_true(receive(f, &frame));
    g_assert_cmpuint(frame.program, ==, PROGRAM_KEEPALIVE);
    g_assert_cmpuint(frame.procedure, ==, KEEPALIVE_PONG);
    g_assert_cmpuint(frame.type, ==, FRAME_MESSAGE);
    disconnect(f);
}

/* A client that asks and does not read: what is queued for it stays near the backlog, since nothing
 * more is read from it; it is served again once it reads. */
static void test_backlog(void)
{
    struct fixture *f = opened(false);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct frame frame;
    unsigned sent = 0, came = 0;

    while (!connection_busy(f->client->connection)) {
        g_byte_array_set_size(bytes, 0);
        frame_append(
            bytes, &(struct frame){
                       .program = PROGRAM_REMOTE, .version = 1, .procedure = 7, .serial = ++sent});
        g_assert_cmpint(send(f->fd, bytes->data, bytes->len, 0), ==, bytes->len);
        spin();
        g_assert_cmpuint(sent, <, 100000);
    }
    while (send(f->fd, bytes->data, bytes->len, MSG_DONTWAIT) == (ssize_t)bytes->len)
        sent++;
    while (came < sent && receive(f, &frame))
        came++;
    g_assert_cmpuint(came, ==, sent);
    g_assert_false(f->ended);
    disconnect(f);
}

/* What it did not ask for, events, is queued up to the limit; then the client is dropped. */
static void test_queue_limit(void)
{
    struct fixture *f = opened(false);
    static uint8_t block[1 << 20];
    const struct frame event = {.program = PROGRAM_REMOTE,
                                .version = 1,
                                .type = FRAME_MESSAGE,
                                .payload = block,
                                .size = sizeof(block)};

    for (unsigned i = 0; i < 64 && !f->ended; i++) {
        client_send(f->client, &event);
        spin();
    }
    g_assert_true(f->ended);
    disconnect(f);
}

static void expect_event(struct fixture *f, int callback, int event)
{
    struct frame frame;
    struct xdr_reader r;
    struct xdr_domain d;

    g_assert_true(receive(f, &frame));
    g_assert_cmpuint(frame.type, ==, FRAME_MESSAGE);
    g_assert_cmpuint(frame.procedure, ==, 318);
    xdr_reader_init(&r, frame.payload, frame.size);
    g_assert_cmpint(xdr_get_i32(&r), ==, callback);
    xdr_get_domain(&r, &d);
    g_assert_cmpstr(d.name, ==, "web");
    xdr_domain_clear(&d);
    g_assert_cmpint(xdr_get_i32(&r), ==, event);
    xdr_get_i32(&r);
    g_assert_true(xdr_reader_end(&r));
}

static int register_event(struct fixture *f, int event, const struct xdr_domain *d)
{
    struct xdr_reader r;

    expect(f, CALL(f, 316, "iD", event, d), FRAME_OK, &r);
    return xdr_get_i32(&r);
}

static void test_events(void)
{
    struct fixture *f = opened(false);
    const struct xdr_domain other = {.name = (char *)"other", .uuid = {0xff}, .id = -1};
    struct xdr_domain d;
    struct frame frame;

    define_domain(f, &d);
    int all = register_event(f, 0, NULL), one = register_event(f, 0, &d);
    register_event(f, 26, NULL); /* never happens here */
    expect_error(f, CALL(f, 316, "iD", 0, &other), 42, "Domain not found");
    expect_error(f, CALL(f, 316, "iD", 27, NULL), 1, "unsupported event ID 27");
    expect_error(f, CALL(f, 316, "iD", -1, NULL), 1, "unsupported event ID -1");
    uint32_t serial = CALL(f, 9, "d", &d);
    expect_event(f, all, 2);
    expect_event(f, one, 2);
    expect(f, serial, FRAME_OK, NULL);
    expect(f, CALL(f, 317, "i", all), FRAME_OK, NULL);
    expect_error(f, CALL(f, 317, "i", all), 1, "not registered");
    serial = CALL(f, 12, "d", &d);
    expect_event(f, one, 5);
    expect(f, serial, FRAME_OK, NULL);
    g_assert_false(receive(f, &frame));
    xdr_domain_clear(&d);
    disconnect(f);
}

static void stream_send(struct fixture *f, uint32_t serial, enum frame_status status,
                        const char *text)
{
    send_frame(f, (struct frame){.program = PROGRAM_REMOTE,
                                 .procedure = 201,
                                 .type = FRAME_STREAM,
                                 .serial = serial,
                                 .status = status,
                                 .payload = (const uint8_t *)text,
                                 .size = strlen(text)});
}

static void expect_stream(struct fixture *f, uint32_t serial, enum frame_status status,
                          const char *text)
{
    struct frame frame;

    g_assert_true(receive(f, &frame));
    g_assert_cmpuint(frame.type, ==, FRAME_STREAM);
    g_assert_cmpuint(frame.procedure, ==, 201);
    g_assert_cmpuint(frame.serial, ==, serial);
    g_assert_cmpuint(frame.status, ==, status);
    g_assert_cmpmem(frame.payload, frame.size, text, strlen(text));
}

static void test_console(void)
{
    struct fixture *f = opened(false);
    struct xdr_domain d;
    char bytes[16] = "";

    define_domain(f, &d);
    expect_error(f, CALL(f, 201, "dSu", &d, NULL, 0), 9, "no console");
    expect(f, CALL(f, 9, "d", &d), FRAME_OK, NULL);
    uint32_t serial = CALL(f, 201, "dSu", &d, NULL, 0);
    expect(f, serial, FRAME_OK, NULL);
    struct domain *domain = domains_by_name(f->context.domains, "web", NULL);
    int guest = fake_domain_console(domain);
    stream_send(f, serial, FRAME_CONTINUE, "ls\r");
    g_assert_cmpint(read(guest, bytes, sizeof(bytes)), ==, 3);
    g_assert_cmpstr(bytes, ==, "ls\r");
    g_assert_cmpint(write(guest, "file", 4), ==, 4);
    expect_stream(f, serial, FRAME_CONTINUE, "file");
    /* Other streams' frames are nobody's. */
    stream_send(f, serial + 100, FRAME_CONTINUE, "?");
    stream_send(f, serial, FRAME_OK, "");
    expect_stream(f, serial, FRAME_OK, "");
    g_assert_cmpint(fake_domain_console(domain), ==, -1);
    /* Aborted, it is confirmed likewise, and may be opened again. */
    serial = CALL(f, 201, "dSu", &d, NULL, 0);
    expect(f, serial, FRAME_OK, NULL);
    stream_send(f, serial, FRAME_ERROR, "");
    expect_stream(f, serial, FRAME_OK, "");
    /* The guest's end is an empty frame; the client finishes. */
    serial = CALL(f, 201, "dSu", &d, NULL, 0);
    expect(f, serial, FRAME_OK, NULL);
    uint32_t destroy = CALL(f, 12, "d", &d);
    expect_stream(f, serial, FRAME_CONTINUE, "");
    expect(f, destroy, FRAME_OK, NULL);
    stream_send(f, serial, FRAME_CONTINUE, "late");
    stream_send(f, serial, FRAME_OK, "");
    expect_stream(f, serial, FRAME_OK, "");
    domain_unref(domain);
    xdr_domain_clear(&d);
    disconnect(f);
}

/* A guest that does not read its console ends the stream, not the client. */
static void test_console_full(void)
{
    struct fixture *f = opened(false);
    g_autofree char *much = g_strnfill(60000, 'x');
    struct xdr_domain d;
    struct frame frame;
    unsigned sent = 0;

    define_domain(f, &d);
    expect(f, CALL(f, 9, "d", &d), FRAME_OK, NULL);
    uint32_t serial = CALL(f, 201, "dSu", &d, NULL, 0);
    expect(f, serial, FRAME_OK, NULL);
    while (!receive(f, &frame) && sent++ < 1000)
        stream_send(f, serial, FRAME_CONTINUE, much);
    g_assert_cmpuint(frame.type, ==, FRAME_STREAM);
    g_assert_cmpuint(frame.status, ==, FRAME_ERROR);
    g_assert_cmpuint(f->client->streams->len, ==, 0);
    expect(f, CALL(f, 3, ""), FRAME_OK, NULL);
    xdr_domain_clear(&d);
    disconnect(f);
}

static void test_stats(void)
{
    struct fixture *f = opened(false);
    struct xdr_reader r;
    struct xdr_domain d, record;
    struct xdr_writer w;

    define_domain(f, &d);
    expect(f, CALL(f, 9, "d", &d), FRAME_OK, NULL);
    xdr_writer_init(&w);
    xdr_encode(&w, "uuu", 0, 1, 0); /* of all domains: the state */
    expect(f, send_call(f, 344, &w), FRAME_OK, &r);
    g_assert_cmpuint(xdr_get_u32(&r), ==, 1);
    xdr_get_domain(&r, &record);
    g_autoptr(GArray) parameters = xdr_get_parameters(&r, 100);
    g_assert_true(xdr_reader_end(&r));
    g_assert_cmpuint(parameters->len, ==, 2);
    g_assert_cmpstr(g_array_index(parameters, struct xdr_parameter, 0).name, ==, "state.state");
    g_assert_cmpint(g_array_index(parameters, struct xdr_parameter, 0).i, ==, DOMAIN_RUNNING);
    xdr_domain_clear(&record);
    xdr_writer_init(&w);
    xdr_encode(&w, "uuu", 0, 4096, 1u << 31);
    expect_error(f, send_call(f, 344, &w), 74, "0x1000");
    expect(f, CALL(f, 64, "ds", &d, "vda"), FRAME_OK, &r);
    g_assert_cmpuint(xdr_get_u64(&r), ==, 0);
    g_assert_cmpuint(xdr_get_u64(&r), ==, 512);
    expect_error(f, CALL(f, 64, "ds", &d, "vdb"), 8, "invalid path: vdb");
    xdr_domain_clear(&d);
    disconnect(f);
}

/* Each row can be called: its signature is one that xdr.h has; no number has two meanings. */
static void test_table(void)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    unsigned rows = 0;

    for (uint32_t n = 0; n < 1000; n++) {
        const struct procedure *p = procedure_find(PROGRAM_REMOTE, n);

        if (!p)
            continue;
        rows++;
        g_assert_true(g_str_has_prefix(p->name, "vir"));
        g_assert_true(g_hash_table_add(names, (char *)p->name));
        g_assert_cmpuint(strlen(p->arguments), <=, XDR_VALUES_MAX);
        g_assert_cmpuint(strspn(p->arguments, "uiULbsSdDxhpot"), ==, strlen(p->arguments));
        g_assert_false(p->now && p->later);
    }
    g_assert_cmpuint(rows, >=, 65);
    g_assert_null(procedure_find(PROGRAM_QEMU, 1000));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/handshake", test_handshake);
    g_test_add_func("/rpc/errors", test_errors);
    g_test_add_func("/rpc/read-only", test_read_only);
    g_test_add_func("/rpc/life", test_life);
    g_test_add_func("/rpc/outstanding", test_outstanding);
    g_test_add_func("/rpc/leave-early", test_leave_early);
    g_test_add_func("/rpc/garbage", test_garbage);
    g_test_add_func("/rpc/keepalive", test_keepalive);
    g_test_add_func("/rpc/backlog", test_backlog);
    g_test_add_func("/rpc/queue-limit", test_queue_limit);
    g_test_add_func("/rpc/events", test_events);
    g_test_add_func("/rpc/console", test_console);
    g_test_add_func("/rpc/console-full", test_console_full);
    g_test_add_func("/rpc/stats", test_stats);
    g_test_add_func("/rpc/table", test_table);
    return g_test_run();
}
