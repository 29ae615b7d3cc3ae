/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes and nodes as JSON. A reply is at most 1 MiB, so lists of chains end
 * at a number and say where to go on. */
#include <stdio.h>
#include <string.h>

#include "hub/daemon/daemon.h"
#include "lib/base/os.h"

#define CHAINS_SHOWN 600u
#define NODE_CHAINS_SHOWN 6000u

static json_t *js_u64(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *js_id(const struct kt_id *id)
{
    char hex[KT_ID_HEX_BYTES];

    return json_string(kt_id_hex(id, hex));
}

static void add_addr(json_t *a, const struct kt_addr *addr)
{
    char text[KT_ADDR_TEXT_BYTES];

    if (addr->kind != KT_ADDR_NONE)
        json_array_append_new(a, json_string(kt_addr_format(addr, text)));
}

static json_t *addresses(const struct kt_node *n)
{
    json_t *a = json_array();

    add_addr(a, &n->tcp);
    add_addr(a, &n->unix_);
    return a;
}

const char *show_health(enum hub_health h)
{
    static const char *const names[] = {"healthy", "degraded", "unavailable"};

    return names[h];
}

const char *show_role(const struct kt_cfg *c, unsigned member)
{
    unsigned serving = kt_cfg_serving(c);

    if (c->members[member].state == KT_M_SYNCING)
        return "syncing";
    if (member >= serving)
        return "none";
    if (serving == 1)
        return "single";
    if (member == 0)
        return "head";
    return member + 1 == serving ? "tail" : "middle";
}

/* ---- volumes ---- */

enum hub_health show_volume_health(const struct daemon *d,
                                   const struct hub_volume *v)
{
    enum hub_health worst = HUB_HEALTHY;
    uint32_t at = v->first_chain;

    for (uint32_t i = 0; i < v->n_chains; i++) {
        const struct hub_chain *c = hub_chain_at(&d->hub, at);
        enum hub_health h = hub_chain_health(&d->hub, c);
        if (h > worst)
            worst = h;
        at = c->next_of_volume;
    }
    return worst;
}

static json_t *holder(const struct hub_volume *v)
{
    const struct hub_attachment *att = &v->row.att;

    if (!att->token)
        return json_null();
    return json_pack("{s:s, s:o, s:I, s:o, s:o}", "node", att->node, "client",
                     js_id(&att->client), "pid", (json_int_t)att->pid, "token",
                     js_u64(att->token), "since", js_u64(att->since_s));
}

static json_t *volume_head(const struct daemon *d, const struct hub_volume *v)
{
    const struct hub_volume_row *r = &v->row;
    const char *state = r->state == HUB_VOLUME_CREATING
                            ? "creating"
                            : show_health(show_volume_health(d, v));

    return json_pack("{s:s, s:o, s:o, s:s, s:s, s:o, s:i, s:i, s:o}", "name",
                     r->name, "id", js_id(&r->id), "size", js_u64(r->size),
                     "pool", "default", "state", state, "holder", holder(v),
                     "replicas", r->replicas, "min_write", r->min_write,
                     "segment", js_u64(r->segment_bytes));
}

static json_t *member(const struct daemon *d, const struct hub_chain *c,
                      unsigned i)
{
    const struct kt_member *m = &c->row.cfg.members[i];
    const struct hub_known *k = &c->known[i];
    unsigned state = hub_member_state(&d->hub, c, i);

    return json_pack(
        "{s:s, s:o, s:o, s:s, s:s, s:o, s:{s:o, s:o}, s:b, s:o}", "node",
        m->node.name, "node_id", js_id(&m->node.id), "store", js_id(&m->store),
        "state", kt_member_state_name(state), "role", show_role(&c->row.cfg, i),
        "incarnation", js_u64(m->incarnation), "applied", "epoch",
        js_u64(k->applied.epoch), "seq", js_u64(k->applied.seq), "heard",
        k->told, "addresses", addresses(&m->node));
}

static json_t *chain(const struct daemon *d, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    bool changing = c->op.phase != HUB_OP_NONE ||
                    cfg->phase != KT_PHASE_ACTIVE || c->row.prepare != 0;
    json_t *members = json_array();

    for (unsigned i = 0; i < cfg->n_members; i++)
        json_array_append_new(members, member(d, c, i));
    return json_pack(
        "{s:o, s:i, s:o, s:s, s:o, s:o, s:i, s:s, s:o}", "id",
        js_u64(cfg->chain), "seg", (int)cfg->seg, "epoch", js_u64(cfg->epoch),
        "phase", changing ? "prepare" : "active", "vgen", js_u64(cfg->vgen),
        "first_extent", js_u64(cfg->first_extent), "extents",
        (int)cfg->n_extents, "health",
        show_health(hub_chain_health(&d->hub, c)), "members", members);
}

json_t *show_volume(const struct daemon *d, const struct hub_volume *v,
                    uint32_t from_chain)
{
    json_t *o = volume_head(d, v), *chains = json_array();
    uint32_t at = v->first_chain, shown = 0;

    json_object_set_new(o, "durability",
                        json_string(v->row.durability == KT_DURABILITY_SYNC
                                        ? "sync"
                                        : "flush"));
    json_object_set_new(o, "created", js_u64(v->row.created_s));
    for (uint32_t i = 0; i < v->n_chains; i++) {
        const struct hub_chain *c = hub_chain_at(&d->hub, at);
        if (i >= from_chain && shown < CHAINS_SHOWN) {
            json_array_append_new(chains, chain(d, c));
            shown++;
        }
        at = c->next_of_volume;
    }
    json_object_set_new(o, "chains", chains);
    json_object_set_new(o, "chains_total", js_u64(v->n_chains));
    if (from_chain + shown < v->n_chains)
        json_object_set_new(o, "next_chain", js_u64(from_chain + shown));
    return o;
}

json_t *show_volumes(const struct daemon *d)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < d->hub.volumes_used; i++) {
        const struct hub_volume *v = &d->hub.volumes[i];
        if (v->used && !v->dropping)
            json_array_append_new(a, volume_head(d, v));
    }
    return a;
}

/* ---- nodes ---- */

static const char *node_state(const struct hub_node *n)
{
    switch (n->state) {
    case HUB_NODE_UP:
        return "up";
    case HUB_NODE_SUSPECT:
    case HUB_NODE_UNKNOWN:
        return "suspect";
    default:
        return "down";
    }
}

static json_t *node_chains(const struct daemon *d, const struct hub_node *n)
{
    json_t *a = json_array();
    unsigned shown = 0;

    for (uint32_t i = 0; i < d->hub.chains_used; i++) {
        const struct hub_chain *c = &d->hub.chains[i];
        if (!c->used || shown == NODE_CHAINS_SHOWN)
            continue;
        int at = kt_cfg_find(&c->row.cfg, &n->row.store);
        if (at < 0)
            continue;
        unsigned state = hub_member_state(&d->hub, c, (unsigned)at);
        json_array_append_new(
            a,
            json_pack("{s:o, s:s, s:s, s:s}", "chain", js_u64(c->row.cfg.chain),
                      "volume", d->hub.volumes[c->volume].row.name, "role",
                      show_role(&c->row.cfg, (unsigned)at), "state",
                      kt_member_state_name(state)));
        shown++;
    }
    return a;
}

json_t *show_node(const struct daemon *d, const struct hub_node *n, bool chains)
{
    uint64_t now = kt_now_ms();
    bool heard = n->size != 0; /* since this hub started */
    const char *state = !heard         ? "unknown"
                        : n->store_err ? "faulty"
                                       : "healthy";
    json_t *o = json_pack(
        "{s:s, s:o, s:s, s:o, s:[{s:o, s:o, s:o, s:s}], s:o, s:b, s:o}", "name",
        n->row.node.name, "id", js_id(&n->row.node.id), "state", node_state(n),
        "addresses", addresses(&n->row.node), "stores", "uuid",
        js_id(&n->row.store), "size", js_u64(n->size), "used", js_u64(n->used),
        "state", state, "incarnation", js_u64(n->row.incarnation),
        "insecure_links", (int)n->insecure_links, "last_seen_ms",
        js_u64(now > n->heard_ms ? now - n->heard_ms : 0));

    if (chains && o)
        json_object_set_new(o, "chains", node_chains(d, n));
    return o;
}

json_t *show_nodes(const struct daemon *d)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < d->hub.nodes_max; i++) {
        if (d->hub.nodes[i].state != HUB_NODE_FREE)
            json_array_append_new(a, show_node(d, &d->hub.nodes[i], false));
    }
    return a;
}
