/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub of a simulated world, for everybody else in it; sim.h includes it. */
#ifndef KT_TESTS_SIM_HUBAPI_H
#define KT_TESTS_SIM_HUBAPI_H

#include "hub/control/control.h"

struct world;
struct sconn;
struct smsg;
struct snode;

struct shub;
void hubnode_init(struct world *w);
void hubnode_start(struct world *w);
void hubnode_crash(struct world *w);
void hubnode_release(struct world *w);
void hubnode_conn_up(struct world *w, struct sconn *c);
void hubnode_msg(struct world *w, struct sconn *c, const struct smsg *m);
void hubnode_conn_down(struct world *w, uint64_t conn);
/* It is killed, and its rows are those of some time ago. */
void hubnode_restore_old(struct world *w);
void hubnode_keep_copy(struct world *w);
/* An old copy came back, and nobody has shown that it is old. */
bool hubnode_is_old(const struct world *w);
/* That node registered since the hub started. */
bool hubnode_heard(const struct world *w, const struct kt_id *node);
/* It dies at its nth commit from now, before it is durable or right after. */
void hubnode_die_at(struct world *w, uint64_t n, bool after);
uint64_t hubnode_commits(const struct world *w);
/* An order of a person; its end: 0, an error, or HUBNODE_PENDING. */
#define HUBNODE_PENDING 1
void hubnode_admin(struct world *w, const struct hub_admin *q);
int hubnode_admin_err(const struct world *w);
struct hub *hubnode_hub(struct world *w);
bool hubnode_volume_ready(struct world *w);
/* Every chain has all its members in service and nothing is going on. */
bool hubnode_healthy(struct world *w);
/* Those that serve have all that any of them has. */
bool hubnode_even(struct world *w);
/* It runs, recovers nothing, and no chain is in the middle of anything. */
bool hubnode_idle(struct world *w);
/* It would not let this one register, for it is older than it was. */
bool hubnode_refuses(struct world *w, const struct snode *n);
const struct kt_cfg *hubnode_cfg(struct world *w, unsigned chain);
uint64_t hubnode_token(struct world *w); /* of the volume, durable */
void hubnode_describe(struct world *w);
/* enum hub_op_phase of a chain, as the running hub has it. */
unsigned hubnode_phase(struct world *w, unsigned chain);

#endif
