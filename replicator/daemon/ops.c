/* SPDX-License-Identifier: BSD-3-Clause */
/* Store operations under way: their memory, and what they tell the core. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

#define FREE_BYTES (512u << 10) /* kept of each kind */

static const uint32_t pool_bytes[POOLS] = {
    [POOL_APPEND] = sizeof(struct op_append),
    [POOL_SYNC] = sizeof(struct op_sync),
    [POOL_SAVE] = sizeof(struct op_save),
    [POOL_READ] = sizeof(struct op_read),
    [POOL_SUMS] = sizeof(struct op_sums),
    [POOL_DIGEST] = sizeof(struct op_digest),
    [POOL_LOG] = sizeof(struct op_log),
    [POOL_DROP] = sizeof(struct op_drop),
    [POOL_MEND] = sizeof(struct op_mend),
    [POOL_SCRUB] = sizeof(struct op_scrub),
};

void *repl_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (!p) {
        kt_log(KT_LOG_ERROR, "out_of_memory", "bytes=%zu", size);
        abort();
    }
    return p;
}

struct op *ops_new(struct rchain *rc, enum pool pool)
{
    struct repl *n = rc->n;
    struct op *o = n->free_ops[pool];
    if (o) {
        n->free_ops[pool] = o->next;
        n->n_free[pool]--;
        memset(o, 0, pool_bytes[pool]);
    } else {
        o = repl_alloc(pool_bytes[pool]);
    }
    o->rc = rc;
    o->pool = (uint8_t)pool;
    if (pool != POOL_DROP) /* which waits for all the others */
        rc->ops++;
    return o;
}

void ops_free(struct op *o)
{
    struct rchain *rc = o->rc;
    struct repl *n = rc->n;
    uint8_t pool = o->pool;
    kt_buf_unref(o->buf);
    if ((n->n_free[pool] + 1) * (uint64_t)pool_bytes[pool] < FREE_BYTES) {
        o->next = n->free_ops[pool];
        n->free_ops[pool] = o;
        n->n_free[pool]++;
    } else {
        free(o);
    }
    if (pool != POOL_DROP)
        chains_op_done(rc);
}

void ops_finish(struct op *o, int err)
{
    struct repl *n = o->rc->n;
    o->err = err;
    if (!n->stepping) {
        o->deliver(o);
        return;
    }
    o->next = NULL;
    *n->late_end = o;
    n->late_end = &o->next;
}

void ops_drain(struct repl *n)
{
    if (n->draining)
        return;
    n->draining = true;
    while (n->late) {
        struct op *o = n->late;
        n->late = o->next;
        if (!n->late)
            n->late_end = &n->late;
        o->deliver(o);
    }
    n->draining = false;
}

void ops_free_all(struct repl *n)
{
    for (unsigned i = 0; i < POOLS; i++) {
        while (n->free_ops[i]) {
            struct op *o = n->free_ops[i];
            n->free_ops[i] = o->next;
            free(o);
        }
    }
}

/* ---- append ---- */

/* Payload that is in no ring, so nobody else counts it. */
static uint64_t copy_bytes(const struct op_append *p)
{
    return p->r.rec.op >= KT_OP_COPY_START && p->o.buf ? p->o.buf->data_len : 0;
}

static void append_deliver(struct op *o)
{
    struct op_append *p = kt_container_of(o, struct op_append, o);
    struct rchain *rc = o->rc;
    struct chain_event ev = {.type = CHAIN_EV_APPENDED,
                             .tag = o->tag,
                             .id = p->r.rec.id,
                             .err = o->err};
    rc->n->held -= copy_bytes(p);
    chains_step(rc, &ev);
    ops_free(o);
}

static void append_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_append, r.op)->o, err);
}

void ops_append(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = ops_new(rc, POOL_APPEND);
    struct op_append *p = kt_container_of(o, struct op_append, o);
    if (a->hold)
        kt_buf_ref(a->buf);
    o->deliver = append_deliver;
    o->tag = a->tag;
    o->buf = kt_buf_ref(a->buf);
    p->r.op.done = append_cb;
    p->r.chain = rc->sc;
    p->r.rec = a->rec;
    p->r.buf = a->buf;
    rc->n->held += copy_bytes(p);
    store_append(rc->n->store, &p->r);
}

/* ---- sync, save ---- */

static void sync_deliver(struct op *o)
{
    struct op_sync *p = kt_container_of(o, struct op_sync, o);
    struct chain_event ev = {.type = CHAIN_EV_SYNCED,
                             .err = o->err,
                             .durable = o->err ? 0 : p->r.ret_durable};
    chains_step(o->rc, &ev);
    ops_free(o);
}

static void sync_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_sync, r.op)->o, err);
}

void ops_sync(struct rchain *rc)
{
    struct op *o = ops_new(rc, POOL_SYNC);
    struct op_sync *p = kt_container_of(o, struct op_sync, o);
    o->deliver = sync_deliver;
    p->r.op.done = sync_cb;
    p->r.chain = rc->sc;
    store_sync(rc->n->store, &p->r);
}

static void save_deliver(struct op *o)
{
    struct chain_event ev = {
        .type = CHAIN_EV_SAVED, .err = o->err, .promised = o->tag};
    chains_step(o->rc, &ev);
    ops_free(o);
}

static void save_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_save, r.op)->o, err);
}

void ops_save(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = ops_new(rc, POOL_SAVE);
    struct op_save *p = kt_container_of(o, struct op_save, o);
    o->deliver = save_deliver;
    o->tag = a->promised;
    p->r.op.done = save_cb;
    p->r.chain = rc->sc;
    p->r.promised = a->promised;
    p->r.whole = a->whole;
    p->r.cfg = a->cfg;
    store_save(rc->n->store, &p->r);
    p->r.cfg = NULL; /* copied; the core's may change now */
}

/* ---- what a resync reads ---- */

static void sums_deliver(struct op *o)
{
    struct op_sums *p = kt_container_of(o, struct op_sums, o);
    struct chain_event ev = {.type = CHAIN_EV_SUMS,
                             .err = o->err,
                             .sync_id = o->sync_id,
                             .extent = o->extent,
                             .ext_state = p->r.ret_state,
                             .ext_id = p->r.ret_id};
    if (o->err == 0) {
        o->buf = ev.buf = kt_buf_new(0, KT_EXTENT_SECTORS);
        if (o->buf)
            memcpy(o->buf->sums, p->r.ret_sums, sizeof(p->r.ret_sums));
        else
            ev.err = -ENOMEM;
    }
    chains_step(o->rc, &ev);
    ops_free(o);
}

static void sums_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_sums, r.op)->o, err);
}

void ops_sums(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = ops_new(rc, POOL_SUMS);
    struct op_sums *p = kt_container_of(o, struct op_sums, o);
    o->deliver = sums_deliver;
    o->sync_id = a->sync_id;
    o->extent = a->extent;
    p->r.op.done = sums_cb;
    p->r.chain = rc->sc;
    p->r.extent = a->extent;
    store_sums(rc->n->store, &p->r);
}

static void base_deliver(struct op *o)
{
    struct op_read *p = kt_container_of(o, struct op_read, o);
    struct chain_event ev = {.type = CHAIN_EV_BASE,
                             .err = o->err,
                             .sync_id = o->sync_id,
                             .extent = o->extent,
                             .off = o->off,
                             .len = o->len};
    if (o->err == 0)
        o->buf = ev.buf = p->r.ret_buf;
    chains_step(o->rc, &ev);
    ops_free(o);
}

static void base_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_read, r.op)->o, err);
}

void ops_base(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = ops_new(rc, POOL_READ);
    struct op_read *p = kt_container_of(o, struct op_read, o);
    o->deliver = base_deliver;
    o->sync_id = a->sync_id;
    o->extent = p->r.extent = a->extent;
    o->off = p->r.off = a->off;
    o->len = p->r.len = a->len;
    p->r.op.done = base_cb;
    p->r.chain = rc->sc;
    p->r.ret_buf = NULL;
    store_read(rc->n->store, &p->r);
}

static void rows_deliver(struct op *o)
{
    struct op_digest *p = kt_container_of(o, struct op_digest, o);
    struct chain_event ev = {.type = CHAIN_EV_ROWS,
                             .err = o->err,
                             .sync_id = o->sync_id,
                             .first = o->first,
                             .rows = p->rows};
    if (o->err == 0)
        ev.n_rows = serve_rows(p, &ev.next);
    chains_step(o->rc, &ev);
    ops_free(o);
}

static void rows_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_digest, r.op)->o, err);
}

void ops_rows(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = ops_new(rc, POOL_DIGEST);
    struct op_digest *p = kt_container_of(o, struct op_digest, o);
    o->deliver = rows_deliver;
    o->sync_id = a->sync_id;
    o->first = p->r.first = a->first;
    o->count = a->count;
    p->r.max_rows =
        a->count < KT_DIGEST_ROWS_MAX ? a->count : KT_DIGEST_ROWS_MAX;
    p->r.rows = p->rows;
    p->r.op.done = rows_cb;
    p->r.chain = rc->sc;
    store_digest(rc->n->store, &p->r);
}

static void log_deliver(struct op *o)
{
    struct op_log *p = kt_container_of(o, struct op_log, o);
    uint32_t n = o->err < 0 ? 0 : p->r.ret_n;
    struct chain_event ev = {.type = CHAIN_EV_LOG,
                             .err = o->err,
                             .sync_id = o->sync_id,
                             .n_recs = n,
                             .recs = p->r.recs,
                             .bufs = p->r.bufs};
    chains_step(o->rc, &ev);
    for (uint32_t i = 0; i < n; i++)
        kt_buf_unref(p->r.bufs[i]);
    ops_free(o);
}

static void log_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_log, r.op)->o, err);
}

void ops_log(struct rchain *rc, const struct chain_act *a)
{
    struct op *o = ops_new(rc, POOL_LOG);
    struct op_log *p = kt_container_of(o, struct op_log, o);
    o->deliver = log_deliver;
    o->sync_id = a->sync_id;
    p->r.op.done = log_cb;
    p->r.chain = rc->sc;
    p->r.after = a->after;
    p->r.max_records = a->count;
    store_log_read(rc->n->store, &p->r);
}
