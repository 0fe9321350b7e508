/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block requests by io_uring. */
#include "block-engine.h"
#include "machine/machine.h"

#include <errno.h>
#include <liburing.h>

#define RING_ENTRIES 128

struct uring {
    struct io_uring ring;
    unsigned under_way;
    unsigned prepared;                  /* in the ring, not yet given to the kernel */
    struct block_request *first, *last; /* wait for room in the ring */
};

static bool fail(struct block_image *b, GError **error, int result)
{
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                "disk image %s: io_uring cannot be used: %s; use threads", b->path,
                g_strerror(-result));
    return false;
}

/* Kernels before 5.6 lack some of the operations. */
static bool has_operations(struct io_uring *ring)
{
    static const int needed[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
                                 IORING_OP_FALLOCATE};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool all = probe;
    for (unsigned i = 0; all && i < ARRAY_SIZE(needed); i++)
        all = io_uring_opcode_supported(probe, needed[i]);
    if (probe)
        io_uring_free_probe(probe);
    return all;
}

static bool uring_open(struct block_image *b, GError **error)
{
    struct uring *u = g_new0(struct uring, 1);
    int result = io_uring_queue_init(RING_ENTRIES, &u->ring, 0);
    if (result < 0) {
        g_free(u);
        return fail(b, error, result);
    }
    result = has_operations(&u->ring) ? io_uring_register_eventfd(&u->ring, b->event_fd) : -ENOSYS;
    if (result < 0) {
        io_uring_queue_exit(&u->ring);
        g_free(u);
        return fail(b, error, result);
    }
    b->engine = u;
    return true;
}

static void uring_close(struct block_image *b)
{
    struct uring *u = b->engine;
    io_uring_queue_exit(&u->ring);
    g_free(u);
}

/* Puts R's step into the ring; false when it is full.  Never more are under way than the completion
 * ring, twice as large, can hold. */
static bool prepare(struct block_image *b, struct block_request *r)
{
    struct uring *u = b->engine;
    struct io_uring_sqe *e = u->under_way < RING_ENTRIES ? io_uring_get_sqe(&u->ring) : NULL;
    if (!e)
        return false;
    struct step s = block_step(b, r);
    switch (s.kind) {
    case STEP_READ:
        io_uring_prep_readv(e, b->fd, s.iov, s.iov_count, s.offset);
        break;
    case STEP_WRITE:
        io_uring_prep_writev2(e, b->fd, s.iov, s.iov_count, s.offset, s.flags);
        break;
    case STEP_SYNC:
        io_uring_prep_fsync(e, b->fd, IORING_FSYNC_DATASYNC);
        break;
    case STEP_ALLOCATE:
        io_uring_prep_fallocate(e, b->fd, s.flags, s.offset, s.length);
        break;
    }
    io_uring_sqe_set_data(e, r);
    u->under_way++;
    u->prepared++;
    return true;
}

static void uring_submit(struct block_image *b, struct block_request *r)
{
    struct uring *u = b->engine;
    if (!u->first && prepare(b, r))
        return;
    r->next = NULL;
    if (u->first)
        u->last->next = r;
    else
        u->first = r;
    u->last = r;
}

static void uring_start(struct block_image *b)
{
    struct uring *u = b->engine;
    for (;;) {
        while (u->first && prepare(b, u->first))
            u->first = u->first->next;
        if (!u->prepared)
            return;
        int result = io_uring_submit(&u->ring);
        if (result > 0) {
            u->prepared -= MIN((unsigned)result, u->prepared);
        } else if (u->under_way > u->prepared) {
            return; /* the kernel lacks memory for now: the next reap tries again */
        } else {
            g_usleep(1000); /* no reap would come */
        }
    }
}

static void uring_reap(struct block_image *b)
{
    struct uring *u = b->engine;
    struct io_uring_cqe *c;
    while (io_uring_peek_cqe(&u->ring, &c) == 0) {
        struct block_request *r = io_uring_cqe_get_data(c);
        int result = c->res;
        io_uring_cqe_seen(&u->ring, c);
        u->under_way--;
        block_step_done(b, r, result);
    }
}

const struct engine_operations block_uring_operations = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .submit = uring_submit,
    .start = uring_start,
    .reap = uring_reap,
};
