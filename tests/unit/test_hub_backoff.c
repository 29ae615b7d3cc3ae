/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations about resyncs that fail: every try is an epoch. */
#include "tests/unit/hub_world.h"

/* The last member is back, and to be synced; its number is returned. */
static unsigned begin(struct world *w)
{
    const struct kt_cfg *c = w_volume(w, 3);
    unsigned v = w_peer_of(w, c, 2);

    w_peer_kill(w, v);
    w_peer_start(w, v, true);
    w_run(w, 200);
    assert_int_equal(kt_cfg_syncing(w_cfg(w, 1)), 2);
    return v;
}

static bool syncs(struct world *w)
{
    return kt_cfg_syncing(w_cfg(w, 1)) == 2;
}

static void sync_fails(struct world *w)
{
    const struct kt_cfg *c = w_cfg(w, 1);
    struct kt_msg m = {.type = KT_MSG_SYNC_FIN, .chain = 1, .epoch = c->epoch};

    assert_true(syncs(w));
    m.u.sync_fin.store = c->members[2].store;
    m.u.sync_fin.incarnation = c->members[2].incarnation;
    m.u.sync_fin.err = KT_E_NOSPC;
    w_say(w, w->p[w_peer_of(w, c, 1)].conn, &m);
    w_run(w, 100);
    assert_false(syncs(w));
    assert_int_equal(w_cfg(w, 1)->members[2].state, KT_M_WAITING);
}

static void each_failed_sync_waits_twice_as_long(void **state)
{
    (void)state;
    struct world *w = w_new(3);

    begin(w);
    for (uint64_t wait = HUB_SYNC_BACKOFF_MS; wait <= HUB_SYNC_BACKOFF_MAX_MS;
         wait *= 2) {
        sync_fails(w);
        w_run(w, wait - 1000);
        assert_false(syncs(w));
        w_run(w, 2500);
        assert_true(syncs(w));
    }
    for (unsigned i = 0; i < 2; i++) { /* and no longer than that */
        sync_fails(w);
        w_run(w, HUB_SYNC_BACKOFF_MAX_MS - 1000);
        assert_false(syncs(w));
        w_run(w, 2500);
        assert_true(syncs(w));
    }
    w_free(w);
}

static void fail_twice(struct world *w)
{
    sync_fails(w);
    w_run(w, HUB_SYNC_BACKOFF_MS + 1500);
    sync_fails(w);
    w_run(w, HUB_SYNC_BACKOFF_MS + 1500);
    assert_false(syncs(w));
}

static void more_room_ends_the_wait(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    unsigned v = begin(w);

    w->p[v].used = w->p[v].size / 2;
    w_run(w, 2000);
    fail_twice(w);
    w->p[v].used += 4096; /* less room: nothing has changed for the better */
    w_run(w, 1500);
    assert_false(syncs(w));
    w->p[v].used -= 2 * 4096;
    w_run(w, 1500);
    assert_true(syncs(w));
    sync_fails(w);
    w_run(w, HUB_SYNC_BACKOFF_MS + 1500);
    assert_true(syncs(w)); /* counted anew */
    w_free(w);
}

static void a_new_registration_ends_the_wait(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    unsigned v = begin(w);

    fail_twice(w);
    w_peer_reconnect(w, v);
    w_run(w, 500);
    assert_true(syncs(w));
    w_free(w);
}

static void a_member_that_served_is_forgiven(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    unsigned v = begin(w);

    sync_fails(w);
    w_run(w, HUB_SYNC_BACKOFF_MS + 1500);
    w_synced(w, 1);
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 3);
    struct hub_chain *c = &w->h.chains[0];
    int at = kt_cfg_find(&c->row.cfg, &w->p[v].store);
    assert_int_equal(c->known[at].failures, 0);
    w_free(w);
}

static unsigned syncing(struct world *w)
{
    unsigned n = 0;

    for (uint64_t i = 1; i <= 6; i++)
        n += kt_cfg_syncing(w_cfg(w, i)) >= 0;
    return n;
}

/* A node that comes back is behind in all its chains: no more than two are
 * synced at once, and where one ends the next begins at once. */
static void a_node_takes_part_in_two_syncs_at_once(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    unsigned done = 0;

    w_create(w, "many", 24 << 20, 4 << 20, 3);
    w_run(w, 1000);
    w_peer_kill(w, 1);
    w_run(w, 1000);
    w_peer_start(w, 1, true);
    w_run(w, 5000);
    assert_int_equal(syncing(w), 2);
    while (syncing(w)) {
        assert_int_equal(syncing(w), kt_min_u64(2, 6 - done));
        for (uint64_t i = 1; i <= 6; i++) {
            if (kt_cfg_syncing(w_cfg(w, i)) < 0)
                continue;
            w_synced(w, i);
            assert_int_equal(kt_cfg_serving(w_cfg(w, i)), 3);
            done++;
            break;
        }
        w_settle(w); /* no time passes */
    }
    assert_int_equal(done, 6);
    w_free(w);
}

/* Its turn to be synced is far: still it is told, when it is back, that it has
 * no part in the chain, or its log keeps what nobody will acknowledge. */
static void who_waits_for_its_turn_is_told_so(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    unsigned v = w_peer_of(w, c, 2);

    w_peer_kill(w, v);
    w_run(w, 1000);
    w_peer_start(w, v, true);
    w_run(w, 200);
    sync_fails(w);
    uint64_t epoch = w_cfg(w, 1)->epoch;
    struct hub_known *k = &hub_chain_of(&w->h, 1)->known[2];
    k->failures = 0;
    k->not_before_ms = UINT64_MAX;
    w_forget(w);
    w_register(w, v); /* it was cut off from the hub alone */
    w_run(w, 100);
    assert_int_equal(w_cfg(w, 1)->epoch, epoch);
    assert_true(w_count(w, w->p[v].conn, KT_MSG_ACTIVATE) > 0);
    k->not_before_ms = UINT64_MAX; /* started again, it need not wait */
    w_peer_kill(w, v);
    w_peer_start(w, v, true);
    w_run(w, 100);
    assert_true(w_cfg(w, 1)->epoch > epoch);
    w_free(w);
}

/* F36: its disk was put back behind the seal, and it has the number of the
 * start that was sealed. */
static void who_knows_nothing_of_its_seal_is_put_out(void **state)
{
    struct world *w = w_new(3);
    struct kt_msg m = {.type = KT_MSG_NAK};

    (void)state;
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t epoch = c->epoch;
    unsigned bad = w_peer_of(w, c, 1);
    m.chain = c->chain;
    m.u.nak.err = KT_E_NOT_SERVING;
    m.u.nak.re = KT_MSG_ACTIVATE;
    m.epoch = epoch - 1; /* of the one before: settled since */
    w_say(w, w->p[bad].conn, &m);
    w_run(w, 500);
    assert_int_equal(w_cfg(w, m.chain)->epoch, epoch);
    m.epoch = epoch;
    w_say(w, w->p[bad].conn, &m);
    for (unsigned i = 0; i < 100 && w_cfg(w, m.chain)->epoch == epoch; i++)
        w_run(w, 10);
    c = w_cfg(w, m.chain);
    assert_true(c->epoch > epoch);
    int at = kt_cfg_find(c, &w->p[bad].store);
    assert_true(at >= 0 && c->members[at].state != KT_M_SERVING);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failed_sync_waits_twice_as_long),
        cmocka_unit_test(more_room_ends_the_wait),
        cmocka_unit_test(a_new_registration_ends_the_wait),
        cmocka_unit_test(a_member_that_served_is_forgiven),
        cmocka_unit_test(a_node_takes_part_in_two_syncs_at_once),
        cmocka_unit_test(who_waits_for_its_turn_is_told_so),
        cmocka_unit_test(who_knows_nothing_of_its_seal_is_put_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
