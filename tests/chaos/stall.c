/* SPDX-License-Identifier: BSD-3-Clause */
/* A gap belongs to the fault whose beginning or healing comes first in it: a
 * later one only happened meanwhile. A gap with no such event in it belongs to
 * the last one before it. Faults that began while another was there are told
 * apart, because two of them may cost what neither does. */
#include "tests/chaos/stall.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/hist.h"

#define GAPS_MAX 200000u
#define GAP_MIN_NS 1000000u           /* shorter ones are no gaps */
#define LONG_NS 500000000u            /* these are told one by one */
#define EARLY_NS 500000000u           /* a fault may take so long to be felt */
#define AFTER_NS UINT64_C(5000000000) /* a fault is felt after it is healed */

struct fault {
    char kind[KIND_BYTES];
    uint64_t begin, healed; /* 0: not yet */
    uint64_t longest;
    bool crowded;
};

struct gap {
    uint64_t from, to;
};

static struct {
    pthread_mutex_t lock;
    struct fault f[FAULTS_MAX];
    uint32_t n;
    struct gap g[GAPS_MAX];
    uint32_t n_gaps;
    uint64_t other; /* the longest gap before the first fault */
} st = {.lock = PTHREAD_MUTEX_INITIALIZER};

void stall_fault(uint32_t n, const char *kind)
{
    pthread_mutex_lock(&st.lock);
    if (n < FAULTS_MAX) {
        struct fault *f = &st.f[n];
        f->begin = mono_ns();
        snprintf(f->kind, sizeof(f->kind), "%s", kind);
        for (uint32_t i = 0; i < st.n; i++) {
            struct fault *o = &st.f[i];
            if (i == n || !o->begin ||
                (o->healed && o->healed + AFTER_NS < f->begin))
                continue;
            f->crowded = true;
            if (!o->healed)
                o->crowded = true;
        }
        st.n = n >= st.n ? n + 1 : st.n;
    }
    pthread_mutex_unlock(&st.lock);
}

void stall_healed(uint32_t n)
{
    pthread_mutex_lock(&st.lock);
    if (n < st.n)
        st.f[n].healed = mono_ns();
    pthread_mutex_unlock(&st.lock);
}

void stall_gap(uint64_t from_ns, uint64_t to_ns)
{
    if (to_ns - from_ns < GAP_MIN_NS)
        return;
    pthread_mutex_lock(&st.lock);
    if (st.n_gaps < GAPS_MAX)
        st.g[st.n_gaps++] = (struct gap){from_ns, to_ns};
    pthread_mutex_unlock(&st.lock);
}

/* ---- the report ---- */

static void consider(uint64_t at, const struct gap *g, uint32_t i,
                     struct fault **inside, uint64_t *inside_at)
{
    if (!at || at + EARLY_NS < g->from || at > g->to)
        return;
    if (!*inside || at < *inside_at) {
        *inside = &st.f[i];
        *inside_at = at;
    }
}

static struct fault *blame(const struct gap *g)
{
    struct fault *inside = NULL, *before = NULL;
    uint64_t inside_at = 0, before_at = 0;
    for (uint32_t i = 0; i < st.n; i++) {
        struct fault *f = &st.f[i];
        consider(f->begin, g, i, &inside, &inside_at);
        consider(f->healed, g, i, &inside, &inside_at);
        uint64_t at = f->healed && f->healed < g->from ? f->healed : f->begin;
        if (at && at < g->from && at > before_at) {
            before = f;
            before_at = at;
        }
    }
    struct fault *f = inside ? inside : before;
    uint64_t len = g->to - g->from;
    uint64_t *longest = f ? &f->longest : &st.other;
    *longest = len > *longest ? len : *longest;
    return f;
}

/* For reading beside the logs, which count from the same boot. */
static void long_gap(const struct gap *g, const struct fault *f)
{
    if (g->to - g->from >= LONG_NS)
        fprintf(stderr, "verify: nothing from %.3f for %.3f s: %s\n",
                (double)g->from / 1e9, (double)(g->to - g->from) / 1e9,
                f ? f->kind : "no fault");
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void line(const char *kind, bool crowded)
{
    static uint64_t v[FAULTS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < st.n; i++) {
        if (st.f[i].begin && st.f[i].crowded == crowded &&
            strcmp(st.f[i].kind, kind) == 0)
            v[n++] = st.f[i].longest;
    }
    if (!n)
        return;
    qsort(v, n, sizeof(*v), by_value);
    printf("pause %-16s %-7s n=%-4u p50=%.3f p99=%.3f max=%.3f\n", kind,
           crowded ? "crowded" : "alone", n, (double)v[(n - 1) / 2] / 1e9,
           (double)v[(uint32_t)((n - 1) * 0.99 + 0.5)] / 1e9,
           (double)v[n - 1] / 1e9);
}

static bool seen_before(uint32_t i)
{
    for (uint32_t k = 0; k < i; k++) {
        if (strcmp(st.f[k].kind, st.f[i].kind) == 0)
            return true;
    }
    return false;
}

void stall_report(void)
{
    pthread_mutex_lock(&st.lock);
    for (uint32_t i = 0; i < st.n_gaps; i++)
        long_gap(&st.g[i], blame(&st.g[i]));
    for (uint32_t i = 0; i < st.n; i++) {
        if (!st.f[i].begin || seen_before(i))
            continue;
        line(st.f[i].kind, false);
        line(st.f[i].kind, true);
    }
    printf("pause %-16s longest=%.3f gaps=%u\n", "no-fault",
           (double)st.other / 1e9, st.n_gaps);
    pthread_mutex_unlock(&st.lock);
}
