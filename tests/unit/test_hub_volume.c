/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes: made, placed, removed; nodes that may not join. */
#include <errno.h>
#include <string.h>

#include "tests/unit/hub_world.h"

static void create_answers_when_every_chain_is_active(void **state)
{
    (void)state;
    struct world *w = w_new(3);

    w_create(w, "v", 1 << 30, 64 << 20, 3);
    w_run(w, 100);
    assert_true(w->done);
    assert_int_equal(w->done_act.err, 0);
    assert_int_equal(w->db.n_chains, 16);
    const struct hub_volume *v = hub_volume_named(&w->h, "v");
    assert_int_equal(v->n_chains, 16);
    assert_int_equal(v->row.state, HUB_VOLUME_READY);
    assert_int_equal(v->row.min_write, 2);
    uint32_t at = v->first_chain;
    for (unsigned seg = 0; seg < 16; seg++) {
        const struct hub_chain *c = hub_chain_at(&w->h, at);
        const struct kt_cfg *cfg = &c->row.cfg;
        assert_int_equal(cfg->seg, seg);
        assert_int_equal(cfg->first_extent, seg * 16);
        assert_int_equal(cfg->n_extents, 16);
        assert_int_equal(kt_cfg_serving(cfg), 3);
        assert_int_equal(cfg->phase, KT_PHASE_ACTIVE);
        assert_int_equal(hub_chain_health(&w->h, c), HUB_HEALTHY);
        at = c->next_of_volume;
    }
    assert_int_equal(at, HUB_NONE);
    w_free(w);
}

static void the_last_segment_may_be_short(void **state)
{
    (void)state;
    struct world *w = w_new(1);

    w_create(w, "v", (64 << 20) + 4096, 64 << 20, 1);
    w_run(w, 100);
    assert_int_equal(w->done_act.err, 0);
    assert_int_equal(w_cfg(w, 1)->n_extents, 16);
    assert_int_equal(w_cfg(w, 2)->n_extents, 1);
    assert_int_equal(w_cfg(w, 2)->min_write, 1);
    w_free(w);
}

static void try_create(struct world *w, const char *name, uint64_t size,
                       uint64_t seg, unsigned replicas, int err, int detail)
{
    w_create(w, name, size, seg, replicas);
    assert_true(w->done);
    assert_int_equal(w->done_act.err, err);
    assert_int_equal(w->done_act.detail, detail);
}

static void bad_requests_change_nothing(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    uint64_t commits = w->commits;
    int inv = KT_E_INVALID;

    try_create(w, "a/b", 1 << 20, 0, 3, inv, HUB_D_NAME);
    try_create(w, "", 1 << 20, 0, 3, inv, HUB_D_NAME);
    try_create(w, "v", 0, 0, 3, inv, HUB_D_SIZE);
    try_create(w, "v", 4097, 0, 3, inv, HUB_D_SIZE);
    try_create(w, "v", (64ull << 40) + 4096, 0, 3, inv, HUB_D_SIZE);
    try_create(w, "v", 1 << 20, 3 << 20, 3, inv, HUB_D_SEGMENT);
    try_create(w, "v", 1 << 20, 12 << 20, 3, inv, HUB_D_SEGMENT);
    try_create(w, "v", 1 << 20, 32ull << 30, 3, inv, HUB_D_SEGMENT);
    try_create(w, "v", 1 << 20, 0, 6, inv, HUB_D_REPLICAS);
    try_create(w, "v", 1 << 20, 0, 5, KT_E_NO_NODES, HUB_D_NODES);
    assert_int_equal(w->done_act.a, 3);
    assert_int_equal(w->done_act.b, 5);
    try_create(w, "v", 1 << 30, 4 << 20, 3, KT_E_LIMIT, HUB_D_CHAINS);
    w_rm(w, "v");
    assert_int_equal(w->done_act.err, KT_E_NO_VOLUME);
    assert_int_equal(w->commits, commits);

    w_create(w, "v", 1 << 20, 0, 3);
    w_run(w, 100);
    assert_int_equal(w->done_act.err, 0);
    try_create(w, "v", 1 << 20, 0, 3, KT_E_EXISTS, HUB_D_EXISTS);
    w_free(w);
}

static void a_creation_that_cannot_end_is_taken_back(void **state)
{
    (void)state;
    struct world *w = w_new(3);

    for (unsigned i = 0; i < 3; i++)
        w->p[i].mute_eq = true;
    w_create(w, "v", 1 << 20, 0, 3);
    w_run(w, 9000);
    assert_false(w->done);
    w_run(w, 2000);
    assert_true(w->done);
    assert_int_equal(w->done_act.err, -ETIMEDOUT);
    assert_null(hub_volume_named(&w->h, "v"));
    assert_int_equal(w->db.n_volumes, 0);
    assert_int_equal(w->db.n_chains, 0);
    for (unsigned i = 0; i < 3; i++) {
        w->p[i].mute_eq = false;
        assert_int_equal(w->p[i].releases, 1);
    }
    w_create(w, "v", 1 << 20, 0, 3);
    w_run(w, 100);
    assert_int_equal(w->done_act.err, 0);
    w_free(w);
}

static void removal_leaves_a_tombstone(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain;
    unsigned away = w_peer_of(w, c, 1);

    w_peer_kill(w, away);
    w_rm(w, "v");
    w_run(w, 100);
    assert_int_equal(w->done_act.err, 0);
    assert_int_equal(w->db.n_tombs, 1);
    assert_int_equal(w->db.n_volumes, 0);
    assert_int_equal(w->db.n_chains, 0);
    assert_null(hub_chain_of(&w->h, chain));
    assert_int_equal(w->p[away].releases, 0);
    for (unsigned i = 0; i < 3; i++) {
        if (i != away)
            assert_int_equal(w->p[i].releases, 1);
    }
    /* The name is free, the number is not used again. */
    w_create(w, "v", 1 << 20, 0, 2);
    w_run(w, 100);
    assert_int_equal(w->done_act.err, 0);
    assert_true(hub_volume_named(&w->h, "v")->base_chain > chain);
    /* Who was away is told when it returns, also by a new hub (I22). */
    w_hub_start(w);
    for (unsigned i = 0; i < 3; i++) {
        if (i != away)
            w_register(w, i);
    }
    w_peer_start(w, away, true);
    w_run(w, 100);
    assert_int_equal(w->p[away].releases, 1);
    w_free(w);
}

static void unknown_chains_are_left_alone(void **state)
{
    (void)state;
    struct world *w = w_new(3);

    w->p[0].copy[7].promised = 3;
    w->p[0].copy[7].last_epoch = 3;
    w_peer_kill(w, 0);
    w_peer_start(w, 0, true);
    w_run(w, 5000);
    assert_int_equal(w->p[0].releases, 0);
    w_free(w);
}

static void tombstones_give_way_to_newer_ones(void **state)
{
    (void)state;
    struct world *w = w_new(1);

    for (unsigned i = 0; i < 6; i++) {
        w_create(w, "v", 1 << 20, 0, 1);
        w_run(w, 100);
        assert_int_equal(w->done_act.err, 0);
        w_rm(w, "v");
        w_run(w, 100);
        assert_int_equal(w->done_act.err, 0);
    }
    assert_int_equal(w->db.n_tombs, 4);
    assert_int_equal(w->h.n_tombs, 4);
    w_free(w);
}

static void placement_is_distinct_and_follows_free_space(void **state)
{
    (void)state;
    struct world *w = w_new(5);
    unsigned got[5] = {0};

    w->p[0].used = 75ull << 30; /* a quarter of the others' room */
    w->p[1].used = 90ull << 30; /* too full for anything */
    w_run(w, 1500);
    w_create(w, "v", (uint64_t)W_CHAINS * (4 << 20) - (4 << 20), 4 << 20, 1);
    w_run(w, 100);
    assert_int_equal(w->done_act.err, 0);
    for (unsigned i = 1; i < W_CHAINS; i++)
        got[w_peer_of(w, w_cfg(w, i), 0)]++;
    assert_int_equal(got[1], 0);
    for (unsigned i = 2; i < 5; i++)
        assert_true(got[i] >= 5 && got[i] > got[0]);
    w_rm(w, "v");
    w_run(w, 100);
    w_create(w, "v", 39 * (4 << 20), 4 << 20, 3);
    w_run(w, 300);
    assert_int_equal(w->done_act.err, 0);
    for (unsigned i = 0; i < 39; i++) {
        const struct kt_cfg *c = w_cfg(w, W_CHAINS + i);
        assert_int_equal(c->n_members, 3);
        for (unsigned j = 0; j < 3; j++) {
            for (unsigned k = 0; k < j; k++)
                assert_false(
                    kt_id_eq(&c->members[j].node.id, &c->members[k].node.id));
        }
    }
    w_free(w);
}

/* ---- who may register ---- */

static void a_copied_disk_is_refused(void **state)
{
    (void)state;
    struct world *w = w_new(2);
    struct w_peer *p = &w->p[2];

    /* The same node and store from another machine, while the first lives. */
    *p = w->p[0];
    p->node.boot = w_id('B', 77);
    p->incarnation++;
    w->n_peers = 3;
    w_register(w, 2);
    const struct w_sent *s = w_last(w, p->conn, KT_MSG_ERROR);
    assert_non_null(s);
    assert_int_equal(s->msg.u.error.err, KT_E_REFUSED);
    assert_non_null(strstr(s->msg.u.error.text, "copy of its disk"));
    assert_int_equal(hub_node_of(&w->h, &p->node.id)->row.incarnation, 1);

    /* The store under another node's name. */
    p->node.id = w_id('N', 99);
    w_register(w, 2);
    assert_int_equal(w_last(w, p->conn, KT_MSG_ERROR)->msg.u.error.err,
                     KT_E_REFUSED);
    /* The node with another store. */
    p->node.id = w->p[0].node.id;
    p->store = w_id('S', 99);
    w_register(w, 2);
    assert_non_null(strstr(w_last(w, p->conn, KT_MSG_ERROR)->msg.u.error.text,
                           "another store"));
    w_free(w);
}

static void an_older_incarnation_is_refused(void **state)
{
    (void)state;
    struct world *w = w_new(2);

    w_peer_kill(w, 0);
    w->p[0].incarnation = 4;
    w_peer_start(w, 0, true);
    w_peer_kill(w, 0);
    w->p[0].incarnation = 2;
    w_peer_start(w, 0, true);
    const struct w_sent *s = w_last(w, w->p[0].conn, KT_MSG_ERROR);
    assert_non_null(s);
    assert_non_null(strstr(s->msg.u.error.text, "older state"));
    assert_int_equal(hub_node_of(&w->h, &w->p[0].node.id)->state,
                     HUB_NODE_DEAD);
    /* A mere reconnect with the same incarnation is fine. */
    w_peer_reconnect(w, 1);
    assert_int_equal(hub_node_of(&w->h, &w->p[1].node.id)->state, HUB_NODE_UP);
    w_free(w);
}

/* Bytes of a connection that it gave up come when it is long on another. */
static void a_registration_on_an_older_connection_is_not_heard(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain, epoch = c->epoch;
    struct w_copy *copy = &w->p[0].copy[chain];
    struct w_copy now = *copy;
    uint64_t first = w->p[0].conn;

    w_peer_reconnect(w, 0);
    uint64_t conn = w->p[0].conn, next = w->next_conn;
    w->next_conn = first - 1;
    copy->promised = 0;
    w_register(w, 0);
    assert_int_equal(w->p[0].conn, first);
    *copy = now;
    w->p[0].conn = conn;
    w->next_conn = next;
    assert_int_equal(hub_node_of(&w->h, &w->p[0].node.id)->conn, conn);
    assert_int_equal(w_count(w, first, KT_MSG_REGISTER_OK), 1);
    w_run(w, 3000);
    assert_int_equal(w_cfg(w, chain)->epoch, epoch);
    w_free(w);
}

static void only_replicators_may_act_as_such(void **state)
{
    (void)state;
    struct world *w = w_new(1);
    uint64_t conn = w_client(w, 1);
    struct kt_msg m = {.type = KT_MSG_HB};

    w_say(w, conn, &m);
    m = (struct kt_msg){.type = KT_MSG_REGISTER};
    m.u.reg.first = m.u.reg.last = 1;
    m.u.reg.node.name[0] = 'x';
    w_say(w, conn, &m);
    w_settle(w);
    assert_int_equal(w_count(w, conn, KT_MSG_ERROR), 2);
    w_free(w);
}

static void cfg_get_tells_the_present_configuration(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t conn = w_client(w, 1);
    struct kt_msg m = {.type = KT_MSG_CFG_GET, .req = 3, .chain = c->chain};

    w_say(w, conn, &m);
    m.chain = 17;
    w_say(w, conn, &m);
    w_settle(w);
    const struct w_sent *s = w_last(w, conn, KT_MSG_ACTIVATE);
    assert_int_equal(s->msg.req, 3);
    assert_int_equal(s->cfg.epoch, c->epoch);
    assert_int_equal(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.err,
                     KT_E_UNKNOWN_CHAIN);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_answers_when_every_chain_is_active),
        cmocka_unit_test(the_last_segment_may_be_short),
        cmocka_unit_test(bad_requests_change_nothing),
        cmocka_unit_test(a_creation_that_cannot_end_is_taken_back),
        cmocka_unit_test(removal_leaves_a_tombstone),
        cmocka_unit_test(unknown_chains_are_left_alone),
        cmocka_unit_test(tombstones_give_way_to_newer_ones),
        cmocka_unit_test(placement_is_distinct_and_follows_free_space),
        cmocka_unit_test(a_copied_disk_is_refused),
        cmocka_unit_test(an_older_incarnation_is_refused),
        cmocka_unit_test(a_registration_on_an_older_connection_is_not_heard),
        cmocka_unit_test(only_replicators_may_act_as_such),
        cmocka_unit_test(cfg_get_tells_the_present_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
