/* SPDX-License-Identifier: BSD-3-Clause */
/* The fault atlas: for every node, extent and sector, what the simulator has
 * damaged. The map itself is the marks of the twins' disks, which follow each
 * sector through rewriting, crashes and resyncs (mem_damage.c).
 *
 * It is asked before anything is damaged, and says no where that would take the
 * last good copy of what was acknowledged: so every loss that is found is ours.
 * What it says no to is counted.
 *
 * A copy counts as good when nothing the other faults do can take it away: it
 * is durable, undamaged, and of a member that the hub's row has in service, so
 * that nobody goes on without asking it (I6). What is acknowledged and not
 * durable yet is not the atlas's concern: no slot has it, and a loss of power
 * may take it (A3). */
#include "replicator/store/mem_priv.h"
#include "tests/sim/disk.h"

static const struct mem_sector *durable(const struct snode *n, unsigned chain,
                                        uint32_t extent, uint32_t sector)
{
    struct store_chain *c = mem_chain_find(n->disk->chains, chain + 1);
    const struct mem_extent *e =
        c && extent < c->n_extents ? c->ext[extent] : NULL;
    return e && e->s[sector].sum ? &e->s[sector] : NULL;
}

bool atlas_holds(const struct snode *n, unsigned chain, uint32_t extent,
                 uint32_t sector)
{
    return durable(n, chain, extent, sector) &&
           !store_mem_is_damaged(n->disk, chain + 1, extent, sector);
}

bool atlas_may_rot(struct world *w, const struct snode *n, unsigned chain,
                   uint32_t extent, uint32_t sector)
{
    const struct kt_cfg *cfg = hubnode_cfg(w, chain);
    const struct mem_sector *s = durable(n, chain, extent, sector);
    for (unsigned i = 0; s && i < kt_cfg_serving(cfg); i++) {
        int at = node_of_store(w, &cfg->members[i].store);
        if (at < 0 || &w->nodes[at] == n ||
            w->nodes[at].disk->incarnation != cfg->members[i].incarnation)
            continue;
        const struct snode *o = &w->nodes[at];
        const struct mem_sector *t = durable(o, chain, extent, sector);
        if (atlas_holds(o, chain, extent, sector) && t->sum == s->sum)
            return true;
    }
    return false;
}

/* It serves, and knows what the hub's row says. */
static bool keeps(struct world *w, unsigned chain, unsigned member)
{
    const struct kt_cfg *cfg = hubnode_cfg(w, chain);
    int at = node_of_store(w, &cfg->members[member].store);
    if (at < 0)
        return false;
    const struct snode *n = &w->nodes[at];
    const struct chain *c = &n->chains[chain].c;
    return n->store &&
           n->disk->incarnation == cfg->members[member].incarnation &&
           n->chains[chain].used && c->phase == CHAIN_ACTIVE &&
           c->role == CHAIN_MEMBER && c->cfg.epoch == cfg->epoch;
}

/* Every sector that is damaged at one of them is whole at another. */
static bool all_whole(struct world *w, unsigned chain, const struct snode *but)
{
    const struct kt_cfg *cfg = hubnode_cfg(w, chain);
    for (unsigned h = 0; h < SIM_HOT; h++) {
        bool damaged = false, whole = false;
        for (unsigned i = 0;
             cell_chain(w, 2 * h) == chain && i < kt_cfg_serving(cfg); i++) {
            int at = node_of_store(w, &cfg->members[i].store);
            if (at < 0 || &w->nodes[at] == but)
                continue;
            bool bad = store_mem_is_damaged(w->nodes[at].disk, chain + 1,
                                            cell_extent(w, 2 * h),
                                            cell_offset(w, 2 * h));
            damaged = damaged || bad;
            whole = whole || !bad;
        }
        if (damaged && !whole)
            return false;
    }
    return true;
}

/* What it served is kept by at least min_write others. */
static bool kept(struct world *w, unsigned chain, const struct snode *n)
{
    const struct kt_cfg *cfg = hubnode_cfg(w, chain);
    unsigned others = 0;
    for (unsigned i = 0; i < kt_cfg_serving(cfg); i++)
        others +=
            !kt_id_eq(&cfg->members[i].store, &n->uuid) && keeps(w, chain, i);
    return others >= cfg->min_write && all_whole(w, chain, n);
}

/* One node in a run, for chains of three: nobody is put in the place of one
 * that is lost, and below min_write nothing would end. An old copy of the hub's
 * database may name a set of which the lost one is all there is. */
bool atlas_may_ever_wipe(const struct world *w, const struct snode *n)
{
    return w->p.replicas >= 3 && !w->p.old_hub &&
           kt_id_is_zero(&w->lost_node) &&
           (!w->lost || w->lost == n->index + 1);
}

bool atlas_may_wipe(struct world *w, const struct snode *n)
{
    if (!atlas_may_ever_wipe(w, n) || !hubnode_idle(w))
        return false;
    for (unsigned i = 0; i < w->p.chains; i++) {
        if (kt_cfg_find(hubnode_cfg(w, i), &n->uuid) >= 0 && !kept(w, i, n))
            return false;
    }
    return true;
}

/* A copy of what the present epoch began with, or later, cannot be told from
 * the disk itself but by those that saw more acknowledged (F36). */
bool atlas_may_put_back(struct world *w, const struct snode *n,
                        const struct store_mem_disk *copy)
{
    for (unsigned i = 0; i < w->p.chains; i++) {
        const struct kt_cfg *cfg = hubnode_cfg(w, i);
        struct store_chain *c = mem_chain_find(copy->chains, i + 1);
        if (kt_cfg_find(cfg, &n->uuid) >= 0 &&
            (c ? c->applied.seq : 0) >= cfg->base_seq)
            return false;
    }
    return atlas_may_wipe(w, n);
}
