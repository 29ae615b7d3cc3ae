/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/store/life.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/check.h"
#include "replicator/store/disk.h"

void bench_in_memory(void)
{
    struct statvfs v;
    if (!getenv("TMPDIR") && !access("/dev/shm", W_OK) &&
        !statvfs("/dev/shm", &v) &&
        (uint64_t)v.f_bavail * v.f_frsize > (1ull << 30))
        setenv("TMPDIR", "/dev/shm", 1);
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

/* ---- what is owed ---- */

static void past_push(struct past *p, const struct model *m)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->at = realloc(p->at, p->cap * sizeof(p->at[0]));
        assert_non_null(p->at);
    }
    p->at[p->n++] = *m;
}

void owed_init(struct owed *o)
{
    memset(o, 0, sizeof(*o));
    for (uint32_t k = 0; k < LIFE_CHAINS; k++) {
        struct model m;
        o->chains[k].id = k + 1;
        model_init(&m, k + 1);
        past_push(&o->chains[k], &m);
    }
}

void owed_free(struct owed *o)
{
    for (uint32_t k = 0; k < LIFE_CHAINS; k++)
        free(o->chains[k].at);
    memset(o, 0, sizeof(*o));
}

static struct model *newest(struct past *p)
{
    return &p->at[p->n - 1];
}

static void raise(uint64_t *at, uint64_t to)
{
    *at = kt_max_u64(*at, to);
}

void owed_mark(struct owed *o, const struct shim_event *e)
{
    struct past *p = &o->chains[e->chain];
    switch (e->kind) {
    case MARK_SUBMIT:
        raise(&p->submitted, e->a);
        break;
    case MARK_DONE:
        raise(&p->done, e->a);
        break;
    case MARK_DURABLE:
        raise(&p->durable, e->a);
        break;
    case MARK_SAVE:
        raise(&p->save, e->a);
        break;
    case MARK_SAVED:
        raise(&p->saved, e->a);
        break;
    case MARK_OPENED:
        o->opened = true; /* in this life */
        o->incarnation = e->a;
        o->cont_base = e->b;
        break;
    default:
        o->closed = true;
        break;
    }
}

void owed_restart(struct owed *o, uint32_t k, const struct store_chain_info *i)
{
    struct past *p = &o->chains[k];
    uint64_t seq = i->applied.seq;
    assert_true(seq >= p->first && seq < p->first + p->n);
    p->at[0] = p->at[seq - p->first];
    p->first = seq;
    p->n = 1;
    p->submitted = p->done = p->durable = seq;
    p->save = p->saved = i->promised;
    o->opened = o->closed = false;
}

/* ---- a life ---- */

struct flight {
    struct store_append a;
    struct life *life;
    bool busy;
};

struct life {
    struct rig *g;
    struct owed *o;
    const struct life_opts *opts;
    uint64_t rng, life_no;
    struct store_chain *c[LIFE_CHAINS];
    uint64_t done[LIFE_CHAINS];
    struct flight ops[LIFE_FLIGHT];
    struct life_sync {
        struct store_sync s;
        struct life *life;
        bool busy;
    } sync[LIFE_CHAINS];
    struct life_save {
        struct store_save s;
        struct life *life;
        bool busy;
    } save;
    int err;
};

static void mark(enum life_mark kind, uint64_t chain, uint64_t a, uint64_t b)
{
    shim_mark((struct shim_event){(uint32_t)kind, (uint32_t)chain, a, b});
}

static uint32_t index_of(const struct life *l, const struct store_chain *c)
{
    uint32_t k = 0;
    while (l->c[k] != c)
        k++;
    return k;
}

/* An operation failed: only a failing life may see that. */
static void failed(struct life *l, int err)
{
    if (!l->opts->failing)
        fail_msg("an operation failed: %s", kt_strerror(err));
    if (!l->err)
        l->err = err;
}

static void append_done(struct store_op *op, int err)
{
    struct flight *f = kt_container_of(op, struct flight, a.op);
    uint32_t k = index_of(f->life, f->a.chain);
    f->busy = false;
    kt_buf_unref(f->a.buf);
    if (err) {
        failed(f->life, err);
        return;
    }
    assert_true(f->a.rec.id.seq > f->life->done[k]);
    f->life->done[k] = f->a.rec.id.seq;
    mark(MARK_DONE, k, f->a.rec.id.seq, 0);
    if (f->a.rec.flags & KT_RF_FUA)
        mark(MARK_DURABLE, k, f->a.rec.id.seq, 0);
}

static void sync_done(struct store_op *op, int err)
{
    struct life_sync *s = kt_container_of(op, struct life_sync, s.op);
    s->busy = false;
    if (err)
        failed(s->life, err);
    else
        mark(MARK_DURABLE, index_of(s->life, s->s.chain), s->s.ret_durable, 0);
}

static void save_done(struct store_op *op, int err)
{
    struct life_save *s = kt_container_of(op, struct life_save, s.op);
    s->busy = false;
    if (err)
        failed(s->life, err);
    else
        mark(MARK_SAVED, index_of(s->life, s->s.chain), s->s.promised, 0);
}

/* Few sectors, so that they are written again and again. */
static struct kt_record next_record(struct life *l, struct model *m)
{
    struct kt_record r = model_random(m, &l->rng);
    uint32_t n = 1 + (uint32_t)model_rand(&l->rng, 6);
    if (model_rand(&l->rng, 16) == 0)
        n = 1 + (uint32_t)model_rand(&l->rng, 100);
    if (l->opts->large && model_rand(&l->rng, 3) == 0)
        n = KT_RECORD_SECTORS_MAX;
    if (r.len < KT_EXTENT_BYTES) {
        r.len = n * KT_SECTOR_BYTES;
        r.off = (uint32_t)model_rand(&l->rng, KT_RECORD_SECTORS_MAX - n + 1) *
                KT_SECTOR_BYTES;
    }
    r.id.epoch = l->life_no;
    return r;
}

static void submit(struct life *l, struct flight *f)
{
    static uint64_t stamp;
    uint32_t k = (uint32_t)model_rand(&l->rng, LIFE_CHAINS);
    struct past *p = &l->o->chains[k];
    struct model m = *newest(p);
    shim_exempt(true);
    f->a = (struct store_append){.op.done = append_done, .chain = l->c[k]};
    f->a.rec = next_record(l, &m);
    f->a.buf = model_payload(&f->a.rec, ++stamp);
    f->life = l;
    f->busy = true;
    model_fold(&m, &f->a.rec, stamp);
    past_push(p, &m);
    shim_exempt(false);
    mark(MARK_SUBMIT, k, m.at.seq, 0);
    store_append(l->g->s, &f->a);
}

static void start_sync(struct life *l, uint32_t k)
{
    struct life_sync *s = &l->sync[k];
    if (s->busy)
        return;
    s->s = (struct store_sync){.op.done = sync_done, .chain = l->c[k]};
    s->life = l;
    s->busy = true;
    store_sync(l->g->s, &s->s);
}

static void start_save(struct life *l, uint32_t k)
{
    static uint64_t promised;
    struct life_save *s = &l->save;
    if (s->busy)
        return;
    s->s = (struct store_save){
        .op.done = save_done, .chain = l->c[k], .promised = ++promised};
    s->life = l;
    s->busy = true;
    mark(MARK_SAVE, k, promised, 0);
    store_save(l->g->s, &s->s);
}

static void something_else(struct life *l)
{
    uint32_t k = (uint32_t)model_rand(&l->rng, LIFE_CHAINS);
    switch (model_rand(&l->rng, 16)) {
    case 0:
    case 1:
        start_sync(l, k);
        break;
    case 2:
        start_save(l, k);
        break;
    case 3:
        apply_want(l->g->s);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        store_acked(l->g->s, l->c[k], l->done[k]);
        break;
    default:
        store_poll(l->g->s);
        break;
    }
}

static int life_open(struct life *l)
{
    struct store_info i;
    int err = rig_try_open(l->g);
    if (err) {
        if (!l->opts->failing)
            fail_msg("store_open: %s", l->g->why);
        assert_true(l->g->why[0]);
        return err;
    }
    store_info(l->g->s, &i);
    l->life_no = i.incarnation;
    mark(MARK_OPENED, 0, i.incarnation, i.cont_base);
    for (uint32_t k = 0; k < LIFE_CHAINS; k++) {
        struct past *p = &l->o->chains[k];
        l->c[k] = store_chain_find(l->g->s, p->id);
        if (!l->c[k])
            l->c[k] = store_chain_create(l->g->s, p->id, MODEL_EXTENTS);
        if (!l->c[k])
            return KT_E_FAULTY;
        l->done[k] = newest(p)->at.seq;
        mark(MARK_DURABLE, k, l->done[k], 0);
    }
    return 0;
}

/* A6: whatever failed under the store is known to it soon, by itself. */
static void wait_faulty(struct rig *g)
{
    struct store_info i = {.err = 0};
    uint64_t from = kt_now_ms();
    while (!i.err) {
        if (kt_now_ms() - from > 20000)
            fail_msg("a call failed and the store is not faulty");
        rig_step(g);
        store_info(g->s, &i);
    }
}

int life_live(struct rig *g, struct owed *o, const struct life_opts *opts)
{
    struct life l = {.g = g, .o = o, .opts = opts, .rng = opts->seed};
    struct store_info i = {.err = 0};
    int err = life_open(&l);
    for (uint32_t n = 0; !err && n < opts->records && !l.err && !i.err;) {
        struct flight *f = &l.ops[model_rand(&l.rng, LIFE_FLIGHT)];
        if (f->busy) {
            rig_step(g);
        } else {
            submit(&l, f);
            n++;
        }
        something_else(&l);
        store_info(g->s, &i);
    }
    if (!g->s)
        return err;
    if (opts->faulty && shim_failed())
        wait_faulty(g);
    for (uint32_t k = 0; k < LIFE_CHAINS && l.c[k]; k++)
        if (model_rand(&l.rng, 2))
            store_acked(g->s, l.c[k], l.done[k]);
    rig_close(g); /* completes what is under way */
    if (!l.err && !i.err && !err && !shim_failed())
        mark(MARK_CLOSED, 0, 0, 0);
    return err ? err : l.err ? l.err : i.err;
}

/* ---- the check ---- */

static void check_info(const struct owed *o, const struct store_info *i,
                       bool *ret_kept)
{
    assert_true(i->incarnation > o->incarnation);
    assert_true(i->cont_base >= o->cont_base);
    *ret_kept = o->opened && i->cont_base == o->cont_base;
}

/* Continuity claimed, or a kill: nothing that completed is missing. */
static void check_past(struct rig *g, const struct past *p, bool all,
                       struct store_chain_info *ret_i)
{
    struct store_chain *c = store_chain_find(g->s, p->id);
    memset(ret_i, 0, sizeof(*ret_i));
    if (c) {
        store_chain_info(c, ret_i);
        assert_int_equal(ret_i->durable, ret_i->applied.seq);
    }
    uint64_t seq = ret_i->applied.seq;
    if (seq < p->durable || (all && seq < p->done) || seq > p->submitted)
        fail_msg("chain %llu ends at %llu; durable %llu, completed %llu, "
                 "submitted %llu",
                 (unsigned long long)p->id, (unsigned long long)seq,
                 (unsigned long long)p->durable, (unsigned long long)p->done,
                 (unsigned long long)p->submitted);
    assert_true(ret_i->promised >= p->saved && ret_i->promised <= p->save);
    assert_true(seq >= p->first && seq - p->first < p->n);
    if (c)
        check_chain(g, &p->at[seq - p->first]);
}

static void check_again(struct rig *g, const struct owed *o,
                        const struct store_chain_info *had)
{
    struct model m[LIFE_CHAINS];
    for (uint32_t k = 0; k < LIFE_CHAINS; k++) {
        const struct past *p = &o->chains[k];
        m[k] = p->at[had[k].applied.seq - p->first];
        struct store_chain *c = store_chain_find(g->s, p->id);
        if (!c)
            c = store_chain_create(g->s, p->id, MODEL_EXTENTS);
        assert_non_null(c);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(do_write(g, &m[k], i, 7 * i), 0);
        store_acked(g->s, c, m[k].at.seq);
    }
    rig_close(g);
    rig_open(g);
    for (uint32_t k = 0; k < LIFE_CHAINS; k++)
        check_chain(g, &m[k]);
}

/* What a crash may leave is no damage, except half a superblock. */
static void check_offline(const struct rig *g, const struct owed *o)
{
    struct store_check c = {.boot = g->boot};
    char why[512] = "";
    int err = store_check(g->dir, &c, why, sizeof(why));
    if (err == -ENOENT && !o->incarnation)
        return; /* not made yet */
    if (err || !c.index_read || !c.log_read || c.problems > 1)
        fail_msg("--check-store: %d, %llu problems: %s", err,
                 (unsigned long long)c.problems, why);
}

void owed_check(struct rig *g, const struct owed *o, bool killed, bool again,
                struct store_chain_info ret_i[LIFE_CHAINS])
{
    struct store_info i;
    bool kept;
    if (again)
        check_offline(g, o);
    rig_open(g);
    store_info(g->s, &i);
    check_info(o, &i, &kept);
    if (o->opened && (killed || o->closed))
        assert_true(kept);
    for (uint32_t k = 0; k < LIFE_CHAINS; k++)
        check_past(g, &o->chains[k], killed || kept, &ret_i[k]);
    if (again)
        check_again(g, o, ret_i);
    rig_close(g);
}
