/* SPDX-License-Identifier: BSD-3-Clause */
/* Resync by the log's suffix (2.9): a member that served, and has thrown away
 * nothing since, lacks only the records after its last one.
 *
 * 1 Dst says where its history ends. One id has one history before it (I7):
 *   when the record we have after that place follows that very id, dst is a
 *   prefix of us. Else, and when our log does not reach back so far, or dst
 *   has records that never came to be here, extents are compared (chain_src.c).
 * 2 The log is read in pieces, never more than a window ahead of what dst has
 *   acknowledged. Nobody waits for it.
 * 3 The last piece has to end where the ring begins: what is acknowledged
 *   meanwhile would leave the ring. So acknowledgements stop at what the piece
 *   will reach while it is read, and only then (a few milliseconds).
 * 4 From there on new records are fed as they come (CHAIN_SYNC_TAIL). If dst
 *   falls behind by more than the memory for it, back to 2: no record ever
 *   goes without its bytes here.
 * A broken link, a new epoch, a crash on either side: dst has a longer prefix,
 * and the next attempt goes on from there. */
#include <string.h>

#include "replicator/core/chain_int.h"

#define LOG_RECORDS 64u
#define LOG_WINDOW (8u << 20)

static void instead(struct chain *c, struct chain_out *out)
{
    c->src.no_suffix = true;
    chain_src_start(c, out);
}

/* True when the record we have after dst's last one follows it (I7). What is
 * not in the ring is looked at when it comes from the log. */
static bool follows(struct chain *c, struct kt_rid at)
{
    if (at.seq == c->received.seq)
        return kt_rid_eq(at, c->received);
    const struct chain_entry *e = chain_entry(c, at.seq + 1);
    assert(at.seq >= c->acked && e->rec.id.seq == at.seq + 1);
    return kt_rid_eq(e->rec.prev, at);
}

static void join(struct chain *c, struct chain_out *out)
{
    if (c->src.fed < c->acked)
        return;
    if (KT_RULE(suffix_id) && !follows(c, c->src.fed_id))
        instead(c, out);
    else
        c->src.state = CHAIN_SYNC_TAIL;
}

void chain_log_begin(struct chain *c, const struct kt_msg *at,
                     struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (!at->u.sync.suffix || at->u.sync.at.seq > c->received.seq ||
        !kt_id_eq(&at->u.sync.history, &c->cfg.history)) {
        KT_REACH(suffix_other);
        instead(c, out);
        return;
    }
    s->state = CHAIN_SYNC_LOG;
    s->fed_id = at->u.sync.at;
    s->fed = s->dst_acked = s->fed_id.seq;
    s->feed_bytes = 0;
    s->log_asked = false;
    join(c, out);
}

static bool send_one(struct chain *c, struct chain_out *out,
                     const struct kt_record *r, struct kt_buf *buf)
{
    struct chain_src *s = &c->src;
    /* Our own copy may have got this record without its bytes (SKIP). */
    if (r->flags & KT_RF_SKIP || r->id.seq != s->fed + 1 ||
        (KT_RULE(suffix_id) && !kt_rid_eq(r->prev, s->fed_id)))
        return false;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_DST, KT_MSG_FWD);
    m->u.rec = *r;
    m->buf = buf;
    s->fed = r->id.seq;
    s->fed_id = r->id;
    s->feed_bytes += CHAIN_FEED_COST(buf);
    s->bytes_sent += buf ? buf->data_len : 0;
    chain_pace_spent(c, CHAIN_FEED_COST(buf));
    s->records_sent++;
    c->n_log++;
    return true;
}

void chain_log_read(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (s->state != CHAIN_SYNC_LOG || ev->sync_id != s->id || !s->log_asked)
        return;
    s->log_asked = false;
    bool ok = ev->err == 0 && ev->n_recs > 0;
    for (uint32_t i = 0; ok && i < ev->n_recs; i++)
        ok = send_one(c, out, &ev->recs[i], ev->bufs[i]);
    if (!ok) {
        KT_REACH(suffix_gap);
        instead(c, out);
        return;
    }
    join(c, out);
}

void chain_log_pump(struct chain *c, struct chain_out *out)
{
    struct chain_src *s = &c->src;
    if (s->log_asked || s->feed_bytes >= LOG_WINDOW)
        return;
    join(c, out);
    if (s->state != CHAIN_SYNC_LOG)
        return;
    assert(s->fed < c->acked);
    if (!chain_pace_may(c))
        return;
    s->log_asked = true;
    s->hold = c->applied.seq;
    if (c->applied.seq - s->fed > LOG_RECORDS)
        s->hold = UINT64_MAX; /* not the last piece */
    struct chain_act *a = chain_act(out, CHAIN_ACT_LOG_READ);
    a->sync_id = s->id;
    a->after = s->fed;
    a->count = LOG_RECORDS;
}

bool chain_log_again(struct chain *c)
{
    struct chain_src *s = &c->src;
    if (s->state != CHAIN_SYNC_TAIL || s->feed_bytes <= CHAIN_FEED_BYTES)
        return false;
    KT_REACH(suffix_again);
    s->state = CHAIN_SYNC_LOG;
    s->log_asked = false;
    return true;
}
