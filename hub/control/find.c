/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of the hub: who is where. */
#include "hub/control/internal.h"

uint32_t hub_node_index(const struct hub *h, const struct hub_node *n)
{
    assert(n >= h->nodes && n < h->nodes + h->nodes_max);
    return (uint32_t)(n - h->nodes);
}

uint32_t hub_volume_index(const struct hub *h, const struct hub_volume *v)
{
    assert(v >= h->volumes && v < h->volumes + h->volumes_max);
    return (uint32_t)(v - h->volumes);
}

uint32_t hub_chain_index(const struct hub *h, const struct hub_chain *c)
{
    assert(c >= h->chains && c < h->chains + h->chains_max);
    return (uint32_t)(c - h->chains);
}

struct hub_conn *hub_conn_of(const struct hub *h, uint64_t conn)
{
    for (uint32_t i = 0; conn && i < h->conns_max; i++) {
        if (h->conns[i].id == conn)
            return &h->conns[i];
    }
    return NULL;
}

struct hub_node *hub_conn_node(const struct hub *h, uint64_t conn)
{
    for (uint32_t i = 0; conn && i < h->nodes_max; i++) {
        if (h->nodes[i].conn == conn)
            return &h->nodes[i];
    }
    return NULL;
}

struct hub_node *hub_registering(const struct hub *h, uint64_t conn)
{
    for (uint32_t i = 0; conn && i < h->nodes_max; i++) {
        if (h->nodes[i].reg_conn == conn)
            return &h->nodes[i];
    }
    return NULL;
}

struct hub_volume *hub_volume_of(const struct hub *h, const struct kt_id *id)
{
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        struct hub_volume *v = &h->volumes[i];
        if (v->used && !v->dropping && kt_id_eq(&v->row.id, id))
            return v;
    }
    return NULL;
}

struct hub_volume *hub_volume_named(const struct hub *h, const char *name)
{
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        struct hub_volume *v = &h->volumes[i];
        if (v->used && !v->dropping && hub_same(v->row.name, name))
            return v;
    }
    return NULL;
}

struct hub_node *hub_node_of(const struct hub *h, const struct kt_id *node)
{
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        if (h->nodes[i].state != HUB_NODE_FREE &&
            kt_id_eq(&h->nodes[i].row.node.id, node))
            return &h->nodes[i];
    }
    return NULL;
}

struct hub_node *hub_node_named(const struct hub *h, const char *name)
{
    struct hub_node *found = NULL;

    for (uint32_t i = 0; i < h->nodes_max; i++) {
        struct hub_node *n = &h->nodes[i];
        if (n->state == HUB_NODE_FREE || !hub_same(n->row.node.name, name))
            continue;
        if (!found || hub_node_live(n))
            found = n;
    }
    return found;
}

struct hub_node *hub_member_node(const struct hub *h, const struct kt_member *m)
{
    struct hub_node *n = hub_node_of(h, &m->node.id);

    return n && kt_id_eq(&n->row.store, &m->store) ? n : NULL;
}

bool hub_node_live(const struct hub_node *n)
{
    return n && n->state == HUB_NODE_UP && n->conn != 0;
}

bool hub_tombed(const struct hub *h, const struct kt_id *volume)
{
    for (uint32_t i = 0; i < h->n_tombs; i++) {
        if (kt_id_eq(&h->tombs[i].volume, volume))
            return true;
    }
    return false;
}

/* The ring's oldest gives way; the caller deleted its row. */
void hub_tomb_put(struct hub *h, const struct hub_tomb_row *r)
{
    h->tombs[h->next_tomb] = *r;
    h->next_tomb = (h->next_tomb + 1) % h->tombs_max;
    if (h->n_tombs < h->tombs_max)
        h->n_tombs++;
}

/* ---- chains ---- */

static uint32_t hash_of(uint64_t chain)
{
    return (uint32_t)(chain * 0x9e3779b97f4a7c15ull >> 52) % HUB_HASH_SIZE;
}

struct hub_chain *hub_chain_of(const struct hub *h, uint64_t chain)
{
    uint32_t i = h->hash[hash_of(chain)];

    while (i != HUB_NONE) {
        if (h->chains[i].row.cfg.chain == chain)
            return &h->chains[i];
        i = h->chains[i].next_in_hash;
    }
    return NULL;
}

struct hub_chain *hub_chain_at(const struct hub *h, uint32_t index)
{
    return index < h->chains_max ? &h->chains[index] : NULL;
}

uint32_t hub_chains_free(const struct hub *h)
{
    uint32_t n = h->chains_max - h->chains_used;

    for (uint32_t i = 0; i < h->chains_used; i++)
        n += !h->chains[i].used;
    return n;
}

/* Into the list of its volume, which is in the order of the segments. */
static void link_chain(struct hub *h, struct hub_volume *v, uint32_t i)
{
    struct hub_chain *c = &h->chains[i];
    uint32_t *p = &v->first_chain;

    if (v->last_chain != HUB_NONE &&
        h->chains[v->last_chain].row.cfg.seg < c->row.cfg.seg)
        p = &h->chains[v->last_chain].next_of_volume;
    while (*p != HUB_NONE && h->chains[*p].row.cfg.seg < c->row.cfg.seg)
        p = &h->chains[*p].next_of_volume;
    c->next_of_volume = *p;
    *p = i;
    if (c->next_of_volume == HUB_NONE)
        v->last_chain = i;
}

struct hub_chain *hub_chain_new(struct hub *h, const struct hub_chain_row *r,
                                uint32_t volume)
{
    uint32_t i = h->free_hint;

    while (i < h->chains_used && h->chains[i].used)
        i++;
    h->free_hint = i;
    if (i == h->chains_max)
        return NULL;
    if (i == h->chains_used)
        h->chains_used++;

    struct hub_chain *c = &h->chains[i];
    struct hub_volume *v = &h->volumes[volume];
    memset(c, 0, sizeof(*c));
    c->used = true;
    c->row = *r;
    c->volume = volume;
    c->next_of_volume = HUB_NONE;
    for (unsigned m = 0; m < r->cfg.n_members; m++)
        c->known[m].store = r->cfg.members[m].store;
    uint32_t *head = &h->hash[hash_of(r->cfg.chain)];
    c->next_in_hash = *head;
    *head = i;
    v->n_chains++;
    link_chain(h, v, i);
    return c;
}

/* Only the first chain of its volume can go. */
void hub_chain_free(struct hub *h, struct hub_chain *c)
{
    struct hub_volume *v = &h->volumes[c->volume];
    uint32_t i = hub_chain_index(h, c);
    uint32_t *p = &h->hash[hash_of(c->row.cfg.chain)];

    assert(c->used && v->n_chains > 0 && v->first_chain == i);
    while (*p != i) {
        assert(*p != HUB_NONE);
        p = &h->chains[*p].next_in_hash;
    }
    *p = c->next_in_hash;
    v->first_chain = c->next_of_volume;
    v->n_chains--;
    if (h->free_hint > i)
        h->free_hint = i;
    memset(c, 0, sizeof(*c));
}

/* ---- what people see ---- */

/* Serving members that live, or may: a suspect counts until it is dead. */
static unsigned serving_good(const struct hub *h, const struct kt_cfg *cfg)
{
    unsigned good = 0;

    for (unsigned i = 0; i < kt_cfg_serving(cfg); i++) {
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        good += n && n->state != HUB_NODE_DEAD && n->store_err == 0 &&
                (n->state != HUB_NODE_UP ||
                 n->row.incarnation == cfg->members[i].incarnation);
    }
    return good;
}

unsigned hub_member_state(const struct hub *h, const struct hub_chain *c,
                          unsigned member)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    assert(member < cfg->n_members);
    const struct hub_node *n = hub_member_node(h, &cfg->members[member]);
    unsigned state = cfg->members[member].state;

    if (state == KT_M_QUARANTINED || state == KT_M_RELEASED)
        return state;
    if (n && n->store_err)
        return KT_M_FAULTY;
    bool gone = !n || n->state == HUB_NODE_DEAD;
    if (state == KT_M_SERVING && gone)
        return serving_good(h, cfg) == 0 ? KT_M_LAST : KT_M_OFFLINE;
    if (state == KT_M_WAITING || state == KT_M_OFFLINE ||
        state == KT_M_SYNCING) {
        if (gone)
            return KT_M_OFFLINE;
        return state == KT_M_OFFLINE ? KT_M_WAITING : state;
    }
    return state;
}

enum hub_health hub_chain_health(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    unsigned good = serving_good(h, cfg);

    if (cfg->phase != KT_PHASE_ACTIVE || good == 0 || good < cfg->min_write)
        return HUB_UNAVAILABLE;
    return good < cfg->want_r ? HUB_DEGRADED : HUB_HEALTHY;
}

const char *hub_chain_state_name(enum hub_chain_state s)
{
    static const char *const names[HUB_C_STATES] = {
        "creating", "active",     "blocked", "prepare",
        "down",     "recovering", "lost",    "deleting"};

    assert(s < HUB_C_STATES);
    return names[s];
}

enum hub_chain_state hub_chain_state(const struct hub *h,
                                     const struct hub_chain *c)
{
    const struct hub_volume *v = &h->volumes[c->volume];
    const struct kt_cfg *cfg = &c->row.cfg;
    unsigned good = serving_good(h, cfg);

    if (v->dropping || (v->txn && v->txn_why == HUB_TXN_RM))
        return HUB_C_DELETING;
    if (c->recovering)
        return HUB_C_RECOVERING;
    if (v->row.state == HUB_VOLUME_LOST)
        return HUB_C_LOST;
    if (cfg->last_epoch == 0)
        return HUB_C_CREATING;
    if (good == 0)
        return HUB_C_DOWN;
    if (c->op.phase != HUB_OP_NONE || c->row.prepare > cfg->epoch)
        return HUB_C_PREPARE;
    return good < cfg->min_write ? HUB_C_BLOCKED : HUB_C_ACTIVE;
}
