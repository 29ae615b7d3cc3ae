/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations between neighbours: gaps, broken links, RESUME. */
#include "tests/unit/chain_talk.h"

#include <string.h>

static struct talk t;

static void a_gap_is_named_and_nothing_behind_it_taken(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    say_fwd(&t, 3, 2);
    struct kt_msg *m = heard(&t, KT_MSG_NAK);
    assert_int_equal(m->u.nak.err, KT_E_GAP);
    assert_int_equal(m->u.nak.at.seq, 1);
    assert_int_equal(t.c.received.seq, 1);
    assert_int_equal(t.c.n_gap, 1);
    say_fwd(&t, 2, 1);
    say_fwd(&t, 3, 2);
    assert_int_equal(t.c.received.seq, 3);
    talk_end(&t);
}

static void a_right_number_behind_a_wrong_record_is_a_gap(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    struct kt_msg m = talk_msg(&t, KT_MSG_FWD);
    m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                 .id = {2, 2},
                                 .prev = {1, 1}, /* ours is (2,1) */
                                 .token = TALK_TOKEN,
                                 .wseq = 2,
                                 .op = KT_OP_TRIM,
                                 .len = KT_SECTOR_BYTES};
    say(&t, PRED, 'A', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_GAP); /* I8 */
    assert_int_equal(t.c.received.seq, 1);
    talk_end(&t);
}

static void who_is_told_of_a_gap_sends_from_there(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    for (uint64_t i = 1; i <= 3; i++) {
        say_write(&t, i, i, (int)i);
        heard(&t, KT_MSG_FWD);
    }
    struct kt_msg m = talk_msg(&t, KT_MSG_NAK);
    m.u.nak.err = KT_E_GAP;
    m.u.nak.at = (struct kt_rid){2, 1};
    say(&t, SUCC, 'B', &m);
    assert_int_equal(heard(&t, KT_MSG_FWD)->u.rec.id.seq, 2);
    assert_int_equal(heard(&t, KT_MSG_FWD)->u.rec.id.seq, 3);
    talk_end(&t);
}

static void after_a_broken_link_resume_comes_first(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    say_write(&t, 1, 0, 1);
    say_write(&t, 2, 1, 1);
    heard(&t, KT_MSG_FWD);
    heard(&t, KT_MSG_FWD);
    say_link(&t, 'B', KT_CLASS_DATA, false);
    say_write(&t, 3, 2, 1);
    quiet(&t, KT_MSG_FWD);
    say_link(&t, 'B', KT_CLASS_DATA, true);
    heard(&t, KT_MSG_RESUME);
    quiet(&t, KT_MSG_FWD); /* not before the other said what it has */
    struct kt_msg ok = talk_msg(&t, KT_MSG_RESUME_OK);
    ok.u.resume.applied = (struct kt_rid){2, 1};
    say(&t, SUCC, 'B', &ok);
    assert_int_equal(heard(&t, KT_MSG_FWD)->u.rec.id.seq, 2);
    assert_int_equal(heard(&t, KT_MSG_FWD)->u.rec.id.seq, 3);
    talk_end(&t);
}

static void resume_is_repeated_until_answered(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_activate(&t, 2, "AB");
    say_link(&t, 'B', KT_CLASS_DATA, true);
    heard(&t, KT_MSG_RESUME);
    tick(&t, 100);
    quiet(&t, KT_MSG_RESUME);
    tick(&t, 300);
    heard(&t, KT_MSG_RESUME);
    talk_end(&t);
}

static void resume_is_answered_with_what_was_received(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "ABC");
    say_fwd(&t, 1, 0);
    t.lazy = true;
    say_fwd(&t, 2, 1); /* in memory, not in the log */
    struct kt_msg m = talk_msg(&t, KT_MSG_RESUME);
    m.req = 9;
    say(&t, PRED, 'A', &m);
    struct kt_msg *ok = heard(&t, KT_MSG_RESUME_OK);
    assert_int_equal(ok->req, 9);
    assert_int_equal(ok->u.resume.applied.seq, 2); /* B5 */
    talk_end(&t);
}

static void resume_that_comes_before_activate_is_answered_after_it(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    say_seal(&t, 2);
    heard(&t, KT_MSG_SEAL_OK);
    struct kt_msg m = talk_msg(&t, KT_MSG_RESUME);
    m.epoch = 2;
    m.req = 9;
    say(&t, PRED, 'A', &m);
    quiet(&t, KT_MSG_RESUME_OK);
    struct kt_cfg cfg = talk_cfg(2, "AB");
    struct kt_msg act = {
        .type = KT_MSG_ACTIVATE, .chain = TALK_CHAIN, .epoch = 2, .cfg = &cfg};
    say(&t, HUB, 0, &act);
    assert_int_equal(heard(&t, KT_MSG_RESUME_OK)->req, 9);
    talk_end(&t);
}

static void old_bytes_of_an_old_epoch_change_nothing(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    struct kt_msg late = talk_msg(&t, KT_MSG_FWD);
    late.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                    .id = {2, 2},
                                    .prev = {2, 1},
                                    .token = TALK_TOKEN,
                                    .wseq = 2,
                                    .op = KT_OP_TRIM,
                                    .len = KT_SECTOR_BYTES};
    talk_serve(&t, 3, "AB");
    say(&t, PRED, 'A', &late);
    assert_int_equal(t.c.received.seq, 1); /* I2 */
    /* A duplicate of this epoch is acknowledged again, not taken. */
    acks_up(&t);
    say_fwd(&t, 1, 0);
    assert_int_equal(t.c.received.seq, 1);
    assert_int_equal(acks_up(&t), 1);
    talk_end(&t);
}

/* The simulator's seed 205453: the successor answered on a connection that
 * was about to end, and the head waited for ever. */
static void late_bytes_do_not_win_the_answers_back(void **state)
{
    enum { NEWER = 9 };
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    struct kt_msg m = talk_msg(&t, KT_MSG_RESUME);
    say(&t, PRED, 'A', &m);
    say(&t, NEWER, 'A', &m);
    heard(&t, KT_MSG_RESUME_OK);
    heard(&t, KT_MSG_RESUME_OK);
    t.lazy = true;
    say_fwd(&t, 1, 0); /* on the old one */
    say(&t, PRED, 'A', &m);
    quiet(&t, KT_MSG_RESUME_OK);
    struct chain_event gone = {.type = CHAIN_EV_CONN_GONE, .conn = PRED};
    say_event(&t, &gone);
    acks_up(&t);
    appended(&t, 0);
    struct chain_act *a;
    do
        a = take(&t, CHAIN_ACT_SEND);
    while (a && a->msg.type != KT_MSG_ACKC);
    assert_non_null(a);
    assert_int_equal(a->conn, NEWER);
    assert_int_equal(a->msg.u.ackc.upto, 1);
    talk_end(&t);
}

static void records_of_someone_else_are_not_taken(void **state)
{
    (void)state;
    talk_new(&t, 'C');
    talk_serve(&t, 2, "ABC");
    struct kt_msg m = talk_msg(&t, KT_MSG_FWD);
    m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                 .id = {2, 1},
                                 .token = TALK_TOKEN,
                                 .wseq = 1,
                                 .op = KT_OP_TRIM,
                                 .len = KT_SECTOR_BYTES};
    say(&t, PRED, 'A', &m); /* B is the one before C */
    assert_int_equal(t.c.received.seq, 0);
    say(&t, PRED, 'B', &m);
    assert_int_equal(t.c.received.seq, 1);
    talk_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_is_named_and_nothing_behind_it_taken),
        cmocka_unit_test(a_right_number_behind_a_wrong_record_is_a_gap),
        cmocka_unit_test(who_is_told_of_a_gap_sends_from_there),
        cmocka_unit_test(after_a_broken_link_resume_comes_first),
        cmocka_unit_test(resume_is_repeated_until_answered),
        cmocka_unit_test(resume_is_answered_with_what_was_received),
        cmocka_unit_test(
            resume_that_comes_before_activate_is_answered_after_it),
        cmocka_unit_test(old_bytes_of_an_old_epoch_change_nothing),
        cmocka_unit_test(late_bytes_do_not_win_the_answers_back),
        cmocka_unit_test(records_of_someone_else_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
