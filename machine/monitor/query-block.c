/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* query-block and query-blockstats. */
#include "private.h"

#include "machine/virtio/virtio.h"

/* Makes a value of one disk. */
typedef json_t *disk_fn(const struct device *d, struct block_image *b);

static json_t *each_disk(struct monitor *mon, disk_fn *make)
{
    json_t *list = json_array();

    list_for_each(link, &mon->machine->devices)
    {
        struct device *d = container_of(link, struct device, link);
        struct block_image *b = virtio_blk_image(d);

        if (b)
            json_array_append_new(list, make(d, b));
    }
    return list;
}

static char *disk_path(const struct device *d)
{
    return g_strdup_printf("/machine/peripheral/%s/virtio-backend", d->id);
}

static json_t *describe_image(struct block_image *b)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:b}", "filename", block_path(b), "format", "raw",
                     "virtual-size", (json_int_t)block_size(b), "actual-size",
                     (json_int_t)block_allocated(b), "dirty-flag", 0);
}

/* What is behind a disk; the limits of throughput are all 0, none. */
static json_t *describe_inserted(const struct device *d, struct block_image *b)
{
    static const char *const limits[] = {"bps",     "bps_rd",  "bps_wr",         "iops",
                                         "iops_rd", "iops_wr", "write_threshold"};
    json_t *inserted =
        json_pack("{s:s, s:s, s:s, s:b, s:b, s:i, s:s, s:o, s:{s:b, s:b, s:b}}", "node-name", d->id,
                  "file", block_path(b), "drv", "raw", "ro", block_readonly(b), "encrypted", 0,
                  "backing_file_depth", 0, "detect_zeroes", "off", "image", describe_image(b),
                  "cache", "writeback", 1, "direct", 0, "no-flush", 0);

    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
        json_object_set_new(inserted, limits[i], json_integer(0));
    return inserted;
}

static json_t *describe_disk(const struct device *d, struct block_image *b)
{
    g_autofree char *path = disk_path(d);

    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:s, s:o}", "device", d->id, "qdev", path, "type",
                     "unknown", "removable", 0, "locked", 0, "io-status", "ok", "inserted",
                     describe_inserted(d, b));
}

json_t *query_block(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    return each_disk(mon, describe_disk);
}

/* ---- statistics ---- */

/* QMP counts four kinds of operation: by their prefix, made of one or two of ours. */
static const struct kind {
    const char *prefix;
    enum block_operation operation[2];
} kinds[] = {
    {"rd", {BLOCK_READ, BLOCK_READ}},
    {"wr", {BLOCK_WRITE, BLOCK_WRITE_ZEROES}},
    {"flush", {BLOCK_FLUSH, BLOCK_FLUSH}},
    {"unmap", {BLOCK_DISCARD, BLOCK_DISCARD}},
};

static struct block_count sum(const struct block_statistics *s, const struct kind *k)
{
    struct block_count a = s->count[k->operation[0]];
    const struct block_count *b = &s->count[k->operation[1]];

    if (k->operation[0] != k->operation[1]) {
        a.done += b->done;
        a.failed += b->failed;
        a.bytes += b->bytes;
        a.time_ns += b->time_ns;
    }
    return a;
}

/* Sets the counter called BEFORE PREFIX AFTER. */
static void set_count(json_t *to, const char *before, const char *prefix, const char *after,
                      uint64_t value)
{
    g_autofree char *name = g_strconcat(before, prefix, after, NULL);

    json_object_set_new(to, name, json_integer((json_int_t)value));
}

static json_t *describe_counts(const struct block_statistics *s)
{
    json_t *stats =
        json_pack("{s:I, s:b, s:b, s:[]}", "wr_highest_offset", (json_int_t)s->highest_write,
                  "account_invalid", 0, "account_failed", 1, "timed_stats");

    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct block_count c = sum(s, &kinds[i]);

        set_count(stats, "", kinds[i].prefix, "_operations", c.done);
        set_count(stats, "", kinds[i].prefix, "_total_time_ns", c.time_ns);
        set_count(stats, "failed_", kinds[i].prefix, "_operations", c.failed);
        set_count(stats, "invalid_", kinds[i].prefix, "_operations", 0);
        if (kinds[i].operation[0] == BLOCK_FLUSH)
            continue;
        set_count(stats, "", kinds[i].prefix, "_bytes", c.bytes);
        set_count(stats, "", kinds[i].prefix, "_merged", 0);
    }
    return stats;
}

static json_t *describe_statistics(const struct device *d, struct block_image *b)
{
    g_autofree char *path = disk_path(d);
    struct block_statistics s;

    block_get_statistics(b, &s);
    return json_pack("{s:s, s:s, s:s, s:o}", "device", d->id, "qdev", path, "node-name", d->id,
                     "stats", describe_counts(&s));
}

/* Disks and the nodes behind them are one here, so query-nodes changes nothing. */
json_t *query_blockstats(struct monitor *mon, json_t *arguments, GError **error)
{
    (void)arguments, (void)error;
    return each_disk(mon, describe_statistics);
}
