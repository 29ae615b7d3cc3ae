/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations about how fast a resync goes: not at the expense of writers,
 * and not for ever. */
#include "tests/unit/chain_talk.h"

#include <errno.h>
#include <string.h>

static struct talk t;

#define PIECE 64u /* records read from the log at a time */
#define COST (KT_SECTOR_BYTES + 256u)

static uint64_t wseq;

static void drain(void)
{
    while (take(&t, CHAIN_ACT_SEND) || take(&t, CHAIN_ACT_SEND_DST) ||
           take(&t, CHAIN_ACT_ACKED))
        ;
}

static void write_one(void)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_WRITE);
    m.u.write.token = TALK_TOKEN;
    m.u.write.wseq = wseq;
    m.u.write.wstable = wseq > 300 ? wseq - 300 : 0;
    m.u.write.op = KT_OP_WRITE;
    m.u.write.len = KT_SECTOR_BYTES;
    m.buf = talk_sectors(1, 1);
    say(&t, CLIENT, '1', &m);
}

/* Writes until n are acknowledged or the head takes no more; how many were. */
static unsigned write_up_to(unsigned n)
{
    uint64_t before = t.c.received.seq;
    while (t.c.received.seq - before < n &&
           t.c.received.seq - t.c.acked < CHAIN_INFLIGHT_MAX) {
        wseq++;
        write_one();
        drain();
    }
    return (unsigned)(t.c.received.seq - before);
}

static void dst_acked(uint64_t upto)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_ACKC);
    m.u.ackc.upto = upto;
    say(&t, SYNC, 'B', &m);
    drain();
}

/* A serves alone with `written` records; B says it has `has` of them. */
static void source(unsigned written, uint64_t has, uint64_t rate)
{
    talk_new(&t, 'A');
    wseq = 0;
    t.c.resync_rate = rate;
    talk_activate(&t, 2, "A+B");
    write_up_to(written);
    say_link(&t, 'B', KT_CLASS_SYNC, true);
    tick(&t, 100);
    heard(&t, KT_MSG_SYNC_START);
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_AT);
    m.req = t.c.src.id;
    m.u.sync.at = (struct kt_rid){2, has};
    m.u.sync.history = t.c.cfg.history;
    m.u.sync.incarnation = 1;
    m.u.sync.suffix = 1;
    say(&t, SYNC, 'B', &m);
}

/* The log is read as it is asked for; how many records. */
static uint64_t read_log(void)
{
    static struct kt_record recs[PIECE];
    static struct kt_buf *bufs[PIECE];
    uint64_t n = 0;
    struct chain_act *a;
    while ((a = take(&t, CHAIN_ACT_LOG_READ)) != NULL) {
        struct chain_event ev = {.type = CHAIN_EV_LOG,
                                 .sync_id = a->sync_id,
                                 .recs = recs,
                                 .bufs = bufs};
        for (uint64_t s = a->after + 1;
             s <= t.c.applied.seq && ev.n_recs < PIECE; s++) {
            recs[ev.n_recs] = (struct kt_record){.chain = TALK_CHAIN,
                                                 .id = {2, s},
                                                 .prev = {2, s - 1},
                                                 .op = KT_OP_WRITE,
                                                 .len = KT_SECTOR_BYTES};
            bufs[ev.n_recs++] = talk_sectors(1, 1);
        }
        say_event(&t, &ev);
        for (uint32_t i = 0; i < ev.n_recs; i++)
            kt_buf_unref(bufs[i]);
        n += ev.n_recs;
        drain();
    }
    return n;
}

static void the_log_is_read_no_faster_than_was_asked_for(void **state)
{
    (void)state;
    source(3000, 2, 1u << 20);
    uint64_t n = read_log(); /* what may be read at once */
    assert_in_range(n, (1u << 20) / COST - PIECE, (1u << 20) / COST + PIECE);
    for (unsigned i = 0; i < 40; i++) {
        tick(&t, 100);
        dst_acked(t.c.src.fed);
        n += read_log();
    }
    assert_in_range(n, (5u << 20) / COST - PIECE, (5u << 20) / COST + PIECE);
    talk_end(&t);
}

static void copies_are_made_no_faster_either(void **state)
{
    (void)state;
    source(1, 0, 1u << 20);
    talk_end(&t);
    t.n = 0;
    t.c.src.state = CHAIN_SYNC_COPY;
    t.c.src.copying = t.c.src.sums_asked = t.c.src.wanted = true;
    memset(t.c.src.ext, CHAIN_EXT_CLEAN, sizeof(t.c.src.ext));
    t.c.src.ext[0] = CHAIN_EXT_COPYING;
    memset(t.c.src.want, 0xff, sizeof(t.c.src.want));
    t.c.src.sector = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < 12; i++) {
        tick(&t, 100);
        struct chain_act *a = take(&t, CHAIN_ACT_BASE_READ);
        if (!a)
            continue;
        struct kt_buf *b = talk_sectors(a->len / KT_SECTOR_BYTES, 1);
        struct chain_event ev = {.type = CHAIN_EV_BASE,
                                 .sync_id = a->sync_id,
                                 .extent = a->extent,
                                 .off = a->off,
                                 .len = a->len,
                                 .buf = b};
        n += a->len;
        say_event(&t, &ev);
        kt_buf_unref(b);
    }
    assert_in_range(n, 2u << 20, 3u << 20); /* of 4 MiB */
    talk_end(&t);
}

static void slow_acknowledgements_slow_it_down_and_quick_ones_do_not(void **s)
{
    (void)s;
    source(300, 2, 0);
    uint64_t rate = t.c.pace.rate;
    for (unsigned i = 0; i < 5; i++) {
        write_up_to(1);
        tick(&t, 100);
    }
    assert_true(t.c.pace.rate > rate);
    rate = t.c.pace.rate;
    t.lazy = true;
    write_up_to(1);
    for (unsigned i = 0; i < 5; i++)
        tick(&t, 100);
    assert_true(t.c.pace.rate <= rate / 8);
    for (unsigned i = 0; i < 15; i++)
        tick(&t, 100);
    assert_int_equal(t.c.pace.rate, 4u << 20); /* but it goes on */
    t.lazy = false;
    appended(&t, 0);
    for (unsigned i = 0; i < 5; i++) {
        write_up_to(1);
        tick(&t, 100);
    }
    assert_true(t.c.pace.rate > 4u << 20);
    talk_end(&t);
}

/* ---- B8: the end ---- */

/* B took the log and stays 150 records behind. */
static void lagging(void)
{
    source(200, 2, 0);
    while (read_log())
        dst_acked(50);
    assert_int_equal(t.c.src.state, CHAIN_SYNC_TAIL);
}

/* As many are written as B takes: without the brake it never ends. */
static void who_comes_no_closer_is_waited_for_more_and_more(void **state)
{
    (void)state;
    lagging();
    uint64_t has = 50;
    unsigned ticks = 0;
    while (t.c.src.state == CHAIN_SYNC_TAIL && ticks++ < 200) {
        write_up_to(20);
        has = kt_min_u64(has + 20, t.c.src.fed);
        dst_acked(has);
        tick(&t, 100);
    }
    assert_int_equal(t.c.src.state, CHAIN_SYNC_ENDING);
    assert_int_equal(t.c.n_brake, 1);
    assert_true(ticks > 30); /* and nobody was in a hurry */
    talk_end(&t);
}

static void held_back_are_as_many_as_it_lags(void **state)
{
    (void)state;
    lagging();
    t.c.pace.brake_ms = t.now; /* as if it had not come closer */
    t.c.pace.lag = 150;
    t.c.src.state = CHAIN_SYNC_LOG; /* where it may not end */
    t.c.src.log_asked = true;
    t.c.src.hold = UINT64_MAX;
    dst_acked(60);
    write_up_to(300);
    assert_int_equal(t.c.acked, 60 + 150);
    t.now += 5000;
    dst_acked(140);
    assert_int_equal(t.c.acked, 140 + 75);
    /* Who is waited for is not throttled on top of it. */
    t.c.pace.tokens = INT64_MIN / 2;
    t.c.src.fed = 141;
    t.c.src.log_asked = false;
    tick(&t, 1);
    assert_non_null(take(&t, CHAIN_ACT_LOG_READ));
    talk_end(&t);
}

static void who_comes_closer_is_not_waited_for(void **state)
{
    (void)state;
    lagging();
    uint64_t has = 50;
    for (unsigned i = 0; i < 50 && t.c.src.state == CHAIN_SYNC_TAIL; i++) {
        write_up_to(10);
        assert_int_equal(t.c.received.seq, t.c.acked);
        has += 12;
        dst_acked(has);
        tick(&t, 100);
    }
    assert_int_equal(t.c.src.state, CHAIN_SYNC_ENDING);
    assert_int_equal(t.c.n_brake, 0);
    talk_end(&t);
}

static void who_takes_nothing_is_given_up(void **state)
{
    (void)state;
    lagging();
    for (unsigned i = 0; i < 60 && t.c.src.state == CHAIN_SYNC_TAIL; i++) {
        write_up_to(20);
        tick(&t, 100);
    }
    struct kt_msg *m = heard(&t, KT_MSG_SYNC_FIN);
    assert_int_equal(m->u.sync_fin.err, -ETIMEDOUT);
    assert_int_equal(t.c.n_brake, 1);
    tick(&t, 100);
    assert_int_equal(t.c.acked, t.c.received.seq); /* nobody waits */
    talk_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_read_no_faster_than_was_asked_for),
        cmocka_unit_test(copies_are_made_no_faster_either),
        cmocka_unit_test(
            slow_acknowledgements_slow_it_down_and_quick_ones_do_not),
        cmocka_unit_test(who_comes_no_closer_is_waited_for_more_and_more),
        cmocka_unit_test(held_back_are_as_many_as_it_lags),
        cmocka_unit_test(who_comes_closer_is_not_waited_for),
        cmocka_unit_test(who_takes_nothing_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
