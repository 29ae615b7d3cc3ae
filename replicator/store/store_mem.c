/* SPDX-License-Identifier: BSD-3-Clause */
/* The in-memory twin: opening, crashing, operations and their completion.
 *
 *  1. An operation is checked and queued in `pending`; an append gets its lsn
 *     and its place in the disk's log (the log is written in this order), and
 *     its slot.
 *  2. The test completes one: its effects happen (mem_ops.c), it moves to
 *     `ready`.
 *  3. store_poll runs the callbacks of `ready`. */
#include "replicator/store/store_mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/err.h"
#include "replicator/store/mem_priv.h"

static uint64_t owned_slots(const struct store_chain *list)
{
    uint64_t n = 0;
    for (; list; list = list->next)
        for (uint32_t i = 0; i < list->n_extents; i++)
            n += list->ext[i] && list->ext[i]->tail.alloc;
    return n;
}

int store_open(const char *dir, const struct store_opts *opts,
               struct store **ret_s, char *ret_why, size_t why_size)
{
    struct store_mem_disk *d = mem_disk_next();
    (void)dir;
    if (!d || d->open) {
        snprintf(ret_why, why_size, "the disk of this test is %s",
                 d ? "open in another store" : "not set");
        return d ? -EBUSY : -ENOENT;
    }
    struct store *s = calloc(1, sizeof(*s));
    if (!s) {
        snprintf(ret_why, why_size, "out of memory");
        return -ENOMEM;
    }
    mem_disk_harden(d, UINT64_MAX - 1);
    d->base_lsn = d->last_lsn;
    if (!mem_chains_copy(d->chains, &s->chains)) {
        free(s);
        snprintf(ret_why, why_size, "out of memory");
        return -ENOMEM;
    }
    d->incarnation++;
    if (!d->clean && !kt_id_eq(&d->boot, &opts->boot))
        d->cont_base = d->incarnation;
    if (d->incarnation == 1)
        d->cont_base = 1;
    d->boot = opts->boot;
    d->clean = false;
    d->open = s;
    s->disk = d;
    s->opts = *opts;
    s->completed_lsn = d->last_lsn;
    s->owned = owned_slots(s->chains);
    store_queue_init(&s->pending);
    store_queue_init(&s->ready);
    *ret_s = s;
    return 0;
}

static void store_gone(struct store *s)
{
    s->disk->open = NULL;
    mem_chains_free(&s->chains);
    free(s);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    while (s->pending.first || s->ready.first) {
        store_mem_complete_all(s);
        store_poll(s);
    }
    if (!s->err) {
        mem_disk_harden(s->disk, s->disk->last_lsn);
        s->disk->clean = true;
    }
    store_gone(s);
}

void store_info(const struct store *s, struct store_info *ret_i)
{
    *ret_i = (struct store_info){
        .uuid = s->disk->uuid,
        .node = s->disk->node,
        .incarnation = s->disk->incarnation,
        .cont_base = s->disk->cont_base,
        .size = s->disk->slots * KT_EXTENT_BYTES,
        .used = (s->owned + s->set_aside) * KT_EXTENT_BYTES,
        .err = s->err,
    };
}

void store_poll(struct store *s)
{
    if (s->auto_complete)
        store_mem_complete_all(s);
    struct store_queue due = s->ready;
    if (!due.first)
        return;
    *due.last = NULL;
    store_queue_init(&s->ready);
    struct store_op *op = due.first, *next;
    for (; op; op = next) {
        next = op->next;
        op->done(op, op->err);
    }
}

/* ---- what the test asks ---- */

void store_mem_set_auto(struct store *s, bool auto_complete)
{
    s->auto_complete = auto_complete;
}

bool store_mem_due(const struct store *s)
{
    return s->ready.first || (s->auto_complete && s->pending.first);
}

/* Appends and saves of one chain wait for the ones before them. */
static bool may_complete(struct store_op *op)
{
    if (op->kind != STORE_APPEND && op->kind != STORE_SAVE)
        return true;
    struct store_chain *c = store_op_chain(op);
    bool seen = c->seen & 1u << op->kind;
    c->seen |= 1u << op->kind;
    return !seen;
}

static void forget_seen(const struct store *s)
{
    for (struct store_chain *c = s->chains; c; c = c->next)
        c->seen = 0;
}

unsigned store_mem_pending(const struct store *s)
{
    unsigned n = 0;
    forget_seen(s);
    for (struct store_op *op = s->pending.first; op; op = op->next)
        n += may_complete(op);
    return n;
}

static struct store_op *pending_op(const struct store *s, unsigned k)
{
    forget_seen(s);
    for (struct store_op *op = s->pending.first; op; op = op->next)
        if (may_complete(op) && k-- == 0)
            return op;
    return NULL;
}

const struct store_op *store_mem_pending_op(const struct store *s, unsigned k)
{
    return pending_op(s, k);
}

void store_mem_complete(struct store *s, unsigned k)
{
    struct store_op *op = pending_op(s, k);
    assert(op);
    mem_complete(s, op);
}

void store_mem_complete_all(struct store *s)
{
    while (s->pending.first)
        mem_complete(s, s->pending.first);
}

void store_mem_fail_next(struct store *s, enum store_mem_fault what)
{
    s->fail |= (unsigned)what;
}

/* ---- crashes ---- */

/* Where the log ends after the crash, from least to all of it. */
static uint64_t crash_cut(struct store_mem_disk *d, uint64_t least)
{
    uint64_t choice = mem_random(d) % 4, n = d->last_lsn - least;
    if (choice == 0 || n == 0)
        return least;
    return choice == 1 ? d->last_lsn : least + mem_random(d) % (n + 1);
}

/* An index commit that was under way happened or did not, in order. */
static void crash_commits(struct store *s)
{
    forget_seen(s);
    struct store_op *op = s->pending.first;
    for (; op; op = op->next) {
        struct store_chain *c = store_op_chain(op);
        if (op->kind == STORE_SAVE && !c->seen) {
            c->seen = mem_random(s->disk) % 2;
            if (!c->seen)
                mem_save(s, (struct store_save *)op);
        }
        if (op->kind == STORE_DROP && mem_random(s->disk) % 2)
            mem_disk_drop(s->disk, c->id);
    }
}

void store_mem_crash(struct store *s, enum store_mem_crash kind)
{
    struct store_mem_disk *d = s->disk;
    uint64_t least =
        kt_max_u64(d->base_lsn, kind == STORE_MEM_KILL ? s->completed_lsn : 0);
    uint64_t cut = crash_cut(d, kt_min_u64(least, d->last_lsn));
    crash_commits(s);
    mem_disk_cut(d, cut);
    d->last_lsn = cut;
    for (struct store_op *op = s->pending.first; op; op = op->next)
        mem_op_forget(op);
    store_gone(s);
}

/* ---- chains and space ---- */

struct store_chain *store_chain_next(struct store *s, uint64_t after)
{
    struct store_chain *c = s->chains;
    while (c && c->id <= after)
        c = c->next;
    return c;
}

struct store_chain *store_chain_find(struct store *s, uint64_t chain)
{
    return mem_chain_find(s->chains, chain);
}

struct store_chain *store_chain_create(struct store *s, uint64_t chain,
                                       uint32_t n_extents)
{
    assert(chain && n_extents && n_extents <= KT_SEGMENT_EXTENTS_MAX);
    assert(!mem_chain_find(s->chains, chain));
    return s->err ? NULL : mem_chain_get(&s->chains, chain, n_extents);
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
    ret_i->durable = c->durable;
    ret_i->dedup = c->dedup;
    for (uint32_t i = 0; i < c->n_extents; i++)
        if (c->ext[i] && c->ext[i]->meta.alloc)
            ret_i->alloc[i / 8] |= (uint8_t)(1u << (i % 8));
}

void store_acked(struct store *s, struct store_chain *c, uint64_t seq)
{
    (void)s;
    c->acked = kt_max_u64(c->acked, seq);
}

uint32_t store_grant(struct store *s, struct store_chain *c, uint32_t want)
{
    uint32_t n_chains = 0;
    for (const struct store_chain *i = s->chains; i; i = i->next)
        n_chains++;
    if (s->err)
        return c->granted;
    uint64_t used = s->owned + s->set_aside;
    uint64_t spare = s->disk->slots > used ? s->disk->slots - used : 0;
    uint32_t n = fold_grant(c->granted, want, spare, s->set_aside, n_chains);
    s->set_aside = s->set_aside - c->granted + n;
    c->granted = n;
    s->full = n < want && s->owned + s->set_aside >= s->disk->slots;
    return n;
}

bool store_is_full(const struct store *s)
{
    return s->full;
}

void store_ungrant(struct store *s, struct store_chain *c)
{
    s->set_aside -= c->granted;
    c->granted = 0;
}
