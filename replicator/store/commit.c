/* SPDX-License-Identifier: BSD-3-Clause */
/* Saves and drops: commits of the index by the meta worker. All saves that
 * wait share one commit; a drop waits for the batch that is under way. */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/err.h"
#include "replicator/store/disk.h"

/* ---- saves ---- */

/* A save's row, in op.tag[1] until it is done. */
static struct index_cfg *row_of(const struct store_op *op)
{
    return (struct index_cfg *)(uintptr_t)op->tag[1];
}

/* The row a chain will have after r: what it had, changed. */
static struct index_cfg *make_row(struct store_chain *c,
                                  const struct store_save *r)
{
    if (!c->save_row) {
        c->save_row = calloc(1, sizeof(*c->save_row));
        if (!c->save_row)
            return NULL;
        c->save_row->chain = c->id;
        c->save_row->n_extents = c->n_extents;
        c->save_row->have_cfg = c->have_cfg;
        c->save_row->cfg = c->cfg;
    }
    c->save_row->promised = r->promised;
    c->save_row->whole = r->whole;
    if (r->cfg) {
        c->save_row->have_cfg = true;
        c->save_row->cfg = *r->cfg;
    }
    struct index_cfg *row = malloc(sizeof(*row));
    if (row)
        *row = *c->save_row;
    return row;
}

void store_save(struct store *s, struct store_save *r)
{
    op_start(s, &r->op, STORE_SAVE);
    struct index_cfg *row = s->err ? NULL : make_row(r->chain, r);
    if (!row) {
        op_ready(s, &r->op, s->err ? KT_E_FAULTY : -ENOMEM);
        return;
    }
    r->op.tag[1] = (uint64_t)(uintptr_t)row;
    store_queue_push(&s->saves, &r->op);
    commit_poll(s);
}

struct save_job {
    struct job job;
    struct store_queue ops;
};

static int save_run(struct job *j)
{
    struct save_job *p = kt_container_of(j, struct save_job, job);
    struct index *ix = j->store->index;
    int err = index_begin(ix);
    if (err)
        return err;
    for (struct store_op *op = p->ops.first; op && !err; op = op->next)
        err = index_put_cfg(ix, row_of(op));
    if (err) {
        index_abort(ix);
        return err;
    }
    return index_commit(ix);
}

static void save_op_done(struct store *s, struct store_op *op, int err)
{
    struct store_chain *c = store_op_chain(op);
    struct index_cfg *row = row_of(op);
    if (!err) {
        c->promised = row->promised;
        c->whole = row->whole;
        c->have_cfg = row->have_cfg;
        c->cfg = row->cfg;
    }
    free(row);
    op_ready(s, op, err ? KT_E_FAULTY : 0);
}

static void save_done(struct job *j)
{
    struct store *s = j->store;
    struct save_job *p = kt_container_of(j, struct save_job, job);
    if (j->err && !s->err)
        store_fault(s, j->err);
    struct store_op *op;
    while ((op = store_queue_pop(&p->ops)))
        save_op_done(s, op, j->err);
    s->saving = false;
    free(p);
}

static void start_saves(struct store *s)
{
    struct save_job *p = calloc(1, sizeof(*p));
    if (!p)
        return; /* tried again at the next poll */
    store_queue_init(&p->ops);
    struct store_op *op;
    while ((op = store_queue_pop(&s->saves)))
        store_queue_push(&p->ops, op);
    p->job.run = save_run;
    p->job.done = save_done;
    s->saving = true;
    job_post(&s->meta, &p->job);
}

/* ---- drops ---- */

struct drop_job {
    struct job job;
    struct store_drop *op;
    uint64_t lsn;
};

static int drop_run(struct job *j)
{
    struct drop_job *p = kt_container_of(j, struct drop_job, job);
    struct index *ix = j->store->index;
    int err = index_begin(ix);
    if (err)
        return err;
    err = index_drop(ix, p->op->chain->id, p->lsn);
    if (err) {
        index_abort(ix);
        return err;
    }
    return index_commit(ix);
}

static void give_slots(struct store *s, struct store_chain *c)
{
    for (uint32_t i = 0; i < c->n_extents; i++) {
        const struct extent *e = c->ext[i];
        if (!e)
            continue;
        s->slots.freeing -= extent_frees(e);
        s->slots.reserved -= e->reserved;
        if (e->slot != SLOT_NONE)
            slots_give(s, e->slot);
    }
}

static void drop_done(struct job *j)
{
    struct store *s = j->store;
    struct drop_job *p = kt_container_of(j, struct drop_job, job);
    struct store_chain *c = p->op->chain;
    if (j->err && !s->err)
        store_fault(s, j->err);
    if (!j->err) {
        give_slots(s, c);
        store_ungrant(s, c);
        chain_forget(s, c);
        append_retry_held(s);
    }
    op_ready(s, &p->op->op, j->err ? KT_E_FAULTY : 0);
    free(p);
}

static bool start_drop(struct store *s)
{
    struct drop_job *p = calloc(1, sizeof(*p));
    if (!p)
        return false;
    p->op = (struct store_drop *)store_queue_pop(&s->drops);
    p->lsn = s->next_lsn - 1;
    p->job.run = drop_run;
    p->job.done = drop_done;
    job_post(&s->meta, &p->job);
    return true;
}

void store_drop(struct store *s, struct store_drop *r)
{
    op_start(s, &r->op, STORE_DROP);
    if (s->err) {
        op_ready(s, &r->op, KT_E_FAULTY);
        return;
    }
    assert(!r->chain->flight);
    r->chain->dropping = true;
    store_queue_push(&s->drops, &r->op);
    commit_poll(s);
}

void commit_poll(struct store *s)
{
    if (s->err)
        return;
    if (s->saves.first && !s->saving)
        start_saves(s);
    while (s->drops.first && !s->batching && start_drop(s))
        continue;
}

void commit_fail_all(struct store *s)
{
    struct store_op *op;
    while ((op = store_queue_pop(&s->saves)))
        save_op_done(s, op, KT_E_FAULTY);
    while ((op = store_queue_pop(&s->drops)))
        op_ready(s, op, KT_E_FAULTY);
}
