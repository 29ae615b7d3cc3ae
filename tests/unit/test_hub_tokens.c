/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations with a hub whose database is an old copy (B15), about who holds
 * the volume. */
#include <string.h>

#include "tests/unit/hub_world.h"

static void a_fenced_client_stays_fenced(void **state)
{
    struct world *w = w_new(3);
    struct kt_msg m = {.type = KT_MSG_RENEW, .req = 9};

    (void)state;
    w_volume(w, 3);
    w_take(w, 1);
    struct w_db copy = w->db;
    uint64_t old = copy.volume_rows[0].att.token;
    w_take(w, 2);
    w_take(w, 3);
    uint64_t token = w_cfg(w, 1)->token;

    w_restore(w, &copy);
    uint64_t conn = w_client(w, 3);
    m.u.attach.volume_id = w->db.volume_rows[0].id;
    m.u.attach.token = token; /* never given out, says the database */
    w_say(w, conn, &m);
    w_settle(w);
    assert_int_equal(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.err, KT_E_BUSY);
    assert_true(hub_in_recovery(&w->h));
    w_register_all(w);
    w_run(w, 1000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(w_cfg(w, 1)->token, token);
    w_say(w, conn, &m);
    w_settle(w);
    assert_non_null(w_last(w, conn, KT_MSG_RENEW_OK));
    m.u.attach.token = old;
    w_say(w, conn, &m);
    w_settle(w);
    assert_int_equal(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.err,
                     KT_E_FENCED);
    w_take(w, 4);
    assert_true(w_cfg(w, 1)->token > token);
    w_free(w);
}

/* All power was lost before a member heard of the last attachment. If they know
 * of a holder, that was before it; else nobody can say whether it was. */
static void a_token_that_no_node_knows_is_good_after_an_older_one(void **state)
{
    (void)state;
    for (unsigned held = 0; held < 2; held++) {
        struct world *w = w_new(3);
        struct kt_msg m = {.type = KT_MSG_RENEW, .req = 9};
        struct w_copy was[3];
        w_volume(w, 3);
        if (held)
            w_take(w, 1);
        struct w_db copy = w->db;
        for (unsigned i = 0; i < 3; i++)
            was[i] = w->p[i].copy[1];
        w_take(w, 2);
        m.u.attach.volume_id = w->db.volume_rows[0].id;
        m.u.attach.client = w->db.volume_rows[0].att.client;
        m.u.attach.token = w->db.volume_rows[0].att.token;
        for (unsigned i = 0; i < 3; i++)
            w->p[i].copy[1] = was[i];
        w_restore(w, &copy);
        uint64_t conn = w_client(w, 2);
        w_say(w, conn, &m);
        w_register_all(w);
        w_run(w, 1000);
        assert_false(hub_in_recovery(&w->h));
        assert_int_equal(w_cfg(w, 1)->token, held ? m.u.attach.token : 0);
        w_forget(w);
        w_say(w, conn, &m);
        w_run(w, 1000);
        assert_false(hub_in_recovery(&w->h));
        assert_true(!w_last(w, conn, KT_MSG_RENEW_OK) == !held);
        w_take(w, 3);
        assert_true(w_cfg(w, 1)->token > m.u.attach.token);
        w_free(w);
    }
}

/* Who held the volume when the copy was made was fenced since, and others
 * wrote: it does not hold it again, although nobody does. */
static void a_holder_of_the_copy_that_was_detached_stays_so(void **state)
{
    struct world *w = w_new(3);
    struct kt_msg m = {.type = KT_MSG_DETACH, .req = 9};

    (void)state;
    w_volume(w, 3);
    w_take(w, 2);
    struct w_db copy = w->db;
    m.u.attach.volume_id = copy.volume_rows[0].id;
    m.u.attach.client = copy.volume_rows[0].att.client;
    m.u.attach.token = copy.volume_rows[0].att.token;
    w_attach(w, w_client(w, 3), "v", 3, true);
    w_run(w, 100);
    uint64_t later = w_cfg(w, 1)->token;
    assert_true(later > m.u.attach.token);
    struct kt_msg d = m;
    d.u.attach.client = w_cfg(w, 1)->client;
    d.u.attach.token = later;
    w_say(w, w_client(w, 3), &d);
    w_run(w, 100);
    assert_int_equal(w_cfg(w, 1)->token, 0);

    w_restore(w, &copy);
    w_register_all(w);
    w_run(w, 1000);
    assert_false(hub_in_recovery(&w->h));
    assert_int_equal(w_cfg(w, 1)->token, 0);
    m.type = KT_MSG_RENEW;
    uint64_t conn = w_client(w, 2);
    w_say(w, conn, &m);
    w_settle(w);
    assert_int_equal(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.err,
                     KT_E_FENCED);
    w_take(w, 4);
    assert_true(w_cfg(w, 1)->token > later);
    w_free(w);
}

/* It asked before anybody had shown that the database is old. */
static void a_token_drawn_from_the_old_copy_is_void(void **state)
{
    struct world *w = w_new(3);
    uint64_t conn;

    (void)state;
    w_volume(w, 3);
    struct w_db copy = w->db;
    w_take(w, 2);
    uint64_t token = w_cfg(w, 1)->token;
    struct kt_id holder = w_cfg(w, 1)->client;

    w_restore(w, &copy);
    conn = w_client(w, 3);
    w_attach(w, conn, "v", 3, false);
    assert_int_equal(w->db.volume_rows[0].att.token, token);
    w_register_all(w);
    w_run(w, 1000);
    assert_false(hub_in_recovery(&w->h));
    assert_null(w_last(w, conn, KT_MSG_ATTACH_OK));
    assert_int_equal(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.err, KT_E_BUSY);
    assert_int_equal(w_cfg(w, 1)->token, token);
    assert_memory_equal(&w_cfg(w, 1)->client, &holder, sizeof(holder));
    w_free(w);
}

/* An epoch that the nodes promised and never heard the end of may have granted
 * the volume, and the client may have been told. */
static void a_token_is_left_out_for_each_epoch_only_promised(void **state)
{
    uint64_t next[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = w_new(3);
        w_volume(w, 3);
        struct w_db copy = w->db;
        w_take(w, 1);
        w->p[1].copy[1].promised += i ? 5 : 1;
        w_restore(w, &copy);
        w_register_all(w);
        w_run(w, 1000);
        assert_false(hub_in_recovery(&w->h));
        next[i] = w->db.volume_rows[0].next_token;
        w_free(w);
    }
    assert_int_equal(next[1], next[0] + 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fenced_client_stays_fenced),
        cmocka_unit_test(a_token_that_no_node_knows_is_good_after_an_older_one),
        cmocka_unit_test(a_holder_of_the_copy_that_was_detached_stays_so),
        cmocka_unit_test(a_token_drawn_from_the_old_copy_is_void),
        cmocka_unit_test(a_token_is_left_out_for_each_epoch_only_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
