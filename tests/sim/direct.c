/* SPDX-License-Identifier: BSD-3-Clause */
/* What schedules are made of (direct.h), and the list of them. */
#include "tests/sim/direct.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct direct *const tables[] = {
    direct_rows, direct_old, direct_rules, direct_sync,
    direct_disk, direct_hub, direct_reach};

static const struct direct *entry(unsigned i)
{
    for (size_t t = 0; t < KT_ARRAY_LEN(tables); t++) {
        for (const struct direct *d = tables[t]; d->name; d++) {
            if (i-- == 0)
                return d;
        }
    }
    return NULL;
}

static const struct direct *find(const char *name)
{
    const struct direct *d;
    for (unsigned i = 0; (d = entry(i)) != NULL; i++) {
        if (!strcmp(d->name, name))
            return d;
    }
    return NULL;
}

const char *direct_name(unsigned i)
{
    const struct direct *d = entry(i);
    return d ? d->name : NULL;
}

const struct sim_params *direct_params(const char *name)
{
    static struct sim_params p;
    const struct direct *d = find(name);
    if (!d)
        return NULL;
    p = d->p;
    p.nodes = p.nodes ? p.nodes : 3;
    p.replicas = p.replicas ? p.replicas : 3;
    p.chains = 1;
    p.extents = 4;
    p.delay_us = p.delay_us ? p.delay_us : 200;
    p.disk_us = p.disk_us ? p.disk_us : 100;
    p.depth = 8;
    p.codec = 100;
    p.retain = p.retain ? p.retain : 8192;
    p.slots = p.slots ? p.slots : 64;
    return &p;
}

bool direct_run(struct world *w, const char *name)
{
    const struct direct *d = name ? find(name) : NULL;
    for (unsigned i = 0; !name && entry(i); i++)
        printf("%s\t%s\t%s\n", entry(i)->name,
               entry(i)->rules ? entry(i)->rules : "-", entry(i)->what);
    if (!d)
        return false;
    w->directed = true;
    if (d->before)
        d->before(w);
    world_begin(w);
    d_attach(w, 0, false);
    d->run(w);
    while (w->gates) {
        struct gate *g = w->gates;
        w->gates = g->next;
        if (g->copy && g->hit)
            kt_buf_unref(g->kept.msg.buf);
        free(g);
    }
    world_end(w);
    return true;
}

/* ---- gates ---- */

static bool gate_fits(struct gate *g, const struct sconn *c, unsigned side)
{
    const struct smsg *m = c->first[side];
    return !g->open && !g->hit && c->ep[side] == g->to &&
           c->ep[1 - side] == g->from && !m->up && m->msg.type == g->type &&
           (!g->fits || g->fits(&m->msg)) && --g->nth == 0;
}

static void keep(struct gate *g, const struct smsg *m)
{
    g->kept = *m;
    kt_buf_ref(m->msg.buf);
    if (m->msg.cfg)
        g->kept.msg.cfg = &g->kept.cfg;
    if (m->msg.type == KT_MSG_EQ)
        g->kept.msg.u.eq.targets = g->kept.targets;
}

bool gate_holds(struct world *w, const struct sconn *c, unsigned side)
{
    bool holds = false;
    for (struct gate *g = w->gates; g; g = g->next) {
        if (gate_fits(g, c, side)) {
            g->hit = true;
            g->conn = g->lose || g->copy ? 0 : c->id;
            trace(w, g->to, "gate", g->from, g->type, c->id);
            if (g->lose)
                c->first[side]->msg.type = KT_MSG_PONG;
            if (g->copy)
                keep(g, c->first[side]);
        }
        holds = holds || (!g->open && g->conn == c->id && c->ep[side] == g->to);
    }
    return holds;
}

struct gate *d_gate(struct world *w, unsigned from, unsigned to, uint8_t type,
                    unsigned nth)
{
    struct gate *g = calloc(1, sizeof(*g));
    assert(g);
    *g = (struct gate){
        .next = w->gates, .from = from, .to = to, .type = type, .nth = nth};
    w->gates = g;
    return g;
}

void d_open(struct world *w, struct gate *g)
{
    trace(w, g->to, "gate_open", g->from, g->type, g->conn);
    g->open = true;
}

void d_lose(struct world *w, unsigned from, unsigned to, uint8_t type)
{
    d_gate(w, from, to, type, 1)->lose = true;
}

struct gate *d_copy(struct world *w, unsigned from, unsigned to, uint8_t type)
{
    struct gate *g = d_gate(w, from, to, type, 1);
    g->copy = true;
    return g;
}

void d_again(struct world *w, struct gate *g)
{
    SIM_CHECK(w, g->hit, "no %s came by", kt_msg_name(g->type));
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sconn *c = &w->conns[i];
        unsigned side = c->ep[0] == g->to ? 0 : 1;
        if (!c->id || c->broken || !c->up[side] || c->ep[side] != g->to ||
            c->ep[1 - side] != g->from)
            continue;
        ep_msg(w, g->to, c, &g->kept);
        return;
    }
    sim_fail(w, "no connection for another %s", kt_msg_name(g->type));
}

/* ---- time ---- */

void d_run(struct world *w, uint64_t ms)
{
    world_until(w, w->now + ms * SIM_MS);
}

void d_until(struct world *w, d_cond *cond, const char *what)
{
    uint64_t until = w->now + D_SOON_MS * SIM_MS;
    while (!cond(w)) {
        if (w->now > until)
            hubnode_describe(w);
        SIM_CHECK(w, w->now <= until, "%s: not within %u s", what,
                  D_SOON_MS / 1000);
        world_turn(w);
    }
}

void d_until_hit(struct world *w, struct gate *g)
{
    uint64_t until = w->now + D_SOON_MS * SIM_MS;
    while (!g->hit) {
        SIM_CHECK(w, w->now <= until, "no %s comes by", kt_msg_name(g->type));
        world_turn(w);
    }
}

uint64_t d_epoch(struct world *w)
{
    return d_cfg(w)->epoch;
}

void d_until_epoch(struct world *w, uint64_t beyond)
{
    uint64_t until = w->now + D_SOON_MS * SIM_MS;
    for (;;) {
        const struct chain *c = d_chain(w, d_head(w));
        if (d_epoch(w) > beyond && c && c->phase == CHAIN_ACTIVE &&
            c->cfg.epoch == d_epoch(w))
            return;
        if (w->now > until)
            hubnode_describe(w);
        SIM_CHECK(w, w->now <= until, "no epoch after %" PRIu64, beyond);
        world_turn(w);
    }
}

/* ---- clients ---- */

void d_attach(struct world *w, unsigned client, bool steal)
{
    struct sclient *c = &w->clients[client];
    uint64_t until = w->now + D_SOON_MS * SIM_MS;
    client_start(c, steal);
    while (c->state != CL_RUN) {
        SIM_CHECK(w, w->now <= until, "client %u is not attached", client);
        world_turn(w);
    }
}

struct wop *d_start(struct world *w, unsigned client, uint8_t kind,
                    unsigned hot)
{
    return work_one(&w->clients[client], kind, hot,
                    kind == ENGINE_FLUSH ? 0 : 1, false);
}

bool d_pending(const struct wop *o)
{
    return o->state == WOP_RUNS;
}

void d_done(struct world *w, const struct wop *o)
{
    uint64_t until = w->now + D_SOON_MS * SIM_MS;
    while (d_pending(o)) {
        if (w->now > until)
            hubnode_describe(w);
        SIM_CHECK(w, w->now <= until, "an operation is not done within %u s",
                  D_SOON_MS / 1000);
        world_turn(w);
    }
    SIM_CHECK(w, o->state == WOP_OK, "an operation failed");
}

void d_write(struct world *w, unsigned client, unsigned hot)
{
    d_done(w, d_start(w, client, ENGINE_WRITE, hot));
}

void d_read(struct world *w, unsigned client, unsigned hot)
{
    d_done(w, d_start(w, client, ENGINE_READ, hot));
}

void d_flush(struct world *w, unsigned client)
{
    d_done(w, d_start(w, client, ENGINE_FLUSH, 0));
}

/* ---- faults ---- */

void d_cut(struct world *w, unsigned from, unsigned to)
{
    trace(w, from, "cut", to, 0, 0);
    w->blocked[from][to] = UINT64_MAX;
}

void d_part(struct world *w, unsigned a, unsigned b)
{
    d_cut(w, a, b);
    d_cut(w, b, a);
}

void d_join(struct world *w, unsigned a, unsigned b)
{
    trace(w, a, "join", b, 0, 0);
    w->blocked[a][b] = w->blocked[b][a] = 0;
}

void d_reset(struct world *w, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        const struct sconn *c = &w->conns[i];
        if (c->id && ((c->ep[0] == a && c->ep[1] == b) ||
                      (c->ep[0] == b && c->ep[1] == a)))
            net_break(w, c->id);
    }
}

void d_kill(struct world *w, unsigned node)
{
    node_crash(&w->nodes[node], false);
}

void d_power(struct world *w, unsigned node)
{
    node_crash(&w->nodes[node], true);
}

void d_power_bare(struct world *w, unsigned node)
{
    d_power(w, node);
    node_lose(&w->nodes[node]);
}

void d_up(struct world *w, unsigned node)
{
    node_start(&w->nodes[node]);
}

void d_power_bare_all(struct world *w)
{
    for (unsigned i = 0; i < w->p.nodes; i++)
        d_power_bare(w, i);
}

void d_up_all(struct world *w)
{
    for (unsigned i = 0; i < w->p.nodes; i++)
        d_up(w, i);
}

/* ---- what is ---- */

struct chain *d_chain(struct world *w, unsigned node)
{
    struct schain *sc = &w->nodes[node].chains[0];
    return w->nodes[node].store && sc->used ? &sc->c : NULL;
}

static unsigned sealed;
static bool is_sealed(struct world *w)
{
    const struct chain *c = d_chain(w, sealed);
    return c && c->phase == CHAIN_SEALED;
}

void d_until_sealed(struct world *w, unsigned node)
{
    sealed = node;
    d_until(w, is_sealed, "sealed");
}

unsigned d_behind(struct world *w, unsigned step)
{
    unsigned t = d_tail(w);
    uint64_t e = d_epoch(w);
    for (unsigned i = 0; i < SIM_HOT; i += step)
        d_write(w, 0, i);
    d_kill(w, t);
    d_until_epoch(w, e);
    for (unsigned i = 0; i < SIM_HOT; i++)
        d_write(w, 0, i);
    return t;
}

const struct kt_cfg *d_cfg(struct world *w)
{
    return hubnode_cfg(w, 0);
}

int d_member(struct world *w, unsigned node)
{
    return kt_cfg_find(d_cfg(w), &w->nodes[node].uuid);
}

bool d_serves(struct world *w, unsigned node)
{
    int i = d_member(w, node);
    return i >= 0 && d_cfg(w)->members[i].state == KT_M_SERVING;
}

unsigned d_at(struct world *w, unsigned place)
{
    return (unsigned)node_of_store(w, &d_cfg(w)->members[place].store);
}

unsigned d_head(struct world *w)
{
    return d_at(w, 0);
}

unsigned d_tail(struct world *w)
{
    return d_at(w, kt_cfg_serving(d_cfg(w)) - 1);
}

bool d_healthy(struct world *w)
{
    return hubnode_healthy(w);
}
