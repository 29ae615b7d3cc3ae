/* SPDX-License-Identifier: BSD-3-Clause */
/* The chains of the store on disk, seen from the loop. */
#include <stdlib.h>
#include <string.h>

#include "replicator/store/disk.h"

/* Index of the first chain whose id is at least id. */
static uint32_t chain_at(const struct store *s, uint64_t id)
{
    uint32_t lo = 0, hi = s->n_chains;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->chains[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct store_chain *store_chain_find(struct store *s, uint64_t chain)
{
    uint32_t i = chain_at(s, chain);
    return i < s->n_chains && s->chains[i]->id == chain ? s->chains[i] : NULL;
}

struct store_chain *store_chain_next(struct store *s, uint64_t after)
{
    uint32_t i = after == UINT64_MAX ? s->n_chains : chain_at(s, after + 1);
    return i < s->n_chains ? s->chains[i] : NULL;
}

static bool room(struct store *s)
{
    if (s->n_chains < s->cap_chains)
        return true;
    uint32_t cap = s->cap_chains ? 2 * s->cap_chains : 16;
    void *p = realloc(s->chains, cap * sizeof(struct store_chain *));
    if (!p)
        return false;
    s->chains = p;
    s->cap_chains = cap;
    return true;
}

struct store_chain *chain_get(struct store *s, uint64_t id, uint32_t n_extents)
{
    struct store_chain *c = store_chain_find(s, id);
    if (c)
        return c;
    c = room(s) ? calloc(1, sizeof(*c)) : NULL;
    struct extent **ext = calloc(n_extents, sizeof(struct extent *));
    if (!c || !ext) {
        free(c);
        free(ext);
        return NULL;
    }
    c->store = s;
    c->id = id;
    c->n_extents = n_extents;
    c->ext = ext;
    c->flight_last = &c->flight;
    c->recs_last = &c->recs;
    c->ck.chain = id;
    c->ck.n_extents = n_extents;
    uint32_t i = chain_at(s, id);
    memmove(s->chains + i + 1, s->chains + i,
            (s->n_chains - i) * sizeof(s->chains[0]));
    s->chains[i] = c;
    s->n_chains++;
    return c;
}

struct store_chain *store_chain_create(struct store *s, uint64_t chain,
                                       uint32_t n_extents)
{
    assert(chain && n_extents && n_extents <= KT_SEGMENT_EXTENTS_MAX);
    assert(!store_chain_find(s, chain));
    if (s->err)
        return NULL;
    struct store_chain *c = chain_get(s, chain, n_extents);
    if (c) /* what the log has of an older chain of this id is not its own */
        c->ck.born_lsn = c->ck.lsn = s->next_lsn - 1;
    return c;
}

void chain_free(struct store_chain *c)
{
    while (c->recs)
        overlay_pop(c);
    while (c->flight) {
        struct rec *r = c->flight;
        c->flight = r->next;
        rec_free(c->store, r);
    }
    for (uint32_t i = 0; i < c->n_extents; i++)
        free(c->ext[i]);
    free(c->ext);
    free(c->log);
    free(c->save_row);
    free(c);
}

void chain_forget(struct store *s, struct store_chain *c)
{
    uint32_t i = chain_at(s, c->id);
    assert(s->chains[i] == c && !c->flight && !c->in_batch);
    memmove(s->chains + i, s->chains + i + 1,
            (s->n_chains - i - 1) * sizeof(s->chains[0]));
    s->n_chains--;
    for (struct store_chain **a = &s->active; *a; a = &(*a)->active_next) {
        if (*a == c) {
            *a = c->active_next;
            break;
        }
    }
    chain_free(c);
}

struct extent *chain_extent(struct store_chain *c, uint32_t no)
{
    assert(no < c->n_extents);
    if (c->ext[no])
        return c->ext[no];
    struct extent *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->chain = c;
    e->no = no;
    e->slot = SLOT_NONE;
    e->last = &e->first;
    c->ext[no] = e;
    return e;
}

uint64_t chain_durable(struct store_chain *c)
{
    uint64_t lsn = c->store->durable_seen;
    for (; c->hard && c->hard->lsn <= lsn; c->hard = c->hard->next)
        if (fold_is_history(&c->hard->rec) || c->hard->rec.op == KT_OP_RESET)
            c->durable = c->hard->rec.id.seq;
    return c->durable;
}

void store_chain_info(const struct store_chain *c,
                      struct store_chain_info *ret_i)
{
    memset(ret_i, 0, sizeof(*ret_i));
    ret_i->chain = c->id;
    ret_i->n_extents = c->n_extents;
    ret_i->promised = c->promised;
    ret_i->have_cfg = c->have_cfg;
    ret_i->cfg = c->cfg;
    ret_i->whole = c->whole;
    ret_i->applied = c->applied;
    /* The cursor is a cache: moving it changes nothing that is seen. */
    ret_i->durable = chain_durable(store_chain_find(c->store, c->id));
    ret_i->dedup = c->dedup;
    for (uint32_t i = 0; i < c->n_extents; i++)
        if (c->ext[i] && c->ext[i]->vis.alloc)
            ret_i->alloc[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* ---- where its records are in the log ---- */

static bool log_grow(struct store_chain *c)
{
    uint32_t cap = c->log_cap ? 2 * c->log_cap : 64;
    struct log_at *log = calloc(cap, sizeof(*log));
    if (!log)
        return false;
    for (uint64_t q = c->log_seq; q < c->log_seq + c->log_n; q++)
        log[q % cap] = c->log[q % c->log_cap];
    free(c->log);
    c->log = log;
    c->log_cap = cap;
    return true;
}

void chain_log_push(struct store_chain *c, const struct kt_record *r,
                    struct log_at at)
{
    const struct store *s = c->store;
    if (c->log_n && r->id.seq != c->log_seq + c->log_n)
        c->log_n = 0;
    while (c->log_n && s->segs &&
           c->log[c->log_seq % c->log_cap].seg < s->segs->no) {
        c->log_seq++;
        c->log_n--;
    }
    if (c->log_n == c->log_cap && !log_grow(c)) {
        c->log_n = 0; /* only log_read is the poorer for it */
        return;
    }
    if (c->log_n == 0)
        c->log_seq = r->id.seq;
    c->log[(c->log_seq + c->log_n++) % c->log_cap] = at;
}

const struct log_at *chain_log_find(const struct store_chain *c, uint64_t seq)
{
    if (seq < c->log_seq || seq - c->log_seq >= c->log_n)
        return NULL;
    const struct log_at *at = &c->log[seq % c->log_cap];
    return at->seg >= c->store->segs->no ? at : NULL;
}
