/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows, little-endian; keys are big-endian so that they sort; each value ends
 * with the XXH3-64 of its key and the rest of it (LMDB has no checksums).
 *   cfg   chain -> promised u64 | n_extents u32 | length u32 | kt_cfg_encode
 *                  | whole[16] (absent: zero)
 *   ckpt  chain -> n_extents u32 | dropped u32 | born_lsn u64 | lsn u64
 *                  | applied (epoch u64, seq u64) | kt_dedup_encode
 *   ext   chain, extent u32, gen u32 -> slot u32 | bits u32 (0 alloc,
 *                  1 partial, 2-3 slot_by) | id (epoch, seq) | presence[128]
 *   kv    "log" -> seg u64 | lsn u64 | durable_lsn u64 | off u32
 *         "all" -> commits u64 | rows u64 | sum u64: of all other rows, so that
 *                  none can be missing, doubled, or of another time (format 1
 *                  had none) */
#include "replicator/store/index.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/cursor.h"
#include "lib/base/err.h"
#include "lib/base/sum.h"
#include "replicator/store/pages.h"

#define KEY_MAX 16
#define ROW_MAX (KT_CFG_BYTES_MAX + KT_DEDUP_BYTES)

enum { DB_CFG, DB_CKPT, DB_EXT, DB_KV, N_DBS };
static const char *const db_names[N_DBS] = {"cfg", "ckpt", "ext", "kv"};
static const char log_key[] = "log", all_key[] = "all";

/* What all rows together are. */
struct all {
    uint64_t commits, rows, sum;
};

struct index {
    MDB_env *env;
    MDB_dbi db[N_DBS];
    pthread_mutex_t turn;
    MDB_txn *txn;
    struct all all, all_before; /* with this transaction; before it */
    unsigned flags;             /* MDB_RDONLY, or 0 */
    bool dead;                  /* a commit failed: there is no other (I17) */
};

/* A key and its value while they are put together. */
struct row {
    uint8_t key[KEY_MAX], val[ROW_MAX];
    size_t key_len;
    struct kt_cur c;
};

static int from_lmdb(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_MAP_FULL:
        return -ENOSPC;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND:
        return KT_E_CORRUPT;
    default:
        return rc > 0 ? -rc : -EIO;
    }
}

/* ---- open ---- */

static int open_dbs(struct index *ix)
{
    unsigned make = ix->flags ? 0 : MDB_CREATE;
    int err = from_lmdb(mdb_txn_begin(ix->env, NULL, ix->flags, &ix->txn));
    for (unsigned i = 0; !err && i < N_DBS; i++)
        err = from_lmdb(mdb_dbi_open(ix->txn, db_names[i], make, &ix->db[i]));
    if (err)
        mdb_txn_abort(ix->txn);
    else
        err = from_lmdb(mdb_txn_commit(ix->txn));
    ix->txn = NULL;
    return err;
}

/* The rows must never meet a full disk: their blocks are taken now. */
static int presize(const char *path, uint64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int err = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) ? -errno : 0;
    if (err == -EOPNOTSUPP)
        err = 0;
    close(fd);
    return err;
}

static int open_env(struct index *ix, const char *path, uint64_t slots)
{
    int err = from_lmdb(mdb_env_create(&ix->env));
    if (!err)
        err = from_lmdb(
            mdb_env_set_mapsize(ix->env, (256u << 20) + slots * 8192));
    if (!err)
        err = from_lmdb(mdb_env_set_maxdbs(ix->env, N_DBS));
    /* NOLOCK: the directory's lock keeps other processes out and our own
     * lock makes the threads take turns. */
    if (!err)
        err = from_lmdb(mdb_env_open(ix->env, path,
                                     MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD |
                                         MDB_NOLOCK | ix->flags,
                                     0600));
    return err ? err : open_dbs(ix);
}

int index_open(const char *path, uint64_t slots, bool look,
               struct index **ret_ix)
{
    int err = pages_check(path);
    if (!err && !look)
        err = presize(path, INDEX_BYTES_BASE + slots * INDEX_BYTES_SLOT);
    if (err)
        return err;
    struct index *ix = calloc(1, sizeof(*ix));
    if (!ix)
        return -ENOMEM;
    ix->flags = look ? MDB_RDONLY : 0;
    pthread_mutex_init(&ix->turn, NULL);
    err = open_env(ix, path, slots);
    if (err) {
        index_free(ix);
        return err;
    }
    *ret_ix = ix;
    return 0;
}

void index_free(struct index *ix)
{
    if (!ix)
        return;
    assert(!ix->txn);
    mdb_env_close(ix->env);
    pthread_mutex_destroy(&ix->turn);
    free(ix);
}

/* ---- rows ---- */

static void key_be(struct row *w, uint64_t v, unsigned bytes)
{
    while (bytes--)
        w->key[w->key_len++] = (uint8_t)(v >> (8 * bytes));
}

static struct row row_of(uint64_t chain)
{
    struct row w = {.key_len = 0};
    key_be(&w, chain, 8);
    return w;
}

static uint64_t row_sum(const struct row *w, size_t val_len)
{
    return kt_sum64(w->val, val_len) ^ kt_sum64(w->key, w->key_len);
}

static void row_write(struct row *w)
{
    w->c = kt_cur_w(w->val, sizeof(w->val));
}

/* A row that ends with its sum comes (+1) or goes (-1). */
static void all_count(struct all *all, unsigned db, const MDB_val *v, int by)
{
    uint64_t sum = 0;
    if (v->mv_size >= 8) {
        struct kt_cur c =
            kt_cur_r((const uint8_t *)v->mv_data + v->mv_size - 8, 8);
        sum = kt_get_u64(&c);
    }
    sum += (db + 1) * 0x9e3779b97f4a7c15u;
    all->rows += (uint64_t)(int64_t)by;
    all->sum += by > 0 ? sum : 0 - sum;
}

static void row_seal(struct row *w)
{
    kt_put_u64(&w->c, row_sum(w, sizeof(w->val) - w->c.left));
    assert(!w->c.bad);
}

static int row_put(struct index *ix, unsigned db, struct row *w)
{
    row_seal(w);
    MDB_val k = {w->key_len, w->key}, old;
    MDB_val v = {sizeof(w->val) - w->c.left, w->val};
    int rc = mdb_get(ix->txn, ix->db[db], &k, &old);
    if (rc == 0)
        all_count(&ix->all, db, &old, -1);
    else if (rc != MDB_NOTFOUND)
        return from_lmdb(rc);
    all_count(&ix->all, db, &v, 1);
    return from_lmdb(mdb_put(ix->txn, ix->db[db], &k, &v, 0));
}

static int put_all(struct index *ix)
{
    struct row w = {.key_len = sizeof(all_key)};
    memcpy(w.key, all_key, sizeof(all_key));
    row_write(&w);
    kt_put_u64(&w.c, ++ix->all.commits);
    kt_put_u64(&w.c, ix->all.rows);
    kt_put_u64(&w.c, ix->all.sum);
    row_seal(&w);
    MDB_val k = {w.key_len, w.key};
    MDB_val v = {sizeof(w.val) - w.c.left, w.val};
    return from_lmdb(mdb_put(ix->txn, ix->db[DB_KV], &k, &v, 0));
}

static int row_read(struct row *w, const MDB_val *k, const MDB_val *v)
{
    if (k->mv_size > sizeof(w->key) || v->mv_size > sizeof(w->val) ||
        v->mv_size < 8)
        return KT_E_CORRUPT;
    w->key_len = k->mv_size;
    memcpy(w->key, k->mv_data, k->mv_size);
    memcpy(w->val, v->mv_data, v->mv_size);
    struct kt_cur c = kt_cur_r(w->val + v->mv_size - 8, 8);
    if (kt_get_u64(&c) != row_sum(w, v->mv_size - 8))
        return KT_E_CORRUPT;
    w->c = kt_cur_r(w->val, v->mv_size - 8);
    return 0;
}

/* ---- transactions ---- */

int index_begin(struct index *ix)
{
    pthread_mutex_lock(&ix->turn);
    int err =
        ix->dead ? KT_E_FAULTY
                 : from_lmdb(mdb_txn_begin(ix->env, NULL, ix->flags, &ix->txn));
    ix->all_before = ix->all;
    if (err)
        pthread_mutex_unlock(&ix->turn);
    return err;
}

int index_commit(struct index *ix)
{
    int err = put_all(ix);
    if (err)
        mdb_txn_abort(ix->txn);
    else
        err = from_lmdb(mdb_txn_commit(ix->txn));
    ix->txn = NULL;
    ix->dead = err != 0;
    pthread_mutex_unlock(&ix->turn);
    return err;
}

void index_abort(struct index *ix)
{
    mdb_txn_abort(ix->txn);
    ix->txn = NULL;
    ix->all = ix->all_before;
    pthread_mutex_unlock(&ix->turn);
}

/* ---- kinds of rows ---- */

static uint64_t row_chain(const struct row *w)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | w->key[i];
    return v;
}

int index_put_cfg(struct index *ix, const struct index_cfg *r)
{
    uint8_t b[KT_CFG_BYTES_MAX];
    size_t len = r->have_cfg ? kt_cfg_encode(&r->cfg, b) : 0;
    struct row w = row_of(r->chain);
    row_write(&w);
    kt_put_u64(&w.c, r->promised);
    kt_put_u32(&w.c, r->n_extents);
    kt_put_u32(&w.c, (uint32_t)len);
    kt_put_bytes(&w.c, b, len);
    kt_put_bytes(&w.c, r->whole.b, sizeof(r->whole.b));
    return row_put(ix, DB_CFG, &w);
}

int index_put_ckpt(struct index *ix, const struct index_ckpt *r)
{
    uint8_t b[KT_DEDUP_BYTES];
    struct row w = row_of(r->chain);
    kt_dedup_encode(&r->dedup, b);
    row_write(&w);
    kt_put_u32(&w.c, r->n_extents);
    kt_put_u32(&w.c, r->dropped);
    kt_put_u64(&w.c, r->born_lsn);
    kt_put_u64(&w.c, r->lsn);
    kt_put_u64(&w.c, r->applied.epoch);
    kt_put_u64(&w.c, r->applied.seq);
    kt_put_bytes(&w.c, b, sizeof(b));
    return row_put(ix, DB_CKPT, &w);
}

int index_put_ext(struct index *ix, const struct index_ext *r)
{
    struct row w = row_of(r->chain);
    key_be(&w, r->extent, 4);
    key_be(&w, 0, 4);
    row_write(&w);
    kt_put_u32(&w.c, r->slot);
    kt_put_u32(&w.c, (uint32_t)r->meta.alloc | (uint32_t)r->meta.partial << 1 |
                         (uint32_t)r->meta.slot_by << 2);
    kt_put_u64(&w.c, r->meta.id.epoch);
    kt_put_u64(&w.c, r->meta.id.seq);
    kt_put_bytes(&w.c, r->presence, sizeof(r->presence));
    return row_put(ix, DB_EXT, &w);
}

int index_put_log(struct index *ix, const struct index_log *r)
{
    struct row w = {.key_len = sizeof(log_key)};
    memcpy(w.key, log_key, sizeof(log_key));
    row_write(&w);
    kt_put_u64(&w.c, r->seg);
    kt_put_u64(&w.c, r->lsn);
    kt_put_u64(&w.c, r->durable_lsn);
    kt_put_u32(&w.c, r->off);
    return row_put(ix, DB_KV, &w);
}

static int drop_exts(struct index *ix, uint64_t chain)
{
    struct row w = row_of(chain);
    MDB_cursor *cur;
    MDB_val k = {w.key_len, w.key}, v;
    int rc = mdb_cursor_open(ix->txn, ix->db[DB_EXT], &cur);
    if (rc)
        return from_lmdb(rc);
    rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
    while (!rc && k.mv_size >= 8 && !memcmp(k.mv_data, w.key, 8)) {
        all_count(&ix->all, DB_EXT, &v, -1);
        rc = mdb_cursor_del(cur, 0);
        k = (MDB_val){w.key_len, w.key};
        if (!rc)
            rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
    }
    mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : from_lmdb(rc);
}

static int del_row(struct index *ix, unsigned db, uint64_t chain)
{
    struct row w = row_of(chain);
    MDB_val k = {w.key_len, w.key}, old;
    int rc = mdb_get(ix->txn, ix->db[db], &k, &old);
    if (rc == 0) {
        all_count(&ix->all, db, &old, -1);
        rc = mdb_del(ix->txn, ix->db[db], &k, NULL);
    }
    return rc == MDB_NOTFOUND ? 0 : from_lmdb(rc);
}

int index_drop(struct index *ix, uint64_t chain, uint64_t lsn)
{
    struct index_ckpt tomb = {
        .chain = chain, .n_extents = 1, .dropped = true, .born_lsn = lsn};
    int err = drop_exts(ix, chain);
    if (!err)
        err = del_row(ix, DB_CFG, chain);
    if (!err)
        err = index_put_ckpt(ix, &tomb);
    return err;
}

uint64_t index_commits(const struct index *ix)
{
    return ix->all.commits;
}

int index_forget_tomb(struct index *ix, uint64_t chain)
{
    return del_row(ix, DB_CKPT, chain);
}

/* ---- reading all ---- */

static int bad_chain(uint64_t chain, uint32_t n_extents)
{
    return chain && n_extents && n_extents <= KT_SEGMENT_EXTENTS_MAX
               ? 0
               : KT_E_CORRUPT;
}

static int visit_cfg(const struct index_visitor *v, struct row *w)
{
    struct index_cfg r = {.chain = row_chain(w)};
    r.promised = kt_get_u64(&w->c);
    r.n_extents = kt_get_u32(&w->c);
    uint32_t len = kt_get_u32(&w->c);
    int err = bad_chain(r.chain, r.n_extents);
    if (err || w->c.bad || len > w->c.left)
        return KT_E_CORRUPT;
    size_t rest = w->c.left - len;
    if (rest == sizeof(r.whole.b))
        memcpy(r.whole.b, w->c.p + len, rest);
    else if (rest)
        return KT_E_CORRUPT;
    r.have_cfg = len > 0;
    if (r.have_cfg)
        err = kt_cfg_decode(w->c.p, len, &r.cfg);
    return err ? err : v->cfg(v->arg, &r);
}

static int visit_ckpt(const struct index_visitor *v, struct row *w)
{
    struct index_ckpt r = {.chain = row_chain(w)};
    uint8_t b[KT_DEDUP_BYTES];
    r.n_extents = kt_get_u32(&w->c);
    r.dropped = kt_get_u32(&w->c) != 0;
    r.born_lsn = kt_get_u64(&w->c);
    r.lsn = kt_get_u64(&w->c);
    r.applied.epoch = kt_get_u64(&w->c);
    r.applied.seq = kt_get_u64(&w->c);
    kt_get_bytes(&w->c, b, sizeof(b));
    if (w->c.bad || bad_chain(r.chain, r.n_extents))
        return KT_E_CORRUPT;
    kt_dedup_decode(&r.dedup, b);
    return v->ckpt(v->arg, &r);
}

static int visit_ext(const struct index_visitor *v, struct row *w)
{
    if (w->key_len != 16)
        return KT_E_CORRUPT;
    struct index_ext r = {.chain = row_chain(w)};
    for (unsigned i = 8; i < 12; i++)
        r.extent = r.extent << 8 | w->key[i];
    r.slot = kt_get_u32(&w->c);
    uint32_t bits = kt_get_u32(&w->c);
    r.meta.alloc = bits & 1;
    r.meta.partial = bits >> 1 & 1;
    r.meta.slot_by = bits >> 2 & 3;
    r.meta.id.epoch = kt_get_u64(&w->c);
    r.meta.id.seq = kt_get_u64(&w->c);
    kt_get_bytes(&w->c, r.presence, sizeof(r.presence));
    if (w->c.bad || r.meta.alloc != (r.slot != SLOT_NONE))
        return KT_E_CORRUPT;
    return v->ext(v->arg, &r);
}

static int visit_log(const struct index_visitor *v, struct row *w)
{
    struct index_log r;
    r.seg = kt_get_u64(&w->c);
    r.lsn = kt_get_u64(&w->c);
    r.durable_lsn = kt_get_u64(&w->c);
    r.off = kt_get_u32(&w->c);
    return w->c.bad ? KT_E_CORRUPT : v->log(v->arg, &r);
}

static int get_all(struct row *w, struct all *ret_all)
{
    ret_all->commits = kt_get_u64(&w->c);
    ret_all->rows = kt_get_u64(&w->c);
    ret_all->sum = kt_get_u64(&w->c);
    return w->c.bad ? KT_E_CORRUPT : 0;
}

/* Beside the visitor: what the rows are, and what they should be. */
struct tally {
    const struct index_visitor *v;
    struct all is, want;
    bool have;
};

static int visit_row(unsigned db, struct row *w, const MDB_val *val,
                     struct tally *t)
{
    static int (*const visit[N_DBS])(const struct index_visitor *,
                                     struct row *) = {visit_cfg, visit_ckpt,
                                                      visit_ext, visit_log};
    if (db == DB_KV && w->key_len == sizeof(all_key) &&
        !memcmp(w->key, all_key, sizeof(all_key))) {
        t->have = true;
        return get_all(w, &t->want);
    }
    all_count(&t->is, db, val, 1);
    return visit[db](t->v, w);
}

static int visit_db(struct index *ix, unsigned db, struct tally *t)
{
    struct row w;
    MDB_cursor *cur;
    MDB_val k, val;
    int rc = mdb_cursor_open(ix->txn, ix->db[db], &cur);
    if (rc)
        return from_lmdb(rc);
    int err = 0;
    while (!err && !(rc = mdb_cursor_get(cur, &k, &val, MDB_NEXT))) {
        err = row_read(&w, &k, &val);
        if (!err)
            err = visit_row(db, &w, &val, t);
    }
    mdb_cursor_close(cur);
    return err || rc == MDB_NOTFOUND ? err : from_lmdb(rc);
}

int index_visit(struct index *ix, const struct index_visitor *v, bool format_1)
{
    static const unsigned order[N_DBS] = {DB_KV, DB_CKPT, DB_CFG, DB_EXT};
    struct tally t = {.v = v};
    int err = 0;
    for (unsigned i = 0; !err && i < N_DBS; i++)
        err = visit_db(ix, order[i], &t);
    if (err)
        return err;
    if (t.have ? t.is.rows != t.want.rows || t.is.sum != t.want.sum : !format_1)
        return KT_E_CORRUPT;
    t.is.commits = t.want.commits;
    ix->all = ix->all_before = t.is;
    return 0;
}
