/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Feeds the debugger's stub what a client might send: the input as it is, or, when its first byte
 * is odd, its lines as the bodies of packets with good checksums.
 */
#include "../unit/machine-fixture.h"
#include "machine/gdb/gdb.h"
#include "machine/gdb/packet.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* 1: inc %eax; jmp 1b */
static const uint8_t guest[] = {0x40, 0xeb, 0xfd};

static struct fixture *fixture; /* one for all inputs */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fixture = fixture_new(guest, sizeof guest);
    g_free(fixture->config.serial);
    fixture->config.serial = g_strdup("none");
    fixture->config.cpus = 2;
    fixture->config.gdb = g_strdup_printf("unix:%s/gdb", fixture->folder);
    fixture_start(fixture);
    return 0;
}

static void put(int fd, const void *data, size_t size)
{
    g_assert_cmpint(send(fd, data, size, 0), ==, (ssize_t)size);
}

static void put_packets(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) : size;
        GByteArray *packet = packet_make(data, length);

        put(fd, packet->data, packet->len);
        g_byte_array_unref(packet);
        data += length + (end ? 1 : 0);
        size -= length + (end ? 1 : 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t part[4096];
    int pair[2];

    if (!size)
        return 0;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    if (*data & 1)
        put_packets(pair[0], data + 1, size - 1);
    else
        put(pair[0], data + 1, size - 1);
    shutdown(pair[0], SHUT_WR);
    gdb_add_client(fixture->machine->gdb, pair[1]);
    while (recv(pair[0], part, sizeof part, MSG_DONTWAIT) != 0)
        g_main_context_iteration(fixture->context, FALSE);
    close(pair[0]);
    return 0;
}
