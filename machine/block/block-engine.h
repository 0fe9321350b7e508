/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What block.c, which takes requests apart into steps, and the engines, which carry steps out, ask
 * of each other. */
#ifndef TRAPEZE_BLOCK_ENGINE_H
#define TRAPEZE_BLOCK_ENGINE_H

#include "block.h"

/* One system call's worth of a request. */
enum step_kind { STEP_READ, STEP_WRITE, STEP_SYNC, STEP_ALLOCATE };
struct step {
    enum step_kind kind;
    const struct iovec *iov; /* READ and WRITE: as preadv2 */
    unsigned iov_count;
    int flags; /* WRITE: RWF_*; ALLOCATE: the mode of fallocate */
    uint64_t offset, length;
};

struct engine_operations {
    const char *name;
    /* Makes the engine of B; false with ERROR set when this host does not permit it. */
    bool (*open)(struct block_image *b, GError **error);
    void (*close)(struct block_image *b);
    void (*submit)(struct block_image *b, struct block_request *r);
    void (*start)(struct block_image *b);
    /* Calls block_step_done for what has finished. */
    void (*reap)(struct block_image *b);
};
extern const struct engine_operations block_uring_operations, block_threads_operations;

struct block_image {
    const struct engine_operations *operations;
    void *engine; /* the engine's own */
    char *path;
    int fd;
    int event_fd; /* signalled by the engine when steps have finished */
    uint64_t size;
    bool readonly;
    struct block_statistics statistics; /* written on the image's thread; atomically */
    uint8_t *zeroes;                    /* a piece of them */
};

/* R's present step. */
struct step block_step(struct block_image *b, struct block_request *r);
/* R's step ended with RESULT, a count of bytes or 0, or -errno: submits the next step or finishes
 * R. On the thread that uses the image. */
void block_step_done(struct block_image *b, struct block_request *r, int64_t result);

#endif
