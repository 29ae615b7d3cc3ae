/* SPDX-License-Identifier: BSD-3-Clause */
/* The chains: events go in one at a time, actions are carried out, and what
 * they bring about (credits, links, more to do) goes in after them. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

/* Events one step may bring about by itself; more wait for the next tick. */
#define STEPS_MAX 10000u
#define SYNC_LOG_MS 5000u

static struct rchain **bucket(struct repl *n, uint64_t chain)
{
    uint64_t h = chain * 0x9e3779b97f4a7c15ull;
    return &n->hash[h >> 52];
}

_Static_assert(REPL_HASH == 1u << 12, "bucket() takes the upper 12 bits");

struct rchain *chains_find(struct repl *n, uint64_t chain)
{
    struct rchain *rc = *bucket(n, chain);
    while (rc && rc->c.id != chain)
        rc = rc->hash_next;
    return rc;
}

static struct rchain *chain_add(struct repl *n, struct store_chain *sc)
{
    struct store_chain_info *si = repl_alloc(sizeof(*si));
    store_chain_info(sc, si);
    struct store_info info;
    store_info(n->store, &info);
    struct chain_origin o = {.chain = si->chain,
                             .store = info.uuid,
                             .incarnation = info.incarnation,
                             .cont_base = info.cont_base,
                             .promised = si->promised,
                             .cfg = si->have_cfg ? &si->cfg : NULL,
                             .whole = si->whole,
                             .applied = si->applied,
                             .durable = si->durable,
                             .dedup = &si->dedup,
                             .alloc = si->alloc};
    struct rchain *rc = repl_alloc(sizeof(*rc));
    rc->n = n;
    rc->sc = sc;
    chain_init(&rc->c, &o);
    free(si);
    struct rchain **b = bucket(n, rc->c.id);
    rc->hash_next = *b;
    *b = rc;
    rc->next = n->chains;
    n->chains = rc;
    n->n_chains++;
    return rc;
}

int chains_load(struct repl *n)
{
    struct store_chain *sc = NULL;
    uint64_t after = 0;
    while ((sc = store_chain_next(n->store, after)) != NULL) {
        if (n->n_chains == REPL_CHAINS_MAX)
            return KT_E_LIMIT;
        after = chain_add(n, sc)->c.id;
    }
    return 0;
}

struct rchain *chains_create(struct repl *n, uint64_t chain, uint32_t n_extents)
{
    if (n->n_chains >= REPL_CHAINS_MAX) {
        kt_log(KT_LOG_ERROR, "chain_refused",
               "chain=%llu reason=\"this node keeps %u chains already\"",
               (unsigned long long)chain, REPL_CHAINS_MAX);
        return NULL;
    }
    struct store_chain *sc = store_chain_create(n->store, chain, n_extents);
    if (!sc) {
        kt_log(KT_LOG_ERROR, "chain_refused",
               "chain=%llu reason=\"the store cannot take it\"",
               (unsigned long long)chain);
        return NULL;
    }
    return chain_add(n, sc);
}

/* ---- stepping ---- */

static const char *role_text(const struct chain *c)
{
    if (c->phase == CHAIN_FAULTY)
        return "faulty";
    if (c->role == CHAIN_DST)
        return "syncing";
    if (c->role != CHAIN_MEMBER)
        return "none";
    if (c->n_serving == 1)
        return "single";
    if (c->me == 0)
        return "head";
    return c->me + 1 == c->n_serving ? "tail" : "middle";
}

static void log_config(const struct rchain *rc)
{
    const struct chain *c = &rc->c;
    char hex[KT_ID_HEX_BYTES];
    kt_log(KT_LOG_INFO, "chain_config",
           "chain=%llu volume=%s epoch=%llu vgen=%llu role=%s serving=%u "
           "applied=%llu",
           (unsigned long long)c->id, kt_id_hex(&c->cfg.volume, hex),
           (unsigned long long)c->cfg.epoch, (unsigned long long)c->cfg.vgen,
           role_text(c), c->n_serving, (unsigned long long)c->applied.seq);
}

static void log_sync(struct rchain *rc)
{
    static const char *const names[] = {"off",  "start", "log",    "compare",
                                        "copy", "tail",  "ending", "done"};
    const struct chain_src *s = &rc->c.src;
    uint64_t now = repl_now(rc->n);
    if (s->state == rc->sync_logged &&
        (s->state == CHAIN_SYNC_OFF || s->state == CHAIN_SYNC_DONE ||
         now - rc->sync_log_ms < SYNC_LOG_MS))
        return;
    rc->sync_logged = s->state;
    rc->sync_log_ms = now;
    kt_log(KT_LOG_INFO, "sync",
           "chain=%llu state=%s extents_done=%llu extents_total=%llu "
           "records=%llu bytes=%llu",
           (unsigned long long)rc->c.id,
           s->state < KT_ARRAY_LEN(names) ? names[s->state] : "?",
           (unsigned long long)s->extents_done,
           (unsigned long long)s->extents_total,
           (unsigned long long)s->records_sent,
           (unsigned long long)s->bytes_sent);
}

static void step_once(struct rchain *rc, struct chain_event *ev)
{
    struct repl *n = rc->n;
    uint64_t bytes = rc->c.bytes;
    uint8_t phase = rc->c.phase;
    ev->now_ms = repl_now(n);
    chain_step(&rc->c, ev, &n->out);
    assert(n->held + rc->c.bytes >= bytes);
    n->held += rc->c.bytes - bytes;
    acts_run(rc, &n->out);
    if (rc->c.phase == CHAIN_FAULTY && phase != CHAIN_FAULTY)
        kt_log(KT_LOG_ERROR, "chain_faulty", "chain=%llu",
               (unsigned long long)rc->c.id);
    if (rc->c.src.state != rc->sync_logged || rc->c.src.state)
        log_sync(rc);
}

/* What the chain is to hear next because of what it did; false: nothing. */
static bool next_event(struct rchain *rc, struct chain_event *ev)
{
    memset(ev, 0, sizeof(*ev));
    if (rc->credit_due) {
        rc->credit_due = false;
        ev->type = CHAIN_EV_CREDIT;
        ev->set_aside = store_grant(rc->n->store, rc->sc, rc->want);
        ev->full = store_is_full(rc->n->store);
        rc->grant_short = ev->set_aside < rc->want;
        return true;
    }
    if (rc->config_due) {
        rc->config_due = false;
        log_config(rc);
        links_recount(rc);
    }
    if (rc->up_data || rc->up_sync) {
        struct peer *p = rc->up_data ? rc->succ : rc->dst;
        ev->type = CHAIN_EV_LINK_UP;
        ev->cls = rc->up_data ? KT_CLASS_DATA : KT_CLASS_SYNC;
        ev->peer = p->store;
        if (rc->up_data)
            rc->up_data = false;
        else
            rc->up_sync = false;
        return true;
    }
    return false;
}

void chains_step(struct rchain *rc, struct chain_event *ev)
{
    struct repl *n = rc->n;
    if (rc->dropping || n->closing)
        return;
    assert(!n->stepping);
    n->stepping = true;
    step_once(rc, ev);
    bool more = n->out.more;
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        struct chain_event e;
        if (!next_event(rc, &e)) {
            if (!more)
                break;
            more = false;
            e.type = CHAIN_EV_TICK;
        }
        step_once(rc, &e);
        more = more || n->out.more;
    }
    n->stepping = false;
    if (n->held > REPL_HELD_LOW || n->full)
        conns_flow(n);
    ops_drain(n);
}

void chains_msg(struct rchain *rc, struct conn *cn, const struct kt_msg *m)
{
    struct chain_event ev = {.type = CHAIN_EV_MSG,
                             .role =
                                 cn->kind == CONN_HUB ? KT_ROLE_HUB : cn->role,
                             .cls = cn->cls,
                             .conn = cn->handle,
                             .peer = cn->peer,
                             .msg = m};
    chains_step(rc, &ev);
}

/* ---- everybody hears ---- */

void chains_link(struct repl *n, struct link *l, bool up)
{
    for (struct rchain *rc = n->chains; rc; rc = rc->next) {
        if ((l->cls == KT_CLASS_DATA ? rc->succ : rc->dst) != l->p)
            continue;
        struct chain_event ev = {.type =
                                     up ? CHAIN_EV_LINK_UP : CHAIN_EV_LINK_DOWN,
                                 .cls = l->cls,
                                 .peer = l->p->store};
        chains_step(rc, &ev);
    }
}

void chains_conn_gone(struct repl *n, uint64_t handle)
{
    for (struct rchain *rc = n->chains; rc; rc = rc->next) {
        struct chain_event ev = {.type = CHAIN_EV_CONN_GONE, .conn = handle};
        chains_step(rc, &ev);
    }
}

/* ---- the end of a chain ---- */

/* The core's references of payload: those of the entries it still holds. */
static void release_bufs(struct rchain *rc)
{
    struct chain *c = &rc->c;
    for (uint32_t i = 0; i < CHAIN_RING; i++) {
        kt_buf_unref(c->ring[i].buf);
        c->ring[i].buf = NULL;
    }
    assert(rc->n->held >= c->bytes);
    rc->n->held -= c->bytes;
    c->bytes = 0;
}

static void unlink_chain(struct rchain *rc)
{
    struct repl *n = rc->n;
    struct rchain **p = bucket(n, rc->c.id);
    while (*p != rc)
        p = &(*p)->hash_next;
    *p = rc->hash_next;
    p = &n->chains;
    while (*p != rc)
        p = &(*p)->next;
    *p = rc->next;
    n->n_chains--;
    /* Somebody may be walking the list: freed at the next tick. */
    rc->hash_next = n->dead;
    n->dead = rc;
}

static void bury(struct repl *n)
{
    while (n->dead) {
        struct rchain *rc = n->dead;
        n->dead = rc->hash_next;
        free(rc);
    }
}

void chains_release(struct rchain *rc, uint64_t req)
{
    rc->drop_req = req;
    if (rc->dropping)
        return;
    rc->dropping = true;
    push_forget(rc);
    links_forget(rc);
    store_ungrant(rc->n->store, rc->sc);
    if (rc->ops == 0)
        ops_drop(rc);
}

static void drop_done(struct rchain *rc, int err)
{
    struct repl *n = rc->n;
    uint64_t id = rc->c.id;
    if (err < 0) {
        kt_log(KT_LOG_ERROR, "release_failed", "chain=%llu err=\"%s\"",
               (unsigned long long)id, kt_strerror(err));
        hub_error(n, rc->drop_req, err, "the chain could not be released");
        if (!n->closing)
            return; /* faulty: it stays, and stays dropping */
    } else {
        struct kt_msg m = {
            .type = KT_MSG_RELEASE_OK, .req = rc->drop_req, .chain = id};
        hub_send(n, &m);
        kt_log(KT_LOG_INFO, "chain_released", "chain=%llu",
               (unsigned long long)id);
    }
    release_bufs(rc);
    unlink_chain(rc);
}

void chains_op_done(struct rchain *rc)
{
    assert(rc->ops > 0);
    if (--rc->ops == 0 && rc->dropping && !rc->n->closing)
        ops_drop(rc);
}

static void drop_deliver(struct op *o)
{
    struct rchain *rc = o->rc;
    int err = o->err;
    ops_free(o);
    drop_done(rc, err);
}

static void drop_cb(struct store_op *so, int err)
{
    struct op_drop *d = kt_container_of(so, struct op_drop, r.op);
    ops_finish(&d->o, err);
}

void ops_drop(struct rchain *rc)
{
    struct op *o = ops_new(rc, POOL_DROP);
    struct op_drop *d = kt_container_of(o, struct op_drop, o);
    o->deliver = drop_deliver;
    d->r.chain = rc->sc;
    d->r.op.done = drop_cb;
    store_drop(rc->n->store, &d->r);
}

void chains_free_all(struct repl *n)
{
    while (n->chains) {
        struct rchain *rc = n->chains;
        release_bufs(rc);
        unlink_chain(rc);
    }
    bury(n);
}

/* ---- time ---- */

/* --resync-rate is the node's: those that resync share it. */
static void share_rate(struct repl *n)
{
    uint64_t many = 0;
    for (struct rchain *rc = n->chains; rc; rc = rc->next)
        many += rc->c.src.state != CHAIN_SYNC_OFF;
    for (struct rchain *rc = n->chains; rc; rc = rc->next)
        rc->c.resync_rate = n->opts->resync_rate / (many ? many : 1);
}

void chains_tick(struct repl *n)
{
    /* A full store frees slots rarely; one that only prepares them is asked
     * again at every tick. */
    bool second = n->ticks % (1000 / REPL_TICK_MS) == 0;
    bool full = store_is_full(n->store);
    bury(n);
    if (n->opts->resync_rate)
        share_rate(n);
    for (struct rchain *rc = n->chains; rc; rc = rc->next) {
        if (rc->grant_short && (second || !full))
            rc->credit_due = true;
        struct chain_event ev = {.type = CHAIN_EV_TICK};
        chains_step(rc, &ev);
    }
}
