/* SPDX-License-Identifier: BSD-3-Clause */
/* The store on disk: opening, closing, and what the loop does in between. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/disk.h"

uint64_t store_now(struct store *s)
{
    (void)s;
    return kt_now_us();
}

/* ---- open ---- */

struct store *store_blank(const char *dir, const struct store_opts *o)
{
    struct store *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->dir = strdup(dir);
    if (!s->dir) {
        free(s);
        return NULL;
    }
    s->opts = *o;
    s->dirfd = s->lockfd = s->mark_fd = -1;
    s->held_last = &s->held;
    s->logq_last = &s->logq;
    s->jobs_done_last = &s->jobs_done;
    store_queue_init(&s->syncs);
    store_queue_init(&s->ready);
    store_queue_init(&s->saves);
    store_queue_init(&s->drops);
    pthread_mutex_init(&s->mu, NULL);
    return s;
}

static void free_segs(struct seg *g)
{
    while (g) {
        struct seg *next = g->next;
        seg_free(g);
        g = next;
    }
}

void store_free(struct store *s)
{
    while (s->n_chains)
        chain_free(s->chains[--s->n_chains]);
    free(s->chains);
    while (s->free_recs) {
        struct rec *r = s->free_recs;
        s->free_recs = r->next;
        free(r);
    }
    read_free_all(s);
    free_segs(s->segs);
    free_segs(s->spare);
    index_free(s->index);
    slots_close(s);
    scrub_close(s);
    if (s->dirfd >= 0)
        close(s->dirfd);
    if (s->mark_fd >= 0)
        close(s->mark_fd);
    if (s->lockfd >= 0)
        close(s->lockfd);
    pthread_mutex_destroy(&s->mu);
    free(s->dir);
    free(s);
}

int load_super(struct store *s, struct why *w)
{
    int err = super_load(s->dirfd, &s->super);
    if (err == KT_E_CORRUPT)
        return why_set(w, err,
                       "both superblocks of the store in %s are damaged; the "
                       "other replicas have what it held: move the directory "
                       "away and start with an empty one",
                       s->dir);
    if (err == KT_E_PROTO)
        return why_set(w, err,
                       "the store in %s has a format this program does not "
                       "know; use the program that made it",
                       s->dir);
    if (err)
        return why_set(w, err, "cannot read the superblock in %s: %s", s->dir,
                       kt_strerror(err));
    /* The damaged copy may have been the newer one, of one life more. */
    s->super.incarnation += s->super.one_bad;
    s->uuid64 = log_uuid64(&s->super.uuid);
    return 0;
}

int load_files(struct store *s, bool look, struct why *w)
{
    char path[4096];
    int err = slots_open(s, false);
    if (!err && (size_t)snprintf(path, sizeof(path), "%s/meta.mdb", s->dir) >=
                    sizeof(path))
        err = -ENAMETOOLONG;
    if (!err)
        err = index_open(path, s->slots.total, look, &s->index);
    if (err == KT_E_CORRUPT)
        return why_set(w, err,
                       "the index of the store in %s is damaged; the other "
                       "replicas have what it held: move the directory away "
                       "and start with an empty one",
                       s->dir);
    if (err)
        return why_set(w, err, "cannot open the store in %s: %s", s->dir,
                       kt_strerror(err));
    return 0;
}

/* A new life: the incarnation is durable before anything is done in it. */
static int begin_life(struct store *s)
{
    struct super *u = &s->super;
    bool kept = !u->one_bad && (u->clean || kt_id_eq(&u->boot, &s->opts.boot));
    u->incarnation++;
    if (!kept)
        u->cont_base = u->incarnation;
    u->boot = s->opts.boot;
    u->clean = false;
    u->durable_lsn = s->durable_seen;
    int err = super_save(s->dirfd, u);
    if (!err && u->one_bad) {
        err = super_save(s->dirfd, u);
        u->one_bad = false;
    }
    return err;
}

/* Slots for what the log holds, and one log segment ahead. */
static int ready_to_write(struct store *s)
{
    uint32_t need = s->slots.assigned + s->slots.reserved;
    int err = need > s->slots.ready ? slots_grow(s, need) : 0;
    if (err || s->spare)
        return err;
    struct seg *g, *old = s->segs;
    err = seg_make(s, s->cur->no + 1, NULL, &g);
    if (err == -ENOSPC && old != s->cur && old->last_lsn < s->tail_lsn) {
        s->segs = old->next;
        s->n_segs--;
        err = seg_make(s, s->cur->no + 1, old, &g);
        if (err)
            seg_free(old);
    }
    if (err == -ENOSPC) {
        seg_want_spare(s);
        return 0; /* applying will free one */
    }
    if (!err)
        s->spare = g;
    return err;
}

static int open_in(struct store *s, struct why *w)
{
    bool empty = false;
    int err = dir_open(s, s->dir, w, &empty);
    if (!err && empty)
        err = dir_create(s, w);
    if (!err)
        err = load_super(s, w);
    if (!err)
        err = load_files(s, false, w);
    if (!err)
        err = replay(s, w);
    if (err)
        return err;
    err = begin_life(s);
    if (!err)
        err = mark_open(s);
    if (!err)
        err = threads_start(s);
    if (!err)
        err = ready_to_write(s);
    if (err)
        why_set(w, err, "cannot write in the store in %s: %s", s->dir,
                kt_strerror(err));
    return err;
}

int store_open(const char *dir, const struct store_opts *opts,
               struct store **ret_s, char *ret_why, size_t why_size)
{
    struct why w = {ret_why, why_size};
    struct store *s = store_blank(dir, opts);
    if (!s)
        return why_set(&w, -ENOMEM, "out of memory");
    int err = open_in(s, &w);
    if (err) {
        if (s->threads_up)
            threads_stop(s);
        store_free(s);
        return err;
    }
    *ret_s = s;
    return 0;
}

/* ---- the loop ---- */

static void take_published(struct store *s, struct job **ret_jobs,
                           bool *ret_tick)
{
    pthread_mutex_lock(&s->mu);
    *ret_jobs = s->jobs_done;
    s->jobs_done = NULL;
    s->jobs_done_last = &s->jobs_done;
    s->written_seen = s->written_lsn;
    s->durable_seen = s->durable_lsn;
    *ret_tick = s->tick;
    s->tick = false;
    s->due = false;
    pthread_mutex_unlock(&s->mu);
}

static void on_tick(struct store *s)
{
    if (s->tail_lsn < s->next_lsn)
        apply_want(s);
    if (s->held) {
        seg_want_spare(s);
        append_retry_held(s);
    }
}

/* After a fault: everything ends as soon as no thread touches it. */
static void fail_pending(struct store *s)
{
    pthread_mutex_lock(&s->mu);
    bool busy = s->log_busy;
    if (!busy) {
        s->logq = NULL;
        s->logq_last = &s->logq;
    }
    pthread_mutex_unlock(&s->mu);
    if (!busy)
        append_fail_all(s);
    commit_fail_all(s);
}

static void run_ready(struct store *s)
{
    struct store_op *op;
    for (unsigned n = 0; n < 4096 && (op = store_queue_pop(&s->ready)); n++)
        op->done(op, op->err);
}

void store_poll(struct store *s)
{
    struct job *jobs, *next;
    bool tick;
    if (s->in_poll)
        return;
    s->in_poll = true;
    take_published(s, &jobs, &tick);
    for (struct job *j = jobs; j; j = next) {
        next = j->next;
        s->n_jobs--;
        j->done(j);
    }
    append_poll(s);
    if (tick)
        on_tick(s);
    if (!s->err)
        s->err = atomic_load(&s->fault);
    apply_poll(s);
    commit_poll(s);
    if (!s->err)
        s->err = atomic_load(&s->fault);
    if (s->err)
        fail_pending(s);
    run_ready(s);
    s->in_poll = false;
    if (s->ready.first)
        store_tell(s);
}

static uint64_t older(uint64_t a, const struct store_op *op)
{
    return op && op->start_us < a ? op->start_us : a;
}

void store_info(const struct store *s, struct store_info *ret_i)
{
    uint64_t now = kt_now_us(), oldest = now;
    for (const struct store_chain *c = s->active; c; c = c->active_next)
        if (c->flight)
            oldest = older(oldest, &c->flight->op->op);
    if (s->held)
        oldest = older(oldest, &s->held->op->op);
    oldest = older(oldest, s->syncs.first);
    uint64_t used =
        (uint64_t)s->slots.assigned + s->slots.reserved + s->slots.set_aside;
    *ret_i = (struct store_info){
        .uuid = s->super.uuid,
        .node = s->super.node,
        .incarnation = s->super.incarnation,
        .cont_base = s->super.cont_base,
        .size = (uint64_t)s->slots.total * KT_EXTENT_BYTES,
        .used = used * KT_EXTENT_BYTES,
        .err = s->err,
        .bad_sectors = s->n_bad,
        .mended = s->mended,
        .stall_us = now - oldest,
    };
}

/* ---- close ---- */

static bool is_idle(const struct store *s)
{
    bool ops = s->active || s->held || s->syncs.first || s->ready.first ||
               s->saves.first || s->drops.first;
    if (s->err)
        return !ops && !s->n_jobs;
    return !ops && !s->n_jobs && !s->apply_wanted &&
           s->durable_seen == s->next_lsn - 1;
}

static void wait_published(struct store *s)
{
    pthread_mutex_lock(&s->mu);
    if (!s->due)
        pthread_cond_wait(&s->loop_cv, &s->mu);
    pthread_mutex_unlock(&s->mu);
}

/* Appends that wait for a room which nothing will make. */
static void give_up_held(struct store *s)
{
    struct rec *r;
    if (s->n_jobs || s->active || apply_possible(s))
        return;
    while ((r = s->held)) {
        s->held = r->log_next;
        op_ready(s, &r->op->op, -ENOSPC);
        rec_free(s, r);
    }
    s->held_last = &s->held;
}

static void finish_all(struct store *s)
{
    bool applied = false;
    for (;;) {
        store_poll(s);
        if (!s->err && s->durable_seen < s->written_seen)
            log_sync(s, s->written_seen);
        if (is_idle(s)) {
            if (s->err || (applied && !apply_possible(s)))
                return;
            applied = true;
            apply_want(s);
            continue;
        }
        if (s->ready.first)
            continue;
        give_up_held(s);
        if (!s->ready.first)
            wait_published(s);
    }
}

void store_close(struct store *s)
{
    if (!s)
        return;
    finish_all(s);
    threads_stop(s);
    if (!s->err) {
        s->super.clean = true;
        s->super.index_commits = index_commits(s->index);
        s->super.durable_lsn = s->durable_seen;
        /* When this fails the next open finds a store that was not closed,
         * which is true. */
        if (super_save(s->dirfd, &s->super))
            s->err = -EIO;
    }
    store_free(s);
}
