/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XDR: a bounded reader and writer. */
#include "manager/rpc/xdr.h"

#include <string.h>

#define ARRAY_MAX      16384 /* domains or strings in a call */
#define PARAMETERS_MAX 1024
/* What the smallest element takes on the wire. */
#define DOMAIN_BYTES    (4 + XDR_UUID_SIZE + 4)
#define PARAMETER_BYTES (4 + 4 + 4)
#define STRING_BYTES    4

void xdr_reader_init(struct xdr_reader *r, const void *data, size_t size)
{
    *r = (struct xdr_reader){.data = data, .size = size};
}

bool xdr_reader_end(const struct xdr_reader *r)
{
    return !r->failed && r->at == r->size;
}

static size_t padded(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

const uint8_t *xdr_get_fixed(struct xdr_reader *r, size_t size)
{
    if (r->failed || size > r->size - r->at || padded(size) > r->size - r->at) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *data = r->data + r->at;
    r->at += padded(size);
    return data;
}

uint32_t xdr_get_u32(struct xdr_reader *r)
{
    const uint8_t *data = xdr_get_fixed(r, 4);
    uint32_t value = 0;

    if (data)
        memcpy(&value, data, 4);
    return GUINT32_FROM_BE(value);
}

int32_t xdr_get_i32(struct xdr_reader *r)
{
    return (int32_t)xdr_get_u32(r);
}

uint64_t xdr_get_u64(struct xdr_reader *r)
{
    uint64_t high = xdr_get_u32(r);

    return high << 32 | xdr_get_u32(r);
}

int64_t xdr_get_i64(struct xdr_reader *r)
{
    return (int64_t)xdr_get_u64(r);
}

double xdr_get_double(struct xdr_reader *r)
{
    uint64_t bits = xdr_get_u64(r);
    double value;

    memcpy(&value, &bits, 8);
    return value;
}

const uint8_t *xdr_get_opaque(struct xdr_reader *r, size_t maximum, size_t *size)
{
    *size = xdr_get_u32(r);
    if (*size > maximum)
        r->failed = true;
    const uint8_t *data = xdr_get_fixed(r, *size);
    if (!data)
        *size = 0;
    return data;
}

char *xdr_get_string(struct xdr_reader *r)
{
    size_t size;
    const uint8_t *data = xdr_get_opaque(r, XDR_STRING_MAX, &size);

    if (data && !g_utf8_validate_len((const char *)data, size, NULL)) {
        r->failed = true;
        return NULL;
    }
    return data ? g_strndup((const char *)data, size) : NULL;
}

char *xdr_get_optional_string(struct xdr_reader *r)
{
    return xdr_get_u32(r) ? xdr_get_string(r) : NULL;
}

unsigned xdr_get_count(struct xdr_reader *r, unsigned maximum, size_t element)
{
    uint32_t count = xdr_get_u32(r);

    if (count > maximum || count > (r->size - r->at) / element)
        r->failed = true;
    return r->failed ? 0 : count;
}

void xdr_writer_init(struct xdr_writer *w)
{
    *w = (struct xdr_writer){.bytes = g_byte_array_new()};
}

void xdr_writer_clear(struct xdr_writer *w)
{
    g_clear_pointer(&w->bytes, g_byte_array_unref);
}

void xdr_put_fixed(struct xdr_writer *w, const void *data, size_t size)
{
    static const uint8_t zeroes[3];

    if (w->failed || size > XDR_MESSAGE_MAX || padded(size) > XDR_MESSAGE_MAX - w->bytes->len) {
        w->failed = true;
        return;
    }
    g_byte_array_append(w->bytes, data, (guint)size);
    g_byte_array_append(w->bytes, zeroes, (guint)(padded(size) - size));
}

void xdr_put_u32(struct xdr_writer *w, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    xdr_put_fixed(w, &value, sizeof(value));
}

void xdr_put_i32(struct xdr_writer *w, int32_t value)
{
    xdr_put_u32(w, (uint32_t)value);
}

void xdr_put_u64(struct xdr_writer *w, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    xdr_put_fixed(w, &value, sizeof(value));
}

void xdr_put_i64(struct xdr_writer *w, int64_t value)
{
    xdr_put_u64(w, (uint64_t)value);
}

void xdr_put_double(struct xdr_writer *w, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, 8);
    xdr_put_u64(w, bits);
}

void xdr_put_opaque(struct xdr_writer *w, const void *data, size_t size)
{
    if (size > XDR_MESSAGE_MAX)
        w->failed = true;
    xdr_put_u32(w, (uint32_t)size);
    xdr_put_fixed(w, data, size);
}

void xdr_put_string(struct xdr_writer *w, const char *text)
{
    size_t size = strlen(text);

    if (size > XDR_STRING_MAX)
        w->failed = true;
    xdr_put_opaque(w, text, size);
}

void xdr_put_optional_string(struct xdr_writer *w, const char *text)
{
    xdr_put_u32(w, text != NULL);
    if (text)
        xdr_put_string(w, text);
}

void xdr_get_domain(struct xdr_reader *r, struct xdr_domain *d)
{
    *d = (struct xdr_domain){.name = xdr_get_string(r)};
    const uint8_t *uuid = xdr_get_fixed(r, XDR_UUID_SIZE);
    if (uuid)
        memcpy(d->uuid, uuid, XDR_UUID_SIZE);
    d->id = xdr_get_i32(r);
}

void xdr_put_domain(struct xdr_writer *w, const char *name, const uint8_t uuid[XDR_UUID_SIZE],
                    int id)
{
    xdr_put_string(w, name);
    xdr_put_fixed(w, uuid, XDR_UUID_SIZE);
    xdr_put_i32(w, id);
}

void xdr_domain_clear(struct xdr_domain *d)
{
    g_clear_pointer(&d->name, g_free);
}

static void domain_free(void *data)
{
    struct xdr_domain *d = data;

    if (d)
        xdr_domain_clear(d);
    g_free(d);
}

static struct xdr_domain *domain_new(struct xdr_reader *r)
{
    struct xdr_domain *d = g_new0(struct xdr_domain, 1);

    xdr_get_domain(r, d);
    return d;
}

static GPtrArray *get_domains(struct xdr_reader *r)
{
    unsigned count = xdr_get_count(r, ARRAY_MAX, DOMAIN_BYTES);
    GPtrArray *domains = g_ptr_array_new_with_free_func(domain_free);

    for (unsigned i = 0; i < count && !r->failed; i++)
        g_ptr_array_add(domains, domain_new(r));
    return domains;
}

static void parameter_clear(void *data)
{
    struct xdr_parameter *p = data;

    g_free(p->name);
    if (p->type == XDR_PARAMETER_STRING)
        g_free(p->s);
}

static void get_parameter(struct xdr_reader *r, struct xdr_parameter *p)
{
    p->name = xdr_get_string(r);
    p->type = xdr_get_u32(r);
    switch (p->type) {
    case XDR_PARAMETER_INT:
        p->i = xdr_get_i32(r);
        break;
    case XDR_PARAMETER_UINT:
        p->u = xdr_get_u32(r);
        break;
    case XDR_PARAMETER_LLONG:
        p->l = xdr_get_i64(r);
        break;
    case XDR_PARAMETER_ULLONG:
        p->ul = xdr_get_u64(r);
        break;
    case XDR_PARAMETER_DOUBLE:
        p->d = xdr_get_double(r);
        break;
    case XDR_PARAMETER_BOOLEAN:
        p->b = xdr_get_u32(r) != 0;
        break;
    case XDR_PARAMETER_STRING:
        p->s = xdr_get_string(r);
        break;
    default:
        r->failed = true;
    }
}

GArray *xdr_get_parameters(struct xdr_reader *r, unsigned maximum)
{
    unsigned count = xdr_get_count(r, maximum, PARAMETER_BYTES);
    GArray *all = g_array_new(FALSE, TRUE, sizeof(struct xdr_parameter));

    g_array_set_clear_func(all, parameter_clear);
    for (unsigned i = 0; i < count && !r->failed; i++) {
        struct xdr_parameter p = {};
        get_parameter(r, &p);
        g_array_append_val(all, p);
    }
    return all;
}

void xdr_put_parameter(struct xdr_writer *w, const struct xdr_parameter *p)
{
    xdr_put_string(w, p->name);
    xdr_put_u32(w, p->type);
    switch (p->type) {
    case XDR_PARAMETER_INT:
        xdr_put_i32(w, p->i);
        break;
    case XDR_PARAMETER_UINT:
        xdr_put_u32(w, p->u);
        break;
    case XDR_PARAMETER_LLONG:
        xdr_put_i64(w, p->l);
        break;
    case XDR_PARAMETER_ULLONG:
        xdr_put_u64(w, p->ul);
        break;
    case XDR_PARAMETER_DOUBLE:
        xdr_put_double(w, p->d);
        break;
    case XDR_PARAMETER_BOOLEAN:
        xdr_put_u32(w, p->b);
        break;
    case XDR_PARAMETER_STRING:
        xdr_put_string(w, p->s);
        break;
    }
}

static char **get_strings(struct xdr_reader *r)
{
    unsigned count = xdr_get_count(r, ARRAY_MAX, STRING_BYTES);
    char **strings = g_new0(char *, count + 1);

    for (unsigned i = 0; i < count && !r->failed; i++)
        strings[i] = xdr_get_string(r);
    return strings;
}

static GByteArray *get_bytes(struct xdr_reader *r)
{
    size_t size;
    const uint8_t *data = xdr_get_opaque(r, XDR_MESSAGE_MAX, &size);
    GByteArray *bytes = g_byte_array_new();

    if (data)
        g_byte_array_append(bytes, data, (guint)size);
    return bytes;
}

static void decode_value(struct xdr_reader *r, struct xdr_value *v)
{
    const uint8_t *data;

    switch (v->letter) {
    case 'u':
        v->u = xdr_get_u32(r);
        break;
    case 'i':
        v->i = xdr_get_i32(r);
        break;
    case 'U':
        v->ul = xdr_get_u64(r);
        break;
    case 'L':
        v->l = xdr_get_i64(r);
        break;
    case 'b':
        v->b = xdr_get_u32(r) != 0;
        break;
    case 's':
        v->s = xdr_get_string(r);
        break;
    case 'S':
        v->s = xdr_get_optional_string(r);
        break;
    case 'd':
        v->d = domain_new(r);
        break;
    case 'D':
        v->d = xdr_get_u32(r) ? domain_new(r) : NULL;
        break;
    case 'x':
        v->domains = get_domains(r);
        break;
    case 'h':
        data = xdr_get_fixed(r, XDR_UUID_SIZE);
        if (data)
            memcpy(v->uuid, data, XDR_UUID_SIZE);
        break;
    case 'p':
        v->parameters = xdr_get_parameters(r, PARAMETERS_MAX);
        break;
    case 'o':
        v->opaque = get_bytes(r);
        break;
    case 't':
        v->strings = get_strings(r);
        break;
    }
}

void xdr_values_clear(struct xdr_values *values)
{
    for (unsigned i = 0; i < values->count; i++) {
        struct xdr_value *v = &values->v[i];

        switch (v->letter) {
        case 's':
        case 'S':
            g_free(v->s);
            break;
        case 'd':
        case 'D':
            domain_free(v->d);
            break;
        case 'x':
            g_ptr_array_unref(v->domains);
            break;
        case 'p':
            g_array_unref(v->parameters);
            break;
        case 'o':
            g_byte_array_unref(v->opaque);
            break;
        case 't':
            g_strfreev(v->strings);
            break;
        }
    }
    values->count = 0;
}

bool xdr_decode(struct xdr_reader *r, const char *signature, struct xdr_values *values)
{
    *values = (struct xdr_values){};
    for (const char *at = signature; *at && !r->failed; at++) {
        struct xdr_value *v = &values->v[values->count++];

        v->letter = *at;
        decode_value(r, v);
    }
    if (xdr_reader_end(r))
        return true;
    xdr_values_clear(values);
    return false;
}

void xdr_encode_valist(struct xdr_writer *w, const char *signature, va_list arguments)
{
    const struct xdr_domain *d;

    for (const char *at = signature; *at; at++) {
        switch (*at) {
        case 'u':
        case 'i':
            xdr_put_u32(w, va_arg(arguments, uint32_t));
            break;
        case 'U':
        case 'L':
            xdr_put_u64(w, va_arg(arguments, uint64_t));
            break;
        case 'b':
            xdr_put_u32(w, va_arg(arguments, int) != 0);
            break;
        case 's':
            xdr_put_string(w, va_arg(arguments, const char *));
            break;
        case 'S':
            xdr_put_optional_string(w, va_arg(arguments, const char *));
            break;
        case 'd':
        case 'D':
            d = va_arg(arguments, const struct xdr_domain *);
            if (*at == 'D')
                xdr_put_u32(w, d != NULL);
            if (d)
                xdr_put_domain(w, d->name, d->uuid, d->id);
            break;
        case 'h':
            xdr_put_fixed(w, va_arg(arguments, const uint8_t *), XDR_UUID_SIZE);
            break;
        }
    }
}

void xdr_encode(struct xdr_writer *w, const char *signature, ...)
{
    va_list arguments;

    va_start(arguments, signature);
    xdr_encode_valist(w, signature, arguments);
    va_end(arguments);
}
