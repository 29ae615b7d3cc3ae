/* SPDX-License-Identifier: BSD-3-Clause */
/* The other side in the hub's conversations: replicators that answer at once
 * and a store in memory. */
#include <errno.h>
#include <string.h>

#include "tests/unit/hub_world.h"

/* ---- a replicator's answers ---- */

static void answer_seal(struct world *w, struct w_peer *p,
                        const struct kt_msg *m)
{
    struct w_copy *k = &p->copy[m->chain];
    struct kt_msg r = {
        .type = KT_MSG_SEAL_OK, .chain = m->chain, .epoch = m->epoch};

    if (p->mute_seal || m->epoch <= k->last_epoch)
        return; /* B1 */
    if (k->promised < p->refuse_below)
        k->promised = p->refuse_below;
    if (m->epoch < k->promised) {
        r.type = KT_MSG_SEAL_REFUSED;
    } else {
        k->promised = m->epoch;
    }
    r.u.seal_ok.promised = k->promised;
    r.u.seal_ok.store = p->store;
    r.u.seal_ok.incarnation = p->incarnation;
    r.u.seal_ok.cont_base = p->cont_base;
    r.u.seal_ok.last_epoch = k->last_epoch;
    r.u.seal_ok.applied = k->applied;
    r.u.seal_ok.acked = k->acked;
    r.u.seal_ok.durable = k->applied.seq;
    r.u.seal_ok.history = k->history;
    w_say(w, p->conn, &r);
}

static void say_eq_ok(struct world *w, struct w_peer *p, const struct kt_msg *m,
                      int err)
{
    struct kt_msg r = {
        .type = KT_MSG_EQ_OK, .chain = m->chain, .epoch = m->epoch};
    r.u.eq_ok.store = p->store;
    r.u.eq_ok.incarnation = p->incarnation;
    r.u.eq_ok.applied = p->copy[m->chain].applied;
    r.u.eq_ok.applied.seq += p->eq_wrong;
    r.u.eq_ok.err = err;
    if (!p->mute_eq && p->up && !p->frozen)
        w_say(w, p->conn, &r);
}

static struct w_peer *peer_of_store(struct world *w, const struct kt_id *store)
{
    for (unsigned i = 0; i < w->n_peers; i++) {
        if (kt_id_eq(&w->p[i].store, store))
            return &w->p[i];
    }
    return NULL;
}

static void answer_eq(struct world *w, struct w_peer *p, const struct kt_msg *m)
{
    struct w_copy *k = &p->copy[m->chain];

    if (m->epoch != k->promised)
        return;
    if (m->u.eq.incarnation != p->incarnation ||
        !kt_rid_eq(m->u.eq.applied, k->applied)) {
        say_eq_ok(w, p, m, KT_E_OLD_EPOCH);
        return;
    }
    for (unsigned i = 0; i < m->u.eq.n; i++) {
        struct w_peer *t = peer_of_store(w, &m->u.eq.targets[i].store);
        assert_non_null(t);
        if (!t->up || t->frozen || t->mute_eq ||
            t->copy[m->chain].promised != m->epoch)
            continue;
        assert_true(t->copy[m->chain].applied.seq <= k->applied.seq);
        if (t->eq_gap) { /* the donor says it of the target */
            struct kt_msg r = {
                .type = KT_MSG_EQ_OK, .chain = m->chain, .epoch = m->epoch};
            r.u.eq_ok.store = t->store;
            r.u.eq_ok.incarnation = t->incarnation;
            r.u.eq_ok.err = KT_E_GAP;
            w_say(w, p->conn, &r);
            continue;
        }
        t->copy[m->chain].applied = k->applied;
        say_eq_ok(w, t, m, 0);
    }
    say_eq_ok(w, p, m, 0);
}

static void answer_activate(struct world *w, struct w_peer *p,
                            const struct kt_msg *m)
{
    struct w_copy *k = &p->copy[m->chain];
    int i = kt_cfg_find(m->cfg, &p->store);
    struct kt_msg r = {
        .type = KT_MSG_ACT_OK, .chain = m->chain, .epoch = m->cfg->epoch};

    assert_int_equal(m->cfg->phase, KT_PHASE_ACTIVE);
    if (i < 0 || m->cfg->members[i].incarnation != p->incarnation ||
        m->cfg->epoch < k->promised)
        return;
    k->promised = k->last_epoch = m->cfg->epoch;
    k->history = m->cfg->history;
    k->cfg = *m->cfg;
    w_say(w, p->conn, &r);
}

static void answer_cfg_get(struct world *w, struct w_peer *p,
                           const struct kt_msg *m)
{
    struct w_copy *k = &p->copy[m->chain];
    struct kt_msg r = {.type = KT_MSG_CFG, .req = m->req, .chain = m->chain};

    if (p->mute_cfg)
        return;
    if (k->last_epoch) {
        r.cfg = &k->cfg;
        r.epoch = k->cfg.epoch;
    } else {
        r.type = KT_MSG_NAK;
        r.u.nak.re = KT_MSG_CFG_GET;
        r.u.nak.err = k->promised ? KT_E_NOT_SERVING : KT_E_UNKNOWN_CHAIN;
    }
    w_say(w, p->conn, &r);
}

void w_peer_hears(struct world *w, struct w_peer *p, const struct kt_msg *m)
{
    struct kt_msg r = {.type = KT_MSG_PONG, .req = m->req};

    if (!p->up || p->frozen)
        return;
    assert_true(m->chain < W_IDS);
    switch (m->type) {
    case KT_MSG_PING:
        w_say(w, p->conn, &r);
        break;
    case KT_MSG_SEAL:
        answer_seal(w, p, m);
        break;
    case KT_MSG_EQ:
        answer_eq(w, p, m);
        break;
    case KT_MSG_ACTIVATE:
        answer_activate(w, p, m);
        break;
    case KT_MSG_REGISTER_OK:
        if (m->u.reg_ok.hub_term > p->hub_term) {
            p->hub_term = m->u.reg_ok.hub_term;
            p->hub_mark = m->u.reg_ok.hub_mark;
        }
        break;
    case KT_MSG_CFG_GET:
        answer_cfg_get(w, p, m);
        break;
    case KT_MSG_RELEASE:
        p->releases++;
        r.type = KT_MSG_RELEASE_OK;
        r.chain = m->chain;
        w_say(w, p->conn, &r);
        memset(&p->copy[m->chain], 0, sizeof(p->copy[0]));
        break;
    case KT_MSG_PROBE: {
        const struct w_peer *o = NULL;
        for (unsigned i = 0; i < w->n_peers; i++) {
            if (kt_id_eq(&w->p[i].node.id, &m->u.report.node.id))
                o = &w->p[i];
        }
        r.type = KT_MSG_PROBE_OK;
        r.u.report = m->u.report;
        r.u.report.err = !o || !o->up ? -ECONNREFUSED
                         : o->frozen  ? -ETIMEDOUT
                                      : 0;
        w_say(w, p->conn, &r);
        break;
    }
    default:
        break;
    }
}

/* ---- the store ---- */

#define PUT(rows, n, same, value)                                              \
    do {                                                                       \
        unsigned i_ = 0;                                                       \
        while (i_ < (n) && !(same))                                            \
            i_++;                                                              \
        assert_true(i_ < KT_ARRAY_LEN(rows));                                  \
        (rows)[i_] = *(value);                                                 \
        if (i_ == (n))                                                         \
            (n)++;                                                             \
    } while (0)

static void put_row(struct world *w, const struct hub_row *r)
{
    switch (r->kind) {
    case HUB_ROW_CLUSTER:
        w->db.cluster = *r->u.cluster;
        break;
    case HUB_ROW_NODE:
        PUT(w->db.node_rows, w->db.n_nodes,
            kt_id_eq(&w->db.node_rows[i_].node.id, &r->u.node->node.id),
            r->u.node);
        break;
    case HUB_ROW_VOLUME:
        PUT(w->db.volume_rows, w->db.n_volumes,
            kt_id_eq(&w->db.volume_rows[i_].id, &r->u.volume->id), r->u.volume);
        break;
    case HUB_ROW_CHAIN:
        assert_null(kt_cfg_invalid(&r->u.chain->cfg));
        PUT(w->db.chain_rows, w->db.n_chains,
            w->db.chain_rows[i_].cfg.chain == r->u.chain->cfg.chain,
            r->u.chain);
        break;
    case HUB_ROW_TOMB:
        PUT(w->db.tomb_rows, w->db.n_tombs, false, r->u.tomb);
        break;
    default:
        fail();
    }
}

static void del_row(struct world *w, const struct hub_row *r)
{
    if (r->kind == HUB_ROW_VOLUME) {
        for (unsigned i = 0; i < w->db.n_volumes; i++) {
            if (kt_id_eq(&w->db.volume_rows[i].id, &r->u.volume->id))
                w->db.volume_rows[i--] = w->db.volume_rows[--w->db.n_volumes];
        }
    } else if (r->kind == HUB_ROW_CHAINS_OF) {
        unsigned k = 0;
        for (unsigned i = 0; i < w->db.n_chains; i++) {
            if (!kt_id_eq(&w->db.chain_rows[i].cfg.volume, r->u.volume_id))
                w->db.chain_rows[k++] = w->db.chain_rows[i];
        }
        w->db.n_chains = k;
    } else if (r->kind == HUB_ROW_TOMB) {
        for (unsigned i = 0; i < w->db.n_tombs; i++) {
            if (kt_id_eq(&w->db.tomb_rows[i].volume, &r->u.tomb->volume))
                w->db.tomb_rows[i--] = w->db.tomb_rows[--w->db.n_tombs];
        }
    } else {
        fail();
    }
}

void w_commit(struct world *w, const struct hub_action *a)
{
    if (w->crash_at && w->commits >= w->crash_at) {
        w->crashed = true; /* never stored, never answered */
        return;
    }
    w->commits++;
    for (unsigned i = 0; i < a->n_rows; i++) {
        if (a->rows[i].del)
            del_row(w, &a->rows[i]);
        else
            put_row(w, &a->rows[i]);
    }
    w_enqueue(w, HUB_EV_STORED)->ev.txn = a->txn;
}
