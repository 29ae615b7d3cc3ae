/* SPDX-License-Identifier: BSD-3-Clause */
/* When all is over: are the copies the same, and was each sector a register?
 *
 * Where a total power loss took writes that no living client could give
 * again, the history is cut: what the next holder found there is a new
 * beginning, and it must not be older than anything that was flushed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/checker.h"
#include "tests/sim/sim.h"

/* ---- copies ---- */

static void same_extent(struct world *w, unsigned x, const struct snode *a,
                        const struct mem_extent *e, const struct snode *b,
                        const struct mem_extent *f)
{
    static const struct mem_extent blank;
    e = e ? e : &blank;
    f = f ? f : &blank;
    SIM_CHECK(w, !e->meta.partial && !f->meta.partial,
              "extent %u is partial on n%u or n%u", x, a->index + 1,
              b->index + 1);
    SIM_CHECK(
        w, kt_rid_eq(e->meta.id, f->meta.id) && e->meta.alloc == f->meta.alloc,
        "extent %u is at (%" PRIu64 ",%" PRIu64 ") slot %d on n%u and "
        "(%" PRIu64 ",%" PRIu64 ") slot %d on n%u",
        x, e->meta.id.epoch, e->meta.id.seq, e->meta.alloc, a->index + 1,
        f->meta.id.epoch, f->meta.id.seq, f->meta.alloc, b->index + 1);
    for (unsigned i = 0; i < KT_EXTENT_SECTORS; i++)
        SIM_CHECK(w, e->s[i].sum == f->s[i].sum,
                  "sector %u of extent %u differs on n%u and n%u", i, x,
                  a->index + 1, b->index + 1);
}

static void true_to_history(struct world *w, unsigned chain,
                            const struct snode *n, struct store_chain *st)
{
    struct grec *g = ghost_find(w, chain, st->applied);
    SIM_CHECK(w, g, "n%u is at no known record", n->index + 1);
    for (unsigned h = 0; h < SIM_CELLS; h++) {
        const struct mem_extent *e = st->ext[cell_extent(w, h)];
        if (cell_chain(w, h) != chain)
            continue;
        const struct mem_sector *s = e ? &e->s[cell_offset(w, h)] : NULL;
        uint64_t id =
            s && s->sum ? cell_parse(s->data + h % 2 * SIM_CELL_BYTES, h) : 0;
        uint64_t want = g->content[h] & WID_ZERO ? 0 : g->content[h];
        SIM_CHECK(w, id == want,
                  "n%u holds write %" PRIu64 " in sector %" PRIu64
                  " where its history has %" PRIu64,
                  n->index + 1, id, cell_sector(w, h), want);
    }
}

static void verify_chain(struct world *w, unsigned chain)
{
    const struct kt_cfg *cfg = hubnode_cfg(w, chain);
    struct snode *first = NULL;
    struct store_chain *st0 = NULL;
    for (unsigned i = 0; i < kt_cfg_serving(cfg); i++) {
        struct snode *n = &w->nodes[node_of_store(w, &cfg->members[i].store)];
        const struct chain *c = &n->chains[chain].c;
        struct store_chain *st = store_chain_find(n->store, cfg->chain);
        SIM_CHECK(w,
                  c->phase == CHAIN_ACTIVE && c->cfg.epoch == cfg->epoch &&
                      c->role == CHAIN_MEMBER,
                  "n%u does not serve although it is configured to",
                  n->index + 1);
        SIM_CHECK(w, kt_rid_eq(c->applied, st->applied),
                  "n%u thinks it is at seq %" PRIu64 " and is at %" PRIu64,
                  n->index + 1, c->applied.seq, st->applied.seq);
        true_to_history(w, chain, n, st);
        if (!first) {
            first = n;
            st0 = st;
            continue;
        }
        SIM_CHECK(w, kt_rid_eq(st->applied, st0->applied),
                  "n%u is at seq %" PRIu64 " and n%u at %" PRIu64 " at rest",
                  first->index + 1, st0->applied.seq, n->index + 1,
                  st->applied.seq);
        for (unsigned x = 0; x < w->p.extents; x++)
            same_extent(w, x, first, st0->ext[x], n, st->ext[x]);
    }
}

void verify_quiet(struct world *w)
{
    for (unsigned i = 0; i < w->p.chains; i++)
        verify_chain(w, i);
}

/* ---- the history of one sector ---- */

struct era {
    uint64_t from, to; /* tokens, inclusive */
    uint64_t initial;
};

static bool covers(const struct wop *o, unsigned cell)
{
    return cell >= o->cell && cell < o->cell + o->n;
}

static size_t collect(struct world *w, unsigned cell, const struct era *e,
                      struct check_op *ops)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_ops; i++) {
        const struct wop *o = w->ops[i];
        if (!covers(o, cell) || o->token < e->from || o->token > e->to)
            continue;
        uint64_t fence =
            w->fences[o->token] ? w->fences[o->token] : CHECK_NEVER;
        struct check_op *c = &ops[n];
        *c = (struct check_op){.id = o->id, .s = o->s, .f = o->f};
        if (o->kind == ENGINE_READ) {
            /* B17: a superseded reader may see its own past. */
            if (o->state != WOP_OK || o->f > fence)
                continue;
            c->kind = CHECK_READ;
            c->id = o->seen[cell - o->cell];
        } else {
            c->kind = CHECK_WRITE;
            c->refused = o->state == WOP_REFUSED;
            c->optional = o->state != WOP_OK && !c->refused;
            c->f = c->optional ? fence : kt_min_u64(o->f, fence);
            if (c->f < c->s)
                continue; /* begun after the fence: it cannot happen */
        }
        n++;
    }
    return n;
}

static const struct wop *op_of(const struct world *w, uint64_t id)
{
    uint64_t i = id & ~WID_ZERO;
    return i && i <= w->n_ops ? w->ops[i - 1] : NULL;
}

/* At a cut: nothing flushed may be younger than what was found. */
static void judge_cut(struct world *w, unsigned cell, uint64_t found,
                      uint64_t before_token)
{
    const struct wop *v = op_of(w, found);
    if (v && v->state != WOP_OK)
        return;
    for (size_t i = 0; i < w->n_ops; i++) {
        const struct wop *o = w->ops[i];
        if (o->id && o->flushed && o->state == WOP_OK && covers(o, cell) &&
            o->token < before_token && o != v)
            SIM_CHECK(w, v && o->s < v->f,
                      "write %" PRIu64 " of sector %" PRIu64
                      " was flushed and is gone: %" PRIu64 " was found",
                      o->id, cell_sector(w, cell), found);
    }
    w->st->cuts++;
}

static void judge_era(struct world *w, unsigned cell, const struct era *e,
                      uint64_t final)
{
    uint64_t ids[2] = {0, 0};
    struct check_op *ops = calloc(w->n_ops + 1, sizeof(*ops));
    assert(ops);
    size_t n = collect(w, cell, e, ops);
    if (e->to == UINT64_MAX) {
        uint64_t now = w->stamp + 1;
        ops[n++] = (struct check_op){
            .kind = CHECK_READ, .id = final, .s = now, .f = now + 1};
    }
    const char *why = check_register(ops, n, e->initial, ids);
    free(ops);
    SIM_CHECK(w, !why,
              "sector %" PRIu64 ": %s (writes %" PRIu64 ", %" PRIu64
              ") in tokens from %" PRIu64,
              cell_sector(w, cell), why, ids[0] & ~WID_ZERO, ids[1] & ~WID_ZERO,
              e->from);
}

/* Somebody who could give again what was lost holds the volume. */
static bool holder_lives(const struct world *w)
{
    for (unsigned i = 0; i < w->p.clients; i++) {
        const struct sclient *c = &w->clients[i];
        if (c->engine && !c->fenced && c->opts.token == w->newest_token)
            return true;
    }
    return false;
}

/* What everybody has at the end. */
static struct grec *at_end(struct world *w, unsigned chain)
{
    const struct kt_cfg *cfg = hubnode_cfg(w, chain);
    struct snode *n = &w->nodes[node_of_store(w, &cfg->members[0].store)];
    struct store_chain *st = store_chain_find(n->store, cfg->chain);
    return ghost_find(w, chain, st->applied);
}

/* A successor serves on, by its predecessor's word that nothing is missing
 * (B10): then its grant, and those between them that it did not use, begin
 * nothing new. */
static bool taken_over(const struct world *w, uint64_t token)
{
    for (uint64_t t = token; t < SIM_TOKENS_MAX; t++) {
        if (w->adopted[t] && w->adopted[t] < token)
            return true;
    }
    return false;
}

static void judge_sector(struct world *w, unsigned cell)
{
    unsigned chain = cell_chain(w, cell);
    struct gchain *gc = &w->ghost.chains[chain];
    struct era e = {.from = 0};
    uint64_t vgen = 0, last = 0, final = at_end(w, chain)->content[cell];
    for (uint64_t t = 0; t < SIM_TOKENS_MAX; t++) {
        if (!gc->granted[t])
            continue;
        if (vgen && gc->granted_vgen[t] != vgen && !taken_over(w, t)) {
            e.to = t - 1;
            judge_era(w, cell, &e, 0);
            e.from = t;
            e.initial = gc->granted[t]->content[cell];
            judge_cut(w, cell, e.initial, t);
        }
        vgen = gc->granted_vgen[t];
        last = t;
    }
    bool lost = hubnode_cfg(w, chain)->vgen != vgen && !holder_lives(w);
    e.to = lost ? last : UINT64_MAX;
    judge_era(w, cell, &e, final);
    if (lost)
        judge_cut(w, cell, final, UINT64_MAX);
}

void verify_history(struct world *w)
{
    for (unsigned h = 0; h < SIM_CELLS; h++)
        judge_sector(w, h);
}
