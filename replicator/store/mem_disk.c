/* SPDX-License-Identifier: BSD-3-Clause */
/* The twin's disk: chains folded up to the last durable record, and the log
 * of those after it. Memory running out here ends the test: assert. */
#include "replicator/store/mem_disk.h"

#include <stdlib.h>
#include <string.h>

/* splitmix64 */
uint64_t mem_random(struct store_mem_disk *d)
{
    uint64_t z = d->rng += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void mem_rec_unref(struct mem_rec *m)
{
    if (!m || --m->refs)
        return;
    kt_buf_unref(m->buf);
    free(m);
}

/* ---- chains ---- */

struct store_chain *mem_chain_find(struct store_chain *list, uint64_t id)
{
    while (list && list->id != id)
        list = list->next;
    return list;
}

struct store_chain *mem_chain_get(struct store_chain **list, uint64_t id,
                                  uint32_t n_extents)
{
    struct store_chain *c = mem_chain_find(*list, id);
    if (c)
        return c;
    c = calloc(1, sizeof(*c));
    struct mem_extent **ext = calloc(n_extents, sizeof(struct mem_extent *));
    if (!c || !ext) {
        free(c);
        free(ext);
        return NULL;
    }
    c->id = id;
    c->n_extents = n_extents;
    c->ext = ext;
    while (*list && (*list)->id < id)
        list = &(*list)->next;
    c->next = *list;
    *list = c;
    return c;
}

static void extent_free(struct mem_extent *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; i < KT_EXTENT_SECTORS; i++)
        kt_buf_unref(e->s[i].buf);
    free(e);
}

static void hist_clear(struct store_chain *c)
{
    for (; c->hist_n; c->hist_n--)
        mem_rec_unref(c->hist[c->hist_first++ % c->hist_cap]);
}

static void chain_free(struct store_chain *c)
{
    for (uint32_t i = 0; i < c->n_extents; i++)
        extent_free(c->ext[i]);
    hist_clear(c);
    free(c->hist);
    free(c->ext);
    free(c);
}

void mem_chain_remove(struct store_chain **list, uint64_t id)
{
    while (*list && (*list)->id != id)
        list = &(*list)->next;
    struct store_chain *c = *list;
    if (!c)
        return;
    *list = c->next;
    chain_free(c);
}

void mem_chains_free(struct store_chain **list)
{
    while (*list)
        mem_chain_remove(list, (*list)->id);
}

static void hist_push(struct store_chain *c, struct mem_rec *m)
{
    if (c->hist_n == c->hist_cap) {
        uint32_t cap = c->hist_cap ? 2 * c->hist_cap : 16;
        struct mem_rec **hist = calloc(cap, sizeof(struct mem_rec *));
        assert(hist);
        for (uint32_t i = 0; i < c->hist_n; i++)
            hist[i] = c->hist[(c->hist_first + i) % c->hist_cap];
        free(c->hist);
        c->hist = hist;
        c->hist_cap = cap;
        c->hist_first = 0;
    }
    m->refs++;
    c->hist[(c->hist_first + c->hist_n++) % c->hist_cap] = m;
}

static bool chain_copy(struct store_chain *from, struct store_chain **list)
{
    struct store_chain *c = mem_chain_get(list, from->id, from->n_extents);
    if (!c)
        return false;
    c->promised = from->promised;
    c->have_cfg = from->have_cfg;
    c->cfg = from->cfg;
    c->whole = from->whole;
    c->applied = c->tail = from->applied;
    c->durable = from->applied.seq;
    c->dedup = from->dedup;
    for (uint32_t i = 0; i < from->hist_n; i++)
        hist_push(c, from->hist[(from->hist_first + i) % from->hist_cap]);
    for (uint32_t i = 0; i < from->n_extents; i++) {
        if (!from->ext[i])
            continue;
        struct mem_extent *e = mem_chain_extent(c, i);
        if (!e)
            return false;
        *e = *from->ext[i];
        e->tail = e->meta;
        for (uint32_t k = 0; k < KT_EXTENT_SECTORS; k++)
            kt_buf_ref(e->s[k].buf);
    }
    return true;
}

bool mem_chains_copy(struct store_chain *from, struct store_chain **ret_list)
{
    *ret_list = NULL;
    for (; from; from = from->next) {
        if (!chain_copy(from, ret_list)) {
            mem_chains_free(ret_list);
            return false;
        }
    }
    return true;
}

struct mem_extent *mem_chain_extent(struct store_chain *c, uint32_t extent)
{
    assert(extent < c->n_extents);
    if (!c->ext[extent])
        c->ext[extent] = calloc(1, sizeof(struct mem_extent));
    return c->ext[extent];
}

struct mem_rec *mem_chain_hist(const struct store_chain *c, uint64_t seq)
{
    if (!c->hist_n)
        return NULL;
    uint64_t first = c->hist[c->hist_first % c->hist_cap]->rec.id.seq;
    if (seq < first || seq - first >= c->hist_n)
        return NULL;
    return c->hist[(c->hist_first + (seq - first)) % c->hist_cap];
}

/* ---- folding ---- */

static void fold_sectors(struct mem_extent *e, const struct mem_rec *m,
                         struct extent_effect f)
{
    const uint8_t *data = m->buf ? m->buf->data : NULL;
    for (uint32_t i = 0; i < f.n; i++) {
        uint64_t sum = f.payload ? m->buf->sums[i] : 0;
        const uint8_t *at = data;
        if (sum)
            data += KT_SECTOR_BYTES;
        if (fold_keeps(&m->rec, i))
            continue;
        uint32_t k = f.first + i;
        struct mem_sector *s = &e->s[k];
        kt_buf_unref(s->buf);
        s->sum = sum;
        s->buf = sum ? kt_buf_ref(m->buf) : NULL;
        s->data = sum ? at : NULL;
        e->rot[k / 8] &= (uint8_t) ~(1u << (k % 8));
    }
}

void mem_chain_fold(struct store_chain *c, struct mem_rec *m, uint32_t retain)
{
    fold_chain(&c->applied, &c->dedup, &m->rec, m->buf);
    if (m->rec.op == KT_OP_RESET) {
        hist_clear(c);
        return;
    }
    struct mem_extent *e = mem_chain_extent(c, m->rec.extent);
    assert(e);
    fold_sectors(e, m, fold_extent(&e->meta, &m->rec));
    if (!fold_is_history(&m->rec))
        return;
    hist_push(c, m);
    for (; c->hist_n > retain; c->hist_n--)
        mem_rec_unref(c->hist[c->hist_first++ % c->hist_cap]);
}

/* ---- the disk ---- */

static struct store_mem_disk *next_disk;

struct store_mem_disk *store_mem_disk_new(uint64_t seed, uint64_t slots)
{
    struct store_mem_disk *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->rng = seed;
    d->slots = slots;
    d->retain = 4096;
    d->log_last = &d->log;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t u = mem_random(d), v = mem_random(d);
        memcpy(d->uuid.b + 8 * i, &u, 8);
        memcpy(d->node.b + 8 * i, &v, 8);
    }
    return d;
}

void store_mem_disk_free(struct store_mem_disk *d)
{
    if (!d)
        return;
    assert(!d->open);
    if (next_disk == d)
        next_disk = NULL;
    mem_disk_cut(d, d->base_lsn);
    mem_chains_free(&d->chains);
    free(d);
}

struct store_mem_disk *store_mem_disk_copy(const struct store_mem_disk *d)
{
    struct store_mem_disk *n = malloc(sizeof(*n));
    if (!n)
        return NULL;
    *n = *d;
    n->open = NULL;
    n->log = NULL;
    n->log_last = &n->log;
    n->clean = d->clean && !d->open;
    n->rng ^= d->last_lsn;
    if (!mem_chains_copy(d->chains, &n->chains)) {
        free(n);
        return NULL;
    }
    uint64_t upto = d->open ? mem_completed(d->open) : d->last_lsn;
    for (struct mem_rec *m = d->log; m && m->lsn <= upto; m = m->next) {
        struct store_chain *c =
            mem_chain_get(&n->chains, m->rec.chain, m->n_extents);
        assert(c);
        mem_chain_fold(c, m, n->retain);
    }
    n->base_lsn = n->last_lsn = kt_max_u64(d->base_lsn, upto);
    return n;
}

void store_mem_set_disk(struct store_mem_disk *d)
{
    next_disk = d;
}

struct store_mem_disk *mem_disk_next(void)
{
    return next_disk;
}

void store_mem_set_retain(struct store_mem_disk *d, uint32_t records)
{
    d->retain = records;
}

void mem_disk_harden(struct store_mem_disk *d, uint64_t lsn)
{
    while (d->log && d->log->lsn <= lsn) {
        struct mem_rec *m = d->log;
        if (!(d->log = m->next))
            d->log_last = &d->log;
        struct store_chain *c =
            mem_chain_get(&d->chains, m->rec.chain, m->n_extents);
        assert(c);
        mem_chain_fold(c, m, d->retain);
        mem_rec_unref(m);
    }
    d->base_lsn = kt_max_u64(d->base_lsn, lsn);
}

void mem_disk_cut(struct store_mem_disk *d, uint64_t lsn)
{
    struct mem_rec **at = &d->log;
    while (*at && (*at)->lsn <= lsn)
        at = &(*at)->next;
    struct mem_rec *m = *at;
    *at = NULL;
    d->log_last = at;
    while (m) {
        struct mem_rec *next = m->next;
        mem_rec_unref(m);
        m = next;
    }
}

void mem_disk_drop(struct store_mem_disk *d, uint64_t chain)
{
    mem_chain_remove(&d->chains, chain);
    struct mem_rec **at = &d->log;
    while (*at) {
        struct mem_rec *m = *at;
        if (m->rec.chain == chain) {
            *at = m->next;
            mem_rec_unref(m);
        } else {
            at = &m->next;
        }
    }
    d->log_last = at;
}
