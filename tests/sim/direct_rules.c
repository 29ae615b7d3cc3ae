/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules for rules whose breach random ones hardly ever show. */
#include "lib/base/rule.h"
#include "replicator/store/mem_priv.h"
#include "tests/sim/direct.h"

/* The head loses a record that is still on its way to the next; when that
 * comes, the head's place has an epoch more. */
static void record_of_the_past(struct world *w)
{
    unsigned h = d_head(w), m = d_at(w, 1);
    d_write(w, 0, 0);
    d_flush(w, 0);
    uint64_t e = d_epoch(w);
    struct gate *fwd = d_gate(w, N(h), N(m), KT_MSG_FWD, 1);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_until_hit(w, fwd);
    struct gate *again = d_gate(w, CL(0), N(h), KT_MSG_WRITE, 1);
    d_power_bare(w, h);
    d_up(w, h);
    d_until_epoch(w, e);
    d_run(w, 50);
    d_open(w, fwd);
    d_run(w, 50);
    d_open(w, again);
    d_done(w, o);
}

/* A writes, is held up, and B steals meanwhile. */
static void fenced(struct world *w)
{
    unsigned h = d_head(w);
    d_write(w, 0, 0);
    struct gate *g = d_gate(w, CL(0), N(h), KT_MSG_WRITE, 1);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_until_hit(w, g);
    d_attach(w, 1, true);
    d_read(w, 1, 0);
    d_open(w, g);
    d_run(w, 50);
    SIM_CHECK(w, o->state != WOP_OK, "a fenced client's write succeeded");
    d_read(w, 1, 0);
}

/* Without a hub to tell it, A still must not write on. */
static void fenced_late(struct world *w)
{
    d_write(w, 0, 0);
    d_part(w, CL(0), HUB);
    d_attach(w, 1, true);
    d_run(w, 100);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_run(w, 3000);
    SIM_CHECK(w, o->state != WOP_OK, "a fenced client's write succeeded");
    d_read(w, 1, 0);
}

/* The hub cannot tell A of a new configuration: others can. */
static void told_by_others(struct world *w)
{
    d_write(w, 0, 0);
    d_part(w, CL(0), HUB);
    d_kill(w, d_tail(w));
    d_write(w, 0, 0);
    d_read(w, 0, 0);
}

/* A knows nothing of the new epoch; the tail that was dropped neither. */
static void deposed_tail(struct world *w)
{
    unsigned t = d_tail(w);
    d_write(w, 0, 0);
    d_part(w, CL(0), HUB);
    for (unsigned e = 0; e < SIM_EPS; e++) {
        if (e != N(t) && e != CL(0))
            d_part(w, N(t), e);
    }
    uint64_t e = d_epoch(w);
    d_until_epoch(w, e);
    d_write(w, 0, 0);
    for (unsigned i = 0; i < 8; i++)
        d_read(w, 0, 0);
}

static void late_seal(struct world *w)
{
    unsigned m = d_at(w, 1);
    struct gate *g = d_copy(w, HUB, N(m), KT_MSG_SEAL);
    d_attach(w, 1, true);
    d_write(w, 1, 0);
    d_again(w, g);
    d_run(w, 10);
    d_write(w, 1, 0);
}

/* All have answered EQ for e2, nobody was told that it is true: an ACTIVATE
 * of e1 comes once more. */
static void late_activate(struct world *w)
{
    struct gate *old[3], *now[3];
    for (unsigned i = 0; i < 3; i++)
        old[i] = d_copy(w, HUB, N(i), KT_MSG_ACTIVATE);
    d_attach(w, 1, true);
    d_write(w, 1, 0);
    d_run(w, 600);
    for (unsigned i = 0; i < 3; i++)
        now[i] = d_gate(w, HUB, N(i), KT_MSG_ACTIVATE, 1);
    client_crash(&w->clients[0]);
    client_start(&w->clients[0], true);
    for (unsigned i = 0; i < 3; i++)
        d_until_hit(w, now[i]);
    for (unsigned i = 0; i < 3; i++)
        d_again(w, old[i]);
    d_start(w, 1, ENGINE_WRITE, 0);
    d_run(w, 50);
    for (unsigned i = 0; i < 3; i++)
        d_open(w, now[i]);
    d_run(w, 1000);
}

/* EQDATA comes once more, after EQ_OK. */
static void late_eqdata(struct world *w)
{
    unsigned h = d_head(w), m = d_at(w, 1), t = d_tail(w);
    struct wop *o[4];
    d_write(w, 0, 0);
    struct gate *fwd = d_gate(w, N(m), N(t), KT_MSG_FWD, 1);
    for (unsigned i = 0; i < 4; i++)
        o[i] = d_start(w, 0, ENGINE_WRITE, i);
    d_until_hit(w, fwd);
    d_run(w, 20);
    struct gate *g = d_copy(w, N(m), N(t), KT_MSG_EQDATA);
    struct gate *act = d_gate(w, HUB, N(t), KT_MSG_ACTIVATE, 1);
    d_kill(w, h);
    d_until_sealed(w, t);
    d_run(w, 1);
    d_open(w, fwd); /* too late for what it held */
    d_until_hit(w, act);
    d_again(w, g);
    d_run(w, 5);
    d_open(w, act);
    for (unsigned i = 0; i < 4; i++)
        d_done(w, o[i]);
}

/* The donor starts again, without what it had, before EQ comes; and SEAL
 * comes to it once more. */
static void donor_again(struct world *w)
{
    unsigned h = d_head(w);
    d_write(w, 0, 0);
    d_flush(w, 0);
    struct gate *fwd = d_gate(w, N(h), N(d_at(w, 1)), KT_MSG_FWD, 1);
    d_start(w, 0, ENGINE_WRITE, 0);
    d_until_hit(w, fwd);
    d_run(w, 20);
    struct gate *seal = d_copy(w, HUB, N(h), KT_MSG_SEAL);
    struct gate *eq = d_gate(w, HUB, N(h), KT_MSG_EQ, 1);
    uint64_t e = d_epoch(w);
    client_start(&w->clients[1], true);
    d_until_hit(w, eq);
    d_kill(w, h);
    node_lose(&w->nodes[h]);
    d_up(w, h);
    uint64_t until = w->now + 2000 * SIM_MS;
    while (!w->nodes[h].registered && w->now < until)
        world_turn(w);
    if (w->nodes[h].registered)
        d_again(w, seal);
    d_open(w, fwd);
    d_until_epoch(w, e);
    d_run(w, 500);
}

/* A head that lost its tail is not asked to seal: it would give the same
 * numbers once more. */
static void numbers_again(struct world *w)
{
    unsigned h = d_head(w);
    d_write(w, 0, 0);
    d_flush(w, 0);
    d_write(w, 0, 0);
    d_power_bare(w, h);
    d_up(w, h);
    d_write(w, 0, 1);
    d_write(w, 0, 0);
}

/* B has seen what A wrote; then all power is lost. */
static void seen_then_lost(struct world *w)
{
    d_write(w, 0, 0);
    d_flush(w, 0);
    d_write(w, 0, 0);
    client_crash(&w->clients[0]);
    d_attach(w, 1, true);
    d_read(w, 1, 0);
    d_power_bare_all(w);
    d_up_all(w);
    d_read(w, 1, 0);
}

/* Two of three say nothing to a FLUSH, and are all that is left. */
static void flush_of_one(struct world *w)
{
    unsigned h = d_head(w);
    struct gate *g[3] = {NULL};
    d_write(w, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        if (i != h)
            g[i] = d_gate(w, CL(0), N(i), KT_MSG_FLUSH, 1);
    }
    struct wop *f = d_start(w, 0, ENGINE_FLUSH, 0);
    d_run(w, 100);
    if (d_pending(f)) {
        for (unsigned i = 0; i < 3; i++) {
            if (g[i])
                d_open(w, g[i]);
        }
        d_done(w, f);
    }
    client_crash(&w->clients[0]);
    d_power_bare_all(w);
    for (unsigned i = 0; i < 3; i++) {
        if (i != h)
            d_up(w, i);
    }
    d_run(w, 40000);
    d_attach(w, 1, true);
    d_read(w, 1, 0);
}

/* A write is acknowledged while a flush is under way: that covers it not. */
static void flush_by_seq(struct world *w)
{
    d_write(w, 0, 0);
    struct gate *g = d_gate(w, N(d_tail(w)), CL(0), KT_MSG_FLUSH_OK, 1);
    struct wop *f = d_start(w, 0, ENGINE_FLUSH, 0);
    d_until_hit(w, g);
    d_run(w, 20);
    d_write(w, 0, 1);
    d_open(w, g);
    d_done(w, f);
    d_power_bare_all(w);
    d_up_all(w);
    d_read(w, 0, 1);
}

/* The same with a second flush: it is not done with the first. */
static void flush_by_flush(struct world *w)
{
    d_write(w, 0, 0);
    unsigned t = d_tail(w);
    struct gate *g = d_gate(w, N(t), CL(0), KT_MSG_FLUSH_OK, 1);
    struct wop *f = d_start(w, 0, ENGINE_FLUSH, 0);
    d_until_hit(w, g);
    d_run(w, 20);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 1);
    d_done(w, o);
    struct wop *f2 = d_start(w, 0, ENGINE_FLUSH, 0);
    d_run(w, 1);
    d_open(w, g);
    d_done(w, f);
    d_done(w, f2);
    client_crash(&w->clients[0]);
    d_power_bare_all(w);
    d_up_all(w);
    d_attach(w, 1, true);
    d_read(w, 1, 1);
}

/* A replay of something older stops half way: what was flushed after it must
 * not be gone. */
static void half_a_replay(struct world *w)
{
    d_write(w, 0, 0);
    struct wop *fua = work_one(&w->clients[0], ENGINE_WRITE, 0, 1, true);
    d_done(w, fua);
    d_power_bare_all(w);
    struct gate *g[3];
    for (unsigned i = 0; i < 3; i++)
        g[i] = d_gate(w, CL(0), N(i), KT_MSG_WRITE, 2);
    d_up_all(w);
    d_run(w, 9000);
    client_crash(&w->clients[0]);
    for (unsigned i = 0; i < 3; i++)
        d_open(w, g[i]);
    d_attach(w, 1, true);
    d_read(w, 1, 0);
}

/* What is durable must not be written over by an older one that is not. */
static void older_over_durable(struct world *w)
{
    d_write(w, 0, 0);
    d_done(w, work_one(&w->clients[0], ENGINE_WRITE, 0, 1, true));
    d_power_bare_all(w);
    d_up_all(w);
    d_read(w, 0, 0);
}

/* One has lost its tail and another has not. */
static void donor_without_tail(struct world *w)
{
    unsigned h = d_head(w);
    d_write(w, 0, 0);
    d_flush(w, 0);
    d_write(w, 0, 0);
    d_power_bare(w, h);
    d_up(w, h);
    d_read(w, 0, 0);
}

static void two_left_of_three(struct world *w)
{
    unsigned h = d_head(w), t = d_tail(w);
    d_write(w, 0, 0);
    d_kill(w, t);
    d_kill(w, d_at(w, 1));
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_run(w, 20000);
    SIM_CHECK(w, d_pending(o), "acknowledged below min_write");
    SIM_CHECK(w, d_serves(w, h), "the last one does not serve");
    d_read(w, 0, 4);
    d_up(w, t);
    d_done(w, o);
}

/* The successor's store is full, the head's is not (it is on n2, where the
 * client is). */
static void small_successor(struct world *w)
{
    w->nodes[0].disk->slots = w->nodes[2].disk->slots = 1;
}

static void full_successor(struct world *w)
{
    d_write(w, 0, 0);
    for (unsigned i = 4; i < SIM_HOT; i += 4) {
        struct wop *o = d_start(w, 0, ENGINE_WRITE, i);
        d_run(w, 3000);
        SIM_CHECK(w, o->state == WOP_REFUSED, "not refused for want of space");
    }
    d_write(w, 0, 1);
}

static void cut_neighbours(struct world *w)
{
    d_write(w, 0, 0);
    unsigned a = d_at(w, 0), b = d_at(w, 1);
    d_part(w, N(a), N(b));
    d_reset(w, N(a), N(b));
    d_write(w, 0, 0);
    d_read(w, 0, 0);
}

/* The client alone cannot reach the head, which is well. */
static void head_out_of_reach(struct world *w)
{
    d_write(w, 0, 0);
    unsigned a = d_head(w);
    d_part(w, CL(0), N(a));
    d_reset(w, CL(0), N(a));
    d_write(w, 0, 0);
    d_read(w, 0, 0);
    SIM_CHECK(w, d_head(w) != a && d_serves(w, a),
              "it should serve, not first");
}

/* The head has a record that the others lack, and cannot reach them: it would
 * give them its history, and they do well without it. */
static void donor_cut_off(struct world *w)
{
    d_write(w, 0, 0);
    unsigned h = d_head(w);
    for (unsigned i = 0; i < w->p.nodes; i++) {
        if (i == h)
            continue;
        d_part(w, N(h), N(i));
        d_reset(w, N(h), N(i));
    }
    d_write(w, 0, 0);
    d_read(w, 0, 0);
    SIM_CHECK(w, !d_serves(w, h), "the head that nobody reaches serves");
}

/* One is left; the next cannot be reached from it, another can. */
static void target_cut_off(struct world *w)
{
    d_write(w, 0, 0);
    unsigned a = d_head(w), b = d_at(w, 1), c = d_at(w, 2);
    uint64_t e = d_epoch(w);
    d_kill(w, c);
    d_until_epoch(w, e);
    d_write(w, 0, 0);
    d_kill(w, b);
    d_until_epoch(w, e + 1);
    node_lose(&w->nodes[b]);
    d_part(w, N(a), N(b));
    e = d_epoch(w);
    d_up(w, b);
    d_until_epoch(w, e);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_up(w, c);
    d_done(w, o);
    SIM_CHECK(w, d_serves(w, c), "the one within reach does not serve");
}

static void stuck_disk(struct world *w)
{
    struct snode *m = &w->nodes[d_at(w, 1)];
    d_write(w, 0, 0);
    m->stuck_us = w->now;
    d_write(w, 0, 0);
    SIM_CHECK(w, !d_serves(w, m->index), "a stuck disk serves");
    m->stuck_us = 0;
    d_kill(w, m->index);
    d_up(w, m->index);
}

/* More writes than anybody admits, and nothing is acknowledged. */
static void flood(struct world *w)
{
    struct wop *o[400];
    d_write(w, 0, 0);
    struct gate *g = d_gate(w, N(d_at(w, 1)), N(d_tail(w)), KT_MSG_FWD, 1);
    for (unsigned i = 0; i < KT_ARRAY_LEN(o); i++)
        o[i] = work_bytes(&w->clients[0], (8 + i) * KT_SECTOR_BYTES,
                          KT_SECTOR_BYTES, 1);
    d_until_hit(w, g);
    d_run(w, 200);
    d_open(w, g);
    for (unsigned i = 0; i < KT_ARRAY_LEN(o); i++)
        d_done(w, o[i]);
}

/* Two writes of parts of one sector, at once: each reads the rest first. */
static void parts_of_sector(struct world *w)
{
    struct wop *o[2];
    d_write(w, 0, 0);
    for (unsigned i = 0; i < 2; i++)
        o[i] =
            work_bytes(&w->clients[0], 512 + 512 * i, 512, (uint8_t)(0xa0 + i));
    d_done(w, o[0]);
    d_done(w, o[1]);
    const struct store_chain *st =
        store_chain_find(w->nodes[d_head(w)].store, 1);
    const uint8_t *b = st->ext[0]->s[0].data;
    SIM_CHECK(w, b[512] == 0xa0 && b[1535] == 0xa1,
              "of two writes within a sector one is gone");
    d_read(w, 0, 0);
}

/* clang-format off */
const struct direct direct_rules[] = {
    {"record-of-the-past", "fwd_epoch",
     "a record of an epoch that is over",
     record_of_the_past, {0}, NULL},
    {"fenced", "old_epoch,fence",
     "a write of one whose volume was taken",
     fenced, {0}, NULL},
    {"fenced-late", "token_dies,fence",
     "and he is not told by the hub",
     fenced_late, {0}, NULL},
    {"told-by-others", "nak_cfg,cfg_get,cfg_told",
     "the hub cannot tell",
     told_by_others, {0}, NULL},
    {"deposed-tail", "old_epoch,ack_adopts,cfg_told",
     "client and tail do not know that it is none",
     deposed_tail, {0}, NULL},
    {"late-seal", "seal_late,slow",
     "SEAL comes once more",
     late_seal, {0}, NULL},
    {"late-activate", "promise,act_sealed",
     "ACTIVATE comes once more",
     late_activate, {0}, NULL},
    {"late-eqdata", "eq_append",
     "EQDATA comes once more",
     late_eqdata, {0}, NULL},
    {"donor-again", "eq_donor_same,eq_ok_same,eq_broken",
     "the donor starts again between SEAL and EQ",
     donor_again, {0}, NULL},
    {"numbers-again", "restart_seals,act_same,act_sealed",
     "a head that lost its tail",
     numbers_again, {0}, NULL},
    {"seen-then-lost", "eq_durable",
     "what a new holder saw is durable",
     seen_then_lost, {0}, NULL},
    {"flush-of-one", "flush_all",
     "members that do not answer a FLUSH",
     flush_of_one, {0}, NULL},
    {"flush-by-seq", "flush_upto",
     "a write during a flush",
     flush_by_seq, {0}, NULL},
    {"flush-by-flush", "flush_join",
     "a flush during a flush",
     flush_by_flush, {0}, NULL},
    {"half-a-replay", "replay_base",
     "a replay that stops half way",
     half_a_replay, {0}, NULL},
    {"older-over-durable", "keep_durable,replay_base",
     "an older write, and one that is durable",
     older_over_durable, {0}, NULL},
    {"donor-without-tail", "donor_long,donor_cont",
     "continuity before length",
     donor_without_tail, {0}, NULL},
    {"two-left", "min_write",
     "below min_write",
     two_left_of_three, {0}, NULL},
    {"full-successor", "credit_succ",
     "no room at the successor",
     full_successor, {.slots = 6}, small_successor},
    {"head-out-of-reach", "head_cut",
     "the holder cannot reach the head",
     head_out_of_reach, {0}, NULL},
    {"cut-neighbours", "cut",
     "two neighbours that are parted",
     cut_neighbours, {0}, NULL},
    {"donor-cut-off", "blame_another",
     "the donor reaches no other member",
     donor_cut_off, {0}, NULL},
    {"target-cut-off", "sync_cut",
     "the source of a resync does not reach its target",
     target_cut_off, {0}, NULL},
    {"stuck-disk", "disk_stall,slow",
     "a disk that answers nothing",
     stuck_disk, {0}, NULL},
    {"parts-of-sector", "lock",
     "two writes within a sector",
     parts_of_sector, {0}, NULL},
    {"flood", "in_flight,window_parts,window_wseq",
     "queues have bounds",
     flood, {0}, NULL},
    {0}};
/* clang-format on */
