/* SPDX-License-Identifier: BSD-3-Clause */
/* Attach, hold, steal, renew, detach; and a hub that dies in the middle. */
#include <string.h>

#include "tests/unit/hub_world.h"

static void renew(struct world *w, uint64_t conn, uint64_t token)
{
    struct kt_msg m = {.type = KT_MSG_RENEW, .req = 8};

    m.u.attach.volume_id = hub_volume_named(&w->h, "v")->row.id;
    m.u.attach.token = token;
    w_say(w, conn, &m);
    w_settle(w);
}

static void detach(struct world *w, uint64_t conn, uint64_t token)
{
    struct kt_msg m = {.type = KT_MSG_DETACH, .req = 9};

    m.u.attach.volume_id = hub_volume_named(&w->h, "v")->row.id;
    m.u.attach.token = token;
    w_say(w, conn, &m);
    w_settle(w);
}

static int last_error(struct world *w, uint64_t conn)
{
    const struct w_sent *s = w_last(w, conn, KT_MSG_ERROR);

    assert_non_null(s);
    return s->msg.u.error.err;
}

static void attach_gives_a_token_and_every_configuration(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_create(w, "v", 1 << 30, 64 << 20, 3);
    w_run(w, 100);
    uint64_t conn = w_client(w, 2);

    w_attach(w, conn, "v", 2, false);
    w_run(w, 100);
    const struct w_sent *s = w_last(w, conn, KT_MSG_ATTACH_OK);
    assert_non_null(s);
    assert_int_equal(s->msg.req, 42);
    assert_int_equal(s->msg.u.attach_ok.token, 1);
    assert_int_equal(s->msg.u.attach_ok.n_chains, 16);
    assert_int_equal(s->msg.u.attach_ok.size, 1 << 30);
    assert_int_equal(s->msg.u.attach_ok.segment_bytes, 64 << 20);
    assert_int_equal(w_count(w, conn, KT_MSG_ACTIVATE), 16);
    unsigned seg = 0;
    for (unsigned i = 0; i < w->n_log; i++) {
        const struct w_sent *t = &w->log[i];
        if (t->conn != conn || t->msg.type != KT_MSG_ACTIVATE)
            continue;
        assert_true(t > s);
        assert_int_equal(t->cfg.seg, seg++);
        assert_int_equal(t->cfg.token, 1);
        assert_true(kt_id_eq(&t->cfg.client, &(struct kt_id){{'c', 2, 1}}));
        /* the writer's node is the head */
        assert_string_equal(t->cfg.members[0].node.name, "n2");
    }
    /* Later configurations are pushed. */
    w_forget(w);
    w_peer_kill(w, 1);
    w_run(w, 100);
    assert_int_equal(w_count(w, conn, KT_MSG_ACTIVATE), 16);
    w_free(w);
}

static void no_such_volume_is_said_so(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    uint64_t conn = w_client(w, 1);

    w_attach(w, conn, "nope", 1, false);
    assert_int_equal(last_error(w, conn), KT_E_NO_VOLUME);
    assert_non_null(
        strstr(w_last(w, conn, KT_MSG_ERROR)->msg.u.error.text, "nope"));
    w_free(w);
}

static void a_held_volume_names_its_holder(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1), b = w_client(w, 2);

    w_attach(w, a, "v", 1, false);
    w_attach(w, b, "v", 2, false);
    assert_int_equal(last_error(w, b), KT_E_HELD);
    const char *text = w_last(w, b, KT_MSG_ERROR)->msg.u.error.text;
    assert_non_null(strstr(text, "node n1"));
    assert_non_null(strstr(text, "pid 1001"));
    assert_non_null(strstr(text, "since 2023-11-14 22:13:2"));
    w_rm(w, "v");
    assert_int_equal(w->done_act.err, KT_E_IN_USE);

    /* With steal it goes over, and the first is told and fenced. */
    w_forget(w);
    w_attach(w, b, "v", 2, true);
    assert_int_equal(w_last(w, b, KT_MSG_ATTACH_OK)->msg.u.attach_ok.token, 2);
    assert_int_equal(w_last(w, a, KT_MSG_ACTIVATE)->cfg.token, 2);
    renew(w, a, 1);
    assert_int_equal(last_error(w, a), KT_E_FENCED);
    renew(w, b, 2);
    assert_non_null(w_last(w, b, KT_MSG_RENEW_OK));
    w_free(w);
}

static void a_lease_runs_out_without_renew(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1), b = w_client(w, 2);

    w_attach(w, a, "v", 1, false);
    w_run(w, 8000);
    renew(w, a, 1);
    w_run(w, 8000);
    w_attach(w, b, "v", 2, false);
    assert_int_equal(last_error(w, b), KT_E_HELD);
    w_run(w, 3000);
    /* A1: nothing stopped the first; only now may another have it. */
    assert_int_equal(w_cfg(w, 1)->token, 1);
    w_attach(w, b, "v", 2, false);
    assert_int_equal(w_last(w, b, KT_MSG_ATTACH_OK)->msg.u.attach_ok.token, 2);
    w_free(w);
}

static void the_same_client_attaches_again(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1);

    w_attach(w, a, "v", 1, false);
    w_hangup(w, a);
    uint64_t b = w_client(w, 1);
    w_attach(w, b, "v", 1, false);
    assert_int_equal(w_last(w, b, KT_MSG_ATTACH_OK)->msg.u.attach_ok.token, 2);
    w_free(w);
}

/* Client id takes over from a process that held token. */
static void take_over(struct world *w, uint64_t conn, uint8_t id,
                      uint64_t token)
{
    struct kt_msg m = {.type = KT_MSG_ATTACH, .req = 42};

    m.u.attach.volume[0] = 'v';
    m.u.attach.volume_id = hub_volume_named(&w->h, "v")->row.id;
    m.u.attach.client = w_id('c', id);
    m.u.attach.token = token;
    w_say(w, conn, &m);
    w_settle(w);
}

static uint64_t granted(struct world *w, uint64_t conn)
{
    const struct w_sent *s = w_last(w, conn, KT_MSG_ATTACH_OK);

    return s ? s->msg.u.attach_ok.token : 0;
}

static void a_successor_learns_that_another_held_the_volume(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1);
    uint64_t b = w_client(w, 1);
    uint64_t other = w_client(w, 2);

    w_attach(w, a, "v", 1, false);
    take_over(w, b, 1, 1); /* while the lease runs */
    assert_int_equal(granted(w, b), 2);
    take_over(w, b, 1, 1); /* had no time to note that token */
    assert_int_equal(granted(w, b), 3);
    detach(w, b, 3);
    take_over(w, b, 1, 3); /* given back, and nobody came since */
    assert_int_equal(granted(w, b), 4);
    w_attach(w, other, "v", 2, true);
    assert_int_equal(granted(w, other), 5);
    take_over(w, b, 1, 4);
    assert_int_equal(last_error(w, b), KT_E_FENCED);
    detach(w, other, 5);
    take_over(w, b, 1, 4);
    assert_int_equal(granted(w, b), 4);
    take_over(w, b, 1, 0); /* the loss is accepted */
    assert_int_equal(granted(w, b), 6);
    w_free(w);
}

static void a_client_that_reconnects_gets_its_configurations(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1);

    w_attach(w, a, "v", 1, false);
    w_hangup(w, a);
    uint64_t b = w_client(w, 1);
    renew(w, b, 1);
    assert_int_equal(w_count(w, b, KT_MSG_ACTIVATE), 1);
    renew(w, b, 1);
    assert_int_equal(w_count(w, b, KT_MSG_ACTIVATE), 1);
    w_peer_kill(w, 0);
    assert_int_equal(w_count(w, b, KT_MSG_ACTIVATE), 2);
    w_free(w);
}

static void detach_clears_the_record_and_the_chains(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1), b = w_client(w, 2);

    w_attach(w, a, "v", 1, false);
    detach(w, b, 77);
    assert_int_equal(last_error(w, b), KT_E_FENCED);
    detach(w, a, 1);
    assert_non_null(w_last(w, a, KT_MSG_DETACH_OK));
    assert_int_equal(w_cfg(w, 1)->token, 0);
    assert_true(kt_id_is_zero(&w_cfg(w, 1)->client));
    detach(w, a, 1);
    assert_int_equal(w_count(w, a, KT_MSG_DETACH_OK), 2);
    w_attach(w, b, "v", 2, false);
    assert_int_equal(w_last(w, b, KT_MSG_ATTACH_OK)->msg.u.attach_ok.token, 2);
    w_free(w);
}

static void one_attach_at_a_time(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1), b = w_client(w, 2);

    for (unsigned i = 0; i < 3; i++)
        w->p[i].mute_eq = true;
    w_attach(w, a, "v", 1, false);
    w_attach(w, b, "v", 2, false);
    assert_int_equal(last_error(w, b), KT_E_BUSY);
    w_attach(w, a, "v", 1, false); /* asked again: no new token */
    for (unsigned i = 0; i < 3; i++)
        w->p[i].mute_eq = false;
    w_run(w, 2000);
    assert_int_equal(w_last(w, a, KT_MSG_ATTACH_OK)->msg.u.attach_ok.token, 1);
    assert_int_equal(w_count(w, a, KT_MSG_ATTACH_OK), 1);
    w_free(w);
}

/* ---- a hub that dies ---- */

static void everybody_returns(struct world *w)
{
    w_hub_start(w);
    for (unsigned i = 0; i < w->n_peers; i++) {
        if (w->p[i].up)
            w_register(w, i);
    }
    w_run(w, 4000);
}

/* Every commit of an attach and of an eviction is a place to die at. */
static void a_hub_may_crash_at_every_commit(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 7; at++) {
        struct world *w = w_new(3);
        w_volume(w, 3);
        uint64_t a = w_client(w, 1);
        w_attach(w, a, "v", 1, false);
        w_write(w, 1, 4);
        uint64_t epoch = w_cfg(w, 1)->epoch, promised = 0;

        w->crash_at = w->commits + at;
        uint64_t b = w_client(w, 2);
        w_attach(w, b, "v", 2, true);
        w_peer_kill(w, w_peer_of(w, w_cfg(w, 1), 1));
        w_run(w, 500);
        for (unsigned i = 0; i < 3; i++) {
            if (w->p[i].copy[1].promised > promised)
                promised = w->p[i].copy[1].promised;
        }
        assert_true(promised >= epoch);
        everybody_returns(w);
        const struct kt_cfg *c = w_cfg(w, 1);
        assert_true(c->epoch >= promised);
        assert_int_equal(c->phase, KT_PHASE_ACTIVE);
        assert_int_equal(hub_chain_of(&w->h, 1)->row.prepare, 0);
        assert_int_equal(c->token, at == 0 ? 1 : 2);
        assert_int_equal(c->vgen, 1);
        for (unsigned i = 0; i < kt_cfg_serving(c); i++) {
            const struct w_peer *p = &w->p[w_peer_of(w, c, i)];
            assert_int_equal(p->copy[1].applied.seq, 4);
            assert_int_equal(p->copy[1].last_epoch, c->epoch);
        }
        /* The client asks again and has a token nobody had. */
        b = w_client(w, 2);
        w_attach(w, b, "v", 2, true);
        w_run(w, 200);
        assert_int_equal(w_last(w, b, KT_MSG_ATTACH_OK)->msg.u.attach_ok.token,
                         at == 0 ? 2 : 3);
        w_free(w);
    }
}

static void a_half_made_volume_is_removed_by_the_next_hub(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 8; at++) {
        struct world *w = w_new(3);
        w->crash_at = w->commits + at;
        w_create(w, "v", 12 << 20, 4 << 20, 3);
        w_run(w, 100);
        assert_false(w->done);
        everybody_returns(w);
        assert_null(hub_volume_named(&w->h, "v"));
        assert_int_equal(w->db.n_volumes, 0);
        assert_int_equal(w->db.n_chains, 0);
        w_create(w, "v", 12 << 20, 4 << 20, 3);
        w_run(w, 200);
        assert_int_equal(w->done_act.err, 0);
        assert_true(hub_volume_named(&w->h, "v")->base_chain >= 4);
        w_free(w);
    }
}

static void a_new_hub_rearms_leases_and_evicts_nobody_early(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    w_volume(w, 3);
    uint64_t a = w_client(w, 1);
    w_attach(w, a, "v", 1, false);
    uint64_t epoch = w_cfg(w, 1)->epoch;
    w->now += 60000;
    w->p[0].up = false;
    w_hub_start(w);
    w_register(w, 1);
    w_register(w, 2);
    w_run(w, 2500);
    assert_int_equal(w_cfg(w, 1)->epoch, epoch);
    uint64_t b = w_client(w, 2);
    w_attach(w, b, "v", 2, false);
    assert_int_equal(last_error(w, b), KT_E_HELD);
    w_run(w, 1500);
    assert_int_equal(kt_cfg_serving(w_cfg(w, 1)), 2);
    w_run(w, 7000);
    w_attach(w, b, "v", 2, false);
    assert_non_null(w_last(w, b, KT_MSG_ATTACH_OK));
    w_free(w);
}

/* B13: the next one goes first, and the head stays a member; nothing moves
 * when no member is in reach, or when the word is old. */
static void what_the_holder_cannot_reach_is_not_the_head(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    const struct kt_cfg *c = w_volume(w, 3);
    uint64_t chain = c->chain, conn = w_client(w, 2);
    w_attach(w, conn, "v", 2, false);
    w_run(w, 100);
    c = w_cfg(w, chain);
    uint64_t before = c->epoch;
    struct kt_id head = c->members[0].node.id, next = c->members[1].node.id;
    struct kt_msg m = {.type = KT_MSG_RENEW, .req = 8};
    m.u.attach.volume_id = hub_volume_named(&w->h, "v")->row.id;
    m.u.attach.token = 1;
    m.u.attach.n_cut = 3;
    for (unsigned i = 0; i < 3; i++)
        m.u.attach.cut[i] = c->members[i].node.id;
    w_say(w, conn, &m);
    w_run(w, 2000);
    assert_int_equal(w_cfg(w, chain)->epoch, before);
    m.u.attach.n_cut = 1;
    w_say(w, conn, &m);
    w_run(w, 2000);
    c = w_cfg(w, chain);
    assert_int_equal(c->epoch, before + 1);
    assert_int_equal(kt_cfg_serving(c), 3);
    assert_true(kt_id_eq(&c->members[0].node.id, &next));
    assert_true(kt_id_eq(&c->members[2].node.id, &head));
    m.u.attach.n_cut = 0;
    w_say(w, conn, &m);
    w_run(w, 2000);
    assert_int_equal(w_cfg(w, chain)->epoch, before + 1);
    w_free(w);
}

/* A volume is formatted when nothing was ever written to it, as its members
 * say; not as a hub says that has not heard them. */
static void a_hub_that_has_just_started_was_told_nothing(void **state)
{
    (void)state;
    struct world *w = w_new(3);
    uint64_t chain = w_volume(w, 3)->chain;
    for (unsigned i = 0; i < 3; i++)
        assert_true(hub_chain_of(&w->h, chain)->known[i].told);
    w_hub_start(w);
    for (unsigned i = 0; i < 3; i++)
        assert_false(hub_chain_of(&w->h, chain)->known[i].told);
    w_register(w, w_peer_of(w, w_cfg(w, chain), 1));
    w_settle(w);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(hub_chain_of(&w->h, chain)->known[i].told, i == 1);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attach_gives_a_token_and_every_configuration),
        cmocka_unit_test(no_such_volume_is_said_so),
        cmocka_unit_test(a_held_volume_names_its_holder),
        cmocka_unit_test(a_lease_runs_out_without_renew),
        cmocka_unit_test(the_same_client_attaches_again),
        cmocka_unit_test(a_successor_learns_that_another_held_the_volume),
        cmocka_unit_test(a_client_that_reconnects_gets_its_configurations),
        cmocka_unit_test(detach_clears_the_record_and_the_chains),
        cmocka_unit_test(one_attach_at_a_time),
        cmocka_unit_test(a_hub_may_crash_at_every_commit),
        cmocka_unit_test(a_half_made_volume_is_removed_by_the_next_hub),
        cmocka_unit_test(a_new_hub_rearms_leases_and_evicts_nobody_early),
        cmocka_unit_test(what_the_holder_cannot_reach_is_not_the_head),
        cmocka_unit_test(a_hub_that_has_just_started_was_told_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
