/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/chaos/hist.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/checker.h"

#define WORDS 64u /* of a sector of 512 bytes */
#define SECTORS (BLOCK_BYTES / 512u)
#define MAGIC UINT64_C(0x4b544348414f5331)
#define FOLD_MIN 128u /* shorter histories are kept */
#define SHOWN_MAX 20u /* findings told one by one */

struct entry {
    struct check_op o;
    uint32_t session; /* of a write of unknown outcome */
    bool open;        /* such a one, not known to be fenced yet */
};

struct block {
    struct entry *e;
    uint32_t n, cap, fold_at;
    uint32_t users; /* operations of ours under way */
    bool alone, owed, bad;
    uint64_t zero_id; /* the last zeroing that was answered; 0: at first */
    uint64_t initial; /* what the history begins with */
};

static struct {
    pthread_mutex_t lock;
    struct block *b;
    uint32_t n;
    uint32_t owed;
    uint64_t volume, nonce, next, shown;
    uint64_t fence[SESSIONS_MAX]; /* 0: not fenced */
    struct hist_sums sums;
} h = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int hist_init(uint32_t blocks, uint64_t volume)
{
    h.b = calloc(blocks, sizeof(*h.b));
    h.n = blocks;
    h.volume = volume;
    /* Ids of another run on the same volume are others. */
    h.nonce = mix(mono_ns() ^ (uint64_t)time(NULL) << 32) << 32;
    return h.b ? 0 : -1;
}

void hist_release(void)
{
    for (uint32_t i = 0; i < h.n; i++)
        free(h.b[i].e);
    free(h.b);
}

/* ---- stamps ---- */

static uint64_t sum_of(const uint64_t *w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < WORDS - 1; i++)
        sum = (sum ^ w[i]) * UINT64_C(0x100000001b3) + (sum >> 29);
    return sum;
}

static void stamp(uint64_t *w, uint64_t sector, uint64_t id)
{
    w[0] = MAGIC;
    w[1] = h.volume;
    w[2] = sector;
    w[3] = id;
    for (unsigned i = 4; i < WORDS - 1; i++)
        w[i] = id * i ^ sector;
    w[WORDS - 1] = sum_of(w);
}

void hist_stamp(const struct op *o, uint8_t *buf)
{
    uint64_t sector[WORDS];
    for (uint32_t i = 0; i < o->n * SECTORS; i++) {
        stamp(sector, (uint64_t)o->first * SECTORS + i, o->id);
        memcpy(buf + (size_t)i * 512, sector, 512);
    }
}

static const char *id_of_sector(const uint64_t *w, uint64_t at, uint64_t *ret)
{
    static const uint64_t zeros[WORDS];
    if (memcmp(w, zeros, sizeof(zeros)) == 0) {
        *ret = 0;
        return NULL;
    }
    if (w[0] != MAGIC || sum_of(w) != w[WORDS - 1])
        return "bytes that nobody wrote";
    if (w[1] != h.volume)
        return "bytes of another volume";
    if (w[2] != at)
        return "bytes of another place";
    *ret = w[3];
    return NULL;
}

static const char *id_of_block(const uint8_t *buf, uint32_t at, uint64_t *ret)
{
    uint64_t w[WORDS], id, first = 0;
    for (unsigned i = 0; i < SECTORS; i++) {
        memcpy(w, buf + (size_t)i * 512, 512);
        const char *bad = id_of_sector(w, (uint64_t)at * SECTORS + i, &id);
        if (bad)
            return bad;
        if (i == 0)
            first = id;
        if (id != first)
            return "two writes mixed in one block";
    }
    *ret = first;
    return NULL;
}

/* ---- judging ---- */

static bool tell(uint32_t at)
{
    if (++h.shown > SHOWN_MAX)
        return false;
    fprintf(stderr, "verify: block %" PRIu32 ": ", at);
    return true;
}

static void show_history(const struct block *b)
{
    uint32_t from = b->n > 40 ? b->n - 40 : 0;
    for (uint32_t i = from; i < b->n; i++) {
        const struct check_op *o = &b->e[i].o;
        fprintf(stderr, "  %s %" PRIx64 " %.6f to %.6f%s%s\n",
                o->kind == CHECK_READ ? "read " : "write", o->id,
                (double)o->s / 1e9,
                o->f == CHECK_NEVER ? -1.0 : (double)o->f / 1e9,
                o->optional ? " unknown" : "", o->refused ? " refused" : "");
    }
}

static bool was_read(const struct check_op *o, uint32_t n, uint64_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (o[i].kind == CHECK_READ && o[i].id == id)
            return true;
    }
    return false;
}

/* When the write of that id was over; 0: it was judged before. */
static uint64_t over_at(const struct check_op *o, uint32_t n, uint64_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (o[i].kind == CHECK_WRITE && o[i].id == id)
            return o[i].f;
    }
    return 0;
}

/* Only for the name of a violation: an answered write that nobody ever saw,
 * where a later read saw an older one, is lost; otherwise something was stale
 * for a while. */
static bool is_lost(const struct check_op *o, uint32_t n)
{
    for (uint32_t r = 0; r < n; r++) {
        if (o[r].kind != CHECK_READ)
            continue;
        uint64_t over = over_at(o, n, o[r].id);
        for (uint32_t i = 0; i < n; i++) {
            if (o[i].kind == CHECK_WRITE && !o[i].optional && !o[i].refused &&
                o[i].s > over && o[i].f < o[r].s && !was_read(o, n, o[i].id))
                return true;
        }
    }
    return false;
}

static void judge(uint32_t at)
{
    struct block *b = &h.b[at];
    struct check_op *o = calloc(b->n + 1u, sizeof(*o));
    uint64_t ids[2] = {0, 0};
    assert(o);
    for (uint32_t i = 0; i < b->n; i++) {
        o[i] = b->e[i].o;
        if (!b->e[i].open || !h.fence[b->e[i].session])
            continue;
        o[i].f = h.fence[b->e[i].session];
        o[i].refused = o[i].s > o[i].f;
    }
    const char *bad = check_register(o, b->n, b->initial, ids);
    if (bad) {
        b->bad = true;
        if (strstr(bad, "refused"))
            h.sums.fence++;
        else if (strstr(bad, "began"))
            h.sums.corrupt++;
        else if (is_lost(o, b->n))
            h.sums.lost++;
        else
            h.sums.stale++;
        if (tell(at)) {
            fprintf(stderr, "%s: %" PRIx64 " %" PRIx64 "\n", bad, ids[0],
                    ids[1]);
            show_history(b);
        }
    }
    free(o);
}

/* The value of a quiet block, if the history tells: a read that began after
 * every write in it was over. */
static bool value_now(const struct block *b, uint64_t *ret_id)
{
    uint64_t over = 0, s = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct entry *e = &b->e[i];
        uint64_t f = e->open ? h.fence[e->session] : e->o.f;
        if (e->open && f == 0)
            return false;
        if (e->o.kind == CHECK_WRITE && f > over)
            over = f;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->e[i].o.kind == CHECK_READ && b->e[i].o.s > s) {
            s = b->e[i].o.s;
            *ret_id = b->e[i].o.id;
        }
    }
    return s > over;
}

static void fold(uint32_t at)
{
    struct block *b = &h.b[at];
    uint64_t id = 0;
    if (b->bad || b->users || b->owed || b->n < b->fold_at)
        return;
    b->fold_at = b->n + FOLD_MIN / 4;
    if (!value_now(b, &id))
        return;
    judge(at);
    b->initial = id;
    b->n = 0;
    b->fold_at = FOLD_MIN;
}

/* ---- operations ---- */

static void add(struct block *b, struct entry e)
{
    if (b->bad)
        return;
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 16;
        b->e = realloc(b->e, b->cap * sizeof(*b->e));
        assert(b->e);
    }
    b->e[b->n++] = e;
    if (!b->fold_at)
        b->fold_at = FOLD_MIN;
}

static bool may_take(const struct op *o)
{
    for (uint32_t i = o->first; i < o->first + o->n; i++) {
        if (h.b[i].alone || h.b[i].owed || (o->kind == OP_ZERO && h.b[i].users))
            return false;
    }
    return true;
}

static void take_blocks(struct op *o)
{
    for (uint32_t i = o->first; i < o->first + o->n; i++) {
        h.b[i].users++;
        h.b[i].alone = o->kind == OP_ZERO || o->repair;
    }
    o->id = h.nonce | ++h.next;
    o->s = mono_ns();
}

bool hist_begin(struct op *o)
{
    assert(o->n && o->n <= SPAN_MAX && o->first + o->n <= h.n);
    pthread_mutex_lock(&h.lock);
    bool ok = may_take(o);
    if (ok)
        take_blocks(o);
    pthread_mutex_unlock(&h.lock);
    return ok;
}

bool hist_owed(struct op *ret_o)
{
    bool found = false;
    pthread_mutex_lock(&h.lock);
    for (uint32_t i = 0; h.owed && i < h.n && !found; i++) {
        if (!h.b[i].owed || h.b[i].alone)
            continue;
        *ret_o = (struct op){.kind = OP_WRITE,
                             .repair = true,
                             .first = i,
                             .n = 1,
                             .session = ret_o->session};
        take_blocks(ret_o);
        found = true;
    }
    pthread_mutex_unlock(&h.lock);
    return found;
}

static void end_read(const struct op *o, uint32_t at, const uint8_t *buf)
{
    uint64_t id = 0, now = mono_ns();
    const char *bad = id_of_block(buf, at, &id);
    if (bad) {
        h.sums.corrupt++;
        h.b[at].bad = true;
        if (tell(at))
            fprintf(stderr, "%s, read from %.6f to %.6f\n", bad,
                    (double)o->s / 1e9, (double)now / 1e9);
        return;
    }
    struct check_op c = {.kind = CHECK_READ,
                         .id = id ? id : h.b[at].zero_id,
                         .s = o->s,
                         .f = now};
    add(&h.b[at], (struct entry){.o = c});
}

/* An answer to what was asked after its session had been fenced. */
static bool is_ghost(const struct op *o, enum op_end how)
{
    return o->kind != OP_READ && how == END_OK && h.fence[o->session] &&
           o->s > h.fence[o->session];
}

static void set_owed(struct block *b, bool owed)
{
    h.owed += owed && !b->owed;
    h.owed -= !owed && b->owed;
    b->owed = owed;
}

static void end_write(const struct op *o, uint32_t at, enum op_end how)
{
    struct block *b = &h.b[at];
    struct check_op c = {.kind = CHECK_WRITE,
                         .id = o->id,
                         .s = o->s,
                         .f = how == END_UNKNOWN ? CHECK_NEVER : mono_ns(),
                         .optional = how != END_OK};
    add(b, (struct entry){
               .o = c, .session = o->session, .open = how == END_UNKNOWN});
    if (o->kind == OP_ZERO && how == END_OK)
        b->zero_id = o->id;
    if (o->kind == OP_ZERO)
        set_owed(b, how != END_OK);
    else if (o->repair && how == END_OK)
        set_owed(b, false);
}

static void count(const struct op *o, enum op_end how)
{
    h.sums.reads += o->kind == OP_READ && how == END_OK;
    h.sums.writes += o->kind == OP_WRITE && how == END_OK;
    h.sums.zeros += o->kind == OP_ZERO && how == END_OK;
    h.sums.unknown += o->kind != OP_READ && how == END_UNKNOWN;
    h.sums.refused += how == END_NOSPC;
}

void hist_end(const struct op *o, enum op_end how, const uint8_t *buf)
{
    pthread_mutex_lock(&h.lock);
    count(o, how);
    if (is_ghost(o, how)) {
        h.sums.fence++;
        if (tell(o->first))
            fprintf(stderr, "a fenced session's write was answered\n");
    }
    for (uint32_t i = 0; i < o->n; i++) {
        struct block *b = &h.b[o->first + i];
        if (o->kind != OP_READ)
            end_write(o, o->first + i, how);
        else if (how == END_OK)
            end_read(o, o->first + i, buf + (size_t)i * BLOCK_BYTES);
        if (o->kind == OP_ZERO || o->repair)
            b->alone = false;
        b->users--;
        fold(o->first + i);
    }
    pthread_mutex_unlock(&h.lock);
}

void hist_fence(uint32_t session)
{
    pthread_mutex_lock(&h.lock);
    h.fence[session] = mono_ns();
    pthread_mutex_unlock(&h.lock);
}

void hist_finish(void)
{
    pthread_mutex_lock(&h.lock);
    for (uint32_t i = 0; i < h.n; i++) {
        if (!h.b[i].bad)
            judge(i);
    }
    pthread_mutex_unlock(&h.lock);
}

struct hist_sums hist_sums(void)
{
    pthread_mutex_lock(&h.lock);
    struct hist_sums s = h.sums;
    pthread_mutex_unlock(&h.lock);
    return s;
}
