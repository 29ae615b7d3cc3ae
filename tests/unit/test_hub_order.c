/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations about what only a person may decide: force-promote and
 * discard. */
#include <string.h>

#include "tests/unit/hub_world.h"

/* Three members; the last one misses records, then the other two die. */
static unsigned lose_two(struct world *w)
{
    unsigned left = w_peer_of(w, w_cfg(w, 1), 2);

    w_write(w, 1, 3);
    w_peer_kill(w, left);
    w_run(w, 500);
    w_write(w, 1, 5);
    for (unsigned i = 0; i < 3; i++) {
        if (i != left)
            w_peer_kill(w, i);
    }
    w_run(w, 500);
    w_peer_start(w, left, true);
    w_run(w, 60000);
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 1); /* still theirs */
    assert_int_equal(hub_chain_state(&w->h, hub_chain_of(&w->h, 1)),
                     HUB_C_DOWN);
    return left;
}

static unsigned state_of(struct world *w, unsigned peer)
{
    const struct kt_cfg *c = w_cfg(w, 1);

    return c->members[kt_cfg_find(c, &w->p[peer].store)].state;
}

static void a_stale_member_serves_only_when_a_person_says_so(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    struct kt_id history = w_cfg(w, 1)->history;
    unsigned left = lose_two(w);
    w_order(w, HUB_ADMIN_PROMOTE, w->p[left].node.name);
    w_run(w, 500);
    assert_true(w->done);
    assert_int_equal(w->done_act.err, 0);
    const struct kt_cfg *c = w_cfg(w, 1);
    assert_int_equal(kt_cfg_serving(c), 1);
    assert_int_equal(state_of(w, left), KT_M_SERVING);
    assert_memory_not_equal(&c->history, &history, sizeof(history));
    assert_int_equal(c->vgen, 2);
    assert_int_equal(c->base_seq, 3);
    w_free(w);
}

static void the_others_are_quarantined_and_never_merged(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    unsigned left = lose_two(w);
    w_order(w, HUB_ADMIN_PROMOTE, w->p[left].node.name);
    w_run(w, 500);
    for (unsigned i = 0; i < 3; i++) {
        if (i == left)
            continue;
        w_peer_start(w, i, true);
        w_run(w, 60000);
        assert_int_equal(state_of(w, i), KT_M_QUARANTINED);
        assert_int_equal(w->p[i].copy[1].applied.seq, 8);
        assert_int_equal(w->p[i].releases, 0);
    }
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 1);
    w_free(w);
}

static void the_holder_is_fenced(void **state)
{
    struct world *w = w_new(3);
    struct kt_msg m = {.type = KT_MSG_RENEW, .req = 9};

    (void)state;
    w_volume(w, 3);
    uint64_t conn = w_client(w, 1);
    w_attach(w, conn, "v", 1, false);
    w_run(w, 200);
    uint64_t token = w_cfg(w, 1)->token;
    assert_true(token > 0);
    unsigned left = lose_two(w);
    w_order(w, HUB_ADMIN_PROMOTE, w->p[left].node.name);
    w_run(w, 500);
    assert_int_equal(w->done_act.err, 0);
    assert_int_equal(w_cfg(w, 1)->token, 0);
    m.u.attach.volume_id = w_cfg(w, 1)->volume;
    m.u.attach.token = token;
    w_say(w, conn, &m);
    w_settle(w);
    assert_int_equal(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.err,
                     KT_E_FENCED);
    w_free(w);
}

static void it_is_refused_while_one_that_served_last_is_here(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    w_order(w, HUB_ADMIN_PROMOTE, "n1");
    assert_int_equal(w->done_act.detail, HUB_D_LAST_HERE);
    w_order(w, HUB_ADMIN_PROMOTE, "n9");
    assert_int_equal(w->done_act.detail, HUB_D_NO_MEMBER);
    w_order(w, HUB_ADMIN_DISCARD, "n1");
    assert_int_equal(w->done_act.detail, HUB_D_NOT_QUARANTINED);
    unsigned left = lose_two(w);
    w_order(w, HUB_ADMIN_PROMOTE, w->p[(left + 1) % 3].node.name);
    assert_int_equal(w->done_act.detail, HUB_D_NOT_HERE);
    w_free(w);
}

/* The chosen one does not answer; meanwhile a better one returns. */
static void one_that_returns_in_time_makes_it_needless(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    struct kt_id history = w_cfg(w, 1)->history;
    unsigned left = lose_two(w), last = w_peer_of(w, w_cfg(w, 1), 0);
    w->p[left].mute_seal = true;
    w_order(w, HUB_ADMIN_PROMOTE, w->p[left].node.name);
    w_run(w, 1000);
    assert_false(w->done);
    w_peer_start(w, last, true);
    w_run(w, 40000);
    assert_true(w->done);
    assert_int_equal(w->done_act.err, KT_E_BUSY);
    assert_memory_equal(&w_cfg(w, 1)->history, &history, sizeof(history));
    assert_int_equal(state_of(w, last), KT_M_SERVING);
    w_free(w);
}

static void it_is_given_up_when_the_member_does_not_answer(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    unsigned left = lose_two(w);
    w->p[left].mute_seal = true;
    w_order(w, HUB_ADMIN_PROMOTE, w->p[left].node.name);
    w_run(w, 15000);
    assert_int_equal(w->done_act.detail, HUB_D_ORDER_TIMEOUT);
    w->p[left].mute_seal = false;
    w_run(w, 60000);
    assert_int_equal(hub_chain_state(&w->h, hub_chain_of(&w->h, 1)),
                     HUB_C_DOWN);
    w_free(w);
}

static void a_discarded_copy_is_synced_like_a_new_one(void **state)
{
    struct world *w = w_new(3);

    (void)state;
    w_volume(w, 3);
    unsigned left = lose_two(w), other = (left + 1) % 3;
    w_order(w, HUB_ADMIN_PROMOTE, w->p[left].node.name);
    w_run(w, 500);
    w_peer_start(w, other, true);
    w_run(w, 1000);
    w_order(w, HUB_ADMIN_DISCARD, w->p[other].node.name);
    w_run(w, 3000);
    assert_true(w->done);
    assert_int_equal(w->done_act.err, 0);
    assert_int_equal(w->p[other].releases, 1);
    assert_int_equal(state_of(w, other), KT_M_SYNCING);
    w_synced(w, 1);
    w_run(w, 500);
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 2);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_member_serves_only_when_a_person_says_so),
        cmocka_unit_test(the_others_are_quarantined_and_never_merged),
        cmocka_unit_test(the_holder_is_fenced),
        cmocka_unit_test(it_is_refused_while_one_that_served_last_is_here),
        cmocka_unit_test(one_that_returns_in_time_makes_it_needless),
        cmocka_unit_test(it_is_given_up_when_the_member_does_not_answer),
        cmocka_unit_test(a_discarded_copy_is_synced_like_a_new_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
