/* SPDX-License-Identifier: BSD-3-Clause */
/* The replicator's shell: operations of the store, which complete one by one
 * as the simulated disk pleases, answers read from the store, and EQ_PUSH. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replicator/store/ops.h"
#include "tests/sim/sim.h"

#define PUSH_WAIT_US (2000u * SIM_MS)

struct sop {
    struct sop *prev, *next;
    struct schain *sc;
    uint8_t kind; /* enum store_kind */
    uint8_t act;  /* enum chain_act_type */
    uint64_t conn, req, epoch, tag, sync_id;
    uint32_t extent, off, len, first, count;
    struct kt_buf *buf;
    struct spush *push;
    struct kt_digest_row *rows;
    union {
        struct store_op op;
        struct store_append append;
        struct store_sync sync;
        struct store_save save;
        struct store_read read;
        struct store_sums sums;
        struct store_digest digest;
        struct store_log_read log;
        struct store_drop drop;
    } u;
};

struct spush {
    struct spush *next;
    struct schain *sc;
    struct kt_eq_target target;
    int to;
    uint64_t epoch, at, deadline;
    struct kt_rid upto;
    bool busy, started, dead;
};

static void done(struct store_op *op, int err);

static struct sop *op_new(struct schain *sc, uint8_t kind, uint8_t act)
{
    static const size_t sizes[] = {
        [STORE_SAVE] = sizeof(struct store_save),
        [STORE_APPEND] = sizeof(struct store_append),
        [STORE_SYNC] = sizeof(struct store_sync),
        [STORE_READ] = sizeof(struct store_read),
        [STORE_SUMS] = sizeof(struct store_sums),
        [STORE_DIGEST] = sizeof(struct store_digest),
        [STORE_LOG_READ] = sizeof(struct store_log_read),
        [STORE_DROP] = sizeof(struct store_drop),
    };
    size_t head = offsetof(struct sop, u);
    struct sop *o = malloc(head + sizes[kind]);
    struct snode *n = sc->n;
    assert(o);
    memset(o, 0, head + sizeof(struct store_op));
    o->sc = sc;
    o->kind = kind;
    o->act = act;
    o->u.op.done = done;
    o->next = n->ops;
    if (n->ops)
        n->ops->prev = o;
    n->ops = o;
    return o;
}

static void op_free(struct sop *o)
{
    struct snode *n = o->sc->n;
    if (o->next)
        o->next->prev = o->prev;
    if (o->prev)
        o->prev->next = o->next;
    else
        n->ops = o->next;
    kt_buf_unref(o->buf);
    free(o->rows);
    free(o);
}

void ops_free_all(struct snode *n)
{
    while (n->ops)
        op_free(n->ops);
    while (n->pushes) {
        struct spush *p = n->pushes;
        n->pushes = p->next;
        free(p);
    }
    n->disk_due = false;
}

/* ---- the disk's own time ---- */

static void disk_turn(struct world *w, uint64_t index, uint64_t life,
                      uint64_t c)
{
    struct snode *n = &w->nodes[index];
    (void)c;
    if (!w->procs[n->ep].alive || w->procs[n->ep].life != life)
        return;
    n->disk_due = false;
    if (n->stuck_us)
        return;
    if (!world_runs(w, n->ep)) {
        n->disk_due = true;
        world_at(w, 10 * SIM_MS, disk_turn, index, life, 0);
        return;
    }
    unsigned pending = store_mem_pending(n->store);
    if (pending) {
        /* Mostly in order, and several at a time, as disks do. */
        unsigned many = 1 + (unsigned)rng_below(&w->disk, 4);
        for (unsigned i = 0; i < many && pending; i++) {
            uint64_t k =
                rng_chance(&w->disk, 300) ? rng_below(&w->disk, pending) : 0;
            store_mem_complete(n->store, (unsigned)k);
            pending = store_mem_pending(n->store);
        }
    }
    store_poll(n->store);
    ops_schedule(n);
}

void ops_schedule(struct snode *n)
{
    struct world *w = n->w;
    if (n->disk_due || n->stuck_us || !n->store ||
        (!n->ops && !store_mem_due(n->store)))
        return;
    uint64_t us = 5 + rng_exp(&w->disk, w->p.disk_us);
    if (n->slow_until > w->now)
        us *= 100;
    n->disk_due = true;
    world_at(w, us, disk_turn, n->index, w->procs[n->ep].life, 0);
}

/* ---- completions that the core hears of ---- */

static void tell_append(struct sop *o, int err)
{
    struct chain_event ev = {.type = CHAIN_EV_APPENDED,
                             .tag = o->tag,
                             .id = o->u.append.rec.id,
                             .err = err};
    node_step(o->sc, &ev);
}

static void tell_sums(struct sop *o, int err)
{
    const struct store_sums *r = &o->u.sums;
    struct chain_event ev = {.type = CHAIN_EV_SUMS,
                             .err = err,
                             .sync_id = o->sync_id,
                             .extent = o->extent,
                             .ext_state = r->ret_state,
                             .ext_id = r->ret_id};
    if (err == 0) {
        o->buf = ev.buf = kt_buf_new(0, KT_EXTENT_SECTORS);
        assert(o->buf);
        memcpy(o->buf->sums, r->ret_sums, sizeof(r->ret_sums));
    }
    node_step(o->sc, &ev);
}

static uint32_t rows_within(const struct sop *o, uint32_t *ret_next)
{
    const struct store_digest *r = &o->u.digest;
    uint64_t end = (uint64_t)o->first + o->count;
    uint32_t n = 0;
    while (n < r->ret_n && o->rows[n].extent < end)
        n++;
    *ret_next = n < r->ret_n ? o->rows[n].extent : r->ret_next;
    return n;
}

static void tell_rows(struct sop *o, int err)
{
    struct chain_event ev = {.type = CHAIN_EV_ROWS,
                             .err = err,
                             .sync_id = o->sync_id,
                             .first = o->first,
                             .rows = o->rows};
    if (err == 0)
        ev.n_rows = rows_within(o, &ev.next);
    node_step(o->sc, &ev);
}

static void tell_base(struct sop *o, int err)
{
    struct chain_event ev = {.type = CHAIN_EV_BASE,
                             .err = err,
                             .sync_id = o->sync_id,
                             .extent = o->extent,
                             .off = o->off,
                             .len = o->len};
    if (err == 0)
        o->buf = ev.buf = o->u.read.ret_buf;
    node_step(o->sc, &ev);
}

static void tell_log(struct sop *o, int err)
{
    struct store_log_read *r = &o->u.log;
    struct chain_event ev = {.type = CHAIN_EV_LOG,
                             .err = err,
                             .sync_id = o->sync_id,
                             .n_recs = err < 0 ? 0 : r->ret_n,
                             .recs = r->recs,
                             .bufs = r->bufs};
    if (!err && rng_chance(&o->sc->n->w->disk, o->sc->n->w->p.log_gap))
        ev.err = -ENODATA;
    node_step(o->sc, &ev);
    for (uint32_t i = 0; i < ev.n_recs; i++)
        kt_buf_unref(r->bufs[i]);
}

/* ---- answers ---- */

static struct kt_msg answer(const struct sop *o, uint8_t type)
{
    return (struct kt_msg){
        .type = type, .req = o->req, .chain = o->sc->c.id, .epoch = o->epoch};
}

static void answer_nak(struct sop *o, uint8_t re, int err)
{
    struct snode *n = o->sc->n;
    struct kt_msg m = answer(o, KT_MSG_NAK);
    m.u.nak.err = err == KT_E_CORRUPT ? KT_E_BADSUM : err;
    m.u.nak.re = re;
    net_send(n->w, o->conn, n->ep, &m, NULL);
}

static void answer_read(struct sop *o, int err)
{
    struct snode *n = o->sc->n;
    if (err < 0) {
        answer_nak(o, KT_MSG_READ, err);
        return;
    }
    o->buf = o->u.read.ret_buf;
    if (o->sc->c.phase != CHAIN_ACTIVE || o->sc->c.cfg.epoch != o->epoch) {
        answer_nak(o, KT_MSG_READ, KT_E_SEALED);
        return;
    }
    struct kt_msg m = answer(o, KT_MSG_DATA);
    m.u.data.extent = o->extent;
    m.u.data.off = o->off;
    m.u.data.len = o->len;
    m.u.data.seq = o->u.read.ret_seq;
    m.buf = o->buf;
    struct grec *g = ghost_read(o->sc, &o->u.read);
    net_send(n->w, o->conn, n->ep, &m, g);
}

static void answer_digest(struct sop *o, int err)
{
    struct snode *n = o->sc->n;
    if (err < 0) {
        answer_nak(o, KT_MSG_DIGEST_GET, err);
        return;
    }
    struct kt_msg m = answer(o, KT_MSG_DIGEST);
    uint32_t rows = rows_within(o, &m.u.digest.first);
    m.u.digest.count = rows;
    m.u.digest.at = o->u.digest.ret_at;
    m.buf = o->buf = kt_buf_new(rows * KT_DIGEST_ROW_BYTES, 0);
    assert(m.buf);
    for (uint32_t i = 0; i < rows; i++)
        kt_digest_row_encode(&o->rows[i],
                             m.buf->data + i * KT_DIGEST_ROW_BYTES);
    m.buf->data_len = rows * KT_DIGEST_ROW_BYTES;
    net_send(n->w, o->conn, n->ep, &m, NULL);
}

static void push_read(struct sop *o, int err);

static void done(struct store_op *op, int err)
{
    struct sop *o = kt_container_of(op, struct sop, u.op);
    struct chain_event ev = {.err = err};
    switch (o->kind) {
    case STORE_APPEND:
        tell_append(o, err);
        break;
    case STORE_SYNC:
        ev.type = CHAIN_EV_SYNCED;
        ev.durable = err ? 0 : o->u.sync.ret_durable;
        node_step(o->sc, &ev);
        break;
    case STORE_SAVE:
        ev.type = CHAIN_EV_SAVED;
        ev.promised = o->tag;
        node_step(o->sc, &ev);
        break;
    case STORE_SUMS:
        tell_sums(o, err);
        break;
    case STORE_READ:
        if (o->act == CHAIN_ACT_READ)
            answer_read(o, err);
        else
            tell_base(o, err);
        break;
    case STORE_DIGEST:
        if (o->act == CHAIN_ACT_DIGEST)
            answer_digest(o, err);
        else
            tell_rows(o, err);
        break;
    case STORE_DROP:
        node_dropped(o->sc, err);
        break;
    default:
        if (o->act == CHAIN_ACT_LOG_READ)
            tell_log(o, err);
        else
            push_read(o, err);
        break;
    }
    struct schain *sc = o->sc;
    bool was_drop = o->kind == STORE_DROP;
    op_free(o);
    if (sc->dropping && !was_drop)
        ops_drop(sc);
}

void ops_drop(struct schain *sc)
{
    struct snode *n = sc->n;
    for (struct spush *p = n->pushes; p; p = p->next)
        p->dead = p->dead || p->sc == sc;
    for (const struct sop *o = n->ops; o; o = o->next) {
        if (o->sc == sc)
            return;
    }
    for (const struct spush *p = n->pushes; p; p = p->next) {
        if (p->sc == sc)
            return; /* until ops_push_run is there again */
    }
    struct sop *o = op_new(sc, STORE_DROP, 0);
    o->u.drop.chain = sc->sc;
    store_drop(n->store, &o->u.drop);
    ops_schedule(n);
}

/* ---- starting them ---- */

static void start_append(struct schain *sc, const struct chain_act *a)
{
    struct snode *n = sc->n;
    struct sop *o = op_new(sc, STORE_APPEND, CHAIN_ACT_APPEND);
    if (a->hold)
        kt_buf_ref(a->buf);
    o->tag = a->tag;
    o->u.append.chain = sc->sc;
    o->u.append.rec = a->rec;
    o->u.append.buf = a->buf;
    o->buf = kt_buf_ref(a->buf);
    if (a->rec.op < KT_OP_COPY_START)
        ghost_append(n, (unsigned)(a->rec.chain - 1), &a->rec, a->buf);
    store_append(n->store, &o->u.append);
}

static void start_sync(struct schain *sc)
{
    struct sop *o = op_new(sc, STORE_SYNC, CHAIN_ACT_SYNC);
    o->u.sync.chain = sc->sc;
    store_sync(sc->n->store, &o->u.sync);
}

static void start_read(struct schain *sc, const struct chain_act *a)
{
    bool client = a->type == CHAIN_ACT_READ;
    struct sop *o = op_new(sc, STORE_READ, a->type);
    o->conn = a->conn;
    o->req = a->msg.req;
    o->epoch = a->msg.epoch;
    o->sync_id = a->sync_id;
    o->extent = client ? a->msg.u.read.extent : a->extent;
    o->off = client ? a->msg.u.read.off : a->off;
    o->len = client ? a->msg.u.read.len : a->len;
    o->u.read.chain = sc->sc;
    o->u.read.extent = o->extent;
    o->u.read.off = o->off;
    o->u.read.len = o->len;
    o->u.read.ret_buf = NULL;
    store_read(sc->n->store, &o->u.read);
}

#define SIM_ROWS_MAX 2u

static void start_digest(struct schain *sc, const struct chain_act *a)
{
    bool asked = a->type == CHAIN_ACT_DIGEST;
    struct sop *o = op_new(sc, STORE_DIGEST, a->type);
    o->conn = a->conn;
    o->req = a->msg.req;
    o->epoch = a->msg.epoch;
    o->sync_id = a->sync_id;
    o->first = asked ? a->msg.u.digest.first : a->first;
    o->count = asked ? a->msg.u.digest.count : a->count;
    /* A store may answer with fewer rows than it was asked for: here always,
     * as a wide chain is out of a small world's reach. */
    uint32_t max = o->count < SIM_ROWS_MAX ? o->count : SIM_ROWS_MAX;
    o->rows = calloc(max ? max : 1, sizeof(*o->rows));
    assert(o->rows);
    o->u.digest.chain = sc->sc;
    o->u.digest.first = o->first;
    o->u.digest.max_rows = max;
    o->u.digest.rows = o->rows;
    store_digest(sc->n->store, &o->u.digest);
}

/* Fewer than asked for, so that the end of a suffix is not its beginning. */
#define SIM_LOG_RECORDS 4u

void ops_act(struct schain *sc, const struct chain_act *a)
{
    struct store *s = sc->n->store;
    struct sop *o;
    switch (a->type) {
    case CHAIN_ACT_APPEND:
        start_append(sc, a);
        break;
    case CHAIN_ACT_SYNC:
        start_sync(sc);
        break;
    case CHAIN_ACT_SAVE:
        o = op_new(sc, STORE_SAVE, a->type);
        o->tag = a->promised;
        o->u.save.chain = sc->sc;
        o->u.save.promised = a->promised;
        o->u.save.whole = a->whole;
        o->u.save.cfg = a->cfg;
        store_save(s, &o->u.save);
        break;
    case CHAIN_ACT_READ:
    case CHAIN_ACT_BASE_READ:
        start_read(sc, a);
        break;
    case CHAIN_ACT_DIGEST:
    case CHAIN_ACT_ROWS:
        start_digest(sc, a);
        break;
    case CHAIN_ACT_SUMS:
        o = op_new(sc, STORE_SUMS, a->type);
        o->sync_id = a->sync_id;
        o->extent = a->extent;
        o->u.sums.chain = sc->sc;
        o->u.sums.extent = a->extent;
        store_sums(s, &o->u.sums);
        break;
    case CHAIN_ACT_LOG_READ:
        o = op_new(sc, STORE_LOG_READ, a->type);
        o->sync_id = a->sync_id;
        o->u.log.chain = sc->sc;
        o->u.log.after = a->after;
        o->u.log.max_records = SIM_LOG_RECORDS;
        o->u.log.ret_n = 0;
        store_log_read(s, &o->u.log);
        break;
    default:
        sim_fail(sc->n->w, "action %u of the core is carried out by nobody",
                 a->type);
    }
}

/* ---- EQ_PUSH ---- */

static void push_end(struct spush *p, int err)
{
    struct schain *sc = p->sc;
    struct snode *n = sc->n;
    struct chain_event ev = {
        .type = CHAIN_EV_PUSHED, .peer = p->target.store, .err = err};
    struct spush **at = &n->pushes;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    bool dead = p->dead;
    free(p);
    if (sc->dropping)
        ops_drop(sc);
    else if (!dead)
        node_step(sc, &ev);
}

static struct kt_msg eqdata(const struct spush *p)
{
    struct kt_msg m = {
        .type = KT_MSG_EQDATA, .chain = p->sc->c.id, .epoch = p->epoch};
    m.u.eqdata.incarnation = p->target.incarnation;
    m.u.eqdata.upto = p->upto;
    return m;
}

/* True when p is gone. */
static bool push_advance(struct spush *p)
{
    struct snode *n = p->sc->n;
    bool up =
        p->to >= 0 && node_link(n, p->to, KT_CLASS_DATA)->state == SLINK_UP;
    if (p->busy)
        return false;
    if (p->dead || (!up && (p->started || n->w->now >= p->deadline))) {
        push_end(p, p->started ? -ECONNRESET : -ETIMEDOUT);
        return true;
    }
    if (!up)
        return false;
    if (p->at >= p->upto.seq) {
        struct kt_msg m = eqdata(p);
        m.u.eqdata.last = 1;
        node_send_link(n, p->to, KT_CLASS_DATA, &m);
        push_end(p, 0);
        return true;
    }
    p->busy = true;
    struct sop *o = op_new(p->sc, STORE_LOG_READ, CHAIN_ACT_EQ_PUSH);
    o->push = p;
    o->u.log.chain = p->sc->sc;
    o->u.log.after = p->at;
    o->u.log.max_records = STORE_LOG_READ_MAX;
    o->u.log.ret_n = 0;
    store_log_read(n->store, &o->u.log);
    ops_schedule(n);
    return false;
}

static void push_read(struct sop *o, int err)
{
    struct spush *p = o->push;
    struct store_log_read *r = &o->u.log;
    uint32_t n = err < 0 ? 0 : r->ret_n;
    p->busy = false;
    if (err == 0 && n == 0)
        err = -ENODATA;
    for (uint32_t i = 0; i < n; i++) {
        if (r->recs[i].flags & KT_RF_SKIP)
            err = err ? err : -ENODATA;
        if (err == 0 && !p->dead && r->recs[i].id.seq <= p->upto.seq) {
            struct kt_msg m = eqdata(p);
            m.u.eqdata.rec = r->recs[i];
            m.buf = r->bufs[i];
            p->started = true;
            p->at = r->recs[i].id.seq;
            if (!node_send_link(p->sc->n, p->to, KT_CLASS_DATA, &m))
                err = -ECONNRESET;
        }
        kt_buf_unref(r->bufs[i]);
    }
    if (err < 0)
        push_end(p, err);
    else
        push_advance(p);
}

void ops_push_run(struct snode *n)
{
    struct spush *p = n->pushes;
    while (p) {
        struct spush *next = p->next;
        /* A step may start new pushes, in front; it never ends others. */
        push_advance(p);
        p = next;
    }
}

void ops_push(struct schain *sc, const struct chain_act *a)
{
    struct snode *n = sc->n;
    for (struct spush *q = n->pushes; q; q = q->next) {
        if (q->sc == sc && kt_id_eq(&q->target.store, &a->target.store))
            q->dead = true;
    }
    struct spush *p = calloc(1, sizeof(*p));
    assert(p);
    p->sc = sc;
    p->target = a->target;
    p->to = node_of_store(n->w, &a->target.store);
    p->epoch = a->epoch;
    p->at = a->after;
    p->upto = a->upto;
    p->deadline = n->w->now + PUSH_WAIT_US;
    node_want_link(n, p->to, KT_CLASS_DATA);
    p->next = n->pushes;
    n->pushes = p;
}
