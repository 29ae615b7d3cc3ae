/* SPDX-License-Identifier: BSD-3-Clause */
/* A cluster is a write and the reads that saw it. F is the earliest end in
 * it, S the latest start. F < S: the value must have been there from F to S
 * (a forward zone); otherwise it only must have been there at some moment of
 * [S, F] (a backward zone). The history is linearizable exactly if no two
 * forward zones overlap and no backward zone lies inside a forward one. */
#include "tests/sim/checker.h"

#include <assert.h>
#include <stdlib.h>

struct cluster {
    uint64_t id;
    uint64_t ws;   /* start of the write */
    uint64_t f, s; /* min of ends, max of starts */
    bool read, optional, refused;
};

struct zone {
    uint64_t lo, hi, id;
};

static int by_id(const void *a, const void *b)
{
    const struct cluster *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_lo(const void *a, const void *b)
{
    const struct zone *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static const char *why(const char *text, uint64_t a, uint64_t b,
                       uint64_t ret_ids[2])
{
    ret_ids[0] = a;
    ret_ids[1] = b;
    return text;
}

static size_t take_writes(const struct check_op *ops, size_t n,
                          uint64_t initial, struct cluster *c)
{
    size_t k = 0;
    c[k++] = (struct cluster){.id = initial};
    for (size_t i = 0; i < n; i++) {
        if (ops[i].kind != CHECK_WRITE)
            continue;
        c[k++] = (struct cluster){.id = ops[i].id,
                                  .ws = ops[i].s,
                                  .s = ops[i].s,
                                  .f = ops[i].f,
                                  .optional = ops[i].optional,
                                  .refused = ops[i].refused};
    }
    qsort(c, k, sizeof(*c), by_id);
    return k;
}

static const char *take_reads(const struct check_op *ops, size_t n,
                              struct cluster *c, size_t k, uint64_t ret_ids[2])
{
    for (size_t i = 0; i < n; i++) {
        const struct check_op *o = &ops[i];
        if (o->kind != CHECK_READ)
            continue;
        struct cluster key = {.id = o->id};
        struct cluster *w = bsearch(&key, c, k, sizeof(*c), by_id);
        if (!w)
            return why("read of what was never written", o->id, 0, ret_ids);
        if (w->refused)
            return why("read of a refused write", o->id, 0, ret_ids);
        if (o->f < w->ws)
            return why("read before its write began", o->id, 0, ret_ids);
        w->read = true;
        w->f = o->f < w->f ? o->f : w->f;
        w->s = o->s > w->s ? o->s : w->s;
    }
    return NULL;
}

/* Index of the last forward zone that begins before lo, or -1. */
static long zone_before(const struct zone *z, size_t n, uint64_t lo)
{
    size_t a = 0, b = n;
    while (a < b) {
        size_t m = (a + b) / 2;
        if (z[m].lo < lo)
            a = m + 1;
        else
            b = m;
    }
    return (long)a - 1;
}

static const char *compare_zones(struct zone *fwd, size_t n_fwd,
                                 const struct zone *back, size_t n_back,
                                 uint64_t ret_ids[2])
{
    qsort(fwd, n_fwd, sizeof(*fwd), by_lo);
    for (size_t i = 1; i < n_fwd; i++) {
        if (fwd[i].lo < fwd[i - 1].hi)
            return why("two values in turn (new-old inversion or lost update)",
                       fwd[i - 1].id, fwd[i].id, ret_ids);
    }
    for (size_t i = 0; i < n_back; i++) {
        long k = zone_before(fwd, n_fwd, back[i].lo);
        if (k >= 0 && back[i].hi < fwd[k].hi)
            return why("a write was skipped", back[i].id, fwd[k].id, ret_ids);
    }
    return NULL;
}

const char *check_register(const struct check_op *ops, size_t n,
                           uint64_t initial, uint64_t ret_ids[2])
{
    struct cluster *c = calloc(n + 1, sizeof(*c));
    struct zone *fwd = calloc(n + 1, sizeof(*fwd));
    struct zone *back = calloc(n + 1, sizeof(*back));
    assert(c && fwd && back);
    size_t k = take_writes(ops, n, initial, c), n_fwd = 0, n_back = 0;
    const char *bad = take_reads(ops, n, c, k, ret_ids);
    for (size_t i = 0; i < k && !bad; i++) {
        if ((c[i].optional || c[i].refused) && !c[i].read)
            continue;
        if (c[i].f < c[i].s)
            fwd[n_fwd++] = (struct zone){c[i].f, c[i].s, c[i].id};
        else
            back[n_back++] = (struct zone){c[i].s, c[i].f, c[i].id};
    }
    if (!bad)
        bad = compare_zones(fwd, n_fwd, back, n_back, ret_ids);
    free(c);
    free(fwd);
    free(back);
    return bad;
}
