/* SPDX-License-Identifier: BSD-3-Clause */
/* Resync, the side that has the data: the last serving member.
 *
 * 1 SYNC_START at position s0; from there on every record is fed to dst on
 *   the same connection, in order.
 * 2 Windows of digests are compared; extents that differ are queued. Records
 *   for a queued extent are fed as SKIP: their bytes come with the copy.
 * 3 Copy, one extent at a time: COPY_START in the stream (records go whole
 *   again), then, when our log holds everything before it, our sums, dst's
 *   wish list, and the sectors wished for. A sector read later than the sums
 *   may be newer than the stream's COPY_START, never older; and what is newer
 *   was fed before it, so dst, which keeps the sectors that records touched
 *   since COPY_START, ends with exactly our content.
 * 4 Nothing queued and dst close behind: SYNC_DONE, dst syncs its log,
 *   SYNC_FIN to the hub, which seals and equalizes the rest.
 * A lost link or a gap starts over; extents already equal stay so. Not after
 * SYNC_FIN: see chain_src_restart().
 * All this when the log's suffix will not do (chain_log.c), which is asked
 * first. */
#include <errno.h>
#include <string.h>

#include "replicator/core/chain_int.h"

#define START_WAIT_MS 2000u /* for SYNC_AT */
#define START_RETRY_MS 50u  /* dst is not activated yet */
#define FIN_RETRY_MS 1000u
/* Wanted sectors this close are read and sent together. */
#define RUN_GAP 4u

void chain_src_stop(struct chain *c)
{
    c->src.state = CHAIN_SYNC_OFF;
    c->src.id = ++c->sync_ids;
    c->src.copying = false;
}

/* The hub may be away: told until it begins another epoch. */
static void tell_failed(struct chain *c, struct chain_out *out)
{
    const struct kt_member *dst = chain_wants_dst(c);
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_HUB, KT_MSG_SYNC_FIN);
    m->u.sync_fin.store = dst->store;
    m->u.sync_fin.incarnation = dst->incarnation;
    m->u.sync_fin.err = c->src.err;
    c->src.since_ms = c->now_ms;
}

void chain_src_fail(struct chain *c, struct chain_out *out, int err)
{
    if (c->src.state == CHAIN_SYNC_OFF || !chain_wants_dst(c))
        return;
    if (err == KT_E_NEW_EPOCH || err == KT_E_NOT_SERVING) {
        /* dst is not activated yet: tried again. */
        chain_src_stop(c);
        c->src.since_ms = c->now_ms;
        return;
    }
    chain_src_stop(c);
    c->src.failed = true;
    c->src.err = err;
    tell_failed(c, out);
}

/* After SYNC_FIN the hub takes dst's position for what dst has. Starting over
 * would set that position to ours, past records that were still on the way:
 * dst would serve without them. So it ends, and the hub begins again. */
void chain_src_restart(struct chain *c, struct chain_out *out)
{
    if (c->src.state == CHAIN_SYNC_DONE)
        chain_src_fail(c, out, KT_E_GAP);
    else
        chain_src_stop(c);
}

bool chain_src_is_live(const struct chain *c)
{
    const struct chain_src *s = &c->src;
    return s->state >= CHAIN_SYNC_COMPARE ||
           (s->state == CHAIN_SYNC_START && !s->suffix);
}

uint64_t chain_src_limit(const struct chain *c)
{
    const struct chain_src *s = &c->src;
    uint64_t upto = UINT64_MAX;
    if (chain_src_is_live(c))
        upto = s->fed;
    else if (s->state == CHAIN_SYNC_LOG && s->log_asked)
        upto = s->hold;
    return kt_min_u64(upto, chain_pace_limit(c));
}

void chain_src_start(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (s->start_seq)
        KT_REACH(sync_again);
    chain_src_stop(c);
    s->state = CHAIN_SYNC_START;
    s->since_ms = c->now_ms;
    s->suffix = !s->no_suffix;
    chain_pace_start(c);
    s->log_asked = false;
    s->records_sent = 0;
    s->fed = s->dst_acked = s->start_seq = c->received.seq;
    s->feed_bytes = 0;
    s->window = s->scan = s->n_queued = 0;
    s->freed = false;
    s->have_mine = s->have_theirs = false;
    s->extents_done = s->extents_total = 0;
    memset(s->ext, CHAIN_EXT_UNKNOWN, sizeof(s->ext));
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_SYNC_START);
    out->acts[out->n - 1].dedup = &c->dedup;
    m->req = s->id;
    m->u.sync.history = c->cfg.history;
    m->u.sync.at = c->received;
    m->u.sync.suffix = s->suffix;
}

/* ---- the feed ---- */

static void set_ext(struct chain_src *s, uint32_t extent, enum chain_ext to)
{
    bool was = s->ext[extent] == CHAIN_EXT_QUEUED;
    bool is = to == CHAIN_EXT_QUEUED;
    s->ext[extent] = (uint8_t)to;
    if (is && !was) {
        s->n_queued++;
        s->extents_total++;
        s->scan = extent < s->scan ? extent : s->scan;
    } else if (was && !is) {
        assert(s->n_queued > 0);
        s->n_queued--;
    }
}

void chain_src_feed(struct chain *c, struct chain_out *out,
                    const struct chain_entry *e)
{
    struct chain_src *s = &c->src;
    assert(e->rec.id.seq == s->fed);
    uint32_t x = e->rec.extent;
    bool whole_only = s->state >= CHAIN_SYNC_ENDING;
    if (!whole_only && s->feed_bytes > CHAIN_FEED_BYTES) {
        bool copying =
            s->ext[x] == CHAIN_EXT_COPYING || s->ext[x] == CHAIN_EXT_AGAIN;
        if (copying)
            KT_REACH(feed_again);
        set_ext(s, x, copying ? CHAIN_EXT_AGAIN : CHAIN_EXT_QUEUED);
    }
    bool skip = s->ext[x] == CHAIN_EXT_QUEUED || s->ext[x] == CHAIN_EXT_AGAIN ||
                (s->ext[x] == CHAIN_EXT_COPYING && !KT_RULE(feed_copying));
    assert(!whole_only || !skip);

    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_FWD);
    m->u.rec = e->rec;
    m->buf = e->buf;
    if (skip) {
        KT_REACH(feed_skip);
        m->u.rec.flags |= KT_RF_SKIP;
        m->buf = NULL;
        c->n_skip++;
    }
    s->feed_bytes += CHAIN_FEED_COST(m->buf);
    s->fed_id = e->rec.id;
}

void chain_src_acked(struct chain *c, uint64_t upto)
{
    struct chain_src *s = &c->src;
    if (s->state == CHAIN_SYNC_OFF || upto <= s->dst_acked || upto > s->fed)
        return;
    uint64_t before = s->fed - s->dst_acked, after = s->fed - upto;
    s->feed_bytes = s->feed_bytes / before * after; /* an estimate */
    s->dst_acked = upto;
}

/* ---- comparing ---- */

static uint64_t window_req(const struct chain_src *s)
{
    return s->id << 32 | s->window;
}

static void ask_window(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    s->have_mine = s->have_theirs = false;
    s->n_mine = s->n_theirs = 0;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_DIGEST_GET);
    m->req = window_req(s);
    m->u.digest.first = s->window;
    m->u.digest.count = CHAIN_DIGEST_WINDOW;
    struct chain_act *a = chain_act(out, CHAIN_ACT_ROWS);
    a->sync_id = s->id;
    a->first = s->window;
    a->count = CHAIN_DIGEST_WINDOW;
}

static bool same_row(const struct kt_digest_row *a,
                     const struct kt_digest_row *b)
{
    bool whole = a->state == b->state && !(a->state & KT_DIGEST_F_PARTIAL);
    return (whole || !KT_RULE(row_partial)) && /* I21 */
           (kt_rid_eq(a->id, b->id) || !KT_RULE(row_id)) &&
           (kt_id_eq(&a->sum, &b->sum) || !KT_RULE(row_sum));
}

static const struct kt_digest_row *row_of(const struct kt_digest_row *rows,
                                          uint32_t n, uint32_t *at,
                                          uint32_t extent)
{
    while (*at < n && rows[*at].extent < extent)
        (*at)++;
    return *at < n && rows[*at].extent == extent ? &rows[*at] : NULL;
}

/* Judges the extents that both sides have told all of. An absent row means
 * "never written" only below both ends: a side may answer with fewer rows than
 * the window holds. */
static void compare_window(struct chain *c)
{
    struct chain_src *s = &c->src;
    uint32_t a = 0, b = 0;
    uint32_t end = s->mine_end < s->theirs_end ? s->mine_end : s->theirs_end;
    for (uint32_t x = s->window; x < end; x++) {
        const struct kt_digest_row *mine = row_of(s->mine, s->n_mine, &a, x);
        const struct kt_digest_row *theirs =
            row_of(s->theirs, s->n_theirs, &b, x);
        if (x >= c->cfg.n_extents || s->ext[x] != CHAIN_EXT_UNKNOWN)
            continue;
        bool same =
            (!mine && !theirs) || (mine && theirs && same_row(mine, theirs));
        KT_HOLDS(I21,
                 !same || !mine ||
                     !((mine->state | theirs->state) & KT_DIGEST_F_PARTIAL));
        KT_HOLDS(I21, !same || !mine || kt_rid_eq(mine->id, theirs->id));
        set_ext(s, x, same ? CHAIN_EXT_CLEAN : CHAIN_EXT_QUEUED);
    }
    s->window = end;
}

static uint32_t window_end(const struct chain_src *s, uint32_t next)
{
    uint32_t end = s->window + CHAIN_DIGEST_WINDOW;
    return next < end ? next : end;
}

static uint32_t take_rows(struct kt_digest_row *to, const struct chain_src *s,
                          const struct kt_digest_row *from, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n && kept < CHAIN_DIGEST_WINDOW; i++) {
        if (from[i].extent >= s->window &&
            from[i].extent < s->window + CHAIN_DIGEST_WINDOW)
            to[kept++] = from[i];
    }
    return kept;
}

static void on_digest(struct chain *c, const struct kt_msg *m)
{
    struct chain_src *s = &c->src;
    if (s->state != CHAIN_SYNC_COMPARE || m->req != window_req(s))
        return;
    uint32_t n = m->buf ? m->buf->data_len / KT_DIGEST_ROW_BYTES : 0;
    s->n_theirs = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct kt_digest_row r;
        kt_digest_row_decode(&r, m->buf->data + i * KT_DIGEST_ROW_BYTES);
        if (s->n_theirs < CHAIN_DIGEST_WINDOW)
            s->n_theirs += take_rows(&s->theirs[s->n_theirs], s, &r, 1);
    }
    s->theirs_end = window_end(s, m->u.digest.first);
    s->have_theirs = s->theirs_end > s->window;
}

/* ---- copying ---- */

/* First what only dst owns a slot for: it may need that slot for others. */
static bool is_next(const struct chain *c, uint32_t x)
{
    return c->src.ext[x] == CHAIN_EXT_QUEUED &&
           (c->src.freed || !chain_bit(c->alloc, x));
}

static void copy_next(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    while (s->scan < c->cfg.n_extents && !is_next(c, s->scan))
        s->scan++;
    if (s->scan == c->cfg.n_extents && !s->freed) {
        s->freed = true;
        s->scan = 0;
        while (s->scan < c->cfg.n_extents && !is_next(c, s->scan))
            s->scan++;
    }
    if (s->scan == c->cfg.n_extents) {
        assert(s->n_queued == 0);
        return;
    }
    if (!s->freed)
        KT_REACH(copy_free);
    s->copying = true;
    s->extent = s->scan;
    s->sums_asked = s->wanted = s->base_asked = false;
    s->copy_from = c->received.seq;
    assert(s->fed == c->received.seq);
    set_ext(s, s->extent, CHAIN_EXT_COPYING);
    chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_COPY_START)->u.ext.extent =
        s->extent;
}

static bool wanted_bit(const uint64_t *want, uint32_t i)
{
    return want[i / 64] >> (i % 64) & 1;
}

/* The next run of wanted sectors from s->sector on: at most one record's
 * worth, gaps up to RUN_GAP read along. False when there is none. */
static bool next_run(struct chain_src *s, uint32_t *ret_first, uint32_t *ret_n)
{
    uint32_t i = s->sector;
    while (i < KT_EXTENT_SECTORS && !wanted_bit(s->want, i))
        i++;
    if (i == KT_EXTENT_SECTORS)
        return false;
    uint32_t last = i;
    for (uint32_t j = i + 1;
         j < KT_EXTENT_SECTORS && j - i < KT_RECORD_SECTORS_MAX &&
         j - last <= RUN_GAP;
         j++) {
        if (wanted_bit(s->want, j))
            last = j;
    }
    *ret_first = i;
    *ret_n = last - i + 1;
    s->sector = last + 1;
    return true;
}

static void copy_step(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (!s->sums_asked &&
        (c->applied.seq >= s->copy_from || !KT_RULE(copy_from))) {
        s->sums_asked = true;
        struct chain_act *a = chain_act(out, CHAIN_ACT_SUMS);
        a->sync_id = s->id;
        a->extent = s->extent;
    }
    uint32_t first = 0, n = 0;
    if (!s->wanted || s->base_asked || !chain_pace_may(c))
        return;
    if (next_run(s, &first, &n)) {
        s->base_asked = true;
        struct chain_act *a = chain_act(out, CHAIN_ACT_BASE_READ);
        a->sync_id = s->id;
        a->extent = s->extent;
        a->off = first * KT_SECTOR_BYTES;
        a->len = n * KT_SECTOR_BYTES;
        return;
    }
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_SYNC_END);
    m->u.rec.chain = c->id;
    m->u.rec.id = c->received;
    m->u.rec.op = KT_OP_BASE_END;
    m->u.rec.extent = s->extent;
    m->u.rec.prev = s->ext_id;
    m->u.rec.flags = s->ext_alloc ? KT_RF_ALLOC : 0;
    s->wanted = false; /* until EXT_DONE */
}

static void on_sums(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (!s->copying || ev->extent != s->extent)
        return;
    s->ext_id = ev->ext_id;
    s->ext_alloc = ev->ext_state & KT_DIGEST_F_ALLOC;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_EXT_SUMS);
    m->req = s->id;
    m->u.ext.extent = s->extent;
    m->u.ext.id = s->ext_id;
    m->u.ext.alloc = s->ext_alloc;
    m->buf = ev->buf;
}

static void on_base(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (!s->copying || ev->extent != s->extent || !s->base_asked)
        return;
    s->base_asked = false;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_SYNC_EXT);
    struct kt_record *r = &m->u.rec;
    r->chain = c->id;
    r->id = c->received;
    r->op = KT_OP_BASE;
    r->extent = s->extent;
    r->off = ev->off;
    r->len = ev->len;
    uint32_t first = ev->off / KT_SECTOR_BYTES;
    for (uint32_t i = 0; i < ev->len / KT_SECTOR_BYTES; i++) {
        if (!wanted_bit(s->want, first + i))
            r->keep[i / 64] |= 1ull << (i % 64);
    }
    m->buf = ev->buf;
    s->bytes_sent += ev->buf->data_len;
    chain_pace_spent(c, ev->buf->data_len);
}

/* SUMS, BASE, ROWS: what was asked for is here. */
void chain_src_done(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (ev->sync_id != s->id || s->state == CHAIN_SYNC_OFF)
        return;
    if (ev->err < 0) {
        chain_src_fail(c, out, ev->err);
        return;
    }
    if (ev->type == CHAIN_EV_SUMS) {
        on_sums(c, ev, out);
    } else if (ev->type == CHAIN_EV_BASE) {
        on_base(c, ev, out);
    } else if (ev->first == s->window && s->state == CHAIN_SYNC_COMPARE) {
        s->n_mine = take_rows(s->mine, s, ev->rows, ev->n_rows);
        s->mine_end = window_end(s, ev->next);
        s->have_mine = s->mine_end > s->window;
    }
}

/* ---- messages from dst ---- */

static void on_ext_done(struct chain_src *s, const struct kt_msg *m)
{
    if (!s->copying || m->u.ext.extent != s->extent || !s->sums_asked)
        return;
    bool again = s->ext[s->extent] == CHAIN_EXT_AGAIN;
    set_ext(s, s->extent, again ? CHAIN_EXT_QUEUED : CHAIN_EXT_CLEAN);
    s->copying = false;
    s->extents_done++;
}

static void on_sync_ack(struct chain *c, const struct kt_msg *m,
                        struct chain_out *out)
{
    const struct kt_member *dst = chain_wants_dst(c);
    if (c->src.state < CHAIN_SYNC_ENDING || !dst ||
        m->u.sync.incarnation != dst->incarnation)
        return;
    c->src.state = CHAIN_SYNC_DONE;
    c->src.since_ms = c->now_ms;
    struct kt_msg *f = chain_msg(c, out, CHAIN_ACT_SEND_HUB, KT_MSG_SYNC_FIN);
    f->u.sync_fin.store = dst->store;
    f->u.sync_fin.incarnation = dst->incarnation; /* B17 */
    f->u.sync_fin.applied = m->u.sync.at;
}

void chain_src_msg(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    struct chain_src *s = &c->src;
    const struct kt_msg *m = ev->msg;
    const struct kt_member *dst = chain_wants_dst(c);
    if (!dst || m->epoch != c->cfg.epoch || s->state == CHAIN_SYNC_OFF ||
        !kt_id_eq(&dst->store, &ev->peer))
        return;
    switch (m->type) {
    case KT_MSG_SYNC_AT:
        if (s->state == CHAIN_SYNC_START && m->req == s->id &&
            m->u.sync.incarnation == dst->incarnation) {
            if (s->suffix) {
                chain_log_begin(c, m, out);
                break;
            }
            s->state = CHAIN_SYNC_COMPARE;
            s->window = UINT32_MAX; /* begins when our log is there */
        }
        break;
    case KT_MSG_DIGEST:
        on_digest(c, m);
        break;
    case KT_MSG_WANT:
        if (s->copying && m->u.ext.extent == s->extent && m->req == s->id) {
            memcpy(s->want, m->u.ext.want, sizeof(s->want));
            s->wanted = true;
            s->sector = 0;
        }
        break;
    case KT_MSG_EXT_DONE:
        if (m->req == s->id)
            on_ext_done(s, m);
        break;
    case KT_MSG_SYNC_ACK:
        if (m->req == s->id)
            on_sync_ack(c, m, out);
        break;
    }
}

/* ---- the pump ---- */

static void compare_step(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (s->window == UINT32_MAX) {
        if (c->applied.seq < s->start_seq)
            return;
        s->window = 0;
        ask_window(c, out);
    }
    if (!s->have_mine || !s->have_theirs)
        return;
    compare_window(c);
    if (s->window < c->cfg.n_extents)
        ask_window(c, out);
    else
        s->state = CHAIN_SYNC_COPY;
}

static void say_done(struct chain *c, struct chain_out *out)
{
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_SYNC_DONE);
    m->req = c->src.id;
    m->u.sync.at = c->received;
}

static void end_when_close(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (s->dst_acked + chain_pace_close(c) < s->fed)
        return;
    c->n_suffix += s->state == CHAIN_SYNC_TAIL;
    s->state = CHAIN_SYNC_ENDING;
    say_done(c, out);
}

void chain_src_pump(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (!chain_wants_dst(c) || !chain_room(out))
        return;
    chain_pace_pump(c, out);
    uint64_t waited = c->now_ms - s->since_ms;
    if (s->failed && waited >= FIN_RETRY_MS)
        tell_failed(c, out);
    if (s->failed || !c->dst_link)
        return;
    if ((s->state == CHAIN_SYNC_OFF && waited >= START_RETRY_MS) ||
        (s->state == CHAIN_SYNC_START && waited >= START_WAIT_MS))
        chain_src_start(c, out);
    if (s->state == CHAIN_SYNC_LOG)
        chain_log_pump(c, out);
    if (s->fed != c->received.seq)
        return; /* the feed first: COPY_START stands in the stream */
    if (s->state == CHAIN_SYNC_COMPARE)
        compare_step(c, out);
    if (s->state == CHAIN_SYNC_COPY) {
        if (!s->copying)
            copy_next(c, out);
        if (s->copying)
            copy_step(c, out);
        else
            end_when_close(c, out);
    }
    if (s->state == CHAIN_SYNC_TAIL)
        end_when_close(c, out);
    if (s->state == CHAIN_SYNC_DONE &&
        c->now_ms - s->since_ms >= FIN_RETRY_MS) {
        say_done(c, out); /* asks dst again, which asks the hub again */
        s->since_ms = c->now_ms;
    }
}
