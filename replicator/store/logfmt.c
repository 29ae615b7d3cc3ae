/* SPDX-License-Identifier: BSD-3-Clause */
/* Little-endian throughout.
 *
 * Segment head, 4096 bytes:
 *   0 magic u64 "KTLOG001" | 8 uuid[16] | 24 no u64 | 32 incarnation u64
 *   | 40 bytes u32 | zeros | 4088 XXH3-64 of the 4088 before
 *
 * Record head, 256 bytes, then n_sums u64, then data_len bytes:
 *   0 magic u32 "KTRC" | 4 n_extents u32 | 8 uuid u64 | 16 seg u64 | 24 lsn u64
 *   | 32 incarnation u64 | 40 durable_lsn u64 | 48 n_sums u32 | 52 data_len u32
 *   | 56 sums_sum u64 | 64 payload_sum u64
 *   | 72 chain u64 | 80 id (epoch u64, seq u64) | 96 prev | 112 token u64
 *   | 120 wseq u64 | 128 wstable u64 | 136 op u8 | 137 flags u8 | 138 zero u16
 *   | 140 extent u32 | 144 gen u32 | 148 off u32 | 152 len u32 | 156 zero u32
 *   | 160 keep u64[4] | 192 ends u8 | 193 zeros | 248 XXH3-64 of the 248 before
 *
 * Records written by one call stand side by side; the last says `ends`, and
 * zeros fill its page. The first of them is where the one before says the next
 * one is: at its end, or at the next page. */
#include "replicator/store/logfmt.h"

#include "lib/base/cursor.h"
#include "lib/base/err.h"
#include "lib/base/sum.h"

#define SEG_MAGIC 0x313030474f4c544bu
#define REC_MAGIC 0x4352544bu
#define SUM_BYTES 8u
#define ENDS_AT 192u

static void seal(uint8_t *b, uint32_t bytes)
{
    struct kt_cur c = kt_cur_w(b + bytes - SUM_BYTES, SUM_BYTES);
    kt_put_u64(&c, kt_sum64(b, bytes - SUM_BYTES));
}

static bool sealed(const uint8_t *b, uint32_t bytes)
{
    struct kt_cur c = kt_cur_r(b + bytes - SUM_BYTES, SUM_BYTES);
    return kt_get_u64(&c) == kt_sum64(b, bytes - SUM_BYTES);
}

void log_seg_encode(const struct log_seg_head *h,
                    uint8_t ret[LOG_SEG_HEAD_BYTES])
{
    struct kt_cur c = kt_cur_w(ret, LOG_SEG_HEAD_BYTES);
    memset(ret, 0, LOG_SEG_HEAD_BYTES);
    kt_put_u64(&c, SEG_MAGIC);
    kt_put_id(&c, &h->uuid);
    kt_put_u64(&c, h->no);
    kt_put_u64(&c, h->incarnation);
    kt_put_u32(&c, h->bytes);
    seal(ret, LOG_SEG_HEAD_BYTES);
}

int log_seg_decode(const uint8_t b[LOG_SEG_HEAD_BYTES],
                   struct log_seg_head *ret_h)
{
    struct kt_cur c = kt_cur_r(b, LOG_SEG_HEAD_BYTES);
    struct log_seg_head h;
    if (!sealed(b, LOG_SEG_HEAD_BYTES) || kt_get_u64(&c) != SEG_MAGIC)
        return KT_E_CORRUPT;
    kt_get_id(&c, &h.uuid);
    h.no = kt_get_u64(&c);
    h.incarnation = kt_get_u64(&c);
    h.bytes = kt_get_u32(&c);
    if (h.bytes < LOG_SEG_BYTES_MIN || h.bytes > LOG_SEG_BYTES_MAX)
        return KT_E_CORRUPT;
    *ret_h = h;
    return 0;
}

static void put_rid(struct kt_cur *c, struct kt_rid r)
{
    kt_put_u64(c, r.epoch);
    kt_put_u64(c, r.seq);
}

static struct kt_rid get_rid(struct kt_cur *c)
{
    struct kt_rid r;
    r.epoch = kt_get_u64(c);
    r.seq = kt_get_u64(c);
    return r;
}

static void put_record(struct kt_cur *c, const struct kt_record *r)
{
    kt_put_u64(c, r->chain);
    put_rid(c, r->id);
    put_rid(c, r->prev);
    kt_put_u64(c, r->token);
    kt_put_u64(c, r->wseq);
    kt_put_u64(c, r->wstable);
    kt_put_u8(c, r->op);
    kt_put_u8(c, r->flags);
    kt_put_u16(c, 0);
    kt_put_u32(c, r->extent);
    kt_put_u32(c, r->gen);
    kt_put_u32(c, r->off);
    kt_put_u32(c, r->len);
    kt_put_u32(c, 0);
    for (unsigned i = 0; i < KT_ARRAY_LEN(r->keep); i++)
        kt_put_u64(c, r->keep[i]);
}

static void get_record(struct kt_cur *c, struct kt_record *r)
{
    r->chain = kt_get_u64(c);
    r->id = get_rid(c);
    r->prev = get_rid(c);
    r->token = kt_get_u64(c);
    r->wseq = kt_get_u64(c);
    r->wstable = kt_get_u64(c);
    r->op = kt_get_u8(c);
    r->flags = kt_get_u8(c);
    (void)kt_get_u16(c);
    r->extent = kt_get_u32(c);
    r->gen = kt_get_u32(c);
    r->off = kt_get_u32(c);
    r->len = kt_get_u32(c);
    (void)kt_get_u32(c);
    for (unsigned i = 0; i < KT_ARRAY_LEN(r->keep); i++)
        r->keep[i] = kt_get_u64(c);
}

void log_rec_encode(const struct log_rec_head *h,
                    uint8_t ret[LOG_REC_HEAD_BYTES])
{
    struct kt_cur c = kt_cur_w(ret, LOG_REC_HEAD_BYTES);
    kt_put_u32(&c, REC_MAGIC);
    kt_put_u32(&c, h->n_extents);
    kt_put_u64(&c, h->uuid);
    kt_put_u64(&c, h->seg);
    kt_put_u64(&c, h->lsn);
    kt_put_u64(&c, h->incarnation);
    kt_put_u64(&c, h->durable_lsn);
    kt_put_u32(&c, h->n_sums);
    kt_put_u32(&c, h->data_len);
    kt_put_u64(&c, h->sums_sum);
    kt_put_u64(&c, h->payload_sum);
    put_record(&c, &h->rec);
    kt_put_u8(&c, h->ends);
    memset(c.p, 0, c.left);
    seal(ret, LOG_REC_HEAD_BYTES);
}

void log_rec_end(uint8_t b[LOG_REC_HEAD_BYTES])
{
    b[ENDS_AT] = 1;
    seal(b, LOG_REC_HEAD_BYTES);
}

int log_rec_decode(const uint8_t b[LOG_REC_HEAD_BYTES],
                   struct log_rec_head *ret_h)
{
    struct kt_cur c = kt_cur_r(b, LOG_REC_HEAD_BYTES);
    if (kt_get_u32(&c) != REC_MAGIC || !sealed(b, LOG_REC_HEAD_BYTES))
        return KT_E_CORRUPT;
    ret_h->n_extents = kt_get_u32(&c);
    ret_h->uuid = kt_get_u64(&c);
    ret_h->seg = kt_get_u64(&c);
    ret_h->lsn = kt_get_u64(&c);
    ret_h->incarnation = kt_get_u64(&c);
    ret_h->durable_lsn = kt_get_u64(&c);
    ret_h->n_sums = kt_get_u32(&c);
    ret_h->data_len = kt_get_u32(&c);
    ret_h->sums_sum = kt_get_u64(&c);
    ret_h->payload_sum = kt_get_u64(&c);
    get_record(&c, &ret_h->rec);
    ret_h->ends = kt_get_u8(&c) == 1;
    if (ret_h->n_sums > KT_RECORD_SECTORS_MAX ||
        ret_h->data_len > KT_RECORD_BYTES_MAX || !ret_h->n_extents ||
        ret_h->n_extents > KT_SEGMENT_EXTENTS_MAX ||
        kt_record_invalid(&ret_h->rec, ret_h->n_extents))
        return KT_E_CORRUPT;
    return 0;
}

bool log_rec_check(const struct log_rec_head *h, const uint64_t *sums,
                   const uint8_t *data)
{
    if (h->n_sums == 0)
        return h->data_len == 0 ||
               kt_sum64(data, h->data_len) == h->payload_sum;
    if (kt_sum64(sums, 8 * (size_t)h->n_sums) != h->sums_sum)
        return false;
    uint32_t at = 0;
    for (uint32_t i = 0; i < h->n_sums; i++) {
        if (sums[i] == 0)
            continue;
        if (h->data_len - at < KT_SECTOR_BYTES ||
            kt_sum64(data + at, KT_SECTOR_BYTES) != sums[i])
            return false;
        at += KT_SECTOR_BYTES;
    }
    return at == h->data_len;
}
