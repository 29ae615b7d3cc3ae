/* SPDX-License-Identifier: BSD-3-Clause */
/* What members say. Every answer that shows a newer configuration has it
 * adopted first (I20, B14); only then it may complete anything. Answers that
 * match nothing in flight are late and mean nothing. */
#include "lib/client/engine_int.h"

#include <errno.h>
#include <string.h>

static void want_cfg(struct engine *e, struct engine_chain *c)
{
    c->want_cfg = KT_RULE(cfg_get);
    c->cfg_get_ms = e->now;
    eng_work(e, c);
}

static struct engine_part *part_of(struct engine *e, const struct kt_msg *m)
{
    uint32_t i = (uint32_t)(m->req & 0xffff);
    if (i >= ENGINE_PARTS_MAX + ENG_REPLAYS)
        return NULL;
    struct engine_part *p = &e->parts[i];
    if (p->state == PART_FREE || p->chain->cfg.chain != m->chain)
        return NULL;
    return p;
}

static struct engine_part *write_of(struct engine *e, const struct kt_msg *m,
                                    uint64_t wseq)
{
    struct engine_part *p = part_of(e, m);
    return p && eng_is_write(p->op) && wseq && p->wseq == wseq ? p : NULL;
}

static struct engine_part *read_of(struct engine *e, const struct kt_msg *m)
{
    struct engine_part *p = part_of(e, m);
    return p && !eng_is_write(p->op) && p->state == PART_SENT &&
                   p->gen == m->req >> 16
               ? p
               : NULL;
}

static struct engine_chain *chain_of(struct engine *e, const struct kt_msg *m)
{
    uint32_t i = (uint32_t)m->req;
    return i < e->n_chains && e->chains[i].cfg.chain == m->chain &&
                   e->chains[i].cfg.epoch
               ? &e->chains[i]
               : NULL;
}

static void written(struct engine *e, struct engine_part *p, uint64_t seq)
{
    struct engine_chain *c = p->chain;
    c->max_acked = kt_max_u64(c->max_acked, seq);
    if (p->kept)
        eng_replay_acked(e, p, seq);
    else
        eng_part_settle(e, p, 0, seq);
}

static void on_ack(struct engine *e, uint32_t slot, const struct kt_msg *m,
                   int err)
{
    (void)slot, (void)err;
    struct engine_part *p = write_of(e, m, m->u.ack.wseq);
    if (!p || m->u.ack.token != e->o.token)
        return;
    if (m->epoch > p->chain->cfg.epoch && KT_RULE(ack_adopts)) {
        want_cfg(e, p->chain); /* and the resend will be answered again */
        return;
    }
    /* From before a loss: it says nothing about the present vgen. */
    if (m->u.ack.vgen != p->chain->cfg.vgen && KT_RULE(ack_vgen))
        return;
    if (m->epoch < p->chain->cfg.epoch)
        KT_REACH(ack_old_epoch);
    KT_HOLDS(I20, m->epoch <= p->chain->cfg.epoch);
    KT_HOLDS(I16, m->u.ack.vgen == p->chain->cfg.vgen);
    written(e, p, m->u.ack.id.seq);
}

/* Bytes [a, b) of the volume: from src, or zeros. */
static void fill(struct engine_part *p, uint64_t a, uint64_t b,
                 const uint8_t *src)
{
    const struct engine_req *r = p->req;
    if (p->page) {
        assert(b - a == KT_SECTOR_BYTES);
        if (src)
            memcpy(p->page, src, KT_SECTOR_BYTES);
        else
            memset(p->page, 0, KT_SECTOR_BYTES);
        return;
    }
    uint64_t lo = kt_max_u64(a, r->off), hi = kt_min_u64(b, r->off + r->len);
    assert(lo < hi);
    if (src)
        memcpy(r->buf + (lo - r->off), src + (lo - a), hi - lo);
    else
        memset(r->buf + (lo - r->off), 0, hi - lo);
}

/* The buffer holds what was asked for; sums were checked when it came in. */
static bool fitting(const struct engine_part *p, const struct kt_msg *m)
{
    const struct kt_buf *b = m->buf;
    uint32_t len = eng_read_len(p);
    if (m->u.data.extent != p->extent || m->u.data.off != p->off + p->at ||
        m->u.data.len != len)
        return false;
    if (!b || (b->n_sums == 0 && b->data_len == 0))
        return true; /* nothing there: zeros */
    if (b->n_sums != len / KT_SECTOR_BYTES)
        return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_sums; i++)
        n += b->sums[i] != 0;
    return b->data_len == n * KT_SECTOR_BYTES;
}

static void copy_out(struct engine_part *p, const struct kt_buf *b)
{
    uint32_t n = eng_read_len(p) / KT_SECTOR_BYTES;
    const uint8_t *src = b ? b->data : NULL;
    bool none = !b || b->n_sums == 0;
    for (uint32_t i = 0, j; i < n; i = j) {
        bool there = !none && b->sums[i] != 0;
        for (j = i + 1; j < n && !none && (b->sums[j] != 0) == there; j++)
            ;
        if (none)
            j = n;
        uint64_t bytes = (uint64_t)(j - i) * KT_SECTOR_BYTES;
        uint64_t at = p->pos + p->at + (uint64_t)i * KT_SECTOR_BYTES;
        fill(p, at, at + bytes, there ? src : NULL);
        if (there)
            src += bytes;
    }
}

static uint8_t member_bit(const struct engine_part *p)
{
    for (unsigned i = 0; i < p->chain->n_serving; i++)
        if (p->chain->slot[i] == p->slot)
            return (uint8_t)(1u << i);
    return 0;
}

/* Not from this member; from another, if there is one. */
static void try_another(struct engine *e, struct engine_part *p, bool bad)
{
    p->tried |= member_bit(p);
    if (bad)
        p->bad |= member_bit(p);
    eng_requeue_read(e, p);
}

/* The bytes were damaged between the member and us: once or twice that is
 * the way; then the member counts as damaged. */
static void damaged(struct engine *e, struct engine_part *p)
{
    e->info.bad_sums++;
    if (p->damaged < 3)
        p->damaged++;
    try_another(e, p, p->damaged == 3);
}

static void on_data(struct engine *e, uint32_t slot, const struct kt_msg *m,
                    int err)
{
    (void)slot; /* gen says which sending it answers */
    struct engine_part *p = read_of(e, m);
    if (!p || p->op != ENGINE_READ)
        return;
    /* Parts of an older epoch have been asked for again (I2). */
    if (err || m->epoch != p->chain->cfg.epoch || !fitting(p, m)) {
        damaged(e, p);
        return;
    }
    KT_HOLDS(B11, !eng_replaying(p->chain));
    KT_HOLDS(I20, m->epoch == p->chain->cfg.epoch);
    copy_out(p, m->buf);
    if (p->at + eng_read_len(p) == p->len) {
        eng_part_settle(e, p, 0, 0);
        return;
    }
    p->at += KT_SECTOR_BYTES;
    p->tried = p->bad = p->damaged = p->bad_rounds = 0;
    eng_requeue_read(e, p);
}

static void on_stat_ok(struct engine *e, uint32_t slot, const struct kt_msg *m,
                       int err)
{
    (void)slot;
    struct engine_part *p = read_of(e, m);
    if (!p || p->op != ENGINE_STAT)
        return;
    struct engine_req *r = p->req;
    uint32_t n = m->u.stat_ok.rows;
    uint64_t left = p->len / KT_SECTOR_BYTES;
    if (err || n == 0 || !m->buf || m->buf->data_len / 4 < n) {
        damaged(e, p);
        return;
    }
    r->n_rows = 0;
    for (uint32_t i = 0; i < n && i < r->rows_max && left; i++) {
        const uint8_t *b = m->buf->data + 4 * (size_t)i;
        uint32_t row = (uint32_t)b[0] | (uint32_t)b[1] << 8 |
                       (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        uint64_t sectors = kt_min_u64(row >> 2, left);
        if (sectors == 0)
            continue;
        left -= sectors;
        r->rows[r->n_rows++] = (uint32_t)sectors << 2 | (row & 3);
    }
    if (r->n_rows == 0)
        damaged(e, p);
    else
        eng_part_settle(e, p, 0, 0);
}

static void write_nak(struct engine *e, struct engine_part *p,
                      const struct kt_msg *m)
{
    struct engine_chain *c = p->chain;
    /* Of an earlier sending: the later one has its own answer. */
    bool late = m->epoch < c->cfg.epoch;
    bool last = p->gen == m->req >> 16;
    switch (m->u.nak.err) {
    case KT_E_NOSPC: /* no seq was given (A4, B7); the wseq is settled */
    case -ENOSPC:
        if (!last)
            return; /* the last one sent may find room yet */
        if (late || p->kept)
            break;
        eng_part_settle(e, p, -ENOSPC, 0);
        return;
    case KT_E_INVALID:
        if (late || p->kept)
            break;
        eng_part_settle(e, p, -EIO, 0);
        return;
    case KT_E_DUP: /* was executed, and acknowledged, before */
        if (late)
            break;
        written(e, p, kt_max_u64(c->max_acked, m->u.nak.at.seq));
        return;
    case KT_E_BUSY:
    case KT_E_MINWRITE:
        break;
    default:
        if (e->now - c->cfg_get_ms >= ENG_CFG_GET_MS)
            want_cfg(e, c);
    }
    eng_part_back_off(e, p);
}

static void read_nak(struct engine *e, struct engine_part *p,
                     const struct kt_msg *m)
{
    switch (m->u.nak.err) {
    case KT_E_BADSUM:
    case KT_E_CORRUPT:
        e->info.bad_sums++;
        try_another(e, p, true);
        return;
    case KT_E_BEHIND:
        e->info.behind++; /* a bug in the chain, whoever reads on (I20) */
        try_another(e, p, false);
        return;
    case KT_E_INVALID:
        eng_part_settle(e, p, -EIO, 0);
        return;
    case KT_E_BUSY:
        eng_part_back_off(e, p);
        return;
    case KT_E_OLD_EPOCH:
    case KT_E_NEW_EPOCH:
    case KT_E_NOT_SERVING:
    case KT_E_UNKNOWN_CHAIN:
        if (e->now - p->chain->cfg_get_ms >= ENG_CFG_GET_MS)
            want_cfg(e, p->chain);
        try_another(e, p, false);
        return;
    default:
        try_another(e, p, false);
    }
}

static void on_nak(struct engine *e, uint32_t slot, const struct kt_msg *m,
                   int err)
{
    (void)err;
    if (m->req & ENG_REQ_CFG)
        return;
    if (m->req & ENG_REQ_FLUSH) {
        struct engine_chain *c = chain_of(e, m);
        if (c && c->fl.active)
            eng_flush_nak(e, c, slot, &m->u.nak.store);
        return;
    }
    struct engine_part *p = read_of(e, m);
    if (!p)
        p = write_of(e, m, m->u.nak.wseq);
    if (!p || p->state != PART_SENT || p->slot != slot)
        return;
    if (m->u.nak.err == KT_E_FENCED && m->epoch >= p->chain->cfg.epoch) {
        KT_REACH(fenced_by_nak);
        eng_die(e, false);
        return;
    }
    if (eng_is_write(p->op))
        write_nak(e, p, m);
    else
        read_nak(e, p, m);
}

static void on_flush_ok(struct engine *e, uint32_t slot, const struct kt_msg *m,
                        int err)
{
    struct engine_chain *c = m->req & ENG_REQ_FLUSH ? chain_of(e, m) : NULL;
    (void)slot, (void)err;
    if (c)
        eng_flush_ok(e, c, m);
}

typedef void answer(struct engine *, uint32_t slot, const struct kt_msg *,
                    int err);

/* What it says of a part, by the part's own state; of CFG, and of others too,
 * the configuration is adopted by now, and the rest is not for us. */
static answer *const answers[KT_MSG_TYPE_END] = {
    [KT_MSG_ACK] = on_ack,         [KT_MSG_DATA] = on_data,
    [KT_MSG_STAT_OK] = on_stat_ok, [KT_MSG_FLUSH_OK] = on_flush_ok,
    [KT_MSG_NAK] = on_nak,
};

void eng_answer(struct engine *e, uint32_t slot, const struct kt_msg *m,
                int err)
{
    assert(slot < ENGINE_NODES_MAX);
    struct engine_node *n = &e->nodes[slot];
    if (!n->used || !n->up || e->dead)
        return;
    n->rx_ms = e->now;
    if (err == 0 && m->cfg)
        eng_adopt(e, m->cfg);
    if (e->dead)
        return;
    if (m->type < KT_MSG_TYPE_END && answers[m->type])
        answers[m->type](e, slot, m, err);
}
