/* SPDX-License-Identifier: BSD-3-Clause */
/* A record: one step of a chain's history, and the duplicate filter that
 * every member folds out of it. Pure. */
#ifndef KT_WIRE_RECORD_H
#define KT_WIRE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/id.h"
#include "lib/base/kt.h"

/* Record id: the epoch in which the head assigned seq. seq counts 1, 2, 3..
 * across epochs (I7); {0,0} is "before the first record". */
struct kt_rid {
    uint64_t epoch;
    uint64_t seq;
};

static inline bool kt_rid_eq(struct kt_rid a, struct kt_rid b)
{
    return a.epoch == b.epoch && a.seq == b.seq;
}

static inline int kt_rid_cmp(struct kt_rid a, struct kt_rid b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

enum kt_op {
    /* steps of the history: they advance seq */
    KT_OP_WRITE = 1, /* payload: len bytes, one sum per sector */
    KT_OP_ZERO = 2,  /* reads as zeros; no payload */
    KT_OP_TRIM = 3,  /* reads as zeros; no payload; may free the slot */
    /* local to a syncing member's log: id is the position they stand at */
    KT_OP_COPY_START = 16, /* the extent's base is unknown from here */
    KT_OP_BASE = 17,       /* sectors of the base; see keep */
    KT_OP_BASE_END = 18,   /* the extent is complete again, at id `prev` */
    KT_OP_RESET = 19,      /* history jumps to id; dedup comes in the buf */
};

enum {
    KT_RF_FUA = 1,     /* acknowledged only when durable on every member */
    KT_RF_SKIP = 2,    /* to a syncing member only: the bytes come later */
    KT_RF_NO_HOLE = 4, /* ZERO: keep, or take, the extent's slot */
    KT_RF_ALLOC = 8,   /* BASE_END: the extent owns a slot on the source */
};

struct kt_record {
    uint64_t chain;
    struct kt_rid id;
    struct kt_rid prev; /* the record before (I8) */
    uint64_t token;     /* of the attachment that wrote it */
    uint64_t wseq;      /* the client's number, per chain, from 1 */
    uint64_t wstable;   /* every wseq <= this one is settled */
    uint8_t op;         /* enum kt_op */
    uint8_t flags;      /* KT_RF_* */
    uint32_t extent;    /* index within the chain, from 0 */
    uint32_t gen;       /* snapshot generation; 0 so far */
    uint32_t off, len;  /* bytes within the extent, whole sectors */
    uint64_t keep[4];   /* BASE: bit i set = leave sector off/4096+i */
};

/* NULL, or why these fields cannot be a record of a chain of n_extents.
 * Checks op, flags, extent, off, len (WRITE and BASE: at most 1 MiB). */
const char *kt_record_invalid(const struct kt_record *r, uint32_t n_extents);

/* True when the record leaves its extent without a slot: a TRIM, or a ZERO
 * without NO_HOLE, of the whole extent. */
static inline bool kt_record_frees(const struct kt_record *r)
{
    return (r->op == KT_OP_TRIM ||
            (r->op == KT_OP_ZERO && !(r->flags & KT_RF_NO_HOLE))) &&
           r->off == 0 && r->len == KT_EXTENT_BYTES;
}

/* True when the record needs its extent to own a slot: a WRITE or BASE, or
 * a ZERO with NO_HOLE. A ZERO or TRIM of part of an extent needs none: where
 * there is no slot there is nothing to clear. SKIP records need none. */
static inline bool kt_record_allocates(const struct kt_record *r)
{
    if (r->flags & KT_RF_SKIP)
        return false;
    return r->op == KT_OP_WRITE || r->op == KT_OP_BASE ||
           (r->op == KT_OP_ZERO && (r->flags & KT_RF_NO_HOLE));
}

/* ---- duplicate filter (I19) ---- */

#define KT_WSEQ_WINDOW 512u

/* For the newest token: wseq <= wstable is settled; a wseq in
 * (wstable, wstable + KT_WSEQ_WINDOW] that was executed has its seq in
 * window[wseq % KT_WSEQ_WINDOW], else 0 there. */
struct kt_dedup {
    uint64_t token;
    uint64_t wstable;
    uint64_t window[KT_WSEQ_WINDOW];
};

enum kt_dedup_answer {
    KT_DEDUP_NEW,   /* never seen */
    KT_DEDUP_SEEN,  /* executed as *ret_seq */
    KT_DEDUP_STALE, /* at or below wstable, or of an older token: drop */
    KT_DEDUP_AHEAD, /* beyond the window: the client broke its bound */
};

enum kt_dedup_answer kt_dedup_check(const struct kt_dedup *d, uint64_t token,
                                    uint64_t wseq, uint64_t *ret_seq);
/* Folds one record of the history (op < KT_OP_COPY_START) in. */
void kt_dedup_fold(struct kt_dedup *d, const struct kt_record *r);

#define KT_DEDUP_BYTES (16 + 8 * KT_WSEQ_WINDOW)
/* Little-endian: token u64, wstable u64, window u64[512]. */
void kt_dedup_encode(const struct kt_dedup *d, uint8_t ret[KT_DEDUP_BYTES]);
void kt_dedup_decode(struct kt_dedup *ret_d, const uint8_t b[KT_DEDUP_BYTES]);
/* False for one that knows of records after seq: nobody folded them. */
bool kt_dedup_ends(const struct kt_dedup *d, uint64_t seq);

#endif
