/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: who may run, and when one is finished.
 *
 * A2: no two overlapping operations of which one writes are in flight. A
 * request counts the older live requests it conflicts with and starts when
 * that count is 0, so waiters go in the order they came. The lock is held from
 * start to completion, over whole sectors, and so serves the read-modify-write
 * of unaligned ends, the order of a replay, and safe resends too. */
#include "lib/client/engine_int.h"

#include <errno.h>
#include <string.h>

enum { PHASE_LOCK, PHASE_EDGES, PHASE_RUN, PHASE_DONE };

static bool conflict(const struct engine_req *a, const struct engine_req *b)
{
    if (a->op == ENGINE_FLUSH || b->op == ENGINE_FLUSH || !KT_RULE(lock))
        return false;
    if (!eng_is_write(a->op) && !eng_is_write(b->op))
        return false;
    return a->off / KT_SECTOR_BYTES <=
               (b->off + b->len - 1) / KT_SECTOR_BYTES &&
           b->off / KT_SECTOR_BYTES <= (a->off + a->len - 1) / KT_SECTOR_BYTES;
}

static void start(struct engine *e, struct engine_req *r)
{
    assert(r->p.phase == PHASE_LOCK && r->p.blockers == 0);
    r->p.next_off = r->off - r->off % KT_SECTOR_BYTES;
    r->p.edges = eng_is_write(r->op) ? eng_edges(r) : 0;
    r->p.unread = r->p.edges;
    r->p.phase = r->p.edges ? PHASE_EDGES : PHASE_RUN;
    eng_list_add(&e->genq, &r->p.q);
    e->again = true;
}

static int invalid(const struct engine *e, const struct engine_req *r)
{
    if (r->op < ENGINE_READ || r->op > ENGINE_STAT)
        return -EINVAL;
    if (r->op == ENGINE_FLUSH)
        return 0;
    if (r->off > e->o.size || r->len > e->o.size - r->off)
        return -EINVAL;
    if (r->op == ENGINE_STAT && (!r->rows || !r->rows_max))
        return -EINVAL;
    return 0;
}

void eng_submit(struct engine *e, struct engine_req *r)
{
    memset(&r->p, 0, sizeof(r->p));
    eng_list_init(&r->p.live);
    eng_list_init(&r->p.q);
    r->n_rows = 0;
    r->p.since_ms = e->now;
    r->err = invalid(e, r);
    if (!r->err && e->dead)
        r->err = -EIO;
    if (r->err || (r->op != ENGINE_FLUSH && r->len == 0)) {
        r->p.phase = PHASE_DONE;
        eng_list_add(&e->done, &r->p.q);
        return;
    }
    for (struct engine_link *l = e->live.next; l != &e->live; l = l->next)
        r->p.blockers += conflict(eng_req_live(l), r);
    eng_list_add(&e->live, &r->p.live);
    e->n_live++;
    if (r->op == ENGINE_FLUSH)
        eng_flush_submit(e, r);
    else if (r->p.blockers == 0)
        start(e, r);
}

/* The bytes of the request within one sector: [lo, hi) of 0..4096. */
uint32_t eng_sector_lo(const struct engine_req *r, uint64_t sector)
{
    uint64_t at = sector * KT_SECTOR_BYTES;
    return (uint32_t)(kt_max_u64(r->off, at) - at);
}

uint32_t eng_sector_hi(const struct engine_req *r, uint64_t sector)
{
    uint64_t at = sector * KT_SECTOR_BYTES;
    return (uint32_t)(kt_min_u64(r->off + r->len, at + KT_SECTOR_BYTES) - at);
}

/* Lays the request's bytes over the old content of an edge sector. */
static void merge(struct engine_req *r, uint64_t sector, uint8_t *page)
{
    uint32_t lo = eng_sector_lo(r, sector), hi = eng_sector_hi(r, sector);
    assert(lo < hi && hi <= KT_SECTOR_BYTES);
    if (r->op == ENGINE_WRITE)
        memcpy(page + lo, r->buf + (sector * KT_SECTOR_BYTES + lo - r->off),
               hi - lo);
    else
        memset(page + lo, 0, hi - lo);
}

static void edges_read(struct engine *e, struct engine_req *r)
{
    if (r->p.edges & ENG_EDGE_HEAD)
        merge(r, r->off / KT_SECTOR_BYTES, r->p.pages);
    if (r->p.edges & ENG_EDGE_TAIL)
        merge(r, (r->off + r->len - 1) / KT_SECTOR_BYTES,
              r->p.pages + KT_SECTOR_BYTES);
    r->p.phase = PHASE_RUN;
    eng_list_del(&r->p.q);
    eng_list_add(&e->genq, &r->p.q);
    e->again = true;
}

void eng_req_part_done(struct engine *e, struct engine_req *r, int err)
{
    assert(r->p.parts > 0);
    r->p.parts--;
    if (err && !r->err)
        r->err = err;
    if (r->p.parts > 0)
        return;
    if (r->err)
        eng_req_done(e, r, r->err);
    else if (r->p.phase == PHASE_EDGES && r->p.unread == 0)
        edges_read(e, r);
    else if (r->p.phase == PHASE_RUN && r->p.next_off >= r->off + r->len)
        eng_req_done(e, r, 0);
}

void eng_req_done(struct engine *e, struct engine_req *r, int err)
{
    assert(r->p.parts == 0 && r->p.phase != PHASE_DONE);
    struct engine_link *next = r->p.live.next;
    eng_list_del(&r->p.live);
    eng_list_del(&r->p.q);
    assert(e->n_live > 0);
    e->n_live--;
    if (r->p.pages) {
        size_t i = (size_t)(r->p.pages - e->pages) / (2 * KT_SECTOR_BYTES);
        e->pages_busy &= ~(1u << i);
        r->p.pages = NULL;
    }
    r->p.phase = PHASE_DONE;
    r->err = err;
    eng_list_add(&e->done, &r->p.q);
    for (struct engine_link *l = next; l != &e->live; l = l->next) {
        struct engine_req *w = eng_req_live(l);
        if (!conflict(r, w))
            continue;
        assert(w->p.blockers > 0 && w->p.phase == PHASE_LOCK);
        if (--w->p.blockers == 0 && !e->dead)
            start(e, w);
    }
    e->again = true;
}

void eng_req_kill(struct engine *e, struct engine_req *r, int err)
{
    /* Sent writes may still take effect; their wseq is never used again
     * (I19), and what overlaps follows them on the same link. */
    for (uint32_t i = 0; i < e->parts_touched && r->p.parts > 0; i++) {
        struct engine_part *p = &e->parts[i];
        if (p->state == PART_FREE || p->req != r)
            continue;
        eng_part_put(e, p);
        r->p.parts--;
    }
    eng_req_done(e, r, err);
}

void eng_cancel(struct engine *e, struct engine_req *r)
{
    if (r->p.phase != PHASE_DONE)
        eng_req_kill(e, r, -EIO);
}
