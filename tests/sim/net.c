/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections as TCP makes them: in order, each way; when one breaks, both
 * ends learn of it at their own time, and of what was on its way some suffix
 * is lost. Bytes of an old connection may so arrive long after a new one is
 * in use. A path that is cut holds everything back until it heals or somebody
 * gives up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define HOLD_US (20u * SIM_MS)

struct sconn *net_conn(struct world *w, uint64_t id)
{
    struct sconn *c = &w->conns[id % SIM_CONNS_MAX];
    return id && c->id == id ? c : NULL;
}

unsigned net_peer(const struct sconn *c, unsigned ep)
{
    return c->ep[0] == ep ? c->ep[1] : c->ep[0];
}

static unsigned side_of(const struct sconn *c, unsigned ep)
{
    return c->ep[0] == ep ? 0 : 1;
}

bool net_blocked(const struct world *w, unsigned from, unsigned to)
{
    return w->blocked[from][to] > w->now;
}

static uint64_t delay(struct world *w)
{
    uint64_t d = 10 + rng_exp(&w->net, w->p.delay_us);
    return rng_chance(&w->net, 5) ? d * 20 : d;
}

/* ---- messages ---- */

static struct smsg *msg_new(struct world *w)
{
    struct smsg *m = w->free_msgs;
    if (m)
        w->free_msgs = m->next;
    else
        m = malloc(sizeof(*m));
    assert(m);
    m->next = NULL;
    m->ghost = NULL;
    m->up = false;
    m->err = 0;
    return m;
}

static void msg_free(struct world *w, struct smsg *m)
{
    if (!m->up)
        kt_buf_unref(m->msg.buf);
    m->next = w->free_msgs;
    w->free_msgs = m;
}

static struct kt_buf *buf_copy(const struct kt_buf *b)
{
    if (!b)
        return NULL;
    struct kt_buf *n = kt_buf_new(b->data_len, b->n_sums);
    assert(n);
    n->data_len = b->data_len;
    if (b->data_len)
        memcpy(n->data, b->data, b->data_len);
    if (b->n_sums)
        memcpy(n->sums, b->sums, b->n_sums * sizeof(b->sums[0]));
    return n;
}

static void msg_copy(struct smsg *to, const struct kt_msg *m)
{
    to->msg = *m;
    to->msg.buf = buf_copy(m->buf);
    if (m->cfg) {
        to->cfg = *m->cfg;
        to->msg.cfg = &to->cfg;
    }
    if (m->type == KT_MSG_REGISTER && m->u.reg.n_chains) {
        assert(m->u.reg.n_chains <= SIM_CHAINS_MAX);
        memcpy(to->chains, m->u.reg.chains,
               m->u.reg.n_chains * sizeof(to->chains[0]));
        to->msg.u.reg.chains = to->chains;
    }
    if (m->type == KT_MSG_EQ && m->u.eq.n) {
        memcpy(to->targets, m->u.eq.targets,
               m->u.eq.n * sizeof(to->targets[0]));
        to->msg.u.eq.targets = to->targets;
    }
}

/* Through the bytes of the wire and back. */
static void recode(struct world *w, struct smsg *s)
{
    struct kt_buf *payload, *old = s->msg.buf;
    struct kt_msg back;
    size_t len;
    const uint8_t *b = net_bytes(w, &s->msg, &len);
    int err = net_parse(w, b, len, &back, &payload);
    SIM_CHECK(w, err == 0, "%s cannot be decoded: %d", kt_msg_name(s->msg.type),
              err);
    bool had = old && (old->data_len || old->n_sums);
    SIM_CHECK(w, had == (back.buf && (back.buf->data_len || back.buf->n_sums)),
              "%s lost or found a payload", kt_msg_name(s->msg.type));
    msg_copy(s, &back);
    kt_buf_unref(old);
    kt_buf_unref(payload);
}

/* ---- delivery ---- */

static void drop_queue(struct world *w, struct sconn *c, unsigned side)
{
    while (c->first[side]) {
        struct smsg *m = c->first[side];
        c->first[side] = m->next;
        msg_free(w, m);
    }
    c->last[side] = &c->first[side];
}

static void maybe_free(struct world *w, struct sconn *c)
{
    if (c->up[0] || c->up[1])
        return;
    drop_queue(w, c, 0);
    drop_queue(w, c, 1);
    for (unsigned side = 0; side < 2; side++) {
        if (c->framer[side])
            kt_framer_release(c->framer[side]);
        free(c->framer[side]);
        c->framer[side] = NULL;
    }
    c->id = 0;
}

static bool can_receive(struct world *w, const struct sconn *c, unsigned side)
{
    return !net_blocked(w, c->ep[1 - side], c->ep[side]) &&
           w->paths[c->ep[1 - side]][c->ep[side]].clogged_until <= w->now &&
           w->procs[c->ep[side]].paused_until <= w->now &&
           !(w->gates && gate_holds(w, c, side));
}

static void deliver(struct world *w, uint64_t id, uint64_t side, uint64_t retry)
{
    struct sconn *c = net_conn(w, id);
    if (!c || (c->held[side] && !retry))
        return;
    c->held[side] = false;
    while (c->id == id && c->up[side] && c->first[side] &&
           c->first[side]->t <= w->now) {
        if (!can_receive(w, c, (unsigned)side)) {
            c->held[side] = true;
            world_at(w, HOLD_US, deliver, id, side, 1);
            return;
        }
        struct smsg *m = c->first[side];
        c->first[side] = m->next;
        if (!m->next)
            c->last[side] = &c->first[side];
        if (m->up)
            ep_conn_up(w, c->ep[side], c);
        else if (net_garbled(c, (unsigned)side, m))
            net_garble(w, c, (unsigned)side, m);
        else
            ep_msg(w, c->ep[side], c, m);
        msg_free(w, m);
    }
}

/* A narrow path takes its time for each byte, one after the other. */
static uint64_t slow_us(struct world *w, const struct sconn *c, unsigned side,
                        const struct smsg *m, uint64_t *ret_extra)
{
    const struct spath *p = &w->paths[c->ep[1 - side]][c->ep[side]];
    *ret_extra = 0;
    if (p->slow_until <= w->now)
        return 0;
    uint64_t bytes = 100 + (m->up || !m->msg.buf ? 0 : m->msg.buf->data_len);
    *ret_extra = p->extra_us;
    return bytes * p->us_per_kib / 1024;
}

static void enqueue(struct world *w, struct sconn *c, unsigned side,
                    struct smsg *m)
{
    uint64_t extra, us = slow_us(w, c, side, m, &extra);
    m->t = kt_max_u64(c->last_t[side], w->now + delay(w) + extra) + us;
    c->last_t[side] = m->t;
    *c->last[side] = m;
    c->last[side] = &m->next;
    world_at(w, m->t - w->now, deliver, c->id, side, 0);
}

void net_send(struct world *w, uint64_t conn, unsigned from,
              const struct kt_msg *m, struct grec *ghost)
{
    struct sconn *c = net_conn(w, conn);
    if (!c || c->broken || !c->up[side_of(c, from)])
        return;
    struct smsg *s = msg_new(w);
    msg_copy(s, m);
    if (rng_chance(&w->net, w->p.codec))
        recode(w, s);
    s->ghost = ghost;
    enqueue(w, c, 1 - side_of(c, from), s);
}

/* ---- up and down ---- */

static void side_down(struct world *w, uint64_t id, uint64_t side, uint64_t err)
{
    struct sconn *c = net_conn(w, id);
    if (!c || !c->up[side])
        return;
    bool held = w->gates && c->first[side] && c->held[side];
    if (held || w->procs[c->ep[side]].paused_until > w->now) {
        world_at(w, HOLD_US, side_down, id, side, err);
        return;
    }
    c->up[side] = false;
    ep_conn_down(w, c->ep[side], c, -(int)err);
    if (c->id == id)
        maybe_free(w, c);
}

static void later_down(struct world *w, struct sconn *c, unsigned side,
                       uint64_t us, int err)
{
    if (c->up[side])
        world_at(w, us, side_down, c->id, side, (uint64_t)-err);
}

void net_break(struct world *w, uint64_t conn)
{
    struct sconn *c = net_conn(w, conn);
    if (!c || c->broken)
        return;
    c->broken = true;
    for (unsigned side = 0; side < 2; side++) {
        static const uint64_t spans_ms[] = {5, 5, 500, 5000};
        uint64_t ms = spans_ms[rng_below(&w->net, 4)];
        later_down(w, c, side, rng_below(&w->net, ms * SIM_MS), -ECONNRESET);
    }
}

void net_close(struct world *w, uint64_t conn, unsigned ep)
{
    struct sconn *c = net_conn(w, conn);
    if (!c)
        return;
    unsigned side = side_of(c, ep);
    c->up[side] = false;
    c->broken = true;
    /* What was sent before still arrives, then the end of the stream. */
    uint64_t last = kt_max_u64(c->last_t[1 - side], w->now);
    later_down(w, c, 1 - side, last - w->now + delay(w), -ECONNRESET);
    maybe_free(w, c);
}

void net_hang_up(struct world *w, uint64_t conn, unsigned side, int err)
{
    struct sconn *c = net_conn(w, conn);
    if (!c || !c->up[side])
        return;
    struct sconn was = *c;
    net_close(w, conn, was.ep[side]);
    ep_conn_down(w, was.ep[side], &was, err);
}

void net_process_gone(struct world *w, unsigned ep, bool machine)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sconn *c = &w->conns[i];
        if (!c->id || (c->ep[0] != ep && c->ep[1] != ep))
            continue;
        unsigned side = side_of(c, ep);
        if (machine && c->up[1 - side]) {
            /* Nobody says anything; what left is cut short. */
            c->up[side] = false;
            c->broken = true;
            later_down(w, c, 1 - side, rng_range(&w->net, 1, 5000) * SIM_MS,
                       -ETIMEDOUT);
            maybe_free(w, c);
        } else {
            net_close(w, c->id, ep);
        }
    }
}

/* ---- connecting ---- */

static void attempt(struct world *w, uint64_t id, uint64_t tries, uint64_t c2)
{
    struct sconn *c = net_conn(w, id);
    (void)c2;
    if (!c || !c->up[0] || c->broken)
        return; /* it ended before it began */
    unsigned from = c->ep[0], to = c->ep[1];
    const struct proc *p = &w->procs[to];
    bool silent =
        net_blocked(w, from, to) || net_blocked(w, to, from) || !p->machine;
    if (silent) {
        c->broken = true;
        later_down(w, c, 0, rng_range(&w->net, 300, 1500) * SIM_MS, -ETIMEDOUT);
    } else if (!p->alive) {
        c->broken = true;
        later_down(w, c, 0, delay(w), -ECONNREFUSED);
    } else if (p->paused_until > w->now && tries < 50) {
        world_at(w, HOLD_US * 2, attempt, id, tries + 1, 0);
    } else if (p->paused_until > w->now) {
        c->broken = true;
        later_down(w, c, 0, 1, -ETIMEDOUT);
    } else {
        c->up[1] = true;
        c->life[1] = p->life;
        struct smsg *m = msg_new(w);
        m->up = true;
        enqueue(w, c, 0, m);
        ep_conn_up(w, to, c);
    }
}

uint64_t net_connect(struct world *w, unsigned from, unsigned to, uint8_t cls)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        uint64_t id = ++w->n_conns;
        struct sconn *c = &w->conns[id % SIM_CONNS_MAX];
        if (id % SIM_CONNS_MAX == 0 || c->id)
            continue;
        memset(c, 0, sizeof(*c));
        c->id = id;
        c->cls = cls;
        c->ep[0] = from;
        c->ep[1] = to;
        c->up[0] = true;
        c->last[0] = &c->first[0];
        c->last[1] = &c->first[1];
        world_at(w, delay(w) * 2, attempt, id, 0, 0);
        return id;
    }
    sim_fail(w, "all %u connections are in use", SIM_CONNS_MAX);
}

void net_free_all(struct world *w)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        w->conns[i].up[0] = w->conns[i].up[1] = false;
        if (w->conns[i].id)
            maybe_free(w, &w->conns[i]);
    }
    while (w->free_msgs) {
        struct smsg *m = w->free_msgs;
        w->free_msgs = m->next;
        free(m);
    }
}
