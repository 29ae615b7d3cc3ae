/* SPDX-License-Identifier: BSD-3-Clause */
/* What only the in-memory twin can do: complete in any legal order, crash,
 * fail on demand. */
#include <errno.h>

#include "lib/base/err.h"
#include "replicator/store/ops.h"
#include "replicator/store/store_mem.h"
#include "tests/unit/store_model.h"

#define MANY 12u

static struct store_append appends[MANY];
static unsigned n_done;
static struct store_op *order[MANY];

static void note_done(struct store_op *op, int err)
{
    op->err = err;
    op->store = NULL;
    order[n_done++ % MANY] = op;
}

static void open_by_hand(struct rig *g)
{
    rig_open(g);
    store_mem_set_auto(g->s, false);
    n_done = 0;
}

/* Submits n records and folds them into m. */
static void submit(struct rig *g, struct model *m, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++) {
        struct kt_record r = model_record(m, KT_OP_WRITE);
        r.extent = i % 3;
        appends[i] =
            (struct store_append){.op.done = note_done,
                                  .chain = store_chain_find(g->s, m->chain),
                                  .rec = r,
                                  .buf = model_payload(&r, m->at.seq + 1)};
        model_fold(m, &r, m->at.seq + 1);
        store_append(g->s, &appends[i]);
        kt_buf_unref(appends[i].buf);
    }
}

static void
nothing_completes_by_itself_and_chains_keep_their_order(void **state)
{
    struct rig g;
    struct model a, b;
    (void)state;
    rig_init(&g, 16);
    open_by_hand(&g);
    make_chain(&g, &a, 1);
    make_chain(&g, &b, 2);
    submit(&g, &a, 0, 3);
    submit(&g, &b, 3, 3);
    store_poll(g.s);
    assert_int_equal(n_done, 0);
    assert_int_equal(store_mem_pending(g.s), 2); /* the first of each chain */
    assert_ptr_equal(store_mem_pending_op(g.s, 1), &appends[3].op);
    store_mem_complete(g.s, 1);
    assert_true(store_mem_due(g.s));
    store_poll(g.s);
    assert_int_equal(n_done, 1);
    assert_ptr_equal(order[0], &appends[3].op);
    struct store_chain_info i;
    store_chain_info(store_chain_find(g.s, 1), &i);
    assert_int_equal(i.applied.seq, 0);
    store_chain_info(store_chain_find(g.s, 2), &i);
    assert_int_equal(i.applied.seq, 1);
    store_mem_complete_all(g.s);
    store_poll(g.s);
    assert_int_equal(n_done, 6);
    store_mem_set_auto(g.s, true);
    check_chain(&g, &a);
    check_chain(&g, &b);
    rig_free(&g);
}

/* Where the chain is after the crash; the content is that prefix. */
static uint64_t after_crash(struct rig *g, uint64_t chain, uint64_t n)
{
    struct model m;
    struct store_chain_info i = {.applied.seq = 0};
    model_init(&m, chain);
    struct store_chain *c = store_chain_find(g->s, chain);
    if (c)
        store_chain_info(c, &i);
    assert_true(i.applied.seq <= n);
    while (m.at.seq < i.applied.seq) {
        struct kt_record r = model_record(&m, KT_OP_WRITE);
        r.extent = m.at.seq % 3;
        model_fold(&m, &r, m.at.seq + 1);
    }
    store_mem_set_auto(g->s, true);
    if (c)
        check_chain(g, &m);
    return i.applied.seq;
}

static void a_kill_keeps_what_completed_and_a_prefix_of_the_rest(void **state)
{
    unsigned seen = 0;
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct rig g;
        struct model m;
        struct store_info i;
        rig_init(&g, seed + 8);
        open_by_hand(&g);
        make_chain(&g, &m, 1);
        submit(&g, &m, 0, 9);
        for (unsigned k = 0; k < 4; k++)
            store_mem_complete(g.s, 0);
        store_mem_crash(g.s, STORE_MEM_KILL);
        rig_open(&g);
        uint64_t at = after_crash(&g, 1, 9);
        assert_true(at >= 4);
        seen |= 1u << at;
        store_info(g.s, &i);
        assert_int_equal(i.cont_base, 1);
        rig_free(&g);
    }
    assert_true(seen & 1u << 4);
    assert_true(seen & 1u << 9);
    assert_true(seen & (7u << 5));
}

static void power_loss_keeps_what_was_synced(void **state)
{
    unsigned seen = 0;
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct rig g;
        struct model m;
        struct store_info i;
        struct store_sync sync = {.op.done = note_done};
        rig_init(&g, seed + 8);
        open_by_hand(&g);
        sync.chain = make_chain(&g, &m, 1);
        submit(&g, &m, 0, 9);
        for (unsigned k = 0; k < 3; k++)
            store_mem_complete(g.s, 0);
        store_sync(g.s, &sync);
        store_mem_complete(g.s, 1);
        assert_int_equal(sync.ret_durable, 3);
        for (unsigned k = 0; k < 3; k++)
            store_mem_complete(g.s, 0);
        store_mem_crash(g.s, STORE_MEM_POWER);
        g.boot.b[0]++;
        rig_open(&g);
        uint64_t at = after_crash(&g, 1, 9);
        assert_true(at >= 3);
        seen |= 1u << at;
        store_info(g.s, &i);
        assert_int_equal(i.cont_base, 2);
        rig_free(&g);
    }
    assert_true(seen & 1u << 3); /* also completed ones may be lost */
}

static void a_failed_sync_makes_everything_fail(void **state)
{
    struct rig g;
    struct model m;
    struct store_info i;
    struct store_sync sync = {.op.done = note_done};
    (void)state;
    rig_init(&g, 8);
    open_by_hand(&g);
    sync.chain = make_chain(&g, &m, 1);
    submit(&g, &m, 0, 3);
    store_mem_complete(g.s, 0);
    store_sync(g.s, &sync);
    store_mem_fail_next(g.s, STORE_MEM_FAIL_SYNC);
    store_mem_complete(g.s, 1);
    store_poll(g.s);
    assert_int_equal(n_done, 4);
    assert_int_equal(appends[0].op.err, 0);
    assert_int_equal(appends[1].op.err, KT_E_FAULTY);
    assert_int_equal(sync.op.err, KT_E_FAULTY);
    store_info(g.s, &i);
    assert_int_equal(i.err, -EIO);
    assert_null(store_chain_create(g.s, 9, 1));
    rig_free(&g);
}

static int read_one(struct rig *g, uint32_t extent, uint32_t sector)
{
    int err = 0;
    do_read(g, 1, extent, sector, &err);
    return err;
}

static void a_rotten_sector_is_not_handed_out(void **state)
{
    struct rig g;
    struct model m;
    uint64_t durable;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    assert_false(store_mem_rot(g.disk, 1, 0, 4)); /* in no slot yet */
    assert_int_equal(do_sync(&g, 1, &durable), 0);
    assert_false(store_mem_rot(g.disk, 1, 0, 5));
    assert_true(store_mem_rot(g.disk, 1, 0, 4));
    assert_true(store_mem_is_damaged(g.disk, 1, 0, 4));
    assert_int_equal(read_one(&g, 0, 4), KT_E_CORRUPT);
    rig_close(&g);
    rig_open(&g);
    assert_int_equal(read_one(&g, 0, 4), KT_E_CORRUPT);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    check_chain(&g, &m);
    rig_free(&g);
}

static void what_is_newer_than_the_damage_is_handed_out(void **state)
{
    struct rig g;
    struct model m;
    uint64_t durable;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    assert_int_equal(do_sync(&g, 1, &durable), 0);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    assert_true(store_mem_rot(g.disk, 1, 0, 4));
    check_chain(&g, &m);
    assert_int_equal(do_sync(&g, 1, &durable), 0);
    assert_false(store_mem_is_damaged(g.disk, 1, 0, 4));
    rig_free(&g);
}

static void a_misdirected_write_spoils_two_places_until_mended(void **state)
{
    static const uint32_t a[2] = {0, 4}, b[2] = {1, 7}, none[2] = {1, 8};
    struct rig g;
    struct model m;
    uint64_t durable;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    assert_int_equal(do_write(&g, &m, 1, 7), 0);
    assert_int_equal(do_sync(&g, 1, &durable), 0);
    assert_false(store_mem_misdirect(g.disk, 1, a, none));
    assert_false(store_mem_misdirect(g.disk, 1, a, a));
    assert_true(store_mem_misdirect(g.disk, 1, a, b));
    assert_int_equal(read_one(&g, 0, 4), KT_E_CORRUPT);
    assert_int_equal(read_one(&g, 1, 7), KT_E_CORRUPT);
    assert_int_equal(store_mem_mend(g.disk), 2);
    assert_int_equal(store_mem_mend(g.disk), 0);
    check_chain(&g, &m);
    rig_free(&g);
}

static void a_copy_is_the_disk_of_that_moment(void **state)
{
    struct rig g;
    struct model m, then;
    uint64_t durable;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    assert_int_equal(do_sync(&g, 1, &durable), 0);
    assert_int_equal(do_write(&g, &m, 1, 7), 0);
    then = m;
    struct store_mem_disk *copy = store_mem_disk_copy(g.disk);
    assert_non_null(copy);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    check_chain(&g, &m);
    rig_close(&g);
    store_mem_disk_free(g.disk);
    g.disk = copy;
    rig_open(&g);
    check_chain(&g, &then);
    rig_free(&g);
}

static void a_bad_read_is_one_read_and_the_store_goes_on(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 4), 0);
    store_mem_fail_next(g.s, STORE_MEM_BAD_READ);
    assert_int_equal(read_one(&g, 0, 4), KT_E_CORRUPT);
    check_chain(&g, &m);
    rig_free(&g);
}

static void the_log_forgets_what_it_need_not_retain(void **state)
{
    struct rig g;
    struct model m;
    static struct store_log_read r;
    (void)state;
    rig_init(&g, 8);
    store_mem_set_retain(g.disk, 5);
    rig_open(&g);
    make_chain(&g, &m, 1);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(do_write(&g, &m, 0, i), 0);
    r = (struct store_log_read){.op.done = rig_done,
                                .chain = store_chain_find(g.s, 1),
                                .after = 14,
                                .max_records = 64};
    store_log_read(g.s, &r);
    assert_int_equal(rig_wait(&g, &r.op), -ENODATA);
    r.after = 15;
    store_log_read(g.s, &r);
    assert_int_equal(rig_wait(&g, &r.op), 0);
    assert_int_equal(r.ret_n, 5);
    for (uint32_t i = 0; i < r.ret_n; i++)
        kt_buf_unref(r.bufs[i]);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            nothing_completes_by_itself_and_chains_keep_their_order),
        cmocka_unit_test(a_kill_keeps_what_completed_and_a_prefix_of_the_rest),
        cmocka_unit_test(power_loss_keeps_what_was_synced),
        cmocka_unit_test(a_failed_sync_makes_everything_fail),
        cmocka_unit_test(a_rotten_sector_is_not_handed_out),
        cmocka_unit_test(what_is_newer_than_the_damage_is_handed_out),
        cmocka_unit_test(a_misdirected_write_spoils_two_places_until_mended),
        cmocka_unit_test(a_copy_is_the_disk_of_that_moment),
        cmocka_unit_test(a_bad_read_is_one_read_and_the_store_goes_on),
        cmocka_unit_test(the_log_forgets_what_it_need_not_retain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
