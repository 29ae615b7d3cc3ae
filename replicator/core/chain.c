/* SPDX-License-Identifier: BSD-3-Clause */
/* The step: one event, then the pump, which moves whatever can move. Messages
 * go by the table in chain_table.c. */
#include "replicator/core/chain.h"

#include <errno.h>
#include <string.h>

#include "replicator/core/chain_int.h"

/* Actions kept free for handlers while bulk work fills the rest. */
#define ROOM 48u

struct chain_act *chain_act(struct chain_out *out, enum chain_act_type type)
{
    assert(out->n < CHAIN_ACTS_MAX);
    struct chain_act *a = &out->acts[out->n++];
    memset(a, 0, sizeof(*a));
    a->type = (uint8_t)type;
    return a;
}

bool chain_room(struct chain_out *out)
{
    if (out->n + ROOM < CHAIN_ACTS_MAX)
        return true;
    out->more = true;
    return false;
}

struct kt_msg *chain_msg(struct chain *c, struct chain_out *out,
                         enum chain_act_type type, enum kt_type msg)
{
    struct kt_msg *m = &chain_act(out, type)->msg;
    m->type = (uint8_t)msg;
    m->chain = c->id;
    m->epoch = c->have_cfg ? c->cfg.epoch : 0;
    return m;
}

struct kt_msg *chain_reply(struct chain *c, struct chain_out *out,
                           const struct chain_event *ev, enum kt_type msg)
{
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, msg);
    out->acts[out->n - 1].conn = ev->conn;
    m->req = ev->msg->req;
    return m;
}

void chain_nak(struct chain *c, struct chain_out *out,
               const struct chain_event *ev, int err)
{
    struct kt_msg *m = chain_reply(c, out, ev, KT_MSG_NAK);
    m->u.nak.err = err;
    m->u.nak.re = ev->msg->type;
    m->u.nak.at = c->received;
    if (ev->msg->type == KT_MSG_WRITE)
        m->u.nak.wseq = ev->msg->u.write.wseq;
    else if (ev->msg->type == KT_MSG_FLUSH)
        m->u.nak.store = ev->msg->u.flush.store;
    if (err == KT_E_OLD_EPOCH) {
        m->cfg = KT_RULE(nak_cfg) ? &c->cfg : NULL; /* B14 */
        c->n_old_epoch++;
    }
}

void chain_init(struct chain *c, const struct chain_origin *o)
{
    memset(c, 0, sizeof(*c));
    c->id = o->chain;
    c->store = o->store;
    c->incarnation = o->incarnation;
    c->cont_base = o->cont_base;
    c->promised = o->promised;
    c->whole = o->whole;
    c->phase = CHAIN_DETACHED;
    if (o->cfg) {
        c->cfg = *o->cfg;
        c->have_cfg = true;
        c->promised = kt_max_u64(c->promised, o->cfg->epoch);
    }
    c->received = c->applied = o->applied;
    c->acked = o->applied.seq;
    c->durable = o->durable;
    if (o->dedup)
        c->dedup = *o->dedup;
    if (o->alloc)
        memcpy(c->alloc, o->alloc, sizeof(c->alloc));
}

/* ---- completions ---- */

/* I17: an error of the store is final for what it holds. */
static void store_failed(struct chain *c, struct chain_out *out)
{
    if (c->phase == CHAIN_FAULTY)
        return;
    chain_move(c, CHAIN_FAULTY, c->role);
    c->succ = CHAIN_SUCC_DOWN;
    chain_src_stop(c);
    chain_drop_ring(c, out);
}

/* A full store refuses what comes in a resync or in EQ, and then all that was
 * to follow it. The store is well; the history here ends before that. */
static bool append_refused(struct chain *c, int err, struct chain_out *out)
{
    if (err != -ENOSPC && err != KT_E_GAP)
        return false;
    if (c->phase == CHAIN_ACTIVE && c->role == CHAIN_MEMBER)
        return false; /* B7: cannot be */
    KT_REACH(append_refused);
    c->refused = true;
    chain_unwhole(c, out); /* dedup knows records that are not here */
    if (c->role == CHAIN_DST)
        chain_dst_fail(c, out, KT_E_NOSPC);
    return true;
}

static void append_done(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out)
{
    if (ev->err < 0 && KT_RULE(eio)) {
        store_failed(c, out);
        return;
    }
    if (chain_dst_is_reset(ev->tag))
        c->refused = false; /* begun anew meanwhile */
    if (ev->tag & CHAIN_TAG_LOCAL) {
        chain_dst_appended(c, ev, out);
        return;
    }
    /* Appends complete in order: seq follows applied. */
    if (ev->tag == c->applied.seq + 1)
        c->applied = ev->id;
}

static void on_appended(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out)
{
    assert(c->appends > 0);
    c->appends--;
    if (!append_refused(c, ev->err, out))
        append_done(c, ev, out);
    if (!c->refused || c->appends > 0)
        return;
    c->refused = false;
    c->received = c->applied;
    chain_dst_recount(c, out);
}

static void forget_conn(struct chain *c, uint64_t conn)
{
    bool ring = c->phase == CHAIN_ACTIVE && c->role == CHAIN_MEMBER;
    for (uint64_t s = c->acked + 1; ring && s <= c->received.seq; s++) {
        if (chain_entry(c, s)->conn == conn)
            chain_entry(c, s)->conn = 0;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_flushes; i++) {
        if (c->flushes[i].conn != conn)
            c->flushes[n++] = c->flushes[i];
    }
    c->n_flushes = n;
    chain_relay_forget(c, conn);
    if (c->pred_conn == conn)
        c->pred_conn = 0;
    if (c->resume_conn == conn)
        c->resume_epoch = c->resume_conn = 0;
    if (c->dst.conn == conn)
        memset(&c->dst, 0, sizeof(c->dst));
}

static void on_completion(struct chain *c, const struct chain_event *ev,
                          struct chain_out *out)
{
    switch (ev->type) {
    case CHAIN_EV_APPENDED:
        on_appended(c, ev, out);
        break;
    case CHAIN_EV_SYNCED:
        c->log_sync = false;
        if (ev->err < 0 && KT_RULE(eio)) {
            store_failed(c, out);
            break;
        }
        if (!c->sync_old)
            c->durable = kt_max_u64(c->durable, ev->durable);
        c->sync_old = false;
        c->sync_done = c->sync_cover;
        break;
    case CHAIN_EV_SAVED:
        assert(c->saves > 0);
        c->saves--;
        c->unwhole = c->unwhole && c->saves > 0;
        if (ev->err < 0)
            store_failed(c, out);
        else
            c->promised = kt_max_u64(c->promised, ev->promised);
        break;
    case CHAIN_EV_SUMS:
        if (c->role == CHAIN_DST)
            chain_dst_sums(c, ev, out);
        else
            chain_src_done(c, ev, out);
        break;
    case CHAIN_EV_ROWS:
        if (c->alloc_stale && ev->sync_id == c->alloc_id)
            chain_dst_rows(c, ev, out);
        else
            chain_src_done(c, ev, out);
        break;
    case CHAIN_EV_BASE:
        chain_src_done(c, ev, out);
        break;
    case CHAIN_EV_LOG:
        chain_log_read(c, ev, out);
        break;
    }
}

static void pump(struct chain *c, struct chain_out *out)
{
    if (c->phase == CHAIN_FAULTY)
        return;
    if (c->phase == CHAIN_ACTIVE) {
        chain_hop_pump(c, out);
        chain_src_pump(c, out);
        chain_dst_pump(c, out);
    }
    chain_epoch_pump(c, out);
    chain_flush_pump(c, out);
}

void chain_step(struct chain *c, const struct chain_event *ev,
                struct chain_out *out)
{
    const struct chain_was was = chain_was(c);
    out->n = 0;
    out->more = false;
    c->now_ms = kt_max_u64(c->now_ms, ev->now_ms);
    switch (ev->type) {
    case CHAIN_EV_MSG:
        chain_hear(c, ev, out);
        break;
    case CHAIN_EV_LINK_UP:
    case CHAIN_EV_LINK_DOWN:
        chain_on_link(c, ev, out);
        break;
    case CHAIN_EV_CREDIT:
        chain_on_credit(c, ev);
        break;
    case CHAIN_EV_PUSHED:
        chain_on_pushed(c, ev, out);
        break;
    case CHAIN_EV_CONN_GONE:
        forget_conn(c, ev->conn);
        break;
    case CHAIN_EV_TICK:
        if (c->phase == CHAIN_ACTIVE)
            chain_hop_tick(c, out);
        chain_dst_tick(c, out);
        break;
    default:
        on_completion(c, ev, out);
        break;
    }
    pump(c, out);
    chain_check(c);
    chain_check_step(c, &was, ev);
}

/* ---- what the shell asks ---- */

const struct kt_member *chain_wants_succ(const struct chain *c)
{
    if (c->phase != CHAIN_ACTIVE || c->role != CHAIN_MEMBER || chain_is_tail(c))
        return NULL;
    return &c->cfg.members[c->me + 1];
}

const struct kt_member *chain_wants_dst(const struct chain *c)
{
    if (c->phase != CHAIN_ACTIVE || !chain_is_tail(c))
        return NULL;
    int i = kt_cfg_syncing(&c->cfg);
    return i < 0 ? NULL : &c->cfg.members[i];
}

void chain_report(const struct chain *c, struct kt_chain_report *ret_r)
{
    memset(ret_r, 0, sizeof(*ret_r));
    ret_r->chain = c->id;
    ret_r->promised = c->promised;
    ret_r->applied = c->applied;
    if (c->have_cfg) {
        ret_r->cfg_epoch = c->cfg.epoch;
        ret_r->volume = c->cfg.volume;
    }
}
