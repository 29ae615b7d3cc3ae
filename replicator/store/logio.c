/* SPDX-License-Identifier: BSD-3-Clause */
/* The threads' side of the log: one writes what is queued, in order; one
 * syncs what is written, beside it.
 *
 * What waits when the log thread comes for more is a group: one write, of whole
 * pages, so that no page that may be durable or on its way to the disk is
 * touched again. The loop decides with the queue in its hand which record
 * begins one, and so knows where each one goes. */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "replicator/store/disk.h"
#include "replicator/store/io.h"

/* One pwritev. */
#define GROUP_RECS_MAX 128u
#define GROUP_BYTES_MAX (1u << 20) /* unless one record is more */

int io_pwritev(int fd, struct iovec *iov, unsigned n, uint64_t off)
{
    while (n) {
        ssize_t done = pwritev(fd, iov, (int)n, (off_t)off);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done ? -errno : -EIO;
        off += (uint64_t)done;
        for (; n && (size_t)done >= iov->iov_len; n--, iov++)
            done -= (ssize_t)iov->iov_len;
        if (n) {
            iov->iov_base = (uint8_t *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return 0;
}

static bool joins_group(const struct store *s, const struct rec *r,
                        uint32_t bytes)
{
    return s->logq && s->group_seg == r->seg &&
           s->group_recs < GROUP_RECS_MAX &&
           s->group_bytes + bytes <= GROUP_BYTES_MAX;
}

uint32_t log_next_off(const struct store *s)
{
    return s->group_seg == s->cur ? log_align(s->cur->used) : s->cur->used;
}

void log_write(struct store *s, struct rec *r, uint32_t bytes)
{
    r->log_next = NULL;
    pthread_mutex_lock(&s->mu);
    r->begins = !joins_group(s, r, bytes);
    r->off = r->begins ? log_next_off(s) : r->seg->used;
    r->seg->used = r->off + bytes;
    s->group_seg = r->seg;
    s->group_recs = r->begins ? 1 : s->group_recs + 1;
    s->group_bytes = r->begins ? bytes : s->group_bytes + bytes;
    *s->logq_last = r;
    s->logq_last = &r->log_next;
    pthread_cond_signal(&s->log_cv);
    pthread_mutex_unlock(&s->mu);
}

void log_sync(struct store *s, uint64_t lsn)
{
    pthread_mutex_lock(&s->mu);
    if (lsn > s->sync_want) {
        s->sync_want = lsn;
        pthread_cond_signal(&s->sync_cv);
    }
    pthread_mutex_unlock(&s->mu);
}

static unsigned rec_iov(struct rec *r, struct iovec *iov)
{
    unsigned n = 0;
    iov[n++] = (struct iovec){r->head, sizeof(r->head)};
    if (r->buf && r->buf->n_sums)
        iov[n++] = (struct iovec){r->buf->sums, 8 * (size_t)r->buf->n_sums};
    if (r->buf && r->buf->data_len)
        iov[n++] = (struct iovec){r->buf->data, r->buf->data_len};
    return n;
}

/* What the write of one group left to publish. */
struct written {
    struct seg *seg;
    uint64_t lsn, fua_lsn;
    bool plain; /* some wait for no sync */
};

/* Writes the group that begins with r; returns what follows. Once their lsn is
 * published the records are the loop's: not touched again. */
static struct rec *write_group(struct rec *r, struct written *ret_w,
                               int *ret_err)
{
    struct iovec iov[3 * GROUP_RECS_MAX + 1];
    unsigned n = 0;
    uint32_t off = r->off, end = off;
    assert(r->begins);
    *ret_w = (struct written){.seg = r->seg};
    do {
        unsigned had = n;
        if (!r->log_next || r->log_next->begins)
            log_rec_end(r->head);
        n += rec_iov(r, iov + n);
        while (had < n)
            end += (uint32_t)iov[had++].iov_len;
        ret_w->lsn = r->lsn;
        if (r->rec.flags & KT_RF_FUA)
            ret_w->fua_lsn = r->lsn;
        else
            ret_w->plain = true;
        r = r->log_next;
    } while (r && !r->begins);
    if (log_align(end) > end)
        iov[n++] =
            (struct iovec){(void *)(uintptr_t)io_zeros, log_align(end) - end};
    *ret_err = io_pwritev(ret_w->seg->fd, iov, n, off);
    return r;
}

static void publish(struct store *s, const struct written *w)
{
    pthread_mutex_lock(&s->mu);
    s->written_lsn = w->lsn;
    if (!w->seg->dirty) {
        assert(s->n_dirty < KT_ARRAY_LEN(s->dirty));
        w->seg->dirty = true;
        s->dirty[s->n_dirty++] = w->seg;
    }
    if (w->fua_lsn > s->sync_want)
        s->sync_want = w->fua_lsn;
    if (s->sync_want > s->durable_lsn)
        pthread_cond_signal(&s->sync_cv);
    /* The loop has nothing to do for a record that waits for its sync. */
    bool tell = w->plain && store_due(s);
    pthread_mutex_unlock(&s->mu);
    if (tell)
        store_tell(s);
}

void *log_main(void *arg)
{
    struct store *s = arg;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        while (!s->logq && !s->stop)
            pthread_cond_wait(&s->log_cv, &s->mu);
        struct rec *r = s->logq;
        if (!r)
            break;
        s->logq = NULL;
        s->logq_last = &s->logq;
        s->log_busy = true;
        pthread_mutex_unlock(&s->mu);
        while (r && !atomic_load(&s->fault)) {
            struct written w;
            int err;
            r = write_group(r, &w, &err);
            if (err)
                store_fault(s, err);
            else
                publish(s, &w);
        }
        pthread_mutex_lock(&s->mu);
        s->log_busy = false;
        bool tell = (atomic_load(&s->fault) || s->stop) && store_due(s);
        if (tell) {
            pthread_mutex_unlock(&s->mu);
            store_tell(s);
            pthread_mutex_lock(&s->mu);
        }
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

/* With mu held: one round. A failed fdatasync is never tried again (I17). */
static void sync_round(struct store *s)
{
    struct seg *segs[KT_ARRAY_LEN(s->dirty)];
    uint64_t upto = s->written_lsn;
    unsigned n = s->n_dirty;
    int err = 0;
    for (unsigned i = 0; i < n; i++) {
        segs[i] = s->dirty[i];
        segs[i]->dirty = false;
    }
    s->n_dirty = 0;
    s->sync_busy = true;
    pthread_mutex_unlock(&s->mu);
    for (unsigned i = 0; i < n && !err; i++)
        if (fdatasync(segs[i]->fd))
            err = -errno;
    if (!err)
        err = mark_synced(s, upto);
    if (err)
        store_fault(s, err);
    pthread_mutex_lock(&s->mu);
    s->sync_busy = false;
    if (!err)
        s->durable_lsn = upto;
    if (store_due(s)) {
        pthread_mutex_unlock(&s->mu);
        store_tell(s);
        pthread_mutex_lock(&s->mu);
    }
}

void *sync_main(void *arg)
{
    struct store *s = arg;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        bool fault = atomic_load(&s->fault);
        if (!fault && s->sync_want > s->durable_lsn &&
            s->written_lsn > s->durable_lsn)
            sync_round(s);
        else if (s->stop)
            break;
        else
            pthread_cond_wait(&s->sync_cv, &s->mu);
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}
