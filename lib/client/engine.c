/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's memory, its step, and the pump that turns state into actions.
 *
 * Events only change state. Afterwards the pump looks at what the state asks
 * for and writes actions as long as out has room; what did not fit is still
 * asked for by the state when the shell steps again. So no event is ever
 * refused, and nothing is lost by a full out. */
#include "lib/client/engine_int.h"

#include <errno.h>
#include <string.h>

uint32_t engine_chains(const struct engine_opts *o)
{
    assert(o->segment_bytes > 0);
    assert(o->segment_bytes % KT_EXTENT_BYTES == 0);
    return (uint32_t)((o->size + o->segment_bytes - 1) / o->segment_bytes);
}

static uint64_t retain_bytes(const struct engine_opts *o)
{
    uint64_t n = o->retain_bytes ? o->retain_bytes : ENGINE_RETAIN_DEFAULT;
    n = kt_max_u64(n, ENGINE_RETAIN_MIN);
    return n - n % KT_SECTOR_BYTES;
}

static size_t align8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* Where each piece of the memory begins. */
struct layout {
    size_t chains, kepts, next_block, pages, replay_bufs, arena, total;
    uint32_t n_chains, n_blocks;
};

static struct layout lay_out(const struct engine_opts *o)
{
    struct layout l = {.n_chains = engine_chains(o)};
    l.n_blocks = (uint32_t)(retain_bytes(o) / KT_SECTOR_BYTES);
    size_t at = align8(sizeof(struct engine));
    l.chains = at;
    at += align8(l.n_chains * sizeof(struct engine_chain));
    l.kepts = at;
    at += align8(l.n_blocks * sizeof(struct engine_kept));
    l.next_block = at;
    at += align8(l.n_blocks * sizeof(uint32_t));
    l.pages = at;
    at += (size_t)ENG_EDGE_PAIRS * 2 * KT_SECTOR_BYTES;
    l.replay_bufs = at;
    at += (size_t)ENG_REPLAYS * KT_RECORD_BYTES_MAX;
    l.arena = at;
    at += (size_t)l.n_blocks * KT_SECTOR_BYTES;
    l.total = at;
    return l;
}

size_t engine_bytes(const struct engine_opts *o)
{
    return lay_out(o).total;
}

struct engine *engine_init(void *mem, const struct engine_opts *o)
{
    struct layout l = lay_out(o);
    uint8_t *b = mem;
    struct engine *e = mem;

    assert(((uintptr_t)mem & 7) == 0);
    assert(l.n_chains > 0 && l.n_chains <= ENGINE_CHAINS_MAX);
    assert(o->size % KT_SECTOR_BYTES == 0);
    e->o = *o;
    e->n_chains = l.n_chains;
    e->n_blocks = l.n_blocks;
    e->chains = (void *)(b + l.chains);
    e->kepts = (void *)(b + l.kepts);
    e->next_block = (void *)(b + l.next_block);
    e->pages = b + l.pages;
    e->replay_bufs = b + l.replay_bufs;
    e->arena = b + l.arena;
    struct engine_link *lists[] = {&e->live,     &e->genq,       &e->done,
                                   &e->flushes,  &e->work,       &e->dirty,
                                   &e->flushing, &e->free_parts, &e->free_kept};
    for (size_t i = 0; i < KT_ARRAY_LEN(lists); i++)
        eng_list_init(lists[i]);
    for (uint32_t i = 0; i < e->n_chains; i++)
        eng_chain_init(e, i);
    return e;
}

struct engine_action *eng_act(struct engine_out *out, uint8_t type)
{
    if (out->n == ENGINE_ACTIONS_MAX) {
        out->more = true;
        return NULL;
    }
    struct engine_action *a = &out->act[out->n++];
    memset(a, 0, sizeof(*a));
    a->type = type;
    return a;
}

struct engine_action *eng_send(struct engine *e, struct engine_out *out,
                               uint32_t slot, const struct engine_chain *c,
                               uint8_t type)
{
    assert(eng_up(e, slot));
    struct engine_action *a = eng_act(out, ENGINE_ACT_SEND);
    if (!a)
        return NULL;
    a->slot = slot;
    a->node = &e->nodes[slot].node;
    a->msg.type = type;
    a->msg.chain = c->cfg.chain;
    a->msg.epoch = c->cfg.epoch;
    return a;
}

void eng_work(struct engine *e, struct engine_chain *c)
{
    if (eng_list_empty(&c->work))
        eng_list_add(&e->work, &c->work);
}

void eng_progress(struct engine *e, struct engine_chain *c)
{
    eng_work(e, c);
    c->progress_ms = e->now;
    if (!c->stalled)
        return;
    c->stalled = false;
    c->say_resumed = true;
    c->say_ms = e->now - c->stall_ms;
}

/* Fenced or gone: nothing will ever succeed again (I18). */
void eng_die(struct engine *e, bool gone)
{
    if (e->dead)
        return;
    e->dead = true;
    e->gone = gone;
    e->say_fenced = true;
    while (!eng_list_empty(&e->live))
        eng_req_kill(e, eng_req_live(e->live.next), -EIO);
    assert(e->n_live == 0);
}

static bool pump_completions(struct engine *e, struct engine_out *out)
{
    while (!eng_list_empty(&e->done)) {
        struct engine_action *a = eng_act(out, ENGINE_ACT_COMPLETE);
        if (!a)
            return false;
        a->req = eng_req_q(e->done.next);
        eng_list_del(&a->req->p.q);
    }
    return true;
}

static bool pump_fenced(struct engine *e, struct engine_out *out)
{
    if (!e->say_fenced)
        return true;
    struct engine_action *a =
        eng_act(out, e->lost ? ENGINE_ACT_LOST : ENGINE_ACT_FENCED);
    if (!a)
        return false;
    a->chain = e->lost_chain;
    e->say_fenced = false;
    return true;
}

static void pump(struct engine *e, struct engine_out *out)
{
    if (!pump_fenced(e, out))
        return;
    do {
        e->again = false;
        if (!pump_completions(e, out) || e->dead)
            return;
        eng_generate(e);
        eng_flush_self(e);
        if (!eng_links_say(e, out))
            return;
        while (!eng_list_empty(&e->work)) {
            struct engine_chain *c =
                kt_container_of(e->work.next, struct engine_chain, work);
            /* Out of the list first: what it wants may come up again. */
            eng_list_del(&c->work);
            if (!eng_chain_send(e, c, out)) {
                eng_work(e, c);
                return;
            }
        }
    } while (e->again || !eng_list_empty(&e->done));
}

void engine_step(struct engine *e, const struct engine_event *ev,
                 struct engine_out *out)
{
    out->n = 0;
    out->more = false;
    e->now = kt_max_u64(e->now, ev->now_ms);
    switch (ev->type) {
    case ENGINE_EV_SUBMIT:
        eng_submit(e, ev->req);
        break;
    case ENGINE_EV_MSG:
        eng_answer(e, ev->slot, ev->msg, ev->err);
        break;
    case ENGINE_EV_TICK:
        eng_tick(e);
        break;
    case ENGINE_EV_LINK_UP:
        eng_link_up(e, ev->slot);
        break;
    case ENGINE_EV_LINK_DOWN:
        eng_link_down(e, ev->slot);
        break;
    case ENGINE_EV_CFG:
        eng_adopt(e, ev->cfg);
        break;
    case ENGINE_EV_CANCEL:
        eng_cancel(e, ev->req);
        break;
    case ENGINE_EV_FENCED:
    case ENGINE_EV_GONE:
        eng_die(e, ev->type == ENGINE_EV_GONE);
        break;
    default:
        assert(ev->type == ENGINE_EV_MORE);
    }
    pump(e, out);
    out->hurry = e->n_waiting > 0 && !e->dead;
}

void engine_info(const struct engine *e, struct engine_info *ret)
{
    *ret = e->info;
    ret->ready = e->n_ready == e->n_chains;
    ret->fenced = e->dead && !e->gone && !e->lost;
    ret->gone = e->gone;
    ret->lost = e->lost;
    ret->requests = e->n_live;
    ret->parts = e->n_parts;
    ret->retained_bytes = (uint64_t)e->blocks_used * KT_SECTOR_BYTES;
    ret->retained = e->kept_used;
}

const struct kt_cfg *engine_cfg(const struct engine *e, uint32_t seg)
{
    if (seg >= e->n_chains || e->chains[seg].cfg.epoch == 0)
        return NULL;
    return &e->chains[seg].cfg;
}

uint64_t engine_settled(const struct engine *e, uint32_t seg)
{
    return seg < e->n_chains ? e->chains[seg].settled_vgen : 0;
}
