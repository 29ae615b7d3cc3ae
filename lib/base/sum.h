/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums: XXH3. A sector's sum is never 0: 0 stands for "absent". */
#ifndef KT_BASE_SUM_H
#define KT_BASE_SUM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/id.h"

/* XXH3-64 of len bytes, with 0 mapped to 1. Pure, any thread. */
uint64_t kt_sum64(const void *buf, size_t len);

/* XXH3-128 of len bytes, as 16 little-endian bytes. Pure, any thread. */
struct kt_id kt_sum128(const void *buf, size_t len);

/* One sum per sector: len is a multiple of KT_SECTOR_BYTES. */
void kt_sum_sectors(const void *buf, size_t len, uint64_t *ret_sums);

/* True when every sector of buf has the given sum. */
bool kt_sum_check(const void *buf, size_t len, const uint64_t *sums);

#endif
