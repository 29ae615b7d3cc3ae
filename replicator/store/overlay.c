/* SPDX-License-Identifier: BSD-3-Clause */
/* The overlay: completed records that are not in their slots yet. Each extent
 * keeps its records in order and, when they are many, a table of the newest of
 * each sector: small writes all over a volume leave one or two in an extent. */
#include <errno.h>
#include <stdlib.h>

#include "replicator/store/disk.h"

struct rec *rec_new(struct store *s)
{
    struct rec *r = s->free_recs;
    if (r)
        s->free_recs = r->next;
    else
        r = malloc(sizeof(*r));
    if (r) {
        r->next = r->ext_next = r->log_next = NULL;
        r->op = NULL;
        r->seg = NULL;
        r->lsn = 0;
        r->off = 0;
        r->takes = r->admitted = r->begins = false;
        r->effect = (struct extent_effect){0};
        r->buf = NULL;
    }
    return r;
}

void rec_free(struct store *s, struct rec *r)
{
    kt_buf_unref(r->buf);
    r->next = s->free_recs;
    s->free_recs = r;
}

#define TABLE_BYTES (KT_EXTENT_SECTORS * sizeof(struct rec *))

/* Memory it takes. A payload is aligned to pages: that may cost another one. */
static uint64_t rec_weight(const struct rec *r)
{
    const struct kt_buf *b = r->buf;
    return sizeof(*r) + (b ? sizeof(*b) + 8 * (uint64_t)b->n_sums +
                                 b->data_len + KT_SECTOR_BYTES
                           : 0);
}

uint64_t rec_sector(const struct rec *r, uint32_t k, const uint8_t **ret_data)
{
    if (!r->effect.payload)
        return 0;
    uint32_t i = k - r->effect.first, rank = i;
    uint64_t sum = r->buf->sums[i];
    if (sum && r->buf->data_len < r->buf->n_sums * KT_SECTOR_BYTES) {
        rank = 0;
        for (uint32_t n = 0; n < i; n++)
            rank += r->buf->sums[n] != 0;
    }
    if (sum && ret_data)
        *ret_data = r->buf->data + (size_t)rank * KT_SECTOR_BYTES;
    return sum;
}

static bool changes(const struct rec *r, uint32_t k)
{
    uint32_t i = k - r->effect.first;
    return k >= r->effect.first && i < r->effect.n && !fold_keeps(&r->rec, i);
}

struct rec *overlay_at(const struct extent *e, uint32_t k)
{
    struct rec *newest = NULL;
    if (!e)
        return NULL;
    if (e->at)
        return e->at[k];
    for (struct rec *r = e->first; r; r = r->ext_next)
        if (changes(r, k))
            newest = r;
    return newest;
}

static void note_sectors(struct extent *e, struct rec *r)
{
    for (uint32_t i = 0; i < r->effect.n; i++)
        if (!fold_keeps(&r->rec, i))
            e->at[r->effect.first + i] = r;
}

/* Without memory for it the list does, slowly. */
static void make_table(struct extent *e)
{
    e->at = calloc(KT_EXTENT_SECTORS, sizeof(struct rec *));
    if (!e->at)
        return;
    e->chain->store->overlay_bytes += TABLE_BYTES;
    for (struct rec *r = e->first; r; r = r->ext_next)
        note_sectors(e, r);
}

static int fold_into(struct extent *e, struct rec *r)
{
    if (!e)
        return -ENOMEM;
    r->effect = fold_extent(&e->vis, &r->rec);
    r->ext_next = NULL;
    *e->last = r;
    e->last = &r->ext_next;
    e->n_recs++;
    if (e->at)
        note_sectors(e, r);
    else if (e->n_recs > OVERLAY_TABLE_FROM)
        make_table(e);
    return 0;
}

int overlay_fold(struct store_chain *c, struct rec *r)
{
    fold_chain(&c->applied, &c->dedup, &r->rec, r->buf);
    if (r->rec.op == KT_OP_RESET) {
        /* A new lineage: its numbers say nothing about the old records, which
         * are all behind it now. */
        c->log_n = 0;
        c->acked = r->rec.id.seq;
        c->acked_lsn = r->lsn;
    } else {
        int err = fold_into(chain_extent(c, r->rec.extent), r);
        if (err) {
            rec_free(c->store, r);
            return err;
        }
    }
    if (fold_is_history(&r->rec))
        chain_log_push(c, &r->rec,
                       (struct log_at){
                           .seg = r->seg->no,
                           .off = r->off,
                           .data_len = r->buf ? r->buf->data_len : 0,
                           .n_sums = r->buf ? r->buf->n_sums : 0,
                       });
    r->next = NULL;
    *c->recs_last = r;
    c->recs_last = &r->next;
    if (!c->hard)
        c->hard = r;
    c->store->overlay_bytes += rec_weight(r);
    c->store->eager_bytes += r->buf ? r->buf->data_len : 0;
    return 0;
}

static void leave_extent(struct extent *e, struct rec *r)
{
    assert(e->first == r);
    if (!(e->first = r->ext_next))
        e->last = &e->first;
    for (uint32_t i = 0; i < r->effect.n && e->at; i++)
        if (e->at[r->effect.first + i] == r)
            e->at[r->effect.first + i] = NULL;
    e->n_recs--;
    if (!e->first && e->at) {
        free(e->at);
        e->at = NULL;
        e->chain->store->overlay_bytes -= TABLE_BYTES;
    }
}

void overlay_pop(struct store_chain *c)
{
    struct rec *r = c->recs;
    chain_durable(c);
    if (c->hard == r)
        c->hard = r->next;
    if (!(c->recs = r->next))
        c->recs_last = &c->recs;
    if (r->rec.op != KT_OP_RESET)
        leave_extent(c->ext[r->rec.extent], r);
    c->store->overlay_bytes -= rec_weight(r);
    rec_free(c->store, r);
}
