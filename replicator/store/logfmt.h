/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of a log segment. Pure. */
#ifndef KT_STORE_LOGFMT_H
#define KT_STORE_LOGFMT_H

#include "lib/base/id.h"
#include "lib/wire/record.h"

#define LOG_SEG_HEAD_BYTES 4096u
#define LOG_REC_HEAD_BYTES 256u
#define LOG_GROUP_ALIGN 4096u
#define LOG_SEG_BYTES_MIN (2u << 20)
#define LOG_SEG_BYTES_MAX (16u << 20)

struct log_seg_head {
    struct kt_id uuid; /* of the store */
    uint64_t no;
    uint64_t incarnation; /* in which it was prepared */
    uint32_t bytes;
};
void log_seg_encode(const struct log_seg_head *h,
                    uint8_t ret[LOG_SEG_HEAD_BYTES]);
/* 0 or KT_E_CORRUPT. */
int log_seg_decode(const uint8_t b[LOG_SEG_HEAD_BYTES],
                   struct log_seg_head *ret_h) KT_MUST_CHECK;

/* What stands before a record's sums and payload. Segment, lsn and
 * incarnation are under its checksum, so that nothing of a former life of a
 * recycled file passes for a record. */
struct log_rec_head {
    uint64_t uuid; /* first half of the store's */
    uint64_t seg, lsn, incarnation;
    uint64_t durable_lsn; /* known when it was written */
    uint32_t n_extents;   /* of its chain */
    uint32_t n_sums, data_len;
    uint64_t sums_sum;    /* kt_sum64 of the sums; 0: none */
    uint64_t payload_sum; /* of a payload without sums; 0: none */
    bool ends;            /* the last of a group: the next one is aligned */
    struct kt_record rec;
};
void log_rec_encode(const struct log_rec_head *h,
                    uint8_t ret[LOG_REC_HEAD_BYTES]);
/* Makes an encoded head that of the last record of its group. */
void log_rec_end(uint8_t b[LOG_REC_HEAD_BYTES]);
/* 0 or KT_E_CORRUPT: not a record (torn, garbage, never written). */
int log_rec_decode(const uint8_t b[LOG_REC_HEAD_BYTES],
                   struct log_rec_head *ret_h) KT_MUST_CHECK;

static inline uint32_t log_rec_bytes(uint32_t n_sums, uint32_t data_len)
{
    return LOG_REC_HEAD_BYTES + 8 * n_sums + data_len;
}
/* Where a group may begin, at `off` or behind it. */
static inline uint32_t log_align(uint32_t off)
{
    return (off + LOG_GROUP_ALIGN - 1) & ~(LOG_GROUP_ALIGN - 1);
}
/* True when sums and payload are the ones the head speaks of. */
bool log_rec_check(const struct log_rec_head *h, const uint64_t *sums,
                   const uint8_t *data);

static inline uint64_t log_uuid64(const struct kt_id *uuid)
{
    uint64_t v;
    memcpy(&v, uuid->b, sizeof(v));
    return v;
}

#endif
