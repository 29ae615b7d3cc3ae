/* SPDX-License-Identifier: BSD-3-Clause */
/* A new store: sizes, files, and last the superblocks. While it is being made
 * a marker stands in the directory; a half-made one is made anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/text.h"
#include "replicator/store/disk.h"

#define SLOTS_BYTES_MIN (16u << 20)
#define SLOT_COST (KT_EXTENT_BYTES + CSUM_SLOT_BYTES + INDEX_BYTES_SLOT)
#define SLOTS_AT_START 16u

static uint32_t segment_bytes(const struct store *s, uint64_t fs_bytes)
{
    uint64_t want =
        s->opts.log_segment_bytes ? s->opts.log_segment_bytes : fs_bytes / 64;
    want &= ~((1ull << 20) - 1);
    want = kt_max_u64(want, LOG_SEG_BYTES_MIN);
    return (uint32_t)kt_min_u64(want, LOG_SEG_BYTES_MAX);
}

/* How large the log segments and the slots may be here. */
static int plan(struct store *s, struct why *w)
{
    struct statvfs v;
    char a[KT_SIZE_TEXT_BYTES], b[KT_SIZE_TEXT_BYTES];
    if (fstatvfs(s->dirfd, &v))
        return why_set(w, -errno, "cannot ask for free space at %s: %s", s->dir,
                       strerror(errno));
    uint64_t bytes_free = (uint64_t)v.f_bavail * v.f_frsize;
    s->super.seg_bytes = segment_bytes(s, (uint64_t)v.f_blocks * v.f_frsize);
    uint64_t reserve = (uint64_t)LOG_SEGS_MIN * s->super.seg_bytes +
                       INDEX_BYTES_BASE + bytes_free / 20;
    uint64_t least = reserve + SLOTS_BYTES_MIN;
    if (s->opts.capacity_bytes && s->opts.capacity_bytes < SLOTS_BYTES_MIN)
        least = reserve + s->opts.capacity_bytes;
    if (bytes_free < least)
        return why_set(w, -ENOSPC,
                       "%s has %s free and a store needs %s at least; free "
                       "some space, or give it a larger file system",
                       s->dir, kt_size_format(bytes_free, a),
                       kt_size_format(least, b));
    uint64_t slots = (bytes_free - reserve) / SLOT_COST;
    if (s->opts.capacity_bytes)
        slots = kt_min_u64(slots, s->opts.capacity_bytes / KT_EXTENT_BYTES);
    slots = kt_min_u64(slots, UINT32_MAX / 2);
    if (slots == 0)
        return why_set(w, -EINVAL,
                       "a capacity of %s is too small: a store needs %u MiB "
                       "at least",
                       kt_size_format(s->opts.capacity_bytes, a),
                       KT_EXTENT_BYTES >> 20);
    slots = kt_min_u64(slots, SUPER_CAPACITY_MAX / KT_EXTENT_BYTES);
    s->super.capacity = slots * KT_EXTENT_BYTES;
    return 0;
}

static int make_segments(struct store *s)
{
    for (uint64_t no = 1; no <= LOG_SEGS_MIN; no++) {
        struct seg *g;
        int err = seg_make(s, no, NULL, &g);
        if (err)
            return err;
        seg_free(g);
    }
    return 0;
}

static int make_index(struct store *s)
{
    struct index_log at = {.seg = 1, .lsn = 1, .off = LOG_SEG_HEAD_BYTES};
    char path[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s/meta.mdb", s->dir) >=
        sizeof(path))
        return -ENAMETOOLONG;
    struct index *ix;
    int err = index_open(path, s->super.capacity / KT_EXTENT_BYTES, false, &ix);
    if (err)
        return err;
    err = index_begin(ix);
    if (!err) {
        err = index_put_log(ix, &at);
        if (err)
            index_abort(ix);
        else
            err = index_commit(ix);
    }
    index_free(ix);
    return err;
}

static int make_slots(struct store *s)
{
    int err = slots_open(s, true);
    if (!err)
        err =
            slots_grow(s, (uint32_t)kt_min_u64(SLOTS_AT_START, s->slots.total));
    slots_close(s);
    memset(&s->slots, 0, sizeof(s->slots));
    return err;
}

static int mark(struct store *s)
{
    int fd =
        openat(s->dirfd, DIR_CREATING, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return fsync(s->dirfd) ? -errno : 0;
}

static int unmark(struct store *s)
{
    if (unlinkat(s->dirfd, DIR_CREATING, 0) || fsync(s->dirfd))
        return -errno;
    return 0;
}

int dir_create(struct store *s, struct why *w)
{
    int err = plan(s, w);
    if (err)
        return err;
    kt_id_random(&s->super.uuid);
    kt_id_random(&s->super.node);
    s->super.boot = s->opts.boot;
    s->super.clean = true;
    s->super.cont_base = 1;
    err = mark(s);
    if (!err)
        err = make_segments(s);
    if (!err)
        err = make_index(s);
    if (!err)
        err = make_slots(s);
    if (!err)
        err = super_save(s->dirfd, &s->super);
    if (!err)
        err = super_save(s->dirfd, &s->super);
    if (!err)
        err = unmark(s);
    if (err)
        return why_set(w, err, "cannot make a store in %s: %s%s", s->dir,
                       kt_strerror(err),
                       err == -ENOSPC ? "; free some space, or set a smaller "
                                        "capacity"
                                      : "");
    return 0;
}
