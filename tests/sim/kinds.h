/* SPDX-License-Identifier: BSD-3-Clause */
/* What else there is to break, and to heal. */
#ifndef KT_TESTS_SIM_KINDS_H
#define KT_TESTS_SIM_KINDS_H

#include <stdint.h>

struct sim_stats;
struct world;

/* Kinds of trouble that each have a random stream and a clock of their own
 * (kinds.c): a seed goes without one in half of the cases. */
enum sim_kind {
    SIM_K_NODES,   /* up to five replicators */
    SIM_K_CLIENTS, /* one to four clients */
    SIM_K_CLOG,    /* bytes pile up on a link, and come all at once */
    SIM_K_LINK,    /* a link that is slow and narrow */
    SIM_K_SPLIT,   /* two halves that do not hear, or not both, each other */
    SIM_K_FLIP,    /* bits of a frame flip in flight */
    SIM_K_ODD,     /* requests that begin or end within a sector */
    SIM_K_DETACH,  /* a client ends in peace */
    SIM_K_LEAVE,   /* a replicator does */
    SIM_K_ROW,     /* the hub dies around a commit */
    SIM_K_ENOUGH,  /* first only so much is healed as is needed */
    /* New ones at the end: the place tells the random stream. */
    SIM_KINDS
};
#define SIM_KIND_BIT(k) (1u << (k))
#define SIM_KINDS_ALL (SIM_KIND_BIT(SIM_KINDS) - 1)

/* ---- kinds.c ---- */
/* Which kinds this seed has: some of these. */
void kinds_draw(struct world *w, uint32_t of);
void kinds_start(struct world *w);
void kinds_heal(struct world *w);
/* What each did: a list for stdout, within a line; and lines. */
void kinds_list(const struct sim_stats *s);
void kinds_print(const struct sim_stats *s);
/* The bits of a list with commas, or of `all`; 0: one is unknown. */
uint32_t kinds_parse(const char *list);

/* ---- enough.c ---- */
void enough_run(struct world *w);

#endif
