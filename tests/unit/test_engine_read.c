/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads, holes, unaligned requests, ZERO and TRIM. */
#include "tests/unit/engine_rig.h"

#include <errno.h>
#include <string.h>

#define S KT_SECTOR_BYTES
#define MIB (1u << 20)

static void all_bytes(const uint8_t *b, size_t from, size_t to, int value)
{
    for (size_t i = from; i < to; i++)
        assert_int_equal(b[i], value);
}

static void a_read_is_filled_and_absent_sectors_are_zeros(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, 3 * S, 0);
    struct rig_send *s = rig_take(r, KT_MSG_READ);
    struct kt_msg m = rig_reply(r, s, KT_MSG_DATA);
    uint8_t data[2 * S];
    memset(data, 1, S);
    memset(data + S, 3, S);
    uint64_t sums[3] = {kt_sum64(data, S), 0, kt_sum64(data + S, S)};
    struct kt_buf b = {1, 2 * S, 2 * S, 3, sums, data};
    m.u.data.len = 3 * S;
    m.buf = &b;
    rig_answer(r, s, &m, 0);
    rig_assert_done(r, q, 0);
    all_bytes(q->buf, 0, S, 1);
    all_bytes(q->buf, S, 2 * S, 0);
    all_bytes(q->buf, 2 * S, 3 * S, 3);
    rig_free(r);
}

static void an_answer_without_payload_is_all_zeros(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 100, 5000, 0);
    struct rig_send *s = rig_take(r, KT_MSG_READ);
    assert_int_equal(s->m.u.read.off, 0);
    assert_int_equal(s->m.u.read.len, 2 * S);
    struct kt_msg m = rig_reply(r, s, KT_MSG_DATA);
    m.u.data.len = 2 * S;
    rig_answer(r, s, &m, 0);
    rig_assert_done(r, q, 0);
    all_bytes(q->buf, 0, 5000, 0);
    rig_free(r);
}

static void an_unaligned_read_gets_just_its_bytes(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, S + 7, S, 0);
    q->buf[S] = 0x77; /* one past the end */
    rig_data(r, rig_take(r, KT_MSG_READ), 9);
    rig_assert_done(r, q, 0);
    all_bytes(q->buf, 0, S, 9);
    assert_int_equal(q->buf[S], 0x77);
    rig_free(r);
}

static void a_local_member_is_read_first(void **st)
{
    (void)st;
    struct rig *r = rig_new(&(struct engine_opts){0});
    r->cfg[0] = rig_make_cfg(r, 0, 1, 1, "123");
    r->cfg[0].members[2].node.boot = r->o.boot;
    struct engine_event ev = {
        .type = ENGINE_EV_CFG, .now_ms = r->now, .cfg = &r->cfg[0]};
    engine_step(r->e, &ev, &r->out);
    for (uint32_t i = 0; i < r->out.n; i++) {
        if (r->out.act[i].type != ENGINE_ACT_CONNECT)
            continue;
        uint32_t node = r->out.act[i].node->id.b[0];
        r->slot_of[node] = r->out.act[i].slot;
        r->node_of[r->out.act[i].slot] = node;
    }
    for (uint32_t n = 1; n <= 3; n++)
        rig_up(r, n);
    for (int i = 0; i < 4; i++) {
        rig_submit(r, ENGINE_READ, 0, S, 0);
        rig_expect(r, KT_MSG_READ, 3);
    }
    rig_free(r);
}

static void far_members_share_the_reads(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    uint32_t n[RIG_NODES] = {0};
    for (int i = 0; i < 9; i++) {
        rig_submit(r, ENGINE_READ, 0, S, 0);
        n[rig_take(r, KT_MSG_READ)->node]++;
    }
    assert_int_equal(n[1], 3);
    assert_int_equal(n[2], 3);
    assert_int_equal(n[3], 3);
    rig_free(r);
}

static void a_bad_sum_sends_the_read_to_another_member(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    struct rig_send *s1 = rig_take(r, KT_MSG_READ);
    rig_nak(r, s1, KT_E_BADSUM);
    struct rig_send *s2 = rig_take(r, KT_MSG_READ);
    assert_int_not_equal(s2->node, s1->node);
    rig_nak(r, s2, KT_E_CORRUPT);
    struct rig_send *s3 = rig_take(r, KT_MSG_READ);
    assert_int_not_equal(s3->node, s1->node);
    assert_int_not_equal(s3->node, s2->node);
    rig_data(r, s3, 5);
    rig_assert_done(r, q, 0);
    all_bytes(q->buf, 0, S, 5);
    rig_free(r);
}

static void damage_on_every_member_is_an_error_never_wrong_bytes(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    for (int round = 0; round < 5; round++) {
        assert_false(rig_done(r, q));
        rig_wait(r, 200);
        for (int i = 0; i < 3; i++)
            rig_nak(r, rig_take(r, KT_MSG_READ), KT_E_BADSUM);
    }
    rig_assert_done(r, q, -EIO);
    rig_free(r);
}

/* A disk that is wrong for a moment on each member. */
static void damage_on_every_member_once_is_no_error(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    for (int i = 0; i < 3; i++)
        rig_nak(r, rig_take(r, KT_MSG_READ), KT_E_BADSUM);
    rig_wait(r, 200);
    rig_data(r, rig_take(r, KT_MSG_READ), 5);
    rig_assert_done(r, q, 0);
    all_bytes(q->buf, 0, S, 5);
    rig_free(r);
}

/* Each member has lost another sector. */
static void sectors_damaged_in_different_places_are_put_together(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, 3 * S, 0);
    for (int i = 0; i < 3; i++)
        rig_nak(r, rig_take(r, KT_MSG_READ), KT_E_BADSUM);
    rig_wait(r, 200);
    for (int i = 0; i < 3; i++) {
        struct rig_send *s = rig_take(r, KT_MSG_READ);
        if (i == 1) {
            rig_nak(r, s, KT_E_BADSUM);
            s = rig_take(r, KT_MSG_READ);
        }
        assert_int_equal(s->m.u.read.off, i * S);
        assert_int_equal(s->m.u.read.len, S);
        assert_false(rig_done(r, q));
        rig_data(r, s, 5 + i);
    }
    rig_assert_done(r, q, 0);
    for (int i = 0; i < 3; i++)
        all_bytes(q->buf, i * S, S, 5 + i);
    rig_free(r);
}

/* The one that is missing may be the one that is whole (A4). */
static void damage_waits_for_a_missing_member(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_cfg(r, 0, 2, 1, "1");
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    for (int i = 0; i < 20; i++) {
        rig_nak(r, rig_expect(r, KT_MSG_READ, 1), KT_E_BADSUM);
        rig_wait(r, 200);
        assert_false(rig_done(r, q));
    }
    rig_cfg(r, 0, 3, 1, "12");
    rig_up(r, 2);
    struct rig_send *s = rig_take(r, KT_MSG_READ);
    while (s->node != 2) {
        rig_nak(r, s, KT_E_BADSUM);
        rig_wait(r, 200);
        s = rig_take(r, KT_MSG_READ);
    }
    rig_data(r, s, 5);
    rig_assert_done(r, q, 0);
    rig_free(r);
}

static void damage_on_the_way_is_tried_again(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    struct rig_send *s = rig_take(r, KT_MSG_READ);
    struct kt_msg m = rig_reply(r, s, KT_MSG_DATA);
    rig_answer(r, s, &m, KT_E_BADSUM);
    s = rig_take(r, KT_MSG_READ);
    assert_non_null(s);
    assert_false(rig_done(r, q));
    rig_data(r, s, 4);
    rig_assert_done(r, q, 0);
    rig_free(r);
}

static void a_member_that_is_behind_is_counted_and_left(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    struct rig_send *s1 = rig_take(r, KT_MSG_READ);
    rig_nak(r, s1, KT_E_BEHIND);
    struct rig_send *s2 = rig_take(r, KT_MSG_READ);
    assert_int_not_equal(s1->node, s2->node);
    rig_data(r, s2, 1);
    rig_assert_done(r, q, 0);
    struct engine_info i;
    engine_info(r->e, &i);
    assert_int_equal(i.behind, 1);
    rig_free(r);
}

static void a_faulty_chain_stalls_the_read_and_gives_no_error(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    for (int i = 0; i < 30; i++) {
        struct rig_send *s;
        while ((s = rig_take(r, KT_MSG_READ)))
            rig_nak(r, s, KT_E_FAULTY);
        rig_wait(r, 100);
    }
    assert_false(rig_done(r, q)); /* A4 */
    rig_forget(r);
    rig_cfg(r, 0, 2, 1, "3");
    rig_data(r, rig_expect(r, KT_MSG_READ, 3), 1);
    rig_assert_done(r, q, 0);
    rig_free(r);
}

static void a_read_not_answered_in_a_second_goes_elsewhere(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    struct rig_send *s1 = rig_take(r, KT_MSG_READ);
    rig_wait(r, 1000);
    struct rig_send *s2 = rig_take(r, KT_MSG_READ);
    assert_non_null(s2);
    assert_int_not_equal(s1->node, s2->node);
    rig_data(r, s1, 1); /* too late: not taken */
    assert_false(rig_done(r, q));
    rig_data(r, s2, 2);
    rig_assert_done(r, q, 0);
    all_bytes(q->buf, 0, S, 2);
    /* And the slow one is not asked again for a while. */
    for (int i = 0; i < 4; i++) {
        rig_submit(r, ENGINE_READ, 0, S, 0);
        assert_int_not_equal(rig_take(r, KT_MSG_READ)->node, s1->node);
    }
    rig_free(r);
}

static void a_lost_link_sends_its_reads_elsewhere(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit(r, ENGINE_READ, 0, S, 0);
    struct rig_send *s1 = rig_take(r, KT_MSG_READ);
    rig_down(r, s1->node);
    struct rig_send *s2 = rig_take(r, KT_MSG_READ);
    assert_non_null(s2);
    assert_int_not_equal(s1->node, s2->node);
    rig_free(r);
}

static void a_new_epoch_asks_again_and_ignores_the_old_answer(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_READ, 0, S, 0);
    struct rig_send *s1 = rig_take(r, KT_MSG_READ);
    rig_cfg(r, 0, 2, 1, "123");
    struct rig_send *s2 = rig_take(r, KT_MSG_READ);
    assert_int_equal(s2->m.epoch, 2);
    rig_data(r, s1, 1);
    assert_false(rig_done(r, q));
    rig_data(r, s2, 2);
    rig_assert_done(r, q, 0);
    rig_free(r);
}

static void a_write_within_a_sector_reads_it_first_under_the_lock(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *a = rig_submit(r, ENGINE_WRITE, 10, 20, 0xa1);
    struct engine_req *b = rig_submit(r, ENGINE_WRITE, 100, 20, 0xb2);
    struct rig_send *s = rig_take(r, KT_MSG_READ);
    assert_int_equal(rig_count(r, KT_MSG_READ), 0); /* b waits for a */
    rig_data(r, s, 0x55);
    s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->data_len, S);
    all_bytes(s->data, 0, 10, 0x55);
    all_bytes(s->data, 10, 30, 0xa1);
    all_bytes(s->data, 30, S, 0x55);
    rig_ack(r, s, 1);
    rig_assert_done(r, a, 0);
    s = rig_take(r, KT_MSG_READ);
    assert_int_equal(s->m.u.read.min_seq, 1);
    rig_data(r, s, -1);
    s = rig_expect(r, KT_MSG_WRITE, 1);
    all_bytes(s->data, 0, 100, 0);
    all_bytes(s->data, 100, 120, 0xb2);
    rig_ack(r, s, 2);
    rig_assert_done(r, b, 0);
    rig_free(r);
}

static void both_ends_of_an_unaligned_write_are_mended(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_WRITE, S - 1, 2 * S + 2, 7);
    struct rig_send *h = rig_take(r, KT_MSG_READ);
    struct rig_send *t = rig_take(r, KT_MSG_READ);
    assert_int_equal(h->m.u.read.off, 0);
    assert_int_equal(t->m.u.read.off, 3 * S);
    rig_data(r, t, 2);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 0);
    rig_data(r, h, 1);
    h = rig_expect(r, KT_MSG_WRITE, 1);
    struct rig_send *m = rig_expect(r, KT_MSG_WRITE, 1);
    t = rig_expect(r, KT_MSG_WRITE, 1);
    all_bytes(h->data, 0, S - 1, 1);
    assert_int_equal(h->data[S - 1], 7);
    assert_int_equal(m->m.u.write.off, S);
    all_bytes(m->data, 0, 2 * S, 7);
    assert_int_equal(t->m.u.write.off, 3 * S);
    assert_int_equal(t->data[0], 7);
    all_bytes(t->data, 1, S, 2);
    rig_ack(r, h, 1);
    rig_ack(r, m, 2);
    rig_ack(r, t, 3);
    rig_assert_done(r, q, 0);
    rig_free(r);
}

static void an_unaligned_zero_clears_its_ends_by_writing(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_ZERO, 1, 2 * S - 1, 0);
    rig_data(r, rig_take(r, KT_MSG_READ), 8);
    struct rig_send *h = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(h->m.u.write.op, KT_OP_WRITE);
    assert_int_equal(h->data[0], 8);
    all_bytes(h->data, 1, S, 0);
    struct rig_send *z = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(z->m.u.write.op, KT_OP_ZERO);
    assert_int_equal(z->m.u.write.off, S);
    assert_int_equal(z->m.u.write.len, S);
    rig_ack(r, h, 1);
    rig_ack(r, z, 2);
    rig_assert_done(r, q, 0);
    rig_free(r);
}

static void flags_travel_with_every_part(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit_flags(r, ENGINE_ZERO, 0, 2 * KT_EXTENT_BYTES, 0,
                     ENGINE_F_FUA | ENGINE_F_NO_HOLE);
    for (int i = 0; i < 2; i++) {
        struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
        assert_int_equal(s->m.u.write.flags, KT_RF_FUA | KT_RF_NO_HOLE);
        assert_int_equal(s->m.u.write.len, KT_EXTENT_BYTES);
    }
    rig_submit(r, ENGINE_TRIM, 3 * KT_EXTENT_BYTES, S, 0);
    struct rig_send *s = rig_expect(r, KT_MSG_WRITE, 1);
    assert_int_equal(s->m.u.write.op, KT_OP_TRIM);
    assert_int_equal(s->m.u.write.flags, 0);
    rig_free(r);
}

static void put32(uint8_t *b, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        b[i] = (uint8_t)(v >> (8 * i));
}

static void stat_gives_runs_clipped_to_the_request(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    struct engine_req *q = rig_submit(r, ENGINE_STAT, S, 10 * S, 0);
    struct rig_send *s = rig_take(r, KT_MSG_STAT);
    assert_int_equal(s->m.u.stat.off, S);
    assert_int_equal(s->m.u.stat.sectors, 10);
    uint8_t rows[12];
    put32(rows, 4 << 2 | 1);
    put32(rows + 4, 2 << 2 | 0);
    put32(rows + 8, 100 << 2 | 2);
    struct kt_buf b = {1, sizeof(rows), sizeof(rows), 0, NULL, rows};
    struct kt_msg m = rig_reply(r, s, KT_MSG_STAT_OK);
    m.u.stat_ok.rows = 3;
    m.buf = &b;
    rig_answer(r, s, &m, 0);
    rig_assert_done(r, q, 0);
    assert_int_equal(q->n_rows, 3);
    assert_int_equal(q->rows[0], 4 << 2 | 1);
    assert_int_equal(q->rows[1], 2 << 2);
    assert_int_equal(q->rows[2], 4 << 2 | 2);
    rig_free(r);
}

static void stat_stops_at_the_segment_and_fails_over(void **st)
{
    (void)st;
    struct rig *r = rig_new(
        &(struct engine_opts){.size = 16u << 20, .segment_bytes = 8u << 20});
    rig_cfg(r, 0, 1, 1, "12");
    rig_cfg(r, 1, 1, 1, "12");
    rig_up(r, 1);
    rig_up(r, 2);
    struct engine_req *q = rig_submit(r, ENGINE_STAT, 0, 16u << 20, 0);
    struct rig_send *s = rig_take(r, KT_MSG_STAT);
    assert_int_equal(s->m.u.stat.sectors, (8u << 20) / S);
    rig_nak(r, s, KT_E_FAULTY);
    s = rig_take(r, KT_MSG_STAT);
    uint8_t row[4];
    put32(row, (8u << 20) / S << 2);
    struct kt_buf b = {1, 4, 4, 0, NULL, row};
    struct kt_msg m = rig_reply(r, s, KT_MSG_STAT_OK);
    m.u.stat_ok.rows = 1;
    m.buf = &b;
    rig_answer(r, s, &m, 0);
    rig_assert_done(r, q, 0);
    assert_int_equal(q->n_rows, 1);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_is_filled_and_absent_sectors_are_zeros),
        cmocka_unit_test(an_answer_without_payload_is_all_zeros),
        cmocka_unit_test(an_unaligned_read_gets_just_its_bytes),
        cmocka_unit_test(a_local_member_is_read_first),
        cmocka_unit_test(far_members_share_the_reads),
        cmocka_unit_test(a_bad_sum_sends_the_read_to_another_member),
        cmocka_unit_test(damage_on_every_member_is_an_error_never_wrong_bytes),
        cmocka_unit_test(damage_on_every_member_once_is_no_error),
        cmocka_unit_test(damage_waits_for_a_missing_member),
        cmocka_unit_test(sectors_damaged_in_different_places_are_put_together),
        cmocka_unit_test(damage_on_the_way_is_tried_again),
        cmocka_unit_test(a_member_that_is_behind_is_counted_and_left),
        cmocka_unit_test(a_faulty_chain_stalls_the_read_and_gives_no_error),
        cmocka_unit_test(a_read_not_answered_in_a_second_goes_elsewhere),
        cmocka_unit_test(a_lost_link_sends_its_reads_elsewhere),
        cmocka_unit_test(a_new_epoch_asks_again_and_ignores_the_old_answer),
        cmocka_unit_test(a_write_within_a_sector_reads_it_first_under_the_lock),
        cmocka_unit_test(both_ends_of_an_unaligned_write_are_mended),
        cmocka_unit_test(an_unaligned_zero_clears_its_ends_by_writing),
        cmocka_unit_test(flags_travel_with_every_part),
        cmocka_unit_test(stat_gives_runs_clipped_to_the_request),
        cmocka_unit_test(stat_stops_at_the_segment_and_fails_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
