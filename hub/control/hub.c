/* SPDX-License-Identifier: BSD-3-Clause */
/* The step function: one event in, actions out. */
#include "hub/control/internal.h"

void hub_init(struct hub *h, const struct hub_opts *o,
              const struct hub_cluster *cluster)
{
    memset(h, 0, sizeof(*h));
    assert(o->nodes_max <= HUB_NODES_MAX && o->chains_max <= HUB_CHAINS_MAX);
    assert(o->volumes_max <= HUB_VOLUMES_MAX && o->conns_max > 0);
    assert(o->tombs_max > 0);
    h->nodes = o->nodes;
    h->volumes = o->volumes;
    h->chains = o->chains;
    h->conns = o->conns;
    h->tombs = o->tombs;
    h->nodes_max = o->nodes_max;
    h->volumes_max = o->volumes_max;
    h->chains_max = o->chains_max;
    h->conns_max = o->conns_max;
    h->tombs_max = o->tombs_max;
    h->cluster = h->cluster_pend = *cluster;
    h->next_txn = 1;
    h->fresh_mark = o->fresh_mark;
    h->token_step = o->token_step ? o->token_step : HUB_TOKEN_STEP;
    h->syncs_max = o->syncs_max ? o->syncs_max : HUB_SYNCS_MAX;
    for (unsigned i = 0; i < HUB_HASH_SIZE; i++)
        h->hash[i] = HUB_NONE;
}

int hub_load_node(struct hub *h, const struct hub_node_row *r)
{
    if (hub_node_of(h, &r->node.id))
        return KT_E_CORRUPT;
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        struct hub_node *n = &h->nodes[i];
        if (n->state != HUB_NODE_FREE)
            continue;
        hub_node_move(n, HUB_NODE_UNKNOWN);
        n->row = *r;
        return 0;
    }
    return KT_E_LIMIT;
}

int hub_load_volume(struct hub *h, const struct hub_volume_row *r)
{
    if (hub_volume_of(h, &r->id) || hub_volume_named(h, r->name))
        return KT_E_CORRUPT;
    if (h->volumes_used == h->volumes_max)
        return KT_E_LIMIT;
    struct hub_volume *v = &h->volumes[h->volumes_used++];
    v->used = true;
    v->row = *r;
    v->first_chain = v->last_chain = HUB_NONE;
    v->found_creating = r->state == HUB_VOLUME_CREATING;
    return 0;
}

int hub_load_chain(struct hub *h, const struct hub_chain_row *r)
{
    const struct hub_volume *v = hub_volume_of(h, &r->cfg.volume);

    if (!v || kt_cfg_invalid(&r->cfg) || hub_chain_of(h, r->cfg.chain) ||
        r->cfg.chain >= h->cluster.next_chain)
        return KT_E_CORRUPT;
    if (!hub_chain_new(h, r, hub_volume_index(h, v)))
        return KT_E_LIMIT;
    return 0;
}

int hub_load_tomb(struct hub *h, const struct hub_tomb_row *r)
{
    if (h->n_tombs == h->tombs_max)
        return KT_E_LIMIT;
    hub_tomb_put(h, r);
    return 0;
}

void hub_start(struct hub *h, uint64_t now_ms)
{
    h->now_ms = h->start_ms = kt_max_u64(now_ms, 1);
    for (uint32_t i = 0; i < h->nodes_max; i++)
        h->nodes[i].heard_ms = h->now_ms;
    /* A1: nobody loses a lease because the hub was away. */
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        if (h->volumes[i].row.att.token)
            h->volumes[i].lease_ms = h->now_ms + HUB_LEASE_MS;
    }
    hub_recover_start(h);
}

/* ---- events ---- */

/* A hub whose database was lost takes the name of its cluster from the
 * nodes. */
static void learn_cluster(struct hub *h, const struct kt_msg *m)
{
    if (kt_id_is_zero(&h->cluster.id) && hub_in_recovery(h) &&
        m->u.hello.role == KT_ROLE_REPLICATOR)
        h->cluster.id = h->cluster_pend.id = m->u.hello.cluster;
}

static void conn_up(struct hub *h, const struct hub_event *ev)
{
    const struct kt_msg *m = ev->msg;
    struct hub_text t;

    learn_cluster(h, m);
    if (!kt_id_is_zero(&m->u.hello.cluster) &&
        !kt_id_eq(&m->u.hello.cluster, &h->cluster.id)) {
        t = hub_error(h, ev->conn, 0, KT_E_REFUSED);
        hub_text_add(&t, "this hub belongs to another cluster");
        hub_close(h, ev->conn);
        return;
    }
    for (uint32_t i = 0; i < h->conns_max; i++) {
        struct hub_conn *c = &h->conns[i];
        if (c->id)
            continue;
        memset(c, 0, sizeof(*c));
        c->id = ev->conn;
        c->role = m->u.hello.role;
        c->peer = m->u.hello.id;
        return;
    }
    hub_note(h, HUB_N_LIMIT);
    t = hub_error(h, ev->conn, 0, KT_E_LIMIT);
    hub_text_add(&t, "the hub has all the connections it can serve");
    hub_close(h, ev->conn);
}

static void conn_down(struct hub *h, const struct hub_event *ev)
{
    struct hub_conn *c = hub_conn_of(h, ev->conn);

    if (!c)
        return;
    memset(c, 0, sizeof(*c));
    hub_node_conn_down(h, ev->conn);
    hub_client_conn_down(h, ev->conn);
}

static void cfg_get(struct hub *h, const struct hub_event *ev)
{
    const struct hub_chain *c = hub_chain_of(h, ev->msg->chain);

    if (!c || hub_chain_frozen(h, c) || c->row.cfg.phase != KT_PHASE_ACTIVE) {
        struct hub_text t =
            hub_error(h, ev->conn, ev->msg->req, KT_E_UNKNOWN_CHAIN);
        hub_text_add(&t, "the hub knows no active chain ");
        hub_text_num(&t, ev->msg->chain);
        return;
    }
    struct kt_msg *m = hub_send(h, ev->conn, KT_MSG_ACTIVATE);
    m->req = ev->msg->req;
    m->chain = c->row.cfg.chain;
    m->epoch = c->row.cfg.epoch;
    m->cfg = &c->row.cfg;
}

static void message(struct hub *h, const struct hub_event *ev)
{
    const struct kt_msg *m = ev->msg;
    struct hub_conn *c = hub_conn_of(h, ev->conn);
    struct hub_node *n;

    if (!c)
        return; /* refused, and about to be closed */
    switch (m->type) {
    case KT_MSG_CFG:
    case KT_MSG_NAK:
        n = hub_conn_node(h, ev->conn);
        if (!n)
            n = hub_registering(h, ev->conn);
        if (n && m->type == KT_MSG_NAK && m->u.nak.re == KT_MSG_ACTIVATE)
            hub_chain_act_nak(h, n, m);
        else if (n)
            hub_regain_answer(h, n, m);
        break;
    case KT_MSG_PING:
        hub_send(h, ev->conn, KT_MSG_PONG)->req = m->req;
        break;
    case KT_MSG_CFG_GET:
        cfg_get(h, ev);
        break;
    case KT_MSG_ATTACH:
    case KT_MSG_RENEW:
    case KT_MSG_DETACH:
        hub_client_msg(h, c, m);
        break;
    default:
        if (m->type == KT_MSG_REGISTER && c->role == KT_ROLE_REPLICATOR) {
            hub_register(h, ev);
            break;
        }
        n = hub_conn_node(h, ev->conn);
        if (n) {
            hub_node_msg(h, n, m);
        } else if (m->type != KT_MSG_PONG && m->type != KT_MSG_ERROR) {
            struct hub_text t = hub_error(h, ev->conn, m->req, KT_E_INVALID);
            hub_text_add(&t, "only a registered replicator may send this");
        }
        break;
    }
}

static void stored(struct hub *h, const struct hub_event *ev)
{
    uint32_t i = ev->txn & 0x1ffff;

    if (ev->err) {
        h->broken = true; /* nothing may be acknowledged any more */
        return;
    }
    h->stored_txn = ev->txn;
    switch (ev->txn >> 17 & 7) {
    case HUB_OWNER_NODE:
        if (i < h->nodes_max && h->nodes[i].reg_txn == ev->txn)
            hub_register_stored(h, &h->nodes[i]);
        break;
    case HUB_OWNER_VOLUME:
        if (i < h->volumes_max && h->volumes[i].txn == ev->txn)
            hub_volume_stored(h, &h->volumes[i]);
        break;
    case HUB_OWNER_CLUSTER:
        if (h->cluster_txn == ev->txn)
            hub_recover_stored(h);
        break;
    case HUB_OWNER_CHAIN:
        if (i < h->chains_max && h->chains[i].used &&
            h->chains[i].op.txn == ev->txn)
            hub_op_stored(h, &h->chains[i]);
        break;
    default:
        break;
    }
}

void hub_step(struct hub *h, const struct hub_event *ev, struct hub_out *out)
{
    assert(out->max >= HUB_ACTS_MIN);
    out->n = 0;
    out->more = false;
    if (h->broken)
        return;
    h->out = out;
    h->stored_txn = 0;
    h->syncs_counted = false;
    h->now_ms = kt_max_u64(h->now_ms, ev->now_ms);
    if (ev->wall_s)
        h->wall_s = ev->wall_s;
    switch (ev->type) {
    case HUB_EV_CONN_UP:
        conn_up(h, ev);
        break;
    case HUB_EV_CONN_DOWN:
        conn_down(h, ev);
        break;
    case HUB_EV_MSG:
        message(h, ev);
        break;
    case HUB_EV_STORED:
        stored(h, ev);
        break;
    case HUB_EV_PROBED:
        hub_node_probed(h, ev->node, ev->err);
        break;
    case HUB_EV_ADMIN:
        hub_admin(h, ev);
        break;
    default:
        assert(ev->type == HUB_EV_TICK);
        hub_nodes_tick(h);
        hub_volumes_tick(h);
        hub_recover_tick(h);
        hub_push_run(h);
        if (h->chains_used)
            hub_chains_tick(h);
        break;
    }
    h->out = NULL;
}
