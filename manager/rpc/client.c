/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client: its calls, from a frame to the reply. */
#include "manager/rpc/client.h"

#include "manager/rpc/procedures.h"
#include "manager/rpc/stream.h"

#include <string.h>

#define ERROR_FROM_RPC  7  /* virErrorDomain */
#define ERROR_FROM_QEMU 10 /* clients know our errors as the driver's whose role we have */
#define ERROR_LEVEL     2

#define EVENT_LIFECYCLE           0 /* virDomainEventID: the one that we have */
#define EVENT_LAST                27
#define PROCEDURE_LIFECYCLE_EVENT 318

void client_send(struct client *c, const struct frame *f)
{
    if (c->connection)
        connection_send(c->connection, f);
}

/* Sends W's bytes as the payload of a frame. */
static void send_payload(struct client *c, struct frame f, const struct xdr_writer *w)
{
    f.version = FRAME_VERSION;
    f.payload = w->bytes->data;
    f.size = w->bytes->len;
    client_send(c, &f);
}

void client_send_error(struct client *c, enum frame_type type, uint32_t program, uint32_t procedure,
                       uint32_t serial, const GError *error)
{
    bool ours = error->domain == MANAGER_ERROR;
    int code = ours ? error->code : MANAGER_ERROR_INTERNAL;
    g_autofree char *message = g_utf8_make_valid(error->message, -1);
    struct xdr_writer w;

    xdr_writer_init(&w);
    xdr_put_i32(&w, code);
    xdr_put_i32(&w, code == MANAGER_ERROR_RPC ? ERROR_FROM_RPC : ERROR_FROM_QEMU);
    xdr_put_optional_string(&w, message);
    xdr_put_i32(&w, ERROR_LEVEL);
    xdr_put_u32(&w, 0); /* no domain */
    xdr_put_optional_string(&w, "%s");
    xdr_put_optional_string(&w, message);
    xdr_put_optional_string(&w, NULL);
    xdr_put_i32(&w, -1);
    xdr_put_i32(&w, -1);
    xdr_put_u32(&w, 0); /* no network */
    send_payload(c,
                 (struct frame){.program = program,
                                .procedure = procedure,
                                .type = type,
                                .serial = serial,
                                .status = FRAME_ERROR},
                 &w);
    xdr_writer_clear(&w);
}

static void send_fault(struct client *c, const struct frame *f, enum manager_error code,
                       const char *format, ...) G_GNUC_PRINTF(4, 5);
static void send_fault(struct client *c, const struct frame *f, enum manager_error code,
                       const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_autoptr(GError) error = manager_error_new(code, "%s", text);
    client_send_error(c, FRAME_REPLY, f->program, f->procedure, f->serial, error);
}

static void call_free(struct call *call)
{
    struct client *c = call->client;

    xdr_values_clear(&call->arguments);
    xdr_writer_clear(&call->reply);
    if (call->domain)
        domain_unref(call->domain);
    g_free(call);
    if (c->calls-- == CLIENT_CALLS_MAX && c->connection)
        connection_hold(c->connection, false);
    client_unref(c);
}

void call_done(struct call *call)
{
    if (call->reply.failed) {
        g_autoptr(GError) error = manager_error_new(
            MANAGER_ERROR_RPC, "the reply to %s is longer than a message may be", call->row->name);
        call_fail(call, error);
        return;
    }
    send_payload(call->client,
                 (struct frame){.program = call->program,
                                .procedure = call->procedure,
                                .type = FRAME_REPLY,
                                .serial = call->serial},
                 &call->reply);
    call_free(call);
}

void call_fail(struct call *call, const GError *error)
{
    client_send_error(call->client, FRAME_REPLY, call->program, call->procedure, call->serial,
                      error);
    call_free(call);
}

char *uuid_text(const uint8_t u[DOMAIN_UUID_SIZE])
{
    return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                           u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11],
                           u[12], u[13], u[14], u[15]);
}

/* Looks up the domain that the call is about. */
static bool find_domain(struct call *call, GError **error)
{
    const struct xdr_domain *d = call->arguments.v[0].d;

    call->domain = domains_by_uuid(call->client->context->domains, d->uuid, NULL);
    if (call->domain)
        return true;
    g_autofree char *uuid = uuid_text(d->uuid);
    manager_error_set(error, MANAGER_ERROR_NO_DOMAIN, "no domain with matching uuid '%s' (%s)",
                      uuid, d->name);
    return false;
}

static void run_call(struct call *call)
{
    const struct procedure *row = call->row;
    g_autoptr(GError) error = NULL;

    if (row->arguments[0] == 'd' && !find_domain(call, &error))
        call_fail(call, error);
    else if (row->later)
        row->later(call);
    else if (row->now(call, &error))
        call_done(call);
    else
        call_fail(call, error);
}

static void begin_call(struct client *c, const struct procedure *row, const struct frame *f)
{
    struct call *call = g_new0(struct call, 1);
    struct xdr_reader r;

    *call = (struct call){.client = client_ref(c),
                          .row = row,
                          .program = f->program,
                          .procedure = f->procedure,
                          .serial = f->serial};
    xdr_writer_init(&call->reply);
    if (++c->calls == CLIENT_CALLS_MAX)
        connection_hold(c->connection, true);
    xdr_reader_init(&r, f->payload, f->size);
    if (xdr_decode(&r, row->arguments, &call->arguments)) {
        run_call(call);
        return;
    }
    g_autoptr(GError) error =
        manager_error_new(MANAGER_ERROR_RPC, "Unable to decode message payload of %s", row->name);
    call_fail(call, error);
}

static void take_call(struct client *c, const struct frame *f)
{
    const struct procedure *row = procedure_find(f->program, f->procedure);

    if (f->status != FRAME_OK)
        send_fault(c, f, MANAGER_ERROR_RPC, "unexpected status %u of a call", f->status);
    else if (!c->opened && !(row && row->flags & PROCEDURE_EARLY))
        send_fault(c, f, MANAGER_ERROR_INTERNAL, "connection not open");
    else if (!row)
        send_fault(c, f, MANAGER_ERROR_NO_SUPPORT, "procedure %u", f->procedure);
    else if (row->flags & PROCEDURE_CHANGES && c->read_only)
        send_fault(c, f, MANAGER_ERROR_OPERATION_DENIED, "read only access prevents %s", row->name);
    else if (!row->now && !row->later)
        send_fault(c, f, MANAGER_ERROR_NO_SUPPORT, "%s", row->name);
    else
        begin_call(c, row, f);
}

static void on_frame(void *data, const struct frame *f)
{
    struct client *c = data;

    if (f->program != PROGRAM_REMOTE && f->program != PROGRAM_QEMU)
        send_fault(c, f, MANAGER_ERROR_RPC, "Cannot find program %u version %u", f->program,
                   f->version);
    else if (f->version != FRAME_VERSION)
        send_fault(c, f, MANAGER_ERROR_RPC, "Cannot find program %u version %u", f->program,
                   f->version);
    else if (f->type == FRAME_CALL)
        take_call(c, f);
    else if (f->type == FRAME_CALL_FDS)
        send_fault(c, f, MANAGER_ERROR_NO_SUPPORT, "procedure %u with file descriptors",
                   f->procedure);
    else if (f->type == FRAME_STREAM && stream_frame(c, f))
        return;
    else if (f->type == FRAME_STREAM || f->type == FRAME_STREAM_HOLE)
        /* The stream may have ended while this was under way: no fault of the client. */
        return;
    else
        connection_end(c->connection, "the client sent what only servers send", false);
}

static void on_drained(void *data)
{
    struct client *c = data;

    for (unsigned i = 0; i < c->streams->len; i++)
        stream_drained(g_ptr_array_index(c->streams, i));
}

static void on_ended(void *data, const char *why)
{
    struct client *c = data;

    client_disconnect(c);
    if (c->ended)
        c->ended(c, why, c->data);
}

struct client *client_new(const struct rpc_context *context, int fd, bool read_only,
                          void (*on_opened)(struct client *c, void *data),
                          void (*ended)(struct client *c, const char *why, void *data), void *data)
{
    static const struct connection_ops ops = {
        .frame = on_frame, .drained = on_drained, .ended = on_ended};
    struct client *c = g_new0(struct client, 1);

    *c = (struct client){.references = 1,
                         .context = context,
                         .read_only = read_only,
                         .on_opened = on_opened,
                         .ended = ended,
                         .data = data};
    c->callbacks = g_array_new(FALSE, TRUE, sizeof(struct client_callback));
    c->streams = g_ptr_array_new_with_free_func((GDestroyNotify)stream_free);
    c->connection = connection_new(fd, &ops, c);
    return c;
}

struct client *client_ref(struct client *c)
{
    c->references++;
    return c;
}

void client_unref(struct client *c)
{
    if (--c->references)
        return;
    client_disconnect(c);
    g_array_unref(c->callbacks);
    g_ptr_array_unref(c->streams);
    g_free(c);
}

static void forget_callbacks(struct client *c)
{
    g_array_set_size(c->callbacks, 0);
    if (c->subscription)
        domains_unsubscribe(c->context->domains, c->subscription);
    c->subscription = 0;
}

void client_disconnect(struct client *c)
{
    g_ptr_array_set_size(c->streams, 0);
    forget_callbacks(c);
    g_clear_pointer(&c->connection, connection_free);
}

static void send_event(struct client *c, int callback, struct domain *d, int event, int detail)
{
    struct xdr_writer w;

    xdr_writer_init(&w);
    xdr_put_i32(&w, callback);
    xdr_put_domain(&w, domain_name(d), domain_uuid(d), domain_id(d));
    xdr_put_i32(&w, event);
    xdr_put_i32(&w, detail);
    send_payload(c,
                 (struct frame){.program = PROGRAM_REMOTE,
                                .procedure = PROCEDURE_LIFECYCLE_EVENT,
                                .type = FRAME_MESSAGE},
                 &w);
    xdr_writer_clear(&w);
}

static void on_event(struct domain *d, int event, int detail, void *data)
{
    struct client *c = data;

    for (unsigned i = 0; i < c->callbacks->len; i++) {
        const struct client_callback *b = &g_array_index(c->callbacks, struct client_callback, i);

        if (b->event == EVENT_LIFECYCLE &&
            (!b->one || !memcmp(b->uuid, domain_uuid(d), DOMAIN_UUID_SIZE)))
            send_event(c, b->id, d, event, detail);
    }
}

int client_add_callback(struct client *c, int event, const struct domain *d, GError **error)
{
    struct client_callback b = {.id = (int)c->next_callback, .event = event, .one = d != NULL};

    if (event < 0 || event >= EVENT_LAST) {
        manager_error_set(error, MANAGER_ERROR_INTERNAL, "unsupported event ID %d", event);
        return -1;
    }
    if (c->callbacks->len == CLIENT_CALLBACKS_MAX) {
        manager_error_set(error, MANAGER_ERROR_OPERATION_FAILED,
                          "a client may register %d events, and this one has them all",
                          CLIENT_CALLBACKS_MAX);
        return -1;
    }
    if (d)
        memcpy(b.uuid, domain_uuid(d), DOMAIN_UUID_SIZE);
    c->next_callback = (c->next_callback + 1) & G_MAXINT;
    g_array_append_val(c->callbacks, b);
    if (!c->subscription)
        c->subscription = domains_subscribe(c->context->domains, on_event, c);
    return b.id;
}

bool client_remove_callback(struct client *c, int id, GError **error)
{
    for (unsigned i = 0; i < c->callbacks->len; i++)
        if (g_array_index(c->callbacks, struct client_callback, i).id == id) {
            g_array_remove_index(c->callbacks, i);
            if (!c->callbacks->len)
                forget_callbacks(c);
            return true;
        }
    manager_error_set(error, MANAGER_ERROR_INTERNAL, "domain event callback %d not registered", id);
    return false;
}
