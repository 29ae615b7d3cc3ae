/* SPDX-License-Identifier: BSD-3-Clause */
/* Recover mode (B15): the database is an old copy, or a new one in place of
 * one that was lost, and the nodes know better.
 *
 *   1. Something shows it: a node that heard of a later start of the hub or of
 *      another database, a member with a newer configuration, a chain or a
 *      token not given out yet. The mode is stored.
 *   2. Chains are recovering: their members are asked (regain.c), and what
 *      they know is taken over. Nothing else is decided about them.
 *   3. When all are through and every known node was here, or is named lost,
 *      the database gets a new mark and a term above all, and the nodes are
 *      told. Who comes with an earlier term then was away: no news. */
#include "hub/control/internal.h"

bool hub_in_recovery(const struct hub *h)
{
    return h->cluster_pend.recover != HUB_RECOVER_NO;
}

bool hub_named_lost(const struct hub *h, const char *name)
{
    for (uint32_t i = 0; i < h->n_lost; i++) {
        if (hub_same(h->lost[i], name))
            return true;
    }
    return false;
}

uint64_t hub_giving_term(const struct hub *h)
{
    return hub_in_recovery(h) || h->recover_end ? 0 : h->cluster.term;
}

static void store_cluster(struct hub *h)
{
    struct hub_action *a = hub_store(h, HUB_OWNER_CLUSTER, 0);

    h->cluster_txn = a->txn;
    hub_row_add(a, HUB_ROW_CLUSTER)->u.cluster = &h->cluster_pend;
}

static void enter(struct hub *h, enum hub_recover_why why, uint64_t chain,
                  const struct hub_node *n)
{
    if (hub_in_recovery(h))
        return;
    h->cluster_pend.recover = HUB_RECOVER_OLD;
    store_cluster(h);
    struct hub_action *a = hub_note(h, HUB_N_RECOVER);
    a->a = why;
    a->chain = chain;
    a->node = n ? hub_node_index(h, n) : HUB_NONE;
}

static void everything(struct hub *h)
{
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        if (h->volumes[i].used)
            hub_regain_volume(h, &h->volumes[i]);
    }
}

void hub_recover_start(struct hub *h)
{
    if (hub_in_recovery(h))
        everything(h);
}

/* ---- what shows it ---- */

/* The latest first. */
static void remember(struct hub_cluster *c)
{
    if (c->n_old < HUB_OLD_MARKS)
        c->n_old++;
    memmove(&c->old[1], &c->old[0], sizeof(c->old[0]) * (c->n_old - 1u));
    c->old[0] = (struct hub_old_mark){.mark = c->mark, .term = c->term};
}

void hub_cluster_start(struct hub_cluster *c, const struct kt_id *mark)
{
    if (!kt_id_is_zero(&c->mark))
        remember(c);
    c->term++;
    c->mark = *mark;
}

/* Did this database ever start with that mark and term? */
static bool was_ours(const struct hub_cluster *c, const struct kt_id *mark,
                     uint64_t term)
{
    if (kt_id_is_zero(mark))
        return term <= c->term;
    if (kt_id_eq(mark, &c->mark))
        return term == c->term;
    for (unsigned i = 0; i < c->n_old; i++) {
        if (kt_id_eq(&c->old[i].mark, mark))
            return term == c->old[i].term;
    }
    /* Too long ago to tell. */
    return c->n_old == HUB_OLD_MARKS && term < c->old[c->n_old - 1].term;
}

void hub_recover_shown(struct hub *h, struct hub_node *n,
                       const struct kt_msg *m)
{
    const struct hub_cluster *c = &h->cluster_pend;
    uint64_t term = m->u.reg.hub_term;
    const struct kt_id *mark = &m->u.reg.hub_mark;

    n->owed = 0;
    n->late = false;
    n->hub_term = term;
    h->term_seen = kt_max_u64(h->term_seen, term);
    if (term == 0 || was_ours(c, mark, term) || !KT_RULE(hub_stale))
        return;
    n->late = term <= c->recovered;
    if (n->late || hub_in_recovery(h))
        return;
    enter(h, term > c->term ? HUB_R_TERM : HUB_R_MARK, 0, n);
    everything(h);
}

static bool is_news(const struct hub *h, const struct hub_node *n,
                    const struct kt_chain_report *r)
{
    const struct hub_chain *c = hub_chain_of(h, r->chain);

    return c ? r->cfg_epoch > c->row.cfg.epoch
             : n->late || r->chain >= h->cluster_pend.next_chain;
}

/* A copy taken in the middle of a start lacks what that start gave out later,
 * and the next start would give out the same epochs, to other members. A node
 * knows of a start before it promises it anything. */
static bool is_promise_news(const struct hub *h, const struct hub_node *n,
                            const struct kt_chain_report *r)
{
    const struct hub_chain *c = hub_chain_of(h, r->chain);

    if (!c || c->recovering)
        return false;
    uint64_t given = kt_max_u64(c->row.cfg.epoch, c->row.prepare);
    uint64_t term = c->row.given_term;
    if (c->op.phase != HUB_OP_NONE && c->op.epoch > given) {
        given = c->op.epoch;
        term = hub_giving_term(h);
    }
    return r->promised > given || (r->promised == given && n->hub_term < term);
}

static enum hub_recover_why news(const struct hub *h, const struct hub_node *n,
                                 const struct kt_chain_report *r)
{
    if (r->cfg_epoch > 0 && is_news(h, n, r))
        return hub_chain_of(h, r->chain) ? HUB_R_EPOCH : HUB_R_CHAIN;
    if (KT_RULE(hub_twice) && is_promise_news(h, n, r))
        return HUB_R_PROMISE;
    return 0;
}

void hub_recover_report(struct hub *h, struct hub_node *n, uint64_t conn,
                        const struct kt_chain_report *r)
{
    struct hub_chain *c = hub_chain_of(h, r->chain);

    enum hub_recover_why why = KT_RULE(hub_stale) ? news(h, n, r) : 0;
    if (why) {
        /* Told to nobody before it was stored (I5). From one who was away
         * while the others were asked, only this volume is news. */
        bool whole = !hub_in_recovery(h) && !n->late;
        enter(h, why, r->chain, n);
        if (whole)
            everything(h);
        else if (c)
            hub_regain_volume(h, &h->volumes[c->volume]);
    }
    if (!hub_in_recovery(h))
        return;
    h->cluster_pend.next_chain =
        kt_max_u64(h->cluster_pend.next_chain, r->chain + 1);
    if (c || r->cfg_epoch == 0)
        return;
    n->owed++;
    struct kt_msg *m = hub_send(h, conn, KT_MSG_CFG_GET);
    m->chain = r->chain;
    m->req = HUB_REQ_UNKNOWN;
}

void hub_recover_token(struct hub *h, struct hub_volume *v,
                       const struct kt_msg *m)
{
    const struct hub_chain *c = hub_chain_at(h, v->first_chain);
    bool whole = !hub_in_recovery(h), more = false;

    if (KT_RULE(token_shown) && m->u.attach.token > v->shown_token) {
        v->shown_token = m->u.attach.token;
        v->shown_client = m->u.attach.client;
        more = true;
    }
    enter(h, HUB_R_TOKEN, c ? c->row.cfg.chain : 0, NULL);
    if (whole)
        everything(h);
    else if (more)
        hub_regain_volume(h, v);
}

/* ---- the end ---- */

bool hub_recover_all_in(const struct hub *h)
{
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        const struct hub_node *n = &h->nodes[i];
        if (n->owed > 0 || n->reg_conn || n->reg_txn)
            return false;
        if (n->state != HUB_NODE_FREE && !n->seen &&
            !hub_named_lost(h, n->row.node.name))
            return false;
    }
    return h->cluster_pend.recover != HUB_RECOVER_EMPTY || h->recover_go;
}

static bool all_through(const struct hub *h)
{
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        if (h->volumes[i].used && h->volumes[i].regain != HUB_REGAIN_NO)
            return false;
    }
    return h->unplaced == 0 && hub_recover_all_in(h);
}

void hub_recover_tick(struct hub *h)
{
    struct hub_cluster *c = &h->cluster_pend;

    if (!hub_in_recovery(h))
        return;
    hub_regain_tick(h);
    if (h->cluster_txn || h->out->more || !all_through(h))
        return;
    c->term = c->recovered = kt_max_u64(c->term, h->term_seen);
    hub_cluster_start(c, &h->fresh_mark);
    for (unsigned i = 0; i < 8; i++) /* should there be another one */
        c->mark.b[i] ^= (uint8_t)(c->term >> 8 * i);
    if (kt_id_is_zero(&c->id))
        c->id = c->mark; /* no node had one either */
    c->recover = HUB_RECOVER_NO;
    h->recover_end = true;
    store_cluster(h);
}

void hub_recover_stored(struct hub *h)
{
    h->cluster_txn = 0;
    h->cluster = h->cluster_pend;
    if (!h->recover_end)
        return;
    h->recover_end = h->recover_go = false;
    h->n_lost = 0;
    hub_note(h, HUB_N_RECOVERED)->a = h->cluster.term;
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        if (h->nodes[i].state == HUB_NODE_FREE || !h->nodes[i].conn)
            continue;
        struct kt_msg *m = hub_send(h, h->nodes[i].conn, KT_MSG_REGISTER_OK);
        m->u.reg_ok.cluster = h->cluster.id;
        m->u.reg_ok.hub_term = h->cluster.term;
        m->u.reg_ok.hub_mark = h->cluster.mark;
    }
}

/* ---- kenter hub recover ---- */

static bool is_member(const struct hub *h, const char *name)
{
    for (uint32_t i = 0; i < h->chains_used; i++) {
        const struct hub_chain *c = &h->chains[i];
        const struct kt_cfg *cfg =
            c->recovering ? &c->op.next.cfg : &c->row.cfg;
        for (unsigned k = 0; c->used && k < cfg->n_members; k++) {
            if (hub_same(cfg->members[k].node.name, name))
                return true;
        }
    }
    return false;
}

void hub_recover_admin(struct hub *h, const struct hub_event *ev)
{
    const struct hub_admin *q = ev->admin;

    if (!hub_in_recovery(h) || h->recover_end) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_INVALID, HUB_D_NO_RECOVER);
        return;
    }
    for (unsigned i = 0; i < q->n_lost; i++) {
        const struct hub_node *n = hub_node_named(h, q->lost[i]);
        if (hub_node_live(n)) {
            hub_admin_done(h, ev->conn, ev->req, KT_E_INVALID, HUB_D_LOST_HERE)
                ->a = i;
            return;
        }
        if (!n && !is_member(h, q->lost[i])) {
            hub_admin_done(h, ev->conn, ev->req, KT_E_NO_NODE, HUB_D_LOST_NAME)
                ->a = i;
            return;
        }
    }
    for (unsigned i = 0; i < q->n_lost && h->n_lost < HUB_LOST_MAX; i++) {
        if (!hub_named_lost(h, q->lost[i]))
            memcpy(h->lost[h->n_lost++], q->lost[i], sizeof(h->lost[0]));
    }
    h->recover_go = true;
    h->out->more = true;
    hub_admin_done(h, ev->conn, ev->req, 0, HUB_D_OK);
}
