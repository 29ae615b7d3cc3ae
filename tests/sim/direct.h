/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules written by hand, for what random ones meet too seldom. Each is a
 * function that reads like the story it tells; time passes only where it says
 * so (d_run, d_until...). At its end all is healed, and the usual verdict on
 * copies and history follows.
 *
 * Nodes are 0, 1, 2; unless the schedule starts others, the chain is 0 1 2. */
#ifndef KT_TESTS_SIM_DIRECT_H
#define KT_TESTS_SIM_DIRECT_H

#include "tests/sim/sim.h"

#define HUB SIM_EP_HUB
#define N(i) SIM_EP_NODE(i)
#define CL(i) SIM_EP_CLIENT(i)
#define D_SOON_MS 15000u /* the longest pause that is let pass */

struct direct {
    const char *name;
    const char *rules; /* it must fail when these are off; NULL: none */
    const char *what;
    void (*run)(struct world *w);
    struct sim_params p;             /* what is 0 is taken from the defaults */
    void (*before)(struct world *w); /* anything starts; or NULL */
};
extern const struct direct direct_rows[], direct_old[], direct_rules[],
    direct_sync[], direct_disk[], direct_hub[], direct_reach[];

/* A gate holds the nth message of a type from one to another, and whatever
 * comes behind it on the same connection, until it is opened. */
struct gate {
    struct gate *next;
    unsigned from, to;
    uint8_t type;
    bool hit, open;
    bool lose; /* it does not wait: its bytes are damaged on the way */
    bool copy; /* nor that: a copy of it is kept, for d_again */
    struct smsg kept;
    uint64_t conn;
    unsigned nth;
    bool (*fits)(const struct kt_msg *m);
};
struct gate *d_gate(struct world *w, unsigned from, unsigned to, uint8_t type,
                    unsigned nth);
void d_open(struct world *w, struct gate *g);
/* The next one is lost: its sum is wrong, nobody takes it. */
void d_lose(struct world *w, unsigned from, unsigned to, uint8_t type);
/* A copy of what passes, delivered once more when wanted: more than TCP does,
 * no more than the protocol has to bear (B1). */
struct gate *d_copy(struct world *w, unsigned from, unsigned to, uint8_t type);
void d_again(struct world *w, struct gate *g);

/* Time. */
void d_run(struct world *w, uint64_t ms);
typedef bool d_cond(struct world *w);
/* Event by event until it holds; fails when it does not within D_SOON_MS. */
void d_until(struct world *w, d_cond *cond, const char *what);
void d_until_hit(struct world *w, struct gate *g);
/* Until chain 1 has an epoch beyond this one, ACTIVE at its first member. */
void d_until_epoch(struct world *w, uint64_t beyond);
void d_until_sealed(struct world *w, unsigned node);
/* Every step-th cell is written, the tail dies, and all are written: which one
 * it was. */
unsigned d_behind(struct world *w, unsigned step);
uint64_t d_epoch(struct world *w);

/* What a client does. d_write and the like end when it is done. */
void d_attach(struct world *w, unsigned client, bool steal);
struct wop *d_start(struct world *w, unsigned client, uint8_t kind,
                    unsigned hot);
void d_done(struct world *w, const struct wop *o);
void d_write(struct world *w, unsigned client, unsigned hot);
void d_read(struct world *w, unsigned client, unsigned hot);
void d_flush(struct world *w, unsigned client);
bool d_pending(const struct wop *o);

/* What breaks. d_cut is one way; messages wait, as those of TCP do. */
void d_cut(struct world *w, unsigned from, unsigned to);
void d_part(struct world *w, unsigned a, unsigned b);
void d_join(struct world *w, unsigned a, unsigned b);
/* Every connection between the two breaks, and its suffix is lost. */
void d_reset(struct world *w, unsigned a, unsigned b);
void d_kill(struct world *w, unsigned node);
void d_power(struct world *w, unsigned node);
/* Power loss that leaves nothing that was not synced. */
void d_power_bare(struct world *w, unsigned node);
void d_up(struct world *w, unsigned node);
void d_power_bare_all(struct world *w);
void d_up_all(struct world *w);

/* What is. */
struct chain *d_chain(struct world *w, unsigned node);
const struct kt_cfg *d_cfg(struct world *w);
bool d_serves(struct world *w, unsigned node); /* by the hub's row */
int d_member(struct world *w, unsigned node);  /* its place, or -1 */
unsigned d_at(struct world *w, unsigned place);
unsigned d_head(struct world *w);
unsigned d_tail(struct world *w);
bool d_healthy(struct world *w);

#endif
