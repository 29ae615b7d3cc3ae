/* SPDX-License-Identifier: BSD-3-Clause */
/* Payload buffers: sector data with one checksum per sector. */
#ifndef KT_WIRE_BUF_H
#define KT_WIRE_BUF_H

#include "lib/base/kt.h"

/* Reference counted, not thread safe: one owner thread counts; others may
 * only read data and sums while that thread holds a reference for them.
 * data holds, in order, only the sectors whose sum is not 0 (a sum of 0 means
 * "absent: reads as zeros"), so data_len == 4096 * (number of sums != 0) for
 * sector payloads. data is aligned to 4096. For opaque payloads (DEDUP of a
 * RESET, rows of a digest) n_sums is 0. */
struct kt_buf {
    uint32_t refs;
    uint32_t data_len; /* bytes used in data */
    uint32_t data_cap;
    uint32_t n_sums; /* at most KT_EXTENT_SECTORS */
    uint64_t *sums;
    uint8_t *data;
};

/* Room for data_cap bytes and n_sums sums, one reference, data_len = 0.
 * NULL when memory is out. A few freed buffers are kept for reuse. */
struct kt_buf *kt_buf_new(uint32_t data_cap, uint32_t n_sums);
struct kt_buf *kt_buf_ref(struct kt_buf *b); /* returns b; NULL is fine */
void kt_buf_unref(struct kt_buf *b);         /* NULL is fine */

/* True when every present sector matches its sum and data_len fits. */
bool kt_buf_check(const struct kt_buf *b);

#endif
