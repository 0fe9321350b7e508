/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames of libvirt's protocol: a length that counts itself, six 32-bit numbers, a payload; all big
 * endian.  Writing one, and taking them out of a byte stream.  Server and clients share it.
 */
#ifndef TRAPEZE_MANAGER_FRAME_H
#define TRAPEZE_MANAGER_FRAME_H

#include "manager/rpc/xdr.h"

#define FRAME_HEADER_SIZE 28
#define FRAME_MAX         (FRAME_HEADER_SIZE + XDR_MESSAGE_MAX)
#define FRAME_VERSION     1
#define FRAME_FDS_MAX     32

#define PROGRAM_REMOTE    0x20008086u
#define PROGRAM_QEMU      0x20008087u
#define PROGRAM_KEEPALIVE 0x6b656570u

enum keepalive { KEEPALIVE_PING = 1, KEEPALIVE_PONG = 2 };

enum frame_type {
    FRAME_CALL,
    FRAME_REPLY,
    FRAME_MESSAGE, /* an event */
    FRAME_STREAM,
    FRAME_CALL_FDS, /* with file descriptors */
    FRAME_REPLY_FDS,
    FRAME_STREAM_HOLE,
};

enum frame_status { FRAME_OK, FRAME_ERROR, FRAME_CONTINUE };

struct frame {
    uint32_t program, version, procedure, type, serial, status;
    const uint8_t *payload;
    size_t size; /* of the payload */
};

/* Appends F (whose payload is PAYLOAD, SIZE bytes at most XDR_MESSAGE_MAX) to BYTES. */
void frame_append(GByteArray *bytes, const struct frame *f);

/* Bytes as they come from a socket. */
struct frame_stream {
    uint8_t *data;
    size_t capacity, at, end; /* data[at .. end) has come and is not taken yet */
    unsigned skip;            /* bytes to drop that came with file descriptors */
    bool failed;              /* what came is no frame: nothing more is taken */
};

void frame_stream_init(struct frame_stream *s);
void frame_stream_clear(struct frame_stream *s);
/* Room for at least some bytes: read(2) into it, then tell how many came.  A frame's announced
 * length is not believed before its bytes come: memory grows by doubling.  Invalidates the payload
 * that frame_stream_next gave. */
uint8_t *frame_stream_room(struct frame_stream *s, size_t *size);
void frame_stream_came(struct frame_stream *s, size_t size);
/* Takes the next whole frame; its payload is valid until the next call of frame_stream_room.  False
 * when none is there yet, or with s->failed when none will be.  Bytes that carry descriptors after
 * a frame with FDs are skipped: read(2) lets go of descriptors that nobody asked for. */
bool frame_stream_next(struct frame_stream *s, struct frame *f);

#endif
