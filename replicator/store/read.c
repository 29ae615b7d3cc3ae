/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading sectors: from the overlay at once, the rest from the slot.
 *
 *  1. Each sector is looked up: in the overlay (copied now), absent, or in the
 *     slot (noted as part of a run).
 *  2. Small reads try the page cache on the loop, without blocking; the others
 *     go to a reader.
 *  3. Every sector from a slot is held against its sum. When one differs the
 *     whole read is done once more, from 1: the extent may have been applied
 *     meanwhile (its gen tells), or the disk was wrong for a moment. Twice with
 *     the same gen: KT_E_CORRUPT, and the sectors are counted.
 *
 * A reader that meets an error, or a sum that differs, goes sector by sector: a
 * disk that refuses one of them gives nothing of the whole run. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/sum.h"
#include "replicator/store/disk.h"
#include "replicator/store/io.h"

#define INLINE_BYTES_MAX (64u << 10)

struct slot_run {
    uint32_t first, n; /* sectors of the extent */
    uint32_t at;       /* bytes into the buffer */
};

struct read_job {
    struct job job;
    struct store_read *op;
    struct kt_buf *buf;
    struct extent *ext;
    uint32_t gen, first; /* first: sector of the read */
    unsigned tries;
    int dfd, cfd;
    uint64_t doff, coff; /* of the slot */
    unsigned n_runs;
    uint64_t bad[KT_RECORD_SECTORS_MAX / 64]; /* of the read's sectors */
    struct slot_run runs[KT_RECORD_SECTORS_MAX / 2 + 1];
};

void op_start(struct store *s, struct store_op *op, uint32_t kind)
{
    op->store = s;
    op->kind = kind;
    op->err = 0;
    op->tag[0] = op->tag[1] = 0;
    op->next = NULL;
    op->start_us = store_now(s);
}

void op_ready(struct store *s, struct store_op *op, int err)
{
    op->err = err;
    store_queue_push(&s->ready, op);
    if (!s->in_poll)
        store_tell(s);
}

/* ---- slots ---- */

/* 0, -EAGAIN (nowait: not in memory), KT_E_CORRUPT, -errno. */
static int pread_slot(int fd, struct iovec iov, uint64_t off, bool nowait)
{
    uint8_t *p = iov.iov_base;
    size_t left = iov.iov_len;
    while (left) {
        struct iovec v = {p, left};
        ssize_t n = preadv2(fd, &v, 1, (off_t)off, nowait ? RWF_NOWAIT : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EOPNOTSUPP && nowait ? -EOPNOTSUPP : -errno;
        if (n == 0)
            return nowait ? -EAGAIN : -EIO;
        p += n;
        off += (uint64_t)n;
        left -= (size_t)n;
    }
    return 0;
}

static int read_run(struct read_job *p, const struct slot_run *r, bool nowait)
{
    uint64_t *sums = p->buf->sums + (r->first - p->first);
    uint8_t *data = p->buf->data + r->at;
    int err = pread_slot(p->cfd, (struct iovec){sums, 8 * (size_t)r->n},
                         p->coff + 8 * (uint64_t)r->first, nowait);
    if (!err)
        err = pread_slot(
            p->dfd, (struct iovec){data, (size_t)r->n * KT_SECTOR_BYTES},
            p->doff + (uint64_t)r->first * KT_SECTOR_BYTES, nowait);
    if (err)
        return err;
    return kt_sum_check(data, (size_t)r->n * KT_SECTOR_BYTES, sums)
               ? 0
               : KT_E_CORRUPT;
}

/* A run that did not come whole: which of its sectors do not. */
static int read_each(struct read_job *p, const struct slot_run *r)
{
    int err = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        struct slot_run one = {r->first + i, 1, r->at + i * KT_SECTOR_BYTES};
        uint32_t k = one.first - p->first;
        if (!read_run(p, &one, false))
            continue;
        p->bad[k / 64] |= 1ull << (k % 64);
        err = KT_E_CORRUPT;
    }
    return err;
}

static int read_runs_now(struct read_job *p)
{
    int err = 0;
    for (unsigned i = 0; i < p->n_runs && !err; i++)
        err = read_run(p, &p->runs[i], true);
    return err;
}

static int read_job_run(struct job *j)
{
    struct read_job *p = kt_container_of(j, struct read_job, job);
    int err = 0;
    memset(p->bad, 0, sizeof(p->bad));
    for (unsigned i = 0; i < p->n_runs; i++) {
        if (read_run(p, &p->runs[i], false) && read_each(p, &p->runs[i]))
            err = KT_E_CORRUPT;
    }
    return err;
}

/* ---- the loop's part ---- */

static void look_up(struct read_job *p, uint32_t n)
{
    struct extent *e = p->ext;
    struct kt_buf *b = p->buf;
    p->n_runs = 0;
    b->data_len = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = p->first + i;
        const uint8_t *data = NULL;
        struct rec *r = overlay_at(e, k);
        b->sums[i] = r ? rec_sector(r, k, &data) : 0;
        if (b->sums[i]) {
            memcpy(b->data + b->data_len, data, KT_SECTOR_BYTES);
        } else if (!r && e && (e->presence[k / 8] >> (k % 8) & 1)) {
            struct slot_run *l = p->n_runs ? &p->runs[p->n_runs - 1] : NULL;
            if (l && l->first + l->n == k)
                l->n++;
            else
                p->runs[p->n_runs++] = (struct slot_run){k, 1, b->data_len};
        } else {
            continue;
        }
        b->data_len += KT_SECTOR_BYTES;
    }
    if (e && e->slot != SLOT_NONE) {
        const struct slots *m = &e->chain->store->slots;
        uint32_t file = e->slot / SLOTS_PER_FILE, at = e->slot % SLOTS_PER_FILE;
        p->dfd = m->data_fd[file];
        p->cfd = m->csum_fd[file];
        p->doff = (uint64_t)at * KT_EXTENT_BYTES;
        p->coff = (uint64_t)at * CSUM_SLOT_BYTES;
        p->gen = e->gen;
    }
}

static void read_done(struct job *j);

static void finish(struct store *s, struct read_job *p, int err)
{
    struct store_read *op = p->op;
    if (err)
        kt_buf_unref(p->buf);
    else
        op->ret_buf = p->buf;
    p->job.next = s->free_reads;
    s->free_reads = &p->job;
    bool now = op->op.tag[0] && !s->in_poll;
    if (now) { /* inside store_read, everything at hand */
        op->op.err = err;
        op->op.done(&op->op, err);
    } else {
        op_ready(s, &op->op, err);
    }
}

/* From step 1, until there is a reason to wait or a result. */
static void attempt(struct store *s, struct read_job *p)
{
    for (;;) {
        look_up(p, p->op->len / KT_SECTOR_BYTES);
        p->op->ret_seq = p->op->chain->applied.seq;
        if (!p->n_runs) {
            finish(s, p, 0);
            return;
        }
        int err = -EAGAIN;
        if (p->op->len <= INLINE_BYTES_MAX && !s->no_nowait)
            err = read_runs_now(p);
        if (err == -EOPNOTSUPP)
            s->no_nowait = true;
        if (!err) {
            finish(s, p, 0);
            return;
        }
        if (err != KT_E_CORRUPT || p->tries++ > 0)
            break;
    }
    p->op->op.tag[0] = 0;
    job_post(&s->read, &p->job);
}

static void note_bad(struct read_job *p)
{
    uint32_t n = p->op->len / KT_SECTOR_BYTES, first = n;
    for (uint32_t k = n; k-- > 0;) {
        if (!(p->bad[k / 64] >> (k % 64) & 1))
            continue;
        first = k;
        mend_note_bad(p->ext, p->first + k);
    }
    assert(first < n);
    p->op->ret_bad = (p->first + first) * KT_SECTOR_BYTES;
}

static void read_done(struct job *j)
{
    struct read_job *p = kt_container_of(j, struct read_job, job);
    struct store *s = j->store;
    bool moved = p->gen != p->ext->gen;
    if (!j->err && !moved) {
        finish(s, p, 0);
    } else if (s->err) {
        finish(s, p, KT_E_FAULTY);
    } else if (moved || p->tries++ == 0) {
        attempt(s, p);
    } else {
        note_bad(p);
        finish(s, p, KT_E_CORRUPT);
    }
}

void store_read(struct store *s, struct store_read *r)
{
    uint32_t n = r->len / KT_SECTOR_BYTES;
    op_start(s, &r->op, STORE_READ);
    if (s->err) {
        op_ready(s, &r->op, KT_E_FAULTY);
        return;
    }
    if (r->extent >= r->chain->n_extents || r->len == 0 ||
        (r->off | r->len) % KT_SECTOR_BYTES || r->len > KT_RECORD_BYTES_MAX ||
        r->off > KT_EXTENT_BYTES - r->len) {
        op_ready(s, &r->op, KT_E_INVALID);
        return;
    }
    struct kt_buf *b = kt_buf_new(r->len, n);
    struct read_job *p = NULL;
    if (s->free_reads) {
        p = kt_container_of(s->free_reads, struct read_job, job);
        s->free_reads = s->free_reads->next;
    } else if (b) {
        p = malloc(sizeof(*p));
    }
    if (!b || !p) {
        kt_buf_unref(b);
        free(p);
        op_ready(s, &r->op, -ENOMEM);
        return;
    }
    b->n_sums = n;
    p->job.run = read_job_run;
    p->job.done = read_done;
    p->op = r;
    p->buf = b;
    p->ext = r->chain->ext[r->extent];
    p->first = r->off / KT_SECTOR_BYTES;
    p->tries = 0;
    r->op.tag[0] = 1;
    attempt(s, p);
}

void read_free_all(struct store *s)
{
    struct job *j;
    while ((j = s->free_reads)) {
        s->free_reads = j->next;
        free(kt_container_of(j, struct read_job, job));
    }
}
