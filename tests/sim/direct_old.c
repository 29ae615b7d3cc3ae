/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules for the table of failures, from F33 on: servers started again, and
 * disks and databases that are older than what others know. */
#include "lib/base/rule.h"
#include "replicator/store/mem_priv.h"
#include "tests/sim/direct.h"

/* The server of a device in use is started again; nothing was lost. */
static void handed_over(struct world *w)
{
    uint64_t before = w->st->hand_overs;
    d_write(w, 0, 0);
    d_run(w, 2000);
    d_write(w, 0, 0);
    client_restart(&w->clients[0], 100 * SIM_MS);
    d_run(w, 12000);
    SIM_CHECK(w, w->st->hand_overs == before + 1, "not handed over");
    d_read(w, 0, 0);
}

static void not_handed_over(struct world *w, uint64_t ms, const char *why)
{
    uint64_t before = w->st->hand_overs, no = w->st->hand_overs_refused;
    d_run(w, ms);
    SIM_CHECK(w, w->st->hand_overs == before && w->st->hand_overs_refused > no,
              "a device is handed over although %s", why);
}

/* All its replicas lost power meanwhile: what was acknowledged may be gone. */
static void hand_over_refused(struct world *w)
{
    d_write(w, 0, 0);
    d_run(w, 2000);
    d_write(w, 0, 0);
    client_restart(&w->clients[0], 20000 * SIM_MS);
    d_power_bare_all(w);
    d_up_all(w);
    not_handed_over(w, 40000, "writes are gone");
}

/* The same with the power lost before, and half a replay done. */
static void hand_over_in_replay(struct world *w)
{
    d_write(w, 0, 0);
    d_write(w, 0, 4);
    d_write(w, 0, 8);
    d_run(w, 2000);
    d_power_bare_all(w);
    struct gate *g[3];
    for (unsigned i = 0; i < 3; i++)
        g[i] = d_gate(w, CL(0), N(i), KT_MSG_WRITE, 1);
    d_up_all(w);
    d_until_hit(w, g[d_head(w)]);
    client_restart(&w->clients[0], 1000 * SIM_MS);
    for (unsigned i = 0; i < 3; i++)
        d_open(w, g[i]);
    not_handed_over(w, 20000, "its replay was not complete");
}

/* Another had the volume in between. */
static void hand_over_between(struct world *w)
{
    d_write(w, 0, 0);
    d_run(w, 2000);
    client_restart(&w->clients[0], 20000 * SIM_MS);
    d_attach(w, 1, true);
    d_write(w, 1, 0);
    client_crash(&w->clients[1]);
    not_handed_over(w, 40000, "another held it");
}

static unsigned registering;
static bool is_registered(struct world *w)
{
    return w->nodes[registering].registered;
}

/* The hub's database is from before a member was evicted. One that knows
 * better registers and dies; then only that member is there. */
static void old_database(struct world *w)
{
    unsigned a = d_at(w, 0), b = d_at(w, 1), t = d_tail(w);
    uint64_t e = d_epoch(w);
    d_write(w, 0, 0);
    hubnode_keep_copy(w);
    d_kill(w, t);
    d_until_epoch(w, e);
    d_write(w, 0, 0);
    d_kill(w, b);
    hubnode_restore_old(w);
    w->nodes[a].registered = false;
    hubnode_start(w);
    registering = a;
    d_until(w, is_registered, "registered");
    d_kill(w, a);
    d_up(w, t);
    struct wop *r = d_start(w, 0, ENGINE_READ, 0);
    d_run(w, 40000);
    SIM_CHECK(w, d_pending(r), "one that missed writes serves");
    d_up(w, a);
    d_up(w, b);
    d_done(w, r);
}

static bool is_sealing(struct world *w)
{
    return hubnode_phase(w, 0) == HUB_OP_SEAL;
}

/* The copy was made in the middle of a start, while an epoch was prepared.
 * That start gave out one more, which nobody came to serve in; the next one
 * would give out the same again, to more members. */
static void epoch_twice(struct world *w)
{
    unsigned a = d_head(w), b = d_at(w, 1), t = d_tail(w);
    d_write(w, 0, 0);
    struct gate *eq = d_gate(w, HUB, N(a), KT_MSG_EQ, 1);
    d_kill(w, t);
    d_until(w, is_sealing, "sealing");
    hubnode_keep_copy(w);
    d_until_hit(w, eq);
    d_kill(w, b);
    d_up(w, b);
    d_open(w, eq);
    struct gate *g = d_gate(w, HUB, N(a), KT_MSG_ACTIVATE, 1);
    d_gate(w, HUB, N(b), KT_MSG_ACTIVATE, 1)->lose = true;
    d_until_hit(w, g);
    d_kill(w, a);
    d_kill(w, b);
    d_open(w, g);
    hubnode_restore_old(w);
    d_up(w, t);
    hubnode_start(w);
    d_until(w, is_sealing, "sealing again");
    d_up(w, a);
    d_up(w, b);
    d_write(w, 0, 0);
    d_read(w, 0, 0);
}

/* An attachment that the client heard of and no member, before all power was
 * lost and the database went back to what it was before. */
static void token_nobody_knows(struct world *w)
{
    struct gate *g[3];
    d_write(w, 0, 0);
    d_flush(w, 0);
    hubnode_keep_copy(w);
    for (unsigned i = 0; i < 3; i++)
        g[i] = d_gate(w, HUB, N(i), KT_MSG_ACTIVATE, 1);
    d_attach(w, 1, true);
    d_power_bare_all(w);
    for (unsigned i = 0; i < 3; i++)
        d_open(w, g[i]);
    hubnode_restore_old(w);
    hubnode_start(w);
    d_up_all(w);
    d_write(w, 1, 0);
    d_read(w, 1, 1);
}

/* The machine of a member goes back to an older state of its disk and says
 * that it is the same; the other that is left lost power and has no
 * continuity, but all the records. */
static void reverted(struct world *w)
{
    unsigned a = d_at(w, 0), b = d_at(w, 1), c = d_at(w, 2);
    for (unsigned i = 0; i < 4; i++)
        d_write(w, 0, i);
    d_flush(w, 0);
    for (unsigned i = 0; i < 4; i++)
        d_write(w, 0, i);
    d_kill(w, c);
    d_kill(w, a);
    node_lose(&w->nodes[a]); /* older, and the same boot id */
    struct store_mem_disk *d = w->nodes[b].disk;
    mem_disk_harden(d, UINT64_MAX - 1); /* it was lucky */
    d_power(w, b);
    d_up(w, a);
    d_up(w, b);
    struct wop *r = d_start(w, 0, ENGINE_READ, 0);
    d_run(w, 45000);
    d_done(w, r);
    d_up(w, c);
}

/* clang-format off */
const struct direct direct_old[] = {
    {"f33-handed-over", NULL,
     "a server started again takes its device over",
     handed_over, {0}, NULL},
    {"f34-handover-refused", "hand_over",
     "not when acknowledged writes may be gone",
     hand_over_refused, {0}, NULL},
    {"f34-handover-in-replay", "settle_late",
     "nor in the middle of a replay",
     hand_over_in_replay, {0}, NULL},
    {"f34-handover-between", "held_since",
     "nor when another had the volume",
     hand_over_between, {0}, NULL},
    {"f35-old-database", "hub_stale",
     "a hub with an old copy asks first",
     old_database, {0}, NULL},
    {"f35-epoch-twice", "hub_twice",
     "nor gives out an epoch that was given out",
     epoch_twice, {0}, NULL},
    {"f35-token-nobody-knows", "token_shown",
     "and believes a client whose token no member knows",
     token_nobody_knows, {0}, NULL},
    {"f36-reverted", "cont_acked",
     "an older disk has no continuity",
     reverted, {0}, NULL},
    {0}};
/* clang-format on */
