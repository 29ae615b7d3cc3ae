/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold between any two steps of the hub, and of whatever it commits:
 * the invariants of DESIGN.md as far as the hub can see them.
 *
 * Nothing here asks for a rule, and nothing is computed the way the code under
 * test computes it. */
#include "hub/control/internal.h"

/* Its place in the set that served last; -1: it did not. */
static int last_of(const struct kt_cfg *cfg, unsigned member)
{
    for (unsigned i = 0; i < cfg->n_last; i++) {
        if (kt_id_eq(&cfg->last[i].store, &cfg->members[member].store))
            return (int)i;
    }
    return -1;
}

/* What I15 calls continuity. */
static bool has_continuity(const struct hub_chain *c, unsigned member)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    const struct hub_sealed *s = &c->op.m[member];
    int at = last_of(cfg, member);

    if (cfg->last_epoch == 0)
        return true; /* nothing was acknowledged yet */
    if (at < 0 || s->cont_base > cfg->last[at].incarnation)
        return false;
    if (s->incarnation == cfg->last[at].incarnation)
        return true; /* it saw all that was acknowledged */
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_sealed *o = &c->op.m[i];
        if (i != member && o->ok && !o->foreign && last_of(cfg, i) >= 0 &&
            o->last_epoch == s->last_epoch && o->acked > s->applied.seq)
            return false;
    }
    return true;
}

/* I4, I6: the one whose history is given served last, and was sealed. */
static void check_donor(const struct hub_chain *c)
{
    const struct hub_op *op = &c->op;
    bool promoted = hub_order_promoted(c) >= 0;

    assert(op->donor >= 0 && op->donor < c->row.cfg.n_members);
    const struct hub_sealed *d = &op->m[op->donor];
    KT_HOLDS(I4, d->ok);
    KT_HOLDS(I6, promoted || c->row.cfg.last_epoch == 0 ||
                     last_of(&c->row.cfg, (unsigned)op->donor) >= 0);
    for (unsigned i = 0; i < c->row.cfg.n_members; i++)
        KT_HOLDS(B1, !op->m[i].target ||
                         kt_rid_cmp(op->m[i].applied, d->applied) <= 0);
}

static void check_serving(const struct hub_chain *c, const struct kt_member *m)
{
    int i = kt_cfg_find(&c->row.cfg, &m->store);

    assert(i >= 0);
    const struct hub_sealed *s = &c->op.m[i];
    KT_HOLDS(I4, s->ok && m->incarnation == s->incarnation);
    KT_HOLDS(I9, s->done && (s->target || c->op.donor == i));
    KT_HOLDS(I14, s->done); /* EQ_OK is said by who is durable */
    /* Who did not serve before was told to be in sync. */
    KT_HOLDS(B17, c->row.cfg.last_epoch == 0 || hub_order_promoted(c) == i ||
                      last_of(&c->row.cfg, (unsigned)i) >= 0 || c->synced);
}

void hub_check_commit(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg, *next = &c->op.next.cfg;
    const struct hub_attachment *att = &h->volumes[c->volume].row.att;
    bool promoted = hub_order_promoted(c) >= 0;

    assert(kt_cfg_invalid(next) == NULL);
    KT_HOLDS(I1, next->epoch > cfg->epoch && next->epoch == c->row.prepare);
    KT_HOLDS(I18, next->token == att->token &&
                      kt_id_eq(&next->client, &att->client));
    check_donor(c);
    for (unsigned i = 0; i < next->n_members; i++) {
        if (next->members[i].state == KT_M_SERVING)
            check_serving(c, &next->members[i]);
        else if (next->members[i].state == KT_M_SYNCING)
            KT_HOLDS(I7, kt_id_eq(&next->history, &cfg->history));
    }
    KT_HOLDS(I15, next->vgen == cfg->vgen || next->vgen == cfg->vgen + 1);
    KT_HOLDS(I15, promoted || (next->vgen == cfg->vgen) ==
                                  has_continuity(c, (unsigned)c->op.donor));
    KT_HOLDS(B16, promoted == !kt_id_eq(&next->history, &cfg->history));
}

static void check_chain(const struct hub *h, const struct hub_chain *c)
{
    const struct hub_op *op = &c->op;
    const struct hub_chain_row *row = &c->row;

    assert(kt_cfg_invalid(&row->cfg) == NULL);
    KT_HOLDS(I1, row->prepare == 0 || row->prepare > row->cfg.epoch);
    switch (op->phase) {
    case HUB_OP_NONE:
    case HUB_OP_REGAIN:
        break;
    case HUB_OP_PREPARE:
        KT_HOLDS(I1, op->epoch > row->cfg.epoch && op->epoch > row->prepare);
        KT_HOLDS(I6, op->next.cfg.epoch == row->cfg.epoch);
        break;
    case HUB_OP_EQ:
        check_donor(c);
        KT_HOLDS(I1, op->epoch == row->prepare);
        break;
    case HUB_OP_COMMIT:
        KT_HOLDS(I5, op->next.cfg.epoch > row->cfg.epoch);
        KT_HOLDS(I1, op->epoch == row->prepare);
        break;
    default:
        KT_HOLDS(I1, op->epoch == row->prepare);
        break;
    }
    KT_HOLDS(I18, hub_in_recovery(h) || c->recovering ||
                      row->cfg.token < h->volumes[c->volume].row.next_token);
}

void hub_check(const struct hub *h)
{
    if (h->broken)
        return;
    for (uint32_t i = 0; i < h->chains_used; i++) {
        if (h->chains[i].used)
            check_chain(h, &h->chains[i]);
    }
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        const struct hub_volume *v = &h->volumes[i];
        KT_HOLDS(I22, !v->used || v->dropping || !hub_tombed(h, &v->row.id));
        KT_HOLDS(I18, !v->used || v->row.att.token < v->row.next_token);
    }
}
