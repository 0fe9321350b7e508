/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disk images: opening, locking, and requests as sequences of steps. */
#include "block-engine.h"
#include "machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZEROES_SIZE (256 * 1024)

/* Steps of write-zeroes; other operations have but step 0. */
enum { ZERO_ALLOCATE, ZERO_WRITE, ZERO_SYNC };

/* ---- opening ---- */

static bool fail(GError **error, const char *path, const char *what, const char *advice)
{
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, "disk image %s: %s; %s", path, what,
                advice);
    return false;
}

static bool get_size(int fd, const char *path, uint64_t *size, GError **error)
{
    struct stat s;
    if (fstat(fd, &s) < 0)
        return fail(error, path, g_strerror(errno), "check the file");
    if (S_ISDIR(s.st_mode))
        return fail(error, path, "is a directory", "give a raw image file or a block device");
    if (S_ISBLK(s.st_mode)) {
        if (ioctl(fd, BLKGETSIZE64, size) < 0)
            return fail(error, path, g_strerror(errno), "the block device does not tell its size");
    } else if (S_ISREG(s.st_mode)) {
        *size = s.st_size;
    } else {
        return fail(error, path, "is neither a file nor a block device",
                    "give a raw image file or a block device");
    }
    if (*size < 512)
        return fail(error, path, "is smaller than one sector (512 bytes)",
                    "make it larger, as with truncate -s 4G");
    return true;
}

/* Locks the whole file for as long as FD is open: an open file description's lock, so that two
 * machines in one process exclude each other too. */
static bool lock_image(int fd, const char *path, bool readonly, GError **error)
{
    struct flock lock = {.l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return true;
    if (errno == EAGAIN || errno == EACCES)
        return fail(error, path, "is in use by another machine",
                    "stop that one, or let both use it readonly");
    return fail(error, path, g_strerror(errno),
                "its file system cannot lock it: copy it to another");
}

static bool open_file(struct block_image *b, bool readonly, GError **error)
{
    b->fd = open(b->path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (b->fd < 0) {
        switch (errno) {
        case EISDIR:
            return fail(error, b->path, "is a directory",
                        "give a raw image file or a block device");
        case ENOENT:
            return fail(error, b->path, "no such file", "check the path of --disk");
        case EACCES:
        case EPERM:
        case EROFS:
            return fail(error, b->path, g_strerror(errno),
                        readonly ? "make it readable" : "make it writable, or add ,readonly");
        default:
            return fail(error, b->path, g_strerror(errno), "check the path of --disk");
        }
    }
    if (!get_size(b->fd, b->path, &b->size, error))
        return false;
    /* Not waiting was for the open of what turns out a FIFO; io_uring would take it for an order to
     * fail rather than wait for the disk. */
    fcntl(b->fd, F_SETFL, 0);
    return lock_image(b->fd, b->path, readonly, error);
}

static bool open_engine(struct block_image *b, enum block_engine engine, GError **error)
{
    b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->event_fd < 0)
        return fail(error, b->path, g_strerror(errno), "raise the limit of open files");
    if (engine != BLOCK_ENGINE_THREADS) {
        b->operations = &block_uring_operations;
        if (b->operations->open(b, engine == BLOCK_ENGINE_URING ? error : NULL))
            return true;
        if (engine == BLOCK_ENGINE_URING)
            return false;
    }
    b->operations = &block_threads_operations;
    return b->operations->open(b, error);
}

struct block_image *block_open(const char *path, bool readonly, enum block_engine engine,
                               GError **error)
{
    struct block_image *b = g_new0(struct block_image, 1);
    b->path = g_strdup(path);
    b->readonly = readonly;
    b->zeroes = g_malloc0(ZEROES_SIZE);
    b->fd = b->event_fd = -1;
    if (open_file(b, readonly, error) && open_engine(b, engine, error))
        return b;
    b->operations = NULL;
    block_close(b);
    return NULL;
}

void block_close(struct block_image *b)
{
    if (!b)
        return;
    if (b->operations)
        b->operations->close(b);
    if (b->event_fd >= 0)
        close(b->event_fd);
    if (b->fd >= 0)
        close(b->fd);
    g_free(b->zeroes);
    g_free(b->path);
    g_free(b);
}

uint64_t block_size(const struct block_image *b)
{
    return b->size;
}

bool block_refresh_size(struct block_image *b, GError **error)
{
    return get_size(b->fd, b->path, &b->size, error);
}

const char *block_path(const struct block_image *b)
{
    return b->path;
}

const char *block_engine_name(const struct block_image *b)
{
    return b->operations->name;
}

int block_event_fd(const struct block_image *b)
{
    return b->event_fd;
}

/* ---- requests ---- */

struct step block_step(struct block_image *b, struct block_request *r)
{
    struct step s = {.offset = r->offset + r->progress, .length = r->length - r->progress};

    switch (r->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        s.kind = r->operation == BLOCK_READ ? STEP_READ : STEP_WRITE;
        s.iov = r->iov;
        s.iov_count = r->iov_count;
        s.flags = r->operation == BLOCK_WRITE && r->durable ? RWF_DSYNC : 0;
        break;
    case BLOCK_FLUSH:
        s.kind = STEP_SYNC;
        break;
    case BLOCK_DISCARD:
        s.kind = STEP_ALLOCATE;
        s.flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        break;
    case BLOCK_WRITE_ZEROES:
        if (r->step == ZERO_ALLOCATE) {
            s.kind = STEP_ALLOCATE;
            s.flags =
                (r->unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
        } else if (r->step == ZERO_WRITE) {
            r->zeroes = (struct iovec){b->zeroes, MIN(s.length, ZEROES_SIZE)};
            s.kind = STEP_WRITE;
            s.iov = &r->zeroes;
            s.iov_count = 1;
            s.flags = r->durable ? RWF_DSYNC : 0;
        } else {
            s.kind = STEP_SYNC;
        }
        break;
    }
    return s;
}

/* Drops the first COUNT bytes of R's vector. */
static void advance(struct block_request *r, uint64_t count)
{
    while (r->iov_count && count >= r->iov->iov_len) {
        count -= r->iov->iov_len;
        r->iov++;
        r->iov_count--;
    }
    if (r->iov_count) {
        r->iov->iov_base = (char *)r->iov->iov_base + count;
        r->iov->iov_len -= count;
    }
}

/* A result that says that the file system or the device does not know the way to do it. */
static bool unsupported(int64_t result)
{
    return result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL || result == -ENODEV;
}

/* Acts on RESULT of R's step: true when there is a next step, else *final is the request's. */
static bool next_step(struct block_request *r, int64_t result, int *final)
{
    bool transfer = r->operation == BLOCK_READ || r->operation == BLOCK_WRITE ||
                    (r->operation == BLOCK_WRITE_ZEROES && r->step == ZERO_WRITE);

    *final = result < 0 ? (int)result : 0;
    if (result == -EINTR || result == -EAGAIN)
        return true;
    if (transfer && result >= 0) {
        uint64_t left = r->length - r->progress;
        if (result == 0 && left) {
            *final = -EIO; /* the file was cut short under us */
            return false;
        }
        r->progress += MIN((uint64_t)result, left);
        if (r->operation != BLOCK_WRITE_ZEROES)
            advance(r, result);
        return r->progress < r->length;
    }
    if (r->operation == BLOCK_DISCARD && unsupported(result))
        *final = 0; /* a hint, that nobody here can take */
    if (r->operation == BLOCK_WRITE_ZEROES && r->step == ZERO_ALLOCATE) {
        if (unsupported(result)) {
            r->step = ZERO_WRITE;
            return true;
        }
        r->step = ZERO_SYNC;
        return result >= 0 && r->durable;
    }
    return false;
}

/* Adds to a counter that others read meanwhile; one thread adds. */
static void add(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, *counter + value, __ATOMIC_RELAXED);
}

/* Counts R, which ended with RESULT. */
static void count(struct block_image *b, const struct block_request *r, int result)
{
    struct block_count *c = &b->statistics.count[r->operation];
    uint64_t end = r->offset + r->length, highest = b->statistics.highest_write;
    bool writes = r->operation == BLOCK_WRITE || r->operation == BLOCK_WRITE_ZEROES;

    add(&c->time_ns, (uint64_t)(g_get_monotonic_time() - r->start_us) * 1000);
    if (result < 0) {
        add(&c->failed, 1);
        return;
    }
    add(&c->done, 1);
    add(&c->bytes, r->operation == BLOCK_FLUSH ? 0 : r->length);
    if (writes && end > highest)
        add(&b->statistics.highest_write, end - highest);
}

void block_get_statistics(struct block_image *b, struct block_statistics *to)
{
    const uint64_t *from = (const uint64_t *)&b->statistics;
    uint64_t *copy = (uint64_t *)to;

    _Static_assert(sizeof *to % sizeof *copy == 0, "counters only");
    for (size_t i = 0; i < sizeof *to / sizeof *copy; i++)
        copy[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

bool block_readonly(const struct block_image *b)
{
    return b->readonly;
}

uint64_t block_allocated(const struct block_image *b)
{
    struct stat s;

    return fstat(b->fd, &s) == 0 ? (uint64_t)s.st_blocks * 512 : 0;
}

void block_submit(struct block_image *b, struct block_request *r)
{
    r->progress = 0;
    r->step = 0;
    r->start_us = g_get_monotonic_time();
    b->operations->submit(b, r);
}

void block_step_done(struct block_image *b, struct block_request *r, int64_t result)
{
    int final;
    if (next_step(r, result, &final)) {
        b->operations->submit(b, r);
        return;
    }
    count(b, r, final);
    r->done(r, final);
}

void block_start(struct block_image *b)
{
    b->operations->start(b);
}

void block_reap(struct block_image *b)
{
    eventfd_t count;
    eventfd_read(b->event_fd, &count);
    b->operations->reap(b);
    b->operations->start(b);
}
