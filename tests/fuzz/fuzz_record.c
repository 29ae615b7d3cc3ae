/* SPDX-License-Identifier: BSD-3-Clause */
/* libFuzzer target: one record of a store's files. The first byte says which:
 * superblock, head of a log segment, record of the log, row of the index, page
 * of sums; its top bit, that checksums are mended first, which would stop
 * almost every mutation at the door. What is let through must be within its
 * bounds, and be said and understood again. */
#include "replicator/store/index.c"
#include "replicator/store/super.c"

#include "replicator/store/logfmt.h"

#define DATA_MAX (1u << 17)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void put_u64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof(v));
}

/* ---- superblock ---- */

static void fuzz_super(uint8_t *b, bool mend)
{
    uint8_t again[SUPER_BYTES], twice[SUPER_BYTES];
    struct super s;
    struct kt_id sum = kt_sum128(b, SUM_AT);
    if (mend)
        memcpy(b + SUM_AT, sum.b, sizeof(sum.b));
    if (decode(b, &s))
        return;
    must(s.version >= 1 && s.version <= SUPER_VERSION);
    must(s.seg_bytes >= LOG_SEG_BYTES_MIN && s.seg_bytes <= LOG_SEG_BYTES_MAX);
    must(s.capacity <= SUPER_CAPACITY_MAX);
    encode(&s, again);
    must(decode(again, &s) == 0);
    encode(&s, twice);
    must(!memcmp(again, twice, sizeof(again)));
}

/* ---- log ---- */

static void fuzz_seg(uint8_t *b, bool mend)
{
    uint8_t again[LOG_SEG_HEAD_BYTES];
    struct log_seg_head h, back;
    if (mend)
        put_u64(b + LOG_SEG_HEAD_BYTES - 8,
                kt_sum64(b, LOG_SEG_HEAD_BYTES - 8));
    if (log_seg_decode(b, &h))
        return;
    must(h.bytes >= LOG_SEG_BYTES_MIN && h.bytes <= LOG_SEG_BYTES_MAX);
    log_seg_encode(&h, again);
    must(log_seg_decode(again, &back) == 0 && back.no == h.no &&
         back.incarnation == h.incarnation && back.bytes == h.bytes);
}

/* Sums of sectors, of the sums, and of the head, of a record with as many as
 * its head says. */
static void mend_rec(uint8_t *b, size_t size)
{
    uint32_t n_sums, len;
    uint8_t *sums = b + LOG_REC_HEAD_BYTES;
    memcpy(&n_sums, b + 48, sizeof(n_sums));
    memcpy(&len, b + 52, sizeof(len));
    size_t left = size - LOG_REC_HEAD_BYTES;
    if (n_sums <= left / 8 && len <= left - 8 * (size_t)n_sums) {
        uint8_t *at = sums + 8 * (size_t)n_sums, *end = at + len;
        for (uint32_t i = 0; i < n_sums; i++) {
            uint64_t v;
            memcpy(&v, sums + 8 * (size_t)i, sizeof(v));
            if (!v || (size_t)(end - at) < KT_SECTOR_BYTES)
                continue;
            put_u64(sums + 8 * (size_t)i, kt_sum64(at, KT_SECTOR_BYTES));
            at += KT_SECTOR_BYTES;
        }
        if (n_sums)
            put_u64(b + 56, kt_sum64(sums, 8 * (size_t)n_sums));
        else
            put_u64(b + 64, len ? kt_sum64(sums, len) : 0);
    }
    put_u64(b + LOG_REC_HEAD_BYTES - 8, kt_sum64(b, LOG_REC_HEAD_BYTES - 8));
}

static void fuzz_rec(uint8_t *b, size_t size, bool mend)
{
    uint8_t again[LOG_REC_HEAD_BYTES], twice[LOG_REC_HEAD_BYTES];
    struct log_rec_head h, back;
    if (mend)
        mend_rec(b, size);
    if (log_rec_decode(b, &h))
        return;
    must(h.n_sums <= KT_RECORD_SECTORS_MAX &&
         h.data_len <= KT_RECORD_BYTES_MAX);
    must(!kt_record_invalid(&h.rec, h.n_extents));
    if (log_rec_bytes(h.n_sums, h.data_len) <= size) {
        const uint8_t *sums = b + LOG_REC_HEAD_BYTES;
        bool whole =
            log_rec_check(&h, (const void *)sums, sums + 8 * (size_t)h.n_sums);
        must(!whole || h.data_len <= 8 * KT_RECORD_BYTES_MAX);
    }
    log_rec_encode(&h, again);
    must(log_rec_decode(again, &back) == 0);
    log_rec_encode(&back, twice);
    must(!memcmp(again, twice, sizeof(again)));
}

/* ---- index ---- */

static int on_log(void *arg, const struct index_log *r)
{
    (void)arg;
    (void)r;
    return 0;
}

static int on_ckpt(void *arg, const struct index_ckpt *r)
{
    uint8_t b[KT_DEDUP_BYTES];
    (void)arg;
    must(r->chain && r->n_extents && r->n_extents <= KT_SEGMENT_EXTENTS_MAX);
    kt_dedup_encode(&r->dedup, b);
    return 0;
}

static int on_cfg(void *arg, const struct index_cfg *r)
{
    uint8_t b[KT_CFG_BYTES_MAX];
    struct kt_cfg back;
    (void)arg;
    must(r->chain && r->n_extents && r->n_extents <= KT_SEGMENT_EXTENTS_MAX);
    if (r->have_cfg)
        must(kt_cfg_decode(b, kt_cfg_encode(&r->cfg, b), &back) == 0);
    return 0;
}

static int on_ext(void *arg, const struct index_ext *r)
{
    (void)arg;
    must(r->meta.alloc == (r->slot != SLOT_NONE) && r->meta.slot_by <= 3);
    return 0;
}

/* database | key length | key | value */
static void fuzz_row(uint8_t *b, size_t size, bool mend)
{
    static const struct index_visitor v = {on_log, on_ckpt, on_cfg, on_ext,
                                           NULL};
    struct tally t = {.v = &v};
    struct row w;
    size_t key_len = size < 2 ? 0 : b[1] % (KEY_MAX + 2);
    if (size < 2 + key_len + 8)
        return;
    MDB_val k = {key_len, b + 2};
    MDB_val val = {size - 2 - key_len, b + 2 + key_len};
    uint8_t *sum = b + size - 8;
    if (mend)
        put_u64(sum, kt_sum64(val.mv_data, val.mv_size - 8) ^
                         kt_sum64(k.mv_data, k.mv_size));
    if (!row_read(&w, &k, &val))
        (void)visit_row(b[0] % N_DBS, &w, &val, &t);
}

/* ---- sums ---- */

/* As many sums as sectors; true only when each is the one of its sector. */
static void fuzz_sums(uint8_t *b, size_t size, bool mend)
{
    size_t n = size / (8 + KT_SECTOR_BYTES);
    const uint8_t *data = b + 8 * n;
    uint64_t sums[DATA_MAX / KT_SECTOR_BYTES];
    bool all = true;
    for (size_t i = 0; i < n; i++) {
        uint64_t is = kt_sum64(data + i * KT_SECTOR_BYTES, KT_SECTOR_BYTES);
        memcpy(&sums[i], b + 8 * i, 8);
        if (mend && i != n - 1)
            sums[i] = is;
        all = all && sums[i] == is;
        must(is != 0);
    }
    must(kt_sum_check(data, n * KT_SECTOR_BYTES, sums) == all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > DATA_MAX)
        return 0;
    bool mend = data[0] & 0x80;
    unsigned kind = (data[0] & 0x7f) % 5;
    size_t fixed = kind == 2 ? LOG_REC_HEAD_BYTES : kind < 2 ? SUPER_BYTES : 0;
    size_t n = size - 1 > fixed ? size - 1 : fixed;
    uint8_t *b = calloc(1, n + 1);
    memcpy(b, data + 1, size - 1);
    if (kind == 0)
        fuzz_super(b, mend);
    else if (kind == 1)
        fuzz_seg(b, mend);
    else if (kind == 2)
        fuzz_rec(b, n, mend);
    else if (kind == 3)
        fuzz_row(b, n, mend);
    else
        fuzz_sums(b, n, mend);
    free(b);
    return 0;
}
