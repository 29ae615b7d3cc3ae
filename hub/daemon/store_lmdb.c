/* SPDX-License-Identifier: BSD-3-Clause */
/* Commits of the hub.
 *
 *   1. hub_db_store copies the rows into a batch that waits.
 *   2. When no commit is under way, everything that waits goes to a worker
 *      thread as one LMDB transaction, synced by its commit.
 *   3. Back on the loop, each txn of it is answered in order. A failed commit
 *      fails everything behind it too: the shell ends the hub. */
#include "hub/daemon/store_lmdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/daemon/rows.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#define MAP_BYTES ((size_t)1 << 30)
#define PATH_BYTES 4096

struct entry { /* one row of one txn */
    struct entry *next;
    uint64_t txn;
    bool ends;      /* the txn's last */
    bool del;       /* delete the key */
    bool chains_of; /* delete the chains of volume */
    struct kt_id volume;
    struct row_bytes b;
};

struct hub_db {
    MDB_env *env;
    MDB_dbi dbi;
    int lock_fd;
    uv_loop_t *loop;
    const struct hub_db_ops *ops;
    void *arg;
    struct entry *waiting, **waiting_end;
    struct entry *doing;
    int doing_err, err;
    bool busy;
    uv_work_t work;
};

static int from_lmdb(int r)
{
    if (r == 0)
        return 0;
    if (r > 0)
        return -r;
    switch (r) {
    case MDB_MAP_FULL:
        return -ENOSPC;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PANIC:
        return KT_E_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return KT_E_PROTO;
    default:
        return -EIO;
    }
}

/* ---- open ---- */

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    bool empty = true;

    if (!d)
        return false;
    while ((e = readdir(d))) {
        const char *n = e->d_name;
        if (strcmp(n, ".") && strcmp(n, "..") && strcmp(n, "lock") &&
            strcmp(n, "lost+found"))
            empty = false;
    }
    closedir(d);
    return empty;
}

static int lock_dir(struct hub_db *db, const char *dir, char *why, size_t size)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/lock", dir);
    db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (db->lock_fd < 0) {
        int r = -errno;
        snprintf(why, size,
                 "%s cannot be written (%s): give this user a directory of "
                 "its own",
                 dir, kt_strerror(r));
        return r;
    }
    if (flock(db->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        snprintf(why, size, "%s is in use by another kenter-hub", dir);
        return r;
    }
    return 0;
}

/* Is there, or may be made, a database? 1: make one. */
static int judge_dir(const char *dir, bool init, char *why, size_t size)
{
    char path[PATH_BYTES];
    struct stat st;

    snprintf(path, sizeof(path), "%s/hub.mdb", dir);
    if (stat(path, &st) == 0)
        return 0;
    if (errno == EACCES) {
        snprintf(why, size, "%s cannot be read (%s): it is another user's", dir,
                 kt_strerror(-EACCES));
        return -EACCES;
    }
    if (stat(dir, &st) < 0 && errno == ENOENT) {
        if (init && mkdir(dir, 0700) == 0)
            return kt_sync_parent(dir) < 0 ? -EIO : 1;
        int r = init ? -errno : -ENOENT;
        snprintf(why, size, "%s cannot be opened (%s)%s", dir, kt_strerror(r),
                 init ? "" : ": to begin a new cluster there, give --init");
        return r;
    }
    if (!is_empty(dir)) {
        snprintf(why, size,
                 "%s is not a directory of kenter-hub: it holds other things, "
                 "or cannot be read",
                 dir);
        return -ENOTEMPTY;
    }
    if (!init) {
        snprintf(why, size,
                 "%s is empty: to begin a new cluster there, give --init; is "
                 "a disk not mounted?",
                 dir);
        return -ENOENT;
    }
    return 1;
}

static int open_env(struct hub_db *db, const char *dir, char *why, size_t size)
{
    char path[PATH_BYTES];
    MDB_txn *txn;

    snprintf(path, sizeof(path), "%s/hub.mdb", dir);
    int r = mdb_env_create(&db->env);
    if (r == 0)
        r = mdb_env_set_mapsize(db->env, MAP_BYTES);
    if (r == 0)
        r = mdb_env_open(db->env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
    if (r == 0)
        r = mdb_txn_begin(db->env, NULL, 0, &txn);
    if (r == 0) {
        r = mdb_dbi_open(txn, NULL, 0, &db->dbi);
        if (r == 0)
            r = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (r != 0)
        snprintf(why, size, "%s cannot be used (%s)", path,
                 kt_strerror(from_lmdb(r)));
    return from_lmdb(r);
}

/* The first row. A database that is to be filled from the nodes learns its
 * cluster from them. */
static int put_first(struct hub_db *db, bool recover)
{
    struct hub_cluster c = {.next_chain = 1,
                            .segment_bytes = KT_SEGMENT_BYTES_DEFAULT};
    struct hub_row row = {.kind = HUB_ROW_CLUSTER, .u.cluster = &c};

    if (recover)
        c.recover = HUB_RECOVER_EMPTY;
    else
        kt_id_random(&c.id);
    return hub_db_put_now(db, &row);
}

int hub_db_open(const char *dir, const struct hub_db_how *how,
                struct hub_db **ret_db, char *ret_why, size_t size)
{
    struct hub_db *db;
    int fresh = judge_dir(dir, how->init, ret_why, size);

    if (fresh < 0)
        return fresh;
    db = calloc(1, sizeof(*db));
    if (!db)
        return -ENOMEM;
    db->lock_fd = -1;
    db->waiting_end = &db->waiting;
    int r = lock_dir(db, dir, ret_why, size);
    if (r == 0)
        r = open_env(db, dir, ret_why, size);
    if (r == 0 && fresh) {
        r = put_first(db, how->recover);
        if (r < 0)
            snprintf(ret_why, size, "%s cannot be written (%s)", dir,
                     kt_strerror(r));
    }
    if (r < 0) {
        hub_db_free(db);
        return r;
    }
    *ret_db = db;
    return 0;
}

void hub_db_free(struct hub_db *db)
{
    if (!db)
        return;
    assert(!db->busy);
    while (db->waiting) {
        struct entry *e = db->waiting;
        db->waiting = e->next;
        free(e);
    }
    if (db->env)
        mdb_env_close(db->env);
    if (db->lock_fd >= 0)
        close(db->lock_fd);
    free(db);
}

/* ---- read ---- */

/* Node and volume rows come before chain rows: three passes by key. */
static int read_pass(MDB_cursor *cur, const char *letters,
                     int (*each)(void *arg, const struct row_any *row),
                     void *arg)
{
    static struct row_any row;
    MDB_val k, v;
    int r = mdb_cursor_get(cur, &k, &v, MDB_FIRST);

    for (; r == 0; r = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) {
        char letter = k.mv_size ? *(const char *)k.mv_data : '\0';
        if (!strchr("cnvht", letter) || letter == '\0')
            return KT_E_CORRUPT;
        if (!strchr(letters, letter))
            continue;
        int e = row_decode(k.mv_data, k.mv_size, v.mv_data, v.mv_size, &row);
        if (e == 0)
            e = each(arg, &row);
        if (e < 0)
            return e;
    }
    return r == MDB_NOTFOUND ? 0 : from_lmdb(r);
}

int hub_db_read(struct hub_db *db,
                int (*each)(void *arg, const struct row_any *row), void *arg,
                char *ret_why, size_t size)
{
    MDB_txn *txn;
    MDB_cursor *cur;
    int r = from_lmdb(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn));

    if (r == 0) {
        r = from_lmdb(mdb_cursor_open(txn, db->dbi, &cur));
        if (r == 0) {
            r = read_pass(cur, "c", each, arg);
            if (r == 0)
                r = read_pass(cur, "nvt", each, arg);
            if (r == 0)
                r = read_pass(cur, "h", each, arg);
            /* The end of a reading transaction does not close it. */
            mdb_cursor_close(cur);
        }
        mdb_txn_abort(txn);
    }
    if (r < 0)
        snprintf(ret_why, size,
                 "the database is damaged or too large for this program (%s): "
                 "restore it from a backup",
                 kt_strerror(r));
    return r;
}

/* ---- write ---- */

static int del_chains_of(MDB_txn *txn, MDB_dbi dbi, const struct kt_id *volume)
{
    struct row_any *row = malloc(sizeof(*row));
    MDB_cursor *cur;
    MDB_val k = {1, (void *)(uintptr_t) "h"}, v;

    if (!row)
        return ENOMEM;
    int r = mdb_cursor_open(txn, dbi, &cur);
    if (r != 0) {
        free(row);
        return r;
    }
    r = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
    while (r == 0 && *(const char *)k.mv_data == 'h') {
        if (row_decode(k.mv_data, k.mv_size, v.mv_data, v.mv_size, row) < 0)
            r = MDB_CORRUPTED;
        else if (kt_id_eq(&row->chain.cfg.volume, volume))
            r = mdb_cursor_del(cur, 0);
        if (r == 0)
            r = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cur);
    free(row);
    return r == MDB_NOTFOUND ? 0 : r;
}

static int write_entry(struct hub_db *db, MDB_txn *txn, struct entry *e)
{
    MDB_val k = {e->b.key_len, e->b.key}, v = {e->b.len, e->b.value};

    if (e->chains_of)
        return del_chains_of(txn, db->dbi, &e->volume);
    if (!e->del)
        return mdb_put(txn, db->dbi, &k, &v, 0);
    int r = mdb_del(txn, db->dbi, &k, NULL);
    return r == MDB_NOTFOUND ? 0 : r;
}

static int commit_list(struct hub_db *db, struct entry *list)
{
    MDB_txn *txn;
    int r = mdb_txn_begin(db->env, NULL, 0, &txn);

    if (r != 0)
        return from_lmdb(r);
    for (struct entry *e = list; e && r == 0; e = e->next)
        r = write_entry(db, txn, e);
    if (r != 0) {
        mdb_txn_abort(txn);
        return from_lmdb(r);
    }
    return from_lmdb(mdb_txn_commit(txn));
}

int hub_db_put_now(struct hub_db *db, const struct hub_row *r)
{
    struct entry e = {.ends = true};

    row_encode(r, &e.b);
    return commit_list(db, &e);
}

void hub_db_run(struct hub_db *db, uv_loop_t *loop,
                const struct hub_db_ops *ops, void *arg)
{
    db->loop = loop;
    db->ops = ops;
    db->arg = arg;
}

static void begin(struct hub_db *db);

/* On a worker thread. */
static void on_work(uv_work_t *w)
{
    struct hub_db *db = kt_container_of(w, struct hub_db, work);

    db->doing_err = commit_list(db, db->doing);
}

static void on_done(uv_work_t *w, int status)
{
    struct hub_db *db = kt_container_of(w, struct hub_db, work);
    struct entry *e = db->doing;

    db->doing = NULL;
    db->busy = false;
    if (status < 0 && db->doing_err == 0)
        db->doing_err = status;
    if (db->err == 0)
        db->err = db->doing_err;
    while (e) {
        struct entry *next = e->next;
        if (e->ends)
            db->ops->stored(db->arg, e->txn, db->err);
        free(e);
        e = next;
    }
    begin(db);
}

static void begin(struct hub_db *db)
{
    if (db->busy || !db->waiting || db->err)
        return;
    db->doing = db->waiting;
    db->waiting = NULL;
    db->waiting_end = &db->waiting;
    db->busy = true;
    int r = uv_queue_work(db->loop, &db->work, on_work, on_done);
    assert(r == 0);
    (void)r;
}

void hub_db_store(struct hub_db *db, const struct hub_action *a)
{
    assert(a->type == HUB_ACT_STORE && a->n_rows > 0);
    for (unsigned i = 0; i < a->n_rows; i++) {
        const struct hub_row *r = &a->rows[i];
        struct entry *e = calloc(1, sizeof(*e));
        if (!e) {
            kt_log(KT_LOG_ERROR, "out_of_memory", "what=commit");
            abort();
        }
        e->txn = a->txn;
        e->ends = i + 1 == a->n_rows;
        e->del = r->del;
        e->chains_of = r->kind == HUB_ROW_CHAINS_OF;
        if (e->chains_of)
            e->volume = *r->u.volume_id;
        else
            row_encode(r, &e->b);
        *db->waiting_end = e;
        db->waiting_end = &e->next;
    }
    begin(db);
}

bool hub_db_busy(const struct hub_db *db)
{
    return db->busy;
}
