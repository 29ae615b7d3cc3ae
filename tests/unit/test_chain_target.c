/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations of a resync by the log's suffix, its target: where it says it
 * is, what it makes durable first, what it takes and what it refuses. */
#include "tests/unit/chain_talk.h"

#include <errno.h>
#include <string.h>

#include "replicator/store/store.h"

static struct talk t;

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

/* The simulator's seed 300313: its disk was stuck. */
static void a_target_put_out_while_its_reset_is_written_goes_on(void **state)
{
    (void)state;
    target();
    struct kt_msg m = start_msg(3, false);
    say(&t, SYNC, 'A', &m);
    m = start_msg(3, false);
    t.lazy = true;
    say(&t, SYNC, 'A', &m);
    assert_int_equal(t.c.received.seq, 3);
    assert_int_equal(t.c.applied.seq, 5);
    struct kt_cfg cfg = talk_cfg(6, "A");
    struct kt_msg act = {
        .type = KT_MSG_ACTIVATE, .chain = TALK_CHAIN, .epoch = 6, .cfg = &cfg};
    say(&t, HUB, 0, &act);
    appended(&t, 0);
    assert_int_equal(t.c.applied.seq, 3);
    saved(&t, 0);
    say_seal(&t, 7);
    saved(&t, 0);
    struct kt_msg *ok = heard(&t, KT_MSG_SEAL_OK);
    assert_int_equal(ok->u.seal_ok.applied.seq, 3);
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
        cmocka_unit_test(who_served_says_where_it_is_and_resets_nothing),
        cmocka_unit_test(who_never_served_has_no_history_to_go_on_from),
        cmocka_unit_test(before_a_reset_it_is_durable_that_there_was_one),
        cmocka_unit_test(a_target_put_out_while_its_reset_is_written_goes_on),
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
