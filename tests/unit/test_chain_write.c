/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations about writing: one member speaks, the test is all others. */
#include "tests/unit/chain_talk.h"

#include <errno.h>
#include <string.h>

static struct talk t;

static void a_write_goes_through_three_members(void **state)
{
    (void)state;
    /* The head gives the number, forwards, and waits. */
    talk_new(&t, 'A');
    talk_serve(&t, 2, "ABC");
    say_write(&t, 1, 0, 0x11);
    struct kt_msg *m = heard(&t, KT_MSG_FWD);
    assert_int_equal(m->u.rec.id.epoch, 2);
    assert_int_equal(m->u.rec.id.seq, 1);
    assert_int_equal(m->u.rec.prev.seq, 0);
    quiet(&t, KT_MSG_ACK);
    say_ackc(&t, 1);
    m = heard(&t, KT_MSG_ACK);
    assert_int_equal(m->req, 1001);
    assert_int_equal(m->u.ack.wseq, 1);
    assert_int_equal(m->u.ack.id.seq, 1);
    talk_end(&t);

    /* The middle says ACKC only after its successor did. */
    talk_new(&t, 'B');
    talk_serve(&t, 2, "ABC");
    say_fwd(&t, 1, 0);
    heard(&t, KT_MSG_FWD);
    assert_int_equal(acks_up(&t), 0);
    say_ackc(&t, 1);
    assert_int_equal(acks_up(&t), 1);
    talk_end(&t);

    /* The tail acknowledges what it has in its log. */
    talk_new(&t, 'C');
    talk_serve(&t, 2, "ABC");
    t.lazy = true;
    say_fwd(&t, 1, 0);
    quiet(&t, KT_MSG_FWD);
    assert_int_equal(acks_up(&t), 0);
    appended(&t, 0);
    assert_int_equal(acks_up(&t), 1);
    talk_end(&t);
}

static void the_head_waits_for_its_own_log_too(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    t.lazy = true;
    say_write(&t, 1, 0, 1);
    heard(&t, KT_MSG_FWD); /* at once: cut-through */
    say_ackc(&t, 1);
    quiet(&t, KT_MSG_ACK);
    appended(&t, 0);
    heard(&t, KT_MSG_ACK);
    talk_end(&t);
}

static void a_committed_write_sent_again_is_only_answered(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    say_write(&t, 1, 0, 1);
    heard(&t, KT_MSG_FWD);
    say_ackc(&t, 1);
    heard(&t, KT_MSG_ACK);
    say_write(&t, 1, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_ACK)->u.ack.id.seq, 1);
    quiet(&t, KT_MSG_FWD);
    assert_int_equal(t.c.received.seq, 1);
    assert_int_equal(t.c.n_dup, 1);
    talk_end(&t);
}

static void one_under_way_sent_again_is_answered_when_it_is_done(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    say_write(&t, 1, 0, 1);
    heard(&t, KT_MSG_FWD);
    say_write(&t, 1, 0, 1);
    quiet(&t, KT_MSG_FWD);
    quiet(&t, KT_MSG_ACK);
    say_ackc(&t, 1);
    heard(&t, KT_MSG_ACK);
    quiet(&t, KT_MSG_ACK); /* once */
    talk_end(&t);
}

static void a_new_head_knows_what_the_old_one_did(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0); /* wseq 1 */
    talk_serve(&t, 3, "B");
    struct kt_msg *m;
    say_write(&t, 1, 0, 1);
    m = heard(&t, KT_MSG_ACK);
    assert_int_equal(m->u.ack.id.seq, 1);
    assert_int_equal(t.c.received.seq, 1);
    talk_end(&t);
}

static void who_may_not_write_is_told_why(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    say_write(&t, 1, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_SERVING);
    talk_serve(&t, 2, "AB");
    say_write(&t, 1, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_HEAD);
    talk_serve(&t, 3, "BA");
    struct kt_msg m = talk_msg(&t, KT_MSG_WRITE);
    m.u.write.token = TALK_TOKEN - 1;
    m.u.write.wseq = 1;
    m.u.write.op = KT_OP_TRIM;
    m.u.write.len = KT_SECTOR_BYTES;
    say(&t, CLIENT, '1', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_FENCED);
    m.u.write.token = TALK_TOKEN;
    m.epoch = 2;
    say(&t, CLIENT, '1', &m);
    struct kt_msg *n = heard(&t, KT_MSG_NAK);
    assert_int_equal(n->u.nak.err, KT_E_OLD_EPOCH);
    assert_int_equal(n->cfg->epoch, 3); /* B14: with the whole of it */
    m.epoch = 4;
    say(&t, CLIENT, '1', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NEW_EPOCH);
    assert_int_equal(t.c.received.seq, 0);
    talk_end(&t);
}

static void below_min_write_not_even_a_duplicate_is_answered(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    say_write(&t, 1, 0, 1);
    heard(&t, KT_MSG_FWD);
    say_ackc(&t, 1);
    heard(&t, KT_MSG_ACK);
    talk_serve(&t, 3, "A");
    t.c.cfg.min_write = 2;
    say_write(&t, 1, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_MINWRITE);
    quiet(&t, KT_MSG_ACK);
    talk_end(&t);
}

static void a_new_slot_needs_credit_from_everybody(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    struct kt_msg m = talk_msg(&t, KT_MSG_ACKC);
    m.u.ackc.alloc_limit = 1;
    say(&t, SUCC, 'B', &m);
    say_write(&t, 1, 0, 1);
    heard(&t, KT_MSG_FWD);
    say_write(&t, 2, 1, 1); /* the same extent: no new slot */
    heard(&t, KT_MSG_FWD);
    say_write(&t, 3, KT_EXTENT_SECTORS, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_BUSY);
    m.u.ackc.full = 1;
    say(&t, SUCC, 'B', &m);
    say_write(&t, 3, KT_EXTENT_SECTORS, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOSPC);
    assert_int_equal(t.c.received.seq, 2); /* no number was given (A4) */
    m.u.ackc.full = 0;
    m.u.ackc.alloc_limit = 2;
    say(&t, SUCC, 'B', &m);
    say_write(&t, 3, KT_EXTENT_SECTORS, 1);
    heard(&t, KT_MSG_FWD);
    talk_end(&t);
}

static void flush_waits_for_the_sync(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    t.lazy = true;
    struct kt_msg m = talk_msg(&t, KT_MSG_FLUSH);
    m.req = 77;
    m.u.flush.upto = 2;
    say(&t, CLIENT, '1', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_BEHIND);
    m.u.flush.upto = 1;
    say(&t, CLIENT, '1', &m);
    quiet(&t, KT_MSG_FLUSH_OK);
    synced(&t, 0);
    struct kt_msg *ok = heard(&t, KT_MSG_FLUSH_OK);
    assert_int_equal(ok->req, 77);
    assert_int_equal(ok->u.flush.durable, 1);
    assert_int_equal(ok->u.flush.vgen, 1);
    /* What is durable already needs no second one. */
    say(&t, CLIENT, '1', &m);
    heard(&t, KT_MSG_FLUSH_OK);
    nothing(&t, CHAIN_ACT_SYNC);
    talk_end(&t);
}

static void a_flush_asked_during_a_sync_waits_for_the_next(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    t.lazy = true;
    struct kt_msg m = talk_msg(&t, KT_MSG_FLUSH);
    m.u.flush.upto = 1;
    say(&t, CLIENT, '1', &m);
    uint64_t had = t.appended;
    say_fwd(&t, 2, 1);
    appended(&t, 0);
    m.u.flush.upto = 2;
    say(&t, CLIENT, '1', &m);
    assert_non_null(take(&t, CHAIN_ACT_SYNC));
    struct chain_event ev = {.type = CHAIN_EV_SYNCED, .durable = had};
    say_event(&t, &ev);
    assert_int_equal(heard(&t, KT_MSG_FLUSH_OK)->u.flush.upto, 1);
    quiet(&t, KT_MSG_FLUSH_OK);
    synced(&t, 0);
    assert_int_equal(heard(&t, KT_MSG_FLUSH_OK)->u.flush.upto, 2);
    talk_end(&t);
}

static void a_failed_sync_is_the_end_of_this_member(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "A");
    say_write(&t, 1, 0, 1);
    heard(&t, KT_MSG_ACK);
    t.lazy = true;
    struct kt_msg m = talk_msg(&t, KT_MSG_FLUSH);
    m.u.flush.upto = 1;
    say(&t, CLIENT, '1', &m);
    synced(&t, -EIO);
    quiet(&t, KT_MSG_FLUSH_OK);
    nothing(&t, CHAIN_ACT_SYNC); /* never tried again (I17) */
    assert_int_equal(t.c.phase, CHAIN_FAULTY);
    say_write(&t, 2, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_FAULTY);
    talk_end(&t);
}

static void a_reader_ahead_of_this_member_is_refused(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    struct kt_msg m = talk_msg(&t, KT_MSG_READ);
    m.u.read.len = KT_SECTOR_BYTES;
    m.u.read.min_seq = 1;
    say(&t, CLIENT, '1', &m);
    assert_int_equal(take(&t, CHAIN_ACT_READ)->conn, CLIENT);
    m.u.read.min_seq = 2;
    say(&t, CLIENT, '1', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_BEHIND); /* I20 */
    m.u.read.min_seq = 0;
    m.u.read.extent = TALK_EXTENTS;
    say(&t, CLIENT, '1', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_INVALID);
    talk_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_goes_through_three_members),
        cmocka_unit_test(the_head_waits_for_its_own_log_too),
        cmocka_unit_test(a_committed_write_sent_again_is_only_answered),
        cmocka_unit_test(one_under_way_sent_again_is_answered_when_it_is_done),
        cmocka_unit_test(a_new_head_knows_what_the_old_one_did),
        cmocka_unit_test(who_may_not_write_is_told_why),
        cmocka_unit_test(below_min_write_not_even_a_duplicate_is_answered),
        cmocka_unit_test(a_new_slot_needs_credit_from_everybody),
        cmocka_unit_test(flush_waits_for_the_sync),
        cmocka_unit_test(a_flush_asked_during_a_sync_waits_for_the_next),
        cmocka_unit_test(a_failed_sync_is_the_end_of_this_member),
        cmocka_unit_test(a_reader_ahead_of_this_member_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
