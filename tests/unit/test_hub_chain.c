/* SPDX-License-Identifier: BSD-3-Clause */
/* A chain whose members die, freeze, return, and disagree. */
#include <errno.h>

#include "tests/unit/hub_world.h"

static void a_killed_member_is_evicted_at_once(void **state)
{
    (void)state;
    for (unsigned victim = 0; victim < 3; victim++) {
        struct world *w = w_new(3);
        const struct kt_cfg *c = w_volume(w, 3);
        uint64_t chain = c->chain, before = c->epoch;
        unsigned v = w_peer_of(w, c, victim);
        unsigned first = w_peer_of(w, c, victim == 0);
        w_write(w, chain, 10);
        /* the head had journaled one more than the others */
        w->p[w_peer_of(w, c, 0)].copy[chain].applied.seq++;
        w_peer_kill(w, v);
        c = w_cfg(w, chain);
        assert_true(c->epoch > before);
        assert_int_equal(kt_cfg_serving(c), 2);
        assert_int_equal(w_peer_of(w, c, 0), first); /* the order stands */
        assert_int_equal(c->members[2].state, KT_M_OFFLINE);
        assert_int_equal(c->n_last, 2);
        assert_int_equal(c->vgen, 1);
        for (unsigned i = 0; i < 2; i++) {
            unsigned p = w_peer_of(w, c, i);
            assert_int_equal(w->p[p].copy[chain].last_epoch, c->epoch);
            assert_int_equal(w->p[p].copy[chain].applied.seq,
                             victim == 0 ? 10 : 11);
        }
        w_free(w);
    }
}

static void a_frozen_member_is_evicted_within_six_seconds(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain, before = c->epoch;
    unsigned head = w_peer_of(w, c, 0);

    w->p[head].frozen = true;
    w_run(w, 2500);
    assert_int_equal(w_cfg(w, chain)->epoch, before);
    w_run(w, 3500);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_int_equal(kt_cfg_find(c, &w->p[head].store), 2);

    /* It wakes: the next heartbeat brings it back as a copy to fill. */
    w->p[head].frozen = false;
    w_run(w, 2000);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_syncing(c), 2);
    w_synced(w, chain);
    assert_int_equal(kt_cfg_serving(w_cfg(w, chain)), 3);
    w_free(w);
}

static void unconfirmed_death_never_goes_below_min_write(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned a = w_peer_of(w, c, 0), b = w_peer_of(w, c, 1);

    w->p[a].frozen = true;
    w_run(w, 6000);
    assert_int_equal(kt_cfg_serving(w_cfg(w, chain)), 2);
    w->p[b].frozen = true;
    w_run(w, 60000);
    assert_int_equal(kt_cfg_serving(w_cfg(w, chain)), 2);
    /* Confirmed, it goes; the last one stays. */
    w_peer_kill(w, b);
    assert_int_equal(kt_cfg_serving(w_cfg(w, chain)), 1);
    w_free(w);
}

static void the_last_serving_member_is_never_evicted(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned m[3];

    for (unsigned i = 0; i < 3; i++)
        m[i] = w_peer_of(w, c, i);
    w_peer_kill(w, m[0]);
    w_peer_kill(w, m[1]);
    w_peer_kill(w, m[2]);
    w_run(w, 5000);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 1);
    assert_int_equal(w_peer_of(w, c, 0), m[2]);
    assert_int_equal(hub_member_state(&w->h, hub_chain_of(&w->h, chain), 0),
                     KT_M_LAST);
    /* F10: who left before cannot start the chain alone. */
    w_peer_start(w, m[0], true);
    w_run(w, 60000);
    assert_int_equal(w_peer_of(w, w_cfg(w, chain), 0), m[2]);
    assert_int_equal(w->p[m[0]].copy[chain].last_epoch < w_cfg(w, chain)->epoch,
                     true);
    w_peer_start(w, m[2], true);
    w_run(w, 1000);
    c = w_cfg(w, chain);
    assert_int_equal(w_peer_of(w, c, 0), m[2]);
    assert_int_equal(kt_cfg_syncing(c), 1);
    w_free(w);
}

static void all_restarted_without_loss_keep_their_data(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;

    w_write(w, chain, 5);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t conn = w->p[i].conn;
        w->p[i].up = false;
        w->p[i].conn = 0;
        w_enqueue(w, HUB_EV_CONN_DOWN)->ev.conn = conn;
    }
    w_settle(w);
    w_run(w, 300);
    uint64_t epoch = w_cfg(w, chain)->epoch;
    w_peer_start(w, 0, true);
    w_run(w, 700);
    w_peer_start(w, 1, true);
    w_run(w, 700);
    assert_int_equal(w_cfg(w, chain)->epoch, epoch); /* C9: it waits */
    w_peer_start(w, 2, true);
    w_run(w, 100);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 3);
    assert_int_equal(c->vgen, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(w->p[i].copy[chain].applied.seq, 5);
        assert_int_equal(c->members[kt_cfg_find(c, &w->p[i].store)].incarnation,
                         2);
    }
    w_free(w);
}

/* All lost power; the greatest applied is the donor, vgen tells the client. */
static void vgen_is_raised_only_without_continuity(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;

    w_write(w, chain, 9);
    for (unsigned i = 0; i < 3; i++)
        w->p[i].up = false;
    for (unsigned i = 0; i < 3; i++) {
        w->p[i].copy[chain].applied.seq = 3 + i;
        w->p[i].copy[chain].acked = 0;
        uint64_t conn = w->p[i].conn;
        w->p[i].conn = 0;
        w_enqueue(w, HUB_EV_CONN_DOWN)->ev.conn = conn;
    }
    w_settle(w);
    uint64_t base = w_cfg(w, chain)->epoch;
    for (unsigned i = 0; i < 3; i++) {
        if (kt_cfg_find(w_cfg(w, chain), &w->p[i].store) <
            (int)kt_cfg_serving(w_cfg(w, chain)))
            w_peer_start(w, i, false);
    }
    w_run(w, 31000);
    c = w_cfg(w, chain);
    assert_true(c->epoch > base);
    assert_int_equal(c->vgen, 2);
    unsigned donor = w_peer_of(w, c, 0);
    for (unsigned i = 0; i < kt_cfg_serving(c); i++)
        assert_int_equal(w->p[w_peer_of(w, c, i)].copy[chain].applied.seq,
                         w->p[donor].copy[chain].applied.seq);
    w_free(w);
}

static void one_member_with_continuity_is_enough_for_vgen(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned lossy = w_peer_of(w, c, 1);

    w_write(w, chain, 9);
    w->p[lossy].copy[chain].applied.seq = 4;
    w->p[lossy].copy[chain].acked = 4;
    w_peer_start(w, lossy, false); /* a new start, the old line still up */
    w_run(w, 500);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 3);
    assert_int_equal(c->vgen, 1);
    assert_int_equal(w->p[lossy].copy[chain].applied.seq, 9);
    w_free(w);
}

/* F36: it says it has continuity, but lacks what others saw acknowledged. */
static void a_reverted_member_has_no_continuity(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned bad = w_peer_of(w, c, 0), good = w_peer_of(w, c, 1);
    unsigned third = w_peer_of(w, c, 2);

    w_write(w, chain, 9);
    /* bad says it has more, lost its tail, and the others know better */
    w->p[bad].copy[chain].applied.seq = 4;
    w->p[bad].copy[chain].acked = 4;
    w->p[good].cont_base = w->p[good].incarnation + 1;
    w->p[third].cont_base = w->p[third].incarnation + 1;
    w_peer_start(w, bad, true);
    w_peer_start(w, good, true);
    w_peer_start(w, third, true);
    w_run(w, 31000);
    c = w_cfg(w, chain);
    assert_int_equal(c->vgen, 2);
    assert_int_equal(w->p[good].copy[chain].applied.seq, 9);
    w_free(w);
}

/* It says that nothing was lost, and nobody is there to contradict. */
static void an_older_disk_does_not_serve_even_alone(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned old = w_peer_of(w, c, 0), other = w_peer_of(w, c, 2);

    w_write(w, chain, 9);
    w_peer_kill(w, other);
    w_run(w, 5000);
    w_peer_start(w, other, true);
    w_run(w, 5000);
    uint64_t epoch = w_cfg(w, chain)->epoch;
    assert_int_equal(w_cfg(w, chain)->base_seq, 9);
    for (unsigned i = 0; i < 3; i++)
        w->p[i].frozen = true;
    w->p[old].copy[chain].applied.seq = 4;
    w->p[old].copy[chain].acked = 4;
    w_peer_start(w, old, true);
    w_run(w, 60000);
    assert_int_equal(w_cfg(w, chain)->epoch, epoch);
    w_peer_start(w, other, true);
    w_peer_start(w, w_peer_of(w, w_cfg(w, chain), 1), true);
    w_run(w, 5000);
    assert_true(w_cfg(w, chain)->epoch > epoch);
    assert_int_equal(w->p[other].copy[chain].applied.seq, 9);
    assert_int_equal(w_cfg(w, chain)->base_seq, 9);
    w_free(w);
}

static void a_wrong_eq_ok_starts_again_higher(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain, before = c->epoch;
    unsigned bad = w_peer_of(w, c, 2), dead = w_peer_of(w, c, 1);

    w->p[bad].eq_wrong = true;
    w_peer_kill(w, dead);
    /* Two remain of three: below min_write nobody is left out (B4). */
    assert_int_equal(w_cfg(w, chain)->epoch, before);
    w_run(w, 1000);
    assert_int_equal(w_cfg(w, chain)->epoch, before);
    assert_true(hub_chain_of(&w->h, chain)->op.epoch > before + 2);
    w->p[bad].eq_wrong = false;
    w_run(w, 3000);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_true(c->epoch > before + 2);
    w_free(w);
}

static void a_failing_target_is_left_out_above_min_write(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned bad = w_peer_of(w, c, 2);

    w->p[bad].mute_eq = true;
    uint64_t conn = w_client(w, 1);
    w_attach(w, conn, "v", 1, false);
    w_run(w, 2500);
    c = w_cfg(w, chain);
    assert_int_equal(c->token, 1);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_non_null(w_last(w, conn, KT_MSG_ATTACH_OK));
    w_free(w);
}

/* Everybody lost power, two of three lag too far behind the third. */
static void who_cannot_be_equalized_does_not_hold_up_the_chain(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned good = w_peer_of(w, c, 1);

    w_write(w, chain, 9);
    for (unsigned i = 0; i < 3; i++) {
        w->p[i].cont_base = w->p[i].incarnation + 1;
        w->p[i].eq_gap = i != good;
        if (i != good)
            w->p[i].copy[chain].applied.seq = w->p[i].copy[chain].acked = 2;
    }
    for (unsigned i = 0; i < 3; i++)
        w_peer_start(w, i, true);
    w_run(w, 35000);
    c = w_cfg(w, chain);
    assert_int_equal(c->vgen, 2);
    assert_int_equal(w_peer_of(w, c, 0), good);
    assert_int_equal(kt_cfg_serving(c), 1);
    assert_true(kt_cfg_syncing(c) > 0);
    w_free(w);
}

static void seal_refused_jumps_above_the_promise(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;

    w->p[w_peer_of(w, c, 0)].refuse_below = 500;
    w_peer_kill(w, w_peer_of(w, c, 1));
    w_run(w, 500);
    assert_int_equal(kt_cfg_serving(w_cfg(w, chain)), 2);
    assert_true(w_cfg(w, chain)->epoch > 500);
    w_free(w);
}

static void a_restart_during_eq_starts_again(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned slow = w_peer_of(w, c, 2);

    w_write(w, chain, 3);
    w->p[slow].mute_eq = true;
    w_peer_kill(w, w_peer_of(w, c, 1));
    struct hub_chain *hc = hub_chain_of(&w->h, chain);
    assert_int_equal(hc->op.phase, HUB_OP_EQ);
    uint64_t e = hc->op.epoch;
    w->p[slow].mute_eq = false;
    w_peer_start(w, slow, true);
    w_run(w, 500);
    c = w_cfg(w, chain);
    assert_true(c->epoch > e);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_int_equal(c->members[kt_cfg_find(c, &w->p[slow].store)].incarnation,
                     2);
    w_free(w);
}

static void a_returned_member_syncs_then_serves(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned v = w_peer_of(w, c, 1);

    w_peer_kill(w, v);
    w_write(w, chain, 20);
    w_peer_start(w, v, true);
    w_run(w, 200);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_int_equal(kt_cfg_syncing(c), 2);
    assert_int_equal(c->members[2].incarnation, 2);
    uint64_t e = c->epoch;
    w_run(w, 5000);
    assert_int_equal(w_cfg(w, chain)->epoch, e); /* it waits for SYNC_FIN */
    w_synced(w, chain);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 3);
    assert_int_equal(w->p[v].copy[chain].applied.seq, 20);
    assert_int_equal(c->n_last, 3);
    w_run(w, 5000);
    assert_int_equal(w_cfg(w, chain)->epoch, c->epoch); /* and then rest */
    w_free(w);
}

static void a_faulty_store_is_put_out(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned v = w_peer_of(w, c, 0);

    w->p[v].store_err = -5;
    w_run(w, 2000);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_int_equal(c->members[kt_cfg_find(c, &w->p[v].store)].state,
                     KT_M_FAULTY);
    w_free(w);
}

static void leave_moves_the_chains_first(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned v = w_peer_of(w, c, 0), u = w_peer_of(w, c, 1);
    struct kt_msg m = {.type = KT_MSG_LEAVE, .req = 77};

    w_say(w, w->p[v].conn, &m);
    w_run(w, 100);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_int_equal(w_last(w, w->p[v].conn, KT_MSG_LEAVE_OK)->msg.req, 77);
    w_peer_kill(w, v);
    /* The next one would go below min_write: told so, stays a member. */
    w_say(w, w->p[u].conn, &m);
    w_run(w, 100);
    assert_non_null(w_last(w, w->p[u].conn, KT_MSG_LEAVE_OK));
    assert_int_equal(kt_cfg_serving(w_cfg(w, chain)), 2);
    w_free(w);
}

static void another_history_is_quarantined(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned v = w_peer_of(w, c, 2);

    w_peer_kill(w, v);
    w->p[v].copy[chain].history = w_id('X', 9);
    w_peer_start(w, v, true);
    w_run(w, 8000);
    c = w_cfg(w, chain);
    assert_int_equal(c->members[kt_cfg_find(c, &w->p[v].store)].state,
                     KT_M_QUARANTINED);
    assert_int_equal(kt_cfg_serving(c), 2);
    w_free(w);
}

/* B13: both see the hub, but not each other. */
static void neighbours_that_are_cut_off_are_parted(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned a = w_peer_of(w, c, 0), b = w_peer_of(w, c, 1);
    struct kt_msg m = {.type = KT_MSG_REPORT};

    m.u.report.node = w->p[b].node;
    m.u.report.err = -ETIMEDOUT;
    for (unsigned i = 0; i < 4; i++) {
        w_say(w, w->p[a].conn, &m);
        w_run(w, 1000);
    }
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_int_equal(kt_cfg_find(c, &w->p[b].store), 2);
    w_run(w, 6000);
    w_synced(w, chain);
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_find(c, &w->p[a].store), 0);
    assert_int_equal(kt_cfg_find(c, &w->p[b].store), 2);
    assert_int_equal(kt_cfg_serving(c), 3);
    w_free(w);
}

/* B15: nothing is decided from an old backup. */
/* Whoever waits for the slow one is slow to those before it. */
static void say_slow(struct world *w, unsigned from, unsigned to)
{
    struct kt_msg m = {.type = KT_MSG_REPORT};

    m.u.report.node = w->p[to].node;
    m.u.report.slow_ms = 1500;
    w_say(w, w->p[from].conn, &m);
}

static void a_slow_successor_is_evicted_above_min_write(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain, epoch = c->epoch;
    unsigned a = w_peer_of(w, c, 0), b = w_peer_of(w, c, 1);
    unsigned t = w_peer_of(w, c, 2);

    for (unsigned i = 0; i < 4; i++) {
        say_slow(w, a, b);
        say_slow(w, b, t);
        w_run(w, 1000);
    }
    w_run(w, 4000); /* it got better */
    say_slow(w, b, t);
    w_run(w, 1000);
    assert_int_equal(w_cfg(w, chain)->epoch, epoch);
    for (unsigned i = 0; i < 7; i++) {
        say_slow(w, a, b);
        say_slow(w, b, t);
        w_run(w, 1000);
    }
    c = w_cfg(w, chain);
    assert_int_equal(kt_cfg_serving(c), 2);
    assert_int_equal(kt_cfg_find(c, &w->p[a].store), 0);
    assert_int_equal(kt_cfg_find(c, &w->p[b].store), 1);
    w_free(w);
}

static void slowness_never_goes_below_min_write(void **state)
{
    (void)state;
    struct world *w = w_new(2);
    const struct kt_cfg *c = w_volume(w, 2);
    uint64_t chain = c->chain, epoch = c->epoch;
    unsigned a = w_peer_of(w, c, 0), b = w_peer_of(w, c, 1);

    for (unsigned i = 0; i < 12; i++) {
        say_slow(w, a, b);
        w_run(w, 1000);
    }
    assert_int_equal(w_cfg(w, chain)->epoch, epoch);
    w_free(w);
}

static void an_old_backup_decides_nothing(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    static struct hub_chain_row backup;

    backup = w->db.chain_rows[0];
    w_peer_kill(w, w_peer_of(w, c, 2));
    uint64_t epoch = w_cfg(w, chain)->epoch;
    w->db.chain_rows[0] = backup;
    w_hub_start(w);
    for (unsigned i = 0; i < 3; i++) {
        if (w->p[i].up)
            w_register(w, i);
    }
    w_peer_start(w, 0, true);
    w_run(w, 60000);
    assert_true(w_cfg(w, chain)->epoch < epoch);
    assert_int_equal(w->db.chain_rows[0].prepare, backup.prepare);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_member_is_evicted_at_once),
        cmocka_unit_test(a_frozen_member_is_evicted_within_six_seconds),
        cmocka_unit_test(unconfirmed_death_never_goes_below_min_write),
        cmocka_unit_test(the_last_serving_member_is_never_evicted),
        cmocka_unit_test(all_restarted_without_loss_keep_their_data),
        cmocka_unit_test(vgen_is_raised_only_without_continuity),
        cmocka_unit_test(one_member_with_continuity_is_enough_for_vgen),
        cmocka_unit_test(a_reverted_member_has_no_continuity),
        cmocka_unit_test(an_older_disk_does_not_serve_even_alone),
        cmocka_unit_test(a_wrong_eq_ok_starts_again_higher),
        cmocka_unit_test(a_failing_target_is_left_out_above_min_write),
        cmocka_unit_test(who_cannot_be_equalized_does_not_hold_up_the_chain),
        cmocka_unit_test(seal_refused_jumps_above_the_promise),
        cmocka_unit_test(a_restart_during_eq_starts_again),
        cmocka_unit_test(a_returned_member_syncs_then_serves),
        cmocka_unit_test(a_faulty_store_is_put_out),
        cmocka_unit_test(leave_moves_the_chains_first),
        cmocka_unit_test(another_history_is_quarantined),
        cmocka_unit_test(neighbours_that_are_cut_off_are_parted),
        cmocka_unit_test(a_slow_successor_is_evicted_above_min_write),
        cmocka_unit_test(slowness_never_goes_below_min_write),
        cmocka_unit_test(an_old_backup_decides_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
