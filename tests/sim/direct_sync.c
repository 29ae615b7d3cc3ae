/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules within a resync. */
#include "lib/base/rule.h"
#include "tests/sim/direct.h"

static const uint8_t points[] = {
    KT_MSG_SYNC_START, KT_MSG_SYNC_AT,   KT_MSG_DIGEST,   KT_MSG_COPY_START,
    KT_MSG_EXT_SUMS,   KT_MSG_WANT,      KT_MSG_SYNC_EXT, KT_MSG_SYNC_END,
    KT_MSG_EXT_DONE,   KT_MSG_SYNC_DONE, KT_MSG_SYNC_ACK};

static bool from_dst(uint8_t type)
{
    return type == KT_MSG_SYNC_AT || type == KT_MSG_DIGEST ||
           type == KT_MSG_WANT || type == KT_MSG_EXT_DONE ||
           type == KT_MSG_SYNC_ACK;
}

static struct gate *gate_at(struct world *w, unsigned t, uint8_t type)
{
    unsigned src = d_tail(w);
    return from_dst(type) ? d_gate(w, N(t), N(src), type, 1)
                          : d_gate(w, N(src), N(t), type, 1);
}

/* Writes and trims while the resync stands still at each of its points: of
 * what is just copied, of what is to be copied, of what is done. */
static void written_meanwhile(struct world *w)
{
    for (unsigned k = 0; k < KT_ARRAY_LEN(points); k++) {
        struct wop *o[SIM_GROUPS * 2];
        unsigned t = d_behind(w, 2);
        struct gate *g = gate_at(w, t, points[k]);
        d_up(w, t);
        d_until_hit(w, g);
        for (unsigned i = 0; i < SIM_GROUPS; i++) {
            o[2 * i] = d_start(w, 0, ENGINE_WRITE, 4 * i + k % 2);
            o[2 * i + 1] = d_start(w, 0, ENGINE_TRIM, 4 * i + 2);
        }
        d_run(w, 5);
        d_open(w, g);
        for (unsigned i = 0; i < SIM_GROUPS * 2; i++)
            d_done(w, o[i]);
        d_until(w, d_healthy, "full strength");
        verify_quiet(w);
    }
}

/* The target, then the source, dies at each point. */
static void one_dies(struct world *w)
{
    for (unsigned k = 0; k < 2 * KT_ARRAY_LEN(points); k++) {
        unsigned t = d_behind(w, 2);
        unsigned src = d_tail(w), dies = k % 2 ? src : t;
        struct gate *g = gate_at(w, t, points[k / 2]);
        d_up(w, t);
        d_until_hit(w, g);
        struct wop *o = d_start(w, 0, ENGINE_WRITE, k % SIM_HOT);
        struct wop *z = d_start(w, 0, ENGINE_TRIM, (k + 6) % SIM_HOT);
        d_run(w, 3);
        if (k % 4 < 2)
            d_kill(w, dies);
        else
            d_power(w, dies);
        d_open(w, g);
        d_run(w, 10);
        d_up(w, dies);
        d_done(w, o);
        d_done(w, z);
        d_until(w, d_healthy, "full strength");
        verify_quiet(w);
    }
}

static unsigned source;
static bool base_asked(struct world *w)
{
    const struct chain *c = d_chain(w, source);
    return c && c->src.copying && c->src.base_asked;
}

/* A write that reaches the source, and from there the target, after the base
 * is asked for and before it is read. */
static void written_in_between(struct world *w, uint8_t kind)
{
    for (unsigned k = 0; k < 4; k++) {
        unsigned t = d_behind(w, 2);
        source = d_tail(w);
        d_up(w, t);
        for (unsigned i = 0; i < 3; i++) {
            d_until(w, base_asked, "a base that is read");
            unsigned x = d_chain(w, source)->src.extent;
            struct wop *o = d_start(w, 0, kind, 4 * x + k % 4);
            d_done(w, o);
        }
        d_until(w, d_healthy, "full strength");
        verify_quiet(w);
    }
}

static void write_in_between(struct world *w)
{
    written_in_between(w, ENGINE_WRITE);
}

static void trim_in_between(struct world *w)
{
    written_in_between(w, ENGINE_TRIM);
}

/* Records that the source has and its log has not, of an extent whose copy
 * begins. */
static void source_behind(struct world *w)
{
    for (unsigned k = 0; k < 8; k++) {
        struct wop *o[SIM_HOT];
        unsigned t = d_behind(w, 2);
        source = d_tail(w);
        struct gate *g = d_gate(w, N(t), N(source), KT_MSG_EXT_DONE, 1 + k % 3);
        d_up(w, t);
        d_until_hit(w, g);
        uint64_t seq = d_chain(w, source)->received.seq;
        for (unsigned i = 0; i < SIM_HOT; i++)
            o[i] = d_start(w, 0, ENGINE_WRITE, i);
        while (d_chain(w, source)->received.seq < seq + SIM_HOT)
            world_turn(w);
        d_open(w, g);
        for (unsigned i = 0; i < SIM_HOT; i++)
            d_done(w, o[i]);
        d_until(w, d_healthy, "full strength");
        verify_quiet(w);
    }
}

/* Records that the target has and its log has not, of an extent whose copy
 * begins; what follows them comes without its bytes. Its disk works in an
 * order of its own, so this is tried some times. */
static void target_behind(struct world *w)
{
    for (unsigned k = 0; k < 16; k++) {
        struct wop *o[SIM_HOT];
        unsigned t = d_behind(w, 2), src = d_tail(w);
        struct gate *first = d_gate(w, N(t), N(src), KT_MSG_DIGEST, 1);
        d_up(w, t);
        d_until_hit(w, first);
        d_done(w, d_start(w, 0, ENGINE_TRIM, 0));
        d_run(w, 20);
        w->nodes[t].slow_until = w->now + 60000 * SIM_MS;
        for (unsigned i = SIM_HOT / 2; i < SIM_HOT; i++)
            o[i] = d_start(w, 0, ENGINE_WRITE, i);
        for (unsigned i = SIM_HOT / 2; i < SIM_HOT; i++)
            d_done(w, o[i]);
        d_write(w, 0, 0);
        struct gate *second = d_gate(w, N(t), N(src), KT_MSG_DIGEST, 2);
        d_open(w, first);
        d_until_hit(w, second);
        d_done(w, d_start(w, 0, ENGINE_TRIM, 0));
        d_open(w, second);
        d_until(w, d_healthy, "full strength");
        w->nodes[t].slow_until = 0;
        verify_quiet(w);
    }
}

/* A write is executed, not acknowledged, and sent again to a head that got
 * all it knows by a resync. */
static void filter_travels(struct world *w)
{
    unsigned h = d_head(w), m = d_at(w, 1), t = d_behind(w, 2);
    struct gate *g = d_gate(w, N(h), CL(0), KT_MSG_ACK, 1);
    struct wop *o = d_start(w, 0, ENGINE_WRITE, 0);
    d_until_hit(w, g);
    d_part(w, CL(0), N(h));
    d_up(w, t);
    d_until(w, d_healthy, "full strength");
    d_kill(w, h);
    d_kill(w, m);
    d_run(w, 3000);
    d_up(w, h);
    d_up(w, m);
    d_open(w, g);
    d_join(w, CL(0), N(h));
    d_done(w, o);
}

/* Its history is to be cut back, its disk hangs over that, and the chain goes
 * on without it. */
static void left_out_in_reset(struct world *w)
{
    d_write(w, 0, 0);
    unsigned h = d_head(w), next = d_at(w, 1);
    d_part(w, N(h), N(next));
    for (unsigned i = 0; i < 4; i++)
        d_start(w, 0, ENGINE_WRITE, i);
    d_run(w, 20);
    client_crash(&w->clients[0]);
    uint64_t e = d_epoch(w);
    d_kill(w, h);
    d_join(w, N(h), N(next));
    d_until_epoch(w, e);
    struct gate *g = d_gate(w, N(d_tail(w)), N(h), KT_MSG_SYNC_START, 1);
    d_up(w, h);
    d_until_hit(w, g);
    w->nodes[h].stuck_us = w->now;
    d_open(w, g);
    d_run(w, 50);
    SIM_CHECK(w, d_chain(w, h)->appends, "nothing hangs");
    d_attach(w, 1, true);
    d_write(w, 1, 0);
    d_run(w, 3000);
    w->nodes[h].stuck_us = 0;
    d_until(w, d_healthy, "full strength");
}

/* clang-format off */
const struct direct direct_sync[] = {
    {"f26-resync-dies", "skip_partial,row_sum",
     "target or source dies at each point of a resync",
     one_dies, {.disk_us = 500, .digests = true}, NULL},
    {"f27-write-while-copied", "feed_copying",
     "writes at each point of a resync",
     written_meanwhile, {.disk_us = 500, .digests = true}, NULL},
    {"f27-written-in-between", "touched",
     "a write before the base is read",
     write_in_between, {.disk_us = 20000, .digests = true}, NULL},
    {"f27-trimmed-in-between", "trim_touched",
     "a trim before it",
     trim_in_between, {.disk_us = 20000, .digests = true}, NULL},
    {"f27-source-behind", "copy_from",
     "writes that the source has not in its log yet",
     source_behind, {.disk_us = 20000, .digests = true}, NULL},
    {"f27-target-behind", "copy_logged",
     "or the target",
     target_behind, {.disk_us = 100, .digests = true}, NULL},
    {"left-out-in-reset", NULL,
     "the chain goes on while a history is cut back",
     left_out_in_reset, {.digests = true}, NULL},
    {"sync-filter-travels", NULL,
     "the duplicate filter comes along",
     filter_travels, {0}, NULL},
    {0}};
/* clang-format on */
