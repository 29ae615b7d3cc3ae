/* SPDX-License-Identifier: BSD-3-Clause */
/* What others look at of the hub: is all well, and if not, why. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/hubnode.h"

unsigned hubnode_phase(struct world *w, unsigned chain)
{
    const struct hub_chain *c = hub_chain_of(&w->hub->h, chain + 1);
    return c ? c->op.phase : 0;
}

bool hubnode_volume_ready(struct world *w)
{
    return w->hub->created;
}

uint64_t hubnode_token(struct world *w)
{
    return w->hub->volume_row.att.token;
}

const struct kt_cfg *hubnode_cfg(struct world *w, unsigned chain)
{
    return &w->hub->chain_rows[chain].cfg;
}

/* Of one that it has not heard of since it started, the hub thinks well. */
static bool all_here(const struct shub *s)
{
    for (unsigned i = 0; i < s->n_node_rows; i++) {
        if (s->h.nodes[i].state != HUB_NODE_UP || !s->h.nodes[i].conn)
            return false;
    }
    return true;
}

bool hubnode_healthy(struct world *w)
{
    struct shub *s = w->hub;
    if (hub_in_recovery(&s->h) || !all_here(s))
        return false;
    for (unsigned i = 0; i < s->n_chain_rows; i++) {
        const struct hub_chain *c = hub_chain_of(&s->h, i + 1);
        if (!c || c->op.phase != HUB_OP_NONE || c->act_pending ||
            hub_chain_health(&s->h, c) != HUB_HEALTHY)
            return false;
    }
    return w->procs[SIM_EP_HUB].alive;
}

void hubnode_describe(struct world *w)
{
    struct shub *s = w->hub;
    for (unsigned i = 0; i < s->n_chain_rows; i++) {
        const struct hub_chain *c = hub_chain_of(&s->h, i + 1);
        if (!c)
            continue;
        const struct kt_cfg *f = &c->row.cfg;
        fprintf(stderr,
                "chain %u: epoch %" PRIu64 " prepare %" PRIu64 " token %" PRIu64
                " vgen %" PRIu64 " phase %u why %x "
                "why_op %x op_epoch %" PRIu64 " act_pending %x recovering %d "
                "answered %" PRIx64 "\n",
                i + 1, f->epoch, c->row.prepare, f->token, f->vgen, c->op.phase,
                hub_chain_why(&s->h, c), c->op.why, c->op.epoch, c->act_pending,
                c->recovering, c->regain.answered);
        for (unsigned k = 0; k < f->n_members; k++) {
            int at = node_of_store(w, &f->members[k].store);
            const struct hub_node *n =
                hub_node_of(&s->h, &f->members[k].node.id);
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
