/* SPDX-License-Identifier: BSD-3-Clause */
/* An LMDB environment of three tables:
 *   volumes  NAME              -> JSON (catalog_json.c)
 *   ids      32 hex digits     -> NAME
 *   refs     32 hex ":" ID     -> JSON {boot, count} */
#include "volplugin/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "volplugin/catalog_json.h"

#define MAP_BYTES ((size_t)1 << 30) /* address space, not memory */
#define READERS_MAX 4096u
#define KEY_BYTES (KT_ID_HEX_BYTES + 1 + VOL_MOUNT_ID_MAX + 1)

struct catalog {
    MDB_env *env;
    MDB_dbi volumes, ids, refs;
    int lock_fd;
    atomic_ullong changes; /* by put and del; made within their transaction */
    char boot[KT_ID_HEX_BYTES];
};

static int from_lmdb(int r)
{
    if (r == 0)
        return 0;
    if (r > 0)
        return -r;
    switch (r) {
    case MDB_NOTFOUND:
        return KT_E_NO_VOLUME;
    case MDB_MAP_FULL:
        return -ENOSPC;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PANIC:
        return KT_E_CORRUPT;
    default:
        return -EIO;
    }
}

static MDB_val val(const char *s)
{
    MDB_val v = {.mv_size = strlen(s), .mv_data = (void *)(uintptr_t)s};

    return v;
}

/* ---- open ---- */

static int lock(const char *dir)
{
    char path[4096];

    int n = snprintf(path, sizeof(path), "%s/lock", dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int open_tables(struct catalog *c)
{
    MDB_txn *txn;

    int r = mdb_txn_begin(c->env, NULL, 0, &txn);
    if (r != 0)
        return r;
    r = mdb_dbi_open(txn, "volumes", MDB_CREATE, &c->volumes);
    if (r == 0)
        r = mdb_dbi_open(txn, "ids", MDB_CREATE, &c->ids);
    if (r == 0)
        r = mdb_dbi_open(txn, "refs", MDB_CREATE, &c->refs);
    if (r == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return r;
}

static int open_env(struct catalog *c, const char *dir)
{
    int r = mdb_env_create(&c->env);
    if (r == 0)
        r = mdb_env_set_mapsize(c->env, MAP_BYTES);
    if (r == 0)
        r = mdb_env_set_maxreaders(c->env, READERS_MAX);
    if (r == 0)
        r = mdb_env_set_maxdbs(c->env, 3);
    if (r == 0)
        r = mdb_env_open(c->env, dir, MDB_NOTLS, 0600);
    if (r == 0)
        r = open_tables(c);
    return from_lmdb(r);
}

int catalog_open(const char *dir, struct catalog **ret_cat, char *ret_why,
                 size_t size)
{
    struct kt_id boot;
    int err = 0;

    struct catalog *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->lock_fd = -1;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        err = -errno;
    if (err == 0)
        err = kt_boot_id(&boot);
    if (err == 0) {
        kt_id_hex(&boot, c->boot);
        c->lock_fd = lock(dir);
        err = c->lock_fd < 0 ? c->lock_fd : open_env(c, dir);
    }
    if (err == -EWOULDBLOCK)
        snprintf(ret_why, size, "%s is used by another kenter-volplugin", dir);
    else if (err < 0)
        snprintf(ret_why, size,
                 "the catalogue in %s cannot be opened: %s. It can be removed "
                 "when no volume is mounted on this node: the hub knows all "
                 "of it but fs, mkfs, mountopts, uid, gid and mode",
                 dir, kt_strerror(err));
    if (err < 0) {
        catalog_free(c);
        return err;
    }
    *ret_cat = c;
    return 0;
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    if (c->env)
        mdb_env_close(c->env);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    free(c);
}

/* ---- volumes ---- */

static int decode(const MDB_val *key, const MDB_val *row,
                  struct cat_volume *ret)
{
    char name[KT_NAME_MAX + 1];

    if (key->mv_size > KT_NAME_MAX)
        return KT_E_CORRUPT;
    memcpy(name, key->mv_data, key->mv_size);
    name[key->mv_size] = '\0';
    json_t *o = json_loadb(row->mv_data, row->mv_size, 0, NULL);
    int err = o ? catalog_from_json(name, o, ret) : KT_E_CORRUPT;
    json_decref(o);
    return err;
}

static int get_in(struct catalog *c, MDB_txn *txn, const char *name,
                  struct cat_volume *ret)
{
    MDB_val key = val(name), row;

    int r = mdb_get(txn, c->volumes, &key, &row);
    return r ? from_lmdb(r) : decode(&key, &row, ret);
}

int catalog_get(struct catalog *c, const char *name, struct cat_volume *ret)
{
    MDB_txn *txn;

    int r = mdb_txn_begin(c->env, NULL, MDB_RDONLY, &txn);
    if (r != 0)
        return from_lmdb(r);
    int err = get_in(c, txn, name, ret);
    mdb_txn_abort(txn);
    return err;
}

int catalog_by_id(struct catalog *c, const struct kt_id *id,
                  struct cat_volume *ret)
{
    char hex[KT_ID_HEX_BYTES];
    MDB_val key, name, row;
    MDB_txn *txn;

    int r = mdb_txn_begin(c->env, NULL, MDB_RDONLY, &txn);
    if (r != 0)
        return from_lmdb(r);
    kt_id_hex(id, hex);
    key = val(hex);
    r = mdb_get(txn, c->ids, &key, &name);
    if (r == 0)
        r = mdb_get(txn, c->volumes, &name, &row);
    int err = r ? from_lmdb(r) : decode(&name, &row, ret);
    mdb_txn_abort(txn);
    return err;
}

int catalog_each(struct catalog *c,
                 int (*each)(void *arg, const struct cat_volume *v), void *arg)
{
    struct cat_volume v;
    MDB_val key, row;
    MDB_txn *txn;
    MDB_cursor *cur;
    int err = 0;

    int r = mdb_txn_begin(c->env, NULL, MDB_RDONLY, &txn);
    if (r != 0)
        return from_lmdb(r);
    r = mdb_cursor_open(txn, c->volumes, &cur);
    if (r == 0) {
        r = mdb_cursor_get(cur, &key, &row, MDB_FIRST);
        while (r == 0 && err == 0) {
            err = decode(&key, &row, &v);
            if (err == 0)
                err = each(arg, &v);
            if (err == 0)
                r = mdb_cursor_get(cur, &key, &row, MDB_NEXT);
        }
        mdb_cursor_close(cur);
    }
    mdb_txn_abort(txn);
    if (err == 0 && r != 0 && r != MDB_NOTFOUND)
        err = from_lmdb(r);
    return err;
}

static int del_in(struct catalog *c, MDB_txn *txn, const struct cat_volume *v)
{
    char hex[KT_ID_HEX_BYTES];
    MDB_val name = val(v->name), id;

    kt_id_hex(&v->id, hex);
    id = val(hex);
    int r = mdb_del(txn, c->ids, &id, NULL);
    if (r == 0 || r == MDB_NOTFOUND)
        r = mdb_del(txn, c->volumes, &name, NULL);
    return r == MDB_NOTFOUND ? 0 : r;
}

/* *ret_changed is set when the row was another before. */
static int put_in(struct catalog *c, MDB_txn *txn, const struct cat_volume *v,
                  bool *ret_changed)
{
    char hex[KT_ID_HEX_BYTES];
    MDB_val name = val(v->name), old, id;
    struct cat_volume before;

    json_t *o = catalog_json(v);
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(o);
    if (!text)
        return ENOMEM;
    MDB_val row = val(text);
    int r = mdb_get(txn, c->volumes, &name, &old);
    if (r == 0 && old.mv_size == row.mv_size &&
        memcmp(old.mv_data, row.mv_data, row.mv_size) == 0) {
        free(text);
        return 0;
    }
    /* Another volume had the name. */
    if (r == 0 && decode(&name, &old, &before) == 0 &&
        !kt_id_eq(&before.id, &v->id))
        r = del_in(c, txn, &before);
    if (r == 0 || r == MDB_NOTFOUND)
        r = mdb_put(txn, c->volumes, &name, &row, 0);
    kt_id_hex(&v->id, hex);
    id = val(hex);
    if (r == 0)
        r = mdb_put(txn, c->ids, &id, &name, 0);
    free(text);
    *ret_changed = true;
    return r;
}

static int end(MDB_txn *txn, int r, bool changed)
{
    if (r == 0 && changed)
        return from_lmdb(mdb_txn_commit(txn));
    mdb_txn_abort(txn);
    return from_lmdb(r);
}

int catalog_put(struct catalog *c, const struct cat_volume *v)
{
    bool changed = false;
    MDB_txn *txn;

    int r = mdb_txn_begin(c->env, NULL, 0, &txn);
    if (r != 0)
        return from_lmdb(r);
    atomic_fetch_add(&c->changes, 1);
    r = put_in(c, txn, v, &changed);
    return end(txn, r, changed);
}

int catalog_del(struct catalog *c, const char *name)
{
    struct cat_volume v;
    MDB_txn *txn;

    int r = mdb_txn_begin(c->env, NULL, 0, &txn);
    if (r != 0)
        return from_lmdb(r);
    int err = get_in(c, txn, name, &v);
    if (err < 0) {
        mdb_txn_abort(txn);
        return err == KT_E_NO_VOLUME ? 0 : err;
    }
    atomic_fetch_add(&c->changes, 1);
    return end(txn, del_in(c, txn, &v), true);
}

uint64_t catalog_changes(struct catalog *c)
{
    return atomic_load(&c->changes);
}

/* ---- the hub's list ---- */

static int by_name(const void *a, const void *b)
{
    const struct cat_volume *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* Rows that the list does not have. Its names are sorted. */
static int drop_others(struct catalog *c, MDB_txn *txn,
                       const struct cat_volume *list, size_t n,
                       bool (*keep)(void *arg, const struct kt_id *id),
                       void *arg, bool *ret_changed)
{
    struct cat_volume v;
    MDB_val key, row;
    MDB_cursor *cur;

    int r = mdb_cursor_open(txn, c->volumes, &cur);
    if (r != 0)
        return r;
    r = mdb_cursor_get(cur, &key, &row, MDB_FIRST);
    while (r == 0) {
        if (decode(&key, &row, &v) == 0 &&
            !bsearch(&v, list, n, sizeof(v), by_name) && !keep(arg, &v.id)) {
            char hex[KT_ID_HEX_BYTES];
            kt_id_hex(&v.id, hex);
            MDB_val id = val(hex);
            r = mdb_del(txn, c->ids, &id, NULL);
            if (r == 0 || r == MDB_NOTFOUND)
                r = mdb_cursor_del(cur, 0);
            *ret_changed = true;
        }
        if (r == 0)
            r = mdb_cursor_get(cur, &key, &row, MDB_NEXT);
    }
    mdb_cursor_close(cur);
    return r == MDB_NOTFOUND ? 0 : r;
}

int catalog_replace(struct catalog *c, const struct cat_volume *v, size_t n,
                    uint64_t seen,
                    bool (*keep)(void *arg, const struct kt_id *id), void *arg)
{
    struct cat_volume *list = malloc((n ? n : 1) * sizeof(*list));
    struct cat_volume old;
    bool changed = false;
    MDB_txn *txn;

    if (!list)
        return -ENOMEM;
    if (n)
        memcpy(list, v, n * sizeof(*list));
    qsort(list, n, sizeof(*list), by_name);
    int r = mdb_txn_begin(c->env, NULL, 0, &txn);
    if (r != 0) {
        free(list);
        return from_lmdb(r);
    }
    if (atomic_load(&c->changes) != seen) { /* what is here is newer */
        free(list);
        return end(txn, 0, false);
    }
    for (size_t i = 0; i < n && r == 0; i++) {
        if (get_in(c, txn, list[i].name, &old) == 0) {
            bool same = kt_id_eq(&old.id, &list[i].id);
            if (same)
                catalog_merge_local(&list[i], &old.spec);
            if (same && list[i].created_s == 0) /* volume-ls has none */
                list[i].created_s = old.created_s;
            if (!same && keep(arg, &old.id))
                continue; /* mounted here: the new one has to wait */
        }
        r = put_in(c, txn, &list[i], &changed);
    }
    if (r == 0)
        r = drop_others(c, txn, list, n, keep, arg, &changed);
    free(list);
    return end(txn, r, changed);
}

/* ---- counts ---- */

int catalog_ref_save(struct catalog *c, const struct kt_id *volume,
                     const char *mount_id, uint32_t count)
{
    char key_text[KEY_BYTES], hex[KT_ID_HEX_BYTES], row_text[96];
    MDB_txn *txn;

    snprintf(key_text, sizeof(key_text), "%s:%s", kt_id_hex(volume, hex),
             mount_id);
    snprintf(row_text, sizeof(row_text), "{\"boot\":\"%s\",\"count\":%u}",
             c->boot, count);
    MDB_val key = val(key_text), row = val(row_text);
    int r = mdb_txn_begin(c->env, NULL, 0, &txn);
    if (r != 0)
        return from_lmdb(r);
    if (count)
        r = mdb_put(txn, c->refs, &key, &row, 0);
    else
        r = mdb_del(txn, c->refs, &key, NULL);
    return end(txn, r == MDB_NOTFOUND ? 0 : r, true);
}

/* false: of another boot, or nothing that we wrote. */
static bool decode_ref(const struct catalog *c, const MDB_val *key,
                       const MDB_val *row, struct kt_id *ret_volume,
                       char ret_id[VOL_MOUNT_ID_MAX + 1], uint32_t *ret_count)
{
    char text[KEY_BYTES];

    if (key->mv_size >= sizeof(text) || key->mv_size < KT_ID_HEX_BYTES)
        return false;
    memcpy(text, key->mv_data, key->mv_size);
    text[key->mv_size] = '\0';
    if (text[KT_ID_HEX_BYTES - 1] != ':')
        return false;
    text[KT_ID_HEX_BYTES - 1] = '\0';
    const char *id = text + KT_ID_HEX_BYTES;
    json_t *o = json_loadb(row->mv_data, row->mv_size, 0, NULL);
    const char *boot = json_string_value(json_object_get(o, "boot"));
    json_int_t count = json_integer_value(json_object_get(o, "count"));
    bool ok = boot && strcmp(boot, c->boot) == 0 && count > 0 &&
              count < UINT32_MAX && vol_mount_id_valid(id) &&
              kt_id_parse(text, ret_volume) == 0;
    json_decref(o);
    if (ok) {
        memcpy(ret_id, id, strlen(id) + 1); /* valid: it fits */
        *ret_count = (uint32_t)count;
    }
    return ok;
}

int catalog_refs(struct catalog *c,
                 void (*each)(void *arg, const struct kt_id *volume,
                              const char *mount_id, uint32_t count),
                 void *arg)
{
    char id[VOL_MOUNT_ID_MAX + 1];
    struct kt_id volume;
    uint32_t count;
    MDB_val key, row;
    MDB_txn *txn;
    MDB_cursor *cur;

    int r = mdb_txn_begin(c->env, NULL, 0, &txn);
    if (r != 0)
        return from_lmdb(r);
    r = mdb_cursor_open(txn, c->refs, &cur);
    if (r == 0) {
        r = mdb_cursor_get(cur, &key, &row, MDB_FIRST);
        while (r == 0) {
            if (decode_ref(c, &key, &row, &volume, id, &count))
                each(arg, &volume, id, count);
            else
                r = mdb_cursor_del(cur, 0);
            if (r == 0)
                r = mdb_cursor_get(cur, &key, &row, MDB_NEXT);
        }
        mdb_cursor_close(cur);
    }
    return end(txn, r == MDB_NOTFOUND ? 0 : r, true);
}
