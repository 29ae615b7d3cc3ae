/* SPDX-License-Identifier: BSD-3-Clause */
/* One hop of the chain: records down, cumulative acknowledgements up, and
 * RESUME where the link between them broke.
 *
 * The sender streams only after the successor said, in this epoch, what it
 * has (RESUME_OK); every record names the one before it (I8). */
#include <string.h>

#include "replicator/core/chain_int.h"

#define RESUME_MS 300u
/* F23: an acknowledgement owed for so long is worth a word to the hub. */
#define SLOW_MS 1000u
#define LATE_TICK_MS 500u

static bool from_member(const struct chain *c, const struct chain_event *ev,
                        int index)
{
    return index >= 0 && index < c->cfg.n_members &&
           kt_id_eq(&c->cfg.members[index].store, &ev->peer);
}

/* ---- from the predecessor ---- */

void chain_on_fwd(struct chain *c, const struct chain_event *ev,
                  struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    /* Not this epoch, or not our predecessor's: old bytes, or a sender that
     * is ahead of us and will RESUME (I2). */
    if ((m->epoch != c->cfg.epoch && KT_RULE(fwd_epoch)) ||
        !from_member(c, ev, c->me - 1))
        return;
    /* Bytes of an old connection may still come when a new one has resumed:
     * they are taken, but the answers go to the new one. */
    if (!c->pred_conn)
        c->pred_conn = ev->conn;
    const struct kt_record *r = &m->u.rec;
    if (r->id.seq <= c->received.seq) {
        c->n_dup++;
        c->ackc_sent = UINT64_MAX; /* tell again where we are */
        return;
    }
    if (!kt_rid_eq(r->prev, c->received) || r->id.seq != c->received.seq + 1 ||
        c->received.seq - c->acked >= CHAIN_RING) {
        c->n_gap++;
        KT_REACH(gap);
        chain_nak(c, out, ev, KT_E_GAP); /* I8 */
        return;
    }
    if (kt_record_invalid(r, c->cfg.n_extents) || r->op > KT_OP_TRIM ||
        r->flags & KT_RF_SKIP || (r->op == KT_OP_WRITE) != (m->buf != NULL)) {
        chain_nak(c, out, ev, KT_E_INVALID);
        return;
    }
    KT_HOLDS(I2, m->epoch == c->cfg.epoch);
    chain_take(c, out, r, m->buf, true);
}

static void resume_ok(struct chain *c, struct chain_out *out, uint64_t conn,
                      uint64_t req)
{
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, KT_MSG_RESUME_OK);
    out->acts[out->n - 1].conn = conn;
    m->req = req;
    m->u.resume.applied = c->received;
    m->u.resume.acked = c->acked;
    m->u.resume.durable = c->durable;
    c->pred_conn = conn;
    /* Acknowledge on the new link what we have, be it nothing: the credits
     * that went down with the old one are in it. */
    c->ackc_sent = UINT64_MAX;
    c->n_resume++;
}

void chain_on_resume(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    if (chain_serves(c) && m->epoch == c->cfg.epoch &&
        from_member(c, ev, c->me - 1)) {
        if (ev->conn >= c->pred_conn)
            resume_ok(c, out, ev->conn, m->req);
        return;
    }
    if (!c->have_cfg || m->epoch > c->cfg.epoch) {
        /* The sender was activated before us: answered when we are. */
        if (m->epoch < c->resume_epoch ||
            (m->epoch == c->resume_epoch && ev->conn < c->resume_conn))
            return;
        KT_REACH(resume_held);
        c->resume_conn = ev->conn;
        c->resume_req = m->req;
        c->resume_epoch = m->epoch;
        c->resume_peer = ev->peer;
        return;
    }
    chain_nak(c, out, ev, KT_E_OLD_EPOCH);
}

/* ---- from the successor ---- */

/* What lies beyond `have` has to be sent (again). */
static void stream_from(struct chain *c, struct kt_rid have)
{
    if (have.seq > c->received.seq || have.seq < c->acked)
        return; /* not a member of this history: the hub will notice */
    c->succ = CHAIN_SUCC_STREAMING;
    c->sent = have.seq;
}

static bool from_succ(const struct chain *c, const struct chain_event *ev)
{
    return ev->msg->epoch == c->cfg.epoch && !chain_is_tail(c) &&
           from_member(c, ev, c->me + 1);
}

void chain_on_resume_ok(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out)
{
    (void)out;
    if (!from_succ(c, ev))
        return;
    stream_from(c, ev->msg->u.resume.applied);
}

void chain_on_nak(struct chain *c, const struct chain_event *ev,
                  struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    if (m->u.nak.re == KT_MSG_FLUSH) {
        chain_relay_nak(c, ev, out);
        return;
    }
    int dst = kt_cfg_syncing(&c->cfg);
    if (from_succ(c, ev)) {
        if (m->u.nak.err == KT_E_GAP)
            stream_from(c, m->u.nak.at);
    } else if (m->epoch == c->cfg.epoch && chain_is_tail(c) &&
               from_member(c, ev, dst)) {
        if (m->u.nak.err == KT_E_GAP)
            chain_src_restart(c, out);
        else
            chain_src_fail(c, out, m->u.nak.err);
    }
}

void chain_on_ackc(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    (void)out;
    if (from_succ(c, ev)) {
        uint64_t mine = KT_RULE(cut_through) ? c->received.seq : c->applied.seq;
        uint64_t upto = kt_min_u64(m->u.ackc.upto, mine); /* B5 */
        c->succ_acked = kt_max_u64(c->succ_acked, upto);
        c->succ_limit = m->u.ackc.alloc_limit;
        c->succ_full = m->u.ackc.full;
    } else if (m->epoch == c->cfg.epoch && chain_is_tail(c) &&
               from_member(c, ev, kt_cfg_syncing(&c->cfg))) {
        chain_src_acked(c, m->u.ackc.upto);
    }
}

/* ---- links ---- */

static void send_resume(struct chain *c, struct chain_out *out)
{
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_SUCC, KT_MSG_RESUME);
    m->u.resume.applied = c->received;
    m->u.resume.acked = c->acked;
    m->u.resume.durable = c->durable;
    c->succ = CHAIN_SUCC_RESUMING;
    c->resume_ms = c->now_ms;
}

void chain_on_link(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    bool up = ev->type == CHAIN_EV_LINK_UP;
    const struct kt_member *succ = chain_wants_succ(c);
    const struct kt_member *dst = chain_wants_dst(c);
    if (ev->cls == KT_CLASS_DATA && succ && kt_id_eq(&succ->store, &ev->peer)) {
        c->succ_link = up;
        c->succ = CHAIN_SUCC_DOWN;
        if (!KT_RULE(resume_first))
            c->succ = CHAIN_SUCC_STREAMING;
        else if (up)
            send_resume(c, out);
    }
    if (ev->cls == KT_CLASS_SYNC && dst && kt_id_eq(&dst->store, &ev->peer)) {
        c->dst_link = up;
        chain_src_restart(c, out);
    }
}

/* F23: the successor, or who stands behind it, takes records and does not
 * acknowledge them. One record at a time is watched: the last one sent when
 * the one before it was acknowledged. Not judged: what our own log lacks too,
 * and the time for which we were stopped ourselves. */
static void watch_succ(struct chain *c, struct chain_out *out)
{
    bool late = c->now_ms - c->tick_ms > LATE_TICK_MS;
    c->tick_ms = c->now_ms;
    if (chain_is_tail(c) || c->succ != CHAIN_SUCC_STREAMING ||
        c->sent <= c->succ_acked) {
        c->owed_seq = 0;
        return;
    }
    if (c->owed_seq <= c->succ_acked || c->owed_seq > c->sent || late) {
        c->owed_seq = c->sent;
        c->owed_ms = c->now_ms;
    }
    uint64_t owed = c->now_ms - c->owed_ms;
    if (owed < SLOW_MS || c->applied.seq < c->owed_seq ||
        c->now_ms - c->slow_ms < SLOW_MS)
        return;
    c->slow_ms = c->now_ms;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_HUB, KT_MSG_REPORT);
    m->u.report.node = c->cfg.members[c->me + 1].node;
    m->u.report.slow_ms = owed;
}

void chain_hop_tick(struct chain *c, struct chain_out *out)
{
    if (c->role == CHAIN_MEMBER)
        watch_succ(c, out);
    if (c->succ_link && c->succ == CHAIN_SUCC_RESUMING &&
        c->now_ms - c->resume_ms >= RESUME_MS)
        send_resume(c, out);
    if (c->own_full && c->role != CHAIN_NONE)
        chain_ask_credit(c, out); /* space may have returned */
}

void chain_hop_activate(struct chain *c, struct chain_out *out)
{
    c->succ = CHAIN_SUCC_DOWN;
    c->succ_link = c->dst_link = false;
    c->owed_seq = 0;
    c->sent = c->acked;
    c->succ_acked = c->acked;
    c->ackc_sent = c->acked;
    c->limit_sent = 0;
    c->full_sent = false;
    c->alloc_used = c->own_limit = c->succ_limit = 0;
    c->own_full = c->succ_full = false;
    chain_ask_credit(c, out);
    c->pred_conn = 0;
    if (c->role == CHAIN_MEMBER && c->me > 0 &&
        c->resume_epoch == c->cfg.epoch && c->resume_conn &&
        kt_id_eq(&c->resume_peer, &c->cfg.members[c->me - 1].store))
        resume_ok(c, out, c->resume_conn, c->resume_req);
    if (c->resume_epoch <= c->cfg.epoch)
        c->resume_epoch = c->resume_conn = 0;
}

/* ---- the pump ---- */

static void forward(struct chain *c, struct chain_out *out)
{
    while (c->succ == CHAIN_SUCC_STREAMING && c->sent < c->received.seq &&
           chain_room(out)) {
        const struct chain_entry *e = chain_entry(c, ++c->sent);
        assert(e->rec.id.seq == c->sent);
        KT_HOLDS(I8, c->succ_link);
        struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_SUCC, KT_MSG_FWD);
        m->u.rec = e->rec;
        m->buf = e->buf;
    }
    while (chain_is_tail(c) && chain_src_is_live(c) &&
           c->src.fed < c->received.seq && chain_room(out) &&
           !chain_log_again(c))
        chain_src_feed(c, out, chain_entry(c, ++c->src.fed));
}

/* I12: in the log here and on every successor; then it is acknowledged. */
static void acknowledge(struct chain *c, struct chain_out *out)
{
    uint64_t upto = KT_RULE(ack_logged) ? c->applied.seq : c->received.seq;
    if (!chain_is_tail(c) && KT_RULE(ack_succ))
        upto = kt_min_u64(upto, c->succ_acked);
    else
        upto = kt_min_u64(upto, chain_src_limit(c));
    uint64_t before = c->acked;
    while (c->acked < upto && chain_room(out)) {
        struct chain_entry *e = chain_entry(c, ++c->acked);
        assert(e->rec.id.seq == c->acked);
        if (e->conn) {
            struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, KT_MSG_ACK);
            out->acts[out->n - 1].conn = e->conn;
            m->req = e->req;
            m->u.ack.token = e->rec.token;
            m->u.ack.wseq = e->rec.wseq;
            m->u.ack.id = e->rec.id;
            m->u.ack.vgen = c->cfg.vgen;
        }
        if (e->buf) {
            c->bytes -= e->buf->data_len;
            chain_act(out, CHAIN_ACT_RELEASE)->buf = e->buf;
            e->buf = NULL;
        }
    }
    KT_HOLDS(I23, c->acked <= c->applied.seq && chain_serves(c));
    KT_HOLDS(I12, c->acked <= c->applied.seq &&
                      (chain_is_tail(c) || c->acked <= c->succ_acked));
    if (c->acked > before)
        chain_act(out, CHAIN_ACT_ACKED)->seq = c->acked;
}

static void tell_pred(struct chain *c, struct chain_out *out)
{
    uint64_t limit = c->own_limit;
    bool full = c->own_full;
    if (!chain_is_tail(c)) {
        full = c->succ_limit < limit ? c->succ_full : full;
        limit = kt_min_u64(limit, c->succ_limit); /* B7 */
    }
    if (c->me == 0 || !c->pred_conn ||
        (c->acked == c->ackc_sent && limit == c->limit_sent &&
         full == c->full_sent))
        return;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, KT_MSG_ACKC);
    out->acts[out->n - 1].conn = c->pred_conn;
    m->u.ackc.upto = c->acked;
    m->u.ackc.alloc_limit = limit;
    m->u.ackc.full = full;
    c->ackc_sent = c->acked;
    c->limit_sent = limit;
    c->full_sent = full;
}

void chain_hop_pump(struct chain *c, struct chain_out *out)
{
    if (c->role != CHAIN_MEMBER)
        return;
    forward(c, out);
    acknowledge(c, out);
    tell_pred(c, out);
}
