/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtio network device on user networking: the test is the guest's network stack. */
#include "machine/net/net.h"
#include "machine/virtio/virtio.h"
#include "virtio-driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY      (64ull << 20)
#define QUEUE_SIZE  64
#define HEADER      sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define BUFFER_SIZE 2048
#define MERGE       BIT(VIRTIO_NET_F_MRG_RXBUF)

enum { RECEIVE, TRANSMIT };

static const uint8_t guest_mac[6] = {2, 0, 0, 0, 0, 0x77};
static const uint8_t guest_ip[4] = {10, 0, 2, 15}, host_ip[4] = {10, 0, 2, 2};
static const uint8_t gateway_mac[6] = {0x52, 0x55, 10, 0, 2, 2};

struct net {
    struct driver *d;
    unsigned buffer_size;
    uint64_t out;         /* where frames to be sent are put together */
    uint8_t frame[70000]; /* the one received last */
    size_t length;
};

static void add_receive_buffer(struct net *n, uint64_t gpa)
{
    struct buffer b = {gpa, n->buffer_size, true};
    driver_add(n->d, &n->d->queues[RECEIVE], &b, 1, false);
}

static struct net *net_new(const char *spec, uint64_t features, unsigned buffers,
                           unsigned buffer_size)
{
    struct fake_machine *f = fake_machine_new(MEMORY);
    struct net *n = g_new0(struct net, 1);
    GError *error = NULL;
    struct device *device = virtio_net_new(&f->machine, "net0", spec, &error);
    g_assert_no_error(error);
    n->d = driver_new(f, device);
    n->buffer_size = buffer_size;
    n->out = driver_alloc(n->d, 131072);
    driver_enable_msix(n->d);
    driver_start(n->d, features | BIT(VIRTIO_NET_F_MAC), QUEUE_SIZE);
    for (unsigned i = 0; i < buffers; i++)
        add_receive_buffer(n, driver_alloc(n->d, buffer_size));
    driver_notify(n->d, &n->d->queues[RECEIVE]);
    return n;
}

static void net_free(struct net *n)
{
    fake_machine_free(n->d->fake);
    driver_free(n->d);
    g_free(n);
}

/* ---- frames ---- */

static void send_frame(struct net *n, const void *frame, uint32_t length)
{
    uint8_t *ram = driver_ram(n->d, n->out);
    memset(ram, 0, HEADER);
    memcpy(ram + HEADER, frame, length);
    const struct buffer b[] = {{n->out, HEADER, false}, {n->out + HEADER, length, false}};
    g_assert_cmpuint(driver_request(n->d, &n->d->queues[TRANSMIT], b, 2), ==, 0);
}

/* Takes the next frame when there is one, and gives its buffers back. */
static bool take_frame(void *opaque)
{
    struct net *n = opaque;
    struct driver_queue *q = &n->d->queues[RECEIVE];
    struct virtio_net_hdr_mrg_rxbuf header = {.num_buffers = 1};
    uint32_t head, written;
    n->length = 0;
    for (unsigned i = 0; i < header.num_buffers; i++) {
        if (!driver_take(n->d, q, &head, &written)) {
            g_assert_cmpuint(i, ==, 0); /* all buffers of a frame are used at once */
            return false;
        }
        g_assert_cmpuint(written, <=, n->buffer_size);
        const struct vring_desc *descriptor = driver_ram(n->d, q->descriptors + 16 * head);
        const uint8_t *data = driver_ram(n->d, descriptor->addr);
        if (i == 0)
            memcpy(&header, data, HEADER);
        memcpy(n->frame + n->length, data + (i ? 0 : HEADER), written - (i ? 0 : HEADER));
        n->length += written - (i ? 0 : HEADER);
        add_receive_buffer(n, descriptor->addr);
    }
    driver_notify(n->d, q);
    g_assert_cmpuint(header.hdr.flags, ==, 0);
    g_assert_cmpuint(header.hdr.gso_type, ==, 0);
    return true;
}

static void receive_frame(struct net *n)
{
    fake_run_until(n->d->fake, take_frame, n);
}

static uint16_t frame16(const struct net *n, unsigned offset)
{
    return n->frame[offset] << 8 | n->frame[offset + 1];
}

static void put16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

static void ethernet(uint8_t *f, const uint8_t *to, uint16_t type)
{
    memcpy(f, to, 6);
    memcpy(f + 6, guest_mac, 6);
    put16(f + 12, type);
}

/* Tells the network that the guest has its address, by asking for the gateway's; takes the reply.
 */
static void arp(struct net *n)
{
    static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};
    uint8_t f[60] = {0};
    ethernet(f, everyone, 0x0806);
    memcpy(f + 14, "\0\1\x08\0\6\4\0\1", 8);
    memcpy(f + 22, guest_mac, 6);
    memcpy(f + 28, guest_ip, 4);
    memcpy(f + 38, host_ip, 4);
    send_frame(n, f, sizeof(f));
    do
        receive_frame(n);
    while (frame16(n, 12) != 0x0806 || frame16(n, 20) != 2);
}

static uint16_t checksum(const uint8_t *p, size_t length, uint32_t sum)
{
    for (size_t i = 0; i < length; i += 2)
        sum += p[i] << 8 | (i + 1 < length ? p[i + 1] : 0);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

/* Sends an IPv4 packet of PROTOCOL whose transport part is at f + 34, its checksum at offset SUM of
 * it. */
static void send_ip(struct net *n, uint8_t *f, uint8_t protocol, const uint8_t *to, unsigned length,
                    unsigned sum)
{
    ethernet(f, gateway_mac, 0x0800);
    memset(f + 14, 0, 20);
    f[14] = 0x45;
    put16(f + 16, 20 + length);
    f[22] = 64;
    f[23] = protocol;
    memcpy(f + 26, guest_ip, 4);
    memcpy(f + 30, to, 4);
    put16(f + 24, checksum(f + 14, 20, 0));
    put16(f + 34 + sum, 0);
    put16(f + 34 + sum, checksum(f + 26, 8 + length, protocol + length));
    send_frame(n, f, 34 + length);
}

static void send_udp(struct net *n, uint16_t from, uint16_t to, const void *data, unsigned length)
{
    uint8_t f[42 + 1472];
    put16(f + 34, from);
    put16(f + 36, to);
    put16(f + 38, 8 + length);
    memcpy(f + 42, data, length);
    send_ip(n, f, 17, host_ip, 8 + length, 6);
}

#define TCP_SYN 2
#define TCP_ACK 16

static void send_tcp(struct net *n, uint16_t from, uint16_t to, uint32_t sequence,
                     uint32_t acknowledge, uint8_t flags)
{
    uint8_t f[54];
    put16(f + 34, from);
    put16(f + 36, to);
    put32(f + 38, sequence);
    put32(f + 42, acknowledge);
    f[46] = 5 << 4;
    f[47] = flags;
    put16(f + 48, 65535);
    put16(f + 52, 0);
    send_ip(n, f, 6, host_ip, 20, 16);
}

/* Receives until a packet of PROTOCOL to PORT comes. */
static void receive_ip(struct net *n, uint8_t protocol, uint16_t port)
{
    do
        receive_frame(n);
    while (frame16(n, 12) != 0x0800 || n->frame[23] != protocol || frame16(n, 36) != port);
    g_assert_cmpuint(checksum(n->frame + 14, 20, 0), ==, 0);
}

/* A socket bound to a free port of 127.0.0.1. */
static int bound_socket(int type, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int s = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(bind(s, (struct sockaddr *)&address, length), ==, 0);
    g_assert_cmpint(getsockname(s, (struct sockaddr *)&address, &length), ==, 0);
    *port = ntohs(address.sin_port);
    return s;
}

static uint16_t free_port(int type)
{
    uint16_t port;
    close(bound_socket(type, &port));
    return port;
}

/* ---- tests ---- */

static void test_identity(void)
{
    struct net *n = net_new("user,mac=02:00:00:00:00:77", 0, 4, BUFFER_SIZE);
    uint64_t mac = driver_config(n->d, 0, 4) | driver_config(n->d, 4, 2) << 32;
    g_assert_cmpmem(&mac, 6, guest_mac, 6);
    g_assert_cmpuint(driver_config(n->d, 6, 2), ==, VIRTIO_NET_S_LINK_UP);
    g_assert_cmphex(pci_get(n->d, 0, 4), ==, 0x10411af4);
    net_free(n);
    n = net_new("user", 0, 4, BUFFER_SIZE);
    g_assert_cmpuint(driver_config(n->d, 0, 1) & 3, ==, 2); /* local, not a group's */
    net_free(n);
}

static void test_arp(gconstpointer features)
{
    struct net *n = net_new("user", GPOINTER_TO_SIZE(features), 8, BUFFER_SIZE);
    arp(n);
    g_assert_cmpmem(n->frame + 22, 6, gateway_mac, 6);
    g_assert_cmpmem(n->frame + 28, 4, host_ip, 4);
    g_assert_cmpuint(fake_msis_of(n->d->fake, MSI_QUEUE + RECEIVE), >=, 1);
    g_assert_cmpuint(fake_msis_of(n->d->fake, MSI_QUEUE + TRANSMIT), >=, 1);
    net_free(n);
}

static void test_dhcp(void)
{
    struct net *n = net_new("user", MERGE, 8, BUFFER_SIZE);
    static const uint8_t everyone[4] = {255, 255, 255, 255};
    uint8_t f[34 + 8 + 300] = {0};
    uint8_t *bootp = f + 42;
    put16(f + 34, 68);
    put16(f + 36, 67);
    put16(f + 38, 308);
    memcpy(bootp, "\1\1\6\0\x12\x34\x56\x78", 8);
    memcpy(bootp + 28, guest_mac, 6);
    memcpy(bootp + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8); /* magic, DHCPDISCOVER, end */
    send_ip(n, f, 17, everyone, 308, 6);
    receive_ip(n, 17, 68);
    g_assert_cmpmem(n->frame + 42 + 4, 4, "\x12\x34\x56\x78", 4);
    g_assert_cmpmem(n->frame + 42 + 16, 4, guest_ip, 4);
    g_assert_cmpmem(n->frame + 42 + 240, 3, "\x35\1\2", 3); /* DHCPOFFER */
    net_free(n);
}

struct expected_datagram {
    int socket;
    char data[2000];
    ssize_t length;
};

static bool datagram_came(void *opaque)
{
    struct expected_datagram *e = opaque;
    e->length = recv(e->socket, e->data, sizeof(e->data), 0);
    return e->length >= 0;
}

/* The guest reaches a socket on the host's loopback, as 10.0.2.2, and is answered. */
static void test_udp(gconstpointer buffer_size)
{
    struct net *n = net_new("user", MERGE, 48, GPOINTER_TO_UINT(buffer_size));
    uint16_t port;
    struct expected_datagram e = {.socket = bound_socket(SOCK_DGRAM, &port)};
    uint8_t data[1400];
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = i * 7;
    arp(n);
    send_udp(n, 5555, port, data, sizeof(data));
    fake_run_until(n->d->fake, datagram_came, &e);
    g_assert_cmpmem(e.data, e.length, data, sizeof(data));

    struct sockaddr_in from;
    socklen_t length = sizeof(from);
    send_udp(n, 5555, port, "more", 4);
    while (recvfrom(e.socket, e.data, sizeof(e.data), 0, (struct sockaddr *)&from, &length) < 0)
        fake_settle(n->d->fake);
    for (unsigned i = 0; i < 100; i++) {
        memset(data, i, sizeof(data));
        g_assert_cmpint(
            sendto(e.socket, data, sizeof(data) - i, 0, (struct sockaddr *)&from, length), >, 0);
        receive_ip(n, 17, 5555);
        g_assert_cmpmem(n->frame + 42, n->length - 42, data, sizeof(data) - i);
    }
    close(e.socket);
    net_free(n);
}

/* Whether a datagram of the guest's to 10.0.2.2 comes to a socket on the host's loopback, on a
 * network of SPEC; what a forward brings in comes in any case.  A frame has had its effect when the
 * device hands it back. */
static bool reaches_loopback(const char *options)
{
    uint16_t in = free_port(SOCK_DGRAM), port, own;
    g_autofree char *spec = g_strdup_printf("user,forward=udp::%u-:99%s", in, options);
    struct net *n = net_new(spec, MERGE, 8, BUFFER_SIZE);
    struct expected_datagram e = {.socket = bound_socket(SOCK_DGRAM, &port)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(in), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = bound_socket(SOCK_DGRAM, &own);
    arp(n);
    send_udp(n, 5555, port, "knock", 5);
    fake_settle(n->d->fake);
    g_assert_cmpint(sendto(s, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), ==, 5);
    receive_ip(n, 17, 99);
    g_assert_cmpmem(n->frame + 42, 5, "hello", 5);
    bool came = datagram_came(&e);
    close(s);
    close(e.socket);
    net_free(n);
    return came;
}

static void test_cut_off(void)
{
    g_assert_true(reaches_loopback(""));
    g_assert_true(reaches_loopback(",host-loopback=on,restrict=off"));
    g_assert_false(reaches_loopback(",host-loopback=off"));
    g_assert_false(reaches_loopback(",restrict=on"));
}

static void test_forward_udp(void)
{
    uint16_t port = free_port(SOCK_DGRAM), own;
    g_autofree char *spec = g_strdup_printf("user,forward=udp:127.0.0.1:%u-10.0.2.15:99", port);
    struct net *n = net_new(spec, MERGE, 8, BUFFER_SIZE);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = bound_socket(SOCK_DGRAM, &own);
    arp(n);
    g_assert_cmpint(sendto(s, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), ==, 5);
    receive_ip(n, 17, 99);
    g_assert_cmpmem(n->frame + 42, 5, "hello", 5);
    close(s);
    net_free(n);
}

static void test_forward_tcp(void)
{
    uint16_t port = free_port(SOCK_STREAM), second = free_port(SOCK_STREAM), own;
    g_autofree char *spec =
        g_strdup_printf("user,forward=tcp:127.0.0.1:%u-:22,forward=tcp::%u-:80", port, second);
    struct net *n = net_new(spec, MERGE, 8, BUFFER_SIZE);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    arp(n);
    int s = bound_socket(SOCK_STREAM, &own);
    g_assert_true(connect(s, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
    receive_ip(n, 6, 22);
    g_assert_cmphex(n->frame[47] & (TCP_SYN | TCP_ACK), ==, TCP_SYN);
    uint16_t peer = frame16(n, 34);
    uint32_t sequence = (uint32_t)frame16(n, 38) << 16 | frame16(n, 40);
    send_tcp(n, 22, peer, 1000, sequence + 1, TCP_SYN | TCP_ACK);
    receive_ip(n, 6, 22);
    g_assert_cmphex(n->frame[47] & (TCP_SYN | TCP_ACK), ==, TCP_ACK);
    g_assert_cmpint(send(s, "knock", 5, 0), ==, 5);
    do
        receive_ip(n, 6, 22);
    while (frame16(n, 16) == 40); /* acknowledgements without data */
    unsigned data = 34 + (n->frame[46] >> 4) * 4;
    g_assert_cmpmem(n->frame + data, 5, "knock", 5);
    close(s);

    /* The second forward. */
    to.sin_port = htons(second);
    s = bound_socket(SOCK_STREAM, &own);
    g_assert_true(connect(s, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
    receive_ip(n, 6, 80);
    close(s);
    net_free(n);
}

/* Frames wait for buffers. */
static void test_no_buffers(void)
{
    uint16_t port = free_port(SOCK_DGRAM), own;
    g_autofree char *spec = g_strdup_printf("user,forward=udp::%u-:99", port);
    struct net *n = net_new(spec, MERGE, 2, BUFFER_SIZE);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = bound_socket(SOCK_DGRAM, &own);
    arp(n);
    for (char i = 'a'; i < 'k'; i++)
        g_assert_cmpint(sendto(s, &i, 1, 0, (struct sockaddr *)&to, sizeof(to)), ==, 1);
    driver_settle(n->d);
    for (char i = 'a'; i < 'k'; i++) { /* in order, none lost */
        receive_ip(n, 17, 99);
        g_assert_cmpuint(n->frame[42], ==, i);
    }
    close(s);
    net_free(n);
}

/* Without merging, a frame that does not fit a buffer is lost, the next one is not. */
static void test_small_buffers(void)
{
    uint16_t port = free_port(SOCK_DGRAM), own;
    g_autofree char *spec = g_strdup_printf("user,forward=udp::%u-:99", port);
    struct net *n = net_new(spec, 0, 8, 100);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char big[500] = {0};
    int s = bound_socket(SOCK_DGRAM, &own);
    arp(n);
    g_assert_cmpint(sendto(s, big, sizeof(big), 0, (struct sockaddr *)&to, sizeof(to)), >, 0);
    g_assert_cmpint(sendto(s, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), ==, 1);
    receive_ip(n, 17, 99);
    g_assert_cmpuint(n->frame[42], ==, 'x');
    g_assert_cmphex(driver_status(n->d), ==, 15);
    close(s);
    net_free(n);
}

/* Frames that are none are used up and dropped. */
static void test_bad_frames(void)
{
    struct net *n = net_new("user", MERGE, 8, BUFFER_SIZE);
    struct driver_queue *q = &n->d->queues[TRANSMIT];
    uint64_t at = driver_alloc(n->d, 131072);
    const struct buffer empty[] = {{at, 0, false}};
    const struct buffer part_of_header[] = {{at, HEADER - 1, false}};
    const struct buffer only_header[] = {{at, HEADER, false}};
    const struct buffer too_short[] = {{at, HEADER + 13, false}};
    const struct buffer too_long[] = {{at, HEADER + NET_FRAME_MAX + 1, false}};
    const struct buffer writable[] = {{at, 100, true}};
    g_assert_cmpuint(driver_request(n->d, q, empty, 1), ==, 0);
    g_assert_cmpuint(driver_request(n->d, q, part_of_header, 1), ==, 0);
    g_assert_cmpuint(driver_request(n->d, q, only_header, 1), ==, 0);
    g_assert_cmpuint(driver_request(n->d, q, too_short, 1), ==, 0);
    g_assert_cmpuint(driver_request(n->d, q, too_long, 1), ==, 0);
    g_assert_cmpuint(driver_request(n->d, q, writable, 1), ==, 0);
    /* Noise of all sizes goes through the user network's own parsers. */
    g_autoptr(GRand) random = g_rand_new_with_seed(g_test_rand_int());
    uint8_t noise[1600];
    for (unsigned i = 0; i < 2000; i++) {
        for (unsigned j = 0; j < sizeof(noise); j += 4)
            put32(noise + j, g_rand_int(random));
        ethernet(noise, gateway_mac, g_rand_boolean(random) ? 0x0800 : 0x0806);
        send_frame(n, noise, g_rand_int_range(random, 14, sizeof(noise)));
    }
    while (take_frame(n))
        ;
    arp(n);
    g_assert_cmphex(driver_status(n->d), ==, 15);
    net_free(n);
}

static void test_tiny_header_buffer(void)
{
    struct net *n = net_new("user", MERGE, 8, 4);
    static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};
    uint8_t f[60] = {0};
    ethernet(f, everyone, 0x0806);
    memcpy(f + 14, "\0\1\x08\0\6\4\0\1", 8);
    memcpy(f + 28, guest_ip, 4);
    memcpy(f + 38, host_ip, 4);
    send_frame(n, f, sizeof(f));
    g_assert_cmphex(driver_status(n->d), ==, 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    net_free(n);
}

static void test_reset(void)
{
    struct net *n = net_new("user", MERGE, 8, BUFFER_SIZE);
    for (unsigned i = 0; i < 5; i++) {
        arp(n);
        n->d->heap = 0x200000;
        driver_start(n->d, MERGE, QUEUE_SIZE);
        for (unsigned j = 0; j < 8; j++)
            add_receive_buffer(n, driver_alloc(n->d, BUFFER_SIZE));
        driver_notify(n->d, &n->d->queues[RECEIVE]);
    }
    arp(n);
    net_free(n);
}

/* ---- specifications ---- */

static void test_refused(void)
{
    static const char *const bad[] = {
        "",
        "none",
        "bridge",
        "user,colour=blue",
        "user,forward=tcp",
        "user,forward=sctp::80-:80",
        "user,forward=tcp::80",
        "user,forward=tcp:80-80",
        "user,forward=tcp::0-:80",
        "user,forward=tcp::65536-:80",
        "user,forward=tcp::x-:80",
        "user,forward=tcp:example:8080-:80",
        "user,forward=tcp:8.8.8.8:8080-:80",
        "user,restrict",
        "user,restrict=yes",
        "user,host-loopback=",
        "user,mac=02:00:00:00:00",
        "user,mac=02:00:00:00:00:00:00",
        "user,mac=01:00:00:00:00:00",
        "user,mac=zz:00:00:00:00:00",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct fake_machine *f = fake_machine_new(1 << 20);
        GError *error = NULL;
        g_assert_null(virtio_net_new(&f->machine, "net0", bad[i], &error));
        g_assert_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG);
        g_test_message("%s", error->message);
        g_assert_true(g_str_has_prefix(error->message, "--net"));
        g_error_free(error);
        fake_machine_free(f);
    }
}

static void test_port_taken(void)
{
    uint16_t port;
    int s = bound_socket(SOCK_STREAM, &port);
    g_assert_cmpint(listen(s, 1), ==, 0);
    g_autofree char *spec = g_strdup_printf("user,forward=tcp::%u-:22", port);
    struct fake_machine *f = fake_machine_new(1 << 20);
    GError *error = NULL;
    g_assert_null(virtio_net_new(&f->machine, "net0", spec, &error));
    g_assert_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG);
    g_assert_nonnull(strstr(error->message, g_strerror(EADDRINUSE)));
    g_error_free(error);
    fake_machine_free(f);
    close(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-net/identity", test_identity);
    g_test_add_data_func("/virtio-net/arp/plain", GSIZE_TO_POINTER(0), test_arp);
    g_test_add_data_func("/virtio-net/arp/merge", GSIZE_TO_POINTER(MERGE), test_arp);
    g_test_add_data_func("/virtio-net/arp/event-index",
                         GSIZE_TO_POINTER(MERGE | BIT(VIRTIO_RING_F_EVENT_IDX)), test_arp);
    g_test_add_func("/virtio-net/dhcp", test_dhcp);
    g_test_add_data_func("/virtio-net/udp/whole", GUINT_TO_POINTER(BUFFER_SIZE), test_udp);
    g_test_add_data_func("/virtio-net/udp/merged", GUINT_TO_POINTER(100), test_udp);
    g_test_add_func("/virtio-net/cut-off", test_cut_off);
    g_test_add_func("/virtio-net/forward/udp", test_forward_udp);
    g_test_add_func("/virtio-net/forward/tcp", test_forward_tcp);
    g_test_add_func("/virtio-net/no-buffers", test_no_buffers);
    g_test_add_func("/virtio-net/small-buffers", test_small_buffers);
    g_test_add_func("/virtio-net/bad-frames", test_bad_frames);
    g_test_add_func("/virtio-net/tiny-header-buffer", test_tiny_header_buffer);
    g_test_add_func("/virtio-net/reset", test_reset);
    g_test_add_func("/virtio-net/refused", test_refused);
    g_test_add_func("/virtio-net/port-taken", test_port_taken);
    return g_test_run();
}
