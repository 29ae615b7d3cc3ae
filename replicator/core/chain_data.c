/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients ask: write at the head, read and flush at any member. */
#include <string.h>

#include "replicator/core/chain_int.h"

/* ---- taking a record in ---- */

static void set_alloc(struct chain *c, uint32_t extent, bool on)
{
    uint8_t bit = (uint8_t)(1u << (extent % 8));
    if (on)
        c->alloc[extent / 8] |= bit;
    else
        c->alloc[extent / 8] &= (uint8_t)~bit;
}

/* Whoever has no part in the chain keeps no slots from the others. */
void chain_ask_credit(const struct chain *c, struct chain_out *out)
{
    struct chain_act *a = chain_act(out, CHAIN_ACT_CREDIT);
    a->want = c->role == CHAIN_NONE ? 0 : CHAIN_GRANT_WANT;
}

void chain_on_credit(struct chain *c, const struct chain_event *ev)
{
    c->own_limit = c->alloc_used + ev->set_aside;
    c->own_full = ev->full;
}

void chain_take(struct chain *c, struct chain_out *out,
                const struct kt_record *rec, struct kt_buf *buf, bool hold)
{
    KT_HOLDS(I7, rec->id.seq == c->received.seq + 1);
    KT_HOLDS(I8, kt_rid_eq(rec->prev, c->received));
    KT_HOLDS(I17, c->phase != CHAIN_FAULTY);
    assert(c->received.seq - c->acked < CHAIN_RING || !hold);
    bool takes_slot =
        kt_record_allocates(rec) && !chain_bit(c->alloc, rec->extent);

    if (hold) {
        *chain_entry(c, rec->id.seq) =
            (struct chain_entry){.rec = *rec, .buf = buf};
        c->bytes += buf ? buf->data_len : 0;
    }
    c->received = rec->id;
    kt_dedup_fold(&c->dedup, rec);
    if (kt_record_allocates(rec))
        set_alloc(c, rec->extent, true);
    else if (kt_record_frees(rec) && !(rec->flags & KT_RF_SKIP))
        set_alloc(c, rec->extent, false);

    struct chain_act *a = chain_act(out, CHAIN_ACT_APPEND);
    a->rec = *rec;
    a->buf = buf;
    a->hold = hold && buf;
    a->tag = rec->id.seq;
    c->appends++;
    if (takes_slot) {
        c->alloc_used++;
        chain_ask_credit(c, out);
    }
}

/* ---- write ---- */

/* B7: 0, or why a record that needs a new slot cannot be admitted now. */
static int admit_slot(const struct chain *c)
{
    if (c->alloc_used >= c->own_limit)
        return c->own_full ? KT_E_NOSPC : KT_E_BUSY;
    if (KT_RULE(credit_succ) && !chain_is_tail(c) &&
        c->alloc_used >= c->succ_limit)
        return c->succ_full ? KT_E_NOSPC : KT_E_BUSY;
    return 0;
}

static int write_payload_invalid(const struct kt_record *r,
                                 const struct kt_buf *buf)
{
    if (r->op != KT_OP_WRITE)
        return buf ? KT_E_INVALID : 0;
    if (!buf || buf->data_len != r->len ||
        buf->n_sums != r->len / KT_SECTOR_BYTES)
        return KT_E_INVALID;
    return 0;
}

static void ack(struct chain *c, struct chain_out *out, uint64_t conn,
                uint64_t req, uint64_t wseq, struct kt_rid id)
{
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, KT_MSG_ACK);
    out->acts[out->n - 1].conn = conn;
    m->req = req;
    m->u.ack.token = c->cfg.token;
    m->u.ack.wseq = wseq;
    m->u.ack.id = id;
    m->u.ack.vgen = c->cfg.vgen;
}

/* A request that was executed before (I19): answered, not executed. */
static void write_again(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out, uint64_t seq)
{
    const struct kt_msg *m = ev->msg;
    c->n_dup++;
    if (seq > c->acked) {
        KT_REACH(dup_in_flight);
        struct chain_entry *e = chain_entry(c, seq);
        assert(e->rec.wseq == m->u.write.wseq);
        e->conn = ev->conn;
        e->req = m->req;
        return;
    }
    if (chain_entry(c, seq)->rec.id.epoch < c->cfg.epoch)
        KT_REACH(dup_across_epochs);
    /* The id's epoch is not kept; clients compare seq within a vgen (I16). */
    ack(c, out, ev->conn, m->req, m->u.write.wseq,
        (struct kt_rid){c->cfg.epoch, seq});
}

static int write_gate(struct chain *c, const struct kt_msg *m)
{
    int err = chain_gate(c, m->epoch);
    if (err)
        return err;
    if (c->me != 0)
        return KT_E_NOT_HEAD;
    if (KT_RULE(fence) &&
        (m->u.write.token == 0 || m->u.write.token != c->cfg.token))
        return KT_E_FENCED; /* I18 */
    if (KT_RULE(min_write) && c->n_serving < c->cfg.min_write) {
        KT_REACH(min_write);
        return KT_E_MINWRITE; /* B12: not even a duplicate is answered */
    }
    return 0;
}

void chain_on_write(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    int err = write_gate(c, m);
    struct kt_record r = {
        .chain = c->id,
        .id = {c->have_cfg ? c->cfg.epoch : 0, c->received.seq + 1},
        .prev = c->received,
        .token = m->u.write.token,
        .wseq = m->u.write.wseq,
        .wstable = m->u.write.wstable,
        .op = m->u.write.op,
        .flags = m->u.write.flags & (KT_RF_FUA | KT_RF_NO_HOLE),
        .extent = m->u.write.extent,
        .off = m->u.write.off,
        .len = m->u.write.len,
    };
    if (!err && (r.op > KT_OP_TRIM || r.wseq == 0 || r.wseq <= r.wstable ||
                 kt_record_invalid(&r, c->cfg.n_extents)))
        err = KT_E_INVALID;
    if (!err)
        err = write_payload_invalid(&r, m->buf);
    uint64_t seq = 0;
    enum kt_dedup_answer seen = KT_DEDUP_NEW;
    if (!err && KT_RULE(dedup))
        seen = kt_dedup_check(&c->dedup, r.token, r.wseq, &seq);
    if (!err && seen == KT_DEDUP_SEEN) {
        write_again(c, ev, out, seq);
        return;
    }
    if (!err && seen == KT_DEDUP_STALE && !KT_RULE(wstable))
        seen = KT_DEDUP_NEW;
    if (!err && seen != KT_DEDUP_NEW)
        err = seen == KT_DEDUP_STALE ? KT_E_DUP : KT_E_BUSY;
    if (!err && KT_RULE(in_flight) &&
        (c->received.seq - c->acked >= CHAIN_INFLIGHT_MAX ||
         c->bytes >= CHAIN_INFLIGHT_BYTES))
        err = KT_E_BUSY;
    if (!err && kt_record_allocates(&r) && !chain_bit(c->alloc, r.extent))
        err = admit_slot(c); /* A4: before a number is given */
    if (err) {
        if (err == KT_E_BUSY || err == KT_E_NOSPC)
            chain_ask_credit(c, out);
        if (err == KT_E_DUP)
            KT_REACH(dup_stale);
        else if (err == KT_E_NOSPC)
            KT_REACH(nospc);
        chain_nak(c, out, ev, err);
        return;
    }
    if (c->cfg.durability == KT_DURABILITY_SYNC)
        r.flags |= KT_RF_FUA;
    r.gen = c->cfg.gen;
    KT_HOLDS(I2, m->epoch == c->cfg.epoch);
    KT_HOLDS(I7, c->me == 0);
    KT_HOLDS(I18, r.token != 0 && r.token == c->cfg.token);
    KT_HOLDS(I19,
             kt_dedup_check(&c->dedup, r.token, r.wseq, &seq) == KT_DEDUP_NEW);
    KT_HOLDS(B12, c->n_serving >= c->cfg.min_write);
    chain_take(c, out, &r, m->buf, true);
    struct chain_entry *e = chain_entry(c, r.id.seq);
    e->conn = ev->conn;
    e->req = m->req;
}

/* ---- read, holes, digests ---- */

static bool range_ok(const struct chain *c, const struct kt_msg *m)
{
    if (m->type == KT_MSG_STAT) {
        uint64_t first = (uint64_t)m->u.stat.extent * KT_EXTENT_SECTORS +
                         m->u.stat.off / KT_SECTOR_BYTES;
        return m->u.stat.extent < c->cfg.n_extents &&
               m->u.stat.off < KT_EXTENT_BYTES &&
               m->u.stat.off % KT_SECTOR_BYTES == 0 && m->u.stat.sectors &&
               first + m->u.stat.sectors <=
                   (uint64_t)c->cfg.n_extents * KT_EXTENT_SECTORS;
    }
    uint32_t off = m->u.read.off, len = m->u.read.len;
    return m->u.read.extent < c->cfg.n_extents && off < KT_EXTENT_BYTES &&
           len && len <= KT_RECORD_BYTES_MAX && len <= KT_EXTENT_BYTES - off &&
           off % KT_SECTOR_BYTES == 0 && len % KT_SECTOR_BYTES == 0;
}

void chain_on_read(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    bool stat = m->type == KT_MSG_STAT;
    int err = chain_gate(c, m->epoch);
    if (!err && !range_ok(c, m))
        err = KT_E_INVALID;
    uint64_t min_seq = stat ? m->u.stat.min_seq : m->u.read.min_seq;
    if (!err && c->applied.seq < min_seq)
        err = KT_E_BEHIND; /* I20: an acknowledged write is missing here */
    if (err) {
        chain_nak(c, out, ev, err);
        return;
    }
    KT_HOLDS(I2, m->epoch == c->cfg.epoch && chain_serves(c));
    KT_HOLDS(I20, c->applied.seq >= min_seq);
    struct chain_act *a =
        chain_act(out, stat ? CHAIN_ACT_STAT : CHAIN_ACT_READ);
    a->conn = ev->conn;
    a->msg = *m;
    a->msg.buf = NULL;
}

/* From `kenter volume verify` (any epoch), or from the source of a sync. */
void chain_on_digest_get(struct chain *c, const struct chain_event *ev,
                         struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    (void)c;
    struct chain_act *a = chain_act(out, CHAIN_ACT_DIGEST);
    a->conn = ev->conn;
    a->msg = *m;
    a->first = m->u.digest.first;
    a->count = m->u.digest.count;
    if (a->count == 0 || a->count > KT_DIGEST_ROWS_MAX)
        a->count = KT_DIGEST_ROWS_MAX;
}

/* ---- flush ---- */

uint64_t chain_ticket(struct chain *c)
{
    return ++c->sync_want;
}

static void flush_ok(struct chain *c, struct chain_out *out,
                     const struct chain_flush *f)
{
    KT_HOLDS(I13, f->upto <= c->durable && chain_serves(c));
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, KT_MSG_FLUSH_OK);
    out->acts[out->n - 1].conn = f->conn;
    m->req = f->req;
    m->u.flush.upto = f->upto;
    m->u.flush.incarnation = c->incarnation;
    m->u.flush.durable = kt_max_u64(c->durable, f->upto);
    m->u.flush.vgen = c->cfg.vgen;
    m->u.flush.store = c->store;
}

void chain_on_flush(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    int err = chain_gate(c, m->epoch);
    if (!err && chain_relay(c, ev, out))
        return;
    if (!err && m->u.flush.upto > c->applied.seq)
        err = KT_E_BEHIND;
    if (!err && c->n_flushes == CHAIN_FLUSH_MAX)
        err = KT_E_BUSY;
    if (err) {
        chain_nak(c, out, ev, err);
        return;
    }
    struct chain_flush f = {ev->conn, m->req, m->u.flush.upto, 0};
    if (f.upto <= c->durable || !KT_RULE(flush_synced)) {
        flush_ok(c, out, &f);
        return;
    }
    f.ticket = chain_ticket(c);
    c->flushes[c->n_flushes++] = f;
}

void chain_flush_pump(struct chain *c, struct chain_out *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_flushes; i++) {
        const struct chain_flush *f = &c->flushes[i];
        if (f->ticket <= c->sync_done && chain_room(out))
            flush_ok(c, out, f); /* I13 */
        else
            c->flushes[n++] = *f;
    }
    c->n_flushes = n;
    if (!c->log_sync && c->sync_want > c->sync_done) {
        c->sync_cover = c->sync_want;
        c->log_sync = true;
        chain_act(out, CHAIN_ACT_SYNC);
    }
}
