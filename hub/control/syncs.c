/* SPDX-License-Identifier: BSD-3-Clause */
/* How many resyncs a node takes part in. A node that comes back is behind in
 * all its chains: were they all synced at once, each would be slow, each would
 * disturb its clients for long, and none would be whole before the last (2.7).
 *
 * A place is held by the resync of a stored configuration, by one that is being
 * stored, and by an operation that means to begin one. It is the operation's
 * for a while only: a chain that is DOWN copies nothing. */
#include "hub/control/internal.h"

#define HOLD_MS 10000u

struct pair {
    struct hub_node *src, *dst; /* both, or none: NULL */
};

static struct pair under_way(const struct hub *h, const struct hub_chain *c)
{
    const struct hub_op *op = &c->op;
    bool changing = op->phase == HUB_OP_PREPARE || op->phase == HUB_OP_SEAL ||
                    op->phase == HUB_OP_EQ;
    const struct kt_cfg *cfg =
        op->phase == HUB_OP_COMMIT ? &op->next.cfg : &c->row.cfg;
    unsigned serving = kt_cfg_serving(cfg);
    int to = kt_cfg_syncing(cfg);
    struct pair p = {0};

    if (to < 0 && changing)
        to = kt_cfg_find(cfg, &op->sync_to);
    if (to < 0 || !serving || cfg->phase != KT_PHASE_ACTIVE ||
        hub_chain_frozen(h, c) ||
        (changing && h->now_ms - op->start_ms >= HOLD_MS))
        return p;
    p.src = hub_member_node(h, &cfg->members[serving - 1]);
    p.dst = hub_member_node(h, &cfg->members[to]);
    /* Where one of the two is away nothing is copied. */
    return hub_node_live(p.src) && hub_node_live(p.dst) ? p : (struct pair){0};
}

void hub_syncs_count(struct hub *h)
{
    if (h->syncs_counted)
        return;
    for (uint32_t i = 0; i < h->nodes_max; i++)
        h->nodes[i].syncs_in = h->nodes[i].syncs_out = 0;
    for (uint32_t i = 0; i < h->chains_used; i++) {
        struct pair p = {0};
        if (h->chains[i].used)
            p = under_way(h, &h->chains[i]);
        if (p.src) {
            p.src->syncs_out++;
            p.dst->syncs_in++;
        }
    }
    h->syncs_counted = true;
}

bool hub_syncs_room(const struct hub *h, const struct hub_chain *c,
                    const struct kt_member *from, const struct kt_member *to)
{
    struct pair own = under_way(h, c);
    const struct hub_node *src = hub_member_node(h, from);
    const struct hub_node *dst = hub_member_node(h, to);

    if ((!src || src->syncs_out - (own.src == src) < h->syncs_max) &&
        (!dst || dst->syncs_in - (own.dst == dst) < h->syncs_max))
        return true;
    KT_REACH(sync_waits);
    return false;
}

void hub_syncs_ended(struct hub *h)
{
    for (uint32_t i = 0; i < h->chains_used; i++) {
        struct hub_chain *c = &h->chains[i];
        if (c->used && c->op.phase == HUB_OP_NONE &&
            kt_cfg_serving(&c->row.cfg) < c->row.cfg.want_r)
            hub_chain_wake(h, c);
    }
}
