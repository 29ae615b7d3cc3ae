/* SPDX-License-Identifier: BSD-3-Clause */
/* Resync, the side that lacks data. Everything comes on one connection, in
 * order; see chain_src.c for the story. What arrives goes into the log as
 * records of its own kinds, so that a crash leaves a state the next
 * comparison sees through: an extent that is not whole is marked partial
 * (I21). */
#include <string.h>

#include "replicator/core/chain_int.h"

#define RECOUNT_MS 1000u

enum { TAG_RESET = 1, TAG_COPY, TAG_BASE, TAG_END };
#define TAG(kind, extent)                                                      \
    (CHAIN_TAG_LOCAL | (uint64_t)(kind) << 40 | (uint64_t)(extent))

static const struct kt_member *source(const struct chain *c)
{
    return &c->cfg.members[c->n_serving - 1];
}

static bool from_source(const struct chain *c, const struct chain_event *ev)
{
    return c->n_serving > 0 && ev->msg->epoch == c->cfg.epoch &&
           kt_id_eq(&source(c)->store, &ev->peer);
}

static struct kt_msg *tell(struct chain *c, struct chain_out *out,
                           enum kt_type type)
{
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, type);
    out->acts[out->n - 1].conn = c->dst.conn;
    m->req = c->dst.id;
    return m;
}

static void append(struct chain *c, struct chain_out *out,
                   const struct kt_record *rec, struct kt_buf *buf,
                   uint64_t tag)
{
    /* An extent half copied is not what any history says (2.9). */
    KT_HOLDS(I21, kt_id_is_zero(&c->whole));
    struct chain_act *a = chain_act(out, CHAIN_ACT_APPEND);
    a->rec = *rec;
    a->rec.chain = c->id;
    a->buf = buf;
    a->tag = tag;
    c->appends++;
}

void chain_dst_fail(struct chain *c, struct chain_out *out, int err)
{
    if (c->dst.conn) {
        struct kt_msg *m = tell(c, out, KT_MSG_NAK);
        m->u.nak.err = err;
        m->u.nak.re = KT_MSG_SYNC_EXT;
        m->u.nak.at = c->received;
    }
    memset(&c->dst, 0, sizeof(c->dst));
}

/* ---- the feed ---- */

void chain_dst_fwd(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    const struct kt_record *r = &ev->msg->u.rec;
    if (!from_source(c, ev) || !d->started || ev->conn != d->conn ||
        r->id.seq <= c->received.seq)
        return;
    bool payload = r->op == KT_OP_WRITE && !(r->flags & KT_RF_SKIP);
    if (r->id.seq != c->received.seq + 1 || !kt_rid_eq(r->prev, c->received) ||
        kt_record_invalid(r, c->cfg.n_extents) || r->op > KT_OP_TRIM ||
        payload != (ev->msg->buf != NULL) ||
        (d->suffix && r->flags & KT_RF_SKIP)) {
        c->n_gap++;
        chain_nak(c, out, ev, KT_E_GAP);
        d->started = false;
        return;
    }
    if (d->copying && r->extent == d->extent && !(r->flags & KT_RF_SKIP) &&
        (r->op == KT_OP_WRITE || KT_RULE(trim_touched))) {
        uint32_t first = r->off / KT_SECTOR_BYTES;
        if (r->op != KT_OP_WRITE)
            KT_REACH(trim_touched);
        for (uint32_t i = 0; i < r->len / KT_SECTOR_BYTES; i++)
            d->touched[(first + i) / 64] |= 1ull << ((first + i) % 64);
        if (kt_record_allocates(r))
            d->alloc_later = 1;
        else if (kt_record_frees(r))
            d->alloc_later = -1;
    }
    chain_take(c, out, r, ev->msg->buf, false);
}

/* ---- the copy ---- */

/* 2.9: nothing is reset; what follows our last record will do. Or it will not,
 * when there is more here, or less, than the records of one history. */
static void on_suffix(struct chain *c, const struct chain_event *ev,
                      struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    if (c->appends > 0) {
        chain_nak(c, out, ev, KT_E_NEW_EPOCH); /* a moment */
        return;
    }
    assert(kt_rid_eq(c->received, c->applied));
    memset(d, 0, sizeof(*d));
    d->conn = ev->conn;
    d->id = ev->msg->req;
    d->started = d->suffix = !kt_id_is_zero(&c->whole);
    c->ackc_sent = c->applied.seq;
    struct kt_msg *m = tell(c, out, KT_MSG_SYNC_AT);
    m->u.sync.history = c->whole;
    m->u.sync.at = c->applied;
    m->u.sync.incarnation = c->incarnation;
    m->u.sync.suffix = d->suffix;
}

static void on_start(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    const struct kt_msg *m = ev->msg;
    if (ev->conn < d->conn)
        return; /* late bytes of a connection that has a successor */
    if (c->alloc_stale) {
        chain_nak(c, out, ev, KT_E_NEW_EPOCH); /* a moment */
        return;
    }
    if (!m->buf || m->buf->data_len != KT_DEDUP_BYTES) {
        chain_nak(c, out, ev, KT_E_INVALID);
        return;
    }
    if (m->u.sync.suffix) {
        on_suffix(c, ev, out);
        return;
    }
    struct kt_dedup dedup;
    kt_dedup_decode(&dedup, m->buf->data);
    if (!kt_dedup_ends(&dedup, m->u.sync.at.seq)) {
        chain_nak(c, out, ev, KT_E_INVALID);
        return;
    }
    if (KT_RULE(whole) && !chain_unwhole(c, out)) {
        chain_nak(c, out, ev, KT_E_NEW_EPOCH); /* durable first */
        return;
    }
    memset(d, 0, sizeof(*d));
    d->started = true;
    d->conn = ev->conn;
    d->id = m->req;
    c->received = m->u.sync.at;
    if (KT_RULE(dedup_travels))
        c->dedup = dedup; /* B6 */
    c->durable = 0;
    c->ackc_sent = 0;
    struct kt_record r = {.op = KT_OP_RESET, .id = m->u.sync.at};
    d->reset = TAG(TAG_RESET, ++c->resets);
    append(c, out, &r, m->buf, d->reset);
}

static void on_copy_start(struct chain *c, const struct kt_msg *m,
                          struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    d->copying = true;
    d->extent = m->u.ext.extent;
    d->copy_logged = d->have_sums = false;
    d->alloc_later = 0;
    memset(d->touched, 0, sizeof(d->touched));
    struct kt_record r = {
        .op = KT_OP_COPY_START, .id = c->received, .extent = d->extent};
    append(c, out, &r, NULL, TAG(TAG_COPY, d->extent));
}

/* Our sums are compared with the source's when our log holds all that came
 * before COPY_START. What is still on its way into it is not in them, and would
 * lie over what was found to be equal. */
static void read_sums(struct chain *c, struct chain_out *out)
{
    const struct chain_dst *d = &c->dst;
    if (!d->have_sums || (!d->copy_logged && KT_RULE(copy_logged)))
        return;
    struct chain_act *a = chain_act(out, CHAIN_ACT_SUMS);
    a->sync_id = d->id;
    a->extent = d->extent;
}

static void on_ext_sums(struct chain *c, const struct kt_msg *m,
                        struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    if (!m->buf || m->buf->n_sums != KT_EXTENT_SECTORS || d->have_sums)
        return;
    memcpy(d->src_sums, m->buf->sums, sizeof(d->src_sums));
    d->have_sums = true;
    read_sums(c, out);
}

static bool is_touched(const struct chain_dst *d, uint32_t i)
{
    return KT_RULE(touched) && (d->touched[i / 64] >> (i % 64) & 1);
}

/* Our own sums are here: wish for what differs and no record has written. */
void chain_dst_sums(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    if (!d->started || !d->copying || ev->sync_id != d->id ||
        ev->extent != d->extent)
        return;
    if (ev->err < 0 || !ev->buf) {
        chain_dst_fail(c, out, ev->err < 0 ? ev->err : KT_E_CORRUPT);
        return;
    }
    struct kt_msg *m = tell(c, out, KT_MSG_WANT);
    m->u.ext.extent = d->extent;
    for (uint32_t i = 0; i < KT_EXTENT_SECTORS; i++) {
        if (d->src_sums[i] != ev->buf->sums[i] && !is_touched(d, i))
            m->u.ext.want[i / 64] |= 1ull << (i % 64);
    }
}

static void on_base(struct chain *c, const struct kt_msg *m,
                    struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    struct kt_record r = m->u.rec;
    if (r.op != KT_OP_BASE || kt_record_invalid(&r, c->cfg.n_extents) ||
        !m->buf || m->buf->n_sums != r.len / KT_SECTOR_BYTES)
        return;
    uint32_t first = r.off / KT_SECTOR_BYTES;
    for (uint32_t i = 0; i < r.len / KT_SECTOR_BYTES; i++) {
        if (!is_touched(d, first + i))
            continue;
        KT_REACH(touched);
        r.keep[i / 64] |= 1ull << (i % 64);
    }
    r.id = c->received;
    append(c, out, &r, m->buf, TAG(TAG_BASE, d->extent));
}

static void on_end(struct chain *c, const struct kt_msg *m,
                   struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    struct kt_record r = {.op = KT_OP_BASE_END,
                          .id = c->received,
                          .extent = d->extent,
                          .prev = m->u.rec.prev,
                          .flags = m->u.rec.flags & KT_RF_ALLOC};
    if (d->alloc_later)
        r.flags = d->alloc_later > 0 ? KT_RF_ALLOC : 0;
    uint8_t bit = (uint8_t)(1u << (d->extent % 8));
    if (r.flags & KT_RF_ALLOC)
        c->alloc[d->extent / 8] |= bit;
    else
        c->alloc[d->extent / 8] &= (uint8_t)~bit;
    d->copying = false;
    append(c, out, &r, NULL, TAG(TAG_END, d->extent));
}

void chain_dst_early(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out)
{
    if (c->have_cfg && ev->msg->epoch <= c->cfg.epoch)
        return;
    chain_nak(c, out, ev, KT_E_NEW_EPOCH);
    out->acts[out->n - 1].msg.epoch = ev->msg->epoch;
}

void chain_dst_start(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out)
{
    if (from_source(c, ev))
        on_start(c, ev, out);
    else
        chain_dst_early(c, ev, out);
}

void chain_dst_msg(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    struct chain_dst *d = &c->dst;
    if (!from_source(c, ev) || !d->started || ev->conn != d->conn)
        return;
    if (m->type == KT_MSG_COPY_START) {
        if (!d->suffix && m->u.ext.extent < c->cfg.n_extents)
            on_copy_start(c, m, out);
        return;
    }
    if (m->type == KT_MSG_SYNC_DONE) {
        d->end_wanted = true;
        d->end_at = m->u.sync.at;
        d->end_ticket = 0;
        return;
    }
    bool rec = m->type == KT_MSG_SYNC_EXT || m->type == KT_MSG_SYNC_END;
    uint32_t extent = rec ? m->u.rec.extent : m->u.ext.extent;
    if (!d->copying || extent != d->extent)
        return;
    if (m->type == KT_MSG_EXT_SUMS)
        on_ext_sums(c, m, out);
    else if (m->type == KT_MSG_SYNC_EXT)
        on_base(c, m, out);
    else if (m->type == KT_MSG_SYNC_END)
        on_end(c, m, out);
}

/* ---- which extents own a slot, after a refusal ---- */

static void ask_rows(struct chain *c, struct chain_out *out, uint32_t first)
{
    struct chain_act *a = chain_act(out, CHAIN_ACT_ROWS);
    a->sync_id = c->alloc_id;
    a->first = first;
    a->count = CHAIN_DIGEST_WINDOW;
}

/* Nothing is under way, and nothing is taken until it is done. */
void chain_dst_recount(struct chain *c, struct chain_out *out)
{
    assert(c->appends == 0);
    c->alloc_stale = true;
    c->alloc_failed_ms = 0;
    c->alloc_id = ++c->sync_ids;
    memset(c->alloc, 0, sizeof(c->alloc));
    ask_rows(c, out, 0);
}

void chain_dst_tick(struct chain *c, struct chain_out *out)
{
    if (!c->alloc_failed_ms || c->appends > 0 ||
        c->now_ms - c->alloc_failed_ms < RECOUNT_MS)
        return;
    KT_REACH(recount_again);
    chain_dst_recount(c, out);
}

void chain_dst_rows(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    uint32_t n = c->have_cfg ? c->cfg.n_extents : KT_SEGMENT_EXTENTS_MAX;
    if (ev->err < 0 || ev->next <= ev->first) {
        c->alloc_failed_ms = kt_max_u64(c->now_ms, 1);
        return; /* no target before it succeeds */
    }
    for (uint32_t i = 0; i < ev->n_rows; i++) {
        uint32_t x = ev->rows[i].extent;
        if (x < n && ev->rows[i].state & KT_DIGEST_F_ALLOC)
            c->alloc[x / 8] |= (uint8_t)(1u << (x % 8));
    }
    uint64_t end = (uint64_t)ev->first + CHAIN_DIGEST_WINDOW;
    end = kt_min_u64(end, ev->next);
    if (end < n)
        ask_rows(c, out, (uint32_t)end);
    else
        c->alloc_stale = false;
}

/* ---- completions ---- */

bool chain_dst_is_reset(uint64_t tag)
{
    return (tag & ~(uint64_t)UINT32_MAX) == TAG(TAG_RESET, 0);
}

void chain_dst_appended(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    unsigned kind = (unsigned)(ev->tag >> 40 & 0xff);
    if (kind == TAG_RESET) {
        /* Also when a SEAL came meanwhile: the log says so. */
        c->applied = ev->id;
        c->acked = c->applied.seq;
        c->durable = 0;
        c->sync_old = c->log_sync; /* it may count the history before */
    }
    if (!d->started || c->phase != CHAIN_ACTIVE)
        return;
    if (kind == TAG_RESET) {
        if (ev->tag != d->reset)
            return; /* that start was given up; so is its RESET */
        d->reset = 0;
        struct kt_msg *m = tell(c, out, KT_MSG_SYNC_AT);
        m->u.sync.at = ev->id;
        m->u.sync.incarnation = c->incarnation;
    } else if (kind == TAG_COPY && d->copying &&
               d->extent == (uint32_t)ev->tag && KT_RULE(copy_logged)) {
        d->copy_logged = true;
        read_sums(c, out);
    } else if (kind == TAG_END) {
        tell(c, out, KT_MSG_EXT_DONE)->u.ext.extent = (uint32_t)ev->tag;
    }
}

void chain_dst_pump(struct chain *c, struct chain_out *out)
{
    struct chain_dst *d = &c->dst;
    if (c->role != CHAIN_DST || !d->started || !chain_room(out))
        return;
    if (d->reset) /* what is applied is still what was there before */
        return;
    if (c->applied.seq > c->ackc_sent) {
        tell(c, out, KT_MSG_ACKC)->u.ackc.upto = c->applied.seq;
        c->ackc_sent = c->applied.seq;
        chain_act(out, CHAIN_ACT_ACKED)->seq = c->applied.seq;
    }
    if (!d->end_wanted || c->applied.seq < d->end_at.seq)
        return;
    if (!d->end_ticket)
        d->end_ticket = chain_ticket(c);
    if (d->end_ticket <= c->sync_done || !KT_RULE(sync_durable)) {
        d->end_wanted = false;
        KT_HOLDS(I14, c->durable >= d->end_at.seq);
        KT_HOLDS(I21, !d->copying);
        struct kt_msg *m = tell(c, out, KT_MSG_SYNC_ACK);
        m->u.sync.at = d->end_at;
        m->u.sync.incarnation = c->incarnation;
    }
}
