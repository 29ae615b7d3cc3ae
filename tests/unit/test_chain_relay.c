/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations about others: flushes passed on, successors that are slow. */
#include "tests/unit/chain_talk.h"

#include <string.h>

static struct talk t;

static void ask_flush(unsigned conn, char from, char of, uint64_t upto)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_FLUSH);
    m.req = 77;
    m.u.flush.upto = upto;
    m.u.flush.store = talk_store(of);
    say(&t, conn, from, &m);
}

static struct chain_act *sent(enum chain_act_type type, enum kt_type msg)
{
    struct chain_act *a;
    do
        a = take(&t, type);
    while (a && a->msg.type != msg);
    assert_non_null(a);
    return a;
}

static void answer_flush(unsigned conn, char from, uint64_t req, char of)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_FLUSH_OK);
    m.req = req;
    m.u.flush.upto = m.u.flush.durable = 9;
    m.u.flush.vgen = 1;
    m.u.flush.store = talk_store(of);
    say(&t, conn, from, &m);
}

static void a_flush_of_one_behind_goes_down_and_its_answer_back(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "ABC");
    ask_flush(CLIENT, '1', 'C', 9);
    struct kt_msg *m = &sent(CHAIN_ACT_SEND_SUCC, KT_MSG_FLUSH)->msg;
    assert_int_equal(m->u.flush.upto, 9);
    assert_int_equal(m->u.flush.store.b[0], 'C');
    assert_int_equal(m->epoch, 2);
    uint64_t req = m->req;
    quiet(&t, KT_MSG_FLUSH_OK); /* nobody has said so yet */
    answer_flush(SUCC, 'B', req, 'B');
    quiet(&t, KT_MSG_FLUSH_OK); /* not whom it was about */
    answer_flush(SUCC, 'B', req, 'C');
    struct chain_act *a = sent(CHAIN_ACT_SEND, KT_MSG_FLUSH_OK);
    assert_int_equal(a->conn, CLIENT);
    assert_int_equal(a->msg.req, 77);
    assert_int_equal(a->msg.u.flush.store.b[0], 'C');
    assert_int_equal(a->msg.u.flush.durable, 9);
    answer_flush(SUCC, 'B', req, 'C');
    quiet(&t, KT_MSG_FLUSH_OK); /* once */
    talk_end(&t);
}

static void a_flush_of_one_ahead_goes_up_the_predecessors_link(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "ABC");
    ask_flush(SUCC, 'C', 'A', 9);
    struct kt_msg *m = heard(&t, KT_MSG_NAK); /* the link is not there yet */
    assert_int_equal(m->u.nak.err, KT_E_BUSY);
    assert_int_equal(m->u.nak.store.b[0], 'A');
    struct kt_msg r = talk_msg(&t, KT_MSG_RESUME);
    say(&t, PRED, 'A', &r);
    ask_flush(SUCC, 'C', 'A', 9);
    struct chain_act *a = sent(CHAIN_ACT_SEND, KT_MSG_FLUSH);
    assert_int_equal(a->conn, PRED);
    answer_flush(PRED, 'A', a->msg.req, 'A');
    a = sent(CHAIN_ACT_SEND, KT_MSG_FLUSH_OK);
    assert_int_equal(a->conn, SUCC);
    assert_int_equal(a->msg.u.flush.store.b[0], 'A');
    talk_end(&t);
}

static void the_one_meant_answers_when_it_is_durable(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    t.lazy = true;
    ask_flush(PRED, 'A', 'B', 1);
    quiet(&t, KT_MSG_FLUSH_OK);
    synced(&t, 0); /* I13 */
    struct chain_act *a = sent(CHAIN_ACT_SEND, KT_MSG_FLUSH_OK);
    assert_int_equal(a->conn, PRED);
    assert_int_equal(a->msg.u.flush.store.b[0], 'B');
    talk_end(&t);
}

static void a_refusal_goes_back_too(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "ABC");
    ask_flush(CLIENT, '1', 'C', 9);
    struct kt_msg n = talk_msg(&t, KT_MSG_NAK);
    n.req = sent(CHAIN_ACT_SEND_SUCC, KT_MSG_FLUSH)->msg.req;
    n.u.nak.err = KT_E_BEHIND;
    n.u.nak.re = KT_MSG_FLUSH;
    say(&t, SUCC, 'B', &n);
    struct chain_act *a = sent(CHAIN_ACT_SEND, KT_MSG_NAK);
    assert_int_equal(a->conn, CLIENT);
    assert_int_equal(a->msg.req, 77);
    assert_int_equal(a->msg.u.nak.err, KT_E_BEHIND);
    assert_int_equal(a->msg.u.nak.store.b[0], 'C');
    talk_end(&t);
}

static void nothing_is_passed_back_or_to_who_does_not_serve(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "ABCd");
    struct kt_msg r = talk_msg(&t, KT_MSG_RESUME);
    say(&t, PRED, 'A', &r);
    ask_flush(PRED, 'A', 'A', 9);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_SERVING);
    ask_flush(SUCC, 'C', 'C', 9);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_SERVING);
    ask_flush(CLIENT, '1', 'd', 9);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_SERVING);
    quiet(&t, KT_MSG_FLUSH);
    talk_end(&t);
}

static void an_answer_of_another_epoch_is_worth_nothing(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "ABC");
    ask_flush(CLIENT, '1', 'C', 9);
    uint64_t req = sent(CHAIN_ACT_SEND_SUCC, KT_MSG_FLUSH)->msg.req;
    talk_serve(&t, 3, "ABC");
    answer_flush(SUCC, 'B', req, 'C'); /* forgotten with its epoch */
    quiet(&t, KT_MSG_FLUSH_OK);
    ask_flush(CLIENT, '1', 'C', 9);
    struct kt_msg m = talk_msg(&t, KT_MSG_FLUSH_OK);
    m.req = sent(CHAIN_ACT_SEND_SUCC, KT_MSG_FLUSH)->msg.req;
    m.epoch = 2;
    m.u.flush.store = talk_store('C');
    say(&t, SUCC, 'B', &m);
    quiet(&t, KT_MSG_FLUSH_OK); /* I2 */
    talk_end(&t);
}

static void who_asked_and_left_is_not_answered(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "ABC");
    ask_flush(CLIENT, '1', 'C', 9);
    uint64_t req = sent(CHAIN_ACT_SEND_SUCC, KT_MSG_FLUSH)->msg.req;
    struct chain_event gone = {.type = CHAIN_EV_CONN_GONE, .conn = CLIENT};
    say_event(&t, &gone);
    answer_flush(SUCC, 'B', req, 'C');
    quiet(&t, KT_MSG_FLUSH_OK);
    talk_end(&t);
}

static void of_too_many_the_oldest_is_given_up(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "ABC");
    uint64_t first = 0, last = 0;
    for (unsigned i = 0; i <= CHAIN_RELAYS; i++) {
        ask_flush(CLIENT, '1', 'C', 9);
        last = sent(CHAIN_ACT_SEND_SUCC, KT_MSG_FLUSH)->msg.req;
        first = i == 0 ? last : first;
    }
    answer_flush(SUCC, 'B', first, 'C');
    quiet(&t, KT_MSG_FLUSH_OK);
    answer_flush(SUCC, 'B', last, 'C');
    heard(&t, KT_MSG_FLUSH_OK);
    talk_end(&t);
}

/* ---- F23 ---- */

static void ticks(unsigned n)
{
    while (n-- > 0)
        tick(&t, 100);
}

static void who_owes_for_a_second_is_reported_once_a_second(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    ticks(1);
    say_write(&t, 1, 0, 1);
    ticks(10);
    quiet(&t, KT_MSG_REPORT); /* a second since it was first seen */
    ticks(1);
    struct kt_msg *m = heard(&t, KT_MSG_REPORT);
    assert_int_equal(m->u.report.err, 0);
    assert_int_equal(m->u.report.node.id.b[0], 'B');
    assert_int_equal(m->u.report.slow_ms, 1000);
    ticks(9);
    quiet(&t, KT_MSG_REPORT);
    ticks(1);
    assert_int_equal(heard(&t, KT_MSG_REPORT)->u.report.slow_ms, 2000);
    say_ackc(&t, 1);
    ticks(20);
    quiet(&t, KT_MSG_REPORT);
    talk_end(&t);
}

/* Much is under way all the time, and nothing of it for long. */
static void who_is_busy_is_not_slow(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    say_write(&t, 1, 0, 1);
    for (uint64_t i = 2; i < 40; i++) {
        say_write(&t, i, i, 1);
        ticks(1);
        say_ackc(&t, i - 1);
    }
    quiet(&t, KT_MSG_REPORT);
    talk_end(&t);
}

static void who_was_stopped_itself_or_has_a_slow_log_accuses_nobody(void **s)
{
    (void)s;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    ticks(1);
    say_write(&t, 1, 0, 1);
    ticks(1);
    tick(&t, 5000); /* the acknowledgement may wait to be read */
    quiet(&t, KT_MSG_REPORT);
    say_ackc(&t, 1);
    t.lazy = true;
    say_write(&t, 2, 1, 1);
    ticks(30);
    quiet(&t, KT_MSG_REPORT);
    talk_end(&t);
}

static void a_link_that_is_down_or_a_sealed_chain_owes_nothing(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    ticks(1);
    say_write(&t, 1, 0, 1);
    ticks(5);
    say_link(&t, 'B', KT_CLASS_DATA, false);
    ticks(20);
    quiet(&t, KT_MSG_REPORT);
    talk_serve(&t, 3, "AB");
    say_write(&t, 2, 0, 1);
    ticks(5);
    say_seal(&t, 4);
    ticks(20);
    quiet(&t, KT_MSG_REPORT);
    talk_end(&t);
}

/* Whom the tail feeds may take its time. */
static void a_resync_is_not_waited_for(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB+C");
    say_link(&t, 'C', KT_CLASS_SYNC, true);
    ticks(1);
    say_fwd(&t, 1, 0);
    ticks(30);
    quiet(&t, KT_MSG_REPORT);
    talk_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flush_of_one_behind_goes_down_and_its_answer_back),
        cmocka_unit_test(a_flush_of_one_ahead_goes_up_the_predecessors_link),
        cmocka_unit_test(the_one_meant_answers_when_it_is_durable),
        cmocka_unit_test(a_refusal_goes_back_too),
        cmocka_unit_test(nothing_is_passed_back_or_to_who_does_not_serve),
        cmocka_unit_test(an_answer_of_another_epoch_is_worth_nothing),
        cmocka_unit_test(who_asked_and_left_is_not_answered),
        cmocka_unit_test(of_too_many_the_oldest_is_given_up),
        cmocka_unit_test(who_owes_for_a_second_is_reported_once_a_second),
        cmocka_unit_test(who_is_busy_is_not_slow),
        cmocka_unit_test(
            who_was_stopped_itself_or_has_a_slow_log_accuses_nobody),
        cmocka_unit_test(a_link_that_is_down_or_a_sealed_chain_owes_nothing),
        cmocka_unit_test(a_resync_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
