/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The manager's QMP client, against a guest that this test plays on a socket pair. */
#include "manager/domain/qmp.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define DONE     "{\"return\": {}}\r\n"

struct fixture {
    int guest;
    struct qmp *q;
    GString *log; /* what was called back, in order */
    bool free_in_event, free_in_reply;
};

static void on_ready(void *data)
{
    g_string_append(((struct fixture *)data)->log, "ready ");
}

static void on_event(const char *name, const json_t *detail, void *data)
{
    struct fixture *f = data;
    const char *reason = json_string_value(json_object_get(detail, "reason"));

    g_string_append_printf(f->log, "%s(%s) ", name, reason ? reason : "");
    if (f->free_in_event)
        qmp_free(g_steal_pointer(&f->q));
}

static void on_closed(const char *why, void *data)
{
    struct fixture *f = data;

    g_string_append_printf(f->log, "closed: %s", why);
    qmp_free(g_steal_pointer(&f->q));
}

static const struct qmp_handler handler = {on_ready, on_event, on_closed};

static void on_reply(json_t *value, const GError *error, void *data)
{
    struct fixture *f = data;

    if (error) {
        g_string_append_printf(f->log, "error %d ", error->code);
    } else {
        g_autofree char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        g_string_append_printf(f->log, "%s ", text);
    }
    if (f->free_in_reply)
        qmp_free(g_steal_pointer(&f->q));
}

static void set_up(struct fixture *f, gconstpointer data)
{
    int pair[2];

    (void)data;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    f->guest = pair[0];
    f->log = g_string_new(NULL);
    f->q = qmp_new(pair[1], &handler, f);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    (void)data;
    qmp_free(f->q);
    if (f->guest >= 0)
        close(f->guest);
    g_string_free(f->log, TRUE);
}

/* ---- the guest's side ---- */

static void say(struct fixture *f, const char *text)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t n = send(f->guest, text, left, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            text += n;
            left -= (size_t)n;
        }
        g_main_context_iteration(NULL, FALSE);
        if (n < 0 && errno != EAGAIN)
            break;
    }
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static void hear(struct fixture *f, const char *expected)
{
    char text[256] = "";
    size_t length = strlen(expected), got = 0;

    while (got < length) {
        ssize_t n = recv(f->guest, text + got, length - got, MSG_DONTWAIT);

        if (n > 0)
            got += (size_t)n;
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpstr(text, ==, expected);
}

static void check_log(struct fixture *f, const char *expected)
{
    g_assert_cmpstr(f->log->str, ==, expected);
    g_string_truncate(f->log, 0);
}

static void negotiate(struct fixture *f)
{
    say(f, GREETING);
    hear(f, "{\"execute\":\"qmp_capabilities\"}\n");
    say(f, DONE);
    check_log(f, "ready ");
}

/* ---- tests ---- */

static void test_commands(struct fixture *f, gconstpointer data)
{
    (void)data;
    qmp_command(f->q, "first", NULL, 0, on_reply, f);
    negotiate(f);
    qmp_command(f->q, "second", json_pack("{s:i}", "x", 1), 0, on_reply, f);
    hear(f, "{\"execute\":\"first\"}\n");
    say(f, "{\"event\": \"STOP\"}\n{\"ret");
    check_log(f, "STOP() ");
    say(f, "urn\": [1]}\r\n");
    check_log(f, "[1] ");
    hear(f, "{\"execute\":\"second\",\"arguments\":{\"x\":1}}\n");
    say(f, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\n"
           "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"r\"}}\r\n");
    check_log(f, "error 1 SHUTDOWN(r) ");
}

static void test_hang_up(struct fixture *f, gconstpointer data)
{
    (void)data;
    negotiate(f);
    qmp_command(f->q, "first", NULL, 0, on_reply, f);
    qmp_command(f->q, "second", NULL, 0, on_reply, f);
    hear(f, "{\"execute\":\"first\"}\n");
    /* What it said last counts. */
    say(f, "{\"return\": 1}\n{\"event\": \"LAST\"}\n");
    close(f->guest);
    f->guest = -1;
    while (f->q)
        g_main_context_iteration(NULL, TRUE);
    check_log(f, "1 LAST() error 9 closed: it hung up");
}

static void check_nonsense(struct fixture *f, const char *text, const char *why)
{
    set_up(f, NULL);
    negotiate(f);
    qmp_command(f->q, "first", NULL, 0, on_reply, f);
    hear(f, "{\"execute\":\"first\"}\n");
    say(f, text);
    check_log(f, why);
    tear_down(f, NULL);
}

static void test_nonsense(void)
{
    struct fixture f = {0};
    g_autofree char *long_line = g_strnfill(QMP_LINE_MAX + 8192, ' ');
    g_autofree char *deep = g_strnfill(100000, '[');
    g_autofree char *deep_line = g_strconcat(deep, "\n", NULL);

    check_nonsense(&f, "hello\n", "error 9 closed: it sent what is not a JSON object");
    check_nonsense(&f, "[]\n", "error 9 closed: it sent what is not a JSON object");
    check_nonsense(&f, "{}\n", "error 9 closed: it sent neither an answer nor an event");
    check_nonsense(&f, deep_line, "error 9 closed: it sent what is not a JSON object");
    check_nonsense(&f, long_line, "error 9 closed: it sent a line that is too long");
    check_nonsense(&f, DONE DONE, "{} closed: it answered what was not asked");
    check_nonsense(&f, "{\"error\": 7}\n\n\r\n", "error 1 ");
}

static void test_no_greeting(struct fixture *f, gconstpointer data)
{
    (void)data;
    say(f, DONE);
    check_log(f, "closed: it did not greet");
}

static void test_timeout(struct fixture *f, gconstpointer data)
{
    (void)data;
    negotiate(f);
    qmp_command(f->q, "first", NULL, 10, on_reply, f);
    while (f->q)
        g_main_context_iteration(NULL, TRUE);
    check_log(f, "error 68 closed: it did not answer in time");
}

static void test_free(struct fixture *f, gconstpointer data)
{
    (void)data;
    negotiate(f);
    qmp_command(f->q, "first", NULL, 0, on_reply, f);
    f->free_in_event = true;
    say(f, "{\"event\": \"A\"}\n{\"event\": \"B\"}\n");
    g_assert_null(f->q);
    check_log(f, "A() error 9 ");
}

static void test_free_in_reply(struct fixture *f, gconstpointer data)
{
    (void)data;
    negotiate(f);
    qmp_command(f->q, "first", NULL, 0, on_reply, f);
    qmp_command(f->q, "second", NULL, 0, on_reply, f);
    f->free_in_reply = true;
    hear(f, "{\"execute\":\"first\"}\n");
    say(f, DONE DONE);
    g_assert_null(f->q);
    check_log(f, "{} error 9 ");
}

static void test_drain(struct fixture *f, gconstpointer data)
{
    (void)data;
    negotiate(f);
    g_assert_cmpint(send(f->guest, "{\"event\": \"LAST\"}\n", 18, 0), ==, 18);
    close(f->guest);
    f->guest = -1;
    qmp_drain(f->q);
    check_log(f, "LAST() ");
}

int main(int argc, char **argv)
{
#define ADD(name, function)                                                                        \
    g_test_add("/qmp-client/" name, struct fixture, NULL, set_up, function, tear_down)
    g_test_init(&argc, &argv, NULL);
    ADD("commands", test_commands);
    ADD("hang-up", test_hang_up);
    g_test_add_func("/qmp-client/nonsense", test_nonsense);
    ADD("no-greeting", test_no_greeting);
    ADD("timeout", test_timeout);
    ADD("free", test_free);
    ADD("free-in-reply", test_free_in_reply);
    ADD("drain", test_drain);
    return g_test_run();
}
