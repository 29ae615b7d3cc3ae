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
        if (at < 0 || &w->nodes[at] == n)
            continue;
        const struct snode *o = &w->nodes[at];
        const struct mem_sector *t = durable(o, chain, extent, sector);
        if (atlas_holds(o, chain, extent, sector) && t->sum == s->sum)
            return true;
    }
    return false;
}
