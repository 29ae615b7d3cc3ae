/* SPDX-License-Identifier: BSD-3-Clause */
/* One segment: its copies, the newest first, and the last records of its
 * history.
 *
 * A record names the one before it, so from the newest copy's last record the
 * history is walked back through the logs of all stores, as far as they reach.
 * A copy that stands anywhere on that path becomes the newest with the records
 * that follow; whoever has those. Records that an evicted head had in excess
 * are not on the path, whatever their numbers.
 *
 * That last record may stand behind damage in a log, where it is in no copy: of
 * the newest copies' stores, or of an epoch in which nobody else could have
 * given numbers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/salvage.h"

/* ---- copies ---- */

/* The newest epoch that this copy took part in. A configuration in which it
 * does not serve says nothing: others went on without it. */
static uint64_t copy_epoch(const struct salvage *s,
                           const struct salvage_copy *k)
{
    const struct kt_cfg *cfg = k->c.cfg;
    uint64_t epoch = k->c.applied.epoch;
    int at = kt_cfg_find(cfg, &look_info(s->stores[k->store].look)->uuid);
    if (at >= 0 && cfg->members[at].state == KT_M_SERVING)
        epoch = kt_max_u64(epoch, cfg->epoch);
    return epoch;
}

static int newest_first(const void *va, const void *vb)
{
    const struct salvage_copy *a = va, *b = vb;
    if (a->c.whole != b->c.whole)
        return a->c.whole ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch ? -1 : 1;
    int r = kt_rid_cmp(b->c.applied, a->c.applied);
    return r ? r : (a->store > b->store) - (a->store < b->store);
}

static int add_copy(struct salvage_chain **list, uint32_t *n, struct salvage *s,
                    const struct salvage_copy *k)
{
    struct salvage_chain *c = NULL;
    for (uint32_t i = 0; i < *n; i++)
        if ((*list)[i].chain == k->c.chain)
            c = &(*list)[i];
    if (!c) {
        void *p = realloc(*list, (*n + 1) * sizeof(**list));
        if (!p)
            return -ENOMEM;
        *list = p;
        c = &(*list)[(*n)++];
        memset(c, 0, sizeof(*c));
        c->s = s;
        c->chain = k->c.chain;
        c->first_extent = k->c.cfg->first_extent;
        c->n_extents = k->c.cfg->n_extents;
    }
    c->copies[c->n++] = *k;
    return 0;
}

static int by_place(const void *va, const void *vb)
{
    const struct salvage_chain *a = va, *b = vb;
    return (a->first_extent > b->first_extent) -
           (a->first_extent < b->first_extent);
}

int salvage_chains(struct salvage *s, const struct salvage_volume *v,
                   struct salvage_chain **ret_c, uint32_t *ret_n)
{
    struct salvage_chain *list = NULL;
    uint32_t n = 0;
    int err = 0;
    for (unsigned i = 0; i < s->n; i++) {
        uint32_t chains = look_chains(s->stores[i].look);
        for (uint32_t k = 0; k < chains && !err; k++) {
            struct salvage_copy copy = {.store = i};
            look_chain(s->stores[i].look, k, &copy.c);
            if (!copy.c.cfg || !kt_id_eq(&copy.c.cfg->volume, &v->id))
                continue;
            copy.epoch = copy_epoch(s, &copy);
            err = add_copy(&list, &n, s, &copy);
        }
    }
    if (err) {
        free(list);
        return err;
    }
    for (uint32_t i = 0; i < n; i++)
        qsort(list[i].copies, list[i].n, sizeof(list[i].copies[0]),
              newest_first);
    if (n)
        qsort(list, n, sizeof(*list), by_place);
    *ret_c = list;
    *ret_n = n;
    return 0;
}

void salvage_chain_release(struct salvage_chain *c)
{
    free(c->path);
    free(c->by_extent);
}

/* ---- the path ---- */

/* The first of the chain's refs that is not before (seq, epoch). */
static uint32_t ref_at(const struct salvage_chain *c, struct kt_rid id)
{
    const struct salvage *s = c->s;
    uint32_t lo = 0, hi = s->n_refs;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct look_rec *r = s->refs[mid].r;
        bool before = r->chain != c->chain  ? r->chain < c->chain
                      : r->id.seq != id.seq ? r->id.seq < id.seq
                                            : r->id.epoch < id.epoch;
        if (before)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const struct salvage_ref *ref_find(const struct salvage_chain *c,
                                          struct kt_rid id)
{
    uint32_t i = ref_at(c, id);
    const struct salvage_ref *f = &c->s->refs[i];
    if (i == c->s->n_refs || f->r->chain != c->chain ||
        !kt_rid_eq(f->r->id, id) || (f->r->flags & KT_RF_SKIP))
        return NULL;
    return f;
}

static bool may_follow(const struct salvage_chain *c,
                       const struct salvage_ref *f)
{
    if (!f->r->ahead || (f->r->flags & KT_RF_SKIP))
        return false;
    if (f->r->id.epoch >= c->copies[0].epoch)
        return true;
    for (unsigned i = 0; i < c->n; i++)
        if (c->copies[i].store == f->store)
            return c->copies[i].c.whole &&
                   c->copies[i].epoch == c->copies[0].epoch;
    return false;
}

static int path_add(struct salvage_chain *c, const struct salvage_ref *f)
{
    if ((c->n_path & (c->n_path - 1)) == 0) {
        uint32_t cap = c->n_path ? 2 * c->n_path : 1;
        void *p = realloc(c->path, cap * sizeof(c->path[0]));
        if (!p)
            return -ENOMEM;
        c->path = p;
    }
    c->path[c->n_path++] = *f;
    return 0;
}

static bool on_path(const struct salvage_chain *c, struct kt_rid id)
{
    if (kt_rid_eq(id, c->tip))
        return true;
    if (!c->n_path)
        return false;
    uint64_t first = c->path[0].r->id.seq;
    if (id.seq + 1 == first)
        return kt_rid_eq(id, c->path[0].r->prev);
    return id.seq >= first && id.seq - first < c->n_path &&
           kt_rid_eq(id, c->path[id.seq - first].r->id);
}

static bool is_exact(const struct salvage_chain *c,
                     const struct salvage_copy *k)
{
    return k->c.whole &&
           kt_id_eq(&k->c.cfg->history, &c->copies[0].c.cfg->history) &&
           on_path(c, k->c.applied);
}

/* The path that ends with tip, as far back as there are records. Whether it
 * begins in a copy, or -errno. */
static int walk_back(struct salvage_chain *c, struct kt_rid tip)
{
    const struct salvage_ref *f;
    int err = 0;
    c->tip = tip;
    c->n_path = 0;
    for (f = ref_find(c, tip); f && !err; f = ref_find(c, f->r->prev))
        err = path_add(c, f);
    for (uint32_t i = 0; i < c->n_path / 2; i++) {
        struct salvage_ref t = c->path[i];
        c->path[i] = c->path[c->n_path - 1 - i];
        c->path[c->n_path - 1 - i] = t;
    }
    for (unsigned i = 0; i < c->n && !err; i++)
        if (is_exact(c, &c->copies[i]))
            return true;
    return err;
}

/* The newest record there is: in the newest copy, or behind damage. */
static struct kt_rid newest(const struct salvage_chain *c)
{
    const struct salvage *s = c->s;
    struct kt_rid tip = c->copies[0].c.applied;
    uint32_t i = ref_at(c, (struct kt_rid){0, tip.seq + 1});
    for (; i < s->n_refs && s->refs[i].r->chain == c->chain; i++)
        if (kt_rid_cmp(s->refs[i].r->id, tip) > 0 && may_follow(c, &s->refs[i]))
            tip = s->refs[i].r->id;
    return tip;
}

/* One of the records with that number, from which the path begins in a copy. */
static int walk_from_seq(struct salvage_chain *c, uint64_t seq)
{
    const struct salvage *s = c->s;
    uint32_t i = ref_at(c, (struct kt_rid){0, seq});
    int r = 0;
    for (; !r && i < s->n_refs && s->refs[i].r->chain == c->chain &&
           s->refs[i].r->id.seq == seq;
         i++)
        if (s->refs[i].r->id.epoch <= c->copies[0].epoch)
            r = walk_back(c, s->refs[i].r->id);
    return r;
}

/* What the newest configuration began with was acknowledged, whatever the logs
 * still show. When nothing leads there, the newest copy is as good as it gets,
 * being of one moment, and c->cut says that there was more. */
static int make_path(struct salvage_chain *c)
{
    const struct salvage_copy *first = &c->copies[0];
    struct kt_rid tip = newest(c);
    uint64_t least = first->c.cfg->base_seq;
    int r = tip.seq >= least ? walk_back(c, tip) : walk_from_seq(c, least);
    c->cut = r == 0;
    if (r == 0)
        r = walk_back(c, first->c.applied);
    return r < 0 ? r : 0;
}

/* ---- what the copies are worth ---- */

static int by_extent(const void *va, const void *vb, void *arg)
{
    const struct salvage_chain *c = arg;
    uint32_t a = *(const uint32_t *)va, b = *(const uint32_t *)vb;
    uint32_t ea = c->path[a].r->extent, eb = c->path[b].r->extent;
    return ea != eb ? (ea > eb) - (ea < eb) : (a > b) - (a < b);
}

static int exact_first(const void *va, const void *vb)
{
    const struct salvage_copy *a = va, *b = vb;
    return a->exact != b->exact ? (a->exact ? -1 : 1) : newest_first(va, vb);
}

int salvage_chain_judge(struct salvage_chain *c)
{
    const struct salvage_copy *first = &c->copies[0];
    c->tip = first->c.applied;
    int err = first->c.whole ? make_path(c) : 0;
    if (err)
        return err;
    c->whole = first->c.whole;
    c->unsure = c->whole;
    for (unsigned i = 0; i < c->n; i++)
        if (c->copies[i].epoch == first->epoch && c->copies[i].c.whole &&
            !look_info(c->s->stores[c->copies[i].store].look)->unknown)
            c->unsure = false;
    for (unsigned i = 0; i < c->n; i++)
        c->copies[i].exact = c->whole && is_exact(c, &c->copies[i]);
    qsort(c->copies, c->n, sizeof(c->copies[0]), exact_first);
    c->by_extent = calloc(c->n_path ? c->n_path : 1, sizeof(uint32_t));
    if (!c->by_extent)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_path; i++)
        c->by_extent[i] = i;
    qsort_r(c->by_extent, c->n_path, sizeof(uint32_t), by_extent, c);
    return 0;
}

const struct salvage_ref *salvage_writer(const struct salvage_chain *c,
                                         unsigned i, uint32_t sector)
{
    uint32_t w = c->writer[sector];
    if (!w || c->path[w - 1].r->id.seq <= c->copies[i].c.applied.seq)
        return NULL;
    return &c->path[w - 1];
}
