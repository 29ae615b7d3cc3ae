/* SPDX-License-Identifier: BSD-3-Clause */
#include "replicator/store/fold.h"

#include "lib/base/err.h"
#include "lib/base/rule.h"
#include "lib/base/sum.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tables of sums are kept as they are in memory: little-endian only"
#endif

static const char *payload_invalid(const struct kt_record *r,
                                   const struct kt_buf *buf)
{
    if (!buf)
        return "its payload is missing";
    if (buf->n_sums != r->len / KT_SECTOR_BYTES)
        return "it has not one sum for each sector";
    uint32_t present = 0;
    for (uint32_t i = 0; i < buf->n_sums; i++)
        present += buf->sums[i] != 0;
    if (buf->data_len != present * KT_SECTOR_BYTES)
        return "its payload has the wrong length";
    return NULL;
}

const char *fold_invalid(const struct kt_record *r, const struct kt_buf *buf,
                         uint32_t n_extents)
{
    const char *why = kt_record_invalid(r, n_extents);
    if (why)
        return why;
    if (r->op == KT_OP_RESET)
        return buf && buf->n_sums == 0 && buf->data_len == KT_DEDUP_BYTES
                   ? NULL
                   : "a RESET carries the duplicate filter";
    if ((r->op == KT_OP_WRITE || r->op == KT_OP_BASE) &&
        !(r->flags & KT_RF_SKIP))
        return payload_invalid(r, buf);
    return NULL;
}

int fold_follows(const struct kt_record *r, struct kt_rid at)
{
    if (!fold_is_history(r))
        return 0;
    return kt_rid_eq(r->prev, at) && r->id.seq == at.seq + 1 ? 0 : KT_E_GAP;
}

void fold_chain(struct kt_rid *at, struct kt_dedup *dedup,
                const struct kt_record *r, const struct kt_buf *buf)
{
    if (fold_is_history(r)) {
        *at = r->id;
        kt_dedup_fold(dedup, r);
    } else if (r->op == KT_OP_RESET) {
        assert(buf && buf->data_len == KT_DEDUP_BYTES);
        *at = r->id;
        kt_dedup_decode(dedup, buf->data);
    }
}

/* The extent is whole again at r->prev. The records since COPY_START stand
 * above that base: what the newest of them said of the slot counts, if it is
 * newer than the base; else the source's word does. */
static struct extent_effect base_end(struct extent_meta *m,
                                     const struct kt_record *r)
{
    bool newer = kt_rid_cmp(m->id, r->prev) > 0;
    if (newer && m->slot_by != SLOT_BY_NONE)
        m->alloc = m->slot_by == SLOT_BY_NEED;
    else
        m->alloc = (r->flags & KT_RF_ALLOC) != 0;
    if (!newer)
        m->id = r->prev;
    m->partial = false;
    m->slot_by = SLOT_BY_NONE;
    return (struct extent_effect){.n = m->alloc ? 0 : KT_EXTENT_SECTORS};
}

struct extent_effect fold_extent(struct extent_meta *m,
                                 const struct kt_record *r)
{
    struct extent_effect none = {0};
    if (r->op == KT_OP_BASE_END)
        return base_end(m, r);
    if (r->op == KT_OP_COPY_START) {
        *m = (struct extent_meta){.alloc = m->alloc, .partial = true};
        return none;
    }
    if (r->flags & KT_RF_SKIP) {
        /* The bytes are missing here: until they come no one may take this
         * extent for complete (I21), not even after a crash. */
        if (KT_RULE(skip_partial))
            m->partial = true;
        else
            m->id = r->id;
        return none;
    }
    struct extent_effect f = {
        .first = r->off / KT_SECTOR_BYTES,
        .n = r->len / KT_SECTOR_BYTES,
        .payload = r->op == KT_OP_WRITE || r->op == KT_OP_BASE,
    };
    if (kt_record_allocates(r))
        m->alloc = true;
    else if (kt_record_frees(r))
        m->alloc = false;
    if (r->op == KT_OP_BASE)
        return f;
    m->id = r->id;
    if (m->partial && kt_record_allocates(r))
        m->slot_by = SLOT_BY_NEED;
    else if (m->partial && kt_record_frees(r))
        m->slot_by = SLOT_BY_FREE;
    return f;
}

struct kt_id extent_digest(const uint64_t sums[KT_EXTENT_SECTORS])
{
    return kt_sum128(sums, KT_EXTENT_SECTORS * sizeof(sums[0]));
}

uint32_t fold_grant(uint32_t have, uint32_t want, uint64_t spare,
                    uint64_t set_aside, uint32_t n_chains)
{
    assert(set_aside >= have);
    if (want == 0)
        return 0;
    if (want <= have)
        return have;
    uint64_t share = (spare + set_aside) / (n_chains ? n_chains : 1);
    uint64_t most = kt_min_u64(want, kt_max_u64(share, 1));
    most = kt_max_u64(most, have);
    return (uint32_t)kt_min_u64(most, have + spare);
}
