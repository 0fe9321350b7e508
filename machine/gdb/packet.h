/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets of GDB's remote protocol (its manual, appendix E, "Overview"): $BODY#CHECKSUM. */
#ifndef TRAPEZE_GDB_PACKET_H
#define TRAPEZE_GDB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define PACKET_MAX 0x4000 /* bytes of a body, as PacketSize tells */

struct packet_reader {
    GByteArray *body; /* of the packet being read, escapes undone; a 0 follows it */
    enum { PACKET_OUTSIDE, PACKET_BODY, PACKET_ESCAPED, PACKET_SUM, PACKET_SUM_LOW } state;
    uint8_t sum;   /* of what came */
    uint8_t given; /* that the packet names */
    bool broken;   /* too long, or its checksum is no number */
};

enum packet_event {
    PACKET_NONE,
    PACKET_GOOD, /* reader->body is a packet's */
    PACKET_BAD,  /* one came that was damaged or too long */
    PACKET_ACK,
    PACKET_NAK, /* the last one that was sent is to be sent again */
    PACKET_INTERRUPT,
};

void packet_reader_init(struct packet_reader *r);
void packet_reader_clear(struct packet_reader *r);
enum packet_event packet_put(struct packet_reader *r, uint8_t byte);

/* The packet whose body is LENGTH bytes of BODY. */
GByteArray *packet_make(const void *body, size_t length);

/* ---- numbers ---- */

/* The value of a hexadecimal digit, or -1. */
int packet_digit(char c);
/* Takes a number off the front of *TEXT, without prefix, at most 16 digits; false when there is
 * none. */
bool packet_number(const char **text, uint64_t *value);
/* Takes the character C off the front of *TEXT; false when it is another. */
bool packet_skip(const char **text, char c);
/* Appends LENGTH bytes in hexadecimal. */
void packet_append_hex(GString *to, const void *data, size_t length);
/* Decodes LENGTH bytes from 2 * LENGTH digits; false when some are none. */
bool packet_from_hex(const char *text, void *to, size_t length);

#endif
