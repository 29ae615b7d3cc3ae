/* SPDX-License-Identifier: BSD-3-Clause */
/* EQ_PUSH: a donor gives another member the records it lacks.
 *
 * 1. Wanting the target's data link, for at most 2 s. -> PUSHED(-ETIMEDOUT)
 * 2. store_log_read, EQDATA for each record, again until `upto`. A record that
 *    is no longer in the log, or whose bytes never came (SKIP), ends it with
 *    PUSHED(KT_E_GAP); a link that fails in between with -ECONNRESET, because
 *    what was on its way is lost.
 * 3. EQDATA with `last`, PUSHED(0).
 * A newer push to the same target takes the place of an older one, and a chain
 * sealed for another epoch ends them all with -ECANCELED. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"

#define PUSH_WAIT_MS 2000u
#define PUSH_QUEUE_MAX (8u << 20)

struct push {
    struct push *next, *next_gone;
    struct op_log *log; /* kept for the push's whole life */
    struct peer *peer;
    struct kt_eq_target target;
    uint64_t epoch, at, deadline_ms;
    struct kt_rid upto;
    bool busy;    /* a read is under way, or the start not delivered */
    bool started; /* something was sent */
    bool dead;    /* superseded */
    bool gone;    /* out of the list; freed when nobody walks it */
};

static struct repl *repl_of(const struct push *p)
{
    return p->log->o.rc->n;
}

static void push_free(struct push *p)
{
    struct repl *n = repl_of(p);
    struct push **at = &n->pushes;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    links_unwant(&p->peer->data);
    p->gone = true;
    p->next_gone = n->pushes_gone;
    n->pushes_gone = p;
    ops_free(&p->log->o);
}

static void push_bury(struct repl *n)
{
    while (n->pushes_gone) {
        struct push *p = n->pushes_gone;
        n->pushes_gone = p->next_gone;
        free(p);
    }
}

static void push_end(struct push *p, int err)
{
    struct rchain *rc = p->log->o.rc;
    err = err == -ENODATA ? KT_E_GAP : err;
    struct chain_event ev = {
        .type = CHAIN_EV_PUSHED, .peer = p->target.store, .err = err};
    kt_log(err ? KT_LOG_WARN : KT_LOG_DEBUG, "equalize_push",
           "chain=%llu epoch=%llu to=%s upto=%llu err=\"%s\"",
           (unsigned long long)rc->c.id, (unsigned long long)p->epoch,
           p->target.node.name, (unsigned long long)p->upto.seq,
           kt_strerror(err));
    push_free(p);
    chains_step(rc, &ev);
}

static bool is_wanted(const struct push *p)
{
    const struct chain *c = &p->log->o.rc->c;
    return c->phase == CHAIN_SEALED && c->sealing == p->epoch;
}

static bool link_is_up(const struct push *p)
{
    const struct link *l = &p->peer->data;
    return l->state == LINK_UP && l->matched;
}

static struct kt_msg eqdata(const struct push *p)
{
    struct kt_msg m = {
        .type = KT_MSG_EQDATA, .chain = p->log->o.rc->c.id, .epoch = p->epoch};
    m.u.eqdata.incarnation = p->target.incarnation;
    m.u.eqdata.upto = p->upto;
    return m;
}

static void push_advance(struct push *p)
{
    if (p->gone || p->busy)
        return;
    struct repl *n = repl_of(p);
    if (p->dead) {
        push_free(p);
        return;
    }
    if (!is_wanted(p)) {
        push_end(p, -ECANCELED);
        return;
    }
    if (!link_is_up(p)) {
        if (p->started)
            push_end(p, -ECONNRESET);
        else if (repl_now(n) >= p->deadline_ms)
            push_end(p, -ETIMEDOUT);
        return;
    }
    if (p->at >= p->upto.seq) {
        struct kt_msg m = eqdata(p);
        m.u.eqdata.last = 1;
        links_send(p->peer, KT_CLASS_DATA, &m);
        push_end(p, 0);
        return;
    }
    if (kt_conn_queued(p->peer->data.cn->kc) >= PUSH_QUEUE_MAX)
        return;
    p->busy = true;
    p->log->r.after = p->at;
    p->log->r.ret_n = 0;
    store_log_read(n->store, &p->log->r);
}

/* Sends what was read; 0 or why it cannot go on. */
static int push_send(struct push *p, int err)
{
    struct store_log_read *r = &p->log->r;
    uint32_t n = err < 0 ? 0 : r->ret_n;
    if (err == 0 && n == 0)
        err = -ENODATA;
    for (uint32_t i = 0; i < n; i++) {
        const struct kt_record *rec = &r->recs[i];
        if (rec->flags & KT_RF_SKIP)
            err = err ? err : -ENODATA;
        if (err == 0 && rec->id.seq <= p->upto.seq) {
            struct kt_msg m = eqdata(p);
            m.u.eqdata.rec = *rec;
            m.buf = r->bufs[i];
            p->started = true;
            p->at = rec->id.seq;
            if (!links_send(p->peer, KT_CLASS_DATA, &m))
                err = -ECONNRESET;
        }
        kt_buf_unref(r->bufs[i]);
        r->bufs[i] = NULL;
    }
    return err;
}

static void push_deliver(struct op *o)
{
    struct push *p = o->push;
    p->busy = false;
    if (p->dead || repl_of(p)->closing) {
        p->dead = true;
        for (uint32_t i = 0; o->err == 0 && i < p->log->r.ret_n; i++)
            kt_buf_unref(p->log->r.bufs[i]);
        push_advance(p);
        return;
    }
    int err = push_send(p, o->err);
    if (err < 0)
        push_end(p, err);
    else
        push_advance(p);
}

static void push_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_log, r.op)->o, err);
}

static void push_begin(struct op *o)
{
    struct push *p = o->push;
    o->deliver = push_deliver;
    p->busy = false;
    push_advance(p);
}

void push_start(struct rchain *rc, const struct chain_act *a)
{
    struct repl *n = rc->n;
    for (struct push *q = n->pushes; q; q = q->next) {
        if (q->log->o.rc == rc && kt_id_eq(&q->target.store, &a->target.store))
            q->dead = true;
    }
    struct push *p = repl_alloc(sizeof(*p));
    struct op *o = ops_new(rc, POOL_LOG);
    p->log = kt_container_of(o, struct op_log, o);
    p->target = a->target;
    p->epoch = a->epoch;
    p->at = a->after;
    p->upto = a->upto;
    p->deadline_ms = repl_now(n) + PUSH_WAIT_MS;
    p->peer = links_peer(n, &a->target.store, &a->target.node);
    p->busy = true;
    links_want(&p->peer->data);
    p->next = n->pushes;
    n->pushes = p;
    o->push = p;
    o->deliver = push_begin;
    p->log->r.op.done = push_cb;
    p->log->r.chain = rc->sc;
    p->log->r.max_records = STORE_LOG_READ_MAX;
    repl_fine(n);
    ops_finish(o, 0); /* the start waits for the end of this step */
}

void push_link(struct peer *peer, bool up)
{
    (void)up;
    for (struct push *p = peer->n->pushes; p; p = p->next) {
        if (!p->gone && p->peer == peer)
            push_advance(p);
    }
}

bool push_fine(struct repl *n)
{
    push_bury(n);
    for (struct push *p = n->pushes; p; p = p->next)
        push_advance(p);
    return n->pushes != NULL;
}

void push_forget(struct rchain *rc)
{
    for (struct push *p = rc->n->pushes; p; p = p->next) {
        if (!p->gone && p->log->o.rc == rc) {
            p->dead = true;
            push_advance(p);
        }
    }
}

void push_free_all(struct repl *n)
{
    while (n->pushes) {
        n->pushes->busy = false;
        push_free(n->pushes);
    }
    push_bury(n);
}
