/* SPDX-License-Identifier: BSD-3-Clause */
/* The replicator's shell: links to other members, and the connection to the
 * hub. */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

#define HUB_DEAF_US (5000u * SIM_MS)
#define LEAVE_US (2000u * SIM_MS) /* for LEAVE_OK */
#define LINK_DEAF_US (10000u * SIM_MS)

/* ---- links ---- */

struct slink *node_link(struct snode *n, int to, uint8_t cls)
{
    assert(to >= 0 && to < (int)SIM_NODES_MAX);
    return &n->links[to][cls - 1];
}

void node_want_link(struct snode *n, int to, uint8_t cls)
{
    if (to < 0) /* to none; or its store is lost, another answers there */
        return;
    struct slink *l = node_link(n, to, cls);
    if (!l->wanted) {
        l->wanted = true;
        l->next_us = n->w->now;
        l->backoff_ms = 20;
    }
}

static void break_it(struct world *w, uint64_t conn, uint64_t b, uint64_t c)
{
    (void)b;
    (void)c;
    net_break(w, conn);
}

/* A payload that does not match its sum is not taken, and the connection
 * closed: the one way a record can be missing before others. */
static bool damaged(struct snode *n, uint64_t conn, const struct kt_msg *m)
{
    struct world *w = n->w;
    if (m->type != KT_MSG_FWD || w->healed || !(w->p.faults & SIM_F_RESET) ||
        !rng_chance(&w->net, 3))
        return false;
    trace(w, n->ep, "damaged", conn, m->u.rec.id.seq, 0);
    world_at(w, rng_exp(&w->net, 5 * SIM_MS), break_it, conn, 0, 0);
    return true;
}

bool node_send_link(struct snode *n, int to, uint8_t cls,
                    const struct kt_msg *m)
{
    if (to < 0 || node_link(n, to, cls)->state != SLINK_UP)
        return false;
    if (cls == KT_CLASS_DATA && damaged(n, node_link(n, to, cls)->conn, m))
        return true;
    net_send(n->w, node_link(n, to, cls)->conn, n->ep, m, NULL);
    return true;
}

static void report(struct snode *n, struct slink *l, unsigned to, int err)
{
    if (n->w->now < l->report_us || !n->hub_up)
        return;
    l->report_us = n->w->now + 1000 * SIM_MS;
    struct kt_msg m = {.type = KT_MSG_REPORT, .req = ++n->reqs};
    m.u.report.node = n->w->nodes[to].node;
    m.u.report.err = err;
    net_send(n->w, n->hub_conn, n->ep, &m, NULL);
}

static void links_told(struct snode *n, unsigned to, uint8_t cls, bool up)
{
    for (unsigned i = 0; i < SIM_CHAINS_MAX; i++) {
        struct schain *sc = &n->chains[i];
        int peer = cls == KT_CLASS_DATA ? sc->succ : sc->dst;
        if (!sc->used || peer != (int)to)
            continue;
        struct chain_event ev = {.type =
                                     up ? CHAIN_EV_LINK_UP : CHAIN_EV_LINK_DOWN,
                                 .cls = cls,
                                 .peer = n->w->nodes[to].uuid};
        node_step(sc, &ev);
    }
}

void node_links_fine(struct snode *n)
{
    struct world *w = n->w;
    for (unsigned to = 0; to < w->p.nodes; to++) {
        for (uint8_t cls = KT_CLASS_DATA; cls <= KT_CLASS_SYNC; cls++) {
            struct slink *l = node_link(n, (int)to, cls);
            if (!l->wanted || l->state != SLINK_IDLE || l->next_us > w->now)
                continue;
            l->state = SLINK_OPENING;
            l->conn = net_connect(w, n->ep, SIM_EP_NODE(to), cls);
        }
    }
}

/* ---- the hub's connection ---- */

static void send_register(struct snode *n)
{
    struct kt_chain_report rows[SIM_CHAINS_MAX];
    struct store_info info;
    store_info(n->store, &info);
    struct kt_msg m = {.type = KT_MSG_REGISTER, .req = ++n->reqs};
    m.u.reg.node = n->node;
    m.u.reg.store = info.uuid;
    m.u.reg.incarnation = info.incarnation;
    m.u.reg.cont_base = info.cont_base;
    m.u.reg.size = info.size;
    m.u.reg.used = info.used;
    m.u.reg.store_err = info.err;
    m.u.reg.hub_term = n->hub_term;
    m.u.reg.hub_mark = n->hub_mark;
    m.u.reg.first = m.u.reg.last = 1;
    m.u.reg.chains = rows;
    for (unsigned i = 0; i < SIM_CHAINS_MAX; i++) {
        if (n->chains[i].used && !n->chains[i].dropping)
            chain_report(&n->chains[i].c, &rows[m.u.reg.n_chains++]);
    }
    net_send(n->w, n->hub_conn, n->ep, &m, NULL);
}

/* No PING is answered on a link where one end is out of step. */
void node_links_deaf(struct snode *n)
{
    struct world *w = n->w;
    for (unsigned to = 0; to < w->p.nodes; to++) {
        for (uint8_t cls = KT_CLASS_DATA; cls <= KT_CLASS_SYNC; cls++) {
            struct slink *l = node_link(n, (int)to, cls);
            uint64_t conn = l->conn;
            struct sconn *c = l->state == SLINK_UP ? net_conn(w, conn) : NULL;
            if (!c || !c->hung_us || w->now - c->hung_us < LINK_DEAF_US)
                continue;
            trace(w, n->ep, "peer_silent", conn, to, 0);
            net_close(w, conn, n->ep);
            node_conn_down(n, conn, SIM_EP_NODE(to), -ETIMEDOUT);
        }
    }
}

void node_hub_second(struct snode *n)
{
    struct world *w = n->w;
    struct store_info info;
    if (n->hub_up && w->now - n->hub_heard_us > HUB_DEAF_US) {
        uint64_t conn = n->hub_conn;
        net_close(w, conn, n->ep);
        node_conn_down(n, conn, SIM_EP_HUB, -ETIMEDOUT);
    }
    if (!n->registered || w->now - n->hub_hb_us < 1000 * SIM_MS)
        return;
    n->hub_hb_us = w->now;
    store_info(n->store, &info);
    struct kt_msg m = {.type = KT_MSG_HB, .req = ++n->reqs};
    m.u.hb.size = info.size;
    m.u.hb.used = info.used;
    m.u.hb.store_err = info.err;
    if (n->stuck_us && n->ops)
        m.u.hb.disk_stall_ms = (w->now - n->stuck_us) / SIM_MS;
    net_send(w, n->hub_conn, n->ep, &m, NULL);
}
void node_leave(struct snode *n)
{
    struct kt_msg m = {.type = KT_MSG_LEAVE, .req = ++n->reqs};
    n->leaving_us = n->w->now;
    trace(n->w, n->ep, "leave", 0, 0, 0);
    net_send(n->w, n->hub_conn, n->ep, &m, NULL);
}

bool node_left(struct snode *n)
{
    bool late = n->leaving_us && n->w->now - n->leaving_us > LEAVE_US;
    if (late)
        faults_left(n);
    return late;
}

/* ---- up and down ---- */

void node_conn_up(struct snode *n, struct sconn *c)
{
    unsigned peer = net_peer(c, n->ep);
    if (c->ep[0] != n->ep)
        return; /* accepted: it will say what it wants */
    if (peer == SIM_EP_HUB) {
        n->hub_up = true;
        n->hub_backoff_ms = 50;
        n->hub_heard_us = n->w->now;
        send_register(n);
        return;
    }
    struct slink *l = node_link(n, (int)peer - 1, c->cls);
    l->state = SLINK_UP;
    l->backoff_ms = 20;
    links_told(n, peer - 1, c->cls, true);
    ops_push_run(n);
}

static void link_lost(struct snode *n, unsigned to, uint8_t cls, int err)
{
    struct slink *l = node_link(n, (int)to, cls);
    bool was = l->state == SLINK_UP;
    l->state = SLINK_IDLE;
    l->conn = 0;
    l->next_us = n->w->now + l->backoff_ms * SIM_MS;
    l->backoff_ms = kt_min_u64(l->backoff_ms * 2, 1000);
    report(n, l, to, err);
    if (was)
        links_told(n, to, cls, false);
    ops_push_run(n);
}

void node_conn_down(struct snode *n, uint64_t conn, unsigned peer, int err)
{
    for (unsigned i = 0; i < SIM_CHAINS_MAX; i++) {
        struct chain_event ev = {.type = CHAIN_EV_CONN_GONE, .conn = conn};
        if (n->chains[i].used)
            node_step(&n->chains[i], &ev);
    }
    if (conn == n->hub_conn) {
        n->hub_conn = 0;
        n->hub_up = n->registered = false;
        n->hub_next_us = n->w->now + n->hub_backoff_ms * SIM_MS;
        n->hub_backoff_ms = kt_min_u64(n->hub_backoff_ms * 2, 1000);
        return;
    }
    if (peer < SIM_EP_NODE(0) || peer >= SIM_EP_CLIENT(0))
        return;
    for (uint8_t cls = KT_CLASS_DATA; cls <= KT_CLASS_SYNC; cls++) {
        if (node_link(n, (int)peer - 1, cls)->conn == conn)
            link_lost(n, peer - 1, cls, err);
    }
}
