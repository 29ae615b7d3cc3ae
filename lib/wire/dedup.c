/* SPDX-License-Identifier: BSD-3-Clause */
/* The duplicate filter (I19). Every member folds the same records and so
 * holds the same filter; it travels in checkpoints and in SYNC_START (B6).
 *
 * Encoded, little-endian, 4112 bytes:
 *   token u64 | wstable u64 | window u64[512] */
#include "lib/wire/record.h"

#include <string.h>

#include "lib/base/cursor.h"

enum kt_dedup_answer kt_dedup_check(const struct kt_dedup *d, uint64_t token,
                                    uint64_t wseq, uint64_t *ret_seq)
{
    if (token < d->token || wseq == 0)
        return KT_DEDUP_STALE;
    /* Of a newer attachment nothing was executed yet. */
    if (token > d->token)
        return KT_DEDUP_NEW;
    if (wseq <= d->wstable)
        return KT_DEDUP_STALE;
    if (wseq - d->wstable > KT_WSEQ_WINDOW)
        return KT_DEDUP_AHEAD;
    uint64_t seq = d->window[wseq % KT_WSEQ_WINDOW];
    if (seq == 0)
        return KT_DEDUP_NEW;
    *ret_seq = seq;
    return KT_DEDUP_SEEN;
}

/* Raises wstable and forgets what it settles, so that each window entry only
 * ever speaks of the one wseq of (wstable, wstable + window] it stands for. */
static void settle(struct kt_dedup *d, uint64_t wstable)
{
    if (wstable <= d->wstable)
        return;
    if (wstable - d->wstable >= KT_WSEQ_WINDOW) {
        memset(d->window, 0, sizeof(d->window));
    } else {
        for (uint64_t w = d->wstable + 1; w <= wstable; w++)
            d->window[w % KT_WSEQ_WINDOW] = 0;
    }
    d->wstable = wstable;
}

void kt_dedup_fold(struct kt_dedup *d, const struct kt_record *r)
{
    assert(r->op < KT_OP_COPY_START);
    if (r->token < d->token)
        return;
    if (r->token > d->token) {
        memset(d, 0, sizeof(*d));
        d->token = r->token;
    }
    settle(d, r->wstable);
    if (r->wseq > d->wstable && r->wseq - d->wstable <= KT_WSEQ_WINDOW)
        d->window[r->wseq % KT_WSEQ_WINDOW] = r->id.seq;
}

void kt_dedup_encode(const struct kt_dedup *d, uint8_t ret[KT_DEDUP_BYTES])
{
    struct kt_cur c = kt_cur_w(ret, KT_DEDUP_BYTES);

    kt_put_u64(&c, d->token);
    kt_put_u64(&c, d->wstable);
    for (size_t i = 0; i < KT_WSEQ_WINDOW; i++)
        kt_put_u64(&c, d->window[i]);
    assert(!c.bad && c.left == 0);
}

void kt_dedup_decode(struct kt_dedup *ret_d, const uint8_t b[KT_DEDUP_BYTES])
{
    struct kt_cur c = kt_cur_r(b, KT_DEDUP_BYTES);

    ret_d->token = kt_get_u64(&c);
    ret_d->wstable = kt_get_u64(&c);
    for (size_t i = 0; i < KT_WSEQ_WINDOW; i++)
        ret_d->window[i] = kt_get_u64(&c);
    assert(!c.bad && c.left == 0);
}

bool kt_dedup_ends(const struct kt_dedup *d, uint64_t seq)
{
    for (size_t i = 0; i < KT_WSEQ_WINDOW; i++) {
        if (d->window[i] > seq)
            return false;
    }
    return true;
}
