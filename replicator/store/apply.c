/* SPDX-License-Identifier: BSD-3-Clause */
/* Applying: from the overlay to the slots, one batch at a time.
 *
 *  1. Wanted: by the tick, by much unapplied data, by a log without room. The
 *     log is synced up to here first.
 *  2. The loop takes from each chain the longest run of records that are
 *     durable and acked (I23), and works out what their extents become; only
 *     the newest bytes of each sector are written.
 *  3. The apply worker writes data and sums to the slots, syncs the files, then
 *     commits the rows: extents, chains, where replay begins.
 *  4. The loop forgets the records; slots that became free may be used again;
 *     so may log segments that hold nothing unapplied.
 * A crash in between leaves the log as it was: replay does it once more. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "replicator/store/disk.h"
#include "replicator/store/io.h"

/* Sectors of one slot, side by side in memory too. */
struct run {
    uint32_t slot, first, n;
    const uint8_t *data;
    const uint64_t *sums;
};

struct batch {
    struct job job;
    struct extent *exts, **exts_last;
    uint64_t bytes;
    struct run *runs;
    uint32_t n_runs, cap_runs;
    struct index_log log;
    /* rows, copied: the worker touches nothing of the loop's */
    struct index_ext *ext_rows;
    struct index_ckpt **ckpt_rows;
    uint32_t n_exts, n_ckpts;
};

/* ---- which records ---- */

static bool is_acked(const struct store_chain *c, const struct rec *r)
{
    return r->lsn <= c->acked_lsn || r->rec.id.seq <= c->acked;
}

bool apply_possible(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_chains && !s->batching; i++) {
        const struct store_chain *c = s->chains[i];
        if (c->recs && !c->dropping && is_acked(c, c->recs))
            return true;
    }
    return s->batching;
}

void apply_want(struct store *s)
{
    s->apply_lsn = s->written_seen;
    s->apply_wanted = true;
    if (s->durable_seen < s->apply_lsn)
        log_sync(s, s->apply_lsn);
}

static void take_extent(struct batch *b, struct extent *e, struct rec *r)
{
    e->batch_upto = r;
    if (e->in_batch)
        return;
    e->in_batch = true;
    e->batch_slot = e->slot;
    e->batch_next = NULL;
    *b->exts_last = e;
    b->exts_last = &e->batch_next;
    b->n_exts++;
}

static void take_chain(struct batch *b, struct store_chain *c)
{
    struct store *s = c->store;
    struct rec *r = c->recs;
    c->batch_ck = c->ck;
    for (; r && b->bytes < BATCH_BYTES_MAX; r = r->next) {
        if (r->lsn > s->durable_seen || !is_acked(c, r))
            break;
        fold_chain(&c->batch_ck.applied, &c->batch_ck.dedup, &r->rec, r->buf);
        c->batch_ck.lsn = r->lsn;
        c->in_batch = true;
        b->bytes += r->buf ? r->buf->data_len : 0;
        if (r->rec.op != KT_OP_RESET)
            take_extent(b, c->ext[r->rec.extent], r);
    }
    if (c->in_batch)
        b->n_ckpts++;
}

/* ---- what becomes of an extent ---- */

static int add_run(struct batch *b, struct run r)
{
    if (b->n_runs) { /* goes on where the last one ended? */
        struct run *l = &b->runs[b->n_runs - 1];
        if (l->slot == r.slot && l->first + l->n == r.first &&
            l->data + (size_t)l->n * KT_SECTOR_BYTES == r.data &&
            l->sums + l->n == r.sums) {
            l->n += r.n;
            return 0;
        }
    }
    if (b->n_runs == b->cap_runs) {
        uint32_t cap = b->cap_runs ? 2 * b->cap_runs : 256;
        void *p = realloc(b->runs, cap * sizeof(struct run));
        if (!p)
            return -ENOMEM;
        b->runs = p;
        b->cap_runs = cap;
    }
    b->runs[b->n_runs++] = r;
    return 0;
}

static void set_presence(uint8_t *p, uint32_t k, bool on)
{
    uint8_t bit = (uint8_t)(1u << (k % 8));
    p[k / 8] = on ? p[k / 8] | bit : p[k / 8] & (uint8_t)~bit;
}

/* Folds the batch's records of e; newest[k]: the last that changes sector
 * k. */
static void fold_batch(struct extent *e, struct rec **newest)
{
    e->batch_meta = e->slotm;
    memcpy(e->batch_presence, e->presence, sizeof(e->presence));
    for (struct rec *r = e->first;; r = r->ext_next) {
        fold_extent(&e->batch_meta, &r->rec);
        for (uint32_t i = 0; i < r->effect.n; i++)
            if (!fold_keeps(&r->rec, i))
                newest[r->effect.first + i] = r;
        e->takes -= r->takes;
        if (r == e->batch_upto)
            break;
    }
}

/* The slot e has after the batch. What was kept for it is used or, when
 * nothing that is on its way needs it, given back. */
static int plan_slot(struct store *s, struct extent *e)
{
    e->batch_slot = e->batch_meta.alloc ? e->slot : SLOT_NONE;
    if (e->batch_meta.alloc && e->slot == SLOT_NONE) {
        assert(e->reserved);
        e->batch_slot = slots_take(s);
        if (e->batch_slot == SLOT_NONE)
            return -ENOSPC;
        e->reserved = false;
    } else if (e->reserved && e->takes == 0) {
        e->reserved = false;
        s->slots.reserved--;
    }
    return 0;
}

static int plan_extent(struct batch *b, struct extent *e)
{
    struct store *s = e->chain->store;
    struct rec *newest[KT_EXTENT_SECTORS] = {NULL};
    bool freed = extent_frees(e);
    fold_batch(e, newest);
    int err = plan_slot(s, e);
    s->slots.freeing += extent_frees(e);
    s->slots.freeing -= freed;
    for (uint32_t k = 0; !err && k < KT_EXTENT_SECTORS; k++) {
        const uint8_t *data = NULL;
        struct rec *r = newest[k];
        if (!r)
            continue;
        bool present = e->batch_meta.alloc && rec_sector(r, k, &data);
        set_presence(e->batch_presence, k, present);
        if (present)
            err = add_run(
                b, (struct run){.slot = e->batch_slot,
                                .first = k,
                                .n = 1,
                                .data = data,
                                .sums = r->buf->sums + (k - r->effect.first)});
    }
    if (!e->batch_meta.alloc)
        memset(e->batch_presence, 0, sizeof(e->batch_presence));
    e->gen++;
    return err;
}

/* Where replay begins once this batch is in the index. */
static struct index_log plan_tail(const struct store *s)
{
    struct index_log l = {.seg = s->cur->no,
                          .off = log_next_off(s),
                          .lsn = s->next_lsn,
                          .durable_lsn = s->durable_seen};
    for (uint32_t i = 0; i < s->n_chains; i++) {
        const struct store_chain *c = s->chains[i];
        const struct rec *r = c->recs;
        while (r && c->in_batch && r->lsn <= c->batch_ck.lsn)
            r = r->next;
        if (!r)
            r = c->flight;
        while (r && r->lsn == 0)
            r = r->next;
        if (r && r->lsn < l.lsn) {
            l.lsn = r->lsn;
            l.seg = r->seg->no;
            l.off = r->off;
        }
    }
    return l;
}

static int plan_rows(struct store *s, struct batch *b)
{
    uint32_t n = 0;
    b->ext_rows = calloc(b->n_exts + 1, sizeof(*b->ext_rows));
    b->ckpt_rows = calloc(b->n_ckpts + 1, sizeof(struct index_ckpt *));
    if (!b->ext_rows || !b->ckpt_rows)
        return -ENOMEM;
    for (struct extent *e = b->exts; e; e = e->batch_next, n++) {
        b->ext_rows[n] = (struct index_ext){.chain = e->chain->id,
                                            .extent = e->no,
                                            .slot = e->batch_slot,
                                            .meta = e->batch_meta};
        memcpy(b->ext_rows[n].presence, e->batch_presence, KT_PRESENCE_BYTES);
    }
    n = 0;
    for (uint32_t i = 0; i < s->n_chains; i++)
        if (s->chains[i]->in_batch)
            b->ckpt_rows[n++] = &s->chains[i]->batch_ck;
    return 0;
}

/* ---- the worker's part ---- */

static int by_slot(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Writes neighbouring runs, n of them, with one call each for data and sums. */
static int write_runs(struct store *s, const struct run *r, unsigned n)
{
    struct iovec data[64], sums[64];
    uint32_t file = r->slot / SLOTS_PER_FILE, at = r->slot % SLOTS_PER_FILE;
    for (unsigned i = 0; i < n; i++) {
        data[i] = (struct iovec){(void *)(uintptr_t)r[i].data,
                                 (size_t)r[i].n * KT_SECTOR_BYTES};
        sums[i] =
            (struct iovec){(void *)(uintptr_t)r[i].sums, (size_t)r[i].n * 8};
    }
    int err = io_pwritev(s->slots.data_fd[file], data, n,
                         (uint64_t)at * KT_EXTENT_BYTES +
                             (uint64_t)r->first * KT_SECTOR_BYTES);
    if (!err)
        err =
            io_pwritev(s->slots.csum_fd[file], sums, n,
                       (uint64_t)at * CSUM_SLOT_BYTES + (uint64_t)r->first * 8);
    return err;
}

static int write_slots(struct store *s, struct batch *b)
{
    int err = 0;
    if (b->n_runs)
        qsort(b->runs, b->n_runs, sizeof(b->runs[0]), by_slot);
    for (uint32_t i = 0, n; i < b->n_runs && !err; i += n) {
        const struct run *r = &b->runs[i];
        for (n = 1; i + n < b->n_runs && n < 64; n++)
            if (r[n].slot != r->slot ||
                r[n].first != r[n - 1].first + r[n - 1].n)
                break;
        err = write_runs(s, r, n);
    }
    uint32_t synced = UINT32_MAX;
    for (uint32_t i = 0; i < b->n_runs && !err; i++) {
        uint32_t file = b->runs[i].slot / SLOTS_PER_FILE;
        if (file == synced)
            continue;
        synced = file;
        if (fdatasync(s->slots.data_fd[file]) ||
            fdatasync(s->slots.csum_fd[file]))
            err = -errno;
    }
    return err;
}

static int batch_run(struct job *j)
{
    struct batch *b = kt_container_of(j, struct batch, job);
    struct index *ix = j->store->index;
    int err = write_slots(j->store, b);
    if (!err)
        err = index_begin(ix);
    if (err)
        return err;
    for (uint32_t i = 0; i < b->n_exts && !err; i++)
        err = index_put_ext(ix, &b->ext_rows[i]);
    for (uint32_t i = 0; i < b->n_ckpts && !err; i++)
        err = index_put_ckpt(ix, b->ckpt_rows[i]);
    if (!err)
        err = index_put_log(ix, &b->log);
    if (err) {
        index_abort(ix);
        return err;
    }
    return index_commit(ix);
}

/* ---- back on the loop ---- */

static void settle_extent(struct store *s, struct extent *e)
{
    bool freed = extent_frees(e);
    if (e->slot != SLOT_NONE && e->batch_slot == SLOT_NONE) {
        slots_give(s, e->slot);
        e->reserved = e->takes > 0; /* a later record counts on it */
        s->slots.reserved += e->reserved;
    }
    e->slot = e->batch_slot;
    e->slotm = e->batch_meta;
    memcpy(e->presence, e->batch_presence, sizeof(e->presence));
    e->in_batch = false;
    s->slots.freeing += extent_frees(e);
    s->slots.freeing -= freed;
    e->batch_upto = NULL;
    e->gen++;
}

static void batch_free(struct batch *b)
{
    free(b->runs);
    free(b->ext_rows);
    free(b->ckpt_rows);
    free(b);
}

static void batch_done(struct job *j)
{
    struct store *s = j->store;
    struct batch *b = kt_container_of(j, struct batch, job);
    s->batching = false;
    for (struct extent *e = b->exts; e && !j->err; e = e->batch_next)
        settle_extent(s, e);
    for (uint32_t i = 0; i < s->n_chains; i++) {
        struct store_chain *c = s->chains[i];
        if (!c->in_batch)
            continue;
        c->in_batch = false;
        if (j->err)
            continue;
        c->ck = c->batch_ck;
        while (c->recs && c->recs->lsn <= c->ck.lsn)
            overlay_pop(c);
    }
    if (!j->err) {
        s->tail_lsn = b->log.lsn;
        seg_want_spare(s);
        append_retry_held(s);
        if (b->bytes >= BATCH_BYTES_MAX || s->held)
            apply_want(s);
    }
    batch_free(b);
}

static void batch_start(struct store *s)
{
    struct batch *b = calloc(1, sizeof(*b));
    if (!b) {
        store_fault(s, -ENOMEM);
        return;
    }
    b->exts_last = &b->exts;
    b->job.run = batch_run;
    b->job.done = batch_done;
    s->eager_bytes = 0;
    for (uint32_t i = 0; i < s->n_chains; i++) {
        /* Not always the same ones first. */
        struct store_chain *c = s->chains[(i + s->rotor) % s->n_chains];
        if (!c->dropping)
            take_chain(b, c);
    }
    s->rotor++;
    b->log = plan_tail(s);
    if (!b->n_ckpts && b->log.lsn == s->tail_lsn) {
        batch_free(b);
        return;
    }
    int err = 0;
    for (struct extent *e = b->exts; e && !err; e = e->batch_next)
        err = plan_extent(b, e);
    if (!err)
        err = plan_rows(s, b);
    if (err) {
        store_fault(s, err);
        batch_free(b);
        return;
    }
    s->batching = true;
    job_post(&s->apply, &b->job);
}

void apply_poll(struct store *s)
{
    if (!s->apply_wanted || s->batching || s->err ||
        s->durable_seen < s->apply_lsn)
        return;
    s->apply_wanted = false;
    batch_start(s);
}
