/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading slots from the disk itself, to find what has rotted while nobody
 * asked for it. Only the store on disk has this. */
#ifndef KT_STORE_SCRUB_H
#define KT_STORE_SCRUB_H

#include "replicator/store/store.h"

#define STORE_SCRUB_BYTES (256u << 10)

/* Holds STORE_SCRUB_BYTES at off (a multiple of that) of an extent against
 * their sums; on a thread of its own, of idle priority, and past the page
 * cache. Sectors that records on their way write, and those that are absent,
 * are passed over. What does not match twice counts as a bad sector, as in a
 * read, and is dropped from the page cache, so that a store_read finds it, too.
 * The chain must not be dropped before done ran. */
struct store_scrub {
    struct store_op op;
    struct store_chain *chain;
    uint32_t extent, off;
    uint32_t ret_sectors; /* that were read */
    uint64_t ret_bad;     /* bit i: the sector at off + i * 4096 */
};
void store_scrub(struct store *s, struct store_scrub *r);
/* The first extent from `extent` on that has a slot; UINT32_MAX: none. */
uint32_t store_scrub_next(const struct store_chain *c, uint32_t extent);
/* What a pass has to read: the bytes of all slots in use. */
uint64_t store_scrub_total(const struct store *s);

#endif
