/* SPDX-License-Identifier: BSD-3-Clause */
/* One sector: whose bytes are right. In this order:
 *
 *  1. an exact copy: what the last record of the path wrote after that copy
 *     was made, else what the copy has, when it matches its sum;
 *  2. a copy too old for the path, of whose extent the last record is the same
 *     as in the newest copy: then so are the bytes;
 *  3. bytes of anybody that match the sum which an exact copy wrote down: of
 *     one the bytes are rotten, of another the sum;
 *  4. what matches a sum, however old: told as older;
 *  5. zeros: told as lost. */
#include <string.h>

#include "cli/salvage.h"

/* Of one sector, all there is. */
struct sector {
    struct salvage_chain *c;
    uint32_t k;
    uint8_t *out;
    struct look_sector at[SALVAGE_STORES_MAX];
    uint8_t data[SALVAGE_STORES_MAX][KT_SECTOR_BYTES];
};

static struct look *look_of(const struct salvage_chain *c, unsigned i)
{
    return c->s->stores[c->copies[i].store].look;
}

/* ---- an extent ---- */

static void find_writers(struct salvage_chain *c)
{
    memset(c->writer, 0, sizeof(c->writer));
    uint32_t lo = 0, hi = c->n_path;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->path[c->by_extent[mid]].r->extent < c->extent)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (uint32_t i = lo; i < c->n_path; i++) {
        const struct look_rec *r = c->path[c->by_extent[i]].r;
        if (r->extent != c->extent)
            break;
        for (uint32_t k = r->off / KT_SECTOR_BYTES;
             k < (r->off + r->len) / KT_SECTOR_BYTES; k++)
            c->writer[k] = c->by_extent[i] + 1;
    }
}

bool salvage_extent(struct salvage_chain *c, uint32_t extent)
{
    bool any = false;
    c->extent = extent;
    find_writers(c);
    for (uint32_t k = 0; k < KT_EXTENT_SECTORS; k++)
        any = any || c->writer[k];
    for (unsigned i = 0; i < c->n; i++) {
        struct look_extent e;
        look_extent(look_of(c, i), c->chain, extent, &e);
        bool blank = e.id.seq == 0 && e.id.epoch == 0 && !e.partial;
        if (c->copies[i].exact || !c->whole)
            any = any || !blank;
    }
    return any;
}

/* ---- a sector ---- */

static void read_all(struct sector *x)
{
    for (unsigned i = 0; i < x->c->n; i++)
        look_sectors(look_of(x->c, i), x->c->chain, x->c->extent, x->k, 1,
                     &x->at[i], x->data[i]);
}

static bool take(struct sector *x, const uint8_t *data)
{
    memcpy(x->out, data, KT_SECTOR_BYTES);
    return true;
}

/* From the record, of whoever still has it whole. */
static bool take_record(struct sector *x, const struct salvage_ref *w)
{
    const struct salvage *s = x->c->s;
    for (uint32_t i = 0; i <= s->n_refs; i++) {
        const struct salvage_ref *f = i ? &s->refs[i - 1] : w;
        if (i && (f->r->chain != x->c->chain ||
                  !kt_rid_eq(f->r->id, w->r->id) || (f->r->flags & KT_RF_SKIP)))
            continue;
        if (look_payload(s->stores[f->store].look, f->r, x->k, x->out) !=
            LOOK_BAD)
            return true;
    }
    return false;
}

static bool take_exact(struct sector *x)
{
    bool tried = false;
    for (unsigned i = 0; i < x->c->n; i++) {
        if (!x->c->copies[i].exact)
            continue;
        const struct salvage_ref *w = salvage_writer(x->c, i, x->k);
        if (w && !tried && take_record(x, w))
            return true;
        tried = tried || w;
        if (!w && x->at[i].state != LOOK_BAD)
            return take(x, x->data[i]);
    }
    return false;
}

/* Step 2; only when no record came after the newest copy. */
static bool take_same_extent(struct sector *x)
{
    struct salvage_chain *c = x->c;
    struct look_extent first, e;
    if (!c->whole || salvage_writer(c, 0, x->k))
        return false;
    look_extent(look_of(c, 0), c->chain, c->extent, &first);
    for (unsigned i = 1; i < c->n; i++) {
        look_extent(look_of(c, i), c->chain, c->extent, &e);
        if (c->copies[i].c.whole && kt_rid_eq(e.id, first.id) &&
            kt_id_eq(&c->copies[i].c.cfg->history,
                     &c->copies[0].c.cfg->history) &&
            x->at[i].state != LOOK_BAD)
            return take(x, x->data[i]);
    }
    return false;
}

static bool take_by_sum(struct sector *x)
{
    for (unsigned i = 0; i < x->c->n; i++) {
        uint64_t want = x->at[i].want;
        if (!x->c->copies[i].exact || !want || salvage_writer(x->c, i, x->k))
            continue;
        for (unsigned j = 0; j < x->c->n; j++)
            if (x->at[j].is == want)
                return take(x, x->data[j]);
    }
    return false;
}

static enum salvage_verdict decide(struct sector *x)
{
    struct salvage_chain *c = x->c;
    struct look_extent e;
    read_all(x);
    if (c->whole && (take_exact(x) || take_same_extent(x) || take_by_sum(x)))
        return SALVAGE_RIGHT;
    for (unsigned i = 0; i < c->n; i++) {
        look_extent(look_of(c, i), c->chain, c->extent, &e);
        if (x->at[i].state == LOOK_BAD || (e.partial && !x->at[i].want))
            continue;
        take(x, x->data[i]);
        /* Of copies that all were being made nothing better can be said. */
        return c->whole ? SALVAGE_OLDER : SALVAGE_RIGHT;
    }
    memset(x->out, 0, KT_SECTOR_BYTES);
    return SALVAGE_LOST;
}

/* The quick way: the newest copy has all of it, and nothing came later. */
static bool take_chunk(struct salvage_chain *c, uint32_t first, uint8_t *data)
{
    struct look_sector at[LOOK_SECTORS_MAX];
    if (!c->whole)
        return false;
    for (uint32_t i = 0; i < LOOK_SECTORS_MAX; i++)
        if (salvage_writer(c, 0, first + i))
            return false;
    look_sectors(look_of(c, 0), c->chain, c->extent, first, LOOK_SECTORS_MAX,
                 at, data);
    for (uint32_t i = 0; i < LOOK_SECTORS_MAX; i++)
        if (at[i].state == LOOK_BAD)
            return false;
    return true;
}

void salvage_sectors(struct salvage_chain *c, uint32_t first,
                     enum salvage_verdict *ret_v, uint8_t *ret_data)
{
    static struct sector x; /* large, and asked for by one thread */
    for (uint32_t i = 0; i < LOOK_SECTORS_MAX; i++)
        ret_v[i] = SALVAGE_RIGHT;
    if (take_chunk(c, first, ret_data))
        return;
    for (uint32_t i = 0; i < LOOK_SECTORS_MAX; i++) {
        x.c = c;
        x.k = first + i;
        x.out = ret_data + (size_t)i * KT_SECTOR_BYTES;
        ret_v[i] = decide(&x);
    }
}
