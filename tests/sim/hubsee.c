/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub, looked at from outside: is it at rest, is all as it should be. */
#include <inttypes.h>
#include <stdio.h>

#include "hub/control/internal.h"
#include "tests/sim/sim.h"

/* Of one that it has not heard of since it started, the hub thinks well. What
 * is lost for good is not waited for. */
static bool all_here(const struct world *w, const struct hub *h)
{
    for (unsigned i = 0; i < h->nodes_max; i++) {
        const struct hub_node *n = &h->nodes[i];
        if (n->state != HUB_NODE_FREE &&
            (n->state != HUB_NODE_UP || !n->conn) &&
            !kt_id_eq(&n->row.node.id, &w->lost_node))
            return false;
    }
    return true;
}

bool hubnode_idle(struct world *w)
{
    const struct hub *h = hubnode_hub(w);
    bool idle = w->procs[SIM_EP_HUB].alive && !hub_in_recovery(h);
    for (unsigned i = 0; idle && i < w->p.chains; i++) {
        const struct hub_chain *c = hub_chain_of(h, i + 1);
        idle = c && c->op.phase == HUB_OP_NONE && !c->act_pending;
    }
    return idle;
}

bool hubnode_even(struct world *w)
{
    for (unsigned i = 0; i < w->p.chains; i++) {
        const struct kt_cfg *cfg = hubnode_cfg(w, i);
        uint64_t least = UINT64_MAX, most = 0;
        for (unsigned k = 0; k < kt_cfg_serving(cfg); k++) {
            int at = node_of_store(w, &cfg->members[k].store);
            if (at < 0)
                return false;
            const struct chain *c = &w->nodes[at].chains[i].c;
            least = kt_min_u64(least, c->applied.seq);
            most = kt_max_u64(most, c->received.seq);
        }
        if (least < most)
            return false;
    }
    return true;
}

bool hubnode_healthy(struct world *w)
{
    const struct hub *h = hubnode_hub(w);
    if (!hubnode_idle(w) || !all_here(w, h))
        return false;
    for (unsigned i = 0; i < w->p.chains; i++) {
        const struct hub_chain *c = hub_chain_of(h, i + 1);
        int at = kt_cfg_find(&c->row.cfg, &w->lost_store);
        bool less = at >= 0;
        /* A hub that has just started has not found out yet. */
        if (less && (unsigned)at < kt_cfg_serving(&c->row.cfg))
            return false;
        if (hub_chain_health(h, c) != HUB_HEALTHY &&
            !(less && kt_cfg_serving(&c->row.cfg) == c->row.cfg.want_r - 1u))
            return false;
    }
    return true;
}

bool hubnode_refuses(struct world *w, const struct snode *n)
{
    const struct hub_node *k = hub_node_of(hubnode_hub(w), &n->node.id);
    uint64_t now = n->disk->incarnation;
    return k && (now < k->row.incarnation ||
                 (now == k->row.incarnation &&
                  !kt_id_eq(&n->node.boot, &k->row.node.boot)));
}

static void describe_nodes(const struct world *w, const struct hub *h)
{
    for (unsigned i = 0; i < h->nodes_max; i++) {
        const struct hub_node *n = &h->nodes[i];
        if (n->state == HUB_NODE_FREE)
            continue;
        bool lost = kt_id_eq(&n->row.node.id, &w->lost_node);
        fprintf(stderr,
                "node %s %02x%02x: state %u conn %" PRIu64 " inc %" PRIu64
                "%s\n",
                n->row.node.name, n->row.node.id.b[0], n->row.node.id.b[1],
                n->state, n->conn, n->row.incarnation, lost ? " (lost)" : "");
    }
}

void hubnode_describe(struct world *w)
{
    const struct hub *h = hubnode_hub(w);
    describe_nodes(w, h);
    for (unsigned i = 0; i < w->p.chains; i++) {
        const struct hub_chain *c = hub_chain_of(h, i + 1);
        if (!c)
            continue;
        const struct kt_cfg *f = &c->row.cfg;
        fprintf(stderr,
                "chain %u: epoch %" PRIu64 " prepare %" PRIu64 " token %" PRIu64
                " vgen %" PRIu64 " phase %u why %x "
                "why_op %x op_epoch %" PRIu64 " act_pending %x recovering %d "
                "answered %" PRIx64 "\n",
                i + 1, f->epoch, c->row.prepare, f->token, f->vgen, c->op.phase,
                hub_chain_why(h, c), c->op.why, c->op.epoch, c->act_pending,
                c->recovering, c->regain.answered);
        for (unsigned k = 0; k < f->n_members; k++) {
            int at = node_of_store(w, &f->members[k].store);
            if (at < 0) {
                fprintf(stderr, "  lost: %s\n",
                        kt_member_state_name(f->members[k].state));
                continue;
            }
            const struct hub_node *n = hub_node_of(h, &f->members[k].node.id);
            const struct chain *x = &w->nodes[at].chains[i].c;
            fprintf(
                stderr,
                "  n%d %s inc %" PRIu64 " node state %u conn %" PRIu64
                " inc %" PRIu64 " | core phase %u role %u epoch %" PRIu64
                " promised %" PRIu64 " applied %" PRIu64 " received %" PRIu64
                " acked %" PRIu64 " succ %u link %u src %u dst %u\n",
                at + 1, kt_member_state_name(f->members[k].state),
                f->members[k].incarnation, n ? n->state : 99, n ? n->conn : 0,
                n ? n->row.incarnation : 0, x->phase, x->role, x->cfg.epoch,
                x->promised, x->applied.seq, x->received.seq, x->acked, x->succ,
                x->succ_link, x->src.state, x->dst.started);
        }
    }
}
