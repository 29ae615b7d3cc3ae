/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums. The hash is compiled in, not called in the shared library: the
 * objects stay free of outside symbols, and the compiler sees the length. */
#include "lib/base/sum.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t kt_sum64(const void *buf, size_t len)
{
    uint64_t h = XXH3_64bits(buf, len);
    return h ? h : 1;
}

struct kt_id kt_sum128(const void *buf, size_t len)
{
    XXH128_hash_t h = XXH3_128bits(buf, len);
    struct kt_id id;

    for (size_t i = 0; i < 8; i++) {
        id.b[i] = (uint8_t)(h.low64 >> (8 * i));
        id.b[8 + i] = (uint8_t)(h.high64 >> (8 * i));
    }
    return id;
}

void kt_sum_sectors(const void *buf, size_t len, uint64_t *ret_sums)
{
    const uint8_t *p = buf;

    assert(len % KT_SECTOR_BYTES == 0);
    for (size_t i = 0; i < len / KT_SECTOR_BYTES; i++)
        ret_sums[i] = kt_sum64(p + i * KT_SECTOR_BYTES, KT_SECTOR_BYTES);
}

bool kt_sum_check(const void *buf, size_t len, const uint64_t *sums)
{
    const uint8_t *p = buf;

    assert(len % KT_SECTOR_BYTES == 0);
    for (size_t i = 0; i < len / KT_SECTOR_BYTES; i++) {
        if (kt_sum64(p + i * KT_SECTOR_BYTES, KT_SECTOR_BYTES) != sums[i])
            return false;
    }
    return true;
}
