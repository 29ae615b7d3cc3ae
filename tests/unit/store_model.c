/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/store_model.h"

#include <string.h>

#include "lib/base/err.h"
#include "lib/base/sum.h"

uint64_t model_rand(uint64_t *rng, uint64_t below)
{
    uint64_t z = *rng += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

void model_init(struct model *m, uint64_t chain)
{
    memset(m, 0, sizeof(*m));
    m->chain = chain;
}

static void stamp_bytes(uint64_t stamp, uint8_t *ret)
{
    for (uint64_t i = 0; i < KT_SECTOR_BYTES / 8; i++) {
        uint64_t v = stamp + i * 0x100000001b3u;
        memcpy(ret + 8 * i, &v, 8);
    }
}

static uint64_t stamp_sum(uint64_t stamp)
{
    uint8_t b[KT_SECTOR_BYTES];
    if (!stamp)
        return 0;
    stamp_bytes(stamp, b);
    return kt_sum64(b, sizeof(b));
}

/* Some sectors of a payload are absent: every 7th of stamps divisible by 5. */
static uint64_t sector_stamp(uint64_t stamp, uint32_t i)
{
    return stamp % 5 == 0 && i % 7 == 6 ? 0 : stamp * 1024 + i;
}

struct kt_record model_record(const struct model *m, uint8_t op)
{
    struct kt_record r = {.chain = m->chain,
                          .op = op,
                          .id = {1 + m->at.seq / 100, m->at.seq + 1},
                          .prev = m->at,
                          .token = 1,
                          .wseq = m->at.seq + 1,
                          .wstable = m->at.seq > 20 ? m->at.seq - 20 : 0,
                          .len = KT_SECTOR_BYTES};
    return r;
}

struct kt_buf *model_payload(const struct kt_record *r, uint64_t stamp)
{
    if (r->op != KT_OP_WRITE && r->op != KT_OP_BASE)
        return NULL;
    uint32_t n = r->len / KT_SECTOR_BYTES;
    struct kt_buf *b = kt_buf_new(r->len, n);
    assert_non_null(b);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t v = sector_stamp(stamp, i);
        b->sums[i] = stamp_sum(v);
        if (!v)
            continue;
        stamp_bytes(v, b->data + b->data_len);
        b->data_len += KT_SECTOR_BYTES;
    }
    return b;
}

struct kt_record model_random(struct model *m, uint64_t *rng)
{
    static const uint8_t ops[] = {KT_OP_WRITE, KT_OP_WRITE, KT_OP_WRITE,
                                  KT_OP_WRITE, KT_OP_ZERO,  KT_OP_TRIM};
    struct kt_record r = model_record(m, ops[model_rand(rng, 6)]);
    r.extent = (uint32_t)model_rand(rng, MODEL_EXTENTS);
    uint32_t n = 1 + (uint32_t)model_rand(rng, model_rand(rng, 4) ? 8 : 256);
    uint32_t first = (uint32_t)model_rand(rng, KT_EXTENT_SECTORS - n + 1);
    if (r.op != KT_OP_WRITE && model_rand(rng, 3) == 0) {
        first = 0;
        n = KT_EXTENT_SECTORS;
    }
    if (r.op == KT_OP_ZERO && model_rand(rng, 2))
        r.flags |= KT_RF_NO_HOLE;
    if (model_rand(rng, 8) == 0)
        r.flags |= KT_RF_FUA;
    r.off = first * KT_SECTOR_BYTES;
    r.len = n * KT_SECTOR_BYTES;
    return r;
}

void model_fold(struct model *m, const struct kt_record *r, uint64_t stamp)
{
    uint32_t first = r->off / KT_SECTOR_BYTES, n = r->len / KT_SECTOR_BYTES;
    uint64_t *s = m->stamp[r->extent] + first;
    for (uint32_t i = 0; i < n; i++)
        s[i] = r->op == KT_OP_WRITE ? sector_stamp(stamp, i) : 0;
    if (r->op == KT_OP_WRITE || (r->flags & KT_RF_NO_HOLE))
        m->alloc[r->extent] = true;
    else if (n == KT_EXTENT_SECTORS)
        m->alloc[r->extent] = false;
    m->id[r->extent] = r->id;
    m->at = r->id;
    kt_dedup_fold(&m->dedup, r);
}

/* ---- operations, one at a time ---- */

void rig_done(struct store_op *op, int err)
{
    op->err = err;
    op->store = NULL;
}

int rig_wait(struct rig *g, struct store_op *op)
{
    while (op->store)
        rig_step(g);
    return op->err;
}

static struct store_chain *chain_of(struct rig *g, uint64_t id)
{
    struct store_chain *c = store_chain_find(g->s, id);
    assert_non_null(c);
    return c;
}

int do_append(struct rig *g, const struct kt_record *r, struct kt_buf *b)
{
    struct store_append a = {.op.done = rig_done,
                             .chain = chain_of(g, r->chain),
                             .rec = *r,
                             .buf = b};
    store_append(g->s, &a);
    return rig_wait(g, &a.op);
}

int do_op(struct rig *g, struct model *m, struct kt_record r, uint64_t stamp)
{
    struct kt_buf *b = model_payload(&r, stamp);
    int err = do_append(g, &r, b);
    kt_buf_unref(b);
    if (!err)
        model_fold(m, &r, stamp);
    return err;
}

int do_write(struct rig *g, struct model *m, uint32_t extent, uint32_t sector)
{
    struct kt_record r = model_record(m, KT_OP_WRITE);
    r.extent = extent;
    r.off = sector * KT_SECTOR_BYTES;
    return do_op(g, m, r, m->at.seq * 5 + 1);
}

int do_save(struct rig *g, uint64_t chain, uint64_t promised,
            const struct kt_cfg *cfg)
{
    struct store_save r = {.op.done = rig_done,
                           .chain = chain_of(g, chain),
                           .promised = promised,
                           .cfg = cfg};
    store_save(g->s, &r);
    return rig_wait(g, &r.op);
}

int do_save_whole(struct rig *g, uint64_t chain, uint64_t promised,
                  const struct kt_id *whole)
{
    struct store_save r = {.op.done = rig_done,
                           .chain = chain_of(g, chain),
                           .promised = promised,
                           .whole = *whole};
    store_save(g->s, &r);
    return rig_wait(g, &r.op);
}

int do_sync(struct rig *g, uint64_t chain, uint64_t *ret_durable)
{
    struct store_sync r = {.op.done = rig_done, .chain = chain_of(g, chain)};
    store_sync(g->s, &r);
    int err = rig_wait(g, &r.op);
    if (!err)
        *ret_durable = r.ret_durable;
    return err;
}

int do_drop(struct rig *g, uint64_t chain)
{
    struct store_drop r = {.op.done = rig_done, .chain = chain_of(g, chain)};
    store_drop(g->s, &r);
    return rig_wait(g, &r.op);
}

uint64_t do_read(struct rig *g, uint64_t chain, uint32_t extent,
                 uint32_t sector, int *ret_err)
{
    struct store_read r = {.op.done = rig_done,
                           .chain = chain_of(g, chain),
                           .extent = extent,
                           .off = sector * KT_SECTOR_BYTES,
                           .len = KT_SECTOR_BYTES};
    store_read(g->s, &r);
    *ret_err = rig_wait(g, &r.op);
    if (*ret_err)
        return 0;
    uint64_t v = 0;
    assert_true(kt_buf_check(r.ret_buf));
    if (r.ret_buf->sums[0])
        memcpy(&v, r.ret_buf->data, 8);
    assert_true(r.ret_buf->sums[0] == stamp_sum(v));
    kt_buf_unref(r.ret_buf);
    return v;
}

struct store_chain *make_chain(struct rig *g, struct model *m, uint64_t id)
{
    model_init(m, id);
    struct store_chain *c = store_chain_create(g->s, id, MODEL_EXTENTS);
    assert_non_null(c);
    return c;
}

void make_applied(struct rig *g, struct model *m, uint64_t slots, uint64_t id,
                  uint32_t sectors)
{
    rig_init(g, slots);
    rig_open(g);
    struct store_chain *c = make_chain(g, m, id);
    for (uint32_t i = 0; i < sectors; i++)
        assert_int_equal(do_write(g, m, 0, i), 0);
    store_acked(g->s, c, m->at.seq);
    rig_close(g);
}

/* ---- comparing ---- */

static void check_range(struct rig *g, const struct model *m, uint32_t extent,
                        uint32_t first)
{
    struct store_read r = {.op.done = rig_done,
                           .chain = chain_of(g, m->chain),
                           .extent = extent,
                           .off = first * KT_SECTOR_BYTES,
                           .len = KT_RECORD_BYTES_MAX};
    store_read(g->s, &r);
    assert_int_equal(rig_wait(g, &r.op), 0);
    assert_int_equal(r.ret_seq, m->at.seq);
    assert_true(kt_buf_check(r.ret_buf));
    const uint8_t *data = r.ret_buf->data;
    for (uint32_t i = 0; i < KT_RECORD_SECTORS_MAX; i++) {
        uint64_t want = m->stamp[extent][first + i], have = 0;
        if (r.ret_buf->sums[i]) {
            memcpy(&have, data, 8);
            data += KT_SECTOR_BYTES;
        }
        assert_int_equal(have, want);
        assert_int_equal(r.ret_buf->sums[i], stamp_sum(want));
    }
    kt_buf_unref(r.ret_buf);
}

static void check_digest(struct rig *g, const struct model *m)
{
    struct kt_digest_row rows[MODEL_EXTENTS];
    struct store_digest d = {.op.done = rig_done,
                             .chain = chain_of(g, m->chain),
                             .max_rows = MODEL_EXTENTS,
                             .rows = rows};
    store_digest(g->s, &d);
    assert_int_equal(rig_wait(g, &d.op), 0);
    assert_int_equal(d.ret_next, UINT32_MAX);
    assert_true(kt_rid_eq(d.ret_at, m->at));
    uint32_t n = 0;
    for (uint32_t e = 0; e < MODEL_EXTENTS; e++) {
        uint64_t sums[KT_EXTENT_SECTORS];
        if (m->id[e].seq == 0)
            continue;
        for (uint32_t i = 0; i < KT_EXTENT_SECTORS; i++)
            sums[i] = stamp_sum(m->stamp[e][i]);
        struct kt_id sum = kt_sum128(sums, sizeof(sums));
        assert_true(n < d.ret_n);
        assert_int_equal(rows[n].extent, e);
        assert_true(kt_rid_eq(rows[n].id, m->id[e]));
        assert_int_equal(rows[n].state, m->alloc[e] ? KT_DIGEST_F_ALLOC : 0);
        assert_true(kt_id_eq(&rows[n].sum, &sum));
        n++;
    }
    assert_int_equal(d.ret_n, n);
}

void check_chain(struct rig *g, const struct model *m)
{
    struct store_chain_info i;
    store_chain_info(chain_of(g, m->chain), &i);
    assert_int_equal(i.n_extents, MODEL_EXTENTS);
    assert_int_equal(i.applied.seq, m->at.seq);
    assert_int_equal(i.applied.epoch, m->at.epoch);
    assert_memory_equal(&i.dedup, &m->dedup, sizeof(m->dedup));
    for (uint32_t e = 0; e < MODEL_EXTENTS; e++) {
        assert_int_equal(i.alloc[e / 8] >> (e % 8) & 1, m->alloc[e]);
        for (uint32_t k = 0; k < KT_EXTENT_SECTORS; k += KT_RECORD_SECTORS_MAX)
            check_range(g, m, e, k);
    }
    check_digest(g, m);
}
