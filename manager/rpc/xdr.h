/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XDR (RFC 4506) as libvirt's protocol uses it: a bounded reader and writer, and decoding and
 * encoding of whole argument lists by a signature.  Server and clients share it.
 *
 * A reader or writer that fails once stays failed: reads then give zeroes and NULL, writes nothing,
 * so that a caller checks once, at the end.  Nothing is allocated for bytes that are not there.
 */
#ifndef TRAPEZE_MANAGER_XDR_H
#define TRAPEZE_MANAGER_XDR_H

#include <glib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define XDR_STRING_MAX  (4u << 20)  /* bytes of a string */
#define XDR_MESSAGE_MAX (32u << 20) /* bytes of a payload */
#define XDR_UUID_SIZE   16

struct xdr_reader {
    const uint8_t *data;
    size_t size, at;
    bool failed;
};

void xdr_reader_init(struct xdr_reader *r, const void *data, size_t size);
uint32_t xdr_get_u32(struct xdr_reader *r);
int32_t xdr_get_i32(struct xdr_reader *r);
uint64_t xdr_get_u64(struct xdr_reader *r);
int64_t xdr_get_i64(struct xdr_reader *r);
double xdr_get_double(struct xdr_reader *r);
/* SIZE bytes and their padding, or NULL; they point into the data. */
const uint8_t *xdr_get_fixed(struct xdr_reader *r, size_t size);
/* A counted opaque of at most MAXIMUM bytes; *SIZE is its size.  Points into the data. */
const uint8_t *xdr_get_opaque(struct xdr_reader *r, size_t maximum, size_t *size);
/* A string of valid UTF-8 without NUL inside, or NULL; g_free. */
char *xdr_get_string(struct xdr_reader *r);
/* The same behind a flag; absent is NULL without failing. */
char *xdr_get_optional_string(struct xdr_reader *r);
/* An array's count: fails above MAXIMUM, or when elements of ELEMENT bytes each (what the smallest
 * takes on the wire) cannot be in what is left. */
unsigned xdr_get_count(struct xdr_reader *r, unsigned maximum, size_t element);
/* True when nothing failed and nothing is left over. */
bool xdr_reader_end(const struct xdr_reader *r);

struct xdr_writer {
    GByteArray *bytes;
    bool failed; /* longer than XDR_MESSAGE_MAX */
};

void xdr_writer_init(struct xdr_writer *w);
void xdr_writer_clear(struct xdr_writer *w);
void xdr_put_u32(struct xdr_writer *w, uint32_t value);
void xdr_put_i32(struct xdr_writer *w, int32_t value);
void xdr_put_u64(struct xdr_writer *w, uint64_t value);
void xdr_put_i64(struct xdr_writer *w, int64_t value);
void xdr_put_double(struct xdr_writer *w, double value);
void xdr_put_fixed(struct xdr_writer *w, const void *data, size_t size);
void xdr_put_opaque(struct xdr_writer *w, const void *data, size_t size);
void xdr_put_string(struct xdr_writer *w, const char *text);
/* NULL is absent. */
void xdr_put_optional_string(struct xdr_writer *w, const char *text);

/* A domain as the wire names it. */
struct xdr_domain {
    char *name;
    uint8_t uuid[XDR_UUID_SIZE];
    int32_t id; /* -1 when inactive */
};
void xdr_get_domain(struct xdr_reader *r, struct xdr_domain *d);
void xdr_put_domain(struct xdr_writer *w, const char *name, const uint8_t uuid[XDR_UUID_SIZE],
                    int id);
void xdr_domain_clear(struct xdr_domain *d);

/* Typed parameters (virTypedParameter); the types are libvirt's numbers. */
enum xdr_parameter_type {
    XDR_PARAMETER_INT = 1,
    XDR_PARAMETER_UINT,
    XDR_PARAMETER_LLONG,
    XDR_PARAMETER_ULLONG,
    XDR_PARAMETER_DOUBLE,
    XDR_PARAMETER_BOOLEAN,
    XDR_PARAMETER_STRING,
};
struct xdr_parameter {
    char *name;
    enum xdr_parameter_type type;
    union {
        int32_t i;
        uint32_t u;
        int64_t l;
        uint64_t ul;
        double d;
        bool b;
        char *s;
    };
};
/* An array of struct xdr_parameter, which frees what they hold; at most MAXIMUM of them. */
GArray *xdr_get_parameters(struct xdr_reader *r, unsigned maximum);
/* One parameter; the count before them is the caller's. */
void xdr_put_parameter(struct xdr_writer *w, const struct xdr_parameter *p);

/*
 * Argument lists by signature, a letter an argument:
 *   u i U L  unsigned and signed, 32 and 64 bits      b  a boolean
 *   s S      a string; an optional one                o  a counted opaque
 *   d D      a domain; an optional one                x  an array of domains
 *   h        a UUID (16 bytes)                        p  typed parameters
 *   t        an array of strings
 * Booleans are 32 bits on the wire; decoding takes any number but 0 for true.
 */
#define XDR_VALUES_MAX 8
struct xdr_value {
    char letter; /* the signature's */
    union {
        uint32_t u;
        int32_t i;
        uint64_t ul;
        int64_t l;
        bool b;
        char *s;
        struct xdr_domain *d; /* NULL when absent */
        GPtrArray *domains;   /* struct xdr_domain * */
        uint8_t uuid[XDR_UUID_SIZE];
        GArray *parameters;
        GByteArray *opaque;
        char **strings;
    };
};
struct xdr_values {
    unsigned count;
    struct xdr_value v[XDR_VALUES_MAX];
};
/* Decodes exactly what SIGNATURE says; false (and nothing to clear) when the data are too short,
 * too long or beyond a limit. */
bool xdr_decode(struct xdr_reader *r, const char *signature, struct xdr_values *values);
void xdr_values_clear(struct xdr_values *values);
/* The other way: u and i take an int-sized argument, U and L 64 bits, s and S const char *, d and D
 * const struct xdr_domain *, b int, h const uint8_t *; the other letters are not for this. */
void xdr_encode(struct xdr_writer *w, const char *signature, ...);
void xdr_encode_valist(struct xdr_writer *w, const char *signature, va_list arguments);

#endif
