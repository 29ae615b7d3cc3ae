/* SPDX-License-Identifier: BSD-3-Clause */
/* The in-memory twin: what each operation does, at its start and at its
 * completion. op.tag: append: [0] its lsn, [1] its mem_rec (0: refused, see
 * op.err); sync: [0] what was complete at the call. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/sum.h"
#include "replicator/store/mem_priv.h"

static void notify(struct store *s)
{
    if (s->opts.notify)
        s->opts.notify(s->opts.notify_arg);
}

static void op_ready(struct store *s, struct store_op *op, int err)
{
    op->err = err;
    store_queue_push(&s->ready, op);
    notify(s);
}

static void op_start(struct store *s, struct store_op *op, uint32_t kind)
{
    op->store = s;
    op->kind = kind;
    op->err = 0;
    op->start_us = 0;
    op->tag[0] = op->tag[1] = 0;
    if (s->err) {
        op_ready(s, op, KT_E_FAULTY);
        return;
    }
    store_queue_push(&s->pending, op);
    if (s->auto_complete)
        notify(s);
}

struct mem_rec *mem_append_rec(const struct store_append *r)
{
    return (struct mem_rec *)(uintptr_t)r->op.tag[1];
}

void mem_op_forget(struct store_op *op)
{
    if (op->kind == STORE_APPEND)
        mem_rec_unref(mem_append_rec((struct store_append *)op));
    if (op->kind == STORE_SAVE)
        free((void *)(uintptr_t)op->tag[1]);
    op->tag[1] = 0;
}

uint64_t mem_completed(const struct store *s)
{
    return s->completed_lsn;
}

/* The store is faulty: everything pending fails. */
static void fault(struct store *s)
{
    s->err = -EIO;
    struct store_op *op;
    while ((op = store_queue_pop(&s->pending))) {
        mem_op_forget(op);
        op_ready(s, op, KT_E_FAULTY);
    }
}

/* ---- save, drop, sync ---- */

void store_save(struct store *s, struct store_save *r)
{
    /* cfg is copied now: what the caller does to it later is not saved. */
    struct kt_cfg *copy = NULL;
    if (r->cfg && !s->err) {
        copy = malloc(sizeof(*copy));
        assert(copy);
        *copy = *r->cfg;
    }
    op_start(s, &r->op, STORE_SAVE);
    r->op.tag[0] = r->promised;
    r->op.tag[1] = (uint64_t)(uintptr_t)copy;
}

static void save_into(struct store_chain *c, const struct store_save *r)
{
    const struct kt_cfg *cfg = (const void *)(uintptr_t)r->op.tag[1];
    c->promised = r->op.tag[0];
    c->whole = r->whole;
    if (cfg) {
        c->have_cfg = true;
        c->cfg = *cfg;
    }
}

void mem_save(struct store *s, const struct store_save *r)
{
    struct store_chain *c =
        mem_chain_get(&s->disk->chains, r->chain->id, r->chain->n_extents);
    assert(c);
    save_into(c, r);
}

void store_drop(struct store *s, struct store_drop *r)
{
    op_start(s, &r->op, STORE_DROP);
}

static void drop_complete(struct store *s, struct store_chain *c)
{
    for (uint32_t i = 0; i < c->n_extents; i++)
        if (c->ext[i] && c->ext[i]->tail.alloc)
            s->owned--;
    store_ungrant(s, c);
    mem_disk_drop(s->disk, c->id);
    mem_chain_remove(&s->chains, c->id);
}

void store_sync(struct store *s, struct store_sync *r)
{
    op_start(s, &r->op, STORE_SYNC);
    r->op.tag[0] = s->completed_lsn;
}

static void harden(struct store *s, uint64_t lsn)
{
    mem_disk_harden(s->disk, lsn);
    for (struct store_chain *c = s->chains; c; c = c->next) {
        struct store_chain *b = mem_chain_find(s->disk->chains, c->id);
        if (b)
            c->durable = kt_min_u64(b->applied.seq, c->applied.seq);
    }
}

/* ---- append ---- */

/* Takes a slot for the extent if the record needs one. */
static int take_slot(struct store *s, struct store_chain *c,
                     const struct kt_record *r)
{
    if (r->op == KT_OP_RESET)
        return 0;
    struct mem_extent *e = mem_chain_extent(c, r->extent);
    if (!e)
        return -ENOMEM;
    struct extent_meta tail = e->tail;
    fold_extent(&tail, r);
    if (tail.alloc && !e->tail.alloc) {
        if (c->granted) {
            c->granted--;
            s->set_aside--;
        } else if (s->owned + s->set_aside >= s->disk->slots) {
            return -ENOSPC;
        }
        s->owned++;
    }
    if (!tail.alloc && e->tail.alloc)
        s->owned--;
    e->tail = tail;
    return 0;
}

static int append_start(struct store *s, struct store_append *r)
{
    struct store_chain *c = r->chain;
    struct store_mem_disk *d = s->disk;
    if (r->rec.chain != c->id || fold_invalid(&r->rec, r->buf, c->n_extents))
        return KT_E_INVALID;
    int err = fold_follows(&r->rec, c->tail);
    if (err)
        return err;
    struct mem_rec *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    err = take_slot(s, c, &r->rec);
    if (err) {
        free(m);
        return err;
    }
    if (fold_is_history(&r->rec) || r->rec.op == KT_OP_RESET)
        c->tail = r->rec.id;
    m->refs = 2; /* the log's and the operation's */
    m->lsn = ++d->last_lsn;
    m->n_extents = c->n_extents;
    m->rec = r->rec;
    m->buf = kt_buf_ref(r->buf);
    *d->log_last = m;
    d->log_last = &m->next;
    r->op.tag[0] = m->lsn;
    r->op.tag[1] = (uint64_t)(uintptr_t)m;
    return 0;
}

void store_append(struct store *s, struct store_append *r)
{
    op_start(s, &r->op, STORE_APPEND);
    if (!s->err)
        r->op.err = append_start(s, r);
}

static int append_complete(struct store *s, struct store_append *r)
{
    struct mem_rec *m = mem_append_rec(r);
    if (!m)
        return r->op.err;
    s->completed_lsn = kt_max_u64(s->completed_lsn, m->lsn);
    mem_chain_fold(r->chain, m, s->disk->retain);
    if (m->rec.op == KT_OP_RESET)
        r->chain->acked = r->chain->durable = m->rec.id.seq;
    if (m->rec.flags & KT_RF_FUA && KT_RULE(fua_synced))
        harden(s, m->lsn);
    mem_op_forget(&r->op);
    return 0;
}

/* ---- reads ---- */

void store_read(struct store *s, struct store_read *r)
{
    op_start(s, &r->op, STORE_READ);
}

void store_mend(struct store *s, struct store_mend *r)
{
    op_start(s, &r->op, STORE_MEND);
    r->ret_mended = r->ret_left = 0;
}

/* Sums do not rot here, so theirs has to be ours. */
static int mend_complete(struct store *s, struct store_mend *r)
{
    uint32_t first = r->off / KT_SECTOR_BYTES, n = r->len / KT_SECTOR_BYTES;
    const struct mem_extent *e =
        r->extent < r->chain->n_extents ? r->chain->ext[r->extent] : NULL;
    for (uint32_t i = 0; e && i < n; i++) {
        uint32_t k = first + i;
        if (!(e->rot[k / 8] >> (k % 8) & 1))
            continue;
        bool same = r->buf->sums[i] == e->s[k].sum;
        r->ret_mended += same;
        r->ret_left += !same;
        if (same)
            mem_mend_sector(s->disk, r->chain->id, r->extent, k);
    }
    return 0;
}

static uint32_t first_bad(const struct mem_extent *e, uint32_t i)
{
    while (!e->s[i].sum ||
           kt_sum64(e->s[i].data, KT_SECTOR_BYTES) == e->s[i].sum)
        i++;
    return i * KT_SECTOR_BYTES;
}

static int read_complete(struct store_read *r)
{
    uint32_t first = r->off / KT_SECTOR_BYTES, n = r->len / KT_SECTOR_BYTES;
    if (r->extent >= r->chain->n_extents || r->len == 0 ||
        (r->off | r->len) % KT_SECTOR_BYTES || r->len > KT_RECORD_BYTES_MAX ||
        r->off > KT_EXTENT_BYTES - r->len)
        return KT_E_INVALID;
    struct kt_buf *b = kt_buf_new(r->len, n);
    if (!b)
        return -ENOMEM;
    b->n_sums = n;
    memset(b->sums, 0, n * sizeof(b->sums[0]));
    const struct mem_extent *e = r->chain->ext[r->extent];
    for (uint32_t i = first; e && i < first + n; i++) {
        if (!e->s[i].sum)
            continue;
        b->sums[i - first] = e->s[i].sum;
        memcpy(b->data + b->data_len, e->s[i].data, KT_SECTOR_BYTES);
        b->data_len += KT_SECTOR_BYTES;
    }
    if (!kt_buf_check(b) && KT_RULE(sum_checked)) {
        kt_buf_unref(b);
        r->ret_bad = first_bad(e, first);
        return KT_E_CORRUPT;
    }
    r->ret_buf = b;
    r->ret_seq = r->chain->applied.seq;
    return 0;
}

void store_sums(struct store *s, struct store_sums *r)
{
    op_start(s, &r->op, STORE_SUMS);
}

static void extent_sums(const struct mem_extent *e, uint64_t *ret_sums)
{
    for (uint32_t i = 0; i < KT_EXTENT_SECTORS; i++)
        ret_sums[i] = e ? e->s[i].sum : 0;
}

static int sums_complete(struct store_sums *r)
{
    if (r->extent >= r->chain->n_extents)
        return KT_E_INVALID;
    const struct mem_extent *e = r->chain->ext[r->extent];
    struct extent_meta blank = {0};
    extent_sums(e, r->ret_sums);
    r->ret_id = e ? e->meta.id : blank.id;
    r->ret_state = extent_state(e ? &e->meta : &blank);
    return 0;
}

void store_digest(struct store *s, struct store_digest *r)
{
    op_start(s, &r->op, STORE_DIGEST);
}

static int digest_complete(struct store_digest *r)
{
    uint64_t sums[KT_EXTENT_SECTORS];
    uint32_t i = r->first;
    r->ret_n = 0;
    r->ret_at = r->chain->applied;
    for (; i < r->chain->n_extents && r->ret_n < r->max_rows; i++) {
        const struct mem_extent *e = r->chain->ext[i];
        if (!e || extent_is_blank(&e->meta))
            continue;
        extent_sums(e, sums);
        r->rows[r->ret_n++] = (struct kt_digest_row){
            .extent = i,
            .state = extent_state(&e->meta),
            .id = e->meta.id,
            .sum = extent_digest(sums),
        };
    }
    r->ret_next = i < r->chain->n_extents ? i : UINT32_MAX;
    return 0;
}

void store_log_read(struct store *s, struct store_log_read *r)
{
    op_start(s, &r->op, STORE_LOG_READ);
}

static int log_read_complete(struct store_log_read *r)
{
    uint64_t bytes = 0, seq = r->after + 1;
    r->ret_n = 0;
    for (; seq <= r->chain->applied.seq; seq++) {
        struct mem_rec *m = mem_chain_hist(r->chain, seq);
        if (!m)
            return -ENODATA;
        if (r->ret_n == kt_min_u64(r->max_records, STORE_LOG_READ_MAX) ||
            (r->ret_n && bytes + m->rec.len > KT_EXTENT_BYTES && m->buf))
            break;
        bytes += m->buf ? m->buf->data_len : 0;
        r->recs[r->ret_n] = m->rec;
        r->bufs[r->ret_n++] = kt_buf_ref(m->buf);
    }
    return 0;
}

/* ---- completion ---- */

static unsigned fault_of(const struct store_op *op)
{
    switch (op->kind) {
    case STORE_APPEND:
        return STORE_MEM_FAIL_APPEND;
    case STORE_SYNC:
        return STORE_MEM_FAIL_SYNC;
    case STORE_SAVE:
    case STORE_DROP:
        return STORE_MEM_FAIL_SAVE;
    case STORE_READ:
        return STORE_MEM_BAD_READ;
    default:
        return STORE_MEM_BAD_META;
    }
}

static int complete_save(struct store *s, struct store_op *op)
{
    mem_save(s, (struct store_save *)op);
    save_into(store_op_chain(op), (struct store_save *)op);
    mem_op_forget(op);
    return 0;
}

static int complete_sync(struct store *s, struct store_sync *r)
{
    harden(s, r->op.tag[0]);
    r->ret_durable = r->chain->durable;
    return 0;
}

static int op_effects(struct store *s, struct store_op *op)
{
    switch ((enum store_kind)op->kind) {
    case STORE_SAVE:
        return complete_save(s, op);
    case STORE_APPEND:
        return append_complete(s, (struct store_append *)op);
    case STORE_SYNC:
        return complete_sync(s, (struct store_sync *)op);
    case STORE_READ:
        return read_complete((struct store_read *)op);
    case STORE_MEND:
        return mend_complete(s, (struct store_mend *)op);
    case STORE_SUMS:
        return sums_complete((struct store_sums *)op);
    case STORE_DIGEST:
        return digest_complete((struct store_digest *)op);
    case STORE_LOG_READ:
        return log_read_complete((struct store_log_read *)op);
    case STORE_DROP:
        drop_complete(s, store_op_chain(op));
        return 0;
    }
    assert(!"an operation of no kind");
    return 0;
}

void mem_complete(struct store *s, struct store_op *op)
{
    unsigned f = fault_of(op);
    bool fails = s->fail & f;
    s->fail &= ~f;
    if (fails && f == STORE_MEM_BAD_READ && op->kind == STORE_READ) {
        struct store_read *r = kt_container_of(op, struct store_read, op);
        r->ret_bad = r->off;
    }
    if (fails && !(f & (STORE_MEM_BAD_READ | STORE_MEM_BAD_META))) {
        fault(s);
        return;
    }
    store_queue_take(&s->pending, op);
    op_ready(s, op, fails ? KT_E_CORRUPT : op_effects(s, op));
}
