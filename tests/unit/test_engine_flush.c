/* SPDX-License-Identifier: BSD-3-Clause */
/* Flush: who is asked, what is covered, what a new epoch does to it. */
#include "tests/unit/engine_rig.h"

#include <errno.h>
#include <string.h>

#define S KT_SECTOR_BYTES

static uint32_t retained(struct rig *r)
{
    struct engine_info i;
    engine_info(r->e, &i);
    return i.retained;
}

static void one_write(struct rig *r, uint64_t sector, uint64_t seq)
{
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, sector * S, S, 1);
    rig_ack(r, rig_take(r, KT_MSG_WRITE), seq);
    rig_assert_done(r, w, 0);
}

static void a_flush_of_nothing_completes_at_once(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_assert_done(r, rig_submit(r, ENGINE_FLUSH, 0, 0, 0), 0);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0);
    rig_free(r);
}

static void a_flush_waits_for_every_serving_member(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    one_write(r, 0, 1);
    one_write(r, 1, 2);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *s[3];
    for (uint32_t i = 0; i < 3; i++) {
        s[i] = rig_expect(r, KT_MSG_FLUSH, i + 1);
        assert_int_equal(s[i]->m.u.flush.upto, 2);
        assert_int_equal(s[i]->m.epoch, 1);
    }
    rig_flush_ok(r, s[2]);
    rig_flush_ok(r, s[0]);
    rig_flush_ok(r, s[0]); /* twice is not two */
    assert_false(rig_done(r, f));
    assert_int_equal(retained(r), 2);
    rig_flush_ok(r, s[1]);
    rig_assert_done(r, f, 0);
    assert_int_equal(retained(r), 0);
    rig_assert_done(r, rig_submit(r, ENGINE_FLUSH, 0, 0, 0), 0);
    rig_free(r);
}

static void only_dirty_chains_are_flushed(void **st)
{
    (void)st;
    struct rig *r = rig_new(
        &(struct engine_opts){.size = 16u << 20, .segment_bytes = 8u << 20});
    rig_cfg(r, 0, 1, 1, "1");
    rig_cfg(r, 1, 1, 1, "1");
    rig_up(r, 1);
    one_write(r, (8u << 20) / S, 1);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, 1);
    assert_int_equal(s->m.chain, RIG_CHAIN + 1);
    assert_null(rig_take(r, KT_MSG_FLUSH));
    rig_flush_ok(r, s);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void a_flush_of_two_chains_waits_for_both(void **st)
{
    (void)st;
    struct rig *r = rig_new(
        &(struct engine_opts){.size = 16u << 20, .segment_bytes = 8u << 20});
    rig_cfg(r, 0, 1, 1, "1");
    rig_cfg(r, 1, 1, 1, "1");
    rig_up(r, 1);
    one_write(r, 0, 1);
    one_write(r, (8u << 20) / S, 1);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *a = rig_expect(r, KT_MSG_FLUSH, 1);
    struct rig_send *b = rig_expect(r, KT_MSG_FLUSH, 1);
    rig_flush_ok(r, b);
    assert_false(rig_done(r, f));
    rig_flush_ok(r, a);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void a_new_epoch_starts_the_flush_over(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    one_write(r, 0, 1);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *s1 = rig_expect(r, KT_MSG_FLUSH, 1);
    struct rig_send *s2 = rig_expect(r, KT_MSG_FLUSH, 2);
    struct rig_send *s3 = rig_expect(r, KT_MSG_FLUSH, 3);
    rig_flush_ok(r, s1);
    rig_flush_ok(r, s2);
    rig_cfg(r, 0, 2, 1, "13");
    rig_flush_ok(r, s3); /* an answer of epoch 1 says nothing in 2 */
    assert_false(rig_done(r, f));
    s1 = rig_expect(r, KT_MSG_FLUSH, 1);
    s3 = rig_expect(r, KT_MSG_FLUSH, 3);
    assert_int_equal(s1->m.epoch, 2);
    rig_flush_ok(r, s1);
    assert_false(rig_done(r, f));
    rig_flush_ok(r, s3);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void an_answer_of_another_vgen_does_not_count(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_cfg(r, 0, 2, 1, "1");
    one_write(r, 0, 1);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, 1);
    r->cfg[0].vgen = 2;
    rig_flush_ok(r, s);
    assert_false(rig_done(r, f));
    r->cfg[0].vgen = 1;
    rig_flush_ok(r, s);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void
a_flush_covers_what_completed_before_and_not_what_came_after(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_cfg(r, 0, 2, 1, "1");
    one_write(r, 0, 1);
    struct engine_req *f1 = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *s1 = rig_expect(r, KT_MSG_FLUSH, 1);
    one_write(r, 1, 2);
    struct engine_req *f2 = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0); /* one at a time */
    rig_flush_ok(r, s1);
    rig_assert_done(r, f1, 0);
    assert_false(rig_done(r, f2));
    assert_int_equal(retained(r), 1);
    struct rig_send *s2 = rig_expect(r, KT_MSG_FLUSH, 1);
    assert_int_equal(s2->m.u.flush.upto, 2);
    rig_flush_ok(r, s2);
    rig_assert_done(r, f2, 0);
    rig_free(r);
}

static void coverage_is_by_seq_not_by_time(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_cfg(r, 0, 2, 1, "1");
    rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_submit(r, ENGINE_WRITE, S, S, 1);
    struct rig_send *a = rig_take(r, KT_MSG_WRITE);
    struct rig_send *b = rig_take(r, KT_MSG_WRITE);
    rig_ack(r, b, 2);
    struct engine_req *f1 = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, 1);
    rig_ack(r, a, 1); /* its seq is covered by the round under way */
    struct engine_req *f2 = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    rig_flush_ok(r, s);
    rig_assert_done(r, f1, 0);
    rig_assert_done(r, f2, 0);
    assert_int_equal(retained(r), 0);
    rig_free(r);
}

static void a_refused_or_lost_flush_is_asked_again(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_cfg(r, 0, 2, 1, "12");
    one_write(r, 0, 1);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    rig_nak(r, rig_expect(r, KT_MSG_FLUSH, 1), KT_E_BUSY);
    rig_expect(r, KT_MSG_FLUSH, 2);
    rig_down(r, 2);
    rig_wait(r, 200);
    rig_flush_ok(r, rig_expect(r, KT_MSG_FLUSH, 1));
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0);
    rig_up(r, 2);
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, 2);
    rig_wait(r, 2000); /* not a word: asked again, the other way (B13) */
    assert_int_equal(rig_expect(r, KT_MSG_FLUSH, 1)->m.u.flush.store.b[0], 2);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0);
    rig_flush_ok(r, s);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void a_fua_write_alone_is_not_kept(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit_flags(r, ENGINE_WRITE, 0, S, 1, ENGINE_F_FUA);
    struct rig_send *s = rig_take(r, KT_MSG_WRITE);
    assert_int_equal(s->m.u.write.flags, KT_RF_FUA);
    rig_ack(r, s, 1);
    assert_int_equal(retained(r), 0);
    rig_assert_done(r, rig_submit(r, ENGINE_FLUSH, 0, 0, 0), 0);
    rig_free(r);
}

static void with_durability_sync_nothing_is_kept_or_flushed(void **st)
{
    (void)st;
    struct rig *r = rig_new(&(struct engine_opts){0});
    rig_cfg(r, 0, 1, 1, "1");
    rig_up(r, 1);
    struct kt_cfg c = rig_make_cfg(r, 0, 2, 1, "1");
    c.durability = KT_DURABILITY_SYNC;
    struct rig_send any = {.node = 1, .m.type = KT_MSG_CFG_GET};
    struct kt_msg m = {.type = KT_MSG_CFG, .cfg = &c};
    rig_answer(r, &any, &m, 0);
    one_write(r, 0, 1);
    assert_int_equal(retained(r), 0);
    rig_assert_done(r, rig_submit(r, ENGINE_FLUSH, 0, 0, 0), 0);
    rig_free(r);
}

/* Node from answers for node of: what a relay passes on. */
static void relayed_ok(struct rig *r, const struct rig_send *s)
{
    struct kt_msg m = rig_reply(r, s, KT_MSG_FLUSH_OK);
    m.u.flush.durable = s->m.u.flush.upto;
    m.u.flush.vgen = r->cfg[0].vgen;
    m.u.flush.store = s->m.u.flush.store;
    rig_answer(r, s, &m, 0);
}

static struct rig_send *expect_relay(struct rig *r, uint32_t node, uint32_t of)
{
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, node);
    assert_int_equal(s->m.u.flush.store.b[0], of);
    return s;
}

static void a_member_cut_off_is_asked_through_its_neighbour(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    one_write(r, 0, 1);
    rig_down(r, 3);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *s1 = rig_expect(r, KT_MSG_FLUSH, 1);
    struct rig_send *s2 = rig_expect(r, KT_MSG_FLUSH, 2);
    assert_true(kt_id_is_zero(&s1->m.u.flush.store));
    rig_flush_ok(r, s1);
    rig_flush_ok(r, s2);
    rig_wait(r, 1000);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0); /* it may come back */
    rig_wait(r, 100);
    struct rig_send *s = expect_relay(r, 2, 3);
    assert_int_equal(s->m.u.flush.upto, 1);
    rig_flush_ok(r, s); /* of 2 again: not what is missing */
    assert_false(rig_done(r, f));
    relayed_ok(r, s);
    rig_assert_done(r, f, 0);
    assert_int_equal(retained(r), 0);
    rig_free(r);
}

static void a_refusing_relay_is_followed_by_another(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    one_write(r, 0, 1);
    rig_down(r, 2);
    rig_wait(r, 1100);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    rig_flush_ok(r, rig_expect(r, KT_MSG_FLUSH, 1));
    struct rig_send *s = expect_relay(r, 1, 2);
    rig_flush_ok(r, rig_expect(r, KT_MSG_FLUSH, 3));
    struct kt_msg m = rig_reply(r, s, KT_MSG_NAK);
    m.u.nak.err = KT_E_BUSY;
    m.u.nak.re = KT_MSG_FLUSH;
    m.u.nak.store = s->m.u.flush.store;
    rig_answer(r, s, &m, 0);
    rig_wait(r, 100);
    s = expect_relay(r, 3, 2);
    rig_wait(r, 2000); /* no answer: another */
    expect_relay(r, 1, 2);
    rig_down(r, 1); /* what it was to pass on may be lost */
    rig_wait(r, 100);
    expect_relay(r, 3, 2);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0);
    rig_up(r, 2); /* the way is open again */
    s = rig_expect(r, KT_MSG_FLUSH, 2);
    assert_true(kt_id_is_zero(&s->m.u.flush.store));
    rig_flush_ok(r, s);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

/* The simulator's seed 800408: the members of the round were more. */
static void a_round_that_is_over_asks_nobody_again(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    one_write(r, 0, 1);
    rig_down(r, 1);
    rig_wait(r, 1100);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    expect_relay(r, 2, 1);
    rig_forget(r);
    rig_cfg(r, 0, 2, 2, "3"); /* another vgen: first the replay */
    struct rig_send *w = rig_expect(r, KT_MSG_WRITE, 3);
    rig_down(r, 3);
    rig_up(r, 3);
    w = rig_expect(r, KT_MSG_WRITE, 3);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0);
    rig_ack(r, w, 1);
    rig_flush_ok(r, rig_expect(r, KT_MSG_FLUSH, 3));
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void a_relay_of_another_epoch_or_vgen_does_not_count(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    one_write(r, 0, 1);
    rig_down(r, 1); /* the head */
    rig_wait(r, 1100);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *old = expect_relay(r, 2, 1);
    r->cfg[0].vgen = 9;
    relayed_ok(r, old);
    rig_forget(r);
    rig_cfg(r, 0, 2, 1, "213");
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, 2);
    rig_flush_ok(r, s);
    s = expect_relay(r, 2, 1);
    rig_flush_ok(r, rig_expect(r, KT_MSG_FLUSH, 3));
    relayed_ok(r, old);
    assert_false(rig_done(r, f));
    relayed_ok(r, s);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void a_silent_member_is_asked_through_another_too(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    one_write(r, 0, 1);
    rig_wait(r, 100);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    rig_wait(r, 100);
    rig_flush_ok(r, rig_expect(r, KT_MSG_FLUSH, 1));
    rig_flush_ok(r, rig_expect(r, KT_MSG_FLUSH, 2));
    struct rig_send *own = rig_expect(r, KT_MSG_FLUSH, 3);
    rig_wait(r, 2000);
    expect_relay(r, 2, 3);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0);
    rig_flush_ok(r, own); /* it was only slow */
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void what_cannot_be_reached_is_listed_for_the_hub(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct kt_id id[KT_CUT_MAX];
    assert_int_equal(engine_cut(r->e, r->now, id, KT_CUT_MAX), 0);
    rig_down(r, 3);
    assert_int_equal(engine_cut(r->e, r->now + 1000, id, KT_CUT_MAX), 0);
    assert_int_equal(engine_cut(r->e, r->now + 1001, id, KT_CUT_MAX), 1);
    assert_int_equal(id[0].b[0], 3);
    rig_down(r, 1);
    assert_int_equal(engine_cut(r->e, r->now + 5000, id, KT_CUT_MAX), 2);
    assert_int_equal(engine_cut(r->e, r->now + 5000, id, 1), 1);
    rig_cfg(r, 0, 2, 1, "12"); /* 3 is no concern of ours any more */
    rig_up(r, 1);
    assert_int_equal(engine_cut(r->e, r->now + 9000, id, KT_CUT_MAX), 0);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flush_of_nothing_completes_at_once),
        cmocka_unit_test(a_flush_waits_for_every_serving_member),
        cmocka_unit_test(only_dirty_chains_are_flushed),
        cmocka_unit_test(a_flush_of_two_chains_waits_for_both),
        cmocka_unit_test(a_new_epoch_starts_the_flush_over),
        cmocka_unit_test(an_answer_of_another_vgen_does_not_count),
        cmocka_unit_test(
            a_flush_covers_what_completed_before_and_not_what_came_after),
        cmocka_unit_test(coverage_is_by_seq_not_by_time),
        cmocka_unit_test(a_refused_or_lost_flush_is_asked_again),
        cmocka_unit_test(a_fua_write_alone_is_not_kept),
        cmocka_unit_test(with_durability_sync_nothing_is_kept_or_flushed),
        cmocka_unit_test(a_member_cut_off_is_asked_through_its_neighbour),
        cmocka_unit_test(a_refusing_relay_is_followed_by_another),
        cmocka_unit_test(a_round_that_is_over_asks_nobody_again),
        cmocka_unit_test(a_relay_of_another_epoch_or_vgen_does_not_count),
        cmocka_unit_test(a_silent_member_is_asked_through_another_too),
        cmocka_unit_test(what_cannot_be_reached_is_listed_for_the_hub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
