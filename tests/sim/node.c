/* SPDX-License-Identifier: BSD-3-Clause */
/* The replicator's shell, with the meaning of replicator/daemon: chains,
 * links to other members, the control connection, what becomes of each action
 * that is not the store's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/rule.h"
#include "tests/sim/sim.h"

#define TICK_US (100u * SIM_MS)
#define FINE_US (5u * SIM_MS)
#define STEPS_MAX 10000u

int node_of_store(const struct world *w, const struct kt_id *store)
{
    for (unsigned i = 0; i < w->p.nodes; i++) {
        if (kt_id_eq(&w->nodes[i].uuid, store))
            return (int)i;
    }
    return -1;
}

static struct schain *chain_of(struct snode *n, uint64_t chain)
{
    struct schain *sc = NULL;
    if (chain >= 1 && chain <= SIM_CHAINS_MAX)
        sc = &n->chains[chain - 1];
    return sc && sc->used && !sc->dropping ? sc : NULL;
}

/* ---- life ---- */

static void make_boot(struct snode *n)
{
    uint64_t v = rng_next(&n->w->fault);
    memcpy(n->node.boot.b, &v, 8);
}

/* An empty directory: its store will be another one, of another node. */
static void blank(struct snode *n, uint64_t seed)
{
    struct world *w = n->w;
    n->disk = store_mem_disk_new(seed, w->p.slots);
    assert(n->disk);
    store_mem_set_retain(n->disk, w->p.retain);
    n->uuid = n->disk->uuid;
    n->node.id = n->disk->node;
}

void node_swap(struct snode *n, struct store_mem_disk *d)
{
    struct world *w = n->w;
    assert(!n->store);
    trace(w, n->ep, d ? "older" : "wiped", d ? d->incarnation : 0,
          n->disk->incarnation, 0);
    uint64_t seed = mem_random(n->disk);
    store_mem_disk_free(n->disk);
    n->disk = d;
    if (d)
        return;
    w->lost_node = n->node.id;
    w->lost_store = n->uuid;
    blank(n, seed);
    n->hub_term = 0; /* what it knew of the hub was there, too (B15) */
    memset(&n->hub_mark, 0, sizeof(n->hub_mark));
}

void node_init(struct world *w, unsigned index)
{
    struct snode *n = &w->nodes[index];
    n->w = w;
    n->index = index;
    n->ep = SIM_EP_NODE(index);
    blank(n, w->seed * 31 + index + 1);
    make_boot(n);
    snprintf(n->node.name, sizeof(n->node.name), "n%u", index + 1);
    n->node.tcp.kind = KT_ADDR_TCP;
    n->node.tcp.port = (uint16_t)(1 + index);
    snprintf(n->node.tcp.host, sizeof(n->node.tcp.host), "127.0.0.1");
    w->procs[n->ep].machine = true;
}

static void chain_add(struct snode *n, struct store_chain *st)
{
    static struct store_chain_info si;
    struct store_info info;
    store_chain_info(st, &si);
    store_info(n->store, &info);
    struct schain *sc = &n->chains[si.chain - 1];
    struct chain_origin o = {.chain = si.chain,
                             .store = info.uuid,
                             .incarnation = info.incarnation,
                             .cont_base = info.cont_base,
                             .promised = si.promised,
                             .cfg = si.have_cfg ? &si.cfg : NULL,
                             .whole = si.whole,
                             .applied = si.applied,
                             .durable = si.durable,
                             .dedup = &si.dedup,
                             .alloc = si.alloc};
    if (n->w->p.digests)
        memset(&o.whole, 0, sizeof(o.whole));
    memset(sc, 0, offsetof(struct schain, c));
    sc->used = true;
    sc->n = n;
    sc->sc = st;
    sc->succ = sc->dst = -1;
    chain_init(&sc->c, &o);
}

static struct schain *chain_create(struct snode *n, uint64_t chain)
{
    struct store_chain *st = NULL;
    if (chain >= 1 && chain <= SIM_CHAINS_MAX)
        st = store_chain_create(n->store, chain, SIM_CHAIN_EXTENTS);
    if (!st)
        return NULL;
    chain_add(n, st);
    return &n->chains[chain - 1];
}

static void fine(struct world *w, uint64_t index, uint64_t life, uint64_t c);
static void tick(struct world *w, uint64_t index, uint64_t life, uint64_t c);

void node_start(struct snode *n)
{
    struct world *w = n->w;
    struct proc *p = &w->procs[n->ep];
    char why[200];
    if (p->alive)
        return;
    if (!p->machine)
        make_boot(n);
    struct store_opts o = {.boot = n->node.boot, .create = true};
    store_mem_set_disk(n->disk);
    int err = store_open("", &o, &n->store, why, sizeof(why));
    SIM_CHECK(w, err == 0, "the store does not open: %s", why);
    p->alive = p->machine = true;
    p->life++;
    p->paused_until = n->stuck_us = 0;
    n->leaving_us = 0;
    memset(n->links, 0, sizeof(n->links));
    n->hub_conn = n->hub_next_us = 0;
    n->hub_backoff_ms = 50;
    n->hub_up = n->registered = n->disk_due = false;
    struct store_chain *st = NULL;
    uint64_t after = 0;
    while ((st = store_chain_next(n->store, after)) != NULL) {
        after = st->id;
        chain_add(n, st);
    }
    struct store_info info;
    store_info(n->store, &info);
    trace(w, n->ep, "start", info.incarnation, info.cont_base, n->index);
    world_at(w, rng_below(&w->net, FINE_US), fine, n->index, p->life, 0);
    world_at(w, rng_below(&w->net, TICK_US), tick, n->index, p->life, 0);
}

/* ---- stepping ---- */

void node_send_hub(struct snode *n, const struct kt_msg *m)
{
    if (n->hub_up)
        net_send(n->w, n->hub_conn, n->ep, m, NULL);
}

static void tell_writer(struct snode *n, const struct kt_cfg *cfg)
{
    struct world *w = n->w;
    struct kt_msg m = {.type = KT_MSG_CFG,
                       .chain = cfg->chain,
                       .epoch = cfg->epoch,
                       .cfg = cfg};
    for (unsigned i = 0; i < SIM_CONNS_MAX && KT_RULE(cfg_told); i++) {
        struct sconn *c = &w->conns[i];
        unsigned peer = c->ep[0];
        if (!c->id || c->ep[1] != n->ep || peer < SIM_EP_CLIENT(0))
            continue;
        if (kt_id_eq(&w->clients[peer - SIM_EP_CLIENT(0)].id, &cfg->client))
            net_send(w, c->id, n->ep, &m, NULL);
    }
}

static void act_send(struct schain *sc, const struct chain_act *a)
{
    struct snode *n = sc->n;
    struct grec *g = NULL;
    if (a->msg.type == KT_MSG_ACK)
        g = ghost_ack(sc, &a->msg);
    else if (a->msg.type == KT_MSG_FLUSH_OK)
        ghost_flush_ok(sc, &a->msg);
    else if (a->msg.type == KT_MSG_SYNC_ACK)
        ghost_sync_ack(sc, &a->msg);
    net_send(n->w, a->conn, n->ep, &a->msg, g);
}

/* SYNC_START carries the duplicate filter. */
static void act_send_dst(struct schain *sc, const struct chain_act *a)
{
    struct kt_msg m = a->msg;
    if (m.type == KT_MSG_SYNC_START) {
        m.buf = kt_buf_new(KT_DEDUP_BYTES, 0);
        assert(m.buf && a->dedup);
        kt_dedup_encode(a->dedup, m.buf->data);
        m.buf->data_len = KT_DEDUP_BYTES;
        sc->n->w->st->resyncs += !m.u.sync.suffix;
    } else if (m.type == KT_MSG_SYNC_END) {
        sc->n->w->st->extents++;
    }
    node_send_link(sc->n, sc->dst, KT_CLASS_SYNC, &m);
    if (m.type == KT_MSG_SYNC_START)
        kt_buf_unref(m.buf);
}

static void act(struct schain *sc, const struct chain_act *a)
{
    struct snode *n = sc->n;
    switch (a->type) {
    case CHAIN_ACT_SEND:
        act_send(sc, a);
        break;
    case CHAIN_ACT_SEND_SUCC:
        node_send_link(n, sc->succ, KT_CLASS_DATA, &a->msg);
        break;
    case CHAIN_ACT_SEND_DST:
        act_send_dst(sc, a);
        break;
    case CHAIN_ACT_SEND_HUB:
        ghost_told_hub(sc, &a->msg);
        n->w->st->slow += a->msg.type == KT_MSG_REPORT;
        node_send_hub(n, &a->msg);
        break;
    case CHAIN_ACT_RELEASE:
        kt_buf_unref(a->buf);
        break;
    case CHAIN_ACT_ACKED:
        store_acked(n->store, sc->sc, a->seq);
        break;
    case CHAIN_ACT_CREDIT:
        sc->want = a->want;
        sc->credit_due = true;
        break;
    case CHAIN_ACT_EQ_PUSH:
        ops_push(sc, a);
        break;
    case CHAIN_ACT_CONFIG:
        sc->config_due = true;
        tell_writer(n, &sc->c.cfg);
        break;
    default:
        ops_act(sc, a);
        break;
    }
}

static void recount(struct schain *sc)
{
    const struct kt_member *s = chain_wants_succ(&sc->c);
    const struct kt_member *d = chain_wants_dst(&sc->c);
    struct snode *n = sc->n;
    sc->succ = s ? node_of_store(n->w, &s->store) : -1;
    sc->dst = d ? node_of_store(n->w, &d->store) : -1;
    node_want_link(n, sc->succ, KT_CLASS_DATA);
    node_want_link(n, sc->dst, KT_CLASS_SYNC);
    sc->up_data = sc->succ >= 0 && n->links[sc->succ][0].state == SLINK_UP;
    sc->up_sync = sc->dst >= 0 && n->links[sc->dst][1].state == SLINK_UP;
}

static bool next_event(struct schain *sc, struct chain_event *ev)
{
    struct snode *n = sc->n;
    memset(ev, 0, sizeof(*ev));
    if (sc->credit_due) {
        sc->credit_due = false;
        ev->type = CHAIN_EV_CREDIT;
        ev->set_aside = store_grant(n->store, sc->sc, sc->want);
        ev->full = store_is_full(n->store);
        sc->grant_short = ev->set_aside < sc->want;
        return true;
    }
    if (sc->config_due) {
        sc->config_due = false;
        recount(sc);
    }
    if (sc->up_data || sc->up_sync) {
        bool data = sc->up_data;
        ev->type = CHAIN_EV_LINK_UP;
        ev->cls = data ? KT_CLASS_DATA : KT_CLASS_SYNC;
        ev->peer = n->w->nodes[data ? sc->succ : sc->dst].uuid;
        if (data)
            sc->up_data = false;
        else
            sc->up_sync = false;
        return true;
    }
    return false;
}

static void step_once(struct schain *sc, struct chain_event *ev)
{
    struct world *w = sc->n->w;
    struct chain_out *out = &w->chain_out;
    uint64_t epoch = sc->c.have_cfg ? sc->c.cfg.epoch : 0;
    ev->now_ms = world_ms(w);
    chain_step(&sc->c, ev, out);
    chain_check_all(&sc->c);
    SIM_CHECK(w,
              sc->c.received.seq - sc->c.acked <= CHAIN_INFLIGHT_MAX ||
                  sc->c.role != CHAIN_MEMBER,
              "n%u holds %" PRIu64 " records that are not acknowledged",
              sc->n->index + 1, sc->c.received.seq - sc->c.acked);
    if (sc->c.phase == CHAIN_ACTIVE && sc->c.cfg.epoch > epoch)
        ghost_activated(sc);
    for (uint32_t i = 0; i < out->n; i++)
        act(sc, &out->acts[i]);
}

void node_step(struct schain *sc, struct chain_event *ev)
{
    struct world *w = sc->n->w;
    if (sc->dropping)
        return;
    step_once(sc, ev);
    bool more = w->chain_out.more;
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        struct chain_event e;
        if (!next_event(sc, &e)) {
            if (!more)
                break;
            more = false;
            e.type = CHAIN_EV_TICK;
        }
        step_once(sc, &e);
        more = more || w->chain_out.more;
    }
    ops_schedule(sc->n);
}

/* ---- time ---- */

static void fine(struct world *w, uint64_t index, uint64_t life, uint64_t c)
{
    struct snode *n = &w->nodes[index];
    (void)c;
    if (!w->procs[n->ep].alive || w->procs[n->ep].life != life)
        return;
    world_at(w, FINE_US * 4, fine, index, life, 0);
    if (!world_runs(w, n->ep))
        return;
    node_links_fine(n);
    ops_push_run(n);
    if (!n->hub_conn && n->hub_next_us <= w->now)
        n->hub_conn = net_connect(w, n->ep, SIM_EP_HUB, KT_CLASS_CONTROL);
}

static void tick(struct world *w, uint64_t index, uint64_t life, uint64_t c)
{
    struct snode *n = &w->nodes[index];
    (void)c;
    if (!w->procs[n->ep].alive || w->procs[n->ep].life != life)
        return;
    world_at(w, TICK_US, tick, index, life, 0);
    if (!world_runs(w, n->ep))
        return;
    n->ticks++;
    if (node_left(n))
        return;
    node_links_deaf(n);
    node_hub_second(n);
    for (unsigned i = 0; i < SIM_CHAINS_MAX; i++) {
        struct chain_event ev = {.type = CHAIN_EV_TICK};
        if (!n->chains[i].used)
            continue;
        if (n->chains[i].grant_short)
            n->chains[i].credit_due = true;
        node_step(&n->chains[i], &ev);
    }
}
/* ---- from the net ---- */

static void nak(struct snode *n, const struct sconn *c, const struct kt_msg *re,
                int err)
{
    struct kt_msg m = {.type = KT_MSG_NAK,
                       .req = re->req,
                       .chain = re->chain,
                       .epoch = re->epoch};
    m.u.nak.err = err;
    m.u.nak.re = re->type;
    if (re->type == KT_MSG_WRITE)
        m.u.nak.wseq = re->u.write.wseq;
    net_send(n->w, c->id, n->ep, &m, NULL);
}

/* Another node was asked of: does it live, as seen from here? */
static void probed(struct world *w, uint64_t index, uint64_t target,
                   uint64_t req)
{
    struct snode *n = &w->nodes[index];
    const struct proc *p = &w->procs[SIM_EP_NODE(target)];
    if (!world_runs(w, n->ep) || !n->hub_up)
        return;
    bool cut = net_blocked(w, n->ep, SIM_EP_NODE(target)) ||
               net_blocked(w, SIM_EP_NODE(target), n->ep);
    struct kt_msg m = {.type = KT_MSG_PROBE_OK, .req = req};
    m.u.report.node = w->nodes[target].node;
    if (cut || !p->machine || p->paused_until > w->now)
        m.u.report.err = -ETIMEDOUT;
    else if (!p->alive)
        m.u.report.err = -ECONNREFUSED;
    net_send(w, n->hub_conn, n->ep, &m, NULL);
}

static void probe(struct snode *n, const struct kt_msg *m)
{
    for (unsigned i = 0; i < n->w->p.nodes; i++) {
        if (kt_id_eq(&n->w->nodes[i].node.id, &m->u.report.node.id))
            world_at(n->w, rng_range(&n->w->net, 1, 700) * SIM_MS, probed,
                     n->index, i, m->req);
    }
}
static void to_chain(struct snode *n, struct schain *sc, struct sconn *c,
                     const struct kt_msg *m)
{
    unsigned peer = net_peer(c, n->ep);
    struct kt_msg changed = *m;
    struct chain_event ev = {
        .type = CHAIN_EV_MSG, .cls = c->cls, .conn = c->id, .msg = &changed};
    mutant_message(sc, &changed);
    if (peer == SIM_EP_HUB) {
        ev.role = KT_ROLE_HUB;
    } else if (peer < SIM_EP_CLIENT(0)) {
        ev.role = KT_ROLE_REPLICATOR;
        ev.peer = n->w->nodes[peer - 1].uuid;
    } else {
        ev.role = KT_ROLE_CLIENT;
        ev.peer = n->w->clients[peer - SIM_EP_CLIENT(0)].id;
    }
    if (m->type == KT_MSG_EQDATA && !m->u.eqdata.last)
        n->w->st->eq_records++;
    node_step(sc, &ev);
}

static void answer_cfg(struct snode *n, const struct schain *sc,
                       const struct sconn *c, const struct kt_msg *m)
{
    if (!sc->c.have_cfg) {
        nak(n, c, m, KT_E_NOT_SERVING);
        return;
    }
    struct kt_msg a = {.type = KT_MSG_CFG,
                       .req = m->req,
                       .chain = m->chain,
                       .epoch = sc->c.cfg.epoch,
                       .cfg = &sc->c.cfg};
    net_send(n->w, c->id, n->ep, &a, NULL);
}

static void from_hub(struct snode *n, struct sconn *c, const struct kt_msg *m)
{
    struct schain *sc = chain_of(n, m->chain);
    /* Whatever it asks or tells of itself is no sign that it hears us. */
    if (!n->registered || m->type == KT_MSG_HB_OK)
        n->hub_heard_us = n->w->now;
    switch (m->type) {
    case KT_MSG_REGISTER_OK:
        n->registered = true;
        if (m->u.reg_ok.hub_term > n->hub_term) {
            n->hub_term = m->u.reg_ok.hub_term;
            n->hub_mark = m->u.reg_ok.hub_mark;
        }
        break;
    case KT_MSG_LEAVE_OK:
        if (n->leaving_us)
            faults_left(n);
        break;
    case KT_MSG_CFG_GET:
        if (sc)
            answer_cfg(n, sc, c, m);
        else
            nak(n, c, m, KT_E_UNKNOWN_CHAIN);
        break;
    case KT_MSG_PING:
        net_send(n->w, c->id, n->ep,
                 &(struct kt_msg){.type = KT_MSG_PONG, .req = m->req}, NULL);
        break;
    case KT_MSG_PROBE:
        probe(n, m);
        break;
    case KT_MSG_RELEASE:
        node_release_chain(n, sc, m);
        break;
    case KT_MSG_SEAL:
    case KT_MSG_EQ:
    case KT_MSG_ACTIVATE:
        if (!sc && !node_drops(n, m->chain) &&
            (m->type == KT_MSG_SEAL || (m->type == KT_MSG_ACTIVATE && m->cfg &&
                                        kt_cfg_find(m->cfg, &n->uuid) >= 0)))
            sc = chain_create(n, m->chain);
        if (sc)
            to_chain(n, sc, c, m);
        break;
    default:
        break;
    }
}

void node_msg(struct snode *n, struct sconn *c, const struct smsg *s)
{
    const struct kt_msg *m = &s->msg;
    if (s->err) { /* as the daemon's: RESUME will bring it again */
        if (m->type == KT_MSG_WRITE)
            nak(n, c, m, s->err);
        else
            net_hang_up(n->w, c->id, c->ep[0] == n->ep ? 0 : 1, s->err);
        return;
    }
    if (net_peer(c, n->ep) == SIM_EP_HUB) {
        if (c->id == n->hub_conn)
            from_hub(n, c, m);
        return;
    }
    struct schain *sc = chain_of(n, m->chain);
    if (!sc) {
        if (c->ep[1] == n->ep && m->type != KT_MSG_NAK)
            nak(n, c, m, KT_E_UNKNOWN_CHAIN);
        return;
    }
    if (m->type != KT_MSG_CFG_GET) {
        to_chain(n, sc, c, m);
        return;
    }
    answer_cfg(n, sc, c, m);
}
