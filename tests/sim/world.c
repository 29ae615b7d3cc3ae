/* SPDX-License-Identifier: BSD-3-Clause */
/* Time, events, random streams, and the course of one run:
 *
 *   1. hub and replicators start; the volume is made; a client attaches.
 *   2. Clients read and write while things break (faults.c).
 *   3. So much is healed as is needed (enough.c), in some runs; then
 *      everything; a little more is read and written.
 *   4. No new operations: what is pending must end, and every chain must get
 *      back to its full strength, within 60 s.
 *   5. All is quiet: copies are compared, the history is judged. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk.h"

#define LIVENESS_US (60u * 1000 * SIM_MS)
#define AFTER_MS 3000u            /* of work after healing */
#define HUNG_US (20000u * SIM_MS) /* those that matter are noticed */
#define REST_US (200u * SIM_MS)
#define MORE_US (50u * SIM_MS)

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return rng_next(r) % n;
}

uint64_t rng_range(struct rng *r, uint64_t lo, uint64_t hi)
{
    return lo + rng_below(r, hi - lo + 1);
}

bool rng_chance(struct rng *r, unsigned per_mille)
{
    return rng_below(r, 1000) < per_mille;
}

/* Roughly exponential, in integers: the same on every machine. */
uint64_t rng_exp(struct rng *r, uint64_t mean)
{
    uint64_t x = rng_next(r), doublings = 0;
    while (doublings < 6 && x & 1) {
        doublings++;
        x >>= 1;
    }
    return (mean * doublings * 7 + rng_below(r, mean * 7 + 1)) / 10;
}

uint64_t world_ms(const struct world *w)
{
    return w->now / SIM_MS + 1;
}

/* ---- the heap ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->t != b->t ? a->t < b->t : a->seq < b->seq;
}

static void sift_up(struct sim_event *h, size_t i)
{
    struct sim_event e = h[i];
    for (; i > 0 && before(&e, &h[(i - 1) / 2]); i = (i - 1) / 2)
        h[i] = h[(i - 1) / 2];
    h[i] = e;
}

static void sift_down(struct sim_event *h, size_t n)
{
    struct sim_event e = h[0];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k + 1 < n && before(&h[k + 1], &h[k]))
            k++;
        if (k >= n || !before(&h[k], &e))
            break;
        h[i] = h[k];
        i = k;
    }
    h[i] = e;
}

void world_at(struct world *w, uint64_t delay_us, sim_fn *fn, uint64_t a,
              uint64_t b, uint64_t c)
{
    if (w->n_heap == w->cap_heap) {
        w->cap_heap = w->cap_heap ? 2 * w->cap_heap : 1024;
        w->heap = realloc(w->heap, w->cap_heap * sizeof(*w->heap));
        assert(w->heap);
    }
    w->heap[w->n_heap++] =
        (struct sim_event){w->now + delay_us, w->seq++, fn, a, b, c};
    sift_up(w->heap, w->n_heap - 1);
}

static struct sim_event next_event(struct world *w)
{
    assert(w->n_heap > 0);
    struct sim_event e = w->heap[0];
    w->heap[0] = w->heap[--w->n_heap];
    if (w->n_heap)
        sift_down(w->heap, w->n_heap);
    return e;
}

bool world_runs(struct world *w, unsigned ep)
{
    return w->procs[ep].alive && w->procs[ep].paused_until <= w->now;
}

/* ---- what the net delivers ---- */

void ep_conn_up(struct world *w, unsigned ep, struct sconn *c)
{
    trace(w, ep, "conn_up", c->id, net_peer(c, ep), c->cls);
    if (ep == SIM_EP_HUB)
        hubnode_conn_up(w, c);
    else if (ep <= SIM_NODES_MAX)
        node_conn_up(&w->nodes[ep - 1], c);
    else
        client_conn_up(&w->clients[ep - 1 - SIM_NODES_MAX], c);
}

void ep_msg(struct world *w, unsigned ep, struct sconn *c, const struct smsg *m)
{
    uint64_t what = m->msg.type;
    if (m->msg.type == KT_MSG_FWD)
        what = m->msg.u.rec.id.seq << 8 | what;
    else if (m->msg.type == KT_MSG_WRITE)
        what = m->msg.u.write.wseq << 8 | what;
    trace(w, ep, kt_msg_name(m->msg.type), net_peer(c, ep), m->msg.epoch, what);
    w->st->msgs++;
    if (ep == SIM_EP_HUB)
        hubnode_msg(w, c, m);
    else if (ep <= SIM_NODES_MAX)
        node_msg(&w->nodes[ep - 1], c, m);
    else
        client_msg(&w->clients[ep - 1 - SIM_NODES_MAX], c, m);
}

void ep_conn_down(struct world *w, unsigned ep, struct sconn *c, int err)
{
    trace(w, ep, "conn_down", c->id, net_peer(c, ep), (uint64_t)-err);
    if (ep == SIM_EP_HUB)
        hubnode_conn_down(w, c->id);
    else if (ep <= SIM_NODES_MAX)
        node_conn_down(&w->nodes[ep - 1], c->id, net_peer(c, ep), err);
    else
        client_conn_down(&w->clients[ep - 1 - SIM_NODES_MAX], c->id);
}

/* ---- a run ---- */

static uint64_t log_between(struct rng *r, uint64_t lo, uint64_t hi)
{
    uint64_t v = lo;
    while (v * 2 <= hi && rng_chance(r, 750))
        v *= 2;
    return v + rng_below(r, v);
}

static unsigned draw_faults(struct rng *r)
{
    unsigned f = 0;
    for (unsigned bit = 1; bit < SIM_F_ALL; bit <<= 1)
        f |= rng_chance(r, bit >= SIM_F_KILL_ALL ? 250 : 500) ? bit : 0;
    return rng_chance(r, 30) ? 0 : f;
}

/* Some seeds look long at one thing: resyncs under load, or losses that a
 * client outlives. */
static void draw_profile(struct sim_params *p, struct rng *r)
{
    switch (rng_below(r, 5)) {
    case 0:
        p->faults &= SIM_F_RESET | SIM_F_SLOW;
        p->faults |= rng_chance(r, 500) ? SIM_F_KILL : SIM_F_POWER_ONE;
        p->think_us = 200 + rng_below(r, 2 * SIM_MS);
        p->delay_us = 200 + rng_below(r, 4 * SIM_MS);
        p->fault_ms = 500 + rng_below(r, 1500);
        p->disk_us = 500 + rng_below(r, 6 * SIM_MS);
        p->depth = 4 + (unsigned)rng_below(r, 5);
        p->reads /= 2;
        break;
    case 1:
        p->faults &= SIM_F_RESET | SIM_F_STEAL | SIM_F_HUB | SIM_F_KILL;
        p->faults |= SIM_F_POWER_ALL;
        p->fault_ms = 1000 + rng_below(r, 3000);
        p->think_us = 500 + rng_below(r, 20 * SIM_MS);
        p->flushes /= 4;
        p->fua /= 4;
        break;
    default:
        break;
    }
}

static void draw_params(struct world *w)
{
    struct rng r = {w->seed ^ 0x51d5};
    struct sim_params *p = &w->p;
    p->nodes = 3 + (unsigned)rng_below(&r, 2);
    p->chains = 1 + (unsigned)rng_chance(&r, 400);
    p->replicas = rng_chance(&r, 800) ? 3 : 2;
    p->extents = 4 / p->chains;
    p->sync = rng_chance(&r, 100);
    p->delay_us = log_between(&r, 50, 10 * SIM_MS);
    p->disk_us = log_between(&r, 30, 5 * SIM_MS);
    p->think_us = log_between(&r, 1 * SIM_MS, 200 * SIM_MS);
    p->depth = 1 + (unsigned)rng_below(&r, 8);
    p->codec = rng_chance(&r, 200) ? 100 : 10;
    p->retain = rng_chance(&r, 200) ? CHAIN_RING + 8 : 8192;
    /* So few that whoever lost its tail may be beyond reach. */
    if (rng_chance(&r, 100))
        p->retain = CHAIN_INFLIGHT_MAX / 8;
    p->faults = draw_faults(&r);
    p->fault_ms = log_between(&r, 300, 5000);
    p->run_ms = 4000 + rng_below(&r, 20000);
    p->after_ms = AFTER_MS;
    p->reads = 200 + (unsigned)rng_below(&r, 400);
    p->flushes = (unsigned)rng_below(&r, 150);
    p->fua = (unsigned)rng_below(&r, 300);
    p->zeros = (unsigned)rng_below(&r, 250);
    /* Two chains share nodes unevenly: there a store may be too small. */
    struct rng old = {w->seed ^ 0x01db};
    p->old_hub = rng_chance(&old, 60);
    p->digests = rng_chance(&old, 400);
    p->slots = p->chains == 1 && rng_chance(&r, 150) ? 3 : 64;
    draw_profile(p, &r);
    /* Else the log would nearly always do, and no extent be compared. */
    static const unsigned gaps[] = {0, 200, 1000, 1000};
    struct rng gap = {w->seed ^ 0x1069};
    p->log_gap = gaps[rng_below(&gap, 4)];
}

/* Most seeds are short: a third of the time, with the faults closer together,
 * or slower clients; so many more worlds are seen in an hour. */
static void shorten(struct world *w)
{
    struct rng r = {w->seed ^ 0x54027};
    struct sim_params *p = &w->p;
    p->min_steps = SIM_STEPS_MIN;
    p->after_ms = 500 + rng_below(&r, 1500);
    if (rng_chance(&r, 300)) {
        p->run_ms = p->run_ms * 3 / 4;
        p->think_us = p->think_us * 3;
        return;
    }
    p->run_ms = p->run_ms / 4;
    p->fault_ms = p->fault_ms / 2;
    p->reads = p->reads * 5 / 4;
    if (p->think_us > 40 * SIM_MS)
        p->think_us /= 3; /* else it would see hardly any of it */
    else if (p->think_us < 4 * SIM_MS)
        p->think_us *= 3; /* and of these very much of the same */
}

static void make_id(struct rng *r, struct kt_id *ret_id)
{
    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t v = rng_next(r);
        memcpy(ret_id->b + i, &v, 8);
    }
}

struct world *world_make(uint64_t seed, bool brief, uint32_t kinds,
                         const struct sim_params *fixed)
{
    struct world *w = calloc(1, sizeof(*w));
    assert(w);
    w->seed = seed;
    struct rng r = {seed * 0x2545f4914f6cdd1du + 1};
    w->net.s = rng_next(&r);
    w->disk.s = rng_next(&r);
    w->work.s = rng_next(&r);
    w->fault.s = rng_next(&r);
    make_id(&r, &w->volume);
    make_id(&r, &w->cluster);
    make_id(&r, &w->history);
    draw_params(w);
    if (brief)
        shorten(w);
    kinds_draw(w, kinds);
    if (fixed)
        w->p = *fixed;
    else
        disk_draw(w);
    if (!w->p.clients)
        w->p.clients = 2;
    w->segment_bytes = (uint64_t)w->p.extents * KT_EXTENT_BYTES;
    w->volume_bytes = w->segment_bytes * w->p.chains;
    ghost_init(w);
    hubnode_init(w);
    for (unsigned i = 0; i < w->p.nodes; i++)
        node_init(w, i);
    for (unsigned i = 0; i < w->p.clients; i++)
        client_init(w, i);
    return w;
}

void world_free(struct world *w)
{
    for (unsigned i = 0; i < w->p.clients; i++)
        client_release(&w->clients[i]);
    for (unsigned i = 0; i < w->p.nodes; i++)
        node_release(&w->nodes[i]);
    hubnode_release(w);
    net_free_all(w);
    work_free(w);
    ghost_free(w);
    free(w->heap);
    free(w);
}

void world_turn(struct world *w)
{
    struct sim_event e = next_event(w);
    assert(e.t >= w->now);
    w->now = e.t;
    e.fn(w, e.a, e.b, e.c);
    SIM_CHECK(w, !w->max_steps || w->step < w->max_steps, "stopped by --steps");
}

void world_until(struct world *w, uint64_t t)
{
    while (w->n_heap && w->heap[0].t <= t)
        world_turn(w);
    w->now = t;
}

void world_begin(struct world *w)
{
    hubnode_start(w);
    for (unsigned i = 0; i < w->p.nodes; i++)
        node_start(&w->nodes[i]);
    while (!hubnode_volume_ready(w)) {
        world_turn(w);
        SIM_CHECK(w, w->now < LIVENESS_US, "the volume was not made in 60 s");
    }
    client_start(&w->clients[0], false);
}

/* What is not at rest yet; NULL: all is. */
static const char *restless(struct world *w)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        const struct sconn *c = &w->conns[i];
        /* Somebody does not know yet. */
        if (c->id &&
            (c->broken || (c->hung_us && w->now - c->hung_us < HUNG_US)))
            return "a connection";
    }
    /* Nor is it over while a client gives again what was lost. */
    for (unsigned i = 0; i < w->p.clients; i++) {
        if (!client_settled(&w->clients[i]))
            return "a client";
    }
    if (work_pending(w))
        return "an operation";
    if (!hubnode_healthy(w))
        return "a chain, or a node";
    return hubnode_even(w) ? NULL : "a record";
}

static void wait_for_the_end(struct world *w)
{
    uint64_t until = w->now + LIVENESS_US;
    do {
        while (restless(w) && w->now < until)
            world_turn(w);
        world_until(w, w->now + REST_US);
    } while (restless(w) && w->now < until);
    if (!restless(w))
        return;
    hubnode_describe(w);
    SIM_CHECK(w, work_pending(w) == 0,
              "%u operations hang 60 s after all was healed", work_pending(w));
    sim_fail(w, "%s is not at rest 60 s after all was healed", restless(w));
}

void world_end(struct world *w)
{
    faults_heal(w);
    world_until(w, w->now + w->p.after_ms * SIM_MS);
    w->closing = true;
    for (unsigned i = 0; i < w->p.clients; i++)
        client_close(&w->clients[i]);
    wait_for_the_end(w);
    verify_quiet(w);
    verify_history(w);
    for (unsigned i = 0; i < w->p.clients; i++)
        client_note(&w->clients[i]);
    w->st->virtual_ms += w->now / SIM_MS;
    w->st->steps += w->step;
}

void world_run(struct world *w)
{
    world_begin(w);
    faults_start(w);
    world_until(w, w->now + w->p.run_ms * SIM_MS);
    while (w->step < w->p.min_steps)
        world_until(w, w->now + MORE_US);
    enough_run(w);
    world_end(w);
}
