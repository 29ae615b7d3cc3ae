/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of the clients, and what became of each. All I/O is on SIM_HOT
 * sectors, a group in each extent. Half a sector is a cell: every write stamps
 * its own id into each cell it covers, so a read tells what it saw; and one
 * that covers one cell of a sector must keep the other, whatever happens
 * between reading it and writing it again. Zeros carry no id: which ZERO or
 * TRIM made them is taken from the ghost of the answer. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define STAMP 0x6b656e7465720000u
#define GROUP_CELLS SIM_GROUP_CELLS

/* ---- cells ---- */

uint64_t cell_sector(const struct world *w, unsigned cell)
{
    static const uint32_t at[SIM_GROUPS] = {0, KT_EXTENT_SECTORS - 4, 500, 62};
    unsigned g = cell / GROUP_CELLS;
    (void)w;
    return (uint64_t)g * KT_EXTENT_SECTORS + at[g] + cell % GROUP_CELLS / 2;
}

static uint64_t cell_at(const struct world *w, unsigned cell)
{
    return cell_sector(w, cell) * KT_SECTOR_BYTES + cell % 2 * SIM_CELL_BYTES;
}

unsigned cell_chain(const struct world *w, unsigned cell)
{
    return cell / GROUP_CELLS / w->p.extents;
}

uint32_t cell_extent(const struct world *w, unsigned cell)
{
    return cell / GROUP_CELLS % w->p.extents;
}

uint32_t cell_offset(const struct world *w, unsigned cell)
{
    return (uint32_t)(cell_sector(w, cell) % KT_EXTENT_SECTORS);
}

static void stamp(uint8_t *b, unsigned cell, uint64_t id)
{
    uint64_t words[3] = {STAMP | cell, id, ~id};
    memset(b, 0, SIM_CELL_BYTES);
    memcpy(b, words, sizeof(words));
    memcpy(b + SIM_CELL_BYTES - 8, &id, 8);
}

uint64_t cell_parse(const uint8_t *b, unsigned cell)
{
    uint64_t words[3], last;
    memcpy(words, b, sizeof(words));
    memcpy(&last, b + SIM_CELL_BYTES - 8, 8);
    if (words[0] == 0 && words[1] == 0 && words[2] == 0 && last == 0)
        return 0;
    if (words[0] != (STAMP | cell) || words[2] != ~words[1] || last != words[1])
        return UINT64_MAX;
    return words[1];
}

/* ---- making operations ---- */

static struct wop *op_new(struct sclient *c)
{
    struct world *w = c->w;
    if (w->n_ops == w->cap_ops) {
        w->cap_ops = w->cap_ops ? 2 * w->cap_ops : 256;
        w->ops = realloc(w->ops, w->cap_ops * sizeof(struct wop *));
        assert(w->ops);
    }
    struct wop *o = calloc(1, sizeof(*o));
    struct engine_req *r = calloc(1, sizeof(*r));
    assert(o && r);
    o->client = c->index;
    o->token = c->opts.token;
    o->req = r;
    r->tag = w->n_ops;
    w->ops[w->n_ops++] = o;
    return o;
}

static void pick_kind(struct world *w, struct wop *o)
{
    const struct sim_params *p = &w->p;
    uint64_t x = rng_below(&w->work, 1000);
    if (x < p->reads)
        o->kind = ENGINE_READ;
    else if (x < p->reads + p->flushes)
        o->kind = ENGINE_FLUSH;
    else if (x < p->reads + p->flushes + p->zeros)
        o->kind = rng_chance(&w->work, 500) ? ENGINE_ZERO : ENGINE_TRIM;
    else
        o->kind = ENGINE_WRITE;
    o->fua = o->kind != ENGINE_READ && o->kind != ENGINE_FLUSH &&
             rng_chance(&w->work, p->fua);
}

static bool is_zero(const struct wop *o)
{
    return o->kind == ENGINE_ZERO || o->kind == ENGINE_TRIM;
}

static void place(struct world *w, struct wop *o, unsigned cell, unsigned n)
{
    o->cell = cell;
    o->n = n;
    o->req->off = cell_at(w, cell);
    o->req->len = (uint64_t)n * SIM_CELL_BYTES;
}

static void place_extent(struct wop *o, unsigned group)
{
    o->cell = group * GROUP_CELLS;
    o->n = GROUP_CELLS;
    o->req->off = (uint64_t)group * KT_EXTENT_BYTES;
    o->req->len = KT_EXTENT_BYTES;
}

static void pick_place(struct world *w, struct wop *o)
{
    struct engine_req *r = o->req;
    unsigned group = rng_chance(&w->work, 500)
                         ? 0
                         : (unsigned)rng_below(&w->work, SIM_GROUPS);
    unsigned first = (unsigned)rng_below(&w->work, SIM_GROUP_SECTORS);
    unsigned n = 1 + (unsigned)rng_below(&w->work, SIM_GROUP_SECTORS - first);
    place(w, o, group * GROUP_CELLS + 2 * first, 2 * n);
    if (o->kind == ENGINE_ZERO && rng_chance(&w->work, 300))
        r->flags |= ENGINE_F_NO_HOLE;
    if (is_zero(o) && rng_chance(&w->work, 250))
        place_extent(o, group);
    if (o->kind == ENGINE_FLUSH)
        o->n = 0;
}

/* From and to the middle of a sector, so that the engine must read first what
 * it shall not change; some bytes between two stamps; or zeros to anywhere
 * behind the sectors in use. */
static void make_odd(struct world *w, struct wop *o)
{
    struct rng *r = &w->kinds[SIM_K_ODD];
    if (!(w->p.kinds & SIM_KIND_BIT(SIM_K_ODD)) || o->kind == ENGINE_FLUSH ||
        !rng_chance(r, 400))
        return;
    unsigned group = o->cell / GROUP_CELLS;
    unsigned first = (unsigned)rng_below(r, GROUP_CELLS);
    unsigned n = 1 + (unsigned)rng_below(r, GROUP_CELLS - first);
    place(w, o, group * GROUP_CELLS + first, n);
    if (o->kind != ENGINE_READ && rng_chance(r, 150)) {
        o->n = 0;
        o->byte = (uint8_t)rng_next(r);
        o->req->off += 100 + rng_below(r, 900);
        o->req->len = 1 + rng_below(r, 900);
    } else if (is_zero(o) && group != 1 && first + n == GROUP_CELLS) {
        /* The second group ends with its extent. */
        o->req->len += rng_below(r, 3 * KT_SECTOR_BYTES);
    }
    w->st->kinds[SIM_K_ODD]++;
}

static void fill(struct wop *o)
{
    struct engine_req *r = o->req;
    r->op = o->kind;
    r->flags |= o->fua ? ENGINE_F_FUA : 0;
    if (o->kind != ENGINE_READ && o->kind != ENGINE_FLUSH)
        o->id = (uint64_t)(r->tag + 1) | (is_zero(o) ? WID_ZERO : 0);
    if (o->kind != ENGINE_READ && o->kind != ENGINE_WRITE)
        return;
    r->buf = o->buf = malloc(r->len);
    assert(o->buf);
    memset(o->buf, o->byte, r->len);
    for (unsigned i = 0; i < o->n && o->kind == ENGINE_WRITE; i++)
        stamp(o->buf + i * SIM_CELL_BYTES, o->cell + i, o->id);
}

static void submit(struct sclient *c, struct wop *o)
{
    struct world *w = c->w;
    fill(o);
    if (o->kind == ENGINE_FLUSH) {
        memcpy(o->flush_at, c->acked, sizeof(o->flush_at));
        memcpy(o->flush_vgen, c->acked_vgen, sizeof(o->flush_vgen));
    }
    o->vgen = hubnode_cfg(w, cell_chain(w, o->cell))->vgen;
    o->s = ++w->stamp;
    o->us = w->now;
    c->in_flight++;
    w->st->ops++;
    trace(w, c->ep, "submit", o->kind, o->cell << 8 | o->n, o->id);
    client_submit(c, o->req);
}

struct wop *work_one(struct sclient *c, uint8_t kind, unsigned hot, unsigned n,
                     bool fua)
{
    struct wop *o = op_new(c);
    o->kind = kind;
    o->fua = fua;
    place(c->w, o, 2 * hot, 2 * n);
    submit(c, o);
    return o;
}

struct wop *work_bytes(struct sclient *c, uint64_t off, uint32_t len,
                       uint8_t byte)
{
    struct wop *o = op_new(c);
    o->kind = ENGINE_WRITE;
    o->req->off = off;
    o->req->len = len;
    o->byte = byte;
    submit(c, o);
    return o;
}

struct wop *work_extent(struct sclient *c, uint8_t kind, unsigned group)
{
    struct wop *o = op_new(c);
    o->kind = kind;
    place_extent(o, group);
    submit(c, o);
    return o;
}

static void issue(struct world *w, uint64_t index, uint64_t life, uint64_t x)
{
    struct sclient *c = &w->clients[index];
    (void)x;
    if (!w->procs[c->ep].alive || w->procs[c->ep].life != life || w->closing ||
        c->fenced || c->leaving_us)
        return;
    world_at(w, 1 + rng_exp(&w->work, w->p.think_us), issue, index, life, 0);
    if (!world_runs(w, c->ep) || !c->engine || c->in_flight >= w->p.depth ||
        w->hold)
        return;
    struct wop *o = op_new(c);
    pick_kind(w, o);
    pick_place(w, o);
    make_odd(w, o);
    submit(c, o);
}

void work_start(struct sclient *c)
{
    if (!c->w->directed)
        world_at(c->w, 1, issue, c->index, c->w->procs[c->ep].life, 0);
}

/* ---- how they end ---- */

static void settle(struct wop *o, uint8_t state)
{
    o->state = state;
    free(o->req);
    free(o->buf);
    o->req = NULL;
    o->buf = NULL;
}

static void take_read(struct sclient *c, struct wop *o)
{
    struct world *w = c->w;
    SIM_CHECK(w, c->ghost, "a read ended without an answer");
    for (unsigned i = 0; i < o->n; i++) {
        uint64_t id = cell_parse(o->buf + i * SIM_CELL_BYTES, o->cell + i);
        if (id == 0)
            id = c->ghost->content[o->cell + i] & WID_ZERO
                     ? c->ghost->content[o->cell + i]
                     : 0;
        SIM_CHECK(w, id != UINT64_MAX, "a read returned a damaged sector");
        o->seen[i] = id;
    }
}

static void take_flush(struct sclient *c, const struct wop *f)
{
    struct world *w = c->w;
    for (size_t i = 0; i < w->n_ops; i++) {
        struct wop *o = w->ops[i];
        if (o->token == f->token && o->state == WOP_OK && o->f < f->s)
            o->flushed = true;
    }
    for (unsigned i = 0; i < w->p.chains; i++)
        ghost_flushed(w, i, f->flush_at[i], f->flush_vgen[i]);
}

static void done_well(struct sclient *c, struct wop *o)
{
    struct world *w = c->w;
    uint64_t fence = w->fences[o->token];
    /* A flush of nothing asks nobody. */
    SIM_CHECK(w, !o->id || !fence || o->s < fence,
              "a write begun after token %" PRIu64 " was taken over "
              "succeeded",
              o->token);
    if (o->kind == ENGINE_READ) {
        take_read(c, o);
        w->st->reads++;
    } else if (o->kind == ENGINE_FLUSH) {
        take_flush(c, o);
        w->st->flushes++;
    } else {
        o->flushed = o->fua || w->p.sync;
        w->st->writes++;
        w->st->zeros += is_zero(o);
    }
    if (o->id && c->ghost_ack) {
        unsigned chain = cell_chain(w, o->cell);
        c->acked[chain] = c->ghost_ack;
        c->acked_vgen[chain] = c->ghost_vgen;
    }
}

void work_done(struct sclient *c, struct engine_req *r)
{
    struct world *w = c->w;
    SIM_CHECK(w, r->tag < w->n_ops && w->ops[r->tag]->req == r,
              "something completed twice");
    struct wop *o = w->ops[r->tag];
    o->f = ++w->stamp;
    c->in_flight--;
    trace(w, c->ep, "complete", r->tag + 1, o->kind, (uint64_t)-r->err);
    if (r->err == 0) {
        done_well(c, o);
        settle(o, WOP_OK);
        return;
    }
    if (r->err == -ENOSPC && w->p.slots < 2 * SIM_GROUPS) {
        /* Sent once more after a loss it may have happened before. */
        bool twice = o->vgen != hubnode_cfg(w, cell_chain(w, o->cell))->vgen;
        w->st->full++;
        settle(o, twice ? WOP_UNKNOWN : WOP_REFUSED);
        return;
    }
    SIM_CHECK(w, r->err == -EIO, "an operation failed with error %d", r->err);
    /* An old copy of the hub's database may not know who took the volume. */
    /* One that writes a part of a sector reads the rest first. */
    bool reads =
        o->kind == ENGINE_READ || (r->off | r->len) % KT_SECTOR_BYTES != 0;
    bool damaged = w->lawless && reads;
    w->st->failed_reads += damaged;
    SIM_CHECK(
        w, damaged || hubnode_token(w) != o->token || w->seen_token > o->token,
        "an I/O error reached a client that is not fenced (A4)");
    w->st->unknown++;
    settle(o, WOP_FAILED);
}

void work_client_gone(struct sclient *c)
{
    struct world *w = c->w;
    for (size_t i = 0; i < w->n_ops; i++) {
        struct wop *o = w->ops[i];
        if (o->state == WOP_RUNS && o->client == c->index && o->req) {
            w->st->unknown++;
            settle(o, WOP_UNKNOWN);
        }
    }
    c->in_flight = 0;
}

/* The ZERO or TRIM of this client that made zeros of a cell: the oldest under
 * way; else, in a replay, the last one done. */
static const struct wop *zeroed(const struct sclient *c, unsigned cell)
{
    const struct world *w = c->w;
    const struct wop *best = NULL;
    for (size_t i = w->n_ops; i > 0; i--) {
        const struct wop *o = w->ops[i - 1];
        if ((o->state != WOP_RUNS && o->state != WOP_OK) || !is_zero(o) ||
            o->token != c->opts.token || cell < o->cell ||
            cell >= o->cell + o->n)
            continue;
        if (o->state == WOP_RUNS)
            best = o;
        else if (!best || (best->state == WOP_OK && o->f > best->f))
            best = o;
    }
    return best;
}

void work_zero_ids(struct sclient *c, uint64_t first, uint64_t n,
                   uint64_t ret_ids[SIM_CELLS])
{
    struct world *w = c->w;
    for (unsigned h = 0; h < SIM_CELLS; h++) {
        uint64_t at = cell_sector(w, h);
        if (at < first || at >= first + n)
            continue;
        const struct wop *o = zeroed(c, h);
        SIM_CHECK(
            w, o,
            "the client zeroes sector %" PRIu64 " and nobody asked for it", at);
        ret_ids[h] = o->id;
    }
}

uint64_t work_zero_id(struct sclient *c, unsigned cell)
{
    const struct wop *o = zeroed(c, cell);
    return o ? o->id : 0;
}

unsigned work_pending(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->p.clients; i++)
        n += w->clients[i].in_flight;
    return n;
}

void work_free(struct world *w)
{
    for (size_t i = 0; i < w->n_ops; i++) {
        settle(w->ops[i], WOP_UNKNOWN);
        free(w->ops[i]);
    }
    free(w->ops);
}
