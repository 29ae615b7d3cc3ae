/* SPDX-License-Identifier: BSD-3-Clause */
/* P4, the commit point, and P5, telling everybody.
 *
 * The next configuration is built from what was sealed and equalized; when
 * its row is stored it is true, and only then anyone hears of it (I5). */
#include "hub/control/internal.h"

/* Bits of the members that will serve: the donor and every target that
 * answered, without those that should not if others remain. */
static unsigned serving_set(const struct hub *h, const struct hub_chain *c)
{
    unsigned all = 0, dropped = hub_seal_dropped(h, c);

    if (hub_order_promoted(c) >= 0)
        return 1u << c->op.donor;
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        bool done = c->op.m[i].done || !KT_RULE(eq_all);
        if (done && ((int)i == c->op.donor || c->op.m[i].target))
            all |= 1u << i;
    }
    assert(all != 0);
    return all & ~dropped ? all & ~dropped : all;
}

/* Still in step with its resync, or the best one to begin with; -1 none. next:
 * those that serve are in it. */
static int choose_syncing(const struct hub *h, const struct hub_chain *c,
                          unsigned serving, const struct kt_cfg *next)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    const struct kt_member *src = &next->members[next->n_members - 1];
    int best = -1, now = kt_cfg_syncing(cfg);

    if (hub_bits(serving) >= cfg->want_r || hub_order_promoted(c) >= 0)
        return -1;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_sealed *s = &c->op.m[i];
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        if (serving & 1u << i || !s->ok || s->foreign || s->left_out ||
            !hub_chain_candidate(h, c, i) ||
            n->row.incarnation != s->incarnation)
            continue;
        /* B8: what it has copied survives if its incarnation stands. */
        if ((int)i == now && !c->sync_failed &&
            s->incarnation == cfg->members[i].incarnation) {
            KT_REACH(sync_kept);
            return (int)i;
        }
        if ((best < 0 || kt_rid_cmp(s->applied, c->op.m[best].applied) > 0) &&
            hub_syncs_room(h, c, src, &cfg->members[i]))
            best = (int)i;
    }
    return best;
}

static unsigned other_state(const struct hub *h, const struct hub_chain *c,
                            unsigned i)
{
    const struct kt_member *m = &c->row.cfg.members[i];
    const struct hub_node *n = hub_member_node(h, m);

    if (c->order.released && hub_order_member(c) == (int)i)
        return KT_M_WAITING;
    if (m->state == KT_M_QUARANTINED || m->state == KT_M_RELEASED)
        return m->state;
    /* What the others hold is of the old history, unless it is nothing. */
    if (hub_order_promoted(c) >= 0 &&
        !(c->op.m[i].ok && c->op.m[i].last_epoch == 0 &&
          c->op.m[i].applied.seq == 0))
        return KT_M_QUARANTINED;
    if (c->op.m[i].foreign)
        return KT_M_QUARANTINED;
    if (n && n->store_err)
        return KT_M_FAULTY;
    return hub_node_live(n) ? KT_M_WAITING : KT_M_OFFLINE;
}

static void add_member(const struct hub *h, const struct hub_chain *c,
                       struct kt_cfg *next, unsigned i, unsigned state)
{
    struct kt_member *m = &next->members[next->n_members++];
    const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);

    *m = c->row.cfg.members[i];
    hub_member_move(c, m, state);
    if (n)
        m->node = n->row.node;
    if (c->op.m[i].ok)
        m->incarnation = c->op.m[i].incarnation;
    if (state == KT_M_SERVING) {
        next->last[next->n_last].store = m->store;
        next->last[next->n_last++].incarnation = m->incarnation;
    }
}

/* Any order is legal after EQ (I9): the writer's own node first, and last what
 * it cannot reach (B13). */
static unsigned rank(const struct hub *h, const struct hub_chain *c, unsigned i)
{
    const struct kt_member *m = &c->row.cfg.members[i];
    const struct hub_volume *v = &h->volumes[c->volume];

    if (hub_holder_cut(h, v, hub_member_node(h, m)))
        return 2;
    return v->row.att.token && hub_same(m->node.name, v->row.att.node) ? 0 : 1;
}

static void build_members(const struct hub *h, const struct hub_chain *c,
                          struct kt_cfg *next)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    unsigned serving = serving_set(h, c), put = serving;

    next->n_members = next->n_last = 0;
    for (unsigned r = 0; r <= 2; r++) {
        for (unsigned i = 0; i < cfg->n_members; i++) {
            if (serving & 1u << i && rank(h, c, i) == r)
                add_member(h, c, next, i, KT_M_SERVING);
        }
    }
    int syncing = choose_syncing(h, c, serving, next);
    if (syncing >= 0) {
        add_member(h, c, next, (unsigned)syncing, KT_M_SYNCING);
        put |= 1u << syncing;
    }
    for (unsigned i = 0; i < cfg->n_members; i++) {
        if (!(put & 1u << i))
            add_member(h, c, next, i, other_state(h, c, i));
    }
}

/* Who could have begun to sync but did not answer is not asked again at once:
 * every try is an epoch. */
static void back_off(const struct hub *h, struct hub_chain *c)
{
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        if (!c->op.m[i].ok && hub_chain_candidate(h, c, i))
            c->known[i].not_before_ms = h->now_ms + HUB_SYNC_BACKOFF_MS;
    }
}

void hub_commit(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;
    const struct hub_volume *v = &h->volumes[c->volume];
    struct kt_cfg *next = &op->next.cfg;

    assert(op->phase == HUB_OP_EQ);
    op->next = c->row;
    op->next.prepare = 0;
    next->phase = KT_PHASE_ACTIVE;
    next->epoch = next->last_epoch = op->epoch;
    next->base_seq = op->m[op->donor].applied.seq;
    next->client = v->row.att.client;
    next->token = v->row.att.token;
    next->next_token = v->row.next_token;
    if (hub_order_promoted(c) >= 0)
        next->history = c->order.history;
    if (!hub_seal_tally(h, c).cont || hub_order_promoted(c) >= 0) {
        KT_REACH(vgen);
        next->vgen++; /* I15 */
        struct hub_action *a = hub_note(h, HUB_N_VGEN);
        a->chain = next->chain;
        a->a = next->vgen;
    }
    hub_syncs_count(h);
    build_members(h, c, next);
    h->syncs_counted = false;
    back_off(h, c);
    hub_check_commit(h, c);

    hub_op_move(c, HUB_OP_COMMIT);
    struct hub_action *a = hub_store(h, HUB_OWNER_CHAIN, hub_chain_index(h, c));
    op->txn = a->txn;
    struct hub_row *row = hub_row_add(a, HUB_ROW_CHAIN);
    row->u.chain = &op->next;
    if (!KT_RULE(commit_first)) {
        hub_commit_stored(h, c);
        row->u.chain = &c->row;
    }
}

/* ---- P5 ---- */

void hub_tell_member(struct hub *h, const struct hub_chain *c, unsigned i)
{
    const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);

    if (!n || !n->conn)
        return;
    struct kt_msg *m = hub_send(h, n->conn, KT_MSG_ACTIVATE);
    m->chain = c->row.cfg.chain;
    m->epoch = c->row.cfg.epoch;
    m->cfg = &c->row.cfg;
}

static void notes(struct hub *h, const struct hub_chain *c,
                  const struct kt_cfg *old)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    struct hub_action *a = hub_note(h, HUB_N_ACTIVE);

    a->chain = cfg->chain;
    a->a = cfg->epoch;
    a->b = kt_cfg_serving(cfg);
    for (unsigned i = 0; i < cfg->n_members; i++) {
        int was = kt_cfg_find(old, &cfg->members[i].store);
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        if (cfg->members[i].state != KT_M_QUARANTINED || was < 0 ||
            old->members[was].state == KT_M_QUARANTINED)
            continue;
        KT_REACH(quarantined);
        a = hub_note(h, HUB_N_QUARANTINED);
        a->chain = cfg->chain;
        a->node = n ? hub_node_index(h, n) : HUB_NONE;
    }
}

void hub_known_reorder(struct hub_chain *c, const struct kt_cfg *cfg)
{
    struct hub_known old[KT_MEMBERS_MAX];

    memcpy(old, c->known, sizeof(old));
    memset(c->known, 0, sizeof(c->known));
    for (unsigned i = 0; i < cfg->n_members; i++) {
        for (unsigned j = 0; j < KT_MEMBERS_MAX; j++) {
            if (kt_id_eq(&old[j].store, &cfg->members[i].store))
                c->known[i] = old[j];
        }
        c->known[i].store = cfg->members[i].store;
    }
}

static bool evicted_silent(const struct hub *h, const struct kt_cfg *old,
                           const struct kt_cfg *cfg)
{
    for (unsigned i = 0; i < kt_cfg_serving(old); i++) {
        const struct hub_node *n = hub_member_node(h, &old->members[i]);
        int now = kt_cfg_find(cfg, &old->members[i].store);
        if (now >= 0 && cfg->members[now].state == KT_M_SERVING)
            continue;
        if (n && !n->confirmed && !n->leaving && !n->store_err) {
            KT_REACH(evict_silent);
            return true;
        }
    }
    return false;
}

/* The order is carried out with this very configuration. */
static void ordered(struct hub *h, struct hub_chain *c)
{
    const struct kt_cfg *next = &c->op.next.cfg;
    int at = hub_order_member(c);
    bool promoted = hub_order_promoted(c) >= 0;

    if (at < 0)
        return;
    int now = kt_cfg_find(next, &c->order.store);
    assert(now >= 0);
    if (promoted ? !kt_id_eq(&next->history, &c->order.history)
                 : next->members[now].state == KT_M_QUARANTINED)
        return;
    const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[at]);
    struct hub_action *a =
        hub_note(h, promoted ? HUB_N_PROMOTED : HUB_N_DISCARDED);
    a->chain = next->chain;
    a->a = next->epoch;
    a->node = n ? hub_node_index(h, n) : HUB_NONE;
    hub_order_end(h, c, HUB_D_OK);
}

void hub_commit_stored(struct hub *h, struct hub_chain *c)
{
    const struct kt_cfg old = c->row.cfg;
    const struct kt_cfg *cfg = &c->row.cfg;

    KT_HOLDS(I5, hub_is_stored(h, c));
    KT_HOLDS(I1, c->op.next.cfg.epoch > old.epoch);
    ordered(h, c);
    c->row = c->op.next;
    hub_op_clear(c);
    c->synced = c->sync_failed = false;
    hub_known_reorder(c, cfg);
    if (kt_cfg_serving(cfg) == 1)
        KT_REACH(last_one);
    if (evicted_silent(h, &old, cfg))
        c->evicted_ms = h->now_ms;
    notes(h, c, &old);
    h->syncs_counted = false;
    if (kt_cfg_syncing(&old) >= 0)
        hub_syncs_ended(h);
    c->act_pending = 0;
    c->act_ms = h->now_ms + HUB_ACT_RESEND_MS;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        if (cfg->members[i].state == KT_M_SERVING ||
            cfg->members[i].state == KT_M_SYNCING)
            c->act_pending |= (uint8_t)(1u << i);
        if (cfg->members[i].state == KT_M_SERVING)
            c->known[i].failures = 0;
        c->known[i].older = false;
        hub_tell_member(h, c, i);
    }
    hub_push_chain(h, c);
    hub_volume_progress(h, &h->volumes[c->volume]);
}

void hub_activate_resend(struct hub *h, struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    if (!c->act_pending || cfg->phase != KT_PHASE_ACTIVE)
        return;
    if (h->now_ms < c->act_ms) {
        hub_chain_due(c, c->act_ms);
        return;
    }
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        if (!(c->act_pending & 1u << i))
            continue;
        if (n && n->row.incarnation != cfg->members[i].incarnation &&
            KT_RULE(restart_seals))
            c->act_pending &= (uint8_t) ~(1u << i);
        else if (hub_node_live(n))
            hub_tell_member(h, c, i);
    }
    c->act_ms = h->now_ms + HUB_ACT_RESEND_MS;
    hub_chain_due(c, c->act_ms);
}
