/* SPDX-License-Identifier: BSD-3-Clause */
/* When a chain needs another configuration, and the turn of each chain.
 *
 * Every chain is looked at when something of it or of its members changed,
 * and once a second. One operation at a time: what else is wanted is seen when
 * it has ended. */
#include "hub/control/internal.h"

#define LOOK_MS 1000u

void hub_chain_due(struct hub_chain *c, uint64_t at_ms)
{
    if (c->due_ms > at_ms)
        c->due_ms = at_ms;
}

void hub_chain_wake(struct hub *h, struct hub_chain *c)
{
    c->due_ms = 0;
    h->out->more = true;
}

void hub_chains_wake_node(struct hub *h, const struct hub_node *n)
{
    for (uint32_t i = 0; i < h->chains_used; i++) {
        struct hub_chain *c = &h->chains[i];
        if (c->used && kt_cfg_find(&c->row.cfg, &n->row.store) >= 0)
            hub_chain_wake(h, c);
    }
}

void hub_chains_wake_volume(struct hub *h, const struct hub_volume *v)
{
    uint32_t at = v->first_chain;

    for (uint32_t i = 0; i < v->n_chains; i++) {
        hub_chain_wake(h, &h->chains[at]);
        at = h->chains[at].next_of_volume;
    }
}

/* Nothing is decided about it: the hub's row is outdated (B15), or nobody
 * holds its volume; or the removal of that is on the way to the store, and
 * nothing may be stored behind. */
bool hub_chain_frozen(const struct hub *h, const struct hub_chain *c)
{
    const struct hub_volume *v = &h->volumes[c->volume];

    return c->recovering || v->row.state == HUB_VOLUME_LOST || v->dropping ||
           (v->txn && v->txn_why == HUB_TXN_RM);
}

bool hub_chain_candidate(const struct hub *h, const struct hub_chain *c,
                         unsigned member)
{
    const struct kt_member *m = &c->row.cfg.members[member];
    const struct hub_known *k = &c->known[member];
    const struct hub_node *n = hub_member_node(h, m);

    if (m->state == KT_M_QUARANTINED || m->state == KT_M_RELEASED)
        return false;
    if (!hub_node_live(n) || n->leaving || n->store_err ||
        n->disk_stall_ms >= HUB_STALL_MS || k->not_before_ms > h->now_ms)
        return false;
    return k->holds || n->used < n->size / 100 * HUB_FULL_PERCENT;
}

/* Every try is an epoch, and a store that is full stays so for long. */
void hub_sync_backoff(const struct hub *h, struct hub_chain *c, unsigned member)
{
    const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[member]);
    struct hub_known *k = &c->known[member];
    uint64_t wait = (uint64_t)HUB_SYNC_BACKOFF_MS
                    << kt_min_u64(k->failures, 10);

    k->failures++;
    k->free = n ? hub_node_free(n) : 0;
    k->not_before_ms = h->now_ms + kt_min_u64(wait, HUB_SYNC_BACKOFF_MAX_MS);
}

static void try_again(struct hub *h, struct hub_chain *c, unsigned member)
{
    if (c->known[member].failures) {
        c->known[member].failures = 0;
        c->known[member].not_before_ms = 0;
        hub_chain_wake(h, c);
    }
}

void hub_chains_freed(struct hub *h, const struct hub_node *n)
{
    for (uint32_t i = 0; i < h->chains_used; i++) {
        struct hub_chain *c = &h->chains[i];
        int at = c->used ? kt_cfg_find(&c->row.cfg, &n->row.store) : -1;
        if (at >= 0 && hub_node_free(n) > c->known[at].free)
            try_again(h, c, (unsigned)at);
    }
}

/* ---- why ---- */

struct counts {
    unsigned serving;
    unsigned good;      /* up, as configured, to be kept */
    unsigned limbo;     /* not known, suspect, or not connected */
    unsigned dead;      /* confirmed */
    unsigned silent;    /* dead unconfirmed, or its disk is stuck */
    unsigned faulty;    /* store error */
    unsigned leaving;   /* up, wants to stop */
    unsigned restarted; /* up with another incarnation */
};

static struct counts count(const struct hub *h, const struct hub_chain *c)
{
    struct counts k = {.serving = kt_cfg_serving(&c->row.cfg)};

    for (unsigned i = 0; i < k.serving; i++) {
        const struct kt_member *m = &c->row.cfg.members[i];
        const struct hub_node *n = hub_member_node(h, m);
        if (!n || n->state == HUB_NODE_DEAD) {
            if (n && n->confirmed)
                k.dead++;
            else
                k.silent++;
        } else if (!hub_node_live(n)) {
            k.limbo++;
        } else if (n->store_err) {
            k.faulty++;
        } else if (n->disk_stall_ms >= HUB_STALL_MS && KT_RULE(disk_stall)) {
            k.silent++;
        } else if (n->leaving) {
            k.leaving++;
        } else {
            k.good++;
            k.restarted += (KT_RULE(restart_seals) &&
                            n->row.incarnation != m->incarnation) ||
                           c->known[i].older;
        }
    }
    return k;
}

/* B13. A new place at the tail, beside somebody else, comes with its resync:
 * so the later one of the pair goes. */
int hub_chain_cut(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    for (unsigned i = 1; i < kt_cfg_serving(cfg); i++) {
        const struct hub_node *a = hub_member_node(h, &cfg->members[i - 1]);
        const struct hub_node *b = hub_member_node(h, &cfg->members[i]);
        if (hub_node_live(a) && hub_node_live(b) && hub_nodes_cut(h, a, b) &&
            KT_RULE(cut)) {
            KT_REACH(cut);
            return (int)i;
        }
    }
    return -1;
}

/* B13. Writes begin at the head: another one goes first. */
static bool head_cut(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    const struct hub_volume *v = &h->volumes[c->volume];
    unsigned serving = kt_cfg_serving(cfg);

    if (!serving || !KT_RULE(head_cut) ||
        !hub_holder_cut(h, v, hub_member_node(h, &cfg->members[0])))
        return false;
    for (unsigned i = 1; i < serving; i++) {
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        if (hub_node_live(n) && !hub_holder_cut(h, v, n)) {
            KT_REACH(head_cut);
            return true;
        }
    }
    return false;
}

/* F23. Whoever waits for a slow one is slow to those before it: the last pair
 * that complains names the one. A slow head has nobody before it. */
int hub_chain_slow(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    for (unsigned i = kt_cfg_serving(cfg); i-- > 1;) {
        const struct hub_node *a = hub_member_node(h, &cfg->members[i - 1]);
        const struct hub_node *b = hub_member_node(h, &cfg->members[i]);
        if (KT_RULE(slow) && hub_node_live(a) && hub_node_live(b) &&
            hub_node_slow(h, a, b))
            return (int)i;
    }
    return -1;
}

static uint32_t why_serving(const struct hub *h, const struct hub_chain *c,
                            const struct counts *k)
{
    unsigned rest = k->good + k->limbo + k->leaving;
    unsigned min = kt_max_u64(1, c->row.cfg.min_write) & 0xff;
    uint32_t why = 0;

    if (k->restarted)
        why |= HUB_WHY_RESTARTED;
    /* The last one is never evicted: it is LAST (decision 9). */
    if (k->dead && rest + k->faulty + k->silent >= 1)
        why |= HUB_WHY_DEAD;
    /* A5: the limits bind only what nobody confirmed. */
    bool may = !c->evicted_ms || h->now_ms - c->evicted_ms >= HUB_EVICT_MS;
    if (k->silent && rest >= min && may)
        why |= HUB_WHY_DEAD;
    if (k->good > min && may && hub_chain_cut(h, c) >= 0)
        why |= HUB_WHY_CUT;
    if (k->good > min && may && hub_chain_slow(h, c) >= 0)
        why |= HUB_WHY_SLOW;
    if (head_cut(h, c))
        why |= HUB_WHY_ORDER;
    if (k->faulty && k->good + k->leaving >= 1)
        why |= HUB_WHY_FAULTY;
    if (k->leaving && k->good >= min)
        why |= HUB_WHY_LEAVE;
    return why;
}

bool hub_sync_cut(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    int i = kt_cfg_syncing(cfg);
    unsigned n = kt_cfg_serving(cfg);

    if (i < 0 || n == 0 || !KT_RULE(sync_cut))
        return false;
    const struct hub_node *a = hub_member_node(h, &cfg->members[n - 1]);
    const struct hub_node *b = hub_member_node(h, &cfg->members[i]);
    return hub_node_live(a) && hub_node_live(b) && hub_nodes_cut(h, a, b);
}

int hub_sync_next(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    unsigned n = kt_cfg_serving(cfg);

    for (unsigned i = n; n && i < cfg->n_members; i++) {
        if (hub_chain_candidate(h, c, i) &&
            hub_syncs_room(h, c, &cfg->members[n - 1], &cfg->members[i]))
            return (int)i;
    }
    return -1;
}

static uint32_t why_syncing(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    int i = kt_cfg_syncing(cfg);

    if (i >= 0) {
        const struct kt_member *m = &cfg->members[i];
        const struct hub_node *n = hub_member_node(h, m);
        if (!n || n->state == HUB_NODE_DEAD || n->store_err || n->leaving ||
            c->sync_failed || hub_sync_cut(h, c))
            return HUB_WHY_SYNC_FAILED;
        if (hub_node_live(n) &&
            (n->row.incarnation != m->incarnation || c->known[i].older))
            return HUB_WHY_SYNC_FAILED;
        return c->synced ? HUB_WHY_SYNCED : 0;
    }
    if (kt_cfg_serving(cfg) >= cfg->want_r)
        return 0;
    return hub_sync_next(h, c) >= 0 ? HUB_WHY_SYNC : 0;
}

uint32_t hub_chain_why(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    const struct hub_attachment *att = &h->volumes[c->volume].row.att;

    if (cfg->phase != KT_PHASE_ACTIVE ||
        (c->row.prepare > cfg->epoch && KT_RULE(prepare_kept)))
        return HUB_WHY_PREPARE; /* B4: never abandoned */
    /* An old copy of the database may lack the PREPARE that members promised:
     * they take part in nothing older. */
    if (c->heard > cfg->epoch && KT_RULE(prepare_kept))
        return HUB_WHY_PREPARE;

    if (c->order.on && c->order.kind == HUB_ORDER_PROMOTE)
        return HUB_WHY_PROMOTE;
    struct counts k = count(h, c);
    uint32_t why = why_serving(h, c, &k);
    if (c->order.released)
        why |= HUB_WHY_DISCARD;
    if (cfg->token != att->token || !kt_id_eq(&cfg->client, &att->client))
        why |= HUB_WHY_WRITER;
    if (k.good + k.leaving > k.restarted)
        why |= why_syncing(h, c);
    return why;
}

bool hub_node_leaves(const struct hub *h, const struct hub_node *n)
{
    for (uint32_t i = 0; i < h->chains_used; i++) {
        const struct hub_chain *c = &h->chains[i];
        if (!c->used || hub_chain_frozen(h, c))
            continue;
        int at = kt_cfg_find(&c->row.cfg, &n->row.store);
        if (at < 0 || (unsigned)at >= kt_cfg_serving(&c->row.cfg))
            continue;
        if (c->op.phase != HUB_OP_NONE || (hub_chain_why(h, c) & HUB_WHY_LEAVE))
            return true;
    }
    return false;
}

/* ---- turns ---- */

void hub_chain_run(struct hub *h, struct hub_chain *c)
{
    if (!c->used || hub_chain_frozen(h, c))
        return;
    if (hub_room(h) < HUB_CHAIN_ROOM) {
        hub_chain_wake(h, c);
        return;
    }
    c->due_ms = h->now_ms + LOOK_MS;
    hub_order_turn(h, c);
    if (c->op.phase == HUB_OP_NONE) {
        hub_syncs_count(h);
        uint32_t why = hub_chain_why(h, c);
        if (why)
            hub_op_start(h, c, why);
    }
    hub_op_turn(h, c);
}

void hub_chains_tick(struct hub *h)
{
    uint32_t n = h->chains_used;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (h->cursor + i) % n;
        struct hub_chain *c = &h->chains[at];
        if (!c->used || c->due_ms > h->now_ms)
            continue;
        if (hub_room(h) < HUB_CHAIN_ROOM) {
            h->cursor = at; /* this one is first in the next step */
            h->out->more = true;
            return;
        }
        hub_chain_run(h, c);
    }
}

/* F36: whoever takes part in an epoch made its promise durable before. One that
 * comes with less shows an older state of its disk; also when it was started so
 * often that it has the number of its former self. */
static bool forgot(const struct hub_chain *c, unsigned member)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    uint8_t state = cfg->members[member].state;

    return KT_RULE(promise_kept) && cfg->last_epoch &&
           (state == KT_M_SERVING || state == KT_M_SYNCING) &&
           c->known[member].shown < cfg->epoch;
}

void hub_chain_registered(struct hub *h, struct hub_chain *c,
                          const struct hub_node *n)
{
    int i = kt_cfg_find(&c->row.cfg, &n->row.store);

    c->regain.ask_ms = 0; /* recovering: it is asked now */
    if (i < 0 || hub_chain_frozen(h, c))
        return;
    /* Started again, it is another: whatever it waited for, it waited with the
     * one before, and the log of others reaches back only so far. */
    if (c->row.cfg.members[i].incarnation != n->row.incarnation)
        c->known[i].not_before_ms = 0;
    try_again(h, c, (unsigned)i);
    c->known[i].older = c->known[i].older || forgot(c, (unsigned)i);
    hub_op_registered(h, c, (unsigned)i, n);
    hub_chain_wake(h, c);
}

/* It is told of the present configuration once more. */
void hub_chain_back(struct hub *h, struct hub_chain *c, unsigned i,
                    const struct hub_node *n)
{
    const struct kt_member *m = &c->row.cfg.members[i];

    if ((m->incarnation == n->row.incarnation || !KT_RULE(restart_seals)) &&
        !c->known[i].older &&
        (m->state == KT_M_SERVING || m->state == KT_M_SYNCING)) {
        c->act_pending |= (uint8_t)(1u << i);
        c->act_ms = 0;
    } else if (m->state != KT_M_SERVING && m->state != KT_M_SYNCING &&
               c->row.cfg.phase == KT_PHASE_ACTIVE) {
        /* It may have been cut off when the others went on, and may wait long
         * for its turn: it has no part in the chain, and should know. */
        hub_tell_member(h, c, i);
    }
}

void hub_chain_sync_fin(struct hub *h, struct hub_chain *c,
                        const struct hub_node *from, const struct kt_msg *m)
{
    if (m->epoch != c->row.cfg.epoch)
        return;
    const struct kt_cfg *cfg = &c->row.cfg;
    int src = kt_cfg_find(cfg, &from->row.store);
    int dst = kt_cfg_find(cfg, &m->u.sync_fin.store);
    /* B17: the source says it, and names the target's incarnation. */
    if (src < 0 || cfg->members[src].state != KT_M_SERVING || dst < 0 ||
        dst != kt_cfg_syncing(cfg) ||
        m->u.sync_fin.incarnation != cfg->members[dst].incarnation)
        return;
    if (m->u.sync_fin.err) {
        c->sync_failed = true;
    } else {
        KT_REACH(synced);
        c->synced = true;
        c->known[dst].applied = m->u.sync_fin.applied;
        c->known[dst].holds = true;
    }
    hub_chain_run(h, c);
}

void hub_chain_act_ok(struct hub *h, struct hub_chain *c,
                      const struct hub_node *from, const struct kt_msg *m)
{
    (void)h;
    if (m->epoch != c->row.cfg.epoch)
        return;
    int i = kt_cfg_find(&c->row.cfg, &from->row.store);
    if (i >= 0)
        c->act_pending &= (uint8_t) ~(1u << i);
}

/* Its start is the one that was sealed, and it knows nothing of that (F36). */
void hub_chain_act_nak(struct hub *h, const struct hub_node *from,
                       const struct kt_msg *m)
{
    struct hub_chain *c = hub_chain_of(h, m->chain);
    int i = c ? kt_cfg_find(&c->row.cfg, &from->row.store) : -1;

    if (i < 0 || m->epoch != c->row.cfg.epoch || hub_chain_frozen(h, c) ||
        c->row.cfg.phase != KT_PHASE_ACTIVE ||
        c->row.cfg.members[i].incarnation != from->row.incarnation)
        return;
    c->known[i].older = true;
    hub_chain_wake(h, c);
}
