/* SPDX-License-Identifier: BSD-3-Clause */
/* What only a person may decide about a chain.
 *
 * Force-promote: nobody of those who served last will come back, and a copy
 * that is older shall serve all the same (2.10).
 *   1. The holder is fenced: its attachment is taken from it, stored (B16).
 *   2. An operation seals the chosen member; its history is the donor's,
 *      whatever its epoch, and it alone serves the new epoch, under a new
 *      history_id and vgen.
 *   3. All others are QUARANTINED with what they hold. Nothing of the old
 *      history is merged, and nothing is deleted.
 * Discard: a quarantined copy is deleted (RELEASE), and its member WAITING:
 * it is synced like a new one. */
#include <errno.h>

#include "hub/control/internal.h"

static int member_named(const struct kt_cfg *cfg, const char *node)
{
    for (unsigned i = 0; i < cfg->n_members; i++) {
        if (hub_same(cfg->members[i].node.name, node))
            return (int)i;
    }
    return -1;
}

int hub_order_member(const struct hub_chain *c)
{
    return c->order.kind ? kt_cfg_find(&c->row.cfg, &c->order.store) : -1;
}

int hub_order_promoted(const struct hub_chain *c)
{
    return c->order.kind == HUB_ORDER_PROMOTE ? hub_order_member(c) : -1;
}

/* One that served last and may serve again by itself; -1 none. */
static int last_here(const struct hub *h, const struct hub_chain *c)
{
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        const struct kt_member *m = &c->row.cfg.members[i];
        const struct hub_node *n = hub_member_node(h, m);
        if (hub_op_in_last(c, i) && hub_node_live(n) && !n->store_err &&
            m->state != KT_M_QUARANTINED && !c->op.m[i].foreign)
            return (int)i;
    }
    return -1;
}

enum hub_detail hub_order_invalid(const struct hub *h,
                                  const struct hub_admin *q, uint32_t *ret_node)
{
    const struct hub_chain *c = hub_chain_of(h, q->chain);
    int i = c ? member_named(&c->row.cfg, q->name) : -1;

    *ret_node = HUB_NONE;
    if (!c)
        return HUB_D_NO_CHAIN;
    if (hub_chain_frozen(h, c) || c->order.kind)
        return HUB_D_BUSY;
    if (i < 0)
        return HUB_D_NO_MEMBER;
    const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);
    if (!hub_node_live(n) || n->store_err)
        return HUB_D_NOT_HERE;
    *ret_node = hub_node_index(h, n);
    if (q->op == HUB_ADMIN_DISCARD)
        return c->row.cfg.members[i].state == KT_M_QUARANTINED
                   ? HUB_D_OK
                   : HUB_D_NOT_QUARANTINED;
    if (c->row.cfg.last_epoch == 0)
        return HUB_D_BUSY;
    int here = last_here(h, c);
    if (here < 0)
        return HUB_D_OK;
    n = hub_member_node(h, &c->row.cfg.members[here]);
    *ret_node = hub_node_index(h, n);
    return HUB_D_LAST_HERE;
}

static void begin(struct hub *h, struct hub_chain *c)
{
    c->order.since_ms = h->now_ms;
    c->order.on = true;
    if (c->order.kind == HUB_ORDER_PROMOTE &&
        (c->op.phase == HUB_OP_SEAL || c->op.phase == HUB_OP_EQ))
        hub_op_again(h, c);
    hub_chain_wake(h, c);
}

void hub_order_admin(struct hub *h, const struct hub_event *ev)
{
    const struct hub_admin *q = ev->admin;
    uint32_t node;
    enum hub_detail d = hub_order_invalid(h, q, &node);

    if (d != HUB_D_OK) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_INVALID, d)->node = node;
        return;
    }
    struct hub_chain *c = hub_chain_of(h, q->chain);
    struct hub_volume *v = &h->volumes[c->volume];
    bool fence = q->op == HUB_ADMIN_PROMOTE && v->row.att.token &&
                 v->wait != HUB_WAIT_ATTACH;
    if (fence && v->txn) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_BUSY, HUB_D_BUSY);
        return;
    }
    memset(&c->order, 0, sizeof(c->order));
    c->order.kind =
        q->op == HUB_ADMIN_PROMOTE ? HUB_ORDER_PROMOTE : HUB_ORDER_DISCARD;
    c->order.store = h->nodes[node].row.store;
    c->order.history = q->history;
    c->order.conn = ev->conn;
    c->order.req = ev->req;
    if (!fence) {
        begin(h, c);
        return;
    }
    v->pend = v->row;
    memset(&v->pend.att, 0, sizeof(v->pend.att));
    hub_volume_change(h, v, HUB_TXN_FENCE);
}

/* The attachment is gone; the chains of the volume that wait for that. */
void hub_order_fenced(struct hub *h, struct hub_volume *v)
{
    uint32_t at = v->first_chain;

    v->row = v->pend;
    v->lease_ms = 0;
    hub_unbind_volume(h, hub_volume_index(h, v));
    for (uint32_t i = 0; i < v->n_chains; i++) {
        struct hub_chain *c = &h->chains[at];
        if (c->order.kind && !c->order.on)
            begin(h, c);
        at = c->next_of_volume;
    }
    hub_chains_wake_volume(h, v);
}

void hub_order_end(struct hub *h, struct hub_chain *c, enum hub_detail d)
{
    int err = d == HUB_D_OK              ? 0
              : d == HUB_D_ORDER_TIMEOUT ? -ETIMEDOUT
                                         : KT_E_BUSY;

    if (!c->order.kind)
        return;
    hub_admin_done(h, c->order.conn, c->order.req, err, d)->chain =
        c->row.cfg.chain;
    memset(&c->order, 0, sizeof(c->order));
}

/* It is not done: an operation that was about to goes on without it. */
static void cancel(struct hub *h, struct hub_chain *c, enum hub_detail d)
{
    bool again = c->order.kind == HUB_ORDER_PROMOTE &&
                 (c->op.phase == HUB_OP_SEAL || c->op.phase == HUB_OP_EQ);

    hub_order_end(h, c, d);
    if (again)
        hub_op_again(h, c);
}

void hub_order_released(struct hub *h, struct hub_chain *c,
                        const struct hub_node *from, const struct kt_msg *m)
{
    (void)m;
    if (c->order.kind != HUB_ORDER_DISCARD ||
        !kt_id_eq(&c->order.store, &from->row.store))
        return;
    c->order.released = true;
    hub_chain_wake(h, c);
}

void hub_order_turn(struct hub *h, struct hub_chain *c)
{
    int i = hub_order_member(c);

    if (!c->order.on || c->op.phase == HUB_OP_COMMIT)
        return; /* too late to turn back: it is being stored */
    if (i < 0 || h->now_ms - c->order.since_ms >= HUB_ORDER_MS) {
        cancel(h, c, HUB_D_ORDER_TIMEOUT);
        return;
    }
    if (c->order.kind == HUB_ORDER_PROMOTE && last_here(h, c) >= 0) {
        cancel(h, c, HUB_D_BUSY); /* it came back: the chain needs no order */
        return;
    }
    hub_chain_due(c, c->order.since_ms + HUB_ORDER_MS);
    if (c->order.kind != HUB_ORDER_DISCARD || c->order.released ||
        h->now_ms < c->order.sent_ms + HUB_ASK_MS)
        return;
    const struct hub_node *n = hub_member_node(h, &c->row.cfg.members[i]);
    c->order.sent_ms = h->now_ms;
    if (!hub_node_live(n))
        return;
    hub_release(h, n->conn, c->row.cfg.chain, &c->row.cfg.volume);
}
