/* SPDX-License-Identifier: BSD-3-Clause */
/* Everything that happens because time passes: back-offs that end, answers
 * that do not come, links that fall silent, stalls worth a log line, and the
 * io_timeout of those who asked for one. */
#include "lib/client/engine_int.h"

#include <errno.h>

static uint64_t patience(const struct engine_part *p)
{
    uint64_t ms = eng_is_write(p->op) ? ENG_WRITE_WAIT_MS : ENG_READ_WAIT_MS;
    return kt_min_u64(ms << (p->waits < 4 ? p->waits : 4), ENG_WAIT_MAX_MS);
}

static void unanswered(struct engine *e, struct engine_part *p)
{
    struct engine_node *n = &e->nodes[p->slot];
    n->oldest_ms =
        n->oldest_ms ? kt_min_u64(n->oldest_ms, p->sent_ms) : p->sent_ms;
    if (e->now - p->sent_ms < patience(p))
        return;
    if (!eng_is_write(p->op)) {
        for (unsigned i = 0; i < p->chain->n_serving; i++)
            if (p->chain->slot[i] == p->slot)
                p->tried |= (uint8_t)(1u << i);
        n->suspect_ms = e->now + ENG_SUSPECT_MS;
        p->waits++;
        eng_requeue_read(e, p);
        return;
    }
    /* Down a silent link nothing is sent twice: what lies in it still stands,
     * or its end will be noticed, and then all goes again. */
    if (n->rx_ms <= p->sent_ms)
        return;
    p->waits++;
    e->info.resends++;
    eng_part_queue(e, p);
}

static void stalled(struct engine *e, struct engine_chain *c, uint64_t since)
{
    /* Those that queue behind a chain at work do not wait for nothing. */
    since = kt_max_u64(since, c->progress_ms);
    uint64_t ms = e->now - since;
    if (ms >= ENG_CFG_GET_MS && e->now - c->cfg_get_ms >= ENG_CFG_GET_MS) {
        c->cfg_get_ms = e->now;
        c->want_cfg =
            KT_RULE(cfg_get); /* perhaps the hub's push does not reach us */
        eng_work(e, c);
    }
    if (ms < ENG_STALL_MS || c->stalled)
        return;
    c->stalled = c->say_stalled = true;
    c->stall_ms = since;
    c->say_ms = ms;
    eng_work(e, c);
}

static void tick_part(struct engine *e, struct engine_part *p)
{
    if (p->state == PART_FREE)
        return;
    stalled(e, p->chain, p->since_ms);
    if (p->state == PART_WAITING && p->due_ms <= e->now)
        eng_part_queue(e, p);
    else if (p->state == PART_SENT)
        unanswered(e, p);
}

static void tick_parts(struct engine *e)
{
    for (uint32_t i = 0; i < e->parts_touched; i++)
        tick_part(e, &e->parts[i]);
    for (uint32_t i = 0; i < ENG_REPLAYS; i++)
        tick_part(e, &e->parts[ENGINE_PARTS_MAX + i]);
}

static void tick_chains(struct engine *e)
{
    for (uint32_t i = 0; i < e->n_chains; i++) {
        struct engine_chain *c = &e->chains[i];
        if (c->fl.active) {
            for (unsigned j = 0; j < c->n_serving; j++) {
                if (!(c->fl.sent & ~c->fl.ok & (1u << j)))
                    continue;
                if (c->fl.via[j] != j)
                    continue; /* the one asked waits itself */
                uint64_t *t = &e->nodes[c->slot[j]].oldest_ms;
                uint64_t at = c->fl.sent_ms[j];
                *t = *t ? kt_min_u64(*t, at) : at;
            }
            eng_flush_tick(e, c);
        }
        if (c->fl.first)
            stalled(e, c, c->fl.since_ms);
        if (eng_replaying(c) || c->fl.want || !eng_list_empty(&c->sendq) ||
            !eng_list_empty(&c->readq))
            eng_work(e, c);
    }
}

static void tick_nodes(struct engine *e)
{
    for (uint32_t i = 0; i < ENGINE_NODES_MAX; i++) {
        struct engine_node *n = &e->nodes[i];
        uint64_t oldest = n->oldest_ms;
        n->oldest_ms = 0;
        if (!n->up || !oldest || n->rx_ms > oldest ||
            e->now - oldest < ENG_SILENT_MS)
            continue;
        eng_link_down(e, i);
        n->say_reset = true;
        e->say_nodes = true;
    }
}

/* Requests that cannot even be cut into parts wait too. */
static void tick_requests(struct engine *e)
{
    struct engine_link *next;
    for (struct engine_link *l = e->genq.next; l != &e->genq; l = l->next) {
        struct engine_req *r = eng_req_q(l);
        uint64_t at = r->p.unread ? r->off : r->p.next_off;
        if (at >= r->off + r->len)
            continue;
        stalled(e, &e->chains[at / e->o.segment_bytes], r->p.since_ms);
    }
    for (struct engine_link *l = e->live.next; l != &e->live; l = next) {
        struct engine_req *r = eng_req_live(l);
        next = l->next;
        if (!e->o.io_timeout_ms || e->now - r->p.since_ms < e->o.io_timeout_ms)
            break; /* the others are younger */
        eng_req_kill(e, r, -EIO);
    }
}

void eng_tick(struct engine *e)
{
    if (e->dead)
        return;
    tick_parts(e);
    tick_chains(e);
    tick_nodes(e);
    tick_requests(e);
}
