/* SPDX-License-Identifier: BSD-3-Clause */
/* What disks do by themselves, beside losing what was not synced (node.c) and
 * failing writes and syncs (faults.c). Each kind draws from its own stream, so
 * that switching one off does not shift the others.
 *
 * What the store makes of each is replicator/store's doing, told here by its
 * twin: damage at rest and reads that fail answer KT_E_CORRUPT once they were
 * repeated in vain, the member says BADSUM and the client asks another; a
 * resync from a damaged source fails and is tried again later. The store
 * repairs nothing yet. So disk_heal does, as a scrub with the other copies
 * would. */
#include "tests/sim/disk.h"

#include <inttypes.h>
#include <stdio.h>

#include "replicator/store/store_mem.h"

static bool plain;

void disk_plain(bool on)
{
    plain = on;
}

/* Off in half of the seeds; in a quarter, all of them are. A few seeds are
 * without law: rot and stray writes strike where they like, every copy of a
 * sector if need be. Then a read may fail, and must still tell no lie. */
void disk_draw(struct world *w)
{
    struct rng r = {w->seed ^ 0xd15cfau};
    bool none = rng_chance(&r, 250) || plain;
    for (unsigned i = 0; i < DISK_KINDS; i++) {
        struct disk_kind *k = &w->disk_kinds[i];
        bool on = rng_chance(&r, 667);
        uint64_t ms = 200 + rng_below(&r, 300) * (1 + rng_below(&r, 15));
        ms *= i == DISK_STUCK ? 4 : 1;
        k->r.s = rng_next(&r);
        k->mean_us = on && !none ? ms * SIM_MS : 0;
    }
    bool damages = w->disk_kinds[DISK_ROT].mean_us ||
                   w->disk_kinds[DISK_MISDIRECT].mean_us;
    w->lawless = rng_chance(&r, 80) && damages;
}

/* A place in use of some chain. */
struct place {
    unsigned chain;
    uint32_t at[2]; /* extent, sector */
};

static struct place place_of(const struct world *w, unsigned hot)
{
    return (struct place){cell_chain(w, 2 * hot),
                          {cell_extent(w, 2 * hot), cell_offset(w, 2 * hot)}};
}

/* True when it may be damaged; else it is counted what was held back. */
static bool may(struct world *w, struct snode *n, const struct place *p)
{
    if (!atlas_holds(n, p->chain, p->at[0], p->at[1]))
        return false;
    bool ok = w->lawless || atlas_may_rot(w, n, p->chain, p->at[0], p->at[1]);
    w->st->held += !ok;
    return ok;
}

/* One sector, or all of a group, as of a bad track. */
static void rot(struct world *w, struct rng *r, struct snode *n)
{
    unsigned hot = (unsigned)rng_below(r, SIM_HOT);
    unsigned many = rng_chance(r, 300) ? SIM_GROUP_SECTORS : 1;
    hot -= many > 1 ? hot % SIM_GROUP_SECTORS : 0;
    for (unsigned h = hot; h < hot + many; h++) {
        struct place p = place_of(w, h);
        if (may(w, n, &p) &&
            store_mem_rot(n->disk, p.chain + 1, p.at[0], p.at[1])) {
            trace(w, n->ep, "rot", p.chain, p.at[0], p.at[1]);
            w->st->rots++;
        }
    }
}

static void misdirect(struct world *w, struct rng *r, struct snode *n)
{
    struct place a = place_of(w, (unsigned)rng_below(r, SIM_HOT));
    struct place b = place_of(w, (unsigned)rng_below(r, SIM_HOT));
    b.chain = a.chain;
    if (may(w, n, &a) && may(w, n, &b) &&
        store_mem_misdirect(n->disk, a.chain + 1, a.at, b.at)) {
        trace(w, n->ep, "misdirect", a.chain, a.at[0] << 16 | a.at[1],
              b.at[0] << 16 | b.at[1]);
        w->st->misdirects++;
    }
}

/* Of sectors mostly; else of what resyncs and EQUALIZE live on. */
static void glitch(struct world *w, struct rng *r, struct snode *n)
{
    bool meta = rng_chance(r, 400);
    if (!n->store)
        return;
    trace(w, n->ep, "glitch", meta, 0, 0);
    w->st->glitches++;
    store_mem_fail_next(n->store,
                        meta ? STORE_MEM_BAD_META : STORE_MEM_BAD_READ);
}

static void unstuck(struct snode *n)
{
    if (!n->stuck_us)
        return;
    trace(n->w, n->ep, "unstuck", 0, 0, 0);
    n->stuck_us = 0;
    ops_schedule(n);
}

static void unstick(struct world *w, uint64_t index, uint64_t since, uint64_t c)
{
    (void)c;
    if (w->nodes[index].stuck_us == since)
        unstuck(&w->nodes[index]);
}

/* Long enough, at times, that the hub does without it (F23). */
static void stick(struct world *w, struct rng *r, struct snode *n)
{
    uint64_t ms = rng_range(r, 50, rng_chance(r, 500) ? 1500 : 12000);
    if (!n->store || n->stuck_us)
        return;
    trace(w, n->ep, "stuck", ms, 0, 0);
    w->st->stucks++;
    n->stuck_us = w->now;
    world_at(w, ms * SIM_MS, unstick, n->index, w->now, 0);
}

static void back(struct world *w, uint64_t index, uint64_t b, uint64_t c)
{
    (void)b;
    (void)c;
    node_start(&w->nodes[index]);
}

/* d: what its directory is from now on; NULL: empty. */
static void exchange(struct snode *n, struct store_mem_disk *d, uint64_t ms)
{
    struct world *w = n->w;
    w->lost = n->index + 1;
    node_crash(n, false);
    node_swap(n, d);
    world_at(w, ms * SIM_MS, back, n->index, 0, 0);
}

static void wipe(struct world *w, struct rng *r, struct snode *n)
{
    uint64_t ms = rng_range(r, 50, 5000);
    if (atlas_may_wipe(w, n)) {
        w->st->wipes++;
        exchange(n, NULL, ms);
    } else {
        w->st->held += atlas_may_ever_wipe(w, n);
    }
}

static void copy(struct snode *n)
{
    store_mem_disk_free(n->copy);
    n->copy = store_mem_disk_copy(n->disk);
    assert(n->copy);
    n->copy_term = n->hub_term;
    n->copy_mark = n->hub_mark;
    trace(n->w, n->ep, "copy", n->copy->incarnation, 0, 0);
}

/* Copied now; put back some time. */
static void put_back(struct world *w, struct rng *r, struct snode *n)
{
    uint64_t ms = rng_range(r, 50, 3000);
    if (!n->copy || rng_chance(r, 250)) {
        copy(n);
    } else if (!atlas_may_put_back(w, n, n->copy)) {
        w->st->held += atlas_may_ever_wipe(w, n);
    } else {
        w->st->olds++;
        exchange(n, n->copy, ms);
        n->copy = NULL;
        n->hub_term = n->copy_term;
        n->hub_mark = n->copy_mark;
    }
}

static const struct {
    const char *name;
    void (*strike)(struct world *, struct rng *, struct snode *);
} kinds[] = {
    [DISK_ROT] = {"rot", rot},
    [DISK_MISDIRECT] = {"misdirect", misdirect},
    [DISK_GLITCH] = {"bad read", glitch},
    [DISK_STUCK] = {"stuck", stick},
    [DISK_WIPE] = {"wiped", wipe},
    [DISK_OLD] = {"put back", put_back},
};

static void next_disk(struct world *w, uint64_t kind, uint64_t b, uint64_t c)
{
    struct disk_kind *k = &w->disk_kinds[kind];
    (void)b;
    (void)c;
    if (w->healed)
        return;
    kinds[kind].strike(w, &k->r, &w->nodes[rng_below(&k->r, w->p.nodes)]);
    world_at(w, 1 + rng_exp(&k->r, k->mean_us), next_disk, kind, 0, 0);
}

void disk_start(struct world *w)
{
    w->st->lawless += w->lawless;
    for (unsigned i = 0; i < DISK_KINDS; i++) {
        struct disk_kind *k = &w->disk_kinds[i];
        if (k->mean_us)
            world_at(w, rng_exp(&k->r, k->mean_us), next_disk, i, 0, 0);
    }
}

/* The hub refuses it for its older state, and says what to do: start with an
 * empty directory. */
static void replace(struct snode *n)
{
    struct world *w = n->w;
    if (w->lost != n->index + 1 || !hubnode_refuses(w, n))
        return;
    node_crash(n, false);
    node_swap(n, NULL);
    node_start(n);
}

void disk_heal(struct world *w)
{
    for (unsigned i = 0; i < w->p.nodes; i++) {
        struct snode *n = &w->nodes[i];
        unstuck(n);
        replace(n);
        w->st->mended += store_mem_mend(n->disk);
    }
}

bool disk_damages(const struct world *w)
{
    return w->disk_kinds[DISK_ROT].mean_us ||
           w->disk_kinds[DISK_MISDIRECT].mean_us ||
           w->disk_kinds[DISK_GLITCH].mean_us;
}

void disk_describe(const struct world *w)
{
    if (w->lawless)
        fprintf(stderr, "disks: without law\n");
    for (unsigned i = 0; i < DISK_KINDS; i++) {
        if (w->disk_kinds[i].mean_us)
            fprintf(stderr, "disks: %s every %" PRIu64 " ms\n", kinds[i].name,
                    w->disk_kinds[i].mean_us / SIM_MS);
    }
}

void disk_print(const struct sim_stats *s)
{
    printf("%" PRIu64 " sectors rotten, %" PRIu64
           " writes misdirected, %" PRIu64 " bad reads, %" PRIu64
           " stuck disks, %" PRIu64 " wiped, %" PRIu64
           " put back to an older state, %" PRIu64 " held back by the atlas",
           s->rots, s->misdirects, s->glitches, s->stucks, s->wipes, s->olds,
           s->held);
}
