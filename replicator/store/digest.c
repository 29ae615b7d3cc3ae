/* SPDX-License-Identifier: BSD-3-Clause */
/* Sums and digests of extents.
 *
 * A view of each extent is taken on the loop: sums from the overlay, and which
 * sectors' sums a reader is to fetch from the slot's table. If meanwhile one of
 * the slots changed (its gen tells), all views are taken anew, so that a result
 * always shows one moment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/disk.h"

#define ROWS_MAX 128u /* in one answer: 1 MiB of tables */

struct view {
    struct extent *ext;
    uint32_t no, gen;
    int cfd; /* -1: everything is at hand */
    uint64_t coff;
    struct kt_rid id;
    uint32_t state;
    struct kt_id sum;
    uint8_t fetch[KT_PRESENCE_BYTES];
    uint64_t sums[KT_EXTENT_SECTORS];
};

struct view_job {
    struct job job;
    struct store_op *op;
    bool digest;
    uint32_t n, cap, next;
    struct kt_rid at;
    struct view views[];
};

static void view_take(struct view *v, struct extent *e, uint32_t no)
{
    static const struct extent_meta blank;
    const struct extent_meta *m = e ? &e->vis : &blank;
    v->ext = e;
    v->no = no;
    v->cfd = -1;
    v->id = m->id;
    v->state = extent_state(m);
    v->gen = e ? e->gen : 0;
    memset(v->fetch, 0, sizeof(v->fetch));
    for (uint32_t k = 0; k < KT_EXTENT_SECTORS; k++) {
        struct rec *r = overlay_at(e, k);
        v->sums[k] = r ? rec_sector(r, k, NULL) : 0;
        if (r || !e || !(e->presence[k / 8] >> (k % 8) & 1))
            continue;
        const struct slots *s = &e->chain->store->slots;
        v->fetch[k / 8] |= (uint8_t)(1u << (k % 8));
        v->cfd = s->csum_fd[e->slot / SLOTS_PER_FILE];
        v->coff = (uint64_t)(e->slot % SLOTS_PER_FILE) * CSUM_SLOT_BYTES;
    }
}

static int view_fetch(struct view *v)
{
    uint64_t table[KT_EXTENT_SECTORS];
    int err = kt_pread_all(v->cfd, table, sizeof(table), v->coff);
    for (uint32_t k = 0; !err && k < KT_EXTENT_SECTORS; k++)
        if (v->fetch[k / 8] >> (k % 8) & 1)
            v->sums[k] = table[k];
    return err;
}

static int view_run(struct job *j)
{
    struct view_job *p = kt_container_of(j, struct view_job, job);
    int err = 0;
    for (uint32_t i = 0; i < p->n && !err; i++) {
        struct view *v = &p->views[i];
        if (v->cfd >= 0)
            err = view_fetch(v);
        if (p->digest)
            v->sum = extent_digest(v->sums);
    }
    return err;
}

static void views_take(struct view_job *p)
{
    struct store_chain *c = store_op_chain(p->op);
    p->n = 0;
    p->at = c->applied;
    if (!p->digest) {
        uint32_t no = ((struct store_sums *)p->op)->extent;
        view_take(&p->views[p->n++], c->ext[no], no);
        return;
    }
    uint32_t i = ((struct store_digest *)p->op)->first;
    for (; i < c->n_extents && p->n < p->cap; i++)
        if (c->ext[i] && !extent_is_blank(&c->ext[i]->vis))
            view_take(&p->views[p->n++], c->ext[i], i);
    p->next = i < c->n_extents ? i : UINT32_MAX;
}

static void answer(struct view_job *p)
{
    if (!p->digest) {
        struct store_sums *r = (struct store_sums *)p->op;
        memcpy(r->ret_sums, p->views[0].sums, sizeof(r->ret_sums));
        r->ret_id = p->views[0].id;
        r->ret_state = p->views[0].state;
        return;
    }
    struct store_digest *r = (struct store_digest *)p->op;
    r->ret_n = p->n;
    r->ret_next = p->next;
    r->ret_at = p->at;
    for (uint32_t i = 0; i < p->n; i++)
        r->rows[i] = (struct kt_digest_row){.extent = p->views[i].no,
                                            .state = p->views[i].state,
                                            .id = p->views[i].id,
                                            .sum = p->views[i].sum};
}

static void view_done(struct job *j)
{
    struct store *s = j->store;
    struct view_job *p = kt_container_of(j, struct view_job, job);
    bool moved = false;
    for (uint32_t i = 0; i < p->n; i++)
        moved |=
            p->views[i].cfd >= 0 && p->views[i].gen != p->views[i].ext->gen;
    int err = s->err ? KT_E_FAULTY : j->err == -EIO ? KT_E_CORRUPT : j->err;
    if (!err && moved) {
        views_take(p);
        job_post(&s->read, &p->job);
        return;
    }
    if (!err)
        answer(p);
    op_ready(s, p->op, err);
    free(p);
}

static void start(struct store *s, struct store_op *op, bool digest,
                  uint32_t rows)
{
    if (s->err) {
        op_ready(s, op, KT_E_FAULTY);
        return;
    }
    struct view_job *p =
        malloc(sizeof(*p) + (rows ? rows : 1) * sizeof(struct view));
    if (!p) {
        op_ready(s, op, -ENOMEM);
        return;
    }
    p->job.run = view_run;
    p->job.done = view_done;
    p->op = op;
    p->digest = digest;
    p->cap = rows;
    views_take(p);
    job_post(&s->read, &p->job);
}

void store_sums(struct store *s, struct store_sums *r)
{
    op_start(s, &r->op, STORE_SUMS);
    if (r->extent >= r->chain->n_extents)
        op_ready(s, &r->op, KT_E_INVALID);
    else
        start(s, &r->op, false, 1);
}

void store_digest(struct store *s, struct store_digest *r)
{
    op_start(s, &r->op, STORE_DIGEST);
    start(s, &r->op, true, (uint32_t)kt_min_u64(r->max_rows, ROWS_MAX));
}
