/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations of a resync by the log's suffix: who may, what is sent, how
 * the log meets the live feed, and when extents are compared instead. */
#include "tests/unit/chain_talk.h"

#include <errno.h>
#include <string.h>

#include "replicator/store/store.h"

static struct talk t;

/* ---- the source ---- */

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

/* ---- the target ---- */

static struct kt_msg start_msg(uint64_t seq, bool suffix)
{
    struct kt_dedup d = {.token = TALK_TOKEN, .wstable = seq};
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_START);
    m.req = 42;
    m.u.sync.at = (struct kt_rid){2, seq};
    m.u.sync.suffix = suffix;
    m.buf = kt_buf_new(KT_DEDUP_BYTES, 0);
    m.buf->data_len = KT_DEDUP_BYTES;
    kt_dedup_encode(&d, m.buf->data);
    return m;
}

static void feed(uint64_t seq, uint8_t flags)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_FWD);
    m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                 .id = {2, seq},
                                 .prev = {2, seq - 1},
                                 .token = TALK_TOKEN,
                                 .wseq = seq,
                                 .op = KT_OP_WRITE,
                                 .flags = flags,
                                 .len = KT_SECTOR_BYTES};
    m.buf = flags & KT_RF_SKIP ? NULL : talk_sectors(1, 7);
    say(&t, SYNC, 'A', &m);
}

/* B served with A in epoch 2 and has records 1..5; then A alone; then B is
 * back and syncs in epoch 4. */
static void target(void)
{
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    for (uint64_t i = 1; i <= 5; i++)
        say_fwd(&t, i, i - 1);
    while (take(&t, CHAIN_ACT_APPEND))
        ;
    talk_activate(&t, 4, "A+B");
    acks_up(&t);
}

static void who_served_says_where_it_is_and_resets_nothing(void **state)
{
    (void)state;
    target();
    struct kt_msg m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    struct kt_msg *at = heard(&t, KT_MSG_SYNC_AT);
    assert_int_equal(at->u.sync.suffix, 1);
    assert_int_equal(at->u.sync.at.epoch, 2);
    assert_int_equal(at->u.sync.at.seq, 5);
    assert_true(kt_id_eq(&at->u.sync.history, &t.c.cfg.history));
    nothing(&t, CHAIN_ACT_APPEND);
    assert_int_equal(t.c.applied.seq, 5);
    feed(6, 0);
    assert_int_equal(acks_up(&t), 6);
    assert_int_equal(t.c.applied.seq, 6);
    /* Its own filter has grown with the records. */
    uint64_t seq = 0;
    assert_int_equal(kt_dedup_check(&t.c.dedup, TALK_TOKEN, 6, &seq),
                     KT_DEDUP_SEEN);
    assert_int_equal(seq, 6);
    talk_end(&t);
}

static void who_never_served_has_no_history_to_go_on_from(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_activate(&t, 2, "A+B");
    struct kt_msg m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    assert_int_equal(heard(&t, KT_MSG_SYNC_AT)->u.sync.suffix, 0);
    nothing(&t, CHAIN_ACT_APPEND);
    feed(10, 0);
    assert_int_equal(t.c.received.seq, 0); /* it waits for a SYNC_START */
    talk_end(&t);
}

static void before_a_reset_it_is_durable_that_there_was_one(void **state)
{
    (void)state;
    target();
    assert_false(kt_id_is_zero(&t.c.whole));
    t.lazy = true;
    struct kt_msg m = start_msg(9, false);
    say(&t, SYNC, 'A', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NEW_EPOCH);
    nothing(&t, CHAIN_ACT_APPEND);
    struct chain_act *a = take(&t, CHAIN_ACT_SAVE);
    assert_non_null(a);
    assert_true(kt_id_is_zero(&a->whole));
    assert_int_equal(a->promised, 4);
    m = start_msg(9, false);
    say(&t, SYNC, 'A', &m); /* too early */
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NEW_EPOCH);
    struct chain_event ev = {.type = CHAIN_EV_SAVED, .promised = 4};
    say_event(&t, &ev);
    m = start_msg(9, false);
    say(&t, SYNC, 'A', &m);
    a = take(&t, CHAIN_ACT_APPEND);
    assert_non_null(a);
    assert_int_equal(a->rec.op, KT_OP_RESET);
    talk_end(&t);
}

static void that_alone_is_durable_which_was_asked_for_last(void **state)
{
    (void)state;
    target();
    struct kt_cfg cfg = talk_cfg(5, "A+B");
    say_seal(&t, 5);
    t.lazy = true;
    struct kt_msg act = {
        .type = KT_MSG_ACTIVATE, .chain = TALK_CHAIN, .epoch = 5, .cfg = &cfg};
    say(&t, HUB, 0, &act); /* a save of its own */
    struct kt_msg m = start_msg(9, false);
    say(&t, SYNC, 'A', &m);
    saved(&t, 0);
    m = start_msg(9, false);
    say(&t, SYNC, 'A', &m);
    nothing(&t, CHAIN_ACT_APPEND);
    saved(&t, 0);
    m = start_msg(9, false);
    say(&t, SYNC, 'A', &m);
    assert_non_null(take(&t, CHAIN_ACT_APPEND));
    talk_end(&t);
}

static void who_serves_has_it_saved_and_keeps_it(void **state)
{
    (void)state;
    struct kt_cfg cfg = talk_cfg(2, "AB");
    talk_new(&t, 'B');
    say_seal(&t, 2);
    t.lazy = true;
    struct kt_msg act = {
        .type = KT_MSG_ACTIVATE, .chain = TALK_CHAIN, .epoch = 2, .cfg = &cfg};
    say(&t, HUB, 0, &act);
    struct chain_act *a = take(&t, CHAIN_ACT_SAVE);
    assert_true(kt_id_eq(&a->whole, &cfg.history));
    say_seal(&t, 3); /* evicted, or not: the copy is what it is */
    a = take(&t, CHAIN_ACT_SAVE);
    assert_true(kt_id_eq(&a->whole, &cfg.history));
    talk_end(&t);
}

static void a_restart_knows_what_was_saved(void **state)
{
    (void)state;
    struct kt_cfg cfg = talk_cfg(2, "AB");
    struct kt_cfg now = talk_cfg(4, "A+B");
    talk_restart(&t, 'B', 2, (struct kt_rid){2, 5}, &cfg);
    t.c.whole = cfg.history; /* as chain_init takes it from the store */
    now.members[1].incarnation = 2;
    say_seal(&t, 4);
    heard(&t, KT_MSG_SEAL_OK);
    struct kt_msg m = {
        .type = KT_MSG_ACTIVATE, .chain = TALK_CHAIN, .epoch = 4, .cfg = &now};
    say(&t, HUB, 0, &m);
    assert_true(kt_id_eq(&t.c.whole, &cfg.history));
    m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    assert_int_equal(heard(&t, KT_MSG_SYNC_AT)->u.sync.suffix, 1);
    feed(6, 0);
    /* Killed again in the middle: still the prefix of one history. */
    talk_end(&t);
    struct chain_origin o = {.chain = TALK_CHAIN,
                             .store = talk_store('B'),
                             .incarnation = 3,
                             .whole = cfg.history,
                             .applied = {2, 6}};
    chain_init(&t.c, &o);
    assert_true(kt_id_eq(&t.c.whole, &cfg.history));
}

static void a_record_without_bytes_is_not_taken(void **state)
{
    (void)state;
    target();
    struct kt_msg m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    m = talk_msg(&t, KT_MSG_COPY_START); /* nor is there a copy */
    say(&t, SYNC, 'A', &m);
    assert_false(t.c.dst.copying);
    feed(6, KT_RF_SKIP);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_GAP);
    assert_int_equal(t.c.received.seq, 5);
    nothing(&t, CHAIN_ACT_APPEND);
    talk_end(&t);
}

/* It would be looked for among our records when the write comes again. */
static void a_filter_that_knows_what_is_not_here_is_refused(void **state)
{
    (void)state;
    struct kt_dedup d = {.token = TALK_TOKEN, .window = {[3] = 10}};
    target();
    struct kt_msg m = start_msg(9, false);
    kt_dedup_encode(&d, m.buf->data);
    say(&t, SYNC, 'A', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_INVALID);
    assert_int_equal(t.c.received.seq, 5);
    assert_false(kt_id_is_zero(&t.c.whole));
    talk_end(&t);
}

/* The log may hold a few records of each of many epochs, and all of them be on
 * their way into ours at once. */
static void records_of_many_epochs_may_be_on_their_way(void **state)
{
    (void)state;
    target();
    struct kt_msg m = start_msg(30, true);
    say(&t, SYNC, 'A', &m);
    t.lazy = true;
    for (uint64_t i = 0; i < 20; i++) {
        m = talk_msg(&t, KT_MSG_FWD);
        m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                     .id = {3 + i, 6 + i},
                                     .prev = {2 + i, 5 + i},
                                     .token = TALK_TOKEN,
                                     .wseq = 6 + i,
                                     .op = KT_OP_ZERO,
                                     .len = KT_SECTOR_BYTES};
        say(&t, SYNC, 'A', &m);
    }
    appended(&t, 0);
    assert_true(kt_rid_eq(t.c.applied, (struct kt_rid){3, 6}));
    appended(&t, -ENOSPC);
    for (unsigned i = 0; i < 18; i++)
        appended(&t, KT_E_GAP);
    assert_true(kt_rid_eq(t.c.received, (struct kt_rid){3, 6}));
    talk_end(&t);
}

/* What a full store refused is in the duplicate filter and not in the log: a
 * write that is lost elsewhere would be taken for done. */
static void a_refused_record_ends_the_prefix(void **state)
{
    (void)state;
    target();
    struct kt_msg m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    t.lazy = true;
    feed(6, 0);
    appended(&t, -ENOSPC);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOSPC);
    assert_true(kt_id_is_zero(&t.c.whole));
    struct chain_act *a = take(&t, CHAIN_ACT_SAVE);
    assert_non_null(a);
    assert_true(kt_id_is_zero(&a->whole));
    talk_end(&t);
}

/* The save that takes it back does not take a promise back with it. */
static void a_promise_outlives_the_end_of_the_prefix(void **state)
{
    (void)state;
    target();
    struct kt_msg m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    t.lazy = true;
    feed(6, 0);
    say_seal(&t, 8);
    appended(&t, -ENOSPC);
    struct chain_act *a = take(&t, CHAIN_ACT_SAVE);
    assert_int_equal(a->promised, 8);
    a = take(&t, CHAIN_ACT_SAVE);
    assert_int_equal(a->promised, 8); /* I3 */
    talk_end(&t);
}

static void who_is_still_writing_asks_for_a_moment(void **state)
{
    (void)state;
    target();
    struct kt_msg m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    heard(&t, KT_MSG_SYNC_AT);
    t.lazy = true;
    feed(6, 0);
    m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NEW_EPOCH);
    appended(&t, 0);
    m = start_msg(9, true);
    say(&t, SYNC, 'A', &m);
    assert_int_equal(heard(&t, KT_MSG_SYNC_AT)->u.sync.at.seq, 6);
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
        cmocka_unit_test(who_served_says_where_it_is_and_resets_nothing),
        cmocka_unit_test(who_never_served_has_no_history_to_go_on_from),
        cmocka_unit_test(before_a_reset_it_is_durable_that_there_was_one),
        cmocka_unit_test(that_alone_is_durable_which_was_asked_for_last),
        cmocka_unit_test(who_serves_has_it_saved_and_keeps_it),
        cmocka_unit_test(a_restart_knows_what_was_saved),
        cmocka_unit_test(a_record_without_bytes_is_not_taken),
        cmocka_unit_test(a_filter_that_knows_what_is_not_here_is_refused),
        cmocka_unit_test(records_of_many_epochs_may_be_on_their_way),
        cmocka_unit_test(a_refused_record_ends_the_prefix),
        cmocka_unit_test(a_promise_outlives_the_end_of_the_prefix),
        cmocka_unit_test(who_is_still_writing_asks_for_a_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
