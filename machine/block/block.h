/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk images for block devices: raw files and host block devices, read and written asynchronously.
 *
 * One thread at a time uses an image: it submits requests, has them started, waits until the event
 * descriptor is readable and reaps, which calls each finished request's callback on that thread.
 */
#ifndef TRAPEZE_BLOCK_H
#define TRAPEZE_BLOCK_H

#include "common/base/base.h"

#include <glib.h>
#include <sys/uio.h>

struct block_image;

/* What carries out the requests.  AUTO takes io_uring where the kernel permits it, else threads. */
enum block_engine { BLOCK_ENGINE_AUTO, BLOCK_ENGINE_URING, BLOCK_ENGINE_THREADS };

enum block_operation {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,        /* everything completed before it is on stable storage afterwards */
    BLOCK_DISCARD,      /* the range's contents no longer matter; a hint */
    BLOCK_WRITE_ZEROES, /* the range reads as zeroes afterwards */
};

struct block_request {
    /* Set by the submitter, and left alone until the request is done. */
    enum block_operation operation;
    bool durable;      /* a write: on stable storage when done */
    bool unmap;        /* write zeroes: the range may lose its allocation */
    uint64_t offset;   /* bytes */
    uint64_t length;   /* bytes; for reads and writes the sum of IOV */
    struct iovec *iov; /* for reads and writes; its entries are used up by the image */
    unsigned iov_count;
    /* RESULT is 0 or -errno.  May free the request, and submit others. */
    void (*done)(struct block_request *r, int result);

    /* The image's own. */
    struct block_request *next;
    uint64_t progress;
    int64_t start_us;
    uint8_t step;
    int result;
    struct iovec zeroes;
};

/* Opens the image at PATH and locks it: shared when READONLY, else exclusively, against every other
 * process that locks it so.  Returns NULL with ERROR set, naming the file. */
struct block_image *block_open(const char *path, bool readonly, enum block_engine engine,
                               GError **error);
/* Frees the image; no request may be under way. */
void block_close(struct block_image *b);

uint64_t block_size(const struct block_image *b); /* bytes */
/* Asks the host for the present size; false with ERROR set when it cannot be had. */
bool block_refresh_size(struct block_image *b, GError **error);
const char *block_path(const struct block_image *b);
/* Name of the engine taken: "io_uring" or "threads". */
const char *block_engine_name(const struct block_image *b);

/* Queues R, whose range must lie inside the image.  It may first be started by block_start. */
void block_submit(struct block_image *b, struct block_request *r);
/* Starts what was submitted. */
void block_start(struct block_image *b);
/* Becomes readable (an eventfd) when requests have finished. */
int block_event_fd(const struct block_image *b);
/* Calls the callbacks of finished requests, and starts what continues after a short transfer. */
void block_reap(struct block_image *b);

/* ---- statistics ---- */

#define BLOCK_OPERATIONS (BLOCK_WRITE_ZEROES + 1)

/* What requests of one operation did since the image was opened. */
struct block_count {
    uint64_t done, failed;
    uint64_t bytes;   /* of those that did not fail */
    uint64_t time_ns; /* from submission to end, added up */
};
struct block_statistics {
    struct block_count count[BLOCK_OPERATIONS]; /* by enum block_operation */
    uint64_t highest_write;                     /* end of the farthest write, bytes */
};
/* Takes the counters; any thread. */
void block_get_statistics(struct block_image *b, struct block_statistics *to);
bool block_readonly(const struct block_image *b);
/* Bytes that the host's file system has allocated to the image; 0 when it does not tell. */
uint64_t block_allocated(const struct block_image *b);

#endif
