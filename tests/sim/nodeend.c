/* SPDX-License-Identifier: BSD-3-Clause */
/* The replicator's shell: how it ends, and how one of its chains does. */
#include <string.h>

#include "replicator/store/mem_priv.h"
#include "tests/sim/sim.h"

/* ---- a chain that is released ----
 *
 *   1. RELEASE. From now on the chain takes no step and is told to nobody.
 *   2. Its operations end, then the store drops it.
 *   3. RELEASE_OK. */

static void release_ok(struct snode *n, uint64_t req, uint64_t chain)
{
    struct kt_msg ok = {.type = KT_MSG_RELEASE_OK, .req = req, .chain = chain};
    node_send_hub(n, &ok);
}

bool node_drops(const struct snode *n, uint64_t chain)
{
    return chain >= 1 && chain <= SIM_CHAINS_MAX && n->chains[chain - 1].used &&
           n->chains[chain - 1].dropping;
}

void node_release_chain(struct snode *n, struct schain *sc,
                        const struct kt_msg *m)
{
    if (node_drops(n, m->chain)) {
        n->chains[m->chain - 1].drop_req = m->req;
        return;
    }
    if (!sc) { /* done before */
        release_ok(n, m->req, m->chain);
        return;
    }
    SIM_CHECK(n->w,
              !sc->c.have_cfg ||
                  kt_id_eq(&sc->c.cfg.volume, &m->u.release.volume),
              "n%u shall release a chain of another volume", n->index + 1);
    trace(n->w, n->ep, "release", m->chain, 0, 0);
    sc->dropping = true;
    sc->drop_req = m->req;
    store_ungrant(n->store, sc->sc);
    ops_drop(sc);
}

static void release_bufs(struct schain *sc)
{
    struct chain *c = &sc->c;
    for (uint32_t k = 0; k < CHAIN_RING; k++)
        kt_buf_unref(c->ring[k].buf);
}

void node_dropped(struct schain *sc, int err)
{
    struct snode *n = sc->n;
    if (err < 0)
        return; /* faulty: it stays, until the next start */
    trace(n->w, n->ep, "released", sc->c.id, 0, 0);
    n->w->st->released++;
    release_ok(n, sc->drop_req, sc->c.id);
    release_bufs(sc);
    sc->used = sc->dropping = false;
}

/* ---- the end of the process ---- */

static void forget(struct snode *n)
{
    for (unsigned i = 0; i < SIM_CHAINS_MAX; i++) {
        struct chain *c = &n->chains[i].c;
        if (n->chains[i].used)
            release_bufs(&n->chains[i]);
        n->w->st->dups += n->chains[i].used ? c->n_dup : 0;
        n->w->st->gaps += n->chains[i].used ? c->n_gap : 0;
        n->w->st->resumes += n->chains[i].used ? c->n_resume : 0;
        n->w->st->skips += n->chains[i].used ? c->n_skip : 0;
        n->w->st->suffixes += n->chains[i].used ? c->n_suffix : 0;
        n->w->st->log_records += n->chains[i].used ? c->n_log : 0;
        n->chains[i].used = n->chains[i].dropping = false;
    }
}

/* The machine of a process that was killed before: what the process wrote
 * and nobody synced may go now. */
static void lose_tail(struct store_mem_disk *d)
{
    uint64_t n = d->last_lsn - kt_min_u64(d->base_lsn, d->last_lsn);
    uint64_t cut = d->last_lsn - mem_random(d) % (n + 1);
    assert(!d->open);
    mem_disk_cut(d, cut);
    d->last_lsn = cut;
}

void node_lose(struct snode *n)
{
    struct store_mem_disk *d = n->disk;
    assert(!d->open);
    mem_disk_cut(d, d->base_lsn);
    d->last_lsn = kt_min_u64(d->last_lsn, d->base_lsn);
}

void node_crash(struct snode *n, bool power)
{
    struct world *w = n->w;
    struct proc *p = &w->procs[n->ep];
    trace(w, n->ep, power ? "power_loss" : "kill", p->life, 0, 0);
    if (power)
        p->machine = false;
    if (!p->alive) {
        if (power)
            lose_tail(n->disk);
        return;
    }
    p->alive = false;
    net_process_gone(w, n->ep, power);
    store_mem_crash(n->store, power ? STORE_MEM_POWER : STORE_MEM_KILL);
    n->store = NULL;
    ops_free_all(n);
    forget(n);
}

void node_release(struct snode *n)
{
    if (n->store) {
        store_mem_crash(n->store, STORE_MEM_KILL);
        n->store = NULL;
    }
    ops_free_all(n);
    forget(n);
    store_mem_disk_free(n->disk);
    store_mem_disk_free(n->copy);
}
