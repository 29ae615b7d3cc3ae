/* SPDX-License-Identifier: BSD-3-Clause */
/* What happens when all members forgot: vgen changes (I16, B11). */
#include "tests/unit/engine_rig.h"

#include <errno.h>
#include <string.h>

#define S KT_SECTOR_BYTES

static uint64_t acked(struct rig *r, uint8_t op, uint64_t sector, int value,
                      uint64_t seq)
{
    struct engine_req *w = rig_submit(r, op, sector * S, S, value);
    struct rig_send *s = rig_take(r, KT_MSG_WRITE);
    uint64_t wseq = s->m.u.write.wseq;
    rig_ack(r, s, seq);
    rig_assert_done(r, w, 0);
    return wseq;
}

static void kept_writes_go_first_in_order_under_fresh_wseqs(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    acked(r, ENGINE_WRITE, 5, 0x51, 1);
    acked(r, ENGINE_TRIM, 6, 0, 2);
    acked(r, ENGINE_ZERO, 7, 0, 3);
    struct engine_req *un = rig_submit(r, ENGINE_WRITE, 9 * S, S, 0x91);
    assert_int_equal(rig_take(r, KT_MSG_WRITE)->m.u.write.wseq, 4);
    rig_cfg(r, 0, 2, 2, "23");
    assert_int_equal(r->replays, 1);
    static const struct {
        uint8_t op;
        uint32_t sector;
    } want[] = {{KT_OP_WRITE, 5}, {KT_OP_TRIM, 6}, {KT_OP_ZERO, 7}};
    struct rig_send *s[3];
    for (uint64_t i = 0; i < 3; i++) {
        s[i] = rig_expect(r, KT_MSG_WRITE, 2);
        assert_int_equal(s[i]->m.u.write.op, want[i].op);
        assert_int_equal(s[i]->m.u.write.off, want[i].sector * S);
        assert_int_equal(s[i]->m.u.write.wseq, 5 + i);
        assert_int_equal(s[i]->m.u.write.wstable, 4); /* 4 is retired */
        assert_int_equal(s[i]->m.epoch, 2);
    }
    assert_int_equal(s[0]->data[0], 0x51);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
        rig_ack(r, s[i], i + 1);
    }
    struct rig_send *u = rig_expect(r, KT_MSG_WRITE, 2);
    assert_int_equal(u->m.u.write.off, 9 * S);
    assert_int_equal(u->m.u.write.wseq, 8);
    rig_ack(r, u, 4);
    rig_assert_done(r, un, 0);
    rig_free(r);
}

static void of_two_overlapping_kept_writes_the_second_waits(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    acked(r, ENGINE_WRITE, 1, 0x11, 1);
    acked(r, ENGINE_WRITE, 1, 0x22, 2);
    acked(r, ENGINE_WRITE, 2, 0x33, 3);
    rig_cfg(r, 0, 2, 2, "12");
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->data[0], 0x11);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_nak(r, s, KT_E_BUSY); /* even then nothing overtakes */
    rig_wait(r, 100);
    s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->data[0], 0x11);
    rig_ack(r, s, 1);
    assert_int_equal(rig_expect(r, KT_MSG_WRITE, 1)->data[0], 0x22);
    assert_int_equal(rig_expect(r, KT_MSG_WRITE, 1)->data[0], 0x33);
    rig_free(r);
}

/* Write 2 is durable and has no need of a copy; were 1 sent again and all
 * lost half way once more, 2 would be gone. */
static void what_survived_does_not_go_again(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    for (uint64_t i = 1; i <= 4; i++)
        acked(r, ENGINE_WRITE, 1, (int)i, i);
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 9 * S, S, 9);
    struct rig_send *s = rig_take(r, KT_MSG_WRITE);
    r->cfg[0] = rig_make_cfg(r, 0, 2, 2, "123");
    r->cfg[0].base_seq = 2;
    rig_nak_cfg(r, s, KT_E_OLD_EPOCH, &r->cfg[0]);
    s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->data[0], 3);
    rig_ack(r, s, 3);
    s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->data[0], 4);
    /* Lost again: of vgen 2 its seq 3 is there, of vgen 1 nothing counts. */
    r->cfg[0] = rig_make_cfg(r, 0, 3, 3, "123");
    r->cfg[0].base_seq = 4;
    rig_nak_cfg(r, s, KT_E_OLD_EPOCH, &r->cfg[0]);
    s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->data[0], 4);
    rig_ack(r, s, 5);
    s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->data[0], 9);
    rig_ack(r, s, 6);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void no_read_is_sent_or_completed_while_replaying(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    acked(r, ENGINE_WRITE, 1, 0x11, 1);
    struct engine_req *q = rig_submit(r, ENGINE_READ, S, S, 0);
    struct rig_send *old = rig_take(r, KT_MSG_READ);
    rig_cfg(r, 0, 2, 2, "123");
    rig_data(r, old, 0x99);
    struct engine_req *q2 = rig_submit(r, ENGINE_READ, 30 * S, S, 0);
    assert_false(rig_done(r, q));
    assert_int_equal(rig_count(r, KT_MSG_READ), 0); /* B11 */
    rig_ack(r, rig_take(r, KT_MSG_WRITE), 1);
    assert_int_equal(rig_count(r, KT_MSG_READ), 2);
    struct rig_send *s = rig_take(r, KT_MSG_READ);
    assert_int_equal(s->m.u.read.min_seq, 1);
    rig_data(r, s, 0x11);
    rig_assert_done(r, q, 0);
    rig_data(r, rig_take(r, KT_MSG_READ), 0);
    rig_assert_done(r, q2, 0);
    rig_free(r);
}

static void a_second_change_in_the_middle_starts_over(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    for (uint64_t i = 1; i <= 3; i++)
        acked(r, ENGINE_WRITE, i, (int)i, i);
    rig_cfg(r, 0, 2, 2, "12");
    rig_ack(r, rig_take(r, KT_MSG_WRITE), 1);
    rig_forget(r);
    rig_cfg(r, 0, 3, 3, "21");
    for (int i = 1; i <= 3; i++) {
        struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 2);
        assert_int_equal(s->data[0], i);
        assert_int_equal(s->m.u.write.wseq, 6 + i);
        rig_ack(r, s, (uint64_t)i);
    }
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_ack(r, rig_expect(r, KT_MSG_WRITE, 2), 4);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void a_new_epoch_in_the_middle_resends_with_the_same_wseq(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    acked(r, ENGINE_WRITE, 1, 1, 1);
    rig_cfg(r, 0, 2, 2, "12");
    struct rig_send *a = rig_expect(r, KT_MSG_WRITE, 1);
    rig_cfg(r, 0, 3, 2, "21");
    struct rig_send *b = rig_expect(r, KT_MSG_WRITE, 2);
    assert_int_equal(a->m.u.write.wseq, b->m.u.write.wseq);
    rig_free(r);
}

static void an_old_acknowledgement_means_nothing_afterwards(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    rig_cfg(r, 0, 2, 2, "1");
    rig_ack(r, s, 1); /* wseq 1 is retired */
    assert_false(rig_done(r, w));
    struct rig_send *s2 = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s2->m.u.write.wseq, 2);
    rig_ack(r, s2, 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void an_acknowledgement_of_another_vgen_completes_nothing(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    r->cfg[0].vgen = 0;
    rig_ack(r, s, 1);
    assert_false(rig_done(r, w));
    r->cfg[0].vgen = 1;
    rig_ack(r, s, 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void replay_goes_by_seq_whatever_order_the_acks_had(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_submit(r, ENGINE_WRITE, S, S, 2);
    struct rig_send *a = rig_take(r, KT_MSG_WRITE);
    struct rig_send *b = rig_take(r, KT_MSG_WRITE);
    rig_ack(r, b, 2);
    rig_ack(r, a, 1);
    rig_cfg(r, 0, 2, 2, "1");
    assert_int_equal(rig_take(r, KT_MSG_WRITE)->data[0], 1);
    assert_int_equal(rig_take(r, KT_MSG_WRITE)->data[0], 2);
    rig_free(r);
}

static void a_flush_across_the_change_covers_the_replayed(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    acked(r, ENGINE_WRITE, 1, 1, 10);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    struct rig_send *old = rig_take(r, KT_MSG_FLUSH);
    rig_forget(r);
    rig_cfg(r, 0, 2, 2, "1");
    rig_flush_ok(r, old);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0); /* not before replay */
    rig_ack(r, rig_take(r, KT_MSG_WRITE), 4);
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, 1);
    assert_int_equal(s->m.u.flush.upto, 4);
    assert_false(rig_done(r, f));
    rig_flush_ok(r, s);
    rig_assert_done(r, f, 0);
    rig_free(r);
}

static void what_was_flushed_is_not_replayed(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_cfg(r, 0, 2, 1, "1");
    acked(r, ENGINE_WRITE, 1, 1, 1);
    rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    rig_flush_ok(r, rig_take(r, KT_MSG_FLUSH));
    rig_cfg(r, 0, 3, 2, "1");
    assert_int_equal(r->replays, 0);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_submit(r, ENGINE_READ, 0, S, 0);
    assert_int_equal(rig_take(r, KT_MSG_READ)->m.u.read.min_seq, 0);
    rig_free(r);
}

/* Else the kept 1 would be replayed over the durable 2. */
static void a_fua_write_over_a_kept_one_is_replayed_after_it(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    acked(r, ENGINE_WRITE, 1, 1, 1);
    rig_submit_flags(r, ENGINE_WRITE, S, S, 2, ENGINE_F_FUA);
    rig_ack(r, rig_take(r, KT_MSG_WRITE), 2);
    rig_cfg(r, 0, 2, 2, "1");
    struct rig_send *s = rig_take(r, KT_MSG_WRITE);
    assert_int_equal(s->data[0], 1);
    rig_ack(r, s, 3);
    s = rig_take(r, KT_MSG_WRITE);
    assert_int_equal(s->data[0], 2);
    rig_ack(r, s, 4);
    rig_free(r);
}

static void a_full_store_does_not_end_a_replay(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    acked(r, ENGINE_WRITE, 1, 1, 1);
    rig_cfg(r, 0, 2, 2, "1");
    rig_nak(r, rig_take(r, KT_MSG_WRITE), KT_E_NOSPC);
    rig_wait(r, 100);
    rig_ack(r, rig_take(r, KT_MSG_WRITE), 1);
    rig_submit(r, ENGINE_READ, S, S, 0);
    assert_int_equal(rig_count(r, KT_MSG_READ), 1);
    rig_free(r);
}

static void only_the_chain_that_lost_is_replayed(void **st)
{
    (void)st;
    struct rig *r = rig_new(
        &(struct engine_opts){.size = 16u << 20, .segment_bytes = 8u << 20});
    rig_cfg(r, 0, 1, 1, "1");
    rig_cfg(r, 1, 1, 1, "1");
    rig_up(r, 1);
    acked(r, ENGINE_WRITE, 0, 1, 1);
    acked(r, ENGINE_WRITE, (8u << 20) / S, 2, 1);
    rig_cfg(r, 1, 2, 2, "1");
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->m.chain, RIG_CHAIN + 1);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_submit(r, ENGINE_READ, 0, S, 0);
    assert_int_equal(rig_count(r, KT_MSG_READ), 1);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_writes_go_first_in_order_under_fresh_wseqs),
        cmocka_unit_test(of_two_overlapping_kept_writes_the_second_waits),
        cmocka_unit_test(what_survived_does_not_go_again),
        cmocka_unit_test(no_read_is_sent_or_completed_while_replaying),
        cmocka_unit_test(a_second_change_in_the_middle_starts_over),
        cmocka_unit_test(a_new_epoch_in_the_middle_resends_with_the_same_wseq),
        cmocka_unit_test(an_old_acknowledgement_means_nothing_afterwards),
        cmocka_unit_test(an_acknowledgement_of_another_vgen_completes_nothing),
        cmocka_unit_test(replay_goes_by_seq_whatever_order_the_acks_had),
        cmocka_unit_test(a_flush_across_the_change_covers_the_replayed),
        cmocka_unit_test(what_was_flushed_is_not_replayed),
        cmocka_unit_test(a_fua_write_over_a_kept_one_is_replayed_after_it),
        cmocka_unit_test(a_full_store_does_not_end_a_replay),
        cmocka_unit_test(only_the_chain_that_lost_is_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
