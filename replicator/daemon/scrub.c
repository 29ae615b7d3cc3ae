/* SPDX-License-Identifier: BSD-3-Clause */
/* The scrub: everything in the slots is read from the disk and held against its
 * sums, and what has rotted is put right with another member's.
 *
 * 1. A pass begins when it is due (--scrub-every) or asked for. It goes through
 *    the chains by number, through their extents, in pieces of 256 KiB.
 * 2. A piece is read when the rate (--scrub-rate) allows it and no write is
 *    kept waiting by the disk: store_scrub.
 * 3. Each bad sector is read as for a client: mend.c asks another serving
 *    member, store_mend writes it. While mend.c is at work for a client it is
 *    tried again, for 30 s; when all members were asked in vain, as while the
 *    chain is being changed, three times. Then it is left: never handed out,
 *    tried with each read and the next pass.
 * 4. The end: counts and time go to the file "scrub" of the store; so does
 *    where the pass is, every minute, for whoever is started next.
 *
 * Only time spent running counts towards the next pass, so the wall clock
 * decides nothing. */
#include "replicator/daemon/repl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/log.h"
#include "lib/base/os.h"

#define PATH_BYTES 4096u
#define SAVE_MS 60000u
#define TRY_MS 30000u
#define RETRY_MS 200u
#define ASKED_RETRY_MS 2000u
#define ASKED_MAX 3u
#define STALL_US 50000u /* a write is late: the disk is wanted */
#define BURST_MS 50u

static struct scrub *scrub_of(struct op *o)
{
    return &o->rc->n->scrub;
}

/* ---- the file ---- */

static int scrub_path(const struct repl *n, char path[PATH_BYTES])
{
    int len = snprintf(path, PATH_BYTES, "%s/scrub", n->opts->store_dir);
    return len < 0 || len >= (int)PATH_BYTES ? -ENAMETOOLONG : 0;
}

static void save_work(uv_work_t *w)
{
    struct scrub *s = kt_container_of(w, struct scrub, work);
    char path[PATH_BYTES];
    s->save_err = scrub_path(kt_container_of(s, struct repl, scrub), path);
    if (!s->save_err)
        s->save_err = kt_write_file(path, s->saving, 0644);
}

/* Not saved: then the next start begins a pass anew, or later. */
static void save_done(uv_work_t *w, int status)
{
    struct scrub *s = kt_container_of(w, struct scrub, work);
    int err = status < 0 ? status : s->save_err;
    s->busy = false;
    if (err)
        kt_log(KT_LOG_WARN, "scrub_not_saved", "err=\"%s\"", kt_strerror(err));
}

static void save(struct repl *n)
{
    struct scrub *s = &n->scrub;
    const struct scrub_count *c = &s->now, *l = &s->last;
    if (s->busy)
        return;
    s->busy = true;
    s->save_ms = repl_now(n) + SAVE_MS;
    snprintf(s->saving, sizeof(s->saving),
             "1 %" PRIu64 " %d %" PRIu64 " %" PRIu32 "\n"
             "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n"
             "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
             s->ran_ms / 1000, s->running, s->chain, s->extent, c->bytes,
             c->bad, c->mended, c->left, l->bytes, l->bad, l->mended, l->left,
             s->ended_s);
    int r = uv_queue_work(&n->loop, &s->work, save_work, save_done);
    assert(r == 0); /* it fails without a callback only */
    (void)r;
}

/* A file that makes no sense is as good as none. */
void scrub_load(struct repl *n)
{
    struct scrub *s = &n->scrub;
    struct scrub_count *c = &s->now, *l = &s->last;
    char path[PATH_BYTES], *text = NULL;
    uint64_t ran_s;
    int running;
    if (scrub_path(n, path) < 0 || kt_read_file(path, 1024, &text) < 0)
        return;
    if (sscanf(text,
               "1 %" SCNu64 " %d %" SCNu64 " %" SCNu32 " %" SCNu64 " %" SCNu64
               " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
               " %" SCNu64 " %" SCNu64,
               &ran_s, &running, &s->chain, &s->extent, &c->bytes, &c->bad,
               &c->mended, &c->left, &l->bytes, &l->bad, &l->mended, &l->left,
               &s->ended_s) == 13) {
        s->ran_ms = ran_s > UINT32_MAX ? 0 : ran_s * 1000;
        s->running = running == 1;
    } else {
        memset(s, 0, sizeof(*s));
    }
    free(text);
}

/* ---- a pass ---- */

static void go_on(struct repl *n);

static void begin(struct repl *n, const char *why)
{
    struct scrub *s = &n->scrub;
    s->running = true;
    s->chain = 0;
    s->extent = s->off = 0;
    s->now = (struct scrub_count){0};
    s->start_ms = repl_now(n);
    kt_log(KT_LOG_INFO, "scrub_begins", "why=%s bytes=%" PRIu64, why,
           store_scrub_total(n->store));
    save(n);
    repl_fine(n);
}

static void end_pass(struct repl *n)
{
    struct scrub *s = &n->scrub;
    s->running = false;
    s->last = s->now;
    s->ran_ms = 0;
    s->passes++;
    s->ended_s = (uint64_t)time(NULL); /* for people */
    kt_log(s->now.left ? KT_LOG_ERROR : KT_LOG_INFO, "scrub_ended",
           "bytes=%" PRIu64 " bad=%" PRIu64 " mended=%" PRIu64 " left=%" PRIu64,
           s->now.bytes, s->now.bad, s->now.mended, s->now.left);
    save(n);
}

/* The chain with that number, else the next one. */
static struct rchain *chain_from(struct repl *n, uint64_t chain)
{
    struct rchain *best = NULL;
    for (struct rchain *rc = n->chains; rc; rc = rc->next)
        if (rc->c.id >= chain && !rc->dropping &&
            (!best || rc->c.id < best->c.id))
            best = rc;
    return best;
}

/* The next piece; false: there is none. */
static struct rchain *next_piece(struct repl *n)
{
    struct scrub *s = &n->scrub;
    for (;;) {
        struct rchain *rc = chain_from(n, s->chain);
        if (!rc)
            return NULL;
        if (rc->c.id != s->chain)
            s->extent = s->off = 0;
        s->chain = rc->c.id;
        if (s->off == KT_EXTENT_BYTES) {
            s->off = 0;
            s->extent++;
        }
        uint32_t e = store_scrub_next(rc->sc, s->extent);
        if (e != s->extent)
            s->off = 0;
        s->extent = e;
        if (e != UINT32_MAX)
            return rc;
        s->chain++;
        s->extent = s->off = 0;
    }
}

/* ---- repair ---- */

static void sector_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_read, r.op)->o, err);
}

static void sector_settled(struct repl *n, bool good)
{
    struct scrub *s = &n->scrub;
    s->bad &= s->bad - 1; /* the lowest is done */
    s->try_ms = 0;
    s->asked = 0;
    s->now.mended += good;
    s->now.left += !good;
    go_on(n);
}

static void sector_deliver(struct op *o)
{
    struct op_read *p = kt_container_of(o, struct op_read, o);
    struct repl *n = o->rc->n;
    struct scrub *s = scrub_of(o);
    int err = o->err;
    if (err == KT_E_CORRUPT && !n->mend.refuse && !n->closing && mend_start(p))
        return;
    bool tried = n->mend.refuse; /* every member was asked */
    if (!err)
        kt_buf_unref(p->r.ret_buf);
    if (tried)
        kt_log(KT_LOG_WARN, "scrub_bad", "chain=%" PRIu64 " extent=%u off=%u",
               o->rc->c.id, o->extent, o->off);
    ops_free(o);
    s->under_way = false;
    if (err == KT_E_FAULTY || n->closing)
        return;
    uint64_t now = repl_now(n);
    s->asked += tried;
    if (err != KT_E_CORRUPT || s->asked == ASKED_MAX ||
        now - s->try_ms >= TRY_MS) {
        sector_settled(n, !err);
        return;
    }
    s->next_ms = now + (tried ? ASKED_RETRY_MS : RETRY_MS);
    repl_fine(n);
}

static void read_sector(struct repl *n)
{
    struct scrub *s = &n->scrub;
    struct rchain *rc = chains_find(n, s->chain);
    if (!rc || rc->dropping) { /* its volume went away */
        s->bad = 0;
        return;
    }
    if (!s->try_ms)
        s->try_ms = repl_now(n);
    struct op *o = ops_new(rc, POOL_READ);
    struct op_read *p = kt_container_of(o, struct op_read, o);
    o->deliver = sector_deliver;
    o->extent = p->r.extent = s->extent;
    o->off = p->r.off =
        s->piece + (uint32_t)__builtin_ctzll(s->bad) * KT_SECTOR_BYTES;
    o->len = p->r.len = KT_SECTOR_BYTES;
    p->r.op.done = sector_cb;
    p->r.chain = rc->sc;
    p->r.ret_buf = NULL;
    s->under_way = true;
    store_read(n->store, &p->r);
}

/* ---- pieces ---- */

static void piece_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_scrub, r.op)->o, err);
}

static void piece_deliver(struct op *o)
{
    struct op_scrub *p = kt_container_of(o, struct op_scrub, o);
    struct repl *n = o->rc->n;
    struct scrub *s = scrub_of(o);
    int err = o->err;
    s->under_way = false;
    if (!err) {
        uint64_t bytes = (uint64_t)p->r.ret_sectors * KT_SECTOR_BYTES;
        s->now.bytes += bytes;
        s->now.bad += (unsigned)__builtin_popcountll(p->r.ret_bad);
        s->bad = p->r.ret_bad;
        s->credit -= (int64_t)bytes;
    }
    ops_free(o);
    if (err == KT_E_FAULTY)
        return; /* the store is done for, and says so itself */
    go_on(n);
}

static bool may_read(struct repl *n)
{
    struct scrub *s = &n->scrub;
    struct store_info info;
    uint64_t now = repl_now(n), rate = n->opts->scrub_rate;
    int64_t most = (int64_t)(rate / 1000 * BURST_MS);
    store_info(n->store, &info);
    uint64_t ms = kt_min_u64(now - s->credit_ms, 1000);
    s->credit += (int64_t)(rate / 1000 * ms);
    s->credit_ms = now;
    if (s->credit > most)
        s->credit = most;
    return now >= s->next_ms && info.stall_us < STALL_US &&
           (!rate || s->credit >= 0);
}

/* What comes next, unless it has to wait: then the fine timer comes again. */
static void go_on(struct repl *n)
{
    struct scrub *s = &n->scrub;
    if (!s->running || s->under_way || n->closing || n->store_err_told)
        return;
    if (!may_read(n)) {
        repl_fine(n);
        return;
    }
    if (s->bad) {
        read_sector(n);
        if (s->under_way || s->bad)
            return;
    }
    struct rchain *rc = next_piece(n);
    if (!rc) {
        end_pass(n);
        return;
    }
    struct op *o = ops_new(rc, POOL_SCRUB);
    struct op_scrub *p = kt_container_of(o, struct op_scrub, o);
    o->deliver = piece_deliver;
    p->r.op.done = piece_cb;
    p->r.chain = rc->sc;
    p->r.extent = s->extent;
    p->r.off = s->piece = s->off;
    s->off += STORE_SCRUB_BYTES;
    s->under_way = true;
    store_scrub(n->store, &p->r);
}

/* ---- from outside ---- */

bool scrub_fine(struct repl *n)
{
    go_on(n);
    return n->scrub.running && !n->scrub.under_way && !n->store_err_told;
}

void scrub_tick(struct repl *n)
{
    struct scrub *s = &n->scrub;
    uint64_t now = repl_now(n), every = n->opts->scrub_every_s;
    s->ran_ms += s->tick_ms ? now - s->tick_ms : 0;
    s->tick_ms = now;
    if (n->leaving || n->store_err_told)
        return;
    if (s->running)
        repl_fine(n);
    else if (every && s->ran_ms / 1000 >= every)
        begin(n, "due");
    if (now >= s->save_ms)
        save(n);
}

int scrub_start(struct repl *n)
{
    if (n->store_err_told)
        return KT_E_FAULTY;
    if (!n->scrub.running)
        begin(n, "asked");
    return 0;
}
