/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules for rows of the table of failures (fNN is row FNN). */
#include "lib/base/rule.h"
#include "replicator/store/mem_priv.h"
#include "tests/sim/direct.h"

static void start_writes(struct world *w, unsigned n, struct wop **ret_o)
{
    for (unsigned i = 0; i < n; i++)
        ret_o[i] = d_start(w, 0, ENGINE_WRITE, i);
}

static void all_done(struct world *w, unsigned n, struct wop **o)
{
    for (unsigned i = 0; i < n; i++)
        d_done(w, o[i]);
}

static void head_killed(struct world *w)
{
    struct wop *o[8];
    d_write(w, 0, 0);
    struct gate *g = d_gate(w, N(d_at(w, 1)), N(d_tail(w)), KT_MSG_FWD, 3);
    start_writes(w, 8, o);
    d_until_hit(w, g);
    d_kill(w, d_head(w));
    d_open(w, g);
    all_done(w, 8, o);
    d_read(w, 0, 0);
}

/* As many records travel in EQ as the tail lacks, no more. */
static void middle_killed(struct world *w)
{
    struct wop *o[5];
    unsigned mid = d_at(w, 1);
    d_write(w, 0, 0);
    struct gate *g = d_gate(w, N(mid), N(d_tail(w)), KT_MSG_FWD, 1);
    start_writes(w, 5, o);
    d_until_hit(w, g);
    d_run(w, 20);
    uint64_t before = w->st->eq_records;
    d_kill(w, mid);
    d_run(w, 2);
    all_done(w, 5, o);
    uint64_t n = w->st->eq_records - before;
    SIM_CHECK(w, n == 5, "%u records in EQ for 5 that were missing",
              (unsigned)n);
}

static void tail_killed(struct world *w)
{
    struct wop *o[5];
    struct gate *g = d_gate(w, N(d_at(w, 1)), N(d_tail(w)), KT_MSG_FWD, 1);
    start_writes(w, 5, o);
    d_until_hit(w, g);
    d_run(w, 20);
    uint64_t before = w->st->eq_records;
    d_kill(w, d_tail(w));
    all_done(w, 5, o);
    SIM_CHECK(w, w->st->eq_records == before, "records in EQ, for nobody");
}

static void restart_in_grace(struct world *w)
{
    for (unsigned i = 0; i < 4; i++)
        d_write(w, 0, i * 4);
    uint64_t before = w->st->extents;
    unsigned mid = d_at(w, 1);
    d_kill(w, mid);
    d_up(w, mid);
    d_write(w, 0, 0);
    d_until(w, d_healthy, "full strength");
    SIM_CHECK(w, w->st->extents == before, "extents were copied");
}

static void all_restarted(struct world *w)
{
    d_write(w, 0, 0);
    d_write(w, 0, 4);
    uint64_t vgen = d_cfg(w)->vgen;
    for (unsigned i = 0; i < 3; i++)
        d_kill(w, i);
    client_crash(&w->clients[0]);
    for (unsigned i = 0; i < 3; i++)
        d_up(w, i);
    d_attach(w, 1, true);
    d_read(w, 1, 0);
    d_read(w, 1, 4);
    SIM_CHECK(w, d_cfg(w)->vgen == vgen, "a new vgen");
}

/* It comes back with a prefix of its log and is served the rest. */
static void one_power(struct world *w)
{
    unsigned m = d_at(w, 1);
    for (unsigned i = 0; i < 4; i++)
        d_write(w, 0, i);
    d_flush(w, 0);
    for (unsigned i = 0; i < 4; i++)
        d_write(w, 0, 4 + i);
    d_power_bare(w, m);
    uint64_t vgen = d_cfg(w)->vgen;
    d_write(w, 0, 0);
    SIM_CHECK(w, !d_serves(w, m), "one without power serves");
    d_up(w, m);
    d_until(w, d_healthy, "full strength");
    verify_quiet(w);
    SIM_CHECK(w, d_cfg(w)->vgen == vgen, "a new vgen");
}

/* The client lives and gives again what was acknowledged and not flushed. */
static void power_all(struct world *w)
{
    d_write(w, 0, 0);
    d_flush(w, 0);
    d_write(w, 0, 0);
    d_done(w, d_start(w, 0, ENGINE_TRIM, 4));
    d_write(w, 0, 1);
    uint64_t vgen = d_cfg(w)->vgen;
    d_power_bare_all(w);
    d_up_all(w);
    d_read(w, 0, 0);
    d_read(w, 0, 1);
    d_read(w, 0, 4);
    SIM_CHECK(w, d_cfg(w)->vgen > vgen, "no new vgen");
}

static void power_all_and_client(struct world *w)
{
    for (unsigned i = 0; i < 5; i++) {
        d_write(w, 0, i);
        d_flush(w, 0);
    }
    d_write(w, 0, 0);
    d_write(w, 0, 1);
    client_crash(&w->clients[0]);
    d_power_bare_all(w);
    d_up_all(w);
    d_attach(w, 1, true);
    for (unsigned i = 0; i < 5; i++)
        d_read(w, 1, i);
}

/* A,B,C -> A,B -> all die -> C returns alone: it must not serve. */
static void stale_returns(struct world *w)
{
    unsigned c = d_tail(w), a = d_at(w, 0), b = d_at(w, 1);
    d_write(w, 0, 0);
    uint64_t e = d_epoch(w);
    d_kill(w, c);
    d_until_epoch(w, e);
    d_write(w, 0, 0);
    d_kill(w, a);
    d_kill(w, b);
    d_run(w, 10);
    e = d_epoch(w);
    d_up(w, c);
    struct wop *r = d_start(w, 0, ENGINE_READ, 0);
    d_run(w, 40000);
    SIM_CHECK(w, d_pending(r) && d_epoch(w) == e,
              "one that missed writes serves");
    d_up(w, a);
    d_up(w, b);
    d_done(w, r);
}

/* A,B; B is dropped, but before that is true A dies: B may start. */
static void prepare_without_end(struct world *w)
{
    unsigned a = d_head(w), b = d_tail(w);
    d_write(w, 0, 0);
    struct gate *g = d_gate(w, HUB, N(a), KT_MSG_SEAL, 1);
    uint64_t e = d_epoch(w);
    d_kill(w, b);
    d_until_hit(w, g);
    d_kill(w, a);
    d_open(w, g);
    SIM_CHECK(w, d_epoch(w) == e, "it is true already");
    d_up(w, b);
    d_read(w, 0, 0);
    SIM_CHECK(w, d_serves(w, b) && d_epoch(w) > e, "another serves");
}

static void tail_cut_off(struct world *w)
{
    unsigned t = d_tail(w);
    d_write(w, 0, 0);
    for (unsigned e = 0; e < SIM_EPS; e++) {
        if (e != N(t))
            d_part(w, N(t), e);
    }
    d_write(w, 0, 0);
    d_read(w, 0, 0);
    SIM_CHECK(w, !d_serves(w, t), "the lost one serves");
}

/* Client and head on one side; hub, the others and another client there. */
static void client_with_one(struct world *w)
{
    unsigned h = d_head(w), in[] = {N(h), CL(0)};
    d_write(w, 0, 0);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned e = 0; e < SIM_EPS; e++) {
            if (e != in[0] && e != in[1])
                d_part(w, in[i], e);
        }
    }
    d_read(w, 0, 0);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_run(w, 100);
    SIM_CHECK(w, d_pending(o), "acknowledged by one");
    d_attach(w, 1, true);
    d_read(w, 1, 0);
    d_write(w, 1, 0);
    SIM_CHECK(w, d_pending(o), "acknowledged after the steal");
    for (unsigned e = 0; e < SIM_EPS; e++) {
        d_join(w, in[0], e);
        d_join(w, in[1], e);
    }
    d_run(w, 5000);
    SIM_CHECK(w, o->state == WOP_FAILED, "the old writer is not fenced");
    d_read(w, 1, 0);
}

static void hub_cut_off(struct world *w)
{
    d_write(w, 0, 0);
    uint64_t e = d_epoch(w);
    for (unsigned i = 1; i < SIM_EPS; i++)
        d_part(w, HUB, i);
    for (unsigned i = 0; i < 60; i++) {
        d_write(w, 0, i % 8);
        d_read(w, 0, i % 8);
        d_run(w, 1000);
    }
    d_flush(w, 0);
    SIM_CHECK(w, d_epoch(w) == e, "an epoch without a hub");
}

static unsigned wanted_phase;
static bool in_phase(struct world *w)
{
    return hubnode_phase(w, 0) == wanted_phase;
}

/* The hub dies in each phase of an operation, and after it, before anybody
 * was told. */
static void hub_in_each_phase(struct world *w)
{
    for (unsigned phase = HUB_OP_PREPARE; phase <= HUB_OP_COMMIT + 1; phase++) {
        struct gate *g[SIM_NODES_MAX] = {NULL};
        unsigned t = d_tail(w);
        d_write(w, 0, 0);
        d_kill(w, t);
        wanted_phase = phase;
        if (phase > HUB_OP_COMMIT) {
            for (unsigned i = 0; i < 3; i++)
                g[i] = d_gate(w, HUB, N(i), KT_MSG_ACTIVATE, 1);
            d_until_hit(w, g[d_head(w)]);
        } else {
            d_until(w, in_phase, "the phase");
        }
        hubnode_crash(w);
        d_run(w, 300);
        hubnode_start(w);
        for (unsigned i = 0; i < 3; i++) {
            if (g[i])
                d_open(w, g[i]);
        }
        d_write(w, 0, 0);
        d_up(w, t);
        d_until(w, d_healthy, "full strength");
    }
}

/* An operation whose cause is gone when the next hub starts: the members have
 * promised, somebody must go on with it. */
static void prepare_alone(struct world *w)
{
    unsigned t = d_tail(w);
    d_write(w, 0, 0);
    w->procs[N(t)].paused_until = w->now + 10000 * SIM_MS;
    wanted_phase = HUB_OP_EQ;
    struct gate *g[3];
    for (unsigned i = 0; i < 3; i++)
        g[i] = d_gate(w, HUB, N(i), KT_MSG_EQ, 1);
    d_until(w, in_phase, "the phase");
    w->procs[N(t)].paused_until = w->now;
    hubnode_crash(w);
    for (unsigned i = 0; i < 3; i++)
        d_open(w, g[i]);
    d_run(w, 300);
    hubnode_start(w);
    d_write(w, 0, 0);
}

static void resets(struct world *w)
{
    struct wop *o[8];
    for (unsigned round = 0; round < 30; round++) {
        start_writes(w, 8, o);
        d_run(w, round % 4);
        d_reset(w, N(d_at(w, 0)), N(d_at(w, 1)));
        if (round % 2)
            d_reset(w, N(d_at(w, 1)), N(d_at(w, 2)));
        if (round % 3 == 0)
            d_reset(w, CL(0), N(d_head(w)));
        all_done(w, 8, o);
    }
}

/* The first credits of a new chain go down with their connections. */
static void lose_credits(struct world *w)
{
    for (unsigned i = 0; i < 9; i++) {
        if (i / 3 != i % 3)
            d_lose(w, N(i / 3), N(i % 3), KT_MSG_ACKC);
    }
}

static void credits_lost(struct world *w)
{
    d_run(w, 50);
    for (unsigned i = 0; i < 2; i++)
        d_reset(w, N(d_at(w, i)), N(d_at(w, i + 1)));
    d_write(w, 0, 0);
}

/* A record is lost and those behind it are not. */
static void gap(struct world *w)
{
    struct wop *o[8];
    d_write(w, 0, 0);
    d_lose(w, N(d_at(w, 0)), N(d_at(w, 1)), KT_MSG_FWD);
    start_writes(w, 8, o);
    all_done(w, 8, o);
    d_lose(w, N(d_at(w, 1)), N(d_at(w, 2)), KT_MSG_FWD);
    start_writes(w, 8, o);
    all_done(w, 8, o);
}

/* A WRITE comes late, on a connection long left, after newer ones. */
static void late_duplicate(struct world *w)
{
    unsigned h = d_head(w);
    d_write(w, 0, 0);
    struct gate *g = d_gate(w, CL(0), N(h), KT_MSG_WRITE, 1);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_until_hit(w, g);
    d_reset(w, CL(0), N(h));
    d_done(w, o);
    d_write(w, 0, 0);
    d_write(w, 0, 4);
    d_open(w, g);
    d_run(w, 100);
    d_read(w, 0, 0);
}

static void bad_sync(struct world *w)
{
    unsigned m = d_at(w, 1);
    d_write(w, 0, 0);
    store_mem_fail_next(w->nodes[m].store, STORE_MEM_FAIL_SYNC);
    d_flush(w, 0);
    d_write(w, 0, 0);
    SIM_CHECK(w, !d_serves(w, m), "a broken store serves");
    d_kill(w, m);
    d_up(w, m);
}

/* Bytes that rotted are never given to anybody; another member has them. */
static void rot(struct world *w)
{
    d_write(w, 0, 0);
    d_flush(w, 0);
    for (unsigned i = 0; i < 2; i++) {
        bool hit = store_mem_rot(w->nodes[d_at(w, i)].disk, 1, 0, 0);
        SIM_CHECK(w, hit, "nothing to rot");
    }
    for (unsigned i = 0; i < 10; i++)
        d_read(w, 0, 0);
    d_write(w, 0, 0); /* whole again */
    d_read(w, 0, 0);
}

static void stopped_head(struct world *w)
{
    unsigned h = d_head(w);
    struct wop *o[8];
    d_write(w, 0, 0);
    start_writes(w, 8, o);
    d_run(w, 1);
    w->procs[N(h)].paused_until = w->now + 20000 * SIM_MS;
    all_done(w, 8, o);
    d_read(w, 0, 0);
    d_run(w, 25000);
    d_write(w, 0, 0);
    d_read(w, 0, 0);
}

static void client_again(struct world *w)
{
    struct sclient *c = &w->clients[0];
    d_write(w, 0, 0);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_run(w, 1);
    SIM_CHECK(w, o->state != WOP_FAILED, "failed");
    client_crash(c);
    d_attach(w, 0, true);
    d_read(w, 0, 0);
    d_write(w, 0, 0);
}

/* clang-format off */
const struct direct direct_rows[] = {
    {"f01-head-killed", NULL,
     "the head dies with writes on their way",
     head_killed, {0}, NULL},
    {"f02-middle-killed", NULL,
     "EQ carries what the tail lacks",
     middle_killed, {0}, NULL},
    {"f03-tail-killed", NULL,
     "the predecessor becomes tail",
     tail_killed, {0}, NULL},
    {"f04-restart-in-grace", NULL,
     "a restart copies nothing",
     restart_in_grace, {0}, NULL},
    {"f06-all-killed", NULL,
     "all processes at once: no loss, no vgen",
     all_restarted, {0}, NULL},
    {"f07-one-power", NULL,
     "one loses power: a prefix stays, the rest comes",
     one_power, {0}, NULL},
    {"f08-all-power", "replay keep_zero",
     "the client gives it again",
     power_all, {0}, NULL},
    {"f09-all-power-and-client", "flush_covers",
     "all that was flushed is there",
     power_all_and_client, {0}, NULL},
    {"f10-stale-returns", "in_last",
     "one that missed writes stays waiting",
     stale_returns, {0}, NULL},
    {"f11-prepare-only", NULL,
     "a PREPARE changes nothing",
     prepare_without_end, {.nodes = 2, .replicas = 2}, NULL},
    {"f12-tail-cut-off", NULL,
     "the tail is evicted",
     tail_cut_off, {0}, NULL},
    {"f13-client-with-one", NULL,
     "writes wait, then are fenced",
     client_with_one, {0}, NULL},
    {"f14-hub-cut-off", NULL,
     "I/O goes on without the hub",
     hub_cut_off, {0}, NULL},
    {"f15-prepare-alone", "prepare_kept prepare_first,prepare_kept",
     "a PREPARE whose cause is gone",
     prepare_alone, {0}, NULL},
    {"f15-hub-dies", NULL,
     "the next hub carries on",
     hub_in_each_phase, {.disk_us = 2000}, NULL},
    {"f17-resets", NULL,
     "connections break, RESUME mends",
     resets, {0}, NULL},
    {"f17-credits-lost", NULL,
     "credits are told again after RESUME",
     credits_lost, {0}, lose_credits},
    {"f18-lost-record", "prev",
     "a record that is missing is asked for",
     gap, {0}, NULL},
    {"f19-late-duplicate", "wstable dedup",
     "a late WRITE is not executed",
     late_duplicate, {0}, NULL},
    {"f20-eio", "eio",
     "a store that failed is out",
     bad_sync, {0}, NULL},
    {"f21-rot", "sum_checked",
     "rotten bytes are read elsewhere",
     rot, {0}, NULL},
    {"f24-stopped-head", NULL,
     "a head that wakes after 20 s is no head",
     stopped_head, {0}, NULL},
    {"f33-client-again", NULL,
     "a client that died comes again",
     client_again, {0}, NULL},
    {0}};
/* clang-format on */
