/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts: their life, their sending, their end.
 *
 * A write part gets its wseq when it is first sent and keeps it until it is
 * settled (I19). In a chain's list of writes the parts with a wseq stand
 * first, ascending: so wstable is read off the front. In sendq too they stand
 * before those without one, for a fresh write may wait for the window that
 * only an older resend can move. */
#include "lib/client/engine_int.h"

#include <errno.h>
#include <string.h>

static void touch(struct engine_part *p, uint16_t idx)
{
    memset(p, 0, offsetof(struct engine_part, sums));
    p->idx = idx;
    p->slot = ENG_NO_SLOT;
    eng_list_init(&p->all);
    eng_list_init(&p->q);
}

static struct engine_part *got(struct engine *e, struct engine_part *p,
                               uint32_t idx)
{
    touch(p, (uint16_t)idx);
    p->gen = ++e->next_gen;
    p->since_ms = e->now;
    eng_part_move(p, PART_QUEUED);
    e->n_parts++;
    return p;
}

struct engine_part *eng_part_get(struct engine *e)
{
    if (!eng_list_empty(&e->free_parts)) {
        struct engine_part *p = eng_part_all(e->free_parts.next);
        eng_list_del(&p->all);
        return got(e, p, p->idx);
    }
    if (e->parts_touched == ENGINE_PARTS_MAX)
        return NULL;
    uint32_t i = e->parts_touched++;
    return got(e, &e->parts[i], i);
}

struct engine_part *eng_part_get_replay(struct engine *e)
{
    for (uint32_t i = 0; i < ENG_REPLAYS; i++) {
        if (e->replays_busy & (1u << i))
            continue;
        e->replays_busy |= 1u << i;
        struct engine_part *p = &e->parts[ENGINE_PARTS_MAX + i];
        got(e, p, ENGINE_PARTS_MAX + i);
        p->buf.data = e->replay_bufs + (size_t)i * KT_RECORD_BYTES_MAX;
        return p;
    }
    return NULL;
}

static void set_state(struct engine *e, struct engine_part *p,
                      enum part_state state)
{
    if (p->state == PART_WAITING)
        e->n_waiting--;
    if (p->state == PART_SENT && !eng_is_write(p->op))
        e->nodes[p->slot].out--;
    eng_list_del(&p->q);
    eng_part_move(p, state);
    if (state == PART_WAITING)
        e->n_waiting++;
    if (state == PART_SENT && !eng_is_write(p->op))
        e->nodes[p->slot].out++;
}

void eng_part_put(struct engine *e, struct engine_part *p)
{
    assert(p->state != PART_FREE && e->n_parts > 0);
    set_state(e, p, PART_FREE);
    eng_list_del(&p->all);
    e->n_parts--;
    if (p->idx >= ENGINE_PARTS_MAX) {
        e->replays_busy &= ~(1u << (p->idx - ENGINE_PARTS_MAX));
        return;
    }
    eng_unreserve(e, p);
    struct engine_chain *c = p->chain;
    if (p->counted && eng_is_write(p->op)) {
        c->n_writes--;
        c->write_bytes -= p->buf.data_len; /* 0 but for WRITE */
    } else if (p->counted) {
        c->n_reads--;
    }
    p->req = NULL;
    eng_list_add(e->free_parts.next, &p->all);
}

void eng_part_queue(struct engine *e, struct engine_part *p)
{
    struct engine_chain *c = p->chain;
    set_state(e, p, PART_QUEUED);
    if (!eng_is_write(p->op)) {
        eng_list_add(&c->readq, &p->q);
    } else {
        struct engine_link *q = p->kept ? &c->replayq : &c->sendq;
        eng_list_add(p->wseq ? q->next : q, &p->q);
    }
    eng_work(e, c);
}

void eng_part_back_off(struct engine *e, struct engine_part *p)
{
    uint32_t shift = p->tries < 5 ? p->tries : 5;
    uint64_t ms = (uint64_t)ENG_BACKOFF_MIN_MS << shift;
    set_state(e, p, PART_WAITING);
    p->due_ms = e->now + kt_min_u64(ms, ENG_BACKOFF_MAX_MS);
    p->tries++;
}

static void requeue_list(struct engine *e, struct engine_link *list)
{
    /* Backwards, each to the front: the queue ends up in wseq order. */
    for (struct engine_link *l = list->prev; l != list; l = l->prev) {
        struct engine_part *p = eng_part_all(l);
        if (!p->wseq)
            continue;
        if (p->state == PART_SENT)
            e->info.resends++;
        eng_part_queue(e, p);
    }
}

void eng_requeue_writes(struct engine *e, struct engine_chain *c)
{
    requeue_list(e, &c->writes);
    requeue_list(e, &c->replays);
}

void eng_requeue_read(struct engine *e, struct engine_part *p)
{
    eng_part_queue(e, p);
    p->gen = ++e->next_gen; /* an answer still on its way is not for us */
}

void eng_part_settle(struct engine *e, struct engine_part *p, int err,
                     uint64_t seq)
{
    struct engine_chain *c = p->chain;
    struct engine_req *r = p->req;
    assert(!p->kept && r);
    if (err == 0 && eng_is_write(p->op)) {
        bool durable =
            (p->flags & KT_RF_FUA) || c->cfg.durability == KT_DURABILITY_SYNC;
        /* A durable write needs no copy of its own. But were an older, kept
         * one replayed over it, its bytes would be gone: so while anything of
         * the chain is kept, all of it is, in order (I16). */
        bool older = KT_RULE(keep_durable) && !eng_list_empty(&c->kept);
        if ((!durable || older) &&
            (p->op == ENGINE_WRITE || KT_RULE(keep_zero)))
            eng_keep(e, p, seq);
    }
    eng_part_put(e, p);
    eng_progress(e, c);
    eng_req_part_done(e, r, err);
}

uint64_t eng_wstable(const struct engine_chain *c)
{
    const struct engine_link *l =
        eng_list_empty(&c->replays) ? &c->writes : &c->replays;
    if (!eng_list_empty(l)) {
        const struct engine_part *p = eng_part_all(l->next);
        if (p->wseq)
            return p->wseq - 1;
    }
    return c->next_wseq - 1;
}

static uint8_t wire_op(uint8_t op)
{
    return op == ENGINE_WRITE  ? KT_OP_WRITE
           : op == ENGINE_ZERO ? KT_OP_ZERO
                               : KT_OP_TRIM;
}

enum sent { SENT_OK, SENT_BLOCKED, SENT_FULL };

static enum sent send_write(struct engine *e, struct engine_part *p,
                            struct engine_out *out)
{
    struct engine_chain *c = p->chain;
    if (!eng_head_up(e, c))
        return SENT_BLOCKED;
    if (!p->wseq && KT_RULE(window_wseq) &&
        c->next_wseq > eng_wstable(c) + KT_WSEQ_WINDOW / 2)
        return SENT_BLOCKED;
    struct engine_action *a = eng_send(e, out, c->slot[0], c, KT_MSG_WRITE);
    if (!a)
        return SENT_FULL;
    if (!p->wseq)
        p->wseq = c->next_wseq++; /* never used before nor again (I19) */
    p->gen = ++e->next_gen;
    a->msg.req = p->gen << 16 | p->idx;
    a->msg.u.write.token = e->o.token;
    a->msg.u.write.wseq = p->wseq;
    a->msg.u.write.wstable = eng_wstable(c);
    a->msg.u.write.op = wire_op(p->op);
    a->msg.u.write.flags = p->flags;
    a->msg.u.write.extent = p->extent;
    a->msg.u.write.off = p->off;
    a->msg.u.write.len = p->len;
    a->msg.buf = p->op == ENGINE_WRITE ? &p->buf : NULL;
    KT_HOLDS(I19, p->wseq > a->msg.u.write.wstable);
    KT_HOLDS(I16, !eng_replaying(c) || p->kept); /* nothing before these */
    p->slot = c->slot[0];
    p->sent_ms = e->now;
    set_state(e, p, PART_SENT);
    return SENT_OK;
}

/* All that serve say that their copy is damaged. Not in the same sector,
 * perhaps; a disk may be wrong for a moment; and while a replica is missing it
 * may be the one that is whole: as long as there is hope, no error (A4). */
static bool beyond_hope(struct engine_part *p)
{
    const struct kt_cfg *cfg = &p->chain->cfg;
    if (!KT_RULE(bad_hope))
        return true;
    p->bad = 0;
    if (p->op == ENGINE_READ && !p->single && p->len > KT_SECTOR_BYTES) {
        KT_REACH(read_single);
        p->single = true;
        return false;
    }
    return kt_cfg_serving(cfg) >= cfg->want_r &&
           ++p->bad_rounds >= ENG_BAD_ROUNDS;
}

/* No member to ask: all are damaged, or all were tried, or none is up. */
static enum sent no_member(struct engine *e, struct engine_part *p)
{
    struct engine_chain *c = p->chain;
    uint8_t all = (uint8_t)((1u << c->n_serving) - 1);
    if (c->n_serving && (p->bad & all) == all && beyond_hope(p)) {
        eng_part_settle(e, p, -EIO, 0);
        return SENT_OK;
    }
    if (eng_choose(e, c, 0) < 0)
        return SENT_BLOCKED;
    p->tried = p->bad;
    eng_part_back_off(e, p);
    return SENT_OK;
}

static enum sent send_read(struct engine *e, struct engine_part *p,
                           struct engine_out *out)
{
    struct engine_chain *c = p->chain;
    int i = eng_choose(e, c, p->tried);
    if (i < 0)
        return no_member(e, p);
    bool stat = p->op == ENGINE_STAT;
    struct engine_action *a =
        eng_send(e, out, c->slot[i], c, stat ? KT_MSG_STAT : KT_MSG_READ);
    if (!a)
        return SENT_FULL;
    KT_HOLDS(B11, !eng_replaying(c));
    KT_HOLDS(I20, i < c->n_serving && c->cfg.members[i].state == KT_M_SERVING);
    p->gen = ++e->next_gen;
    a->msg.req = p->gen << 16 | p->idx;
    if (stat) {
        a->msg.u.stat.extent = p->extent;
        a->msg.u.stat.off = p->off;
        a->msg.u.stat.sectors = p->len / KT_SECTOR_BYTES;
        a->msg.u.stat.min_seq = c->max_acked; /* I20 */
    } else {
        a->msg.u.read.extent = p->extent;
        a->msg.u.read.off = p->off + p->at;
        a->msg.u.read.len = eng_read_len(p);
        a->msg.u.read.min_seq = c->max_acked; /* I20 */
    }
    p->slot = c->slot[i];
    p->sent_ms = e->now;
    set_state(e, p, PART_SENT);
    return SENT_OK;
}

static bool send_queue(struct engine *e, struct engine_link *q,
                       struct engine_out *out)
{
    while (!eng_list_empty(q)) {
        struct engine_part *p = eng_part_q(q->next);
        enum sent s =
            eng_is_write(p->op) ? send_write(e, p, out) : send_read(e, p, out);
        if (s == SENT_FULL)
            return false;
        if (s == SENT_BLOCKED)
            break;
    }
    return true;
}

static bool say(struct engine_chain *c, struct engine_out *out)
{
    struct {
        bool *flag;
        uint8_t act;
    } says[] = {{&c->say_stalled, ENGINE_ACT_STALLED},
                {&c->say_replay, ENGINE_ACT_REPLAY},
                {&c->say_resumed, ENGINE_ACT_RESUMED},
                {&c->say_settled, ENGINE_ACT_SETTLED}};
    for (size_t i = 0; i < KT_ARRAY_LEN(says); i++) {
        if (!*says[i].flag)
            continue;
        struct engine_action *a = eng_act(out, says[i].act);
        if (!a)
            return false;
        a->chain = c->cfg.chain;
        a->ms = c->say_ms;
        *says[i].flag = false;
    }
    return true;
}

/* Asks every member there is a link to for the newest cfg (B14). */
static bool send_cfg_get(struct engine *e, struct engine_chain *c,
                         struct engine_out *out)
{
    for (unsigned i = 0; c->want_cfg && i < c->n_serving; i++) {
        if ((c->cfg_asked & (1u << i)) || !eng_up(e, c->slot[i]))
            continue;
        struct engine_action *a =
            eng_send(e, out, c->slot[i], c, KT_MSG_CFG_GET);
        if (!a)
            return false;
        a->msg.req = ENG_REQ_CFG | c->idx;
        c->cfg_asked |= (uint8_t)(1u << i);
    }
    c->want_cfg = false;
    c->cfg_asked = 0;
    return true;
}

bool eng_chain_send(struct engine *e, struct engine_chain *c,
                    struct engine_out *out)
{
    if (!say(c, out) || !send_cfg_get(e, c, out) || !eng_flush_send(e, c, out))
        return false;
    if (eng_does(c)->kept) {
        eng_replay_next(e, c);
        if (!send_queue(e, &c->replayq, out))
            return false;
    }
    /* B11: nothing else until it is done. */
    if (!eng_does(c)->parts && KT_RULE(replay_quiet))
        return true;
    return send_queue(e, &c->sendq, out) && send_queue(e, &c->readq, out);
}
