/* SPDX-License-Identifier: BSD-3-Clause */
/* Kinds of trouble that stand each by itself: a random stream and a clock of
 * its own, so that one that is switched off leaves the others as they were;
 * and a seed goes without it in half of the cases, for trouble hides other
 * trouble. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static struct spath *some_path(struct world *w, struct rng *r, unsigned *ret_a,
                               unsigned *ret_b)
{
    *ret_a = faults_any_ep(w, r);
    *ret_b = faults_any_ep(w, r);
    return *ret_a == *ret_b ? NULL : &w->paths[*ret_a][*ret_b];
}

/* Mostly one way. */
static bool clog_link(struct world *w, struct rng *r)
{
    unsigned a, b;
    struct spath *p = some_path(w, r, &a, &b);
    uint64_t us = faults_span(r);
    if (!p)
        return false;
    trace(w, a, "clog_to", b, us / SIM_MS, 0);
    p->clogged_until = w->now + us;
    if (rng_chance(r, 300))
        w->paths[b][a].clogged_until = w->now + us;
    return true;
}

/* From a bad cable to a modem. */
static bool slow_link(struct world *w, struct rng *r)
{
    unsigned a, b;
    struct spath *p = some_path(w, r, &a, &b);
    if (!p)
        return false;
    p->slow_until = w->now + 2 * faults_span(r);
    p->extra_us = rng_below(r, 100 * SIM_MS);
    p->us_per_kib = rng_chance(r, 500) ? rng_below(r, 100) : rng_below(r, 5000);
    trace(w, a, "slow_to", b, p->extra_us, p->us_per_kib);
    if (rng_chance(r, 500))
        w->paths[b][a] = *p;
    return true;
}

/* The next message on some connection, or the next with a payload, where the
 * harm of a mistake would be the greatest. */
static bool flip(struct world *w, struct rng *r)
{
    uint64_t first = rng_below(r, SIM_CONNS_MAX), side = rng_below(r, 2);
    bool payload = rng_chance(r, 500);
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sconn *c = &w->conns[(first + i) % SIM_CONNS_MAX];
        if (!c->id || c->broken || !c->up[0] || !c->up[1])
            continue;
        c->flip[side] = payload ? NET_FLIP_PAYLOAD : NET_FLIP_ANY;
        return false; /* counted when it happens */
    }
    return false;
}

/* Every end falls to one of two halves. */
static bool split(struct world *w, struct rng *r)
{
    uint64_t us = faults_span(r), half = rng_next(r);
    bool one_way = rng_chance(r, 350);
    bool any = false;
    for (unsigned a = 0; a < SIM_EPS; a++) {
        for (unsigned b = 0; b < SIM_EPS; b++) {
            bool in = half >> a & 1;
            if (in == (half >> b & 1) || (one_way && in) ||
                !faults_has_ep(w, a) || !faults_has_ep(w, b))
                continue;
            faults_cut(w, r, a, b, us);
            any = true;
        }
    }
    return any;
}

static void attach_again(struct world *w, uint64_t index, uint64_t b,
                         uint64_t c)
{
    (void)b;
    (void)c;
    if (!w->healed)
        client_start(&w->clients[index], false);
}

/* And somebody attaches, who need not wait for a lease to end. */
static bool detach(struct world *w, struct rng *r)
{
    uint64_t next = rng_below(r, w->p.clients);
    uint64_t us = rng_below(r, 3000 * SIM_MS);
    if (!client_detach(&w->clients[rng_below(r, w->p.clients)]))
        return false;
    world_at(w, us, attach_again, next, 0, 0);
    return true;
}

static bool leave(struct world *w, struct rng *r)
{
    struct snode *n = &w->nodes[rng_below(r, w->p.nodes)];
    if (!world_runs(w, n->ep) || !n->registered || n->leaving_us)
        return false;
    node_leave(n);
    return true;
}

static bool around_row(struct world *w, struct rng *r)
{
    uint64_t n = 1 + rng_below(r, 12);
    hubnode_die_at(w, n, rng_chance(r, 500));
    return false; /* counted when it happens */
}

static const struct {
    const char *name, *what;
    bool (*strike)(struct world *w, struct rng *r); /* false: nothing done */
} kinds[SIM_KINDS] = {
    [SIM_K_NODES] = {"nodes", "worlds of five replicators", NULL},
    [SIM_K_CLIENTS] = {"clients", "worlds of one, three or four clients", NULL},
    [SIM_K_CLOG] = {"clog", "clogged links", clog_link},
    [SIM_K_LINK] = {"link", "slow links", slow_link},
    [SIM_K_FLIP] = {"flip", "frames with flipped bits", flip},
    [SIM_K_SPLIT] = {"split", "splits", split},
    [SIM_K_DETACH] = {"detach", "detaches", detach},
    [SIM_K_LEAVE] = {"leave", "planned stops of replicators", leave},
    [SIM_K_ROW] = {"row", "deaths of the hub around a commit", around_row},
    [SIM_K_ENOUGH] = {"enough", "times when enough was well", NULL},
    [SIM_K_ODD] = {"odd", "odd requests", NULL},
};

void kinds_draw(struct world *w, uint32_t of)
{
    struct sim_params *p = &w->p;
    for (unsigned k = 0; k < SIM_KINDS; k++) {
        w->kinds[k].s = (w->seed ^ 0x4b1d) * 0x9e3779b97f4a7c15u + k;
        rng_next(&w->kinds[k]);
        if (rng_chance(&w->kinds[k], 500))
            p->kinds |= of & SIM_KIND_BIT(k);
    }
    /* A recovery waits for every member (B15). */
    if (p->old_hub)
        p->kinds &= ~SIM_KIND_BIT(SIM_K_ENOUGH);
    if (p->kinds & SIM_KIND_BIT(SIM_K_NODES))
        p->nodes = 5;
    /* Of a request in several parts one may be refused. */
    if (p->slots < 2 * SIM_GROUPS)
        p->kinds &= ~SIM_KIND_BIT(SIM_K_ODD);
    if (p->kinds & SIM_KIND_BIT(SIM_K_CLIENTS)) {
        static const unsigned many[] = {1, 3, 4};
        p->clients = many[rng_below(&w->kinds[SIM_K_CLIENTS], 3)];
    }
}

static void next_of(struct world *w, uint64_t k, uint64_t b, uint64_t c)
{
    struct rng *r = &w->kinds[k];
    (void)b;
    (void)c;
    if (w->healed)
        return;
    if (kinds[k].strike(w, r))
        w->st->kinds[k]++;
    world_at(w, 1 + rng_exp(r, 2 * w->p.fault_ms * SIM_MS), next_of, k, 0, 0);
}

void kinds_start(struct world *w)
{
    for (unsigned k = 0; k < SIM_KINDS; k++) {
        if (!(w->p.kinds & SIM_KIND_BIT(k)))
            continue;
        if (kinds[k].strike)
            world_at(w, rng_exp(&w->kinds[k], w->p.fault_ms * SIM_MS), next_of,
                     k, 0, 0);
        else if (k <= SIM_K_CLIENTS)
            w->st->kinds[k]++;
    }
}

void kinds_heal(struct world *w)
{
    memset(w->paths, 0, sizeof(w->paths));
}

void kinds_list(const struct sim_stats *s)
{
    for (unsigned k = 0; k < SIM_KINDS; k++)
        printf("%s%" PRIu64 " %s", k ? ", " : "", s->kinds[k], kinds[k].what);
}

void kinds_print(const struct sim_stats *s)
{
    printf("sim: ");
    kinds_list(s);
    printf("\nsim: %" PRIu64 " flips left a stream out of step, %" PRIu64
           " clients detached, %" PRIu64 " replicators stopped as planned\n",
           s->hung, s->detached, s->left);
}

uint32_t kinds_parse(const char *list)
{
    uint32_t bits = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        uint32_t bit = 0;
        for (unsigned k = 0; k < SIM_KINDS; k++) {
            if (strlen(kinds[k].name) == len &&
                !memcmp(kinds[k].name, list, len))
                bit = SIM_KIND_BIT(k);
        }
        if (len == 3 && !memcmp(list, "all", len))
            bit = SIM_KINDS_ALL;
        if (!bit)
            return 0;
        bits |= bit;
        list += len + (list[len] == ',');
    }
    return bits;
}
