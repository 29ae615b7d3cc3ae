/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole volume, segment by segment. What is zero is not written, so the
 * image is as thin as the volume was. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/salvage.h"
#include "lib/base/os.h"

#define CHUNK_BYTES (LOOK_SECTORS_MAX * KT_SECTOR_BYTES)

/* Joined to the last run when it goes on. */
static int add_run(struct salvage_image *m, enum salvage_loss loss,
                   uint64_t off, uint64_t len)
{
    struct salvage_run *last = m->n_runs ? &m->runs[m->n_runs - 1] : NULL;
    if (off >= m->size)
        return 0;
    len = kt_min_u64(len, m->size - off);
    if (last && last->loss == loss && last->off + last->len == off) {
        last->len += len;
        return 0;
    }
    if ((m->n_runs & (m->n_runs - 1)) == 0) {
        uint32_t cap = m->n_runs ? 2 * m->n_runs : 1;
        void *p = realloc(m->runs, cap * sizeof(m->runs[0]));
        if (!p)
            return -ENOMEM;
        m->runs = p;
    }
    m->runs[m->n_runs++] = (struct salvage_run){loss, off, len};
    return 0;
}

static bool is_zero(const uint8_t *b)
{
    return b[0] == 0 && memcmp(b, b + 1, KT_SECTOR_BYTES - 1) == 0;
}

/* One chunk of the image, which may end within it. */
static int write_chunk(struct salvage_image *m, const uint8_t *data,
                       uint64_t off)
{
    uint64_t left = off < m->size ? m->size - off : 0;
    uint32_t n = (uint32_t)(kt_min_u64(left, CHUNK_BYTES) / KT_SECTOR_BYTES);
    int err = 0;
    for (uint32_t i = 0, k; i < n && !err; i = k + 1) {
        for (k = i; k < n && !is_zero(data + (size_t)k * KT_SECTOR_BYTES);)
            k++;
        uint64_t len = (uint64_t)(k - i) * KT_SECTOR_BYTES;
        m->written += len;
        if (len && m->fd >= 0)
            err = kt_pwrite_all(m->fd, data + (size_t)i * KT_SECTOR_BYTES, len,
                                off + (uint64_t)i * KT_SECTOR_BYTES);
    }
    return err;
}

static int put_extent(struct salvage_chain *c, uint32_t extent,
                      struct salvage_image *m)
{
    static uint8_t data[CHUNK_BYTES];
    enum salvage_verdict v[LOOK_SECTORS_MAX];
    uint64_t off = (c->first_extent + extent) * KT_EXTENT_BYTES;
    int err = 0;
    for (uint32_t k = 0; k < KT_EXTENT_SECTORS && !err; k += LOOK_SECTORS_MAX) {
        uint64_t at = off + (uint64_t)k * KT_SECTOR_BYTES;
        if (at >= m->size)
            break;
        salvage_sectors(c, k, v, data);
        err = write_chunk(m, data, at);
        for (uint32_t i = 0; i < LOOK_SECTORS_MAX && !err; i++)
            if (v[i] != SALVAGE_RIGHT)
                err = add_run(
                    m,
                    v[i] == SALVAGE_OLDER ? SALVAGE_L_OLDER : SALVAGE_L_ZEROS,
                    at + (uint64_t)i * KT_SECTOR_BYTES, KT_SECTOR_BYTES);
    }
    return err;
}

static int put_chain(struct salvage_chain *c, struct salvage_image *m)
{
    uint64_t off = c->first_extent * KT_EXTENT_BYTES;
    int err = salvage_chain_judge(c);
    enum salvage_loss all = !c->whole ? SALVAGE_L_DOUBTFUL
                            : c->cut  ? SALVAGE_L_EARLIER
                                      : SALVAGE_L_UNSURE;
    if (!err && (!c->whole || c->cut || c->unsure))
        err = add_run(m, all, off, (uint64_t)c->n_extents * KT_EXTENT_BYTES);
    for (uint32_t e = 0; e < c->n_extents && !err; e++) {
        if (salvage_extent(c, e))
            err = put_extent(c, e, m);
        if (m->progress)
            m->progress(m->arg,
                        kt_min_u64(off + (e + 1ull) * KT_EXTENT_BYTES, m->size),
                        m->size);
    }
    return err;
}

int salvage_image(struct salvage *s, const struct salvage_volume *v,
                  struct salvage_image *m)
{
    struct salvage_chain *list;
    uint32_t n;
    uint64_t end = 0; /* of the segments so far */
    int err = salvage_chains(s, v, &list, &n);
    if (err)
        return err;
    m->size = v->size ? v->size : v->extents * KT_EXTENT_BYTES;
    m->segments = n;
    if (m->fd >= 0 && ftruncate(m->fd, (off_t)m->size))
        err = -errno;
    for (uint32_t i = 0; i < n; i++) {
        struct salvage_chain *c = &list[i];
        uint64_t off = c->first_extent * KT_EXTENT_BYTES;
        if (off > end && !err)
            err = add_run(m, SALVAGE_L_HOLE, end, off - end);
        end = kt_max_u64(end, off + (uint64_t)c->n_extents * KT_EXTENT_BYTES);
        if (!err)
            err = put_chain(c, m);
        salvage_chain_release(c);
    }
    if (end < m->size && !err)
        err = add_run(m, SALVAGE_L_HOLE, end, m->size - end);
    free(list);
    if (!err && m->fd >= 0 && fsync(m->fd))
        err = -errno;
    return err;
}
