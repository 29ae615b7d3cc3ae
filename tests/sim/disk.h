/* SPDX-License-Identifier: BSD-3-Clause */
/* What the disks of nodes do to them, and what they must not. */
#ifndef KT_TESTS_SIM_DISK_H
#define KT_TESTS_SIM_DISK_H

#include "tests/sim/sim.h"

/* Each has a stream of its own, and is off in half of the seeds. */
enum disk_fault {
    DISK_ROT,       /* a durable sector changes at rest */
    DISK_MISDIRECT, /* a write of a sector went to another's place */
    DISK_GLITCH,    /* a read fails, or is wrong, even when repeated */
    DISK_STUCK,     /* nothing completes for seconds */
    DISK_WIPE,      /* the directory is empty: another store, another node */
    DISK_OLD,       /* the directory is an older copy of itself */
    DISK_KINDS
};

/* ---- disk.c ---- */
/* Which kinds strike this seed, and how often: from w->seed alone. */
void disk_draw(struct world *w);
/* From now on none of them does: for seeds older than they are. */
void disk_plain(bool on);
void disk_start(struct world *w);
/* Every disk works again, and what it damaged is repaired. */
void disk_heal(struct world *w);
/* A member may have had reason to answer BADSUM. */
bool disk_damages(const struct world *w);
/* Which kinds strike in this world, to stderr. */
void disk_describe(const struct world *w);
/* What it did: a list for stdout, within a line. */
void disk_print(const struct sim_stats *s);

/* ---- atlas.c: the map of what is damaged where ---- */
/* There is something durable and whole at this place of the node's disk. */
bool atlas_holds(const struct snode *n, unsigned chain, uint32_t extent,
                 uint32_t sector);
/* Another copy of this sector will do: durable, whole, the same as this one,
 * and of a member that the hub counts on. */
bool atlas_may_rot(struct world *w, const struct snode *n, unsigned chain,
                   uint32_t extent, uint32_t sector);
/* In this run, a directory of this node may still go. */
bool atlas_may_ever_wipe(const struct world *w, const struct snode *n);
/* The whole directory may go: the others carry on without it, and have all. */
bool atlas_may_wipe(struct world *w, const struct snode *n);
/* Or be put back to this copy: the others can tell, too. */
bool atlas_may_put_back(struct world *w, const struct snode *n,
                        const struct store_mem_disk *copy);

#endif
