/* SPDX-License-Identifier: BSD-3-Clause */
/* What is true of every store, on disk or in memory. */
#include <errno.h>
#include <string.h>

#include "lib/base/err.h"
#include "tests/unit/store_model.h"

static void a_new_store_is_empty(void **state)
{
    struct rig g;
    struct store_info i;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    store_info(g.s, &i);
    assert_int_equal(i.incarnation, 1);
    assert_int_equal(i.cont_base, 1);
    assert_int_equal(i.err, 0);
    assert_int_equal(i.used, 0);
    assert_int_equal(i.size, 8 * KT_EXTENT_BYTES);
    assert_false(kt_id_is_zero(&i.uuid));
    assert_false(kt_id_is_zero(&i.node));
    assert_null(store_chain_next(g.s, 0));
    rig_free(&g);
}

static void what_is_written_is_read_back_also_after_reopening(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    struct store_chain *c = make_chain(&g, &m, 7);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(do_write(&g, &m, i % 4, i * 13 % 1024), 0);
    check_chain(&g, &m);
    store_acked(g.s, c, m.at.seq);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void random_records_give_what_the_model_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct rig g;
        struct model m;
        uint64_t rng = seed;
        rig_init(&g, 32);
        rig_open(&g);
        struct store_chain *c = make_chain(&g, &m, 3);
        for (uint32_t i = 0; i < 300; i++) {
            struct kt_record r = model_random(&m, &rng);
            assert_int_equal(do_op(&g, &m, r, i + 1), 0);
            if (model_rand(&rng, 10) == 0)
                store_acked(g.s, c, m.at.seq - model_rand(&rng, 3));
            if (model_rand(&rng, 60) == 0) {
                rig_close(&g);
                rig_open(&g);
                c = store_chain_find(g.s, 3);
                check_chain(&g, &m);
            }
        }
        check_chain(&g, &m);
        rig_free(&g);
    }
}

static struct kt_cfg some_cfg(uint64_t chain, uint64_t epoch)
{
    struct kt_cfg c = {.chain = chain,
                       .n_extents = MODEL_EXTENTS,
                       .epoch = epoch,
                       .phase = KT_PHASE_ACTIVE,
                       .vgen = 1,
                       .want_r = 1,
                       .min_write = 1,
                       .n_members = 1,
                       .last_epoch = epoch,
                       .n_last = 1};
    c.volume.b[0] = c.history.b[0] = 1;
    c.members[0] = (struct kt_member){.incarnation = 1,
                                      .state = KT_M_SERVING,
                                      .store.b[0] = 9,
                                      .node.id.b[0] = 9,
                                      .node.name = "n1"};
    c.last[0] = (struct kt_last){.store.b[0] = 9, .incarnation = 1};
    return c;
}

static void what_is_promised_survives(void **state)
{
    struct rig g;
    struct model m;
    struct store_chain_info i;
    struct kt_cfg cfg = some_cfg(5, 3);
    (void)state;
    assert_null(kt_cfg_invalid(&cfg));
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 5);
    assert_int_equal(do_save(&g, 5, 3, &cfg), 0);
    assert_int_equal(do_save(&g, 5, 4, NULL), 0);
    store_chain_info(store_chain_find(g.s, 5), &i);
    assert_true(kt_id_is_zero(&i.whole));
    struct kt_id whole = {{7}};
    assert_int_equal(do_save_whole(&g, 5, 4, &whole), 0);
    rig_close(&g);
    rig_open(&g);
    store_chain_info(store_chain_find(g.s, 5), &i);
    assert_int_equal(i.promised, 4);
    assert_true(kt_id_eq(&i.whole, &whole));
    assert_true(i.have_cfg);
    assert_int_equal(i.cfg.epoch, 3);
    assert_int_equal(i.n_extents, MODEL_EXTENTS);
    assert_int_equal(i.applied.seq, 0);
    assert_int_equal(do_save(&g, 5, 9, NULL), 0);
    store_chain_info(store_chain_find(g.s, 5), &i);
    assert_int_equal(i.promised, 9);
    assert_int_equal(i.cfg.epoch, 3);
    assert_true(kt_id_is_zero(&i.whole));
    rig_free(&g);
}

static void continuity_ends_with_the_boot_but_not_after_a_clean_close(void **s)
{
    struct rig g;
    struct store_info i;
    (void)s;
    rig_init(&g, 8);
    rig_open(&g);
    rig_close(&g);
    rig_open(&g);
    store_info(g.s, &i);
    assert_int_equal(i.incarnation, 2);
    assert_int_equal(i.cont_base, 1);
    rig_close(&g);
    g.boot.b[0]++;
    rig_open(&g);
    store_info(g.s, &i);
    assert_int_equal(i.incarnation, 3);
    assert_int_equal(i.cont_base, 1);
    rig_free(&g);
}

static void a_gap_and_a_malformed_record_change_nothing(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 0), 0);
    struct model before = m;
    struct kt_record r = model_record(&m, KT_OP_ZERO);
    r.id.seq++;
    assert_int_equal(do_append(&g, &r, NULL), KT_E_GAP);
    r = model_record(&m, KT_OP_ZERO);
    r.prev.epoch++;
    assert_int_equal(do_append(&g, &r, NULL), KT_E_GAP);
    r = model_record(&m, KT_OP_ZERO);
    r.extent = MODEL_EXTENTS;
    assert_int_equal(do_append(&g, &r, NULL), KT_E_INVALID);
    r = model_record(&m, KT_OP_WRITE);
    assert_int_equal(do_append(&g, &r, NULL), KT_E_INVALID);
    check_chain(&g, &before);
    rig_free(&g);
}

static void a_full_store_refuses_new_extents_only(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 4);
    rig_open(&g);
    struct store_chain *c = make_chain(&g, &m, 1);
    for (uint32_t e = 0; e < 4; e++)
        assert_int_equal(do_write(&g, &m, e, 1), 0);
    assert_int_equal(do_write(&g, &m, 4, 1), -ENOSPC);
    assert_int_equal(store_grant(g.s, c, 1), 0);
    assert_true(store_is_full(g.s));
    assert_int_equal(do_write(&g, &m, 0, 2), 0);
    struct kt_record r = model_record(&m, KT_OP_TRIM);
    r.len = KT_EXTENT_BYTES;
    assert_int_equal(do_op(&g, &m, r, 0), 0);
    check_chain(&g, &m);
    store_acked(g.s, c, m.at.seq);
    store_grant(g.s, c, 1);
    assert_false(store_is_full(g.s)); /* one is on its way back */
    /* Once the slot is free it is given out again, as often as one likes. */
    while (store_grant(g.s, c, 1) == 0)
        rig_step(&g);
    assert_int_equal(do_write(&g, &m, 5, 9), 0);
    check_chain(&g, &m);
    rig_free(&g);
}

static void what_is_set_aside_is_not_given_to_others(void **state)
{
    struct rig g;
    struct model a, b;
    struct store_info i;
    (void)state;
    rig_init(&g, 4);
    rig_open(&g);
    struct store_chain *ca = make_chain(&g, &a, 1);
    struct store_chain *cb = make_chain(&g, &b, 2);
    uint32_t n = store_grant(g.s, ca, 4);
    assert_int_equal(n, 2); /* two chains share four slots */
    assert_int_equal(store_grant(g.s, cb, 4), 2);
    store_info(g.s, &i);
    assert_int_equal(i.used, 4 * KT_EXTENT_BYTES);
    assert_int_equal(do_write(&g, &a, 0, 0), 0);
    assert_int_equal(do_write(&g, &a, 1, 0), 0);
    assert_int_equal(do_write(&g, &a, 2, 0), -ENOSPC);
    store_ungrant(g.s, cb);
    assert_int_equal(do_write(&g, &a, 2, 0), 0);
    assert_int_equal(do_write(&g, &b, 0, 0), 0);
    check_chain(&g, &a);
    check_chain(&g, &b);
    rig_free(&g);
}

static void a_dropped_chain_is_gone_and_its_slots_are_free(void **state)
{
    struct rig g;
    struct model a, b;
    struct store_info i;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &a, 1);
    make_chain(&g, &b, 2);
    for (uint32_t e = 0; e < 3; e++) {
        assert_int_equal(do_write(&g, &a, e, e), 0);
        assert_int_equal(do_write(&g, &b, e, e + 1), 0);
    }
    assert_int_equal(do_save(&g, 1, 8, NULL), 0);
    assert_int_equal(do_drop(&g, 1), 0);
    assert_null(store_chain_find(g.s, 1));
    store_info(g.s, &i);
    assert_int_equal(i.used, 3 * KT_EXTENT_BYTES);
    rig_close(&g);
    rig_open(&g);
    assert_null(store_chain_find(g.s, 1));
    check_chain(&g, &b);
    /* The same number again is another chain. */
    make_chain(&g, &a, 1);
    assert_int_equal(do_write(&g, &a, 0, 77), 0);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &a);
    check_chain(&g, &b);
    rig_free(&g);
}

static int read_log(struct rig *g, uint64_t after, uint32_t max,
                    struct store_log_read *r)
{
    memset(r, 0, sizeof(*r));
    r->op.done = rig_done;
    r->chain = store_chain_find(g->s, 1);
    r->after = after;
    r->max_records = max;
    store_log_read(g->s, r);
    return rig_wait(g, &r->op);
}

static void records_come_back_from_the_log(void **state)
{
    struct rig g;
    struct model m;
    static struct store_log_read r;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    struct store_chain *c = make_chain(&g, &m, 1);
    for (uint32_t i = 0; i < 30; i++)
        assert_int_equal(do_write(&g, &m, i % 3, i), 0);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(read_log(&g, 10, 7, &r), 0);
        assert_int_equal(r.ret_n, 7);
        for (uint32_t i = 0; i < r.ret_n; i++) {
            assert_int_equal(r.recs[i].id.seq, 11 + i);
            assert_int_equal(r.recs[i].extent, (10 + i) % 3);
            assert_non_null(r.bufs[i]);
            assert_true(kt_buf_check(r.bufs[i]));
            assert_int_equal(r.bufs[i]->data_len, KT_SECTOR_BYTES);
            kt_buf_unref(r.bufs[i]);
        }
        assert_int_equal(read_log(&g, 30, 7, &r), 0);
        assert_int_equal(r.ret_n, 0);
        store_acked(g.s, c, 30);
        rig_close(&g);
        rig_open(&g);
        c = store_chain_find(g.s, 1);
    }
    rig_free(&g);
}

static void flushed_is_durable(void **state)
{
    struct rig g;
    struct model m;
    uint64_t durable = 0;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(do_write(&g, &m, 0, i), 0);
    assert_int_equal(do_sync(&g, 1, &durable), 0);
    assert_int_equal(durable, 5);
    struct kt_record r = model_record(&m, KT_OP_WRITE);
    r.flags = KT_RF_FUA;
    assert_int_equal(do_op(&g, &m, r, 9), 0);
    struct store_chain_info i;
    store_chain_info(store_chain_find(g.s, 1), &i);
    assert_int_equal(i.durable, 6);
    rig_free(&g);
}

/* ---- a syncing member ---- */

static struct kt_record local(const struct model *m, uint8_t op, uint32_t ext)
{
    struct kt_record r = model_record(m, op);
    r.id = m->at;
    r.extent = ext;
    r.len = op == KT_OP_BASE ? 4 * KT_SECTOR_BYTES : 0;
    return r;
}

static uint32_t state_of(struct rig *g, uint32_t extent, struct kt_rid *ret_id)
{
    static struct store_sums r;
    memset(&r, 0, sizeof(r));
    r.op.done = rig_done;
    r.chain = store_chain_find(g->s, 1);
    r.extent = extent;
    store_sums(g->s, &r);
    assert_int_equal(rig_wait(g, &r.op), 0);
    *ret_id = r.ret_id;
    return r.ret_state;
}

static void a_copied_extent_is_partial_until_its_end(void **state)
{
    struct rig g;
    struct model m;
    struct kt_rid id;
    int err;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 0), 0); /* seq 1: stale content */
    struct kt_record r = local(&m, KT_OP_COPY_START, 0);
    assert_int_equal(do_append(&g, &r, NULL), 0);
    assert_int_equal(state_of(&g, 0, &id),
                     KT_DIGEST_F_ALLOC | KT_DIGEST_F_PARTIAL);
    assert_int_equal(do_write(&g, &m, 0, 2), 0); /* seq 2, above the base */
    uint64_t kept = m.stamp[0][2];
    r = local(&m, KT_OP_BASE, 0);
    r.keep[0] = 1u << 2;
    struct kt_buf *b = model_payload(&r, 99);
    assert_int_equal(do_append(&g, &r, b), 0);
    kt_buf_unref(b);
    rig_close(&g);
    rig_open(&g);
    assert_true(state_of(&g, 0, &id) & KT_DIGEST_F_PARTIAL);
    r = local(&m, KT_OP_BASE_END, 0);
    r.prev = (struct kt_rid){1, 1};
    r.flags = KT_RF_ALLOC;
    assert_int_equal(do_append(&g, &r, NULL), 0);
    assert_int_equal(state_of(&g, 0, &id), KT_DIGEST_F_ALLOC);
    assert_int_equal(id.seq, 2);
    assert_int_equal(do_read(&g, 1, 0, 0, &err), 99 * 1024);
    assert_int_equal(do_read(&g, 1, 0, 2, &err), kept);
    assert_int_equal(do_read(&g, 1, 0, 3, &err), 99 * 1024 + 3);
    rig_free(&g);
}

static void the_end_of_a_copy_gives_or_takes_the_slot(void **state)
{
    struct rig g;
    struct model m;
    struct kt_rid id;
    int err;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 0), 0);
    struct kt_record r = local(&m, KT_OP_COPY_START, 0);
    assert_int_equal(do_append(&g, &r, NULL), 0);
    r = local(&m, KT_OP_BASE_END, 0);
    r.prev = (struct kt_rid){1, 1};
    assert_int_equal(do_append(&g, &r, NULL), 0);
    assert_int_equal(state_of(&g, 0, &id), 0);
    assert_int_equal(do_read(&g, 1, 0, 0, &err), 0);
    r = local(&m, KT_OP_COPY_START, 1);
    assert_int_equal(do_append(&g, &r, NULL), 0);
    r = local(&m, KT_OP_BASE_END, 1);
    r.prev = (struct kt_rid){1, 1};
    r.flags = KT_RF_ALLOC;
    assert_int_equal(do_append(&g, &r, NULL), 0);
    assert_int_equal(state_of(&g, 1, &id), KT_DIGEST_F_ALLOC);
    assert_int_equal(id.seq, 1);
    rig_free(&g);
}

static void a_skipped_record_leaves_its_extent_partial(void **state)
{
    struct rig g;
    struct model m;
    struct kt_rid id;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 0), 0);
    struct kt_record r = model_record(&m, KT_OP_WRITE);
    r.flags = KT_RF_SKIP;
    assert_int_equal(do_append(&g, &r, NULL), 0);
    assert_true(state_of(&g, 0, &id) & KT_DIGEST_F_PARTIAL);
    assert_int_equal(id.seq, 1);
    rig_close(&g);
    rig_open(&g);
    assert_true(state_of(&g, 0, &id) & KT_DIGEST_F_PARTIAL);
    struct store_chain_info i;
    store_chain_info(store_chain_find(g.s, 1), &i);
    assert_int_equal(i.applied.seq, 2);
    rig_free(&g);
}

static void a_reset_moves_the_history_and_not_the_content(void **state)
{
    struct rig g;
    struct model m;
    struct store_chain_info i;
    struct kt_dedup d = {.token = 9, .wstable = 40};
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    for (uint32_t k = 0; k < 6; k++)
        assert_int_equal(do_write(&g, &m, 0, k), 0);
    struct kt_record r = local(&m, KT_OP_RESET, 0);
    r.id = (struct kt_rid){8, 3};
    struct kt_buf *b = kt_buf_new(KT_DEDUP_BYTES, 0);
    kt_dedup_encode(&d, b->data);
    b->data_len = KT_DEDUP_BYTES;
    assert_int_equal(do_append(&g, &r, b), 0);
    kt_buf_unref(b);
    m.at = r.id;
    m.dedup = d;
    check_chain(&g, &m);
    r = model_record(&m, KT_OP_ZERO);
    r.id.epoch = 9;
    r.token = 10;
    assert_int_equal(do_op(&g, &m, r, 0), 0);
    check_chain(&g, &m);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    store_chain_info(store_chain_find(g.s, 1), &i);
    assert_int_equal(i.applied.epoch, 9);
    rig_free(&g);
}

int store_cases(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_store_is_empty),
        cmocka_unit_test(what_is_written_is_read_back_also_after_reopening),
        cmocka_unit_test(random_records_give_what_the_model_says),
        cmocka_unit_test(what_is_promised_survives),
        cmocka_unit_test(
            continuity_ends_with_the_boot_but_not_after_a_clean_close),
        cmocka_unit_test(a_gap_and_a_malformed_record_change_nothing),
        cmocka_unit_test(a_full_store_refuses_new_extents_only),
        cmocka_unit_test(what_is_set_aside_is_not_given_to_others),
        cmocka_unit_test(a_dropped_chain_is_gone_and_its_slots_are_free),
        cmocka_unit_test(records_come_back_from_the_log),
        cmocka_unit_test(flushed_is_durable),
        cmocka_unit_test(a_copied_extent_is_partial_until_its_end),
        cmocka_unit_test(the_end_of_a_copy_gives_or_takes_the_slot),
        cmocka_unit_test(a_skipped_record_leaves_its_extent_partial),
        cmocka_unit_test(a_reset_moves_the_history_and_not_the_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
