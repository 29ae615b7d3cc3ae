/* SPDX-License-Identifier: BSD-3-Clause */
/* The store on disk when it ends badly: killed, without power, damaged. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/logfmt.h"
#include "replicator/store/super.h"
#include "tests/unit/store_model.h"

#define SLOTS 32u
#define CHAIN 3u
#define IN_FLIGHT 8u

/* ---- a child that works until it is killed ---- */

/* The record with this seq is the same in every life. */
static struct kt_record nth(struct model *m, uint64_t seed)
{
    uint64_t rng = seed * 1000003 + m->at.seq;
    return model_random(m, &rng);
}

static uint64_t nth_stamp(const struct model *m)
{
    return m->at.seq + 1;
}

struct report {
    uint64_t seq, durable; /* completed; known to be durable */
};

struct worker_op {
    struct store_append a;
    bool busy;
};

static struct child {
    struct rig *g;
    int pipe;
    struct worker_op ops[IN_FLIGHT];
    struct store_sync sync;
    bool syncing, acks;
    uint64_t rng;
} child;

static void child_tell(uint64_t seq, uint64_t durable)
{
    struct report r = {seq, durable};
    if (write(child.pipe, &r, sizeof(r)) != sizeof(r))
        _exit(3);
}

static void child_sync_done(struct store_op *op, int err)
{
    if (err)
        _exit(4);
    child_tell(0, ((struct store_sync *)op)->ret_durable);
    child.syncing = false;
}

static void child_append_done(struct store_op *op, int err)
{
    struct worker_op *w = (struct worker_op *)op;
    if (err)
        _exit(5);
    bool fua = w->a.rec.flags & KT_RF_FUA;
    child_tell(w->a.rec.id.seq, fua ? w->a.rec.id.seq : 0);
    kt_buf_unref(w->a.buf);
    w->busy = false;
    if (child.acks)
        store_acked(child.g->s, w->a.chain, w->a.rec.id.seq);
}

static void child_main(struct rig *g, struct model *m, uint64_t seed)
{
    rig_open(g);
    struct store_chain *c = store_chain_find(g->s, CHAIN);
    if (!c)
        c = store_chain_create(g->s, CHAIN, MODEL_EXTENTS);
    for (;;) {
        for (unsigned i = 0; i < IN_FLIGHT; i++) {
            struct worker_op *w = &child.ops[i];
            if (w->busy)
                continue;
            w->busy = true;
            w->a = (struct store_append){
                .op.done = child_append_done, .chain = c, .rec = nth(m, seed)};
            uint64_t stamp = nth_stamp(m);
            w->a.buf = model_payload(&w->a.rec, stamp);
            model_fold(m, &w->a.rec, stamp);
            store_append(g->s, &w->a);
        }
        if (!child.syncing && model_rand(&child.rng, 20) == 0) {
            child.syncing = true;
            child.sync =
                (struct store_sync){.op.done = child_sync_done, .chain = c};
            store_sync(g->s, &child.sync);
        }
        rig_step(g);
    }
}

/* Lets a child work for so long and kills it; m follows what is known. */
static struct report live_and_die(struct rig *g, struct model *m, uint64_t seed,
                                  unsigned ms)
{
    int p[2];
    struct report all = {m->at.seq, 0}, r;
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(p[0]);
        child.g = g;
        child.pipe = p[1];
        child.rng = seed;
        child_main(g, m, seed);
    }
    close(p[1]);
    assert_int_equal(read(p[0], &r, sizeof(r)), sizeof(r));
    usleep(ms * 1000);
    kill(pid, SIGKILL);
    do {
        all.seq = kt_max_u64(all.seq, r.seq);
        all.durable = kt_max_u64(all.durable, r.durable);
    } while (read(p[0], &r, sizeof(r)) == sizeof(r));
    close(p[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return all;
}

/* Brings the model to where the store is, at least to `least`, and compares. */
static void catch_up(struct rig *g, struct model *m, uint64_t seed,
                     uint64_t least)
{
    struct store_chain_info i = {.chain = 0};
    struct store_chain *c = store_chain_find(g->s, CHAIN);
    if (!c) {
        assert_int_equal(least, 0);
        return;
    }
    store_chain_info(c, &i);
    assert_true(i.applied.seq >= least);
    while (m->at.seq < i.applied.seq) {
        struct kt_record r = nth(m, seed);
        model_fold(m, &r, nth_stamp(m));
    }
    check_chain(g, m);
}

static void a_killed_store_has_all_that_completed(void **state)
{
    (void)state;
    for (unsigned acks = 0; acks < 2; acks++) {
        struct rig g;
        struct model m;
        struct store_info i;
        rig_init(&g, SLOTS);
        model_init(&m, CHAIN);
        child.acks = acks;
        for (unsigned life = 0; life < 4; life++) {
            struct report r =
                live_and_die(&g, &m, 11 + acks, 50 + life * (acks ? 450 : 50));
            rig_open(&g);
            catch_up(&g, &m, 11 + acks, r.seq);
            store_info(g.s, &i);
            assert_int_equal(i.cont_base, 1);
            if (acks && life % 2)
                store_acked(g.s, store_chain_find(g.s, CHAIN), m.at.seq);
            rig_close(&g);
        }
        rig_free(&g);
    }
    child.acks = false;
}

/* ---- power loss ---- */

struct file {
    char path[128];
    uint8_t *b;
    size_t len;
};

static void load(struct file *f, const char *dir, const char *name)
{
    struct stat st;
    snprintf(f->path, sizeof(f->path), "%.60s/%.60s", dir, name);
    int fd = open(f->path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    f->len = (size_t)st.st_size;
    f->b = malloc(f->len + 1);
    assert_non_null(f->b);
    assert_int_equal(kt_pread_all(fd, f->b, f->len, 0), 0);
    close(fd);
}

static void save(const struct file *f)
{
    int fd = open(f->path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(kt_pwrite_all(fd, f->b, f->len, 0), 0);
    close(fd);
}

#define SEGS_MAX 64u
struct logs {
    struct file f[SEGS_MAX];
    unsigned n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path,
                  ((const struct file *)b)->path);
}

static void load_logs(struct logs *l, const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    assert_non_null(d);
    l->n = 0;
    while ((e = readdir(d)))
        if (!strncmp(e->d_name, "log.", 4)) {
            assert_true(l->n < SEGS_MAX);
            load(&l->f[l->n++], dir, e->d_name);
        }
    closedir(d);
    qsort(l->f, l->n, sizeof(l->f[0]), by_name);
}

static void free_logs(struct logs *l)
{
    while (l->n)
        free(l->f[--l->n].b);
}

/* After the last durable record each page of the log is there or not. The
 * store holds one chain that was never reset: lsn and seq are the same. */
static void lose_pages(const char *dir, uint64_t durable, uint64_t *rng)
{
    struct logs l;
    load_logs(&l, dir);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < l.n; i++) {
            struct file *f = &l.f[i];
            struct log_rec_head h;
            size_t off = LOG_SEG_HEAD_BYTES, keep = off;
            while (off + LOG_REC_HEAD_BYTES <= f->len &&
                   log_rec_decode(f->b + off, &h) == 0) {
                off += log_rec_bytes(h.n_sums, h.data_len);
                off = h.ends ? log_align((uint32_t)off) : off;
                if (pass == 0)
                    durable = kt_max_u64(durable, h.durable_lsn);
                if (h.lsn <= durable)
                    keep = off;
            }
            for (size_t p = keep; pass && p < off;) {
                size_t end = (p / 4096 + 1) * 4096;
                if (model_rand(rng, 3) == 0)
                    memset(f->b + p, 0, (end < off ? end : off) - p);
                p = end;
            }
            if (pass)
                save(f);
        }
    }
    free_logs(&l);
}

static void
without_power_a_prefix_with_all_that_was_synced_is_left(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct rig g;
        struct model m;
        struct store_info i;
        uint64_t rng = seed;
        rig_init(&g, SLOTS);
        model_init(&m, CHAIN);
        for (unsigned life = 0; life < 2; life++) {
            struct report r = live_and_die(&g, &m, seed, 60);
            lose_pages(g.dir, r.durable, &rng);
            g.boot.b[0]++;
            rig_open(&g);
            catch_up(&g, &m, seed, kt_max_u64(r.durable, m.at.seq));
            store_info(g.s, &i);
            assert_int_equal(i.cont_base, i.incarnation);
            rig_close(&g);
            rig_open(&g);
            catch_up(&g, &m, seed, m.at.seq);
            rig_close(&g);
        }
        rig_free(&g);
    }
}

/* ---- damage ---- */

static void flip(struct file *f, size_t byte, unsigned bit)
{
    f->b[byte] ^= (uint8_t)(1u << bit);
    save(f);
}

/* What a store with one chain of 40 records looks like, closed. */
static void make_store(struct rig *g, struct model *m, bool applied)
{
    rig_init(g, SLOTS);
    rig_open(g);
    struct store_chain *c = make_chain(g, m, CHAIN);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(do_write(g, m, i % 3, i), 0);
    if (applied)
        store_acked(g->s, c, m->at.seq);
    rig_close(g);
}

static void a_flipped_bit_in_the_log_is_found(void **state)
{
    struct rig g;
    struct model m;
    struct logs l;
    uint64_t rng = 5;
    (void)state;
    make_store(&g, &m, false);
    for (unsigned i = 0; i < 12; i++) {
        load_logs(&l, g.dir);
        size_t at = rig_record_at((uint32_t)model_rand(&rng, 40));
        at += model_rand(&rng, i % 2 ? LOG_REC_HEAD_BYTES
                                     : log_rec_bytes(1, KT_SECTOR_BYTES));
        unsigned bit = (unsigned)model_rand(&rng, 8);
        flip(&l.f[0], at, bit);
        assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
        assert_non_null(strstr(g.why, "damaged"));
        assert_non_null(strstr(g.why, g.dir));
        flip(&l.f[0], at, bit);
        free_logs(&l);
    }
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void damage_in_applied_records_only_shortens_the_log(void **state)
{
    struct rig g;
    struct model m;
    struct logs l;
    (void)state;
    make_store(&g, &m, true);
    load_logs(&l, g.dir);
    flip(&l.f[0], LOG_SEG_HEAD_BYTES + 9000, 3);
    free_logs(&l);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void one_damaged_superblock_does_not_matter(void **state)
{
    struct rig g;
    struct model m;
    struct file f[2];
    struct store_info i;
    (void)state;
    make_store(&g, &m, true);
    for (unsigned k = 0; k < 2; k++) {
        load(&f[k], g.dir, k ? "super.b" : "super.a");
        flip(&f[k], 64 + 9 * k, 2);
        uint64_t before = 0;
        if (k) {
            store_info(g.s, &i);
            before = i.incarnation;
            rig_close(&g);
            flip(&f[k], 64, 1);
        }
        rig_open(&g);
        check_chain(&g, &m);
        store_info(g.s, &i);
        assert_true(i.incarnation > before + 1);
        assert_int_equal(i.cont_base, i.incarnation);
    }
    rig_close(&g);
    for (unsigned k = 0; k < 2; k++) {
        free(f[k].b);
        load(&f[k], g.dir, k ? "super.b" : "super.a");
        flip(&f[k], 30, 1);
    }
    assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
    assert_non_null(strstr(g.why, "superblocks"));
    free(f[0].b);
    free(f[1].b);
    rig_free(&g);
}

static void a_damaged_superblock_hides_no_records(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        struct rig g;
        struct model m;
        struct file f;
        make_store(&g, &m, false);
        rig_open(&g);
        assert_int_equal(do_write(&g, &m, 1, 500), 0);
        rig_close(&g);
        load(&f, g.dir, k ? "super.b" : "super.a");
        flip(&f, 40, 6);
        free(f.b);
        rig_open(&g);
        check_chain(&g, &m);
        assert_int_equal(do_write(&g, &m, 1, 501), 0);
        rig_close(&g);
        rig_open(&g);
        check_chain(&g, &m);
        rig_free(&g);
    }
}

static void a_flipped_bit_in_a_slot_is_never_handed_out(void **state)
{
    static const char *const names[] = {"data.000", "csum.000"};
    struct rig g;
    struct model m;
    uint64_t rng = 9;
    (void)state;
    make_store(&g, &m, true);
    for (unsigned i = 0; i < 10; i++) {
        struct file f;
        load(&f, g.dir, names[i % 2]);
        size_t at;
        do /* a place that holds something */
            at = model_rand(&rng, f.len);
        while (f.b[at] == 0);
        unsigned bit = (unsigned)model_rand(&rng, 8);
        flip(&f, at, bit);
        uint32_t bad = 0;
        rig_open(&g);
        for (uint32_t e = 0; e < 3; e++)
            for (uint32_t k = 0; k < 64; k++) {
                int err;
                uint64_t v = do_read(&g, CHAIN, e, k, &err);
                assert_true(err == 0 || err == KT_E_CORRUPT);
                bad += err != 0;
                if (!err)
                    assert_int_equal(v, m.stamp[e][k]);
            }
        assert_int_equal(bad, 1);
        rig_close(&g);
        flip(&f, at, bit);
        free(f.b);
    }
    rig_free(&g);
}

/* ---- the index says what belongs to it ---- */

static void row_del(const struct rig *g, const char *db, const void *key,
                    size_t len)
{
    char path[96];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {len, (void *)(uintptr_t)key};
    snprintf(path, sizeof(path), "%s/meta.mdb", g->dir);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600),
                     0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, db, 0, &dbi), 0);
    assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    /* Once more, so that the tree before this one does not have it either. */
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_put(txn, dbi, &k, &k, 0), 0);
    assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void a_row_that_vanished_is_missed(void **state)
{
    static const uint8_t ext[16] = {[7] = CHAIN, [11] = 1};
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m, true);
    row_del(&g, "ext", ext, sizeof(ext));
    assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
    assert_non_null(strstr(g.why, "the index"));
    rig_free(&g);
}

/* One bit in the number of the newest commit, and LMDB takes the one before. */
static void an_index_of_an_earlier_commit_is_noticed(void **state)
{
    struct rig g;
    struct model m;
    struct file f;
    (void)state;
    make_store(&g, &m, true);
    load(&f, g.dir, "meta.mdb");
    const size_t at = 16 + 128; /* txnid in a meta page */
    bool second = f.b[4096 + at] > f.b[at];
    if (!(f.b[at + 4096 * second] & 2)) { /* then the older one is raised */
        second = !second;
        assert_false(f.b[at + 4096 * second] & 2);
    }
    flip(&f, at + 4096 * second, 1);
    assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
    assert_non_null(strstr(g.why, "the index"));
    flip(&f, at + 4096 * second, 1);
    free(f.b);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void a_store_of_format_1_becomes_one_of_the_newest(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m, true);
    for (unsigned k = 0; k < 2; k++) {
        struct file f;
        load(&f, g.dir, k ? "super.b" : "super.a");
        assert_int_equal(f.b[8], SUPER_VERSION);
        f.b[8] = 1;
        memset(f.b + 112, 0, 8);
        struct kt_id sum = kt_sum128(f.b, f.len - 16);
        memcpy(f.b + f.len - 16, sum.b, 16);
        save(&f);
        free(f.b);
    }
    row_del(&g, "kv", "all", 4);
    for (unsigned k = 0; k < 2; k++) { /* the second time it is known */
        rig_open(&g);
        check_chain(&g, &m);
        rig_close(&g);
    }
    row_del(&g, "kv", "all", 4);
    assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_store_has_all_that_completed),
        cmocka_unit_test(
            without_power_a_prefix_with_all_that_was_synced_is_left),
        cmocka_unit_test(a_flipped_bit_in_the_log_is_found),
        cmocka_unit_test(damage_in_applied_records_only_shortens_the_log),
        cmocka_unit_test(one_damaged_superblock_does_not_matter),
        cmocka_unit_test(a_damaged_superblock_hides_no_records),
        cmocka_unit_test(a_flipped_bit_in_a_slot_is_never_handed_out),
        cmocka_unit_test(a_row_that_vanished_is_missed),
        cmocka_unit_test(an_index_of_an_earlier_commit_is_noticed),
        cmocka_unit_test(a_store_of_format_1_becomes_one_of_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
