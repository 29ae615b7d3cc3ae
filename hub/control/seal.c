/* SPDX-License-Identifier: BSD-3-Clause */
/* What the answers to SEAL mean: who has continuity, whether to wait for
 * more, who gives its history to the others (P2, P3). */
#include "hub/control/internal.h"

bool hub_op_in_last(const struct hub_chain *c, unsigned member)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    if (cfg->last_epoch == 0 || !KT_RULE(in_last))
        return true; /* never active: all placed members are alike */
    for (unsigned i = 0; i < cfg->n_last; i++) {
        if (kt_id_eq(&cfg->last[i].store, &cfg->members[member].store))
            return true;
    }
    return false;
}

/* F36: whoever serves made durable what its epoch began with (B3). One that has
 * less shows an older state of its disk, whatever it says of its starts: it has
 * nothing to give, and is waited for no more. */
static bool is_older(const struct hub_chain *c, unsigned member)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    if (c->known[member].older)
        return true;
    return cfg->last_epoch && KT_RULE(base_kept) &&
           c->op.m[member].applied.seq < cfg->base_seq;
}

bool hub_seal_usable(const struct hub_chain *c, unsigned member)
{
    const struct hub_sealed *s = &c->op.m[member];

    return s->ok && !s->foreign && !s->left_out && hub_op_in_last(c, member) &&
           !is_older(c, member);
}

static uint64_t last_incarnation(const struct kt_cfg *cfg,
                                 const struct kt_id *store)
{
    for (unsigned i = 0; i < cfg->n_last; i++) {
        if (kt_id_eq(&cfg->last[i].store, store))
            return cfg->last[i].incarnation;
    }
    return 0;
}

/* I15: it restarted only losslessly since the last ACTIVE configuration, and
 * lacks nothing that another member saw acknowledged (F36). */
static bool continuous(const struct hub_chain *c, unsigned member)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    const struct hub_sealed *s = &c->op.m[member];
    uint64_t was = last_incarnation(cfg, &cfg->members[member].store);

    if (cfg->last_epoch == 0)
        return true;
    if (KT_RULE(vgen) && s->cont_base > was)
        return false;
    /* It never ended: nothing was acknowledged without it. What others say of
     * that after a start may be too much, for then they count all they have. */
    if (s->incarnation == was)
        return true;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_sealed *o = &c->op.m[i];
        if (KT_RULE(cont_acked) && i != member && o->ok && !o->foreign &&
            hub_op_in_last(c, i) && o->last_epoch == s->last_epoch &&
            s->applied.seq < o->acked)
            return false;
    }
    return true;
}

/* Only such as failed before have answered: begin afresh with them. */
static void forgive(const struct hub *h, struct hub_chain *c)
{
    if (!c->op.sealed_ms || h->now_ms - c->op.sealed_ms < HUB_SEAL_MS)
        return;
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        if (hub_seal_usable(c, i))
            return;
    }
    KT_REACH(forgive);
    for (unsigned i = 0; i < c->row.cfg.n_members; i++)
        c->op.m[i].left_out = false;
}

struct hub_tally hub_seal_tally(const struct hub *h, struct hub_chain *c)
{
    struct hub_tally t = {.required = true};

    forgive(h, c);
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);
        struct hub_sealed *s = &c->op.m[i];

        if (!hub_op_in_last(c, i))
            continue;
        /* One that answered and is left out is not waited for. */
        t.n_last += !(s->ok && (s->left_out || is_older(c, i)));
        s->cont = s->ok && !s->foreign && continuous(c, i);
        if (hub_seal_usable(c, i)) {
            t.ok++;
            t.cont = t.cont || s->cont;
        } else if (!s->ok) {
            /* A confirmed dead member is not waited for (A5), but a chain
             * that was down waits for its whole last set (C9). */
            bool dead = n && n->state == HUB_NODE_DEAD && n->confirmed;
            if (c->op.cold || !dead)
                t.required = false;
        }
    }
    return t;
}

/* Someone beside the last set who could serve or sync with this
 * configuration, and has not answered yet. */
static bool others_missing(const struct hub *h, const struct hub_chain *c)
{
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);
        if (!hub_op_in_last(c, i) && !c->op.m[i].ok && hub_node_live(n) &&
            c->row.cfg.members[i].state != KT_M_QUARANTINED &&
            c->row.cfg.members[i].state != KT_M_RELEASED)
            return true;
    }
    return false;
}

bool hub_seal_done(struct hub *h, struct hub_chain *c)
{
    int promoted = hub_order_promoted(c);

    if (promoted >= 0)
        return c->op.m[promoted].ok;
    struct hub_tally t = hub_seal_tally(h, c);

    if (t.ok == 0)
        return false; /* DOWN: for ever, if need be */
    assert(c->op.sealed_ms != 0);
    uint64_t wait;
    if (t.cont)
        wait = (c->op.cold ? HUB_COLD_MS : HUB_SEAL_MS) +
               (t.ok < c->row.cfg.min_write ? HUB_GRACE_MS : 0);
    else
        wait = HUB_LAST_MS;
    if (t.required && (t.cont || t.ok == t.n_last))
        wait = others_missing(h, c) ? HUB_SEAL_MS : 0;
    hub_chain_due(c, c->op.sealed_ms + wait);
    return h->now_ms - c->op.sealed_ms >= wait;
}

/* B16: continuity first, then the longest history. A broken store gives its
 * history only when no other has as much right. */
static bool better_donor(const struct hub *h, const struct hub_chain *c,
                         unsigned a, unsigned b)
{
    const struct hub_sealed *x = &c->op.m[a], *y = &c->op.m[b];
    const struct hub_node *nx = hub_member_node(h, &c->row.cfg.members[a]);
    const struct hub_node *ny = hub_member_node(h, &c->row.cfg.members[b]);
    bool bad_x = nx && nx->store_err, bad_y = ny && ny->store_err;

    if (x->cont != y->cont && KT_RULE(donor_cont))
        return x->cont;
    if (bad_x != bad_y)
        return bad_y;
    int longer = kt_rid_cmp(x->applied, y->applied);
    return KT_RULE(donor_long) ? longer > 0 : longer < 0;
}

int hub_seal_donor(const struct hub *h, const struct hub_chain *c)
{
    int best = hub_order_promoted(c);

    if (best >= 0)
        return best;
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        if (hub_seal_usable(c, i) &&
            (best < 0 || better_donor(h, c, i, (unsigned)best)))
            best = (int)i;
    }
    return best;
}

bool hub_seal_synced(const struct hub *h, const struct hub_chain *c,
                     unsigned member)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    const struct hub_sealed *s = &c->op.m[member];
    const struct hub_node *n = hub_member_node(h, &cfg->members[member]);

    return (int)member == kt_cfg_syncing(cfg) &&
           (c->synced || !KT_RULE(synced)) && !c->sync_failed && s->ok &&
           !s->foreign && !s->left_out &&
           s->incarnation == cfg->members[member].incarnation && n &&
           !n->store_err && !n->leaving;
}

unsigned hub_seal_dropped(const struct hub *h, const struct hub_chain *c)
{
    unsigned faulty = 0, spare = 0, rest = 0;

    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);
        if (!hub_seal_usable(c, i) && !hub_seal_synced(h, c, i))
            continue;
        if (n && n->store_err)
            faulty |= 1u << i;
        else if (n && (n->leaving || n->disk_stall_ms >= HUB_STALL_MS))
            spare |= 1u << i;
        else
            rest++;
    }
    unsigned drop = rest + hub_bits(spare) >= 1 ? faulty : 0;
    if (rest >= kt_max_u64(1, c->row.cfg.min_write))
        drop |= spare;
    return drop;
}
