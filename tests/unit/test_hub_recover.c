/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations with a hub whose database is an old copy, or was lost (B15). */
#include <string.h>

#include "tests/unit/hub_world.h"

/* An epoch later, with records that only the new configuration has. */
static void move_on(struct world *w)
{
    const struct kt_cfg *c = w_cfg(w, 1);
    unsigned i = w_peer_of(w, c, 2);

    w_peer_kill(w, i);
    w_run(w, 500);
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 2);
    w_write(w, 1, 5);
}

static struct hub_chain *chain_1(struct world *w)
{
    return hub_chain_of(&w->h, 1);
}

static unsigned count_to(const struct world *w, unsigned type)
{
    return w_count(w, 0, type);
}

static void a_copy_of_today_is_no_old_copy(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    struct w_db copy = w->db;
    w_restore(w, &copy);
    w_register_all(w);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(hub_chain_health(&w->h, chain_1(w)), HUB_HEALTHY);
    w_free(w);
}

static void an_old_copy_asks_every_member_before_it_decides(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    struct w_db copy = w->db;
    unsigned gone = w_peer_of(w, w_cfg(w, 1), 2);
    move_on(w);
    uint64_t epoch = w_cfg(w, 1)->epoch;
    unsigned head = w_peer_of(w, w_cfg(w, 1), 0);
    unsigned tail = w_peer_of(w, w_cfg(w, 1), 1);

    w_restore(w, &copy);
    w_register(w, head);
    w_run(w, 100);
    assert_true(hub_in_recovery(&w->h));
    assert_true(w->db.cluster.recover == HUB_RECOVER_OLD);
    w_peer_start(w, gone, true); /* as the old copy has it, it serves */
    w_run(w, 60000);
    assert_int_equal(count_to(w, KT_MSG_SEAL), 0);
    assert_true(chain_1(w)->recovering);

    w_register(w, tail);
    w_run(w, 2000);
    assert_false(hub_in_recovery(&w->h));
    assert_true(w_cfg(w, 1)->epoch > epoch + 1);
    assert_true(kt_cfg_serving(w_cfg(w, 1)) >= 2);
    for (unsigned i = 0; i < kt_cfg_serving(w_cfg(w, 1)); i++)
        assert_int_equal(w->p[w_peer_of(w, w_cfg(w, 1), i)].copy[1].applied.seq,
                         5);
    assert_int_equal(w_cfg(w, 1)->vgen, 1);
    w_free(w);
}

static void the_nodes_learn_the_new_mark_only_at_the_end(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    struct w_db copy = w->db;
    w_hub_start(w); /* a later start, which the nodes hear of */
    w_register_all(w);
    uint64_t seen = w->p[0].hub_term;
    struct kt_id old = w->p[0].hub_mark;

    w_restore(w, &copy);
    w_register(w, 0);
    w_register(w, 1);
    w_run(w, 5000);
    assert_true(hub_in_recovery(&w->h));
    assert_int_equal(w->p[0].hub_term, seen);
    assert_memory_equal(&w->p[0].hub_mark, &old, sizeof(old));
    w_register(w, 2);
    w_run(w, 1000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(w->db.cluster.recover, HUB_RECOVER_NO);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(w->p[i].hub_term > seen);
        assert_memory_equal(&w->p[i].hub_mark, &w->db.cluster.mark,
                            sizeof(old));
        assert_memory_not_equal(&w->p[i].hub_mark, &old, sizeof(old));
    }
    w_free(w);
}

static void a_hub_that_restarts_in_the_middle_goes_on_with_it(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    struct w_db copy = w->db;
    move_on(w);
    uint64_t epoch = w_cfg(w, 1)->epoch;
    unsigned head = w_peer_of(w, w_cfg(w, 1), 0);
    unsigned tail = w_peer_of(w, w_cfg(w, 1), 1);
    unsigned gone = w_peer_of(w, w_cfg(w, 1), 2);

    w_restore(w, &copy);
    w_register(w, head);
    w_run(w, 100);
    assert_true(hub_in_recovery(&w->h));
    w_hub_start(w);
    /* Without those who know better: it knows that it does not know. */
    w_peer_start(w, gone, true);
    w_run(w, 40000);
    assert_true(chain_1(w)->recovering);
    assert_int_equal(count_to(w, KT_MSG_SEAL), 0);
    w_register(w, head);
    w_register(w, tail);
    w_run(w, 2000);
    assert_false(hub_in_recovery(&w->h));
    assert_true(w_cfg(w, 1)->epoch > epoch);
    w_free(w);
}

/* Stops at every commit of the recovery once, and starts again. */
static void a_crash_at_any_commit_loses_nothing(void **state)
{
    (void)state;
    for (unsigned at = 0;; at++) {
        struct world *w = w_new(3);
        w_volume(w, 3);
        struct w_db copy = w->db;
        move_on(w);
        w_peer_start(w, w_peer_of(w, w_cfg(w, 1), 2), true);
        w_run(w, 100);
        uint64_t epoch = w_cfg(w, 1)->epoch;
        w_restore(w, &copy);
        w->crash_at = w->commits + at;
        w_register_all(w);
        w_run(w, 3000);
        bool crashed = w->crashed;
        if (crashed) {
            w_hub_start(w);
            w_register_all(w);
            w_run(w, 3000);
        }
        assert_false(hub_in_recovery(&w->h));
        assert_true(w_cfg(w, 1)->epoch > epoch);
        assert_true(kt_cfg_serving(w_cfg(w, 1)) >= 2);
        assert_int_equal(w->p[w_peer_of(w, w_cfg(w, 1), 0)].copy[1].applied.seq,
                         5);
        w_free(w);
        if (!crashed)
            break;
        assert_true(at < 40);
    }
}

static void a_volume_made_since_is_found_again(void **state)
{
    struct world *w = w_new(4);

    (void)state;
    w_volume(w, 3);
    struct w_db copy = w->db;
    w_create(w, "late", 40 << 20, 16 << 20, 3);
    w_run(w, 200);
    assert_int_equal(w->done_act.err, 0);
    struct kt_id id = w_cfg(w, 2)->volume;
    uint64_t next = w->db.cluster.next_chain;

    w_restore(w, &copy);
    w_register_all(w);
    w_run(w, 2000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(w->db.cluster.next_chain, next);
    const struct hub_volume *v = &w->h.volumes[w->h.chains[0].volume];
    for (unsigned i = 0; i < 8; i++) {
        if (w->volumes[i].used && kt_id_eq(&w->volumes[i].row.id, &id))
            v = &w->volumes[i];
    }
    assert_memory_equal(v->row.name, "recovered-", 10);
    assert_int_equal(v->row.size, 40 << 20);
    assert_int_equal(v->row.segment_bytes, 16 << 20);
    assert_int_equal(v->row.state, HUB_VOLUME_READY);
    assert_int_equal(v->n_chains, 3);
    assert_int_equal(w->db.n_volumes, 2);
    w_create(w, "later", 1 << 20, 0, 3);
    w_run(w, 200);
    assert_int_equal(w->done_act.err, 0);
    assert_int_equal(w->db.cluster.next_chain, next + 1);
    w_free(w);
}

static void a_volume_removed_since_is_not_served_as_an_empty_one(void **state)
{
    struct world *w = w_new(3);
    uint64_t conn;

    (void)state;
    w_volume(w, 3);
    w_write(w, 1, 7);
    struct w_db copy = w->db;
    w_rm(w, "v");
    w_run(w, 200);
    assert_int_equal(w->p[0].releases, 1);
    w_hub_start(w);
    w_register_all(w);

    w_restore(w, &copy);
    w_register_all(w);
    w_run(w, 3000);
    assert_false(hub_in_recovery(&w->h));
    w_forget(w);
    w_run(w, 5000);
    assert_int_equal(count_to(w, KT_MSG_SEAL), 0);
    assert_int_equal(w->db.volume_rows[0].state, HUB_VOLUME_LOST);
    conn = w_client(w, 1);
    w_attach(w, conn, "v", 1, false);
    assert_int_equal(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.err,
                     KT_E_FAULTY);
    w_rm(w, "v");
    assert_int_equal(w->done_act.err, 0);
    w_free(w);
}

/* It became ready after the copy was taken: it may be full of data. */
static void a_volume_half_made_in_the_copy_is_not_removed(void **state)
{
    struct world *w = w_new(3);
    struct w_db copy;

    (void)state;
    w->crash_at = w->commits + 2;
    w_create(w, "v", 1 << 30, 0, 3);
    assert_true(w->crashed);
    copy = w->db;
    assert_int_equal(copy.volume_rows[0].state, HUB_VOLUME_CREATING);
    w_free(w);

    w = w_new(3);
    w_volume(w, 3);
    /* The same volume, as its row was when it was made. */
    copy = w->db;
    copy.volume_rows[0].state = HUB_VOLUME_CREATING;
    copy.chain_rows[0].cfg.phase = KT_PHASE_PREPARE;
    copy.chain_rows[0].cfg.epoch = 1;
    copy.chain_rows[0].cfg.last_epoch = 0;
    copy.chain_rows[0].cfg.n_last = 0;
    for (unsigned i = 0; i < 3; i++)
        copy.chain_rows[0].cfg.members[i].state = KT_M_WAITING;
    w_restore(w, &copy);
    w_run(w, 1000);
    w_register_all(w);
    w_run(w, 1000);
    assert_int_equal(w->p[0].releases, 0);
    assert_int_equal(w->db.n_volumes, 1);
    assert_int_equal(w->db.volume_rows[0].state, HUB_VOLUME_READY);
    assert_int_equal(hub_chain_health(&w->h, chain_1(w)), HUB_HEALTHY);
    w_free(w);
}

static void a_node_named_lost_is_not_waited_for(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    w_take(w, 1);
    struct w_db copy = w->db;
    move_on(w);
    unsigned gone = w_peer_of(w, w_cfg(w, 1), 2);
    uint64_t epoch = w_cfg(w, 1)->epoch, token = w_cfg(w, 1)->token;

    w_restore(w, &copy);
    w_register_all(w);
    w_run(w, 20000);
    assert_true(hub_in_recovery(&w->h));
    w_recover(w, "nobody");
    assert_int_equal(w->done_act.detail, HUB_D_LOST_NAME);
    w_recover(w, w->p[(gone + 1) % 3].node.name);
    assert_int_equal(w->done_act.detail, HUB_D_LOST_HERE);
    w_recover(w, w->p[gone].node.name);
    assert_int_equal(w->done_act.err, 0);
    w_run(w, 5000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 2);
    assert_int_equal(w_cfg(w, 1)->token, token); /* nothing can be gone */
    assert_int_equal(w_cfg(w, 1)->vgen, 1);
    assert_true(w_cfg(w, 1)->epoch > epoch + (1 << 20));
    /* It comes back after all: as a copy to be brought up to date. */
    w_peer_start(w, gone, true);
    w_run(w, 200);
    assert_false(hub_in_recovery(&w->h));
    assert_true(kt_cfg_syncing(w_cfg(w, 1)) >= 0);
    w_free(w);
}

/* Two of three: what they acknowledged alone, nobody else knows. */
static void too_many_lost_fence_the_writer(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    w_take(w, 1);
    struct w_db copy = w->db;
    uint64_t token = w_cfg(w, 1)->token;
    unsigned left = w_peer_of(w, w_cfg(w, 1), 2);
    move_on(w);
    w_peer_kill(w, (left + 1) % 3);
    w_peer_kill(w, (left + 2) % 3);

    w_restore(w, &copy);
    w->p[left].hub_term += 9; /* it had heard of a later start */
    w_peer_start(w, left, true);
    w_run(w, 1000);
    assert_true(hub_in_recovery(&w->h));
    w_recover(w, w->p[(left + 1) % 3].node.name);
    w_run(w, 3000);
    assert_true(chain_1(w)->recovering);
    w_recover(w, w->p[(left + 2) % 3].node.name);
    w_run(w, 60000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 1);
    assert_int_equal(w_cfg(w, 1)->token, 0);
    assert_int_equal(w_cfg(w, 1)->vgen, 2);
    assert_true(w->db.volume_rows[0].next_token > token);
    w_free(w);
}

/* A later mark and a term of its own: no news from who was away. */
static void a_node_that_comes_late_shows_nothing_new(void **state)
{
    struct world *w = w_new(4);

    (void)state;
    w_volume(w, 3);
    struct w_db copy = w->db;
    w_hub_start(w);
    w_register_all(w);
    unsigned spare = 0;
    while (kt_cfg_find(w_cfg(w, 1), &w->p[spare].store) >= 0)
        spare++;
    w_peer_kill(w, spare);
    w_restore(w, &copy);
    w_register_all(w);
    w_run(w, 1000);
    assert_true(hub_in_recovery(&w->h)); /* it may know of other chains */
    assert_int_equal(hub_chain_health(&w->h, chain_1(w)), HUB_HEALTHY);
    w_create(w, "x", 1 << 20, 0, 3);
    assert_int_equal(w->done_act.detail, HUB_D_RECOVER);
    w_recover(w, w->p[spare].node.name);
    w_run(w, 1000);
    assert_false(hub_in_recovery(&w->h));
    w_peer_start(w, spare, true);
    w_run(w, 1000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(w->p[spare].hub_term, w->db.cluster.term);
    w_free(w);
}

static void a_lost_database_is_made_again_from_the_nodes(void **state)
{
    struct world *w = w_new(4);
    struct w_db empty;

    (void)state;
    w_volume(w, 3);
    w_take(w, 1);
    w_create(w, "w", 40 << 20, 16 << 20, 2);
    w_run(w, 200);
    assert_int_equal(w->done_act.err, 0);
    uint64_t token = w_cfg(w, 1)->token, epoch = w_cfg(w, 1)->epoch;
    struct kt_id cluster = w->db.cluster.id;

    memset(&empty, 0, sizeof(empty));
    empty.cluster.next_chain = 1;
    empty.cluster.segment_bytes = KT_SEGMENT_BYTES_DEFAULT;
    empty.cluster.recover = HUB_RECOVER_EMPTY;
    w_restore(w, &empty);
    w_register_all(w);
    w_run(w, 20000);
    assert_true(hub_in_recovery(&w->h)); /* who knows who is missing? */
    assert_int_equal(count_to(w, KT_MSG_SEAL), 0);
    w_recover(w, NULL);
    w_run(w, 3000);
    assert_false(hub_in_recovery(&w->h));
    assert_memory_equal(&w->db.cluster.id, &cluster, sizeof(cluster));
    assert_int_equal(w->db.n_volumes, 2);
    assert_int_equal(w->db.cluster.next_chain, 5);
    assert_int_equal(w_cfg(w, 1)->token, token);
    assert_true(w_cfg(w, 1)->epoch > epoch);
    for (unsigned i = 1; i <= 4; i++)
        assert_int_equal(hub_chain_health(&w->h, hub_chain_of(&w->h, i)),
                         HUB_HEALTHY);
    w_free(w);
}

static void a_member_that_lost_its_copy_is_left_behind(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    w_write(w, 1, 4);
    struct w_db copy = w->db;
    unsigned last = w_peer_of(w, w_cfg(w, 1), 2);
    w_hub_start(w);
    w_register_all(w);
    memset(&w->p[last].copy[1], 0, sizeof(w->p[last].copy[1]));
    w_restore(w, &copy);
    w_register_all(w);
    w_run(w, 2000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 2);
    int at = kt_cfg_find(w_cfg(w, 1), &w->p[last].store);
    assert_int_equal(w_cfg(w, 1)->members[at].state, KT_M_SYNCING);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_of_today_is_no_old_copy),
        cmocka_unit_test(an_old_copy_asks_every_member_before_it_decides),
        cmocka_unit_test(the_nodes_learn_the_new_mark_only_at_the_end),
        cmocka_unit_test(a_hub_that_restarts_in_the_middle_goes_on_with_it),
        cmocka_unit_test(a_crash_at_any_commit_loses_nothing),
        cmocka_unit_test(a_volume_made_since_is_found_again),
        cmocka_unit_test(a_volume_removed_since_is_not_served_as_an_empty_one),
        cmocka_unit_test(a_volume_half_made_in_the_copy_is_not_removed),
        cmocka_unit_test(a_node_named_lost_is_not_waited_for),
        cmocka_unit_test(too_many_lost_fence_the_writer),
        cmocka_unit_test(a_node_that_comes_late_shows_nothing_new),
        cmocka_unit_test(a_lost_database_is_made_again_from_the_nodes),
        cmocka_unit_test(a_member_that_lost_its_copy_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
