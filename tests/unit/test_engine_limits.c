/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows and bounds: what is in flight, what is kept, what is queued. */
#include "tests/unit/engine_rig.h"

#include <errno.h>
#include <string.h>

#define S KT_SECTOR_BYTES
#define MIB (1ull << 20)

static struct engine_info info(struct rig *r)
{
    struct engine_info i;
    engine_info(r->e, &i);
    return i;
}

static void four_gibibytes_of_zeros_pass_through_the_window(void **st)
{
    (void)st;
    struct rig *r = rig_new(
        &(struct engine_opts){.size = 8ull << 30, .segment_bytes = 8ull << 30});
    rig_cfg(r, 0, 1, 1, "1");
    rig_up(r, 1);
    uint64_t len = (4ull << 30) - S, seen = 0, seq = 0;
    struct engine_req *z = rig_submit(r, ENGINE_ZERO, 0, len, 0);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), ENGINE_CHAIN_WRITES);
    struct rig_send *s;
    while ((s = rig_take(r, KT_MSG_WRITE))) {
        assert_true(s->m.u.write.wseq <=
                    s->m.u.write.wstable + KT_WSEQ_WINDOW / 2);
        assert_int_equal(s->m.u.write.extent, seen / KT_EXTENT_BYTES);
        seen += s->m.u.write.len;
        rig_ack(r, s, ++seq);
        assert_true(info(r).parts <= ENGINE_CHAIN_WRITES);
    }
    assert_int_equal(seen, len);
    assert_int_equal(seq, 1024);
    rig_assert_done(r, z, 0);
    rig_free(r);
}

static void a_slow_first_write_holds_back_the_window_of_wseqs(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    for (uint32_t i = 0; i < 600; i++)
        rig_submit(r, ENGINE_WRITE, (uint64_t)i * S, S, 1);
    struct rig_send *first = rig_take(r, KT_MSG_WRITE);
    uint64_t seq = 0;
    rig_ack_all(r, &seq);
    assert_int_equal(seq, KT_WSEQ_WINDOW / 2 - 1);
    /* Its resend goes before the fresh ones that wait for it. */
    rig_nak(r, first, KT_E_BUSY);
    rig_wait(r, 100);
    struct rig_send *again = rig_take(r, KT_MSG_WRITE);
    assert_int_equal(again->m.u.write.wseq, 1);
    rig_ack(r, again, ++seq);
    rig_ack_all(r, &seq);
    assert_int_equal(seq, 600);
    assert_int_equal(r->completed, 600);
    rig_free(r);
}

static void at_most_64_mebibytes_are_in_flight(void **st)
{
    (void)st;
    struct rig *r = rig_new(&(struct engine_opts){.size = 1ull << 30,
                                                  .segment_bytes = 1ull << 30,
                                                  .retain_bytes = 256 * MIB});
    rig_cfg(r, 0, 1, 1, "1");
    rig_up(r, 1);
    for (uint64_t i = 0; i < 5; i++)
        rig_submit(r, ENGINE_WRITE, i * 32 * MIB, 32 * MIB, 1);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 64);
    uint64_t seq = 0;
    rig_ack_all(r, &seq);
    assert_int_equal(seq, 160);
    assert_int_equal(r->completed, 5);
    rig_free(r);
}

static void above_half_of_its_room_the_engine_flushes_by_itself(void **st)
{
    (void)st;
    struct rig *r = rig_new(&(struct engine_opts){.retain_bytes = 8 * MIB});
    rig_cfg(r, 0, 1, 1, "1");
    rig_up(r, 1);
    uint64_t seq = 0;
    rig_submit(r, ENGINE_WRITE, 0, 4 * MIB, 1);
    rig_ack_all(r, &seq);
    assert_int_equal(info(r).retained_bytes, 4 * MIB);
    assert_int_equal(rig_count(r, KT_MSG_FLUSH), 0);
    rig_submit(r, ENGINE_WRITE, 4 * MIB, MIB, 1);
    rig_ack_all(r, &seq);
    struct rig_send *s = rig_expect(r, KT_MSG_FLUSH, 1);
    assert_int_equal(s->m.u.flush.upto, 5);
    rig_flush_ok(r, s);
    assert_int_equal(info(r).retained_bytes, 0);
    assert_int_equal(info(r).self_flushes, 1);
    rig_free(r);
}

static void
with_no_room_for_copies_new_writes_wait_and_resends_do_not(void **st)
{
    (void)st;
    struct rig *r = rig_new(&(struct engine_opts){.retain_bytes = 4 * MIB});
    rig_cfg(r, 0, 1, 1, "1");
    rig_up(r, 1);
    for (uint64_t i = 0; i < 6; i++)
        rig_submit(r, ENGINE_WRITE, i * MIB, MIB, 1);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 4);
    rig_down(r, 1);
    rig_forget(r);
    rig_up(r, 1);
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 4);
    uint64_t seq = 0;
    rig_ack_all(r, &seq);
    assert_int_equal(seq, 4);
    assert_int_equal(r->completed, 4);
    assert_int_equal(info(r).retained_bytes, 4 * MIB);
    /* All forget: the replay needs no room. */
    rig_forget(r);
    rig_cfg(r, 0, 2, 2, "1");
    assert_int_equal(rig_count(r, KT_MSG_WRITE), 4);
    seq = 0;
    while (seq < 4)
        rig_ack_all(r, &seq);
    struct rig_send *s = rig_take(r, KT_MSG_FLUSH);
    assert_non_null(s);
    rig_flush_ok(r, s);
    rig_ack_all(r, &seq);
    assert_int_equal(seq, 6);
    assert_int_equal(r->completed, 6);
    rig_free(r);
}

static void a_thousand_requests_for_one_sector_go_one_by_one(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    for (int i = 0; i < 1000; i++)
        rig_submit(r, ENGINE_WRITE, 0, S, i);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(rig_count(r, KT_MSG_WRITE), 1);
        struct rig_send *s = rig_take(r, KT_MSG_WRITE);
        assert_int_equal(s->data[0], (uint8_t)i);
        rig_ack(r, s, i + 1);
    }
    assert_int_equal(r->completed, 1000);
    rig_free(r);
}

static void many_unaligned_requests_share_the_few_pages(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    for (uint64_t i = 0; i < 200; i++)
        rig_submit(r, ENGINE_WRITE, i * S + 9, 100, 1);
    assert_int_equal(rig_count(r, KT_MSG_READ), 32);
    uint64_t seq = 0;
    for (struct rig_send *s; (s = rig_take(r, KT_MSG_READ));) {
        rig_data(r, s, 2);
        rig_ack_all(r, &seq);
    }
    assert_int_equal(r->completed, 200);
    rig_free(r);
}

static void a_stalled_chain_holds_up_no_other(void **st)
{
    (void)st;
    struct rig *r = rig_new(
        &(struct engine_opts){.size = 16u << 20, .segment_bytes = 8u << 20});
    rig_cfg(r, 0, 1, 1, "1");
    rig_cfg(r, 1, 1, 1, "2");
    rig_up(r, 2);
    for (uint64_t i = 0; i < 700; i++)
        rig_submit(r, ENGINE_WRITE, i * S, S, 1);
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, 8 * MIB, S, 1);
    rig_ack(r, rig_expect(r, KT_MSG_WRITE, 2), 1);
    rig_assert_done(r, w, 0);
    rig_free(r);
}

/* The same requests against a random but deterministic world: lost links, new
 * epochs, new vgens, refusals. In the end everything completed, once. */
static void storm(uint32_t seed)
{
    struct rig *r = rig_ready();
    uint64_t seq = 0, epoch = 1, vgen = 1, x = seed * 2654435761u + 1;
    static const char *const sets[] = {"123", "231", "12", "3", "32"};
    static const int naks[] = {KT_E_BUSY,      KT_E_SEALED,   KT_E_BADSUM,
                               KT_E_OLD_EPOCH, KT_E_NOT_HEAD, KT_E_DUP};
    for (int i = 0; i < 1200; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t v = (uint32_t)(x >> 33);
        if (i < 700 && v % 3) {
            static const uint8_t ops[] = {ENGINE_READ,  ENGINE_WRITE,
                                          ENGINE_WRITE, ENGINE_ZERO,
                                          ENGINE_TRIM,  ENGINE_FLUSH};
            rig_submit_flags(r, ops[v / 3 % 6], v / 18 % (40 * S),
                             1 + v / 7 % (3 * S), (int)(v % 251), v / 5 % 2);
        }
        if (v % 37 == 0)
            rig_cfg(r, 0, ++epoch, vgen += v % 5 == 0, sets[v / 37 % 5]);
        for (uint32_t n = 1; n <= 3; n++)
            if (r->slot_of[n] != UINT32_MAX && (v >> n) % 5 == 0)
                rig_up(r, n); /* anew: all before it is lost */
        for (struct rig_send *s = r->sends; s < r->sends + r->n_sends; s++) {
            if (s->taken)
                continue;
            s->taken = true;
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            uint32_t w = (uint32_t)(x >> 33);
            if (i < 1000 && w % 16 == 0)
                continue; /* lost */
            if (i < 1000 && w % 16 == 1)
                rig_nak(r, s,
                        naks[w / 16 % (s->m.type == KT_MSG_WRITE ? 6 : 2)]);
            else if (s->m.epoch == epoch && s->m.type == KT_MSG_WRITE)
                rig_ack(r, s, ++seq);
            else if (s->m.type == KT_MSG_READ)
                rig_data(r, s, (int)(w % 251) - 1);
            else if (s->m.type == KT_MSG_FLUSH)
                rig_flush_ok(r, s);
        }
        rig_wait(r, 100);
    }
    rig_cfg(r, 0, ++epoch, vgen, "1");
    rig_up(r, 1);
    for (int i = 0; i < 100; i++) {
        for (struct rig_send *s = r->sends; s < r->sends + r->n_sends; s++) {
            if (s->taken)
                continue;
            s->taken = true;
            if (s->m.type == KT_MSG_WRITE)
                rig_ack(r, s, ++seq);
            else if (s->m.type == KT_MSG_READ)
                rig_data(r, s, 1);
            else if (s->m.type == KT_MSG_FLUSH)
                rig_flush_ok(r, s);
        }
        rig_wait(r, 100);
    }
    assert_int_equal(r->completed, r->n_reqs);
    assert_int_equal(info(r).requests, 0);
    assert_int_equal(info(r).parts, 0);
    assert_int_equal(r->fenced, 0);
    for (uint32_t i = 0; i < r->n_reqs; i++)
        assert_int_equal(r->reqs[i].err, 0);
    rig_free(r);
}

static void nothing_is_lost_in_a_storm(void **st)
{
    (void)st;
    for (uint32_t seed = 1; seed <= 10; seed++)
        storm(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_gibibytes_of_zeros_pass_through_the_window),
        cmocka_unit_test(a_slow_first_write_holds_back_the_window_of_wseqs),
        cmocka_unit_test(at_most_64_mebibytes_are_in_flight),
        cmocka_unit_test(above_half_of_its_room_the_engine_flushes_by_itself),
        cmocka_unit_test(
            with_no_room_for_copies_new_writes_wait_and_resends_do_not),
        cmocka_unit_test(a_thousand_requests_for_one_sector_go_one_by_one),
        cmocka_unit_test(many_unaligned_requests_share_the_few_pages),
        cmocka_unit_test(a_stalled_chain_holds_up_no_other),
        cmocka_unit_test(nothing_is_lost_in_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
