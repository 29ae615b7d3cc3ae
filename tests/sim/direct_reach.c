/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules for paths that random ones hardly ever take (KT_REACH). */
#include <string.h>

#include "replicator/store/mem_priv.h"
#include "tests/sim/direct.h"

/* The donor restarts; then what it was told before comes once more: it is not
 * as it was sealed (B2). A newer SEAL waits meanwhile. */
static void donor_again(struct world *w)
{
    unsigned h = d_head(w);
    d_write(w, 0, 0);
    struct gate *seal = d_copy(w, HUB, N(h), KT_MSG_SEAL);
    struct gate *eq = d_copy(w, HUB, N(h), KT_MSG_EQ);
    client_start(&w->clients[1], true);
    d_until_hit(w, eq);
    d_kill(w, h);
    struct gate *newer = d_gate(w, HUB, N(h), KT_MSG_SEAL, 1);
    d_up(w, h);
    d_until_hit(w, newer);
    d_again(w, seal);
    d_run(w, 1);
    SIM_CHECK(w, d_chain(w, h)->sealing == eq->kept.msg.epoch, "not sealed");
    d_again(w, eq);
    SIM_CHECK(w, !d_chain(w, h)->eq_donor, "a donor that restarted gives");
    d_open(w, newer);
    d_run(w, 1000);
}

/* Sealed for an epoch, it gets the SEAL of one before. */
static void old_seal(struct world *w)
{
    unsigned m = d_at(w, 1);
    struct gate *seal = d_copy(w, HUB, N(m), KT_MSG_SEAL);
    d_attach(w, 1, true);
    d_write(w, 1, 0);
    client_crash(&w->clients[0]);
    struct gate *act = d_gate(w, HUB, N(m), KT_MSG_ACTIVATE, 1);
    client_start(&w->clients[0], true);
    d_until_sealed(w, m);
    uint64_t e = d_chain(w, m)->sealing;
    d_again(w, seal);
    SIM_CHECK(w, d_chain(w, m)->sealing == e, "it was sealed back (I3)");
    d_until_hit(w, act);
    d_open(w, act);
    d_run(w, 1000);
}

/* The tail loses more than any log holds while the hub is away: it served
 * last, and cannot be made equal. */
static void short_log(struct world *w)
{
    unsigned t = d_tail(w);
    d_write(w, 0, 0);
    d_flush(w, 0);
    for (unsigned i = 0; i < 64; i++)
        d_write(w, 0, i % SIM_HOT);
    hubnode_crash(w);
    d_power_bare(w, t);
    d_up(w, t);
    hubnode_start(w);
    d_until(w, d_healthy, "full strength");
    d_read(w, 0, 0);
}

/* 1 MiB to sectors that are not in use. */
static struct wop *big(struct world *w, unsigned extent)
{
    return work_bytes(&w->clients[0],
                      (uint64_t)extent * KT_EXTENT_BYTES + (2u << 20), 1u << 20,
                      (uint8_t)extent);
}

static void more_than_fed(struct world *w, unsigned extent)
{
    for (unsigned i = 0; i < CHAIN_FEED_BYTES >> 20; i++)
        d_done(w, big(w, extent));
    d_done(w, big(w, extent));
}

/* The target is silent, and more is written to the extent that is just copied
 * than is fed to anybody. */
static void fed_too_much(struct world *w)
{
    unsigned t = d_behind(w, 1), src = d_tail(w);
    struct gate *g = d_gate(w, N(t), N(src), KT_MSG_WANT, 1);
    d_up(w, t);
    d_until_hit(w, g);
    unsigned x = d_chain(w, src)->src.extent;
    more_than_fed(w, x);
    SIM_CHECK(w, d_chain(w, src)->src.ext[x] == CHAIN_EXT_AGAIN,
              "not to be copied again");
    d_open(w, g);
    d_until(w, d_healthy, "full strength");
}

static unsigned looked_at;

static bool in_log(struct world *w)
{
    const struct chain *c = d_chain(w, looked_at);
    return c && c->src.state == CHAIN_SYNC_LOG;
}

static bool at_tail(struct world *w)
{
    const struct chain *c = d_chain(w, looked_at);
    return c && c->src.state == CHAIN_SYNC_TAIL;
}

/* It is given all that the log has, and says nothing of it: too much is
 * missing, as far as the source knows. */
static unsigned behind(struct world *w)
{
    unsigned t = d_behind(w, 1);
    looked_at = d_tail(w);
    for (unsigned i = 0; i < 100; i++)
        d_write(w, 0, i % SIM_HOT);
    d_up(w, t);
    d_until(w, in_log, "a resync by the log");
    d_cut(w, N(t), N(looked_at));
    d_until(w, at_tail, "the end of the log");
    return t;
}

/* Nearly there, it falls behind by more than is fed: the log must do again. */
static void suffix_again(struct world *w)
{
    unsigned t = behind(w);
    more_than_fed(w, 2);
    d_join(w, N(t), N(looked_at));
    d_until(w, d_healthy, "full strength");
}

/* Nearly there, it comes no closer for seconds: acks wait for it, in the end
 * it is given up. */
static void no_closer(struct world *w)
{
    unsigned t = behind(w), src = looked_at;
    uint64_t brakes = d_chain(w, src)->n_brake;
    for (unsigned i = 0; i < 80 && d_chain(w, src)->n_brake == brakes; i++)
        d_run(w, 100);
    SIM_CHECK(w, d_chain(w, src)->n_brake > brakes, "no brake");
    d_join(w, N(t), N(src));
    d_until(w, d_healthy, "full strength");
}

static bool is_stale(struct world *w)
{
    const struct chain *c = d_chain(w, looked_at);
    return c && c->alloc_stale;
}

/* A full target refuses a record, and cannot at once read which extents own a
 * slot. */
static void recount(struct world *w)
{
    for (unsigned x = 0; x < 3; x++)
        d_write(w, 0, 4 * x);
    unsigned t = looked_at = d_tail(w), src = d_at(w, 1);
    uint64_t e = d_epoch(w);
    d_kill(w, t);
    d_until_epoch(w, e);
    d_done(w, work_extent(&w->clients[0], ENGINE_TRIM, 2));
    struct gate *g = d_gate(w, N(t), N(src), KT_MSG_DIGEST, 1);
    d_up(w, t);
    d_until_hit(w, g);
    struct wop *more = d_start(w, 0, ENGINE_WRITE, 12);
    d_until(w, is_stale, "a record that is refused");
    store_mem_fail_next(w->nodes[t].store, STORE_MEM_BAD_META);
    d_run(w, 500);
    SIM_CHECK(w, d_chain(w, t)->alloc_failed_ms, "its slots could be read");
    d_open(w, g);
    d_done(w, more);
    d_until(w, d_healthy, "full strength");
}

static bool ordered(struct world *w)
{
    return hubnode_admin_err(w) != HUBNODE_PENDING;
}

static void order(struct world *w, uint8_t op, unsigned node)
{
    struct hub_admin q = {.op = op, .chain = 1, .history = {{'o', 'd', 'd'}}};
    memcpy(q.name, w->nodes[node].node.name, sizeof(q.name));
    hubnode_admin(w, &q);
    d_until(w, ordered, "an order is carried out");
    SIM_CHECK(w, hubnode_admin_err(w) == 0, "an order ended with %d",
              hubnode_admin_err(w));
}

/* Those who served last are gone, and one that was left behind shall serve:
 * it has all there is. The others come back and are put aside, with what they
 * hold; then their copies are given up. The holder goes into nothing new. */
static void promoted(struct world *w)
{
    unsigned a = d_at(w, 0), b = d_at(w, 1), c = d_tail(w);
    d_write(w, 0, 0);
    d_flush(w, 0);
    uint64_t e = d_epoch(w);
    d_kill(w, c);
    d_until_epoch(w, e);
    d_kill(w, a);
    d_kill(w, b);
    d_up(w, c);
    d_run(w, 3000);
    SIM_CHECK(w, !d_serves(w, c), "one that was evicted serves");
    d_part(w, CL(0), HUB);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    e = d_epoch(w);
    order(w, HUB_ADMIN_PROMOTE, c);
    d_until_epoch(w, e);
    SIM_CHECK(w, d_head(w) == c && kt_cfg_serving(d_cfg(w)) == 1,
              "another serves");
    d_up(w, a);
    d_up(w, b);
    d_run(w, 3000);
    for (unsigned i = 1; i < 3; i++)
        SIM_CHECK(w, d_cfg(w)->members[i].state == KT_M_QUARANTINED,
                  "not put aside");
    SIM_CHECK(w, o->state != WOP_OK, "it writes to another history (B16)");
    client_crash(&w->clients[0]);
    d_attach(w, 1, true);
    order(w, HUB_ADMIN_DISCARD, a);
    order(w, HUB_ADMIN_DISCARD, b);
    d_write(w, 1, 0);
    d_until(w, d_healthy, "full strength");
}

/* clang-format off */
const struct direct direct_reach[] = {
    {"donor-restarts", NULL, "a donor restarts, and is told again",
     donor_again, {0}, NULL},
    {"old-seal", NULL, "a SEAL below the promise", old_seal, {0}, NULL},
    {"short-log", NULL, "a member of the last set lost more than a log holds",
     short_log, {.retain = 32}, NULL},
    {"fed-too-much", NULL, "an extent is queued again while it is copied",
     fed_too_much, {.digests = true}, NULL},
    {"suffix-again", NULL, "a target falls behind at the end of the log",
     suffix_again, {0}, NULL},
    {"no-closer", NULL, "a target comes no closer", no_closer, {0}, NULL},
    {"recount", NULL, "a full target cannot read its rows at once",
     recount, {.slots = 3, .digests = true}, NULL},
    {"promoted", NULL, "force-promote, and the others come back",
     promoted, {0}, NULL},
    {0}};
/* clang-format on */
