/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libFuzzer: a hostile client of the manager.  The input is bytes of its socket, in three ways: as
 * they are; as frames whose length is right and whose rest is the input's; as calls of procedures
 * that exist, some with a domain that exists.  Nothing may crash, hang, leak or leave a sanitizer
 * something to say, and the manager must answer the next client.
 */
#include "manager/rpc/procedures.h"
#include "tests/unit/fake-domains.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROCEDURES 460

struct script {
    const uint8_t *data;
    size_t left;
};

/* The next N bytes of the script as a number; zeroes when it is over. */
static uint32_t take(struct script *s, unsigned n)
{
    uint32_t value = 0;

    n = (unsigned)MIN(n, s->left);
    memcpy(&value, s->data, n);
    s->data += n;
    s->left -= n;
    return value;
}

static struct rpc_context context;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    context.node = node_new("/usr/bin/trapeze", true);
    return 0;
}

static void spin(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

/* Reads away what the client hears. */
static void drain(int fd)
{
    uint8_t bytes[65536];

    spin();
    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        spin();
}

static void put(int fd, const void *data, size_t size)
{
    /* What does not fit is lost: then frames are torn, which is fine, too. */
    if (send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
    spin();
}

static void put_frame(int fd, struct frame f)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    frame_append(bytes, &f);
    put(fd, bytes->data, bytes->len);
}

/* A frame with anything in it, as a client that knows the way through the header. */
static void any_frame(int fd, struct script *s)
{
    static const uint32_t programs[] = {PROGRAM_REMOTE, PROGRAM_QEMU, PROGRAM_KEEPALIVE, 1};
    unsigned how = take(s, 1);
    struct frame f = {.program = programs[how & 3],
                      .version = how & 0x80 ? take(s, 1) : FRAME_VERSION,
                      .procedure = take(s, 2) % PROCEDURES,
                      .type = how >> 2 & 7,
                      .serial = take(s, 1),
                      .status = how >> 5 & 3};
    size_t size = take(s, 1);

    size = MIN(size, s->left);
    f.payload = s->data;
    f.size = size;
    s->data += size;
    s->left -= size;
    put_frame(fd, f);
}

/* A call with the arguments that its row wants. */
static void good_call(int fd, struct script *s)
{
    static const char *const texts[] = {"web", "<domain><name>web</name></domain>", "", "vda",
                                        "<domain><name>db</name><title>t</title></domain>"};
    uint32_t number = take(s, 2) % PROCEDURES;
    const struct procedure *row = procedure_find(PROGRAM_REMOTE, number);
    uint8_t uuid[XDR_UUID_SIZE] = {(uint8_t)(1 + take(s, 1) % 3)};
    struct xdr_writer w;

    if (!row)
        return;
    xdr_writer_init(&w);
    for (const char *at = row->arguments; *at; at++) {
        switch (*at) {
        case 'd':
        case 'D':
            if (*at == 'D')
                xdr_put_u32(&w, take(s, 1) & 1);
            xdr_put_domain(&w, "web", uuid, 1);
            break;
        case 'S':
        case 's':
            if (*at == 'S')
                xdr_put_u32(&w, 1);
            xdr_put_string(&w, texts[take(s, 1) % G_N_ELEMENTS(texts)]);
            break;
        case 'h':
            xdr_put_fixed(&w, uuid, sizeof(uuid));
            break;
        case 'U':
        case 'L':
            xdr_put_u64(&w, take(s, 4));
            break;
        case 'x':
            xdr_put_u32(&w, 1);
            xdr_put_domain(&w, "web", uuid, 1);
            break;
        default:
            xdr_put_u32(&w, take(s, 1) & 0x80 ? take(s, 4) : take(s, 1));
        }
    }
    put_frame(fd, (struct frame){.program = PROGRAM_REMOTE,
                                 .version = FRAME_VERSION,
                                 .procedure = number,
                                 .serial = take(s, 1),
                                 .payload = w.bytes->data,
                                 .size = w.bytes->len});
    xdr_writer_clear(&w);
}

static void step(int fd, struct script *s)
{
    unsigned operation = take(s, 1);
    size_t size;

    switch (operation & 7) {
    case 0: /* as they are */
        size = take(s, 1);
        size = MIN(size, s->left);
        put(fd, s->data, size);
        s->data += size;
        s->left -= size;
        break;
    case 1:
    case 2:
        any_frame(fd, s);
        break;
    case 3:
        fake_domains_hold(context.domains);
        break;
    case 4:
        fake_domains_finish(context.domains);
        break;
    case 5:
        drain(fd);
        break;
    default:
        good_call(fd, s);
    }
}

static struct client *connect_client(int *fd, bool read_only)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        g_error("no socket pair");
    *fd = ends[0];
    return client_new(&context, ends[1], read_only, NULL, NULL, NULL);
}

static void open_connection(int fd)
{
    put_frame(fd, (struct frame){.program = PROGRAM_REMOTE,
                                 .version = FRAME_VERSION,
                                 .procedure = 1,
                                 .payload = (const uint8_t *)"\0\0\0\0\0\0\0\0",
                                 .size = 8});
}

/* Another client is served. */
static void check_service(void)
{
    uint8_t reply[256];
    int fd;
    struct client *c = connect_client(&fd, true);

    open_connection(fd);
    if (recv(fd, reply, sizeof(reply), MSG_DONTWAIT) != FRAME_HEADER_SIZE)
        g_error("the manager does not answer any more");
    client_unref(c);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {data, size};
    unsigned how = take(&s, 1);
    int fd;

    context.domains = fake_domains_new();
    struct client *c = connect_client(&fd, how & 2);
    if (!(how & 1))
        open_connection(fd);
    for (unsigned i = 0; s.left && i < 200; i++)
        step(fd, &s);
    check_service();
    close(fd);
    spin();
    fake_domains_finish(context.domains);
    spin();
    client_unref(c);
    domains_close(context.domains);
    return 0;
}
