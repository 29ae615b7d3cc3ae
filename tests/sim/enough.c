/* SPDX-License-Identifier: BSD-3-Clause */
/* Enough is well. After the time of faults, and before all is healed, the hub,
 * the clients, and of each chain as many members as min_write asks are well,
 * with every path between them; the other replicators stay dead, stopped, cut
 * off or slow. Whatever was begun must end, and somebody must have the volume:
 * nothing may wait for those who are not needed. */
#include <string.h>

#include "tests/sim/sim.h"

#define ENOUGH_US (75u * 1000 * SIM_MS) /* 30 s between evictions (A5) */

enum { DEAD, POWERLESS, STOPPED, CUT_OFF, CUT_FROM_PEERS, SLOW, WAYS };

/* It runs, and has all that was acknowledged: since the configuration was
 * made it did not start again, nor was its directory put back. */
static bool is_good(struct world *w, const struct kt_member *m)
{
    int i = node_of_store(w, &m->store);
    const struct snode *n = i < 0 ? NULL : &w->nodes[i];
    struct store_info info = {0};
    if (!n || m->state != KT_M_SERVING || w->broken >> i & 1 ||
        !w->procs[n->ep].alive || !n->store || n->leaving_us ||
        w->lost == n->index + 1)
        return false;
    store_info(n->store, &info);
    return !info.err && n->disk->incarnation == m->incarnation;
}

/* While a chain is being changed, nobody can say who is needed next. */
static bool is_settled(struct world *w)
{
    for (unsigned i = 0; i < w->p.chains; i++) {
        if (!w->procs[SIM_EP_HUB].alive || hubnode_phase(w, i) != HUB_OP_NONE)
            return false;
    }
    return true;
}

/* Would every chain have enough without these? */
static bool suffices(struct world *w)
{
    for (unsigned i = 0; i < w->p.chains; i++) {
        const struct kt_cfg *cfg = hubnode_cfg(w, i);
        unsigned good = 0;
        for (unsigned k = 0; k < cfg->n_members; k++)
            good += is_good(w, &cfg->members[k]);
        if (good < cfg->min_write || good == 0)
            return false;
    }
    return true;
}

static void cut_off(struct world *w, unsigned ep, bool hub_too)
{
    for (unsigned e = hub_too ? 0 : 1; e < SIM_EPS; e++) {
        if (e != ep && (hub_too || e < SIM_EP_CLIENT(0)))
            faults_sever(w, &w->kinds[SIM_K_ENOUGH], ep, e);
    }
}

static void slow_down(struct world *w, struct snode *n)
{
    struct rng *r = &w->kinds[SIM_K_ENOUGH];
    struct spath p = {.slow_until = UINT64_MAX,
                      .extra_us = rng_below(r, 50 * SIM_MS),
                      .us_per_kib = rng_below(r, 500)};
    for (unsigned e = 0; e < SIM_EPS; e++)
        w->paths[e][n->ep] = w->paths[n->ep][e] = p;
}

static void keep_broken(struct world *w, struct snode *n)
{
    uint64_t how = rng_below(&w->kinds[SIM_K_ENOUGH], WAYS);
    trace(w, n->ep, "stays broken", how, 0, 0);
    switch (how) {
    case DEAD:
    case POWERLESS:
        node_crash(n, how == POWERLESS);
        break;
    case STOPPED:
        node_start(n);
        w->procs[n->ep].paused_until = UINT64_MAX;
        break;
    case CUT_OFF:
    case CUT_FROM_PEERS:
        node_start(n);
        cut_off(w, n->ep, how == CUT_OFF);
        break;
    default:
        node_start(n);
        slow_down(w, n);
        break;
    }
}

/* As many as can be missed, in any order. */
static void choose(struct world *w)
{
    struct rng *r = &w->kinds[SIM_K_ENOUGH];
    uint64_t first = rng_below(r, w->p.nodes);
    for (unsigned i = 0; i < w->p.nodes; i++) {
        uint32_t bit = 1u << (first + i) % w->p.nodes;
        w->broken |= bit;
        if (!suffices(w) || rng_chance(r, 200))
            w->broken &= ~bit;
    }
}

static bool is_over(struct world *w)
{
    bool held = false;
    for (unsigned i = 0; i < w->p.clients; i++) {
        const struct sclient *c = &w->clients[i];
        held = held || (c->state == CL_RUN && !c->fenced && !c->handing &&
                        c->opts.token == hubnode_token(w));
    }
    return held && work_pending(w) == 0;
}

void enough_run(struct world *w)
{
    if (!(w->p.kinds & SIM_KIND_BIT(SIM_K_ENOUGH)) || !is_settled(w) ||
        !suffices(w))
        return;
    choose(w);
    if (!w->broken)
        return;
    w->st->kinds[SIM_K_ENOUGH]++;
    faults_heal(w);
    for (unsigned i = 0; i < w->p.nodes; i++) {
        if (w->broken >> i & 1)
            keep_broken(w, &w->nodes[i]);
    }
    world_until(w, w->now + w->p.after_ms * SIM_MS);
    w->hold = true;
    uint64_t until = w->now + ENOUGH_US;
    while (!is_over(w) && w->now < until)
        world_turn(w);
    if (!is_over(w))
        hubnode_describe(w);
    SIM_CHECK(w, work_pending(w) == 0,
              "%u operations hang although enough replicators are well "
              "(broken: %x)",
              work_pending(w), w->broken);
    SIM_CHECK(w, is_over(w),
              "nobody has the volume although enough replicators are well "
              "(broken: %x)",
              w->broken);
    w->hold = false;
    w->broken = 0;
}
