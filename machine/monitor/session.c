/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of the monitor: its input cut into requests. */
#include "private.h"

#include <string.h>

void session_send(struct session *s, const json_t *value)
{
    g_autofree char *text = NULL;
    char *line = json_dumps(value, JSON_COMPACT);

    if (!line)
        return;
    text = g_strconcat(line, "\n", NULL);
    free(line);
    stream_write(s->stream, text, strlen(text));
}

static void obey(struct session *s)
{
    json_error_t why;
    json_t *request = json_loadb((const char *)s->reader.text->data, s->reader.text->len,
                                 JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);

    if (request) {
        command_dispatch(s, request);
    } else {
        g_autofree char *text = g_strdup_printf("this is no JSON: %s", why.text);
        command_send_error(s, text);
    }
    json_decref(request);
}

static size_t on_input(void *opaque, const uint8_t *data, size_t length)
{
    struct session *s = opaque;
    size_t used = 0;

    switch (reader_put(&s->reader, data, length, &used)) {
    case READER_MORE:
        break;
    case READER_VALUE:
        obey(s);
        break;
    case READER_TOO_DEEP:
        command_send_error(s, "this JSON is nested too deeply: at most 64 levels");
        stream_flush(s->stream);
        stream_end(s->stream);
        break;
    case READER_TOO_LARGE:
        command_send_error(s, "this request is too large: at most 1 MiB");
        stream_flush(s->stream);
        stream_end(s->stream);
        break;
    }
    return used;
}

static void on_end(void *opaque)
{
    session_free(opaque);
}

static void greet(struct session *s)
{
    json_t *version = query_version(s->monitor, NULL, NULL);
    json_t *greeting = json_pack("{s:{s:o, s:[]}}", "QMP", "version", version, "capabilities");

    session_send(s, greeting);
    json_decref(greeting);
}

struct session *session_new(struct monitor *mon, int fd)
{
    static const struct stream_client client = {on_input, on_end};
    struct session *s = g_new0(struct session, 1);

    s->monitor = mon;
    reader_init(&s->reader);
    list_append(&mon->sessions, &s->link);
    mon->session_count++;
    monitor_update_listeners(mon);
    s->stream = stream_new(mon->machine->context, fd, &client, s);
    greet(s);
    return s;
}

void session_free(struct session *s)
{
    list_remove(&s->link);
    s->monitor->session_count--;
    monitor_update_listeners(s->monitor);
    stream_free(s->stream);
    reader_clear(&s->reader);
    g_free(s);
}
