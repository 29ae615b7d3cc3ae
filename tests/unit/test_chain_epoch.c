/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations with the hub: SEAL, EQUALIZE, ACTIVATE. */
#include "tests/unit/chain_talk.h"

#include <errno.h>
#include <string.h>

static struct talk t;

static void say_activate(uint64_t epoch, const char *members)
{
    struct kt_cfg cfg = talk_cfg(epoch, members);
    struct kt_msg m = {.type = KT_MSG_ACTIVATE,
                       .chain = TALK_CHAIN,
                       .epoch = epoch,
                       .cfg = &cfg};
    say(&t, HUB, 0, &m);
}

static void say_eq(uint64_t epoch, uint64_t incarnation, struct kt_rid applied,
                   const char *targets)
{
    struct kt_eq_target to[KT_MEMBERS_MAX];
    struct kt_msg m = {.type = KT_MSG_EQ, .chain = TALK_CHAIN, .epoch = epoch};
    memset(to, 0, sizeof(to));
    for (; targets[m.u.eq.n]; m.u.eq.n++) {
        to[m.u.eq.n].store = talk_store(targets[m.u.eq.n]);
        to[m.u.eq.n].incarnation = 1;
    }
    m.u.eq.incarnation = incarnation;
    m.u.eq.applied = applied;
    m.u.eq.targets = to;
    say(&t, HUB, 0, &m);
}

static void say_eqdata(uint64_t epoch, uint64_t seq, bool last)
{
    struct kt_msg m = {
        .type = KT_MSG_EQDATA, .chain = TALK_CHAIN, .epoch = epoch};
    m.u.eqdata.incarnation = t.c.incarnation;
    m.u.eqdata.last = last;
    m.u.eqdata.rec = (struct kt_record){.chain = TALK_CHAIN,
                                        .id = {2, seq},
                                        .prev = {seq > 1 ? 2 : 0, seq - 1},
                                        .token = TALK_TOKEN,
                                        .wseq = seq,
                                        .op = KT_OP_TRIM,
                                        .len = KT_SECTOR_BYTES};
    say(&t, PRED, 'A', &m);
}

static void nothing_is_served_before_the_hub_says_so(void **state)
{
    (void)state;
    struct kt_cfg cfg = talk_cfg(2, "AB");
    talk_restart(&t, 'A', 2, (struct kt_rid){2, 5}, &cfg);
    say_write(&t, 1, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_SERVING);
    struct kt_msg m = talk_msg(&t, KT_MSG_READ);
    m.u.read.len = KT_SECTOR_BYTES;
    say(&t, CLIENT, '1', &m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_SERVING);
    /* The configuration it had names an incarnation that is no more. */
    say_activate(2, "AB");
    quiet(&t, KT_MSG_ACT_OK);
    assert_int_equal(t.c.phase, CHAIN_DETACHED);
    talk_end(&t);
}

static void seal_promises_durably_and_tells_what_is_there(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    t.lazy = true;
    say_fwd(&t, 2, 1);
    say_seal(&t, 5);
    quiet(&t, KT_MSG_SEAL_OK);
    say_write(&t, 9, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_SEALED);
    saved(&t, 0); /* of the ACTIVATE before was done; this is the promise */
    quiet(&t, KT_MSG_SEAL_OK); /* an append is still under way */
    appended(&t, 0);
    struct kt_msg *m = heard(&t, KT_MSG_SEAL_OK);
    assert_int_equal(m->epoch, 5);
    assert_int_equal(m->u.seal_ok.promised, 5);
    assert_int_equal(m->u.seal_ok.applied.seq, 2);
    assert_int_equal(m->u.seal_ok.last_epoch, 2);
    talk_end(&t);
}

static void what_was_promised_is_kept(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_seal(&t, 5);
    heard(&t, KT_MSG_SEAL_OK);
    say_seal(&t, 4);
    assert_int_equal(heard(&t, KT_MSG_SEAL_REFUSED)->u.seal_ok.promised, 5);
    say_activate(4, "AB");
    quiet(&t, KT_MSG_ACT_OK); /* I3 */
    say_fwd(&t, 1, 0);
    assert_int_equal(t.c.received.seq, 0);
    say_seal(&t, 5); /* asked again, answered again */
    heard(&t, KT_MSG_SEAL_OK);
    talk_end(&t);
    /* Also by the next process. */
    talk_restart(&t, 'B', 2, (struct kt_rid){0, 0}, NULL);
    t.c.promised = 5;
    say_seal(&t, 4);
    heard(&t, KT_MSG_SEAL_REFUSED);
    talk_end(&t);
}

static void a_late_duplicate_of_seal_seals_nothing(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 3, "A");
    say_seal(&t, 3);
    say_seal(&t, 2);
    quiet(&t, KT_MSG_SEAL_OK);
    quiet(&t, KT_MSG_SEAL_REFUSED);
    say_write(&t, 1, 0, 1);
    heard(&t, KT_MSG_ACK); /* B1: it goes on */
    talk_end(&t);
}

static void late_eq_and_eqdata_are_dropped_when_active(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 3, "AB");
    say_fwd(&t, 1, 0);
    say_eqdata(3, 2, false);
    say_eq(3, 1, (struct kt_rid){3, 1}, "");
    quiet(&t, KT_MSG_EQ_OK);
    assert_int_equal(t.c.received.seq, 1);
    talk_end(&t);
}

static void the_donor_syncs_first_and_pushes_what_is_missing(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "A");
    say_write(&t, 1, 0, 1);
    say_seal(&t, 3);
    heard(&t, KT_MSG_SEAL_OK);
    t.lazy = true;
    say_eq(3, 1, (struct kt_rid){2, 1}, "B");
    struct chain_act *a = take(&t, CHAIN_ACT_EQ_PUSH);
    assert_non_null(a);
    assert_int_equal(a->after, 0);
    assert_int_equal(a->upto.seq, 1);
    assert_int_equal(a->epoch, 3);
    quiet(&t, KT_MSG_EQ_OK);
    say_eq(3, 1, (struct kt_rid){2, 1}, "B");
    nothing(&t, CHAIN_ACT_EQ_PUSH); /* it is under way */
    synced(&t, 0);
    assert_int_equal(heard(&t, KT_MSG_EQ_OK)->u.eq_ok.applied.seq, 1); /* B3 */
    struct chain_event ev = {
        .type = CHAIN_EV_PUSHED, .peer = talk_store('B'), .err = -ENODATA};
    say_event(&t, &ev);
    struct kt_msg *m = heard(&t, KT_MSG_EQ_OK);
    assert_int_equal(m->u.eq_ok.err, KT_E_GAP); /* of B, not of itself */
    assert_int_equal(m->u.eq_ok.store.b[0], 'B');
    talk_end(&t);
}

static void eq_for_another_incarnation_or_history_is_refused(void **state)
{
    (void)state;
    talk_new(&t, 'A');
    talk_serve(&t, 2, "A");
    say_write(&t, 1, 0, 1);
    say_seal(&t, 3);
    heard(&t, KT_MSG_SEAL_OK);
    say_eq(3, 2, (struct kt_rid){2, 1}, "B");
    assert_int_equal(heard(&t, KT_MSG_EQ_OK)->u.eq_ok.err, KT_E_BEHIND);
    say_eq(3, 1, (struct kt_rid){2, 2}, "B");
    assert_int_equal(heard(&t, KT_MSG_EQ_OK)->u.eq_ok.err,
                     KT_E_BEHIND); /* B2 */
    nothing(&t, CHAIN_ACT_EQ_PUSH);
    say_eq(4, 1, (struct kt_rid){2, 1}, "B"); /* not sealed for that */
    quiet(&t, KT_MSG_EQ_OK);
    talk_end(&t);
}

static void a_target_appends_syncs_and_then_says_so(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    say_seal(&t, 3);
    heard(&t, KT_MSG_SEAL_OK);
    t.lazy = true;
    say_eqdata(3, 1, false);
    say_eqdata(3, 2, false);
    say_eqdata(3, 2, false); /* twice */
    say_eqdata(3, 4, false); /* too far */
    say_eqdata(3, 0, true);
    nothing(&t, CHAIN_ACT_SYNC);
    appended(&t, 0);
    appended(&t, 0);
    quiet(&t, KT_MSG_EQ_OK);
    synced(&t, 0);
    struct kt_msg *m = heard(&t, KT_MSG_EQ_OK);
    assert_int_equal(m->u.eq_ok.applied.epoch, 2);
    assert_int_equal(m->u.eq_ok.applied.seq, 2);
    assert_int_equal(m->u.eq_ok.incarnation, 1);
    nothing(&t, CHAIN_ACT_APPEND);
    talk_end(&t);
}

/* The hub asks again: what comes only now is not covered by the sync before. */
static void a_target_syncs_again_for_what_came_later(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    say_seal(&t, 3);
    heard(&t, KT_MSG_SEAL_OK);
    t.lazy = true;
    say_eqdata(3, 1, false);
    say_eqdata(3, 0, true);
    appended(&t, 0);
    say_eqdata(3, 2, false);
    appended(&t, 0);
    synced(&t, 0); /* asked for before record 2 */
    quiet(&t, KT_MSG_EQ_OK);
    say_eqdata(3, 0, true);
    quiet(&t, KT_MSG_EQ_OK);
    synced(&t, 0);
    assert_int_equal(heard(&t, KT_MSG_EQ_OK)->u.eq_ok.applied.seq, 2);
    talk_end(&t);
}

/* It would serve what its log may still refuse. */
static void activate_waits_for_appends_under_way(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    say_seal(&t, 3);
    heard(&t, KT_MSG_SEAL_OK);
    t.lazy = true;
    say_eqdata(3, 1, false);
    say_activate(3, "AB");
    quiet(&t, KT_MSG_ACT_OK);
    assert_int_equal(t.c.phase, CHAIN_SEALED);
    appended(&t, 0);
    say_activate(3, "AB"); /* as the hub does until it is answered */
    heard(&t, KT_MSG_ACT_OK);
    talk_end(&t);
}

static void activate_begins_with_everything_acknowledged(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_fwd(&t, 1, 0);
    say_seal(&t, 3);
    heard(&t, KT_MSG_SEAL_OK);
    say_activate(3, "BA");
    assert_int_equal(t.c.acked, 1); /* I9 */
    assert_int_equal(t.c.me, 0);
    say_activate(3, "BA"); /* again: only answered */
    heard(&t, KT_MSG_ACT_OK);
    heard(&t, KT_MSG_ACT_OK);
    quiet(&t, KT_MSG_ACT_OK);
    talk_end(&t);
}

/* Its last record was never acknowledged, nor will be: the log may let go. */
static void who_has_no_part_keeps_nothing_in_the_log(void **state)
{
    (void)state;
    struct kt_cfg cfg = talk_cfg(2, "AB");
    talk_restart(&t, 'B', 2, (struct kt_rid){2, 5}, &cfg);
    say_activate(4, "AC");
    struct chain_act *a = take(&t, CHAIN_ACT_ACKED);
    assert_non_null(a);
    assert_int_equal(a->seq, 5);
    heard(&t, KT_MSG_ACT_OK);
    talk_end(&t);
}

static void activate_without_its_own_seal_serves_nothing(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    talk_serve(&t, 2, "AB");
    say_activate(4, "AB");
    quiet(&t, KT_MSG_ACT_OK);
    assert_int_equal(t.c.cfg.epoch, 2);
    struct kt_msg *m = heard(&t, KT_MSG_NAK); /* the hub thinks it was sealed */
    assert_int_equal(m->u.nak.re, KT_MSG_ACTIVATE);
    assert_int_equal(m->epoch, 4);
    /* One that does not name it is news, and no more. */
    say_activate(4, "AC");
    heard(&t, KT_MSG_ACT_OK);
    assert_int_equal(t.c.role, CHAIN_NONE);
    say_write(&t, 1, 0, 1);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOT_SERVING);
    talk_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_served_before_the_hub_says_so),
        cmocka_unit_test(seal_promises_durably_and_tells_what_is_there),
        cmocka_unit_test(what_was_promised_is_kept),
        cmocka_unit_test(a_late_duplicate_of_seal_seals_nothing),
        cmocka_unit_test(late_eq_and_eqdata_are_dropped_when_active),
        cmocka_unit_test(the_donor_syncs_first_and_pushes_what_is_missing),
        cmocka_unit_test(eq_for_another_incarnation_or_history_is_refused),
        cmocka_unit_test(a_target_appends_syncs_and_then_says_so),
        cmocka_unit_test(a_target_syncs_again_for_what_came_later),
        cmocka_unit_test(activate_waits_for_appends_under_way),
        cmocka_unit_test(activate_begins_with_everything_acknowledged),
        cmocka_unit_test(who_has_no_part_keeps_nothing_in_the_log),
        cmocka_unit_test(activate_without_its_own_seal_serves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
