/* SPDX-License-Identifier: BSD-3-Clause */
/* The scrub of the store on disk: what it finds, and what it passes over. */
#include "lib/base/err.h"
#include "replicator/store/scrub.h"
#include "tests/unit/store_model.h"

#define SLOTS 16u
#define CHAIN 3u
#define SECTORS 70u

static void make_store(struct rig *g, struct model *m)
{
    make_applied(g, m, SLOTS, CHAIN, SECTORS);
    rig_open(g);
}

static void scrub(struct rig *g, uint32_t off, uint32_t sectors, uint64_t bad)
{
    struct store_scrub r = {.op.done = rig_done,
                            .chain = store_chain_find(g->s, CHAIN),
                            .off = off};
    store_scrub(g->s, &r);
    assert_int_equal(rig_wait(g, &r.op), 0);
    assert_int_equal(r.ret_sectors, sectors);
    assert_int_equal(r.ret_bad, bad);
}

static uint64_t bad_sectors(const struct rig *g)
{
    struct store_info i;
    store_info(g->s, &i);
    assert_int_equal(i.err, 0);
    return i.bad_sectors;
}

static void rot_is_found_in_bytes_and_sums_and_counted_once(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    scrub(&g, 0, 64, 0);
    scrub(&g, STORE_SCRUB_BYTES, SECTORS - 64, 0);
    rig_flip(&g, "data.000", 2 * KT_SECTOR_BYTES + 5);
    rig_flip(&g, "data.000", 63 * KT_SECTOR_BYTES + 4095);
    rig_flip(&g, "csum.000", 7 * 8 + 7);
    rig_flip(&g, "csum.000", 66 * 8);
    for (unsigned twice = 0; twice < 2; twice++) {
        scrub(&g, 0, 64, 1ull << 2 | 1ull << 63 | 1ull << 7);
        scrub(&g, STORE_SCRUB_BYTES, SECTORS - 64, 1ull << 2);
    }
    assert_int_equal(bad_sectors(&g), 4);
    /* What nobody wrote has no sum to match: it is not looked at. */
    rig_flip(&g, "data.000", 80 * KT_SECTOR_BYTES);
    scrub(&g, STORE_SCRUB_BYTES, SECTORS - 64, 1ull << 2);
    scrub(&g, 2 * STORE_SCRUB_BYTES, 0, 0);
    rig_free(&g);
}

static void a_record_on_its_way_takes_the_place_of_a_bad_sector(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    rig_flip(&g, "data.000", 2 * KT_SECTOR_BYTES);
    assert_int_equal(do_write(&g, &m, 0, 2), 0); /* not acked: in the log */
    scrub(&g, 0, 63, 0);
    store_acked(g.s, store_chain_find(g.s, CHAIN), m.at.seq);
    rig_close(&g);
    rig_open(&g);
    scrub(&g, 0, 64, 0);
    assert_int_equal(bad_sectors(&g), 0);
    rig_free(&g);
}

static void only_extents_with_a_slot_are_in_a_pass(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    struct store_chain *c = store_chain_find(g.s, CHAIN);
    assert_int_equal(store_scrub_next(c, 0), 0);
    assert_int_equal(store_scrub_next(c, 1), UINT32_MAX);
    assert_int_equal(store_scrub_total(g.s), KT_EXTENT_BYTES);
    struct store_scrub r = {
        .op.done = rig_done, .chain = c, .off = KT_SECTOR_BYTES};
    store_scrub(g.s, &r);
    assert_int_equal(rig_wait(&g, &r.op), KT_E_INVALID);
    r = (struct store_scrub){.op.done = rig_done, .chain = c, .extent = 1};
    store_scrub(g.s, &r);
    assert_int_equal(rig_wait(&g, &r.op), 0);
    assert_int_equal(r.ret_sectors, 0);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rot_is_found_in_bytes_and_sums_and_counted_once),
        cmocka_unit_test(a_record_on_its_way_takes_the_place_of_a_bad_sector),
        cmocka_unit_test(only_extents_with_a_slot_are_in_a_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
