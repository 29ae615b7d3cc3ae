/* SPDX-License-Identifier: BSD-3-Clause */
/* Registration: a replicator says who it is and what it holds.
 *
 *   1. First page: identity is checked (F32, F36). A refusal is an ERROR and
 *      the end of the connection; nothing is remembered of it.
 *   2. Every page: what the node promised and applied is noted per chain;
 *      chains of removed volumes are released, unknown ones left alone (I22).
 *   3. Last page: the node's row is stored if it changed; then the node is UP,
 *      REGISTER_OK goes out and its chains are looked at. */
#include "hub/control/internal.h"

static bool addr_eq(const struct kt_addr *a, const struct kt_addr *b)
{
    if (a->kind != b->kind)
        return false;
    return a->kind == KT_ADDR_NONE ||
           (a->port == b->port && hub_same(a->host, b->host));
}

static bool same_place(const struct kt_node *a, const struct kt_node *b)
{
    return kt_id_eq(&a->boot, &b->boot) && addr_eq(&a->tcp, &b->tcp) &&
           addr_eq(&a->unix_, &b->unix_);
}

/* The row's own bytes; structs may hold padding. */
static bool row_eq(const struct hub_node_row *a, const struct hub_node_row *b)
{
    return kt_id_eq(&a->node.id, &b->node.id) &&
           kt_id_eq(&a->store, &b->store) && a->incarnation == b->incarnation &&
           same_place(&a->node, &b->node) &&
           hub_same(a->node.name, b->node.name);
}

static struct hub_text refuse(struct hub *h, const struct hub_event *ev,
                              const char *who)
{
    struct hub_text t = hub_error(h, ev->conn, ev->msg->req, KT_E_REFUSED);

    hub_text_add(&t, "node ");
    hub_text_add(&t, who);
    hub_text_add(&t, " ");
    return t;
}

/* The refusal is the last action: tell the log, and hang up. */
static void refused(struct hub *h, const struct hub_event *ev)
{
    const struct kt_msg said = h->out->act[h->out->n - 1].msg;
    struct hub_action *a = hub_note(h, HUB_N_NODE_REFUSED);

    a->conn = ev->conn;
    a->msg = said;
    hub_close(h, ev->conn);
}

/* The node's, or where it is about to be one: its first row is being stored.
 * NULL: never seen. */
static struct hub_node *slot_of(const struct hub *h, const struct kt_id *node)
{
    struct hub_node *n = hub_node_of(h, node);

    for (uint32_t i = 0; !n && i < h->nodes_max; i++) {
        if ((h->nodes[i].reg_txn || h->nodes[i].reg_conn) &&
            kt_id_eq(&h->nodes[i].reg_row.node.id, node))
            n = &h->nodes[i];
    }
    return n;
}

/* A slot of a node never seen, or NULL. */
static struct hub_node *new_slot(struct hub *h)
{
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        if (h->nodes[i].state == HUB_NODE_FREE && !h->nodes[i].reg_txn &&
            !h->nodes[i].reg_conn)
            return &h->nodes[i];
    }
    return NULL;
}

/* True when the store is known under another node's identity. */
static bool store_elsewhere(const struct hub *h, const struct kt_id *store,
                            const struct kt_id *node)
{
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        const struct hub_node *n = &h->nodes[i];
        if (n->state != HUB_NODE_FREE && kt_id_eq(&n->row.store, store) &&
            !kt_id_eq(&n->row.node.id, node))
            return true;
    }
    return false;
}

/* Why a known node may not register like this; false when it may. */
static bool known_refused(struct hub *h, const struct hub_event *ev,
                          struct hub_node *n)
{
    const struct kt_msg *m = ev->msg;
    const char *who = m->u.reg.node.name;
    struct hub_text t;

    if (!kt_id_eq(&n->row.store, &m->u.reg.store)) {
        t = refuse(h, ev, who);
        hub_text_add(&t, "registered with another store before; a store does "
                         "not change its identity: start it on its own "
                         "directory, or give the new store a new node");
        return true;
    }
    if (m->u.reg.incarnation < n->row.incarnation ||
        (m->u.reg.incarnation == n->row.incarnation &&
         !kt_id_eq(&m->u.reg.node.boot, &n->row.node.boot))) {
        hub_node_reverted(h, n);
        t = refuse(h, ev, who);
        hub_text_add(&t, "shows an older state of its store (start ");
        hub_text_num(&t, m->u.reg.incarnation);
        hub_text_add(&t, ", seen before: ");
        hub_text_num(&t, n->row.incarnation);
        hub_text_add(&t, "): was it restored from a snapshot or copied? Its "
                         "data cannot be trusted");
        return true;
    }
    if (n->conn && n->conn != ev->conn &&
        h->now_ms - n->heard_ms < HUB_HB_TIMEOUT_MS &&
        !same_place(&n->row.node, &m->u.reg.node)) {
        t = refuse(h, ev, who);
        hub_text_add(&t, "is connected from another place with the same "
                         "store: is this a copy of its disk?");
        return true;
    }
    return false;
}

/* Bytes of a connection that the node gave up may still come, when it has long
 * registered on another: they tell what it was. Connections are numbered in the
 * order in which they were accepted, and nobody makes one that is given up. */
static bool outdated(const struct hub *h, const struct hub_event *ev)
{
    const struct hub_node *n = slot_of(h, &ev->msg->u.reg.node.id);

    if (!n || ev->conn >= n->newest || !KT_RULE(newest_conn))
        return false;
    KT_REACH(old_register);
    return true;
}

/* The node this page belongs to, checked; NULL when refused. */
static struct hub_node *first_page(struct hub *h, const struct hub_event *ev)
{
    const struct kt_msg *m = ev->msg;
    struct hub_node *n = slot_of(h, &m->u.reg.node.id);
    struct hub_text t;

    if (!kt_name_valid(m->u.reg.node.name) ||
        kt_id_is_zero(&m->u.reg.node.id) || kt_id_is_zero(&m->u.reg.store) ||
        m->u.reg.incarnation == 0 ||
        m->u.reg.cont_base > m->u.reg.incarnation) {
        t = hub_error(h, ev->conn, m->req, KT_E_INVALID);
        hub_text_add(&t, "the registration lacks a name, an identity or an "
                         "incarnation");
        return NULL;
    }
    if (store_elsewhere(h, &m->u.reg.store, &m->u.reg.node.id)) {
        t = refuse(h, ev, m->u.reg.node.name);
        hub_text_add(&t, "shows a store that belongs to another node: is this "
                         "a copy of its disk?");
        return NULL;
    }
    if (n && n->state != HUB_NODE_FREE && known_refused(h, ev, n))
        return NULL;
    if (!n)
        n = new_slot(h);
    if (!n) {
        t = hub_error(h, ev->conn, m->req, KT_E_LIMIT);
        hub_text_add(&t, "the cluster has all the nodes it can hold");
        hub_note(h, HUB_N_LIMIT)->a = HUB_ROW_NODE;
        return NULL;
    }
    n->reg_conn = n->newest = ev->conn;
    n->reg_row.node = m->u.reg.node;
    n->reg_row.store = m->u.reg.store;
    n->reg_row.incarnation = m->u.reg.incarnation;
    n->cont_base = m->u.reg.cont_base;
    n->size = m->u.reg.size;
    n->used = m->u.reg.used;
    n->store_err = m->u.reg.store_err;
    n->disk_stall_ms = 0;
    n->insecure_links = m->u.reg.insecure_links != 0;
    for (uint32_t i = 0; i < h->chains_used; i++) {
        struct hub_chain *c = &h->chains[i];
        int at = c->used ? kt_cfg_find(&c->row.cfg, &n->reg_row.store) : -1;
        if (at >= 0)
            c->known[at].shown = 0;
    }
    hub_recover_shown(h, n, m);
    return n;
}

static void note_report(struct hub *h, const struct hub_event *ev,
                        struct hub_node *n, const struct kt_chain_report *r)
{
    struct hub_chain *c = hub_chain_of(h, r->chain);

    if ((!c || h->volumes[c->volume].dropping) && hub_tombed(h, &r->volume)) {
        /* I22: nothing is deleted because it is merely unknown. */
        hub_release(h, ev->conn, r->chain, &r->volume);
        return;
    }
    if (c && !kt_id_eq(&c->row.cfg.volume, &r->volume) &&
        !kt_id_is_zero(&r->volume))
        return;
    hub_recover_report(h, n, ev->conn, r);
    if (!c)
        return;
    c->heard = kt_max_u64(c->heard, kt_max_u64(r->promised, r->cfg_epoch));
    int i = kt_cfg_find(&c->row.cfg, &n->reg_row.store);
    if (i >= 0) {
        c->known[i].shown = r->promised;
        c->known[i].applied = r->applied;
        c->known[i].told = true;
        c->known[i].holds = r->cfg_epoch > 0 || r->applied.seq > 0;
    }
}

static void finish(struct hub *h, struct hub_node *n)
{
    uint64_t old = n->conn;

    n->row = n->reg_row;
    n->conn = n->reg_conn;
    n->reg_conn = 0;
    n->seen = true;
    n->leaving = n->leave_said = false;
    n->leave_req = 0;
    if (old && old != n->conn)
        hub_close(h, old);
    struct kt_msg *m = hub_send(h, n->conn, KT_MSG_REGISTER_OK);
    m->req = n->reg_req;
    m->u.reg_ok.cluster = h->cluster.id;
    if (!hub_in_recovery(h)) { /* else it keeps what it has (B15) */
        m->u.reg_ok.hub_term = h->cluster.term;
        m->u.reg_ok.hub_mark = h->cluster.mark;
    }
    hub_node_up(h, n);
    for (uint32_t i = 0; i < h->chains_used; i++) {
        struct hub_chain *c = &h->chains[i];
        if (c->used)
            hub_chain_registered(h, c, n);
    }
}

void hub_register(struct hub *h, const struct hub_event *ev)
{
    const struct kt_msg *m = ev->msg;
    struct hub_node *n = NULL;

    if (m->u.reg.first) {
        if (outdated(h, ev)) {
            hub_close(h, ev->conn);
            return;
        }
        n = first_page(h, ev);
        if (!n) {
            refused(h, ev);
            return;
        }
    }
    if (!n)
        n = hub_registering(h, ev->conn);
    if (!n) {
        struct hub_text t = hub_error(h, ev->conn, m->req, KT_E_PROTO);
        hub_text_add(&t, "a registration begins with its first page");
        return;
    }
    for (uint32_t i = 0; i < m->u.reg.n_chains; i++) {
        if (hub_room(h) > HUB_CHAIN_ROOM)
            note_report(h, ev, n, &m->u.reg.chains[i]);
    }
    if (!m->u.reg.last)
        return;
    n->reg_req = m->req;
    if (n->state != HUB_NODE_FREE && row_eq(&n->row, &n->reg_row)) {
        finish(h, n);
        return;
    }
    struct hub_action *a = hub_store(h, HUB_OWNER_NODE, hub_node_index(h, n));
    n->reg_txn = a->txn;
    hub_row_add(a, HUB_ROW_NODE)->u.node = &n->reg_row;
}

void hub_register_stored(struct hub *h, struct hub_node *n)
{
    n->reg_txn = 0;
    if (n->reg_conn) {
        finish(h, n);
        return;
    }
    /* It hung up meanwhile: known, but not here. */
    n->row = n->reg_row;
    if (n->state == HUB_NODE_FREE)
        hub_node_move(n, HUB_NODE_UNKNOWN);
}
