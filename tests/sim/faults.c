/* SPDX-License-Identifier: BSD-3-Clause */
/* What breaks. Each seed draws which kinds do, and how often. */
#include <string.h>

#include "replicator/store/mem_priv.h"
#include "tests/sim/disk.h"

#define SUPERVISE_US (300u * SIM_MS)

static uint64_t between_ms(struct world *w, uint64_t lo, uint64_t hi)
{
    return rng_range(&w->fault, lo, hi) * SIM_MS;
}

/* Short mostly, long sometimes. */
uint64_t faults_span(struct rng *r)
{
    bool brief = rng_chance(r, 700);
    return rng_range(r, brief ? 50 : 1500, brief ? 1500 : 12000) * SIM_MS;
}

static uint64_t span(struct world *w)
{
    return faults_span(&w->fault);
}

static void restart(struct world *w, uint64_t index, uint64_t b, uint64_t c)
{
    (void)b;
    (void)c;
    if (!(w->broken >> index & 1))
        node_start(&w->nodes[index]);
}

static struct snode *any_node(struct world *w)
{
    return &w->nodes[rng_below(&w->fault, w->p.nodes)];
}

static void kill_node(struct world *w, struct snode *n, uint64_t us)
{
    node_crash(n, false);
    w->st->kills++;
    world_at(w, us, restart, n->index, 0, 0);
}

static void power_off(struct world *w, struct snode *n, uint64_t us)
{
    node_crash(n, true);
    w->st->powers++;
    world_at(w, us, restart, n->index, 0, 0);
}

void faults_left(struct snode *n)
{
    struct world *w = n->w;
    uint64_t us = faults_span(&w->kinds[SIM_K_LEAVE]);
    node_crash(n, false);
    w->st->left++;
    world_at(w, us, restart, n->index, 0, 0);
}

static void hub_restart(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
    (void)a;
    (void)b;
    (void)c;
    hubnode_start(w);
}

static void kill_hub(struct world *w)
{
    hubnode_crash(w);
    w->st->hub_kills++;
    world_at(w, span(w), hub_restart, 0, 0, 0);
}

static void all_at_once(struct world *w, bool power)
{
    uint64_t us = span(w);
    bool bare = power && rng_chance(&w->fault, 500);
    for (unsigned i = 0; i < w->p.nodes; i++) {
        uint64_t at = us + between_ms(w, 0, 3000);
        if (power)
            power_off(w, &w->nodes[i], at);
        if (bare)
            node_lose(&w->nodes[i]);
        if (!power)
            kill_node(w, &w->nodes[i], at);
    }
    w->st->powers_all += power;
    if (rng_chance(&w->fault, 250))
        kill_hub(w);
    if (rng_chance(&w->fault, 250)) {
        bool again = rng_chance(&w->fault, 500);
        for (unsigned i = 0; i < w->p.clients; i++) {
            if (again && w->clients[i].state == CL_RUN)
                client_restart(&w->clients[i], span(w));
            else
                client_crash(&w->clients[i]);
        }
        w->st->client_kills++;
    }
}

static void reset_some(struct world *w)
{
    unsigned first = (unsigned)rng_below(&w->fault, SIM_CONNS_MAX);
    unsigned many = 1 + (unsigned)rng_below(&w->fault, 3);
    for (unsigned i = 0; i < SIM_CONNS_MAX && many; i++) {
        struct sconn *c = &w->conns[(first + i) % SIM_CONNS_MAX];
        if (!c->id || c->broken || !c->up[0] || !c->up[1])
            continue;
        net_break(w, c->id);
        w->st->resets++;
        many--;
    }
}

static void break_later(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
    (void)c;
    if (!net_blocked(w, (unsigned)a, (unsigned)b))
        return;
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        const struct sconn *k = &w->conns[i];
        if (k->id && ((k->ep[0] == a && k->ep[1] == b) ||
                      (k->ep[0] == b && k->ep[1] == a)))
            net_break(w, k->id);
    }
}

void faults_sever(struct world *w, struct rng *r, unsigned a, unsigned b)
{
    w->blocked[a][b] = w->blocked[b][a] = UINT64_MAX;
    world_at(w, rng_range(r, 500, 6000) * SIM_MS, break_later, a, b, 0);
}

void faults_cut(struct world *w, struct rng *r, unsigned a, unsigned b,
                uint64_t us)
{
    w->blocked[a][b] = w->now + us;
    trace(w, a, "cut_to", b, us / SIM_MS, 0);
    if (rng_chance(r, 600))
        world_at(w, rng_range(r, 500, 6000) * SIM_MS, break_later, a, b, 0);
}

static void cut(struct world *w, unsigned a, unsigned b, uint64_t us)
{
    faults_cut(w, &w->fault, a, b, us);
}

unsigned faults_any_ep(const struct world *w, struct rng *r)
{
    uint64_t i = rng_below(r, 1 + w->p.nodes + w->p.clients);
    if (i == 0)
        return SIM_EP_HUB;
    return i <= w->p.nodes ? SIM_EP_NODE((unsigned)i - 1)
                           : SIM_EP_CLIENT((unsigned)(i - 1 - w->p.nodes));
}

static unsigned any_ep(struct world *w)
{
    return faults_any_ep(w, &w->fault);
}

bool faults_has_ep(const struct world *w, unsigned ep)
{
    return ep < SIM_EP_CLIENT(0) ? ep <= w->p.nodes
                                 : ep < SIM_EP_CLIENT(w->p.clients);
}

static void partition(struct world *w)
{
    uint64_t us = span(w);
    unsigned a = any_ep(w), b = any_ep(w);
    w->st->partitions++;
    switch (rng_below(&w->fault, 4)) {
    case 0: /* one from all */
        for (unsigned e = 0; e < SIM_EPS; e++) {
            /* The fourth replicator draws though it may not be there, as
             * it did before there were more. */
            if (e == a || (!faults_has_ep(w, e) && e != SIM_EP_NODE(3)))
                continue;
            cut(w, a, e, us);
            cut(w, e, a, us);
        }
        break;
    case 1: /* one way */
        if (a != b)
            cut(w, a, b, us);
        break;
    case 2: /* a node from the hub */
        a = any_node(w)->ep;
        b = SIM_EP_HUB;
        cut(w, a, b, us);
        cut(w, b, a, us);
        break;
    default:
        if (a != b) {
            cut(w, a, b, us);
            cut(w, b, a, us);
        }
    }
}

static void fail_store(struct world *w)
{
    static const enum store_mem_fault what[] = {
        STORE_MEM_FAIL_APPEND, STORE_MEM_FAIL_SYNC, STORE_MEM_FAIL_SAVE};
    struct snode *n = any_node(w);
    if (!n->store)
        return;
    trace(w, n->ep, "eio", 0, 0, 0);
    w->st->eios++;
    store_mem_fail_next(n->store, what[rng_below(&w->fault, 3)]);
}

static void pause_one(struct world *w)
{
    unsigned ep = any_ep(w);
    uint64_t us = between_ms(w, 100, rng_chance(&w->fault, 500) ? 2000 : 20000);
    if (ep == SIM_EP_HUB || !w->procs[ep].alive)
        return;
    w->procs[ep].paused_until = w->now + us;
    w->st->pauses++;
    trace(w, ep, "pause", us / SIM_MS, 0, 0);
}

static void die_replaying(struct world *w, uint64_t index, uint64_t life,
                          uint64_t x)
{
    struct sclient *c = &w->clients[index];
    (void)x;
    if (w->healed || w->procs[c->ep].life != life || c->state != CL_RUN)
        return;
    w->st->client_kills++;
    client_restart(c, between_ms(w, 1, 2000));
}

void faults_replay(struct sclient *c)
{
    struct world *w = c->w;
    if (!w->healed && (w->p.faults & SIM_F_CLIENT) &&
        rng_chance(&w->fault, 300))
        world_at(w, 1 + rng_below(&w->fault, 20 * SIM_MS), die_replaying,
                 c->index, w->procs[c->ep].life, 0);
}

static void client_fault(struct world *w, bool steal)
{
    struct sclient *c = &w->clients[rng_below(&w->fault, w->p.clients)];
    if (steal) {
        client_start(c, true);
        w->st->steals++;
    } else if (c->state == CL_RUN) {
        if (rng_chance(&w->fault, 500))
            client_restart(c, between_ms(w, 1, 4000));
        else
            client_crash(c);
        if (rng_chance(&w->fault, 150)) /* another one gets in between */
            client_start(&w->clients[(c->index + 1) % w->p.clients], true);
        w->st->client_kills++;
    }
}

static void strike(struct world *w, enum sim_fault f)
{
    struct snode *n = any_node(w);
    uint64_t us = span(w);
    switch (f) {
    case SIM_F_RESET:
        reset_some(w);
        break;
    case SIM_F_PARTITION:
        partition(w);
        break;
    case SIM_F_KILL:
        kill_node(w, n, us);
        break;
    case SIM_F_POWER_ONE:
        power_off(w, n, us);
        break;
    case SIM_F_POWER_ALL:
        all_at_once(w, true);
        break;
    case SIM_F_KILL_ALL:
        all_at_once(w, false);
        break;
    case SIM_F_PAUSE:
        pause_one(w);
        break;
    case SIM_F_HUB:
        kill_hub(w);
        break;
    case SIM_F_CLIENT:
        client_fault(w, false);
        break;
    case SIM_F_STEAL:
        client_fault(w, true);
        break;
    case SIM_F_SLOW:
        n->slow_until = w->now + us;
        break;
    default:
        fail_store(w);
        break;
    }
}

static void next_fault(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
    unsigned bits[16], n = 0;
    (void)a;
    (void)b;
    (void)c;
    if (w->healed)
        return;
    for (unsigned bit = 1; bit < SIM_F_ALL; bit <<= 1) {
        if (w->p.faults & bit)
            bits[n++] = bit;
    }
    if (!n)
        return;
    strike(w, (enum sim_fault)bits[rng_below(&w->fault, n)]);
    world_at(w, 1 + rng_exp(&w->fault, w->p.fault_ms * SIM_MS), next_fault, 0,
             0, 0);
}

/* Somebody starts a client when none is there, and restarts a replicator
 * whose store is broken. */
static void supervise(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
    unsigned running = 0;
    (void)a;
    (void)b;
    (void)c;
    world_at(w, SUPERVISE_US, supervise, 0, 0, 0);
    for (unsigned i = 0; i < w->p.nodes; i++) {
        struct snode *n = &w->nodes[i];
        struct store_info info = {0};
        if (n->store)
            store_info(n->store, &info);
        if (info.err && !(w->broken >> i & 1) &&
            (w->healed || rng_chance(&w->fault, 100)))
            kill_node(w, n, 100 * SIM_MS);
    }
    for (unsigned i = 0; i < w->p.clients; i++)
        running += w->clients[i].state != CL_OFF;
    if (!running && !w->closing && (w->healed || rng_chance(&w->fault, 400))) {
        /* One draw after the other: the order of arguments is a compiler's. */
        bool steal = rng_chance(&w->fault, 700);
        client_start(&w->clients[rng_below(&w->fault, w->p.clients)], steal);
    }
}

void faults_start(struct world *w)
{
    world_at(w, 500 * SIM_MS, next_fault, 0, 0, 0);
    world_at(w, SUPERVISE_US, supervise, 0, 0, 0);
    kinds_start(w);
    disk_start(w);
}

void faults_heal(struct world *w)
{
    trace(w, SIM_EP_HUB, "heal", 0, 0, 0);
    w->healed = true;
    memset(w->blocked, 0, sizeof(w->blocked));
    kinds_heal(w);
    for (unsigned e = 0; e < SIM_EPS; e++)
        w->procs[e].paused_until = 0;
    hubnode_start(w);
    for (unsigned i = 0; i < w->p.nodes; i++) {
        w->nodes[i].slow_until = 0;
        if (w->nodes[i].store)
            w->nodes[i].store->fail = 0; /* armed, and did not happen */
        if (!(w->broken >> i & 1))
            node_start(&w->nodes[i]);
    }
    disk_heal(w);
}
