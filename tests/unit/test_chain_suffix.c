/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations of a resync by the log's suffix, its source: who may, what is
 * sent, how the log meets the live feed, when extents are compared instead. */
#include "tests/unit/chain_talk.h"

#include <errno.h>
#include <string.h>

#include "replicator/store/store.h"

static struct talk t;

static struct kt_msg at_msg(uint64_t epoch, uint64_t seq)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_AT);
    m.req = t.c.src.id;
    m.u.sync.at = (struct kt_rid){epoch, seq};
    m.u.sync.history = t.c.cfg.history;
    m.u.sync.incarnation = 1;
    m.u.sync.suffix = 1;
    return m;
}

static void write_some(uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        say_write(&t, i, i, (int)i);
        heard(&t, KT_MSG_ACK);
    }
}

/* A serves alone and has `written` records of epoch 2; B has come back. */
static void source(uint64_t written)
{
    talk_new(&t, 'A');
    talk_activate(&t, 2, "A+B");
    write_some(1, written);
    say_link(&t, 'B', KT_CLASS_SYNC, true);
    tick(&t, 100);
    struct kt_msg *m = heard(&t, KT_MSG_SYNC_START);
    assert_int_equal(m->u.sync.suffix, 1);
}

/* The store has the log read: records after..last of epoch 2. */
static void read_log(uint64_t last, int err, uint8_t flags)
{
    static struct kt_record recs[64];
    static struct kt_buf *bufs[64];
    struct chain_act *a = take(&t, CHAIN_ACT_LOG_READ);
    assert_non_null(a);
    struct chain_event ev = {.type = CHAIN_EV_LOG,
                             .err = err,
                             .sync_id = a->sync_id,
                             .recs = recs,
                             .bufs = bufs};
    for (uint64_t s = a->after + 1; s <= last; s++) {
        assert_true(ev.n_recs < a->count && ev.n_recs < 64);
        recs[ev.n_recs] = (struct kt_record){.chain = TALK_CHAIN,
                                             .id = {2, s},
                                             .prev = {s > 1 ? 2 : 0, s - 1},
                                             .op = KT_OP_WRITE,
                                             .flags = flags,
                                             .len = KT_SECTOR_BYTES};
        bufs[ev.n_recs++] = talk_sectors(1, (int)s);
    }
    say_event(&t, &ev);
    for (uint32_t i = 0; i < ev.n_recs; i++)
        kt_buf_unref(bufs[i]);
}

/* These records and no others go to B, whole. */
static void fed(uint64_t first, uint64_t last)
{
    for (uint64_t s = first; s <= last; s++) {
        struct kt_msg *m = heard(&t, KT_MSG_FWD);
        assert_int_equal(m->u.rec.id.seq, s);
        assert_int_equal(m->u.rec.flags & KT_RF_SKIP, 0);
    }
    quiet(&t, KT_MSG_FWD);
}

static void acked_by_dst(uint64_t upto)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_ACKC);
    m.u.ackc.upto = upto;
    say(&t, SYNC, 'B', &m);
}

static void what_follows_is_sent_from_the_log_and_nothing_copied(void **state)
{
    (void)state;
    source(9);
    struct kt_msg m = at_msg(2, 4);
    say(&t, SYNC, 'B', &m);
    quiet(&t, KT_MSG_FWD);
    read_log(9, 0, 0);
    fed(5, 9);
    struct kt_msg *d = heard(&t, KT_MSG_SYNC_DONE);
    assert_int_equal(d->u.sync.at.seq, 9);
    struct kt_msg ack = talk_msg(&t, KT_MSG_SYNC_ACK);
    ack.req = t.c.src.id;
    ack.u.sync.at = t.c.received;
    ack.u.sync.incarnation = 1;
    say(&t, SYNC, 'B', &ack);
    assert_int_equal(heard(&t, KT_MSG_SYNC_FIN)->u.sync_fin.err, 0);
    quiet(&t, KT_MSG_DIGEST_GET);
    quiet(&t, KT_MSG_COPY_START);
    assert_int_equal(t.c.n_log, 5);
    assert_int_equal(t.c.n_suffix, 1);
    talk_end(&t);
}

static void who_lacks_nothing_is_told_so_at_once(void **state)
{
    (void)state;
    source(3);
    struct kt_msg m = at_msg(2, 3);
    say(&t, SYNC, 'B', &m);
    nothing(&t, CHAIN_ACT_LOG_READ);
    heard(&t, KT_MSG_SYNC_DONE);
    say_write(&t, 4, 4, 4);
    fed(4, 4);
    talk_end(&t);
}

/* Writes that come while the last piece is read wait for it, so that nothing
 * is lost between the log and the ring; before the last piece nobody waits. */
static void the_log_meets_the_live_feed_without_a_gap(void **state)
{
    (void)state;
    source(70);
    struct kt_msg m = at_msg(2, 2);
    say(&t, SYNC, 'B', &m);
    write_some(71, 72); /* 68 to go: not the last piece */
    quiet(&t, KT_MSG_FWD);
    read_log(40, 0, 0);
    fed(3, 40);
    say_write(&t, 73, 1, 1); /* the last piece is asked for up to 72 */
    quiet(&t, KT_MSG_ACK);
    quiet(&t, KT_MSG_FWD);
    read_log(72, 0, 0);
    fed(41, 73);
    heard(&t, KT_MSG_ACK);
    say_write(&t, 74, 1, 1);
    heard(&t, KT_MSG_ACK);
    fed(74, 74);
    talk_end(&t);
}

/* A piece that is shorter than was hoped: nobody waits for long. */
static void a_short_piece_lets_go_of_the_acknowledgements(void **state)
{
    (void)state;
    source(20);
    struct kt_msg m = at_msg(2, 2);
    say(&t, SYNC, 'B', &m);
    say_write(&t, 21, 1, 1);
    quiet(&t, KT_MSG_ACK);
    read_log(10, 0, 0);
    heard(&t, KT_MSG_ACK);
    fed(3, 10);
    read_log(21, 0, 0);
    fed(11, 21);
    talk_end(&t);
}

static void instead_of(struct kt_msg *m)
{
    say(&t, SYNC, 'B', m);
    nothing(&t, CHAIN_ACT_LOG_READ);
    assert_int_equal(heard(&t, KT_MSG_SYNC_START)->u.sync.suffix, 0);
    quiet(&t, KT_MSG_FWD);
    talk_end(&t);
}

static void another_record_at_that_place_means_comparing(void **state)
{
    (void)state;
    source(9);
    struct kt_msg m = at_msg(1, 9); /* ours is (2,9) */
    instead_of(&m);
    source(9);
    m = at_msg(1, 4); /* behind the ring: the log tells */
    say(&t, SYNC, 'B', &m);
    read_log(9, 0, 0);
    assert_int_equal(heard(&t, KT_MSG_SYNC_START)->u.sync.suffix, 0);
    quiet(&t, KT_MSG_FWD);
    talk_end(&t);
}

static void records_that_never_came_here_mean_comparing(void **state)
{
    (void)state;
    source(9);
    struct kt_msg m = at_msg(2, 10);
    instead_of(&m);
}

static void another_history_means_comparing(void **state)
{
    (void)state;
    source(9);
    struct kt_msg m = at_msg(2, 4);
    m.u.sync.history.b[0] = 9;
    instead_of(&m);
    source(9);
    m = at_msg(2, 4);
    m.u.sync.suffix = 0; /* or none at all */
    instead_of(&m);
}

static void a_log_too_short_or_without_bytes_means_comparing(void **state)
{
    (void)state;
    source(9);
    struct kt_msg m = at_msg(2, 4);
    say(&t, SYNC, 'B', &m);
    read_log(0, -ENODATA, 0);
    assert_int_equal(heard(&t, KT_MSG_SYNC_START)->u.sync.suffix, 0);
    talk_end(&t);
    source(9);
    m = at_msg(2, 4);
    say(&t, SYNC, 'B', &m);
    read_log(9, 0, KT_RF_SKIP);
    assert_int_equal(heard(&t, KT_MSG_SYNC_START)->u.sync.suffix, 0);
    quiet(&t, KT_MSG_FWD);
    /* And in this epoch it is not asked again. */
    say_link(&t, 'B', KT_CLASS_SYNC, false);
    say_link(&t, 'B', KT_CLASS_SYNC, true);
    tick(&t, 100);
    assert_int_equal(heard(&t, KT_MSG_SYNC_START)->u.sync.suffix, 0);
    talk_end(&t);
}

/* The feed waits for dst, and the memory for it has an end. */
static void a_slow_target_is_fed_from_the_log_again(void **state)
{
    (void)state;
    source(130);
    struct kt_msg m = at_msg(2, 2);
    say(&t, SYNC, 'B', &m);
    read_log(66, 0, 0);
    read_log(130, 0, 0);
    fed(3, 130);
    quiet(&t, KT_MSG_SYNC_DONE); /* too far behind */
    write_some(131, 132);
    fed(131, 132);
    t.c.src.feed_bytes = CHAIN_FEED_BYTES + 1;
    write_some(133, 134); /* nobody waits for dst */
    quiet(&t, KT_MSG_FWD);
    nothing(&t, CHAIN_ACT_LOG_READ); /* nor is more read than it can take */
    acked_by_dst(132);
    read_log(134, 0, 0);
    fed(133, 134);
    heard(&t, KT_MSG_SYNC_DONE);
    quiet(&t, KT_MSG_SYNC_START);
    talk_end(&t);
}

static void a_read_of_an_older_attempt_counts_for_nothing(void **state)
{
    (void)state;
    source(9);
    struct kt_msg m = at_msg(2, 4);
    say(&t, SYNC, 'B', &m);
    say_link(&t, 'B', KT_CLASS_SYNC, false);
    say_write(&t, 10, 1, 1);
    heard(&t, KT_MSG_ACK); /* let go */
    say_link(&t, 'B', KT_CLASS_SYNC, true);
    tick(&t, 100);
    heard(&t, KT_MSG_SYNC_START);
    m = at_msg(2, 7); /* it took some */
    say(&t, SYNC, 'B', &m);
    read_log(9, 0, 0); /* the old one */
    quiet(&t, KT_MSG_FWD);
    read_log(10, 0, 0);
    fed(8, 10);
    talk_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_follows_is_sent_from_the_log_and_nothing_copied),
        cmocka_unit_test(who_lacks_nothing_is_told_so_at_once),
        cmocka_unit_test(the_log_meets_the_live_feed_without_a_gap),
        cmocka_unit_test(a_short_piece_lets_go_of_the_acknowledgements),
        cmocka_unit_test(another_record_at_that_place_means_comparing),
        cmocka_unit_test(records_that_never_came_here_mean_comparing),
        cmocka_unit_test(another_history_means_comparing),
        cmocka_unit_test(a_log_too_short_or_without_bytes_means_comparing),
        cmocka_unit_test(a_slow_target_is_fed_from_the_log_again),
        cmocka_unit_test(a_read_of_an_older_attempt_counts_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
