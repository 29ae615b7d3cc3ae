/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes, clients and the hub itself come and go at random; what must hold
 * holds, and when everybody is back all is well again. Processes lose nothing
 * here: losses of memory are the simulator's. */
#include <stdlib.h>

#include "tests/unit/hub_world.h"

#define SEEDS 200u
#define STEPS 300u

struct run {
    struct world *w;
    uint64_t rng;
    uint64_t epoch, acked;
    struct kt_cfg seen; /* the newest anyone was told */
    uint64_t client;
};

static uint64_t draw(struct run *r, uint64_t n)
{
    r->rng ^= r->rng << 13;
    r->rng ^= r->rng >> 7;
    r->rng ^= r->rng << 17;
    return r->rng % n;
}

/* Everyone who serves has this configuration and is not sealed. */
static bool intact(struct run *r, const struct kt_cfg *c)
{
    for (unsigned i = 0; i < kt_cfg_serving(c); i++) {
        const struct w_peer *p = &r->w->p[w_peer_of(r->w, c, i)];
        if (!p->up || p->frozen ||
            p->incarnation != c->members[i].incarnation ||
            p->copy[1].promised != c->epoch ||
            p->copy[1].last_epoch != c->epoch)
            return false;
    }
    return true;
}

static void check(struct run *r)
{
    const struct kt_cfg *c = w_cfg(r->w, 1);

    assert_true(c->epoch >= r->epoch); /* I1 */
    if (c->phase != KT_PHASE_ACTIVE)
        return;
    assert_null(kt_cfg_invalid(c));
    if (c->epoch == r->epoch)
        assert_memory_equal(c->last, r->seen.last, sizeof(c->last));
    r->epoch = c->epoch;
    r->seen = *c;
    assert_int_equal(c->vgen, 1); /* I15: continuity was never lost */
    for (unsigned i = 0; i < kt_cfg_serving(c); i++) {
        const struct w_peer *p = &r->w->p[w_peer_of(r->w, c, i)];
        assert_true(p->copy[1].applied.seq >= r->acked); /* I12 */
        assert_true(p->copy[1].last_epoch <= c->epoch);  /* I5 */
    }
}

static void write_some(struct run *r)
{
    const struct kt_cfg *c = w_cfg(r->w, 1);

    if (c->phase != KT_PHASE_ACTIVE || !intact(r, c))
        return;
    if (draw(r, 2)) {
        /* What the head has arrives first. */
        uint64_t seq = r->w->p[w_peer_of(r->w, c, 0)].copy[1].applied.seq;
        for (unsigned i = 0; i < kt_cfg_serving(c); i++)
            r->w->p[w_peer_of(r->w, c, i)].copy[1].applied.seq = seq;
        w_write(r->w, 1, 1 + (unsigned)draw(r, 4));
        r->acked = r->w->p[w_peer_of(r->w, c, 0)].copy[1].applied.seq;
    } else { /* reached only the first ones: not acknowledged */
        unsigned n = (unsigned)draw(r, kt_cfg_serving(c));
        uint64_t head = r->w->p[w_peer_of(r->w, c, 0)].copy[1].applied.seq;
        for (unsigned i = 0; i < n; i++) {
            struct w_copy *k = &r->w->p[w_peer_of(r->w, c, i)].copy[1];
            k->applied.epoch = c->epoch;
            k->applied.seq = head + 1;
        }
    }
}

static void hub_restart(struct run *r)
{
    w_hub_start(r->w);
    for (unsigned i = 0; i < r->w->n_peers; i++) {
        if (r->w->p[i].up && !r->w->p[i].frozen)
            w_register(r->w, i);
    }
}

static void finish_sync(struct run *r)
{
    const struct kt_cfg *c = w_cfg(r->w, 1);
    int dst = kt_cfg_syncing(c);

    if (c->phase != KT_PHASE_ACTIVE || dst < 0 || !intact(r, c))
        return;
    const struct w_peer *p = &r->w->p[w_peer_of(r->w, c, (unsigned)dst)];
    if (p->up && !p->frozen && p->incarnation == c->members[dst].incarnation &&
        p->copy[1].last_epoch == c->epoch && p->copy[1].promised == c->epoch)
        w_synced(r->w, 1);
}

static void thaw(struct run *r, struct w_peer *p)
{
    p->frozen = false;
    if (!p->conn)
        w_register(r->w, (unsigned)(p - r->w->p));
}

static void step(struct run *r)
{
    unsigned i = (unsigned)draw(r, r->w->n_peers);
    struct w_peer *p = &r->w->p[i];

    switch (draw(r, 12)) {
    case 0:
        if (p->up && p->conn)
            w_peer_kill(r->w, i);
        break;
    case 1:
    case 2:
        if (!p->up)
            w_peer_start(r->w, i, true);
        break;
    case 3:
        if (p->up)
            p->frozen = true;
        break;
    case 4:
        if (p->frozen)
            thaw(r, p);
        break;
    case 5:
        if (p->up && p->conn && !p->frozen)
            w_peer_reconnect(r->w, i);
        break;
    case 6:
        if (draw(r, 4) == 0)
            hub_restart(r);
        break;
    case 7:
        r->client = w_client(r->w, (uint8_t)(1 + draw(r, 3)));
        w_attach(r->w, r->client, "v", (uint8_t)(1 + draw(r, 3)), draw(r, 2));
        w_hangup(r->w, r->client);
        break;
    case 8:
        finish_sync(r);
        break;
    case 9:
        w_run(r->w, 50 + draw(r, 5000));
        break;
    default:
        write_some(r);
        break;
    }
    w_run(r->w, draw(r, 3) * 50);
    w_forget(r->w);
}

static void heal(struct run *r)
{
    for (unsigned i = 0; i < r->w->n_peers; i++) {
        if (!r->w->p[i].up)
            w_peer_start(r->w, i, true);
        else if (r->w->p[i].frozen || !r->w->p[i].conn)
            thaw(r, &r->w->p[i]);
    }
    for (unsigned n = 0; n < 60; n++) {
        w_run(r->w, 1000);
        w_forget(r->w);
        check(r);
        finish_sync(r);
    }
}

static void whatever_happens_it_heals(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct run r = {.rng = seed * 0x9e3779b97f4a7c15ull};
        r.w = w_new(3 + seed % 3);
        w_volume(r.w, 3);
        for (unsigned n = 0; n < STEPS; n++) {
            step(&r);
            check(&r);
        }
        heal(&r);
        const struct hub_chain *c = hub_chain_of(&r.w->h, 1);
        if (hub_chain_health(&r.w->h, c) != HUB_HEALTHY ||
            c->op.phase != HUB_OP_NONE)
            fail_msg("seed %u does not heal: phase %u, why %u, serving %u",
                     seed, c->op.phase, c->op.why, kt_cfg_serving(&c->row.cfg));
        w_free(r.w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_it_heals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
