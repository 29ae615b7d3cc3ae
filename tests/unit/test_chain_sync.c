/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversations of a resync: the side that has the data, then the one that
 * lacks it. */
#include "tests/unit/chain_talk.h"

#include <errno.h>
#include <string.h>

static struct talk t;

/* ---- the source ---- */

static void say_dst(struct kt_msg *m)
{
    m->req = t.c.src.id;
    say(&t, SYNC, 'B', m);
}

/* A serves, B syncs; A has `written` records in extent 0. Ends when B has
 * said where it stands. */
static void source(unsigned written)
{
    talk_new(&t, 'A');
    talk_activate(&t, 2, "A+B");
    for (unsigned i = 1; i <= written; i++) {
        say_write(&t, i, i, (int)i);
        heard(&t, KT_MSG_ACK);
    }
    say_link(&t, 'B', KT_CLASS_SYNC, true);
    tick(&t, 100);
    struct kt_msg *m = heard(&t, KT_MSG_SYNC_START);
    struct kt_msg at = talk_msg(&t, KT_MSG_SYNC_AT);
    assert_int_equal(m->u.sync.suffix, 1);
    at.u.sync.incarnation = 1;
    say_dst(&at); /* no history of its own */
    m = heard(&t, KT_MSG_SYNC_START);
    assert_int_equal(m->u.sync.suffix, 0);
    assert_int_equal(m->u.sync.at.seq, written);
    at = talk_msg(&t, KT_MSG_SYNC_AT);
    at.u.sync.at = m->u.sync.at;
    at.u.sync.incarnation = 1;
    say_dst(&at);
}

/* B has nothing of the window; A has extent 0. */
static void say_digests(void)
{
    struct kt_msg *q = heard(&t, KT_MSG_DIGEST_GET);
    struct kt_msg m = talk_msg(&t, KT_MSG_DIGEST);
    m.req = q->req;
    m.u.digest.first = UINT32_MAX;
    m.u.digest.at = t.c.received;
    say(&t, SYNC, 'B', &m);
    struct kt_digest_row row = {
        .extent = 0, .state = KT_DIGEST_F_ALLOC, .id = t.c.received};
    struct chain_act *a = take(&t, CHAIN_ACT_ROWS);
    assert_non_null(a);
    struct chain_event ev = {.type = CHAIN_EV_ROWS,
                             .sync_id = a->sync_id,
                             .first = a->first,
                             .rows = &row,
                             .n_rows = 1,
                             .next = UINT32_MAX};
    say_event(&t, &ev);
}

static void answer_sums(uint32_t extent, uint64_t present)
{
    struct chain_act *a = take(&t, CHAIN_ACT_SUMS);
    assert_non_null(a);
    assert_int_equal(a->extent, extent);
    struct kt_buf *b = kt_buf_new(0, KT_EXTENT_SECTORS);
    for (uint64_t i = 1; i <= present; i++)
        b->sums[i] = 100 + i;
    struct chain_event ev = {.type = CHAIN_EV_SUMS,
                             .sync_id = a->sync_id,
                             .extent = extent,
                             .ext_state = KT_DIGEST_F_ALLOC,
                             .ext_id = t.c.applied,
                             .buf = b};
    say_event(&t, &ev);
    kt_buf_unref(b);
}

static void only_extents_that_differ_are_copied(void **state)
{
    (void)state;
    source(3);
    say_digests();
    assert_int_equal(heard(&t, KT_MSG_COPY_START)->u.ext.extent, 0);
    answer_sums(0, 3);
    assert_int_equal(heard(&t, KT_MSG_EXT_SUMS)->u.ext.alloc, 1);
    struct kt_msg want = talk_msg(&t, KT_MSG_WANT);
    want.u.ext.want[0] = 1u << 1 | 1u << 2 | 1u << 3;
    say_dst(&want);
    struct chain_act *a = take(&t, CHAIN_ACT_BASE_READ);
    assert_int_equal(a->off, KT_SECTOR_BYTES);
    assert_int_equal(a->len, 3 * KT_SECTOR_BYTES);
    struct kt_buf *b = talk_sectors(3, 1);
    struct chain_event ev = {.type = CHAIN_EV_BASE,
                             .sync_id = a->sync_id,
                             .off = a->off,
                             .len = a->len,
                             .buf = b};
    say_event(&t, &ev);
    kt_buf_unref(b);
    struct kt_msg *m = heard(&t, KT_MSG_SYNC_EXT);
    assert_int_equal(m->u.rec.len, 3 * KT_SECTOR_BYTES);
    assert_int_equal(m->u.rec.keep[0], 0);
    m = heard(&t, KT_MSG_SYNC_END);
    assert_int_equal(m->u.rec.prev.seq, 3);
    assert_int_equal(m->u.rec.flags, KT_RF_ALLOC);
    quiet(&t, KT_MSG_SYNC_DONE);
    struct kt_msg done = talk_msg(&t, KT_MSG_EXT_DONE);
    say_dst(&done);
    quiet(&t, KT_MSG_COPY_START);
    assert_int_equal(heard(&t, KT_MSG_SYNC_DONE)->u.sync.at.seq, 3);
    struct kt_msg ack = talk_msg(&t, KT_MSG_SYNC_ACK);
    ack.u.sync.at = t.c.received;
    ack.u.sync.incarnation = 1;
    say_dst(&ack);
    m = heard(&t, KT_MSG_SYNC_FIN);
    assert_int_equal(m->u.sync_fin.err, 0);
    assert_int_equal(m->u.sync_fin.incarnation, 1); /* B17 */
    assert_int_equal(m->u.sync_fin.store.b[0], 'B');
    talk_end(&t);
}

/* What is written meanwhile goes along: whole, or without its bytes while
 * its extent waits for the copy; and nobody waits for the syncing member. */
static void writes_go_on_and_are_fed(void **state)
{
    (void)state;
    source(1);
    say_write(&t, 2, 2, 2); /* not compared yet: whole */
    heard(&t, KT_MSG_ACK);
    struct kt_msg *m = heard(&t, KT_MSG_FWD);
    assert_int_equal(m->u.rec.flags & KT_RF_SKIP, 0);
    t.lazy = true;
    say_digests(); /* extent 0 differs; its copy begins */
    m = heard(&t, KT_MSG_COPY_START);
    say_write(&t, 3, 3, 3); /* being copied: whole, behind COPY_START */
    m = heard(&t, KT_MSG_FWD);
    assert_int_equal(m->u.rec.id.seq, 3);
    assert_int_equal(m->u.rec.flags & KT_RF_SKIP, 0);
    quiet(&t, KT_MSG_ACK);
    appended(&t, 0);
    heard(&t, KT_MSG_ACK);
    talk_end(&t);
}

static void an_extent_that_waits_is_fed_without_bytes(void **state)
{
    (void)state;
    source(1);
    say_digests();
    heard(&t, KT_MSG_COPY_START);
    t.c.src.ext[1] = CHAIN_EXT_QUEUED; /* as if it differed too */
    t.c.src.n_queued++;
    say_write(&t, 2, KT_EXTENT_SECTORS, 2);
    struct kt_msg *m = heard(&t, KT_MSG_FWD);
    assert_int_equal(m->u.rec.flags & KT_RF_SKIP, KT_RF_SKIP);
    assert_null(m->buf);
    heard(&t, KT_MSG_ACK);
    assert_int_equal(t.c.n_skip, 1);
    talk_end(&t);
}

static void what_only_the_target_keeps_a_slot_for_goes_first(void **state)
{
    (void)state;
    source(1);
    /* B has extent 2, which A never wrote; extent 0 of A is missing at B. */
    struct kt_msg *q = heard(&t, KT_MSG_DIGEST_GET);
    struct kt_msg m = talk_msg(&t, KT_MSG_DIGEST);
    struct kt_digest_row row = {.extent = 2, .state = KT_DIGEST_F_ALLOC};
    m.req = q->req;
    m.u.digest.first = UINT32_MAX;
    m.buf = kt_buf_new(KT_DIGEST_ROW_BYTES, 0);
    m.buf->data_len = KT_DIGEST_ROW_BYTES;
    kt_digest_row_encode(&row, m.buf->data);
    say(&t, SYNC, 'B', &m);
    row.extent = 0;
    row.id = t.c.received;
    struct chain_act *a = take(&t, CHAIN_ACT_ROWS);
    struct chain_event ev = {.type = CHAIN_EV_ROWS,
                             .sync_id = a->sync_id,
                             .first = a->first,
                             .rows = &row,
                             .n_rows = 1,
                             .next = UINT32_MAX};
    say_event(&t, &ev);
    assert_int_equal(heard(&t, KT_MSG_COPY_START)->u.ext.extent, 2);
    talk_end(&t);
}

static void a_broken_link_starts_over(void **state)
{
    (void)state;
    source(1);
    say_link(&t, 'B', KT_CLASS_SYNC, false);
    say_write(&t, 2, 2, 2);
    heard(&t, KT_MSG_ACK); /* nobody waits */
    say_link(&t, 'B', KT_CLASS_SYNC, true);
    tick(&t, 100);
    assert_int_equal(heard(&t, KT_MSG_SYNC_START)->u.sync.at.seq, 2);
    talk_end(&t);
}

/* tests/model/rejoin.pml found it: B's position would move past record 2,
 * which it never got, and the hub, told that B is complete, lets it serve. */
static void after_sync_fin_nothing_starts_over(void **state)
{
    (void)state;
    source(0);
    struct kt_msg *q = heard(&t, KT_MSG_DIGEST_GET);
    struct kt_msg m = talk_msg(&t, KT_MSG_DIGEST);
    m.req = q->req;
    m.u.digest.first = UINT32_MAX;
    say(&t, SYNC, 'B', &m);
    struct chain_act *a = take(&t, CHAIN_ACT_ROWS);
    struct chain_event ev = {.type = CHAIN_EV_ROWS,
                             .sync_id = a->sync_id,
                             .first = a->first,
                             .next = UINT32_MAX};
    say_event(&t, &ev);
    heard(&t, KT_MSG_SYNC_DONE);
    struct kt_msg ack = talk_msg(&t, KT_MSG_SYNC_ACK);
    ack.u.sync.incarnation = 1;
    say_dst(&ack);
    assert_int_equal(heard(&t, KT_MSG_SYNC_FIN)->u.sync_fin.err, 0);
    say_write(&t, 1, 1, 1);
    say_link(&t, 'B', KT_CLASS_SYNC, false);
    assert_int_equal(heard(&t, KT_MSG_SYNC_FIN)->u.sync_fin.err, KT_E_GAP);
    say_link(&t, 'B', KT_CLASS_SYNC, true);
    tick(&t, 900);
    quiet(&t, KT_MSG_SYNC_FIN);
    tick(&t, 5000);
    quiet(&t, KT_MSG_SYNC_START);
    /* The hub was away: it is told again. */
    assert_int_equal(heard(&t, KT_MSG_SYNC_FIN)->u.sync_fin.err, KT_E_GAP);
    talk_end(&t);
}

static void a_failed_resync_is_told_and_not_tried_in_this_epoch(void **state)
{
    (void)state;
    source(1);
    struct kt_msg m = talk_msg(&t, KT_MSG_NAK);
    m.u.nak.err = KT_E_NOSPC;
    m.u.nak.re = KT_MSG_SYNC_EXT;
    say_dst(&m);
    assert_int_equal(heard(&t, KT_MSG_SYNC_FIN)->u.sync_fin.err, KT_E_NOSPC);
    tick(&t, 5000);
    quiet(&t, KT_MSG_SYNC_START);
    talk_end(&t);
}

/* ---- the target ---- */

static void say_src(struct kt_msg *m)
{
    say(&t, SYNC, 'A', m);
}

static void say_start(uint64_t seq)
{
    struct kt_dedup d = {.token = TALK_TOKEN, .wstable = seq};
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_START);
    m.req = 42;
    m.u.sync.at = (struct kt_rid){2, seq};
    m.buf = kt_buf_new(KT_DEDUP_BYTES, 0);
    m.buf->data_len = KT_DEDUP_BYTES;
    kt_dedup_encode(&d, m.buf->data);
    say_src(&m);
}

static void say_fed(uint64_t seq, uint32_t sector)
{
    struct kt_msg m = talk_msg(&t, KT_MSG_FWD);
    m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                 .id = {2, seq},
                                 .prev = {2, seq - 1},
                                 .token = TALK_TOKEN,
                                 .wseq = seq,
                                 .op = KT_OP_WRITE,
                                 .off = sector * KT_SECTOR_BYTES,
                                 .len = KT_SECTOR_BYTES};
    m.buf = talk_sectors(1, 7);
    say_src(&m);
}

static void say_ext(enum kt_type type)
{
    struct kt_msg m = talk_msg(&t, type);
    m.req = 42;
    if (type == KT_MSG_EXT_SUMS) {
        m.buf = kt_buf_new(0, KT_EXTENT_SECTORS);
        m.buf->sums[1] = m.buf->sums[2] = 77;
    } else if (type != KT_MSG_COPY_START) {
        bool end = type == KT_MSG_SYNC_END;
        m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                     .id = {2, 9},
                                     .op = end ? KT_OP_BASE_END : KT_OP_BASE,
                                     .prev = {2, 9}};
        m.u.rec.off = end ? 0 : KT_SECTOR_BYTES;
        m.u.rec.len = end ? 0 : 2 * KT_SECTOR_BYTES;
        m.u.rec.flags = end ? KT_RF_ALLOC : 0;
        m.buf = end ? NULL : talk_sectors(2, 5);
    }
    say_src(&m);
}

static void target(uint64_t seq)
{
    talk_new(&t, 'B');
    talk_activate(&t, 2, "A+B");
    say_start(seq);
    assert_int_equal(heard(&t, KT_MSG_SYNC_AT)->u.sync.at.seq, seq);
    assert_int_equal(t.c.dedup.wstable, seq); /* B6 */
}

/* A write to sector 2 comes between COPY_START and the base of sectors 1 and
 * 2: the base may be older than it, and must not lie over it. */
static void a_differing_extent_is_copied_while_it_is_written(void **state)
{
    (void)state;
    target(9);
    say_ext(KT_MSG_COPY_START);
    say_fed(10, 2);
    t.lazy = true;
    say_ext(KT_MSG_EXT_SUMS);
    struct chain_act *a = take(&t, CHAIN_ACT_SUMS);
    struct kt_buf *mine = kt_buf_new(0, KT_EXTENT_SECTORS);
    struct chain_event ev = {
        .type = CHAIN_EV_SUMS, .sync_id = a->sync_id, .buf = mine};
    say_event(&t, &ev);
    kt_buf_unref(mine);
    /* Sectors 1 and 2 differ; 2 was written just now. */
    assert_int_equal(heard(&t, KT_MSG_WANT)->u.ext.want[0], 1u << 1);
    say_ext(KT_MSG_SYNC_EXT);
    a = take(&t, CHAIN_ACT_APPEND);
    assert_int_equal(a->rec.op, KT_OP_BASE);
    assert_int_equal(a->rec.keep[0], 1u << 1); /* of 1 and 2: keep 2 */
    ev = (struct chain_event){
        .type = CHAIN_EV_APPENDED, .tag = a->tag, .id = a->rec.id};
    say_event(&t, &ev);
    quiet(&t, KT_MSG_EXT_DONE);
    say_ext(KT_MSG_SYNC_END);
    appended(&t, 0);
    assert_int_equal(heard(&t, KT_MSG_EXT_DONE)->u.ext.extent, 0);
    talk_end(&t);
}

/* Else records on their way into the log would lie over what is found equal. */
static void sums_are_compared_when_the_log_holds_what_came_before(void **state)
{
    (void)state;
    target(9);
    t.lazy = true;
    say_fed(10, 1);
    say_ext(KT_MSG_COPY_START);
    say_ext(KT_MSG_EXT_SUMS);
    appended(&t, 0);
    nothing(&t, CHAIN_ACT_SUMS);
    appended(&t, 0);
    assert_int_equal(take(&t, CHAIN_ACT_SUMS)->extent, 0);
    say_ext(KT_MSG_EXT_SUMS); /* once */
    nothing(&t, CHAIN_ACT_SUMS);
    talk_end(&t);
}

static void what_is_fed_is_acknowledged_as_far_as_the_log_has_it(void **state)
{
    (void)state;
    target(9);
    t.lazy = true;
    acks_up(&t);
    say_fed(10, 0);
    say_fed(11, 0);
    assert_int_equal(acks_up(&t), 0);
    appended(&t, 0);
    assert_int_equal(acks_up(&t), 10);
    say_fed(13, 0);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_GAP);
    say_fed(12, 0); /* it waits for a new SYNC_START now */
    assert_int_equal(t.c.received.seq, 11);
    talk_end(&t);
}

static void the_end_is_durable(void **state)
{
    (void)state;
    target(9);
    t.lazy = true;
    say_fed(10, 0);
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_DONE);
    m.req = 42;
    m.u.sync.at = (struct kt_rid){2, 10};
    say_src(&m);
    nothing(&t, CHAIN_ACT_SYNC);
    appended(&t, 0);
    quiet(&t, KT_MSG_SYNC_ACK);
    synced(&t, 0);
    assert_int_equal(heard(&t, KT_MSG_SYNC_ACK)->u.sync.at.seq, 10);
    talk_end(&t);
}

/* A sync that began before the reset counts in the numbers of the old history:
 * a flush of the new one is not covered by it. */
static void an_older_sync_does_not_cover_the_new_history(void **state)
{
    (void)state;
    talk_restart(&t, 'B', 1, (struct kt_rid){1, 1000}, NULL);
    say_seal(&t, 2);
    heard(&t, KT_MSG_SEAL_OK);
    t.lazy = true;
    struct kt_msg m = talk_msg(&t, KT_MSG_EQDATA);
    m.epoch = 2;
    m.u.eqdata.incarnation = 1;
    m.u.eqdata.last = true;
    say(&t, SYNC, 'A', &m);
    assert_non_null(take(&t, CHAIN_ACT_SYNC)); /* and it takes its time */
    struct kt_cfg cfg = talk_cfg(2, "A+B");
    m = (struct kt_msg){
        .type = KT_MSG_ACTIVATE, .chain = TALK_CHAIN, .epoch = 2, .cfg = &cfg};
    say(&t, HUB, 0, &m); /* not waited for: it is to sync */
    saved(&t, 0);
    say_start(9);
    appended(&t, 0);
    struct chain_event ev = {.type = CHAIN_EV_SYNCED, .durable = 1000};
    say_event(&t, &ev);
    t.lazy = false;
    talk_serve(&t, 3, "AB");
    t.lazy = true;
    m = talk_msg(&t, KT_MSG_FWD);
    m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                 .id = {3, 10},
                                 .prev = {2, 9},
                                 .token = TALK_TOKEN,
                                 .wseq = 10,
                                 .op = KT_OP_TRIM,
                                 .len = KT_SECTOR_BYTES};
    say(&t, PRED, 'A', &m);
    appended(&t, 0);
    m = talk_msg(&t, KT_MSG_FLUSH);
    m.u.flush.upto = 10;
    say(&t, CLIENT, '1', &m);
    quiet(&t, KT_MSG_FLUSH_OK);
    synced(&t, 0);
    heard(&t, KT_MSG_FLUSH_OK);
    talk_end(&t);
}

/* A disk that hangs: the source starts over meanwhile, from further on. */
static void a_start_is_answered_by_its_own_reset(void **state)
{
    (void)state;
    target(9);
    t.lazy = true;
    say_start(9), say_start(12);
    appended(&t, 0);
    quiet(&t, KT_MSG_SYNC_AT);
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_DONE);
    m.req = 42;
    m.u.sync.at = (struct kt_rid){2, 12};
    say_src(&m);
    nothing(&t, CHAIN_ACT_SYNC);
    appended(&t, 0);
    assert_int_equal(heard(&t, KT_MSG_SYNC_AT)->u.sync.at.seq, 12);
    quiet(&t, KT_MSG_SYNC_ACK);
    synced(&t, 0);
    assert_int_equal(heard(&t, KT_MSG_SYNC_ACK)->u.sync.at.seq, 12);
    talk_end(&t);
}

static void a_late_sync_start_does_not_undo_a_newer_one(void **state)
{
    (void)state;
    target(9);
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_START);
    m.u.sync.at = (struct kt_rid){2, 5};
    m.buf = kt_buf_new(KT_DEDUP_BYTES, 0);
    m.buf->data_len = KT_DEDUP_BYTES;
    memset(m.buf->data, 0, KT_DEDUP_BYTES);
    say(&t, PRED, 'A', &m); /* a connection before SYNC */
    quiet(&t, KT_MSG_SYNC_AT);
    say_fed(10, 0);
    assert_int_equal(t.c.received.seq, 10);
    talk_end(&t);
}

static void a_target_that_was_started_again_is_not_fed(void **state)
{
    (void)state;
    struct kt_cfg cfg = talk_cfg(2, "A+B");
    talk_restart(&t, 'B', 2, (struct kt_rid){2, 9}, &cfg);
    say_start(9);
    quiet(&t, KT_MSG_SYNC_AT);
    say_fed(10, 0);
    assert_int_equal(t.c.received.seq, 9);
    nothing(&t, CHAIN_ACT_APPEND);
    talk_end(&t);
}

static void a_target_not_activated_yet_asks_to_wait(void **state)
{
    (void)state;
    talk_new(&t, 'B');
    say_seal(&t, 2);
    heard(&t, KT_MSG_SEAL_OK);
    struct kt_msg m = talk_msg(&t, KT_MSG_SYNC_START);
    m.epoch = 2;
    say_src(&m);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NEW_EPOCH);
    talk_end(&t);
}

/* The simulator's seeds 17, 200, 631, 988. */
static void a_full_store_ends_the_resync_and_nothing_else(void **state)
{
    (void)state;
    target(9);
    t.lazy = true;
    say_fed(10, 0);
    say_fed(11, 0);
    say_fed(12, 0);
    appended(&t, 0);
    appended(&t, -ENOSPC);
    assert_int_equal(heard(&t, KT_MSG_NAK)->u.nak.err, KT_E_NOSPC);
    say_seal(&t, 3);
    saved(&t, 0);
    appended(&t, KT_E_GAP); /* nothing to stand on */
    struct kt_msg *m = heard(&t, KT_MSG_SEAL_OK);
    assert_int_equal(m->u.seal_ok.applied.seq, 10);
    assert_int_equal(t.c.phase, CHAIN_SEALED);
    /* Who owns a slot is read back: extent 0 has one, whatever was taken. */
    struct chain_act *a = take(&t, CHAIN_ACT_ROWS);
    struct kt_digest_row row = {.extent = 0, .state = KT_DIGEST_F_ALLOC};
    struct chain_event ev = {
        .type = CHAIN_EV_ROWS, .sync_id = a->sync_id, .err = -EIO};
    say_event(&t, &ev);
    /* That failed: it is tried again, not at once. */
    tick(&t, 500);
    assert_null(take(&t, CHAIN_ACT_ROWS));
    tick(&t, 500);
    a = take(&t, CHAIN_ACT_ROWS);
    assert_non_null(a);
    ev = (struct chain_event){.type = CHAIN_EV_ROWS,
                              .sync_id = a->sync_id,
                              .rows = &row,
                              .n_rows = 1,
                              .next = UINT32_MAX};
    assert_int_equal(t.c.alloc[0], 0);
    say_event(&t, &ev);
    assert_int_equal(t.c.alloc[0], 1);
    assert_false(t.c.alloc_stale);
    talk_end(&t);
}

/* Seed 4183: a ring is kept by those who serve only. */
static void a_target_may_be_fed_more_than_a_ring_holds(void **state)
{
    (void)state;
    target(9);
    for (uint64_t i = 10; i < 20 + CHAIN_RING; i++)
        say_fed(i, 0);
    struct kt_cfg cfg = talk_cfg(3, "Ab");
    struct kt_msg m = {
        .type = KT_MSG_ACTIVATE, .chain = TALK_CHAIN, .epoch = 3, .cfg = &cfg};
    say(&t, HUB, 0, &m);
    assert_int_equal(t.c.role, CHAIN_NONE);
    assert_int_equal(t.c.applied.seq, 19 + CHAIN_RING);
    talk_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_extents_that_differ_are_copied),
        cmocka_unit_test(writes_go_on_and_are_fed),
        cmocka_unit_test(an_extent_that_waits_is_fed_without_bytes),
        cmocka_unit_test(what_only_the_target_keeps_a_slot_for_goes_first),
        cmocka_unit_test(a_broken_link_starts_over),
        cmocka_unit_test(after_sync_fin_nothing_starts_over),
        cmocka_unit_test(a_failed_resync_is_told_and_not_tried_in_this_epoch),
        cmocka_unit_test(a_differing_extent_is_copied_while_it_is_written),
        cmocka_unit_test(sums_are_compared_when_the_log_holds_what_came_before),
        cmocka_unit_test(what_is_fed_is_acknowledged_as_far_as_the_log_has_it),
        cmocka_unit_test(the_end_is_durable),
        cmocka_unit_test(an_older_sync_does_not_cover_the_new_history),
        cmocka_unit_test(a_start_is_answered_by_its_own_reset),
        cmocka_unit_test(a_late_sync_start_does_not_undo_a_newer_one),
        cmocka_unit_test(a_target_that_was_started_again_is_not_fed),
        cmocka_unit_test(a_target_not_activated_yet_asks_to_wait),
        cmocka_unit_test(a_full_store_ends_the_resync_and_nothing_else),
        cmocka_unit_test(a_target_may_be_fed_more_than_a_ring_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
