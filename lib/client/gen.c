/* SPDX-License-Identifier: BSD-3-Clause */
/* Cuts requests into parts, no faster than their chains take them: a 4 GiB
 * ZERO passes through the window piece by piece (B12). */
#include "lib/client/engine_int.h"

#include <string.h>

enum { BLOCKED_WRITES = 1, BLOCKED_READS = 2 };

static uint64_t end_of(const struct engine_req *r)
{
    uint64_t end = r->off + r->len + KT_SECTOR_BYTES - 1;
    return end - end % KT_SECTOR_BYTES;
}

/* Which ends are parts of a sector. A request within one sector has a head
 * only. */
uint8_t eng_edges(const struct engine_req *r)
{
    uint64_t end = r->off + r->len;
    bool one = r->off / KT_SECTOR_BYTES == (end - 1) / KT_SECTOR_BYTES;
    uint8_t edges = 0;
    if (r->off % KT_SECTOR_BYTES || (one && end % KT_SECTOR_BYTES))
        edges |= ENG_EDGE_HEAD;
    if (!one && end % KT_SECTOR_BYTES)
        edges |= ENG_EDGE_TAIL;
    return edges;
}

static bool readable(const struct engine *e, const struct engine_chain *c)
{
    return c->n_reads < ENG_CHAIN_READS && eng_choose(e, c, 0) >= 0;
}

static bool writable(const struct engine *e, const struct engine_chain *c,
                     uint32_t bytes)
{
    return (c->n_writes < ENGINE_CHAIN_WRITES || !KT_RULE(window_parts)) &&
           c->write_bytes + bytes <= ENGINE_CHAIN_BYTES && eng_head_up(e, c);
}

/* The chain takes one more part now. Once it refused, all younger requests
 * of the same kind wait in this pass: their order stays. */
static bool admit(struct engine *e, struct engine_chain *c, uint8_t op,
                  uint32_t bytes)
{
    uint8_t bit = eng_is_write(op) ? BLOCKED_WRITES : BLOCKED_READS;
    if (c->pass != e->pass) {
        c->pass = e->pass;
        c->blocked = 0;
    }
    if (c->blocked & bit)
        return false;
    if (eng_does(c)->requests &&
        (eng_is_write(op) ? writable(e, c, bytes) : readable(e, c)))
        return true;
    c->blocked |= bit;
    return false;
}

struct piece {
    uint64_t pos;
    uint64_t len;
    uint8_t op;
    uint8_t *page;
};

static bool make(struct engine *e, struct engine_req *r, const struct piece *w)
{
    struct engine_chain *c = &e->chains[w->pos / e->o.segment_bytes];
    uint32_t bytes = w->op == ENGINE_WRITE ? (uint32_t)w->len : 0;
    if (!admit(e, c, w->op, bytes))
        return false;
    struct engine_part *p = eng_part_get(e);
    if (!p)
        return false;
    uint64_t in_chain = w->pos % e->o.segment_bytes;
    p->req = r;
    p->chain = c;
    p->op = w->op;
    p->pos = w->pos;
    p->extent = (uint32_t)(in_chain / KT_EXTENT_BYTES);
    p->off = (uint32_t)(in_chain % KT_EXTENT_BYTES);
    p->len = (uint32_t)w->len;
    p->page = w->page;
    if (eng_is_write(w->op) && !eng_reserve(e, p)) {
        eng_part_put(e, p);
        c->blocked |= BLOCKED_WRITES;
        return false;
    }
    if (eng_is_write(w->op) && (r->flags & ENGINE_F_FUA))
        p->flags |= KT_RF_FUA;
    if (w->op == ENGINE_ZERO && (r->flags & ENGINE_F_NO_HOLE))
        p->flags |= KT_RF_NO_HOLE;
    if (w->op == ENGINE_WRITE) {
        p->buf.refs = 1;
        p->buf.data = w->page ? w->page : r->buf + (w->pos - r->off);
        p->buf.data_len = p->buf.data_cap = p->len;
        p->buf.sums = p->sums;
        p->buf.n_sums = p->len / KT_SECTOR_BYTES;
        kt_sum_sectors(p->buf.data, p->len, p->sums);
    }
    if (eng_is_write(w->op)) {
        eng_list_add(&c->writes, &p->all);
        c->n_writes++;
        c->write_bytes += bytes;
    } else {
        eng_list_add(&c->reads, &p->all);
        c->n_reads++;
    }
    p->counted = true;
    r->p.parts++;
    eng_part_queue(e, p);
    return true;
}

static bool take_pages(struct engine *e, struct engine_req *r)
{
    for (uint32_t i = 0; i < ENG_EDGE_PAIRS; i++) {
        if (e->pages_busy & (1u << i))
            continue;
        e->pages_busy |= 1u << i;
        r->p.pages = e->pages + (size_t)i * 2 * KT_SECTOR_BYTES;
        return true;
    }
    return false;
}

/* Asks for the old content of an unaligned end. True: made a part. */
static bool make_edge_read(struct engine *e, struct engine_req *r)
{
    if (!r->p.pages && !take_pages(e, r))
        return false;
    bool head = r->p.unread & ENG_EDGE_HEAD;
    uint64_t at = head ? r->off : r->off + r->len - 1;
    struct piece w = {.pos = at - at % KT_SECTOR_BYTES,
                      .len = KT_SECTOR_BYTES,
                      .op = ENGINE_READ,
                      .page = r->p.pages + (head ? 0 : KT_SECTOR_BYTES)};
    if (!make(e, r, &w))
        return false;
    r->p.unread &= (uint8_t) ~(head ? ENG_EDGE_HEAD : ENG_EDGE_TAIL);
    return true;
}

static struct piece next_piece(const struct engine *e,
                               const struct engine_req *r)
{
    uint64_t pos = r->p.next_off, end = end_of(r);
    struct piece w = {.pos = pos, .len = end - pos, .op = r->op};
    if (r->op == ENGINE_STAT) {
        uint64_t seg = e->o.segment_bytes;
        w.len = kt_min_u64(w.len, seg - pos % seg);
        return w;
    }
    if ((r->p.edges & ENG_EDGE_HEAD) && pos <= r->off) {
        w.page = r->p.pages;
    } else if (r->p.edges & ENG_EDGE_TAIL) {
        if (end - pos == KT_SECTOR_BYTES)
            w.page = r->p.pages + KT_SECTOR_BYTES;
        else
            w.len -= KT_SECTOR_BYTES;
    }
    if (w.page) {
        w.op = ENGINE_WRITE;
        w.len = KT_SECTOR_BYTES;
    }
    w.len = kt_min_u64(w.len, KT_EXTENT_BYTES - pos % KT_EXTENT_BYTES);
    if (w.op == ENGINE_WRITE || w.op == ENGINE_READ)
        w.len = kt_min_u64(w.len, KT_RECORD_BYTES_MAX);
    return w;
}

/* Makes the next part of r. False: it waits, or there is none left. */
static bool advance(struct engine *e, struct engine_req *r)
{
    if (r->err) {
        eng_list_del(&r->p.q); /* its last part will end it */
        return false;
    }
    if (r->p.unread) {
        if (!make_edge_read(e, r))
            return false;
        if (r->p.unread)
            return true;
        eng_list_del(&r->p.q); /* until they are read */
        return false;
    }
    struct piece w = next_piece(e, r);
    assert(w.len > 0 && w.len % KT_SECTOR_BYTES == 0);
    if (!make(e, r, &w))
        return false;
    r->p.next_off = r->op == ENGINE_STAT ? r->off + r->len : w.pos + w.len;
    if (r->p.next_off < r->off + r->len)
        return true;
    eng_list_del(&r->p.q);
    return false;
}

void eng_generate(struct engine *e)
{
    struct engine_link *next;
    e->pass++;
    for (struct engine_link *l = e->genq.next; l != &e->genq; l = next) {
        next = l->next;
        while (advance(e, eng_req_q(l)))
            ;
    }
}
