/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes: splitting, the lock, wseq, resends, refusals, fencing. */
#include "tests/unit/engine_rig.h"

#include <errno.h>
#include <string.h>

#define S KT_SECTOR_BYTES
#define MIB (1u << 20)

static void a_write_goes_to_the_head_and_completes_with_its_ack(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 5 * S, S, 0x11);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->m.chain, RIG_CHAIN);
    assert_int_equal(s->m.epoch, 1);
    assert_int_equal(s->m.u.write.token, RIG_TOKEN);
    assert_int_equal(s->m.u.write.wseq, 1);
    assert_int_equal(s->m.u.write.wstable, 0);
    assert_int_equal(s->m.u.write.op, KT_OP_WRITE);
    assert_int_equal(s->m.u.write.off, 5 * S);
    assert_int_equal(s->m.u.write.len, S);
    assert_int_equal(s->data[0], 0x11);
    assert_false(rig_done(r, w));
    rig_ack(r, s, 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void a_write_is_cut_at_extents_and_at_one_mebibyte(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    uint64_t off = KT_EXTENT_BYTES - MIB - S;
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, off, 2 * MIB, 1);
    static const struct {
        uint32_t extent, off, len;
    } want[] = {{0, KT_EXTENT_BYTES - MIB - S, MIB},
                {0, KT_EXTENT_BYTES - S, S},
                {1, 0, MIB - S}};
    struct rig_send *s[3];
    for (size_t i = 0; i < 3; i++) {
        s[i] = rig_expect(r, KT_MSG_WRITE, 1);
        assert_int_equal(s[i]->m.u.write.extent, want[i].extent);
        assert_int_equal(s[i]->m.u.write.off, want[i].off);
        assert_int_equal(s[i]->m.u.write.len, want[i].len);
        assert_int_equal(s[i]->m.u.write.wseq, i + 1);
    }
    rig_ack(r, s[2], 3);
    rig_ack(r, s[0], 1);
    assert_false(rig_done(r, w));
    rig_ack(r, s[1], 2);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void a_request_over_two_segments_goes_to_two_chains(void **st)
{
    (void)st;
    struct rig *r = rig_new(
        &(struct engine_opts){.size = 16u << 20, .segment_bytes = 8u << 20});
    rig_cfg(r, 0, 1, 1, "12");
    rig_cfg(r, 1, 1, 1, "23");
    for (uint32_t n = 1; n <= 3; n++)
        rig_up(r, n);
    rig_submit(r, ENGINE_WRITE, (8u << 20) - S, 2 * S, 1);
    struct rig_send *a = rig_expect(r, KT_MSG_WRITE, 1);
    struct rig_send *b = rig_expect(r, KT_MSG_WRITE, 2);
    assert_int_equal(a->m.chain, RIG_CHAIN);
    assert_int_equal(a->m.u.write.extent, 1);
    assert_int_equal(b->m.chain, RIG_CHAIN + 1);
    assert_int_equal(b->m.u.write.extent, 0);
    assert_int_equal(b->m.u.write.wseq, 1); /* per chain */
    rig_free(r);
}

static void overlapping_operations_wait_for_each_other_in_order(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w1 = rig_submit(r, ENGINE_WRITE, 0, 2 * S, 1);
    struct engine_req *rd = rig_submit(r, ENGINE_READ, S, 2 * S, 0);
    struct engine_req *w2 = rig_submit(r, ENGINE_WRITE, 2 * S, S, 2);
    struct engine_req *far = rig_submit(r, ENGINE_WRITE, 9 * S, S, 3);
    struct rig_send *s1 = rig_expect(r, KT_MSG_WRITE, 1);
    struct rig_send *s3 = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s3->m.u.write.off, 9 * S);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    assert_int_equal(rig_count(r, KT_MSG_READ), 0); /* A2 */
    rig_ack(r, s3, 1);
    rig_assert_done(r, far, 0);
    rig_ack(r, s1, 2);
    rig_assert_done(r, w1, 0);
    struct rig_send *sr = rig_take(r, KT_MSG_READ);
    assert_non_null(sr);
    assert_int_equal(sr->m.u.read.min_seq, 2); /* I20 */
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_data(r, sr, 1);
    rig_assert_done(r, rd, 0);
    rig_ack(r, rig_expect(r, KT_MSG_WRITE, 1), 3);
    rig_assert_done(r, w2, 0);
    rig_free(r);
}

static void reads_of_the_same_sector_share(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit(r, ENGINE_READ, 0, S, 0);
    rig_submit(r, ENGINE_READ, 0, S, 0);
    assert_int_equal(rig_count(r, KT_MSG_READ), 2);
    rig_free(r);
}

static void an_unanswered_write_is_sent_again_with_the_same_wseq(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct rig_send *s1 = rig_expect(r, KT_MSG_WRITE, 1);
    rig_down(r, 1);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_up(r, 1);
    struct rig_send *s2 = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s2->m.u.write.wseq, s1->m.u.write.wseq); /* I19 */
    rig_ack(r, s2, 1);
    rig_assert_done(r, w, 0);
    rig_ack(r, s1, 1); /* late and harmless */
    assert_int_equal(r->completed, 1);
    rig_free(r);
}

static void a_new_epoch_sends_unacked_writes_to_the_new_head(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w[3];
    for (int i = 0; i < 3; i++)
        w[i] = rig_submit(r, ENGINE_WRITE, i * (uint64_t)S, S, i);
    struct rig_send *s1 = rig_expect(r, KT_MSG_WRITE, 1);
    rig_forget(r);
    rig_ack(r, s1, 1);
    rig_cfg(r, 0, 2, 1, "23");
    for (uint64_t i = 2; i <= 3; i++) {
        struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 2);
        assert_int_equal(s->m.epoch, 2);
        assert_int_equal(s->m.u.write.wseq, i);
        assert_int_equal(s->m.u.write.wstable, 1);
        rig_ack(r, s, i);
    }
    rig_assert_done(r, w[2], 0);
    assert_int_equal(r->slot_of[1], UINT32_MAX); /* no link wanted to it */
    rig_free(r);
}

static void an_ack_with_a_newer_cfg_is_adopted_before_it_completes(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    struct kt_cfg c = rig_make_cfg(r, 0, 5, 1, "13");
    struct kt_msg m = rig_reply(r, s, KT_MSG_ACK);
    m.epoch = 5;
    m.u.ack.token = RIG_TOKEN;
    m.u.ack.wseq = 1;
    m.u.ack.id = (struct kt_rid){1, 1};
    m.u.ack.vgen = 1;
    /* Without the cfg it completes nothing (I20): it is asked for. */
    rig_answer(r, s, &m, 0);
    assert_false(rig_done(r, w));
    assert_true(rig_count(r, KT_MSG_CFG_GET) > 0);
    m.cfg = &c;
    rig_answer(r, s, &m, 0);
    rig_assert_done(r, w, 0);
    assert_int_equal(engine_cfg(r->e, 0)->epoch, 5);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_free(r);
}

static void retryable_refusals_back_off_and_keep_the_wseq(void **st)
{
    (void)st;
    static const int errs[] = {
        KT_E_BUSY,      KT_E_MINWRITE,      KT_E_NOT_HEAD,  KT_E_SEALED,
        KT_E_NEW_EPOCH, KT_E_UNKNOWN_CHAIN, KT_E_OLD_EPOCH, -EIO};
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    for (size_t i = 0; i < KT_ARRAY_LEN(errs); i++) {
        struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
        assert_int_equal(s->m.u.write.wseq, 1);
        rig_nak(r, s, errs[i]);
        assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
        assert_true(r->out.hurry);
        rig_wait(r, 200);
        assert_false(rig_done(r, w));
    }
    rig_ack(r, rig_expect(r, KT_MSG_WRITE, 1), 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void an_old_epoch_refusal_brings_the_cfg(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct kt_cfg c = rig_make_cfg(r, 0, 4, 1, "31");
    rig_nak_cfg(r, rig_expect(r, KT_MSG_WRITE, 1), KT_E_OLD_EPOCH, &c);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 3);
    assert_int_equal(s->m.epoch, 4);
    rig_ack(r, s, 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void no_answer_for_two_seconds_sends_again_if_the_link_lives(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct rig_send *s1 = rig_expect(r, KT_MSG_WRITE, 1);
    struct engine_req *w2 = rig_submit(r, ENGINE_WRITE, S, S, 1);
    rig_wait(r, 500);
    rig_ack(r, rig_expect(r, KT_MSG_WRITE, 1), 2); /* the link lives */
    rig_assert_done(r, w2, 0);
    rig_wait(r, 1400);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_wait(r, 200);
    struct rig_send *s2 = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s2->m.u.write.wseq, s1->m.u.write.wseq);
    rig_free(r);
}

static void a_silent_link_is_opened_anew_and_all_goes_again(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_expect(r, KT_MSG_WRITE, 1);
    rig_wait(r, 5800);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    assert_int_equal(r->resets, 0);
    assert_int_equal(r->stalls, 1);
    assert_true(rig_count(r, KT_MSG_CFG_GET) > 0); /* B14 */
    rig_wait(r, 400);
    assert_int_equal(r->resets, 1);
    rig_up(r, 1);
    rig_ack(r, rig_expect(r, KT_MSG_WRITE, 1), 1);
    assert_int_equal(r->resumes, 1);
    rig_free(r);
}

static void a_stall_is_told_once_and_its_end_once(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    for (uint64_t i = 0; i < 10; i++)
        rig_submit(r, ENGINE_WRITE, i * S, S, 1);
    rig_wait(r, 5000);
    assert_int_equal(r->stalls, 1);
    uint64_t seq = 0;
    for (int i = 0; i < 10; i++) {
        rig_ack(r, rig_take(r, KT_MSG_WRITE), ++seq);
        rig_event(r, ENGINE_EV_TICK);
    }
    assert_int_equal(r->stalls, 1);
    assert_int_equal(r->resumes, 1);
    rig_free(r);
}

static void a_full_store_fails_the_write_and_retires_its_wseq(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_nak(r, rig_expect(r, KT_MSG_WRITE, 1), KT_E_NOSPC);
    rig_assert_done(r, w, -ENOSPC);
    struct engine_req *w2 = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->m.u.write.wseq, 2); /* never used again */
    assert_int_equal(s->m.u.write.wstable, 1);
    rig_ack(r, s, 1);
    rig_assert_done(r, w2, 0);
    rig_free(r);
}

/* The same write twice on its way: between the two a slot became free. */
static void a_full_store_has_its_say_in_the_last_answer(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct rig_send *s1 = rig_expect(r, KT_MSG_WRITE, 1);
    rig_nak(r, s1, KT_E_BUSY);
    rig_wait(r, 100);
    struct rig_send *s2 = rig_expect(r, KT_MSG_WRITE, 1);
    rig_nak(r, s1, KT_E_NOSPC);
    assert_false(rig_done(r, w));
    rig_ack(r, s2, 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void a_full_store_waits_for_the_other_parts_in_flight(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, 2 * MIB, 1);
    struct rig_send *s1 = rig_expect(r, KT_MSG_WRITE, 1);
    struct rig_send *s2 = rig_expect(r, KT_MSG_WRITE, 1);
    rig_nak(r, s1, KT_E_NOSPC);
    assert_false(rig_done(r, w)); /* its buffer is still in use */
    rig_ack(r, s2, 1);
    rig_assert_done(r, w, -ENOSPC);
    rig_free(r);
}

static void a_dup_refusal_is_an_acknowledgement(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_nak(r, rig_expect(r, KT_MSG_WRITE, 1), KT_E_DUP);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void fenced_fails_all_and_for_ever(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct engine_req *w2 = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct engine_req *f = rig_submit(r, ENGINE_FLUSH, 0, 0, 0);
    rig_assert_done(r, f, 0);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    struct kt_cfg c = rig_make_cfg(r, 0, 9, 1, "123");
    c.token = RIG_TOKEN + 1; /* somebody else attached */
    rig_nak_cfg(r, s, KT_E_OLD_EPOCH, &c);
    rig_assert_done(r, w, -EIO);
    rig_assert_done(r, w2, -EIO);
    assert_int_equal(r->fenced, 1);
    rig_assert_done(r, rig_submit(r, ENGINE_READ, 0, S, 0), -EIO);
    rig_assert_done(r, rig_submit(r, ENGINE_FLUSH, 0, 0, 0), -EIO);
    rig_cfg(r, 0, 20, 1, "123");
    rig_wait(r, 1000);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_free(r);
}

static void the_hub_can_fence_too(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_event(r, ENGINE_EV_FENCED);
    rig_assert_done(r, w, -EIO);
    struct engine_info i;
    engine_info(r->e, &i);
    assert_true(i.fenced && !i.gone);
    rig_free(r);
}

static void another_history_fences(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct kt_cfg c = rig_make_cfg(r, 0, 9, 2, "123");
    c.history.b[3] = 1; /* force-promoted (B16) */
    rig_nak_cfg(r, rig_expect(r, KT_MSG_WRITE, 1), KT_E_OLD_EPOCH, &c);
    rig_assert_done(r, w, -EIO);
    rig_free(r);
}

static void configurations_that_are_not_ours_change_nothing(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct kt_cfg c = rig_make_cfg(r, 0, 9, 1, "23");
    struct rig_send none = {.node = 1, .m.type = KT_MSG_CFG_GET};
    struct kt_cfg bad[5] = {c, c, c, c, c};
    bad[0].volume.b[0]++;
    bad[1].token = RIG_TOKEN - 1;
    bad[2].chain++;
    bad[3].phase = KT_PHASE_PREPARE;
    bad[4].seg = 1;
    for (int i = 0; i < 5; i++) {
        struct kt_msg m = {.type = KT_MSG_CFG, .cfg = &bad[i]};
        rig_answer(r, &none, &m, 0);
        assert_int_equal(engine_cfg(r->e, 0)->epoch, 1);
    }
    assert_int_equal(r->fenced, 0);
    rig_free(r);
}

static void a_request_outside_the_volume_is_refused(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    uint64_t end = 64ull << 20;
    rig_assert_done(r, rig_submit(r, ENGINE_ZERO, end, S, 0), -EINVAL);
    rig_assert_done(r, rig_submit(r, ENGINE_ZERO, S, UINT64_MAX, 0), -EINVAL);
    rig_assert_done(r, rig_submit(r, ENGINE_ZERO, 0, 0, 0), 0);
    rig_free(r);
}

static void io_timeout_fails_what_waited_too_long(void **st)
{
    (void)st;
    struct rig *r = rig_new(&(struct engine_opts){.io_timeout_ms = 3000});
    struct engine_req *a = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct engine_req *b = rig_submit(r, ENGINE_READ, 0, S, 1);
    rig_wait(r, 1000);
    struct engine_req *c = rig_submit(r, ENGINE_WRITE, S, S, 1);
    rig_wait(r, 2100);
    rig_assert_done(r, a, -EIO);
    rig_assert_done(r, b, -EIO);
    assert_false(rig_done(r, c));
    rig_wait(r, 1000);
    rig_assert_done(r, c, -EIO);
    rig_free(r);
}

static void without_io_timeout_requests_wait_for_ever(void **st)
{
    (void)st;
    struct rig *r = rig_new(&(struct engine_opts){0});
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    rig_wait(r, 600000);
    assert_false(rig_done(r, w)); /* A4 */
    rig_cfg(r, 0, 1, 1, "2");
    rig_up(r, 2);
    rig_ack(r, rig_expect(r, KT_MSG_WRITE, 2), 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

static void a_cancelled_request_fails_and_frees_the_range(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *a = rig_submit(r, ENGINE_WRITE, 0, S, 1);
    struct engine_req *b = rig_submit(r, ENGINE_WRITE, 0, S, 2);
    struct rig_send *s = rig_take(r, KT_MSG_WRITE);
    rig_cancel(r, a);
    rig_assert_done(r, a, -EIO);
    struct rig_send *s2 = rig_take(r, KT_MSG_WRITE);
    rig_ack(r, s, 1); /* of the cancelled one */
    assert_false(rig_done(r, b));
    rig_ack(r, s2, 2);
    rig_assert_done(r, b, 0);
    rig_cancel(r, b);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_goes_to_the_head_and_completes_with_its_ack),
        cmocka_unit_test(a_write_is_cut_at_extents_and_at_one_mebibyte),
        cmocka_unit_test(a_request_over_two_segments_goes_to_two_chains),
        cmocka_unit_test(overlapping_operations_wait_for_each_other_in_order),
        cmocka_unit_test(reads_of_the_same_sector_share),
        cmocka_unit_test(an_unanswered_write_is_sent_again_with_the_same_wseq),
        cmocka_unit_test(a_new_epoch_sends_unacked_writes_to_the_new_head),
        cmocka_unit_test(
            an_ack_with_a_newer_cfg_is_adopted_before_it_completes),
        cmocka_unit_test(retryable_refusals_back_off_and_keep_the_wseq),
        cmocka_unit_test(an_old_epoch_refusal_brings_the_cfg),
        cmocka_unit_test(
            no_answer_for_two_seconds_sends_again_if_the_link_lives),
        cmocka_unit_test(a_silent_link_is_opened_anew_and_all_goes_again),
        cmocka_unit_test(a_stall_is_told_once_and_its_end_once),
        cmocka_unit_test(a_full_store_fails_the_write_and_retires_its_wseq),
        cmocka_unit_test(a_full_store_has_its_say_in_the_last_answer),
        cmocka_unit_test(a_full_store_waits_for_the_other_parts_in_flight),
        cmocka_unit_test(a_dup_refusal_is_an_acknowledgement),
        cmocka_unit_test(fenced_fails_all_and_for_ever),
        cmocka_unit_test(the_hub_can_fence_too),
        cmocka_unit_test(another_history_fences),
        cmocka_unit_test(configurations_that_are_not_ours_change_nothing),
        cmocka_unit_test(a_request_outside_the_volume_is_refused),
        cmocka_unit_test(io_timeout_fails_what_waited_too_long),
        cmocka_unit_test(a_cancelled_request_fails_and_frees_the_range),
        cmocka_unit_test(without_io_timeout_requests_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
