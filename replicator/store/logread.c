/* SPDX-License-Identifier: BSD-3-Clause */
/* Records back from the log: the loop knows where each one is and makes the
 * buffers, a reader fills and checks them. */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/disk.h"

struct fetch {
    struct seg *seg;
    struct log_at at;
};

struct fetch_job {
    struct job job;
    struct store_log_read *op;
    uint32_t n;
    struct fetch f[STORE_LOG_READ_MAX];
};

static int fetch_one(struct fetch_job *p, uint32_t i)
{
    const struct log_at *at = &p->f[i].at;
    struct kt_buf *b = p->op->bufs[i];
    uint8_t head[LOG_REC_HEAD_BYTES];
    struct log_rec_head h;
    int fd = p->f[i].seg->fd;
    uint64_t off = at->off;
    int err = kt_pread_all(fd, head, sizeof(head), off);
    if (!err)
        err = log_rec_decode(head, &h);
    if (err)
        return err == -EIO ? KT_E_CORRUPT : err;
    if (h.uuid != p->job.store->uuid64 || h.seg != at->seg ||
        h.n_sums != at->n_sums || h.data_len != at->data_len)
        return KT_E_CORRUPT;
    off += sizeof(head);
    if (b)
        err = kt_pread_all(fd, b->sums, 8 * (size_t)at->n_sums, off);
    if (b && !err)
        err = kt_pread_all(fd, b->data, at->data_len,
                           off + 8 * (uint64_t)at->n_sums);
    if (!err && b && !log_rec_check(&h, b->sums, b->data))
        err = KT_E_CORRUPT;
    p->op->recs[i] = h.rec;
    return err == -EIO ? KT_E_CORRUPT : err;
}

static int fetch_run(struct job *j)
{
    struct fetch_job *p = kt_container_of(j, struct fetch_job, job);
    int err = 0;
    for (uint32_t i = 0; i < p->n && !err; i++)
        err = fetch_one(p, i);
    return err;
}

static void release(struct fetch_job *p, bool with_bufs)
{
    for (uint32_t i = 0; i < p->n; i++) {
        p->f[i].seg->pins--;
        if (with_bufs)
            kt_buf_unref(p->op->bufs[i]);
    }
}

static void fetch_done(struct job *j)
{
    struct store *s = j->store;
    struct fetch_job *p = kt_container_of(j, struct fetch_job, job);
    uint64_t seq = p->op->after + 1;
    int err = s->err ? KT_E_FAULTY : j->err;
    for (uint32_t i = 0; i < p->n && !err; i++, seq++)
        if (p->op->recs[i].chain != p->op->chain->id ||
            p->op->recs[i].id.seq != seq)
            err = KT_E_CORRUPT;
    release(p, err != 0);
    p->op->ret_n = err ? 0 : p->n;
    op_ready(s, &p->op->op, err);
    free(p);
}

/* Notes the next record. 0, -ENODATA, -ENOMEM. */
static int note(struct store *s, struct fetch_job *p, uint64_t seq)
{
    struct store_log_read *r = p->op;
    const struct log_at *at = chain_log_find(r->chain, seq);
    struct seg *g = at ? seg_find(s, at->seg) : NULL;
    if (!g)
        return -ENODATA;
    struct kt_buf *b = NULL;
    if (at->data_len || at->n_sums) {
        b = kt_buf_new(at->data_len, at->n_sums);
        if (!b)
            return -ENOMEM;
        b->n_sums = at->n_sums;
        b->data_len = at->data_len;
    }
    g->pins++;
    p->f[p->n] = (struct fetch){g, *at};
    r->bufs[p->n++] = b;
    return 0;
}

void store_log_read(struct store *s, struct store_log_read *r)
{
    op_start(s, &r->op, STORE_LOG_READ);
    r->ret_n = 0;
    struct fetch_job *p = s->err ? NULL : malloc(sizeof(*p));
    if (!p) {
        op_ready(s, &r->op, s->err ? KT_E_FAULTY : -ENOMEM);
        return;
    }
    p->job.run = fetch_run;
    p->job.done = fetch_done;
    p->op = r;
    p->n = 0;
    uint64_t bytes = 0, last = r->chain->applied.seq;
    uint32_t most = (uint32_t)kt_min_u64(r->max_records, STORE_LOG_READ_MAX);
    int err = 0;
    for (uint64_t q = r->after + 1; q <= last && p->n < most && !err; q++) {
        const struct log_at *at = chain_log_find(r->chain, q);
        if (at && p->n && bytes + at->data_len > KT_EXTENT_BYTES)
            break;
        bytes += at ? at->data_len : 0;
        err = note(s, p, q);
    }
    if (err || p->n == 0) {
        release(p, true);
        op_ready(s, &r->op, err);
        free(p);
        return;
    }
    job_post(&s->read, &p->job);
}
