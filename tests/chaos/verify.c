/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes and reads a disk over NBD while somebody breaks what is behind it,
 * and tells at the end whether it was one disk all the time.
 *
 *   verify --bytes N [--threads N] [--seed N] [--pause-us N]
 *       [--end-s N]
 *
 * It is told what happens on standard input, one line each:
 *
 *   open SOCKET     the disk is served there from now on, by a new holder:
 *                   what earlier ones did not answer can no longer happen
 *   fault N KIND    fault number N begins
 *   healed N        and is over
 *   end             all is healed: every request must end within --end-s, 60
 *
 * Thread 0 writes 4 KiB at a time without a pause; its longest gaps are the
 * pauses that are reported. The first of the others stays with an earlier
 * holder for some seconds, as a client would that does not know better.
 *
 * Exit 1 when something was lost, stale, corrupt, stuck, or done by a fenced
 * holder. */
#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/chaos/hist.h"
#include "tests/chaos/stall.h"

#define THREADS_MAX 64u
#define PACED 8u /* blocks at each end that thread 0 writes */
#define STAY_NS UINT64_C(3000000000)
#define MANY UINT64_C(1000000000) /* ns in a second */

struct worker {
    pthread_t thread;
    uint32_t index;
    uint64_t seed;
    struct nbd_handle *nbd; /* NULL: not connected */
    uint32_t session;       /* that nbd belongs to */
    uint64_t last;          /* thread 0: when something was answered */
    atomic_bool gone;
    uint8_t buf[SPAN_MAX * BLOCK_BYTES];
};

static struct {
    pthread_mutex_t lock;
    char sock[SESSIONS_MAX][108];
    atomic_uint session; /* 0: none yet */
    _Atomic uint64_t since;
    atomic_bool stop, abandon;
    uint32_t blocks, threads, pause_us, end_s;
    uint64_t seed;
    atomic_uint_fast64_t flushes, errors, connects, longest;
    uint32_t stuck;
    struct worker w[THREADS_MAX];
} v = {.lock = PTHREAD_MUTEX_INITIALIZER,
       .threads = 8,
       .pause_us = 2000,
       .end_s = 60};

static void nap_us(uint64_t us)
{
    struct timespec t = {.tv_sec = (time_t)(us / 1000000),
                         .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

static uint64_t draw(struct worker *w, uint64_t n)
{
    uint64_t z = w->seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

/* ---- the connection ---- */

static void hang_up(struct worker *w)
{
    nbd_close(w->nbd);
    w->nbd = NULL;
}

/* Whether this thread still has to do with the holder it is connected to. */
static bool is_over(const struct worker *w)
{
    if (v.abandon)
        return true;
    if (w->session == v.session)
        return false;
    return w->index != 1 || mono_ns() - v.since > STAY_NS || v.stop;
}

static bool ensure_connected(struct worker *w)
{
    char sock[sizeof(v.sock[0])];
    if (w->nbd && is_over(w))
        hang_up(w);
    if (w->nbd)
        return true;
    pthread_mutex_lock(&v.lock);
    w->session = v.session;
    memcpy(sock, v.sock[w->session], sizeof(sock));
    pthread_mutex_unlock(&v.lock);
    w->nbd = nbd_create();
    if (w->nbd && w->session && nbd_connect_unix(w->nbd, sock) == 0) {
        v.connects++;
        return true;
    }
    hang_up(w);
    nap_us(5000);
    return false;
}

static int64_t submit(struct worker *w, const struct op *o, uint32_t flags)
{
    uint64_t at = (uint64_t)o->first * BLOCK_BYTES;
    size_t len = (size_t)o->n * BLOCK_BYTES;
    switch (o->kind) {
    case OP_READ:
        return nbd_aio_pread(w->nbd, w->buf, len, at, NBD_NULL_COMPLETION, 0);
    case OP_WRITE:
        return nbd_aio_pwrite(w->nbd, w->buf, len, at, NBD_NULL_COMPLETION,
                              flags);
    default:
        if (draw(w, 2))
            return nbd_aio_zero(w->nbd, len, at, NBD_NULL_COMPLETION, flags);
        return nbd_aio_trim(w->nbd, len, at, NBD_NULL_COMPLETION, flags);
    }
}

/* 0, or the errno; the connection is closed when nothing can come any more. */
static int await(struct worker *w, int64_t cookie)
{
    int r = cookie < 0 ? -1 : 0;
    while (r == 0) {
        r = nbd_aio_command_completed(w->nbd, (uint64_t)cookie);
        if (r == 0 && is_over(w))
            break;
        if (r == 0 && nbd_poll(w->nbd, 50) < 0) {
            r = nbd_aio_command_completed(w->nbd, (uint64_t)cookie);
            r = r == 1 ? 1 : -1;
        }
    }
    int err = r == 1 ? 0 : r == 0 ? ETIMEDOUT : nbd_get_errno();
    if (r == 0 || nbd_aio_is_dead(w->nbd) || nbd_aio_is_closed(w->nbd))
        hang_up(w);
    return r == 1 ? 0 : err ? err : EIO;
}

/* ---- requests ---- */

/* A zeroing that a trim may stand for: both leave zeros here. */
static bool run_op(struct worker *w, struct op *o)
{
    uint64_t s = o->s;
    if (o->kind == OP_WRITE)
        hist_stamp(o, w->buf);
    int64_t cookie = submit(w, o, draw(w, 16) == 0 ? LIBNBD_CMD_FLAG_FUA : 0);
    int err = await(w, cookie);
    hist_end(o,
             err == 0        ? END_OK
             : err == ENOSPC ? END_NOSPC
                             : END_UNKNOWN,
             w->buf);
    uint64_t took = mono_ns() - s;
    if (took > v.longest)
        v.longest = took;
    if (err) {
        v.errors++;
        nap_us(20000);
    }
    return err == 0;
}

static void choose(struct worker *w, struct op *o)
{
    uint64_t size = draw(w, 100), kind = draw(w, 100);
    uint32_t room = v.blocks - 2 * PACED;
    o->n = 1;
    if (size >= 97)
        o->n = 1 + (uint32_t)draw(w, SPAN_MAX);
    else if (size >= 70)
        o->n = 1 + (uint32_t)draw(w, 16);
    o->kind = kind < 45 ? OP_WRITE : kind < 95 ? OP_READ : OP_ZERO;
    /* Half of it goes to a few blocks, where requests meet. */
    if (draw(w, 2))
        room = room < 1024 ? room : 1024;
    o->n = o->n < room ? o->n : room;
    o->first = PACED + (uint32_t)draw(w, room - o->n + 1);
}

static void step(struct worker *w)
{
    struct op o = {.session = w->session};
    if (draw(w, 64) == 0) {
        int64_t c = nbd_aio_flush(w->nbd, NBD_NULL_COMPLETION, 0);
        if (await(w, c) == 0)
            v.flushes++;
        else
            nap_us(20000);
        return;
    }
    if (w->session == v.session && hist_owed(&o)) {
        run_op(w, &o);
        return;
    }
    choose(w, &o);
    /* A former holder is asked for what others may do at the same time. */
    if (w->session != v.session && o.kind == OP_ZERO)
        o.kind = OP_READ;
    if (hist_begin(&o))
        run_op(w, &o);
}

static void pace(struct worker *w)
{
    uint32_t at = (uint32_t)draw(w, 2 * PACED);
    struct op o = {.kind = OP_WRITE, .n = 1, .session = w->session};
    o.first = at < PACED ? at : v.blocks - 1 - (at - PACED);
    if (!hist_begin(&o) || !run_op(w, &o))
        return;
    uint64_t now = mono_ns();
    if (w->last)
        stall_gap(w->last, now);
    w->last = now;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    while (!v.stop) {
        if (!ensure_connected(w))
            continue;
        if (w->index == 0) {
            pace(w);
            nap_us(500);
            w->last = w->last && w->nbd ? mono_ns() : w->last;
        } else {
            step(w);
            nap_us(draw(w, 2 * v.pause_us + 1));
        }
    }
    if (w->nbd)
        hang_up(w);
    w->gone = true;
    return NULL;
}

/* ---- the end ---- */

/* Requests of a minute ago that still have no answer are stuck. */
static void join_all(void)
{
    uint64_t until = mono_ns() + v.end_s * MANY;
    uint32_t left = v.threads;
    v.stop = true;
    while (left && mono_ns() < until) {
        left = 0;
        for (uint32_t i = 0; i < v.threads; i++)
            left += !v.w[i].gone;
        nap_us(10000);
    }
    v.stuck = left;
    v.abandon = true;
    for (uint32_t i = 0; i < v.threads; i++)
        pthread_join(v.w[i].thread, NULL);
}

/* Every block once more, and those first that are owed a write. */
static void read_all(void)
{
    struct worker *w = &v.w[0];
    uint64_t until = mono_ns() + v.end_s * MANY;
    v.stop = v.abandon = false;
    for (uint32_t at = 0; at < v.blocks && mono_ns() < until;) {
        struct op o = {0};
        if (!ensure_connected(w))
            continue;
        o.session = w->session;
        if (hist_owed(&o)) {
            run_op(w, &o);
            continue;
        }
        o = (struct op){.kind = OP_READ, .first = at, .n = SPAN_MAX};
        o.n = v.blocks - at < o.n ? v.blocks - at : o.n;
        o.session = w->session;
        if (hist_begin(&o) && run_op(w, &o))
            at += o.n;
    }
    if (mono_ns() >= until)
        v.stuck++;
    if (w->nbd)
        hang_up(w);
}

static int report(void)
{
    struct hist_sums s = hist_sums();
    stall_report();
    printf("totals writes=%" PRIu64 " reads=%" PRIu64 " zeros=%" PRIu64
           " flushes=%" PRIu64 " unknown=%" PRIu64 " nospace=%" PRIu64
           " errors=%" PRIu64 " connections=%" PRIu64 " longest=%.3f\n",
           s.writes, s.reads, s.zeros, (uint64_t)v.flushes, s.unknown,
           s.refused, (uint64_t)v.errors, (uint64_t)v.connects,
           (double)v.longest / 1e9);
    printf("violations lost=%" PRIu64 " stale=%" PRIu64 " corrupt=%" PRIu64
           " fence=%" PRIu64 " stuck=%" PRIu32 "\n",
           s.lost, s.stale, s.corrupt, s.fence, v.stuck);
    return s.lost + s.stale + s.corrupt + s.fence + v.stuck ? 1 : 0;
}

/* ---- what we are told ---- */

static void open_session(const char *sock)
{
    uint32_t n = v.session;
    if (n + 1 >= SESSIONS_MAX)
        return;
    if (n)
        hist_fence(n);
    pthread_mutex_lock(&v.lock);
    snprintf(v.sock[n + 1], sizeof(v.sock[0]), "%s", sock);
    v.since = mono_ns();
    v.session = n + 1;
    pthread_mutex_unlock(&v.lock);
}

static void start_all(void)
{
    for (uint32_t i = 0; i < v.threads; i++) {
        v.w[i].index = i;
        v.w[i].seed = v.seed * 1000 + i;
        if (pthread_create(&v.w[i].thread, NULL, work, &v.w[i]) != 0)
            abort();
    }
}

/* An end of file is an end too. */
static void obey(void)
{
    char line[256], word[108], kind[KIND_BYTES];
    uint32_t n;
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "open %107s", word) == 1)
            open_session(word);
        else if (sscanf(line, "fault %" SCNu32 " %23s", &n, kind) == 2)
            stall_fault(n, kind);
        else if (sscanf(line, "healed %" SCNu32, &n) == 1)
            stall_healed(n);
        else if (strncmp(line, "end", 3) == 0)
            return;
        else
            fprintf(stderr, "verify: what is \"%s\"?\n", line);
    }
}

static bool parse(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--bytes") == 0)
            v.blocks = (uint32_t)(n / BLOCK_BYTES);
        else if (strcmp(argv[i], "--threads") == 0)
            v.threads = (uint32_t)n;
        else if (strcmp(argv[i], "--seed") == 0)
            v.seed = n;
        else if (strcmp(argv[i], "--pause-us") == 0)
            v.pause_us = (uint32_t)n;
        else if (strcmp(argv[i], "--end-s") == 0)
            v.end_s = (uint32_t)n;
        else
            return false;
    }
    return argc % 2 && v.blocks > 4 * PACED && v.threads >= 2 &&
           v.threads <= THREADS_MAX;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: verify --bytes N [--threads N] [--seed N] "
                        "[--pause-us N] [--end-s N]\n");
        return 2;
    }
    if (hist_init(v.blocks, v.seed ^ (uint64_t)getpid()) < 0)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    start_all();
    obey();
    join_all();
    read_all();
    hist_finish();
    int r = report();
    hist_release();
    return r;
}
