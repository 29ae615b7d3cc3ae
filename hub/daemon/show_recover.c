/* SPDX-License-Identifier: BSD-3-Clause */
/* Recover mode (B15), for people: what is taken over from whom, and who is
 * waited for. */
#include <stdio.h>
#include <string.h>

#include "hub/daemon/daemon.h"

#define CHAINS_SHOWN 1000u

static json_t *js_u64(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static void add_name(json_t *names, const char *name)
{
    const json_t *v;
    size_t i;

    json_array_foreach(names, i, v)
    {
        if (strcmp(json_string_value(v), name) == 0)
            return;
    }
    json_array_append_new(names, json_string(name));
}

static void missing_of(const struct daemon *d, const struct hub_chain *c,
                       json_t *missing)
{
    const struct kt_cfg *cfg = &c->op.next.cfg;

    for (unsigned i = 0; i < cfg->n_members; i++) {
        const char *name = cfg->members[i].node.name;
        if (!hub_regain_answered(&d->hub, c, i) &&
            !hub_named_lost(&d->hub, name))
            add_name(missing, name);
    }
}

/* Nodes that might hold chains nobody else knows. */
static void missing_nodes(const struct daemon *d, json_t *missing)
{
    for (uint32_t i = 0; i < d->hub.nodes_max; i++) {
        const struct hub_node *n = &d->hub.nodes[i];
        if (n->state != HUB_NODE_FREE && !n->seen &&
            !hub_named_lost(&d->hub, n->row.node.name))
            add_name(missing, n->row.node.name);
    }
}

static json_t *chain(const struct daemon *d, const struct hub_chain *c)
{
    json_t *missing = json_array(), *members = json_array();
    const struct kt_cfg *cfg = &c->op.next.cfg;

    missing_of(d, c, missing);
    for (unsigned i = 0; i < cfg->n_members; i++)
        json_array_append_new(
            members,
            json_pack("{s:s, s:s}", "node", cfg->members[i].node.name, "state",
                      kt_member_state_name(cfg->members[i].state)));
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:b, s:b, s:o, s:o}", "chain", js_u64(cfg->chain),
        "volume", d->hub.volumes[c->volume].row.name, "epoch",
        js_u64(cfg->epoch), "hub_epoch", js_u64(c->row.cfg.epoch), "from_node",
        (int)c->regain.from_node, "lossy", (int)hub_regain_lossy(&d->hub, c),
        "members", members, "missing", missing);
}

json_t *show_recover(const struct daemon *d, bool with_chains)
{
    json_t *missing = json_array(), *chains = json_array();
    unsigned waiting = 0;

    for (uint32_t i = 0; i < d->hub.chains_used; i++) {
        const struct hub_chain *c = &d->hub.chains[i];
        if (!c->used || !c->recovering)
            continue;
        waiting++;
        missing_of(d, c, missing);
        if (with_chains && json_array_size(chains) < CHAINS_SHOWN)
            json_array_append_new(chains, chain(d, c));
    }
    missing_nodes(d, missing);
    json_t *o = json_pack(
        "{s:s, s:b, s:i, s:o}", "mode",
        d->hub.cluster_pend.recover == HUB_RECOVER_EMPTY ? "empty" : "old-copy",
        "told_to_go_on", (int)d->hub.recover_go, "chains_waiting", (int)waiting,
        "missing", missing);
    if (with_chains)
        json_object_set_new(o, "chains", chains);
    else
        json_decref(chains);
    return o;
}
