/* SPDX-License-Identifier: BSD-3-Clause */
/* A server process takes over from one that was killed while its device is
 * in use (B10): when may it go on, and what does it leave to the next one. */
#include "tests/unit/engine_rig.h"

#include <errno.h>

#define S KT_SECTOR_BYTES
#define MIB (1u << 20)

static struct rig *two_chains(const uint64_t *settled)
{
    return rig_new(&(struct engine_opts){
        .size = 16 * MIB, .segment_bytes = 8 * MIB, .settled = settled});
}

static void one_write(struct rig *r, uint64_t sector, uint64_t seq)
{
    struct engine_req *w = rig_submit(r, ENGINE_WRITE, sector * S, S, 1);
    rig_ack(r, rig_take(r, KT_MSG_WRITE), seq);
    rig_assert_done(r, w, 0);
}

static void with_the_vgens_of_its_predecessor_it_serves(void **st)
{
    (void)st;
    const uint64_t settled[2] = {3, 5};
    struct rig *r = two_chains(settled);
    assert_int_equal(engine_settled(r->e, 0), 0);
    rig_cfg(r, 0, 7, 3, "12");
    rig_cfg(r, 1, 9, 5, "12");
    rig_up(r, 1);
    one_write(r, 0, 1);
    assert_int_equal(r->lost_chain, 0);
    assert_int_equal(r->settled, 2);
    assert_int_equal(engine_settled(r->e, 0), 3);
    assert_int_equal(engine_settled(r->e, 1), 5);
    assert_int_equal(engine_settled(r->e, 2), 0);
    rig_free(r);
}

static void with_another_vgen_nothing_is_ever_served(void **st)
{
    (void)st;
    const uint64_t settled[2] = {3, 5};
    struct rig *r = two_chains(settled);
    struct engine_info i;
    rig_cfg(r, 0, 7, 3, "12");
    rig_up(r, 1);
    struct engine_req *early = rig_submit(r, ENGINE_READ, 9 * MIB, S, 0);
    assert_false(rig_done(r, early));
    rig_cfg(r, 1, 9, 6, "12");
    assert_int_equal(r->lost_chain, RIG_CHAIN + 1);
    assert_int_equal(r->fenced, 0);
    rig_assert_done(r, early, -EIO);
    rig_assert_done(r, rig_submit(r, ENGINE_READ, 0, S, 0), -EIO);
    engine_info(r->e, &i);
    assert_true(i.lost);
    assert_false(i.ready);
    assert_false(i.fenced);
    rig_free(r);
}

static void a_smaller_vgen_is_another_one_too(void **st)
{
    (void)st;
    const uint64_t settled[2] = {3, 5};
    struct rig *r = two_chains(settled);
    rig_cfg(r, 0, 7, 2, "12");
    assert_int_equal(r->lost_chain, RIG_CHAIN);
    rig_free(r);
}

static void without_a_predecessor_any_vgen_will_do(void **st)
{
    (void)st;
    const uint64_t settled[2] = {0, 0};
    struct rig *r = two_chains(settled);
    rig_cfg(r, 0, 7, 3, "12");
    rig_cfg(r, 1, 7, 4, "12");
    assert_int_equal(r->lost_chain, 0);
    assert_int_equal(engine_settled(r->e, 1), 4);
    rig_free(r);
}

static void a_later_loss_is_its_own_and_is_replayed(void **st)
{
    (void)st;
    const uint64_t settled[2] = {3, 0};
    struct rig *r = two_chains(settled);
    uint64_t seq = 0;
    rig_cfg(r, 0, 7, 3, "12");
    rig_up(r, 1);
    one_write(r, 0, 1);
    rig_cfg(r, 0, 8, 4, "12");
    assert_int_equal(r->lost_chain, 0);
    assert_int_equal(r->replays, 1);
    rig_ack_all(r, &seq);
    assert_int_equal(engine_settled(r->e, 0), 4);
    rig_free(r);
}

static void a_vgen_is_settled_when_its_replay_is_complete(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    assert_int_equal(r->settled, 1);
    assert_int_equal(engine_settled(r->e, 0), 1);
    one_write(r, 0, 1);
    one_write(r, 5, 2);
    rig_cfg(r, 0, 2, 2, "123");
    struct rig_send *a = rig_take(r, KT_MSG_WRITE);
    struct rig_send *b = rig_take(r, KT_MSG_WRITE);
    rig_ack(r, a, 1);
    assert_int_equal(engine_settled(r->e, 0), 1);
    rig_cfg(r, 0, 3, 3, "123"); /* and once more, in its middle */
    rig_ack(r, b, 2);
    assert_int_equal(engine_settled(r->e, 0), 1);
    rig_ack(r, rig_take(r, KT_MSG_WRITE), 1);
    assert_int_equal(engine_settled(r->e, 0), 1);
    assert_int_equal(r->settled, 1);
    rig_ack(r, rig_take(r, KT_MSG_WRITE), 2);
    assert_int_equal(engine_settled(r->e, 0), 3);
    assert_int_equal(r->settled, 2);
    rig_cfg(r, 0, 4, 3, "12"); /* a new epoch alone is no news */
    assert_int_equal(r->settled, 2);
    rig_free(r);
}

static void with_nothing_kept_a_vgen_is_settled_at_once(void **st)
{
    (void)st;
    struct rig *r = rig_ready();
    rig_submit(r, ENGINE_WRITE, 0, S, 1); /* not acknowledged: no promise */
    rig_cfg(r, 0, 2, 2, "123");
    assert_int_equal(engine_settled(r->e, 0), 2);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_the_vgens_of_its_predecessor_it_serves),
        cmocka_unit_test(with_another_vgen_nothing_is_ever_served),
        cmocka_unit_test(a_smaller_vgen_is_another_one_too),
        cmocka_unit_test(without_a_predecessor_any_vgen_will_do),
        cmocka_unit_test(a_later_loss_is_its_own_and_is_replayed),
        cmocka_unit_test(a_vgen_is_settled_when_its_replay_is_complete),
        cmocka_unit_test(with_nothing_kept_a_vgen_is_settled_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
