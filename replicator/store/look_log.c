/* SPDX-License-Identifier: BSD-3-Clause */
/* Every record of a log whose head can be read, wherever it stands: damage
 * before it does not matter here, and of a damaged payload other sectors may
 * be good.
 *
 * A log that was cut at its end keeps what stood behind the cut, with the
 * incarnation of its time; what was appended later has a greater one and no
 * greater lsn. So, by lsn, a record of a lesser incarnation than one before it
 * was cut off, and is left out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/look_int.h"

static int add(struct look *l, const struct log_rec_head *h, uint32_t at,
               bool broken)
{
    if (l->n_recs == l->cap_recs) {
        uint32_t cap = l->cap_recs ? 2 * l->cap_recs : 1024;
        void *p = realloc(l->recs, cap * sizeof(l->recs[0]));
        if (!p)
            return -ENOMEM;
        l->recs = p;
        l->cap_recs = cap;
    }
    const struct kt_record *r = &h->rec;
    l->recs[l->n_recs++] = (struct look_rec){
        .chain = r->chain,
        .id = r->id,
        .prev = r->prev,
        .lsn = h->lsn,
        .incarnation = h->incarnation,
        .seg = h->seg,
        .sums_sum = h->sums_sum,
        .at = at,
        .n_sums = h->n_sums,
        .extent = r->extent,
        .off = r->off,
        .len = r->len,
        .op = r->op,
        .flags = r->flags,
        .broken = broken,
    };
    l->durable_lsn = kt_max_u64(l->durable_lsn, h->durable_lsn);
    return 0;
}

/* The record at off of a segment's bytes: its length, or 0. */
static uint32_t record_at(const struct look *l, const struct seg *g,
                          const uint8_t *b, uint32_t off,
                          struct log_rec_head *ret_h, bool *ret_broken)
{
    uint32_t end = l->s->super.seg_bytes;
    if (end - off < LOG_REC_HEAD_BYTES || b[off] != 'K' ||
        log_rec_decode(b + off, ret_h) || ret_h->uuid != l->s->uuid64 ||
        ret_h->seg != g->no)
        return 0;
    uint32_t bytes = log_rec_bytes(ret_h->n_sums, ret_h->data_len);
    const uint8_t *sums = b + off + LOG_REC_HEAD_BYTES;
    if (bytes > end - off)
        return 0;
    *ret_broken = !log_rec_check(ret_h, (const uint64_t *)(const void *)sums,
                                 sums + 8 * ret_h->n_sums);
    return bytes;
}

/* What of it can be read, and how far the file goes: an unreadable page takes
 * nothing else with it. */
static uint32_t read_seg(const struct look *l, const struct seg *g, uint8_t *b)
{
    uint32_t all = l->s->super.seg_bytes, page = 4096;
    struct stat st;
    memset(b, 0, all);
    if (fstat(g->fd, &st))
        return 0;
    uint32_t bytes = (uint32_t)kt_min_u64((uint64_t)st.st_size, all);
    if (!kt_pread_all(g->fd, b, bytes, 0))
        return bytes;
    for (uint32_t off = 0; off + page <= bytes; off += page)
        if (kt_pread_all(g->fd, b + off, page, off))
            memset(b + off, 0, page);
    return bytes;
}

static int scan_seg(struct look *l, const struct seg *g, uint8_t *b)
{
    struct log_rec_head h;
    uint32_t off = LOG_SEG_HEAD_BYTES, bytes;
    bool broken;
    int err = 0;
    uint32_t end = read_seg(l, g, b);
    while (!err && off + LOG_REC_HEAD_BYTES <= end) {
        bytes = record_at(l, g, b, off, &h, &broken);
        if (bytes)
            err = add(l, &h, off, broken);
        off += bytes ? bytes : 8;
    }
    return err;
}

static int by_lsn(const void *va, const void *vb)
{
    const struct look_rec *a = va, *b = vb;
    if (a->lsn != b->lsn)
        return a->lsn < b->lsn ? -1 : 1;
    return a->incarnation > b->incarnation ? -1
                                           : a->incarnation < b->incarnation;
}

static void drop_cut_off(struct look *l)
{
    uint64_t newest = 0;
    uint32_t n = 0;
    qsort(l->recs, l->n_recs, sizeof(l->recs[0]), by_lsn);
    for (uint32_t i = 0; i < l->n_recs; i++) {
        if (l->recs[i].incarnation < newest)
            continue;
        newest = l->recs[i].incarnation;
        l->recs[n++] = l->recs[i];
    }
    l->n_recs = n;
}

/* What an older life left behind its end is not ahead: it was cut off, though
 * nothing came after it that could tell. Nor is what may have been torn, or may
 * stand behind something torn: that ends a log, and no flush had followed. */
static void mark_ahead(struct look *l)
{
    uint64_t now = l->s->super.incarnation, expect = l->end_lsn + 1;
    if (l->info.super_lost && l->n_recs)
        now = l->recs[l->n_recs - 1].incarnation;
    for (uint32_t i = 0; i < l->n_recs; i++) {
        struct look_rec *r = &l->recs[i];
        bool gap = r->lsn > expect;
        if (r->broken && r->lsn > l->durable_lsn)
            continue;
        if (l->info.index_lost) { /* in no copy, whatever it is */
            r->ahead = true;
            continue;
        }
        if (r->lsn <= l->end_lsn || r->incarnation != now)
            continue;
        if (gap && expect > l->durable_lsn)
            break;
        r->ahead = true;
        l->info.unknown = l->info.unknown || gap;
        expect = r->lsn + 1;
    }
    l->info.unknown = l->info.unknown || l->durable_lsn >= expect;
}

int look_records(struct look *l, const struct look_rec **ret_r, uint32_t *ret_n)
{
    int err = 0;
    uint8_t *b = NULL;
    if (!l->have_recs && !l->s->segs)
        err = scan_segs(l->s);
    if (!l->have_recs && !err) {
        b = malloc(l->s->super.seg_bytes);
        err = b ? 0 : -ENOMEM;
    }
    if (b) {
        for (struct seg *g = l->s->segs; g && !err; g = g->next)
            err = scan_seg(l, g, b);
        drop_cut_off(l);
        mark_ahead(l);
        l->have_recs = !err;
        free(b);
    }
    if (err)
        return err;
    *ret_r = l->recs;
    *ret_n = l->n_recs;
    return 0;
}

enum look_state look_payload(struct look *l, const struct look_rec *r,
                             uint32_t k, uint8_t ret[KT_SECTOR_BYTES])
{
    uint64_t sums[KT_RECORD_SECTORS_MAX];
    uint32_t i = k - r->off / KT_SECTOR_BYTES, rank = 0;
    const struct seg *g = seg_find(l->s, r->seg);
    memset(ret, 0, KT_SECTOR_BYTES);
    if (r->op != KT_OP_WRITE)
        return LOOK_ABSENT;
    if (!g || i >= r->n_sums ||
        kt_pread_all(g->fd, sums, 8 * (size_t)r->n_sums,
                     r->at + LOG_REC_HEAD_BYTES) ||
        kt_sum64(sums, 8 * (size_t)r->n_sums) != r->sums_sum)
        return LOOK_BAD;
    if (!sums[i])
        return LOOK_ABSENT;
    for (uint32_t n = 0; n < i; n++)
        rank += sums[n] != 0;
    uint64_t at = (uint64_t)r->at + LOG_REC_HEAD_BYTES + 8 * r->n_sums +
                  (uint64_t)rank * KT_SECTOR_BYTES;
    if (kt_pread_all(g->fd, ret, KT_SECTOR_BYTES, at) ||
        kt_sum64(ret, KT_SECTOR_BYTES) != sums[i])
        return LOOK_BAD;
    return LOOK_GOOD;
}
