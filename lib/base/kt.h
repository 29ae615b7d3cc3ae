/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes every room shares, and the few macros used everywhere. */
#ifndef KT_BASE_KT_H
#define KT_BASE_KT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef NDEBUG
#error "assertions are part of Kenter: do not build with NDEBUG"
#endif

#define KT_SECTOR_BYTES 4096u
#define KT_EXTENT_BYTES (4u << 20)
#define KT_EXTENT_SECTORS (KT_EXTENT_BYTES / KT_SECTOR_BYTES)
#define KT_PRESENCE_BYTES (KT_EXTENT_SECTORS / 8)

/* The largest payload of one record, one read, one frame. */
#define KT_RECORD_BYTES_MAX (1u << 20)
#define KT_RECORD_SECTORS_MAX (KT_RECORD_BYTES_MAX / KT_SECTOR_BYTES)

#define KT_SEGMENT_BYTES_DEFAULT (16ull << 30)
#define KT_SEGMENT_EXTENTS_MAX 4096u /* 16 GiB */

#define KT_VOLUME_BYTES_MIN 4096ull
#define KT_VOLUME_BYTES_MAX (64ull << 40)

#define KT_MEMBERS_MAX 6
#define KT_NAME_MAX 63 /* characters, without the NUL */

#define KT_HUB_PORT 9720
#define KT_REPLICATOR_PORT 9721

#define KT_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KT_MUST_CHECK __attribute__((warn_unused_result))
#define KT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define KT_CLEANUP(fn) __attribute__((cleanup(fn)))

#define kt_container_of(ptr, type, member)                                     \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline uint64_t kt_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t kt_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
