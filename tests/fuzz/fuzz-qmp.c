/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Feeds the monitor what a client might send.  The input's first byte chooses: bytes as they are,
 * after negotiation or before it, or arguments for one of the commands.  Every answer must be a
 * JSON object, and the session must end when the client is gone.
 */
#include "../unit/machine-fixture.h"
#include "machine/monitor/monitor.h"

#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t halt[] = {0xfa, 0xf4}; /* cli; hlt */

static const char *const commands[] = {
    "query-stats", "query-stats-schemas", "query-blockstats", "qmp_capabilities", "stop",
    "cont",        "system_reset",        "query-status",
};

static struct fixture *fixture; /* one for all inputs; its guest never runs long */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fixture = fixture_new(halt, sizeof halt);
    g_free(fixture->config.serial);
    fixture->config.serial = g_strdup("none");
    fixture_start(fixture);
    return 0;
}

static void put(int fd, const void *data, size_t size)
{
    g_assert_cmpint(send(fd, data, size, 0), ==, (ssize_t)size);
}

static void put_text(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

static void send_input(int fd, const uint8_t *data, size_t size)
{
    uint8_t choice = size ? data[0] : 0;

    if (choice & 1)
        put_text(fd, "{\"execute\": \"qmp_capabilities\"}");
    if (choice & 2) {
        put_text(fd, "{\"execute\": \"");
        put_text(fd, commands[(choice >> 2) % G_N_ELEMENTS(commands)]);
        put_text(fd, "\", \"arguments\": ");
    }
    if (size > 1)
        put(fd, data + 1, size - 1);
    if (choice & 2)
        put_text(fd, "}");
    shutdown(fd, SHUT_WR);
}

static void check_answers(int fd)
{
    GByteArray *all = g_byte_array_new();
    uint8_t part[4096];
    ssize_t n;

    /* The session ends by itself, since its input has. */
    while ((n = recv(fd, part, sizeof part, MSG_DONTWAIT)) != 0)
        if (n > 0)
            g_byte_array_append(all, part, (guint)n);
        else
            g_main_context_iteration(fixture->context, FALSE);
    g_byte_array_append(all, (const uint8_t *)"", 1);
    g_auto(GStrv) lines = g_strsplit((const char *)all->data, "\n", -1);
    for (char **line = lines; *line && **line; line++) {
        json_t *json = json_loads(*line, 0, NULL);
        g_assert_true(json_is_object(json));
        json_decref(json);
    }
    g_byte_array_unref(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    send_input(pair[0], data, size);
    monitor_add_client(fixture->machine->monitor, pair[1]);
    check_answers(pair[0]);
    close(pair[0]);
    return 0;
}
