/* SPDX-License-Identifier: BSD-3-Clause */
/* Flush (I13): FLUSH{upto} to every SERVING member of one epoch at once; all
 * of them durable under the chain's vgen, and what is kept up to there may
 * go. A change of the epoch starts the round over: answers of different
 * epochs are never put together.
 *
 * A chain runs one round at a time, up to its highest acknowledged seq.
 * Requests to flush take tickets; a chain remembers the first and the last
 * ticket that wait for it, a round covers all tickets up to the one that was
 * last when it began. A member no link leads to is asked through
 * another that is nearer to it (B13): what it says is worth the same,
 * whoever carries it. Chains with nothing kept are durable and take no part:
 * everything acknowledged and not yet durable is kept (retain.c). */
#include "lib/client/engine_int.h"

#include <string.h>

static void check(struct engine *e)
{
    uint64_t min = UINT64_MAX;
    for (struct engine_link *l = e->flushing.next; l != &e->flushing;
         l = l->next) {
        const struct engine_chain *c =
            kt_container_of(l, struct engine_chain, flushing);
        min = kt_min_u64(min, c->fl.first);
    }
    while (!eng_list_empty(&e->flushes)) {
        struct engine_req *r = eng_req_q(e->flushes.next);
        if (r->p.ticket >= min)
            break;
        eng_req_done(e, r, 0);
    }
}

void eng_flush_submit(struct engine *e, struct engine_req *r)
{
    r->p.ticket = ++e->next_ticket;
    for (struct engine_link *l = e->dirty.next; l != &e->dirty; l = l->next) {
        struct engine_chain *c = kt_container_of(l, struct engine_chain, dirty);
        if (!c->fl.first) {
            c->fl.first = r->p.ticket;
            c->fl.since_ms = e->now;
            eng_list_add(&e->flushing, &c->flushing);
        }
        c->fl.last = r->p.ticket;
        if (c->fl.active &&
            (c->fl.upto >= c->max_acked || !KT_RULE(flush_join)))
            c->fl.ticket = r->p.ticket; /* by seq, not by time (I16) */
        else
            c->fl.want = true;
        eng_work(e, c);
    }
    eng_list_add(&e->flushes, &r->p.q);
    check(e);
}

/* Above half of the room for copies, the chains that hold the most are
 * flushed without being asked. Per chain: one that is stalled holds up no
 * other (B12). */
void eng_flush_self(struct engine *e)
{
    uint64_t half = (uint64_t)e->n_blocks * KT_SECTOR_BYTES / 2;
    uint64_t idle = 0, n = 0;
    if (eng_retained_bytes(e) <= half)
        return;
    for (struct engine_link *l = e->dirty.next; l != &e->dirty; l = l->next) {
        const struct engine_chain *c =
            kt_container_of(l, struct engine_chain, dirty);
        if (!c->fl.active && !c->fl.want) {
            idle += c->kept_bytes;
            n++;
        }
    }
    if (n == 0 || idle <= half / 8)
        return;
    for (struct engine_link *l = e->dirty.next; l != &e->dirty; l = l->next) {
        struct engine_chain *c = kt_container_of(l, struct engine_chain, dirty);
        if (c->fl.active || c->fl.want || c->kept_bytes * n < idle)
            continue;
        c->fl.want = true;
        e->info.self_flushes++;
        eng_work(e, c);
    }
}

void eng_flush_restart(struct engine_chain *c)
{
    if (!c->fl.active || !KT_RULE(flush_epoch))
        return;
    c->fl.active = false;
    c->fl.want = true;
}

static void finish(struct engine *e, struct engine_chain *c)
{
    c->fl.active = false;
    eng_progress(e, c);
    uint64_t upto = KT_RULE(flush_upto) ? c->fl.upto : c->max_acked;
    KT_HOLDS(I16, upto == c->fl.upto);
    eng_kept_drop(e, c, upto);
    if (!c->fl.first || c->fl.ticket < c->fl.first)
        return;
    if (c->fl.ticket >= c->fl.last) {
        c->fl.first = 0;
        eng_list_del(&c->flushing);
    } else {
        assert(c->fl.want);
        c->fl.first = c->fl.ticket + 1;
        c->fl.since_ms = e->now;
    }
    check(e);
}

static void begin(struct engine *e, struct engine_chain *c)
{
    c->fl.want = false;
    c->fl.active = true;
    c->fl.sent = c->fl.ok = 0;
    c->fl.waits = 0;
    c->fl.due_ms = 0;
    memset(c->fl.naks, 0, sizeof(c->fl.naks));
    memset(c->fl.first_ms, 0, sizeof(c->fl.first_ms));
    c->fl.upto = c->max_acked;
    if (!KT_RULE(flush_covers) && c->fl.upto)
        c->fl.upto--;
    c->fl.epoch = c->cfg.epoch;
    c->fl.ticket = c->fl.last;
    if (eng_list_empty(&c->kept))
        finish(e, c);
}

/* Whom to ask about member i: itself; when it is cut off, or silent since it
 * was asked, a member that can be reached: its neighbours in the chain first,
 * for they have a link to it, and another one after each refusal (B13).
 * -1: nobody, yet. */
static int flush_via(const struct engine *e, const struct engine_chain *c,
                     unsigned i)
{
    uint32_t slot = c->slot[i];
    bool up = eng_up(e, slot);
    bool silent = up && c->fl.first_ms[i] &&
                  e->nodes[slot].rx_ms <= c->fl.first_ms[i] &&
                  e->now - c->fl.first_ms[i] >= ENG_WRITE_WAIT_MS;
    uint8_t order[2 * KT_MEMBERS_MAX];
    unsigned n = 0;
    if (up && !silent)
        return (int)i;
    if (!up && !eng_cut_off(e, slot))
        return -1;
    for (unsigned d = 1; d < c->n_serving; d++) {
        if (d <= i && eng_up(e, c->slot[i - d]))
            order[n++] = (uint8_t)(i - d);
        if (i + d < c->n_serving && eng_up(e, c->slot[i + d]))
            order[n++] = (uint8_t)(i + d);
    }
    if (n == 0)
        return up ? (int)i : -1;
    return order[c->fl.naks[i] % n];
}

bool eng_flush_send(struct engine *e, struct engine_chain *c,
                    struct engine_out *out)
{
    if (c->fl.want && !c->fl.active && eng_does(c)->rounds)
        begin(e, c);
    if (!c->fl.active || e->now < c->fl.due_ms)
        return true;
    KT_HOLDS(I13, c->fl.epoch == c->cfg.epoch && !eng_replaying(c));
    for (unsigned i = 0; i < c->n_serving; i++) {
        int via = c->fl.sent & (1u << i) ? -1 : flush_via(e, c, i);
        if (via < 0)
            continue;
        struct engine_action *a =
            eng_send(e, out, c->slot[via], c, KT_MSG_FLUSH);
        if (!a)
            return false;
        a->msg.req = ENG_REQ_FLUSH | c->idx;
        a->msg.u.flush.upto = c->fl.upto;
        if (via != (int)i)
            a->msg.u.flush.store = c->cfg.members[i].store;
        c->fl.sent |= (uint8_t)(1u << i);
        c->fl.via[i] = (uint8_t)via;
        c->fl.sent_ms[i] = e->now;
        if (via == (int)i && (!c->fl.first_ms[i] ||
                              e->nodes[c->slot[i]].rx_ms > c->fl.first_ms[i]))
            c->fl.first_ms[i] = e->now;
    }
    return true;
}

static void ask_again(struct engine_chain *c, unsigned i)
{
    c->fl.sent &= (uint8_t) ~(1u << i);
}

void eng_flush_ok(struct engine *e, struct engine_chain *c,
                  const struct kt_msg *m)
{
    if (!c->fl.active || (m->epoch != c->fl.epoch && KT_RULE(flush_epoch)))
        return;
    int i = kt_cfg_find(&c->cfg, &m->u.flush.store);
    if (i < 0 || i >= c->n_serving ||
        (m->u.flush.vgen != c->cfg.vgen && KT_RULE(flush_epoch)))
        return;
    if (m->u.flush.durable < c->fl.upto) {
        ask_again(c, (unsigned)i);
        c->fl.due_ms = e->now + ENG_BACKOFF_MAX_MS;
        return;
    }
    c->fl.ok |= (uint8_t)(1u << i);
    if (c->fl.ok == (1u << c->n_serving) - 1 || !KT_RULE(flush_all)) {
        KT_HOLDS(I13, c->fl.epoch == c->cfg.epoch && !eng_replaying(c));
        for (unsigned j = 0; j < c->n_serving; j++)
            KT_HOLDS(I13, c->fl.ok & (1u << j));
        finish(e, c);
    }
    eng_work(e, c);
}

void eng_flush_link(struct engine_chain *c, uint32_t slot)
{
    if (!c->fl.active)
        return; /* the last round may have had other members */
    for (unsigned i = 0; i < c->n_serving; i++) {
        if (c->slot[i] == slot)
            c->fl.first_ms[i] = 0;
        if (!(c->fl.sent & ~c->fl.ok & (1u << i)))
            continue;
        assert(c->fl.via[i] < c->n_serving);
        if (c->slot[i] == slot || c->slot[c->fl.via[i]] == slot)
            ask_again(c, i);
    }
}

/* slot refused the FLUSH, its own or the one for store: it is asked again,
 * or another. */
void eng_flush_nak(struct engine *e, struct engine_chain *c, uint32_t slot,
                   const struct kt_id *store)
{
    for (unsigned i = 0; i < c->n_serving; i++) {
        if (!(c->fl.sent & ~c->fl.ok & (1u << i)) ||
            c->slot[c->fl.via[i]] != slot)
            continue;
        if (!kt_id_is_zero(store) && !kt_id_eq(store, &c->cfg.members[i].store))
            continue;
        c->fl.naks[i]++;
        ask_again(c, i);
    }
    c->fl.due_ms = e->now + ENG_BACKOFF_MAX_MS / 2;
}

void eng_flush_tick(struct engine *e, struct engine_chain *c)
{
    if (!c->fl.active)
        return;
    uint64_t wait = kt_min_u64((uint64_t)ENG_WRITE_WAIT_MS
                                   << (c->fl.waits < 4 ? c->fl.waits : 4),
                               ENG_WAIT_MAX_MS);
    bool waited = false;
    for (unsigned i = 0; i < c->n_serving; i++) {
        if (!(c->fl.sent & ~c->fl.ok & (1u << i)) ||
            e->now - c->fl.sent_ms[i] < wait)
            continue;
        c->fl.naks[i] += c->fl.via[i] != i;
        ask_again(c, i);
        waited = true;
    }
    c->fl.waits += waited;
    eng_work(e, c);
}
