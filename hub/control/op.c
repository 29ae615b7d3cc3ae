/* SPDX-License-Identifier: BSD-3-Clause */
/* One change of a chain, P1 to P3:
 *
 *   PREPARE  the epoch e' is made durable, so that no later hub reuses it.
 *   SEAL     every connected member promises e' and tells what it has.
 *   EQ       the donor makes the others' history equal to its own, durably.
 *   COMMIT   the ACTIVE row of e' is made durable: commit.c.
 *
 * Every failure, a wrong answer or a restart among those that take part ends
 * in hub_op_again: the same at a higher epoch (B2, B4). */
#include "hub/control/internal.h"

static void prepare(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;

    hub_op_move(c, HUB_OP_PREPARE);
    op->next = c->row;
    op->next.prepare = op->epoch;
    op->next.given_term = hub_giving_term(h);
    if (!KT_RULE(prepare_first)) {
        hub_op_stored(h, c);
        return;
    }
    struct hub_action *a = hub_store(h, HUB_OWNER_CHAIN, hub_chain_index(h, c));
    op->txn = a->txn;
    hub_row_add(a, HUB_ROW_CHAIN)->u.chain = &op->next;
}

/* C9: nobody of the last set is in service. */
static bool is_cold(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    if (cfg->last_epoch == 0)
        return false;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        if (hub_op_in_last(c, i) && hub_node_live(n) &&
            n->row.incarnation == cfg->members[i].incarnation)
            return false;
    }
    return true;
}

static void set_epoch(struct hub_chain *c)
{
    uint64_t e = kt_max_u64(c->row.cfg.epoch, c->row.prepare);

    c->op.epoch = kt_max_u64(kt_max_u64(e, c->heard), c->op.epoch) + 1;
}

void hub_op_start(struct hub *h, struct hub_chain *c, uint32_t why)
{
    assert(c->op.phase == HUB_OP_NONE && why);
    int syncing = kt_cfg_syncing(&c->row.cfg);

    hub_op_clear(c);
    c->op.why = why;
    c->op.start_ms = h->now_ms;
    int next = why & HUB_WHY_SYNC ? hub_sync_next(h, c) : -1;
    if (next >= 0)
        c->op.sync_to = c->row.cfg.members[next].store;
    h->syncs_counted = false;
    c->op.cold = is_cold(h, c);
    if (c->op.cold)
        KT_REACH(op_cold);
    if (why & HUB_WHY_PREPARE && c->row.cfg.last_epoch)
        KT_REACH(op_found);
    set_epoch(c);
    if ((why & HUB_WHY_SYNC_FAILED) && syncing >= 0 &&
        (c->sync_failed || hub_sync_cut(h, c)))
        hub_sync_backoff(h, c, (unsigned)syncing);
    else if ((why & HUB_WHY_SYNC_FAILED) && syncing >= 0)
        c->known[syncing].not_before_ms = h->now_ms + HUB_SYNC_BACKOFF_MS;
    int cut = why & HUB_WHY_CUT ? hub_chain_cut(h, c) : -1;
    if (cut < 0 && why & HUB_WHY_SLOW)
        cut = hub_chain_slow(h, c);
    if (cut >= 0) {
        c->op.m[cut].left_out = true;
        c->known[cut].not_before_ms = h->now_ms + HUB_SYNC_BACKOFF_MS;
    }
    struct hub_action *a = hub_note(h, HUB_N_OP_START);
    a->chain = c->row.cfg.chain;
    a->a = c->op.epoch;
    a->b = why;
    prepare(h, c);
}

void hub_op_again(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;
    bool out[KT_MEMBERS_MAX];

    assert(op->phase == HUB_OP_SEAL || op->phase == HUB_OP_EQ);
    KT_REACH(op_again);
    struct hub_action *a = hub_note(h, HUB_N_OP_AGAIN);
    a->chain = c->row.cfg.chain;
    a->a = op->epoch;
    a->b = op->phase;
    for (unsigned i = 0; i < KT_MEMBERS_MAX; i++)
        out[i] = op->m[i].left_out;
    memset(op->m, 0, sizeof(op->m));
    for (unsigned i = 0; i < KT_MEMBERS_MAX; i++)
        op->m[i].left_out = out[i];
    op->donor = -1;
    op->sealed_ms = 0;
    op->cold = is_cold(h, c);
    op->tries++;
    if (op->tries > 1)
        op->not_before_ms = h->now_ms + kt_min_u64(100ull * op->tries, 2000);
    set_epoch(c);
    prepare(h, c);
}

/* ---- P2 ---- */

static void send_seals(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;

    if (op->sent_ms && h->now_ms - op->sent_ms < HUB_SEAL_RESEND_MS)
        return;
    bool first = op->sent_ms == 0;
    op->sent_ms = h->now_ms;
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        const struct kt_member *mb = &c->row.cfg.members[i];
        const struct hub_node *n = hub_member_node(h, mb);
        bool out =
            mb->state == KT_M_RELEASED ||
            (mb->state == KT_M_QUARANTINED && hub_order_promoted(c) != (int)i);
        if (op->m[i].ok || out || !n || !n->conn)
            continue;
        /* A silent one has it in its socket: do not fill that up. */
        if (!first && n->state != HUB_NODE_UP)
            continue;
        struct kt_msg *m = hub_send(h, n->conn, KT_MSG_SEAL);
        m->chain = c->row.cfg.chain;
        m->epoch = op->epoch;
    }
}

void hub_op_sealed(struct hub *h, struct hub_chain *c,
                   const struct hub_node *from, const struct kt_msg *m)
{
    struct hub_op *op = &c->op;
    const struct kt_cfg *cfg = &c->row.cfg;
    int i = kt_cfg_find(cfg, &m->u.seal_ok.store);

    if (m->epoch != op->epoch || i < 0 ||
        !kt_id_eq(&from->row.store, &m->u.seal_ok.store) ||
        from->row.incarnation != m->u.seal_ok.incarnation)
        return;

    struct hub_sealed *s = &op->m[i];
    s->ok = true;
    s->incarnation = m->u.seal_ok.incarnation;
    s->cont_base = m->u.seal_ok.cont_base;
    s->last_epoch = m->u.seal_ok.last_epoch;
    s->applied = m->u.seal_ok.applied;
    s->acked = m->u.seal_ok.acked;
    /* A copy of another history is never merged, and never deleted. */
    s->foreign =
        s->last_epoch > 0 && !kt_id_eq(&m->u.seal_ok.history, &cfg->history);
    c->known[i].applied = s->applied;
    c->known[i].told = true;
    c->known[i].holds = s->last_epoch > 0 || s->applied.seq > 0;
    if (!op->sealed_ms &&
        (hub_op_in_last(c, (unsigned)i) || hub_order_promoted(c) == i))
        op->sealed_ms = h->now_ms;
    hub_chain_run(h, c);
}

void hub_op_refused(struct hub *h, struct hub_chain *c,
                    const struct hub_node *from, const struct kt_msg *m)
{
    (void)from;
    if (c->heard < c->op.epoch || m->epoch != c->op.epoch)
        return;
    hub_op_again(h, c);
    hub_chain_run(h, c);
}

/* ---- P3 ---- */

static void choose_targets(const struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;
    const struct kt_cfg *cfg = &c->row.cfg;
    struct kt_rid at = op->m[op->donor].applied;
    unsigned dropped = hub_seal_dropped(h, c);
    uint64_t lag = 0;

    for (unsigned i = 0; i < cfg->n_members; i++) {
        struct hub_sealed *s = &op->m[i];
        s->done = false;
        s->target = (int)i != op->donor && hub_order_promoted(c) < 0 &&
                    !(dropped & 1u << i) &&
                    (hub_seal_usable(c, i) || hub_seal_synced(h, c, i)) &&
                    /* EQDATA only appends (B1). */
                    kt_rid_cmp(s->applied, at) <= 0 && s->applied.seq <= at.seq;
        if (s->target)
            lag = kt_max_u64(lag, at.seq - s->applied.seq);
    }
    op->limit_ms = kt_min_u64(HUB_EQ_MS + lag, HUB_EQ_MAX_MS);
}

static void send_eq(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;
    const struct kt_cfg *cfg = &c->row.cfg;
    const struct hub_sealed *d = &op->m[op->donor];
    const struct hub_node *n = hub_member_node(h, &cfg->members[op->donor]);
    uint8_t k = 0;

    if (op->sent_ms && h->now_ms - op->sent_ms < HUB_EQ_RESEND_MS)
        return;
    op->sent_ms = h->now_ms;
    if (!n || !n->conn)
        return;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_node *t = hub_member_node(h, &cfg->members[i]);
        if (!op->m[i].target)
            continue;
        op->targets[k].store = cfg->members[i].store;
        op->targets[k].incarnation = op->m[i].incarnation;
        op->targets[k].applied = op->m[i].applied;
        op->targets[k].node = t ? t->row.node : cfg->members[i].node;
        k++;
    }
    struct kt_msg *m = hub_send(h, n->conn, KT_MSG_EQ);
    m->chain = cfg->chain;
    m->epoch = op->epoch;
    m->u.eq.incarnation = d->incarnation;
    m->u.eq.applied = d->applied;
    m->u.eq.n = k;
    m->u.eq.targets = op->targets;
}

/* Member i spoiled the operation: shall the next try do without it? Never
 * below min_write, and never without continuity if it has it (B4), unless its
 * store is broken. gap: no log reaches back to where it is, so no try will do;
 * if it has lost its tail anyhow, fewer than min_write serve and it syncs. */
static void leave_out(const struct hub *h, struct hub_chain *c, unsigned i,
                      bool gap)
{
    const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);
    unsigned rest = 0;
    bool cont = false;

    if (!hub_op_in_last(c, i)) {
        c->op.m[i].left_out = true;
        hub_sync_backoff(h, c, i);
        return;
    }
    for (unsigned j = 0; j < c->row.cfg.n_members; j++) {
        if (j != i && hub_seal_usable(c, j)) {
            rest++;
            cont = cont || c->op.m[j].cont;
        }
    }
    KT_REACH(left_out);
    bool lost = gap && rest > 0 && !c->op.m[i].cont;
    if (rest < c->row.cfg.min_write && !lost)
        return;
    if (cont || !c->op.m[i].cont || (n && n->store_err))
        c->op.m[i].left_out = true;
}

static void eq_failed(struct hub *h, struct hub_chain *c, unsigned member,
                      bool gap)
{
    leave_out(h, c, member, gap);
    hub_op_again(h, c);
    hub_chain_run(h, c);
}

void hub_op_eq_ok(struct hub *h, struct hub_chain *c,
                  const struct hub_node *from, const struct kt_msg *m)
{
    struct hub_op *op = &c->op;

    if (m->epoch != op->epoch)
        return;
    int i = kt_cfg_find(&c->row.cfg, &m->u.eq_ok.store);
    if (i < 0 || !(op->m[i].target || op->donor == i))
        return;
    if (!kt_id_eq(&from->row.store, &m->u.eq_ok.store)) {
        /* Only the donor speaks of others: its log is too short for them. */
        if (m->u.eq_ok.err == KT_E_GAP && i != op->donor &&
            kt_id_eq(&from->row.store, &c->row.cfg.members[op->donor].store))
            eq_failed(h, c, (unsigned)i, true);
        return;
    }
    /* B2: only what was sealed counts, and all of it. */
    bool same = m->u.eq_ok.incarnation == op->m[i].incarnation &&
                kt_rid_eq(m->u.eq_ok.applied, op->m[op->donor].applied);
    if (m->u.eq_ok.err || (!same && KT_RULE(eq_ok_same))) {
        eq_failed(h, c, (unsigned)i, false);
        return;
    }
    op->m[i].done = true;
    c->known[i].applied = m->u.eq_ok.applied;
    hub_chain_run(h, c);
}

static bool eq_done(const struct hub_chain *c)
{
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        if (((c->op.m[i].target && KT_RULE(eq_all)) || c->op.donor == (int)i) &&
            !c->op.m[i].done)
            return false;
    }
    return true;
}

/* Of those who answered, whom the operation does without. */
static uint32_t outs(const struct hub_chain *c)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < c->row.cfg.n_members; i++)
        bits |= (uint32_t)c->op.m[i].left_out << i;
    return bits;
}

/* Nobody more can be blamed, for too few would be left: then it was another.
 * Who can reach whom is not known: the donor may be cut off from the others,
 * who do well without it. One after the other is done without, from the donor
 * on, and the rest of the last set gets another chance. */
static void blame_another(const struct hub *h, struct hub_chain *c)
{
    uint32_t was = outs(c), n = c->row.cfg.n_members;

    if (c->op.turn == 0)
        c->op.turn = (uint32_t)c->op.donor;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = (c->op.turn + k) % n;
        if (!hub_seal_usable(c, i))
            continue;
        for (uint32_t j = 0; j < n; j++)
            c->op.m[j].left_out = c->op.m[j].left_out && !hub_op_in_last(c, j);
        leave_out(h, c, i, false);
        if (c->op.m[i].left_out) {
            KT_REACH(blame_another);
            c->op.turn = i + 1;
            return;
        }
        for (uint32_t j = 0; j < n; j++)
            c->op.m[j].left_out = was >> j & 1;
    }
}

/* Time is up: the donor is to blame while it has not answered itself. */
static void eq_late(struct hub *h, struct hub_chain *c)
{
    uint32_t was = outs(c);

    if (!c->op.m[c->op.donor].done) {
        leave_out(h, c, (unsigned)c->op.donor, false);
    } else {
        for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
            if (c->op.m[i].target && !c->op.m[i].done)
                leave_out(h, c, i, false);
        }
    }
    if (outs(c) == was && KT_RULE(blame_another))
        blame_another(h, c);
    hub_op_again(h, c);
}

/* A member that takes part died, or was started again: what was sealed is not
 * what runs now (B2). */
static bool eq_broken(const struct hub *h, const struct hub_chain *c)
{
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);
        if ((!c->op.m[i].target && c->op.donor != (int)i) ||
            !KT_RULE(eq_broken))
            continue;
        if (!n || n->row.incarnation != c->op.m[i].incarnation ||
            (n->state == HUB_NODE_DEAD && !c->op.m[i].done))
            return true;
    }
    return false;
}

/* ---- the turn of an operation ---- */

void hub_op_eq_turn(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;

    if (eq_broken(h, c)) {
        hub_op_again(h, c);
    } else if (eq_done(c)) {
        hub_commit(h, c);
    } else if (h->now_ms - op->since_ms >= op->limit_ms) {
        eq_late(h, c);
    } else {
        send_eq(h, c);
        hub_chain_due(c, op->sent_ms + HUB_EQ_RESEND_MS);
        hub_chain_due(c, op->since_ms + op->limit_ms);
    }
}

void hub_op_seal_turn(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;

    if (op->not_before_ms > h->now_ms) {
        hub_chain_due(c, op->not_before_ms);
        return;
    }
    /* The others may have died one after the other, this op's start among
     * them: it is cold all the same when nobody has answered yet. */
    if (!op->sealed_ms && is_cold(h, c))
        op->cold = true;
    send_seals(h, c);
    hub_chain_due(c, op->sent_ms + HUB_SEAL_RESEND_MS);
    if (!op->sealed_ms && !op->down_said &&
        h->now_ms - op->since_ms >= HUB_SEAL_MS) {
        op->down_said = true;
        hub_note(h, HUB_N_DOWN)->chain = c->row.cfg.chain;
    }
    if (!hub_seal_done(h, c))
        return;
    op->donor = hub_seal_donor(h, c);
    assert(op->donor >= 0);
    choose_targets(h, c);
    hub_op_move(c, HUB_OP_EQ);
    op->since_ms = h->now_ms;
    op->sent_ms = 0;
    hub_op_eq_turn(h, c);
}

/* The row with the PREPARE is stored. */
void hub_op_prepared(struct hub *h, struct hub_chain *c)
{
    struct hub_op *op = &c->op;

    KT_HOLDS(I1, hub_is_stored(h, c));
    c->row = op->next;
    hub_op_move(c, HUB_OP_SEAL);
    op->since_ms = h->now_ms;
    op->sent_ms = 0;
    op->sealed_ms = 0;
}
