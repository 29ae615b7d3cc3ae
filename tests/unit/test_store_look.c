/* SPDX-License-Identifier: BSD-3-Clause */
/* What is left of a store whose log is damaged, for who only looks. */
#include <stdio.h>
#include <stdlib.h>

#include "replicator/store/logfmt.h"
#include "replicator/store/look.h"
#include "tests/unit/store_model.h"

#define CHAIN 3u
#define RECORDS 10u
#define SYNCED 6u

/* Records 0 to 9, each of one sector; those before 6 were synced before 6 was
 * written. Killed, on another machine: a copy of what is there, in g. */
static void make(struct rig *g, struct model *m)
{
    struct rig live;
    char cmd[200];
    rig_init(&live, 4);
    rig_open(&live);
    make_chain(&live, m, CHAIN);
    for (uint32_t i = 0; i < RECORDS; i++) {
        if (i == SYNCED)
            assert_int_equal(do_sync(&live, CHAIN, &(uint64_t){0}), 0);
        assert_int_equal(do_write(&live, m, 0, i), 0);
    }
    rig_init(g, 4);
    snprintf(cmd, sizeof(cmd), "cp -a '%s/.' '%s'", live.dir, g->dir);
    assert_int_equal(system(cmd), 0);
    rig_free(&live);
}

static void flip(const struct rig *g, uint32_t record, uint32_t at)
{
    rig_flip(g, "log.00000001", rig_record_at(record) + at);
}

/* How many records its chain holds, and how many more its log does. */
static struct look_info look(const struct rig *g, uint64_t held, uint32_t ahead)
{
    char why[512] = "";
    const struct look_rec *r;
    struct look_chain c;
    struct look *l;
    uint8_t b[KT_SECTOR_BYTES];
    uint32_t n, found = 0;
    if (look_open(g->dir, &l, why, sizeof(why)))
        fail_msg("%s", why);
    assert_int_equal(look_records(l, &r, &n), 0);
    assert_int_equal(look_chains(l), held ? 1 : 0);
    if (held) {
        look_chain(l, 0, &c);
        assert_int_equal(c.applied.seq, held);
    }
    for (uint32_t i = 0; i < n; i++) {
        found += r[i].ahead;
        assert_int_equal(look_payload(l, &r[i], r[i].off / KT_SECTOR_BYTES, b),
                         r[i].broken ? LOOK_BAD : LOOK_GOOD);
    }
    assert_int_equal(found, ahead);
    struct look_info info = *look_info(l);
    look_free(l);
    return info;
}

static void a_whole_log_has_nothing_ahead(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make(&g, &m);
    struct look_info i = look(&g, RECORDS, 0);
    assert_false(i.log_cut || i.unknown || i.index_lost || i.super_lost);
    rig_free(&g);
}

static void behind_damage_the_records_are_told(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make(&g, &m);
    flip(&g, 2, LOG_REC_HEAD_BYTES + 8 + 700); /* of its payload */
    struct look_info i = look(&g, 2, RECORDS - 2);
    assert_true(i.log_cut);
    assert_false(i.unknown); /* its head tells whose it was */
    flip(&g, 2, 60);
    i = look(&g, 2, RECORDS - 3);
    assert_true(i.log_cut && i.unknown);
    rig_free(&g);
}

static void what_may_be_torn_ends_the_log(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make(&g, &m);
    flip(&g, SYNCED + 1, 60); /* nothing says that it was durable */
    struct look_info i = look(&g, SYNCED + 1, 0);
    assert_false(i.log_cut || i.unknown);
    rig_free(&g);
}

static void without_superblocks_and_index_the_log_is_left(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make(&g, &m);
    rig_flip(&g, "super.a", 90);
    rig_flip(&g, "super.b", 90);
    struct look_info i = look(&g, RECORDS, 0);
    assert_true(i.super_lost && !i.index_lost);
    rig_flip(&g, "meta.mdb", 20);
    i = look(&g, 0, RECORDS);
    assert_true(i.super_lost && i.index_lost);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_log_has_nothing_ahead),
        cmocka_unit_test(behind_damage_the_records_are_told),
        cmocka_unit_test(what_may_be_torn_ends_the_log),
        cmocka_unit_test(without_superblocks_and_index_the_log_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
