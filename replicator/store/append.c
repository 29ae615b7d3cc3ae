/* SPDX-License-Identifier: BSD-3-Clause */
/* Appends and syncs, from submission to completion.
 *
 * Held: appends in order of submission that wait for room: a log segment, a
 * slot being made ready, memory of the overlay. They have no lsn yet. A wait
 * ends because applying or preparing goes on by itself; when nothing can be
 * applied, memory is no reason to wait. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/disk.h"

static bool wants_buf(const struct kt_record *r)
{
    return r->op == KT_OP_RESET ||
           ((r->op == KT_OP_WRITE || r->op == KT_OP_BASE) &&
            !(r->flags & KT_RF_SKIP));
}

static void fly(struct rec *r)
{
    struct store_chain *c = r->chain;
    r->next = NULL;
    *c->flight_last = r;
    c->flight_last = &r->next;
    if (!c->active) {
        c->active = true;
        c->active_next = c->store->active;
        c->store->active = c;
    }
}

/* It completes with err, after those before it. */
static void refuse(struct rec *r, int err)
{
    r->lsn = 0;
    r->op->op.err = err;
    fly(r);
    if (!r->chain->store->in_poll)
        store_tell(r->chain->store);
}

static void encode(struct store *s, struct rec *r)
{
    struct log_rec_head h = {
        .uuid = s->uuid64,
        .seg = r->seg->no,
        .lsn = r->lsn,
        .incarnation = s->super.incarnation,
        .durable_lsn = s->durable_seen,
        .n_extents = r->chain->n_extents,
        .rec = r->rec,
    };
    if (r->buf) {
        h.n_sums = r->buf->n_sums;
        h.data_len = r->buf->data_len;
        if (h.n_sums)
            h.sums_sum = kt_sum64(r->buf->sums, 8 * (size_t)h.n_sums);
        else
            h.payload_sum = kt_sum64(r->buf->data, h.data_len);
    }
    log_rec_encode(&h, r->head);
}

/* What the record makes of its extent, and a slot for it. */
static int reserve(struct store *s, struct rec *r)
{
    if (r->rec.op == KT_OP_RESET)
        return 0;
    struct extent *e = chain_extent(r->chain, r->rec.extent);
    if (!e)
        return -ENOMEM;
    struct extent_meta tail = e->tail;
    bool freed = extent_frees(e);
    fold_extent(&tail, &r->rec);
    if (tail.alloc && !e->tail.alloc) {
        int err = slots_reserve(s, e);
        if (err)
            return err;
        r->takes = true;
        e->takes++;
    }
    e->tail = tail;
    s->slots.freeing += extent_frees(e);
    s->slots.freeing -= freed;
    return 0;
}

/* Decides about it, in order of submission: 0; -EAGAIN, ask again; or why it
 * is refused. From here on its chain counts it: a slot it takes is no longer
 * set aside, even while it waits for room in the log. */
static int admit(struct store *s, struct rec *r)
{
    struct store_chain *c = r->chain;
    if (r->rec.chain != c->id || fold_invalid(&r->rec, r->buf, c->n_extents))
        return KT_E_INVALID;
    int err = fold_follows(&r->rec, c->tail);
    if (!err)
        err = reserve(s, r);
    if (!err && (fold_is_history(&r->rec) || r->rec.op == KT_OP_RESET))
        c->tail = r->rec.id;
    return err;
}

/* False: there is no room now. */
static bool place(struct store *s, struct rec *r)
{
    uint32_t bytes = log_rec_bytes(r->buf ? r->buf->n_sums : 0,
                                   r->buf ? r->buf->data_len : 0);
    if (r->op->op.err) {
        refuse(r, r->op->op.err);
        return true;
    }
    if (s->overlay_bytes > OVERLAY_BYTES_MAX && apply_possible(s)) {
        apply_want(s);
        return false;
    }
    if (!seg_room(s, bytes))
        return false;
    r->seg = s->cur;
    r->lsn = s->next_lsn++;
    s->cur->last_lsn = r->lsn;
    encode(s, r);
    fly(r);
    log_write(s, r, bytes);
    return true;
}

/* False: it has to wait. */
static bool submit(struct store *s, struct rec *r)
{
    if (!r->admitted) {
        int err = admit(s, r);
        if (err == -EAGAIN)
            return false;
        r->admitted = true;
        r->op->op.err = err;
    }
    return place(s, r);
}

void append_retry_held(struct store *s)
{
    struct rec *r;
    while (!s->err && (r = s->held)) {
        struct rec *next = r->log_next;
        r->log_next = NULL;
        if (!submit(s, r)) {
            r->log_next = next;
            return;
        }
        if (!(s->held = next))
            s->held_last = &s->held;
    }
}

static void hold(struct store *s, struct rec *r)
{
    /* Admitted now unless one before it is not. */
    if (!r->admitted && (!s->held || s->held_admitted)) {
        int err = admit(s, r);
        r->admitted = err != -EAGAIN;
        r->op->op.err = r->admitted ? err : 0;
    }
    s->held_admitted = r->admitted;
    r->log_next = NULL;
    *s->held_last = r;
    s->held_last = &r->log_next;
}

void store_append(struct store *s, struct store_append *q)
{
    op_start(s, &q->op, STORE_APPEND);
    if (s->err) {
        op_ready(s, &q->op, KT_E_FAULTY);
        return;
    }
    struct rec *r = rec_new(s);
    if (!r) {
        op_ready(s, &q->op, -ENOMEM);
        return;
    }
    r->op = q;
    r->chain = q->chain;
    r->rec = q->rec;
    r->buf = wants_buf(&q->rec) ? kt_buf_ref(q->buf) : NULL;
    if (s->held || !submit(s, r))
        hold(s, r);
}

/* ---- completion ---- */

static bool is_written(const struct store *s, const struct rec *r)
{
    if (r->lsn == 0)
        return true;
    return r->lsn <= s->written_seen &&
           (!(r->rec.flags & KT_RF_FUA) || r->lsn <= s->durable_seen);
}

static void complete_flight(struct store *s, struct store_chain *c)
{
    while (c->flight && is_written(s, c->flight)) {
        struct rec *r = c->flight;
        struct store_op *op = &r->op->op;
        if (!(c->flight = r->next))
            c->flight_last = &c->flight;
        r->op = NULL;
        if (r->lsn == 0) {
            op_ready(s, op, op->err);
            rec_free(s, r);
            continue;
        }
        int err = overlay_fold(c, r);
        if (err)
            store_fault(s, err);
        op_ready(s, op, err ? KT_E_FAULTY : 0);
    }
}

void append_poll(struct store *s)
{
    struct store_chain **at = &s->active, *c;
    while ((c = *at)) {
        complete_flight(s, c);
        if (c->flight) {
            at = &c->active_next;
        } else {
            c->active = false;
            *at = c->active_next;
        }
    }
    while (s->syncs.first && s->syncs.first->tag[0] <= s->durable_seen) {
        struct store_sync *q = (struct store_sync *)store_queue_pop(&s->syncs);
        q->ret_durable = chain_durable(q->chain);
        op_ready(s, &q->op, 0);
    }
    if (s->eager_bytes > APPLY_BYTES_EAGER)
        apply_want(s);
}

static void fail_rec(struct store *s, struct rec *r)
{
    op_ready(s, &r->op->op, KT_E_FAULTY);
    r->op = NULL;
    rec_free(s, r);
}

/* The log thread touches none of them any more. */
void append_fail_all(struct store *s)
{
    for (struct store_chain *c = s->active; c; c = c->active_next) {
        struct rec *r;
        while ((r = c->flight)) {
            c->flight = r->next;
            fail_rec(s, r);
        }
        c->flight_last = &c->flight;
        c->active = false;
    }
    s->active = NULL;
    struct rec *r;
    while ((r = s->held)) {
        s->held = r->log_next;
        fail_rec(s, r);
    }
    s->held_last = &s->held;
    while (s->syncs.first)
        op_ready(s, store_queue_pop(&s->syncs), KT_E_FAULTY);
}

void store_sync(struct store *s, struct store_sync *q)
{
    op_start(s, &q->op, STORE_SYNC);
    if (s->err) {
        op_ready(s, &q->op, KT_E_FAULTY);
        return;
    }
    q->op.tag[0] = s->written_seen;
    if (s->written_seen <= s->durable_seen) {
        q->ret_durable = chain_durable(q->chain);
        op_ready(s, &q->op, 0);
        return;
    }
    store_queue_push(&s->syncs, &q->op);
    log_sync(s, s->written_seen);
}

void store_acked(struct store *s, struct store_chain *c, uint64_t seq)
{
    (void)s;
    c->acked = kt_max_u64(c->acked, seq);
}
