/* SPDX-License-Identifier: BSD-3-Clause */
/* From the index and the log to what was there before. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/disk.h"

/* Chains that were dropped: the log may still hold records of theirs. */
struct tomb {
    uint64_t chain, lsn;
};

struct loader {
    struct scan scan;
    struct store *s;
    struct index_log log;
    bool have_log;
    struct tomb *tombs;
    uint32_t n_tombs;
    uint64_t records, fresh; /* seen in the log */
};

/* ---- the index ---- */

static int on_log(void *arg, const struct index_log *r)
{
    struct loader *l = arg;
    l->log = *r;
    l->have_log = true;
    return 0;
}

static int add_tomb(struct loader *l, const struct index_ckpt *r)
{
    void *p = realloc(l->tombs, (l->n_tombs + 1) * sizeof(struct tomb));
    if (!p)
        return -ENOMEM;
    l->tombs = p;
    l->tombs[l->n_tombs++] = (struct tomb){r->chain, r->born_lsn};
    return 0;
}

static int on_ckpt(void *arg, const struct index_ckpt *r)
{
    struct loader *l = arg;
    if (r->dropped)
        return add_tomb(l, r);
    struct store_chain *c = chain_get(l->s, r->chain, r->n_extents);
    if (!c)
        return -ENOMEM;
    c->ck = *r;
    c->applied = c->tail = r->applied;
    c->durable = r->applied.seq; /* only what is durable goes to the slots */
    c->dedup = r->dedup;
    return 0;
}

static uint64_t tomb_lsn(const struct loader *l, uint64_t chain)
{
    for (uint32_t i = 0; i < l->n_tombs; i++)
        if (l->tombs[i].chain == chain)
            return l->tombs[i].lsn;
    return 0;
}

static struct store_chain *get_chain(struct loader *l, uint64_t id,
                                     uint32_t n_extents)
{
    struct store_chain *c = store_chain_find(l->s, id);
    if (c)
        return c;
    c = chain_get(l->s, id, n_extents);
    if (c)
        c->ck.born_lsn = c->ck.lsn = tomb_lsn(l, id);
    return c;
}

static int on_cfg(void *arg, const struct index_cfg *r)
{
    struct store_chain *c = get_chain(arg, r->chain, r->n_extents);
    if (!c)
        return -ENOMEM;
    if (c->n_extents != r->n_extents)
        return KT_E_CORRUPT;
    c->promised = r->promised;
    c->have_cfg = r->have_cfg;
    c->cfg = r->cfg;
    c->whole = r->whole;
    return 0;
}

static int on_ext(void *arg, const struct index_ext *r)
{
    struct loader *l = arg;
    struct store_chain *c = store_chain_find(l->s, r->chain);
    if (!c || r->extent >= c->n_extents)
        return KT_E_CORRUPT;
    struct extent *e = chain_extent(c, r->extent);
    if (!e)
        return -ENOMEM;
    if (r->slot != SLOT_NONE && !slots_mark(l->s, r->slot))
        return KT_E_CORRUPT;
    e->vis = e->tail = e->slotm = r->meta;
    e->slot = r->slot;
    memcpy(e->presence, r->presence, sizeof(e->presence));
    return 0;
}

/* ---- the log ---- */

static struct loader *loader_of(struct scan *sc)
{
    return kt_container_of(sc, struct loader, scan);
}

static void on_gap(struct scan *sc)
{
    struct store *s = loader_of(sc)->s;
    for (uint32_t i = 0; i < s->n_chains; i++)
        s->chains[i]->log_n = 0;
}

static struct kt_buf *copy_payload(const struct scan_rec *r)
{
    const struct log_rec_head *h = r->head;
    struct kt_buf *b = kt_buf_new(h->data_len, h->n_sums);
    if (!b)
        return NULL;
    b->n_sums = h->n_sums;
    b->data_len = h->data_len;
    memcpy(b->sums, r->sums, 8 * (size_t)h->n_sums);
    memcpy(b->data, r->data, h->data_len);
    return b;
}

static int fold_tail(struct store_chain *c, struct rec *r)
{
    if (fold_is_history(&r->rec) || r->rec.op == KT_OP_RESET)
        c->tail = r->rec.id;
    if (r->rec.op == KT_OP_RESET)
        return 0;
    struct extent *e = chain_extent(c, r->rec.extent);
    if (!e)
        return -ENOMEM;
    bool had = e->tail.alloc, freed = extent_frees(e);
    fold_extent(&e->tail, &r->rec);
    r->takes = e->tail.alloc && !had;
    e->takes += r->takes;
    if (r->takes && !extent_holds(e)) {
        e->reserved = true;
        c->store->slots.reserved++;
    }
    c->store->slots.freeing += extent_frees(e);
    c->store->slots.freeing -= freed;
    return 0;
}

static int fold_record(struct store_chain *c, const struct scan_rec *found,
                       struct kt_buf *buf)
{
    struct store *s = c->store;
    struct rec *r = rec_new(s);
    if (!r) {
        kt_buf_unref(buf);
        return -ENOMEM;
    }
    r->chain = c;
    r->seg = found->seg;
    r->off = found->off;
    r->lsn = found->head->lsn;
    r->rec = found->head->rec;
    r->buf = buf;
    int err = 0;
    if (fold_invalid(&r->rec, buf, c->n_extents) ||
        fold_follows(&r->rec, c->tail))
        err = KT_E_CORRUPT;
    if (!err)
        err = fold_tail(c, r);
    if (err) {
        rec_free(s, r);
        return err;
    }
    return overlay_fold(c, r);
}

/* In the slots already: only where it stands is of use. */
static int note_record(struct store_chain *c, const struct scan_rec *r)
{
    const struct log_rec_head *h = r->head;
    if (h->rec.op == KT_OP_RESET)
        c->log_n = 0;
    else if (fold_is_history(&h->rec))
        chain_log_push(
            c, &h->rec,
            (struct log_at){r->seg->no, r->off, h->data_len, h->n_sums});
    return 0;
}

static int on_record(struct scan *sc, const struct scan_rec *r)
{
    struct loader *l = loader_of(sc);
    const struct log_rec_head *h = r->head;
    struct store_chain *c = store_chain_find(l->s, h->rec.chain);
    l->records++;
    l->fresh += r->fresh;
    if (!c) {
        if (!r->fresh || h->lsn <= tomb_lsn(l, h->rec.chain))
            return 0; /* of a chain that was dropped */
        c = get_chain(l, h->rec.chain, h->n_extents);
        if (!c)
            return -ENOMEM;
    }
    if (h->lsn <= c->ck.born_lsn)
        return 0;
    if (!r->fresh || h->lsn <= c->ck.lsn)
        return note_record(c, r);
    if (h->n_extents != c->n_extents)
        return KT_E_CORRUPT;
    struct kt_buf *b = NULL;
    if (h->n_sums || h->data_len) {
        b = copy_payload(r);
        if (!b)
            return -ENOMEM;
    }
    return fold_record(c, r, b);
}

/* Nothing at off of g may ever look like a record again. */
static int blank(struct store *s, struct seg *g, uint32_t off)
{
    uint8_t b[LOG_REC_HEAD_BYTES], zero[LOG_REC_HEAD_BYTES] = {0};
    if (off > s->super.seg_bytes - sizeof(b))
        return 0;
    int err = kt_pread_all(g->fd, b, sizeof(b), off);
    if (!err && memcmp(b, zero, sizeof(b)) != 0)
        err = kt_pwrite_all(g->fd, zero, sizeof(zero), off);
    return err;
}

/* Cuts the log behind its last record; what comes after cur becomes spare;
 * everything found is made durable (B16). */
static int cut(struct store *s)
{
    int err = blank(s, s->cur, s->cur->used);
    for (struct seg *g = s->cur->next; g && !err; g = g->next) {
        g->last_lsn = 0;
        g->used = LOG_SEG_HEAD_BYTES;
        err = blank(s, g, g->used);
        s->n_segs--;
    }
    s->spare = s->cur->next;
    s->cur->next = NULL;
    for (int i = 0; i < 2; i++)
        for (struct seg *g = i ? s->spare : s->segs; g && !err; g = g->next)
            if (fdatasync(g->fd))
                err = -errno;
    return err;
}

/* Every spare must follow its predecessor by one. */
static void trim_spares(struct store *s)
{
    uint64_t no = s->cur->no;
    struct seg **at = &s->spare;
    while (*at && (*at)->no == no + 1) {
        no++;
        at = &(*at)->next;
    }
    while (*at) {
        struct seg *g = *at;
        char name[32];
        *at = g->next;
        seg_name(g->no, name);
        unlinkat(s->dirfd, name, 0);
        seg_free(g);
    }
}

static int forget_tombs(struct loader *l)
{
    int err = 0;
    for (uint32_t i = 0; i < l->n_tombs && !err; i++) {
        struct tomb *t = &l->tombs[i];
        if (t->lsn >= l->log.lsn || store_chain_find(l->s, t->chain))
            continue;
        err = index_begin(l->s->index);
        if (err)
            return err;
        err = index_forget_tomb(l->s->index, t->chain);
        if (err)
            index_abort(l->s->index);
        else
            err = index_commit(l->s->index);
    }
    return err;
}

/* The index is whole, and older than the one the store was closed with: the
 * number of its newest commit was damaged, and LMDB went by the one before. A
 * start that was cut off may have made it newer. Of a store that was not closed
 * nobody can say. */
static bool is_of_another_time(const struct store *s)
{
    const struct super *u = &s->super;
    return u->clean && !u->one_bad && u->index_commits &&
           index_commits(s->index) < u->index_commits;
}

static int load_index(struct loader *l, bool look, struct why *w)
{
    struct store *s = l->s;
    struct index_visitor v = {on_log, on_ckpt, on_cfg, on_ext, l};
    int err = index_begin(s->index);
    if (err)
        return why_set(w, err, "cannot read the index of the store in %s: %s",
                       s->dir, kt_strerror(err));
    bool format_1 = s->super.version == 1;
    err = index_visit(s->index, &v, format_1);
    index_abort(s->index);
    if (!err && is_of_another_time(s))
        err = KT_E_CORRUPT;
    if (!err && format_1 && !look) /* from now on it says what belongs to it */
        err = index_begin(s->index);
    if (!err && format_1 && !look)
        err = index_commit(s->index);
    if (!err && !l->have_log)
        err = KT_E_CORRUPT;
    if (!err &&
        (l->log.off < LOG_SEG_HEAD_BYTES || l->log.off > s->super.seg_bytes))
        err = KT_E_CORRUPT;
    if (err)
        return why_set(w, err,
                       "the index of the store in %s cannot be used: %s; the "
                       "other replicas have what it held: move the directory "
                       "away and start with an empty one",
                       s->dir, kt_strerror(err));
    return 0;
}

static int read_log(struct loader *l, struct why *w)
{
    struct store *s = l->s;
    struct scan *sc = &l->scan;
    *sc = (struct scan){
        .tail = l->log,
        .durable_lsn = kt_max_u64(l->log.durable_lsn, s->super.durable_lsn),
        .same_boot =
            !s->super.one_bad && kt_id_eq(&s->super.boot, &s->opts.boot),
        .record = on_record,
        .gap = on_gap,
    };
    if (sc->same_boot)
        sc->durable_lsn = kt_max_u64(sc->durable_lsn, mark_read(s));
    return scan_log(s, sc, w);
}

static int load_log(struct loader *l, struct why *w)
{
    struct store *s = l->s;
    struct scan *sc = &l->scan;
    int err = read_log(l, w);
    if (err)
        return err;
    err = cut(s);
    trim_spares(s);
    if (!err)
        err = forget_tombs(l);
    if (err)
        return why_set(w, err, "cannot write in the store in %s: %s", s->dir,
                       kt_strerror(err));
    s->tail_lsn = l->log.lsn;
    s->next_lsn = sc->end_lsn + 1;
    s->written_lsn = s->durable_lsn = sc->end_lsn;
    s->written_seen = s->durable_seen = sc->end_lsn;
    s->super.incarnation = kt_max_u64(s->super.incarnation, sc->incarnation);
    return 0;
}

int replay(struct store *s, struct why *w)
{
    struct loader l = {.s = s};
    int err = load_index(&l, false, w);
    if (!err)
        err = load_log(&l, w);
    free(l.tombs);
    if (err)
        return err;
    for (uint32_t i = 0; i < s->n_chains; i++)
        chain_durable(s->chains[i]);
    return 0;
}

int replay_look(struct store *s, struct scan_result *ret_r, bool *ret_index,
                struct why *w)
{
    struct loader l = {.s = s};
    int err = load_index(&l, true, w);
    *ret_index = !err;
    if (!err)
        err = read_log(&l, w);
    free(l.tombs);
    *ret_r = (struct scan_result){.records = l.records,
                                  .fresh = l.fresh,
                                  .end_lsn = l.scan.end_lsn,
                                  .durable_lsn = l.scan.durable_lsn};
    return err;
}
