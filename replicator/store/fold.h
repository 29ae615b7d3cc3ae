/* SPDX-License-Identifier: BSD-3-Clause */
/* What records make of a chain and its extents: the one place that knows,
 * shared by the store on disk and its in-memory twin. Pure. */
#ifndef KT_STORE_FOLD_H
#define KT_STORE_FOLD_H

#include "lib/wire/buf.h"
#include "lib/wire/msg.h"
#include "lib/wire/record.h"

/* Since COPY_START: what later records of the history said of the slot. */
enum extent_slot_by { SLOT_BY_NONE, SLOT_BY_NEED, SLOT_BY_FREE };

/* An extent, its sectors apart. All zero: never written. */
struct extent_meta {
    struct kt_rid id; /* last record that changed it; after COPY_START, that
                         record or {0,0} until BASE_END */
    bool alloc;       /* owns a slot */
    bool partial;     /* its base is not complete */
    uint8_t slot_by;  /* enum extent_slot_by; 0 unless partial */
};

/* Sectors a record changes: to its payload, or to "absent". */
struct extent_effect {
    uint32_t first, n;
    bool payload;
};

/* NULL, or why the record cannot be appended behind `at` with this buffer. */
const char *fold_invalid(const struct kt_record *r, const struct kt_buf *buf,
                         uint32_t n_extents);
/* True for the steps of the history: they advance seq. */
static inline bool fold_is_history(const struct kt_record *r)
{
    return r->op < KT_OP_COPY_START;
}
/* 0, or KT_E_GAP when a record of the history does not follow `at` (I8). */
int fold_follows(const struct kt_record *r, struct kt_rid at);

/* Position and duplicate filter after the record. buf: of a RESET. */
void fold_chain(struct kt_rid *at, struct kt_dedup *dedup,
                const struct kt_record *r, const struct kt_buf *buf);
/* Extent after the record, whose extent it must be; not for RESET. */
struct extent_effect fold_extent(struct extent_meta *m,
                                 const struct kt_record *r);
/* BASE: sector first + i stays as it is. */
static inline bool fold_keeps(const struct kt_record *r, uint32_t i)
{
    return r->op == KT_OP_BASE && (r->keep[i / 64] >> (i % 64) & 1);
}

/* True when digests and the index may leave the extent out. */
static inline bool extent_is_blank(const struct extent_meta *m)
{
    return m->id.seq == 0 && m->id.epoch == 0 && !m->partial && !m->alloc;
}
static inline uint32_t extent_state(const struct extent_meta *m)
{
    return (m->alloc ? KT_DIGEST_F_ALLOC : 0) |
           (m->partial ? KT_DIGEST_F_PARTIAL : 0);
}
struct kt_id extent_digest(const uint64_t sums[KT_EXTENT_SECTORS]);

/* How many slots a chain that has `have` set aside and wants `want` may have,
 * when `spare` are free and set_aside are set aside for all n_chains. Never
 * less than have: credits were given upstream against those (B7). None when it
 * wants none: it has no part in its chain, and nobody upstream. */
uint32_t fold_grant(uint32_t have, uint32_t want, uint64_t spare,
                    uint64_t set_aside, uint32_t n_chains);

#endif
