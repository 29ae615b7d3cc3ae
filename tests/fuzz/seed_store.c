/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes a store by its own means, and of it first corpora for the targets of
 * records: seed_store RECORDS PAGES STORE CHANGES, directories that exist.
 * STORE gets the files of one that was killed with records in its log only. */
#include <dirent.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "replicator/store/logfmt.h"
#include "replicator/store/super.h"
#include "tests/unit/store_model.h"

#define CHAIN 3u
#define PIECE (16u << 10)
#define PAGES_MAX (96u << 10)

enum { SUPER, SEG, REC, ROW, SUMS };

static unsigned n_made;

/* One input: its first byte, then the bytes. */
static void put(const char *dir, int first, const void *b, size_t len)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%u", dir, n_made++);
    FILE *out = fopen(path, "wb");
    if (!out || (first >= 0 && fputc(first, out) < 0) ||
        fwrite(b, 1, len, out) != len || fclose(out) != 0) {
        perror(path);
        exit(1);
    }
}

static uint8_t *load(const char *dir, const char *name, size_t *ret_len)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st)) {
        perror(path);
        exit(1);
    }
    uint8_t *b = malloc((size_t)st.st_size + 1);
    if (!b || kt_pread_all(fd, b, (size_t)st.st_size, 0))
        exit(1);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return b;
}

static void make_store(struct rig *g, struct model *m)
{
    static const uint8_t ops[] = {KT_OP_ZERO, KT_OP_TRIM};
    struct kt_id whole = {{1}};
    rig_init(g, 6);
    rig_open(g);
    struct store_chain *c = make_chain(g, m, CHAIN);
    assert_int_equal(do_save_whole(g, CHAIN, 2, &whole), 0);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(do_write(g, m, i % 3, i), 0);
    store_acked(g->s, c, m->at.seq);
    rig_close(g); /* these are in the slots */
    rig_open(g);
    for (unsigned i = 0; i < 2; i++) {
        struct kt_record r = model_record(m, ops[i]);
        r.extent = i;
        r.off = 8 * KT_SECTOR_BYTES;
        r.len = 4 * KT_SECTOR_BYTES;
        assert_int_equal(do_op(g, m, r, 0), 0);
    }
    for (uint32_t i = 0; i < 12; i++)
        assert_int_equal(do_write(g, m, i % 3, 50 + i), 0);
    assert_int_equal(do_sync(g, CHAIN, &(uint64_t){0}), 0);
}

static void put_log(const char *out, const char *dir, const char *name)
{
    size_t len;
    uint8_t *b = load(dir, name, &len);
    struct log_rec_head h;
    unsigned n = 0;
    put(out, 0x80 | SEG, b, LOG_SEG_HEAD_BYTES);
    for (size_t off = LOG_SEG_HEAD_BYTES;
         off + LOG_REC_HEAD_BYTES <= len && n < 8; off += 8) {
        if (log_rec_decode(b + off, &h))
            continue;
        size_t all = log_rec_bytes(h.n_sums, h.data_len);
        if (all <= PIECE && off + all <= len) {
            put(out, 0x80 | REC, b + off, all);
            n++;
        }
    }
    free(b);
}

/* Of each table of the index its first row: database, key, value. */
static void put_rows(const char *out, const char *dir)
{
    static const char *const names[] = {"cfg", "ckpt", "ext", "kv"};
    char path[512];
    MDB_env *env;
    MDB_txn *txn;
    snprintf(path, sizeof(path), "%s/meta.mdb", dir);
    if (mdb_env_create(&env) || mdb_env_set_maxdbs(env, 4) ||
        mdb_env_open(env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0600) ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn))
        exit(1);
    for (unsigned i = 0; i < 4; i++) {
        MDB_dbi db;
        MDB_cursor *cur;
        MDB_val k, v;
        uint8_t b[PIECE];
        if (mdb_dbi_open(txn, names[i], 0, &db) ||
            mdb_cursor_open(txn, db, &cur))
            exit(1);
        for (int rc = mdb_cursor_get(cur, &k, &v, MDB_FIRST); !rc;
             rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) {
            if (2 + k.mv_size + v.mv_size > sizeof(b))
                continue;
            b[0] = (uint8_t)i;
            b[1] = (uint8_t)k.mv_size;
            memcpy(b + 2, k.mv_data, k.mv_size);
            memcpy(b + 2 + k.mv_size, v.mv_data, v.mv_size);
            put(out, 0x80 | ROW, b, 2 + k.mv_size + v.mv_size);
        }
        mdb_cursor_close(cur);
    }
    mdb_txn_abort(txn);
    mdb_env_close(env);
}

static void put_sums(const char *out, const char *dir)
{
    size_t len, n_sums;
    uint8_t *data = load(dir, "data.000", &len);
    uint8_t *sums = load(dir, "csum.000", &n_sums), b[3 * (8 + 4096)];
    memcpy(b, sums, 3 * 8);
    memcpy(b + 3 * 8, data, 3 * 4096);
    put(out, SUMS, b, sizeof(b));
    free(data);
    free(sums);
}

static void put_records(const char *out, const char *dir)
{
    size_t len;
    uint8_t *b = load(dir, "super.a", &len);
    put(out, 0x80 | SUPER, b, len);
    free(b);
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (!strncmp(e->d_name, "log.", 4))
            put_log(out, dir, e->d_name);
    if (d)
        closedir(d);
    put_rows(out, dir);
    put_sums(out, dir);
}

static void copy(const char *from, const char *to)
{
    char cmd[1200];
    snprintf(cmd, sizeof(cmd), "cp -a '%s/.' '%s'", from, to);
    if (system(cmd) != 0)
        exit(1);
}

/* A byte in the middle of each file; of all but the superblocks twice. */
static void put_changes(const char *out)
{
    for (uint8_t f = 0; f < 16; f++) {
        uint8_t b[7] = {f & 1, f, 0x10, 0x20, (uint8_t)(f * 16), 4, 0};
        put(out, -1, b, sizeof(b));
        b[3] = 0x80;
        put(out, -1, b, sizeof(b));
    }
}

static void seed(void **state)
{
    char **argv = *state;
    struct rig g;
    struct model m;
    size_t len;
    make_store(&g, &m);
    copy(g.dir, argv[3]); /* it is open, as if killed now */
    put_records(argv[1], argv[3]);
    uint8_t *b = load(argv[3], "meta.mdb", &len);
    put(argv[2], -1, b, len < PAGES_MAX ? len : PAGES_MAX);
    free(b);
    put_changes(argv[4]);
    rig_free(&g);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(seed, argv),
    };
    if (argc != 5) {
        fprintf(stderr, "usage: seed_store RECORDS PAGES STORE CHANGES\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
