/* SPDX-License-Identifier: BSD-3-Clause */
/* FLUSH passed on (B13): a client that cannot reach a member asks one it can,
 * and the question goes along the chain's own links, away from where it came
 * from, member by member, until it is where it belongs. The answer goes back
 * the same way and is worth what it would be worth first hand: it names who
 * answers, and counts in its own epoch only (I2, I13).
 *
 * The table of what is under way is small: the oldest gives way, and what is
 * lost with it, or with a link, the client asks for again. */
#include <string.h>

#include "replicator/core/chain_int.h"

static struct chain_relay *slot_of(struct chain *c, uint64_t id)
{
    return &c->relays[id % CHAIN_RELAYS];
}

static bool is_store(const struct chain *c, int index, const struct kt_id *id)
{
    return index >= 0 && index < c->n_serving &&
           kt_id_eq(&c->cfg.members[index].store, id);
}

/* 1: on to the successor, -1: to the predecessor; 0: it must not go on. */
static int way(const struct chain *c, const struct chain_event *ev)
{
    int to = kt_cfg_find(&c->cfg, &ev->msg->u.flush.store);
    if (to < 0 || to >= c->n_serving || to == c->me)
        return 0;
    int dir = to > c->me ? 1 : -1;
    if (ev->role == KT_ROLE_REPLICATOR && !is_store(c, c->me - dir, &ev->peer))
        return 0; /* never back: it would go round for ever */
    return dir;
}

bool chain_relay(struct chain *c, const struct chain_event *ev,
                 struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    if (kt_id_is_zero(&m->u.flush.store) ||
        kt_id_eq(&m->u.flush.store, &c->store))
        return false;
    int dir = way(c, ev);
    bool link = dir > 0 ? c->succ_link : c->pred_conn != 0;
    if (dir == 0 || !link) {
        chain_nak(c, out, ev, dir == 0 ? KT_E_NOT_SERVING : KT_E_BUSY);
        return true;
    }
    uint64_t id = ++c->relay_ids;
    *slot_of(c, id) = (struct chain_relay){
        .id = id, .conn = ev->conn, .req = m->req, .store = m->u.flush.store};
    struct kt_msg *f = chain_msg(
        c, out, dir > 0 ? CHAIN_ACT_SEND_SUCC : CHAIN_ACT_SEND, KT_MSG_FLUSH);
    if (dir < 0)
        out->acts[out->n - 1].conn = c->pred_conn;
    f->req = id;
    f->u.flush.upto = m->u.flush.upto;
    f->u.flush.store = m->u.flush.store;
    return true;
}

/* The relay that this answers, taken; NULL when there is none (any more). */
static struct chain_relay *answered(struct chain *c,
                                    const struct chain_event *ev)
{
    struct chain_relay *r = slot_of(c, ev->msg->req);
    if (ev->msg->epoch != c->cfg.epoch || !r->conn || r->id != ev->msg->req)
        return NULL;
    int to = kt_cfg_find(&c->cfg, &r->store);
    return is_store(c, c->me + (to > c->me ? 1 : -1), &ev->peer) ? r : NULL;
}

void chain_on_flush_ok(struct chain *c, const struct chain_event *ev,
                       struct chain_out *out)
{
    struct chain_relay *r = answered(c, ev);
    if (!r || !kt_id_eq(&r->store, &ev->msg->u.flush.store))
        return;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, KT_MSG_FLUSH_OK);
    out->acts[out->n - 1].conn = r->conn;
    m->req = r->req;
    m->u.flush = ev->msg->u.flush;
    r->conn = 0;
    c->n_relay++;
}

void chain_relay_nak(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out)
{
    struct chain_relay *r = answered(c, ev);
    if (!r)
        return;
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND, KT_MSG_NAK);
    out->acts[out->n - 1].conn = r->conn;
    m->req = r->req;
    m->u.nak.err = ev->msg->u.nak.err;
    m->u.nak.re = KT_MSG_FLUSH;
    m->u.nak.store = r->store;
    r->conn = 0;
}

void chain_relay_forget(struct chain *c, uint64_t conn)
{
    for (uint32_t i = 0; i < CHAIN_RELAYS; i++) {
        if (c->relays[i].conn == conn || conn == 0)
            c->relays[i].conn = 0;
    }
}
