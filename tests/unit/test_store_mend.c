/* SPDX-License-Identifier: BSD-3-Clause */
/* Bad sectors of the store on disk: put right by another member's, counted. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "tests/unit/store_model.h"

#define SLOTS 16u
#define CHAIN 3u
#define SECTORS 70u

static void make_store(struct rig *g, struct model *m)
{
    make_applied(g, m, SLOTS, CHAIN, SECTORS);
}

static void flip_data(const struct rig *g, uint32_t sector)
{
    rig_flip(g, "data.000", (uint64_t)sector * KT_SECTOR_BYTES + 77);
}

static void flip_sum(const struct rig *g, uint32_t sector)
{
    rig_flip(g, "csum.000", (uint64_t)sector * 8 + 3);
}

static int read_one(struct rig *g, const struct model *m, uint32_t sector)
{
    int err;
    uint64_t v = do_read(g, CHAIN, 0, sector, &err);
    if (!err)
        assert_int_equal(v, m->stamp[0][sector]);
    return err;
}

/* What another member would answer for [0, 8) now. */
static struct kt_buf *theirs(struct rig *g)
{
    struct store_read r = {.op.done = rig_done,
                           .chain = store_chain_find(g->s, CHAIN),
                           .len = 8 * KT_SECTOR_BYTES};
    store_read(g->s, &r);
    assert_int_equal(rig_wait(g, &r.op), 0);
    return r.ret_buf;
}

static void mend(struct rig *g, const struct kt_buf *b, uint32_t mended,
                 uint32_t left)
{
    struct store_mend r = {.op.done = rig_done,
                           .chain = store_chain_find(g->s, CHAIN),
                           .len = 8 * KT_SECTOR_BYTES,
                           .buf = b};
    store_mend(g->s, &r);
    assert_int_equal(rig_wait(g, &r.op), 0);
    assert_int_equal(r.ret_mended, mended);
    assert_int_equal(r.ret_left, left);
}

static void bytes_and_sums_are_put_right_and_stay_so(void **state)
{
    struct rig g;
    struct model m;
    struct store_info i;
    (void)state;
    make_store(&g, &m);
    rig_open(&g);
    struct kt_buf *b = theirs(&g);
    flip_data(&g, 2);
    flip_sum(&g, 5);
    assert_int_equal(read_one(&g, &m, 2), KT_E_CORRUPT);
    assert_int_equal(read_one(&g, &m, 5), KT_E_CORRUPT);
    assert_int_equal(read_one(&g, &m, 5), KT_E_CORRUPT);
    store_info(g.s, &i);
    assert_int_equal(i.bad_sectors, 2);
    mend(&g, b, 2, 0);
    check_chain(&g, &m);
    mend(&g, b, 0, 0); /* nothing is bad any more */
    store_info(g.s, &i);
    assert_int_equal(i.mended, 2);
    assert_int_equal(i.err, 0);
    kt_buf_unref(b);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void content_of_another_time_is_not_taken(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    rig_open(&g);
    struct kt_buf *old = theirs(&g);
    assert_int_equal(do_write(&g, &m, 0, 1), 0);
    assert_int_equal(do_write(&g, &m, 0, 3), 0);
    store_acked(g.s, store_chain_find(g.s, CHAIN), m.at.seq);
    rig_close(&g); /* 1 and 3 are in the slot now */
    rig_open(&g);
    flip_data(&g, 1);
    flip_data(&g, 4);
    mend(&g, old, 1, 1); /* 4 is the same in both; 1 is not, nor wanted */
    assert_int_equal(read_one(&g, &m, 1), KT_E_CORRUPT);
    assert_int_equal(read_one(&g, &m, 3), 0);
    assert_int_equal(read_one(&g, &m, 4), 0);
    /* A record that is not in the slot yet says it all. */
    assert_int_equal(do_write(&g, &m, 0, 1), 0);
    mend(&g, old, 0, 0);
    check_chain(&g, &m);
    kt_buf_unref(old);
    rig_free(&g);
}

static void a_buffer_that_does_not_match_itself_is_refused(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    rig_open(&g);
    struct kt_buf *b = theirs(&g);
    b->data[9] ^= 1;
    struct store_mend r = {.op.done = rig_done,
                           .chain = store_chain_find(g.s, CHAIN),
                           .len = 8 * KT_SECTOR_BYTES,
                           .buf = b};
    store_mend(g.s, &r);
    assert_int_equal(rig_wait(&g, &r.op), KT_E_INVALID);
    kt_buf_unref(b);
    check_chain(&g, &m);
    rig_free(&g);
}

static void too_many_bad_sectors_make_the_store_faulty(void **state)
{
    struct rig g;
    struct model m;
    struct store_info i;
    (void)state;
    make_store(&g, &m);
    for (uint32_t k = 0; k < 64; k++)
        flip_data(&g, k);
    rig_open(&g);
    for (uint32_t k = 0; k < 63; k++)
        for (unsigned twice = 0; twice < 2; twice++)
            assert_int_equal(read_one(&g, &m, k), KT_E_CORRUPT);
    rig_step(&g);
    store_info(g.s, &i);
    assert_int_equal(i.err, 0);
    assert_int_equal(i.bad_sectors, 63);
    assert_int_not_equal(read_one(&g, &m, 63), 0);
    rig_step(&g);
    store_info(g.s, &i);
    assert_int_equal(i.err, KT_E_CORRUPT);
    assert_int_equal(read_one(&g, &m, 65), KT_E_FAULTY);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_sums_are_put_right_and_stay_so),
        cmocka_unit_test(content_of_another_time_is_not_taken),
        cmocka_unit_test(a_buffer_that_does_not_match_itself_is_refused),
        cmocka_unit_test(too_many_bad_sectors_make_the_store_faulty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
