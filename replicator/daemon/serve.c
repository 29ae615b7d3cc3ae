/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers that are read from the store.
 *
 * READ    1. store_read  2. DATA. When the copy is damaged: mend.c puts it
 *         right, and from 1. again; or NAK (BADSUM), and the client asks
 *         another member
 * DIGEST  1. store_digest  2. DIGEST with the rows of the range asked for
 * STAT    1. an extent without a slot is a hole, said by the core's bitmap
 *         2. for any other, store_sums tells sector by sector
 *         3. STAT_OK when the range or the room for rows is used up
 * The asker may be gone by then: the answer is dropped. */
#include "replicator/daemon/repl.h"

#include <string.h>

#include "lib/base/cursor.h"

static struct conn *asker(const struct op *o)
{
    return conns_find(o->rc->n, o->conn);
}

static struct op *answer_new(struct rchain *rc, const struct chain_act *a,
                             enum pool pool)
{
    struct op *o = ops_new(rc, pool);
    o->conn = a->conn;
    o->req = a->msg.req;
    o->epoch = a->msg.epoch;
    return o;
}

static struct kt_msg answer_head(const struct op *o, uint8_t type)
{
    return (struct kt_msg){
        .type = type, .req = o->req, .chain = o->rc->c.id, .epoch = o->epoch};
}

static void answer_nak(const struct op *o, uint8_t re, int err)
{
    struct conn *cn = asker(o);
    struct kt_msg m = answer_head(o, re);
    if (err == KT_E_CORRUPT)
        err = KT_E_BADSUM;
    if (cn)
        conns_nak(cn, &m, err);
}

/* ---- READ ---- */

/* It was read in an epoch that is over: since then this copy may have become
 * a syncing one, whose content is of two times (I2). */
static bool moved_on(const struct op *o)
{
    const struct chain *c = &o->rc->c;
    return c->phase != CHAIN_ACTIVE || c->cfg.epoch != o->epoch;
}

static void read_deliver(struct op *o)
{
    struct op_read *p = kt_container_of(o, struct op_read, o);
    struct conn *cn = asker(o);
    /* Another replicator's own mending is no reason for one here. */
    if (o->err == KT_E_CORRUPT && cn && cn->role != KT_ROLE_REPLICATOR &&
        mend_start(p))
        return;
    o->rc->n->reading -= o->len;
    if (cn)
        cn->reading -= o->len;
    if (o->err == 0)
        o->buf = p->r.ret_buf;
    if (o->err < 0) {
        answer_nak(o, KT_MSG_READ, o->err);
    } else if (moved_on(o)) {
        answer_nak(o, KT_MSG_READ, KT_E_SEALED);
    } else {
        struct kt_msg m = answer_head(o, KT_MSG_DATA);
        m.u.data.extent = o->extent;
        m.u.data.off = o->off;
        m.u.data.len = o->len;
        m.u.data.seq = p->r.ret_seq;
        m.buf = o->buf;
        if (cn)
            conns_send(cn, &m);
    }
    ops_free(o);
}

static void read_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_read, r.op)->o, err);
}

void serve_read(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = answer_new(rc, a, POOL_READ);
    struct op_read *p = kt_container_of(o, struct op_read, o);
    o->deliver = read_deliver;
    o->extent = p->r.extent = a->msg.u.read.extent;
    o->off = p->r.off = a->msg.u.read.off;
    o->len = p->r.len = a->msg.u.read.len;
    p->r.op.done = read_cb;
    p->r.chain = rc->sc;
    p->r.ret_buf = NULL;
    struct conn *cn = asker(o);
    rc->n->reading += o->len;
    if (cn)
        cn->reading += o->len;
    store_read(rc->n->store, &p->r);
}

/* ---- DIGEST ---- */

uint32_t serve_rows(const struct op_digest *d, uint32_t *ret_next)
{
    uint64_t end = (uint64_t)d->o.first + d->o.count;
    uint32_t n = 0;
    while (n < d->r.ret_n && d->rows[n].extent < end)
        n++;
    *ret_next = n < d->r.ret_n ? d->rows[n].extent : d->r.ret_next;
    return n;
}

static void digest_deliver(struct op *o)
{
    struct op_digest *p = kt_container_of(o, struct op_digest, o);
    struct conn *cn = asker(o);
    if (o->err < 0) {
        answer_nak(o, KT_MSG_DIGEST_GET, o->err);
    } else if (cn) {
        struct kt_msg m = answer_head(o, KT_MSG_DIGEST);
        uint32_t rows = serve_rows(p, &m.u.digest.first);
        m.u.digest.count = rows;
        m.u.digest.at = p->r.ret_at;
        m.buf = o->buf = kt_buf_new(rows * KT_DIGEST_ROW_BYTES, 0);
        if (!m.buf) {
            answer_nak(o, KT_MSG_DIGEST_GET, KT_E_BUSY);
        } else {
            for (uint32_t i = 0; i < rows; i++)
                kt_digest_row_encode(&p->rows[i],
                                     m.buf->data + i * KT_DIGEST_ROW_BYTES);
            m.buf->data_len = rows * KT_DIGEST_ROW_BYTES;
            conns_send(cn, &m);
        }
    }
    ops_free(o);
}

static void digest_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_digest, r.op)->o, err);
}

void serve_digest(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = answer_new(rc, a, POOL_DIGEST);
    struct op_digest *p = kt_container_of(o, struct op_digest, o);
    o->deliver = digest_deliver;
    o->first = p->r.first = a->first;
    o->count = a->count;
    p->r.max_rows =
        o->count < KT_DIGEST_ROWS_MAX ? o->count : KT_DIGEST_ROWS_MAX;
    p->r.rows = p->rows;
    p->r.op.done = digest_cb;
    p->r.chain = rc->sc;
    store_digest(rc->n->store, &p->r);
}

/* ---- STAT ---- */

/* extent, off: where it stands; len: sectors left. The rows are in buf. */

enum { STAT_HOLE = 0, STAT_DATA = 1, STAT_ZERO = 2 };

/* Adds sectors of one kind; false when there is no room for another row. */
static bool stat_add(struct op *o, uint32_t kind, uint32_t sectors)
{
    uint8_t *at = o->buf->data + 4 * o->rows;
    struct kt_cur c;
    if (o->rows > 0) {
        c = kt_cur_r(at - 4, 4);
        uint32_t last = kt_get_u32(&c);
        if ((last & 3) == kind) {
            c = kt_cur_w(at - 4, 4);
            kt_put_u32(&c, last + (sectors << 2));
            return true;
        }
    }
    if (o->rows == KT_STAT_ROWS_MAX)
        return false;
    c = kt_cur_w(at, 4);
    kt_put_u32(&c, sectors << 2 | kind);
    o->rows++;
    return true;
}

static uint32_t stat_span(const struct op *o)
{
    uint32_t room = (KT_EXTENT_BYTES - o->off) / KT_SECTOR_BYTES;
    return o->len < room ? o->len : room;
}

static void stat_move(struct op *o, uint32_t sectors)
{
    o->len -= sectors;
    o->off += sectors * KT_SECTOR_BYTES;
    if (o->off == KT_EXTENT_BYTES) {
        o->off = 0;
        o->extent++;
    }
}

/* Takes in the sums of the present extent; false when the rows are full. */
static bool stat_fold(struct op_sums *p)
{
    struct op *o = &p->o;
    uint32_t span = stat_span(o), i = o->off / KT_SECTOR_BYTES;
    uint32_t empty = p->r.ret_state & KT_DIGEST_F_ALLOC ? STAT_ZERO : STAT_HOLE;
    while (span > 0) {
        uint32_t run = 1;
        bool data = p->r.ret_sums[i] != 0;
        while (run < span && (p->r.ret_sums[i + run] != 0) == data)
            run++;
        if (!stat_add(o, data ? (uint32_t)STAT_DATA : empty, run))
            return false;
        stat_move(o, run);
        i += run;
        span -= run;
    }
    return true;
}

static void stat_end(struct op *o, int err)
{
    struct conn *cn = asker(o);
    if (err < 0) {
        answer_nak(o, KT_MSG_STAT, err);
    } else if (cn) {
        struct kt_msg m = answer_head(o, KT_MSG_STAT_OK);
        m.u.stat_ok.rows = o->rows;
        o->buf->data_len = 4 * o->rows;
        m.buf = o->buf;
        conns_send(cn, &m);
    }
    ops_free(o);
}

/* Walks on until sums must be waited for, or the answer is complete. */
static void stat_walk(struct op_sums *p)
{
    struct op *o = &p->o;
    struct rchain *rc = o->rc;
    while (o->len > 0 && !rc->dropping && asker(o)) {
        uint32_t span = stat_span(o);
        if (!(rc->c.alloc[o->extent / 8] & 1u << o->extent % 8)) {
            if (!stat_add(o, STAT_HOLE, span))
                break;
            stat_move(o, span);
            continue;
        }
        p->r.extent = o->extent;
        o->asking = true;
        o->answered = false;
        store_sums(rc->n->store, &p->r);
        o->asking = false;
        if (!o->answered)
            return;
        if (o->err < 0) {
            stat_end(o, o->err);
            return;
        }
        if (!stat_fold(p))
            break;
    }
    stat_end(o, 0);
}

static void stat_deliver(struct op *o)
{
    struct op_sums *p = kt_container_of(o, struct op_sums, o);
    if (o->err < 0)
        stat_end(o, o->err);
    else if (!stat_fold(p))
        stat_end(o, 0);
    else
        stat_walk(p);
}

static void stat_cb(struct store_op *so, int err)
{
    struct op *o = &kt_container_of(so, struct op_sums, r.op)->o;
    o->answered = o->asking;
    if (o->asking)
        o->err = err;
    else
        ops_finish(o, err);
}

void serve_stat(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = answer_new(rc, a, POOL_SUMS);
    struct op_sums *p = kt_container_of(o, struct op_sums, o);
    o->deliver = stat_deliver;
    o->extent = a->msg.u.stat.extent;
    o->off = a->msg.u.stat.off;
    o->len = a->msg.u.stat.sectors;
    uint64_t room =
        (uint64_t)(KT_SEGMENT_EXTENTS_MAX - o->extent) * KT_EXTENT_SECTORS -
        o->off / KT_SECTOR_BYTES;
    if (o->extent >= KT_SEGMENT_EXTENTS_MAX || o->off >= KT_EXTENT_BYTES ||
        o->off % KT_SECTOR_BYTES || o->len > room) {
        stat_end(o, KT_E_INVALID);
        return;
    }
    p->r.op.done = stat_cb;
    p->r.chain = rc->sc;
    o->buf = kt_buf_new(4 * KT_STAT_ROWS_MAX, 0);
    if (!o->buf)
        stat_end(o, KT_E_BUSY);
    else
        stat_walk(p);
}
